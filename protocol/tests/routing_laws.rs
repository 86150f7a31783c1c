//! The laws of routing, each held against an oracle that shares no code with the crate.
//!
//! The oracle keeps a list of what each connection did and reads the rules of `docs/spec/ROUTE.md` as they are written,
//! over plain text. It builds no index and remembers nothing between two questions.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use eventwire_protocol::{
    BrowserSession, Claims, ConnectionId, Dialect, Envelope, ErrorCode, Member, Permission, Role, Roster, Scope,
    SessionId, Target, Time,
    address::Modifiers,
    envelope::Committed,
    explain::{Records, SubscribedAt, explain},
    roster::Subscription,
    route::{Rule, admits, route},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

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

// ---------------------------------------------------------------------------------------------------------------
// The world: what connections are and do
// ---------------------------------------------------------------------------------------------------------------

/// `None` is everything.
type Reach = Option<Vec<String>>;

#[derive(Clone, Debug, PartialEq)]
struct Rights {
    user: Option<String>,
    role: Option<Role>,
    contexts: Reach,
    adws: Reach,
    rooms: Reach,
    users: Reach,
    browser_sessions: Reach,
    observe: bool,
    adw_raw: bool,
}

#[derive(Clone, Debug)]
enum Deed {
    Subscribe(String),
    Unsubscribe(String),
    Claims(Rights),
}

#[derive(Clone, Debug)]
struct Guest {
    id: u64,
    dialect: Dialect,
    home: Option<String>,
    rights: Rights,
    deeds: Vec<Deed>,
}

#[derive(Clone, Debug)]
struct Sent {
    kind: &'static str,
    to: String,
    except_connection: Option<u64>,
    except_user: Option<String>,
    one_per_session: bool,
}

fn reach(of: impl Strategy<Value = String>) -> impl Strategy<Value = Reach> {
    option::weighted(0.4, vec(of, 0..3))
}

fn rights() -> impl Strategy<Value = Rights> {
    let role = option::of(select(&[Role::Agent, Role::Human][..]));
    (
        option::of(support::name()),
        role,
        reach(support::name()),
        reach(support::adw()),
        reach(support::name()),
        (reach(support::name()), reach(support::browser_session())),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(user, role, contexts, adws, rooms, (users, browser_sessions), observe, adw_raw)| Rights {
            user,
            role,
            contexts,
            adws,
            rooms,
            users,
            browser_sessions,
            observe,
            adw_raw,
        })
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => support::adw().prop_map(|id| format!("adw:{id}")),
        3 => support::name().prop_map(|id| format!("room:{id}")),
        3 => support::name().prop_map(|id| format!("session:{id}")),
        1 => support::browser_session().prop_map(|id| format!("session:{id}")),
        1 => support::name().prop_map(|id| format!("user:{id}")),
        1 => Just("global".to_owned()),
        2 => Just("*".to_owned()),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => target().prop_map(Deed::Subscribe),
        3 => target().prop_map(Deed::Unsubscribe),
        1 => rights().prop_map(Deed::Claims),
    ]
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![5 => Just(Dialect::Canonical), 1 => select(Dialect::ALL)]
}

/// Connections with numbers that are close to each other in their text form.
fn guests() -> impl Strategy<Value = Vec<Guest>> {
    let ids = proptest::sample::subsequence(vec![1_u64, 2, 0x10, 0x11, 0x100, 0x1000_0000, u64::MAX], 1..=7);
    ids.prop_flat_map(|ids| {
        ids.into_iter()
            .map(|id| {
                (dialect(), option::of(support::browser_session()), rights(), vec(deed(), 0..8))
                    .prop_map(move |(dialect, home, rights, deeds)| Guest { id, dialect, home, rights, deeds })
            })
            .collect::<Vec<_>>()
    })
}

fn connection() -> impl Strategy<Value = u64> {
    select(&[1_u64, 2, 0x10, 0x11, 0x100, 0x1000_0000, u64::MAX][..])
}

