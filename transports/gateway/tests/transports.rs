//! One suite over every transport: whatever carries the events, the same receivers get the same events.
//!
//! Each scenario is written once over [`Receiver`] and run over memory, WebSocket and server-sent events, each with a hub
//! of its own. It checks what every receiver must have got against a table of its own, and that everybody got nothing else:
//! a fence behind everything else shows that nothing more is on its way. Then the logged events of every receiver are
//! compared between the transports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::{ApiKeys, Hub, KeyDigest, MemoryBounds, Principal, Secret, Settings};
use eventwire_memory::{ConnectOptions, MemoryClient};
use eventwire_protocol::{Claims, Permission, Publication, Scope, delivery::MailboxBounds, limits::StreamBounds};
use eventwire_sse::SseAcceptor;
use eventwire_websocket::WebSocketAcceptor;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// Longest wait for one event; a test that gets here has failed.
const DEADLINE: Duration = Duration::from_secs(20);
/// Bytes that a socket may hold, so that a reader that stops is soon felt, whatever the machine would grant it.
const BUFFER: u32 = 32 * 1024;

// ---------------------------------------------------------------------------------------------------------------
// The world: one hub, everything that can be connected to it, and the people in it
// ---------------------------------------------------------------------------------------------------------------

/// A hub with a server in front of it.
struct World {
    hub: Hub,
    address: SocketAddr,
}

/// Who there is: the token is the name.
fn people() -> ApiKeys {
    let everything = Claims::anonymous();
    let user = |name: &str| Claims { user: Some(name.parse().unwrap()), ..Claims::anonymous() };
    let with = |permission| Claims { permissions: [permission].into(), ..Claims::anonymous() };
    let walled = Claims { contexts: Scope::none(), adws: Scope::none(), rooms: Scope::none(), ..Claims::anonymous() };
    let mut keys = ApiKeys::new();
    for (name, claims) in [
        ("alice", user("alice")),
        ("bob", user("bob")),
        ("raw", with(Permission::AdwRaw)),
        ("observer", with(Permission::Observe)),
        ("walled", walled),
        ("nobody", everything),
    ] {
        keys.add(KeyDigest::of(name), Principal::new(name, claims)).unwrap();
    }
    keys
}

impl World {
    async fn new(mailbox: MailboxBounds, bounds: MemoryBounds) -> Self {
        let settings = Settings { mailbox, ..Settings::default() };
        let hub = Hub::builder().authenticator(people()).settings(settings).memory_bounds(bounds).build();
        let address = serve(&hub).await;
        Self { hub, address }
    }

    async fn publish(&self, kind: &str, to: &str, data: Value) {
        let publisher = Principal::new("publisher", Claims::loopback());
        let text = json!({"type": kind, "to": to, "data": data}).to_string();
        let results = self.hub.publish(&publisher, vec![Publication::decode(&text)]).await.unwrap();
        results.into_iter().next().unwrap().unwrap();
    }
}

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// WebSocket and server-sent events behind one listener of plain hyper.
async fn serve(hub: &Hub) -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(BUFFER).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let (websocket, sse) = (WebSocketAcceptor::new(hub.clone()), SseAcceptor::new(hub.clone()));
    let answer = move |mut request: Request<Incoming>, peer: SocketAddr| {
        let (websocket, sse) = (websocket.clone(), sse.clone());
        async move {
            let full = |response: Response<Bytes>| response.map(|body| Full::new(body).boxed());
            let peer = Some(peer.ip());
            let response: Response<Body> = match request.uri().path() {
                "/v1/ws" => full(websocket.upgrade(&mut request, peer).await),
                _ => match sse.open(&request, peer).await {
                    Ok(stream) => stream.map(|body| body.boxed()),
                    Err(rejection) => full(rejection.into()),
                },
            };
            Ok::<_, std::convert::Infallible>(response)
        }
    };
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| answer(request, peer));
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving.with_upgrades());
        }
    });
    address
}

/// A socket to the server.
async fn dial(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(BUFFER).unwrap();
    socket.connect(address).await.unwrap()
}

