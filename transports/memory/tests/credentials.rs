//! Credentials that end, are renewed, are taken back, and the tickets that are bought with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use common::{kinds, publish};
use eventwire_hub::{
    ApiKeys, Authenticator, ConnectRequest, Credential, CredentialKind, Credentials, Hub, KeyDigest, Outgoing,
    Principal, Revocation, Secret, Settings, Thumbprint,
};
use eventwire_memory::{Closed, ConnectOptions, Faults, ManualClock, MemoryClient, Step, Window};
use eventwire_protocol::{Claims, CloseCode, ErrorBody, ErrorCode, Time};
use serde_json::json;

const START: &str = "2026-11-20T23:40:00Z";
const ADW: &str = "adw:aaaaaaaa";

/// Takes `user/id/issued/end`, the times in seconds after the start, and `key/<user>`, which has no end. Believes everybody.
struct Plain;

fn at(seconds: i64) -> Time {
    START.parse::<Time>().unwrap().plus_micros(seconds * 1_000_000)
}

#[async_trait]
impl Authenticator for Plain {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let no = || ErrorBody::new(ErrorCode::Unauthorized, "no");
        let token = credentials.token.as_ref().ok_or_else(no)?.reveal();
        let named = |user: &str| Claims { user: Some(user.parse().unwrap()), ..Claims::anonymous() };
        match token.split('/').collect::<Vec<_>>()[..] {
            ["key", user] => {
                let kind = CredentialKind::ApiKey;
                let credential = Credential { kind, id: Some(token.into()), ..Credential::default() };
                Ok(Principal { credential, ..Principal::new(token, named(user)) })
            }
            [user, id, issued, end] => {
                let time = |text: &str| text.parse().ok().map(at);
                let credential = Credential {
                    id: Some(id.into()),
                    issued_at: time(issued),
                    expires_at: time(end),
                    ..Credential::default()
                };
                Ok(Principal { credential, ..Principal::new(user, named(user)) })
            }
            _ => Err(no()),
        }
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn is_permanent(&self, id: &str) -> bool {
        id.starts_with("key/")
    }
}

fn start() -> (ManualClock, Hub) {
    let clock = ManualClock::starting(START.parse().unwrap());
    let hub = Hub::builder().authenticator(Plain).clock(clock.clone()).build();
    (clock, hub)
}

async fn who(hub: &Hub, token: &str) -> Result<Principal, ErrorBody> {
    hub.authenticate(&Credentials { token: Some(Secret::new(token)), peer: None }).await
}

async fn watch(hub: &Hub, token: &str) -> MemoryClient {
    let options = ConnectOptions { token: Some(Secret::new(token)), ..ConnectOptions::wanting([ADW]) };
    MemoryClient::connect(hub, options).await.unwrap()
}

async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

async fn seconds(clock: &ManualClock, count: u64) {
    for _ in 0..count {
        clock.advance(Duration::from_secs(1)).await;
        settle().await;
    }
}

