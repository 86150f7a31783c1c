//! `openapi.json` and `asyncapi.json` tell the truth: what a gateway really answers and sends is what they say, and what
//! they show as requests is accepted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use common::{Answer, Gateway, Socket, Source, api_key, soon, write_private};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use jsonschema::Validator;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

// ---------------------------------------------------------------------------------------------------------------
// A document, and what it says of an answer
// ---------------------------------------------------------------------------------------------------------------

struct Document {
    json: Value,
    validators: RefCell<HashMap<String, Rc<Validator>>>,
}

impl Document {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/v1").join(name);
        let json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        Self { json, validators: RefCell::default() }
    }

    /// The value, or what its reference leads to.
    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(target) => self.json.pointer(target.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    /// Why a value does not fit a schema of the document.
    fn misfit(&self, schema: &Value, value: &Value) -> Option<String> {
        let key = schema.to_string();
        let known = self.validators.borrow().get(&key).cloned();
        let validator = known.unwrap_or_else(|| {
            let mut whole = schema.clone();
            whole["components"] = json!({ "schemas": self.json["components"]["schemas"] });
            let validator =
                Rc::new(jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap());
            self.validators.borrow_mut().insert(key, validator.clone());
            validator
        });
        validator.iter_errors(value).next().map(|error| format!("{error} at {}", error.instance_path()))
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let operation = &self.json["paths"][path][method.to_ascii_lowercase()];
        assert!(operation.is_object(), "openapi.json has no {method} {path}");
        operation
    }

    /// Every operation, as method and path.
    fn operations(&self) -> BTreeSet<(String, String)> {
        let methods = ["get", "head", "post", "put", "patch", "delete"];
        let paths = self.json["paths"].as_object().unwrap();
        let pairs = paths.iter().flat_map(|(path, item)| {
            let there = methods.iter().filter(|method| item.get(**method).is_some());
            there.map(|method| (method.to_ascii_uppercase(), path.clone())).collect::<Vec<_>>()
        });
        pairs.collect()
    }

    /// Checks an answer against what the document says of the operation; panics where they differ.
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let name = format!("{method} {path} {}", answer.status);
        let operation = self.operation(method, path);
        let documented = operation["responses"].get(answer.status.to_string());
        let documented = self.follow(documented.unwrap_or_else(|| panic!("{name} is not documented: {answer:?}")));
        let content = documented.get("content").and_then(Value::as_object);
        let Some(content) = content else {
            assert!(answer.body.is_empty(), "{name} has a body and none is documented: {answer:?}");
            return;
        };
        let essence = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
        let media = content.get(essence).unwrap_or_else(|| panic!("{name} is of type {essence:?}: {answer:?}"));
        if essence == "application/json" {
            let body = answer.json();
            let misfit = self.misfit(&media["schema"], &body);
            assert_eq!(misfit, None, "{name}: {body}");
            if let Some(code) = body.pointer("/error/code") {
                let codes = documented["x-eventwire-codes"].as_array();
                assert!(codes.is_some_and(|codes| codes.contains(code)), "{name} does not list the code: {body}");
            }
        } else if essence.starts_with("text/") {
            assert!(std::str::from_utf8(&answer.body).is_ok(), "{name}");
        }
        if answer.status < 400 {
            for (header, described) in documented.get("headers").and_then(Value::as_object).into_iter().flatten() {
                let described = self.follow(described);
                let Some(value) = answer.header(header) else {
                    assert_ne!(described["required"], true, "{name} has no {header}");
                    continue;
                };
                let misfit = self.misfit(&described["schema"], &json!(value));
                assert_eq!(misfit, None, "{name}: {header}: {value}");
            }
        }
    }

    /// An address of the operation: its path and needed query, filled with the examples.
    fn example_target(&self, method: &str, path: &str) -> String {
        let mut target = path.to_owned();
        let mut query = Vec::new();
        for parameter in self.operation(method, path)["parameters"].as_array().into_iter().flatten() {
            let (name, example) = (parameter["name"].as_str().unwrap(), &parameter["example"]);
            let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            match parameter["in"].as_str().unwrap() {
                "path" => target = target.replace(&format!("{{{name}}}"), &text),
                "query" if parameter["required"] == true => query.push(format!("{name}={text}")),
                _ => {}
            }
        }
        if query.is_empty() { target } else { format!("{target}?{}", query.join("&")) }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// A gateway with everything
// ---------------------------------------------------------------------------------------------------------------

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand so on";
const COOKIE: (&str, &str) = ("cookie", "connect.sid=s%3Amaria.x");
const JSON: (&str, &str) = ("content-type", "application/json");

/// The application of Product Demo: it knows maria by her cookie, fails for `broken`, and knows nobody else.
async fn accounts() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            let request = String::from_utf8(request).unwrap();
            let (status, body) = match request {
                known if known.contains("s%3Amaria.x") => ("200 OK", r#"{"userId":"maria"}"#),
                broken if broken.contains("s%3Abroken.x") => ("500 Internal Server Error", ""),
                _ => ("401 Unauthorized", "{}"),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
            let _ = stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
        }
    });
    address
}

