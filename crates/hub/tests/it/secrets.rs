//! No secret stands in any line of the log, at any level; what people say, only at `trace`.
//!
//! The binary itself runs here, with everything logged that any of its parts can log, and is led through everything that has to do with
//! a secret, also in the wrong place.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tidings::clock::Clock;
use tidings::integrations::whatsapp::signature as integration;
use tidings_meta::signature::sign;
use tidings_sandbox::{Channel, FaultKind, FaultRequest, NewCustomer, Object, Options, Sandbox, TokenKind};

use crate::harness::{
    ACCOUNT, Database, Engine, LOOK_EVERY, NUMBER, Process, START, WITHIN, fault, text, whatsapp_text,
};

/// What must not be seen. Letters and digits alone, so that they look the same however they are written down.
const WHATSAPP_SECRET: &str = "plantedWhatsAppSecret0a1b2c";
const OLD_SECRET: &str = "plantedOldSecret3d4e5f";
const INSTAGRAM_SECRET: &str = "plantedInstagramSecret6a7b8c";
const WHATSAPP_TOKEN: &str = "EAAplantedWhatsAppToken9d0e1f";
const INSTAGRAM_TOKEN: &str = "IGAAplantedInstagramToken2a3b4c";
const WHATSAPP_VERIFY_TOKEN: &str = "plantedWhatsAppVerify5d6e7f";
const INSTAGRAM_VERIFY_TOKEN: &str = "plantedInstagramVerify8a9b0c";
const ADMIN_KEY: &str = "plantedAdminKey1d2e3f4a5b6c";
const DATABASE_PASSWORD: &str = "plantedDatabasePassword7d8e9f";
/// What other systems sign with.
const INTEGRATION_SECRET: &str = "plantedIntegrationSecret4d5e6f";
const SECRETS: [&str; 10] = [
    INTEGRATION_SECRET,
    WHATSAPP_SECRET,
    OLD_SECRET,
    INSTAGRAM_SECRET,
    WHATSAPP_TOKEN,
    INSTAGRAM_TOKEN,
    WHATSAPP_VERIFY_TOKEN,
    INSTAGRAM_VERIFY_TOKEN,
    ADMIN_KEY,
    DATABASE_PASSWORD,
];
/// What people say, and to whom it is of no concern.
const WORDS: &str = "plantedWordsOfAPerson0d1e2f";

/// A Meta whose secrets and tokens are the planted ones.
fn options() -> Options {
    let mut options = Options::default();
    options.delays.read = None;
    let world = &mut options.world;
    WHATSAPP_SECRET.clone_into(&mut world.app.secret);
    INSTAGRAM_SECRET.clone_into(&mut world.instagram_app.secret);
    WHATSAPP_VERIFY_TOKEN.clone_into(&mut world.whatsapp_verify_token);
    INSTAGRAM_VERIFY_TOKEN.clone_into(&mut world.instagram_verify_token);
    for token in &mut world.tokens {
        let value = match token.kind {
            TokenKind::SystemUser | TokenKind::User => WHATSAPP_TOKEN,
            TokenKind::InstagramUser => INSTAGRAM_TOKEN,
        };
        value.clone_into(&mut token.value);
    }
    options
}

/// The address of the database, with a password in it where it can have one.
fn with_password(url: &str) -> String {
    match url.split_once('@') {
        Some((before, after)) => {
            let user = before.rsplit('/').next().unwrap().split(':').next().unwrap();
            format!("postgres://{user}:{DATABASE_PASSWORD}@{after}")
        }
        None => url.to_owned(),
    }
}

struct Caller {
    http: Client,
    url: String,
}

impl Caller {
    async fn call(&self, method: Method, path: &str, key: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, ADMIN_KEY, &[], "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn send(&self, key: &str, body: &str) -> (u16, String) {
        self.call(
            Method::POST,
            "/api/v1/messages/send",
            key,
            &[("idempotency-key", WORDS)],
            body,
        )
        .await
    }

