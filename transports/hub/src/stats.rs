//! Stats of a running hub, for those who operate it (HTTP-14).
//!
//! Nothing is counted twice for the sake of figures: mailboxes count for themselves under the lock they hold anyway, and what
//! they counted is added up when somebody asks, and once more when a connection leaves. What remains is counted where it
//! happens once for all receivers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use eventwire_protocol::{CloseCode, ErrorCode};

use crate::{
    history::Usage,
    send_queue::{Counters, Depth},
    unfinished::BudgetUsage,
};

/// Why a connection or its credentials were turned away before there was anything to count them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TurnedAway {
    /// There was no place for its holder (LIMIT-05).
    Place,
    /// It lost its place to a smaller holder (LIMIT-05).
    Displaced,
    /// It was opened too soon after many others (LIMIT-07).
    Handshake,
    /// Its credentials were wrong.
    Credentials,
    /// Its credentials had to wait, because the peer had shown too many wrong ones (LIMIT-06).
    Slowed,
}

impl TurnedAway {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Place => "no_place",
            Self::Displaced => "displaced",
            Self::Handshake => "handshake_rate",
            Self::Credentials => "wrong_credentials",
            Self::Slowed => "credentials_slowed",
        }
    }
}

/// Stats of a hub since its start. What goes up only is of all connections, gone ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections there are, by transport and dialect.
    pub connections: BTreeMap<(&'static str, &'static str), u64>,
    /// Connections there were, by transport and dialect, the present ones included.
    pub opened: BTreeMap<(&'static str, &'static str), u64>,
    /// Connections that have ended, by the code they were closed with; `None` for those that left by themselves.
    pub closed: BTreeMap<Option<u16>, u64>,
    /// Events committed, by family; those in vendor space are `_`.
    pub published: BTreeMap<&'static str, u64>,
    /// Publications refused, by code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections and credentials turned away, by reason.
    pub turned_away: BTreeMap<&'static str, u64>,
    /// What mailboxes counted.
    pub counters: Counters,
    /// Frames that wait in mailboxes.
    pub waiting_frames: u64,
    /// Bytes that wait in mailboxes.
    pub waiting_bytes: u64,
    /// Connections that are being fed from the log.
    pub lagging: u64,
    /// Connections whose next command waits for its share of work (LIMIT-16).
    pub commands_waiting: u64,
    /// How often a connection began to wait for its share of work.
    pub command_waits: u64,
    /// Messages and request bodies that have begun and not ended.
    pub unfinished: BudgetUsage,
    /// What the history holds and has evicted.
    pub history: Usage,
}

/// What is counted while the hub runs.
#[derive(Debug, Default)]
pub(crate) struct SharedStats(Mutex<Stats>);

impl SharedStats {
    fn figures(&self) -> MutexGuard<'_, Stats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events were committed.
    pub(crate) fn published(&self, families: impl Iterator<Item = &'static str>) {
        let mut figures = self.figures();
        for family in families {
            *figures.published.entry(family).or_default() += 1;
        }
    }

    /// Publications were refused.
    pub(crate) fn refused(&self, codes: impl Iterator<Item = ErrorCode>) {
        let mut codes = codes.peekable();
        if codes.peek().is_none() {
            return;
        }
        let mut figures = self.figures();
        for code in codes {
            *figures.refused.entry(code.as_str()).or_default() += 1;
        }
    }

    /// Something was turned away.
    pub(crate) fn turned_away(&self, why: TurnedAway) {
        *self.figures().turned_away.entry(why.as_str()).or_default() += 1;
    }

    /// A connection came.
    pub(crate) fn opened(&self, transport: &'static str, dialect: &'static str) {
        *self.figures().opened.entry((transport, dialect)).or_default() += 1;
    }

    /// A connection has gone, with what its mailbox counted.
    pub(crate) fn closed(&self, code: Option<CloseCode>, counters: Counters) {
        let mut figures = self.figures();
        *figures.closed.entry(code.map(CloseCode::as_u16)).or_default() += 1;
        figures.counters += counters;
    }

    /// Everything so far, with what the present connections have.
    pub(crate) fn with(&self, present: impl Iterator<Item = (&'static str, &'static str, Depth)>) -> Stats {
        let mut figures = self.figures().clone();
        for (transport, dialect, depth) in present {
            *figures.connections.entry((transport, dialect)).or_default() += 1;
            figures.counters += depth.counters;
            figures.waiting_frames += depth.frames as u64;
            figures.waiting_bytes += depth.bytes as u64;
            figures.lagging += u64::from(depth.behind);
        }
        figures
    }
}
