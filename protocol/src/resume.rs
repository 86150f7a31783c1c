//! Positions, cursors and the splice between replay and live (section 5 of the specification).
//!
//! A connection follows a number of targets. Each target is either *live*, and then its events are passed on as they are
//! committed, or *behind*, and then they are left in the log and the target is fed page by page until it has caught up.
//! Resuming after a disconnect and catching up after a full mailbox are the same thing: being behind, at a position.
//!
//! The splice needs no lock over log and connection. While a target is behind, [`Tracker::offer`] notes the highest number
//! it withheld; a page becomes the last one only if it reaches that far (LOG-06). While a target is live, `offer` refuses
//! what a page already held (LOG-07). So nothing is missed and nothing comes twice, in whatever order committing,
//! offering and paging meet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use crate::{
    address::{Audience, Target},
    event::connection::{Gap, GapReason},
    id::{Epoch, IdError, Position, Seq},
    limits,
};

/// Where a receiver stands in one history: everything up to `low`, but for some targets another position.
///
/// Written as `<epoch>-<low>[,<target>=<position>]...`; a client that knows its positions may write one
/// (SSE-03, SSE-08).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The history that the positions belong to.
    pub epoch: Epoch,
    /// Where all targets stand that are not named.
    pub low: Position,
    /// Where others stand.
    pub others: BTreeMap<Target, Position>,
}

impl Cursor {
    /// Where a target stands.
    pub fn position(&self, target: &Target) -> Position {
        self.others.get(target).copied().unwrap_or(self.low)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.low)?;
        for (target, position) in &self.others {
            write!(f, ",{target}={position}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        const WRONG: IdError =
            IdError::new("a cursor", "must be one that this server gave out, or written as SSE-08 says");
        let position = |text: &str| {
            let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            text.parse().ok().filter(|_| canonical).and_then(Position::new).ok_or(WRONG)
        };
        if text.len() > limits::MAX_CURSOR_BYTES {
            return Err(WRONG);
        }
        let mut parts = text.split(',');
        let (epoch, low) = parts.next().and_then(|head| head.split_once('-')).ok_or(WRONG)?;
        let mut others = BTreeMap::new();
        for part in parts {
            let (target, at) = part.split_once('=').ok_or(WRONG)?;
            if others.insert(target.parse().map_err(|_| WRONG)?, position(at)?).is_some() {
                return Err(WRONG);
            }
        }
        Ok(Self { epoch: epoch.parse().map_err(|_| WRONG)?, low: position(low)?, others })
    }
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// After a position of this history.
    After(Position),
    /// The position belongs to another history: with everything that this one holds, and a gap before it (LOG-05).
    OtherEpoch,
}

/// Decides where a subscription begins.
pub fn plan(since: Option<Position>, asked: Option<Epoch>, current: Epoch) -> Start {
    match (since, asked) {
        (None, _) => Start::Now,
        // Nothing was held, so there is nothing that another history could lack.
        (Some(Position::START), _) => Start::After(Position::START),
        (Some(since), Some(asked)) if asked == current => Start::After(since),
        (Some(_), _) => Start::OtherEpoch,
    }
}

/// LOG-04: what a receiver at `since` can no longer get of a stream whose highest evicted number is `floor`.
pub fn gap(stream: &Audience, since: Position, floor: Position, reason: GapReason) -> Option<Gap> {
    (since < floor).then(|| Gap {
        stream: stream.to_string(),
        reason,
        from_seq: Position::new(since.as_u64() + 1),
        to_seq: Some(floor),
    })
}

/// What to do with a committed event that was routed to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Pass it on.
    Deliver,
    /// Leave it in the log; the pager will bring it.
    Withhold,
    /// A page already held it.
    Duplicate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Track {
    /// Wanted, but where it begins is not known yet.
    Held {
        /// The highest number that was withheld.
        missed: Position,
        /// Where the realm stood, if it is followed too: what comes behind is owed in any case.
        owed: Option<Position>,
    },
    Behind {
        /// Everything up to here was given out.
        at: Position,
        /// The highest number that was withheld.
        missed: Position,
        /// How many events the catch-up gave out.
        replayed: u64,
        /// Why it is behind, which is what a gap would be called.
        reason: GapReason,
        /// Whether the receiver was told, so that it must be told of the end as well.
        announced: bool,
    },
    Live {
        /// Everything up to here came by page.
        caught_up: Position,
        /// The highest number that was offered or came by page.
        last: Position,
    },
}

/// What a connection must be told about a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A replay begins after the position.
    Replaying(Target, Position),
    /// The replay is complete: so many events, up to the position.
    Recovered(Target, u64, Position),
}

