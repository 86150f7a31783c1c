//! What the tests of this crate share: publishing by text, and a receiver that checks what it gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, dead_code, reason = "tests")]

use std::collections::BTreeMap;

use eventwire_hub::{Hub, Principal};
use eventwire_memory::Frame;
use eventwire_protocol::{Claims, Publication};
use serde_json::{Value, json};

pub(crate) fn anyone() -> Principal {
    Principal::new("anyone", Claims::loopback())
}

pub(crate) fn user(name: &str) -> Principal {
    Principal::new(name, Claims { user: Some(name.parse().unwrap()), ..Claims::anonymous() })
}

/// Publishes one event; gives its number, if it is logged.
pub(crate) async fn publish(hub: &Hub, kind: &str, to: &str, data: Value) -> Option<u64> {
    let text = json!({"type": kind, "to": to, "data": data}).to_string();
    let results = hub.publish(&anyone(), vec![Publication::decode(&text)]).await.unwrap();
    results.into_iter().next().unwrap().unwrap().seq.map(|seq| seq.as_u64())
}

pub(crate) fn kinds(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(Frame::kind).collect()
}

/// The target that an audience belongs to, as text.
pub(crate) fn target(to: &str) -> &str {
    to.split('/').next().unwrap()
}

/// Reads logged events as a careful client does: no hole in any stream, nothing twice, in order within each target, and
/// every replay between its brackets with the number of events that is claimed.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Whether it subscribed to `*`, which then is the target of all but `global`.
    pub(crate) observes: bool,
    /// Number and audience of every logged event, as they came.
    pub(crate) events: Vec<(u64, String)>,
    /// Last number of each stream.
    pub(crate) last: BTreeMap<String, u64>,
    /// Last number of each target.
    pub(crate) targets: BTreeMap<String, u64>,
    /// Replays under way, with the events so far.
    pub(crate) replays: BTreeMap<String, u64>,
    pub(crate) recovered: usize,
    pub(crate) gaps: Vec<Value>,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) latest: BTreeMap<String, Value>,
}

impl Receiver {
    pub(crate) fn take(&mut self, frames: &[Frame]) {
        for frame in frames {
            self.take_one(&frame.value());
        }
    }

    /// A new connection: what the old one had begun to replay begins again.
    pub(crate) fn reconnected(&mut self) {
        self.replays.clear();
    }

    pub(crate) fn take_one(&mut self, event: &Value) {
        let (kind, data) = (event["type"].as_str().unwrap(), &event["data"]);
        let Some(seq) = event["seq"].as_u64() else {
            match kind {
                "connection.replaying" => {
                    let stream = data["stream"].as_str().unwrap().to_owned();
                    assert_eq!(self.replays.insert(stream, 0), None, "a replay within a replay: {event}");
                }
                "connection.recovered" => {
                    let replayed = self.replays.remove(data["stream"].as_str().unwrap());
                    assert_eq!(replayed, data["recovered"].as_u64(), "{event}");
                    self.recovered += 1;
                }
                "connection.gap" => self.gaps.push(data.clone()),
                "connection.error" => panic!("{event}"),
                kind if !kind.starts_with("connection.") => {
                    self.latest.insert(format!("{kind} {}", event["to"]), data.clone());
                }
                _ => {}
            }
            return;
        };
        let to = event["to"].as_str().unwrap().to_owned();
        let prev = event["prev"].as_u64().unwrap();
        let target = if self.observes && to != "global" { "*" } else { target(&to) }.to_owned();
        let last = self.last.insert(to.clone(), seq).unwrap_or(prev);
        assert_eq!(last, prev, "a hole or a repetition in {to}: {event}");
        assert!(self.targets.insert(target.clone(), seq).is_none_or(|before| before < seq), "out of order: {event}");
        if let Some(count) = self.replays.get_mut(&target) {
            *count += 1;
        }
        if kind == "adw.chat_stream" {
            self.texts.entry(to.clone()).or_default().push_str(data["content"].as_str().unwrap());
        }
        self.events.push((seq, to));
    }

    pub(crate) fn is_replaying(&self) -> bool {
        !self.replays.is_empty()
    }
}
