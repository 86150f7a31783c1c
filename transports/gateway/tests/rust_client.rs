//! The Rust client against the gateway as it is started, with a line of ours between them that breaks in every way lines
//! break: cut in the middle of a frame, a black hole, half open, one transport forbidden, the server killed.
//!
//! What was published, by the receipts of the publisher, is what the client must have seen: everything, once, in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Gateway, api_key, ask, soon, write_private};
use eventwire_client::{
    Backoff, Builder, Checkpoint, Client, CommandError, Credential, Draft, Fallback, Fate, Gap, GapReason, Item, Items,
    Liveness, Phase, Publisher, Quality, Queue, QueueBounds, State, Transport, Typed, reconnect::Ended,
};
use eventwire_protocol::{event::adw::TextBlock, id::Position};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Sse];
const ADW: &str = "29fb6a3e";
/// Where the events of the tests go, in turn.
const TARGETS: [&str; 4] = ["adw:29fb6a3e", "room:tasks", "global", "session:ctx"];

// ---------------------------------------------------------------------------------------------------------------
// A line that breaks
// ---------------------------------------------------------------------------------------------------------------

/// How a connection that is carried ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Both ends see it.
    Cut,
    /// Nothing is carried any more, and nobody sees it.
    BlackHole,
    /// The server's end is closed, the client's stays open.
    HalfOpen,
}

/// A proxy between a client and a gateway.
struct Line {
    address: SocketAddr,
    state: Arc<Carries>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Carries {
    server: Mutex<SocketAddr>,
    /// Of the transports, only this one is let through; the other is answered as by a proxy that knows no upgrades.
    only: Mutex<Option<Transport>>,
    /// Every connection is cut after some thousand bytes towards the client, and then the other transport is let through,
    /// until there were so many switches.
    switches: usize,
    switched: AtomicUsize,
    /// Nobody is let in.
    shut: AtomicBool,
    /// Breaks what is carried now.
    breaks: Notify,
    fault: Mutex<Fault>,
    opened: Mutex<Vec<Transport>>,
}

impl Line {
    async fn to(server: SocketAddr) -> Self {
        Self::switching(server, 0, 1).await
    }

    async fn switching(server: SocketAddr, switches: usize, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Carries {
            server: Mutex::new(server),
            only: Mutex::new((switches > 0).then_some(Transport::WebSocket)),
            switches,
            switched: AtomicUsize::new(0),
            shut: AtomicBool::new(false),
            breaks: Notify::new(),
            fault: Mutex::new(Fault::Cut),
            opened: Mutex::default(),
        });
        let carries = state.clone();
        let accepting = tokio::spawn(async move {
            let mut random = seed;
            loop {
                let (near, _) = listener.accept().await.unwrap();
                near.set_nodelay(true).unwrap();
                // A number of the sequence that Knuth gives (MMIX); its upper bits are random enough.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let budget = (random >> 33) as usize % 8_000;
                tokio::spawn(carries.clone().connection(near, budget));
            }
        });
        Self { address, state, accepting }
    }

