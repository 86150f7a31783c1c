//! Events as the back ends of the older systems build them: whom they go to, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_http::{Api, Fallback};
use eventwire_hub::{ConnectRequest, Connection, Hub, Outgoing, Principal, Receipt, Secret};
use eventwire_protocol::{Claims, Dialect, ErrorBody, EventKind, Publication, dialect::Adopted};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

const COOKIE: &str = "5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11";

struct Answer {
    status: u16,
    body: Value,
    text: String,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The code of each result; empty for one that was taken.
    fn codes(&self) -> Vec<&str> {
        let results = self.body["results"].as_array().unwrap_or_else(|| panic!("{}", self.text));
        results.iter().map(|result| result["error"]["code"].as_str().unwrap_or_default()).collect()
    }
}

async fn post(api: &Api, query: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    ask(api, &format!("/v1/events{query}"), headers, "application/json", body.to_string()).await
}

async fn ask(api: &Api, target: &str, headers: &[(&str, &str)], media: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::post(target).header("host", "localhost").header("content-type", media);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = api.answer(request.body(Full::new(body.into())).unwrap(), None).await;
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    Answer { status: response.status().as_u16(), body: serde_json::from_str(&text).unwrap(), text }
}

/// A canonical client of a user, a browser or a context.
async fn watch(hub: &Hub, user: Option<&str>, cookie: Option<&str>, target: Option<&str>) -> Connection {
    let claims = Claims { user: user.map(|user| user.parse().unwrap()), ..Claims::anonymous() };
    let mut request = ConnectRequest::new(Principal::new("watcher", claims), "memory");
    request.home = cookie.map(|cookie| hub.browser_session(&Secret::new(cookie)));
    request.targets = target.map(str::to_owned).into_iter().collect();
    hub.connect(request).await.unwrap()
}

/// What a connection has been sent since it was last asked, without what the server says itself.
async fn until_end(hub: &Hub, connection: &mut Connection) -> Vec<Value> {
    static ENDS: AtomicU64 = AtomicU64::new(0);
    let number = ENDS.fetch_add(1, Ordering::Relaxed);
    let end = json!({"type": "_test.end", "to": "global", "data": {"number": number}}).to_string();
    let principal = Principal::new("publisher", Claims::loopback());
    hub.publish(&principal, vec![Publication::decode(&end)]).await.unwrap();
    let mut seen: Vec<Value> = Vec::new();
    while seen.last().is_none_or(|event| event["data"]["number"] != number) {
        let Outgoing::Frames(frames) = connection.next().await else { panic!("no frames") };
        seen.extend(frames.iter().map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap()));
    }
    let own =
        |event: &Value| !["connection.", "_test."].iter().any(|it| event["type"].as_str().unwrap().starts_with(it));
    seen.retain(own);
    seen
}

fn wait(text: &str) -> Value {
    json!({"type": "wait", "content": text, "timestamp": 1_762_500_000.25})
}

fn document(id: &str) -> Value {
    json!({"type": "document_status", "documentId": id, "status": "PROCESSING", "progress": 30, "message": "m"})
}

#[tokio::test]
async fn http_11_a_frame_of_an_older_back_end_goes_where_header_or_query_say_and_nowhere_else() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut owner = watch(&hub, Some("42"), None, None).await;
    let mut stranger = watch(&hub, Some("43"), None, None).await;
    let answer = post(&api, "?dialect=product", &[("eventwire-to", "user:42")], &document("doc-1")).await;
    assert_eq!((answer.status, answer.codes()), (202, vec![""]));
    assert_eq!(answer.body["results"][0]["type"], "document.status");
    assert_eq!(answer.body["results"][0]["to"], "user:42");
    let answer = post(&api, "?dialect=product&to=user%3A42", &[], &json!([document("doc-2"), document("doc-3")])).await;
    assert_eq!((answer.status, answer.codes()), (202, vec!["", ""]));
    let lines = format!("{}\n{}\n", document("doc-4"), document("doc-5"));
    let to = &[("eventwire-to", "user:42")];
    let answer = ask(&api, "/v1/events?dialect=product_nested", to, "application/x-ndjson", lines).await;
    assert_eq!((answer.status, answer.codes()), (202, vec!["", ""]));
    let documents: Vec<Value> =
        until_end(&hub, &mut owner).await.iter().map(|event| event["data"]["document_id"].clone()).collect();
    assert_eq!(documents, ["doc-1", "doc-2", "doc-3", "doc-4", "doc-5"]);
    assert_eq!(until_end(&hub, &mut stranger).await, Vec::<Value>::new());
}

