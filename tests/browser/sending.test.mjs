// The guide to sending, docs/guides/sending.md, as it stands there: each request of it is made of a hub, on both stores, and what it sends is
// looked for on the phone of whom it goes to. `make screenshots` takes the guide's pictures on the way.
//
// A block that is new in the guide is run without a word here; only a kind of content that no phone has shown yet needs a line in `looks`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

import { Business, Customers } from "./business.mjs";
import { accounts, openPhone } from "./phone.mjs";
import { startBrowser, startHub, stores } from "./site.mjs";
import { blocksOf, picturesOf, says } from "./snippets.mjs";
import { putFiles, script, uploads } from "./world.mjs";

const run = promisify(execFile);
const guide = await readFile(new URL("../../docs/guides/sending.md", import.meta.url), "utf8");
const blocks = blocksOf(guide);
const pictures = new Set(picturesOf(guide, "sending").map((file) => basename(file, ".png")));
/** Where the pictures of the guide go, if they are to be taken. */
const PICTURES = process.env.PICTURES && join(process.env.PICTURES, "sending");

const answersComment = (text) => /"(comment|private)_reply"/.test(text);
const post = { kind: "image", caption: "Just in: Ayo Bello, 1974" };
const commented = "Do you ship to Spain, and how soon?";
const questions = { amara: "Do you have the Ayo Bello album on vinyl?", lucia: "Do you ship to Spain?" };
/** Whose phone it is where a request does not say whom it is for. */
const customerOn = { whatsapp: "amara", instagram: "lucia" };

const file = (kind) => `img, .stand-in[data-kind=${kind}]`;
const press = ".buttons .press";
/** By what a kind of content is recognised on a phone, beside its words. */
const looks = {
  text: ".text",
  image: file("image"),
  video: `video, ${file("video")}`,
  audio: ".card, .voice",
  document: ".card",
  sticker: ".sticker img, .like",
  location: ".map",
  contacts: ".contact",
  template: ".text",
  buttons: press,
  list: press,
  flow: press,
  product: ".products",
  product_list: ".products",
  catalog: press,
  carousel: ".carousel-card",
  location_request: press,
  contact_request: press,
  address_request: press,
  call_permission_request: press,
  quick_replies: ".text",
  several: ".album",
  share: ".post",
  private_reply: ".text",
};

/** What is written on a message, for whoever looks at it. */
function wordsOf(content) {
  const of = (...parts) => parts.flat().filter((part) => typeof part === "string");
  const titles = (things) => (things ?? []).map((thing) => thing.title);
  const texts = (components) => (components ?? []).flatMap(({ type, parameters, cards }) => [
    ...(type === "body" ? parameters.map((parameter) => parameter.text) : []),
    ...(cards ?? []).flatMap((card) => texts(card.components)),
  ]);
  return of(
    content.text, content.caption, content.filename, content.header?.text, content.footer, content.button, content.address,
    content.type === "location" ? content.name : null, titles(content.buttons), texts(content.components),
    (content.cards ?? []).flatMap((card) => [card.title, card.text, card.product?.productRetailerId, ...titles(card.buttons)]),
    (content.contacts ?? []).flatMap((card) => [card.name.formatted_name, card.phones?.[0].phone]),
  );
}

