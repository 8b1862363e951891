//! What a customer does on WhatsApp, as its webhook tells it (whatsapp.md 4).

use serde_json::{Map, Value, json};

use super::acts::{
    Content, OrderItem, WriteError, asking, edit, held_link, hold, keep, known, offered, shown_text, unsend,
};
use super::people::Customer;
use crate::Core;
use crate::graph;
use crate::media::Media;
use crate::samples::Kind;
use crate::state::State;
use crate::state::threads::{By, Choice, Ordered, Place, Progress, Shown, ThreadKey};
use crate::webhooks::{Event, status, whatsapp};
use crate::world::Number;

/// The catalogue of customers who name none.
const CATALOG: &str = "190884417223306";
/// The advertisement that customers come from who name none.
const AD: &str = "120214885001230";

/// What one act comes to.
#[derive(Debug, Default)]
struct Deed {
    /// `type`, and the part that is named after it.
    body: Map<String, Value>,
    shown: Shown,
    context: Option<Value>,
    /// It doesn't open the window.
    leaves_window: bool,
}

impl Deed {
    fn new(kind: &str, part: Value, shown: Shown) -> Self {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(kind));
        body.insert(kind.to_owned(), part);
        Self {
            body,
            shown,
            ..Self::default()
        }
    }

    /// Something about another message, which shows nothing by itself.
    fn about(kind: &str, part: Value) -> Self {
        Self {
            leaves_window: true,
            ..Self::new(kind, part, Shown::default())
        }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.body.insert(key.to_owned(), value);
        self
    }

    /// In answer to this message.
    fn to(mut self, number: &Number, message_id: Option<String>) -> Self {
        self.context = message_id.as_ref().map(|id| json!({"from": number.phone, "id": id}));
        self.shown.reply_to = message_id;
        self
    }
}

/// Where an act happens.
struct Scene<'a> {
    core: &'a Core,
    state: &'a mut State,
    key: &'a ThreadKey,
    number: &'a Number,
    id: &'a str,
    now: i64,
}

pub(super) fn event(
    core: &Core,
    state: &mut State,
    customer: &Customer,
    key: &ThreadKey,
    content: Content,
    count: u64,
    now: i64,
) -> Result<Event, WriteError> {
    let number = state
        .number(&key.account)
        .ok_or_else(|| WriteError::UnknownAccount(key.account.clone()))?
        .clone();
    let id = state.ids.wamid("written", &[&customer.id, &key.account], count);
    match content {
        Content::Play { message_id } => return play(state, key, &message_id, now),
        Content::ChangeNumber { phone } => return change_number(state, customer, &number, &id, &phone, now),
        _ => {}
    }
    let mut deed = Scene {
        core,
        state,
        key,
        number: &number,
        id: &id,
        now,
    }
    .deed(customer, content)?;
    if let Some(context) = deed.context.take() {
        deed.body.insert("context".to_owned(), context);
    }
    keep(state, key, &id, deed.shown, !deed.leaves_window, now);
    Ok(whatsapp::message(&number, customer, &id, now, deed.body))
}

