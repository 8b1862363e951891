// What the tests need around a browser: a simulated Meta, a hub, a website that embeds it, each a process or a server of its own on a port
// that the system chooses.

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

const run = promisify(execFile);
const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const tidings = process.env.TIDINGS_BINARY ?? join(root, "target/debug/tidings");
/** The API key of the tests' hubs. */
const KEY = "the-key-of-the-tests";

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

/** Where the hubs of the tests keep what they have: SQLite, and Postgres where there is a server. In CI there has to be one. */
export function stores() {
  if (process.env.TIDINGS_TEST_POSTGRES_URL) return ["SQLite", "Postgres"];
  if (process.env.CI) throw new Error("TIDINGS_TEST_POSTGRES_URL is not set, and CI tests both stores");
  console.log("TIDINGS_TEST_POSTGRES_URL is not set: on SQLite only");
  return ["SQLite"];
}

/** A database of the tests' own, on the server that is there for them. */
async function createDatabase() {
  const server = process.env.TIDINGS_TEST_POSTGRES_URL;
  const { stdout } = await run(join(root, "scripts/find-postgres")).catch(() => ({ stdout: "" }));
  const programs = stdout.trim();
  const name = `tidings_browser_${randomBytes(6).toString("hex")}`;
  await run(programs ? join(programs, "createdb") : "createdb", [`--maintenance-db=${server}`, name]);
  return {
    url: `${server.slice(0, server.lastIndexOf("/"))}/${name}`,
    drop: () => run(programs ? join(programs, "dropdb") : "dropdb", ["--force", `--maintenance-db=${server}`, name]),
  };
}

/**
 * A simulated Meta with this script (YAML), and a hub that is wired to it both ways. Scripts of `origin` may read the hub's reels; `store` is
 * one of `stores()`.
 */
export async function startHub(script, { origin, store = "SQLite" } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "tidings-browser-"));
  const file = join(folder, "script.yaml");
  await writeFile(file, script);
  const sandbox = start(["sandbox", "--listen", "127.0.0.1:0", "--smtp", "127.0.0.1:0", "--json", "--script", file], {});
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
  const database = store === "Postgres" ? await createDatabase() : null;
  const hub = start(["serve"], {
    ...told.environment,
    TIDINGS_LISTEN: "127.0.0.1:0",
    TIDINGS_DATA_DIR: join(folder, "data"),
    TIDINGS_LOG_FORMAT: "json",
    TIDINGS_ADMIN_KEY: KEY,
    // One person gets more from a test within a minute than WhatsApp lets anybody have.
    TIDINGS_SENDING_WHATSAPP_PAIR_PAUSE_SECS: "0",
    ...(origin && { INTEGRATIONS_ALLOWED_ORIGINS: origin }),
    ...(database && { DATABASE_URL: database.url }),
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
  const url = `http://${address}`;
  await subscribe(told, url);
  await unlimited(told);
  return {
    url,
    key: KEY,
    sandbox: told.url,
    environment: told.environment,
    folder,
    async stop() {
      await stop(hub);
      await stop(sandbox);
      await database?.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Does what somebody would do at Meta: names the hub's addresses, which Meta then verifies. */
async function subscribe({ url, environment }, hub) {
  const of = (name) => environment[name];
  for (const [object, channel, app, fields] of [
    ["whatsapp_business_account", "whatsapp", "META_APP_ID", "messages"],
    ["instagram", "instagram", "INSTAGRAM_APP_ID", "messages,messaging_postbacks,messaging_seen,message_reactions,message_edit,messaging_referral,comments,live_comments,mentions"],
  ]) {
    const name = channel.toUpperCase();
    const answer = await fetch(`${url}/${of("META_GRAPH_API_VERSION")}/${of(app)}/subscriptions`, {
      method: "POST",
      body: new URLSearchParams({
        object,
        callback_url: `${hub}/api/webhooks/${channel}`,
        verify_token: of(`${name}_VERIFY_TOKEN`),
        fields,
        access_token: `${of(app)}|${of(`${name}_APP_SECRET`)}`,
      }),
    });
    if (!answer.ok) throw new Error(`${object} could not be subscribed: ${await answer.text()}`);
  }
}

/** Lifts the limit of messages to one person, as the hub's settings do. */
async function unlimited({ url, environment }) {
  const answer = await fetch(`${url}/sandbox/numbers/${environment.WHATSAPP_PHONE_NUMBER_ID}`, {
    method: "PATCH",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ limits: { pairSeconds: 0 } }),
  });
  if (!answer.ok) throw new Error(`the limits of the number could not be changed: ${await answer.text()}`);
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
