// The desk: a client of the sandbox's control API and nothing else. What is shown is what the sandbox answered last.
//
// Invariant: what comes from outside (names, e-mails) becomes text nodes only.

const requestTimeoutMs = 10_000;
const refreshEveryMs = 2_000;

// Where each kind of fault can strike; a test compares it with what the sandbox accepts.
const kindsAt = {
  "any": ["outage", "delay", "error", "plain_error", "reset_before", "throttle", "token_expired", "token_revoked", "number_blocked"],
  "messages": ["error", "plain_error", "status", "delay", "reset_before", "reset_after_accept", "timeout_after_accept", "throttle", "token_expired", "token_revoked", "number_blocked"],
  "media": ["error", "plain_error", "delay", "reset_before", "reset_after_accept", "timeout_after_accept", "throttle"],
  "media.upload": ["error", "plain_error", "delay", "reset_before", "reset_after_accept", "timeout_after_accept", "throttle"],
  "media.download": ["truncate", "corrupt", "page", "error", "plain_error", "delay", "reset_before", "throttle"],
  "read": ["error", "plain_error", "delay", "reset_before", "throttle", "token_expired", "token_revoked"],
  "debug_token": ["error", "plain_error", "delay", "reset_before", "throttle"],
  "tokens": ["error", "plain_error", "delay", "reset_before", "reset_after_accept"],
  "subscriptions": ["error", "plain_error", "delay", "reset_before", "throttle"],
  "message_templates": ["error", "plain_error", "delay", "reset_before", "throttle"],
  "subscribed_apps": ["error", "plain_error", "delay", "reset_before", "throttle"],
  "webhooks": ["double", "reorder", "delay", "lose", "wrong_signature", "drop_subscription"],
  "smtp.connect": ["error", "delay", "reset_before"],
  "smtp.auth": ["error", "delay", "reset_before"],
  "smtp.mail": ["error", "delay", "reset_before"],
  "smtp.rcpt": ["error", "delay", "reset_before"],
  "smtp.data": ["error", "delay", "reset_before", "reset_after_accept", "timeout_after_accept"]
};

const statuses = ["connected", "flagged", "restricted", "blocked", "disabled", "unregistered"];
const qualities = ["", "GREEN", "YELLOW", "RED", "UNKNOWN"];
const templateStatuses = ["APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED"];
const templateQualities = ["UNKNOWN", "GREEN", "YELLOW", "RED"];

// The page is served at /desk and this file at /desk/desk.js, so the API is one level up.
const root = new URL("../", import.meta.url);
const byId = (id) => document.getElementById(id);

async function call(method, path, body) {
  const request = { method, signal: AbortSignal.timeout(requestTimeoutMs) };
  if (body !== undefined) {
    request.headers = { "content-type": "application/json" };
    request.body = JSON.stringify(body);
  }
  const answer = await fetch(new URL(path, root), request);
  const text = await answer.text();
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    // Told below by the status.
  }
  if (!answer.ok) throw new Error(json?.error?.message ?? `The sandbox answered with status ${answer.status}.`);
  return json;
}

/** Does it, tells what went wrong, and looks again. */
async function act(work) {
  try {
    await work();
    byId("problem").textContent = "";
  } catch (error) {
    byId("problem").textContent = error.message;
  }
  await refresh();
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.map((child) => child ?? ""));
  return made;
}

const cell = (...children) => element("td", {}, ...children);
const button = (label, work, look = "") => element("button", { type: "button", class: look, onclick: () => act(work) }, label);
const choices = (values, chosen) => values.map((value) => element("option", { value, selected: value === chosen }, value || "by blocks"));

function choose(label, values, chosen, work) {
  return element("label", {}, label, element("select", { onchange: (event) => act(() => work(event.target.value)) }, ...choices(values, chosen)));
}

const words = (name) => name.replace(/([A-Z])/g, " $1").toLowerCase();

/** A field for each limit; a change is sent when the field is left. */
function limitFields(limits, change) {
  return Object.entries(limits).map(([name, value]) => element("label", {}, words(name),
    element("input", { type: "number", min: 0, value, onchange: (event) => act(() => change({ limits: { [name]: Number(event.target.value) } })) })));
}

