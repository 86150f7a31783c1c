//! Stats of the agent runs that the gateway watches, as AMIGA's source of metrics.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use eventwire_agents::Ledger;
use eventwire_hub::Hub;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_protocol::event::metrics::MetricsUpdate;
use eventwire_systems::amiga::{MetricsSource, NoMetrics};

/// Counts what is below an agents root.
struct Runs {
    hub: Hub,
    ledger: Arc<Mutex<Ledger>>,
}

/// The source over a root; without one, nothing is counted.
pub(crate) fn of(hub: &Hub, root: Option<&Path>) -> Arc<dyn MetricsSource> {
    match root {
        Some(root) => Arc::new(Runs { hub: hub.clone(), ledger: Arc::new(Mutex::new(Ledger::new(root))) }),
        None => Arc::new(NoMetrics),
    }
}

#[async_trait]
impl MetricsSource for Runs {
    async fn metrics(&self, hours: u32) -> Result<MetricsUpdate, ErrorBody> {
        let (ledger, now) = (Arc::clone(&self.ledger), self.hub.now());
        let counted = tokio::task::spawn_blocking(move || {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.catch_up(now);
            ledger.figures(now, hours)
        });
        counted.await.map_err(|_| ErrorBody::new(ErrorCode::Internal, "the figures could not be counted"))
    }
}
