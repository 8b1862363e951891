// What slides up over the phone: lists to pick from, forms to fill in, products to order.
//
// Each sheet ends in one call of `done` with what the person chose; what is sent then is decided by who opened it.

import { productPicture } from "./bubbles.js";
import { byId, element, icon } from "./draw.js";

let whenDone = null;
let whenClosed = null;

export function setUpSheet() {
  const sheet = byId("sheet");
  byId("sheet-close").addEventListener("click", () => sheet.close());
  // A press beside it closes it, as in the apps.
  sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
  sheet.addEventListener("close", () => { const closed = whenClosed; whenClosed = null; closed?.(); });
  byId("sheet-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const done = whenDone;
    sheet.close();
    done?.(new FormData(event.target, event.submitter));
  });
  addEventListener("resize", place);
}

/** Over the lower part of the phone, wherever that stands on the page. */
function place() {
  const sheet = byId("sheet");
  const phone = byId("phone-screen").getBoundingClientRect();
  sheet.style.left = `${phone.left}px`;
  sheet.style.width = `${phone.width}px`;
  sheet.style.bottom = `${innerHeight - phone.bottom}px`;
  sheet.style.maxHeight = `${phone.height * 0.86}px`;
}

function open(title, content, label, done) {
  const sheet = byId("sheet");
  sheet.dataset.kind = byId("phone").dataset.kind;
  byId("sheet-title").textContent = title;
  byId("sheet-content").replaceChildren(...content);
  byId("sheet-send").textContent = label;
  byId("sheet-send").hidden = !label;
  whenDone = done;
  place();
  sheet.showModal();
  byId("sheet-content").querySelector("input:not([type=hidden]), textarea, select, button")?.focus();
}

/** Whatever else is looked at there, for as long as it is open. */
export function contentSheet(title, content, closed) {
  open(title, content, null, null);
  whenClosed = closed;
}

/** A list's rows, in their sections. `done` is given the row's payload. */
export function listSheet(message, done) {
  let first = true;
  const sections = message.sections.map((section) => element("fieldset", { class: "sheet-section" },
    element("legend", {}, section.title ?? ""),
    section.rows.map((row) => {
      const input = element("input", { type: "radio", name: "row", value: row.payload, required: true, checked: first });
      first = false;
      return element("label", { class: "pick" }, element("span", { class: "pick-text" }, element("strong", { dir: "auto" }, row.title), row.description && element("span", { dir: "auto" }, row.description)), input);
    })));
  open(message.menu, sections, "Send", (fields) => done(fields.get("row")));
}

/**
 * A form. `fields`: {name, label, type, value, required, choices, when}; types are those of `<input>`, and `text-area`, `choice`.
 * `when` is [name, value]: shown only while that choice is taken. `done` is given the values by name.
 */
export function formSheet(title, fields, label, done) {
  const nodes = fields.map(fieldNode);
  const fit = () => {
    const values = new FormData(byId("sheet-form"));
    fields.forEach((field, at) => { if (field.when) nodes[at].hidden = values.get(field.when[0]) !== field.when[1]; });
  };
  open(title, nodes, label, (values) => done(Object.fromEntries(values)));
  byId("sheet-form").onchange = fit;
  fit();
}

function fieldNode(field) {
  if (field.type === "choice") {
    return element("fieldset", { class: "sheet-section" }, element("legend", {}, field.label), field.choices.map(([value, label], at) => element("label", { class: "pick" },
      element("span", { class: "pick-text" }, element("strong", {}, label)), element("input", { type: "radio", name: field.name, value, checked: at === 0, required: true }))));
  }
  if (field.type === "checkbox") {
    return element("label", { class: "pick" }, element("span", { class: "pick-text" }, element("strong", {}, field.label)), element("input", { type: "checkbox", name: field.name, checked: field.value === true }));
  }
  const attributes = { class: "field", name: field.name, required: field.required === true, maxlength: field.max, placeholder: field.placeholder };
  const input = field.type === "text-area"
    ? element("textarea", { ...attributes, rows: "3" }, field.value ?? "")
    : element("input", { ...attributes, type: field.type ?? "text", value: field.value, step: field.type === "number" ? "any" : null, accept: field.accept, min: field.min, pattern: field.pattern });
  return element("label", {}, field.label, input);
}

/** A flow's screen as a small form: the fields that its data names, or a rating and a remark where it names none. */
export function flowSheet(name, screen, data, done) {
  const known = Object.entries(data ?? {}).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  const fields = known.length
    ? known.map(([key, value]) => ({ name: key, label: named(key), value: String(value) }))
    : [{ name: "rating", type: "choice", label: "Rating", choices: [["5", "Excellent"], ["4", "Good"], ["3", "Fair"], ["2", "Poor"], ["1", "Bad"]] }];
  fields.push({ name: "comment", label: "Comment", type: "text-area" });
  open(name, [element("p", { class: "quiet" }, `A stand-in for the flow${screen ? `, screen ${screen}` : ""}: what you fill in goes back as its answers.`), ...fields.map(fieldNode)], "Submit",
    (values) => done(Object.fromEntries([...values].filter(([, value]) => value !== ""))));
}

/** `order_id` → `Order id` */
function named(key) {
  const words = key.replace(/[_-]+/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Products with how many of each. `done` is given {items, ask}: `ask` is the product that the person wants to ask about. */
export function productsSheet(title, products, done) {
  const sections = products.sections.map((section) => element("fieldset", { class: "sheet-section" },
    element("legend", {}, section.title ?? "Items"),
    section.ids.map((id, at) => element("div", { class: "pick product" }, productPicture(id),
      element("span", { class: "pick-text" }, element("strong", {}, id), element("span", {}, "€ 14.50"), element("button", { type: "submit", class: "ask", name: "ask", value: id, formnovalidate: true }, "Ask about it")),
      element("input", { class: "field count", type: "number", name: `count:${id}`, min: "0", max: "99", value: at === 0 ? "1" : "0", "aria-label": `How many of ${id}` })))));
  const empty = products.sections.length ? [] : [element("p", { class: "quiet" }, "The catalogue is empty.")];
  open(title, [...sections, ...empty], "Send order", (values) => done({
    ask: values.get("ask"),
    items: [...values].filter(([name, value]) => name.startsWith("count:") && Number(value) > 0).map(([name, value]) => ({ product: name.slice(6), quantity: Number(value), price: 14.5, currency: "EUR" })),
  }));
}

/** Things to send, as tiles. `done` is given the one that was pressed. */
export function tilesSheet(title, tiles, done) {
  open(title, [element("div", { class: "tiles" }, tiles.map((tile) => element("button", { type: "submit", class: "tile", name: "tile", value: tile.name, formnovalidate: true },
    element("span", { class: "tile-sign", "data-tint": tile.tint }, icon(tile.sign)), element("span", {}, tile.label))))], null,
  (values) => done(tiles.find((tile) => tile.name === values.get("tile"))));
}
