//! What hostile clients cost their neighbors, measured on a real gateway.
//!
//! One principal opens many sockets and does the worst that the limits allow: it subscribes to new targets as fast as it may,
//! asks for pongs, leaves messages unfinished, sends malformed frames, and does not read. Another principal publishes and
//! receives. Its latency with the hostile sockets is compared with its latency without them, in runs that alternate; the
//! gateway has a core of its own where `taskset` and two cores are there. The resident memory of the gateway is compared with
//! the formula in docs/guides/operate.md.
//!
//! `cargo bench -p eventwire-gateway --bench neighbors` measures and fails when the promise of docs/guides/security.md is
//! broken. As part of `cargo test` a small run shows that the program works, and asserts no time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement may panic"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How much is measured.
#[derive(Clone, Copy)]
struct Sizes {
    sockets: usize,
    runs: usize,
    samples: usize,
}

const MEASURED: Sizes = Sizes { sockets: 1_000, runs: 5, samples: 1_000 };
const TRIED: Sizes = Sizes { sockets: 10, runs: 1, samples: 20 };

/// Between two publications of the neighbor.
const PACE: Duration = Duration::from_millis(10);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the 99th percentile may rise by: the larger of a fifth and two milliseconds.
const ALLOWED: Duration = Duration::from_millis(2);

const NEIGHBOR: &str = "ew_neighbor-0123456789abcdef0123456789abcdef";
const HOSTILE: &str = "ew_hostile-0123456789abcdef0123456789abcdef0";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if arguments.get(1).is_some_and(|word| word == "hostile") {
        return runtime.block_on(hostile(arguments[2].parse().unwrap(), arguments[3].parse().unwrap()));
    }
    let measured = arguments.iter().any(|word| word == "--bench");
    let sizes = if measured { MEASURED } else { TRIED };
    let (mut quiet, mut loud, mut resident) = (Vec::new(), Vec::new(), 0);
    for run in 1..=sizes.runs {
        let (calm, _) = runtime.block_on(once(sizes, false));
        let (attacked, kib) = runtime.block_on(once(sizes, true));
        println!(
            "run {run}: p50 {:?} and {:?}, p99 {:?} and {:?} without and with {} hostile sockets, {kib} KiB resident",
            calm.0, attacked.0, calm.1, attacked.1, sizes.sockets
        );
        quiet.push(calm.1);
        loud.push(attacked.1);
        resident = resident.max(kib);
    }
    let (before, after) = (median(quiet), median(loud));
    let allowed = (before / 5).max(ALLOWED);
    println!(
        "median p99: {before:?} without, {after:?} with; it may rise by {allowed:?}; at most {resident} KiB resident"
    );
    if measured {
        assert!(after <= before + allowed, "hostile sockets cost their neighbor {:?}", after - before);
        let formula = formula_kib(sizes.sockets);
        assert!(resident <= formula, "{resident} KiB resident, and the formula says {formula} KiB at most");
    }
    println!("1 passed, 0 failed");
}

/// The formula of docs/guides/operate.md (Memory) in KiB for the settings of [`Gateway::start`] and the defaults.
///
/// Of the subscriptions only what these connections may have counts, which is less than the bound of all.
fn formula_kib(connections: usize) -> u64 {
    let connections = u64::try_from(connections).unwrap();
    let history = 64 + 64 + 64;
    let (unfinished, socketio) = (64, 64);
    let subscriptions = connections * 256 * SUBSCRIPTION_BYTES / (1 << 20);
    let bounds = (history + unfinished + subscriptions + socketio) * 1024 * 5 / 4;
    32 * 1024 + bounds + connections * (64 + 128)
}

