//! How channels are spread over nodes: which of its channels a node gives to which others. Pure.
//!
//! Each node looks by itself at how many channels each node leads, and gives away what it has too many of, a few at a time. When nobody has
//! any to give, no two nodes differ by more than one.

use std::collections::BTreeMap;

/// How many channels a node gives away at once.
const GIVEN_MAX: usize = 16;

/// To whom a node gives a channel each, of nodes that are alive, itself among them; `led` is how many channels each of them leads.
pub fn given(node: &str, led: &BTreeMap<String, usize>) -> Vec<String> {
    let Some(own) = led.get(node).copied() else {
        return Vec::new();
    };
    let total: usize = led.values().sum();
    let (least, most) = (total / led.len(), total.div_ceil(led.len()));
    let mut led = led.clone();
    let mut given = Vec::new();
    let mut give = |upto: usize, led: &mut BTreeMap<String, usize>| {
        let poorest = led.iter_mut().min_by_key(|(_, count)| **count);
        let Some((poorest, count)) = poorest.filter(|(_, count)| **count < upto) else {
            return;
        };
        *count += 1;
        given.push(poorest.clone());
    };
    if own > most {
        for _ in 0..(own - most).min(GIVEN_MAX) {
            give(most, &mut led);
        }
    } else if own > least {
        // Several could give to one that has too few: only the last of them does.
        let gives = led.iter().rfind(|(_, count)| **count > least);
        if gives.is_some_and(|(gives, _)| gives == node) {
            give(least, &mut led);
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{GIVEN_MAX, given};

    fn nodes(led: &[usize]) -> BTreeMap<String, usize> {
        led.iter()
            .enumerate()
            .map(|(number, count)| (format!("node-{number}"), *count))
            .collect()
    }

    #[test]
    fn a_new_node_gets_its_share_of_everybody() {
        let led = nodes(&[10, 10, 0]);
        assert_eq!(given("node-0", &led), ["node-2", "node-2", "node-2"]);
        assert_eq!(given("node-1", &led), ["node-2", "node-2", "node-2"]);
        assert!(given("node-2", &led).is_empty());
        assert!(given("node-9", &led).is_empty(), "it is not alive");
    }

    #[test]
    fn where_two_could_give_one_does() {
        let led = nodes(&[2, 2, 0]);
        assert!(given("node-0", &led).is_empty());
        assert_eq!(given("node-1", &led), ["node-2"]);
        assert!(given("node-0", &nodes(&[2, 1, 1])).is_empty(), "it cannot be more even");
        assert_eq!(given("node-0", &nodes(&[100, 0])).len(), GIVEN_MAX);
        assert!(given("node-0", &nodes(&[3])).is_empty());
    }

    proptest! {
        /// Whoever looks first, and even if all look before anybody gives: it ends, and as evenly as can be.
        #[test]
        fn channels_come_to_be_spread_evenly(
            led in prop::collection::vec(0..60_usize, 1..6),
            looks in prop::collection::vec((0..6_usize, any::<bool>()), 200),
        ) {
            let mut led = nodes(&led);
            let names: Vec<String> = led.keys().cloned().collect();
            let give = |led: &mut BTreeMap<String, usize>, node: &str, to: Vec<String>| {
                for to in to {
                    *led.get_mut(node).unwrap() -= 1;
                    *led.get_mut(&to).unwrap() += 1;
                }
            };
            for (node, at_once) in looks {
                if at_once {
                    let all: Vec<_> = names.iter().map(|node| (node.clone(), given(node, &led))).collect();
                    for (node, to) in all {
                        give(&mut led, &node, to);
                    }
                } else {
                    let node = names[node % names.len()].clone();
                    let to = given(&node, &led);
                    give(&mut led, &node, to);
                }
            }
            let (least, most) = (led.values().min().unwrap(), led.values().max().unwrap());
            prop_assert!(most - least <= 1, "{led:?}");
            prop_assert!(names.iter().all(|node| given(node, &led).is_empty()));
        }
    }
}
