//! The client's end of a line.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use eventwire_hub::{ConnectRequest, Connection, ConnectionHandler, Credentials, Hub, Meta, OutFrame};
use eventwire_protocol::{CloseCode, Command, ConnectionId, ErrorBody, EventFrame, resume::Cursor};
use serde_json::Value;

use crate::{
    link::Link,
    options::{ConnectOptions, Faults, Window},
    wire::{Read, Wire},
};

/// One frame as the client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The bytes, shared with every other receiver of the event.
    pub bytes: Bytes,
    /// Where a receiver stands that has this frame and all before it, on logged events if it was asked for.
    pub cursor: Option<Cursor>,
}

impl From<OutFrame> for Frame {
    fn from(OutFrame { bytes, cursor }: OutFrame) -> Self {
        Self { bytes, cursor }
    }
}

impl Frame {
    /// The frame as JSON; null if it is none, which no dialect of this version sends.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The frame as a typed event of the canonical dialect.
    ///
    /// # Errors
    /// `malformed_frame` or `invalid_payload`; a hub sends neither.
    pub fn event(&self) -> Result<EventFrame, ErrorBody> {
        EventFrame::decode(&String::from_utf8_lossy(&self.bytes))
    }

    /// The event's type, as it stands in the frame; empty if there is none.
    pub fn kind(&self) -> String {
        self.value().get("type").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The event's number, if it is logged.
    pub fn seq(&self) -> Option<u64> {
        self.value().get("seq").and_then(Value::as_u64)
    }
}

/// Why there is nothing more to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// The line broke. Connect again and resume.
    #[error("the line broke")]
    Cut,
    /// The client left.
    #[error("the client left")]
    Left,
    /// The server closed the connection; [`CloseCode::next`] says what to do.
    #[error("closed by the server with {}: {_1}", _0.as_u16())]
    ByServer(CloseCode, String),
}

/// A client in the same process.
///
/// Dropping it breaks the line.
pub struct MemoryClient {
    hub: Hub,
    id: ConnectionId,
    wire: Arc<Wire>,
    /// Whether somebody else steps the link.
    stepped: bool,
    cursor: Option<Cursor>,
}

impl MemoryClient {
    /// Connects to a hub. The link runs in a task of its own.
    ///
    /// # Errors
    /// `unauthorized`, `unavailable`, and what the history says.
    pub async fn connect(hub: &Hub, options: ConnectOptions) -> Result<Self, ErrorBody> {
        let (client, link) = Self::open(hub, options, false).await?;
        tokio::spawn(link.run());
        Ok(client)
    }

    /// Connects a client of an older system, as a listener for it would: it has been admitted, and behaves as the handler
    /// says.
    ///
    /// # Errors
    /// `unavailable`, and what the history says.
    pub async fn connect_as(
        hub: &Hub,
        request: ConnectRequest,
        handler: Box<dyn ConnectionHandler>,
    ) -> Result<Self, ErrorBody> {
        let connection = hub.connect_as(request, handler).await?;
        let id = connection.id();
        let wire = Wire::new(Window::default(), Faults::default());
        tokio::spawn(Link::new(wire.clone(), connection).run());
        Ok(Self { hub: hub.clone(), id, wire, stepped: false, cursor: None })
    }

    /// Connects to a hub and gives the link to the caller, to step it.
    ///
    /// # Errors
    /// `unauthorized`, `unavailable`, and what the history says.
    pub async fn with_link(hub: &Hub, options: ConnectOptions) -> Result<(Self, Link), ErrorBody> {
        Self::open(hub, options, true).await
    }

    async fn open(hub: &Hub, options: ConnectOptions, stepped: bool) -> Result<(Self, Link), ErrorBody> {
        let ConnectOptions { principal, token, dialect, home, targets, cursor, cursors, announce, window, faults } =
            options;
        let peer = Some(Ipv4Addr::LOCALHOST.into());
        let principal = match principal {
            Some(principal) => principal,
            None => hub.authenticate(&Credentials { token, peer }).await?,
        };
        let meta = Meta { transport: "memory", remote_address: None, user_agent: None };
        // What is committed between this and the connection is not delivered live; resuming from here brings it.
        let start = match &cursor {
            None if cursors => {
                let (epoch, low) = hub.head().await?;
                Some(Cursor { epoch, low, others: BTreeMap::new() })
            }
            given => given.clone(),
        };
        let request =
            ConnectRequest { principal, dialect, home, targets, cursor, cursors, announce, errors: false, meta };
        let connection: Connection = hub.connect(request).await?;
        let id = connection.id();
        let wire = Wire::new(window, faults);
        let link = Link::new(wire.clone(), connection);
        Ok((Self { hub: hub.clone(), id, wire, stepped, cursor: start }, link))
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where the client stands: what to connect with again in order to miss nothing and get nothing twice. Known from the
    /// start on, if [`ConnectOptions::cursors`] asked for cursors.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    fn read(&mut self) -> Read {
        let read = self.wire.read();
        if let Read::Frame(Frame { cursor: Some(cursor), .. }) = &read {
            self.cursor = Some(cursor.clone());
        }
        read
    }