impl Scene<'_> {
    fn deed(&mut self, customer: &Customer, content: Content) -> Result<Deed, WriteError> {
        let number = self.number;
        let deed = match content {
            Content::Text { text, reply_to } => said(&text).to(number, reply_to),
            Content::Forward { text, frequently } => {
                let how = if frequently {
                    "frequently_forwarded"
                } else {
                    "forwarded"
                };
                let mut deed = said(&text).with("context", json!({ how: true }));
                deed.shown.forwarded = true;
                deed
            }
            Content::FromAd {
                text, ad_id, headline, ..
            } => {
                let headline = headline.unwrap_or_else(|| "An advertisement".to_owned());
                let referral = json!({
                    "source_url": "https://fb.me/sandbox", "source_id": ad_id.as_deref().unwrap_or(AD), "source_type": "ad",
                    "headline": headline, "body": "Write to us", "media_type": "image",
                    "image_url": "https://scontent.example/ad.jpg",
                    "ctwa_clid": self.state.ids.word("click", &[self.id], 0, 24),
                });
                let mut deed = said(&text).with("referral", referral);
                deed.shown.referral = Some(headline);
                deed
            }
            Content::AskAboutProduct {
                text,
                message_id,
                catalog_id,
                product,
            } => {
                let catalog_id = catalog_id.unwrap_or_else(|| CATALOG.to_owned());
                let mut deed = said(&text).to(number, message_id);
                let mut context = deed.context.take().unwrap_or_else(|| json!({"from": number.phone}));
                deed.shown.header = Some(format!("About {product}"));
                context["referred_product"] = json!({"catalog_id": catalog_id, "product_retailer_id": product});
                deed.context = Some(context);
                deed
            }
            Content::Image {
                link,
                caption,
                reply_to,
            } => self
                .file(Kind::Image, "image", &link, caption, Value::Null)
                .to(number, reply_to),
            Content::Video {
                link,
                caption,
                reply_to,
            } => self
                .file(Kind::Video, "video", &link, caption, Value::Null)
                .to(number, reply_to),
            Content::Audio { link, reply_to } => self
                .file(Kind::Audio, "audio", &link, None, json!({"voice": false}))
                .to(number, reply_to),
            Content::Voice { link, reply_to } => {
                let mut deed = self.file(Kind::Audio, "audio", &link, None, json!({"voice": true}));
                deed.shown.voice = true;
                deed.to(number, reply_to)
            }
            Content::Document {
                link,
                filename,
                caption,
                reply_to,
            } => {
                let filename = filename.unwrap_or_else(|| "document.pdf".to_owned());
                let mut deed = self.file(
                    Kind::Document,
                    "document",
                    &link,
                    caption,
                    json!({"filename": filename}),
                );
                deed.shown.filename = Some(filename);
                deed.to(number, reply_to)
            }
            Content::Sticker {
                link,
                animated,
                reply_to,
            } => {
                let kind = if animated { Kind::AnimatedSticker } else { Kind::Sticker };
                self.file(kind, "sticker", &link, None, json!({"animated": animated}))
                    .to(number, reply_to)
            }
            Content::Location {
                latitude,
                longitude,
                name,
                address,
                reply_to,
            } => located(latitude, longitude, name, address).to(number, reply_to),
            Content::Contacts { contacts } => cards(contacts)?,
            Content::ShareNumber { message_id } => self.share_number(customer, message_id.as_deref())?,
            Content::Reaction { message_id, emoji } => {
                let message = known(self.state.message_mut(self.key, &message_id), &message_id)?;
                message.react(By::Customer, emoji.as_deref());
                // Taking back leaves the emoji out (whatsapp.md 4.4).
                Deed::about(
                    "reaction",
                    match emoji {
                        Some(emoji) => json!({"message_id": message_id, "emoji": emoji}),
                        None => json!({"message_id": message_id}),
                    },
                )
            }
            Content::Unsend { message_id } => {
                unsend(self.state, self.key, &message_id)?;
                Deed::about("revoke", json!({"original_message_id": message_id}))
            }
            Content::Edit { message_id, text } => {
                edit(self.state, self.key, &message_id, &text)?;
                let message = json!({"context": {"id": "M0"}, "type": "text", "text": {"body": text}});
                Deed::about("edit", json!({"original_message_id": message_id, "message": message}))
            }
            Content::Button { message_id, payload } => self.press(message_id.as_deref(), &payload)?,
            Content::Flow { message_id, answers } => self.flow(message_id.as_deref(), answers)?,
            Content::Address { message_id, values } => {
                let asked = self.asked(message_id.as_deref(), "address_message")?;
                nfm_reply("address_message", &json!({"values": values}), "Address sent").to(number, Some(asked))
            }
            Content::CallPermission { message_id, accept } => {
                let asked = self.asked(message_id.as_deref(), "call_permission_request")?;
                let response = if accept { "accept" } else { "reject" };
                let mut reply = json!({"response": response, "response_source": "user_action"});
                if accept {
                    // The reference doesn't say how long; its example is a week.
                    let ends_at = self.now + 7 * 86_400_000;
                    reply["expiration_timestamp"] = json!(whatsapp::seconds(ends_at));
                }
                let part = json!({"type": "call_permission_reply", "call_permission_reply": reply});
                let text = if accept { "You may call me" } else { "Please don't call" };
                Deed::new("interactive", part, shown_text("button", text.to_owned(), None)).to(number, Some(asked))
            }
            Content::Order {
                catalog_id,
                text,
                items,
            } => order(catalog_id, text, items)?,
            Content::Unsupported => {
                let errors = json!([{
                    "code": 131_051, "title": "Message type unknown", "message": "Message type unknown",
                    "error_data": {"details": "Message type is currently not supported."},
                }]);
                let shown = shown_text("unsupported", String::new(), None);
                Deed::new("unsupported", json!({"type": "poll_creation"}), shown).with("errors", errors)
            }
            Content::Raw { message } => {
                let kind = message.get("type").and_then(Value::as_str);
                let kind = kind.ok_or(WriteError::Impossible("a raw message needs a type"))?;
                Deed {
                    shown: shown_text(kind, String::new(), None),
                    body: message,
                    ..Deed::default()
                }
            }
            Content::Block
            | Content::Unblock
            | Content::StopMarketing
            | Content::ResumeMarketing
            | Content::Read
            | Content::Play { .. }
            | Content::ChangeNumber { .. } => {
                return Err(WriteError::Impossible("this is no message"));
            }
            Content::Comment { .. }
            | Content::Mention { .. }
            | Content::CaptionMention { .. }
            | Content::DeleteComment { .. }
            | Content::StoryReply { .. }
            | Content::StoryMention { .. }
            | Content::Share { .. } => {
                return Err(WriteError::Impossible(
                    "WhatsApp has no posts and no stories of businesses",
                ));
            }
            Content::QuickReply { .. } => {
                return Err(WriteError::Impossible("WhatsApp has buttons, not quick replies"));
            }
            Content::Attachments { .. } => {
                return Err(WriteError::Impossible(
                    "WhatsApp sends each file in a message of its own",
                ));
            }
            Content::Heart | Content::Referral { .. } | Content::Postback { .. } => {
                return Err(WriteError::Impossible("this is Instagram's alone"));
            }
        };
        Ok(deed)
    }

    fn file(&mut self, kind: Kind, name: &str, link: &str, caption: Option<String>, more: Value) -> Deed {
        let (media_id, media) = hold(self.state, self.key, self.id, kind, link, self.now);
        let mut part = described(self.core, &media_id, &media, self.now);
        if let (Some(part), Value::Object(more)) = (part.as_object_mut(), more) {
            part.extend(more);
        }
        if let Some(caption) = &caption {
            part["caption"] = json!(caption);
        }
        let shown = Shown {
            kind: name.to_owned(),
            link: Some(held_link(&media_id)),
            caption,
            ..Shown::default()
        };
        Deed::new(name, part, shown)
    }

    /// `button` answers a template, `interactive` a free-form message (whatsapp.md 4.3).
    fn press(&mut self, message_id: Option<&str>, payload: &str) -> Result<Deed, WriteError> {
        let thread = self.state.thread_mut(self.key);
        let (message, choice) = offered(thread, message_id, payload, Shown::choices)?;
        let Choice {
            title,
            payload,
            description,
            ..
        } = choice;
        let (kind, part) = if message.shown.template.is_some() {
            ("button", json!({"payload": payload, "text": title}))
        } else if message.shown.kind == "list" {
            let mut row = json!({"id": payload, "title": title});
            if let Some(description) = description {
                row["description"] = json!(description);
            }
            ("interactive", json!({"type": "list_reply", "list_reply": row}))
        } else {
            let reply = json!({"id": payload, "title": title});
            ("interactive", json!({"type": "button_reply", "button_reply": reply}))
        };
        let answered = message.id.clone();
        Ok(Deed::new(kind, part, shown_text("button", title, None)).to(self.number, Some(answered)))
    }

    /// The form's answers, with the token that the flow was sent with.
    fn flow(&mut self, message_id: Option<&str>, mut answers: Map<String, Value>) -> Result<Deed, WriteError> {
        let thread = self.state.thread_mut(self.key);
        let is_flow = |shown: &Shown| {
            shown.action.as_ref().is_some_and(|action| action.kind == "flow")
                || shown.buttons.iter().any(|button| button.does == Some("flow"))
        };
        let message = asking(thread, message_id, "a flow", is_flow)?;
        let of_action = message
            .shown
            .action
            .as_ref()
            .and_then(|action| action.parameters["flow_token"].as_str());
        let of_button = message.shown.buttons.iter().find(|button| button.does == Some("flow"));
        let token = of_action
            .or(of_button.map(|button| button.payload.as_str()))
            .unwrap_or("unused");
        answers.insert("flow_token".to_owned(), json!(token));
        let answered = message.id.clone();
        Ok(nfm_reply("flow", &Value::Object(answers), "Sent").to(self.number, Some(answered)))
    }

    /// The message that asks for this.
    fn asked(&mut self, message_id: Option<&str>, kind: &str) -> Result<String, WriteError> {
        let thread = self.state.thread_mut(self.key);
        let asks = |shown: &Shown| shown.action.as_ref().is_some_and(|action| action.kind == kind);
        asking(thread, message_id, kind, asks).map(|message| message.id.clone())
    }

    /// The own card, which can be trusted (whatsapp.md 4.2, 6.4).
    fn share_number(&mut self, customer: &Customer, message_id: Option<&str>) -> Result<Deed, WriteError> {
        let thread = self.state.thread_mut(self.key);
        let asks = |shown: &Shown| {
            shown
                .action
                .as_ref()
                .is_some_and(|action| action.kind == "request_contact_info")
                || shown.buttons.iter().any(|button| button.does == Some("contact"))
        };
        let asked = asking(thread, message_id, "request_contact_info", asks)?.id.clone();
        let phone = customer.phone.clone().unwrap_or_default();
        let card = json!({
            "name": {"formatted_name": customer.name, "first_name": customer.name},
            "phones": [{"phone": format!("+{phone}"), "wa_id": phone, "type": "CELL"}], "origin": "contact_request",
        });
        Ok(cards(vec![card])?.to(self.number, Some(asked)))
    }
}

