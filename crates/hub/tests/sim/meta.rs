//! Meta, as the hub sees it: takes calls and posts notifications, at times and with faults that the seed decides.
//!
//! Facts about Meta are those of the reference; payloads are built here from JSON, so that a misreading in the parser cannot agree with
//! itself. What it took is its own ledger: [`Call::taken_at`].

use std::pin::Pin;

use rand::Rng;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tidings_meta::client::{CallError, Carried, Carrier};
use tidings_meta::notification::Platform;
use tokio::time::sleep_until;

use crate::plan::Fault;
use crate::world::{Happening, Inner, START, World, ordered};

/// The WhatsApp number.
pub(crate) const NUMBER: &str = "200000000000001";
/// The one that stands in for it.
pub(crate) const OTHER_NUMBER: &str = "200000000000002";
/// The WhatsApp Business Account that it belongs to.
pub(crate) const BUSINESS_ACCOUNT: &str = "100000000000001";
/// The Instagram account.
pub(crate) const ACCOUNT: &str = "17841400000000001";
/// How long the hub waits for an answer, in milliseconds.
pub(crate) const REQUEST_TIMEOUT: i64 = 8_000;

/// By which account a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    Main,
    Backup,
    Instagram,
}

impl Line {
    /// The one that customers of a product write to.
    pub(crate) fn of(platform: Platform) -> Self {
        match platform {
            Platform::WhatsApp => Self::Main,
            Platform::Instagram => Self::Instagram,
        }
    }

    /// Meta's id of it.
    pub(crate) fn account(self) -> &'static str {
        match self {
            Self::Main => NUMBER,
            Self::Backup => OTHER_NUMBER,
            Self::Instagram => ACCOUNT,
        }
    }

    /// The hub's name for it.
    pub(crate) fn channel(self) -> &'static str {
        match self {
            Self::Main => "whatsapp",
            Self::Backup => "whatsapp-backup",
            Self::Instagram => "instagram",
        }
    }

    fn of_account(account: &str) -> Option<Self> {
        [Self::Main, Self::Backup, Self::Instagram]
            .into_iter()
            .find(|line| line.account() == account)
    }
}

/// A call that asks for a message to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) order: usize,
    pub(crate) line: Line,
    pub(crate) node: usize,
    pub(crate) at: i64,
    pub(crate) callback: Option<String>,
    /// When Meta took the message, and under which id.
    pub(crate) taken_at: Option<i64>,
    pub(crate) external_id: String,
    /// Meta says later that it failed.
    pub(crate) fails_later: bool,
    /// When the answer that names the message reached the hub.
    pub(crate) answered_at: Option<i64>,
    /// When Meta will not take it any more, whatever was planned.
    pub(crate) is_over: bool,
}

/// What Meta tells in a notification.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// As the hub names it.
    pub(crate) external_id: String,
    /// An element of `changes` or `messaging`.
    pub(crate) body: Value,
    pub(crate) of: Of,
    /// When it was first answered with 200.
    pub(crate) acknowledged_at: Option<i64>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    /// A customer's message.
    Message { customer: usize, text: String },
    /// The message of a call.
    Sign { call: usize, says: &'static str },
}

/// A notification.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) platform: Platform,
    pub(crate) events: Vec<usize>,
    /// Once it was built it stays as it is.
    pub(crate) body: Option<String>,
    pub(crate) tries: u32,
    pub(crate) is_lost: bool,
    pub(crate) is_done: bool,
}

/// The way of the hub's calls to this Meta.
#[derive(Debug)]
pub(crate) struct Wire(pub(crate) World);

/// What comes of a call, and when.
struct Fate {
    answer_at: i64,
    answer: Result<Reply, CallError>,
}

enum Reply {
    /// Meta took the message, and says so.
    Taken,
    /// The same, but the answer breaks off.
    TakenCut,
    Other(Carried),
}

impl Carrier for Wire {
    fn carry(&self, request: reqwest::Request) -> Pin<Box<dyn Future<Output = Result<Carried, CallError>> + Send>> {
        let world = self.0.clone();
        Box::pin(async move {
            let path = request.url().path().to_owned();
            let token = token_of(&request);
            let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
            let Ok(body) = serde_json::from_slice::<Value>(body) else {
                return read(&world, &path, &token).await;
            };
            let received = world.lock().receive(&path, &body, &token);
            let Some((call, fate)) = received else {
                // The process died at this call.
                return std::future::pending().await;
            };
            let until = world.lock().instant(fate.answer_at);
            sleep_until(until).await;
            world.lock().answer(call, fate)
        })
    }
}

