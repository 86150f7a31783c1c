//! When the next command of a connection may be read (LIMIT-16).
//!
//! All sockets of a holder share its part of the work that commands may cause. A link asks the [`Intake`] of its connection
//! before each read, so that what has to wait waits in the network and costs nothing here. Connections of one holder that wait
//! go on in the order in which they began to.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use eventwire_protocol::{
    limits,
    work::{Work, WorkBounds},
};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::holder::Holder;

/// Processors that this process may use.
pub fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(processors).unwrap_or(u32::MAX)
}

/// How long the first connection of a holder may leave those behind it waiting although it may read: one that is being closed
/// no longer looks.
const PATIENCE: Duration = Duration::from_secs(1);

/// The work that commands cause, over all connections of a hub. Clones share it.
#[derive(Clone)]
pub(crate) struct CommandWork(Arc<Shared>);

struct Shared {
    origin: Instant,
    /// Whether shares bind, as of the last charge: only a charge can begin it.
    pressed: AtomicBool,
    state: Mutex<State>,
}

struct State {
    work: Work<Holder>,
    /// Connections of each holder that wait.
    waiting: HashMap<Holder, VecDeque<u64>>,
    wakers: HashMap<u64, Waker>,
    next_id: u64,
    waits: u64,
}

impl CommandWork {
    pub(crate) fn new(bounds: WorkBounds) -> Self {
        let state =
            State { work: Work::new(bounds), waiting: HashMap::new(), wakers: HashMap::new(), next_id: 0, waits: 0 };
        Self(Arc::new(Shared { origin: Instant::now(), pressed: AtomicBool::new(false), state: Mutex::new(state) }))
    }

    /// How often a connection has begun to wait.
    pub(crate) fn waits(&self) -> u64 {
        self.0.lock().waits
    }

    /// Connections that wait now.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.lock().wakers.len() as u64
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time and the state, with everything paid that is due.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.work.advance(self.origin.elapsed());
        self.pressed.store(state.work.is_under_pressure(), Ordering::Relaxed);
        state
    }
}

impl State {
    /// Sends the first connection of a holder to the end of its queue, and gives the waker of the one that is first now.
    fn pass_by(&mut self, holder: &Holder, first: u64) -> Option<Waker> {
        let queue = self.waiting.get_mut(holder)?;
        if queue.front() != Some(&first) {
            return None;
        }
        queue.rotate_left(1);
        self.wakers.get(queue.front()?).cloned()
    }

    /// Takes a connection out of the queue of its holder, and gives the waker of the one that is first now.
    fn leave(&mut self, holder: &Holder, id: u64) -> Option<Waker> {
        self.wakers.remove(&id);
        let queue = self.waiting.get_mut(holder)?;
        if queue.front() == Some(&id) {
            queue.pop_front();
        } else {
            queue.retain(|waiting| *waiting != id);
        }
        match queue.front() {
            Some(first) => self.wakers.get(first).cloned(),
            None => {
                self.waiting.remove(holder);
                None
            }
        }
    }
}

