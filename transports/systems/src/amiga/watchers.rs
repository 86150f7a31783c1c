//! Who looks through which window, and the one task that looks at the source for all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use eventwire_hub::{Holder, Hub};
use eventwire_protocol::{
    ConnectionId, Envelope, ErrorBody,
    dialect::amiga::{Groups, Subscription},
    event::{
        connection::Error,
        metrics::{MetricsOverview, MetricsUpdate},
    },
};
use tokio::{sync::Notify, time::Instant};

use super::windows::Windows;

/// One connection.
#[derive(Clone, Debug)]
struct Watch {
    /// On whose account its figures are sent.
    holder: Holder,
    /// What it asked for last; of one that never subscribed, the defaults.
    subscription: Subscription,
    /// Whether it may watch every run: the activity names runs of everyone (AUTH-15).
    sees_every_run: bool,
    /// Whether it gets figures without asking.
    subscribed: bool,
    /// When it was looked at last; never, if it has just subscribed.
    looked: Option<Instant>,
    /// The figures that it has, with those of its groups that it did not want.
    last: Option<Arc<MetricsUpdate>>,
    /// Which subscription this is: an answer to an earlier one is not for it.
    generation: u64,
}

impl Watch {
    /// The groups that it asked for and may have.
    fn groups(&self) -> Groups {
        let asked = self.subscription.groups;
        Groups { activity: asked.activity && self.sees_every_run, ..asked }
    }

    fn due(&self) -> Option<Option<Instant>> {
        let interval = Duration::from_secs(self.subscription.update_interval.into());
        self.subscribed.then(|| self.looked.map(|looked| looked + interval))
    }
}

/// What a connection is sent, and the groups that it is sent of it.
type News = (ConnectionId, Groups, Result<Arc<MetricsUpdate>, ErrorBody>);

/// Everyone who is connected.
pub(super) struct Watchers {
    hub: Hub,
    watches: Mutex<BTreeMap<ConnectionId, Watch>>,
    changed: Arc<Notify>,
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

impl Watchers {
    /// Nobody yet. The task that looks ends when this is dropped.
    pub(super) fn start(hub: Hub, windows: Arc<Windows>) -> Arc<Self> {
        let changed = Arc::new(Notify::new());
        let watchers = Arc::new(Self { hub, watches: Mutex::default(), changed: changed.clone() });
        tokio::spawn(run(Arc::downgrade(&watchers), windows, changed));
        watchers
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.watches().len()
    }

    /// A connection has come; subscribed from the start, or not yet.
    pub(super) fn enter(
        &self,
        id: ConnectionId,
        holder: Holder,
        subscription: Option<Subscription>,
        sees_every_run: bool,
    ) {
        let watch = Watch {
            holder,
            sees_every_run,
            subscription: subscription.unwrap_or_default(),
            subscribed: subscription.is_some(),
            looked: None,
            last: None,
            generation: 0,
        };
        self.watches().insert(id, watch);
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, id: ConnectionId) {
        self.watches().remove(&id);
        self.changed.notify_one();
    }

    /// The first update of a subscription comes at once, whatever was sent before.
    pub(super) fn subscribe(&self, id: ConnectionId, subscription: Subscription) {
        if let Some(watch) = self.watches().get_mut(&id) {
            let generation = watch.generation + 1;
            *watch = Watch { subscription, subscribed: true, looked: None, last: None, generation, ..watch.clone() };
        }
        self.changed.notify_one();
    }

    pub(super) fn unsubscribe(&self, id: ConnectionId) {
        if let Some(watch) = self.watches().get_mut(&id) {
            watch.subscribed = false;
            watch.generation += 1;
        }
        self.changed.notify_one();
    }

    pub(super) fn set_interval(&self, id: ConnectionId, update_interval: u32) {
        if let Some(watch) = self.watches().get_mut(&id) {
            watch.subscription.update_interval = update_interval;
        }
        self.changed.notify_one();
    }

    /// What a connection asked for last.
    pub(super) fn subscription(&self, id: ConnectionId) -> Subscription {
        self.watches().get(&id).map(|watch| watch.subscription).unwrap_or_default()
    }

    /// Tells one connection the outcome of a computation that it asked for by itself.
    pub(super) async fn refresh(&self, id: ConnectionId, hours: u32, outcome: Result<Arc<MetricsUpdate>, ErrorBody>) {
        let (holder, groups) = {
            let mut watches = self.watches();
            let Some(watch) = watches.get_mut(&id) else { return };
            if let (Ok(update), true) = (&outcome, watch.subscribed && watch.subscription.hours == hours) {
                watch.last = Some(update.clone());
            }
            (watch.holder.clone(), watch.groups())
        };
        self.tell(&holder, vec![(id, groups, outcome)]).await;
    }

