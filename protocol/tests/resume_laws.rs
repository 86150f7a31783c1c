//! The laws of the splice between replay and live, held against the log itself.
//!
//! A small world plays one connection: events are committed at one time and offered at another; pages are read at one
//! time and arrive at another; targets are followed, forgotten and followed again in between; the mailbox overflows. The
//! only question ever asked of the outcome is whether what was given out of each target is what the log holds behind the
//! position asked for: at any time the first part of it, when everything has come to rest all of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use eventwire_protocol::{
    Audience, Epoch, Position, Seq, Target,
    event::connection::GapReason,
    resume::{Cursor, Notice, Offer, Start, Tracker, gap, plan},
};
use proptest::{collection::vec, option, prelude::*, sample::Index};

// ---------------------------------------------------------------------------------------------------------------
// The world
// ---------------------------------------------------------------------------------------------------------------

/// Streams, by target. The first two targets have two streams each.
const STREAMS: &[&str] =
    &["adw:aaaaaaaa", "adw:aaaaaaaa/raw", "session:s", "session:s/private/u", "room:r", "adw:bbbbbbbb"];
/// Roots that can be named.
const ROOTS: &[&str] = &["adw:aaaaaaaa", "session:s", "room:r"];
const EPOCH: Epoch = Epoch::from_bits(7);
/// A target that is received without being named, as the default of a dialect has it.
const UNNAMED: &str = "adw:bbbbbbbb";

/// What other tasks do, also while a command is executed.
#[derive(Clone, Debug)]
enum Meanwhile {
    /// An event is committed to a stream.
    Commit(usize),
    /// The next committed event is routed; if it is delivered, the mailbox may be full.
    Route { full: bool },
}

#[derive(Clone, Debug)]
struct Subscribe {
    /// Of [`ROOTS`]; the one behind the last is everything that an observer may see.
    target: usize,
    /// From now on, or from an earlier position.
    since: Option<Index>,
    /// It is refused, after it was held.
    refused: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Meanwhile(Meanwhile),
    /// So many waiting events are handed to the link.
    Hand(usize),
    /// Targets are subscribed: first all are withheld, then, when the log was asked, they are followed.
    Subscribe(Vec<Subscribe>, Vec<Meanwhile>),
    /// A target is unsubscribed.
    Unsubscribe(usize),
    /// The log is read where the connection is behind: a page of so many events, which is under way from now on.
    Read(usize),
    /// The page arrives.
    Arrive,
    /// The connection is cut off and another one resumes with its cursor.
    Reconnect,
}

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    prop_oneof![
        (0..STREAMS.len()).prop_map(Meanwhile::Commit),
        prop::bool::weighted(0.15).prop_map(|full| Meanwhile::Route { full }),
    ]
}

/// Steps over the first so many targets.
fn step(targets: usize) -> impl Strategy<Value = Step> {
    let target = (0..targets, option::of(any::<Index>()), prop::bool::weighted(0.1))
        .prop_map(|(target, since, refused)| Subscribe { target, since, refused });
    prop_oneof![
        24 => meanwhile().prop_map(Step::Meanwhile),
        4 => (1..4_usize).prop_map(Step::Hand),
        4 => (vec(target, 1..4), vec(meanwhile(), 0..4)).prop_map(|(targets, meanwhile)| Step::Subscribe(targets, meanwhile)),
        2 => (0..targets).prop_map(Step::Unsubscribe),
        6 => (1..4_usize).prop_map(Step::Read),
        6 => Just(Step::Arrive),
        1 => Just(Step::Reconnect),
    ]
}

#[derive(Clone, Debug)]
struct Page {
    asked: Vec<(Target, Position)>,
    events: Vec<(Audience, u64)>,
    upto: u64,
    end: bool,
}

/// What was given out of a target, and after which position everything is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
struct Given {
    since: u64,
    seqs: Vec<u64>,
}

