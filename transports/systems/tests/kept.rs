//! Kept events on joining (FLOW-10): the test walks the catalog and the table, with a page of each older system.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::sync::Arc;

use async_trait::async_trait;
use eventwire_hub::{Hub, NoBackEnd, Principal, Secret};
use eventwire_memory::{Closed, Frame, MemoryClient};
use eventwire_protocol::{
    AudienceKind, Claims, CloseCode, Committed, Dialect, Envelope, ErrorBody, EventKind, EventType, Publication,
    catalog,
    dialect::kept::{OnJoining, table},
    limits,
};
use eventwire_systems::{
    Admission, Ask, System, adw, monadic, product,
    shared_context::{self, KeptStore},
};
use http::{HeaderMap, header};
use serde_json::{Value, json};

/// Everyone is maria.
struct Maria;

#[async_trait]
impl product::UserResolver for Maria {
    async fn resolve(&self, _: &product::Shown) -> Result<Option<product::ResolvedUser>, ErrorBody> {
        let user = "maria".parse().unwrap();
        let proof = product::LoginProof::of(Secret::new("maria"));
        Ok(Some(product::ResolvedUser { user, username: None, role: None, expires_at: None, proof }))
    }
}

struct World {
    hub: Hub,
    system: Arc<dyn System>,
    dialect: Dialect,
    cookie: String,
}

impl World {
    fn new(dialect: Dialect) -> Self {
        let conversations = monadic::State::new();
        let contexts = KeptStore::new(shared_context::Bounds::default());
        let taps = Hub::builder().tap(conversations.clone()).tap(contexts.clone());
        let hub = taps.build();
        let mut cookie = "connect.sid=s%3Amaria.x".to_owned();
        let commands = Arc::new(NoBackEnd);
        let system: Arc<dyn System> = match dialect.family() {
            Dialect::Monadic => {
                let monadic = monadic::Monadic::new(hub.clone(), commands, conversations, monadic::Settings::default());
                cookie = format!("{}={}", monadic::COOKIE, monadic.cookie(&HeaderMap::new()).0.reveal());
                Arc::new(monadic)
            }
            Dialect::Product => {
                let settings = product::Settings { users: Arc::new(Maria), ..product::Settings::default() };
                Arc::new(product::Product::new(hub.clone(), commands, settings))
            }
            Dialect::SharedContext => {
                let settings = shared_context::Settings::default();
                Arc::new(shared_context::SharedContext::new(hub.clone(), contexts, settings))
            }
            _ => Arc::new(adw::Adw::new(hub.clone(), commands, adw::Settings::default())),
        };
        Self { hub, system, dialect, cookie }
    }

    async fn join(&self) -> MemoryClient {
        let path = match self.dialect {
            Dialect::Monadic => "/",
            Dialect::SharedContext => "/ws/s",
            Dialect::SharedContextTools => "/mcp/s",
            Dialect::AdwTrigger => "/ws/trigger",
            _ => "/ws",
        };
        let route = self.system.routes().iter().find(|route| route.socket && route.matches(path)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, self.cookie.parse().unwrap());
        let ask = Ask { route, path, query: "", headers: &headers, peer: None, dialect: self.dialect };
        let Admission::Connect { request, handler, .. } = self.system.admit(ask).await else { panic!("not admitted") };
        MemoryClient::connect_as(&self.hub, *request, handler).await.unwrap()
    }

    /// Where events of the type go that a page of the dialect receives.
    fn target(&self, event_type: EventType, page: &MemoryClient, example: &Value) -> String {
        let session = || self.hub.connections()[0].session_id.clone();
        match event_type.spec().audiences[0] {
            AudienceKind::Global => "global".to_owned(),
            AudienceKind::User => "user:maria".to_owned(),
            AudienceKind::Adw => format!("adw:{}", example["adw_id"].as_str().unwrap()),
            AudienceKind::Session if self.dialect == Dialect::Monadic => format!("session:{}", session().unwrap()),
            AudienceKind::Session => "session:s".to_owned(),
            AudienceKind::Connection => format!("connection:{}", page.id()),
            other => panic!("{event_type}: {other:?}"),
        }
    }
}

async fn heard(page: &mut MemoryClient) -> Vec<Value> {
    page.drain().await.iter().filter(|frame| frame.bytes.starts_with(b"{")).map(Frame::value).collect()
}