/// An event that admission lets through: of each class, to each kind of audience that takes the class.
fn sent() -> impl Strategy<Value = Sent> {
    let adw = || support::adw().prop_map(|id| format!("adw:{id}"));
    let whole = prop_oneof![
        1 => connection().prop_map(|id| format!("connection:c{id:016x}")),
        2 => support::name().prop_map(|id| format!("session:{id}")),
        1 => support::browser_session().prop_map(|id| format!("session:{id}")),
        2 => support::name().prop_map(|id| format!("user:{id}")),
        2 => adw(),
        2 => support::name().prop_map(|id| format!("room:{id}")),
        1 => Just("global".to_owned()),
    ];
    let part = (support::name(), select(&["private", "agent_only"][..]), support::name())
        .prop_map(|(session, part, user)| format!("session:{session}/{part}/{user}"));
    let status =
        prop_oneof![adw(), connection().prop_map(|id| format!("connection:c{id:016x}")), Just("global".into())];
    let session = || prop_oneof![2 => support::name(), 1 => support::browser_session()];
    let user = || support::name().prop_map(|id| format!("user:{id}"));
    let room = || support::name().prop_map(|id| format!("room:{id}"));
    let logged = prop_oneof![
        3 => whole.prop_map(|to| ("_vendor.event", to)),
        2 => part.prop_map(|to| ("_vendor.event", to)),
        2 => adw().prop_map(|to| ("adw.text_block", to)),
        2 => adw().prop_map(|to| ("adw.agent_output_chunk", to)),
        1 => Just(("adw.system_log", "global".to_owned())),
        1 => session().prop_map(|id| ("context.new_message", format!("session:{id}"))),
        1 => user().prop_map(|to| ("rag.progress", to)),
        1 => prop_oneof![room(), user()].prop_map(|to| ("task.update", to)),
    ]
    .prop_map(|(kind, to)| Sent { kind, to, except_connection: None, except_user: None, one_per_session: false });
    let unlogged = (
        prop_oneof![
            adw().prop_map(|to| ("adw.agent_summary_update", to)),
            status.prop_map(|to| ("adw.status_update", to)),
            Just(("adw.typing_indicator", "global".to_owned())),
            Just(("user.activity", "global".to_owned())),
            user().prop_map(|to| ("document.status", to)),
            session().prop_map(|id| ("context.typing", format!("session:{id}"))),
            prop_oneof![room(), user()].prop_map(|to| ("task.progress", to)),
            connection().prop_map(|id| ("metrics.update", format!("connection:c{id:016x}"))),
        ],
        option::of(connection()),
        option::of(support::name()),
        any::<bool>(),
    )
        .prop_map(|((kind, to), except_connection, except_user, one_per_session)| Sent {
            kind,
            to,
            except_connection,
            except_user,
            one_per_session,
        });
    prop_oneof![3 => logged, 2 => unlogged]
}

// ---------------------------------------------------------------------------------------------------------------
// The crate's side
// ---------------------------------------------------------------------------------------------------------------

fn claims(rights: &Rights) -> Claims {
    fn scope<T: Ord + std::str::FromStr>(reach: &Reach) -> Scope<T> {
        match reach {
            None => Scope::All,
            Some(names) => Scope::Only(names.iter().filter_map(|name| name.parse().ok()).collect()),
        }
    }
    let mut permissions = BTreeSet::new();
    permissions.extend(rights.observe.then_some(Permission::Observe));
    permissions.extend(rights.adw_raw.then_some(Permission::AdwRaw));
    Claims {
        user: rights.user.as_ref().map(|user| user.parse().unwrap()),
        role: rights.role,
        contexts: scope(&rights.contexts),
        adws: scope(&rights.adws),
        rooms: scope(&rights.rooms),
        users: scope(&rights.users),
        browser_sessions: match &rights.browser_sessions {
            None => Scope::All,
            Some(ids) => Scope::Only(ids.iter().map(|id| browser_session(id)).collect()),
        },
        permissions,
        ..Claims::anonymous()
    }
}

fn id(guest: &Guest) -> ConnectionId {
    ConnectionId::from_u64(guest.id)
}

fn browser_session(id: &str) -> BrowserSession {
    match id.parse().unwrap() {
        SessionId::Browser(id) => id,
        SessionId::Context(_) => unreachable!("browser sessions begin with ~"),
    }
}

fn member(guest: &Guest) -> Member {
    let home = guest.home.as_ref().map(|home| browser_session(home));
    Member::new(guest.dialect, claims(&guest.rights), home)
}

fn apply(roster: &mut Roster, guest: &Guest, deed: &Deed) {
    match deed {
        Deed::Subscribe(target) => {
            let _ = roster.subscribe(id(guest), &target.parse().unwrap());
        }
        Deed::Unsubscribe(target) => roster.unsubscribe(id(guest), &target.parse().unwrap()).unwrap(),
        Deed::Claims(rights) => {
            roster.set_claims(id(guest), claims(rights)).unwrap();
        }
    }
}

fn roster(guests: &[Guest]) -> Roster {
    let mut roster = Roster::new();
    for guest in guests {
        roster.connect(id(guest), member(guest));
        for deed in &guest.deeds {
            apply(&mut roster, guest, deed);
        }
    }
    roster
}

fn plain(sent: &Sent) -> Envelope {
    support::event(sent.kind, &sent.to)
}

fn envelope(sent: &Sent) -> Envelope {
    let mut modifiers = Modifiers {
        except_connection: sent.except_connection.map(ConnectionId::from_u64),
        except_user: sent.except_user.as_ref().map(|user| user.parse().unwrap()),
        one_per_session: sent.one_per_session,
    };
    let mut event = plain(sent);
    if let ("user.activity", Some(author)) = (sent.kind, &sent.except_user) {
        // Who is left out of this one is who its payload is about, without anybody saying so.
        let mut data = support::payload(sent.kind, &sent.to);
        data["user_id"] = serde_json::json!(author);
        event = support::publish(sent.kind, &sent.to, &data);
        modifiers.except_user = None;
    }
    event.with_modifiers(modifiers).unwrap()
}

fn recipients(roster: &Roster, event: &Envelope) -> BTreeSet<ConnectionId> {
    route(roster, event).into_iter().collect()
}

// ---------------------------------------------------------------------------------------------------------------
// The oracle: the rules as they are written, over what each connection did
// ---------------------------------------------------------------------------------------------------------------

mod oracle {
    use super::{Deed, Dialect, Guest, Reach, Rights, Role, Sent};

