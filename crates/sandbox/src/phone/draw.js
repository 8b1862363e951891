// What everything on the page is drawn with: elements, icons, text with its links and markup.
//
// Invariant: text becomes text nodes only, and an address becomes a link only if it is one of the web.

// The page is served at /phone and its files in /phone/, so the API is one level up, wherever that is mounted.
export const root = new URL("../", import.meta.url);

/** The last moment that a `Date` can hold. */
const timeMax = 8.64e15;

export const onTime = (millis) => Math.abs(millis) <= timeMax;

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text, `null` and `false` are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute.startsWith("on")) made.addEventListener(attribute.slice(2), value);
    else if (value === true) made.setAttribute(attribute, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function drawing(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

export function icon(name) {
  return drawing("svg", { class: "icon", "aria-hidden": "true" }, drawing("use", { href: `#icon-${name}` }));
}

export function hidden(text) {
  return element("span", { class: "visually-hidden" }, text);
}

export function avatar(id, name, kind) {
  const letters = name.split(/\s+/).filter(Boolean).map((word) => [...word][0]).filter((letter) => /[\p{L}\p{N}]/u.test(letter));
  const initials = letters.length > 1 ? letters[0] + letters.at(-1) : letters[0] ?? "?";
  const tint = [...String(id)].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 8191, 7) % 8;
  const app = kind && element("span", { class: "avatar-app", "data-kind": kind }, kind === "instagram" ? icon("heart") : icon("bubble"));
  return element("span", { class: "avatar", "data-tint": tint, "aria-hidden": "true" }, initials.toUpperCase(), app);
}

const signatures = new WeakMap();

/**
 * Makes `list` show `rows` ({key, looks, draw}), touching only what changed: whoever reads, scrolls or has the focus in
 * a row that stayed the same is left alone. Returns the keys that are new.
 */
export function reconcile(list, rows) {
  const before = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const wanted = new Set(rows.map((row) => row.key));
  for (const [key, node] of before) if (!wanted.has(key)) node.remove();
  const fresh = [];
  let place = list.firstElementChild;
  for (const row of rows) {
    let node = before.get(row.key);
    const looks = JSON.stringify(row.looks);
    if (!node || signatures.get(node) !== looks) {
      const drawn = row.draw();
      drawn.dataset.key = row.key;
      signatures.set(drawn, looks);
      if (node) {
        if (node === place) place = drawn;
        carryFocus(node, drawn);
      } else {
        fresh.push(row.key);
      }
      node = drawn;
    }
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
  return fresh;
}

/** Puts `after` where `before` was; an open row stays open, and the focus goes to the same control. */
function carryFocus(before, after) {
  const controls = "a[href], button, summary";
  const at = [...before.querySelectorAll(controls)].indexOf(document.activeElement);
  if (before.querySelector("details")?.open) after.querySelector("details")?.setAttribute("open", "");
  before.replaceWith(after);
  if (at >= 0) [...after.querySelectorAll(controls)].at(at)?.focus({ preventScroll: true });
}

export const clockFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
export const secondsFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
export const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
export const shortDayFormat = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "2-digit", year: "2-digit" });

/** A format throws for a time out of its range, and times come from outside. */
export function told(format, millis) {
  return onTime(millis) ? format.format(millis) : "";
}


const linkPattern = /(?:https?:\/\/|www\.)[^\s<>"]+/iy;
export const onlyEmoji = /^\p{RGI_Emoji}{1,3}$/v;
// WhatsApp's markup (whatsapp.md 9.2).
const markup = { "*": "strong", "_": "em", "~": "s" };

/** Text as nodes: links, and for WhatsApp the markup of the app. */
export function textNodes(text, kind) {
  const nodes = [];
  let plain = "";
  let at = 0;
  const put = (node, end) => {
    if (plain) nodes.push(plain);
    nodes.push(node);
    plain = "";
    at = end;
  };
  while (at < text.length) {
    const link = linkAt(text, at);
    const code = kind === "whatsapp" && codeAt(text, at);
    const marked = kind === "whatsapp" && markedAt(text, at);
    if (link) put(outwardLink(link.address, link.shown), link.end);
    else if (code) put(element("code", {}, code.inner), code.end);
    else if (marked) put(element(marked.name, {}, textNodes(marked.inner, kind)), marked.end);
    else plain += text[at++];
  }
  if (plain) nodes.push(plain);
  return nodes;
}

function linkAt(text, at) {
  if (at > 0 && /[\p{L}\p{N}]/u.test(text[at - 1])) return null;
  linkPattern.lastIndex = at;
  const found = linkPattern.exec(text)?.[0].replace(/[.,;:!?'*_~)\]]+$/, "");
  if (!found) return null;
  const address = webAddress(found.startsWith("www.") ? `https://${found}` : found);
  return address && { address, shown: found, end: at + found.length };
}

function codeAt(text, at) {
  const fence = text.startsWith("```", at) ? "```" : "`";
  if (!text.startsWith(fence, at)) return null;
  const end = text.indexOf(fence, at + fence.length);
  if (end <= at + fence.length) return null;
  const inner = text.slice(at + fence.length, end);
  return fence === "`" && inner.includes("\n") ? null : { inner, end: end + fence.length };
}

/** `*so*`, `_so_` or `~so~`: the marks touch the words inside and no word outside. */
function markedAt(text, at) {
  const mark = text[at];
  const name = markup[mark];
  const word = /[\p{L}\p{N}]/u;
  if (!name || word.test(text[at - 1] ?? "") || /\s/.test(text[at + 1] ?? " ") || text[at + 1] === mark) return null;
  for (let end = text.indexOf(mark, at + 1); end > 0; end = text.indexOf(mark, end + 1)) {
    const inner = text.slice(at + 1, end);
    if (inner.includes("\n")) return null;
    if (!/\s$/.test(inner) && !word.test(text[end + 1] ?? "")) return { name, inner, end: end + 1 };
  }
  return null;
}

/** The address as the browser reads it, if it is one of the web: never `javascript:` or `data:`. */
export function webAddress(text) {
  try {
    const address = new URL(String(text), root);
    return ["http:", "https:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

export function outwardLink(address, shown) {
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, shown);
}

export function textBlock(text, kind) {
  return element("div", { class: onlyEmoji.test(text) ? "text huge" : "text", dir: "auto" }, textNodes(text, kind));
}


/** The number that stands for a text, always the same: what is drawn after it doesn't change from one look to the next. */
export function seedOf(text) {
  const sum = [...String(text)].reduce((before, letter) => Math.imul(before ^ letter.codePointAt(0), 16_777_619), 2_166_136_261);
  return (Math.imul(sum ^ sum >>> 15, 2_246_822_519) ^ sum) >>> 9;
}
