// Whatever a customer can say: done on the phone page by clicking, and looked for in the hub's conversation through its API, on both stores.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { attachmentsOn } from "../../crates/sandbox/src/phone/attach.js";
import { Business, Customers } from "./business.mjs";
import { accounts, openPhone } from "./phone.mjs";
import { startBrowser, startHub, stores } from "./site.mjs";
import { says } from "./snippets.mjs";
import { script } from "./world.mjs";

/** What becomes of each entry of the menu, by the name that it has there. `null`: it is told to nobody's conversation. */
const fromTheMenu = {
  whatsapp: {
    photo: { type: "image", mimeType: "image/jpeg" },
    video: { type: "video", mimeType: "video/mp4" },
    voice: { type: "audio", voice: true },
    audio: { type: "audio" },
    document: { type: "document", filename: "contract.pdf", mimeType: "application/pdf" },
    sticker: { type: "sticker", mimeType: "image/webp" },
    "moving-sticker": { type: "sticker", mimeType: "image/webp" },
    location: { type: "location", latitude: 51.5033, longitude: -0.1196, name: "River Gate", address: "Belvedere Rd, London" },
    contact: { type: "contacts", contacts: [{ name: { formatted_name: "Dr Ana Reis" }, phones: [{ phone: "+351 21 000 0000" }] }] },
    order: { type: "order", text: "gift wrap please", items: [{ productRetailerId: "SKU-77", quantity: 2, price: 14.5, currency: "GBP" }] },
    forward: { type: "text", text: "Have you seen this?" },
    ad: { type: "text", text: "Tell me more" },
    unsupported: { type: "unsupported" },
  },
  instagram: {
    photo: { type: "image" },
    video: { type: "video" },
    photos: { type: "several", parts: [{ type: "image" }, { type: "image" }, { type: "image" }] },
    voice: { type: "audio" },
    file: { type: "document" },
    // Instagram tells a customer's sticker as a picture (reference `instagram.md` 2.5).
    sticker: { type: "image" },
    "moving-sticker": { type: "image" },
    heart: { type: "sticker" },
    "share-post": { type: "share", share: "post" },
    "share-reel": { type: "share", share: "reel" },
    "share-story": { type: "share", share: "story" },
    "story-reply": { type: "several", text: "Still in stock?", parts: [{ type: "share", share: "story_reply" }] },
    "story-mention": { type: "share", share: "story_mention" },
    "comment-mention": { type: "text", text: "@sandbox.records the best" },
    "caption-mention": { type: "text", text: "New from @sandbox.records" },
    ad: { type: "text", text: "Tell me more" },
    menu: { type: "reply", source: "postback", payload: "HOURS", title: "Opening hours" },
    link: null,
    unsupported: { type: "unsupported" },
  },
};

const template = (name, components) => ({ type: "template", name, language: "en_US", components });
const image = { link: "https://cdn.example.org/front.jpg" };
const header = { type: "header", parameters: [{ type: "image", image }] };
const texts = (...parameters) => parameters.map((text) => ({ type: "text", text }));
const catalogId = "190884417223306";

