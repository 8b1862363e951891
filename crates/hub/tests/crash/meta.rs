//! Meta, simulated in the test's own process, so that it lives on while the hub is killed: several hundred customers on both products,
//! webhooks that are repeated soon, and no limit to the pace.

use std::time::Duration;

use serde_json::Value;
use tidings_sandbox::{
    Channel, Content, CustomerAddresses, Delays, FaultKind, FaultRequest, Identity, LedgerEntry, LedgerKind, Limits,
    NewCustomer, Object, Options, Rules, Sandbox, WebhookOptions, World,
};

const ON_WHATSAPP: usize = 220;
const ON_INSTAGRAM: usize = 130;
/// Each status comes this long after the one before.
const STEP: Duration = Duration::from_millis(20);

/// The simulated Meta.
#[derive(Debug)]
pub(crate) struct Meta {
    sandbox: Sandbox,
    customers: Vec<Customer>,
    http: reqwest::Client,
}

/// Somebody who writes.
#[derive(Debug)]
pub(crate) struct Customer {
    /// The sandbox's name for them.
    pub(crate) id: String,
    /// Meta's id of the number or account that they write to.
    pub(crate) account: String,
    /// The hub's name for that.
    pub(crate) channel: &'static str,
    /// As an answer is addressed.
    pub(crate) address: String,
    /// Every address that the hub may know them by.
    pub(crate) addresses: Vec<String>,
}

impl Meta {
    pub(crate) async fn start(seed: u64) -> Self {
        let mut world = World::default();
        world.numbers[0].throughput = u32::MAX;
        world.instagram_accounts[0].limits.messages_per_second = 0;
        world.customers = (0..ON_WHATSAPP + ON_INSTAGRAM).map(new_customer).collect();
        let (number, account) = (world.numbers[0].id.clone(), world.instagram_accounts[0].id.clone());
        let new = world.customers.clone();
        let options = Options {
            seed,
            webhooks: WebhookOptions {
                // Notifications of one to a few events.
                batch_max: 6,
                retry_first: Duration::from_millis(25),
                retry_max: Duration::from_millis(200),
                ..WebhookOptions::default()
            },
            delays: Delays {
                sent: STEP,
                delivered: STEP,
                read: Some(STEP),
            },
            rules: Rules {
                pair_limit: false,
                ..Rules::default()
            },
            limits: Limits {
                ledger_entries: 5_000_000,
                ..Limits::default()
            },
            world,
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let customers = new
            .into_iter()
            .map(|new| {
                let id = new.id.expect("each was given one");
                let known = sandbox.customer(&id).expect("it was made just now");
                match new.kind {
                    Some(Channel::Instagram) => customer(id, &account, "instagram", &known, new.identity),
                    _ => customer(id, &number, "whatsapp", &known, new.identity),
                }
            })
            .collect();
        // Some answers of Meta's never come although it took the message, so that outcomes stay unknown for other reasons too.
        let lost_answers = FaultRequest {
            endpoint: "messages".to_owned(),
            kind: FaultKind::TimeoutAfterAccept,
            delay_ms: Some(100),
            share: Some(0.05),
            ..FaultRequest::default()
        };
        sandbox.fault(lost_answers).unwrap();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self {
            sandbox,
            customers,
            http,
        }
    }

    /// What the hub has to be told to find this Meta.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.sandbox.environment()
    }

    pub(crate) fn customers(&self) -> &[Customer] {
        &self.customers
    }

    /// Has the hub called from now on.
    pub(crate) async fn subscribe(&self, hub_url: &str) {
        let environment = self.environment();
        for (object, path, token) in [
            (Object::WhatsApp, "whatsapp", "WHATSAPP_VERIFY_TOKEN"),
            (Object::Instagram, "instagram", "INSTAGRAM_VERIFY_TOKEN"),
        ] {
            let token = &environment.iter().find(|(name, _)| name == token).unwrap().1;
            self.sandbox
                .subscribe(object, &format!("{hub_url}/api/webhooks/{path}"), token)
                .await
                .unwrap();
        }
    }

    /// A customer writes; answers with the message's id.
    pub(crate) fn write(&self, customer: &Customer, text: String) -> String {
        let content = Content::Text { text, reply_to: None };
        self.sandbox.write(&customer.id, &customer.account, content).unwrap().0
    }

    /// The events that were acknowledged after a place in the ledger, which is moved on.
    pub(crate) async fn acknowledged_after(&self, after: &mut u64) -> Vec<String> {
        let url = format!(
            "{}/ledger?after={after}&kind=acknowledged&limit=1000",
            self.sandbox.url()
        );
        let reading: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        *after = reading["next"].as_u64().unwrap();
        reading["entries"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|entry| events_of(&entry["detail"]))
            .collect()
    }

    /// Waits until nothing is on its way any more: no webhook, no status.
    pub(crate) async fn settled(&self) {
        self.sandbox.settled().await;
    }

    /// Everything that happened.
    pub(crate) fn ledger(&self) -> Vec<LedgerEntry> {
        let ledger = self.sandbox.ledger();
        assert_eq!(ledger[0].sequence, 1, "the ledger was too short for this test");
        ledger
    }

    /// How many messages it has taken so far.
    pub(crate) fn taken(&self) -> usize {
        let is_taken = |entry: &&LedgerEntry| entry.kind == LedgerKind::Accepted;
        self.ledger().iter().filter(is_taken).count()
    }

    /// How many requests to send have had no answer although Meta took them.
    pub(crate) fn answers_lost(&self) -> usize {
        self.ledger()
            .iter()
            .filter(|entry| entry.kind == LedgerKind::Faulted)
            .count()
    }
}

/// The ids of the events in a ledger entry about a webhook.
pub(crate) fn events_of(detail: &Value) -> Vec<String> {
    detail["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

fn new_customer(number: usize) -> NewCustomer {
    // What a business sees of a WhatsApp customer differs, and with it how they are recognised.
    let identity = match number % 4 {
        0 => Identity::Phone,
        1 => Identity::Bsuid,
        _ => Identity::Both,
    };
    NewCustomer {
        id: Some(format!("customer-{number}")),
        name: format!("Customer {number}"),
        kind: Some(if number < ON_WHATSAPP {
            Channel::WhatsApp
        } else {
            Channel::Instagram
        }),
        identity,
        ..NewCustomer::default()
    }
}

fn customer(
    id: String,
    account: &str,
    channel: &'static str,
    known: &CustomerAddresses,
    identity: Identity,
) -> Customer {
    let addresses: Vec<String> = [&known.phone, &known.user_id, &known.igsid]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let address = match (&known.igsid, identity) {
        (Some(igsid), _) => igsid.clone(),
        (None, Identity::Bsuid | Identity::Blank) => known.user_id.clone().expect("everybody on WhatsApp has one"),
        (None, _) => format!("+{}", known.phone.as_ref().expect("everybody on WhatsApp has one")),
    };
    Customer {
        id,
        account: account.to_owned(),
        channel,
        address,
        addresses,
    }
}
