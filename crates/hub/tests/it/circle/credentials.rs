//! A token that ends while messages go out, and what becomes of them; channels that come and go while the hub runs.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_sandbox::{FaultKind, FaultRequest, LedgerKind, NewCustomer, Number, Token};

use crate::harness::{ADMIN_KEY, Answer, Harness, NUMBER, START, Setup, fault, on_both, on_both_with, text};

const SECOND: Duration = Duration::from_secs(1);
/// A token of the sandbox's number that the hub is not told of.
const OTHER_TOKEN: &str = "EAAsandboxOtherTokenThatWorks";
/// A second number, of the same account.
const OTHER_NUMBER: &str = "200000000000009";
const CUSTOMERS: usize = 30;
const MESSAGES: usize = 300;

/// A Meta that gives the hub a token for a minute, and has another one that lasts.
fn with_a_token_that_ends() -> Setup {
    let mut setup = Setup::default();
    let world = &mut setup.sandbox.world;
    world.numbers[0].throughput = 1_000;
    let lasting = world.tokens[0].clone();
    world.tokens[0].expires_at = Some(START + 60_000);
    world.tokens.push(Token {
        value: OTHER_TOKEN.to_owned(),
        ..lasting
    });
    world.customers.extend((0..CUSTOMERS).map(|number| NewCustomer {
        id: Some(format!("customer-{number}")),
        name: format!("Customer {number}"),
        ..NewCustomer::default()
    }));
    setup
}

async fn call(harness: &Harness, method: Method, path: &str, body: &Value) -> Answer {
    harness
        .answer(harness.request(method, path).bearer_auth(ADMIN_KEY).json(body))
        .await
}

async fn channel(harness: &Harness, id: &str) -> Value {
    harness.get(&format!("/api/v1/channels/{id}")).await.expect(200)
}

async fn swap(harness: &Harness, id: &str, token: &str) -> Answer {
    let path = format!("/api/v1/channels/{id}/credentials");
    call(harness, Method::PUT, &path, &json!({ "accessToken": token })).await
}

async fn held(harness: &Harness, id: &str) -> Value {
    harness
        .until(&format!("{id} is held"), async |harness| {
            let channel = channel(harness, id).await;
            (channel["status"] == "held").then_some(channel)
        })
        .await
}

