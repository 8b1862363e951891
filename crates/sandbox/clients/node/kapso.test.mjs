// @kapso/whatsapp-cloud-api, unchanged, on the sandbox: only the address of Graph is another one.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { GraphApiError, WhatsAppClient } from "@kapso/whatsapp-cloud-api";
import { normalizeWebhook, verifySignature } from "@kapso/whatsapp-cloud-api/server";

import { amara, app, business, number, picture, startHook, startSandbox, token } from "./sandbox.mjs";

const link = "https://cdn.example.org/lamp";
const catalogId = "190884417223306";

async function start(t) {
  const sandbox = await startSandbox(t);
  return { sandbox, client: new WhatsAppClient({ accessToken: token, baseUrl: sandbox.url }) };
}

test("kapso: every kind reaches the phone", async (t) => {
  const { sandbox, client } = await start(t);
  const hello = await sandbox.write("amara", { type: "text", text: "Hello" });
  const to = { phoneNumberId: number, to: amara };
  const image = { type: "image", image: { link: `${link}.jpg` } };
  const cards = (action) => [0, 1].map((cardIndex) => ({ cardIndex, header: image, bodyText: "A lamp", action: action(cardIndex) }));
  const desk = {
    name: { formattedName: "Service Desk", firstName: "Service" },
    phones: [{ phone: "+442079460111", type: "WORK", waId: "442079460111" }],
  };
  const flow = { flowId: "881204739915502", flowCta: "Rate", flowToken: "token", flowAction: "navigate", flowActionPayload: { screen: "RATE" } };
  const rows = [{ id: "arc", title: "Arc", description: "Brass" }];
  const productItems = [{ productRetailerId: "SKU-77" }];
  const { messages } = client;
  const kinds = {
    text: () => messages.sendText({ ...to, body: "It *shines*", previewUrl: true }),
    answer: () => messages.sendText({ ...to, body: "Hello to you", contextMessageId: hello, bizOpaqueCallbackData: "note" }),
    image: () => messages.sendImage({ ...to, image: { link: `${link}.jpg`, caption: "A lamp" } }),
    audio: () => messages.sendAudio({ ...to, audio: { link: `${link}.mp3` } }),
    voice: () => messages.sendAudio({ ...to, audio: { link: `${link}.ogg`, voice: true } }),
    document: () => messages.sendDocument({ ...to, document: { link: `${link}.pdf`, filename: "lamp.pdf", caption: "Manual" } }),
    video: () => messages.sendVideo({ ...to, video: { link: `${link}.mp4`, caption: "Tour" } }),
    sticker: () => messages.sendSticker({ ...to, sticker: { link: `${link}.webp` } }),
    location: () => messages.sendLocation({ ...to, location: { latitude: 51.5033, longitude: -0.1196, name: "River Gate", address: "London" } }),
    contacts: () => messages.sendContacts({ ...to, contacts: [desk] }),
    template: () => messages.sendTemplate({ ...to, template: { name: "hello_world", language: { code: "en_US" } } }),
    buttons: () => messages.sendInteractiveButtons({ ...to, bodyText: "Keep it?", header: image, footerText: "Sandbox", buttons: [{ id: "keep", title: "Keep" }] }),
    list: () => messages.sendInteractiveList({ ...to, bodyText: "Pick one", buttonText: "See", sections: [{ title: "Lamps", rows }] }),
    product: () => messages.sendInteractiveProduct({ ...to, bodyText: "This lamp?", catalogId, productRetailerId: "SKU-77" }),
    "product list": () =>
      messages.sendInteractiveProductList({
        ...to, bodyText: "In stock", header: { type: "text", text: "For you" }, catalogId, sections: [{ title: "Lamps", productItems }],
      }),
    catalogue: () => messages.sendInteractiveCatalogMessage({ ...to, bodyText: "All our lamps", parameters: { thumbnailProductRetailerId: "SKU-77" } }),
    flow: () => messages.sendInteractiveFlow({ ...to, bodyText: "How was it?", parameters: flow }),
    address: () => messages.sendInteractiveAddress({ ...to, bodyText: "Where do we deliver?", parameters: { country: "IN" } }),
    "location request": () => messages.sendInteractiveLocationRequest({ ...to, bodyText: "Where are you?", parameters: { requestMessage: "Where are you?" } }),
    "call permission": () => messages.sendInteractiveCallPermission({ ...to, bodyText: "May we call?", parameters: { phoneNumber: "+442079460100" } }),
    "link button": () => messages.sendInteractiveCtaUrl({ ...to, bodyText: "Track it", parameters: { displayText: "Track", url: `${link}/t` } }),
    "carousel of links": () => messages.sendInteractiveCarousel({ ...to, bodyText: "New lamps", cards: cards((at) => ({ displayText: "View", url: `${link}/${at}` })) }),
    "carousel of quick replies": () => messages.sendInteractiveCarousel({ ...to, bodyText: "New lamps", cards: cards((at) => ({ buttons: [{ id: `lamp-${at}`, title: "This one" }] })) }),
    raw: () => messages.sendRaw({ phoneNumberId: number, payload: { messaging_product: "whatsapp", to: amara, type: "text", text: { body: "Raw" } } }),
  };
  for (const [kind, send] of Object.entries(kinds)) {
    const sent = await send();
    assert.match(sent.messages[0].id, /^wamid\./, kind);
    assert.equal((await sandbox.thread("amara")).at(-1).id, sent.messages[0].id, kind);
  }
  await messages.sendReaction({ ...to, reaction: { messageId: hello, emoji: "👍" } });
  assert.deepEqual((await sandbox.thread("amara"))[0].reactions, [{ by: "theirs", emoji: "👍" }]);
  assert.equal((await messages.markRead({ phoneNumberId: number, messageId: hello, typingIndicator: { type: "text" } })).success, true);
});

