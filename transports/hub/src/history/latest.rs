//! The newest value of every key (FLOW-01, FLOW-04): found by key, by target, and in the order in which they were written.
//!
//! Where there is no room for all, values are evicted. A small part of the room remembers who would have received them, so
//! that these subscribers, and no others, get a gap (LOG-12).

use std::sync::{Arc, Weak};

use eventwire_protocol::{
    Audience, Committed, ConnectionId, Envelope, Stored, Target, Time, UserId, footprint, limits,
};

use super::{
    MissedValue, PotUsage,
    indexed::{Indexed, Keyed, Siblings},
    memory::{FRAMES_BYTES, age, shared},
    pot::{INDEX_BYTES, Lane, Slot},
};
use crate::holder::Holder;

#[derive(Debug)]
struct Value {
    stored: Arc<Stored>,
    shared: Weak<Committed>,
    /// Grows with every write, so that values come in the order in which they were written.
    write: u64,
    siblings: Siblings,
}

impl Keyed for Value {
    type Key<'a> = (&'a Audience, &'a str, Option<&'a str>);

    fn key_of(envelope: &Envelope) -> Self::Key<'_> {
        (envelope.audience(), envelope.kind().as_str(), envelope.key())
    }

    fn envelope(&self) -> &Envelope {
        self.stored.envelope()
    }

    fn siblings(&self) -> Siblings {
        self.siblings
    }

    fn siblings_mut(&mut self) -> &mut Siblings {
        &mut self.siblings
    }
}

/// Values that were evicted and had the same receivers.
#[derive(Debug)]
struct Missed {
    value: MissedValue,
    siblings: Siblings,
}

impl Keyed for Missed {
    /// Everything that routing reads.
    type Key<'a> = (&'a Audience, &'a str, Option<ConnectionId>, Option<&'a UserId>);

    fn key_of(envelope: &Envelope) -> Self::Key<'_> {
        let except = envelope.modifiers();
        (envelope.audience(), envelope.kind().as_str(), except.except_connection, except.except_user.as_ref())
    }

    fn envelope(&self) -> &Envelope {
        &self.value.event
    }

    fn siblings(&self) -> Siblings {
        self.siblings
    }

    fn siblings_mut(&mut self) -> &mut Siblings {
        &mut self.siblings
    }
}

/// The part of the room for [`Missed`] values.
const MISSED_PART: usize = 16;

/// The newest values.
#[derive(Debug)]
pub(super) struct Latest {
    values: Indexed<Value>,
    missed: Indexed<Missed>,
    bound: usize,
    writes: u64,
    evicted: u64,
}

impl Latest {
    pub(super) fn new(bytes: usize, keys: usize) -> Self {
        Self {
            values: Indexed::new(bytes - bytes / MISSED_PART, Some(keys)),
            missed: Indexed::new(bytes / MISSED_PART, None),
            bound: bytes,
            writes: 0,
            evicted: 0,
        }
    }

    /// Keeps a value in place of the one that its key had.
    pub(super) fn keep(&mut self, now: Time, holder: &Holder, event: &Arc<Committed>) {
        if let Some(slot) = self.values.find(event.envelope()) {
            self.values.remove(slot);
        }
        self.writes += 1;
        let stored = event.stored().clone();
        let cost = stored.footprint() + FRAMES_BYTES + 2 * INDEX_BYTES;
        let (write, siblings) = (self.writes, Siblings::default());
        self.values.add(now, holder, cost, Value { stored, shared: Arc::downgrade(event), write, siblings });
    }

    /// Remembers that a value was evicted, and the time of the newest of those with the same receivers.
    fn miss(&mut self, now: Time, holder: &Holder, evicted: &Envelope) {
        if evicted.audience().target().is_none() {
            return;
        }
        let before = self.missed.find(evicted).and_then(|slot| self.missed.remove(slot));
        let time = before.map_or(evicted.time(), |before| before.value.event.time().max(evicted.time()));
        let event = evicted.without_payload(time);
        let cost = footprint::shared(size_of::<Envelope>()) + event.footprint() + 2 * INDEX_BYTES;
        let value = MissedValue { event: Arc::new(event), number: self.evicted };
        self.missed.add(now, holder, cost, Missed { value, siblings: Siblings::default() });
        while let Some(slot) = self.missed.pot().overdrawn() {
            self.missed.remove(slot);
        }
    }

    /// What was evicted of the targets.
    pub(super) fn incomplete(&self, targets: &[Target]) -> Vec<MissedValue> {
        let everything = [Target::Realm];
        let targets = if targets.contains(&Target::Realm) { &everything } else { targets };
        let missed = |slot: Slot| self.missed.pot().get(slot).map(|missed| missed.value.clone());
        targets.iter().flat_map(|target| self.missed.of_root(target)).filter_map(missed).collect()
    }

    /// Forgets the values whose time is over.
    pub(super) fn expire(&mut self, now: Time) {
        let is_over = |since: Option<Time>| since.is_some_and(|it| age(it, now) > limits::LATEST_AGE.as_micros());
        while let Some(slot) = self.values.pot().oldest(Lane::First)
            && is_over(self.values.pot().since(slot))
        {
            self.values.remove(slot);
        }
        while let Some(slot) = self.missed.pot().oldest(Lane::First)
            && is_over(self.missed.pot().since(slot))
        {
            self.missed.remove(slot);
        }
    }

    /// Forgets one value before its time if there is no room for all. Gives the holder that it was of.
    pub(super) fn evict(&mut self, now: Time) -> Option<Holder> {
        let slot = self.values.pot().overdrawn()?;
        let holder = self.values.pot().holder(slot).cloned()?;
        let value = self.values.remove(slot)?;
        self.evicted += 1;
        self.miss(now, &holder, value.envelope());
        Some(holder)
    }

    /// The values of the targets, in the order in which they were written.
    pub(super) fn of(&mut self, targets: &[Target]) -> Vec<Arc<Committed>> {
        let everything = [Target::Realm];
        let targets = if targets.contains(&Target::Realm) { &everything } else { targets };
        let written = |slot: Slot| self.values.pot().get(slot).map(|value| (value.write, slot));
        let mut found: Vec<(u64, Slot)> =
            targets.iter().flat_map(|target| self.values.of_root(target)).filter_map(written).collect();
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
            bytes: self.values.pot().bytes() + self.missed.pot().bytes(),
            bound: self.bound as u64,
            entries: self.values.pot().len() as u64,
            evicted: self.evicted,
        }
    }
}
