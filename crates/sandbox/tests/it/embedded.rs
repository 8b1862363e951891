//! A sandbox without sockets, and the ledger's summary under load.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, Response};
use axum::routing::get;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tidings_sandbox::{
    Cut, FaultRequest, LedgerKind, Limits, NewCustomer, Object, Options, Sandbox, Script, Subscriber,
};

use super::harness::{ACCOUNT, PHONE, START, say, stepped, text_to};
use super::limits::without_limits;

/// Keeps what was posted, and answers the handshake.
#[derive(Debug, Default)]
struct Recorder {
    bodies: Mutex<Vec<Bytes>>,
    answers: Mutex<VecDeque<Result<u16, String>>>,
}

impl Subscriber for Recorder {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, String>> {
        let answer = if request.method() == Method::GET {
            let query = request.uri().query().unwrap_or_default();
            let challenge = query.split('&').find_map(|pair| pair.strip_prefix("hub.challenge="));
            Ok(Response::new(Bytes::from(challenge.unwrap_or_default().to_owned())))
        } else {
            self.bodies.lock().unwrap().push(request.body().clone());
            let status = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(200));
            status.map(|status| Response::builder().status(status).body(Bytes::new()).unwrap())
        };
        async move { answer }.boxed()
    }
}

async fn embed(options: Options) -> (Sandbox, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let sandbox = Sandbox::embed(options, Arc::clone(&recorder) as Arc<dyn Subscriber>).unwrap();
    for object in [Object::WhatsApp, Object::Instagram] {
        sandbox
            .subscribe(object, "http://hub.invalid/hook", "any")
            .await
            .unwrap();
    }
    (sandbox, recorder)
}

fn sending(sandbox: &Sandbox, body: &Value) -> Request<Bytes> {
    let environment = sandbox.environment();
    let token = environment
        .iter()
        .find(|(name, _)| name == "WHATSAPP_ACCESS_TOKEN")
        .unwrap();
    let mut whole = json!({"messaging_product": "whatsapp"});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    Request::post(format!("/v26.0/{PHONE}/messages"))
        .header("authorization", format!("Bearer {}", token.1))
        .body(Bytes::from(whole.to_string()))
        .unwrap()
}

async fn send(sandbox: &Sandbox, body: &Value) -> Result<u16, Cut> {
    let answer = sandbox.call(sending(sandbox, body)).await?;
    Ok(answer.status().as_u16())
}

async fn summary(sandbox: &Sandbox) -> Value {
    let answer = sandbox
        .call(Request::get("/ledger/summary").body(Bytes::new()).unwrap())
        .await
        .unwrap();
    serde_json::from_slice(answer.body()).unwrap()
}