// ---------------------------------------------------------------------------------------------------------------
// Receivers
// ---------------------------------------------------------------------------------------------------------------

/// A client of some transport, as far as the scenarios care.
trait Receiver: Sized {
    /// Connects somebody who wants these targets from the start; they are subscribed when this returns.
    async fn open(world: &World, who: &'static str, targets: &[&'static str]) -> Self;
    /// The next event, whatever it is.
    async fn next(&mut self) -> Value;
    /// Wants a target no longer; nothing of it comes when this has returned.
    async fn unsubscribe(&mut self, target: &'static str);
    /// Loses the line at once, and what was on it.
    async fn cut(&mut self);
    /// Connects again and goes on where it was.
    async fn come_back(&mut self, world: &World);

    /// Reads until as many fences of this number have come as there are, and gives what came before them.
    async fn until_fence(&mut self, number: u64, count: usize) -> Vec<Value> {
        let (mut events, mut seen) = (Vec::new(), 0);
        while seen < count {
            let event = self.next().await;
            match event["type"] == "_test.fence" {
                true => seen += usize::from(event["data"]["number"] == number),
                false => events.push(event),
            }
        }
        events
    }

    /// Reads so many logged events.
    async fn logged(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            let event = self.next().await;
            events.extend(event["seq"].is_u64().then_some(event));
        }
        events
    }
}

fn query(targets: &[&'static str]) -> String {
    let of = |kind: &str| -> Vec<&str> { targets.iter().filter_map(|to| to.strip_prefix(kind)).collect() };
    let lists = [("adw", of("adw:")), ("context", of("session:")), ("room", of("room:"))];
    let mut pairs: Vec<String> = lists
        .iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(name, ids)| format!("{name}={}", ids.join(",")))
        .collect();
    pairs.extend(targets.contains(&"*").then(|| "observe=1".into()));
    pairs.join("&")
}

/// In memory; resumes by cursor.
struct InMemory {
    hub: Hub,
    who: &'static str,
    targets: Vec<&'static str>,
    client: MemoryClient,
}

impl InMemory {
    async fn connect(hub: &Hub, who: &str, targets: &[&'static str], before: Option<&MemoryClient>) -> MemoryClient {
        let options = ConnectOptions {
            token: Some(Secret::new(who)),
            cursor: before.and_then(MemoryClient::cursor).cloned(),
            cursors: true,
            announce: true,
            ..ConnectOptions::wanting(targets.iter().copied())
        };
        MemoryClient::connect(hub, options).await.unwrap()
    }
}

impl Receiver for InMemory {
    async fn open(world: &World, who: &'static str, targets: &[&'static str]) -> Self {
        let client = Self::connect(&world.hub, who, targets, None).await;
        Self { hub: world.hub.clone(), who, targets: targets.into(), client }
    }

    async fn next(&mut self) -> Value {
        let deadline = Instant::now() + DEADLINE;
        timeout_at(deadline, self.client.next_frame()).await.expect("an event in time").unwrap().value()
    }

    async fn unsubscribe(&mut self, target: &'static str) {
        self.targets.retain(|of| *of != target);
        let data = json!({"streams": [{"to": target}]});
        self.client.send_text(json!({"type": "unsubscribe", "data": data}).to_string()).await.unwrap();
        self.client.read_until(|frame| frame.kind() == "connection.unsubscribed").await.unwrap();
    }

    async fn cut(&mut self) {
        self.client.cut().await;
    }

    async fn come_back(&mut self, _: &World) {
        self.client = Self::connect(&self.hub, self.who, &self.targets, Some(&self.client)).await;
    }
}

/// Over a WebSocket; resumes by the last number of each root.
struct OverWebSocket {
    who: &'static str,
    targets: Vec<&'static str>,
    socket: Option<WebSocketStream<TcpStream>>,
    epoch: Value,
    /// Where it stands in each root.
    at: BTreeMap<String, u64>,
    waiting: VecDeque<Value>,
}

