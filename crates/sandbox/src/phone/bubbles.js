// A message as the two apps show it: the bubble, what is in it by kind, and what hangs on it.
//
// `about` says what a message is seen with: {messages, account, kind, acts}. `acts` is what pressing something does; this file decides
// nothing, and asks nobody.
//
// Invariant: pictures of other hosts aren't loaded (the page's policy forbids it): a stand-in is drawn, with a link.

import { clockFormat, drawing, element, hidden, icon, onlyEmoji, root, seedOf, textBlock, textNodes, told, webAddress } from "./draw.js";

const kindNames = {
  image: "Photo", video: "Video", audio: "Audio", voice: "Voice message", document: "Document", file: "File", sticker: "Sticker", share: "Shared post",
  story_mention: "Story mention", contacts: "Contact", order: "Order", like_heart: "❤️",
};
const kindIcons = { image: "photo", video: "film", audio: "sound", voice: "mic", sticker: "sticker", document: "file", file: "file" };
const sharedNames = { post: "Post", reel: "Reel", story: "Story" };

/** What the message is, in one word; a voice message is an audio that was recorded. */
function kindName(message) {
  if (message.voice) return kindNames.voice;
  if (message.attachments?.length) return `${message.attachments.length} photos`;
  if (message.kind === "share") return `Shared ${(sharedNames[message.post?.kind] ?? "post").toLowerCase()}`;
  return kindNames[message.kind];
}

/** One line that stands for the message: in the list of chats, in a quote, for a screen reader. */
export function gist(message, kind) {
  if (!message) return "";
  const words = message.caption || message.text;
  if (message.kind === "deleted") return goneWords(message, kind);
  if (message.kind === "unsupported") return "Unsupported message";
  if (message.kind === "location") return `Location${placeOf(message).name ? `: ${placeOf(message).name}` : ""}`;
  if (message.kind === "like_heart") return kindNames.like_heart;
  if (message.kind === "document" && message.filename) return `Document: ${message.filename}`;
  const name = kindName(message);
  // Without the marks of WhatsApp's markup, which a line doesn't show.
  const line = kind === "whatsapp" ? words?.replace(/([*_~])(\S(?:.*?\S)?)\1/g, "$2") : words;
  if (name) return line ? `${name}: ${line}` : name;
  return line || message.header || message.cards?.map((card) => card.title ?? card.text).find(Boolean) || message.products && "Products" || "Message";
}

function goneWords(message, kind) {
  if (kind === "instagram") return message.mine ? "You unsent a message" : "Message unsent";
  return message.mine ? "You deleted this message" : "This message was deleted";
}

function placeOf(message) {
  const place = message.location ?? message;
  return { name: place.name ?? "", address: place.address ?? "", latitude: Number(place.latitude), longitude: Number(place.longitude) };
}

// --- What is in a bubble ---

/** Everything inside the bubble, from top to bottom; each part draws itself if the message has it. */
function bubbleContent(message, about) {
  if (message.kind === "deleted") return [faint("blocked", gist(message, about.kind))];
  if (message.kind === "unsupported") return [faint("alert", message.text || "This message can't be shown on this phone.")];
  const parts = [
    message.forwarded && element("div", { class: "forwarded" }, icon("forward"), "Forwarded"),
    message.referral && referralNode(message.referral),
    message.post && postNode(message),
    message.offer && offerNode(message.offer),
    message.attachments && element("div", { class: "album", "data-count": Math.min(message.attachments.length, 4) }, message.attachments.map((one) => fileNode(one.kind, one.link, one, about))),
    message.link && fileNode(message.kind, message.link, message, about),
    message.headerMedia && fileNode(message.headerMedia.kind, message.headerMedia.link, message.headerMedia, about),
    message.location && locationNode(message),
    message.products?.sections.length && productFace(message.products),
    message.header && element("div", { class: "heading", dir: "auto" }, textNodes(message.header, about.kind)),
    message.contacts ? contactNodes(message.contacts) : words(message, about),
    message.order && orderNode(message.order),
    message.action?.kind.startsWith("order_") && paymentNode(message.action),
    message.footer && element("div", { class: "footer", dir: "auto" }, message.footer),
  ].flat().filter(Boolean);
  if (parts.length || message.cards) return parts;
  return [faint("alert", `A message of the kind “${message.kind}”, which this phone can't show.`)];
}

