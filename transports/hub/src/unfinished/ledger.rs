//! Who holds how many unfinished bytes, who waits, and who is closed (LIMIT-08): a pure state machine.
//!
//! The caller passes the time since an origin of its own and wakes the readers that an answer names. Every reader has an
//! id; several readers may count for one holder.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

use eventwire_protocol::shares::{Decision, Shares, Standing};

use super::BudgetUsage;

/// How long a reader is paused for bytes that another holder has too many of.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
/// How long a reader is paused whose own holder has its share: its other messages may end meanwhile.
pub(crate) const OWN_PAUSE: Duration = Duration::from_secs(10);

/// What became of a wish for more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grown {
    /// They are reserved.
    Admitted,
    /// The reader pauses. It asks again when it is woken, or at this time.
    Wait { until: Duration },
    /// The reader gives up its message.
    Evicted,
}

/// An answer, and whom it lets ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) grown: Grown,
    pub(crate) wake: Vec<u64>,
}

#[derive(Debug)]
struct Reader<K> {
    holder: K,
    standing: Standing,
    amount: u64,
    waiting_since: Option<Duration>,
    evicted: bool,
}

/// The readers that hold or want bytes.
#[derive(Debug)]
pub(crate) struct Ledger<K> {
    shares: Shares<K>,
    readers: HashMap<u64, Reader<K>>,
    /// Readers that hold something and are not evicted.
    by_amount: BTreeSet<(K, u64, u64)>,
    /// Paused readers of each holder, the longest paused first.
    waiting: BTreeMap<K, VecDeque<u64>>,
    /// The last evicted reader, until it has given its bytes back, and when it was evicted.
    evicting: Option<(u64, Duration)>,
    next_id: u64,
    /// How often a reader began to wait, and how many were evicted.
    waits: u64,
    evicted: u64,
}

