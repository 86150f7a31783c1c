//! One computation of a window at a time, shared by all who ask for it meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use eventwire_protocol::{ErrorBody, ErrorCode, event::metrics::MetricsUpdate};
use tokio::sync::watch;

use super::MetricsSource;

type Outcome = Result<Arc<MetricsUpdate>, ErrorBody>;

/// The source, asked once for each window at a time.
pub(super) struct Windows {
    source: Arc<dyn MetricsSource>,
    patience: Duration,
    under_way: Arc<Mutex<HashMap<u32, watch::Receiver<Option<Outcome>>>>>,
}

impl Windows {
    pub(super) fn new(source: Arc<dyn MetricsSource>, patience: Duration) -> Self {
        Self { source, patience, under_way: Arc::default() }
    }

    /// The figures of a window. A source that takes too long, or panics, has failed.
    pub(super) async fn metrics(&self, hours: u32) -> Outcome {
        let mut receiver = self.join(hours);
        let failed = || ErrorBody::new(ErrorCode::Internal, "the figures could not be computed");
        match receiver.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(failed())),
            Err(_) => Err(failed()),
        }
    }

    /// The computation that is under way, or a new one. It runs in a task of its own: whoever asked may turn away, and the
    /// others still get their answer.
    fn join(&self, hours: u32) -> watch::Receiver<Option<Outcome>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = under_way.get(&hours) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(hours, receiver.clone());
        let (source, patience) = (self.source.clone(), self.patience);
        let over = Over { hours, under_way: self.under_way.clone() };
        tokio::spawn(async move {
            let late = |_| ErrorBody::new(ErrorCode::Timeout, "the figures took too long");
            let outcome = tokio::time::timeout(patience, source.metrics(hours)).await.map_err(late);
            // Before anybody is told: who asks from now on gets newer figures.
            drop(over);
            sender.send_replace(Some(outcome.and_then(|update| update).map(Arc::new)));
        });
        receiver
    }
}

/// Takes a computation off the list, however it ends.
struct Over {
    hours: u32,
    under_way: Arc<Mutex<HashMap<u32, watch::Receiver<Option<Outcome>>>>>,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.hours);
    }
}