fn described(core: &Core, media_id: &str, media: &Media, now: i64) -> Value {
    graph::media::described(core, media_id, media, now)
}

fn said(text: &str) -> Deed {
    Deed::new("text", json!({"body": text}), shown_text("text", text.to_owned(), None))
}

/// `response_json` is a string (whatsapp.md 4.3).
fn nfm_reply(name: &str, answers: &Value, text: &str) -> Deed {
    let reply = json!({"name": name, "body": "Sent", "response_json": answers.to_string()});
    let part = json!({"type": "nfm_reply", "nfm_reply": reply});
    Deed::new("interactive", part, shown_text("button", text.to_owned(), None))
}

fn located(latitude: f64, longitude: f64, name: Option<String>, address: Option<String>) -> Deed {
    let mut part = json!({"latitude": latitude, "longitude": longitude});
    for (key, value) in [("name", &name), ("address", &address)] {
        if let Some(value) = value {
            part[key] = json!(value);
        }
    }
    let shown = Shown {
        kind: "location".to_owned(),
        location: Some(Place {
            latitude,
            longitude,
            name,
            address,
        }),
        ..Shown::default()
    };
    Deed::new("location", part, shown)
}

fn cards(mut contacts: Vec<Value>) -> Result<Deed, WriteError> {
    if contacts.is_empty() {
        contacts.push(json!({
            "name": {"formatted_name": "Dr Ana Reis", "first_name": "Ana", "last_name": "Reis", "prefix": "Dr"},
            "phones": [{"phone": "+351 21 000 0000", "wa_id": "351210000000", "type": "WORK"}],
            "emails": [{"email": "ana@example.org", "type": "WORK"}],
            "org": {"company": "Clinica A", "title": "GP"},
        }));
    }
    let mut names = Vec::new();
    for contact in &mut contacts {
        let name = contact["name"]["formatted_name"].as_str();
        names.push(
            name.ok_or(WriteError::Impossible("a contact has name.formatted_name"))?
                .to_owned(),
        );
        if contact["origin"].is_null() {
            contact["origin"] = json!("other");
        }
    }
    let shown = Shown {
        kind: "contacts".to_owned(),
        text: Some(names.join(", ")),
        contacts: contacts.clone(),
        ..Shown::default()
    };
    Ok(Deed::new("contacts", Value::Array(contacts), shown))
}

