//! What the tests of this crate share: an `EventSource`, written after the WHATWG standard and after nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, dead_code, reason = "tests")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::{Hub, Principal};
use eventwire_protocol::{Claims, Publication};
use eventwire_sse::{SseAcceptor, SseBody};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// Longest wait for anything; a test that gets here has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn anyone() -> Principal {
    Principal::new("anyone", Claims::loopback())
}

/// Publishes a text as an event, as it stands; gives its number.
pub(crate) async fn publish_text(hub: &Hub, text: &str) -> u64 {
    let results = hub.publish(&anyone(), vec![Publication::decode(text)]).await.unwrap();
    results.into_iter().next().unwrap().unwrap().seq.map_or(0, |seq| seq.as_u64())
}

pub(crate) async fn publish(hub: &Hub, to: &str, data: Value) -> u64 {
    publish_text(hub, &json!({"type": "_test.event", "to": to, "data": data}).to_string()).await
}

/// One dispatched event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: String,
    /// The last event id when it was dispatched.
    pub(crate) last_id: String,
    /// The last event id just before.
    before: String,
}

impl Event {
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    pub(crate) fn name(&self) -> String {
        self.value()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn seq(&self) -> Option<u64> {
        self.value()["seq"].as_u64()
    }
}

/// The parser of an event stream (WHATWG HTML, section 9.2.6), byte by byte.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    data: String,
    kind: String,
    id_buffer: String,
    pub(crate) last_id: String,
    pub(crate) retry: Option<u64>,
    pub(crate) comments: Vec<String>,
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
                    events.extend(self.line(&line));
                }
                byte => {
                    self.after_cr = false;
                    self.line.push(*byte);
                }
            }
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let before = std::mem::replace(&mut self.last_id, self.id_buffer.clone());
            let (data, kind) = (std::mem::take(&mut self.data), std::mem::take(&mut self.kind));
            let data = data.strip_suffix('\n')?;
            let kind = if kind.is_empty() { "message".into() } else { kind };
            return Some(Event { kind, data: data.into(), last_id: self.last_id.clone(), before });
        }
        if let Some(comment) = line.strip_prefix(':') {
            self.comments.push(comment.trim().into());
            return None;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = value.into(),
            "data" => self.data.push_str(&format!("{value}\n")),
            "id" if !value.contains('\0') => self.id_buffer = value.into(),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => self.retry = value.parse().ok(),
            _ => {}
        }
        None
    }

    /// What a new connection of the same `EventSource` begins with: the last event id stays, half an event does not.
    pub(crate) fn reconnected(&self) -> Self {
        Self { last_id: self.last_id.clone(), id_buffer: self.last_id.clone(), retry: self.retry, ..Self::default() }
    }
}

/// A server of plain hyper over the acceptor.
pub(crate) async fn serve(acceptor: SseAcceptor) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let acceptor = acceptor.clone();
                async move {
                    let answer = acceptor.open(&request, Some(peer.ip())).await;
                    let answer = answer.map(|stream| stream.map(|body| body.map_err(Into::into).boxed()));
                    Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(|rejection| {
                        Response::<Bytes>::from(rejection).map(|body| {
                            http_body_util::Full::new(body)
                                .map_err(Into::<Box<dyn std::error::Error + Send + Sync>>::into)
                                .boxed()
                        })
                    }))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// An answer of the server, its head read.
pub(crate) async fn request(address: SocketAddr, request: http::request::Builder) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request.header("host", "localhost").body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
}

/// A browser's `EventSource`, which reconnects when it is told to.
pub(crate) struct EventSource {
    address: SocketAddr,
    target: String,
    pub(crate) parser: Parser,
    body: Option<Incoming>,
    waiting: std::collections::VecDeque<Event>,
    pub(crate) headers: HeaderMap,
}

impl EventSource {
    pub(crate) async fn open(address: SocketAddr, target: &str) -> Self {
        let mut source = Self {
            address,
            target: target.into(),
            parser: Parser::default(),
            body: None,
            waiting: Default::default(),
            headers: HeaderMap::new(),
        };
        source.reconnect().await;
        source
    }

    /// Makes another id the last one.
    pub(crate) fn stand_at(&mut self, id: &str) {
        self.waiting.clear();
        self.parser.last_id = id.into();
    }

    /// Loses the connection.
    pub(crate) fn disconnect(&mut self) {
        self.body = None;
        // What was not dispatched was not received.
        if let Some(next) = self.waiting.front() {
            self.parser.last_id.clone_from(&next.before);
        }
        self.waiting.clear();
        self.parser = self.parser.reconnected();
    }

    /// Connects again, as a browser does: with the last event id.
    pub(crate) async fn reconnect(&mut self) {
        self.disconnect();
        let mut asked =
            Request::get(&self.target).header("accept", "text/event-stream").header("cache-control", "no-store");
        if !self.parser.last_id.is_empty() {
            asked = asked.header("last-event-id", &self.parser.last_id);
        }
        let response = request(self.address, asked).await;
        assert_eq!(response.status(), 200, "an EventSource gives up for ever");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        self.headers = response.headers().clone();
        self.body = Some(response.into_body());
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        // Comments do not put the deadline off.
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let frame = tokio::time::timeout_at(deadline, self.body.as_mut()?.frame()).await.expect("an event in time");
            match frame {
                Some(Ok(frame)) => {
                    let events = self.parser.feed(frame.data_ref().unwrap());
                    self.waiting.extend(events);
                }
                _ => {
                    self.body = None;
                    return None;
                }
            }
        }
    }

    /// Reads up to the first event that the condition holds for.
    pub(crate) async fn until(&mut self, last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("ended after {events:?}"));
            let found = last(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// Reads so many logged events.
    pub(crate) async fn logged(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let event = self.next().await.expect("another event");
            events.extend(event.seq().is_some().then_some(event));
        }
        events
    }
}

/// Opens a stream without a socket.
pub(crate) async fn open(acceptor: &SseAcceptor, target: &str, last_id: &str) -> SseBody {
    let mut request = Request::get(target).header("host", "localhost");
    if !last_id.is_empty() {
        request = request.header("last-event-id", last_id);
    }
    acceptor.open(&request.body(()).unwrap(), None).await.unwrap().into_body()
}

/// The next piece of a body that is there already or comes while time stands still; `None` when nothing comes.
pub(crate) async fn piece(body: &mut SseBody) -> Option<Bytes> {
    let frame = tokio::time::timeout(Duration::from_millis(1), body.frame()).await.ok()?;
    Some(frame?.unwrap().into_data().unwrap())
}

/// Everything that a body gives while time stands still.
pub(crate) async fn pieces(body: &mut SseBody) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = piece(body).await {
        all.extend_from_slice(&piece);
    }
    all
}
