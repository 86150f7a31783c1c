//! Proxies in front of the gateway: whose word about clients is taken, in headers and in front of them, and what an open gateway
//! refuses. One of the proxies is a real nginx, with the configuration of the guide.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::{Answer, Gateway, PATIENCE, Socket, ask, raw, run, soon};
use futures_util::StreamExt as _;
use hyper::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(gateway.address, Method::GET, path, headers, "").await
}

/// The addresses in the list of connections, in order, asked for from this machine.
async fn addresses(gateway: &Gateway) -> Vec<String> {
    listed(&get(gateway, "/v1/connections", &[]).await.json())
}

fn listed(connections: &Value) -> Vec<String> {
    let listed = connections["connections"].as_array().unwrap_or_else(|| panic!("{connections}"));
    let addresses = listed.iter().map(|connection| connection["remote_address"].as_str().unwrap().to_owned());
    addresses.collect()
}

#[tokio::test]
async fn http_21_a_trusted_proxy_names_the_client_and_nothing_else_does() {
    let named = [("x-forwarded-for", "198.51.100.1, 203.0.113.5"), ("x-real-ip", "198.51.100.2")];
    let trusting = Gateway::start(&["--trusted-proxies=127.0.0.1,::1"]);
    let mut one = Socket::open_with(&trusting, "?room=tasks", &named).await.unwrap();
    one.event().await;
    let forwarded = [("forwarded", "for=198.51.100.1, for=\"[2001:db8::7]:4711\";proto=https")];
    let mut other = Socket::open_with(&trusting, "?room=tasks", &forwarded).await.unwrap();
    other.event().await;
    assert_eq!(addresses(&trusting).await, ["203.0.113.5", "2001:db8::7"]);
    for headers in [
        &[("x-forwarded-for", "203.0.113.5, junk")][..],
        &[("forwarded", "for=")],
        &[("forwarded", "for=203.0.113.5"), ("x-forwarded-for", "203.0.113.6")],
    ] {
        let refused = get(&trusting, "/health", headers).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "malformed_frame"), "{headers:?}");
    }

    // No proxy is trusted, and credentials are not what keeps others out.
    let careless = Gateway::start(&["--insecure"]);
    let mut socket = Socket::open_with(&careless, "?room=tasks", &named).await.unwrap();
    socket.event().await;
    assert_eq!(addresses(&careless).await, ["127.0.0.1"]);
    assert_eq!(get(&careless, "/health", &[("forwarded", "for=")]).await.status, 200);
}

#[tokio::test]
async fn auth_24_an_open_gateway_is_not_opened_by_a_proxy() {
    let open = Gateway::speaking(&["monadic"], &["--static=canonical=."]);
    assert!(open.start_block.contains("all who reach this port, also through a proxy"), "{}", open.start_block);
    for path in [
        "/",
        "/health",
        "/v1/events",
        "/v1/connections",
        "/v1/schemas/",
        "/socket.io/?EIO=4&transport=polling",
        "/page",
    ] {
        for (name, value) in [
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-for", "203.0.113.5, 127.0.0.1"),
            ("forwarded", "for=203.0.113.5"),
            ("x-real-ip", "203.0.113.5"),
            ("x-forwarded-for", "unknown"),
        ] {
            let answer = get(&open, path, &[(name, value)]).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path} {name}: {value}");
            assert!(String::from_utf8_lossy(&answer.body).contains("trusted_proxies"), "{answer:?}");
        }
        // As development servers do it.
        for value in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_ne!(get(&open, path, &[("x-forwarded-for", value)]).await.status, 403, "{path}: {value}");
        }
    }
    assert!(Socket::open_with(&open, "", &[("x-forwarded-for", "203.0.113.5")]).await.is_err());
    let monadic = ask(open.at("monadic"), Method::GET, "/", &[("x-forwarded-for", "203.0.113.5")], "").await;
    assert_eq!(monadic.status, 403);
}

#[tokio::test]
async fn auth_24_clients_that_a_trusted_proxy_brings_to_an_open_gateway_may_publish_and_subscribe() {
    let gateway = Gateway::start(&["--trusted-proxies=127.0.0.0/8"]);
    assert!(gateway.start_block.contains("INSECURE: all whom trusted_proxies let through"), "{}", gateway.start_block);
    let outside = ("x-forwarded-for", "203.0.113.5");
    let event = common::note("room:tasks", 1).to_string();
    let headers = [outside, ("content-type", "application/json")];
    assert_eq!(ask(gateway.address, Method::POST, "/v1/events", &headers, event).await.status, 202);
    for (path, status) in
        [("/v1/connections", 403), ("/v1/explain?type=_test.note&to=global", 403), ("/metrics", 403), ("/health", 200)]
    {
        assert_eq!(get(&gateway, path, &[outside]).await.status, status, "{path}");
    }
    assert_eq!(get(&gateway, "/v1/connections", &[]).await.status, 200);
    assert_eq!(get(&gateway, "/v1/connections", &[("x-forwarded-for", "::1")]).await.status, 200);
}

