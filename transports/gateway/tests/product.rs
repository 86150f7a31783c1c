//! Product Demo on real sockets: logins, users, installations, and its own client as it stands in the description.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Gateway, ask, publish, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The application: it knows that `connect.sid=s%3A<user>.x` is maria's or tom's, fails for `broken`, and knows nobody else.
async fn accounts() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
                let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
                let is = |user: &str| request.contains(&format!("connect.sid=s%3a{user}.x"));
                let known = ["maria", "tom"].into_iter().find(|user| is(user));
                let (status, body) = match known {
                    Some(user) => ("200 OK", format!(r#"{{"userId":"{user}","username":"{user} L."}}"#)),
                    None if is("broken") => ("500 Internal Server Error", String::new()),
                    None => ("401 Unauthorized", r#"{"error":"log in"}"#.to_owned()),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

async fn gateway() -> Gateway {
    let accounts = accounts().await;
    Gateway::speaking(&["product", "product_nested"], &["--product-lookup-url", &format!("http://{accounts}/api/me")])
}

/// Opens a socket as a browser with this cookie does.
async fn open(url: String, cookie: &str) -> Socket {
    let mut request = url.into_client_request().unwrap();
    if !cookie.is_empty() {
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
    }
    soon("a socket", tokio_tungstenite::connect_async(request)).await.unwrap().0
}

async fn page(gateway: &Gateway, user: &str) -> Socket {
    let mut socket = open(format!("ws://{}/ws", gateway.at("product")), &format!("connect.sid=s%3A{user}.x")).await;
    assert_eq!(read(&mut socket).await["type"], "connection_established");
    socket
}

async fn read(socket: &mut Socket) -> Value {
    loop {
        match soon("a frame", socket.next()).await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Nothing comes before the answer to a ping.
async fn told_nothing(socket: &mut Socket) {
    socket.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
    assert_eq!(read(socket).await["type"], "pong");
}

#[tokio::test]
async fn prd_02_on_real_sockets_a_users_events_reach_every_tab_of_the_user_and_nobody_else() {
    let gateway = gateway().await;
    let (mut first, mut second, mut tom) =
        (page(&gateway, "maria").await, page(&gateway, "maria").await, page(&gateway, "tom").await);
    // The same on the listener of our own, when the request says so.
    let url = format!("ws://{}/ws?dialect=product", gateway.address);
    let mut third = open(url, "connect.sid=s%3Amaria.x").await;
    assert_eq!(read(&mut third).await["type"], "connection_established");
    let url = format!("ws://{}/ws", gateway.at("product_nested"));
    let mut later = open(url, "connect.sid=s%3Amaria.x").await;
    assert_eq!(read(&mut later).await["type"], "connection_established");
    let data = json!({"document_id": "doc-1", "status": "processing", "percent": 30});
    publish(&gateway, json!({"type": "document.status", "to": "user:maria", "data": data})).await;
    let flat = json!({"type": "document_status", "documentId": "doc-1", "status": "PROCESSING", "progress": 30});
    for socket in [&mut first, &mut second, &mut third] {
        assert_eq!(read(socket).await, flat);
        told_nothing(socket).await;
    }
    let nested = read(&mut later).await;
    assert_eq!(
        (&nested["type"], &nested["payload"]["status"]),
        (&json!("document_status_update"), &json!("processing"))
    );
    told_nothing(&mut tom).await;
}

#[tokio::test]
async fn prd_01_on_real_sockets_who_is_not_logged_in_is_closed_with_the_reason() {
    let gateway = gateway().await;
    for (cookie, code, reason) in [
        ("", 1008, "No cookie header found"),
        ("theme=dark", 1008, "Authentication failed"),
        ("connect.sid=s%3Astranger.x", 1008, "Authentication failed"),
        ("connect.sid=s%3Abroken.x", 1012, "Authentication is unavailable"),
    ] {
        let mut socket = open(format!("ws://{}/ws", gateway.at("product")), cookie).await;
        let Message::Close(Some(frame)) = soon("a close", socket.next()).await.unwrap().unwrap() else { panic!() };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
    }
    let known = common::get(&gateway, "/v1/connections").await.json();
    assert_eq!(known["connections"], json!([]));
}

#[tokio::test]
async fn prd_05_on_real_sockets_what_a_user_missed_comes_once() {
    let gateway = gateway().await;
    let event = |percent: u32| {
        let data = json!({"document_id": "doc-1", "status": "embedding", "percent": percent});
        json!({"type": "document.status", "to": "user:maria", "data": data})
    };
    publish(&gateway, event(1)).await;
    publish(&gateway, event(2)).await;
    let rag = json!({"query_id": "q", "stage": "complete", "result": {"answer": 42}});
    publish(&gateway, json!({"type": "rag.progress", "to": "user:maria", "data": rag})).await;
    let mut maria = page(&gateway, "maria").await;
    assert_eq!(read(&mut maria).await["progress"], 2);
    assert_eq!(read(&mut maria).await["result"], json!({"answer": 42}));
    told_nothing(&mut maria).await;
    for _ in 0..3 {
        maria.close(None).await.unwrap();
        while maria.next().await.is_some() {}
        gone(&gateway).await;
        // A page that reloads gets how its documents stand, and nothing else.
        maria = page(&gateway, "maria").await;
        assert_eq!(read(&mut maria).await["progress"], 2);
        told_nothing(&mut maria).await;
    }
}

/// Waits until no socket of a page is left.
async fn gone(gateway: &Gateway) {
    soon("the end of a connection", async {
        while common::get(gateway, "/v1/connections").await.json()["connections"] != json!([]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn prd_08_on_real_sockets_an_installation_is_told_while_it_runs() {
    let gateway = gateway().await;
    let (mut maria, mut tom) = (page(&gateway, "maria").await, page(&gateway, "tom").await);
    let mut stream = TcpStream::connect(gateway.at("product")).await.unwrap();
    let head = format!(
        "POST /api/mcp/ssh/install/stream?installId=install-1 HTTP/1.1\r\nhost: {}\r\ncookie: connect.sid=s%3Amaria.x\r\n\
         content-type: text/plain\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        gateway.at("product")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for line in ["npm install\n", "added 96 packages\n"] {
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.unwrap();
        assert_eq!(
            read(&mut maria).await,
            json!({"type": "mcp_install_progress", "installId": "install-1", "stage": "EXECUTING", "output": line})
        );
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""success":true"#), "{answer}");
    told_nothing(&mut maria).await;
    told_nothing(&mut tom).await;

    let at = gateway.at("product");
    let path = "/api/mcp/ssh/install/stream?installId=i";
    let refused = ask(at, Method::POST, path, &[("content-type", "text/plain")], "x\n").await;
    assert_eq!((refused.status, refused.json()), (401, json!({"error": "not logged in"})));
    let stats = ask(at, Method::GET, "/api/websocket/stats", &[("cookie", "connect.sid=s%3Atom.x")], "").await;
    assert_eq!(stats.json()["totalConnections"], 2);
    let upgrade = ask(at, Method::GET, "/api/mcp/ssh/install/stream", &[], "").await;
    assert_eq!(upgrade.status, 405);
}

#[tokio::test]
async fn prd_01_tokens_in_the_cookie_are_taken_with_the_configured_key_only() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    common::write_private(&key, "0123456789abcdef0123456789abcdef\n");
    let gateway = Gateway::speaking(
        &["product"],
        &["--product-jwt-key-file", key.to_str().unwrap(), "--product-cookie", "session"],
    );
    // Made with that key: {"sub":"maria","exp":4102444800}
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJtYXJpYSIsImV4cCI6NDEwMjQ0NDgwMH0.U7GRq3UDJD_9CJjWWQjfetpxBXwLoADFHaO9BZLlx58";
    let url = || format!("ws://{}/ws", gateway.at("product"));
    let mut maria = open(url(), &format!("session={token}")).await;
    assert_eq!(read(&mut maria).await["type"], "connection_established");
    let mut forged = open(url(), &format!("session={}", token.replace("eyJzdWIi", "eyJzdWIj"))).await;
    assert!(
        matches!(soon("a close", forged.next()).await, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1008)
    );

    let wrong = common::run(&["serve", "--listen", "product", "--product-jwt-key-file", "nowhere"], "");
    assert!(wrong.code == Some(2) && wrong.stderr.contains("product_jwt_key_file nowhere"), "{wrong:?}");
    let wrong = common::run(&["serve", "--listen", "product", "--product-lookup-url", "ftp://x"], "");
    assert!(wrong.code == Some(2) && wrong.stderr.contains("product_lookup_url"), "{wrong:?}");
}

#[tokio::test]
async fn prd_07_on_a_real_socket_a_login_ends_at_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    common::write_private(&key, "0123456789abcdef0123456789abcdef\n");
    let gateway = Gateway::speaking(&["product"], &["--product-jwt-key-file", key.to_str().unwrap()]);
    let signer = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let end = now().floor() + 4.0;
    let claims = json!({"sub": "maria", "exp": end as u64});
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signer).unwrap();
    let mut maria = open(format!("ws://{}/ws", gateway.at("product")), &format!("connect.sid={token}")).await;
    assert_eq!(read(&mut maria).await["type"], "connection_established");
    let told = read(&mut maria).await;
    assert_eq!((&told["type"], &told["status"]), (&json!("session_update"), &json!("expiring_soon")));
    assert!(told["expiresIn"].as_u64().unwrap() <= 4, "{told}");
    told_nothing(&mut maria).await;
    loop {
        match soon("the end of the login", maria.next()).await.unwrap().unwrap() {
            Message::Close(Some(frame)) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1008, "Session expired"));
                break;
            }
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // Not before, and long before the next look at all logins.
    assert!((end..end + 20.0).contains(&now()), "{}", now() - end);
}

/// Opens a page that must be closed at once, and gives the code.
async fn closed(url: String, cookie: &str) -> u16 {
    match soon("a close", open(url, cookie).await.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn auth_13_a_revoked_login_does_not_come_straight_back_also_not_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (key, state) = (directory.path().join("key"), directory.path().join("state"));
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let signer = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    let login = |name: &str, more: Value| {
        let mut claims = json!({"sub": name, "exp": 4_102_444_800_u64});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("connect.sid={}", jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signer).unwrap())
    };
    // A login of an application holds for as long as the application says, far beyond jwt_max_seconds.
    let (maria, tom) = (login("maria", json!({})), login("tom", json!({"jti": "tom-1", "iat": 1_700_000_000})));
    let with_tokens = ["--product-jwt-key-file", key.to_str().unwrap(), "--state-file", state.to_str().unwrap()];
    let accounts = accounts().await;
    let lookup = format!("http://{accounts}/api/me");
    let with_lookup = ["--product-lookup-url", &lookup, "--state-file", state.to_str().unwrap()];
    let known = "connect.sid=s%3Amaria.x";
    let revoke = async |gateway: &Gateway, body: Value| {
        let headers = [("content-type", "application/json")];
        ask(gateway.address, Method::POST, "/v1/revocations", &headers, body.to_string()).await.json()
    };

    let gateway = Gateway::speaking(&["product"], &with_tokens);
    let url = |gateway: &Gateway| format!("ws://{}/ws", gateway.at("product"));
    let mut pages = [open(url(&gateway), &maria).await, open(url(&gateway), &tom).await];
    for page in &mut pages {
        assert_eq!(read(page).await["type"], "connection_established");
    }
    assert_eq!(revoke(&gateway, json!({"user": "maria"})).await, json!({"closed": 1}));
    assert_eq!(revoke(&gateway, json!({"token": "tom-1"})).await, json!({"closed": 1}));
    for page in &mut pages {
        let end = soon("a close", page.next()).await;
        assert!(matches!(&end, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 4001), "{end:?}");
    }
    for cookie in [&maria, &tom] {
        assert_eq!(closed(url(&gateway), cookie).await, 1008);
    }
    gateway.ended_by("KILL");
    let gateway = Gateway::speaking(&["product"], &with_tokens);
    for cookie in [&maria, &tom] {
        assert_eq!(closed(url(&gateway), cookie).await, 1008);
    }
    // A later login of the same user, by its own date or because it is first seen now.
    let later = login("tom", json!({"jti": "tom-2"}));
    assert_eq!(read(&mut open(url(&gateway), &later).await).await["type"], "connection_established");
    drop(gateway);

    // Without a token: the cookie is known again, which has no date, over a restart.
    let gateway = Gateway::speaking(&["product"], &with_lookup);
    let mut page = open(url(&gateway), known).await;
    assert_eq!(read(&mut page).await["type"], "connection_established", "first seen after the revocation of maria");
    assert_eq!(revoke(&gateway, json!({"user": "maria"})).await, json!({"closed": 1}));
    assert_eq!(closed(url(&gateway), known).await, 1008);
    gateway.ended_by("KILL");
    let gateway = Gateway::speaking(&["product"], &with_lookup);
    assert_eq!(closed(url(&gateway), known).await, 1008);
    let state = std::fs::read_to_string(&state).unwrap();
    for secret in ["maria.x", maria.split('=').nth(1).unwrap(), tom.split('=').nth(1).unwrap()] {
        assert!(!state.contains(secret), "{state}");
    }
}

#[tokio::test]
async fn auth_20_the_key_of_logins_is_read_again_and_ends_the_logins_of_the_key_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let (old, new) = ("an old secret of thirty-two bytes.", "a new secret of thirty-two bytes..");
    let login = |secret: &str| {
        let claims = json!({"sub": "maria", "exp": 4_102_444_800_u64, "iss": "demo"});
        let signer = EncodingKey::from_secret(secret.as_bytes());
        format!("connect.sid={}", jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signer).unwrap())
    };
    common::write_private(&file, old);
    let key = ["--product-jwt-key-file", file.to_str().unwrap(), "--product-jwt-issuer", "demo"];
    let api_keys = directory.path().join("keys.toml");
    common::write_private(&api_keys, "key = []\n");
    let confined = ["--api-keys-file", api_keys.to_str().unwrap(), "--product-users", "separate"];
    for arguments in [key.to_vec(), [&key[..], &confined].concat()] {
        common::write_private(&file, old);
        let gateway = Gateway::speaking(&["product"], &arguments);
        let url = || format!("ws://{}/ws", gateway.at("product"));
        let mut page = open(url(), &login(old)).await;
        assert_eq!(read(&mut page).await["type"], "connection_established");
        assert_eq!(closed(url(), &login(new)).await, 1008);
        // What cannot be used changes nothing.
        for bad in ["short", "-----BEGIN PRIVATE KEY-----"] {
            common::write_private(&file, bad);
            gateway.signal("HUP");
            let mut again = open(url(), &login(old)).await;
            assert_eq!(read(&mut again).await["type"], "connection_established", "{bad}");
        }
        common::write_private(&file, new);
        gateway.signal("HUP");
        let end = soon("a close", async {
            loop {
                if let Some(Ok(Message::Close(frame))) = page.next().await {
                    return frame;
                }
            }
        })
        .await;
        assert_eq!(end.map(|frame| u16::from(frame.code)), Some(4001));
        assert_eq!(closed(url(), &login(old)).await, 1008);
        let mut later = open(url(), &login(new)).await;
        assert_eq!(read(&mut later).await["type"], "connection_established");
        let log = gateway.ended_by("TERM").stderr;
        let line = log.lines().find(|line| line.contains("SIGHUP"));
        assert!(line.is_some_and(|line| line.contains("product_jwt_key_file")), "{log}");
        assert!(log.contains("the last good ones stay") && !log.contains("thirty-two"), "{log}");
    }
}

/// The React provider of the description, compiled and run as it stands there.
#[tokio::test]
async fn prd_11_the_client_of_the_description_runs_unchanged() {
    let gateway = gateway().await;
    let url = format!("http://{}/", gateway.at("product"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/seeds");
    assert!(folder.join("node_modules").is_dir(), "conformance/seeds has no packages; run `cargo xtask setup`");
    let mut command = Command::new("timeout");
    command.args(["120", "node", "product.mjs", &url]).current_dir(folder);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    println!("{said}");
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    if !said.starts_with("skipped") {
        assert!(said.contains("user_activity is told to everyone but its author"), "{said}");
    }
}
