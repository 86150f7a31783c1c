//! The older systems, put together from the settings.

use std::sync::Arc;

use eventwire_hub::{CommandSink, Hub};
use eventwire_systems::adw::{self, Adw};

use crate::config::Settings;
use crate::runs::States;
use crate::site::Mounted;

/// Every system, over one hub and one sink for what their clients ask of the application.
pub(crate) fn all(settings: &Settings, hub: &Hub, commands: &Arc<dyn CommandSink>) -> Vec<Mounted> {
    let kanban = adw::Settings {
        agents: settings.agents.as_deref().map(|root| Arc::new(States::new(root)) as Arc<dyn adw::AgentState>),
        ..adw::Settings::default()
    };
    let systems: Vec<Arc<dyn eventwire_systems::System>> =
        vec![Arc::new(Adw::new(hub.clone(), commands.clone(), kanban))];
    systems.into_iter().map(|system| Mounted::new(hub, system)).collect()
}