function words(message, about) {
  const text = message.text || message.caption;
  if (!text) return null;
  return message.kind === "like_heart" ? element("div", { class: "text huge like" }, text) : textBlock(text, about.kind);
}

function faint(sign, text) {
  return element("div", { class: "faint" }, icon(sign), element("span", {}, text));
}

/** A file: shown if the sandbox holds it, drawn as a stand-in if another host does. */
function fileNode(kind, link, file, about) {
  const address = webAddress(link);
  const isHeld = address && new URL(address).origin === root.origin;
  // Instagram has no other sound than this.
  if (kind === "audio") return file.voice || (isHeld && about.kind === "instagram") ? voiceNode(isHeld ? address : null, file, about) : audioNode(isHeld ? address : null, address);
  if (kind === "document" || kind === "file") return documentNode(address, file.filename, isHeld);
  if (!isHeld) return standIn(kind, address);
  if (kind === "video") return element("video", { class: "film", src: address, controls: true, preload: "metadata", playsinline: true, "aria-label": "Video" });
  const image = element("img", { src: address, alt: kind === "sticker" ? "Sticker" : "Photo", loading: "lazy", decoding: "async" });
  if (kind === "sticker") return element("span", { class: "sticker" }, image);
  const frame = element("a", { class: "picture", href: address, target: "_blank", rel: "noopener noreferrer" }, image);
  image.addEventListener("error", () => frame.replaceWith(standIn("image", address)), { once: true });
  return frame;
}

/** In place of a picture or a film that another host has. */
function standIn(kind, address) {
  const host = address ? new URL(address).host : "Held by the sandbox";
  const content = [scenery(address ?? kind), element("span", { class: "stand-in-name" }, icon(kindIcons[kind] ?? "photo"), element("span", {}, host))];
  return address
    ? element("a", { class: "stand-in", "data-kind": kind, href: address, target: "_blank", rel: "noopener noreferrer", "aria-label": `${kindNames[kind] ?? "File"} at ${host}` }, content)
    : element("span", { class: "stand-in", "data-kind": kind }, content);
}

