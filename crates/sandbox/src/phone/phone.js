// The phone: a person plays a customer of the business.
//
// A client of the sandbox's control API and nothing else. What is on the screen is always drawn from what the sandbox
// answered last: an event of the stream says only "look again", so a missed or doubled event does no harm.
//
// In order: the control API, what the page knows, the screens, the panels, writing, what can be done to a message, sending,
// staying up to date, the start. How things are drawn is in draw.js, messages in bubbles.js, what slides up in sheets.js, what can
// be attached in attach.js, posts with their comments in posts.js, and how often is read again in once.js.
//
// Invariant: text from customers and applications becomes text nodes only.

import { attachmentsOn, bodyOf, fieldsOf } from "./attach.js";
import { canActOn, gist, messageRow, ticks } from "./bubbles.js";
import { avatar, byId, clockFormat, dayFormat, element, hidden, icon, onTime, reconcile, root, secondsFormat, shortDayFormat, told } from "./draw.js";
import { oneAtATime } from "./once.js";
import { openPosts, refreshPosts } from "./posts.js";
import { flowSheet, formSheet, listSheet, productsSheet, setUpSheet, tilesSheet } from "./sheets.js";

const requestTimeoutMs = 10_000;
const clockEveryMs = 15_000;
const ledgerEveryMs = 4_000;
const typingEveryMs = 4_000;
const reconnectAfterMs = 3_000;
const toastMs = 6_000;
const ledgerLinesMax = 30;
const ledgerPageMax = 1_000;
const ledgerPagesMax = 20;
const accountsMax = 20;
const customersShownMax = 200;
const customersBeforeSearch = 8;

// Users may edit for 15 minutes and delete for everyone for 2 days (whatsapp.md 4.8). No such limit is stated for
// Instagram.
const editableMs = { whatsapp: 15 * 60_000, instagram: Infinity };
const deletableMs = { whatsapp: 48 * 3_600_000, instagram: Infinity };

const reactionChoices = {
  whatsapp: ["👍", "❤️", "😂", "😮", "😢", "🙏"],
  instagram: ["❤️", "😂", "😮", "😢", "😡", "👍"],
};
const emojiShortcuts = ["😊", "😂", "❤️", "👍", "🙏", "🎉", "😍", "🤔", "👋"];

// --- The control API ---

