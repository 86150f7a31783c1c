//! What the commands of each holder cost, and who waits (LIMIT-16): a pure state machine.
//!
//! Work is paid off at a steady rate, in equal parts for every holder that owes some. So what a holder owes is the work that
//! exceeds its share of the rate, and a lone holder has the whole rate. A command is charged once it is read; before that, the
//! holder is asked for. The caller passes the time since an origin of its own.
//!
//! ```
//! use std::time::Duration;
//!
//! use eventwire_protocol::work::{Work, WorkBounds};
//!
//! let mut work = Work::new(WorkBounds { per_second: 1_000, burst: 100 });
//! work.charge(&"many", 500, Duration::ZERO);
//! assert!(!work.may_read(&"many") && work.may_read(&"few"));
//! work.advance(Duration::from_millis(450));
//! assert!(work.may_read(&"many"));
//! ```

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use crate::{limits, shares::PRESSURE_PERCENT};

/// How much work commands may cause (LIMIT-16). A plain command is 16 units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkBounds {
    /// Units a second.
    pub per_second: u32,
    /// Units at once after a pause.
    pub burst: u32,
}

impl WorkBounds {
    /// So many units a second for each of the processors, and a burst in proportion.
    pub fn for_processors(per_second: u32, processors: u32) -> Self {
        let per_second = per_second.saturating_mul(processors);
        let burst = u64::from(per_second) * u64::from(limits::WORK_BURST) / u64::from(limits::WORK_PER_SECOND);
        Self { per_second, burst: u32::try_from(burst).unwrap_or(u32::MAX).max(1) }
    }
}

/// Billionths of a unit in one, so that a nanosecond of a slow rate counts.
const NANO: u128 = 1_000_000_000;

/// What every holder owes.
#[derive(Clone, Debug)]
pub struct Work<K> {
    bounds: WorkBounds,
    /// What was paid for each of the holders that owed something all the time. This and all amounts are in billionths of a unit.
    paid: u128,
    paid_at: Duration,
    /// Where `paid` will be when the holder owes nothing.
    due: HashMap<K, u128>,
    by_due: BTreeSet<(u128, K)>,
    sum_due: u128,
}

impl<K: Clone + Ord + Hash> Work<K> {
    /// Nothing owed.
    pub fn new(bounds: WorkBounds) -> Self {
        let (due, by_due) = (HashMap::new(), BTreeSet::new());
        Self { bounds, paid: 0, paid_at: Duration::ZERO, due, by_due, sum_due: 0 }
    }

    /// Pays off what is due by now.
    pub fn advance(&mut self, now: Duration) {
        let mut left = now.saturating_sub(self.paid_at).as_nanos() * u128::from(self.bounds.per_second);
        self.paid_at = now.max(self.paid_at);
        while let Some((first, _)) = self.by_due.first() {
            let holders = self.by_due.len() as u128;
            let to_first = (first - self.paid) * holders;
            if left < to_first {
                self.paid += left / holders;
                return;
            }
            left -= to_first;
            self.paid = *first;
            if let Some((first, holder)) = self.by_due.pop_first() {
                self.sum_due -= first;
                self.due.remove(&holder);
            }
        }
    }

    /// Adds units to what a holder owes: at most the work of one second beside the burst, so that no wait is without end.
    pub fn charge(&mut self, holder: &K, units: u32, now: Duration) {
        self.advance(now);
        let before = self.due.get(holder).copied();
        let most = self.paid + u128::from(self.bounds.per_second) * NANO + self.burst();
        let from = before.unwrap_or(self.paid);
        let due = (from + u128::from(units) * NANO).min(most.max(from));
        if due == from {
            return;
        }
        if let Some(before) = before {
            self.by_due.remove(&(before, holder.clone()));
            self.sum_due -= before;
        }
        self.due.insert(holder.clone(), due);
        self.by_due.insert((due, holder.clone()));
        self.sum_due += due;
    }

    /// Whether so much is owed that shares bind (LIMIT-04).
    pub fn is_under_pressure(&self) -> bool {
        self.total() > self.calm()
    }

    /// Whether the next command of a holder may be read: always below pressure, and above it while the holder owes less than
    /// the burst divided by the holders that owe something.
    pub fn may_read(&self, holder: &K) -> bool {
        !self.is_under_pressure() || self.owed(holder) < self.share(holder)
    }

    /// When to ask again for a holder that may not read: within the next second, and not before anything has changed.
    pub fn ask_again(&self, holder: &K) -> Duration {
        let rate = u128::from(self.bounds.per_second.max(1));
        let holders = self.by_due.len().max(1) as u128;
        let calm = self.total().saturating_sub(self.calm()) / rate;
        let own = (self.owed(holder) + 1).saturating_sub(self.share(holder)) * holders / rate;
        let nanos = u64::try_from(calm.min(own) + 1).unwrap_or(u64::MAX);
        self.paid_at + Duration::from_nanos(nanos).min(Duration::from_secs(1))
    }

    /// What a holder owes, in whole units.
    pub fn owed_by(&self, holder: &K) -> u64 {
        u64::try_from(self.owed(holder) / NANO).unwrap_or(u64::MAX)
    }

    /// How many owe something.
    pub fn holders(&self) -> usize {
        self.by_due.len()
    }

    fn total(&self) -> u128 {
        self.sum_due - self.paid * self.by_due.len() as u128
    }

    fn owed(&self, holder: &K) -> u128 {
        self.due.get(holder).map_or(0, |due| due - self.paid)
    }

    fn share(&self, holder: &K) -> u128 {
        let holders = self.by_due.len() + usize::from(!self.due.contains_key(holder));
        (self.burst() / holders.max(1) as u128).max(1)
    }

    fn burst(&self) -> u128 {
        u128::from(self.bounds.burst) * NANO
    }

    /// What may be owed without pressure.
    fn calm(&self) -> u128 {
        self.burst() * u128::from(PRESSURE_PERCENT) / 100
    }
}
