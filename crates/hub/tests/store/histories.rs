//! Histories: what a few people do on WhatsApp and Instagram, drawn at random, and the notifications in which Meta tells of it.
//!
//! Everything that a history tells agrees with itself: an address is one person's, unless an event says that it moved. What two events
//! tell of one moment may differ.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tidings_meta::notification::{Event, Platform, split};

use crate::harness::BEGIN;

/// The accounts, with the channels that they are.
pub(crate) const ACCOUNTS: [(&str, &str); 3] = [
    ("418205937761245", "whatsapp"),
    ("418205937761999", "whatsapp-backup"),
    ("17841470000000101", "instagram"),
];
const INSTAGRAM: &str = ACCOUNTS[2].0;
const BUSINESS_PHONE: &str = "442079460111";

/// From this second on, who changes an address uses the new one.
const MOVED_AT: i64 = 6;

/// A customer of ours on WhatsApp, with every address that they have had: the second ones from [`MOVED_AT`] on.
struct Customer {
    phones: &'static [&'static str],
    user_ids: &'static [&'static str],
    parent_id: Option<&'static str>,
}

const CUSTOMERS: [Customer; 5] = [
    Customer {
        phones: &["447700900123"],
        user_ids: &["GB.48201937562840117365"],
        parent_id: Some("GB.ENT.90217744530128866104"),
    },
    // Their number changes.
    Customer {
        phones: &["447700900200", "447700900100"],
        user_ids: &["GB.20000000000000000001"],
        parent_id: None,
    },
    // One number in two spellings, and no user id.
    Customer {
        phones: &["5511987654321", "551187654321"],
        user_ids: &[],
        parent_id: None,
    },
    // Their user id changes.
    Customer {
        phones: &["447700900300"],
        user_ids: &["GB.30000000000000000002", "GB.30000000000000000001"],
        parent_id: None,
    },
    // They never show their number.
    Customer {
        phones: &[],
        user_ids: &["GB.40000000000000000001"],
        parent_id: None,
    },
];
const FOLLOWERS: [&str; 2] = ["5550001110001", "5550001110002"];
const NAMES: [&str; 3] = ["Priya", "Priya Shah", "P."];
/// A word that opts out.
pub(crate) const STOP: &str = "Stop.";
/// A word that opts in.
pub(crate) const START: &str = "start";
const EMOJI: [&str; 2] = ["\u{1f44d}", "\u{2764}\u{fe0f}"];

/// Of what was sent before the history begins, without Meta's answer: the message's id at Meta and its words.
pub(crate) const OWN_WHATSAPP: (&str, &str) = ("wamid.own", "own on WhatsApp");
/// The same on Instagram.
pub(crate) const OWN_INSTAGRAM: (&str, &str) = ("mid.own", "own on Instagram");
/// Whom [`OWN_WHATSAPP`] was sent to.
pub(crate) const OWN_PHONE: &str = CUSTOMERS[0].phones[0];
/// Whom [`OWN_INSTAGRAM`] was sent to.
pub(crate) const OWN_IGSID: &str = FOLLOWERS[0];

/// Something that one event tells.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    /// By or about whom.
    person: usize,
    /// On which channel.
    channel: usize,
    /// In which second.
    second: i64,
    /// What of the person's addresses and names it shows.
    shows: Shows,
    deed: Deed,
}

#[derive(Debug, Clone, Copy)]
struct Shows {
    phone: bool,
    user_id: bool,
    parent_id: bool,
    /// The later of two spellings of a number.
    later: bool,
    /// When that was: from [`MOVED_AT`] on it is the second address rather than the first.
    second: i64,
    /// A phone that is not shown is there and empty.
    empty: bool,
    name: Option<usize>,
    username: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Say(Way),
    /// Something about a message of the history: which one is counted from the first, and begins again at the end.
    About(usize, Change),
    /// Everything up to a second was read.
    SeenUpTo(i64),
    Call,
    Move,
    /// Says in WhatsApp's menu that they want no advertising, or want it again.
    Prefer(bool),
    /// Opens the chat, and says nothing.
    Welcome,
    /// The status of a message that somebody else sent.
    Elsewhere,
    /// Comments on a post (Instagram).
    Comment,
    /// The business answers a comment of the history, in the app: which one is counted as messages are.
    Answer(usize),
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Inbound,
    Echo,
    History,
    HistoryOutbound,
    Placeholder,
    Postback,
    /// A word that opts out, and nothing else.
    Stop,
    /// A word that opts in.
    Start,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Status(&'static str),
    React {
        by_business: bool,
        emoji: Option<usize>,
    },
    Edit,
    TakeBack,
    Seen,
    /// It is told again as history.
    Import,
    /// It is told again as it happened.
    Again,
}

pub(crate) fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 1..24)
}

