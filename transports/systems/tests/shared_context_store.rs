//! What `get_messages` finds, held against a history that was never thrown away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod shared_context_common;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::{Holder, Tap as _};
use eventwire_protocol::{Claims, Committed, ContextId, Envelope, ErrorCode, Time};
use eventwire_systems::shared_context::{Bounds, ContextStore as _, DEADLINE, KeptStore, QueryStore};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared_context_common::{World, claims_of, kinds, text};
use tokio::net::TcpListener;

// ---------------------------------------------------------------------------------------------------------------
// What was published
// ---------------------------------------------------------------------------------------------------------------

const SENDERS: [&str; 3] = ["maria", "otto", "claude"];
const WORDS: [&str; 3] = ["public", "private", "agent_only"];
const VIEWERS: [&str; 4] = ["maria", "claude", "nameless", "newcomer"];
/// What `newcomer` is shown begins with the first message of this minute.
const BEGINNING: usize = 30;

#[derive(Clone, Debug)]
enum Step {
    Say { context: usize, id: u64, sender: usize, word: usize, minute: usize },
    Ask { context: usize, since: Option<u64>, viewer: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let say = (0..4_usize, 1..400_u64, 0..3_usize, 0..3_usize, 0..60_usize)
        .prop_map(|(context, id, sender, word, minute)| Step::Say { context, id, sender, word, minute });
    let ask = (0..4_usize, prop::option::of(0..400_u64), 0..4_usize).prop_map(|(context, since, viewer)| Step::Ask {
        context,
        since,
        viewer,
    });
    prop::collection::vec(prop_oneof![3 => say, 1 => ask], 1..160)
}

/// One message as the model has it.
#[derive(Clone, Debug)]
struct Said {
    id: u64,
    sender: &'static str,
    word: &'static str,
    minute: usize,
    lost: bool,
}

impl Said {
    /// The rule in its plainest words, of which the store has none of its own.
    fn is_for(&self, viewer: &str) -> bool {
        let seen = match self.word {
            "public" => true,
            "private" => self.sender == viewer,
            _ => self.sender == viewer || viewer == "claude",
        };
        seen && (viewer != "newcomer" || self.minute >= BEGINNING)
    }
}

/// Everything that was ever said, and which contexts were used last.
#[derive(Default)]
struct Model {
    said: Vec<Vec<Said>>,
    used: VecDeque<usize>,
}

impl Model {
    fn new() -> Self {
        Self { said: vec![Vec::new(); 4], used: VecDeque::new() }
    }

    fn use_context(&mut self, context: usize) {
        self.used.retain(|of| *of != context);
        self.used.push_back(context);
    }

    fn say(&mut self, context: usize, said: Said, bounds: &Bounds) {
        self.use_context(context);
        self.said[context].push(said);
        let kept = |said: &[Said]| said.iter().filter(|said| !said.lost).count();
        while kept(&self.said[context]) > bounds.messages {
            let lowest = self.said[context].iter_mut().filter(|said| !said.lost).min_by_key(|said| said.id);
            lowest.unwrap().lost = true;
        }
        while self.used.len() > bounds.contexts {
            let forgotten = self.used.pop_front().unwrap();
            self.said[forgotten].iter_mut().for_each(|said| said.lost = true);
        }
    }
}

fn event(context: usize, said: &Said) -> Committed {
    let time: Time = format!("2025-08-13T14:{:02}:00Z", said.minute).parse().unwrap();
    let payload = text(said.id, said.sender, said.word, &format!("{} in {context}", said.id));
    let envelope = Envelope::to_session(format!("s{context}").parse().unwrap(), &payload, time).unwrap();
    Committed::new(envelope, None)
}

/// What is asked of a store that never waits is there at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    /// Of random messages, in any order of numbers, with eviction of messages and of whole contexts: an answer holds the
    /// first 50 of what is kept, visible and new, and says that something is missing exactly when something is.
    #[test]
    fn ctx_07_an_answer_is_what_a_complete_history_would_give_of_what_is_kept(
        steps in steps(), messages in 1..80_usize, contexts in 1..4_usize,
    ) {
        let bounds = Bounds { messages, contexts, ..Bounds::default() };
        let store = KeptStore::new(bounds);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Say { context, id, sender, word, minute } => {
                    // A back end gives every message a number of its own.
                    if model.said[context].iter().any(|said| said.id == id) {
                        continue;
                    }
                    let said = Said { id, sender: SENDERS[sender], word: WORDS[word], minute, lost: false };
                    store.committed(&event(context, &said));
                    model.say(context, said, &bounds);
                }
                Step::Ask { context, since, viewer } => {
                    let viewer = VIEWERS[viewer];
                    let id: ContextId = format!("s{context}").parse().unwrap();
                    let found = now(store.messages(&id, since, &claims_of(viewer).unwrap())).unwrap();
                    if model.used.contains(&context) {
                        model.use_context(context);
                    }
                    let due = |said: &&Said| said.is_for(viewer) && since.is_none_or(|since| said.id > since);
                    let mut expected: Vec<&Said> = model.said[context].iter().filter(due).filter(|it| !it.lost).collect();
                    expected.sort_by_key(|said| said.id);
                    expected.truncate(50);
                    let ids: Vec<u64> = found.rows.iter().map(|row| row.id).collect();
                    prop_assert_eq!(ids, expected.iter().map(|said| said.id).collect::<Vec<_>>());
                    for (row, said) in found.rows.iter().zip(expected) {
                        prop_assert_eq!(&row.content, &format!("{} in {context}", said.id));
                    }
                    let missing = model.said[context].iter().filter(due).any(|said| said.lost);
                    if viewer == "newcomer" {
                        // Of what went only the latest time is known: it may be said too often, never too rarely.
                        prop_assert!(found.truncated || !missing);
                    } else {
                        prop_assert_eq!(found.truncated, missing, "{} {} {:?}", viewer, context, since);
                    }
                }
            }
        }
    }
}

