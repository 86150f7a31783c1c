//! The client against a server whose every word is in the test: killed in the middle of a stream, restarted, refusing,
//! draining, sending holes and gaps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]
#![allow(clippy::result_large_err, reason = "tungstenite types the callback of its handshake so")]

use std::time::Duration;

use eventwire_client::{
    Backoff, BuildError, Client, CommandError, Draft, Evicted, GapReason, Item, Items, Liveness, PublishError,
    Publisher, Queue, QueueBounds, State, Transport, reconnect::Ended,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

const PATIENCE: Duration = Duration::from_secs(10);
const EPOCH: &str = "00000000000000aa";

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

struct Server {
    listener: TcpListener,
}

/// The server's end of one connection.
struct Peer {
    socket: WebSocketStream<TcpStream>,
    authorization: Option<String>,
}

impl Server {
    async fn start() -> Self {
        Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    fn builder(&self) -> eventwire_client::Builder {
        let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(1), ..Backoff::default() };
        // Pings would come between; the tests that are about them set others.
        let liveness = Liveness { ping_every: Duration::from_secs(3600), ..Liveness::default() };
        Client::builder(self.url()).backoff(backoff).transports([Transport::WebSocket]).liveness(liveness)
    }

    async fn stream(&self) -> TcpStream {
        soon("a connection", self.listener.accept()).await.unwrap().0
    }

    async fn accept(&self) -> Peer {
        let mut authorization = None;
        let callback = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/v1/ws");
            let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            authorization = header("authorization");
            assert_eq!(header("user-agent").as_deref(), Some(concat!("eventwire-client/", env!("CARGO_PKG_VERSION"))));
            let subprotocol = header("sec-websocket-protocol").unwrap();
            response.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(self.stream().await, callback).await.unwrap();
        Peer { socket, authorization }
    }

    /// Accepts, says welcome, and answers the first `subscribe`.
    async fn welcome(&self, epoch: &str, head: u64) -> (Peer, Value) {
        let mut peer = self.accept().await;
        peer.say_welcome(epoch).await;
        let command = peer.accept_subscribe(epoch, head).await;
        (peer, command)
    }

    /// Answers one HTTP request with a status and a JSON body, and gives back the request.
    async fn answer(&self, status: &str, body: &Value) -> String {
        let mut stream = self.stream().await;
        let (mut request, mut buffer) = (String::new(), [0; 4096]);
        loop {
            let read = soon("a request", stream.read(&mut buffer)).await.unwrap();
            request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break;
            }
        }
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    }
}

impl Peer {
    async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn say(&mut self, kind: &str, data: Value) {
        self.send(json!({"type": format!("connection.{kind}"), "time": "2026-11-20T23:40:01Z", "to": "connection:c0000000000000001", "data": data})).await;
    }

    async fn say_welcome(&mut self, epoch: &str) {
        let limits =
            json!({"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 32, "command_burst": 64});
        self.say("welcome", json!({"connection_id": "c0000000000000001", "protocol": "v1", "epoch": epoch, "server": "scripted", "server_time": "2026-11-20T23:40:01Z", "permissions": [], "heartbeat_interval_ms": 30000, "limits": limits})).await;
    }

    async fn event(&mut self, to: &str, seq: u64, prev: u64) {
        self.send(json!({"type": "_test.event", "time": "2026-11-20T23:40:01Z", "to": to, "seq": seq, "prev": prev, "data": {}})).await;
    }

    async fn command(&mut self) -> Value {
        loop {
            match soon("a command", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a command, got {other:?}"),
            }
        }
    }

    async fn accept_subscribe(&mut self, epoch: &str, head: u64) -> Value {
        let command = self.command().await;
        assert_eq!(command["type"], "subscribe");
        let streams: Vec<Value> = command["data"]["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| json!({"to": stream["to"], "head": head}))
            .collect();
        self.say("subscribed", json!({"re": command["id"], "epoch": epoch, "streams": streams, "refused": []})).await;
        command
    }

    async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() };
        self.socket.close(Some(frame)).await.unwrap();
        // Until the client has answered, so that the close is not lost with the socket.
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.socket.next()).await {}
    }
}

