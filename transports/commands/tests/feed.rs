//! The stream of commands as a back end reads it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use eventwire_commands::{Body, FEED_ROUTES, Feed, FeedSettings, OnFailure, queue::Bounds, tell_sender};
use eventwire_hub::{
    ApiKeys, CommandSink as _, ConnectRequest, Holder, Hub, KeyDigest, NoAuthentication, Outgoing, Principal,
};
use eventwire_protocol::{ApplicationCommand, Claims, ErrorBody, ErrorCode, Permission};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

fn command(id: &str, session: &str, name: &str) -> ApplicationCommand {
    serde_json::from_value(json!({
        "id": id, "time": "2026-11-20T23:40:01Z", "dialect": "monadic", "name": name,
        "connection_id": "c00000000000000ff", "session_id": session, "urgent": name == "CANCEL",
        "data": {"text": "line\nbreak"},
    }))
    .unwrap()
}

fn ignore() -> OnFailure {
    Arc::new(|_, _| {})
}

fn feed(bounds: Bounds) -> Feed {
    Feed::new(Hub::new(), FeedSettings { bounds, ..FeedSettings::default() }, ignore())
}

fn ask(method: &str, target: &str) -> http::request::Builder {
    Request::builder().method(method).uri(target).header("host", "localhost")
}

async fn answer(feed: &Feed, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Body> {
    feed.answer(request.body(Full::new(body.into())).unwrap(), None).await
}

async fn told(feed: &Feed, request: http::request::Builder, body: impl Into<Bytes>) -> (u16, Value) {
    let answer = answer(feed, request, body).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// A back end that reads.
struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    async fn of(feed: &Feed, target: &str) -> Self {
        let response = answer(feed, ask("GET", target), "").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next block, as the id and the command; `None` at the end. Comments and `retry` are skipped, and no block is
    /// without data (SSE-09).
    async fn next(&mut self) -> Option<(String, ApplicationCommand)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let mut lines = block.lines().filter(|line| !line.starts_with([':', 'r']));
                assert_eq!(lines.next(), Some("event: command"));
                let id = lines.next().unwrap().strip_prefix("id: ").unwrap().to_owned();
                let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
                assert_eq!(lines.next(), None);
                return Some((id, serde_json::from_str(data).unwrap()));
            }
            let frame = self.body.frame().await?.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    async fn id(&mut self) -> String {
        tokio::time::timeout(Duration::from_secs(3_000), self.next()).await.expect("a command").expect("no end").0
    }
}

impl Reader {
    /// The next command, of which only the id and what it cancels are of interest.
    async fn cancels(&mut self) -> (String, Value) {
        let next = tokio::time::timeout(Duration::from_secs(3_000), self.next()).await;
        let (id, command) = next.expect("a command").expect("no end");
        (id, serde_json::to_value(command.cancels).unwrap())
    }
}

fn cancels(in_work: &[&str], withdrawn: &[&str], ended: &[&str], stale: bool) -> Value {
    json!({"in_work": in_work, "withdrawn": withdrawn, "ended": ended, "stale": stale})
}

async fn acknowledge(feed: &Feed, id: &str) {
    let (status, body) = told(feed, ask("POST", &format!("/v1/commands/{id}/ack")), "").await;
    assert_eq!((status, body), (200, json!({"acknowledged": [id], "unknown": []})));
}

#[tokio::test]
async fn cmd_10_a_command_is_one_event_and_goes_until_it_is_acknowledged() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    let sent = command("a1", "browser", "EDIT");
    feed.submit(sent.clone()).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), ("a1".into(), sent));
    assert_eq!(feed.pending(), 1);
    // Whoever goes without acknowledging leaves it to the next.
    drop(reader);
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    assert_eq!(reader.id().await, "a1");
    acknowledge(&feed, "a1").await;
    assert_eq!(feed.pending(), 0);
    let again = told(&feed, ask("POST", "/v1/commands/a1/ack"), "").await;
    assert_eq!(again, (200, json!({"acknowledged": [], "unknown": ["a1"]})));
}

