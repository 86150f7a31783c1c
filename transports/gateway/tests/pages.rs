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
