//! Listeners for older systems: which paths are the application's, and what its pages and servers get.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;

use common::{Gateway, PATIENCE, ask, run, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The application behind: says what it was asked, sets a cookie, and echoes on a WebSocket.
async fn application() -> SocketAddr {
    async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
        let headers = request.headers().clone();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        if let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let stream = TokioIo::new(upgraded.await.unwrap());
                let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
            let response = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "websocket")
                .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
            return Ok(response.body(Full::default()).unwrap());
        }
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let said = format!(
            "{method} {path} cookie={} host={} for={} kept={} named={} body={}",
            text("cookie"),
            text("host") == text("x-forwarded-host"),
            text("x-forwarded-for"),
            text("x-kept"),
            text("x-named"),
            String::from_utf8_lossy(&body),
        );
        Ok(Response::builder().header("set-cookie", "seen=1").body(Full::from(said)).unwrap())
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving.with_upgrades());
        }
    });
    address
}

#[tokio::test]
async fn http_20_what_is_not_the_gateways_goes_to_the_application_with_cookies_and_upgrades() {
    let behind = application().await;
    let gateway = Gateway::speaking(&["adw"], &["--upstream", &format!("adw=http://{behind}/base/")]);
    let at = gateway.at("adw");

    let headers = [("cookie", "a=b"), ("x-kept", "1"), ("connection", "x-named"), ("x-named", "2")];
    let answer = ask(at, Method::POST, "/some/page?q=1", &headers, "text").await;
    assert_eq!((answer.status, &answer.headers["set-cookie"]), (200, &header::HeaderValue::from_static("seen=1")));
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(said, "POST /base/some/page?q=1 cookie=a=b host=true for=127.0.0.1 kept=1 named=- body=text");
    // The page at the root is the application's as well: the inspector is for canonical listeners.
    let root = ask(at, Method::GET, "/", &[], "").await;
    assert!(String::from_utf8_lossy(&root.body).starts_with("GET /base/ "), "{root:?}");
    // The gateway's own paths stay its own, on every listener.
    assert_eq!(ask(at, Method::GET, "/ready", &[], "").await.json()["status"], "ready");
    assert_eq!(ask(at, Method::GET, "/v1/events", &[], "").await.status, 405);
    // And nothing of the application is on the canonical one.
    assert_eq!(ask(gateway.address, Method::GET, "/some/page", &[], "").await.status, 404);

    let (mut socket, _) = soon("a socket", tokio_tungstenite::connect_async(format!("ws://{at}/live"))).await.unwrap();
    for text in ["one", "two"] {
        socket.send(text.into()).await.unwrap();
        let echo = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(echo.to_text().unwrap(), text);
    }
}

#[tokio::test]
async fn http_20_an_application_that_is_not_there_is_a_502_that_says_so() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let gateway = Gateway::speaking(&["adw"], &["--upstream", &format!("adw=http://{gone}")]);
    let answer = ask(gateway.at("adw"), Method::GET, "/page", &[], "").await;
    assert_eq!(answer.status, 502);
    let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("upstream") && !said.contains(&gone.to_string()), "{said}");
}

#[tokio::test]
async fn http_20_a_directory_of_pages_is_served_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("pages");
    std::fs::create_dir_all(pages.join("ui")).unwrap();
    std::fs::write(pages.join("index.html"), "<title>the application</title>").unwrap();
    std::fs::write(pages.join("ui/app.js"), "1").unwrap();
    std::fs::write(folder.path().join("secret.txt"), "hush").unwrap();
    let gateway = Gateway::speaking(&["adw"], &["--static", &format!("adw={}", pages.display())]);
    let at = gateway.at("adw");
    let get = |path: &'static str| async move {
        let answer = ask(at, Method::GET, path, &[], "").await;
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    assert_eq!(get("/").await, (200, "<title>the application</title>".into()));
    assert_eq!(get("/ui/app.js").await, (200, "1".into()));
    // A path of an application that routes in the browser, and a file that is not there.
    assert_eq!(get("/ui/sessions/s1").await, (200, "<title>the application</title>".into()));
    assert_eq!(get("/ui/none.js").await.0, 404);
    for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/ui/..%2f..%2fsecret.txt", "/ui/%5c..%5c..%5csecret.txt"] {
        let (status, body) = get(path).await;
        assert!(!body.contains("hush"), "{path}: {status} {body}");
    }
    assert_eq!(ask(at, Method::POST, "/ui/app.js", &[], "").await.status, 405);
    assert_eq!(get("/ready").await.0, 200);
}

#[tokio::test]
async fn a_listener_without_pages_says_what_gives_it_some() {
    let gateway = Gateway::speaking(&["adw"], &[]);
    let answer = ask(gateway.at("adw"), Method::GET, "/", &[], "").await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("--static adw=DIRECTORY"), "{answer:?}");
    assert_eq!(ask(gateway.address, Method::GET, "/", &[], "").await.status, 200);
}

