//! Limits at work: what is refused because too much was sent, or because of what the number may still do; and the headers that
//! tell how much is used (graph-api.md 4, whatsapp.md 13, instagram.md 6).
//!
//! All limits of a message are looked at before any of them counts it, so that a refused message uses up nothing. Calls are
//! counted also when they are refused, which prolongs the wait, as at Meta.

use axum::http::{HeaderName, HeaderValue};
use serde_json::json;

use super::error::GraphError;
use super::nodes;
use super::tokens::Caller;
use crate::Core;
use crate::limits::NumberStatus;
use crate::state::State;
use crate::state::threads::ThreadKey;
use crate::state::usage::{DAY, HOUR, SECOND};
use crate::webhooks::Object;
use crate::world::{InstagramAccount, Number};

/// Phone numbers of these countries get marketing without the limit: the European Economic Area, the United Kingdom, Japan and South
/// Korea (whatsapp.md 13.7).
const WITHOUT_MARKETING_LIMIT: &[&str] = &[
    "30", "31", "32", "33", "34", "351", "352", "353", "354", "356", "357", "358", "359", "36", "370", "371", "372",
    "385", "386", "39", "40", "420", "421", "423", "43", "44", "45", "46", "47", "48", "49", "81", "82",
];
/// The numbering plan that the United States share with neighbours.
const UNITED_STATES: &str = "1";

/// A message about to be accepted.
pub(super) struct Sending<'a> {
    pub(super) number: &'a Number,
    /// The thread, if somebody is behind the address.
    pub(super) key: Option<&'a ThreadKey>,
    /// Whether the customer's window is open.
    pub(super) window_is_open: bool,
    pub(super) now: i64,
}

/// Whether the number may send this at all (whatsapp.md 13.8, 14.2).
pub(super) fn check_status(state: &State, sending: &Sending<'_>) -> Result<(), GraphError> {
    let upgrading = state
        .usage
        .numbers
        .get(&sending.number.id)
        .is_some_and(|usage| usage.upgrading_until > sending.now);
    let refusal = match sending.number.status {
        _ if upgrading => (131_057, "The account is in maintenance mode for a throughput upgrade"),
        NumberStatus::Connected | NumberStatus::Flagged => return Ok(()),
        NumberStatus::Restricted if sending.window_is_open => return Ok(()),
        NumberStatus::Restricted => (368, "The business may not start conversations for now"),
        NumberStatus::Blocked => (131_031, "The account has been locked"),
        NumberStatus::Disabled => (368, "The account has been disabled"),
        NumberStatus::Unregistered => (133_010, "The phone number is not registered"),
    };
    Err(GraphError::whatsapp(refusal.0, refusal.1))
}

/// Refuses people that a test number may not write to (whatsapp.md 14.2).
pub(super) fn check_allowed(number: &Number, phone: Option<&str>) -> Result<(), GraphError> {
    match &number.allowed {
        Some(allowed) if !phone.is_some_and(|phone| allowed.iter().any(|allowed| allowed == phone)) => {
            Err(GraphError::whatsapp(
                131_030,
                "The recipient's phone number is not in the list of allowed numbers",
            )
            .subcode(2_655_007))
        }
        _ => Ok(()),
    }
}

/// Counts a WhatsApp message, unless a limit refuses it.
pub(super) fn take_whatsapp(core: &Core, state: &mut State, sending: &Sending<'_>) -> Result<(), GraphError> {
    let Sending { number, key, now, .. } = *sending;
    let (rules, limits) = (core.options.rules, number.limits);
    let begins = key.filter(|_| !sending.window_is_open);
    let second = &mut state.usage.numbers.entry(number.id.clone()).or_default().second;
    if !second.has_room(now, SECOND, number.pace()) {
        let details = "Too many messages were sent from this number in a short period";
        return Err(GraphError::whatsapp(130_429, details).subcode(2_494_055));
    }
    let has_pair_limit = rules.pair_limit && limits.pair_burst > 0 && limits.pair_seconds > 0;
    let pair = key.filter(|_| has_pair_limit);
    if let Some(key) = pair {
        let used = state.threads.get(key).map(|thread| thread.pair).unwrap_or_default();
        if !used.has_room(now, limits.pair_burst, limits.pair_seconds, rules.pair_strict) {
            return Err(GraphError::whatsapp(
                131_056,
                "Too many messages sent from this business number to the same user in a short time.",
            ));
        }
    }
    let business = state
        .usage
        .business_accounts
        .entry(number.business_account_id.clone())
        .or_default();
    if !business.day.has_room(now, DAY, limits.messages_per_day) {
        return Err(GraphError::whatsapp(
            80_007,
            "The WhatsApp Business Account has reached its rate limit for messages",
        ));
    }
    if let Some(key) = begins
        && !state
            .usage
            .begun
            .has_room(&key.customer, now, DAY, limits.contacts_per_day)
    {
        return Err(GraphError::whatsapp(
            rules.tier_code,
            "The business has reached its limit of people that it writes to first",
        ));
    }
    // Nothing refuses it: now it counts.
    if number.pace() > 0 {
        state
            .usage
            .numbers
            .entry(number.id.clone())
            .or_default()
            .second
            .add(now);
    }
    if let Some(key) = pair {
        state.thread_mut(key).pair.add(now, limits.pair_seconds);
    }
    if limits.messages_per_day > 0 {
        state
            .usage
            .business_accounts
            .entry(number.business_account_id.clone())
            .or_default()
            .day
            .add(now);
    }
    if let Some(key) = begins.filter(|_| limits.contacts_per_day > 0) {
        state.usage.begun.add(&key.customer, now);
    }
    Ok(())
}

