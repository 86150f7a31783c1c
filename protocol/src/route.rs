//! Who receives an event: pure functions of the roster and the event (section 4 of the specification).
//!
//! [`route`] goes from the audience to its members by index, so what it costs depends on how many could receive the
//! event and not on how many are connected (ROUTE-08). [`admits`] judges one connection, rule by rule; `route` filters
//! with it, replay filters with it, [`explain`](crate::explain::explain) reports it. So what is replayed or explained
//! cannot differ from what is delivered.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    address::Audience,
    envelope::Envelope,
    id::{ConnectionId, SessionId},
    roster::{Member, Roster},
};

/// A rule of routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
pub enum Rule {
    /// The connection belongs to the audience, or observes.
    #[serde(rename = "ROUTE-01")]
    Audience,
    /// The connection is interested in the ADW.
    #[serde(rename = "ROUTE-02")]
    AdwFilter,
    /// The claims of the connection allow the audience.
    #[serde(rename = "ROUTE-03")]
    Permission,
    /// The part of the audience includes the connection.
    #[serde(rename = "ROUTE-04")]
    Visibility,
    /// The dialect of the connection can spell the event.
    #[serde(rename = "ROUTE-05")]
    Dialect,
    /// No exception leaves the connection out.
    #[serde(rename = "ROUTE-06")]
    Modifiers,
}

/// Whether one rule lets an event through to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The rule.
    pub(crate) rule: Rule,
    /// Whether it lets the event through.
    pub(crate) passed: bool,
}

impl Verdict {
    const fn new(rule: Rule, passed: bool) -> Self {
        Self { rule, passed }
    }
}

/// The rules that speak of one connection and one audience, in order: ROUTE-01 to ROUTE-04.
fn audience_verdicts(id: ConnectionId, member: &Member, audience: &Audience) -> [Verdict; 4] {
    let observes = member.is_observing() && member.claims().may_observe(audience);
    let (belongs, interest) = match audience {
        Audience::Connection(to) => (*to == id || observes, true),
        Audience::Session(session, _) => (member.is_in(session) || observes, true),
        Audience::User(user) => (member.claims().user.as_ref() == Some(user) || observes, true),
        // The audience of an ADW is decided by interest.
        Audience::Adw(adw, _) => (true, member.is_subscribed_to(adw) || observes),
        Audience::Room(room) => (member.is_in_room(room) || observes, true),
        Audience::Global => (true, true),
    };
    let visible = match audience {
        Audience::Session(_, visibility) => member.claims().is_visible(visibility),
        _ => true,
    };
    [
        Verdict::new(Rule::Audience, belongs),
        Verdict::new(Rule::AdwFilter, interest),
        Verdict::new(Rule::Permission, member.claims().may_see(audience) || observes),
        Verdict::new(Rule::Visibility, visible),
    ]
}

/// Every rule that speaks of one connection alone, in order: all but `one_per_session` (ROUTE-06), which compares.
pub(crate) fn verdicts(id: ConnectionId, member: &Member, event: &Envelope) -> [Verdict; 6] {
    let [audience, interest, permission, visibility] = audience_verdicts(id, member, event.audience());
    let modifiers = event.modifiers();
    let excepted = modifiers.except_connection == Some(id)
        || (modifiers.except_user.is_some() && modifiers.except_user == member.claims().user);
    [
        audience,
        interest,
        permission,
        visibility,
        Verdict::new(Rule::Dialect, member.dialect().supports(event.kind())),
        Verdict::new(Rule::Modifiers, !excepted),
    ]
}

/// Whether a connection receives events of the audience, whatever they are (ROUTE-01 to ROUTE-04). It learns nothing of a stream
/// that it would not receive: neither positions nor gaps.
pub fn receives(id: ConnectionId, member: &Member, audience: &Audience) -> bool {
    audience_verdicts(id, member, audience).iter().all(|verdict| verdict.passed)
}

/// Whether every rule about the connection alone lets the event through. The filter of live delivery and of replay.
pub fn admits(id: ConnectionId, member: &Member, event: &Envelope) -> bool {
    verdicts(id, member, event).iter().all(|verdict| verdict.passed)
}

