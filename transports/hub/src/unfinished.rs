//! One budget for the bytes of messages and request bodies that have begun and not ended (LIMIT-08).
//!
//! Anyone may begin a message, also without credentials, so what is read of it must be bounded over all transports. A reader
//! asks its [`Reservation`] before it reads. Where the budget is used up it pauses, which the peer notices as a connection
//! that takes nothing; then the holder with the most gives up its largest message. Its reader is woken, reports why, and
//! closes.
//!
//! ```
//! use eventwire_hub::{Holder, unfinished::Budget};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), eventwire_hub::unfinished::Evicted> {
//! let budget = Budget::new(64 << 20);
//! let mut body = budget.reader(Holder::of_peer(None));
//! body.grow(16 * 1024).await?;
//! assert_eq!(budget.used(), 16 * 1024);
//! drop(body);
//! assert_eq!(budget.used(), 0);
//! # Ok(())
//! # }
//! ```

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use self::ledger::{Grown, Ledger};
use crate::holder::Holder;

mod ledger;
mod progress;
mod receiving;

pub use progress::{Pace, Progress};
pub use receiving::Receiving;

/// The message was given up so that others can be read; close with 1013, or answer 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has no room for the rest of this message; send it again later")]
pub struct Evicted;

/// The unfinished bytes of one hub. Clones share them.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Instant,
    state: Mutex<State>,
}

struct State {
    ledger: Ledger<Holder>,
    /// Tasks that wait for bytes, or for the word that they lose theirs.
    wakers: HashMap<u64, Waker>,
}

impl State {
    fn take_wakers(&mut self, ids: Vec<u64>) -> Vec<Waker> {
        ids.into_iter().filter_map(|id| self.wakers.remove(&id)).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Budget {
    /// A budget of so many bytes, of which a tenth is reserved for holders with credentials (LIMIT-04).
    pub fn new(bytes: u64) -> Self {
        let state = State { ledger: Ledger::new(bytes), wakers: HashMap::new() };
        Self { shared: Arc::new(Shared { origin: Instant::now(), state: Mutex::new(state) }) }
    }

    /// A reader that counts for this holder. It costs nothing until it grows.
    pub fn reader(&self, holder: Holder) -> Reservation {
        Reservation { shared: self.shared.clone(), holder, id: None, held: 0, timer: None }
    }

    /// Bytes that are reserved.
    pub fn used(&self) -> u64 {
        self.shared.lock().ledger.total()
    }

    /// What is reserved, and how often there was not enough.
    pub fn usage(&self) -> BudgetUsage {
        self.shared.lock().ledger.usage()
    }

    /// The most that can be reserved.
    pub fn bound(&self) -> u64 {
        self.shared.lock().ledger.bound()
    }
}

/// What a [`Budget`] holds, and how often it was short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetUsage {
    /// Bytes that are reserved.
    pub bytes: u64,
    /// The most that can be.
    pub bound: u64,
    /// Messages that wait for bytes.
    pub waiting: u64,
    /// How often a message began to wait.
    pub waits: u64,
    /// Messages that were given up to make room.
    pub evicted: u64,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("used", &self.used()).field("bound", &self.bound()).finish()
    }
}

