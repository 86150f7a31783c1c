//! The API without a socket: what each request is answered with, and what becomes of its events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use bytes::Bytes;
use eventwire_http::{Api, paths::ROUTES};
use eventwire_hub::{
    ApiKeys, ConnectRequest, Connection, Guard, Hub, KeyDigest, MemoryBounds, Outgoing, Principal, Settings,
};
use eventwire_protocol::{Claims, Permission, Scope};
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

struct Answer {
    status: u16,
    body: Value,
    response: Response<Bytes>,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

async fn send(api: &Api, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
    let response = api.answer(request.body(Full::new(body.into())).unwrap(), None).await;
    let body = if response.body().is_empty() { Value::Null } else { serde_json::from_slice(response.body()).unwrap() };
    let headers = response.headers();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers.get("content-type").map(|value| value.as_bytes()), (!body.is_null()).then_some(JSON.as_bytes()));
    Answer { status: response.status().as_u16(), body, response }
}

fn at(method: &str, target: &str) -> http::request::Builder {
    Request::builder().method(method).uri(target).header("host", "localhost:4800")
}

async fn get(api: &Api, target: &str) -> Answer {
    send(api, at("GET", target), "").await
}

async fn post(api: &Api, media: &str, body: impl Into<Bytes>) -> Answer {
    send(api, at("POST", "/v1/events").header("content-type", media), body).await
}

fn note(to: &str, n: usize) -> String {
    json!({"type": "_test.note", "to": to, "data": {"n": n}}).to_string()
}

async fn watch(hub: &Hub, target: &str) -> Connection {
    let principal = Principal::new("watcher", Claims::loopback());
    let mut request = ConnectRequest::new(principal, "memory");
    request.targets = vec![target.into()];
    hub.connect(request).await.unwrap()
}

/// The numbers in the notes that a connection has been sent.
async fn notes(connection: &mut Connection, until: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while !seen.contains(&until) {
        let Outgoing::Frames(frames) = connection.next().await else { panic!("no frames") };
        let values = frames.iter().map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap());
        seen.extend(
            values.filter(|event| event["type"] == "_test.note").map(|event| event["data"]["n"].as_u64().unwrap()),
        );
    }
    seen
}

fn keyed() -> Hub {
    let mut keys = ApiKeys::new();
    let anonymous = Claims::anonymous;
    for (key, claims) in [
        ("nothing", anonymous()),
        ("publisher", Claims { permissions: [Permission::Publish].into(), rooms: Scope::none(), ..anonymous() }),
        ("observer", Claims { permissions: [Permission::Observe].into(), ..anonymous() }),
        ("admin", Claims { permissions: [Permission::Admin].into(), ..anonymous() }),
    ] {
        keys.add(KeyDigest::of(key), Principal::new(key, claims)).unwrap();
    }
    Hub::builder().authenticator(keys).build()
}

