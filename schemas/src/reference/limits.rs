//! The page of limits.

use std::fmt::Write;
use std::time::Duration;

use eventwire_protocol::limits::{self, StreamBounds};

use super::GENERATED;

/// Name of the constant, value, and what it bounds.
type Row = (&'static str, String, &'static str);

/// The page.
pub(super) fn page() -> String {
    let mut page = format!(
        "# Limits\n\n{GENERATED}\n\n\
         How much there may be of anything, and for how long. `connection.welcome` tells a client those that it lives under,\n\
         and [the configuration](configuration.md) which of them an operator may change.\n\n\
         | limit | value | of |\n| --- | --- | --- |\n"
    );
    for (name, value, meaning) in rows() {
        let _ = writeln!(page, "| `{}` | {value} | {meaning} |", name.to_lowercase());
    }
    page.push_str("\n## What the history keeps of one stream\n\nWhat exceeds any of these goes, oldest first.\n\n");
    page.push_str("| streams | events | bytes | age |\n| --- | --- | --- | --- |\n");
    for (streams, bounds) in [("of ADWs", StreamBounds::ADW), ("all others", StreamBounds::DEFAULT)] {
        let _ = writeln!(page, "| {streams} | {} | {} | {} |", bounds.events, bytes(bounds.bytes), time(bounds.age));
    }
    page.push_str("\nThe rules: [LIMIT](../spec/LIMIT.md), [FLOW](../spec/FLOW.md).\n");
    page
}