/// One run, with what the examples of the document name.
fn runs() -> tempfile::TempDir {
    let runs = tempfile::tempdir().unwrap();
    let images = runs.path().join("29fb6a3e/reviewer/review_img");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::write(images.join("01.png"), PNG).unwrap();
    std::fs::File::create(images.join("large.png")).unwrap().set_len((8 << 20) + 1).unwrap();
    std::fs::write(runs.path().join("29fb6a3e/adw_state.json"), r#"{"adw_id":"29fb6a3e","issue_number":"66"}"#)
        .unwrap();
    runs
}

const DIALECTS: &[&str] = &["adw", "amiga", "monadic", "product", "shared_context"];

async fn open_gateway() -> (Gateway, tempfile::TempDir) {
    let (runs, accounts) = (runs(), accounts().await);
    let lookup = format!("http://{accounts}/api/me");
    let arguments = ["--agents", runs.path().to_str().unwrap(), "--product-lookup-url", &lookup];
    (Gateway::speaking(DIALECTS, &arguments), runs)
}

/// A gateway that wants keys, and two of them: one that may publish, and one that may observe.
fn keyed_gateway() -> (Gateway, tempfile::TempDir, [String; 2]) {
    let runs = runs();
    let key = |arguments: &[&str]| {
        let made = api_key(arguments);
        let entry = toml::to_string(&json!({ "key": [made["entry"]] })).unwrap();
        (format!("Bearer {}", made["key"].as_str().unwrap()), entry)
    };
    let (publisher, one) = key(&["--name", "publisher", "--permission", "publish"]);
    let (observer, two) = key(&["--name", "observer", "--permission", "observe"]);
    let keys = runs.path().join("keys.toml");
    write_private(&keys, &format!("{one}\n{two}"));
    let gateway = Gateway::speaking(
        DIALECTS,
        &["--agents", runs.path().to_str().unwrap(), "--api-keys-file", keys.to_str().unwrap()],
    );
    (gateway, runs, [publisher, observer])
}

/// Sends a request and reads the answer; of a stream that does not end, the first piece.
async fn exchange(
    at: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(target);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, at.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    soon("an answer", async {
        let stream = TcpStream::connect(at).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let (head, mut body) = sender.send_request(request).await.unwrap().into_parts();
        let is_stream = head.headers.get(header::CONTENT_TYPE).is_some_and(|it| it == "text/event-stream");
        let body = match is_stream && method != "HEAD" {
            true => body.frame().await.unwrap().unwrap().into_data().unwrap(),
            false => body.collect().await.unwrap().to_bytes(),
        };
        connection.abort();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    })
    .await
}

const UPGRADE: &[(&str, &str)] = &[
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn upgrade<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [UPGRADE, more].concat()
}

// ---------------------------------------------------------------------------------------------------------------
// DOC-02: answers
// ---------------------------------------------------------------------------------------------------------------

/// Sends requests, checks each answer, and remembers how each operation ended.
struct Inquiry {
    document: Document,
    seen: BTreeMap<(String, String), BTreeSet<u16>>,
}

/// A request: method, path as the document has it, target, headers, body, and the status of the answer.
type Case<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16);

impl Inquiry {
    fn new() -> Self {
        Self { document: Document::read("openapi.json"), seen: BTreeMap::new() }
    }

    async fn ask(&mut self, at: SocketAddr, case: Case<'_>) -> Answer {
        let (method, path, target, headers, body, status) = case;
        let answer = exchange(at, method, target, headers, body.to_owned()).await;
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        self.document.check(method, path, &answer);
        self.seen.entry((method.to_owned(), path.to_owned())).or_default().insert(status);
        let has_head = self.document.json["paths"][path].get("head").is_some();
        if method == "GET" && has_head && status != 101 && !headers.iter().any(|(name, _)| *name == "upgrade") {
            let head = exchange(at, "HEAD", target, headers, "").await;
            assert_eq!((head.status, head.body.len()), (status, 0), "HEAD {target}");
            self.document.check("HEAD", path, &head);
            self.seen.entry(("HEAD".to_owned(), path.to_owned())).or_default().insert(status);
        }
        answer
    }

