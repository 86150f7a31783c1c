//! Notices that the machine slept. Elapsed time is measured with a monotonic clock, and such a clock may pause meanwhile.

use std::time::{Duration, SystemTime};

/// A wait is looked at so often.
pub(crate) const SLICE: Duration = Duration::from_secs(5);
/// A wall clock that ran so much further than the other one, or a wait that took so much longer, is a sleep.
const SLEPT: Duration = Duration::from_secs(10);

/// Compares the two clocks. Pure: their times are handed in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Awake {
    last: Option<(Duration, SystemTime)>,
}

impl Awake {
    /// Whether the machine slept since the last call, after a wait of at most [`SLICE`]. A wall clock that was set forward
    /// looks the same; then a live connection is probed, which does it no harm.
    pub(crate) fn slept(&mut self, monotonic: Duration, wall: SystemTime) -> bool {
        let Some((before, wall_before)) = self.last.replace((monotonic, wall)) else { return false };
        let elapsed = monotonic.saturating_sub(before);
        let wall_elapsed = wall.duration_since(wall_before).unwrap_or_default();
        wall_elapsed.saturating_sub(elapsed) > SLEPT || elapsed > SLICE + SLEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_seen_by_either_clock_and_a_clock_that_is_set_back_measures_nothing() {
        let mut awake = Awake::default();
        let mut at = |monotonic: u64, wall: u64| {
            awake.slept(Duration::from_secs(monotonic), SystemTime::UNIX_EPOCH + Duration::from_secs(wall))
        };
        assert!(!at(0, 10_000) && !at(5, 10_005));
        assert!(at(10, 13_610), "a clock that pauses in sleep");
        assert!(!at(15, 13_615));
        assert!(at(3_615, 17_215), "a clock that goes on");
        assert!(!at(3_620, 13_620), "set back by an hour");
        assert!(!at(3_625, 13_625));
    }
}
