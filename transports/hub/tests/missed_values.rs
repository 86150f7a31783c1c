//! Gaps of newest values that were evicted (LOG-12): random values, grants and subscriptions, against an oracle that reads
//! texts and shares no code with the hub. A gap that is not due tells a connection of values that it may not see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeSet;

use eventwire_hub::{ConnectRequest, Hub, MemoryBounds, Outgoing, Principal};
use eventwire_protocol::{
    Audience, BrowserSession, Claims, Envelope, EventKind, Permission, Role, Scope, SessionId, Time, address::Modifiers,
};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use serde_json::Value;

/// Values that the history keeps; one more evicts the oldest.
const KEPT: usize = 2;
const USERS: [&str; 3] = ["a", "a:1", "b"];
const HOMES: [&str; 2] = ["session:~000000000000000000000000000000aa", "session:~000000000000000000000000000000ab"];
/// Whom newest values are for.
const AUDIENCES: [&str; 15] = [
    "global",
    "user:a",
    "user:a:1",
    "user:b",
    "session:a",
    "session:a:1",
    "session:a/private/a",
    "session:a/private/b",
    "session:a/agent_only/b",
    "session:b/private/a",
    HOMES[0],
    HOMES[1],
    "adw:aaaaaaaa",
    "adw:aaaaaaab",
    "adw:bbbbbbbb",
];
const NAMED: [&str; 7] = ["*", "session:a", "session:a:1", "session:b", "adw:aaaaaaaa", "adw:aaaaaaab", "adw:bbbbbbbb"];

#[derive(Clone, Debug)]
struct Written {
    to: &'static str,
    except: Option<&'static str>,
    second: i64,
}

#[derive(Clone, Debug)]
struct Guest {
    user: Option<&'static str>,
    home: Option<&'static str>,
    agent: bool,
    observe: bool,
    grants: Vec<&'static str>,
    wants: Vec<&'static str>,
    from: Option<i64>,
}

fn value() -> impl Strategy<Value = Written> {
    let except = proptest::option::weighted(0.3, prop::sample::select(&USERS[..]));
    (prop::sample::select(&AUDIENCES[..]), except, 0..6_i64).prop_map(|(to, except, second)| Written {
        to,
        except,
        second,
    })
}

fn guest() -> impl Strategy<Value = Guest> {
    let user = proptest::option::of(prop::sample::select(&USERS[..]));
    let home = proptest::option::of(prop::sample::select(&HOMES[..]));
    let wholes: Vec<&str> = AUDIENCES.iter().filter(|to| !to.contains('/')).copied().collect();
    let grants = (0..wholes.len()).prop_flat_map(move |count| subsequence(wholes.clone(), count));
    let wants = (0..NAMED.len()).prop_flat_map(|count| subsequence(&NAMED[..], count));
    let from = proptest::option::weighted(0.3, 0..6_i64);
    (user, home, any::<bool>(), any::<bool>(), grants, wants, from).prop_map(
        |(user, home, agent, observe, grants, wants, from)| Guest { user, home, agent, observe, grants, wants, from },
    )
}

// ---------------------------------------------------------------------------------------------------------------
// The oracle
// ---------------------------------------------------------------------------------------------------------------

fn whole(to: &str) -> &str {
    to.split('/').next().unwrap()
}

/// What a list that keeps the newest would have evicted.
fn evicted(values: &[Written]) -> Vec<&Written> {
    let (mut kept, mut evicted): (Vec<&Written>, Vec<&Written>) = (Vec::new(), Vec::new());
    for value in values {
        kept.retain(|older| older.to != value.to);
        kept.push(value);
        if kept.len() > KEPT {
            evicted.push(kept.remove(0));
        }
    }
    evicted
}

/// Whether the guest would have received a value.
fn is_due(guest: &Guest, value: &Written) -> bool {
    let target = whole(value.to);
    let has = |target: &str| guest.wants.contains(&target);
    let granted = guest.grants.contains(&target);
    let observes = guest.observe && has("*") && granted && target == value.to;
    let member = match value.to.split('/').collect::<Vec<_>>()[..] {
        ["global"] => true,
        [_, "private", user] => has(target) && granted && guest.user == Some(user),
        [_, "agent_only", user] => has(target) && granted && (guest.agent || guest.user == Some(user)),
        _ if target.starts_with("user:") => guest.user == target.strip_prefix("user:"),
        _ if target.starts_with("session:~") => guest.home == Some(target),
        _ => has(target) && granted,
    };
    let excepted = value.except.is_some() && value.except == guest.user;
    (member || observes) && !excepted && guest.from.is_none_or(|from| value.second >= from)
}