fn order(catalog_id: Option<String>, text: Option<String>, items: Vec<OrderItem>) -> Result<Deed, WriteError> {
    if items.is_empty() {
        return Err(WriteError::Impossible("an order has at least one item"));
    }
    let told: Vec<Value> = items
        .iter()
        .map(|item| {
            json!({
                "product_retailer_id": item.product, "quantity": item.quantity, "item_price": item.price,
                "currency": item.currency,
            })
        })
        .collect();
    let mut part = json!({"catalog_id": catalog_id.unwrap_or_else(|| CATALOG.to_owned()), "product_items": told});
    if let Some(text) = &text {
        part["text"] = json!(text);
    }
    let shown = Shown {
        kind: "order".to_owned(),
        text,
        order: items
            .into_iter()
            .map(|item| Ordered {
                product: item.product,
                quantity: item.quantity,
                price: item.price,
                currency: item.currency,
            })
            .collect(),
        ..Shown::default()
    };
    Ok(Deed::new("order", part, shown))
}

/// The first play of a voice message (whatsapp.md 5).
fn play(state: &mut State, key: &ThreadKey, message_id: &str, now: i64) -> Result<Event, WriteError> {
    let unknown = || WriteError::UnknownMessage(message_id.to_owned());
    let message = state.message_mut(key, message_id).ok_or_else(unknown)?;
    let is_voice = message.by == By::Business && message.shown.voice;
    if !is_voice || !matches!(message.progress, Progress::Delivered | Progress::Read) {
        return Err(WriteError::Impossible(
            "only a voice message of the business can be played, and once",
        ));
    }
    message.progress = Progress::Played;
    let outgoing = message.outgoing.clone().ok_or_else(unknown)?;
    status::played(state, &outgoing, now).ok_or_else(unknown)
}