#[tokio::test]
async fn flow_10_a_page_that_joins_gets_a_kept_event_exactly_where_the_table_says_so() {
    let mut walked = 0;
    for (event_type, example) in catalog::examples() {
        for dialect in Dialect::ALL {
            let decisions = table(*dialect).into_iter().flatten();
            let Some((_, decision)) = decisions.clone().find(|(of, _)| *of == event_type) else { continue };
            if dialect.family() == Dialect::Amiga {
                // Nothing keeps an event for one connection, and AMIGA has no others.
                assert_eq!(event_type.spec().audiences, [AudienceKind::Connection]);
                continue;
            }
            walked += 1;
            let world = World::new(*dialect);
            let mut here = world.join().await;
            heard(&mut here).await;
            let to = world.target(event_type, &here, &example);
            let publication = json!({"type": event_type.spec().name, "to": to, "data": example}).to_string();
            let publisher = Principal::new("back end", Claims::loopback());
            let receipts = world.hub.publish(&publisher, vec![Publication::decode(&publication)]).await.unwrap();
            receipts.into_iter().next().unwrap().unwrap();
            let live = heard(&mut here).await;
            assert_eq!(live.len(), 1, "{dialect:?} {event_type}: {live:?}");
            let kind = live[0]["type"].clone();
            let mut late = world.join().await;
            let joining = heard(&mut late).await;
            let times = joining.iter().filter(|frame| frame["type"] == kind).count();
            match decision {
                OnJoining::Sent => assert!(times >= 1, "{dialect:?} {event_type}: {joining:?}"),
                OnJoining::Withheld => assert_eq!(times, 0, "{dialect:?} {event_type}: {joining:?}"),
            }
            assert_eq!(heard(&mut here).await, Vec::<Value>::new(), "{dialect:?} {event_type}: told again");
        }
    }
    // Nine of Monadic Chat, one of each form of Product, one of each of Shared Context, three of each of ADW.
    assert_eq!(walked, 9 + 2 + 2 + 6);
}

/// A hub of ADW runs, and clients of it.
struct Runs {
    world: World,
    publisher: Principal,
}

impl Runs {
    /// With room for so many frames in each mailbox.
    fn new(frames: usize) -> Self {
        let mailbox = eventwire_protocol::delivery::MailboxBounds { frames, ..Default::default() };
        let settings = eventwire_hub::Settings { mailbox, ..Default::default() };
        let hub = Hub::builder().settings(settings).build();
        let system = adw::Adw::new(hub.clone(), Arc::new(NoBackEnd), adw::Settings::default());
        let world = World { hub, system: Arc::new(system), dialect: Dialect::Adw, cookie: "none=1".to_owned() };
        Self { world, publisher: Principal::new("back end", Claims::loopback()) }
    }

    /// Publishes a kept event of a run.
    async fn status(&self, run: &str) {
        let data = json!({"adw_id": run, "status": "in_progress"});
        let publication =
            json!({"type": "adw.agent_summary_update", "to": format!("adw:{run}"), "data": data}).to_string();
        self.world.hub.publish(&self.publisher, vec![Publication::decode(&publication)]).await.unwrap();
    }
}

/// An event that is news and found no room comes when there is room; older values of its kind do not come with it.
#[tokio::test]
async fn flow_10_news_that_found_no_room_comes_later_without_what_was_before() {
    let hub = Runs::new(8);
    let runs: Vec<String> = (0..2_000).map(|number| format!("run{number:05}")).collect();
    hub.status("old00000").await;
    let mut page = hub.world.join().await;
    heard(&mut page).await;
    hub.status("seen0000").await;
    assert_eq!(heard(&mut page).await.len(), 1);
    page.pause();
    for run in &runs {
        hub.status(run).await;
    }
    page.resume();
    let mut told: Vec<String> = Vec::new();
    while told.len() < runs.len() {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(20), page.next_frame()).await;
        let frame = frame.unwrap_or_else(|_| panic!("only {} came", told.len())).unwrap().value();
        told.push(frame["data"]["adw_id"].as_str().unwrap().to_owned());
    }
    told.extend(heard(&mut page).await.iter().map(|frame| frame["data"]["adw_id"].to_string()));
    told.sort();
    assert_eq!(told, runs);
}

/// Notes about values without room are bounded, above what as many values as are kept need.
#[tokio::test]
async fn limit_17_a_page_for_which_more_values_wait_than_are_kept_is_closed() {
    let hub = Runs::new(limits::MAILBOX_FRAMES);
    let mut page = hub.world.join().await;
    heard(&mut page).await;
    let run = |number: usize| format!("run{number:05}");
    page.pause();
    for number in 0..limits::LATEST_KEYS {
        hub.status(&run(number)).await;
    }
    page.resume();
    let mut newest = std::collections::BTreeSet::new();
    while newest.len() < limits::LATEST_KEYS {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(60), page.next_frame()).await;
        let frame = frame.unwrap_or_else(|_| panic!("only {} came", newest.len())).unwrap().value();
        newest.insert(frame["data"]["adw_id"].as_str().unwrap().to_owned());
    }
    assert!(newest.into_iter().eq((0..limits::LATEST_KEYS).map(run)));
    page.pause();
    // Of each, the target and the note take more than 80 bytes.
    for number in 0..limits::DEFERRED_BYTES / 80 {
        hub.status(&run(number)).await;
    }
    page.resume();
    let closed = loop {
        match tokio::time::timeout(std::time::Duration::from_secs(60), page.next_frame()).await.expect("an end") {
            Ok(_) => {}
            Err(closed) => break closed,
        }
    };
    assert!(matches!(closed, Closed::ByServer(CloseCode::SlowConsumer, _)), "{closed:?}");
}

/// The frame of an event is what routing would send, so that the walk compares like with like.
#[test]
fn flow_10_a_vendor_event_is_nobodys_news() {
    let kind = EventKind::parse("_shop.order_paid").unwrap();
    for dialect in Dialect::ALL {
        assert_eq!(dialect.on_joining(&kind), OnJoining::Sent);
    }
    let probe = Envelope::probe(kind, "global".parse().unwrap()).unwrap();
    assert_eq!(Dialect::Adw.encode(&Committed::new(probe, None)), None);
}
