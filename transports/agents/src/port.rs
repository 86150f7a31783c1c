//! Between the thread that reads and the task that publishes.
//!
//! Reading directories is blocking work and lives on a thread of its own, written as plain code from top to bottom. It
//! hands each batch over through a [`Port`] and waits for the answer, so at most one batch is under way and what is
//! unread stays in the files. The task on the other side ([`serve`]) knows the sink, repeats what could not be published
//! and ends when the sink is closed. Dropping the task ends the thread.

use std::{sync::mpsc as answers, time::Duration};

use tokio::sync::mpsc;

use crate::{
    event::AgentEvent,
    sink::{Checkpoint, CheckpointKey, CheckpointValue, Sink, SinkError},
};

/// First pause before a batch is offered again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause before a batch is offered again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The other side is gone; the reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is out.
    Done,
    /// It will never be published as it is; the reason is for people.
    Refused(String),
}

/// The reading side.
pub(crate) struct Port {
    requests: mpsc::Sender<Request>,
}

pub(crate) enum Request {
    Publish(Vec<AgentEvent>, Checkpoint, answers::SyncSender<(Vec<AgentEvent>, Published)>),
    Load(CheckpointKey, answers::SyncSender<Option<CheckpointValue>>),
    CaughtUp,
}

impl Port {
    /// A port and the requests that come out of it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(1);
        (Self { requests }, receiver)
    }

    /// Publishes a batch and waits until it is out. The events come back, in case they were refused.
    pub(crate) fn publish(
        &self,
        events: Vec<AgentEvent>,
        checkpoint: Checkpoint,
    ) -> Result<(Vec<AgentEvent>, Published), Stopped> {
        let (answer, answered) = answers::sync_channel(1);
        self.requests.blocking_send(Request::Publish(events, checkpoint, answer)).map_err(|_| Stopped)?;
        answered.recv().map_err(|_| Stopped)
    }

    /// What is stored under a key.
    pub(crate) fn load(&self, key: CheckpointKey) -> Result<Option<CheckpointValue>, Stopped> {
        let (answer, answered) = answers::sync_channel(1);
        self.requests.blocking_send(Request::Load(key, answer)).map_err(|_| Stopped)?;
        answered.recv().map_err(|_| Stopped)
    }

    /// Says that all that was there at the start has been dealt with.
    pub(crate) fn caught_up(&self) -> Result<(), Stopped> {
        self.requests.blocking_send(Request::CaughtUp).map_err(|_| Stopped)
    }
}

/// Answers the requests of a port until the reading ends or the sink is closed.
pub(crate) async fn serve<S: Sink + ?Sized>(sink: &S, mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        let answered = match request {
            Request::Publish(events, checkpoint, answer) => publish(sink, &events, &checkpoint)
                .await
                .is_some_and(|published| answer.send((events, published)).is_ok()),
            Request::Load(key, answer) => load(sink, &key).await.is_some_and(|value| answer.send(value).is_ok()),
            Request::CaughtUp => {
                sink.caught_up().await;
                true
            }
        };
        if !answered {
            return;
        }
    }
}

/// Publishes a batch, however often that has to be tried; `None` when the sink is closed.
async fn publish<S: Sink + ?Sized>(sink: &S, events: &[AgentEvent], checkpoint: &Checkpoint) -> Option<Published> {
    let mut pause = Pause::default();
    loop {
        match sink.publish_batch(events, checkpoint).await {
            Ok(()) => return Some(Published::Done),
            Err(SinkError::Refused(reason)) => return Some(Published::Refused(reason)),
            Err(SinkError::Closed) => return None,
            Err(error @ SinkError::Unavailable(_)) => pause.wait(&error).await,
        }
    }
}

/// Loads a checkpoint, however often that has to be tried; `None` when the sink is closed.
async fn load<S: Sink + ?Sized>(sink: &S, key: &CheckpointKey) -> Option<Option<CheckpointValue>> {
    let mut pause = Pause::default();
    loop {
        match sink.load_checkpoint(key).await {
            Ok(value) => return Some(value),
            Err(SinkError::Refused(_)) => return Some(None),
            Err(SinkError::Closed) => return None,
            Err(error @ SinkError::Unavailable(_)) => pause.wait(&error).await,
        }
    }
}

/// The pause before the next try; each is twice as long as the one before, up to a limit.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    async fn wait(&mut self, error: &SinkError) {
        tracing::warn!(%error, retry_after_ms = self.0.as_millis() as u64, "agents: trying again");
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}
