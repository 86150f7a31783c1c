//! When to connect again, and when not to. Pure: randomness and the time are handed in.

use std::time::Duration;

use eventwire_protocol::close::{AfterClose, CloseCode};

/// How long to wait between attempts: full jitter, so that clients that lost the server together do not return together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait. Doubles with every attempt that fails.
    pub base: Duration,
    /// Upper bound of every wait.
    pub max: Duration,
    /// Attempts in a row before the client gives up; `None` for no end.
    pub attempts: Option<u32>,
    /// A connection that lasted so long was a good one: the count begins again. It also begins again after one that delivered
    /// an event, and after one that lasted longer than the wait before it.
    pub stable_after: Duration,
}

impl Default for Backoff {
    /// 0.5 s, doubling to 30 s, without end; a connection of 10 s is a good one.
    fn default() -> Self {
        Backoff {
            base: Duration::from_millis(500),
            max: Duration::from_secs(30),
            attempts: None,
            stable_after: Duration::from_secs(10),
        }
    }
}

/// How a connection, or the attempt to make one, came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The socket broke, or never opened.
    Lost(String),
    /// The connection is open, and nothing arrives on it. A proxy may hold the answer back.
    Silent(String),
    /// The server closed it.
    Closed {
        /// The close code; 1005 when there was none.
        code: u16,
        /// What the server said about it.
        reason: String,
    },
    /// There was nothing to show to the server: the [`TokenSource`](crate::TokenSource) has no token.
    NoToken(String),
    /// The server answered the handshake with an HTTP status instead of a WebSocket or an event stream.
    Refused {
        /// The status.
        status: u16,
        /// What the server said about it.
        reason: String,
    },
}

impl Ended {
    /// Whether a new token may help: the server says that it does not know us, or no longer (4001, 401).
    pub fn asks_for_a_token(&self) -> bool {
        match self {
            Ended::Closed { code, .. } => {
                CloseCode::from_u16(*code).map(CloseCode::next) == Some(AfterClose::RefreshToken)
            }
            Ended::Refused { status, .. } => *status == 401,
            Ended::Lost(_) | Ended::Silent(_) | Ended::NoToken(_) => false,
        }
    }

    /// The close code or the HTTP status, [`ABNORMAL`] when there was none, and what was said about it.
    pub fn code_and_reason(&self) -> (u16, &str) {
        match self {
            Ended::Lost(why) | Ended::Silent(why) | Ended::NoToken(why) => (ABNORMAL, why),
            Ended::Closed { code, reason } => (*code, reason),
            Ended::Refused { status, reason } => (*status, reason),
        }
    }
}

/// What `connection.closing` announced before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing.
    None,
    /// Come back after this time. The server chose it so that not everyone returns at once.
    ReturnAfter(Duration),
    /// Do not come back.
    StayAway,
}

/// What to do after an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect again.
    Retry {
        /// How many attempts in a row this makes, from 1.
        attempt: u32,
        /// When.
        after: Duration,
    },
    /// Stay away. The application decides what happens next.
    Stop {
        /// The close code, or the HTTP status of a refused handshake.
        code: u16,
        /// Why.
        reason: String,
    },
    /// The attempts are used up.
    GiveUp {
        /// How many there were in a row.
        attempts: u32,
    },
}

/// Close code of a connection that ended without one (RFC 6455, section 7.4.1).
pub const ABNORMAL: u16 = 1006;

/// The policy with its count.
#[derive(Clone, Debug)]
pub struct Reconnect {
    backoff: Backoff,
    failed: u32,
    connected_at: Option<Duration>,
    /// The present connection has brought an event.
    delivered: bool,
    /// How long the present attempt was waited for.
    waited: Option<Duration>,
    /// A new token was got since the last good connection.
    refreshed: bool,
}

impl Reconnect {
    /// A policy that has seen no failure yet.
    pub fn new(backoff: Backoff) -> Self {
        Reconnect { backoff, failed: 0, connected_at: None, delivered: false, waited: None, refreshed: false }
    }

    /// The server has welcomed us. `now` is the time since an origin of the caller.
    pub fn connected(&mut self, now: Duration) {
        self.connected_at = Some(now);
    }

    /// The present connection has brought an event.
    pub fn delivered(&mut self) {
        self.delivered = true;
    }

    /// The connection, or the attempt, has ended. `random` is any number; all of its bits are used.
    pub fn after(&mut self, ended: &Ended, farewell: Farewell, now: Duration, random: u64) -> Next {
        let stops = match ended {
            Ended::Closed { code, .. } => !returns_after(*code),
            Ended::Refused { status, .. } => !retries_after(*status),
            Ended::Lost(_) | Ended::Silent(_) | Ended::NoToken(_) => false,
        };
        if stops || farewell == Farewell::StayAway {
            self.count_good(now);
            let (code, reason) = ended.code_and_reason();
            return Next::Stop { code, reason: reason.to_owned() };
        }
        self.again(farewell, now, random)
    }

