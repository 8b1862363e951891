//! How long the answers took, in a fixed amount of memory.

/// Steps within each doubling: a percentile is off by at most 1/64 of itself.
const STEPS: u64 = 64;
/// Enough doublings for an hour in microseconds.
const DOUBLINGS: u64 = 27;

/// A histogram of times whose buckets grow with the time they stand for.
#[derive(Debug, Clone)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    longest_micros: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: vec![0; (STEPS * DOUBLINGS) as usize],
            count: 0,
            longest_micros: 0,
        }
    }
}

impl Latencies {
    /// Adds one time.
    pub fn record(&mut self, time: std::time::Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.longest_micros = self.longest_micros.max(micros);
    }

    /// Adds the times of another one.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += more;
        }
        self.count += other.count;
        self.longest_micros = self.longest_micros.max(other.longest_micros);
    }

    /// How many times were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time in milliseconds that `share` (0 to 1) of all stayed within; 0 if there are none.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return upper_bound(index as u64).min(self.longest_micros) as f64 / 1_000.0;
            }
        }
        0.0
    }

    /// The longest time in milliseconds.
    pub fn longest_ms(&self) -> f64 {
        self.longest_micros as f64 / 1_000.0
    }
}

/// Below `STEPS` each microsecond has a bucket; from there on each doubling has `STEPS` of them.
fn bucket(micros: u64) -> usize {
    let doubling = u64::from((micros / STEPS).checked_ilog2().map_or(0, |power| power + 1));
    let index = match doubling {
        0 => micros,
        doubling => doubling * STEPS + (micros >> (doubling - 1)) - STEPS,
    };
    index.min(STEPS * DOUBLINGS - 1) as usize
}

/// The longest time that falls into a bucket.
fn upper_bound(index: u64) -> u64 {
    let (doubling, step) = (index / STEPS, index % STEPS);
    match doubling {
        0 => step,
        doubling => ((STEPS + step + 1) << (doubling - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_bounds_it_closely() {
        for micros in (0..5_000).chain([63, 64, 127, 128, 1_000_000, 3_599_999_999]) {
            let bound = upper_bound(bucket(micros) as u64);
            assert!(bound >= micros, "{micros} is over its bucket's bound {bound}");
            assert!(bound - micros <= micros / STEPS, "{micros} is far from {bound}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        assert!(latencies.percentile_ms(0.5).abs() < f64::EPSILON);
        for micros in 1..=10_000 {
            latencies.record(Duration::from_micros(micros));
        }
        assert!((latencies.percentile_ms(0.50) - 5.0).abs() < 0.1);
        assert!((latencies.percentile_ms(0.99) - 9.9).abs() < 0.2);
        assert!((latencies.percentile_ms(1.0) - 10.0).abs() < f64::EPSILON);
        assert!((latencies.longest_ms() - 10.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_time_beyond_the_last_bucket_is_still_counted() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::MAX);
        assert_eq!(latencies.count(), 1);
    }
}
