//! Places, guesses and slow senders on a running gateway (LIMIT-05 to LIMIT-07): attacks that once shut others out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{Gateway, PATIENCE, Socket, soon};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// A socket from one of the many addresses of this machine.
async fn from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    soon("a socket", socket.connect(to)).await.unwrap()
}

fn head(request: &str, headers: &str) -> String {
    format!("{request} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a request and reads the status of its answer; 0 when the gateway closes without one.
async fn status(stream: &mut TcpStream, request: &str, headers: &str) -> u16 {
    stream.write_all(head(request, headers).as_bytes()).await.unwrap();
    let mut status = [0; 12];
    match soon("an answer", stream.read_exact(&mut status)).await {
        Ok(_) => std::str::from_utf8(&status[9..]).unwrap().parse().unwrap(),
        Err(_) => 0,
    }
}

/// A whole answer of a connection that ends with it.
async fn answer(mut stream: TcpStream, request: &str, headers: &str) -> String {
    stream.write_all(head(request, &format!("Connection: close\r\n{headers}")).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads up to the close frame of a WebSocket: its code and reason.
async fn close_frame(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    soon("a close frame", async { while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {} }).await;
    // The last frame that the server sends: opcode 8, no mask, a length below 126.
    let at = (0..bytes.len()).rev().find(|at| bytes[*at] == 0x88 && at + 2 + usize::from(bytes[at + 1]) == bytes.len());
    let payload = &bytes[at.expect("a close frame") + 2..];
    (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8_lossy(&payload[2..]).into_owned())
}

/// The close frame of the first of these sockets that is closed.
async fn first_closed(streams: &mut [TcpStream]) -> (u16, String) {
    let closes = streams.iter_mut().map(|stream| Box::pin(close_frame(stream)));
    futures_util::future::select_all(closes).await.0
}

/// A gateway with one key for each of these names, which is its name with `-secret-key` behind it.
fn with_keys(names: &[&str], arguments: &[&str]) -> (Gateway, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let entries = names.iter().map(|name| {
        let digest = eventwire_hub::KeyDigest::of(&key(name));
        format!("[[key]]\nname = \"{name}\"\nsha256 = \"{digest}\"\npermissions = [\"publish\"]\nrooms = [\"tasks\"]\n")
    });
    let file = directory.path().join("keys.toml");
    std::fs::write(&file, entries.collect::<String>()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let gateway = Gateway::start(&[&["--api-keys-file", file.to_str().unwrap()], arguments].concat());
    (gateway, directory)
}

fn key(name: &str) -> String {
    format!("{name}-secret-key")
}

fn bearer(name: &str) -> String {
    format!("Authorization: Bearer {}\r\n", key(name))
}

#[tokio::test]
async fn limit_05_idle_sockets_of_one_peer_make_room_for_everyone_else_and_for_its_own() {
    let gateway = Gateway::start(&["--max-connections", "40"]);
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut stream = from(1, gateway.address).await;
        assert_eq!(status(&mut stream, "GET /health", "").await, 200);
        idle.push(stream);
    }
    for last in [2, 1, 3, 1] {
        let answered = answer(from(last, gateway.address).await, "GET /health", "").await;
        assert!(answered.starts_with("HTTP/1.1 200 "), "127.0.0.{last}: {answered}");
    }
    // One that was idle for long was closed, in order and without an answer; the model of places shows that it is the longest.
    let ends = idle.iter_mut().map(|stream| {
        Box::pin(async move {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            rest
        })
    });
    let (rest, place, _) = soon("an end", futures_util::future::select_all(ends)).await;
    assert!(place < 20, "the one at place {place} of 40 was closed first");
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1 503"));
    let metrics = answer(from(2, gateway.address).await, "GET /metrics", "").await;
    assert!(metrics.contains("eventwire_turned_away_total{reason=\"displaced\"}"), "{metrics}");
}

#[tokio::test]
async fn limit_05_sockets_without_a_head_shut_out_nobody() {
    let gateway = Gateway::start(&["--max-connections", "20"]);
    let mut silent = Vec::new();
    for _ in 0..120 {
        silent.push(from(1, gateway.address).await);
    }
    for last in [2, 1, 3] {
        // The place of an answered socket is free a moment after its end, so an answer may come before it.
        let served = async {
            while !answer(from(last, gateway.address).await, "GET /health", "").await.starts_with("HTTP/1.1 200 ") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        soon(&format!("an answer for 127.0.0.{last}"), served).await;
    }
}

#[tokio::test]
async fn limit_05_open_sockets_of_one_peer_make_room_with_1013_and_the_reason() {
    let gateway = Gateway::start(&["--max-connections", "20"]);
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut stream = from(1, gateway.address).await;
        assert_eq!(status(&mut stream, "GET /v1/ws", UPGRADE).await, 101);
        open.push(stream);
    }
    let refused = answer(from(1, gateway.address).await, "GET /health", "").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
    // HTTP-25 and SSE-07: a page reads why, and an event source is told when to return.
    let page = "origin: http://localhost:5173\r\n";
    let refused = answer(from(1, gateway.address).await, "GET /health", page).await;
    assert!(refused.contains("access-control-allow-origin: http://localhost:5173\r\n"), "{refused}");
    let strange = answer(from(1, gateway.address).await, "GET /health", "origin: http://evil.example\r\n").await;
    assert!(strange.starts_with("HTTP/1.1 503 ") && !strange.contains("access-control-allow-origin"), "{strange}");
    let source = format!("{page}accept: text/event-stream\r\n");
    let told = answer(from(1, gateway.address).await, "GET /v1/sse?to=room:a", &source).await;
    assert!(told.starts_with("HTTP/1.1 200 ") && told.contains("content-type: text/event-stream\r\n"), "{told}");
    assert!(told.contains("access-control-allow-origin: http://localhost:5173\r\n"), "{told}");
    let (_, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("retry: ") && body.contains("\ndata: {\"type\":\"connection.closing\""), "{body}");
    let mut other = from(2, gateway.address).await;
    assert_eq!(status(&mut other, "GET /v1/ws", UPGRADE).await, 101);
    let (code, reason) = first_closed(&mut open).await;
    assert_eq!(code, 1013);
    assert!(reason.contains("you have the most connections"), "{reason}");
}

#[tokio::test]
async fn limit_05_a_user_with_many_sockets_makes_room_for_another_user_and_strangers_take_no_reserve() {
    let (gateway, _keys) = with_keys(&["low", "ada"], &["--max-connections", "20"]);
    let low = format!("{UPGRADE}{}", bearer("low"));
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut stream = from(1, gateway.address).await;
        assert_eq!(status(&mut stream, "GET /v1/ws", &low).await, 101);
        open.push(stream);
    }
    // Of the same address: the principal counts.
    let mut ada = from(1, gateway.address).await;
    assert_eq!(status(&mut ada, "GET /v1/ws", &format!("{UPGRADE}{}", bearer("ada"))).await, 101);
    assert_eq!(first_closed(&mut open).await.0, 1013);
    // One more of the same user would be over its share.
    let refused = answer(from(1, gateway.address).await, "GET /v1/ws", &low).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");

    let (gateway, _keys) = with_keys(&["ada"], &["--max-connections", "20"]);
    let mut strangers = Vec::new();
    for _ in 0..30 {
        let mut stream = from(1, gateway.address).await;
        strangers.push((status(&mut stream, "GET /health", "").await, stream));
    }
    let mut ada = from(1, gateway.address).await;
    assert_eq!(status(&mut ada, "GET /v1/ws", &format!("{UPGRADE}{}", bearer("ada"))).await, 101);
}

#[tokio::test]
async fn limit_05_polling_sessions_take_places_and_make_room_for_others() {
    let gateway = Gateway::start(&["--max-connections", "20"]);
    for _ in 0..40 {
        let opened = answer(from(1, gateway.address).await, "GET /socket.io/?EIO=4&transport=polling", "").await;
        let Some((_, rest)) = opened.split_once("\"sid\":\"") else { continue };
        let sid = rest.split('"').next().unwrap();
        let target = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}");
        answer(from(1, gateway.address).await, &target, "Content-Type: text/plain\r\nContent-Length: 6\r\n\r\n40/v1,")
            .await;
    }
    let health = answer(from(2, gateway.address).await, "GET /health", "").await;
    assert!(health.contains("\"active_connections\":20"), "{health}");
    let mut other = from(2, gateway.address).await;
    assert_eq!(status(&mut other, "GET /v1/ws", UPGRADE).await, 101);
    let mut read = Vec::new();
    soon("a welcome", async {
        while !String::from_utf8_lossy(&read).contains("connection.welcome") {
            assert_ne!(other.read_buf(&mut read).await.unwrap(), 0, "closed: {}", String::from_utf8_lossy(&read));
        }
    })
    .await;
}

#[tokio::test]
async fn limit_06_guesses_are_slow_and_right_credentials_of_the_same_address_are_not_refused() {
    let (gateway, _keys) = with_keys(&["ada"], &[]);
    let attack = async {
        let mut guesses = 0;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            let mut stream = from(1, gateway.address).await;
            // A connection ends after some wrong credentials, and each waits once there were too many.
            loop {
                let guess = format!("Authorization: Bearer guess-{guesses}\r\nContent-Length: 0\r\n");
                match tokio::time::timeout(Duration::from_secs(2), status(&mut stream, "POST /v1/tickets", &guess))
                    .await
                {
                    Ok(401) => guesses += 1,
                    _ => break,
                }
                let mut rest = [0; 4096];
                if !matches!(stream.read(&mut rest).await, Ok(1..)) {
                    break;
                }
            }
        }
        guesses
    };
    let honest = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = Instant::now();
        for _ in 0..20 {
            let headers = format!("{}Content-Length: 0\r\n", bearer("ada"));
            let sold = answer(from(1, gateway.address).await, "POST /v1/tickets", &headers).await;
            assert!(sold.starts_with("HTTP/1.1 201 "), "{sold}");
        }
        // The first may have waited, for it was not known yet.
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    };
    let (guesses, ()) = tokio::join!(attack, honest);
    assert!((10..=60).contains(&guesses), "{guesses} guesses in 4 s");
}

