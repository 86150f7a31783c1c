//! Credentials that are taken back, with the real binary: withdrawn keys, whole lives of tokens, restarts (AUTH-13, AUTH-18,
//! AUTH-19).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Gateway, Socket, ask, soon};
use hyper::Method;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const JSON: (&str, &str) = ("content-type", "application/json");
const SECRET: &str = "a secret of at least thirty-two bytes";
const OTHER: &str = "another secret of more than thirty-two bytes";

/// The time, in seconds, so many seconds from now.
fn at(seconds: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + seconds
}

/// A token of an hour for a user, signed with a secret, with these claims over it; a claim that is null is left out.
fn token(secret: &str, user: &str, more: Value) -> String {
    let mut claims = json!({"sub": user, "iat": at(0), "exp": at(3600)});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let key = EncodingKey::from_secret(secret.as_bytes());
    format!("Bearer {}", jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap())
}

/// A set of JWKs with these secrets.
fn key_set(secrets: &[&str]) -> String {
    let jwk = |secret: &&str| Jwk::from_decoding_key(&DecodingKey::from_secret(secret.as_bytes()), None).unwrap();
    json!({"keys": secrets.iter().map(jwk).collect::<Vec<_>>()}).to_string()
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    common::write_private(&path, text);
    path
}

/// The status with which the gateway sells a ticket for these credentials: 201, or the refusal with its message.
async fn shown(gateway: &Gateway, bearer: &str) -> (u16, String) {
    let answer = ask(gateway.address, Method::POST, "/v1/tickets", &[("authorization", bearer)], "").await;
    let message = answer.json().pointer("/error/message").and_then(Value::as_str).unwrap_or_default().to_owned();
    (answer.status, message)
}

async fn ticket(gateway: &Gateway, bearer: &str) -> String {
    let answer = ask(gateway.address, Method::POST, "/v1/tickets", &[("authorization", bearer)], "").await;
    answer.json()["ticket"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// A socket that was opened with these credentials.
async fn socket(gateway: &Gateway, bearer: &str) -> Socket {
    let headers = [("sec-websocket-protocol", "eventwire.v1"), ("authorization", bearer)];
    let mut socket = Socket::open_with(gateway, "", &headers).await.unwrap();
    assert_eq!(socket.event().await["type"], "connection.welcome");
    socket
}

/// Opens an event stream and reads the head of the answer; the stream stays open as long as the result is kept.
async fn stream(gateway: &Gateway, query: &str, headers: &[(&str, &str)]) -> (u16, String, TcpStream) {
    soon("a stream", async {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let mut request = format!("GET /v1/sse{query} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", gateway.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "the answer has no head");
        }
        let head = String::from_utf8_lossy(&read).into_owned();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, stream)
    })
    .await
}

/// An event stream with a ticket, and the cookie that it sets.
async fn cookie(gateway: &Gateway, bearer: &str) -> (String, TcpStream) {
    let (status, head, stream) = stream(gateway, &format!("?ticket={}", ticket(gateway, bearer).await), &[]).await;
    assert_eq!(status, 200, "{head}");
    let set = head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("set-cookie: ").then(|| &line[12..]));
    (set.unwrap().split(';').next().unwrap().to_owned(), stream)
}

async fn ended(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = soon("the end of a stream", stream.read_to_end(&mut rest)).await;
}