    fn reaches(reach: &Reach, name: &str) -> bool {
        reach.as_ref().is_none_or(|names| names.iter().any(|of| of == name))
    }

    /// Whether claims let a connection subscribe to a target that it does not receive anyway.
    pub(super) fn may_subscribe(rights: &Rights, target: &str) -> bool {
        if target == "*" {
            return rights.observe;
        }
        match target.split_once(':') {
            Some(("adw", id)) => reaches(&rights.adws, id),
            Some(("room", id)) => reaches(&rights.rooms, id),
            Some(("session", id)) => !id.starts_with('~') && reaches(&rights.contexts, id),
            _ => false,
        }
    }

    /// Whether a connection receives the target without having asked.
    pub(super) fn is_implicit(guest: &Guest, rights: &Rights, target: &str) -> bool {
        target == "global"
            || guest.home.as_ref().is_some_and(|home| target == format!("session:{home}"))
            || rights.user.as_ref().is_some_and(|user| target == format!("user:{user}"))
    }

    /// The claims that a connection has after its first deeds.
    pub(super) fn rights_after(guest: &Guest, deeds: usize) -> &Rights {
        let last = guest.deeds[..deeds].iter().rev().find_map(|deed| match deed {
            Deed::Claims(rights) => Some(rights),
            _ => None,
        });
        last.unwrap_or(&guest.rights)
    }

    pub(super) fn rights(guest: &Guest) -> &Rights {
        rights_after(guest, guest.deeds.len())
    }

    /// Whether a connection is subscribed to a target after its first deeds: it asked and was let, and has since neither
    /// left it nor lost the claim to it.
    pub(super) fn holds_after(guest: &Guest, target: &str, deeds: usize) -> bool {
        let mut holds = false;
        for (place, deed) in guest.deeds[..deeds].iter().enumerate() {
            match deed {
                Deed::Subscribe(to) if to == target => {
                    holds |= may_subscribe(rights_after(guest, place), target);
                }
                Deed::Unsubscribe(to) if to == target => holds = false,
                Deed::Claims(rights) => holds &= may_subscribe(rights, target),
                _ => {}
            }
        }
        holds
    }

    pub(super) fn holds(guest: &Guest, target: &str) -> bool {
        holds_after(guest, target, guest.deeds.len())
    }

    /// Whether a connection was ever subscribed to any ADW.
    pub(super) fn ever_subscribed_to_an_adw(guest: &Guest) -> bool {
        guest.deeds.iter().enumerate().any(|(place, deed)| match deed {
            Deed::Subscribe(to) => to.starts_with("adw:") && may_subscribe(rights_after(guest, place), to),
            _ => false,
        })
    }

    /// Whether a connection receives what goes to others, as an observer whose grants reach the audience.
    pub(super) fn observes(guest: &Guest, to: &str, raw: bool) -> bool {
        let rights = rights(guest);
        let granted = match to.split_once(':') {
            Some(("session", id)) if id.starts_with('~') => reaches(&rights.browser_sessions, id),
            // A part has a slash in it, and is not observed.
            Some(("session", id)) => reaches(&rights.contexts, id) && !id.contains('/'),
            Some(("user", id)) => reaches(&rights.users, id),
            Some(("adw", id)) => reaches(&rights.adws, id) && (!raw || rights.adw_raw),
            Some(("room", id)) => reaches(&rights.rooms, id),
            _ => false,
        };
        holds(guest, "*") && rights.observe && granted
    }

    pub(super) fn is_interested(guest: &Guest, adw: &str) -> bool {
        if ever_subscribed_to_an_adw(guest) {
            holds(guest, &format!("adw:{adw}"))
        } else {
            matches!(guest.dialect, Dialect::Adw | Dialect::AdwTrigger)
        }
    }

    fn is_in(guest: &Guest, session: &str) -> bool {
        if session.starts_with('~') {
            guest.home.as_deref() == Some(session)
        } else {
            holds(guest, &format!("session:{session}"))
        }
    }

    /// Whose clients know which of the types that these tests send. No older client knows vendor space.
    const TOLD: [(&str, Dialect); 14] = [
        ("adw.text_block", Dialect::Adw),
        ("adw.agent_output_chunk", Dialect::Adw),
        ("adw.system_log", Dialect::Adw),
        ("adw.agent_summary_update", Dialect::Adw),
        ("adw.status_update", Dialect::Adw),
        ("adw.typing_indicator", Dialect::Adw),
        ("task.update", Dialect::Amiga),
        ("task.progress", Dialect::Amiga),
        ("metrics.update", Dialect::Amiga),
        ("context.new_message", Dialect::SharedContext),
        ("context.typing", Dialect::SharedContext),
        ("rag.progress", Dialect::Product),
        ("document.status", Dialect::Product),
        ("user.activity", Dialect::Product),
    ];

    pub(super) fn can_be_told(dialect: Dialect, kind: &str) -> bool {
        // Variants know the same types as the dialect that they vary.
        let family = match dialect {
            Dialect::ProductNested => Dialect::Product,
            Dialect::SharedContextTools => Dialect::SharedContext,
            Dialect::AdwTrigger => Dialect::Adw,
            other => other,
        };
        family == Dialect::Canonical || TOLD.contains(&(kind, family))
    }

