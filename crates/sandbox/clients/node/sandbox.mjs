// A sandbox of a test's own, the customers who write on it, and a place where webhooks arrive.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

// The default world of the sandbox.
export const number = "200000000000001";
export const business = "100000000000001";
export const app = { id: "600000000000001", secret: "5a17db0c5ec2e7000000000000000001" };
export const token = "EAAsandboxSystemUserToken";
export const amara = "+447700900101";

/** The smallest that the sandbox takes for a picture: it looks at the type that is told, not into the file. */
export const picture = new Blob([Buffer.from("ffd8ffe000104a46494600010100000100010000ffd9", "hex")], { type: "image/jpeg" });

/** Starts one; it ends when its input is closed, at the latest with the test. */
export async function startSandbox(test) {
  const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../../target", import.meta.url));
  const child = spawn(`${target}/debug/examples/serve`, [], { stdio: ["pipe", "pipe", "inherit"] });
  const url = await new Promise((done, failed) => {
    createInterface({ input: child.stdout }).once("line", done);
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`the sandbox ended with ${code}`)));
  });
  test.after(async () => {
    const ended = once(child, "exit");
    child.stdin.end();
    await ended;
  });
  const call = async (method, path, body, headers = {}) => {
    const answer = await fetch(`${url}${path}`, { method, headers: { "content-type": "application/json", ...headers }, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  };
  return {
    url,
    /** The sandbox's own interface, which does not exist at Meta. */
    control: call,
    /** A customer does something; answers the message's id. */
    write: async (customer, content) => (await call("POST", `/sandbox/customers/${customer}/threads/${number}/messages`, content)).id,
    /** What a customer's phone shows. */
    thread: async (customer) => (await call("GET", `/sandbox/customers/${customer}/threads/${number}`)).messages,
    /** Has webhooks posted to an address, which the handshake verifies. */
    subscribe: (callback_url, verify_token) =>
      call("POST", `/v26.0/${app.id}/subscriptions`, { object: "whatsapp_business_account", callback_url, verify_token, fields: "messages,message_template_status_update" }, { authorization: `Bearer ${app.id}|${app.secret}` }),
  };
}

/** Where webhooks arrive. `challenge` gets the handshake's request and says what to answer, or undefined for a 403. */
export async function startHook(test, challenge) {
  const updates = [];
  const waiting = [];
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    const query = Object.fromEntries(new URL(request.url, "http://hook").searchParams);
    if (request.method === "GET") {
      const body = await challenge({ method: request.method, query, headers: request.headers });
      response.writeHead(body === undefined ? 403 : 200).end(body);
      return;
    }
    const update = { method: request.method, query, headers: request.headers, body: Buffer.concat(chunks).toString() };
    const next = waiting.shift();
    if (next) next(update);
    else updates.push(update);
    response.writeHead(200).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/hook`,
    /** The next webhook, once it is there. */
    next: () => (updates.length ? updates.shift() : new Promise((done) => waiting.push(done))),
  };
}
