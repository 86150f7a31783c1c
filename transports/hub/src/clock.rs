//! The wall clock, as a trait, so that tests can set it. Waiting is tokio's business, which tests can pause.

use eventwire_protocol::Time;

/// Says what time it is.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Time;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time::from_unix_micros(jiff::Timestamp::now().as_microsecond())
    }
}
