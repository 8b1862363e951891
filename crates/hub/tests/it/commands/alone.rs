//! `tidings sandbox` and `tidings demo`: what runs without an account at Meta, wired as a newcomer wires it.

use std::collections::BTreeMap;

use reqwest::Client;
use serde_json::{Value, json};

use super::{alone, fails, told};
use crate::harness::{Process, WITHIN};

fn client() -> Client {
    Client::builder().no_proxy().timeout(WITHIN).build().unwrap()
}

async fn asked(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body = answer.text().await.unwrap();
    assert!(status.is_success(), "{status}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// What a customer sees of a thread on their phone: whether it is their own, and the words.
async fn on_the_phone(http: &Client, sandbox: &str, customer: &str, account: &str) -> Vec<(bool, String)> {
    let thread = asked(http.get(format!("{sandbox}/sandbox/customers/{customer}/threads/{account}"))).await;
    let messages = thread["messages"].as_array().unwrap().iter();
    messages
        .map(|message| {
            let text = message["text"].as_str().unwrap_or_default();
            (message["direction"] == "mine", text.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_hub_with_what_the_sandbox_prints_in_its_environment_takes_it_for_meta() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Process::start(folder.path(), &["sandbox", "--listen", "127.0.0.1:0"], []);
    let how_to = "A hub with the variables above";
    sandbox
        .until("it has told how to use it", async |process| {
            process.lines().iter().any(|line| line.contains(how_to)).then_some(())
        })
        .await;
    let printed = sandbox.printed();
    let environment: BTreeMap<&str, &str> = printed.lines().map(|line| line.split_once('=').unwrap()).collect();
    let url = environment["WHATSAPP_API_BASE_URL"];
    assert!(url.starts_with("http://127.0.0.1:"), "{printed}");

    // Nothing but these variables, and an address of its own; the key is where the hub has put it.
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let mut hub = Process::start(
        folder.path(),
        &serve,
        environment.iter().map(|(name, value)| (*name, *value)),
    );
    let hub_url = hub.url().await;
    let (http, app) = (client(), environment["META_APP_ID"]);
    let version = environment["META_GRAPH_API_VERSION"];
    let subscription = [
        ("access_token", format!("{app}|{}", environment["WHATSAPP_APP_SECRET"])),
        ("object", "whatsapp_business_account".to_owned()),
        ("callback_url", format!("{hub_url}/api/webhooks/whatsapp")),
        ("verify_token", environment["WHATSAPP_VERIFY_TOKEN"].to_owned()),
        ("fields", "messages".to_owned()),
    ];
    let subscribed = http
        .post(format!("{url}/{version}/{app}/subscriptions"))
        .form(&subscription);
    assert_eq!(asked(subscribed).await, json!({"success": true}));

    let number = environment["WHATSAPP_PHONE_NUMBER_ID"];
    let threads = format!("{url}/sandbox/customers/amara/threads/{number}");
    let words = json!({"type": "text", "text": "Is anybody there?"});
    asked(http.post(format!("{threads}/messages")).json(&words)).await;
    let of_hub = [("TIDINGS_URL", hub_url.as_str())];
    let conversation = hub
        .until("she has been heard", async |_| {
            let listed = alone(
                folder.path(),
                &["events", "list", "--json", "--event-type", "messages"],
                &of_hub,
            )
            .await;
            let listed: Value = serde_json::from_str(&told(&listed, 0)).unwrap();
            (listed["events"][0]["status"] == "processed").then_some(())?;
            let key = std::fs::read_to_string(folder.path().join("tidings-data/admin.key")).unwrap();
            let list = http
                .get(format!("{hub_url}/api/v1/conversations"))
                .bearer_auth(key.trim());
            asked(list).await["conversations"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
    let answer = [
        "send",
        "--conversation",
        &conversation,
        "--message",
        "We are.",
        "--wait",
        "20000",
    ];
    assert!(
        told(&alone(folder.path(), &answer, &of_hub).await, 0)
            .trim_end()
            .ends_with("  accepted")
    );
    assert_eq!(
        on_the_phone(&http, url, "amara", number).await,
        [(true, "Is anybody there?".to_owned()), (false, "We are.".to_owned())]
    );
    hub.stop().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn a_sandbox_subscribes_the_hub_that_it_is_told_of_and_then_follows_its_script() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let listen = ["sandbox", "--listen", "127.0.0.1:0"];
    let mut first = Process::start(folders[0].path(), &[&listen[..], &["--json"]].concat(), []);
    let printed = first
        .until("it has printed", async |process| {
            serde_json::from_str::<Value>(&process.printed()).ok()
        })
        .await;
    let environment = printed["environment"].as_object().unwrap();
    assert_eq!(environment["WHATSAPP_API_BASE_URL"], printed["url"]);
    let variables = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let mut hub = Process::start(folders[0].path(), &serve, variables);
    let hub_url = hub.url().await;

    // Another one with the same seed has the same numbers and secrets.
    let script = "lines:\n  - atMs: 0\n    from: amara\n    text: From a script\n";
    std::fs::write(folders[1].path().join("script.yaml"), script).unwrap();
    let told_of_hub = [&listen[..], &["--hub", &hub_url, "--script", "script.yaml"]].concat();
    let second = Process::start(folders[1].path(), &told_of_hub, []);
    let of_hub = [("TIDINGS_URL", hub_url.as_str())];
    hub.until("the script is heard", async |_| {
        let list = ["events", "list", "--json", "--q", "From a script"];
        let listed = told(&alone(folders[0].path(), &list, &of_hub).await, 0);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        (listed["events"][0]["status"] == "processed").then_some(())
    })
    .await;
    for process in [second, hub, first] {
        process.stop().await;
    }
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_started_says_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.yaml"), "customers: 7\n").unwrap();
    let anywhere = ["--listen", "127.0.0.1:0"];
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (&[&anywhere[..], &["--speed", "0"]].concat(), 2, &["--speed"]),
        (&[&anywhere[..], &["--speed", "fast"]].concat(), 2, &["--speed", "fast"]),
        (&[&anywhere[..], &["--seed", "x"]].concat(), 2, &["--seed"]),
        (&["--listen", "nowhere"], 2, &["--listen", "nowhere"]),
        (&["--listen", "192.0.2.1:1"], 1, &["192.0.2.1:1", "--listen", "port 0"]),
        (
            &[&anywhere[..], &["--script", "none.yaml"]].concat(),
            2,
            &["--script none.yaml"],
        ),
        (
            &[&anywhere[..], &["--script", "wrong.yaml"]].concat(),
            2,
            &["--script wrong.yaml", "customers"],
        ),
    ];
    for (arguments, code, expected) in cases {
        let arguments = [&["sandbox"], arguments].concat();
        fails(&alone(folder.path(), &arguments, &[]).await, code, expected);
    }
}

#[tokio::test]
async fn the_demo_shows_a_customers_message_and_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Process::start(folder.path(), &["demo", "--port", "0", "--data-dir", "kept"], []);
    let value = |printed: &str, name: &str| -> Option<String> {
        let line = printed.lines().find_map(|line| line.trim().strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let (hub, phones, key_file) = demo
        .until("it has told where to look", async |process| {
            let printed = process.printed();
            Some((
                value(&printed, "Hub ")?,
                value(&printed, "Customers' phones ")?,
                value(&printed, "API key ")?,
            ))
        })
        .await;
    let key = std::fs::read_to_string(folder.path().join(key_file.strip_prefix("in ").unwrap())).unwrap();
    let (http, sandbox) = (client(), phones.strip_suffix("/phone").unwrap());
    let page = http.get(&phones).send().await.unwrap();
    assert_eq!(page.status(), 200);

    // As the newcomer sees it who has copied the lines that were printed.
    let (question, answer) = demo
        .until("a customer has been answered", async |process| {
            let printed = process.printed();
            let line = |arrow: &str| {
                printed
                    .lines()
                    .find_map(|line| Some(line.split_once(arrow)?.1.to_owned()))
            };
            Some((line(" → ")?, line(" ← ")?))
        })
        .await;
    let ask = |path: &str| http.get(format!("{hub}{path}")).bearer_auth(key.trim());
    let listed = asked(ask("/api/v1/conversations")).await;
    // Somebody else may have written by now.
    let mut kept = Value::Null;
    for conversation in listed["conversations"].as_array().unwrap() {
        let id = conversation["id"].as_str().unwrap();
        let found = asked(ask(&format!("/api/v1/conversations/{id}/messages"))).await;
        let mut messages = found["messages"].as_array().unwrap().iter();
        if messages.any(|message| message["content"]["text"] == question.as_str()) {
            kept = found;
        }
    }
    let said: Vec<(&str, &str)> = kept["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            (
                message["direction"].as_str().unwrap(),
                message["content"]["text"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [("outbound", answer.as_str()), ("inbound", question.as_str())],
        "{kept:#}"
    );
    let state = asked(http.get(format!("{sandbox}/sandbox/state"))).await;
    let number = state["numbers"][0]["phoneNumberId"].as_str().unwrap();
    demo.until("it is on her phone", async |_| {
        let seen = on_the_phone(&http, sandbox, "amara", number).await;
        (seen == [(true, question.clone()), (false, answer.clone())]).then_some(())
    })
    .await;
    let lines = demo.stop().await;
    assert!(lines.iter().any(|line| line == "Stopping."), "{lines:?}");

    fails(
        &alone(folder.path(), &["demo", "--port", "70000"], &[]).await,
        2,
        &["--port", "70000"],
    );
}
