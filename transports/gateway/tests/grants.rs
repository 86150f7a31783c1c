//! Who reaches what, by every path: a matrix of principals, audiences and paths, against a table that is written by hand.
//!
//! The principals are made as the gateway makes them, from an api_keys_file of either version and from tokens. The fast matrix asks
//! a hub in this process; a smaller one asks a gateway over real sockets, HTTP answers and figures included.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{Gateway, Socket, Source, ask, run, soon};
use eventwire_gateway::api_keys::{self, GrantsVersion};
use eventwire_gateway::jwt::{Accepted, Expectations, Jwt, Keys};
use eventwire_hub::{
    ApiKeys, ConnectRequest, Connection, Credentials, Hub, Kick, MemoryBounds, NoAuthentication, Outgoing, Principal,
    Secret, Settings,
};
use eventwire_protocol::{
    Audience, Claims, ConnectionId, Dialect, Envelope, ErrorCode, EventKind, Permission, PublicScope, Publication,
    Scope, SessionId,
};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const SECRET: &str = "a secret of at least thirty-two bytes";
const HOME_A: &str = "~000000000000000000000000000000aa";
const HOME_B: &str = "~000000000000000000000000000000bb";

// ---------------------------------------------------------------------------------------------------------------
// The table: what each principal reaches, in words
// ---------------------------------------------------------------------------------------------------------------

/// Everything of tenant A, as grants and as targets.
const TENANT_A: &[&str] = &["adw:aaaaaaaa", "room:a", "session:a", "user:a", "session:~a", "global"];
const EVERYTHING: &[&str] = &["adw:*", "room:*", "session:*", "user:*", "session:~*", "global"];
/// What grants reach that are older than users, browser sessions and `global`.
const OLDER: &[&str] = &["user:*", "session:~*", "global"];

/// How a principal comes about.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// The members of an entry, in a file of this version.
    Key(u8, &'static str),
    /// The claim of a token, under this `jwt_grants`.
    Token(u8, &'static str),
    Loopback,
    Insecure,
    /// A connection without credentials, in a dialect that lets it in.
    Stranger,
    /// A login of Product Demo.
    Product,
}

struct Row {
    name: &'static str,
    made: Made,
    /// The setting `anonymous_scope`: rooms.
    public: Option<&'static [&'static str]>,
    /// What its grants reach.
    reaches: &'static [&'static str],
    permissions: &'static [&'static str],
    user: Option<&'static str>,
}

const ALL: &[&str] = &["publish", "observe", "admin"];
const KEY_A: &str = r#"adws = ["aaaaaaaa"]
rooms = ["a"]
sessions = ["a"]
users = ["a"]
browser_sessions = ["~000000000000000000000000000000aa"]
global = true"#;
const TOKEN_A: &str = r#"{"permissions": ["publish", "observe", "admin"], "adws": ["aaaaaaaa"], "rooms": ["a"],
    "sessions": ["a"], "users": ["a"], "browser_sessions": ["~000000000000000000000000000000aa"], "global": true}"#;
const TOKEN_ALL: &str = r#"{"permissions": ["publish", "observe", "admin"], "adws": ["*"], "rooms": ["*"],
    "sessions": ["*"], "users": ["*"], "browser_sessions": ["*"], "global": true}"#;
const TOKEN_BARE: &str = r#"{"permissions": ["publish", "observe", "admin"]}"#;
const TOKEN_ROOM: &str = r#"{"permissions": ["publish", "observe", "admin"], "rooms": ["a"]}"#;

