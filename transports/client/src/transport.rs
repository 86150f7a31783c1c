//! What carries the events, and when to take something else. Pure: the time is handed in.
//!
//! A client has an order of transports. It takes the first that works, and goes on to the next when one is refused in a way
//! that is about the transport (a proxy that knows no upgrades answers 400, 404, 426 ...) or was tried in vain several times.
//! From a later one it goes back: every now and then the better ones are tried again, beside the connection that works, with
//! waits that double as long as that fails. What was received goes with it, so a switch costs no event.

use std::time::Duration;

use crate::reconnect::Ended;

/// What carries the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `GET /v1/ws`: events and commands over one socket (RFC 6455).
    #[default]
    WebSocket,
    /// `GET /v1/sse`: server-sent events over HTTP (WHATWG HTML, section 9.2), which nearly every proxy lets through. It
    /// carries no commands; to want something else the client opens it again.
    Sse,
}

impl Transport {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "WebSocket",
            Transport::Sse => "server-sent events",
        }
    }
}

/// When to take another transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// So many attempts in a row without a welcome, from a server that could be reached, and the next transport is tried.
    /// At least 1.
    pub after: u32,
    /// So long after leaving a better transport it is tried again.
    pub return_after: Duration,
    /// Upper bound of that wait, which doubles with every return that fails.
    pub return_max: Duration,
}

impl Default for Fallback {
    /// After 2 attempts; back after 1 min, at most 10 min.
    fn default() -> Self {
        Fallback { after: 2, return_after: Duration::from_secs(60), return_max: Duration::from_secs(600) }
    }
}

/// The policy with its memory.
#[derive(Clone, Debug)]
pub struct Choice {
    order: Vec<Transport>,
    fallback: Fallback,
    at: usize,
    /// Attempts in a row without a welcome, of the present transport.
    failures: u32,
    /// Transports in a row that were refused for what they are.
    unusable: usize,
    /// How long to stay with a lesser transport, and until when.
    stay: Duration,
    until: Option<Duration>,
    /// Where to go back to when the return that is under way fails.
    from: Option<usize>,
}

impl Choice {
    /// A policy that begins with the first of an order. Repetitions are left out; an empty order is that of
    /// [`Transport::default`].
    pub fn new(order: impl IntoIterator<Item = Transport>, fallback: Fallback) -> Self {
        let mut kept: Vec<Transport> = Vec::new();
        for transport in order {
            if !kept.contains(&transport) {
                kept.push(transport);
            }
        }
        if kept.is_empty() {
            kept.push(Transport::default());
        }
        Choice {
            order: kept,
            fallback,
            at: 0,
            failures: 0,
            unusable: 0,
            stay: fallback.return_after,
            until: None,
            from: None,
        }
    }

    /// What the next connection is made over. `now` is the time since an origin of the caller.
    pub fn next(&mut self, now: Duration) -> Transport {
        if self.at > 0 && self.until.is_some_and(|until| until <= now) {
            self.from = Some(self.at);
            self.begin(0);
        }
        self.current()
    }

    /// What the present connection is made over.
    pub fn current(&self) -> Transport {
        self.order.get(self.at).copied().unwrap_or_default()
    }

    /// The server has welcomed us.
    pub fn welcomed(&mut self) {
        self.failures = 0;
        self.unusable = 0;
        self.from = None;
        if self.at == 0 {
            self.stay = self.fallback.return_after;
            self.until = None;
        }
    }

    /// An attempt ended without a welcome. `reached` is whether there was a server at all: one that is gone is missed by every
    /// transport. Whether another transport is next *because of what was said*, so that the refusal is no end.
    pub fn failed(&mut self, ended: &Ended, reached: bool, now: Duration) -> bool {
        let unusable = is_about_the_transport(ended);
        if self.order.len() < 2 || !reached {
            return false;
        }
        if let Some(from) = self.from.take() {
            self.stay = self.stay.saturating_mul(2).min(self.fallback.return_max);
            self.fall_to(from, now);
            return unusable;
        }
        self.failures += 1;
        if unusable {
            self.unusable += 1;
        }
        if !unusable && self.failures < self.fallback.after.max(1) {
            return false;
        }
        self.fall_to((self.at + 1) % self.order.len(), now);
        unusable && self.unusable < self.order.len()
    }

    /// How long until a better transport is to be tried beside the present connection; `None` when there is none.
    pub fn return_at(&self) -> Option<Duration> {
        self.until.filter(|_| self.at > 0)
    }

    /// The transport that [`Choice::return_at`] is about.
    pub fn preferred(&self) -> Transport {
        self.order.first().copied().unwrap_or_default()
    }

