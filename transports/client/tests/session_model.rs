//! The session against a model server: whatever is published, lost, repeated, cut off and restarted, and whatever carries it
//! the next time, the application gets every event of its targets once and in order, or is told what is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use eventwire_client::{
    Transport,
    session::{Checkpoint, GapReason, Item, Output, Session, SseRequest},
};
use eventwire_protocol::address::Target;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Streams that exist, with their targets. The last one nobody has to ask for: it is live from the welcome on, before any
/// command can say where to begin.
const STREAMS: [(&str, &str); 4] = [
    ("adw:aaaaaaaa", "adw:aaaaaaaa"),
    ("adw:aaaaaaaa/raw", "adw:aaaaaaaa"),
    ("room:tasks", "room:tasks"),
    ("global", "global"),
];

#[derive(Clone, Debug)]
enum Op {
    Publish(usize),
    /// So many frames reach the client.
    Deliver(usize),
    /// The connection is cut; what was under way is gone.
    Cut,
    Connect(Transport),
    /// The server forgets everything and begins a new history.
    Restart,
    /// The application wants `room:tasks` no more, and at once again, from now on. Over an event stream it does not.
    Anew,
    /// One frame under way is sent twice.
    Repeat(usize),
    /// One frame under way vanishes, which no transport should do.
    Vanish(usize),
}

#[derive(Default)]
struct Server {
    epoch: u64,
    /// seq, stream, prev.
    log: Vec<(u64, usize, u64)>,
    targets: BTreeSet<String>,
    wire: VecDeque<Sent>,
    /// On an event stream: up to where each target was put on the wire.
    at: Option<BTreeMap<&'static str, u64>>,
}

/// What is under way: a frame, on an event stream with the cursor in its block; or a block with nothing but a cursor.
#[derive(Clone)]
struct Sent {
    id: Option<String>,
    frame: Option<Value>,
}

const ROOTS: [&str; 3] = ["adw:aaaaaaaa", "room:tasks", "global"];

impl Server {
    fn head(&self, target: &str) -> u64 {
        self.log.iter().filter(|(_, stream, _)| STREAMS[*stream].1 == target).map(|(seq, ..)| *seq).max().unwrap_or(0)
    }

    fn connection(&mut self, kind: &str, data: Value) {
        let frame = json!({"type": format!("connection.{kind}"), "time": "2026-11-20T23:40:01Z", "to": "connection:c0000000000000001", "data": data});
        self.wire.push_back(Sent { id: None, frame: Some(frame) });
    }

    /// Where an event stream stands, as text.
    fn cursor(&self) -> Option<String> {
        let at = self.at.as_ref()?;
        let low = at.values().min().unwrap();
        let others = at
            .iter()
            .filter(|(_, position)| *position != low)
            .map(|(target, position)| format!(",{target}={position}"));
        Some(format!("{:016x}-{low}{}", self.epoch, others.collect::<String>()))
    }

    fn send(&mut self, (seq, stream, prev): (u64, usize, u64), live: bool) {
        if let Some(at) = &mut self.at {
            // What is live has everything before it.
            at.iter_mut()
                .filter(|(target, _)| live || **target == STREAMS[stream].1)
                .for_each(|(_, position)| *position = seq);
        }
        let id = self.cursor();
        let frame = json!({"type": "_model.event", "time": "2026-11-20T23:40:01Z", "to": STREAMS[stream].0, "seq": seq, "prev": prev, "data": {}});
        self.wire.push_back(Sent { id, frame: Some(frame) });
    }

    fn publish(&mut self, stream: usize) {
        let seq = self.log.last().map_or(0, |(seq, ..)| *seq) + 1;
        let prev = self.log.iter().rev().find(|(_, of, _)| *of == stream).map_or(0, |(seq, ..)| *seq);
        self.log.push((seq, stream, prev));
        if self.targets.contains(STREAMS[stream].1) {
            self.send((seq, stream, prev), true);
        }
    }

