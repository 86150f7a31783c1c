//! Newest values that found no room in a mailbox: of which targets they are fetched again, and which of them are news to the
//! client (FLOW-10). Bounded in bytes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use eventwire_protocol::{Audience, Envelope, Target, limits};

/// The place of a newest value: audience, event type, key.
pub(crate) type LatestKey = (Audience, String, Option<String>);

/// Memory of the note about one value, in bytes: two hashes, and the room that a table leaves.
const NOTE: usize = 40;

/// The place of an event among the newest values.
pub(crate) fn latest_key(envelope: &Envelope) -> LatestKey {
    (envelope.audience().clone(), envelope.kind().as_str().to_owned(), envelope.key().map(str::to_owned))
}

/// The newest values of one connection that are fetched when its mailbox has room.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    targets: BTreeSet<Target>,
    /// Hashes of the keys of news, each with the hash of its target. They differ for two keys but by a rare chance, which would
    /// bring one older value as well.
    news: HashMap<u64, u64>,
    hasher: RandomState,
    /// Of the targets.
    bytes: usize,
}

fn cost_of_target(target: &Target) -> usize {
    size_of::<Target>() * 3 / 2 + target.to_string().len()
}

impl Deferred {
    /// Whether no target waits to be fetched.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Memory of the notes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + NOTE * self.news.len()
    }

    /// Whether the notes take more than [`limits::DEFERRED_BYTES`].
    pub(crate) fn is_over(&self) -> bool {
        self.bytes() > limits::DEFERRED_BYTES
    }

    /// Defers the values of targets.
    pub(crate) fn add(&mut self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            let cost = cost_of_target(&target);
            if self.targets.insert(target) {
                self.bytes += cost;
            }
        }
    }

    /// The client gets the value of this key when it is fetched, although it would take it for news.
    pub(crate) fn add_news(&mut self, key: &LatestKey) {
        self.news.insert(self.hasher.hash_one(key), self.hasher.hash_one(key.0.target()));
    }

    /// The client has a newer value of this key, or gets it now. Says whether the key was there.
    pub(crate) fn take_news(&mut self, key: &LatestKey) -> bool {
        self.news.remove(&self.hasher.hash_one(key)).is_some()
    }

    /// The targets to fetch. Their news stay until they are brought.
    pub(crate) fn take_targets(&mut self) -> Vec<Target> {
        self.bytes = 0;
        std::mem::take(&mut self.targets).into_iter().collect()
    }

    /// Nothing of these targets is fetched any more.
    pub(crate) fn forget(&mut self, targets: &HashSet<&Target>) {
        self.targets.retain(|target| !targets.contains(target));
        self.bytes = self.targets.iter().map(cost_of_target).sum();
        let hashes: HashSet<u64> = targets.iter().map(|target| self.hasher.hash_one(Some(*target))).collect();
        self.news.retain(|_, target| !hashes.contains(target));
    }

    /// The values that are still news are no longer kept anywhere.
    pub(crate) fn clear_news(&mut self) {
        self.news = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(number: u8) -> Target {
        if number == 0 { Target::Realm } else { format!("room:r{}", "x".repeat(number.into())).parse().unwrap() }
    }

    fn key(number: u8) -> LatestKey {
        let audience = format!("room:r{}", "x".repeat((number / 4).into())).parse().unwrap();
        (audience, "a.b".into(), Some("k".repeat((number % 4).into())))
    }

    proptest! {
        #[test]
        fn limit_17_the_notes_and_their_bytes_are_those_of_plain_sets(
            steps in prop::collection::vec((0..6u8, 1..12u8), 0..60)
        ) {
            let mut deferred = Deferred::default();
            let (mut targets, mut news) = (BTreeSet::new(), BTreeSet::new());
            for (step, number) in steps {
                match step {
                    0 => {
                        deferred.add([target(number)]);
                        targets.insert(target(number));
                    }
                    1 => {
                        deferred.add_news(&key(number));
                        news.insert(key(number));
                    }
                    2 => prop_assert_eq!(deferred.take_news(&key(number)), news.remove(&key(number))),
                    3 => prop_assert_eq!(deferred.take_targets(), std::mem::take(&mut targets).into_iter().collect::<Vec<_>>()),
                    4 => {
                        let (one, other) = (target(number), target(number + 1));
                        deferred.forget(&HashSet::from([&one, &other]));
                        targets.retain(|target| *target != one && *target != other);
                        news.retain(|key| key.0.target() != Some(one.clone()) && key.0.target() != Some(other.clone()));
                    }
                    _ => {
                        deferred.clear_news();
                        news.clear();
                    }
                }
                let of_targets: usize = targets.iter().map(|target| size_of::<Target>() * 3 / 2 + target.to_string().len()).sum();
                prop_assert_eq!(deferred.bytes(), of_targets + 40 * news.len());
                prop_assert_eq!(deferred.is_empty(), targets.is_empty());
            }
        }
    }
}
