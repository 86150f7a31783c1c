//! The link between one connection of the hub and one WebSocket: pulls what is to be written, hands over what was read.
//!
//! The next batch is pulled only when the last one is on the stream, so a socket that does not drain costs its own mailbox
//! and nothing else. Both steps that are waited for can be dropped at any time, so neither can lose what the other brings.

use std::io;

use eventwire_hub::{
    ConnectRequest, Connection, ConnectionHandler, Holder, Hub, Outgoing,
    metered::{Breach, Metered},
};
use eventwire_protocol::{CloseCode, ErrorBody, ErrorCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    acceptor::{Options, Then},
    socket::{Farewell, Socket, Turn, Violation},
};

/// How a connection ended.
enum End {
    /// The server closes.
    Close(Farewell),
    /// The peer closed.
    Closed,
    /// The message that has begun is given up.
    GivenUp(Breach),
    /// The socket has accepted nothing for too long.
    Stalled,
    /// The socket is gone, and why.
    Gone(io::Error),
}

/// Connects, and drives the connection to its end.
pub(crate) async fn serve<S>(hub: &Hub, options: &Options, then: Then, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let holder = match &then {
        Then::Connect(request, _) => Holder::of(&request.principal, request.meta.remote_address),
        Then::Close(..) => Holder::of_peer(None),
    };
    let stream = Metered::new(stream, hub.unfinished(), holder, options.pace, options.max_message_bytes);
    let mut socket = Socket::new(stream, *options).await;
    // What happens once is boxed: otherwise every connection would keep room for it all its life.
    let (request, handler) = match then {
        Then::Connect(request, handler) => (request, handler),
        Then::Close(code, reason) => return Box::pin(socket.close(Farewell::new(code, reason))).await,
    };
    let mut connection = match Box::pin(connect(hub, *request, handler)).await {
        Ok(connection) => connection,
        // The hub filled up or began to stop since the handshake.
        Err(error) => return Box::pin(socket.close(Farewell::new(CloseCode::Restart, error.message))).await,
    };
    let end = drive(&mut connection, &mut socket).await;
    // Gone from the roster before the farewell, which may take a while.
    drop(connection);
    Box::pin(part(socket, end)).await;
}

async fn connect(
    hub: &Hub,
    request: ConnectRequest,
    handler: Option<Box<dyn ConnectionHandler>>,
) -> Result<Connection, ErrorBody> {
    match handler {
        Some(handler) => hub.connect_as(request, handler).await,
        None => hub.connect(request).await,
    }
}

async fn part<S>(socket: Socket<S>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match end {
        End::Close(farewell) => socket.close(farewell).await,
        End::GivenUp(breach) => socket.give_up(Farewell::new(breach.close_code(), breach.to_string())).await,
        End::Closed => socket.leave().await,
        End::Stalled => {
            socket.break_off(Farewell::new(CloseCode::SlowConsumer, "the socket accepted nothing for too long")).await;
        }
        End::Gone(error) => tracing::debug!(%error, "the socket is gone"),
    }
}

async fn drive<S>(connection: &mut Connection, socket: &mut Socket<S>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // What the close frame will say instead of the hub's own code, once the peer has broken RFC 6455.
    let mut broken = None;
    let mut intake = connection.intake();
    loop {
        tokio::select! {
            outgoing = connection.next(), if socket.is_drained() => match outgoing {
                Outgoing::Frames(frames) => socket.push_batch(frames),
                Outgoing::Ping => socket.ping().await,
                Outgoing::Close(code, reason) => {
                    return End::Close(Farewell { code: broken.unwrap_or(code.as_u16()), reason });
                }
            },
            turn = socket.turn(&mut intake) => match turn {
                Turn::Wrote => {}
                Turn::Text(text) => connection.receive(text.as_bytes()).await,
                Turn::Binary => connection.reject(binary()),
                Turn::Alive => connection.pong(),
                Turn::Violation(Violation { error, code }) => {
                    let reason = error.message.clone();
                    connection.reject(error);
                    connection.close(CloseCode::Protocol, reason);
                    broken = Some(code);
                }
                Turn::GivenUp(breach) => {
                    // For the figures; what waits is not written any more.
                    connection.close(breach.close_code(), breach.to_string());
                    return End::GivenUp(breach);
                }
                Turn::Closed => return End::Closed,
                Turn::Stalled => return End::Stalled,
                Turn::Gone(error) => return End::Gone(error),
            },
        }
    }
}

fn binary() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::MalformedFrame,
        "binary messages mean nothing here; send each command as one text message",
    )
}