pub(crate) fn token_of(request: &reqwest::Request) -> String {
    let header = request.headers().get(reqwest::header::AUTHORIZATION);
    let bearer = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    bearer.trim_start_matches("Bearer ").to_owned()
}

/// A question that changes nothing: for somebody's profile, or for the number or account whose token it is.
async fn read(world: &World, path: &str, token: &str) -> Result<Carried, CallError> {
    let until = {
        let mut world = world.lock();
        let after = world.rng.random_range(5..200);
        let at = world.now() + after;
        world.instant(at)
    };
    sleep_until(until).await;
    let mut world = world.lock();
    if world.is_unreachable() || world.hits(Fault::Refused) {
        return Err(CallError::NotSent {
            reason: "connection refused".to_owned(),
        });
    }
    if world.hits(Fault::ErrorObject) {
        return Ok(refusal(500, 2, "Service temporarily unavailable"));
    }
    let node = path.rsplit('/').next().unwrap_or_default();
    let line = Line::of_account(node).unwrap_or(Line::Instagram);
    if world.is_refused(line, token) {
        return Ok(refusal(401, 190, "Token expired"));
    }
    // Reference `whatsapp.md` 12.1, `instagram.md` 1.3 and 3.10.
    let node = match node {
        NUMBER | OTHER_NUMBER => {
            json!({"id": node, "display_phone_number": "+44 7700 900000", "verified_name": "Shop"})
        }
        "me" => json!({"user_id": ACCOUNT, "id": "9001", "username": "shop", "name": "Shop"}),
        id => json!({"name": format!("Person {id}"), "username": format!("person.{id}"), "id": id}),
    };
    Ok(carried(200, &node))
}

pub(crate) fn carried(http_status: u16, body: &Value) -> Carried {
    Carried {
        http_status,
        headers: HeaderMap::new(),
        body: body.to_string().into_bytes(),
        broken: None,
    }
}

/// An error object (reference `graph-api.md` 3).
pub(crate) fn refusal(http_status: u16, code: i64, text: &str) -> Carried {
    carried(
        http_status,
        &json!({"error": {"message": format!("(#{code}) {text}"), "type": "OAuthException", "code": code, "fbtrace_id": "A"}}),
    )
}

/// Of something that stands before Meta.
fn bad_gateway() -> Carried {
    Carried {
        http_status: 502,
        body: b"<html>Bad Gateway</html>".to_vec(),
        ..Carried::default()
    }
}

impl Inner {
    fn is_unreachable(&self) -> bool {
        let at = self.now() - START;
        !self.is_calm && self.plan.outages.iter().any(|stretch| stretch.contains(&at))
    }

    /// Whether a token does not work: at this time none does, or it is not the account's, or not any more.
    fn is_refused(&self, line: Line, token: &str) -> bool {
        let at = self.now() - START;
        let are_expired = !self.is_calm && self.plan.expired.iter().any(|stretch| stretch.contains(&at));
        are_expired || self.tokens[&line] != token
    }

    /// A call has arrived, or was about to; `None` where the process dies at it.
    fn receive(&mut self, path: &str, body: &Value, token: &str) -> Option<(usize, Fate)> {
        let text = body["text"]["body"].as_str().or(body["message"]["text"].as_str());
        let text = text.map(ordered);
        let Some(order) = text.and_then(|text| self.orders.iter().position(|order| order.text == text)) else {
            self.violated("only what was ordered is sent", body);
            return None;
        };
        let platform = self.customers[self.orders[order].customer].platform;
        let line = path.split('/').nth(2).and_then(Line::of_account);
        let to = match platform {
            Platform::WhatsApp => body["to"].as_str().or(body["recipient"].as_str()),
            Platform::Instagram => body["recipient"]["id"].as_str(),
        };
        let is_right = line == Some(Line::of(platform)) || line == Some(Line::Backup) && self.orders[order].is_routed();
        let customer = &self.customers[self.orders[order].customer];
        let is_theirs = to.is_some_and(|to| {
            to.trim_start_matches('+') == customer.address || Some(to) == customer.user_id.as_deref()
        });
        if !is_right || !is_theirs {
            self.violated(
                "messages go to whom they were ordered for",
                format_args!("{path} {body}"),
            );
        }
        if line.is_some_and(|line| !self.leads(line)) {
            let what = format!("order {order} by node {}, by {line:?}", self.running_node());
            self.violated("whoever sends leads the channel", what);
        }
        let (number, now) = (self.calls.len(), self.now());
        self.calls.push(Call {
            order,
            line: line.unwrap_or(Line::Main),
            node: self.running_node(),
            at: now,
            callback: body["biz_opaque_callback_data"].as_str().map(str::to_owned),
            taken_at: None,
            external_id: match platform {
                Platform::WhatsApp => format!("wamid.OUT{number}"),
                Platform::Instagram => format!("aWdfOUT{number}"),
            },
            fails_later: false,
            answered_at: None,
            is_over: false,
        });
        let (fate, what) = self.fate(number, now, platform, token);
        self.note(format_args!("call {number} of order {order}: {what}"));
        if self.hits(Fault::CallCrash) {
            self.note("the process dies at this call");
            self.crash();
            return None;
        }
        Some((number, fate))
    }

