//! Monadic Chat: two browsers with two tabs each, over connections without sockets. What one browser is told, the other
//! never is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use eventwire_hub::{CommandSink, Hub, NoBackEnd, Principal, Secret, SessionKey};
use eventwire_memory::{ConnectOptions, MemoryClient};
use eventwire_protocol::{
    ApplicationCommand, Audience, BrowserSession, Claims, Dialect, ErrorBody, ErrorCode, EventType, SessionId,
    event::chat,
};
use eventwire_systems::{
    Admission, Ask, System,
    monadic::{COOKIE, ConversationBounds, Monadic, Progress, Settings, State, StateBounds},
};
use http::{HeaderMap, header};
use serde_json::{Value, json};

/// Remembers what was asked of the application.
#[derive(Default)]
struct Asked(Mutex<Vec<ApplicationCommand>>);

impl Asked {
    fn take(&self) -> Vec<ApplicationCommand> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[async_trait]
impl CommandSink for Asked {
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody> {
        self.0.lock().unwrap().push(command);
        Ok(())
    }
}

struct Server {
    hub: Hub,
    monadic: Arc<Monadic>,
    state: Arc<State>,
    asked: Arc<Asked>,
}

fn server_with(settings: Settings, back_end: Option<Arc<dyn CommandSink>>, bounds: StateBounds) -> Server {
    server_of(SessionKey::random(), settings, back_end, bounds)
}

fn server_of(
    key: SessionKey,
    settings: Settings,
    back_end: Option<Arc<dyn CommandSink>>,
    bounds: StateBounds,
) -> Server {
    let state = State::with_bounds(bounds);
    let hub = Hub::builder().tap(state.clone()).session_key(key).build();
    let asked = Arc::new(Asked::default());
    let commands = back_end.unwrap_or_else(|| asked.clone());
    let monadic = Arc::new(Monadic::new(hub.clone(), commands, state.clone(), settings));
    Server { hub, monadic, state, asked }
}

fn server() -> Server {
    server_with(Settings::default(), None, StateBounds::default())
}

fn publisher() -> Principal {
    Principal::new("back end", Claims::loopback())
}

/// One page in a browser.
struct Tab {
    client: MemoryClient,
    /// The value of the cookie that the browser has now.
    cookie: String,
}

/// The value that a `Set-Cookie` header gives the cookie.
fn given(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(header::SET_COOKIE)?.to_str().unwrap();
    let value = header.strip_prefix(&format!("{COOKIE}=")).unwrap();
    let value = value.strip_suffix("; Path=/; HttpOnly; SameSite=Lax").unwrap();
    Some(value.to_owned())
}

impl Server {
    async fn open_at(&self, headers: HeaderMap, query: &str) -> (MemoryClient, Option<String>) {
        self.open_from(None, headers, query).await
    }

    async fn open_from(&self, peer: Option<IpAddr>, headers: HeaderMap, query: &str) -> (MemoryClient, Option<String>) {
        let route = &self.monadic.routes()[0];
        let ask = Ask { route, path: "/", query, headers: &headers, peer, dialect: Dialect::Monadic };
        match self.monadic.admit(ask).await {
            Admission::Connect { request, handler, headers } => {
                let client = MemoryClient::connect_as(&self.hub, *request, handler).await.unwrap();
                (client, given(&headers))
            }
            Admission::Close(..) | Admission::Refuse(_) => panic!("not admitted"),
        }
    }

    /// Opens a page in a browser with this cookie, or in one that was never here.
    async fn open(&self, cookie: Option<&str>) -> Tab {
        let mut headers = HeaderMap::new();
        if let Some(value) = cookie {
            headers.insert(header::COOKIE, format!("theme=dark; {COOKIE}={value}").parse().unwrap());
        }
        let (client, given) = self.open_at(headers, "").await;
        let cookie = given.or(cookie.map(str::to_owned)).unwrap();
        Tab { client, cookie }
    }

    /// Two tabs of one browser, and two of another.
    async fn browsers(&self) -> [Tab; 4] {
        let first = self.open(None).await;
        let second = self.open(Some(&first.cookie)).await;
        let third = self.open(None).await;
        let fourth = self.open(Some(&third.cookie)).await;
        let mut tabs = [first, second, third, fourth];
        for tab in &mut tabs {
            tab.frames().await;
        }
        tabs
    }

    fn session(&self, tab: &Tab) -> BrowserSession {
        self.hub.browser_session(&eventwire_hub::Secret::new(&tab.cookie))
    }

    /// Publishes a frame as the old back end built it.
    async fn say(&self, frame: Value, to: Option<Audience>) -> Result<usize, ErrorBody> {
        let adopted = Dialect::Monadic.decode_event(&frame)?;
        self.monadic.adopt(&publisher(), adopted, to).await.map(|receipts| receipts.len())
    }

    async fn say_to(&self, frame: Value, session: BrowserSession) {
        let to = Audience::session(SessionId::Browser(session));
        self.say(frame.clone(), Some(to)).await.unwrap_or_else(|error| panic!("{frame}: {error}"));
    }
}

impl Tab {
    async fn send(&mut self, frame: Value) {
        self.client.send_text(frame.to_string()).await.unwrap();
    }

    /// Everything that has come.
    async fn frames(&mut self) -> Vec<Value> {
        self.client.drain().await.iter().map(eventwire_memory::Frame::value).collect()
    }

    async fn kinds(&mut self) -> Vec<String> {
        self.frames().await.iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
    }
}

fn message(mid: &str, text: &str) -> Value {
    json!({ "mid": mid, "role": "assistant", "text": text, "html": format!("<p>{text}</p>"), "lang": "en", "active": true })
}

fn apps() -> Value {
    json!({ "type": "apps", "content": { "ChatOpenAI": {}, "CodeOpenAI": {} }, "version": "1.0.0", "docker": true })
}

fn info(count: u64) -> Value {
    let content = json!({
        "changed": false, "count_total_system_tokens": 0, "count_total_input_tokens": 3,
        "count_total_output_tokens": 5, "count_total_active_tokens": 8, "count_all_tokens": 8,
        "count_messages": count, "count_active_messages": count, "encoding_name": "o200k_base",
    });
    json!({ "type": "info", "content": content })
}

// ---------------------------------------------------------------------------------------------------------------
// The 24 categories of handlers
// ---------------------------------------------------------------------------------------------------------------

/// One tab asks; the application answers to the session of the command, while the other browser asks the same. Both tabs of
/// the asker read every answer, the other browser none of them.
async fn category(command: Option<Value>, answers: Vec<Value>) {
    let server = server();
    let [mut one, mut two, mut three, mut four] = server.browsers().await;
    let mut session = server.session(&one);
    if let Some(command) = command {
        // The other browser asks first, and later too: whose command it is does not hang on who asked last.
        three.send(command.clone()).await;
        three.frames().await;
        one.send(command.clone()).await;
        one.frames().await;
        four.send(command.clone()).await;
        four.frames().await;
        let commands = server.asked.take();
        let ids = [three.client.id(), one.client.id(), four.client.id()];
        assert_eq!(commands.iter().map(|it| it.connection_id).collect::<Vec<_>>(), ids);
        let Some(SessionId::Browser(of)) = commands[1].session_id else { panic!("no session") };
        assert_eq!(of, session);
        assert_ne!(commands[0].session_id, commands[1].session_id);
        assert_eq!(commands[0].session_id, commands[2].session_id);
        session = of;
        for tab in [&mut one, &mut two, &mut three, &mut four] {
            tab.frames().await;
        }
    }
    for answer in answers {
        server.say_to(answer.clone(), session).await;
        for tab in [&mut one, &mut two] {
            let frames = tab.frames().await;
            assert_eq!(frames.len(), 1, "{answer}: {frames:?}");
            for (name, value) in answer.as_object().unwrap() {
                assert_eq!(&frames[0][name], value, "{name} of {answer}");
            }
        }
        for tab in [&mut three, &mut four] {
            assert_eq!(tab.frames().await, Vec::<Value>::new(), "{answer}");
        }
    }
    // And a third browser, that comes later, is told nothing of it.
    assert_eq!(server.open(None).await.frames().await, Vec::<Value>::new());
}

macro_rules! categories {
    ($(async fn $name:ident: $command:expr => [$($answer:expr),* $(,)?];)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                category($command, vec![$($answer),*]).await;
            }
        )+
    };
}

