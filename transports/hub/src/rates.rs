//! Rates per holder in a table of bounded size (LIMIT-06, LIMIT-07). Pure: the caller passes the time.
//!
//! Each holder has one number: the moment at which its bucket will be full again. A holder whose bucket is full needs no entry.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

/// Most holders with an entry. One costs about 200 bytes.
pub(crate) const KEYS: usize = 16_384;

/// A steady rate and a burst for every holder.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    /// Time in which one more becomes due.
    interval: Duration,
    burst: u32,
    most_keys: usize,
    full_at: HashMap<K, Duration>,
    by_time: BTreeSet<(Duration, K)>,
}

impl<K: Clone + Ord + Hash> Rates<K> {
    /// `per_second` sustained and `burst` at once, for at most `most_keys` holders at a time; the one that is closest to a
    /// full bucket makes room.
    pub(crate) fn new(per_second: u32, burst: u32, most_keys: usize) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst, most_keys, full_at: HashMap::new(), by_time: BTreeSet::new() }
    }

    /// How long until the holder may take one more; nothing when it may now.
    pub(crate) fn wait(&self, holder: &K, now: Duration) -> Duration {
        let full_at = self.full_at.get(holder).copied().unwrap_or_default().max(now);
        (full_at + self.interval).saturating_sub(now + self.interval * self.burst)
    }

    /// Takes one, also where none is left: the next ones wait longer. The wait never grows over `most`. Gives what was taken,
    /// as the time in which it becomes due again.
    pub(crate) fn take(&mut self, holder: &K, most: Duration, now: Duration) -> Duration {
        let full_at = self.full_at.get(holder).copied().unwrap_or_default().max(now);
        let latest = now + self.interval * self.burst + most;
        let then = (full_at + self.interval).min(latest.max(full_at));
        self.set(holder, then, now);
        then - full_at
    }

    /// Gives back what [`take`](Self::take) took.
    pub(crate) fn give_back(&mut self, holder: &K, taken: Duration, now: Duration) {
        if let Some(full_at) = self.full_at.get(holder) {
            self.set(holder, full_at.saturating_sub(taken), now);
        }
    }

    fn set(&mut self, holder: &K, full_at: Duration, now: Duration) {
        self.remove(holder);
        if full_at <= now {
            return;
        }
        while let Some((first, other)) = self.by_time.first().cloned() {
            if first > now && self.full_at.len() < self.most_keys {
                break;
            }
            self.remove(&other);
        }
        self.full_at.insert(holder.clone(), full_at);
        self.by_time.insert((full_at, holder.clone()));
    }

    fn remove(&mut self, holder: &K) {
        if let Some(full_at) = self.full_at.remove(holder) {
            self.by_time.remove(&(full_at, holder.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAP: Duration = Duration::from_secs(5);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn limit_07_a_holder_has_its_burst_then_its_rate_and_others_have_their_own() {
        let mut rates = Rates::new(1, 3, 8);
        for _ in 0..3 {
            assert_eq!(rates.wait(&"a", Duration::ZERO), Duration::ZERO);
            rates.take(&"a", CAP, Duration::ZERO);
        }
        assert_eq!(rates.wait(&"a", Duration::ZERO), millis(1_000));
        assert_eq!(rates.wait(&"a", millis(400)), millis(600));
        assert_eq!(rates.wait(&"b", Duration::ZERO), Duration::ZERO);
        let taken = rates.take(&"a", CAP, Duration::ZERO);
        assert_eq!(rates.wait(&"a", Duration::ZERO), millis(2_000));
        rates.give_back(&"a", taken, Duration::ZERO);
        assert_eq!(rates.wait(&"a", Duration::ZERO), millis(1_000));
        for _ in 0..100 {
            rates.take(&"a", CAP, Duration::ZERO);
        }
        assert!(rates.wait(&"a", Duration::ZERO) <= CAP + millis(1_000));
    }

    #[test]
    fn limit_07_the_table_is_bounded_and_keeps_those_that_took_the_most() {
        let mut rates = Rates::new(1, 100, 4);
        for _ in 0..50 {
            rates.take(&0, CAP, Duration::ZERO);
        }
        for other in 1..1_000 {
            rates.take(&other, CAP, Duration::ZERO);
            assert!(rates.full_at.len() <= 4 && rates.by_time.len() <= 4);
        }
        assert!(rates.full_at.contains_key(&0));
        // Full buckets are forgotten.
        rates.take(&1, CAP, Duration::from_secs(3_600));
        assert_eq!(rates.full_at.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Against a bucket of tokens that is filled step by step.
        #[test]
        fn limit_07_what_is_taken_without_waiting_never_exceeds_burst_and_rate(
            steps in prop::collection::vec(0..700u64, 1..200),
        ) {
            let (per_second, burst) = (4_u32, 6_u32);
            let mut rates = Rates::new(per_second, burst, 8);
            let (mut now, mut tokens) = (0_u64, u64::from(burst) * 1_000);
            for step in steps {
                now += step;
                tokens = (tokens + step * u64::from(per_second)).min(u64::from(burst) * 1_000);
                let may = rates.wait(&(), millis(now)).is_zero();
                prop_assert_eq!(may, tokens >= 1_000);
                if may {
                    rates.take(&(), CAP, millis(now));
                    tokens -= 1_000;
                }
            }
        }
    }
}
