//! The handshake: what becomes a WebSocket, and what everything else is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::sync::LazyLock;

use bytes::Bytes;
use common::{principal, request};
use data_encoding::BASE64URL_NOPAD;
use eventwire_hub::{ApiKeys, Hub, KeyDigest, Settings};
use eventwire_websocket::{Handshake, Rejection, WebSocketAcceptor};
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// Open to everybody on loopback.
static OPEN: LazyLock<WebSocketAcceptor> = LazyLock::new(|| RUNTIME.block_on(async { Hub::new().into() }));
/// For holders of a key.
static LOCKED: LazyLock<WebSocketAcceptor> = LazyLock::new(|| {
    let mut keys = ApiKeys::new();
    keys.add(KeyDigest::of("header-key"), principal("header")).unwrap();
    keys.add(KeyDigest::of("protocol.key~1"), principal("protocol")).unwrap();
    RUNTIME.block_on(async { Hub::builder().authenticator(keys).build().into() })
});

fn negotiate(acceptor: &WebSocketAcceptor, request: &Request<()>) -> Result<Handshake, Rejection> {
    RUNTIME.block_on(acceptor.negotiate(request, None))
}

/// A good request with something changed.
fn with(change: impl FnOnce(&mut Request<()>)) -> Request<()> {
    let mut request = request("/v1/ws");
    change(&mut request);
    request
}

fn set(name: &'static str, value: &[u8]) -> Request<()> {
    with(|request| {
        request.headers_mut().insert(name, HeaderValue::from_bytes(value).unwrap());
    })
}

fn add(name: &'static str, value: &'static str) -> Request<()> {
    with(|request| {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    })
}

fn without(name: &'static str) -> Request<()> {
    with(|request| {
        request.headers_mut().remove(name);
    })
}

/// Status and code of the answer, which must be JSON with one line for people.
fn refused(acceptor: &WebSocketAcceptor, request: &Request<()>) -> (u16, String) {
    let rejection = negotiate(acceptor, request).expect_err("refused");
    let response: Response<Bytes> = rejection.into();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(!message.is_empty() && !message.contains('\n'), "{message}");
    (response.status().as_u16(), body["error"]["code"].as_str().unwrap().to_owned())
}

#[test]
fn ws_01_a_good_request_is_answered_as_rfc_6455_says() {
    let response = negotiate(&OPEN, &request("/v1/ws")).unwrap().response();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["connection"], "Upgrade");
    // The example of RFC 6455, section 1.3.
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
}

#[test]
fn ws_01_our_subprotocol_is_echoed_and_only_ours() {
    for offered in ["eventwire.v1", "graphql-ws, eventwire.v1", "eventwire.v1,eventwire.v2", " , eventwire.v1 ,"] {
        let response = negotiate(&OPEN, &set("sec-websocket-protocol", offered.as_bytes())).unwrap().response();
        assert_eq!(response.headers()["sec-websocket-protocol"], "eventwire.v1", "{offered}");
    }
    let two_lines = with(|request| {
        request.headers_mut().append("sec-websocket-protocol", HeaderValue::from_static("graphql-ws"));
        request.headers_mut().append("sec-websocket-protocol", HeaderValue::from_static("eventwire.v1"));
    });
    assert_eq!(negotiate(&OPEN, &two_lines).unwrap().response().headers()["sec-websocket-protocol"], "eventwire.v1");
    assert!(negotiate(&OPEN, &set("sec-websocket-protocol", b" ")).is_ok());
    for offered in [
        &b"graphql-ws"[..],
        b"eventwire.v2",
        b"EVENTWIRE.V1",
        b"eventwire.v1x",
        b"eventwire.token.YQ",
        b"\xff\xfe, \xc3\xa9",
    ] {
        let answer = refused(&OPEN, &set("sec-websocket-protocol", offered));
        assert_eq!(answer, (400, "unsupported_subprotocol".into()), "{}", offered.escape_ascii());
    }
}

