// The phone page in Chromium: every kind is drawn, can be answered, and can be sent. Nothing waits for a time: each step awaits what
// it brings about.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { chromium } from "playwright-core";

import { attachmentsOn } from "../src/phone/attach.js";
import { onInstagram, onWhatsApp } from "./kinds.mjs";
import { instagramAccount, phoneNumber, startSandbox } from "./sandbox.mjs";

// Without these it would look for its maker's hosts at every start.
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let sandbox;
let browser;
let page;
const problems = [];

before(async () => {
  sandbox = await startSandbox();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: quiet });
  page = await browser.newPage({ viewport: { width: 1500, height: 1000 }, reducedMotion: "reduce" });
  page.setDefaultTimeout(15_000);
  page.on("console", (line) => line.type() === "error" && problems.push(line.text()));
  page.on("pageerror", (error) => problems.push(error.message));
});

after(async () => {
  await browser?.close();
  await sandbox?.stop();
});

// What the policy of the page forbids, and what the scripts throw, is told on the console.
afterEach(() => assert.deepEqual(problems, []));

/** The phone of this customer, in the thread with this account. */
async function phoneOf(customer, account) {
  await page.goto("about:blank");
  await page.goto(`${sandbox.url}/phone#customer=${customer}&account=${account}`);
  await page.locator("#conversation:not([hidden])").waitFor();
}

const row = (id) => page.locator(`#messages > li[data-message="${id}"]`);

/** Does it, and answers what the page posted for it, once the sandbox has taken it. */
async function posted(work) {
  const answer = page.waitForResponse((response) => response.request().method() === "POST" && response.url().endsWith("/messages"));
  await work();
  const response = await answer;
  assert.equal(response.status(), 201, await response.text());
  return response.request().postDataJSON();
}

const kindNamed = (kinds, name) => kinds.find((kind) => kind.name === name);

for (const [app, kinds, customer, account, send] of [
  ["WhatsApp", onWhatsApp, "amara", phoneNumber, (message) => sandbox.toAmara(message)],
  ["Instagram", onInstagram, "lucia", instagramAccount, (message) => sandbox.toLucia(message)],
]) {
  test(`every kind that a business sends is drawn, on ${app}`, async () => {
    await sandbox.write(customer, account, { type: "text", text: "Hello" });
    await phoneOf(customer, account);
    // All at once: a message takes a moment to the phone.
    const sent = [];
    for (const kind of kinds) sent.push([kind, await send(kind.send)]);
    for (const [kind, id] of sent) {
      const [selector, text] = kind.shows;
      await row(id).locator(selector).filter({ hasText: text }).first().waitFor().catch((error) => assert.fail(`${kind.name}: ${error.message}`));
    }
  });

  test(`every kind that a customer can send is sent from the menu, on ${app}`, async () => {
    await phoneOf(customer, account);
    for (const one of attachmentsOn(app.toLowerCase())) {
      await page.locator("#attach").click();
      const body = await posted(async () => {
        await page.locator(`#sheet button.tile[value="${one.name}"]`).click();
        if (one.fields) await page.locator("#sheet-send").click();
      });
      const expected = one.body({ person: "x", quantity: "1", latitude: "0", longitude: "0", text: "x", ref: "x" }).type;
      assert.equal(body.type, expected, one.name);
    }
  });
}

