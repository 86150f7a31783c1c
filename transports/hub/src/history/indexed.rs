//! Entries of a pot, found by key and by target: newest values, and what is remembered of those that were evicted.
//!
//! The entries of one target are linked, in no order. So every operation takes the time of a look into a hash table, and the
//! entries of a target are listed without those of others.

use std::hash::{BuildHasher as _, Hash, RandomState};

use eventwire_protocol::{Envelope, Target, Time};
use hashbrown::HashTable;

use super::pot::{Lane, Pot, Slot};
use crate::holder::Holder;

/// The neighbors among the entries of one target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Siblings {
    before: Option<Slot>,
    after: Option<Slot>,
}

/// An entry with a key. Entries of one target are linked by [`Siblings`].
pub(super) trait Keyed {
    /// What identifies an entry, read from an envelope.
    type Key<'a>: Hash + Eq;

    /// The key of an envelope.
    fn key_of(envelope: &Envelope) -> Self::Key<'_>;

    /// The envelope that key and target are read from.
    fn envelope(&self) -> &Envelope;

    /// The links.
    fn siblings(&self) -> Siblings;

    /// The links, to be changed.
    fn siblings_mut(&mut self) -> &mut Siblings;
}

/// Entries of many holders under one bound, one for each key.
#[derive(Debug)]
pub(super) struct Indexed<T> {
    pot: Pot<T>,
    by_key: HashTable<Slot>,
    /// The first entry of each target.
    by_target: HashTable<Slot>,
    hasher: RandomState,
}

fn target_of<T: Keyed>(entry: &T) -> Option<Target> {
    entry.envelope().audience().target()
}

impl<T: Keyed> Indexed<T> {
    pub(super) fn new(bytes: usize, entries: Option<usize>) -> Self {
        Self {
            pot: Pot::new(bytes, entries),
            by_key: HashTable::new(),
            by_target: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    /// The entries, in the order in which they were added.
    pub(super) fn pot(&self) -> &Pot<T> {
        &self.pot
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.pot.get_mut(slot)
    }

    /// The entry with the key of an envelope.
    pub(super) fn find(&self, envelope: &Envelope) -> Option<Slot> {
        let key = T::key_of(envelope);
        let is_it = |slot: &Slot| self.pot.get(*slot).is_some_and(|entry| T::key_of(entry.envelope()) == key);
        self.by_key.find(self.hasher.hash_one(&key), is_it).copied()
    }

    /// Adds an entry whose key has none. `cost` is in resident bytes, without the slot.
    pub(super) fn add(&mut self, now: Time, holder: &Holder, cost: usize, entry: T) {
        let hash = self.hasher.hash_one(T::key_of(entry.envelope()));
        let target = target_of(&entry);
        let Some(slot) = self.pot.push(holder, Some(Lane::First), now, cost, entry) else { return };
        let Self { pot, by_key, hasher, .. } = self;
        let rehash = |slot: &Slot| pot.get(*slot).map_or(0, |entry| hasher.hash_one(T::key_of(entry.envelope())));
        by_key.insert_unique(hash, slot, rehash);
        if let Some(target) = target {
            self.link(&target, slot);
        }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let entry = self.pot.remove(slot, Some(Lane::First))?;
        let hash = self.hasher.hash_one(T::key_of(entry.envelope()));
        if let Ok(place) = self.by_key.find_entry(hash, |it| *it == slot) {
            place.remove();
        }
        if let Some(target) = target_of(&entry) {
            self.unlink(&target, slot, entry.siblings());
        }
        Some(entry)
    }

    /// The entries of a target, in no order; of [`Target::Realm`] all entries, oldest first.
    pub(super) fn of_root(&self, target: &Target) -> impl Iterator<Item = Slot> {
        let of_realm = *target == Target::Realm;
        let mut at = if of_realm { self.pot.oldest(Lane::First) } else { self.first_of(target) };
        std::iter::from_fn(move || {
            let slot = at?;
            at = if of_realm { self.pot.newer(slot) } else { self.pot.get(slot)?.siblings().after };
            Some(slot)
        })
    }

    fn first_of(&self, target: &Target) -> Option<Slot> {
        let is_it = |slot: &Slot| self.pot.get(*slot).and_then(target_of).as_ref() == Some(target);
        self.by_target.find(self.hasher.hash_one(target), is_it).copied()
    }

    /// Puts an entry in front of those of its target.
    fn link(&mut self, target: &Target, slot: Slot) {
        let hash = self.hasher.hash_one(target);
        let Some(first) = self.first_of(target) else {
            let Self { pot, by_target, hasher, .. } = self;
            by_target.insert_unique(hash, slot, |slot| {
                pot.get(*slot).and_then(target_of).map_or(0, |target| hasher.hash_one(target))
            });
            return;
        };
        if let Some(place) = self.by_target.find_mut(hash, |it| *it == first) {
            *place = slot;
        }
        if let Some(entry) = self.pot.get_mut(slot) {
            entry.siblings_mut().after = Some(first);
        }
        if let Some(entry) = self.pot.get_mut(first) {
            entry.siblings_mut().before = Some(slot);
        }
    }

    fn unlink(&mut self, target: &Target, slot: Slot, Siblings { before, after }: Siblings) {
        if let Some(entry) = after.and_then(|after| self.pot.get_mut(after)) {
            entry.siblings_mut().before = before;
        }
        if let Some(entry) = before.and_then(|before| self.pot.get_mut(before)) {
            entry.siblings_mut().after = after;
            return;
        }
        if let Ok(mut place) = self.by_target.find_entry(self.hasher.hash_one(target), |it| *it == slot) {
            match after {
                Some(after) => *place.get_mut() = after,
                None => {
                    place.remove();
                }
            }
        }
    }
}
