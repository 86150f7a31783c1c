//! The laws of shares of work (LIMIT-16), held against a bookkeeper that pays off in small slices of time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use eventwire_protocol::work::{Work, WorkBounds};
use proptest::prelude::*;

const BOUNDS: WorkBounds = WorkBounds { per_second: 1_000, burst: 100 };

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn limit_16_a_lone_holder_has_the_whole_rate_and_another_does_not_wait_for_it() {
    let mut work = Work::new(BOUNDS);
    let mut done = 0;
    for now in 0..10_000 {
        work.advance(millis(now));
        while work.may_read(&"many") {
            work.charge(&"many", 1, millis(now));
            done += 1;
        }
        // One in ten of the rate, and never kept waiting.
        if now % 10 == 0 {
            assert!(work.may_read(&"few"), "at {now}");
            work.charge(&"few", 1, millis(now));
        }
    }
    assert!((8_900..=9_200).contains(&done), "{done} in ten seconds");
}

#[test]
fn limit_16_what_one_command_costs_is_paid_off_before_the_next_and_no_wait_is_without_end() {
    let mut work = Work::new(BOUNDS);
    work.charge(&"many", u32::MAX, Duration::ZERO);
    assert!(!work.may_read(&"many") && work.may_read(&"few"));
    work.advance(millis(1_000));
    assert!(!work.may_read(&"many"));
    work.advance(millis(1_021));
    assert!(work.may_read(&"many"));
    work.advance(millis(1_100));
    assert_eq!(work.holders(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Charge(u8, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..60_u64).prop_map(Step::Pass),
        3 => (0..5_u8, 0..40_u32).prop_map(|(holder, units)| Step::Charge(holder, units)),
    ]
}

/// What is owed, paid off in slices of ten microseconds: a bookkeeper without virtual time.
fn pay(owed: &mut BTreeMap<u8, f64>, micros: u64) {
    for _ in 0..micros / 10 {
        let holders = owed.len() as f64;
        owed.values_mut().for_each(|amount| *amount -= 0.01 / holders);
        owed.retain(|_, amount| *amount > 0.0);
    }
}

proptest! {
    #![proptest_config(support::config(1))]

    /// Whatever is charged: debts are those of the naive bookkeeper, no holder waits below pressure, one that owes less
    /// than its share does not wait above, and one that waits may go on at a time that is named.
    #[test]
    fn limit_16_shares_of_work_are_those_of_a_naive_bookkeeper(steps in prop::collection::vec(step(), 1..60)) {
        let mut work = Work::new(BOUNDS);
        let mut owed: BTreeMap<u8, f64> = BTreeMap::new();
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Pass(passed) => {
                    now += millis(passed);
                    pay(&mut owed, passed * 1_000);
                }
                // As a reader of commands does it.
                Step::Charge(holder, units) => {
                    work.advance(now);
                    if work.may_read(&holder) {
                        work.charge(&holder, units, now);
                        *owed.entry(holder).or_default() += f64::from(units);
                        owed.retain(|_, amount| *amount > 0.0);
                    }
                }
            }
            work.advance(now);
            let total: f64 = owed.values().sum();
            for holder in 0..5 {
                let own = owed.get(&holder).copied().unwrap_or(0.0);
                prop_assert!((work.owed_by(&holder) as f64 - own).abs() < 1.5, "{holder} owes {own}");
                let holders = owed.len() + usize::from(!owed.contains_key(&holder));
                let share = 100.0 / holders as f64;
                let may = work.may_read(&holder);
                // The slices are coarse: whether one that owes next to nothing still counts is not for this bookkeeper to say.
                let counted = owed.values().all(|amount| *amount > 0.5);
                if total < 79.5 || (counted && own < share - 0.5) {
                    prop_assert!(may, "{holder} owes {own} of {total} and waits");
                }
                if total > 80.5 && counted && own > share + 0.5 {
                    prop_assert!(!may, "{holder} owes {own} of {total} and does not wait");
                }
            }
        }
        for holder in 0..5 {
            let mut asked = 0;
            while !work.may_read(&holder) {
                let again = work.ask_again(&holder);
                prop_assert!(again > now && again <= now + Duration::from_secs(1));
                now = again;
                work.advance(now);
                asked += 1;
                prop_assert!(asked < 20, "{holder} waits for ever");
            }
        }
        work.advance(now + Duration::from_secs(3_600));
        prop_assert_eq!(work.holders(), 0);
    }

    /// A lone holder that reads whenever it may: over any stretch of time, no more than the burst, the rate, and what its
    /// last command costs.
    #[test]
    fn limit_16_no_stretch_of_time_has_more_work_than_burst_and_rate(
        commands in prop::collection::vec((1..50_u32, 0..20_u64), 1..120),
    ) {
        let mut work = Work::new(BOUNDS);
        let mut taken: Vec<(u64, u32)> = Vec::new();
        let mut now = 0;
        for (units, pause) in commands {
            now += pause;
            work.advance(millis(now));
            while !work.may_read(&()) {
                now = u64::try_from(work.ask_again(&()).as_nanos().div_ceil(1_000_000)).unwrap();
                work.advance(millis(now));
            }
            work.charge(&(), units, millis(now));
            taken.push((now, units));
            for first in 0..taken.len() {
                let sum: u32 = taken[first..].iter().map(|it| it.1).sum();
                prop_assert!(u64::from(sum - units) <= 100 + (now - taken[first].0) + 1, "{taken:?}");
            }
        }
    }
}
