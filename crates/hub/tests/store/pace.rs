//! How much a channel has sent, and what it waits for.

use tidings::conversations::model::Millis;
use tidings::ids::ConversationId;
use tidings::sending::model::{ChannelPace, Wait};

use crate::harness::{BEGIN, on_both};
use crate::samples::{backup, whatsapp};

#[test]
fn calls_are_counted_by_span() {
    on_both(async |lab| {
        lab.write(|tx| {
            tx.add_pace_count(&whatsapp(), 7, 5)?;
            tx.add_pace_count(&whatsapp(), 7, 2)?;
            tx.add_pace_count(&whatsapp(), 8, 1)?;
            tx.add_pace_count(&backup(), 8, 9)
        })
        .await;
        let counts = |since: i64| lab.read(move |tx| tx.pace_counts(&whatsapp(), since));
        assert_eq!(counts(0).await, [(7, 7), (8, 1)]);
        assert_eq!(counts(8).await, [(8, 1)]);
        assert_eq!(lab.write(|tx| tx.prune_pace(&whatsapp(), 8, BEGIN)).await, 1);
        assert_eq!(counts(0).await, [(8, 1)]);
    });
}

#[test]
fn people_are_counted_once_by_when_they_were_last_written_to() {
    on_both(async |lab| {
        let people: [ConversationId; 3] = [lab.ids.next(), lab.ids.next(), lab.ids.next()];
        let note = |people: Vec<ConversationId>, at: Millis| {
            lab.write(move |tx| tx.note_contacts_reached(&whatsapp(), &people, at))
        };
        note(people[..2].to_vec(), 1_000).await;
        note(people[1..2].to_vec(), 2_500).await;
        let asked = people.to_vec();
        let mut reached = lab.read(move |tx| tx.contacts_reached(&whatsapp(), &asked)).await;
        reached.sort();
        assert_eq!(reached, [(people[0], 1_000), (people[1], 2_500)]);
        let spans = |since: Millis| lab.read(move |tx| tx.contacts_reached_by_span(&whatsapp(), since, 1_000));
        assert_eq!(spans(0).await, [(1, 1), (2, 1)]);
        assert_eq!(spans(2_000).await, [(2, 1)]);
        assert_eq!(lab.write(|tx| tx.prune_pace(&whatsapp(), 0, 2_000)).await, 1);
        assert_eq!(spans(0).await, [(2, 1)]);
    });
}

#[test]
fn who_was_not_written_to_after_all_is_as_before() {
    on_both(async |lab| {
        let people: [ConversationId; 4] = [lab.ids.next(), lab.ids.next(), lab.ids.next(), lab.ids.next()];
        let note = |people: Vec<ConversationId>, at: Millis| {
            lab.write(move |tx| tx.note_contacts_reached(&whatsapp(), &people, at))
        };
        note(vec![people[0], people[3]], 1_000).await;
        note(people.to_vec(), 2_000).await;
        note(vec![people[2], people[3]], 3_000).await;
        let taken_back = [
            (people[0], 2_000, Some(1_000)),
            (people[1], 2_000, None),
            // These were written to since.
            (people[2], 2_000, None),
            (people[3], 2_000, Some(1_000)),
        ];
        lab.write(move |tx| tx.take_back_contacts_reached(&whatsapp(), &taken_back))
            .await;
        let mut reached = lab.read(move |tx| tx.contacts_reached(&whatsapp(), &people)).await;
        reached.sort();
        let mut expected = [(people[0], 1_000), (people[2], 3_000), (people[3], 3_000)];
        expected.sort();
        assert_eq!(reached, expected);
    });
}

#[test]
fn a_channel_says_what_it_waits_for() {
    on_both(async |lab| {
        let mut said = ChannelPace {
            channel_id: whatsapp(),
            waits_for: Wait::Throttled,
            until: Some(BEGIN + 60_000),
            per_second: Some(40),
            said_at: BEGIN,
        };
        for _ in 0..2 {
            let now = said.clone();
            lab.write(move |tx| tx.say_channel_pace(&now)).await;
            assert_eq!(lab.read(|tx| tx.channel_paces()).await, [said.clone()]);
            assert_eq!(lab.read(|tx| tx.channel_pace(&whatsapp())).await, Some(said.clone()));
            assert_eq!(lab.read(|tx| tx.channel_pace(&backup())).await, None);
            said.waits_for = Wait::Turn;
            said.until = None;
            said.per_second = None;
        }
    });
}
