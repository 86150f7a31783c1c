//! Credentials that are taken back, with the real binary: withdrawn keys, whole lives of tokens, restarts (AUTH-13, AUTH-18,
//! AUTH-19).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::path::{Path, PathBuf};
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
    std::fs::write(&path, text).unwrap();
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