test("what is pressed answers the message that has it", async () => {
  await phoneOf("amara", phoneNumber);
  const pressed = ["buttons", "list", "flow", "product", "product list", "catalogue", "location request", "address", "number request", "call permission"];
  const ids = new Map();
  for (const name of pressed) ids.set(name, await sandbox.toAmara(kindNamed(onWhatsApp, name).send));
  const press = async (name, expected, more = async () => {}) => {
    const id = ids.get(name);
    const button = row(id).locator(".press, .carousel-card .press").first();
    const body = await posted(async () => {
      await button.click();
      await more();
    });
    for (const [key, value] of Object.entries(expected(id))) assert.deepEqual(body[key], value, `${name}: ${key}`);
  };
  const submit = () => page.locator("#sheet-send").click();
  await press("buttons", (messageId) => ({ messageId, payload: "keep:8841" }));
  await press("list", (messageId) => ({ messageId, payload: "plan-b" }), async () => {
    await page.locator("#sheet label", { hasText: "Plan B" }).click();
    await submit();
  });
  await press("flow", (messageId) => ({ messageId, answers: { order: "8841", comment: "Very well" } }), async () => {
    await page.locator("#sheet textarea[name=comment]").fill("Very well");
    await submit();
  });
  await press("product", () => ({ catalogId: "190884417223306", items: [{ product: "SKU-77", quantity: 1, price: 14.5, currency: "EUR" }] }), submit);
  await press("product list", (messageId) => ({ messageId, text: "Is this one in stock?", catalogId: "190884417223306", product: "SKU-78" }), async () => {
    await page.locator("#sheet button.ask").nth(1).click();
  });
  await press("catalogue", () => ({ items: [{ product: "SKU-77", quantity: 1, price: 14.5, currency: "EUR" }] }), submit);
  await press("location request", (replyTo) => ({ replyTo, latitude: 51.5033, longitude: -0.1196, name: "River Gate", address: "Belvedere Rd, London" }), submit);
  await press("address", (messageId) => ({ messageId }), submit);
  await press("number request", (messageId) => ({ messageId }));
  await press("call permission", (messageId) => ({ messageId, accept: true }), submit);
});

test("a template's buttons answer as a template's", async () => {
  await phoneOf("amara", phoneNumber);
  const whole = await sandbox.toAmara(kindNamed(onWhatsApp, "template with everything").send);
  await row(whole).locator(".stand-in").waitFor();
  await row(whole).locator(".footer", { hasText: "River Gate" }).waitFor();
  assert.equal(await row(whole).locator("a.press").getAttribute("href"), "https://example.org/t/8841");
  await row(whole).locator(".press", { hasText: "Copy" }).click();
  await page.locator("#toast", { hasText: "SPRING20" }).waitFor();
  const confirmed = await posted(() => row(whole).locator(".press", { hasText: "Confirm" }).click());
  assert.deepEqual(confirmed, { type: "button", messageId: whole, payload: "CONFIRM_8841" });
  const cards = await sandbox.toAmara(kindNamed(onWhatsApp, "carousel template").send);
  const picked = await posted(() => row(cards).locator(".carousel-card").nth(1).locator("button.press").click());
  assert.deepEqual(picked, { type: "button", messageId: cards, payload: "Globe" });
});

test("a customer blocks, refuses marketing, and moves to another number", async () => {
  await phoneOf("amara", phoneNumber);
  for (const [id, on, off] of [["blocks", "block", "unblock"], ["refuses", "stop_marketing", "resume_marketing"]]) {
    const control = page.locator(`#${id}`);
    assert.deepEqual(await posted(() => control.click()), { type: on });
    await page.locator(`#${id}[aria-checked=true]`).waitFor();
    assert.deepEqual(await posted(() => control.click()), { type: off });
    await page.locator(`#${id}[aria-checked=false]`).waitFor();
  }
  const moved = async (phone) => {
    await page.locator("#new-number").click();
    await page.locator("#sheet input[name=phone]").fill(phone);
    await posted(() => page.locator("#sheet-send").click());
    await page.locator("#customer-list .person-detail", { hasText: phone.replaceAll(" ", "") }).waitFor();
  };
  await moved("+44 7700 900777");
  // And back, for whoever writes to her next.
  await moved("+44 7700 900101");
});

test("a card's button, a chip and a double press answer, on Instagram", async () => {
  await phoneOf("lucia", instagramAccount);
  const cards = await sandbox.toLucia(kindNamed(onInstagram, "generic template").send);
  const pressed = await posted(() => row(cards).locator(".carousel-card").nth(1).locator("button.press").click());
  assert.deepEqual([pressed.type, pressed.payload], ["button", "SIZES OF SCARF"]);
  const asked = await sandbox.toLucia(kindNamed(onInstagram, "quick replies").send);
  await row(asked).waitFor();
  const tapped = await posted(() => page.locator("#quick-replies .chip", { hasText: "Track order" }).click());
  assert.deepEqual([tapped.type, tapped.messageId, tapped.payload], ["quick_reply", asked, "TRACK"]);
  const hearted = await posted(() => row(asked).locator(".bubble").dblclick());
  assert.deepEqual(hearted, { type: "reaction", messageId: asked, emoji: "❤️" });
  await row(asked).locator(".reactions", { hasText: "❤️" }).waitFor();
});

