//! The history in memory: what it keeps, what it says of what is gone, and what is committed together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use eventwire_hub::{
    Checkpoint, History, Holder, MemoryBounds, MemoryHistory, Principal,
    history::{Append, Evictions, Idempotency, Page, PageBounds, Record, Usage},
};
use eventwire_protocol::{
    AdwId, Claims, Envelope, Epoch, ErrorCode, Position, Target, Time,
    event::{
        adw::{AgentDeleted, TextBlock},
        context::NewMessage,
        product::DocumentStatus,
    },
    footprint,
    limits::StreamBounds,
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
    vec![Append { records, ..Append::default() }]
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
    let target = Target::Adw(adw("aaaaaaaa"));
    for since in 0..=20 {
        let page = history.read(NOW(0), &[(target.clone(), Position::new(since).unwrap())], PAGE).await.unwrap();
        let floors: Vec<u64> = page.floors.iter().map(|floor| floor.floor.as_u64()).collect();
        assert_eq!(floors, if since < 13 { vec![13] } else { vec![] }, "since {since}");
        let expected: Vec<u64> = [15, 17, 19].into_iter().filter(|seq| *seq > since).collect();
        let numbers: Vec<u64> = page.events.iter().map(|event| event.logged().unwrap().seq.as_u64()).collect();
        assert_eq!(numbers, expected, "since {since}");
        assert!(page.end);
    }
    // Whoever observes misses what any stream evicted: 14 was the last of them.
    let page = history.read(NOW(0), &[(Target::Realm, Position::START)], PAGE).await.unwrap();
    assert_eq!(page.floors[0].floor.as_u64(), 14);
    assert_eq!(page.events.len(), 6);
}

#[tokio::test]
async fn log_04_what_is_too_old_is_gone_even_if_nothing_was_published_since() {
    let history = history(small(100));
    history.append(NOW(0), append(vec![record("aaaaaaaa", "x")])).await.unwrap()[0].as_ref().unwrap();
    let target = Target::Adw(adw("aaaaaaaa"));
    let page = history.read(NOW(60), &[(target.clone(), Position::START)], PAGE).await.unwrap();
    assert_eq!((page.events.len(), page.floors.len()), (1, 0));
    let page = history.read(NOW(61), &[(target, Position::START)], PAGE).await.unwrap();
    assert_eq!((page.events.len(), page.floors.len()), (0, 1));
}

#[tokio::test]
async fn log_04_a_forgotten_stream_raises_the_floor_of_those_that_are_not_known() {
    let history = history(MemoryBounds { realm_bytes: 6_000, ..small(10) });
    for number in 0..1_100 {
        history.append(NOW(0), append(vec![record(&format!("{:08}", number % 50), "x")])).await.unwrap()[0]
            .as_ref()
            .unwrap();
    }
    let target = Target::Adw(adw("zzzzzzzz"));
    let page = history.read(NOW(0), &[(target.clone(), Position::new(1).unwrap())], PAGE).await.unwrap();
    assert_eq!(page.floors.len(), 1, "a reader that was here long ago may have missed something");
    let head = history.heads().await.unwrap().head;
    let page = history.read(NOW(0), &[(target, head)], PAGE).await.unwrap();
    assert!(page.floors.is_empty());
}

#[tokio::test]
async fn log_04_a_session_with_a_forgotten_stream_has_a_gap_while_another_of_its_streams_is_kept() {
    let of = |visibility: &str| -> Record {
        let message = json!({"id": 1, "sender": "ann", "content": "x", "visibility": visibility});
        let message: NewMessage = serde_json::from_value(message).unwrap();
        Envelope::to_session("s1".parse().unwrap(), &message, NOW(0)).unwrap().into()
    };
    for (first, then) in [("public", "private"), ("private", "public")] {
        let history = history(MemoryBounds { realm_bytes: 6_000, ..small(2) });
        history.append(NOW(0), append(vec![of(first)])).await.unwrap()[0].as_ref().unwrap();
        for number in 0..200 {
            let records = vec![record(&format!("{:08}", number % 50), "x"), of(then)];
            history.append(NOW(0), append(records)).await.unwrap()[0].as_ref().unwrap();
        }
        let target = Target::Session("s1".parse().unwrap());
        let page = history.read(NOW(0), &[(target, Position::START)], PAGE).await.unwrap();
        assert!(page.floors.iter().any(|floor| floor.stream.is_none()), "{:?}", page.floors);
    }
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
        .read(NOW(0), &[(Target::Realm, Position::START)], PageBounds { events: 1_000, bytes: 1 << 30 })
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
        Append { records: vec![record("aaaaaaaa", "yes")], checkpoints: vec![checkpoint("1")], ..Append::default() },
        Append {
            records: vec![record("aaaaaaaa", "no"), fenced],
            checkpoints: vec![checkpoint("2")],
            ..Append::default()
        },
    ];
    let outcomes = history.append(NOW(0), appends).await.unwrap();
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].as_ref().unwrap_err().code, ErrorCode::Fenced);
    assert_eq!(history.heads().await.unwrap().head.as_u64(), 1);
    assert_eq!(history.checkpoints("s").await.unwrap(), [checkpoint("1")]);
    assert!(history.checkpoints("t").await.unwrap().is_empty());
}

