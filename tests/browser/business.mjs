// The business's side: a client of the hub's API, and of what the sandbox tells of itself.

import assert from "node:assert/strict";

const awaitedMs = 15_000;

/** Calls the hub, and follows its stream: whatever is waited for is looked at anew whenever something has happened. */
export class Business {
  #hub;
  #closing = new AbortController();
  #waiters = new Set();
  #following;

  constructor(hub) {
    this.#hub = hub;
    this.#following = this.#follow();
  }

  async close() {
    this.#closing.abort();
    await this.#following;
  }

  /** Answers with `{status, body, headers}`, whatever the hub says. */
  async ask(method, path, body, headers = {}) {
    const request = { method, headers: { authorization: `Bearer ${this.#hub.key}`, ...headers } };
    if (body !== undefined) {
      request.headers["content-type"] ??= "application/json";
      request.body = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
    }
    const answer = await fetch(`${this.#hub.url}${path}`, request);
    return { status: answer.status, body: await answer.json(), headers: answer.headers };
  }

  /** Answers with the body, of a call that has to succeed. */
  async call(method, path, body, headers) {
    const answer = await this.ask(method, path, body, headers);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async send(order) {
    return (await this.call("POST", "/api/v1/messages/send", order)).messageId;
  }

  message(id) {
    return this.call("GET", `/api/v1/messages/${id}`);
  }

  /** The message once Meta has it. */
  accepted(id) {
    return this.until(`Meta has ${id}`, async () => {
      const message = await this.message(id);
      assert.notEqual(message.status, "failed", JSON.stringify(message.error));
      return !["queued", "sending"].includes(message.status) && message;
    });
  }

  /** Of a conversation's messages the newest ones, the newest first. */
  async newest(conversation) {
    return (await this.call("GET", `/api/v1/conversations/${conversation}/messages?limit=50`)).messages;
  }

  /** The message with this id of Meta's, once it is in a conversation of the channel and `look` finds something in it. */
  byMeta(channel, externalId, look = () => true) {
    return this.until(`${externalId} is on ${channel}, as it should be`, async () => {
      const { conversations } = await this.call("GET", `/api/v1/conversations?channel=${channel}`);
      for (const { id } of conversations) {
        const message = (await this.newest(id)).find((one) => one.externalId === externalId);
        if (message) return look(message) && message;
      }
    });
  }

  /** What `look` finds, as soon as it finds something. */
  async until(what, look) {
    let timer;
    const inVain = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`waited in vain: ${what}`)), awaitedMs);
    });
    try {
      for (;;) {
        const happened = new Promise((resolve) => this.#waiters.add(resolve));
        const found = await look();
        if (found) return found;
        await Promise.race([happened, inVain]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async #follow() {
    const { signal } = this.#closing;
    try {
      const answer = await fetch(`${this.#hub.url}/api/v1/stream`, { headers: { authorization: `Bearer ${this.#hub.key}` }, signal });
      for await (const _ of answer.body) {
        const waiters = [...this.#waiters];
        this.#waiters.clear();
        for (const resolve of waiters) resolve();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/** The customers' side, without a page: what the sandbox's control API does and tells. */
export class Customers {
  #url;

  constructor(hub) {
    this.#url = hub.sandbox;
  }

  async call(method, path, body) {
    const answer = await fetch(`${this.#url}${path}`, { method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
    const said = await answer.json();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${JSON.stringify(said)}`);
    return said;
  }

  /** Answers with Meta's id of what was written. */
  async write(customer, account, content) {
    return (await this.call("POST", `/sandbox/customers/${customer}/threads/${account}/messages`, content)).id;
  }

  thread(customer, account) {
    return this.call("GET", `/sandbox/customers/${customer}/threads/${account}`);
  }
}