/// What became of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paged {
    /// For each event of the page, whether to give it out.
    pub wanted: Vec<bool>,
    /// What to say behind the page.
    pub notices: Vec<Notice>,
}

/// Where one connection stands in every target it follows.
///
/// An event comes under its own target where that is followed, else under the realm ([`Target::Realm`]) where that is
/// followed. A target that is followed by name beside the realm keeps its own place, also when its name is taken back:
/// under the realm nothing of it goes missing or comes twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    low: Position,
    tracks: BTreeMap<Target, Track>,
    /// Roots that are no longer followed by name but still have another place than the realm, under which they come.
    nameless: BTreeSet<Target>,
}

impl Tracker {
    /// A tracker that follows nothing, of a connection that begins when the log reaches `head`.
    pub fn new(head: Position) -> Self {
        Self { low: head, tracks: BTreeMap::new(), nameless: BTreeSet::new() }
    }

    /// The followed target that an audience comes under: its own, else everything, if that is followed.
    fn target_of(&self, audience: &Audience) -> Option<Target> {
        let own = audience.target()?;
        if !self.tracks.contains_key(&own) && self.tracks.contains_key(&Target::Realm) {
            return Some(Target::Realm);
        }
        Some(own)
    }

    /// Up to where everything was given out under the realm.
    fn realm_place(&self) -> Option<Position> {
        match self.tracks.get(&Target::Realm)? {
            Track::Held { .. } => None,
            Track::Behind { at, .. } => Some(*at),
            Track::Live { last, .. } => Some(*last),
        }
    }

    /// Withholds a target from now on, until [`Tracker::follow`] says where it begins. Called before routing can deliver
    /// anything of it. A target that is followed already stays as it is; the answer says whether this one is new.
    pub fn hold(&mut self, target: &Target) -> bool {
        if self.tracks.contains_key(target) {
            return self.nameless.remove(target);
        }
        let owed = self.realm_place();
        self.tracks.insert(target.clone(), Track::Held { missed: Position::START, owed });
        true
    }

    /// Begins to follow a target, behind at `at`. Until the pager ran, nothing of it is delivered live.
    ///
    /// With `announce` the receiver asked for what is behind `at` and is told of the replay. A target that is followed
    /// already starts anew; what waits of it in the mailbox has to be taken out, for the pages will bring it. Without
    /// `announce` the receiver asked for what happens from now on: a target that is followed already stays as it is, by
    /// name or under the realm, and what waits of it in the mailbox stays there.
    pub fn follow(&mut self, target: Target, at: Position, announce: bool) -> Option<Notice> {
        let (mut missed, owed) = match self.tracks.get(&target) {
            Some(Track::Live { .. } | Track::Behind { .. }) if !announce => return None,
            Some(Track::Live { last, .. }) => (*last, None),
            Some(Track::Behind { missed, .. }) => (*missed, None),
            Some(Track::Held { missed, owed }) => (*missed, *owed),
            None => (Position::START, self.realm_place()),
        };
        let at = owed.filter(|_| !announce).map_or(at, |owed| at.min(owed));
        if target == Target::Realm {
            missed = missed.max(self.drop_nameless());
            for track in self.tracks.values_mut() {
                if let Track::Held { owed, .. } = track {
                    *owed = Some(at);
                }
            }
        }
        let notice = announce.then(|| Notice::Replaying(target.clone(), at));
        let reason = GapReason::Expired;
        self.tracks.insert(target, Track::Behind { at, missed, replayed: 0, reason, announced: announce });
        notice
    }

