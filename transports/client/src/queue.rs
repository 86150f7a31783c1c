//! Publishing that outlasts a server that is away: a bounded queue, kept in order, sent in batches.
//!
//! An event that the server cannot take now is sent again together with what stands behind it; if it took one of those
//! already, that one came first. Every event in it has an id, so that one whose answer was lost is sent again and published once (LOG-09; over a restart of
//! the server as far as its history promises). The queue is in memory: what has to outlast this process belongs into a table
//! of the application.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use eventwire_protocol::{error::ErrorBody, id::EventId};
use tokio::{
    sync::{Notify, oneshot},
    time::sleep,
};

use crate::{
    error::PublishError,
    publish::{Draft, Publisher, Receipt, too_large},
    reconnect::{Backoff, Farewell, Next, Reconnect},
    task::random,
};

/// Most events in one request.
const BATCH: usize = 500;
/// Most bytes in one request, unless a single event is larger; the server takes 8 MiB.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Events, at least 1.
    pub events: usize,
    /// Bytes of their JSON.
    pub bytes: usize,
}

impl Default for QueueBounds {
    /// 1,000 events, 8 MiB.
    fn default() -> Self {
        QueueBounds { events: 1_000, bytes: 8 * 1024 * 1024 }
    }
}

/// The queue is full. The event comes back: drop it, keep it, or wait for an earlier one to be settled.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{events} events ({bytes} bytes) wait to be published already")]
pub struct QueueFull {
    /// The event that found no room.
    pub draft: Box<Draft>,
    /// How many wait.
    pub events: usize,
    /// How many bytes those have.
    pub bytes: usize,
}

/// What becomes of an event in the queue: its receipt, or why the server refused it. A future; dropping it changes nothing.
///
/// `None` means that the queue was dropped first, so nobody knows.
#[derive(Debug)]
pub struct Fate(oneshot::Receiver<Result<Receipt, ErrorBody>>);

