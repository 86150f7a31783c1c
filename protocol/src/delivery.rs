//! The mailbox of one connection: what waits for its socket, and what happens when too much does (section 6 of the
//! specification). Pure: no waiting, no waking, no clock.
//!
//! The log is the overflow (FLOW-02). A logged event that does not fit is not refused and not dropped: the mailbox
//! gives its logged events back, and the connection reads them from the log when its socket drains.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Map, Value};

use crate::{
    address::Audience,
    catalog::{Delivery, Join},
    dialect::Dialect,
    envelope::{Committed, Envelope},
    frame::Logged,
    limits,
};

/// How much may wait in one mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxBounds {
    /// Frames.
    pub frames: usize,
    /// Bytes of frames. A single larger frame is taken into an empty mailbox.
    pub bytes: usize,
}

impl Default for MailboxBounds {
    fn default() -> Self {
        Self { frames: limits::MAILBOX_FRAMES, bytes: limits::MAILBOX_BYTES }
    }
}

/// What happened to an event that was put into a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It waits.
    Queued,
    /// It was joined to a part before it that still waits (FLOW-03).
    Joined,
    /// It took the place of an older value of its key (FLOW-04).
    Replaced,
    /// It is volatile and there was no room (FLOW-01).
    Dropped,
    /// It is the newest value of its key and there was no room; the store of newest values still has it.
    Deferred,
    /// It is logged and there was no room; the log has it (FLOW-02).
    Overflow,
    /// It is for this connection alone, nothing keeps it, and there is not even room for such.
    Rejected,
    /// The dialect of the connection cannot spell it (ROUTE-05).
    Unsupported,
}

/// What waits for one socket.
#[derive(Debug)]
pub struct Mailbox {
    dialect: Dialect,
    bounds: MailboxBounds,
    events: VecDeque<Waiting>,
    bytes: usize,
    dropped: u64,
}