fn asks(frame: Value) -> Option<Value> {
    Some(frame)
}

fn error(content: Value) -> Value {
    json!({ "type": "error", "content": content })
}

fn audio(members: Value) -> Value {
    let mut frame = json!({ "type": "audio", "content": "UklGRg==" });
    frame.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    frame
}

categories! {
    async fn mon_10_category_01_push_apps_data_stays_in_its_session: asks(json!({ "message": "CHECK_TOKEN", "initial": true })) => [
        apps(), json!({ "type": "parameters", "content": { "app_name": "ChatOpenAI" } }),
        json!({ "type": "past_messages", "content": [message("a1", "Hi")], "from_initial_load": true }), info(1),
    ];
    async fn mon_10_category_02_handle_edit_message_stays_in_its_session: asks(json!({ "message": "EDIT", "mid": "a1", "content": "x" })) => [
        json!({ "type": "edit_success", "content": "Message updated", "mid": "a1", "role": "user", "html": "<p>x</p>" }),
        error(json!("message_not_found_for_editing")),
    ];
    async fn mon_10_category_03_handle_delete_message_stays_in_its_session: asks(json!({ "message": "DELETE", "mid": "a1" })) => [
        json!({ "type": "change_status", "content": [{ "mid": "a2", "active": true }] }), info(1),
    ];
    async fn mon_10_category_04_update_params_stays_in_its_session: asks(json!({ "message": "UPDATE_PARAMS", "params": { "model": "m" } })) => [
        json!({ "type": "parameters", "content": { "model": "m2" }, "from_param_update": true }),
    ];
    async fn mon_10_category_05_update_message_status_stays_in_its_session: None => [
        json!({ "type": "change_status", "content": [{ "mid": "a1", "active": false }] }), info(2),
    ];
    async fn mon_10_category_06_start_tts_playback_stays_in_its_session: asks(json!({ "message": "PLAY_TTS", "text": "Read this", "mid": "a1" })) => [
        audio(json!({ "segment_index": 0, "total_segments": 2, "is_segment": true })),
        json!({ "type": "tts_progress", "segment_index": 0, "total_segments": 2, "progress": 50 }),
        json!({ "type": "web_speech", "content": "Read this" }),
        json!({ "type": "tts_complete", "total_segments": 2 }),
    ];
    async fn mon_10_category_07_send_transcription_result_stays_in_its_session: asks(json!({ "message": "AUDIO", "content": "UklGRg==" })) => [
        json!({ "type": "stt", "content": "hello there", "logprob": 0.93 }),
    ];
    async fn mon_10_category_08_ai_user_query_stays_in_its_session: asks(json!({ "message": "AI_USER_QUERY", "contents": { "params": {}, "messages": [] } })) => [
        json!({ "type": "wait", "content": "generating_ai_user_response" }),
        json!({ "type": "ai_user_started" }),
        json!({ "type": "ai_user", "content": "What about tomorrow?" }),
        json!({ "type": "ai_user_finished", "content": "What about tomorrow?" }),
        error(json!({ "key": "ai_user_error", "details": "timeout" })),
        error(json!("api_stopped_safety")),
    ];
    async fn mon_10_category_09_sample_stays_in_its_session: asks(json!({ "message": "SAMPLE", "content": "Example", "role": "assistant" })) => [
        json!({ "type": "display_sample", "content": { "mid": "s1", "role": "assistant", "html": "<p>E</p>", "badge": "<span>A</span>", "text": "E" } }),
        json!({ "type": "html", "content": message("s1", "E") }),
        json!({ "type": "sample_success", "role": "assistant" }),
        error(json!("error_processing_sample")),
    ];
    async fn mon_10_category_10_audio_errors_stay_in_their_session: asks(json!({ "message": "AUDIO", "content": "" })) => [
        error(json!("voice_input_empty")), error(json!("text_input_empty")),
    ];
    async fn mon_10_category_11_html_stays_in_its_session: asks(json!({ "message": "HTML" })) => [
        json!({ "type": "html", "content": message("a1", "Hello") }),
        json!({ "type": "change_status", "content": [{ "mid": "a1", "active": true }] }), info(1),
        error(json!("something_went_wrong")),
    ];
    async fn mon_10_category_12_cancel_stays_in_its_session: asks(json!({ "message": "CANCEL" })) => [json!({ "type": "cancel" })];
    async fn mon_10_category_13_reset_stays_in_its_session: asks(json!({ "message": "RESET" })) => [];
    async fn mon_10_category_14_update_language_stays_in_its_session: asks(json!({ "message": "UPDATE_LANGUAGE", "new_language": "ar" })) => [
        apps(),
        json!({ "type": "language_updated", "language": "ar", "language_name": "Arabic", "text_direction": "rtl" }),
    ];
    async fn mon_10_category_15_stop_tts_stays_in_its_session: asks(json!({ "message": "STOP_TTS" })) => [json!({ "type": "tts_stopped" })];
    async fn mon_10_category_16_main_streaming_initialization_stays_in_its_session: asks(json!({ "message": "Tell me a joke", "app_name": "None" })) => [
        error(json!("App not found: None")), error(json!("The stream broke off")),
    ];
    async fn mon_10_category_17_realtime_tts_stays_in_its_session: asks(json!({ "message": "Tell me a joke", "auto_speech": true })) => [
        audio(json!({ "sequence_id": "seq1_1.5_9f3a" })), audio(json!({ "sequence_id": "seq2_1.5_9f3b" })),
        audio(json!({ "sequence_id": "seq3_1.5_9f3c" })),
    ];
    async fn mon_10_category_18_streaming_fragments_stay_in_their_session: asks(json!({ "message": "Tell me a joke" })) => [
        json!({ "type": "fragment", "content": "Hel", "sequence": 0, "timestamp": 1_762_500_000.5, "is_first": true }),
        json!({ "type": "fragment", "content": "lo", "sequence": 1, "timestamp": 1_762_500_001.5, "is_first": false }),
        json!({ "type": "thinking", "content": "Considering" }),
        json!({ "type": "reasoning", "content": "Step one" }),
        json!({ "type": "user", "content": message("u1", "Tell me a joke") }),
        json!({ "type": "message", "content": "CLEAR" }),
        json!({ "type": "message", "content": "DONE", "finish_reason": "stop" }),
    ];
    async fn mon_10_category_19_streaming_completion_stays_in_its_session: asks(json!({ "message": "Tell me a joke" })) => [
        json!({ "type": "streaming_complete" }),
    ];
    async fn mon_10_category_20_streaming_errors_stay_in_their_session: asks(json!({ "message": "Tell me a joke" })) => [
        error(json!("The provider answered 529")), error(json!("content_not_found")), error(json!("empty_response")),
    ];
    async fn mon_10_category_21_monadic_auto_speech_stays_in_its_session: asks(json!({ "message": "Tell me a joke", "monadic": "true" })) => [
        audio(json!({})), json!({ "type": "tts_complete", "total_segments": 1 }),
    ];
    async fn mon_10_category_22_update_message_status_after_edit_stays_in_its_session: asks(json!({ "message": "EDIT", "mid": "a1", "content": "x" })) => [
        json!({ "type": "change_status", "content": [{ "mid": "a1", "active": true }] }), info(3),
    ];
    async fn mon_10_category_23_tts_stays_in_its_session: asks(json!({ "message": "TTS", "provider": "openai", "text": "Read" })) => [
        json!({ "type": "web_speech", "content": "Read" }), audio(json!({ "mime_type": "audio/mpeg" })),
    ];
    async fn mon_10_category_24_tts_stream_stays_in_its_session: asks(json!({ "message": "TTS_STREAM", "text": "Read" })) => [
        json!({ "type": "web_speech", "content": "Read" }), audio(json!({ "t_index": 1, "finished": false })),
        json!({ "type": "audio", "content": "", "t_index": 2, "finished": true }),
    ];
}

