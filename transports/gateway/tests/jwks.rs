//! Keys of tokens from an issuer's URL, with the real binary and an issuer that counts what it is asked (AUTH-23).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Gateway, Socket, run, soon, write_private};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Error;

const ISSUER: &str = "https://id.example";

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)).unwrap()
}

/// The public half of a key that is kept with the tests, as a JWK of this name.
fn jwk(kid: &str, name: &str) -> Value {
    let pem = fixture(&format!("{name}.public.pem"));
    let key = match name {
        "p256" => DecodingKey::from_ec_pem(pem.as_bytes()),
        "rsa" => DecodingKey::from_rsa_pem(pem.as_bytes()),
        _ => DecodingKey::from_ed_pem(pem.as_bytes()),
    };
    let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&key.unwrap(), None).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

/// An issuer that answers what it is made to, and counts.
struct Issuer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<String>>,
    server: tokio::task::JoinHandle<()>,
}

impl Issuer {
    async fn start(keys: Value) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), keys).await
    }

    async fn start_at(address: SocketAddr, keys: Value) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let (counts, answers) = (Arc::clone(&asked), Arc::clone(&answer));
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                counts.fetch_add(1, Ordering::SeqCst);
                let answer = answers.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let issuer = Self { address, asked, answer, server };
        issuer.publish(keys);
        issuer
    }

    fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Answers with a JWK set from now on.
    fn publish(&self, keys: Value) {
        self.answer("200 OK", "", &json!({ "keys": keys }).to_string());
    }

    fn answer(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}");
    }

    fn gateway(&self) -> Gateway {
        Gateway::start(&["--jwt-jwks-url", &self.url(), "--jwt-issuer", ISSUER])
    }

    async fn until_asked(&self, times: usize) {
        soon("a request to the issuer", async {
            while self.asked() < times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Signs tokens as the issuer does.
struct Signer(tempfile::TempDir);

impl Signer {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn token(&self, name: &str, kid: &str, issuer: &str) -> String {
        let file: PathBuf = self.0.path().join(name);
        write_private(&file, &fixture(&format!("{name}.private.pem")));
        let arguments = ["token", "--user", "ada", "--kid", kid, "--issuer", issuer, "--key-file"];
        let made = run(&[&arguments[..], &[file.to_str().unwrap()]].concat(), "");
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
        made.stdout.trim().to_owned()
    }
}

async fn open(gateway: &Gateway, token: &str) -> Result<Socket, u16> {
    let bearer = format!("Bearer {token}");
    let headers = [("sec-websocket-protocol", "eventwire.v1"), ("authorization", bearer.as_str())];
    match Socket::open_with(gateway, "", &headers).await {
        Ok(mut socket) => {
            assert_eq!(socket.event().await["type"], "connection.welcome");
            Ok(socket)
        }
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    open(gateway, token).await.map_or_else(|status| status, |_| 101)
}

/// Asks until the answer is this one: an issuer is asked again 10 seconds after the last time at the earliest.
async fn becomes(gateway: &Gateway, token: &str, expected: u16) {
    soon("another answer", async {
        while status(gateway, token).await != expected {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

// The issuer answers while the gateway starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_23_a_new_key_is_fetched_when_a_token_names_it_and_a_withdrawn_one_ends_its_connections() {
    let (issuer, signer) = (Issuer::start(json!([jwk("old", "ed25519")])).await, Signer::new());
    let gateway = issuer.gateway();
    assert_eq!(issuer.asked(), 1, "before it serves");
    let (old, new) = (signer.token("ed25519", "old", ISSUER), signer.token("p256", "new", ISSUER));
    let mut connected = open(&gateway, &old).await.unwrap();
    issuer.publish(json!([jwk("new", "p256")]));
    becomes(&gateway, &new, 101).await;
    assert_eq!(issuer.asked(), 2);
    assert_eq!(connected.close_code().await, Some(4001));
    assert_eq!(status(&gateway, &old).await, 401);
}

// The issuer answers while the gateway starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_23_a_flood_of_unknown_names_asks_the_issuer_once_and_delays_no_other_token() {
    let (issuer, signer) = (Issuer::start(json!([jwk("a", "ed25519")])).await, Signer::new());
    let gateway = issuer.gateway();
    let (known, unknown) = (signer.token("ed25519", "a", ISSUER), signer.token("p256", "invented", ISSUER));
    soon("the flood", async {
        let mut rounds = 0;
        while issuer.asked() < 2 || rounds < 3 {
            let flood = (0..16).map(|_| status(&gateway, &unknown));
            let (refused, served) = tokio::join!(futures_util::future::join_all(flood), status(&gateway, &known));
            assert!(refused.iter().all(|status| *status == 401), "{refused:?}");
            assert_eq!(served, 101);
            rounds += usize::from(issuer.asked() >= 2);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(issuer.asked() <= 3, "{}", issuer.asked());
}

// The issuer answers while the gateway starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_23_what_the_issuer_answers_badly_leaves_the_last_good_keys() {
    let (issuer, signer) = (Issuer::start(json!([jwk("a", "ed25519")])).await, Signer::new());
    let gateway = issuer.gateway();
    let token = signer.token("ed25519", "a", ISSUER);
    let elsewhere = Issuer::start(json!([jwk("b", "p256")])).await;
    let secret = json!({"kty": "oct", "kid": "s", "k": "YSBzZWNyZXQgb2YgYXQgbGVhc3QgdGhpcnR5LXR3byBieXRlcw"});
    let mut private = jwk("a", "ed25519");
    private["d"] = json!("AQAB");
    let set = |keys: Value| json!({ "keys": keys }).to_string();
    let large = format!("{}{}", " ".repeat(256 * 1024), set(json!([jwk("b", "p256")])));
    let bad = [
        ("500 Internal Server Error", String::new(), set(json!([jwk("b", "p256")]))),
        ("302 Found", format!("location: {}\r\n", elsewhere.url()), String::new()),
        ("200 OK", String::new(), "no JSON".to_owned()),
        ("200 OK", String::new(), large),
        ("200 OK", String::new(), set(json!([]))),
        ("200 OK", String::new(), set(json!([jwk("b", "p256"), secret]))),
        ("200 OK", String::new(), set(json!([jwk("b", "p256"), private]))),
        ("200 OK", String::new(), set(json!(vec![jwk("b", "p256"); 65]))),
    ];
    for (asked, (status_line, headers, body)) in bad.iter().enumerate() {
        issuer.answer(status_line, headers, body);
        gateway.signal("HUP");
        issuer.until_asked(asked + 2).await;
        assert_eq!(status(&gateway, &token).await, 101, "{status_line} {headers}");
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
    // And when it is not there at all.
    drop(issuer);
    gateway.signal("HUP");
    assert_eq!(status(&gateway, &token).await, 101);
    assert_eq!(status(&gateway, &signer.token("p256", "b", ISSUER)).await, 401);
    let log = gateway.ended_by("TERM").stderr;
    assert!(log.matches("the last good keys stay").count() >= bad.len(), "{log}");
    assert!(!log.contains("YSBzZWNyZXQ"), "{log}");
}

// The issuer answers while the gateway starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_23_a_gateway_starts_without_its_issuer_and_takes_tokens_once_it_is_there() {
    let (issuer, signer) = (Issuer::start(json!([])).await, Signer::new());
    let address = issuer.address;
    drop(issuer);
    tokio::task::yield_now().await;
    let arguments = ["--jwt-jwks-url", &format!("http://{address}/jwks.json"), "--jwt-issuer", ISSUER];
    let gateway = Gateway::start(&arguments);
    let token = signer.token("ed25519", "a", ISSUER);
    assert_eq!(status(&gateway, &token).await, 503, "come again");
    assert!(!gateway.start_block.contains("everybody"), "{}", gateway.start_block);
    let _issuer = Issuer::start_at(address, json!([jwk("a", "ed25519")])).await;
    becomes(&gateway, &token, 101).await;
}

// The issuer answers while the gateway starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_23_keys_belong_to_the_issuer_that_is_configured_whatever_their_names() {
    let (ours, theirs) = (jwk("1", "ed25519"), jwk("1", "p256"));
    let (issuer, other) = (Issuer::start(json!([ours])).await, Issuer::start(json!([theirs])).await);
    let signer = Signer::new();
    let gateway = issuer.gateway();
    assert_eq!(status(&gateway, &signer.token("ed25519", "1", ISSUER)).await, 101);
    for (key, issuer, what) in [
        ("p256", ISSUER, "another issuer's key under the same name"),
        ("p256", "https://other.example", "another issuer's token"),
        ("ed25519", "https://other.example", "our key for another issuer"),
    ] {
        assert_eq!(status(&gateway, &signer.token(key, "1", issuer)).await, 401, "{what}");
    }
    assert_eq!(other.asked(), 0);
}

#[test]
fn auth_23_a_url_that_cannot_be_trusted_stops_the_start() {
    let issuer = ["--jwt-issuer", ISSUER];
    let url = |url: &'static str| [&["--jwt-jwks-url", url], &issuer[..]].concat();
    for (arguments, word) in [
        (url("http://id.example/jwks.json"), "https://"),
        (url("ftp://id.example/jwks.json"), "https://"),
        (url("https://user:hush@id.example/"), "user name"),
        (url("jwks.json"), "jwt_jwks_url"),
        (vec!["--jwt-jwks-url", "https://id.example/jwks.json"], "jwt_issuer"),
        ([&url("https://id.example/jwks.json")[..], &["--jwt-key-file", "keys.pem"]].concat(), "jwt_key_file"),
    ] {
        let ended = run(&[&["serve", "--listen", "127.0.0.1:0", "--no-sample"], &arguments[..]].concat(), "");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(word) && ended.stderr.trim().lines().count() == 1, "{arguments:?}: {ended:?}");
    }
}