#[test]
fn ctx_07_of_contexts_that_are_forgotten_altogether_it_is_said_that_messages_may_be_missing() {
    let store = KeptStore::new(Bounds { contexts: 1, past_floors: 2, ..Bounds::default() });
    let said = Said { id: 7, sender: "otto", word: "private", minute: 1, lost: false };
    let truncated = |context: &str, viewer: &str| {
        now(store.messages(&context.parse().unwrap(), Some(3), &claims_of(viewer).unwrap())).unwrap().truncated
    };
    assert!(!truncated("s0", "maria"));
    store.committed(&event(0, &said));
    store.committed(&event(1, &said));
    // Its floor is remembered, and is another's.
    assert!(!truncated("s0", "maria") && truncated("s0", "otto"));
    store.committed(&event(2, &said));
    assert!(truncated("s0", "maria") && truncated("never", "maria"));
    assert!(!truncated("s2", "maria"));
    assert!(now(store.session_info(&"s1".parse().unwrap())).unwrap().is_some());
}

#[test]
fn limit_14_a_publisher_with_many_contexts_takes_nothing_from_another() {
    let [one, other] = ["one", "other"].map(|name| Holder::Principal(name.into()));
    let (count, large) = (Bounds { contexts: 10, ..Bounds::default() }, Bounds { bytes: 40_000, ..Bounds::default() });
    let floors = Bounds { contexts: 4, past_floors: 40, ..Bounds::default() };
    for (what, bounds, length) in [("contexts", count, 1), ("bytes", large, 3_000), ("floors", floors, 1)] {
        let store = KeptStore::new(bounds);
        let publish = |holder: &Holder, context: usize, id: u64, content: &str| {
            let payload = text(id, "otto", "public", content);
            let session = format!("s{context}").parse().unwrap();
            let envelope = Envelope::to_session(session, &payload, Time::from_unix_micros(0)).unwrap();
            store.committed_for(&Committed::new(envelope, None), holder);
        };
        for context in 0..2 {
            publish(&one, context, 7, "mine");
        }
        for context in 2..100 {
            publish(&other, context, 1, &"x".repeat(length));
            publish(&other, context, 2, &"x".repeat(length));
        }
        let (contexts, bytes) = store.size();
        assert!(contexts <= bounds.contexts && bytes <= bounds.bytes, "{what}: {contexts} {bytes}");
        for context in 0..2 {
            let id: ContextId = format!("s{context}").parse().unwrap();
            let found = now(store.messages(&id, None, &claims_of("maria").unwrap())).unwrap();
            assert_eq!((found.rows.len(), found.truncated), (1, false), "{what}: context {context}");
        }
        // The publisher with the most lost its own, and its readers can tell.
        let id: ContextId = "s2".parse().unwrap();
        let found = now(store.messages(&id, None, &claims_of("maria").unwrap())).unwrap();
        assert_eq!((found.rows.len(), found.truncated), (0, true), "{what}");
    }
}

#[test]
fn ctx_07_a_message_that_is_published_again_for_other_eyes_is_no_longer_for_those_it_was_for() {
    let store = KeptStore::new(Bounds::default());
    let said = |word| Said { id: 7, sender: "otto", word, minute: 1, lost: false };
    let count = |viewer: &str| {
        now(store.messages(&"s0".parse().unwrap(), None, &claims_of(viewer).unwrap())).unwrap().rows.len()
    };
    store.committed(&event(0, &said("public")));
    assert_eq!((count("maria"), count("claude")), (1, 1));
    store.committed(&event(0, &said("agent_only")));
    assert_eq!((count("maria"), count("claude")), (0, 1));
    store.committed(&event(0, &said("private")));
    assert_eq!((count("maria"), count("claude")), (0, 0));
}