async function call(method, path, body) {
  const request = { method, signal: AbortSignal.timeout(requestTimeoutMs) };
  if (body !== undefined) {
    request.headers = { "content-type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let answer;
  let text;
  try {
    answer = await fetch(new URL(path, root), request);
    text = await answer.text();
  } catch (cause) {
    throw new Error("The sandbox does not answer.", { cause });
  }
  const json = parsed(text);
  if (!answer.ok) throw new Error(reasonIn(json) ?? `The sandbox answered with status ${answer.status}.`);
  return json;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What a person should read in an error's body, in any of the shapes the sandbox has. */
function reasonIn(json) {
  return [json?.error?.message, json?.detail, json?.message, json?.error].find((text) => typeof text === "string");
}

const customerPath = (customerId) => `sandbox/customers/${encodeURIComponent(customerId)}`;
const threadPath = (customerId, accountId) => `${customerPath(customerId)}/threads/${encodeURIComponent(accountId)}`;

// --- What the page knows ---

const known = {
  /** The last answer of /sandbox/state; null until there is one. */
  world: null,
  worldProblem: null,
  /** Thread key → the last answer for that thread. */
  threads: new Map(),
  /** Thread key → messages that the sandbox hasn't taken yet, or refused. */
  unsent: new Map(),
  /** Thread key → why it could not be read. */
  threadProblems: new Map(),
  /** The newest lines of the ledger, oldest first; null until it was read. */
  ledger: null,
  ledgerProblem: null,
  linkLost: false,
};

const chosen = { customerId: null, accountId: null, screen: "list" };

/** What the composer does besides sending: {does: "reply" | "edit", message}, or null. */
let aim = null;

const keyOf = (customerId, accountId) => `${customerId}\n${accountId}`;
const chosenKey = () => keyOf(chosen.customerId, chosen.accountId);
const customers = () => known.world?.customers ?? [];
const chosenCustomer = () => customers().find((customer) => customer.id === chosen.customerId) ?? null;
const chosenAccount = () => accountsFor(chosenCustomer()).find((account) => account.id === chosen.accountId) ?? null;
const chosenThread = () => known.threads.get(chosenKey()) ?? null;

/** The business's numbers or Instagram accounts that this customer can write to. */
function accountsFor(customer) {
  if (!customer || !known.world) return [];
  const accounts = customer.kind === "instagram"
    ? (known.world.instagramAccounts ?? []).map((one) => ({ id: one.id, name: one.name || one.username, detail: `@${one.username}` }))
    : (known.world.numbers ?? []).map((one) => ({ id: one.phoneNumberId, name: one.name || one.display, detail: one.display }));
  return accounts.slice(0, accountsMax);
}

/** The sandbox's own time, in milliseconds: it may run faster than ours, or stand still. */
function sandboxNow() {
  const clock = known.world?.clock;
  const told = typeof clock === "object" && clock !== null ? clock.millis ?? clock.now : clock;
  const millis = typeof told === "string" ? Date.parse(told) : told;
  return onTime(millis) ? millis : Date.now();
}

function messagesOf(thread) {
  return Array.isArray(thread?.messages) ? thread.messages : [];
}

/** What arrived on the phone and wasn't looked at. */
function unreadIn(thread) {
  return messagesOf(thread).filter((message) => !message.mine && message.status === "delivered").length;
}

// --- Days ---

const dayOf = (millis) => new Date(millis).toDateString();

function dayName(millis) {
  const yesterday = new Date(sandboxNow());
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayOf(millis) === dayOf(sandboxNow())) return "Today";
  return dayOf(millis) === yesterday.toDateString() ? "Yesterday" : told(dayFormat, millis);
}

function listTime(millis) {
  if (dayOf(millis) === dayOf(sandboxNow())) return told(clockFormat, millis);
  return dayName(millis) === "Yesterday" ? "Yesterday" : told(shortDayFormat, millis);
}

// --- The screens ---

function render() {
  renderClock();
  renderPeople();
  renderAccounts();
  renderSettings();
  renderLedger();
  renderPhone();
}

function renderClock() {
  // As on a phone: the hour without its half of the day.
  const parts = clockFormat.formatToParts(sandboxNow()).filter((part) => part.type !== "dayPeriod");
  byId("status-clock").textContent = parts.map((part) => part.value).join("").trim();
}

function renderPhone() {
  const customer = chosenCustomer();
  const account = chosenAccount();
  const phone = byId("phone");
  phone.dataset.kind = customer?.kind === "instagram" ? "instagram" : "whatsapp";
  const inThread = Boolean(customer && account && chosen.screen === "thread");
  phone.dataset.screen = inThread ? "thread" : "list";
  byId("link-lost").hidden = !known.linkLost || !known.world;
  byId("notice").hidden = Boolean(customer);
  byId("chats").hidden = !customer || inThread;
  byId("conversation").hidden = !inThread;
  if (!customer) renderNotice();
  else if (inThread) renderConversation(customer, account);
  else renderChats(customer);
}

function renderNotice() {
  const again = element("button", { type: "button", class: "small-button", onclick: refreshAll }, "Try again");
  const add = element("button", { type: "button", class: "small-button", onclick: openCustomerDialog }, icon("plus"), "New customer");
  const content = known.worldProblem
    ? [icon("alert"), element("strong", {}, "The sandbox can't be reached"), element("p", {}, known.worldProblem), again]
    : known.world
      ? [icon("people"), element("strong", {}, "Nobody here yet"), element("p", {}, "Make a first customer, and write to the business as them."), add]
      : [element("span", { class: "spinner", "aria-hidden": "true" }), element("p", {}, "Looking for customers…")];
  const looks = known.worldProblem ?? String(Boolean(known.world));
  const notice = byId("notice");
  if (notice.dataset.looks === looks) return;
  notice.dataset.looks = looks;
  notice.replaceChildren(...content);
}

function renderChats(customer) {
  byId("chats-title").textContent = customer.kind === "instagram" ? customer.username || customer.name : "Chats";
  byId("playing").textContent = `You are ${customer.name}.`;
  const rows = accountsFor(customer).map((account) => {
    const thread = known.threads.get(keyOf(customer.id, account.id));
    const last = messagesOf(thread).at(-1) ?? null;
    const looks = [account, last, unreadIn(thread), thread?.typing, customer.kind, dayOf(sandboxNow())];
    return { key: account.id, looks, draw: () => chatRow(customer, account, thread, last) };
  });
  if (!rows.length) rows.push({ key: "none", looks: customer.kind, draw: () => element("li", { class: "notice" }, icon("bubble"), element("p", {}, customer.kind === "instagram" ? "The sandbox has no Instagram account to write to." : "The sandbox has no WhatsApp number to write to.")) });
  reconcile(byId("chat-list"), rows);
}

function chatRow(customer, account, thread, last) {
  const unread = unreadIn(thread);
  const line = thread?.typing ? "typing…" : last ? `${last.mine && customer.kind === "instagram" ? "You: " : ""}${gist(last, customer.kind)}` : "Say hello";
  const marks = !thread?.typing && last?.mine && customer.kind === "whatsapp" && last.kind !== "deleted" && ticks(last);
  return element("li", {}, element("button", { type: "button", class: "chat", "data-unread": String(unread > 0), onclick: () => openThread(account.id) },
    avatar(account.id, account.name),
    element("span", { class: "chat-text" },
      element("span", { class: "chat-name" }, account.name),
      element("span", { class: "chat-time" }, last ? listTime(last.at) : ""),
      element("span", { class: "chat-last" }, marks, element("span", { dir: "auto" }, line)),
      unread ? element("span", { class: "chat-count" }, String(unread), hidden(" unread")) : element("span"))));
}

function renderConversation(customer, account) {
  const thread = chosenThread();
  const detail = byId("business-detail");
  byId("business-name").textContent = account.name;
  detail.textContent = thread?.typing ? "typing…" : account.detail;
  detail.dataset.typing = String(Boolean(thread?.typing));
  byId("business-avatar").replaceChildren(avatar(account.id, account.name));
  byId("open-posts").hidden = customer.kind !== "instagram";
  byId("draft").placeholder = customer.kind === "instagram" ? "Message…" : "Message";
  renderThreadStart(customer, account, thread);
  renderMessages(customer, account, thread);
  renderQuickReplies(thread);
}

function renderThreadStart(customer, account, thread) {
  const problem = known.threadProblems.get(chosenKey());
  const app = customer.kind === "instagram" ? "Instagram" : "WhatsApp";
  const words = problem && !thread
    ? `The messages could not be read. ${problem}`
    : !thread
      ? "Reading the messages…"
      : messagesOf(thread).length
        ? `A simulated chat: what you write goes to the sandbox, not to ${app}.`
        : `No messages yet. Say hello to ${account.name}: it goes to the sandbox, not to ${app}.`;
  byId("thread-start").replaceChildren(avatar(account.id, account.name), element("strong", {}, account.name), element("p", {}, words));
}

let shownThreadKey = null;
let atNewest = true;

function renderMessages(customer, account, thread) {
  const key = chosenKey();
  const turned = key !== shownThreadKey;
  const taken = new Set(messagesOf(thread).map((message) => message.id));
  const messages = [...messagesOf(thread), ...(known.unsent.get(key) ?? []).filter((message) => !taken.has(message.takenAs))];
  const about = { messages, account, kind: customer.kind, acts };
  const rows = messageRows(about);
  if (thread?.typing) rows.push({ key: "typing", looks: customer.kind, draw: typingRow });
  const fresh = reconcile(byId("messages"), rows);
  if (turned) atNewest = true;
  else for (const freshKey of fresh) rowNode(freshKey)?.classList.add("arrived");
  const mineCame = fresh.some((freshKey) => messages.some((message) => message.mine && rowKey(message) === freshKey));
  if (turned || mineCame) atNewest = true;
  shownThreadKey = thread ? key : null;
  if (atNewest) toNewest("instant");
  else byId("to-newest").hidden = false;
}

// A message that was sent from here keeps its row, and so doesn't jump, when the sandbox's own copy takes its place.
const rowKeys = new Map();
const rowKey = (message) => rowKeys.get(message.id) ?? `message ${message.id}`;
const rowNode = (key) => [...byId("messages").children].find((node) => node.dataset.key === key) ?? null;

function messageRows(about) {
  const rows = [];
  about.messages.forEach((message, at) => {
    const before = about.messages[at - 1];
    const after = about.messages[at + 1];
    const separator = separatorBetween(before, message, about.kind);
    if (separator) rows.push({ key: `day ${message.id}`, looks: separator, draw: () => element("li", { class: "day" }, separator) });
    const place = {
      first: Boolean(separator) || before?.mine !== message.mine,
      last: !after || after.mine !== message.mine || Boolean(separatorBetween(message, after, about.kind)),
      under: about.kind === "instagram" && message.mine && !after ? instagramStatus(message) : null,
    };
    const quoted = message.replyTo ? gist(about.messages.find((other) => other.id === message.replyTo), about.kind) : "";
    rows.push({ key: rowKey(message), looks: [message, place, quoted, about.kind, about.account.name], draw: () => messageRow(message, about, place) });
  });
  return rows;
}

/** WhatsApp names each day; Instagram also tells the time again after an hour of silence. */
function separatorBetween(before, message, kind) {
  const newDay = !before || dayOf(before.at) !== dayOf(message.at);
  if (kind === "whatsapp") return newDay ? dayName(message.at) : null;
  return newDay || message.at - before.at > 3_600_000 ? `${dayName(message.at)} ${told(clockFormat, message.at)}` : null;
}

function instagramStatus(message) {
  if (message.kind === "deleted") return null;
  return { read: "Seen", pending: "Sending…", delivered: "Delivered", sent: "Sent" }[message.status] ?? null;
}

function typingRow() {
  return element("li", { class: "message typing first last" }, element("div", { class: "bubble" }, hidden("The business is typing"), element("span"), element("span"), element("span")));
}

function renderQuickReplies(thread) {
  // They belong to the newest message and vanish once answered (instagram.md 3.2).
  const last = messagesOf(thread).at(-1);
  const replies = last && !last.mine ? last.quickReplies ?? [] : [];
  const row = byId("quick-replies");
  const looks = replies.length ? JSON.stringify([last.id, replies]) : "";
  if (row.dataset.looks === looks) return;
  row.dataset.looks = looks;
  row.hidden = !replies.length;
  row.replaceChildren(...replies.map((reply) => element("button", { type: "button", class: "chip", onclick: () => answerQuickly(last, reply) }, reply.title)));
}

function toNewest(behavior) {
  const thread = byId("thread");
  thread.scrollTo({ top: thread.scrollHeight, behavior });
  byId("to-newest").hidden = true;
}

function watchScrolling() {
  const thread = byId("thread");
  thread.addEventListener("scroll", () => {
    atNewest = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 60;
    if (atNewest) byId("to-newest").hidden = true;
  }, { passive: true });
  // Pictures arrive, the composer grows, the window turns: the newest message stays in sight.
  const keep = new ResizeObserver(() => atNewest && toNewest("instant"));
  keep.observe(thread);
  keep.observe(byId("messages"));
  byId("to-newest").addEventListener("click", () => toNewest("smooth"));
}

function pointAt(id) {
  const node = rowNode(rowKey({ id }));
  if (!node) return toast("That message is not in this chat any more.");
  node.scrollIntoView({ block: "center", behavior: "smooth" });
  node.classList.remove("pointed-at");
  requestAnimationFrame(() => node.classList.add("pointed-at"));
}

// --- The panels ---

function identityLine(customer) {
  if (customer.kind === "instagram") return customer.username ? `@${customer.username}` : customer.igsid ?? "";
  const username = customer.username && `@${customer.username}`;
  if (customer.phone && identityOf(customer) !== "bsuid") return [phoneNumber(customer.phone), username].filter(Boolean).join(" · ");
  return [username, customer.userId].filter(Boolean).join(" · ");
}

const phoneNumber = (digits) => (digits.startsWith("+") ? digits : `+${digits}`);

function renderPeople() {
  const search = byId("customer-search");
  const wanted = search.value.trim().toLowerCase();
  search.hidden = customers().length <= customersBeforeSearch;
  const found = customers()
    .filter((customer) => !wanted || [customer.name, customer.phone, customer.username, customer.userId, customer.igsid].some((text) => text?.toLowerCase().includes(wanted)))
    .slice(0, customersShownMax);
  byId("customer-none").hidden = !wanted || found.length > 0;
  reconcile(byId("customer-list"), found.map((customer) => ({
    key: customer.id,
    looks: [customer.name, identityLine(customer), customer.kind, customer.id === chosen.customerId],
    draw: () => personRow(customer),
  })));
}

function personRow(customer) {
  const app = customer.kind === "instagram" ? "Instagram" : "WhatsApp";
  return element("li", {}, element("button", { type: "button", class: "person", "aria-current": customer.id === chosen.customerId ? "true" : null, onclick: () => chooseCustomer(customer.id) },
    avatar(customer.id, customer.name, customer.kind),
    element("span", { class: "person-text" }, element("span", { class: "person-name" }, customer.name), element("span", { class: "person-detail" }, hidden(`${app}, `), identityLine(customer)))));
}

function renderAccounts() {
  const accounts = accountsFor(chosenCustomer());
  byId("accounts-part").hidden = accounts.length < 2;
  reconcile(byId("account-list"), accounts.map((account) => {
    const current = account.id === chosen.accountId && chosen.screen === "thread";
    return {
      key: account.id,
      looks: [account, current],
      draw: () => element("li", {}, element("button", { type: "button", class: "person", "aria-current": current ? "true" : null, onclick: () => { closeDrawers(); openThread(account.id); } },
        avatar(account.id, account.name),
        element("span", { class: "person-text" }, element("span", { class: "person-name" }, account.name), element("span", { class: "person-detail" }, account.detail)))),
    };
  }));
}

function renderSettings() {
  const customer = chosenCustomer();
  byId("settings").hidden = !customer;
  if (!customer) return;
  byId("settings-title").textContent = customer.name;
  byId("auto-read").setAttribute("aria-checked", String(Boolean(customer.autoRead)));
  byId("auto-read-note").textContent = customer.autoRead ? "The business learns when its messages were read." : "The business sees its messages delivered, never read.";
  byId("read-now").hidden = Boolean(customer.autoRead) || chosen.screen !== "thread" || !unreadIn(chosenThread());
  byId("identity").hidden = customer.kind !== "whatsapp";
  // Both are about the business whose chat is open.
  byId("attitude").hidden = customer.kind !== "whatsapp" || chosen.screen !== "thread";
  byId("blocks").setAttribute("aria-checked", String(Boolean(chosenThread()?.blocked)));
  byId("refuses").setAttribute("aria-checked", String(Boolean(chosenThread()?.refusesMarketing)));
  for (const radio of byId("identity").querySelectorAll("input")) radio.checked = radio.value === identityOf(customer);
}

/** How webhooks name this customer: by phone, by business-scoped id, or both (whatsapp.md 6.3). */
function identityOf(customer) {
  if (["phone", "both"].includes(customer.identity)) return customer.identity;
  if (customer.identity) return "bsuid";
  if (customer.phone && customer.userId) return "both";
  return customer.phone ? "phone" : "bsuid";
}

// The ledger's kinds, in a newcomer's words: who acted (`about`), on what, and in which direction.
const happenings = {
  received: { name: "API call", about: "call", sign: "inward" },
  accepted: { name: "Message accepted", about: "call", sign: "tick" },
  refused: { name: "API call refused", about: "fault", sign: "blocked" },
  swallowed: { name: "Message swallowed", about: "fault", sign: "alert" },
  faulted: { name: "Fault", about: "fault", sign: "alert" },
  delivered: { name: "Delivered to the phone", about: "person", sign: "ticks" },
  read: { name: "Read by the customer", about: "person", sign: "ticks" },
  failed: { name: "Message failed", about: "fault", sign: "alert" },
  written: { name: "Customer", about: "person", sign: "person" },
  posted: { name: "Webhook posted", about: "hook", sign: "outward" },
  acknowledged: { name: "Webhook taken", about: "hook", sign: "tick" },
  gave_up: { name: "Webhook given up", about: "fault", sign: "close" },
  dropped: { name: "Event dropped", about: "fault", sign: "bin" },
  verified: { name: "Callback verified", about: "hook", sign: "tick" },
};

/** Kinds that this page doesn't know are still shown, under their own name. */
function happeningOf(kind) {
  const name = String(kind ?? "event").replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();
  if (happenings[name]) return happenings[name];
  const words = name.replaceAll("_", " ");
  return { name: words[0].toUpperCase() + words.slice(1), about: "other", sign: "activity" };
}

const numberOf = (entry) => entry.seq ?? entry.sequence ?? 0;

function renderLedger() {
  const entries = (known.ledger ?? []).toReversed();
  const note = byId("ledger-note");
  note.hidden = entries.length > 0 && !known.ledgerProblem;
  note.textContent = known.ledgerProblem ? `The ledger could not be read. ${known.ledgerProblem}` : known.ledger ? "Nothing yet. Write a message and watch it go by." : "Reading the ledger…";
  reconcile(byId("ledger"), entries.map((entry) => ({ key: String(numberOf(entry)), looks: entry, draw: () => ledgerRow(entry) })));
}

function ledgerRow(entry) {
  const { name, about, sign } = happeningOf(entry.kind);
  const summary = element("summary", {},
    element("span", { class: "entry-sign" }, icon(sign)),
    element("span", { class: "entry-name" }, name),
    element("time", { class: "entry-time" }, told(secondsFormat, typeof entry.at === "string" ? Date.parse(entry.at) : entry.at)),
    element("span", { class: "entry-text" }, entry.summary || summaryOf(entry)));
  const rest = JSON.stringify(entry.detail ?? entry, null, 2);
  return element("li", {}, element("details", { class: "entry", "data-about": about }, summary, element("pre", {}, rest)));
}

/** For an entry that comes without a line of its own: who, and the plain facts of its detail, in a row. */
function summaryOf(entry) {
  const detail = typeof entry.detail === "object" && entry.detail !== null ? entry.detail : { detail: entry.detail };
  const who = customers().find((customer) => customer.id === entry.customer)?.name;
  return [who, ...Object.entries(detail).map(factOf)].filter(Boolean).join(" · ").slice(0, 240);
}

function factOf([name, value]) {
  if (typeof value === "string") return value;
  if (typeof value === "number") return `${name} ${value}`;
  return Array.isArray(value) ? `${name} ${value.length}` : null;
}

// --- Choosing ---

function chooseCustomer(customerId) {
  closeDrawers();
  const accounts = accountsFor(customers().find((customer) => customer.id === customerId));
  setAim(null);
  chosen.customerId = customerId;
  chosen.accountId = accounts[0]?.id ?? null;
  chosen.screen = accounts.length === 1 ? "thread" : "list";
  afterChoice();
}

function openThread(accountId) {
  setAim(null);
  chosen.accountId = accountId;
  chosen.screen = "thread";
  afterChoice();
  if (matchMedia("(hover: hover)").matches) byId("draft").focus();
}

function backToChats() {
  const accountId = chosen.accountId;
  chosen.screen = "list";
  afterChoice();
  [...byId("chat-list").children].find((node) => node.dataset.key === accountId)?.querySelector("button")?.focus();
}

function afterChoice() {
  rememberChoice();
  render();
  refreshThreads();
}

/** The choice is kept in the address, so that a reload, or a link to a colleague, shows the same phone. */
function rememberChoice() {
  const words = new URLSearchParams({ customer: chosen.customerId ?? "" });
  if (chosen.screen === "thread" && chosen.accountId) words.set("account", chosen.accountId);
  history.replaceState(null, "", `#${words}`);
}

/** Makes the choice fit the world: the remembered one if it still exists, else the first customer. */
function settleChoice() {
  if (chosenCustomer()) return;
  const words = new URLSearchParams(location.hash.slice(1));
  const customer = customers().find((one) => one.id === words.get("customer")) ?? customers()[0];
  const accounts = accountsFor(customer);
  const account = accounts.find((one) => one.id === words.get("account"));
  chosen.customerId = customer?.id ?? null;
  chosen.accountId = (account ?? accounts[0])?.id ?? null;
  chosen.screen = account || accounts.length === 1 ? "thread" : "list";
}

function closeDrawers() {
  for (const drawer of [byId("people"), byId("happenings")]) if (drawer.matches(":popover-open")) drawer.hidePopover();
}

let toastTimer = null;

function toast(text) {
  clearTimeout(toastTimer);
  byId("toast").textContent = text;
  toastTimer = setTimeout(() => { byId("toast").textContent = ""; }, toastMs);
}

/** Runs what a person asked for; says on the phone why it failed. Whether it worked. */
async function attempt(work) {
  try {
    await work();
    return true;
  } catch (problem) {
    toast(problem.message);
    return false;
  }
}

// --- Writing ---

function setUpComposer() {
  const draft = byId("draft");
  byId("composer").addEventListener("submit", (event) => { event.preventDefault(); sendDraft(); });
  draft.addEventListener("input", draftChanged);
  draft.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); sendDraft(); }
    if (event.key === "Escape" && aim) { event.stopPropagation(); setAim(null); }
  });
  byId("aim-cancel").addEventListener("click", () => { setAim(null); draft.focus(); });
  byId("emoji-toggle").addEventListener("click", toggleEmoji);
  byId("emoji-row").append(...emojiShortcuts.map((emoji) => element("button", { type: "button", class: "emoji", onclick: () => putInDraft(emoji) }, emoji)));
  byId("back").addEventListener("click", backToChats);
}