    /// Follows a target from `head` on, which is how far the log reached after the target was held. If nothing later was
    /// withheld, the target is live at once, for what is committed from now on will be offered. Else the pager brings it.
    /// A target that is followed already stays as it is.
    pub fn follow_from_now(&mut self, target: &Target, head: Position) {
        let held = matches!(self.tracks.get(target), Some(Track::Held { .. }));
        self.follow(target.clone(), head, false);
        if let Some(Track::Behind { at, missed, .. }) = self.tracks.get(target)
            && held
            && *at == head
            && *missed <= head
        {
            self.tracks.insert(target.clone(), Track::Live { caught_up: head, last: head });
        }
    }

    /// No longer follows a target by name. If the realm is followed, the target comes under that from now on, and what waits
    /// of it in the mailbox stays there.
    pub fn forget(&mut self, target: &Target) {
        if *target == Target::Realm {
            self.tracks.remove(target);
            self.drop_nameless();
            for track in self.tracks.values_mut() {
                if let Track::Held { owed, .. } = track {
                    *owed = None;
                }
            }
            return;
        }
        let Some(track) = self.tracks.remove(target) else { return };
        if !self.tracks.contains_key(&Target::Realm) {
            return;
        }
        let kept = match track {
            Track::Held { missed, owed: Some(at) } => {
                Track::Behind { at, missed, replayed: 0, reason: GapReason::Expired, announced: false }
            }
            Track::Held { missed: withheld, owed: None } => {
                // The realm is held as well, and follows from where it will be told.
                if let Some(Track::Held { missed, .. }) = self.tracks.get_mut(&Target::Realm) {
                    *missed = withheld.max(*missed);
                }
                return;
            }
            track => track,
        };
        self.tracks.insert(target.clone(), kept);
        self.nameless.insert(target.clone());
    }

    /// Drops the places of targets that have no name. Gives the highest number that any of them has seen.
    fn drop_nameless(&mut self) -> Position {
        let mut highest = Position::START;
        for target in std::mem::take(&mut self.nameless) {
            match self.tracks.remove(&target) {
                Some(Track::Live { last, .. }) => highest = highest.max(last),
                Some(Track::Behind { missed, .. } | Track::Held { missed, .. }) => highest = highest.max(missed),
                None => {}
            }
        }
        highest
    }

    /// Whether the target is followed, or held.
    pub fn follows(&self, target: &Target) -> bool {
        self.tracks.contains_key(target)
    }

    /// What to do with a committed event that was routed here. Events of one target come in the order of their numbers.
    ///
    /// An audience of a target that is not followed by name is followed from that event on: the default of a dialect lets a
    /// connection hear of ADWs it never named.
    pub fn offer(&mut self, audience: &Audience, seq: Seq) -> Offer {
        let Some(target) = self.target_of(audience) else {
            return Offer::Deliver;
        };
        let fresh = Track::Live { caught_up: Position::START, last: Position::START };
        match self.tracks.entry(target).or_insert(fresh) {
            Track::Live { last, .. } if last.covers(seq) => Offer::Duplicate,
            Track::Live { last, .. } => {
                *last = seq.into();
                Offer::Deliver
            }
            Track::Behind { missed, .. } | Track::Held { missed, .. } => {
                *missed = (*missed).max(seq.into());
                Offer::Withhold
            }
        }
    }

