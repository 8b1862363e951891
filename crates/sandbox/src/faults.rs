//! Faults: what goes wrong because somebody asked for it.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::ids::Ids;

/// A fault that is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRequest {
    /// Which requests: `messages`, `subscriptions`, `subscribed_apps`, `debug_token`, `read` (any other one), or `any` of
    /// these. Or `webhooks`: the posts to subscribers, with `delay`, `double`, `lose` and `wrong_signature`.
    pub endpoint: String,
    /// What happens.
    pub kind: FaultKind,
    /// The error's code, for `error` (131000 if left out) and `status` (131026).
    #[serde(default)]
    pub code: Option<i64>,
    /// The error's subcode, for `error`.
    #[serde(default)]
    pub subcode: Option<i64>,
    /// The answer's status, for `error`; that of the code if left out.
    #[serde(default)]
    pub http_status: Option<u16>,
    /// The error's text, for `error`.
    #[serde(default)]
    pub message: Option<String>,
    /// How long, for `delay` (1 s if left out) and `timeout_after_accept` (10 min).
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// How often; until it is removed if left out.
    #[serde(default)]
    pub count: Option<u64>,
    /// How large a share of the requests, 0 to 1; all of them if left out.
    #[serde(default)]
    pub share: Option<f64>,
}

impl FaultRequest {
    /// What is wrong with the request, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let on_webhooks = matches!(
            self.kind,
            FaultKind::Double | FaultKind::Lose | FaultKind::WrongSignature
        );
        if self.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            Some("share is between 0 and 1")
        } else if self.http_status.is_some_and(|status| !(400..600).contains(&status)) {
            Some("httpStatus is between 400 and 599")
        } else if self.kind != FaultKind::Delay && on_webhooks != (self.endpoint == WEBHOOKS) {
            Some("this kind of fault doesn't happen at this endpoint")
        } else {
            None
        }
    }
}

/// The endpoint name that stands for the posts to subscribers.
pub(crate) const WEBHOOKS: &str = "webhooks";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The request is answered with an error and has no effect.
    Error,
    /// The message is accepted, and fails later.
    Status,
    /// The answer comes late.
    Delay,
    /// The connection is cut, and the request has no effect.
    ResetBefore,
    /// The request takes effect, and the connection is cut before the answer.
    ResetAfterAccept,
    /// The request takes effect, and the answer doesn't come.
    TimeoutAfterAccept,
    /// Webhooks only: what was answered with 200 is posted once more, the same bytes.
    Double,
    /// Webhooks only: never posted.
    Lose,
    /// Webhooks only: signed with a wrong secret; the repeat is signed rightly.
    WrongSignature,
}

/// A fault that is in force.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) request: FaultRequest,
    /// How many requests it looked at, and how many it hit.
    seen: u64,
    pub(crate) hits: u64,
}

impl Fault {
    pub(crate) fn new(id: u64, request: FaultRequest) -> Self {
        Self {
            id,
            request,
            seen: 0,
            hits: 0,
        }
    }

    fn hit(&mut self, endpoint: &str, ids: Ids) -> bool {
        let request = &self.request;
        let meant = request.endpoint == endpoint || (request.endpoint == "any" && endpoint != WEBHOOKS);
        if !meant || request.count.is_some_and(|count| self.hits >= count) {
            return false;
        }
        self.seen += 1;
        let share = request.share.unwrap_or(1.0);
        let chance: f64 = ids
            .chance("fault", &[], self.id << 32 | (self.seen & 0xffff_ffff))
            .random();
        if chance >= share {
            return false;
        }
        self.hits += 1;
        true
    }
}

/// The faults that hit this request, in the order they were asked for; at most one of each kind, and none of `except`.
pub(crate) fn hits(faults: &mut Vec<Fault>, endpoint: &str, except: Option<FaultKind>, ids: Ids) -> Vec<FaultRequest> {
    let mut found: Vec<FaultRequest> = Vec::new();
    for fault in faults.iter_mut() {
        let kind = fault.request.kind;
        let passed_over = except == Some(kind) || found.iter().any(|other| other.kind == kind);
        if !passed_over && fault.hit(endpoint, ids) {
            found.push(fault.request.clone());
        }
    }
    faults.retain(|fault| fault.request.count.is_none_or(|count| fault.hits < count));
    found
}