/** A landscape that differs from address to address. */
function scenery(text) {
  const seed = seedOf(text);
  const hue = seed % 360;
  const hill = 70 + seed % 30;
  return drawing("svg", { viewBox: "0 0 256 144", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    drawing("path", { d: "M0 0h256v144H0z", fill: `hsl(${hue} 45% 82%)` }),
    drawing("circle", { cx: 40 + seed % 170, cy: 42, r: 18, fill: `hsl(${(hue + 40) % 360} 80% 92%)` }),
    drawing("path", { d: `M0 ${hill + 20}C50 ${hill - 30} 90 ${hill - 10} 140 ${hill + 14}S220 ${hill - 20} 256 ${hill}v90H0z`, fill: `hsl(${(hue + 20) % 360} 36% 62%)` }),
    drawing("path", { d: `M0 ${hill + 44}C60 ${hill + 10} 120 ${hill + 60} 256 ${hill + 26}v90H0z`, fill: `hsl(${(hue + 30) % 360} 34% 46%)` }));
}

function documentNode(address, filename, isHeld) {
  const name = filename || "Document";
  const ending = /\.([a-z0-9]{1,5})$/i.exec(filename ?? address ?? "")?.[1]?.toUpperCase() ?? "FILE";
  return card("file", name, isHeld ? ending : `${ending} · ${address ? new URL(address).host : "not here"}`, address);
}

export function card(sign, name, detail, address) {
  const content = [icon(sign), element("span", {}, element("strong", { dir: "auto" }, name), element("span", {}, detail))];
  return address
    ? element("a", { class: "card", href: address, target: "_blank", rel: "noopener noreferrer" }, content)
    : element("span", { class: "card" }, content);
}

function audioNode(held, address) {
  if (!held) return card("sound", "Audio", address ? new URL(address).host : "not here", address);
  return element("audio", { class: "sound", src: held, controls: true, preload: "metadata", "aria-label": "Audio" });
}

/** A voice message: a button, the shape of the sound, how long it is. The first play is told. */
function voiceNode(held, message, about) {
  if (!held) return card("mic", "Voice message", "at another host", webAddress(message.link));
  const sound = element("audio", { src: held, preload: "metadata" });
  const button = element("button", { type: "button", class: "play", "aria-label": "Play the voice message" }, icon("play"));
  const time = element("span", { class: "voice-time" }, "0:00");
  const bars = drawing("svg", { class: "wave", viewBox: "0 0 132 26", preserveAspectRatio: "xMinYMid meet", "aria-hidden": "true" });
  let seed = seedOf(message.id ?? held);
  for (let at = 0; at < 33; at += 1) {
    seed = (seed * 75 + 74) % 65_537;
    const height = 4 + (seed % 20) * (0.45 + 0.55 * Math.sin(Math.PI * at / 32));
    bars.append(drawing("rect", { x: at * 4, y: 13 - height / 2, width: 2.4, height, rx: 1.2 }));
  }
  const show = () => {
    const length = Number.isFinite(sound.duration) ? sound.duration : 0;
    const seconds = Math.round(sound.currentTime || length);
    time.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const played = length ? sound.currentTime / length : 0;
    [...bars.children].forEach((bar, at) => bar.classList.toggle("played", at / 33 < played));
    button.replaceChildren(icon(sound.paused ? "play" : "pause"));
    button.setAttribute("aria-label", sound.paused ? "Play the voice message" : "Pause");
  };
  for (const event of ["loadedmetadata", "timeupdate", "pause", "ended"]) sound.addEventListener(event, show);
  sound.addEventListener("play", () => {
    show();
    if (!message.mine && message.status !== "played") about.acts.played(message);
  });
  button.addEventListener("click", () => (sound.paused ? sound.play().catch(() => {}) : sound.pause()));
  return element("div", { class: "voice", "data-played": String(message.status === "played") }, button, element("span", { class: "voice-line" }, bars, time), icon("mic"), sound);
}

function locationNode(message) {
  const place = placeOf(message);
  const spot = Number.isFinite(place.latitude) && Number.isFinite(place.longitude);
  return [
    element("span", { class: "map", "aria-hidden": "true" }, sketchOfMap(place)),
    place.name && element("span", { class: "place", dir: "auto" }, place.name),
    place.address && element("span", { class: "address", dir: "auto" }, place.address),
    spot && element("span", { class: "footer" }, `${place.latitude.toFixed(4)}, ${place.longitude.toFixed(4)}`),
  ];
}

/** Not a map: a sketch that differs from place to place, since no map service is asked. */
function sketchOfMap(place) {
  const seed = Math.abs(Math.round((place.latitude || 1) * 7919 + (place.longitude || 1) * 104729));
  const tilt = seed % 60;
  return drawing("svg", { viewBox: "0 0 256 120" },
    drawing("path", { d: "M0 0h256v120H0z", fill: "#dfe7da" }),
    drawing("path", { d: `M-10 ${70 + tilt / 2}C60 ${30 + tilt} 150 ${130 - tilt} 270 ${50 + tilt / 3}v80H-10z`, fill: "#a9cbe6" }),
    drawing("path", { d: `M${30 + tilt} -5 ${90 + tilt} 130M-5 ${20 + tilt / 3} 261 ${50 - tilt / 3}M${170 - tilt} -5 ${140 + tilt / 2} 130M-5 ${95 - tilt / 4} 261 ${85 + tilt / 4}`, stroke: "#ffffff", "stroke-width": 7, fill: "none" }),
    drawing("path", { d: "M128 84c14-17 21-29 21-39a21 21 0 1 0-42 0c0 10 7 22 21 39z", fill: "#c0271d", stroke: "#ffffff", "stroke-width": 2 }),
    drawing("circle", { cx: 128, cy: 45, r: 8, fill: "#ffffff" }));
}

function contactNodes(contacts) {
  return contacts.slice(0, 5).map((contact) => {
    const name = contact.name?.formatted_name ?? "Contact";
    const phone = contact.phones?.[0]?.phone ?? contact.phones?.[0]?.wa_id;
    const work = [contact.org?.title, contact.org?.company].filter(Boolean).join(", ");
    const facts = [phone, work, contact.emails?.[0]?.email].filter(Boolean);
    return element("div", { class: "contact" },
      element("span", { class: "contact-face", "aria-hidden": "true" }, icon("person")),
      element("span", { class: "contact-text" }, element("strong", { dir: "auto" }, name), facts.map((fact) => element("span", { dir: "auto" }, fact))));
  }).concat(contacts.length > 5 ? [element("div", { class: "footer" }, `and ${contacts.length - 5} more`)] : []);
}

function referralNode(headline) {
  return element("div", { class: "referral" }, icon("ad"), element("span", {}, element("small", {}, "From an advertisement"), element("strong", { dir: "auto" }, headline)));
}

function postNode(message) {
  const { post } = message;
  const face = post.link ? element("img", { src: webAddress(post.link), alt: "", loading: "lazy" }) : scenery(post.id);
  return element("div", { class: "post", "data-kind": post.kind },
    element("span", { class: "post-face" }, face, element("span", { class: "post-kind" }, icon(post.kind === "story" ? "story" : post.kind === "reel" ? "film" : "photo"), sharedNames[post.kind])),
    post.title && element("span", { class: "post-title", dir: "auto" }, post.title));
}

function offerNode(offer) {
  return element("div", { class: "offer" }, icon("tag"), element("span", {}, element("strong", { dir: "auto" }, offer.text),
    offer.endsAt && element("small", {}, `Ends ${told(new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }), offer.endsAt)}`)));
}

/** What a product looks like, since no catalogue is asked. */
export function productPicture(id) {
  return element("span", { class: "product-picture", "aria-hidden": "true" }, scenery(id));
}

function productFace(products) {
  const ids = products.sections.flatMap((section) => section.ids);
  const detail = ids.length === 1 ? `Product ${ids[0]}` : `${ids.length} items`;
  return element("div", { class: "products" },
    element("span", { class: "product-row" }, ids.slice(0, 3).map(productPicture)),
    element("strong", {}, detail));
}

function orderNode(order) {
  const currency = order[0]?.currency ?? "EUR";
  const total = order.reduce((sum, item) => sum + item.quantity * item.price, 0);
  const count = order.reduce((sum, item) => sum + item.quantity, 0);
  return element("div", { class: "order" },
    element("span", { class: "order-head" }, productPicture(order[0]?.product ?? "order"), element("span", {},
      element("strong", {}, `${count} ${count === 1 ? "item" : "items"}`), element("span", {}, money(total, currency)))),
    element("ul", { class: "plain-list" }, order.map((item) => element("li", {}, `${item.quantity} × ${item.product}`))));
}

function money(amount, currency) {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(amount);
  } catch {
    return `${amount} ${currency}`;
  }
}

