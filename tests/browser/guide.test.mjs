// The snippets of docs/guides/reels.md, run as they stand there, with the address of a hub in place of the example's. Those whose language is
// not on this machine are left out.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { build } from "esbuild";

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

test("React", async () => {
  const component = snippet("react");
  const { outputFiles } = await build({
    stdin: {
      contents: `import { createRoot } from "react-dom/client";
        ${component}
        createRoot(document.getElementById("app")).render(<Reels limit={1} />);`,
      loader: "jsx",
      resolveDir: fileURLToPath(new URL(".", import.meta.url)),
    },
    bundle: true,
    write: false,
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
  });
  site.policy = "default-src * 'unsafe-inline' data:";
  site.page = () => hostPage(`<div id="app"></div><script>${outputFiles[0].text}</script>`);
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(site.url);
  const reels = page.getByRole("region", { name: "Reels" }).locator("video");
  await page.getByRole("button", { name: "Load more" }).click();
  await reels.nth(1).waitFor({ state: "attached" });
  const sources = await reels.evaluateAll((videos) => videos.map((video) => video.src));
  assert.deepEqual(sources.map((source) => ids(source)[0]), ["179002", "179001"]);
  assert.equal(await page.getByRole("button", { name: "Load more" }).count(), 0);
  assert.deepEqual(errors, []);
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