#[tokio::test]
async fn http_01_one_event_an_array_and_lines_are_published_in_order_and_answered_in_order() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut watcher = watch(&hub, "room:x").await;
    let one = post(&api, JSON, note("room:x", 1)).await;
    assert_eq!((one.status, one.body), (202, json!({"results": [{"type": "_test.note", "to": "room:x", "seq": 1}]})));
    let many =
        post(&api, "Application/JSON; charset=UTF-8", format!(" [{},{}]\n", note("room:x", 2), note("room:x", 3)))
            .await;
    assert_eq!(many.status, 202);
    assert_eq!(many.body["results"][1]["seq"], 3);
    let lines = post(&api, LINES, format!("{}\r\n\n  \n{}", note("room:x", 4), note("room:x", 5))).await;
    assert_eq!((lines.status, lines.body["results"].as_array().unwrap().len()), (202, 2));
    assert_eq!(notes(&mut watcher, 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn http_01_a_refused_event_does_not_stop_the_others_and_all_refused_is_422() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut watcher = watch(&hub, "room:x").await;
    let body = [
        note("room:x", 1),
        r#"{"type":"_test.note","data":{}}"#.into(),
        r#"{"type":"adw.nope","to":"global","data":{}}"#.into(),
        r#"{"type":"adw.agent_deleted","to":"global","data":{"adw_id":"29fb6a3e"}}"#.into(),
        r#"{"type":"adw.agent_deleted","to":"adw:29fb6a3f","data":{"adw_id":"29fb6a3e"}}"#.into(),
        r#"{"type":"_test.note","to":"adw:../x","data":{}}"#.into(),
        r#"{"type":"_test.note","to":"room:x","data":{},"extra":1}"#.into(),
        r#"{"type":"connection.closing","to":"connection:c0000000000000001","data":{"reason":"x"}}"#.into(),
        note("room:x", 2),
    ];
    let codes = [
        "",
        "missing_target",
        "unknown_type",
        "audience_not_allowed",
        "subject_mismatch",
        "invalid_id",
        "malformed_frame",
        "audience_not_allowed",
        "",
    ];
    for (media, text) in [(JSON, format!("[{}]", body.join(","))), (LINES, body.join("\n"))] {
        let answer = post(&api, media, text).await;
        assert_eq!(answer.status, 202);
        let results = answer.body["results"].as_array().unwrap();
        let found: Vec<_> = results.iter().map(|result| result["error"]["code"].as_str().unwrap_or_default()).collect();
        assert_eq!(found, codes);
        assert_eq!(notes(&mut watcher, 2).await, [1, 2]);
    }
    let answer = post(&api, JSON, r#"{"type":"_test.note","data":{}}"#).await;
    assert_eq!((answer.status, answer.body["results"][0]["error"]["code"].as_str()), (422, Some("missing_target")));
}

#[tokio::test]
async fn http_01_an_unreadable_line_is_refused_alone_and_an_unreadable_document_whole() {
    let api = Api::new(Hub::new());
    let twice = r#"{"type":"_test.note","to":"room:x","data":{"a":1,"a":2}}"#;
    let answer = post(&api, LINES, format!("{}\n{{\n{twice}", note("room:x", 1))).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["results"][1]["error"]["code"], "malformed_frame");
    assert_eq!(answer.body["results"][2]["error"]["code"], "duplicate_key");
    for (body, code) in [
        (&b"{"[..], "malformed_frame"),
        (b"", "malformed_frame"),
        (b"[]", "malformed_frame"),
        (b"7", "malformed_frame"),
        (b"\"x\"", "malformed_frame"),
        (b"{} {}", "malformed_frame"),
        (b"[1,]", "malformed_frame"),
        (twice.as_bytes(), "duplicate_key"),
        (b"{\"type\":\"\xff\"}", "invalid_utf8"),
        (&[&b"{\"data\":"[..], &b"[".repeat(2_000)].concat(), "too_deep"),
        (&b"[".repeat(2_000), "too_deep"),
    ] {
        let answer = post(&api, JSON, body.to_vec()).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(post(&api, LINES, "\n \n").await.status, 400);
    // In an array an event that cannot be read is refused alone.
    let key = r#"{"type":"_test.note","to":"room:x","data":{"\ud83d":1}}"#;
    let deep = format!(r#"{{"type":"_test.note","to":"room:x","data":{{"a":{}{}}}}}"#, "[".repeat(99), "]".repeat(99));
    let answer = post(&api, JSON, format!("[{},{twice},{key},{deep},7]", note("room:x", 1))).await;
    let codes: Vec<_> =
        answer.body["results"].as_array().unwrap().iter().map(|result| result["error"]["code"].as_str()).collect();
    let malformed = Some("malformed_frame");
    assert_eq!(codes, [None, Some("duplicate_key"), malformed, Some("too_deep"), malformed]);
    let told = answer.body["results"][2]["error"]["message"].as_str().unwrap();
    assert!(told.contains("half of a surrogate pair"), "{told}");
}

#[tokio::test]
async fn env_06_half_of_a_pair_and_a_byte_order_mark_are_taken_in_every_form_of_a_body() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut watcher = watch(&hub, "room:x").await;
    let half = |n: u8| format!(r#"{{"type":"_test.note","to":"room:x","data":{{"n":{n},"text":"cut \ud83d"}}}}"#);
    for (media, body) in [
        (JSON, format!("\u{feff}{}", half(1))),
        (JSON, format!("[{},{}]", half(2), half(3))),
        (LINES, format!("\u{feff}{}\n{}\n", half(4), half(5))),
    ] {
        assert_eq!(post(&api, media, body).await.status, 202);
    }
    assert_eq!(notes(&mut watcher, 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn log_09_the_same_id_gets_the_first_answer_and_log_08_a_fence_holds() {
    let api = Api::new(Hub::new());
    let event = |data: u8, more: Value| {
        let mut event = json!({"type": "_test.note", "to": "room:x", "data": {"n": data}});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event.to_string()
    };
    let first = post(&api, JSON, event(1, json!({"id": "a"}))).await;
    assert_eq!(post(&api, JSON, event(1, json!({"id": "a"}))).await.body, first.body);
    let other = post(&api, JSON, event(2, json!({"id": "a"}))).await;
    assert_eq!(other.body["results"][0]["error"]["code"], "conflict");
    assert_eq!(post(&api, JSON, event(2, json!({"expected_prev": 1}))).await.status, 202);
    let late = post(&api, JSON, event(3, json!({"expected_prev": 1}))).await;
    assert_eq!(late.body["results"][0]["error"]["code"], "fenced");
}

#[tokio::test]
async fn log_12_the_answer_says_how_many_ids_were_evicted_since_the_last_one() {
    let bounds = MemoryBounds { idempotency_bytes: 10_000, ..MemoryBounds::default() };
    let api = Api::new(Hub::builder().memory_bounds(bounds).build());
    let event = |id: usize| json!({"type": "_test.note", "to": "room:x", "data": {}, "id": id.to_string()});
    let batch = |ids: std::ops::Range<usize>| Value::from(ids.map(event).collect::<Vec<_>>()).to_string();
    let first = post(&api, JSON, batch(0..10)).await;
    assert_eq!(first.body.get("evicted"), None, "there is room");
    let many = post(&api, JSON, batch(10..210)).await;
    assert_eq!(many.status, 202);
    assert_eq!(many.body["evicted"]["newest_values"], 0);
    let gone = many.body["evicted"]["ids"].as_u64().unwrap();
    assert!(gone > 100 && gone < 210, "{gone}");
    let oldest = post(&api, JSON, event(209).to_string()).await;
    assert_eq!(oldest.body["results"][0]["seq"], 210, "the newest id is remembered");
    assert_eq!(oldest.body.get("evicted"), None, "each is counted once");
    assert_eq!(post(&api, JSON, event(0).to_string()).await.body["results"][0]["seq"], 211, "the oldest id is not");
}

#[tokio::test]
async fn http_04_only_json_and_lines_that_say_so_are_read() {
    let api = Api::new(Hub::new());
    let types = [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin1",
        "application/jsonp",
        "application/json, text/plain",
        "",
    ];
    for media in types {
        assert_eq!(post(&api, media, note("room:x", 1)).await.status, 415, "{media}");
    }
    let request = || at("POST", "/v1/events");
    assert_eq!(send(&api, request(), note("room:x", 1)).await.code(), "unsupported_media_type");
    let twice = request().header("content-type", JSON).header("content-type", "text/plain");
    assert_eq!(send(&api, twice, note("room:x", 1)).await.status, 415);
    let packed = request().header("content-type", JSON).header("content-encoding", "gzip");
    assert_eq!(send(&api, packed, note("room:x", 1)).await.status, 415);
}

#[tokio::test]
async fn http_05_an_event_a_batch_and_a_body_have_limits() {
    let api = Api::new(Hub::new());
    let fill =
        |bytes: usize| format!(r#"{{"type":"_test.note","to":"room:x","data":{{"fill":"{}"}}}}"#, "x".repeat(bytes));
    assert_eq!(post(&api, JSON, fill(1_000_000)).await.status, 202);
    for media in [JSON, LINES] {
        let answer = post(&api, media, fill(1 << 20)).await;
        assert_eq!((answer.status, answer.body["results"][0]["error"]["code"].as_str()), (422, Some("too_large")));
    }
    let answer = post(&api, JSON, " ".repeat(9 << 20)).await;
    assert_eq!((answer.status, answer.code()), (413, "too_large"));
    let lines = |count| vec![note("room:x", 1); count].join("\n");
    assert_eq!(post(&api, LINES, lines(1_000)).await.status, 202);
    for (media, body) in [(LINES, lines(1_001)), (JSON, format!("[{}]", vec![note("room:x", 1); 1_001].join(",")))] {
        let answer = post(&api, media, body).await;
        assert_eq!((answer.status, answer.code()), (413, "too_many_items"));
    }
}

#[tokio::test]
async fn http_03_unknown_paths_and_wrong_methods_are_told_apart_and_allow_names_the_methods() {
    let api = Api::new(Hub::new());
    for path in ["/", "/v1", "/v1/", "/v1/nothing", "/v1/events/", "/v2/events", "/v1/events/x", "/v1//events"] {
        let answer = get(&api, path).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{path}");
    }
    for route in ROUTES {
        let path = route.pattern.replace("{}", "c0000000000000001");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let answer = send(&api, at(method, &path), "").await;
            let takes = route.methods.iter().any(|of| of == method);
            assert_eq!(answer.status != 405, takes, "{method} {path}");
            if !takes {
                assert_eq!(answer.code(), "method_not_allowed");
                assert_eq!(answer.response.headers()["allow"], route.allow());
            }
        }
    }
}

#[tokio::test]
async fn auth_01_every_path_of_v1_asks_who_it_is_and_gives_what_is_permitted_and_no_more() {
    let hub = keyed();
    let api = Api::new(hub.clone());
    let watcher = watch(&hub, "room:x").await;
    let kick = format!("/v1/connections/{}", watcher.id());
    let event = r#"{"type":"_test.note","to":"global","data":{}}"#;
    let requests = [
        ("POST", "/v1/events", event, "publisher", 202),
        ("POST", "/v1/sessions/resolve", r#"{"cookie":"x"}"#, "publisher", 200),
        ("GET", "/v1/connections", "", "admin", 200),
        ("GET", "/v1/explain?type=_test.note&to=global", "", "observer", 200),
        ("DELETE", kick.as_str(), "", "admin", 204),
    ];
    for (method, target, body, permitted, status) in requests {
        let ask = |authorization: Option<&str>| {
            let request = at(method, target).header("content-type", JSON);
            let request = match authorization {
                Some(value) => request.header("authorization", value),
                None => request,
            };
            send(&api, request, body)
        };
        for wrong in
            [None, Some("Bearer"), Some("Bearer other"), Some("Bearer admin, Bearer admin"), Some("Basic YWRtaW4=")]
        {
            let answer = ask(wrong).await;
            assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{target} {wrong:?}");
            assert_eq!(answer.response.headers()["www-authenticate"], "Bearer");
        }
        for key in ["nothing", "publisher", "observer", "admin"].into_iter().filter(|key| *key != permitted) {
            let answer = ask(Some(&format!("Bearer {key}"))).await;
            assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{target} {key}");
        }
        assert_eq!(ask(Some(&format!("bearer {permitted}"))).await.status, status, "{target}");
    }
    for path in ["/health", "/ready"] {
        assert_eq!(get(&api, path).await.status, 200);
    }
}

#[tokio::test]
async fn auth_04_an_audience_beyond_the_claims_is_refused_for_that_event_alone() {
    let api = Api::new(keyed());
    let body = format!("[{},{}]", note("room:x", 1), note("global", 2));
    let request = at("POST", "/v1/events").header("content-type", JSON).header("authorization", "Bearer publisher");
    let answer = send(&api, request, body).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["results"][0]["error"]["code"], "forbidden");
    assert_eq!(answer.body["results"][1]["seq"], 1);
}

#[tokio::test]
async fn auth_02_and_auth_03_a_foreign_host_or_origin_gets_nothing_on_any_path_and_method() {
    let guard =
        Guard { allowed_hosts: vec!["events.example".into()], allowed_origins: vec!["https://app.example".into()] };
    let api = Api::new(Hub::builder().settings(Settings { guard, ..Settings::default() }).build());
    let targets = ["/health", "/ready", "/v1/events", "/v1/connections", "/nothing"];
    for (method, target) in
        targets.iter().flat_map(|target| ["GET", "POST", "OPTIONS", "DELETE"].map(|method| (method, *target)))
    {
        let ask = |headers: &[(&'static str, &'static str)]| {
            let builder = Request::builder().method(method).uri(target);
            let request = headers.iter().fold(builder, |request, (name, value)| request.header(*name, *value));
            send(&api, request, "")
        };
        for headers in [
            &[][..],
            &[("host", "evil.example")],
            &[("host", "localhost"), ("host", "localhost")],
            &[("host", "localhost.evil.example:4800")],
        ] {
            assert_eq!(ask(headers).await.code(), "host_not_allowed", "{method} {target} {headers:?}");
        }
        for headers in [
            &[("host", "localhost"), ("origin", "https://evil.example")][..],
            &[("host", "localhost"), ("origin", "null")],
            &[("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")],
        ] {
            let answer = ask(headers).await;
            assert_eq!((answer.status, answer.code()), (403, "origin_not_allowed"), "{method} {target} {headers:?}");
        }
        for headers in [
            &[("host", "EVENTS.example:443"), ("origin", "https://app.example")],
            &[("host", "127.0.0.1:1"), ("origin", "http://localhost:5173")],
        ] {
            assert_ne!(ask(headers).await.status, 403, "{method} {target} {headers:?}");
        }
    }
    // An absolute target counts instead of the header.
    let absolute = |host: &str| Request::get(format!("http://{host}/health")).header("host", "localhost");
    assert_eq!(send(&api, absolute("evil.example"), "").await.code(), "host_not_allowed");
    assert_eq!(send(&api, absolute("localhost"), "").await.status, 200);
}

#[tokio::test]
async fn http_06_connections_are_listed_with_what_is_known_of_them_and_can_be_closed() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let mut watcher = watch(&hub, "room:x").await;
    let answer = get(&api, "/v1/connections").await;
    assert_eq!((answer.status, &answer.body["count"]), (200, &json!(1)));
    assert_eq!(answer.body["epoch"].as_str().unwrap().len(), 16);
    let row = &answer.body["connections"][0];
    assert_eq!(row["connection_id"], watcher.id().to_string());
    assert_eq!(row["subscriptions"], json!(["room:x"]));
    assert_eq!((&row["dialect"], &row["transport"]), (&json!("canonical"), &json!("memory")));
    assert!(row["lagging"].is_boolean() && row["connected_at"].is_string() && row["queued_frames"].is_u64());
    let path = format!("/v1/connections/{}", watcher.id());
    assert_eq!(send(&api, at("DELETE", &path), "").await.status, 204);
    let code = loop {
        if let Outgoing::Close(code, _) = watcher.next().await {
            break code;
        }
    };
    assert_eq!(code.as_u16(), 1008);
    drop(watcher);
    for id in [path.as_str(), "/v1/connections/c0000000000000000", "/v1/connections/x", "/v1/connections/%2e%2e"] {
        let answer = send(&api, at("DELETE", id), "").await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{id}");
    }
    assert_eq!(get(&api, "/v1/connections").await.body["count"], 0);
}

#[tokio::test]
async fn http_07_explain_says_for_each_connection_what_delivery_then_does() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let (member, stranger) = (watch(&hub, "room:x").await, watch(&hub, "room:y").await);
    let answer = get(&api, "/v1/explain?type=_test.note&to=room%3Ax&seq=7").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.body["type"], &answer.body["to"], &answer.body["seq"]),
        (&json!("_test.note"), &json!("room:x"), &json!(7))
    );
    let rows = answer.body["connections"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["delivered"], row["connection_id"] == member.id().to_string());
        assert!(row["rule"].as_str().unwrap().starts_with("ROUTE-"));
        assert!(!row["checks"].as_array().unwrap().is_empty());
        assert_eq!(
            (&row["decided_by"]["kind"], &row["decided_by"]["name"]),
            (&json!("subscription"), &json!("room:x"))
        );
    }
    let one = get(&api, &format!("/v1/explain?type=_test.note&to=room:x&connection={}", stranger.id())).await;
    assert_eq!(one.body["connections"].as_array().unwrap().len(), 1);
    assert_eq!(one.body["connections"][0]["delivered"], false);
    let raw = get(&api, "/v1/explain?type=adw.agent_output_chunk&to=adw:29fb6a3e").await;
    assert_eq!(raw.body["to"], "adw:29fb6a3e/raw");
    for (query, status, code) in [
        ("type=adw.nope&to=global", 422, "unknown_type"),
        ("type=_test.note&to=nobody:x", 422, "invalid_id"),
        ("type=_test.note&to=", 422, "invalid_id"),
        ("type=adw.text_block&to=global", 422, "audience_not_allowed"),
        ("type=_test.note&to=global&connection=x", 422, "invalid_id"),
        ("type=_test.note&to=global&seq=0", 422, "invalid_id"),
        ("type=_test.note&to=global&connection=c0000000000000000", 404, "not_found"),
        ("to=global", 400, "invalid_payload"),
        ("type=_test.note", 400, "invalid_payload"),
        ("", 400, "invalid_payload"),
        ("type=_test.note&to=global&to=room:x", 400, "invalid_payload"),
        ("type=_test.note&to=global&limit=1", 400, "invalid_payload"),
    ] {
        let answer = get(&api, &format!("/v1/explain?{query}")).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{query}");
    }
}

#[tokio::test]
async fn http_07_explain_says_when_and_how_a_connection_subscribed_and_who_it_is() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let claims = Claims { user: Some("ann".parse().unwrap()), ..Claims::loopback() };
    let mut request = ConnectRequest::new(Principal::new("ann", claims), "memory");
    request.targets = vec!["room:x".into()];
    request.meta.user_agent = Some("curl/8.5.0".to_owned());
    let mut connection = hub.connect(request).await.unwrap();
    let ask = async |room: &str| {
        let answer = get(&api, &format!("/v1/explain?type=_test.note&to=room:{room}")).await;
        answer.body["connections"][0].clone()
    };
    let clock = |row: &Value| row["decided_by"]["at"].as_str().unwrap().get(11..19).unwrap().to_owned();
    let named = ask("x").await;
    assert_eq!(named["decided_by"]["origin"], "connect");
    assert_eq!(named["reason"], format!("subscribed to room:x when it connected at {} UTC", clock(&named)));
    assert_eq!(
        (&named["user_id"], &named["subscriptions"], &named["client"]),
        (&json!("ann"), &json!(["room:x"]), &json!("curl/8.5.0"))
    );
    let command = json!({"type": "subscribe", "id": "1", "data": {"streams": [{"to": "room:x"}, {"to": "room:y"}]}});
    connection.receive(command.to_string().as_bytes()).await;
    let asked = ask("y").await;
    assert_eq!(asked["reason"], format!("subscribed to room:y by its command of {} UTC", clock(&asked)));
    assert_eq!(ask("x").await["decided_by"]["origin"], "connect", "it had it already");
    let command = json!({"type": "unsubscribe", "id": "2", "data": {"streams": [{"to": "room:x"}]}});
    connection.receive(command.to_string().as_bytes()).await;
    let left = ask("x").await;
    assert_eq!((&left["reason"], left["decided_by"].get("at")), (&json!("did not subscribe to room:x"), None));
}