/// Reads to the end and gives the code.
async fn ended(client: &mut MemoryClient) -> CloseCode {
    let end = async {
        loop {
            match client.next_frame().await {
                Ok(_) => {}
                Err(Closed::ByServer(code, _)) => return code,
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), end).await.expect("an end")
}

/// What ended something that waits for the end of its credentials.
async fn reason(waiting: tokio::task::JoinHandle<ErrorBody>) -> String {
    tokio::time::timeout(Duration::from_secs(3600), waiting).await.expect("an end").unwrap().message.into_owned()
}

fn is_open(client: &mut MemoryClient) -> bool {
    loop {
        match client.try_next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auth_11_a_connection_ends_with_its_credentials_and_a_little_later() {
    let (clock, hub) = start();
    let mut client = watch(&hub, "ada/1/0/60").await;
    let welcome = client.next_frame().await.unwrap().value();
    assert_eq!(welcome["data"]["expires_at"], "2026-11-20T23:41:00Z");
    let mut forever = watch(&hub, "key/ada").await;
    let welcome = forever.next_frame().await.unwrap().value();
    assert_eq!(welcome["data"].get("expires_at"), None);
    seconds(&clock, 64).await;
    assert!(is_open(&mut client), "the grace is 5 seconds");
    seconds(&clock, 1).await;
    assert_eq!(ended(&mut client).await, CloseCode::Unauthorized);
    assert!(is_open(&mut forever));
    assert_eq!(hub.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn auth_11_new_credentials_put_the_end_off_and_the_older_end_is_forgotten() {
    let (clock, hub) = start();
    let mut client = watch(&hub, "ada/1/0/60").await;
    client.drain().await;
    seconds(&clock, 50).await;
    client.drain().await;
    client.send_text(r#"{"type":"authenticate","id":"1","data":{"token":"ada/2/50/120"}}"#).await.unwrap();
    let frames = client.drain().await;
    let reply = frames.iter().map(|frame| frame.value()).find(|frame| frame["type"] == "connection.reply").unwrap();
    assert_eq!(reply["data"]["data"]["expires_at"], "2026-11-20T23:42:00Z");
    seconds(&clock, 74).await;
    assert!(is_open(&mut client));
    seconds(&clock, 1).await;
    assert_eq!(ended(&mut client).await, CloseCode::Unauthorized);

    // A shorter one counts as well, and one that is refused changes nothing.
    let mut client = watch(&hub, "ada/3/125/1000").await;
    client.send_text(r#"{"type":"authenticate","id":"1","data":{"token":"ada/4/125/140"}}"#).await.unwrap();
    client.send_text(r#"{"type":"authenticate","id":"2","data":{"token":"ada/5/0/60"}}"#).await.unwrap();
    let frames = client.drain().await;
    assert!(kinds(&frames).contains(&"connection.error".to_owned()), "{:?}", kinds(&frames));
    seconds(&clock, 19).await;
    assert!(is_open(&mut client));
    seconds(&clock, 1).await;
    assert_eq!(ended(&mut client).await, CloseCode::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn auth_11_a_busy_connection_ends_too_and_does_nothing_more() {
    let (clock, hub) = start();
    let options = ConnectOptions {
        token: Some(Secret::new("ada/1/0/60")),
        window: Window::ONE,
        ..ConnectOptions::wanting([ADW])
    };
    let mut client = MemoryClient::connect(&hub, options).await.unwrap();
    client.drain().await;
    for _ in 0..64 {
        publish(&hub, "_test.event", ADW, json!({})).await;
        seconds(&clock, 1).await;
        client.drain().await;
    }
    seconds(&clock, 1).await;
    assert_eq!(ended(&mut client).await, CloseCode::Unauthorized);
    assert_eq!(hub.connection_count(), 0);

    // It asks for something in the moment of its end.
    let principal = who(&hub, "ada/2/0/100").await.unwrap();
    let mut connection = hub.connect(ConnectRequest::new(principal, "memory")).await.unwrap();
    clock.set_off(40_000_000);
    connection.receive(br#"{"type":"subscribe","id":"1","data":{"streams":[{"to":"room:x"}]}}"#).await;
    let mut said = String::new();
    loop {
        match connection.next().await {
            Outgoing::Frames(frames) => frames.iter().for_each(|it| said.push_str(&String::from_utf8_lossy(&it.bytes))),
            Outgoing::Close(code, _) => break assert_eq!(code, CloseCode::Unauthorized),
            Outgoing::Ping => {}
        }
    }
    assert!(!said.contains("connection.subscribed"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn auth_11_credentials_that_have_ended_or_hold_for_too_long_open_nothing() {
    let (clock, hub) = start();
    seconds(&clock, 60).await;
    assert!(who(&hub, "ada/1/0/56").await.is_ok(), "clocks may be apart");
    for (token, word) in [
        ("ada/1/0/55", "expired"),
        ("ada/1/0/0", "expired"),
        ("ada/1/0/86401", "holds for longer than 86400 seconds"),
        ("ada/1/66/100", "issued in the future"),
        ("ada/1//100", "jwt_require_iat"),
        ("ada/1/0/", "no end"),
    ] {
        let error = who(&hub, token).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthorized);
        assert!(error.message.contains(word), "{token}: {}", error.message);
    }
    // It was right when it was shown, and no longer is when the connection opens.
    let principal = who(&hub, "ada/1/0/61").await.unwrap();
    seconds(&clock, 6).await;
    let error = hub.connect(ConnectRequest::new(principal, "memory")).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn auth_11_the_whole_life_of_a_token_is_judged_and_not_what_is_left_of_it() {
    const DAY: u64 = 24 * 3600;
    let (clock, hub) = start();
    // Seven days long, and revoked on the first.
    let week = format!("ada/1/0/{}", 7 * DAY);
    assert!(who(&hub, &week).await.is_err());
    hub.revoke(&Revocation::Token("1".into())).await.unwrap();
    for _ in 0..6 {
        clock.advance(Duration::from_secs(DAY)).await;
        assert!(who(&hub, &week).await.is_err());
        let other = format!("bob/2/0/{}", 7 * DAY);
        assert!(who(&hub, &other).await.unwrap_err().message.contains("from its issue (iat) to its end (exp)"));
    }
    // Where tokens need not say when they were issued, a revocation is not forgotten either.
    let clock = ManualClock::starting(START.parse().unwrap());
    let settings = Settings { require_issued_at: false, ..Settings::default() };
    let hub = Hub::builder().authenticator(Plain).clock(clock.clone()).settings(settings).build();
    let [ada, bob, eve] = ["ada/1", "bob/2", "eve/3"].map(|name| format!("{name}//{}", 7 * DAY));
    assert!(who(&hub, &bob).await.unwrap_err().message.contains("holds for longer"), "as far as can be seen");
    hub.revoke(&Revocation::Token("1".into())).await.unwrap();
    hub.revoke(&Revocation::User("bob".parse().unwrap())).await.unwrap();
    clock.advance(Duration::from_secs(6 * DAY + 1)).await;
    assert!(who(&hub, &ada).await.unwrap_err().message.contains("revoked"));
    assert!(who(&hub, &bob).await.unwrap_err().message.contains("revoked"));
    assert!(who(&hub, &eve).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn auth_13_everything_is_taken_back_at_once_and_api_keys_may_come_back() {
    let (clock, hub) = start();
    let (mut ada, mut script) = (watch(&hub, "ada/1/0/3600").await, watch(&hub, "key/build").await);
    let stranger = Principal::anonymous(Claims::anonymous());
    let mut stranger = hub.connect(ConnectRequest::new(stranger, "memory")).await.unwrap();
    let principal = who(&hub, "key/build").await.unwrap();
    let (ticket, cookie) = (hub.issue_ticket(&principal).unwrap(), hub.issue_sse_cookie(&principal).unwrap());
    assert_eq!(hub.revoke(&Revocation::All).await.unwrap(), 2);
    assert_eq!(ended(&mut ada).await, CloseCode::Unauthorized);
    assert_eq!(ended(&mut script).await, CloseCode::Unauthorized);
    assert!(hub.redeem_ticket(&ticket.ticket).is_err() && hub.recognize_sse_cookie(&cookie.value).is_err());
    assert!(matches!(stranger.next().await, Outgoing::Frames(_)), "a stranger has nothing that is taken back");
    assert!(who(&hub, "ada/1/0/3600").await.is_err() && who(&hub, "bob/2/0/3600").await.is_err());
    assert!(who(&hub, "key/build").await.is_ok());
    seconds(&clock, 6).await;
    assert!(who(&hub, "ada/3/6/3600").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn auth_11_a_wall_clock_that_is_set_is_believed() {
    let (clock, hub) = start();
    let mut client = watch(&hub, "ada/1/0/3600").await;
    clock.set_off(3_605_000_000);
    seconds(&clock, 30).await;
    assert_eq!(ended(&mut client).await, CloseCode::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn auth_12_a_ticket_opens_one_connection_as_the_token_that_bought_it() {
    let (clock, hub) = start();
    let ada = who(&hub, "ada/1/0/20").await.unwrap();
    let ticket = hub.issue_ticket(&ada).unwrap();
    assert_eq!(ticket.expires_in, Duration::from_secs(30));
    assert_eq!(hub.redeem_ticket(&ticket.ticket).unwrap(), ada);
    let used = hub.redeem_ticket(&ticket.ticket).unwrap_err();
    let never = hub.redeem_ticket(&Secret::new("0".repeat(64))).unwrap_err();
    // The token that bought it ends first.
    let outlived = hub.issue_ticket(&ada).unwrap();
    seconds(&clock, 25).await;
    let outlived = hub.redeem_ticket(&outlived.ticket).unwrap_err();
    let late = hub.issue_ticket(&who(&hub, "key/bob").await.unwrap()).unwrap();
    seconds(&clock, 30).await;
    let late = hub.redeem_ticket(&late.ticket).unwrap_err();
    assert_eq!(used.code, ErrorCode::Unauthorized);
    assert!(
        [&never, &outlived, &late].iter().all(|error| **error == used),
        "one answer for every ticket that is not good"
    );
}

#[tokio::test(start_paused = true)]
async fn auth_12_a_cookie_holds_as_long_as_the_token_and_twelve_hours_at_most() {
    let (clock, hub) = start();
    let ada = who(&hub, "ada/1/0/60").await.unwrap();
    let cookie = hub.issue_sse_cookie(&ada).unwrap();
    assert_eq!(cookie.max_age, Duration::from_secs(60));
    let longer = hub.issue_sse_cookie(&who(&hub, "key/bob").await.unwrap()).unwrap();
    assert_eq!(longer.max_age, Duration::from_secs(12 * 3600));
    for _ in 0..3 {
        assert_eq!(hub.recognize_sse_cookie(&cookie.value).unwrap(), ada, "again and again");
    }
    seconds(&clock, 65).await;
    assert_eq!(hub.recognize_sse_cookie(&cookie.value).unwrap_err().code, ErrorCode::Unauthorized);
    assert!(hub.recognize_sse_cookie(&longer.value).is_ok());
    clock.advance(Duration::from_secs(12 * 3600 - 65)).await;
    assert_eq!(hub.recognize_sse_cookie(&longer.value).unwrap_err().code, ErrorCode::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn auth_13_a_user_is_put_out_everywhere_and_comes_back_with_newer_credentials_only() {
    let (clock, hub) = start();
    let mut tab = watch(&hub, "ada/1/0/3600").await;
    let mut phone = watch(&hub, "ada/2/0/3600").await;
    let mut script = watch(&hub, "key/ada").await;
    let mut other = watch(&hub, "bob/3/0/3600").await;
    let ada = who(&hub, "ada/1/0/3600").await.unwrap();
    let (ticket, cookie) = (hub.issue_ticket(&ada).unwrap(), hub.issue_sse_cookie(&ada).unwrap());
    let others = hub.issue_ticket(&who(&hub, "bob/3/0/3600").await.unwrap()).unwrap();
    clock.advance(Duration::from_millis(500)).await;

    assert_eq!(hub.revoke(&Revocation::User("ada".parse().unwrap())).await.unwrap(), 3);
    for client in [&mut tab, &mut phone, &mut script] {
        assert_eq!(ended(client).await, CloseCode::Unauthorized);
    }
    settle().await;
    assert_eq!(hub.connection_count(), 1);
    assert!(is_open(&mut other));
    for token in ["ada/1/0/3600", "ada/2/0/3600", "ada/4//3600"] {
        assert_eq!(who(&hub, token).await.unwrap_err().code, ErrorCode::Unauthorized, "{token}");
    }
    assert!(hub.redeem_ticket(&ticket.ticket).is_err());
    assert!(hub.recognize_sse_cookie(&cookie.value).is_err());
    assert!(hub.redeem_ticket(&others.ticket).is_ok());
    assert!(who(&hub, "bob/3/0/3600").await.is_ok());
    // The clock of an issuer may be 5 seconds ahead; after that, new tokens are let in.
    seconds(&clock, 6).await;
    assert!(who(&hub, "ada/5/5/3600").await.is_err());
    assert!(who(&hub, "ada/6/6/3600").await.is_ok());
    // What holds for good is taken back by its name.
    assert!(who(&hub, "key/ada").await.is_ok());
    assert_eq!(hub.revoke(&Revocation::Token("key/ada".into())).await.unwrap(), 0);
    assert!(who(&hub, "key/ada").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn auth_13_one_token_is_taken_back_by_its_name_also_where_it_came_in_between() {
    let (_, hub) = start();
    let mut one = watch(&hub, "ada/1/0/3600").await;
    let mut two = watch(&hub, "ada/2/0/3600").await;
    let on_the_way = who(&hub, "ada/1/0/3600").await.unwrap();
    // It was opened with another, and goes on with this.
    let mut third = watch(&hub, "ada/3/0/3600").await;
    third.send_text(r#"{"type":"authenticate","id":"1","data":{"token":"ada/1/0/3600"}}"#).await.unwrap();
    third.drain().await;
    assert_eq!(hub.revoke(&Revocation::Token("1".into())).await.unwrap(), 2);
    assert_eq!(ended(&mut one).await, CloseCode::Unauthorized);
    assert_eq!(ended(&mut third).await, CloseCode::Unauthorized);
    assert!(is_open(&mut two));
    let error = hub.connect(ConnectRequest::new(on_the_way, "memory")).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unauthorized);
    // Nor does an open connection take it.
    two.send_text(r#"{"type":"authenticate","id":"2","data":{"token":"ada/1/0/3600"}}"#).await.unwrap();
    let frames = two.drain().await;
    assert_eq!(frames.last().unwrap().value()["data"]["code"], "unauthorized");
}

#[tokio::test(start_paused = true)]
async fn auth_13_whoever_is_put_out_gets_nothing_of_what_waited_and_asks_nothing_more() {
    let (_, hub) = start();
    let options = ConnectOptions {
        token: Some(Secret::new("ada/1/0/3600")),
        window: Window::ONE,
        faults: Faults { hold: true, ..Faults::default() },
        ..ConnectOptions::wanting([ADW])
    };
    let (mut client, mut link) = MemoryClient::with_link(&hub, options).await.unwrap();
    for number in 0..10 {
        publish(&hub, "_test.event", ADW, json!({ "number": number })).await;
    }
    assert!(hub.connections()[0].queued_frames >= 10);
    assert_eq!(hub.revoke(&Revocation::User("ada".parse().unwrap())).await.unwrap(), 1);
    assert_eq!(hub.connections()[0].queued_frames, 0);
    publish(&hub, "_test.event", ADW, json!({"number": 11})).await;
    assert_eq!(hub.connections()[0].queued_frames, 0);
    client.send_text(r#"{"type":"subscribe","id":"1","data":{"streams":[{"to":"room:x"}]}}"#).await.unwrap();
    client.release_all();
    for _ in 0..100 {
        if link.step().await == Step::Ended {
            break;
        }
    }
    let mut seen = Vec::new();
    while let Ok(frame) = client.next_frame().await {
        seen.push(frame.kind());
    }
    assert!(!seen.iter().any(|kind| kind == "_test.event"), "{seen:?}");
    assert_eq!(seen.iter().filter(|kind| *kind == "connection.subscribed").count(), 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn auth_13_a_stream_that_is_no_connection_learns_of_the_end_of_its_credentials() {
    let (clock, hub) = start();
    let wait = async |token: &str| hub.until_refused(&who(&hub, token).await.unwrap());
    let (ending, revoked) = (tokio::spawn(wait("ada/1/0/60").await), tokio::spawn(wait("ada/2/0/3600").await));
    let key = tokio::spawn(wait("key/build").await);
    let other = tokio::spawn(wait("bob/3/0/3600").await);
    seconds(&clock, 64).await;
    assert!(!ending.is_finished());
    seconds(&clock, 1).await;
    assert!(reason(ending).await.contains("expired"));
    hub.revoke(&Revocation::User("ada".parse().unwrap())).await.unwrap();
    hub.revoke(&Revocation::Token("key/build".into())).await.unwrap();
    assert!(reason(revoked).await.contains("revoked"));
    assert!(reason(key).await.contains("revoked"));
    settle().await;
    assert!(!other.is_finished());
    other.abort();
}

/// API keys that can be taken out, as a reloaded file does it.
#[derive(Clone)]
struct Reloaded(Arc<RwLock<ApiKeys>>);

#[async_trait]
impl Authenticator for Reloaded {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let keys = self.0.read().unwrap().clone();
        keys.authenticate(credentials).await
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn accepts_key(&self, key: &Thumbprint) -> bool {
        self.0.read().unwrap().accepts_key(key)
    }
}

#[tokio::test(start_paused = true)]
async fn auth_18_an_api_key_that_is_taken_out_ends_what_it_opened_also_what_is_on_the_way() {
    let keys = |names: &[&str]| {
        let mut keys = ApiKeys::new();
        for name in names {
            keys.add(KeyDigest::of(name), Principal::new(*name, Claims::anonymous())).unwrap();
        }
        keys
    };
    let file = Reloaded(Arc::new(RwLock::new(keys(&["ada", "bob"]))));
    let hub = Hub::builder().authenticator(file.clone()).build();
    let (mut ada, mut bob) = (watch(&hub, "ada").await, watch(&hub, "bob").await);
    let principal = who(&hub, "ada").await.unwrap();
    let (ticket, cookie) = (hub.issue_ticket(&principal).unwrap(), hub.issue_sse_cookie(&principal).unwrap());
    let stream = tokio::spawn(hub.until_refused(&principal));
    let others = hub.issue_ticket(&who(&hub, "bob").await.unwrap()).unwrap();

    *file.0.write().unwrap() = keys(&["bob"]);
    // Between the two steps nothing is opened any more.
    let error = hub.connect(ConnectRequest::new(principal.clone(), "memory")).await.err().unwrap();
    assert!(error.message.contains("withdrawn"), "{error}");
    assert!(is_open(&mut ada));
    let late = hub.issue_ticket(&principal).unwrap();
    assert!(hub.redeem_ticket(&late.ticket).is_err());
    assert_eq!(hub.withdraw_key(principal.credential.key.unwrap()), 1);
    assert_eq!(ended(&mut ada).await, CloseCode::Unauthorized);
    assert!(reason(stream).await.contains("withdrawn"));
    assert!(is_open(&mut bob));
    assert!(hub.redeem_ticket(&others.ticket).is_ok());

    *file.0.write().unwrap() = keys(&["ada", "bob"]);
    assert!(who(&hub, "ada").await.is_ok(), "a key that comes back");
    assert!(hub.redeem_ticket(&ticket.ticket).is_err(), "what it had bought does not");
    assert!(hub.recognize_sse_cookie(&cookie.value).is_err());
}