function tokenButtons(account) {
  return [
    button("New token", async () => {
      const { token } = await call("POST", "sandbox/tokens", { account });
      minted.set(account, token);
    }),
    button("Let tokens expire", () => call("POST", "sandbox/tokens/expire", { account }), "danger"),
    button("Revoke tokens", () => call("POST", "sandbox/tokens/revoke", { account }), "danger"),
    minted.has(account) ? element("code", {}, minted.get(account)) : "",
  ];
}

/** The tokens that were made here, by account: the sandbox tells them only once. */
const minted = new Map();

function numberPanel(number) {
  const path = `sandbox/numbers/${encodeURIComponent(number.phoneNumberId)}`;
  const change = (what) => call("PATCH", path, what);
  return element("div", {},
    element("h3", {}, `${number.name} · ${number.display}`),
    element("p", { class: "quiet" }, `id ${number.phoneNumberId}, account ${number.businessAccountId}, quality ${number.quality}, blocked by ${number.blocks} in 7 days`),
    element("form", {},
      choose("status", statuses, number.status, (status) => change({ status })),
      choose("quality", qualities, "", (quality) => change({ quality: quality || null })),
      element("label", {}, "messages per second", element("input", { type: "number", min: 0, value: number.throughput, onchange: (event) => act(() => change({ throughput: Number(event.target.value) })) })),
      element("label", {}, "may write only to", element("input", { value: (number.allowed ?? []).join(" "), placeholder: "everybody", onchange: (event) => {
        const allowed = event.target.value.split(/[\s,]+/).filter(Boolean);
        act(() => change({ allowed: allowed.length > 0 ? allowed : null }));
      } })),
      ...limitFields(number.limits, change)),
    element("form", {}, ...tokenButtons(number.phoneNumberId)));
}

function accountPanel(account) {
  const change = (what) => call("PATCH", `sandbox/instagram-accounts/${encodeURIComponent(account.id)}`, what);
  return element("div", {},
    element("h3", {}, `@${account.username}`),
    element("p", { class: "quiet" }, `id ${account.id}`),
    element("form", {}, ...limitFields(account.limits, change)),
    element("form", {}, ...tokenButtons(account.id)));
}

function faultRow(fault) {
  const { id, endpoint, kind, hits, seen, ...rest } = fault;
  const how = Object.entries(rest).filter(([, value]) => value !== null).map(([name, value]) => `${words(name)} ${value}`);
  return element("tr", {}, cell(endpoint), cell(words(kind.replaceAll("_", " "))), cell(how.join(", ")), cell(`${hits} of ${seen}`),
    cell(button("Remove", () => call("DELETE", `sandbox/faults/${id}`))));
}

function templateRow(template) {
  const path = `sandbox/templates/${encodeURIComponent(template.name)}/${encodeURIComponent(template.language)}`;
  const select = (label, name, values) => cell(element("select", { "aria-label": label, onchange: (event) => act(() => call("PATCH", path, { [name]: event.target.value })) }, ...choices(values, template[name])));
  const body = template.components.find((component) => component.type === "BODY")?.text ?? "";
  return element("tr", { title: body }, cell(template.name), cell(template.language), cell(template.category),
    select("Status", "status", templateStatuses), select("Quality", "quality", templateQualities));
}

function mailPanel(mail) {
  return element("details", { "data-key": mail.id },
    element("summary", {}, `${mail.subject || "(no subject)"} · to ${mail.to.join(", ")}`),
    element("p", { class: "quiet" }, `from ${mail.from}, ${new Date(mail.at).toISOString()}`),
    element("pre", {}, mail.text ?? mail.html ?? mail.raw));
}

const shown = new Map();

/** Draws a list anew only when what it shows has changed, and never under the hand of whoever uses it. */
function draw(id, what, make) {
  const looks = JSON.stringify(what);
  const list = byId(id);
  if (shown.get(id) === looks || list.contains(document.activeElement)) return;
  const open = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  list.replaceChildren(...make());
  for (const one of list.querySelectorAll("details")) one.open = open.has(one.dataset.key);
  shown.set(id, looks);
}