#[tokio::test(start_paused = true)]
async fn cmd_10_what_is_not_acknowledged_in_time_is_brought_again() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    feed.submit(command("a1", "browser", "EDIT")).await.unwrap();
    assert_eq!(reader.id().await, "a1");
    let began = tokio::time::Instant::now();
    assert_eq!(reader.id().await, "a1");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(32), "{waited:?}");
}

#[tokio::test]
async fn cmd_10_every_group_is_brought_every_command_and_several_are_acknowledged_at_once() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands?group=default").await;
    let mut audit = Reader::of(&feed, "/v1/commands?group=audit").await;
    for (id, session) in [("a", "one"), ("b", "two")] {
        feed.submit(command(id, session, "EDIT")).await.unwrap();
    }
    for reader in [&mut reader, &mut audit] {
        assert_eq!((reader.id().await, reader.id().await), ("a".into(), "b".into()));
    }
    let batch = ask("POST", "/v1/commands/ack?group=audit").header("content-type", "application/json");
    let (status, body) = told(&feed, batch, r#"{"ids":["a","b","c"]}"#).await;
    assert_eq!((status, body), (200, json!({"acknowledged": ["a", "b"], "unknown": ["c"]})));
    assert_eq!(feed.pending(), 2, "the other group has not said so");
}

#[tokio::test]
async fn cmd_11_a_session_keeps_its_order_and_an_urgent_command_overtakes() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    for (id, name) in [("1", "chat"), ("2", "chat"), ("3", "CANCEL")] {
        feed.submit(command(id, "browser", name)).await.unwrap();
    }
    feed.submit(command("4", "other", "chat")).await.unwrap();
    assert_eq!([reader.id().await, reader.id().await, reader.id().await], ["1", "3", "4"]);
    acknowledge(&feed, "1").await;
    assert_eq!(reader.id().await, "2");
}

#[tokio::test(start_paused = true)]
async fn cmd_12_without_a_reader_or_with_too_much_waiting_the_sender_is_refused() {
    let bounds = Bounds { commands: 2, ..Bounds::default() };
    let feed = feed(bounds);
    let refused = async |id: &str| feed.submit(command(id, "browser", "EDIT")).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let error = refused("a").await;
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.message.contains("EDIT") && error.message.contains("no back end"), "{error}");
    drop(Reader::of(&feed, "/v1/commands").await);
    for id in ["a", "b"] {
        feed.submit(command(id, "browser", "EDIT")).await.expect("a moment after the last reader");
    }
    assert!(refused("c").await.message.contains("too many"));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(refused("c").await.message.contains("no back end"));
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    assert_eq!(reader.id().await, "a", "what was taken is not lost");
}

#[tokio::test(start_paused = true)]
async fn cmd_12_after_a_start_commands_wait_for_the_first_reader() {
    for target in ["/v1/commands", "/v1/commands?group=other"] {
        let feed = feed(Bounds::default());
        for (id, name) in [("1", "CHECK_TOKEN"), ("2", "LOAD"), ("3", "CHAT"), ("4", "CANCEL")] {
            feed.submit(command(id, "browser", name)).await.expect("the back end may be on its way");
        }
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        let mut reader = Reader::of(&feed, target).await;
        let group = target.split_once("group=").map_or("default", |(_, group)| group);
        // The turn is withdrawn, and the others keep their order behind what is urgent.
        let (id, cancels) = reader.cancels().await;
        assert_eq!((id.as_str(), &cancels["withdrawn"]), ("4", &json!(["3"])));
        for (id, next) in [("1", Some("2")), ("2", None)] {
            if id == "1" {
                assert_eq!(reader.id().await, "1");
            }
            let (status, _) = told(&feed, ask("POST", &format!("/v1/commands/{id}/ack?group={group}")), "").await;
            assert_eq!(status, 200);
            if let Some(next) = next {
                assert_eq!(reader.id().await, next);
            }
        }
        told(&feed, ask("POST", &format!("/v1/commands/4/ack?group={group}")), "").await;
        assert_eq!(feed.pending(), 0);
        // Another group begins with what comes while it has a reader.
        let mut late = Reader::of(&feed, "/v1/commands?group=late").await;
        feed.submit(command("5", "browser", "EDIT")).await.unwrap();
        assert_eq!((reader.id().await.as_str(), late.id().await.as_str()), ("5", "5"));
    }
}

