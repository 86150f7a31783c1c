//! How fast commands may be sent, by the limits that `connection.welcome` names. Pure: the time is handed in.

use std::time::Duration;

use eventwire_protocol::event::connection::ConnectionLimits;

/// The part of a sustained rate that is used: the clocks of two machines differ.
const SHARE: f64 = 0.95;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Option<Duration>,
}

impl Bucket {
    #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
    fn new(per_second: u64, burst: u64) -> Self {
        let burst = burst.max(1) as f64;
        Bucket { per_second: per_second.max(1) as f64 * SHARE, burst, left: burst, at: None }
    }

    fn fill(&mut self, now: Duration) {
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.saturating_sub(at));
        self.left = (self.left + elapsed.as_secs_f64() * self.per_second).min(self.burst);
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }

    /// How long until it holds so many.
    fn wait(&mut self, wanted: f64, now: Duration) -> Duration {
        self.fill(now);
        Duration::from_secs_f64(((wanted - self.left) / self.per_second).max(0.0))
    }
}

/// The commands, and the new targets, that a connection may still send.
#[derive(Clone, Debug)]
pub struct Pace {
    commands: Bucket,
    targets: Option<Bucket>,
    not_before: Duration,
}

impl Pace {
    /// The pace of a connection on which nothing was sent yet.
    pub fn new(limits: &ConnectionLimits) -> Self {
        Pace {
            commands: Bucket::new(limits.commands_per_second, limits.command_burst),
            targets: limits
                .targets_per_second
                .map(|per_second| Bucket::new(per_second, limits.target_burst.unwrap_or(per_second))),
            not_before: Duration::ZERO,
        }
    }

    /// A command with so many targets was sent.
    #[allow(clippy::cast_precision_loss, reason = "targets are counted in thousands")]
    pub fn spend(&mut self, targets: usize) {
        self.commands.left -= 1.0;
        if let Some(bucket) = &mut self.targets {
            bucket.left -= targets as f64;
        }
    }

    /// The server asked to wait.
    pub fn pause(&mut self, wait: Duration, now: Duration) {
        self.not_before = self.not_before.max(now.saturating_add(wait));
    }

    /// How long until a command with so many targets may be sent; zero for now. `now` is the time since an origin of the
    /// caller.
    #[allow(clippy::cast_precision_loss, reason = "targets are counted in thousands")]
    pub fn wait(&mut self, targets: usize, now: Duration) -> Duration {
        let commands = self.commands.wait(1.0, now);
        let targets = match &mut self.targets {
            Some(bucket) if targets > 0 => bucket.wait((targets as f64).min(bucket.burst), now),
            _ => Duration::ZERO,
        };
        commands.max(targets).max(self.not_before.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(commands: (u64, u64), targets: Option<(u64, u64)>) -> ConnectionLimits {
        ConnectionLimits {
            max_frame_bytes: 65_536,
            max_subscriptions: 256,
            commands_per_second: commands.0,
            command_burst: commands.1,
            targets_per_second: targets.map(|targets| targets.0),
            target_burst: targets.map(|targets| targets.1),
        }
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let mut pace = Pace::new(&limits((2, 4), None));
        let (mut now, mut sent) = (Duration::from_secs(7), 0);
        let began = now;
        while now - began < Duration::from_secs(60) {
            let wait = pace.wait(0, now);
            now += wait;
            if wait.is_zero() {
                pace.spend(1_000);
                sent += 1;
                let allowed = 4.0 + 2.0 * (now - began).as_secs_f64();
                assert!(f64::from(sent) <= allowed, "{sent} after {:?}", now - began);
            }
        }
        assert!(sent > 110, "{sent}: it does not wait for longer than it has to");
    }

    #[test]
    fn targets_have_a_rate_of_their_own_and_the_server_may_ask_to_wait() {
        let mut pace = Pace::new(&limits((1_000, 1_000), Some((10, 20))));
        assert_eq!(pace.wait(20, Duration::ZERO), Duration::ZERO);
        pace.spend(20);
        assert_eq!(pace.wait(0, Duration::ZERO), Duration::ZERO, "what names no target goes at once");
        assert!(pace.wait(10, Duration::ZERO) > Duration::from_secs(1));
        // More than there ever is at once: sent when the bucket is full.
        assert!(pace.wait(500, Duration::from_secs(10)).is_zero());
        pace.pause(Duration::from_millis(250), Duration::from_secs(10));
        assert_eq!(pace.wait(0, Duration::from_secs(10)), Duration::from_millis(250));
        assert_eq!(pace.wait(0, Duration::from_secs(9)), Duration::from_millis(1_250), "whatever the clock does");
    }
}
