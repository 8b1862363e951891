// The snippets of docs/guides/reels.md, run as they stand there, with the address of a hub in place of the example's. Those whose language is
// not on this machine are left out, and so is the one for React.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { hostPage, startBrowser, startHub, startSite } from "./site.mjs";

const run = promisify(execFile);
const guide = await readFile(new URL("../../docs/guides/reels.md", import.meta.url), "utf8");

let browser;
let site;
let hub;

before(async () => {
  site = await startSite();
  [browser, hub] = await Promise.all([
    startBrowser(),
    startHub("posts:\n  - {id: '179001', caption: First, agoMs: 2000}\n  - {id: '179002', caption: Second, agoMs: 1000}\n", { origin: site.url }),
  ]);
});

after(async () => {
  await browser?.close();
  await hub?.stop();
  await site?.stop();
});

/** The snippet that bears this name behind its language. */
function snippet(name) {
  const found = guide.match(new RegExp("^```\\w+ " + name + "\\n([^]*?)^```$", "m"));
  assert.ok(found, `the guide has no snippet ${name}`);
  return found[1].replaceAll("https://messages.example.com", hub.url);
}

function missing(command) {
  return spawnSync(command, ["--version"]).error ? `${command} is not on this machine` : false;
}

async function open(name) {
  site.policy = "default-src * 'unsafe-inline' data:";
  site.page = () => hostPage(snippet(name));
  const page = await browser.newPage();
  await page.goto(site.url);
  return page;
}

test("the element", async () => {
  const page = await open("element");
  await page.getByRole("button", { name: "Play reel: Second" }).waitFor();
  assert.equal(await page.locator("tidings-reels .tile").count(), 2);
  await page.close();
});

test("the frame", async () => {
  const page = await open("frame");
  await page.frameLocator("iframe").getByRole("button", { name: "Play reel: First" }).waitFor();
  await page.close();
});

test("the script", async () => {
  const page = await open("script");
  await page.getByRole("link", { name: "Second" }).waitFor();
  assert.deepEqual(await page.locator("#reels a").allTextContents(), ["Second", "First"]);
  await page.close();
});

const ids = (text) => [...text.matchAll(/\b17900\d\b/g)].map(([id]) => id);

test("curl", { skip: missing("curl") }, async () => {
  const { stdout } = await run("sh", ["-c", snippet("curl")]);
  assert.deepEqual(JSON.parse(stdout).reels.map((reel) => reel.id), ["179002", "179001"]);
});

test("Node.js", async () => {
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", snippet("node")]);
  assert.deepEqual(ids(stdout), ["179002", "179001"]);
});

test("Python", { skip: missing("python3") }, async () => {
  const { stdout } = await run("python3", ["-c", snippet("python")]);
  assert.deepEqual(ids(stdout), ["179002", "179001"]);
});

test("PHP", { skip: missing("php") }, async () => {
  const { stdout } = await run("php", ["-r", snippet("php").replace("<?php", "")]);
  assert.deepEqual(ids(stdout), ["179002", "179001"]);
});
