//! Where the messages of a context come from when a client asks for them (CTX-07).

use async_trait::async_trait;
use eventwire_protocol::{
    Audience, Claims, ContextId, ErrorBody,
    event::context::{SessionInfo, StoredMessage},
};

/// Most messages in one answer.
pub const MOST_MESSAGES: usize = 50;
/// Most bytes of messages in one answer; a single larger message makes an answer of its own. What a connection has not read
/// yet is bounded, so an answer has to be.
pub const MOST_ANSWER_BYTES: usize = 512 * 1024;

/// Messages of a context, as one client may see them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The first of those with a higher number than asked for, by number; at most [`MOST_MESSAGES`]. What the asker may not
    /// see is neither here nor counted.
    pub rows: Vec<StoredMessage>,
    /// Whether messages that the asker may see, with a higher number than asked for, are no longer kept.
    pub truncated: bool,
}

/// Knows contexts and their messages.
#[async_trait]
pub trait ContextStore: Send + Sync + 'static {
    /// Messages with a number above `since_id`, or from the first on.
    ///
    /// # Errors
    /// `unavailable` where nobody can say now. The asker is told.
    async fn messages(&self, context: &ContextId, since_id: Option<u64>, viewer: &Claims) -> Result<Found, ErrorBody>;

    /// What there is to know about a context; `None` where there is no such context.
    ///
    /// # Errors
    /// `unavailable`.
    async fn session_info(&self, context: &ContextId) -> Result<Option<SessionInfo>, ErrorBody>;
}

/// Whether a client may be shown a message. The rules are those of routing; nothing here has rules of its own.
pub(super) fn may_show(viewer: &Claims, context: &ContextId, message: &StoredMessage) -> bool {
    viewer.may_look_up(&Audience::Session(context.clone().into(), message.seen_by()), message.time)
}

/// As many of the messages as one answer holds.
pub(super) fn fitting(mut rows: Vec<StoredMessage>) -> Vec<StoredMessage> {
    rows.truncate(MOST_MESSAGES);
    let mut bytes = 0;
    let fitting = rows.iter().take_while(|row| {
        bytes += serde_json::to_vec(row).map_or(0, |json| json.len());
        bytes <= MOST_ANSWER_BYTES
    });
    let count = fitting.count().max(1);
    rows.truncate(count);
    rows
}