const fn row(name: &'static str, made: Made, reaches: &'static [&'static str]) -> Row {
    Row { name, made, public: None, reaches, permissions: ALL, user: None }
}

const ROWS: &[Row] = &[
    row("key 1, bare", Made::Key(1, ""), OLDER),
    row("key 1, a room", Made::Key(1, "rooms = [\"a\"]"), &["room:a", "user:*", "session:~*", "global"]),
    row("key 1, tenant A", Made::Key(1, KEY_A), TENANT_A),
    row("key 2, bare", Made::Key(2, ""), &[]),
    row("key 2, a room", Made::Key(2, "rooms = [\"a\"]"), &["room:a"]),
    row("key 2, a user", Made::Key(2, "users = [\"a\"]"), &["user:a"]),
    row("key 2, global", Made::Key(2, "global = true"), &["global"]),
    row("key 2, browser sessions", Made::Key(2, "browser_sessions = [\"*\"]"), &["session:~*"]),
    row("key 2, tenant A", Made::Key(2, KEY_A), TENANT_A),
    Row { user: Some("token"), ..row("token 1, bare", Made::Token(1, TOKEN_BARE), OLDER) },
    Row { user: Some("token"), ..row("token 2, bare", Made::Token(2, TOKEN_BARE), &[]) },
    Row { user: Some("token"), ..row("token 2, a room", Made::Token(2, TOKEN_ROOM), &["room:a"]) },
    Row { user: Some("token"), ..row("token 2, tenant A", Made::Token(2, TOKEN_A), TENANT_A) },
    Row { user: Some("token"), ..row("token 2, everything", Made::Token(2, TOKEN_ALL), EVERYTHING) },
    Row {
        user: Some("token"),
        public: Some(&["room:b"]),
        ..row("token 2, bare, strangers see room:b", Made::Token(2, TOKEN_BARE), &[])
    },
    Row { permissions: &[], ..row("stranger", Made::Stranger, EVERYTHING) },
    Row { permissions: &[], public: Some(&["room:b"]), ..row("stranger who sees room:b", Made::Stranger, &["room:b"]) },
    Row { permissions: &["publish", "observe", "admin", "adw_raw"], ..row("loopback", Made::Loopback, EVERYTHING) },
    Row { permissions: &["publish"], ..row("insecure", Made::Insecure, EVERYTHING) },
    Row { permissions: &[], user: Some("a"), ..row("product login", Made::Product, &[]) },
];

/// The audiences; `~a` stands for A's browser session.
const AUDIENCES: &[&str] = &[
    "global",
    "user:a",
    "user:b",
    "user:token",
    "session:a",
    "session:b",
    "session:~a",
    "session:~b",
    "session:b/private/b",
    "session:a/agent_only/a",
    "adw:aaaaaaaa",
    "adw:bbbbbbbb",
    "adw:aaaaaaaa/raw",
    "room:a",
    "room:b",
    "connection:a",
    "connection:b",
];

/// What every principal asks for by name.
const WANTED: &[&str] = &["*", "adw:aaaaaaaa", "adw:bbbbbbbb", "room:a", "room:b", "session:a", "session:b"];

/// The rules, read from the table.
mod oracle {
    use super::Row;

    fn lists(reaches: &[&str], target: &str) -> bool {
        let all = match target.split_once(':') {
            Some(("session", id)) if id.starts_with('~') => "session:~*",
            Some((kind, _)) => match kind {
                "session" => "session:*",
                "adw" => "adw:*",
                "room" => "room:*",
                _ => "user:*",
            },
            None => "global",
        };
        reaches.contains(&target) || reaches.contains(&all)
    }

    fn may(row: &Row, permission: &str) -> bool {
        row.permissions.contains(&permission)
    }

    fn joins(row: &Row, target: &str) -> bool {
        let named = ["adw:", "room:"].iter().any(|kind| target.starts_with(kind))
            || (target.starts_with("session:") && !target.starts_with("session:~"));
        named && (lists(row.reaches, target) || row.public.is_some_and(|public| public.contains(&target)))
    }

    /// Live, on replay and as a newest value.
    pub(super) fn receives(row: &Row, to: &str) -> bool {
        if let Some(adw) = to.strip_suffix("/raw") {
            return may(row, "adw_raw") && receives(row, adw);
        }
        let hidden = to.starts_with("connection:") || to.contains('/');
        let own = to == "global" || row.user.is_some_and(|user| to == format!("user:{user}"));
        !hidden && (own || joins(row, to) || (may(row, "observe") && lists(row.reaches, to)))
    }

    /// Which of the connections of A and B are reached: `Some(true)` as a whole, `Some(false)` in part. Each has a user, a browser
    /// session, and a subscription to its tenant's room, context and ADW.
    pub(super) fn sees(row: &Row, tenant: &str) -> Option<bool> {
        let whole = lists(row.reaches, &format!("user:{tenant}")) && lists(row.reaches, &format!("session:~{tenant}"));
        let adw = format!("adw:{}", tenant.repeat(8));
        let any = [
            &format!("user:{tenant}"),
            &format!("session:~{tenant}"),
            &format!("room:{tenant}"),
            &format!("session:{tenant}"),
            &adw,
        ]
        .iter()
        .any(|target| lists(row.reaches, target));
        if whole { Some(true) } else { any.then_some(false) }
    }

    pub(super) fn publishes(row: &Row, to: &str) -> bool {
        let reached = match to.strip_prefix("connection:") {
            Some(tenant) => sees(row, tenant) == Some(true),
            None => lists(row.reaches, to.split('/').next().unwrap()),
        };
        may(row, "publish") && reached
    }

    pub(super) fn explains(row: &Row, to: &str) -> bool {
        let sender = to.splitn(3, '/').nth(2).is_none_or(|user| lists(row.reaches, &format!("user:{user}")));
        let reached = to.starts_with("connection:") || lists(row.reaches, to.split('/').next().unwrap());
        may(row, "observe") && sender && reached
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The hub's side
// ---------------------------------------------------------------------------------------------------------------

fn audience(to: &str, members: &[ConnectionId; 2]) -> Audience {
    let full = match to {
        "session:~a" => format!("session:{HOME_A}"),
        "session:~b" => format!("session:{HOME_B}"),
        "connection:a" => format!("connection:{}", members[0]),
        "connection:b" => format!("connection:{}", members[1]),
        to => to.to_owned(),
    };
    full.parse().unwrap()
}

fn probe(kind: &str, to: Audience) -> Envelope {
    Envelope::probe(EventKind::parse(kind).unwrap(), to).unwrap()
}

/// An event for an audience, of a type that goes there.
fn event(to: &str, members: &[ConnectionId; 2]) -> Envelope {
    let kind = match to {
        "adw:aaaaaaaa/raw" => "adw.agent_output_chunk",
        to if to.starts_with("adw:") => "adw.text_block",
        _ => "_matrix.note",
    };
    probe(kind, audience(to, members))
}

/// A newest value of an audience, where there is a type for it.
fn newest(to: &str, members: &[ConnectionId; 2]) -> Option<Envelope> {
    let kind = match to.split_once(':') {
        None => "adw.orchestrator_updated",
        _ if to.contains('/') => return None,
        Some(("user", _)) => "document.status",
        Some(("session", id)) => {
            if id.starts_with('~') {
                "chat.parameters"
            } else {
                "context.session_update"
            }
        }
        Some(("adw", _)) => "adw.status_update",
        Some(_) => return None,
    };
    Some(probe(kind, audience(to, members)))
}

fn token(claim: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claim: Value = serde_json::from_str(claim).unwrap();
    let claims = json!({"sub": "token", "iat": now, "exp": now + 600, "eventwire": claim});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn entry(version: u8, rest: &str) -> String {
    let version = if version == 1 { String::new() } else { format!("version = {version}\n") };
    let digest = eventwire_hub::KeyDigest::of("the key");
    format!(
        "{version}[[key]]\nname = \"k\"\nsha256 = \"{digest}\"\npermissions = [\"publish\", \"observe\", \"admin\"]\n{rest}\n"
    )
}

fn public_scope(rooms: &[&str]) -> PublicScope {
    let rooms = rooms.iter().map(|room| room.strip_prefix("room:").unwrap().parse().unwrap()).collect();
    PublicScope { rooms: Scope::Only(rooms), ..PublicScope::none() }
}

/// A hub that knows the principal of a row, and the principal.
async fn known(row: &Row, bounds: MemoryBounds) -> (Hub, Principal) {
    let settings = Settings {
        anonymous: vec![Dialect::Adw],
        anonymous_scope: row.public.map(public_scope).map(Arc::new),
        ..Settings::default()
    };
    let builder = Hub::builder().settings(settings).memory_bounds(bounds);
    let show = |text: &str| Credentials { token: Some(Secret::new(text)), peer: None };
    let (hub, shown) = match row.made {
        Made::Key(version, rest) => {
            let mut keys = ApiKeys::new();
            for key in api_keys::read(&entry(version, rest)).unwrap() {
                keys.add(key.digest, key.principal).unwrap();
            }
            (builder.authenticator(keys).build(), show("the key"))
        }
        Made::Token(version, claim) => {
            let expected = Expectations {
                issuer: None,
                audience: None,
                claim: "eventwire".into(),
                grants: GrantsVersion::from_number(version).unwrap(),
                leeway: Duration::from_secs(5),
            };
            let tokens = Arc::new(Jwt::new(Keys::read(SECRET).unwrap(), expected));
            (builder.authenticator(Accepted::of_tokens(tokens)).build(), show(&token(claim)))
        }
        Made::Stranger => {
            let hub = builder.authenticator(ApiKeys::new()).build();
            let stranger = hub.authenticate_or_anonymous(&Credentials::default(), Dialect::Adw).await.unwrap();
            return (hub, stranger);
        }
        Made::Product => {
            // As `eventwire_systems::product` makes them.
            let claims = Claims { user: Some("a".parse().unwrap()), ..Claims::stranger(&PublicScope::none()) };
            return (builder.build(), Principal::new("product:a", claims));
        }
        Made::Loopback => (builder.authenticator(NoAuthentication::loopback()).build(), Credentials::default()),
        Made::Insecure => (builder.authenticator(NoAuthentication::insecure()).build(), Credentials::default()),
    };
    let principal = hub.authenticate(&shown).await.unwrap();
    (hub, principal)
}

/// A connection of a tenant: its user, in its browser session, in its room, context and ADW.
async fn member(hub: &Hub, tenant: &str, home: &str) -> Connection {
    let claims = Claims { user: Some(tenant.parse().unwrap()), ..Claims::loopback() };
    let mut request = ConnectRequest::new(Principal::new(tenant, claims), "memory");
    let SessionId::Browser(home) = home.parse().unwrap() else { panic!("{home}") };
    request.home = Some(home);
    request.targets = vec![format!("room:{tenant}"), format!("session:{tenant}"), format!("adw:{}", tenant.repeat(8))];
    hub.connect(request).await.unwrap()
}

/// The types and audiences of the events that reached a connection before a fence for it alone.
async fn received(hub: &Hub, connection: &mut Connection) -> BTreeSet<(String, String)> {
    let to = Audience::Connection(connection.id());
    hub.append(vec![probe("_matrix.fence", to)], Vec::new()).await.unwrap();
    let mut seen = BTreeSet::new();
    let (mut fenced, mut replays) = (false, 0);
    soon("the fence", async {
        while !fenced || replays > 0 {
            let Outgoing::Frames(frames) = connection.next().await else { continue };
            for frame in frames {
                let frame: Value = serde_json::from_slice(&frame.bytes).unwrap();
                match frame["type"].as_str().unwrap() {
                    "_matrix.fence" => fenced = true,
                    // A page may come behind the fence.
                    "connection.replaying" => replays += 1,
                    "connection.recovered" => replays -= 1,
                    // By the stream that it names.
                    "connection.gap" => {
                        let stream = frame["data"]["stream"].as_str().unwrap();
                        seen.insert(("connection.gap".to_owned(), stream.to_owned()));
                    }
                    kind if kind.starts_with("connection.") => {}
                    kind => {
                        seen.insert((kind.to_owned(), frame["to"].as_str().unwrap().to_owned()));
                    }
                }
            }
        }
    })
    .await;
    seen
}

#[derive(Default)]
struct Tally {
    cases: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn judge(&mut self, row: &Row, path: &str, to: &str, shown: bool, due: bool) {
        self.cases += 1;
        if shown != due {
            let what = if shown { "LEAK" } else { "loss" };
            self.wrong.push(format!("{what}: {} {path} {to}", row.name));
        }
    }
}

async fn judge(row: &Row, tally: &mut Tally) {
    let (hub, principal) = known(row, MemoryBounds::default()).await;
    let (a, b) = (member(&hub, "a", HOME_A).await, member(&hub, "b", HOME_B).await);
    let members = [a.id(), b.id()];
    let everything: Vec<(&str, Envelope)> = AUDIENCES.iter().map(|to| (*to, event(to, &members))).collect();
    let values: Vec<(&str, Envelope)> = AUDIENCES.iter().filter_map(|to| Some((*to, newest(to, &members)?))).collect();
    let all = |of: &[(&str, Envelope)]| of.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>();
    hub.append(all(&everything), Vec::new()).await.unwrap();
    hub.append(all(&values), Vec::new()).await.unwrap();

    // What was published before the connection came, and what is published while it is there.
    let mut subject = hub.connect(ConnectRequest::new(principal.clone(), "memory")).await.unwrap();
    let mut targets: Vec<String> = WANTED.iter().map(ToString::to_string).collect();
    targets.extend(["user:a", "user:b", "user:token", "global"].map(str::to_owned));
    targets.extend([HOME_A, HOME_B].map(|home| format!("session:{home}")));
    let streams: Vec<Value> = targets.iter().map(|to| json!({"to": to, "since": 0})).collect();
    let subscribe = json!({"type": "subscribe", "data": {"streams": streams}}).to_string();
    subject.receive(subscribe.as_bytes()).await;
    let before = received(&hub, &mut subject).await;
    hub.append(all(&everything), Vec::new()).await.unwrap();
    let live = received(&hub, &mut subject).await;
    let came = |of: &BTreeSet<(String, String)>, event: &Envelope| {
        of.contains(&(event.kind().as_str().to_owned(), event.audience().to_string()))
    };
    for (to, event) in &everything {
        tally.judge(row, "replay", to, came(&before, event), oracle::receives(row, to));
        tally.judge(row, "live", to, came(&live, event), oracle::receives(row, to));
    }
    for (to, value) in &values {
        tally.judge(row, "newest value", to, came(&before, value), oracle::receives(row, to));
        // With room for one value, the second evicts the first.
        let (small, principal) = known(row, MemoryBounds { latest_keys: 1, ..MemoryBounds::default() }).await;
        let second = probe("chat.apps", audience("session:~b", &members));
        small.append(vec![value.clone(), second], Vec::new()).await.unwrap();
        let mut late = small.connect(ConnectRequest::new(principal, "memory")).await.unwrap();
        late.receive(subscribe.as_bytes()).await;
        let gaps = received(&small, &mut late).await.into_iter().filter(|(kind, _)| kind == "connection.gap");
        tally.judge(row, "gap of an evicted value", to, gaps.count() > 0, oracle::receives(row, to));
    }

    // Nothing of what the subject is told is about connections that it does not reach.
    let claims = &principal.claims;
    let listed = hub.connections_seen_by(claims);
    let text = serde_json::to_string(&listed).unwrap();
    for (at, (tenant, home)) in [("a", HOME_A), ("b", HOME_B)].into_iter().enumerate() {
        let sees = oracle::sees(row, tenant);
        let listed = listed.iter().find(|info| info.connection_id == members[at]);
        tally.judge(row, "connection list", tenant, listed.is_some(), sees.is_some());
        let named = text.contains(&format!("\"user_id\":\"{tenant}\"")) && text.contains(home);
        tally.judge(row, "who it is in the list", tenant, named, sees == Some(true));
        let kicked = || hub.kick_for(claims, members[at]);
        if sees != Some(true) {
            tally.judge(row, "closing", tenant, kicked() == Kick::Closed, false);
        }
    }
    for to in AUDIENCES {
        let to_audience = audience(to, &members);
        let kind = event(to, &members).kind().clone();
        let explained = hub.explain(claims, kind, to_audience.clone());
        tally.judge(row, "explain", to, explained.is_ok(), oracle::explains(row, to));
        for (at, tenant) in ["a", "b"].into_iter().enumerate() {
            let sees = explained.as_ref().is_ok_and(|rows| rows.iter().any(|row| row.connection_id == members[at]));
            let due = oracle::explains(row, to) && oracle::sees(row, tenant).is_some();
            tally.judge(row, "explain's rows", &format!("{to} {tenant}"), sees, due);
        }
        if to_audience.is_part() {
            continue;
        }
        let (kind, data) = match to.strip_prefix("adw:") {
            Some(run) => ("adw.text_block", json!({"adw_id": run, "content": "x"})),
            None => ("_matrix.note", json!({})),
        };
        let publication =
            Publication::decode(&json!({"type": kind, "to": to_audience.to_string(), "data": data}).to_string());
        let outcome = hub.publish(&principal, vec![publication]).await.unwrap().remove(0);
        tally.judge(row, "publishing", to, outcome.is_ok(), oracle::publishes(row, to));
        if let Err(error) = outcome {
            // The refusal names what the publisher named and nothing more.
            let message = error.message.replace(&to_audience.to_string(), "");
            let told = [HOME_A, HOME_B, &members[0].to_string(), &members[1].to_string()]
                .iter()
                .any(|id| message.contains(*id));
            tally.judge(row, "error text", to, told || error.code != ErrorCode::Forbidden, false);
        }
    }
    // A connection that does not exist is refused in the same words.
    let nowhere = Audience::Connection(ConnectionId::from_u64(u64::MAX));
    for to in [audience("connection:b", &members), nowhere] {
        let refused = hub.may_publish(claims, &to).err().map(|error| error.message.replace(&to.to_string(), ""));
        let words = if claims.may(Permission::Publish) {
            "your credentials do not reach "
        } else {
            "your credentials do not allow publishing"
        };
        if oracle::sees(row, "b") != Some(true) {
            tally.judge(row, "error text", "connection", refused.as_deref() != Some(words), false);
        }
    }
}

#[tokio::test]
async fn auth_15_a_matrix_of_principals_audiences_and_paths_agrees_with_the_table() {
    let mut tally = Tally::default();
    for row in ROWS {
        judge(row, &mut tally).await;
    }
    assert!(tally.wrong.is_empty(), "{} of {}: {:#?}", tally.wrong.len(), tally.cases, tally.wrong);
    assert!(tally.cases >= 300, "{}", tally.cases);
}

// ---------------------------------------------------------------------------------------------------------------
// Over real sockets
// ---------------------------------------------------------------------------------------------------------------

/// A gateway with a file of version 2: an operator, and for each tenant a user, an observer and a publisher who is confined to it.
fn tenants() -> (Gateway, tempfile::TempDir, impl Fn(&str) -> String) {
    let mut file = "version = 2\n".to_owned();
    let mut key = |name: &str, rest: &str| {
        let digest = eventwire_hub::KeyDigest::of(&format!("key-of-{name}"));
        file.push_str(&format!("[[key]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n{rest}\n"));
    };
    let all = "adws = [\"*\"]\nrooms = [\"*\"]\nsessions = [\"*\"]\nusers = [\"*\"]\nbrowser_sessions = [\"*\"]\nglobal = true";
    key("operator", &format!("permissions = [\"publish\", \"observe\", \"admin\"]\n{all}"));
    for tenant in ["a", "b"] {
        let own = format!("adws = [\"{}\"]\nrooms = [\"{tenant}\"]\nsessions = [\"{tenant}\"]", tenant.repeat(8));
        key(&format!("user-{tenant}"), &format!("user = \"{tenant}\"\n{own}"));
        key(
            &format!("staff-{tenant}"),
            &format!("permissions = [\"publish\", \"observe\", \"admin\"]\nusers = [\"{tenant}\"]\n{own}"),
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    std::fs::write(&path, file).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let gateway = Gateway::start(&["--api-keys-file", path.to_str().unwrap()]);
    (gateway, directory, |name: &str| format!("Bearer key-of-{name}"))
}

async fn publish(gateway: &Gateway, bearer: &str, to: &str) -> u16 {
    let headers = [("content-type", "application/json"), ("authorization", bearer)];
    let event = json!({"type": "_matrix.note", "to": to, "data": {"secret": "of tenant b"}});
    ask(gateway.address, Method::POST, "/v1/events", &headers, event.to_string()).await.status
}

#[tokio::test]
async fn auth_15_on_real_sockets_a_tenant_reaches_nothing_of_another() {
    let (gateway, _directory, bearer) = tenants();
    let open = async |name: &str, query: &str| {
        let authorization = bearer(name);
        Socket::open_with(&gateway, query, &[("authorization", &authorization)]).await.unwrap()
    };
    let of_b = ["user:b", "room:b", "session:b", &format!("session:{HOME_B}")];
    let mut user_b = open("user-b", "?room=b&context=b").await;
    let id_b = user_b.event().await["data"]["connection_id"].as_str().unwrap().to_owned();
    user_b.events_until(|event| event["type"] == "connection.subscribed").await;
    let mut staff_a = open("staff-a", "?observe=1").await;
    staff_a.events_until(|event| event["type"] == "connection.subscribed").await;

    // Published by the operator: B has it, A's observer has only its own.
    for to in of_b.iter().chain(&["user:a", "room:a"]) {
        assert_eq!(publish(&gateway, &bearer("operator"), to).await, 202, "{to}");
    }
    let seen = staff_a.events_until(|event| event["to"] == "room:a").await;
    let told: Vec<&str> = seen
        .iter()
        .filter(|event| event["type"] == "_matrix.note")
        .map(|event| event["to"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["user:a", "room:a"], "{seen:?}");
    let told: Vec<Value> = user_b.events_until(|event| event["to"] == "session:b").await;
    assert!(told.iter().any(|event| event["to"] == "user:b"), "{told:?}");

    // From the beginning, by name, and as an observer who came late.
    let mut late = open("staff-a", "").await;
    let targets: Vec<Value> =
        ["*", "room:b", "session:b", "user:b", "adw:bbbbbbbb"].map(|to| json!({"to": to, "since": 0})).into();
    late.command("subscribe", json!({"streams": targets})).await;
    let replayed =
        late.events_until(|event| event["type"] == "connection.recovered" && event["data"]["stream"] == "*").await;
    assert!(
        !replayed
            .iter()
            .any(|event| event.to_string().contains("of tenant b") && event["to"].as_str().unwrap().ends_with('b')),
        "{replayed:?}"
    );

    // Publishing.
    for (to, status) in of_b.iter().map(|to| (*to, 422)).chain([("global", 422), ("room:a", 202), ("user:a", 202)]) {
        assert_eq!(publish(&gateway, &bearer("staff-a"), to).await, status, "{to}");
    }
    assert_eq!(publish(&gateway, &bearer("staff-a"), &format!("connection:{id_b}")).await, 422);

    // Asking: every answer that A's staff gets is free of B's names.
    let names_b = [id_b.as_str(), "\"user_id\":\"b\"", "room:b", "session:b", "user-b"];
    let staff = bearer("staff-a");
    let get = async |path: &str| ask(gateway.address, Method::GET, path, &[("authorization", &staff)], "").await;
    for path in ["/v1/connections", "/metrics", "/v1/agents", "/v1/explain?type=_matrix.note&to=room:a"] {
        let answer = get(path).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{path}: {text}");
        for name in names_b {
            assert!(!text.contains(name), "{path} names {name}: {text}");
        }
    }
    assert_eq!(
        get("/v1/connections").await.json()["count"],
        0,
        "no connection has anything that the grants of A reach"
    );
    for to in of_b.iter().chain(&["global"]) {
        assert_eq!(get(&format!("/v1/explain?type=_matrix.note&to={to}")).await.status, 403, "{to}");
    }
    let closing = async |id: &str, bearer: &str| {
        ask(gateway.address, Method::DELETE, &format!("/v1/connections/{id}"), &[("authorization", bearer)], "").await
    };
    let (theirs, nobodys) = (closing(&id_b, &staff).await, closing("cffffffffffffffff", &staff).await);
    assert_eq!((theirs.status, nobodys.status), (404, 404));
    assert_eq!(theirs.json()["error"], nobodys.json()["error"], "what is out of reach looks like what is not there");
    let headers = [("content-type", "application/json"), ("authorization", staff.as_str())];
    for body in [r#"{"user":"b"}"#, r#"{"token":"user-b"}"#] {
        let answer = ask(gateway.address, Method::POST, "/v1/revocations", &headers, body).await;
        assert_eq!(answer.status, 403, "{body}");
    }
    assert_eq!(closing(&id_b, &bearer("staff-b")).await.status, 204);
    assert_eq!(user_b.close_code().await, Some(1008));
}

/// What the keys of [`tenants`] reach.
const KEY_ROWS: &[Row] = &[
    Row {
        permissions: &[],
        user: Some("a"),
        ..row("user-a", Made::Key(2, ""), &["adw:aaaaaaaa", "room:a", "session:a"])
    },
    Row {
        permissions: &[],
        user: Some("b"),
        ..row("user-b", Made::Key(2, ""), &["adw:bbbbbbbb", "room:b", "session:b"])
    },
    row("staff-a", Made::Key(2, ""), &["adw:aaaaaaaa", "room:a", "session:a", "user:a"]),
    row("operator", Made::Key(2, ""), EVERYTHING),
];

/// A client of one of the transports.
enum Client {
    WebSocket(Socket),
    Sse(Source),
    SocketIo(WebSocketStream<MaybeTlsStream<TcpStream>>),
}

const TRANSPORTS: &[&str] = &["websocket", "sse", "socketio"];

/// The query that asks for everything that can be asked for by name.
const WANTED_QUERY: &str = "?observe=1&room=a,b&context=a,b&adw=aaaaaaaa,bbbbbbbb";

impl Client {
    /// Connects and asks for everything: over an event stream from a cursor on, over a socket from the beginning.
    async fn open(gateway: &Gateway, transport: &str, name: &str, cursor: Option<&str>) -> Self {
        let bearer = format!("Bearer key-of-{name}");
        let headers = [("authorization", bearer.as_str())];
        let names = ["user:a", "user:b", "global", &format!("session:{HOME_A}"), &format!("session:{HOME_B}")];
        let targets = WANTED.iter().chain(&names).map(|to| json!({"to": to, "since": 0}));
        let subscribe = json!({"type": "subscribe", "data": {"streams": targets.collect::<Vec<_>>()}});
        match transport {
            "websocket" => {
                let mut socket = Socket::open_with(gateway, "", &headers).await.unwrap();
                socket.send_text(subscribe.to_string()).await;
                Self::WebSocket(socket)
            }
            "sse" => Self::Sse(Source::open_with(gateway, WANTED_QUERY, cursor, &headers).await),
            _ => {
                let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", gateway.address);
                let (mut socket, _) = soon("a handshake", tokio_tungstenite::connect_async(url)).await.unwrap();
                let connect = format!("40/v1,{}", json!({"token": format!("key-of-{name}")}));
                socket.send(Message::text(connect)).await.unwrap();
                // An event before the answer would end the session.
                let is_answer = |packet: &Message| packet.to_text().is_ok_and(|packet| packet.starts_with("40/v1,"));
                while !is_answer(&soon("an answer", socket.next()).await.unwrap().unwrap()) {}
                socket.send(Message::text(format!("42/v1,{}", json!(["command", subscribe])))).await.unwrap();
                Self::SocketIo(socket)
            }
        }
    }

    async fn event(&mut self) -> Value {
        match self {
            Self::WebSocket(socket) => socket.event().await,
            Self::Sse(source) => source.next().await.unwrap(),
            Self::SocketIo(socket) => loop {
                let packet = soon("a packet", socket.next()).await.unwrap().unwrap();
                let Message::Text(packet) = packet else { panic!("{packet:?}") };
                assert!(!packet.starts_with("44"), "{packet}");
                if packet.as_str() == "2" {
                    socket.send(Message::text("3")).await.unwrap();
                }
                if let Some(event) = packet.strip_prefix("42/v1,") {
                    return serde_json::from_str::<Value>(event).unwrap()[1].take();
                }
            },
        }
    }
}

/// An event that names what it is for.
fn marked(marker: &str, to: &str) -> Value {
    let full = to.replace("~a", HOME_A).replace("~b", HOME_B);
    match to.strip_prefix("adw:") {
        Some(run) => json!({"type": "adw.text_block", "to": full, "data": {"adw_id": run, "content": marker}}),
        None => json!({"type": "_matrix.note", "to": full, "data": {"content": marker}}),
    }
}

#[tokio::test]
async fn auth_15_over_every_transport_each_principal_receives_what_the_table_says() {
    let (gateway, _directory, bearer) = tenants();
    let operator = bearer("operator");
    let headers = [("content-type", "application/json"), ("authorization", operator.as_str())];
    let publish = async |event: &Value| {
        let answer = ask(gateway.address, Method::POST, "/v1/events", &headers, event.to_string()).await;
        assert_eq!(answer.status, 202, "{event}: {}", String::from_utf8_lossy(&answer.body));
    };
    let wholes: Vec<&str> =
        AUDIENCES.iter().filter(|to| !to.contains('/') && !to.starts_with("connection:")).copied().collect();
    let mut tally = Tally::default();
    for row in KEY_ROWS {
        for transport in TRANSPORTS {
            let round = format!("{} {transport}", row.name);
            // Where an event stream begins that comes back later.
            let mut cursor = None;
            if *transport == "sse" {
                let Client::Sse(mut source) = Client::open(&gateway, "sse", row.name, None).await else { panic!() };
                while source.next().await.unwrap()["type"] != "connection.subscribed" {}
                cursor = source.cursor;
            }
            for to in &wholes {
                publish(&marked(&format!("{round} replay"), to)).await;
            }
            for user in ["a", "b"] {
                let data = json!({"document_id": "d", "status": "processing", "message": format!("{round} value")});
                publish(&json!({"type": "document.status", "to": format!("user:{user}"), "data": data})).await;
            }
            let mut client = Client::open(&gateway, transport, row.name, cursor.as_deref()).await;
            let mut seen = Vec::new();
            let (mut id, mut fenced, mut replays) = (String::new(), false, 0);
            while !fenced || replays > 0 {
                let event = client.event().await;
                match event["type"].as_str().unwrap() {
                    "connection.welcome" => id = event["data"]["connection_id"].as_str().unwrap().to_owned(),
                    "connection.subscribed" => {
                        for to in &wholes {
                            publish(&marked(&format!("{round} live"), to)).await;
                        }
                        let to = format!("connection:{id}");
                        publish(&json!({"type": "_matrix.fence", "to": to, "data": {}})).await;
                    }
                    "connection.replaying" => replays += 1,
                    "connection.recovered" => replays -= 1,
                    "_matrix.fence" => fenced = true,
                    _ => seen.push(event),
                }
            }
            let came = |path: &str, to: &str| {
                let to = to.replace("~a", HOME_A).replace("~b", HOME_B);
                let marker = format!("{round} {path}");
                let is_it = |event: &Value| {
                    let data = &event["data"];
                    event["to"] == to && (data["content"] == marker || data["message"] == marker)
                };
                seen.iter().any(is_it)
            };
            for to in &wholes {
                for path in ["replay", "live"] {
                    let due = oracle::receives(row, to);
                    tally.judge(row, &format!("{path} over {transport}"), to, came(path, to), due);
                }
            }
            for to in ["user:a", "user:b"] {
                let due = oracle::receives(row, to);
                tally.judge(row, &format!("newest value over {transport}"), to, came("value", to), due);
            }
        }
    }
    assert!(tally.wrong.is_empty(), "{} of {}: {:#?}", tally.wrong.len(), tally.cases, tally.wrong);
    assert!(tally.cases >= 300, "{}", tally.cases);
}

#[tokio::test]
async fn auth_16_the_head_that_a_subscriber_is_told_does_not_count_private_messages() {
    let hub = Hub::new();
    let anyone = hub.authenticate(&Credentials::default()).await.unwrap();
    let members = [ConnectionId::from_u64(1), ConnectionId::from_u64(2)];
    let head = async |target: &str| {
        let mut client = hub.connect(ConnectRequest::new(anyone.clone(), "memory")).await.unwrap();
        let command = json!({"type": "subscribe", "data": {"streams": [{"to": target}]}});
        client.receive(command.to_string().as_bytes()).await;
        loop {
            let Outgoing::Frames(frames) = soon("an answer", client.next()).await else { continue };
            let frames = frames.iter().map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap());
            let answer = frames.into_iter().find(|frame| frame["type"] == "connection.subscribed");
            if let Some(answer) = answer {
                return answer["data"]["streams"][0]["head"].as_u64().unwrap();
            }
        }
    };
    // One history with a private message in the context, then one event elsewhere: both targets are told the same.
    hub.append(vec![event("session:b/private/b", &members), event("room:a", &members)], Vec::new()).await.unwrap();
    assert_eq!((head("session:b").await, head("session:a").await, head("room:a").await), (2, 2, 2));
}

// ---------------------------------------------------------------------------------------------------------------
// The command line
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn auth_15_a_confined_key_reaches_no_kind_that_it_does_not_name() {
    let entry = |arguments: &[&str]| common::api_key(arguments)["entry"].take();
    let everything = entry(&[]);
    assert_eq!(everything["users"], json!(["*"]));
    assert_eq!((&everything["browser_sessions"], &everything["global"]), (&json!(["*"]), &json!(true)));
    let room = entry(&["--room", "tasks"]);
    assert_eq!((&room["rooms"], &room["users"]), (&json!(["tasks"]), &json!([])));
    assert_eq!((&room["browser_sessions"], &room["global"]), (&json!([]), &json!(false)));
    let named = entry(&["--users", "ada,bob", "--browser-session", HOME_A, "--global"]);
    assert_eq!((&named["users"], &named["browser_sessions"]), (&json!(["ada", "bob"]), &json!([HOME_A])));
    assert_eq!(named["global"], true);
    assert_eq!(run(&["api-key", "--browser-session", "planning"], "").code, Some(2));
}

#[test]
fn auth_15_an_older_file_is_warned_about_and_upgraded_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    let before = format!("# Ours.\n{}", entry(1, "rooms = [\"a\"] # one room"));
    std::fs::write(&file, &before).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let path = file.to_str().unwrap();
    let warned = |stderr: &str| stderr.lines().filter(|line| line.contains("api-key --upgrade")).count();
    let starts = || Gateway::start(&["--api-keys-file", path]).start_block.clone();
    assert_eq!(warned(&starts()), 1);

    let done = run(&["api-key", "--upgrade", path], "");
    assert_eq!(done.code, Some(0), "{done:?}");
    let after = std::fs::read_to_string(&file).unwrap();
    assert!(after.contains("version = 2") && after.contains("# Ours.") && after.contains("# one room"), "{after}");
    let principals =
        |text: &str| api_keys::read(text).unwrap().into_iter().map(|key| key.principal).collect::<Vec<_>>();
    assert_eq!(principals(&after), principals(&before));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(warned(&starts()), 0);
    let again = run(&["api-key", "--upgrade", path], "");
    assert_eq!((again.code, std::fs::read_to_string(&file).unwrap()), (Some(0), after));
    assert_eq!(run(&["api-key", "--upgrade", "/nowhere/keys.toml"], "").code, Some(2));
}

#[test]
fn auth_17_where_product_demo_and_tokens_both_name_users_the_operator_says_whether_they_are_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, secret) = (directory.path().join("keys.toml"), directory.path().join("secret"));
    std::fs::write(&keys, entry(2, "")).unwrap();
    std::fs::write(&secret, SECRET).unwrap();
    for file in [&keys, &secret] {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let both = ["--api-keys-file", keys.to_str().unwrap(), "--product-jwt-key-file", secret.to_str().unwrap()];
    let refused = run(&[&["serve", "--listen", "127.0.0.1:0"], &both[..]].concat(), "");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("product_users") && refused.stderr.trim_end().lines().count() == 1, "{refused:?}");
    for (word, note) in [("same", "product_users = same"), ("separate", "product_users = separate")] {
        let gateway = Gateway::start(&[&both[..], &["--product-users", word]].concat());
        assert!(gateway.start_block.contains(note), "{}", gateway.start_block);
    }
}
