//! One open WebSocket: what was read, as far as the hub cares, and the closing of it.
//!
//! tungstenite reads: frames, masks, fragments, pings and the closing handshake are its business. Writing messages is the
//! wire's. Both happen in one step, [`Socket::turn`], which can be dropped at any time without losing a byte.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use eventwire_hub::{
    Intake, OutFrame,
    metered::{Breach, Metered},
};
use eventwire_protocol::{CloseCode, ErrorBody, ErrorCode};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use crate::{acceptor::Options, wire::Wire};

/// Most bytes of a close frame's reason (RFC 6455, section 5.5).
const MAX_REASON_BYTES: usize = 123;

/// Why a connection is closed, as the close frame says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Farewell {
    pub(crate) fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code: code.as_u16(), reason: reason.into() }
    }
}

/// What was wrong with what the peer sent, so wrong that nothing behind it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// What the peer is told first.
    pub(crate) error: ErrorBody,
    /// The code it is then closed with: RFC 6455 has its own for these.
    pub(crate) code: u16,
}

/// What one step brought.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The stream accepted something of what waits.
    Wrote,
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary,
    /// A ping, which is being answered, or a pong.
    Alive,
    /// The peer closes; its close frame is being answered.
    Closed,
    /// Something that cannot be read.
    Violation(Violation),
    /// The message that has begun is given up.
    GivenUp(Breach),
    /// The stream has accepted nothing for too long.
    Stalled,
    /// The stream is gone, and why.
    Gone(io::Error),
}

/// An open WebSocket.
pub(crate) struct Socket<S> {
    stream: WebSocketStream<Wire<Metered<S>>>,
    options: Options,
    /// Whether anything of what the peer sends can still be read.
    reading: bool,
    /// Whether the peer has said its last word.
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) async fn new(stream: Metered<S>, options: Options) -> Self {
        let stream = frames_of(Wire::new(stream), &options).await;
        Self { stream, options, reading: true, closed: false }
    }

    /// Whether everything has been written, so that the next batch may come.
    pub(crate) fn is_drained(&self) -> bool {
        self.stream.get_ref().is_drained()
    }

    /// Takes a batch of messages. The one before must have been written.
    pub(crate) fn push_batch(&mut self, frames: Vec<OutFrame>) {
        self.stream.get_mut().push_batch(frames);
    }

    /// Sends a ping.
    pub(crate) async fn ping(&mut self) {
        // The wire takes it at once; after the last frame there is nobody to be pinged.
        let _ = self.stream.send(Message::Ping(Bytes::new())).await;
    }

    /// Reads and writes until something has happened. Cancel safe.
    ///
    /// Reading goes on while writing waits: commands are answered into the mailbox, which has its bounds. It stops when
    /// the peer asks for pongs faster than it takes them, and while the intake of the connection is not open.
    pub(crate) async fn turn(&mut self, intake: &mut Intake) -> Turn {
        let stalled = self.stream.get_ref().waiting_since().map(|since| since + self.options.stall);
        let turn = poll_fn(|cx| self.poll_turn(cx, Some(&mut *intake)));
        match stalled {
            Some(deadline) => timeout_at(deadline, turn).await.unwrap_or(Turn::Stalled),
            None => turn.await,
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, mut intake: Option<&mut Intake>) -> Poll<Turn> {
        if !self.is_drained()
            && let Poll::Ready(wrote) = self.stream.get_mut().poll_progress(cx)
        {
            return Poll::Ready(wrote.map_or_else(Turn::Gone, |()| Turn::Wrote));
        }
        if !self.reading {
            return Poll::Pending;
        }
        let is_open = intake.as_mut().is_none_or(|intake| intake.poll_open(cx).is_ready());
        let metered = self.stream.get_mut().io_mut();
        if is_open {
            metered.resume();
        } else {
            metered.pause();
        }
        let turn = if !is_open || self.stream.get_ref().owes_control() {
            Turn::GivenUp(ready!(self.stream.get_mut().io_mut().poll_breach(cx)))
        } else {
            let read = self.stream.poll_next_unpin(cx);
            let small = self.stream.get_mut().io_mut().take_small_frames();
            if let Some(intake) = intake {
                intake.charge_frames(small);
            }
            let read = ready!(read);
            // The answer to a ping or a close is ready; this hands it to the wire.
            let _ = self.stream.poll_flush_unpin(cx);
            match read {
                Some(Ok(message)) => read_message(message),
                Some(Err(error)) => read_error(error, self.options.max_message_bytes),
                None => Turn::Closed,
            }
        };
        self.reading = matches!(turn, Turn::Text(_) | Turn::Binary | Turn::Alive);
        self.closed = matches!(turn, Turn::Closed);
        if self.closed {
            // The answer to a close frame is the last frame.
            self.stream.get_mut().discard_messages();
        }
        Poll::Ready(turn)
    }

    /// Says why, after what is still to be written, and closes.
    pub(crate) async fn close(mut self, farewell: Farewell) {
        let Farewell { code, reason } = farewell;
        let frame = CloseFrame { code: code.into(), reason: shortened(reason).into() };
        // The wire takes it at once. When the peer was faster, its own close has been answered.
        let _ = self.stream.send(Message::Close(Some(frame))).await;
        self.leave().await;
    }

    /// Drops what was read of a message, says why, and closes. Others wait for the room, and closing takes a while.
    pub(crate) async fn give_up(self, farewell: Farewell) {
        let Self { stream, options, closed, .. } = self;
        let mut wire = stream.into_inner();
        wire.io_mut().release();
        let stream = frames_of(wire, &options).await;
        Self { stream, options, reading: false, closed }.break_off(farewell).await;
    }

    /// Says why, after nothing but the message that has begun, and closes.
    pub(crate) async fn break_off(mut self, farewell: Farewell) {
        self.stream.get_mut().discard_messages();
        self.close(farewell).await;
    }

    /// Writes what is left, waits for the peer to close as well, and ends the stream; all of it for a short while only.
    pub(crate) async fn leave(mut self) {
        let deadline = Instant::now() + self.options.close_grace;
        let farewell = async {
            while self.reading || !self.is_drained() {
                if let Turn::Gone(_) = poll_fn(|cx| self.poll_turn(cx, None)).await {
                    return;
                }
            }
            let io = self.stream.get_mut().io_mut();
            if io.shutdown().await.is_ok() && !self.closed {
                // To close a socket that still has something to read resets it, and a reset can overtake the close frame.
                let _ = tokio::io::copy(io.get_mut(), &mut tokio::io::sink()).await;
            }
        };
        let _ = timeout_at(deadline, farewell).await;
    }
}

