//! Every limit, in one table (LIMIT-01), and the token bucket that counts commands (LIMIT-02) and targets (LIMIT-12).

use std::time::Duration;

/// Largest frame that a canonical client may send, in bytes (FLOW-05).
pub const MAX_COMMAND_BYTES: usize = 64 * 1024;
/// Largest event that a publisher may send, in bytes.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// Largest batch of events in one request, in bytes.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Most events in one request.
pub const MAX_BATCH_ITEMS: usize = 1_000;
/// Deepest nesting of JSON that is read.
pub const MAX_DEPTH: usize = 64;
/// Most targets that one connection is subscribed to, and that one command names.
pub const MAX_SUBSCRIPTIONS: usize = 256;
/// Most bytes of a cursor.
pub const MAX_CURSOR_BYTES: usize = 48 * 1024;
/// Most characters of a command's `id`.
pub const MAX_COMMAND_ID_CHARACTERS: usize = 128;
/// Largest frame that joining `append` parts may make, in bytes.
pub const MAX_JOINED_BYTES: usize = 64 * 1024;
/// Commands a second, sustained.
pub const COMMANDS_PER_SECOND: u32 = 32;
/// Commands at once after a pause.
pub const COMMAND_BURST: u32 = 64;
/// New targets a second that one connection may begin to receive, sustained (LIMIT-12).
pub const TARGETS_PER_SECOND: u32 = 256;
/// New targets at once after a pause (LIMIT-12).
pub const TARGET_BURST: u32 = 1_024;
/// Work that commands may cause a second for each processor, over all connections, in units (LIMIT-16).
pub const WORK_PER_SECOND: u32 = 320_000;
/// Work of commands at once after a pause for each processor, in units.
pub const WORK_BURST: u32 = 1_024;
/// Units of work of one command, with the answer to it.
pub const WORK_OF_COMMAND: u32 = 16;
/// Units of work of each target that a command or the query of a connection names.
pub const WORK_OF_TARGET: u32 = 8;
/// Units of work of each KiB of a command.
pub const WORK_OF_KIB: u32 = 4;
/// Units of work of a control frame, or of a fragment of fewer than 64 bytes, of a WebSocket; over Socket.IO of every frame.
pub const WORK_OF_SMALL_FRAME: u32 = 4;
/// Bytes that the subscriptions of all connections may take (LIMIT-14).
pub const SUBSCRIPTION_BYTES: usize = 256 * 1024 * 1024;
/// Refused frames in a minute, after which the connection is closed.
pub const STRIKES_PER_MINUTE: u32 = 10;
/// Frames that wait in one mailbox.
pub const MAILBOX_FRAMES: usize = 1_024;
/// Bytes that wait in one mailbox.
pub const MAILBOX_BYTES: usize = 1024 * 1024;
/// Events in one page of a replay.
pub const PAGE_EVENTS: usize = 256;
/// Bytes in one page of a replay; a single larger event makes a page of its own.
pub const PAGE_BYTES: usize = 256 * 1024;
/// Keys for which the newest `latest` value is kept.
pub const LATEST_KEYS: usize = 10_000;
/// Resident bytes of the newest values of all keys (LIMIT-11).
pub const LATEST_BYTES: usize = 64 * 1024 * 1024;
/// How long a `latest` value is kept.
pub const LATEST_AGE: Duration = Duration::from_secs(24 * 3600);
/// Bytes of what is remembered of newest values that found no room in the mailbox of one connection (LIMIT-17).
pub const DEFERRED_BYTES: usize = 2 * 1024 * 1024;
/// Resident bytes of idempotency keys (LIMIT-11).
pub const IDEMPOTENCY_BYTES: usize = 64 * 1024 * 1024;
/// Resident bytes of the checkpoints of all sources (LIMIT-11).
pub const CHECKPOINT_BYTES: usize = 32 * 1024 * 1024;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_AGE: Duration = Duration::from_secs(600);
/// Between two `connection.heartbeat` events.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// Between two transport pings.
pub const PING: Duration = Duration::from_secs(25);
/// Unanswered transport pings after which the connection is closed.
pub const UNANSWERED_PINGS: u32 = 2;
/// A socket that accepts nothing for so long is closed.
pub const STALL: Duration = Duration::from_secs(10);
/// How long a ticket waits to be redeemed.
pub const TICKET_AGE: Duration = Duration::from_secs(30);
/// Tickets of one principal that wait to be redeemed.
pub const TICKETS: usize = 256;
/// How long the cookie of an event stream holds at most, whatever the credentials say.
pub const SSE_COOKIE_AGE: Duration = Duration::from_secs(12 * 3600);
/// Cookies of event streams that one principal has at a time; the oldest makes room.
pub const SSE_COOKIES: usize = 1_024;
/// How long credentials are still taken after their end, for clocks that are apart.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(5);
/// Longest life of a token, from its issue to its end.
pub const MAX_TOKEN_AGE: Duration = Duration::from_secs(24 * 3600);
/// Wrong credentials that a peer may show at once without waiting.
pub const FAILED_CREDENTIALS: u32 = 32;
/// Wrong credentials of a peer a second, sustained, without waiting.
pub const FAILED_CREDENTIALS_PER_SECOND: u32 = 1;
/// Longest wait before credentials are looked at.
pub const CREDENTIALS_WAIT: Duration = Duration::from_secs(5);
/// Wrong credentials after which a connection is closed.
pub const FAILED_CREDENTIALS_PER_CONNECTION: u32 = 10;
/// Connections that a holder may open at once after a pause; more where `max_connections` is more than half of it.
pub const HANDSHAKE_BURST: u32 = 16_384;
/// Connections that a holder may open a second, sustained.
pub const HANDSHAKES_PER_SECOND: u32 = 512;
/// Connections that all peers without credentials may open a second, sustained.
pub const ANONYMOUS_HANDSHAKES_PER_SECOND: u32 = 4_096;
/// Revocations that are remembered one by one.
pub const REVOCATIONS: usize = 100_000;
/// Logins of which the hub remembers when it first saw them; the one that was not shown for the longest time is forgotten first.
pub const LOGINS: usize = 100_000;