test("kapso: a person is reached by the business-scoped id alone", async (t) => {
  const { sandbox, client } = await start(t);
  await sandbox.write("amara", { type: "text", text: "Hello" });
  const { customers } = await sandbox.control("GET", "/sandbox/state");
  const { userId } = customers.find((one) => one.id === "amara");
  const sent = await client.messages.sendText({ phoneNumberId: number, recipient: userId, body: "Hi" });
  assert.equal(sent.contacts[0].userId, userId);
  assert.equal((await sandbox.thread("amara")).at(-1).id, sent.messages[0].id);
});

test("kapso: an error is its own type", async (t) => {
  const { client } = await start(t);
  const send = client.messages.sendTemplate({ phoneNumberId: number, to: amara, template: { name: "no_such_template", language: { code: "en_US" } } });
  await assert.rejects(send, (error) => {
    assert.ok(error instanceof GraphApiError);
    assert.equal(error.code, 132001);
    assert.ok(error.isTemplateError());
    return true;
  });
});

test("kapso: a file goes up and comes back down", async (t) => {
  const { client } = await start(t);
  const { id: mediaId } = await client.media.upload({ phoneNumberId: number, type: picture.type, file: picture, fileName: "lamp.jpg" });
  const bytes = Buffer.from(await picture.arrayBuffer());
  const found = await client.media.get({ mediaId, phoneNumberId: number });
  assert.deepEqual([found.mimeType, found.sha256], [picture.type, createHash("sha256").update(bytes).digest("hex")]);
  // Left to itself it sends no token to hosts other than its maker's, and WhatsApp's downloads need one.
  assert.equal((await client.media.download({ mediaId, as: "response" })).ok, false);
  assert.deepEqual(Buffer.from(await client.media.download({ mediaId, auth: "always" })), bytes);
  assert.equal((await client.media.delete({ mediaId, phoneNumberId: number })).success, true);
  await assert.rejects(client.media.get({ mediaId }), GraphApiError);
});

test("kapso: templates are listed over pages, made and deleted", async (t) => {
  const { client } = await start(t);
  const businessAccountId = business;
  const first = await client.templates.list({ businessAccountId, limit: 1 });
  const rest = await client.templates.list({ businessAccountId, limit: 1, after: first.paging.cursors.after });
  assert.deepEqual([...first.data, ...rest.data].map((one) => one.name).sort(), ["hello_world", "mr_dj_booking_confirmation"]);
  assert.equal(rest.paging.next, undefined);
  const components = [{ type: "BODY", text: "Lamp {{name}} is ready.", example: { bodyTextNamedParams: [{ paramName: "name", example: "Arc" }] } }];
  const made = await client.templates.create({ businessAccountId, name: "lamp_ready", language: "en_US", category: "UTILITY", parameterFormat: "NAMED", components });
  assert.equal(made.status, "PENDING");
  assert.equal((await client.templates.list({ businessAccountId, name: "lamp_ready" })).data[0].parameterFormat, "NAMED");
  // It asks below the account; Meta has a template by its id alone.
  await assert.rejects(client.templates.get({ businessAccountId, templateId: made.id }), GraphApiError);
  assert.equal((await client.templates.delete({ businessAccountId, name: "lamp_ready" })).success, true);
  assert.deepEqual((await client.templates.list({ businessAccountId, name: "lamp_ready" })).data, []);
});

