//! The task that owns one connection: from the hub to the socket, and from the socket to the hub.

use std::{borrow::Cow, future::poll_fn, sync::Arc, task::ready, time::Duration};

use bytes::Bytes;
use eventwire_hub::{Connection, Outgoing};
use eventwire_protocol::{CloseCode, ErrorBody, ErrorCode, close::AfterClose, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use socketioxide::{SendError, SocketError, extract::SocketRef};
use tokio::time::Instant;

use crate::{
    connect_handler::Attachments,
    inbox::{Incoming, Outlet},
    sessions::Session,
    unsent::Room,
};

/// Between two looks at a socket that was full: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(64);
/// The event in which canonical commands come.
const COMMAND: &str = "command";

/// How the frames of a connection are events of Socket.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `[name, argument]`: name and argument.
    Pair,
    /// An object with `type`: that is the name, and the object the argument.
    Canonical,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has gone.
    Gone,
    /// The server ends it, for this reason.
    Closed(CloseCode),
}

/// Drives a connection until it is over. Dropping the connection tells the hub.
pub(crate) async fn run(
    socket: &SocketRef,
    mut connection: Connection,
    mut outlet: Outlet,
    form: Form,
    attachments: &Attachments,
) -> End {
    let flooded = outlet.flooded.clone();
    let mut intake = connection.intake();
    loop {
        tokio::select! {
            incoming = poll_fn(|cx| {
                ready!(intake.poll_open(cx));
                outlet.queue.poll_recv(cx)
            }) => match incoming {
                Some(incoming) => receive(&mut connection, incoming, form).await,
                None => return End::Gone,
            },
            () = flooded.notified() => return End::Closed(CloseCode::RateLimited),
            outgoing = connection.next() => match outgoing {
                Outgoing::Frames(frames) => {
                    // The socket may have no room for a while.
                    intake.rest();
                    for frame in frames {
                        if let Err(end) = send(socket, form, attachments, &frame.bytes).await {
                            return end;
                        }
                    }
                }
                // Engine.IO has pings of its own, and ends the connection when they stay unanswered.
                Outgoing::Ping => connection.pong(),
                Outgoing::Close(code, reason) => {
                    tracing::debug!(connection = %connection.id(), code = code.as_u16(), reason, "closing");
                    return End::Closed(code);
                }
            },
        }
    }
}

async fn receive(connection: &mut Connection, mut incoming: Incoming, form: Form) {
    if incoming.attachments {
        let message = "events with binary attachments are not read here; send JSON";
        connection.reject(ErrorBody::new(ErrorCode::InvalidPayload, message));
    } else {
        match form {
            Form::Pair => connection.receive(&incoming.text).await,
            Form::Canonical => match command(&incoming.text) {
                Ok(command) => connection.receive(command.get().as_bytes()).await,
                Err(error) => connection.reject(error),
            },
        }
    }
    incoming.acknowledge();
}

/// The command in a canonical event.
fn command(text: &[u8]) -> Result<Box<RawValue>, ErrorBody> {
    let wrong = || ErrorBody::new(ErrorCode::UnknownCommand, "commands come as the event \"command\" with one object");
    let mut event: Vec<Box<RawValue>> = serde_json::from_slice(text).map_err(|_| wrong())?;
    let name: String = event.first().and_then(|name| serde_json::from_str(name.get()).ok()).ok_or_else(wrong)?;
    match event.len() {
        2 if name == COMMAND => event.pop().ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// Hands one frame to the socket, and waits while it has no room.
async fn send(socket: &SocketRef, form: Form, attachments: &Attachments, frame: &Bytes) -> Result<(), End> {
    let Some((name, argument)) = event(form, frame) else {
        tracing::error!("a frame is no event of Socket.IO");
        return Ok(());
    };
    let as_bytes = attachments.has(&name);
    let parts = socket.req_parts();
    let session = parts.extensions.get::<Arc<Session>>();
    if let Some(session) = session
        && session.unsent.room(frame.len()).await == Room::Stalled
    {
        return Err(End::Closed(CloseCode::SlowConsumer));
    }
    let began = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let sent = if as_bytes {
            socket.emit(&name, &Bytes::copy_from_slice(argument.get().as_bytes()))
        } else {
            socket.emit(&name, argument)
        };
        match sent {
            Ok(()) => {
                if let Some(session) = session {
                    session.unsent.add(frame.len());
                }
                return Ok(());
            }
            // A reader that takes something now and then is slow and not stalled.
            Err(SendError::Socket(SocketError::InternalChannelFull))
                if began.elapsed() < limits::STALL || session.is_some_and(|session| !session.unsent.is_stalled()) =>
            {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                return Err(End::Closed(CloseCode::SlowConsumer));
            }
            Err(SendError::Socket(SocketError::Closed)) => return Err(End::Gone),
            Err(SendError::Serialize(error)) => {
                tracing::error!(%error, "an event could not be written");
                return Ok(());
            }
        }
    }
}

/// Name and argument of a frame.
fn event(form: Form, frame: &[u8]) -> Option<(String, &RawValue)> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    match form {
        Form::Pair => serde_json::from_slice(frame).ok(),
        Form::Canonical => {
            let typed: Typed<'_> = serde_json::from_slice(frame).ok()?;
            Some((typed.kind.into_owned(), serde_json::from_slice(frame).ok()?))
        }
    }
}

impl End {
    /// Whether the transport is closed, so that the client comes back by itself; otherwise the client is told that the
    /// server does not want it, and stays away until its user asks.
    pub(crate) fn cuts(self) -> bool {
        matches!(self, Self::Closed(code) if code.next() == AfterClose::Reconnect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sio_08_a_canonical_frame_is_the_event_of_its_type_and_commands_come_as_one_event() {
        let frame = br#"{"type":"adw.text_block","data":{"a":[1, 2]}}"#;
        let (name, argument) = event(Form::Canonical, frame).unwrap();
        assert_eq!((name.as_str(), argument.get().as_bytes()), ("adw.text_block", &frame[..]));
        let (name, argument) = event(Form::Pair, br#"["a\"b",{"c":1.50}]"#).unwrap();
        assert_eq!((name.as_str(), argument.get()), ("a\"b", r#"{"c":1.50}"#));
        assert_eq!(command(br#"["command",{"type":"ping"}]"#).unwrap().get(), r#"{"type":"ping"}"#);
        for wrong in [r#"["command"]"#, r#"["ping",{}]"#, r#"["command",{},{}]"#, r#"[1,{}]"#, "[]"] {
            assert_eq!(command(wrong.as_bytes()).unwrap_err().code, ErrorCode::UnknownCommand, "{wrong}");
        }
    }

    #[test]
    fn sio_07_who_may_come_back_is_cut_and_who_may_not_is_told() {
        assert!(End::Closed(CloseCode::Restart).cuts() && End::Closed(CloseCode::SlowConsumer).cuts());
        assert!(!End::Closed(CloseCode::Policy).cuts() && !End::Closed(CloseCode::Unauthorized).cuts());
        assert!(!End::Gone.cuts());
    }
}
