//! What is remembered of signed requests, in the table of idempotency keys, for as long as that remembers
//! (`retention.idempotency_hours`; the schedule prunes it).
//!
//! A request is known again by any of:
//!
//! - its signature: one that was seen before is a replay, whatever header came with it this time;
//! - its `Idempotency-Key`, of whichever system: with the same meaning it is the same request, with another one it is refused;
//! - without such a key, its body.
//!
//! What was taken is written in the unit that keeps the message. What was refused is remembered under its signature alone: who wants to try again
//! signs again.

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::Signed;
use crate::app::App;
use crate::http::problem::{Code, Problem};
use crate::sending::accept::Idempotency;
use crate::store::StoreError;

/// Whose keys these are: those of all systems that sign.
const CALLER: &str = "integration";
/// Under whose name refusals are kept.
const REFUSED: &str = "integration refused";

/// What makes this request one with others.
pub(super) fn idempotency(signed: &Signed, endpoint: &str, meaning: &str) -> Vec<Idempotency> {
    let body = [endpoint.as_bytes(), b"\n", &signed.body].concat();
    let mut keys: Vec<Idempotency> = signatures(signed)
        .map(|signature| Idempotency::new(CALLER, &signature, &body))
        .collect();
    let by_body = Idempotency::new(CALLER, &format!("body {}", fingerprint(&body)), &body);
    match &signed.key {
        Some(key) => {
            let asked = Idempotency::new(CALLER, &format!("key {key}"), meaning.as_bytes());
            keys.push(asked);
            // Whoever repeats it without the key is known by its body all the same.
            keys.push(Idempotency {
                decides: false,
                ..by_body
            });
        }
        None => keys.push(by_body),
    }
    keys
}

/// What a request with one of these signatures was refused with.
pub(super) async fn refused_before(app: &App, signed: &Signed) -> Result<Option<Problem>, StoreError> {
    let keys: Vec<String> = signatures(signed).collect();
    let answer = app
        .store
        .read(move |tx| {
            for key in &keys {
                if let Some((_, answer)) = tx.idempotent_answer(REFUSED, key)? {
                    return Ok::<_, StoreError>(Some(answer));
                }
            }
            Ok(None)
        })
        .await?;
    Ok(answer.and_then(|answer| from_text(&answer)))
}

/// Keeps why a request was refused, unless it was for what is wrong with the hub.
pub(super) async fn remember_refusal(app: &App, signed: &Signed, problem: &Problem) -> Result<(), StoreError> {
    if matches!(problem.code, Code::StoreUnavailable | Code::Internal) {
        return Ok(());
    }
    let keys: Vec<String> = signatures(signed).collect();
    let (text, now) = (to_text(problem), app.clock.now_millis());
    app.store
        .write(move |tx| {
            for key in &keys {
                tx.insert_idempotent_answer(REFUSED, key, b"", &text, now)?;
            }
            Ok::<_, StoreError>(())
        })
        .await
}

fn signatures(signed: &Signed) -> impl Iterator<Item = String> {
    let at = signed.signature.at;
    signed
        .signature
        .right
        .iter()
        .map(move |v1| format!("signature {at} {v1}"))
}

fn fingerprint(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn to_text(problem: &Problem) -> String {
    let errors: Vec<Value> = problem
        .errors
        .iter()
        .map(|error| json!([error.field, error.detail]))
        .collect();
    json!({"error": problem.code.as_str(), "detail": problem.detail, "errors": errors}).to_string()
}

fn from_text(text: &str) -> Option<Problem> {
    let kept: Value = serde_json::from_str(text).ok()?;
    let word = kept["error"].as_str()?;
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == word)?;
    let errors = kept["errors"].as_array()?.iter();
    Some(
        errors.fold(Problem::new(code, kept["detail"].as_str()?), |problem, error| {
            let text = |index: usize| error[index].as_str().unwrap_or_default();
            problem.field(text(0), text(1))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::{from_text, to_text};
    use crate::http::problem::{Code, Problem};

    #[test]
    fn a_refusal_is_remembered_whole() {
        let problem = Problem::new(Code::WindowClosed, "Closed.")
            .field("message", "is wrong")
            .field("x", "too");
        assert_eq!(from_text(&to_text(&problem)), Some(problem));
        assert_eq!(from_text("msg_1"), None);
        assert_eq!(
            from_text(r#"{"error":"of_another_version","detail":"","errors":[]}"#),
            None
        );
    }
}