/// Counts a marketing template sent outside the window; otherwise the code that it will fail with (whatsapp.md 13.7, 14.2).
pub(super) fn take_marketing(core: &Core, state: &mut State, sending: &Sending<'_>) -> Option<i64> {
    let key = sending.key?;
    if state.threads.get(key).is_some_and(|thread| thread.refuses_marketing) {
        return Some(131_050);
    }
    if sending.window_is_open || sending.number.limits.marketing_per_day == 0 {
        return None;
    }
    if core.options.rules.marketing_by_country {
        let customer = state.customers.get(&key.customer);
        let phone = customer
            .and_then(|customer| customer.phone.as_deref())
            .unwrap_or_default();
        if phone.starts_with(UNITED_STATES) {
            return Some(131_049);
        }
        if WITHOUT_MARKETING_LIMIT.iter().any(|prefix| phone.starts_with(prefix)) {
            return None;
        }
    }
    let usage = state.usage.marketing.entry(key.customer.clone()).or_default();
    let fits = usage.take(sending.now, sending.number.limits.marketing_per_day);
    (!fits).then_some(131_049)
}

/// What kind of Instagram message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// With audio or video.
    Media,
    PrivateReply,
}

/// Counts an Instagram message, unless a limit refuses it.
pub(super) fn take_instagram(
    state: &mut State,
    account: &InstagramAccount,
    key: &ThreadKey,
    kind: Kind,
    now: i64,
) -> Result<(), GraphError> {
    let limits = account.limits;
    let usage = state.usage.accounts.entry(account.id.clone()).or_default();
    let is_private = kind == Kind::PrivateReply;
    let is_media = kind == Kind::Media;
    let fits_spans = usage.second.has_room(now, SECOND, limits.messages_per_second)
        && (!is_media || usage.media.has_room(now, SECOND, limits.media_per_second))
        && (!is_private
            || usage
                .private_replies
                .has_room(now, HOUR, limits.private_replies_per_hour));
    let fits_hour = usage.hour.has_room(now, HOUR, limits.messages_per_hour);
    let contact = &mut state.threads.entry(key.clone()).or_default().hour;
    if !fits_spans || !contact.has_room(now, HOUR, limits.messages_per_contact_per_hour) {
        let message = "(#613) Calls to this api have exceeded the rate limit.";
        return Err(GraphError::new(400, 613, message)
            .subcode(2_534_040)
            .kind("IGApiException"));
    }
    if !fits_hour {
        return Err(too_many_calls(Object::Instagram));
    }
    for (counts, window) in [
        (limits.messages_per_second > 0, &mut usage.second),
        (limits.media_per_second > 0 && is_media, &mut usage.media),
        (
            limits.private_replies_per_hour > 0 && is_private,
            &mut usage.private_replies,
        ),
        (limits.messages_per_hour > 0, &mut usage.hour),
        (limits.messages_per_contact_per_hour > 0, contact),
    ] {
        if counts {
            window.add(now);
        }
    }
    Ok(())
}