#[test]
fn ws_06_whatever_is_wrong_with_a_handshake_has_a_status_and_a_code() {
    let method = |method: Method| with(|request| *request.method_mut() = method);
    let matrix: [(&str, Request<()>, u16, &str); 20] = [
        ("POST", method(Method::POST), 405, "method_not_allowed"),
        ("HEAD", method(Method::HEAD), 405, "method_not_allowed"),
        ("CONNECT", method(Method::CONNECT), 405, "method_not_allowed"),
        ("no upgrade", without("upgrade"), 426, "upgrade_required"),
        ("other upgrade", set("upgrade", b"h2c"), 426, "upgrade_required"),
        ("no connection", without("connection"), 426, "upgrade_required"),
        ("other connection", set("connection", b"keep-alive"), 426, "upgrade_required"),
        ("no version", without("sec-websocket-version"), 426, "unsupported_version"),
        ("version 8", set("sec-websocket-version", b"8"), 426, "unsupported_version"),
        ("versions", set("sec-websocket-version", b"13, 8"), 426, "unsupported_version"),
        ("version twice", add("sec-websocket-version", "13"), 400, "invalid_payload"),
        ("no key", without("sec-websocket-key"), 400, "invalid_payload"),
        ("short key", set("sec-websocket-key", b"dGhlIHNhbXBsZQ=="), 400, "invalid_payload"),
        ("key of no base64", set("sec-websocket-key", b"dGhl-HNhbXBsZSBub25jZQ=="), 400, "invalid_payload"),
        ("key twice", add("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), 400, "invalid_payload"),
        ("no host", without("host"), 403, "host_not_allowed"),
        ("foreign host", set("host", b"evil.example"), 403, "host_not_allowed"),
        ("host twice", add("host", "localhost"), 400, "invalid_payload"),
        ("foreign origin", set("origin", b"https://evil.example"), 403, "origin_not_allowed"),
        ("null origin", set("origin", b"null"), 403, "origin_not_allowed"),
    ];
    for (what, request, status, code) in matrix {
        assert_eq!(refused(&OPEN, &request), (status, code.to_owned()), "{what}");
    }
    assert!(negotiate(&OPEN, &set("origin", b"http://localhost:3000")).is_ok());
}

#[test]
fn ws_06_a_refusal_says_in_headers_what_http_wants_beside_the_status() {
    let answer =
        |request: &Request<()>, acceptor| -> Response<Bytes> { negotiate(acceptor, request).unwrap_err().into() };
    assert_eq!(answer(&with(|it| *it.method_mut() = Method::POST), &*OPEN).headers()["allow"], "GET");
    assert_eq!(answer(&without("upgrade"), &*OPEN).headers()["upgrade"], "websocket");
    assert_eq!(answer(&set("sec-websocket-version", b"8"), &*OPEN).headers()["sec-websocket-version"], "13");
    assert_eq!(answer(&request("/v1/ws"), &*LOCKED).headers()["www-authenticate"], "Bearer");
}

#[test]
fn auth_02_a_host_in_the_request_line_is_judged_like_the_header() {
    let request = with(|request| *request.uri_mut() = "http://evil.example/v1/ws".parse().unwrap());
    assert_eq!(refused(&OPEN, &request).0, 403);
}

#[test]
fn ws_02_a_token_comes_in_authorization_or_as_a_subprotocol_beside_ours() {
    let who = |request: &Request<()>| {
        negotiate(&LOCKED, request).map(|handshake| handshake.request().unwrap().principal.name.to_string())
    };
    let subprotocol =
        |token: &str| format!("eventwire.v1, eventwire.token.{}", BASE64URL_NOPAD.encode(token.as_bytes()));
    assert_eq!(who(&set("authorization", b"Bearer header-key")).unwrap(), "header");
    assert_eq!(who(&set("sec-websocket-protocol", subprotocol("protocol.key~1").as_bytes())).unwrap(), "protocol");
    let both = |authorization: &'static str| {
        let mut request = set("sec-websocket-protocol", subprotocol("protocol.key~1").as_bytes());
        request.headers_mut().insert("authorization", HeaderValue::from_static(authorization));
        request
    };
    assert_eq!(who(&both("bearer header-key")).unwrap(), "header");
    // A scheme that is not ours is for somebody else on the way.
    assert_eq!(who(&both("Basic bWU6c2VjcmV0")).unwrap(), "protocol");
    assert_eq!(who(&both("Bearer wrong")).unwrap_err().status(), 401);
    let hidden = negotiate(&LOCKED, &set("sec-websocket-protocol", subprotocol("protocol.key~1").as_bytes())).unwrap();
    assert_eq!(
        hidden.response().headers().get_all("sec-websocket-protocol").iter().collect::<Vec<_>>(),
        ["eventwire.v1"]
    );
    assert!(!format!("{hidden:?}").contains("protocol.key~1"));
}

#[test]
fn ws_02_wrong_missing_and_unreadable_tokens_are_unauthorized_and_not_repeated() {
    let unauthorized = |request: &Request<()>| {
        let rejection = negotiate(&LOCKED, request).unwrap_err();
        assert!(!rejection.to_string().contains("hush"), "{rejection}");
        assert_eq!((rejection.status().as_u16(), rejection.error().code.as_str()), (401, "unauthorized"));
    };
    unauthorized(&request("/v1/ws"));
    for authorization in [&b"Bearer hush"[..], b"Bearer", b"Bearer hush\xff", b"Bearer hush hush"] {
        unauthorized(&set("authorization", authorization));
    }
    for token in ["", "hush!", "aHVzaA==", "aHVzaB", "/w", "aHVzaA,eventwire.token.aHVzaA", "\u{e9}"] {
        unauthorized(&set("sec-websocket-protocol", format!("eventwire.v1,eventwire.token.{token}").as_bytes()));
    }
}

#[test]
fn ws_04_the_query_names_the_initial_set() {
    let path = "/v1/ws?adw=29fb6a3e,9f3a77c2&context=kitchen&room=tasks&observe=1&cursor=9f3a77c2d1e05b64-4711";
    let connect = negotiate(&OPEN, &request(path)).unwrap().request().unwrap().clone();
    assert_eq!(connect.targets, ["adw:29fb6a3e", "adw:9f3a77c2", "session:kitchen", "room:tasks", "*"]);
    assert_eq!(connect.cursor.unwrap().to_string(), "9f3a77c2d1e05b64-4711");
    for query in ["adws=29fb6a3e", "observe=yes", "cursor=1", "room=", "token=hush", "adw=29fb6a3e&adw=29fb6a3e"] {
        let answer = refused(&OPEN, &request(&format!("/v1/ws?{query}")));
        assert_eq!(answer, (400, "invalid_payload".into()), "{query}");
    }
    let many = vec!["r"; 257].join(",");
    assert_eq!(refused(&OPEN, &request(&format!("/v1/ws?room={many}"))), (400, "too_many_subscriptions".into()));
}

#[test]
fn ws_06_a_full_or_stopping_server_says_so_before_the_upgrade() {
    RUNTIME.block_on(async {
        let full: WebSocketAcceptor =
            Hub::builder().settings(Settings { max_connections: 0, ..Settings::default() }).build().into();
        let rejection = full.negotiate(&request("/v1/ws"), None).await.unwrap_err();
        assert_eq!((rejection.status().as_u16(), rejection.error().code.as_str()), (503, "unavailable"));
        let hub = Hub::new();
        hub.drain(std::time::Duration::ZERO).await;
        let stopping = WebSocketAcceptor::new(hub).negotiate(&request("/v1/ws"), None).await.unwrap_err();
        let response: Response<Bytes> = stopping.into();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &HeaderValue::from_static("1"))
        );
    });
}

