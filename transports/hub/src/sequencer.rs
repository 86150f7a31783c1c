//! The one place where events are committed and delivered, in that order (LOG-03).
//!
//! A task takes what publishers hand in, as much as has gathered, gives it to the history in one call, and delivers what
//! was committed before it takes more. So events of one stream reach every mailbox in the order of their numbers, many
//! publishers share one commit, and a publisher that goes away in the middle takes nothing with it. They take turns (LIMIT-15).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventwire_protocol::{Committed, ErrorBody, ErrorCode, EventKind, limits, route::route};
use tokio::sync::{Notify, oneshot};

use crate::{
    fair_queue::{Entry, FairQueue},
    history::{Append, Outcome, Receipt},
    holder::Holder,
    hub::Core,
};

/// Answers of one job: for each of its appends, the receipts of its records.
pub(crate) type Answers = Vec<Result<Vec<Receipt>, ErrorBody>>;

/// What one publisher hands in at once.
pub(crate) struct Job {
    pub(crate) appends: Vec<Append>,
    pub(crate) reply: oneshot::Sender<Result<Answers, ErrorBody>>,
}

/// What an event costs beside its payload while it waits, roughly.
const EVENT_BYTES: u64 = 512;
/// Jobs in one commit.
const GROUP: usize = 256;
/// Bytes in one commit; one job is always taken, whatever its size.
const GROUP_BYTES: u64 = 1024 * 1024;

/// What publishers have handed in.
pub(crate) struct Jobs {
    state: Mutex<State>,
    /// Something was handed in, or nothing will be any more.
    ready: Notify,
    /// Something was taken.
    room: Notify,
}

struct State {
    queue: FairQueue<Job>,
    closed: bool,
}

impl Jobs {
    pub(crate) fn new() -> Arc<Self> {
        let state = Mutex::new(State { queue: FairQueue::new(limits::WAITING_PUBLICATION_BYTES), closed: false });
        Arc::new(Self { state, ready: Notify::new(), room: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands something in, on the account of a holder, and gives where the answers come. Waits while there is no room.
    ///
    /// # Errors
    /// `rate_limited` when others wait and the holder has its share; `unavailable` when the hub has stopped.
    pub(crate) async fn push(
        &self,
        holder: &Holder,
        appends: Vec<Append>,
    ) -> Result<oneshot::Receiver<Result<Answers, ErrorBody>>, ErrorBody> {
        let records = appends.iter().flat_map(|append| &append.records);
        let sizes = records.map(|record| u64::try_from(record.envelope.data().len()).unwrap_or(u64::MAX));
        let size = sizes.fold(0_u64, |sum, size| sum.saturating_add(size).saturating_add(EVENT_BYTES));
        let (reply, answers) = oneshot::channel();
        let mut job = Job { appends, reply };
        loop {
            // Before the look, so that nothing is taken unseen in between.
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            let entry = {
                let mut state = self.state();
                if state.closed {
                    return Err(stopped());
                }
                state.queue.push(holder, size, job)
            };
            job = match entry {
                Entry::Queued => {
                    self.ready.notify_one();
                    return Ok(answers);
                }
                Entry::OverShare(_) if *holder != Holder::Local => {
                    let message =
                        "publications of others wait, and yours are more than their share; publish again in a second";
                    return Err(ErrorBody::new(ErrorCode::RateLimited, message));
                }
                // What is inside the process has nowhere to keep what it is refused.
                Entry::Wait(job) | Entry::OverShare(job) => job,
            };
            room.await;
        }
    }

    /// Takes what comes next. Nothing once nothing comes any more. Cancel safe.
    async fn next(&self) -> Vec<Job> {
        loop {
            {
                let mut state = self.state();
                let group = state.queue.take(GROUP, GROUP_BYTES);
                if !group.is_empty() || state.closed {
                    self.room.notify_waiters();
                    return group;
                }
            }
            self.ready.notified().await;
        }
    }

    /// Takes nothing in any more; whoever waits for an answer or for room learns that the hub has stopped.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.queue = FairQueue::new(0);
        drop(state);
        self.ready.notify_one();
        self.room.notify_waiters();
    }
}

/// What a publisher is told when nothing commits any more.
pub(crate) fn stopped() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, "the hub has stopped")
}

