//! Tickets and revocations as the API answers them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use bytes::Bytes;
use eventwire_http::Api;
use eventwire_hub::state::{Durability, Room, StateEntry, StateLog};
use eventwire_hub::{ApiKeys, Builder, ConnectRequest, Connection, Hub, KeyDigest, Outgoing, Principal, Secret};
use eventwire_protocol::{Claims, CloseCode, Permission, limits};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

fn hub() -> Hub {
    builder().build()
}

fn builder() -> Builder {
    let mut keys = ApiKeys::new();
    let named = |user: &str| Claims { user: Some(user.parse().unwrap()), ..Claims::anonymous() };
    for (key, claims) in [
        ("ada", named("ada")),
        ("ada-too", named("ada")),
        ("bob", named("bob")),
        ("admin", Claims { permissions: [Permission::Admin].into(), ..Claims::anonymous() }),
    ] {
        keys.add(KeyDigest::of(key), Principal::new(key, claims)).unwrap();
    }
    Hub::builder().authenticator(keys)
}

async fn post(api: &Api, path: &str, key: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut request = Request::post(path).header("host", "localhost");
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = api.answer(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap(), None).await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

async fn connect(hub: &Hub, key: &str) -> Connection {
    let credentials = eventwire_hub::Credentials { token: Some(Secret::new(key)), peer: None };
    hub.connect(ConnectRequest::new(hub.authenticate(&credentials).await.unwrap(), "memory")).await.unwrap()
}

async fn code(connection: &mut Connection) -> CloseCode {
    loop {
        if let Outgoing::Close(code, _) = connection.next().await {
            return code;
        }
    }
}

#[tokio::test]
async fn auth_12_a_ticket_is_sold_for_credentials_and_an_empty_body() {
    let hub = hub();
    let api = Api::new(hub.clone());
    for (headers, body) in [(&[][..], ""), (JSON, "{}"), (&[], " {} ")] {
        let (status, sold) = post(&api, "/v1/tickets", "ada", headers, body).await;
        assert_eq!((status, &sold["expires_in_s"]), (201, &json!(30)), "{sold}");
        let ticket = Secret::new(sold["ticket"].as_str().unwrap());
        assert_eq!(hub.redeem_ticket(&ticket).unwrap().claims.user.unwrap().to_string(), "ada");
    }
    for (path, key, body, status, code) in [
        ("/v1/tickets", "", "", 401, "unauthorized"),
        ("/v1/tickets", "nobody", "", 401, "unauthorized"),
        ("/v1/tickets?for=bob", "ada", "", 400, "invalid_payload"),
        ("/v1/tickets", "ada", "{\"user\":\"bob\"}", 422, "invalid_payload"),
        ("/v1/tickets", "ada", "[]", 422, "invalid_payload"),
        ("/v1/tickets", "ada", "{", 400, "malformed_frame"),
    ] {
        let (got, answer) = post(&api, path, key, &[], body).await;
        assert_eq!((got, answer["error"]["code"].as_str().unwrap()), (status, code), "{path} {key} {body}");
    }
    for _ in 0..limits::TICKETS {
        assert_eq!(post(&api, "/v1/tickets", "ada", &[], "").await.0, 201);
    }
    let (status, answer) = post(&api, "/v1/tickets", "ada", &[], "").await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (429, "rate_limited"));
    assert_eq!(post(&api, "/v1/tickets", "bob", &[], "").await.0, 201);
}