/** With nothing to send, a voice message can be recorded. */
function draftChanged() {
  const empty = !byId("draft").value.trim();
  byId("send").hidden = empty;
  byId("record").hidden = !empty;
}

function putInDraft(text) {
  const draft = byId("draft");
  draft.setRangeText(text, draft.selectionStart, draft.selectionEnd, "end");
  draftChanged();
  draft.focus();
}

function toggleEmoji() {
  const row = byId("emoji-row");
  row.hidden = !row.hidden;
  byId("emoji-toggle").setAttribute("aria-expanded", String(!row.hidden));
}

function setAim(next) {
  const draft = byId("draft");
  if (aim?.does === "edit" && next?.does !== "edit") draft.value = "";
  aim = next;
  byId("aim").hidden = !aim;
  if (aim) {
    const author = aim.message.mine ? "yourself" : chosenAccount()?.name ?? "the business";
    byId("aim-title").textContent = aim.does === "edit" ? "Edit message" : `Reply to ${author}`;
    byId("aim-preview").textContent = gist(aim.message, chosenCustomer()?.kind);
    if (aim.does === "edit") draft.value = aim.message.text;
    draft.focus();
  }
  draftChanged();
}

async function sendDraft() {
  const draft = byId("draft");
  const text = draft.value.trim();
  if (!text) return;
  if (aim?.does === "edit") return sendEdit(text);
  const replyTo = aim?.message.id;
  draft.value = "";
  setAim(null);
  await send({ type: "text", text, replyTo }, { kind: "text", text, replyTo });
}