#[derive(Clone, Debug)]
struct World {
    /// The stream of each event; its number is its place, counted from 1.
    log: Vec<Audience>,
    /// How many of them have been routed.
    routed: usize,
    tracker: Tracker,
    mail: VecDeque<(Audience, u64)>,
    /// The page that is under way. Whoever reads pages also executes commands, so a command drops it.
    page: Option<Page>,
    /// What is received by name, `*` included.
    named: BTreeSet<Target>,
    /// What has a place of its own, because it was begun by name.
    begun: BTreeSet<Target>,
    /// Whether [`UNNAMED`] is received.
    unnamed: bool,
    /// Whether a command was executed while everything was received.
    regrouped: bool,
    given: BTreeMap<Target, Given>,
    /// Replays that were announced and are not complete: how many events they have brought.
    brackets: BTreeMap<Target, u64>,
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn position(number: u64) -> Position {
    Position::new(number).unwrap()
}

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

fn target_of(audience: &Audience) -> Target {
    audience.target().unwrap()
}

type Held<T = ()> = Result<T, TestCaseError>;

impl World {
    /// A connection to a log that holds some events already.
    fn new(older: &[usize], unnamed: bool) -> Self {
        let log: Vec<Audience> = older.iter().map(|stream| STREAMS[*stream].parse().unwrap()).collect();
        let head = log.len() as u64;
        let mut given = BTreeMap::new();
        if unnamed {
            given.insert(target(UNNAMED), Given { since: head, seqs: Vec::new() });
        }
        Self {
            routed: log.len(),
            log,
            tracker: Tracker::new(position(head)),
            mail: VecDeque::new(),
            page: None,
            named: BTreeSet::new(),
            begun: BTreeSet::new(),
            unnamed,
            regrouped: false,
            given,
            brackets: BTreeMap::new(),
        }
    }

    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// Whether routing delivers events of a target to the connection.
    fn receives(&self, target: &Target) -> bool {
        self.named.contains(target) || self.named.contains(&Target::Realm) || self.given.contains_key(target)
    }

    /// The numbers of the log that are in a target, behind a position.
    fn log_of(&self, target: &Target, since: u64) -> Vec<u64> {
        let numbered = self.log.iter().zip(1_u64..);
        numbered.filter(|(of, seq)| *seq > since && target_of(of) == *target).map(|(_, seq)| seq).collect()
    }

    fn give(&mut self, audience: &Audience, seq: u64) -> Held {
        let target = target_of(audience);
        let Some(given) = self.given.get_mut(&target) else {
            return Err(TestCaseError::fail(format!("{seq} of {target} was given out and is wanted by no receiver")));
        };
        given.seqs.push(seq);
        let given = given.clone();
        let expected = self.log_of(&target, given.since);
        prop_assert!(
            expected.starts_with(&given.seqs),
            "{target}: given {:?}, which is not how {expected:?} begins",
            given.seqs
        );
        Ok(())
    }

    fn notice(&mut self, notice: Option<Notice>) -> Held {
        match notice {
            None => {}
            Some(Notice::Replaying(target, _)) => {
                self.brackets.insert(target, 0);
            }
            Some(Notice::Recovered(target, count, upto)) => {
                let brought = self.brackets.remove(&target);
                prop_assert_eq!(brought, Some(count), "a replay ends that did not begin, or miscounts");
                if target != Target::Realm && self.given.contains_key(&target) {
                    let given = &self.given[&target];
                    let until = self.log_of(&target, given.since).into_iter().filter(|seq| *seq <= upto.as_u64());
                    prop_assert!(until.count() <= given.seqs.len(), "{target} is said to be complete up to {upto}");
                }
            }
        }
        Ok(())
    }

    fn route(&mut self, full: bool) -> Held {
        let Some(audience) = self.log.get(self.routed).cloned() else { return Ok(()) };
        self.routed += 1;
        let number = self.routed as u64;
        if !self.receives(&target_of(&audience)) {
            return Ok(());
        }
        if self.tracker.offer(&audience, seq(number)) != Offer::Deliver {
            return Ok(());
        }
        self.mail.push_back((audience, number));
        if full {
            // The mailbox gives back what the log has, oldest first.
            for (audience, number) in std::mem::take(&mut self.mail) {
                let notice = self.tracker.lose(&audience, seq(number));
                self.notice(notice)?;
            }
        }
        Ok(())
    }

    fn hand(&mut self, count: usize) -> Held {
        for _ in 0..count {
            let Some((audience, number)) = self.mail.pop_front() else { break };
            self.tracker.handed_over(seq(number));
            self.give(&audience, number)?;
            self.check_cursor()?;
        }
        Ok(())
    }

    fn purge(&mut self, target: &Target) {
        self.mail.retain(|(audience, _)| target_of(audience) != *target);
    }

