//! The listener: accepts sockets, lets HTTP be spoken on them, and stops in order.
//!
//! warp routes; the sockets are ours, because a server that people put on a network needs what warp's own does not do: no Nagle
//! delay, deadlines and bounds on heads and bodies with an answer that says so, a bound on connections, and a stop that lets
//! answers under way finish.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use eventwire_protocol::error::{ErrorBody, ErrorCode};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::answer::Body;
use crate::head::{self, First};

/// Longest wait for the next request on a connection that stays open, its head included.
const NEXT_HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// How many connections over the bound are told so at one time; more are closed without a word.
const REFUSALS: usize = 64;
/// How long such a connection may take to ask before it is told.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// A socket that takes nothing for so long is given up.
const STALL_DEADLINE: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server stops.
const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// Pause after the system refused to hand out a socket, usually because files are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers one request; never fails.
pub(crate) trait Answerer: Send + Sync + 'static {
    /// The answer to a request from `peer`.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;
}

/// Accepts connections on `listener`, at most `max_connections` at a time, until `stop` becomes true; then lets answers under way
/// finish for a short while.
pub(crate) async fn serve<A: Answerer>(
    listener: TcpListener,
    answerer: Arc<A>,
    max_connections: usize,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut connections = JoinSet::new();
    let stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    connections.spawn(connection(stream, peer, place, Arc::clone(&answerer), stopping.clone()));
                } else if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                    connections.spawn(no_place(stream, peer, place));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_DEADLINE, finished).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it whoever could have wanted anything else.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Tells a connection over the bound that it is one. The answer waits for the question: clients take one that comes before it for
/// a fault.
async fn no_place(stream: TcpStream, peer: SocketAddr, _place: OwnedSemaphorePermit) {
    tracing::warn!(%peer, "refused: as many connections as max_connections allows");
    if matches!(head::first(&stream, REFUSAL_DEADLINE).await, Ok(First::Head | First::Refused(..))) {
        let error = ErrorBody::new(
            ErrorCode::Unavailable,
            "the gateway has as many connections as it may have; try again later",
        );
        head::refuse(stream, StatusCode::SERVICE_UNAVAILABLE, &error).await;
    }
}

async fn connection<A: Answerer>(
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    answerer: Arc<A>,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let first = tokio::select! {
        first = head::first(&stream, head::HEAD_DEADLINE) => first,
        () = stopped(&mut stop) => return,
    };
    match first {
        Ok(First::Head) => {}
        Ok(First::Nothing) => return,
        Ok(First::Refused(status, error)) => {
            tracing::debug!(%peer, status = status.as_u16(), message = %error.message, "refused");
            return head::refuse(stream, status, &error).await;
        }
        Err(error) => return tracing::debug!(%peer, %error, "lost before the first request"),
    }

    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let answerer = Arc::clone(&answerer);
        async move { Ok::<_, Infallible>(answerer.answer(request, peer).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD_DEADLINE)
        .max_buf_size(head::MAX_HEAD_BYTES)
        .max_headers(head::MAX_HEADERS)
        .serve_connection(TokioIo::new(Socket::new(stream, place)), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// A socket and its place among the connections, which it keeps when it stops speaking HTTP and becomes a WebSocket.
///
/// A peer that takes nothing for a long time loses it. Transports have shorter deadlines of their own and say more; this one holds
/// where nobody is left to notice, such as an answer that is never read.
struct Socket {
    stream: TcpStream,
    /// Since a write had to wait.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Socket {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, stalled: None, _place: place }
    }

    /// Passes the outcome of a write on, unless it has been waiting for too long.
    fn wrote(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_DEADLINE)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.wrote(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
