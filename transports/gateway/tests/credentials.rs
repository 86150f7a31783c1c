//! Credentials in operation, with the real binary: files and who may read them, new keys and where they go, tokens with white
//! space around them, cookies behind TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Gateway, Socket, api_key, ask, eventwire, finish, raw, run, soon, write_private};
use hyper::Method;
use serde_json::{Value, json};

const SECRET: &str = "a secret of at least thirty-two bytes";
const PUBLIC_KEY: &str = include_str!("keys/ed25519.public.pem");

/// A directory for the files of a test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        write_private(&self.path(name), text);
        self.path(name).to_str().unwrap().to_owned()
    }

    /// An api_keys_file with these entries.
    fn keys(&self, entries: &[&Value]) -> String {
        self.write("keys.toml", &toml::to_string(&json!({ "key": entries })).unwrap())
    }
}

fn set_mode(file: &str, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

fn text(made: &Value) -> &str {
    made["key"].as_str().unwrap()
}

#[test]
fn auth_21_files_that_others_could_read_or_change_are_refused_with_the_cure() {
    let files = Files::new();
    let secret = files.write("secret", SECRET);
    let public = files.write("public.pem", PUBLIC_KEY);
    let keys = files.keys(&[&api_key(&[])["entry"]]);
    let serve = ["serve", "--listen", "127.0.0.1:0=product", "--no-sample"];
    let webhook = ["--commands-webhook", "http://127.0.0.1:9/", "--commands-secret-file"];
    let publish = ["publish", "--url", "http://127.0.0.1:9", "--type", "_a.b", "--to", "room:x"];
    let commands: [(Vec<&str>, &str); 8] = [
        ([&serve[..], &["--session-secret-file", &secret]].concat(), &secret),
        ([&serve[..], &webhook, &[&secret]].concat(), &secret),
        ([&serve[..], &["--jwt-key-file", &secret]].concat(), &secret),
        ([&serve[..], &["--product-jwt-key-file", &secret]].concat(), &secret),
        ([&publish[..], &["--token-file", &secret]].concat(), &secret),
        (vec!["token", "--user", "ada", "--key-file", &secret], &secret),
        ([&serve[..], &["--api-keys-file", &keys]].concat(), &keys),
        ([&serve[..], &["--jwt-key-file", &public]].concat(), &public),
    ];
    for (arguments, file) in &commands {
        let is_secret = *file == secret;
        let refused: &[(u32, &str)] = if is_secret {
            &[(0o644, "600"), (0o604, "600"), (0o622, "600")]
        } else {
            &[(0o664, "644"), (0o606, "644")]
        };
        for (bits, cure) in refused {
            set_mode(file, *bits);
            let ended = run(arguments, "");
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{bits:o} {arguments:?}: {ended:?}");
            assert!(ended.stderr.contains(&format!("chmod {cure} {file}")), "{bits:o} {arguments:?}: {ended:?}");
            assert!(ended.stderr.lines().count() == 1 && !ended.stderr.contains(SECRET), "{ended:?}");
        }
        set_mode(file, 0o600);
    }
    // What is public may be read by all.
    set_mode(&keys, 0o644);
    set_mode(&public, 0o644);
    Gateway::start(&["--api-keys-file", &keys, "--jwt-key-file", &public]);
}

#[tokio::test]
async fn auth_21_a_new_key_goes_into_a_file_of_its_own_and_never_to_where_its_entry_goes() {
    let files = Files::new();
    // As in `eventwire api-key >> keys.toml`, in a script.
    let nowhere = run(&["api-key", "--name", "ci"], "");
    assert_eq!((nowhere.code, nowhere.stdout.as_str()), (Some(2), ""), "{nowhere:?}");
    assert!(nowhere.stderr.contains("--secret-file") && !nowhere.stderr.contains("ew_"), "{nowhere:?}");

    let mut entries = String::new();
    for (name, more) in [("toml", &[][..]), ("json", &["--json"])] {
        let file = files.path(name);
        let arguments = ["api-key", "--name", name, "--secret-file", file.to_str().unwrap()];
        let made = run(&[&arguments[..], more].concat(), "");
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
        assert_eq!(mode(&file), 0o600);
        let key = std::fs::read_to_string(&file).unwrap();
        assert!(key.starts_with("ew_") && key.ends_with('\n') && !made.stdout.contains(key.trim()), "{made:?}");
        // A file that is there is never written to.
        let again = run(&arguments, "");
        assert!(again.code == Some(2) && again.stdout.is_empty() && again.stderr.contains("exists"), "{again:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
        entries += &match more {
            [] => made.stdout,
            _ => toml::to_string(&json!({ "key": [serde_json::from_str::<Value>(&made.stdout).unwrap()["entry"]] }))
                .unwrap(),
        };
    }
    let gateway = Gateway::start(&["--api-keys-file", &files.write("keys.toml", &entries)]);
    for name in ["toml", "json"] {
        let token = files.path(name);
        let arguments = ["publish", "--url", &gateway.url(), "--type", "_a.b", "--to", "room:x", "--token-file"];
        let published = run(&[&arguments[..], &[token.to_str().unwrap()]].concat(), "");
        assert_eq!(published.code, Some(0), "{published:?}");
    }
}

#[test]
fn auth_21_a_terminal_is_shown_the_key_and_standard_output_the_entry_alone() {
    // Standard output as in `>> keys.toml`, standard error a terminal.
    let script = r#"
import json, os, pty, subprocess, sys
terminal, side = pty.openpty()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=side, check=True)
print(json.dumps([done.stdout.decode(), os.read(terminal, 4096).decode()]))
"#;
    let mut command = Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_eventwire"), "api-key", "--name", "ci"]);
    let ended = finish(&mut command, "");
    let [entry, shown]: [String; 2] = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let key = shown.split_whitespace().find(|word| word.starts_with("ew_")).unwrap();
    assert!(entry.starts_with("[[key]]\n") && !entry.contains("ew_"), "{entry}");
    assert_eq!(key.len(), 3 + 64, "{shown}");
}

#[tokio::test]
async fn auth_01_white_space_around_a_token_is_lost_on_every_transport() {
    let files = Files::new();
    let made = api_key(&["--name", "all", "--permission", "publish,observe,admin,commands"]);
    let key = text(&made);
    let gateway = Gateway::start(&["--api-keys-file", &files.keys(&[&made["entry"]])]);

    // HTTP, SSE and the commands: as bytes, for a client would trim the header itself.
    let host = format!("host: {}\r\nconnection: close\r\nauthorization: Bearer   {key} \t \r\n", gateway.address);
    for request in [
        format!("GET /v1/connections HTTP/1.1\r\n{host}\r\n"),
        format!("POST /v1/tickets HTTP/1.1\r\n{host}content-length: 0\r\n\r\n"),
        format!("GET /metrics HTTP/1.1\r\n{host}\r\n"),
    ] {
        let answer = raw(&gateway, request.as_bytes(), false).await;
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    // WebSocket: the list of subprotocols, a ticket, the command.
    let encoded = base64url(&format!("{key}\n"));
    let offer = format!("eventwire.v1, eventwire.token.{encoded}");
    let mut socket = Socket::open_with(&gateway, "", &[("sec-websocket-protocol", &offer)]).await.unwrap();
    assert_eq!(socket.event().await["type"], "connection.welcome");
    let (reply, _) = socket.command("authenticate", json!({ "token": format!(" {key}\r\n") })).await;
    assert_eq!(reply["type"], "connection.reply", "{reply}");
    let bearer = format!("Bearer {key}");
    let sold = ask(gateway.address, Method::POST, "/v1/tickets", &[("authorization", &bearer)], "").await.json();
    let query = format!("?ticket={}%0A", sold["ticket"].as_str().unwrap());
    assert!(Socket::open(&gateway, &query).await.is_ok());

    // Socket.IO.
    let answer = socketio_connect(&gateway, &format!("{key}\n")).await;
    assert!(answer.starts_with("40/v1,"), "{answer}");
    let answer = socketio_connect(&gateway, "wrong").await;
    assert!(answer.starts_with("44/v1,"), "{answer}");

    // The commands of the binary.
    let publish = ["publish", "--url", &gateway.url(), "--type", "_a.b", "--to", "room:x"];
    let by_environment = finish(eventwire(&publish).env("EVENTWIRE_TOKEN", format!(" {key}\n")), "");
    assert_eq!(by_environment.code, Some(0), "{by_environment:?}");
    let file = files.write("token", &format!("\n{key}\r\n"));
    let by_file = run(&[&publish[..], &["--token-file", &file]].concat(), "");
    assert_eq!(by_file.code, Some(0), "{by_file:?}");
}

/// Base64url without padding (RFC 4648, section 5).
fn base64url(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            encoded.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    encoded
}

/// What the Socket.IO server says to a client that connects to `/v1` with this token, over polling.
async fn socketio_connect(gateway: &Gateway, token: &str) -> String {
    let at = "/socket.io/?EIO=4&transport=polling";
    let opened = ask(gateway.address, Method::GET, at, &[], "").await;
    let opened = String::from_utf8_lossy(&opened.body).into_owned();
    let opened: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
    let session = format!("{at}&sid={}", opened["sid"].as_str().unwrap());
    let packet = format!("40/v1,{}", json!({ "token": token }));
    let plain = [("content-type", "text/plain;charset=UTF-8")];
    assert_eq!(ask(gateway.address, Method::POST, &session, &plain, packet).await.status, 200);
    soon("an answer to connect", async {
        loop {
            let polled = ask(gateway.address, Method::GET, &session, &[], "").await;
            let polled = String::from_utf8_lossy(&polled.body).into_owned();
            if let Some(found) =
                polled.split('\u{1e}').find(|packet| packet.starts_with("40") || packet.starts_with("44"))
            {
                return found.to_owned();
            }
        }
    })
    .await
}

#[tokio::test]
async fn auth_12_every_cookie_is_secure_behind_tls() {
    let files = Files::new();
    let made = api_key(&[]);
    let site = Files::new();
    std::fs::write(site.path("index.html"), "<p>the page</p>").unwrap();
    let pages = format!("monadic={}", site.0.path().display());
    let keys = files.keys(&[&made["entry"]]);
    let gateway = Gateway::speaking(&["monadic"], &["--api-keys-file", &keys, "--static", &pages]);
    let bearer = format!("Bearer {}", text(&made));
    for (forwarded, secure) in [("https", true), ("http", false)] {
        let head = [("x-forwarded-proto", forwarded)];
        let sold = ask(gateway.address, Method::POST, "/v1/tickets", &[("authorization", &bearer)], "").await.json();
        let stream = format!(
            "GET /v1/sse?ticket={} HTTP/1.1\r\nhost: {}\r\nx-forwarded-proto: {forwarded}\r\nconnection: close\r\n\r\n",
            sold["ticket"].as_str().unwrap(),
            gateway.address
        );
        let stream = head_of(&gateway, stream.as_bytes()).await;
        let page = ask(gateway.at("monadic"), Method::GET, "/", &head, "").await;
        let of_stream = stream.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        let of_page = page.header("set-cookie").unwrap();
        for cookie in [of_stream, of_page] {
            assert_eq!(cookie.split("; ").any(|part| part == "Secure"), secure, "{cookie}");
            assert!(cookie.contains("; HttpOnly; SameSite="), "{cookie}");
        }
    }
}

/// The head of an answer whose body has no end.
async fn head_of(gateway: &Gateway, request: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    soon("a head", async {
        let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        String::from_utf8_lossy(&read).into_owned()
    })
    .await
}

/// The entry of a key with other values in it.
fn with(made: &Value, changes: &[(&str, Value)]) -> Value {
    let mut entry = made["entry"].clone();
    for (name, value) in changes {
        entry[*name] = value.clone();
    }
    entry
}

async fn open(gateway: &Gateway, token: &str) -> Result<(Socket, Value), u16> {
    let bearer = format!("Bearer {token}");
    let headers = [("sec-websocket-protocol", "eventwire.v1"), ("authorization", bearer.as_str())];
    match Socket::open_with(gateway, "", &headers).await {
        Ok(mut socket) => {
            let welcome = socket.event().await["data"].clone();
            Ok((socket, welcome))
        }
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// Asks until a token is taken, or until it is not.
async fn becomes(gateway: &Gateway, token: &str, taken: bool) {
    soon("other credentials", async {
        while open(gateway, token).await.is_ok() != taken {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn auth_20_sighup_ends_no_gateway_whatever_is_configured() {
    let files = Files::new();
    let made = api_key(&[]);
    let (keys, secret) = (files.keys(&[&made["entry"]]), files.write("secret", SECRET));
    let (keys, secret) = (["--api-keys-file", &keys], ["--jwt-key-file", &secret]);
    for arguments in [vec![], keys.to_vec(), secret.to_vec(), [keys, secret].concat()] {
        let mut gateway = Gateway::start(&arguments);
        for _ in 0..3 {
            gateway.signal("HUP");
            assert_eq!(common::get(&gateway, "/health").await.status, 200);
        }
        assert!(gateway.is_up(), "{arguments:?}");
        let ended = gateway.ended_by("TERM");
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("SIGHUP"), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn auth_20_api_keys_are_read_again_and_only_those_that_changed_notice() {
    let files = Files::new();
    let [stays, goes, changes, comes] =
        ["stays", "goes", "changes", "comes"].map(|name| api_key(&["--name", name, "--permission", "publish,admin"]));
    let file = files.keys(&[&stays["entry"], &goes["entry"], &changes["entry"]]);
    let gateway = Gateway::start(&["--api-keys-file", &file]);
    let (mut staying, _) = open(&gateway, text(&stays)).await.unwrap();
    let (mut going, _) = open(&gateway, text(&goes)).await.unwrap();
    let (mut changing, welcome) = open(&gateway, text(&changes)).await.unwrap();
    assert_eq!(welcome["permissions"], json!(["publish", "admin"]));
    assert_eq!(open(&gateway, text(&comes)).await.err(), Some(401));
    let buy = async |made: &Value| {
        let bearer = format!("Bearer {}", text(made));
        let sold = ask(gateway.address, Method::POST, "/v1/tickets", &[("authorization", &bearer)], "").await.json();
        format!("?ticket={}", sold["ticket"].as_str().unwrap())
    };
    let tickets = [buy(&goes).await, buy(&changes).await, buy(&stays).await];

    // What cannot be read changes nothing.
    let good = std::fs::read_to_string(&file).unwrap();
    for bad in ["[[key", "", "[[key]]\nname = \"stays\"\nsha256 = \"short\"\n"] {
        write_private(Path::new(&file), bad);
        gateway.signal("HUP");
        assert!(open(&gateway, text(&goes)).await.is_ok(), "{bad}");
    }
    write_private(Path::new(&file), &good);
    set_mode(&file, 0o666);
    gateway.signal("HUP");
    assert!(open(&gateway, text(&goes)).await.is_ok(), "a file that others can write is not read");

    let changed = with(&changes, &[("permissions", json!(["publish"])), ("rooms", json!(["tasks"]))]);
    files.keys(&[&comes["entry"], &changed, &stays["entry"]]);
    gateway.signal("HUP");
    becomes(&gateway, text(&comes), true).await;
    assert_eq!(going.close_code().await, Some(4001));
    assert_eq!(open(&gateway, text(&goes)).await.err(), Some(401));
    // Clients come back after 1012 by themselves, and are then judged by the new grants.
    assert_eq!(changing.close_code().await, Some(1012));
    let (_, welcome) = open(&gateway, text(&changes)).await.unwrap();
    assert_eq!(welcome["permissions"], json!(["publish"]));
    let (pong, _) = staying.command("ping", json!({})).await;
    assert_eq!(pong["type"], "connection.pong");
    let [of_gone, of_changed, of_staying] = tickets;
    assert!(Socket::open(&gateway, &of_gone).await.is_err() && Socket::open(&gateway, &of_changed).await.is_err());
    assert!(Socket::open(&gateway, &of_staying).await.is_ok());

    // Without a signal the change is seen as well.
    files.keys(&[&stays["entry"], &goes["entry"]]);
    becomes(&gateway, text(&goes), true).await;
    assert_eq!(open(&gateway, text(&comes)).await.err(), Some(401));
    let (pong, _) = staying.command("ping", json!({})).await;
    assert_eq!(pong["type"], "connection.pong");
    // The last one as well.
    write_private(Path::new(&file), "key = []\n");
    gateway.signal("HUP");
    assert_eq!(staying.close_code().await, Some(4001));
    let log = gateway.ended_by("TERM").stderr;
    assert!(log.contains("the last good ones stay") && log.contains("SIGHUP"), "{log}");
    assert!(![&stays, &goes, &changes, &comes].into_iter().any(|made| log.contains(text(made))), "{log}");
}

#[tokio::test]
async fn auth_22_a_key_ends_at_its_time_with_what_it_opened_and_may_end_late() {
    let files = Files::new();
    let late = api_key(&["--name", "late", "--expires", "400d", "--permission", "admin"]);
    let revoked = api_key(&["--name", "revoked", "--expires", "400d"]);
    let soon_over = api_key(&["--name", "soon", "--expires", "1m", "--permission", "publish"]);
    assert!(late["entry"]["expires_at"].as_str().unwrap().ends_with('Z'), "{late}");
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let end = eventwire_protocol::Time::from_unix_micros(i64::try_from(seconds + 4).unwrap() * 1_000_000).to_string();
    let over = "2020-01-01T00:00:00Z";
    let ended = with(&api_key(&["--name", "over"]), &[("expires_at", json!(over))]);
    let entries = [&late["entry"], &revoked["entry"], &with(&soon_over, &[("expires_at", json!(end))]), &ended];
    let gateway = Gateway::start(&["--api-keys-file", &files.keys(&entries), "--jwt-leeway-seconds", "0"]);
    let (mut socket, welcome) = open(&gateway, text(&soon_over)).await.unwrap();
    assert_eq!(welcome["expires_at"], end);
    let bearer = format!("Bearer {}", text(&soon_over));
    let sold = ask(gateway.address, Method::POST, "/v1/tickets", &[("authorization", &bearer)], "").await.json();
    let (_late, welcome) = open(&gateway, text(&late)).await.unwrap();
    assert_eq!(welcome["expires_at"], late["entry"]["expires_at"]);
    assert_eq!(socket.close_code().await, Some(4001));
    assert_eq!(open(&gateway, text(&soon_over)).await.err(), Some(401));
    assert!(Socket::open(&gateway, &format!("?ticket={}", sold["ticket"].as_str().unwrap())).await.is_err());
    // By its name a key with an end is revoked like any other.
    let (mut socket, _) = open(&gateway, text(&revoked)).await.unwrap();
    let admin = format!("Bearer {}", text(&late));
    let headers = [("authorization", admin.as_str()), ("content-type", "application/json")];
    let answer = ask(gateway.address, Method::POST, "/v1/revocations", &headers, r#"{"token":"revoked"}"#).await;
    assert_eq!((answer.status, answer.json()["closed"].as_u64()), (200, Some(1)), "{answer:?}");
    assert_eq!(socket.close_code().await, Some(4001));
    assert_eq!(open(&gateway, text(&revoked)).await.err(), Some(401));
    for wrong in ["0d", "2020-01-01T00:00:00Z", "soon"] {
        let ended = run(&["api-key", "--expires", wrong], "");
        assert!(ended.code == Some(2) && ended.stderr.lines().count() == 1, "{ended:?}");
    }
}
