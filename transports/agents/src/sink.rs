//! Where the events go: the one trait between the source and whoever publishes.

use std::sync::Arc;

use async_trait::async_trait;
use eventwire_protocol::id::AdwId;
use serde::{Deserialize, Serialize};

use crate::{event::AgentEvent, role::RoleName, run::RunCheckpoint, tail::RoleCheckpoint};

/// Most events in one batch.
pub const MAX_BATCH_EVENTS: usize = 256;
/// Most bytes of payload in one batch; a single larger event makes a batch of its own.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// What a checkpoint is about: a run as a whole, or one role's transcript in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointKey {
    /// The run.
    pub adw_id: AdwId,
    /// The role; absent for the run as a whole.
    pub role: Option<RoleName>,
}

/// What is stored under a [`CheckpointKey`]. As JSON it is a private matter between two starts of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointValue {
    /// Of a run as a whole.
    Run(RunCheckpoint),
    /// Of one role's transcript.
    Role(RoleCheckpoint),
}

/// Where the source stands after a batch. Each entry replaces what is stored under its key; other keys stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The entries, at most one per key.
    pub entries: Vec<(CheckpointKey, CheckpointValue)>,
}

/// Why a batch was not published. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Not now; the same batch is offered again after a pause.
    #[error("the batch cannot be published now: {0}")]
    Unavailable(String),
    /// Never; the batch is offered again event by event, and the refused one is replaced by a warning.
    #[error("the batch was refused: {0}")]
    Refused(String),
    /// The sink has gone; the source stops.
    #[error("the sink is closed")]
    Closed,
}

/// Takes the events of a source, each to be addressed to `adw:<id>` of its run.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Publishes a batch, in order, and stores the checkpoint, both or neither. The batch may be empty: then only the
    /// checkpoint is stored. At most one batch of a source is under way at a time. A sink that does not keep
    /// checkpoints makes the source start over when it is restarted.
    ///
    /// # Errors
    /// When nothing of it happened; the variant says what to do about it.
    async fn publish_batch(&self, events: &[AgentEvent], checkpoint: &Checkpoint) -> Result<(), SinkError>;

    /// What was stored last under a key; `None` when nothing was.
    ///
    /// # Errors
    /// When it is not known whether something was.
    async fn load_checkpoint(&self, key: &CheckpointKey) -> Result<Option<CheckpointValue>, SinkError>;

    /// All that was there when the source started has been told or taken in; from now on it waits for changes. Called
    /// once, and not by a replay.
    async fn caught_up(&self) {}
}

#[async_trait]
impl<S: Sink + ?Sized> Sink for Arc<S> {
    async fn publish_batch(&self, events: &[AgentEvent], checkpoint: &Checkpoint) -> Result<(), SinkError> {
        (**self).publish_batch(events, checkpoint).await
    }

    async fn load_checkpoint(&self, key: &CheckpointKey) -> Result<Option<CheckpointValue>, SinkError> {
        (**self).load_checkpoint(key).await
    }

    async fn caught_up(&self) {
        (**self).caught_up().await;
    }
}