#[tokio::test]
async fn http_24_the_proxy_protocol_names_the_client() {
    let gateway = Gateway::start(&["--trusted-proxies=127.0.0.1", "--proxy-protocol"]);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request =
        b"PROXY TCP4 203.0.113.5 127.0.0.1 4711 80\r\nGET /v1/sse?room=tasks HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut start = [0; 12];
    soon("an answer", stream.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");

    let list = b"GET /v1/connections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let binary = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], list].concat();
    let answer = raw(&gateway, &binary, false).await;
    let body = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1;
    assert_eq!(listed(&serde_json::from_str(body).unwrap()), ["203.0.113.5"], "{answer}");
    // Headers of the client itself are not those of a trusted proxy.
    let spoofed = b"PROXY TCP4 203.0.113.9 127.0.0.1 1 80\r\nGET /v1/connections HTTP/1.1\r\nHost: localhost\r\n\
                    X-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answer = raw(&gateway, spoofed, false).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    // Without the header the proxy is not one, and a peer that is not trusted has no header.
    let answer = raw(&gateway, list, false).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("PROXY protocol"), "{answer}");
    let other = Gateway::start(&["--trusted-proxies=127.0.0.9", "--proxy-protocol"]);
    assert!(raw(&other, list, false).await.starts_with("HTTP/1.1 200 "));
    assert!(raw(&other, &binary, false).await.starts_with("HTTP/1.1 400 "));
}

#[test]
fn http_24_a_header_of_no_proxy_in_particular_is_refused_at_the_start() {
    let ended = run(&["serve", "--no-sample", "--listen", "127.0.0.1:0", "--proxy-protocol"], "");
    assert!(ended.code == Some(2) && ended.stderr.contains("trusted_proxies"), "{ended:?}");
}

/// An nginx; killed when dropped.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// Starts one with the server block of the guide, in front of a gateway.
    async fn before(gateway: SocketAddr) -> Self {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/operate.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        let block = guide.split_once("```nginx\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
        let address = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        let here =
            [("listen 443 ssl;", format!("listen {address};")), ("http://127.0.0.1:4800", format!("http://{gateway}"))];
        let block = here.iter().fold(block.to_owned(), |text, (written, here)| {
            assert!(text.contains(written), "the guide has no {written:?}");
            text.replace(written, here)
        });
        let folder = tempfile::tempdir().unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};\n", folder.path().display()))
            .concat();
        let whole = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {}/pid;\nerror_log stderr warn;\n\
             events {{ worker_connections 64; }}\nhttp {{\naccess_log off;\n{temporary}{block}}}\n",
            folder.path().display()
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, whole).unwrap();
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("nginx")
            .env("PATH", path)
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx is needed (cargo xtask setup): {error}"));
        let mut nginx = Self { child, address, _folder: folder };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            assert_eq!(nginx.child.try_wait().unwrap(), None, "nginx has ended");
            assert!(Instant::now() < deadline, "nginx does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        nginx
    }

    /// A connection to it from another address of this machine.
    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.5:0".parse().unwrap()).unwrap();
        soon("a connection", socket.connect(self.address)).await.unwrap()
    }
}

#[tokio::test]
async fn http_21_behind_nginx_the_client_is_seen_over_websocket_and_sse() {
    let gateway = Gateway::start(&["--trusted-proxies=127.0.0.1", "--allowed-hosts=events.example.org"]);
    let nginx = Nginx::before(gateway.address).await;

    let mut request = "ws://events.example.org/v1/ws?room=tasks".into_client_request().unwrap();
    // What the client says of itself must not count.
    request.headers_mut().insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
    let stream = nginx.connect().await;
    let (mut socket, _) = soon("a handshake", tokio_tungstenite::client_async(request, stream)).await.unwrap();
    // The welcome: from then on it is in the list.
    soon("an event", socket.next()).await.unwrap().unwrap();
    let mut events = nginx.connect().await;
    let asked = b"GET /v1/sse?room=tasks HTTP/1.1\r\nHost: events.example.org\r\nAccept: text/event-stream\r\n\r\n";
    events.write_all(asked).await.unwrap();
    let mut read = Vec::new();
    wait_for("connection.welcome", &mut events, &mut read).await;
    assert_eq!(addresses(&gateway).await, ["127.0.0.5", "127.0.0.5"]);

    // And events come through at once, on both.
    common::publish(&gateway, common::note("room:tasks", 7)).await;
    wait_for("_test.note", &mut events, &mut read).await;
    loop {
        let message = soon("an event", socket.next()).await.unwrap().unwrap();
        if message.to_text().unwrap().contains("_test.note") {
            break;
        }
    }
}

/// Reads until a text has come.
async fn wait_for(text: &str, stream: &mut TcpStream, read: &mut Vec<u8>) {
    while !String::from_utf8_lossy(read).contains(text) {
        let taken = soon(text, stream.read_buf(read)).await.unwrap();
        assert_ne!(taken, 0, "the stream ended: {}", String::from_utf8_lossy(read));
    }
}