/** What the business asks on WhatsApp, what is done on the phone, and what comes of it: in the order in which it is asked. */
const answersOnWhatsApp = [
  {
    name: "a button",
    asks: { type: "buttons", text: "Keep your slot?", buttons: [{ title: "Keep", payload: "keep:8841" }, { title: "Move", payload: "move:8841" }] },
    gets: { type: "reply", source: "button", payload: "keep:8841", title: "Keep" },
  },
  {
    name: "a row of a list",
    asks: { type: "list", text: "Pick one", button: "See plans", sections: [{ title: "Plans", rows: [{ title: "Plan A", payload: "plan-a" }, { title: "Plan B", payload: "plan-b", description: "12 months" }] }] },
    does: async (phone) => {
      await phone.page.locator("#sheet label", { hasText: "Plan B" }).click();
      await phone.submit();
    },
    gets: { type: "reply", source: "list", payload: "plan-b", title: "Plan B", description: "12 months" },
  },
  {
    name: "a template's button",
    asks: template("order_ready", [
      header,
      { type: "body", parameters: [{ type: "text", parameter_name: "first_name", text: "Amara" }, { type: "text", parameter_name: "order_no", text: "4711" }] },
      { type: "button", sub_type: "quick_reply", index: "0", parameters: [{ type: "payload", payload: "coming:4711" }] },
      { type: "button", sub_type: "url", index: "1", parameters: texts("4711") },
      { type: "button", sub_type: "copy_code", index: "3", parameters: [{ type: "coupon_code", coupon_code: "SPRING20" }] },
    ]),
    gets: { type: "reply", source: "template_button", payload: "coming:4711", title: "I am coming" },
  },
  {
    name: "a flow",
    asks: { type: "flow", text: "How did it go?", button: "Rate", flowId: "881204739915502", token: "ft_81c", screen: "RATE", data: { order: "8841" } },
    does: async (phone) => {
      await phone.page.locator("#sheet textarea[name=comment]").fill("Very well");
      await phone.submit();
    },
    gets: { type: "form", name: "flow", answers: { order: "8841", comment: "Very well" } },
  },
  {
    name: "an order of what was shown",
    asks: { type: "product", text: "This one?", catalogId, productRetailerId: "LP-77" },
    does: (phone) => phone.submit(),
    gets: { type: "order", catalogId, items: [{ productRetailerId: "LP-77", quantity: 1 }] },
  },
  {
    name: "a question about a product",
    asks: { type: "product_list", header: { type: "text", text: "For you" }, text: "In stock", catalogId, sections: [{ title: "Records", products: ["LP-77", "LP-78"] }] },
    does: (phone) => phone.page.locator("#sheet button.ask").nth(1).click(),
    gets: { type: "text", text: "Is this one in stock?" },
  },
  {
    name: "an order from the catalogue",
    asks: { type: "catalog", text: "All our records", thumbnailProductRetailerId: "LP-77" },
    does: (phone) => phone.submit(),
    gets: { type: "order", items: [{ productRetailerId: "LP-77", quantity: 1 }] },
  },
  {
    name: "the place that was asked for",
    asks: { type: "location_request", text: "Where are you?" },
    does: (phone) => phone.submit(),
    gets: { type: "location", latitude: 51.5033, longitude: -0.1196 },
  },
  {
    name: "the number that was asked for",
    asks: { type: "contact_request", text: "Which number can we call?" },
    gets: { type: "contacts", contacts: [{ phones: [{ phone: "+447700900101" }] }] },
  },
  {
    name: "the address that was asked for",
    asks: { type: "address_request", text: "Where to?", country: "IN" },
    does: (phone) => phone.submit(),
    gets: { type: "form", name: "address_message", answers: { values: { in_pin_code: "400063", city: "Mumbai" } } },
  },
  {
    name: "the permission that was asked for",
    asks: { type: "call_permission_request", text: "May we call?" },
    does: (phone) => phone.submit(),
    gets: { type: "call_permission", response: "accept" },
  },
];

const answersOnInstagram = [
  {
    name: "a card's button",
    asks: { type: "carousel", cards: [{ title: "Wool hat", buttons: [{ title: "Keep it", payload: "keep:hat" }] }] },
    gets: { type: "reply", source: "postback", payload: "keep:hat", title: "Keep it" },
  },
  {
    name: "a button",
    asks: { type: "buttons", text: "How can we help?", buttons: [{ title: "Agent", payload: "HUMAN" }] },
    gets: { type: "reply", source: "postback", payload: "HUMAN", title: "Agent" },
  },
  {
    name: "a quick reply",
    asks: { type: "quick_replies", text: "What do you need?", quickReplies: [{ title: "Track order", payload: "TRACK" }] },
    presses: (phone) => phone.page.locator("#quick-replies .chip", { hasText: "Track order" }),
    gets: { type: "reply", source: "quick_reply", payload: "TRACK", title: "Track order" },
  },
];

