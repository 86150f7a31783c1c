//! Coming back: whatever was lost on the way, by cursor or by number, the sequence is that of one who stayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::{Receiver, publish};
use eventwire_hub::{Hub, MemoryBounds, MemoryHistory, Settings};
use eventwire_memory::{ConnectOptions, Faults, MemoryClient, Window};
use eventwire_protocol::{Epoch, delivery::MailboxBounds};
use proptest::prelude::*;
use serde_json::json;

const TARGETS: [&str; 4] = ["adw:aaaaaaaa", "adw:bbbbbbbb", "room:tasks", "global"];
const CHUNK: &str = "adw.agent_output_chunk";

async fn publish_to(hub: &Hub, stream: usize, n: usize) {
    match stream {
        // The verbatim layer of the first ADW, a stream of its own under the same target.
        4 => {
            let data =
                json!({"adw_id": "aaaaaaaa", "agent_role": "planner", "content": n.to_string(), "is_complete": true});
            publish(hub, CHUNK, TARGETS[0], data).await.unwrap();
        }
        stream => {
            publish(hub, "_test.event", TARGETS[stream], json!({"n": n})).await.unwrap();
        }
    }
}

/// How a client comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Cursor,
    Since,
}

/// A client that is cut off again and again.
struct Returning<'a> {
    hub: &'a Hub,
    by: By,
    receiver: Receiver,
    client: Option<MemoryClient>,
    start: BTreeMap<String, u64>,
    epoch: String,
}