#[tokio::test]
async fn ws_04_a_query_key_that_a_path_does_not_have_is_refused_by_name() {
    let api = Api::new(Hub::new());
    for (method, target) in [
        ("POST", "/v1/events?limit=1"),
        ("POST", "/v1/sessions/resolve?cookie=x"),
        ("GET", "/v1/connections?limit=1"),
        ("DELETE", "/v1/connections/c0000000000000000?force=1"),
    ] {
        let answer = send(&api, at(method, target), "").await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_payload"), "{target}");
    }
    // Probes of other systems hang things on their addresses.
    assert_eq!(get(&api, "/health?probe=1").await.status, 200);
}

#[tokio::test]
async fn http_08_health_answers_while_the_process_lives_and_ready_while_it_takes_connections() {
    let hub = Hub::new();
    let api = Api::new(hub.clone());
    let health = get(&api, "/health").await.body;
    assert_eq!((&health["status"], &health["service"]), (&json!("healthy"), &json!("eventwire")));
    assert_eq!((&health["active_connections"], &health["websocket_support"]), (&json!(0), &json!(true)));
    assert!(health["uptime_seconds"].is_u64() && health["version"].is_string() && health["timestamp"].is_string());
    assert_eq!(get(&api, "/ready").await.body, json!({"status": "ready"}));
    hub.drain(std::time::Duration::ZERO).await;
    let ready = get(&api, "/ready").await;
    assert_eq!((ready.status, ready.body), (503, json!({"status": "draining"})));
    assert_eq!(get(&api, "/health").await.status, 200);
}