/// Reads and writes the frames of a stream.
async fn frames_of<S: AsyncRead + AsyncWrite + Unpin>(wire: Wire<S>, options: &Options) -> WebSocketStream<Wire<S>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(options.read_buffer_bytes)
        // The wire keeps what waits.
        .write_buffer_size(0)
        .max_message_size(Some(options.max_message_bytes))
        .max_frame_size(Some(options.max_message_bytes))
        .accept_unmasked_frames(false);
    WebSocketStream::from_raw_socket(wire, Role::Server, Some(config)).await
}

fn read_message(message: Message) -> Turn {
    match message {
        Message::Text(text) => Turn::Text(text),
        Message::Binary(_) => Turn::Binary,
        Message::Ping(_) | Message::Pong(_) => Turn::Alive,
        Message::Close(_) => Turn::Closed,
        Message::Frame(_) => Turn::Gone(io::ErrorKind::InvalidData.into()),
    }
}

fn read_error(error: tungstenite::Error, max_message_bytes: usize) -> Turn {
    use tungstenite::Error::{Capacity, Io, Protocol, Utf8};
    let violation = |code, error: ErrorCode, message: String| {
        Turn::Violation(Violation { error: ErrorBody::new(error, message), code })
    };
    match error {
        Io(error) => match Breach::of(&error) {
            Some(breach) => Turn::GivenUp(breach),
            None => Turn::Gone(error),
        },
        Protocol(ProtocolError::ResetWithoutClosingHandshake) => Turn::Gone(io::ErrorKind::UnexpectedEof.into()),
        Protocol(error) => violation(
            CloseCode::Breach.as_u16(),
            ErrorCode::MalformedFrame,
            format!("this breaks the WebSocket protocol (RFC 6455), and the connection is closed: {error}"),
        ),
        Utf8(_) => violation(
            CloseCode::NotText.as_u16(),
            ErrorCode::InvalidUtf8,
            "a text message is not UTF-8, which the WebSocket protocol forbids; the connection is closed".into(),
        ),
        Capacity(CapacityError::MessageTooLong { .. }) => violation(
            CloseCode::TooLarge.as_u16(),
            ErrorCode::TooLarge,
            format!("a message has more than {max_message_bytes} bytes; the connection is closed"),
        ),
        error => Turn::Gone(io::Error::other(error)),
    }
}

/// A reason as a close frame has room for it.
fn shortened(mut reason: String) -> String {
    let fits = (0..=MAX_REASON_BYTES).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    reason.truncate(fits);
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ws_08_a_reason_fits_into_a_close_frame_and_stays_text() {
        for (reason, kept) in [
            (String::new(), 0),
            ("x".repeat(123), 123),
            ("x".repeat(200), 123),
            ("\u{20ac}".repeat(50), 123),
            ("x".repeat(121) + "\u{20ac}", 121),
        ] {
            assert_eq!(shortened(reason.clone()).len(), kept, "{reason}");
        }
    }
}