fn since(command: &Value, to: &str) -> Option<u64> {
    command["data"]["streams"].as_array().unwrap().iter().find(|stream| stream["to"] == to).unwrap()["since"].as_u64()
}

async fn next(items: &mut Items) -> Item {
    soon("an item", items.next()).await.expect("the client ended early")
}

/// The next item that is no state.
async fn next_event(items: &mut Items) -> Item {
    loop {
        match next(items).await {
            Item::State(_) => {}
            other => return other,
        }
    }
}

async fn expect_seq(items: &mut Items, seq: u64) {
    match next_event(items).await {
        Item::Event(event) if event.seq.map(|seq| seq.as_u64()) == Some(seq) => {}
        other => panic!("expected event {seq}, got {other:?}"),
    }
}

async fn expect_gap(items: &mut Items, reason: GapReason) -> eventwire_client::Gap {
    match next_event(items).await {
        Item::Gap(gap) if gap.reason == reason => gap,
        other => panic!("expected a gap {reason:?}, got {other:?}"),
    }
}

async fn expect_closed(items: &mut Items) -> (u16, String) {
    loop {
        match next(items).await {
            Item::State(State::Closed { code, reason }) => {
                assert!(soon("the end", items.next()).await.is_none(), "Closed is the last item");
                return (code, reason);
            }
            Item::State(State::Reconnecting { because, .. }) => panic!("it comes back after {because:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_stream_costs_no_event() {
    let server = Server::start().await;
    let (_client, mut items) = server.builder().token("secret").subscribe("adw:aaaaaaaa").build().unwrap();
    let (mut peer, command) = server.welcome(EPOCH, 40).await;
    assert_eq!(peer.authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(since(&command, "adw:aaaaaaaa"), None);
    peer.event("adw:aaaaaaaa", 41, 40).await;
    expect_seq(&mut items, 41).await;
    // Cut without a goodbye.
    drop(peer);
    let (mut peer, command) = server.welcome(EPOCH, 44).await;
    assert_eq!(since(&command, "adw:aaaaaaaa"), Some(41));
    assert_eq!(command["data"]["epoch"], EPOCH);
    // The server repeats what the client had already.
    for (seq, prev) in [(41, 40), (43, 41), (44, 43)] {
        peer.event("adw:aaaaaaaa", seq, prev).await;
    }
    expect_seq(&mut items, 43).await;
    expect_seq(&mut items, 44).await;
}

#[tokio::test]
async fn what_many_tasks_ask_for_at_once_is_one_command_and_each_gets_its_answer() {
    let server = Server::start().await;
    let (client, _items) = server.builder().build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    let calls = futures_util::future::join_all((0..100).map(|number| {
        let client = client.clone();
        async move { client.subscribe([(format!("room:r{number}"), None)]).await.unwrap() }
    }));
    let answering = async {
        let command = peer.command().await;
        let named = command["data"]["streams"].as_array().unwrap();
        assert_eq!(named.len(), 100);
        let accepted: Vec<Value> = named[1..].iter().map(|stream| json!({"to": stream["to"], "head": 7})).collect();
        let refused = json!([{"to": named[0]["to"], "code": "forbidden", "message": "no"}]);
        peer.say("subscribed", json!({"re": command["id"], "epoch": EPOCH, "streams": accepted, "refused": refused}))
            .await;
        named[0]["to"].as_str().unwrap().to_owned()
    };
    let (answers, refused) = tokio::join!(calls, answering);
    for (number, answer) in answers.iter().enumerate() {
        let name = format!("room:r{number}");
        if name == refused {
            assert_eq!((answer.streams.len(), answer.refused[0].to.as_str()), (0, name.as_str()));
        } else {
            assert_eq!((answer.streams.len(), answer.refused.len()), (1, 0), "{name}");
            assert_eq!(answer.streams[0].to.to_string(), name);
        }
    }
}

#[tokio::test]
async fn commands_keep_to_the_limits_of_the_welcome_and_none_under_way_is_rejected() {
    let server = Server::start().await;
    let (client, _items) = server.builder().build().unwrap();
    let mut peer = server.accept().await;
    // The resume takes one of two.
    let limits =
        json!({"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 5, "command_burst": 2});
    peer.say("welcome", json!({"connection_id": "c0000000000000001", "protocol": "v1", "epoch": EPOCH, "server": "scripted", "server_time": "2026-11-20T23:40:01Z", "permissions": [], "heartbeat_interval_ms": 30000, "limits": limits})).await;
    peer.accept_subscribe(EPOCH, 0).await;
    let calling = tokio::spawn(async move {
        for number in 0..4 {
            client.subscribe([(format!("room:r{number}"), None)]).await.unwrap();
            client.unsubscribe([format!("room:r{number}")]).await.unwrap();
        }
    });
    let began = std::time::Instant::now();
    for number in 0..8 {
        let command = peer.command().await;
        assert!(began.elapsed() >= Duration::from_millis(200) * u32::saturating_sub(number, 1), "command {number}");
        if number == 3 {
            // One that is refused for now is sent again.
            let error = json!({"re": command["id"], "code": "rate_limited", "message": "slowly", "retryable": true, "retry_after_ms": 50});
            peer.say("error", error).await;
            let again = peer.command().await;
            assert_eq!((&again["type"], &again["data"]), (&command["type"], &command["data"]));
            peer.say("unsubscribed", json!({"re": again["id"], "streams": again["data"]["streams"]})).await;
            continue;
        }
        match command["type"].as_str().unwrap() {
            "subscribe" => {
                let streams = json!([{"to": command["data"]["streams"][0]["to"], "head": 0}]);
                peer.say("subscribed", json!({"re": command["id"], "epoch": EPOCH, "streams": streams, "refused": []}))
                    .await;
            }
            _ => peer.say("unsubscribed", json!({"re": command["id"], "streams": command["data"]["streams"]})).await,
        }
    }
    soon("the calls", calling).await.unwrap();
}

#[tokio::test]
async fn after_a_sleep_of_the_machine_the_line_is_probed_at_once() {
    let server = Server::start().await;
    let (_client, mut items) = server.builder().build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    peer.event("global", 1, 0).await;
    expect_seq(&mut items, 1).await;
    // Pings are an hour apart here. A clock that goes on in sleep jumps.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16)).await;
    tokio::time::resume();
    assert_eq!(peer.command().await["type"], "ping");
}

#[tokio::test]
async fn a_target_is_read_from_the_number_that_it_was_given() {
    let server = Server::start().await;
    let builder = server.builder().subscribe_since("room:a", 0).subscribe_since("room:b", 7).subscribe("room:c");
    let (_client, _items) = builder.build().unwrap();
    let (_peer, command) = server.welcome(EPOCH, 9).await;
    let at = |to| since(&command, to);
    assert_eq!((at("room:a"), at("room:b"), at("room:c")), (Some(0), Some(7), None));
    let wrong = Client::builder(server.url()).subscribe_since("room:a", u64::MAX).build();
    assert!(matches!(wrong, Err(BuildError::Since { .. })));
}

#[tokio::test]
async fn each_of_two_targets_has_a_reader_with_its_gaps_and_refusal() {
    let server = Server::start().await;
    let (_client, items) =
        server.builder().subscribe("room:a").subscribe("room:b").subscribe("room:c").build().unwrap();
    let scopes = items.scoped();
    let [mut a, mut b, mut c] = ["room:a", "room:b", "room:c"].map(|to| scopes.target(to).unwrap());
    let mut peer = server.accept().await;
    peer.say_welcome(EPOCH).await;
    let command = peer.command().await;
    let streams = json!([{"to": "room:a", "head": 0}, {"to": "room:b", "head": 0}, {"to": "global", "head": 0}]);
    let refused = json!([{"to": "room:c", "code": "forbidden", "message": "no"}]);
    peer.say("subscribed", json!({"re": command["id"], "epoch": EPOCH, "streams": streams, "refused": refused})).await;
    for seq in 1..=300 {
        peer.event("room:a", 2 * seq, 2 * (seq - 1)).await;
        peer.event("room:b", 2 * seq + 1, if seq == 1 { 0 } else { 2 * seq - 1 }).await;
    }
    peer.say("gap", json!({"stream": "room:b", "reason": "slow_consumer", "from_seq": 602, "to_seq": 700})).await;
    async fn read(items: &mut eventwire_client::TargetItems, count: usize) -> Vec<String> {
        let mut read = Vec::new();
        while read.len() < count {
            match soon("an item", items.next()).await.expect("the client ended early") {
                Item::State(_) => {}
                Item::Event(event) => read.push(event.to.to_string()),
                Item::Gap(gap) => read.push(format!("gap {}", gap.stream)),
                Item::Refused(refused) => read.push(format!("refused {}", refused.to)),
                other => panic!("{other:?}"),
            }
        }
        read
    }
    let (of_a, of_b, of_c) = tokio::join!(read(&mut a, 300), read(&mut b, 301), read(&mut c, 1));
    assert!(of_a.iter().all(|to| to == "room:a"));
    assert!(of_b[..300].iter().all(|to| to == "room:b"));
    assert_eq!((of_b[300].as_str(), of_c[0].as_str()), ("gap room:b", "refused room:c"));
}

#[tokio::test]
async fn a_publisher_refuses_above_the_limits_before_it_sends() {
    let server = Server::start().await;
    let publisher = Publisher::new(&server.url(), None).unwrap();
    let draft =
        |bytes: usize| Draft::raw("_test.event", "global".parse().unwrap(), &json!({"x": "x".repeat(bytes)})).unwrap();
    let drafts = [draft(1), draft(1 << 20), draft(2)];
    let results = json!({"results": [{"seq": 1}, {"seq": 2}]});
    let (outcomes, request) = tokio::join!(publisher.publish_all(&drafts), server.answer("202 Accepted", &results));
    assert_eq!(request.matches("_test.event").count(), 2);
    let outcomes = outcomes.unwrap();
    let seqs: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().ok().map(|it| it.seq.unwrap().as_u64())).collect();
    assert_eq!(seqs, [Some(1), None, Some(2)]);
    let refused = outcomes[1].as_ref().unwrap_err();
    assert!(refused.message.ends_with("over the limit of 1048576; it was not sent"), "{refused}");
    // Nothing is there to answer these.
    drop(server);
    assert!(matches!(publisher.publish(&draft(9 << 20)).await, Err(PublishError::Refused { status: 413, .. })));
    let many: Vec<_> = (0..10).map(|_| draft(1_000_000)).collect();
    assert!(matches!(publisher.publish_all(&many).await, Err(PublishError::TooLarge { events: 10, .. })));
    let many: Vec<_> = (0..1_001).map(|_| draft(1)).collect();
    assert!(matches!(publisher.publish_all(&many).await, Err(PublishError::TooLarge { events: 1_001, .. })));
}

#[tokio::test]
async fn frames_may_be_larger_than_the_largest_event_that_is_published() {
    let server = Server::start().await;
    let (_client, mut items) = server.builder().subscribe("adw:aaaaaaaa").build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    let time = "2026-11-20T23:40:01Z";
    let frame = |seq: u64, data: Value| json!({"type": "_test.large", "time": time, "to": "adw:aaaaaaaa", "seq": seq, "prev": seq - 1, "data": data});
    peer.send(frame(1, json!({"text": "x".repeat(1 << 20)}))).await;
    // What was 1e15 to its publisher.
    peer.send(frame(2, json!({"numbers": vec![1e15; (1 << 20) / 5]}))).await;
    expect_seq(&mut items, 1).await;
    expect_seq(&mut items, 2).await;
}

#[tokio::test]
async fn states_tell_the_story_of_a_connection() {
    let server = Server::start().await;
    let (client, mut items) = server.builder().subscribe("room:tasks").build().unwrap();
    let (peer, _) = server.welcome(EPOCH, 0).await;
    assert!(matches!(next(&mut items).await, Item::State(State::Connecting { .. })));
    assert!(matches!(next(&mut items).await, Item::State(State::Connected(welcome)) if welcome.server == "scripted"));
    peer.close(4008, "too slow").await;
    match next(&mut items).await {
        Item::State(State::Reconnecting { attempt: 1, because: Ended::Closed { code: 4008, reason }, .. }) => {
            assert_eq!(reason, "too slow");
        }
        other => panic!("{other:?}"),
    }
    let (_peer, _) = server.welcome(EPOCH, 0).await;
    assert!(matches!(next(&mut items).await, Item::State(State::Connecting { .. })));
    assert!(matches!(next(&mut items).await, Item::State(State::Connected(_))));
    client.close().await;
    assert_eq!(expect_closed(&mut items).await.0, 1000);
}

#[tokio::test]
async fn holes_and_gaps_are_reported_and_hold_nothing_up() {
    let server = Server::start().await;
    let (_client, mut items) = server.builder().subscribe("adw:aaaaaaaa").build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    peer.event("adw:aaaaaaaa", 1, 0).await;
    peer.event("adw:aaaaaaaa", 5, 4).await;
    peer.say("gap", json!({"stream": "adw:aaaaaaaa", "reason": "slow_consumer", "from_seq": 6, "to_seq": 9})).await;
    peer.event("adw:aaaaaaaa", 10, 9).await;
    expect_seq(&mut items, 1).await;
    let hole = expect_gap(&mut items, GapReason::Hole).await;
    assert_eq!((hole.from_seq.unwrap().as_u64(), hole.to_seq.unwrap().as_u64()), (2, 4));
    expect_seq(&mut items, 5).await;
    expect_gap(&mut items, GapReason::SlowConsumer).await;
    expect_seq(&mut items, 10).await;
}

#[tokio::test]
async fn a_restarted_server_begins_another_history() {
    let server = Server::start().await;
    let (_client, mut items) = server.builder().subscribe("adw:aaaaaaaa").build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 900).await;
    peer.event("adw:aaaaaaaa", 901, 900).await;
    expect_seq(&mut items, 901).await;
    drop(peer);
    let (mut peer, command) = server.welcome("00000000000000bb", 2).await;
    assert_eq!(since(&command, "adw:aaaaaaaa"), Some(0));
    peer.event("adw:aaaaaaaa", 1, 0).await;
    assert_eq!(expect_gap(&mut items, GapReason::EpochChanged).await.stream, "adw:aaaaaaaa");
    assert_eq!(expect_gap(&mut items, GapReason::EpochChanged).await.stream, "global");
    expect_seq(&mut items, 1).await;
}

#[tokio::test]
async fn a_refused_token_ends_the_client_with_the_reason_of_the_server() {
    let server = Server::start().await;
    let (client, mut items) = server.builder().token("stale").build().unwrap();
    let refusal = json!({"error": {"code": "unauthorized", "message": "the token has expired; get another one"}});
    let request = server.answer("401 Unauthorized", &refusal).await;
    assert!(request.starts_with("GET /v1/ws HTTP/1.1\r\n"));
    assert_eq!(expect_closed(&mut items).await, (401, "the token has expired; get another one".to_owned()));
    assert!(matches!(client.ping().await, Err(CommandError::Ended)));
}

#[tokio::test]
async fn ws_05_codes_that_forbid_a_return_are_obeyed() {
    for code in [1008, 4001, 4003] {
        let server = Server::start().await;
        let (_client, mut items) = server.builder().build().unwrap();
        let (peer, _) = server.welcome(EPOCH, 0).await;
        let (closed, ()) = tokio::join!(expect_closed(&mut items), peer.close(code, "no"));
        assert_eq!(closed, (code, "no".to_owned()));
    }
}

#[tokio::test]
async fn ws_05_a_draining_server_says_when_to_return() {
    let server = Server::start().await;
    let (_client, mut items) = server.builder().build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    peer.say("closing", json!({"reason": "restart", "reconnect_after_ms": 120})).await;
    peer.close(1012, "restart").await;
    loop {
        if let Item::State(State::Reconnecting { after, .. }) = next(&mut items).await {
            assert_eq!(after, Duration::from_millis(120));
            break;
        }
    }
    server.welcome(EPOCH, 0).await;
}

#[tokio::test]
async fn attempts_have_an_end_when_one_was_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let backoff = Backoff { base: Duration::ZERO, attempts: Some(3), ..Backoff::default() };
    let (_client, mut items) = Client::builder(url).backoff(backoff).build().unwrap();
    let mut attempts = 0;
    loop {
        match next(&mut items).await {
            Item::State(State::Connecting { .. }) => attempts += 1,
            Item::State(State::Failed { attempts, because: Ended::Lost(_) }) => {
                assert_eq!(attempts, 3);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(attempts, 4, "the first one and three more");
}

#[tokio::test]
async fn calls_at_run_time_are_matched_by_their_id() {
    let server = Server::start().await;
    let (client, mut items) = server.builder().build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    let asked = tokio::spawn({
        let client = client.clone();
        async move { (client.ping().await, client.subscribe([("room:a", None), ("room:b", None)]).await) }
    });
    let ping = peer.command().await;
    assert_eq!(ping["type"], "ping");
    peer.say("pong", json!({"re": "999", "server_time": "2026-11-20T23:40:01Z"})).await;
    peer.say("pong", json!({"re": ping["id"], "server_time": "2026-11-20T23:40:01Z"})).await;
    let subscribe = peer.command().await;
    let refused = json!([{"to": "room:b", "code": "forbidden", "message": "not yours"}]);
    peer.say(
        "subscribed",
        json!({"re": subscribe["id"], "epoch": EPOCH, "streams": [{"to": "room:a", "head": 3}], "refused": refused}),
    )
    .await;
    let (ping, subscribed) = soon("the answers", asked).await.unwrap();
    ping.unwrap();
    let subscribed = subscribed.unwrap();
    assert_eq!((subscribed.streams.len(), subscribed.refused.len()), (1, 1));

    // What was subscribed at run time comes back, what was refused does not.
    drop(peer);
    let (mut peer, command) = server.welcome(EPOCH, 3).await;
    let targets: Vec<_> =
        command["data"]["streams"].as_array().unwrap().iter().map(|stream| stream["to"].as_str().unwrap()).collect();
    assert_eq!(targets, ["room:a", "global"]);

    let asked = tokio::spawn({
        let client = client.clone();
        async move {
            (client.unsubscribe(["room:a"]).await, client.authenticate("new").await, client.authenticate("bad").await)
        }
    });
    let unsubscribe = peer.command().await;
    peer.say("unsubscribed", json!({"re": unsubscribe["id"], "streams": [{"to": "room:a"}]})).await;
    let authenticate = peer.command().await;
    assert_eq!(authenticate["data"]["token"], "new");
    peer.say("reply", json!({"re": authenticate["id"], "data": {}})).await;
    let authenticate = peer.command().await;
    peer.say(
        "error",
        json!({"re": authenticate["id"], "code": "unauthorized", "message": "unknown", "retryable": false}),
    )
    .await;
    let (unsubscribed, authenticated, refused) = soon("the answers", asked).await.unwrap();
    unsubscribed.unwrap();
    authenticated.unwrap();
    assert!(matches!(refused, Err(CommandError::Refused(error)) if error.message == "unknown"));

    // The next connection is made with the token that was accepted.
    drop(peer);
    let (peer, command) = server.welcome(EPOCH, 3).await;
    assert_eq!(peer.authorization.as_deref(), Some("Bearer new"));
    assert_eq!(command["data"]["streams"].as_array().unwrap().len(), 1);
    client.close().await;
    let mut last = None;
    while let Some(item) = soon("the end", items.next()).await {
        last = Some(item);
    }
    assert!(matches!(last, Some(Item::State(State::Closed { code: 1000, .. }))), "{last:?}");
}

#[tokio::test]
async fn an_unanswered_call_ends_in_time_and_a_lost_one_says_so() {
    let server = Server::start().await;
    let (client, _items) = server.builder().command_timeout(Duration::from_millis(30)).build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    let (answer, _) = tokio::join!(client.ping(), peer.command());
    assert!(matches!(answer, Err(CommandError::Timeout)));
    let server = Server::start().await;
    let (client, _items) = server.builder().build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    let (answer, ()) = tokio::join!(client.ping(), async {
        peer.command().await;
        drop(peer);
    });
    assert!(matches!(answer, Err(CommandError::Disconnected)));
}

#[tokio::test]
async fn an_application_that_reads_nothing_bounds_what_the_client_takes() {
    let server = Server::start().await;
    let (client, mut items) = server.builder().subscribe("room:tasks").build().unwrap();
    let (peer, _) = server.welcome(EPOCH, 0).await;
    let (mut write, mut read) = peer.socket.split();
    // Far more than sockets and buffers take: sending gets stuck, and goes on when somebody reads.
    const EVENTS: u64 = 40_000;
    let sender = tokio::spawn(async move {
        let padding = "x".repeat(2_000);
        for seq in 1..=EVENTS {
            let frame = json!({"type": "_test.event", "time": "2026-11-20T23:40:01Z", "to": "room:tasks", "seq": seq, "prev": seq - 1, "data": {"padding": padding}});
            write.send(Message::text(frame.to_string())).await.unwrap();
        }
        write
    });
    // Calls still reach the server meanwhile; their answers are stuck behind the events.
    let call = tokio::spawn(async move { client.ping().await });
    let command = soon("the ping", read.next()).await.unwrap().unwrap();
    assert!(command.to_text().unwrap().contains("ping"));
    assert!(!sender.is_finished());
    for seq in 1..=EVENTS {
        expect_seq(&mut items, seq).await;
    }
    let _write = soon("the sender", sender).await.unwrap();
    drop(call);
}

#[tokio::test]
async fn an_item_stream_that_is_dropped_ends_the_client() {
    let server = Server::start().await;
    let (client, items) = server.builder().build().unwrap();
    let (mut peer, _) = server.welcome(EPOCH, 0).await;
    drop(items);
    let close = soon("a close", peer.socket.next()).await;
    assert!(matches!(close, Some(Ok(Message::Close(_)))), "{close:?}");
    drop(peer);
    assert!(matches!(soon("the end", client.ping()).await, Err(CommandError::Ended)));
}

#[tokio::test]
async fn mistakes_of_the_application_are_found_before_anything_is_sent() {
    let refused = |builder: eventwire_client::Builder| builder.build().err().unwrap();
    assert!(matches!(refused(Client::builder("127.0.0.1:1")), BuildError::Url { .. }));
    assert!(matches!(refused(Client::builder("http://h").token("a\nb")), BuildError::Token));
    for target in
        ["adw:short", "", "everything", "connection:c0000000000000001", "session:~0123456789abcdef0123456789abcdef"]
    {
        let error = refused(Client::builder("http://h").subscribe(target));
        assert!(matches!(error, BuildError::Target { .. }), "{target}: {error}");
    }
}

#[tokio::test]
async fn publishing_gives_each_event_its_outcome() {
    let server = Server::start().await;
    let publisher = Publisher::new(&server.url(), Some("secret")).unwrap();
    let draft = |to: &str| Draft::raw("_test.event", to.parse().unwrap(), &json!({"n": 1})).unwrap();
    let answer = json!({
        "results": [
            {"type": "_test.event", "to": "room:a", "seq": 7},
            {"error": {"code": "forbidden", "message": "no"}},
        ],
        "evicted": {"newest_values": 3, "ids": 1},
    });
    let drafts = [draft("room:a").id("once".parse().unwrap()), draft("room:b")];
    let (outcomes, request) = tokio::join!(publisher.publish_all(&drafts), server.answer("202 Accepted", &answer));
    let outcomes = outcomes.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().seq.map(|seq| seq.as_u64()), Some(7));
    assert_eq!(outcomes[1].as_ref().unwrap_err().message, "no");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/events HTTP/1.1"), "{head}");
    assert!(head.contains(concat!("user-agent: eventwire-client/", env!("CARGO_PKG_VERSION"))), "{head}");
    assert_eq!(publisher.clone().evicted(), Evicted { newest_values: 3, ids: 1 });
    assert!(head.contains("authorization: Bearer secret") && head.contains("content-type: application/json"), "{head}");
    let sent: Value = serde_json::from_str(body).unwrap();
    assert_eq!(sent[0], json!({"type": "_test.event", "to": "room:a", "id": "once", "data": {"n": 1}}));

    let refusal = json!({"error": {"code": "unauthorized", "message": "who are you?"}});
    let room = draft("room:a");
    let (outcome, _) = tokio::join!(publisher.publish(&room), server.answer("401 Unauthorized", &refusal));
    assert!(matches!(outcome, Err(PublishError::Refused { status: 401, .. })));
    let greeting = json!("hello");
    let (outcome, _) = tokio::join!(publisher.publish(&room), server.answer("200 OK", &greeting));
    assert!(matches!(outcome, Err(PublishError::Foreign { status: 200 })));
    drop(server);
    assert!(matches!(publisher.publish(&room).await, Err(PublishError::Unreachable(_))));
}

#[tokio::test]
async fn a_queue_sends_again_what_was_not_answered_under_the_same_id_and_is_bounded() {
    let server = Server::start().await;
    let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(1), ..Backoff::default() };
    let publisher = Publisher::new(&server.url(), None).unwrap();
    let queue = Queue::new(publisher, QueueBounds { events: 2, bytes: 1_000 }, backoff);
    let draft = |n: usize| Draft::raw("_test.event", "room:a".parse().unwrap(), &json!({"n": n})).unwrap();
    let first = queue.push(draft(1)).unwrap();
    // Taken, perhaps published, and never answered.
    let mut stream = server.stream().await;
    let mut taken = vec![0; 4096];
    let mut length = 0;
    while !String::from_utf8_lossy(&taken[..length]).contains("}}") {
        length += soon("a request", stream.read(&mut taken[length..])).await.unwrap();
    }
    let second = queue.push(draft(2)).unwrap();
    let full = queue.push(draft(3)).unwrap_err();
    assert_eq!((full.events, queue.len()), (2, 2));
    drop(stream);
    let body = |request: &str| -> Value { serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap() };
    let before = body(&String::from_utf8_lossy(&taken[..length]));
    let busy = json!({"error": {"code": "unavailable", "message": "the server restarts"}});
    let again = body(&server.answer("503 Service Unavailable", &busy).await);
    assert_eq!(again[0], before[0], "the same event under the same id");
    assert!(again[0]["id"].as_str().is_some_and(|id| id.len() > 16) && again[0]["id"] != again[1]["id"], "{again}");
    let results = json!({"results": [{"seq": 7}, {"error": {"code": "forbidden", "message": "no"}}]});
    assert_eq!(body(&server.answer("202 Accepted", &results).await), again);
    assert_eq!(soon("a fate", first).await.unwrap().unwrap().seq.map(|seq| seq.as_u64()), Some(7));
    assert_eq!(soon("a fate", second).await.unwrap().unwrap_err().message, "no");
    soon("an empty queue", queue.settled()).await;
    // A single event may be larger than the bound; nothing else finds room beside it.
    let large = Draft::raw("_test.event", "room:a".parse().unwrap(), &json!({"text": "x".repeat(5_000)})).unwrap();
    let lost = queue.push(large).unwrap();
    assert!(queue.push(draft(4)).is_err());
    drop(queue);
    assert!(soon("a fate", lost).await.is_none(), "nobody knows");
}
