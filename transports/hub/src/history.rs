//! What was committed, as a trait: the log of numbered events, the newest values, the idempotency keys and the
//! checkpoints of sources.
//!
//! All of these change in one commit, because they must agree: an acknowledged event is in the log, a repeated key gets
//! the first answer, and a source that starts again goes on exactly behind what was committed. A history may be memory,
//! a file or a server elsewhere; `append` is asynchronous, and nothing it has not committed is delivered.

mod checkpoints;
mod indexed;
mod keys;
mod latest;
mod memory;
mod pot;

use std::sync::Arc;

use async_trait::async_trait;
use eventwire_protocol::{
    Committed, Envelope, Epoch, ErrorBody, EventId, Position, Seq, Target, Time, address::Audience,
};

pub use memory::{MemoryBounds, MemoryHistory};

use crate::holder::Holder;

/// Events that are committed together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// On whose account the checkpoints are kept (LIMIT-10); each event names its own.
    pub holder: Holder,
    /// The events, in order.
    pub records: Vec<Record>,
    /// Where their source stands behind them, in each of its places that they came from.
    pub checkpoints: Vec<Checkpoint>,
}

/// One event to commit.
#[derive(Clone, Debug)]
pub struct Record {
    /// The event.
    pub envelope: Envelope,
    /// What makes it the same as an earlier one.
    pub idempotency: Option<Idempotency>,
    /// What the publisher believes to be the last number of the stream (LOG-08).
    pub expected_prev: Option<Position>,
    /// Whose account it is kept on (LIMIT-10).
    pub holder: Holder,
}

/// An event of a source inside the process.
impl From<Envelope> for Record {
    fn from(envelope: Envelope) -> Self {
        Self { envelope, idempotency: None, expected_prev: None, holder: Holder::Local }
    }
}

/// An idempotency key (LOG-09): of one principal, with a digest of what was published under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Idempotency {
    /// Who publishes.
    pub principal: Arc<str>,
    /// The key.
    pub key: EventId,
    /// SHA-256 of type, audience and payload.
    pub digest: [u8; 32],
}

/// A place in a source, kept with the events that came from before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The source's name, which no other source has.
    pub source: String,
    /// Which of its places this is, for instance a file.
    pub place: String,
    /// Anything the source understands; `None` forgets the place.
    pub state: Option<String>,
}

/// What became of one event.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is committed and may be delivered.
    Committed(Arc<Committed>),
    /// It was committed before, under the same key.
    Repeated(Receipt),
}

/// What a publisher is told of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number, if it is logged.
    pub seq: Option<Seq>,
    /// The number before it in its stream, if it is logged.
    pub prev: Option<Position>,
    /// Whether an earlier publication with the same key was answered again.
    pub repeated: bool,
}

impl Outcome {
    /// What the publisher is told.
    pub fn receipt(&self) -> Receipt {
        match self {
            Self::Committed(event) => {
                let logged = event.logged();
                Receipt { seq: logged.map(|l| l.seq), prev: logged.map(|l| l.prev), repeated: false }
            }
            Self::Repeated(receipt) => Receipt { repeated: true, ..*receipt },
        }
    }
}

/// What a history evicted of one holder although nothing replaced it and its time was not over (LIMIT-10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Newest values. New subscribers no longer receive them.
    pub values: u64,
    /// Idempotency keys. A repeated publication under such a key is a new event.
    pub ids: u64,
    /// Checkpoints. A source that starts again begins in such a place from its beginning.
    pub checkpoints: u64,
}

impl std::ops::AddAssign for Evictions {
    fn add_assign(&mut self, Self { values, ids, checkpoints }: Self) {
        self.values += values;
        self.ids += ids;
        self.checkpoints += checkpoints;
    }
}

/// What is held of one bounded part of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PotUsage {
    /// Resident bytes.
    pub bytes: u64,
    /// The most of them.
    pub bound: u64,
    /// Events, values or keys.
    pub entries: u64,
    /// How many were evicted for want of room since the start.
    pub evicted: u64,
}