    fn client(&self) -> Builder {
        let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(5), ..Backoff::default() };
        let fallback = Fallback { after: 1, return_after: Duration::from_secs(3_600), ..Fallback::default() };
        Client::builder(format!("http://{}", self.address)).backoff(backoff).fallback(fallback)
    }

    fn break_now(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
        self.state.breaks.notify_waiters();
    }

    fn only(&self, transport: Option<Transport>) {
        *self.state.only.lock().unwrap() = transport;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Carries {
    async fn connection(self: Arc<Self>, mut near: TcpStream, budget: usize) {
        if self.shut.load(Ordering::Relaxed) {
            return;
        }
        // The head says what it is.
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match near.read(&mut piece).await {
                Ok(read @ 1..) => head.extend_from_slice(&piece[..read]),
                _ => return,
            }
        }
        let over = match head.starts_with(b"GET /v1/ws") {
            true => Transport::WebSocket,
            false => Transport::Sse,
        };
        let only = *self.only.lock().unwrap();
        if only.is_some_and(|only| only != over) {
            let _ = near.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            return;
        }
        let server = *self.server.lock().unwrap();
        let Ok(mut far) = TcpStream::connect(server).await else { return };
        far.set_nodelay(true).unwrap();
        if far.write_all(&head).await.is_err() {
            return;
        }
        self.opened.lock().unwrap().push(over);
        let switching = self.switched.load(Ordering::Relaxed) < self.switches;
        let budget = if switching { budget } else { usize::MAX };
        tokio::select! {
            () = carry(&mut near, &mut far, budget) => {}
            () = self.breaks.notified() => {}
        }
        let fault = *self.fault.lock().unwrap();
        if switching {
            let other = match over {
                Transport::WebSocket => Transport::Sse,
                Transport::Sse => Transport::WebSocket,
            };
            let done = self.switched.fetch_add(1, Ordering::Relaxed) + 1;
            *self.only.lock().unwrap() = (done < self.switches).then_some(other);
        }
        match fault {
            Fault::Cut => {}
            // Held open until the client gives up.
            Fault::BlackHole => while matches!(near.read(&mut piece).await, Ok(1..)) {},
            Fault::HalfOpen => {
                drop(far);
                while matches!(near.read(&mut piece).await, Ok(1..)) {}
            }
        }
    }
}

