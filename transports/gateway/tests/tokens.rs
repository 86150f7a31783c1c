//! Tokens (JWT) as the binary makes and takes them: beside API keys, until their end, with keys that change under way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Ended, Gateway, Socket, api_key, ask, run, soon, write_private};
use hyper::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const SECRET: &str = "a secret of at least thirty-two bytes";
const OTHER: &str = "another secret of more than thirty-two bytes";

/// A directory for the files of a test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        write_private(&path, text);
        path
    }
}

/// The text of a key that is kept with the tests.
fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)).unwrap()
}

fn made(key: &Path, arguments: &[&str]) -> Ended {
    run(&[&["token", "--key-file", key.to_str().unwrap()], arguments].concat(), "")
}

fn token(key: &Path, arguments: &[&str]) -> String {
    let ended = made(key, arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    format!("Bearer {}", ended.stdout.trim())
}

/// Who the gateway takes a token for, or the refusal.
async fn who(gateway: &Gateway, bearer: &str) -> Result<Value, u16> {
    let headers = [("sec-websocket-protocol", "eventwire.v1"), ("authorization", bearer)];
    match Socket::open_with(gateway, "", &headers).await {
        Ok(mut socket) => Ok(socket.event().await["data"].clone()),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn auth_10_a_token_opens_what_it_grants_beside_api_keys() {
    let files = Files::new();
    let secret = files.write("secret", SECRET);
    let key = api_key(&["--name", "back end"]);
    let keys = files.write("keys.toml", &toml::to_string(&json!({"key": [key["entry"]]})).unwrap());
    let arguments = ["--api-keys-file", keys.to_str().unwrap(), "--jwt-key-file", secret.to_str().unwrap()];
    let strict = ["--jwt-issuer", "https://id.example", "--jwt-audience", "events"];
    let gateway = Gateway::start(&[&arguments[..], &strict].concat());
    assert!(gateway.start_block.contains("one API key, and tokens (JWT) of one key"), "{}", gateway.start_block);

    let right = ["--user", "ada", "--issuer", "https://id.example", "--audience", "events", "--permission", "publish"];
    let ada = token(&secret, &[&right[..], &["--room", "tasks"]].concat());
    let welcome = who(&gateway, &ada).await.unwrap();
    assert_eq!((&welcome["user_id"], &welcome["permissions"]), (&json!("ada"), &json!(["publish"])));
    assert!(welcome["expires_at"].is_string());
    let event = |to: &str| json!({"type": "_test.note", "to": to, "data": {}}).to_string();
    for (to, status) in [("room:tasks", 202), ("room:staff", 422)] {
        let headers = [("content-type", "application/json"), ("authorization", ada.as_str())];
        assert_eq!(ask(gateway.address, Method::POST, "/v1/events", &headers, event(to)).await.status, status, "{to}");
    }
    let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
    assert!(who(&gateway, &bearer).await.unwrap().get("expires_at").is_none());

    let other = files.write("other", OTHER);
    for (bearer, what) in [
        (token(&other, &right), "another key"),
        (token(&secret, &["--user", "ada"]), "no issuer"),
        (
            token(&secret, &["--user", "ada", "--issuer", "https://evil.example", "--audience", "events"]),
            "another issuer",
        ),
        (format!("{ada}x"), "a signature that is longer"),
        ("Bearer wrong".to_owned(), "no token"),
    ] {
        assert_eq!(who(&gateway, &bearer).await, Err(401), "{what}");
    }
    // By its name a token is taken back.
    let admin = token(
        &secret,
        &[
            &["--user", "root", "--permission", "admin", "--issuer", "https://id.example", "--audience", "events"][..],
            // Names of credentials are no tenant's: revoking by name needs grants that leave no connection out (AUTH-16).
            &["--users", "*", "--browser-session", "*", "--global"],
        ]
        .concat(),
    );
    let named = token(&secret, &[&right[..], &["--id", "session-7"]].concat());
    assert!(who(&gateway, &named).await.is_ok());
    let headers = [("content-type", "application/json"), ("authorization", admin.as_str())];
    let revoked = ask(gateway.address, Method::POST, "/v1/revocations", &headers, r#"{"token":"session-7"}"#).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(who(&gateway, &named).await, Err(401));
    assert!(who(&gateway, &ada).await.is_ok());
}

#[tokio::test]
async fn auth_11_a_socket_is_closed_at_the_end_of_its_token() {
    let files = Files::new();
    let secret = files.write("secret", SECRET);
    let gateway = Gateway::start(&["--jwt-key-file", secret.to_str().unwrap(), "--jwt-leeway-seconds", "0"]);
    let open = async |bearer: &str| {
        let headers = [("sec-websocket-protocol", "eventwire.v1"), ("authorization", bearer)];
        let mut socket = Socket::open_with(&gateway, "", &headers).await.unwrap();
        assert_eq!(socket.event().await["type"], "connection.welcome");
        socket
    };
    let short = token(&secret, &["--user", "ada", "--expires-in", "3"]);
    let (mut ends, mut goes_on) = (open(&short).await, open(&short).await);
    let longer = token(&secret, &["--user", "ada"]);
    let longer = longer.strip_prefix("Bearer ").unwrap();
    let (reply, _) = goes_on.command("authenticate", json!({"token": longer})).await;
    assert!(reply["data"]["data"]["expires_at"].is_string(), "{reply}");
    match ends.next().await {
        Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 4001),
        other => panic!("{other:?}"),
    }
    // It had the same end, and another one since.
    let (pong, _) = goes_on.command("ping", json!({})).await;
    assert_eq!(pong["type"], "connection.pong");
    assert_eq!(who(&gateway, &short).await, Err(401));
}

/// Asks again and again until the answer is this one.
async fn becomes(gateway: &Gateway, bearer: &str, welcome: bool) {
    soon("other keys", async {
        while who(gateway, bearer).await.is_ok() != welcome {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn auth_10_keys_are_read_again_when_they_change_and_when_somebody_says_so() {
    let files = Files::new();
    let (secret, other) = (files.write("secret", SECRET), files.write("other", OTHER));
    let live = files.write("live", SECRET);
    let gateway = Gateway::start(&["--jwt-key-file", live.to_str().unwrap()]);
    let (old, new) = (token(&secret, &["--user", "ada"]), token(&other, &["--user", "ada"]));
    let signer = files.write("signer", &fixture("ed25519.private.pem"));
    let ed = token(&signer, &["--user", "ada"]);
    assert!(who(&gateway, &old).await.is_ok());
    assert_eq!(who(&gateway, &new).await, Err(401));

    // What cannot be used changes nothing, and is told.
    write_private(&live, "short");
    gateway.signal("HUP");
    write_private(&live, OTHER);
    gateway.signal("HUP");
    becomes(&gateway, &new, true).await;
    assert_eq!(who(&gateway, &old).await, Err(401));
    // Nobody says anything.
    write_private(&live, &fixture("ed25519.public.pem"));
    becomes(&gateway, &ed, true).await;
    assert_eq!(who(&gateway, &new).await, Err(401));
    write_private(&live, "short");
    gateway.signal("HUP");
    std::fs::remove_file(&live).unwrap();
    gateway.signal("HUP");
    assert!(who(&gateway, &ed).await.is_ok());
    let log = gateway.ended_by("TERM").stderr;
    assert!(log.contains("credentials were read"), "{log}");
    for secret in [SECRET, OTHER, old.as_str(), "thirty-two"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn auth_05_tokens_are_authentication_and_a_file_without_a_key_stops_the_start() {
    let files = Files::new();
    let secret = files.write("secret", SECRET);
    let short = files.write("short", "short");
    let private = files.write("private", &fixture("rsa.private.pem"));
    let absent = files.0.path().join("absent");
    for (file, word) in [(&short, "at least 32 bytes"), (&private, "private key"), (&absent, "No such file")] {
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--jwt-key-file", file.to_str().unwrap()], "");
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("jwt_key_file") && ended.stderr.contains(word), "{ended:?}");
        assert_eq!(ended.stderr.trim().lines().count(), 1, "{ended:?}");
    }
    let gateway = Gateway::start_as(&[
        "serve",
        "--listen",
        "0.0.0.0:0",
        "--no-sample",
        "--jwt-key-file",
        secret.to_str().unwrap(),
    ]);
    assert!(gateway.start_block.contains("tokens (JWT) of one key"), "{}", gateway.start_block);
}

#[test]
fn the_token_command_prints_a_token_and_nothing_that_would_be_refused() {
    let files = Files::new();
    let secret = files.write("secret", &format!("{SECRET}\n"));
    let ended =
        made(&secret, &["--user", "ada", "--json", "--adw", "29fb6a3e", "--role", "human", "--expires-in", "60"]);
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    let claims = &printed["claims"];
    let none = json!([]);
    assert_eq!(
        claims["eventwire"],
        json!({"role": "human", "adws": ["29fb6a3e"], "users": none, "browser_sessions": none, "global": false})
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 16);
    assert_eq!(printed["token"].as_str().unwrap().split('.').count(), 3);
    for (arguments, word) in [
        (&["--user", "no spaces"][..], "user:"),
        (&["--user", "ada", "--adw", "../etc"], "adws:"),
        (&["--user", "ada", "--permission", "root"], "root"),
        (&["--user", "ada", "--expires-in", "0"], "expires-in"),
        (&["--user", "ada", "--history-from", "yesterday"], "history_from:"),
        (&[], "--user"),
    ] {
        let ended = made(&secret, arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(word) && ended.stderr.trim().lines().count() == 1, "{ended:?}");
    }
    let ended = made(&files.write("public", &fixture("ed25519.public.pem")), &["--user", "ada"]);
    assert!(ended.stderr.contains("not the PEM text (PKCS 8) of a private Ed25519 or P-256 key"), "{ended:?}");
}