/// Counts a call that is not a message, unless a limit refuses it. Of WhatsApp's, only those count whose object is the business account
/// (whatsapp.md 13.5).
pub(super) fn take_call(
    core: &Core,
    state: &mut State,
    caller: &Caller,
    path: &[&str],
    now: i64,
) -> Result<(), GraphError> {
    let app_limit = core.options.rules.app_calls_per_hour;
    if !state
        .usage
        .apps
        .entry(caller.app_id().to_owned())
        .or_default()
        .call(now, HOUR, app_limit)
    {
        return Err(GraphError::new(400, 4, "(#4) Application request limit reached"));
    }
    let within = match path.first().and_then(|id| concerned(state, caller, id)) {
        Some((Object::WhatsApp, id)) if path[0] == id => {
            let limit = calls_per_hour(state, &id);
            let usage = state.usage.business_accounts.entry(id).or_default();
            usage.calls.call(now, HOUR, limit).then_some(()).ok_or(Object::WhatsApp)
        }
        Some((Object::Instagram, id)) => {
            let limit = state.account(&id).map_or(0, |account| account.limits.calls_per_day);
            let usage = state.usage.accounts.entry(id).or_default();
            usage.calls.call(now, DAY, limit).then_some(()).ok_or(Object::Instagram)
        }
        _ => Ok(()),
    };
    within.map_err(too_many_calls)
}

pub(super) fn too_many_calls(object: Object) -> GraphError {
    match object {
        Object::WhatsApp => GraphError::whatsapp(
            80_007,
            "The WhatsApp Business Account has reached its rate limit for calls",
        ),
        Object::Instagram => GraphError::new(
            400,
            80_002,
            "(#80002) There have been too many calls to this Instagram account. Wait a bit and try again.",
        ),
    }
}

fn calls_per_hour(state: &State, business_account_id: &str) -> u32 {
    let number = state
        .numbers
        .iter()
        .find(|number| number.business_account_id == business_account_id);
    number.map_or(0, |number| number.limits.calls_per_hour)
}

/// The business account or Instagram account that a call is about.
pub(super) fn concerned(state: &State, caller: &Caller, id: &str) -> Option<(Object, String)> {
    if let Some(number) = state.number(id) {
        return Some((Object::WhatsApp, number.business_account_id.clone()));
    }
    let own = nodes::own_account(state, caller);
    nodes::asset(state, id).or_else(|| own.map(|account| (Object::Instagram, account.id.clone())))
}

/// The headers that tell what is used.
pub(super) fn headers(
    core: &Core,
    state: &mut State,
    caller: &Caller,
    path: &[&str],
    now: i64,
) -> Vec<(HeaderName, HeaderValue)> {
    let rules = core.options.rules;
    let from = u64::from(rules.usage_told_from);
    let mut headers = Vec::new();
    if let Some(app) = state.usage.apps.get_mut(caller.app_id()) {
        let (percent, _) = app.share(now, HOUR, rules.app_calls_per_hour);
        if percent > 0 && percent >= from {
            headers.push(app_usage(percent));
        }
    }
    let Some((object, id)) = path.first().and_then(|id| concerned(state, caller, id)) else {
        return headers;
    };
    let used = match object {
        Object::WhatsApp => {
            let calls = calls_per_hour(state, &id);
            let numbers = state.numbers.iter().filter(|number| number.business_account_id == id);
            let messages = numbers
                .map(|number| number.limits.messages_per_day)
                .max()
                .unwrap_or_default();
            let usage = state.usage.business_accounts.get_mut(&id);
            usage.map(|usage| {
                usage
                    .calls
                    .share(now, HOUR, calls)
                    .max(usage.day.share(now, DAY, messages))
            })
        }
        Object::Instagram => {
            let limits = state.account(&id).map(|account| account.limits).unwrap_or_default();
            let usage = state.usage.accounts.get_mut(&id);
            usage.map(|usage| {
                let calls = usage.calls.share(now, DAY, limits.calls_per_day);
                calls.max(usage.hour.share(now, HOUR, limits.messages_per_hour))
            })
        }
    };
    if let Some((percent, minutes)) = used
        && percent > 0
        && percent >= from
    {
        headers.push(business_usage(object, &id, percent, minutes));
    }
    headers
}

pub(super) fn app_usage(percent: u64) -> (HeaderName, HeaderValue) {
    let usage = json!({"call_count": percent, "total_time": percent / 4, "total_cputime": percent / 4});
    (HeaderName::from_static("x-app-usage"), value(&usage.to_string()))
}

/// `estimated_time_to_regain_access` is in minutes.
pub(super) fn business_usage(object: Object, id: &str, percent: u64, minutes: u64) -> (HeaderName, HeaderValue) {
    // The reference names the type of Instagram; that of WhatsApp is one that "exists too".
    let kind = match object {
        Object::WhatsApp => "whatsapp",
        Object::Instagram => "instagram",
    };
    let usage = json!({id: [{
        "type": kind, "call_count": percent, "total_cputime": percent / 4, "total_time": percent / 4,
        "estimated_time_to_regain_access": if percent >= 100 { minutes } else { 0 },
    }]});
    (
        HeaderName::from_static("x-business-use-case-usage"),
        value(&usage.to_string()),
    )
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("{}"))
}
