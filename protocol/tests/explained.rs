//! What `explain` says happened (HTTP-07), and that it says nothing of what the asker may not know (AUTH-16).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use eventwire_protocol::{
    BrowserSession, Claims, ConnectionId, Dialect, Envelope, Member, Permission, Role, Roster, Scope, Target, Time,
    address::Modifiers,
    explain::{DecisionKind, Explanation, Origin, Records, SubscribedAt, explain},
    route::Rule,
};
use serde_json::json;

/// Connection 2 subscribed with its connection, all others by command; connection 3 did it on another day.
struct Diary;

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

impl Records for Diary {
    fn now(&self) -> Time {
        time("2026-11-20T15:00:00Z")
    }

    fn subscribed(&self, id: ConnectionId, _: &Target) -> Option<SubscribedAt> {
        let origin = if id == ConnectionId::from_u64(2) { Origin::Connect } else { Origin::Command };
        let at = if id == ConnectionId::from_u64(3) { "2026-11-19T23:59:58Z" } else { "2026-11-20T12:03:07.5Z" };
        Some(SubscribedAt { origin, at: time(at) })
    }

    fn client(&self, _: ConnectionId) -> Option<String> {
        Some("curl/8.5.0".to_owned())
    }
}

fn claims(user: Option<&str>) -> Claims {
    Claims { user: user.map(|user| user.parse().unwrap()), ..Claims::anonymous() }
}

/// A connection on its own: what is said of it for an event.
fn told_as(id: u64, member: Member, targets: &[&str], event: &Envelope, asker: &Claims) -> Explanation {
    let mut roster = Roster::new();
    let id = ConnectionId::from_u64(id);
    roster.connect(id, member);
    for target in targets {
        roster.subscribe(id, &target.parse().unwrap()).unwrap();
    }
    explain(&roster, &Diary, asker, event).remove(0)
}

fn told(claims: Claims, targets: &[&str], kind: &str, to: &str) -> Explanation {
    let member = Member::new(Dialect::Canonical, claims, Some(BrowserSession::from_hash(0xaa)));
    told_as(1, member, targets, &support::event(kind, to), &Claims::loopback())
}

#[test]
fn http_07_explain_names_the_subscription_grant_or_claim_that_decided_and_what_happened() {
    use DecisionKind::{Claim, Grant, Permission as Lacking, Publisher, Subscription};
    let observer = Claims { permissions: BTreeSet::from([Permission::Observe]), ..Claims::anonymous() };
    let no_rooms = Claims { rooms: Scope::none(), ..observer.clone() };
    let note = "_test.note";
    let home = "session:~000000000000000000000000000000aa";
    for (claims, targets, kind, to, rule, reason, decided) in [
        (
            claims(None),
            &["adw:29fb6a3e"][..],
            "adw.text_block",
            "adw:29fb6a3e",
            Rule::AdwFilter,
            "subscribed to adw:29fb6a3e by its command of 12:03:07 UTC",
            (Subscription, "adw:29fb6a3e"),
        ),
        (
            claims(None),
            &["adw:aaaaaaaa"],
            "adw.text_block",
            "adw:29fb6a3e",
            Rule::AdwFilter,
            "did not subscribe to adw:29fb6a3e, only to other runs",
            (Subscription, "adw:29fb6a3e"),
        ),
        (
            claims(None),
            &[],
            "adw.text_block",
            "adw:29fb6a3e",
            Rule::AdwFilter,
            "did not subscribe to adw:29fb6a3e",
            (Subscription, "adw:29fb6a3e"),
        ),
        (
            observer.clone(),
            &["*"],
            "adw.text_block",
            "adw:29fb6a3e",
            Rule::AdwFilter,
            "subscribed to * by its command of 12:03:07 UTC; its permission observe and its grants reach adw:29fb6a3e",
            (Subscription, "*"),
        ),
        (
            claims(None),
            &["adw:29fb6a3e"],
            "adw.agent_output_chunk",
            "adw:29fb6a3e/raw",
            Rule::Permission,
            "it lacks the permission adw_raw, which verbatim output needs",
            (Lacking, "adw_raw"),
        ),
        (
            claims(None),
            &["room:x"],
            note,
            "room:x",
            Rule::Audience,
            "subscribed to room:x by its command of 12:03:07 UTC",
            (Subscription, "room:x"),
        ),
        (
            claims(None),
            &["room:y"],
            note,
            "room:x",
            Rule::Audience,
            "did not subscribe to room:x",
            (Subscription, "room:x"),
        ),
        (
            no_rooms.clone(),
            &["*"],
            note,
            "room:x",
            Rule::Audience,
            "did not subscribe to room:x",
            (Subscription, "room:x"),
        ),
        (claims(Some("ann")), &[], note, "user:ann", Rule::Audience, "it is signed in as ann", (Claim, "user")),
        (
            claims(Some("ann")),
            &[],
            note,
            "user:bob",
            Rule::Audience,
            "it is signed in as ann, not as bob",
            (Claim, "user"),
        ),
        (
            claims(None),
            &[],
            note,
            home,
            Rule::Audience,
            "its cookie opens the session ~000000000000000000000000000000aa",
            (Claim, "session"),
        ),
        (
            claims(None),
            &[],
            note,
            "global",
            Rule::Audience,
            "the event is addressed to every connection",
            (Publisher, "global"),
        ),
        (
            claims(None),
            &["session:s1"],
            note,
            "session:s1/private/ann",
            Rule::Visibility,
            "only the sender ann sees this part; it is not signed in as ann",
            (Claim, "user"),
        ),
        (
            Claims { role: Some(Role::Human), ..claims(None) },
            &["session:s1"],
            note,
            "session:s1/agent_only/ann",
            Rule::Visibility,
            "only agents and the sender see this part; it does not have the role agent",
            (Claim, "role"),
        ),
    ] {
        let explained = told(claims, targets, kind, to);
        assert_eq!((explained.rule, explained.reason.as_str()), (rule, reason), "{to}");
        assert_eq!((explained.decided_by.kind, explained.decided_by.name.as_str()), decided, "{to}");
    }
    // A subscription that the grants stopped reaching is a matter of the grant.
    let mut roster = Roster::new();
    let id = ConnectionId::from_u64(1);
    roster.connect(id, Member::new(Dialect::Adw, Claims { adws: Scope::none(), ..Claims::anonymous() }, None));
    let event = support::event("adw.text_block", "adw:29fb6a3e");
    let explained = explain(&roster, &Diary, &Claims::loopback(), &event).remove(0);
    assert_eq!((explained.delivered, explained.rule), (false, Rule::Permission));
    assert_eq!(explained.reason, "its grant adws does not include adw:29fb6a3e");
    assert_eq!((explained.decided_by.kind, explained.decided_by.name.as_str()), (Grant, "adws"));
}