async fn actions(harness: &Harness, subject: &str) -> Vec<String> {
    let audit = harness
        .get(&format!("/api/v1/audit?subject={subject}"))
        .await
        .expect(200);
    let mut actions: Vec<String> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    actions.reverse();
    actions
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_many_messages_loses_none_and_doubles_none() {
    on_both_with(with_a_token_that_ends(), async |harness| {
        harness.foresee_refusals(&[190]);
        for number in 0..CUSTOMERS {
            harness
                .sandbox
                .write(&format!("customer-{number}"), NUMBER, text("hello"))
                .unwrap();
        }
        harness.projected().await;
        let mut conversations = harness.conversations().await;
        assert_eq!(conversations.len(), CUSTOMERS);
        // They all wrote in one moment, and are listed in no order that matters.
        let number_of = |conversation: &Value| {
            let name = conversation["contact"]["name"].as_str().unwrap().to_owned();
            name.trim_start_matches("Customer ").parse::<usize>().unwrap()
        };
        conversations.sort_by_key(number_of);
        let words = |number: usize| format!("number {number}");
        let mut sent = Vec::new();
        for number in 0..MESSAGES * 2 / 3 {
            sent.push(harness.reply(&conversations[number % CUSTOMERS], &words(number)).await);
        }
        harness
            .until("a third is out", async |harness| {
                (harness.ledger(LedgerKind::Accepted).len() >= MESSAGES / 3).then_some(())
            })
            .await;
        harness.sandbox.advance(SECOND * 120).await;
        for number in MESSAGES * 2 / 3..MESSAGES {
            sent.push(harness.reply(&conversations[number % CUSTOMERS], &words(number)).await);
        }

        let channel = held(harness, "whatsapp").await;
        assert_eq!(channel["held"]["code"], 190, "{channel}");
        assert!(harness.ledger(LedgerKind::Accepted).len() < MESSAGES);
        let metrics = harness.get("/metrics").await.body;
        assert!(
            metrics.contains("tidings_channel_up{channel=\"whatsapp\"} 0"),
            "{metrics}"
        );
        let ready = harness.get("/health/ready").await.expect(200);
        assert!(
            ready["warnings"][0].as_str().unwrap().contains("`whatsapp` is held"),
            "{ready}"
        );
        for id in &sent {
            let message = harness.message(id).await;
            assert_ne!(message["status"], "failed", "{message}");
        }

        let refused = swap(harness, "whatsapp", "EAAanotherTokenThatDoesNotWork").await;
        assert_eq!(refused.fields(422, "credentials_refused"), ["accessToken"]);
        held(harness, "whatsapp").await;
        let swapped = swap(harness, "whatsapp", OTHER_TOKEN).await.expect(200);
        assert_eq!(swapped["status"], "ready");
        assert_eq!(swapped["credentials"]["endsWith"], "orks");
        assert!(!swapped.to_string().contains(OTHER_TOKEN));

        harness
            .until("all are out", async |harness| {
                harness.pass(SECOND).await;
                (harness.ledger(LedgerKind::Accepted).len() >= MESSAGES).then_some(())
            })
            .await;
        harness.pass(SECOND * 10).await;
        let accepted = harness.ledger(LedgerKind::Accepted);
        let texts: HashSet<&str> = accepted
            .iter()
            .map(|entry| entry.detail["text"].as_str().unwrap())
            .collect();
        assert_eq!((accepted.len(), texts.len()), (MESSAGES, MESSAGES));
        for id in &sent {
            let message = harness.message(id).await;
            assert_eq!(message["status"], "delivered", "{message}");
            assert_eq!(message["maybeDuplicate"], false);
        }
        for customer in 0..CUSTOMERS {
            let expected: Vec<String> = (customer..MESSAGES).step_by(CUSTOMERS).map(words).collect();
            assert_eq!(harness.accepted(&format!("customer-{customer}")), expected);
        }
        assert_eq!(
            actions(harness, "channel:whatsapp").await,
            ["channel.credentials", "channel.hold", "channel.credentials"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_swapped_token_outlasts_a_restart_until_the_settings_say_another_one() {
    on_both_with(with_a_token_that_ends(), async |harness| {
        harness.foresee_refusals(&[190]);
        swap(harness, "whatsapp", OTHER_TOKEN).await.expect(200);
        harness.restart().await;
        assert_eq!(channel(harness, "whatsapp").await["credentials"]["endsWith"], "orks");
        harness
            .restart_with(|setup| setup.with("WHATSAPP_ACCESS_TOKEN", "EAAanotherTokenOfTheSettings"))
            .await;
        assert_eq!(channel(harness, "whatsapp").await["credentials"]["endsWith"], "ings");
    })
    .await;
}

#[tokio::test]
async fn a_held_channel_goes_on_by_itself_when_its_token_works_again() {
    on_both(async |harness| {
        harness.foresee_refusals(&[190]);
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let refuse = FaultRequest {
            endpoint: "any".to_owned(),
            code: Some(190),
            count: None,
            ..fault(FaultKind::Error)
        };
        harness.sandbox.fault(refuse).unwrap();
        let sent = harness.reply(&harness.conversation().await, "at last").await;
        held(harness, "whatsapp").await;
        let refusals = harness.ledger(LedgerKind::Refused).len();
        harness.pass(SECOND * 31).await;
        harness
            .until("it is asked whether the token works", async |harness| {
                (harness.ledger(LedgerKind::Refused).len() > refusals).then_some(())
            })
            .await;
        held(harness, "whatsapp").await;
        harness.sandbox.clear_faults();
        harness.pass(SECOND * 61).await;
        harness.message_until(&sent, "accepted").await;
        assert_eq!(channel(harness, "whatsapp").await["status"], "ready");
        assert_eq!(
            actions(harness, "channel:whatsapp").await,
            ["channel.credentials", "channel.hold", "channel.release"]
        );
    })
    .await;
}

fn with_two_numbers() -> Setup {
    let mut setup = Setup::default();
    let world = &mut setup.sandbox.world;
    let other = Number {
        id: OTHER_NUMBER.to_owned(),
        phone: "442079460109".to_owned(),
        display: "+44 20 7946 0109".to_owned(),
        name: "Sandbox Books".to_owned(),
        ..world.numbers[0].clone()
    };
    world.numbers.push(other);
    // What the sandbox says of a second number would make it a channel from the start.
    setup
        .without("WHATSAPP_BACKUP_PHONE_NUMBER_ID")
        .without("WHATSAPP_BACKUP_ACCESS_TOKEN")
}

#[tokio::test]
async fn a_channel_that_is_added_while_the_hub_runs_receives_and_sends_until_it_is_removed() {
    on_both_with(with_two_numbers(), async |harness| {
        harness.foresee_refusals(&[190, 200, 100]);
        let environment = harness.sandbox.environment();
        let (_, token) = environment
            .iter()
            .find(|(name, _)| name == "WHATSAPP_ACCESS_TOKEN")
            .unwrap();
        let new = json!({"id": "books", "kind": "whatsapp", "account": OTHER_NUMBER, "accessToken": token, "backupFor": "whatsapp",
            "limits": {"messagesPerSecond": 20}});
        let with = |field: &str, value: Value| {
            let mut body = new.clone();
            body[field] = value;
            body
        };
        let refused = harness
            .post("/api/v1/channels", &with("accessToken", json!("EAAnoSuchTokenAnywhere")))
            .await;
        assert_eq!(refused.fields(422, "credentials_refused"), ["accessToken"]);
        let refused = harness
            .post("/api/v1/channels", &with("account", json!("299999999999999")))
            .await;
        assert_eq!(refused.fields(422, "credentials_refused"), ["account"]);
        assert_eq!(harness.get("/api/v1/channels/books").await.status, 404);

        let added = harness.post("/api/v1/channels", &new).await.expect(201);
        assert_eq!(added["name"], "Sandbox Books");
        assert_eq!((&added["source"], &added["status"]), (&json!("api"), &json!("ready")));
        assert_eq!(added["limits"], json!({"messagesPerSecond": 20}));
        assert!(!added.to_string().contains(token.as_str()));
        harness
            .post("/api/v1/channels", &new)
            .await
            .problem(409, "channel_exists");

        harness.sandbox.write("amara", OTHER_NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let sent = harness.reply(&harness.conversation().await, "by the new one").await;
        harness.message_until(&sent, "accepted").await;

        // It is the same channel after a restart, with the token from the store.
        harness.restart().await;
        let sent = harness.reply(&harness.conversation().await, "once more").await;
        harness.message_until(&sent, "accepted").await;

        let path = "/api/v1/channels/books";
        // What waits would be lost with it.
        let channel = json!({"channel": "books"});
        harness.post("/admin/outbound/stop", &channel).await.expect(200);
        let body = json!({"to": {"conversation": harness.conversation().await["id"]}, "message": "and at last"});
        let waits = harness.post("/api/v1/messages/send?queue=true", &body).await.expect(202);
        harness
            .answer(harness.request(Method::DELETE, path).bearer_auth(ADMIN_KEY))
            .await
            .problem(409, "channel_in_use");
        harness.post("/admin/outbound/start", &channel).await.expect(200);
        harness
            .message_until(waits["messageId"].as_str().unwrap(), "accepted")
            .await;
        let changed = call(harness, Method::PATCH, path, &json!({"name": "Books", "backupFor": ""})).await;
        let changed = changed.expect(200);
        assert_eq!((&changed["name"], changed.get("backupFor")), (&json!("Books"), Some(&Value::Null)));
        let removed = harness
            .answer(harness.request(Method::DELETE, path).bearer_auth(ADMIN_KEY))
            .await;
        assert_eq!(removed.status, 204, "{}", removed.body);
        assert_eq!(harness.get(path).await.status, 404);
        let conversation = harness.conversation().await;
        let body = json!({"to": {"conversation": conversation["id"]}, "message": "to nobody"});
        harness
            .post("/api/v1/messages/send", &body)
            .await
            .problem(422, "unknown_channel");
        assert_eq!(harness.accepted("amara"), ["by the new one", "once more", "and at last"]);
        assert_eq!(
            actions(harness, "channel:books").await,
            ["channel.add", "channel.change", "channel.remove"]
        );
        let settings = harness
            .answer(harness.request(Method::DELETE, "/api/v1/channels/whatsapp").bearer_auth(ADMIN_KEY))
            .await;
        settings.problem(409, "channel_of_settings");
    })
    .await;
}

#[tokio::test]
async fn an_instagram_token_of_another_account_is_refused() {
    on_both(async |harness| {
        let environment = harness.sandbox.environment();
        let (_, token) = environment
            .iter()
            .find(|(name, _)| name == "META_IG_ACCESS_TOKEN")
            .unwrap();
        let body = json!({"id": "other", "kind": "instagram", "account": "17841400000000777", "accessToken": token});
        let refused = harness.post("/api/v1/channels", &body).await;
        assert_eq!(refused.fields(422, "credentials_refused"), ["account"]);
        assert_eq!(
            swap(harness, "instagram", token).await.expect(200)["credentials"]["version"],
            2
        );
    })
    .await;
}
