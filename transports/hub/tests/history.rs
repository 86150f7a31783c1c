//! The history in memory: what it keeps, what it says of what is gone, and what is committed together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eventwire_hub::{
    Checkpoint, History, MemoryBounds, MemoryHistory,
    history::{Append, Outcome, PageBounds, Record},
};
use eventwire_protocol::{
    AdwId, Envelope, Epoch, ErrorCode, Position, Root, Time, event::adw::TextBlock, limits::StreamBounds,
};
use proptest::prelude::*;
use serde_json::json;

fn adw(id: &str) -> AdwId {
    id.parse().unwrap()
}

fn said(id: &str, content: &str) -> TextBlock {
    serde_json::from_value(json!({"adw_id": id, "content": content})).unwrap()
}

fn history(bounds: MemoryBounds) -> MemoryHistory {
    MemoryHistory::new(Epoch::from_bits(7), bounds)
}

fn small(events: usize) -> MemoryBounds {
    let bounds = StreamBounds { events, bytes: 1 << 20, age: Duration::from_secs(60) };
    MemoryBounds { adw: bounds, other: bounds, ..MemoryBounds::default() }
}

fn record(id: &str, content: &str) -> Record {
    Envelope::to_adw(adw(id), &said(id, content), Time::from_unix_micros(0)).unwrap().into()
}

fn append(records: Vec<Record>) -> Vec<Append> {
    vec![Append { records, checkpoints: Vec::new() }]
}

const PAGE: PageBounds = PageBounds { events: 100, bytes: 1 << 20 };
const NOW: fn(i64) -> Time = |seconds| Time::from_unix_micros(seconds * 1_000_000);

#[tokio::test]
async fn log_04_a_gap_exists_exactly_when_since_is_below_the_floor() {
    let history = history(small(3));
    for number in 0..10 {
        history.append(NOW(0), append(vec![record("aaaaaaaa", &number.to_string())])).await.unwrap()[0]
            .as_ref()
            .unwrap();
        history.append(NOW(0), append(vec![record("bbbbbbbb", "x")])).await.unwrap()[0].as_ref().unwrap();
    }
    // Of stream a the numbers 1, 3, .. 13 are gone, and 15, 17, 19 are kept.
    let root = Root::Adw(adw("aaaaaaaa"));
    for since in 0..=20 {
        let page = history.read(NOW(0), &[(root.clone(), Position::new(since).unwrap())], PAGE).await.unwrap();
        let floors: Vec<u64> = page.floors.iter().map(|floor| floor.floor.as_u64()).collect();
        assert_eq!(floors, if since < 13 { vec![13] } else { vec![] }, "since {since}");
        let expected: Vec<u64> = [15, 17, 19].into_iter().filter(|seq| *seq > since).collect();
        let numbers: Vec<u64> = page.events.iter().map(|event| event.logged().unwrap().seq.as_u64()).collect();
        assert_eq!(numbers, expected, "since {since}");
        assert!(page.end);
    }
    // Whoever observes misses what any stream evicted: 14 was the last of them.
    let page = history.read(NOW(0), &[(Root::Realm, Position::START)], PAGE).await.unwrap();
    assert_eq!(page.floors[0].floor.as_u64(), 14);
    assert_eq!(page.events.len(), 6);
}

#[tokio::test]
async fn log_04_what_is_too_old_is_gone_even_if_nothing_was_published_since() {
    let history = history(small(100));
    history.append(NOW(0), append(vec![record("aaaaaaaa", "x")])).await.unwrap()[0].as_ref().unwrap();
    let root = Root::Adw(adw("aaaaaaaa"));
    let page = history.read(NOW(60), &[(root.clone(), Position::START)], PAGE).await.unwrap();
    assert_eq!((page.events.len(), page.floors.len()), (1, 0));
    let page = history.read(NOW(61), &[(root, Position::START)], PAGE).await.unwrap();
    assert_eq!((page.events.len(), page.floors.len()), (0, 1));
}

#[tokio::test]
async fn log_04_a_forgotten_stream_raises_the_floor_of_those_that_are_not_known() {
    let history = history(MemoryBounds { streams: 4, ..small(10) });
    for number in 0..1_100 {
        history.append(NOW(0), append(vec![record(&format!("{:08}", number % 50), "x")])).await.unwrap()[0]
            .as_ref()
            .unwrap();
    }
    let root = Root::Adw(adw("zzzzzzzz"));
    let page = history.read(NOW(0), &[(root.clone(), Position::new(1).unwrap())], PAGE).await.unwrap();
    assert_eq!(page.floors.len(), 1, "who was here long ago may have missed something");
    let head = history.heads(&[]).await.unwrap().head;
    let page = history.read(NOW(0), &[(root, head)], PAGE).await.unwrap();
    assert!(page.floors.is_empty());
}

#[tokio::test]
async fn log_02_bounds_in_bytes_hold_for_streams_and_for_the_realm() {
    let bounds = MemoryBounds { realm_bytes: 200_000, ..small(1_000) };
    let history = Arc::new(history(bounds));
    let text = "x".repeat(10_000);
    for number in 0..100 {
        history.append(NOW(0), append(vec![record(&format!("{number:08}"), &text)])).await.unwrap()[0]
            .as_ref()
            .unwrap();
    }
    let page = history
        .read(NOW(0), &[(Root::Realm, Position::START)], PageBounds { events: 1_000, bytes: 1 << 30 })
        .await
        .unwrap();
    let bytes: usize = page.events.iter().map(|event| event.size()).sum();
    assert!(bytes <= 200_000 && bytes > 150_000, "{bytes}");
    assert_eq!(page.events.last().unwrap().logged().unwrap().seq.as_u64(), 100, "the newest are kept");
}