    /// The rules that keep an event from a connection, in their order; `one_per_session` aside.
    pub(super) fn objections(guest: &Guest, sent: &Sent) -> Vec<&'static str> {
        let rights = rights(guest);
        let to = &sent.to;
        let raw = sent.kind == "adw.agent_output_chunk";
        let observes = observes(guest, to, raw);
        let (kind, rest) = to.split_once(':').unwrap_or((to, ""));
        let mut parts = rest.splitn(3, '/');
        let (target, part, user) = (parts.next().unwrap(), parts.next(), parts.next().unwrap_or_default());
        let named = |user: &str| rights.user.as_deref() == Some(user);
        let mut objections = Vec::new();

        let belongs = match kind {
            "connection" => format!("c{:016x}", guest.id) == target,
            "session" => is_in(guest, target),
            "user" => named(target),
            "room" => holds(guest, to),
            _ => true,
        };
        if !belongs && !observes {
            objections.push("ROUTE-01");
        }
        if kind == "adw" && !is_interested(guest, target) && !observes {
            objections.push("ROUTE-02");
        }
        let permitted = match kind {
            "session" => target.starts_with('~') || reaches(&rights.contexts, target),
            "user" => named(target) || observes,
            "adw" => reaches(&rights.adws, target) && (!raw || rights.adw_raw),
            "room" => reaches(&rights.rooms, target),
            _ => true,
        };
        if !permitted {
            objections.push("ROUTE-03");
        }
        let visible = match part {
            Some("private") => named(user),
            Some("agent_only") => named(user) || rights.role == Some(Role::Agent),
            _ => true,
        };
        if !visible {
            objections.push("ROUTE-04");
        }
        if !can_be_told(guest.dialect, sent.kind) {
            objections.push("ROUTE-05");
        }
        let left_out = sent.except_connection == Some(guest.id) || sent.except_user.as_deref().is_some_and(named);
        if left_out {
            objections.push("ROUTE-06");
        }
        objections
    }

    /// The session of which a connection may be the one that receives.
    fn session_of(guest: &Guest, to: &str) -> Option<String> {
        match to.strip_prefix("session:") {
            Some(session) if is_in(guest, session) => Some(session.to_owned()),
            _ => guest.home.clone(),
        }
    }

    /// The numbers of all who receive an event, in order.
    pub(super) fn recipients(guests: &[Guest], sent: &Sent) -> Vec<u64> {
        let served: Vec<&Guest> = guests.iter().filter(|guest| objections(guest, sent).is_empty()).collect();
        let mut recipients: Vec<u64> = served
            .iter()
            .filter(|guest| {
                let session = session_of(guest, &sent.to);
                let older = |other: &&&Guest| other.id < guest.id && session_of(other, &sent.to) == session;
                !sent.one_per_session || session.is_none() || served.iter().find(older).is_none()
            })
            .map(|guest| guest.id)
            .collect();
        recipients.sort_unstable();
        recipients
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The laws
// ---------------------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(support::config(1))]

    #[test]
    fn route_01_recipients_are_connections_each_once(guests in guests(), sent in sent()) {
        let roster = roster(&guests);
        let recipients = route(&roster, &envelope(&sent));
        prop_assert!(recipients.windows(2).all(|pair| pair[0] < pair[1]), "{recipients:?}");
        prop_assert!(recipients.iter().all(|id| roster.member(*id).is_some()));
    }

    #[test]
    fn route_01_nobody_receives_whom_a_rule_objects_to(guests in guests(), sent in sent()) {
        for id in route(&roster(&guests), &envelope(&sent)) {
            let guest = guests.iter().find(|guest| self::id(guest) == id).unwrap();
            prop_assert_eq!(oracle::objections(guest, &sent), Vec::<&str>::new(), "{}", id);
        }
    }

    #[test]
    fn route_01_everybody_receives_whom_no_rule_objects_to(guests in guests(), sent in sent()) {
        let sent = Sent { one_per_session: false, ..sent };
        let recipients = recipients(&roster(&guests), &envelope(&sent));
        for guest in &guests {
            if oracle::objections(guest, &sent).is_empty() {
                prop_assert!(recipients.contains(&id(guest)), "{:x} is left out", guest.id);
            }
        }
    }

    #[test]
    fn log_06_replay_asks_the_rules_that_routing_asks(guests in guests(), sent in sent()) {
        let roster = roster(&guests);
        let event = envelope(&sent);
        for guest in &guests {
            let admitted = admits(id(guest), roster.member(id(guest)).unwrap(), &event);
            prop_assert_eq!(admitted, oracle::objections(guest, &sent).is_empty(), "{:x}", guest.id);
        }
    }

    #[test]
    fn route_01_the_order_of_joining_does_not_matter(
        guests in guests(),
        sent in vec(sent(), 1..4),
        order in vec(any::<prop::sample::Index>(), 60),
    ) {
        // Each connection does its own deeds in order; between connections anything goes.
        let mut shuffled = Roster::new();
        let mut left: Vec<(&Guest, Option<usize>)> = guests.iter().map(|guest| (guest, None)).collect();
        let mut order = order.iter();
        while !left.is_empty() {
            let place = order.next().map_or(0, |index| index.index(left.len()));
            let (guest, done) = left[place];
            match done {
                None => shuffled.connect(id(guest), member(guest)),
                Some(deed) if deed < guest.deeds.len() => apply(&mut shuffled, guest, &guest.deeds[deed]),
                Some(_) => {
                    left.remove(place);
                    continue;
                }
            }
            left[place].1 = Some(done.map_or(0, |deed| deed + 1));
        }
        let roster = roster(&guests);
        for sent in &sent {
            let event = envelope(sent);
            prop_assert_eq!(route(&shuffled, &event), route(&roster, &event));
        }
        prop_assert_eq!(shuffled, roster);
    }

    #[test]
    fn route_01_disconnecting_erases_a_connection_everywhere(guests in guests(), gone in vec(any::<bool>(), 7)) {
        let mut roster = roster(&guests);
        let (leaving, staying): (Vec<_>, Vec<_>) =
            guests.iter().cloned().zip(gone).partition(|(_, leaves)| *leaves);
        for (guest, _) in &leaving {
            prop_assert!(roster.disconnect(id(guest)).is_some());
            prop_assert!(roster.disconnect(id(guest)).is_none());
        }
        let staying: Vec<Guest> = staying.into_iter().map(|(guest, _)| guest).collect();
        // A roster compares with all its indexes: nothing of those who left is in any of them, not even an empty set.
        prop_assert_eq!(&roster, &self::roster(&staying));
        for (guest, _) in &leaving {
            roster.connect(id(guest), member(guest));
        }
        for guest in &guests {
            roster.disconnect(id(guest));
        }
        prop_assert_eq!(roster, Roster::new());
    }

    #[test]
    fn route_01_a_connection_of_the_same_id_takes_the_place_of_the_older_one(guests in guests()) {
        let twice = guests.iter().flat_map(|guest| [Guest { deeds: guest.deeds.iter().rev().cloned().collect(), ..guest.clone() }, guest.clone()]);
        let twice: Vec<Guest> = twice.collect();
        prop_assert_eq!(roster(&twice), roster(&guests));
    }

    #[test]
    fn cmd_05_subscribing_and_unsubscribing_twice_is_the_same_as_once(guests in guests()) {
        let mut once = Roster::new();
        for guest in &guests {
            once.connect(id(guest), member(guest));
            for deed in &guest.deeds {
                apply(&mut once, guest, deed);
                let mut twice = once.clone();
                if let Deed::Subscribe(target) = deed {
                    let target: Target = target.parse().unwrap();
                    let again = twice.subscribe(id(guest), &target);
                    prop_assert!(again.as_ref().map_or(true, |it| *it != Subscription::Added), "{again:?}");
                }
                apply(&mut twice, guest, deed);
                prop_assert_eq!(&twice, &once);
            }
        }
    }

    #[test]
    fn limit_12_many_targets_in_one_change_do_what_one_change_each_does(
        guests in guests(),
        who in any::<prop::sample::Index>(),
        commands in vec((any::<bool>(), vec(target(), 0..12)), 1..6),
        crowd in 0_usize..300,
    ) {
        let mut one_by_one = roster(&guests);
        let id = id(&guests[who.index(guests.len())]);
        // Some begin near the bound of subscriptions.
        for number in 0..crowd {
            let _ = one_by_one.subscribe(id, &format!("room:crowd{number}").parse().unwrap());
        }
        let mut at_once = one_by_one.clone();
        for (subscribe, targets) in commands {
            let targets: Vec<Target> = targets.iter().map(|target| target.parse().unwrap()).collect();
            if subscribe {
                let expected: Vec<_> = targets.iter().map(|target| one_by_one.subscribe(id, target)).collect();
                prop_assert_eq!(at_once.subscribe_all(id, &targets).unwrap(), expected);
            } else {
                for target in &targets {
                    one_by_one.unsubscribe(id, target).unwrap();
                }
                at_once.unsubscribe_all(id, &targets).unwrap();
            }
            // With every index.
            prop_assert_eq!(&at_once, &one_by_one);
            // The indexes hold what a roster holds into which the same connections came as they are now.
            let member = at_once.member(id).unwrap();
            let subscriptions = member.subscriptions();
            for target in &targets {
                prop_assert_eq!(member.is_subscribed(target), subscriptions.contains(target), "{}", target);
                prop_assert_eq!(member.is_implicit(target), member.implicit().contains(target), "{}", target);
            }
            let mut anew = at_once.clone();
            anew.connect(id, member.clone());
            prop_assert_eq!(&anew, &at_once);
        }
        prop_assert!(at_once.subscribe_all(ConnectionId::from_u64(77), []).is_err());
        prop_assert!(at_once.unsubscribe_all(ConnectionId::from_u64(77), []).is_err());
    }

    #[test]
    fn cmd_05_a_target_is_accepted_exactly_when_the_claims_reach_it(guests in guests()) {
        let mut roster = Roster::new();
        for guest in &guests {
            roster.connect(id(guest), member(guest));
            for (place, deed) in guest.deeds.iter().enumerate() {
                let Deed::Subscribe(target) = deed else {
                    apply(&mut roster, guest, deed);
                    continue;
                };
                let rights = oracle::rights_after(guest, place);
                let expected = if oracle::is_implicit(guest, rights, target) {
                    Ok(Subscription::Implicit)
                } else if !oracle::may_subscribe(rights, target) {
                    Err(ErrorCode::Forbidden)
                } else if oracle::holds_after(guest, target, place) {
                    Ok(Subscription::Kept)
                } else {
                    Ok(Subscription::Added)
                };
                let subscribed = roster.subscribe(id(guest), &target.parse().unwrap());
                prop_assert_eq!(subscribed.map_err(|error| error.code), expected, "{}", target);
            }
            let held: BTreeSet<String> =
                roster.member(id(guest)).unwrap().subscriptions().iter().map(ToString::to_string).collect();
            for target in guest.deeds.iter().filter_map(|deed| match deed {
                Deed::Subscribe(target) => Some(target),
                _ => None,
            }) {
                prop_assert_eq!(held.contains(target), oracle::holds(guest, target), "{}", target);
            }
        }
    }

    #[test]
    fn auth_06_what_new_claims_no_longer_reach_is_unsubscribed_and_reported(
        guests in guests(),
        new in rights(),
        sent in vec(sent(), 1..4),
    ) {
        let mut roster = roster(&guests);
        for guest in &guests {
            let lost = roster.set_claims(id(guest), claims(&new)).unwrap();
            let lost: BTreeSet<String> = lost.iter().map(ToString::to_string).collect();
            let mut expected: BTreeSet<String> = guest.deeds.iter().filter_map(|deed| match deed {
                Deed::Subscribe(target) => Some(target.clone()),
                _ => None,
            }).filter(|target| oracle::holds(guest, target) && !oracle::may_subscribe(&new, target)).collect();
            let user = &oracle::rights(guest).user;
            expected.extend(user.iter().filter(|_| *user != new.user).map(|user| format!("user:{user}")));
            prop_assert_eq!(lost, expected);
        }
        let changed: Vec<Guest> = guests.iter().cloned().map(|mut guest| {
            guest.deeds.push(Deed::Claims(new.clone()));
            guest
        }).collect();
        for sent in &sent {
            let numbers: Vec<ConnectionId> =
                oracle::recipients(&changed, sent).into_iter().map(ConnectionId::from_u64).collect();
            prop_assert_eq!(route(&roster, &envelope(sent)), numbers);
        }
    }

    #[test]
    fn route_02_an_emptied_set_of_adws_receives_nothing_whatever_the_default(
        guest in (dialect(), rights(), vec(support::adw(), 1..4)),
        adw in support::adw(),
    ) {
        let (dialect, rights, adws) = guest;
        let rights = Rights { adws: None, ..rights };
        let subscribe = adws.iter().map(|adw| Deed::Subscribe(format!("adw:{adw}")));
        let leave = adws.iter().map(|adw| Deed::Unsubscribe(format!("adw:{adw}")));
        let event = support::event("adw.text_block", &format!("adw:{adw}"));
        let hears = |deeds: Vec<Deed>| {
            let guest = Guest { id: 1, dialect, home: None, rights: rights.clone(), deeds };
            let roster = roster(std::slice::from_ref(&guest));
            // A dialect that cannot spell the event receives nothing either way, so ask the rule itself.
            let explanation = &explain(&roster, &NoRecords, &Claims::loopback(), &event)[0];
            let check = explanation.checks.iter().find(|check| check.rule == Rule::AdwFilter).unwrap();
            (check.passed, roster.member(id(&guest)).unwrap().is_subscribed_to(&adw.parse().unwrap()))
        };
        let default = matches!(dialect, Dialect::Adw | Dialect::AdwTrigger);
        prop_assert_eq!(hears(vec![]), (default, default));
        prop_assert_eq!(hears(leave.clone().collect()), (default, default), "leaving what one is not in changes nothing");
        let named = adws.contains(&adw);
        prop_assert_eq!(hears(subscribe.clone().collect()), (named, named));
        prop_assert_eq!(hears(subscribe.chain(leave).collect()), (false, false));
    }

    #[test]
    fn route_03_narrower_claims_only_remove(
        guests in guests(),
        sent in vec(sent(), 1..4),
        keep in vec(any::<bool>(), 5),
    ) {
        let mut roster = roster(&guests);
        let before: Vec<_> = sent.iter().map(|sent| {
            let event = envelope(&Sent { one_per_session: false, ..sent.clone() });
            (recipients(&roster, &event), event)
        }).collect();
        for guest in &guests {
            let rights = oracle::rights(guest).clone();
            let half = |reach: Reach, keep: bool| if keep { reach } else { reach.map_or(Some(vec!["a".to_owned(), "aaaaaaaa".to_owned()]), |names| Some(names.into_iter().skip(1).collect())) };
            let narrower = Rights {
                user: rights.user,
                role: rights.role.filter(|_| keep[0]),
                contexts: half(rights.contexts, keep[1]),
                adws: half(rights.adws, keep[2]),
                rooms: half(rights.rooms, keep[3]),
                users: half(rights.users, keep[4]),
                browser_sessions: if keep[1] { rights.browser_sessions } else { Some(Vec::new()) },
                observe: rights.observe && keep[4],
                adw_raw: rights.adw_raw && keep[0],
            };
            roster.set_claims(id(guest), claims(&narrower)).unwrap();
        }
        for (before, event) in before {
            prop_assert!(recipients(&roster, &event).is_subset(&before), "{}", event.audience());
        }
    }

    #[test]
    fn route_03_an_observer_never_sees_what_goes_to_a_connection_or_to_a_part_of_a_session(
        mut guests in guests(),
        sent in sent(),
        user in option::of(support::name()),
    ) {
        // Whoever it is: being the sender, or an agent, is not being in the session.
        let role = Some(Role::Agent);
        let observer = Guest {
            id: 7,
            dialect: Dialect::Canonical,
            home: None,
            rights: Rights {
                user,
                role,
                contexts: None,
                adws: None,
                rooms: None,
                users: None,
                browser_sessions: None,
                observe: true,
                adw_raw: true,
            },
            deeds: vec![Deed::Subscribe("*".into())],
        };
        guests.push(observer);
        let sent = Sent { except_connection: None, except_user: None, one_per_session: false, ..sent };
        let sees = recipients(&roster(&guests), &envelope(&sent)).contains(&ConnectionId::from_u64(7));
        let hidden = sent.to.starts_with("connection:") || sent.to.contains("/private/") || sent.to.contains("/agent_only/");
        prop_assert_eq!(sees, !hidden, "{}", sent.to);
    }

    #[test]
    fn route_04_a_part_of_an_audience_reaches_a_part_of_its_members(
        guests in guests(),
        session in support::name(),
        user in support::name(),
        adw in support::adw(),
    ) {
        let roster = roster(&guests);
        let reached = |kind: &str, to: String| recipients(&roster, &support::event(kind, &to));
        let all = reached("_vendor.event", format!("session:{session}"));
        let private = reached("_vendor.event", format!("session:{session}/private/{user}"));
        let agents = reached("_vendor.event", format!("session:{session}/agent_only/{user}"));
        prop_assert!(private.is_subset(&agents) && agents.is_subset(&all), "{private:?} {agents:?} {all:?}");
        for guest in &guests {
            let rights = oracle::rights(guest);
            if private.contains(&id(guest)) {
                prop_assert_eq!(rights.user.as_ref(), Some(&user));
            }
            if agents.contains(&id(guest)) && rights.role != Some(Role::Agent) {
                prop_assert_eq!(rights.user.as_ref(), Some(&user));
            }
        }
        let blocks = reached("adw.text_block", format!("adw:{adw}"));
        let raw = reached("adw.agent_output_chunk", format!("adw:{adw}"));
        prop_assert!(raw.is_subset(&blocks), "{raw:?} {blocks:?}");
    }

    #[test]
    fn route_04_a_message_reaches_exactly_the_part_of_the_session_that_its_visibility_names(
        guests in guests(),
        session in support::name(),
        sender in support::name(),
        visibility in select(&["public", "private", "agent_only"][..]),
    ) {
        let whole = format!("session:{session}");
        let mut data = support::payload("context.new_message", &whole);
        data["sender"] = sender.clone().into();
        data["visibility"] = visibility.into();
        let event = support::publish("context.new_message", &whole, &data);
        let to = if visibility == "public" { whole } else { format!("{whole}/{visibility}/{sender}") };
        prop_assert_eq!(event.audience().to_string(), to.clone());
        let sent =
            Sent { kind: "context.new_message", to, except_connection: None, except_user: None, one_per_session: false };
        let numbers = oracle::recipients(&guests, &sent).into_iter().map(ConnectionId::from_u64);
        prop_assert_eq!(route(&roster(&guests), &event), numbers.collect::<Vec<_>>());
    }

    #[test]
    fn route_05_nobody_receives_what_their_dialect_cannot_spell(guests in guests(), sent in sent()) {
        let roster = roster(&guests);
        let event = envelope(&sent);
        let recipients = recipients(&roster, &event);
        let committed = Committed::new(event, None);
        for id in recipients {
            let dialect = roster.member(id).unwrap().dialect();
            prop_assert!(committed.frame(dialect).is_some(), "{dialect:?} cannot spell {}", sent.kind);
        }
    }

    #[test]
    fn route_06_exceptions_only_remove(guests in guests(), sent in sent()) {
        let roster = roster(&guests);
        let (with, without) = (recipients(&roster, &envelope(&sent)), recipients(&roster, &plain(&sent)));
        prop_assert!(with.is_subset(&without));
        if let Some(number) = sent.except_connection {
            prop_assert!(!with.contains(&ConnectionId::from_u64(number)));
        }
        for guest in guests.iter().filter(|guest| with.contains(&id(guest))) {
            let user = &oracle::rights(guest).user;
            prop_assert!(user.is_none() || *user != sent.except_user);
        }
    }

    #[test]
    fn route_06_one_per_session_is_the_oldest_connection_of_each(guests in guests(), sent in sent()) {
        let roster = roster(&guests);
        let numbers: Vec<ConnectionId> =
            oracle::recipients(&guests, &sent).into_iter().map(ConnectionId::from_u64).collect();
        prop_assert_eq!(route(&roster, &envelope(&sent)), numbers);
    }

    #[test]
    fn http_07_explain_agrees_with_route_for_every_connection(guests in guests(), sent in sent()) {
        let roster = roster(&guests);
        let event = envelope(&sent);
        let recipients = recipients(&roster, &event);
        let explanations = explain(&roster, &NoRecords, &Claims::loopback(), &event);
        prop_assert_eq!(explanations.len(), guests.len());
        for explanation in explanations {
            let guest = guests.iter().find(|guest| id(guest) == explanation.connection_id).unwrap();
            prop_assert_eq!(explanation.delivered, recipients.contains(&id(guest)));
            let named = |rule: Rule| serde_json::to_value(rule).unwrap().as_str().unwrap().to_owned();
            let failed: Vec<String> =
                explanation.checks.iter().filter(|check| !check.passed).map(|check| named(check.rule)).collect();
            let mut objections = oracle::objections(guest, &sent);
            if objections.is_empty() && !explanation.delivered {
                // An older connection of the session receives it.
                objections.push("ROUTE-06");
            }
            prop_assert_eq!(&failed, &objections);
            // Who hears of a run is a matter of subscriptions, who else receives one of addresses.
            let belongs = if sent.to.starts_with("adw:") { "ROUTE-02" } else { "ROUTE-01" };
            prop_assert_eq!(named(explanation.rule), objections.first().copied().unwrap_or(belongs));
            let decided = explanation.checks.iter().find(|check| {
                check.rule == explanation.rule && check.passed == explanation.delivered
            });
            prop_assert_eq!(&explanation.reason, &decided.unwrap().reason);
        }
    }
}