async function sendEdit(text) {
  const message = aim.message;
  if (text === message.text || await attempt(() => post({ type: "edit", messageId: message.id, text }))) setAim(null);
}

function setUpAttachments() {
  byId("open-posts").addEventListener("click", () => openPosts({ call, post, toast }, chosen.customerId, chosen.accountId));
  byId("attach").addEventListener("click", () => {
    const kind = chosenCustomer()?.kind ?? "whatsapp";
    tilesSheet("Send", attachmentsOn(kind), (one) => one && attach(one, kind));
  });
  byId("record").addEventListener("click", () => send({ type: "voice", replyTo: takeReply() }, { kind: "audio", voice: true }));
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector("[data-closes]")?.addEventListener("click", () => dialog.close());
  }
}

/** Sends what was chosen, after asking for what it needs. */
function attach(one, kind) {
  const give = async (values) => {
    try {
      const body = await bodyOf(one, values, kind);
      const replyTo = takeReply();
      await send(replyTo ? { ...body, replyTo } : body, { kind: looksOf[body.type] ?? body.type, text: body.text, caption: body.caption });
    } catch (problem) {
      toast(problem.message);
    }
  };
  if (!one.fields) return give({});
  return formSheet(one.label, fieldsOf(one, kind), "Send", give);
}

