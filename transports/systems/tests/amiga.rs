//! AMIGA monitoring, without a socket and on a clock that stands still: who is told what, how often, and what it costs the
//! source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{ApiKeys, CommandSink, Hub, KeyDigest, NoBackEnd, Principal, Secret};
use eventwire_memory::MemoryClient;
use eventwire_protocol::{
    ApplicationCommand, Claims, Dialect, ErrorBody, ErrorCode, Scope, UserId,
    dialect::effects,
    event::metrics::{MetricsUpdate, TaskUpdate},
};
use eventwire_systems::{
    Body, System,
    amiga::{Amiga, MetricsSource, Newcomer, Settings},
    answer,
};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Figures as a test sets them.
#[derive(Default)]
struct Figures {
    total: AtomicU64,
    sessions: AtomicU64,
    looks: Mutex<BTreeMap<u32, usize>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    takes: Mutex<Duration>,
    fails: Mutex<Option<&'static str>>,
}

impl Figures {
    fn looks(&self) -> BTreeMap<u32, usize> {
        std::mem::take(&mut self.looks.lock().unwrap())
    }

    fn fail(&self, why: Option<&'static str>) {
        *self.fails.lock().unwrap() = why;
    }
}

#[async_trait]
impl MetricsSource for Figures {
    async fn metrics(&self, hours: u32) -> Result<MetricsUpdate, ErrorBody> {
        *self.looks.lock().unwrap().entry(hours).or_default() += 1;
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let takes = *self.takes.lock().unwrap();
        sleep(takes).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let fails = *self.fails.lock().unwrap();
        match fails {
            Some("panic") => panic!("asked for by a test"),
            Some(why) => return Err(ErrorBody::new(ErrorCode::Unavailable, why)),
            None => {}
        }
        let total = self.total.load(Ordering::SeqCst) * u64::from(hours);
        Ok(serde_json::from_value(json!({
            "overview": {"tasks": {"total": total}},
            "sessions": {"total_sessions": self.sessions.load(Ordering::SeqCst)},
            "activity": [{"description": "x", "time": "2025-10-20T13:35:23.4Z"}],
            "window_hours": hours,
        }))
        .unwrap())
    }
}

struct World {
    hub: Hub,
    figures: Arc<Figures>,
    amiga: Amiga,
}

fn world_of(hub: Hub, commands: Arc<dyn CommandSink>) -> World {
    let figures = Arc::new(Figures::default());
    let amiga = Amiga::new(hub.clone(), commands, figures.clone(), Settings::default());
    World { hub, figures, amiga }
}

fn world() -> World {
    world_of(Hub::new(), Arc::new(NoBackEnd))
}