fn act() -> impl Strategy<Value = Act> {
    (0..7_usize, 0..2_usize, 0..12_i64, shows(), deed()).prop_map(|(person, channel, second, shows, deed)| Act {
        person,
        channel,
        second,
        shows: Shows { second, ..shows },
        deed,
    })
}

fn shows() -> impl Strategy<Value = Shows> {
    let bits = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let names = (prop::option::of(0..NAMES.len()), prop::option::of(0..NAMES.len()));
    (bits, names).prop_map(|((phone, user_id, parent_id, later, empty), (name, username))| Shows {
        phone,
        user_id,
        parent_id,
        later,
        second: 0,
        empty,
        name,
        username,
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    let ways = [
        Way::Inbound,
        Way::Inbound,
        Way::Echo,
        Way::Echo,
        Way::History,
        Way::HistoryOutbound,
        Way::Placeholder,
        Way::Postback,
        Way::Stop,
        Way::Start,
    ];
    let status = select(vec!["sent", "delivered", "read", "played", "failed", "deleted"]).prop_map(Change::Status);
    let react = (any::<bool>(), prop::option::of(0..EMOJI.len()))
        .prop_map(|(by_business, emoji)| Change::React { by_business, emoji });
    let change = prop_oneof![
        3 => status,
        2 => react,
        4 => select(vec![Change::Edit, Change::TakeBack, Change::Seen, Change::Import, Change::Again]),
    ];
    prop_oneof![
        6 => select(ways.to_vec()).prop_map(Deed::Say),
        9 => (0..8_usize, change).prop_map(|(target, change)| Deed::About(target, change)),
        1 => (0..14_i64).prop_map(Deed::SeenUpTo),
        2 => any::<bool>().prop_map(Deed::Prefer),
        1 => select(vec![Deed::Call, Deed::Welcome, Deed::Elsewhere]),
        2 => Just(Deed::Comment),
        1 => (0..4_usize).prop_map(Deed::Answer),
    ]
}

/// A history's events in the order in which they happened, and the words that nobody may find any more once all of them are known.
pub(crate) struct History {
    pub(crate) events: Vec<(Platform, Event)>,
    pub(crate) taken_back: Vec<String>,
}

/// An address never changes without being told; else its owner may be somebody else.
fn move_of(person: usize) -> Act {
    Act {
        person,
        channel: 0,
        second: MOVED_AT,
        shows: Shows {
            phone: true,
            user_id: true,
            parent_id: false,
            later: false,
            // What they leave.
            second: MOVED_AT - 1,
            empty: false,
            name: None,
            username: None,
        },
        deed: Deed::Move,
    }
}

/// Something that was said, for what is told about it.
struct Said {
    id: String,
    words: String,
    person: usize,
    channel: usize,
    second: i64,
    shows: Shows,
    way: Way,
    own: bool,
}

/// What Meta tells of the acts. `own`: the messages sent before are there, and the first of them bears this mark.
pub(crate) fn history(acts: &[Act], own: Option<&str>) -> History {
    let mut acts = acts.to_vec();
    for person in [1, 3] {
        if acts.iter().any(|act| act.person == person) {
            acts.push(move_of(person));
        }
    }
    acts.sort_by_key(|act| act.second);
    let mut said: Vec<Said> = Vec::new();
    if own.is_some() {
        for ((id, words), person) in [(OWN_WHATSAPP, 0), (OWN_INSTAGRAM, 5)] {
            said.push(Said {
                id: id.to_owned(),
                words: words.to_owned(),
                person,
                channel: 0,
                second: 0,
                shows: move_of(person).shows,
                way: Way::Echo,
                own: true,
            });
        }
    }
    for (number, act) in acts.iter().enumerate() {
        if let Deed::Say(way) = act.deed {
            said.push(Said {
                id: format!("{}.{number}", if act.person < 5 { "wamid" } else { "mid" }),
                words: match way {
                    Way::Stop => STOP.to_owned(),
                    Way::Start => START.to_owned(),
                    _ => format!("words {number};"),
                },
                person: act.person,
                channel: act.channel,
                second: act.second,
                shows: act.shows,
                way,
                own: false,
            });
        }
    }
    let mut taken_back = Vec::new();
    let mut events = Vec::new();
    let mut identities = HashSet::new();
    for (number, act) in acts.iter().enumerate() {
        let told = if is_on_instagram(act, &said) {
            (
                Platform::Instagram,
                under_post(act, number, &acts).or_else(|| instagram(act, number, &said)),
            )
        } else {
            (Platform::WhatsApp, whatsapp(act, number, &said, own))
        };
        let (platform, Some(body)) = told else { continue };
        if let Deed::About(target, Change::TakeBack) = act.deed {
            let target = &said[target % said.len()];
            // Of our own messages it may never become known which of Meta's ids they have.
            let is_unique = !matches!(target.way, Way::Stop | Way::Start);
            if !target.own && is_unique {
                taken_back.push(target.words.clone());
                taken_back.extend(acts.iter().enumerate().filter_map(|(other, act)| match act.deed {
                    Deed::About(edited, Change::Edit) if said[edited % said.len()].id == target.id => {
                        Some(format!("edit {other};"))
                    }
                    _ => None,
                }));
            }
        }
        let told = split(platform, body.to_string().as_bytes()).unwrap();
        // What has the identity of an earlier event is a repeat of it, whatever it says.
        events.extend(told.into_iter().filter_map(|event| {
            let is_new = identities.insert((event.account.clone(), event.external_id.clone()));
            is_new.then_some((platform, event))
        }));
    }
    History { events, taken_back }
}

fn is_on_instagram(act: &Act, said: &[Said]) -> bool {
    match act.deed {
        Deed::About(target, _) if !said.is_empty() => said[target % said.len()].person >= 5,
        _ => act.person >= 5,
    }
}

/// Some of them are refused because their recipient wants no advertising.
fn failure_code(second: i64) -> i64 {
    if second % 3 == 2 { 131_050 } else { 131_000 + second }
}

fn at(second: i64) -> i64 {
    BEGIN - 60_000 + second * 1_000
}

fn seconds(second: i64) -> String {
    (at(second) / 1_000).to_string()
}

/// The addresses that an event shows: phone, user id, parent id.
fn addresses(person: usize, shows: Shows) -> (Option<&'static str>, Option<&'static str>, Option<&'static str>) {
    let customer = &CUSTOMERS[person];
    let is_later = if customer.user_ids.is_empty() {
        shows.later
    } else {
        shows.second >= MOVED_AT
    };
    let pick = |all: &[&'static str]| all.get(usize::from(is_later).min(all.len().saturating_sub(1))).copied();
    let (phone, user_id) = (pick(customer.phones), pick(customer.user_ids));
    match (phone.filter(|_| shows.phone), user_id.filter(|_| shows.user_id)) {
        (None, None) => (phone.filter(|_| user_id.is_none()), user_id, None),
        (shown_phone, shown_id) => (shown_phone, shown_id, customer.parent_id.filter(|_| shows.parent_id)),
    }
}

/// Writes who it is under the names that this place uses.
fn put_person(item: &mut Value, person: usize, shows: Shows, names: [&str; 3]) {
    let (phone, user_id, parent_id) = addresses(person, shows);
    for (name, value) in names.into_iter().zip([phone, user_id, parent_id]) {
        if let Some(value) = value {
            item[name] = json!(value);
        } else if shows.empty {
            item[name] = json!("");
        }
    }
}

fn whatsapp_body(act: &Act, person: usize, channel: usize, field: &str, value: &Value) -> Value {
    let mut value = value.clone();
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({"display_phone_number": BUSINESS_PHONE, "phone_number_id": ACCOUNTS[channel].0});
    if act.shows.name.is_some() || act.shows.username.is_some() {
        let mut contact = json!({"profile": {}});
        if let Some(name) = act.shows.name {
            contact["profile"]["name"] = json!(NAMES[name]);
        }
        if let Some(username) = act.shows.username {
            contact["profile"]["username"] = json!(format!("name.{username}"));
        }
        put_person(&mut contact, person, act.shows, ["wa_id", "user_id", "parent_user_id"]);
        value["contacts"] = json!([contact]);
    }
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "305918274660123", "changes": [{"field": field, "value": value}]}]})
}

