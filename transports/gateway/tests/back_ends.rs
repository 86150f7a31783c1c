//! What clients of the older systems ask of the application, carried out by back ends in other languages: through the stream
//! and through the webhook.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use common::{Gateway, PATIENCE, ask, get, run, soon, write_private};
use eventwire_commands::sign;
use eventwire_hub::Secret;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A back end out of the guide; killed when dropped.
struct BackEnd(Child);

impl Drop for BackEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LANGUAGES: [[&str; 2]; 2] = [["node", "backend.mjs"], ["python3", "backend.py"]];

impl BackEnd {
    /// Starts one, and waits until it says that it is ready.
    fn start(language: [&str; 2], arguments: &[&str], url: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/producers");
        let mut child = Command::new(language[0])
            .arg(language[1])
            .args(arguments)
            .current_dir(folder)
            .env("EVENTWIRE_URL", url)
            .env_remove("EVENTWIRE_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} is needed (cargo xtask setup): {error}", language[0]));
        let stdout = child.stdout.take().unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let back_end = Self(child);
        told.recv_timeout(PATIENCE).expect("a word of the back end");
        back_end
    }
}

/// A page of an older system.
struct Page(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Page {
    async fn open(address: SocketAddr, path: &str, cookie: &str) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        let (socket, _) = soon("a socket", tokio_tungstenite::connect_async(request)).await.unwrap();
        Self(socket)
    }

    /// Opens a page of Monadic Chat in a browser that was never there, and gives the cookie that it gets.
    async fn in_new_browser(gateway: &Gateway) -> (Self, String) {
        let url = format!("ws://{}/", gateway.at("monadic"));
        let (socket, answer) = soon("a socket", tokio_tungstenite::connect_async(url)).await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        (Self(socket), cookie)
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame of one of these types, passing over others.
    async fn next(&mut self, types: &[&str]) -> Value {
        loop {
            match soon("a frame", self.0.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if types.contains(&frame["type"].as_str().unwrap_or_default()) {
                        return frame;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected one of {types:?}, got {other:?}"),
            }
        }
    }
}

/// A chat turn and a workflow, asked for by pages and answered by whatever back end is behind the gateway.
async fn both_are_answered(gateway: &Gateway) {
    let (mut page, cookie) = Page::in_new_browser(gateway).await;
    let mut tab = Page::open(gateway.at("monadic"), "/", &cookie).await;
    let (mut stranger, _) = Page::in_new_browser(gateway).await;
    page.send(json!({"message": "Hello there", "app_name": "Chat"})).await;
    let answers = &["fragment", "streaming_complete", "message", "html"];
    for page in [&mut page, &mut tab] {
        assert_eq!(page.next(answers).await["content"], "You said: Hello there");
        assert_eq!(page.next(answers).await["type"], "streaming_complete");
        assert_eq!(page.next(answers).await["content"], "DONE");
        assert_eq!(page.next(answers).await["content"]["text"], "You said: Hello there");
    }
    page.send(json!({"message": "CANCEL"})).await;
    assert_eq!(page.next(&["cancel"]).await["type"], "cancel");
    stranger.send(json!({"message": "PING"})).await;
    let first = stranger.next(&["fragment", "streaming_complete", "message", "html", "cancel", "pong"]).await;
    assert_eq!(first["type"], "pong", "nobody else hears of it");

    let mut board = Page::open(gateway.at("adw"), "/ws", "x=y").await;
    let mut other = Page::open(gateway.at("adw"), "/ws", "x=y").await;
    let wish = json!({"workflow_type": "adw_plan_iso", "adw_id": "29fb6a3e", "issue_number": "66"});
    board.send(json!({"type": "trigger_workflow", "data": wish})).await;
    let answers = &["trigger_workflow_response", "trigger_response", "workflow_phase_transition", "error"];
    let answer = board.next(answers).await;
    let text = answer.to_string();
    assert!(text.contains("accepted") && text.contains("29fb6a3e") && text.contains("adw_plan_iso"), "{text}");
    assert_eq!(board.next(answers).await["type"], "workflow_phase_transition");
    assert_eq!(other.next(answers).await["type"], "workflow_phase_transition", "the response is for who asked");
}

#[tokio::test]
async fn cmd_09_and_cmd_10_back_ends_that_read_the_stream_answer_what_pages_ask() {
    for language in LANGUAGES {
        let gateway = Gateway::speaking(&["monadic", "adw"], &[]);
        let _back_end = BackEnd::start(language, &["feed"], &gateway.url());
        both_are_answered(&gateway).await;
    }
}

#[tokio::test]
async fn cmd_09_and_cmd_13_back_ends_that_are_called_answer_what_pages_ask() {
    for language in LANGUAGES {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        write_private(&file, &format!("{SECRET}\n"));
        let file = file.to_str().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let webhook = format!("http://127.0.0.1:{port}/");
        let arguments = ["--commands-webhook", &webhook, "--commands-secret-file", file];
        let gateway = Gateway::speaking(&["monadic", "adw"], &arguments);
        let back_end = BackEnd::start(language, &["webhook", &port.to_string(), file], &gateway.url());
        both_are_answered(&gateway).await;
        assert_eq!(get(&gateway, "/v1/commands").await.status, 404, "the webhook has the commands");
        only_what_is_signed_is_taken(port).await;
        drop(back_end);
    }
}

/// CMD-14: the back ends of the guide check what they get.
async fn only_what_is_signed_is_taken(port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let command = json!({
        "id": "a1", "time": "2026-11-20T23:40:01Z", "dialect": "adw", "name": "register_session",
        "connection_id": "c00000000000000ff", "data": {},
    })
    .to_string();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let body = command.clone().into();
    let good = sign(&Secret::new(SECRET), "a1", now, &body);
    let old = sign(&Secret::new(SECRET), "a1", now - 3_600, &body);
    let (now, then) = (now.to_string(), (now - 3_600).to_string());
    for (id, timestamp, signature, expected) in [
        ("a1", &now, good.as_str(), 204),
        ("a2", &now, &good, 401),
        ("a1", &then, &good, 401),
        ("a1", &then, &old, 401),
        ("a1", &now, "v1=00", 401),
        ("a1", &now, "", 401),
        ("a1", &"soon".to_owned(), &good, 401),
    ] {
        let headers = [("eventwire-id", id), ("eventwire-timestamp", timestamp), ("eventwire-signature", signature)];
        let answer = ask(address, Method::POST, "/", &headers, command.clone()).await;
        assert_eq!(answer.status, expected, "{headers:?}");
    }
    assert_eq!(ask(address, Method::POST, "/", &[], command).await.status, 401);
}

/// What a page of Monadic Chat holds after frames like these: it empties its conversation on each `past_messages`.
fn conversation_of(frames: &[Value], mut held: Vec<String>) -> Vec<String> {
    let text = |message: &Value| message["text"].as_str().unwrap_or_default().to_owned();
    for frame in frames {
        match frame["type"].as_str().unwrap_or_default() {
            "past_messages" => held = frame["content"].as_array().unwrap().iter().map(text).collect(),
            "user" | "html" => held.push(text(&frame["content"])),
            _ => {}
        }
    }
    held
}

impl Page {
    /// Every frame up to the first of this type that `is_last` takes.
    async fn until(&mut self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut frames: Vec<Value> = Vec::new();
        loop {
            match soon("a frame", self.0.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    assert_ne!(frame["type"], "error", "{frame} after {frames:?}");
                    frames.push(frame);
                    if is_last(frames.last().unwrap()) {
                        return frames;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?} after {frames:?}"),
            }
        }
    }
}

/// Item of the guide: an open page, its second tab and the back end of the guide over a restart of the gateway. The page is back
/// before the back end is.
#[tokio::test]
async fn mon_15_and_cmd_12_a_page_keeps_its_conversation_over_a_restart_with_the_back_end_of_the_guide() {
    for language in LANGUAGES {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        write_private(&file, "a secret of at least thirty-two bytes");
        let secret = ["--session-secret-file", file.to_str().unwrap()];
        let gateway = Gateway::speaking(&["monadic"], &secret);
        let (canonical, monadic) = (gateway.address, gateway.at("monadic"));
        let back_end = BackEnd::start(language, &["feed"], &gateway.url());
        let (mut page, cookie) = Page::in_new_browser(&gateway).await;
        let check = json!({"message": "CHECK_TOKEN", "initial": true, "contents": "", "ui_language": "en"});
        let load = json!({"message": "LOAD", "ui_language": "en"});
        let is = |kind: &'static str| move |frame: &Value| frame["type"] == kind;
        page.send(check.clone()).await;
        let mut frames = page.until(is("token_verified")).await;
        frames.extend(page.until(is("past_messages")).await);
        page.send(json!({"message": "UPDATE_PARAMS", "params": {"app_name": "Echo", "model": "m"}})).await;
        page.send(json!({"message": "Hello there", "app_name": "Echo"})).await;
        frames.extend(page.until(is("html")).await);
        let held = conversation_of(&frames, Vec::new());
        assert_eq!(held, ["Hello there", "You said: Hello there"], "{language:?}");
        // Let the back end take the parameters before the gateway goes.
        page.send(load.clone()).await;
        let parameters =
            page.until(|frame| frame["type"] == "parameters" && frame["from_param_update"].is_null()).await;
        assert_eq!(parameters.last().unwrap()["content"]["model"], "m");
        page.until(is("past_messages")).await;
        gateway.ended_by("KILL");

        let listeners = [format!("--listen={canonical}"), format!("--listen={monadic}=monadic")];
        let quiet = ["serve", "--no-sample", "--heartbeat-seconds", "3600", "--drain-seconds", "0"];
        let arguments = [&quiet[..], &[&listeners[0], &listeners[1]], &secret].concat();
        let gateway = Gateway::start_as(&arguments);
        // The page comes back by itself: its conversation is still there, and it asks at once.
        let mut page = Page::open(monadic, "/", &cookie).await;
        page.send(load.clone()).await;
        page.send(check.clone()).await;
        let mut frames = page.until(is("token_verified")).await;
        frames.extend(page.until(is("past_messages")).await);
        let mut so_far = held.clone();
        for frame in &frames {
            so_far = conversation_of(std::slice::from_ref(frame), so_far);
            assert_eq!(so_far, held, "{language:?}: {frame}");
        }
        let parameters = frames.iter().find(|frame| frame["type"] == "parameters").unwrap();
        assert_eq!(parameters["content"]["app_name"], "Echo");
        // A late tab shows the state of the other, before anyone asks.
        let mut late = Page::open(monadic, "/", &cookie).await;
        let frames = late.until(is("past_messages")).await;
        assert_eq!(conversation_of(&frames, Vec::new()), held);
        assert!(
            frames.iter().any(|frame| frame["type"] == "apps" && frame["current_app_name"] == "Echo"),
            "{frames:?}"
        );
        drop(back_end);
        drop(gateway);
    }
}

#[tokio::test]
async fn cmd_12_without_a_back_end_the_page_that_asks_is_told() {
    let gateway = Gateway::speaking(&["monadic", "adw"], &[]);
    let (mut page, _) = Page::in_new_browser(&gateway).await;
    page.send(json!({"message": "Hello there"})).await;
    assert!(page.next(&["error"]).await.to_string().contains("no back end"));
    let mut board = Page::open(gateway.at("adw"), "/ws", "x=y").await;
    board.send(json!({"type": "trigger_workflow", "data": {"workflow_type": "adw_plan_iso"}})).await;
    assert!(board.next(&["error", "trigger_response"]).await.to_string().contains("no back end"));
}

#[test]
fn cmd_13_a_webhook_that_cannot_be_used_ends_the_start_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        write_private(&file, text);
        file.to_str().unwrap().to_owned()
    };
    let (secret, short, no_pem) = (write("secret", SECRET), write("short", "short"), write("ca", "no PEM"));
    let url = "--commands-webhook=http://127.0.0.1:9/";
    let secret = format!("--commands-secret-file={secret}");
    for (arguments, says) in [
        (vec![url], "commands_secret_file"),
        (vec![secret.as_str()], "commands_webhook"),
        (vec![url, "--commands-secret-file=/nowhere"], "commands_secret_file"),
        (vec![url, &format!("--commands-secret-file={short}")], "16 bytes"),
        (vec!["--commands-webhook=nowhere", &secret], "http://"),
        (vec![url, &secret, &format!("--commands-ca-file={no_pem}")], "commands_ca_file"),
    ] {
        let ended = run(&[&["serve", "--listen", "127.0.0.1:0", "--no-sample"], &arguments[..]].concat(), "");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(says) && ended.stderr.trim_end().lines().count() == 1, "{}", ended.stderr);
    }
}
