//! The older systems, put together from the settings.

use std::sync::Arc;

use async_trait::async_trait;
use eventwire_http::Fallback;
use eventwire_hub::{Builder, CommandSink, Hub, Principal, Receipt};
use eventwire_protocol::dialect::Adopted;
use eventwire_protocol::{Dialect, ErrorBody, ErrorCode};
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

/// The systems, as the rest of the gateway knows them.
pub(crate) struct Systems {
    /// With what takes their sockets.
    pub(crate) mounted: Vec<Mounted>,
    /// What becomes of events that their back ends publish without a target.
    pub(crate) fallback: Arc<dyn Fallback>,
}

/// Asks Monadic Chat, the only one with an answer.
struct ToEveryPage(Arc<monadic::Monadic>);

#[async_trait]
impl Fallback for ToEveryPage {
    async fn publish(
        &self,
        principal: &Principal,
        dialect: Dialect,
        event: Adopted,
    ) -> Option<Result<Receipt, ErrorBody>> {
        if dialect.family() != Dialect::Monadic {
            return None;
        }
        match self.0.adopt(principal, event, None).await {
            Ok(receipts) => {
                let nobody = Receipt { seq: None, prev: None, repeated: false };
                Some(Ok(receipts.into_iter().next().unwrap_or(nobody)))
            }
            Err(error) if error.code == ErrorCode::MissingTarget => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn silences(&self, dialect: Dialect, event: &Adopted) -> bool {
        dialect.family() == Dialect::Monadic && self.0.silences(event.kind, &event.data, event.time.is_some())
    }
}

/// Every system, over one hub and one sink for what their clients ask of the application.
pub(crate) fn all(settings: &Settings, hub: &Hub, commands: &Arc<dyn CommandSink>, memory: &Memory) -> Systems {
    let kanban = adw::Settings {
        agents: settings.agents.as_deref().map(|root| Arc::new(States::new(root)) as Arc<dyn adw::AgentState>),
        ..adw::Settings::default()
    };
    let monadic_settings =
        monadic::Settings { progress_enabled: settings.progress_enabled, single_user: settings.single_user };
    let monadic =
        Arc::new(monadic::Monadic::new(hub.clone(), commands.clone(), memory.monadic.clone(), monadic_settings));
    let fallback = Arc::new(ToEveryPage(monadic.clone()));
    let systems: Vec<Arc<dyn System>> = vec![monadic, Arc::new(Adw::new(hub.clone(), commands.clone(), kanban))];
    Systems { mounted: systems.into_iter().map(|system| Mounted::new(hub, system)).collect(), fallback }
}
