//! Every error of Meta's tables, one after the other: what becomes of a message that Meta refuses with it, and how it is explained.
//!
//! The rows are those of the simulated Meta, which answers with each as Meta would; the meaning and the remedy are the catalogue's. What a sender
//! does about a class of errors is written down here once more ([`Fate::of`]), so that neither the catalogue nor the sender can change it alone.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_meta::error::{Class, Codes, Explanation, explain_code, rows};
use tidings_meta::notification::Platform;
use tidings_sandbox::{CataloguedError, Channel, ERRORS, FaultKind, FaultRequest};

use crate::harness::{ACCOUNT, Harness, NUMBER, Setup, fault, on_both_with, text};

/// An error that Meta can answer with.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    platform: Platform,
    code: i64,
    subcode: Option<i64>,
}

impl Refusal {
    fn explanation(self) -> Explanation {
        explain_code(self.platform, self.code, self.subcode)
    }
}

fn platform_of(row: &CataloguedError) -> Platform {
    match row.channel {
        Channel::WhatsApp => Platform::WhatsApp,
        Channel::Instagram => Platform::Instagram,
    }
}

/// Everything that a platform can answer; of a block of codes the first and the last.
fn refusals(platform: Platform) -> Vec<Refusal> {
    let of_row = |row: &CataloguedError| {
        let mut codes = vec![row.code, row.code_last];
        codes.dedup();
        let subcode = row.subcode;
        codes.into_iter().map(move |code| Refusal {
            platform,
            code,
            subcode,
        })
    };
    let own = ERRORS.iter().filter(|row| platform_of(row) == platform);
    own.flat_map(of_row).collect()
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It has failed, and says why.
    Fails,
    /// It waits for this, and is sent once that is over.
    Waits(&'static str),
}

impl Fate {
    fn of(refusal: Refusal) -> Self {
        match (refusal.platform, refusal.code) {
            // It is the account's, and says nothing about people in other countries.
            (Platform::WhatsApp, 130_497) => return Self::Fails,
            // A day's rest can mend it.
            (Platform::WhatsApp, 131_049) => return Self::Waits("marketing_cap"),
            // It goes on by itself, or by somebody.
            (Platform::WhatsApp, 132_015) => return Self::Waits("template_paused"),
            _ => {}
        }
        let explanation = refusal.explanation();
        match explanation.class {
            Class::Temporary if explanation.may_have_arrived => Self::Waits("unknown_after_error"),
            Class::Temporary => Self::Waits("retry"),
            Class::Throttled => Self::Waits("throttled"),
            Class::PairLimit => Self::Waits("pair_limit"),
            Class::Credentials | Class::Account => Self::Waits("credentials"),
            Class::WindowClosed
            | Class::Recipient
            | Class::Request
            | Class::Template
            | Class::Later
            | Class::ThreadOwned
            | Class::Inbound => Self::Fails,
        }
    }
}

/// A newly listed error is one that the simulated Meta answers with, and the other way round: so the tests below come by it.
#[test]
fn the_catalogue_and_the_simulated_meta_have_the_same_errors() {
    for platform in [Platform::WhatsApp, Platform::Instagram] {
        for refusal in refusals(platform) {
            assert!(refusal.explanation().listed, "{refusal:?} is not explained");
        }
        for row in rows(platform) {
            let blocks: Vec<(i64, i64)> = match row.codes {
                Codes::Each(codes) => codes.iter().map(|code| (*code, *code)).collect(),
                Codes::Range(first, last) => vec![(first, last)],
            };
            let subcodes: Vec<Option<i64>> = match row.subcodes {
                [] => vec![None],
                subcodes => subcodes.iter().copied().map(Some).collect(),
            };
            for (first, last) in blocks {
                for subcode in &subcodes {
                    let answered = ERRORS.iter().any(|known| {
                        // What has no row without a subcode is answered with one of its subcodes.
                        let is_it = known.subcode == *subcode || subcode.is_none() && first == last;
                        platform_of(known) == platform && known.code <= last && known.code_last >= first && is_it
                    });
                    assert!(answered, "{platform} {first}-{last}/{subcode:?} cannot be provoked");
                }
            }
        }
    }
}

/// The customer who writes, and the channel.
fn parties(platform: Platform) -> (&'static str, &'static str) {
    match platform {
        Platform::WhatsApp => ("amara", NUMBER),
        Platform::Instagram => ("lucia", ACCOUNT),
    }
}

/// What the message says that is refused.
fn words(refusal: Refusal) -> String {
    format!("refused with {}/{:?}", refusal.code, refusal.subcode)
}

async fn opens_the_window(harness: &Harness, platform: Platform) {
    let (customer, account) = parties(platform);
    harness.sandbox.write(customer, account, text("hello")).unwrap();
    harness.projected().await;
}

/// Sends a message that Meta refuses; answers with the message's id and the error that is told of it.
async fn refused(harness: &Harness, refusal: Refusal) -> (String, Value) {
    opens_the_window(harness, refusal.platform).await;
    let Refusal { code, subcode, .. } = refusal;
    let request = FaultRequest {
        code: Some(code),
        subcode,
        ..fault(FaultKind::Error)
    };
    harness.sandbox.fault(request).unwrap();
    let sent = harness.reply(&harness.conversation().await, &words(refusal)).await;
    let error = match Fate::of(refusal) {
        Fate::Fails => {
            let failed = harness.message_until(&sent, "failed").await;
            failed["error"].clone()
        }
        Fate::Waits(what) => {
            let told = format!("{refusal:?} makes it wait for {what}");
            harness
                .until(&told, async |harness| {
                    let (_, document) = harness.timeline(&sent).await;
                    let waiting = &document["waiting"];
                    let error = document["timeline"][1]["attempt"]["error"].clone();
                    let settled = waiting["waitsFor"] == what && waiting["state"] != "sending";
                    (settled && error.is_object()).then_some(error)
                })
                .await
        }
    };
    (sent, error)
}

fn assert_explained(refusal: Refusal, error: &Value) {
    let explanation = refusal.explanation();
    // Tidings' own failures have the code 0 too, and no subcode.
    let subcode = refusal.subcode.or((refusal.code == 0).then_some(0));
    let expected = json!({
        "code": refusal.code, "subcode": subcode, "meaning": explanation.meaning, "remedy": explanation.remedy,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&error[name], value, "{name} of {refusal:?}: {error}");
    }
    assert!(error["text"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
}

/// Lets the time pass that the message waits for, and holds it to arriving.
async fn arrives_after_all(harness: &Harness, refusal: Refusal, id: &str) {
    const MINUTE: Duration = Duration::from_mins(1);
    let (customer, _) = parties(refusal.platform);
    let (_, document) = harness.timeline(id).await;
    let until = ["dueAt", "waitsUntil"].map(|name| document["waiting"][name].as_str());
    let until: Option<jiff::Timestamp> = until.into_iter().flatten().max().map(|until| until.parse().unwrap());
    let wait = until.map_or(0, |until| until.as_millisecond() - harness.clock.now_millis());
    let wait = Duration::from_millis(wait.max(0).unsigned_abs());
    if wait > MINUTE * 10 {
        // It is not to find its window closed.
        harness.pass(wait - MINUTE).await;
        opens_the_window(harness, refusal.platform).await;
        harness.pass(MINUTE * 2).await;
    }
    // As long as a channel is left alone at most whose credentials were refused.
    harness.pass(MINUTE * 6).await;
    harness
        .until(
            &format!("{refusal:?} is over and the message has arrived"),
            async |harness| {
                let arrived = harness.accepted(customer).contains(&words(refusal));
                (arrived && harness.message(id).await["status"] != "sending").then_some(())
            },
        )
        .await;
}

async fn each(platform: Platform, wanted: fn(Fate) -> bool) {
    let refusals: Vec<Refusal> = refusals(platform)
        .into_iter()
        .filter(|refusal| wanted(Fate::of(*refusal)))
        .collect();
    assert!(refusals.len() > 40, "{}", refusals.len());
    // What waits for a day is not to expire, and that calls fail one after the other is not to open the circuit.
    let setup = Setup::default()
        .with("TIDINGS_SENDING_EXPIRES_AFTER_SECS", "259200")
        .with("TIDINGS_SENDING_CIRCUIT_CALLS_MIN", "1000");
    on_both_with(setup, async |harness| {
        let codes: Vec<i64> = refusals.iter().map(|refusal| refusal.code).collect();
        harness.foresee_refusals(&codes);
        for refusal in &refusals {
            let (id, error) = refused(harness, *refusal).await;
            assert_explained(*refusal, &error);
            if Fate::of(*refusal) != Fate::Fails {
                arrives_after_all(harness, *refusal, &id).await;
            }
        }
        let (customer, _) = parties(platform);
        let waited = refusals.iter().filter(|refusal| Fate::of(**refusal) != Fate::Fails);
        assert_eq!(
            harness.accepted(customer).len(),
            waited.count(),
            "nothing that failed was sent"
        );
    })
    .await;
}

#[tokio::test]
async fn what_whatsapp_refuses_for_good_fails_and_is_explained() {
    each(Platform::WhatsApp, |fate| fate == Fate::Fails).await;
}

#[tokio::test]
async fn what_whatsapp_refuses_for_now_waits_is_explained_and_arrives() {
    each(Platform::WhatsApp, |fate| fate != Fate::Fails).await;
}

#[tokio::test]
async fn what_instagram_refuses_for_good_fails_and_is_explained() {
    each(Platform::Instagram, |fate| fate == Fate::Fails).await;
}

#[tokio::test]
async fn what_instagram_refuses_for_now_waits_is_explained_and_arrives() {
    each(Platform::Instagram, |fate| fate != Fate::Fails).await;
}
