//! Agent runs, from transcripts on disk to clients that come and go.
//!
//! What must come out is counted by an independent script from the same files. The recorded runs are used where they are present,
//! else the sample of this repository; both go the whole way, through the real binary and real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::{Gateway, Socket, Source, get, note, publish, shared};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

/// Types whose older values may be replaced by newer ones before anybody saw them.
const LATEST: &str = "adw.agent_summary_update";
/// Type and number of the event behind everything else.
const FENCE: u64 = 4_242;

/// The runs to use: the recorded ones, or the sample.
fn runs() -> PathBuf {
    let sample = || Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
    shared().map_or_else(sample, |shared| shared.join("data/agents"))
}

/// What the runs must give rise to, per run, as the independent script counts it.
fn expected(root: &Path) -> BTreeMap<String, Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/scripts/expected_events.py");
    let counted =
        Command::new("python3").arg(script).arg(root).output().expect("python3 is needed: apt-get install python3");
    assert!(counted.status.success(), "{}", String::from_utf8_lossy(&counted.stderr));
    serde_json::from_slice(&counted.stdout).unwrap()
}

/// A copy of the runs, at a place where they are not looked for yet.
fn copied(root: &Path, to: &Path) {
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A gateway that waits for a root, and the runs beside it that will become the root.
struct Stage {
    gateway: Gateway,
    beside: PathBuf,
    root: PathBuf,
    expected: BTreeMap<String, Value>,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (beside, root) = (directory.path().join("beside"), directory.path().join("agents"));
        std::fs::create_dir(&beside).unwrap();
        copied(&runs(), &beside);
        let expected = expected(&beside);
        let gateway = Gateway::start(&["--agents", root.to_str().unwrap(), "--from-start"]);
        assert!(gateway.start_block.contains("waiting for it to appear"), "{}", gateway.start_block);
        Self { gateway, beside, root, expected, _directory: directory }
    }

    /// The curtain goes up.
    fn begin(&self) {
        std::fs::rename(&self.beside, &self.root).unwrap();
    }

    fn roots(&self) -> Vec<String> {
        self.expected.keys().map(|adw_id| format!("adw:{adw_id}")).collect()
    }

    /// How many logged events there must be, over all runs.
    fn logged(&self) -> u64 {
        let of_run = |run: &Value| {
            let events = run["events"].as_object().unwrap();
            events.iter().filter(|(kind, _)| *kind != LATEST).map(|(_, count)| count.as_u64().unwrap()).sum::<u64>()
        };
        self.expected.values().map(of_run).sum()
    }

    /// Publishes an event behind everything else of every run.
    async fn fence(&self) {
        for root in self.roots() {
            publish(&self.gateway, note(&root, FENCE)).await;
        }
    }
}

fn is_fence(event: &Value) -> bool {
    event["type"] == "_test.note" && event["data"]["number"] == FENCE
}

fn is_of_connection(event: &Value) -> bool {
    event["type"].as_str().unwrap().starts_with("connection.")
}