/// What one reader holds of a [`Budget`]. Dropping it gives everything back.
pub struct Reservation {
    shared: Arc<Shared>,
    holder: Holder,
    /// In the ledger, as long as something is held or wanted.
    id: Option<u64>,
    held: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Reservation {
    /// Bytes that are reserved.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Reserves more bytes, and waits while there are none.
    ///
    /// # Errors
    /// [`Evicted`] when the message is to be given up.
    pub fn poll_grow(&mut self, cx: &mut Context<'_>, bytes: u64) -> Poll<Result<(), Evicted>> {
        loop {
            let shared = &self.shared;
            let now = shared.origin.elapsed();
            let mut state = shared.lock();
            let id = *self.id.get_or_insert_with(|| state.ledger.open(self.holder.clone(), self.holder.standing()));
            let step = state.ledger.grow(id, bytes, now);
            let woken = state.take_wakers(step.wake);
            if let Grown::Wait { .. } = step.grown {
                state.wakers.insert(id, cx.waker().clone());
            }
            drop(state);
            wake(woken);
            match step.grown {
                Grown::Admitted => {
                    self.held += bytes;
                    self.timer = None;
                    return Poll::Ready(Ok(()));
                }
                Grown::Evicted => return Poll::Ready(Err(Evicted)),
                Grown::Wait { until } => ready!(self.poll_timer(cx, until)),
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, until: Duration) -> Poll<()> {
        // A timer is as exact as a millisecond, and asking a moment early would only ask twice.
        let at = self.shared.origin + until + Duration::from_millis(1);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }

    /// Reserves more bytes, and waits while there are none.
    ///
    /// # Errors
    /// [`Evicted`] when the message is to be given up.
    pub async fn grow(&mut self, bytes: u64) -> Result<(), Evicted> {
        poll_fn(|cx| self.poll_grow(cx, bytes)).await
    }

    /// Waits until the message is to be given up. A reader that holds nothing is never asked to.
    pub fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<Evicted> {
        let Some(id) = self.id else { return Poll::Pending };
        let mut state = self.shared.lock();
        if state.ledger.is_evicted(id) {
            return Poll::Ready(Evicted);
        }
        state.wakers.insert(id, cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the message is to be given up. A reader that holds nothing is never asked to.
    pub async fn evicted(&mut self) -> Evicted {
        poll_fn(|cx| self.poll_evicted(cx)).await
    }

    /// Gives bytes back; more than are held count as all of them.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        if self.held == 0 {
            return self.clear();
        }
        if let Some(id) = self.id {
            let mut state = self.shared.lock();
            let ids = state.ledger.shrink(id, bytes);
            let woken = state.take_wakers(ids);
            drop(state);
            wake(woken);
        }
    }

    /// Gives everything back: the message has ended, or was dropped.
    pub fn clear(&mut self) {
        (self.held, self.timer) = (0, None);
        let Some(id) = self.id.take() else { return };
        let mut state = self.shared.lock();
        let ids = state.ledger.close(id);
        state.wakers.remove(&id);
        let woken = state.take_wakers(ids);
        drop(state);
        wake(woken);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("holder", &self.holder).field("held", &self.held).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::timeout;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(3600);

    fn peer(text: &str) -> Holder {
        Holder::of_peer(Some(text.parse::<IpAddr>().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn limit_08_a_paused_reader_goes_on_when_another_message_ends() {
        let budget = Budget::new(1_000);
        let (mut first, mut second) = (budget.reader(peer("10.0.0.1")), budget.reader(peer("10.0.0.1")));
        first.grow(900).await.unwrap();
        let waiting = tokio::spawn(async move {
            second.grow(500).await.unwrap();
            second
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished());
        first.clear();
        let second = timeout(FOREVER, waiting).await.unwrap().unwrap();
        assert_eq!((budget.used(), second.held()), (500, 500));
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_08_the_largest_holder_is_woken_from_its_wait_and_the_other_gets_its_bytes() {
        let budget = Budget::new(1_000);
        let mut heavy = Vec::new();
        for _ in 0..9 {
            let mut reader = budget.reader(peer("10.0.0.1"));
            reader.grow(100).await.unwrap();
            heavy.push(tokio::spawn(async move { reader.evicted().await }));
        }
        let mut other = budget.reader(peer("10.0.0.2"));
        let began = Instant::now();
        other.grow(100).await.unwrap();
        assert!(began.elapsed() >= ledger::PAUSE && began.elapsed() < 2 * ledger::PAUSE, "{:?}", began.elapsed());
        let closed = heavy.iter().filter(|reader| reader.is_finished()).count();
        assert_eq!((closed, budget.used()), (1, 900));
    }

    #[tokio::test(start_paused = true)]
    async fn limit_08_a_thousand_readers_of_one_peer_do_not_keep_another_from_a_megabyte() {
        let budget = Budget::new(8 << 20);
        for _ in 0..1_000 {
            let mut reader = budget.reader(peer("10.0.0.1"));
            tokio::spawn(async move {
                for _ in 0..64 {
                    reader.grow(16 * 1024).await?;
                }
                Err::<(), _>(reader.evicted().await)
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(budget.used() > 7 << 20, "{}", budget.used());
        let mut honest = budget.reader(peer("10.0.0.2"));
        let reading = async {
            for _ in 0..64 {
                honest.grow(16 * 1024).await.unwrap();
            }
        };
        let began = Instant::now();
        timeout(FOREVER, reading).await.expect("a megabyte is read");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(budget.used() <= budget.bound());
    }
}