type Switches = Arc<Mutex<Vec<(&'static str, bool)>>>;

struct Client {
    client: MemoryClient,
    as_bytes: Switches,
}

impl World {
    async fn connect(&self, socket_id: &str) -> Client {
        self.connect_with(socket_id, None).await.unwrap()
    }

    async fn connect_with(&self, socket_id: &str, token: Option<&str>) -> Result<Client, ErrorBody> {
        let switches = Switches::default();
        let told = switches.clone();
        let newcomer = Newcomer {
            token: token.map(Secret::new),
            socket_id: socket_id.to_owned(),
            peer: None,
            user_agent: None,
            as_bytes: Arc::new(move |event, as_bytes| told.lock().unwrap().push((event, as_bytes))),
        };
        let (request, handler) = self.amiga.receive(newcomer).await?;
        let client = MemoryClient::connect_as(&self.hub, request, handler).await?;
        let mut client = Client { client, as_bytes: switches };
        sleep(Duration::from_millis(1)).await;
        assert_eq!(client.now(), [json!(["connected", {"status": "connected", "client_id": socket_id}])]);
        Ok(client)
    }

    async fn ask(&self, path: &str) -> http::Response<Body> {
        let route = self.amiga.routes().iter().find(|route| route.matches(path.split('?').next().unwrap())).unwrap();
        let request = Request::get(path).body(answer::full(Bytes::new())).unwrap();
        self.amiga.answer(route, request, None).await
    }
}

impl Client {
    /// What has come by now.
    fn now(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.client.try_next_frame().unwrap()).map(|frame| frame.value()).collect()
    }

    async fn send(&mut self, event: Value) {
        self.client.send_text(event.to_string()).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }

    /// The answer to an event; nothing else may have come before.
    async fn asks(&mut self, event: Value) -> Value {
        self.send(event).await;
        let mut told = self.now();
        assert!(!told.is_empty());
        told.remove(0)
    }

    /// Totals of the updates that came by now; nothing else may have come.
    fn totals(&mut self) -> Vec<u64> {
        let told = self.now();
        let total = |update: &Value| {
            assert_eq!(update[0], "metrics_update", "{update}");
            update[1]["overview"]["tasks"]["total"].as_u64().unwrap()
        };
        told.iter().map(total).collect()
    }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn sio_12_a_subscription_is_confirmed_with_what_was_made_of_it_and_then_told_at_once() {
    let world = world();
    let mut client = world.connect("a").await;
    client.send(json!(["subscribe", {"hours": 500, "update_interval": 0}])).await;
    let told = client.now();
    assert_eq!(
        told[0],
        json!(["subscribed", {"status": "subscribed", "config": {"hours": 168, "update_interval": 1, "subscribed": true}}])
    );
    assert_eq!(told[1][0], "metrics_update");
    let members: Vec<&String> = told[1][1].as_object().unwrap().keys().collect();
    assert_eq!(members, ["overview", "sessions", "activity", "timestamp"]);
    assert_eq!(told.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sio_13_updates_come_when_something_changed_and_not_because_time_has_passed() {
    let world = world();
    let mut client = world.connect("a").await;
    client.send(json!(["subscribe"])).await;
    client.now();
    seconds(60).await;
    assert_eq!(client.totals(), [0_u64; 0]);
    let looks = world.figures.looks();
    assert!((29..=32).contains(&looks[&24]), "{looks:?}");
    world.figures.total.store(1, Ordering::SeqCst);
    seconds(3).await;
    assert_eq!(client.totals(), [24]);
    world.figures.sessions.store(1, Ordering::SeqCst);
    seconds(3).await;
    assert_eq!(client.totals(), [24]);
}

#[tokio::test(start_paused = true)]
async fn trap_t10_the_time_of_a_look_is_no_change_and_nobody_misses_its_first_update() {
    let world = world();
    let mut first = world.connect("a").await;
    first.send(json!(["subscribe"])).await;
    assert_eq!(first.now().len(), 2);
    seconds(10).await;
    // The figures are what they were when the first one was told.
    let mut second = world.connect("b").await;
    second.send(json!(["subscribe"])).await;
    assert_eq!(second.now().len(), 2);
    seconds(10).await;
    assert!(first.now().is_empty() && second.now().is_empty());
    // Whoever subscribes again begins again.
    second.send(json!(["subscribe"])).await;
    assert_eq!(second.now().len(), 2);
    assert!(first.now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sio_13_each_client_has_its_own_window_and_interval() {
    let world = world();
    let mut day = world.connect("a").await;
    let mut week = world.connect("b").await;
    day.send(json!(["subscribe", {"hours": 24, "update_interval": 1}])).await;
    week.send(json!(["subscribe", {"hours": 168, "update_interval": 10}])).await;
    day.now();
    week.now();
    for total in 1..=20 {
        world.figures.total.store(total, Ordering::SeqCst);
        seconds(1).await;
    }
    let (often, seldom) = (day.totals(), week.totals());
    assert!((19..=21).contains(&often.len()) && often.iter().all(|total| total % 24 == 0), "{often:?}");
    assert!((1..=3).contains(&seldom.len()) && seldom.iter().all(|total| total % 168 == 0), "{seldom:?}");
}

#[tokio::test(start_paused = true)]
async fn sio_14_a_window_is_computed_once_however_many_look_through_it() {
    let world = world();
    *world.figures.takes.lock().unwrap() = Duration::from_millis(200);
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = world.connect(&number.to_string()).await;
        client.client.send_text(json!(["subscribe", {"hours": 24}]).to_string()).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        client.client.send_text(json!(["request_refresh", {"hours": 24}]).to_string()).await.unwrap();
    }
    seconds(1).await;
    for client in &mut clients {
        assert!(client.now().iter().filter(|event| event[0] == "metrics_update").count() >= 1);
    }
    assert_eq!(world.figures.most_at_once.load(Ordering::SeqCst), 1);
    seconds(2).await;
    world.figures.looks();
    seconds(10).await;
    assert!(world.figures.looks()[&24] <= 6);
    assert_eq!(world.figures.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn sio_14_nobody_subscribed_nobody_looks() {
    let world = world();
    let mut client = world.connect("a").await;
    seconds(100).await;
    assert!(world.figures.looks().is_empty());
    client.send(json!(["subscribe"])).await;
    client.send(json!(["unsubscribe"])).await;
    world.figures.looks();
    seconds(100).await;
    assert!(world.figures.looks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sio_14_a_source_that_fails_hangs_or_panics_is_asked_again() {
    let world = world();
    let mut client = world.connect("a").await;
    let mut other = world.connect("b").await;
    client.send(json!(["subscribe", {"update_interval": 5}])).await;
    client.now();
    for (why, said) in [("database locked", "database locked"), ("panic", "the figures could not be computed")] {
        world.figures.fail(Some(why));
        seconds(6).await;
        let told = client.now();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0][0], "error");
        assert_eq!(told[0][1]["error"], said);
        assert!(told[0][1]["timestamp"].is_f64());
    }
    world.figures.fail(None);
    world.figures.total.store(1, Ordering::SeqCst);
    seconds(6).await;
    assert_eq!(client.totals(), [24]);
    *world.figures.takes.lock().unwrap() = Duration::from_secs(1000);
    seconds(17).await;
    assert_eq!(client.now()[0][1]["error"], "the figures took too long");
    *world.figures.takes.lock().unwrap() = Duration::ZERO;
    world.figures.total.store(2, Ordering::SeqCst);
    seconds(20).await;
    assert_eq!(client.now().last().unwrap()[1]["overview"]["tasks"]["total"], 48);
    assert!(other.now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sio_13_a_refresh_is_answered_without_a_subscription_and_to_nobody_else() {
    let world = world();
    world.figures.total.store(1, Ordering::SeqCst);
    let mut asking = world.connect("a").await;
    let mut other = world.connect("b").await;
    asking.send(json!(["request_refresh"])).await;
    assert_eq!(asking.totals(), [24]);
    asking.send(json!(["request_refresh", {"hours": 2}])).await;
    assert_eq!(asking.totals(), [2]);
    seconds(100).await;
    assert!(asking.now().is_empty() && other.now().is_empty());
    // Its own hours, once it has some.
    asking.send(json!(["subscribe", {"hours": 3}])).await;
    asking.now();
    asking.send(json!(["request_refresh"])).await;
    assert_eq!(asking.totals(), [3]);
    world.figures.fail(Some("database locked"));
    let told = asking.asks(json!(["request_refresh"])).await;
    assert_eq!((&told[0], &told[1]["error"]), (&json!("error"), &json!("database locked")));
    assert!(other.now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sio_13_unsubscribing_ends_updates_also_one_that_is_being_computed() {
    let world = world();
    let mut client = world.connect("a").await;
    *world.figures.takes.lock().unwrap() = Duration::from_millis(500);
    client.send(json!(["subscribe"])).await;
    assert_eq!(client.now().len(), 1);
    assert_eq!(client.asks(json!(["unsubscribe"])).await, json!(["unsubscribed", {"status": "unsubscribed"}]));
    world.figures.total.store(1, Ordering::SeqCst);
    seconds(100).await;
    assert!(client.now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sio_13_a_new_interval_counts_from_the_last_look() {
    let world = world();
    let mut client = world.connect("a").await;
    assert_eq!(
        client.asks(json!(["set_interval", {"interval": 100}])).await,
        json!(["interval_updated", {"interval": 60}])
    );
    client.send(json!(["subscribe", {"update_interval": 60}])).await;
    client.now();
    world.figures.total.store(1, Ordering::SeqCst);
    seconds(10).await;
    assert_eq!(client.totals(), [0_u64; 0]);
    client.send(json!(["set_interval", {"interval": 5}])).await;
    let told = client.now();
    assert_eq!(told[0], json!(["interval_updated", {"interval": 5}]));
    assert_eq!(told[1][0], "metrics_update");
}

#[tokio::test(start_paused = true)]
async fn sio_15_a_client_gets_the_figures_that_it_chose_and_is_told_of_changes_in_them_alone() {
    let world = world();
    let mut client = world.connect("a").await;
    client.send(json!(["subscribe", {"metrics": ["sessions"], "binary": true}])).await;
    let told = client.now();
    assert_eq!(told[1][1]["overview"], json!({}));
    assert_eq!(told[1][1]["activity"], json!([]));
    assert_eq!(told[1][1]["sessions"]["total_sessions"], 0);
    assert_eq!(*client.as_bytes.lock().unwrap(), [("metrics_update", true)]);
    world.figures.total.store(9, Ordering::SeqCst);
    seconds(10).await;
    assert!(client.now().is_empty());
    world.figures.sessions.store(4, Ordering::SeqCst);
    seconds(3).await;
    assert_eq!(client.now()[0][1]["sessions"]["total_sessions"], 4);
    client.send(json!(["subscribe"])).await;
    assert_eq!(client.as_bytes.lock().unwrap().last(), Some(&("metrics_update", false)));
}

#[tokio::test(start_paused = true)]
async fn sio_11_tasks_are_told_to_who_asked_for_them_and_no_other_room_can_be_joined() {
    let world = world();
    let mut asked = world.connect("a").await;
    let mut other = world.connect("b").await;
    asked.send(json!(["subscribe_tasks"])).await;
    for event in [
        json!(["join", {"room": "tasks"}]),
        json!(["subscribe", {"room": "tasks", "streams": [{"to": "room:tasks"}]}]),
        json!(["unsubscribe"]),
        json!({"type": "subscribe", "data": {"streams": [{"to": "room:tasks"}]}}),
        json!(["subscribe_tasks:tasks"]),
    ] {
        other.send(event).await;
    }
    assert!(asked.now().is_empty());
    let refused = other.now();
    assert_eq!(refused.iter().filter(|event| event[0] == "error").count(), 3, "{refused:?}");
    let task: TaskUpdate = serde_json::from_value(json!({"task_id": "t1", "status": "running"})).unwrap();
    world.hub.room("tasks".parse().unwrap()).publish(task).await.unwrap();
    seconds(1).await;
    assert_eq!(asked.now(), [json!(["task_update", {"task_id": "t1", "status": "running"}])]);
    assert!(other.now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sio_13_of_a_connection_that_is_gone_nothing_is_left() {
    let world = world();
    let mut clients = Vec::new();
    for number in 0..50 {
        let mut client = world.connect(&number.to_string()).await;
        client.send(json!(["subscribe", {"update_interval": 1}])).await;
        clients.push(client);
    }
    let stream = world.ask("/api/stream/metrics").await;
    seconds(1).await;
    assert_eq!(world.amiga.connections(), 51);
    drop(stream);
    for client in clients {
        client.client.leave().await;
    }
    seconds(5).await;
    assert_eq!((world.amiga.connections(), world.hub.connection_count()), (0, 0));
    world.figures.looks();
    seconds(100).await;
    assert!(world.figures.looks().is_empty());
}

/// What was asked of the application.
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

#[tokio::test(start_paused = true)]
async fn sio_19_a_message_of_the_chat_is_the_applications_to_answer() {
    let asked = Arc::new(Asked::default());
    let world = world_of(Hub::new(), asked.clone());
    let mut client = world.connect("a").await;
    client.send(json!(["message", {"message": "hello"}])).await;
    client.send(json!(["typing"])).await;
    assert_eq!(client.asks(json!(["ping"])).await[0], "pong");
    let commands = asked.0.lock().unwrap();
    assert_eq!(commands.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["message", "typing"]);
    assert_eq!(commands[0].connection_id, client.client.id());
    assert_eq!((commands[0].dialect.as_str(), &commands[0].data["message"]), ("amiga", &json!("hello")));
    assert_ne!(commands[0].id, commands[1].id);
}

#[tokio::test(start_paused = true)]
async fn sio_19_without_a_back_end_the_sender_is_told_and_nobody_else() {
    let world = world();
    let mut client = world.connect("a").await;
    let mut other = world.connect("b").await;
    let told = client.asks(json!(["message", {"message": "hello"}])).await;
    assert_eq!(told[0], "error");
    client.send(json!(["typing"])).await;
    assert!(client.now().is_empty() && other.now().is_empty());
}

fn keys() -> ApiKeys {
    let mut keys = ApiKeys::new();
    for name in ["maria", "tom"] {
        let claims = Claims { user: Some(name.parse::<UserId>().unwrap()), ..Claims::anonymous() };
        keys.add(KeyDigest::of(&format!("key-of-{name}")), Principal::new(name, claims)).unwrap();
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn auth_15_the_activity_names_runs_and_is_for_those_who_may_watch_every_run() {
    let mut keys = ApiKeys::new();
    for (name, adws) in [("all", Scope::All), ("some", Scope::Only(["aaaaaaaa".parse().unwrap()].into()))] {
        let claims = Claims { adws, ..Claims::anonymous() };
        keys.add(KeyDigest::of(&format!("key-of-{name}")), Principal::new(name, claims)).unwrap();
    }
    let world = world_of(Hub::builder().authenticator(keys).build(), Arc::new(NoBackEnd));
    for (name, entries) in [("all", 1), ("some", 0)] {
        let mut client = world.connect_with(name, Some(&format!("key-of-{name}"))).await.unwrap();
        client.send(json!(["subscribe", {"hours": 1}])).await;
        seconds(1).await;
        client.send(json!(["request_refresh", {"hours": 1}])).await;
        seconds(1).await;
        let told = client.now();
        let updates: Vec<&Value> = told.iter().filter(|event| event[0] == "metrics_update").collect();
        assert!(!updates.is_empty(), "{told:?}");
        for update in updates {
            assert_eq!(update[1]["activity"].as_array().unwrap().len(), entries, "{name}: {update}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sio_03_who_has_no_token_is_not_connected_and_hears_nothing_over_http() {
    let world = world_of(Hub::builder().authenticator(keys()).build(), Arc::new(NoBackEnd));
    for token in [None, Some("key-of-nobody")] {
        assert_eq!(world.connect_with("a", token).await.err().unwrap().code, ErrorCode::Unauthorized);
    }
    assert_eq!(world.amiga.connections(), 0);
    assert!(world.connect_with("a", Some("key-of-maria")).await.is_ok());
    for path in ["/api/stream/metrics", "/api/metrics/overview"] {
        assert_eq!(world.ask(path).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn sio_13_two_users_with_two_tabs_each_are_told_what_each_tab_asked() {
    let world = world_of(Hub::builder().authenticator(keys()).build(), Arc::new(NoBackEnd));
    world.figures.total.store(1, Ordering::SeqCst);
    let mut tabs = Vec::new();
    for (number, key) in ["key-of-maria", "key-of-maria", "key-of-tom", "key-of-tom"].into_iter().enumerate() {
        tabs.push(world.connect_with(&number.to_string(), Some(key)).await.unwrap());
    }
    tabs[0].send(json!(["subscribe", {"hours": 1}])).await;
    tabs[2].send(json!(["subscribe", {"hours": 2}])).await;
    tabs[3].send(json!(["request_refresh", {"hours": 3}])).await;
    seconds(10).await;
    let told: Vec<Vec<Value>> = tabs.iter_mut().map(Client::now).collect();
    let total = |event: &Value| event[1]["overview"]["tasks"]["total"].clone();
    assert_eq!((told[0].len(), total(&told[0][1])), (2, json!(1)));
    assert!(told[1].is_empty(), "the other tab of the same user asked for nothing: {:?}", told[1]);
    assert_eq!((told[2].len(), total(&told[2][1])), (2, json!(2)));
    assert_eq!((told[3].len(), total(&told[3][0])), (1, json!(3)));
}

async fn text(response: http::Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn sio_16_a_stream_tells_figures_without_a_name_heartbeats_between_and_errors_with_one() {
    let world = world();
    world.figures.total.store(1, Ordering::SeqCst);
    let response = world.ask("/api/stream/metrics?hours=2").await;
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!((header("cache-control"), header("x-accel-buffering")), ("no-cache".into(), "no".into()));
    assert_eq!(header("connection"), "keep-alive");
    let mut body = response.into_body();
    let mut next = async || {
        let frame = body.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    let first = next().await;
    let update: Value = serde_json::from_str(first.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(update["overview"]["tasks"]["total"], 2);
    assert!(first.ends_with("\n\n"));
    assert_eq!(next().await, ": heartbeat\n\n");
    world.figures.fail(Some("database locked"));
    let mut told = next().await;
    while told == ": heartbeat\n\n" {
        told = next().await;
    }
    assert_eq!(told, "event: error\ndata: {\"error\":\"database locked\"}\n\n");
    world.figures.fail(None);
    world.figures.total.store(2, Ordering::SeqCst);
    let mut told = next().await;
    while !told.starts_with("data: ") {
        told = next().await;
    }
    assert!(told.contains("\"total\":4"));
}

#[tokio::test(start_paused = true)]
async fn sio_17_the_overview_of_now_or_500_with_an_error() {
    let world = world();
    world.figures.total.store(1, Ordering::SeqCst);
    let response = world.ask("/api/metrics/overview?hours=3&_=17").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, r#"{"tasks":{"total":3,"running":0,"completed":0,"failed":0}}"#);
    world.figures.fail(Some("database locked"));
    let response = world.ask("/api/metrics/overview").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text(response).await, r#"{"error":"database locked"}"#);
    for path in ["/api/metrics/overview?hours=x", "/api/stream/metrics?hours=1.5"] {
        let response = world.ask(path).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(text(response).await.contains("hours"));
    }
}

#[tokio::test]
async fn sio_18_the_test_page_has_its_title_and_brings_nothing_from_elsewhere() {
    let world = world();
    let response = world.ask("/websocket-test").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = text(response).await;
    assert!(page.contains("<title>WebSocket Dashboard Test</title>"));
    assert!(!page.contains("src=") && !page.contains("<link") && !page.contains("innerHTML"));
}

#[tokio::test(start_paused = true)]
async fn trap_t11_the_groups_of_an_update_are_those_that_its_dashboard_reads() {
    let world = world();
    let mut client = world.connect("a").await;
    client.send(json!(["request_refresh"])).await;
    let update = client.now().remove(0);
    assert!(update[1]["overview"].get("tasks").is_some());
    assert!(update[1]["overview"].get("task_statistics").is_none());
}

#[tokio::test(start_paused = true)]
async fn sio_14_the_task_that_looks_ends_with_the_last_who_could_ask() {
    let world = world();
    let figures = world.figures.clone();
    let mut client = world.connect("a").await;
    client.send(json!(["subscribe"])).await;
    drop(client);
    drop(world);
    seconds(10).await;
    assert_eq!(Arc::strong_count(&figures), 1);
}
