//! When and how connections subscribed: what `explain` says beside the routing decision (HTTP-07).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use eventwire_protocol::{
    ConnectionId, Target, Time,
    explain::{Records, SubscribedAt},
};

use crate::hub::Registry;

/// When and how one connection came by each of its subscriptions. Names are shared with the roster; an entry is part of what
/// a subscription is charged (LIMIT-14).
#[derive(Debug, Default)]
pub(crate) struct SubscribedTimes(Mutex<HashMap<Target, SubscribedAt>>);

impl SubscribedTimes {
    /// These targets are subscribed since then.
    pub(crate) fn record<'a>(&self, targets: impl IntoIterator<Item = &'a Target>, since: SubscribedAt) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.extend(targets.into_iter().map(|target| (target.clone(), since)));
    }

    /// These targets are subscribed no longer.
    pub(crate) fn forget<'a>(&self, targets: impl IntoIterator<Item = &'a Target>) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for target in targets {
            times.remove(target);
        }
    }

    fn get(&self, target: &Target) -> Option<SubscribedAt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied()
    }
}

/// What the hub knows of its connections at one moment.
pub(crate) struct HubRecords<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) now: Time,
}

impl Records for HubRecords<'_> {
    fn now(&self) -> Time {
        self.now
    }

    fn subscribed(&self, id: ConnectionId, target: &Target) -> Option<SubscribedAt> {
        self.registry.links.get(&id)?.subscribed.get(target)
    }

    fn client(&self, id: ConnectionId) -> Option<String> {
        self.registry.links.get(&id)?.user_agent().map(str::to_owned)
    }
}