/// The account of one connection, which charges its work.
#[derive(Clone)]
pub(crate) struct WorkAccount {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

struct Owner {
    holder: Mutex<Holder>,
    waits: AtomicBool,
}

impl Owner {
    fn holder(&self) -> Holder {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl WorkAccount {
    pub(crate) fn new(work: &CommandWork, holder: Holder) -> Self {
        let owner = Owner { holder: Mutex::new(holder), waits: AtomicBool::new(false) };
        Self { shared: work.0.clone(), owner: Arc::new(owner) }
    }

    /// Puts the connection on the account of another holder.
    pub(crate) fn set_holder(&self, holder: Holder) {
        *self.owner.holder.lock().unwrap_or_else(PoisonError::into_inner) = holder;
    }

    /// Charges work that was done or is about to be.
    pub(crate) fn charge(&self, units: u32) {
        if units == 0 {
            return;
        }
        let holder = self.owner.holder();
        if is_of_process(&holder) {
            return;
        }
        let mut state = self.shared.lock();
        state.work.charge(&holder, units, self.shared.origin.elapsed());
        self.shared.pressed.store(state.work.is_under_pressure(), Ordering::Relaxed);
    }

    /// Whether the link of the connection waits before it reads.
    pub(crate) fn waits(&self) -> bool {
        self.owner.waits.load(Ordering::Relaxed)
    }

    /// What the link asks.
    pub(crate) fn intake(&self) -> Intake {
        Intake { account: self.clone(), queued: None, behind: None, timer: None }
    }
}

/// Clients without an address are parts of the process, and never wait.
fn is_of_process(holder: &Holder) -> bool {
    matches!(holder, Holder::Local | Holder::Peer(None))
}

/// Says when the next command of one connection may be read.
///
/// One that waits holds up those of the same holder that began to wait later. So it is polled until it is open, dropped,
/// or at [`rest`](Self::rest).
pub struct Intake {
    account: WorkAccount,
    /// Where it waits.
    queued: Option<(Holder, u64)>,
    /// The first of its holder, where that is another one.
    behind: Option<u64>,
    /// Runs until it is to look again.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Intake {
    /// Waits until a command may be read. Ask again before each one: ready says nothing about the next.
    pub fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.account.shared.clone();
        if self.queued.is_none() && !shared.pressed.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let holder = self.account.owner.holder();
        if is_of_process(&holder) {
            self.leave();
            return Poll::Ready(());
        }
        if self.queued.as_ref().is_some_and(|(queued, _)| *queued != holder) {
            self.leave();
        }
        loop {
            let mut state = shared.state();
            let first = state.waiting.get(&holder).and_then(|queue| queue.front().copied());
            let is_first = first.is_none_or(|first| self.queued.as_ref().is_some_and(|(_, id)| *id == first));
            if is_first && state.work.may_read(&holder) {
                drop(state);
                self.leave();
                return Poll::Ready(());
            }
            let id = match &self.queued {
                Some((_, id)) => *id,
                None => {
                    let id = state.next_id;
                    (state.next_id, state.waits) = (id + 1, state.waits + 1);
                    state.waiting.entry(holder.clone()).or_default().push_back(id);
                    self.queued = Some((holder.clone(), id));
                    self.account.owner.waits.store(true, Ordering::Relaxed);
                    id
                }
            };
            state.wakers.insert(id, cx.waker().clone());
            if let Some(first) = first.filter(|_| !is_first) {
                drop(state);
                ready!(self.poll_first(cx, &holder, first));
                continue;
            }
            self.behind = None;
            let until = state.work.ask_again(&holder);
            drop(state);
            ready!(self.poll_timer(cx, shared.origin + until));
        }
    }

    /// Waits behind the first connection of the holder; ready when it was passed by, because it may read and does not look.
    fn poll_first(&mut self, cx: &mut Context<'_>, holder: &Holder, first: u64) -> Poll<()> {
        if self.behind.replace(first) != Some(first) {
            self.timer = None;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + PATIENCE)));
        ready!(timer.as_mut().poll(cx));
        (self.behind, self.timer) = (None, None);
        let mut state = self.account.shared.state();
        let next = if state.work.may_read(holder) { state.pass_by(holder, first) } else { None };
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
        Poll::Ready(())
    }

    /// A timer is as exact as a millisecond, and asking a moment early would only ask twice.
    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = at + Duration::from_millis(1);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }

    /// Waits until a command may be read.
    pub async fn open(&mut self) {
        poll_fn(|cx| self.poll_open(cx)).await;
    }

    /// Charges frames that were read and are not commands, such as control frames and tiny fragments.
    pub fn charge_frames(&self, count: u32) {
        self.account.charge(count.saturating_mul(limits::WORK_OF_SMALL_FRAME));
    }

    /// Gives up its place while the link does something else for a while.
    pub fn rest(&mut self) {
        self.leave();
    }

    /// Gives up the place in the queue, and lets the next one of the holder look.
    fn leave(&mut self) {
        (self.behind, self.timer) = (None, None);
        let Some((holder, id)) = self.queued.take() else { return };
        self.account.owner.waits.store(false, Ordering::Relaxed);
        let next = self.account.shared.lock().leave(&holder, id);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.leave();
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("waits", &self.queued.is_some()).finish_non_exhaustive()
    }
}
