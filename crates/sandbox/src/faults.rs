//! Faults: what goes wrong because somebody asked for it.
//!
//! A fault names an endpoint and a kind. It strikes a share of what happens there, drawn from a seed, until it has struck so often or
//! its time is over. Several may strike one request; of each kind at most one does, the one that was asked for first.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::ids::Ids;

/// A fault that is asked for. As JSON and YAML in camelCase.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRequest {
    /// Where: `messages`, `message_templates`, `media` (or of it alone `media.upload`, `media.download`, `media.posts`), `insights`, `subscriptions`, `subscribed_apps`, `debug_token`, `tokens` (their exchange and end), `read` (any other one), or `any` of these;
    /// `webhooks`: the posts to subscribers; `smtp.connect`, `smtp.auth`, `smtp.mail`, `smtp.rcpt`, `smtp.data`, or `smtp` for
    /// each of these. [`FaultKind`] says which kind happens where.
    pub endpoint: String,
    /// What happens.
    pub kind: FaultKind,
    /// The error's code, for `error` (131000 if left out; on `smtp` the reply, 451), `status` (131026) and `throttle` (130429 for
    /// WhatsApp's messages, 613 for Instagram's, 4 elsewhere).
    #[serde(default)]
    pub code: Option<i64>,
    /// The error's subcode, for `error`.
    #[serde(default)]
    pub subcode: Option<i64>,
    /// The answer's status, for `error`, `plain_error`, `throttle` and `outage`; if left out that of the code, 503, 400, and none.
    #[serde(default)]
    pub http_status: Option<u16>,
    /// The error's text, for `error`.
    #[serde(default)]
    pub message: Option<String>,
    /// How long, for `delay` and `reorder` (1 s if left out) and `timeout_after_accept` (10 min).
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// How often; until it is removed or its time is over if left out.
    #[serde(default)]
    pub count: Option<u64>,
    /// How large a share of the requests, 0 to 1; all of them if left out.
    #[serde(default)]
    pub share: Option<f64>,
    /// What the share is drawn from; from the sandbox's own seed if left out.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Only for this phone number id, business account or Instagram account.
    #[serde(default)]
    pub account: Option<String>,
    /// Not before that long from now.
    #[serde(default)]
    pub after_ms: Option<u64>,
    /// Not any more so long after its beginning.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// Whether `throttle` tells in headers how much is used; it does if left out.
    #[serde(default)]
    pub headers: Option<bool>,
    /// In how many minutes `throttle` says that it is over; 1 if left out.
    #[serde(default)]
    pub regain_minutes: Option<u64>,
}

impl Default for FaultRequest {
    /// An error for each message.
    fn default() -> Self {
        Self {
            endpoint: "messages".to_owned(),
            kind: FaultKind::Error,
            code: None,
            subcode: None,
            http_status: None,
            message: None,
            delay_ms: None,
            count: None,
            share: None,
            seed: None,
            account: None,
            after_ms: None,
            for_ms: None,
            headers: None,
            regain_minutes: None,
        }
    }
}

/// The endpoint name of the exchange of tokens.
pub(crate) const TOKENS: &str = "tokens";
/// The endpoint name that stands for the posts to subscribers.
pub(crate) const WEBHOOKS: &str = "webhooks";
const GRAPH: &[&str] = &[
    "any",
    "messages",
    "message_templates",
    "media",
    "media.upload",
    "media.download",
    "media.posts",
    "comments",
    "insights",
    "subscriptions",
    "subscribed_apps",
    "debug_token",
    TOKENS,
    "read",
];
const SMTP: &[&str] = &[
    "smtp",
    "smtp.connect",
    "smtp.auth",
    "smtp.mail",
    "smtp.rcpt",
    "smtp.data",
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The request is answered with an error and has no effect. On `smtp` too.
    Error,
    /// The request is answered with a page instead of an error object, and has no effect.
    PlainError,
    /// The message is accepted, and fails later.
    Status,
    /// The answer, or the webhook, comes late. On `smtp` too.
    Delay,
    /// The connection is cut, and the request has no effect. On `smtp` too.
    ResetBefore,
    /// The request takes effect, and the connection is cut before the answer. On `smtp.data` too.
    ResetAfterAccept,
    /// The request takes effect, and the answer doesn't come. On `smtp.data` too.
    TimeoutAfterAccept,
    /// The request is answered as if a limit were reached.
    Throttle,
    /// The token is answered as if its time were over (190/463).
    TokenExpired,
    /// The token is answered as if it were revoked (190/467).
    TokenRevoked,
    /// The number, or the account, is answered as if it were locked (131031, on Instagram 368).
    NumberBlocked,
    /// Endpoint `any` only, and for a time, not a count: every request is cut off (or answered with `httpStatus` and a page), and no
    /// webhook is posted until it is over.
    Outage,
    /// `media.download` only: the file ends before it should.
    Truncate,
    /// `media.download` only: what comes is as long as the file, and another one.
    Corrupt,
    /// `media.download` only: a page comes in place of the file, as if nothing were wrong.
    Page,
    /// Webhooks only: what was answered with 200 is posted once more, the same bytes.
    Double,
    /// Webhooks only: the events of the post stand in reverse, and the post comes after those of the next `delayMs`.
    Reorder,
    /// Webhooks only: never posted.
    Lose,
    /// Webhooks only: signed with a wrong secret; the repeat is signed rightly.
    WrongSignature,
    /// Webhooks only: the post is lost, and the app isn't subscribed to its accounts any more, until it subscribes anew.
    DropSubscription,
}

