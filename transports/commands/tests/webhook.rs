//! The webhook against back ends over real sockets: good, slow, refusing, absent, and over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use eventwire_commands::{OnFailure, Webhook, WebhookSettings, certificates, sign};
use eventwire_hub::{CommandSink as _, Holder, Secret};
use eventwire_protocol::{ApplicationCommand, ErrorBody, ErrorCode};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(20);

fn command(id: &str, session: &str, name: &str) -> ApplicationCommand {
    serde_json::from_value(json!({
        "id": id, "time": "2026-11-20T23:40:01Z", "dialect": "monadic", "name": name,
        "connection_id": "c00000000000000ff", "session_id": session, "urgent": name == "CANCEL", "data": {"n": 1},
    }))
    .unwrap()
}

/// What a back end got, and where its answer goes.
struct Got {
    headers: HeaderMap,
    body: Bytes,
    answer: mpsc::Sender<Response<Full<Bytes>>>,
}

impl Got {
    fn id(&self) -> &str {
        self.headers["eventwire-id"].to_str().unwrap()
    }

    async fn say(&self, status: u16) {
        let _ = self.answer.send(Response::builder().status(status).body(Full::default()).unwrap()).await;
    }
}

/// A back end whose answers the test gives.
struct BackEnd {
    address: SocketAddr,
    got: mpsc::UnboundedReceiver<Got>,
}

impl BackEnd {
    async fn start(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, got) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (tell, tls) = (tell.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let tell = tell.clone();
                        async move {
                            let (head, body) = request.into_parts();
                            assert_eq!(
                                (head.method.as_str(), head.uri.path_and_query().unwrap().as_str()),
                                ("POST", "/take?x=1")
                            );
                            let body = body.collect().await.unwrap().to_bytes();
                            let (answer, mut answered) = mpsc::channel(1);
                            let _ = tell.send(Got { headers: head.headers, body, answer });
                            Ok::<_, Infallible>(answered.recv().await.unwrap())
                        }
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = match tls {
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => server.serve_connection(TokioIo::new(socket), service).await,
                            Err(_) => return,
                        },
                        None => server.serve_connection(TokioIo::new(socket), service).await,
                    };
                });
            }
        });
        Self { address, got }
    }

    fn url(&self) -> String {
        format!("http://{}/take?x=1", self.address)
    }

    async fn next(&mut self) -> Got {
        tokio::time::timeout(PATIENCE, self.got.recv()).await.expect("a request").unwrap()
    }
}

type Failures = Arc<Mutex<Vec<(String, ErrorBody)>>>;

fn failures() -> (Failures, OnFailure) {
    let failures = Failures::default();
    let list = failures.clone();
    (failures, Arc::new(move |command: ApplicationCommand, error| list.lock().unwrap().push((command.id, error))))
}

fn quick() -> WebhookSettings {
    WebhookSettings {
        timeout: Duration::from_millis(500),
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        ..WebhookSettings::default()
    }
}

fn webhook(url: &str, settings: WebhookSettings) -> (Webhook, Failures) {
    let (failures, on_failure) = failures();
    (Webhook::with_settings(url, Secret::new(SECRET), settings, on_failure).unwrap(), failures)
}