    /// Decides what comes of a call; what Meta does meanwhile goes on the agenda.
    fn fate(&mut self, call: usize, now: i64, platform: Platform, token: &str) -> (Fate, &'static str) {
        let quick = if self.hits(Fault::Slow) {
            self.rng.random_range(500..REQUEST_TIMEOUT - 500)
        } else {
            self.rng.random_range(3..300)
        };
        let whatsapp = platform == Platform::WhatsApp;
        let not_sent = || {
            Err(CallError::NotSent {
                reason: "connection refused".to_owned(),
            })
        };
        let unknown = |reason: &str| {
            Err(CallError::Unknown {
                reason: reason.to_owned(),
                http_status: None,
            })
        };
        let late = now + REQUEST_TIMEOUT;
        let refused = |status: u16, code: i64, text: &str| Ok(Reply::Other(refusal(status, code, text)));
        if self.is_unreachable() || self.hits(Fault::Refused) {
            return (fate(now + quick, not_sent()), "no connection");
        }
        if self.is_refused(self.calls[call].line, token) {
            return (fate(now + quick, refused(401, 190, "Token expired")), "token expired");
        }
        if self.hits(Fault::ResetBefore) {
            return (
                fate(now + quick, unknown("connection reset")),
                "reset before it was taken",
            );
        }
        if self.hits(Fault::TimeoutBefore) {
            return (fate(late, unknown("timed out")), "never read");
        }
        if self.hits(Fault::ErrorBare) {
            return (fate(now + quick, Ok(Reply::Other(bad_gateway()))), "502");
        }
        if self.hits(Fault::ErrorObject) {
            let answer = if whatsapp {
                refused(500, 131_000, "Something went wrong")
            } else {
                refused(500, 2, "Service temporarily unavailable")
            };
            return (fate(now + quick, answer), "500 with an error object");
        }
        if self.hits(Fault::Throttled) {
            let answer = if whatsapp {
                refused(400, 130_429, "Rate limit hit")
            } else {
                refused(400, 613, "Calls within one hour exceeded")
            };
            return (fate(now + quick, answer), "throttled");
        }
        if whatsapp && self.hits(Fault::PairLimit) {
            return (
                fate(now + quick, refused(400, 131_056, "Pair rate limit hit")),
                "pair limit",
            );
        }
        if self.hits(Fault::Permanent) {
            let answer = if whatsapp {
                refused(400, 131_026, "Message undeliverable")
            } else {
                refused(400, 100, "Invalid parameter")
            };
            return (fate(now + quick, answer), "refused for good");
        }
        // From here on Meta takes the message.
        let taken_at = now + self.rng.random_range(1..=quick);
        if self.hits(Fault::TakenLate) {
            let after = self.plan.unknown_after_secs * 1_000;
            let at = late + self.rng.random_range(1..after / 2);
            self.plan_at(at, Happening::Take { call });
            return (fate(late, unknown("timed out")), "taken after the time-out");
        }
        self.plan_at(taken_at, Happening::Take { call });
        if self.hits(Fault::ErrorBareAfter) {
            return (fate(now + quick + 1, Ok(Reply::Other(bad_gateway()))), "taken, and 502");
        }
        if self.hits(Fault::ResetAfter) {
            return (
                fate(now + quick + 1, unknown("connection reset")),
                "reset after it was taken",
            );
        }
        if self.hits(Fault::TimeoutAfter) {
            return (fate(late, unknown("timed out")), "taken, and no answer");
        }
        if self.hits(Fault::AnswerCut) {
            return (
                fate(now + quick + 1, Ok(Reply::TakenCut)),
                "taken, and the answer breaks off",
            );
        }
        (fate(now + quick + 1, Ok(Reply::Taken)), "taken")
    }