fn rows() -> Vec<Row> {
    vec![
        ("MAX_COMMAND_BYTES", bytes(limits::MAX_COMMAND_BYTES), "One frame from a client."),
        ("MAX_EVENT_BYTES", bytes(limits::MAX_EVENT_BYTES), "One event from a publisher."),
        ("MAX_BATCH_BYTES", bytes(limits::MAX_BATCH_BYTES), "The body of one request with several events."),
        ("MAX_BATCH_ITEMS", limits::MAX_BATCH_ITEMS.to_string(), "Events in one request."),
        ("MAX_DEPTH", limits::MAX_DEPTH.to_string(), "Levels of nested JSON."),
        (
            "MAX_SUBSCRIPTIONS",
            limits::MAX_SUBSCRIPTIONS.to_string(),
            "Targets that one connection is subscribed to, and that one command names.",
        ),
        ("MAX_CURSOR_BYTES", bytes(limits::MAX_CURSOR_BYTES), "A cursor."),
        (
            "MAX_COMMAND_ID_CHARACTERS",
            format!("{} characters", limits::MAX_COMMAND_ID_CHARACTERS),
            "The `id` of a command.",
        ),
        ("MAX_JOINED_BYTES", bytes(limits::MAX_JOINED_BYTES), "A frame that joined `append` parts make."),
        ("COMMANDS_PER_SECOND", limits::COMMANDS_PER_SECOND.to_string(), "Commands a second, sustained."),
        ("COMMAND_BURST", limits::COMMAND_BURST.to_string(), "Commands at once after a pause."),
        (
            "TARGETS_PER_SECOND",
            limits::TARGETS_PER_SECOND.to_string(),
            "New targets a second that one connection subscribes to, sustained.",
        ),
        ("TARGET_BURST", limits::TARGET_BURST.to_string(), "New targets at once after a pause."),
        (
            "WORK_PER_SECOND",
            limits::WORK_PER_SECOND.to_string(),
            "Units of work a second that commands may cause for each processor, over all connections.",
        ),
        ("WORK_BURST", limits::WORK_BURST.to_string(), "The same at once after a pause."),
        ("WORK_OF_COMMAND", limits::WORK_OF_COMMAND.to_string(), "Units of work of one command."),
        (
            "WORK_OF_TARGET",
            limits::WORK_OF_TARGET.to_string(),
            "Units of work of each target that a command or the query of a connection names.",
        ),
        ("WORK_OF_KIB", limits::WORK_OF_KIB.to_string(), "Units of work of each KiB of a command."),
        (
            "WORK_OF_SMALL_FRAME",
            limits::WORK_OF_SMALL_FRAME.to_string(),
            "Units of work of a WebSocket control frame, or of a fragment of fewer than 64 bytes; over Socket.IO of every frame.",
        ),
        ("SUBSCRIPTION_BYTES", bytes(limits::SUBSCRIPTION_BYTES), "The subscriptions of all connections together."),
        (
            "STRIKES_PER_MINUTE",
            limits::STRIKES_PER_MINUTE.to_string(),
            "Refused frames in a minute, after which the connection is closed with 4029.",
        ),
        ("MAILBOX_FRAMES", limits::MAILBOX_FRAMES.to_string(), "Frames that wait for one connection."),
        ("MAILBOX_BYTES", bytes(limits::MAILBOX_BYTES), "Bytes that wait for one connection."),
        ("PAGE_EVENTS", limits::PAGE_EVENTS.to_string(), "Events in one page of a replay."),
        (
            "PAGE_BYTES",
            bytes(limits::PAGE_BYTES),
            "Bytes in one page of a replay; a larger event makes a page of its own.",
        ),
        ("LATEST_KEYS", limits::LATEST_KEYS.to_string(), "Keys for which the newest `latest` event is kept."),
        ("LATEST_BYTES", bytes(limits::LATEST_BYTES), "Resident memory of the newest `latest` events of all keys."),
        ("LATEST_AGE", time(limits::LATEST_AGE), "How long a `latest` event is kept."),
        (
            "DEFERRED_BYTES",
            bytes(limits::DEFERRED_BYTES),
            "Notes about newest values that found no room in the mailbox of one connection.",
        ),
        ("IDEMPOTENCY_BYTES", bytes(limits::IDEMPOTENCY_BYTES), "Resident memory of all idempotency keys."),
        ("CHECKPOINT_BYTES", bytes(limits::CHECKPOINT_BYTES), "Resident memory of the checkpoints of all sources."),
        ("IDEMPOTENCY_AGE", time(limits::IDEMPOTENCY_AGE), "How long an idempotency key is remembered."),
        ("HEARTBEAT", time(limits::HEARTBEAT), "Between two `connection.heartbeat` events."),
        ("PING", time(limits::PING), "Between two pings of the transport."),
        (
            "UNANSWERED_PINGS",
            limits::UNANSWERED_PINGS.to_string(),
            "Unanswered pings of the transport after which the connection is closed with 4002.",
        ),
        ("STALL", time(limits::STALL), "How long a socket may accept nothing before it is closed with 4008."),
        ("TICKET_AGE", time(limits::TICKET_AGE), "How long a ticket waits to be redeemed."),
        ("TICKETS", limits::TICKETS.to_string(), "Tickets of one principal that wait to be redeemed."),
        ("SSE_COOKIE_AGE", time(limits::SSE_COOKIE_AGE), "How long the cookie of an event stream holds at most."),
        (
            "SSE_COOKIES",
            limits::SSE_COOKIES.to_string(),
            "Cookies of event streams that one principal has at a time; the oldest makes room.",
        ),
        (
            "EXPIRY_GRACE",
            time(limits::EXPIRY_GRACE),
            "How long credentials are still taken after their end, for clocks that are apart.",
        ),
        ("MAX_TOKEN_AGE", time(limits::MAX_TOKEN_AGE), "Longest life of a token, from its issue to its end."),
        (
            "FAILED_CREDENTIALS",
            limits::FAILED_CREDENTIALS.to_string(),
            "Wrong credentials that a peer may show at once without waiting.",
        ),
        (
            "FAILED_CREDENTIALS_PER_SECOND",
            limits::FAILED_CREDENTIALS_PER_SECOND.to_string(),
            "Wrong credentials of a peer a second, sustained, without waiting.",
        ),
        ("CREDENTIALS_WAIT", time(limits::CREDENTIALS_WAIT), "Longest wait before credentials are looked at."),
        (
            "FAILED_CREDENTIALS_PER_CONNECTION",
            limits::FAILED_CREDENTIALS_PER_CONNECTION.to_string(),
            "Wrong credentials after which a connection is closed.",
        ),
        (
            "HANDSHAKE_BURST",
            limits::HANDSHAKE_BURST.to_string(),
            "Connections that a holder may open at once after a pause.",
        ),
        (
            "HANDSHAKES_PER_SECOND",
            limits::HANDSHAKES_PER_SECOND.to_string(),
            "Connections that a holder may open a second, sustained.",
        ),
        (
            "ANONYMOUS_HANDSHAKES_PER_SECOND",
            limits::ANONYMOUS_HANDSHAKES_PER_SECOND.to_string(),
            "Connections that all peers without credentials may open a second, sustained.",
        ),
        ("REVOCATIONS", limits::REVOCATIONS.to_string(), "Revocations that are remembered one by one."),
        ("LOGINS", limits::LOGINS.to_string(), "Logins of which the hub remembers when it first saw them."),
        (
            "WAITING_PUBLICATION_BYTES",
            bytes(limits::WAITING_PUBLICATION_BYTES as usize),
            "Bytes of publications that wait for their turn, of all principals.",
        ),
        (
            "UNFINISHED_BYTES",
            bytes(limits::UNFINISHED_BYTES),
            "Messages and request bodies that have begun and not ended, over all connections.",
        ),
        (
            "PROGRESS_BYTES_PER_SECOND",
            limits::PROGRESS_BYTES_PER_SECOND.to_string(),
            "Least bytes a second of a message that has begun.",
        ),
        ("PROGRESS_WINDOW", time(limits::PROGRESS_WINDOW), "Time over which that is averaged."),
        ("MAX_FRAGMENTS", limits::MAX_FRAGMENTS.to_string(), "Fragments of one WebSocket message."),
        (
            "FRAMES_PER_SECOND",
            limits::FRAMES_PER_SECOND.to_string(),
            "WebSocket control frames and fragments of fewer than 64 bytes a second, sustained.",
        ),
        ("FRAME_BURST", limits::FRAME_BURST.to_string(), "The same at once after a pause."),
        (
            "SOCKETIO_IDLE_BYTES",
            bytes(limits::SOCKETIO_IDLE_BYTES),
            "Socket.IO sessions without a connection to a namespace; 28 KiB and its headers for each.",
        ),
        (
            "SOCKETIO_UNSENT_BYTES",
            bytes(limits::SOCKETIO_UNSENT_BYTES),
            "What one Socket.IO session was given to send and its client has not taken, beside its mailbox.",
        ),
        (
            "SOCKETIO_EARLY_BYTES",
            bytes(limits::SOCKETIO_EARLY_BYTES),
            "What such a session may send before it is connected.",
        ),
        (
            "SOCKETIO_SESSIONS_PER_SECOND",
            limits::SOCKETIO_SESSIONS_PER_SECOND.to_string(),
            "Socket.IO sessions that one peer opens a second, sustained, while half of their bytes are in use.",
        ),
        ("SOCKETIO_SESSION_BURST", limits::SOCKETIO_SESSION_BURST.to_string(), "The same at once after a pause."),
        ("REALM_BYTES", bytes(limits::REALM_BYTES), "Resident memory of the log over all streams."),
    ]
}

fn bytes(count: usize) -> String {
    match count {
        count if count >= 1024 * 1024 && count.is_multiple_of(1024 * 1024) => format!("{} MiB", count / (1024 * 1024)),
        count if count >= 1024 && count.is_multiple_of(1024) => format!("{} KiB", count / 1024),
        count => format!("{count} bytes"),
    }
}

fn time(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        seconds if seconds >= 120 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit that is added to the table of limits must be added to the page.
    #[test]
    fn limit_01_every_limit_is_on_the_page() {
        let table = include_str!("../../../protocol/src/limits.rs");
        let named: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(':').map(|(name, _)| name))
            .collect();
        let shown: Vec<&str> = rows().iter().map(|(name, ..)| *name).collect();
        assert_eq!(shown, named);
    }

    #[test]
    fn sizes_and_times_are_said_in_the_largest_unit_that_fits() {
        assert_eq!(
            [bytes(128), bytes(1024), bytes(1 << 20), bytes(1500)],
            ["128 bytes", "1 KiB", "1 MiB", "1500 bytes"]
        );
        assert_eq!([30, 90, 600, 86_400].map(|it| time(Duration::from_secs(it))), ["30 s", "90 s", "10 min", "24 h"]);
    }
}
