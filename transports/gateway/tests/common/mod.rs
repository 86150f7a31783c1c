//! A gateway as a user starts it, and clients that speak to it as users' programs do.
//!
//! Nothing here waits for time to pass: every wait is for something to happen, with a bound after which the test fails.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `what`, not for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// The binary, with an environment of its own.
pub fn eventwire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventwire"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("EVENTWIRE_")) {
            command.env_remove(name);
        }
    }
    command
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command of the binary to its end.
pub fn run(arguments: &[&str], input: &str) -> Ended {
    let mut command = eventwire(arguments);
    finish(command.stdin(Stdio::piped()), input)
}

/// Runs a prepared command to its end.
pub fn finish(command: &mut Command, input: &str) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        // A program that refuses its arguments does not read; that is not this function's business.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    }
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (out, err) = (std::thread::spawn(|| text(out)), std::thread::spawn(|| text(err)));
    let status = wait(&mut child);
    Ended { code: status.code(), stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

/// A new API key and its entry: `{"key": .., "entry": ..}`. The arguments are those of `eventwire api-key`.
pub fn api_key(arguments: &[&str]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let made = run(&[&["api-key", "--json", "--secret-file", file.to_str().unwrap()], arguments].concat(), "");
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    let printed: Value = serde_json::from_str(&made.stdout).unwrap_or_else(|_| panic!("{made:?}"));
    json!({ "key": std::fs::read_to_string(file).unwrap().trim(), "entry": printed["entry"] })
}

/// Writes a file with credentials as the gateway wants it: its owner alone reads and writes it, whatever the umask.
pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    // A file that is being watched must never be there with another mode.
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

fn text(mut pipe: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                panic!("the program did not end within {PATIENCE:?}");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    /// What it wrote to standard error up to its address.
    pub start_block: String,
    rest: Option<std::thread::JoinHandle<String>>,
    pub directory: tempfile::TempDir,
}

impl Gateway {
    /// Starts one on a free port, without the sample run and without heartbeats that would come between.
    pub fn start(arguments: &[&str]) -> Self {
        let quiet =
            ["serve", "--listen", "127.0.0.1:0", "--no-sample", "--heartbeat-seconds", "3600", "--drain-seconds", "0"];
        Self::start_as(&[&quiet[..], arguments].concat())
    }

    /// Starts one with a canonical listener and one for each of these dialects, all on free ports; [`Gateway::at`] tells
    /// which.
    pub fn speaking(dialects: &[&str], arguments: &[&str]) -> Self {
        let listeners: Vec<String> = dialects.iter().map(|dialect| format!("--listen=127.0.0.1:0={dialect}")).collect();
        let listeners: Vec<&str> = listeners.iter().map(String::as_str).collect();
        Self::start(&[&listeners, arguments].concat())
    }

    /// The address of the listener for a dialect.
    pub fn at(&self, dialect: &str) -> SocketAddr {
        let line = self.start_block.lines().find(|line| line.trim_start().starts_with(&format!("{dialect} ")));
        let url = line.and_then(|line| line.split_once("http://"));
        url.and_then(|(_, rest)| rest.split('/').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no listener for {dialect} in: {}", self.start_block))
    }

    /// Starts one with exactly these arguments.
    pub fn start_as(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = eventwire(arguments);
        let mut child = command
            .current_dir(directory.path())
            .env("TMPDIR", directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (tell, told) = mpsc::channel();
        let rest = std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut block = String::new();
            while lines.read_line(&mut block).is_ok_and(|read| read > 0) {
                let last = block.lines().last().unwrap_or_default();
                // The block ends with what plays.
                if last.trim_start().starts_with("agents ") {
                    break;
                }
            }
            let _ = tell.send(block);
            text(lines)
        });
        let start_block = told.recv_timeout(PATIENCE).unwrap();
        let address = start_block
            .split_once("http://")
            .and_then(|(_, rest)| rest.split('/').next()?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no address in: {start_block}"));
        Self { child, address, start_block, rest: Some(rest), directory }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether the process is still there.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, as `kill` does.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends a signal and waits for the end.
    pub fn ended_by(self, name: &str) -> Ended {
        self.signal(name);
        self.ended()
    }

    /// Waits for its end and says how it was, with the rest of its standard error.
    pub fn ended(mut self) -> Ended {
        let status = wait(&mut self.child);
        let stderr = self.rest.take().map(|rest| rest.join().unwrap()).unwrap_or_default();
        Ended { code: status.code(), stdout: String::new(), stderr }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking()
            && let Some(rest) = self.rest.take()
        {
            eprintln!("the gateway said:\n{}{}", self.start_block, rest.join().unwrap_or_default());
        }
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The code of an error answer; panics when it is none.
    pub fn code(&self) -> String {
        let json = self.json();
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let message = json.pointer("/error/message").and_then(Value::as_str).unwrap_or_else(|| panic!("{json}"));
        assert!(!message.is_empty() && !message.contains('\n'), "{json}");
        json.pointer("/error/code").and_then(Value::as_str).unwrap_or_else(|| panic!("{json}")).to_owned()
    }
}

/// A request to build on.
pub fn request(method: Method, path: &str, gateway: &Gateway) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, gateway.address.to_string())
}

/// Sends a request on a connection of its own.
pub async fn send(gateway: &Gateway, request: Request<Full<Bytes>>) -> Answer {
    send_to(gateway.address, request).await
}

/// Asks a listener something.
pub async fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send_to(address, request.body(Full::new(body.into())).unwrap()).await
}

async fn send_to(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    soon("an answer", async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    })
    .await
}

