//! The older systems, put together from the settings.

use std::sync::Arc;

use eventwire_hub::{CommandSink, Hub, Tap};
use eventwire_systems::System;
use eventwire_systems::shared_context::{self, ContextStore, KeptStore, QueryStore, SharedContext};

use crate::cli::Failure;
use crate::config::{ContextTimes, Settings};
use crate::site::Mounted;

/// What the systems remember of what is published. The hub shows it every event, so it is there before the hub.
pub(crate) struct Memory {
    contexts: Contexts,
}

/// Where the messages of contexts are.
enum Contexts {
    Kept(Arc<KeptStore>),
    Asked(Arc<QueryStore>),
}

impl Memory {
    /// # Errors
    /// Addresses that cannot be used.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Failure> {
        let contexts = match &settings.context_query_url {
            None => Contexts::Kept(KeptStore::new(shared_context::Bounds::default())),
            Some(url) => {
                let wrong = |error: eventwire_protocol::ErrorBody| {
                    Failure::Usage(format!("context_query_url {url}: {}", error.message))
                };
                Contexts::Asked(Arc::new(QueryStore::new(url).map_err(wrong)?))
            }
        };
        Ok(Self { contexts })
    }

    /// What the hub is to show every event.
    pub(crate) fn taps(&self) -> Vec<Arc<dyn Tap>> {
        match &self.contexts {
            Contexts::Kept(kept) => vec![kept.clone()],
            Contexts::Asked(_) => Vec::new(),
        }
    }
}

/// Every system, over one hub and one sink for what their clients ask of the application.
pub(crate) fn all(settings: &Settings, hub: &Hub, memory: &Memory, _commands: &Arc<dyn CommandSink>) -> Vec<Mounted> {
    let contexts: Arc<dyn ContextStore> = match &memory.contexts {
        Contexts::Kept(kept) => kept.clone(),
        Contexts::Asked(asked) => asked.clone(),
    };
    let times = match settings.context_times {
        ContextTimes::ByPath => shared_context::Times::ByPath,
        ContextTimes::Milliseconds => shared_context::Times::Milliseconds,
        ContextTimes::Iso => shared_context::Times::Iso,
    };
    let shared_context = SharedContext::new(hub.clone(), contexts, shared_context::Settings { times });
    let systems: Vec<Arc<dyn System>> = vec![Arc::new(shared_context)];
    systems.into_iter().map(|system| Mounted::new(hub, system)).collect()
}