#[tokio::test(start_paused = true)]
async fn cmd_12_where_no_reader_comes_after_a_start_the_senders_are_told_in_their_own_form() {
    let hub = Hub::new();
    let principal = Principal::new("x", Claims::loopback());
    let mut client = hub.connect(ConnectRequest::new(principal, "memory")).await.unwrap();
    let feed = Feed::new(hub.clone(), FeedSettings::default(), tell_sender(hub.clone()));
    let by = |id: &str, dialect: &str, name: &str| ApplicationCommand {
        connection_id: client.id(),
        dialect: dialect.to_owned(),
        ..command(id, "browser", name)
    };
    let mut ticket = by("4", "adw", "ticket_notification");
    ticket.data.insert("id".to_owned(), json!(66));
    for command in [by("1", "monadic", "LOAD"), by("2", "monadic", "UPDATE_PARAMS"), by("3", "adw", "register_session")]
    {
        feed.submit(command).await.unwrap();
    }
    for command in [ticket, by("5", "monadic", "CHECK_TOKEN")] {
        feed.submit(command).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    assert_eq!(feed.pending(), 0);
    assert!(feed.submit(by("6", "monadic", "EDIT")).await.unwrap_err().message.contains("no back end"));
    let mut frames: Vec<Value> = Vec::new();
    while frames.len() < 3 {
        if let Outgoing::Frames(written) = client.next().await {
            frames.extend(written.iter().map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap()));
        }
    }
    let kinds: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["connection.welcome", "adw.ticket_notification_response", "connection.error"]);
    assert_eq!((&frames[1]["data"]["ticket_id"], &frames[1]["data"]["status"]), (&json!("66"), &json!("error")));
    assert!(frames[2]["data"]["message"].as_str().unwrap().contains("CHECK_TOKEN"), "{}", frames[2]);
}

#[tokio::test(start_paused = true)]
async fn cmd_12_a_command_that_nobody_acknowledges_is_given_up_and_its_sender_is_told() {
    let hub = Hub::new();
    let principal = Principal::new("x", Claims::loopback());
    let mut client = hub.connect(ConnectRequest::new(principal, "memory")).await.unwrap();
    let mut bystander =
        hub.connect(ConnectRequest::new(Principal::new("y", Claims::loopback()), "memory")).await.unwrap();
    let feed = Feed::new(hub.clone(), FeedSettings::default(), tell_sender(hub.clone()));
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    feed.submit(ApplicationCommand { connection_id: client.id(), ..command("a", "browser", "EDIT") }).await.unwrap();
    let reads = tokio::spawn(async move {
        let mut times = 0;
        while reader.next().await.is_some() {
            times += 1;
        }
        times
    });
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(feed.pending(), 0);
    let mut text = String::new();
    while !text.contains("EDIT") {
        if let Outgoing::Frames(frames) = client.next().await {
            frames.iter().for_each(|frame| text.push_str(std::str::from_utf8(&frame.bytes).unwrap()));
        }
    }
    assert!(text.contains("connection.error") && text.contains("\"unavailable\""), "{text}");
    let said = tokio::time::timeout(Duration::from_secs(1), async {
        loop {
            if let Outgoing::Frames(frames) = bystander.next().await {
                for frame in frames {
                    assert!(!std::str::from_utf8(&frame.bytes).unwrap().contains("EDIT"));
                }
            }
        }
    });
    assert!(said.await.is_err());
    feed.close();
    assert_eq!(reads.await.unwrap(), 20);
    assert!(!hub.send_error("c0000000000000000".parse().unwrap(), &ErrorBody::new(ErrorCode::Internal, "x")));
}