    /// The answer to a call is read by the hub.
    fn answer(&mut self, call: usize, fate: Fate) -> Result<Carried, CallError> {
        match fate.answer {
            Ok(Reply::Other(answer)) => Ok(answer),
            Ok(taken) => {
                self.take(call);
                let (order, now) = (self.calls[call].order, self.now());
                let customer = self.customers[self.orders[order].customer].clone();
                let id = &self.calls[call].external_id;
                let mut body = match customer.platform {
                    // Reference `whatsapp.md` 9.1, `instagram.md` 3.1.
                    Platform::WhatsApp => carried(
                        200,
                        &json!({"messaging_product": "whatsapp",
                            "contacts": [{"input": self.orders[order].to, "wa_id": customer.address}], "messages": [{"id": id}]}),
                    ),
                    Platform::Instagram => carried(200, &json!({"recipient_id": customer.address, "message_id": id})),
                };
                if matches!(taken, Reply::TakenCut) {
                    body.body.truncate(20);
                    body.broken = Some("connection reset".to_owned());
                } else {
                    self.calls[call].answered_at = Some(now);
                    self.note(format_args!("call {call} is answered"));
                }
                Ok(body)
            }
            Err(error) => Err(error),
        }
    }

    /// Meta takes the message of a call, unless it has it already.
    pub(crate) fn take(&mut self, call: usize) {
        if self.calls[call].taken_at.is_some() || self.calls[call].is_over {
            return;
        }
        let now = self.now();
        let order = self.calls[call].order;
        self.calls[call].taken_at = Some(now);
        self.note(format_args!("Meta takes order {order} by call {call}"));
        let customer = self.orders[order].customer;
        match self.customers[customer].platform {
            Platform::WhatsApp => {
                if self.hits(Fault::FailsLater) {
                    self.calls[call].fails_later = true;
                    let at = now + self.rng.random_range(50..3_000);
                    self.whatsapp_status(call, "failed", at);
                    return;
                }
                let mut at = now;
                for status in ["sent", "delivered", "read"] {
                    at += self.rng.random_range(1..2_000);
                    self.whatsapp_status(call, status, at);
                    if status == "delivered" && self.rng.random_bool(0.4) {
                        break;
                    }
                }
            }
            Platform::Instagram => {
                let at = now + self.rng.random_range(1..2_000);
                let (igsid, id) = (
                    self.customers[customer].address.clone(),
                    self.calls[call].external_id.clone(),
                );
                let text = self.orders[order].text.clone();
                let body = json!({"sender": {"id": ACCOUNT}, "recipient": {"id": igsid}, "timestamp": now,
                    "message": {"mid": id, "text": text, "is_echo": true}});
                let sign = |says| Of::Sign { call, says };
                self.post(Platform::Instagram, format!("echo:{id}"), body, sign("echo"), at);
                if self.rng.random_bool(0.6) {
                    let at = at + self.rng.random_range(1..3_000);
                    let body = json!({"sender": {"id": igsid}, "recipient": {"id": ACCOUNT}, "timestamp": at, "read": {"mid": id}});
                    self.post(
                        Platform::Instagram,
                        format!("seen:{id}:{igsid}"),
                        body,
                        sign("seen"),
                        at,
                    );
                }
            }
        }
    }

    /// Reference `whatsapp.md` 5.
    fn whatsapp_status(&mut self, call: usize, status: &'static str, at: i64) {
        let customer = self.customers[self.orders[self.calls[call].order].customer].clone();
        let (id, callback) = (self.calls[call].external_id.clone(), self.calls[call].callback.clone());
        let mut element = json!({"id": id, "status": status, "timestamp": (at / 1_000).to_string(),
            "recipient_id": customer.address});
        if let Some(callback) = callback {
            element["biz_opaque_callback_data"] = json!(callback);
        }
        if status == "failed" {
            element["errors"] = json!([{"code": 131_026, "title": "Message undeliverable", "message": "Message undeliverable",
                "error_data": {"details": "The recipient cannot be reached."}}]);
        }
        let body = whatsapp_change(json!({"statuses": [element]}), self.calls[call].line);
        let of = Of::Sign { call, says: status };
        self.post(Platform::WhatsApp, format!("status:{id}:{status}"), body, of, at);
    }