function paymentNode(action) {
  const reference = action.parameters?.reference_id;
  return card("bag", action.kind === "order_details" ? "Order to pay" : "Order status", reference ? `Reference ${reference}` : "Payments are not simulated");
}

// --- What hangs on a bubble ---

const statusNames = { pending: "Sending", sent: "Sent", delivered: "Delivered", read: "Read", played: "Played" };

/** WhatsApp's ticks: one for sent, two for delivered, two in blue for read; only on what the customer wrote. */
export function ticks(message) {
  const status = statusNames[message.status] ? message.status : "sent";
  const sign = { pending: "clock", sent: "tick" }[status] ?? "ticks";
  return element("span", { class: "ticks", "data-status": status }, icon(sign), hidden(statusNames[status]));
}

function metaLine(message, kind) {
  const marks = kind === "whatsapp" && message.mine && message.kind !== "deleted" && message.status !== "failed";
  return element("span", { class: "meta" }, (message.edited || message.edits > 0) && "Edited ", told(clockFormat, message.at), marks && ticks(message));
}

function quoteOf(message, about) {
  if (!message.replyTo) return null;
  const quoted = about.messages.find((other) => other.id === message.replyTo);
  const author = quoted && (quoted.mine ? "You" : about.account.name);
  const line = quoted ? gist(quoted, about.kind) : "An earlier message";
  return element("button", { type: "button", class: "quote", "aria-label": `In reply to ${author ?? "an earlier message"}: ${line}. Show it.`, onclick: () => about.acts.pointAt(message.replyTo) },
    author && element("strong", {}, author), element("span", {}, line));
}

