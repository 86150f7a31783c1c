//! From outputs to batches: cut to size, each with the checkpoint that is true once it is out.
//!
//! One read may give rise to more events than fit in a batch. All batches but the last then carry the place *before* the
//! read together with the number of outputs already published; reading that place again leaves exactly those out.

use eventwire_protocol::id::AdwId;

use crate::{
    event::AgentEvent,
    port::{Port, Published, Stopped},
    role::RoleName,
    run::{Run, RunCheckpoint},
    sink::{Checkpoint, CheckpointKey, CheckpointValue, MAX_BATCH_BYTES, MAX_BATCH_EVENTS},
    tail::RoleCheckpoint,
    transcript::{Output, warning},
};

/// Where a transcript stood before and after the read whose outputs are published.
pub(crate) struct Step {
    pub(crate) before: RoleCheckpoint,
    pub(crate) after: RoleCheckpoint,
}

/// An event with what is true once it is out.
struct Item {
    event: AgentEvent,
    /// Outputs of the read that are out then.
    published: usize,
    /// The run, where the event changed what is remembered of it.
    run: Option<RunCheckpoint>,
}

/// Publishes what a read of a transcript gave rise to. Nothing is published for no outputs; then the place moves with
/// the next batch.
pub(crate) fn publish_outputs(
    port: &Port,
    run: &mut Run,
    adw_id: AdwId,
    role: &RoleName,
    outputs: Vec<Output>,
    step: &Step,
) -> Result<(), Stopped> {
    let total = outputs.len();
    let mut batch = Batch { port, adw_id, role, step, total, items: Vec::new(), bytes: 0 };
    for (index, output) in outputs.into_iter().enumerate() {
        let (event, remembered) = match output {
            Output::Event(event) => (Some(event), None),
            Output::RoleStarted => {
                let event = run.role_started(role);
                let remembered = event.is_some().then(|| run.checkpoint());
                (event, remembered)
            }
        };
        if let Some(event) = event {
            batch.add(Item { event, published: index + 1, run: remembered })?;
        }
    }
    batch.flush(true)
}

/// Publishes a few events of a run as a whole, with what is remembered of it once all of them are out.
pub(crate) fn publish_run(port: &Port, run: &Run, adw_id: AdwId, events: Vec<AgentEvent>) -> Result<(), Stopped> {
    let key = CheckpointKey { adw_id, role: None };
    publish_few(port, events, Checkpoint { entries: vec![(key, CheckpointValue::Run(run.checkpoint()))] })
}

/// Publishes events of which nothing is remembered, in as many batches as they need.
pub(crate) fn publish_unremembered(port: &Port, events: Vec<AgentEvent>) -> Result<(), Stopped> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for event in events {
        let more = event.encoded_bytes();
        if !batch.is_empty() && (batch.len() >= MAX_BATCH_EVENTS || bytes + more > MAX_BATCH_BYTES) {
            publish_few(port, std::mem::take(&mut batch), Checkpoint::default())?;
            bytes = 0;
        }
        bytes += more;
        batch.push(event);
    }
    if batch.is_empty() { Ok(()) } else { publish_few(port, batch, Checkpoint::default()) }
}

/// Publishes one batch; the checkpoint is true once its last event is out.
fn publish_few(port: &Port, events: Vec<AgentEvent>, checkpoint: Checkpoint) -> Result<(), Stopped> {
    let (events, published) = port.publish(events, checkpoint.clone())?;
    if let Published::Refused(reason) = published {
        let last = events.len().saturating_sub(1);
        for (index, event) in events.into_iter().enumerate() {
            let checkpoint = if index == last { checkpoint.clone() } else { Checkpoint::default() };
            publish_alone(port, event, checkpoint, &reason)?;
        }
    }
    Ok(())
}

struct Batch<'a> {
    port: &'a Port,
    adw_id: AdwId,
    role: &'a RoleName,
    step: &'a Step,
    total: usize,
    items: Vec<Item>,
    bytes: usize,
}

impl Batch<'_> {
    fn add(&mut self, item: Item) -> Result<(), Stopped> {
        let bytes = item.event.encoded_bytes();
        let full = self.items.len() >= MAX_BATCH_EVENTS || self.bytes + bytes > MAX_BATCH_BYTES;
        if full && !self.items.is_empty() {
            self.flush(false)?;
        }
        self.bytes += bytes;
        self.items.push(item);
        Ok(())
    }

    fn flush(&mut self, last: bool) -> Result<(), Stopped> {
        self.bytes = 0;
        let items = std::mem::take(&mut self.items);
        let Some(end) = items.last() else {
            return Ok(());
        };
        let run = items.iter().rev().find_map(|item| item.run.clone());
        let published = if last { self.total } else { end.published };
        let checkpoint = self.checkpoint(published, run);
        let (runs, events): (Vec<_>, Vec<_>) =
            items.into_iter().map(|item| ((item.published, item.run), item.event)).unzip();
        let (events, outcome) = self.port.publish(events, checkpoint)?;
        if let Published::Refused(reason) = outcome {
            let count = events.len();
            for (index, (event, (published, run))) in events.into_iter().zip(runs).enumerate() {
                let published = if last && index + 1 == count { self.total } else { published };
                publish_alone(self.port, event, self.checkpoint(published, run), &reason)?;
            }
        }
        Ok(())
    }

    fn checkpoint(&self, published: usize, run: Option<RunCheckpoint>) -> Checkpoint {
        let at =
            if published == self.total { self.step.after.clone() } else { self.step.before.with_published(published) };
        let key = |role| CheckpointKey { adw_id: self.adw_id, role };
        let mut entries = vec![(key(Some(self.role.clone())), CheckpointValue::Role(at))];
        entries.extend(run.map(|run| (key(None), CheckpointValue::Run(run))));
        Checkpoint { entries }
    }
}

/// Publishes one event of a refused batch. If it is the one that is refused, a warning takes its place.
fn publish_alone(port: &Port, event: AgentEvent, checkpoint: Checkpoint, reason: &str) -> Result<(), Stopped> {
    let adw_id = event.adw_id();
    let event_type = event.event_type();
    let (_, outcome) = port.publish(vec![event], checkpoint.clone())?;
    let Published::Refused(own_reason) = outcome else {
        return Ok(());
    };
    tracing::error!(%adw_id, event_type, reason, "agents: an event was refused and is left out");
    let message = format!("An {event_type} event could not be published: {own_reason}");
    let log = warning(adw_id, None, "event_refused", message);
    let (_, outcome) = port.publish(vec![log.into()], checkpoint.clone())?;
    if matches!(outcome, Published::Refused(_)) {
        port.publish(Vec::new(), checkpoint)?;
    }
    Ok(())
}
