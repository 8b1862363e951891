//! Whatever happens to a message that follows a policy: one leg is at work at most, the order is kept, nothing is stuck or told twice.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Leave, Leg, LegState, Policy, Queued, Success, Verdict, further, judge};
use crate::clock::{Clock, from_millis};
use crate::conversations::content::Content;
use crate::conversations::model::{ChannelId, Failure, Message, Millis, Receipt, Receipts, Sender, Status};
use crate::ids::{ConversationId, Ids, MessageId};
use crate::sending::model::EntryState;

const BEGIN: Millis = 1_795_400_000_000;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Pass(Millis),
    /// A channel sends nothing, or does again.
    Switch(usize, bool),
    /// A message is taken in hand, if its channel sends.
    Take,
    /// What the call for it came to.
    End(Outcome),
    /// An event tells of a message of any leg that Meta may have.
    Tell(usize, Told),
    /// Somebody cancels what waits.
    Cancel,
    /// Whoever looks at legs looks.
    Look,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Accepted,
    Again,
    Unknown,
    Failed,
}

#[derive(Debug, Clone, Copy)]
enum Told {
    Sent,
    Delivered,
    Read,
    Failed,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(Outcome::Accepted),
        Just(Outcome::Again),
        Just(Outcome::Unknown),
        Just(Outcome::Failed)
    ];
    let told = prop_oneof![
        Just(Told::Sent),
        Just(Told::Delivered),
        Just(Told::Read),
        Just(Told::Failed)
    ];
    prop_oneof![
        3 => (0..20_000_i64).prop_map(Step::Pass),
        2 => (0..4_usize, any::<bool>()).prop_map(|(channel, is_down)| Step::Switch(channel, is_down)),
        4 => Just(Step::Take),
        4 => outcome.prop_map(Step::End),
        4 => (0..4_usize, told).prop_map(|(leg, told)| Step::Tell(leg, told)),
        1 => Just(Step::Cancel),
        6 => Just(Step::Look),
    ]
}

/// A message, its legs, and the world around them.
struct World {
    policy: Policy,
    order: Vec<ChannelId>,
    /// Whether the contact can be reached on each.
    reaches: Vec<bool>,
    down: Vec<bool>,
    legs: Vec<Leg>,
    messages: HashMap<MessageId, Message>,
    entries: HashMap<MessageId, EntryState>,
    /// What Meta may have.
    out: Vec<MessageId>,
    ids: Ids,
    now: Millis,
    late: usize,
}

impl World {
    fn new(policy: Policy, reaches: Vec<bool>, first: usize, lasts: Option<Millis>, email_first: bool) -> Self {
        let order: Vec<ChannelId> = (0..reaches.len())
            .map(|number| ChannelId(format!("c{number}")))
            .collect();
        let mut world = Self {
            down: vec![false; order.len()],
            ids: Ids::seeded(Clock::frozen_at(from_millis(BEGIN)), 7),
            legs: Vec::new(),
            messages: HashMap::new(),
            entries: HashMap::new(),
            out: Vec::new(),
            now: BEGIN,
            late: 0,
            policy,
            order,
            reaches,
        };
        let channel = world.order[first].clone();
        let id = world.queue(&channel);
        world.legs.push(Leg {
            expires_at: lasts.map(|lasts| BEGIN + lasts),
            email_first,
            ..Leg::first(id, channel, &world.policy, BEGIN)
        });
        world
    }

    fn queue(&mut self, channel: &ChannelId) -> MessageId {
        let id: MessageId = self.ids.next();
        let message = Message {
            id,
            channel_id: channel.clone(),
            conversation_id: ConversationId::MIN,
            outbound: true,
            sender: Sender::Api,
            content: Content::text("hello"),
            external_id: None,
            reply_to: None,
            inert: false,
            status: Status::Queued,
            receipts: Receipts::default(),
            failure: None,
            occurred_at: self.now,
            created_at: self.now,
            edited_at: None,
            deleted_at: None,
            maybe_duplicate: false,
            metadata: None,
            event_id: None,
        };
        self.messages.insert(id, message);
        self.entries.insert(id, EntryState::Waiting);
        id
    }

    fn at(&self, channel: &ChannelId) -> usize {
        self.order.iter().position(|other| other == channel).unwrap()
    }

    fn is_down(&self, channel: &ChannelId) -> bool {
        self.down[self.at(channel)]
    }

    /// Something changes the status of a message: its leg is due then.
    fn change(&mut self, id: MessageId, change: impl FnOnce(&mut Message)) {
        let message = self.messages.get_mut(&id).unwrap();
        let before = message.status;
        change(message);
        let status = message.status;
        if status != before && !matches!(status, Status::Queued | Status::Sending) {
            let leg = self.legs.iter_mut().find(|leg| leg.message_id == id).unwrap();
            leg.due_at = Some(0);
        }
    }