impl OverWebSocket {
    async fn connect(&mut self, world: &World, query: &str) {
        let url = format!("ws://{}/v1/ws?{query}", world.address);
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", self.who).parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, "eventwire.v1".parse().unwrap());
        self.socket = Some(client_async(request, dial(world.address).await).await.unwrap().0);
        self.waiting.clear();
    }

    /// What it receives without asking comes under roots too; naming them tells where they stand.
    fn implicit(&self) -> Vec<String> {
        let user = ["alice", "bob"].contains(&self.who).then(|| format!("user:{}", self.who));
        ["global".to_owned()].into_iter().chain(user).collect()
    }

    /// Sends a command, and reads up to its answer.
    async fn command(&mut self, kind: &str, data: Value) -> Value {
        let text = json!({"type": kind, "id": "suite", "data": data}).to_string();
        self.socket.as_mut().unwrap().send(Message::text(text)).await.unwrap();
        self.answer(|event| event["data"]["re"] == "suite").await
    }

    async fn read(&mut self) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let socket = self.socket.as_mut().unwrap();
            let message = timeout_at(deadline, socket.next()).await.expect("an event in time").expect("open").unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Reads up to an answer; what comes before it is kept, and so is the answer.
    async fn answer(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.read().await;
            self.waiting.push_back(event.clone());
            if is_it(&event) {
                assert_ne!(event["type"], "connection.error", "{event}");
                return event;
            }
        }
    }

    fn stand(&mut self, answer: &Value) {
        self.epoch = answer["data"]["epoch"].clone();
        for stream in answer["data"]["streams"].as_array().unwrap() {
            let to = stream["to"].as_str().unwrap().to_owned();
            self.at.entry(to).or_insert(stream["head"].as_u64().unwrap());
        }
    }
}

impl Receiver for OverWebSocket {
    async fn open(world: &World, who: &'static str, targets: &[&'static str]) -> Self {
        let mut receiver = Self {
            who,
            targets: targets.into(),
            socket: None,
            epoch: Value::Null,
            at: BTreeMap::new(),
            waiting: VecDeque::new(),
        };
        receiver.connect(world, &query(targets)).await;
        if !targets.is_empty() {
            let answer = receiver.answer(|event| event["type"] == "connection.subscribed").await;
            receiver.stand(&answer);
        }
        let streams: Vec<Value> = receiver.implicit().into_iter().map(|to| json!({"to": to})).collect();
        let answer = receiver.command("subscribe", json!({"streams": streams})).await;
        receiver.stand(&answer);
        receiver
    }

    async fn next(&mut self) -> Value {
        let event = match self.waiting.pop_front() {
            Some(event) => event,
            None => self.read().await,
        };
        if let (Some(seq), Some(to)) = (event["seq"].as_u64(), event["to"].as_str()) {
            let own = to.split('/').next().unwrap();
            let root = if self.at.contains_key(own) { own } else { "*" };
            self.at.insert(root.into(), seq);
        }
        event
    }

    async fn unsubscribe(&mut self, target: &'static str) {
        self.targets.retain(|of| *of != target);
        self.at.remove(target);
        self.command("unsubscribe", json!({"streams": [{"to": target}]})).await;
    }

    async fn cut(&mut self) {
        self.socket = None;
        self.waiting.clear();
    }

    async fn come_back(&mut self, world: &World) {
        self.connect(world, "").await;
        let streams: Vec<Value> = self.at.iter().map(|(to, since)| json!({"to": to, "since": since})).collect();
        let data = json!({"epoch": self.epoch, "streams": streams});
        self.command("subscribe", data).await;
    }
}

/// Over server-sent events, as `EventSource` does it; resumes by the last event id.
struct OverSse {
    who: &'static str,
    targets: Vec<&'static str>,
    address: SocketAddr,
    body: Option<Incoming>,
    unread: Vec<u8>,
    last_id: String,
}

