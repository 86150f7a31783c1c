//! What a client sends, on its way to the task that owns its connection.
//!
//! The library calls a [`MessageHandler`] for each event, in the order of the events, and goes on when it returns. So this
//! one only pushes, and never waits: a handler that spawned something here would lose the order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use socketioxide::{
    adapter::LocalAdapter,
    extract::AckSender,
    handler::{FromMessageParts as _, MessageHandler, Value},
    socket::Socket,
};
use tokio::sync::{Notify, mpsc};

use crate::sessions::Session;

/// Most events that wait for the task of one connection. A client may send 64 at once and 32 a second (LIMIT-02), so more
/// wait only for one that does not care.
const MAX_WAITING: usize = 128;
/// Most bytes that wait there.
const MAX_WAITING_BYTES: usize = 2 * crate::MAX_PAYLOAD;

/// An event of the client.
pub(crate) struct Incoming {
    /// Its JSON text, `["name", argument, ..]`.
    pub(crate) text: Bytes,
    /// Whether attachments came with it.
    pub(crate) attachments: bool,
    /// Answers the client, if it waits for an acknowledgement (SIO-10).
    ack: Option<AckSender>,
    waiting_bytes: Arc<AtomicUsize>,
    session: Option<Arc<Session>>,
}

impl Incoming {
    /// Tells the client that the event was looked at: an acknowledgement without arguments.
    pub(crate) fn acknowledge(&mut self) {
        if let Some(ack) = self.ack.take() {
            // A socket without room acknowledges late or never; the client has a time-out for that.
            let _ = ack.send(&[0_u8; 0]);
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.waiting_bytes.fetch_sub(self.text.len(), Ordering::Relaxed);
        if let Some(session) = &self.session {
            session.event_went();
        }
    }
}

/// Takes what a client sends.
pub(crate) struct Inbox {
    queue: mpsc::Sender<Incoming>,
    waiting_bytes: Arc<AtomicUsize>,
    flooded: Arc<Notify>,
    session: Option<Arc<Session>>,
}

/// The other end of an [`Inbox`].
pub(crate) struct Outlet {
    pub(crate) queue: mpsc::Receiver<Incoming>,
    /// More came than may wait.
    pub(crate) flooded: Arc<Notify>,
}

/// An inbox for events of this session.
pub(crate) fn channel(session: Option<Arc<Session>>) -> (Inbox, Outlet) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let flooded = Arc::new(Notify::new());
    let inbox = Inbox { queue: sender, waiting_bytes: Arc::default(), flooded: flooded.clone(), session };
    (inbox, Outlet { queue: receiver, flooded })
}

impl MessageHandler<LocalAdapter, ()> for Inbox {
    fn call(&self, socket: Arc<Socket<LocalAdapter>>, mut value: Value, ack_id: Option<i64>) {
        let Ok(ack) = AckSender::from_message_parts(&socket, &mut value, &ack_id);
        let Value::Str(text, attached) = value else { return };
        let text = Bytes::copy_from_slice(text.as_bytes());
        let before = self.waiting_bytes.fetch_add(text.len(), Ordering::Relaxed);
        let full = before > 0 && before + text.len() > MAX_WAITING_BYTES;
        let waiting_bytes = self.waiting_bytes.clone();
        let session = self.session.clone();
        if let Some(session) = &session {
            session.event_came();
        }
        let incoming = Incoming { text, attachments: attached.is_some(), ack: Some(ack), waiting_bytes, session };
        if full || self.queue.try_send(incoming).is_err() {
            self.flooded.notify_one();
        }
    }
}