    fn perform(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Pass(time) => self.now += time,
            Step::Switch(channel, is_down) => {
                let channel = channel % self.order.len();
                self.down[channel] = *is_down;
            }
            Step::Take => {
                for leg in self.legs.clone() {
                    let is_to_be_sent = matches!(
                        self.entries.get(&leg.message_id),
                        Some(EntryState::Waiting | EntryState::Unknown)
                    );
                    if is_to_be_sent && !self.is_down(&leg.channel_id) {
                        self.entries.insert(leg.message_id, EntryState::Sending);
                        self.change(leg.message_id, |message| message.status = Status::Sending);
                        self.out.push(leg.message_id);
                    }
                }
            }
            Step::End(outcome) => {
                let sending: Vec<MessageId> = self
                    .legs
                    .iter()
                    .map(|leg| leg.message_id)
                    .filter(|id| self.entries.get(id) == Some(&EntryState::Sending))
                    .collect();
                for id in sending {
                    match outcome {
                        Outcome::Accepted => {
                            self.entries.remove(&id);
                            self.change(id, |message| {
                                message.receive(&Receipt::Accepted, now);
                            });
                        }
                        Outcome::Again => {
                            self.entries.insert(id, EntryState::Waiting);
                            self.change(id, |message| message.status = Status::Queued);
                        }
                        Outcome::Unknown => {
                            self.entries.insert(id, EntryState::Unknown);
                        }
                        Outcome::Failed => {
                            self.entries.remove(&id);
                            let failure = Some(Failure::ours("no"));
                            self.change(id, |message| {
                                message.receive(&Receipt::Failed(failure), now);
                            });
                        }
                    }
                }
            }
            Step::Tell(leg, told) => {
                let Some(id) = self.legs.get(*leg).map(|leg| leg.message_id) else {
                    return;
                };
                if !self.out.contains(&id) {
                    return;
                }
                let receipt = match told {
                    Told::Sent => Receipt::Sent,
                    Told::Delivered => Receipt::Delivered,
                    Told::Read => Receipt::Read,
                    Told::Failed => Receipt::Failed(Some(Failure::ours("no"))),
                };
                self.change(id, |message| {
                    message.receive(&receipt, now);
                });
                // An event settles what is not under way.
                if self.entries.get(&id).is_some_and(|state| *state != EntryState::Sending) {
                    self.entries.remove(&id);
                }
            }
            Step::Cancel => {
                for leg in self.legs.clone() {
                    if self.entries.get(&leg.message_id) == Some(&EntryState::Waiting) {
                        self.entries.remove(&leg.message_id);
                        self.change(leg.message_id, |message| message.status = Status::Cancelled);
                    }
                }
            }
            Step::Look => self.look(),
        }
        self.expire();
    }

    /// What waits beyond its time is ended.
    fn expire(&mut self) {
        let Some(expires_at) = self.legs[0].expires_at.filter(|at| *at <= self.now) else {
            return;
        };
        assert!(
            self.legs.iter().all(|leg| leg.at < expires_at),
            "nothing begins too late"
        );
        for leg in self.legs.clone() {
            if self.entries.get(&leg.message_id) == Some(&EntryState::Waiting) {
                self.entries.remove(&leg.message_id);
                self.change(leg.message_id, |message| message.status = Status::Expired);
            }
        }
    }

    /// As `Way::look` does: at what is due, and at what is at work on a channel that sends nothing.
    fn look(&mut self) {
        let is_due = self.legs.iter().any(|leg| {
            leg.due_at.is_some_and(|due| due <= self.now)
                || (leg.state == LegState::Working && self.is_down(&leg.channel_id))
        });
        if !is_due {
            return;
        }
        for index in 0..self.legs.len() {
            let leg = self.legs[index].clone();
            let entry = self.entries.get(&leg.message_id).copied();
            let status = self.messages[&leg.message_id].status;
            if !leg.state.is_at_work() {
                if leg.due_at.is_some() && self.legs[index].hear(status, self.policy.success, self.now) {
                    self.late += 1;
                    self.give_way();
                }
                continue;
            }
            let down = self.is_down(&leg.channel_id).then_some("it is down");
            let message = &self.messages[&leg.message_id];
            let verdict = judge(
                &leg,
                message,
                entry.map(|state| Queued { state, is_up: true }),
                self.policy.success,
                self.policy.fallback_after,
                down,
                self.now,
            );
            self.legs[index].follow(&verdict, status, entry.is_some());
            if let Verdict::MoveOn { leave, .. } = verdict {
                self.move_on(index, leave, entry, status);
            }
        }
    }

    fn move_on(&mut self, index: usize, leave: Leave, entry: Option<EntryState>, status: Status) {
        let leg = self.legs[index].clone();
        let next = further(&self.order, |id| id, &self.legs, &leg.channel_id)
            .into_iter()
            .find(|id| !self.is_down(id) && self.reaches[self.at(id)])
            .cloned();
        let Some(next) = next else {
            self.legs[index].strand("nowhere".to_owned(), None, status, entry.is_some());
            return;
        };
        self.legs[index].hand_on();
        match leave {
            Leave::AsItIs => assert_eq!(entry, None, "nothing of it is left in the queue"),
            Leave::Withdraw => {
                assert_eq!(entry, Some(EntryState::Waiting), "only what waits can be withdrawn");
                self.entries.remove(&leg.message_id);
                self.messages.get_mut(&leg.message_id).unwrap().status = Status::Cancelled;
            }
            Leave::GiveUp => {
                assert_ne!(entry, Some(EntryState::Waiting), "what waits is withdrawn");
                self.entries.remove(&leg.message_id);
                self.messages.get_mut(&leg.message_id).unwrap().status = Status::Failed;
            }
        }
        let id = self.queue(&next);
        let first = &self.legs[0];
        let leg = Leg {
            number: self.legs.len() as i64,
            message_id: id,
            expires_at: first.expires_at,
            ..Leg::first(first.origin_id, next, &self.policy, self.now)
        };
        self.legs.push(leg);
    }

    fn give_way(&mut self) {
        for index in 0..self.legs.len() {
            let id = self.legs[index].message_id;
            if self.legs[index].gives_way(self.entries.get(&id).copied()) {
                self.entries.remove(&id);
                self.messages.get_mut(&id).unwrap().status = Status::Cancelled;
                (self.legs[index].state, self.legs[index].due_at) = (LegState::Ended, None);
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let at_work = self.legs.iter().filter(|leg| leg.state.is_at_work()).count();
        prop_assert!(at_work <= 1, "one leg is at work: {:?}", self.legs);
        for (index, leg) in self.legs.iter().enumerate() {
            prop_assert_eq!(leg.number, index as i64);
            if leg.state == LegState::Left {
                prop_assert!(
                    !self.entries.contains_key(&leg.message_id),
                    "of a leg that was left nothing is sent any more"
                );
            }
            if leg.late_at.is_some() {
                prop_assert!(index + 1 < self.legs.len(), "only what was left can be late");
                prop_assert_eq!(leg.state, LegState::Reached);
            }
        }
        let mut taken: Vec<usize> = self.legs.iter().map(|leg| self.at(&leg.channel_id)).collect();
        if self.legs[0].email_first {
            taken.remove(0);
        }
        prop_assert!(taken.is_sorted_by(|a, b| a < b), "the order is kept: {taken:?}");
        let late = self.legs.iter().filter(|leg| leg.late_at.is_some()).count();
        prop_assert_eq!(self.late, late, "what comes late is told once");
        Ok(())
    }

    /// Every channel sends again, whatever is sent arrives and is told of, and it is looked at what is due, time and again.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.down.fill(false);
        for _ in 0..(4 * self.order.len() + 4) {
            for step in [
                Step::Pass(61_000),
                Step::Take,
                Step::End(Outcome::Accepted),
                Step::Tell(self.legs.len() - 1, Told::Read),
                Step::Look,
            ] {
                self.perform(&step);
                self.check()?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_history_keeps_the_order_and_comes_to_an_end(
        success in prop::sample::select(Success::ALL.to_vec()),
        fallback_after in prop::option::of(1..60_u64),
        reaches in prop::collection::vec(prop::bool::weighted(0.8), 1..5),
        first in 0..4_usize,
        lasts in prop::option::weighted(0.3, 1..200_000_i64),
        email_first in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let policy = Policy {
            success,
            fallback_after: fallback_after.map(Duration::from_secs),
            ..Policy::built_in()
        };
        let first = first % reaches.len();
        let mut world = World::new(policy, reaches, first, lasts, email_first);
        for step in &steps {
            world.perform(step);
            world.check()?;
        }
        world.settle()?;
        let stuck: Vec<&Leg> = world.legs.iter().filter(|leg| leg.state.is_at_work()).collect();
        prop_assert!(stuck.is_empty(), "{:?} of {:?}", stuck, world.messages);
        prop_assert!(world.entries.is_empty(), "{:?}", world.entries);
    }
}

#[test]
fn after_the_email_that_came_first_the_order_holds_and_nothing_goes_back() {
    let ids = Ids::seeded(Clock::frozen_at(from_millis(BEGIN)), 7);
    let channel = |name: &str| ChannelId(name.to_owned());
    let order = ["whatsapp", "backup", "email"].map(channel);
    let policy = Policy::built_in();
    let leg = |name: &str| Leg {
        email_first: true,
        ..Leg::first(ids.next(), channel(name), &policy, BEGIN)
    };
    let further_than = |legs: &[Leg], from: &str| -> Vec<String> {
        let found = further(&order, |id| id, legs, &channel(from));
        found.into_iter().map(|id| id.0.clone()).collect()
    };
    let first = leg("email");
    assert_eq!(
        further_than(std::slice::from_ref(&first), "email"),
        ["whatsapp", "backup"]
    );
    // The first of the order was down at that moment, and is not gone back to.
    assert!(further_than(&[first, leg("backup")], "backup").is_empty());
}