const FROM: [&str; 3] = ["from", "from_user_id", "from_parent_user_id"];
const TO: [&str; 3] = ["to", "to_user_id", "to_parent_user_id"];
const RECIPIENT: [&str; 3] = ["recipient_id", "recipient_user_id", "recipient_parent_user_id"];

fn whatsapp(act: &Act, number: usize, said: &[Said], own: Option<&str>) -> Option<Value> {
    let body = |field: &str, value: Value| Some(whatsapp_body(act, act.person, act.channel, field, &value));
    let mut item = json!({"id": format!("wamid.of.{number}"), "timestamp": seconds(act.second)});
    match act.deed {
        Deed::Say(_) => {
            let said = said.iter().find(|said| said.id == format!("wamid.{number}"))?;
            Some(whatsapp_said(act, said, said.way))
        }
        Deed::About(target, change) => about_whatsapp(act, number, said.get(target % said.len().max(1))?, change, own),
        Deed::Call => {
            put_person(&mut item, act.person, act.shows, FROM);
            item["event"] = json!("connect");
            item["direction"] = json!("USER_INITIATED");
            body("calls", json!({ "calls": [item] }))
        }
        Deed::Prefer(stops) => {
            let mut preference = json!({"detail": "User requested it", "category": "marketing_messages",
                "value": if stops { "stop" } else { "resume" }, "timestamp": at(act.second) / 1_000});
            put_person(
                &mut preference,
                act.person,
                act.shows,
                ["wa_id", "user_id", "parent_user_id"],
            );
            body("user_preferences", json!({ "user_preferences": [preference] }))
        }
        Deed::Welcome => {
            put_person(&mut item, act.person, act.shows, FROM);
            item["type"] = json!("request_welcome");
            body("messages", json!({ "messages": [item] }))
        }
        Deed::Elsewhere => {
            put_person(&mut item, act.person, act.shows, RECIPIENT);
            item["status"] = json!("delivered");
            body("messages", json!({ "statuses": [item] }))
        }
        Deed::Move if act.person == 3 => {
            let update = json!({"wa_id": CUSTOMERS[3].phones[0], "timestamp": seconds(act.second),
                "user_id": {"previous": CUSTOMERS[3].user_ids[0], "current": CUSTOMERS[3].user_ids[1]}});
            body("user_id_update", json!({ "user_id_update": [update] }))
        }
        Deed::Move if act.person == 1 => {
            put_person(&mut item, act.person, act.shows, FROM);
            item["type"] = json!("system");
            item["system"] = json!({"body": "Changed", "wa_id": CUSTOMERS[1].phones[1], "type": "user_changed_number"});
            body("messages", json!({ "messages": [item] }))
        }
        Deed::Move | Deed::SeenUpTo(_) | Deed::Comment | Deed::Answer(_) => None,
    }
}