// ---------------------------------------------------------------------------------------------------------------
// Shares, against naive models
// ---------------------------------------------------------------------------------------------------------------

/// Odd holders are anonymous.
fn holder(number: usize) -> Holder {
    if number % 2 == 1 {
        return Holder::of_peer(Some(Ipv4Addr::new(10, 0, 0, u8::try_from(number).unwrap()).into()));
    }
    Holder::of(&Principal::new(format!("p{number}"), Claims::anonymous()), None)
}

/// What a naive cache holds: a list, oldest first.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: String,
    holder: usize,
    cost: u64,
}

/// What a history with room for them counts for records.
async fn measured(records: Vec<Record>) -> Usage {
    let stream = StreamBounds { events: 1 << 20, bytes: 1 << 30, age: Duration::from_secs(60) };
    let history = history(MemoryBounds { adw: stream, other: stream, ..MemoryBounds::default() });
    history.append(NOW(0), append(records)).await.unwrap()[0].as_ref().unwrap();
    history.usage()
}

fn held(entries: &[Entry], account: u64, counts: impl Fn(usize) -> bool) -> u64 {
    (0..HOLDERS)
        .filter(|holder| counts(*holder))
        .map(|holder| {
            let own = entries.iter().filter(|entry| entry.holder == holder);
            own.clone().map(|entry| entry.cost).sum::<u64>() + own.take(1).map(|_| account).sum::<u64>()
        })
        .sum()
}

const HOLDERS: usize = 4;

/// The holders of whom one gives something up: the largest, or the largest anonymous ones while these have more than
/// their part. Several where they hold the same.
fn payers(entries: &[Entry], account: u64, bound: u64) -> Vec<usize> {
    let is_stranger = |holder: usize| holder % 2 == 1;
    let of = |holder: usize| held(entries, account, |it| it == holder);
    if held(entries, account, |_| true) <= bound {
        return Vec::new();
    }
    let crowded = held(entries, account, is_stranger) > bound - bound / 10;
    let among: Vec<usize> = (0..HOLDERS).filter(|holder| !crowded || is_stranger(*holder)).collect();
    let most = among.iter().map(|holder| of(*holder)).max().unwrap();
    among.into_iter().filter(|holder| of(*holder) == most).collect()
}

/// What may remain of a naive cache that holds more than its bound. Of payers that hold the same either may pay, so there
/// may be several outcomes.
fn outcomes(entries: Vec<Entry>, account: u64, bound: u64) -> Vec<Vec<Entry>> {
    let payers = payers(&entries, account, bound);
    if payers.is_empty() {
        return vec![entries];
    }
    let without_oldest = |holder: usize| {
        let mut entries = entries.clone();
        entries.remove(entries.iter().position(|entry| entry.holder == holder).unwrap());
        outcomes(entries, account, bound)
    };
    payers.into_iter().flat_map(without_oldest).collect()
}

fn count_of(entries: &[Entry], holder: usize) -> u64 {
    entries.iter().filter(|entry| entry.holder == holder).count() as u64
}

fn status(key: usize, length: usize, holder: Holder) -> Record {
    let data = json!({"document_id": format!("d{key}"), "status": "processing", "message": "x".repeat(length)});
    let payload: DocumentStatus = serde_json::from_value(data).unwrap();
    let user = format!("u{}", key % 3).parse().unwrap();
    Record { holder, ..Envelope::to_user(user, &payload, NOW(0)).unwrap().into() }
}

