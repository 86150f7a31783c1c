//! The listener: accepts sockets, lets HTTP be spoken on them, and stops in order.
//!
//! warp routes; the sockets are ours, because a server that people put on a network needs what warp's own does not do: no Nagle
//! delay, deadlines and bounds on heads and bodies with an answer that says so, a bound on connections, and a stop that lets
//! answers under way finish.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use eventwire_hub::carrier::carried;
use eventwire_hub::unfinished::Reservation;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_protocol::limits;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::places::{Account, FULL, SocketPlaces};
use crate::preflight::{self, Asker, First};
use crate::proxy_protocol;
use crate::response::{self, Body};

/// How long a socket without a place may take for its head.
const PROVISIONAL_DEADLINE: Duration = Duration::from_secs(2);
/// How long a request under way may take once its socket has lost its place.
const LOST_DEADLINE: Duration = Duration::from_secs(2);
/// A WebSocket that takes nothing for so long is given up. It has a shorter deadline of its own and says more when that is over.
const UPGRADED_STALL_DEADLINE: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server stops.
const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// Pause after the system refused to hand out a socket, usually because files are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a peer may keep a connection waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// For the whole first head.
    pub(crate) head: Duration,
    /// For the next head of a connection that stays open, the pause before it included.
    pub(crate) next_head: Duration,
    /// For taking at least one byte of an answer (FLOW-07).
    pub(crate) stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), next_head: Duration::from_secs(75), stall: limits::STALL }
    }
}

/// Bytes of a head that belong to its connection; more come out of the budget of unfinished bytes.
const OWN_HEAD_BYTES: usize = 8 * 1024;

/// Bytes that wait unsent in the system's queue of a socket. With a queue of some megabytes, which is what the system grows it to, a
/// slow reader would look like a stalled one: the system reports room only when much of the queue has gone.
const UNSENT_BYTES: u32 = 128 * 1024;

/// Answers one request; never fails.
pub(crate) trait Service: Send + Sync + 'static {
    /// The answer to a request from `peer`.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;

    /// Whether a connection from this address begins with a header of the PROXY protocol (HTTP-24).
    fn expects_proxy_header(&self, _peer: IpAddr) -> bool {
        false
    }

    /// A connection was refused before it brought a request (AUTH-25).
    fn refused(&self, _peer: SocketAddr, _code: ErrorCode) {}

    /// The whole answer to a request that is refused before it is read, and with which the connection ends.
    fn refusal(&self, status: StatusCode, error: &ErrorBody, _asker: &Asker) -> Vec<u8> {
        response::raw(status, error, &[])
    }
}