    async fn ask_all(&mut self, at: SocketAddr, cases: &[Case<'_>]) {
        for case in cases {
            self.ask(at, *case).await;
        }
    }
}

const NO_HEADERS: &[(&str, &str)] = &[];

#[tokio::test]
async fn doc_02_every_answer_is_one_that_the_document_has() {
    let (gateway, _runs) = open_gateway().await;
    let mut inquiry = Inquiry::new();
    canonical(&mut inquiry, &gateway).await;
    older(&mut inquiry, &gateway).await;
    connections(&mut inquiry, &gateway).await;
    strangers(&mut inquiry).await;

    // Whatever is asked for, a foreign host is told so first.
    for (method, path) in inquiry.document.operations() {
        let target = inquiry.document.example_target(&method, &path);
        inquiry.ask(gateway.address, (&method, &path, &target, &[("host", "evil.example")], "", 403)).await;
    }

    let Inquiry { document, seen } = inquiry;
    let mut unseen = Vec::new();
    for operation in document.operations() {
        let statuses = seen.get(&operation).cloned().unwrap_or_default();
        if !statuses.iter().any(|status| *status < 400) || !statuses.iter().any(|status| *status >= 400) {
            unseen.push((operation, statuses));
        }
    }
    assert!(unseen.is_empty(), "a good and a bad end of each operation must have been seen: {unseen:?}");
}

async fn canonical(inquiry: &mut Inquiry, gateway: &Gateway) {
    let event = r#"{"type":"adw.text_block","to":"adw:29fb6a3e","data":{"adw_id":"29fb6a3e","content":"Done"}}"#;
    let nowhere = r#"{"type":"adw.text_block","to":"room:tasks","data":{"adw_id":"29fb6a3e","content":"Done"}}"#;
    let both = format!("[{event},{nowhere}]");
    let many = format!("[{}]", vec!["0"; 1_001].join(","));
    let large = " ".repeat((8 << 20) + 1);
    let ids = format!(r#"{{"ids":[{}]}}"#, vec!["\"x\""; 1_001].join(","));
    let lines = format!("{event}\n{event}\n");
    let monadic = r#"{"type":"cancel"}"#;
    let resolve = r#"{"cookie":"5f4c0b1e"}"#;
    let foreign_protocol = upgrade(&[("sec-websocket-protocol", "chat")]);
    let ours = upgrade(&[("sec-websocket-protocol", "eventwire.v1")]);
    let old = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "8")];
    let origin = [("origin", "https://evil.example")];
    let ndjson = [("content-type", "application/x-ndjson")];
    let text = [("content-type", "text/plain")];
    let cases: &[Case<'_>] = &[
        ("GET", "/", "/", NO_HEADERS, "", 200),
        ("GET", "/assets/{file}", "/assets/inspector.js", NO_HEADERS, "", 200),
        ("GET", "/assets/{file}", "/assets/inspector.css", NO_HEADERS, "", 200),
        ("GET", "/assets/{file}", "/assets/nothing.js", NO_HEADERS, "", 404),
        ("GET", "/health", "/health", NO_HEADERS, "", 200),
        ("GET", "/health", "/health", &origin, "", 403),
        ("GET", "/ready", "/ready", NO_HEADERS, "", 200),
        ("GET", "/metrics", "/metrics", NO_HEADERS, "", 200),
        ("GET", "/v1/schemas", "/v1/schemas", NO_HEADERS, "", 308),
        ("GET", "/v1/schemas/{path}", "/v1/schemas/", NO_HEADERS, "", 200),
        ("GET", "/v1/schemas/{path}", "/v1/schemas/", &[("if-none-match", "*")], "", 304),
        ("GET", "/v1/schemas/{path}", "/v1/schemas/event.schema.json", NO_HEADERS, "", 200),
        ("GET", "/v1/schemas/{path}", "/v1/schemas/CHANGELOG.md", NO_HEADERS, "", 200),
        ("GET", "/v1/schemas/{path}", "/v1/schemas/../index.json", NO_HEADERS, "", 404),
        ("GET", "/v1/asyncapi.json", "/v1/asyncapi.json", NO_HEADERS, "", 200),
        ("GET", "/v1/openapi.json", "/v1/openapi.json", NO_HEADERS, "", 200),
        ("GET", "/v1/ws", "/v1/ws?adw=29fb6a3e&room=tasks&context=planning&observe=1", &ours, "", 101),
        ("GET", "/v1/ws", "/v1/ws", NO_HEADERS, "", 426),
        ("GET", "/v1/ws", "/v1/ws", &old, "", 426),
        ("GET", "/v1/ws", "/v1/ws", &foreign_protocol, "", 400),
        ("GET", "/v1/ws", "/v1/ws?who=me", &ours, "", 400),
        ("GET", "/v1/sse", "/v1/sse?adw=29fb6a3e", NO_HEADERS, "", 200),
        ("GET", "/v1/sse", "/v1/sse", &[("accept", "application/json")], "", 406),
        ("GET", "/v1/sse", "/v1/sse", &[("last-event-id", "nothing")], "", 400),
        ("POST", "/v1/events", "/v1/events", &[JSON], event, 202),
        ("POST", "/v1/events", "/v1/events", &[JSON], &both, 202),
        ("POST", "/v1/events", "/v1/events", &ndjson, &lines, 202),
        (
            "POST",
            "/v1/events",
            "/v1/events?dialect=monadic&to=session:~0123456789abcdef0123456789abcdef",
            &[JSON],
            monadic,
            202,
        ),
        ("POST", "/v1/events", "/v1/events?dialect=monadic", &[JSON], monadic, 422),
        ("POST", "/v1/events", "/v1/events", &[JSON], nowhere, 422),
        ("POST", "/v1/events", "/v1/events", &[JSON], r#"{"type":"adw.nothing","to":"global","data":{}}"#, 422),
        ("POST", "/v1/events", "/v1/events", &[JSON], "7", 400),
        ("POST", "/v1/events", "/v1/events?dialect=klingon", &[JSON], "{}", 400),
        ("POST", "/v1/events", "/v1/events?to=global", &[JSON], "{}", 400),
        ("POST", "/v1/events", "/v1/events", &[JSON], &many, 413),
        ("POST", "/v1/events", "/v1/events", &[JSON], &large, 413),
        ("POST", "/v1/events", "/v1/events", &text, event, 415),
        ("POST", "/v1/sessions/resolve", "/v1/sessions/resolve", &[JSON], resolve, 200),
        ("POST", "/v1/sessions/resolve", "/v1/sessions/resolve", &[JSON], r#"{"cookie":""}"#, 422),
        ("POST", "/v1/sessions/resolve", "/v1/sessions/resolve", &[JSON], r#"{"cookie":"a","cookie":"b"}"#, 400),
        ("POST", "/v1/sessions/resolve", "/v1/sessions/resolve?x=1", &[JSON], resolve, 400),
        ("POST", "/v1/sessions/resolve", "/v1/sessions/resolve", &text, resolve, 415),
        ("GET", "/v1/commands", "/v1/commands?group=one", NO_HEADERS, "", 200),
        ("GET", "/v1/commands", "/v1/commands", &[("accept", "application/json")], "", 406),
        ("GET", "/v1/commands", "/v1/commands?group=%20", NO_HEADERS, "", 400),
        ("POST", "/v1/commands/ack", "/v1/commands/ack", &[JSON], r#"{"ids":["c1-1"]}"#, 200),
        ("POST", "/v1/commands/ack", "/v1/commands/ack", &[JSON], r#"{"ids":7}"#, 422),
        ("POST", "/v1/commands/ack", "/v1/commands/ack?groups=x", &[JSON], r#"{"ids":[]}"#, 400),
        ("POST", "/v1/commands/ack", "/v1/commands/ack", &[JSON], &ids, 413),
        ("POST", "/v1/commands/ack", "/v1/commands/ack", &text, r#"{"ids":[]}"#, 415),
        ("POST", "/v1/commands/{id}/ack", "/v1/commands/c1-1/ack?group=one", NO_HEADERS, "", 200),
        ("POST", "/v1/commands/{id}/ack", "/v1/commands/c1%2F1/ack", NO_HEADERS, "", 404),
        ("POST", "/v1/commands/{id}/ack", "/v1/commands/c1-1/ack?group=", NO_HEADERS, "", 400),
        ("POST", "/v1/tickets", "/v1/tickets", NO_HEADERS, "", 201),
        ("POST", "/v1/tickets", "/v1/tickets", NO_HEADERS, r#"{"for":"me"}"#, 422),
        ("POST", "/v1/tickets", "/v1/tickets", NO_HEADERS, "{", 400),
        ("POST", "/v1/tickets", "/v1/tickets?x=1", NO_HEADERS, "", 400),
        ("POST", "/v1/revocations", "/v1/revocations", &[JSON], r#"{"user":"nobody"}"#, 200),
        ("POST", "/v1/revocations", "/v1/revocations", &[JSON], r#"{"user":"no body"}"#, 422),
        ("POST", "/v1/revocations", "/v1/revocations", &[JSON], r#"{"user":"a","token":"b"}"#, 422),
        ("POST", "/v1/revocations", "/v1/revocations", &text, r#"{"user":"nobody"}"#, 415),
        ("GET", "/v1/connections", "/v1/connections?x=1", NO_HEADERS, "", 400),
        ("DELETE", "/v1/connections/{id}", "/v1/connections/c00000000000000ff", NO_HEADERS, "", 404),
        ("DELETE", "/v1/connections/{id}", "/v1/connections/c00000000000000ff?x=1", NO_HEADERS, "", 400),
        ("GET", "/v1/explain", "/v1/explain", NO_HEADERS, "", 400),
        ("GET", "/v1/explain", "/v1/explain?type=adw.nothing&to=global", NO_HEADERS, "", 422),
        ("GET", "/v1/explain", "/v1/explain?type=adw.text_block&to=adw:x", NO_HEADERS, "", 422),
        ("GET", "/v1/explain", "/v1/explain?type=adw.text_block&to=room:tasks", NO_HEADERS, "", 422),
        (
            "GET",
            "/v1/explain",
            "/v1/explain?type=adw.text_block&to=adw:29fb6a3e&connection=c00000000000000ff",
            NO_HEADERS,
            "",
            404,
        ),
        ("GET", "/v1/agents", "/v1/agents", NO_HEADERS, "", 200),
        ("GET", "/v1/agents", "/v1/agents?x=1", NO_HEADERS, "", 400),
        ("GET", "/v1/agents/{adw_id}", "/v1/agents/29fb6a3e", NO_HEADERS, "", 200),
        ("GET", "/v1/agents/{adw_id}", "/v1/agents/aaaaaaaa", NO_HEADERS, "", 404),
        (
            "GET",
            "/v1/agents/{adw_id}/screenshots/{file}",
            "/v1/agents/29fb6a3e/screenshots/01.png",
            NO_HEADERS,
            "",
            200,
        ),
        (
            "GET",
            "/v1/agents/{adw_id}/screenshots/{file}",
            "/v1/agents/29fb6a3e/screenshots/02.png",
            NO_HEADERS,
            "",
            404,
        ),
        ("GET", "/v1/agents/{adw_id}/screenshots/{file}", "/v1/agents/29fb6a3e/screenshots/%ff", NO_HEADERS, "", 400),
        (
            "GET",
            "/v1/agents/{adw_id}/screenshots/{file}",
            "/v1/agents/29fb6a3e/screenshots/large.png",
            NO_HEADERS,
            "",
            413,
        ),
        ("GET", "/socket.io/", "/socket.io/?EIO=3&transport=polling", NO_HEADERS, "", 400),
        ("POST", "/socket.io/", "/socket.io/?EIO=4&transport=polling", &text, "40", 400),
    ];
    inquiry.ask_all(gateway.address, cases).await;

    let opened = inquiry
        .ask(gateway.address, ("GET", "/socket.io/", "/socket.io/?EIO=4&transport=polling", NO_HEADERS, "", 200))
        .await;
    let packet: Value = serde_json::from_slice(&opened.body[1..]).unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", packet["sid"].as_str().unwrap());
    inquiry.ask(gateway.address, ("POST", "/socket.io/", &target, &text, "40", 200)).await;
}

async fn older(inquiry: &mut Inquiry, gateway: &Gateway) {
    let socket = upgrade(&[]);
    let line = r#"{"installId":"i-7","stage":"download","percent":40}"#;
    let install = "/api/mcp/ssh/install/stream";
    let ndjson = [("content-type", "application/x-ndjson"), COOKIE];
    let output = [("content-type", "text/plain"), COOKIE];
    let broken = [("cookie", "connect.sid=s%3Abroken.x")];
    let typing = r#"{"type":"typing","agent_id":"otto","is_typing":true}"#;
    let text = [("content-type", "text/plain")];
    let update = r#"{"adw_id":"29fb6a3e","event_type":"text_block","data":{"content":"Done"}}"#;
    let cases: &[(&str, Case<'_>)] = &[
        ("adw", ("GET", "/", "/", NO_HEADERS, "", 404)),
        ("monadic", ("GET", "/", "/", &socket, "", 101)),
        ("canonical", ("GET", "/", "/?dialect=monadic", NO_HEADERS, "", 404)),
        ("shared_context", ("GET", "/health", "/health", NO_HEADERS, "", 200)),
        ("adw", ("GET", "/ws", "/ws", &socket, "", 101)),
        ("product", ("GET", "/ws", "/ws", &socket, "", 101)),
        ("adw", ("GET", "/ws", "/ws", NO_HEADERS, "", 426)),
        ("adw", ("GET", "/ws/trigger", "/ws/trigger", &socket, "", 101)),
        ("adw", ("GET", "/ws/trigger", "/ws/trigger", NO_HEADERS, "", 426)),
        ("adw", ("GET", "/api/agent-state/{adw_id}", "/api/agent-state/29fb6a3e", NO_HEADERS, "", 200)),
        ("adw", ("GET", "/api/agent-state/{adw_id}", "/api/agent-state/nothing", NO_HEADERS, "", 400)),
        ("adw", ("GET", "/api/agent-state/{adw_id}", "/api/agent-state/aaaaaaaa", NO_HEADERS, "", 404)),
        ("adw", ("POST", "/api/agent-state-update", "/api/agent-state-update", &[JSON], update, 200)),
        ("adw", ("POST", "/api/agent-state-update", "/api/agent-state-update", &text, update, 415)),
        ("adw", ("POST", "/api/agent-state-update", "/api/agent-state-update", &[JSON], "[]", 422)),
        (
            "adw",
            (
                "POST",
                "/api/stage-event",
                "/api/stage-event",
                &[JSON],
                r#"{"adw_id":"29fb6a3e","event_type":"stage_skipped","stage_name":"test"}"#,
                200,
            ),
        ),
        (
            "adw",
            (
                "POST",
                "/api/stage-event",
                "/api/stage-event",
                &[JSON],
                r#"{"adw_id":"29fb6a3e","to_stage":"moon"}"#,
                400,
            ),
        ),
        (
            "adw",
            (
                "POST",
                "/api/tool-execution",
                "/api/tool-execution",
                &[JSON],
                r#"{"adw_id":"29fb6a3e","tool_name":"Read","phase":"during"}"#,
                400,
            ),
        ),
        ("amiga", ("GET", "/api/metrics/overview", "/api/metrics/overview?hours=48", NO_HEADERS, "", 200)),
        ("amiga", ("GET", "/api/metrics/overview", "/api/metrics/overview?hours=many", NO_HEADERS, "", 422)),
        ("amiga", ("GET", "/api/stream/metrics", "/api/stream/metrics", NO_HEADERS, "", 200)),
        ("amiga", ("GET", "/api/stream/metrics", "/api/stream/metrics?hours=x", NO_HEADERS, "", 422)),
        ("amiga", ("GET", "/websocket-test", "/websocket-test", NO_HEADERS, "", 200)),
        ("product", ("GET", "/api/websocket/stats", "/api/websocket/stats", &[COOKIE], "", 200)),
        ("product", ("GET", "/api/websocket/stats", "/api/websocket/stats", NO_HEADERS, "", 401)),
        ("product", ("GET", "/api/websocket/stats", "/api/websocket/stats", &broken, "", 503)),
        ("product", ("POST", install, install, &ndjson, line, 200)),
        ("product", ("POST", install, install, &ndjson, "{}\nnothing\n", 200)),
        ("product", ("POST", install, "/api/mcp/ssh/install/stream?installId=i-7", &output, "Get:1 packages\n", 200)),
        ("product", ("POST", install, install, &output, "Get:1 packages\n", 422)),
        ("product", ("POST", install, install, &[JSON], line, 401)),
        ("product", ("POST", install, install, &[COOKIE, ("content-type", "image/png")], line, 415)),
        ("product", ("POST", install, "/api/mcp/ssh/install/stream?user=maria", &[JSON], line, 200)),
        ("shared_context", ("GET", "/ws/{session}", "/ws/planning", &socket, "", 101)),
        ("shared_context", ("GET", "/ws/{session}", "/ws/planning", NO_HEADERS, "", 426)),
        ("shared_context", ("GET", "/ui/ws/{session}", "/ui/ws/planning", &socket, "", 101)),
        ("shared_context", ("GET", "/ui/ws/{session}", "/ui/ws/planning", NO_HEADERS, "", 426)),
        ("shared_context", ("GET", "/ws/", "/ws/", &socket, "", 101)),
        ("shared_context", ("GET", "/ws/", "/ws/", NO_HEADERS, "", 426)),
        ("shared_context", ("GET", "/mcp/{session}", "/mcp/planning", &socket, "", 101)),
        ("shared_context", ("GET", "/mcp/{session}", "/mcp/planning", NO_HEADERS, "", 426)),
        ("shared_context", ("GET", "/mcp/", "/mcp/", &socket, "", 101)),
        ("shared_context", ("GET", "/mcp/", "/mcp/", NO_HEADERS, "", 426)),
        ("shared_context", ("POST", "/broadcast/{session}", "/broadcast/planning", &[JSON], typing, 200)),
        (
            "shared_context",
            ("POST", "/broadcast/{session}", "/broadcast/planning", &[JSON], r#"{"type":"nothing"}"#, 200),
        ),
        ("shared_context", ("POST", "/broadcast/{session}", "/broadcast/planning", &text, typing, 415)),
    ];
    for (listener, case) in cases {
        let at = if *listener == "canonical" { gateway.address } else { gateway.at(listener) };
        inquiry.ask(at, *case).await;
    }
    for (method, path) in inquiry.document.operations().into_iter().filter(|(method, _)| method == "POST") {
        let operation = inquiry.document.operation(&method, &path).clone();
        if operation["tags"][0] == "adw" {
            for (_, body) in bodies(&operation) {
                inquiry.ask(gateway.at("adw"), (&method, &path, &path, &[JSON], &sent(&body), 200)).await;
            }
        }
    }
}

/// What can be said of somebody who is there.
async fn connections(inquiry: &mut Inquiry, gateway: &Gateway) {
    let (mut socket, welcome) = Socket::connect(gateway, "?adw=29fb6a3e").await;
    let id = welcome["data"]["connection_id"].as_str().unwrap().to_owned();
    let listed = inquiry.ask(gateway.address, ("GET", "/v1/connections", "/v1/connections", NO_HEADERS, "", 200)).await;
    assert!(listed.json()["connections"].as_array().unwrap().iter().any(|one| one["connection_id"] == json!(id)));
    let target = format!("/v1/explain?type=adw.text_block&to=adw:29fb6a3e&connection={id}&seq=1");
    let explained = inquiry.ask(gateway.address, ("GET", "/v1/explain", &target, NO_HEADERS, "", 200)).await.json();
    assert_eq!(explained["connections"][0]["delivered"], true, "{explained}");
    let target = format!("/v1/connections/{id}");
    inquiry.ask(gateway.address, ("DELETE", "/v1/connections/{id}", &target, NO_HEADERS, "", 204)).await;
    assert_eq!(socket.close_code().await, Some(1008));
}

/// On a gateway with keys: without one every operation that needs one answers 401, without the permission 403.
async fn strangers(inquiry: &mut Inquiry) {
    let (gateway, _runs, [publisher, observer]) = keyed_gateway();
    let mut needy = 0;
    for (method, path) in inquiry.document.operations() {
        let operation = inquiry.document.operation(&method, &path).clone();
        let documented = |status: &str| operation["responses"].get(status).is_some();
        if !documented("401") || method == "HEAD" {
            continue;
        }
        needy += 1;
        let at = match operation["tags"][0].as_str().unwrap() {
            tag if DIALECTS.contains(&tag) => gateway.at(tag),
            _ if path == "/" => gateway.at("monadic"),
            _ => gateway.address,
        };
        let is_socket = documented("101") && path != "/socket.io/";
        let mut headers = if is_socket { upgrade(&[]) } else { vec![JSON] };
        let target = inquiry.document.example_target(&method, &path);
        let body = bodies(&operation).first().map_or_else(|| "{}".to_owned(), |(_, body)| sent(body));
        let answer = inquiry.ask(at, (&method, &path, &target, &headers, &body, 401)).await;
        if operation["security"][0].get("bearer").is_some() && !is_socket && answer.header("www-authenticate").is_some()
        {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        }
        if let Some(permission) = operation["x-eventwire-permission"].as_str() {
            let other = if permission == "observe" { &publisher } else { &observer };
            headers.push(("authorization", other));
            inquiry.ask(at, (&method, &path, &target, &headers, &body, 403)).await;
        }
    }
    assert!(needy > 25, "{needy}");
}

#[tokio::test]
async fn doc_02_what_is_refused_before_anything_looks_at_it_is_in_the_document_of_every_operation() {
    let (roomy, full) = (Gateway::start(&[]), Gateway::start(&["--max-connections", "1"]));
    let _place = Socket::connect(&full, "").await;
    let document = Document::read("openapi.json");
    let large = "x".repeat(70_000);
    for (method, path) in document.operations() {
        let target = document.example_target(&method, &path);
        for (gateway, headers, status) in [(&roomy, &[("x-large", large.as_str())][..], 431), (&full, NO_HEADERS, 503)]
        {
            let answer = exchange(gateway.address, &method, &target, headers, "").await;
            assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
            // It comes before the method was looked at, so HEAD gets a body as well, which its sender does not read.
            document.check(&method, &path, &answer);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// DOC-02: requests
// ---------------------------------------------------------------------------------------------------------------

/// Where a request of this operation belongs.
fn listener(gateway: &Gateway, operation: &Value) -> SocketAddr {
    match operation["tags"][0].as_str().unwrap() {
        tag if DIALECTS.contains(&tag) => gateway.at(tag),
        _ => gateway.address,
    }
}

/// The examples of a request's body, as they are sent: content type and text.
fn bodies(operation: &Value) -> Vec<(String, Value)> {
    let content = operation["requestBody"]["content"].as_object().cloned().unwrap_or_default();
    let of = |(kind, media): (&String, &Value)| {
        let several = media["examples"].as_object().cloned().unwrap_or_default();
        let one = media.get("example").cloned();
        several
            .values()
            .map(|example| example["value"].clone())
            .chain(one)
            .map(|it| (kind.clone(), it))
            .collect::<Vec<_>>()
    };
    content.iter().flat_map(of).collect()
}

fn sent(body: &Value) -> String {
    body.as_str().map_or_else(|| body.to_string(), str::to_owned)
}

#[tokio::test]
async fn doc_02_every_example_of_a_request_is_accepted() {
    let (gateway, _runs) = open_gateway().await;
    let document = Document::read("openapi.json");
    let mut examples = 0;
    for (method, path) in document.operations() {
        let operation = document.operation(&method, &path);
        // A session of Socket.IO begins with a request of its own, and is in the table above.
        for (kind, body) in bodies(operation).into_iter().filter(|_| path != "/socket.io/") {
            let mut headers = vec![("content-type", kind.as_str()), COOKIE];
            if kind == "text/plain" {
                headers.push(("x-install-id", "i-7"));
            }
            let target = document.example_target(&method, &path);
            let answer = exchange(listener(&gateway, operation), &method, &target, &headers, sent(&body)).await;
            assert!((200..300).contains(&answer.status), "{method} {path} {body}: {answer:?}");
            document.check(&method, &path, &answer);
            let refused = answer.json();
            assert!(refused.get("results").is_none_or(|all| !all.to_string().contains("error")), "{path} {refused}");
            assert_ne!(refused.get("success"), Some(&json!(false)), "{path} {refused}");
            examples += 1;
        }
    }
    assert!(examples > 20, "{examples}");
}

/// What a schema calls required is what the gateway insists on, no more and no less.
#[tokio::test]
async fn doc_02_a_member_is_needed_where_the_document_says_so_and_nowhere_else() {
    let (gateway, _runs) = open_gateway().await;
    let document = Document::read("openapi.json");
    let (mut needed, mut spared) = (0, 0);
    for (method, path) in document.operations() {
        let operation = document.operation(&method, &path);
        let media = &operation["requestBody"]["content"]["application/json"];
        let Some(name) = media["schema"]["$ref"].as_str() else { continue };
        for (kind, body) in bodies(operation) {
            let (Value::Object(members), "application/json") = (&body, kind.as_str()) else { continue };
            for member in members.keys() {
                let mut without = members.clone();
                without.remove(member);
                let without = Value::Object(without);
                let fits = document.misfit(&media["schema"], &without).is_none();
                let target = document.example_target(&method, &path);
                let at = listener(&gateway, operation);
                let answer = exchange(at, &method, &target, &[JSON, COOKIE], without.to_string()).await;
                document.check(&method, &path, &answer);
                let taken = answer.status < 300 && answer.json().get("success") != Some(&json!(false));
                // That one of two members is needed is said in words alone.
                let is_open = name.ends_with("/StageEventPost");
                assert!(taken == fits || is_open && fits, "{path} without {member}: {answer:?}");
                *(if fits { &mut spared } else { &mut needed }) += 1;
            }
        }
    }
    assert!(needed > 25 && spared > 15, "{needed} needed, {spared} spared");
}

// ---------------------------------------------------------------------------------------------------------------
// DOC-01: frames
// ---------------------------------------------------------------------------------------------------------------

/// The messages of the AsyncAPI document by their name.
fn messages(document: &Document) -> BTreeMap<String, Value> {
    let all = document.json["components"]["messages"].as_object().unwrap();
    all.values().map(|message| (message["name"].as_str().unwrap().to_owned(), message.clone())).collect()
}

/// Checks a frame against the message of its type.
fn check_frame(document: &Document, messages: &BTreeMap<String, Value>, frame: &Value) {
    let name = frame["type"].as_str().unwrap();
    let message = messages.get(name).unwrap_or_else(|| panic!("asyncapi.json has no {name}"));
    assert_eq!(document.misfit(&message["payload"], frame), None, "{frame}");
}

#[tokio::test]
async fn doc_01_what_travels_over_both_transports_is_as_the_document_says() {
    let (asyncapi, openapi) = (Document::read("asyncapi.json"), Document::read("openapi.json"));
    let messages = messages(&asyncapi);
    let gateway = Gateway::start(&[]);
    let (mut socket, welcome) = Socket::connect(&gateway, "?observe=1").await;
    let mut source = Source::open(&gateway, "?observe=1", None).await;
    let own = format!("connection:{}", welcome["data"]["connection_id"].as_str().unwrap());
    check_frame(&asyncapi, &messages, &welcome);

    // One of each that can be published, as the schemas show it.
    let publications = openapi.json["components"]["schemas"]["KnownPublication"]["oneOf"].as_array().unwrap();
    let mut events: Vec<Value> = publications.iter().map(|it| openapi.follow(it)["examples"][0].clone()).collect();
    let mut private = BTreeSet::new();
    for event in &mut events {
        if event["to"].as_str().unwrap().starts_with("connection:") {
            event["to"] = json!(own);
            private.insert(event["type"].as_str().unwrap().to_owned());
        }
    }
    let expected: BTreeSet<String> = events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    assert!(expected.len() > 60, "{}", expected.len());
    let body = Value::Array(events).to_string();
    let answer = common::post(&gateway, "/v1/events", "application/json", body).await;
    assert_eq!(answer.status, 202);
    let refused: Vec<Value> =
        answer.json()["results"].as_array().unwrap().iter().filter(|it| it.get("error").is_some()).cloned().collect();
    assert_eq!(refused, Vec::<Value>::new());
    common::publish(&gateway, json!({"type": "_test.end", "to": "global", "data": {}})).await;

    let mut over_socket = BTreeSet::new();
    for frame in socket.events_until(|frame| frame["type"] == "_test.end").await {
        let name = frame["type"].as_str().unwrap().to_owned();
        if name != "_test.end" {
            check_frame(&asyncapi, &messages, &frame);
            over_socket.insert(name);
        }
    }
    let mut over_stream = BTreeSet::new();
    loop {
        let frame = source.next().await.unwrap();
        let name = frame["type"].as_str().unwrap().to_owned();
        if name == "_test.end" {
            break;
        }
        check_frame(&asyncapi, &messages, &frame);
        over_stream.insert(name);
    }
    let missing = |seen: &BTreeSet<String>| expected.difference(seen).cloned().collect::<BTreeSet<_>>();
    assert_eq!(missing(&over_socket), BTreeSet::new(), "every event came over the socket");
    assert_eq!(missing(&over_stream), private, "every event that is not for the other came over the stream");
}

#[tokio::test]
async fn doc_01_every_command_is_taken_and_answered_as_the_document_says() {
    let document = Document::read("asyncapi.json");
    let messages = messages(&document);
    let gateway = Gateway::start(&[]);
    let operations = document.json["operations"].as_object().unwrap();
    let receives: Vec<&Value> = operations.values().filter(|operation| operation["action"] == "receive").collect();
    assert_eq!(receives.len(), 4);
    let named = |reference: &Value| document.follow(document.follow(reference))["name"].as_str().unwrap().to_owned();
    for operation in receives {
        let (mut socket, welcome) = Socket::connect(&gateway, "").await;
        let name = named(&operation["messages"][0]);
        let mut command = messages[&name]["examples"][0]["payload"].clone();
        assert_eq!(document.misfit(&messages[&name]["payload"], &command), None);
        if command["data"].get("epoch").is_some() {
            command["data"]["epoch"] = welcome["data"]["epoch"].clone();
        }
        socket.send_text(command.to_string()).await;
        let answer = socket.events_until(|frame| frame["data"]["re"] == command["id"]).await.pop().unwrap();
        check_frame(&document, &messages, &answer);
        let answers: Vec<String> = operation["reply"]["messages"].as_array().unwrap().iter().map(named).collect();
        let kind = answer["type"].as_str().unwrap();
        assert!(answers.iter().any(|name| name == kind), "{name} was answered by {kind}: {answers:?}");
        assert!(kind != "connection.error" || name == "authenticate", "{answer}");

        // And one that does not fit is refused.
        socket.send_text(json!({"type": name, "id": "2", "data": {"nonsense": true}}).to_string()).await;
        let error = socket.events_until(|frame| frame["data"]["re"] == "2").await.pop().unwrap();
        assert_eq!(error["type"], "connection.error", "{error}");
        check_frame(&document, &messages, &error);
    }
}

#[tokio::test]
async fn doc_01_a_command_for_the_application_is_as_the_document_says() {
    let document = Document::read("asyncapi.json");
    let gateway = Gateway::speaking(&["adw"], &[]);
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = common::request(Method::GET, "/v1/commands", &gateway).body(Full::<Bytes>::default()).unwrap();
    let mut feed = soon("the feed", sender.send_request(request)).await.unwrap().into_body();

    let url = format!("ws://{}/ws/trigger", gateway.at("adw"));
    let (mut page, _) = soon("a socket", tokio_tungstenite::connect_async(url)).await.unwrap();
    let asked = json!({"type": "trigger_workflow", "data": {"workflow_type": "adw_plan_iso", "issue_number": "66"}});
    futures_util::SinkExt::send(&mut page, Message::text(asked.to_string())).await.unwrap();
    let mut text = String::new();
    while !text.contains("event: command") {
        let frame = soon("a command", feed.frame()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let command: Value = serde_json::from_str(data).unwrap();
    let payload = &document.json["components"]["messages"]["ApplicationCommand"]["payload"];
    assert_eq!(document.misfit(payload, &command), None, "{command}");
    connection.abort();
}
