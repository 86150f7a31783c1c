//! The keys of an issuer, read from the URL where it publishes them (AUTH-23).
//!
//! One task fetches: at the start, when the last answer is no longer fresh, on SIGHUP, and when a token names a key that is not
//! known. A token is verified with the keys that are there, without a lock and without the network, so a slow issuer delays no
//! token whose key is known. Unknown names cost the issuer one request in [`COOLDOWN`], however many tokens name them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{AuditEntry, AuditEvent};
use eventwire_protocol::error::ErrorCode;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::jwt::Keys;
use crate::reload::Tokens;

/// How long the issuer may take for a whole answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Shortest time between two requests because of unknown key names.
const COOLDOWN: Duration = Duration::from_secs(10);
/// How long an answer is fresh that does not say it (`Cache-Control: max-age`).
const FRESH: Duration = Duration::from_secs(600);
/// Bounds of what it may say.
const FRESHEST: Duration = Duration::from_secs(60);
const STALEST: Duration = Duration::from_secs(3600);
/// Longest pause after a failure; the first is [`COOLDOWN`], and each one is twice the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Reads the URL of a JWK set: `https`, or `http` on the machine itself.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn parse_url(text: &str) -> Result<Uri, String> {
    let wrong = |what: &str| format!("{text:?} {what}; write it as https://id.example.org/jwks.json");
    let url: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    if host.is_empty() || url.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(wrong("must have a host and no user name"));
    }
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match url.scheme_str() {
        Some("https") => Ok(url),
        // Anyone on the way could exchange keys that come in the clear.
        Some("http") if is_loopback => Ok(url),
        Some("http") => Err(wrong("must begin with https:// where the host is another machine")),
        _ => Err(wrong("must begin with https://")),
    }
}

/// The answer of an issuer.
pub(crate) struct Fetched {
    /// Its keys.
    pub(crate) keys: Keys,
    /// How long they are fresh, as it says.
    pub(crate) max_age: Option<Duration>,
}

/// Gets the keys of an issuer.
#[async_trait]
pub(crate) trait FetchKeys: Send + Sync + 'static {
    /// Asks once.
    ///
    /// # Errors
    /// What went wrong, in one line.
    async fn fetch(&self) -> Result<Fetched, String>;
}

/// Asks over HTTP. Redirects are not followed.
pub(crate) struct OverHttp {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl OverHttp {
    /// Asks at this URL; the certificate must be one that browsers trust.
    ///
    /// # Errors
    /// No TLS.
    pub(crate) fn new(url: Uri) -> Result<Self, String> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| format!("TLS: {error}"))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { url, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn ask(&self) -> Result<Fetched, String> {
        let request = Request::get(self.url.clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("eventwire/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| format!("no answer: {error}"))?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(format!("it answered {status}; redirects are not followed, set the URL that it leads to"));
            }
            status => return Err(format!("it answered {status}")),
        }
        let said = answer.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let max_age = said.and_then(max_age);
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|_| format!("its answer broke off or has more than {MAX_BYTES} bytes"))?.to_bytes();
        let text = std::str::from_utf8(&body).map_err(|_| "its answer is not UTF-8".to_owned())?;
        Ok(Fetched { keys: Keys::published(text)?, max_age })
    }
}

#[async_trait]
impl FetchKeys for OverHttp {
    async fn fetch(&self) -> Result<Fetched, String> {
        let answer = tokio::time::timeout(DEADLINE, self.ask()).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {} seconds", DEADLINE.as_secs())))
    }
}

/// How long an answer is fresh by its `Cache-Control`; one that must not be stored is not fresh at all.
fn max_age(said: &str) -> Option<Duration> {
    let directives = || said.split(',').map(str::trim);
    if directives().any(|it| it.eq_ignore_ascii_case("no-store") || it.eq_ignore_ascii_case("no-cache")) {
        return Some(Duration::ZERO);
    }
    let seconds = directives().find_map(|it| {
        let (name, value) = it.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().trim_matches('"').parse().ok())?
    });
    seconds.map(Duration::from_secs)
}

/// When to ask again, and who waits for it.
#[derive(Debug)]
pub(crate) struct Refresh {
    state: Mutex<State>,
    wanted: Notify,
    /// How many requests have ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// A request is under way or has been asked for.
    pending: bool,
    /// When the last one was asked for.
    last: Option<Instant>,
    /// How many failed since the last that did not.
    failures: u32,
}

