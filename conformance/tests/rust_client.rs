//! The Rust client and a real server, with a line between them that breaks: what was published is what arrives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eventwire_client::{Backoff, Builder, Checkpoint, Client, Draft, GapReason, Item, Items, Publisher, State};
use eventwire_hub::Hub;
use eventwire_protocol::{Position, Publication};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use warp::Filter;

const PATIENCE: Duration = Duration::from_secs(60);
const ADW: &str = "29fb6a3e";

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Serves a hub over WebSocket and HTTP.
async fn serve(hub: &Hub) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = warp::path!("v1" / "ws").and(eventwire_websocket::filter(hub.clone()));
    let routes = socket.or(eventwire_http::routes(hub));
    (address, tokio::spawn(warp::serve(routes).incoming(listener).run()))
}

/// A line to a server that breaks after so many bytes towards the client, differently each time, and holds in the end.
struct Line {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    /// Breaks what is carried now.
    breaks: Arc<Notify>,
}

impl Line {
    async fn to(server: SocketAddr, seed: u64, cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let breaks = Arc::new(Notify::new());
        let broken = breaks.clone();
        tokio::spawn(async move {
            let mut random = seed;
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let Ok(far) = TcpStream::connect(server).await else { continue };
                // A number of the sequence that Knuth gives (MMIX); its upper bits are random enough.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let left = cuts - count.load(Ordering::Relaxed).min(cuts);
                let budget = if left > 0 { (random >> 33) as usize % 6_000 } else { usize::MAX };
                tokio::select! {
                    () = carry(near, far, budget) => {}
                    () = broken.notified() => {}
                }
                if left > 0 {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Line { address, cuts: made, breaks }
    }

    fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Carries bytes both ways until one end is done, or the budget towards `near` is used up.
async fn carry(mut near: TcpStream, mut far: TcpStream, mut budget: usize) {
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

fn client(address: SocketAddr) -> Builder {
    let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(1), ..Backoff::default() };
    Client::builder(format!("http://{address}")).backoff(backoff)
}

async fn connected(items: &mut Items) {
    loop {
        if let Some(Item::State(State::Connected(_))) = soon("a welcome", items.next()).await {
            return;
        }
    }
}

/// Reads logged events until so many have come: the numbers, by target.
async fn read(items: &mut Items, count: usize) -> BTreeMap<String, Vec<u64>> {
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        match soon("an event", items.next()).await.expect("the client goes on") {
            Item::Event(event) if event.seq.is_some() => {
                let root = event.to.target().unwrap().to_string();
                seen.entry(root).or_default().push(event.seq.unwrap().as_u64());
                left -= 1;
            }
            Item::Gap(gap) => panic!("{gap:?}"),
            Item::Refused(refused) => panic!("{refused:?}"),
            Item::Unreadable { error, text } => panic!("{error}: {text}"),
            Item::State(State::Closed { code, reason }) => panic!("{code} {reason}"),
            _ => {}
        }
    }
    seen
}

fn draft(kind: &str, to: &str, data: serde_json::Value) -> Draft {
    Draft::raw(kind, to.parse().unwrap(), &data).unwrap()
}

fn some_event(n: usize) -> Draft {
    match n % 5 {
        0 => draft("adw.text_block", "adw:29fb6a3e", json!({"adw_id": ADW, "content": format!("text {n}")})),
        1 => draft(
            "adw.agent_output_chunk",
            "adw:29fb6a3e",
            json!({"adw_id": ADW, "agent_role": "planner", "content": format!("{{\"n\":{n}}}"), "is_complete": true}),
        ),
        2 => draft("_test.note", "room:tasks", json!({"n": n})),
        3 => draft("adw.system_log", "global", json!({"level": "info", "message": format!("line {n}")})),
        _ => draft("_test.note", "session:ctx", json!({"n": n})),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_06_a_hundred_cuts_at_any_byte_lose_nothing_and_repeat_nothing() {
    const EVENTS: usize = 2_000;
    let hub = Hub::new();
    let (server, _serving) = serve(&hub).await;
    let publisher = Publisher::new(&format!("http://{server}"), None).unwrap();
    let (named, observing) = (Line::to(server, 7, 100).await, Line::to(server, 11, 100).await);

    // Who never was cut off, over a line that holds.
    let (handle, mut steady) =
        client(server).subscribe("adw:29fb6a3e").subscribe("room:tasks").subscribe("session:ctx").build().unwrap();
    connected(&mut steady).await;
    // Commands are answered in order: with the pong, the targets are subscribed.
    handle.ping().await.unwrap();
    // From the beginning, so that it does not matter how often the line breaks before the first subscription.
    let from_the_start = |targets: &[&str]| Checkpoint {
        epoch: None,
        positions: targets.iter().map(|to| (to.parse().unwrap(), Position::START)).collect(),
    };
    let targets = from_the_start(&["adw:29fb6a3e", "room:tasks", "global"]);
    let (_cut, mut cut_items) = client(named.address).resume(targets).build().unwrap();
    let targets = from_the_start(&["*", "adw:29fb6a3e", "global"]);
    let (_observer, mut observed) = client(observing.address).resume(targets).build().unwrap();
    let publishing = tokio::spawn(async move {
        let mut published: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for first in (0..EVENTS).step_by(10) {
            let drafts: Vec<Draft> = (first..first + 10).map(some_event).collect();
            for (n, outcome) in (first..).zip(publisher.publish_all(&drafts).await.unwrap()) {
                let root = ["adw:29fb6a3e", "adw:29fb6a3e", "room:tasks", "global", "session:ctx"][n % 5];
                published.entry(root.to_owned()).or_default().push(outcome.unwrap().seq.unwrap().as_u64());
            }
        }
        published
    });
    let (by_name, by_observing, by_staying) =
        tokio::join!(read(&mut cut_items, EVENTS / 5 * 4), read(&mut observed, EVENTS), read(&mut steady, EVENTS),);
    let published = soon("publishing", publishing).await.unwrap();
    assert_eq!(by_staying, published);
    assert_eq!(by_observing, published);
    for (root, seqs) in by_name {
        assert_eq!(seqs, published[&root], "{root}");
    }
    assert!(named.cuts() >= 50 && observing.cuts() >= 50, "{} and {} cuts", named.cuts(), observing.cuts());
}

#[tokio::test]
async fn log_05_another_history_is_told_and_read_from_its_beginning() {
    let first = Hub::new();
    let (server, serving) = serve(&first).await;
    let line = Line::to(server, 1, 0).await;
    let (_client, mut items) = client(line.address).subscribe("room:tasks").build().unwrap();
    connected(&mut items).await;
    let publisher = Publisher::new(&format!("http://{server}"), None).unwrap();
    publisher.publish(&some_event(2)).await.unwrap();
    read(&mut items, 1).await;

    // The server dies, and another one takes its address.
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    drop(first);
    let second = Hub::new();
    let listener = TcpListener::bind(server).await.unwrap();
    let socket = warp::path!("v1" / "ws").and(eventwire_websocket::filter(second.clone()));
    let routes = socket.or(eventwire_http::routes(&second));
    let principal = second.authenticate(&Default::default()).await.unwrap();
    let note = Publication::decode(r#"{"type":"_test.note","to":"room:tasks","data":{"n":"new"}}"#);
    second.publish(&principal, vec![note]).await.unwrap()[0].as_ref().unwrap();
    tokio::spawn(warp::serve(routes).incoming(listener).run());
    line.breaks.notify_one();
    let mut gaps = Vec::new();
    loop {
        match soon("the new history", items.next()).await.unwrap() {
            Item::Gap(gap) => gaps.push((gap.stream, gap.reason)),
            Item::Event(event) if event.seq.is_some() => {
                assert_eq!(event.seq.unwrap().as_u64(), 1);
                break;
            }
            _ => {}
        }
    }
    assert!(gaps.contains(&("room:tasks".to_owned(), GapReason::EpochChanged)), "{gaps:?}");
}

#[tokio::test]
async fn commands_at_run_time_work_against_a_real_server() {
    let hub = Hub::new();
    let (server, _serving) = serve(&hub).await;
    let (handle, mut items) = client(server).build().unwrap();
    connected(&mut items).await;
    // Answers come through the same socket as items: somebody has to read those.
    let reading = tokio::spawn(async move {
        let mut kinds = Vec::new();
        while let Some(item) = items.next().await {
            if let Item::Event(event) = item {
                kinds.push(event.kind);
            }
        }
        kinds
    });
    assert!(soon("a pong", handle.ping()).await.unwrap() < PATIENCE);
    let subscribed = handle.subscribe([("room:tasks", None), ("user:somebody", None)]).await.unwrap();
    assert_eq!((subscribed.streams.len(), subscribed.refused.len()), (1, 1));
    let publisher = Publisher::new(&format!("http://{server}"), None).unwrap();
    publisher.publish(&some_event(2)).await.unwrap();
    handle.ping().await.unwrap();
    handle.unsubscribe(["room:tasks"]).await.unwrap();
    publisher.publish(&some_event(2)).await.unwrap();
    handle.ping().await.unwrap();
    let checkpoint = handle.checkpoint().await.unwrap();
    assert!(checkpoint.epoch.is_some() && !checkpoint.positions.contains_key(&"room:tasks".parse().unwrap()));
    handle.close().await;
    assert_eq!(soon("the end", reading).await.unwrap(), ["_test.note"]);
}

#[tokio::test]
async fn a_refused_publication_says_why() {
    let hub = Hub::new();
    let (server, _serving) = serve(&hub).await;
    let publisher = Publisher::new(&format!("http://{server}"), None).unwrap();
    let drafts = [some_event(0), draft("adw.text_block", "global", json!({"adw_id": ADW, "content": "x"}))];
    let outcomes = publisher.publish_all(&drafts).await.unwrap();
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].as_ref().unwrap_err().code.as_str(), "audience_not_allowed");
    let error = publisher.publish(&drafts[1]).await.unwrap_err();
    assert!(error.to_string().contains("status 422"), "{error}");
}
