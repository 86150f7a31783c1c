//! Isolation of tenants, at random: topologies of users, grants, subscriptions and events, each judged over every path on which
//! the core decides what a connection learns.
//!
//! A case is one connection and one event: whether the event reaches it live, on a resume, as a newest value, in the mailbox after
//! its claims have changed, and whether `explain`, the connection list and addressing show it what they should. The oracle reads
//! grants as lists of texts and shares no code with the crate. A difference in either direction fails; one that shows too much is
//! called a leak. `ISOLATION_CASES` sets how many cases there are; threads share them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and says its size"
)]

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use eventwire_protocol::{
    AdwId, Audience, Claims, Committed, ConnectionId, ContextId, Dialect, Envelope, EventKind, Member, Permission,
    Position, PublicScope, Role, RoomName, Roster, Scope, Seq, SessionId, Target, Time, UserId,
    delivery::{Mailbox, MailboxBounds},
    explain::{self, Records, SubscribedAt},
    frame::Logged,
    inspect::{self, Extent},
    resume::Tracker,
    route,
};

/// Nothing is known beside the roster.
struct NoRecords;

impl Records for NoRecords {
    fn now(&self) -> Time {
        Time::from_unix_micros(0)
    }

    fn subscribed(&self, _: ConnectionId, _: &Target) -> Option<SubscribedAt> {
        None
    }

    fn client(&self, _: ConnectionId) -> Option<String> {
        None
    }
}

/// Cases of `cargo test`.
const USUAL: u64 = 100_000;

/// What tenants are called, and what their things are called: close to each other on purpose.
const USERS: [&str; 5] = ["a", "a:1", "b", "b:1", "ab"];
const CONTEXTS: [&str; 4] = ["session:a", "session:a:b", "session:b", "session:b.a"];
const ROOMS: [&str; 4] = ["room:a", "room:a:b", "room:b", "room:shared"];
const ADWS: [&str; 3] = ["adw:aaaaaaaa", "adw:aaaaaaab", "adw:bbbbbbbb"];
const HOMES: [&str; 3] = [
    "session:~000000000000000000000000000000aa",
    "session:~000000000000000000000000000000ab",
    "session:~000000000000000000000000000000bb",
];
const CONNECTIONS: u64 = 6;
const EVENTS: usize = 8;

/// A generator of 64 bits (splitmix64): the same case from the same seed, anywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

// ---------------------------------------------------------------------------------------------------------------
// What there is, in plain texts
// ---------------------------------------------------------------------------------------------------------------

/// Targets as they are written; `room:*` is every room.
type Grants = Vec<&'static str>;

#[derive(Clone, Debug)]
struct Guest {
    id: u64,
    user: Option<&'static str>,
    agent: bool,
    home: Option<&'static str>,
    grants: Grants,
    public: Grants,
    observe: bool,
    publish: bool,
    raw: bool,
    /// Whether it is a client of the kanban, which hears of every ADW until it names one.
    kanban: bool,
    wants: Vec<&'static str>,
}