    /// Posts a notification; answers with the status.
    async fn notify(&self, secret: &str, body: &str) -> u16 {
        let signature = sign(secret.as_bytes(), body.as_bytes());
        let headers = [("x-hub-signature-256", signature.as_str())];
        self.call(Method::POST, "/api/webhooks/whatsapp", "", &headers, body)
            .await
            .0
    }

    /// Sends a message; `None` while the hub has not yet understood that the contact has written.
    async fn try_to_send(&self, channel: &str, to: &str) -> Option<String> {
        let body = json!({"channel": channel, "to": to, "message": WORDS}).to_string();
        let (status, answer) = self
            .call(Method::POST, "/api/v1/messages/send", ADMIN_KEY, &[], &body)
            .await;
        assert!(matches!(status, 202 | 409), "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["messageId"].as_str().map(str::to_owned)
    }

    async fn until<T>(&self, condition: impl AsyncFn() -> Option<T>) -> T {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let found = tokio::time::timeout(WITHIN, async {
            loop {
                looks.tick().await;
                if let Some(found) = condition().await {
                    return found;
                }
            }
        });
        found.await.expect("waited in vain for a message")
    }
}

/// Everything that has to do with a secret, or with words of people, also in the wrong place.
async fn exercise(caller: &Caller, sandbox: &Sandbox) {
    // The handshake, rightly and wrongly.
    let whatsapp = format!("{}/api/webhooks/whatsapp", caller.url);
    sandbox
        .subscribe(Object::WhatsApp, &whatsapp, WHATSAPP_VERIFY_TOKEN)
        .await
        .unwrap();
    let instagram = format!("{}/api/webhooks/instagram", caller.url);
    sandbox
        .subscribe(Object::Instagram, &instagram, INSTAGRAM_VERIFY_TOKEN)
        .await
        .unwrap();
    sandbox
        .subscribe(Object::WhatsApp, &whatsapp, INSTAGRAM_VERIFY_TOKEN)
        .await
        .unwrap_err();
    sandbox
        .subscribe(Object::WhatsApp, &whatsapp, WHATSAPP_VERIFY_TOKEN)
        .await
        .unwrap();

    // What people write, and what they might have written had Meta other shapes.
    sandbox.write("amara", NUMBER, text(WORDS)).unwrap();
    sandbox.write("lucia", ACCOUNT, text(WORDS)).unwrap();
    sandbox.settled().await;
    let right = whatsapp_text("wamid.1", "447700900123", WORDS, START).to_string();
    assert_eq!(caller.notify(WHATSAPP_SECRET, &right).await, 200);
    assert_eq!(caller.notify(OLD_SECRET, &right).await, 200);
    assert_eq!(caller.notify(INSTAGRAM_SECRET, &right).await, 401);
    let misshapen = |path: &str| {
        let mut body: Value =
            serde_json::from_str(&right.replace("wamid.1", &format!("wamid.{}", path.len()))).unwrap();
        *body.pointer_mut(path).unwrap() = json!(WORDS);
        body.to_string()
    };
    let message = "/entry/0/changes/0/value/messages/0";
    for part in ["", "/text", "/timestamp", "/type"] {
        assert_eq!(
            caller
                .notify(WHATSAPP_SECRET, &misshapen(&format!("{message}{part}")))
                .await,
            200
        );
    }
    for path in [
        "/entry/0/changes/0/field",
        "/entry/0/changes/0/value",
        "/entry/0/changes/0",
        "/entry/0",
    ] {
        assert_eq!(caller.notify(WHATSAPP_SECRET, &misshapen(path)).await, 200);
    }
    for body in [
        WORDS.to_owned(),
        format!("\"{WORDS}\""),
        misshapen("/entry"),
        misshapen("/object"),
    ] {
        assert_eq!(caller.notify(WHATSAPP_SECRET, &body).await, 400);
    }

    // Keys, rightly and wrongly.
    assert_eq!(caller.send(WHATSAPP_TOKEN, "{}").await.0, 401);
    for body in [
        WORDS.to_owned(),
        format!("\"{WORDS}\""),
        json!({ WORDS: WORDS }).to_string(),
        json!({"channel": WORDS, "to": WORDS, "message": WORDS}).to_string(),
        json!({"channel": "whatsapp", "to": WORDS, "message": WORDS}).to_string(),
        json!({"channel": "whatsapp", "to": "+447700900101", "content": {"type": WORDS}}).to_string(),
        json!({"channel": "whatsapp", "to": "+447700900101", "message": WORDS, "metadata": WORDS.repeat(200)})
            .to_string(),
    ] {
        assert!(matches!(caller.send(ADMIN_KEY, &body).await.0, 400 | 422), "{body}");
    }

    // The feed of reels, whose token Meta refuses.
    sandbox
        .fault(FaultRequest {
            endpoint: "media".to_owned(),
            kind: FaultKind::TokenExpired,
            ..FaultRequest::default()
        })
        .unwrap();
    let feed = "/integrations/instagram/reels";
    assert_eq!(caller.call(Method::GET, feed, "", &[], "").await.0, 503);
    sandbox.clear_faults();
    // Other systems, rightly and wrongly.
    let body = json!({"phoneNumber": "+447700900101", "message": WORDS}).to_string();
    let now = Clock::system().now_millis() / 1_000;
    let signed = |secret: &str, at: i64| integration::sign(&secret.into(), at, body.as_bytes());
    for (header, expected) in [
        (String::new(), &[401][..]),
        (INTEGRATION_SECRET.to_owned(), &[401]),
        (signed(INTEGRATION_SECRET, now - 1_000), &[401]),
        (signed(OLD_SECRET, now), &[401]),
        // Whether the window is open depends on whether it is understood by now that the contact has written.
        (signed(INTEGRATION_SECRET, now), &[202, 409]),
    ] {
        let headers = [("x-integration-signature", header.as_str())];
        let headers = if header.is_empty() { &[][..] } else { &headers };
        let path = "/integrations/whatsapp/custom-message";
        let (status, answer) = caller.call(Method::POST, path, "", headers, &body).await;
        assert!(expected.contains(&status), "{status} {answer}");
    }

    // Messages that are taken, refused, not answered: each to somebody else, so that none waits for another. The last of a channel stop it.
    let refused = |code: i64| FaultRequest {
        code: Some(code),
        ..fault(FaultKind::Error)
    };
    let outcomes = [
        (Channel::WhatsApp, None, "accepted"),
        (Channel::WhatsApp, Some(refused(131_008)), "failed"),
        (Channel::WhatsApp, Some(refused(133_004)), "temporary"),
        (Channel::WhatsApp, Some(fault(FaultKind::ResetBefore)), "unknown"),
        (Channel::WhatsApp, Some(refused(130_429)), "throttled"),
        (Channel::Instagram, None, "accepted"),
        (Channel::Instagram, Some(refused(100)), "failed"),
        (Channel::Instagram, Some(refused(190)), "credentials"),
    ];
    for (index, (channel, kind, outcome)) in outcomes.into_iter().enumerate() {
        let name = format!("Person {index}");
        let customer = sandbox.add_customer(NewCustomer {
            name: name.clone(),
            kind: Some(channel),
            ..NewCustomer::default()
        });
        let account = if channel == Channel::WhatsApp { NUMBER } else { ACCOUNT };
        let customer = customer.unwrap();
        sandbox.write(&customer, account, text(WORDS)).unwrap();
        sandbox.settled().await;
        if let Some(kind) = kind {
            // For this account alone: one that is tried again meanwhile must not meet it.
            let account = Some(account.to_owned());
            sandbox.fault(FaultRequest { account, ..kind }).unwrap();
        }
        let addresses = sandbox.customer(&customer).unwrap();
        let to = addresses.phone.or(addresses.igsid).unwrap();
        let channel = if channel == Channel::WhatsApp {
            "whatsapp"
        } else {
            "instagram"
        };
        let id = caller.until(async || caller.try_to_send(channel, &to).await).await;
        let path = format!("/api/v1/messages/{id}/timeline");
        caller
            .until(async || {
                let timeline = caller.get(&path).await;
                (timeline["timeline"][1]["attempt"]["outcome"] == outcome).then_some(())
            })
            .await;
        if outcome == "temporary" {
            let path = format!("/api/v1/messages/{id}");
            caller
                .until(async || (caller.get(&path).await["status"] == "accepted").then_some(()))
                .await;
        }
    }

    // Reading all of it.
    for path in [
        "/api/webhooks/events",
        "/api/webhooks/notifications/quarantined",
        "/api/v1/contacts",
        "/api/v1/conversations",
    ] {
        caller.get(path).await;
    }
    let (status, _) = caller
        .call(
            Method::GET,
            &format!("/api/webhooks/events?q={WORDS}"),
            ADMIN_KEY,
            &[],
            "",
        )
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn none_stands_in_the_log_at_any_level() {
    for engine in Engine::available() {
        println!("on {engine:?}");
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(engine, folder.path()).await;
        let sandbox = Sandbox::start(options()).await.unwrap();
        let mut environment: Vec<(&str, String)> = vec![
            ("TIDINGS_LOG", "trace".to_owned()),
            ("TIDINGS_LOG_FORMAT", "json".to_owned()),
            ("TIDINGS_LISTEN", "127.0.0.1:0".to_owned()),
            ("TIDINGS_DATA_DIR", folder.path().to_str().unwrap().to_owned()),
            ("TIDINGS_ADMIN_KEY", ADMIN_KEY.to_owned()),
            ("DATABASE_URL", with_password(database.url())),
            ("META_APP_SECRET", OLD_SECRET.to_owned()),
            ("WHATSAPP_INTEGRATION_SECRETS", INTEGRATION_SECRET.to_owned()),
        ];
        let told = sandbox.environment();
        environment.extend(told.iter().map(|(name, value)| (name.as_str(), value.clone())));

        let variables = environment.iter().map(|(name, value)| (*name, value.as_str()));
        let mut served = Process::start(folder.path(), &["serve"], variables);
        let http = Client::builder().no_proxy().timeout(WITHIN).build().unwrap();
        let caller = Caller {
            http,
            url: served.url().await,
        };
        exercise(&caller, &sandbox).await;
        assert_eq!(served.printed(), "");
        let lines = served.stop().await;

        assert!(lines.len() > 100, "{}", lines.join("\n"));
        for level in ["DEBUG", "INFO", "WARN"] {
            assert!(
                lines.iter().any(|line| line.contains(level)),
                "nothing was logged at {level}"
            );
        }
        // Operators look for the feed under this name.
        let of_the_feed =
            |line: &&String| line.contains("\"InstagramService\"") && line.contains("Instagram API responded 190");
        assert_eq!(lines.iter().filter(of_the_feed).count(), 1);
        // And for messages under this one, whether Meta has refused, or not answered.
        for said in ["131008", "133004", "130429", "nothing usable"] {
            let told = format!("WhatsApp API responded {said}: ");
            let of_a_message = |line: &&String| line.contains("\"WARN\"") && line.contains(&told);
            assert_eq!(lines.iter().filter(of_a_message).count(), 1, "{said}");
        }
        let reasons: Vec<String> = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["message"] == "a signed request was refused: its signature is not right")
            .map(|line| line["reason"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(reasons, ["missing", "malformed", "expired", "mismatch"]);
        // Which secret signed is told by its place in the list and a part of its hash.
        let fingerprint = integration::fingerprint(&INTEGRATION_SECRET.into());
        let by_the_first = |line: &&String| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["secret"] == 1 && line["fingerprint"] == fingerprint.as_str()
        };
        assert_eq!(lines.iter().filter(by_the_first).count(), 1);
        for line in &lines {
            for secret in SECRETS {
                assert!(!line.contains(secret), "{line}");
            }
            let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(!line.contains(WORDS) || parsed["level"] == "TRACE", "{line}");
        }
        sandbox.stop().await;
        database.remove().await;
    }
}