    /// An event that `offer` let through could not be kept for the link: its target falls behind, to just before it. When
    /// several are lost at once, the oldest comes first, so that the notice names the right position.
    pub fn lose(&mut self, audience: &Audience, seq: Seq) -> Option<Notice> {
        let target = self.target_of(audience)?;
        let before = Position::new(seq.as_u64() - 1).unwrap_or_default();
        match self.tracks.get_mut(&target)? {
            Track::Held { owed, .. } => {
                *owed = owed.map(|owed| owed.min(before));
                None
            }
            Track::Behind { at, .. } => {
                *at = (*at).min(before);
                None
            }
            Track::Live { last, .. } => {
                let (missed, reason) = (*last, GapReason::SlowConsumer);
                let behind = Track::Behind { at: before, missed, replayed: 0, reason, announced: true };
                self.tracks.insert(target.clone(), behind);
                Some(Notice::Replaying(target, before))
            }
        }
    }

    /// What to read from the log next: the targets that are behind, each with its position. Empty when all is live.
    pub fn behind(&self) -> Vec<(Target, Position)> {
        let behind = |(target, track): (&Target, &Track)| match track {
            Track::Behind { at, .. } => Some((target.clone(), *at)),
            Track::Live { .. } | Track::Held { .. } => None,
        };
        self.tracks.iter().filter_map(behind).collect()
    }

    /// Whether anything is behind.
    pub fn is_behind(&self) -> bool {
        self.tracks.values().any(|track| matches!(track, Track::Behind { .. }))
    }

    /// Why a target is behind.
    pub fn reason(&self, target: &Target) -> GapReason {
        match self.tracks.get(target) {
            Some(Track::Behind { reason, .. }) => *reason,
            _ => GapReason::Expired,
        }
    }

    /// Takes in a page: for the targets in `asked` it holds, in the order of numbers, everything of the log up to `upto`.
    /// When `end`, the log held nothing more at that moment, and a target of which nothing later was withheld is live.
    ///
    /// Events may be offered and lost while the page is read. A caller that follows or forgets a target throws a page away
    /// that was asked for before: it speaks of another beginning.
    pub fn page<'a>(
        &mut self,
        asked: &[(Target, Position)],
        events: impl IntoIterator<Item = (&'a Audience, Seq)>,
        upto: Position,
        end: bool,
    ) -> Paged {
        // While the page was read, a target may have lost its place or started anew further back. The page does not reach
        // back so far and says nothing about that target.
        let valid: BTreeMap<Target, ()> = asked
            .iter()
            .filter(|(target, from)| matches!(self.tracks.get(target), Some(Track::Behind { at, .. }) if at >= from))
            .map(|(target, _)| (target.clone(), ()))
            .collect();
        let mut paged = Paged::default();
        for (audience, seq) in events {
            let target = self.target_of(audience).filter(|target| valid.contains_key(target));
            let wanted = match target.and_then(|target| self.tracks.get_mut(&target)) {
                Some(Track::Behind { at, replayed, .. }) if !at.covers(seq) => {
                    *at = seq.into();
                    *replayed += 1;
                    true
                }
                _ => false,
            };
            paged.wanted.push(wanted);
        }
        for target in valid.into_keys() {
            let Some(Track::Behind { at, missed, replayed, announced, .. }) = self.tracks.get_mut(&target) else {
                continue;
            };
            *at = (*at).max(upto);
            if end && *missed <= *at {
                let caught_up = *at;
                if *announced {
                    paged.notices.push(Notice::Recovered(target.clone(), *replayed, caught_up));
                }
                self.tracks.insert(target, Track::Live { caught_up, last: caught_up });
            }
        }
        paged
    }

    /// A live event was handed to the link, and so was everything live before it.
    pub fn handed_over(&mut self, seq: Seq) {
        self.low = self.low.max(seq.into());
    }

