//! The load: customers who write as fast as the hub takes it, and clients of the hub who answer them.
//!
//! A client is as careful as the documentation asks it to be: each answer has an `Idempotency-Key`, is asked for again until it is
//! accepted, and only then comes the next answer of that conversation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::meta::Meta;
use crate::process::ADMIN_KEY;

/// Messages of customers that wait for the hub's acknowledgement at any time.
const UNACKNOWLEDGED: usize = 150;
/// Clients; each has conversations of its own.
const CLIENTS: usize = 12;
/// Answers that wait for a client at most; a customer beyond that gets none.
const ANSWERS_MAX: usize = 16;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// An answer that the hub has accepted.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The customer's place in [`Meta::customers`].
    pub(crate) customer: usize,
    /// What it says; no two say the same.
    pub(crate) text: String,
    /// The hub's id of it.
    pub(crate) message_id: String,
    /// How often it was asked for.
    pub(crate) requests: u32,
}

/// A load that goes on.
#[derive(Debug)]
pub(crate) struct Load {
    stop: CancellationToken,
    writing: JoinSet<()>,
    answering: JoinSet<Vec<Reply>>,
}

/// An answer that somebody wants sent.
#[derive(Debug)]
struct Wish {
    customer: usize,
    text: String,
}

impl Load {
    pub(crate) fn start(meta: &Arc<Meta>, hub_url: &str, seed: u64) -> Self {
        let stop = CancellationToken::new();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        let mut clients = Vec::new();
        let mut answering = JoinSet::new();
        for _ in 0..CLIENTS {
            let (wish, wishes) = mpsc::channel(ANSWERS_MAX);
            clients.push(wish);
            let client = Client {
                meta: Arc::clone(meta),
                http: http.clone(),
                url: format!("{hub_url}/api/v1/messages/send"),
            };
            answering.spawn(client.run(wishes));
        }
        let mut writing = JoinSet::new();
        let random = ChaCha8Rng::seed_from_u64(seed);
        writing.spawn(write(Arc::clone(meta), clients, random, stop.clone()));
        Self {
            stop,
            writing,
            answering,
        }
    }

    /// Nobody writes any more; what is wished for is still asked for until it is accepted. Answers with all that was accepted, in the
    /// order of each conversation.
    pub(crate) async fn finish(self) -> Vec<Reply> {
        self.stop.cancel();
        self.writing.join_all().await;
        self.answering.join_all().await.into_iter().flatten().collect()
    }
}

/// Lets customers write as soon as what they wrote before is acknowledged; about every second message is answered.
async fn write(meta: Arc<Meta>, clients: Vec<mpsc::Sender<Wish>>, mut random: ChaCha8Rng, stop: CancellationToken) {
    let mut waiting: HashMap<String, usize> = HashMap::new();
    let (mut after, mut number) = (0, 0_u64);
    let mut look = interval(LOOK_AGAIN);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        look.tick().await;
        for message in meta.acknowledged_after(&mut after).await {
            let Some(customer) = waiting.remove(&message) else {
                continue;
            };
            if random.random_bool(0.5) {
                number += 1;
                let wish = Wish {
                    customer,
                    text: format!("Answer {number}"),
                };
                // A client that has enough to do leaves this customer without an answer.
                let _ = clients[customer % clients.len()].try_send(wish);
            }
        }
        while waiting.len() < UNACKNOWLEDGED {
            number += 1;
            let customer = random.random_range(0..meta.customers().len());
            waiting.insert(
                meta.write(&meta.customers()[customer], format!("Message {number}")),
                customer,
            );
        }
    }
}

struct Client {
    meta: Arc<Meta>,
    http: reqwest::Client,
    url: String,
}

impl Client {
    async fn run(self, mut wishes: mpsc::Receiver<Wish>) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(wish) = wishes.recv().await {
            replies.push(self.ask_until_accepted(wish).await);
        }
        replies
    }

    async fn ask_until_accepted(&self, wish: Wish) -> Reply {
        let customer = &self.meta.customers()[wish.customer];
        let body = json!({"channel": customer.channel, "to": customer.address, "message": wish.text}).to_string();
        let key = wish.text.replace(' ', "-");
        let mut again = interval(ASK_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut requests = 0;
        loop {
            again.tick().await;
            requests += 1;
            if let Some(message_id) = self.ask(&key, body.clone()).await {
                return Reply {
                    customer: wish.customer,
                    text: wish.text,
                    message_id,
                    requests,
                };
            }
        }
    }

    /// Asks once; `None` if it is to be asked again.
    async fn ask(&self, key: &str, body: String) -> Option<String> {
        let request = self
            .http
            .post(&self.url)
            .bearer_auth(ADMIN_KEY)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(body);
        // The hub is down, or went down before it had answered.
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.ok()?;
        match (status, answer["error"].as_str()) {
            (202, _) => Some(answer["messageId"].as_str().unwrap().to_owned()),
            // The hub is stopping; or the customer's message is kept, but the hub has not come to understanding it yet.
            (503, _) | (_, Some("window_closed")) => None,
            _ => panic!("the hub refused an answer with {status}: {answer}"),
        }
    }
}