#[tokio::test(start_paused = true)]
async fn cmd_10_a_reader_that_does_not_read_is_left_and_others_take_over() {
    let bounds = Bounds { lanes_per_reader: 1, ..Bounds::default() };
    let feed = feed(bounds);
    let stalled = Reader::of(&feed, "/v1/commands").await;
    feed.submit(command("a", "one", "EDIT")).await.unwrap();
    // Brought again and again until no more fits.
    tokio::time::sleep(Duration::from_secs(95)).await;
    assert_eq!(feed.readers(), 0);
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    assert_eq!(reader.id().await, "a");
    drop(stalled);
    assert_eq!(feed.readers(), 1);
}

#[tokio::test(start_paused = true)]
async fn cmd_10_a_silent_stream_is_kept_alive_and_ends_when_the_server_stops() {
    let hub = Hub::new();
    let feed = Feed::new(hub.clone(), FeedSettings::default(), ignore());
    let mut body = answer(&feed, ask("GET", "/v1/commands"), "").await.into_body();
    let mut next = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
    assert_eq!(next().await.unwrap(), "retry: 1000\n");
    let began = tokio::time::Instant::now();
    assert_eq!(next().await.unwrap(), ": keep-alive\n");
    assert_eq!(next().await.unwrap(), ": keep-alive\n");
    assert_eq!(began.elapsed().as_secs(), 30);
    hub.drain(Duration::ZERO).await;
    assert_eq!(next().await, None);
    assert_eq!(feed.submit(command("a", "b", "EDIT")).await.unwrap_err().code, ErrorCode::Unavailable);
    assert_eq!(answer(&feed, ask("GET", "/v1/commands"), "").await.status(), 503);
}

