//! One node at a time leads a channel: others take over from one that is gone, and one that has lost a channel sends nothing for it.

use std::time::Duration;

use serde_json::json;
use tidings::conversations::model::ChannelId;
use tidings::store::leases::Lease;

use super::graph::Graph;
use crate::harness::{Harness, NUMBER, Setup, on_both_with, on_postgres, text};

fn whatsapp() -> ChannelId {
    ChannelId("whatsapp".to_owned())
}

/// The channel in somebody else's hands.
pub struct HeldChannel<'h> {
    harness: &'h Harness,
}

impl Harness {
    async fn lease(&self) -> Option<Lease> {
        let leases = self.hub().app().store.read(|tx| tx.leases()).await.unwrap();
        leases.into_iter().find(|lease| lease.channel_id == whatsapp())
    }

    /// Takes the channel away from the hub, as another node would: until it is released, as far as the hub can tell, or until the hub
    /// has not heard of that node for the length of a lease.
    pub async fn hold_channel(&self) -> HeldChannel<'_> {
        self.until("the channel is taken", async |harness| {
            let seen = harness.lease().await?;
            let now = harness.clock.now_millis();
            let store = &harness.hub().app().store;
            let taken = store.write(move |tx| tx.take_lease(&whatsapp(), Some(&seen), "somebody else", now + 60_000));
            taken.await.unwrap()
        })
        .await;
        HeldChannel { harness: self }
    }
}

impl HeldChannel<'_> {
    /// Shows the other node alive.
    pub async fn beat(&self) {
        let Some(lease) = self.harness.lease().await else {
            return;
        };
        let held = vec![(whatsapp(), lease.epoch)];
        let store = &self.harness.hub().app().store;
        let renewed = store.write(move |tx| tx.renew_leases("somebody else", &held, 0));
        assert_eq!(renewed.await.unwrap(), [whatsapp()], "the hub took the channel back");
    }

    /// Lets go of it.
    pub async fn release(self) {
        let store = &self.harness.hub().app().store;
        store
            .write(|tx| tx.release_leases(Some("somebody else")))
            .await
            .unwrap();
        self.harness.hub().app().leases.want();
    }
}

#[tokio::test]
async fn who_has_lost_a_channel_sends_nothing_for_it() {
    on_both_with(
        Setup::default().with("TIDINGS_SENDING_LEASE_MS", "10000"),
        async |harness| {
            harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
            harness.projected().await;
            let conversation = harness.conversation().await;
            let first = harness.reply(&conversation, "first").await;
            harness.message_until(&first, "accepted").await;

            let held = harness.hold_channel().await;
            let second = harness.reply(&conversation, "second").await;
            harness
                .until("the hub knows that it has lost the channel", async |harness| {
                    held.beat().await;
                    harness.nudge();
                    harness.hub().app().leases.lead(&whatsapp()).is_none().then_some(())
                })
                .await;
            harness.nudge();
            assert_eq!(harness.accepted("amara"), ["first"]);
            assert_eq!(harness.message(&second).await["status"], "queued");

            held.release().await;
            harness.message_until(&second, "accepted").await;
            assert_eq!(harness.accepted("amara"), ["first", "second"]);
        },
    )
    .await;
}

#[tokio::test]
async fn another_node_takes_over_from_one_that_died() {
    on_postgres(Setup::default(), async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let first = harness.reply(&conversation, "first").await;
        harness.message_until(&first, "accepted").await;
        let other = harness.another_hub(|_| ()).await;
        let leads = |hub: &tidings::server::Hub| {
            let lead = hub.app().leases.lead(&whatsapp());
            lead.is_some_and(|lead| !lead.yields())
        };
        assert!(!(leads(harness.hub()) && leads(other.hub())), "one leads at a time");

        let second = harness.reply(&conversation, "second").await;
        harness.message_until(&second, "accepted").await;
        // The one that leads dies; what the other one is asked to send goes out.
        harness.crash();
        let id = conversation["id"].as_str().unwrap().parse().unwrap();
        let order = tidings::sending::accept::Order {
            by: tidings::sending::accept::By::Conversation,
            to: tidings::sending::accept::To::Conversation(id),
            content: tidings::conversations::content::Content::text("third"),
            sender: tidings::conversations::model::Sender::Api,
            reply_to: None,
            purpose: tidings::sending::model::Purpose::Service,
            priority: None,
            send_at: None,
            fallback: None,
            route: None,
            queue: false,
            expires_at: None,
            metadata: None,
            idempotency: Vec::new(),
        };
        tidings::sending::accept::accept(other.hub().app(), order)
            .await
            .unwrap();
        harness
            .until("it was accepted", async |harness| {
                (harness.accepted("amara") == ["first", "second", "third"]).then_some(())
            })
            .await;
        other.stop().await;
        harness.restart().await;
        harness.projected().await;
    })
    .await;
}

