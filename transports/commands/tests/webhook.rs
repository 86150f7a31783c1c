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

    /// What it cancels.
    fn cancels(&self) -> serde_json::Value {
        serde_json::from_slice::<serde_json::Value>(&self.body).unwrap()["cancels"].clone()
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

#[tokio::test]
async fn limit_13_a_page_whose_turns_fill_its_share_of_the_webhook_can_cancel_them() {
    let mut back_end = BackEnd::start(None).await;
    let settings = WebhookSettings { commands: 10, parallel: 2, timeout: PATIENCE, ..quick() };
    let (webhook, failures) = webhook(&back_end.url(), settings);
    let peer = || Holder::Peer(Some([127, 0, 0, 1].into()));
    webhook.submit_for(peer(), command("a0", "browser", "CHAT")).await.unwrap();
    let first = back_end.next().await;
    for number in 1..9 {
        webhook.submit_for(peer(), command(&format!("a{number}"), "browser", "CHAT")).await.unwrap();
    }
    assert!(webhook.submit_for(peer(), command("a9", "browser", "CHAT")).await.is_err());
    webhook.submit_for(peer(), command("c", "browser", "CANCEL")).await.expect("a reserve of its own");
    let cancel = back_end.next().await;
    assert_eq!([first.id(), cancel.id()], ["a0", "c"]);
    for got in [cancel, first] {
        got.say(200).await;
    }
    settled(&webhook).await;
    assert_eq!(webhook.pending(), 0, "the turns that waited are withdrawn");
    assert!(failures.lock().unwrap().is_empty());
}

fn cancels(in_work: &[&str], withdrawn: &[&str], ended: &[&str], stale: bool) -> serde_json::Value {
    json!({"in_work": in_work, "withdrawn": withdrawn, "ended": ended, "stale": stale})
}

async fn submit_all(webhook: &Webhook, commands: &[(&str, &str)]) {
    for (id, name) in commands {
        webhook.submit(command(id, "browser", name)).await.unwrap();
    }
}

#[tokio::test]
async fn cmd_15_a_cancelled_turn_that_met_503_is_not_tried_again_and_nobody_waits_for_it() {
    let mut back_end = BackEnd::start(None).await;
    // The wait for the second attempt is far longer than this test.
    let slow =
        WebhookSettings { first_wait: Duration::from_secs(600), longest_wait: Duration::from_secs(600), ..quick() };
    let (webhook, failures) = webhook(&back_end.url(), slow);
    submit_all(&webhook, &[("1", "CHAT"), ("2", "UPDATE_PARAMS"), ("3", "CHAT")]).await;
    back_end.next().await.say(503).await;
    submit_all(&webhook, &[("4", "CANCEL"), ("5", "CHAT")]).await;
    // In which of the two orders they come is open: they are on lines of their own.
    let mut got = [back_end.next().await, back_end.next().await];
    got.sort_by_key(|got| got.id().to_owned());
    assert_eq!([got[0].id(), got[1].id()], ["2", "4"]);
    assert_eq!(got[1].cancels(), cancels(&["1"], &["3"], &[], false));
    got[0].say(200).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(back_end.got.try_recv().is_err(), "the next turn waits for the cancellation");
    got[1].say(200).await;
    let next = back_end.next().await;
    assert_eq!((next.id(), next.cancels()), ("5", json!(null)));
    next.say(200).await;
    settled(&webhook).await;
    assert!(failures.lock().unwrap().is_empty());
    assert!(back_end.got.try_recv().is_err());
}

#[tokio::test]
async fn cmd_16_a_cancel_that_meets_503_names_the_turn_before_it_and_never_the_one_behind() {
    let mut back_end = BackEnd::start(None).await;
    let (webhook, _) = webhook(&back_end.url(), WebhookSettings { timeout: PATIENCE, ..quick() });
    submit_all(&webhook, &[("1", "CHAT")]).await;
    back_end.next().await.say(202).await;
    settled(&webhook).await;
    submit_all(&webhook, &[("2", "CANCEL"), ("3", "CHAT")]).await;
    for status in [503, 500, 200] {
        let got = back_end.next().await;
        assert_eq!((got.id(), got.cancels()), ("2", cancels(&["1"], &[], &[], false)), "taken over is in work");
        got.say(status).await;
    }
    let got = back_end.next().await;
    assert_eq!(got.id(), "3", "not before the cancellation is taken");
    got.say(202).await;
    settled(&webhook).await;
    submit_all(&webhook, &[("4", "CANCEL")]).await;
    let got = back_end.next().await;
    assert_eq!((got.id(), got.cancels()), ("4", cancels(&["1", "3"], &[], &[], false)));
    got.say(200).await;
    settled(&webhook).await;
}

#[tokio::test]
async fn cmd_16_a_back_end_that_is_called_acknowledges_the_end_of_work_and_a_cancel_of_it_is_stale() {
    let mut back_end = BackEnd::start(None).await;
    let (webhook, _) = webhook(&back_end.url(), WebhookSettings { timeout: PATIENCE, ..quick() });
    let hub = eventwire_hub::Hub::new();
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let answer = webhook.answer(&hub, request.body(Full::<Bytes>::default()).unwrap(), None).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    };
    submit_all(&webhook, &[("1", "CHAT")]).await;
    back_end.next().await.say(202).await;
    settled(&webhook).await;
    submit_all(&webhook, &[("2", "CANCEL")]).await;
    let got = back_end.next().await;
    assert_eq!(got.cancels(), cancels(&["1"], &[], &[], false));
    let acknowledged = json!({"acknowledged": ["1"], "unknown": []});
    assert_eq!(ask("POST", "/v1/commands/1/ack").await, (200, acknowledged));
    assert_eq!(ask("POST", "/v1/commands/1/ack").await.1, json!({"acknowledged": [], "unknown": ["1"]}));
    // The answer to the cancellation is lost, and it is brought again: now it is stale.
    got.say(502).await;
    let got = back_end.next().await;
    assert_eq!((got.id(), got.cancels()), ("2", cancels(&[], &[], &["1"], true)));
    got.say(200).await;
    settled(&webhook).await;
    assert_eq!(ask("GET", "/v1/commands").await.0, 404, "there is no stream");
    assert_eq!(ask("GET", "/v1/commands/1/ack").await.0, 405);
}

#[tokio::test]
async fn cmd_15_when_the_webhook_refuses_a_cancel_the_senders_of_what_it_withdrew_are_told() {
    let mut back_end = BackEnd::start(None).await;
    let (webhook, failures) = webhook(&back_end.url(), WebhookSettings { timeout: PATIENCE, ..quick() });
    submit_all(&webhook, &[("1", "CHAT")]).await;
    let one = back_end.next().await;
    submit_all(&webhook, &[("2", "CHAT"), ("3", "CANCEL")]).await;
    let cancel = back_end.next().await;
    assert_eq!(cancel.cancels(), cancels(&["1"], &["2"], &[], false));
    cancel.say(410).await;
    let told = async {
        while failures.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("both senders are told");
    let ids: Vec<String> = failures.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, ["3", "2"]);
    // What was on its way is not cancelled then: it is tried again.
    one.say(503).await;
    let again = back_end.next().await;
    assert_eq!(again.id(), "1");
    again.say(200).await;
    settled(&webhook).await;
    assert_eq!(failures.lock().unwrap().len(), 2);
}