fn keyed(name: &str, of: usize) -> Record {
    let idempotency = Idempotency { principal: format!("p{of}").into(), key: name.parse().unwrap(), digest: [0; 32] };
    // Not logged and not kept, so that nothing but the key costs anything.
    let payload: AgentDeleted = serde_json::from_value(json!({"adw_id": "aaaaaaaa"})).unwrap();
    let envelope = Envelope::to_adw(adw("aaaaaaaa"), &payload, NOW(0)).unwrap();
    Record { idempotency: Some(idempotency), holder: holder(of), ..envelope.into() }
}

/// An event of the model of the log.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    stream: usize,
    seq: u64,
    cost: u64,
    holder: usize,
    since: i64,
}

/// A stream that is remembered.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    owner: usize,
    cost: u64,
    head: u64,
    floor: u64,
}

/// What a naive history would hold: a list of all events, from which rows are struck out.
#[derive(Clone, Debug, Default, PartialEq)]
struct Naive {
    rows: Vec<Row>,
    known: BTreeMap<usize, Known>,
    floor: u64,
    forgotten: u64,
}

impl Naive {
    fn strike(&mut self, seq: u64) {
        let at = self.rows.iter().position(|row| row.seq == seq).unwrap();
        let row = self.rows.remove(at);
        self.known.get_mut(&row.stream).unwrap().floor = seq;
        self.floor = self.floor.max(seq);
    }

    fn first_of(&self, stream: usize) -> Option<u64> {
        self.rows.iter().find(|row| row.stream == stream).map(|row| row.seq)
    }

    fn of(&self, stream: usize) -> Vec<u64> {
        self.rows.iter().filter(|row| row.stream == stream).map(|row| row.seq).collect()
    }

    /// What is on accounts, in the order in which it is evicted: events, and each stream behind its last event.
    fn entries(&self) -> Vec<(Entry, Option<usize>)> {
        let event = |row: &Row| ((row.seq, 0), Entry { name: row.seq.to_string(), holder: row.holder, cost: row.cost });
        let stream =
            |known: &Known| ((known.head, 1), Entry { name: String::new(), holder: known.owner, cost: known.cost });
        let mut all: Vec<_> = self.rows.iter().map(|row| (event(row), None)).collect();
        all.extend(self.known.iter().map(|(of, known)| (stream(known), Some(*of))));
        all.sort_by_key(|((order, _), _)| *order);
        all.into_iter().map(|((_, entry), stream)| (entry, stream)).collect()
    }

    /// Strikes out what exceeds the bounds of a stream in events and bytes.
    fn trim(&mut self, stream: usize, bounds: StreamBounds) {
        loop {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.stream == stream).collect();
            let bytes: u64 = rows.iter().map(|row| row.cost).sum();
            if rows.len() <= bounds.events && bytes <= bounds.bytes as u64 {
                return;
            }
            let first = rows[0].seq;
            self.strike(first);
        }
    }

    fn expire(&mut self, now: i64, bounds: StreamBounds) {
        let old: Vec<u64> =
            self.rows.iter().filter(|row| now - row.since > bounds.age.as_secs() as i64).map(|row| row.seq).collect();
        old.into_iter().for_each(|seq| self.strike(seq));
    }

    /// What may remain when the bound of the whole holds again.
    fn outcomes(self, account: u64, bound: u64) -> Vec<Self> {
        let entries = self.entries();
        let list: Vec<Entry> = entries.iter().map(|(entry, _)| entry.clone()).collect();
        let payers = payers(&list, account, bound);
        if payers.is_empty() {
            return vec![self];
        }
        let without_oldest = |holder: usize| {
            let mut after = self.clone();
            let (entry, stream) = entries.iter().find(|(entry, _)| entry.holder == holder).unwrap();
            match stream {
                None => {
                    let stream = self.rows.iter().find(|row| row.seq.to_string() == entry.name).unwrap().stream;
                    after.strike(self.first_of(stream).unwrap());
                }
                Some(stream) => {
                    while let Some(first) = after.first_of(*stream) {
                        after.strike(first);
                    }
                    let known = after.known.remove(stream).unwrap();
                    after.forgotten = after.forgotten.max(known.head);
                }
            }
            after.outcomes(account, bound)
        };
        payers.into_iter().flat_map(without_oldest).collect()
    }

    fn floor_of(&self, stream: usize) -> u64 {
        self.known.get(&stream).map_or(self.forgotten, |known| known.floor)
    }
}

