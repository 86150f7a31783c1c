//! Pages of Monadic Chat on real sockets: two browsers with two tabs each, as a user's browsers are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::time::Duration;

use common::{Gateway, ask, get, publish, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const COOKIE: &str = "_monadic_session_id";

/// The value that an answer gives the cookie, if it gives one.
fn given(headers: &HeaderMap) -> Option<String> {
    let mut given = headers.get_all("set-cookie").into_iter().map(|value| value.to_str().unwrap());
    let value = given.find_map(|value| value.strip_prefix(&format!("{COOKIE}=")))?;
    Some(value.strip_suffix("; Path=/; HttpOnly; SameSite=Lax").expect("the attributes of the cookie").to_owned())
}

/// One tab.
struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    cookie: String,
    /// Whether the browser got its cookie by opening this tab.
    is_new: bool,
}

impl Tab {
    async fn open(gateway: &Gateway, cookie: Option<&str>, query: &str) -> Self {
        let mut request = format!("ws://{}/{query}", gateway.at("monadic")).into_client_request().unwrap();
        if let Some(value) = cookie {
            request.headers_mut().insert("cookie", format!("theme=dark; {COOKIE}={value}").parse().unwrap());
        }
        let (socket, answer) = soon("a socket", tokio_tungstenite::connect_async(request)).await.unwrap();
        let given = given(answer.headers());
        let is_new = given.is_some();
        Self { socket, cookie: given.or(cookie.map(str::to_owned)).unwrap(), is_new }
    }

    async fn send(&mut self, frame: Value) {
        soon("room", self.socket.send(Message::text(frame.to_string()))).await.unwrap();
    }

    /// The next frame.
    async fn frame(&mut self) -> Value {
        loop {
            if let Message::Text(text) = soon("a frame", self.socket.next()).await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// What comes before the answer to a question that only this tab asks.
    async fn frames(&mut self) -> Vec<Value> {
        self.send(json!({ "message": "PING" })).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame == json!({ "type": "pong" }) {
                return frames;
            }
            frames.push(frame);
        }
    }

    async fn kinds(&mut self) -> Vec<String> {
        self.frames().await.iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
    }
}

/// The sessions of the pages that are open, in the order in which they entered.
async fn sessions(gateway: &Gateway) -> Vec<String> {
    let listed = get(gateway, "/v1/connections").await.json();
    let rows = listed["connections"].as_array().unwrap().clone();
    let pages = rows.iter().filter(|row| row["dialect"] == "monadic");
    pages.map(|row| row["session_id"].as_str().unwrap().to_owned()).collect()
}

async fn browsers(gateway: &Gateway) -> ([Tab; 4], [String; 2]) {
    let mut tabs: Vec<Tab> = Vec::new();
    for (browser, query) in [(None, ""), (Some(0), "?tab_id=5f4c0b1e"), (None, ""), (Some(2), "")] {
        let cookie = browser.map(|first: usize| tabs[first].cookie.clone());
        let mut tab = Tab::open(gateway, cookie.as_deref(), query).await;
        // Nothing is known of a new browser; and who has been answered is in the list of connections.
        assert_eq!(tab.frames().await, Vec::<Value>::new());
        assert_eq!(tab.is_new, browser.is_none());
        tabs.push(tab);
    }
    let sessions = sessions(gateway).await;
    assert_eq!((&sessions[0], &sessions[2]), (&sessions[1], &sessions[3]));
    assert_ne!(sessions[0], sessions[2]);
    let [first, _, second, _] = <[String; 4]>::try_from(sessions).unwrap();
    (tabs.try_into().ok().unwrap(), [first, second])
}

async fn say(gateway: &Gateway, kind: &str, session: &str, data: Value) {
    publish(gateway, json!({ "type": kind, "to": format!("session:{session}"), "data": data })).await;
}

#[tokio::test]
async fn mon_02_page_and_socket_at_one_path_give_the_cookie_to_who_has_none() {
    let site = tempfile::tempdir().unwrap();
    std::fs::write(site.path().join("index.html"), "<p>the page</p>").unwrap();
    let gateway = Gateway::speaking(&["monadic"], &["--static", &format!("monadic={}", site.path().display())]);
    let at = gateway.at("monadic");
    let page = ask(at, Method::GET, "/", &[], "").await;
    assert_eq!((page.status, &page.body[..]), (200, &b"<p>the page</p>"[..]));
    let value = given(&page.headers).expect("a cookie with the page");
    let again = ask(at, Method::GET, "/", &[("cookie", &format!("{COOKIE}={value}"))], "").await;
    assert_eq!((again.status, given(&again.headers)), (200, None));
    // The page's socket belongs to the browser that got the page.
    let tab = Tab::open(&gateway, Some(&value), "").await;
    assert!(!tab.is_new);
    let listed = get(&gateway, "/v1/connections").await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(&value));
}

