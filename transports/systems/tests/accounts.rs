//! On whose account the events of the older systems are: everything that a client causes is on that of its holder (LIMIT-10,
//! LIMIT-15), or it could take the room of the process.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use eventwire_hub::{
    Checkpoint, Clock as _, CommandSink, Holder, Hub, MemoryBounds, MemoryHistory, Secret,
    history::{Append, Heads, History, Outcome, Page, PageBounds},
};
use eventwire_memory::{ManualClock, MemoryClient};
use eventwire_protocol::{
    ApplicationCommand, Committed, Dialect, Epoch, ErrorBody, Position, Target, Time, event::metrics::MetricsUpdate,
};
use eventwire_systems::{
    Admission, Ask, System,
    amiga::{self, Amiga, MetricsSource, Newcomer},
    answer,
    product::{self, LoginProof, Product, ResolvedUser, Shown, UserResolver},
    shared_context::{Bounds, KeptStore, SharedContext},
};
use http::{HeaderMap, Request};
use serde_json::json;

/// Where every client of these tests comes from.
const PEER: &str = "10.0.0.9";

fn peer() -> Option<IpAddr> {
    Some(PEER.parse().unwrap())
}

/// A history that notes the type of every event, and whose account it is on.
struct Recording {
    history: MemoryHistory,
    seen: Mutex<Vec<(String, Holder)>>,
}

impl Recording {
    fn new() -> Arc<Self> {
        let history = MemoryHistory::new(Epoch::from_bits(1), MemoryBounds::default());
        Arc::new(Self { history, seen: Mutex::default() })
    }

    /// The types that were committed since this was last asked; each must have been on the account of the holder.
    fn all_of(&self, holder: &Holder) -> BTreeSet<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert!(seen.iter().all(|(_, of)| of == holder), "not all on the account of {holder:?}: {seen:?}");
        seen.into_iter().map(|(kind, _)| kind).collect()
    }
}

#[async_trait]
impl History for Recording {
    async fn append(&self, now: Time, appends: Vec<Append>) -> Result<Vec<Result<Vec<Outcome>, ErrorBody>>, ErrorBody> {
        let records = appends.iter().flat_map(|append| &append.records);
        let seen = records.map(|record| (record.envelope.kind().as_str().to_owned(), record.holder.clone()));
        self.seen.lock().unwrap().extend(seen);
        self.history.append(now, appends).await
    }

    async fn heads(&self) -> Result<Heads, ErrorBody> {
        self.history.heads().await
    }

    async fn read(&self, now: Time, from: &[(Target, Position)], bounds: PageBounds) -> Result<Page, ErrorBody> {
        self.history.read(now, from, bounds).await
    }

    async fn latest(&self, now: Time, targets: &[Target]) -> Result<Vec<Arc<Committed>>, ErrorBody> {
        self.history.latest(now, targets).await
    }

    async fn checkpoints(&self, source: &str) -> Result<Vec<Checkpoint>, ErrorBody> {
        self.history.checkpoints(source).await
    }
}

/// A back end that notes whose commands it gets.
#[derive(Default)]
struct BackEnd(Mutex<Vec<Holder>>);

#[async_trait]
impl CommandSink for BackEnd {
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody> {
        self.submit_for(Holder::Local, command).await
    }

