//! No faster than Meta allows, and hardly slower; the most urgent first.

use std::time::Duration;

use serde_json::json;
use tidings::conversations::model::ChannelId;
use tidings::sending::model::Priority;
use tidings::store::StoreError;
use tidings_sandbox::{AccountLimits, Channel, FaultKind, FaultRequest, NewCustomer};

use super::answers::{self, waits_for};
use super::graph::{Call, Graph};
use super::routes::{OTHER_NUMBER, stop, two_numbers};
use crate::harness::{ACCOUNT, Harness, NUMBER, Setup, fault, on_both_with, text};

fn paced(graph: &Graph, per_second: u32) -> Setup {
    Setup::default()
        .with("WHATSAPP_API_BASE_URL", &graph.url())
        .with("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_SECOND", &per_second.to_string())
}

/// Whoever loses a channel does not take it back while a test fills the queue.
fn unhurried(setup: Setup) -> Setup {
    setup.with("TIDINGS_SENDING_LEASE_MS", "60000")
}

async fn write_first(harness: &Harness, count: usize) -> Vec<String> {
    let mut sent = Vec::new();
    for index in 0..count {
        let body = json!({"channel": "whatsapp", "to": format!("+44770090{index:04}"),
            "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
        sent.push(harness.send(body).await);
    }
    sent
}

async fn until_called(harness: &Harness, graph: &Graph, count: usize) -> Vec<Call> {
    harness
        .until(&format!("{count} calls came"), async |_| {
            let calls = graph.calls();
            (calls.len() >= count).then_some(calls)
        })
        .await
}

#[tokio::test]
async fn a_backlog_goes_out_at_the_pace_and_no_faster() {
    const PER_SECOND: usize = 40;
    let graph = Graph::start().await;
    on_both_with(paced(&graph, PER_SECOND as u32), async |harness| {
        let before = graph.calls().len();
        write_first(harness, 100).await;
        let calls = until_called(harness, &graph, before + 100).await[before..].to_vec();
        for first in 0..calls.len() - PER_SECOND {
            // Threads of a busy machine may hold a call up for a moment, after which the next one seems too soon.
            let apart = calls[first + PER_SECOND].at.duration_since(calls[first].at);
            assert!(apart >= Duration::from_millis(500), "{apart:?} from call {first}");
        }
        // Three seconds' worth of calls, of which the first may go at once.
        let all = calls[99].at.duration_since(calls[0].at);
        assert!(all >= Duration::from_millis(1_700), "{all:?}");
    })
    .await;
}

#[tokio::test]
async fn a_reply_overtakes_a_backlog_and_the_backlog_goes_on() {
    const PER_SECOND: usize = 50;
    let graph = Graph::start().await;
    on_both_with(paced(&graph, PER_SECOND as u32), async |harness| {
        harness.sandbox.write("amara", NUMBER, text("hello")).unwrap();
        harness.projected().await;
        let conversation = harness.conversation().await;
        let before = graph.calls().len();
        let sent = write_first(harness, 150).await;
        until_called(harness, &graph, before + 10).await;
        harness.reply(&conversation, "at once").await;
        let calls = graph.calls().len();
        let place = harness
            .until("the reply came", async |_| {
                let calls = graph.calls();
                calls.iter().skip(before).position(|call| call.body["type"] == "text")
            })
            .await;
        // What was in hand already goes before it: about a tenth of a second's worth, and as much again under way to the store.
        assert!(
            place + before - calls <= PER_SECOND / 2,
            "{place} after {}",
            calls - before
        );
        harness.message_until(sent.last().unwrap(), "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn bulk_goes_on_beside_replies() {
    let graph = Graph::start().await;
    on_both_with(unhurried(paced(&graph, 100)), async |harness| {
        let before = graph.calls().len();
        let store = harness.hub().app().store.clone();
        // Nothing goes out until everything waits.
        let held = harness.hold_channel().await;
        let bulk = write_first(harness, 120).await;
        let ids: Vec<tidings::ids::MessageId> = bulk[..60].iter().map(|id| id.parse().unwrap()).collect();
        store
            .write(move |tx| {
                for entry in tx.lock_entries(&ids)? {
                    tx.remove_entry(&entry)?;
                    tx.insert_outbox(&tidings::sending::model::OutboxEntry {
                        priority: Priority::Bulk as i64,
                        ..entry
                    })?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        held.release().await;
        let calls = until_called(harness, &graph, before + 120).await[before..].to_vec();
        let bulk_at: Vec<usize> = (0..60)
            .map(|index| {
                let to = format!("44770090{index:04}");
                calls.iter().position(|call| call.to == to).unwrap()
            })
            .collect();
        assert!(*bulk_at.iter().min().unwrap() < 20, "bulk does not starve: {bulk_at:?}");
        assert!(
            bulk_at.iter().filter(|place| **place < 60).count() < 20,
            "notifications go first: {bulk_at:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn one_recipient_who_has_had_enough_holds_up_nobody_else() {
    let setup = Setup::default().with("TIDINGS_SENDING_WHATSAPP_PAIR_BURST", "2");
    on_both_with(setup, async |harness| {
        for customer in ["amara", "jonas"] {
            harness.sandbox.write(customer, NUMBER, text("hello")).unwrap();
        }
        harness.projected().await;
        let conversations = harness.conversations().await;
        let of = |name: &str| {
            let named = |conversation: &&serde_json::Value| conversation["contact"]["name"] == name;
            conversations.iter().find(named).unwrap()
        };
        let mut sent = Vec::new();
        for number in ["one", "two", "three"] {
            sent.push(harness.reply(of("Amara Okafor"), number).await);
        }
        harness.message_until(&sent[1], "accepted").await;
        let waiting = harness
            .until("the third one waits", async |harness| {
                let (_, document) = harness.timeline(&sent[2]).await;
                (document["waiting"]["waitsFor"] == "pair_limit").then_some(document["waiting"].clone())
            })
            .await;
        assert_eq!(waiting["attempts"], 0);
        let other = harness.reply(of("Jonas Weber"), "other").await;
        harness.message_until(&other, "accepted").await;
        assert_eq!(harness.accepted("amara"), ["one", "two"]);
        harness.pass(Duration::from_secs(11)).await;
        assert_eq!(harness.accepted("amara"), ["one", "two"], "the debt is not yet paid");

        // Whoever goes on knows what was sent.
        harness.restart().await;
        harness.pass(Duration::from_secs(2)).await;
        harness.message_until(&sent[2], "accepted").await;
        assert_eq!(harness.accepted("amara"), ["one", "two", "three"]);
    })
    .await;
}

#[tokio::test]
async fn what_an_hour_and_a_day_allow_is_kept_over_a_restart() {
    for (variable, waits_for) in [
        ("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_HOUR", "hourly_limit"),
        ("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_DAY", "daily_limit"),
        ("TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY", "tier_limit"),
    ] {
        let graph = Graph::start().await;
        on_both_with(paced(&graph, 0).with(variable, "3"), async |harness| {
            let before = graph.calls().len();
            let sent = write_first(harness, 5).await;
            until_called(harness, &graph, before + 3).await;
            harness.restart().await;
            harness
                .until("the others wait", async |harness| {
                    let (_, document) = harness.timeline(&sent[4]).await;
                    let waiting = &document["waiting"];
                    (waiting["waitsFor"] == waits_for && waiting["waitsUntil"].is_string()).then_some(())
                })
                .await;
            assert_eq!(graph.calls().len(), before + 3);
            harness.pass(Duration::from_hours(24) + Duration::from_mins(6)).await;
            // A message lives for a day: these two were seen off.
            harness.message_until(&sent[4], "expired").await;
            write_first(harness, 2).await;
            until_called(harness, &graph, before + 5).await;
        })
        .await;
    }
}

/// Two numbers of one account: the channels `whatsapp` and `second`.
fn of_one_account(graph: &Graph) -> Setup {
    let setup = two_numbers()
        .with("WHATSAPP_API_BASE_URL", &graph.url())
        .without("WHATSAPP_BACKUP_PHONE_NUMBER_ID")
        .without("WHATSAPP_BACKUP_ACCESS_TOKEN");
    let world = &setup.sandbox.world;
    let account = &world.numbers[1].business_account_id;
    let token = &world.tokens[0].value;
    let second = format!(
        "[[channels]]\nid = \"second\"\nplatform = \"whatsapp\"\naccount = \"{OTHER_NUMBER}\"\n\
         business_account = \"{account}\"\naccess_token = \"{token}\"\n"
    );
    setup.with_file(&second)
}

#[tokio::test]
async fn what_a_day_allows_is_shared_by_the_numbers_of_an_account() {
    for (variable, waits_for) in [
        ("TIDINGS_SENDING_WHATSAPP_MESSAGES_PER_DAY", "daily_limit"),
        ("TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY", "tier_limit"),
    ] {
        let graph = Graph::start().await;
        let setup = of_one_account(&graph).with(variable, "5");
        on_both_with(setup, async |harness| {
            let other_node = if harness.is_shared() {
                Some(harness.another_node().await)
            } else {
                None
            };
            let before = graph.calls().len();
            let mut sent = Vec::new();
            for index in 0..4 {
                for from in ["whatsapp", "second"] {
                    let body = json!({"from": from, "to": format!("+44770090{index}{:03}", from.len()),
                        "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
                    sent.push(harness.send(body).await);
                }
            }
            until_called(harness, &graph, before + 5).await;
            let mut waiting = 0;
            for id in &sent {
                waiting += harness
                    .until("it is called for, or waits", async |harness| {
                        if harness.message(id).await["status"] == "accepted" {
                            return Some(0);
                        }
                        let (_, document) = harness.timeline(id).await;
                        (document["waiting"]["waitsFor"] == waits_for).then_some(1)
                    })
                    .await;
            }
            assert_eq!((waiting, graph.calls().len()), (3, before + 5));
            if let Some(node) = other_node {
                node.stop().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn one_person_counts_once_however_many_numbers_write_to_them() {
    let graph = Graph::start().await;
    let setup = of_one_account(&graph).with("TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY", "1");
    on_both_with(setup, async |harness| {
        let write = async |from: &str, to: &str| {
            let body = json!({"from": from, "to": to,
                "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
            harness.send(body).await
        };
        for from in ["whatsapp", "second", "whatsapp"] {
            let sent = write(from, "+447700900101").await;
            harness.message_until(&sent, "accepted").await;
        }
        let other = write("second", "+447700900102").await;
        waits_for(harness, &other, "tier_limit").await;
        // There is room again a day later, and what waits for it goes out.
        harness.pass(Duration::from_hours(12)).await;
        let patient = json!({"from": "whatsapp", "to": "+447700900103", "expiresAt": "2030-01-01T00:00:00Z",
            "content": {"type": "template", "name": "hello_world", "language": "en_US"}});
        let patient = harness.send(patient).await;
        waits_for(harness, &patient, "tier_limit").await;
        harness.pass(Duration::from_hours(12) + Duration::from_mins(6)).await;
        harness.message_until(&other, "expired").await;
        harness.message_until(&patient, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn a_reply_does_not_wait_behind_what_waits_for_the_tier() {
    let graph = Graph::start().await;
    let setup = paced(&graph, 0).with("TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY", "1");
    on_both_with(setup, async |harness| {
        let first = answers::write_first(harness, "+447700900001").await;
        harness.message_until(&first, "accepted").await;
        let waiting = answers::write_first(harness, "+447700900002").await;
        waits_for(harness, &waiting, "tier_limit").await;
        let conversation = harness.message(&waiting).await["conversationId"].clone();
        // Also what waits for the same goes in its order; who has been written to already is no further person.
        let second = answers::write_first(harness, "+447700900002").await;
        waits_for(harness, &second, "tier_limit").await;
        let again = answers::write_first(harness, "+447700900001").await;
        harness.message_until(&again, "accepted").await;
        let before = graph.calls().len();
        let app = harness.hub().app();
        let now = app.clock.now_millis();
        let id: tidings::ids::ConversationId = conversation.as_str().unwrap().parse().unwrap();
        // Their window opens, as when they write, but nobody is told: what waits stays where it is until it is recalled.
        app.store
            .write(move |tx| {
                let mut conversation = tx.lock_conversation(id)?.expect("it is there");
                conversation.window_ends_at = Some(now + 3_600_000);
                tx.update_conversations(&[&conversation])
            })
            .await
            .unwrap();
        let reply = harness
            .send(json!({"to": {"conversation": conversation}, "message": "at once"}))
            .await;
        harness.message_until(&reply, "accepted").await;
        assert_eq!(graph.calls()[before..].len(), 1);
        for id in [&waiting, &second] {
            waits_for(harness, id, "tier_limit").await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_writes_is_answered_although_nobody_else_may_be_written_to() {
    let graph = Graph::start().await;
    let setup = paced(&graph, 0).with("TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY", "1");
    on_both_with(setup, async |harness| {
        let before = graph.calls().len();
        write_first(harness, 1).await;
        until_called(harness, &graph, before + 1).await;
        // Amara's number: she is the second one.
        let amara = answers::write_first(harness, "+447700900101").await;
        waits_for(harness, &amara, "tier_limit").await;
        harness.sandbox.write("amara", NUMBER, text("hello?")).unwrap();
        harness.projected().await;
        let conversation = harness.message(&amara).await["conversationId"].clone();
        let answer = harness
            .send(json!({"to": {"conversation": conversation}, "message": "yes?"}))
            .await;
        harness.message_until(&amara, "accepted").await;
        harness.message_until(&answer, "accepted").await;
    })
    .await;
}

#[tokio::test]
async fn who_was_not_written_to_after_all_does_not_count_as_reached() {
    let setup = Setup::default()
        .with("TIDINGS_SENDING_PARALLEL", "1")
        .with("TIDINGS_SENDING_WHATSAPP_CONTACTS_PER_DAY", "3");
    on_both_with(setup, async |harness| {
        // The first call takes a minute, while the others are in hand.
        let slow = FaultRequest {
            delay_ms: Some(60_000),
            ..fault(FaultKind::Delay)
        };
        harness.sandbox.fault(slow).unwrap();
        let sent = write_first(harness, 3).await;
        for id in &sent {
            harness.message_until(id, "sending").await;
        }
        stop(harness, "whatsapp", "stop").await;
        for id in &sent[1..] {
            harness.message_until(id, "queued").await;
            let cancel = format!("/admin/messages/{id}/cancel");
            harness.post(&cancel, &json!({})).await.expect(200);
        }
        harness.pass(Duration::from_secs(61)).await;
        harness
            .until("the first one has ended", async |harness| {
                let status = harness.message(&sent[0]).await["status"].clone();
                (status != "sending").then_some(())
            })
            .await;
        stop(harness, "whatsapp", "start").await;
        for number in [1, 2] {
            let id = answers::write_first(harness, &format!("+44770090010{number}")).await;
            harness.message_until(&id, "accepted").await;
        }
        let fourth = answers::write_first(harness, "+447700900199").await;
        waits_for(harness, &fourth, "tier_limit").await;
    })
    .await;
}

#[tokio::test]
async fn on_instagram_audio_and_video_go_at_a_pace_of_their_own_and_hold_nothing_else_up() {
    const VIDEOS: usize = 3;
    let mut setup = Setup::default().with("TIDINGS_SENDING_INSTAGRAM_MEDIA_PER_SECOND", "1");
    let names: Vec<String> = (0..=VIDEOS).map(|number| format!("viewer{number}")).collect();
    let world = &mut setup.sandbox.world;
    // Time stands still on that side: what goes out in any second of ours would come too fast there.
    world.instagram_accounts[0].limits = AccountLimits::none();
    world.customers.extend(names.iter().map(|name| NewCustomer {
        id: Some(name.clone()),
        name: name.clone(),
        username: Some(name.clone()),
        kind: Some(Channel::Instagram),
        ..NewCustomer::default()
    }));
    on_both_with(setup, async |harness| {
        for name in &names {
            harness.sandbox.write(name, ACCOUNT, text("hello")).unwrap();
        }
        harness.projected().await;
        // Who somebody is Meta has to be asked first.
        let mut conversations = Vec::new();
        for name in &names {
            let found = harness.until("they are known", async |harness| {
                let named = |of: &serde_json::Value| of["contact"]["username"] == name.as_str();
                harness.conversations().await.into_iter().find(named)
            });
            conversations.push(found.await["id"].clone());
        }
        let begun = std::time::Instant::now();
        let mut videos = Vec::new();
        for conversation in &conversations[..VIDEOS] {
            let content = json!({"type": "video", "link": "https://cdn.example.com/v.mp4"});
            let body = json!({"to": {"conversation": conversation}, "content": content});
            videos.push(harness.send(body).await);
        }
        let words = json!({"to": {"conversation": conversations[VIDEOS]}, "message": "at once"});
        let words = harness.send(words).await;
        harness.message_until(&words, "accepted").await;
        let statuses = async || {
            let mut accepted = 0;
            for id in &videos {
                accepted += usize::from(harness.message(id).await["status"] == "accepted");
            }
            accepted
        };
        // However slow the machine is: not all of them have gone before the pace allows it.
        let gone = statuses().await;
        assert!(gone < VIDEOS || begun.elapsed() > Duration::from_secs(2), "{gone}");
        for id in &videos {
            // What waits longer is due by the clock of the hub, which stands still but for this.
            harness
                .until("the video went out", async |harness| {
                    harness.clock.advance(Duration::from_millis(50));
                    harness.nudge();
                    (harness.message(id).await["status"] == "accepted").then_some(())
                })
                .await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_queue_is_told_by_figures() {
    on_both_with(unhurried(Setup::default()), async |harness| {
        let held = harness.hold_channel().await;
        write_first(harness, 4).await;
        let figures = harness.hub().app().store.read(|tx| tx.outbox_figures()).await.unwrap();
        assert_eq!(figures.iter().map(|figure| figure.count).sum::<i64>(), 4);
        assert!(
            figures
                .iter()
                .all(|figure| figure.channel_id == ChannelId("whatsapp".to_owned()))
        );
        harness
            .until("the gauge says so", async |harness| {
                let gauge = harness
                    .metric("tidings_queue_length{channel=\"whatsapp\",state=\"waiting\"}")
                    .await;
                (gauge == 4).then_some(())
            })
            .await;
        held.release().await;
        harness
            .until("it is empty", async |harness| {
                let figures = harness.hub().app().store.read(|tx| tx.outbox_figures()).await.unwrap();
                figures.is_empty().then_some(())
            })
            .await;
    })
    .await;
}
