//! The older systems, put together from the settings.

use std::sync::Arc;

use eventwire_hub::{Builder, CommandSink, Hub};
use eventwire_systems::adw::{self, Adw};
use eventwire_systems::shared_context::{self, ContextStore, KeptStore, QueryStore, SharedContext};
use eventwire_systems::{System, monadic};

use crate::cli::Failure;
use crate::config::{ContextTimes, Settings};
use crate::runs::States;
use crate::site::Mounted;

/// What the systems remember of what was published.
pub(crate) struct Memory {
    monadic: Arc<monadic::State>,
    contexts: Contexts,
}

/// Where the messages of contexts are.
enum Contexts {
    Kept(Arc<KeptStore>),
    Asked(Arc<QueryStore>),
}

impl Memory {
    /// Nothing yet.
    ///
    /// # Errors
    /// An address to ask for the messages of contexts that cannot be used.
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
        Ok(Self { monadic: monadic::State::new(), contexts })
    }

    /// Has the hub show what it commits.
    pub(crate) fn tap(&self, hub: Builder) -> Builder {
        let hub = hub.tap(self.monadic.clone());
        match &self.contexts {
            Contexts::Kept(kept) => hub.tap(kept.clone()),
            Contexts::Asked(_) => hub,
        }
    }

    fn contexts(&self) -> Arc<dyn ContextStore> {
        match &self.contexts {
            Contexts::Kept(kept) => kept.clone(),
            Contexts::Asked(asked) => asked.clone(),
        }
    }
}

/// Every system, over one hub and one sink for what their clients ask of the application.
pub(crate) fn all(settings: &Settings, hub: &Hub, commands: &Arc<dyn CommandSink>, memory: &Memory) -> Vec<Mounted> {
    let kanban = adw::Settings {
        agents: settings.agents.as_deref().map(|root| Arc::new(States::new(root)) as Arc<dyn adw::AgentState>),
        ..adw::Settings::default()
    };
    let monadic_settings =
        monadic::Settings { progress_enabled: settings.progress_enabled, single_user: settings.single_user };
    let monadic = monadic::Monadic::new(hub.clone(), commands.clone(), memory.monadic.clone(), monadic_settings);
    let times = match settings.context_times {
        ContextTimes::ByPath => shared_context::Times::ByPath,
        ContextTimes::Milliseconds => shared_context::Times::Milliseconds,
        ContextTimes::Iso => shared_context::Times::Iso,
    };
    let contexts = SharedContext::new(hub.clone(), memory.contexts(), shared_context::Settings { times });
    let systems: Vec<Arc<dyn System>> =
        vec![Arc::new(monadic), Arc::new(Adw::new(hub.clone(), commands.clone(), kanban)), Arc::new(contexts)];
    systems.into_iter().map(|system| Mounted::new(hub, system)).collect()
}