/// The recipients of an event, oldest connection first, none twice.
pub fn route(roster: &Roster, event: &Envelope) -> Vec<ConnectionId> {
    let mut recipients = candidates(roster, event.audience());
    recipients.retain(|id| roster.member(*id).is_some_and(|member| admits(*id, member, event)));
    if event.modifiers().one_per_session {
        let mut served = BTreeSet::new();
        recipients.retain(|id| match roster.member(*id).and_then(|member| served_session(member, event)) {
            Some(session) => served.insert(session),
            None => true,
        });
    }
    recipients
}

/// Everyone who may come into question for an audience, by index, oldest connection first, none twice. Everyone that
/// routing looks at is in it.
fn candidates(roster: &Roster, audience: &Audience) -> Vec<ConnectionId> {
    let members = match audience {
        Audience::Connection(id) => return vec![*id],
        Audience::Global => return roster.members().map(|(id, _)| id).collect(),
        Audience::Session(session, _) => roster.in_session(session),
        Audience::User(user) => roster.of_user(user),
        Audience::Adw(adw, _) => roster.of_adw(adw),
        Audience::Room(room) => roster.in_room(room),
    };
    let unasked = matches!(audience, Audience::Adw(..)).then(|| roster.of_every_adw());
    let mut candidates: Vec<ConnectionId> =
        members.into_iter().chain(unasked).chain([roster.observers()]).flatten().copied().collect();
    // An observer may be a member too.
    candidates.sort_unstable();
    candidates.dedup();
    candidates
}

/// The session that counts for `one_per_session`: the one addressed, or the connection's own.
fn served_session(member: &Member, event: &Envelope) -> Option<SessionId> {
    match event.audience() {
        Audience::Session(session, _) if member.is_in(session) => Some(session.clone()),
        _ => member.home().map(SessionId::Browser),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Target, claims::Claims, dialect::Dialect, frame::EventKind};

    fn connect(roster: &mut Roster, id: u64, targets: &[&str]) -> ConnectionId {
        let id = ConnectionId::from_u64(id);
        let claims = Claims { user: Some(format!("u{id}").parse().unwrap()), ..Claims::loopback() };
        roster.connect(id, Member::new(Dialect::Canonical, claims, None));
        for target in targets {
            roster.subscribe(id, &target.parse::<Target>().unwrap()).unwrap();
        }
        id
    }

    #[test]
    fn route_08_how_many_connections_are_looked_at_does_not_depend_on_who_else_is_connected() {
        let mut roster = Roster::new();
        let inside: Vec<ConnectionId> =
            (1..=3).map(|id| connect(&mut roster, id, &["session:s", "room:r", "adw:aaaaaaaa"])).collect();
        let observer = connect(&mut roster, 4, &["*"]);
        // Connections that never subscribed to an ADW and hear of all by default.
        let unasked = ConnectionId::from_u64(5);
        roster.connect(unasked, Member::new(Dialect::Adw, Claims::anonymous(), None));
        let audiences = [
            ("session:s", [&inside[..], &[observer]].concat()),
            ("session:s/private/u", [&inside[..], &[observer]].concat()),
            ("room:r", [&inside[..], &[observer]].concat()),
            ("user:uc0000000000000001", vec![inside[0], observer]),
            ("adw:aaaaaaaa", [&inside[..], &[observer, unasked]].concat()),
            ("adw:aaaaaaaa/raw", [&inside[..], &[observer, unasked]].concat()),
            ("connection:c0000000000000002", vec![inside[1]]),
        ];
        let look = |roster: &Roster| {
            for (audience, expected) in &audiences {
                assert_eq!(candidates(roster, &audience.parse().unwrap()), *expected, "{audience}");
            }
        };
        look(&roster);
        for id in 100..1_100 {
            let (session, room, adw) = (format!("session:s{id}"), format!("room:r{id}"), format!("adw:{id:08}"));
            connect(&mut roster, id, &[&session, &room, &adw]);
        }
        look(&roster);
        let everyone = Envelope::probe(EventKind::parse("_a.b").unwrap(), Audience::Global).unwrap();
        assert_eq!(route(&roster, &everyone).len(), roster.len() - 1, "all but the one whose dialect has no encoder");
    }
}
