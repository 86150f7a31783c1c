//! Newest values that found no room in a mailbox: of which roots they are fetched again, and which of them are news to the
//! client (FLOW-10). Bounded in bytes.

use std::collections::{BTreeSet, HashSet};

use eventwire_protocol::{Audience, Envelope, Root, limits};

/// The place of a newest value: audience, event type, key.
pub(crate) type LatestKey = (Audience, String, Option<String>);

/// Memory of one entry beside its texts, in bytes.
const ENTRY: usize = 128;

/// The place of an event among the newest values.
pub(crate) fn latest_key(envelope: &Envelope) -> LatestKey {
    (envelope.audience().clone(), envelope.kind().as_str().to_owned(), envelope.key().map(str::to_owned))
}

/// The newest values of one connection that are fetched when its mailbox has room.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    roots: BTreeSet<Root>,
    news: HashSet<LatestKey>,
    bytes: usize,
}

fn cost_of_root(root: &Root) -> usize {
    ENTRY + root.to_string().len()
}

fn cost_of_key((audience, kind, key): &LatestKey) -> usize {
    ENTRY + audience.to_string().len() + kind.len() + key.as_ref().map_or(0, String::len)
}

impl Deferred {
    /// Whether no root waits to be fetched.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Whether the entries take more than [`limits::DEFERRED_BYTES`].
    pub(crate) fn is_over(&self) -> bool {
        self.bytes > limits::DEFERRED_BYTES
    }

    /// Defers the values of roots.
    pub(crate) fn add(&mut self, roots: impl IntoIterator<Item = Root>) {
        for root in roots {
            let cost = cost_of_root(&root);
            if self.roots.insert(root) {
                self.bytes += cost;
            }
        }
    }

    /// Defers the values of all roots, in place of those of single ones.
    pub(crate) fn widen(&mut self) {
        self.bytes -= self.roots.iter().map(cost_of_root).sum::<usize>();
        self.roots.clear();
        self.add([Root::Realm]);
    }

    /// The client gets the value of this key when it is fetched, although it would take it for news.
    pub(crate) fn add_news(&mut self, key: LatestKey) {
        let cost = cost_of_key(&key);
        if self.news.insert(key) {
            self.bytes += cost;
        }
    }

    /// The client has a newer value of this key, or gets it now. Says whether the key was there.
    pub(crate) fn take_news(&mut self, key: &LatestKey) -> bool {
        let taken = self.news.remove(key);
        if taken {
            self.bytes -= cost_of_key(key);
        }
        taken
    }

    /// The roots to fetch. Their news stay until they are brought.
    pub(crate) fn take_roots(&mut self) -> Vec<Root> {
        let roots = std::mem::take(&mut self.roots);
        self.bytes -= roots.iter().map(cost_of_root).sum::<usize>();
        roots.into_iter().collect()
    }

    /// Nothing of these roots is fetched any more.
    pub(crate) fn forget(&mut self, roots: &HashSet<&Root>) {
        self.roots.retain(|root| !roots.contains(root));
        self.news.retain(|(audience, ..)| audience.root().is_none_or(|root| !roots.contains(&root)));
        self.count();
    }

    /// The values that are still news are no longer kept anywhere.
    pub(crate) fn clear_news(&mut self) {
        self.news = HashSet::new();
        self.count();
    }

    fn count(&mut self) {
        let roots: usize = self.roots.iter().map(cost_of_root).sum();
        self.bytes = roots + self.news.iter().map(cost_of_key).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn root(number: u8) -> Root {
        if number == 0 { Root::Realm } else { format!("room:r{}", "x".repeat(number.into())).parse().unwrap() }
    }

    fn key(number: u8) -> LatestKey {
        (
            format!("room:r{}", "x".repeat((number / 4).into())).parse().unwrap(),
            "a.b".into(),
            Some("k".repeat((number % 4).into())),
        )
    }

    proptest! {
        #[test]
        fn limit_17_the_bytes_are_those_of_the_entries(steps in prop::collection::vec((0..7u8, 1..12u8), 0..60)) {
            let mut deferred = Deferred::default();
            let (mut roots, mut news) = (BTreeMap::new(), BTreeMap::new());
            for (step, number) in steps {
                match step {
                    0 => {
                        deferred.add([root(number)]);
                        roots.insert(root(number), ENTRY + root(number).to_string().len());
                    }
                    1 => {
                        let key = key(number);
                        news.insert(key.clone(), ENTRY + key.0.to_string().len() + 3 + key.2.as_ref().unwrap().len());
                        deferred.add_news(key);
                    }
                    2 => prop_assert_eq!(deferred.take_news(&key(number)), news.remove(&key(number)).is_some()),
                    3 => prop_assert_eq!(deferred.take_roots(), std::mem::take(&mut roots).into_keys().collect::<Vec<_>>()),
                    4 => {
                        let (one, other) = (root(number), root(number + 1));
                        deferred.forget(&HashSet::from([&one, &other]));
                        roots.retain(|root, _| *root != one && *root != other);
                        news.retain(|key, _| key.0.root() != Some(one.clone()) && key.0.root() != Some(other.clone()));
                    }
                    5 => {
                        deferred.clear_news();
                        news.clear();
                    }
                    _ => {
                        deferred.widen();
                        roots = BTreeMap::from([(Root::Realm, ENTRY + Root::Realm.to_string().len())]);
                    }
                }
                prop_assert_eq!(deferred.bytes, roots.values().chain(news.values()).sum::<usize>());
                prop_assert_eq!(deferred.is_empty(), roots.is_empty());
            }
        }
    }
}
