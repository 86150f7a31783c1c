//! Connect, join, subscribe, publish, disconnect, resume: the parts of the crate put together as a hub puts them, against
//! a model that only knows the rules in prose.
//!
//! The model is a list of people and a list of what was said. For each person and stream it can say which numbers they
//! must end up with: everything of the stream behind the place where they began, if they want it and may see it. It knows
//! no roster, no tracker, no mailbox and no page. The system under test has all of these, with a mailbox of six frames,
//! routing that lags behind committing, pages of two events, and people who read only now and then and go away in the
//! middle.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use eventwire_protocol::{
    Audience, Claims, ConnectionId, Dialect, Envelope, Member, Permission, Position, Role, Roster, Scope, Target,
    delivery::{Mailbox, MailboxBounds, Put},
    envelope::Committed,
    resume::{Notice, Offer, Tracker},
    roster::Subscription,
    route::{admits, route},
};
use proptest::{collection::vec, prelude::*, sample::select};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use serde_json::{Value, json};

// ---------------------------------------------------------------------------------------------------------------
// The model: people, what they want, what was said
// ---------------------------------------------------------------------------------------------------------------

/// A person, who has one connection at a time.
#[derive(Debug)]
struct Person {
    user: Option<&'static str>,
    agent: bool,
    /// `None` is all.
    adws: Option<&'static [&'static str]>,
    adw_raw: bool,
    observes: bool,
}

const PEOPLE: &[Person] = &[
    Person { user: Some("ann"), agent: false, adws: None, adw_raw: true, observes: false },
    Person { user: Some("bob"), agent: true, adws: Some(&["aaaaaaaa"]), adw_raw: false, observes: false },
    Person { user: None, agent: false, adws: None, adw_raw: false, observes: false },
    Person { user: Some("eve"), agent: false, adws: None, adw_raw: true, observes: true },
];

/// Everything that is said, by stream, and the type it is said with. A text comes in parts.
const STREAMS: &[(&str, &str)] = &[
    ("adw:aaaaaaaa", "adw.chat_stream"),
    ("adw:aaaaaaaa/raw", "adw.agent_output_chunk"),
    ("adw:aaaaaaab", "adw.text_block"),
    ("session:s", "_vendor.event"),
    ("session:s/private/ann", "_vendor.event"),
    ("session:s/agent_only/ann", "_vendor.event"),
    ("room:r", "_vendor.event"),
    ("user:ann", "_vendor.event"),
    ("user:bob", "_vendor.event"),
    ("global", "adw.system_log"),
];

const TARGETS: &[&str] = &["adw:aaaaaaaa", "adw:aaaaaaab", "session:s", "room:r"];

/// The target of a stream: everything in front of the part.
fn target_of(stream: &str) -> &str {
    stream.split('/').next().unwrap()
}

/// A wanted target: every event with a number above `since`.
#[derive(Clone, Debug, PartialEq)]
struct Want {
    since: u64,
    /// Whether it is coming: the person is connected and asked for it.
    coming: bool,
}

#[derive(Clone, Debug, Default)]
struct Model {
    /// The stream of each event, by number.
    log: Vec<usize>,
    connected: [bool; PEOPLE.len()],
    wants: [BTreeMap<String, Want>; PEOPLE.len()],
}