    fn subscribe(&mut self, targets: &[Subscribe], meanwhile: &[Meanwhile]) -> Held {
        self.page = None;
        self.regrouped |= self.named.contains(&Target::Realm);
        let mut accepted: Vec<(Target, Option<u64>, bool)> = Vec::new();
        for wanted in targets {
            let target = ROOTS.get(wanted.target).map_or(Target::Realm, |name| target(name));
            if accepted.iter().any(|(of, ..)| *of == target) {
                continue;
            }
            let new = self.tracker.hold(&target);
            if wanted.refused {
                if new {
                    self.tracker.forget(&target);
                    if self.named.contains(&Target::Realm) && self.given.contains_key(&target) {
                        self.begun.insert(target);
                    }
                }
                continue;
            }
            let since = wanted.since.map(|at| at.index(self.log.len() + 1) as u64);
            let new = self.named.insert(target.clone());
            accepted.push((target, since, new));
        }
        // The log is asked how far it reaches, and goes on.
        let (before, after) = meanwhile.split_at(meanwhile.len() / 2);
        before.iter().try_for_each(|meanwhile| self.meanwhile(meanwhile))?;
        let head = self.head();
        after.iter().try_for_each(|meanwhile| self.meanwhile(meanwhile))?;
        for (target, since, new) in accepted {
            let at = since.unwrap_or(head);
            if since.is_some() || new {
                self.begin(&target, at, since.is_some());
            }
            match since {
                Some(_) => {
                    let notice = self.tracker.follow(target, position(at), true);
                    self.notice(notice)?;
                }
                None => self.tracker.follow_from_now(&target, position(at)),
            }
        }
        Ok(())
    }

    /// Notes what is wanted of a target from now on: everything behind `at`.
    fn begin(&mut self, target: &Target, at: u64, asked_for: bool) {
        if *target != Target::Realm {
            self.begun.insert(target.clone());
            // An observer receives the target anyway, and loses nothing by naming it.
            if asked_for || !self.given.contains_key(target) {
                self.brackets.remove(target);
                self.purge(target);
                self.given.insert(target.clone(), Given { since: at, seqs: Vec::new() });
            }
            return;
        }
        self.brackets.remove(target);
        for stream in STREAMS {
            let target = target_of(&stream.parse().unwrap());
            // What was named and begun keeps its own place.
            if !(self.named.contains(&target) && self.begun.contains(&target)) {
                self.begun.remove(&target);
                self.brackets.remove(&target);
                self.purge(&target);
                self.given.insert(target.clone(), Given { since: at, seqs: Vec::new() });
            }
        }
    }

    fn unsubscribe(&mut self, number: usize) {
        let target = ROOTS.get(number).map_or(Target::Realm, |name| target(name));
        self.page = None;
        self.regrouped |= self.named.contains(&Target::Realm);
        self.tracker.forget(&target);
        self.named.remove(&target);
        if target == Target::Realm {
            self.brackets.remove(&target);
        }
        for stream in STREAMS {
            let target = target_of(&stream.parse().unwrap());
            let unasked = self.unnamed && target == self::target(UNNAMED);
            if !self.named.contains(&target) && !self.named.contains(&Target::Realm) && !unasked {
                self.begun.remove(&target);
                self.purge(&target);
                self.given.remove(&target);
                self.brackets.remove(&target);
            }
        }
    }

    fn read(&mut self, most: usize) {
        let asked = self.tracker.behind();
        if self.page.is_some() || asked.is_empty() {
            return;
        }
        // As the history reads: a target that is asked for by name from its own position, the rest with everything.
        let from = |audience: &Audience| {
            let own = asked.iter().find(|(target, _)| *target == target_of(audience));
            own.or_else(|| asked.iter().find(|(target, _)| *target == Target::Realm)).map(|(_, at)| *at)
        };
        let numbered = self.log.iter().zip(1_u64..);
        let mut events: Vec<(Audience, u64)> = numbered
            .filter(|(audience, number)| from(audience).is_some_and(|at| !at.covers(seq(*number))))
            .map(|(audience, number)| (audience.clone(), number))
            .collect();
        let end = events.len() <= most;
        events.truncate(most);
        let upto = if end { self.head() } else { events.last().map_or(0, |(_, number)| *number) };
        self.page = Some(Page { asked, events, upto, end });
    }

    fn arrive(&mut self) -> Held {
        let Some(Page { asked, events, upto, end }) = self.page.take() else { return Ok(()) };
        // What waits is older than the page, the notices in front of it included.
        self.hand(usize::MAX)?;
        // One event at a time, so that each has a cursor of its own.
        for (audience, number) in events {
            let paged = self.tracker.page(&asked, [(&audience, seq(number))], Position::START, false);
            prop_assert_eq!(&paged.notices, &[]);
            if paged.wanted == [true] {
                let target = target_of(&audience);
                let bracket = if asked.iter().any(|(of, _)| *of == target) { target } else { Target::Realm };
                if let Some(count) = self.brackets.get_mut(&bracket) {
                    *count += 1;
                }
                self.give(&audience, number)?;
                self.check_cursor()?;
            }
        }
        let paged = self.tracker.page(&asked, [], position(upto), end);
        for notice in paged.notices {
            self.notice(Some(notice))?;
        }
        Ok(())
    }