#[tokio::test]
async fn http_11_the_cookie_of_a_browser_names_its_session_and_is_never_repeated() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut tabs = [watch(&hub, None, Some(COOKIE), None).await, watch(&hub, None, Some(COOKIE), None).await];
    let mut stranger = watch(&hub, None, Some("another"), None).await;
    let answer = post(&api, "?dialect=monadic", &[("eventwire-session", COOKIE)], &wait("Thinking")).await;
    assert_eq!((answer.status, answer.codes()), (202, vec![""]));
    for tab in &mut tabs {
        let seen = until_end(&hub, tab).await;
        assert_eq!((&seen[0]["type"], &seen[0]["data"]["content"]), (&json!("chat.wait"), &json!("Thinking")));
        assert_eq!(seen[0]["time"], "2025-11-07T07:20:00.25Z");
        assert_eq!(seen.len(), 1);
        assert!(!seen[0].to_string().contains(COOKIE));
    }
    assert_eq!(until_end(&hub, &mut stranger).await, Vec::<Value>::new());
    assert!(!answer.text.contains(COOKIE));
    // The id of the session, as commands carry it, does as well.
    let session = hub.browser_session(&Secret::new(COOKIE));
    let by_id = post(&api, "?dialect=monadic", &[("eventwire-to", &format!("session:{session}"))], &wait("x")).await;
    assert_eq!(by_id.status, 202);
    assert_eq!(until_end(&hub, &mut tabs[0]).await.len(), 1);
}

#[tokio::test]
async fn http_11_a_frame_that_says_whom_it_is_for_is_not_sent_to_somebody_else() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut browser = watch(&hub, None, Some(COOKIE), None).await;
    let voices = json!({"type": "elevenlabs_voices", "content": [{"voice_id": "v1", "name": "Rachel"}]});
    let answer = post(&api, "?dialect=monadic", &[], &voices).await;
    assert_eq!((answer.status, &answer.body["results"][0]["to"]), (202, &json!("global")));
    let to = &[("eventwire-to", "global")];
    assert_eq!(post(&api, "?dialect=monadic", to, &voices).await.status, 202, "both say the same");
    let answer = post(&api, "?dialect=monadic", &[("eventwire-session", COOKIE)], &voices).await;
    assert_eq!((answer.status, answer.codes()), (422, vec!["subject_mismatch"]));
    assert!(!answer.text.contains(COOKIE) && !answer.text.contains('~'), "{}", answer.text);
    assert_eq!(until_end(&hub, &mut browser).await.len(), 1, "the newest list, once");
    // What the catalog does not allow, no header does.
    let answer = post(&api, "?dialect=product", to, &document("doc-1")).await;
    assert_eq!((answer.status, answer.codes()), (422, vec!["audience_not_allowed"]));
}

