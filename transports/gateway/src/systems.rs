//! The older systems, put together from the settings.

use std::sync::Arc;

use eventwire_hub::{Builder, CommandSink, Hub};
use eventwire_systems::adw::{self, Adw};
use eventwire_systems::{System, monadic};

use crate::config::Settings;
use crate::runs::States;
use crate::site::Mounted;

/// What the systems remember of what was published.
pub(crate) struct Memory {
    monadic: Arc<monadic::State>,
}

impl Memory {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { monadic: monadic::State::new() }
    }

    /// Has the hub show what it commits.
    pub(crate) fn tap(&self, hub: Builder) -> Builder {
        hub.tap(self.monadic.clone())
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
    let systems: Vec<Arc<dyn System>> =
        vec![Arc::new(monadic), Arc::new(Adw::new(hub.clone(), commands.clone(), kanban))];
    systems.into_iter().map(|system| Mounted::new(hub, system)).collect()
}