/// Carries bytes both ways until one end is done, or the budget towards `near` is used up.
async fn carry(near: &mut TcpStream, far: &mut TcpStream, mut budget: usize) {
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    while budget > 0 {
        let room = budget.min(down.len());
        tokio::select! {
            read = near.read(&mut up) => match read {
                Ok(read @ 1..) if far.write_all(&up[..read]).await.is_ok() => {}
                _ => return,
            },
            read = far.read(&mut down[..room]) => match read {
                Ok(read @ 1..) if near.write_all(&down[..read]).await.is_ok() => budget -= read,
                _ => return,
            },
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Publishing and reading
// ---------------------------------------------------------------------------------------------------------------

fn publisher(gateway: &Gateway) -> Publisher {
    Publisher::new(&gateway.url(), None).unwrap()
}

fn draft(kind: &str, to: &str, data: serde_json::Value) -> Draft {
    Draft::raw(kind, to.parse().unwrap(), &data).unwrap()
}

fn numbered(n: usize) -> Draft {
    let to = TARGETS[n % TARGETS.len()];
    match to {
        "adw:29fb6a3e" => draft("adw.text_block", to, json!({"adw_id": ADW, "content": format!("text {n}")})),
        "global" => draft("adw.system_log", to, json!({"level": "info", "message": format!("line {n}")})),
        _ => draft("_test.note", to, json!({"n": n})),
    }
}

/// By target, the numbers in order.
type Seqs = BTreeMap<String, Vec<u64>>;

/// Publishes a batch, and adds its numbers.
async fn publish(publisher: &Publisher, from: usize, count: usize, published: &mut Seqs) {
    let drafts: Vec<Draft> = (from..from + count).map(numbered).collect();
    let outcomes = soon("publishing", publisher.publish_all(&drafts)).await.unwrap();
    for (n, outcome) in (from..).zip(outcomes) {
        let seq = outcome.unwrap().seq.unwrap().as_u64();
        published.entry(TARGETS[n % TARGETS.len()].to_owned()).or_default().push(seq);
    }
}

/// What a client saw.
#[derive(Debug, Default)]
struct Seen {
    events: Seqs,
    count: usize,
    gaps: Vec<Gap>,
    gaps_expected: bool,
}

impl Seen {
    /// Takes what comes until `enough`; refusals, unreadable frames and the end are failures.
    async fn read(&mut self, items: &mut Items, enough: impl Fn(&Seen) -> bool) {
        while !enough(self) {
            match soon("an item", items.next()).await.expect("the client goes on") {
                Item::Event(event) => {
                    let Some(seq) = event.seq else { continue };
                    let root = event.to.target().unwrap().to_string();
                    self.events.entry(root).or_default().push(seq.as_u64());
                    self.count += 1;
                }
                Item::Gap(gap) => {
                    // Events that will not come are not waited for.
                    assert!(self.gaps_expected, "{gap:?} after {} events", self.count);
                    self.gaps.push(gap);
                }
                Item::State(state) => assert!(!state.is_end(), "{state:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn connected(items: &mut Items) {
    loop {
        if let Some(Item::State(State::Connected(_))) = soon("a welcome", items.next()).await {
            return;
        }
    }
}

fn from_the_start() -> Checkpoint {
    Checkpoint { epoch: None, positions: TARGETS.iter().map(|to| (to.parse().unwrap(), Position::START)).collect() }
}

// ---------------------------------------------------------------------------------------------------------------

/// Mid-stream: a connection ends wherever the line ends it, and the next one has to be over the other transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_06_and_sse_02_a_thousand_switches_of_transport_lose_nothing_and_repeat_nothing() {
    let switches: usize = std::env::var("EVENTWIRE_SWITCHES").map_or(1_000, |asked| asked.parse().unwrap());
    // Enough for a machine on which the client stands still for a while.
    let enough = [
        "--history-events=1000000",
        "--history-bytes=64MiB",
        "--history-adw-events=1000000",
        "--history-adw-bytes=64MiB",
    ];
    let gateway = Gateway::start(&enough);
    let line = Line::switching(gateway.address, switches, 7).await;
    let begun = Instant::now();
    let (client, mut items) = line.client().transports(BOTH).resume(from_the_start()).build().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (publisher, state, done) = (publisher(&gateway), line.state.clone(), done.clone());
        async move {
            let (mut published, mut n, mut last) = (Seqs::new(), 0, 0);
            while state.switched.load(Ordering::Relaxed) < state.switches {
                // As fast as it is read: a switch takes a batch, and so does a pause.
                publish(&publisher, n, 20, &mut published).await;
                n += 20;
                for _ in 0..4 {
                    if std::mem::replace(&mut last, state.switched.load(Ordering::Relaxed)) != last {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            publish(&publisher, n, 20, &mut published).await;
            done.store(true, Ordering::Relaxed);
            (published, n + 20)
        }
    });
    let mut seen = Seen::default();
    while !done.load(Ordering::Relaxed) {
        let before = seen.count;
        seen.read(&mut items, |seen| seen.count > before).await;
    }
    let (published, count) = soon("the publisher", publishing).await.unwrap();
    seen.read(&mut items, |seen| seen.count >= count).await;
    // Nothing more comes: a fence behind everything.
    let mut fenced = published.clone();
    publish(&publisher(&gateway), count, 4, &mut fenced).await;
    seen.read(&mut items, |seen| seen.count >= count + 4).await;
    assert_eq!(seen.events, fenced);
    let opened = line.state.opened.lock().unwrap().clone();
    let over = |transport| opened.iter().filter(|over| **over == transport).count();
    let changes = opened.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes >= switches - 1, "{changes} changes of transport in {} connections", opened.len());
    assert_eq!(client.status().phase, Phase::Connected);
    println!(
        "{changes} switches ({} connections over WebSocket, {} over server-sent events), {} events, {:.1} s",
        over(Transport::WebSocket),
        over(Transport::Sse),
        seen.count,
        begun.elapsed().as_secs_f64()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_05_a_gateway_that_is_killed_and_started_again_is_told_as_another_history() {
    for over in BOTH {
        let first = Gateway::start(&[]);
        let line = Line::to(first.address).await;
        let (client, mut items) = line.client().transports([over]).subscribe("room:tasks").build().unwrap();
        connected(&mut items).await;
        soon("being subscribed", async {
            match over {
                // Commands are answered in order: with the pong, the targets are subscribed.
                Transport::WebSocket => drop(client.ping().await.unwrap()),
                // An event stream is subscribed when it is opened.
                Transport::Sse => {}
            }
        })
        .await;
        let mut published = Seqs::new();
        publish(&publisher(&first), 0, 8, &mut published).await;
        let mut seen = Seen::default();
        seen.read(&mut items, |seen| seen.count == 4).await;
        assert_eq!(
            (&seen.events["room:tasks"], &seen.events["global"]),
            (&published["room:tasks"], &published["global"])
        );
        first.ended_by("KILL");

        let second = Gateway::start(&[]);
        let mut published = Seqs::new();
        publish(&publisher(&second), 0, 12, &mut published).await;
        *line.state.server.lock().unwrap() = second.address;
        let mut seen = Seen { gaps_expected: true, ..Seen::default() };
        seen.read(&mut items, |seen| seen.count == 6).await;
        publish(&publisher(&second), 12, 4, &mut published).await;
        seen.read(&mut items, |seen| seen.count == 8).await;
        assert_eq!(
            (&seen.events["room:tasks"], &seen.events["global"]),
            (&published["room:tasks"], &published["global"])
        );
        let mut told: Vec<(String, GapReason)> = seen.gaps.into_iter().map(|gap| (gap.stream, gap.reason)).collect();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        let gap = |to: &str| (to.to_owned(), GapReason::EpochChanged);
        assert_eq!(told, [gap("global"), gap("room:tasks")], "{over:?}: once for each");
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_cut_or_silently_dead_is_left_and_costs_no_event() {
    let gateway = Gateway::start_as(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--no-sample",
        "--heartbeat-seconds",
        "1",
        "--drain-seconds",
        "0",
    ]);
    let publisher = publisher(&gateway);
    for over in BOTH {
        let line = Line::to(gateway.address).await;
        // An event stream has nothing but the heartbeat of the server to show that somebody is there.
        let liveness = Liveness {
            ping_every: Duration::from_millis(100),
            answer_within: Duration::from_millis(400),
            silence: Some(Duration::from_secs(4)),
        };
        let builder = line.client().transports([over]).liveness(liveness).resume(Checkpoint {
            positions: [
                ("room:tasks".parse().unwrap(), Position::START),
                ("adw:29fb6a3e".parse().unwrap(), Position::START),
            ]
            .into(),
            epoch: None,
        });
        let (client, mut items) = builder.build().unwrap();
        let wanted = |seqs: &Seqs| ["room:tasks", "adw:29fb6a3e"].map(|to| seqs.get(to).cloned().unwrap_or_default());
        let (mut published, mut seen, mut n) = (Seqs::new(), Seen::default(), 0);
        for fault in [Fault::Cut, Fault::BlackHole, Fault::HalfOpen] {
            publish(&publisher, n, 8, &mut published).await;
            n += 8;
            let last = published["room:tasks"].last().copied();
            seen.read(&mut items, |seen| seen.events.get("room:tasks").and_then(|seqs| seqs.last()).copied() >= last)
                .await;
            line.break_now(fault);
            publish(&publisher, n, 8, &mut published).await;
            n += 8;
            let last = published["room:tasks"].last().copied();
            seen.read(&mut items, |seen| seen.events.get("room:tasks").and_then(|seqs| seqs.last()).copied() >= last)
                .await;
        }
        publish(&publisher, n, 4, &mut published).await;
        let all = |seen: &Seen| wanted(&seen.events).iter().map(Vec::len).sum::<usize>();
        let count: usize = wanted(&published).iter().map(Vec::len).sum();
        // What was published for the other transport before is of the same history.
        let earlier = if over == Transport::Sse { 26 } else { 0 };
        seen.read(&mut items, |seen| all(seen) >= count + earlier).await;
        for (seen, published) in wanted(&seen.events).iter().zip(wanted(&published)) {
            assert!(seen.ends_with(&published), "{over:?}: {seen:?} {published:?}");
            assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        }
        assert_eq!(all(&seen), count + earlier);
        assert!(line.state.opened.lock().unwrap().len() >= 4, "each fault ended a connection");
        client.close().await;
    }
}

/// The history keeps 10 events of a room. Whoever misses more is told which, whatever carried the events before and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_04_what_the_history_no_longer_has_is_told_as_a_gap_also_across_a_switch() {
    let gateway = Gateway::start(&["--history-events", "10"]);
    let publisher = publisher(&gateway);
    let note = |n: usize| draft("_test.note", "room:small", json!({"n": n}));
    for (before, after) in [(BOTH[0], BOTH[0]), (BOTH[1], BOTH[1]), (BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let line = Line::to(gateway.address).await;
        line.only(Some(before));
        let (client, mut items) = line.client().transports(BOTH).subscribe("room:small").build().unwrap();
        connected(&mut items).await;
        if before == Transport::WebSocket {
            client.ping().await.unwrap();
        }
        let seq = |outcome: &Result<eventwire_client::Receipt, _>| outcome.as_ref().unwrap().seq.unwrap().as_u64();
        let outcome = publisher.publish_all(&[note(0)]).await.unwrap();
        let first = seq(&outcome[0]);
        let mut seen = Seen { gaps_expected: true, ..Seen::default() };
        seen.read(&mut items, |seen| seen.count == 1).await;

        line.state.shut.store(true, Ordering::Relaxed);
        line.break_now(Fault::Cut);
        let drafts: Vec<Draft> = (1..=30).map(note).collect();
        let seqs: Vec<u64> = publisher.publish_all(&drafts).await.unwrap().iter().map(seq).collect();
        line.only(Some(after));
        line.state.shut.store(false, Ordering::Relaxed);

        seen.read(&mut items, |seen| seen.count == 11).await;
        let kept: Vec<u64> = [&[first], &seqs[20..]].concat();
        assert_eq!(seen.events["room:small"], kept, "{before:?} then {after:?}");
        let [gap] = &seen.gaps[..] else { panic!("{:?}", seen.gaps) };
        assert_eq!((gap.stream.as_str(), gap.reason), ("room:small", GapReason::Expired));
        let bounds = (gap.from_seq.unwrap().as_u64(), gap.to_seq.unwrap().as_u64());
        assert_eq!(bounds, (first + 1, seqs[19]), "what is missing is named, and nothing else");
        assert_eq!(client.status().transport, after);
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_upgrades_are_forbidden_events_come_anyway_and_the_socket_is_taken_again_when_it_can_be() {
    let gateway = Gateway::start(&[]);
    let line = Line::to(gateway.address).await;
    line.only(Some(Transport::Sse));
    let fallback =
        Fallback { return_after: Duration::from_millis(50), return_max: Duration::from_millis(50), after: 2 };
    let (client, mut items) =
        line.client().fallback(fallback).transports(BOTH).subscribe("room:tasks").build().unwrap();
    let mut changes = client.status_changes();
    connected(&mut items).await;
    let status = client.status();
    assert_eq!((status.phase, status.transport), (Phase::Connected, Transport::Sse));
    assert!(status.latency.is_some() && status.quality > Quality::Offline, "{status:?}");

    // No commands, but targets all the same: the stream is opened again.
    assert!(matches!(client.ping().await, Err(CommandError::NoCommands)));
    let reading = tokio::spawn(async move {
        let mut seen = Seen::default();
        seen.read(&mut items, |seen| seen.count == 3).await;
        (items, seen)
    });
    let subscribed = client.subscribe([("adw:29fb6a3e", None)]).await.unwrap();
    assert!(subscribed.refused.is_empty() && subscribed.streams.len() == 1, "{subscribed:?}");
    client.authenticate("whatever-is-shown-where-nothing-is-asked").await.unwrap();
    let mut published = Seqs::new();
    publish(&publisher(&gateway), 0, 4, &mut published).await;
    let (mut items, seen) = soon("the events", reading).await.unwrap();
    assert_eq!((seen.events["adw:29fb6a3e"].len(), seen.events["room:tasks"].len()), (1, 1));
    client.unsubscribe(["adw:29fb6a3e"]).await.unwrap();

    // The better transport is tried beside the stream, and taken when it opens.
    line.only(None);
    soon("the socket", async {
        loop {
            let status = changes.next().await.unwrap();
            if (status.phase, status.transport) == (Phase::Connected, Transport::WebSocket) {
                return;
            }
        }
    })
    .await;
    publish(&publisher(&gateway), 4, 4, &mut published).await;
    let mut seen = Seen::default();
    seen.read(&mut items, |seen| seen.count == 2).await;
    assert_eq!(seen.events["room:tasks"], published["room:tasks"][1..]);
    assert!(!seen.events.contains_key("adw:29fb6a3e"), "no longer wanted: {seen:?}");
    client.ping().await.unwrap();
    drop(items);
    soon("the end", async { while changes.next().await.is_some_and(|status| status.phase != Phase::Closed) {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_type_come_with_their_payload() {
    let gateway = Gateway::start(&[]);
    let targets = [("adw:29fb6a3e".parse().unwrap(), Position::START)].into();
    let builder = Client::builder(gateway.url()).resume(Checkpoint { epoch: None, positions: targets });
    let (_client, items) = builder.build().unwrap();
    let mut texts = items.on::<TextBlock>();
    let mut published = Seqs::new();
    publish(&publisher(&gateway), 0, 8, &mut published).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match soon("an item", texts.next()).await.unwrap() {
            Typed::Event(event) => seen.push(event.data.content),
            Typed::Other(Item::State(_)) => {}
            Typed::Other(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["text 0", "text 4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_while_the_gateway_is_away_is_published_once_and_in_order() {
    let gateway = Gateway::start(&[]);
    let line = Line::to(gateway.address).await;
    let (client, mut items) = Client::builder(gateway.url()).subscribe("room:tasks").build().unwrap();
    connected(&mut items).await;
    client.ping().await.unwrap();
    line.state.shut.store(true, Ordering::Relaxed);
    let through_the_line = Publisher::new(&format!("http://{}", line.address), None).unwrap();
    let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(5), ..Backoff::default() };
    let queue = Queue::new(through_the_line, QueueBounds { events: 40, bytes: 1 << 20 }, backoff);
    let note = |n: usize| draft("_test.note", "room:tasks", json!({"n": n}));
    let mut fates: Vec<Fate> = (0..39).map(|n| queue.push(note(n)).unwrap()).collect();
    fates.push(
        queue
            .push(draft("adw.text_block", "global", json!({"adw_id": ADW, "content": "x"})))
            .unwrap_or_else(|_| panic!()),
    );
    let full = queue.push(note(40)).unwrap_err();
    assert_eq!((full.events, queue.len()), (40, 40));
    assert!(full.to_string().contains("40 events"), "{full}");
    line.state.shut.store(false, Ordering::Relaxed);
    soon("an empty queue", queue.settled()).await;
    let mut seqs = Vec::new();
    for fate in fates {
        seqs.extend(soon("a fate", fate).await.unwrap().ok().map(|receipt| receipt.seq.unwrap().as_u64()));
    }
    assert_eq!(seqs.len(), 39, "one is refused, and stops nothing");
    queue.push(note(41)).unwrap();
    let mut seen = Seen::default();
    seen.read(&mut items, |seen| seen.count == 40).await;
    assert_eq!(seen.events["room:tasks"][..39], seqs);
    // The answer to a request is lost: sent again under the same ids, nothing is published twice.
    soon("an empty queue", queue.settled()).await;
    *line.state.fault.lock().unwrap() = Fault::Cut;
    let last = seen.count;
    for n in 0..50 {
        queue.push(note(100 + n)).map_or_else(|_| panic!("full"), drop);
        if n % 5 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            line.break_now(Fault::Cut);
        }
        if n % 20 == 19 {
            soon("an empty queue", queue.settled()).await;
        }
    }
    soon("an empty queue", queue.settled()).await;
    seen.read(&mut items, |seen| seen.count == last + 50).await;
    let fence = publisher(&gateway).publish(&note(999)).await.unwrap().seq.unwrap().as_u64();
    seen.read(&mut items, |seen| seen.count == last + 51).await;
    assert_eq!(seen.events["room:tasks"].last(), Some(&fence));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gave_up_says_so_and_one_that_was_closed_says_that() {
    let gateway = Gateway::start(&[]);
    let line = Line::to(gateway.address).await;
    let backoff = Backoff { base: Duration::from_millis(1), attempts: Some(3), ..Backoff::default() };
    let (_client, mut items) = line.client().backoff(backoff).build().unwrap();
    let (client, mut closed) = line.client().build().unwrap();
    connected(&mut items).await;
    connected(&mut closed).await;
    client.close().await;
    line.state.shut.store(true, Ordering::Relaxed);
    line.break_now(Fault::Cut);
    let last = |items: Items| async move {
        let mut items = items;
        let mut last = None;
        while let Some(item) = soon("the end", items.next()).await {
            last = Some(item);
        }
        last.unwrap()
    };
    assert!(matches!(last(closed).await, Item::State(State::Closed { code: 1000, .. })));
    let end = last(items).await;
    assert!(matches!(end, Item::State(State::Failed { attempts: 3, because: Ended::Lost(_) })), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_12_and_auth_13_tickets_open_each_connection_and_what_is_taken_back_ends_it() {
    for over in BOTH {
        let made = [
            api_key(&["--name", "ada", "--user", "ada", "--permission", "publish"]),
            api_key(&["--name", "root", "--permission", "admin"]),
        ];
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.toml");
        let entries: Vec<_> = made.iter().map(|made| &made["entry"]).collect();
        write_private(&file, &toml::to_string(&json!({"key": entries})).unwrap());
        let gateway = Gateway::start(&["--api-keys-file", file.to_str().unwrap()]);
        let [ada, root] = [0, 1].map(|n: usize| made[n]["key"].as_str().unwrap());
        let line = Line::to(gateway.address).await;

        let seller = Publisher::new(&gateway.url(), Some(ada)).unwrap();
        let sold = Arc::new(AtomicUsize::new(0));
        let (buys, counts) = (seller.clone(), sold.clone());
        // Every connection is a good one, however short.
        let stable_after = Duration::ZERO;
        let backoff = Backoff { base: Duration::from_millis(1), attempts: Some(3), stable_after, ..Backoff::default() };
        let builder = line.client().transports([over]).backoff(backoff).token_source(move |_| {
            let (buys, counts) = (buys.clone(), counts.clone());
            async move {
                let ticket = buys.ticket().await?;
                counts.fetch_add(1, Ordering::Relaxed);
                Ok::<_, eventwire_client::PublishError>(Credential::ticket(ticket.ticket))
            }
        });
        let targets = [("room:tasks".parse().unwrap(), Position::START)].into();
        let (_client, mut items) = builder.resume(Checkpoint { epoch: None, positions: targets }).build().unwrap();
        let (_other, mut held) = line.client().transports([over]).token(ada).build().unwrap();
        connected(&mut held).await;
        let note = |n: usize| draft("_test.note", "room:tasks", json!({"n": n}));
        let mut seen = Seen::default();
        for n in 1..4 {
            seller.publish(&note(n)).await.unwrap();
            seen.read(&mut items, |seen| seen.count == n).await;
            line.break_now(Fault::Cut);
            connected(&mut held).await;
        }
        assert!(sold.load(Ordering::Relaxed) >= 3, "a ticket opens one connection");
        connected(&mut items).await;

        let bearer = format!("Bearer {root}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let revoked =
            ask(gateway.address, hyper::Method::POST, "/v1/revocations", &headers, r#"{"token": "ada"}"#).await;
        assert_eq!(revoked.status, 200, "{revoked:?}");
        let end = |mut items: Items| async move {
            loop {
                match soon("the end", items.next()).await.expect("an end") {
                    Item::State(state) if state.is_end() => return state,
                    _ => {}
                }
            }
        };
        // Whoever has but this token is sent away for good, by the code that an event stream has no place for.
        let state = end(held).await;
        assert!(matches!(&state, State::Closed { code: 4001, .. }), "{over:?}: {state:?}");
        // Whoever can ask for another asks, and gets none.
        let state = end(items).await;
        assert!(
            matches!(&state, State::Failed { because: Ended::NoToken(why), .. } if why.contains("401")),
            "{state:?}"
        );
    }
}

/// As a page does whose rows each follow one run, and come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_that_subscribe_and_leave_stay_within_the_limits_of_the_gateway() {
    let gateway = Gateway::start(&[]);
    let (client, items) = Client::builder(gateway.url()).build().unwrap();
    let scopes = items.scoped();
    let mut rest = scopes.rest();
    let watching = tokio::spawn(async move {
        let mut lost = Vec::new();
        while let Some(item) = rest.next().await {
            match item {
                Item::Event(event) if event.kind == "connection.closing" => lost.push(format!("{event:?}")),
                Item::State(State::Reconnecting { because, .. }) => lost.push(format!("{because:?}")),
                _ => {}
            }
        }
        lost
    });
    let rows: Vec<_> = (0..100)
        .map(|number| {
            let (client, scopes) = (client.clone(), scopes.clone());
            tokio::spawn(async move {
                let to = format!("room:row{number}");
                for _ in 0..3 {
                    let answer = client.subscribe([(&to, None)]).await.unwrap();
                    assert_eq!((answer.streams.len(), answer.refused.len()), (1, 0), "{answer:?}");
                    client.unsubscribe([&to]).await.unwrap();
                }
                let mut items = scopes.target(&to).unwrap();
                client.subscribe([(&to, Some(Position::START))]).await.unwrap();
                loop {
                    match soon("an event", items.next()).await.unwrap() {
                        Item::Event(event) if event.seq.is_some() => return event.to.to_string(),
                        Item::Gap(gap) => panic!("{gap:?}"),
                        _ => {}
                    }
                }
            })
        })
        .collect();
    let drafts: Vec<_> =
        (0..100).map(|number| draft("_test.note", &format!("room:row{number}"), json!({"n": number}))).collect();
    publisher(&gateway).publish_all(&drafts).await.unwrap();
    for (number, row) in rows.into_iter().enumerate() {
        assert_eq!(soon("a row", row).await.unwrap(), format!("room:row{number}"));
    }
    client.close().await;
    assert_eq!(soon("the end", watching).await.unwrap(), Vec::<String>::new());
}

/// Two runs at once, over a line that is cut: each reader gets the events of its own, all of them, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_targets_are_read_by_two_tasks_from_positions_of_their_own() {
    let gateway = Gateway::start(&[]);
    let line = Line::to(gateway.address).await;
    let publisher = publisher(&gateway);
    let note = |to: &str, n: usize| draft("_test.note", to, json!({"n": n}));
    let old = publisher.publish_all(&[note("room:a", 0), note("room:b", 0), note("room:b", 1)]).await.unwrap();
    let second = old[1].as_ref().unwrap().seq.unwrap().as_u64();
    let builder = line.client().subscribe_since("room:a", 0).subscribe_since("room:b", second);
    let (client, items) = builder.build().unwrap();
    let scopes = items.scoped();
    let readers = ["room:a", "room:b"].map(|to| {
        let mut items = scopes.target(to).unwrap();
        tokio::spawn(async move {
            let mut seqs = Vec::new();
            while seqs.len() < 101 {
                match soon("an event", items.next()).await.unwrap() {
                    Item::Event(event) => {
                        if let Some(seq) = event.seq {
                            assert_eq!(event.to.to_string(), to);
                            seqs.push(seq.as_u64());
                        }
                    }
                    Item::State(state) => assert!(!state.is_end(), "{state:?}"),
                    other => panic!("{other:?}"),
                }
            }
            seqs
        })
    });
    let seq = |outcome: &Result<eventwire_client::Receipt, _>| outcome.as_ref().ok().unwrap().seq.unwrap().as_u64();
    let mut expected = [vec![seq(&old[0])], vec![seq(&old[2])]];
    for n in 0..100 {
        let outcomes = publisher.publish_all(&[note("room:a", n), note("room:b", n)]).await.unwrap();
        for (of, outcome) in expected.iter_mut().zip(&outcomes) {
            of.push(seq(outcome));
        }
        if n % 20 == 10 {
            line.break_now(Fault::Cut);
        }
    }
    for (reader, expected) in readers.into_iter().zip(expected) {
        assert_eq!(soon("a reader", reader).await.unwrap(), expected);
    }
    client.close().await;
}