impl FaultKind {
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::Error,
        Self::PlainError,
        Self::Status,
        Self::Delay,
        Self::ResetBefore,
        Self::ResetAfterAccept,
        Self::TimeoutAfterAccept,
        Self::Throttle,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::NumberBlocked,
        Self::Outage,
        Self::Truncate,
        Self::Corrupt,
        Self::Page,
        Self::Double,
        Self::Reorder,
        Self::Lose,
        Self::WrongSignature,
        Self::DropSubscription,
    ];

    fn happens_at(self, endpoint: &str) -> bool {
        let (on_graph, on_webhooks) = (GRAPH.contains(&endpoint), endpoint == WEBHOOKS);
        let on_smtp = SMTP.contains(&endpoint);
        match self {
            Self::Error | Self::ResetBefore => on_graph || on_smtp,
            Self::Delay => on_graph || on_webhooks || on_smtp,
            Self::ResetAfterAccept | Self::TimeoutAfterAccept => on_graph || endpoint == "smtp.data",
            Self::PlainError => on_graph,
            // Nobody's token stands behind the exchange of one.
            Self::Status | Self::Throttle | Self::TokenExpired | Self::TokenRevoked | Self::NumberBlocked => {
                on_graph && endpoint != TOKENS
            }
            Self::Outage => endpoint == "any",
            Self::Truncate | Self::Corrupt | Self::Page => endpoint == "media.download",
            Self::Double | Self::Reorder | Self::Lose | Self::WrongSignature | Self::DropSubscription => on_webhooks,
        }
    }
}

impl FaultRequest {
    /// What is wrong with the request, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let known = [GRAPH, SMTP, &[WEBHOOKS]].concat();
        let is_reply = self.code.is_none_or(|code| (400..600).contains(&code));
        if !known.contains(&self.endpoint.as_str()) {
            Some("endpoint is none of those that faults know")
        } else if self.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            Some("share is between 0 and 1")
        } else if self.http_status.is_some_and(|status| !(400..600).contains(&status)) {
            Some("httpStatus is between 400 and 599")
        } else if !self.kind.happens_at(&self.endpoint) {
            Some("this kind of fault doesn't happen at this endpoint")
        } else if self.endpoint.starts_with("smtp") && !is_reply {
            Some("code is an SMTP reply between 400 and 599")
        } else if self.kind == FaultKind::Outage && (self.count.is_some() || self.share.is_some()) {
            Some("an outage has a time, not a count or a share")
        } else {
            None
        }
    }
}

/// What might be struck.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) endpoint: &'a str,
    /// Every id of the accounts concerned.
    pub(crate) accounts: &'a [String],
    pub(crate) now: i64,
}

/// A fault that is in force, or will be.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) request: FaultRequest,
    /// When it begins and ends.
    from: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    /// How many requests it looked at, and how many it hit.
    seen: u64,
    pub(crate) hits: u64,
}

impl Fault {
    pub(crate) fn new(id: u64, request: FaultRequest, now: i64) -> Self {
        let from = now.saturating_add_unsigned(request.after_ms.unwrap_or_default());
        Self {
            id,
            from,
            until: request.for_ms.map(|millis| from.saturating_add_unsigned(millis)),
            request,
            seen: 0,
            hits: 0,
        }
    }

    fn is_over(&self, now: i64) -> bool {
        let is_used_up = self.request.count.is_some_and(|count| self.hits >= count);
        is_used_up || self.until.is_some_and(|until| until <= now)
    }

