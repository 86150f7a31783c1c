//! What the tests of this crate share: a sink in memory, and short ways to say what is expected.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its own part of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use eventwire_agents::{
    AgentEvent, AgentsSource, Checkpoint, CheckpointKey, CheckpointValue, RoleName, Sink, SinkError,
    transcript::{Output, Transcript},
};
use eventwire_protocol::{event::adw::AgentOutputChunk, id::AdwId};
use tokio::{sync::watch, task::JoinHandle};

pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn adw_id() -> AdwId {
    "29fb6a3e".parse().unwrap()
}

pub fn role(name: &str) -> RoleName {
    name.parse().unwrap()
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where the shared data is, when this machine has it.
pub fn shared_data() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("EVENTWIRE_SHARED").map_or_else(|| workspace.join("../shared"), PathBuf::from);
    let data = shared.join("data");
    data.join("agents").is_dir().then_some(data)
}

/// All outputs of a transcript that is read in one piece.
pub fn read(bytes: &[u8]) -> Vec<Output> {
    let mut outputs = Vec::new();
    Transcript::new(adw_id(), &role("planner")).push(bytes, &mut outputs);
    outputs
}

/// The events among all outputs of a transcript that is read in one piece.
pub fn events(bytes: &[u8]) -> Vec<AgentEvent> {
    read(bytes)
        .into_iter()
        .filter_map(|output| match output {
            Output::Event(event) => Some(event),
            Output::RoleStarted => None,
        })
        .collect()
}

/// Of some events those of one kind.
#[macro_export]
macro_rules! of_kind {
    ($events:expr, $kind:ident) => {
        $events
            .iter()
            .filter_map(|event| match event {
                eventwire_agents::AgentEvent::$kind(payload) => Some(payload),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}

/// The types of events without their family, without the raw output.
pub fn types(events: &[AgentEvent]) -> Vec<&'static str> {
    events
        .iter()
        .map(|event| event.event_type().strip_prefix("adw.").unwrap())
        .filter(|name| *name != "agent_output_chunk")
        .collect()
}

/// The exact bytes of a chunk.
pub fn chunk_bytes(chunk: &AgentOutputChunk) -> Vec<u8> {
    match &chunk.content_base64 {
        Some(exact) => BASE64_STANDARD.decode(exact).unwrap(),
        None => chunk.content.as_bytes().to_vec(),
    }
}

/// The bytes that chunks stand for. Checks on the way that offsets and line numbers are what they claim to be.
pub fn reassembled(chunks: &[&AgentOutputChunk]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut line = 1;
    for chunk in chunks {
        assert_eq!(chunk.offset_bytes, Some(bytes.len() as u64));
        assert_eq!(chunk.line_number, Some(line));
        bytes.extend(chunk_bytes(chunk));
        if chunk.is_complete {
            bytes.push(b'\n');
            line += 1;
        }
    }
    bytes
}

/// What a sink in memory has, the one moment after a batch.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub events: Vec<AgentEvent>,
    pub checkpoints: BTreeMap<CheckpointKey, String>,
    pub batches: Vec<usize>,
    /// How many sources have caught up.
    pub caught_up: usize,
}

/// How a sink in memory misbehaves.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// This many batches are turned away for now.
    pub unavailable: usize,
    /// Batches with an event that contains this are refused.
    pub refused: Option<String>,
    /// After this many events the sink closes.
    pub closes_after: Option<usize>,
}

/// A sink in memory: events and checkpoints are stored together.
#[derive(Clone)]
pub struct MemorySink {
    stored: Arc<watch::Sender<Stored>>,
    faults: Arc<Mutex<Faults>>,
}

impl MemorySink {
    pub fn new() -> Self {
        Self { stored: Arc::new(watch::Sender::new(Stored::default())), faults: Arc::default() }
    }

    pub fn with_faults(faults: Faults) -> Self {
        let sink = Self::new();
        *sink.faults.lock().unwrap() = faults;
        sink
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    pub fn stored(&self) -> Stored {
        self.stored.borrow().clone()
    }

    pub fn events(&self) -> Vec<AgentEvent> {
        self.stored.borrow().events.clone()
    }

    /// Waits until what is stored is as wanted, within a bound.
    pub async fn until(&self, what: &str, mut wanted: impl FnMut(&Stored) -> bool) -> Stored {
        let mut receiver = self.stored.subscribe();
        let stored = tokio::time::timeout(DEADLINE, receiver.wait_for(|stored| wanted(stored))).await;
        match stored {
            Ok(stored) => stored.unwrap().clone(),
            Err(_) => panic!("waited in vain for {what}; there is {:#?}", summary(&self.stored())),
        }
    }

    /// Waits until there are events of these types, in this order, raw output aside; panics when there are others.
    pub async fn until_types(&self, expected: &[&str]) -> Stored {
        let stored = self.until(&format!("{expected:?}"), |stored| types(&stored.events).len() >= expected.len()).await;
        assert_eq!(types(&stored.events), expected);
        stored
    }

    /// Runs a source into this sink until the guard is dropped.
    pub fn run(&self, source: AgentsSource) -> Running {
        let sink = self.clone();
        Running(tokio::spawn(async move { source.run(sink).await.unwrap() }))
    }

    /// As [`MemorySink::run`]; returns when the source has dealt with all that is there.
    pub async fn run_until_caught_up(&self, source: AgentsSource) -> Running {
        let before = self.stored().caught_up;
        let running = self.run(source);
        self.until("the source to catch up", |stored| stored.caught_up > before).await;
        running
    }
}

fn summary(stored: &Stored) -> Vec<String> {
    stored
        .events
        .iter()
        .map(|event| format!("{} {}", event.event_type(), serde_json::to_string(event).unwrap()))
        .collect()
}

#[async_trait]
impl Sink for MemorySink {
    async fn publish_batch(&self, events: &[AgentEvent], checkpoint: &Checkpoint) -> Result<(), SinkError> {
        {
            let mut faults = self.faults.lock().unwrap();
            if faults.unavailable > 0 {
                faults.unavailable -= 1;
                return Err(SinkError::Unavailable("not now".to_owned()));
            }
            if let Some(word) = &faults.refused
                && events.iter().any(|event| serde_json::to_string(event).unwrap().contains(word.as_str()))
            {
                return Err(SinkError::Refused("it says the word".to_owned()));
            }
            if faults.closes_after.is_some_and(|after| self.stored.borrow().events.len() >= after) {
                return Err(SinkError::Closed);
            }
        }
        let keys: BTreeSet<_> = checkpoint.entries.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), checkpoint.entries.len(), "a key stands twice in a checkpoint");
        self.stored.send_modify(|stored| {
            stored.events.extend_from_slice(events);
            stored.batches.push(events.len());
            for (key, value) in &checkpoint.entries {
                stored.checkpoints.insert(key.clone(), serde_json::to_string(value).unwrap());
            }
        });
        Ok(())
    }

    async fn load_checkpoint(&self, key: &CheckpointKey) -> Result<Option<CheckpointValue>, SinkError> {
        let stored = self.stored.borrow().checkpoints.get(key).cloned();
        Ok(stored.map(|text| serde_json::from_str(&text).unwrap()))
    }

    async fn caught_up(&self) {
        self.stored.send_modify(|stored| stored.caught_up += 1);
    }
}

/// A source that runs until this is dropped.
pub struct Running(JoinHandle<()>);

impl Running {
    /// Stops the source as a crash would: in the middle of whatever it is doing.
    pub fn stop(self) {
        self.0.abort();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}