#[tokio::test]
async fn log_03_events_and_the_place_of_their_source_are_committed_together_or_not_at_all() {
    let history = history(small(10));
    let checkpoint = |state: &str| Checkpoint { source: "s".into(), place: "p".into(), state: Some(state.into()) };
    let fenced = Record { expected_prev: Position::new(99), ..record("aaaaaaaa", "no") };
    let appends = vec![
        Append { records: vec![record("aaaaaaaa", "yes")], checkpoints: vec![checkpoint("1")] },
        Append { records: vec![record("aaaaaaaa", "no"), fenced], checkpoints: vec![checkpoint("2")] },
    ];
    let outcomes = history.append(NOW(0), appends).await.unwrap();
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].as_ref().unwrap_err().code, ErrorCode::Fenced);
    assert_eq!(history.heads(&[]).await.unwrap().head.as_u64(), 1);
    assert_eq!(history.checkpoints("s").await.unwrap(), [checkpoint("1")]);
    assert!(history.checkpoints("t").await.unwrap().is_empty());
}

/// What a naive history would hold: a list of all events, from which rows are struck out.
#[derive(Debug, Default)]
struct Naive {
    rows: Vec<Row>,
    floors: BTreeMap<&'static str, u64>,
    floor: u64,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: &'static str,
    seq: u64,
    bytes: usize,
    since: i64,
}

impl Naive {
    fn strike(&mut self, seq: u64) {
        let at = self.rows.iter().position(|row| row.seq == seq).unwrap();
        let row = self.rows.remove(at);
        self.floors.insert(row.id, row.seq);
        self.floor = self.floor.max(row.seq);
    }

    fn of(&self, id: &str) -> Vec<Row> {
        self.rows.iter().filter(|row| row.id == id).copied().collect()
    }

    /// Strikes out what exceeds the bounds of a stream: whatever is old, and whatever stands before the longest tail
    /// that fits.
    fn trim(&mut self, id: &str, now: i64, bounds: StreamBounds) {
        let rows = self.of(id);
        let fits = |from: usize| {
            let tail = &rows[from..];
            let bytes: usize = tail.iter().map(|row| row.bytes).sum();
            let young = tail.iter().all(|row| now - row.since <= bounds.age.as_secs() as i64);
            tail.len() <= bounds.events && bytes <= bounds.bytes && young
        };
        let keep = (0..=rows.len()).find(|from| fits(*from)).unwrap();
        for row in &rows[..keep] {
            self.strike(row.seq);
        }
    }
}

const STREAMS: [&str; 3] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn log_10_each_stream_and_the_whole_keep_their_newest_within_every_bound(
        steps in prop::collection::vec((0_usize..3, 0_usize..400, 0_i64..20, any::<bool>()), 1..60),
        (events, bytes, realm) in (1_usize..12, 300_usize..4_000, 400_usize..8_000),
    ) {
        let stream = StreamBounds { events, bytes, age: Duration::from_secs(60) };
        let bounds = MemoryBounds { adw: stream, other: stream, realm_bytes: realm, ..MemoryBounds::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (history, mut naive, mut now) = (history(bounds), Naive::default(), 0);
            for (n, (of, length, pause, observe)) in steps.into_iter().enumerate() {
                now += pause;
                let records = vec![record(STREAMS[of], &"x".repeat(length))];
                let outcomes = history.append(NOW(now), append(records)).await.unwrap().remove(0).unwrap();
                let Outcome::Committed(event) = &outcomes[0] else { panic!("repeated") };
                naive.rows.push(Row { id: STREAMS[of], seq: n as u64 + 1, bytes: event.size(), since: now });
                naive.trim(STREAMS[of], now, stream);
                while naive.rows.iter().map(|row| row.bytes).sum::<usize>() > realm {
                    naive.strike(naive.rows[0].seq);
                }
                // Age is looked at where something is read.
                let asked: Vec<(Root, Position)> = match observe {
                    true => vec![(Root::Realm, Position::START)],
                    false => vec![(Root::Adw(adw(STREAMS[of])), Position::START)],
                };
                let all = PageBounds { events: 1_000, bytes: 1 << 30 };
                let page = history.read(NOW(now), &asked, all).await.unwrap();
                let read: Vec<u64> = page.events.iter().map(|event| event.logged().unwrap().seq.as_u64()).collect();
                let floors: Vec<u64> = page.floors.iter().map(|floor| floor.floor.as_u64()).collect();
                let (expected, floor) = if observe {
                    STREAMS.iter().for_each(|id| naive.trim(id, now, stream));
                    (naive.rows.clone(), Some(naive.floor).filter(|floor| *floor > 0))
                } else {
                    naive.trim(STREAMS[of], now, stream);
                    (naive.of(STREAMS[of]), naive.floors.get(STREAMS[of]).copied())
                };
                prop_assert_eq!(read, expected.iter().map(|row| row.seq).collect::<Vec<_>>());
                prop_assert_eq!(floors, floor.into_iter().collect::<Vec<_>>());
                let size: usize = page.events.iter().map(|event| event.size()).sum();
                prop_assert!(size <= realm && (observe || (page.events.len() <= events && size <= bytes)));
            }
            Ok(())
        })?;
    }
}