async fn becomes(gateway: &Gateway, bearer: &str, status: u16) {
    soon("other keys", async {
        while shown(gateway, bearer).await.0 != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn auth_18_a_withdrawn_signing_key_ends_its_connections_cookies_and_tickets_and_no_others() {
    let files = tempfile::tempdir().unwrap();
    let keys = write(&files, "keys.json", &key_set(&[SECRET, OTHER]));
    let gateway = Gateway::start(&["--jwt-key-file", keys.to_str().unwrap()]);
    let (old, new) = (token(SECRET, "ada", json!({})), token(OTHER, "ada", json!({})));
    let (mut of_old, mut of_new) = (socket(&gateway, &old).await, socket(&gateway, &new).await);
    let (old_cookie, old_stream) = cookie(&gateway, &old).await;
    let (new_cookie, _new_stream) = cookie(&gateway, &new).await;
    let (old_ticket, new_ticket) = (ticket(&gateway, &old).await, ticket(&gateway, &new).await);

    write(&files, "keys.json", &key_set(&[OTHER]));
    gateway.signal("HUP");
    assert_eq!(of_old.close_code().await, Some(4001));
    ended(old_stream).await;
    assert_eq!(shown(&gateway, &old).await.0, 401);
    assert_eq!(stream(&gateway, "?ticket=spent", &[("cookie", &old_cookie)]).await.0, 401);
    assert_eq!(stream(&gateway, &format!("?ticket={old_ticket}"), &[]).await.0, 401);
    // The same user goes on with what the other key vouches for.
    assert_eq!(of_new.command("ping", json!({})).await.0["type"], "connection.pong");
    assert_eq!(shown(&gateway, &new).await.0, 201);
    assert_eq!(stream(&gateway, "?ticket=spent", &[("cookie", &new_cookie)]).await.0, 200);
    assert_eq!(stream(&gateway, &format!("?ticket={new_ticket}"), &[]).await.0, 200);

    // A key that comes back vouches again, for tokens; what was bought before stays void.
    write(&files, "keys.json", &key_set(&[SECRET, OTHER]));
    gateway.signal("HUP");
    becomes(&gateway, &old, 201).await;
    assert_eq!(stream(&gateway, "?ticket=spent", &[("cookie", &old_cookie)]).await.0, 401);
    // The same keys in another order and another form withdraw nothing.
    write(&files, "keys.json", &key_set(&[OTHER, SECRET]));
    gateway.signal("HUP");
    write(&files, "keys.json", OTHER);
    gateway.signal("HUP");
    becomes(&gateway, &old, 401).await;
    assert_eq!(of_new.command("ping", json!({})).await.0["type"], "connection.pong");
}

async fn revoke(gateway: &Gateway, bearer: &str, body: Value) -> Value {
    let headers = [JSON, ("authorization", bearer)];
    let answer = ask(gateway.address, Method::POST, "/v1/revocations", &headers, body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn admin() -> String {
    token(SECRET, "root", json!({"eventwire": {"permissions": ["admin"]}}))
}

#[tokio::test]
async fn auth_11_a_token_says_when_it_was_issued_and_its_whole_life_counts() {
    let files = tempfile::tempdir().unwrap();
    let key = write(&files, "secret", SECRET);
    let arguments = ["--jwt-key-file", key.to_str().unwrap(), "--jwt-max-seconds", "60"];
    let gateway = Gateway::start(&arguments);
    let life = |iat: Value, exp: i64| token(SECRET, "ada", json!({"iat": iat, "exp": at(exp), "jti": "t-1"}));
    // Two minutes long, and nearly over.
    let (status, message) = shown(&gateway, &life(json!(at(-90)), 30)).await;
    assert_eq!(status, 401);
    assert!(message.contains("60 seconds") && message.contains("jwt_max_seconds"), "{message}");
    let (status, message) = shown(&gateway, &life(Value::Null, 30)).await;
    assert_eq!(status, 401);
    assert!(message.contains("(iat)") && message.contains("jwt_require_iat"), "{message}");
    assert_eq!(shown(&gateway, &life(json!(at(600)), 630)).await.0, 401, "issued in the future");
    assert_eq!(shown(&gateway, &life(json!(at(-20)), 30)).await.0, 201);

    let lenient = Gateway::start(&[&arguments[..], &["--jwt-require-iat=false"]].concat());
    let undated = life(Value::Null, 30);
    assert_eq!(shown(&lenient, &undated).await.0, 201);
    assert_eq!(shown(&lenient, &life(Value::Null, 3600)).await.0, 401);
    let admin = token(SECRET, "root", json!({"exp": at(50), "eventwire": {"permissions": ["admin"]}}));
    revoke(&lenient, &admin, json!({"token": "t-1"})).await;
    assert_eq!(shown(&lenient, &undated).await.0, 401);
}

#[tokio::test]
async fn auth_13_a_token_from_a_clock_that_is_ahead_does_not_escape_a_revocation() {
    let files = tempfile::tempdir().unwrap();
    let key = write(&files, "secret", SECRET);
    let gateway = Gateway::start(&["--jwt-key-file", key.to_str().unwrap(), "--jwt-leeway-seconds", "60"]);
    let ahead = token(SECRET, "ada", json!({"iat": at(40)}));
    let mut socket = socket(&gateway, &ahead).await;
    revoke(&gateway, &admin(), json!({"user": "ada"})).await;
    assert_eq!(socket.close_code().await, Some(4001));
    assert_eq!(
        shown(&gateway, &ahead).await,
        (401, "your credentials were revoked; come back with new ones".to_owned())
    );
    // It is about nothing else.
    assert_eq!(shown(&gateway, &token(SECRET, "bob", json!({}))).await.0, 201);
}

/// An API key and the text of its entry.
fn api_key(name: &str) -> (String, Value) {
    let made = common::api_key(&["--name", name]);
    (format!("Bearer {}", made["key"].as_str().unwrap()), made["entry"].clone())
}

#[tokio::test]
async fn auth_19_revocations_outlive_a_restart_and_tickets_and_cookies_do_not() {
    let files = tempfile::tempdir().unwrap();
    let key = write(&files, "secret", SECRET);
    let (build, entry) = api_key("build");
    let (other, other_entry) = api_key("other");
    let keys = write(&files, "keys.toml", &toml::to_string(&json!({"key": [entry, other_entry]})).unwrap());
    let state = files.path().join("state");
    let arguments = [
        "--jwt-key-file",
        key.to_str().unwrap(),
        "--api-keys-file",
        keys.to_str().unwrap(),
        "--state-file",
        state.to_str().unwrap(),
    ];
    let gateway = Gateway::start(&arguments);
    assert!(!gateway.start_block.contains("state_file"), "{}", gateway.start_block);
    let ada = token(SECRET, "ada", json!({"jti": "ada-1"}));
    let bob = token(SECRET, "bob", json!({"jti": "bob-1"}));
    let bob_too = token(SECRET, "bob", json!({"jti": "bob-2"}));
    let (cookie, _stream) = cookie(&gateway, &bob_too).await;
    let (spent, unspent) = (ticket(&gateway, &bob_too).await, ticket(&gateway, &bob_too).await);
    assert_eq!(stream(&gateway, &format!("?ticket={spent}"), &[]).await.0, 200);
    revoke(&gateway, &admin(), json!({"user": "ada"})).await;
    revoke(&gateway, &admin(), json!({"token": "bob-1"})).await;
    revoke(&gateway, &admin(), json!({"token": "build"})).await;
    for revoked in [&ada, &bob, &build] {
        assert_eq!(shown(&gateway, revoked).await.0, 401);
    }
    // Once it is answered it is kept, whatever happens to the process.
    let killed = gateway.ended_by("KILL");
    assert_eq!(killed.code, None);
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(text.contains("ada") && text.contains("bob-1") && text.contains("build"), "{text}");
    for secret in [&ada, &bob, &build, &spent, &unspent, &cookie] {
        assert!(!text.contains(secret.trim_start_matches("Bearer ")), "{text}");
    }

    let gateway = Gateway::start(&arguments);
    for revoked in [&ada, &bob, &build] {
        assert_eq!(shown(&gateway, revoked).await.0, 401);
    }
    for accepted in [&bob_too, &other, &admin()] {
        assert_eq!(shown(&gateway, accepted).await.0, 201);
    }
    // What was given out in place of credentials ends with the process.
    for query in [&spent, &unspent].map(|ticket| format!("?ticket={ticket}")) {
        assert_eq!(stream(&gateway, &query, &[]).await.0, 401);
    }
    assert_eq!(stream(&gateway, "?ticket=spent", &[("cookie", &cookie)]).await.0, 401);

    // A second process would write over the file of the first.
    let second = common::run(&[&["serve", "--listen", "127.0.0.1:0", "--no-sample"], &arguments[..]].concat(), "");
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.stderr.contains("state_file") && second.stderr.contains("another gateway"), "{second:?}");

    // Everything, and again over a restart; API keys remain accepted.
    revoke(&gateway, &admin(), json!({"all": true})).await;
    assert_eq!(shown(&gateway, &bob_too).await.0, 401);
    drop(gateway);
    let gateway = Gateway::start(&arguments);
    assert_eq!(shown(&gateway, &bob_too).await.0, 401);
    assert_eq!(shown(&gateway, &other).await.0, 201);
    assert_eq!(shown(&gateway, &build).await.0, 401);
    drop(gateway);

    // A file that is damaged is not taken for an empty one.
    std::fs::write(&state, text.replace("ada", "adb")).unwrap();
    let damaged = common::run(&[&["serve", "--listen", "127.0.0.1:0", "--no-sample"], &arguments[..]].concat(), "");
    assert_eq!(damaged.code, Some(2), "{damaged:?}");
    let failure: Vec<&str> = damaged.stderr.lines().filter(|line| line.starts_with("eventwire: ")).collect();
    assert!(matches!(failure[..], [line] if line.contains("line 2: it is damaged")), "{damaged:?}");
}
