//! Who receives an event: pure functions of the roster and the event (section 4 of the specification).
//!
//! [`route`] goes from the audience to its members by index, so what it costs depends on how many could receive the
//! event and not on how many are connected (ROUTE-08). [`admits`] judges one connection, rule by rule; `route` filters
//! with it, replay filters with it, [`explain`] reports it. So what is replayed or explained cannot differ from what is
//! delivered.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    address::Audience,
    claims::Claims,
    envelope::Envelope,
    id::{ConnectionId, SessionId},
    inspect::inspect,
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
    Interest,
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

/// What one rule says of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// Whether it lets the event through.
    pub passed: bool,
    /// Why, in one sentence.
    pub reason: &'static str,
}

impl Check {
    const fn new(rule: Rule, passed: bool, reason: &'static str) -> Self {
        Self { rule, passed, reason }
    }
}

/// The rules that speak of one connection and one audience, in order: ROUTE-01 to ROUTE-04.
fn audience_checks(id: ConnectionId, member: &Member, audience: &Audience) -> [Check; 4] {
    let observes = member.is_observing() && member.claims().may_observe(audience);
    let belongs = |yes: bool, reason: &'static str| match (yes, observes) {
        (true, _) => Check::new(Rule::Audience, true, reason),
        (false, true) => Check::new(Rule::Audience, true, "it observes everything"),
        (false, false) => Check::new(Rule::Audience, false, "it does not belong to the audience"),
    };
    let (audience_check, interest) = match audience {
        Audience::Connection(to) => (belongs(*to == id, "it is the connection"), true),
        Audience::Session(session, _) => (belongs(member.is_in(session), "it is in the session"), true),
        Audience::User(user) => {
            (belongs(member.claims().user.as_ref() == Some(user), "it is a connection of the user"), true)
        }
        Audience::Adw(adw, _) => (
            Check::new(Rule::Audience, true, "an ADW's audience is decided by interest"),
            member.hears_of(adw) || observes,
        ),
        Audience::Room(room) => (belongs(member.is_in_room(room), "it is in the room"), true),
        Audience::Global => (Check::new(Rule::Audience, true, "the event is for everyone"), true),
    };
    let visible = match audience {
        Audience::Session(_, visibility) => member.claims().is_visible(visibility),
        _ => true,
    };
    let permitted = member.claims().may_see(audience) || observes;
    [
        audience_check,
        Check::new(
            Rule::Interest,
            interest,
            if interest { "nothing speaks against its interest" } else { "it is not subscribed to the ADW" },
        ),
        Check::new(
            Rule::Permission,
            permitted,
            if permitted { "its claims reach the audience" } else { "its claims do not reach the audience" },
        ),
        Check::new(
            Rule::Visibility,
            visible,
            if visible {
                "the event is visible to it"
            } else {
                "the event is for a part of the session that it is not in"
            },
        ),
    ]
}

/// Every rule that speaks of one connection alone, in order: all but `one_per_session` (ROUTE-06), which compares.
fn checks(id: ConnectionId, member: &Member, event: &Envelope) -> [Check; 6] {
    let [audience, interest, permission, visibility] = audience_checks(id, member, event.audience());
    let modifiers = event.modifiers();
    let excepted = modifiers.except_connection == Some(id)
        || (modifiers.except_user.is_some() && modifiers.except_user == member.claims().user);
    let spells = member.dialect().spells(event.kind());
    [
        audience,
        interest,
        permission,
        visibility,
        Check::new(
            Rule::Dialect,
            spells,
            if spells { "its dialect can spell the event" } else { "its dialect cannot spell the event" },
        ),
        Check::new(
            Rule::Modifiers,
            !excepted,
            if excepted { "the publisher left it out" } else { "nobody left it out" },
        ),
    ]
}

/// Whether a connection receives events of the audience, whatever they are (ROUTE-01 to ROUTE-04). It learns nothing of a stream
/// that it would not receive: neither positions nor gaps.
pub fn receives(id: ConnectionId, member: &Member, audience: &Audience) -> bool {
    audience_checks(id, member, audience).iter().all(|check| check.passed)
}

/// Whether every rule about the connection alone lets the event through. The filter of live delivery and of replay.
pub fn admits(id: ConnectionId, member: &Member, event: &Envelope) -> bool {
    checks(id, member, event).iter().all(|check| check.passed)
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

/// Why one connection receives an event or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Explanation {
    /// The connection.
    pub connection_id: ConnectionId,
    /// Whether it receives the event.
    pub delivered: bool,
    /// The rule that withheld it; the first rule when it is delivered.
    pub rule: Rule,
    /// Why, in one sentence.
    pub reason: &'static str,
    /// What every rule says.
    pub checks: Vec<Check>,
}

/// For every connection that the asker may know of (AUTH-16): whether it receives the event, and which rule decided.
/// Whether the asker may ask about the audience at all is for [`Claims::may_explain`] to say.
pub fn explain(roster: &Roster, asker: &Claims, event: &Envelope) -> Vec<Explanation> {
    let recipients: BTreeSet<ConnectionId> = route(roster, event).into_iter().collect();
    roster
        .members()
        .filter(|(_, member)| inspect(asker, member).is_some())
        .map(|(id, member)| {
            let mut checks = checks(id, member, event).to_vec();
            let delivered = recipients.contains(&id);
            if !delivered && checks.iter().all(|check| check.passed) {
                checks.push(Check::new(
                    Rule::Modifiers,
                    false,
                    "an older connection of the same session receives it for all",
                ));
            }
            let decided = checks
                .iter()
                .find(|check| !check.passed)
                .or(checks.first())
                .map_or((Rule::Audience, "no rule spoke"), |check| (check.rule, check.reason));
            Explanation { connection_id: id, delivered, rule: decided.0, reason: decided.1, checks }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Root, dialect::Dialect, frame::EventKind};

    fn connect(roster: &mut Roster, id: u64, targets: &[&str]) -> ConnectionId {
        let id = ConnectionId::from_u64(id);
        let claims = Claims { user: Some(format!("u{id}").parse().unwrap()), ..Claims::loopback() };
        roster.connect(id, Member::new(Dialect::Canonical, claims, None));
        for target in targets {
            roster.subscribe(id, &target.parse::<Root>().unwrap()).unwrap();
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
