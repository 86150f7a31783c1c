//! What the back ends of the older systems call, in their own languages, against a gateway as a user starts it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Gateway, PATIENCE, Socket, api_key, post, soon, write_private};
use serde_json::{Value, json};

const COOKIE: &str = "5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11";

/// A language of a back end.
#[derive(Clone, Copy, Debug)]
enum Language {
    Ruby,
    Node,
    Python,
}

impl Language {
    /// Runs statements below the helper of the language; each `say(..)` in them is one result.
    async fn run(self, url: &str, variables: &[(&str, &str)], statements: &str) -> Vec<Value> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/producers");
        let (program, flags, script) = match self {
            Self::Ruby => (
                "ruby",
                vec!["-I.", "-e"],
                format!("require 'eventwire'\ndef say(it) = puts(JSON.generate([it]))\n{statements}"),
            ),
            Self::Node => (
                "node",
                vec!["--input-type=module", "-e"],
                format!(
                    "import {{ setupWebSocketServer }} from './eventwire.mjs';\n\
                     const say = async (it) => console.log(JSON.stringify([await it]));\n{statements}"
                ),
            ),
            Self::Python => (
                "python3",
                vec!["-B", "-c"],
                format!(
                    "import json, sys\nsys.path.insert(0, '.')\nfrom eventwire import *\n\
                     def say(it): print(json.dumps([it]))\n{statements}"
                ),
            ),
        };
        let mut command = tokio::process::Command::new(program);
        command.args(flags).arg(script).current_dir(folder).kill_on_drop(true).stdin(Stdio::null());
        for name in ["EVENTWIRE_TOKEN", "WEBSOCKET_PROGRESS_ENABLED", "DISABLE_WEBSOCKET_NOTIFICATIONS"] {
            command.env_remove(name);
        }
        // What a machine behind a proxy has set must not be in the way.
        command.env("http_proxy", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
        command.env("EVENTWIRE_URL", url).envs(variables.iter().copied());
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{program} did not end")).unwrap_or_else(|error| {
            panic!("{program} is needed (cargo xtask setup): {error}");
        });
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{program}: {stderr}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()[0].clone()).collect()
    }
}

/// Somebody who sees everything that is published.
async fn observer(gateway: &Gateway) -> Socket {
    let (mut socket, _) = Socket::connect(gateway, "").await;
    socket.subscribe(&["*"]).await;
    socket
}

