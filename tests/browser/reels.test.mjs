// <tidings-reels> in a real browser: on a foreign website with a strict policy, and as a page in a frame.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import axe from "axe-core";

import { hostPage, startBrowser, startHub, startSite, strictPolicy } from "./site.mjs";

const CAPTIONS = [
  "Needle drop of the day: Ayo Bello, side B. Listen for the horns.",
  "New in: six crates of Lagos highlife, cleaned and graded",
  "How we clean a record that has been in a cellar for forty years #vinyl",
  "Saturday in the shop with DJ Lucía 🎧",
  "Repressed at last: the blue one everybody asked for",
  "Behind the counter: mending a turntable from 1974",
];

/** So many reels with other posts between them, the newest first. */
function posts(reels) {
  const lines = [];
  for (let number = 0; number < reels; number += 1) {
    const caption = JSON.stringify(CAPTIONS[number % CAPTIONS.length]);
    const age = number * 86_400_000;
    const figures = `likes: ${37 + number * 211}, views: ${1_534 + number * 4_321}`;
    lines.push(`  - {kind: reel, id: "${17_900_000_000_000 + number}", caption: ${caption}, agoMs: ${age}, ${figures}}`);
    lines.push(`  - {kind: image, agoMs: ${age + 1_000}}`);
  }
  return lines.length > 0 ? `posts:\n${lines.join("\n")}\n` : "posts: []\n";
}

let browser;
let site;
let full;
let empty;

before(async () => {
  site = await startSite();
  [browser, full, empty] = await Promise.all([startBrowser(), startHub(posts(14), { origin: site.url }), startHub(posts(0), { origin: site.url })]);
});

after(async () => {
  await browser?.close();
  await full?.stop();
  await empty?.stop();
  await site?.stop();
});

/** Opens the website with the element of a hub; tells what its policy refused, and what went wrong. */
async function open(hub, attributes = "", options = {}) {
  site.policy = strictPolicy(hub);
  site.page = () =>
    hostPage(`<script src="${hub.url}/embed/reels.js" defer></script>\n<tidings-reels ${attributes}></tidings-reels>`);
  return visit(site.url, options);
}

async function visit(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 960, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") page.troubles.push(message.text());
  });
  await page.goto(url);
  return page;
}

const tiles = (page) => page.locator("tidings-reels .reel:not(.ghost) .tile");

