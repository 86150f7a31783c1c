//! One gateway, clients of every dialect on real sockets: each reads its own dialect and nothing of another (ROUTE-05).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Gateway, publish, soon};
use eventwire_protocol::address::AudienceKind;
use eventwire_protocol::{Dialect, catalog};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The golden vectors of a dialect; a variant has those of its family, but for the types that its own file is about.
fn vectors(dialect: Dialect) -> Vec<Value> {
    let read = |dialect: Dialect| -> Vec<Value> {
        let path = format!("{}/../../conformance/vectors/{}.json", env!("CARGO_MANIFEST_DIR"), dialect.as_str());
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let mut vectors = read(dialect);
    if dialect.family() != dialect {
        let told: BTreeSet<String> = vectors.iter().map(|vector| vector["type"].to_string()).collect();
        vectors.extend(read(dialect.family()).into_iter().filter(|it| !told.contains(&it["type"].to_string())));
    }
    vectors
}

/// The words of a dialect: of each event type, what its frames call themselves.
fn words(dialect: Dialect) -> BTreeMap<String, BTreeSet<String>> {
    let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for vector in vectors(dialect).iter().filter(|vector| !vector["frame"].is_null()) {
        words.entry(vector["type"].as_str().unwrap().into()).or_default().insert(name(&vector["frame"]).into());
    }
    words
}

/// What a frame calls itself, in whatever dialect it is.
fn name(frame: &Value) -> &str {
    frame.get("type").or_else(|| frame.get(0)).and_then(Value::as_str).unwrap_or_default()
}

/// Says of every cookie that it is this user's.
async fn accounts(user: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(move |_| async move {
                let body = Full::new(bytes::Bytes::from(json!({"userId": user}).to_string()));
                let response = hyper::Response::builder().header("content-type", "application/json");
                Ok::<_, Infallible>(response.body(body).unwrap())
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

/// A client of one dialect.
struct Client {
    dialect: Dialect,
    socket: Socket,
}

impl Client {
    async fn open(dialect: Dialect, url: String) -> Self {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("cookie", "connect.sid=s%3Aabc.def".parse().unwrap());
        let (socket, _) = soon("a socket", tokio_tungstenite::connect_async(request)).await.unwrap();
        let mut client = Self { dialect, socket };
        if dialect == Dialect::Amiga {
            // Engine.IO has opened; this opens the namespace.
            client.socket.send(Message::text("40")).await.unwrap();
            assert_eq!(name(&client.frame().await), "connected");
            client.socket.send(Message::text(r#"42["subscribe_tasks"]"#)).await.unwrap();
        }
        client
    }

    /// The next frame.
    async fn frame(&mut self) -> Value {
        soon("a frame", async {
            loop {
                let message = self.socket.next().await.unwrap().unwrap();
                if let Some(frame) = self.read(message) {
                    return frame;
                }
            }
        })
        .await
    }

    /// The frames that come until nothing comes for a moment.
    async fn frames(&mut self, pause: Duration) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Ok(Some(Ok(message))) = tokio::time::timeout(pause, self.socket.next()).await {
            frames.extend(self.read(message));
        }
        frames
    }

    /// What a message of the socket holds, if it is a frame of the dialect.
    fn read(&self, message: Message) -> Option<Value> {
        let Message::Text(text) = message else { return None };
        let text = match self.dialect {
            // The packets of Engine.IO and Socket.IO; events are 42.
            Dialect::Amiga => text.strip_prefix("42")?,
            _ => text.as_str(),
        };
        Some(serde_json::from_str(text).unwrap_or_else(|_| panic!("{:?} read {text}", self.dialect)))
    }
}

/// Waits until the dashboard is in the room that it asked for; nothing tells it so.
async fn joined(gateway: &Gateway) {
    soon("the room of tasks", async {
        loop {
            let listed = common::get(gateway, "/v1/connections").await.json();
            let mut connections = listed["connections"].as_array().unwrap().iter();
            if connections.any(|it| it["dialect"] == "amiga" && it["subscriptions"] == json!(["room:tasks"])) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn route_05_on_real_sockets_no_frame_of_one_dialect_reaches_a_client_of_another() {
    let accounts = accounts("u").await;
    let names = ["monadic", "product", "product_nested", "amiga", "shared_context", "adw", "adw_trigger"];
    let gateway =
        Gateway::speaking(&names, &["--single-user", "--product-lookup-url", &format!("http://{accounts}/me")]);
    let at = |name: &str| gateway.at(name);
    let mut clients = Vec::new();
    for (dialect, url) in [
        (Dialect::Canonical, format!("ws://{}/v1/ws?room=tasks&context=s&adw=29fb6a3e", gateway.address)),
        (Dialect::Monadic, format!("ws://{}/", at("monadic"))),
        (Dialect::Product, format!("ws://{}/ws", at("product"))),
        (Dialect::ProductNested, format!("ws://{}/ws", at("product_nested"))),
        (Dialect::Amiga, format!("ws://{}/socket.io/?EIO=4&transport=websocket", at("amiga"))),
        (Dialect::SharedContext, format!("ws://{}/ws/s", at("shared_context"))),
        (Dialect::SharedContextTools, format!("ws://{}/mcp/s", at("shared_context"))),
        (Dialect::Adw, format!("ws://{}/ws", at("adw"))),
        (Dialect::AdwTrigger, format!("ws://{}/ws/trigger", at("adw_trigger"))),
        // Chosen by the request, on the listener of our own.
        (Dialect::Adw, format!("ws://{}/ws", gateway.address)),
        (Dialect::Product, format!("ws://{}/ws?dialect=product", gateway.address)),
    ] {
        clients.push(Client::open(dialect, url).await);
    }
    joined(&gateway).await;
    for client in &mut clients {
        client.frames(Duration::from_millis(300)).await;
    }
    let listed = common::get(&gateway, "/v1/connections").await.json();
    let browser = listed["connections"].as_array().unwrap().iter().find(|it| it["dialect"] == "monadic").unwrap();
    let session = browser["session_id"].as_str().unwrap().to_owned();

    let mut sent: BTreeMap<&str, String> = BTreeMap::new();
    for (event_type, mut data) in catalog::examples() {
        let spec = event_type.spec();
        let to = match spec.audiences.iter().find(|kind| **kind != AudienceKind::Connection) {
            Some(AudienceKind::Session) if spec.family == "chat" => format!("session:{session}"),
            Some(AudienceKind::Session) => "session:s".to_owned(),
            Some(AudienceKind::User) => "user:u".to_owned(),
            Some(AudienceKind::Room) => "room:tasks".to_owned(),
            Some(AudienceKind::Global) => "global".to_owned(),
            Some(AudienceKind::Adw) => "adw:29fb6a3e".to_owned(),
            Some(AudienceKind::Connection) | None => continue,
        };
        if data.get("adw_id").is_some() {
            data["adw_id"] = json!("29fb6a3e");
        }
        if spec.name == "context.new_message" {
            data["visibility"] = json!("public");
        }
        publish(&gateway, json!({"type": spec.name, "to": to, "data": data})).await;
        sent.insert(spec.name, to);
    }
    for client in &mut clients {
        let dialect = client.dialect;
        let frames = client.frames(Duration::from_millis(500)).await;
        let read: BTreeSet<&str> = frames.iter().map(name).collect();
        if dialect == Dialect::Canonical {
            assert!(frames.iter().all(|frame| frame.get("to").is_some()), "{frames:?}");
            continue;
        }
        let words = words(dialect);
        let known: BTreeSet<&str> = words.values().flatten().map(String::as_str).collect();
        let foreign: Vec<&&str> = read.difference(&known).collect();
        assert!(foreign.is_empty(), "{dialect:?} read {foreign:?}");
        assert!(frames.iter().all(|frame| frame.get("to").is_none()), "{dialect:?} read a canonical frame");
        // And it was told of everything that was published for it in its own words.
        // Nobody has said who the dashboard's user is, so what goes to a user does not go there.
        let for_it = |to: &str| dialect != Dialect::Amiga || !to.starts_with("user:");
        let due: Vec<&str> = sent
            .iter()
            .filter(|(of, to)| words.contains_key(**of) && **of != "user.activity" && for_it(to))
            .map(|(of, _)| *of)
            .collect();
        assert!(due.len() >= 3, "{dialect:?} {due:?}");
        for of in due {
            assert!(words[of].iter().any(|word| read.contains(word.as_str())), "{dialect:?} missed {of}: {read:?}");
        }
    }
}

#[tokio::test]
async fn route_05_on_a_real_socket_every_golden_frame_arrives_as_its_vector_says() {
    let accounts = accounts("user-123").await;
    let names = ["monadic", "product", "product_nested", "amiga", "shared_context", "adw", "adw_trigger"];
    let gateway = Gateway::speaking(&names, &["--product-lookup-url", &format!("http://{accounts}/me")]);
    let at = |name: &str| gateway.at(name);
    for (dialect, url, least) in [
        (Dialect::Monadic, format!("ws://{}/", at("monadic")), 85),
        (Dialect::Product, format!("ws://{}/ws", at("product")), 25),
        (Dialect::ProductNested, format!("ws://{}/ws", at("product_nested")), 25),
        (Dialect::Amiga, format!("ws://{}/socket.io/?EIO=4&transport=websocket", at("amiga")), 6),
        (Dialect::SharedContext, format!("ws://{}/ws/session_abc123", at("shared_context")), 6),
        (Dialect::SharedContextTools, format!("ws://{}/mcp/session_abc123", at("shared_context")), 6),
        (Dialect::Adw, format!("ws://{}/ws", at("adw")), 30),
        (Dialect::AdwTrigger, format!("ws://{}/ws/trigger", at("adw_trigger")), 30),
    ] {
        let mut client = Client::open(dialect, url).await;
        if dialect == Dialect::Amiga {
            joined(&gateway).await;
        }
        client.frames(Duration::from_millis(300)).await;
        let listed = common::get(&gateway, "/v1/connections").await.json();
        let mut own = listed["connections"].as_array().unwrap().iter().filter(|it| it["dialect"] == dialect.as_str());
        let own = own.next().unwrap();
        let connection = own["connection_id"].as_str().unwrap();
        let session = own["session_id"].as_str().unwrap_or("none");
        let mut checked = 0;
        for vector in vectors(dialect) {
            let text = vector.to_string().replace("c00000000000000ff", connection);
            let text = text.replace("~0123456789abcdef0123456789abcdef", session);
            let vector: Value = serde_json::from_str(&text).unwrap();
            let kind = vector["type"].as_str().unwrap();
            // What the server alone says, what is for other people, and what nobody is told.
            let foreign = dialect == Dialect::Amiga && vector["to"] == "user:maria"
                || vector["data"]["user_id"] == "user-123"
                || vector["data"]["visibility"].as_str().is_some_and(|visibility| visibility != "public");
            if kind.starts_with("connection.") || foreign || vector["frame"].is_null() {
                continue;
            }
            let event = json!({"type": kind, "to": vector["to"], "time": vector["time"], "data": vector["data"]});
            publish(&gateway, event).await;
            let frame = client.frame().await;
            assert_eq!(frame, vector["frame"], "{dialect:?} {kind}");
            checked += 1;
        }
        assert!(checked >= least, "{dialect:?}: {checked}");
    }
}
