//! The log is the overflow: readers that stop, mailboxes of a few frames, and what arrives in the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{Receiver, publish};
use eventwire_hub::{Hub, MemoryBounds, Settings};
use eventwire_memory::{ConnectOptions, MemoryClient, Window};
use eventwire_protocol::{delivery::MailboxBounds, limits::StreamBounds};
use proptest::prelude::*;
use serde_json::json;

fn hub(frames: usize, bytes: usize) -> Hub {
    let mailbox = MailboxBounds { frames, bytes };
    Hub::builder().settings(Settings { mailbox, ..Settings::default() }).build()
}

fn watcher(targets: &[&str], window: Window) -> ConnectOptions {
    ConnectOptions { window, ..ConnectOptions::wanting(targets.iter().copied()) }
}

#[derive(Clone, Debug)]
enum Op {
    /// Publish so many durable events of so many bytes to one of the streams.
    Publish(usize, usize, usize),
    /// Publish a piece of text.
    Write(usize),
    /// Publish a newest value.
    Value,
    /// Read so many frames, letting the link work in between.
    Read(usize),
    /// Let the link work.
    Yield,
}

const STREAMS: [&str; 4] = ["adw:aaaaaaaa", "adw:bbbbbbbb", "room:tasks", "global"];

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..STREAMS.len(), 1_usize..12, 0_usize..300).prop_map(|(stream, count, size)| Op::Publish(stream, count, size)),
        3 => (1_usize..12).prop_map(Op::Write),
        1 => Just(Op::Value),
        4 => (1_usize..12).prop_map(Op::Read),
        1 => Just(Op::Yield),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn flow_02_a_mailbox_of_a_few_frames_overflows_into_the_log_and_nothing_is_lost_or_repeated(
        ops in prop::collection::vec(op(), 1..60),
        frames in 4_usize..12,
        bytes in 2_000_usize..5_000,
        line in 1_usize..4,
        observe: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let hub = hub(frames, bytes);
            let window = Window { frames: line, bytes: 1_000 };
            let targets: &[&str] = if observe { &["*"] } else { &STREAMS[..3] };
            let mut client = MemoryClient::connect(&hub, watcher(targets, window)).await.unwrap();
            let mut receiver = Receiver { observes: observe, ..Receiver::default() };
            let (mut text, mut published, mut value) = (String::new(), Vec::new(), None);
            for op in ops {
                match op {
                    Op::Publish(stream, count, size) => for n in 0..count {
                        let data = json!({"n": n, "fill": "x".repeat(size)});
                        for to in [STREAMS[stream], "adw:cccccccc"] {
                            published.push((publish(&hub, "_test.event", to, data.clone()).await.unwrap(), to.to_owned()));
                        }
                    },
                    Op::Write(pieces) => for _ in 0..pieces {
                        let piece = format!("{} ", text.len());
                        text.push_str(&piece);
                        let data = json!({"adw_id": "aaaaaaaa", "content": piece, "stream_type": "text", "is_complete": false});
                        let seq = publish(&hub, "adw.chat_stream", STREAMS[0], data).await.unwrap();
                        published.push((seq, STREAMS[0].to_owned()));
                    },
                    Op::Value => {
                        let percent = published.len() as f64 / 1e3;
                        value = Some(percent);
                        let data = json!({"adw_id": "aaaaaaaa", "status": "in_progress", "progress_percent": percent});
                        publish(&hub, "adw.agent_summary_update", STREAMS[0], data).await;
                    },
                    Op::Read(count) => for _ in 0..count {
                        if let Some(frame) = client.try_next_frame().unwrap() {
                            receiver.take(&[frame]);
                        }
                        tokio::task::yield_now().await;
                    },
                    Op::Yield => tokio::task::yield_now().await,
                }
            }
            receiver.take(&client.drain().await);
            prop_assert!(!receiver.is_replaying());
            prop_assert_eq!(&receiver.gaps, &Vec::<serde_json::Value>::new());
            // No hole up to the last number of a stream is no hole at all.
            let streams = STREAMS.iter().chain(observe.then_some(&"adw:cccccccc"));
            let heads: BTreeMap<String, u64> = published.iter().cloned().map(|(seq, to)| (to, seq)).collect();
            let heads = heads.into_iter().filter(|(to, _)| streams.clone().any(|stream| stream == to)).collect();
            prop_assert_eq!(&receiver.last, &heads);
            // Joined parts count as their last one; every other event is there by its own number.
            let unjoined = |(_, to): &&(u64, String)| to != STREAMS[0] && heads.contains_key(to);
            let mut expected: Vec<_> = published.iter().filter(unjoined).collect();
            let mut got: Vec<_> = receiver.events.iter().filter(unjoined).collect();
            expected.sort();
            got.sort();
            prop_assert_eq!(got, expected);
            prop_assert_eq!(receiver.texts.get(STREAMS[0]).cloned().unwrap_or_default(), text);
            let latest = receiver.latest.values().next().map(|data| data["progress_percent"].as_f64().unwrap());
            prop_assert_eq!(latest, value);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn flow_02_a_reader_that_stops_delays_nobody_and_catches_up_when_it_reads_again() {
    let hub = hub(8, 4_096);
    let mut slow = MemoryClient::connect(&hub, watcher(&["adw:aaaaaaaa"], Window::ONE)).await.unwrap();
    let mut fast = MemoryClient::connect(&hub, watcher(&["adw:aaaaaaaa"], Window::default())).await.unwrap();
    let (mut seen_slow, mut seen_fast) = (Receiver::default(), Receiver::default());
    seen_slow.take(&slow.drain().await);
    slow.pause();
    for n in 0..2_000 {
        let seq = publish(&hub, "_test.event", "adw:aaaaaaaa", json!({"n": n})).await.unwrap();
        seen_fast.take(&fast.read_until(|frame| frame.seq() == Some(seq)).await.unwrap());
    }
    assert_eq!(seen_fast.recovered, 0, "the fast reader was never behind");
    let row = hub.connections().into_iter().find(|row| row.connection_id == slow.id()).unwrap();
    assert!(row.lagging);
    assert!(row.queued_frames <= 16 && row.queued_bytes <= 8_192, "{row:?}");
    slow.resume();
    seen_slow.take(&slow.drain().await);
    assert_eq!(seen_slow.events, seen_fast.events);
    assert_eq!(seen_slow.recovered, 1);
    let row = hub.connections().into_iter().find(|row| row.connection_id == slow.id()).unwrap();
    assert!(!row.lagging);
}

#[tokio::test]
async fn log_06_a_stream_of_4_mib_resumes_through_a_mailbox_of_1_mib() {
    let hub = Hub::new();
    let fill = "x".repeat(16 * 1024);
    for n in 0..256 {
        publish(&hub, "_test.event", "adw:aaaaaaaa", json!({"n": n, "fill": fill})).await.unwrap();
    }
    let mut client = MemoryClient::connect(&hub, ConnectOptions::default()).await.unwrap();
    client.send_text(r#"{"type":"subscribe","data":{"streams":[{"to":"adw:aaaaaaaa","since":0}]}}"#).await.unwrap();
    let mut receiver = Receiver::default();
    receiver.take(&client.drain().await);
    assert_eq!(receiver.events.len(), 256);
    assert_eq!(receiver.recovered, 1);
    assert!(receiver.gaps.is_empty());
}

#[tokio::test]
async fn log_04_a_reader_so_slow_that_the_log_forgot_is_told_exactly_what_is_missing() {
    let other = StreamBounds { events: 10, ..StreamBounds::DEFAULT };
    let mailbox = MailboxBounds { frames: 4, bytes: 4_096 };
    let bounds = MemoryBounds { adw: other, other, ..MemoryBounds::default() };
    let hub = Hub::builder().settings(Settings { mailbox, ..Settings::default() }).memory_bounds(bounds).build();
    let mut client = MemoryClient::connect(&hub, watcher(&["adw:aaaaaaaa"], Window::ONE)).await.unwrap();
    let mut before = Receiver::default();
    before.take(&client.drain().await);
    client.pause();
    let mut last = 0;
    for n in 0..100 {
        last = publish(&hub, "_test.event", "adw:aaaaaaaa", json!({"n": n})).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.resume();
    let frames = client.drain().await;
    let values: Vec<_> = frames.iter().map(|frame| frame.value()).collect();
    let gap = values.iter().position(|event| event["type"] == "connection.gap").expect("a gap");
    assert_eq!(values.iter().filter(|event| event["type"] == "connection.gap").count(), 1);
    let (missing, seqs): (&serde_json::Value, Vec<u64>) =
        (&values[gap]["data"], frames.iter().filter_map(|frame| frame.seq()).collect());
    assert_eq!(missing["reason"], "slow_consumer");
    assert_eq!(missing["stream"], "adw:aaaaaaaa");
    let (from, to) = (missing["from_seq"].as_u64().unwrap(), missing["to_seq"].as_u64().unwrap());
    let expected: Vec<u64> = (1..from).chain(to + 1..=last).collect();
    assert_eq!(seqs, expected, "every event is either there or named as missing");
    assert_eq!(to, last - 10);
}
