//! That no limit is ever exceeded, and that little of it is wasted.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{HOUR_MILLIS, Left, MediaTurns, Pace, Rate, SPAN_MILLIS, Shares, Spent, Wait, span_of};
use crate::clock::{Clock, from_millis};
use crate::config::PaceConfig;
use crate::ids::{ConversationId, Ids};

const NOW: i64 = 1_795_400_000_000;

fn limits() -> PaceConfig {
    PaceConfig {
        per_second: 80,
        pair_pause: Duration::from_secs(6),
        pair_burst: 45,
        per_day: 0,
        contacts_per_day: 0,
        contact_per_hour: 0,
        per_hour: 0,
        private_per_hour: 0,
        media_per_second: 0,
    }
}

fn conversations() -> [ConversationId; 2] {
    let ids = Ids::seeded(Clock::frozen_at(from_millis(NOW)), 1);
    [ids.next(), ids.next()]
}

/// Calls as fast as they may be made, each so many microseconds late; answers with when each was made, in microseconds.
fn run(limit: u32, late_micros: &[u64], for_secs: u64) -> Vec<u64> {
    let begin = Instant::now();
    let mut rate = Rate::new(limit, begin);
    let mut now = begin;
    let mut made = Vec::new();
    for late in late_micros.iter().cycle() {
        let at = rate.next_at(now);
        now = at.max(now)
            + if at > now {
                Duration::from_micros(*late)
            } else {
                Duration::ZERO
            };
        if now.duration_since(begin) > Duration::from_secs(for_secs) {
            return made;
        }
        rate.note_call(now);
        made.push(now.duration_since(begin).as_micros() as u64);
    }
    made
}

/// A machine on which calls that may be made are held up for a while before they are on their way, all those together: what counts for the
/// next second is when they went.
#[test]
fn calls_that_are_held_up_do_not_come_too_close_before_those_of_a_second_later() {
    let limit = 100;
    let begin = Instant::now();
    let mut rate = Rate::new(limit, begin);
    let mut went = Vec::new();
    let (mut now, mut waiting) = (begin, Vec::new());
    while now.duration_since(begin) < Duration::from_secs(5) {
        if rate.next_at(now) <= now {
            waiting.push(rate.note_call(now));
        }
        // For the first half of each second nothing goes that was begun.
        if now.duration_since(begin).subsec_millis() >= 500 {
            for number in waiting.drain(..) {
                rate.note_start(number, now);
                went.push(now.duration_since(begin).as_micros() as u64);
            }
        }
        now += Duration::from_millis(1);
    }
    assert!(went.len() > 200, "{}", went.len());
    assert!(most_in_a_second(went) <= limit as usize);
}

