//! How many transfers of which channel are under way, and who may begin how many more. Pure.

use std::collections::HashMap;

use crate::conversations::model::ChannelId;

/// How many channels are looked at in one go.
pub(super) const CHANNELS_MAX: u32 = 512;

/// The places for transfers, and who has them.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: HashMap<ChannelId, usize>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: HashMap::new(),
        }
    }

    pub(super) fn free(&self) -> usize {
        self.most.saturating_sub(self.taken.values().sum())
    }

    /// A transfer of this channel begins.
    pub(super) fn take(&mut self, channel: &ChannelId) {
        *self.taken.entry(channel.clone()).or_default() += 1;
    }

    /// One ends.
    pub(super) fn give_back(&mut self, channel: &ChannelId) {
        if let Some(count) = self.taken.get_mut(channel) {
            *count -= 1;
            if *count == 0 {
                self.taken.remove(channel);
            }
        }
    }

    /// How many each of these channels may begin, so that all have as many as may be alike: however much one has waiting, the others come to
    /// their turn. Those that get none are absent.
    pub(super) fn shares(&self, channels: &[ChannelId]) -> Vec<(ChannelId, u32)> {
        let mut shares: Vec<(usize, &ChannelId, u32)> = channels
            .iter()
            .map(|channel| (self.taken.get(channel).copied().unwrap_or_default(), channel, 0))
            .collect();
        for _ in 0..self.free() {
            let Some(least) = shares.iter_mut().min_by_key(|(count, _, _)| *count) else {
                break;
            };
            least.0 += 1;
            least.2 += 1;
        }
        let given = shares.into_iter().filter(|(_, _, share)| *share > 0);
        given.map(|(_, channel, share)| (channel.clone(), share)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ChannelId, Places};

    #[test]
    fn channels_share_the_places_alike() {
        let channel = |name: &str| ChannelId(name.to_owned());
        let mut places = Places::new(8);
        assert_eq!(places.shares(&[channel("a")]), [(channel("a"), 8)]);
        for _ in 0..6 {
            places.take(&channel("a"));
        }
        assert_eq!(places.free(), 2);
        assert_eq!(places.shares(&[channel("a"), channel("b")]), [(channel("b"), 2)]);
        places.give_back(&channel("a"));
        places.take(&channel("b"));
        assert_eq!(
            places.shares(&[channel("a"), channel("b"), channel("c")]),
            [(channel("b"), 1), (channel("c"), 1)]
        );
        assert_eq!(places.shares(&[]), []);
        places.take(&channel("b"));
        places.take(&channel("c"));
        assert_eq!(places.shares(&[channel("d")]), []);
        places.give_back(&channel("unknown"));
        assert_eq!(places.free(), 0);
    }
}
