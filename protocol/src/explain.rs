//! Why a connection receives an event or does not, in sentences that say what happened (HTTP-07).
//!
//! The decision itself is made in [`route`](crate::route) and only described here, from the same facts. A description names the
//! subscription, grant or claim that decided, as far as the asker may know of it (AUTH-16).

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    address::{AdwLayer, Audience, Target, Visibility},
    claims::{Claims, Permission},
    dialect::AdwDefault,
    envelope::Envelope,
    id::{ConnectionId, SessionId, UserId},
    inspect::{Extent, Inspection, inspect},
    roster::{AdwFilter, Member, Roster},
    route::{Rule, Verdict, route, verdicts},
    time::Time,
};

/// How a connection came by a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It named the target when it connected.
    Connect,
    /// It sent a command.
    Command,
}

/// How and when a connection came by a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribedAt {
    /// How.
    pub origin: Origin,
    /// When, by the clock of the server.
    pub at: Time,
}

/// What is known of connections beside the roster.
pub trait Records {
    /// The time now. Times of another day are given with their date.
    fn now(&self) -> Time;

    /// How and when a connection subscribed to a target; `None` when it is not known.
    fn subscribed(&self, id: ConnectionId, target: &Target) -> Option<SubscribedAt>;

    /// What the peer of a connection calls itself.
    fn client(&self, id: ConnectionId) -> Option<String>;
}

/// What kind of fact decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// A subscription, or that there is none. `name` is its target.
    Subscription,
    /// Who the connection is. `name` is `user`, `session` or `role`.
    Claim,
    /// A grant of its credentials, or that it does not include the target. `name` is the grant, such as `rooms`.
    Grant,
    /// A permission that is missing. `name` is the permission.
    Permission,
    /// What its dialect can carry, or hears of without asking. `name` is the dialect.
    Dialect,
    /// Whom the publisher addressed or excepted. `name` is the audience or the exception.
    Publisher,
}

/// The fact that decided about one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Decision {
    /// What kind of fact it is.
    pub kind: DecisionKind,
    /// Which one: a target, a claim, a grant, a permission, a dialect, an audience.
    pub name: String,
    /// How the connection subscribed, where a subscription decided and it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When the connection subscribed, where a subscription decided and it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// What one rule says of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// Whether it lets the event through.
    pub passed: bool,
    /// What happened, in one sentence.
    pub reason: String,
}

/// Why one connection receives an event or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Explanation {
    /// The connection.
    pub connection_id: ConnectionId,
    /// Whether it receives the event.
    pub delivered: bool,
    /// The rule that withheld it; when it is delivered, the rule by which it belongs to the recipients.
    pub rule: Rule,
    /// What happened, in one sentence.
    pub reason: String,
    /// The subscription, grant or claim that decided.
    pub decided_by: Decision,
    /// The user of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// What the connection subscribed to.
    pub subscriptions: Vec<Target>,
    /// What its peer calls itself: the `User-Agent` of a page or program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// What every rule says.
    pub checks: Vec<Check>,
}

/// For every connection that the asker may know of (AUTH-16): whether it receives the event, and which fact decided.
/// Whether the asker may ask about the audience at all is for [`Claims::may_explain`] to say.
pub fn explain(roster: &Roster, records: &dyn Records, asker: &Claims, event: &Envelope) -> Vec<Explanation> {
    let recipients: BTreeSet<ConnectionId> = route(roster, event).into_iter().collect();
    let seen = roster.members().filter_map(|(id, member)| Some((id, member, inspect(asker, member)?)));
    let explained = seen.map(|(id, member, seen)| {
        let delivered = recipients.contains(&id);
        Facts { id, member, event, seen, records }.explanation(delivered)
    });
    explained.collect()
}

/// One connection and one event.
struct Facts<'a> {
    id: ConnectionId,
    member: &'a Member,
    event: &'a Envelope,
    seen: Inspection,
    records: &'a dyn Records,
}

/// A sentence and the fact that it is about.
struct Finding {
    reason: String,
    decision: Decision,
}

impl Finding {
    fn new(kind: DecisionKind, name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), decision: Decision { kind, name: name.into(), origin: None, at: None } }
    }
}