#[tokio::test]
async fn cmd_10_only_holders_of_the_permission_read_and_acknowledge() {
    let mut keys = ApiKeys::new();
    for (key, permissions) in [
        ("reader", &[Permission::Commands][..]),
        ("publisher", &[Permission::Publish, Permission::Observe, Permission::Admin, Permission::AdwRaw]),
    ] {
        let claims = Claims { permissions: permissions.iter().copied().collect(), ..Claims::anonymous() };
        keys.add(KeyDigest::of(key), Principal::new(key, claims)).unwrap();
    }
    let feed = Feed::new(Hub::builder().authenticator(keys).build(), FeedSettings::default(), ignore());
    let _reader = answer(&feed, ask("GET", "/v1/commands").header("authorization", "Bearer reader"), "").await;
    feed.submit(command("a", "b", "EDIT")).await.unwrap();
    for (method, target) in [("GET", "/v1/commands"), ("POST", "/v1/commands/a/ack"), ("POST", "/v1/commands/ack")] {
        for (token, status) in [(None, 401), (Some("Bearer wrong"), 401), (Some("Bearer publisher"), 403)] {
            let request = ask(method, target).header("content-type", "application/json");
            let request = token.iter().fold(request, |request, token| request.header("authorization", *token));
            assert_eq!(told(&feed, request, r#"{"ids":["a"]}"#).await.0, status, "{method} {target} {token:?}");
        }
    }
    assert_eq!(feed.pending(), 1);
    let insecure = Hub::builder().authenticator(NoAuthentication::insecure()).build();
    let feed = Feed::new(insecure, FeedSettings::default(), ignore());
    assert_eq!(answer(&feed, ask("GET", "/v1/commands"), "").await.status(), 403);
}

#[tokio::test]
async fn cmd_10_a_request_that_is_wrong_is_told_what_is_wrong() {
    let feed = feed(Bounds { groups: 1, ..Bounds::default() });
    let _reader = Reader::of(&feed, "/v1/commands").await;
    let long = format!("/v1/commands?group={}", "x".repeat(65));
    for (method, target, status, code) in [
        ("POST", "/v1/commands", 405, "method_not_allowed"),
        ("GET", "/v1/commands/a/ack", 405, "method_not_allowed"),
        ("GET", "/v1/commands/", 404, "not_found"),
        ("POST", "/v1/commands/a/b/ack", 404, "not_found"),
        ("POST", "/v1/commands//ack", 404, "not_found"),
        ("GET", "/v1/commands?group=", 400, "invalid_payload"),
        ("GET", "/v1/commands?group=a%20b", 400, "invalid_payload"),
        ("GET", &long, 400, "invalid_payload"),
        ("GET", "/v1/commands?grp=a", 400, "invalid_payload"),
        ("GET", "/v1/commands?group=another", 503, "unavailable"),
        ("POST", "/v1/commands/ack", 415, "unsupported_media_type"),
    ] {
        let (got, body) = told(&feed, ask(method, target), "").await;
        assert_eq!((got, body["error"]["code"].as_str()), (status, Some(code)), "{method} {target}");
        assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    }
    for (body, status) in [("", 422), ("[]", 422), (r#"{"ids":[1]}"#, 422), (r#"{"ids":[],"x":1}"#, 422)] {
        let batch = ask("POST", "/v1/commands/ack").header("content-type", "application/json");
        assert_eq!(told(&feed, batch, body).await.0, status, "{body}");
    }
    let batch = || ask("POST", "/v1/commands/ack").header("content-type", "application/json; charset=utf-8");
    let many = json!({ "ids": vec!["a"; 1_001] }).to_string();
    assert_eq!(told(&feed, batch(), many).await.0, 413);
    assert_eq!(told(&feed, batch(), vec![b' '; 300_000]).await.0, 413);
    let html = ask("GET", "/v1/commands").header("accept", "text/html");
    assert_eq!(told(&feed, html, "").await.0, 406);
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let request = Request::builder().method("GET").uri("/v1/commands").header(name, value);
        let request = if name == "host" { request } else { request.header("host", "localhost") };
        assert_eq!(told(&feed, request, "").await.0, 403, "{name}");
    }
    assert!(FEED_ROUTES.iter().all(|route| route.pattern.starts_with("/v1/commands")));
}

#[tokio::test]
async fn cmd_09_many_commands_through_two_readers_come_at_least_once_and_in_order() {
    let feed = feed(Bounds::default());
    let seen: Arc<Mutex<Vec<(String, u32)>>> = Arc::default();
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = Reader::of(&feed, "/v1/commands").await;
        let (feed, seen) = (feed.clone(), seen.clone());
        readers.push(tokio::spawn(async move {
            while let Some((id, _)) = reader.next().await {
                let (session, number) = id.split_once('.').unwrap();
                seen.lock().unwrap().push((session.to_owned(), number.parse().unwrap()));
                tokio::task::yield_now().await;
                acknowledge(&feed, &id).await;
            }
        }));
    }
    for number in 0..50 {
        for session in 0..20 {
            feed.submit(command(&format!("s{session}.{number}"), &format!("s{session}"), "EDIT")).await.unwrap();
        }
    }
    while feed.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    feed.close();
    for reader in readers {
        reader.await.unwrap();
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1_000);
    for session in 0..20 {
        let numbers: Vec<u32> = seen.iter().filter(|(of, _)| *of == format!("s{session}")).map(|(_, n)| *n).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn limit_13_a_command_that_makes_room_for_another_peer_is_given_up_and_its_sender_is_told() {
    let given_up = Arc::new(Mutex::new(Vec::new()));
    let list = given_up.clone();
    let told: OnFailure = Arc::new(move |command, error| list.lock().unwrap().push((command.id, error)));
    let bounds = Bounds { commands: 10, ..Bounds::default() };
    let feed = Feed::new(Hub::new(), FeedSettings { bounds, ..FeedSettings::default() }, told);
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    let peer = |last| Holder::Peer(Some([127, 0, 0, last].into()));
    for number in 0..9 {
        let session = format!("s{number}");
        feed.submit_for(peer(1), command(&format!("a{number}"), if number < 2 { &session } else { "s1" }, "CHAT"))
            .await
            .unwrap();
    }
    let refused = feed.submit_for(peer(1), command("a9", "s9", "CHAT")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(given_up.lock().unwrap().is_empty());
    feed.submit_for(peer(2), command("victim", "v", "CHAT")).await.unwrap();
    {
        let given_up = given_up.lock().unwrap();
        let [(id, error)] = given_up.as_slice() else { panic!("{given_up:?}") };
        assert_eq!((id.as_str(), error.code), ("a8", ErrorCode::Unavailable));
        assert!(error.message.contains("most of them yours"), "{error}");
    }
    // What a reader has in hand is never given up.
    let brought = [reader.id().await, reader.id().await, reader.id().await];
    assert_eq!(brought, ["a0", "a1", "victim"]);
}

#[tokio::test]
async fn limit_13_commands_of_closed_connections_make_room_first_unless_a_session_asked() {
    let hub = Hub::new();
    let bounds = Bounds { commands: 4, ..Bounds::default() };
    let feed = Feed::new(hub.clone(), FeedSettings { bounds, ..FeedSettings::default() }, ignore());
    let _reader = Reader::of(&feed, "/v1/commands").await;
    let principal = Principal::new("kanban", Claims::loopback());
    let here = hub.connect(ConnectRequest::new(principal, "memory")).await.unwrap();
    let of = |id: &str, connection: &str| ApplicationCommand {
        connection_id: connection.parse().unwrap(),
        session_id: None,
        ..command(id, "s", "x")
    };
    let (here, gone) = (here.id().to_string(), "c00000000000000ff");
    feed.submit(of("away", gone)).await.unwrap();
    feed.submit(of("waits", gone)).await.unwrap();
    feed.submit(of("stays", &here)).await.unwrap();
    feed.submit(command("session", "s", "x")).await.unwrap();
    // All of one holder, so nothing of others can be given up; the command whose connection is gone is evicted.
    feed.submit(of("next", &here)).await.unwrap();
    assert_eq!(feed.pending(), 4);
    let ids = ["away", "waits", "stays", "session", "next"];
    let acknowledged = feed_acknowledges(&feed, &ids).await;
    assert_eq!(acknowledged, json!({"acknowledged": ["away", "stays", "session", "next"], "unknown": ["waits"]}));
}

async fn feed_acknowledges(feed: &Feed, ids: &[&str]) -> Value {
    let request = ask("POST", "/v1/commands/ack").header("content-type", "application/json");
    told(feed, request, json!({"ids": ids}).to_string()).await.1
}

async fn submit_all(feed: &Feed, commands: &[(&str, &str)]) {
    for (id, name) in commands {
        feed.submit(command(id, "browser", name)).await.unwrap();
    }
}

#[tokio::test]
async fn cmd_15_a_cancel_withdraws_the_turns_that_wait_and_what_was_sent_after_it_waits() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    submit_all(&feed, &[("1", "CHAT"), ("2", "UPDATE_PARAMS"), ("3", "CHAT"), ("4", "EDIT"), ("5", "AI_USER_QUERY")])
        .await;
    feed.submit(command("other", "another", "CHAT")).await.unwrap();
    submit_all(&feed, &[("6", "CANCEL"), ("7", "CHAT"), ("8", "DELETE")]).await;
    assert_eq!([reader.id().await, reader.id().await], ["1", "other"]);
    assert_eq!(reader.cancels().await, ("6".into(), cancels(&["1"], &["3", "5"], &[], false)));
    // What was sent before it is carried out, although it waits; what was sent after it is not brought.
    for (done, next) in [("1", "2"), ("2", "4")] {
        acknowledge(&feed, done).await;
        assert_eq!(reader.cancels().await, (next.into(), Value::Null));
    }
    acknowledge(&feed, "4").await;
    let nothing = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    acknowledge(&feed, "6").await;
    assert_eq!(reader.id().await, "7");
    acknowledge(&feed, "7").await;
    assert_eq!(reader.id().await, "8");
    // The next one means the newer turn, and names the older ones as ended.
    submit_all(&feed, &[("9", "CANCEL")]).await;
    assert_eq!(reader.cancels().await, ("9".into(), cancels(&[], &[], &["1", "7"], true)));
}

#[tokio::test]
async fn cmd_15_a_cancelled_turn_does_not_come_again_when_the_feed_is_cut_in_the_middle() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    submit_all(&feed, &[("1", "CHAT"), ("2", "CHAT"), ("3", "CANCEL"), ("4", "CHAT")]).await;
    assert_eq!([reader.id().await, reader.id().await], ["1", "3"]);
    // Cut before either is acknowledged: the cancellation comes again and means the same, the turn does not.
    for _ in 0..3 {
        drop(reader);
        reader = Reader::of(&feed, "/v1/commands").await;
        assert_eq!(reader.cancels().await, ("3".into(), cancels(&["1"], &["2"], &[], false)));
    }
    // The reader had ended the turn before the cut: the acknowledgement that it sends now counts.
    acknowledge(&feed, "1").await;
    drop(reader);
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    assert_eq!(reader.cancels().await, ("3".into(), cancels(&[], &["2"], &["1"], false)));
    acknowledge(&feed, "3").await;
    assert_eq!(reader.cancels().await, ("4".into(), Value::Null));
    acknowledge(&feed, "4").await;
    assert_eq!(feed.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn cmd_16_a_cancel_whose_acknowledgement_is_lost_comes_again_as_stale_and_before_the_next_turn() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    submit_all(&feed, &[("1", "CHAT"), ("2", "CANCEL"), ("3", "CHAT")]).await;
    assert_eq!(reader.id().await, "1");
    assert_eq!(reader.cancels().await, ("2".into(), cancels(&["1"], &[], &[], false)));
    acknowledge(&feed, "1").await;
    let began = tokio::time::Instant::now();
    assert_eq!(reader.cancels().await, ("2".into(), cancels(&[], &[], &["1"], true)));
    assert!(began.elapsed() >= Duration::from_secs(29), "the next turn was not brought meanwhile");
    acknowledge(&feed, "2").await;
    assert_eq!(reader.id().await, "3");
}

#[tokio::test]
async fn cmd_15_speech_and_turns_are_cancelled_apart() {
    let feed = feed(Bounds::default());
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    let stop = |id| ApplicationCommand { urgent: true, ..command(id, "browser", "STOP_TTS") };
    submit_all(&feed, &[("1", "PLAY_TTS"), ("2", "CHAT"), ("3", "TTS")]).await;
    feed.submit(stop("4")).await.unwrap();
    assert_eq!(reader.id().await, "1");
    assert_eq!(reader.cancels().await, ("4".into(), cancels(&["1"], &["3"], &[], false)));
    acknowledge(&feed, "4").await;
    acknowledge(&feed, "1").await;
    assert_eq!(reader.id().await, "2", "a turn is no speech");
}

#[tokio::test(start_paused = true)]
async fn cmd_15_when_a_cancel_is_given_up_the_senders_of_what_it_withdrew_are_told() {
    let given_up = Arc::new(Mutex::new(Vec::new()));
    let list = given_up.clone();
    let on_failure: OnFailure = Arc::new(move |command, error| list.lock().unwrap().push((command.id, error)));
    let feed = Feed::new(Hub::new(), FeedSettings::default(), on_failure);
    let reader = Reader::of(&feed, "/v1/commands").await;
    submit_all(&feed, &[("1", "CHAT"), ("2", "CHAT")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    submit_all(&feed, &[("3", "CANCEL")]).await;
    assert_eq!(feed.pending(), 3, "what is withdrawn is held");
    drop(reader);
    tokio::time::sleep(Duration::from_secs(602)).await;
    let mut ids: Vec<String> = given_up.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
    ids.sort_unstable();
    assert_eq!((ids, feed.pending()), (vec!["1".into(), "2".into(), "3".into()], 0));
    // One that is taken tells the session by what the back end answers: no sender is told of an error.
    given_up.lock().unwrap().clear();
    let mut reader = Reader::of(&feed, "/v1/commands").await;
    submit_all(&feed, &[("4", "CHAT"), ("5", "CHAT"), ("6", "CANCEL")]).await;
    assert_eq!([reader.id().await, reader.id().await], ["4", "6"]);
    acknowledge(&feed, "6").await;
    drop(reader);
    assert_eq!(feed.pending(), 0, "the turn is not brought again");
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert!(given_up.lock().unwrap().is_empty());
}
