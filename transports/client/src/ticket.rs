//! Tickets: what a back end gives to a page or a program that is to connect without holding a token.

use serde::Deserialize;

use crate::{
    error::PublishError,
    publish::{Publisher, refusal},
};

/// A ticket for one connection, as the server gave it out. Hand it to whoever is to connect: a page appends it to the address
/// (`?ticket=`), a Rust client takes it from a [`TokenSource`](crate::TokenSource) as
/// [`Credential::ticket`](crate::Credential::ticket).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Ticket {
    /// The ticket. It opens one connection and then nothing.
    pub ticket: String,
    /// How many seconds it may be used.
    pub expires_in_s: u64,
}

impl std::fmt::Debug for Ticket {
    /// Never prints the ticket.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Asks for a ticket (`POST /v1/tickets`), which stands for the token of this publisher.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn ticket(&self) -> Result<Ticket, PublishError> {
        let (status, body) = self.post("tickets", b"{}".to_vec()).await?;
        match serde_json::from_slice(&body) {
            Ok(ticket) if status == 201 => Ok(ticket),
            _ => Err(refusal(status, &body)),
        }
    }
}
