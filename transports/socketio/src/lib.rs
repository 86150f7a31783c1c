//! Socket.IO binding of Eventwire: Engine.IO 4 and Socket.IO 5, over polling, WebSocket and the upgrade from one to the other.
//!
//! Each namespace connection of a client is one [`Connection`](eventwire_hub::Connection) of the hub. What a namespace is,
//! and how a connection of it behaves, is decided by a [`ConnectHandler`]; the binding itself knows no system. Frames of a dialect
//! of its own are JSON arrays, `[name, argument]`, in both directions; a canonical frame is the event named by its `type`
//! with the frame as its argument, and canonical commands come as the event `command` (SIO-08).
//!
//! One task owns each connection of the hub. What the client sends is pushed into the bounded queue of that task in the
//! order in which it came, and the task alone writes, so that nothing overtakes anything (SIO-05). The task takes from the
//! mailbox only what the socket has room for (SIO-06).
//!
//! ```
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use eventwire_hub::{ConnectRequest, Credentials, Hub};
//! use eventwire_protocol::ErrorBody;
//! use eventwire_socketio::{Admitted, ConnectInfo, ConnectHandler, SocketIoAcceptor};
//! use http_body_util::Empty;
//!
//! struct Canonical(Hub);
//!
//! #[async_trait]
//! impl ConnectHandler for Canonical {
//!     async fn admit(&self, info: &ConnectInfo) -> Result<Admitted, ErrorBody> {
//!         let credentials = Credentials { token: info.token()?, peer: info.peer };
//!         let principal = self.0.authenticate(&credentials).await?;
//!         Ok(Admitted { request: ConnectRequest::new(principal, "socketio"), handler: None })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new();
//! let acceptor = SocketIoAcceptor::new(hub.clone(), &["/v1"], Arc::new(Canonical(hub)));
//! let request = http::Request::get("/socket.io/?EIO=4&transport=polling").body(Empty::<bytes::Bytes>::new())?;
//! let response = acceptor.answer(request, None).await;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

mod abortable_stream;
mod acceptor;
mod body;
mod connect_handler;
mod connection;
mod gate;
mod inbox;
mod sessions;
mod unsent;

pub use acceptor::{MAX_PAYLOAD, Options, PATH, PING_INTERVAL, PING_TIMEOUT, SocketIoAcceptor};
pub use connect_handler::{Admitted, Attachments, ConnectHandler, ConnectInfo};

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
