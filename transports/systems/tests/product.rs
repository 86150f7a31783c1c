//! Product Demo without sockets: who is let in, who is told what, and what waits for those who are away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{
    Clock as _, CommandSink, ConnectRequest, Connection, Hub, MemoryBounds, NoBackEnd, Outgoing, Principal, Revocation,
    Secret,
};
use eventwire_memory::{Closed, Frame, ManualClock, MemoryClient};
use eventwire_protocol::{
    ApplicationCommand, Claims, Dialect, ErrorBody, ErrorCode, EventType, Publication, Time,
    address::AudienceKind,
    catalog,
    dialect::{effects, product_users::ProductUsers},
    frame::EventKind,
    limits::StreamBounds,
};
use eventwire_systems::{
    Admission, Ask, Body, System, answer,
    product::{LoginProof, Product, ResolvedUser, Settings, Shown, UserResolver},
};
use futures_util::StreamExt as _;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, StreamBody};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

const START: &str = "2025-05-20T10:00:00Z";

/// Knows cookies by heart, and forgets or fails when told to.
#[derive(Default)]
struct Accounts(Mutex<BTreeMap<String, Option<ResolvedUser>>>);

impl Accounts {
    fn knows(&self, cookie: &str, user: &str, expires_at: Option<Time>) {
        let user = ResolvedUser {
            user: user.parse().unwrap(),
            username: Some(format!("{user} L.")),
            role: None,
            expires_at,
            proof: LoginProof::of(Secret::new(cookie)),
        };
        self.0.lock().unwrap().insert(cookie.into(), Some(user));
    }

    fn names(&self, cookie: &str, id: &str) {
        let mut accounts = self.0.lock().unwrap();
        accounts.get_mut(cookie).unwrap().as_mut().unwrap().proof.id = Some(id.into());
    }

    fn forgets(&self, cookie: &str) {
        self.0.lock().unwrap().remove(cookie);
    }

    fn fails_at(&self, cookie: &str) {
        self.0.lock().unwrap().insert(cookie.into(), None);
    }
}

#[async_trait]
impl UserResolver for Accounts {
    async fn resolve(&self, shown: &Shown) -> Result<Option<ResolvedUser>, ErrorBody> {
        let Some(session) = &shown.session else { return Ok(None) };
        match self.0.lock().unwrap().get(session.reveal()) {
            None => Ok(None),
            Some(Some(user)) => Ok(Some(user.clone())),
            Some(None) => Err(ErrorBody::new(ErrorCode::Unavailable, "the store does not answer")),
        }
    }
}

/// Keeps what the application is asked.
#[derive(Default)]
struct Asked(Mutex<Vec<ApplicationCommand>>);

#[async_trait]
impl CommandSink for Asked {
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody> {
        // CMD-15: every command has an entry in the table of its dialect.
        let table = effects::table(Dialect::from_name(&command.dialect).unwrap());
        assert!(table.iter().any(|(name, _)| *name == command.name), "{} has no effect", command.name);
        self.0.lock().unwrap().push(command);
        Ok(())
    }
}

struct World {
    hub: Hub,
    product: Product,
    accounts: Arc<Accounts>,
    clock: ManualClock,
}

impl World {
    /// The users `maria` and `tom`, each with a cookie of their own. Runs where time is paused.
    fn new() -> Self {
        Self::with(Arc::new(NoBackEnd))
    }

    fn with(commands: Arc<dyn CommandSink>) -> Self {
        Self::whose_users_are(ProductUsers::Same, commands)
    }

    fn whose_users_are(product_users: ProductUsers, commands: Arc<dyn CommandSink>) -> Self {
        let clock = ManualClock::starting(START.parse().unwrap());
        // The log keeps more than is brought to who returns.
        let hour = StreamBounds { age: Duration::from_secs(3600), ..StreamBounds::DEFAULT };
        let bounds = MemoryBounds { other: hour, ..MemoryBounds::default() };
        let of_hub = eventwire_hub::Settings { product_users, ..eventwire_hub::Settings::default() };
        let builder = Hub::builder().settings(of_hub).clock(clock.clone()).memory_bounds(bounds);
        let hub = builder.build();
        let accounts = Arc::new(Accounts::default());
        accounts.knows("s%3Amaria.x", "maria", None);
        accounts.knows("s%3Atom.x", "tom", None);
        let settings = Settings { users: accounts.clone(), ..Settings::default() };
        let product = Product::new(hub.clone(), commands, settings);
        Self { hub, product, accounts, clock }
    }

    async fn ask(&self, headers: &HeaderMap, dialect: Dialect) -> Admission {
        let route = self.product.routes().iter().find(|route| route.socket).unwrap();
        self.product.admit(Ask { route, path: "/ws", query: "", headers, peer: None, dialect }).await
    }

    /// Asks for a socket with this `Cookie` header; the code and reason of the close where it is closed at once.
    async fn try_open(&self, cookie: Option<&str>) -> Result<MemoryClient, (u16, String)> {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = cookie {
            headers.insert("cookie", cookie.parse().unwrap());
        }
        self.open_as(&headers, Dialect::Product).await
    }

    async fn open_as(&self, headers: &HeaderMap, dialect: Dialect) -> Result<MemoryClient, (u16, String)> {
        match self.ask(headers, dialect).await {
            Admission::Connect { request, handler, .. } => {
                Ok(MemoryClient::connect_as(&self.hub, *request, handler).await.unwrap())
            }
            Admission::Close(code, reason) => Err((code.as_u16(), reason)),
            Admission::Refuse(error) => panic!("{error}"),
        }
    }