    async fn submit_for(&self, holder: Holder, _: ApplicationCommand) -> Result<(), ErrorBody> {
        self.0.lock().unwrap().push(holder);
        Ok(())
    }
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn admit(hub: &Hub, system: &dyn System, path: &str, headers: &HeaderMap, dialect: Dialect) -> MemoryClient {
    let route = system.routes().iter().find(|route| route.socket && route.matches(path)).unwrap();
    match system.admit(Ask { route, path, query: "", headers, peer: peer(), dialect }).await {
        Admission::Connect { request, handler, .. } => MemoryClient::connect_as(hub, *request, handler).await.unwrap(),
        Admission::Close(code, reason) => panic!("{code:?} {reason}"),
        Admission::Refuse(error) => panic!("{error}"),
    }
}

/// One user, whose login ends four minutes after the start.
struct Maria(Time);

#[async_trait]
impl UserResolver for Maria {
    async fn resolve(&self, shown: &Shown) -> Result<Option<ResolvedUser>, ErrorBody> {
        let proof = |session: &Secret| LoginProof::of(session.clone());
        Ok(shown.session.as_ref().map(|session| ResolvedUser {
            user: "maria".parse().unwrap(),
            username: None,
            role: None,
            expires_at: Some(self.0.plus_micros(240_000_000)),
            proof: proof(session),
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn limit_10_what_a_page_of_product_demo_causes_is_on_the_account_of_its_login() {
    let (history, back_end) = (Recording::new(), Arc::new(BackEnd::default()));
    let clock = ManualClock::starting("2025-05-20T10:00:00Z".parse().unwrap());
    let hub = Hub::builder().clock(clock.clone()).history(history.clone()).build();
    let settings = product::Settings { users: Arc::new(Maria(clock.now())), ..product::Settings::default() };
    let product = Product::new(hub.clone(), back_end.clone(), settings);
    let maria = Holder::Principal("product:maria".into());
    let headers: HeaderMap = [(http::header::COOKIE, "connect.sid=s%3Amaria.x".parse().unwrap())].into_iter().collect();
    let mut page = admit(&hub, &product, "/ws", &headers, Dialect::Product).await;
    page.send_text(r#"{"type":"user_activity","action":"viewing_document"}"#).await.unwrap();
    page.send_text(r#"{"type":"mcp_connect","host":"tools.example.org","port":8080}"#).await.unwrap();
    settle().await;
    assert_eq!(history.all_of(&maria), ["user.activity".to_owned()].into());
    assert_eq!(*back_end.0.lock().unwrap(), std::slice::from_ref(&maria));

    for (content_type, body) in
        [("text/plain", "Unpacking\n"), ("application/x-ndjson", "{\"installId\":\"i\",\"stage\":\"unpack\"}\n")]
    {
        let path = "/api/mcp/ssh/install/stream";
        let request = Request::post(format!("{path}?installId=i"))
            .header("cookie", "connect.sid=s%3Amaria.x")
            .header("content-type", content_type)
            .body(answer::full(body))
            .unwrap();
        let route = product.routes().iter().find(|route| route.matches(path)).unwrap();
        let answer = product.answer(route, request, peer()).await;
        assert_eq!(answer.status(), 200, "{body}");
        assert_eq!(history.all_of(&maria), ["install.progress".to_owned()].into(), "{content_type}");
    }

    clock.advance(Duration::from_secs(60)).await;
    settle().await;
    assert_eq!(history.all_of(&maria), ["session.expiring".to_owned()].into());
}

#[tokio::test(start_paused = true)]
async fn limit_15_that_a_client_of_shared_context_writes_is_on_the_account_of_its_peer() {
    let (history, kept) = (Recording::new(), KeptStore::new(Bounds::default()));
    let hub = Hub::builder().history(history.clone()).tap(kept.clone()).build();
    let system = SharedContext::new(hub.clone(), kept, eventwire_systems::shared_context::Settings::default());
    let stranger = Holder::of_peer(peer());
    let mut client = admit(&hub, &system, "/ws/s", &HeaderMap::new(), Dialect::SharedContext).await;
    client.send_text(json!({"type": "typing", "is_typing": true}).to_string()).await.unwrap();
    settle().await;
    assert_eq!(history.all_of(&stranger), ["context.typing".to_owned()].into());
    // A connection that ends while its user writes says so, too.
    drop(client);
    settle().await;
    assert_eq!(history.all_of(&stranger), ["context.typing".to_owned()].into());
}

struct Figures;

#[async_trait]
impl MetricsSource for Figures {
    async fn metrics(&self, hours: u32) -> Result<MetricsUpdate, ErrorBody> {
        let figures = json!({"overview": {}, "sessions": null, "activity": [], "window_hours": hours});
        Ok(serde_json::from_value(figures).unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn limit_15_figures_that_a_client_of_amiga_asked_for_are_on_the_account_of_its_peer() {
    let history = Recording::new();
    let hub = Hub::builder().history(history.clone()).build();
    let back_end = Arc::new(BackEnd::default());
    let amiga = Amiga::new(hub.clone(), back_end, Arc::new(Figures), amiga::Settings::default());
    let newcomer = Newcomer {
        token: None,
        socket_id: "a".to_owned(),
        peer: peer(),
        user_agent: None,
        as_bytes: Arc::new(|_, _| {}),
    };
    let (request, handler) = amiga.receive(newcomer).await.unwrap();
    let mut client = MemoryClient::connect_as(&hub, request, handler).await.unwrap();
    let stranger = Holder::of_peer(peer());
    for asked in [json!(["subscribe"]), json!(["request_refresh"])] {
        client.send_text(asked.to_string()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(history.all_of(&stranger), ["metrics.update".to_owned()].into(), "{asked}");
    }
}
