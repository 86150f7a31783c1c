//! The feed: a task that drives one connection of the hub and gives its body what it asks for.
//!
//! The body cannot do this itself. A server polls it while its socket takes something, so a body never notices that it is
//! not polled; and a connection whose reader has stopped must not keep its place in the hub.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eventwire_hub::{Connection, Hub, Outgoing};
use eventwire_protocol::{
    CloseCode, Committed, Dialect, Envelope, close::AfterClose, event::connection::Closing, id::MAX_SEQ,
};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{acceptor::Options, body::Demand, encode};

/// How long a client stays away that was closed for good; the format has no word for ever.
const FOR_GOOD: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Feed {
    pub(crate) hub: Hub,
    pub(crate) connection: Connection,
    pub(crate) options: Options,
    pub(crate) body: mpsc::Sender<Vec<Bytes>>,
    pub(crate) demand: Arc<Demand>,
}

/// What comes next.
enum Next {
    Out(Outgoing),
    /// Nothing was sent for so long that a proxy might think nobody is there.
    Silence,
    /// The client is gone.
    Gone,
}

impl Feed {
    /// Runs until the connection is closed, the client is gone, or its socket is stalled.
    pub(crate) async fn run(mut self, preamble: Bytes) {
        let mut closing = None;
        let mut first = Some(preamble);
        // A batch is made when it is asked for and not before: until then it may still change in the mailbox.
        while self.wanted().await {
            let batch = match first.take() {
                Some(preamble) => vec![preamble],
                None => match self.next().await {
                    Next::Out(Outgoing::Frames(frames)) => {
                        closing = frames.last().and_then(|frame| closing_of(&frame.bytes));
                        encode::events(&frames)
                    }
                    Next::Out(Outgoing::Ping) => {
                        // Nobody answers here. A socket that takes nothing is found out all the same.
                        self.connection.pong();
                        vec![encode::KEEP_ALIVE]
                    }
                    Next::Out(Outgoing::Close(code, reason)) => {
                        // If the client is gone it will not miss this.
                        let _ = self.body.send(self.farewell(code, reason, closing)).await;
                        return;
                    }
                    Next::Silence => vec![encode::KEEP_ALIVE],
                    Next::Gone => return,
                },
            };
            if self.body.send(batch).await.is_err() {
                return;
            }
        }
    }

    /// Waits until the body wants more. Whether it does: false when the client is gone or its socket is stalled.
    async fn wanted(&self) -> bool {
        let given = Instant::now();
        loop {
            let stalled = self.demand.took().max(given) + self.options.stall;
            tokio::select! {
                biased;
                () = self.demand.wanted.notified() => return true,
                () = self.body.closed() => return false,
                () = sleep_until(stalled) => {
                    if self.demand.took().max(given) + self.options.stall <= Instant::now() {
                        tracing::debug!(connection = %self.connection.id(), "the socket takes nothing; disconnected");
                        return false;
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        let silence = Instant::now() + self.options.keep_alive;
        tokio::select! {
            out = self.connection.next() => Next::Out(out),
            () = sleep_until(silence) => Next::Silence,
            () = self.body.closed() => Next::Gone,
        }
    }

    /// The end of the stream: `connection.closing` if that was not the last event anyway, and when to return.
    fn farewell(&self, code: CloseCode, reason: String, said: Option<Closing>) -> Vec<Bytes> {
        let returns = code.next() == AfterClose::Reconnect;
        let (mut pieces, closing) = match said {
            Some(closing) => (Vec::new(), closing),
            None => {
                let millis = u64::try_from(self.options.retry.as_millis()).unwrap_or(u64::MAX).min(MAX_SEQ);
                let closing =
                    Closing { reason, code: Some(code.as_u16()), reconnect_after_ms: returns.then_some(millis) };
                (self.event(&closing), closing)
            }
        };
        let after = closing.reconnect_after_ms.map(Duration::from_millis);
        pieces.push(encode::retry(after.unwrap_or(if returns { self.options.retry } else { FOR_GOOD })));
        pieces
    }

    fn event(&self, closing: &Closing) -> Vec<Bytes> {
        let envelope = Envelope::to_connection(self.connection.id(), closing, self.hub.now());
        let event = envelope.ok().map(|envelope| Committed::new(envelope, None));
        let bytes = event.as_ref().and_then(|event| event.frame(Dialect::Canonical)).cloned();
        let frames: Vec<_> = bytes.map(|bytes| eventwire_hub::OutFrame { bytes, cursor: None }).into_iter().collect();
        encode::events(&frames)
    }
}

/// What a frame says, if it is `connection.closing`.
fn closing_of(frame: &[u8]) -> Option<Closing> {
    if !frame.starts_with(br#"{"type":"connection.closing""#) {
        return None;
    }
    let mut frame: Value = serde_json::from_slice(frame).ok()?;
    serde_json::from_value(frame.get_mut("data")?.take()).ok()
}