    /// The same, where something is different next time, such as the token or the transport: whatever was said about this
    /// one, another attempt is made if there is one left.
    pub fn again(&mut self, farewell: Farewell, now: Duration, random: u64) -> Next {
        self.count_good(now);
        self.failed = self.failed.saturating_add(1);
        if self.backoff.attempts.is_some_and(|attempts| self.failed > attempts) {
            return Next::GiveUp { attempts: self.failed - 1 };
        }
        let after = match farewell {
            Farewell::ReturnAfter(wait) => wait,
            _ => self.jitter(random),
        };
        self.waited = Some(after);
        Next::Retry { attempt: self.failed, after }
    }

    /// Whether a new token is to be got after this end: once, until a connection was a good one again. A second refusal is
    /// about us and not about the age of the token.
    pub fn refreshes(&mut self, ended: &Ended, now: Duration) -> bool {
        if self.lasted(now).is_some_and(|lasted| lasted >= self.backoff.stable_after) {
            self.refreshed = false;
        }
        ended.asks_for_a_token() && !std::mem::replace(&mut self.refreshed, true)
    }

    fn lasted(&self, now: Duration) -> Option<Duration> {
        self.connected_at.map(|since| now.saturating_sub(since))
    }

    fn is_good(&self, now: Duration) -> bool {
        // A wait may be chosen as nothing at all, which every connection outlives.
        let waited = self.waited.map_or(Duration::MAX, |waited| waited.max(self.backoff.base));
        self.lasted(now).is_some_and(|lasted| self.delivered || lasted >= waited.min(self.backoff.stable_after))
    }

    fn count_good(&mut self, now: Duration) {
        if self.is_good(now) {
            self.failed = 0;
        }
        (self.connected_at, self.delivered, self.waited) = (None, false, None);
    }

    /// Anything from nothing to the bound of this attempt, each equally likely.
    fn jitter(&self, random: u64) -> Duration {
        let doublings = self.failed.saturating_sub(1).min(32);
        let bound =
            self.backoff.base.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.backoff.max);
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(random % (bound + 1))
    }
}

/// Whether a client comes back after this close code. A code that is not in the table says nothing about us.
fn returns_after(code: u16) -> bool {
    match CloseCode::from_u16(code).map(CloseCode::next) {
        Some(AfterClose::Reconnect) | None => true,
        // A new token is the application's to get.
        Some(AfterClose::RefreshToken | AfterClose::Stop) => false,
    }
}