    /// Waits for the next frame. Cancel safe.
    ///
    /// # Errors
    /// The line has ended; everything that arrived was read.
    pub async fn next_frame(&mut self) -> Result<Frame, Closed> {
        loop {
            match self.read() {
                Read::Frame(frame) => return Ok(frame),
                Read::End(end) => return Err(end),
                Read::Nothing => self.wire.to_client.notified().await,
            }
        }
    }

    /// The next frame, if one has arrived.
    ///
    /// # Errors
    /// The line has ended; everything that arrived was read.
    pub fn try_next_frame(&mut self) -> Result<Option<Frame>, Closed> {
        match self.read() {
            Read::Frame(frame) => Ok(Some(frame)),
            Read::End(end) => Err(end),
            Read::Nothing => Ok(None),
        }
    }

    /// Reads up to the first frame that the condition holds for, and gives all that were read, it included.
    ///
    /// # Errors
    /// The line has ended before.
    pub async fn read_until(&mut self, mut last: impl FnMut(&Frame) -> bool) -> Result<Vec<Frame>, Closed> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next_frame().await?;
            let found = last(&frame);
            frames.push(frame);
            if found {
                return Ok(frames);
            }
        }
    }

    /// Reads everything that is on its way, what a lagging connection has yet to get from the log included, and returns
    /// when nothing more comes before somebody publishes, time passes, or the client acts.
    ///
    /// Of a client that is paused or whose line holds frames back it gives what can be read, and of one whose link
    /// somebody else steps what was written so far.
    pub async fn drain(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            // In this order: what leaves the mailbox makes the line busy first.
            let waits = self.has_more_for_the_link();
            match self.read() {
                Read::Frame(frame) => frames.push(frame),
                Read::End(_) => return frames,
                Read::Nothing if self.stepped || self.wire.is_stopped() => return frames,
                Read::Nothing if !waits && self.wire.is_quiet() => return frames,
                Read::Nothing => self.wire.to_client.notified().await,
            }
        }
    }

    /// Whether mailbox or log hold something for this connection.
    fn has_more_for_the_link(&self) -> bool {
        let mine = self.hub.connections().into_iter().find(|info| info.connection_id == self.id);
        mine.is_some_and(|info| info.queued_frames > 0 || info.lagging)
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// The line has ended.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), Closed> {
        self.send_bytes(text.into()).await
    }

    /// Sends a text frame of any bytes, UTF-8 or not.
    ///
    /// # Errors
    /// The line has ended.
    pub async fn send_bytes(&mut self, bytes: impl Into<Bytes>) -> Result<(), Closed> {
        let mut bytes = bytes.into();
        while let Some(back) = self.wire.send(bytes)? {
            bytes = back;
            self.wire.to_client.notified().await;
        }
        Ok(())
    }

    /// Sends a command, with an id that the reply echoes.
    ///
    /// # Errors
    /// The line has ended.
    pub async fn send(&mut self, command: &Command, id: Option<&str>) -> Result<(), Closed> {
        let text = command.encode(id).unwrap_or_default();
        self.send_text(text).await
    }

    /// Stops reading: frames fill the line, then the mailbox, then stay in the log. Pings stay unanswered.
    pub fn pause(&mut self) {
        self.wire.set_paused(true);
    }

    /// Reads again.
    pub fn resume(&mut self) {
        self.wire.set_paused(false);
    }

    /// Holds frames back on the line from now on, as many as come; to the hub they are delivered.
    pub fn hold(&mut self) {
        self.wire.hold();
    }

    /// How many frames are held back.
    pub fn held(&self) -> usize {
        self.wire.held()
    }

    /// Lets so many of the frames that are held back arrive; says how many there were.
    pub fn release(&mut self, count: usize) -> usize {
        self.wire.release(Some(count))
    }

    /// Lets all frames arrive, those that come later too.
    pub fn release_all(&mut self) {
        self.wire.stop_holding();
    }

    /// Breaks the line: what is on its way in either direction is lost. Returns when the hub knows.
    ///
    /// Of a client whose link somebody else steps, the hub learns of it with the next step.
    pub async fn cut(&mut self) {
        self.wire.end(Closed::Cut);
        self.gone().await;
    }

    /// Leaves. Returns when the hub knows.
    pub async fn leave(mut self) {
        self.wire.end(Closed::Left);
        self.gone().await;
    }

    async fn gone(&mut self) {
        while !self.stepped && !self.wire.is_gone() {
            self.wire.to_client.notified().await;
        }
    }
}

impl fmt::Debug for MemoryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryClient").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for MemoryClient {
    fn drop(&mut self) {
        self.wire.end(Closed::Cut);
    }
}