#[tokio::test]
async fn http_11_and_route_07_without_a_target_nothing_is_published_unless_the_system_knows_one() {
    /// Publishes events of Monadic Chat to one user, and knows nobody for others.
    struct OneUser(Hub, Mutex<Vec<Dialect>>);

    #[async_trait]
    impl Fallback for OneUser {
        async fn publish(
            &self,
            principal: &Principal,
            dialect: Dialect,
            event: Adopted,
        ) -> Option<Result<Receipt, ErrorBody>> {
            self.1.lock().unwrap().push(dialect);
            if dialect != Dialect::Monadic {
                return None;
            }
            let session = self.0.browser_session(&Secret::new(COOKIE));
            let publication = Publication {
                kind: EventKind::Known(event.kind),
                to: format!("session:{session}").parse().unwrap(),
                data: serde_json::value::to_raw_value(&event.data).unwrap(),
                time: event.time,
                id: None,
                expected_prev: None,
                modifiers: Default::default(),
            };
            self.0.publish(principal, vec![Ok(publication)]).await.ok()?.pop()
        }

        fn silences(&self, _: Dialect, event: &Adopted) -> bool {
            event.data["content"] == "Silent"
        }
    }

    let hub = Hub::new();
    let api = Api::new(hub.clone());
    for (query, event, names) in
        [("?dialect=product", document("doc-1"), "user:<id>"), ("?dialect=monadic", wait("x"), "Eventwire-Session")]
    {
        let answer = post(&api, query, &[], &event).await;
        assert_eq!((answer.status, answer.codes()), (422, vec!["missing_target"]));
        assert!(answer.text.contains(names), "{}", answer.text);
    }
    let fallback = Arc::new(OneUser(hub.clone(), Mutex::default()));
    let api = api.fallback(fallback.clone());
    let mut browser = watch(&hub, None, Some(COOKIE), None).await;
    let voices = json!({"type": "elevenlabs_voices", "content": []});
    let mixed = json!([voices, {"type": "cancel"}, {"type": "nothing"}, {"type": "streaming_complete"}]);
    let answer = post(&api, "?dialect=monadic", &[], &mixed).await;
    assert_eq!((answer.status, answer.codes()), (202, vec!["", "", "unknown_type", ""]));
    let seen = until_end(&hub, &mut browser).await;
    let types: Vec<&str> = seen.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["chat.voices", "chat.cancel", "chat.streaming_complete"], "in the order of the request");
    assert_eq!(post(&api, "?dialect=product", &[], &document("doc-1")).await.codes(), ["missing_target"]);
    // What is switched off is taken, and nobody is told.
    let silent = json!([wait("Silent"), wait("Loud")]);
    let answer = post(&api, "?dialect=monadic", &[("eventwire-session", COOKIE)], &silent).await;
    assert_eq!((answer.status, answer.codes()), (202, vec!["", ""]));
    let seen = until_end(&hub, &mut browser).await;
    assert_eq!((seen.len(), &seen[0]["data"]["content"]), (1, &json!("Loud")));
    assert_eq!(*fallback.1.lock().unwrap(), [Dialect::Monadic, Dialect::Monadic, Dialect::Product]);
}

#[tokio::test]
async fn http_11_an_event_in_a_context_keeps_its_visibility() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut somebody = watch(&hub, Some("bob"), None, Some("session:s1")).await;
    let message = |visibility: &str| {
        json!({"type": "new_message", "data": {"id": 1, "sender": "alice", "content": "hello",
            "visibility": visibility, "timestamp": "2025-08-13T10:00:00+00:00"}})
    };
    let to = &[("eventwire-to", "session:s1")];
    let both = json!([message("private"), message("public")]);
    let answer = post(&api, "?dialect=shared_context", to, &both).await;
    assert_eq!((answer.status, answer.codes()), (202, vec!["", ""]), "{}", answer.text);
    let seen = until_end(&hub, &mut somebody).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["data"]["visibility"], "public");
    let part = &[("eventwire-to", "session:s1/private/alice")];
    assert_eq!(post(&api, "?dialect=shared_context", part, &message("public")).await.status, 400);
}

#[tokio::test]
async fn http_11_one_event_may_have_a_key_of_its_own() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let headers = &[("eventwire-to", "user:42"), ("eventwire-id", "key-1")];
    let chunk =
        json!({"type": "message_chunk", "messageId": "m", "sessionId": "s", "content": "Hel", "isComplete": false});
    let first = post(&api, "?dialect=product", headers, &chunk).await;
    let again = post(&api, "?dialect=product", headers, &chunk).await;
    assert_eq!((first.status, &first.body), (202, &again.body));
    let mut other = chunk.clone();
    other["content"] = "lo".into();
    assert_eq!(post(&api, "?dialect=product", headers, &other).await.codes(), ["conflict"]);
    let both = post(&api, "?dialect=product", headers, &json!([chunk, other])).await;
    assert_eq!((both.status, both.code()), (400, "invalid_payload"));
}

