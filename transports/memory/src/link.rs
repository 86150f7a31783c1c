//! The link: drives one connection of the hub, step by step or on its own.

use std::{collections::VecDeque, future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;
use eventwire_hub::{Connection, Outgoing};
use eventwire_protocol::{CloseCode, limits};
use tokio::time::Instant;

use crate::{
    client::{Closed, Frame},
    wire::{Found, Wire},
};

/// What a link did in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It wrote one frame to the line.
    Wrote,
    /// It handed one frame of the client to the hub, which has answered it.
    Received,
    /// It sent a transport ping.
    Pinged,
    /// It handed the answer to a ping to the hub.
    Ponged,
    /// It has a frame to write, and the line is full.
    Blocked,
    /// It has nothing to do.
    Idle,
    /// It is over; the connection has left the hub.
    Ended,
}

/// The server's end of a line. Whoever has it decides when something happens on this connection.
///
/// A link that nobody steps stands still: nothing is written, no command is read, and what is published waits in the
/// mailbox. Dropping it cuts the line.
pub struct Link {
    wire: Arc<Wire>,
    /// `None` when it is over.
    connection: Option<Connection>,
    batch: VecDeque<Frame>,
    /// Since when the frame in front finds no room.
    blocked_since: Option<Instant>,
    /// The last step was a command's: now it is the turn of what is to be written, so that neither starves the other.
    write_next: bool,
}

/// What can be done now. Finding it out changes nothing that would be lost if the finding is given up.
enum Ready {
    Command(Bytes),
    Pong,
    Out(Outgoing),
    Room,
    Stalled,
    End,
}

impl Link {
    pub(crate) fn new(wire: Arc<Wire>, connection: Connection) -> Self {
        Self { wire, connection: Some(connection), batch: VecDeque::new(), blocked_since: None, write_next: false }
    }

    /// Takes one step, if there is one to take now.
    ///
    /// A history that does not answer at once, unlike the one in memory, needs [`Link::run`]: this gives up on it.
    pub async fn step(&mut self) -> Step {
        let ready = {
            let mut ready = pin!(tokio::task::unconstrained(self.ready()));
            poll_fn(|context| match ready.as_mut().poll(context) {
                Poll::Ready(ready) => Poll::Ready(Some(ready)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        match ready {
            Some(ready) => self.act(ready).await,
            None if self.batch.is_empty() => Step::Idle,
            None => Step::Blocked,
        }
    }

    /// Takes steps until there is none to take now; says how many it took.
    pub async fn settle(&mut self) -> usize {
        let mut steps = 0;
        while !matches!(self.step().await, Step::Idle | Step::Blocked | Step::Ended) {
            steps += 1;
        }
        steps
    }

    /// Takes every step as soon as it can be taken, until the line ends.
    pub async fn run(mut self) {
        loop {
            let ready = self.ready().await;
            if self.act(ready).await == Step::Ended {
                return;
            }
        }
    }

    /// Waits for something to do. Cancel safe.
    async fn ready(&mut self) -> Ready {
        let Some(connection) = &mut self.connection else { return Ready::End };
        loop {
            let write_next = std::mem::take(&mut self.write_next);
            match self.wire.found(!write_next) {
                Found::Command(bytes) => return Ready::Command(bytes),
                Found::Pong => return Ready::Pong,
                Found::End => return Ready::End,
                Found::Nothing => {}
            }
            if let Some(frame) = self.batch.pop_front() {
                match self.wire.write(frame) {
                    None => {
                        self.blocked_since = None;
                        return Ready::Room;
                    }
                    Some(frame) => self.batch.push_front(frame),
                }
                if write_next {
                    continue;
                }
                let since = *self.blocked_since.get_or_insert_with(Instant::now);
                tokio::select! {
                    () = self.wire.to_link.notified() => {}
                    () = tokio::time::sleep_until(since + limits::STALL) => return Ready::Stalled,
                }
            } else {
                let wire = &self.wire;
                let mut next = pin!(connection.next());
                let next = poll_fn(|context| {
                    wire.set_idle(false);
                    let polled = next.as_mut().poll(context);
                    wire.set_idle(polled.is_pending());
                    polled
                });
                tokio::select! {
                    biased;
                    out = next => return Ready::Out(out),
                    () = std::future::ready(()), if write_next => {}
                    () = wire.to_link.notified() => {}
                }
            }
        }
    }

    async fn act(&mut self, ready: Ready) -> Step {
        let Some(connection) = &mut self.connection else { return Step::Ended };
        match ready {
            Ready::Command(bytes) => {
                connection.receive(&bytes).await;
                self.write_next = true;
                Step::Received
            }
            Ready::Pong => {
                connection.pong();
                Step::Ponged
            }
            Ready::Out(Outgoing::Frames(frames)) => {
                self.batch.extend(frames.into_iter().map(Frame::from));
                self.write_first()
            }
            Ready::Out(Outgoing::Ping) => {
                self.wire.ping();
                Step::Pinged
            }
            Ready::Out(Outgoing::Close(code, reason)) => self.end(Closed::ByServer(code, reason)),
            Ready::Room => Step::Wrote,
            Ready::Stalled => {
                self.end(Closed::ByServer(CloseCode::SlowConsumer, "the line accepted nothing for 10 s".into()))
            }
            Ready::End => self.end(Closed::Cut),
        }
    }

    /// Writes the first frame of a fresh batch.
    fn write_first(&mut self) -> Step {
        let Some(frame) = self.batch.pop_front() else { return Step::Idle };
        match self.wire.write(frame) {
            None => Step::Wrote,
            Some(frame) => {
                self.batch.push_front(frame);
                Step::Blocked
            }
        }
    }

    fn end(&mut self, how: Closed) -> Step {
        self.wire.close(how);
        self.batch.clear();
        self.connection = None;
        self.wire.let_go();
        Step::Ended
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection = None;
        self.wire.let_go();
    }
}