fn whatsapp_said(act: &Act, said: &Said, way: Way) -> Value {
    let mut item =
        json!({"id": said.id, "timestamp": seconds(said.second), "type": "text", "text": {"body": said.words}});
    let outbound = matches!(way, Way::Echo | Way::HistoryOutbound | Way::Placeholder);
    if outbound {
        item["from"] = json!(BUSINESS_PHONE);
    }
    put_person(&mut item, said.person, said.shows, if outbound { TO } else { FROM });
    let shows = Shows {
        name: act.shows.name,
        username: act.shows.username,
        ..said.shows
    };
    let act = &Act { shows, ..act.clone() };
    let body = |field: &str, value: Value| whatsapp_body(act, said.person, said.channel, field, &value);
    match way {
        Way::Inbound | Way::Postback | Way::Stop | Way::Start => body("messages", json!({ "messages": [item] })),
        Way::Echo => body("smb_message_echoes", json!({ "message_echoes": [item] })),
        Way::History | Way::HistoryOutbound | Way::Placeholder => {
            if matches!(way, Way::Placeholder) {
                item["type"] = json!("media_placeholder");
            }
            item["history_context"] = json!({"status": "DELIVERED"});
            let mut context = json!({});
            put_person(
                &mut context,
                said.person,
                said.shows,
                ["wa_id", "user_id", "parent_user_id"],
            );
            let thread = json!({"id": "thread", "context": context, "messages": [item]});
            body(
                "history",
                json!({"history": [{"metadata": {"phase": 0}, "threads": [thread]}]}),
            )
        }
    }
}