/// An application that serves one page and sets these cookies with it.
async fn application(cookies: &'static str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = [0; 4096];
            let _ = stream.read(&mut read).await;
            let answer = format!("HTTP/1.1 200 OK\r\n{cookies}content-length: 4\r\nconnection: close\r\n\r\npage");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    behind
}

#[tokio::test]
async fn mon_02_a_cookie_that_the_application_sets_itself_is_kept() {
    let behind = application("set-cookie: _monadic_session_id=of-the-application; path=/\r\n").await;
    let gateway = Gateway::speaking(&["monadic"], &["--upstream", &format!("monadic=http://{behind}")]);
    let page = ask(gateway.at("monadic"), Method::GET, "/", &[], "").await;
    let cookies: Vec<&str> = page.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect();
    let [own, seal] = cookies[..] else { panic!("{cookies:?}") };
    assert_eq!(own, "_monadic_session_id=of-the-application; path=/");
    let seal = seal.split(';').next().unwrap();
    assert!(seal.starts_with("eventwire_monadic_seal="), "{seal}");
    let mut tab = Tab::open(&gateway, Some(&format!("of-the-application; {seal}")), "").await;
    assert!(!tab.is_new);
    tab.frames().await;
    // Without the seal the value could be of anyone who made it up.
    let mut others = Vec::new();
    for cookie in ["of-the-application".to_owned(), format!("of-an-attacker; {seal}")] {
        let mut other = Tab::open(&gateway, Some(&cookie), "").await;
        assert!(other.is_new);
        other.frames().await;
        others.push(other);
    }
    let sessions = sessions(&gateway).await;
    assert_eq!(sessions.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{sessions:?}");
}

#[tokio::test]
async fn mon_02_the_cookie_comes_beside_those_that_the_application_sets() {
    let behind = application("set-cookie: rack.session=a; path=/\r\nset-cookie: silent_reconnect=b\r\n").await;
    let gateway = Gateway::speaking(&["monadic"], &["--upstream", &format!("monadic=http://{behind}")]);
    let page = ask(gateway.at("monadic"), Method::GET, "/", &[], "").await;
    assert_eq!(&page.body[..], b"page");
    let cookies: Vec<&str> = page.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect();
    assert_eq!(cookies[..2], ["rack.session=a; path=/", "silent_reconnect=b"]);
    assert!(cookies.len() == 3 && given(&page.headers).is_some(), "{cookies:?}");
}

#[tokio::test]
async fn mon_02_a_socket_without_a_page_gives_the_cookie_too() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let tab = Tab::open(&gateway, None, "").await;
    assert!(tab.is_new && tab.cookie.len() == 36 + 1 + 32, "{}", tab.cookie);
    for bad in ["~0123456789abcdef0123456789abcdef", "", "a%20b", "5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11"] {
        let other = Tab::open(&gateway, Some(bad), "").await;
        assert!(other.is_new && other.cookie != tab.cookie && other.cookie != bad);
    }
}

#[tokio::test]
async fn mon_05_a_tab_that_opens_is_told_what_its_browser_stands_at_in_order() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let ([mut one, mut two, mut three, mut four], [own, _]) = browsers(&gateway).await;
    let voices = json!({ "provider": "elevenlabs", "voices": [{ "voice_id": "v1", "name": "Rachel" }] });
    publish(&gateway, json!({ "type": "chat.voices", "to": "global", "data": voices })).await;
    let apps = json!({ "apps": { "ChatOpenAI": { "group": "OpenAI" } }, "version": "1.0.0", "docker": true });
    say(&gateway, "chat.apps", &own, apps).await;
    say(&gateway, "chat.html", &own, json!({ "message": { "mid": "a1", "role": "assistant", "text": "Hello" } })).await;
    one.send(json!({ "message": "UPDATE_PARAMS", "params": { "app_name": "ChatOpenAI" } })).await;
    assert_eq!(one.kinds().await, ["elevenlabs_voices", "apps", "html", "parameters"]);
    assert_eq!(two.frames().await[3]["from_param_update"], true);
    for tab in [&mut three, &mut four] {
        assert_eq!(tab.kinds().await, ["elevenlabs_voices"]);
    }

    let mut new = Tab::open(&gateway, Some(&one.cookie), "").await;
    let frames = new.frames().await;
    let kinds: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["apps", "parameters", "past_messages", "info", "elevenlabs_voices", "info"]);
    assert_eq!(frames[0]["current_app_name"], "ChatOpenAI");
    assert_eq!((&frames[2]["content"][0]["mid"], &frames[2]["from_initial_load"]), (&json!("a1"), &json!(true)));
    assert_eq!(Tab::open(&gateway, Some(&three.cookie), "").await.kinds().await, ["elevenlabs_voices"]);
}

