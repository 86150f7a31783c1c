//! Agent runs on their way into the hub: events and the place of their source are committed together.

use std::collections::BTreeMap;

use async_trait::async_trait;
use eventwire_agents::{AgentEvent, Checkpoint, CheckpointKey, CheckpointValue, Sink, SinkError};
use eventwire_hub::{Checkpoint as Place, Hub};
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_protocol::{AdwId, Envelope, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

/// The name under which the hub keeps the places.
const SOURCE: &str = "agents";

/// Publishes what the agents' source reads.
pub(crate) struct HubSink {
    hub: Hub,
    /// What is stored for each run, which is one place of this source.
    runs: Mutex<BTreeMap<AdwId, Stored>>,
}

/// Everything stored for one run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Stored {
    run: Option<CheckpointValue>,
    roles: BTreeMap<String, CheckpointValue>,
}

impl Stored {
    fn set(&mut self, key: &CheckpointKey, value: CheckpointValue) {
        match &key.role {
            None => self.run = Some(value),
            Some(role) => {
                self.roles.insert(role.to_string(), value);
            }
        }
    }

    fn get(&self, key: &CheckpointKey) -> Option<&CheckpointValue> {
        match &key.role {
            None => self.run.as_ref(),
            Some(role) => self.roles.get(&role.to_string()),
        }
    }
}

impl HubSink {
    /// A sink that goes on where the hub's history says it stopped.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn new(hub: Hub) -> Result<Self, ErrorBody> {
        let mut runs = BTreeMap::new();
        for place in hub.checkpoints(SOURCE).await? {
            let stored = place.state.as_deref().and_then(|state| serde_json::from_str(state).ok());
            if let (Ok(adw_id), Some(stored)) = (place.place.parse(), stored) {
                runs.insert(adw_id, stored);
            }
        }
        Ok(Self { hub, runs: Mutex::new(runs) })
    }
}

#[async_trait]
impl Sink for HubSink {
    async fn publish_batch(&self, events: &[AgentEvent], checkpoint: &Checkpoint) -> Result<(), SinkError> {
        let now = self.hub.now();
        let admitted = events.iter().map(|event| admit(event, now)).collect::<Result<Vec<_>, _>>();
        let envelopes = admitted.map_err(|error| SinkError::Refused(error.to_string()))?;

        // Held until the commit, so that what is remembered here is what was committed, in the same order.
        let mut runs = self.runs.lock().await;
        let mut moved: BTreeMap<AdwId, Stored> = BTreeMap::new();
        for (key, value) in &checkpoint.entries {
            let stored = moved.entry(key.adw_id).or_insert_with(|| runs.get(&key.adw_id).cloned().unwrap_or_default());
            stored.set(key, value.clone());
        }
        let places = moved.iter().map(|(adw_id, stored)| place(*adw_id, stored)).collect::<Result<Vec<_>, _>>()?;
        self.hub.append(envelopes, places).await.map_err(unavailable)?;
        runs.extend(moved);
        Ok(())
    }

    async fn load_checkpoint(&self, key: &CheckpointKey) -> Result<Option<CheckpointValue>, SinkError> {
        Ok(self.runs.lock().await.get(&key.adw_id).and_then(|stored| stored.get(key)).cloned())
    }
}

fn place(adw_id: AdwId, stored: &Stored) -> Result<Place, SinkError> {
    let state = serde_json::to_string(stored).map_err(|error| SinkError::Refused(error.to_string()))?;
    Ok(Place { source: SOURCE.to_owned(), place: adw_id.to_string(), state: Some(state) })
}

fn unavailable(error: ErrorBody) -> SinkError {
    match error.code {
        ErrorCode::Unavailable => SinkError::Unavailable(error.to_string()),
        _ => SinkError::Refused(error.to_string()),
    }
}

fn admit(event: &AgentEvent, now: Time) -> Result<Envelope, ErrorBody> {
    macro_rules! admit {
        ($($payload:ident)+) => {
            match event { $(AgentEvent::$payload(payload) => Envelope::to_adw(event.adw_id(), payload, now),)+ }
        };
    }
    admit! {
        AgentLog AgentSummaryUpdate ThinkingBlock ToolUsePre ToolUsePost FileChanged SummaryUpdate TextBlock
        WorkflowPhaseTransition AgentOutputChunk ScreenshotAvailable SpecCreated
    }
}
