// What a customer can send besides text: one row for each thing, with the fields that it asks for and the body that it becomes.
//
// A row without fields is sent as soon as it is pressed. A file is a sample that the sandbox makes, a file of this machine, or a link.

const bytesMax = 16 * 1024 * 1024;

const source = (accept) => [
  { name: "source", type: "choice", label: "What to send", choices: [["sample", "A sample, made by the sandbox"], ["file", "A file from this machine"], ["link", "From a link"]] },
  { name: "file", type: "file", label: "File", accept, when: ["source", "file"] },
  { name: "link", type: "url", label: "Link", placeholder: "https://example.org/file", when: ["source", "link"] },
];
const caption = { name: "caption", label: "Caption", max: 1024 };
const text = (value, label = "Message") => ({ name: "text", label, type: "text-area", required: true, value });
const kept = (value) => (value?.trim() ? value.trim() : undefined);

/** In the order of the menu. `on`: where the app has it; `type`: as the control API calls it. */
export const attachments = [
  { name: "photo", label: "Photo", sign: "photo", tint: 3, on: ["whatsapp", "instagram"], fields: [...source("image/jpeg,image/png"), caption], body: (f) => ({ type: "image", link: f.link, caption: f.caption }) },
  { name: "video", label: "Video", sign: "film", tint: 1, on: ["whatsapp", "instagram"], fields: [...source("video/mp4,video/3gpp"), caption], body: (f) => ({ type: "video", link: f.link, caption: f.caption }) },
  { name: "photos", label: "Several photos", sign: "photos", tint: 3, on: ["instagram"], body: () => ({ type: "attachments", attachments: ["1", "2", "3"].map((n) => ({ type: "image", link: `https://photos.example/${n}.jpg` })) }) },
  { name: "voice", label: "Voice message", sign: "mic", tint: 2, on: ["whatsapp", "instagram"], body: () => ({ type: "voice" }) },
  { name: "audio", label: "Audio file", sign: "sound", tint: 2, on: ["whatsapp"], body: () => ({ type: "audio" }) },
  { name: "document", label: "Document", sign: "file", tint: 7, on: ["whatsapp"], fields: [...source("application/pdf,text/plain"), { name: "filename", label: "Name", value: "contract.pdf" }, caption], body: (f) => ({ type: "document", link: f.link, filename: f.filename, caption: f.caption }) },
  { name: "file", label: "PDF file", sign: "file", tint: 7, on: ["instagram"], body: () => ({ type: "document" }) },
  { name: "sticker", label: "Sticker", sign: "sticker", tint: 4, on: ["whatsapp", "instagram"], body: () => ({ type: "sticker" }) },
  { name: "moving-sticker", label: "Moving sticker", sign: "sticker", tint: 4, on: ["whatsapp", "instagram"], body: () => ({ type: "sticker", animated: true }) },
  { name: "heart", label: "Heart", sign: "heart", tint: 5, on: ["instagram"], body: () => ({ type: "heart" }) },
  {
    name: "location", label: "Location", sign: "pin", tint: 6, on: ["whatsapp"],
    fields: [
      { name: "place", label: "Place", value: "River Gate" }, { name: "address", label: "Address", value: "Belvedere Rd, London" },
      { name: "latitude", label: "Latitude", type: "number", required: true, value: "51.5033" }, { name: "longitude", label: "Longitude", type: "number", required: true, value: "-0.1196" },
    ],
    body: (f) => ({ type: "location", latitude: Number(f.latitude), longitude: Number(f.longitude), name: kept(f.place), address: kept(f.address) }),
  },
  {
    name: "contact", label: "Contact", sign: "person", tint: 0, on: ["whatsapp"],
    fields: [{ name: "person", label: "Name", required: true, value: "Dr Ana Reis" }, { name: "phone", label: "Phone", type: "tel", value: "+351 21 000 0000" }, { name: "email", label: "E-mail", type: "email", value: "ana@example.org" }],
    body: (f) => ({ type: "contacts", contacts: [{ name: { formatted_name: f.person, first_name: f.person }, phones: f.phone ? [{ phone: f.phone, type: "WORK" }] : [], emails: f.email ? [{ email: f.email, type: "WORK" }] : [] }] }),
  },
  {
    name: "order", label: "Order", sign: "bag", tint: 6, on: ["whatsapp"],
    fields: [{ name: "product", label: "Product", required: true, value: "SKU-77" }, { name: "quantity", label: "How many", type: "number", min: "1", value: "2", required: true }, { name: "text", label: "Message", value: "gift wrap please" }],
    body: (f) => ({ type: "order", text: kept(f.text), items: [{ product: f.product, quantity: Math.round(Number(f.quantity)), price: 14.5, currency: "GBP" }] }),
  },
  { name: "share-post", label: "Share a post", sign: "photo", tint: 1, on: ["instagram"], body: () => ({ type: "share", what: "post" }) },
  { name: "share-reel", label: "Share a reel", sign: "film", tint: 1, on: ["instagram"], body: () => ({ type: "share", what: "reel", title: "How we roast" }) },
  { name: "share-story", label: "Share a story", sign: "story", tint: 1, on: ["instagram"], body: () => ({ type: "share", what: "story" }) },
  { name: "story-reply", label: "Reply to a story", sign: "reply", tint: 5, on: ["instagram"], fields: [text("Still in stock?")], body: (f) => ({ type: "story_reply", text: f.text }) },
  { name: "story-mention", label: "Mention in a story", sign: "story", tint: 5, on: ["instagram"], body: () => ({ type: "story_mention" }) },
  { name: "comment-mention", label: "Mention in a comment", sign: "bubble", tint: 5, on: ["instagram"], fields: [text("@sandbox.records the best", "Comment under somebody's post")], body: (f) => ({ type: "mention", text: f.text }) },
  { name: "caption-mention", label: "Mention in a caption", sign: "photo", tint: 5, on: ["instagram"], fields: [text("New from @sandbox.records", "Caption of an own post")], body: (f) => ({ type: "caption_mention", text: f.text }) },
  { name: "forward", label: "Forwarded text", sign: "forward", tint: 0, on: ["whatsapp"], fields: [text("Have you seen this?"), { name: "frequently", label: "Forwarded many times", type: "checkbox" }], body: (f) => ({ type: "forward", text: f.text, frequently: f.frequently === "on" }) },
  { name: "ad", label: "From an ad", sign: "ad", tint: 2, on: ["whatsapp", "instagram"], fields: [text("Tell me more"), { name: "headline", label: "The ad's headline", value: "Spring repair offer" }], body: (f) => ({ type: "from_ad", text: f.text, headline: kept(f.headline) }) },
  { name: "menu", label: "Menu entry", sign: "list", tint: 7, on: ["instagram"], fields: [{ name: "title", label: "Title", value: "Opening hours", required: true }, { name: "payload", label: "Payload", value: "HOURS", required: true }], body: (f) => ({ type: "postback", title: f.title, payload: f.payload }) },
  { name: "link", label: "ig.me link", sign: "outside", tint: 7, on: ["instagram"], fields: [{ name: "ref", label: "What it brings along", value: "qr-counter", required: true }], body: (f) => ({ type: "referral", ref: f.ref }) },
  { name: "unsupported", label: "Something unsupported", sign: "alert", tint: 4, on: ["whatsapp", "instagram"], body: () => ({ type: "unsupported" }) },
];

/** What the app of this kind has. */
export const attachmentsOn = (kind) => attachments.filter((one) => one.on.includes(kind));

/** The fields of the form; a caption is WhatsApp's alone. */
export const fieldsOf = (one, kind) => one.fields?.filter((field) => field.name !== "caption" || kind === "whatsapp");

/** The body to post. Fails with a reason for a person if a file is too large or a link is missing. */
export async function bodyOf(one, values, kind) {
  const fields = { ...values, caption: kind === "whatsapp" ? kept(values.caption) : undefined };
  if (values.source === "file") fields.link = await dataAddress(values.file);
  else if (values.source === "link") fields.link = kept(values.link);
  else fields.link = undefined;
  if (values.source === "link" && !fields.link) throw new Error("There is no link to send.");
  return one.body(fields);
}

function dataAddress(file) {
  if (!file?.size) throw new Error("No file was chosen.");
  if (file.size > bytesMax) throw new Error("The file is larger than 16 MB.");
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(new Error("The file can't be read."));
    reader.readAsDataURL(file);
  });
}