/** How the control API's names differ from what the thread calls them, for the moment until its own copy is there. */
const looksOf = { voice: "audio", heart: "like_heart", from_ad: "text", forward: "text", story_reply: "text" };

/** The message that is about to be answered; it is only once. */
function takeReply() {
  const replyTo = aim?.does === "reply" ? aim.message.id : undefined;
  if (replyTo) setAim(null);
  return replyTo;
}

// --- What can be done to a message ---

let menuMessage = null;
let menuOpener = null;

function setUpMessageMenu() {
  const menu = byId("message-menu");
  byId("menu-reply").addEventListener("click", () => fromMenu((message) => setAim({ does: "reply", message })));
  byId("menu-edit").addEventListener("click", () => fromMenu((message) => setAim({ does: "edit", message })));
  byId("menu-unsend").addEventListener("click", () => fromMenu((message) => attempt(() => post({ type: "unsend", messageId: message.id }))));
  menu.addEventListener("toggle", (event) => {
    const open = event.newState === "open";
    menuOpener?.setAttribute("aria-expanded", String(open));
  });
  menu.addEventListener("keydown", walkMenu);
}

function fromMenu(work) {
  const message = menuMessage;
  byId("message-menu").hidePopover();
  if (message) work(message);
}

function walkMenu(event) {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const items = [...event.currentTarget.querySelectorAll("button")].filter((item) => !item.hidden);
  const at = items.indexOf(document.activeElement);
  items.at((at + step + items.length) % items.length).focus();
}