async function refresh() {
  try {
    const [state, { faults }, summary, { mails }] = await Promise.all(
      ["sandbox/state", "sandbox/faults", "ledger/summary", "mailbox"].map((path) => call("GET", path)));
    const isStepped = state.clock.mode === "stepped";
    byId("clock").textContent = `${state.clock.time ?? state.clock.millis} (${state.clock.mode})`;
    byId("clock-form").hidden = !isStepped;
    draw("faults", faults, () => faults.map(faultRow));
    draw("numbers", [state.numbers, [...minted]], () => state.numbers.map(numberPanel));
    draw("accounts", [state.instagramAccounts, [...minted]], () => state.instagramAccounts.map(accountPanel));
    draw("templates", state.templates, () => state.templates.map(templateRow));
    const accounts = Object.entries(summary.accounts);
    draw("summary", accounts, () => accounts.map(([id, one]) => element("tr", {},
      ...[id, one.accepted, one.acceptedPerSecondMax, one.refused, one.delivered, one.failed].map((value) => cell(String(value))))));
    byId("troubles").textContent = `Doubles: ${summary.doublesByCallbackData.count} by callback data, ${summary.doublesByText.count} by text. `
      + `Out of order: ${summary.disorders.count}.`;
    draw("mails", mails, () => mails.toReversed().map(mailPanel));
    offerAccounts(state);
  } catch (error) {
    byId("problem").textContent = `The sandbox does not answer: ${error.message}`;
  }
}

function offerAccounts(state) {
  const list = byId("fault-form").elements.account;
  const options = [["", "any"], ...state.numbers.map((one) => [one.phoneNumberId, one.display]), ...state.instagramAccounts.map((one) => [one.id, `@${one.username}`])];
  const looks = JSON.stringify(options);
  if (shown.get("fault-accounts") === looks) return;
  shown.set("fault-accounts", looks);
  const chosen = list.value;
  list.replaceChildren(...options.map(([value, label]) => element("option", { value, selected: value === chosen }, label)));
}

function offerKinds() {
  const { endpoint, kind } = byId("fault-form").elements;
  kind.replaceChildren(...kindsAt[endpoint.value].map((value) => element("option", { value }, value.replaceAll("_", " "))));
}

/** Every code of Meta's tables, with what it means. */
async function offerCodes() {
  const { errors } = await call("GET", "sandbox/errors");
  const known = new Map();
  for (const error of errors) known.set(error.code, [...(known.get(error.code) ?? []), error.message]);
  byId("codes").replaceChildren(...[...known].map(([code, meanings]) => element("option", { value: code, label: `${code}: ${meanings[0]}` })));
}

function onSubmit(id, work) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act(() => work(new FormData(event.target), event.target));
  });
}

onSubmit("fault-form", (form) => {
  const fault = { endpoint: form.get("endpoint"), kind: form.get("kind") };
  if (form.get("account")) fault.account = form.get("account");
  for (const name of ["code", "subcode", "httpStatus", "seed", "count", "regainMinutes"]) if (form.get(name)) fault[name] = Number(form.get(name));
  for (const name of ["afterMs", "forMs", "delayMs"]) if (form.get(name)) fault[name] = Math.round(Number(form.get(name)) * 1000);
  if (form.get("share")) fault.share = Number(form.get("share")) / 100;
  if (!form.get("headers")) fault.headers = false;
  return call("POST", "sandbox/faults", fault);
});
onSubmit("clock-form", (form) => call("POST", "clock/advance", { ms: Number(form.get("amount")) * Number(form.get("unit")) }));
onSubmit("number-form", async (form, target) => {
  const given = Object.fromEntries([...form].filter(([, value]) => value));
  const added = await call("POST", "sandbox/numbers", given);
  minted.set(added.phoneNumberId, added.token);
  target.reset();
});
onSubmit("account-form", async (form, target) => {
  const given = Object.fromEntries([...form].filter(([, value]) => value));
  const added = await call("POST", "sandbox/instagram-accounts", given);
  minted.set(added.id, added.token);
  target.reset();
});
for (const [id, path] of [["clear-faults", "sandbox/faults"], ["clear-ledger", "ledger"], ["clear-mails", "mailbox"]]) {
  byId(id).addEventListener("click", () => act(() => call("DELETE", path)));
}

const { endpoint } = byId("fault-form").elements;
endpoint.replaceChildren(...Object.keys(kindsAt).map((value) => element("option", { value, selected: value === "messages" }, value)));
endpoint.addEventListener("change", offerKinds);
offerKinds();
act(offerCodes);
await refresh();
setInterval(refresh, refreshEveryMs);