/// The three callbacks of realtime speech, and the streaming one of TTS_STREAM: work that goes on long after it was asked
/// for speaks to who asked, whoever has asked since.
#[tokio::test]
async fn mon_10_a_callback_speaks_to_the_session_that_it_was_started_for() {
    let server = server();
    let [mut one, mut two, mut three, mut four] = server.browsers().await;
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let mut running = Vec::new();
    // Flushed buffer, long sentence, final segment, stream; of one browser and of the other, by turns.
    for (place, tab) in [&one, &three, &one, &three, &one, &three, &one, &three].into_iter().enumerate() {
        let (handle, go) = (server.monadic.session(server.session(tab)), go.clone());
        running.push(tokio::spawn(async move {
            go.acquire().await.unwrap().forget();
            let audio: chat::Audio =
                serde_json::from_value(json!({ "content_base64": "", "sequence_id": place.to_string() })).unwrap();
            handle.publish(audio).await.unwrap();
        }));
    }
    for tab in [&mut one, &mut three, &mut four, &mut two] {
        tab.send(json!({ "message": "Tell me another" })).await;
        tokio::task::yield_now().await;
        go.add_permits(2);
    }
    for task in running {
        task.await.unwrap();
    }
    for (tab, parity) in [(&mut one, 0), (&mut two, 0), (&mut three, 1), (&mut four, 1)] {
        let mut heard: Vec<u64> =
            tab.frames().await.iter().map(|frame| frame["sequence_id"].as_str().unwrap().parse().unwrap()).collect();
        heard.sort_unstable();
        let theirs: Vec<u64> = (0..8).filter(|place| place % 2 == parity).collect();
        assert_eq!(heard, theirs);
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The cookie
// ---------------------------------------------------------------------------------------------------------------

fn cookies(values: &[&[u8]]) -> HeaderMap {
    let values = values.iter().map(|value| (header::COOKIE, http::HeaderValue::from_bytes(value).unwrap()));
    values.collect()
}

#[tokio::test]
async fn mon_02_a_browser_gets_its_cookie_once_and_a_bad_one_is_replaced() {
    let server = server();
    let long = format!("{COOKIE}={}", "x".repeat(129));
    for bad in [
        &[][..],
        &[&b"theme=dark"[..]],
        &[b"_monadic_session_id="],
        &[b"_monadic_session_id=~0123456789abcdef0123456789abcdef"],
        &[b"_monadic_session_id=a b"],
        &[b"_monadic_session_id=\"a\""],
        &[b"_monadic_session_id=a%2Fb"],
        &[b"_monadic_session_id=\xc3\xa9"],
        &[b"_monadic_session_id=a; _monadic_session_id=b"],
        &[b"_monadic_session_id=a", b"_monadic_session_id=a"],
        &[b"x_monadic_session_id=a"],
        &[b"_monadic_session_idx=a"],
        &[b"_Monadic_session_id=a"],
        &[long.as_bytes()],
        // In the form of one, and made elsewhere.
        &[b"_monadic_session_id=5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11"],
        &[b"_monadic_session_id=5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11."],
        &[b"_monadic_session_id=5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11.0123456789abcdef0123456789abcdef"],
        &[b"_monadic_session_id=a; eventwire_monadic_seal=0123456789abcdef0123456789abcdef"],
    ] {
        let headers = cookies(bad);
        let (secret, header) = server.monadic.cookie(&headers);
        let header = header.expect("a new cookie");
        let value = given(&[(header::SET_COOKIE, header)].into_iter().collect()).unwrap();
        assert_eq!(secret.reveal(), value);
        // A UUID of version 4, another one each time, and its seal.
        let (value, seal) = value.split_once('.').unwrap();
        assert!(seal.len() == 32 && seal.bytes().all(|b| b.is_ascii_hexdigit()), "{seal}");
        let parts: Vec<usize> = value.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{value}");
        assert_eq!(value.as_bytes()[14], b'4', "{value}");
        assert!(b"89ab".contains(&value.as_bytes()[19]), "{value}");
        assert_ne!(server.monadic.cookie(&headers).0, secret);
    }
    let (value, _) = server.monadic.cookie(&HeaderMap::new());
    let value = value.reveal();
    for good in [
        &[format!("{COOKIE}={value}").as_bytes()][..],
        &[&[b"a=\xff; ", format!("{COOKIE}={value} ; b").as_bytes()].concat()],
        &[b"a=b", format!(" {COOKIE}={value}").as_bytes()],
    ] {
        let (secret, header) = server.monadic.cookie(&cookies(good));
        assert_eq!((secret.reveal(), header), (value, None));
    }
}

#[tokio::test]
async fn mon_02_a_value_that_was_made_elsewhere_is_replaced_and_one_outlives_a_restart_with_the_secret() {
    let monadic = |secret: Option<&str>| {
        let mut builder = Hub::builder();
        if let Some(secret) = secret {
            builder = builder.session_key(SessionKey::of_secret(&Secret::new(secret)).unwrap());
        }
        Monadic::new(builder.build(), Arc::new(NoBackEnd), State::new(), Settings::default())
    };
    let (before, after) = (monadic(Some("0123456789abcdef")), monadic(Some("0123456789abcdef")));
    let (value, _) = before.cookie(&HeaderMap::new());
    let with = cookies(&[format!("{COOKIE}={}", value.reveal()).as_bytes()]);
    assert_eq!(after.cookie(&with), (value, None));
    for other in [monadic(Some("another secret of 16")), monadic(None)] {
        let (replaced, header) = other.cookie(&with);
        assert!(header.is_some() && !with[header::COOKIE].to_str().unwrap().contains(replaced.reveal()));
    }
}

#[tokio::test]
async fn mon_02_a_value_that_the_application_sets_is_vouched_for_and_no_other_with_it() {
    let server = server();
    let set = |value: &str| {
        let header = format!("{COOKIE}={value}; path=/; HttpOnly").parse().unwrap();
        [(header::SET_COOKIE, header)].into_iter().collect::<HeaderMap>()
    };
    let answer = server.monadic.visit(&HeaderMap::new(), &set("of-the-application"));
    let seal = answer[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(answer.len(), 1, "the application's cookie stays: {answer:?}");
    let shown = |value: &str, seal: &str| cookies(&[format!("{COOKIE}={value}; {seal}").as_bytes()]);
    let (secret, header) = server.monadic.cookie(&shown("of-the-application", &seal));
    assert_eq!((secret.reveal(), header), ("of-the-application", None));
    assert!(server.monadic.cookie(&shown("of-the-attacker", &seal)).1.is_some());
    assert!(server.monadic.cookie(&shown("of-the-application", "")).1.is_some());
    // What cannot be taken is not vouched for.
    let replaced = server.monadic.visit(&HeaderMap::new(), &set("BAh7%0A"));
    assert!(replaced[header::SET_COOKIE].to_str().unwrap().starts_with(COOKIE), "{replaced:?}");
}

#[tokio::test]
async fn auth_12_and_mon_02_the_cookies_are_secure_behind_tls() {
    let server = server();
    for (proto, secure) in [("https", true), ("http", false)] {
        let request: HeaderMap =
            [(http::HeaderName::from_static("x-forwarded-proto"), proto.parse().unwrap())].into_iter().collect();
        let set = format!("{COOKIE}=of-the-application").parse().unwrap();
        let answer: HeaderMap = [(header::SET_COOKIE, set)].into_iter().collect();
        for answer in [HeaderMap::new(), answer] {
            let set = server.monadic.visit(&request, &answer);
            assert_eq!(set[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"), secure, "{set:?}");
        }
    }
}

#[tokio::test]
async fn trap_t5_page_and_socket_give_the_cookie_and_nobody_else_had() {
    let server = server();
    let value = given(&server.monadic.visit(&HeaderMap::new(), &HeaderMap::new())).unwrap();
    let with = cookies(&[format!("{COOKIE}={value}").as_bytes()]);
    assert!(server.monadic.visit(&with, &HeaderMap::new()).is_empty());
    let (_, again) = server.open_at(with, "").await;
    assert_eq!(again, None);
    let (_, new) = server.open_at(HeaderMap::new(), "").await;
    assert!(new.is_some_and(|new| new != value));
}

#[tokio::test]
async fn trap_t4_the_tab_id_never_chooses_the_session() {
    let server = server();
    let [one, _, three, _] = server.browsers().await;
    let session = |client: &MemoryClient| {
        let listed = server.hub.connections();
        listed.into_iter().find(|it| it.connection_id == client.id()).unwrap().session_id.unwrap()
    };
    let own = session(&one.client);
    let with = || cookies(&[format!("{COOKIE}={}", one.cookie).as_bytes()]);
    // The first connection of a page has none, the next one has; nobody becomes somebody else by one.
    let query = format!("tab_id={}", three.cookie);
    for query in ["tab_id=5f4c0b1e-7f0e-4f5c", "tab_id=", "tab_id=%00&x", &query] {
        let (client, given) = server.open_at(with(), query).await;
        assert_eq!((session(&client), given), (own.clone(), None), "{query}");
    }
}

#[tokio::test]
async fn mon_03_what_can_be_seen_of_a_session_opens_nothing() {
    let server = server();
    let [mut one, mut two, three, _] = server.browsers().await;
    let seen = SessionId::Browser(server.session(&one)).to_string();
    let listed = serde_json::to_string(&server.hub.connections()).unwrap();
    assert!(listed.contains(&seen));
    assert!(!listed.contains(&one.cookie) && !listed.contains(&three.cookie));
    // As a cookie, with and without what makes it no cookie; as a tab; as the name that a page sends along.
    let mut strangers = Vec::new();
    for cookie in [seen.clone(), seen.trim_start_matches('~').to_owned()] {
        strangers.push(server.open(Some(&cookie)).await);
    }
    for query in [format!("tab_id={seen}"), format!("tab_id={}", one.cookie), format!("session={seen}&adw=*")] {
        let (client, cookie) = server.open_at(HeaderMap::new(), &query).await;
        strangers.push(Tab { client, cookie: cookie.unwrap() });
    }
    // Over the canonical dialect, by name.
    let options = ConnectOptions::wanting([format!("session:{seen}")]);
    let mut canonical = MemoryClient::connect(&server.hub, options).await.unwrap();
    let told: Vec<Value> = canonical.drain().await.iter().map(eventwire_memory::Frame::value).collect();
    assert_eq!(told[1]["data"]["refused"][0]["code"], "forbidden", "{told:?}");
    for tab in &mut strangers {
        tab.send(json!({ "type": "subscribe", "data": { "streams": [{ "to": format!("session:{seen}") }] } })).await;
        tab.send(json!({ "message": "UPDATE_PARAMS", "params": { "ws_session_id": seen, "model": "theirs" } })).await;
        tab.send(json!({ "message": "LOAD", "session_id": seen, "ws_session_id": one.cookie })).await;
        tab.frames().await;
    }
    assert_eq!(two.frames().await, Vec::<Value>::new());
    server.say_to(json!({ "type": "html", "content": message("a1", "private") }), server.session(&one)).await;
    assert_eq!(one.kinds().await, ["html"]);
    for tab in &mut strangers {
        assert_eq!(tab.frames().await, Vec::<Value>::new());
    }
    assert!(canonical.drain().await.is_empty());
    for command in server.asked.take() {
        assert_ne!(command.session_id.unwrap().to_string(), seen);
    }
}

#[tokio::test]
async fn mon_02_the_value_of_the_cookie_stands_in_nothing_that_is_sent() {
    let server = server();
    let mut one = server.open(None).await;
    one.send(json!({ "message": "Hello", "app_name": "ChatOpenAI" })).await;
    one.send(json!({ "message": "UPDATE_PARAMS", "params": { "model": "m" } })).await;
    let frames = serde_json::to_string(&one.frames().await).unwrap();
    let commands = serde_json::to_string(&server.asked.take()).unwrap();
    assert!(commands.contains("ChatOpenAI") && commands.contains("~"));
    for text in [frames, commands, format!("{:?}", server.hub.connections()), format!("{:?}", server.state)] {
        assert!(!text.contains(&one.cookie), "{text}");
    }
}

// ---------------------------------------------------------------------------------------------------------------
// What a page is told when it opens
// ---------------------------------------------------------------------------------------------------------------

async fn a_conversation(server: &Server, tab: &Tab) {
    let session = server.session(tab);
    let voices = json!({ "type": "elevenlabs_voices", "content": [{ "voice_id": "v1", "name": "Rachel" }] });
    server.say(voices, None).await.unwrap();
    for frame in [
        apps(),
        json!({ "type": "parameters", "content": { "app_name": "CodeOpenAI", "model": "gpt-4.1" } }),
        json!({ "type": "user", "content": message("a1", "Hi") }),
        json!({ "type": "html", "content": message("a2", "Hello") }),
        json!({ "type": "change_status", "content": [{ "mid": "a1", "active": false }] }),
        info(2),
    ] {
        server.say_to(frame, session).await;
    }
    let status = json!({ "type": "mcp_status", "content": { "enabled": true, "port": 3100 } });
    server.say(status, Some(Audience::Connection(tab.client.id()))).await.unwrap();
}

#[tokio::test]
async fn mon_05_a_page_that_opens_is_told_everything_in_order_and_nothing_of_another_browser() {
    let server = server();
    let [one, _, three, _] = server.browsers().await;
    a_conversation(&server, &one).await;
    let mut tab = server.open(Some(&one.cookie)).await;
    let frames = tab.frames().await;
    let kinds: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["apps", "parameters", "past_messages", "info", "elevenlabs_voices", "mcp_status", "change_status", "info"]
    );
    // Trap T14: the app that another tab chose.
    assert_eq!(frames[0]["current_app_name"], "CodeOpenAI");
    assert_eq!(frames[1]["content"]["model"], "gpt-4.1");
    assert_eq!(frames[1].get("from_param_update"), None);
    assert_eq!(frames[2]["from_initial_load"], true);
    let said: Vec<&str> =
        frames[2]["content"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(said, ["Hi", "Hello"]);
    assert_eq!(frames[2]["content"][0]["active"], false);
    assert_eq!(frames[3]["content"]["count_messages"], 2);
    assert_eq!(frames[6]["content"], json!([{ "mid": "a1", "active": false }]));
    for cookie in [Some(three.cookie.as_str()), None] {
        // The lists of voices are everybody's.
        assert_eq!(server.open(cookie).await.kinds().await, ["elevenlabs_voices"]);
    }
}

#[tokio::test]
async fn mon_05_a_page_that_opens_while_events_come_misses_none_and_reads_none_twice() {
    let server = server();
    let one = server.open(None).await;
    let handle = server.monadic.session(server.session(&one));
    let publishing = tokio::spawn(async move {
        for count in 0..150 {
            let said: chat::Html =
                serde_json::from_value(json!({ "message": message(&count.to_string(), "x") })).unwrap();
            handle.publish(said).await.unwrap();
        }
    });
    let mut tabs = Vec::new();
    while !publishing.is_finished() {
        tabs.push(server.open(Some(&one.cookie)).await);
        tokio::task::yield_now().await;
    }
    publishing.await.unwrap();
    assert!(tabs.len() > 5);
    for tab in &mut tabs {
        let mut read = Vec::new();
        for frame in tab.frames().await {
            match frame["type"].as_str().unwrap() {
                "past_messages" => read = frame["content"].as_array().unwrap().clone(),
                "html" => read.push(frame["content"].clone()),
                _ => {}
            }
        }
        let read: Vec<usize> = read.iter().map(|said| said["mid"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(read, (0..150).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn mon_05_a_page_that_was_slow_is_told_how_everything_stands_and_nothing_that_is_older() {
    let state = State::new();
    let mailbox = eventwire_protocol::delivery::MailboxBounds { frames: 16, bytes: 64 * 1024 };
    let settings = eventwire_hub::Settings { mailbox, ..eventwire_hub::Settings::default() };
    let hub = Hub::builder().tap(state.clone()).settings(settings).build();
    let asked = Arc::new(Asked::default());
    let monadic = Arc::new(Monadic::new(hub.clone(), asked.clone(), state.clone(), Settings::default()));
    let server = Server { hub, monadic, state, asked };
    let mut one = server.open(None).await;
    let session = server.session(&one);
    // The newest value that is kept of the conversation: one message, to which others come.
    let past = json!({ "type": "past_messages", "content": [message("first", "x")] });
    server.say_to(past, session).await;
    one.frames().await;
    one.client.pause();
    let mut model = None;
    for count in 0..400 {
        let said = json!({ "type": "html", "content": message(&count.to_string(), "x") });
        server.say_to(said, session).await;
        let queued = server.hub.connections()[0].queued_frames;
        if queued == mailbox.frames && model.is_none() {
            // There is no room for it.
            server.say_to(json!({ "type": "parameters", "content": { "count": count } }), session).await;
            model = Some(count);
        }
    }
    one.client.resume();
    let (mut shown, mut parameters) = (vec![json!("first")], Value::Null);
    for frame in one.frames().await {
        match frame["type"].as_str().unwrap() {
            "past_messages" => {
                shown = frame["content"].as_array().unwrap().iter().map(|it| it["mid"].clone()).collect()
            }
            "html" if !shown.contains(&frame["content"]["mid"]) => shown.push(frame["content"]["mid"].clone()),
            "parameters" => parameters = frame["content"]["count"].clone(),
            _ => {}
        }
    }
    let all: Vec<Value> =
        std::iter::once("first".to_owned()).chain((0..400).map(|it| it.to_string())).map(Value::from).collect();
    assert_eq!(shown, all);
    assert_eq!(parameters, json!(model.expect("a full mailbox")));
}

#[tokio::test]
async fn mon_05_an_app_that_is_not_there_is_not_chosen() {
    let server = server();
    let one = server.open(None).await;
    let session = server.session(&one);
    server.say_to(apps(), session).await;
    server.say_to(json!({ "type": "parameters", "content": { "app_name": "Gone" } }), session).await;
    let frames = server.open(Some(&one.cookie)).await.frames().await;
    assert_eq!(frames[0].get("current_app_name"), None);
    assert_eq!(frames[3]["content"]["count_messages"], 0);
}

#[tokio::test]
async fn mon_09_load_tells_the_session_everything_again() {
    let server = server();
    let [mut one, mut two, mut three, mut four] = server.browsers().await;
    a_conversation(&server, &one).await;
    for tab in [&mut one, &mut two, &mut three, &mut four] {
        tab.frames().await;
    }
    two.send(json!({ "message": "LOAD", "ui_language": "ja" })).await;
    for tab in [&mut two, &mut one] {
        let frames = tab.frames().await;
        assert_eq!(frames.len(), 8);
        assert_eq!(frames[1]["content"]["ui_language"], "ja");
        assert_eq!(frames[2]["content"][1]["mid"], "a2");
    }
    assert_eq!(three.frames().await, Vec::<Value>::new());
    assert_eq!(four.frames().await, Vec::<Value>::new());
    assert_eq!(server.asked.take()[0].name, "LOAD");
}

/// One life of a server whose browsers keep their sessions over restarts.
fn life(bounds: StateBounds) -> Server {
    let key = SessionKey::of_secret(&Secret::new("a secret of sixteen bytes or more")).unwrap();
    server_of(key, Settings::default(), None, bounds)
}

#[tokio::test]
async fn mon_15_after_a_restart_unknown_is_not_empty() {
    let before = life(StateBounds::default());
    let page = before.open(None).await;
    a_conversation(&before, &page).await;
    // The same browser, and a server that has never heard of it.
    let server = life(StateBounds::default());
    let mut page = server.open(Some(&page.cookie)).await;
    let session = server.session(&page);
    assert_eq!(page.kinds().await, Vec::<String>::new());
    let load = json!({ "message": "LOAD", "ui_language": "en" });
    page.send(load.clone()).await;
    assert_eq!(page.kinds().await, Vec::<String>::new(), "the language of a page says nothing about messages");
    // The apps, one new message and its end say nothing about those of before.
    server.say_to(apps(), session).await;
    server.say_to(json!({ "type": "html", "content": message("a3", "Newer") }), session).await;
    page.frames().await;
    page.send(load.clone()).await;
    assert_eq!(page.kinds().await, ["apps"]);
    let mut late = server.open(Some(&page.cookie)).await;
    assert_eq!(late.kinds().await, ["apps"]);
    // One is deleted that is among the few that are known: the others are not told that these are all.
    late.send(json!({ "message": "DELETE", "mid": "a3" })).await;
    assert_eq!(page.kinds().await, Vec::<String>::new());
    // The application says which there are.
    let past = json!({ "type": "past_messages", "content": [message("a1", "Hi"), message("a2", "Hello")] });
    server.say_to(past, session).await;
    page.frames().await;
    late.frames().await;
    page.send(load).await;
    for tab in [&mut page, &mut late] {
        let frames = tab.frames().await;
        let kinds: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["apps", "past_messages", "info", "info"]);
        assert_eq!(frames[1]["content"].as_array().unwrap().len(), 2);
        assert_eq!(frames[1]["content"][1]["mid"], "a2");
    }
    // A late tab shows the state of the others.
    let mut late = server.open(Some(&page.cookie)).await;
    assert_eq!(late.kinds().await, ["apps", "past_messages", "info", "info"]);
}

#[tokio::test]
async fn mon_15_after_a_reset_the_messages_are_known_and_none() {
    let before = life(StateBounds::default());
    let page = before.open(None).await;
    let server = life(StateBounds::default());
    let mut page = server.open(Some(&page.cookie)).await;
    page.send(json!({ "message": "RESET" })).await;
    page.frames().await;
    let session = server.session(&page);
    server.say_to(json!({ "type": "html", "content": message("b1", "Anew") }), session).await;
    let mut late = server.open(Some(&page.cookie)).await;
    let frames = late.frames().await;
    assert_eq!((&frames[0]["type"], &frames[0]["content"][0]["mid"]), (&json!("past_messages"), &json!("b1")));
}

#[tokio::test]
async fn mon_15_a_conversation_that_was_dropped_is_not_taken_for_a_new_one() {
    let server = server_with(Settings::default(), None, StateBounds { sessions: 1, ..StateBounds::default() });
    let mut first = server.open(None).await;
    let session = server.session(&first);
    server.say_to(json!({ "type": "html", "content": message("a1", "Hi") }), session).await;
    let second = server.open(None).await;
    server.say_to(json!({ "type": "html", "content": message("b1", "Hi") }), server.session(&second)).await;
    server.say_to(json!({ "type": "html", "content": message("a2", "Newer") }), session).await;
    first.frames().await;
    first.send(json!({ "message": "LOAD" })).await;
    assert_eq!(first.kinds().await, Vec::<String>::new(), "a1 is no longer kept, and a2 is not all there is");
}

fn part(content: &str, sequence: u64, is_first: bool) -> Value {
    json!({ "type": "fragment", "content": content, "sequence": sequence, "is_first": is_first })
}

#[tokio::test]
async fn mon_16_a_tab_that_joins_in_the_middle_of_an_answer_gets_the_text_so_far_as_one_part() {
    let server = server();
    let [mut one, _, mut three, _] = server.browsers().await;
    let session = server.session(&one);
    server.say_to(json!({ "type": "user", "content": message("a1", "Tell me") }), session).await;
    for (sequence, text) in ["On", "ce upon", " a time"].iter().enumerate() {
        server.say_to(part(text, sequence as u64, sequence == 0), session).await;
    }
    let mut late = server.open(Some(&one.cookie)).await;
    let frames = late.frames().await;
    let last = frames.last().unwrap();
    assert_eq!(
        (&last["type"], &last["content"], &last["sequence"], &last["is_first"]),
        (&json!("fragment"), &json!("Once upon a time"), &json!(2), &json!(true))
    );
    assert!(last["timestamp"].as_f64().unwrap() > 1e9, "{last}");
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "fragment").count(), 1);
    // The parts that follow come as ever, once to each tab; a page that asks anew gets all of the text so far.
    one.frames().await;
    server.say_to(part(" there", 3, false), session).await;
    for tab in [&mut one, &mut late] {
        let frames = tab.frames().await;
        assert_eq!((frames.len(), &frames[0]["sequence"]), (1, &json!(3)));
    }
    one.send(json!({ "message": "LOAD" })).await;
    assert_eq!(one.frames().await.last().unwrap()["content"], "Once upon a time there");
    assert_eq!(three.frames().await, Vec::<Value>::new());
    // Each of these ends the answer.
    for end in [
        json!({ "type": "streaming_complete" }),
        json!({ "type": "html", "content": message("a2", "Once") }),
        json!({ "type": "cancel" }),
        json!({ "type": "clear_fragments" }),
        json!({ "type": "error", "content": "the provider failed" }),
    ] {
        server.say_to(part("Again", 0, true), session).await;
        assert_eq!(server.open(Some(&one.cookie)).await.frames().await.last().unwrap()["content"], "Again");
        server.say_to(end.clone(), session).await;
        let frames = server.open(Some(&one.cookie)).await.frames().await;
        assert!(frames.iter().all(|frame| frame["type"] != "fragment"), "{end}");
    }
}

#[tokio::test]
async fn mon_16_nothing_is_sent_of_an_answer_whose_beginning_was_not_seen_or_that_is_too_large() {
    let before = life(StateBounds::default());
    let page = before.open(None).await;
    let conversation = ConversationBounds { bytes: 20, ..ConversationBounds::default() };
    let server = life(StateBounds { conversation, ..StateBounds::default() });
    let session = server.session(&page);
    let fragments = async || {
        let frames = server.open(Some(&page.cookie)).await.frames().await;
        frames.into_iter().filter(|frame| frame["type"] == "fragment").collect::<Vec<_>>()
    };
    for frame in [part("the end", 7, false), json!({ "type": "fragment", "content": " of it" })] {
        server.say_to(frame, session).await;
        assert_eq!(fragments().await, Vec::<Value>::new());
    }
    server.say_to(json!({ "type": "streaming_complete" }), session).await;
    server.say_to(json!({ "type": "fragment", "content": "without a number" }), session).await;
    assert_eq!(fragments().await[0]["content"], "without a number");
    server.say_to(json!({ "type": "fragment", "content": " and too long" }), session).await;
    assert_eq!(fragments().await, Vec::<Value>::new(), "a part of it would be taken for the whole");
}

// ---------------------------------------------------------------------------------------------------------------
// Commands
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn mon_08_the_answer_to_ping_reaches_the_tab_that_asked_and_no_other() {
    let server = server();
    let [mut one, mut two, mut three, mut four] = server.browsers().await;
    one.send(json!({ "message": "PING" })).await;
    assert_eq!(one.frames().await, [json!({ "type": "pong" })]);
    for tab in [&mut two, &mut three, &mut four] {
        assert_eq!(tab.frames().await, Vec::<Value>::new());
    }
    assert!(server.asked.take().is_empty());
}

#[tokio::test]
async fn mon_04_parameters_reach_every_tab_of_the_session_with_the_mark_and_are_kept() {
    let server = server();
    let [mut one, mut two, mut three, mut four] = server.browsers().await;
    one.send(
        json!({ "message": "UPDATE_PARAMS", "params": { "app_name": "ChatOpenAI", "message": "x", "images": [] } }),
    )
    .await;
    one.frames().await;
    two.frames().await;
    two.send(json!({ "message": "UPDATE_PARAMS", "params": { "model": "gpt-4.1", "websearch": "true" } })).await;
    let all = json!({ "app_name": "ChatOpenAI", "model": "gpt-4.1", "websearch": true });
    for tab in [&mut two, &mut one] {
        let frames = tab.frames().await;
        assert_eq!(frames, [json!({ "type": "parameters", "content": all, "from_param_update": true })]);
    }
    for tab in [&mut three, &mut four] {
        assert_eq!(tab.frames().await, Vec::<Value>::new());
    }
    let frames = server.open(Some(&one.cookie)).await.frames().await;
    assert_eq!(frames[0], json!({ "type": "parameters", "content": all }));
    let commands = server.asked.take();
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[1].data["params"]["model"], "gpt-4.1");
}

#[tokio::test]
async fn mon_04_no_change_of_parameters_is_lost_when_tabs_change_them_at_once() {
    let server = server();
    let first = server.open(None).await;
    let mut tabs = Vec::new();
    for _ in 0..8 {
        tabs.push(server.open(Some(&first.cookie)).await);
    }
    let mut sending = Vec::new();
    for (place, mut tab) in tabs.into_iter().enumerate() {
        sending.push(tokio::spawn(async move {
            for count in 0..4 {
                let params = json!({ format!("p{place}_{count}"): true });
                tab.send(json!({ "message": "UPDATE_PARAMS", "params": params })).await;
            }
            tab.frames().await;
            tab
        }));
    }
    for tab in sending {
        tab.await.unwrap().frames().await;
    }
    let frames = server.open(Some(&first.cookie)).await.frames().await;
    assert_eq!(frames[0]["content"].as_object().unwrap().len(), 32);
}

#[tokio::test]
async fn mon_07_what_cannot_be_read_is_told_to_its_sender_by_the_word_of_the_system_and_the_page_stays() {
    let server = server();
    let [mut one, mut two, ..] = server.browsers().await;
    for (frame, word) in [
        ("not json", "invalid_message_format"),
        ("[1]", "invalid_message_format"),
        (r#"{"message":7}"#, "invalid_message_format"),
        (r#"{"message":"UPDATE_PARAMS"}"#, "invalid_parameters"),
        (r#"{"message":"UPDATE_PARAMS","params":[]}"#, "invalid_parameters"),
    ] {
        one.client.send_text(frame).await.unwrap();
        assert_eq!(one.frames().await, [error(json!(word))], "{frame}");
    }
    one.client.send_bytes(vec![0xff, 0xfe]).await.unwrap();
    assert_eq!(one.frames().await, [error(json!("invalid_message_format"))]);
    assert_eq!(two.frames().await, Vec::<Value>::new());
    one.send(json!({ "message": "PING" })).await;
    assert_eq!(one.kinds().await, ["pong"]);
    assert!(server.asked.take().is_empty());
}

#[tokio::test]
async fn mon_01_a_frame_of_sixteen_mebibytes_is_read_and_a_larger_one_refused_to_its_sender() {
    let server = server();
    let [mut one, mut two, ..] = server.browsers().await;
    assert_eq!(server.monadic.max_message_bytes(), 16 * 1024 * 1024);
    assert!(server.monadic.routes().iter().all(|route| route.own_listener_only && route.socket));
    let empty = json!({ "message": "AUDIO", "content": "" }).to_string().len();
    let most = 16 * 1024 * 1024 - empty;
    one.send(json!({ "message": "AUDIO", "content": "x".repeat(most) })).await;
    assert_eq!(one.frames().await, Vec::<Value>::new());
    assert_eq!(server.asked.take().len(), 1);
    one.send(json!({ "message": "AUDIO", "content": "x".repeat(most + 1) })).await;
    assert_eq!(one.kinds().await, ["error"]);
    assert_eq!(two.frames().await, Vec::<Value>::new());
    assert!(server.asked.take().is_empty());
}

#[tokio::test]
async fn mon_06_commands_reach_the_application_with_who_asked_and_what() {
    let server = server();
    let mut one = server.open(None).await;
    one.send(json!({ "message": "CHECK_TOKEN", "initial": "true", "contents": "", "ui_language": "en" })).await;
    one.send(json!({ "message": "CANCEL" })).await;
    one.send(json!({ "message": "REFRESH", "mid": "a1" })).await;
    one.frames().await;
    let commands = server.asked.take();
    assert!(commands.iter().all(|it| it.dialect == "monadic" && it.connection_id == one.client.id()));
    let names: Vec<(&str, bool)> = commands.iter().map(|it| (it.name.as_str(), it.urgent)).collect();
    assert_eq!(names, [("CHECK_TOKEN", false), ("CANCEL", true), ("CHAT", false)]);
    assert_eq!(
        Value::Object(commands[0].data.clone()),
        json!({ "initial": true, "contents": "", "ui_language": "en" })
    );
    assert_eq!(commands[2].data["message"], "REFRESH");
    assert_ne!(commands[0].id, commands[1].id);
}

#[tokio::test]
async fn mon_06_without_a_back_end_the_sender_alone_is_told() {
    let server = server_with(Settings::default(), Some(Arc::new(NoBackEnd)), StateBounds::default());
    let [mut one, mut two, mut three, _] = server.browsers().await;
    for command in ["Tell me a joke", "CHECK_TOKEN", "EDIT", "DELETE", "RESET", "CANCEL"] {
        one.send(json!({ "message": command, "mid": "a1" })).await;
        let frames = one.frames().await;
        assert_eq!(frames.len(), 1, "{command}: {frames:?}");
        assert!(frames[0]["type"] == "error" && frames[0]["content"].is_string(), "{frames:?}");
        assert_eq!(two.frames().await, Vec::<Value>::new());
    }
    // The server has done its part of these.
    one.send(json!({ "message": "UPDATE_PARAMS", "params": { "model": "m" } })).await;
    assert_eq!(one.kinds().await, ["parameters"]);
    two.frames().await;
    one.send(json!({ "message": "LOAD" })).await;
    assert_eq!(one.kinds().await, ["parameters", "past_messages", "info", "info"]);
    assert_eq!(three.frames().await, Vec::<Value>::new());
}

#[tokio::test]
async fn mon_09_what_is_reset_is_not_told_to_the_next_page_and_another_browser_keeps_its_own() {
    let server = server();
    let [mut one, mut two, three, _] = server.browsers().await;
    a_conversation(&server, &one).await;
    a_conversation(&server, &three).await;
    one.frames().await;
    two.frames().await;
    one.send(json!({ "message": "RESET" })).await;
    assert_eq!(one.frames().await, Vec::<Value>::new());
    assert_eq!(two.frames().await, Vec::<Value>::new());
    let frames = server.open(Some(&one.cookie)).await.frames().await;
    let kinds: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["apps", "past_messages", "info", "elevenlabs_voices", "mcp_status", "info"]);
    assert_eq!(frames[1]["content"], json!([]));
    assert_eq!(frames[0].get("current_app_name"), None);
    assert_eq!(server.open(Some(&three.cookie)).await.frames().await.len(), 8);
}

#[tokio::test]
async fn mon_09_a_deleted_message_goes_from_the_other_tabs_and_from_what_is_kept() {
    let server = server();
    let [mut one, mut two, mut three, _] = server.browsers().await;
    a_conversation(&server, &one).await;
    a_conversation(&server, &three).await;
    for tab in [&mut one, &mut two, &mut three] {
        tab.frames().await;
    }
    one.send(json!({ "message": "DELETE", "mid": "a1" })).await;
    // The page that asked has taken it away itself.
    assert_eq!(one.frames().await, Vec::<Value>::new());
    let frames = two.frames().await;
    assert_eq!((frames.len(), &frames[0]["type"]), (1, &json!("past_messages")));
    let mids: Vec<&Value> = frames[0]["content"].as_array().unwrap().iter().map(|it| &it["mid"]).collect();
    assert_eq!(mids, ["a2"]);
    assert_eq!(three.frames().await, Vec::<Value>::new());
    let frames = server.open(Some(&one.cookie)).await.frames().await;
    assert_eq!(frames[2]["content"].as_array().unwrap().len(), 1);
    assert_eq!(server.open(Some(&three.cookie)).await.frames().await[2]["content"].as_array().unwrap().len(), 2);
    // What is not there is nobody's to hear of.
    one.send(json!({ "message": "DELETE", "mid": "a1" })).await;
    one.frames().await;
    assert_eq!(two.frames().await, Vec::<Value>::new());
}

#[tokio::test]
async fn mon_09_an_edited_message_is_kept_as_it_was_asked_for_once_that_is_confirmed() {
    let server = server();
    let mut one = server.open(None).await;
    a_conversation(&server, &one).await;
    one.send(json!({ "message": "EDIT", "mid": "a1", "content": "Good day" })).await;
    one.frames().await;
    let text = |frames: &[Value]| frames[2]["content"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(text(&server.open(Some(&one.cookie)).await.frames().await), "Hi");
    let confirmed =
        json!({ "type": "edit_success", "content": "ok", "mid": "a1", "role": "user", "html": "<p>Good day</p>" });
    server.say_to(confirmed, server.session(&one)).await;
    let frames = server.open(Some(&one.cookie)).await.frames().await;
    assert_eq!(text(&frames), "Good day");
    assert_eq!(frames[2]["content"][0]["html"], "<p>Good day</p>");
    assert_eq!(frames[2]["content"][0]["role"], "user");
}

// ---------------------------------------------------------------------------------------------------------------
// Events without a session
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn bug_b3_and_mon_11_an_event_without_a_session_goes_to_nobody() {
    let server = server();
    let mut tabs = server.browsers().await;
    for frame in [
        json!({ "type": "wait", "content": "w" }),
        json!({ "type": "html", "content": message("a1", "x") }),
        json!({ "type": "cancel" }),
    ] {
        assert_eq!(server.say(frame, None).await.unwrap_err().code, ErrorCode::MissingTarget);
    }
    let said = server.monadic.publish_without_session(&publisher(), EventType::ChatCancel, &json!({})).await;
    assert_eq!(said.unwrap_err().code, ErrorCode::MissingTarget);
    for tab in &mut tabs {
        assert_eq!(tab.frames().await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn bug_b3_and_mon_11_with_one_user_it_goes_to_all_pages_once_and_to_no_other_dialect() {
    let settings = Settings { single_user: true, ..Settings::default() };
    let server = server_with(settings, None, StateBounds::default());
    let mut tabs = server.browsers().await;
    let mut others = Vec::new();
    for dialect in Dialect::ALL.iter().copied().filter(|dialect| *dialect != Dialect::Monadic) {
        let options = ConnectOptions { dialect, ..ConnectOptions::wanting(["session:s"]) };
        let mut client = MemoryClient::connect(&server.hub, options).await.unwrap();
        client.drain().await;
        others.push(client);
    }
    assert_eq!(server.say(json!({ "type": "html", "content": message("a1", "x") }), None).await.unwrap(), 2);
    let said = server.monadic.publish_without_session(&publisher(), EventType::ChatCancel, &json!({})).await;
    assert_eq!(said.unwrap().len(), 2);
    // What only goes to connections goes to each.
    let status = json!({ "event": "mcp_status", "data": { "enabled": true } });
    assert_eq!(server.say(status, None).await.unwrap(), 4);
    for tab in &mut tabs {
        assert_eq!(tab.kinds().await, ["html", "cancel", "mcp_status"]);
    }
    for client in &mut others {
        assert!(client.drain().await.is_empty());
    }
}

#[tokio::test]
async fn mon_11_who_may_not_publish_may_not_without_a_session_either() {
    let server = server_with(Settings { single_user: true, ..Settings::default() }, None, StateBounds::default());
    let _tabs = server.browsers().await;
    let nobody = Principal::new("nobody", Claims::anonymous());
    let said = server.monadic.publish_without_session(&nobody, EventType::ChatCancel, &json!({})).await;
    assert_eq!(said.unwrap_err().code, ErrorCode::Forbidden);
}

#[tokio::test]
async fn mon_11_with_authentication_there_is_never_one_user_only() {
    let state = State::new();
    let hub = Hub::builder().tap(state.clone()).authenticator(eventwire_hub::ApiKeys::new()).build();
    let settings = Settings { single_user: true, ..Settings::default() };
    let monadic = Monadic::new(hub, Arc::new(NoBackEnd), state, settings);
    let said = monadic.publish_without_session(&publisher(), EventType::ChatCancel, &json!({})).await;
    assert_eq!(said.unwrap_err().code, ErrorCode::MissingTarget);
    let route = &monadic.routes()[0];
    let headers = HeaderMap::new();
    let ask = Ask { route, path: "/", query: "", headers: &headers, peer: None, dialect: Dialect::Monadic };
    assert!(matches!(monadic.admit(ask).await, Admission::Refuse(error) if error.code == ErrorCode::Unauthorized));
}

#[tokio::test]
async fn mon_12_lists_of_voices_reach_every_page_and_the_pages_that_open_later() {
    let server = server();
    let mut tabs = server.browsers().await;
    for provider in ["gemini", "elevenlabs"] {
        let voices = json!({ "type": format!("{provider}_voices"), "content": [{ "voice_id": "v", "name": "V" }] });
        assert_eq!(server.say(voices, None).await.unwrap(), 1);
    }
    for tab in &mut tabs {
        assert_eq!(tab.kinds().await, ["gemini_voices", "elevenlabs_voices"]);
    }
    assert_eq!(server.open(None).await.kinds().await, ["elevenlabs_voices", "gemini_voices"]);
    // Even one that comes with a session.
    let voices = json!({ "type": "gemini_voices", "content": [] });
    let to = Audience::session(SessionId::Browser(server.session(&tabs[0])));
    assert_eq!(server.say(voices, Some(to)).await.unwrap_err().code, ErrorCode::AudienceNotAllowed);
}

// ---------------------------------------------------------------------------------------------------------------
// Progress
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn mon_13_a_long_operation_says_once_a_minute_how_it_stands_and_to_its_session_alone() {
    let server = server();
    let [mut one, mut two, mut three, _] = server.browsers().await;
    let progress = Progress { timeout: Some(Duration::from_secs(1_200)), ..Progress::of("Writing the program") };
    let ticker = server.monadic.ticker(server.session(&one), progress);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(one.frames().await, Vec::<Value>::new());
    for minute in 1..=3 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        for tab in [&mut one, &mut two] {
            let frames = tab.frames().await;
            assert_eq!(frames.len(), 1, "{frames:?}");
            let frame = &frames[0];
            assert_eq!(frame["type"], "wait");
            assert_eq!(frame["content"], "Writing the program");
            assert_eq!(frame["elapsed"], minute * 60);
            assert_eq!(frame["minutes"], minute);
            // Traps T2 and T3.
            assert_eq!(frame["remaining"], 1_200 - minute * 60);
            assert!(frame["source"].as_str().unwrap().contains("Agent"));
            assert!(frame["timestamp"].is_f64());
        }
        assert_eq!(three.frames().await, Vec::<Value>::new());
    }
    drop(ticker);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(one.frames().await, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn mon_13_progress_that_is_switched_off_is_taken_and_told_to_nobody() {
    let settings = Settings { progress_enabled: false, ..Settings::default() };
    let server = server_with(settings, None, StateBounds::default());
    let mut one = server.open(None).await;
    let session = server.session(&one);
    let ticker = server.monadic.ticker(session, Progress::of("Working"));
    tokio::time::sleep(Duration::from_secs(300)).await;
    drop(ticker);
    let to = Audience::session(SessionId::Browser(session));
    for frame in [
        json!({ "type": "wait", "content": "Progress message text", "timestamp": 1_234_567_890.123 }),
        json!({ "type": "wait", "content": "Working", "elapsed": 60 }),
        json!({ "type": "wait", "content": "Working", "remaining": 60 }),
    ] {
        assert_eq!(server.say(frame, Some(to.clone())).await.unwrap(), 0);
    }
    assert_eq!(one.frames().await, Vec::<Value>::new());
    // A remark while somebody waits for an answer is no progress.
    assert_eq!(
        server.say(json!({ "type": "wait", "content": "generating_ai_user_response" }), Some(to)).await.unwrap(),
        1
    );
    assert_eq!(one.kinds().await, ["wait"]);
}

// ---------------------------------------------------------------------------------------------------------------
// Bounds
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn mon_14_no_more_sessions_are_kept_than_may_be_and_the_oldest_goes() {
    let server = server_with(Settings::default(), None, StateBounds { sessions: 3, ..StateBounds::default() });
    let mut tabs = Vec::new();
    for _ in 0..5 {
        let tab = server.open(None).await;
        server.say_to(apps(), server.session(&tab)).await;
        tabs.push(tab);
        // The first one is heard of again and again.
        server.say_to(info(0), server.session(&tabs[0])).await;
    }
    assert_eq!(server.state.sessions(), 3);
    let mut known = Vec::new();
    for tab in &tabs {
        let told = server.open(Some(&tab.cookie)).await.kinds().await;
        known.push(told.contains(&"apps".to_owned()));
    }
    assert_eq!(known, [true, false, false, true, true]);
}

#[tokio::test]
async fn limit_14_a_peer_with_many_cookies_erases_its_own_conversations_and_no_others() {
    for bounds in [
        StateBounds { sessions: 100, ..StateBounds::default() },
        StateBounds { bytes: 64 * 1024, ..StateBounds::default() },
    ] {
        let server = server_with(Settings::default(), None, bounds);
        let open = async |last: u8, cookie: Option<&String>| {
            let mut headers = HeaderMap::new();
            if let Some(cookie) = cookie {
                headers.insert(header::COOKIE, format!("{COOKIE}={cookie}").parse().unwrap());
            }
            let peer = IpAddr::from([127, 0, 0, last]);
            let (client, given) = server.open_from(Some(peer), headers, "").await;
            Tab { client, cookie: given.or(cookie.cloned()).unwrap() }
        };
        let victim = open(2, None).await;
        let (mine, mut cookies) = (victim.cookie.clone(), Vec::new());
        server.say_to(json!({ "type": "html", "content": message("v1", "mine") }), server.session(&victim)).await;
        drop(victim);
        for _ in 0..500 {
            let tab = open(1, None).await;
            server.say_to(json!({ "type": "html", "content": message("a1", "fill") }), server.session(&tab)).await;
            cookies.push(tab.cookie);
        }
        let told = open(2, Some(&mine)).await.frames().await;
        assert!(told.iter().any(|frame| frame["type"] == "past_messages"), "{bounds:?}: {told:?}");
        assert!(told.iter().all(|frame| frame["type"] != "error"), "{told:?}");
        // Whose conversation made room is told, once.
        let dropped = |told: &[Value]| told.iter().any(|frame| frame.to_string().contains("no longer keeps"));
        assert!(dropped(&open(1, Some(&cookies[400])).await.frames().await));
        assert!(!dropped(&open(1, Some(&cookies[400])).await.frames().await));
        assert!(!dropped(&open(1, Some(&cookies[499])).await.frames().await), "the newest is kept");
    }
}

#[tokio::test]
async fn mon_14_no_more_bytes_of_sessions_are_kept_than_may_be() {
    let server = server_with(Settings::default(), None, StateBounds { bytes: 64 * 1024, ..StateBounds::default() });
    for _ in 0..20 {
        let tab = server.open(None).await;
        let said = message("a1", &"x".repeat(5_000));
        server.say_to(json!({ "type": "html", "content": said }), server.session(&tab)).await;
    }
    assert!((1..=4).contains(&server.state.sessions()), "{}", server.state.sessions());
}

#[tokio::test]
async fn mon_14_a_long_conversation_with_pictures_still_opens_with_its_newest_messages() {
    let server = server();
    let one = server.open(None).await;
    let session = server.session(&one);
    server.say_to(apps(), session).await;
    for count in 0..10 {
        // Quotation marks take two bytes each as JSON, so the frame is larger than what it is made of.
        let mut said = message(&count.to_string(), &"\"".repeat(200_000));
        said["html"] = Value::Null;
        said["images"] =
            json!([{ "title": "a.png", "data": format!("data:image/png;base64,{}", "A".repeat(300_000)) }]);
        server.say_to(json!({ "type": "html", "content": said }), session).await;
    }
    let mut tab = server.open(Some(&one.cookie)).await;
    let frames = tab.frames().await;
    assert_eq!(frames[0]["type"], "apps");
    assert_eq!(frames[1]["type"], "past_messages");
    let messages = frames[1]["content"].as_array().unwrap();
    assert!(!messages.is_empty());
    assert_eq!(messages.last().unwrap()["mid"], "9");
    assert_eq!(frames[2]["type"], "info");
    assert!(frames.iter().map(|frame| frame.to_string().len()).sum::<usize>() < 2 * 1024 * 1024);
    tab.send(json!({ "message": "PING" })).await;
    assert_eq!(tab.kinds().await, ["pong"]);
}

#[tokio::test]
async fn mon_14_no_more_messages_are_kept_than_may_be() {
    let conversation = ConversationBounds { messages: 3, ..ConversationBounds::default() };
    let server = server_with(Settings::default(), None, StateBounds { conversation, ..StateBounds::default() });
    let one = server.open(None).await;
    for count in 0..5 {
        let said = json!({ "type": "html", "content": message(&count.to_string(), "x") });
        server.say_to(said, server.session(&one)).await;
    }
    let frames = server.open(Some(&one.cookie)).await.frames().await;
    let mids: Vec<&Value> = frames[0]["content"].as_array().unwrap().iter().map(|it| &it["mid"]).collect();
    assert_eq!(mids, ["2", "3", "4"]);
}
