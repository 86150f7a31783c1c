//! Watches a directory of agent runs and tells what happens in it, as events of the `adw` family.
//!
//! A run keeps its files in `agents/{adw_id}/`: its state (`adw_state.json`), its plan (`{adw_id}_plan_spec.md`), and one
//! directory per role with the transcript that the agent writes while it works (`planner/raw_output.jsonl`) and perhaps
//! screenshots (`reviewer/review_img/*.png`). An [`AgentsSource`] follows such a root and hands [`AgentEvent`]s to a
//! [`Sink`], batch by batch:
//!
//! | what happens | events |
//! |---|---|
//! | any line appended to a transcript | `agent_output_chunk`, in parts of at most 32 KiB |
//! | `system/init` | `agent_log`; the role's first one also `workflow_phase_transition` |
//! | a block of the agent's answer | `thinking_block`, `text_block`, `tool_use_pre` |
//! | the result of a tool | `tool_use_post`, and `file_changed` when the tool changed a file |
//! | a prompt, a hook, a status, a limit | `agent_log` |
//! | `result` | `agent_log`, `summary_update`, `agent_summary_update` |
//! | the state file is written | `agent_summary_update`, and `workflow_phase_transition` for a new workflow |
//! | the plan appears | `spec_created` |
//! | a screenshot appears | `screenshot_available` |
//! | what cannot be understood | `agent_output_chunk`, and `agent_log` at warning level |
//!
//! How the pieces divide the work:
//!
//! - [`transcript`] turns bytes into events. It is pure and incremental, and what comes out does not depend on how the
//!   bytes were cut into reads. [`state`] and [`run`] do the same for the state file and for what concerns a run as a whole.
//! - [`paths`] is the only door to the disk. Below the root no link is followed, and a path that leaves in an event is
//!   relative.
//! - `watch`, `tail` and `follow` are the thin part that does I/O: file system events say where to look again, a file is
//!   read in pieces of 64 KiB, truncated and replaced files are recognized.
//! - [`metrics`] counts, beside all that: figures of the runs for a dashboard.
//! - [`replay`] tells finished runs again at a readable pace.
//! - [`sink`] is the one trait to the outside. With every batch goes a [`Checkpoint`]: where to go on once the batch is
//!   out. A sink that stores both or neither makes a restart neither repeat nor skip anything.
//!
//! Memory is bounded whatever is found on disk: by the size of a read, the longest line that is held (1 MiB), one batch,
//! and a few small numbers per run.
//!
//! ```
//! use std::sync::Mutex;
//!
//! use async_trait::async_trait;
//! use eventwire_agents::{
//!     AgentEvent, AgentsSource, Checkpoint, CheckpointKey, CheckpointValue, Mode, Sink, SinkError, Speed,
//! };
//!
//! /// Keeps the types of the events it gets.
//! #[derive(Default)]
//! struct Types(Mutex<Vec<&'static str>>);
//!
//! #[async_trait]
//! impl Sink for Types {
//!     async fn publish_batch(&self, events: &[AgentEvent], _: &Checkpoint) -> Result<(), SinkError> {
//!         self.0.lock().unwrap().extend(events.iter().map(AgentEvent::event_type));
//!         Ok(())
//!     }
//!
//!     async fn load_checkpoint(&self, _: &CheckpointKey) -> Result<Option<CheckpointValue>, SinkError> {
//!         Ok(None)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! std::fs::create_dir_all(root.path().join("29fb6a3e/planner"))?;
//! std::fs::write(root.path().join("29fb6a3e/planner/raw_output.jsonl"), "{\"type\":\"stream_event\"}\n")?;
//!
//! let types = std::sync::Arc::new(Types::default());
//! let source = AgentsSource::new(root.path()).mode(Mode::Replay(Speed::new(1000.0)?));
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! source.run(types.clone()).await?;
//! assert_eq!(*types.0.lock().unwrap(), ["adw.agent_output_chunk"]);
//! # Ok(()) })
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

