//! The older systems, put together from the settings.

use std::sync::Arc;

use eventwire_hub::{CommandSink, Hub};

use crate::config::Settings;
use crate::site::Mounted;

/// Every system, over one hub and one sink for what their clients ask of the application.
pub(crate) fn all(_settings: &Settings, hub: &Hub, _commands: &Arc<dyn CommandSink>) -> Vec<Mounted> {
    let systems: Vec<Arc<dyn eventwire_systems::System>> = Vec::new();
    systems.into_iter().map(|system| Mounted::new(hub, system)).collect()
}