#[test]
fn ctx_07_more_private_parts_than_are_remembered_never_hide_that_something_is_missing() {
    let store = KeptStore::new(Bounds { messages: 1, ..Bounds::default() });
    let context: ContextId = "s".parse().unwrap();
    for id in 1..1_500_u64 {
        let payload = text(id, &format!("user{id}"), "private", "x");
        let envelope = Envelope::to_session("s".parse().unwrap(), &payload, Time::from_unix_micros(0)).unwrap();
        store.committed(&Committed::new(envelope, None));
    }
    let of = |user: &str| Claims { user: user.parse().ok(), ..Claims::anonymous() };
    let truncated = |claims: &Claims| now(store.messages(&context, None, claims)).unwrap().truncated;
    for id in [1, 1_000, 1_100, 1_400] {
        assert!(truncated(&of(&format!("user{id}"))), "{id}");
    }
    assert!(!truncated(&Claims::anonymous()));
}

// ---------------------------------------------------------------------------------------------------------------
// A back end to ask
// ---------------------------------------------------------------------------------------------------------------

/// How the back end misbehaves.
#[derive(Clone, Debug, Default)]
struct Manner {
    status: Option<StatusCode>,
    hangs: bool,
    says: Option<String>,
}

struct BackEnd {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl BackEnd {
    async fn start(rows: Vec<Value>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, rows) = (asked.clone(), Arc::new(rows));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, rows, manner) = (seen.clone(), rows.clone(), manner.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, rows, manner) = (seen.clone(), rows.clone(), manner.clone());
                    async move {
                        assert_eq!(request.uri().path(), "/query");
                        assert_eq!(request.headers()["content-type"], "application/json");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let question: Value = serde_json::from_slice(&body).unwrap();
                        seen.lock().unwrap().push(question.clone());
                        if manner.hangs {
                            tokio::time::sleep(Duration::from_secs(60)).await;
                        }
                        let said = manner.says.unwrap_or_else(|| answer(&question, &rows).to_string());
                        let mut response = Response::new(Full::new(Bytes::from(said)));
                        *response.status_mut() = manner.status.unwrap_or(StatusCode::OK);
                        Ok::<_, std::convert::Infallible>(response)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/query", self.address)
    }

    async fn world(rows: Vec<Value>, manner: Manner) -> (World, Self) {
        let back_end = Self::start(rows, manner).await;
        (World::asking(Arc::new(QueryStore::new(&back_end.url()).unwrap())), back_end)
    }
}

fn answer(question: &Value, rows: &[Value]) -> Value {
    let context = &question["session_id"];
    if question["query"] == "get_session_info" {
        return match context.as_str() {
            Some("s") => json!({"session": {
                "id": "s", "purpose": "Plan the new login page", "created_at": "2025-08-13 14:40:00", "is_active": 0,
                "updated_at": "2025-08-13T14:48:21.000000+00:00", "created_by": "maria", "metadata": "{\"a\":1}",
            }}),
            _ => json!({"session": null}),
        };
    }
    let since = question["since_id"].as_u64().unwrap_or(0);
    let new = rows.iter().filter(|row| row["id"].as_u64().is_none_or(|id| id > since));
    let limit = usize::try_from(question["limit"].as_u64().unwrap()).unwrap();
    json!({"messages": new.take(limit).collect::<Vec<_>>()})
}

fn row(id: u64, sender: &str, visibility: &str) -> Value {
    json!({
        "id": id, "session_id": "s", "sender": sender, "sender_type": "claude", "content": format!("message {id}"),
        "visibility": visibility, "message_type": "agent_response", "metadata": "{}",
        "timestamp": "2025-08-13 14:48:21", "parent_message_id": null,
    })
}

async fn ask_as(world: &World, token: &str, tool: &str, arguments: Value) -> Value {
    let mut client = world.join("/mcp/s", token).await;
    client.hear().await;
    client.client.send_text(json!({"tool": tool, "arguments": arguments}).to_string()).await.unwrap();
    let frame = tokio::time::timeout(Duration::from_secs(10), client.client.next_frame()).await;
    let frame = frame.expect("an answer").unwrap().value();
    assert_eq!(kinds(std::slice::from_ref(&frame)), ["tool_result"]);
    frame["result"].clone()
}