impl Returning<'_> {
    async fn connect(&mut self, cut_after: Option<usize>) {
        let faults = Faults { cut_after, ..Faults::default() };
        let window = Window { frames: 2, bytes: 400 };
        let mut options =
            ConnectOptions { faults, window, cursors: self.by == By::Cursor, ..ConnectOptions::default() };
        let before = self.client.take();
        self.receiver.reconnected();
        if self.by == By::Cursor {
            options.cursor = before.as_ref().and_then(|client| client.cursor().cloned());
            options.targets = TARGETS.map(Into::into).into();
        }
        drop(before);
        let mut client = MemoryClient::connect(self.hub, options).await.unwrap();
        if self.by == By::Since {
            let streams: Vec<_> = TARGETS
                .iter()
                .map(|to| {
                    let since = self.receiver.targets.get(*to).or(self.start.get(*to));
                    since.map_or(json!({"to": to}), |since| json!({"to": to, "since": since}))
                })
                .collect();
            let mut data = json!({"streams": streams});
            if !self.epoch.is_empty() {
                data["epoch"] = self.epoch.clone().into();
            }
            // A line that is cut at once takes the command with it.
            let _ = client.send_text(json!({"type": "subscribe", "data": data}).to_string()).await;
        }
        self.client = Some(client);
    }

    /// Reads what there is; whether the line still holds.
    async fn read(&mut self, count: usize) -> bool {
        for _ in 0..count {
            tokio::task::yield_now().await;
            match self.client.as_mut().unwrap().try_next_frame() {
                Ok(Some(frame)) => self.take(&frame.value()),
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, event: &serde_json::Value) {
        if event["type"] == "connection.subscribed" {
            self.epoch = event["data"]["epoch"].as_str().unwrap().into();
            for stream in event["data"]["streams"].as_array().unwrap() {
                let to = stream["to"].as_str().unwrap().to_owned();
                self.start.entry(to).or_insert(stream["head"].as_u64().unwrap());
            }
        }
        self.receiver.take_one(event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn log_06_a_client_cut_off_at_random_points_ends_with_the_sequence_of_one_that_stayed(
        events in prop::collection::vec((0_usize..5, 0_usize..4), 20..200),
        cuts in prop::collection::vec(0_usize..40, 1..6),
        by in prop_oneof![Just(By::Cursor), Just(By::Since)],
        frames in 5_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mailbox = MailboxBounds { frames, bytes: 4_000 };
            let hub = Hub::builder().settings(Settings { mailbox, ..Settings::default() }).build();
            let mut stayed = MemoryClient::connect(&hub, ConnectOptions::wanting(TARGETS)).await.unwrap();
            let mut all = Receiver::default();
            let mut returning = Returning {
                hub: &hub,
                by,
                receiver: Receiver::default(),
                client: None,
                start: BTreeMap::new(),
                epoch: String::new(),
            };
            let mut cuts = cuts.into_iter();
            // By number one can resume only what one was told of; the cursor is known from the start.
            let first = if by == By::Since { None } else { cuts.next() };
            returning.connect(first).await;
            if by == By::Since {
                returning.read(20).await;
                returning.connect(cuts.next()).await;
            }
            for (n, (stream, reads)) in events.into_iter().enumerate() {
                publish_to(&hub, stream, n).await;
                if !returning.read(reads).await {
                    returning.connect(cuts.next()).await;
                }
            }
            all.take(&stayed.drain().await);
            loop {
                if returning.read(50).await {
                    let rest = returning.client.as_mut().unwrap().drain().await;
                    rest.iter().for_each(|frame| returning.take(&frame.value()));
                    if returning.client.as_mut().unwrap().try_next_frame().is_ok() {
                        break;
                    }
                }
                returning.connect(cuts.next()).await;
            }
            let by_target = |receiver: &Receiver| {
                let mut events: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
                for (seq, to) in &receiver.events {
                    events.entry(common::target(to).to_owned()).or_default().push((*seq, to.clone()));
                }
                events
            };
            prop_assert_eq!(by_target(&returning.receiver), by_target(&all));
            prop_assert!(returning.receiver.gaps.is_empty());
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn log_05_a_cursor_of_another_history_is_answered_with_a_gap_and_all_that_this_one_holds() {
    let old = Hub::new();
    let options = |cursor| ConnectOptions { cursor, cursors: true, ..ConnectOptions::wanting(["adw:aaaaaaaa"]) };
    let mut client = MemoryClient::connect(&old, options(None)).await.unwrap();
    for n in 0..3 {
        publish_to(&old, 0, n).await;
    }
    client.drain().await;
    let cursor = client.cursor().cloned();
    let new = Hub::new();
    for n in 0..5 {
        publish_to(&new, 0, n).await;
    }
    let mut client = MemoryClient::connect(&new, options(cursor)).await.unwrap();
    let mut receiver = Receiver::default();
    receiver.take(&client.drain().await);
    let gaps: Vec<_> = receiver.gaps.iter().filter(|gap| gap["stream"] == "adw:aaaaaaaa").collect();
    assert_eq!(gaps, [&json!({"stream": "adw:aaaaaaaa", "reason": "epoch_changed"})]);
    assert_eq!(receiver.events.len(), 5);
}

#[tokio::test]
async fn log_05_a_position_that_this_history_has_not_reached_is_told_and_not_believed() {
    let epoch = Epoch::from_bits(7);
    let history = || Arc::new(MemoryHistory::new(epoch, MemoryBounds::default()));
    let hub = Hub::builder().history(history()).build();
    publish_to(&hub, 0, 0).await;
    let mut client = MemoryClient::connect(&hub, ConnectOptions::default()).await.unwrap();
    let data = json!({"epoch": epoch, "streams": [{"to": "adw:aaaaaaaa", "since": 99}]});
    client.send_text(json!({"type": "subscribe", "data": data}).to_string()).await.unwrap();
    let mut receiver = Receiver::default();
    receiver.take(&client.drain().await);
    assert_eq!(receiver.gaps.len(), 1);
    assert_eq!(receiver.gaps[0]["reason"], "epoch_changed");
    assert_eq!(receiver.events.len(), 1);
}

#[tokio::test]
async fn log_06_resuming_before_the_first_event_misses_nothing() {
    let hub = Hub::new();
    let options = |cursor| ConnectOptions { cursor, cursors: true, ..ConnectOptions::wanting(["adw:aaaaaaaa"]) };
    let mut client = MemoryClient::connect(&hub, options(None)).await.unwrap();
    client.drain().await;
    client.cut().await;
    publish_to(&hub, 0, 0).await;
    let cursor = client.cursor().cloned();
    assert!(cursor.is_some());
    let mut client = MemoryClient::connect(&hub, options(cursor)).await.unwrap();
    let mut receiver = Receiver::default();
    receiver.take(&client.drain().await);
    assert_eq!(receiver.events.len(), 1);
}
