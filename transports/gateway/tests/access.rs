//! How pages come in that cannot send a header: tickets, cookies and the rules for other origins, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{Answer, Gateway, Socket, api_key, ask, soon, write_private};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A gateway with a key for each of these, and the keys as `Bearer ..`.
fn keyed(people: &[(&str, &[&str])], more: &[&str]) -> (Gateway, Vec<String>, tempfile::TempDir) {
    let made: Vec<Value> =
        people.iter().map(|(name, arguments)| api_key(&[&["--name", *name], *arguments].concat())).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    let entries: Vec<&Value> = made.iter().map(|made| &made["entry"]).collect();
    write_private(&file, &toml::to_string(&json!({"key": entries})).unwrap());
    let keys = ["--api-keys-file", file.to_str().unwrap()];
    let gateway = Gateway::start(&[&keys, more].concat());
    (gateway, made.iter().map(|made| format!("Bearer {}", made["key"].as_str().unwrap())).collect(), directory)
}

async fn ticket(gateway: &Gateway, bearer: &str) -> String {
    let sold = ask(gateway.address, Method::POST, "/v1/tickets", &[("authorization", bearer)], "").await;
    assert_eq!((sold.status, sold.header("cache-control")), (201, Some("no-store")), "{sold:?}");
    assert_eq!(sold.json()["expires_in_s"], 30);
    sold.json()["ticket"].as_str().unwrap().to_owned()
}

