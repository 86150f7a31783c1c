//! Rust client of Eventwire: one handle, one stream of items, over any number of connections.
//!
//! The client connects, subscribes, notices when the connection is gone, comes back with backoff, and resumes each target
//! where it stopped. What arrives twice is dropped; what will never arrive is reported as a gap. Where a proxy lets no
//! WebSocket through, server-sent events carry the same, and a change from one to the other costs no event. The part that
//! decides all this ([`session`], [`reconnect`], [`transport`]) does no I/O; [`Client`] puts a tokio task and a connection
//! around it.
//!
//! ```no_run
//! use eventwire_client::{Client, Item};
//!
//! # async fn watch() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut items) = Client::builder("http://127.0.0.1:4800").subscribe("adw:29fb6a3e").build()?;
//! while let Some(item) = items.next().await {
//!     match item {
//!         Item::Event(event) => println!("{} {}", event.time, event.kind),
//!         Item::Gap(gap) => println!("load {} again: {:?}", gap.stream, gap.reason),
//!         Item::Refused(refused) => println!("{}: {}", refused.to, refused.message),
//!         Item::Unreadable { error, .. } => println!("{error}"),
//!         Item::State(state) => println!("{state:?}"),
//!     }
//! }
//! # drop(client);
//! # Ok(())
//! # }
//! ```
//!
//! **Events by type.** [`Item::typed`] gives an event with its payload, [`Items::on`] a stream of the events of one type.
//!
//! **Several targets.** [`Items::scoped`] gives each target a reader of its own: its events, its gaps, its refusal, and every
//! state of the connection.
//!
//! **The end.** The last item is [`State::Closed`] when somebody decided it (the application; a server that does not want
//! this client back, by the table of close codes) and [`State::Failed`] when the attempts are used up. Dropping the [`Items`]
//! ends the client at once.
//!
//! **Tokens.** [`Builder::token`] is one that holds; a [`TokenSource`] gives one before the present expires, and once when
//! the server did not take it.
//!
//! **Status.** [`Client::status`] tells phase, transport, latency and [`Quality`] at any time.
//!
//! **Publishing.** A [`Publisher`] sends events and gives each its outcome; a [`Queue`] before it keeps a bounded number of
//! them while the server cannot be reached.
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.
#![forbid(unsafe_code)]

mod awake;
mod builder;
mod client;
mod error;
mod event_stream;
mod held;
mod net;
pub mod pace;
mod publish;
mod quality;
mod queue;
pub mod reconnect;
mod scope;
pub mod session;
mod task;
mod ticket;
mod token;
pub mod transport;
mod typed;
mod url;

pub use builder::{Builder, Liveness};
pub use client::{Client, Items, Phase, Status, StatusChanges};
pub use error::{BuildError, CommandError, PublishError};
pub use eventwire_protocol::api::Evicted;
pub use net::Authorities;
pub use publish::{Draft, Publisher, Receipt};
pub use quality::{Latency, Quality};
pub use queue::{Fate, Queue, QueueBounds, QueueFull};
pub use reconnect::Backoff;
pub use scope::{Concern, Scopes, TargetItems};
pub use session::{Checkpoint, Gap, GapReason, Item, State};
pub use ticket::Ticket;
pub use token::{Credential, Need, TokenError, TokenSource};
pub use transport::{Fallback, Transport};
pub use typed::{Only, Typed, TypedEvent};

/// The examples in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