fn about_whatsapp(act: &Act, number: usize, target: &Said, change: Change, own: Option<&str>) -> Option<Value> {
    let outbound = matches!(target.way, Way::Echo | Way::HistoryOutbound | Way::Placeholder);
    let mut item = json!({"id": format!("wamid.of.{number}"), "timestamp": seconds(act.second)});
    let body = |field: &str, value: Value| Some(whatsapp_body(act, target.person, target.channel, field, &value));
    let told = |item: &Value, by_business: bool| {
        let (mut item, names) = (item.clone(), if by_business { TO } else { FROM });
        if by_business {
            item["from"] = json!(BUSINESS_PHONE);
        }
        put_person(&mut item, target.person, act.shows, names);
        if by_business {
            body("smb_message_echoes", json!({ "message_echoes": [item] }))
        } else {
            body("messages", json!({ "messages": [item] }))
        }
    };
    match change {
        Change::Status(status) => {
            item["id"] = json!(target.id);
            item["status"] = json!(status);
            if status == "failed" {
                item["errors"] = json!([{"code": failure_code(act.second), "title": "Something went wrong"}]);
            }
            if let Some(own) = own.filter(|_| target.own && act.shows.name.is_none()) {
                item["biz_opaque_callback_data"] = json!(own);
            }
            put_person(&mut item, target.person, act.shows, RECIPIENT);
            body("messages", json!({ "statuses": [item] }))
        }
        Change::React { by_business, emoji } => {
            item["type"] = json!("reaction");
            item["reaction"] = json!({"message_id": target.id, "emoji": emoji.map_or("", |emoji| EMOJI[emoji])});
            told(&item, by_business)
        }
        Change::Edit => {
            item["type"] = json!("edit");
            item["edit"] = json!({"original_message_id": target.id,
                "message": {"type": "text", "text": {"body": format!("edit {number};")}}});
            told(&item, outbound)
        }
        Change::TakeBack => {
            item["type"] = json!("revoke");
            item["revoke"] = json!({"original_message_id": target.id});
            told(&item, outbound)
        }
        Change::Import if !target.own => Some(whatsapp_said(
            act,
            target,
            if outbound { Way::HistoryOutbound } else { Way::History },
        )),
        Change::Again if !target.own => Some(whatsapp_said(
            act,
            target,
            if outbound { Way::Echo } else { Way::Inbound },
        )),
        Change::Import | Change::Again | Change::Seen => None,
    }
}