#[test]
fn http_07_explain_says_how_and_when_a_subscription_was_made_and_who_has_it() {
    let event = support::event("_test.note", "room:x");
    let member = || Member::new(Dialect::Canonical, claims(Some("ann")), None);
    let explained = told_as(2, member(), &["room:x", "adw:29fb6a3e"], &event, &Claims::loopback());
    assert_eq!(explained.reason, "subscribed to room:x when it connected at 12:03:07 UTC");
    let row = serde_json::to_value(&explained).unwrap();
    assert_eq!(
        row["decided_by"],
        json!({"kind": "subscription", "name": "room:x", "origin": "connect", "at": "2026-11-20T12:03:07.5Z"})
    );
    assert_eq!(
        (&row["user_id"], &row["subscriptions"], &row["client"]),
        (&json!("ann"), &json!(["adw:29fb6a3e", "room:x"]), &json!("curl/8.5.0"))
    );
    let earlier = told_as(3, member(), &["room:x"], &event, &Claims::loopback());
    assert_eq!(earlier.reason, "subscribed to room:x by its command of 23:59:58 UTC on 2026-11-19");
}

#[test]
fn http_07_explain_describes_the_exception_that_the_publisher_made() {
    let event = |modifiers| support::event("context.typing", "session:s1").with_modifiers(modifiers).unwrap();
    let member = || Member::new(Dialect::Canonical, claims(Some("ann")), None);
    let except_user = Modifiers { except_user: Some("ann".parse().unwrap()), ..Modifiers::default() };
    let explained = told_as(1, member(), &["session:s1"], &event(except_user), &Claims::loopback());
    assert_eq!((explained.rule, explained.decided_by.name.as_str()), (Rule::Modifiers, "except_user"));
    assert_eq!(explained.reason, "the publisher excepted the user of this connection");
}

#[test]
fn auth_16_explain_names_nothing_of_a_connection_beyond_what_the_asker_reaches() {
    let asker = Claims {
        users: Scope::none(),
        browser_sessions: Scope::none(),
        rooms: Scope::Only(BTreeSet::from(["x".parse().unwrap(), "z".parse().unwrap()])),
        adws: Scope::none(),
        contexts: Scope::none(),
        global: false,
        ..Claims::loopback()
    };
    let member = Member::new(Dialect::Canonical, claims(Some("hidden-user")), None);
    for to in ["room:x", "room:z"] {
        let event = support::event("_test.note", to);
        let explained = told_as(1, member.clone(), &["room:x", "room:hidden", "adw:deadbeef"], &event, &asker);
        let text = serde_json::to_string(&explained).unwrap();
        for hidden in ["hidden", "deadbeef", "curl", "12:03", "2026", "other runs"] {
            assert!(!text.contains(hidden), "{hidden} is in {text}");
        }
        assert_eq!(explained.subscriptions, ["room:x".parse::<Target>().unwrap()]);
        assert_eq!(explained.delivered, to == "room:x");
    }
}