    fn welcome(&mut self) {
        self.targets.insert("global".to_owned());
        let epoch = format!("{:016x}", self.epoch);
        self.connection("welcome", json!({"connection_id": "c0000000000000001", "protocol": "v1", "epoch": epoch, "server": "model", "server_time": "2026-11-20T23:40:01Z", "permissions": [], "heartbeat_interval_ms": 30000,
            "limits": {"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 32, "command_burst": 64}}));
    }

    fn command(&mut self, command: &Value) {
        if command["type"] == "unsubscribe" {
            for stream in command["data"]["streams"].as_array().unwrap() {
                self.targets.remove(stream["to"].as_str().unwrap());
            }
            self.connection("unsubscribed", json!({"re": command["id"], "streams": command["data"]["streams"]}));
            return;
        }
        assert_eq!(command["type"], "subscribe");
        let streams = command["data"]["streams"].as_array().unwrap();
        let epoch = format!("{:016x}", self.epoch);
        let accepted: Vec<Value> = streams
            .iter()
            .map(|stream| json!({"to": stream["to"], "head": self.head(stream["to"].as_str().unwrap())}))
            .collect();
        self.connection("subscribed", json!({"re": command["id"], "epoch": epoch, "streams": accepted, "refused": []}));
        for stream in streams {
            let to = stream["to"].as_str().unwrap().to_owned();
            self.targets.insert(to.clone());
            let Some(since) = stream["since"].as_u64() else { continue };
            assert!(since == 0 || command["data"]["epoch"] == epoch.as_str(), "a position of another history");
            self.replay(&to, since);
        }
    }

    fn replay(&mut self, to: &str, since: u64) {
        let missed: Vec<_> =
            self.log.iter().filter(|(seq, stream, _)| *seq > since && STREAMS[*stream].1 == to).copied().collect();
        self.connection("replaying", json!({"stream": to, "from": since}));
        for frame in &missed {
            self.send(*frame, false);
        }
        self.connection("recovered", json!({"stream": to, "recovered": missed.len(), "upto": self.head(to)}));
    }

    /// Opens an event stream: the cursor first, then everything in order, nothing live before its replay.
    fn open(&mut self, request: &SseRequest) {
        assert_eq!(request.query, "to=adw:aaaaaaaa,room:tasks");
        let head = self.log.last().map_or(0, |(seq, ..)| *seq);
        let given = request.last_event_id.as_deref().map(|id| {
            let (epoch, rest) = id.split_once('-').unwrap();
            let mut parts = rest.split(',');
            let low: u64 = parts.next().unwrap().parse().unwrap();
            let mut at: BTreeMap<&str, u64> = ROOTS.into_iter().map(|target| (target, low)).collect();
            for part in parts {
                let (target, position) = part.split_once('=').unwrap();
                assert!(
                    at.insert(ROOTS.into_iter().find(|known| *known == target).unwrap(), position.parse().unwrap())
                        .is_some()
                );
            }
            (u64::from_str_radix(epoch, 16).unwrap(), at)
        });
        let first = request.last_event_id.clone().unwrap_or_else(|| format!("{:016x}-{head}", self.epoch));
        self.wire.push_back(Sent { id: Some(first), frame: None });
        self.welcome();
        self.targets = ROOTS.map(str::to_owned).into();
        let streams: Vec<Value> =
            ["adw:aaaaaaaa", "room:tasks"].iter().map(|to| json!({"to": to, "head": self.head(to)})).collect();
        let epoch = format!("{:016x}", self.epoch);
        self.connection("subscribed", json!({"epoch": epoch, "streams": streams, "refused": []}));
        let Some((epoch, at)) = given else {
            self.at = Some(ROOTS.into_iter().map(|target| (target, head)).collect());
            return;
        };
        let of_this_history = epoch == self.epoch;
        self.at =
            Some(ROOTS.into_iter().map(|target| (target, if of_this_history { at[target] } else { 0 })).collect());
        for target in ROOTS {
            if !of_this_history && at[target] > 0 {
                self.connection("gap", json!({"stream": target, "reason": "epoch_changed"}));
            }
            self.replay(target, if of_this_history { at[target] } else { 0 });
            self.at.as_mut().unwrap().insert(target, head);
        }
    }

    fn cut(&mut self) {
        self.targets.clear();
        self.wire.clear();
        self.at = None;
    }
}

/// What the application saw of one history.
#[derive(Default)]
struct Seen {
    /// By stream.
    events: BTreeMap<String, Vec<u64>>,
    /// By target, in the order of arrival.
    order: BTreeMap<String, Vec<u64>>,
    holes: Vec<(String, u64, u64)>,
}

struct World {
    server: Server,
    session: Session,
    connected: bool,
    /// By epoch.
    seen: BTreeMap<u64, Seen>,
    /// By epoch and target: the head at which the client came in.
    from: BTreeMap<(u64, String), u64>,
    /// Histories as they were when they ended.
    ended: BTreeMap<u64, Vec<(u64, usize, u64)>>,
    epoch_gaps: BTreeMap<(u64, String), usize>,
    /// What was wanted anew and is not answered yet: where it begins is said by the answer. With the last command about it.
    anew: Option<Value>,
    /// Histories in which something was wanted anew.
    fickle: BTreeSet<u64>,
}

impl World {
    fn new() -> Self {
        let targets = ["adw:aaaaaaaa", "room:tasks"].map(|to| to.parse().unwrap());
        World {
            server: Server { epoch: 1, ..Server::default() },
            session: Session::new(targets, Checkpoint::default()),
            connected: false,
            seen: BTreeMap::new(),
            from: BTreeMap::new(),
            ended: BTreeMap::new(),
            epoch_gaps: BTreeMap::new(),
            anew: None,
            fickle: BTreeSet::new(),
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Publish(stream) => self.server.publish(*stream),
            Op::Deliver(count) => (0..*count).for_each(|_| self.deliver()),
            Op::Cut => self.cut(),
            Op::Connect(over) if !self.connected => {
                self.connected = true;
                match over {
                    Transport::WebSocket => {
                        self.session.over_websocket();
                        self.server.welcome();
                    }
                    Transport::Sse => {
                        let request = self.session.over_sse();
                        if let Some(id) = &request.last_event_id {
                            self.came_in(id);
                        }
                        self.server.open(&request);
                    }
                }
            }
            Op::Connect(_) => {}
            Op::Anew => {
                if self.connected && self.session.is_connected() && self.session.over() == Transport::WebSocket {
                    let tasks: Target = "room:tasks".parse().unwrap();
                    let mut outputs = Vec::new();
                    self.session.unsubscribe(vec![tasks.clone()], &mut outputs);
                    self.session.subscribe(vec![(tasks, None)], &mut outputs);
                    self.anew = Some(Value::Null);
                    self.fickle.insert(self.server.epoch);
                    self.forget_tasks();
                    self.obey(outputs);
                }
            }
            Op::Restart => {
                self.cut();
                self.ended.insert(self.server.epoch, std::mem::take(&mut self.server.log));
                self.server.epoch += 1;
            }
            Op::Repeat(index) => {
                if let Some(frame) = self.event_under_way(*index) {
                    let copy = self.server.wire[frame].clone();
                    self.server.wire.insert(frame, copy);
                }
            }
            Op::Vanish(index) => {
                if let Some(frame) = self.event_under_way(*index) {
                    self.server.wire.remove(frame);
                }
            }
        }
    }

    fn event_under_way(&self, index: usize) -> Option<usize> {
        let events: Vec<usize> = self
            .server
            .wire
            .iter()
            .enumerate()
            .filter(|(_, sent)| sent.frame.as_ref().is_some_and(|frame| frame.get("seq").is_some()))
            .map(|(at, _)| at)
            .collect();
        (!events.is_empty()).then(|| events[index % events.len()])
    }

    fn cut(&mut self) {
        if self.connected {
            self.connected = false;
            self.server.cut();
            self.session.disconnected(&mut Vec::new());
        }
    }

    fn deliver(&mut self) {
        let Some(Sent { id, frame }) = self.server.wire.pop_front() else { return };
        let Some(frame) = frame else {
            let id = id.unwrap();
            self.came_in(&id);
            self.session.passed(&id);
            return;
        };
        if frame["type"] == "connection.subscribed" {
            for stream in frame["data"]["streams"].as_array().unwrap() {
                let to = stream["to"].as_str().unwrap().to_owned();
                // Who comes for the first time gets what follows; who was here before gets all of a later history.
                let came_before = self.from.keys().any(|(_, of)| *of == to);
                let head = stream["head"].as_u64().unwrap();
                if to == "room:tasks" && self.anew.as_ref().is_some_and(|id| *id == frame["data"]["re"]) {
                    self.anew = None;
                    self.from.insert((self.server.epoch, to), head);
                    continue;
                }
                let from = if came_before { 0 } else { head };
                self.from.entry((self.server.epoch, to)).or_insert(from);
            }
        }
        if frame["to"] == "global" && !self.from.keys().any(|(_, of)| of == "global") {
            // Live before the first answer: the client came in here.
            self.from.insert((self.server.epoch, "global".to_owned()), frame["seq"].as_u64().unwrap() - 1);
        }
        if frame["type"] == "connection.unsubscribed" {
            self.forget_tasks();
        }
        let mut outputs = Vec::new();
        self.session.receive(&frame.to_string(), &mut outputs);
        if let Some(id) = id {
            self.session.passed(&id);
        }
        self.obey(outputs);
    }

    /// What came of a subscription that was given up may come once more with the next.
    fn forget_tasks(&mut self) {
        if let Some(seen) = self.seen.get_mut(&self.server.epoch) {
            seen.order.remove("room:tasks");
        }
    }

    fn obey(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(text) => {
                    let command: Value = serde_json::from_str(&text).unwrap();
                    let names = |stream: &Value| stream["to"] == "room:tasks";
                    if self.anew.is_some() && command["data"]["streams"].as_array().unwrap().iter().any(names) {
                        self.anew = Some(command["id"].clone());
                    }
                    self.server.command(&command);
                }
                Output::Item(Item::Event(event)) => {
                    let Some(seq) = event.seq else { continue };
                    let seen = self.seen.entry(self.server.epoch).or_default();
                    seen.events.entry(event.to.to_string()).or_default().push(seq.as_u64());
                    seen.order.entry(event.to.target().unwrap().to_string()).or_default().push(seq.as_u64());
                }
                Output::Item(Item::Gap(gap)) if gap.reason == GapReason::EpochChanged => {
                    *self.epoch_gaps.entry((self.server.epoch, gap.stream)).or_default() += 1;
                }
                Output::Item(Item::Gap(gap)) => {
                    assert_eq!(gap.reason, GapReason::Hole);
                    let hole = (gap.stream, gap.from_seq.unwrap().as_u64(), gap.to_seq.unwrap().as_u64());
                    self.seen.entry(self.server.epoch).or_default().holes.push(hole);
                }
                _ => {}
            }
        }
    }

    /// What an event stream is opened with, and what its first block says, is where the client comes in that was never here.
    fn came_in(&mut self, id: &str) {
        let (epoch, rest) = id.split_once('-').unwrap();
        let of_this_history = u64::from_str_radix(epoch, 16).unwrap() == self.server.epoch;
        let positions: Vec<&str> = rest.split(',').collect();
        for target in ROOTS {
            let named = positions.iter().find_map(|part| part.strip_prefix(target)?.strip_prefix('='));
            let position = named.unwrap_or(positions[0]).parse().unwrap();
            let came_before = self.from.keys().any(|(_, of)| *of == target);
            if target == "room:tasks" && self.anew.take().is_some() {
                self.from.insert((self.server.epoch, target.to_owned()), if of_this_history { position } else { 0 });
                continue;
            }
            let from = if came_before || !of_this_history { 0 } else { position };
            self.from.entry((self.server.epoch, target.to_owned())).or_insert(from);
        }
    }

    fn finish(&mut self, over: Transport) {
        self.step(&Op::Connect(over));
        while !self.server.wire.is_empty() {
            self.deliver();
        }
        self.ended.insert(self.server.epoch, std::mem::take(&mut self.server.log));
    }

    fn published(&self, epoch: u64, target: &str) -> Vec<u64> {
        let from = self.from.get(&(epoch, target.to_owned())).copied().unwrap_or(u64::MAX);
        let log = self.ended.get(&epoch).into_iter().flatten();
        log.filter(|(seq, stream, _)| STREAMS[*stream].1 == target && *seq > from).map(|(seq, ..)| *seq).collect()
    }
}

fn over() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::WebSocket), Just(Transport::Sse)]
}

