// Every kind that a business sends, as it asks Graph for it, and what the phone shows of it: a selector, and a text in it if there is one.

const image = { link: "https://cdn.example.org/front.jpg" };
const interactive = (content) => ({ type: "interactive", interactive: content });
const body = (text) => ({ body: { text } });

export const onWhatsApp = [
  { name: "text", send: { type: "text", text: { body: "Your quote: https://example.org/q/8841 *today*", preview_url: true } }, shows: [".text strong", "today"] },
  { name: "image", send: { type: "image", image: { ...image, caption: "Front view" } }, shows: [".stand-in[data-kind=image]", "cdn.example.org"] },
  { name: "video", send: { type: "video", video: { link: "https://cdn.example.org/tour.mp4", caption: "Tour" } }, shows: [".stand-in[data-kind=video]", "cdn.example.org"] },
  { name: "audio", send: { type: "audio", audio: { link: "https://cdn.example.org/a.mp3" } }, shows: [".card", "Audio"] },
  { name: "document", send: { type: "document", document: { link: "https://cdn.example.org/q.pdf", filename: "quote.pdf", caption: "Quote" } }, shows: [".card", "quote.pdf"] },
  { name: "sticker", send: { type: "sticker", sticker: { link: "https://cdn.example.org/s.webp" } }, shows: [".stand-in", "cdn.example.org"] },
  { name: "location", send: { type: "location", location: { latitude: "51.5033", longitude: "-0.1196", name: "River Gate", address: "Belvedere Rd, London" } }, shows: [".place", "River Gate"] },
  { name: "contacts", send: { type: "contacts", contacts: [{ name: { formatted_name: "Service Desk", first_name: "Service" }, phones: [{ phone: "+442079460111", type: "WORK", wa_id: "442079460111" }], org: { company: "Sandbox Records" } }] }, shows: [".contact", "Service Desk"] },
  { name: "buttons", send: interactive({ type: "button", header: { type: "text", text: "Appointment" }, ...body("Keep your slot?"), footer: { text: "River Gate" }, action: { buttons: [{ type: "reply", reply: { id: "keep:8841", title: "Keep" } }, { type: "reply", reply: { id: "move:8841", title: "Move" } }] } }), shows: [".press", "Keep"] },
  { name: "picture with buttons", send: interactive({ type: "button", header: { type: "image", image }, ...body("This one?"), action: { buttons: [{ type: "reply", reply: { id: "yes", title: "Yes" } }] } }), shows: [".bubble .stand-in", "cdn.example.org"] },
  { name: "list", send: interactive({ type: "list", header: { type: "text", text: "Plans" }, ...body("Pick one"), action: { button: "See plans", sections: [{ title: "Monthly", rows: [{ id: "plan-a", title: "Plan A", description: "Cancel any time" }] }, { title: "Yearly", rows: [{ id: "plan-b", title: "Plan B", description: "12 months" }] }] } }), shows: [".press", "See plans"] },
  { name: "link button", send: interactive({ type: "cta_url", ...body("Track your parcel"), action: { name: "cta_url", parameters: { display_text: "Track", url: "https://example.org/t/8841" } } }), shows: ["a.press", "Track"] },
  { name: "flow", send: interactive({ type: "flow", ...body("Tell us how it went"), action: { name: "flow", parameters: { flow_message_version: "3", flow_id: "881204739915502", flow_cta: "Rate", flow_token: "ft_81c", flow_action: "navigate", flow_action_payload: { screen: "RATE", data: { order: "8841" } } } } }), shows: [".press", "Rate"] },
  { name: "product", send: interactive({ type: "product", ...body("This lamp?"), action: { catalog_id: "190884417223306", product_retailer_id: "SKU-77" } }), shows: [".products", "SKU-77"] },
  { name: "product list", send: interactive({ type: "product_list", header: { type: "text", text: "For you" }, ...body("In stock"), action: { catalog_id: "190884417223306", sections: [{ title: "Lamps", product_items: [{ product_retailer_id: "SKU-77" }, { product_retailer_id: "SKU-78" }] }] } }), shows: [".press", "View items"] },
  { name: "catalogue", send: interactive({ type: "catalog_message", ...body("All our lamps"), action: { name: "catalog_message", parameters: { thumbnail_product_retailer_id: "SKU-77" } } }), shows: [".press", "View catalog"] },
  { name: "location request", send: interactive({ type: "location_request_message", ...body("Where are you?"), action: { name: "send_location" } }), shows: [".press", "Send location"] },
  { name: "address", send: interactive({ type: "address_message", ...body("Where do we deliver?"), action: { name: "address_message", parameters: { country: "IN" } } }), shows: [".press", "Provide address"] },
  { name: "number request", send: interactive({ type: "request_contact_info", ...body("Share your number, so that the courier can call."), action: { name: "request_contact_info" } }), shows: [".press", "Share phone number"] },
  { name: "call permission", send: interactive({ type: "call_permission_request", ...body("May we call you?"), action: { name: "call_permission_request" } }), shows: [".press", "Choose preference"] },
  { name: "voice call", send: interactive({ type: "voice_call", ...body("Call us"), action: { name: "voice_call" } }), shows: [".press", "Call now"] },
  { name: "order details", send: interactive({ type: "order_details", ...body("Your order"), action: { name: "review_and_pay", parameters: { reference_id: "8841" } } }), shows: [".card", "8841"] },
  { name: "order status", send: interactive({ type: "order_status", ...body("On its way"), action: { name: "review_order", parameters: { reference_id: "8841" } } }), shows: [".card", "Order status"] },
  { name: "carousel", send: interactive({ type: "carousel", ...body("New lamps"), action: { cards: ["Arc", "Globe", "Moon"].map((name, at) => ({ card_index: at, type: "cta_url", header: { type: "image", image: { link: `https://cdn.example.org/${name}.jpg` } }, body: { text: name }, action: { name: "cta_url", parameters: { display_text: "View", url: `https://example.org/${name}` } } })) } }), shows: [".carousel-card", "Arc"] },
  { name: "product carousel", send: interactive({ type: "carousel", ...body("More lamps"), action: { cards: ["SKU-79", "SKU-80"].map((id, at) => ({ card_index: at, type: "product", action: { catalog_id: "190884417223306", product_retailer_id: id } })) } }), shows: [".carousel-card", "SKU-79"] },
  { name: "template", send: { type: "template", template: { name: "mr_dj_booking_confirmation", language: { code: "en_US" }, components: [{ type: "body", parameters: [{ type: "text", text: "1 May" }, { type: "text", text: "Utrecht" }] }] } }, shows: [".text", "Utrecht"] },
];