#[test]
fn the_start_says_what_is_missing_for_the_systems_that_are_listened_for() {
    let told = |dialects: &[&str], arguments: &[&str]| Gateway::speaking(dialects, arguments).start_block.clone();
    let alone = told(&[], &[]);
    assert!(!alone.contains("note"), "{alone}");
    let product = told(&["product"], &[]);
    assert!(product.contains("nobody is known to product") && product.contains("/v1/commands"), "{product}");
    let known = told(&["product"], &["--product-lookup-url", "http://localhost:1/me"]);
    assert!(!known.contains("nobody is known"), "{known}");
}

#[test]
fn a_listener_that_cannot_be_is_refused_with_what_to_write() {
    for (arguments, told) in [
        (&["--listen", "0=amigo"][..], "no dialect \"amigo\"; there are canonical, monadic"),
        (&["--listen", "0", "--listen", "0=adw", "--static", "x"], "say for which one, as in monadic=x"),
        (&["--listen", "0", "--upstream", "adw=http://localhost:1"], "there is no listener for adw; add --listen adw"),
        (&["--listen", "0", "--upstream", "https://localhost:1"], "is not the address of an HTTP server"),
        (&["--listen", "0", "--static", "/does/not/exist"], "is not a directory"),
        (&["--listen", "0", "--static", ".", "--upstream", "http://localhost:1"], "are both set"),
    ] {
        let ended = run(&[&["serve", "--no-sample"], arguments].concat(), "");
        assert!(ended.code == Some(2) && ended.stderr.contains(told), "{arguments:?}: {ended:?}");
    }
}