function reactionsOf(message, about) {
  const reactions = (message.reactions ?? []).filter((reaction) => reaction.emoji);
  if (!reactions.length || message.kind === "deleted") return null;
  const marks = reactions.map((reaction) => reaction.mine
    ? element("button", { type: "button", title: "Take back", "aria-label": `You reacted with ${reaction.emoji}. Take it back.`, onclick: () => about.acts.react(message, reaction.emoji) }, reaction.emoji)
    : element("span", {}, hidden(`${about.account.name} reacted with `), reaction.emoji));
  return element("div", { class: "reactions" }, marks, reactions.length > 1 && element("span", { class: "tally", "aria-hidden": "true" }, String(reactions.length)));
}

const doesIcons = { call: "call", copy: "copy", flow: "form", catalog: "bag", contact: "person" };
const actionIcons = {
  flow: "form", send_location: "pin", address_message: "pin", request_contact_info: "person", call_permission_request: "call", voice_call: "call",
  catalog_message: "bag", order_details: "bag", order_status: "bag",
};

/** Everything that can be pressed below the bubble: buttons, a list's opener, the way to products, what the message asks for. */
function buttonsOf(message, about) {
  if (message.kind === "deleted") return null;
  const { acts, kind } = about;
  const presses = (message.buttons ?? []).map((button) => buttonNode(message, button, about));
  if (message.menu) presses.push(press("list", message.menu, () => acts.openList(message)));
  if (message.products?.sections.length) presses.push(press("bag", message.products.sections.flatMap((section) => section.ids).length > 1 ? "View items" : "View", () => acts.openProducts(message)));
  if (message.action) presses.push(press(actionIcons[message.action.kind] ?? "outside", message.action.label, () => acts.answer(message)));
  if (!presses.length) return null;
  return element("div", { class: "buttons", role: "group", "aria-label": kind === "whatsapp" ? "Buttons" : "Choices" }, presses);
}

function press(sign, title, work) {
  return element("button", { type: "button", class: "press", onclick: (event) => work(event.currentTarget) }, sign && icon(sign), element("span", {}, title));
}

function buttonNode(message, button, { acts, kind }) {
  const address = button.url ? webAddress(button.url) : null;
  if (address) return element("a", { class: "press", href: address, target: "_blank", rel: "noopener noreferrer" }, icon("outside"), element("span", {}, button.title));
  if (button.does) return press(doesIcons[button.does] ?? "outside", button.title, () => acts.does(message, button));
  return press(kind === "whatsapp" && "reply", button.title, (control) => acts.press(control, message, button));
}