impl<K: Clone + Ord + Hash> Ledger<K> {
    /// Nothing held of `bytes`, of which a tenth is reserved for credentials.
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            shares: Shares::new(bytes, bytes / 10),
            readers: HashMap::new(),
            by_amount: BTreeSet::new(),
            waiting: BTreeMap::new(),
            evicting: None,
            next_id: 0,
            waits: 0,
            evicted: 0,
        }
    }

    /// What is held, and how often there was not enough.
    pub(crate) fn usage(&self) -> BudgetUsage {
        BudgetUsage {
            bytes: self.total(),
            bound: self.bound(),
            waiting: self.waiting.values().map(|queue| queue.len() as u64).sum(),
            waits: self.waits,
            evicted: self.evicted,
        }
    }

    /// Bytes held over all readers.
    pub(crate) fn total(&self) -> u64 {
        self.shares.total()
    }

    /// The most that may be held.
    pub(crate) fn bound(&self) -> u64 {
        self.shares.bound()
    }

    /// A new reader, which holds nothing.
    pub(crate) fn open(&mut self, holder: K, standing: Standing) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.readers.insert(id, Reader { holder, standing, amount: 0, waiting_since: None, evicted: false });
        id
    }

    /// Whether a reader has to give up its message.
    pub(crate) fn is_evicted(&self, id: u64) -> bool {
        self.readers.get(&id).is_none_or(|reader| reader.evicted)
    }

    /// Asks for more bytes.
    pub(crate) fn grow(&mut self, id: u64, amount: u64, now: Duration) -> Step {
        let Some(reader) = self.readers.get_mut(&id).filter(|reader| !reader.evicted) else {
            return Step { grown: Grown::Evicted, wake: Vec::new() };
        };
        let (holder, standing) = (reader.holder.clone(), reader.standing);
        let (crowded, is_own, pause) = match self.shares.decide(&holder, standing, amount) {
            Decision::Admit => return self.admit(id, amount),
            Decision::Evict(largest) => (largest, false, PAUSE),
            Decision::Refuse => (holder.clone(), true, OWN_PAUSE),
        };
        let since = *reader.waiting_since.get_or_insert_with(|| {
            self.waits += 1;
            self.waiting.entry(holder).or_default().push_back(id);
            now
        });
        let until = since + pause;
        if now < until {
            return Step { grown: Grown::Wait { until }, wake: Vec::new() };
        }
        // One message at a time: the one that was closed last may be all that is needed.
        if let Some((_, at)) = self.evicting.filter(|(_, at)| now < *at + PAUSE) {
            return Step { grown: Grown::Wait { until: at + PAUSE }, wake: Vec::new() };
        }
        match self.largest_of(&crowded) {
            Some(victim) if victim != id => {
                self.evict(victim, now);
                Step { grown: Grown::Wait { until: now + PAUSE }, wake: vec![victim] }
            }
            // All its messages are closed already, and their bytes are on the way.
            None if !is_own => Step { grown: Grown::Wait { until: now + PAUSE }, wake: Vec::new() },
            _ => {
                self.evict(id, now);
                Step { grown: Grown::Evicted, wake: Vec::new() }
            }
        }
    }

    fn admit(&mut self, id: u64, amount: u64) -> Step {
        let mut wake = Vec::new();
        if let Some(reader) = self.readers.get_mut(&id) {
            self.shares.add(reader.holder.clone(), reader.standing, amount);
            self.by_amount.remove(&(reader.holder.clone(), reader.amount, id));
            reader.amount = reader.amount.saturating_add(amount);
            self.by_amount.insert((reader.holder.clone(), reader.amount, id));
            if reader.waiting_since.take().is_some() {
                // There was room for this one, so perhaps for the next.
                let holder = reader.holder.clone();
                wake.extend(self.leave_queue(&holder, id));
            }
        }
        Step { grown: Grown::Admitted, wake }
    }

    /// The reader of a holder that holds the most.
    fn largest_of(&self, holder: &K) -> Option<u64> {
        let range = (holder.clone(), 0, 0)..=(holder.clone(), u64::MAX, u64::MAX);
        self.by_amount.range(range).next_back().map(|(.., id)| *id)
    }

    fn evict(&mut self, id: u64, now: Duration) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        reader.evicted = true;
        self.evicted += 1;
        self.by_amount.remove(&(reader.holder.clone(), reader.amount, id));
        self.evicting = Some((id, now));
    }

    /// Gives bytes back. Says which paused readers may ask again.
    pub(crate) fn shrink(&mut self, id: u64, amount: u64) -> Vec<u64> {
        let Some(reader) = self.readers.get_mut(&id) else { return Vec::new() };
        let amount = amount.min(reader.amount);
        if amount == 0 {
            return Vec::new();
        }
        self.by_amount.remove(&(reader.holder.clone(), reader.amount, id));
        reader.amount -= amount;
        self.shares.release(&reader.holder, amount);
        if reader.amount > 0 && !reader.evicted {
            self.by_amount.insert((reader.holder.clone(), reader.amount, id));
        }
        self.heads()
    }

    /// Ends a reader and gives back what it holds. Says which paused readers may ask again.
    pub(crate) fn close(&mut self, id: u64) -> Vec<u64> {
        self.evicting = self.evicting.filter(|(evicted, _)| *evicted != id);
        let amount = self.readers.get(&id).map_or(0, |reader| reader.amount);
        self.shrink(id, amount);
        if let Some(reader) = self.readers.remove(&id)
            && reader.waiting_since.is_some()
        {
            self.leave_queue(&reader.holder, id);
        }
        self.heads()
    }

    /// Takes a reader out of the queue of its holder. Says who is next there.
    fn leave_queue(&mut self, holder: &K, id: u64) -> Option<u64> {
        let queue = self.waiting.get_mut(holder)?;
        queue.retain(|waiting| *waiting != id);
        let next = queue.front().copied();
        if next.is_none() {
            self.waiting.remove(holder);
        }
        next
    }

    /// The longest paused reader of each holder.
    fn heads(&self) -> Vec<u64> {
        self.waiting.values().filter_map(|queue| queue.front().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stranger(ledger: &mut Ledger<&'static str>, holder: &'static str) -> u64 {
        ledger.open(holder, Standing::Anonymous)
    }

    #[test]
    fn limit_08_one_holder_may_use_all_but_the_reserve() {
        let mut ledger = Ledger::new(100);
        let (first, second) = (stranger(&mut ledger, "a"), stranger(&mut ledger, "a"));
        assert_eq!(ledger.grow(first, 45, Duration::ZERO).grown, Grown::Admitted);
        assert_eq!(ledger.grow(second, 45, Duration::ZERO).grown, Grown::Admitted);
        let ada = ledger.open("ada", Standing::Authenticated);
        assert_eq!(ledger.grow(ada, 10, Duration::ZERO).grown, Grown::Admitted);
        assert_eq!(ledger.total(), 100);
    }

    #[test]
    fn limit_08_reading_pauses_and_then_the_largest_holder_gives_up_its_largest_message() {
        let mut ledger = Ledger::new(100);
        let (small, large) = (stranger(&mut ledger, "heavy"), stranger(&mut ledger, "heavy"));
        ledger.grow(small, 20, Duration::ZERO);
        ledger.grow(large, 70, Duration::ZERO);
        let other = stranger(&mut ledger, "other");
        let asked = ledger.grow(other, 15, SECOND);
        assert_eq!(asked, Step { grown: Grown::Wait { until: SECOND + PAUSE }, wake: vec![] });
        let again = ledger.grow(other, 15, SECOND + PAUSE);
        assert_eq!(again, Step { grown: Grown::Wait { until: SECOND + 2 * PAUSE }, wake: vec![large] });
        assert!(ledger.is_evicted(large) && !ledger.is_evicted(small));
        assert_eq!(ledger.grow(large, 1, SECOND + PAUSE).grown, Grown::Evicted);
        // Nothing else is closed as long as its bytes are on the way.
        assert_eq!(ledger.grow(other, 15, SECOND + PAUSE).wake, Vec::<u64>::new());
        assert_eq!(ledger.close(large), [other]);
        assert_eq!(ledger.grow(other, 15, SECOND + PAUSE).grown, Grown::Admitted);
        assert!(!ledger.is_evicted(small));
    }

    #[test]
    fn limit_08_a_holder_over_its_share_closes_its_own_and_no_other() {
        let mut ledger = Ledger::new(100);
        let (mine, yours) = (stranger(&mut ledger, "mine"), stranger(&mut ledger, "yours"));
        ledger.grow(yours, 30, Duration::ZERO);
        ledger.grow(mine, 50, Duration::ZERO);
        assert_eq!(ledger.grow(mine, 5, Duration::ZERO).grown, Grown::Wait { until: OWN_PAUSE });
        assert_eq!(ledger.grow(mine, 5, OWN_PAUSE).grown, Grown::Evicted);
        assert!(!ledger.is_evicted(yours));
    }

    #[test]
    fn limit_08_what_is_larger_than_the_budget_does_not_wait_for_ever() {
        let mut ledger = Ledger::new(100);
        let only = stranger(&mut ledger, "only");
        assert_eq!(ledger.grow(only, 200, Duration::ZERO).grown, Grown::Wait { until: OWN_PAUSE });
        assert_eq!(ledger.grow(only, 200, OWN_PAUSE).grown, Grown::Evicted);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Open(u8),
        Grow(usize, u64),
        Shrink(usize, u64),
        Close(usize),
        Tick(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => (0..4u8).prop_map(Op::Open),
            6 => (0..12usize, 1..60u64).prop_map(|(reader, amount)| Op::Grow(reader, amount)),
            2 => (0..12usize, 1..60u64).prop_map(|(reader, amount)| Op::Shrink(reader, amount)),
            1 => (0..12usize).prop_map(Op::Close),
            2 => (1..4_000u64).prop_map(Op::Tick),
        ]
    }

    proptest! {
        /// Against sums that are added up anew after every step.
        #[test]
        fn limit_08_no_history_exceeds_the_budget_or_closes_a_reader_of_a_smaller_holder(
            ops in prop::collection::vec(op(), 1..120),
        ) {
            const BOUND: u64 = 100;
            let mut ledger = Ledger::new(BOUND);
            // Id, holder, bytes: what a naive bookkeeper has written down.
            let mut book: Vec<(u64, u8, u64)> = Vec::new();
            let mut now = Duration::ZERO;
            for op in ops {
                let total: u64 = book.iter().map(|(.., bytes)| bytes).sum();
                let of = |holder: u8, book: &[(u64, u8, u64)]| -> u64 {
                    book.iter().filter(|it| it.1 == holder).map(|it| it.2).sum()
                };
                match op {
                    Op::Open(holder) => {
                        let standing = if holder == 0 { Standing::Authenticated } else { Standing::Anonymous };
                        book.push((ledger.open(holder, standing), holder, 0));
                    }
                    Op::Grow(at, amount) if at < book.len() => {
                        let (id, holder, _) = book[at];
                        let was: Vec<bool> = book.iter().map(|it| ledger.is_evicted(it.0)).collect();
                        let step = ledger.grow(id, amount, now);
                        match step.grown {
                            Grown::Admitted => {
                                prop_assert!(total + amount <= BOUND);
                                book[at].2 += amount;
                            }
                            Grown::Wait { until } => prop_assert!(until > now),
                            Grown::Evicted => {}
                        }
                        for (other, was) in book.clone().into_iter().zip(was) {
                            if was || !ledger.is_evicted(other.0) {
                                continue;
                            }
                            // Closed just now: its own, or one of a holder that has more than the asker would have.
                            let own = of(holder, &book) + amount;
                            prop_assert!(other.1 == holder || of(other.1, &book) > own);
                            let larger = book.iter().filter(|it| it.1 == other.1 && !ledger.is_evicted(it.0));
                            prop_assert!(other.0 == id || larger.map(|it| it.2).max().unwrap_or(0) <= other.2);
                        }
                    }
                    Op::Shrink(at, amount) if at < book.len() => {
                        ledger.shrink(book[at].0, amount);
                        book[at].2 = book[at].2.saturating_sub(amount);
                    }
                    Op::Close(at) if at < book.len() => {
                        let (id, ..) = book.swap_remove(at);
                        for woken in ledger.close(id) {
                            prop_assert!(book.iter().any(|it| it.0 == woken));
                        }
                    }
                    Op::Tick(millis) => now += Duration::from_millis(millis),
                    _ => {}
                }
                prop_assert_eq!(ledger.total(), book.iter().map(|it| it.2).sum::<u64>());
                prop_assert!(ledger.total() <= BOUND);
            }
            // Whoever is paused gets in or gives up within a bounded time, when evicted readers go.
            let ids: Vec<u64> = book.iter().map(|it| it.0).collect();
            for id in ids {
                let mut rounds = 0;
                while let Grown::Wait { until } = ledger.grow(id, 5, now).grown {
                    now = until;
                    for gone in book.iter().filter(|it| it.0 != id && ledger.is_evicted(it.0)).map(|it| it.0).collect::<Vec<_>>() {
                        ledger.close(gone);
                    }
                    rounds += 1;
                    prop_assert!(rounds < 40, "a reader waits for ever");
                }
            }
        }
    }
}
