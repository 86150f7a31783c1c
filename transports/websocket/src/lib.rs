//! WebSocket binding of Eventwire.
//!
//! A [`WebSocketAcceptor`] turns an `http::Request` into a [`Handshake`] or a [`Rejection`], and drives one connection of
//! the hub over whatever stream the upgrade leaves behind. It knows no framework. [`filter()`] mounts it in warp, and
//! [`WebSocketAcceptor::upgrade`] in everything that is built on hyper, axum included; `examples/` has a whole service for
//! each.
//!
//! The socket is ours from the upgrade on: no buffers but a small one for reading, every frame written from the bytes that
//! all its receivers share, everything that waits written at once.
//!
//! ```
//! use eventwire_hub::Hub;
//! use eventwire_websocket::WebSocketAcceptor;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let acceptor = WebSocketAcceptor::new(Hub::new());
//! let request = http::Request::get("/v1/ws?adw=29fb6a3e")
//!     .header("host", "localhost:4800")
//!     .header("connection", "Upgrade")
//!     .header("upgrade", "websocket")
//!     .header("sec-websocket-version", "13")
//!     .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
//!     .header("sec-websocket-protocol", "eventwire.v1")
//!     .body(())?;
//! let handshake = acceptor.negotiate(&request, None).await?;
//! assert_eq!(handshake.response().headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//!
//! // After the response was written, the stream is handed over:
//! let (_client, stream) = tokio::io::duplex(4096);
//! let serving = tokio::spawn(async move { acceptor.serve(handshake, stream).await });
//! # drop(_client);
//! # serving.await?;
//! # Ok(())
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

mod acceptor;
pub mod filter;
mod link;
mod queue;
mod rejection;
mod socket;
mod upgrade;
mod wire;

pub use acceptor::{Accepted, Handshake, Options, WebSocketAcceptor};
pub use filter::filter;
pub use rejection::Rejection;

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
