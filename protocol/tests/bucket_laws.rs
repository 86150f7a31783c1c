//! The bucket of targets against a list of everything that was ever taken.
//!
//! The oracle keeps no level of a bucket. It asks of every stretch of time whether more was taken in it than the burst and
//! the rate allow, which is what the rule says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::time::Duration;

use eventwire_protocol::limits::{TARGET_BURST, TARGETS_PER_SECOND, TokenBucket};
use proptest::{collection::vec, prelude::*, sample::select};

const NANO: u128 = 1_000_000_000;

/// Whether these takings, in order, are within burst and rate over every stretch that ends with the last one.
fn allowed(taken: &[(Duration, u32)], per_second: u32, burst: u32) -> bool {
    let Some((end, _)) = taken.last() else { return true };
    (0..taken.len()).all(|first| {
        let amount: u128 = taken[first..].iter().map(|(_, amount)| u128::from(*amount)).sum();
        let elapsed = (*end - taken[first].0).as_nanos();
        amount * NANO <= u128::from(burst) * NANO + elapsed * u128::from(per_second)
    })
}

proptest! {
    #![proptest_config(support::config(1))]

    #[test]
    fn limit_12_a_bucket_gives_what_every_stretch_of_time_allows_and_no_less(
        (per_second, burst) in select(vec![(TARGETS_PER_SECOND, TARGET_BURST), (32, 64), (1, 1), (3, 10)]),
        asked in vec((prop_oneof![3 => Just(0_u64), 2 => 0_u64..50_000_000, 1 => 0_u64..5_000_000_000], 0_u32..400), 1..60),
    ) {
        let mut bucket = TokenBucket::new(per_second, burst, Duration::ZERO);
        let mut taken: Vec<(Duration, u32)> = Vec::new();
        let mut now = Duration::ZERO;
        for (pause, amount) in asked {
            now += Duration::from_nanos(pause);
            // More than the burst counts as the burst.
            let counted = amount.min(burst);
            let with = |at: Duration| [taken.clone(), vec![(at, counted)]].concat();
            match bucket.take_many(amount, now) {
                Ok(()) => {
                    prop_assert!(allowed(&with(now), per_second, burst), "{amount} at {now:?} is too much");
                    taken.push((now, counted));
                }
                Err(wait) => {
                    prop_assert!(!allowed(&with(now), per_second, burst), "{amount} at {now:?} was refused for nothing");
                    // It is the shortest wait there is.
                    prop_assert!(allowed(&with(now + wait), per_second, burst), "{wait:?} is too short");
                    let shorter = wait - Duration::from_nanos(1);
                    prop_assert!(!allowed(&with(now + shorter), per_second, burst), "{wait:?} is too long");
                }
            }
        }
    }
}
