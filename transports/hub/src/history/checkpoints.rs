//! Where each source is, in each of its places: what a source that starts again reads (LOG-03), as long as there is room
//! (LIMIT-10).
//!
//! An account is one source of one holder, so a source with many places takes nothing from another. Where there is no room,
//! the place of the largest account that was committed longest ago is forgotten, and its source begins there anew.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use eventwire_protocol::{Time, footprint, shares::Standing};
use hashbrown::HashTable;

use super::{
    Checkpoint, PotUsage,
    pot::{INDEX_BYTES, Lane, Owner, Pot, Slot},
};
use crate::holder::Holder;

/// A source of a holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SourceOf {
    holder: Holder,
    source: Arc<str>,
}

impl Owner for SourceOf {
    fn standing(&self) -> Standing {
        self.holder.standing()
    }
}

#[derive(Debug)]
struct Place {
    source: Arc<str>,
    name: Box<str>,
    state: Box<str>,
}

/// The places of all sources.
#[derive(Debug)]
pub(super) struct Checkpoints {
    places: Pot<Place, SourceOf>,
    index: HashTable<Slot>,
    hasher: RandomState,
    bound: usize,
    evicted: u64,
}

impl Checkpoints {
    pub(super) fn new(bound: usize) -> Self {
        Self { places: Pot::new(bound, None), index: HashTable::new(), hasher: RandomState::new(), bound, evicted: 0 }
    }

    fn find(&self, source: &str, name: &str) -> Option<Slot> {
        let is_it = |slot: &Slot| self.places.get(*slot).is_some_and(|it| *it.source == *source && *it.name == *name);
        self.index.find(self.hasher.hash_one((source, name)), is_it).copied()
    }

    fn forget(&mut self, slot: Slot) {
        let Some(place) = self.places.remove(slot, Some(Lane::First)) else { return };
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one((&*place.source, &*place.name)), |it| *it == slot)
        {
            entry.remove();
        }
    }

    /// Takes over where a source is in a place.
    pub(super) fn keep(&mut self, now: Time, holder: &Holder, checkpoint: Checkpoint) {
        let Checkpoint { source, place, state } = checkpoint;
        if let Some(slot) = self.find(&source, &place) {
            self.forget(slot);
        }
        let Some(state) = state else { return };
        let hash = self.hasher.hash_one((source.as_str(), place.as_str()));
        let owner = SourceOf { holder: holder.clone(), source: source.into() };
        // The name of a source is kept once.
        let before = self.places.newest_of(&owner).and_then(|slot| self.places.get(slot));
        let (owner, name_bytes) = match before.map(|before| before.source.clone()) {
            Some(source) => (SourceOf { source, ..owner }, 0),
            None => {
                let name_bytes = footprint::shared(owner.source.len());
                (owner, name_bytes)
            }
        };
        let cost = name_bytes + footprint::allocated(place.len()) + footprint::allocated(state.len()) + INDEX_BYTES;
        let place = Place { source: owner.source.clone(), name: place.into(), state: state.into() };
        let Some(slot) = self.places.push(&owner, Some(Lane::First), now, cost, place) else { return };
        let Self { places, index, hasher, .. } = self;
        index.insert_unique(hash, slot, |slot| {
            places.get(*slot).map_or(0, |place| hasher.hash_one((&*place.source, &*place.name)))
        });
    }

    /// Forgets one place if there is no room for all. Gives the holder that it was of.
    pub(super) fn evict(&mut self) -> Option<Holder> {
        let slot = self.places.overdrawn()?;
        let holder = self.places.holder(slot).map(|of| of.holder.clone());
        self.forget(slot);
        self.evicted += 1;
        holder
    }

    /// The places of a source, by name.
    pub(super) fn of(&self, source: &str) -> Vec<Checkpoint> {
        let mut at = self.places.oldest(Lane::First);
        let mut found: Vec<Checkpoint> = std::iter::from_fn(|| {
            let slot = at?;
            at = self.places.newer(slot);
            self.places.get(slot)
        })
        .filter(|place| *place.source == *source)
        .map(|Place { source, name, state }| Checkpoint {
            source: source.to_string(),
            place: name.to_string(),
            state: Some(state.to_string()),
        })
        .collect();
        found.sort_unstable_by(|one, other| one.place.cmp(&other.place));
        found
    }

    pub(super) fn usage(&self) -> PotUsage {
        PotUsage {
            bytes: self.places.bytes(),
            bound: self.bound as u64,
            entries: self.places.len() as u64,
            evicted: self.evicted,
        }
    }
}