    /// Where a receiver stands that has everything that was handed over.
    pub fn cursor(&self, epoch: Epoch) -> Cursor {
        let others = self
            .tracks
            .iter()
            .filter_map(|(target, track)| match track {
                Track::Behind { at, .. } if *at != self.low => Some((target.clone(), *at)),
                // Live, but the last live event handed over is older than what the pages brought.
                Track::Live { caught_up, .. } if *caught_up > self.low => Some((target.clone(), *caught_up)),
                _ => None,
            })
            .collect();
        Cursor { epoch, low: self.low, others }
    }

    /// How far each target was handed over, live or by page. A target that is held is not in it: nothing of it was.
    pub fn handed(&self) -> Vec<(Target, Position)> {
        let handed = |(target, track): (&Target, &Track)| match track {
            Track::Live { caught_up, .. } => Some((target.clone(), self.low.max(*caught_up))),
            Track::Behind { at, .. } => Some((target.clone(), *at)),
            Track::Held { .. } => None,
        };
        self.tracks.iter().filter_map(handed).collect()
    }

    /// How far each target has been sent or queued.
    pub fn positions(&self) -> Vec<(Target, Position)> {
        self.tracks
            .iter()
            .filter_map(|(target, track)| match track {
                Track::Live { last, .. } => Some((target.clone(), *last)),
                Track::Behind { at, .. } => Some((target.clone(), *at)),
                Track::Held { .. } => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sse_08_a_client_writes_a_cursor_from_the_positions_that_it_holds() {
        let read: Cursor = "9f3a77c2d1e05b64-4711,adw:29fb6a3e=4702,global=0,*=12,session:a:b=9".parse().unwrap();
        let at = |target: &str| read.position(&target.parse().unwrap()).as_u64();
        assert_eq!(read.epoch.to_string(), "9f3a77c2d1e05b64");
        assert_eq!(
            ["adw:29fb6a3e", "global", "*", "session:a:b", "room:tasks", "user:maria"].map(at),
            [4702, 0, 12, 9, 4711, 4711]
        );
        // In whatever order, and also where a target stands like the rest.
        let other = "9f3a77c2d1e05b64-4711,session:a:b=9,room:tasks=4711,*=12,global=0,adw:29fb6a3e=4702";
        assert_eq!(other.parse::<Cursor>().unwrap().position(&"room:tasks".parse().unwrap()).as_u64(), 4711);
    }

    #[test]
    fn sse_03_cursors_read_back_as_written_and_hostile_ones_are_refused() {
        let text = "9f3a77c2d1e05b64-4711,global=12,adw:29fb6a3e=0,*=3";
        let cursor: Cursor = text.parse().unwrap();
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        assert_eq!(cursor.position(&Target::Global).as_u64(), 12);
        assert_eq!(cursor.position(&"room:x".parse().unwrap()).as_u64(), 4711);
        for text in [
            "",
            "-",
            "9f3a77c2d1e05b64",
            "9f3a77c2d1e05b64-",
            "9f3a77c2d1e05b64--1",
            "9f3a77c2d1e05b64-01",
            "9f3a77c2d1e05b64-9007199254740992",
            "9f3a77c2d1e05b64-1,",
            "9f3a77c2d1e05b64-1,global",
            "x-1",
            "9f3a77c2d1e05b64-1,global=1,global=2",
            "9f3a77c2d1e05b64-1,connection:c0000000000000001=1",
            "9f3a77c2d1e05b64-+1",
            "9f3a77c2d1e05b64- 1",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn log_05_a_position_means_nothing_under_another_epoch() {
        let (a, b) = (Epoch::from_bits(1), Epoch::from_bits(2));
        let at = Position::new(7);
        assert_eq!(plan(None, Some(a), b), Start::Now);
        assert_eq!(plan(at, Some(a), a), Start::After(at.unwrap()));
        assert_eq!(plan(at, Some(a), b), Start::OtherEpoch);
        assert_eq!(plan(at, None, b), Start::OtherEpoch);
        assert_eq!(plan(Position::new(0), Some(a), b), Start::After(Position::START));
    }
}