#[test]
fn route_05_each_type_is_told_to_those_whose_clients_know_it() {
    for (kind, to) in [
        ("_vendor.event", "global"),
        ("adw.text_block", "adw:29fb6a3e"),
        ("adw.agent_output_chunk", "adw:29fb6a3e"),
        ("adw.system_log", "global"),
        ("context.new_message", "session:a"),
        ("context.typing", "session:a"),
        ("rag.progress", "user:a"),
        ("task.update", "room:a"),
        ("metrics.update", "connection:c0000000000000001"),
    ] {
        let committed = Committed::new(support::event(kind, to), None);
        for dialect in Dialect::ALL {
            let told = committed.frame(*dialect).is_some();
            assert_eq!(told, oracle::can_be_told(*dialect, kind), "{dialect:?} {kind}");
        }
    }
}

#[test]
fn cmd_05_a_connection_has_at_most_256_subscriptions_and_the_next_one_changes_nothing() {
    let watcher = ConnectionId::from_u64(1);
    let mut roster = Roster::new();
    roster.connect(watcher, Member::new(Dialect::Canonical, Claims::anonymous(), None));
    let target = |number: usize| match number % 3 {
        0 => format!("adw:{number:08}"),
        1 => format!("room:{number}"),
        _ => format!("session:{number}"),
    };
    for number in 0..256 {
        assert_eq!(roster.subscribe(watcher, &target(number).parse().unwrap()), Ok(Subscription::Added), "{number}");
    }
    for number in 256..259 {
        let before = roster.clone();
        let error = roster.subscribe(watcher, &target(number).parse().unwrap()).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooManySubscriptions);
        assert_eq!(roster, before);
    }
    assert_eq!(roster.subscribe(watcher, &target(7).parse().unwrap()), Ok(Subscription::Kept));
    roster.unsubscribe(watcher, &target(7).parse().unwrap()).unwrap();
    assert_eq!(roster.subscribe(watcher, &target(256).parse().unwrap()), Ok(Subscription::Added));
}

