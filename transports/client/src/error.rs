//! What can go wrong, and what the caller does about it.

use eventwire_protocol::{
    error::ErrorBody,
    event::connection,
    id::IdError,
    limits::{MAX_BATCH_BYTES, MAX_BATCH_ITEMS},
};

/// A client or publisher cannot be built. Mend the configuration; trying again does not help.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address is not one of a server.
    #[error("{url:?} is not the address of a server: {problem}; give one such as http://127.0.0.1:4800")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A target cannot be subscribed to.
    #[error("cannot subscribe to {to:?}: {source}")]
    Target {
        /// What was given.
        to: String,
        /// What is wrong with it.
        source: IdError,
    },
    /// No event has so large a number.
    #[error("cannot begin {to:?} after {since}: no sequence number is so large")]
    Since {
        /// The target.
        to: String,
        /// What was given.
        since: u64,
    },
    /// The token cannot stand in an HTTP header.
    #[error("the token has characters that cannot stand in an Authorization header")]
    Token,
    /// A certificate of an authority cannot be used.
    #[error("a certificate of an authority cannot be used: {why}; give PEM text")]
    Certificate {
        /// What is wrong with it.
        why: String,
    },
}

/// A command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The server refused it. Mend the command; try again only if `retryable`, after `retry_after_ms`.
    #[error("refused with {}: {}", .0.code, .0.message)]
    Refused(Box<connection::Error>),
    /// A target cannot be subscribed to. Mend it.
    #[error("cannot subscribe to {to:?}: {source}")]
    Target {
        /// What was given.
        to: String,
        /// What is wrong with it.
        source: IdError,
    },
    /// No answer in time. It may still come: items have to be read for answers to get through. A `subscribe` stays in
    /// force.
    #[error("no answer in time")]
    Timeout,
    /// The connection was lost before the answer came, or there was none. Try again once connected.
    #[error("not connected")]
    Disconnected,
    /// The connection is an event stream over HTTP, which carries no commands.
    #[error("server-sent events carry no commands; wait for a WebSocket")]
    NoCommands,
    /// So many calls wait for a connection already. Wait until there is one.
    #[error("{limit} calls wait for a connection already")]
    Overflow {
        /// The most that wait.
        limit: usize,
    },
    /// The client has ended; its last item said why. Build another one.
    #[error("the client has ended")]
    Ended,
}

/// Publishing failed as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The server refused the request. Mend it; try again only if the code says that this can help.
    #[error("refused with status {status}: {error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        error: ErrorBody,
    },
    /// More than one request may hold, so nothing was sent. Publish them in several.
    #[error(
        "{events} events of {bytes} bytes are more than one request may hold ({MAX_BATCH_ITEMS} events, {MAX_BATCH_BYTES} bytes); publish them in several"
    )]
    TooLarge {
        /// How many events there were.
        events: usize,
        /// How many bytes they have as JSON.
        bytes: usize,
    },
    /// The server could not be reached, so nothing was published. Try again.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer did not come, so nobody knows whether the events were published. Try again with the same event ids,
    /// and nothing is published twice.
    #[error("the answer was lost: {0}")]
    Unanswered(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is none of this protocol: there is another server at that address.
    #[error("status {status} with an answer that is not from an Eventwire server")]
    Foreign {
        /// The HTTP status.
        status: u16,
    },
}