/// Whether the same handshake may succeed later.
fn retries_after(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lost() -> Ended {
        Ended::Lost("reset".to_owned())
    }

    fn closed(code: u16) -> Ended {
        Ended::Closed { code, reason: String::new() }
    }

    #[test]
    fn ws_05_what_cannot_get_better_by_itself_is_not_tried_again() {
        for code in CloseCode::ALL {
            let mut reconnect = Reconnect::new(Backoff::default());
            let next = reconnect.after(&closed(code.as_u16()), Farewell::None, Duration::ZERO, 0);
            assert_eq!(matches!(next, Next::Retry { .. }), code.next() == AfterClose::Reconnect, "{code:?}");
        }
        for code in [1000, 1008, 4000, 4001, 4003, 4009] {
            let next = Reconnect::new(Backoff::default()).after(&closed(code), Farewell::None, Duration::ZERO, 0);
            assert!(matches!(next, Next::Stop { code: same, .. } if same == code));
        }
        for (status, retries) in
            [(400, false), (401, false), (403, false), (404, false), (426, false), (429, true), (503, true)]
        {
            let refused = Ended::Refused { status, reason: String::new() };
            let next = Reconnect::new(Backoff::default()).after(&refused, Farewell::None, Duration::ZERO, 0);
            assert_eq!(matches!(next, Next::Retry { .. }), retries, "{status}");
        }
    }

    #[test]
    fn ws_05_the_server_chooses_when_its_clients_return() {
        let mut reconnect = Reconnect::new(Backoff::default());
        let wait = Duration::from_millis(1_234);
        let next = reconnect.after(&closed(1012), Farewell::ReturnAfter(wait), Duration::ZERO, u64::MAX);
        assert_eq!(next, Next::Retry { attempt: 1, after: wait });
        let next = reconnect.after(&closed(1012), Farewell::StayAway, Duration::ZERO, 0);
        assert!(matches!(next, Next::Stop { code: 1012, .. }));
    }

    #[test]
    fn attempts_end_at_their_maximum_and_begin_again_after_a_good_connection() {
        let backoff = Backoff { attempts: Some(2), ..Backoff::default() };
        let mut reconnect = Reconnect::new(backoff);
        let mut attempt = |at: u64, good: Option<u64>| {
            if let Some(since) = good {
                reconnect.connected(Duration::from_millis(since));
            }
            reconnect.after(&lost(), Farewell::None, Duration::from_millis(at), 7)
        };
        assert!(matches!(attempt(0, None), Next::Retry { attempt: 1, .. }));
        // Welcomed and thrown out at once is no success.
        let mut attempt = |at: u64, good: Option<u64>| attempt(at * 1_000, good.map(|since| since * 1_000));
        assert!(matches!(attempt(1, Some(1)), Next::Retry { attempt: 2, .. }));
        assert!(matches!(attempt(20, Some(2)), Next::Retry { attempt: 1, .. }));
        assert!(matches!(attempt(21, None), Next::Retry { attempt: 2, .. }));
        assert_eq!(attempt(22, None), Next::GiveUp { attempts: 2 });
    }

    #[test]
    fn connections_that_work_are_never_counted_as_failures() {
        let next = |reconnect: &mut Reconnect, now: Duration| match reconnect.after(
            &lost(),
            Farewell::None,
            now,
            u64::MAX / 2,
        ) {
            Next::Retry { attempt, after } => (attempt, after),
            other => panic!("{other:?}"),
        };
        // A proxy that ends every stream after 8 s.
        let mut reconnect = Reconnect::new(Backoff { attempts: Some(2), ..Backoff::default() });
        let mut now = Duration::ZERO;
        for _ in 0..50 {
            reconnect.connected(now);
            now += Duration::from_secs(8);
            let (attempt, after) = next(&mut reconnect, now);
            assert!(attempt <= 2 && after <= Duration::from_secs(1), "{attempt} {after:?}");
            now += after;
        }
        // One that ends every stream after its first event.
        for _ in 0..50 {
            reconnect.connected(now);
            reconnect.delivered();
            now += Duration::from_millis(10);
            assert_eq!(next(&mut reconnect, now).0, 1);
        }
        // What is thrown out at once is away for longer and longer.
        let mut reconnect = Reconnect::new(Backoff::default());
        for expected in 1..8 {
            reconnect.connected(now);
            now += Duration::from_millis(10);
            let (attempt, after) = next(&mut reconnect, now);
            assert_eq!(attempt, expected);
            now += after;
        }
    }

    #[test]
    fn ws_05_a_new_token_is_got_once_until_a_connection_was_a_good_one() {
        let mut reconnect = Reconnect::new(Backoff::default());
        let refused = Ended::Refused { status: 401, reason: String::new() };
        let second = Duration::from_secs;
        assert!(!reconnect.refreshes(&closed(4003), second(0)) && !reconnect.refreshes(&lost(), second(0)));
        assert!(reconnect.refreshes(&closed(4001), second(0)));
        assert!(!reconnect.refreshes(&refused, second(1)), "the new one is refused as well");
        reconnect.connected(second(2));
        assert!(!reconnect.refreshes(&closed(4001), second(3)), "welcomed and thrown out is no good connection");
        reconnect.connected(second(4));
        assert!(reconnect.refreshes(&closed(4001), second(14)));
        // With another token or another way to go, a refusal is no end.
        assert!(matches!(reconnect.again(Farewell::None, second(14), 0), Next::Retry { attempt: 1, .. }));
    }

    proptest! {
        #[test]
        fn waits_stay_within_their_bound_whatever_the_numbers(
            base in 0u64..=u64::MAX, max in 0u64..=u64::MAX, failures in 1u32..100, random: u64,
        ) {
            let backoff = Backoff {
                base: Duration::from_nanos(base), max: Duration::from_nanos(max), ..Backoff::default()
            };
            let mut reconnect = Reconnect::new(backoff);
            for expected in 1..=failures {
                let Next::Retry { attempt, after } = reconnect.after(&lost(), Farewell::None, Duration::ZERO, random) else {
                    return Err(TestCaseError::fail("no end was asked for"));
                };
                prop_assert_eq!(attempt, expected);
                // The bound, by repeated doubling instead of a shift.
                let mut bound = u128::from(base);
                for _ in 1..expected {
                    bound = (bound * 2).min(u128::from(u64::MAX));
                }
                prop_assert!(after.as_nanos() <= bound.min(u128::from(max)));
            }
        }

        #[test]
        fn jitter_reaches_from_nothing_to_the_bound(random: u64) {
            let mut reconnect = Reconnect::new(Backoff { base: Duration::from_nanos(1), ..Backoff::default() });
            let Next::Retry { after, .. } = reconnect.after(&lost(), Farewell::None, Duration::ZERO, random) else {
                return Err(TestCaseError::fail("no end was asked for"));
            };
            prop_assert_eq!(after, Duration::from_nanos(random % 2));
        }
    }
}
