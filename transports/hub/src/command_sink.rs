//! Where commands go that are the application's to answer (CMD-09).

use async_trait::async_trait;
use eventwire_protocol::{ApplicationCommand, ErrorBody, ErrorCode};

use crate::holder::Holder;

/// Brings commands to a back end: at least once, in order for each [`ApplicationCommand::lane`], urgent ones first.
#[async_trait]
pub trait CommandSink: Send + Sync + 'static {
    /// Takes a command over. Returns when the sink answers for it, not when it has been carried out: the answers are events
    /// that the back end publishes.
    ///
    /// # Errors
    /// `unavailable` when no back end is there or too many commands wait. The sender is told.
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody>;

    /// As [`submit`](Self::submit), on the account of a holder (LIMIT-13). A sink in which commands wait shares its room
    /// between holders; the default is for sinks in which none does.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    async fn submit_for(&self, holder: Holder, command: ApplicationCommand) -> Result<(), ErrorBody> {
        let _ = holder;
        self.submit(command).await
    }
}

/// There is no back end: every command is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBackEnd;

#[async_trait]
impl CommandSink for NoBackEnd {
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody> {
        let message = format!("{:?} was not carried out: no back end takes commands here", command.name);
        Err(ErrorBody::new(ErrorCode::Unavailable, message))
    }
}
