// @great-detail/whatsapp, unchanged, on the sandbox: only the address of Graph is another one.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import Client from "@great-detail/whatsapp";

import { amara, app, business, number, picture, startHook, startSandbox, token } from "./sandbox.mjs";

const authorization = `Bearer ${token}`;
const link = "https://cdn.example.org/lamp";

async function start(t) {
  const sandbox = await startSandbox(t);
  return { sandbox, sdk: new Client({ prefixUrl: sandbox.url, request: { headers: { authorization }, retry: 0 } }) };
}

test("great-detail: every kind reaches the phone", async (t) => {
  const { sandbox, sdk } = await start(t);
  const hello = await sandbox.write("amara", { type: "text", text: "Hello" });
  const kinds = {
    text: { body: "It *shines*", preview_url: true },
    image: { link: `${link}.jpg`, caption: "A lamp" },
    video: { link: `${link}.mp4`, caption: "Tour" },
    audio: { link: `${link}.mp3` },
    document: { link: `${link}.pdf`, filename: "lamp.pdf" },
    sticker: { link: `${link}.webp` },
    location: { latitude: 51.5033, longitude: -0.1196, name: "River Gate", address: "London" },
    contacts: [{
      name: { formatted_name: "Service Desk", first_name: "Service" },
      phones: [{ phone: "+442079460111", type: "WORK" }], addresses: [], emails: [], urls: [],
    }],
    interactive: { type: "button", body: { text: "Keep it?" }, action: { buttons: [{ type: "reply", reply: { id: "keep", title: "Keep" } }] } },
    reaction: { message_id: hello, emoji: "👍" },
    template: {
      name: "mr_dj_booking_confirmation", language: { code: "en_US" },
      components: [{ type: "body", parameters: [{ type: "text", text: "1 May" }, { type: "text", text: "Utrecht" }] }],
    },
  };
  for (const [type, content] of Object.entries(kinds)) {
    const { messages } = await sdk.message.createMessage({ phoneNumberID: number, to: amara, type, [type]: content }).json();
    assert.match(messages[0].id, /^wamid\./, type);
    const shown = await sandbox.thread("amara");
    if (type === "reaction") assert.deepEqual(shown[0].reactions, [{ by: "theirs", emoji: "👍" }]);
    else assert.equal(shown.at(-1).id, messages[0].id, type);
  }
  const read = await sdk.message.createStatus({ phoneNumberID: number, message_id: hello, status: "read", typing_indicator: { type: "text" } }).json();
  assert.equal(read.success, true);
});

test("great-detail: an answer needs the reference's name for the message that it answers", async (t) => {
  const { sandbox, sdk } = await start(t);
  const hello = await sandbox.write("amara", { type: "text", text: "Hello" });
  const answer = (context) => sdk.message.createMessage({ phoneNumberID: number, to: amara, type: "text", text: { body: "Hi" }, context });
  // Its types say inReplyTo and it sends that; WhatsApp's name is message_id.
  await assert.rejects(answer({ inReplyTo: hello }), { name: "HTTPError" });
  const { messages } = await answer({ message_id: hello }).json();
  assert.match(messages[0].id, /^wamid\./);
});

test("great-detail: a file goes up and comes back down", async (t) => {
  const { sdk } = await start(t);
  const { id } = await sdk.media.upload({ phoneNumberID: number, mimeType: picture.type, file: picture, filename: "lamp.jpg" }).json();
  const found = await sdk.media.getURL({ mediaID: id, phoneNumberID: number }).json();
  const bytes = Buffer.from(await picture.arrayBuffer());
  assert.deepEqual([found.mime_type, found.file_size, found.sha256], [picture.type, bytes.length, createHash("sha256").update(bytes).digest("hex")]);
  // It downloads without the token that it was made with; the caller has to bring it.
  await assert.rejects(sdk.media.download({ mediaURL: found.url, request: { retry: 0 } }), { name: "HTTPError" });
  const file = await sdk.media.download({ mediaURL: found.url, request: { headers: { authorization }, retry: 0 } });
  assert.deepEqual(Buffer.from(await file.arrayBuffer()), bytes);
  assert.equal((await sdk.media.delete({ mediaID: id, phoneNumberID: number }).json()).success, true);
  await assert.rejects(sdk.media.getURL({ mediaID: id }), { name: "HTTPError" });
});

