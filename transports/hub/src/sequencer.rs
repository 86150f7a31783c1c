//! The one place where events are committed and delivered, in that order (LOG-03).
//!
//! A task takes what publishers hand in, as much as has gathered, gives it to the history in one call, and delivers what
//! was committed before it takes more. So events of one stream reach every mailbox in the order of their numbers, many
//! publishers share one commit, and a publisher that goes away in the middle takes nothing with it.

use std::sync::Arc;

use eventwire_protocol::{Committed, ErrorBody, ErrorCode, EventKind, route::route};
use tokio::sync::{mpsc, oneshot};

use crate::{
    history::{Append, Outcome, Receipt},
    hub::Core,
};

/// Answers of one job: for each of its appends, the receipts of its records.
pub(crate) type Answers = Vec<Result<Vec<Receipt>, ErrorBody>>;

/// What one publisher hands in at once.
pub(crate) struct Job {
    pub(crate) appends: Vec<Append>,
    pub(crate) reply: oneshot::Sender<Result<Answers, ErrorBody>>,
}

/// Jobs that wait; a publisher that finds this many before it waits for room.
pub(crate) const QUEUE: usize = 1_024;
/// Jobs in one commit.
const GROUP: usize = 256;

/// Runs until the hub and all who publish to it are gone.
pub(crate) async fn run(core: std::sync::Weak<Core>, mut jobs: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        let Some(backplane) = core.upgrade().map(|core| core.backplane.clone()) else { return };
        let received = tokio::select! {
            count = jobs.recv_many(&mut group, GROUP) => {
                if count == 0 {
                    return;
                }
                Vec::new()
            }
            events = backplane.receive() => events,
        };
        let Some(core) = core.upgrade() else { return };
        deliver(&core, &received);
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
    let outcomes = match core.history.append(core.clock.now(), appends).await {
        Ok(outcomes) if outcomes.len() == expected => outcomes,
        Ok(_) => return refuse(replies, &ErrorBody::new(ErrorCode::Internal, "the history lost count")),
        Err(error) => return refuse(replies, &error),
    };
    let mut own = Vec::new();
    let mut answers = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        answers.push(outcome.map(|outcomes| {
            outcomes
                .into_iter()
                .map(|outcome| {
                    let receipt = outcome.receipt();
                    if let Outcome::Committed(event) = outcome {
                        own.push(event);
                    }
                    receipt
                })
                .collect()
        }));
    }
    core.tally.published(own.iter().map(|event| family(event)));
    let due = core.backplane.exchange(own).await;
    deliver(core, &due);
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
/// before this point gets nothing more.
fn deliver(core: &Core, events: &[Arc<Committed>]) {
    for event in events {
        let registry = core.registry();
        for tap in &core.taps {
            tap.committed(event);
        }
        for id in route(&registry.roster, event.envelope()) {
            if let Some(link) = registry.links.get(&id) {
                link.outbox.offer(event);
            }
        }
    }
}