    async fn open(&self, user: &str) -> MemoryClient {
        self.try_open(Some(&format!("theme=dark; connect.sid=s%3A{user}.x"))).await.unwrap()
    }

    /// Lets time pass, and everybody do what is due.
    async fn pass(&self, seconds: u64) {
        self.settle().await;
        self.clock.advance(Duration::from_secs(seconds)).await;
        self.settle().await;
    }

    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Publishes as a back end does.
    async fn publish(&self, kind: &str, to: &str, data: Value) {
        let text = json!({"type": kind, "to": to, "data": data}).to_string();
        let principal = Principal::new("back end", Claims::loopback());
        self.hub.publish(&principal, vec![Publication::decode(&text)]).await.unwrap().remove(0).unwrap();
    }

    async fn post(&self, uri: &str, headers: &[(&'static str, &str)], body: Body) -> (u16, Value) {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let route = self.product.routes().iter().find(|route| route.matches(request.uri().path())).unwrap();
        let response = self.product.answer(route, request, None).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

async fn read(client: &mut MemoryClient) -> Vec<Value> {
    client.drain().await.iter().map(Frame::value).collect()
}

/// The frames but the greeting.
async fn news(client: &mut MemoryClient) -> Vec<Value> {
    let mut frames = read(client).await;
    frames.retain(|frame| frame["type"] != "connection_established");
    frames
}

/// The events that a canonical connection has been told by now, but for those about itself.
async fn heard(connection: &mut Connection) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Ok(Outgoing::Frames(frames)) = tokio::time::timeout(Duration::from_millis(1), connection.next()).await {
        heard.extend(frames.iter().map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap()));
    }
    heard.retain(|frame| !frame["type"].as_str().unwrap().starts_with("connection."));
    heard
}

fn chunk(content: impl ToString) -> Value {
    json!({"message_id": "m", "session_id": "s", "content": content.to_string(), "is_complete": true})
}

// ---------------------------------------------------------------------------------------------------------------
// Who is let in
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn prd_01_a_socket_belongs_to_the_user_behind_the_cookie_and_is_closed_without_one() {
    let world = World::new();
    let mut maria = world.open("maria").await;
    let greeting = read(&mut maria).await;
    assert_eq!(greeting, [json!({"type": "connection_established", "message": "You are connected."})]);
    assert_eq!(world.hub.connections()[0].user_id.as_deref(), Some("maria"));
    let closed = |code: u16, reason: &str| Err::<(), _>((code, reason.to_owned()));
    for (cookie, expected) in [
        (None, closed(1008, "No cookie header found")),
        (Some(""), closed(1008, "No cookie header found")),
        (Some("theme=dark"), closed(1008, "Authentication failed")),
        (Some("connect.sid=s%3Anobody.x"), closed(1008, "Authentication failed")),
        (Some("Connect.Sid=s%3Amaria.x"), closed(1008, "Authentication failed")),
        (Some("connect.sid=s%3Amaria.x; connect.sid=s%3Atom.x"), closed(1008, "Authentication failed")),
    ] {
        assert_eq!(world.try_open(cookie).await.map(|_| ()), expected, "{cookie:?}");
    }
    let past = world.clock.now();
    world.accounts.knows("late", "maria", Some(past));
    assert_eq!(world.try_open(Some("connect.sid=late")).await.map(|_| ()), closed(1008, "Authentication failed"));
    assert_eq!(world.hub.connection_count(), 1);
}

/// The system of origin made a user id out of the cookie when the session could not be looked up.
#[tokio::test(start_paused = true)]
async fn bug_b2_a_login_that_cannot_be_looked_up_lets_nobody_in() {
    let world = World::new();
    world.accounts.fails_at("s%3Ahm.x");
    let closed = world.try_open(Some("connect.sid=s%3Ahm.x")).await.map(|_| ());
    assert_eq!(closed, Err((1012, "Authentication is unavailable".to_owned())));
    assert_eq!(world.hub.connection_count(), 0);
    let (status, told) = world
        .post(
            "/api/mcp/ssh/install/stream?installId=i",
            &[("cookie", "connect.sid=s%3Ahm.x"), ("content-type", "text/plain")],
            answer::full("output\n"),
        )
        .await;
    assert_eq!((status, told), (503, json!({"error": "the store does not answer"})));
}

// ---------------------------------------------------------------------------------------------------------------
// Who is told what
// ---------------------------------------------------------------------------------------------------------------

/// Every event type that the clients know and somebody may publish.
fn told_types() -> Vec<(EventType, Value)> {
    catalog::examples()
        .into_iter()
        .filter(|(event_type, _)| {
            Dialect::Product.supports(&EventKind::Known(*event_type)) && !event_type.spec().is_the_servers_own()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn prd_02_every_event_of_a_user_reaches_all_tabs_of_that_user_and_nobody_else() {
    let world = World::new();
    let (mut maria, mut tom) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        maria.push(world.open("maria").await);
        tom.push(world.open("tom").await);
    }
    for client in maria.iter_mut().chain(&mut tom) {
        read(client).await;
    }
    let mut seen = 0;
    for (event_type, mut data) in told_types() {
        let spec = event_type.spec();
        if event_type == EventType::UserActivity {
            data["user_id"] = json!("tom");
            world.publish(spec.name, "global", data).await;
            // Everyone but its author.
            for client in &mut maria {
                assert_eq!(news(client).await.len(), 1, "{}", spec.name);
            }
            for client in &mut tom {
                assert_eq!(news(client).await, Vec::<Value>::new(), "{}", spec.name);
            }
            seen += 1;
            continue;
        }
        assert!(spec.audiences.contains(&AudienceKind::User), "{}", spec.name);
        world.publish(spec.name, "user:maria", data.clone()).await;
        let told: Vec<Vec<Value>> = vec![news(&mut maria[0]).await, news(&mut maria[1]).await];
        assert!(told[0].len() == 1 && told[0] == told[1], "{} {told:?}", spec.name);
        for client in &mut tom {
            assert_eq!(news(client).await, Vec::<Value>::new(), "{}", spec.name);
        }
        // An owner whom nobody knows: nobody is told.
        world.publish(spec.name, "user:whoever", data.clone()).await;
        if spec.audiences.contains(&AudienceKind::Connection) {
            world.publish(spec.name, &format!("connection:{}", maria[0].id()), data).await;
            assert_eq!(news(&mut maria[0]).await, told[0]);
        }
        for client in maria.iter_mut().chain(&mut tom) {
            assert_eq!(news(client).await, Vec::<Value>::new(), "{}", spec.name);
        }
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[tokio::test(start_paused = true)]
async fn auth_17_separate_logins_and_the_users_of_tokens_never_hear_each_others_streams() {
    let asked = Arc::new(Asked::default());
    let world = World::whose_users_are(ProductUsers::Separate, asked.clone());
    let (mut login, mut other) = (world.open("maria").await, world.open("tom").await);
    let claims = Claims { user: Some("maria".parse().unwrap()), ..Claims::loopback() };
    let request = ConnectRequest::new(Principal::new("jwt:maria", claims), "memory");
    let mut token = world.hub.connect(request).await.unwrap();
    for client in [&mut login, &mut other] {
        read(client).await;
    }
    // An event of Product Demo's is for its user, any other for the user of tokens.
    world.publish("document.status", "user:maria", json!({"document_id": "d", "status": "indexed"})).await;
    assert_eq!((news(&mut login).await.len(), heard(&mut token).await.len()), (1, 0));
    world.publish("task.update", "user:maria", json!({"task_id": "t", "status": "running"})).await;
    let told = heard(&mut token).await;
    assert_eq!((told.len(), &told[0]["to"]), (1, &json!("user:maria")));
    assert_eq!((news(&mut login).await.len(), news(&mut other).await.len()), (0, 0));

    // Its pages and its application know the id that they always knew.
    login.send_text(json!({"type": "manual_connection"}).to_string()).await.unwrap();
    assert_eq!(news(&mut login).await[0]["userId"], "maria");
    login.send_text(json!({"type": "user_activity", "action": "reading"}).to_string()).await.unwrap();
    world.settle().await;
    assert_eq!(news(&mut login).await, Vec::<Value>::new(), "its author is not told");
    assert_eq!(news(&mut other).await[0]["userId"], "maria");
    assert_eq!(heard(&mut token).await[0]["data"]["user_id"], "product:maria");
    let activity = json!({"user_id": "maria", "username": "M", "action": "reading"});
    world.publish("user.activity", "global", activity).await;
    assert_eq!((news(&mut login).await.len(), news(&mut other).await.len(), heard(&mut token).await.len()), (0, 1, 1));
    let tool = json!({"type": "mcp_connect", "connectionId": "c", "host": "h", "port": 22, "username": "u"});
    login.send_text(tool.to_string()).await.unwrap();
    world.settle().await;
    let users: Vec<Option<String>> =
        asked.0.lock().unwrap().iter().map(|command| command.user_id.as_ref().map(ToString::to_string)).collect();
    assert!(users.iter().all(|user| user.as_deref() == Some("maria")), "{users:?}");
    // What a user misses waits for that user.
    drop(login);
    world.settle().await;
    world.publish("document.status", "user:maria", json!({"document_id": "e", "status": "indexed"})).await;
    let mut login = world.open("maria").await;
    let documents: Vec<Value> = news(&mut login).await.iter().map(|frame| frame["documentId"].clone()).collect();
    assert_eq!(documents, ["d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn prd_02_no_frame_and_no_header_makes_a_client_somebody_else() {
    let world = World::new();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("cookie", "connect.sid=s%3Atom.x; userId=maria; user=maria"),
        ("x-user-id", "maria"),
        ("authorization", "Bearer s%3Amaria.x"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let mut tom = world.open_as(&headers, Dialect::Product).await.unwrap();
    for frame in [
        json!({"type": "subscribe", "to": "user:maria"}),
        json!({"type": "subscribe", "data": {"streams": [{"to": "user:maria"}]}}),
        json!({"type": "subscribe", "session_id": "maria"}),
        json!({"type": "authenticate", "data": {"token": "s%3Amaria.x"}}),
        json!({"type": "manual_connection", "userId": "maria"}),
        json!({"type": "user_activity", "userId": "maria", "action": "viewing_document"}),
    ] {
        tom.send_text(frame.to_string()).await.unwrap();
    }
    let answers = read(&mut tom).await;
    let kinds: Vec<&str> = answers.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    let expected = ["connection_established", "error", "error", "error", "error", "manual_connection_confirmed"];
    assert_eq!(kinds, expected);
    assert_eq!(answers[5]["userId"], "tom");
    world.publish("rag.progress", "user:maria", json!({"query_id": "q", "stage": "retrieval"})).await;
    world
        .publish(
            "context.new_message",
            "session:maria",
            json!({"id": 1, "sender": "x", "content": "x", "visibility": "public"}),
        )
        .await;
    assert_eq!(read(&mut tom).await, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn collision_c14_later_clients_are_told_of_documents_in_their_own_form() {
    let world = World::new();
    let mut headers = HeaderMap::new();
    headers.insert("cookie", "connect.sid=s%3Amaria.x".parse().unwrap());
    let mut first = world.open("maria").await;
    let mut later = world.open_as(&headers, Dialect::ProductNested).await.unwrap();
    world.publish("document.status", "user:maria", json!({"document_id": "d", "status": "processing"})).await;
    assert_eq!(
        news(&mut first).await,
        [json!({"type": "document_status", "documentId": "d", "status": "PROCESSING", "progress": 30})]
    );
    assert_eq!(
        news(&mut later).await,
        [json!({"type": "document_status_update", "payload": {
            "documentId": "d", "status": "processing", "progress": 30, "timestamp": "2025-05-20T10:00:00.000Z",
        }})]
    );
}

// ---------------------------------------------------------------------------------------------------------------
// What clients ask
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn prd_03_what_a_user_does_is_told_to_everyone_else_with_the_name_that_the_login_has() {
    let world = World::new();
    let (mut author, mut other_tab, mut tom) =
        (world.open("maria").await, world.open("maria").await, world.open("tom").await);
    let frame = json!({"type": "user_activity", "action": "viewing_document", "documentId": "doc-456",
        "userId": "tom", "username": "somebody else"});
    author.send_text(frame.to_string()).await.unwrap();
    assert_eq!(news(&mut author).await, Vec::<Value>::new());
    assert_eq!(news(&mut other_tab).await, Vec::<Value>::new());
    assert_eq!(
        news(&mut tom).await,
        [json!({"type": "user_activity", "userId": "maria", "username": "maria L.", "action": "viewing_document",
            "documentId": "doc-456"})]
    );
}

#[tokio::test(start_paused = true)]
async fn prd_04_answers_go_to_the_socket_that_asked_and_nothing_wrong_closes_it() {
    let asked = Arc::new(Asked::default());
    let world = World::with(asked.clone());
    let (mut one, mut other) = (world.open("maria").await, world.open("maria").await);
    read(&mut one).await;
    read(&mut other).await;
    for text in [
        r#"{"type":"ping","timestamp":1747735200000}"#,
        r#"{"type":"manual_connection"}"#,
        "{",
        r#"{"type":"no_such_thing"}"#,
        r#"{"type":"mcp_connect","host":"tools.example.org","port":8080}"#,
    ] {
        one.send_text(text).await.unwrap();
    }
    one.send_bytes(&b"\xff\xfe"[..]).await.unwrap();
    one.send_text("x".repeat(70_000)).await.unwrap();
    one.send_text(r#"{"type":"ping"}"#).await.unwrap();
    let now = 1_747_735_200_000_u64;
    let answers = read(&mut one).await;
    assert_eq!(answers[0], json!({"type": "pong", "timestamp": now}));
    assert!(answers[0]["timestamp"].is_u64());
    assert_eq!(
        answers[1],
        json!({"type": "manual_connection_confirmed", "userId": "maria", "timestamp": now,
            "message": "The connection is there."})
    );
    for (answer, named) in answers[2..6].iter().zip(["JSON", "no_such_thing", "UTF-8", "limit"]) {
        assert!(answer["type"] == "error" && answer["error"].as_str().unwrap().contains(named), "{answer}");
    }
    assert_eq!(answers[6], json!({"type": "pong", "timestamp": now}));
    assert_eq!(answers.len(), 7);
    assert_eq!(read(&mut other).await, Vec::<Value>::new());
    let asked = asked.0.lock().unwrap();
    let [command] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((command.dialect.as_str(), command.name.as_str()), ("product", "mcp_connect"));
    assert_eq!(command.connection_id, one.id());
    assert_eq!(command.user_id.as_ref().unwrap().as_str(), "maria");
    assert_eq!(Value::Object(command.data.clone()), json!({"host": "tools.example.org", "port": 8080}));
}

#[tokio::test(start_paused = true)]
async fn prd_04_without_a_back_end_the_sender_is_told_so() {
    let world = World::new();
    let mut maria = world.open("maria").await;
    maria.send_text(r#"{"type":"mcp_execute_tool","tool":"read"}"#).await.unwrap();
    let answers = news(&mut maria).await;
    assert!(answers[0]["error"].as_str().unwrap().contains("no back end"), "{answers:?}");
}

// ---------------------------------------------------------------------------------------------------------------
// What waits
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn prd_05_who_returns_within_ten_minutes_gets_what_was_missed_once() {
    let world = World::new();
    let status =
        |document: &str, percent: u32| json!({"document_id": document, "status": "processing", "percent": percent});
    // Of somebody who was never here.
    world.publish("message.chunk", "user:maria", chunk("a")).await;
    world.publish("document.status", "user:maria", status("d", 1)).await;
    world.publish("document.status", "user:maria", status("d", 2)).await;
    world.publish("document.status", "user:maria", status("e", 3)).await;
    world.publish("message.chunk", "user:tom", chunk("tom's")).await;
    world.publish("document.status", "user:tom", status("tom", 4)).await;
    let mut maria = world.open("maria").await;
    let told = |frames: &[Value]| -> Vec<String> {
        let told = frames.iter().map(|frame| match frame["type"].as_str().unwrap() {
            "document_status" => format!("{}={}", frame["documentId"].as_str().unwrap(), frame["progress"]),
            _ => frame["content"].as_str().unwrap().to_owned(),
        });
        told.collect()
    };
    assert_eq!(told(&news(&mut maria).await), ["d=2", "e=3", "a"]);
    // Another tab is there already: only how the documents stand is sent again.
    let mut second = world.open("maria").await;
    assert_eq!(told(&news(&mut second).await), ["d=2", "e=3"]);
    world.publish("document.status", "user:maria", status("d", 5)).await;
    world.publish("message.chunk", "user:maria", chunk("b")).await;
    assert_eq!(told(&news(&mut maria).await), ["d=5", "b"]);
    assert_eq!(told(&news(&mut second).await), ["d=5", "b"]);
    maria.leave().await;
    world.publish("message.chunk", "user:maria", chunk("c")).await;
    assert_eq!(told(&news(&mut second).await), ["c"]);
    second.leave().await;
    // Away.
    world.publish("message.chunk", "user:maria", chunk("old")).await;
    world.publish("document.status", "user:maria", status("old", 6)).await;
    world.clock.advance(Duration::from_secs(300)).await;
    world.publish("message.chunk", "user:maria", chunk("new")).await;
    world.publish("document.status", "user:maria", status("new", 7)).await;
    world.clock.advance(Duration::from_secs(301)).await;
    // A page that reloads gets the newest status again, and nothing else.
    for expected in [&["new=7", "new"][..], &["new=7"]] {
        let mut maria = world.open("maria").await;
        assert_eq!(told(&news(&mut maria).await), expected);
        maria.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn prd_05_an_admission_that_comes_to_nothing_takes_nothing_away() {
    let world = World::new();
    world.publish("message.chunk", "user:maria", chunk("a")).await;
    world.publish("document.status", "user:maria", json!({"document_id": "d", "status": "embedding"})).await;
    let mut headers = HeaderMap::new();
    headers.insert("cookie", "connect.sid=s%3Amaria.x".parse().unwrap());
    drop(world.ask(&headers, Dialect::Product).await);
    let mut maria = world.open("maria").await;
    assert_eq!(news(&mut maria).await.len(), 2);
}

#[derive(Clone, Debug)]
enum Deed {
    Open(usize),
    Leave(usize, usize),
    Cut(usize, usize),
    Say(usize),
    Status(usize, u8),
    Wait(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let user = || 0..2_usize;
    prop_oneof![
        3 => user().prop_map(Deed::Open),
        2 => (user(), 0..3_usize).prop_map(|(user, tab)| Deed::Leave(user, tab)),
        1 => (user(), 0..3_usize).prop_map(|(user, tab)| Deed::Cut(user, tab)),
        4 => user().prop_map(Deed::Say),
        3 => (user(), 0..2_u8).prop_map(|(user, document)| Deed::Status(user, document)),
        2 => prop::sample::select(&[1_u64, 299, 300, 301, 599, 600, 601][..]).prop_map(Deed::Wait),
    ]
}

/// What the rules say, as a list of everything that was ever published: no positions, no table, no lock.
#[derive(Default)]
struct Oracle {
    now: u64,
    /// When and what of pieces that were missed, oldest first.
    missed: [Vec<(u64, String)>; 2],
    /// When, what, of which document.
    statuses: [Vec<(u64, String, u8)>; 2],
}

impl Oracle {
    /// What a socket that opens is told: the newest status of each document, and the pieces where the user had no socket.
    fn brought(&mut self, user: usize, is_first: bool) -> (BTreeSet<String>, Vec<String>) {
        let young = |at: u64| at + 600 >= self.now;
        let published = &self.statuses[user];
        let newest = published
            .iter()
            .enumerate()
            .filter(|(place, (_, _, document))| published[place + 1..].iter().all(|(_, _, of)| of != document));
        let statuses = newest.filter(|(_, (at, ..))| young(*at)).map(|(_, (_, text, _))| text.clone()).collect();
        let missed = if is_first { std::mem::take(&mut self.missed[user]) } else { Vec::new() };
        (statuses, missed.into_iter().filter(|(at, _)| young(*at)).map(|(_, text)| text).collect())
    }
}

/// Statuses and pieces that a client was told of.
fn sorted(frames: Vec<Value>) -> (BTreeSet<String>, Vec<String>) {
    let (mut statuses, mut pieces) = (BTreeSet::new(), Vec::new());
    for frame in frames {
        match frame["type"].as_str().unwrap() {
            "document_status" => {
                let text = frame["message"].as_str().unwrap().to_owned();
                assert!(statuses.insert(text), "{frame} came twice");
            }
            "message_chunk" => pieces.push(frame["content"].as_str().unwrap().to_owned()),
            other => panic!("{other}"),
        }
    }
    (statuses, pieces)
}

async fn run_deeds(deeds: Vec<Deed>) -> Result<(), TestCaseError> {
    let world = World::new();
    let names = ["maria", "tom"];
    let mut oracle = Oracle::default();
    let mut tabs: [Vec<MemoryClient>; 2] = Default::default();
    for (number, deed) in deeds.into_iter().enumerate() {
        match deed {
            Deed::Open(user) if tabs[user].len() < 3 => {
                let expected = oracle.brought(user, tabs[user].is_empty());
                let mut tab = world.open(names[user]).await;
                prop_assert_eq!(sorted(news(&mut tab).await), expected, "{} opens", names[user]);
                tabs[user].push(tab);
            }
            Deed::Leave(user, tab) if tab < tabs[user].len() => tabs[user].remove(tab).leave().await,
            Deed::Cut(user, tab) if tab < tabs[user].len() => tabs[user].remove(tab).cut().await,
            Deed::Say(_) | Deed::Status(..) => {
                let text = number.to_string();
                let (user, document) = match deed {
                    Deed::Status(user, document) => (user, Some(document)),
                    Deed::Say(user) => (user, None),
                    _ => unreachable!(),
                };
                let to = format!("user:{}", names[user]);
                match document {
                    Some(document) => {
                        let data =
                            json!({"document_id": format!("d{document}"), "status": "processing", "message": text});
                        world.publish("document.status", &to, data).await;
                    }
                    None => world.publish("message.chunk", &to, chunk(&text)).await,
                }
                match document {
                    Some(document) => oracle.statuses[user].push((oracle.now, text.clone(), document)),
                    None if tabs[user].is_empty() => oracle.missed[user].push((oracle.now, text.clone())),
                    None => {}
                }
                for tab in &mut tabs[user] {
                    let told = match document {
                        Some(_) => (BTreeSet::from([text.clone()]), vec![]),
                        None => (BTreeSet::new(), vec![text.clone()]),
                    };
                    prop_assert_eq!(sorted(news(tab).await), told);
                }
            }
            Deed::Wait(seconds) => {
                world.clock.advance(Duration::from_secs(seconds)).await;
                oracle.now += seconds;
            }
            _ => {}
        }
        for tab in tabs.iter_mut().flatten() {
            prop_assert_eq!(sorted(news(tab).await), Default::default(), "told of nothing else");
        }
    }
    Ok(())
}

#[test]
fn prd_05_whatever_comes_and_goes_every_event_reaches_its_user_as_the_rules_say() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&vec(deed(), 1..40), |deeds| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(run_deeds(deeds))
        })
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn prd_06_what_was_not_handed_to_the_last_socket_is_brought_to_the_next() {
    let world = World::new();
    let mut maria = world.open("maria").await;
    read(&mut maria).await;
    // It stops reading: frames fill the line, then the mailbox.
    maria.pause();
    for number in 0..900 {
        world
            .publish(
                "rag.progress",
                "user:maria",
                json!({"query_id": "q", "stage": "retrieval", "message": format!("{number}")}),
            )
            .await;
    }
    maria.resume();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for _ in 0..100 {
        told.insert(maria.next_frame().await.unwrap().value()["message"].as_str().unwrap().to_owned());
    }
    let before = told.len();
    maria.cut().await;
    let mut maria = world.open("maria").await;
    let brought = news(&mut maria).await;
    // What was on the line when it broke is lost, as on any socket; all the rest comes, and nothing twice.
    for frame in &brought {
        assert!(told.insert(frame["message"].as_str().unwrap().to_owned()), "{frame} came twice");
    }
    assert!(before == 100 && told.contains("899") && brought.len() > 300, "{before} {}", brought.len());
    let first: usize = brought[0]["message"].as_str().unwrap().parse().unwrap();
    assert_eq!(brought.len(), 900 - first, "from there on without a hole");
}

// ---------------------------------------------------------------------------------------------------------------
// Logins that end
// ---------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn prd_07_a_login_that_ends_soon_is_announced_every_minute_and_then_ends() {
    let world = World::new();
    let ends = |seconds: i64| Some(world.clock.now().plus_micros(seconds * 1_000_000));
    world.accounts.knows("s%3Amaria.x", "maria", ends(430));
    let (mut maria, mut second, mut tom) =
        (world.open("maria").await, world.open("maria").await, world.open("tom").await);
    let mut told = Vec::new();
    for _ in 0..7 {
        world.pass(60).await;
        let frames = news(&mut maria).await;
        assert_eq!(frames, news(&mut second).await);
        told.extend(frames);
    }
    let left = |seconds: u64| json!({"type": "session_update", "status": "expiring_soon", "expiresIn": seconds});
    // At 180 s 250 are left, and so on.
    assert_eq!(told, [left(250), left(190), left(130), left(70), left(10)]);
    world.pass(60).await;
    for client in [&mut maria, &mut second] {
        let end = client.read_until(|_| false).await.unwrap_err();
        let Closed::ByServer(code, reason) = end else { panic!("{end}") };
        assert_eq!((code.as_u16(), reason.as_str()), (1008, "Session expired"));
    }
    assert_eq!(news(&mut tom).await, Vec::<Value>::new());
    assert_eq!(world.hub.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn prd_07_a_socket_ends_with_its_login_and_is_told_before_however_short_the_login_lasts() {
    let world = World::new();
    let ends = |seconds: i64| Some(world.clock.now().plus_micros(seconds * 1_000_000));
    let left = |seconds: u64| json!({"type": "session_update", "status": "expiring_soon", "expiresIn": seconds});
    let closed = async |client: &mut MemoryClient| match client.read_until(|_| false).await.unwrap_err() {
        Closed::ByServer(code, reason) => (code.as_u16(), reason),
        other => panic!("{other:?}"),
    };
    // Less than a minute is left when it opens, and the next look at all logins is after its end.
    world.accounts.knows("s%3Amaria.x", "maria", ends(45));
    world.accounts.knows("s%3Atom.x", "tom", ends(90));
    let (mut maria, mut tom) = (world.open("maria").await, world.open("tom").await);
    world.pass(1).await;
    assert_eq!((news(&mut maria).await, news(&mut tom).await), (vec![left(45)], vec![]));
    world.pass(43).await;
    assert_eq!(news(&mut maria).await, Vec::<Value>::new());
    world.pass(1).await;
    assert_eq!(closed(&mut maria).await, (1008, "Session expired".to_owned()));
    world.pass(16).await;
    assert_eq!(news(&mut tom).await, [left(29)]);
    // It is renewed for half a minute more, which is noticed at its end, and ends at its new end.
    world.accounts.knows("s%3Atom.x", "tom", ends(60));
    world.pass(30).await;
    assert_eq!(news(&mut tom).await, [left(30)]);
    assert_eq!(world.hub.connection_count(), 1);
    world.pass(29).await;
    assert_eq!(news(&mut tom).await, Vec::<Value>::new());
    world.pass(1).await;
    assert_eq!(closed(&mut tom).await, (1008, "Session expired".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn prd_07_a_login_that_was_renewed_goes_on_and_one_that_was_ended_ends() {
    let world = World::new();
    let ends = |seconds: i64| Some(world.clock.now().plus_micros(seconds * 1_000_000));
    world.accounts.knows("s%3Amaria.x", "maria", ends(200));
    world.accounts.knows("s%3Atom.x", "tom", ends(200));
    let (mut maria, mut tom) = (world.open("maria").await, world.open("tom").await);
    // The page was used: its cookie was renewed without the socket knowing. Tom has logged out.
    world.accounts.knows("s%3Amaria.x", "maria", ends(86_400));
    world.accounts.forgets("s%3Atom.x");
    world.pass(61).await;
    assert_eq!(news(&mut maria).await, Vec::<Value>::new());
    assert!(matches!(tom.read_until(|_| false).await, Err(Closed::ByServer(code, _)) if code.as_u16() == 1008));
    for _ in 0..10 {
        world.pass(60).await;
        assert_eq!(news(&mut maria).await, Vec::<Value>::new());
    }
    // Whether a login was renewed cannot be told: it is believed up to its end, and no longer.
    world.accounts.knows("s%3Atom.x", "tom", ends(100));
    let mut tom = world.open("tom").await;
    world.accounts.fails_at("s%3Atom.x");
    world.pass(60).await;
    assert_eq!(news(&mut tom).await.len(), 1);
    world.pass(60).await;
    assert!(matches!(tom.read_until(|_| false).await, Err(Closed::ByServer(code, _)) if code.as_u16() == 1012));
}

#[tokio::test(start_paused = true)]
async fn auth_13_a_revoked_login_is_refused_when_it_comes_back_and_a_later_one_is_not() {
    let world = Arc::new(World::new());
    let user = |name: &str| Revocation::User(name.parse().unwrap());
    let (mut maria, mut tom) = (world.open("maria").await, world.open("tom").await);
    let (pipe, body) = piped();
    let installing = tokio::spawn({
        let world = world.clone();
        async move {
            let headers = [("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "text/plain")];
            world.post("/api/mcp/ssh/install/stream?installId=i", &headers, body).await
        }
    });
    pipe.send(b"npm install\n").await.unwrap();
    world.settle().await;

    assert_eq!(world.hub.revoke(&user("maria")).await.unwrap(), 1);
    let end = maria.read_until(|_| false).await.unwrap_err();
    assert!(matches!(&end, Closed::ByServer(code, _) if code.as_u16() == 4001), "{end}");
    let (status, summary) = installing.await.unwrap();
    assert_eq!((status, summary["success"].clone()), (401, json!(false)), "an installation is no way around it");
    // It comes straight back, and later, and by other ways, and after a page of another user was open.
    for wait in [0, 1, 3600, 30 * 86_400] {
        world.pass(wait).await;
        let refused = world.try_open(Some("connect.sid=s%3Amaria.x")).await.err().unwrap();
        assert_eq!(refused, (1008, "Authentication failed".to_owned()), "after {wait} s");
        let headers = [("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "text/plain")];
        let (status, _) = world.post("/api/mcp/ssh/install/stream?installId=i", &headers, answer::full("x\n")).await;
        assert_eq!(status, 401);
    }
    assert_eq!(news(&mut tom).await, Vec::<Value>::new());
    // Maria logs in again: another cookie, first seen after the revocation.
    world.accounts.knows("s%3Amaria2.x", "maria", None);
    let mut again = world.try_open(Some("connect.sid=s%3Amaria2.x")).await.unwrap();
    assert_eq!(read(&mut again).await[0]["type"], "connection_established");
    assert!(world.try_open(Some("connect.sid=s%3Amaria.x")).await.is_err());

    // By the name of the login alone, where the application gives it one; then everything.
    world.accounts.names("s%3Atom.x", "login-7");
    let mut named = world.open("tom").await;
    assert_eq!(world.hub.revoke(&Revocation::Token("login-7".into())).await.unwrap(), 1);
    assert!(matches!(named.read_until(|_| false).await, Err(Closed::ByServer(code, _)) if code.as_u16() == 4001));
    assert!(world.try_open(Some("connect.sid=s%3Atom.x")).await.is_err());
    assert_eq!(world.hub.revoke(&Revocation::All).await.unwrap(), 2);
    assert!(world.try_open(Some("connect.sid=s%3Amaria2.x")).await.is_err());
}

// ---------------------------------------------------------------------------------------------------------------
// Installations
// ---------------------------------------------------------------------------------------------------------------

/// A body that is written piece by piece.
fn piped() -> (tokio::sync::mpsc::Sender<&'static [u8]>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece: &'static [u8] = receiver.recv().await?;
        Some((Ok(http_body::Frame::data(Bytes::from_static(piece))), receiver))
    });
    (sender, StreamBody::new(pieces.boxed()).boxed_unsync())
}

#[tokio::test(start_paused = true)]
async fn prd_08_the_output_of_an_installation_is_told_line_by_line_as_it_comes() {
    let world = Arc::new(World::new());
    let (mut maria, mut tom) = (world.open("maria").await, world.open("tom").await);
    read(&mut maria).await;
    read(&mut tom).await;
    let (pipe, body) = piped();
    let posting = tokio::spawn({
        let world = world.clone();
        async move {
            let headers = [("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "text/plain; charset=utf-8")];
            world.post("/api/mcp/ssh/install/stream?installId=install-1", &headers, body).await
        }
    });
    let output = |text: &str| json!({"type": "mcp_install_progress", "installId": "install-1", "stage": "EXECUTING", "output": text});
    for (piece, told) in [
        (&b"npm install\nadded "[..], vec![output("npm install\n"), output("added ")]),
        (b"96 packages\n\nPassword", vec![output("96 packages\n"), output("\n"), output("Password")]),
        // Half of a character waits for the other half.
        (b"\xc3", vec![]),
        (b"\xa9?", vec![output("\u{e9}?")]),
    ] {
        pipe.send(piece).await.unwrap();
        let mut frames = Vec::new();
        while frames.len() < told.len() {
            frames.push(maria.next_frame().await.unwrap().value());
        }
        assert_eq!(frames, told);
        assert!(!posting.is_finished(), "it is told before the end");
    }
    drop(pipe);
    let (status, summary) = posting.await.unwrap();
    assert_eq!((status, summary), (200, json!({"success": true, "installId": "install-1", "events": 6})));
    assert_eq!(read(&mut maria).await, Vec::<Value>::new());
    assert_eq!(read(&mut tom).await, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn prd_08_lines_of_json_are_told_and_bad_ones_are_counted_and_named() {
    let world = World::new();
    let (mut maria, mut tom) = (world.open("maria").await, world.open("tom").await);
    read(&mut maria).await;
    read(&mut tom).await;
    let long = format!("{{\"installId\":\"i\",\"output\":\"{}\"}}", "x".repeat(70_000));
    let lines = [
        r#"{"installId":"i","stage":"CONNECTING"}"#,
        "not json",
        "",
        r#"{"stage":"EXECUTING","output":"added 96 packages\n","progress":50}"#,
        r#"{"progress":101}"#,
        r#"{"type":"document_status","documentId":"d","status":"x"}"#,
        &long,
        r#"{"type":"mcp_install","status":"success","message":"Done"}"#,
    ]
    .join("\n");
    let headers = [("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "application/x-ndjson")];
    let (status, summary) = world.post("/api/mcp/ssh/install/stream", &headers, answer::full(lines)).await;
    assert_eq!(status, 200);
    assert_eq!(summary["firstBadLine"]["line"], 2);
    assert_eq!(
        (&summary["success"], &summary["installId"], &summary["events"], &summary["badLines"]),
        (&json!(false), &json!("i"), &json!(3), &json!(4))
    );
    assert_eq!(
        news(&mut maria).await,
        [
            json!({"type": "mcp_install_progress", "installId": "i", "stage": "CONNECTING", "status": "connecting"}),
            json!({"type": "mcp_install_progress", "installId": "i", "stage": "EXECUTING",
                "output": "added 96 packages\n", "progress": 50}),
            json!({"type": "mcp_install_progress", "installId": "i", "stage": "SUCCESS", "status": "success",
                "message": "Done"}),
        ]
    );
    assert_eq!(news(&mut tom).await, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn prd_08_an_installation_is_told_to_whoever_sends_it_or_to_whom_a_publisher_names() {
    let world = World::new();
    let (mut maria, mut tom) = (world.open("maria").await, world.open("tom").await);
    read(&mut maria).await;
    read(&mut tom).await;
    let path = "/api/mcp/ssh/install/stream";
    for (query, headers, expected) in [
        ("", vec![("content-type", "text/plain")], 401),
        ("", vec![("cookie", "connect.sid=nobody"), ("content-type", "text/plain")], 401),
        ("", vec![("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "text/plain")], 422),
        ("?installId=a%20b", vec![("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "text/plain")], 422),
        ("?installId=i", vec![("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "image/png")], 415),
        ("?installId=i&who=tom", vec![("cookie", "connect.sid=s%3Amaria.x"), ("content-type", "text/plain")], 422),
        // On this hub everybody may publish.
        ("?installId=i&user=tom", vec![("content-type", "text/plain")], 200),
    ] {
        let (status, told) = world.post(&format!("{path}{query}"), &headers, answer::full("output\n")).await;
        assert_eq!(status, expected, "{query} {told}");
        assert_eq!(told.get("error").is_some(), expected != 200);
    }
    assert_eq!(news(&mut maria).await, Vec::<Value>::new());
    assert_eq!(news(&mut tom).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn prd_10_a_user_learns_how_many_are_connected_and_nothing_of_who_else() {
    let world = World::new();
    let _clients = (world.open("maria").await, world.open("maria").await, world.open("tom").await);
    let ask = async |cookie: &'static str| {
        let request = Request::get("/api/websocket/stats").header("cookie", cookie).body(answer::full("")).unwrap();
        let route = world.product.routes().iter().find(|route| route.matches("/api/websocket/stats")).unwrap();
        let response = world.product.answer(route, request, None).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let stats = json!({"totalConnections": 3, "uniqueUsers": 2,
        "userConnections": [{"userId": "maria", "connectionCount": 2}]});
    assert_eq!(ask("connect.sid=s%3Amaria.x").await, (200, stats));
    assert_eq!(ask("connect.sid=x").await, (401, json!({"error": "not logged in"})));
}