const STREAMS: [&str; 5] = ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd", "eeeeeeee"];

fn numbers(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.logged().unwrap().seq.as_u64()).collect()
}

fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Of several publishers in several streams, some of them shared.
    #[test]
    fn log_10_and_limit_10_each_stream_and_each_holder_keep_their_newest_within_every_bound(
        steps in prop::collection::vec((0_usize..5, 0..HOLDERS, 0_usize..400, 0_i64..20), 1..60),
        (events, bytes, realm) in (1_usize..12, 600_usize..6_000, 1_500_usize..16_000),
    ) {
        let stream = StreamBounds { events, bytes, age: Duration::from_secs(60) };
        let bounds = MemoryBounds { adw: stream, other: stream, realm_bytes: realm, ..MemoryBounds::default() };
        let all = PageBounds { events: 1_000, bytes: 1 << 30 };
        run(async {
            let (history, mut models, mut now) = (history(bounds), vec![Naive::default()], 0);
            // A second event costs itself, a first one its stream and account as well.
            let one = measured(vec![record("aaaaaaaa", "")]).await.log.bytes;
            let two = measured(vec![record("aaaaaaaa", ""), record("bbbbbbbb", "")]).await.log.bytes;
            let event = measured(vec![record("aaaaaaaa", ""), record("aaaaaaaa", "")]).await.log.bytes - one;
            let (account, known) = (2 * one - two, two - one - event);
            for (n, (of, by, length, pause)) in steps.into_iter().enumerate() {
                now += pause;
                let seq = n as u64 + 1;
                let publication = || Record { holder: holder(by), ..record(STREAMS[of], &"x".repeat(length)) };
                let again = measured(vec![publication(), publication()]).await.log.bytes;
                let cost = again - measured(vec![publication()]).await.log.bytes;
                history.append(NOW(now), append(vec![publication()])).await.unwrap().remove(0).unwrap();
                let page = history.read(NOW(now), &[(Target::Realm, Position::START)], all).await.unwrap();
                let kept = numbers(&page);
                let floors = |page: &Page| page.floors.iter().map(|floor| floor.floor.as_u64()).max().unwrap_or(0);
                let mut seen = Vec::new();
                for id in STREAMS {
                    let page = history.read(NOW(now), &[(Target::Adw(adw(id)), Position::START)], all).await.unwrap();
                    seen.push((numbers(&page), floors(&page)));
                }
                prop_assert!(history.usage().log.bytes <= realm as u64);

                let publish = |mut naive: Naive| {
                    naive.expire(now, stream);
                    let forgotten = naive.forgotten;
                    let new = Known { owner: by, cost: known, head: 0, floor: forgotten };
                    naive.known.entry(of).or_insert(new).head = seq;
                    naive.rows.push(Row { stream: of, seq, cost, holder: by, since: now });
                    naive.trim(of, stream);
                    naive.outcomes(account, realm as u64)
                };
                let is_it = |naive: &Naive| {
                    kept == naive.rows.iter().map(|row| row.seq).collect::<Vec<_>>()
                        && floors(&page) == naive.floor
                        && (0..STREAMS.len()).all(|of| seen[of] == (naive.of(of), naive.floor_of(of)))
                };
                let possible: Vec<Naive> = models.into_iter().flat_map(publish).collect();
                models = Vec::new();
                for naive in possible.iter().filter(|naive| is_it(naive)) {
                    if !models.contains(naive) {
                        models.push(naive.clone());
                    }
                }
                prop_assert!(!models.is_empty(), "kept {kept:?}, of streams {seen:?}, none of {possible:#?}");
                // Wherever a reader begins, it gets what is behind it.
                for since in 0..=seq {
                    let asked = [(Target::Realm, Position::new(since).unwrap())];
                    let page = history.read(NOW(now), &asked, all).await.unwrap();
                    let expected: Vec<u64> = kept.iter().copied().filter(|it| *it > since).collect();
                    prop_assert_eq!(numbers(&page), expected);
                }
            }
            Ok(())
        })?;
    }

    /// The newest values that are kept are those of a naive cache, so the value of a holder below its share stays whatever
    /// others publish; and each owner can ask how many were evicted.
    #[test]
    fn limit_10_no_holder_evicts_the_newest_value_of_one_below_its_share(
        steps in prop::collection::vec((0_usize..12, 0..HOLDERS, 0_usize..400), 1..60),
        bound in 2_000_usize..8_000,
    ) {
        run(async {
            let history = history(MemoryBounds { latest_bytes: bound, ..MemoryBounds::default() });
            let one = measured(vec![status(0, 0, holder(0))]).await.latest.bytes;
            let two = measured(vec![status(0, 0, holder(0)), status(3, 0, holder(0))]).await.latest.bytes;
            let account = 2 * one - two;
            let (mut naive, mut lost) = (Vec::<Entry>::new(), [0_u64; HOLDERS]);
            for (key, by, length) in steps {
                let name = format!("d{key}");
                let cost = measured(vec![status(key, length, holder(by))]).await.latest.bytes - account;
                history.append(NOW(0), append(vec![status(key, length, holder(by))])).await.unwrap();
                let kept = history.latest(NOW(0), &[Target::Realm]).await.unwrap();
                let kept: Vec<&str> = kept.iter().map(|value| value.envelope().key().unwrap()).collect();
                naive.retain(|entry| entry.name != name);
                naive.push(Entry { name, holder: by, cost });
                let before = naive.clone();
                // A sixteenth remembers what is missing.
                let mut outcomes = outcomes(naive, account, (bound - bound / 16) as u64).into_iter();
                let is_it = |naive: &Vec<Entry>| naive.iter().map(|entry| &*entry.name).eq(kept.iter().copied());
                naive = outcomes.find(is_it).ok_or_else(|| TestCaseError::fail(format!("kept {kept:?} of {before:?}")))?;
                prop_assert!(history.usage().latest.bytes <= bound as u64);
                for entry in before.iter().filter(|entry| !naive.contains(entry)) {
                    lost[entry.holder] += 1;
                }
                for user in 0..3 {
                    let target = Target::User(format!("u{user}").parse().unwrap());
                    let values = history.latest(NOW(0), &[target]).await.unwrap();
                    let keys: Vec<&str> = values.iter().map(|value| value.envelope().key().unwrap()).collect();
                    let is_theirs = |key: &&&str| key[1..].parse::<usize>().unwrap() % 3 == user;
                    prop_assert_eq!(keys, kept.iter().filter(is_theirs).copied().collect::<Vec<_>>());
                }
            }
            for (by, lost) in lost.into_iter().enumerate() {
                prop_assert_eq!(history.take_evictions(&holder(by)), Evictions { values: lost, ..Evictions::default() });
                prop_assert_eq!(history.take_evictions(&holder(by)), Evictions::default());
            }
            Ok(())
        })?;
    }

    /// The same of checkpoints, for which each source is an account of its own.
    #[test]
    fn limit_10_no_source_loses_the_checkpoint_of_a_place_to_another_while_it_is_below_its_share(
        steps in prop::collection::vec((0_usize..12, 0..HOLDERS, 0_usize..200, any::<bool>()), 1..60),
        bound in 1_500_usize..6_000,
        local in any::<bool>(),
    ) {
        run(async {
            let history = history(MemoryBounds { checkpoint_bytes: bound, ..MemoryBounds::default() });
            let of = |by: usize| if local { Holder::Local } else { holder(by) };
            let commit = async |history: &MemoryHistory, by: usize, place: &str, state: Option<String>| {
                let checkpoint = Checkpoint { source: format!("s{by}"), place: place.into(), state };
                let append = Append { holder: of(by), checkpoints: vec![checkpoint], ..Append::default() };
                history.append(NOW(0), vec![append]).await.unwrap().remove(0).unwrap();
                history.usage().checkpoints.bytes
            };
            let measured = MemoryHistory::new(Epoch::from_bits(2), MemoryBounds::default());
            let one = commit(&measured, 0, "a", Some(String::new())).await;
            let other = commit(&measured, 0, "b", Some(String::new())).await - one;
            let named = footprint::shared(2) as u64;
            let account = one - other - named;
            let mut naive = Vec::<Entry>::new();
            for (number, by, length, ends) in steps {
                // Where every source is one of the process, none is anonymous.
                let by = if local { by / 2 * 2 } else { by };
                let name = format!("{by}.{number}");
                let state = (!ends || length > 150).then(|| "x".repeat(length));
                let cost = other - footprint::allocated(1) as u64
                    + footprint::allocated(name.len()) as u64
                    + footprint::allocated(length) as u64;
                naive.retain(|entry| entry.name != name);
                if state.is_some() {
                    let first = naive.iter().all(|entry| entry.holder != by);
                    naive.push(Entry { name: name.clone(), holder: by, cost: cost + if first { named } else { 0 } });
                }
                commit(&history, by, &name, state).await;
                let mut kept = Vec::new();
                for by in 0..HOLDERS {
                    kept.extend(history.checkpoints(&format!("s{by}")).await.unwrap().into_iter().map(|it| it.place));
                }
                let before = naive.clone();
                let mut outcomes = outcomes(naive, account, bound as u64).into_iter();
                let is_it = |naive: &Vec<Entry>| {
                    naive.len() == kept.len() && naive.iter().all(|entry| kept.contains(&entry.name))
                };
                naive = outcomes.find(is_it).ok_or_else(|| TestCaseError::fail(format!("kept {kept:?} of {before:?}")))?;
                prop_assert_eq!(history.usage().checkpoints.bytes, held(&naive, account, |_| true));
                prop_assert!(history.usage().checkpoints.bytes <= bound as u64);
            }
            Ok(())
        })?;
    }

    /// The same of idempotency keys: within 10 minutes a key that the naive cache holds gets the first answer.
    #[test]
    fn limit_10_no_holder_evicts_the_idempotency_key_of_one_below_its_share(
        steps in prop::collection::vec((0_usize..30, 0..HOLDERS, 1_usize..100, 0_i64..90), 1..60),
        bound in 1_500_usize..6_000,
    ) {
        run(async {
            let history = history(MemoryBounds { idempotency_bytes: bound, ..MemoryBounds::default() });
            let one = measured(vec![keyed("a", 0)]).await.idempotency.bytes;
            let other = measured(vec![keyed("a", 0), keyed("b", 0)]).await.idempotency.bytes - one;
            // The name of a principal is on the bill of its first key.
            let named = footprint::shared(2) as u64;
            let account = one - other - named;
            let (mut naive, mut answers, mut now) = (Vec::<Entry>::new(), BTreeMap::<String, (i64, u64)>::new(), 0);
            for (number, by, length, pause) in steps {
                now += pause;
                let name = format!("{by}.{number}.{}", "x".repeat(length));
                let outcome = history.append(NOW(now), append(vec![keyed(&name, by)])).await.unwrap().remove(0).unwrap();
                let outcome = outcome[0].receipt();
                naive.retain(|entry| now - answers[&entry.name].0 <= 600);
                let known = naive.iter().any(|entry| entry.name == name);
                prop_assert_eq!(outcome.repeated, known);
                let seq = outcome.seq.unwrap().as_u64();
                if known {
                    prop_assert_eq!(seq, answers[&name].1, "the first answer");
                    continue;
                }
                let first = naive.iter().all(|entry| entry.holder != by);
                let cost = other - footprint::shared(1) as u64 + footprint::shared(name.len()) as u64;
                answers.insert(name.clone(), (now, seq));
                naive.push(Entry { name, holder: by, cost: cost + if first { named } else { 0 } });
                let evicted: Vec<u64> = (0..HOLDERS).map(|by| history.take_evictions(&holder(by)).ids).collect();
                let before = naive.clone();
                let lost = |after: &[Entry], by| count_of(&before, by) - count_of(after, by);
                let is_it = |after: &Vec<Entry>| (0..HOLDERS).all(|by| lost(after, by) == evicted[by]);
                let mut outcomes = outcomes(naive, account, bound as u64).into_iter();
                naive = outcomes.find(is_it).ok_or_else(|| TestCaseError::fail(format!("{evicted:?} of {before:?}")))?;
                prop_assert_eq!(history.usage().idempotency.bytes, held(&naive, account, |_| true));
            }
            Ok(())
        })?;
    }
}
