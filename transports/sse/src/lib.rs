//! Server-sent events: the stream of events for clients of plain HTTP, such as `EventSource` in every browser and `curl -N`.
//!
//! ```text
//! GET /v1/sse?to=adw:29fb6a3e,room:tasks
//!
//! retry: 2000
//! id: 9f3a77c2d1e05b64-4710
//! data: {"type":"connection.welcome",...}
//!
//! data: {"type":"connection.subscribed",...}
//!
//! id: 9f3a77c2d1e05b64-4711
//! data: {"type":"adw.text_block","time":"...","to":"adw:29fb6a3e","seq":4711,"prev":4702,"data":{...}}
//!
//! : keep-alive
//! ```
//!
//! **Format.** Each event is one frame of the protocol on one `data:` line; there is no `event:` line, so `onmessage` gets
//! them all. Logged events carry an `id:` line (SSE-01). No block is without data, because some clients dispatch an event for
//! it and others forget its id (SSE-09).
//!
//! **Resuming.** The id is a cursor: the position of the client in each of its streams. `EventSource` sends it back as
//! `Last-Event-ID` when it reconnects, and gets what it missed, without hole or repetition. Clients that cannot set the header
//! write `lastEventId` or `cursor` into the query (SSE-02). The block of `connection.welcome` has an id as well: a client that is
//! cut off before its first logged event resumes. A cursor that this server never gave out is refused with 400, after which
//! `EventSource` stays away; one of another history is answered with `connection.gap` and everything that this history holds.
//!
//! **Closing.** There are no close codes here. The last event is `connection.closing`, and `retry:` in its block says when to
//! return, so that a server that restarts is not stormed; after a close for good it is a day. `EventSource` gives up for ever
//! after an answer other than 200, so a server without room answers it with a stream that consists of that one block. A client
//! whose `Accept` does not name `text/event-stream` gets 503 or 429 (SSE-07).
//!
//! **Slow readers.** What is to be sent is asked for by the socket, one batch at a time; the rest waits in the mailbox and
//! then in the log. A body that is not asked for anything for 10 s while there is something to send lets go of its
//! connection and ends (FLOW-07). The socket itself belongs to the HTTP server, whose business it is to close it.
//!
//! **Silence.** A comment comes at least every 15 s, also in the place of the hub's transport pings, which have no answer here
//! (SSE-06). `connection.heartbeat` comes as everywhere.
//!
//! **Who asks.** A token comes in `Authorization: Bearer`, which `EventSource` cannot set; pages that need a token use the
//! WebSocket, or fetch the stream with `fetch`. Tokens in the query are not read.
//!
//! [`SseAcceptor::open`] takes a request of the `http` crate and gives a response whose body is an
//! [`http_body::Body`]; [`filter`] is a warp filter over it.
//!
//! ```
//! use eventwire_hub::Hub;
//! use eventwire_sse::SseAcceptor;
//! use http_body_util::BodyExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let acceptor = SseAcceptor::new(Hub::new());
//! let request = http::Request::get("/v1/sse?to=room:tasks").header("host", "localhost").body(())?;
//! let mut response = acceptor.open(&request, None).await?;
//! assert_eq!(response.headers()["content-type"], "text/event-stream");
//! let first = response.body_mut().frame().await.ok_or("ended")??;
//! assert!(first.into_data().is_ok_and(|bytes| bytes.starts_with(b"retry: 2000\nid: ")));
//! # Ok(())
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

mod acceptor;
mod body;
mod cookie;
mod encode;
mod feed;
mod filter;
mod rejection;

pub use acceptor::{Options, SseAcceptor};
pub use body::SseBody;
pub use filter::filter;
pub use rejection::Rejection;

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