/// What was published, as type and audience, with the payloads beside.
async fn published(gateway: &Gateway, observer: &mut Socket) -> (Vec<[String; 2]>, Vec<Value>) {
    let end = json!({"type": "_test.end", "to": "global", "data": {}}).to_string();
    assert_eq!(post(gateway, "/v1/events", "application/json", end).await.status, 202);
    let mut events = observer.events_until(|event| event["type"] == "_test.end").await;
    events.pop();
    let address = |event: &Value| ["type", "to"].map(|name| event[name].as_str().unwrap().to_owned());
    (events.iter().map(address).collect(), events.iter().map(|event| event["data"].clone()).collect())
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<[String; 2]> {
    expected.iter().map(|(kind, to)| [(*kind).to_owned(), (*to).to_owned()]).collect()
}

/// The id of the session that a cookie opens.
async fn session(gateway: &Gateway, cookie: &str) -> String {
    let body = json!({ "cookie": cookie }).to_string();
    let answer = post(gateway, "/v1/sessions/resolve", "application/json", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["session_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn http_11_the_back_end_of_monadic_chat_publishes_with_its_own_calls() {
    let gateway = Gateway::start(&[]);
    let mut observer = observer(&gateway).await;
    let script = format!(
        r#"
        say WebSocketHelper.broadcast_progress({{ "type" => "wait", "content" => "Thinking", "session_id" => "{COOKIE}" }}, "{COOKIE}")
        say WebSocketHelper.broadcast_progress({{ type: "wait", content: "Symbols" }}, "{COOKIE}")
        say WebSocketHelper.send_to_session({{ "type" => "cancel" }}.to_json, "{COOKIE}")
        say WebSocketHelper.send_to_session({{ "type" => "streaming_complete" }}, "another")
        say WebSocketHelper.send_to_session({{ "type" => "cancel" }}, "~0123456789abcdef0123456789abcdef")
        say WebSocketHelper.broadcast_to_all({{ "type" => "elevenlabs_voices", "content" => [] }}.to_json)
        say WebSocketHelper.broadcast_to_all({{ "type" => "cancel" }}.to_json)
        say WebSocketHelper.broadcast_progress({{ "type" => "wait", "content" => "Whose?" }})
        say WebSocketHelper.send_to_session("not JSON", "{COOKIE}")
        say WebSocketHelper.send_to_session({{ "type" => "invented" }}, "{COOKIE}")
        say WebSocketHelper.send_to_session({{ "type" => "cancel" }}, "broken\r\nEventwire-To: global")
        "#
    );
    let told = Language::Ruby.run(&gateway.url(), &[], &script).await;
    assert_eq!(told, [true, true, true, true, true, true, false, false, false, false, false].map(Value::from));
    let (addresses, data) = published(&gateway, &mut observer).await;
    let (own, another) = (session(&gateway, COOKIE).await, session(&gateway, "another").await);
    let (own, another) = (format!("session:{own}"), format!("session:{another}"));
    let expected = pairs([
        ("chat.wait", &own),
        ("chat.wait", &own),
        ("chat.cancel", &own),
        ("chat.streaming_complete", &another),
        ("chat.cancel", "session:~0123456789abcdef0123456789abcdef"),
        ("chat.voices", "global"),
    ]);
    assert_eq!(addresses, expected);
    assert_eq!((&data[0]["content"], &data[1]["content"]), (&json!("Thinking"), &json!("Symbols")));
    assert!(data.iter().all(|data| !data.to_string().contains(COOKIE)), "{data:?}");
}

#[tokio::test]
async fn http_11_progress_is_switched_off_in_the_back_end_or_in_the_gateway() {
    let gateway = Gateway::start(&["--progress-enabled=false"]);
    let mut observer = observer(&gateway).await;
    let script = format!(
        r#"
        say WebSocketHelper.broadcast_progress({{ "type" => "wait", "content" => "x" }}, "{COOKIE}")
        say WebSocketHelper.send_to_session({{ "type" => "cancel" }}, "{COOKIE}")
        "#
    );
    let off = &[("WEBSOCKET_PROGRESS_ENABLED", "false")];
    assert_eq!(Language::Ruby.run(&gateway.url(), off, &script).await, [false, true]);
    assert_eq!(Language::Ruby.run(&gateway.url(), &[], &script).await, [true, true]);
    let own = format!("session:{}", session(&gateway, COOKIE).await);
    let (addresses, _) = published(&gateway, &mut observer).await;
    assert_eq!(addresses, pairs([("chat.cancel", &own), ("chat.cancel", &own)]));
}

#[tokio::test]
async fn http_11_and_bug_b3_only_with_a_single_user_an_event_without_a_session_goes_to_every_page() {
    let script = r#"say WebSocketHelper.broadcast_to_all({ "type" => "cancel" }.to_json)"#;
    let gateway = Gateway::speaking(&["monadic"], &["--single-user"]);
    let mut observer = observer(&gateway).await;
    let url = format!("ws://{}/", gateway.at("monadic"));
    let (_page, answer) = soon("a page", tokio_tungstenite::connect_async(url)).await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().strip_prefix("_monadic_session_id=").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(Language::Ruby.run(&gateway.url(), &[], script).await, [true]);
    let own = format!("session:{}", session(&gateway, cookie).await);
    assert_eq!(published(&gateway, &mut observer).await.0, pairs([("chat.cancel", &own)]));
}

#[tokio::test]
async fn http_11_the_back_end_of_product_demo_publishes_with_its_own_calls() {
    let gateway = Gateway::start(&[]);
    let mut observer = observer(&gateway).await;
    let script = "
        const wsServer = setupWebSocketServer({});
        const document = { type: 'document_status', documentId: 'doc-1', status: 'PROCESSING', progress: 30, message: 'm' };
        const chunk = (content) => ({ type: 'message_chunk', messageId: 'm', sessionId: 's', content, isComplete: false });
        say(wsServer.broadcast(42, document));
        for (const content of ['a', 'b', 'c']) wsServer.broadcast('43', chunk(content));
        say(wsServer.broadcastAll({ type: 'user_activity', userId: 42, username: 'ada', action: 'login' }).then(() => 'over'));
        say(wsServer.broadcastAll(document));
        say(wsServer.broadcast('no user', document));
        say(wsServer.broadcast(42, { type: 'invented' }));
        say(wsServer.broadcast(42, 7n));
    ";
    let told = Language::Node.run(&gateway.url(), &[], script).await;
    assert_eq!(told, [json!(true), json!("over"), json!(false), json!(false), json!(false), json!(false)]);
    let (addresses, data) = published(&gateway, &mut observer).await;
    assert_eq!(addresses[..2], pairs([("document.status", "user:42"), ("message.chunk", "user:43")]));
    let text: String = data.iter().filter_map(|data| data["content"].as_str()).collect();
    assert_eq!(text, "abc", "in the order of the calls");
    assert!(addresses.iter().all(|[kind, to]| to != "global" || kind == "user.activity"), "{addresses:?}");
}

#[tokio::test]
async fn http_11_the_back_end_of_shared_context_publishes_with_its_own_call() {
    let gateway = Gateway::start(&[]);
    let mut observer = observer(&gateway).await;
    let script = r#"
message = {"id": 1, "sender": "alice", "content": "hello", "visibility": "public", "timestamp": "2025-08-13T10:00:00+00:00"}
say(broadcast("s1", {"type": "new_message", "data": message}))
say(broadcast("s1", {"type": "invented"}))
say(broadcast("a b", {"type": "new_message", "data": message}))
say(broadcast("s1\r\nx: y", {"type": "new_message", "data": message}))
say(broadcast("s1", {"type": "new_message", "data": {1, 2}}))
"#;
    let told = Language::Python.run(&gateway.url(), &[], script).await;
    assert_eq!(told, [true, false, false, false, false]);
    let (addresses, data) = published(&gateway, &mut observer).await;
    assert_eq!(addresses, pairs([("context.new_message", "session:s1")]));
    assert_eq!(data[0]["content"], "hello");
}

#[tokio::test]
async fn http_11_the_back_end_of_amiga_emits_as_before() {
    let gateway = Gateway::start(&[]);
    let mut observer = observer(&gateway).await;
    let (_, welcome) = Socket::connect(&gateway, "").await;
    let own = welcome["data"]["connection_id"].as_str().unwrap().to_owned();
    let script = r#"
task = {"task_id": "t1", "status": "running", "description": "Fix"}
say(SocketIO().emit("task_update", task, room="tasks"))
say(SocketIO().emit("task_update", task, to="another"))
say(SocketIO().emit("task_update", task, room="no room"))
say(SocketIO().emit("invented", task, room="tasks"))
say(SocketIO().emit("connected", {}, to="OWN"))
"#;
    let told = Language::Python.run(&gateway.url(), &[], &script.replace("OWN", &own)).await;
    assert_eq!(told, [true, true, false, false, false]);
    let (addresses, data) = published(&gateway, &mut observer).await;
    assert_eq!(addresses, pairs([("task.update", "room:tasks"), ("task.update", "room:another")]));
    assert_eq!(data[0]["task_id"], "t1");
}

#[tokio::test]
async fn http_11_a_workflow_of_adw_tells_what_it_does_with_its_own_calls() {
    let gateway = Gateway::start(&[]);
    let mut observer = observer(&gateway).await;
    let script = r#"
n = WebSocketNotifier("29fb6a3e")
say(n.send_agent_state_update("state_change", {"status": "executing"}))
say(n.send_agent_log_entry("Creating the plan", level="SUCCESS"))
say(n.send_file_operation("src/app.js", "write", lines_added=3))
say(n.send_agent_thinking("Considering", duration_ms=5, sequence=1))
say(n.send_tool_execution("Read", "pre", tool_use_id="t1", input_data={"file_path": "a"}))
say(n.send_tool_execution("Read", "post", tool_use_id="t1", output="text", duration_ms=3))
say(n.send_text_block("Done", sequence=2))
say(n.send_workflow_phase_transition("plan", "build", workflow_name="adw_sdlc_iso"))
say(n.send_agent_output_chunk("planner", "{}", line_number=1, total_lines=2))
say(n.send_screenshot_available("reviewer/review_img/01.png"))
say(n.send_spec_created("specs/plan.md"))
say(n.send_status_update("adw_sdlc_iso", "in_progress", "Working", progress_percent=40))
say(n.send_log("adw_sdlc_iso", "A line"))
say(WebSocketNotifier("not an id").send_text_block("Whose?"))
n.close()
"#;
    let told = Language::Python.run(&gateway.url(), &[], script).await;
    let taken = told.iter().filter(|told| **told == json!(true)).count();
    assert_eq!((taken, told.last()), (13, Some(&json!(false))), "{told:?}");
    let (addresses, _) = published(&gateway, &mut observer).await;
    let kinds: Vec<&str> = addresses.iter().map(|[kind, _]| kind.as_str()).collect();
    for kind in [
        "adw.agent_log",
        "adw.file_changed",
        "adw.thinking_block",
        "adw.tool_use_pre",
        "adw.tool_use_post",
        "adw.text_block",
        "adw.workflow_phase_transition",
        "adw.agent_output_chunk",
        "adw.screenshot_available",
        "adw.spec_created",
        "adw.status_update",
        "adw.workflow_log",
    ] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    assert!(addresses.iter().all(|[_, to]| to.starts_with("adw:29fb6a3e")), "{addresses:?}");
    let off = &[("DISABLE_WEBSOCKET_NOTIFICATIONS", "true")];
    let script = "say(WebSocketNotifier('29fb6a3e').send_text_block('x'))\nsay(WebSocketNotifier('29fb6a3e').send_log('w', 'x'))";
    assert_eq!(Language::Python.run(&gateway.url(), off, script).await, [false, false]);
}

/// A few calls of each language.
const CALLS: [(Language, &str); 3] = [
    (
        Language::Ruby,
        r#"
        say WebSocketHelper.broadcast_progress({ "type" => "wait", "content" => "x" }, "cookie")
        say WebSocketHelper.send_to_session({ "type" => "cancel" }.to_json, "cookie")
        say WebSocketHelper.broadcast_to_all({ "type" => "elevenlabs_voices", "content" => [] }.to_json)
        "#,
    ),
    (
        Language::Node,
        "const { broadcast, broadcastAll } = setupWebSocketServer();
         const chunk = { type: 'message_chunk', messageId: 'm', sessionId: 's', content: 'x', isComplete: true };
         say(broadcast(1, chunk));
         say(broadcastAll({ type: 'user_activity', userId: 'u', username: 'ada', action: 'viewing_document' }));
         say(broadcast(2, chunk));",
    ),
    (
        Language::Python,
        r#"
message = {"id": 1, "sender": "alice", "content": "hello", "visibility": "public"}
say(broadcast("s1", {"type": "new_message", "data": message}))
say(WebSocketNotifier("29fb6a3e").send_text_block("x"))
say(WebSocketNotifier("29fb6a3e").send_log("w", "x"))
"#,
    ),
];

#[tokio::test]
async fn http_11_a_server_that_is_absent_or_hangs_costs_a_back_end_two_seconds_and_nothing_else() {
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let absent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (language, calls) in CALLS {
        for (address, hanging) in [(absent, false), (hangs.local_addr().unwrap(), true)] {
            let began = Instant::now();
            let told = language.run(&format!("http://{address}"), &[], calls).await;
            assert_eq!(told, [false, false, false], "{language:?}");
            // Each call is given up by itself; the program of Node makes them at once.
            let most = if hanging { Duration::from_secs(6 + 4) } else { Duration::from_secs(4) };
            assert!(began.elapsed() < most, "{language:?} took {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn http_11_and_auth_01_a_back_end_shows_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let made = api_key(&["--name", "producer", "--permission", "publish"]);
    let file = directory.path().join("keys.toml");
    write_private(&file, &toml::to_string(&json!({"key": [made["entry"]]})).unwrap());
    let gateway = Gateway::start(&["--api-keys-file", file.to_str().unwrap()]);
    let key = made["key"].as_str().unwrap();
    for (language, calls) in CALLS {
        for (token, taken) in [(key, true), ("wrong", false)] {
            let told = language.run(&gateway.url(), &[("EVENTWIRE_TOKEN", token)], calls).await;
            assert_eq!(told, [taken; 3], "{language:?}");
        }
        assert_eq!(language.run(&gateway.url(), &[], calls).await, [false; 3], "{language:?}");
    }
}