function openMessageMenu(opener, message) {
  const kind = chosenCustomer()?.kind ?? "whatsapp";
  const age = sandboxNow() - message.at;
  menuMessage = message;
  menuOpener = opener;
  const current = message.reactions?.find((reaction) => reaction.mine)?.emoji;
  byId("reaction-row").replaceChildren(...reactionChoices[kind].map((emoji) => element("button", {
    type: "button", class: "emoji", "aria-label": `React with ${emoji}`, "aria-pressed": String(emoji === current), onclick: () => fromMenu((chosenMessage) => react(chosenMessage, emoji)),
  }, emoji)));
  byId("menu-edit").hidden = !(message.mine && message.kind === "text" && age < editableMs[kind]);
  byId("menu-unsend").hidden = !(message.mine && age < deletableMs[kind]);
  byId("menu-unsend-label").textContent = kind === "instagram" ? "Unsend" : "Delete for everyone";
  byId("message-menu").showPopover();
  placeMenu(byId("message-menu"), opener);
  byId("reaction-row").querySelector("button").focus();
}

/** Below what opened it if there is room, else above, and never outside the phone. */
function placeMenu(menu, opener) {
  const around = byId("phone-screen").getBoundingClientRect();
  const from = opener.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = from.bottom + 6;
  const top = below + height < around.bottom - 8 ? below : Math.max(around.top + 8, from.top - height - 6);
  const left = Math.min(Math.max(from.left + from.width / 2 - width / 2, around.left + 8), around.right - width - 8);
  menu.style.top = `${top}px`;
  menu.style.left = `${left}px`;
}

/** A double press gives a heart on Instagram, and the choice of reactions on WhatsApp, as in the apps. */
function doublePressed(event, message) {
  if (!canActOn(message) || event.target.closest("a, button")) return;
  getSelection()?.removeAllRanges();
  if (chosenCustomer()?.kind === "instagram") react(message, "❤️");
  else openMessageMenu(event.currentTarget, message);
}

/** The same reaction again takes it back, by leaving the emoji out (whatsapp.md 4.4). */
function react(message, emoji) {
  const current = message.reactions?.find((reaction) => reaction.mine)?.emoji;
  return attempt(() => post({ type: "reaction", messageId: message.id, emoji: emoji === current ? undefined : emoji }));
}

async function press(control, message, button) {
  control.disabled = true;
  await attempt(() => post({ type: "button", messageId: message.id, payload: button.payload }));
  control.disabled = false;
}

/** What a message's action asks for, as a sheet or at once. */
function answer(message) {
  const { kind, parameters } = message.action;
  const messageId = message.id;
  const give = (body) => attempt(() => post(body));
  switch (kind) {
    case "flow": {
      const payload = parameters.flow_action_payload ?? {};
      return flowSheet(message.action.label, payload.screen, payload.data, (answers) => give({ type: "flow", messageId, answers }));
    }
    case "send_location":
      return formSheet("Send location", fieldsOf(attachmentsOn("whatsapp").find((one) => one.name === "location"), "whatsapp"), "Send", async (values) => {
        const body = await bodyOf(attachmentsOn("whatsapp").find((one) => one.name === "location"), values, "whatsapp");
        give({ ...body, replyTo: messageId });
      });
    case "address_message":
      return formSheet("Provide address", [
        { name: "name", label: "Name", required: true, value: chosenCustomer()?.name }, { name: "phone_number", label: "Phone number", type: "tel", value: "+91 98765 43210" },
        { name: "in_pin_code", label: "Pin code", required: true, value: "400063" }, { name: "house_number", label: "House number", value: "12" },
        { name: "address", label: "Address", required: true, value: "Wing A, Cello Triumph" }, { name: "city", label: "City", value: "Mumbai" }, { name: "state", label: "State", value: "Maharashtra" },
      ], "Send address", (values) => give({ type: "address", messageId, values }));
    case "request_contact_info":
      return give({ type: "share_number", messageId });
    case "call_permission_request":
      return formSheet("Can this business call you?", [{ name: "accept", type: "choice", label: "Your preference", choices: [["yes", "Allow calls"], ["no", "Don't allow"]] }], "Send", (values) => give({ type: "call_permission", messageId, accept: values.accept === "yes" }));
    case "catalog_message": {
      const first = parameters.thumbnail_product_retailer_id ?? "SKU-77";
      return openProducts(message, { sections: [{ title: "Catalogue", ids: [first, "SKU-78", "SKU-79", "SKU-80"].filter((id, at, all) => all.indexOf(id) === at) }] });
    }
    default:
      return toast(kind === "voice_call" ? "Calls are not simulated." : "Payments are not simulated.");
  }
}

function openProducts(message, products = message.products) {
  productsSheet("Products", products, ({ ask, items }) => attempt(() => {
    const catalogId = products.catalogId || undefined;
    if (ask) return post({ type: "ask_about_product", text: "Is this one in stock?", messageId: message.id, catalogId, product: ask });
    if (!items.length) throw new Error("There is nothing to order yet.");
    return post({ type: "order", catalogId, items });
  }));
}

/** What a button does on the phone alone, or with a form. */
async function does(message, button) {
  if (button.does === "copy") {
    await navigator.clipboard?.writeText(button.payload).catch(() => {});
    return toast(`Copied: ${button.payload}`);
  }
  if (button.does === "flow") return flowSheet(button.title, null, null, (answers) => attempt(() => post({ type: "flow", messageId: message.id, answers })));
  if (button.does === "catalog") return openProducts(message, message.products?.sections.length ? message.products : { sections: [{ title: "Catalogue", ids: ["SKU-77", "SKU-78"] }] });
  if (button.does === "contact") return attempt(() => post({ type: "share_number", messageId: message.id }));
  return toast("Calls are not simulated.");
}

