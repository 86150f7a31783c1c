//! The newest value of every key (FLOW-01, FLOW-04): found by key, by root, and in the order in which they were written.
//!
//! Where there is no room for all, values are evicted. A small part of the room remembers their roots, so that subscribers
//! of these get a gap (LOG-12).

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Weak},
};

use eventwire_protocol::{Audience, Committed, Envelope, Root, Stored, Time, limits};
use hashbrown::HashTable;

use super::{
    PotUsage,
    memory::{FRAMES_BYTES, age, shared},
    pot::{INDEX_BYTES, Lane, Pot, Slot},
};
use crate::holder::Holder;

#[derive(Debug)]
struct Value {
    stored: Arc<Stored>,
    shared: Weak<Committed>,
    /// Grows with every write, so that values come in the order in which they were written.
    write: u64,
    /// The values of one root are linked, in no order.
    before: Option<Slot>,
    after: Option<Slot>,
}

/// A root of which values were evicted.
#[derive(Debug)]
struct Missed {
    root: Root,
    /// The number of the last eviction.
    number: u64,
}

/// The part of the room for [`Missed`] roots.
const MISSED_PART: usize = 16;

/// The newest values.
#[derive(Debug)]
pub(super) struct Latest {
    values: Pot<Value>,
    missed: Pot<Missed>,
    by_missed_root: HashTable<Slot>,
    by_key: HashTable<Slot>,
    /// The first value of each root.
    by_root: HashTable<Slot>,
    hasher: RandomState,
    bound: usize,
    writes: u64,
    evicted: u64,
}

fn has_key_of(value: &Value, envelope: &Envelope) -> bool {
    let of = value.stored.envelope();
    of.audience() == envelope.audience() && of.kind() == envelope.kind() && of.key() == envelope.key()
}

fn hash_of_key(hasher: &RandomState, envelope: &Envelope) -> u64 {
    hasher.hash_one((envelope.audience(), envelope.kind(), envelope.key()))
}

fn root_of(value: &Value) -> Option<Root> {
    value.stored.envelope().audience().root()
}

impl Latest {
    pub(super) fn new(bytes: usize, keys: usize) -> Self {
        Self {
            values: Pot::new(bytes - bytes / MISSED_PART, Some(keys)),
            missed: Pot::new(bytes / MISSED_PART, None),
            by_missed_root: HashTable::new(),
            by_key: HashTable::new(),
            by_root: HashTable::new(),
            hasher: RandomState::new(),
            bound: bytes,
            writes: 0,
            evicted: 0,
        }
    }

    /// Keeps a value in place of the one that its key had.
    pub(super) fn keep(&mut self, now: Time, holder: &Holder, event: &Arc<Committed>) {
        let envelope = event.envelope();
        let hash = hash_of_key(&self.hasher, envelope);
        let is_it = |slot: &Slot| self.values.get(*slot).is_some_and(|value| has_key_of(value, envelope));
        if let Some(slot) = self.by_key.find(hash, is_it).copied() {
            self.forget(slot);
        }
        self.writes += 1;
        let stored = event.stored().clone();
        let cost = stored.footprint() + FRAMES_BYTES + 2 * INDEX_BYTES;
        let value = Value { stored, shared: Arc::downgrade(event), write: self.writes, before: None, after: None };
        let Some(slot) = self.values.push(holder, Some(Lane::First), now, cost, value) else { return };
        let Self { values, by_key, hasher, .. } = self;
        by_key.insert_unique(hash, slot, |slot| {
            values.get(*slot).map_or(0, |value| hash_of_key(hasher, value.stored.envelope()))
        });
        if let Some(root) = envelope.audience().root() {
            self.link(&root, slot);
        }
    }

    fn first_of(&self, root: &Root) -> Option<Slot> {
        let is_it = |slot: &Slot| self.values.get(*slot).and_then(root_of).as_ref() == Some(root);
        self.by_root.find(self.hasher.hash_one(root), is_it).copied()
    }

    /// Puts a value in front of those of its root.
    fn link(&mut self, root: &Root, slot: Slot) {
        let hash = self.hasher.hash_one(root);
        let Some(first) = self.first_of(root) else {
            let Self { values, by_root, hasher, .. } = self;
            by_root.insert_unique(hash, slot, |slot| {
                values.get(*slot).and_then(root_of).map_or(0, |root| hasher.hash_one(root))
            });
            return;
        };
        if let Some(place) = self.by_root.find_mut(hash, |it| *it == first) {
            *place = slot;
        }
        if let Some(value) = self.values.get_mut(slot) {
            value.after = Some(first);
        }
        if let Some(value) = self.values.get_mut(first) {
            value.before = Some(slot);
        }
    }