impl Facts<'_> {
    fn explanation(self, delivered: bool) -> Explanation {
        let mut findings: Vec<(Verdict, Finding)> = verdicts(self.id, self.member, self.event)
            .into_iter()
            .map(|verdict| (verdict, self.finding(verdict)))
            .collect();
        if !delivered && findings.iter().all(|(verdict, _)| verdict.passed) {
            let reason = "an older connection of the same session receives it for all";
            let finding = Finding::new(DecisionKind::Publisher, "one_per_session", reason);
            findings.push((Verdict { rule: Rule::Modifiers, passed: false }, finding));
        }
        // Of a run the subscription decides, of everything else the address.
        let belongs = if matches!(self.event.audience(), Audience::Adw(..)) { Rule::AdwFilter } else { Rule::Audience };
        let decided = findings
            .iter()
            .find(|(verdict, _)| !verdict.passed)
            .or_else(|| findings.iter().find(|(verdict, _)| verdict.rule == belongs));
        let (rule, reason, decided_by) = decided.map_or_else(
            || {
                let Finding { reason, decision } = self.addressed();
                (Rule::Audience, reason, decision)
            },
            |(verdict, finding)| (verdict.rule, finding.reason.clone(), finding.decision.clone()),
        );
        let checks = findings.into_iter().map(|(Verdict { rule, passed }, Finding { reason, .. })| Check {
            rule,
            passed,
            reason,
        });
        let checks = checks.collect();
        Explanation {
            connection_id: self.id,
            delivered,
            rule,
            reason,
            decided_by,
            client: self.is_whole().then(|| self.records.client(self.id)).flatten(),
            user_id: self.seen.user,
            subscriptions: self.seen.subscriptions,
            checks,
        }
    }

    fn finding(&self, Verdict { rule, passed }: Verdict) -> Finding {
        match rule {
            Rule::Audience => self.audience(passed),
            Rule::AdwFilter => self.interest(passed),
            Rule::Permission => self.permission(passed),
            Rule::Visibility => self.visibility(passed),
            Rule::Dialect => {
                let (dialect, kind) = (self.member.dialect().as_str(), self.event.kind().as_str());
                let has = if passed { "has a frame" } else { "has no frame" };
                Finding::new(DecisionKind::Dialect, dialect, format!("its dialect {dialect} {has} for {kind}"))
            }
            Rule::Modifiers => self.modifiers(passed),
        }
    }

    /// Whether the asker reaches who the connection is. If not, only what concerns the audience is named.
    fn is_whole(&self) -> bool {
        self.seen.extent == Extent::Whole
    }

    fn observes(&self) -> bool {
        self.member.is_observing() && self.member.claims().may_observe(self.event.audience())
    }

    fn addressed(&self) -> Finding {
        let audience = self.event.audience();
        let reason = match audience {
            Audience::Global => "the event is addressed to every connection".to_owned(),
            Audience::Connection(_) => "the event is addressed to this connection".to_owned(),
            _ => format!("the event is addressed to {audience}"),
        };
        Finding::new(DecisionKind::Publisher, audience.to_string(), reason)
    }

    fn subscribed(&self, target: &Target) -> Finding {
        let known = self.is_whole().then(|| self.records.subscribed(self.id, target)).flatten();
        let how = known.map_or_else(String::new, |SubscribedAt { origin, at }| match origin {
            Origin::Connect => format!(" when it connected at {}", clock(at, self.records.now())),
            Origin::Command => format!(" by its command of {}", clock(at, self.records.now())),
        });
        let mut finding =
            Finding::new(DecisionKind::Subscription, target.to_string(), format!("subscribed to {target}{how}"));
        finding.decision.origin = known.map(|known| known.origin);
        finding.decision.at = known.map(|known| known.at);
        finding
    }

    fn observing(&self) -> Finding {
        let mut finding = self.subscribed(&Target::Realm);
        finding.reason.push_str("; its permission observe and its grants reach ");
        finding.reason.push_str(&self.event.audience().to_string());
        finding
    }

    fn not_subscribed(&self, target: &Target) -> Finding {
        let reason = format!("did not subscribe to {target}");
        Finding::new(DecisionKind::Subscription, target.to_string(), reason)
    }

    fn audience(&self, passed: bool) -> Finding {
        let member = self.member;
        match self.event.audience() {
            Audience::Adw(..) | Audience::Global => self.addressed(),
            Audience::Connection(to) if *to == self.id => self.addressed(),
            Audience::Connection(to) => {
                let reason = "the event is addressed to another connection";
                Finding::new(DecisionKind::Publisher, Audience::Connection(*to).to_string(), reason)
            }
            Audience::Session(session @ SessionId::Browser(_), _) if member.is_in(session) => {
                Finding::new(DecisionKind::Claim, "session", format!("its cookie opens the session {session}"))
            }
            Audience::User(user) if member.claims().user.as_ref() == Some(user) => {
                Finding::new(DecisionKind::Claim, "user", format!("it is signed in as {user}"))
            }
            Audience::Session(session @ SessionId::Context(_), _) if member.is_in(session) => {
                self.subscribed(&Target::Session(session.clone()))
            }
            Audience::Room(room) if member.is_in_room(room) => self.subscribed(&Target::Room(room.clone())),
            _ if passed => self.observing(),
            Audience::Session(session @ SessionId::Browser(_), _) => {
                Finding::new(DecisionKind::Claim, "session", format!("its cookie does not open the session {session}"))
            }
            Audience::User(user) => {
                let instead = match &self.seen.user {
                    Some(own) => format!("it is signed in as {own}, not as {user}"),
                    None => format!("it is not signed in as {user}"),
                };
                Finding::new(DecisionKind::Claim, "user", instead)
            }
            Audience::Session(session @ SessionId::Context(_), _) => {
                self.not_subscribed(&Target::Session(session.clone()))
            }
            Audience::Room(room) => self.not_subscribed(&Target::Room(room.clone())),
        }
    }

    fn interest(&self, passed: bool) -> Finding {
        let Audience::Adw(adw, _) = self.event.audience() else {
            let mut finding = self.addressed();
            finding.reason = "the event is not addressed to a run".to_owned();
            return finding;
        };
        let (target, dialect) = (Target::Adw(*adw), self.member.dialect().as_str());
        match self.member.interest() {
            AdwFilter::Only(adws) if adws.contains(adw) => self.subscribed(&target),
            AdwFilter::Default(AdwDefault::All) => {
                let reason = format!("it subscribed to no run, and its dialect {dialect} then hears of every run");
                Finding::new(DecisionKind::Dialect, dialect, reason)
            }
            _ if passed => self.observing(),
            AdwFilter::Only(adws) if self.is_whole() && !adws.is_empty() => {
                let mut finding = self.not_subscribed(&target);
                finding.reason.push_str(", only to other runs");
                finding
            }
            _ => self.not_subscribed(&target),
        }
    }

    fn permission(&self, passed: bool) -> Finding {
        let (claims, audience) = (self.member.claims(), self.event.audience());
        let is_member = claims.may_see(audience);
        if passed && !is_member && self.observes() {
            let reason = format!("its permission observe and its grants reach {audience}");
            return Finding::new(DecisionKind::Permission, Permission::Observe.as_str(), reason);
        }
        let granted = |grant: &str, granted: bool, target: String| {
            let reason = match (passed, granted) {
                (true, true) => format!("its grant {grant} includes {target}"),
                (true, false) => format!("any connection may join {target}"),
                (false, _) => format!("its grant {grant} does not include {target}"),
            };
            Finding::new(DecisionKind::Grant, grant, reason)
        };
        match audience {
            Audience::Connection(_) | Audience::Global => {
                let mut finding = self.addressed();
                finding.reason = "this audience needs no grant".to_owned();
                finding
            }
            Audience::User(user) if passed => {
                Finding::new(DecisionKind::Claim, "user", format!("{user} is its own user, which needs no grant"))
            }
            Audience::User(user) => {
                let reason = format!("{user} is not its own user, and it does not observe others");
                Finding::new(DecisionKind::Claim, "user", reason)
            }
            Audience::Session(SessionId::Browser(_), _) => {
                let reason = "a browser session needs its cookie, and no grant";
                Finding::new(DecisionKind::Claim, "session", reason)
            }
            Audience::Session(SessionId::Context(id), _) => {
                granted("sessions", claims.contexts.contains(id), format!("session:{id}"))
            }
            Audience::Room(room) => granted("rooms", claims.rooms.contains(room), format!("room:{room}")),
            Audience::Adw(adw, AdwLayer::Raw) if !passed && claims.may_see(&Audience::adw(*adw)) => {
                let raw = Permission::AdwRaw.as_str();
                let reason = format!("it lacks the permission {raw}, which verbatim output needs");
                Finding::new(DecisionKind::Permission, raw, reason)
            }
            Audience::Adw(adw, _) => granted("adws", claims.adws.contains(adw), format!("adw:{adw}")),
        }
    }

    fn visibility(&self, passed: bool) -> Finding {
        let own = |sender: &UserId| self.member.claims().user.as_ref() == Some(sender);
        let claim = |name: &str, reason: String| Finding::new(DecisionKind::Claim, name, reason);
        match self.event.audience() {
            Audience::Session(_, Visibility::Private(sender)) => {
                let is = if passed { "is" } else { "is not" };
                claim("user", format!("only the sender {sender} sees this part; it {is} signed in as {sender}"))
            }
            Audience::Session(_, Visibility::AgentOnly(sender)) if own(sender) => {
                claim("user", format!("it is signed in as the sender {sender}"))
            }
            Audience::Session(_, Visibility::AgentOnly(_)) => {
                let has = if passed { "has" } else { "does not have" };
                claim("role", format!("only agents and the sender see this part; it {has} the role agent"))
            }
            _ => {
                let mut finding = self.addressed();
                finding.reason = "the event is for the whole audience".to_owned();
                finding
            }
        }
    }

    fn modifiers(&self, passed: bool) -> Finding {
        let modifiers = self.event.modifiers();
        let (name, reason) = if passed {
            ("except_connection", "the publisher excepted neither this connection nor its user")
        } else if modifiers.except_connection == Some(self.id) {
            ("except_connection", "the publisher excepted this connection")
        } else {
            ("except_user", "the publisher excepted the user of this connection")
        };
        Finding::new(DecisionKind::Publisher, name, reason)
    }
}

/// The time of day to the second, with its date when that is not today's.
fn clock(at: Time, now: Time) -> String {
    let (text, today) = (at.to_string(), now.to_string());
    let day = |text: &str| text.get(..10).unwrap_or_default().to_owned();
    let time = text.get(11..19).unwrap_or(&text);
    if day(&text) == day(&today) { format!("{time} UTC") } else { format!("{time} UTC on {}", day(&text)) }
}
