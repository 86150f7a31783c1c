//! The kanban's server over the in-memory transport: who is told what, and what its paths answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod asked;
mod heard;
mod posted;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use eventwire_hub::{ApiKeys, CommandSink, Hub, KeyDigest, NoBackEnd, Principal};
use eventwire_memory::MemoryClient;
use eventwire_protocol::{
    ApplicationCommand, Claims, Dialect, ErrorBody, Permission, Publication, Scope, dialect::effects,
};
use eventwire_systems::{
    Admission, Ask, Route, System,
    adw::{Adw, Settings},
    answer,
};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const PEER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// A back end that notes what it is asked.
#[derive(Default)]
struct BackEnd(Mutex<Vec<ApplicationCommand>>);

#[async_trait]
impl CommandSink for BackEnd {
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody> {
        // CMD-15: every command has an entry in the table of its dialect.
        let table = effects::table(Dialect::from_name(&command.dialect).unwrap());
        assert!(table.iter().any(|(name, _)| *name == command.name), "{} has no effect", command.name);
        self.0.lock().unwrap().push(command);
        Ok(())
    }
}

impl BackEnd {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|command| command.name.clone()).collect()
    }
}

fn claims(adws: &[&str], permissions: &[Permission]) -> Claims {
    Claims {
        adws: Scope::Only(adws.iter().map(|id| id.parse().unwrap()).collect()),
        permissions: permissions.iter().copied().collect(),
        ..Claims::anonymous()
    }
}

/// Ann and Bob watch one run each, the producer publishes about both, the stranger about neither.
fn with_keys() -> Hub {
    let mut keys = ApiKeys::new();
    for (name, claims) in [
        ("ann", Claims { user: Some("ann".parse().unwrap()), ..claims(&["aaaaaaaa"], &[Permission::AdwRaw]) }),
        ("bob", Claims { user: Some("bob".parse().unwrap()), ..claims(&["bbbbbbbb"], &[Permission::AdwRaw]) }),
        ("producer", claims(&["aaaaaaaa", "bbbbbbbb"], &[Permission::Publish])),
        ("stranger", claims(&["cccccccc"], &[Permission::Publish])),
    ] {
        keys.add(KeyDigest::of(name), Principal::new(name, claims)).unwrap();
    }
    Hub::builder().authenticator(keys).build()
}

fn system(hub: &Hub) -> Adw {
    Adw::new(hub.clone(), Arc::new(NoBackEnd), Settings::default())
}

fn route(adw: &Adw, path: &str) -> &'static Route {
    adw.routes().iter().find(|route| route.matches(path)).unwrap_or_else(|| panic!("{path}"))
}

fn headers(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Mozilla/5.0"));
    if !key.is_empty() {
        headers.insert(header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
    }
    headers
}

async fn admit(adw: &Adw, path: &str, key: &str) -> Admission {
    let headers = headers(key);
    let ask = Ask { route: route(adw, path), path, query: "v=1", headers: &headers, peer: PEER, dialect: Dialect::Adw };
    adw.admit(ask).await
}

/// A page that has read its greeting.
async fn page(adw: &Adw, hub: &Hub, path: &str, key: &str) -> MemoryClient {
    let Admission::Connect { request, handler, .. } = admit(adw, path, key).await else { panic!("refused") };
    let mut page = MemoryClient::connect_as(hub, *request, handler).await.unwrap();
    assert_eq!(told(&mut page).await[0]["type"], "connection_ack");
    page
}

async fn told(page: &mut MemoryClient) -> Vec<Value> {
    page.drain().await.iter().map(eventwire_memory::Frame::value).collect()
}

/// What the page is answered.
async fn answered(page: &mut MemoryClient, frame: &Value) -> Vec<Value> {
    page.send_text(frame.to_string()).await.unwrap();
    told(page).await
}

/// The one error that the page is answered, fit for both of the page's older servers (C1).
async fn error(page: &mut MemoryClient, frame: &str) -> Value {
    page.send_text(frame).await.unwrap();
    let mut frames = told(page).await;
    assert_eq!(frames.len(), 1, "{frame}: {frames:?}");
    let error = frames.remove(0);
    assert_eq!(error["type"], "error", "{frame}");
    assert_eq!(error["data"]["message"], error["data"]["error_message"]);
    assert!(error["data"]["message"].as_str().is_some_and(|text| !text.is_empty()));
    assert!(error["data"]["timestamp"].is_string() && error["data"]["details"].is_object());
    error["data"].clone()
}

fn names(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

async fn publish(hub: &Hub, kind: &str, to: &str, data: &Value) {
    let principal = Principal::new("test", Claims::loopback());
    let text = json!({"type": kind, "to": to, "data": data}).to_string();
    hub.publish(&principal, vec![Publication::decode(&text)]).await.unwrap().remove(0).unwrap();
}

async fn text_block(hub: &Hub, adw: &str) {
    publish(hub, "adw.text_block", &format!("adw:{adw}"), &json!({"adw_id": adw, "content": "x"})).await;
}

async fn ask(adw: &Adw, method: Method, path: &str, headers: HeaderMap, body: Vec<u8>) -> (u16, Value) {
    let route = route(adw, path);
    assert!(route.methods.contains(&method), "{path}");
    let mut request = Request::builder().method(method).uri(path).body(answer::full(body)).unwrap();
    *request.headers_mut() = headers;
    let response = adw.answer(route, request, PEER).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn post_as(adw: &Adw, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let mut headers = headers(key);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    ask(adw, Method::POST, path, headers, body.to_string().into_bytes()).await
}

async fn post(adw: &Adw, path: &str, body: &Value) -> (u16, Value) {
    post_as(adw, path, "", body).await
}