test("a message is written, answered, reacted to, edited and deleted", async () => {
  await phoneOf("amara", phoneNumber);
  const id = await sandbox.toAmara({ type: "text", text: { body: "Which colour?" } });
  const choose = async (message, item) => {
    await row(message).hover();
    await row(message).locator(".more").click();
    await page.locator("#message-menu").getByRole(item.role ?? "menuitem", { name: item.name ?? item }).click();
  };
  const liked = await posted(() => choose(id, { role: "button", name: "React with 👍" }));
  assert.equal(liked.emoji, "👍");
  await row(id).locator(".reactions", { hasText: "👍" }).waitFor();

  await choose(id, "Reply");
  await page.locator("#draft").fill("Blue, please");
  const answered = await posted(() => page.locator("#draft").press("Enter"));
  assert.deepEqual(answered, { type: "text", text: "Blue, please", replyTo: id });
  const own = (await sandbox.thread("amara", phoneNumber)).messages.at(-1).id;
  const ownRow = page.locator("#messages > li.mine:not(.pending)").last();
  await ownRow.locator(".quote", { hasText: "Which colour?" }).waitFor();

  const menuOf = async (item) => {
    await ownRow.hover();
    await ownRow.locator(".more").click();
    await page.locator("#message-menu").getByRole("menuitem", { name: item }).click();
  };
  await menuOf("Edit");
  await page.locator("#draft").fill("Green, please");
  assert.deepEqual(await posted(() => page.locator("#draft").press("Enter")), { type: "edit", messageId: own, text: "Green, please" });
  await ownRow.locator(".meta", { hasText: "Edited" }).waitFor();
  assert.deepEqual(await posted(() => menuOf("Delete for everyone")), { type: "unsend", messageId: own });
  await ownRow.locator(".faint").waitFor();

  // The microphone stands where the arrow is while there is nothing to send.
  const voice = await posted(() => page.locator("#record").click());
  assert.equal(voice.type, "voice");
});

test("the business's typing and its blue ticks are seen", async () => {
  await phoneOf("amara", phoneNumber);
  const id = await sandbox.write("amara", phoneNumber, { type: "text", text: "Are you there?" });
  await row(id).locator(".ticks[data-status=delivered]").waitFor();
  await sandbox.toAmara({ status: "read", message_id: id, typing_indicator: { type: "text" }, to: undefined });
  await row(id).locator(".ticks[data-status=read]").waitFor();
  await page.locator("#messages > li.typing").waitFor();
});

test("the files that the sandbox makes are shown and played by the browser", async () => {
  await phoneOf("amara", phoneNumber);
  for (const type of ["image", "sticker"]) {
    const id = await sandbox.write("amara", phoneNumber, { type });
    const picture = row(id).locator("img");
    await picture.scrollIntoViewIfNeeded();
    assert.ok(await picture.evaluate((image) => image.decode().then(() => image.naturalWidth)) > 100, type);
  }
  for (const [type, selector] of [["video", "video"], ["audio", "audio"], ["voice", "audio"]]) {
    const id = await sandbox.write("amara", phoneNumber, { type });
    const sound = row(id).locator(selector);
    await sound.waitFor({ state: "attached" });
    const length = await sound.evaluate((media) => new Promise((done, failed) => {
      media.addEventListener("error", () => failed(new Error(media.error.message)));
      if (media.readyState >= 1) done(media.duration);
      else media.addEventListener("loadedmetadata", () => done(media.duration));
    }));
    assert.ok(Math.abs(length - 3) < 0.1, `${type}: ${length}`);
  }
});

test("whatever can be pressed says what it is", async () => {
  for (const [customer, account] of [["amara", phoneNumber], ["lucia", instagramAccount]]) {
    await phoneOf(customer, account);
    await page.locator("#messages > li.message").first().waitFor();
    const nameless = await page.locator("#phone button, #phone a").evaluateAll((controls) => controls
      .filter((control) => control.checkVisibility() && !(control.getAttribute("aria-label") || control.textContent.trim() || control.querySelector("img[alt]:not([alt=''])")))
      .map((control) => control.outerHTML));
    assert.deepEqual(nameless, []);
  }
});