/** Templates with everything that a template can have, as a script of the sandbox takes them, and how they are sent. */
const cardOf = (id) => ({ components: [{ type: "HEADER", format: "IMAGE", example: { header_handle: [id] } }, { type: "BODY", text: "Lamp {{1}}", example: { body_text: [["Arc"]] } }, { type: "BUTTONS", buttons: [{ type: "QUICK_REPLY", text: "This one" }, { type: "URL", text: "View", url: "https://example.org/{{1}}", example: ["arc"] }] }] });
export const templates = [
  {
    name: "everything", language: "en_US", category: "MARKETING",
    components: [
      { type: "HEADER", format: "IMAGE", example: { header_handle: ["1"] } },
      { type: "BODY", text: "Hi {{first_name}}, order *{{order_no}}* leaves today.", example: { body_text_named_params: [{ param_name: "first_name", example: "Priya" }, { param_name: "order_no", example: "8841" }] } },
      { type: "FOOTER", text: "River Gate" },
      { type: "BUTTONS", buttons: [{ type: "QUICK_REPLY", text: "Confirm" }, { type: "URL", text: "Track", url: "https://example.org/t/{{1}}", example: ["8841"] }, { type: "PHONE_NUMBER", text: "Call us", phone_number: "+442079460111" }, { type: "COPY_CODE", example: "SPRING20" }] },
    ],
  },
  { name: "carousel", language: "en_US", category: "MARKETING", components: [{ type: "BODY", text: "New lamps" }, { type: "CAROUSEL", cards: [cardOf("1"), cardOf("2")] }] },
];
const parameters = (...texts) => texts.map((text) => ({ type: "text", text }));
const picture = { type: "header", parameters: [{ type: "image", image }] };
const sentCard = (at, name) => ({ card_index: at, components: [
  picture, { type: "body", parameters: parameters(name) },
  { type: "button", sub_type: "quick_reply", index: "0", parameters: [{ type: "payload", payload: name }] }, { type: "button", sub_type: "url", index: "1", parameters: parameters(name) },
] });
onWhatsApp.push(
  {
    name: "template with everything",
    send: { type: "template", template: { name: "everything", language: { code: "en_US" }, components: [
      picture,
      { type: "body", parameters: [{ type: "text", parameter_name: "first_name", text: "Priya" }, { type: "text", parameter_name: "order_no", text: "8841" }] },
      { type: "button", sub_type: "quick_reply", index: "0", parameters: [{ type: "payload", payload: "CONFIRM_8841" }] },
      { type: "button", sub_type: "url", index: "1", parameters: parameters("8841") },
      { type: "button", sub_type: "copy_code", index: "3", parameters: [{ type: "coupon_code", coupon_code: "SPRING20" }] },
    ] } },
    shows: [".press", "Confirm"],
  },
  {
    name: "carousel template",
    send: { type: "template", template: { name: "carousel", language: { code: "en_US" }, components: [{ type: "carousel", cards: [sentCard(0, "Arc"), sentCard(1, "Globe")] }] } },
    shows: [".carousel-card", "Lamp Globe"],
  },
);

