//! Fair shares of something bounded (LIMIT-04): how much each holder has, and who makes room when there is none.
//!
//! One [`Shares`] stands for one bounded resource: places for connections, waiting commands, bytes of newest values. The
//! caller names the holder (a peer address, or the principal behind credentials), asks [`decide`](Shares::decide) before it
//! takes something, and reports what was taken and given back. Nothing here is a limit per holder: shares bind only under
//! pressure, so that one peer alone, for instance everyone behind one proxy, may use all there is.
//!
//! ```
//! use eventwire_protocol::shares::{Decision, Shares, Standing};
//!
//! let mut places = Shares::new(100, 10);
//! places.add("10.0.0.7", Standing::Anonymous, 90);
//! // The reserve is for credentials, so the largest holder makes room for another stranger.
//! assert_eq!(places.decide(&"10.0.0.8", Standing::Anonymous, 1), Decision::Evict("10.0.0.7"));
//! assert_eq!(places.decide(&"ada", Standing::Authenticated, 1), Decision::Admit);
//! ```

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Percent of the bound from which shares bind.
pub const PRESSURE_PERCENT: u64 = 80;

/// Whether a holder has shown credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// No credentials: known by its peer address alone.
    Anonymous,
    /// Credentials that were accepted.
    Authenticated,
}

/// Whether a holder may take an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<K> {
    /// There is room.
    Admit,
    /// There is none, but this holder has more than the asker would have. Take something from it, report it with
    /// [`Shares::release`], and ask again.
    Evict(K),
    /// The asker has its share, or the amount is larger than the bound. Refuse, or evict something of the asker's own.
    Refuse,
}

#[derive(Clone, Debug)]
struct Share {
    amount: u64,
    standing: Standing,
}

/// Who holds how much of one bounded resource. The unit is the caller's: places, entries, bytes.
#[derive(Clone, Debug)]
pub struct Shares<K> {
    bound: u64,
    /// Part of the bound that anonymous holders cannot take together.
    reserve: u64,
    held: HashMap<K, Share>,
    by_amount: BTreeSet<(u64, K)>,
    /// The anonymous ones among them.
    strangers_by_amount: BTreeSet<(u64, K)>,
    total: u64,
    anonymous: u64,
}

impl<K: Clone + Ord + Hash> Shares<K> {
    /// Nothing held of `bound`, of which `reserve` is kept for authenticated holders.
    pub fn new(bound: u64, reserve: u64) -> Self {
        Self {
            bound,
            reserve: reserve.min(bound),
            held: HashMap::new(),
            by_amount: BTreeSet::new(),
            strangers_by_amount: BTreeSet::new(),
            total: 0,
            anonymous: 0,
        }
    }

    /// The most that may be held.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// What is held over all holders.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What a holder has.
    pub fn held(&self, holder: &K) -> u64 {
        self.held.get(holder).map_or(0, |share| share.amount)
    }

    /// How many hold something.
    pub fn holders(&self) -> usize {
        self.held.len()
    }

    /// The holder with the most; of several the last in their order.
    pub fn largest(&self) -> Option<&K> {
        self.by_amount.last().map(|(_, holder)| holder)
    }

    /// Who gives something up where more is held than the bound: the way of caches, which take first and evict then
    /// (LIMIT-10). `None` while the bound holds.
    ///
    /// That is the holder with the most; while anonymous holders have more than their part of the bound, the one with the
    /// most among them. So no holder that has less than its share ever gives anything up.
    pub fn overdrawn(&self) -> Option<&K> {
        let strangers = self.anonymous > self.bound - self.reserve;
        let among = if strangers { &self.strangers_by_amount } else { &self.by_amount };
        among.last().filter(|_| self.total > self.bound).map(|(_, holder)| holder)
    }

    /// Whether so much more is held that shares bind.
    pub fn is_under_pressure(&self, amount: u64) -> bool {
        u128::from(self.total.saturating_add(amount)) * 100 > u128::from(self.bound) * u128::from(PRESSURE_PERCENT)
    }

    /// Whether a holder may take `amount` more (LIMIT-04).
    ///
    /// Below [`PRESSURE_PERCENT`] everyone may. Above, a holder may have the bound divided by the number of holders. Where
    /// the room itself is used up, the largest holder makes room for one that would still have less.
    pub fn decide(&self, holder: &K, standing: Standing, amount: u64) -> Decision<K> {
        let own = self.held(holder).saturating_add(amount);
        let open = self.bound - self.reserve;
        let most = if standing == Standing::Anonymous { open } else { self.bound };
        if own > most {
            return Decision::Refuse;
        }
        let fits = self.total.saturating_add(amount) <= self.bound
            && (standing == Standing::Authenticated || self.anonymous.saturating_add(amount) <= open);
        if fits {
            let holders = self.held.len() + usize::from(!self.held.contains_key(holder));
            let share = (most / u64::try_from(holders.max(1)).unwrap_or(u64::MAX)).max(1);
            return if !self.is_under_pressure(amount) || own <= share { Decision::Admit } else { Decision::Refuse };
        }
        // When the open part is full of strangers, only a stranger can make room in it.
        let stranger = standing == Standing::Anonymous && self.anonymous.saturating_add(amount) > open;
        let larger = self.by_amount.iter().rev().take_while(|(amount, _)| *amount > own);
        let mut evictable = larger.filter(|(_, it)| {
            it != holder && (!stranger || self.held.get(it).is_some_and(|it| it.standing == Standing::Anonymous))
        });
        evictable.next().map_or(Decision::Refuse, |(_, largest)| Decision::Evict(largest.clone()))
    }

    /// Reports that a holder has taken something, whether or not it was asked for: nothing is refused here.
    pub fn add(&mut self, holder: K, standing: Standing, amount: u64) {
        if amount == 0 {
            return;
        }
        let share = self.held.entry(holder.clone()).or_insert(Share { amount: 0, standing });
        let (before, standing) = (share.amount, share.standing);
        share.amount = share.amount.saturating_add(amount);
        let after = share.amount;
        self.total = self.total.saturating_add(amount);
        if standing == Standing::Anonymous {
            self.anonymous = self.anonymous.saturating_add(amount);
        }
        self.reorder(&holder, standing, before, after);
    }

    /// Puts a holder in its place in the orders by amount, in which 0 has none.
    fn reorder(&mut self, holder: &K, standing: Standing, before: u64, after: u64) {
        let strangers = (standing == Standing::Anonymous).then_some(&mut self.strangers_by_amount);
        for order in [Some(&mut self.by_amount), strangers].into_iter().flatten() {
            order.remove(&(before, holder.clone()));
            if after > 0 {
                order.insert((after, holder.clone()));
            }
        }
    }

    /// Reports that a holder has given something back. More than it holds counts as all of it.
    pub fn release(&mut self, holder: &K, amount: u64) {
        let Some(share) = self.held.get_mut(holder) else { return };
        let (before, standing) = (share.amount, share.standing);
        let amount = amount.min(before);
        share.amount -= amount;
        self.total -= amount;
        if standing == Standing::Anonymous {
            self.anonymous -= amount;
        }
        if before == amount {
            self.held.remove(holder);
        }
        self.reorder(holder, standing, before, before - amount);
    }
}
