//! What publishers hand in and the sequencer has not taken: a queue for each holder, taken from in turn (LIMIT-15).
//!
//! Holders take turns by bytes, so a publication of one holder waits for its own and for one turn of each other, however
//! much any of them has handed in. How much waits is bounded by bytes. Shares of that bound bind only while several holders
//! are there; a lone publisher waits for room and may fill all there is.

use std::collections::{HashMap, VecDeque};

use eventwire_protocol::shares::{Decision, Shares};

use crate::holder::Holder;

/// Bytes that one holder takes in a turn before the next one has its own.
const TURN: u64 = 64 * 1024;
/// Part of the bound that is reserved for holders with credentials.
const RESERVE: u64 = 10;

/// What became of a thing that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<T> {
    /// There was room, and it was put in.
    Queued,
    /// There is no room; hand it in again when something was taken.
    Wait(T),
    /// Others wait, and this holder has its share or more.
    OverShare(T),
}

/// Things that wait, in turns of their holders.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    lines: HashMap<Holder, Line<T>>,
    /// Holders with something that waits, in the order of their turns.
    turns: VecDeque<Holder>,
    shares: Shares<Holder>,
}

#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<(T, u64)>,
    /// Bytes of earlier turns that were too few for the next thing.
    credit: u64,
}

impl<T> FairQueue<T> {
    /// An empty queue of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { lines: HashMap::new(), turns: VecDeque::new(), shares: Shares::new(bytes, bytes / RESERVE) }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Puts a thing of `size` bytes at the end of a holder's line, if it may. One that is larger than the bound is put in
    /// when nothing else waits.
    pub(crate) fn push(&mut self, holder: &Holder, size: u64, thing: T) -> Entry<T> {
        if !self.is_empty() {
            match self.shares.decide(holder, holder.standing(), size) {
                Decision::Admit => {}
                // Where the holder is alone, or has nothing here, waiting helps.
                Decision::Refuse if self.shares.holders() > 1 && self.shares.held(holder) > 0 => {
                    return Entry::OverShare(thing);
                }
                Decision::Refuse | Decision::Evict(_) => return Entry::Wait(thing),
            }
        }
        self.shares.add(holder.clone(), holder.standing(), size);
        let line = self.lines.entry(holder.clone()).or_insert_with(|| {
            self.turns.push_back(holder.clone());
            Line { waiting: VecDeque::new(), credit: 0 }
        });
        line.waiting.push_back((thing, size));
        Entry::Queued
    }

    /// Takes what comes next: whole turns, until there are `most` things or `bytes` bytes, and at least one thing.
    pub(crate) fn take(&mut self, most: usize, bytes: u64) -> Vec<T> {
        let mut taken = Vec::new();
        let mut sum = 0_u64;
        while taken.len() < most && sum < bytes {
            let Some(holder) = self.turns.pop_front() else { break };
            let Some(line) = self.lines.get_mut(&holder) else { continue };
            line.credit = line.credit.saturating_add(TURN);
            while let Some((_, size)) = line.waiting.front() {
                let Some(rest) = line.credit.checked_sub(*size) else { break };
                let Some((thing, size)) = line.waiting.pop_front() else { break };
                line.credit = rest;
                sum = sum.saturating_add(size);
                self.shares.release(&holder, size);
                taken.push(thing);
            }
            if line.waiting.is_empty() {
                self.lines.remove(&holder);
            } else {
                self.turns.push_back(holder);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn holder(number: u8) -> Holder {
        match number {
            0 => Holder::Local,
            1 => Holder::Principal("ada".into()),
            number => Holder::Peer(Some([127, 0, 0, number].into())),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn limit_15_turns_keep_each_holders_order_lose_nothing_and_starve_nobody(
            steps in proptest::collection::vec(
                prop_oneof![
                    3 => (0_u8..5, prop_oneof![1_u64..1_000, 1_000_u64..300_000]).prop_map(Some),
                    1 => Just(None),
                ],
                1..200,
            ),
        ) {
            const BOUND: u64 = 1_000_000;
            let mut queue = FairQueue::new(BOUND);
            // What each holder has handed in and not had taken, in its order: number, size, and how many bytes of others were
            // taken since it came to the front.
            let mut lines: BTreeMap<u8, VecDeque<(usize, u64, u64)>> = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                let waits = |lines: &BTreeMap<u8, VecDeque<(usize, u64, u64)>>, of: &dyn Fn(u8) -> bool| {
                    lines.iter().filter(|(who, _)| of(**who)).flat_map(|(_, line)| line).map(|it| it.1).sum::<u64>()
                };
                let Some((who, size)) = step else {
                    for (who, taken) in queue.take(8, 200_000) {
                        let front = lines.get_mut(&who).and_then(VecDeque::pop_front);
                        prop_assert_eq!(front.map(|it| it.0), Some(taken), "out of order");
                        let size = front.map_or(0, |it| it.1);
                        lines.retain(|_, line| !line.is_empty());
                        for (other, line) in &mut lines {
                            if *other != who && let Some(front) = line.front_mut() {
                                front.2 += size;
                                // A turn of each other for each of its own turns, and one thing that began before.
                                let turns = front.1.div_ceil(TURN) + 1;
                                prop_assert!(front.2 <= 4 * (turns * TURN + 300_000), "{other} waits too long");
                            }
                        }
                    }
                    continue;
                };
                let total = waits(&lines, &|_| true);
                let own = waits(&lines, &|it| it == who);
                let others = total - own;
                match queue.push(&holder(who), size, (who, number)) {
                    Entry::Queued => {
                        prop_assert!(total == 0 || total + size <= BOUND);
                        lines.entry(who).or_default().push_back((number, size, 0));
                    }
                    Entry::OverShare(_) => prop_assert!(own > 0 && others > 0 && 100 * (total + size) > 80 * BOUND),
                    Entry::Wait(_) => prop_assert!(100 * (total + size) > 80 * BOUND, "there was room"),
                }
            }
            while !queue.is_empty() {
                for (who, taken) in queue.take(1, 1) {
                    prop_assert_eq!(lines.get_mut(&who).and_then(VecDeque::pop_front).map(|it| it.0), Some(taken));
                }
            }
            prop_assert!(lines.values().all(VecDeque::is_empty));
            prop_assert_eq!((queue.shares.total(), queue.lines.len()), (0, 0));
        }
    }

    #[test]
    fn limit_15_a_small_publication_waits_for_one_turn_of_each_other() {
        let mut queue = FairQueue::new(64 << 20);
        for number in 0..10_000 {
            assert_eq!(queue.push(&holder(2), 4_096, (2, number)), Entry::Queued);
        }
        assert_eq!(queue.push(&holder(3), 200, (3, 0)), Entry::Queued);
        let first = queue.take(256, 1 << 20);
        let place = first.iter().position(|it| *it == (3, 0));
        assert_eq!(place, Some(16), "behind one turn of the first, not behind 10,000 things");
        // A lone publisher is never refused: it waits, and may fill all but what is reserved for credentials.
        let mut queue = FairQueue::new(1_000);
        while queue.push(&holder(2), 100, ()) == Entry::Queued {}
        assert_eq!((queue.push(&holder(2), 100, ()), queue.shares.total()), (Entry::Wait(()), 900));
        // Once somebody else is there, the one with more than its share is refused and the other is not.
        assert_eq!(queue.push(&holder(1), 100, ()), Entry::Queued);
        assert_eq!(queue.push(&holder(2), 100, ()), Entry::OverShare(()));
        assert_eq!(queue.push(&holder(3), 100, ()), Entry::Wait(()));
    }
}