#[test]
fn cmd_05_a_refusal_says_what_is_missing() {
    let nobody = ConnectionId::from_u64(1);
    let claims = Claims { rooms: Scope::none(), ..Claims::anonymous() };
    let mut roster = Roster::new();
    roster.connect(nobody, Member::new(Dialect::Canonical, claims, None));
    for (target, missing) in [("*", "the permission observe"), ("room:staff", "do not reach room:staff")] {
        let error = roster.subscribe(nobody, &target.parse().unwrap()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Forbidden);
        assert!(error.message.contains(missing), "{target}: {}", error.message);
    }
}

#[test]
fn auth_07_a_browser_session_is_never_joined_by_naming_it() {
    let (own, stranger) = (ConnectionId::from_u64(1), ConnectionId::from_u64(2));
    let hash = format!("~{:032x}", 0xfeed_u128);
    let SessionId::Browser(home) = hash.parse().unwrap() else { unreachable!("~ names a browser session") };
    let mut roster = Roster::new();
    roster.connect(own, Member::new(Dialect::Canonical, Claims::anonymous(), Some(home)));
    roster.connect(stranger, Member::new(Dialect::Canonical, Claims::loopback(), None));
    let target: Target = format!("session:{hash}").parse().unwrap();
    assert_eq!(roster.subscribe(own, &target), Ok(Subscription::Implicit));
    assert_eq!(roster.subscribe(stranger, &target).unwrap_err().code, ErrorCode::Forbidden);
    let event = support::event("_vendor.event", &format!("session:{hash}"));
    assert_eq!(route(&roster, &event), [own]);
}

#[test]
fn cmd_05_a_connection_that_left_is_not_found() {
    let mut roster = Roster::new();
    let (gone, target) = (ConnectionId::from_u64(1), "room:a".parse().unwrap());
    assert_eq!(roster.subscribe(gone, &target).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(roster.unsubscribe(gone, &target).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(roster.set_claims(gone, Claims::anonymous()).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(roster, Roster::new());
}