test("a customer comments on a post, and sees what the business makes of it", async () => {
  const account = `/sandbox/instagram-accounts/${instagramAccount}/posts`;
  const { id: postId } = await sandbox.call("POST", account, { kind: "image", caption: "New lamps" });
  await phoneOf("lucia", instagramAccount);
  await page.locator("#open-posts").click();
  const post = page.locator("#posts > li", { hasText: "New lamps" });
  const body = await posted(async () => {
    await post.locator("input").fill("Do you ship to Lyon?");
    await post.getByRole("button", { name: "Post" }).click();
  });
  assert.deepEqual([body.type, body.mediaId, body.text], ["comment", postId, "Do you ship to Lyon?"]);
  const own = post.locator(".comment[data-by=me]");
  await own.filter({ hasText: "Do you ship to Lyon?" }).waitFor();
  const [comment] = (await sandbox.call("GET", `/sandbox/posts/${postId}/comments`)).comments;

  await sandbox.asInstagram("POST", `/v26.0/${comment.id}/replies`, { message: "Yes, to all of France." });
  await post.locator(".answers .comment[data-by=business]", { hasText: "Yes, to all of France." }).waitFor();
  await sandbox.asInstagram("POST", `/v26.0/${comment.id}?hide=true`);
  await own.filter({ hasText: "Hidden by the business" }).waitFor();
  await sandbox.asInstagram("POST", `/v26.0/${comment.id}?hide=false`);
  await own.filter({ hasNotText: "Hidden by the business" }).waitFor();
  await sandbox.asInstagram("POST", `/v26.0/${instagramAccount}/messages`, { recipient: { comment_id: comment.id }, message: { text: "Here is the link." } });
  await own.filter({ hasText: "Answered in a message" }).waitFor();

  // What is answered goes below the same comment.
  await posted(async () => {
    await post.getByRole("button", { name: "Reply to" }).last().click();
    // The field is drawn anew for it.
    const reply = post.getByPlaceholder("Reply to");
    await reply.fill("Thank you!");
    await reply.press("Enter");
  });
  await post.locator(".answers .comment[data-by=me]", { hasText: "Thank you!" }).waitFor();
  await own.first().getByRole("button", { name: "Delete" }).click();
  await post.locator(".comment").first().waitFor({ state: "detached" });
  assert.deepEqual((await sandbox.call("GET", `/sandbox/posts/${postId}/comments`)).comments, []);
  await page.locator("#sheet-close").click();
  await page.locator("#messages > li", { hasText: "Here is the link." }).waitFor();
});

test("a post that is made while the posts are read is seen", async () => {
  const account = `/sandbox/instagram-accounts/${instagramAccount}/posts`;
  await phoneOf("lucia", instagramAccount);
  await page.route(`**${account}`, async (route) => {
    // What is answered is older than what the page hears of before it gets the answer.
    const response = await route.fetch();
    const heard = page.waitForRequest("**/sandbox/state");
    await sandbox.call("POST", account, { kind: "image", caption: "Lamps in between" });
    await heard;
    await route.fulfill({ response });
  }, { times: 1 });
  await page.locator("#open-posts").click();
  await page.locator("#posts > li", { hasText: "Lamps in between" }).waitFor();
});

test("a comment that the business has hidden is seen by its author alone", async () => {
  const { id: postId } = await sandbox.call("POST", `/sandbox/instagram-accounts/${instagramAccount}/posts`, { kind: "image", caption: "Old lamps" });
  await sandbox.call("POST", "/sandbox/customers", { id: "noor", kind: "instagram", name: "Noor", username: "noor.k" });
  const hiddenId = await sandbox.write("lucia", instagramAccount, { type: "comment", text: "You are crooks", mediaId: postId });
  await sandbox.write("lucia", instagramAccount, { type: "comment", text: "I like them", mediaId: postId });
  await sandbox.asInstagram("POST", `/v26.0/${hiddenId}?hide=true`);
  for (const [customer, count] of [["lucia", 2], ["noor", 1]]) {
    await phoneOf(customer, instagramAccount);
    await page.locator("#open-posts").click();
    const post = page.locator("#posts > li", { hasText: "Old lamps" });
    await post.locator(".comment", { hasText: "I like them" }).waitFor();
    assert.equal(await post.locator(".comment").count(), count, customer);
  }
});