mod batch;
mod event;
mod follow;
mod line;
pub mod metrics;
pub mod paths;
mod port;
pub mod replay;
pub mod role;
pub mod run;
pub mod sink;
pub mod state;
mod tail;
mod text;
pub mod transcript;
mod watch;

pub use event::AgentEvent;
pub use follow::MAX_ROLES;
pub use metrics::Ledger;
pub use paths::{AccessError, AgentsRoot};
pub use replay::Speed;
pub use role::RoleName;
pub use sink::{Checkpoint, CheckpointKey, CheckpointValue, Sink, SinkError};
pub use tail::{FileIdentity, READ_BYTES, RoleCheckpoint};

use follow::{Follower, Settling};
use port::Port;
use watch::{Signals, StopOnDrop};

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Where a source begins with runs that it has never met.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mode {
    /// At their end: what is there when the source starts is taken in silently, what comes later is told.
    #[default]
    Tail,
    /// At their start: what is there is told first.
    FromStart,
    /// Finished runs are told once more, at a readable pace; then the source ends. Checkpoints play no part.
    Replay(Speed),
}

/// Why a source cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The root cannot be read; only a replay needs it to exist.
    #[error("the agents root {} cannot be read: {error} (name a directory of runs)", path.display())]
    Root {
        /// The root as it was named.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The operating system gives no file system events.
    #[error("the agents root cannot be watched: {0}")]
    Watch(#[source] notify::Error),
    /// The reading thread could not be started, or ended in a panic.
    #[error("the thread that reads the agents root failed: {0}")]
    Thread(String),
}

/// A source of `adw` events: an agents root, and how to read it.
#[derive(Clone, Debug)]
pub struct AgentsSource {
    root: PathBuf,
    mode: Mode,
    settling: Settling,
}

impl AgentsSource {
    /// A source over the directory of runs at `root`, in [`Mode::Tail`]. The directory need not exist yet.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let settling = Settling { quiet: Duration::from_millis(100), longest: Duration::from_secs(1) };
        Self { root: root.as_ref().to_owned(), mode: Mode::default(), settling }
    }

    /// Where to begin.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How long a state file, a plan or a directory of screenshots must be quiet before it is looked at (100 ms), and after
    /// how long it is looked at although it is not (1 s).
    #[must_use]
    pub fn settling(mut self, quiet: Duration, longest: Duration) -> Self {
        self.settling = Settling { quiet, longest };
        self
    }

    /// Reads until the sink is closed; a replay also ends by itself. Dropping the future ends the reading as well, and
    /// leaves no batch half published. The blocking work is done on a thread of its own.
    ///
    /// # Errors
    /// When reading cannot begin; later trouble with single files is logged, and reading goes on.
    pub async fn run(self, sink: impl Sink) -> Result<(), SourceError> {
        let failed = |error| SourceError::Root { path: self.root.clone(), error };
        let requested = std::path::absolute(&self.root).map_err(failed)?;
        let signals = Arc::new(Signals::default());
        let (port, requests) = Port::new();
        let work: Box<dyn FnOnce() + Send> = match self.mode {
            Mode::Replay(speed) => {
                let root = AgentsRoot::open(&requested).map_err(failed)?;
                let runs = root.runs().map_err(failed)?;
                let signals = signals.clone();
                Box::new(move || replay::replay(&root, &runs, speed, &port, &signals))
            }
            mode @ (Mode::Tail | Mode::FromStart) => {
                let from_start = mode == Mode::FromStart;
                let follower = Follower::new(requested, from_start, self.settling, port, signals.clone())?;
                Box::new(move || follower.follow())
            }
        };
        let stop = StopOnDrop(signals);
        let thread = thread::Builder::new()
            .name("eventwire-agents".to_owned())
            .spawn(work)
            .map_err(|error| SourceError::Thread(error.to_string()))?;
        port::serve(&sink, requests).await;
        drop(stop);
        // Both ways out have been closed, so the thread is about to end.
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SourceError::Thread("it panicked".to_owned())),
            Err(error) => Err(SourceError::Thread(error.to_string())),
        }
    }
}