/// The most that a server sees within one second.
fn most_in_a_second(mut seen: Vec<u64>) -> usize {
    seen.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for last in 0..seen.len() {
        while seen[last] - seen[first] >= 1_000_000 {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

proptest! {
    #[test]
    fn a_server_never_sees_more_than_the_limit_and_nearly_all_of_it_is_used(
        limit in prop_oneof![1_u32..200, Just(1_000_u32)],
        late in prop::collection::vec(0_u64..8_000, 1..50),
        jitter in prop::collection::vec(0_u64..10_000, 1..50),
    ) {
        let made = run(limit, &late, 20);
        let seen = made.iter().zip(jitter.iter().cycle()).map(|(at, jitter)| at + jitter).collect();
        prop_assert!(most_in_a_second(seen) <= limit as usize);
        let used = made.len() as f64 / (20.0 * f64::from(limit));
        prop_assert!(used >= 0.98 || made.len() as u32 + 1 >= 20 * limit * 98 / 100, "{used}");
    }

    /// One node has sent as fast as it may until it gave the channel away, and the next one does so from then on.
    #[test]
    fn a_server_does_not_notice_that_a_channel_was_handed_over(
        limit in prop_oneof![1_u32..200, Just(1_000_u32)],
        late in prop::collection::vec(0_u64..8_000, 1..50),
        jitter in prop::collection::vec(0_u64..10_000, 1..50),
        until_micros in 1_u64..3_000_000,
    ) {
        let before: Vec<u64> = run(limit, &late, 4).into_iter().filter(|at| *at <= until_micros).collect();
        let pause = Rate::handed_over_for(limit);
        prop_assert!(pause <= Duration::from_millis(1_010));
        let begin = before.last().copied().unwrap_or_default() + u64::try_from(pause.as_micros()).unwrap();
        let after = run(limit, &late, 3).into_iter().map(|at| at + begin);
        let seen = before.iter().copied().chain(after).zip(jitter.iter().cycle()).map(|(at, jitter)| at + jitter).collect();
        prop_assert!(most_in_a_second(seen) <= limit as usize);
    }

    #[test]
    fn stalls_are_not_followed_by_bursts(
        limit in 1_u32..300,
        late in prop::collection::vec(prop_oneof![9 => 0_u64..5_000, 1 => 0_u64..3_000_000], 1..80),
    ) {
        let made = run(limit, &late, 30);
        prop_assert!(most_in_a_second(made.clone()) <= limit as usize);
        // Within a tenth of a second no more than its share, and what the tolerance gives.
        let most = made.iter().map(|from| made.iter().filter(|at| (*from..from + 100_000).contains(at)).count()).max();
        prop_assert!(most.unwrap_or(0) as f64 <= f64::from(limit) * 0.155 + 2.0);
    }

    #[test]
    fn no_priority_starves(waits in prop::collection::vec(any::<[bool; 3]>(), 1..400)) {
        let mut shares = Shares::default();
        let mut hungry = [0; 3];
        for waits in waits {
            let next = shares.next(waits);
            prop_assert_eq!(next.is_none(), waits == [false; 3]);
            for index in 0..3 {
                hungry[index] = if waits[index] && next != Some(index) { hungry[index] + 1 } else { 0 };
            }
            prop_assert!(hungry.iter().all(|turns| *turns <= 42), "{:?}", hungry);
        }
    }

    #[test]
    fn a_recipient_never_gets_more_than_they_may(
        gaps in prop::collection::vec(prop_oneof![0_i64..500, 0_i64..20_000], 1..400),
    ) {
        let [conversation, _] = conversations();
        let mut pace = Pace::new(limits(), Instant::now());
        // A bucket as the simulator has it: 45, and one more every 6 seconds.
        let (mut bucket, mut filled_at) = (45.0_f64, NOW);
        let mut now = NOW;
        for gap in gaps {
            now += gap;
            if let Some((wait, until)) = pace.lanes.wait(conversation, now) {
                prop_assert_eq!(wait, Wait::PairLimit);
                prop_assert!(until > now && until <= now + 45 * 6_000);
                continue;
            }
            bucket = (bucket + (now - filled_at) as f64 / 6_000.0).min(45.0);
            filled_at = now;
            prop_assert!(bucket >= 1.0, "{bucket}");
            bucket -= 1.0;
            pace.lanes.note(conversation, now);
        }
    }
}

#[test]
fn priorities_share_in_proportion() {
    let mut shares = Shares::default();
    let mut turns = [0; 3];
    for _ in 0..2_100 {
        turns[shares.next([true; 3]).unwrap()] += 1;
    }
    assert_eq!(turns, [1_600, 400, 100]);
    // Who comes late has no turns saved up, and who waited all the time none lost.
    for _ in 0..1_000 {
        assert_eq!(shares.next([false, false, true]), Some(2));
    }
    let first: Vec<_> = (0..5).map(|_| shares.next([true, false, true]).unwrap()).collect();
    assert!(first.contains(&0), "{first:?}");
}

#[test]
fn a_new_leader_lets_a_second_pass() {
    let now = Instant::now();
    let rate = Rate::new(80, now + Rate::used_up_for());
    assert!(rate.next_at(now) >= now + Duration::from_secs(1));
}

#[test]
fn without_a_limit_nothing_waits() {
    let now = Instant::now();
    let mut rate = Rate::new(0, now);
    for _ in 0..10_000 {
        assert_eq!(rate.next_at(now), now);
        rate.note_call(now);
    }
    assert_eq!(rate.per_second(now), None);
}

#[test]
fn a_throttled_channel_halves_its_pace_and_comes_back_slowly() {
    let begin = Instant::now();
    let mut rate = Rate::new(80, begin);
    rate.slow_down(begin);
    assert_eq!(rate.per_second(begin), Some(40.0));
    rate.slow_down(begin + Duration::from_millis(300));
    assert_eq!(rate.per_second(begin), Some(40.0), "what was under way is one refusal");
    assert!(rate.is_slowed(begin + Duration::from_secs(5)));
    assert_eq!(rate.per_second(begin + Duration::from_secs(5)), Some(60.0));
    rate.slow_down(begin + Duration::from_secs(5));
    assert_eq!(rate.per_second(begin + Duration::from_secs(5)), Some(30.0));
    assert_eq!(rate.per_second(begin + Duration::from_mins(1)), Some(80.0));
    assert!(!rate.is_slowed(begin + Duration::from_mins(1)));
}

#[test]
fn a_throttled_channel_without_a_limit_goes_by_what_it_did() {
    let begin = Instant::now();
    let mut rate = Rate::new(0, begin);
    for _ in 0..600 {
        rate.note_call(begin);
    }
    rate.slow_down(begin);
    assert_eq!(rate.per_second(begin), Some(300.0));
    assert!(rate.next_at(begin) > begin);
    assert_eq!(rate.per_second(begin + Duration::from_secs(11)), None);
}

#[test]
fn a_burst_is_paid_back_before_anything_follows() {
    let [conversation, other] = conversations();
    let mut pace = Pace::new(limits(), Instant::now());
    for index in 0..20 {
        assert_eq!(pace.lanes.wait(conversation, NOW + index * 10), None);
        pace.lanes.note(conversation, NOW + index * 10);
    }
    // Twenty messages borrow two minutes.
    assert_eq!(
        pace.lanes.wait(conversation, NOW + 6_000),
        Some((Wait::PairLimit, NOW + 120_000))
    );
    assert_eq!(pace.lanes.wait(conversation, NOW + 120_000), None);
    assert_eq!(pace.lanes.wait(other, NOW + 6_000), None, "others are not concerned");
    pace.lanes.hold(conversation, NOW + 120_000, NOW + 136_000);
    assert_eq!(
        pace.lanes.wait(conversation, NOW + 121_000),
        Some((Wait::PairLimit, NOW + 136_000))
    );
}

#[test]
fn what_goes_at_a_pace_of_its_own_has_its_turn_the_urgent_before_the_others() {
    let mut turns = MediaTurns::default();
    let mut next = |priority: i64, now: i64| turns.next(priority, 10, now) - NOW;
    assert_eq!([next(2, NOW), next(2, NOW), next(2, NOW)], [101, 202, 303]);
    // An answer waits for other answers alone.
    assert_eq!([next(0, NOW), next(0, NOW)], [101, 202]);
    assert_eq!(next(1, NOW), 303, "and what is less urgent for those");
    assert_eq!(next(2, NOW), 404);
    assert_eq!(next(7, NOW + 5_000), 5_101, "nobody has saved up turns");
}

#[test]
fn idle_recipients_are_forgotten() {
    let ids = Ids::seeded(Clock::frozen_at(from_millis(NOW)), 2);
    let mut pace = Pace::new(limits(), Instant::now());
    for second in 0..100_000 {
        pace.lanes.note(ids.next(), NOW + second * 1_000);
    }
    assert!(
        pace.lanes.by_conversation.len() <= 2_048,
        "{}",
        pace.lanes.by_conversation.len()
    );
}

#[test]
fn the_calls_of_an_hour_are_used_up_and_come_back() {
    let mut pace = Pace::new(
        PaceConfig {
            per_hour: 200,
            ..limits()
        },
        Instant::now(),
    );
    assert_eq!(pace.left(NOW), Ok(200));
    pace.spent.add(NOW, 200);
    let (wait, until) = pace.left(NOW).unwrap_err();
    assert_eq!(wait, Wait::HourlyLimit);
    assert!((NOW + HOUR_MILLIS..=NOW + HOUR_MILLIS + SPAN_MILLIS).contains(&until));
    assert_eq!(pace.left(until), Ok(200));
}

#[test]
fn a_channel_rests_when_the_messages_of_its_account_are_used_up_and_looks_now_and_then() {
    let mut pace = Pace::new(limits(), Instant::now());
    assert!(!pace.looks_again(NOW));
    let until = Left::new(0, span_of(NOW)).more_at;
    assert!((NOW + 24 * HOUR_MILLIS..=NOW + 24 * HOUR_MILLIS + SPAN_MILLIS).contains(&until));
    pace.note_day(Some(until), NOW);
    assert_eq!(pace.left(NOW), Err((Wait::DailyLimit, until)));
    assert!(!pace.looks_again(NOW + 59_999));
    assert!(pace.looks_again(NOW + 60_000));
    assert_eq!(pace.left(until - 1), Err((Wait::DailyLimit, until)));
    assert_eq!(pace.left(until), Ok(u32::MAX));
    pace.note_day(None, NOW);
    assert_eq!(pace.left(NOW), Ok(u32::MAX));
}

#[test]
fn what_was_used_up_is_known_to_whoever_goes_on() {
    let mut first = Spent::default();
    first.add(NOW, 150);
    let second = Spent::new(first.spans.clone());
    assert_eq!(second.left(200, HOUR_MILLIS, NOW + 1), 50);
}

#[test]
fn one_recipient_has_their_own_hour() {
    let [conversation, other] = conversations();
    let mut pace = Pace::new(
        PaceConfig {
            pair_pause: Duration::ZERO,
            contact_per_hour: 3,
            ..limits()
        },
        Instant::now(),
    );
    for minute in 0..3 {
        assert_eq!(pace.lanes.wait(conversation, NOW + minute * 60_000), None);
        pace.lanes.note(conversation, NOW + minute * 60_000);
    }
    assert_eq!(
        pace.lanes.wait(conversation, NOW + 180_000),
        Some((Wait::HourlyLimit, NOW + HOUR_MILLIS))
    );
    assert_eq!(pace.lanes.wait(other, NOW + 180_000), None);
    assert_eq!(pace.lanes.wait(conversation, NOW + HOUR_MILLIS), None);
}