/// Accepts connections on `listener`, as long as there are places, until `stop` becomes true; then lets answers under way
/// finish for a short while.
pub(crate) async fn serve<A: Service>(
    listener: TcpListener,
    service: Arc<A>,
    places: SocketPlaces,
    deadlines: Deadlines,
    mut stop: watch::Receiver<bool>,
) {
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
                // More sockets than there are provisional ones are closed without an answer.
                if let Some(account) = places.arrive(peer) {
                    let service = Arc::clone(&service);
                    connections.spawn(connection(stream, peer, account, service, deadlines, stopping.clone()));
                } else {
                    service.refused(peer, ErrorCode::Unavailable);
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

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound_queue(stream: &TcpStream) {
    // Without the bound the connection works as well, only less fairly.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound_queue(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_send_buffer_size(UNSENT_BYTES as usize);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it whoever could have wanted anything else.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection<A: Service>(
    mut stream: TcpStream,
    mut peer: SocketAddr,
    account: Arc<Account>,
    service: Arc<A>,
    deadlines: Deadlines,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    bound_queue(&stream);
    let deadline = if account.is_provisional() { PROVISIONAL_DEADLINE } else { deadlines.head };
    if service.expects_proxy_header(peer.ip()) {
        let named = tokio::select! {
            named = tokio::time::timeout(deadline, proxy_protocol::read(&mut stream)) => named,
            () = stopped(&mut stop) => return,
        };
        match named {
            Ok(Ok(Some(client))) => {
                peer = client;
                if let Err(error) = account.named(client.ip()) {
                    return service.refused(peer, error.code);
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) if error.kind() != io::ErrorKind::InvalidData => return,
            Ok(Err(_)) | Err(_) => {
                let message = "this connection must begin with a header of the PROXY protocol, as proxy_protocol says";
                service.refused(peer, ErrorCode::MalformedFrame);
                let error = ErrorBody::new(ErrorCode::MalformedFrame, message);
                return preflight::refuse(stream, &response::raw(StatusCode::BAD_REQUEST, &error, &[])).await;
            }
        }
    }
    let deadline = if account.is_provisional() { PROVISIONAL_DEADLINE } else { deadlines.head };
    let mut unfinished = account.unfinished();
    let first = tokio::select! {
        first = preflight::first(&stream, deadline, &mut unfinished) => first,
        () = account.lost() => return,
        () = stopped(&mut stop) => return,
    };
    match first {
        // The answer waits for the question: clients take one that comes before it for a fault.
        Ok(First::Head { shows, asker }) => {
            if let Err(error) = account.settle(shows) {
                tracing::debug!(%peer, code = %error.code, reason = %error.message, "refused");
                service.refused(peer, error.code);
                let answer = service.refusal(StatusCode::SERVICE_UNAVAILABLE, &error, &asker);
                return preflight::refuse(stream, &answer).await;
            }
        }
        Ok(First::Nothing) => return,
        Ok(First::Refused(status, error, asker)) => {
            tracing::debug!(%peer, status = status.as_u16(), code = %error.code, reason = %error.message, "refused");
            service.refused(peer, error.code);
            return preflight::refuse(stream, &service.refusal(status, &error, &asker)).await;
        }
        Err(error) => return tracing::debug!(%peer, %error, "lost before the first request"),
    }

    drop(unfinished);
    let socket = Socket::new(stream, Arc::clone(&account), deadlines.stall);
    let of_service = Arc::clone(&account);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (service, account) = (Arc::clone(&service), Arc::clone(&of_service));
        async move {
            let answering = account.request();
            let mut response = carried(account.clone(), service.answer(request, peer)).await;
            if account.ends() {
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    // A tunnel to the application, for which there is no place.
                    response = response::refusal(ErrorCode::Unavailable, FULL);
                }
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                account.upgraded();
            }
            Ok::<_, Infallible>(response.map(|body| answering.until_sent(body)))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.next_head)
        .max_buf_size(preflight::MAX_HEAD_BYTES)
        .max_headers(preflight::MAX_HEADERS)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = account.lost() => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(LOST_DEADLINE, serving).await {
                Ok(served) => served,
                Err(_) => return tracing::debug!(%peer, "closed in the middle of a request, to make room"),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// A socket and its place among the connections, which it keeps when it stops speaking HTTP and becomes a WebSocket.
///
/// A peer that takes nothing of what waits for it loses it. Nobody else would notice an answer that is never read.
struct Socket {
    stream: TcpStream,
    /// Since a write had to wait.
    stalled: Option<Pin<Box<Sleep>>>,
    deadline: Duration,
    account: Arc<Account>,
    /// Bytes of a head that is not complete, and what they take of the budget (LIMIT-08).
    head_bytes: usize,
    unfinished: Reservation,
}

impl Socket {
    fn new(stream: TcpStream, account: Arc<Account>, deadline: Duration) -> Self {
        let unfinished = account.unfinished();
        Self { stream, stalled: None, deadline, account, head_bytes: 0, unfinished }
    }

    /// Makes sure that a large head has its part of the budget before more of it is read.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.account.awaits_head() {
            self.head_is_complete();
            return Poll::Ready(Ok(()));
        }
        let evicted = if self.head_bytes < OWN_HEAD_BYTES {
            return Poll::Ready(Ok(()));
        } else if self.unfinished.held() == 0 {
            ready!(self.unfinished.poll_grow(cx, preflight::MAX_HEAD_BYTES as u64)).is_err()
        } else {
            self.unfinished.poll_evicted(cx).is_ready()
        };
        // The HTTP server has no answer to half a head, and closes.
        Poll::Ready(if evicted { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) })
    }

    fn head_is_complete(&mut self) {
        if self.head_bytes > 0 {
            self.head_bytes = 0;
            self.unfinished.clear();
        }
    }

    /// Passes the outcome of a write on, unless it has been waiting for too long.
    fn wrote(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let deadline = if self.account.is_upgraded() { UPGRADED_STALL_DEADLINE } else { self.deadline };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(deadline)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // An upgraded socket that has lost its place ends here; the HTTP server looks after the others.
        if self.account.is_upgraded() && self.account.poll_ended(cx) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_head(cx))?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.account.heard();
        }
        if self.account.awaits_head() {
            self.head_bytes += bytes;
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.head_is_complete();
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.head_is_complete();
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.wrote(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The HTTP server flushes only when it has written everything.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.account.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response;
    use eventwire_hub::Hub;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(20);
    /// More than the buffers of two sockets take.
    const LARGE: usize = 32 << 20;

    /// A little for `/`, a lot for everything else.
    struct Library;

    impl Service for Library {
        async fn answer(&self, request: Request<Incoming>, _: SocketAddr) -> Response<Body> {
            let bytes = if request.uri().path() == "/" { 2 } else { LARGE };
            Response::new(response::full(vec![b'x'; bytes]))
        }
    }

    async fn library(places: usize, deadlines: Deadlines) -> (SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let places = SocketPlaces::new(places, Hub::new());
        tokio::spawn(serve(listener, Arc::new(Library), places, deadlines, stopped));
        (address, stop)
    }

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        ask_with(address, path, "").await
    }

    async fn ask_with(address: SocketAddr, path: &str, headers: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// Whether the only place is free again.
    async fn is_served(address: SocketAddr) -> bool {
        let mut stream = ask(address, "/").await;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.is_ok() && &status == b"HTTP/1.1 200"
    }

    #[tokio::test]
    async fn flow_07_an_answer_that_nobody_takes_gives_its_place_back_after_the_deadline() {
        let stall = Duration::from_secs(1);
        let (address, _stop) = library(1, Deadlines { stall, ..Deadlines::default() }).await;
        let mut stalled = ask(address, "/large").await;
        stalled.readable().await.unwrap();
        assert!(!is_served(address).await, "the place is taken");
        let freed = async {
            while !is_served(address).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, freed).await.expect("a free place");
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stalled.read_to_end(&mut rest)).await.expect("an end");
        assert!(rest.len() < LARGE, "{}", rest.len());
    }

    #[tokio::test]
    async fn flow_07_a_slow_reader_and_an_idle_connection_are_not_stalled() {
        let stall = Duration::from_millis(600);
        let (address, _stop) = library(1, Deadlines { stall, ..Deadlines::default() }).await;
        let mut slow = ask(address, "/large").await;
        let began = tokio::time::Instant::now();
        let (mut buffer, mut read) = (vec![0; 256 * 1024], 0);
        while read < LARGE {
            let taken = slow.read(&mut buffer).await.unwrap();
            assert_ne!(taken, 0, "cut after {read} bytes");
            read += taken;
            if began.elapsed() < 4 * stall {
                tokio::time::sleep(stall / 10).await;
            }
        }
        assert!(began.elapsed() > 4 * stall);
        tokio::time::sleep(2 * stall).await;
        slow.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        timeout(PATIENCE, async {
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\nxx") {
                assert_ne!(slow.read_buf(&mut text).await.unwrap(), 0, "closed");
            }
        })
        .await
        .expect("an answer");
    }

    #[tokio::test]
    async fn http_09_half_a_head_and_none_at_all_end_a_connection_that_was_kept_open() {
        let next_head = Duration::from_millis(200);
        let (address, _stop) = library(9, Deadlines { next_head, ..Deadlines::default() }).await;
        for half in [&b""[..], b"GET / HTTP/1.1\r\nHost: loc"] {
            let mut stream = ask(address, "/").await;
            stream.write_all(half).await.unwrap();
            let mut answers = String::new();
            timeout(PATIENCE, stream.read_to_string(&mut answers)).await.expect("an end").unwrap();
            assert!(answers.starts_with("HTTP/1.1 200 ") && answers.ends_with("\r\n\r\nxx"), "{answers}");
        }
    }

    #[tokio::test]
    async fn flow_07_a_websocket_keeps_its_own_deadline() {
        let stall = Duration::from_millis(200);
        let hub = Hub::new();
        let front = crate::pipeline::Pipeline::new(
            hub.clone(),
            crate::routes::all(&hub, None, eventwire_http::Api::new(hub.clone())),
            crate::router::Router::canonical(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(serve(
            listener,
            Arc::new(front),
            SocketPlaces::new(9, hub.clone()),
            Deadlines { stall, ..Deadlines::default() },
            stopped,
        ));
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let mut stalled = ask_with(address, "/v1/ws?room=tasks", upgrade).await;
        let mut status = [0; 12];
        stalled.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101");
        let credentials = eventwire_hub::Credentials { token: None, peer: Some(address.ip()) };
        let publisher = hub.authenticate(&credentials).await.unwrap();
        for _ in 0..16 {
            let event =
                format!(r#"{{"type":"_test.note","to":"room:tasks","data":{{"fill":"{}"}}}}"#, "x".repeat(1 << 19));
            let publication = eventwire_protocol::Publication::decode(&event);
            hub.publish(&publisher, vec![publication]).await.unwrap();
        }
        tokio::time::sleep(5 * stall).await;
        assert_eq!(hub.connection_count(), 1);
    }
}