/// The run that an event belongs to, whatever part of it.
fn root_of(event: &Value) -> String {
    event["to"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_run_gives_rise_to_exactly_what_an_independent_count_says() {
    let stage = Stage::new();
    let (mut watcher, _) = Socket::connect(&stage.gateway, "").await;
    watcher.subscribe(&["*"]).await;
    let only = stage.roots().pop().unwrap();
    let (mut neighbor, _) = Socket::connect(&stage.gateway, "").await;
    neighbor.subscribe(&[&only]).await;
    stage.begin();

    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut output: BTreeMap<(String, String), Vec<u8>> = BTreeMap::new();
    let (mut logged, mut fences) = (0, 0);
    while fences < stage.expected.len() {
        let event = watcher.event().await;
        if is_fence(&event) {
            fences += 1;
            continue;
        }
        if is_of_connection(&event) {
            continue;
        }
        let kind = event["type"].as_str().unwrap();
        let data = &event["data"];
        let adw_id = data["adw_id"].as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        assert_eq!(root_of(&event), format!("adw:{adw_id}"));
        if kind == "adw.agent_output_chunk" {
            assert!(event["to"].as_str().unwrap().ends_with("/raw"), "{event}");
            let bytes = output.entry((adw_id.clone(), data["agent_role"].as_str().unwrap().to_owned())).or_default();
            let content = data["content"].as_str().unwrap().as_bytes();
            assert!(content.len() <= 32 * 1024, "a chunk of {} bytes", content.len());
            bytes.extend_from_slice(content);
            if data["is_complete"] == true {
                bytes.push(b'\n');
            }
        }
        *counts.entry(adw_id).or_default().entry(kind.to_owned()).or_default() += 1;
        if kind != LATEST {
            logged += 1;
            assert!(event["seq"].is_u64(), "{event}");
            if logged == stage.logged() {
                stage.fence().await;
            }
        }
    }

    for (adw_id, run) in &stage.expected {
        let mut expected: BTreeMap<String, u64> = serde_json::from_value(run["events"].clone()).unwrap();
        let mut seen = counts.remove(adw_id).unwrap_or_default();
        let (most, came) = (expected.remove(LATEST).unwrap_or(0), seen.remove(LATEST).unwrap_or(0));
        assert!(came <= most && (came > 0 || most == 0), "{adw_id}: {came} of {most} {LATEST}");
        assert_eq!(seen, expected, "{adw_id}");
        for (role, transcript) in run["roles"].as_object().unwrap() {
            let bytes = output.remove(&(adw_id.clone(), role.clone())).unwrap_or_default();
            assert_eq!(bytes.len() as u64, transcript["complete_bytes"], "{adw_id}/{role}");
            let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!(digest, transcript["complete_sha256"], "{adw_id}/{role}");
        }
    }
    assert!(counts.is_empty() && output.is_empty(), "runs or roles that are not there: {counts:?}");

    // Nobody read it until now: some of it comes from the history, and that is said.
    let mut seen = neighbor.events_until(is_fence).await;
    seen.retain(|event| !is_of_connection(event));
    assert!(seen.len() > 1);
    for event in seen {
        assert_eq!(root_of(&event), only, "{event}");
    }
}

/// The logged events of each root, as one client put them together.
type Story = BTreeMap<String, Vec<(u64, u64, String, String)>>;

#[derive(Default)]
struct Reader {
    story: Story,
    events: usize,
    fences: usize,
}

impl Reader {
    /// Takes an event; what is not logged is passed over.
    fn take(&mut self, event: &Value) {
        let Some(seq) = event["seq"].as_u64() else {
            let kind = event["type"].as_str().unwrap();
            assert!(kind != "connection.gap" && kind != "connection.error", "{event}");
            return;
        };
        let digest = Sha256::digest(event["data"].to_string().as_bytes());
        let digest = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let prev = event["prev"].as_u64().unwrap();
        let row = (seq, prev, event["type"].as_str().unwrap().to_owned(), digest);
        self.story.entry(root_of(event)).or_default().push(row);
        self.events += 1;
        self.fences += usize::from(is_fence(event));
    }

    fn position(&self, root: &str) -> u64 {
        self.story.get(root).and_then(|events| events.last()).map_or(0, |(seq, ..)| *seq)
    }
}

/// Reads over WebSocket to the last fence, cut off without a word after each of these counts of events.
async fn read_websocket(gateway: Arc<Stage>, cuts: Vec<usize>) -> Story {
    let mut cuts = cuts.into_iter();
    let mut reader = Reader::default();
    let mut epoch = None;
    loop {
        let (mut socket, welcome) = Socket::connect(&gateway.gateway, "").await;
        let present = welcome["data"]["epoch"].clone();
        assert_eq!(*epoch.get_or_insert_with(|| present.clone()), present);
        let streams = gateway
            .roots()
            .into_iter()
            .map(|root| json!({"since": reader.position(&root), "to": root}))
            .collect::<Vec<_>>();
        socket.send_text(json!({"type": "subscribe", "data": {"epoch": epoch, "streams": streams}}).to_string()).await;
        let cut = cuts.next().unwrap_or(usize::MAX);
        while reader.events < cut {
            reader.take(&socket.event().await);
            if reader.fences == gateway.expected.len() {
                return reader.story;
            }
        }
    }
}

/// The same over server-sent events; the cursor is what `EventSource` would send.
async fn read_sse(gateway: Arc<Stage>, cuts: Vec<usize>) -> Story {
    let mut cuts = cuts.into_iter();
    let mut reader = Reader::default();
    let query = format!("?adw={}", gateway.expected.keys().cloned().collect::<Vec<_>>().join(","));
    let mut cursor: Option<String> = None;
    loop {
        let mut source = Source::open(&gateway.gateway, &query, cursor.as_deref()).await;
        let cut = cuts.next().unwrap_or(usize::MAX);
        while reader.events < cut {
            let event = source.next().await.expect("the stream goes on");
            reader.take(&event);
            if reader.fences == gateway.expected.len() {
                return reader.story;
            }
        }
        cursor = source.cursor.take();
    }
}

/// Numbers that look random, the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_06_a_client_that_is_cut_off_ends_with_the_same_sequence_as_one_that_stayed() {
    let long = std::env::var_os("EVENTWIRE_LONG").is_some_and(|value| value == "1");
    let (clients, cuts_each) = if long { (20, 50) } else { (10, 10) };
    let stage = Arc::new(Stage::new());
    let total = usize::try_from(stage.logged()).unwrap();
    let seed = if long { u64::from(std::process::id()) << 20 | 1 } else { 0x9e37_79b9_7f4a_7c15 };
    println!("seed {seed:#x}, {clients} clients of each kind, {cuts_each} cuts each, {total} events");
    let mut random = Random(seed);

    let stayed = tokio::spawn(read_websocket(Arc::clone(&stage), Vec::new()));
    let mut returned = JoinSet::new();
    for client in 0..2 * clients {
        let mut cuts = (0..cuts_each).map(|_| random.below(total)).collect::<Vec<_>>();
        cuts.sort_unstable();
        let stage = Arc::clone(&stage);
        if client % 2 == 0 {
            returned.spawn(async move { ("websocket", cuts.clone(), read_websocket(stage, cuts).await) });
        } else {
            returned.spawn(async move { ("sse", cuts.clone(), read_sse(stage, cuts).await) });
        }
    }
    // Everybody who listens from now on must be there before the first event: they are all connected when they are counted.
    let here = 2 * clients + 1;
    let connected = async { while get(&stage.gateway, "/health").await.json()["active_connections"] != here {} };
    common::soon("all clients", connected).await;
    stage.begin();
    let (mut counter, _) = Socket::connect(&stage.gateway, "").await;
    let streams = stage.roots().into_iter().map(|root| json!({"to": root, "since": 0})).collect::<Vec<_>>();
    counter.send_text(json!({"type": "subscribe", "data": {"streams": streams}}).to_string()).await;
    for _ in 0..stage.logged() {
        while counter.event().await["seq"].is_null() {}
    }
    stage.fence().await;

    let expected = stayed.await.unwrap();
    assert_eq!(expected.len(), stage.expected.len());
    for (root, events) in &expected {
        // What stayed is itself in order and without holes, per stream of the run.
        assert!(events.windows(2).all(|pair| pair[0].0 < pair[1].0), "{root}");
    }
    while let Some(returned) = returned.join_next().await {
        let (transport, cuts, story) = returned.unwrap();
        for (root, events) in &expected {
            let theirs = story.get(root).map(Vec::as_slice).unwrap_or_default();
            let first = events.iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
            assert_eq!(first, None, "{transport} cut at {cuts:?}: {root} differs");
            assert_eq!(theirs.len(), events.len(), "{transport} cut at {cuts:?}: {root}");
        }
    }
}

#[tokio::test]
async fn the_sample_run_plays_when_nothing_is_configured() {
    let gateway = Gateway::start_as(&["serve", "--listen", "0", "--replay", "500"]);
    assert!(gateway.start_block.contains("sample run demo0001"), "{}", gateway.start_block);
    let (mut socket, _) = Socket::connect(&gateway, "").await;
    let subscribe = json!({"type": "subscribe", "data": {"streams": [{"to": "*", "since": 0}]}});
    socket.send_text(subscribe.to_string()).await;
    let mut phases = Vec::new();
    while phases.last() != Some(&json!("document")) {
        let event = socket.event().await;
        if event["type"] == "adw.workflow_phase_transition" {
            assert_eq!(event["to"], "adw:demo0001");
            phases.push(event["data"]["phase_to"].clone());
        }
    }
    // Whatever else the state file tells, the five come in this order.
    let order = ["plan", "build", "test", "review", "document"];
    let mut rest = phases.iter();
    assert!(order.iter().all(|phase| rest.any(|seen| seen == phase)), "{phases:?}");

    let listed = get(&gateway, "/v1/agents").await.json();
    assert_eq!(listed["agents"][0]["adw_id"], "demo0001", "{listed}");
    let state = get(&gateway, "/v1/agents/demo0001").await.json();
    assert_eq!(state["state"]["adw_id"], "demo0001", "{state}");
}