/// What a history holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The log of numbered events.
    pub log: PotUsage,
    /// The newest values.
    pub latest: PotUsage,
    /// The idempotency keys.
    pub idempotency: PotUsage,
    /// The checkpoints of sources.
    pub checkpoints: PotUsage,
}

/// How far the log reaches. The head of one stream is left out: it would count parts that a receiver may not see (AUTH-16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The history's name.
    pub epoch: Epoch,
    /// The highest number of all.
    pub head: Position,
}

/// A stream from which events were evicted after the position that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The target it belongs to, as asked for.
    pub target: Target,
    /// The stream; `None` when it is the target as a whole of which older events were forgotten.
    pub stream: Option<Audience>,
    /// The highest number that was evicted.
    pub floor: Position,
}

/// Newest values that were evicted before their time, all with the same receivers (LOG-12).
#[derive(Clone, Debug)]
pub struct MissedValue {
    /// The event without its payload: what [`route::admits`](eventwire_protocol::route::admits) reads. Its time is that of the
    /// newest of them.
    pub event: Arc<Envelope>,
    /// Grows with every eviction.
    pub number: u64,
}

/// A part of the log: for the targets asked for, everything from their positions up to `upto`, in the order of numbers.
#[derive(Clone, Debug)]
pub struct Page {
    /// The history it is a part of.
    pub epoch: Epoch,
    /// The events.
    pub events: Vec<Arc<Committed>>,
    /// How far the page reaches.
    pub upto: Position,
    /// Whether the log held nothing more.
    pub end: bool,
    /// What is missing from it because it was evicted.
    pub floors: Vec<Floor>,
}

/// How much one page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBounds {
    /// Events.
    pub events: usize,
    /// Bytes. One event is always given, whatever its size.
    pub bytes: usize,
}

/// A history.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Commits each of the appends, in order: wholly or not at all, each on its own.
    ///
    /// The answer has one entry for each append. An append that is refused (`conflict`, `fenced`) leaves no trace.
    ///
    /// # Errors
    /// Of the whole call when nothing could be committed: `unavailable`.
    async fn append(&self, now: Time, appends: Vec<Append>) -> Result<Vec<Result<Vec<Outcome>, ErrorBody>>, ErrorBody>;

    /// How far the log reaches.
    ///
    /// # Errors
    /// `unavailable`.
    async fn heads(&self) -> Result<Heads, ErrorBody>;

    /// Reads a part of the log, from one state of it.
    ///
    /// # Errors
    /// `unavailable`.
    async fn read(&self, now: Time, from: &[(Target, Position)], bounds: PageBounds) -> Result<Page, ErrorBody>;

    /// The newest value of every key in the targets.
    ///
    /// # Errors
    /// `unavailable`.
    async fn latest(&self, now: Time, targets: &[Target]) -> Result<Vec<Arc<Committed>>, ErrorBody>;

    /// The newest values of the targets that were evicted before their time (LOG-12), of [`Target::Realm`] those of every target.
    /// The caller judges who may know of each. A history that evicts none has nothing to report.
    ///
    /// # Errors
    /// `unavailable`.
    async fn incomplete(&self, _roots: &[Target]) -> Result<Vec<MissedValue>, ErrorBody> {
        Ok(Vec::new())
    }

    /// Where a source stood in each of its places, as committed with its last events.
    ///
    /// # Errors
    /// `unavailable`.
    async fn checkpoints(&self, source: &str) -> Result<Vec<Checkpoint>, ErrorBody>;

    /// What was evicted of a holder since this was last asked; a history that evicts nothing has nothing to report.
    fn take_evictions(&self, _holder: &Holder) -> Evictions {
        Evictions::default()
    }

    /// How much is held, for metrics; nothing where that is not known.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}
