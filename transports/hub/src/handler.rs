//! How connections of the older systems behave, beside how they spell: what a frame of theirs asks for, and what they are
//! told first.
//!
//! A canonical connection needs none of this: the hub reads its commands itself. A system brings a [`ConnectionHandler`] for each of
//! its connections and, where it keeps state of what was published, a [`Tap`].

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_protocol::{Committed, ConnectionId, ContextId, Envelope, Epoch, Member, Position, Target, limits};

use crate::{connection::Connection, holder::Holder};

/// Puts the frames of one client to work. Never fails: what is wrong with a frame is told to its sender (CMD-03).
#[async_trait]
pub trait ConnectionHandler: Send + Sync + 'static {
    /// The context that the client came for, for instance by the path of its socket. The hub joins it without saying so, and
    /// the welcome names it. Whether it is permitted has been judged; where it is not after all, there is no connection.
    fn context(&self) -> Option<&ContextId> {
        None
    }

    /// What the client is told instead of the welcome, in the words of its dialect; `None` for the welcome. For systems whose
    /// clients know their connection by a name that its transport gave it.
    fn welcome(&mut self) -> Option<Bytes> {
        None
    }

    /// What the client is told when it enters the roster, after the welcome and before anything else.
    ///
    /// Runs under the lock in which the connection enters: every event that a [`Tap`] has seen by then belongs in here,
    /// every later one is delivered by itself, and none is in both. So it must not wait and not call the hub.
    fn greet(&mut self, id: ConnectionId, member: &Member) -> Vec<Envelope> {
        let _ = (id, member);
        Vec::new()
    }

    /// What the client is told behind that, in the words of its dialect: for what no event of the catalog says as one, and
    /// for more at once than an event may hold. Runs under the same lock.
    fn initial_frames(&mut self, id: ConnectionId, member: &Member) -> Vec<Bytes> {
        let _ = (id, member);
        Vec::new()
    }

    /// Whether the hub brings the newest values of what the connection receives, once it is there. A system whose
    /// [`greet`](Self::greet) says all of that turns it off.
    fn wants_latest(&self) -> bool {
        true
    }

    /// What the client is told, in the words of its dialect, when newest values found no room in its mailbox and it has
    /// caught up: everything as it stands now. `None` lets the hub bring the newest values that are kept, each as old as it
    /// is, which a client takes for new. Runs under the lock of [`greet`](Self::greet).
    fn snapshot_frames(&mut self, id: ConnectionId, member: &Member) -> Option<Vec<Bytes>> {
        let _ = (id, member);
        None
    }

    /// The largest frame that is read, in bytes; a larger one is refused without being looked at.
    fn max_frame_bytes(&self) -> usize;

    /// How many frames the client may send at once after a pause (LIMIT-02). More than usual where its pages send what they
    /// kept while they were disconnected.
    fn burst(&self) -> u32 {
        limits::COMMAND_BURST
    }

    /// A frame of the client, within the limits of size and rate. Answers go through the connection.
    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]);

    /// The connection leaves the roster. `handed` says, for each target that it followed, how far its link was handed the log,
    /// which `epoch` names; a target whose beginning was not settled yet is not in it.
    ///
    /// Runs under the lock in which the connection leaves, as [`greet`](Self::greet) does when it enters: every event that a
    /// [`Tap`] has seen by then was offered to the connection, no later one is. So it must not wait and not call the hub.
    fn leaving(&mut self, id: ConnectionId, epoch: Epoch, handed: &[(Target, Position)]) {
        let _ = (id, epoch, handed);
    }

    /// The connection has left the roster.
    fn closed(&mut self, id: ConnectionId) {
        let _ = id;
    }
}

/// Sees every event in the order of commits, before any connection is offered it. For state that must be exactly as old as
/// what connections have received.
///
/// Runs in the sequencer, under the lock of the roster: it must be quick, must not wait and must not call the hub.
pub trait Tap: Send + Sync + 'static {
    /// An event was committed and is about to be delivered.
    fn committed(&self, event: &Committed);

    /// As [`committed`](Self::committed), with the account that the event is on: for a tap that keeps what it sees, and shares its
    /// room between holders. An event of another node is on the account of the process.
    fn committed_for(&self, event: &Committed, holder: &Holder) {
        let _ = holder;
        self.committed(event);
    }
}
