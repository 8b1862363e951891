//! Every error of Meta's tables, one after the other: what becomes of a message that Meta refuses with it, and how it is explained.
//!
//! The rows are those of the simulated Meta, which answers with each as Meta would; the meaning and the remedy are the catalogue's. What a sender
//! does about a class of errors is written down here once more ([`Fate::of`]), so that neither the catalogue nor the sender can change it alone.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_meta::error::{Class, Codes, Explanation, explain_code, rows};
use tidings_meta::notification::Platform;
use tidings_sandbox::{CataloguedError, Channel, ERRORS, FaultKind, FaultRequest, NewInstagramAccount, NewNumber};

use crate::harness::{ACCOUNT, Harness, NUMBER, Setup, fault, on_both, on_both_with, text};

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

/// Where a message goes from and to: each refusal that is waited for has a channel to itself, since it may hold all of one.
struct Place {
    channel: String,
    /// The number or Instagram account.
    account: String,
    customer: &'static str,
    to: String,
}

impl Place {
    fn new(harness: &Harness, platform: Platform, channel: String, account: String) -> Self {
        let (customer, address) = match platform {
            Platform::WhatsApp => ("amara", harness.sandbox.customer("amara").unwrap().phone),
            Platform::Instagram => ("lucia", harness.sandbox.customer("lucia").unwrap().igsid),
        };
        let to = match platform {
            Platform::WhatsApp => format!("+{}", address.unwrap()),
            Platform::Instagram => address.unwrap(),
        };
        Self {
            channel,
            account,
            customer,
            to,
        }
    }

    /// The one that every hub of these tests has.
    fn usual(harness: &Harness, platform: Platform) -> Self {
        let account = match platform {
            Platform::WhatsApp => NUMBER,
            Platform::Instagram => ACCOUNT,
        };
        Self::new(harness, platform, platform.to_string(), account.to_owned())
    }

    /// One of its own.
    async fn added(harness: &Harness, platform: Platform, number: usize) -> Self {
        let (account, business_account, token) = match platform {
            Platform::WhatsApp => {
                let added = harness.sandbox.add_number(NewNumber::default()).unwrap();
                (added.phone_number_id, Some(added.business_account_id), added.token)
            }
            Platform::Instagram => {
                let new = NewInstagramAccount::default();
                let added = harness.sandbox.add_instagram_account(new).unwrap();
                (added.id, None, added.token)
            }
        };
        let channel = format!("no-{number}");
        let new = json!({"id": channel, "kind": platform.as_str(), "account": account,
            "businessAccount": business_account, "accessToken": token});
        harness.post("/api/v1/channels", &new).await.expect(201);
        Self::new(harness, platform, channel, account)
    }

    /// Opens the window.
    fn is_written_to(&self, harness: &Harness) {
        harness
            .sandbox
            .write(self.customer, &self.account, text("hello"))
            .unwrap();
    }

