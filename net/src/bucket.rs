//! Token buckets: how much may pass in a time, of anything that is counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A token bucket: so many at once after a rest, and so many a second from then on.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one: `rate` new tokens a second (more than 0), at most `burst` at once.
    #[must_use]
    pub fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, tokens: burst, filled: now }
    }

    /// Takes a token; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.take_up_to(1, now) == 1
    }

    /// Takes as many whole tokens as there are, at most `wanted`.
    pub(crate) fn take_up_to(&mut self, wanted: u64, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.filled = now;
        let taken = wanted.min(self.tokens as u64);
        self.tokens -= taken as f64;
        taken
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, tokens: u64) {
        self.tokens = (self.tokens + tokens as f64).min(self.burst);
    }

    /// How long it takes an empty bucket to have so many tokens.
    pub(crate) fn time_for(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64(tokens / self.rate)
    }
}

/// Token buckets by key, for at most so many keys: the ones longest unused give way, which can only be to their good.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: f64,
    burst: f64,
    max_keys: usize,
    buckets: HashMap<K, Bucket>,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    /// `rate` tokens a second, at most `burst` at once.
    pub(crate) fn new(rate: f64, burst: f64, max_keys: usize) -> Self {
        Self { rate, burst, max_keys, buckets: HashMap::new() }
    }

    /// Takes a token; false when there is none.
    pub(crate) fn take(&mut self, key: K, now: Instant) -> bool {
        if self.buckets.len() >= self.max_keys && !self.buckets.contains_key(&key) {
            self.make_room(now);
        }
        let full = Bucket::new(self.rate, self.burst, now);
        self.buckets.entry(key).or_insert(full).take(now)
    }

    /// Drops the buckets that are full again, and if none is, the older half.
    fn make_room(&mut self, now: Instant) {
        self.buckets
            .retain(|_, bucket| now.saturating_duration_since(bucket.filled) < bucket.time_for(bucket.burst));
        if self.buckets.len() >= self.max_keys {
            let mut times: Vec<Instant> = self.buckets.values().map(|bucket| bucket.filled).collect();
            times.sort();
            let middle = times[times.len() / 2];
            self.buckets.retain(|_, bucket| bucket.filled > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_lets_through_its_rate_and_no_more(steps in proptest::collection::vec((0u8..50, 0u64..300), 1..400)) {
            let start = Instant::now();
            let mut buckets = Buckets::new(10.0, 20.0, 8);
            let mut passed: HashMap<u8, u32> = HashMap::new();
            let mut now = start;
            for (key, wait) in steps {
                now += Duration::from_millis(wait);
                // One key is looked at; the others push each other out.
                if buckets.take(key % 4, now) {
                    *passed.entry(key % 4).or_default() += 1;
                }
                prop_assert!(buckets.buckets.len() <= 8);
            }
            let allowed = 20.0 + 10.0 * (now - start).as_secs_f64();
            prop_assert!(passed.values().all(|&count| f64::from(count) <= allowed));
        }

        #[test]
        fn many_keys_stay_within_bounds(keys in proptest::collection::vec(any::<u32>(), 1..500)) {
            let mut buckets = Buckets::new(1.0, 5.0, 16);
            let now = Instant::now();
            for key in keys {
                buckets.take(key, now);
                prop_assert!(buckets.buckets.len() <= 16);
            }
        }
    }
}