for (const store of stores()) {
  describe(`what customers say, on ${store}`, { timeout: 180_000 }, () => {
    let browser;
    let hub;
    let business;
    let customers;
    const phones = {};
    const conversations = {};

    before(async () => {
      [browser, hub] = await Promise.all([startBrowser(), startHub(script, { store })]);
      business = new Business(hub);
      customers = new Customers(hub);
      for (const [channel, customer] of [["whatsapp", "amara"], ["instagram", "lucia"]]) {
        const phone = (phones[channel] = await openPhone(browser, hub, customer, accounts[channel]));
        const message = await business.byMeta(channel, await phone.write(`Hello, ${channel}`));
        says(message, { direction: "inbound", content: { type: "text", text: `Hello, ${channel}` } });
        conversations[channel] = message.conversationId;
      }
    });

    after(async () => {
      await business?.close();
      await browser?.close();
      await hub?.stop();
    });

    /** What the business says, once it is on the phone. */
    async function ask(channel, content) {
      const message = await business.accepted(await business.send({ to: { conversation: conversations[channel] }, content }));
      const row = phones[channel].row(message.externalId);
      await row.waitFor();
      return { message, row };
    }

    for (const channel of ["whatsapp", "instagram"]) {
      test(`everything of the menu comes in, on ${channel}`, async () => {
        const phone = phones[channel];
        const entries = attachmentsOn(channel);
        assert.deepEqual(entries.map((entry) => entry.name).sort(), Object.keys(fromTheMenu[channel]).sort(), "say in `fromTheMenu` what becomes of each entry");
        const sent = [];
        for (const entry of entries) sent.push([entry.name, await phone.attach(entry.name, entry.fields)]);
        for (const [name, id] of sent) {
          const expected = fromTheMenu[channel][name];
          if (expected === null) continue;
          // What is said in a caption has no id but the post's.
          const externalId = name === "caption-mention" ? `caption ${id}` : id;
          const message = await business.byMeta(channel, externalId, (one) => (one.media ?? []).every((file) => file.status === "stored"));
          says(message.content, expected, name);
          const parts = expected.parts ?? [expected];
          // The heart has no file, a place where something is shared is none.
          const files = parts.filter(({ type }) => ["image", "video", "audio", "document"].includes(type) || (type === "sticker" && channel === "whatsapp"));
          assert.equal(message.media?.length ?? 0, files.length, `${name}: its files are fetched`);
        }
        assert.deepEqual(phone.troubles, []);
      });
    }

    for (const [channel, answers] of [["whatsapp", answersOnWhatsApp], ["instagram", answersOnInstagram]]) {
      test(`whatever the business asks for is answered, on ${channel}`, async () => {
        const phone = phones[channel];
        // All at once, unless each has to be the newest when it is answered.
        const asked = [];
        const askNext = async (one) => asked.push({ ...one, ...(await ask(channel, one.asks)) });
        if (channel === "whatsapp") await Promise.all(answers.map(askNext));
        for (const one of answers) {
          if (channel === "instagram") await askNext(one);
          const { name, presses, does, gets, message, row } = asked.find((other) => other.asks === one.asks);
          const id = await phone.posted(async () => {
            await (presses?.(phone) ?? row.locator(".press").first()).click();
            await does?.(phone);
          });
          const answer = await business.byMeta(channel, id);
          says(answer.content, gets, name);
          if (channel === "whatsapp" && answer.replyTo) assert.equal(answer.replyTo.messageId, message.id, `${name} names what it answers`);
        }
        assert.deepEqual(phone.troubles, []);
      });

      test(`a message is answered, reacted to, edited and taken back, on ${channel}`, async () => {
        const phone = phones[channel];
        const { message, row } = await ask(channel, { type: "text", text: "Which colour?" });
        await phone.choose(row, "button", "React with 👍");
        await business.byMeta(channel, message.externalId, (one) => one.reactions.some((reaction) => reaction.direction === "inbound" && reaction.emoji === "👍"));

        await phone.choose(row, "menuitem", "Reply");
        const id = await phone.write("Blue, please");
        const answer = await business.byMeta(channel, id);
        says(answer, { content: { type: "text", text: "Blue, please" }, replyTo: { messageId: message.id } });

        await phone.choose(phone.row(id), "menuitem", "Edit");
        await phone.write("Green, please");
        await business.byMeta(channel, id, (one) => one.editedAt !== null && one.content.text === "Green, please");
        await phone.choose(phone.row(id), "menuitem", channel === "instagram" ? "Unsend" : "Delete for everyone");
        await business.byMeta(channel, id, (one) => one.deletedAt !== null && one.content.type === "deleted");

        // What is on the screen counts as read.
        await business.byMeta(channel, message.externalId, (one) => one.status === "read");
        assert.deepEqual(phone.troubles, []);
      });
    }

    test("a voice message is recorded and comes in, and ours is played", async () => {
      const phone = phones.whatsapp;
      const id = await phone.posted(() => phone.page.locator("#record").click());
      const voice = await business.byMeta("whatsapp", id, (one) => one.media?.[0]?.status === "stored");
      assert.equal(voice.content.voice, true);
      const { message, row } = await ask("whatsapp", { type: "audio", mediaId: (await again(voice)).id, voice: true });
      await row.locator(".voice button").click();
      await business.byMeta("whatsapp", message.externalId, (one) => one.statusTimes.played);
    });

    /** The file of a message, uploaded as one of ours. */
    async function again(message) {
      const file = await fetch(`${hub.url}/api/v1/media/${message.media[0].id}/content`, { headers: { authorization: `Bearer ${hub.key}` } });
      return business.call("POST", "/api/v1/media?filename=voice.ogg", new Uint8Array(await file.arrayBuffer()), { "content-type": "application/octet-stream" });
    }

    test("a comment on a post comes in, is answered on the post, and taken back", async () => {
      const phone = phones.instagram;
      const { id: mediaId } = await customers.call("POST", `/sandbox/instagram-accounts/${accounts.instagram}/posts`, { kind: "image", caption: "Straight from Lagos" });
      await phone.page.locator("#open-posts").click();
      const post = phone.page.locator("#posts > li", { hasText: "Straight from Lagos" });
      const externalId = await phone.posted(async () => {
        await post.locator("input").fill("Do you ship to Spain?");
        await post.locator("input").press("Enter");
      });
      const comment = await business.byMeta("instagram", externalId);
      says(comment.content, { type: "text", text: "Do you ship to Spain?" });
      const conversation = await business.call("GET", `/api/v1/conversations/${comment.conversationId}`);
      says(conversation, { kind: "comments", post: { mediaId }, directConversation: conversations.instagram });
      await business.accepted(await business.send({ content: { type: "comment_reply", messageId: comment.id, text: "We do." } }));
      await post.locator(".answers .comment[data-by=business]", { hasText: "We do." }).waitFor();
      await post.locator(".comment[data-by=me]").getByRole("button", { name: "Delete" }).click();
      await post.locator(".comment").first().waitFor({ state: "detached" });
      await phone.page.locator("#sheet-close").click();
      assert.deepEqual(phone.troubles, []);
    });

    test("a comment on a broadcast comes in as one, and is answered in a message while that lasts", async () => {
      const phone = phones.instagram;
      await phone.page.locator("#open-posts").click();
      // Who has the posts open sees that it begins, and that it is over.
      const { id: mediaId } = await customers.call("POST", `/sandbox/instagram-accounts/${accounts.instagram}/posts`, { kind: "video", caption: "Live from the shop", live: true });
      const post = phone.page.locator("#posts > li", { hasText: "Live from the shop" });
      await post.getByText("Live now").waitFor();
      const say = (text) => phone.posted(async () => {
        await post.locator("input").fill(text);
        await post.locator("input").press("Enter");
      });
      const comment = await business.byMeta("instagram", await say("How much is the red one?"));
      says(comment, { content: { type: "text", text: "How much is the red one?" }, comment: { kind: "live", hidden: false } });
      const conversation = await business.call("GET", `/api/v1/conversations/${comment.conversationId}`);
      says(conversation, { kind: "comments", post: { mediaId }, directConversation: conversations.instagram });
      const refused = await business.ask("POST", "/api/v1/messages/send", { content: { type: "comment_reply", messageId: comment.id, text: "29 euros." } });
      says(refused, { status: 409, body: { error: "comment_not_answerable" } });
      const answer = await business.accepted(await business.send({ content: { type: "private_reply", messageId: comment.id, text: "29 euros." } }));
      assert.equal(answer.conversationId, conversations.instagram);
      await post.locator(".comment[data-by=me]").getByText("Answered in a message").waitFor();

      await customers.call("PATCH", `/sandbox/posts/${mediaId}`, { live: false });
      await post.getByText("Live now").waitFor({ state: "detached" });
      const late = await business.byMeta("instagram", await say("And in blue?"));
      says(late, { comment: { kind: "comment" }, conversationId: comment.conversationId });
      await phone.page.locator("#sheet-close").click();
      await phone.row(answer.externalId).getByText("29 euros.").waitFor();
      assert.deepEqual(phone.troubles, []);
    });

    // Last: from here on she has another number.
    test("a customer moves to another number and stays the same contact", async () => {
      const phone = phones.whatsapp;
      const { contact } = await business.call("GET", `/api/v1/conversations/${conversations.whatsapp}`);
      await phone.page.locator("#new-number").click();
      await phone.page.locator("#sheet input[name=phone]").fill("+44 7700 900777");
      await phone.posted(() => phone.submit());
      await business.until("the change is in the conversation", async () => {
        const messages = await business.newest(conversations.whatsapp);
        return messages.some((message) => message.content.type === "system" && message.content.change === "changed_number");
      });
      const message = await business.byMeta("whatsapp", await phone.write("It is still me"));
      assert.equal(message.conversationId, conversations.whatsapp);
      const now = await business.call("GET", `/api/v1/contacts/${contact.id}`);
      assert.ok(now.identities.some((identity) => identity.value.endsWith("447700900777")), JSON.stringify(now.identities));
    });
  });
}
