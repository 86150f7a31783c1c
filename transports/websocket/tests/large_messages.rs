//! What large messages cost while they come and when they have ended, in bytes of the heap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::alloc::System;

use cap::Cap;
use common::{Client, PATIENCE, client_frame, request};
use eventwire_hub::{Hub, Settings};
use eventwire_websocket::{Options, WebSocketAcceptor};
use tokio::{
    io::{AsyncWriteExt as _, duplex},
    time::timeout,
};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const MIB: usize = 1 << 20;

/// One test, because the heap is one.
#[tokio::test]
async fn limit_08_the_heap_follows_the_budget_and_ws_12_nothing_is_kept_of_a_message_that_has_ended() {
    const SOCKETS: usize = 16;
    let settings = Settings { unfinished_bytes: 16 * MIB as u64, ..Settings::default() };
    let hub = Hub::builder().settings(settings).build();
    let options = Options { max_message_bytes: 16 * MIB, ..Options::default() };
    let acceptor = WebSocketAcceptor::with_options(hub.clone(), options);
    let message = client_frame(0x81, &vec![b' '; 6 * MIB], true);
    let before = HEAP.allocated();
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        let (mut near, far) = duplex(4096);
        let handshake = acceptor.negotiate(&request("/v1/ws"), None).await.unwrap();
        let serving = acceptor.clone();
        tokio::spawn(async move { serving.serve(handshake, far).await });
        let half = message.len() / 2;
        timeout(PATIENCE, near.write_all(&message[..half])).await.unwrap().unwrap();
        while hub.unfinished().used() + 64 * 1024 < half as u64 {
            tokio::task::yield_now().await;
        }
        let during = HEAP.allocated() - before;
        // A buffer that grows has room for up to twice what is in it.
        assert!(during < 2 * half + (sockets.len() + 1) * 64 * 1024, "{during} bytes for {half}");
        timeout(PATIENCE, near.write_all(&message[half..])).await.unwrap().unwrap();
        let mut client = Client::over(near).await;
        client.expect("connection.error").await;
        client.fence("read").await;
        assert_eq!(hub.unfinished().used(), 0);
        sockets.push(client);
    }
    let each = (HEAP.allocated() - before) / SOCKETS;
    assert!(each < 64 * 1024, "{each} bytes for a connection that has read 6 MiB");
}