    /// When the first connection is due: `None` when none is subscribed, and nothing within when one is due at once.
    fn next(&self) -> Option<Option<Instant>> {
        self.watches().values().filter_map(Watch::due).min()
    }

    /// Those who are due now, by window. They count as looked at.
    fn due(&self, now: Instant) -> BTreeMap<u32, Vec<(ConnectionId, u64)>> {
        let mut due: BTreeMap<u32, Vec<(ConnectionId, u64)>> = BTreeMap::new();
        for (id, watch) in self.watches().iter_mut() {
            if watch.due().is_some_and(|at| at.is_none_or(|at| at <= now)) {
                watch.looked = Some(now);
                due.entry(watch.subscription.hours).or_default().push((*id, watch.generation));
            }
        }
        due
    }

    /// Tells those who were due what is new for them.
    async fn looked(&self, due: Vec<(ConnectionId, u64)>, outcome: Result<Arc<MetricsUpdate>, ErrorBody>) {
        let mut news: BTreeMap<Holder, Vec<News>> = BTreeMap::new();
        {
            let mut watches = self.watches();
            for (id, generation) in due {
                let Some(watch) = watches.get_mut(&id).filter(|watch| watch.generation == generation) else { continue };
                let groups = watch.groups();
                if let Ok(update) = &outcome {
                    if watch.last.as_ref().is_some_and(|last| same(last, update, groups)) {
                        continue;
                    }
                    watch.last = Some(update.clone());
                }
                news.entry(watch.holder.clone()).or_default().push((id, groups, outcome.clone()));
            }
        }
        for (holder, news) in news {
            self.tell(&holder, news).await;
        }
    }

    async fn tell(&self, holder: &Holder, news: Vec<News>) {
        let now = self.hub.now();
        let events = news.into_iter().filter_map(|(id, groups, outcome)| {
            let event = match outcome {
                Ok(update) if groups == Groups::ALL => Envelope::to_connection(id, &*update, now),
                Ok(update) => Envelope::to_connection(id, &chosen(&update, groups), now),
                Err(error) => Envelope::to_connection(id, &told(error), now),
            };
            event.inspect_err(|error| tracing::error!(%error, "figures cannot be sent")).ok()
        });
        let events: Vec<Envelope> = events.collect();
        if !events.is_empty()
            && let Err(error) = self.hub.append_for(holder, events, Vec::new()).await
        {
            tracing::warn!(%error, "figures were not sent");
        }
    }
}

/// Looks whenever somebody is due. Whatever goes wrong with one look, the next one comes.
async fn run(watchers: Weak<Watchers>, windows: Arc<Windows>, changed: Arc<Notify>) {
    loop {
        let next = match watchers.upgrade() {
            Some(watchers) => watchers.next(),
            None => return,
        };
        match next {
            None => {
                changed.notified().await;
                continue;
            }
            Some(Some(at)) if at > Instant::now() => {
                tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = changed.notified() => {}
                }
                continue;
            }
            Some(_) => {}
        }
        let Some(those) = watchers.upgrade() else { return };
        for (hours, due) in those.due(Instant::now()) {
            // A window that takes long keeps nobody of another waiting.
            let (watchers, windows) = (watchers.clone(), windows.clone());
            tokio::spawn(async move {
                let outcome = windows.metrics(hours).await;
                if let Err(error) = &outcome {
                    tracing::warn!(hours, %error, "the source of metrics failed");
                }
                if let Some(watchers) = watchers.upgrade() {
                    watchers.looked(due, outcome).await;
                }
            });
        }
    }
}

/// Whether nothing has changed in the figures that somebody wants. When they were computed is not among them (T10).
fn same(one: &MetricsUpdate, other: &MetricsUpdate, groups: Groups) -> bool {
    (!groups.overview || one.overview == other.overview)
        && (!groups.sessions || one.sessions == other.sessions)
        && (!groups.activity || one.activity == other.activity)
}

/// The figures that somebody wants; the others are empty.
fn chosen(update: &MetricsUpdate, groups: Groups) -> MetricsUpdate {
    MetricsUpdate {
        overview: if groups.overview { update.overview.clone() } else { MetricsOverview::default() },
        sessions: update.sessions.clone().filter(|_| groups.sessions),
        activity: if groups.activity { update.activity.clone() } else { Vec::new() },
        window_hours: update.window_hours,
    }
}

fn told(error: ErrorBody) -> Error {
    Error {
        code: error.code,
        message: error.message.into_owned(),
        re: None,
        retryable: error.code.retryable(),
        retry_after_ms: None,
        details: None,
    }
}