/// The streams that the guest is to get a gap of.
fn due(guest: &Guest, values: &[Written]) -> BTreeSet<String> {
    let evicted = evicted(values);
    let lacks =
        |target: &str| evicted.iter().any(|value| (target == "*" || whole(value.to) == target) && is_due(guest, value));
    let own = guest.user.map(|user| format!("user:{user}"));
    let unasked = own.into_iter().chain(guest.home.map(str::to_owned)).chain(["global".to_owned()]);
    let accepted = |to: &&&str| if **to == "*" { guest.observe } else { guest.grants.contains(*to) };
    let asked = guest.wants.iter().filter(accepted).map(ToString::to_string);
    unasked.chain(asked).filter(|target| lacks(target)).collect()
}

// ---------------------------------------------------------------------------------------------------------------
// The hub's side
// ---------------------------------------------------------------------------------------------------------------

fn at(second: i64) -> Time {
    Time::from_unix_micros(1_900_000_000_000_000 + second * 1_000_000)
}

fn envelope(value: &Written) -> Envelope {
    let kind = match value.to.split_once(':') {
        None => "adw.orchestrator_updated",
        Some(("user", _)) => "document.status",
        Some(("adw", _)) => "adw.status_update",
        Some((_, id)) if id.starts_with('~') => "chat.parameters",
        Some(_) => "context.session_update",
    };
    let probe = Envelope::probe(EventKind::parse(kind).unwrap(), value.to.parse().unwrap()).unwrap();
    let except_user = value.except.map(|user| user.parse().unwrap());
    let modifiers = Modifiers { except_user, ..Modifiers::default() };
    probe.without_payload(at(value.second)).with_modifiers(modifiers).unwrap()
}

fn scope<T: Ord>(guest: &Guest, kind: &str, read: impl Fn(&str) -> Option<T>) -> Scope<T> {
    Scope::Only(guest.grants.iter().filter_map(|grant| read(grant.strip_prefix(kind)?)).collect())
}

fn browser_session(id: &str) -> Option<BrowserSession> {
    match id.parse() {
        Ok(SessionId::Browser(id)) => Some(id),
        _ => None,
    }
}

fn claims(guest: &Guest) -> Claims {
    Claims {
        user: guest.user.map(|user| user.parse().unwrap()),
        role: guest.agent.then_some(Role::Agent),
        contexts: scope(guest, "session:", |id| match id.parse() {
            Ok(SessionId::Context(id)) => Some(id),
            _ => None,
        }),
        adws: scope(guest, "adw:", |id| id.parse().ok()),
        rooms: Scope::none(),
        users: scope(guest, "user:", |id| id.parse().ok()),
        browser_sessions: scope(guest, "session:", browser_session),
        global: guest.grants.contains(&"global"),
        permissions: guest.observe.then_some(Permission::Observe).into_iter().collect(),
        history_from: guest.from.map(at),
        ..Claims::anonymous()
    }
}

/// The streams that a guest gets a gap of when it connects.
async fn gaps(guest: &Guest, values: &[Written]) -> BTreeSet<String> {
    let bounds = MemoryBounds { latest_keys: KEPT, ..MemoryBounds::default() };
    let hub = Hub::builder().memory_bounds(bounds).build();
    for value in values {
        hub.append(vec![envelope(value)], Vec::new()).await.unwrap();
    }
    let mut request = ConnectRequest::new(Principal::new("guest", claims(guest)), "memory");
    request.home = guest.home.and_then(|home| browser_session(home.strip_prefix("session:")?));
    request.targets = guest.wants.iter().map(ToString::to_string).collect();
    let mut connection = hub.connect(request).await.unwrap();
    let fence = EventKind::parse("_test.fence").unwrap();
    let fence = Envelope::probe(fence, Audience::Connection(connection.id())).unwrap();
    hub.append(vec![fence], Vec::new()).await.unwrap();
    let mut gaps = BTreeSet::new();
    loop {
        let Outgoing::Frames(frames) = connection.next().await else { continue };
        for frame in frames {
            let frame: Value = serde_json::from_slice(&frame.bytes).unwrap();
            match frame["type"].as_str().unwrap() {
                "_test.fence" => return gaps,
                "connection.gap" => {
                    assert_eq!(frame["data"]["reason"], "expired", "{frame}");
                    assert!(gaps.insert(frame["data"]["stream"].as_str().unwrap().to_owned()), "twice: {frame}");
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn log_12_only_a_connection_that_would_have_received_an_evicted_value_gets_a_gap(
        guest in guest(),
        values in vec(value(), 0..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert_eq!(runtime.block_on(gaps(&guest, &values)), due(&guest, &values));
    }
}