    /// The better transport was tried beside the present connection. When it opened, the next connection is made over it; else
    /// it is tried again later.
    pub fn returned(&mut self, opened: bool, now: Duration) {
        if opened {
            self.from = Some(self.at);
            self.begin(0);
        } else {
            self.stay = self.stay.saturating_mul(2).min(self.fallback.return_max);
            self.until = Some(now + self.stay);
        }
    }

    fn fall_to(&mut self, at: usize, now: Duration) {
        self.begin(at);
        self.until = (at > 0).then(|| now + self.stay);
    }

    fn begin(&mut self, at: usize) {
        self.at = at;
        self.failures = 0;
    }
}

/// Whether a refusal says that this way to connect does not exist there, and not something about us or about now.
fn is_about_the_transport(ended: &Ended) -> bool {
    match ended {
        Ended::Refused { status, .. } => match status {
            401 | 403 | 408 | 429 => false,
            501 | 505 => true,
            500..=599 => false,
            _ => true,
        },
        Ended::Lost(_) | Ended::Silent(_) | Ended::NoToken(_) | Ended::Closed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Sse];

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn lost() -> Ended {
        Ended::Lost("cut".to_owned())
    }

    fn refused(status: u16) -> Ended {
        Ended::Refused { status, reason: String::new() }
    }

    #[test]
    fn a_proxy_without_upgrades_is_left_at_once_and_everything_refused_is_an_end() {
        for status in [200, 301, 400, 404, 405, 426, 501] {
            let mut choice = Choice::new(BOTH, Fallback::default());
            assert!(choice.failed(&refused(status), true, second(0)), "{status}");
            assert_eq!(choice.current(), Transport::Sse);
            assert!(!choice.failed(&refused(404), true, second(0)), "nothing is left");
        }
        for status in [401, 403, 408, 429, 500, 503] {
            let mut choice = Choice::new(BOTH, Fallback::default());
            assert!(!choice.failed(&refused(status), true, second(0)));
            assert_eq!(choice.current(), Transport::WebSocket, "{status}");
        }
        let mut alone = Choice::new([Transport::WebSocket], Fallback::default());
        assert!(!alone.failed(&refused(404), true, second(0)));
    }

    #[test]
    fn what_breaks_again_and_again_is_left_and_a_server_that_is_gone_is_waited_for() {
        let mut choice = Choice::new(BOTH, Fallback::default());
        for _ in 0..10 {
            choice.failed(&lost(), false, second(0));
        }
        assert_eq!(choice.next(second(0)), Transport::WebSocket);
        choice.failed(&lost(), true, second(0));
        choice.welcomed();
        choice.failed(&lost(), true, second(0));
        assert_eq!(choice.next(second(0)), Transport::WebSocket, "not in a row");
        assert!(!choice.failed(&lost(), true, second(0)));
        assert_eq!(choice.next(second(0)), Transport::Sse);
        // It breaks as well: round and round.
        choice.failed(&lost(), true, second(1));
        choice.failed(&lost(), true, second(1));
        assert_eq!(choice.next(second(1)), Transport::WebSocket);
    }

    #[test]
    fn the_better_transport_is_tried_again_after_waits_that_double() {
        let mut choice = Choice::new(BOTH, Fallback::default());
        choice.failed(&refused(426), true, second(100));
        choice.welcomed();
        assert_eq!((choice.return_at(), choice.next(second(159))), (Some(second(160)), Transport::Sse));
        // Tried beside the connection, in vain.
        choice.returned(false, second(160));
        assert_eq!(choice.return_at(), Some(second(280)));
        // Tried instead of the connection, in vain: back at once.
        assert_eq!(choice.next(second(280)), Transport::WebSocket);
        assert!(choice.failed(&refused(426), true, second(281)));
        assert_eq!((choice.next(second(281)), choice.return_at()), (Transport::Sse, Some(second(281 + 240))));
        for _ in 0..9 {
            choice.returned(false, second(1_000));
        }
        assert_eq!(choice.return_at(), Some(second(1_600)), "bounded");
        // It opens, and even says welcome: the waits are short again.
        choice.returned(true, second(1_600));
        assert_eq!((choice.next(second(1_600)), choice.return_at()), (Transport::WebSocket, None));
        choice.welcomed();
        choice.failed(&refused(426), true, second(2_000));
        assert_eq!(choice.return_at(), Some(second(2_060)));
    }

    #[test]
    fn an_order_holds_each_transport_once_and_never_none() {
        let choice = Choice::new([Transport::Sse, Transport::Sse], Fallback::default());
        assert_eq!((choice.order.len(), choice.current()), (1, Transport::Sse));
        assert_eq!(Choice::new([], Fallback::default()).current(), Transport::WebSocket);
    }
}