fn grants(random: &mut Random) -> Grants {
    if random.one_in(8) {
        return vec!["session:*", "adw:*", "room:*", "user:*", "session:~*", "global"];
    }
    let mut grants = Vec::new();
    let mut some = |random: &mut Random, names: &[&'static str], all: &'static str| match random.below(8) {
        0..4 => {}
        4..7 => grants.extend((0..=random.below(2)).map(|_| random.of(names))),
        _ => grants.push(all),
    };
    some(random, &CONTEXTS, "session:*");
    some(random, &ROOMS, "room:*");
    some(random, &ADWS, "adw:*");
    some(random, &["user:a", "user:a:1", "user:b", "user:b:1", "user:ab"], "user:*");
    some(random, &HOMES, "session:~*");
    if random.one_in(3) {
        grants.push("global");
    }
    grants
}

fn guest(random: &mut Random, id: u64, public: &Grants) -> Guest {
    let wants: Vec<&'static str> = (0..random.below(6))
        .map(|_| match random.below(4) {
            0 => "*",
            1 => random.of(&CONTEXTS),
            2 => random.of(&ROOMS),
            _ => random.of(&ADWS),
        })
        .collect();
    Guest {
        id,
        user: (!random.one_in(3)).then(|| random.of(&USERS)),
        agent: random.one_in(3),
        home: random.one_in(2).then(|| random.of(&HOMES)),
        grants: grants(random),
        public: public.clone(),
        observe: random.one_in(2),
        publish: random.one_in(2),
        raw: random.one_in(2),
        kanban: random.one_in(6),
        wants,
    }
}

/// Every audience that an event may be for.
static AUDIENCES: LazyLock<Vec<(String, Envelope)>> = LazyLock::new(|| {
    let mut to: Vec<String> = vec!["global".into()];
    to.extend((1..=CONNECTIONS).map(|id| format!("connection:c{id:016x}")));
    for context in CONTEXTS {
        to.push(context.into());
        to.extend(
            USERS.iter().flat_map(|user| [format!("{context}/private/{user}"), format!("{context}/agent_only/{user}")]),
        );
    }
    to.extend(HOMES.iter().chain(&ROOMS).map(|to| (*to).to_owned()));
    to.extend(ADWS.iter().flat_map(|adw| [(*adw).to_owned(), format!("{adw}/raw")]));
    to.extend(USERS.iter().map(|user| format!("user:{user}")));
    let probe = |to: String| {
        let kind = if to.starts_with("adw:") { "adw.text_block" } else { "_isolation.note" };
        let envelope = Envelope::probe(EventKind::parse(kind).unwrap(), to.parse().unwrap()).unwrap();
        (to, envelope)
    };
    to.into_iter().map(probe).collect()
});

// ---------------------------------------------------------------------------------------------------------------
// The oracle
// ---------------------------------------------------------------------------------------------------------------

mod oracle {
    use super::Guest;

    /// Whether a list of targets has this one, or all of its kind.
    pub(super) fn lists(grants: &[&str], target: &str) -> bool {
        let all = match target.split_once(':') {
            Some(("session", id)) if id.starts_with('~') => "session:~*",
            Some(("session", _)) => "session:*",
            Some(("room", _)) => "room:*",
            Some(("adw", _)) => "adw:*",
            Some(("user", _)) => "user:*",
            _ => target,
        };
        grants.iter().any(|grant| *grant == target || *grant == all)
    }

    pub(super) fn may_join(guest: &Guest, target: &str) -> bool {
        if target == "*" { guest.observe } else { lists(&guest.grants, target) || lists(&guest.public, target) }
    }

    pub(super) fn holds(guest: &Guest, target: &str) -> bool {
        guest.wants.contains(&target) && may_join(guest, target)
    }

    fn whole(to: &str) -> &str {
        to.split('/').next().unwrap_or(to)
    }

    /// Whether events of the audience reach the connection, whatever they are.
    pub(super) fn receives(guest: &Guest, to: &str) -> bool {
        let target = whole(to);
        let part = to.strip_prefix(target).unwrap_or("").trim_start_matches('/');
        let observes = holds(guest, "*") && lists(&guest.grants, target) && (part.is_empty() || part == "raw");
        match target.split_once(':') {
            None => true,
            Some(("connection", id)) => id == format!("c{:016x}", guest.id),
            Some(("user", user)) => guest.user == Some(user) || observes,
            Some(("session", id)) if id.starts_with('~') => guest.home == Some(target) || observes,
            Some(("session", _)) => match part.split_once('/') {
                None => holds(guest, target) || observes,
                Some((kind, user)) => {
                    holds(guest, target) && (guest.user == Some(user) || (kind == "agent_only" && guest.agent))
                }
            },
            Some(("room", _)) => holds(guest, target) || observes,
            Some(("adw", _)) => {
                let named = guest.wants.iter().any(|to| to.starts_with("adw:") && may_join(guest, to));
                let hears = if named { holds(guest, target) } else { guest.kanban && may_join(guest, target) };
                (hears || observes) && (part.is_empty() || guest.raw)
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    /// Whether the connection gets the event: its dialect must know the type.
    pub(super) fn gets(guest: &Guest, to: &str) -> bool {
        (!guest.kanban || to.starts_with("adw:")) && receives(guest, to)
    }

    fn everyone(asker: &Guest) -> bool {
        ["user:*", "session:~*", "global"].iter().all(|all| asker.grants.contains(all))
    }

    /// Which subscriptions of a connection an asker may know of.
    pub(super) fn shown(asker: &Guest, of: &Guest) -> Vec<&'static str> {
        let everything =
            everyone(asker) && ["session:*", "room:*", "adw:*"].iter().all(|all| asker.grants.contains(all));
        let held = of.wants.iter().filter(|target| holds(of, target));
        let shown = held.filter(|target| if **target == "*" { everything } else { lists(&asker.grants, target) });
        let mut shown: Vec<&'static str> = shown.copied().collect();
        shown.sort_unstable();
        shown.dedup();
        shown
    }

    pub(super) fn shows_user(asker: &Guest, of: &Guest) -> bool {
        of.user.is_some_and(|user| lists(&asker.grants, &format!("user:{user}")))
    }

    pub(super) fn shows_home(asker: &Guest, of: &Guest) -> bool {
        of.home.is_some_and(|home| lists(&asker.grants, home))
    }

    /// Whether an asker may know all of a connection, a part, or not even that it is there.
    pub(super) fn sees(asker: &Guest, of: &Guest) -> Option<bool> {
        let (user, home) = (shows_user(asker, of), shows_home(asker, of));
        let mut held: Vec<_> = of.wants.iter().filter(|target| holds(of, target)).collect();
        held.sort_unstable();
        held.dedup();
        let shown = shown(asker, of);
        let whole = match (of.user, of.home) {
            (None, None) => !held.is_empty() && shown.len() == held.len(),
            _ => of.user.is_some() == user && of.home.is_some() == home,
        };
        if everyone(asker) || whole {
            return Some(true);
        }
        let named = of.wants.iter().any(|to| to.starts_with("adw:") && may_join(of, to));
        let by_default = of.kanban
            && !named
            && (asker.grants.contains(&"adw:*")
                || asker.grants.iter().any(|grant| grant.starts_with("adw:") && may_join(of, grant)));
        (user || home || !shown.is_empty() || by_default).then_some(false)
    }

    pub(super) fn may_explain(asker: &Guest, to: &str) -> bool {
        let sender = to.splitn(3, '/').nth(2);
        let sender = sender.is_none_or(|user| lists(&asker.grants, &format!("user:{user}")));
        asker.observe && sender && (to.starts_with("connection:") || lists(&asker.grants, whole(to)))
    }

    pub(super) fn may_address(publisher: &Guest, to: &str, guests: &[Guest]) -> bool {
        let reached = match to.strip_prefix("connection:") {
            None => lists(&publisher.grants, whole(to)),
            Some(id) => {
                let of = guests.iter().find(|guest| format!("c{:016x}", guest.id) == id);
                everyone(publisher) || of.is_some_and(|of| sees(publisher, of) == Some(true))
            }
        };
        publisher.publish && reached
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The crate's side
// ---------------------------------------------------------------------------------------------------------------

fn scope<T: Ord>(grants: &Grants, all: &str, kind: &str, read: impl Fn(&str) -> Option<T>) -> Scope<T> {
    if grants.contains(&all) {
        return Scope::All;
    }
    Scope::Only(grants.iter().filter_map(|grant| read(grant.strip_prefix(kind)?)).collect())
}

fn contexts(grants: &Grants) -> Scope<ContextId> {
    let context = |id: &str| match id.parse().unwrap() {
        SessionId::Context(id) => Some(id),
        SessionId::Browser(_) => None,
    };
    scope(grants, "session:*", "session:", |id| if id == "~*" { None } else { context(id) })
}

fn adws(grants: &Grants) -> Scope<AdwId> {
    scope(grants, "adw:*", "adw:", |id| id.parse().ok())
}

fn rooms(grants: &Grants) -> Scope<RoomName> {
    scope(grants, "room:*", "room:", |name| name.parse().ok())
}

fn browser_session(target: &str) -> Option<eventwire_protocol::BrowserSession> {
    match target.strip_prefix("session:")?.parse() {
        Ok(SessionId::Browser(id)) => Some(id),
        _ => None,
    }
}

fn claims(guest: &Guest) -> Claims {
    let mut permissions = BTreeSet::new();
    permissions.extend(guest.observe.then_some(Permission::Observe));
    permissions.extend(guest.publish.then_some(Permission::Publish));
    permissions.extend(guest.raw.then_some(Permission::AdwRaw));
    let all_homes = guest.grants.contains(&"session:~*");
    let homes = guest.grants.iter().filter_map(|grant| browser_session(grant));
    let public = &guest.public;
    Claims {
        user: guest.user.map(|user| user.parse().unwrap()),
        role: guest.agent.then_some(Role::Agent),
        contexts: contexts(&guest.grants),
        adws: adws(&guest.grants),
        rooms: rooms(&guest.grants),
        users: scope::<UserId>(&guest.grants, "user:*", "user:", |user| user.parse().ok()),
        browser_sessions: if all_homes { Scope::All } else { Scope::Only(homes.collect()) },
        global: guest.grants.contains(&"global"),
        public: (!public.is_empty())
            .then(|| Arc::new(PublicScope { contexts: contexts(public), adws: adws(public), rooms: rooms(public) })),
        permissions,
        history_from: None,
    }
}

fn id(guest: &Guest) -> ConnectionId {
    ConnectionId::from_u64(guest.id)
}

fn dialect(guest: &Guest) -> Dialect {
    if guest.kanban { Dialect::Adw } else { Dialect::Canonical }
}

fn roster(guests: &[Guest]) -> Roster {
    let mut roster = Roster::new();
    for guest in guests {
        let home = guest.home.and_then(browser_session);
        roster.connect(id(guest), Member::new(dialect(guest), claims(guest), home));
        for target in &guest.wants {
            let joined = roster.subscribe(id(guest), &target.parse().unwrap());
            assert_eq!(joined.is_ok(), oracle::may_join(guest, target), "{target}: {guest:?}");
        }
    }
    roster
}

// ---------------------------------------------------------------------------------------------------------------
// The campaign
// ---------------------------------------------------------------------------------------------------------------

/// One difference is one failure, with everything that is needed to do it again.
fn judge(path: &str, shown: bool, due: bool, seed: u64, to: &str, guest: &Guest) {
    if shown != due {
        let what = if shown { "LEAK" } else { "loss" };
        panic!("{what} by {path}, seed {seed:#x}: {to} to {guest:?}");
    }
}

/// One topology; gives how many cases it had.
fn topology(seed: u64) -> u64 {
    let random = &mut Random(seed);
    let public: Grants =
        if random.one_in(4) { vec![random.of(&ROOMS), random.of(&ADWS), random.of(&CONTEXTS)] } else { vec![] };
    let guests: Vec<Guest> = (1..=CONNECTIONS).map(|id| guest(random, id, &public)).collect();
    let mut roster = roster(&guests);
    let events: Vec<&(String, Envelope)> = (0..EVENTS).map(|_| &AUDIENCES[random.below(AUDIENCES.len())]).collect();
    let log: Vec<Arc<Committed>> = (1_u64..)
        .zip(&events)
        .map(|(seq, (_, event))| {
            // Events for one connection have no number.
            let logged =
                event.audience().target().map(|_| Logged { seq: Seq::new(seq).unwrap(), prev: Position::START });
            Arc::new(Committed::new(event.clone(), logged))
        })
        .collect();

    for (to, event) in &events {
        let recipients = route::route(&roster, event);
        for guest in &guests {
            let member = roster.member(id(guest)).unwrap();
            let due = oracle::gets(guest, to);
            judge("live", recipients.contains(&id(guest)), due, seed, to, guest);
            judge("newest value", route::admits(id(guest), member, event), due, seed, to, guest);
            let missed = event.without_payload(event.time());
            judge("the gap of an evicted value", route::admits(id(guest), member, &missed), due, seed, to, guest);
            let told = route::receives(id(guest), member, event.audience());
            judge("gaps and positions", told, oracle::receives(guest, to), seed, to, guest);
            let addressed = inspect::may_address(&roster, member.claims(), event.audience());
            judge("publishing", addressed, oracle::may_address(guest, to, &guests), seed, to, guest);
        }
    }
    for guest in &guests {
        resume(random, seed, &roster, guest, &events, &log);
        ask(seed, &roster, &guests, guest, &events[guest.id as usize % EVENTS].0);
    }
    // Clients of the kanban have no such command.
    let changed = &guests[random.below(guests.len())];
    if !changed.kanban {
        authenticate(random, seed, &mut roster, changed, &events, &log);
    }
    CONNECTIONS * EVENTS as u64
}

/// A connection comes back, at a position it had or made up, and is fed from the log as the hub does it.
fn resume(
    random: &mut Random,
    seed: u64,
    roster: &Roster,
    guest: &Guest,
    events: &[&(String, Envelope)],
    log: &[Arc<Committed>],
) {
    let member = roster.member(id(guest)).unwrap();
    let since = random.below(EVENTS + 1) as u64;
    let targets: Vec<Target> = [member.implicit(), member.subscriptions()].concat();
    let head = Position::new(EVENTS as u64).unwrap();
    let mut tracker = Tracker::new(head);
    for target in &targets {
        tracker.hold(target);
        tracker.follow(target.clone(), Position::new(since).unwrap(), true);
    }
    let asked = tracker.behind();
    let page: Vec<_> = log.iter().filter(|event| route::admits(id(guest), member, event.envelope())).collect();
    let numbered: Vec<_> =
        page.iter().filter_map(|event| Some((event.envelope().audience(), event.logged()?.seq))).collect();
    let paged = tracker.page(&asked, numbered.iter().copied(), head, true);
    let replayed: BTreeSet<u64> =
        numbered.iter().zip(&paged.wanted).filter(|(_, wanted)| **wanted).map(|((_, seq), _)| seq.as_u64()).collect();
    for (seq, (to, event)) in (1_u64..).zip(events) {
        let Some(target) = event.audience().target() else { continue };
        let followed = targets.contains(&target) || targets.contains(&Target::Realm);
        let due = seq > since && followed && oracle::gets(guest, to);
        judge("replay", replayed.contains(&seq), due, seed, to, guest);
    }
}

/// A guest asks who is connected, and who receives events of an audience.
fn ask(seed: u64, roster: &Roster, guests: &[Guest], asker: &Guest, to: &str) {
    let claims = roster.member(id(asker)).unwrap().claims();
    let audience: Audience = to.parse().unwrap();
    judge("explain", claims.may_explain(&audience), oracle::may_explain(asker, to), seed, to, asker);
    let (_, event) = AUDIENCES.iter().find(|(of, _)| of == to).unwrap();
    let explained = explain::explain(roster, &NoRecords, claims, event);
    for guest in guests {
        let sees = oracle::sees(asker, guest);
        let row = explained.iter().find(|row| row.connection_id == id(guest));
        judge("explain's list", row.is_some(), sees.is_some(), seed, to, guest);
        if let Some(row) = row {
            judge("explain's answer", row.delivered, oracle::gets(guest, to), seed, to, guest);
        }
        let seen = inspect::inspect(claims, roster.member(id(guest)).unwrap());
        judge("the connection list", seen.is_some(), sees.is_some(), seed, "", guest);
        let Some(seen) = seen else { continue };
        if let Some(row) = row {
            let same = row.user_id == seen.user && row.subscriptions == seen.subscriptions;
            judge("who and what explain names", same, true, seed, to, guest);
        }
        judge("closing", seen.extent == Extent::Whole, sees == Some(true), seed, "", guest);
        judge("a user in the list", seen.user.is_some(), oracle::shows_user(asker, guest), seed, "", guest);
        judge("a session in the list", seen.session.is_some(), oracle::shows_home(asker, guest), seed, "", guest);
        let mut subscriptions: Vec<String> = seen.subscriptions.iter().map(ToString::to_string).collect();
        subscriptions.sort_unstable();
        assert_eq!(subscriptions, oracle::shown(asker, guest), "seed {seed:#x}: subscriptions of {guest:?}");
    }
}

/// What waits for a connection is judged again when its claims change; so is everything that comes later.
fn authenticate(
    random: &mut Random,
    seed: u64,
    roster: &mut Roster,
    guest: &Guest,
    events: &[&(String, Envelope)],
    log: &[Arc<Committed>],
) {
    let mut mailbox = Mailbox::new(dialect(guest), MailboxBounds::default());
    for event in log.iter().filter(|event| route::route(roster, event.envelope()).contains(&id(guest))) {
        mailbox.put(event.clone());
    }
    let mut after = Guest { grants: grants(random), observe: random.one_in(2), raw: random.one_in(2), ..guest.clone() };
    // New claims give nothing back that the older ones refused.
    after.wants.retain(|target| oracle::may_join(guest, target));
    let lost = roster.set_claims(id(guest), claims(&after)).unwrap();
    for target in &after.wants {
        let said = lost.iter().any(|lost| lost.to_string() == **target);
        assert_eq!(said, !oracle::may_join(&after, target), "seed {seed:#x}: {target} of {after:?}");
    }
    let member = roster.member(id(guest)).unwrap();
    mailbox.retain(|event| route::admits(id(guest), member, event));
    let waiting: Vec<String> = mailbox.take().iter().map(|event| event.envelope().audience().to_string()).collect();
    for (to, event) in events {
        let due = oracle::gets(&after, to);
        judge("live after authenticate", route::admits(id(guest), member, event), due, seed, to, &after);
        judge("what waited", waiting.contains(to), due && oracle::gets(guest, to), seed, to, &after);
    }
}

#[test]
fn auth_15_random_topologies_of_tenants_leak_nothing_by_any_path() {
    let cases = std::env::var("ISOLATION_CASES").map_or(USUAL, |text| text.replace('_', "").parse().unwrap());
    let topologies = cases.div_ceil(CONNECTIONS * EVENTS as u64);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let judged: u64 = std::thread::scope(|scope| {
        let share = |thread: u64| move || (thread..topologies).step_by(threads as usize).map(topology).sum::<u64>();
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(share(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{judged} cases in {topologies} topologies, 0 leaks");
    assert!(judged >= cases);
}