/// Bytes of publications that wait for their turn (LIMIT-15).
pub const WAITING_PUBLICATION_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of messages and request bodies that have begun and not ended, over all connections (LIMIT-08).
pub const UNFINISHED_BYTES: usize = 64 * 1024 * 1024;
/// Least bytes a second of a message that has begun (LIMIT-09).
pub const PROGRESS_BYTES_PER_SECOND: u64 = 8 * 1024;
/// Time over which that is averaged.
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(30);
/// Most fragments of one WebSocket message (WS-12).
pub const MAX_FRAGMENTS: u32 = 16_384;
/// Control frames and fragments of fewer than 64 bytes a second, sustained (WS-12).
pub const FRAMES_PER_SECOND: u32 = 512;
/// Control frames and fragments of fewer than 64 bytes at once after a pause.
pub const FRAME_BURST: u32 = 4_096;
/// Bytes of Socket.IO sessions without a connection to a namespace (SIO-22).
pub const SOCKETIO_IDLE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one Socket.IO session has been given to send and its client has not taken; one larger packet goes alone (SIO-06).
pub const SOCKETIO_UNSENT_BYTES: usize = 256 * 1024;
/// Bytes that a Socket.IO session may send without a connection to a namespace.
pub const SOCKETIO_EARLY_BYTES: usize = 16 * 1024;
/// Socket.IO sessions that one peer opens a second, sustained, while many are without a connection.
pub const SOCKETIO_SESSIONS_PER_SECOND: u32 = 128;
/// Socket.IO sessions that one peer opens at once after a pause, while many are without a connection.
pub const SOCKETIO_SESSION_BURST: u32 = 1_024;

/// How much of one stream the history keeps. What exceeds any of these goes, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamBounds {
    /// Events.
    pub events: usize,
    /// Resident bytes (LIMIT-11).
    pub bytes: usize,
    /// Age.
    pub age: Duration,
}

impl StreamBounds {
    /// For streams of ADWs, which are long and looked at for a day.
    pub const ADW: Self = Self { events: 20_000, bytes: 32 * 1024 * 1024, age: Duration::from_secs(24 * 3600) };
    /// For all others.
    pub const DEFAULT: Self = Self { events: 1_000, bytes: 4 * 1024 * 1024, age: Duration::from_secs(600) };
}

/// Resident bytes of the log over all streams (LIMIT-11).
pub const REALM_BYTES: usize = 256 * 1024 * 1024;

/// A bucket that fills at a steady rate. Pure: the caller passes the time since an origin of its own.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    /// Tokens times 10^9, so that nothing is rounded away.
    nano_tokens: u64,
    filled_at: Duration,
}

const NANO: u64 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket.
    pub fn new(per_second: u32, burst: u32, now: Duration) -> Self {
        Self { per_second, burst, nano_tokens: u64::from(burst) * NANO, filled_at: now }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        self.take_many(1, now)
    }

    /// Takes so many tokens, or none. An amount over the burst counts as the burst, or it could never be taken.
    ///
    /// # Errors
    /// How long to wait until there are enough.
    pub fn take_many(&mut self, amount: u32, now: Duration) -> Result<(), Duration> {
        let elapsed = u64::try_from(now.saturating_sub(self.filled_at).as_nanos()).unwrap_or(u64::MAX);
        self.filled_at = now.max(self.filled_at);
        let rate = u64::from(self.per_second);
        self.nano_tokens =
            self.nano_tokens.saturating_add(elapsed.saturating_mul(rate)).min(u64::from(self.burst) * NANO);
        let wanted = u64::from(amount.min(self.burst)) * NANO;
        match self.nano_tokens.checked_sub(wanted) {
            Some(rest) => {
                self.nano_tokens = rest;
                Ok(())
            }
            None => Err(Duration::from_nanos((wanted - self.nano_tokens).div_ceil(rate.max(1)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_02_a_bucket_gives_the_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(32, 64, Duration::ZERO);
        for _ in 0..64 {
            bucket.take(Duration::ZERO).unwrap();
        }
        let wait = bucket.take(Duration::ZERO).unwrap_err();
        assert_eq!(wait, Duration::from_nanos(31_250_000));
        bucket.take(wait).unwrap();
        assert!(bucket.take(wait).is_err());
        // A clock that goes back neither panics nor gives tokens.
        assert!(bucket.take(Duration::ZERO).is_err());
        for _ in 0..64 {
            bucket.take(Duration::from_secs(3600)).unwrap();
        }
        assert!(bucket.take(Duration::from_secs(3600)).is_err());
    }
}
