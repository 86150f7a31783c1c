//! A hub with Shared Context on it, people who have tokens, and clients that connect as a listener would connect them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use eventwire_hub::{Authenticator, Credentials, Hub, Principal};
use eventwire_memory::{Frame, MemoryClient};
use eventwire_protocol::{
    Claims, ContextId, Dialect, ErrorBody, ErrorCode, Permission, Publication, Role, Scope, event::context::NewMessage,
};
use eventwire_systems::{
    Admission, Ask, Body, Route, System,
    answer::full,
    shared_context::{Bounds, ContextStore, KeptStore, Settings, SharedContext},
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// Knows people by their names.
pub struct People;

pub fn claims_of(token: &str) -> Option<Claims> {
    let only = |context: &str| Scope::Only(BTreeSet::from([context.parse::<ContextId>().unwrap()]));
    let named = || Claims { user: token.parse().ok(), role: Some(Role::Human), ..Claims::anonymous() };
    let publisher = || Claims { permissions: [Permission::Publish].into(), ..Claims::anonymous() };
    Some(match token {
        "maria" | "otto" => named(),
        "claude" | "gemini" => Claims { role: Some(Role::Agent), ..named() },
        "nameless" => Claims::anonymous(),
        "outsider" => Claims { contexts: only("lobby"), ..named() },
        "newcomer" => Claims { history_from: Some("2025-08-13T14:30:00Z".parse().unwrap()), ..named() },
        "backend" => publisher(),
        "backend-of-s" => Claims { contexts: only("s"), ..publisher() },
        _ => return None,
    })
}

#[async_trait]
impl Authenticator for People {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let token = credentials.token.as_ref().map(|token| token.reveal().to_owned()).unwrap_or_default();
        let claims = claims_of(&token).ok_or_else(|| ErrorBody::new(ErrorCode::Unauthorized, "who are you?"))?;
        Ok(Principal::new(token, claims))
    }

    fn authenticates(&self) -> bool {
        true
    }
}

pub struct World {
    pub hub: Hub,
    pub system: SharedContext,
}

impl World {
    pub fn new() -> Self {
        Self::set(Settings::default())
    }

    pub fn set(settings: Settings) -> Self {
        let kept = KeptStore::new(Bounds::default());
        let hub = Hub::builder().authenticator(People).tap(kept.clone()).build();
        Self { system: SharedContext::new(hub.clone(), kept, settings), hub }
    }

    pub fn with(authenticator: impl Authenticator, bounds: Bounds) -> Self {
        let kept = KeptStore::new(bounds);
        let hub = Hub::builder().authenticator(authenticator).tap(kept.clone()).build();
        Self { system: SharedContext::new(hub.clone(), kept, Settings::default()), hub }
    }

    pub fn asking(store: Arc<dyn ContextStore>) -> Self {
        let hub = Hub::builder().authenticator(People).build();
        Self { system: SharedContext::new(hub.clone(), store, Settings::default()), hub }
    }

    fn route(&self, path: &str) -> &'static Route {
        let routes = self.system.routes().iter().filter(|route| route.matches(path));
        routes.min_by_key(|route| route.pattern.contains('{')).unwrap_or_else(|| panic!("no route for {path}"))
    }

    pub async fn admit(&self, path: &str, token: Option<&str>, dialect: Dialect) -> Admission {
        let mut headers = HeaderMap::new();
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        }
        let ask = Ask { route: self.route(path), path, query: "", headers: &headers, peer: None, dialect };
        self.system.admit(ask).await
    }

    pub async fn join(&self, path: &str, token: &str) -> Client {
        match self.admit(path, Some(token), Dialect::SharedContext).await {
            Admission::Connect { request, handler, .. } => {
                Client { client: MemoryClient::connect_as(&self.hub, *request, handler).await.unwrap() }
            }
            Admission::Close(code, reason) => panic!("{token} at {path}: {code:?} {reason}"),
            Admission::Refuse(error) => panic!("{token} at {path}: {error}"),
        }
    }

    /// Publishes an event as the back end builds it.
    pub async fn publish(&self, context: &str, frame: Value) {
        let event = Dialect::SharedContext.decode_event(&frame).unwrap_or_else(|error| panic!("{frame}: {error}"));
        let name = event.kind.spec().name;
        let mut text = json!({"type": name, "to": format!("session:{context}"), "data": event.data});
        if let Some(time) = event.time {
            text["time"] = json!(time);
        }
        let backend = Principal::new("backend", claims_of("backend").unwrap());
        let receipts = self.hub.publish(&backend, vec![Publication::decode(&text.to_string())]).await.unwrap();
        receipts.into_iter().next().unwrap().unwrap_or_else(|error| panic!("{frame}: {error}"));
    }

    pub async fn broadcast(&self, path: &str, token: Option<&str>, body: &str) -> (StatusCode, Value) {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.answer(request.body(full(body.to_owned())).unwrap()).await
    }

    pub async fn answer(&self, request: Request<Body>) -> (StatusCode, Value) {
        let route = self.route(request.uri().path());
        let response = self.system.answer(route, request, None).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

/// A client and what it reads.
pub struct Client {
    pub client: MemoryClient,
}

impl Client {
    /// Everything that has come.
    pub async fn hear(&mut self) -> Vec<Value> {
        self.client.drain().await.iter().map(Frame::value).collect()
    }

    pub async fn say(&mut self, text: &str) -> Vec<Value> {
        self.client.send_text(text).await.unwrap();
        self.hear().await
    }

    pub async fn ask(&mut self, frame: Value) -> Vec<Value> {
        self.say(&frame.to_string()).await
    }
}

pub fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap_or_default()).collect()
}

/// A message as the back end builds it.
pub fn message(id: u64, sender: &str, visibility: &str, content: &str) -> Value {
    json!({"type": "new_message", "data": {
        "id": id, "sender": sender, "sender_type": "claude", "content": content, "visibility": visibility,
        "timestamp": "2025-08-13T14:48:21.000000+00:00", "metadata": {},
    }})
}

/// A message in the words of the catalog.
pub fn text(id: u64, sender: &str, visibility: &str, content: &str) -> NewMessage {
    serde_json::from_value(json!({"id": id, "sender": sender, "content": content, "visibility": visibility})).unwrap()
}
