//! What a client shows to the server, and where it gets the next one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime},
};

/// Why a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// There is none yet, or a ticket that was used.
    First,
    /// The present one is about to expire.
    Expiring,
    /// The server did not take the present one (4001, 401).
    Refused,
}

/// What is shown to the server. Never printed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A token, in the header `Authorization`.
    Token {
        /// The token.
        token: String,
        /// When it expires, if that is known here. The server may know it better, and say so in `connection.welcome`.
        expires_at: Option<SystemTime>,
    },
    /// A ticket that a back end got for this client (`POST /v1/tickets`). It opens one connection, so another one is asked
    /// for before each.
    Ticket(String),
}

impl Credential {
    /// A token of which it is not known when it expires.
    pub fn token(token: impl Into<String>) -> Self {
        Credential::Token { token: token.into(), expires_at: None }
    }

    /// A token that holds for so long from now.
    pub fn token_for(token: impl Into<String>, holds: Duration) -> Self {
        Credential::Token { token: token.into(), expires_at: SystemTime::now().checked_add(holds) }
    }

    /// A ticket for one connection.
    pub fn ticket(ticket: impl Into<String>) -> Self {
        Credential::Ticket(ticket.into())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Token { expires_at, .. } => {
                f.debug_struct("Token").field("expires_at", expires_at).finish_non_exhaustive()
            }
            Credential::Ticket(_) => f.write_str("Ticket(..)"),
        }
    }
}

/// Why there is no token.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// Where a client gets what it shows to the server: before the first connection, before the present token expires, and once
/// when the server did not take it.
///
/// Every function that returns a future of a [`Credential`] is one:
///
/// ```
/// use eventwire_client::{Client, Credential, Need};
/// # async fn fetch_token() -> Result<(String, u64), std::io::Error> { Ok((String::new(), 0)) }
///
/// let builder = Client::builder("https://events.example").token_source(|_why: Need| async {
///     let (token, seconds) = fetch_token().await?;
///     Ok::<_, std::io::Error>(Credential::token_for(token, std::time::Duration::from_secs(seconds)))
/// });
/// # drop(builder);
/// ```
pub trait TokenSource: Send + Sync + 'static {
    /// Another credential. It is waited for 15 s; an error, and a wait that is longer, are failed attempts to connect, after
    /// which it is asked for again.
    fn credential(&self, why: Need) -> Pin<Box<dyn Future<Output = Result<Credential, TokenError>> + Send>>;
}

impl<F, Answer, Error> TokenSource for F
where
    F: Fn(Need) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<Credential, Error>> + Send + 'static,
    Error: Into<TokenError>,
{
    fn credential(&self, why: Need) -> Pin<Box<dyn Future<Output = Result<Credential, TokenError>> + Send>> {
        let answer = self(why);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}

/// How long before it expires a token is replaced: 30 s, but at most a quarter of what it has left.
pub(crate) fn margin(left: Duration) -> Duration {
    (left / 4).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        for credential in [Credential::token("hush"), Credential::ticket("hush")] {
            assert!(!format!("{credential:?}").contains("hush"));
        }
    }

    #[test]
    fn a_token_is_replaced_before_it_expires_and_not_all_the_time() {
        assert_eq!(margin(Duration::from_secs(3600)), Duration::from_secs(30));
        assert_eq!(margin(Duration::from_secs(8)), Duration::from_secs(2));
    }
}
