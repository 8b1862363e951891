// What the tests need around a browser: a simulated Meta, a hub, a website that embeds it, each a process or a server of its own on a port
// that the system chooses.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const tidings = process.env.TIDINGS_BINARY ?? join(root, "target/debug/tidings");

/** The first line that `pick` makes something of; whatever else comes is let by. */
async function lineOf(stream, pick, what) {
  const lines = createInterface({ input: stream });
  const seen = [];
  for await (const line of lines) {
    seen.push(line);
    const found = pick(line);
    if (found !== undefined) {
      stream.resume();
      return found;
    }
  }
  throw new Error(`${what} ended before it was ready:\n${seen.join("\n")}`);
}

function start(arguments_, environment) {
  return spawn(tidings, arguments_, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/** A simulated Meta with these posts (YAML), and a hub that is wired to it and lets scripts of `origin` read. */
export async function startHub(posts, origin) {
  const folder = await mkdtemp(join(tmpdir(), "tidings-browser-"));
  const script = join(folder, "script.yaml");
  await writeFile(script, posts);
  const sandbox = start(["sandbox", "--listen", "127.0.0.1:0", "--json", "--script", script], {});
  let text = "";
  sandbox.stderr.resume();
  const told = await lineOf(
    sandbox.stdout,
    (line) => {
      text += line;
      return line === "}" ? JSON.parse(text) : undefined;
    },
    "the sandbox",
  );
  const hub = start(["serve"], {
    ...told.environment,
    TIDINGS_LISTEN: "127.0.0.1:0",
    TIDINGS_DATA_DIR: join(folder, "data"),
    TIDINGS_LOG_FORMAT: "json",
    INTEGRATIONS_ALLOWED_ORIGINS: origin,
  });
  hub.stdout.resume();
  const address = await lineOf(
    hub.stderr,
    (line) => {
      const event = JSON.parse(line);
      return event.message === "the hub is running" ? event.address : undefined;
    },
    "the hub",
  );
  return {
    url: `http://${address}`,
    sandbox: told.url,
    async stop() {
      await stop(hub);
      await stop(sandbox);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A website whose page is what `page` answers for a path, as strict about what it loads as one can be. */
export async function startSite() {
  const site = { page: () => "", policy: "default-src 'none'" };
  const server = createServer((request, response) => {
    if (request.url === "/site.css") {
      response.writeHead(200, { "content-type": "text/css" });
      response.end(STYLE);
      return;
    }
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-security-policy": site.policy });
    response.end(site.page(new URL(request.url, site.url)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  site.url = `http://127.0.0.1:${server.address().port}`;
  site.stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return site;
}

/** Only what the element needs may be loaded: the script and the feed of the hub, pictures and films of Meta. */
export function strictPolicy(hub) {
  return [
    "default-src 'none'",
    `script-src ${hub.url}`,
    `connect-src ${hub.url}`,
    `img-src ${hub.sandbox}`,
    `media-src ${hub.sandbox}`,
    `frame-src ${hub.url}`,
    "style-src 'self'",
  ].join("; ");
}

export function hostPage(content) {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sandbox Records</title>
<link rel="stylesheet" href="/site.css">
</head>
<body>
<header><p class="name">Sandbox Records</p></header>
<main>
<h1>Fresh from the crates</h1>
<h2>What we are spinning this week</h2>
${content}
</main>
</body>
</html>`;
}

const STYLE = `
:root { color-scheme: light dark; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; background: #faf8f5; color: #1c1a17; }
header { border-bottom: 1px solid #e2dcd2; } .name { max-width: 920px; margin: 0 auto; padding: 16px 24px; font-weight: 700; }
main { max-width: 920px; margin: 0 auto; padding: 20px 24px 40px; } h1 { margin: 8px 0 0; font-size: 30px; }
h2 { margin: 0 0 20px; font-weight: 400; font-size: 17px; color: #5d574d; }
iframe { width: 100%; height: 1100px; border: 0; }
@media (prefers-color-scheme: dark) {
  body { background: #101216; color: #f1f3f6; } header { border-color: #2b2f37; } h2 { color: #b3b9c4; }
}
`;

export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
}