impl Refresh {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), wanted: Notify::new(), ended: watch::Sender::new(0) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the issuer asked at once, whenever it was asked before.
    pub(crate) fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Has the issuer asked, unless it was asked within [`COOLDOWN`], and waits for the end of that. Tells whether the keys may be
    /// others than before.
    pub(crate) async fn for_unknown_key(&self) -> bool {
        let mut ended = self.ended.subscribe();
        {
            let mut state = self.state();
            if !state.pending {
                if state.last.is_some_and(|at| at.elapsed() < COOLDOWN) {
                    return false;
                }
                (state.pending, state.last) = (true, Some(Instant::now()));
                self.wanted.notify_one();
            }
        }
        matches!(tokio::time::timeout(DEADLINE, ended.changed()).await, Ok(Ok(())))
    }

    /// Asks the issuer once and takes its keys over. Tells how long to wait before the next time.
    pub(crate) async fn once(&self, fetch: &dyn FetchKeys, tokens: &Tokens) -> Duration {
        {
            let mut state = self.state();
            (state.pending, state.last) = (true, Some(Instant::now()));
        }
        let fetched = fetch.fetch().await;
        let failures = {
            let mut state = self.state();
            state.pending = false;
            state.failures = if fetched.is_ok() { 0 } else { state.failures.saturating_add(1) };
            state.failures
        };
        let wait = match fetched {
            Ok(Fetched { keys, max_age }) => {
                tokens.replace(keys, "jwt_jwks_url");
                max_age.unwrap_or(FRESH).clamp(FRESHEST, STALEST)
            }
            Err(error) => {
                tracing::error!(%error, "jwt_jwks_url was not read; the last good keys stay");
                let entry = AuditEntry::new(AuditEvent::Reload).subject("jwt_jwks_url");
                tokens.hub.audit().record(entry.code(ErrorCode::Unavailable));
                COOLDOWN.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_PAUSE)
            }
        };
        self.ended.send_modify(|count| *count += 1);
        wait
    }

    /// Keeps the keys fresh for as long as the process lives. The first request is due after `wait`.
    pub(crate) async fn follow(self: Arc<Self>, fetch: Arc<dyn FetchKeys>, tokens: Tokens, mut wait: Duration) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wanted.notified() => {}
            }
            wait = self.once(&*fetch, &tokens).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use eventwire_hub::Hub;

    use super::*;
    use crate::api_keys::GrantsVersion;
    use crate::jwt::{Expectations, Jwt};

    const SET: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// An issuer that takes a second, and fails on demand.
    #[derive(Default)]
    struct Issuer {
        asked: AtomicUsize,
        fails: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl FetchKeys for Issuer {
        async fn fetch(&self) -> Result<Fetched, String> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            match self.fails.load(Ordering::SeqCst) {
                true => Err("down".to_owned()),
                false => Ok(Fetched { keys: Keys::published(SET)?, max_age: Some(Duration::from_secs(120)) }),
            }
        }
    }

    async fn started() -> (Arc<Issuer>, Arc<Refresh>, Tokens) {
        let expected = Expectations {
            issuer: Some("https://id".into()),
            audience: None,
            claim: "eventwire".into(),
            grants: GrantsVersion::Two,
            leeway: Duration::from_secs(5),
        };
        let tokens = Tokens { jwt: Arc::new(Jwt::new(Keys::none(), expected)), hub: Hub::new() };
        let (issuer, refresh) = (Arc::new(Issuer::default()), Arc::new(Refresh::new()));
        let wait = refresh.once(&*issuer, &tokens).await;
        assert_eq!((wait, tokens.jwt.key_count()), (Duration::from_secs(120), 1));
        tokio::spawn(Arc::clone(&refresh).follow(issuer.clone(), tokens.clone(), wait));
        (issuer, refresh, tokens)
    }

    #[tokio::test(start_paused = true)]
    async fn auth_23_unknown_names_cost_one_request_in_ten_seconds_and_share_it() {
        let (issuer, refresh, _) = started().await;
        let asked = || issuer.asked.load(Ordering::SeqCst);
        assert!(!refresh.for_unknown_key().await, "the answer is one second old");
        for round in 1..=5 {
            tokio::time::sleep(COOLDOWN).await;
            let many = (0..1_000).map(|_| refresh.for_unknown_key());
            let answered = futures_util::future::join_all(many).await;
            assert!(answered.into_iter().all(|asked| asked));
            assert_eq!(asked(), 1 + round);
            assert!(!refresh.for_unknown_key().await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn auth_23_keys_are_kept_fresh_and_outlive_an_issuer_that_is_down() {
        let (issuer, refresh, tokens) = started().await;
        let asked = || issuer.asked.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(119)).await;
        assert_eq!(asked(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(asked(), 2, "its answer was fresh for 120 seconds");
        issuer.fails.store(true, Ordering::SeqCst);
        refresh.ask();
        // Pauses of 10, 20, 40, .. 300 seconds: no more than this in an hour.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!((8..=20).contains(&asked()), "{}", asked());
        assert_eq!(tokens.jwt.key_count(), 1);
        issuer.fails.store(false, Ordering::SeqCst);
        let before = asked();
        refresh.ask();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(asked(), before + 1, "SIGHUP waits for nothing");
    }

    #[test]
    fn auth_23_only_a_url_that_is_read_safely_is_taken() {
        for good in [
            "https://id.example.org/jwks.json",
            "https://id.example.org:8443/a?b=c",
            "http://127.0.0.1:9/x",
            "http://localhost/x",
            "http://[::1]:9/x",
        ] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "jwks.json",
            "id.example.org/jwks.json",
            "http://id.example.org/x",
            "http://127.0.0.1.example.org/x",
            "http://localhost.example.org/x",
            "http://192.168.0.1/x",
            "https://user@id.example.org/x",
            "ftp://127.0.0.1/x",
            "file:///etc/passwd",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn auth_23_what_the_issuer_says_of_freshness_is_read() {
        let seconds = |said| max_age(said).map(|age| age.as_secs());
        assert_eq!(seconds("public, max-age=300"), Some(300));
        assert_eq!(seconds("Max-Age=\"5\", must-revalidate"), Some(5));
        assert_eq!((seconds("no-store, max-age=300"), seconds("no-cache")), (Some(0), Some(0)));
        assert_eq!(
            (seconds(""), seconds("public"), seconds("max-age=-1"), seconds("s-maxage=3")),
            (None, None, None, None)
        );
    }
}