const attachment = (one) => ({ message: { attachment: one } });
const button = (title) => ({ type: "postback", title, payload: title.toUpperCase() });

export const onInstagram = [
  { name: "text", send: { message: { text: "Yes, 3-5 days." } }, shows: [".text", "3-5 days"] },
  { name: "image", send: attachment({ type: "image", payload: { url: "https://cdn.example.com/a.jpg" } }), shows: [".stand-in[data-kind=image]", "cdn.example.com"] },
  { name: "video", send: attachment({ type: "video", payload: { url: "https://cdn.example.com/v.mp4" } }), shows: [".stand-in[data-kind=video]", "cdn.example.com"] },
  { name: "audio", send: attachment({ type: "audio", payload: { url: "https://cdn.example.com/a.m4a" } }), shows: [".card", "Audio"] },
  { name: "file", send: attachment({ type: "file", payload: { url: "https://cdn.example.com/quote.pdf" } }), shows: [".card", "PDF"] },
  { name: "several images", send: { message: { attachments: ["1", "2", "3"].map((n) => ({ type: "image", payload: { url: `https://cdn.example.com/${n}.jpg` } })) } }, shows: [".album .stand-in", "cdn.example.com"] },
  { name: "heart", send: attachment({ type: "like_heart" }), shows: [".like", "❤️"] },
  { name: "generic template", send: attachment({ type: "template", payload: { template_type: "generic", elements: ["Wool hat", "Scarf", "Gloves"].map((title) => ({ title, subtitle: "29 EUR", image_url: `https://cdn.example.com/${title}.jpg`, default_action: { type: "web_url", url: "https://shop.example.com/h" }, buttons: [{ type: "web_url", url: "https://shop.example.com/h", title: "View" }, button(`Sizes of ${title}`.slice(0, 20))] })) } }), shows: [".carousel-card", "Wool hat"] },
  { name: "button template", send: attachment({ type: "template", payload: { template_type: "button", text: "How can we help?", buttons: [button("Agent"), button("Returns")] } }), shows: [".press", "Agent"] },
  { name: "product template", send: attachment({ type: "template", payload: { template_type: "product", elements: [{ id: "4400112233" }] } }), shows: [".products", "4400112233"] },
  { name: "quick replies", send: { message: { text: "What do you need?", quick_replies: [{ content_type: "text", title: "Track order", payload: "TRACK" }, { content_type: "text", title: "Talk to us", payload: "HUMAN" }] } }, shows: [".text", "What do you need?"] },
];