/// The system tells everybody whom the customer wrote to; here, the business they are with (whatsapp.md 4.5).
fn change_number(
    state: &mut State,
    customer: &Customer,
    number: &Number,
    id: &str,
    phone: &str,
    now: i64,
) -> Result<Event, WriteError> {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let user_id = format!("GB.{}", state.ids.digits("bsuid", &[&customer.id, &digits], 0, 20));
    let moved = state.customers.move_to(&customer.id, &digits, user_id);
    let moved = moved.ok_or(WriteError::Impossible("that is no phone number, or somebody has it"))?;
    let mut system = if let (Some(old), Some(new)) = (customer.visible_phone(), moved.visible_phone()) {
        json!({
            "body": format!("User {} changed from {old} to {new}", customer.name), "wa_id": new,
            "user_id": moved.visible_user_id(), "type": "user_changed_number",
        })
    } else {
        let (old, new) = (
            customer.user_id.as_deref().unwrap_or_default(),
            moved.user_id.as_deref().unwrap_or_default(),
        );
        json!({"body": format!("User changed from {old} to {new}"), "user_id": new, "type": "user_changed_user_id"})
    };
    if let Some(system) = system.as_object_mut() {
        system.retain(|_, value| !value.is_null());
    }
    let mut body = Map::new();
    body.insert("type".to_owned(), json!("system"));
    body.insert("system".to_owned(), system);
    Ok(whatsapp::system(number, customer, id, now, body))
}