/// Most bytes of one subscription of this attack: its name is over 90 characters long.
const SUBSCRIPTION_BYTES: u64 = 1024;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A gateway with a key for each side; killed when dropped.
struct Gateway {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys.toml");
        write_keys(&keys);
        let mut command = pinned(0);
        command.arg(env!("CARGO_BIN_EXE_eventwire"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--no-sample", "--drain-seconds", "0", "--log", "error"]);
        command.args(["--mailbox-bytes", "128 KiB", "--history-realm-bytes", "64 MiB"]);
        command.arg("--api-keys-file").arg(&keys);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("EVENTWIRE_")) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("a start block").unwrap();
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().unwrap().parse().unwrap();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _directory: directory }
    }

    /// Resident memory in KiB; nothing where the system does not say.
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_keys(file: &std::path::Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let entry = |name: &str, key: &str, permissions: &str, run: &str| {
        format!(
            "[[key]]\nname = \"{name}\"\nsha256 = \"{}\"\nuser = \"{name}\"\npermissions = [{permissions}]\nadws = [\"{run}\"]\nrooms = [\"*\"]\nsessions = [\"*\"]\n",
            eventwire_hub::KeyDigest::of(key)
        )
    };
    let text = entry("neighbor", NEIGHBOR, "\"publish\"", "neighb01") + &entry("hostile", HOSTILE, "", "hostile0");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A command on one core, where that can be had.
fn pinned(core: usize) -> Command {
    let two = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    let works = Command::new("taskset").arg("--version").output().is_ok_and(|output| output.status.success());
    let mut command = Command::new(if two && works { "taskset" } else { "env" });
    if two && works {
        command.args(["-c", &core.to_string()]);
    }
    command
}

/// The median and the 99th percentile of the neighbor's latency, and the gateway's resident memory in KiB.
async fn once(sizes: Sizes, attacked: bool) -> ((Duration, Duration), u64) {
    let gateway = Gateway::start();
    let mut listener = connect(gateway.address, NEIGHBOR).await.expect("the neighbor connects");
    say(&mut listener, &json!({"type": "subscribe", "data": {"streams": [{"to": "adw:neighb01"}]}})).await;
    let subscribed = async {
        while !listener.next().await.unwrap().unwrap().to_text().unwrap_or_default().contains("connection.subscribed") {
        }
    };
    tokio::time::timeout(PATIENCE, subscribed).await.expect("the neighbor is subscribed");
    let attack = attacked.then(|| {
        let program = std::env::current_exe().unwrap();
        // The clients of both sides share a core; what is measured is the gateway's part.
        let mut command = pinned(1);
        command.args(["nice", "-n", "19"]).arg(program).arg("hostile");
        command.args([gateway.address.to_string(), sizes.sockets.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    });
    let attack = attack.map(|mut child| {
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        println!("{}", ready.trim());
        child
    });
    let mut publisher = TcpStream::connect(gateway.address).await.unwrap();
    publisher.set_nodelay(true).unwrap();
    let (mut times, mut resident) = (Vec::new(), 0);
    for number in 0..sizes.samples {
        let began = Instant::now();
        publish(&mut publisher, number).await;
        let wanted = format!("\"content\":\"{number}\"");
        let received =
            async { while !listener.next().await.unwrap().unwrap().to_text().unwrap_or_default().contains(&wanted) {} };
        if tokio::time::timeout(PATIENCE, received).await.is_err() {
            answered(&mut publisher).await;
            panic!("the neighbor did not get event {number}");
        }
        times.push(began.elapsed());
        answered(&mut publisher).await;
        if number % 50 == 0 {
            resident = resident.max(gateway.resident_kib());
        }
        tokio::time::sleep(PACE.saturating_sub(began.elapsed())).await;
    }
    if let Some(mut child) = attack {
        let _ = child.kill();
        let _ = child.wait();
    }
    times.sort_unstable();
    ((times[times.len() / 2], times[times.len() * 99 / 100]), resident)
}

async fn publish(stream: &mut TcpStream, number: usize) {
    let data = json!({"adw_id": "neighb01", "content": number.to_string()});
    let body = json!({"type": "adw.text_block", "to": "adw:neighb01", "data": data}).to_string();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {NEIGHBOR}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

async fn answered(stream: &mut TcpStream) {
    let mut text = Vec::new();
    let complete = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())?;
        (body.len() >= length).then(|| head.starts_with("HTTP/1.1 202") || head.starts_with("HTTP/1.1 200"))
    };
    let reading = async {
        loop {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "the publisher's connection is closed");
            if let Some(accepted) = complete(&text) {
                break assert!(accepted, "{}", String::from_utf8_lossy(&text));
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer");
}

async fn connect(address: SocketAddr, key: &str) -> Option<Socket> {
    let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let connecting = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(request));
    connecting.await.ok()?.ok().map(|(socket, _)| socket)
}

async fn say(socket: &mut Socket, command: &serde_json::Value) {
    let _ = socket.send(Message::text(command.to_string())).await;
}

/// Opens the sockets, says so on standard output, and does its worst until it is killed.
async fn hostile(address: SocketAddr, count: usize) {
    let mut sockets = Vec::new();
    for number in 0..count {
        match connect(address, HOSTILE).await {
            Some(socket) => sockets.push((number, socket)),
            None => break,
        }
    }
    println!("{} of {count} hostile sockets are open", sockets.len());
    let _ = std::io::stdout().flush();
    for (number, socket) in sockets {
        tokio::spawn(async move {
            match number % 5 {
                0 => subscribe(socket, number).await,
                1 => repeat(socket, 32, Message::text(json!({"type": "ping", "data": {}}).to_string())).await,
                2 => trickle(socket, address).await,
                3 => repeat(socket, 16, Message::Pong(Vec::new().into())).await,
                _ => lag(socket).await,
            }
        });
    }
    std::future::pending::<()>().await;
}

/// Sends the same message at a rate, and reads what comes.
async fn repeat(mut socket: Socket, per_second: u32, message: Message) {
    let mut pause = tokio::time::interval(Duration::from_secs(1) / per_second);
    loop {
        tokio::select! {
            _ = pause.tick() => if socket.send(message.clone()).await.is_err() { return },
            read = socket.next() => if !matches!(read, Some(Ok(_))) { return },
        }
    }
}

/// Subscribes to new targets with long names, and forgets them, as fast as commands may come.
async fn subscribe(mut socket: Socket, number: usize) {
    let mut pause = tokio::time::interval(Duration::from_secs(1) / 31);
    let mut round = 0_u64;
    loop {
        let name = |place: u64| json!({"to": format!("room:{number}-{round}-{place}-{}", "x".repeat(90))});
        let streams: Vec<_> = (0..250).map(name).collect();
        let kind = if round.is_multiple_of(2) { "subscribe" } else { "unsubscribe" };
        let command = Message::text(json!({"type": kind, "data": {"streams": streams}}).to_string());
        tokio::select! {
            _ = pause.tick() => {
                round += 1;
                if socket.send(command).await.is_err() {
                    return;
                }
            }
            read = socket.next() => if !matches!(read, Some(Ok(_))) { return },
        }
    }
}

/// Leaves a message unfinished that grows as slowly as may be, over and over.
async fn trickle(socket: Socket, address: SocketAddr) {
    drop(socket);
    loop {
        let Some(socket) = connect(address, HOSTILE).await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let MaybeTlsStream::Plain(mut stream) = socket.into_inner() else { return };
        // A masked text frame of 64,000 bytes, of which the last never comes.
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(64_000_u16.to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + 60_000, b' ');
        if stream.write_all(&frame).await.is_err() {
            continue;
        }
        let mut buffer = [0; 1024];
        let waiting = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
        let _ = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    }
}

/// Subscribes to what it may and does not read.
async fn lag(mut socket: Socket) {
    say(&mut socket, &json!({"type": "subscribe", "data": {"streams": [{"to": "adw:hostile0"}, {"to": "room:busy"}]}}))
        .await;
    std::future::pending::<()>().await;
}