    /// Sends a message that Meta refuses.
    async fn sends(&self, harness: &Harness, refusal: Refusal) -> String {
        let request = FaultRequest {
            code: Some(refusal.code),
            subcode: refusal.subcode,
            account: Some(self.account.clone()),
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(request).unwrap();
        harness
            .send(json!({"channel": self.channel, "to": self.to, "message": words(refusal)}))
            .await
    }
}

/// What the message says that is refused.
fn words(refusal: Refusal) -> String {
    format!("refused with {}/{:?}", refusal.code, refusal.subcode)
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

async fn fails_for_good(platform: Platform) {
    let refusals = refusals(platform);
    let refusals: Vec<Refusal> = refusals
        .into_iter()
        .filter(|refusal| Fate::of(*refusal) == Fate::Fails)
        .collect();
    assert!(refusals.len() > 40, "{}", refusals.len());
    on_both(async |harness| {
        let codes: Vec<i64> = refusals.iter().map(|refusal| refusal.code).collect();
        harness.foresee_refusals(&codes);
        let place = Place::usual(harness, platform);
        place.is_written_to(harness);
        harness.projected().await;
        for refusal in &refusals {
            let sent = place.sends(harness, *refusal).await;
            let failed = harness.message_until(&sent, "failed").await;
            assert_explained(*refusal, &failed["error"]);
            // So that the next one does not wait for its recipient.
            harness.pass(Duration::from_secs(7)).await;
        }
        harness.pass(Duration::from_hours(2)).await;
        assert!(harness.accepted(place.customer).is_empty(), "nothing is tried again");
    })
    .await;
}

async fn waits_and_arrives(platform: Platform) {
    let refusals = refusals(platform);
    let refusals: Vec<Refusal> = refusals
        .into_iter()
        .filter(|refusal| Fate::of(*refusal) != Fate::Fails)
        .collect();
    assert!(refusals.len() > 40, "{}", refusals.len());
    // What waits for a day is not to expire meanwhile. So many channels are not to fight for short leases: nobody dies here.
    let setup = Setup::default()
        .with("TIDINGS_SENDING_EXPIRES_AFTER_SECS", "259200")
        .with("TIDINGS_SENDING_LEASE_MS", "10000");
    on_both_with(setup, async |harness| {
        let codes: Vec<i64> = refusals.iter().map(|refusal| refusal.code).collect();
        harness.foresee_refusals(&codes);
        let mut places = Vec::new();
        for number in 0..refusals.len() {
            let place = Place::added(harness, platform, number).await;
            place.is_written_to(harness);
            places.push(place);
        }
        harness.projected().await;
        let mut sent = Vec::new();
        for (place, refusal) in places.iter().zip(&refusals) {
            sent.push(place.sends(harness, *refusal).await);
        }
        for (id, refusal) in sent.iter().zip(&refusals) {
            let fate = Fate::of(*refusal);
            let error = harness
                .until(&format!("{refusal:?}: {fate:?}"), async |harness| {
                    let (_, document) = harness.timeline(id).await;
                    let waiting = &document["waiting"];
                    let error = document["timeline"][1]["attempt"]["error"].clone();
                    let Fate::Waits(what) = fate else { return None };
                    let settled = waiting["waitsFor"] == what && waiting["state"] != "sending";
                    // Of a template that is said to be paused it is asked at once, and it goes on where it is not.
                    let went_on = what == "template_paused" && waiting.is_null();
                    ((settled || went_on) && error.is_object()).then_some(error)
                })
                .await;
            assert_explained(*refusal, &error);
        }
        // Ten minutes, and an hour, as some limits last; then a day with the hours over which what waits for one is spread.
        for (time, lasts_a_day) in [(10, false), (60, false), (22 * 60, true), (5 * 60, true), (60, true)] {
            harness.pass(Duration::from_mins(time)).await;
            if lasts_a_day {
                for place in &places {
                    place.is_written_to(harness);
                }
                harness.projected().await;
            }
        }
        for ((place, refusal), id) in places.iter().zip(&refusals).zip(&sent) {
            harness
                .until(
                    &format!("{refusal:?} is over and the message has arrived"),
                    async |harness| {
                        let arrived = harness.accepted(place.customer).contains(&words(*refusal));
                        (arrived && harness.message(id).await["status"] != "sending").then_some(())
                    },
                )
                .await;
        }
        assert_eq!(harness.accepted(places[0].customer).len(), refusals.len(), "each once");
    })
    .await;
}

#[tokio::test]
async fn what_whatsapp_refuses_for_good_fails_and_is_explained() {
    fails_for_good(Platform::WhatsApp).await;
}

#[tokio::test]
async fn what_whatsapp_refuses_for_now_waits_is_explained_and_arrives() {
    waits_and_arrives(Platform::WhatsApp).await;
}

#[tokio::test]
async fn what_instagram_refuses_for_good_fails_and_is_explained() {
    fails_for_good(Platform::Instagram).await;
}

#[tokio::test]
async fn what_instagram_refuses_for_now_waits_is_explained_and_arrives() {
    waits_and_arrives(Platform::Instagram).await;
}