    fn meanwhile(&mut self, meanwhile: &Meanwhile) -> Held {
        match meanwhile {
            Meanwhile::Commit(stream) => self.log.push(STREAMS[*stream].parse().unwrap()),
            Meanwhile::Route { full } => self.route(*full)?,
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Held {
        match step {
            Step::Meanwhile(meanwhile) => self.meanwhile(meanwhile)?,
            Step::Hand(count) => self.hand(*count)?,
            Step::Subscribe(targets, meanwhile) => self.subscribe(targets, meanwhile)?,
            Step::Unsubscribe(target) => self.unsubscribe(*target),
            Step::Read(most) => self.read(*most),
            Step::Arrive => self.arrive()?,
            Step::Reconnect => self.reconnect()?,
        }
        self.check_cursor()
    }

    /// Whatever waits or is under way is gone; all that is left is what was given out, and the cursor.
    fn reconnect(&mut self) -> Held {
        if self.regrouped {
            return Ok(());
        }
        let cursor: Cursor = self.tracker.cursor(EPOCH).to_string().parse().unwrap();
        self.tracker = Tracker::new(position(self.head()));
        self.mail.clear();
        self.page = None;
        self.brackets.clear();
        let unnamed = self.unnamed.then(|| target(UNNAMED));
        let targets: Vec<Target> = self.named.iter().cloned().chain(unnamed).collect();
        for target in &targets {
            self.tracker.hold(target);
        }
        for target in targets {
            let at = cursor.position(&target);
            let notice = self.tracker.follow(target, at, true);
            self.notice(notice)?;
        }
        Ok(())
    }

    /// Routes, hands over and reads until nothing is left to do.
    fn rest(&mut self) -> Held {
        for _ in 0..3 {
            while self.routed < self.log.len() {
                self.route(false)?;
            }
            self.hand(usize::MAX)?;
            self.arrive()?;
            let mut pages = 0;
            while self.tracker.is_behind() {
                self.read(2);
                self.arrive()?;
                pages += 1;
                prop_assert!(pages < 200, "it never catches up: {:?}", self.tracker);
            }
        }
        Ok(())
    }

    /// Whether everything that is wanted was given out, and every replay that was announced is complete.
    fn check_complete(&self) -> Held {
        prop_assert_eq!(&self.brackets, &BTreeMap::new());
        for (target, given) in &self.given {
            prop_assert_eq!(&given.seqs, &self.log_of(target, given.since), "{}", target);
        }
        Ok(())
    }

    /// Whether a receiver that is cut off now and comes back with its cursor ends with everything, exactly once.
    fn check_cursor(&self) -> Held {
        let cursor: Cursor = self.tracker.cursor(EPOCH).to_string().parse().unwrap();
        prop_assert_eq!(cursor.epoch, EPOCH);
        let observing = self.named.contains(&Target::Realm);
        if self.regrouped {
            // A cursor is for connections that name everything at once, when they begin. Those that change what they
            // name while they observe know their positions.
            return Ok(());
        }
        for (target, given) in &self.given {
            let named = !observing || self.named.contains(target);
            let at = cursor.position(if named { target } else { &Target::Realm }).as_u64();
            // Everything up to the position was given, and nothing behind it.
            let until: Vec<u64> = self.log_of(target, given.since).into_iter().filter(|seq| *seq <= at).collect();
            prop_assert_eq!(&given.seqs, &until, "the cursor says {} for {}", at, target);
        }
        Ok(())
    }
}

fn play(older: &[usize], steps: &[Step], unnamed: bool) -> Held<World> {
    let mut world = World::new(older, unnamed);
    for step in steps {
        world.step(step)?;
    }
    world.rest()?;
    world.check_complete()?;
    Ok(world)
}

proptest! {
    #![proptest_config(support::config(4))]

    #[test]
    fn log_06_07_what_is_given_out_is_the_log_without_hole_or_duplicate(
        older in vec(0..STREAMS.len(), 0..8),
        steps in vec(step(ROOTS.len()), 1..100),
    ) {
        play(&older, &steps, true)?;
    }

    #[test]
    fn log_06_07_the_same_holds_for_whoever_observes_everything_beside_what_it_names(
        older in vec(0..STREAMS.len(), 0..8),
        steps in vec(step(ROOTS.len() + 1), 1..100),
    ) {
        play(&older, &steps, false)?;
    }

    #[test]
    fn log_04_a_gap_is_told_exactly_when_something_behind_the_position_was_evicted(
        seqs in prop::collection::btree_set(1..60_u64, 0..20),
        evicted in any::<Index>(),
        since in 0..60_u64,
    ) {
        let evicted: Vec<u64> = seqs.iter().copied().take(evicted.index(seqs.len() + 1)).collect();
        let stream: Audience = STREAMS[0].parse().unwrap();
        let floor = position(evicted.last().copied().unwrap_or(0));
        let missing: Vec<u64> = evicted.into_iter().filter(|seq| *seq > since).collect();
        let gap = gap(&stream, position(since), floor, GapReason::Expired);
        prop_assert_eq!(gap.is_some(), !missing.is_empty());
        if let Some(gap) = gap {
            prop_assert_eq!(&gap.stream, STREAMS[0]);
            let bounds = gap.from_seq.unwrap().as_u64()..=gap.to_seq.unwrap().as_u64();
            prop_assert!(missing.iter().all(|seq| bounds.contains(seq)) && *bounds.start() > since);
            prop_assert_eq!(Some(bounds.end()), missing.last(), "it names more than is missing");
        }
    }

    #[test]
    fn log_05_a_position_counts_only_in_the_history_it_belongs_to(
        since in option::of(0..3_u64),
        asked in option::of(0..3_u64),
        current in 0..3_u64,
    ) {
        let start = plan(since.map(position), asked.map(Epoch::from_bits), Epoch::from_bits(current));
        let expected = match since {
            None => Start::Now,
            // Nothing was held, so nothing can be lacking.
            Some(0) => Start::After(Position::START),
            Some(since) if asked == Some(current) => Start::After(position(since)),
            Some(_) => Start::OtherEpoch,
        };
        prop_assert_eq!(start, expected);
    }
}

/// A tracker to which everything is live, and which was given number 1 of a room; it waits in the mailbox.
fn observer() -> (Tracker, Target, Audience) {
    let mut tracker = Tracker::new(Position::START);
    let audience: Audience = "room:r".parse().unwrap();
    tracker.hold(&Target::Realm);
    tracker.follow_from_now(&Target::Realm, Position::START);
    assert!(!tracker.is_behind());
    assert_eq!(tracker.offer(&audience, seq(1)), Offer::Deliver);
    (tracker, target_of(&audience), audience)
}

#[test]
fn log_06_a_page_says_nothing_about_a_root_that_lost_its_place_while_it_was_read() {
    let (mut tracker, room, audience) = observer();
    assert!(tracker.hold(&room));
    assert_eq!(tracker.offer(&audience, seq(2)), Offer::Withhold);
    tracker.follow_from_now(&room, position(1));
    let asked = tracker.behind();
    assert_eq!(asked, [(room.clone(), position(1))]);
    // The mailbox, where number 1 waits, overflows while the page is read.
    assert_eq!(tracker.lose(&audience, seq(1)), None);
    let paged = tracker.page(&asked, [(&audience, seq(2))], position(2), true);
    assert_eq!(paged.wanted, [false]);
    assert_eq!(tracker.behind(), [(room, Position::START)]);
    let paged = tracker.page(&tracker.behind(), [(&audience, seq(1)), (&audience, seq(2))], position(2), true);
    assert_eq!(paged.wanted, [true, true]);
    assert!(!tracker.is_behind());
}

#[test]
fn log_06_a_root_that_is_named_while_its_events_are_lost_begins_in_front_of_them() {
    let (mut tracker, room, audience) = observer();
    assert!(tracker.hold(&room));
    // The mailbox overflows before the command that names the room has come to its end.
    assert_eq!(tracker.lose(&audience, seq(1)), None);
    tracker.follow_from_now(&room, position(1));
    assert_eq!(tracker.behind(), [(room, Position::START)]);
}

#[test]
fn cmd_05_subscribing_again_from_now_on_leaves_a_replay_as_it_is() {
    let mut tracker = Tracker::new(position(5));
    let room = target(ROOTS[2]);
    assert_eq!(tracker.follow(room.clone(), position(5), true), Some(Notice::Replaying(room.clone(), position(5))));
    assert!(!tracker.hold(&room));
    tracker.follow_from_now(&room, position(5));
    let paged = tracker.page(&tracker.behind(), [], position(5), true);
    assert_eq!(paged.notices, [Notice::Recovered(room, 0, position(5))]);
}