    /// A customer writes (reference `whatsapp.md` 4, `instagram.md` 2.5).
    pub(crate) fn write(&mut self, customer: usize, line: Line) {
        let (number, now) = (self.events.len(), self.now());
        let known = self.customers[customer].clone();
        let text = format!("written {number}");
        self.note(format_args!("customer {customer} writes {text:?}"));
        let of = Of::Message {
            customer,
            text: text.clone(),
        };
        match known.platform {
            Platform::WhatsApp => {
                let id = format!("wamid.IN{number}");
                let mut message = json!({"id": id, "from": known.address, "timestamp": (now / 1_000).to_string(), "type": "text",
                    "text": {"body": text}});
                let mut contact = json!({"wa_id": known.address, "profile": {"name": format!("Customer {customer}")}});
                if let Some(user_id) = &known.user_id {
                    message["from_user_id"] = json!(user_id);
                    contact["user_id"] = json!(user_id);
                }
                let body = whatsapp_change(json!({"contacts": [contact], "messages": [message]}), line);
                self.post(Platform::WhatsApp, format!("message:{id}"), body, of, now);
            }
            Platform::Instagram => {
                let id = format!("aWdfIN{number}");
                let body = json!({"sender": {"id": known.address}, "recipient": {"id": ACCOUNT}, "timestamp": now,
                    "message": {"mid": id, "text": text}});
                self.post(Platform::Instagram, format!("message:{id}"), body, of, now);
            }
        }
    }

    /// An event is to be posted: alone, or with another one that waits to be.
    fn post(&mut self, platform: Platform, external_id: String, body: Value, of: Of, at: i64) {
        let event = self.events.len();
        self.events.push(Event {
            external_id,
            body,
            of,
            acknowledged_at: None,
        });
        if self.rng.random_bool(0.3)
            && let Some(post) = self
                .posts
                .iter_mut()
                .rev()
                .take(5)
                .find(|post| post.platform == platform && post.body.is_none() && !post.is_lost)
        {
            post.events.push(event);
            return;
        }
        let post = self.posts.len();
        let is_lost = self.hits(Fault::PostLost);
        self.posts.push(Post {
            platform,
            events: vec![event],
            body: None,
            tries: 0,
            is_lost,
            is_done: is_lost,
        });
        if is_lost {
            let what = self.events[event].external_id.clone();
            self.note(format_args!("post {post} with {what} will never come"));
            return;
        }
        let delay = if self.hits(Fault::PostLate) {
            self.rng.random_range(1_000..40_000)
        } else {
            self.rng.random_range(1..300)
        };
        if self.hits(Fault::PostForged) {
            self.plan_at(at + delay / 2, Happening::Post { post, forged: true });
        }
        self.plan_at(at + delay, Happening::Post { post, forged: false });
        if self.hits(Fault::PostDoubled) {
            let again = self.rng.random_range(0..5_000);
            self.plan_at(at + delay + again, Happening::Post { post, forged: false });
        }
    }

    /// The body of a post, from the first try on the same.
    pub(crate) fn body_of(&mut self, post: usize) -> String {
        let (now, entry) = (self.now(), self.posts[post].clone());
        if let Some(body) = entry.body {
            return body;
        }
        let items: Vec<&Value> = entry.events.iter().map(|event| &self.events[*event].body).collect();
        let body = match entry.platform {
            Platform::WhatsApp => {
                json!({"object": "whatsapp_business_account", "entry": [{"id": BUSINESS_ACCOUNT, "changes": items}]})
            }
            Platform::Instagram => {
                json!({"object": "instagram", "entry": [{"id": ACCOUNT, "time": now, "messaging": items}]})
            }
        };
        let body = body.to_string();
        self.posts[post].body = Some(body.clone());
        body
    }

    /// The hub has answered a post with 200.
    pub(crate) fn acknowledged(&mut self, post: usize) {
        let now = self.now();
        self.posts[post].is_done = true;
        for event in self.posts[post].events.clone() {
            self.events[event].acknowledged_at.get_or_insert(now);
        }
    }
}

fn fate(answer_at: i64, answer: Result<Reply, CallError>) -> Fate {
    Fate { answer_at, answer }
}

/// Reference `whatsapp.md` 3.
fn whatsapp_change(parts: Value, line: Line) -> Value {
    let mut value = parts;
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({"display_phone_number": "442079460100", "phone_number_id": line.account()});
    json!({"field": "messages", "value": value})
}