/// Sends bytes to a listener as they are, and reads until it closes.
async fn raw_to(address: SocketAddr, bytes: &[u8]) -> String {
    soon("a close", async {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}

/// An application that answers with the head it was sent, and headers of its own.
async fn mirror() -> SocketAddr {
    async fn answer(request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let said = format!("{} {} {:?}", head.method, head.uri, head.headers);
        if body.collect().await.is_err() {
            return Ok(Response::builder().status(599).body(Full::default()).unwrap());
        }
        let response =
            Response::builder().header("access-control-allow-origin", "https://only.example").header("vary", "accept");
        Ok(response.body(Full::from(said)).unwrap())
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn http_22_the_application_sees_the_host_that_was_checked() {
    let behind = mirror().await;
    let gateway = Gateway::speaking(&["adw"], &["--upstream", &format!("adw=http://{behind}")]);
    let at = gateway.at("adw");
    let send = async |head: &str| raw_to(at, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;

    let absolute = send("GET http://localhost/abs?q=1 HTTP/1.1\r\nHost: evil.example\r\n").await;
    assert!(absolute.contains("GET /abs?q=1 ") && absolute.contains("\"host\": \"localhost\""), "{absolute}");
    assert!(!absolute.contains("evil.example"), "{absolute}");
    for head in [
        "GET /x HTTP/1.1\r\nHost: evil.com/.localhost\r\n",
        "GET /x HTTP/1.1\r\nHost: evil.com:1.localhost\r\n",
        "GET http://evil.example/x HTTP/1.1\r\nHost: localhost\r\n",
        "GET http://user@localhost/x HTTP/1.1\r\nHost: localhost\r\n",
        "GET /x HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
    ] {
        let answer = send(head).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        assert!(!answer.contains("only.example"), "{head} reached the application: {answer}");
    }
    for method in ["CONNECT localhost:80", "TRACE /x"] {
        let answer = send(&format!("{method} HTTP/1.1\r\nHost: localhost\r\nCookie: hush\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains("hush"), "{answer}");
    }
}

#[tokio::test]
async fn http_22_connection_takes_out_no_header_that_is_for_the_application() {
    let behind = mirror().await;
    let gateway = Gateway::speaking(&["adw"], &["--upstream", &format!("adw=http://{behind}")]);
    let at = gateway.at("adw");
    for named in [
        "Host",
        "cookie",
        "close, Authorization",
        "Content-Length",
        "Content-Type",
        "X-Forwarded-For",
        "Origin",
        "keep-alive,  sec-websocket-key",
        "h\u{e9}",
    ] {
        let head = format!("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: {named}\r\n\r\n");
        let request =
            [head.as_bytes(), b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"].concat();
        let answer = raw_to(at, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("malformed_frame"), "{named}: {answer}");
        assert!(!answer.contains("only.example"), "{named} reached the application: {answer}");
    }
    // What concerns one connection is taken out as ever, and the client's account of itself is replaced.
    let headers = [
        ("connection", "keep-alive, x-mine"),
        ("x-mine", "hush"),
        ("x-forwarded-for", "127.0.0.3"),
        ("x-real-ip", "127.0.0.3"),
        ("forwarded", "for=127.0.0.3"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-proto", "https"),
    ];
    let said = ask(at, Method::GET, "/x", &headers, "").await;
    let said = String::from_utf8_lossy(&said.body).into_owned();
    for gone in ["hush", "127.0.0.3", "evil.example", "x-forwarded-port", "https"] {
        assert!(!said.contains(gone), "{gone}: {said}");
    }
    assert!(
        said.contains("\"x-forwarded-for\": \"127.0.0.1\"") && said.contains("\"x-forwarded-proto\": \"http\""),
        "{said}"
    );
}

#[tokio::test]
async fn http_22_who_may_read_an_answer_of_the_application_is_for_the_application_to_say() {
    let behind = mirror().await;
    let gateway = Gateway::speaking(&["adw"], &["--upstream", &format!("adw=http://{behind}")]);
    let at = gateway.at("adw");
    let origin = ("origin", "http://localhost:3000");
    let answer = ask(at, Method::GET, "/x", &[origin], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://only.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("vary"), Some("accept"));
    let asked = ask(at, Method::OPTIONS, "/x", &[origin, ("access-control-request-method", "PUT")], "").await;
    assert!(asked.body.starts_with(b"OPTIONS /x"), "{asked:?}");
    // The gateway's own answers beside them stay readable.
    let own = ask(at, Method::GET, "/health", &[origin], "").await;
    assert_eq!(own.header("access-control-allow-origin"), Some("http://localhost:3000"));
}

#[tokio::test]
async fn http_22_a_body_that_breaks_off_is_the_clients_fault() {
    let behind = mirror().await;
    let gateway = Gateway::speaking(&["adw"], &["--upstream", &format!("adw=http://{behind}")]);
    for chunks in ["ffffffffffffffffff\r\nx", "zz\r\n", "-1\r\nx\r\n", "1\nx\n0\n\n", "3\r\nabcd\r\n0\r\n\r\n"] {
        let request = format!("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = raw_to(gateway.at("adw"), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
    }
}

#[tokio::test]
async fn http_23_no_hidden_file_and_no_link_out_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("pages");
    for name in [".git", ".well-known", "ui"] {
        std::fs::create_dir_all(pages.join(name)).unwrap();
    }
    std::fs::write(folder.path().join("secret.txt"), "hush").unwrap();
    for (name, text) in [
        (".env", "hush"),
        (".git/config", "hush"),
        ("index.html", "<title>the application</title>"),
        ("ui/app.js", "0123456789"),
        ("ui/index.html", "below"),
        (".well-known/security.txt", "Contact: x"),
    ] {
        std::fs::write(pages.join(name), text).unwrap();
    }
    for (target, name) in [("../secret.txt", "out.txt"), ("..", "up"), ("ui/app.js", "inside.js"), (".env", "env.txt")]
    {
        std::os::unix::fs::symlink(target, pages.join(name)).unwrap();
    }
    let gateway = Gateway::start(&["--static", &pages.display().to_string()]);
    let get = |path: &'static str| ask(gateway.address, Method::GET, path, &[], "");
    for path in [
        "/.env",
        "/%2eenv",
        "/%2Eenv",
        "/.git/config",
        "/%2egit/config",
        "/.git/",
        "/ui/../.env",
        "/ui/%2e%2e/.env",
        "/out.txt",
        "/up/secret.txt",
        "/env.txt",
        "/up/pages/.env",
    ] {
        let answer = get(path).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hush"), "{path}");
    }
    for (path, status, body, media) in [
        ("/inside.js", 200, "0123456789", "text/javascript"),
        ("/.well-known/security.txt", 200, "Contact: x", "text/plain"),
        ("/ui/", 200, "below", "text/html"),
        ("/ui/sessions/1", 200, "<title>the application</title>", "text/html"),
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, &answer.body[..]), (status, body.as_bytes()), "{path}");
        assert_eq!(answer.header("content-type"), Some(media), "{path}");
    }
    // Parts and conditions as before, and a directory has a slash behind it.
    let part = ask(gateway.address, Method::GET, "/ui/app.js", &[("range", "bytes=2-4")], "").await;
    assert_eq!((part.status, &part.body[..]), (206, &b"234"[..]));
    let modified = get("/ui/app.js").await.header("last-modified").unwrap().to_owned();
    let unchanged = ask(gateway.address, Method::GET, "/ui/app.js", &[("if-modified-since", &modified)], "").await;
    assert_eq!(unchanged.status, 304);
    let moved = get("//ui?a=b").await;
    assert_eq!((moved.status, moved.header("location")), (307, Some("/ui/?a=b")));
}
