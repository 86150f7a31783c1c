//! Publishing and asking over HTTP.
//!
//! | path | method | permission | |
//! |---|---|---|---|
//! | `/v1/events` | POST | `publish` | publishes one event, an array or NDJSON |
//! | `/v1/events?dialect=` | POST | `publish` | the same, as the back end of an older system builds its frames |
//! | `/v1/sessions/resolve` | POST | `publish` | the session that a cookie opens |
//! | `/v1/tickets` | POST | | a ticket that opens one connection |
//! | `/v1/revocations` | POST | `admin` | takes credentials back |
//! | `/v1/connections` | GET | `admin` | who is connected |
//! | `/v1/connections/{id}` | DELETE | `admin` | closes a connection with 1008 |
//! | `/v1/explain` | GET | `observe` | who would receive an event, and why |
//! | `/health` | GET | | the process lives |
//! | `/ready` | GET | | it takes connections |
//!
//! Every answer is JSON, is not to be stored, and is of the type it says. Every refusal is
//! `{"error": {"code", "message"}}` with the status of its code (HTTP-02).
//!
//! [`Api::answer`] takes a request of the `http` crate with any body, so that any framework on hyper can mount it;
//! [`routes`] is the same as warp filters. Both check Host and Origin themselves (AUTH-02, AUTH-03), so that whatever
//! they are mounted in, a web page cannot talk to a server on the same machine.
//!
//! ```
//! use eventwire_http::Api;
//! use eventwire_hub::Hub;
//! use http_body_util::Full;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let api = Api::new(Hub::new());
//! let event = r#"{"type":"adw.agent_deleted","to":"adw:29fb6a3e","data":{"adw_id":"29fb6a3e"}}"#;
//! let request = http::Request::post("/v1/events")
//!     .header("host", "localhost")
//!     .header("content-type", "application/json")
//!     .body(Full::<bytes::Bytes>::from(event))?;
//! let answer = api.answer(request, None).await;
//! assert_eq!(answer.status(), 202);
//! assert_eq!(answer.body(), r#"{"results":[{"type":"adw.agent_deleted","to":"adw:29fb6a3e","seq":1}]}"#);
//! # Ok(())
//! # }
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

mod adopt;
mod answer;
pub mod api;
mod body;
mod filters;
pub mod paths;

pub use adopt::Fallback;
pub use answer::Refusal;
pub use api::{Api, Head};
pub use filters::{recover, routes, routes_of};

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