fn ids(result: &Value) -> Vec<u64> {
    result["messages"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn ctx_09_messages_come_from_the_back_end_and_the_limit_counts_what_the_asker_sees() {
    // 180 rows, of which only every third is for maria: more pages than one are needed.
    let word = |id: u64| if id.is_multiple_of(3) { "public" } else { "private" };
    let rows: Vec<Value> = (1..=180).map(|id| row(id, "otto", word(id))).collect();
    let (world, back_end) = BackEnd::world(rows, Manner::default()).await;
    let result = ask_as(&world, "maria", "get_messages", json!({"session_id": "s", "since_id": 3})).await;
    assert_eq!(ids(&result), (2..=51).map(|third| third * 3).collect::<Vec<u64>>());
    assert_eq!(result["messages"][0]["timestamp"], "2025-08-13T14:48:21.000000+00:00");
    let asked = back_end.asked.lock().unwrap().clone();
    assert_eq!(asked[0], json!({"query": "get_messages", "session_id": "s", "since_id": 3, "limit": 50}));
    assert_eq!(asked.iter().map(|question| question["since_id"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 53, 103]);
    let own = ask_as(&world, "otto", "get_messages", json!({"session_id": "s"})).await;
    assert_eq!(ids(&own), (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn ctx_09_a_row_that_is_wrong_or_of_another_context_is_shown_to_nobody() {
    let changed = |id: u64, member: &str, value: Value| {
        let mut row = row(id, "otto", "public");
        row[member] = value;
        row
    };
    let rows = vec![
        row(1, "otto", "public"),
        changed(2, "session_id", json!("t")),
        changed(3, "visibility", json!("admin_only")),
        changed(4, "visibility", Value::Null),
        changed(5, "sender", json!("a b")),
        changed(6, "content", json!(7)),
        json!("a row"),
        row(9, "otto", "public"),
        row(8, "otto", "public"),
        row(8, "otto", "public"),
    ];
    let (world, _back_end) = BackEnd::world(rows, Manner::default()).await;
    for token in ["maria", "claude", "otto"] {
        let result = ask_as(&world, token, "get_messages", json!({"session_id": "s"})).await;
        assert_eq!(ids(&result), [1, 8, 9], "{token}");
    }
}

#[tokio::test]
async fn ctx_09_the_back_end_says_whether_a_session_is_there_and_active() {
    let (world, _back_end) = BackEnd::world(Vec::new(), Manner::default()).await;
    let info = ask_as(&world, "maria", "get_session_info", json!({"session_id": "s"})).await;
    assert_eq!((&info["status"], &info["session"]["purpose"]), (&json!("inactive"), &json!("Plan the new login page")));
    assert_eq!(info["session"]["created_at"], "2025-08-13T14:40:00.000000+00:00");
    let missing = ask_as(&world, "maria", "get_session_info", json!({"session_id": "t"})).await;
    assert_eq!(missing, json!({"error": "Session not found", "session_id": "t"}));
}

#[tokio::test]
async fn ctx_09_a_back_end_that_does_not_answer_is_an_error_to_the_asker_and_to_nobody_else() {
    let fails = |status: Option<StatusCode>, says: &str| Manner { status, hangs: false, says: Some(says.into()) };
    for manner in [
        fails(Some(StatusCode::INTERNAL_SERVER_ERROR), "{\"messages\":[]}"),
        fails(None, "<html>"),
        fails(None, "{\"rows\":[]}"),
        fails(None, "[]"),
        Manner { hangs: true, ..Manner::default() },
    ] {
        let (world, _back_end) = BackEnd::world(Vec::new(), manner.clone()).await;
        let asked = tokio::time::Instant::now();
        let result = ask_as(&world, "maria", "get_messages", json!({"session_id": "s", "since_id": 4})).await;
        assert!(asked.elapsed() < DEADLINE + Duration::from_secs(3));
        assert!(result["error"].as_str().unwrap().contains("does not answer"), "{manner:?} {result}");
        assert_eq!((&result["messages"], &result["count"], &result["since_id"]), (&json!([]), &json!(0), &json!(4)));
        assert!(!result.to_string().contains("127.0.0.1"));
    }
    let unknown = fails(Some(StatusCode::NOT_FOUND), "");
    let (world, _back_end) = BackEnd::world(Vec::new(), unknown).await;
    let result = ask_as(&world, "maria", "get_messages", json!({"session_id": "s"})).await;
    assert_eq!((&result["count"], result.get("error")), (&json!(0), None));
}

#[test]
fn ctx_09_only_plain_http_is_asked() {
    for url in
        ["https://127.0.0.1/q", "ftp://x/", "127.0.0.1:80", "/query", "", "http://user:pass@127.0.0.1/q", "file:///x"]
    {
        assert_eq!(QueryStore::new(url).unwrap_err().code, ErrorCode::InvalidPayload, "{url}");
    }
    assert!(QueryStore::new("http://127.0.0.1:45678/query?key=1").is_ok());
}