async function accessible(target, what) {
  await target.evaluate(axe.source);
  const { violations } = await target.evaluate("axe.run(document, { resultTypes: ['violations'] })");
  assert.deepEqual(
    violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`),
    [],
    what,
  );
}

describe("on a website with a strict policy", () => {
  test("it shows reels, in light and dark, and everybody can use it", async () => {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(full, "", { colorScheme });
      await tiles(page).nth(5).waitFor();
      assert.equal(await tiles(page).count(), 6);
      const label = await tiles(page).first().getAttribute("aria-label");
      assert.equal(label, "Play reel: Needle drop of the day: Ayo Bello, side B. Listen for the horns., 1.5K views");
      await page.waitForFunction(() =>
        [...document.querySelector("tidings-reels").shadowRoot.querySelectorAll(".tile img")].every(
          (image) => image.complete && image.naturalWidth > 0,
        ),
      );
      await accessible(page, colorScheme);
      assert.deepEqual(page.troubles, []);
      await page.context().close();
    }
  });

  test("a reel plays where it was tapped, and one at a time", async () => {
    const page = await open(full);
    await tiles(page).first().click();
    const video = page.locator("tidings-reels video");
    await video.waitFor();
    const plays = () =>
      page.waitForFunction(() => {
        const film = document.querySelector("tidings-reels").shadowRoot.querySelector("video");
        return film && !film.paused && film.currentTime > 0.2 && film.videoWidth === 144;
      });
    await plays();
    await accessible(page, "while it plays");
    // The one that plays is no tile meanwhile.
    await tiles(page).nth(1).click();
    await plays();
    assert.equal(await video.count(), 1);
    await page.keyboard.press("Escape");
    assert.equal(await video.count(), 0);
    const focused = await page.evaluate(
      () => document.querySelector("tidings-reels").shadowRoot.activeElement?.getAttribute("aria-label"),
    );
    assert.match(focused, /^Play reel: How we clean/);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  });

  test("it can be used by the keyboard alone, page after page", async () => {
    const page = await open(full, 'limit="5"');
    await tiles(page).nth(4).waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.locator("tidings-reels video").waitFor();
    await page.keyboard.press("Escape");
    const more = page.locator("tidings-reels .more");
    for (const [count, next] of [
      [10, 5],
      [14, 10],
    ]) {
      await more.focus();
      await page.keyboard.press("Enter");
      await tiles(page).nth(count - 1).waitFor();
      assert.equal(await tiles(page).count(), count);
      await page.waitForFunction((index) => {
        const { shadowRoot } = document.querySelector("tidings-reels");
        return shadowRoot.activeElement === shadowRoot.querySelectorAll(".tile")[index];
      }, next);
    }
    assert.equal(await more.count(), 0);
    assert.equal(await page.locator("tidings-reels [role=status]").textContent(), "4 more reels");
    const labels = await tiles(page).evaluateAll((all) => all.map((tile) => tile.getAttribute("aria-label")));
    assert.equal(new Set(labels).size, 14, "each reel once");
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  });

  test("it fits a phone, in the language of the page", async () => {
    const page = await open(full, 'lang="nl"', { viewport: { width: 360, height: 740 } });
    await tiles(page).nth(5).waitFor();
    const boxes = await tiles(page).evaluateAll((all) => all.slice(0, 3).map((tile) => tile.getBoundingClientRect().toJSON()));
    assert.ok(boxes[0].y === boxes[1].y && boxes[2].y > boxes[0].y, "two columns");
    assert.ok(boxes[1].right <= 360, "nothing sticks out");
    assert.equal(await page.locator("tidings-reels .more").textContent(), "Meer laden");
    await accessible(page, "on a phone");
    await page.context().close();
  });

  test("without reels it says so", async () => {
    const page = await open(empty);
    await page.locator("tidings-reels .title").waitFor();
    assert.equal(await page.locator("tidings-reels .title").textContent(), "No reels yet");
    assert.equal(await page.locator("tidings-reels .more").count(), 0);
    await accessible(page, "without reels");
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  });

  test("what cannot be loaded is told, and tried again when the visitor asks", async () => {
    await (await open(full)).context().close();
    const page = await visit("about:blank");
    let fails = true;
    await page.route("**/integrations/instagram/reels**", (route) => (fails ? route.abort() : route.continue()));
    await page.goto(site.url);
    const retry = page.getByRole("button", { name: "Try again" });
    await retry.waitFor();
    assert.equal(await page.locator("tidings-reels .title").textContent(), "The reels could not be loaded");
    await accessible(page, "after a failure");
    fails = false;
    await retry.click();
    await tiles(page).nth(5).waitFor();
    fails = true;
    await page.getByRole("button", { name: "Load more" }).click();
    await retry.waitFor();
    assert.equal(await tiles(page).count(), 6, "what is there stays");
    fails = false;
    await retry.click();
    await tiles(page).nth(11).waitFor();
    await page.context().close();
  });
});

describe("as a page in a frame", () => {
  test("it needs nothing of the website but the frame", async () => {
    site.policy = `default-src 'none'; frame-src ${full.url}; style-src 'self'`;
    site.page = () => hostPage(`<iframe src="${full.url}/embed/reels?limit=4&theme=light" title="Our reels"></iframe>`);
    const page = await visit(site.url);
    const frame = page.frame({ url: /embed\/reels/ }) ?? (await page.waitForEvent("framenavigated"));
    await frame.locator("tidings-reels .tile").nth(3).waitFor();
    assert.equal(await frame.locator("tidings-reels .reel:not(.ghost)").count(), 4);
    await accessible(frame, "in a frame");
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  });
});

// Only where pictures are asked for: `make screenshots`.
test("its picture", { skip: !process.env.PICTURES && "no picture is asked for" }, async () => {
  await mkdir(process.env.PICTURES, { recursive: true });
  const page = await open(full, 'limit="10"', { viewport: { width: 960, height: 1040 } });
  await tiles(page).nth(9).waitFor();
  await page.waitForFunction(() =>
    [...document.querySelector("tidings-reels").shadowRoot.querySelectorAll(".tile img")].every((image) => image.complete && image.naturalWidth > 0),
  );
  await page.screenshot({ path: join(process.env.PICTURES, "reels.png") });
  await page.context().close();
});
