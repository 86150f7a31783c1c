//! The least progress of a message that has begun (LIMIT-09): pure, with the time as an argument.

use std::time::Duration;

use eventwire_protocol::limits;

/// How fast a message must come once it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second, averaged over the window.
    pub bytes_per_second: u64,
    /// Time over which the average is taken. A message that ends within the first window is never too slow.
    pub window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes_per_second: limits::PROGRESS_BYTES_PER_SECOND, window: limits::PROGRESS_WINDOW }
    }
}

/// The progress of one message. Time that the server itself has paused does not count.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pace: Pace,
    window_began: Duration,
    bytes: u64,
    paused_at: Option<Duration>,
}

impl Progress {
    /// A message that begins now.
    pub fn begin(pace: Pace, now: Duration) -> Self {
        Self { pace, window_began: now, bytes: 0, paused_at: None }
    }

    /// Counts bytes of the message.
    pub fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Notes that the server stops reading. A second pause is part of the first.
    pub fn pause(&mut self, now: Duration) {
        self.paused_at.get_or_insert(now);
    }

    /// Notes that the server reads again.
    pub fn resume(&mut self, now: Duration) {
        if let Some(paused_at) = self.paused_at.take() {
            self.window_began += now.saturating_sub(paused_at);
        }
    }

    /// Whether the server has paused.
    pub fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    /// When the progress has to be looked at next.
    pub fn deadline(&self) -> Duration {
        self.window_began + self.pace.window
    }

    /// Whether the message came too slowly. At the end of a window that was fast enough, the next one begins.
    pub fn is_too_slow(&mut self, now: Duration) -> bool {
        if self.paused_at.is_some() || now < self.deadline() {
            return false;
        }
        let elapsed = now.saturating_sub(self.window_began);
        let least = u128::from(self.pace.bytes_per_second) * elapsed.as_millis() / 1_000;
        if u128::from(self.bytes) < least {
            return true;
        }
        (self.window_began, self.bytes) = (now, 0);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn limit_09_a_large_message_over_a_slow_line_passes_and_a_trickle_does_not() {
        // 16 MiB over 1 Mbit/s take 134 s.
        let mut honest = Progress::begin(Pace::default(), Duration::ZERO);
        for second in 1..=134 {
            honest.add(125_000);
            assert!(!honest.is_too_slow(seconds(second)), "{second}");
        }
        let mut trickle = Progress::begin(Pace::default(), Duration::ZERO);
        for second in 1..30 {
            trickle.add(8_000);
            assert!(!trickle.is_too_slow(seconds(second)), "{second}");
        }
        assert!(trickle.is_too_slow(seconds(30)));
    }

    #[test]
    fn limit_09_a_burst_does_not_pay_for_a_message_that_then_stops() {
        let mut progress = Progress::begin(Pace::default(), Duration::ZERO);
        progress.add(16 << 20);
        assert!(!progress.is_too_slow(seconds(30)));
        assert_eq!(progress.deadline(), seconds(60));
        assert!(progress.is_too_slow(seconds(60)));
    }

    #[test]
    fn limit_09_time_in_which_the_server_pauses_does_not_count() {
        let mut progress = Progress::begin(Pace::default(), Duration::ZERO);
        progress.add(240 * 1024);
        progress.pause(seconds(10));
        progress.pause(seconds(20));
        assert!(!progress.is_too_slow(seconds(500)));
        progress.resume(seconds(510));
        assert_eq!(progress.deadline(), seconds(530));
        assert!(!progress.is_too_slow(seconds(530)));
    }
}