async fn settled(webhook: &Webhook) {
    let settled = async {
        while webhook.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The callback comes right after.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("everything brought or given up");
}

#[tokio::test]
async fn cmd_14_a_command_is_posted_with_id_time_and_signature() {
    let mut back_end = BackEnd::start(None).await;
    let (webhook, failures) = webhook(&back_end.url(), quick());
    let sent = command("a1", "browser", "EDIT");
    webhook.submit(sent.clone()).await.unwrap();
    let got = back_end.next().await;
    assert_eq!(serde_json::from_slice::<ApplicationCommand>(&got.body).unwrap(), sent);
    assert_eq!((got.id(), &got.headers["content-type"]), ("a1", &"application/json".parse().unwrap()));
    assert_eq!(got.headers["host"], back_end.address.to_string());
    let timestamp: i64 = got.headers["eventwire-timestamp"].to_str().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!((i64::try_from(now).unwrap() - timestamp).abs() < 5);
    assert_eq!(got.headers["eventwire-signature"], sign(&Secret::new(SECRET), "a1", timestamp, &got.body));
    got.say(204).await;
    settled(&webhook).await;
    assert!(failures.lock().unwrap().is_empty());
}

#[tokio::test]
async fn cmd_13_what_may_pass_is_tried_again_and_then_given_up() {
    let mut back_end = BackEnd::start(None).await;
    let (webhook, failures) = webhook(&back_end.url(), quick());
    webhook.submit(command("passes", "browser", "EDIT")).await.unwrap();
    for status in [503, 429, 500, 200] {
        let got = back_end.next().await;
        assert_eq!(got.id(), "passes");
        got.say(status).await;
    }
    settled(&webhook).await;
    assert!(failures.lock().unwrap().is_empty());
    webhook.submit(command("stays", "browser", "EDIT")).await.unwrap();
    for _ in 0..5 {
        back_end.next().await.say(502).await;
    }
    settled(&webhook).await;
    let told = failures.lock().unwrap().pop().unwrap();
    assert_eq!((told.0.as_str(), told.1.code), ("stays", ErrorCode::Unavailable));
    assert!(told.1.message.contains("502") && told.1.message.contains("5 attempts"), "{}", told.1);
    // What it refuses for good is not sent twice; no redirection is followed.
    for status in [410, 400, 302] {
        webhook.submit(command("refused", "browser", "EDIT")).await.unwrap();
        back_end.next().await.say(status).await;
        settled(&webhook).await;
        assert_eq!(failures.lock().unwrap().pop().unwrap().0, "refused");
    }
    assert!(back_end.got.try_recv().is_err());
}

#[tokio::test]
async fn cmd_13_a_back_end_that_hangs_or_is_absent_is_given_up_in_bounded_time() {
    let mut back_end = BackEnd::start(None).await;
    let settings = WebhookSettings { timeout: Duration::from_millis(50), attempts: 3, ..quick() };
    let (hanging, failures) = webhook(&back_end.url(), settings.clone());
    hanging.submit(command("hangs", "browser", "EDIT")).await.unwrap();
    let held = [back_end.next().await, back_end.next().await, back_end.next().await];
    settled(&hanging).await;
    drop(held);
    assert!(failures.lock().unwrap().pop().unwrap().1.message.contains("in time"));
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let (absent, failures) = webhook(&format!("http://{closed}/"), settings);
    absent.submit(command("nobody", "browser", "EDIT")).await.unwrap();
    settled(&absent).await;
    assert!(failures.lock().unwrap().pop().unwrap().1.message.contains("cannot be reached"));
}

#[tokio::test]
async fn cmd_11_the_webhook_keeps_the_order_of_a_session_and_an_urgent_command_overtakes() {
    let mut back_end = BackEnd::start(None).await;
    let (webhook, _) = webhook(&back_end.url(), WebhookSettings { timeout: PATIENCE, ..quick() });
    for (id, session, name) in
        [("1", "browser", "chat"), ("2", "browser", "chat"), ("3", "browser", "CANCEL"), ("4", "other", "chat")]
    {
        webhook.submit(command(id, session, name)).await.unwrap();
    }
    let first = [back_end.next().await, back_end.next().await, back_end.next().await];
    let mut ids: Vec<&str> = first.iter().map(Got::id).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "3", "4"], "the second waits for the first");
    assert!(back_end.got.try_recv().is_err());
    for got in &first {
        // The first fails once: the second still waits for it.
        got.say(if got.id() == "1" { 500 } else { 200 }).await;
    }
    let again = back_end.next().await;
    assert_eq!(again.id(), "1");
    again.say(200).await;
    let second = back_end.next().await;
    assert_eq!(second.id(), "2");
    second.say(200).await;
    settled(&webhook).await;
}