    fn unlink(&mut self, root: &Root, slot: Slot, before: Option<Slot>, after: Option<Slot>) {
        if let Some(value) = after.and_then(|after| self.values.get_mut(after)) {
            value.before = before;
        }
        if let Some(value) = before.and_then(|before| self.values.get_mut(before)) {
            value.after = after;
            return;
        }
        if let Ok(mut entry) = self.by_root.find_entry(self.hasher.hash_one(root), |it| *it == slot) {
            match after {
                Some(after) => *entry.get_mut() = after,
                None => {
                    entry.remove();
                }
            }
        }
    }

    fn forget(&mut self, slot: Slot) -> Option<Audience> {
        let value = self.values.remove(slot, Some(Lane::First))?;
        let hash = hash_of_key(&self.hasher, value.stored.envelope());
        if let Ok(entry) = self.by_key.find_entry(hash, |it| *it == slot) {
            entry.remove();
        }
        if let Some(root) = root_of(&value) {
            self.unlink(&root, slot, value.before, value.after);
        }
        Some(value.stored.envelope().audience().clone())
    }

    /// Remembers that a value of an audience was evicted.
    fn miss(&mut self, now: Time, holder: &Holder, audience: &Audience) {
        let Some(root) = audience.root() else { return };
        let hash = self.hasher.hash_one(&root);
        if let Some(slot) = self.find_missed(&root) {
            self.forget_missed(slot);
        }
        let missed = Missed { root, number: self.evicted };
        let cost = audience.footprint() + INDEX_BYTES;
        let Some(slot) = self.missed.push(holder, Some(Lane::First), now, cost, missed) else { return };
        let Self { missed, by_missed_root, hasher, .. } = self;
        by_missed_root
            .insert_unique(hash, slot, |slot| missed.get(*slot).map_or(0, |missed| hasher.hash_one(&missed.root)));
        while let Some(slot) = self.missed.overdrawn() {
            self.forget_missed(slot);
        }
    }

    fn find_missed(&self, root: &Root) -> Option<Slot> {
        let is_it = |slot: &Slot| self.missed.get(*slot).is_some_and(|missed| missed.root == *root);
        self.by_missed_root.find(self.hasher.hash_one(root), is_it).copied()
    }

    fn forget_missed(&mut self, slot: Slot) {
        let Some(missed) = self.missed.remove(slot, Some(Lane::First)) else { return };
        if let Ok(entry) = self.by_missed_root.find_entry(self.hasher.hash_one(&missed.root), |it| *it == slot) {
            entry.remove();
        }
    }

    /// Which of the roots lack values that were evicted, each with a number that grows with every eviction.
    pub(super) fn incomplete(&self, roots: &[Root]) -> Vec<(Root, u64)> {
        let number = |slot: Slot| self.missed.get(slot).map(|missed| missed.number);
        let missed = |root: &Root| {
            let slot = match root {
                Root::Realm => self.missed.newest(Lane::First),
                root => self.find_missed(root),
            };
            Some((root.clone(), slot.and_then(number)?))
        };
        roots.iter().filter_map(missed).collect()
    }

    /// Forgets the values whose time is over.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some(slot) = self.values.oldest(Lane::First)
            && self.values.since(slot).is_some_and(|since| age(since, now) > limits::LATEST_AGE.as_micros())
        {
            self.forget(slot);
        }
        while let Some(slot) = self.missed.oldest(Lane::First)
            && self.missed.since(slot).is_some_and(|since| age(since, now) > limits::LATEST_AGE.as_micros())
        {
            self.forget_missed(slot);
        }
    }

    /// Forgets one value before its time if there is no room for all. Gives the holder that it was of.
    pub(super) fn evict(&mut self, now: Time) -> Option<Holder> {
        let slot = self.values.overdrawn()?;
        let holder = self.values.holder(slot).cloned()?;
        let audience = self.forget(slot)?;
        self.evicted += 1;
        self.miss(now, &holder, &audience);
        Some(holder)
    }

    /// The values of the roots, in the order in which they were written.
    pub(super) fn of(&mut self, roots: &[Root]) -> Vec<Arc<Committed>> {
        let mut found: Vec<(u64, Slot)> = Vec::new();
        let mut take = |mut at: Option<Slot>, next: fn(&Pot<Value>, Slot) -> Option<Slot>| {
            while let Some(slot) = at {
                found.extend(self.values.get(slot).map(|value| (value.write, slot)));
                at = next(&self.values, slot);
            }
        };
        if roots.contains(&Root::Realm) {
            take(self.values.oldest(Lane::First), |values, slot| values.newer(slot));
        } else {
            for root in roots {
                take(self.first_of(root), |values, slot| values.get(slot)?.after);
            }
        }
        found.sort_unstable();
        found.dedup();
        let value = |(_, slot): (u64, Slot)| {
            let value = self.values.get_mut(slot)?;
            Some(shared(&value.stored, &mut value.shared))
        };
        found.into_iter().filter_map(value).collect()
    }

    pub(super) fn usage(&self) -> PotUsage {
        PotUsage {
            bytes: self.values.bytes() + self.missed.bytes(),
            bound: self.bound as u64,
            entries: self.values.len() as u64,
            evicted: self.evicted,
        }
    }
}
