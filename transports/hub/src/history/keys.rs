//! Idempotency keys: what was answered under each, for 10 minutes (LOG-09) or as long as there is room (LIMIT-10).

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use eventwire_protocol::{EventId, Time, footprint, frame::Logged, limits};
use hashbrown::HashTable;

use super::{
    Idempotency, PotUsage, Receipt,
    memory::age,
    pot::{INDEX_BYTES, Lane, Pot, Slot},
};
use crate::holder::Holder;

/// What was answered under one key.
#[derive(Debug)]
pub(super) struct Answer {
    principal: Arc<str>,
    key: EventId,
    pub(super) digest: [u8; 32],
    logged: Option<Logged>,
}

impl Answer {
    pub(super) fn receipt(&self) -> Receipt {
        Receipt { seq: self.logged.map(|it| it.seq), prev: self.logged.map(|it| it.prev), repeated: true }
    }

    fn is_of(&self, principal: &str, key: &EventId) -> bool {
        *self.principal == *principal && self.key == *key
    }
}

/// The keys of all principals.
#[derive(Debug)]
pub(super) struct Keys {
    answers: Pot<Answer>,
    index: HashTable<Slot>,
    hasher: RandomState,
    bound: usize,
    evicted: u64,
}

impl Keys {
    pub(super) fn new(bound: usize) -> Self {
        Self { answers: Pot::new(bound, None), index: HashTable::new(), hasher: RandomState::new(), bound, evicted: 0 }
    }

    fn hash(&self, principal: &str, key: &EventId) -> u64 {
        self.hasher.hash_one((principal, key))
    }

    /// What was answered under a key, if it is remembered.
    pub(super) fn find(&self, of: &Idempotency) -> Option<&Answer> {
        let hash = self.hash(&of.principal, &of.key);
        let is_it = |slot: &Slot| self.answers.get(*slot).is_some_and(|answer| answer.is_of(&of.principal, &of.key));
        self.index.find(hash, is_it).and_then(|slot| self.answers.get(*slot))
    }

    /// Remembers what was answered under a key that is not remembered yet.
    pub(super) fn keep(&mut self, now: Time, holder: &Holder, of: Idempotency, logged: Option<Logged>) {
        let Idempotency { principal, key, digest } = of;
        let hash = self.hash(&principal, &key);
        // Credentials are read anew with each request; the name of one principal is kept once all the same.
        let before = self.answers.newest_of(holder).and_then(|slot| self.answers.get(slot));
        let known = before.map(|answer| &answer.principal).filter(|name| **name == principal).cloned();
        let name_bytes = if known.is_some() { 0 } else { footprint::shared(principal.len()) };
        let cost = name_bytes + footprint::shared(key.as_str().len()) + INDEX_BYTES;
        let answer = Answer { principal: known.unwrap_or(principal), key, digest, logged };
        let Some(slot) = self.answers.push(holder, Some(Lane::First), now, cost, answer) else { return };
        let Self { answers, index, hasher, .. } = self;
        index.insert_unique(hash, slot, |slot| {
            answers.get(*slot).map_or(0, |answer| hasher.hash_one((&*answer.principal, &answer.key)))
        });
    }

    fn forget(&mut self, slot: Slot) {
        let Some(answer) = self.answers.remove(slot, Some(Lane::First)) else { return };
        let hash = self.hash(&answer.principal, &answer.key);
        if let Ok(entry) = self.index.find_entry(hash, |it| *it == slot) {
            entry.remove();
        }
    }

    /// Forgets the keys whose time is over.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some(slot) = self.answers.oldest(Lane::First)
            && self.answers.since(slot).is_some_and(|since| age(since, now) > limits::IDEMPOTENCY_AGE.as_micros())
        {
            self.forget(slot);
        }
    }

    /// Forgets one key before its time if there is no room for all. Gives the holder that it was of.
    pub(super) fn evict(&mut self) -> Option<Holder> {
        let slot = self.answers.overdrawn()?;
        let holder = self.answers.holder(slot).cloned();
        self.forget(slot);
        self.evicted += 1;
        holder
    }

    pub(super) fn usage(&self) -> PotUsage {
        PotUsage {
            bytes: self.answers.bytes(),
            bound: self.bound as u64,
            entries: self.answers.len() as u64,
            evicted: self.evicted,
        }
    }
}