/// Closes the jobs with the task that works them off, however it ends.
struct CloseAtEnd(Arc<Jobs>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs until the hub and all who publish to it are gone.
pub(crate) async fn run(core: std::sync::Weak<Core>, jobs: Arc<Jobs>) {
    let jobs = CloseAtEnd(jobs);
    loop {
        let Some(backplane) = core.upgrade().map(|core| core.backplane.clone()) else { return };
        let (mut group, received) = tokio::select! {
            group = jobs.0.next() => (group, Vec::new()),
            events = backplane.receive() => (Vec::new(), events),
        };
        let Some(core) = core.upgrade() else { return };
        deliver(&core, &received, Vec::new());
        if !group.is_empty() {
            commit(&core, &mut group).await;
        }
    }
}

async fn commit(core: &Core, group: &mut Vec<Job>) {
    let mut appends = Vec::new();
    let mut replies = Vec::with_capacity(group.len());
    for job in group.drain(..) {
        replies.push((job.appends.len(), job.reply));
        appends.extend(job.appends);
    }
    let expected = appends.len();
    // What taps are told; without any it is not needed.
    let is_tapped = !core.taps.is_empty();
    let holders: Vec<Vec<Holder>> = appends
        .iter()
        .filter(|_| is_tapped)
        .map(|append| append.records.iter().map(|record| record.holder.clone()).collect())
        .collect();
    let mut holders = holders.into_iter();
    let outcomes = match core.history.append(core.clock.now(), appends).await {
        Ok(outcomes) if outcomes.len() == expected => outcomes,
        Ok(_) => return refuse(replies, &ErrorBody::new(ErrorCode::Internal, "the history lost count")),
        Err(error) => return refuse(replies, &error),
    };
    let (mut own, mut accounts) = (Vec::new(), Vec::new());
    let mut answers = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let mut holders = holders.next().into_iter().flatten();
        answers.push(outcome.map(|outcomes| {
            outcomes
                .into_iter()
                .map(|outcome| {
                    let receipt = outcome.receipt();
                    let holder = holders.next();
                    if let Outcome::Committed(event) = outcome {
                        accounts.extend(holder.map(|holder| (event.clone(), holder)));
                        own.push(event);
                    }
                    receipt
                })
                .collect()
        }));
    }
    core.stats.published(own.iter().map(|event| family(event)));
    let due = core.backplane.exchange(own).await;
    deliver(core, &due, accounts);
    let mut answers = answers.into_iter();
    for (count, reply) in replies {
        // A publisher that no longer waits has published all the same.
        let _ = reply.send(Ok(answers.by_ref().take(count).collect()));
    }
}

/// The family of an event; all of vendor space is one, for anybody may make up names there.
fn family(event: &Committed) -> &'static str {
    match event.envelope().kind() {
        EventKind::Known(known) => known.spec().family,
        _ => "_",
    }
}

fn refuse(replies: Vec<(usize, oneshot::Sender<Result<Answers, ErrorBody>>)>, error: &ErrorBody) {
    tracing::error!(%error, "the history did not commit");
    for (_, reply) in replies {
        let _ = reply.send(Err(error.clone()));
    }
}

/// Offers each event to those whom routing names. Under the read lock: whoever left the roster, or lost a permission,
/// before this point gets nothing more. `accounts` has the holders of this node's own events, in the order of commits.
fn deliver(core: &Core, events: &[Arc<Committed>], accounts: Vec<(Arc<Committed>, Holder)>) {
    let mut accounts = accounts.into_iter().peekable();
    for event in events {
        let holder = accounts.next_if(|(own, _)| Arc::ptr_eq(own, event)).map(|(_, holder)| holder).unwrap_or_default();
        let registry = core.registry();
        for tap in &core.taps {
            tap.committed_for(event, &holder);
        }
        for id in route(&registry.roster, event.envelope()) {
            if let Some(link) = registry.links.get(&id) {
                link.send_queue.offer(event);
            }
        }
    }
}
