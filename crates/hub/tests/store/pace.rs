//! How much a channel has sent, what its account has used up, and what it waits for.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tidings::conversations::model::Millis;
use tidings::ids::ContactId;
use tidings::sending::model::{BudgetKind, ChannelPace, Wait};
use tidings::store::StoreError;

use crate::harness::{BEGIN, on_both, on_postgres};
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
        assert_eq!(lab.write(|tx| tx.prune_pace(&whatsapp(), 8)).await, 1);
        assert_eq!(counts(0).await, [(8, 1)]);
    });
}

const ACCOUNT: &str = "account:305918274660123";
const OTHER: &str = "channel:whatsapp";

#[test]
fn what_an_account_uses_is_added_up_by_span() {
    on_both(async |lab| {
        let add = |budget: &'static str, kind: BudgetKind, used: &[(i64, i64)]| {
            let used: BTreeMap<i64, i64> = used.iter().copied().collect();
            lab.write(move |tx| tx.add_to_budget(budget, kind, &used))
        };
        let used = |kind: BudgetKind, since: i64| lab.read(move |tx| tx.budget_used(ACCOUNT, kind, since));
        let first = |kind: BudgetKind, since: i64| lab.read(move |tx| tx.budget_first_used(ACCOUNT, kind, since));
        assert_eq!(used(BudgetKind::Messages, 0).await, 0);
        assert_eq!(first(BudgetKind::Messages, 0).await, None);
        add(ACCOUNT, BudgetKind::Messages, &[(5, 3), (6, 0), (7, 4)]).await;
        add(ACCOUNT, BudgetKind::Messages, &[(5, -3), (7, 1)]).await;
        add(ACCOUNT, BudgetKind::People, &[(4, 9)]).await;
        add(OTHER, BudgetKind::Messages, &[(7, 100)]).await;
        assert_eq!(used(BudgetKind::Messages, 0).await, 5);
        assert_eq!(used(BudgetKind::Messages, 8).await, 0);
        assert_eq!(used(BudgetKind::People, 0).await, 9);
        assert_eq!(
            first(BudgetKind::Messages, 0).await,
            Some(7),
            "what was taken back is not used"
        );
        assert_eq!(first(BudgetKind::Messages, 8).await, None);
        for plan in lab.plans(&["FROM budget_counts", "span >="]) {
            assert!(!plan.contains("Seq Scan") && !plan.contains("SCAN"), "{plan}");
        }
        assert_eq!(lab.write(|tx| tx.prune_budget(ACCOUNT, 7, BEGIN)).await, 2);
        assert_eq!(used(BudgetKind::Messages, 0).await, 5);
        assert_eq!(used(BudgetKind::People, 0).await, 0);
    });
}

#[test]
fn people_are_known_by_when_they_were_last_written_to() {
    on_both(async |lab| {
        let people: [ContactId; 3] = [lab.ids.next(), lab.ids.next(), lab.ids.next()];
        let note = |budget: &'static str, people: Vec<ContactId>, at: Millis| {
            lab.write(move |tx| tx.note_people_reached(budget, &people, at))
        };
        note(ACCOUNT, people[..2].to_vec(), 1_000).await;
        note(ACCOUNT, people[1..2].to_vec(), 2_500).await;
        note(OTHER, people[2..].to_vec(), 1_000).await;
        let reached = || async {
            let mut reached = lab.read(move |tx| tx.people_reached(ACCOUNT, &people)).await;
            reached.sort();
            reached
        };
        let mut expected = [(people[0], 1_000), (people[1], 2_500)];
        expected.sort();
        assert_eq!(reached().await, expected);
        assert_eq!(lab.write(|tx| tx.prune_budget(ACCOUNT, 0, 2_000)).await, 1);
        assert_eq!(reached().await, [(people[1], 2_500)]);
    });
}

#[test]
fn who_was_not_written_to_after_all_is_as_before() {
    on_both(async |lab| {
        let people: [ContactId; 4] = [lab.ids.next(), lab.ids.next(), lab.ids.next(), lab.ids.next()];
        let note =
            |people: Vec<ContactId>, at: Millis| lab.write(move |tx| tx.note_people_reached(ACCOUNT, &people, at));
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
        let mut as_before = lab
            .write(move |tx| tx.take_back_people_reached(ACCOUNT, &taken_back))
            .await;
        as_before.sort();
        let mut expected = vec![people[0], people[1]];
        expected.sort();
        assert_eq!(as_before, expected);
        let mut reached = lab.read(move |tx| tx.people_reached(ACCOUNT, &people)).await;
        reached.sort();
        let mut expected = [(people[0], 1_000), (people[2], 3_000), (people[3], 3_000)];
        expected.sort();
        assert_eq!(reached, expected);
    });
}

#[test]
fn who_looks_what_is_left_waits_for_whoever_has_looked_before() {
    on_postgres(async |lab| {
        const UNITS: usize = 8;
        const LIMIT: i64 = 5;
        let store = lab.store.clone();
        let units = (0..UNITS).map(|_| {
            store.write(move |tx| {
                tx.lock_budget(ACCOUNT)?;
                if tx.budget_used(ACCOUNT, BudgetKind::People, 0)? < LIMIT {
                    tx.add_to_budget(ACCOUNT, BudgetKind::People, &BTreeMap::from([(1, 1)]))?;
                }
                Ok::<_, StoreError>(())
            })
        });
        for unit in join_all(units).await {
            unit.unwrap();
        }
        let used = lab.read(|tx| tx.budget_used(ACCOUNT, BudgetKind::People, 0)).await;
        assert_eq!(used, LIMIT);
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
