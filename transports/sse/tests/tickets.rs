//! An `EventSource` that cannot show a header: a ticket opens its stream, and a cookie opens it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use eventwire_hub::{ApiKeys, Credentials, Guard, Hub, KeyDigest, Principal, Revocation, Secret, Settings};
use eventwire_protocol::Claims;
use eventwire_sse::SseAcceptor;
use http::Request;

fn start() -> (Hub, SseAcceptor) {
    let mut keys = ApiKeys::new();
    for name in ["ada", "bob"] {
        let claims = Claims { user: Some(name.parse().unwrap()), ..Claims::anonymous() };
        keys.add(KeyDigest::of(&format!("key-of-{name}")), Principal::new(name, claims)).unwrap();
    }
    let guard = Guard { allowed_origins: vec!["*".into(), "https://app.example".into()], ..Guard::default() };
    let hub = Hub::builder().authenticator(keys).settings(Settings { guard, ..Settings::default() }).build();
    (hub.clone(), SseAcceptor::new(hub))
}

async fn ticket(hub: &Hub, name: &str) -> String {
    let credentials = Credentials { token: Some(Secret::new(format!("key-of-{name}"))), peer: None };
    let principal = hub.authenticate(&credentials).await.unwrap();
    hub.issue_ticket(&principal).unwrap().ticket.reveal().to_owned()
}

/// Opens a stream: whose it is, and the cookie that came with it. Or the status.
async fn open(
    hub: &Hub,
    acceptor: &SseAcceptor,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<(String, Option<String>), u16> {
    let mut request = Request::get(format!("/v1/sse{query}")).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let response = acceptor.open(&request, None).await.map_err(|rejection| rejection.status().as_u16())?;
    let cookie = response.headers().get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
    let user = hub.connections().last().unwrap().user_id.clone().unwrap();
    Ok((user, cookie))
}

#[tokio::test]
async fn auth_12_an_event_source_comes_with_a_ticket_and_comes_back_with_a_cookie() {
    let (hub, acceptor) = start();
    let query = format!("?adw=aaaaaaaa&ticket={}", ticket(&hub, "ada").await);
    let (user, cookie) = open(&hub, &acceptor, &query, &[]).await.unwrap();
    let cookie = cookie.unwrap();
    assert_eq!(user, "ada");
    let (pair, rest) = cookie.split_once(';').unwrap();
    assert_eq!(rest, " Path=/v1/sse; Max-Age=43200; HttpOnly; SameSite=Strict");
    assert!(!cookie.contains(query.rsplit('=').next().unwrap()), "the cookie is no ticket");

    // As a browser does it: the same address, with the ticket that was redeemed in it. As often as it likes.
    for _ in 0..3 {
        let again = open(&hub, &acceptor, &query, &[("cookie", pair), ("last-event-id", "")]).await.unwrap();
        assert_eq!(again, ("ada".to_owned(), None));
    }
    assert_eq!(open(&hub, &acceptor, "", &[("cookie", pair)]).await.unwrap().0, "ada");
    // A new ticket counts more than an old cookie.
    let newer = format!("?ticket={}", ticket(&hub, "bob").await);
    let (user, other) = open(&hub, &acceptor, &newer, &[("cookie", pair)]).await.unwrap();
    assert_eq!(user, "bob");
    assert_ne!(other.unwrap().split_once(';').unwrap().0, pair);
    // And so does a token, right or wrong.
    let bob = ("authorization", "Bearer key-of-bob");
    assert_eq!(open(&hub, &acceptor, "", &[("cookie", pair), bob]).await.unwrap(), ("bob".to_owned(), None));
    let wrong = ("authorization", "Bearer wrong");
    assert_eq!(open(&hub, &acceptor, "", &[("cookie", pair), wrong]).await, Err(401));

    hub.revoke(&Revocation::User("ada".parse().unwrap())).await.unwrap();
    assert_eq!(open(&hub, &acceptor, &query, &[("cookie", pair)]).await, Err(401));
}

#[tokio::test]
async fn auth_12_a_ticket_that_is_not_good_opens_nothing_and_a_bad_request_does_not_spend_it() {
    let (hub, acceptor) = start();
    let good = ticket(&hub, "ada").await;
    let both = [("authorization", "Bearer key-of-ada")];
    for (query, headers, status) in [
        ("?ticket=".to_owned(), &[][..], 401),
        ("?ticket=%00%0a".to_owned(), &[], 401),
        (format!("?ticket={}", "0".repeat(64)), &[], 401),
        (format!("?ticket={good}&ticket={good}"), &[], 400),
        (format!("?ticket={good}&adw="), &[], 400),
        (format!("?ticket={good}"), &[("accept", "text/html")], 406),
        (format!("?ticket={good}"), &[("last-event-id", "7")], 400),
        (format!("?ticket={good}"), &both, 401),
        (String::new(), &[("cookie", "eventwire_sse=0")], 401),
    ] {
        assert_eq!(open(&hub, &acceptor, &query, headers).await, Err(status), "{query}");
    }
    let query = format!("?ticket={good}");
    let (_, cookie) = open(&hub, &acceptor, &query, &[("x-forwarded-proto", "https")]).await.unwrap();
    assert!(cookie.unwrap().ends_with("; SameSite=Strict; Secure"));
    assert_eq!(open(&hub, &acceptor, &query, &[]).await, Err(401), "once");
}

#[tokio::test]
async fn auth_14_a_cookie_is_for_pages_of_origins_that_are_named() {
    let (hub, acceptor) = start();
    let query = format!("?ticket={}", ticket(&hub, "ada").await);
    let cookie = open(&hub, &acceptor, &query, &[]).await.unwrap().1.unwrap();
    let pair = cookie.split_once(';').unwrap().0;
    for (origin, known) in [
        ("https://app.example", true),
        ("http://localhost:5173", true),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let opened = open(&hub, &acceptor, "", &[("cookie", pair), ("origin", origin)]).await;
        assert_eq!(opened.is_ok(), known, "{origin}: {opened:?}");
    }
}
