//! The in-memory transport of Eventwire: a client in the same process, without a socket.
//!
//! It is a transport like the others and drives the same [`Connection`](eventwire_hub::Connection) of the hub that
//! WebSocket and server-sent events drive, so what a client sees here is what a client sees there. Programs that embed a
//! hub use it to listen to themselves; tests use it because everything that a network does to a connection can be done to
//! it on purpose:
//!
//! - a reader that stops: [`MemoryClient::pause`]; the line fills up, then the mailbox, then the log takes over;
//! - a line that breaks: [`MemoryClient::cut`], or after so many frames, [`Faults::cut_after`];
//! - a line that is slow: [`MemoryClient::hold`] and [`MemoryClient::release`];
//! - a client that does not answer pings: [`Faults::mute`];
//! - time: [`ManualClock`];
//! - order: [`MemoryClient::with_link`] gives the link to the caller, who decides when it takes which step.
//!
//! ```
//! use eventwire_hub::Hub;
//! use eventwire_memory::{ConnectOptions, MemoryClient};
//! use eventwire_protocol::event::adw::AgentDeleted;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new();
//! let mut client = MemoryClient::connect(&hub, ConnectOptions::wanting(["adw:29fb6a3e"])).await?;
//!
//! let adw = hub.adw("29fb6a3e".parse()?);
//! adw.publish(AgentDeleted { adw_id: *adw.id() }).await?;
//!
//! let frames = client.read_until(|frame| frame.kind() == "adw.agent_deleted").await?;
//! let kinds: Vec<String> = frames.iter().map(|frame| frame.kind()).collect();
//! assert_eq!(kinds, ["connection.welcome", "connection.subscribed", "adw.agent_deleted"]);
//! # Ok(())
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

mod client;
mod clock;
mod link;
mod options;
mod wire;

pub use client::{Closed, Frame, MemoryClient};
pub use clock::ManualClock;
pub use link::{Link, Step};
pub use options::{ConnectOptions, Faults, Window};

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