impl Future for Fate {
    type Output = Option<Result<Receipt, ErrorBody>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

struct Entry {
    draft: Draft,
    bytes: usize,
    tell: oneshot::Sender<Result<Receipt, ErrorBody>>,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
}

struct Shared {
    waiting: Mutex<Waiting>,
    bounds: QueueBounds,
    /// Something came, or something was settled.
    changed: Notify,
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue before a [`Publisher`]. Dropping it drops what waits.
///
/// ```no_run
/// use eventwire_client::{Backoff, Draft, Publisher, Queue, QueueBounds};
///
/// # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::new("http://127.0.0.1:4800", None)?;
/// let queue = Queue::new(publisher, QueueBounds::default(), Backoff::default());
/// let draft = Draft::raw("_shop.order", "room:orders".parse()?, &serde_json::json!({"number": 7}))?;
/// match queue.push(draft) {
///     Ok(_fate) => {}
///     Err(full) => eprintln!("{full}"),
/// }
/// queue.settled().await;
/// # Ok(())
/// # }
/// ```
pub struct Queue {
    shared: Arc<Shared>,
    sender: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl Queue {
    /// A queue that sends what it holds as long as it exists, and waits as `backoff` says while the server cannot be reached
    /// or cannot take it. Its maximum of attempts does not count here: what nobody settles stays, and the bounds hold.
    /// Must be called within a tokio runtime.
    pub fn new(publisher: Publisher, bounds: QueueBounds, backoff: Backoff) -> Self {
        let bounds = QueueBounds { events: bounds.events.max(1), ..bounds };
        let shared = Arc::new(Shared { waiting: Mutex::default(), bounds, changed: Notify::new() });
        let sender = tokio::spawn(send(shared.clone(), publisher, Backoff { attempts: None, ..backoff }));
        Queue { shared, sender }
    }

    /// Puts an event behind all that wait. It is given an id if it has none.
    ///
    /// # Errors
    /// [`QueueFull`], with the event.
    pub fn push(&self, draft: Draft) -> Result<Fate, QueueFull> {
        let draft = match draft.has_id() {
            true => draft,
            false => draft.id(random_id()),
        };
        let bytes = draft.size();
        let mut waiting = self.shared.waiting();
        let fits = waiting.entries.is_empty() || waiting.bytes.saturating_add(bytes) <= self.shared.bounds.bytes;
        if !fits || waiting.entries.len() >= self.shared.bounds.events {
            return Err(QueueFull { draft: Box::new(draft), events: waiting.entries.len(), bytes: waiting.bytes });
        }
        let (tell, fate) = oneshot::channel();
        waiting.entries.push_back(Entry { draft, bytes, tell });
        waiting.bytes += bytes;
        drop(waiting);
        self.shared.changed.notify_waiters();
        Ok(Fate(fate))
    }

    /// How many events wait, those under way included.
    pub fn len(&self) -> usize {
        self.shared.waiting().entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until none waits.
    pub async fn settled(&self) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_empty() {
                return;
            }
            changed.await;
        }
    }
}

async fn send(shared: Arc<Shared>, publisher: Publisher, backoff: Backoff) {
    let mut reconnect = Reconnect::new(backoff);
    loop {
        let batch = next_batch(&shared).await;
        let wait = match publisher.publish_all(&batch).await {
            Ok(outcomes) => {
                reconnect = Reconnect::new(backoff);
                settle(&shared, outcomes)
            }
            Err(error) if is_passing(&error) => Some(Duration::ZERO),
            // The request as a whole cannot be mended by sending it again.
            Err(PublishError::Refused { error, .. }) => {
                settle(&shared, batch.iter().map(|_| Err(error.clone())).collect())
            }
            Err(PublishError::TooLarge { bytes, .. }) => {
                settle(&shared, batch.iter().map(|_| Err(too_large(bytes))).collect())
            }
            Err(error) => {
                tracing::debug!(%error, "publishing waits");
                Some(Duration::ZERO)
            }
        };
        if let Some(at_least) = wait
            && let Next::Retry { after, .. } = reconnect.again(Farewell::None, Duration::ZERO, random())
        {
            sleep(after.max(at_least)).await;
        }
    }
}

/// What goes next: from the front, within the bounds of a request.
async fn next_batch(shared: &Shared) -> Vec<Draft> {
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        {
            let waiting = shared.waiting();
            let mut bytes = 0;
            let batch: Vec<Draft> = waiting
                .entries
                .iter()
                .take(BATCH)
                .take_while(|entry| {
                    let first = bytes == 0;
                    bytes += entry.bytes;
                    first || bytes <= BATCH_BYTES
                })
                .map(|entry| entry.draft.clone())
                .collect();
            if !batch.is_empty() {
                return batch;
            }
        }
        changed.await;
    }
}

/// Tells the first of those that wait what became of them, up to one that is to be sent again. How long that takes at least.
fn settle(shared: &Shared, outcomes: Vec<Result<Receipt, ErrorBody>>) -> Option<Duration> {
    let mut waiting = shared.waiting();
    for outcome in outcomes {
        if outcome.as_ref().is_err_and(|error| error.code.retryable()) {
            // What stands behind it has been published already, perhaps; its id keeps it from being published twice.
            return Some(Duration::from_millis(100));
        }
        let Some(entry) = waiting.entries.pop_front() else { break };
        waiting.bytes -= entry.bytes;
        // Whoever pushed it may not want to know.
        let _ = entry.tell.send(outcome);
    }
    drop(waiting);
    shared.changed.notify_waiters();
    None
}

/// Whether the same request may succeed later.
fn is_passing(error: &PublishError) -> bool {
    match error {
        PublishError::Unreachable(_) | PublishError::Unanswered(_) => true,
        PublishError::TooLarge { .. } => false,
        PublishError::Refused { status, .. } | PublishError::Foreign { status } => {
            matches!(status, 408 | 429 | 500..=599)
        }
    }
}

fn random_id() -> EventId {
    let text = format!("q{:016x}{:016x}", random(), random());
    // The digits are of the alphabet of ids.
    text.parse().unwrap_or_else(|_| unreachable!("33 letters and digits"))
}