    /// Whether it is in force for this target, the chance apart.
    fn means(&self, target: &Target<'_>) -> bool {
        let asked = self.request.endpoint.as_str();
        let endpoint = target.endpoint;
        let is_there = asked == endpoint
            || (asked == "any" && GRAPH.contains(&endpoint))
            || (asked == "media" && endpoint.starts_with("media."))
            || (asked == "smtp" && endpoint.starts_with("smtp."));
        let is_account = self
            .request
            .account
            .as_ref()
            .is_none_or(|account| target.accounts.contains(account));
        is_there && is_account && self.from <= target.now && !self.is_over(target.now)
    }

    fn hit(&mut self, target: &Target<'_>, ids: Ids) -> bool {
        if !self.means(target) {
            return false;
        }
        self.seen += 1;
        let share = self.request.share.unwrap_or(1.0);
        let number = self.seen & 0xffff_ffff;
        let mut chance = match self.request.seed {
            Some(seed) => Ids::new(seed).chance("fault", &[], number),
            None => ids.chance("fault", &[], self.id << 32 | number),
        };
        if chance.random::<f64>() >= share {
            return false;
        }
        self.hits += 1;
        true
    }
}

/// The faults that hit this target, in the order they were asked for; at most one of each kind, and none of `except`. Those that are
/// over are removed.
pub(crate) fn hits(faults: &mut Vec<Fault>, target: &Target<'_>, except: &[FaultKind], ids: Ids) -> Vec<FaultRequest> {
    let mut found: Vec<FaultRequest> = Vec::new();
    for fault in faults.iter_mut() {
        let kind = fault.request.kind;
        let passed_over = except.contains(&kind) || found.iter().any(|other| other.kind == kind);
        if !passed_over && fault.hit(target, ids) {
            found.push(fault.request.clone());
        }
    }
    faults.retain(|fault| !fault.is_over(target.now));
    found
}

/// Whether Meta is out for these accounts, and until when; an outage without an end is looked at again in a second.
pub(crate) fn outage(faults: &[Fault], accounts: &[String], now: i64) -> Option<i64> {
    let target = Target {
        endpoint: "any",
        accounts,
        now,
    };
    let outages = faults.iter().filter(|fault| fault.request.kind == FaultKind::Outage);
    let lasting = outages.filter(|fault| fault.means(&target));
    lasting.map(|fault| fault.until.unwrap_or(now + 1_000)).max()
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultKind, FaultRequest, Target, hits, outage};
    use crate::ids::Ids;

    const NOW: i64 = 1_795_000_000_000;

    fn at(endpoint: &str, now: i64) -> Target<'_> {
        Target {
            endpoint,
            accounts: &[],
            now,
        }
    }

    fn strikes(request: FaultRequest, sandbox_seed: u64) -> Vec<bool> {
        let mut faults = vec![Fault::new(1, request, NOW)];
        let ids = Ids::new(sandbox_seed);
        (0..64)
            .map(|_| !hits(&mut faults, &at("messages", NOW), &[], ids).is_empty())
            .collect()
    }

    #[test]
    fn a_share_is_drawn_from_the_seed() {
        let half = |seed| FaultRequest {
            share: Some(0.5),
            seed,
            ..FaultRequest::default()
        };
        assert_eq!(strikes(half(Some(7)), 1), strikes(half(Some(7)), 2));
        assert_ne!(strikes(half(Some(7)), 1), strikes(half(Some(8)), 1));
        assert_ne!(strikes(half(None), 1), strikes(half(None), 2));
        let struck = strikes(half(None), 1).iter().filter(|struck| **struck).count();
        assert!((16..48).contains(&struck), "{struck} of 64");
    }

    #[test]
    fn a_fault_begins_and_ends_at_its_time() {
        let request = FaultRequest {
            after_ms: Some(1_000),
            for_ms: Some(500),
            ..FaultRequest::default()
        };
        let mut faults = vec![Fault::new(1, request, NOW)];
        let mut struck = |now| hits(&mut faults, &at("messages", now), &[], Ids::new(1)).len();
        assert_eq!(
            [NOW, NOW + 999, NOW + 1_000, NOW + 1_499, NOW + 1_500].map(&mut struck),
            [0, 0, 1, 1, 0]
        );
        assert!(faults.is_empty(), "what is over is removed");
    }

    #[test]
    fn an_outage_names_its_end() {
        let request = FaultRequest {
            endpoint: "any".to_owned(),
            kind: FaultKind::Outage,
            for_ms: Some(500),
            account: Some("1".to_owned()),
            ..FaultRequest::default()
        };
        assert_eq!(request.problem(), None);
        let faults = [Fault::new(1, request, NOW)];
        assert_eq!(outage(&faults, &["1".to_owned()], NOW), Some(NOW + 500));
        assert_eq!(outage(&faults, &["2".to_owned()], NOW), None);
        assert_eq!(outage(&faults, &["1".to_owned()], NOW + 500), None);
    }
}