#[tokio::test]
async fn limit_06_a_socket_that_shows_wrong_tokens_is_closed() {
    let (gateway, _keys) = with_keys(&["ada"], &[]);
    let key = key("ada");
    let (mut socket, _) = {
        let headers = [("authorization", format!("Bearer {key}")), ("sec-websocket-protocol", "eventwire.v1".into())];
        let headers: Vec<(&'static str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut socket = Socket::open_with(&gateway, "", &headers).await.unwrap();
        let welcome = socket.event().await;
        (socket, welcome)
    };
    for number in 0..10 {
        let token = format!("wrong-{number}");
        socket.send_text(json!({"type": "authenticate", "data": {"token": token}}).to_string()).await;
    }
    assert_eq!(socket.close_code().await, Some(4029));
}

/// A socket over a proxy that names this client.
async fn through_proxy(client: &str, to: SocketAddr) -> TcpStream {
    let mut stream = from(1, to).await;
    stream.write_all(format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn limit_05_and_http_24_a_socket_counts_for_the_client_once_its_proxy_has_named_it() {
    let arguments = ["--max-connections", "20", "--trusted-proxies=127.0.0.1", "--proxy-protocol"];
    let gateway = Gateway::start(&arguments);
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(through_proxy("203.0.113.5", gateway.address).await);
    }
    // All places are taken by sockets that have not asked for anything, and none of them counts for the proxy.
    for client in ["203.0.113.6", "203.0.113.7", "203.0.113.6"] {
        let answered = answer(through_proxy(client, gateway.address).await, "GET /health", "").await;
        assert!(answered.starts_with("HTTP/1.1 200 "), "{client}: {answered}");
    }
    // Of the client that has the most, the socket that was silent longest has made room.
    let mut rest = Vec::new();
    soon("an end", silent[0].read_to_end(&mut rest)).await.unwrap();
    // Several clients of one proxy share the places, so each may keep some of them.
    let mut open = Vec::new();
    for client in 1..=10 {
        let mut stream = through_proxy(&format!("203.0.113.{}", 100 + client), gateway.address).await;
        assert_eq!(status(&mut stream, "GET /v1/ws", UPGRADE).await, 101, "{client}");
        open.push(stream);
    }
}

/// A figure of `/metrics`.
async fn figure(gateway: &Gateway, name: &str) -> u64 {
    let metrics = answer(from(9, gateway.address).await, "GET /metrics", "").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not in {metrics}"))
}

/// Waits until a figure has this value.
async fn reaches(gateway: &Gateway, name: &str, wanted: impl Fn(u64) -> bool) {
    soon(name, async {
        while !wanted(figure(gateway, name).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

const UNFINISHED: &str = "eventwire_unfinished_bytes";

#[tokio::test]
async fn limit_08_a_large_head_is_in_the_budget_until_it_is_complete_or_its_socket_has_gone() {
    let gateway = Gateway::start(&[]);
    assert_eq!(figure(&gateway, "eventwire_unfinished_bound_bytes").await, 64 << 20);
    assert_eq!((figure(&gateway, UNFINISHED).await, figure(&gateway, "eventwire_unfinished_waiting").await), (0, 0));
    let begun = format!("HEAD /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(20_000));
    let mut stream = from(1, gateway.address).await;
    // The first head of a connection, and the second one.
    for _ in 0..2 {
        stream.write_all(begun.as_bytes()).await.unwrap();
        reaches(&gateway, UNFINISHED, |bytes| bytes >= 20_000 - 8 * 1024).await;
        stream.write_all(b"\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        soon("an answer", async {
            while !read.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "closed");
            }
        })
        .await;
        assert!(read.starts_with(b"HTTP/1.1 200 "));
        reaches(&gateway, UNFINISHED, |bytes| bytes == 0).await;
    }
    stream.write_all(begun.as_bytes()).await.unwrap();
    reaches(&gateway, UNFINISHED, |bytes| bytes > 0).await;
    drop(stream);
    reaches(&gateway, UNFINISHED, |bytes| bytes == 0).await;
    assert_eq!(figure(&gateway, "eventwire_unfinished_evictions_total").await, 0);
}

#[tokio::test]
async fn limit_08_figures_say_how_often_the_budget_was_short() {
    let gateway = Gateway::start(&["--unfinished-bytes", "20MiB"]);
    let half = format!("Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n", 8 << 20);
    let mut bodies = Vec::new();
    for number in 1..=3 {
        let mut stream = from(1, gateway.address).await;
        stream.write_all(head("POST /v1/events", &half).as_bytes()).await.unwrap();
        bodies.push(tokio::spawn(async move {
            let _ = stream.write_all(&vec![b'\n'; 7 << 20]).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        }));
        // The third finds too little.
        let sent = number.min(2) * (7 << 20) - (64 << 10);
        reaches(&gateway, UNFINISHED, |bytes| bytes >= sent).await;
    }
    reaches(&gateway, "eventwire_unfinished_waiting", |waiting| waiting > 0).await;
    assert!(figure(&gateway, UNFINISHED).await <= 20 << 20);
    reaches(&gateway, "eventwire_unfinished_evictions_total", |evicted| evicted > 0).await;
    assert!(figure(&gateway, "eventwire_unfinished_waits_total").await > 0);
    let (given_up, ..) = soon("an answer", futures_util::future::select_all(&mut bodies)).await;
    let given_up = given_up.unwrap();
    assert!(given_up.starts_with("HTTP/1.1 503 ") && given_up.contains("no room for the rest"), "{given_up}");
    bodies.iter().for_each(tokio::task::JoinHandle::abort);
    reaches(&gateway, UNFINISHED, |bytes| bytes == 0).await;
}

/// Lasts for as long as the least pace of a body is measured.
#[tokio::test]
async fn limit_09_a_body_that_trickles_gets_408_and_one_over_a_slow_line_is_taken() {
    let gateway = Gateway::start(&[]);
    let send = |to: SocketAddr, target: String, bytes_each_second: usize, seconds: usize| async move {
        let stream = from(1, to).await;
        let (mut reading, mut writing) = stream.into_split();
        let length = bytes_each_second * seconds;
        let headers =
            format!("Connection: close\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n");
        writing.write_all(head(&target, &headers).as_bytes()).await.unwrap();
        let sending = tokio::spawn(async move {
            let mut left = length;
            while left > 0 {
                let part = left.min(bytes_each_second / 4);
                left -= part;
                // The end of the answer may come first.
                let mut bytes = vec![b'\n'; part];
                if left == 0 {
                    let event = format!("{}\n", common::note("room:tasks", 1));
                    let at = bytes.len() - event.len();
                    bytes[at..].copy_from_slice(event.as_bytes());
                }
                if writing.write_all(&bytes).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            writing
        });
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(4 * PATIENCE, reading.read_to_end(&mut answer)).await.expect("an answer");
        sending.abort();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let events = || "POST /v1/events".to_owned();
    let opened = answer(from(1, gateway.address).await, "GET /socket.io/?EIO=4&transport=polling", "").await;
    let sid = opened.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let target = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}");
    answer(from(1, gateway.address).await, &target, "Content-Length: 6\r\n\r\n40/v1,").await;
    let poll = target.replace("POST", "GET");
    let mut told = String::new();
    soon("a connection", async {
        while !told.contains("40/v1,{") {
            told += &answer(from(1, gateway.address).await, &poll, "").await;
        }
    })
    .await;
    let (trickle, polled, slow) = tokio::join!(
        send(gateway.address, events(), 1_000, 120),
        send(gateway.address, target, 1_000, 120),
        send(gateway.address, events(), 60_000, 32),
    );
    assert!(trickle.starts_with("HTTP/1.1 408 ") && trickle.contains("\"code\":\"timeout\""), "{trickle}");
    assert!(polled.starts_with("HTTP/1.1 408 ") && polled.contains("too slowly"), "{polled}");
    assert!(slow.starts_with("HTTP/1.1 202 ") && slow.matches("\"seq\"").count() == 1, "{slow}");
}