#[tokio::test]
async fn auth_13_a_revocation_closes_what_it_names_and_says_how_much() {
    let hub = hub();
    let api = Api::new(hub.clone());
    let (mut ada, mut too, mut bob) =
        (connect(&hub, "ada").await, connect(&hub, "ada-too").await, connect(&hub, "bob").await);
    let revoke = async |body: Value| post(&api, "/v1/revocations", "admin", JSON, &body.to_string()).await;
    assert_eq!(revoke(json!({"user": "nobody-here"})).await, (200, json!({"closed": 0})));
    assert_eq!(revoke(json!({"user": "ada"})).await, (200, json!({"closed": 2})));
    assert_eq!((code(&mut ada).await, code(&mut too).await), (CloseCode::Unauthorized, CloseCode::Unauthorized));
    // By their names the keys themselves go.
    assert_eq!(post(&api, "/v1/tickets", "bob", &[], "").await.0, 201);
    assert_eq!(revoke(json!({"token": "bob"})).await, (200, json!({"closed": 1})));
    assert_eq!(code(&mut bob).await, CloseCode::Unauthorized);
    let (status, answer) = post(&api, "/v1/tickets", "bob", &[], "").await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (401, "unauthorized"));
    assert_eq!(post(&api, "/v1/tickets", "ada", &[], "").await.0, 201);
    // Everything: also what keys had opened, which themselves remain accepted.
    drop((ada, too, bob));
    let mut again = connect(&hub, "ada").await;
    assert_eq!(revoke(json!({"all": true})).await, (200, json!({"closed": 1})));
    assert_eq!(code(&mut again).await, CloseCode::Unauthorized);
    assert_eq!(post(&api, "/v1/tickets", "ada", &[], "").await.0, 201);
}

/// A disk that is full.
struct FullDisk;

#[async_trait::async_trait]
impl StateLog for FullDisk {
    async fn append(&mut self, _: &StateEntry, _: Durability) -> std::io::Result<Room> {
        Err(std::io::Error::other("no space left"))
    }

    async fn rewrite(&mut self, _: Vec<StateEntry>) -> std::io::Result<()> {
        Err(std::io::Error::other("no space left"))
    }
}

#[tokio::test]
async fn auth_19_a_revocation_that_cannot_be_kept_is_in_force_and_not_confirmed() {
    let hub = builder().state(FullDisk, Vec::new()).build();
    let api = Api::new(hub.clone());
    let mut ada = connect(&hub, "ada").await;
    let (status, answer) = post(&api, "/v1/revocations", "admin", JSON, "{\"token\":\"ada\"}").await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (503, "unavailable"));
    assert!(answer["error"]["message"].as_str().unwrap().contains("in force"), "{answer}");
    assert_eq!(code(&mut ada).await, CloseCode::Unauthorized);
    assert_eq!(post(&api, "/v1/tickets", "ada", &[], "").await.0, 401);
}

#[tokio::test]
async fn auth_13_a_revocation_needs_the_permission_and_names_exactly_one() {
    let hub = hub();
    let api = Api::new(hub.clone());
    let long = json!({"token": "x".repeat(257)}).to_string();
    for (key, headers, body, status, code) in [
        ("", JSON, "{\"user\":\"ada\"}", 401, "unauthorized"),
        ("ada", JSON, "{\"user\":\"ada\"}", 403, "forbidden"),
        ("admin", &[][..], "{\"user\":\"ada\"}", 415, "unsupported_media_type"),
        ("admin", &[("content-type", "application/x-ndjson")], "{\"user\":\"ada\"}", 415, "unsupported_media_type"),
        ("admin", JSON, "", 400, "malformed_frame"),
        ("admin", JSON, "{}", 422, "invalid_payload"),
        ("admin", JSON, "{\"user\":\"ada\",\"token\":\"t\"}", 422, "invalid_payload"),
        ("admin", JSON, "{\"users\":[\"ada\"]}", 422, "invalid_payload"),
        ("admin", JSON, "[\"ada\",null]", 422, "invalid_payload"),
        ("admin", JSON, "{\"user\":7}", 422, "invalid_payload"),
        ("admin", JSON, "{\"all\":false}", 422, "invalid_payload"),
        ("admin", JSON, "{\"all\":true,\"user\":\"ada\"}", 422, "invalid_payload"),
        ("ada", JSON, "{\"all\":true}", 403, "forbidden"),
        ("admin", JSON, "{\"user\":\"no spaces\"}", 422, "invalid_id"),
        ("admin", JSON, "{\"token\":\"\"}", 422, "invalid_id"),
        ("admin", JSON, &long, 422, "invalid_id"),
    ] {
        let (got, answer) = post(&api, "/v1/revocations", key, headers, body).await;
        assert_eq!((got, answer["error"]["code"].as_str().unwrap()), (status, code), "{key} {body}");
    }
    // A token in the place of its name is not repeated.
    let (_, answer) = post(&api, "/v1/revocations", "admin", JSON, "{\"jwt\":\"very.secret\"}").await;
    assert!(!answer.to_string().contains("secret"), "{answer}");
}
