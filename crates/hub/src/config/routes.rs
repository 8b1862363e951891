//! The policies of routes that the file names: `[[routes]]`.

use toml::Value;

use super::layers::did_you_mean;
use super::mistakes::Mistake;
use super::reading::Reading;
use crate::channels::model::is_channel_id;
use crate::sending::route::model::{NONE, Policy, RouteOrder, Success, TOLD};
use std::time::Duration;

const FIELDS: [&str; 6] = [
    "name",
    "order",
    "success_status",
    "fallback_after_secs",
    "told",
    "subject",
];
/// Routes of one policy.
const ORDER_MAX: usize = 10;
/// Characters of what the contact is told.
const TOLD_CHARS_MAX: usize = 500;
/// Characters of a subject: with more a line of an e-mail's head would be too long.
const SUBJECT_CHARS_MAX: usize = 200;
/// A month.
const AFTER_SECS_MAX: i64 = 30 * 86_400;

/// Reads all policies, in the order of the file.
pub(super) fn read(reading: &mut Reading<'_>) -> Vec<Policy> {
    let Some((place, value)) = &reading.layers.routes else {
        return Vec::new();
    };
    let Value::Array(tables) = value else {
        reading.mistakes.push(Mistake {
            name: "routes".to_owned(),
            place: place.clone(),
            problem: "is a list: begin each policy with a line [[routes]]".to_owned(),
        });
        return Vec::new();
    };
    let mut policies: Vec<Policy> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        match policy(table) {
            Ok(policy) if policies.iter().all(|other| other.name != policy.name) => policies.push(policy),
            other => {
                let (field, problem) = other.map_or_else(
                    |mistake| mistake,
                    |policy| ("name", format!("another policy is called {:?} already", policy.name)),
                );
                reading.mistakes.push(Mistake {
                    name: format!("routes, no. {}: {field}", index + 1),
                    place: place.clone(),
                    problem,
                });
            }
        }
    }
    policies
}

fn policy(value: &Value) -> Result<Policy, (&'static str, String)> {
    let Value::Table(table) = value else {
        return Err(("routes", "begin each policy with a line [[routes]]".to_owned()));
    };
    if let Some(key) = table.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let problem = format!(
            "a policy has no setting {key:?}{}",
            did_you_mean(key, FIELDS.into_iter())
        );
        return Err(("routes", problem));
    }
    let name = table
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| is_channel_id(name));
    let name = name.ok_or_else(|| {
        (
            "name",
            "is small letters, digits and hyphens, such as \"default\"".to_owned(),
        )
    })?;
    if name == NONE {
        let problem = "stands in a request for no policy: call it something else".to_owned();
        return Err(("name", problem));
    }
    let order: Option<Vec<String>> = table.get("order").and_then(Value::as_array).and_then(|order| {
        order
            .iter()
            .map(|route| route.as_str().filter(|id| is_channel_id(id)).map(str::to_owned))
            .collect()
    });
    let order = order
        .filter(|order| (1..=ORDER_MAX).contains(&order.len()))
        .ok_or_else(|| {
            let problem =
                format!("is a list of 1 to {ORDER_MAX} ids or kinds of channels, such as [\"whatsapp\", \"email\"]");
            ("order", problem)
        })?;
    let success = match table.get("success_status") {
        None => Success::Delivered,
        Some(value) => value.as_str().and_then(Success::from_word).ok_or_else(|| {
            let problem = "is not \"accepted\", \"sent\", \"delivered\" or \"read\"".to_owned();
            ("success_status", problem)
        })?,
    };
    let fallback_after = match table.get("fallback_after_secs") {
        None => None,
        Some(value) => {
            let secs = value.as_integer().filter(|secs| (1..=AFTER_SECS_MAX).contains(secs));
            let secs =
                secs.ok_or_else(|| ("fallback_after_secs", format!("is a number from 1 to {AFTER_SECS_MAX}")))?;
            Some(Duration::from_secs(secs.unsigned_abs()))
        }
    };
    let told = match table.get("told") {
        None => Some(TOLD.to_owned()),
        Some(value) => {
            let told = value
                .as_str()
                .filter(|told| told.chars().count() <= TOLD_CHARS_MAX)
                .ok_or_else(|| ("told", format!("is a text of up to {TOLD_CHARS_MAX} characters")))?;
            (!told.is_empty()).then(|| told.to_owned())
        }
    };
    let subject = match table.get("subject") {
        None => None,
        Some(value) => {
            let is_fit = |text: &&str| {
                !text.trim().is_empty()
                    && text.chars().count() <= SUBJECT_CHARS_MAX
                    && !text.chars().any(char::is_control)
            };
            let subject = value.as_str().filter(is_fit).ok_or_else(|| {
                let problem = format!("is a line of 1 to {SUBJECT_CHARS_MAX} characters");
                ("subject", problem)
            })?;
            Some(subject.to_owned())
        }
    };
    Ok(Policy {
        name: name.to_owned(),
        order: RouteOrder::Named(order),
        success,
        fallback_after,
        told,
        subject,
    })
}