const playedOnce = new Set();

/** The first play of a voice message is told to the business, on WhatsApp. */
function played(message) {
  if (chosenCustomer()?.kind !== "whatsapp" || playedOnce.has(message.id)) return;
  playedOnce.add(message.id);
  attempt(() => post({ type: "play", messageId: message.id }));
}

/** What can be done to the messages of the thread. */
const acts = {
  react,
  press,
  answer,
  does,
  played,
  retry,
  discard,
  pointAt,
  doublePressed,
  openProducts,
  openMenu: openMessageMenu,
  openList: (message) => listSheet(message, (payload) => attempt(() => post({ type: "button", messageId: message.id, payload }))),
};

function answerQuickly(message, reply) {
  return send({ type: "quick_reply", messageId: message.id, payload: reply.payload }, { kind: "text", text: reply.title });
}

// --- Sending ---

async function post(body) {
  await call("POST", `${threadPath(chosen.customerId, chosen.accountId)}/messages`, body);
  refreshLedger();
  await refreshThreads();
}

let unsentCount = 0;
const postsUnderWay = new Set();

/** Shows `looks` at once as a message on its way; the sandbox's own copy replaces it. */
function send(body, looks) {
  unsentCount += 1;
  const message = { ...looks, id: `unsent ${unsentCount}`, mine: true, at: sandboxNow(), status: "pending", body };
  return deliver(message, chosen.customerId, chosen.accountId);
}

async function deliver(message, customerId, accountId) {
  const key = keyOf(customerId, accountId);
  putUnsent(key, { ...message, status: "pending", problem: undefined });
  try {
    const takenAs = await takenBySandbox(message, customerId, accountId);
    if (takenAs) {
      rowKeys.set(takenAs, rowKey(message));
      putUnsent(key, { ...message, takenAs });
    }
    refreshLedger();
    await refreshThreads();
    dropUnsent(key, message.id);
  } catch (problem) {
    putUnsent(key, { ...message, status: "failed", problem: problem.message, customerId, accountId });
  }
  renderPhone();
}

/** Posts the message; the id that the sandbox gave it. */
async function takenBySandbox(message, customerId, accountId) {
  const posting = call("POST", `${threadPath(customerId, accountId)}/messages`, message.body);
  postsUnderWay.add(posting);
  try {
    const answer = await posting;
    return answer?.id ?? answer?.messageId ?? answer?.message?.id ?? null;
  } finally {
    postsUnderWay.delete(posting);
  }
}

function putUnsent(key, message) {
  const rest = (known.unsent.get(key) ?? []).filter((other) => other.id !== message.id);
  known.unsent.set(key, [...rest, message]);
  renderPhone();
}

function dropUnsent(key, id) {
  known.unsent.set(key, (known.unsent.get(key) ?? []).filter((other) => other.id !== id));
}

function retry(message) {
  return deliver(message, message.customerId, message.accountId);
}

function discard(message) {
  dropUnsent(keyOf(message.customerId, message.accountId), message.id);
  renderPhone();
}

// --- Customers and their settings ---

function setUpSettings() {
  byId("auto-read").addEventListener("click", () => {
    const customer = chosenCustomer();
    if (customer) change(customer, { autoRead: !customer.autoRead });
  });
  byId("identity").addEventListener("change", (event) => {
    const customer = chosenCustomer();
    if (customer) change(customer, { identity: event.target.value });
  });
  byId("read-now").addEventListener("click", () => attempt(markRead));
  byId("blocks").addEventListener("click", () => attempt(() => post({ type: chosenThread()?.blocked ? "unblock" : "block" })));
  byId("refuses").addEventListener("click", () => attempt(() => post({ type: chosenThread()?.refusesMarketing ? "resume_marketing" : "stop_marketing" })));
  byId("new-number").addEventListener("click", () => {
    const fields = [{ name: "phone", label: "New phone number", type: "tel", required: true, placeholder: "+44 7700 900777" }];
    formSheet("Change the number", fields, "Change", ({ phone }) => attempt(async () => { await post({ type: "change_number", phone }); await refreshWorld(); }));
  });
  byId("customer-search").addEventListener("input", renderPeople);
}

/** Asks for the change and shows what came of it; a refused one springs back. */
async function change(customer, wish) {
  await attempt(() => call("PATCH", customerPath(customer.id), wish));
  await refreshWorld();
  await refreshThreads();
}

async function markRead() {
  await call("POST", `${threadPath(chosen.customerId, chosen.accountId)}/read`, {});
  refreshLedger();
  await refreshThreads();
}

function setUpCustomerDialog() {
  const form = byId("customer-form");
  byId("new-customer").addEventListener("click", openCustomerDialog);
  form.addEventListener("change", fitCustomerForm);
  form.addEventListener("submit", (event) => { event.preventDefault(); createCustomer(form); });
}

function openCustomerDialog() {
  byId("customer-form").reset();
  byId("customer-problem").textContent = "";
  fitCustomerForm();
  byId("customer-dialog").showModal();
}

/** Shows the fields that the chosen app and identity have; what is hidden is neither required nor sent. */
function fitCustomerForm() {
  const { kind, known: knownBy } = Object.fromEntries(new FormData(byId("customer-form")));
  const whatsapp = kind === "whatsapp";
  const byPhone = whatsapp && knownBy !== "username";
  byId("customer-known").hidden = byId("customer-known").disabled = !whatsapp;
  showField(byId("customer-phone"), byPhone, true);
  showField(byId("customer-username"), !byPhone, true);
  showField(byId("customer-user-id"), whatsapp, false);
}

function showField(label, shown, required) {
  const input = label.querySelector("input");
  label.hidden = !shown;
  input.disabled = !shown;
  input.required = shown && required;
}