/// Leases last longer here than a test waits: whoever stops in order lets go of its channels.
#[tokio::test]
async fn the_channels_of_a_node_that_is_stopped_are_sending_again_at_once() {
    let setup = Setup::default()
        .with("TIDINGS_SENDING_LEASE_MS", "60000")
        .with("TIDINGS_MASTER_KEY", &"0f".repeat(32));
    on_postgres(setup, async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let other = harness.another_hub(|_| ()).await;
        let leads = |hub: &tidings::server::Hub| hub.app().leases.lead(&whatsapp()).is_some();
        for words in ["first", "second", "third"] {
            let sent = harness.reply(&conversation, words).await;
            harness.message_until(&sent, "accepted").await;
        }
        // Whichever of the two leads the channel is stopped; the other one sends in its place.
        let is_here = leads(harness.hub());
        assert!(is_here || leads(other.hub()), "somebody has sent them");
        if is_here {
            harness.hand_over_to(other).await;
        } else {
            other.stop().await;
        }
        let last = harness.reply(&conversation, "last").await;
        harness.message_until(&last, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["first", "second", "third", "last"]);
    })
    .await;
}

#[tokio::test]
async fn two_nodes_send_everything_once_while_the_lead_changes_hands() {
    let graph = Graph::start().await;
    let setup = Setup::default()
        .with("WHATSAPP_API_BASE_URL", &graph.url())
        .with("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND", "200");
    on_postgres(setup, async |harness| {
        let other = harness.another_hub(|_| ()).await;
        let mut sent = Vec::new();
        for index in 0..60 {
            let body = json!({"channel": "whatsapp", "to": format!("+44770090{index:04}"),
                "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
            sent.push(harness.send(body).await);
            if index % 20 == 10 {
                // The hub loses the channel for a moment; either node takes it up again.
                harness.hold_channel().await.release().await;
            }
        }
        harness
            .until("all are settled", async |harness| {
                let figures = harness.hub().app().store.read(|tx| tx.outbox_figures()).await.unwrap();
                figures.is_empty().then_some(())
            })
            .await;
        let recipients = graph.recipients();
        assert_eq!(recipients.len(), 60);
        assert!(recipients.values().all(|count| *count == 1), "{recipients:?}");
        other.stop().await;
    })
    .await;
}

/// How many channels a hub leads.
fn led(hub: &tidings::server::Hub) -> usize {
    let app = hub.app();
    let channels = app.channels.all();
    channels
        .iter()
        .filter(|channel| app.leases.lead(&channel.id).is_some())
        .count()
}

#[tokio::test]
async fn channels_are_spread_over_the_nodes_and_none_pauses_for_it() {
    const NUMBERS: [&str; 3] = ["300000000000001", "300000000000002", "300000000000003"];
    const EACH: usize = 250;
    const PER_SECOND: usize = 50;
    let graph = Graph::start().await;
    let tables: Vec<String> = NUMBERS
        .iter()
        .enumerate()
        .map(|(index, number)| {
            format!(
                "[[channels]]\nid = \"more-{index}\"\nplatform = \"whatsapp\"\naccount = \"{number}\"\naccess_token = \"EAAmore\""
            )
        })
        .collect();
    let file = tables.join("\n");
    let setup = Setup::default()
        .with("WHATSAPP_API_BASE_URL", &graph.url())
        .with("TIDINGS_SENDING_LEASE_MS", "20000")
        .with("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND", &PER_SECOND.to_string())
        .with_file(&file);
    on_postgres(setup, async |harness| {
        harness
            .until("the hub leads all five", async |harness| {
                (led(harness.hub()) == 5).then_some(())
            })
            .await;
        for (index, _) in NUMBERS.iter().enumerate() {
            let messages: Vec<_> = (0..EACH)
                .map(|number| {
                    json!({"channel": format!("more-{index}"), "to": format!("+4477{index}0090{number:04}"),
                        "content": {"type": "template", "name": "hello_world", "language": "en_US"}})
                })
                .collect();
            let body = json!({ "messages": messages });
            harness.post("/api/v1/messages/batch", &body).await.expect(200);
        }
        let other = harness.another_hub(|_| ()).await;
        harness
            .until("each leads two or three", async |harness| {
                let both = [led(harness.hub()), led(other.hub())];
                (both == [2, 3] || both == [3, 2]).then_some(())
            })
            .await;
        harness
            .until("all are settled", async |harness| {
                let figures = harness.hub().app().store.read(|tx| tx.outbox_figures()).await.unwrap();
                figures.is_empty().then_some(())
            })
            .await;
        assert!(graph.recipients().values().all(|count| *count == 1), "each got it once");
        assert_eq!(graph.calls().len(), EACH * NUMBERS.len());
        for number in NUMBERS {
            let at: Vec<_> = graph
                .calls()
                .into_iter()
                .filter(|call| call.number == number)
                .map(|call| call.at)
                .collect();
            let all = at[at.len() - 1] - at[0];
            let least = Duration::from_secs(((EACH - PER_SECOND) / PER_SECOND) as u64) * 9 / 10;
            assert!(all >= least, "{number}: all of them within {all:?}");
            let pauses = at.windows(2).map(|two| two[1] - two[0]);
            let longest = pauses.max().unwrap();
            // Well below a lease: nobody has waited for one to run out. (It takes a few units of work; a busy machine takes its time for them.)
            assert!(longest < Duration::from_secs(12), "{number}: {longest:?}");
            for first in 0..at.len() - PER_SECOND {
                // Threads of a busy machine may hold a call up for a moment, after which the next one seems too soon.
                let apart = at[first + PER_SECOND] - at[first];
                assert!(
                    apart >= Duration::from_millis(500),
                    "{number}: {apart:?} from call {first}"
                );
            }
        }

        other.stop().await;
        harness
            .until("the hub leads all five again", async |harness| {
                (led(harness.hub()) == 5).then_some(())
            })
            .await;
    })
    .await;
}
