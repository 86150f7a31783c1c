//! Brings what clients ask of the application to back ends in any language (CMD-09): as a stream that they read, or as
//! requests that they get.
//!
//! [`Feed`] answers `GET /v1/commands`, server-sent events with acknowledgements. [`Webhook`] posts each command to a URL,
//! signed. Both are a [`CommandSink`](eventwire_hub::CommandSink): at least once, in order within a session, urgent ones
//! before those that wait, and never without bound. An urgent command withdraws what it cancels and names it (CMD-15,
//! CMD-16). What no back end takes in the end is told to who asked.
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventwire_commands::{Feed, FeedSettings, tell_sender};
//! use eventwire_hub::{CommandSink, Hub};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let hub = Hub::new();
//! let feed = Feed::new(hub.clone(), FeedSettings::default(), tell_sender(hub));
//! let sink: Arc<dyn CommandSink> = Arc::new(feed.clone()); // for the systems; `feed.answer` is for the HTTP server
//! # drop(sink);
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

mod body;
mod feed;
mod lane;
mod ledger;
mod lines;
pub mod queue;
mod recent;
mod retry;
mod signature;
mod webhook;

use std::sync::Arc;

use eventwire_hub::Hub;
use eventwire_protocol::{
    ApplicationCommand, ErrorBody, OnGivenUp,
    event::adw::{TicketNotificationResponse, TicketStatus},
};

pub use feed::{Body, FEED_ROUTES, Feed, FeedRoute, FeedSettings};
pub use signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, sign};
pub use webhook::{Webhook, WebhookSettings, certificates};

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Told of every command that was taken and that no back end carried out, and why.
pub type OnFailure = Arc<dyn Fn(ApplicationCommand, ErrorBody) + Send + Sync>;

/// Sends the sender the error in the form that its dialect has for the command (CMD-09).
pub fn tell_sender(hub: Hub) -> OnFailure {
    Arc::new(move |command, error| {
        match OnGivenUp::of(&command.dialect, &command.name) {
            OnGivenUp::Error => hub.send_error(command.connection_id, &error),
            OnGivenUp::TicketResponse => hub.tell(command.connection_id, &refused_ticket(&command, error)),
            OnGivenUp::Nothing => false,
        };
    })
}

fn refused_ticket(command: &ApplicationCommand, error: ErrorBody) -> TicketNotificationResponse {
    let named = ["id", "ticket_id"].iter().filter_map(|name| command.data.get(*name));
    let id = named.into_iter().find(|id| id.is_number() || id.as_str().is_some_and(|text| !text.is_empty()));
    TicketNotificationResponse {
        status: TicketStatus::Error,
        ticket_id: id.map_or_else(String::new, |id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)),
        message: "The ticket was not taken in".to_owned(),
        error: Some(error.message.into_owned()),
    }
}
