//! What is said and who hears it: the pure core of Eventwire.
//!
//! Back ends publish events; people watch them arrive. This crate defines every event, every command, and the rules that
//! decide which connection receives which event, as functions of their arguments. It opens no socket, reads no clock and
//! draws no random number, so every rule can be tested by example, by property and by exhaustive schedule, and every
//! transport that uses it behaves the same.
//!
//! The way of an event through this crate:
//!
//! 1. [`catalog`]: one table says, for each type, its payload, whom it may be addressed to and how it is delivered.
//! 2. [`envelope`]: admission turns what a publisher wrote into an [`Envelope`] or a refusal.
//! 3. [`route`]: the [`Roster`] and the envelope give the recipients. Nothing else does.
//! 4. [`delivery`] and [`resume`]: what waits for a slow socket, and what a returning one gets.
//! 5. [`dialect`]: how one family of clients reads it.
//!
//! ```
//! use eventwire_protocol::{
//!     Claims, ConnectionId, Dialect, Envelope, Member, Roster, Target, Time, event::adw::TextBlock, route::route,
//! };
//!
//! let (watcher, stranger) = (ConnectionId::from_u64(1), ConnectionId::from_u64(2));
//! let mut roster = Roster::new();
//! for id in [watcher, stranger] {
//!     roster.connect(id, Member::new(Dialect::Canonical, Claims::anonymous(), None));
//! }
//! let adw = "29fb6a3e".parse()?;
//! roster.subscribe(watcher, &Target::Adw(adw))?;
//!
//! let payload: TextBlock = serde_json::from_str(r#"{"adw_id":"29fb6a3e","content":"Done"}"#)?;
//! let event = Envelope::to_adw(adw, &payload, Time::from_unix_micros(0))?;
//! assert_eq!(route(&roster, &event), [watcher]);
//! // Envelope::to_everyone(&payload, ..) does not compile: the catalog addresses text blocks to ADWs only.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

pub mod address;
pub mod api;
pub mod application;
pub mod bounds;
pub mod catalog;
pub mod claims;
pub mod close;
pub mod command;
pub mod delivery;
pub mod dialect;
pub mod envelope;
pub mod error;
pub mod event;
pub mod explain;
pub mod footprint;
pub mod frame;
pub mod id;
pub mod inspect;
pub mod limits;
pub mod resume;
pub mod roster;
pub mod route;
pub mod shares;
pub mod time;
pub mod version;
pub mod work;

pub use address::{AddressedTo, Audience, AudienceKind, Modifiers, Target};
pub use application::{ApplicationCommand, CommandEffect, OnGivenUp, Work};
pub use catalog::{Delivery, Event, EventType};
pub use claims::{Claims, Permission, PublicScope, Role, Scope};
pub use close::CloseCode;
pub use command::{Command, Request};
pub use dialect::Dialect;
pub use envelope::{Committed, Envelope, Stored};
pub use error::{ErrorBody, ErrorCode};
pub use event::Payload;
pub use frame::{EventFrame, EventKind, Publication};
pub use id::{
    AdwId, BrowserSession, ConnectionId, ContextId, Epoch, EventId, ItemId, Position, RoomName, Seq, SessionId, UserId,
};
pub use roster::{Member, Roster};
pub use time::Time;

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
