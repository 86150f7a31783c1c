//! A gateway under peers that open sessions and begin messages without end, and the others who use it meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{Gateway, ask, get, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

const MIB: usize = 1 << 20;

/// Resident memory of a process, in bytes.
#[cfg(target_os = "linux")]
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

async fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    soon("a connection", socket.connect(to)).await.unwrap()
}

/// A WebSocket on which 2 MiB of a message of 16 MiB have been sent, as far as they are taken.
async fn begin_message(to: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect_from("127.0.0.1", to).await;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    soon("an answer", stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    let mut frame = vec![0x81, 0xff];
    frame.extend(16_000_000_u64.to_be_bytes());
    // Masked with zeros, the payload is what it is.
    frame.extend([0; 4]);
    frame.resize(2 * MIB, b' ');
    let _ = tokio::time::timeout(Duration::from_millis(150), stream.write_all(&frame)).await;
    stream
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn limit_08_unfinished_messages_of_one_peer_stay_in_the_budget_and_another_peer_goes_on() {
    let gateway = Gateway::speaking(&["monadic"], &["--unfinished-bytes", "20MiB"]);
    let before = resident(gateway.pid());
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(begin_message(gateway.at("monadic"), "/").await);
    }
    let grown = resident(gateway.pid()).saturating_sub(before);
    // 80 MiB were offered. Besides the budget, 40 connections and what the allocator keeps.
    assert!(grown < 36 * MIB, "{} MiB", grown / MIB);

    let stream = connect_from("127.0.0.2", gateway.address).await;
    let url = format!("ws://{}/v1/ws", gateway.address);
    let (mut honest, _) = soon("a socket", tokio_tungstenite::client_async(url, stream)).await.unwrap();
    let command = format!(r#"{{"type":"ping",{}"id":"honest"}}"#, " ".repeat(60_000));
    soon("room for another peer", honest.send(Message::text(command))).await.unwrap();
    let answered = async {
        loop {
            let Some(Ok(message)) = honest.next().await else { panic!("closed") };
            let Message::Text(text) = message else { continue };
            let event: Value = serde_json::from_str(&text).unwrap();
            if event["type"] == "connection.pong" {
                return event["data"]["re"].clone();
            }
        }
    };
    assert_eq!(soon("an answer", answered).await, json!("honest"));
}

#[tokio::test]
async fn sio_22_pipelined_sessions_are_bounded_and_another_peer_gets_one() {
    const EACH: usize = 2_000;
    let gateway = Gateway::start(&[]);
    let began = Instant::now();
    let pipelining = (0..3).map(|_| {
        let to = gateway.address;
        tokio::spawn(async move {
            let stream = connect_from("127.0.0.1", to).await;
            let (mut reading, mut writing) = stream.into_split();
            let writing = tokio::spawn(async move {
                let open = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n";
                let last = open.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
                let written = writing.write_all((open.repeat(EACH - 1) + &last).as_bytes()).await;
                // Without its half the stream would be closed, and the last answer with it.
                written.map(|()| writing)
            });
            let mut answers = String::new();
            soon("all answers", reading.read_to_string(&mut answers)).await.unwrap();
            let _writing = writing.await.unwrap().unwrap();
            let count = |status: &str| answers.matches(status).count();
            (count("HTTP/1.1 200 "), count("HTTP/1.1 503 ") + count("HTTP/1.1 429 "))
        })
    });
    let (mut opened, mut refused) = (0, 0);
    for answered in pipelining.collect::<Vec<_>>() {
        let (ok, no) = answered.await.unwrap();
        opened += ok;
        refused += no;
    }
    assert_eq!(opened + refused, 3 * EACH);
    // 64 MiB of sessions of 28 KiB each; those that connect to no namespace make room after 10 s.
    let rounds = 1 + began.elapsed().as_secs() as usize / 10;
    assert!(opened <= rounds * 64 * 1024 / 28, "{opened} opened in {rounds} rounds");
    let mut other = connect_from("127.0.0.2", gateway.address).await;
    let open = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    other.write_all(open.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", other.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"sid\""), "{answer}");
}

#[tokio::test]
async fn sio_23_socket_io_can_be_switched_off_on_canonical_listeners_alone() {
    let path = "/socket.io/?EIO=4&transport=polling";
    let gateway = Gateway::speaking(&["amiga"], &["--socketio=false"]);
    let answer = get(&gateway, path).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("socketio = true"), "{message}");
    assert_eq!(ask(gateway.at("amiga"), Method::GET, path, &[], "").await.status, 200);
    assert_eq!(get(&Gateway::start(&[]), path).await.status, 200);
}

#[tokio::test]
async fn sio_23_where_it_is_off_an_application_has_the_path() {
    let pages = tempfile::tempdir().unwrap();
    std::fs::create_dir(pages.path().join("socket.io")).unwrap();
    std::fs::write(pages.path().join("socket.io/mine.js"), "mine").unwrap();
    let directory = pages.path().to_str().unwrap().to_owned();
    let gateway = Gateway::start(&["--socketio=false", "--static", &directory]);
    let answer = get(&gateway, "/socket.io/mine.js").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"mine"[..]));
}