pub async fn get(gateway: &Gateway, path: &str) -> Answer {
    send(gateway, request(Method::GET, path, gateway).body(Full::default()).unwrap()).await
}

pub async fn post(gateway: &Gateway, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let request = request(Method::POST, path, gateway).header(header::CONTENT_TYPE, content_type);
    send(gateway, request.body(Full::new(body.into())).unwrap()).await
}

/// Publishes one event that must be taken, and gives its number if it has one.
pub async fn publish(gateway: &Gateway, event: Value) -> Option<u64> {
    let answer = post(gateway, "/v1/events", "application/json", event.to_string()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json().pointer("/results/0/seq").and_then(Value::as_u64)
}

/// An event in vendor space that says its number.
pub fn note(to: &str, number: u64) -> Value {
    json!({"type": "_test.note", "to": to, "data": {"number": number}})
}

/// Sends bytes as they are and reads until the gateway closes. With `and_no_more` the gateway is told that nothing follows; to
/// most servers that means that nobody waits for an answer to a whole request any more.
pub async fn raw(gateway: &Gateway, bytes: &[u8], and_no_more: bool) -> String {
    soon("a close", async {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if and_no_more {
            stream.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}

/// A WebSocket client that takes nothing for granted.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
}

impl Socket {
    /// Connects and reads the welcome.
    pub async fn connect(gateway: &Gateway, query: &str) -> (Self, Value) {
        let mut socket = Self::open(gateway, query).await.unwrap();
        let welcome = socket.event().await;
        assert_eq!(welcome["type"], "connection.welcome", "{welcome}");
        (socket, welcome)
    }

    /// Connects, if it is allowed to.
    pub async fn open(gateway: &Gateway, query: &str) -> Result<Self, tungstenite::Error> {
        Self::open_with(gateway, query, &[("sec-websocket-protocol", "eventwire.v1")]).await
    }

    /// Connects with these headers.
    pub async fn open_with(
        gateway: &Gateway,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{}/v1/ws{query}", gateway.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (stream, _) = soon("a handshake", tokio_tungstenite::connect_async(request)).await?;
        Ok(Self { stream, next_id: 0 })
    }

    pub async fn send(&mut self, message: Message) {
        soon("room to write", self.stream.send(message)).await.unwrap();
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }

    /// Sends a command and gives the first event that answers it, with everything that came before it.
    pub async fn command(&mut self, kind: &str, data: Value) -> (Value, Vec<Value>) {
        self.next_id += 1;
        let id = format!("t{}", self.next_id);
        self.send_text(json!({"type": kind, "id": id, "data": data}).to_string()).await;
        let mut before = Vec::new();
        loop {
            let event = self.event().await;
            if event.pointer("/data/re") == Some(&json!(id)) {
                return (event, before);
            }
            before.push(event);
        }
    }

    /// Subscribes from now on; every target must be taken.
    pub async fn subscribe(&mut self, targets: &[&str]) {
        let streams = targets.iter().map(|to| json!({"to": to})).collect::<Vec<_>>();
        let (answer, _) = self.command("subscribe", json!({"streams": streams})).await;
        assert_eq!(answer["type"], "connection.subscribed", "{answer}");
        assert_eq!(answer["data"]["refused"], json!([]), "{answer}");
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")),
            other => panic!("expected an event, got {other:?}"),
        }
    }

    /// The next message that is no ping; `None` at the end.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            match soon("a message", self.stream.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Reads events up to and with the first that `is_last`.
    pub async fn events_until(&mut self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.event().await;
            let last = is_last(&event);
            events.push(event);
            if last {
                return events;
            }
        }
    }

    /// The code with which the server closes, skipping events before it.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.next().await {
                Some(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

/// An `EventSource`, without its reconnecting.
pub struct Source {
    body: hyper::body::Incoming,
    bytes: Vec<u8>,
    /// What `EventSource` would send as `Last-Event-ID` now; blocks without data count as well.
    pub cursor: Option<String>,
    _connection: tokio::task::JoinHandle<Result<(), hyper::Error>>,
}

impl Source {
    /// Opens `/v1/sse` with a query and perhaps a cursor to go on from.
    pub async fn open(gateway: &Gateway, query: &str, cursor: Option<&str>) -> Self {
        Self::open_with(gateway, query, cursor, &[]).await
    }

    /// Opens it with these headers.
    pub async fn open_with(
        gateway: &Gateway,
        query: &str,
        cursor: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let mut builder =
            request(Method::GET, &format!("/v1/sse{query}"), gateway).header(header::ACCEPT, "text/event-stream");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        if let Some(cursor) = cursor {
            builder = builder.header("last-event-id", cursor);
        }
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = builder.body(Full::<Bytes>::default()).unwrap();
        let answer = soon("a stream", sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        // The sender goes with the connection, which lives in its task.
        std::mem::forget(sender);
        Self { body: answer.into_body(), bytes: Vec::new(), cursor: cursor.map(str::to_owned), _connection: connection }
    }

    /// The next event; comments are passed over. `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
                let rest = self.bytes.split_off(end + 2);
                let message = String::from_utf8(std::mem::replace(&mut self.bytes, rest)).unwrap();
                if let Some(event) = self.take(message.trim_end()) {
                    return Some(event);
                }
                continue;
            }
            let frame = soon("a message", self.body.frame()).await?.ok()?;
            if let Some(bytes) = frame.data_ref() {
                self.bytes.extend_from_slice(bytes);
            }
        }
    }

    /// Reads one block as `EventSource` does.
    fn take(&mut self, block: &str) -> Option<Value> {
        let mut data = None;
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", value)) => self.cursor = Some(value.to_owned()),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                Some(("retry", value)) => assert!(value.parse::<u64>().is_ok(), "{line}"),
                Some(("event", value)) => panic!("EventSource would not hand {value} to onmessage"),
                _ => assert!(line.starts_with(':'), "{line}"),
            }
        }
        data
    }
}

/// The data shared by all checkouts, if it is here.
pub fn shared() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = workspace.join(std::env::var_os("EVENTWIRE_SHARED").unwrap_or_else(|| "../shared".into()));
    root.join("data/agents").is_dir().then_some(root)
}