#[tokio::test]
async fn http_11_what_cannot_be_read_is_told_and_publishes_nothing() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let event = document("doc-1");
    let two = [("eventwire-to", "user:42"), ("eventwire-to", "user:43")];
    let long = "x".repeat(4_097);
    for (query, headers) in [
        ("?dialect=", &[][..]),
        ("?dialect=canonical", &[]),
        ("?dialect=nothing", &[]),
        ("?dialect=product&dialect=product", &[]),
        ("?dialect=product&from=me", &[]),
        ("?dialect=product&to=nobody", &[]),
        ("?dialect=product&to=user:42", &[("eventwire-to", "user:43")]),
        ("?dialect=product", &two),
        ("?dialect=product", &[("eventwire-to", "")]),
        ("?dialect=product", &[("eventwire-session", COOKIE)]),
        ("?dialect=monadic", &[("eventwire-session", "")]),
        ("?dialect=monadic", &[("eventwire-session", &long)]),
        ("?dialect=monadic&to=global", &[("eventwire-session", COOKIE)]),
        ("?dialect=product", &[("eventwire-id", "two words")]),
        ("?to=user:42", &[]),
        ("", &[("eventwire-to", "user:42")]),
        ("", &[("eventwire-session", COOKIE)]),
        ("", &[("eventwire-id", "key-1")]),
    ] {
        let answer = post(&api, query, headers, &event).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_payload"), "{query} {headers:?}");
        assert!(!answer.text.contains(COOKIE) && !answer.text.contains(&long));
    }
    let to = &[("eventwire-to", "user:42")];
    for (body, code) in [
        (json!({"type": "document_status"}), "invalid_payload"),
        (json!({"type": "invented"}), "unknown_type"),
        (json!({"type": "connection.error", "error": "x"}), "unknown_type"),
        (json!({"type": "error", "error": "x"}), "unknown_type"),
        (json!({"type": "pong"}), "unknown_type"),
        (json!([7]), "malformed_frame"),
    ] {
        let answer = post(&api, "?dialect=product", to, &body).await;
        assert_eq!((answer.status, answer.codes()), (422, vec![code]), "{body}");
    }
    let twice = r#"{"type":"document_status","type":"document_status"}"#;
    let answer = ask(&api, "/v1/events?dialect=product", to, "application/json", twice).await;
    assert_eq!((answer.status, answer.code()), (400, "duplicate_key"));
    let answer = ask(&api, "/v1/events?dialect=product", to, "text/plain", event.to_string()).await;
    assert_eq!((answer.status, answer.code()), (415, "unsupported_media_type"));
    assert_eq!(hub.head().await.unwrap().1.as_u64(), 0);
}

#[tokio::test]
async fn http_12_a_cookie_is_resolved_to_the_id_of_its_session_and_is_not_repeated() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let resolve = async |media: &str, body: &str| ask(&api, "/v1/sessions/resolve", &[], media, body.to_owned()).await;
    let answer = resolve("application/json", &json!({"cookie": COOKIE}).to_string()).await;
    let session = hub.browser_session(&Secret::new(COOKIE)).to_string();
    assert_eq!((answer.status, &answer.body), (200, &json!({"session_id": session})));
    assert!(session.starts_with('~') && !answer.text.contains(COOKIE));
    let long = json!({"cookie": "x".repeat(4_097)}).to_string();
    let huge = json!({"cookie": "x".repeat(20_000)}).to_string();
    let number = json!({"cookie": 5, "secret": COOKIE}).to_string();
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("{}", 422),
        (r#"{"cookie":""}"#, 422),
        (&*long, 422),
        (&*huge, 413),
        (&*number, 422),
        (r#""5f4c0b1e""#, 422),
    ] {
        let answer = resolve("application/json", body).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(!answer.text.contains("5f4c0b1e") && !answer.text.contains("xxxx"), "{}", answer.text);
    }
    assert_eq!(resolve("text/plain", &json!({"cookie": COOKIE}).to_string()).await.status, 415);
    assert_eq!(resolve("application/x-ndjson", &json!({"cookie": COOKIE}).to_string()).await.status, 415);
}