async function createCustomer(form) {
  const fields = Object.fromEntries(new FormData(form));
  const body = { kind: fields.kind, name: fields.name.trim() };
  if (fields.known) body.identity = fields.known === "username" ? "bsuid" : "both";
  if (fields.phone) body.phone = fields.phone.replace(/\D/g, "");
  if (fields.username) body.username = fields.username.trim().replace(/^@/, "");
  if (fields.userId?.trim()) body.userId = fields.userId.trim();
  try {
    const answer = await call("POST", "sandbox/customers", body);
    const before = new Set(customers().map((customer) => customer.id));
    await refreshWorld();
    const id = answer?.id ?? answer?.customer?.id ?? customers().find((customer) => !before.has(customer.id))?.id;
    byId("customer-dialog").close();
    if (id) chooseCustomer(id);
  } catch (problem) {
    byId("customer-problem").textContent = problem.message;
  }
}

// --- Staying up to date ---

const refreshWorld = oneAtATime(async () => {
  try {
    known.world = await call("GET", "sandbox/state");
    known.worldProblem = null;
  } catch (problem) {
    known.worldProblem = problem.message;
    if (!known.world) reconnectLater();
  }
  settleChoice();
  render();
});

const refreshThreads = oneAtATime(async () => {
  const customer = chosenCustomer();
  if (!customer) return;
  await Promise.all(accountsFor(customer).map((account) => readThread(customer.id, account.id)));
  // Until a post is answered its message has no id here, and would be shown twice.
  await Promise.allSettled(postsUnderWay);
  render();
  await readReceipts();
});

/**
 * The thread with `mine` on all that the customer wrote or gave, however the answer names the two sides, and without
 * what the business sent but what hasn't arrived on this phone.
 */
function seenFromPhone(thread) {
  const sided = (thing) => ({ ...thing, mine: thing.mine ?? (thing.direction ?? thing.by) === "mine" });
  const messages = messagesOf(thread)
    .map((message) => ({ ...sided(message), reactions: (message.reactions ?? []).map(sided) }))
    .filter((message) => message.mine || message.status !== "sent");
  return { ...thread, messages };
}

async function readThread(customerId, accountId) {
  const key = keyOf(customerId, accountId);
  try {
    known.threads.set(key, seenFromPhone(await call("GET", threadPath(customerId, accountId))));
    known.threadProblems.delete(key);
  } catch (problem) {
    known.threadProblems.set(key, problem.message);
  }
}

/** Adds what came since the last reading, in whichever order it is told; whether there may be more. */
async function readLedgerPage() {
  const newest = known.ledger?.length ? numberOf(known.ledger.at(-1)) : 0;
  const { entries } = await call("GET", `ledger?limit=${ledgerPageMax}&order=desc&after=${newest}`);
  const news = entries.filter((entry) => numberOf(entry) > newest).sort((one, other) => numberOf(one) - numberOf(other));
  known.ledger = [...(known.ledger ?? []), ...news].slice(-ledgerLinesMax);
  return news.length === ledgerPageMax;
}

const refreshLedger = oneAtATime(async () => {
  try {
    for (let page = 0; page < ledgerPagesMax && await readLedgerPage(); page += 1);
    known.ledgerProblem = null;
  } catch (problem) {
    known.ledgerProblem = problem.message;
  }
  renderLedger();
});

function refreshAll() {
  return Promise.all([refreshWorld().then(refreshThreads), refreshLedger()]);
}

const receiptsGiven = new Map();

/** With read receipts on, what is on the screen counts as read; each newest message is told once. */
async function readReceipts() {
  const key = chosenKey();
  const newest = messagesOf(chosenThread()).findLast((message) => !message.mine);
  const looking = chosen.screen === "thread" && document.visibilityState === "visible";
  if (!looking || !chosenCustomer()?.autoRead || !unreadIn(chosenThread()) || receiptsGiven.get(key) === newest.id) return;
  receiptsGiven.set(key, newest.id);
  await attempt(async () => {
    await call("POST", `${threadPath(chosen.customerId, chosen.accountId)}/read`, {});
    await readThread(chosen.customerId, chosen.accountId);
    render();
  });
}

let stream = null;
let reconnectTimer = null;

function listen() {
  stream?.close();
  stream = new EventSource(new URL("sandbox/stream", root));
  stream.addEventListener("open", () => {
    // It may be another sandbox than before, which counts its ledger from 1 again.
    if (known.linkLost) known.ledger = null;
    setLinkLost(false);
    refreshAll();
  });
  stream.addEventListener("message", (event) => heard(parsed(event.data)));
  stream.addEventListener("error", () => {
    setLinkLost(true);
    // The browser tries again by itself after a cut, but not after an answer that wasn't a stream.
    if (stream.readyState === EventSource.CLOSED) reconnectLater();
  });
}

function reconnectLater() {
  clearTimeout(reconnectTimer);
  reconnectTimer = setTimeout(() => { listen(); refreshAll(); }, reconnectAfterMs);
}

function heard(event) {
  refreshLedger();
  refreshPosts();
  if (!customers().some((customer) => customer.id === event?.customerId)) refreshWorld();
  if (!event?.customerId || event.customerId === chosen.customerId) refreshThreads();
}

function setLinkLost(lost) {
  known.linkLost = lost;
  renderPhone();
}

/** What no event tells of: the sandbox's clock, the end of typing, and calls that concern no customer. */
function keepUp() {
  const whenVisible = (work) => () => { if (document.visibilityState === "visible") work(); };
  setInterval(whenVisible(refreshWorld), clockEveryMs);
  setInterval(whenVisible(refreshLedger), ledgerEveryMs);
  setInterval(whenVisible(() => { if (chosenThread()?.typing) refreshThreads(); }), typingEveryMs);
  // A hidden page lets go of its stream: a browser keeps only six connections to one host, over all its tabs.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") listen();
    else stream?.close();
  });
}

// --- The start ---

function start() {
  setUpSheet();
  setUpComposer();
  setUpAttachments();
  setUpMessageMenu();
  setUpSettings();
  setUpCustomerDialog();
  watchScrolling();
  // A drawer that was open when the window grew would stay above the page.
  matchMedia("(min-width: 760px)").addEventListener("change", closeDrawers);
  matchMedia("(min-width: 1180px)").addEventListener("change", closeDrawers);
  render();
  refreshAll();
  listen();
  keepUp();
}

start();