#[tokio::test]
async fn mon_08_and_mon_10_what_is_one_tabs_stays_there_and_what_is_one_browsers_too() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let ([mut one, mut two, mut three, mut four], [first, second]) = browsers(&gateway).await;
    one.send(json!({ "message": "PING" })).await;
    assert_eq!(one.frame().await, json!({ "type": "pong" }));
    // Both browsers talk at once.
    let told = |session: String, text: &'static str| {
        let gateway = &gateway;
        async move {
            for sequence in 0..20 {
                let data = json!({ "content": text, "sequence": sequence, "is_first": sequence == 0 });
                say(gateway, "chat.fragment", &session, data).await;
            }
            say(gateway, "chat.turn_finished", &session, json!({ "finish_reason": "stop" })).await;
        }
    };
    tokio::join!(told(first, "one"), told(second, "two"));
    for (tab, text) in [(&mut one, "one"), (&mut two, "one"), (&mut three, "two"), (&mut four, "two")] {
        let frames = tab.frames().await;
        let (last, fragments) = frames.split_last().unwrap();
        assert_eq!(*last, json!({ "type": "message", "content": "DONE", "finish_reason": "stop" }));
        let said: String = fragments.iter().map(|frame| frame["content"].as_str().unwrap()).collect();
        assert_eq!(said, text.repeat(20));
        let sequences: Vec<u64> = fragments.iter().map(|frame| frame["sequence"].as_u64().unwrap()).collect();
        assert!(sequences.is_sorted() && sequences[0] == 0);
    }
}

#[tokio::test]
async fn mon_03_a_session_that_was_seen_opens_nothing() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let ([mut one, ..], [own, _]) = browsers(&gateway).await;
    let bare = own.trim_start_matches('~').to_owned();
    let mut strangers = vec![
        Tab::open(&gateway, Some(&own), "").await,
        Tab::open(&gateway, Some(&bare), "").await,
        Tab::open(&gateway, None, &format!("?tab_id={own}")).await,
        Tab::open(&gateway, None, &format!("?tab_id={}", one.cookie)).await,
        Tab::open(&gateway, None, &format!("?context={own}&dialect=canonical")).await,
    ];
    for tab in &mut strangers {
        let wish = json!({ "type": "subscribe", "data": { "streams": [{ "to": format!("session:{own}") }] } });
        tab.send(wish).await;
        tab.frames().await;
    }
    say(&gateway, "chat.web_speech", &own, json!({ "content": "private" })).await;
    assert_eq!(one.kinds().await, ["web_speech"]);
    for tab in &mut strangers {
        assert_eq!(tab.frames().await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn mon_06_and_mon_07_errors_go_to_the_tab_that_made_them_and_it_stays_open() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let ([mut one, mut two, mut three, _], _) = browsers(&gateway).await;
    soon("room", one.socket.send(Message::text("not json"))).await.unwrap();
    assert_eq!(one.frame().await, json!({ "type": "error", "content": "invalid_message_format" }));
    one.send(json!({ "message": "UPDATE_PARAMS", "params": 7 })).await;
    assert_eq!(one.frame().await, json!({ "type": "error", "content": "invalid_parameters" }));
    one.send(json!({ "message": "Tell me a joke", "app_name": "ChatOpenAI" })).await;
    assert_eq!(one.frame().await["type"], "error");
    for tab in [&mut two, &mut three] {
        assert_eq!(tab.frames().await, Vec::<Value>::new());
    }
    // A recording is larger than what other dialects may send.
    one.send(json!({ "message": "AUDIO", "content": "x".repeat(3 * 1024 * 1024), "format": "webm" })).await;
    assert_eq!(one.frame().await["type"], "error");
    assert_eq!(one.frames().await, Vec::<Value>::new());
}

#[tokio::test]
async fn mon_03_a_browser_that_comes_back_is_the_same_one() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let ([one, two, ..], [own, _]) = browsers(&gateway).await;
    let cookie = one.cookie.clone();
    drop((one, two));
    soon("the end of both tabs", async {
        while sessions(&gateway).await.contains(&own) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Meanwhile the application goes on; what it says is there when the browser returns, by whatever tab.
    say(&gateway, "chat.html", &own, json!({ "message": { "mid": "a1", "role": "assistant", "text": "Done" } })).await;
    let mut tab = Tab::open(&gateway, Some(&cookie), "?tab_id=of-a-reconnection").await;
    let frames = tab.frames().await;
    assert_eq!(frames[0]["type"], "past_messages");
    assert_eq!(frames[0]["content"][0]["text"], "Done");
    assert!(sessions(&gateway).await.contains(&own));
}