async fn status(opening: Result<Socket, Error>) -> u16 {
    match opening {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// Opens a stream of events, and gives the head of the answer, the welcome, and the stream.
async fn stream(gateway: &Gateway, query: &str, headers: &[(&str, &str)]) -> (String, Option<Value>, TcpStream) {
    soon("a stream", async {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let mut request = format!("GET /v1/sse{query} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", gateway.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let refused = !head.starts_with("HTTP/1.1 200");
                let welcome = body.lines().find_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
                if refused || welcome.is_some() {
                    return (head.to_ascii_lowercase(), welcome, stream);
                }
            }
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{text}");
        }
    })
    .await
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn auth_12_a_ticket_opens_a_socket_or_a_stream_once_and_no_log_has_it() {
    let (gateway, keys, _directory) =
        keyed(&[("ada", &["--user", "ada"]), ("bob", &["--user", "bob"])], &["--log", "trace"]);
    let mut secrets = Vec::new();

    let first = ticket(&gateway, &keys[0]).await;
    let (_socket, welcome) = Socket::connect(&gateway, &format!("?room=tasks&ticket={first}")).await;
    assert_eq!(welcome["data"]["user_id"], "ada");
    assert_eq!(status(Socket::open(&gateway, &format!("?ticket={first}")).await).await, 401);
    let (head, ..) = stream(&gateway, &format!("?ticket={first}"), &[]).await;
    assert!(head.starts_with("http/1.1 401"), "{head}");

    let second = ticket(&gateway, &keys[1]).await;
    let (head, welcome, _stream) = stream(&gateway, &format!("?ticket={second}"), &[]).await;
    assert_eq!(welcome.unwrap()["data"]["user_id"], "bob");
    let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().to_owned();
    assert!(set.ends_with("; path=/v1/sse; max-age=43200; httponly; samesite=strict"), "{set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    let (_, welcome, _again) = stream(&gateway, &format!("?ticket={second}"), &[("cookie", &cookie)]).await;
    assert_eq!(welcome.unwrap()["data"]["user_id"], "bob");

    // The cookie opens streams and nothing else, and a ticket opens no answer of the API.
    let list = ask(gateway.address, Method::GET, "/v1/connections", &[("cookie", &cookie)], "").await;
    assert_eq!(list.status, 401);
    assert_eq!(
        status(Socket::open_with(&gateway, "", &[("cookie", &cookie)]).await).await,
        401,
        "a socket has no use for the cookie"
    );
    let third = ticket(&gateway, &keys[0]).await;
    for path in [format!("/v1/explain?ticket={third}"), format!("/v1/connections?ticket={third}")] {
        assert_ne!(ask(gateway.address, Method::GET, &path, &[], "").await.status, 200);
    }
    let misspelt = ask(gateway.address, Method::GET, &format!("/v1/sse?tickets={third}"), &[], "").await;
    assert_eq!(misspelt.status, 400);
    for answer in [misspelt, ask(gateway.address, Method::GET, &format!("/v1/nothing?ticket={third}"), &[], "").await] {
        assert!(!String::from_utf8_lossy(&answer.body).contains(&third), "{answer:?}");
    }
    secrets.extend([first, second, third, cookie.split('=').nth(1).unwrap().to_owned()]);
    secrets.extend(keys.iter().map(|key| key.split(' ').nth(1).unwrap().to_owned()));

    let log = gateway.ended_by("TERM").stderr;
    assert!(log.contains("stopping"), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{log}");
    }
}

#[tokio::test]
async fn auth_13_a_revocation_puts_a_user_out_of_sockets_and_streams() {
    let people: [(&str, &[&str]); 4] = [
        ("ada", &["--user", "ada"]),
        ("bob", &["--user", "bob"]),
        ("admin", &["--permission", "admin"]),
        ("worker", &["--user", "worker", "--permission", "commands"]),
    ];
    let (gateway, keys, _directory) = keyed(&people, &[]);
    let (mut socket, _) = Socket::connect(&gateway, &format!("?ticket={}", ticket(&gateway, &keys[0]).await)).await;
    let query = format!("?ticket={}", ticket(&gateway, &keys[0]).await);
    let (head, _, events) = stream(&gateway, &query, &[]).await;
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next()).unwrap().to_owned();
    let unused = ticket(&gateway, &keys[0]).await;
    let (mut other, _) = Socket::connect(&gateway, &format!("?ticket={}", ticket(&gateway, &keys[1]).await)).await;

    let revoke = async |body: Value| {
        let headers = [JSON, ("authorization", keys[2].as_str())];
        let answer = ask(gateway.address, Method::POST, "/v1/revocations", &headers, body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    assert_eq!(revoke(json!({"user": "ada"})).await, json!({"closed": 2}));
    match socket.next().await {
        Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 4001),
        other => panic!("{other:?}"),
    }
    let said = rest(events).await;
    let closing = said.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let closing: Value = serde_json::from_str(closing).unwrap();
    assert_eq!((&closing["type"], &closing["data"]["code"]), (&json!("connection.closing"), &json!(4001)));
    assert!(closing["data"].get("reconnect_after_ms").is_none());
    assert_eq!(status(Socket::open(&gateway, &format!("?ticket={unused}")).await).await, 401);
    assert!(stream(&gateway, &query, &[("cookie", &cookie)]).await.0.starts_with("http/1.1 401"));
    let (answer, _) = other.command("ping", json!({})).await;
    assert_eq!(answer["type"], "connection.pong", "others notice nothing");

    // A back end that reads commands is put out as well.
    let mut reader = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!(
        "GET /v1/commands HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: {}\r\n\r\n",
        gateway.address, keys[3]
    );
    reader.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 4096];
    assert!(soon("a head", reader.read(&mut head)).await.unwrap() > 0);
    assert!(head.starts_with(b"HTTP/1.1 200"));
    revoke(json!({"token": "worker"})).await;
    rest(reader).await;
    let again = ask(gateway.address, Method::GET, "/v1/commands", &[("authorization", &keys[3])], "").await;
    assert_eq!(again.status, 401);
}

/// The question of a browser whether a page may ask.
async fn preflight(gateway: &Gateway, path: &str, method: &str, headers: &str, origin: &str) -> Answer {
    let asked =
        [("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", headers)];
    ask(gateway.address, Method::OPTIONS, path, &asked, "").await
}

#[tokio::test]
async fn auth_14_pages_of_other_origins_may_ask_everything_and_read_the_answers() {
    let app = "https://app.example.org";
    let (gateway, keys, _directory) =
        keyed(&[("ada", &["--user", "ada", "--permission", "publish,admin,observe"])], &["--allowed-origins", app]);
    for (path, method, headers) in [
        ("/v1/tickets", "POST", "authorization,content-type"),
        ("/v1/revocations", "POST", "authorization,content-type"),
        ("/v1/events", "POST", "authorization,content-type"),
        ("/v1/sessions/resolve", "POST", "authorization,content-type"),
        ("/v1/sse", "GET", "authorization,last-event-id"),
        ("/v1/sse?ticket=x", "GET", "last-event-id"),
        ("/v1/connections", "GET", "authorization"),
        ("/v1/connections/c1", "DELETE", "authorization"),
        ("/v1/explain", "GET", "authorization"),
        ("/v1/agents", "GET", "authorization"),
        ("/v1/commands", "GET", "authorization"),
        ("/v1/commands/ack", "POST", "authorization,content-type"),
        ("/health", "GET", "authorization"),
    ] {
        let answer = preflight(&gateway, path, method, headers, app).await;
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(app), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{path}");
        let listed =
            |name: &str| answer.header(name).unwrap().split(',').map(|it| it.trim().to_owned()).collect::<Vec<_>>();
        assert!(listed("access-control-allow-methods").contains(&method.to_owned()), "{path}: {answer:?}");
        for header in headers.split(',') {
            assert!(listed("access-control-allow-headers").contains(&header.to_owned()), "{path}: {header}");
        }
        assert!(answer.header("access-control-max-age").is_some() && answer.header("vary").is_some());
    }
    // The answers themselves, refusals included.
    let bearer = keys[0].as_str();
    for (path, headers, expected) in [
        ("/v1/connections", &[("origin", app), ("authorization", bearer)][..], 200),
        ("/v1/connections", &[("origin", app)], 401),
        ("/v1/nothing", &[("origin", app)], 404),
    ] {
        let answer = ask(gateway.address, Method::GET, path, headers, "").await;
        assert_eq!(answer.status, expected);
        assert_eq!(answer.header("access-control-allow-origin"), Some(app));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"));
    }
    let (head, welcome, _stream) = stream(&gateway, "", &[("origin", app), ("authorization", bearer)]).await;
    assert!(welcome.is_some() && head.contains("access-control-allow-origin: https://app.example.org"), "{head}");
    // Nobody else.
    let foreign = preflight(&gateway, "/v1/tickets", "POST", "authorization", "https://evil.example").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None));
    let own = ask(gateway.address, Method::GET, "/health", &[], "").await;
    assert_eq!((own.header("access-control-allow-origin"), own.header("vary")), (None, Some("origin")));
}

#[tokio::test]
async fn auth_14_where_everybody_may_ask_nobody_may_with_cookies() {
    let app = "https://app.example.org";
    let (gateway, ..) = keyed(&[("ada", &[])], &["--allowed-origins", &format!("*,{app}")]);
    for (origin, credentials) in
        [(app, Some("true")), ("http://localhost:3000", Some("true")), ("https://evil.example", None), ("null", None)]
    {
        for answer in [
            preflight(&gateway, "/v1/sse", "GET", "last-event-id", origin).await,
            ask(gateway.address, Method::GET, "/health", &[("origin", origin)], "").await,
        ] {
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "never *: {answer:?}");
            assert_eq!(answer.header("access-control-allow-credentials"), credentials, "{origin}");
        }
    }
}