#[tokio::test]
async fn what_was_sent_comes_back_without_a_socket() {
    let (sandbox, recorder) = embed(stepped()).await;
    sandbox.write("amara", PHONE, say("hello")).unwrap();
    assert_eq!(send(&sandbox, &text_to("447700900101", "hi")).await, Ok(200));
    assert_eq!(sandbox.next_due(), Some(START + 100));
    recorder
        .answers
        .lock()
        .unwrap()
        .extend([Ok(200), Err("broken pipe".to_owned()), Ok(500)]);
    sandbox.advance(Duration::from_mins(1)).await;
    // The message; sent three times, since the connection failed and then the subscriber; delivered; read.
    assert_eq!(recorder.bodies.lock().unwrap().len(), 6);
    let reset = json!({"endpoint": "messages", "kind": "reset_after_accept", "count": 1});
    sandbox.fault(serde_json::from_value(reset).unwrap()).unwrap();
    assert_eq!(send(&sandbox, &text_to("447700900101", "lost")).await, Err(Cut));
    assert_eq!(sandbox.summary().accounts[PHONE].accepted, 2);
    // In one go, so that each step is planned from where the clock stands then.
    for _ in 0..2 {
        sandbox.pass(Duration::from_mins(1));
        sandbox.settled().await;
    }
    assert_eq!(sandbox.summary().accounts[PHONE].delivered, 2);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_router_is_a_subscriber() {
    let heard = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&heard);
    let hook = get(async |axum::extract::RawQuery(query): axum::extract::RawQuery| {
        let query = query.unwrap_or_default();
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("hub.challenge=").map(str::to_owned))
            .unwrap()
    });
    let hook = hook.post(async move || {
        *counter.lock().unwrap() += 1;
    });
    let router = axum::Router::new().route("/hook", hook);
    let sandbox = Sandbox::embed(stepped(), Arc::new(router)).unwrap();
    sandbox
        .subscribe(Object::WhatsApp, "http://hub.invalid/hook", "any")
        .await
        .unwrap();
    let elsewhere = sandbox
        .subscribe(Object::WhatsApp, "http://hub.invalid/other", "any")
        .await;
    assert_eq!(elsewhere.unwrap_err().code, 2200);
    sandbox.write("amara", PHONE, say("hello")).unwrap();
    sandbox.advance(Duration::ZERO).await;
    assert_eq!(*heard.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_same_seed_is_the_same_history() {
    let yaml = "
load:
  - {customers: 5, perSecond: 40, count: 60}
  - {kind: instagram, customers: 3, perSecond: 20, count: 30}
faults:
  - {endpoint: messages, kind: reset_after_accept, share: 0.2}
  - {endpoint: messages, kind: error, code: 131016, share: 0.2, seed: 5}
  - {endpoint: webhooks, kind: double, share: 0.3}
  - {endpoint: webhooks, kind: reorder, share: 0.2, delayMs: 70}
  - {endpoint: any, kind: outage, afterMs: 900, forMs: 400}
";
    let run = async |seed| {
        let mut options = stepped();
        options.seed = seed;
        options.webhooks.parallel = 4;
        let (sandbox, recorder) = embed(options).await;
        sandbox.play(&Script::parse(yaml).unwrap()).unwrap();
        let mut answers = Vec::new();
        for number in 0..40 {
            sandbox.advance(Duration::from_millis(50)).await;
            let to = sandbox
                .customer(&format!("load-1-{}", number % 5 + 1))
                .unwrap()
                .phone
                .unwrap();
            let sent = sandbox
                .call(sending(&sandbox, &text_to(&to, &format!("#{number}"))))
                .await;
            answers.push(sent.map(Response::into_body));
        }
        sandbox.advance(Duration::from_hours(1)).await;
        let ledger = serde_json::to_string(&sandbox.ledger()).unwrap();
        let bodies = recorder.bodies.lock().unwrap().clone();
        sandbox.stop().await;
        (answers, bodies, ledger)
    };
    let first = run(7).await;
    assert!(first.0.iter().any(Result::is_err) && first.0.iter().any(Result::is_ok));
    assert!(first == run(7).await, "two runs with one seed differ");
    assert!(first.2 != run(8).await.2);
}

#[tokio::test]
async fn the_summary_finds_doubles_and_disorder() {
    let (sandbox, _) = embed(without_limits()).await;
    sandbox.write("amara", PHONE, say("hello")).unwrap();
    let number = |text: &str, data: &str| {
        let mut message = text_to("447700900101", text);
        message["biz_opaque_callback_data"] = json!(data);
        message
    };
    let messages = [
        number("#1", "a"),
        number("#3", "b"),
        number("#2", "c"),
        number("#3", "d"),
        number("#4", "a"),
    ];
    for message in &messages {
        assert_eq!(send(&sandbox, message).await, Ok(200));
    }
    assert_eq!(send(&sandbox, &text_to("447700900101", "")).await, Ok(400));
    let summary = summary(&sandbox).await;
    assert_eq!(summary["doublesByCallbackData"]["count"], 1);
    assert_eq!(summary["doublesByCallbackData"]["examples"][0]["detail"]["text"], "#4");
    assert_eq!(summary["doublesByText"]["count"], 1);
    assert_eq!(summary["disorders"]["count"], 1);
    assert_eq!(summary["disorders"]["examples"][0]["detail"]["text"], "#2");
    let account = &summary["accounts"][PHONE];
    assert_eq!((&account["accepted"], &account["requested"]), (&json!(5), &json!(6)));
    assert_eq!(account["refusedByCode"], json!({"100": 1}));
    assert_eq!(
        (&account["written"], &summary["kinds"]["written"]),
        (&json!(1), &json!(1))
    );
    sandbox.clear_ledger();
    assert_eq!(sandbox.summary().accounts.len(), 0);
    assert!(sandbox.ledger().is_empty());
}

#[tokio::test]
async fn sends_are_counted_in_bounded_memory_at_full_pace() {
    const SENDS: usize = 5_000;
    let mut options = without_limits();
    options.world.numbers[0].throughput = 1_000;
    options.limits = Limits {
        ledger_entries: 1_000,
        thread_messages: 10,
        ..Limits::default()
    };
    options.world.customers = (0..100)
        .map(|number| NewCustomer {
            id: Some(number.to_string()),
            name: number.to_string(),
            phone: Some(format!("3160000{number:04}")),
            auto_read: Some(false),
            ..NewCustomer::default()
        })
        .collect();
    let (sandbox, _) = embed(options).await;
    for customer in 0..100 {
        sandbox.write(&customer.to_string(), PHONE, say("hello")).unwrap();
    }
    // Ten in ten milliseconds is the limit, kept for 5 seconds.
    for round in 0..SENDS / 10 {
        for place in 0..10 {
            let number = round * 10 + place;
            let mut message = text_to(&format!("3160000{:04}", number % 100), &format!("Message #{number}"));
            message["biz_opaque_callback_data"] = json!(format!("attempt-{number}"));
            assert_eq!(send(&sandbox, &message).await, Ok(200), "{number}");
        }
        sandbox.advance(Duration::from_millis(10)).await;
    }
    sandbox.advance(Duration::from_secs(1)).await;
    let summary = sandbox.summary();
    let account = &summary.accounts[PHONE];
    assert_eq!((account.accepted, account.delivered), (SENDS as u64, SENDS as u64));
    assert_eq!((account.accepted_per_second_max, account.refused), (1_000, 0));
    assert_eq!(
        (summary.doubles_by_callback_data.count, summary.doubles_by_text.count),
        (0, 0)
    );
    assert_eq!((summary.disorders.count, summary.untracked), (0, 0));
    assert_eq!(summary.kinds[&LedgerKind::Accepted], SENDS as u64);
    assert_eq!(sandbox.ledger().len(), 1_000);
}

#[tokio::test]
async fn without_entries_there_is_still_a_summary() {
    let mut options = without_limits();
    options.limits.ledger_entries = 0;
    options.limits.summary_keys = 2;
    let (sandbox, _) = embed(options).await;
    for number in 0..4 {
        assert_eq!(
            send(&sandbox, &text_to("31600000001", &number.to_string())).await,
            Ok(200)
        );
    }
    assert!(sandbox.ledger().is_empty());
    let summary = sandbox.summary();
    assert_eq!((summary.accounts[PHONE].requested, summary.untracked), (4, 2));
    sandbox.write("lucia", ACCOUNT, say("hello")).unwrap();
    assert_eq!(sandbox.summary().accounts[ACCOUNT].written, 1);
    assert!(sandbox.fault(FaultRequest::default()).is_ok());
}
