//! How a client connects, how much its line holds, and what is to go wrong with it.

use eventwire_hub::{Principal, Secret};
use eventwire_protocol::{BrowserSession, Dialect, limits, resume::Cursor};

/// How a client connects. The default is a canonical client that wants nothing yet and has no faults.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Who it is. Without it the hub's authenticator is asked, with `token`.
    pub principal: Option<Principal>,
    /// What it shows to say who it is.
    pub token: Option<Secret>,
    /// How it spells the protocol.
    pub dialect: Dialect,
    /// Its browser session.
    pub home: Option<BrowserSession>,
    /// What it wants from the start.
    pub targets: Vec<String>,
    /// Where it stood when it was here before.
    pub cursor: Option<Cursor>,
    /// Whether frames are to say where they lead ([`Frame::cursor`](crate::Frame::cursor)).
    pub cursors: bool,
    /// Whether `connection.subscribed` comes even when nothing was wanted.
    pub announce: bool,
    /// How much the line holds.
    pub window: Window,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            principal: None,
            token: None,
            dialect: Dialect::Canonical,
            home: None,
            targets: Vec::new(),
            cursor: None,
            cursors: false,
            announce: false,
            window: Window::default(),
            faults: Faults::default(),
        }
    }
}

impl ConnectOptions {
    /// A client that wants these targets from the start.
    pub fn wanting<T: Into<String>>(targets: impl IntoIterator<Item = T>) -> Self {
        Self { targets: targets.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// How much the line between link and client holds before the link has to wait: the buffers of a socket.
///
/// One frame always fits into an empty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Frames.
    pub frames: usize,
    /// Bytes of frames.
    pub bytes: usize,
}

impl Default for Window {
    /// 256 frames or 64 KiB.
    fn default() -> Self {
        Self { frames: limits::PAGE_EVENTS, bytes: 64 * 1024 }
    }
}

impl Window {
    /// A line that holds one frame: nothing is on its way but what the client is about to read.
    pub const ONE: Self = Self { frames: 1, bytes: 0 };
}

/// What goes wrong, and after how many frames. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The line breaks when the client has read so many frames; what was on its way is lost.
    pub cut_after: Option<usize>,
    /// The client stops reading when it has read so many frames, until [`MemoryClient::resume`](crate::MemoryClient::resume).
    pub pause_after: Option<usize>,
    /// Frames stay on the way until they are released.
    pub hold: bool,
    /// Transport pings are never answered.
    pub mute: bool,
}
