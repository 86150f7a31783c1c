//! The running core of Eventwire: who is connected, what was committed, what waits for whom.
//!
//! A [`Hub`] is one realm on one node. Publishers hand it events, through scoped handles that can only publish what may go
//! there; transports connect clients to it and drive a [`Connection`] each. Between the two stand the pure functions of
//! `eventwire_protocol`; the hub adds what they leave out: time, tasks, locks, and the order in which things happen.
//!
//! ```
//! use eventwire_hub::{ConnectRequest, Credentials, Hub, Outgoing};
//! use eventwire_protocol::event::adw::AgentDeleted;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new();
//! let principal = hub.authenticate(&Credentials::default()).await?;
//! let mut watcher = ConnectRequest::new(principal, "memory");
//! watcher.targets = vec!["adw:29fb6a3e".into()];
//! let mut watcher = hub.connect(watcher).await?;
//!
//! let adw = hub.adw("29fb6a3e".parse()?);
//! adw.publish(AgentDeleted { adw_id: *adw.id() }).await?;
//!
//! let mut seen = String::new();
//! while !seen.contains("adw.agent_deleted") {
//!     if let Outgoing::Frames(frames) = watcher.next().await {
//!         frames.iter().for_each(|frame| seen.push_str(&String::from_utf8_lossy(&frame.bytes)));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

pub mod audit;
pub mod auth;
pub mod backplane;
pub mod carrier;
pub mod clock;
pub mod command_sink;
mod connection;
mod deferred;
mod fair_queue;
pub mod guard;
mod guesses;
pub mod handler;
pub mod handshake;
pub mod history;
mod holder;
mod hub;
mod intake;
mod logins;
pub mod metered;
pub mod places;
mod rates;
mod records;
mod revocation;
#[doc(hidden)]
pub mod send_queue;
mod sequencer;
mod session_key;
pub mod state;
mod stats;
mod subscriptions;
mod sync;
mod tickets;
pub mod unfinished;

pub use audit::{Audit, AuditEntry, AuditEvent, AuditSink, RequestContext};
pub use auth::{
    ApiKeys, Authenticator, Credential, CredentialKind, Credentials, KeyChange, KeyDigest, NoAuthentication, Principal,
    Secret, SupersededKey, Thumbprint,
};
pub use backplane::{Backplane, SingleNode};
pub use clock::{Clock, SystemClock};
pub use command_sink::{CommandSink, NoBackEnd};
pub use connection::{ConnectRequest, Connection, Meta, Outgoing};
pub use eventwire_protocol::{api::ConnectionInfo, work::WorkBounds};
pub use guard::Guard;
pub use handler::{ConnectionHandler, Tap};
pub use handshake::ConnectQuery;
pub use history::{Checkpoint, History, MemoryBounds, MemoryHistory, Receipt};
pub use holder::Holder;
pub use hub::{Builder, Hub, Kick, Settings, ToAdw, ToConnection, ToEveryone, ToRoom, ToSession, ToUser, random};
pub use intake::{Intake, processors};
pub use revocation::Revocation;
pub use send_queue::{Counters, OutFrame};
pub use session_key::SessionKey;
pub use stats::{Stats, TurnedAway};
pub use tickets::{SseCookie, Ticket};

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