/** Without the marks that WhatsApp makes bold and italic of. */
const plain = (text) => text.replace(/[*_~`]/g, "").replace(/\s+/g, " ");

const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
const ahead = (text) => text.replaceAll("2027-03-01T", `${tomorrow}T`);

test("every picture of the guide belongs to a block, and every kind has one", async () => {
  const keys = new Set(blocks.map((block) => block.key));
  for (const picture of pictures) assert.ok(keys.has(picture), `${picture} is no block of the guide`);
  const contents = blocks.filter((block) => block.language === "json" && JSON.parse(block.text).content && block.answer?.status === undefined && !block.later);
  const bare = contents.filter((block) => !pictures.has(block.key) && block.name !== "long-form").map((block) => block.key);
  assert.deepEqual(bare, [], "each kind has a picture");
  if (!PICTURES) for (const picture of picturesOf(guide, "sending")) await readFile(new URL(`../../docs/guides/${picture}`, import.meta.url));
});

for (const store of PICTURES ? ["SQLite"] : stores()) {
  describe(`the guide to sending, on ${store}`, { timeout: 180_000 }, () => {
    let browser;
    let hub;
    let business;
    let customers;
    let folder;
    const phones = {};
    /** What the guide's ids stand for. */
    const known = { conversations: {}, asked: {}, media: {} };

    before(async () => {
      [browser, hub] = await Promise.all([startBrowser(), startHub(script, { store })]);
      business = new Business(hub);
      customers = new Customers(hub);
      folder = join(hub.folder, "guide");
      await putFiles(folder, browser, customers, hub.sandbox);
      if (PICTURES) await mkdir(PICTURES, { recursive: true });
      for (const [customer, channel] of [["amara", "whatsapp"], ["jonas", "whatsapp"], ["lucia", "instagram"]]) {
        phones[customer] = await openPhone(browser, hub, customer, accounts[channel], { deviceScaleFactor: PICTURES ? 1.5 : 1 });
        if (questions[customer]) await ask(channel, customer, questions[customer]);
      }
      known.comment = await comment();
    });

    after(async () => {
      await business?.close();
      await browser?.close();
      await hub?.stop();
    });

    /** The customer writes something that can be answered. */
    async function ask(channel, customer, text) {
      const externalId = await customers.write(customer, accounts[channel], { type: "text", text });
      known.asked[channel] = await business.byMeta(channel, externalId);
      known.conversations[channel] = await business.call("GET", `/api/v1/conversations/${known.asked[channel].conversationId}`);
    }

    /** The customer comments on a post of the account. */
    async function comment() {
      const { id: mediaId } = await customers.call("POST", `/sandbox/instagram-accounts/${accounts.instagram}/posts`, { ...post });
      const externalId = await customers.write("lucia", accounts.instagram, { type: "comment", text: commented, mediaId });
      return business.byMeta("instagram", externalId);
    }

    async function upload(kind) {
      known.media[kind] ??= (await business.call("POST", `/api/v1/media?filename=${uploads[kind]}`, await readFile(join(folder, uploads[kind])), { "content-type": "application/octet-stream" })).id;
      return known.media[kind];
    }

    /** The body of a block, with what its ids stand for. */
    async function bodyOf({ channel, text }) {
      const conversation = known.conversations[channel];
      const about = answersComment(text) ? known.comment : known.asked[channel];
      const filled = ahead(text).replaceAll("cnv_…", conversation?.id).replaceAll("con_…", conversation?.contact.id).replaceAll("msg_…", about?.id);
      const body = JSON.parse(filled);
      const walk = async (part) => {
        if (part === null || typeof part !== "object") return;
        if (part.mediaId === "med_…") part.mediaId = await upload(part.type);
        for (const inner of Object.values(part)) await walk(inner);
      };
      await walk(body);
      return body;
    }

    /** Makes the request of a block; answers with what was said to it. */
    async function make(block) {
      if (block.language === "json") return (await business.ask("POST", "/api/v1/messages/send", await bodyOf(block))).body;
      assert.equal(block.language, "sh", `${block.key}: a block is \`json\` or \`sh\``);
      const environment = { ...process.env, HUB: hub.url, KEY: hub.key, CONVERSATION: known.conversations[block.channel].id, COMMENT: known.comment.id, NO_PROXY: "*", no_proxy: "*" };
      const { stdout } = await run("sh", ["-e", "-c", ahead(block.text)], { cwd: folder, env: environment });
      return JSON.parse(stdout);
    }

    /** Whose phone a message is on: found by their address. */
    async function phoneOf(block, body) {
      if (typeof body?.to !== "string") return phones[customerOn[block.channel]];
      const { customers: all } = await customers.call("GET", "/sandbox/state");
      const customer = all.find((one) => [`+${one.phone}`, one.userId, one.igsid].includes(body.to));
      return phones[customer?.id];
    }

    const pageAsides = {
      // Shown only until the next message comes.
      "instagram-quick-replies": async (phone, row, body) => {
        for (const { title } of body.content.quickReplies) await phone.page.locator("#quick-replies .chip", { hasText: title }).waitFor();
        await picture("instagram-quick-replies", phone, [row], phone.page.locator("#quick-replies"));
      },
    };

    /** Looks at a message of ours on a phone. */
    async function seen(block, phone, message, body) {
      const row = phone.row(message.externalId);
      await row.waitFor().catch((error) => assert.fail(`${block.key} is on no phone: ${error.message}`));
      const { content } = message;
      assert.ok(looks[content.type], `say in \`looks\` how ${content.type} looks`);
      await row.locator(looks[content.type]).first().waitFor().catch((error) => assert.fail(`${block.key}: ${error.message}`));
      const shown = plain(await row.textContent());
      for (const words of wordsOf(content)) assert.ok(shown.includes(plain(words)), `${block.key} shows “${words}”: ${shown}`);
      if (message.replyTo && block.channel === "whatsapp") await row.locator(".quote", { hasText: questions.amara }).waitFor();
      if (pageAsides[block.key]) return pageAsides[block.key](phone, row, body);
      await picture(block.key, phone, [row]);
    }

    /** Takes a picture, if the guide has one of it: of these rows without all the others, as wide as the thread, and of what is below it. */
    async function picture(key, phone, rows, below) {
      if (!PICTURES || !pictures.has(key)) return;
      const frame = phone.page.locator(".thread-frame");
      const all = phone.page.locator("#messages > li, #thread-start, #to-newest");
      await all.evaluateAll((nodes) => nodes.forEach((node) => (node.style.display = "none")));
      for (const row of rows) await row.evaluate((node) => (node.style.display = ""));
      await frame.evaluate((node) => (node.style.cssText = `flex: none; height: ${node.querySelector("#messages").offsetHeight + 26}px`));
      await rows[0].locator("img").evaluateAll((images) => Promise.all(images.map((image) => image.decode().catch(() => {}))));
      await phone.page.mouse.move(0, 0);
      const clip = await frame.boundingBox();
      if (below) clip.height += (await below.boundingBox()).height;
      // Whole points, and none of the phone's frame.
      clip.width = Math.floor(clip.width) - 1;
      await phone.page.screenshot({ path: join(PICTURES, `${key}.png`), clip });
      await frame.evaluate((node) => (node.style.cssText = ""));
      await all.evaluateAll((nodes) => nodes.forEach((node) => (node.style.display = "")));
    }

    /** Looks at a post on the phone of whoever has commented on it. */
    async function onPost(look) {
      const { page } = phones.lucia;
      await page.locator("#open-posts").click();
      await look(page.locator("#posts > li", { hasText: post.caption }));
      await page.locator("#sheet-close").click();
    }

    // What a block does that sends no message, or one that is on a phone for a while only.
    const effects = {
      "instagram-comment-reply": () => onPost(async (row) => {
        await row.locator(".answers .comment[data-by=business]", { hasText: "We do, to all of Spain." }).waitFor();
        if (PICTURES) await row.screenshot({ path: join(PICTURES, "instagram-comment-reply.png") });
      }),
      "instagram-hide": () => onPost((row) => row.locator(".comment[data-by=me]", { hasText: "Hidden by the business" }).waitFor()),
      "instagram-delete": () => onPost((row) => row.locator(".comment").first().waitFor({ state: "detached" })),
      "whatsapp-read": async () => phones.amara.row(known.asked.whatsapp.externalId).locator(".ticks[data-status=read]").waitFor(),
      "whatsapp-typing": async () => {
        const typing = phones.amara.page.locator("#messages > li.typing");
        await typing.waitFor();
        await picture("whatsapp-typing", phones.amara, [phones.amara.row(known.asked.whatsapp.externalId), typing]);
      },
    };

    const sent = [];

    test("every request is answered as it says", async () => {
      for (const block of blocks) {
        if (block.name === "read") await ask("whatsapp", "amara", "Are you there?");
        const body = block.language === "json" ? await bodyOf(block) : undefined;
        const answer = await make(block);
        if (block.answer) says(answer, block.answer, block.key);
        if (answer.messageId && effects[block.key]) await business.accepted(answer.messageId);
        await effects[block.key]?.();
        if (block.later) {
          const message = await business.until(`${block.key} became what the guide says`, async () => {
            const message = await business.message(answer.messageId);
            return message.status === block.later.status && message;
          });
          says(message, block.later, block.key);
        } else {
          const ids = [answer.messageId, ...(answer.results ?? []).map((result) => result.messageId)].filter(Boolean);
          if (!block.answer && block.language === "json") assert.equal(ids.length, 1, `${block.key}: ${JSON.stringify(answer)}`);
          const about = known.asked[block.channel]?.externalId;
          for (const id of ids) sent.push({ block, body, id, about });
          if (pageAsides[block.key]) await look(sent.pop());
        }
      }
    });

    async function look({ block, body, id, about }) {
      const message = await business.accepted(id);
      const { type, emoji } = message.content;
      // By now the comment is deleted, and with it what was answered.
      if (type === "comment_reply" || (type === "deleted" && effects[block.key])) {
        assert.ok(effects[block.key], `${block.key}: say in \`effects\` where it is seen`);
      } else if (type === "reaction") {
        const phone = await phoneOf(block, body);
        await phone.row(about).locator(".reactions", { hasText: emoji }).waitFor();
        await picture(block.key, phone, [phone.row(about)]);
      } else if (block.channel === "email") {
        const { mails } = await customers.call("GET", "/mailbox");
        assert.ok(mails.some((mail) => mail.raw.includes(body.to) && mail.raw.includes(body.message)), JSON.stringify(mails));
      } else {
        await seen(block, await phoneOf(block, body), message, body);
      }
    }

    test("whatever was sent is on the phone of whom it was sent to", async () => {
      assert.ok(sent.length > 40, "most of the blocks send something");
      for (const one of sent) await look(one);
      for (const phone of Object.values(phones)) assert.deepEqual(phone.troubles, []);
    });

    // Whoever is refused a kind is told which ones there are.
    for (const [channel, other] of [["whatsapp", { type: "quick_replies", text: "?", quickReplies: [] }], ["instagram", { type: "list", text: "?", button: "?", sections: [] }]]) {
      test(`the guide has every kind that ${channel} can be sent`, async () => {
        const { status, body } = await business.ask("POST", "/api/v1/messages/send", { to: { conversation: known.conversations[channel].id }, content: other });
        assert.equal(status, 422, JSON.stringify(body));
        const [, listed] = body.errors[0].detail.split("; ");
        const kinds = [...listed.matchAll(/`(\w+)`/g)].map(([, kind]) => kind);
        assert.ok(kinds.includes("text") && kinds.includes("carousel"), body.errors[0].detail);
        const shown = new Set(blocks.filter((block) => block.channel === channel && block.language === "json" && !block.answer).map((block) => JSON.parse(block.text).content?.type));
        assert.deepEqual(kinds.filter((kind) => !shown.has(kind)), []);
      });
    }
  });
}