impl OverSse {
    async fn connect(&mut self) {
        let stream = dial(self.address).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(format!("/v1/sse?{}", query(&self.targets)))
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "text/event-stream")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.who));
        if !self.last_id.is_empty() {
            request = request.header("last-event-id", &self.last_id);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        self.body = Some(response.into_body());
        self.unread.clear();
    }

    fn read_id(&mut self, block: &str) {
        if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
            self.last_id = id.into();
        }
    }

    /// The next block of lines.
    async fn block(&mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block = self.unread.drain(..end + 2).collect();
                return String::from_utf8(block).unwrap();
            }
            let frame = timeout_at(deadline, self.body.as_mut().unwrap().frame()).await.expect("an event in time");
            self.unread.extend_from_slice(&frame.expect("open").unwrap().into_data().unwrap());
        }
    }
}

impl Receiver for OverSse {
    async fn open(world: &World, who: &'static str, targets: &[&'static str]) -> Self {
        let (targets, address) = (targets.into(), world.address);
        let mut receiver = Self { who, targets, address, body: None, unread: Vec::new(), last_id: String::new() };
        receiver.connect().await;
        // The first block has an id, with which the client comes back, and the first event, which is still to be read.
        let block = receiver.block().await;
        receiver.read_id(&block);
        assert!(!receiver.last_id.is_empty());
        receiver.unread.splice(0..0, block.into_bytes());
        receiver
    }

    async fn next(&mut self) -> Value {
        loop {
            let block = self.block().await;
            self.read_id(&block);
            if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    async fn unsubscribe(&mut self, target: &'static str) {
        // There are no commands: one comes back and wants less.
        self.targets.retain(|of| *of != target);
        self.cut().await;
        self.connect().await;
    }

    async fn cut(&mut self) {
        self.body = None;
    }

    async fn come_back(&mut self, _: &World) {
        self.connect().await;
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The suite
// ---------------------------------------------------------------------------------------------------------------

/// The logged events that each receiver got, without what differs from run to run.
type Seen = BTreeMap<String, Vec<Value>>;

fn logged(events: &[Value]) -> Vec<Value> {
    let logged = events.iter().filter(|event| event["seq"].is_u64() && event["type"] != "_test.fence");
    let mut logged: Vec<Value> = logged.cloned().collect();
    for event in &mut logged {
        event.as_object_mut().unwrap().remove("time");
    }
    logged
}

/// Events of different roots may come in any order when some of them are replayed.
fn by_root(events: &[Value]) -> Vec<Value> {
    let mut events = logged(events);
    events.sort_by_key(|event| {
        (event["to"].as_str().unwrap().split('/').next().unwrap().to_owned(), event["seq"].as_u64())
    });
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// Checks by itself that every root came in order, each event once, and no stream has a hole, from its first event on.
fn check_chains(events: &[Value]) {
    let (mut roots, mut streams): (BTreeMap<&str, u64>, BTreeMap<&str, u64>) = Default::default();
    for event in events.iter().filter(|event| event["seq"].is_u64()) {
        let (seq, prev, to) =
            (event["seq"].as_u64().unwrap(), event["prev"].as_u64().unwrap(), event["to"].as_str().unwrap());
        let before = streams.insert(to, seq);
        assert!(before.is_none_or(|before| before == prev), "a hole before {event}");
        let before = roots.insert(to.split('/').next().unwrap(), seq);
        assert!(before.is_none_or(|before| before < seq), "out of order: {event}");
    }
}

/// Makes one test of each scenario, which runs it over every transport and compares.
macro_rules! suite {
    ($($scenario:ident;)+) => {
        $(
            #[tokio::test]
            async fn $scenario() {
                let memory = scenario::$scenario::<InMemory>().await;
                let websocket = scenario::$scenario::<OverWebSocket>().await;
                let sse = scenario::$scenario::<OverSse>().await;
                assert!(!memory.is_empty());
                assert_eq!(websocket, memory, "websocket and memory");
                assert_eq!(sse, memory, "sse and memory");
            }
        )+
    };
}

suite! {
    route_01_each_audience_reaches_its_receivers_and_nobody_else;
    cmd_06_after_unsubscribing_nothing_of_the_target_comes_and_everything_else_does;
    log_06_resuming_in_the_middle_gives_the_sequence_of_one_that_stayed;
    flow_04_a_new_subscriber_gets_the_newest_values_at_once_and_they_move_nothing;
    log_04_what_was_evicted_meanwhile_is_named_and_the_rest_comes;
    flow_02_a_reader_that_stops_catches_up_when_it_reads_again;
}

mod scenario {
    use super::*;

    pub(crate) async fn route_01_each_audience_reaches_its_receivers_and_nobody_else<R: Receiver>() -> Seen {
        let world = World::new(MailboxBounds::default(), MemoryBounds::default()).await;
        let mut receivers: BTreeMap<&str, R> = BTreeMap::new();
        for (who, targets) in [
            ("alice", &["adw:aaaaaaaa", "room:tasks", "session:c1"][..]),
            ("bob", &["adw:bbbbbbbb", "room:others"]),
            ("raw", &["adw:aaaaaaaa"]),
            ("observer", &["*"]),
            ("walled", &["adw:aaaaaaaa", "room:tasks", "session:c1", "*"]),
            ("nobody", &[]),
        ] {
            receivers.insert(who, R::open(&world, who, targets).await);
        }
        let everybody = ["alice", "bob", "nobody", "observer", "raw", "walled"];
        // The table that says who must get what; it shares nothing with the code that routes.
        let expected: [(&str, &str, &[&str]); 12] = [
            ("_test.event", "session:c1", &["alice", "observer"]),
            ("_test.event", "session:c2", &["observer"]),
            ("_test.event", "user:alice", &["alice", "observer"]),
            ("_test.event", "user:bob", &["bob", "observer"]),
            ("_test.event", "user:carol", &["observer"]),
            ("_test.event", "adw:aaaaaaaa", &["alice", "raw", "observer"]),
            ("_test.event", "adw:bbbbbbbb", &["bob", "observer"]),
            ("adw.agent_output_chunk", "adw:aaaaaaaa", &["raw"]),
            ("adw.agent_output_chunk", "adw:bbbbbbbb", &[]),
            ("_test.event", "room:tasks", &["alice", "observer"]),
            ("_test.event", "room:others", &["bob", "observer"]),
            ("_test.event", "global", &everybody),
        ];
        let mut number = 0;
        for _ in 0..3 {
            for (kind, to, _) in &expected {
                number += 1;
                let adw_id = to.strip_prefix("adw:").unwrap_or("aaaaaaaa");
                let data = match *kind {
                    "adw.agent_output_chunk" => {
                        json!({"adw_id": adw_id, "agent_role": "planner", "content": number.to_string(), "is_complete": true})
                    }
                    _ => json!({"number": number}),
                };
                world.publish(kind, to, data).await;
            }
        }
        // Unlogged, to one connection each.
        let mut ids = BTreeMap::new();
        let mut before: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (who, receiver) in &mut receivers {
            let welcome = receiver.next().await;
            ids.insert(*who, welcome["data"]["connection_id"].as_str().unwrap().to_owned());
            before.insert(who, vec![welcome]);
        }
        for (who, id) in &ids {
            world.publish("_test.whisper", &format!("connection:{id}"), json!({"for": who})).await;
        }
        world.publish("_test.fence", "global", json!({"number": 1})).await;
        let mut seen = Seen::new();
        for (who, mut receiver) in receivers {
            let events = receiver.until_fence(1, 1).await;
            let got: Vec<(&str, &str)> = events
                .iter()
                .filter(|event| event["seq"].is_u64())
                .map(|event| {
                    (event["type"].as_str().unwrap(), event["to"].as_str().unwrap().split('/').next().unwrap())
                })
                .collect();
            let due =
                expected.iter().filter(|(.., receivers)| receivers.contains(&who)).map(|(kind, to, _)| (*kind, *to));
            let due: Vec<(&str, &str)> = due.clone().chain(due.clone()).chain(due).collect();
            assert_eq!(got, due, "{who}");
            let whispers: Vec<&Value> = events.iter().filter(|event| event["type"] == "_test.whisper").collect();
            assert_eq!(whispers.len(), 1, "{who}");
            assert_eq!((&whispers[0]["data"]["for"], whispers[0].get("seq")), (&json!(who), None));
            check_chains(&events);
            seen.insert(who.into(), logged(&events));
        }
        seen
    }

    pub(crate) async fn cmd_06_after_unsubscribing_nothing_of_the_target_comes_and_everything_else_does<R: Receiver>()
    -> Seen {
        let world = World::new(MailboxBounds::default(), MemoryBounds::default()).await;
        let targets = ["adw:aaaaaaaa", "room:tasks"];
        let (mut leaver, mut stayer) =
            (R::open(&world, "alice", &targets).await, R::open(&world, "alice", &targets).await);
        let round = async |number: u64| {
            for to in ["adw:aaaaaaaa", "room:tasks", "user:alice"] {
                world.publish("_test.event", to, json!({"round": number})).await;
            }
            world.publish("_test.fence", "global", json!({"number": number})).await;
        };
        let to = |events: &[Value]| -> BTreeSet<String> {
            logged(events).iter().map(|event| event["to"].as_str().unwrap().to_owned()).collect()
        };
        let (all, without) = (["adw:aaaaaaaa", "room:tasks", "user:alice"], ["adw:aaaaaaaa", "user:alice"]);
        round(1).await;
        let mut left = leaver.until_fence(1, 1).await;
        assert_eq!(to(&left), all.map(String::from).into());
        leaver.unsubscribe("room:tasks").await;
        round(2).await;
        let more = leaver.until_fence(2, 1).await;
        assert_eq!(to(&more), without.map(String::from).into());
        left.extend(more);
        // Unsubscribing from what one no longer has, or never had, changes nothing.
        leaver.unsubscribe("room:tasks").await;
        leaver.unsubscribe("room:never").await;
        round(3).await;
        let more = leaver.until_fence(3, 1).await;
        assert_eq!(to(&more), without.map(String::from).into());
        left.extend(more);
        let mut stayed = Vec::new();
        for number in 1..=3 {
            stayed.extend(stayer.until_fence(number, 1).await);
        }
        assert_eq!(logged(&stayed).len(), 9);
        Seen::from([("leaver".into(), logged(&left)), ("stayer".into(), logged(&stayed))])
    }

    pub(crate) async fn log_06_resuming_in_the_middle_gives_the_sequence_of_one_that_stayed<R: Receiver>() -> Seen {
        const ROUNDS: usize = 8;
        let world = World::new(MailboxBounds::default(), MemoryBounds::default()).await;
        let targets = ["adw:aaaaaaaa", "room:tasks", "session:c1"];
        let streams = ["adw:aaaaaaaa", "room:tasks", "global", "session:c1", "user:alice"];
        let mut stayer = R::open(&world, "alice", &targets).await;
        let mut leavers = Vec::new();
        for _ in 0..=2 * streams.len() {
            leavers.push((R::open(&world, "alice", &targets).await, Vec::new()));
        }
        let round = async |number: usize| {
            for to in streams.into_iter().chain(["room:others", "adw:bbbbbbbb", "user:bob"]) {
                world.publish("_test.event", to, json!({"round": number})).await;
            }
        };
        for number in 0..ROUNDS / 2 {
            round(number).await;
        }
        // Cut off at every position within two rounds, before the first event included.
        for (position, (leaver, seen)) in leavers.iter_mut().enumerate() {
            seen.extend(leaver.logged(position).await);
            leaver.cut().await;
        }
        for number in ROUNDS / 2..ROUNDS {
            round(number).await;
        }
        for (leaver, _) in &mut leavers {
            leaver.come_back(&world).await;
        }
        for to in streams {
            world.publish("_test.fence", to, json!({"number": 1})).await;
        }
        let stayed = stayer.until_fence(1, streams.len()).await;
        check_chains(&stayed);
        let expected = by_root(&stayed);
        assert_eq!(expected.len(), ROUNDS * streams.len());
        let mut result = Seen::from([("stayer".into(), logged(&stayed))]);
        for (position, (mut leaver, mut seen)) in leavers.into_iter().enumerate() {
            let rest = leaver.until_fence(1, streams.len()).await;
            // A fence may be the last event of its replay, so that the closing bracket comes behind it.
            assert!(kinds(&rest).contains(&"connection.replaying"), "{position}");
            assert!(!kinds(&rest).contains(&"connection.gap"));
            seen.extend(rest);
            check_chains(&seen);
            assert_eq!(by_root(&seen), expected, "{position}");
            // And once more, at once: coming back a second time repeats nothing.
            leaver.cut().await;
            leaver.come_back(&world).await;
            world.publish("_test.fence", "room:tasks", json!({"number": 2 + position})).await;
            assert_eq!(logged(&leaver.until_fence(2 + position as u64, 1).await), Vec::<Value>::new());
            result.insert(format!("cut at {position:02}"), by_root(&seen));
        }
        result
    }

    pub(crate) async fn flow_04_a_new_subscriber_gets_the_newest_values_at_once_and_they_move_nothing<R: Receiver>()
    -> Seen {
        let world = World::new(MailboxBounds::default(), MemoryBounds::default()).await;
        let update = async |adw_id: &str, percent: u64| {
            let data = json!({"adw_id": adw_id, "status": "in_progress", "progress_percent": percent});
            world.publish("adw.agent_summary_update", &format!("adw:{adw_id}"), data).await;
        };
        world.publish("_test.event", "adw:aaaaaaaa", json!({"before": true})).await;
        for percent in [10, 20, 30] {
            update("aaaaaaaa", percent).await;
            update("bbbbbbbb", percent + 1).await;
        }
        let mut seen = Seen::new();
        for (who, targets, due) in [
            ("alice", &["adw:aaaaaaaa"][..], vec![30]),
            ("raw", &["adw:aaaaaaaa", "adw:bbbbbbbb"], vec![30, 31]),
            ("observer", &["*"], vec![30, 31]),
            ("walled", &["adw:aaaaaaaa", "*"], vec![]),
            ("nobody", &[], vec![]),
        ] {
            let mut receiver = R::open(&world, who, targets).await;
            world.publish("_test.fence", "global", json!({"number": 1})).await;
            let events = receiver.until_fence(1, 1).await;
            let values: Vec<&Value> =
                events.iter().filter(|event| event["type"] == "adw.agent_summary_update").collect();
            let mut percents: Vec<u64> =
                values.iter().map(|event| event["data"]["progress_percent"].as_f64().unwrap() as u64).collect();
            percents.sort_unstable();
            assert_eq!(percents, due, "{who}");
            assert!(values.iter().all(|event| event.get("seq").is_none()));
            // What was logged before is not for a new subscriber.
            assert_eq!(logged(&events), Vec::<Value>::new(), "{who}");
            let subscribed = kinds(&events).iter().position(|kind| *kind == "connection.subscribed");
            let first = kinds(&events).iter().position(|kind| *kind == "adw.agent_summary_update");
            assert!(first.is_none_or(|first| subscribed.is_some_and(|subscribed| subscribed < first)), "{who}");
            // Nothing was moved by them: one that comes back resumes behind the last logged event.
            receiver.cut().await;
            if who == "alice" {
                world.publish("_test.event", "adw:aaaaaaaa", json!({"after": true})).await;
            }
            receiver.come_back(&world).await;
            for to in ["adw:aaaaaaaa", "global"] {
                world.publish("_test.fence", to, json!({"number": 2})).await;
            }
            let fences = if ["walled", "nobody"].contains(&who) { 1 } else { 2 };
            let events = receiver.until_fence(2, fences).await;
            assert_eq!(logged(&events).len(), usize::from(who == "alice"), "{who}");
            seen.insert(who.into(), logged(&events));
        }
        seen
    }

    pub(crate) async fn log_04_what_was_evicted_meanwhile_is_named_and_the_rest_comes<R: Receiver>() -> Seen {
        const KEPT: usize = 20;
        let few = StreamBounds { events: KEPT, ..StreamBounds::DEFAULT };
        let world =
            World::new(MailboxBounds::default(), MemoryBounds { adw: few, other: few, ..MemoryBounds::default() })
                .await;
        let mut receiver = R::open(&world, "alice", &["adw:aaaaaaaa", "room:tasks"]).await;
        let publish = async |to: &str, count: usize| {
            for number in 0..count {
                world.publish("_test.event", to, json!({"number": number})).await;
            }
        };
        publish("adw:aaaaaaaa", 5).await;
        publish("room:tasks", 5).await;
        let mut seen = receiver.logged(10).await;
        receiver.cut().await;
        // Of one stream more is published than is kept, of the other less.
        publish("adw:aaaaaaaa", 3 * KEPT).await;
        publish("room:tasks", KEPT / 2).await;
        receiver.come_back(&world).await;
        let (mut rest, mut gaps) = (Vec::new(), Vec::new());
        while logged(&rest).len() < KEPT + KEPT / 2 {
            let event = receiver.next().await;
            gaps.extend((event["type"] == "connection.gap").then(|| event["data"].clone()));
            rest.push(event);
        }
        // Told once, for the one stream that lost something, with what is lost: from behind what was received, which for a
        // cursor is the last event of all streams, up to the first that is still kept.
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!((&gaps[0]["stream"], &gaps[0]["reason"]), (&json!("adw:aaaaaaaa"), &json!("expired")));
        assert!([6, 11].contains(&gaps[0]["from_seq"].as_u64().unwrap()), "{gaps:?}");
        assert_eq!(gaps[0]["to_seq"], 50);
        world.publish("_test.fence", "global", json!({"number": 1})).await;
        let behind = receiver.until_fence(1, 1).await;
        assert_eq!(logged(&behind), Vec::<Value>::new());
        assert!(!kinds(&behind).contains(&"connection.gap"));
        seen.extend(rest);
        let seqs = |to: &str| -> Vec<u64> {
            seen.iter().filter(|event| event["to"] == to).map(|event| event["seq"].as_u64().unwrap()).collect()
        };
        let adw = seqs("adw:aaaaaaaa");
        assert_eq!(adw[..5], [1, 2, 3, 4, 5]);
        assert_eq!(adw[5..], (51..=70).collect::<Vec<u64>>());
        assert_eq!(seqs("room:tasks"), (6..=10).chain(71..=80).collect::<Vec<u64>>());
        Seen::from([("receiver".into(), by_root(&seen))])
    }

    pub(crate) async fn flow_02_a_reader_that_stops_catches_up_when_it_reads_again<R: Receiver>() -> Seen {
        const EVENTS: usize = 800;
        let mailbox = MailboxBounds { frames: 32, bytes: 64 * 1024 };
        let world = World::new(mailbox, MemoryBounds::default()).await;
        let targets = ["adw:aaaaaaaa", "room:tasks"];
        let mut stops = R::open(&world, "alice", &targets).await;
        let mut reads = R::open(&world, "alice", &targets).await;
        let fill = "x".repeat(8 * 1024);
        let mut read = Vec::new();
        for number in 0..EVENTS {
            let to = if number % 10 == 0 { "room:tasks" } else { "adw:aaaaaaaa" };
            world.publish("_test.event", to, json!({"number": number, "fill": fill})).await;
            read.extend(reads.logged(1).await);
        }
        check_chains(&read);
        let lagging = world.hub.connections().into_iter().filter(|row| row.lagging).count();
        assert_eq!(lagging, 1, "the one that stopped, and it alone");
        let late = stops.logged(EVENTS).await;
        check_chains(&late);
        assert_eq!(by_root(&late), by_root(&read));
        world.publish("_test.fence", "global", json!({"number": 1})).await;
        assert_eq!(logged(&stops.until_fence(1, 1).await), Vec::<Value>::new());
        let short = |events: &[Value]| {
            let mut events = by_root(events);
            events.iter_mut().for_each(|event| event["data"]["fill"] = "".into());
            events
        };
        Seen::from([("stops".into(), short(&late)), ("reads".into(), short(&read))])
    }
}
