//! Time that a program sets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use eventwire_hub::Clock;
use eventwire_protocol::Time;
use tokio::time::Instant;

/// A wall clock that moves with tokio's paused time, and with nothing else.
///
/// The hub waits by tokio's timers and dates by its [`Clock`]. In a runtime whose time is paused both follow this clock:
/// [`advance`](Self::advance) moves them together. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use eventwire_hub::Hub;
/// use eventwire_memory::ManualClock;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = ManualClock::starting("2026-11-20T23:40:00Z".parse()?);
/// let hub = Hub::builder().clock(clock.clone()).build();
/// clock.advance(Duration::from_secs(90)).await;
/// assert_eq!(hub.now().to_string(), "2026-11-20T23:41:30Z");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Time,
    origin: Instant,
    /// How far the wall clock was moved on its own, in microseconds.
    moved: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows `start` now. Made inside the runtime whose time is paused.
    pub fn starting(start: Time) -> Self {
        Self { start, origin: Instant::now(), moved: Arc::default() }
    }

    /// Lets time pass: timers that become due on the way fire, and the clock shows as much more.
    ///
    /// # Panics
    /// When the time of the runtime is not paused, or outside a current-thread runtime, as `tokio::time::advance` does.
    pub async fn advance(&self, by: Duration) {
        tokio::time::advance(by).await;
    }

    /// Moves the wall clock by so many microseconds, back if negative, while no time passes: what happens to a machine
    /// whose clock is set.
    pub fn set_off(&self, micros: i64) {
        self.moved.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        let passed = i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.start.plus_micros(passed).plus_micros(self.moved.load(Ordering::Relaxed))
    }
}
