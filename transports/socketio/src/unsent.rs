//! Packets of a session that its client has not taken: their bound in bytes, and the time of the last progress (SIO-06,
//! FLOW-07).
//!
//! The library counts packets, and packets may be large. So the bytes are counted here: as they are handed over, and as they
//! are written to the stream of a WebSocket or into the answer to a poll. A packet without room stays in the mailbox of its
//! connection. A packet counts as [`PACKET_BYTES`] at least, so that the queue of the library always has room for its pings.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use eventwire_protocol::limits;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Least memory of a packet, in bytes.
pub(crate) const PACKET_BYTES: usize = 64;

/// The bytes of one session that wait to be sent.
#[derive(Debug)]
pub(crate) struct Unsent {
    state: Mutex<State>,
    taken: Notify,
}

#[derive(Debug)]
struct State {
    /// The packets that wait, each as the bytes that the client still has to take of it.
    packets: VecDeque<Packet>,
    /// Their sum.
    bytes: usize,
    /// When something began to wait, or the client last took anything.
    progress: Instant,
}

#[derive(Debug)]
struct Packet {
    left: usize,
    counts: usize,
}

/// The charge for a packet of so many bytes.
fn charge(bytes: usize) -> usize {
    bytes.max(PACKET_BYTES)
}

/// Whether a packet may be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room for it.
    There,
    /// The client has taken nothing for too long.
    Stalled,
}

impl Unsent {
    /// Nothing waits.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { packets: VecDeque::new(), bytes: 0, progress: Instant::now() }),
            taken: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Waits until there is room for a packet of so many bytes: within the bound, or alone where it is larger.
    pub(crate) async fn room(&self, bytes: usize) -> Room {
        loop {
            // Before the look, so that nothing is taken unseen in between.
            let mut taken = pin!(self.taken.notified());
            taken.as_mut().enable();
            let deadline = {
                let state = self.state();
                if state.bytes == 0 || state.bytes + charge(bytes) <= limits::SOCKETIO_UNSENT_BYTES {
                    return Room::There;
                }
                state.progress + limits::STALL
            };
            if timeout_at(deadline, taken).await.is_err() && self.is_stalled() {
                return Room::Stalled;
            }
        }
    }

    /// Whether something waits of which nothing was taken for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        let state = self.state();
        state.bytes > 0 && state.progress.elapsed() >= limits::STALL
    }

    /// A packet of so many bytes is handed over.
    pub(crate) fn add(&self, bytes: usize) {
        let mut state = self.state();
        if state.bytes == 0 {
            state.progress = Instant::now();
        }
        state.bytes = state.bytes.saturating_add(charge(bytes));
        state.packets.push_back(Packet { left: bytes, counts: charge(bytes) });
    }

    /// The client has taken so many bytes. Headers of frames and packets of the library are among them and were not added:
    /// a packet may count as taken a little before it is.
    pub(crate) fn take(&self, mut bytes: usize) {
        let mut state = self.state();
        let State { packets, bytes: counted, progress } = &mut *state;
        while let Some(packet) = packets.front_mut() {
            let taken = packet.left.min(bytes);
            bytes -= taken;
            packet.left -= taken;
            // Of a packet that is larger than the least, what is taken is free at once.
            let counts = if packet.left == 0 { 0 } else { packet.counts.min(charge(packet.left)) };
            *counted -= packet.counts - counts;
            packet.counts = counts;
            if packet.left > 0 {
                break;
            }
            packets.pop_front();
        }
        *progress = Instant::now();
        drop(state);
        self.taken.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    const BOUND: usize = limits::SOCKETIO_UNSENT_BYTES;

    #[tokio::test(start_paused = true)]
    async fn sio_06_packets_wait_within_their_bytes_and_a_larger_one_goes_alone() {
        let unsent = Arc::new(Unsent::new());
        assert_eq!(unsent.room(4 * BOUND).await, Room::There);
        unsent.add(4 * BOUND);
        let waiting = unsent.clone();
        let waiting = tokio::spawn(async move { (waiting.room(BOUND / 2).await, Instant::now()) });
        // A slow reader that takes something now and then is not stalled.
        let began = Instant::now();
        for _ in 0..7 {
            tokio::time::sleep(limits::STALL - Duration::from_secs(1)).await;
            assert!(!waiting.is_finished() && !unsent.is_stalled());
            unsent.take(BOUND / 2);
        }
        let (room, at) = waiting.await.unwrap();
        assert_eq!((room, at - began), (Room::There, 7 * (limits::STALL - Duration::from_secs(1))));
        unsent.add(BOUND / 2);
        assert_eq!(unsent.bytes(), BOUND);
        let began = Instant::now();
        assert_eq!((unsent.room(1).await, began.elapsed()), (Room::Stalled, limits::STALL));
        assert!(unsent.is_stalled());
    }

    #[tokio::test(start_paused = true)]
    async fn sio_06_small_packets_count_for_the_places_that_they_take() {
        let unsent = Unsent::new();
        let places = BOUND / PACKET_BYTES;
        for _ in 0..places {
            assert_eq!(unsent.room(10).await, Room::There);
            unsent.add(10);
        }
        assert_eq!((unsent.bytes(), unsent.room(1).await), (BOUND, Room::Stalled));
        unsent.take(9);
        assert_eq!(unsent.bytes(), BOUND);
        unsent.take(1);
        assert_eq!((unsent.bytes(), unsent.room(10).await), (BOUND - PACKET_BYTES, Room::There));
        unsent.take(10 * places);
        assert_eq!(unsent.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn sio_06_a_session_for_which_nothing_waits_is_not_stalled() {
        let unsent = Unsent::new();
        tokio::time::sleep(3 * limits::STALL).await;
        unsent.add(1);
        assert!(!unsent.is_stalled());
        unsent.take(100);
        tokio::time::sleep(limits::STALL).await;
        assert!(!unsent.is_stalled() && unsent.bytes() == 0);
    }
}