const HEADERS: [HeaderName; 10] = [
    header::HOST,
    header::ORIGIN,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::AUTHORIZATION,
    header::USER_AGENT,
    header::COOKIE,
];

/// Bytes that a header can hold, with a liking for the words that mean something.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        &b"eventwire.v1"[..],
        b"eventwire.token.",
        b"Bearer ",
        b"websocket",
        b"Upgrade",
        b"13",
        b",",
        b"localhost",
        b"==",
        b"\xff",
        b"\xc3\xa9",
    ]);
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec(prop_oneof![words.prop_map(<[u8]>::to_vec), noise], 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn ws_06_no_header_is_so_strange_that_there_is_no_answer(
        changes in prop::collection::vec((prop::sample::select(HEADERS.to_vec()), value(), any::<bool>()), 0..6),
        query in "[!-~]{0,40}",
        locked in any::<bool>(),
    ) {
        let mut request = request("/v1/ws");
        for (name, value, replace) in changes {
            let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
            if replace {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        if let Ok(uri) = format!("/v1/ws?{query}").parse() {
            *request.uri_mut() = uri;
        }
        let acceptor = if locked { &*LOCKED } else { &*OPEN };
        match negotiate(acceptor, &request) {
            Ok(handshake) => {
                let response = handshake.response();
                prop_assert_eq!(response.status().as_u16(), 101);
                prop_assert_eq!(response.headers()["sec-websocket-accept"].len(), 28);
            }
            Err(rejection) => {
                let response: Response<Bytes> = rejection.into();
                prop_assert!((400..504).contains(&response.status().as_u16()));
                let body: Value = serde_json::from_slice(response.body()).unwrap();
                prop_assert!(body["error"]["code"].is_string());
            }
        }
    }
}
