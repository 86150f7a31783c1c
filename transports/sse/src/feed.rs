//! The feed: a task that drives one connection of the hub and gives its body what it asks for.
//!
//! The body cannot do this itself. A server polls it while its socket takes something, so a body never notices that it is
//! not polled; and a connection whose reader has stopped must not keep its place in the hub.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eventwire_hub::{Connection, Hub, OutFrame, Outgoing};
use eventwire_protocol::{CloseCode, close::AfterClose, event::connection::Closing};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    acceptor::Options,
    body::Demand,
    encode::{self, Beside},
};

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
        // The lines that the block of the first event begins with.
        let mut first = preamble;
        // A batch is made when it is asked for and not before: until then it may still change in the mailbox.
        while self.wanted().await {
            let first = std::mem::take(&mut first);
            let batch = match self.next().await {
                Next::Out(Outgoing::Frames(frames)) => {
                    closing = frames.last().and_then(|frame| closing_of(&frame.bytes));
                    self.events(first, &frames, closing.as_ref())
                }
                Next::Out(Outgoing::Ping) => {
                    // There is no answer to it here. A socket that takes nothing is found out all the same.
                    self.connection.pong();
                    vec![encode::keep_alive(&first)]
                }
                Next::Out(Outgoing::Close(code, reason)) => {
                    if closing.is_none() {
                        // If the client is gone it will not miss this.
                        let _ = self.body.send(self.farewell(first, code, reason)).await;
                    }
                    return;
                }
                Next::Silence => vec![encode::keep_alive(&first)],
                Next::Gone => return,
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

    /// The end of the stream, when nothing announced it.
    fn farewell(&self, first: Bytes, code: CloseCode, reason: String) -> Vec<Bytes> {
        let returns = code.next() == AfterClose::Reconnect;
        let closing = encode::closing(reason, Some(code.as_u16()), returns.then_some(self.options.retry));
        let frame = encode::frame(self.connection.id(), &closing, self.hub.now());
        self.events(first, frame.as_slice(), Some(&closing))
    }

    /// Frames as blocks; the block of a `connection.closing` at the end says when to return as well (SSE-07).
    fn events(&self, first: Bytes, frames: &[OutFrame], closing: Option<&Closing>) -> Vec<Bytes> {
        let last = closing.map(|closing| encode::retry(after(closing, self.options.retry))).unwrap_or_default();
        encode::events(frames, Beside { first, last })
    }
}

/// How long a client stays away that was told this.
fn after(closing: &Closing, retry: Duration) -> Duration {
    let returns = || closing.code.and_then(CloseCode::from_u16).is_none_or(|code| code.next() == AfterClose::Reconnect);
    match closing.reconnect_after_ms {
        Some(millis) => Duration::from_millis(millis),
        None if returns() => retry,
        None => FOR_GOOD,
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
