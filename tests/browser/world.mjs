// The world that the guide to sending is about, as a script of the sandbox takes it (JSON is YAML too), and the files that it uploads.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { accounts } from "./phone.mjs";

const card = (text) => ({
  components: [
    { type: "HEADER", format: "IMAGE", example: { header_handle: ["1"] } },
    { type: "BODY", text: "{{1}}", example: { body_text: [[text]] } },
    { type: "BUTTONS", buttons: [{ type: "QUICK_REPLY", text: "Keep it for me" }] },
  ],
});

export const script = JSON.stringify({
  posts: [{ id: "17900055566677788", kind: "image", caption: "Six crates of Lagos highlife, just in", agoMs: 3_600_000 }],
  templates: [
    {
      name: "order_ready",
      language: "en_US",
      category: "UTILITY",
      components: [
        { type: "HEADER", format: "IMAGE", example: { header_handle: ["1"] } },
        {
          type: "BODY",
          text: "Hi {{first_name}}, order *{{order_no}}* waits for you at the counter.",
          example: { body_text_named_params: [{ param_name: "first_name", example: "Amara" }, { param_name: "order_no", example: "4711" }] },
        },
        { type: "FOOTER", text: "Sandbox Records" },
        {
          type: "BUTTONS",
          buttons: [
            { type: "QUICK_REPLY", text: "I am coming" },
            { type: "URL", text: "Look at it", url: "https://shop.example/orders/{{1}}", example: ["4711"] },
            { type: "PHONE_NUMBER", text: "Call us", phone_number: "+442079460111" },
            { type: "COPY_CODE", example: "SPRING20" },
          ],
        },
      ],
    },
    {
      name: "just_in",
      language: "en_US",
      category: "MARKETING",
      components: [{ type: "BODY", text: "Just in from Lagos:" }, { type: "CAROUSEL", cards: [card("Ayo Bello"), card("The Adisa Band")] }],
    },
  ],
});

/** By kind of content, the file that is uploaded for it. */
export const uploads = { image: "front.jpg", video: "tour.mp4", audio: "voice.ogg", document: "quote.pdf", sticker: "sticker.webp" };

/** Puts the files of the guide into a folder: a picture that the browser draws, and what the sandbox makes when a customer sends it. */
export async function putFiles(folder, browser, customers, sandbox) {
  await mkdir(folder, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 720, height: 480 } });
  await page.setContent(SLEEVE);
  await page.screenshot({ path: join(folder, uploads.image), type: "jpeg", quality: 82 });
  await page.close();
  await customers.call("POST", "/sandbox/customers", { id: "files", name: "Files", kind: "whatsapp", phone: "447700900190" });
  for (const [type, kind] of [["video", "video"], ["voice", "audio"], ["document", "document"], ["sticker", "sticker"]]) {
    const id = await customers.write("files", accounts.whatsapp, { type });
    const { messages } = await customers.thread("files", accounts.whatsapp);
    const file = await fetch(new URL(messages.find((message) => message.id === id).link, sandbox));
    await writeFile(join(folder, uploads[kind]), Buffer.from(await file.arrayBuffer()));
  }
}

const SLEEVE = `<!doctype html><body style="margin:0"><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 480" width="720" height="480">
<rect width="720" height="480" fill="#d9cbb4"/><path d="M0 372h720v108H0z" fill="#8a6a4a"/><path d="M0 372h720v10H0z" fill="#6f5338"/>
<circle cx="430" cy="232" r="178" fill="#17171a"/>${[168, 152, 136, 120, 104, 88].map((r) => `<circle cx="430" cy="232" r="${r}" fill="none" stroke="#2f2f36" stroke-width="2"/>`).join("")}
<circle cx="430" cy="232" r="62" fill="#e0a526"/><circle cx="430" cy="232" r="8" fill="#d9cbb4"/>
<rect x="96" y="58" width="348" height="348" fill="#1f5f57"/><path d="M96 320 230 168l96 96 46-44 72 76v110H96z" fill="#174942"/>
<circle cx="342" cy="146" r="46" fill="#f0c14b"/><text x="124" y="124" font-family="Georgia, serif" font-size="44" font-weight="700" fill="#f6ead2">Ayo Bello</text>
<text x="124" y="160" font-family="Georgia, serif" font-size="24" fill="#f6ead2">Needle Drop · 1974</text></svg></body>`;