#[derive(Clone, Debug)]
enum Transition {
    /// Somebody connects. What they receive without asking goes on where they stopped.
    Connect(usize),
    Disconnect(usize),
    /// Somebody subscribes, from now on, from the beginning, or from where they stopped.
    Subscribe(usize, &'static str, From),
    Unsubscribe(usize, &'static str),
    /// Something is said in a stream.
    Publish(usize),
    /// What was said is routed, so much of it.
    Route(usize),
    /// Somebody's socket takes what waits.
    Read(usize),
    /// Somebody's connection reads a page of the log, while something is said in these streams and so many events are
    /// routed.
    Page(usize, Vec<usize>, usize),
    /// Everything comes to rest.
    Settle,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Now,
    Beginning,
    WhereTheyStopped,
}

/// What somebody receives without asking.
fn unasked(person: usize) -> Vec<String> {
    let mut targets = vec!["global".to_owned()];
    targets.extend(PEOPLE[person].user.map(|user| format!("user:{user}")));
    targets
}

/// Whether somebody may subscribe to a target.
fn may_subscribe(person: usize, target: &str) -> bool {
    let person = &PEOPLE[person];
    match target.strip_prefix("adw:") {
        Some(id) => person.adws.is_none_or(|adws| adws.contains(&id)),
        None => target != "*" || person.observes,
    }
}

/// Whether a receiver of the target of a stream may see this stream.
fn may_see(person: usize, stream: &str) -> bool {
    let person = &PEOPLE[person];
    match stream.split_once('/') {
        Some((_, "raw")) => person.adw_raw,
        Some((_, part)) => {
            let (part, sender) = part.split_once('/').unwrap();
            person.user == Some(sender) || (part == "agent_only" && person.agent)
        }
        None => true,
    }
}

impl Model {
    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// The wanted target that a stream comes under: its own, else everything.
    fn want(&self, person: usize, stream: &str) -> Option<(&str, &Want)> {
        let wants = &self.wants[person];
        if let Some((target, want)) = wants.get_key_value(target_of(stream)) {
            return may_see(person, stream).then_some((target.as_str(), want));
        }
        let hidden = stream.contains("/private/") || stream.contains("/agent_only/");
        wants.get_key_value("*").filter(|_| !hidden).map(|(target, want)| (target.as_str(), want))
    }

    /// The numbers of a stream that somebody must end up with.
    fn due(&self, person: usize, stream: &str) -> Vec<u64> {
        let Some((_, want)) = self.want(person, stream) else { return Vec::new() };
        let numbered = self.log.iter().zip(1_u64..);
        numbered.filter(|(of, seq)| STREAMS[**of].0 == stream && *seq > want.since).map(|(_, seq)| seq).collect()
    }

    fn begin(&mut self, person: usize, target: &str, from: From) {
        let head = self.head();
        let want = self.wants[person].entry(target.to_owned()).or_insert(Want { since: 0, coming: false });
        match from {
            // Asking again from now on changes nothing.
            From::Now if want.coming => {}
            From::Now => want.since = head,
            From::Beginning => want.since = 0,
            From::WhereTheyStopped => {}
        }
        want.coming = true;
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Transition> {
        let (here, away): (Vec<usize>, Vec<usize>) = (0..PEOPLE.len()).partition(|person| state.connected[*person]);
        let mut choices =
            vec![(8, (1..6_usize).prop_map(Transition::Route).boxed()), (1, Just(Transition::Settle).boxed())];
        if state.log.len() < 60 {
            choices.push((20, (0..STREAMS.len()).prop_map(Transition::Publish).boxed()));
        }
        if !away.is_empty() {
            choices.push((4, select(away).prop_map(Transition::Connect).boxed()));
        }
        if !here.is_empty() {
            let person = select(here);
            // The one who observes wants everything and nothing else.
            let target = (person.clone(), select(TARGETS))
                .prop_map(|(person, target)| (person, if PEOPLE[person].observes { "*" } else { target }));
            let from = select(&[From::Now, From::Beginning, From::WhereTheyStopped, From::WhereTheyStopped][..]);
            let subscribe =
                (target.clone(), from).prop_map(|((person, target), from)| Transition::Subscribe(person, target, from));
            choices.push((2, person.clone().prop_map(Transition::Disconnect).boxed()));
            choices.push((6, subscribe.boxed()));
            choices.push((1, target.prop_map(|(person, target)| Transition::Unsubscribe(person, target)).boxed()));
            choices.push((4, person.clone().prop_map(Transition::Read).boxed()));
            let page = (person, vec(0..STREAMS.len(), 0..3), 0..6_usize)
                .prop_map(|(person, said, routed)| Transition::Page(person, said, routed));
            choices.push((4, page.boxed()));
        }
        proptest::strategy::Union::new_weighted(choices).boxed()
    }

    /// What shrinking must keep.
    fn preconditions(state: &Self, transition: &Transition) -> bool {
        match transition {
            Transition::Connect(person) => !state.connected[*person],
            Transition::Disconnect(person)
            | Transition::Read(person)
            | Transition::Page(person, ..)
            | Transition::Unsubscribe(person, _)
            | Transition::Subscribe(person, ..) => state.connected[*person],
            Transition::Publish(_) | Transition::Route(_) | Transition::Settle => true,
        }
    }

    fn apply(mut state: Self, transition: &Transition) -> Self {
        match transition {
            Transition::Connect(person) => {
                state.connected[*person] = true;
                for target in unasked(*person) {
                    let known = state.wants[*person].contains_key(&target);
                    state.begin(*person, &target, if known { From::WhereTheyStopped } else { From::Now });
                }
            }
            Transition::Disconnect(person) => {
                state.connected[*person] = false;
                for want in state.wants[*person].values_mut() {
                    want.coming = false;
                }
            }
            Transition::Subscribe(person, target, from) => {
                if may_subscribe(*person, target) {
                    state.begin(*person, target, *from);
                }
            }
            Transition::Unsubscribe(person, target) => {
                state.wants[*person].remove(*target);
            }
            Transition::Publish(stream) => state.log.push(*stream),
            Transition::Page(_, said, _) => state.log.extend(said),
            Transition::Route(_) | Transition::Read(_) | Transition::Settle => {}
        }
        state
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The system: roster, routing, log, tracker, mailbox, put together
// ---------------------------------------------------------------------------------------------------------------

/// What a person holds, over all of their connections.
#[derive(Debug, Default)]
struct Client {
    /// By stream: the numbers, and the text of all of them.
    held: BTreeMap<String, Vec<u64>>,
    text: BTreeMap<String, String>,
    /// By target: where the client began, and how far it was told to be complete.
    since: BTreeMap<String, u64>,
    replaying: BTreeSet<String>,
}

impl Client {
    /// Where a target is to be resumed: behind the highest number that was received of it, or up to which it was said to be
    /// complete. What comes without asking has a place of its own, also beside everything.
    fn position(&self, target: &str, unasked: &[String]) -> u64 {
        let of = |stream: &String| match target {
            "*" => !unasked.iter().any(|of| of == target_of(stream)),
            target => target_of(stream) == target,
        };
        let received = self.held.iter().filter(|(stream, _)| of(stream)).filter_map(|(_, seqs)| seqs.last());
        received.chain(self.since.get(target)).copied().max().unwrap_or(0)
    }

    /// Forgets what it held of a target, and begins anew.
    fn begin(&mut self, target: &str, streams: impl Fn(&str) -> bool, since: u64) {
        self.held.retain(|stream, _| !streams(stream));
        self.text.retain(|stream, _| !streams(stream));
        self.since.insert(target.to_owned(), since);
        self.replaying.remove(target);
    }

    fn read(&mut self, frame: &[u8], log: &[Arc<Committed>]) {
        let frame: Value = serde_json::from_slice(frame).unwrap();
        let stream = frame["to"].as_str().unwrap().to_owned();
        let Some(seq) = frame.get("seq").map(|seq| seq.as_u64().unwrap()) else {
            return self.notice(&frame);
        };
        let prev = frame["prev"].as_u64().unwrap();
        let held = self.held.entry(stream.clone()).or_default();
        // The client's own check, by which it would notice a loss.
        if let Some(last) = held.last() {
            assert_eq!(prev, *last, "a hole in {stream}, in front of {seq}");
        }
        let of = log.iter().filter(|event| event.envelope().audience().to_string() == stream);
        held.extend(
            of.map(|event| event.logged().unwrap().seq.as_u64()).filter(|number| *number > prev && *number <= seq),
        );
        assert_eq!(held.last(), Some(&seq));
        let content = frame["data"]["content"].as_str().unwrap_or_default();
        self.text.entry(stream).or_default().push_str(content);
    }

    fn notice(&mut self, frame: &Value) {
        if frame["type"] == "connection.unsubscribed" {
            for stream in frame["data"]["streams"].as_array().unwrap() {
                self.replaying.remove(stream["to"].as_str().unwrap());
            }
            return;
        }
        let target = frame["data"]["stream"].as_str().unwrap().to_owned();
        if !self.since.contains_key(&target) {
            // It was on its way when the target was unsubscribed.
            return;
        }
        match frame["type"].as_str().unwrap() {
            "connection.replaying" => {
                self.replaying.insert(target);
            }
            "connection.recovered" => {
                assert!(self.replaying.remove(&target), "{target} recovers from nothing");
                let upto = frame["data"]["upto"].as_u64().unwrap();
                let since = self.since.entry(target).or_default();
                *since = upto.max(*since);
            }
            other => panic!("unexpected {other}"),
        }
    }
}

struct Connection {
    id: ConnectionId,
    tracker: Tracker,
    mailbox: Mailbox,
}

#[derive(Default)]
struct System {
    roster: Roster,
    connections: BTreeMap<usize, Connection>,
    clients: [Client; PEOPLE.len()],
    log: Vec<Arc<Committed>>,
    last: BTreeMap<String, u64>,
    routed: usize,
    ids: u64,
}

fn position(number: u64) -> Position {
    Position::new(number).unwrap()
}

fn claims(person: usize) -> Claims {
    let person = &PEOPLE[person];
    let mut permissions = BTreeSet::new();
    permissions.extend(person.observes.then_some(Permission::Observe));
    permissions.extend(person.adw_raw.then_some(Permission::AdwRaw));
    Claims {
        user: person.user.map(|user| user.parse().unwrap()),
        role: person.agent.then_some(Role::Agent),
        adws: person.adws.map_or(Scope::All, |adws| Scope::Only(adws.iter().map(|id| id.parse().unwrap()).collect())),
        permissions,
        ..Claims::anonymous()
    }
}

impl Connection {
    /// Puts an event into the mailbox; what finds no room goes back to the log.
    fn put(&mut self, event: Arc<Committed>) {
        match self.mailbox.put(event.clone()) {
            Put::Queued | Put::Joined => {}
            Put::Overflow => {
                let lost: Vec<_> = self.mailbox.give_back().into_iter().chain([event]).collect();
                for event in lost {
                    let seq = event.logged().unwrap().seq;
                    let notice = self.tracker.lose(event.envelope().audience(), seq);
                    notice.into_iter().for_each(|notice| self.say(&notice));
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, notice: &Notice) {
        let (kind, data) = match notice {
            Notice::Replaying(target, from) => ("connection.replaying", json!({"stream": target, "from": from})),
            Notice::Recovered(target, count, upto) => {
                ("connection.recovered", json!({"stream": target, "recovered": count, "upto": upto}))
            }
        };
        self.tell(kind, &data);
    }

    /// Says something to this connection alone.
    fn tell(&mut self, kind: &str, data: &Value) {
        self.put(Arc::new(Committed::new(support::said(kind, self.id, data), None)));
    }

    fn offer(&mut self, event: &Arc<Committed>) {
        if self.tracker.offer(event.envelope().audience(), event.logged().unwrap().seq) == Offer::Deliver {
            self.put(event.clone());
        }
    }

    /// The mailbox goes to the socket.
    fn take(&mut self, client: &mut Client, log: &[Arc<Committed>]) {
        let dialect = Dialect::Canonical;
        for event in self.mailbox.take() {
            if let Some(logged) = event.logged() {
                self.tracker.handed_over(logged.seq);
            }
            client.read(event.frame(dialect).unwrap(), log);
        }
    }
}

impl System {
    fn publish(&mut self, stream: usize) {
        let (to, kind) = STREAMS[stream];
        let number = self.log.len() as u64 + 1;
        let envelope: Envelope = match kind {
            "adw.chat_stream" => {
                let data = json!({"adw_id": "aaaaaaaa", "content": format!("{number};"), "stream_type": "text", "is_complete": false});
                support::publish(kind, to, &data)
            }
            // A publisher names the whole; the catalog decides about the part.
            "adw.agent_output_chunk" => support::event(kind, target_of(to)),
            _ => support::event(kind, to),
        };
        let audience = envelope.audience().to_string();
        assert_eq!(audience, to);
        let prev = self.last.insert(audience, number).unwrap_or(0);
        self.log.push(Arc::new(support::committed(envelope, number, prev)));
    }

    fn route(&mut self, count: usize) {
        for _ in 0..count {
            let Some(event) = self.log.get(self.routed).cloned() else { return };
            self.routed += 1;
            let recipients = route(&self.roster, event.envelope());
            for connection in self.connections.values_mut().filter(|connection| recipients.contains(&connection.id)) {
                connection.offer(&event);
            }
        }
    }

    fn connect(&mut self, person: usize) {
        self.ids += 1;
        self.clients[person].replaying.clear();
        let id = ConnectionId::from_u64(self.ids);
        let mut tracker = Tracker::new(position(self.log.len() as u64));
        let mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 6, bytes: 100_000 });
        for target in unasked(person) {
            tracker.hold(&target.parse().unwrap());
        }
        self.roster.connect(id, Member::new(Dialect::Canonical, claims(person), None));
        self.connections.insert(person, Connection { id, tracker, mailbox });
        for target in unasked(person) {
            let known = self.clients[person].since.contains_key(&target);
            self.follow(person, &target, if known { From::WhereTheyStopped } else { From::Now });
        }
    }

    fn follow(&mut self, person: usize, target: &str, from: From) {
        let client = &mut self.clients[person];
        let connection = self.connections.get_mut(&person).unwrap();
        let at = match from {
            From::Now => self.log.len() as u64,
            From::Beginning => 0,
            From::WhereTheyStopped => client.position(target, &unasked(person)),
        };
        let parsed: Target = target.parse().unwrap();
        // Streams that come under this target; what is received without asking has a place of its own.
        let own = unasked(person);
        let of = |stream: &str| {
            if target == "*" { !own.contains(&target_of(stream).to_owned()) } else { target_of(stream) == target }
        };
        let belongs = |audience: &Audience| of(&audience.to_string());
        connection.mailbox.purge_logged(belongs);
        client.replaying.remove(target);
        client.since.entry(target.to_owned()).or_insert(0);
        if from != From::WhereTheyStopped {
            client.begin(target, of, at);
        }
        if from == From::Now {
            return connection.tracker.follow_from_now(&parsed, position(at));
        }
        let notice = connection.tracker.follow(parsed, position(at), true);
        notice.into_iter().for_each(|notice| connection.say(&notice));
    }

    /// A connection that leaves its answers unread is closed; these people read them before they ask for more.
    fn read_answers(&mut self, person: usize) {
        let connection = self.connections.get_mut(&person).unwrap();
        if connection.mailbox.len() > 4 {
            connection.take(&mut self.clients[person], &self.log);
        }
    }

    fn subscribe(&mut self, person: usize, target: &str, from: From) {
        self.read_answers(person);
        let connection = self.connections.get_mut(&person).unwrap();
        let parsed: Target = target.parse().unwrap();
        let new = connection.tracker.hold(&parsed);
        let subscribed = self.roster.subscribe(connection.id, &parsed);
        assert_eq!(subscribed.is_ok(), may_subscribe(person, target), "{target}");
        // The log is asked, and meanwhile something is routed.
        self.route(2);
        let connection = self.connections.get_mut(&person).unwrap();
        match subscribed {
            Ok(Subscription::Kept) if from == From::Now => {
                let head = position(self.log.len() as u64);
                connection.tracker.follow_from_now(&parsed, head);
            }
            Ok(_) => self.follow(person, target, from),
            Err(_) if new => connection.tracker.forget(&parsed),
            Err(_) => {}
        }
    }

    fn unsubscribe(&mut self, person: usize, target: &str) {
        self.read_answers(person);
        let connection = self.connections.get_mut(&person).unwrap();
        let parsed: Target = target.parse().unwrap();
        self.roster.unsubscribe(connection.id, &parsed).unwrap();
        connection.tracker.forget(&parsed);
        let own = unasked(person);
        let of = |stream: &str| {
            if target == "*" { !own.contains(&target_of(stream).to_owned()) } else { target_of(stream) == target }
        };
        connection.mailbox.purge_logged(|audience| of(&audience.to_string()));
        connection.tell("connection.unsubscribed", &json!({"streams": [{"to": target}]}));
        self.clients[person].begin(target, of, 0);
        self.clients[person].since.remove(target);
    }

    /// Reads a page while more is said and routed, and hands it over behind what waits.
    fn page(&mut self, person: usize, said: &[usize], routed: usize) {
        const MOST: usize = 2;
        let asked = self.connections[&person].tracker.behind();
        let place = |audience: &Audience| {
            let own = audience.target();
            let named = asked.iter().find(|(target, _)| Some(target) == own.as_ref());
            named.or_else(|| asked.iter().find(|(target, _)| *target == Target::Realm)).map(|(_, at)| *at)
        };
        let behind = |event: &&Arc<Committed>| {
            place(event.envelope().audience()).is_some_and(|at| !at.covers(event.logged().unwrap().seq))
        };
        let mut events: VecDeque<Arc<Committed>> = self.log.iter().filter(behind).cloned().collect();
        let end = events.len() <= MOST;
        events.truncate(MOST);
        let upto = if end { self.log.len() as u64 } else { events[MOST - 1].logged().unwrap().seq.as_u64() };

        for stream in said {
            self.publish(*stream);
        }
        self.route(routed);

        let client = &mut self.clients[person];
        let connection = self.connections.get_mut(&person).unwrap();
        connection.take(client, &self.log);
        let member = self.roster.member(connection.id).unwrap();
        events.retain(|event| admits(connection.id, member, event.envelope()));
        let numbered = events.iter().map(|event| (event.envelope().audience(), event.logged().unwrap().seq));
        let paged = connection.tracker.page(&asked, numbered, position(upto), end);
        for (event, wanted) in events.iter().zip(&paged.wanted) {
            if *wanted {
                client.read(event.frame(Dialect::Canonical).unwrap(), &self.log);
            }
        }
        for notice in &paged.notices {
            connection.say(notice);
        }
        connection.take(client, &self.log);
    }

    fn settle(&mut self) {
        self.route(usize::MAX);
        for person in 0..PEOPLE.len() {
            for _ in 0..200 {
                let Some(connection) = self.connections.get_mut(&person) else { break };
                connection.take(&mut self.clients[person], &self.log);
                if !connection.tracker.is_behind() {
                    break;
                }
                self.page(person, &[], 0);
            }
            let behind = self.connections.get(&person).is_some_and(|connection| connection.tracker.is_behind());
            assert!(!behind, "person {person} never catches up");
        }
    }

    /// What everybody holds is what they are due, all of it or the first part of it.
    fn compare(&self, model: &Model, settled: bool) {
        for (person, client) in self.clients.iter().enumerate() {
            for (stream, kind) in STREAMS {
                let none = Vec::new();
                let held = client.held.get(*stream).unwrap_or(&none);
                let due = model.due(person, stream);
                let coming = model.want(person, stream).is_some_and(|(_, want)| want.coming);
                if settled && coming {
                    assert_eq!(*held, due, "person {person}, {stream}");
                } else {
                    assert!(due.starts_with(held), "person {person}, {stream}: {held:?} is not how {due:?} begins");
                }
                if *kind == "adw.chat_stream" {
                    let text: String = held.iter().map(|number| format!("{number};")).collect();
                    assert_eq!(client.text.get(*stream).cloned().unwrap_or_default(), text, "person {person}");
                }
            }
            let known = |stream: &String| STREAMS.iter().any(|(of, _)| of == stream);
            assert!(client.held.keys().all(known));
        }
    }
}

struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = System;
    type Reference = Model;

    fn init_test(_: &Model) -> System {
        System::default()
    }

    fn apply(mut system: System, model: &Model, transition: Transition) -> System {
        match transition {
            Transition::Connect(person) => system.connect(person),
            Transition::Disconnect(person) => {
                let connection = system.connections.remove(&person).unwrap();
                assert!(system.roster.disconnect(connection.id).is_some());
            }
            Transition::Subscribe(person, target, from) => system.subscribe(person, target, from),
            Transition::Unsubscribe(person, target) => system.unsubscribe(person, target),
            Transition::Publish(stream) => system.publish(stream),
            Transition::Route(count) => system.route(count),
            Transition::Read(person) => {
                let connection = system.connections.get_mut(&person).unwrap();
                connection.take(&mut system.clients[person], &system.log);
            }
            Transition::Page(person, said, routed) => system.page(person, &said, routed),
            Transition::Settle => {
                system.settle();
                system.compare(model, true);
            }
        }
        system
    }

    fn check_invariants(system: &System, model: &Model) {
        system.compare(model, false);
        assert_eq!(system.roster.len(), model.connected.iter().filter(|connected| **connected).count());
    }

    fn teardown(mut system: System, model: Model) {
        system.settle();
        system.compare(&model, true);
        let clients = &system.clients;
        assert!(
            clients.iter().zip(&model.connected).all(|(client, connected)| !connected || client.replaying.is_empty())
        );
        for (_, connection) in std::mem::take(&mut system.connections) {
            system.roster.disconnect(connection.id);
        }
        assert_eq!(system.roster, Roster::new());
    }
}

prop_state_machine! {
    #![proptest_config(support::config(1))]

    #[test]
    fn log_06_route_01_everybody_ends_with_what_they_are_due_and_nobody_with_more(sequential 1..120 => Machine);
}