test("kapso: a profile is read and changed", async (t) => {
  const { client } = await start(t);
  await client.phoneNumbers.businessProfile.update({ phoneNumberId: number, about: "Lamps", websites: ["https://example.org"] });
  const { data } = await client.phoneNumbers.businessProfile.get({ phoneNumberId: number });
  assert.equal(data[0].messagingProduct, "whatsapp");
});

test("kapso: a number is verified, deregistered and registered", async (t) => {
  const { sandbox, client } = await start(t);
  const { phoneNumbers } = client;
  assert.equal((await phoneNumbers.requestCode({ phoneNumberId: number, codeMethod: "SMS", language: "en_GB" })).success, true);
  const { numbers } = await sandbox.control("GET", "/sandbox/state");
  assert.equal((await phoneNumbers.verifyCode({ phoneNumberId: number, code: numbers[0].verificationCode })).success, true);
  assert.equal((await phoneNumbers.deregister({ phoneNumberId: number })).success, true);
  await assert.rejects(phoneNumbers.register({ phoneNumberId: number, pin: "000000" }), (error) => error instanceof GraphApiError && error.code === 133005);
  assert.equal((await phoneNumbers.register({ phoneNumberId: number, pin: "123456" })).success, true);
});

test("kapso: it checks signatures and reads updates", { timeout: 30_000 }, async (t) => {
  const { sandbox, client } = await start(t);
  // It has no code for the handshake.
  const hook = await startHook(t, ({ query }) => (query["hub.verify_token"] === "verify" ? query["hub.challenge"] : undefined));
  await sandbox.subscribe(hook.url, "verify");
  const next = async () => {
    const update = await hook.next();
    const signed = { rawBody: update.body, signatureHeader: update.headers["x-hub-signature-256"] };
    assert.ok(verifySignature({ appSecret: app.secret, ...signed }));
    assert.equal(verifySignature({ appSecret: "another secret", ...signed }), false);
    return normalizeWebhook(JSON.parse(update.body));
  };
  const written = [
    { type: "text", text: "Olá 👋" },
    { type: "image", caption: "A lamp" },
    { type: "voice" },
    { type: "document", filename: "plan.pdf" },
    { type: "location", latitude: 51.5, longitude: -0.1 },
    { type: "contacts" },
    { type: "order", text: "Please", items: [{ product: "SKU-77", quantity: 2, price: 29.5 }] },
  ];
  for (const content of written) {
    const id = await sandbox.write("amara", content);
    const { phoneNumberId, contacts, messages: [message] } = await next();
    assert.deepEqual([phoneNumberId, contacts[0].waId, contacts[0].profile.name], [number, amara.slice(1), "Amara Okafor"]);
    assert.deepEqual([message.id, message.kapso.direction], [id, "inbound"]);
    assert.equal(message.type, content.type === "voice" ? "audio" : content.type);
    if (content.type === "text") assert.equal(message.text.body, content.text);
    if (content.type === "order") assert.equal(message.order.orderText, "Please");
    if (message.type === "image") assert.equal(message.image.caption, content.caption);
  }
  const sent = await client.messages.sendInteractiveButtons({ phoneNumberId: number, to: amara, bodyText: "Keep it?", buttons: [{ id: "keep", title: "Keep" }] });
  for (const status of ["sent", "delivered"]) {
    const { statuses } = await next();
    assert.deepEqual([statuses[0].id, statuses[0].status, statuses[0].recipientId], [sent.messages[0].id, status, amara.slice(1)]);
  }
  await sandbox.write("amara", { type: "button", payload: "keep" });
  const { messages: [pressed] } = await next();
  assert.deepEqual([pressed.interactive.buttonReply.id, pressed.context.id], ["keep", sent.messages[0].id]);
});
