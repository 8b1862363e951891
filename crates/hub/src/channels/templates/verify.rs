//! Holds a send against the definition of its template, before it is queued; and answers what others want to know of a template that they are
//! going to send.

use serde_json::Value;

use super::check::{self, Filled};
use super::model::{DELETED, Definition, Fault, Standing};
use super::shape::Shape;
use crate::channels::Channel;
use crate::conversations::content::Template;
use crate::conversations::model::Millis;
use crate::http::timestamp::Time;
use crate::store::{StoreError, Tx};

/// After a send that does not fit, the account's templates are read anew, but no sooner than this after the last time.
const READ_ANEW_AFTER: Millis = 30 * 1000;

/// What is known of a template that fits.
#[derive(Debug, Clone, PartialEq)]
pub enum Verified {
    /// Nothing: Meta decides.
    Unknown,
    /// It can be sent as it is.
    Fits(Box<Definition>),
    /// It cannot.
    Refused(Refusal),
}

/// Why a template cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In a sentence.
    pub detail: String,
    /// What is wrong, below the template: `name`, `components[1].parameters`.
    pub faults: Vec<Fault>,
    /// The account whose templates ought to be read anew: what is known may be out of date.
    pub stale: Option<String>,
}

/// What the body of a template takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyParameters {
    /// Whether they go by name, or by their order.
    pub is_named: bool,
    /// Their names, or `1`, `2` and so on, in the order of the body.
    pub names: Vec<String>,
}

/// Whether a template can be sent by a channel, with these values, at a time. With `may_wait` it may be one that is paused.
pub fn verify(
    tx: &mut Tx<'_>,
    channel: &Channel,
    template: &Template,
    may_wait: bool,
    now: Millis,
) -> Result<Verified, StoreError> {
    let Some(account) = &channel.business_account else {
        return Ok(Verified::Unknown);
    };
    let (name, language) = (&template.name, &template.language);
    // In this order: what was read from Meta by that time is found, whoever reads beside this unit.
    let synced_at = tx.template_sync(account)?.and_then(|state| state.synced_at);
    let found = tx.template(account, name, language)?;
    let stale = synced_at
        .is_some_and(|at| at < now - READ_ANEW_AFTER)
        .then(|| account.clone());
    let refuse = |field: &str, detail: String, sentence: String| {
        Verified::Refused(Refusal {
            detail: sentence,
            faults: vec![Fault {
                field: field.to_owned(),
                detail,
            }],
            stale: stale.clone(),
        })
    };
    let Some(definition) = found.filter(|definition| definition.status != DELETED) else {
        if synced_at.is_none() {
            return Ok(Verified::Unknown);
        }
        let languages = tx.template_languages(account, name)?;
        let sentence = "Meta has no such template in this account. If it was made a moment ago, it is known here within seconds; \
                        `GET /api/v1/templates` lists those that there are.";
        let refusal = if languages.is_empty() {
            refuse(
                "name",
                format!("is not there: the account has no template `{name}`"),
                sentence.to_owned(),
            )
        } else {
            let has: Vec<String> = languages.iter().map(|language| format!("`{language}`")).collect();
            let detail = format!("`{language}` is not there: `{name}` has {}", has.join(", "));
            refuse("language", detail, sentence.to_owned())
        };
        return Ok(refusal);
    };
    match definition.standing(now) {
        Standing::Sendable => {}
        Standing::Paused(_) if may_wait => {}
        Standing::Paused(until) => {
            let until = until.map_or_else(String::new, |until| format!(" until {}", Time(until)));
            let sentence = "People reacted badly to the template, and Meta has paused it. Send another one, wait, or send with `?queue=true` \
                            to have the message wait; where the pause has no end, unpause it (`DELETE /api/v1/templates/{id}/pause`).";
            return Ok(refuse(
                "name",
                format!("is paused by Meta{until}: `{name}`"),
                sentence.to_owned(),
            ));
        }
        Standing::Disabled => {
            let sentence = "Meta has disabled the template for good: make another one.";
            return Ok(refuse(
                "name",
                format!("is disabled by Meta: `{name}`"),
                sentence.to_owned(),
            ));
        }
        Standing::NotApproved => {
            let reason = definition
                .reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(" ({reason})"));
            let sentence = "Only a template that Meta has approved can be sent.";
            let detail = format!("is not approved: `{name}` is `{}`{reason}", definition.status);
            return Ok(refuse("name", detail, sentence.to_owned()));
        }
    }
    let shape = Shape::of(&definition);
    let faults = check::check(&shape, definition.is_named, &template.components);
    if faults.is_empty() {
        return Ok(Verified::Fits(Box::new(definition)));
    }
    let detail = format!(
        "The template `{name}` (`{language}`) does not take these values: {}.",
        check::wanted(&shape)
    );
    Ok(Verified::Refused(Refusal { detail, faults, stale }))
}

/// What the body of a template takes; `None` where that is not known.
pub fn body_parameters(
    tx: &mut Tx<'_>,
    channel: &Channel,
    name: &str,
    language: &str,
) -> Result<Option<BodyParameters>, StoreError> {
    let Some(account) = &channel.business_account else {
        return Ok(None);
    };
    let found = tx.template(account, name, language)?;
    Ok(found
        .filter(|definition| definition.status != DELETED)
        .map(|definition| BodyParameters {
            is_named: definition.is_named,
            names: Shape::of(&definition).body.variables,
        }))
}

/// Fills a template in with the components of a send, for whoever cannot send it as a template.
pub fn fill(definition: &Definition, components: &[Value]) -> Filled {
    check::fill(&Shape::of(definition), definition.is_named, components)
}
