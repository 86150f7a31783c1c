//! The stream itself: format, headers, refusals, silence, the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{DEADLINE, EventSource, Parser, open, piece, pieces, publish, publish_text, request, serve};
use eventwire_hub::{ApiKeys, Hub, KeyDigest, Principal, Settings};
use eventwire_protocol::{Claims, delivery::MailboxBounds};
use eventwire_sse::{Options, SseAcceptor};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

async fn refusal(acceptor: &SseAcceptor, request: http::request::Builder) -> (u16, Value, http::HeaderMap) {
    let rejection = acceptor.open(&request.body(()).unwrap(), None).await.expect_err("refused");
    let response = http::Response::<Bytes>::from(rejection);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    (response.status().as_u16(), body["error"]["code"].clone(), response.headers().clone())
}

fn get(target: &str) -> http::request::Builder {
    Request::get(target).header("host", "localhost:4800")
}

#[tokio::test]
async fn sse_01_the_stream_begins_with_retry_and_id_then_welcome_then_subscribed() {
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    let mut source = EventSource::open(address, "/v1/sse?to=adw:aaaaaaaa,adw:bad,room:tasks").await;
    for (name, value) in
        [("cache-control", "no-store"), ("x-accel-buffering", "no"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(source.headers[name], value);
    }
    let (welcome, subscribed) = (source.next().await.unwrap(), source.next().await.unwrap());
    assert_eq!(source.parser.retry, Some(2_000));
    assert_eq!((welcome.name().as_str(), welcome.kind.as_str()), ("connection.welcome", "message"));
    let epoch = welcome.value()["data"]["epoch"].as_str().unwrap().to_owned();
    assert_eq!(welcome.last_id, format!("{epoch}-0"));
    let data = &subscribed.value()["data"];
    assert_eq!(subscribed.name(), "connection.subscribed");
    assert_eq!(data["streams"], json!([{"to": "adw:aaaaaaaa", "head": 0}, {"to": "room:tasks", "head": 0}]));
    assert_eq!(data["refused"][0]["to"], "adw:bad");
    let refused = source.next().await.unwrap().value();
    assert_eq!((&refused["type"], &refused["data"]["code"]), (&json!("connection.error"), &json!("invalid_id")));
    assert_eq!(refused["data"]["details"], json!({"to": "adw:bad"}));
    let row = &hub.connections()[0];
    assert_eq!((row.transport, row.remote_address.is_some()), ("sse", true));
}

#[tokio::test]
async fn sse_01_without_any_target_the_stream_still_says_what_it_is_subscribed_to() {
    let address = serve(SseAcceptor::new(Hub::new())).await;
    let mut source = EventSource::open(address, "/v1/sse").await;
    let events = source.until(|event| event.name() == "connection.subscribed").await;
    assert_eq!(events.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sse_01_every_event_is_one_data_line_and_logged_ones_have_an_id_of_their_own() {
    let hub = Hub::new();
    let mut body = open(&SseAcceptor::new(hub.clone()), "/v1/sse?adw=aaaaaaaa", "").await;
    for n in 0..3 {
        publish(&hub, "adw:aaaaaaaa", json!({"n": n, "text": "line\nbreak\r\u{2028}"})).await;
    }
    let status = json!({"type": "adw.agent_summary_update", "to": "adw:aaaaaaaa", "data": {"adw_id": "aaaaaaaa", "status": "in_progress"}});
    publish_text(&hub, &status.to_string()).await;
    let text = String::from_utf8(pieces(&mut body).await).unwrap();
    assert!(!text.contains('\r') && !text.contains("\n\n\n"));
    let mut ids = Vec::new();
    let blocks = text.strip_prefix("retry: 2000\n").expect("the first line");
    for (place, block) in blocks.split_terminator("\n\n").enumerate() {
        let (id, data) = match block.split_once('\n') {
            Some((id, data)) => (Some(id.strip_prefix("id: ").unwrap()), data),
            None => (None, block),
        };
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(id.is_some(), place == 0 || event["seq"].is_u64(), "{block}");
        ids.extend(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn sse_04_nothing_that_is_published_begins_a_line_of_its_own() {
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    let mut source = EventSource::open(address, "/v1/sse?room=tasks").await;
    // JSON may have line breaks between its tokens.
    let hostile = "{\"type\":\"_test.event\",\"to\":\"room:tasks\",\"data\":{\"a\":\n\ndata\n"
        .replace("data\n", "\"x\"\r\n\r\n,\r\"b\":\n\"id: 1\\n\\ndata: {}\"}}");
    publish_text(&hub, &hostile).await;
    publish(&hub, "room:tasks", json!({"fence": "\u{0}\u{85}\u{2028}\n\nevent: x\n\n"})).await;
    let events = source.until(|event| !event.value()["data"]["fence"].is_null()).await;
    let published: Vec<Value> =
        events.iter().filter(|event| event.seq().is_some()).map(|event| event.value()["data"].clone()).collect();
    assert_eq!(
        published,
        [json!({"a": "x", "b": "id: 1\n\ndata: {}"}), json!({"fence": "\u{0}\u{85}\u{2028}\n\nevent: x\n\n"})]
    );
    assert!(events.iter().all(|event| event.kind == "message"));
}

#[tokio::test]
async fn sse_05_what_cannot_become_a_stream_is_refused_in_words() {
    let mut keys = ApiKeys::new();
    keys.add(KeyDigest::of("key"), Principal::new("p", Claims::anonymous())).unwrap();
    let acceptor = SseAcceptor::new(Hub::builder().authenticator(keys).build());
    let post = Request::post("/v1/sse").header("host", "localhost");
    let bearer = |request: http::request::Builder| request.header("authorization", "Bearer key");
    let cursor = "9f3a77c2d1e05b64-1";
    for (request, status, code) in [
        (post, 405, "method_not_allowed"),
        (Request::head("/v1/sse").header("host", "localhost"), 405, "method_not_allowed"),
        (Request::get("/v1/sse"), 403, "host_not_allowed"),
        (Request::get("/v1/sse").header("host", "evil.example"), 403, "host_not_allowed"),
        (Request::get("http://evil.example/v1/sse").header("host", "localhost"), 403, "host_not_allowed"),
        (get("/v1/sse").header("host", "localhost"), 403, "host_not_allowed"),
        (get("/v1/sse").header("origin", "https://evil.example"), 403, "origin_not_allowed"),
        (get("/v1/sse").header("origin", "null"), 403, "origin_not_allowed"),
        (get("/v1/sse").header("accept", "application/json"), 406, "not_acceptable"),
        (get("/v1/sse?adws=aaaaaaaa"), 400, "invalid_payload"),
        (get("/v1/sse?adw=aaaaaaaa&adw=bbbbbbbb"), 400, "invalid_payload"),
        (get("/v1/sse?token=key"), 400, "invalid_payload"),
        (get("/v1/sse?cursor=7"), 400, "invalid_payload"),
        (get("/v1/sse").header("last-event-id", "7"), 400, "invalid_payload"),
        (get("/v1/sse").header("last-event-id", "9f3a77c2d1e05b64-1,x=1"), 400, "invalid_payload"),
        (get("/v1/sse").header("last-event-id", cursor).header("last-event-id", cursor), 400, "invalid_payload"),
        (get("/v1/sse"), 401, "unauthorized"),
        (get("/v1/sse").header("authorization", "Bearer other"), 401, "unauthorized"),
        (get("/v1/sse").header("authorization", "Basic a2V5"), 401, "unauthorized"),
    ] {
        let (got, found, headers) = refusal(&acceptor, request).await;
        assert_eq!((got, found.as_str().unwrap()), (status, code));
        assert_eq!(
            (&headers["content-type"], &headers["cache-control"]),
            (&"application/json".parse().unwrap(), &"no-store".parse().unwrap())
        );
        assert_eq!(headers.contains_key("allow"), status == 405);
        assert_eq!(headers.contains_key("www-authenticate"), status == 401);
    }
    for request in [
        get("/v1/sse"),
        get("/v1/sse").header("accept", "*/*"),
        get("/v1/sse").header("last-event-id", ""),
        get("/v1/sse").header("last-event-id", cursor),
        get("/v1/sse").header("origin", "http://localhost:5173"),
    ] {
        assert!(acceptor.open(&bearer(request).body(()).unwrap(), None).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn sse_06_a_silent_stream_gets_a_comment_every_15_seconds_and_lives() {
    let hub = Hub::new();
    let mut body = open(&SseAcceptor::new(hub.clone()), "/v1/sse", "").await;
    let mut parser = Parser::default();
    parser.feed(&pieces(&mut body).await);
    let began = tokio::time::Instant::now();
    let mut last = began;
    while began.elapsed() < Duration::from_secs(600) {
        let frame = body.frame().await.expect("still open").unwrap().into_data().unwrap();
        assert!(last.elapsed() <= Duration::from_millis(15_001), "{:?}", last.elapsed());
        last = tokio::time::Instant::now();
        parser.feed(&frame);
    }
    assert!(parser.comments.len() >= 30 && parser.comments.iter().all(|comment| comment == "keep-alive"));
    assert_eq!(hub.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn flow_07_a_body_that_nobody_asks_for_10_seconds_lets_go_of_its_connection() {
    let hub = Hub::new();
    let acceptor = SseAcceptor::new(hub.clone());
    let (mut stalled, mut slow) =
        (open(&acceptor, "/v1/sse?room=tasks", "").await, open(&acceptor, "/v1/sse?room=tasks", "").await);
    pieces(&mut stalled).await;
    pieces(&mut slow).await;
    // An idle stream is not stalled: there is nothing to take.
    tokio::time::sleep(Duration::from_secs(14)).await;
    for n in 0..8 {
        publish(&hub, "room:tasks", json!({"n": n, "fill": "x".repeat(10_000)})).await;
    }
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(piece(&mut slow).await.is_some());
    }
    assert_eq!(hub.connection_count(), 1);
    // What it was given before is still there, and then it ends.
    let rest = tokio::time::timeout(Duration::from_secs(1), stalled.collect()).await.expect("an end").unwrap();
    assert!(rest.to_bytes().starts_with(b"id: "));
}

#[tokio::test(start_paused = true)]
async fn flow_02_a_stalled_reader_costs_its_mailbox_and_one_batch_however_much_is_published() {
    let mailbox = MailboxBounds { frames: 64, bytes: 64 * 1024 };
    let hub = Hub::builder().settings(Settings { mailbox, ..Settings::default() }).build();
    let mut body = open(&SseAcceptor::new(hub.clone()), "/v1/sse?adw=aaaaaaaa", "").await;
    let mut parser = Parser::default();
    let mut events = parser.feed(&pieces(&mut body).await);
    let mut last = 0;
    for n in 0..2_000 {
        last = publish(&hub, "adw:aaaaaaaa", json!({"n": n, "fill": "x".repeat(4_000)})).await;
        tokio::task::yield_now().await;
    }
    let row = &hub.connections()[0];
    assert!(row.lagging && row.queued_bytes <= 2 * 64 * 1024, "{row:?}");
    assert!(row.delivered <= 64, "made without being asked for: {}", row.delivered);
    // It reads again and has everything, with nothing told as lost.
    let mut seqs: Vec<u64> = events.iter().filter_map(|event| event.seq()).collect();
    while seqs.last() != Some(&last) {
        let more = parser.feed(&piece(&mut body).await.expect("more"));
        seqs.extend(more.iter().filter_map(|event| event.seq()));
        events.extend(more);
    }
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event.name() != "connection.gap"));
}

#[tokio::test]
async fn flow_07_over_a_socket_a_stalled_reader_is_given_up_and_resumes_where_it_was() {
    let hub = Hub::new();
    let options = Options { stall: Duration::from_millis(300), ..Options::default() };
    let address = serve(SseAcceptor::with_options(hub.clone(), options)).await;
    let mut source = EventSource::open(address, "/v1/sse?adw=aaaaaaaa").await;
    source.until(|event| event.name() == "connection.subscribed").await;
    let mut last = 0;
    // More than the buffers of two sockets and a server hold.
    for n in 0..12 {
        for _ in 0..8 {
            last = publish(&hub, "adw:aaaaaaaa", json!({"n": n, "fill": "x".repeat(128 * 1024)})).await;
        }
    }
    let given_up = async {
        while hub.connection_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, given_up).await.expect("given up");
    let mut seqs = Vec::new();
    while seqs.last() != Some(&last) {
        match source.next().await {
            Some(event) => seqs.extend(event.seq()),
            None => source.reconnect().await,
        }
    }
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn sse_07_a_kicked_client_is_told_and_stays_away() {
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    let mut source = EventSource::open(address, "/v1/sse?room=tasks").await;
    source.until(|event| event.name() == "connection.subscribed").await;
    publish(&hub, "room:tasks", json!({})).await;
    assert!(hub.kick(hub.connections()[0].connection_id));
    let events = source.until(|event| event.name() == "connection.closing").await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].value()["data"].get("reconnect_after_ms"), None);
    assert_eq!(source.next().await, None);
    assert_eq!(source.parser.retry, Some(86_400_000));
}

#[tokio::test]
async fn sse_07_and_flow_08_a_server_that_stops_tells_an_event_source_when_to_return_and_never_kills_it() {
    let hub = Hub::new();
    let acceptor = SseAcceptor::new(hub.clone());
    let address = serve(acceptor.clone()).await;
    let mut sources = Vec::new();
    for _ in 0..5 {
        let mut source = EventSource::open(address, "/v1/sse?room=tasks").await;
        source.until(|event| event.name() == "connection.subscribed").await;
        sources.push(source);
    }
    hub.drain(Duration::from_secs(10)).await;
    let mut waits = Vec::new();
    for source in &mut sources {
        let closing = source.until(|event| event.name() == "connection.closing").await.pop().unwrap();
        assert_eq!(source.next().await, None);
        assert_eq!(source.parser.retry, closing.value()["data"]["reconnect_after_ms"].as_u64());
        waits.push(source.parser.retry);
    }
    waits.sort_unstable();
    waits.dedup();
    assert_eq!(waits.len(), 5);
    // An EventSource that returns too early, or comes for the first time, gets a stream that ends, which it survives.
    let mut waits = Vec::new();
    for mut early in [sources.pop().unwrap(), EventSource::open(address, "/v1/sse?to=room:tasks").await] {
        early.reconnect().await;
        let closing = early.next().await.unwrap().value();
        assert_eq!((closing["type"].as_str(), closing["data"].get("code")), (Some("connection.closing"), None));
        assert_eq!(closing["data"]["reconnect_after_ms"].as_u64(), early.parser.retry);
        assert_eq!(early.next().await, None);
        waits.extend(early.parser.retry);
    }
    assert!(waits.iter().all(|wait| (2_000..6_000).contains(wait)) && waits[0] != waits[1], "{waits:?}");
    // A client that takes anything reads the status.
    let (status, code, headers) = refusal(&acceptor, get("/v1/sse").header("accept", "*/*")).await;
    assert_eq!((status, code.as_str()), (503, Some("unavailable")));
    assert!(headers.contains_key("retry-after"));
}

#[tokio::test]
async fn sse_07_an_event_source_for_which_there_is_no_room_now_is_told_when_to_return() {
    let mut keys = ApiKeys::new();
    keys.add(KeyDigest::of("key"), Principal::new("p", Claims::anonymous())).unwrap();
    let settings = Settings { max_connections: 1, ..Settings::default() };
    let acceptor = SseAcceptor::new(Hub::builder().authenticator(keys).settings(settings).build());
    let request = |accept: &str| {
        let request = get("/v1/sse").header("authorization", "Bearer key").header("accept", accept);
        request.body(()).unwrap()
    };
    let _first = acceptor.open(&request("text/event-stream"), None).await.unwrap();
    let body = acceptor.open(&request("text/event-stream"), None).await.unwrap().into_body();
    let text = body.collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.starts_with("retry: ") && text.ends_with("\n\n") && text.matches("\n\n").count() == 1, "{text}");
    let mut parser = Parser::default();
    let events = parser.feed(text.as_bytes());
    assert_eq!(events[0].name(), "connection.closing");
    assert_eq!(events[0].last_id, "", "a client that was never connected has nothing to resume");
    assert_eq!(acceptor.open(&request("*/*"), None).await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_hub() {
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    let mut source = EventSource::open(address, "/v1/sse").await;
    source.next().await.unwrap();
    assert_eq!(hub.connection_count(), 1);
    drop(source);
    let gone = async {
        while hub.connection_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("gone");
}

#[tokio::test]
async fn the_warp_filter_gives_the_same_stream_and_the_same_refusals() {
    use warp::Filter as _;
    let hub = Hub::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = warp::path!("v1" / "sse").and(eventwire_sse::filter(hub.clone()));
    tokio::spawn(warp::serve(routes).incoming(listener).run());
    let mut source = EventSource::open(address, "/v1/sse?room=tasks").await;
    source.until(|event| event.name() == "connection.subscribed").await;
    let seq = publish(&hub, "room:tasks", json!({"fill": "x".repeat(100_000)})).await;
    assert_eq!(source.logged(1).await[0].seq(), Some(seq));
    source.reconnect().await;
    assert!(hub.connections().iter().all(|row| row.remote_address.is_some()));
    let refused = request(address, Request::get("/v1/sse?x=1")).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["content-type"]),
        (400, &"application/json".parse().unwrap())
    );
    let body: Value = serde_json::from_slice(&refused.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["error"]["code"], "invalid_payload");
}