fn honest() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..STREAMS.len()).prop_map(Op::Publish),
        6 => (1usize..12).prop_map(Op::Deliver),
        2 => Just(Op::Cut),
        3 => over().prop_map(Op::Connect),
        1 => Just(Op::Restart),
        2 => any::<usize>().prop_map(Op::Repeat),
        1 => Just(Op::Anew),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_event_comes_once_and_in_order_over_any_number_of_connections(
        ops in prop::collection::vec(honest(), 1..120), last in over(),
    ) {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
        }
        world.finish(last);
        let latest = world.server.epoch;
        for epoch in 1..=latest {
            for target in ["adw:aaaaaaaa", "room:tasks", "global"] {
                let seen = world.seen.get(&epoch).and_then(|seen| seen.order.get(target)).cloned().unwrap_or_default();
                let published = world.published(epoch, target);
                // What still came of a subscription that was given up is not owed.
                let from = world.from.get(&(epoch, target.to_owned())).copied().unwrap_or(0);
                let seen: Vec<u64> = seen.into_iter().filter(|seq| *seq > from).collect();
                if epoch == latest {
                    prop_assert_eq!(&seen, &published, "{} in history {}", target, epoch);
                } else if target != "room:tasks" || !world.fickle.contains(&epoch) {
                    // A history that ended took its tail with it; the next one began with a gap.
                    prop_assert!(published.starts_with(&seen), "{} in history {}: {:?} of {:?}", target, epoch, seen, published);
                }
            }
            prop_assert!(world.seen.get(&epoch).is_none_or(|seen| seen.holes.is_empty()));
        }
        prop_assert!(world.epoch_gaps.values().all(|count| *count == 1), "{:?}", world.epoch_gaps);
    }

    #[test]
    fn what_vanishes_between_two_events_of_a_stream_is_reported(
        ops in prop::collection::vec(prop_oneof![4 => honest(), 1 => any::<usize>().prop_map(Op::Vanish)], 1..120), last in over(),
    ) {
        let mut world = World::new();
        for op in ops.iter().filter(|op| !matches!(op, Op::Restart | Op::Anew)) {
            world.step(op);
        }
        world.finish(last);
        let Some(seen) = world.seen.get(&1) else { return Ok(()) };
        for (index, (stream, _)) in STREAMS.iter().enumerate() {
            let events = seen.events.get(*stream).cloned().unwrap_or_default();
            prop_assert!(events.is_sorted_by(|a, b| a < b), "{}: {:?}", stream, events);
            let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
            let missing = world.ended[&1]
                .iter()
                .filter(|(seq, of, _)| *of == index && (first..last).contains(&seq) && !events.contains(seq));
            for (seq, ..) in missing {
                let reported = seen.holes.iter().any(|(of, from, to)| of == stream && (from..=to).contains(&seq));
                prop_assert!(reported, "{} of {} is missing: saw {:?}, holes {:?}", seq, stream, events, seen.holes);
            }
            for (of, from, to) in seen.holes.iter().filter(|(of, ..)| of == stream) {
                prop_assert!(!events.iter().any(|seq| (from..=to).contains(&seq)), "{} has no hole {}..{}", of, from, to);
            }
        }
    }
}