test("great-detail: templates are listed, made, edited and deleted", async (t) => {
  const { sandbox, sdk } = await start(t);
  const list = async (filter) => (await sdk.template.list(business, { fields: ["name", "status"], ...filter }).json()).data.map((one) => one.name);
  assert.deepEqual((await list({})).sort(), ["hello_world", "mr_dj_booking_confirmation"]);
  assert.deepEqual(await list({ name_or_content: "booking", status: ["APPROVED", "PAUSED"], limit: 10 }), ["mr_dj_booking_confirmation"]);
  const body = (text) => [{ type: "BODY", text, example: { body_text: [["Arc"]] } }];
  const draft = { name: "lamp_ready", language: "en_US", category: "UTILITY", components: body("Lamp {{1}} is ready.") };
  const made = await sdk.template.create(business, draft).json();
  assert.equal(made.status, "PENDING");
  await sandbox.control("PATCH", "/sandbox/templates/lamp_ready/en_US", { status: "APPROVED" });
  assert.equal((await sdk.template.get(made.id, { fields: ["name", "status"] }).json()).status, "APPROVED");
  assert.equal((await sdk.template.update(made.id, { components: body("Your {{1}} is ready.") }).json()).success, true);
  assert.equal((await sdk.template.delete(business, { name: "lamp_ready" }).json()).success, true);
  assert.deepEqual(await list({ name_or_content: "lamp_ready" }), []);
});

test("great-detail: account, numbers, profile and subscription are read and changed", async (t) => {
  const { sdk } = await start(t);
  assert.equal((await sdk.whatsappBusinessAccount.get(business, { fields: ["id", "name"] }).json()).name, "Sandbox business");
  assert.deepEqual((await sdk.phoneNumbers.listPhoneNumbers({ businessAccountID: business, fields: ["id"] }).json()).data, [{ id: number }]);
  assert.equal((await sdk.phoneNumbers.getPhoneNumber({ phoneNumberID: number, fields: ["id", "verified_name"] }).json()).verified_name, "Sandbox Records");
  await sdk.businessProfile.updateBusinessProfile({ phoneNumberID: number, about: "Lamps", vertical: "RETAIL" });
  const profile = await sdk.businessProfile.getBusinessProfile({ phoneNumberID: number, fields: ["about", "vertical"] }).json();
  assert.deepEqual(profile.data, [{ about: "Lamps", vertical: "RETAIL", messaging_product: "whatsapp" }]);
  assert.equal((await sdk.subscribedApps.createSubscription({ businessAccountID: business }).json()).success, true);
  assert.equal((await sdk.subscribedApps.listSubscriptions({ businessAccountID: business }).json()).data[0].whatsapp_business_api_data.id, app.id);
});

test("great-detail: it verifies the callback, checks signatures and reads updates", { timeout: 30_000 }, async (t) => {
  const { sandbox, sdk } = await start(t);
  const hook = await startHook(t, async (request) => {
    const registration = await sdk.webhook.register(request);
    return registration.verifyToken === "verify" ? registration.accept() : registration.reject();
  });
  await assert.rejects(sandbox.subscribe(hook.url, "wrong"), /2200/);
  await sandbox.subscribe(hook.url, "verify");
  const id = await sandbox.write("amara", { type: "text", text: "Olá 👋" });
  const update = await hook.next();
  const event = await sdk.webhook.eventNotification(update);
  await event.verifySignature(app.secret);
  await assert.rejects(event.verifySignature("another secret"), sdk.webhook.errors.InvalidHubSignatureWebhookError);
  const [change] = event.eventNotification.entry[0].changes;
  assert.deepEqual([change.field, change.value.messages[0].id, change.value.messages[0].text.body], ["messages", id, "Olá 👋"]);
  const { messages } = await sdk.message.createMessage({ phoneNumberID: number, to: amara, type: "text", text: { body: "Hi" } }).json();
  const told = await sdk.webhook.eventNotification(await hook.next());
  await told.verifySignature(app.secret);
  const [status] = told.eventNotification.entry[0].changes[0].value.statuses;
  assert.deepEqual([status.id, status.status], [messages[0].id, "sent"]);
});
