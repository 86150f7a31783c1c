//! Progress of a long operation: a remark of what is going on, once a minute, for as long as it goes on.

use std::time::Duration;

use eventwire_hub::ToSession;
use eventwire_protocol::event::chat::Wait;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at},
};

/// What is said of a long operation, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is going on, for a person to read, or a word that pages translate.
    pub content: String,
    /// What is at work. Pages show the progress in the conversation only if it contains `Agent`, `Generator` or `Analyzer`;
    /// where there is none, the dialect names one (trap T2).
    pub source: Option<String>,
    /// Between two remarks; the first comes after as long. One minute by default, never less than a second.
    pub interval: Duration,
    /// After how long the operation is given up, if it is. What is left of it is said in seconds, though the page takes
    /// them for minutes, as with the system of origin (trap T3).
    pub timeout: Option<Duration>,
}

impl Progress {
    /// Once a minute, without an end.
    pub fn of(content: impl Into<String>) -> Self {
        Self { content: content.into(), source: None, interval: Duration::from_secs(60), timeout: None }
    }

    /// What is said after so long.
    fn after(&self, elapsed: Duration) -> Wait {
        Wait {
            content: self.content.clone(),
            source: self.source.clone(),
            elapsed_seconds: Some(elapsed.as_secs()),
            remaining_seconds: self.timeout.map(|timeout| timeout.saturating_sub(elapsed).as_secs()),
            step_progress: None,
        }
    }
}

/// Says to one session how long an operation has been going on, until it is dropped.
///
/// It holds the handle of the session that it was started for, so it goes on to speak to that one, whatever else happens
/// meanwhile.
#[derive(Debug)]
#[must_use = "dropping it stops it"]
pub struct WaitTicker {
    task: Option<JoinHandle<()>>,
}

impl WaitTicker {
    /// Begins. Must be called inside a tokio runtime.
    pub fn start(session: ToSession, progress: Progress) -> Self {
        let interval = progress.interval.max(Duration::from_secs(1));
        let started = Instant::now();
        let task = tokio::spawn(async move {
            let mut ticks = interval_at(started + interval, interval);
            // Who was held up says how it stands now, not how it stood several times.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = session.publish(progress.after(started.elapsed())).await {
                    tracing::debug!(%error, "progress was not published");
                }
            }
        });
        Self { task: Some(task) }
    }

    /// One that says nothing: progress is switched off.
    pub fn silent() -> Self {
        Self { task: None }
    }
}

impl Drop for WaitTicker {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