#[tokio::test]
async fn cmd_12_the_webhook_is_bounded_in_what_waits_and_in_what_goes_at_once() {
    let mut back_end = BackEnd::start(None).await;
    let settings = WebhookSettings { parallel: 2, commands: 5, timeout: PATIENCE, ..quick() };
    let (webhook, _) = webhook(&back_end.url(), settings);
    for number in 0..5 {
        webhook.submit(command(&number.to_string(), &format!("s{number}"), "EDIT")).await.unwrap();
    }
    let error = webhook.submit(command("5", "s5", "EDIT")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    let held = [back_end.next().await, back_end.next().await];
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(back_end.got.try_recv().is_err(), "two at once");
    for got in held {
        got.say(200).await;
    }
    for _ in 2..5 {
        back_end.next().await.say(200).await;
    }
    settled(&webhook).await;
    webhook.submit(command("6", "s6", "EDIT")).await.unwrap();
}

#[tokio::test]
async fn cmd_13_over_tls_the_back_end_must_have_a_certificate_that_is_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = made.signing_key.serialize_der();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let server = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.try_into().unwrap())
        .unwrap();
    let mut back_end = BackEnd::start(Some(Arc::new(server).into())).await;
    let url = format!("https://localhost:{}/take?x=1", back_end.address.port());
    let (stranger, failures) = webhook(&url, WebhookSettings { attempts: 2, ..quick() });
    stranger.submit(command("a", "b", "EDIT")).await.unwrap();
    settled(&stranger).await;
    assert!(certificates(b"no certificate").is_err());
    assert_eq!(failures.lock().unwrap().len(), 1, "an unknown authority is not trusted");
    let trusting = WebhookSettings { authorities: certificates(made.cert.pem().as_bytes()).unwrap(), ..quick() };
    let (friend, failures) = webhook(&url, trusting);
    friend.submit(command("a", "b", "EDIT")).await.unwrap();
    back_end.next().await.say(200).await;
    settled(&friend).await;
    assert!(failures.lock().unwrap().is_empty());
}

#[tokio::test]
async fn limit_13_one_peer_cannot_fill_the_webhook_for_another() {
    let mut back_end = BackEnd::start(None).await;
    let settings = WebhookSettings { commands: 10, parallel: 1, timeout: PATIENCE, ..quick() };
    let (webhook, failures) = webhook(&back_end.url(), settings);
    let peer = |last| Holder::Peer(Some([127, 0, 0, last].into()));
    // Each in a lane of its own: one is on its way, the others wait for a place.
    for number in 0..9 {
        let id = format!("a{number}");
        webhook.submit_for(peer(1), command(&id, &id, "CHAT")).await.unwrap();
    }
    assert!(webhook.submit_for(peer(1), command("a9", "a9", "CHAT")).await.is_err());
    let first = back_end.next().await;
    assert_eq!(first.id(), "a0");
    for (number, evicted) in ["a8", "a7", "a6", "a5"].into_iter().enumerate() {
        webhook.submit_for(peer(2), command(&format!("b{number}"), "b", "CHAT")).await.unwrap();
        assert_eq!(failures.lock().unwrap().last().unwrap().0, evicted);
    }
    assert!(webhook.submit_for(peer(2), command("b4", "b", "CHAT")).await.is_err(), "now it has as many");
    assert_eq!(webhook.pending(), 9);
    first.say(200).await;
    let mut rest = Vec::new();
    for _ in 0..8 {
        let got = back_end.next().await;
        rest.push(got.id().to_owned());
        got.say(200).await;
    }
    rest.sort_unstable();
    assert_eq!(rest, ["a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3"]);
    assert_eq!(failures.lock().unwrap().len(), 4, "nothing else failed");
}
