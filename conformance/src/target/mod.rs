//! What the runner needs of an implementation. A target is reached through its public face only: a URL, or the in-memory
//! transport. Frames are bytes here and JSON in the runner; nothing in between uses the types of the protocol crate, so
//! that a mistake there cannot hide itself.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    case::{Need, Over},
    principals::Principal,
};

pub mod memory;
pub mod url;

/// An implementation under test.
#[async_trait]
pub trait Target: Send + Sync {
    /// What it is, for people.
    fn name(&self) -> String;

    /// Which needs of a case it can serve. A case that needs another face ([`Need::Sse`] and the like) is no case for this
    /// kind of target.
    fn faces(&self) -> &[Need];

    /// Opens a connection.
    ///
    /// # Errors
    /// [`Fault::Refused`] when the target said no, and why.
    async fn connect(&self, dial: &Dial) -> Result<Box<dyn Link>, Fault>;

    /// Publishes items, each as a publisher writes it, in one batch.
    ///
    /// # Errors
    /// [`Fault::Refused`] when the batch as a whole was refused.
    async fn publish(&self, principal: Option<&Principal>, items: &[Value]) -> Result<Vec<Receipt>, Fault>;

    /// Sends one HTTP request.
    ///
    /// # Errors
    /// No answer came, or the target has no HTTP.
    async fn http(&self, request: &HttpRequest) -> Result<HttpAnswer, Fault>;
}

/// One open connection.
#[async_trait]
pub trait Link: Send {
    /// Sends one frame.
    ///
    /// # Errors
    /// The connection is gone, or cannot send at all (server-sent events).
    async fn send(&mut self, frame: &ClientFrame) -> Result<(), Fault>;

    /// The next thing that the server says. The runner bounds the wait.
    ///
    /// # Errors
    /// The connection broke without a close.
    async fn receive(&mut self) -> Result<Received, Fault>;
}

/// How to open a connection.
#[derive(Clone, Debug, Default)]
pub struct Dial {
    /// Whose key is presented.
    pub principal: Option<Principal>,
    /// Which transport; the target's own when absent.
    pub over: Option<Over>,
    /// ADW ids of the initial set.
    pub adw: Vec<String>,
    /// Contexts of the initial set.
    pub context: Vec<String>,
    /// Rooms of the initial set.
    pub room: Vec<String>,
    /// Ask for everything an observer may see.
    pub observe: bool,
    /// Where the initial set continues from.
    pub cursor: Option<String>,
    /// The ticket that is shown.
    pub ticket: Option<String>,
    /// Whether the cursor comes as `Last-Event-ID`, as a reconnecting EventSource sends it.
    pub cursor_as_last_event_id: bool,
}

impl Dial {
    /// Whether the connection asks for an initial set, and so gets a `connection.subscribed` unasked.
    pub fn has_initial_set(&self) -> bool {
        self.observe || !(self.adw.is_empty() && self.context.is_empty() && self.room.is_empty())
    }
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// A text frame. The bytes need not be UTF-8.
    Text(Vec<u8>),
    /// A binary frame.
    Binary(Vec<u8>),
}

/// What a client receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A frame.
    Frame {
        /// Its JSON text.
        text: String,
        /// The cursor that came with it.
        cursor: Option<String>,
    },
    /// The server closed the connection.
    Closed {
        /// The close code; 1005 when there was none.
        code: u16,
        /// What the server said about it.
        reason: String,
    },
}

/// The outcome of one published item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Accepted, with the `seq` of a logged event.
    Accepted(Option<u64>),
    /// Refused with this error code.
    Refused(String),
}

/// One HTTP request.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// Whose key is presented.
    pub principal: Option<Principal>,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Further headers; `host` and `content-length` replace what would be sent.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// Send half of the body, then hang up.
    pub half: bool,
}

/// One HTTP answer.
#[derive(Clone, Debug, Default)]
pub struct HttpAnswer {
    /// The status; 0 for a request that was cut in the middle.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a target did not do what the runner asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// The target refused, with this error code. A case can expect that.
    #[error("refused with {code}: {message}")]
    Refused {
        /// The error code.
        code: String,
        /// What it said about it.
        message: String,
    },
    /// The connection ended without a close. Cases treat it as one with code 1006.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The target could not be reached, or does not offer what was asked. The case fails.
    #[error("{0}")]
    Unreachable(String),
}
