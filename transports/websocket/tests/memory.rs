//! What a connection costs when nothing happens on it, in bytes of the heap.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::alloc::System;

use cap::Cap;
use common::{ADW, adw, dial_raw, text};
use eventwire_hub::Hub;
use eventwire_websocket::Options;
use tokio::io::{AsyncReadExt as _, DuplexStream};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Reads until a text has come, with nothing kept.
async fn read_past(stream: &mut DuplexStream, needle: &[u8]) {
    let mut seen = Vec::new();
    while !seen.windows(needle.len()).any(|window| window == needle) {
        seen.drain(..seen.len().saturating_sub(needle.len()));
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the stream goes on");
    }
}

/// The whole path is measured: stream, link, tungstenite, mailbox, roster. One test, because the heap is one.
#[tokio::test]
async fn ws_10_an_idle_connection_costs_less_than_32_kib_also_after_a_burst() {
    const CONNECTIONS: usize = 1_000;
    const BURSTS: usize = 50;
    let hub = Hub::new();
    let mut idle = Vec::with_capacity(CONNECTIONS);
    let before = HEAP.allocated();
    for _ in 0..CONNECTIONS {
        let (mut stream, serving) = dial_raw(&hub, "/v1/ws", 1024, Options::default()).await;
        read_past(&mut stream, b"connection.welcome").await;
        idle.push((stream, serving));
    }
    let each = (HEAP.allocated() - before) / CONNECTIONS;
    eprintln!("{each} bytes for each of {CONNECTIONS} idle connections");
    assert!(each < 32 * 1024, "{each} bytes for an idle connection");
    drop(idle);
    while hub.connection_count() > 0 {
        tokio::task::yield_now().await;
    }

    for number in 0..100 {
        hub.adw(adw()).publish(text(format!("{number}{}", "x".repeat(10_000)))).await.unwrap();
    }
    hub.adw(adw()).publish(text("the last of the burst")).await.unwrap();
    let (epoch, _) = hub.head().await.unwrap();
    let path = format!("/v1/ws?adw={ADW}&cursor={epoch}-0");
    // The first makes the frames that all share; they belong to the history.
    let (mut first, _serving) = dial_raw(&hub, &path, 1024, Options::default()).await;
    read_past(&mut first, b"the last of the burst").await;
    let mut burst = Vec::with_capacity(BURSTS);
    let before = HEAP.allocated();
    for _ in 0..BURSTS {
        let (mut stream, serving) = dial_raw(&hub, &path, 1024, Options::default()).await;
        read_past(&mut stream, b"connection.recovered").await;
        burst.push((stream, serving));
    }
    let each = (HEAP.allocated() - before) / BURSTS;
    eprintln!("{each} bytes for each of {BURSTS} connections that were sent 1 MB and are idle again");
    assert!(each < 32 * 1024, "{each} bytes for a connection after a burst");
}
