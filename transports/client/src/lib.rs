//! Rust client of Eventwire: one handle, one stream of items, over any number of connections.
//!
//! The client connects, subscribes, notices when the connection is gone, comes back with backoff, and resumes each target
//! where it stopped. What arrives twice is dropped; what will never arrive is reported as a gap. The part that decides all
//! this ([`session`], [`reconnect`]) does no I/O; [`Client`] puts a tokio task and a WebSocket around it.
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
//!         Item::State(state) => println!("{state:?}"),
//!         _ => {}
//!     }
//! }
//! # drop(client);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod client;
mod error;
mod publish;
pub mod reconnect;
pub mod session;
mod url;

pub use client::{Builder, Client, Items};
pub use error::{BuildError, CommandError, PublishError};
pub use publish::{Draft, Publisher, Receipt};
pub use reconnect::Backoff;
pub use session::{Checkpoint, Gap, GapReason, Item, State};
