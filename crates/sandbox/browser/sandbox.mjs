// A sandbox of the tests' own, and the business that writes through it.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { templates } from "./kinds.mjs";

export const phoneNumber = "200000000000001";
export const instagramAccount = "17841400000000001";
const tokens = { whatsapp: "EAAsandboxSystemUserToken", instagram: "IGAAsandboxUserToken" };

/** Starts one; it ends when its input is closed. */
export async function startSandbox() {
  // Built by `make test-browser`.
  const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../target", import.meta.url));
  const child = spawn(`${target}/debug/examples/serve`, [], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise((done, failed) => {
    lines.once("line", done);
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`the sandbox ended with ${code}`)));
  });
  const call = async (method, path, body, token) => {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const answer = await fetch(`${url}${path}`, { method, headers, body: body && JSON.stringify(body) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(said)}`);
    return said;
  };
  // JSON is YAML too.
  const added = await fetch(`${url}/sandbox/script`, { method: "POST", body: JSON.stringify({ templates }) });
  if (!added.ok) throw new Error(`the templates were refused: ${await added.text()}`);
  const { customers } = await call("GET", "/sandbox/state");
  const lucia = customers.find((customer) => customer.id === "lucia");
  return {
    url,
    call,
    /** The business writes to Amara on WhatsApp; answers the message's id. */
    toAmara: async (message) => (await call("POST", `/v26.0/${phoneNumber}/messages`, { messaging_product: "whatsapp", to: "+447700900101", ...message }, tokens.whatsapp)).messages?.[0].id,
    /** The business writes to Lucía on Instagram. */
    toLucia: async (message) => (await call("POST", `/v26.0/${instagramAccount}/messages`, { recipient: { id: lucia.igsid }, ...message }, tokens.instagram)).message_id,
    /** The business calls Instagram's Graph. */
    asInstagram: (method, path, body) => call(method, path, body, tokens.instagram),
    /** A customer writes; answers the message's id. */
    write: async (customer, account, content) => (await call("POST", `/sandbox/customers/${customer}/threads/${account}/messages`, content)).id,
    thread: (customer, account) => call("GET", `/sandbox/customers/${customer}/threads/${account}`),
    stop: () => new Promise((done) => {
      child.removeAllListeners("exit");
      child.once("exit", done);
      child.stdin.end();
    }),
  };
}