/// One frame that waits.
#[derive(Debug)]
struct Waiting {
    event: Arc<Committed>,
    /// The first of the parts that were joined into it.
    first: Option<Arc<Committed>>,
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new(dialect: Dialect, bounds: MailboxBounds) -> Self {
        Self { dialect, bounds, events: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many volatile events were dropped for want of room, those that made room for others included.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn size(&self, event: &Committed) -> Option<usize> {
        event.frame(self.dialect).map(bytes::Bytes::len)
    }

    /// Whether a frame fits under the bounds, taken so many times.
    fn fits(&self, size: usize, times: usize) -> bool {
        self.events.is_empty()
            || (self.events.len() < times * self.bounds.frames && self.bytes + size <= times * self.bounds.bytes)
    }

    fn push(&mut self, event: Arc<Committed>, size: usize) -> Put {
        self.bytes += size;
        self.events.push_back(Waiting { event, first: None });
        Put::Queued
    }

    /// Puts an event in.
    pub fn put(&mut self, event: Arc<Committed>) -> Put {
        let Some(size) = self.size(&event) else {
            return Put::Unsupported;
        };
        let envelope = event.envelope();
        // Answers, brackets and values for this connection alone: few and small, and nothing else remembers them. They
        // may use as much again.
        let alone = matches!(envelope.audience(), Audience::Connection(_));
        match envelope.delivery() {
            Delivery::Volatile if self.fits(size, 1) => self.push(event, size),
            Delivery::Volatile => {
                self.dropped += 1;
                Put::Dropped
            }
            Delivery::Latest { .. } => self.put_latest(event, size, alone),
            Delivery::Durable | Delivery::Append { .. } if !alone => self.put_logged(event, size),
            Delivery::Durable | Delivery::Append { .. } if self.fits(size, 2) => self.push(event, size),
            Delivery::Durable | Delivery::Append { .. } => Put::Rejected,
        }
    }

    fn put_latest(&mut self, event: Arc<Committed>, size: usize, alone: bool) -> Put {
        let new = event.envelope();
        let older = self.events.iter().position(|waiting| {
            let old = waiting.event.envelope();
            old.kind() == new.kind() && old.audience() == new.audience() && old.key() == new.key()
        });
        let times = if alone { 2 } else { 1 };
        let overtakes = older.is_some_and(|at| self.events.iter().skip(at).any(|waiting| waiting.event.is_words()));
        if let Some((at, place)) = older.and_then(|at| Some((at, self.events.get_mut(at)?))) {
            let before = place.event.frame(self.dialect).map_or(0, bytes::Bytes::len);
            let bytes = self.bytes - before + size;
            // Words of a dialect may say how something stood between the two; the newest must not come in front of them.
            if !overtakes && (size <= before || bytes <= times * self.bounds.bytes) {
                place.event = event;
                self.bytes = bytes;
                return Put::Replaced;
            }
            // It does not fit where the older one stood, and the older one is no longer true.
            self.events.remove(at);
            self.bytes -= before;
        }
        match self.fits(size, times) {
            true => self.push(event, size),
            false if alone => Put::Rejected,
            false => Put::Deferred,
        }
    }

    fn put_logged(&mut self, event: Arc<Committed>, size: usize) -> Put {
        // Joining costs a new frame, so it waits until the mailbox is half full. Only with the last event that has a
        // place in an order, whatever its stream: a joined event has the number of its last part, and must overtake
        // neither a lower number nor what was said to the connection in between.
        if 2 * self.events.len() >= self.bounds.frames || 2 * self.bytes >= self.bounds.bytes {
            let before = self.events.iter_mut().rev().find(|waiting| waiting.event.envelope().delivery().is_logged());
            if let Some(before) = before
                && let Some(joined) = join(&before.event, &event)
                && let (Some(old), Some(new)) = (before.event.frame(self.dialect), joined.frame(self.dialect))
                && new.len() <= limits::MAX_JOINED_BYTES
                && self.bytes - old.len() + new.len() <= self.bounds.bytes
            {
                self.bytes = self.bytes - old.len() + new.len();
                let part = std::mem::replace(&mut before.event, Arc::new(joined));
                before.first.get_or_insert(part);
                return Put::Joined;
            }
        }
        if !self.fits(size, 1) {
            self.drop_volatile();
        }
        if self.fits(size, 1) { self.push(event, size) } else { Put::Overflow }
    }

    /// Takes out every event that the filter names.
    fn take_if(&mut self, filter: impl Fn(&Committed) -> bool) -> VecDeque<Waiting> {
        let (taken, kept) = self.events.drain(..).partition::<VecDeque<_>, _>(|waiting| filter(&waiting.event));
        self.events = kept;
        for Waiting { event, .. } in &taken {
            self.bytes -= event.frame(self.dialect).map_or(0, bytes::Bytes::len);
        }
        taken
    }

    fn drop_volatile(&mut self) {
        let dropped = self.take_if(|event| event.envelope().delivery() == Delivery::Volatile).len();
        self.dropped += dropped as u64;
    }

    /// Takes out every logged event that waits: the log has them. Gives what to read again from there, oldest first: each
    /// event, and of joined parts the first one.
    pub fn give_back(&mut self) -> Vec<Arc<Committed>> {
        let taken = self.take_if(|event| event.logged().is_some());
        taken.into_iter().map(|Waiting { event, first }| first.unwrap_or(event)).collect()
    }

    /// Takes out what is no longer wanted, or may no longer be seen.
    pub fn purge(&mut self, belongs: impl Fn(&Audience) -> bool) -> usize {
        self.take_if(|event| belongs(event.envelope().audience())).len()
    }

    /// Takes out everything that the filter does not keep.
    pub fn retain(&mut self, keeps: impl Fn(&Envelope) -> bool) -> usize {
        self.take_if(|event| !keeps(event.envelope())).len()
    }

    /// Takes out all logged events that waiting pages will bring.
    pub fn purge_logged(&mut self, belongs: impl Fn(&Audience) -> bool) -> usize {
        self.take_if(|event| event.logged().is_some() && belongs(event.envelope().audience())).len()
    }

    /// Takes everything, in order.
    pub fn take(&mut self) -> Vec<Arc<Committed>> {
        self.bytes = 0;
        self.events.drain(..).map(|waiting| waiting.event).collect()
    }
}

/// Two parts of one text as one event, if they are neighbors in their stream and every member joins (FLOW-03).
pub fn join(earlier: &Committed, later: &Committed) -> Option<Committed> {
    let (first, second) = (earlier.envelope(), later.envelope());
    let (Some(before), Some(after)) = (earlier.logged(), later.logged()) else {
        return None;
    };
    let Delivery::Append { joins, .. } = first.delivery() else {
        return None;
    };
    let same_text = first.kind() == second.kind()
        && first.audience() == second.audience()
        && first.key() == second.key()
        && after.prev == before.seq.into();
    if !same_text {
        return None;
    }
    let one: Map<String, Value> = serde_json::from_str(first.data()).ok()?;
    let two: Map<String, Value> = serde_json::from_str(second.data()).ok()?;
    let data = join_members(joins, &one, two)?;
    let data = serde_json::to_string(&data).ok()?;
    let logged = Logged { seq: after.seq, prev: before.prev };
    Some(Committed::new(Envelope::joined(first, data), Some(logged)))
}

fn join_members(
    joins: &[(&str, Join)],
    one: &Map<String, Value>,
    two: Map<String, Value>,
) -> Option<Map<String, Value>> {
    let how = |name: &str| joins.iter().find(|(of, _)| *of == name).map(|(_, join)| *join);
    // A member that only one part has, or that the table does not know, must be the same in both, so it is not.
    if one.len() != two.len() {
        return None;
    }
    two.into_iter()
        .map(|(name, second)| {
            let first = one.get(&name)?;
            let joined = match how(&name) {
                Some(Join::Concatenate) => Value::String([first.as_str()?, second.as_str()?].concat()),
                Some(Join::End) if first == &Value::Bool(false) => second,
                Some(Join::Start) if second == Value::Bool(false) => first.clone(),
                Some(Join::First) => first.clone(),
                Some(Join::Same) | None if *first == second => second,
                Some(Join::End | Join::Start | Join::Same) | None => return None,
            };
            Some((name, joined))
        })
        .collect()
}