/** What is side by side: pictures with words and buttons. */
function carouselOf(message, about) {
  if (!message.cards?.length || message.kind === "deleted") return null;
  return element("div", { class: "carousel", tabindex: "0", role: "group", "aria-label": `${message.cards.length} cards, side by side` }, message.cards.map((one, at) => {
    const face = one.media ? fileNode(one.media.kind, one.media.link, one.media, about) : one.product ? element("span", { class: "stand-in" }, scenery(one.product)) : null;
    const address = one.url ? webAddress(one.url) : null;
    const title = one.title ?? (one.product && `Product ${one.product}`);
    return element("div", { class: "carousel-card", role: "group", "aria-label": `Card ${at + 1}` }, face,
      element("div", { class: "carousel-words" },
        title && element("strong", { dir: "auto" }, address ? element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, title) : title),
        one.text && element("span", { dir: "auto" }, textNodes(one.text, about.kind))),
      (one.buttons ?? []).map((button) => buttonNode(message, button, about)),
      one.product && press("bag", "View", () => about.acts.openProducts({ ...message, products: { ...message.products, sections: [{ ids: [one.product] }] } })));
  }));
}

function failureOf(message, { acts }) {
  if (!message.problem) return null;
  return element("div", { class: "failed-note", role: "alert" }, icon("alert"), element("span", {}, message.problem),
    element("button", { type: "button", onclick: () => acts.retry(message) }, "Try again"),
    element("button", { type: "button", onclick: () => acts.discard(message) }, "Discard"));
}

/** Kinds that Instagram shows without a bubble around them. */
function isBare(message) {
  const wordless = !message.text && !message.caption && !message.buttons?.length;
  const seen = message.location || message.post || message.attachments || message.headerMedia || ["image", "video", "sticker", "file", "document"].includes(message.kind) && message.link;
  return message.kind === "like_heart" || (wordless && seen) || (!message.buttons?.length && onlyEmoji.test(message.text ?? "") && !message.post);
}

/** One row of the thread. `place`: {first, last, under}. */
export function messageRow(message, about, place) {
  const bare = (about.kind === "instagram" && isBare(message)) || (message.kind === "sticker" && message.link);
  const outlined = ["deleted", "unsupported"].includes(message.kind);
  const content = bubbleContent(message, about);
  const quote = quoteOf(message, about);
  const author = hidden(`${message.mine ? "You" : about.account.name}: `);
  const bubble = element("div", { class: `bubble${bare ? " bare" : ""}${outlined ? " outlined" : ""}`, ondblclick: (event) => about.acts.doublePressed(event, message) });
  bubble.append(author, ...content, metaLine(message, about.kind));
  if (quote && about.kind === "whatsapp") bubble.prepend(quote);
  const carousel = carouselOf(message, about);
  const buttons = buttonsOf(message, about);
  const showsBubble = content.length > 0 || !carousel;
  const classes = ["message", message.mine && "mine", place.first && "first", place.last && "last", message.status === "pending" && "pending", buttons && "wide", carousel && "widest"];
  const row = element("li", { class: classes.filter(Boolean).join(" "), "data-kind": message.kind, "data-message": message.id },
    quote && about.kind !== "whatsapp" && quote, showsBubble ? bubble : author, carousel, buttons, reactionsOf(message, about), failureOf(message, about),
    place.under && element("div", { class: "under" }, place.under),
    canActOn(message) && element("button", { type: "button", class: "more", "aria-haspopup": "menu", "aria-label": `Actions for: ${gist(message, about.kind)}`, onclick: (event) => about.acts.openMenu(event.currentTarget, message) }, icon("more")));
  // A long press, or the other button of a mouse.
  row.addEventListener("contextmenu", (event) => {
    if (!canActOn(message) || event.target.closest("a, video, audio, img")) return;
    event.preventDefault();
    about.acts.openMenu(showsBubble ? bubble : row, message);
  });
  return row;
}

export const canActOn = (message) => message.kind !== "deleted" && message.status !== "pending" && !message.problem;