fn instagram(act: &Act, number: usize, said: &[Said]) -> Option<Value> {
    let entry = |person: usize, by_business: bool, name: &str, part: Value| {
        let (business, follower) = (json!({ "id": INSTAGRAM }), json!({ "id": FOLLOWERS[person - 5] }));
        let (from, to) = if by_business {
            (business, follower)
        } else {
            (follower, business)
        };
        let mut item = json!({"sender": from, "recipient": to, "timestamp": at(act.second)});
        item[name] = part;
        Some(
            json!({"object": "instagram", "entry": [{"id": INSTAGRAM, "time": at(act.second) + 700, "messaging": [item]}]}),
        )
    };
    match act.deed {
        Deed::Say(way) => {
            let said = said.iter().find(|said| said.id == format!("mid.{number}"))?;
            match way {
                Way::Inbound | Way::History | Way::Placeholder | Way::Stop | Way::Start => entry(
                    act.person,
                    false,
                    "message",
                    json!({"mid": said.id, "text": said.words}),
                ),
                Way::Echo | Way::HistoryOutbound => entry(
                    act.person,
                    true,
                    "message",
                    json!({"mid": said.id, "text": said.words, "is_echo": true}),
                ),
                Way::Postback => entry(
                    act.person,
                    false,
                    "postback",
                    json!({"mid": said.id, "title": said.words, "payload": "HOURS"}),
                ),
            }
        }
        Deed::About(target, change) => {
            let target = said.get(target % said.len().max(1))?;
            let (person, outbound) = (target.person, matches!(target.way, Way::Echo | Way::HistoryOutbound));
            match change {
                Change::React { by_business, emoji } => {
                    let mut reaction = json!({"mid": target.id, "action": "unreact"});
                    if let Some(emoji) = emoji {
                        reaction = json!({"mid": target.id, "action": "react", "emoji": EMOJI[emoji]});
                    }
                    entry(person, by_business, "reaction", reaction)
                }
                Change::Edit => entry(
                    person,
                    outbound,
                    "message_edit",
                    json!({"mid": target.id, "text": format!("edit {number};"), "num_edit": number + 1}),
                ),
                Change::TakeBack => {
                    let mut message = json!({"mid": target.id, "is_deleted": true});
                    if outbound {
                        message["is_echo"] = json!(true);
                    }
                    entry(person, outbound, "message", message)
                }
                // Of what we sent without hearing Meta's answer, the echo is the answer.
                Change::Status(_) if target.own => entry(
                    person,
                    true,
                    "message",
                    json!({"mid": target.id, "text": target.words, "is_echo": true}),
                ),
                Change::Seen | Change::Status(_) => entry(person, false, "read", json!({ "mid": target.id })),
                Change::Import | Change::Again => None,
            }
        }
        Deed::SeenUpTo(second) => entry(act.person, false, "read", json!({ "watermark": at(second) })),
        Deed::Call
        | Deed::Move
        | Deed::Prefer(_)
        | Deed::Welcome
        | Deed::Elsewhere
        | Deed::Comment
        | Deed::Answer(_) => None,
    }
}

const POSTS: [&str; 2] = ["17900055500000001", "17900055500000002"];

/// What Meta tells of comments. An answer of the business's own says under which comment it is, and not whom it answers.
fn under_post(act: &Act, number: usize, acts: &[Act]) -> Option<Value> {
    let value = match act.deed {
        Deed::Comment => json!({
            "id": format!("comment.{number}"), "text": format!("words {number};"),
            "from": {"id": FOLLOWERS[act.person - 5], "username": act.shows.username.map(|name| NAMES[name])},
            "media": {"id": POSTS[number % 2], "media_product_type": "FEED"},
        }),
        Deed::Answer(target) => {
            let is_comment = |act: &Act| matches!(act.deed, Deed::Comment) && act.person >= 5;
            let comments: Vec<usize> = (0..acts.len()).filter(|at| is_comment(&acts[*at])).collect();
            let parent = *comments.get(target % comments.len().max(1))?;
            json!({
                "id": format!("answer.{number}"), "parent_id": format!("comment.{parent}"), "text": format!("words {number};"),
                "from": {"id": INSTAGRAM, "username": "sandbox.records"},
                "media": {"id": POSTS[parent % 2], "media_product_type": "FEED"},
            })
        }
        _ => return None,
    };
    let change = json!({"field": "comments", "value": value});
    Some(
        json!({"object": "instagram", "entry": [{"id": INSTAGRAM, "time": at(act.second) / 1000, "changes": [change]}]}),
    )
}
