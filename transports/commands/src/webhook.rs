//! Commands as requests to a URL of the back end, signed (CMD-13, CMD-14).
//!
//! A thin shell around [the lines](crate::lines), which decide what is brought next and what an urgent command cancels. Lanes
//! go in parallel, up to a bound, and urgent commands have places of their own, so that a cancellation does not wait for
//! what it cancels.

use std::{
    collections::HashMap,
    error::Error,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{CommandSink, Holder, Hub, Secret};
use eventwire_protocol::{ApplicationCommand, ErrorBody, ErrorCode};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::{
    OnFailure,
    feed::{Body, answer_ends},
    lane::Number,
    lines::{Effects, Line, Lines, Outcome},
    retry::{self, Verdict},
    signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, sign},
};

/// Fewest bytes of a secret.
const FEWEST_SECRET_BYTES: usize = 16;
/// How much of an answer is read, so that its connection can be used again; nobody looks at it.
const ANSWER_BYTES: usize = 64 * 1024;
/// How long it may take to come.
const REST: Duration = Duration::from_secs(1);

/// What can be set about a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts for each command, at least 1.
    pub attempts: u32,
    /// Longest wait after the first attempt; doubled after each further one.
    pub first_wait: Duration,
    /// Longest wait at all.
    pub longest_wait: Duration,
    /// Requests at once; as many again for urgent commands.
    pub parallel: usize,
    /// Commands that wait or are on their way.
    pub commands: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Certificates of authorities that are trusted beside those that browsers trust, as DER.
    pub authorities: Vec<Vec<u8>>,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            attempts: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(10),
            parallel: 16,
            commands: 10_000,
            bytes: 64 << 20,
            authorities: Vec::new(),
        }
    }
}

/// The certificates in a PEM text, as DER.
///
/// # Errors
/// `invalid_payload` when one cannot be read, or there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, ErrorBody> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let read: Result<Vec<Vec<u8>>, _> =
        CertificateDer::pem_slice_iter(pem).map(|found| found.map(|it| it.to_vec())).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong("this is no PEM text with certificates")),
    }
}

/// Posts commands to a URL. Cheap to clone; all clones are the same webhook.
#[derive(Clone)]
pub struct Webhook {
    shared: Arc<Shared>,
}

struct Shared {
    url: Uri,
    host: HeaderValue,
    secret: Secret,
    settings: WebhookSettings,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    lines: Mutex<Lines>,
    /// What ends the wait of each command for its next attempt: it is cancelled.
    waits: Mutex<HashMap<Number, Arc<Notify>>>,
    ordinary: Semaphore,
    urgent: Semaphore,
    on_failure: OnFailure,
    origin: Instant,
}

impl Webhook {
    /// A webhook with the default settings.
    ///
    /// # Errors
    /// As [`Webhook::with_settings`].
    pub fn new(url: &str, secret: Secret, on_failure: OnFailure) -> Result<Self, ErrorBody> {
        Self::with_settings(url, secret, WebhookSettings::default(), on_failure)
    }

    /// A webhook to this URL. The secret is shared with the back end, which checks signatures with it; it needs 16 bytes.
    /// `on_failure` is told of every command that was given up.
    ///
    /// # Errors
    /// `invalid_payload` when the URL is not one of http or https with a host and without user, password and fragment,
    /// when the secret is too short, or a certificate is none.
    pub fn with_settings(
        url: &str,
        secret: Secret,
        settings: WebhookSettings,
        on_failure: OnFailure,
    ) -> Result<Self, ErrorBody> {
        let (url, host) = address(url)?;
        if secret.reveal().len() < FEWEST_SECRET_BYTES {
            return Err(wrong(format!("the secret of the webhook needs at least {FEWEST_SECRET_BYTES} bytes")));
        }
        let client = client(&settings)?;
        Ok(Self {
            shared: Arc::new(Shared {
                url,
                host,
                secret,
                client,
                lines: Mutex::new(Lines::new(settings.commands, settings.bytes)),
                waits: Mutex::default(),
                ordinary: Semaphore::new(settings.parallel.max(1)),
                urgent: Semaphore::new(settings.parallel.max(1)),
                settings,
                on_failure,
                origin: Instant::now(),
            }),
        })
    }

    /// How many commands wait or are on their way.
    pub fn pending(&self) -> usize {
        self.shared.lines().len()
    }

    /// The answer to a request at one of [`FEED_ROUTES`](crate::FEED_ROUTES): the back end acknowledges that the work of
    /// commands which it took over has ended (CMD-16). There is no stream. Readers are recognized by the hub and need the
    /// permission `commands`.
    pub async fn answer<B>(&self, hub: &Hub, request: Request<B>, peer: Option<IpAddr>) -> Response<Body>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        answer_ends(hub, request, peer, |id| self.shared.lines().end(id, self.shared.now())).await
    }
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidPayload, message)
}

fn address(url: &str) -> Result<(Uri, HeaderValue), ErrorBody> {
    const FORM: &str =
        "the URL of the webhook must be http:// or https:// with a host, without user, password and fragment";
    let uri: Uri = url.parse().map_err(|_| wrong(FORM))?;
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    if !scheme || authority.is_empty() || authority.contains('@') || url.contains('#') {
        return Err(wrong(FORM));
    }
    let host = HeaderValue::from_str(authority).map_err(|_| wrong(FORM))?;
    Ok((uri, host))
}

fn client(settings: &WebhookSettings) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, ErrorBody> {
    let no_tls = |error: rustls::Error| wrong(format!("a certificate of the webhook cannot be used: {error}"));
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for authority in &settings.authorities {
        roots.add(authority.clone().into()).map_err(no_tls)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(no_tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(settings.timeout));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(20)).build(connector))
}

#[async_trait]
impl CommandSink for Webhook {
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody> {
        self.submit_for(Holder::Local, command).await
    }

    async fn submit_for(&self, holder: Holder, command: ApplicationCommand) -> Result<(), ErrorBody> {
        let body: Bytes = serde_json::to_vec(&command)
            .map_err(|_| ErrorBody::new(ErrorCode::Internal, "the command cannot be written as JSON"))?
            .into();
        let name = command.name.clone();
        let pushed = self.shared.lines().push(holder, command, body, self.shared.now());
        let Some(Effects { start, given_up, interrupt }) = pushed else {
            let message = format!("{name:?} was not carried out: too many commands wait for the back end");
            return Err(ErrorBody::new(ErrorCode::Unavailable, message));
        };
        if let Some(wait) = interrupt.and_then(|number| self.shared.waits().get(&number).cloned()) {
            wait.notify_one();
        }
        self.shared.start(start);
        self.shared.report(given_up, "too many commands wait for the back end, most of them yours");
        Ok(())
    }
}

/// Brings what waits in a line, one after the other, until nothing may be brought.
async fn work_off(shared: Arc<Shared>, line: Line) {
    loop {
        // First a place, then the command: one that waits for a place can still be given up for others, or cancelled.
        let place = shared.place(line.is_urgent).await;
        let Some(number) = shared.lines().next(&line) else { return };
        let (outcome, reason) = shared.bring(number, line.is_urgent, place).await;
        let Effects { start, given_up, .. } = shared.lines().done(number, outcome, shared.now());
        shared.start(start);
        shared.report(given_up, &reason);
    }
}

impl Shared {
    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self) -> std::sync::MutexGuard<'_, HashMap<Number, Arc<Notify>>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn start(self: &Arc<Self>, lines: Vec<Line>) {
        for line in lines {
            tokio::spawn(work_off(self.clone(), line));
        }
    }

    /// Tells the senders of commands that were given up. Their names were chosen by clients.
    fn report(&self, given_up: Vec<ApplicationCommand>, why: &str) {
        for command in given_up {
            tracing::warn!(command = ?command.name, id = ?command.id, why, "a command was given up");
            let message = format!("{:?} was not carried out: {why}", command.name);
            (self.on_failure)(command, ErrorBody::new(ErrorCode::Unavailable, message));
        }
    }

    /// A place among the requests at once. The semaphores are never closed.
    async fn place(&self, urgent: bool) -> Option<SemaphorePermit<'_>> {
        let places = if urgent { &self.urgent } else { &self.ordinary };
        places.acquire().await.ok()
    }

    /// Brings one command, with as many attempts as it takes and may take. No place is held between them. The text says why
    /// it was not taken.
    async fn bring(&self, number: Number, urgent: bool, mut place: Option<SemaphorePermit<'_>>) -> (Outcome, String) {
        let mut failed = 0;
        loop {
            let held = match place.take() {
                Some(place) => Some(place),
                None => self.place(urgent).await,
            };
            let Some((id, body)) = self.lines().text(number, self.now()) else {
                return (Outcome::Taken, String::new());
            };
            let (verdict, reason) = self.attempt(&id, body).await;
            drop(held);
            failed += 1;
            match verdict {
                Verdict::Taken => return (Outcome::Taken, reason),
                Verdict::Never => return (Outcome::Refused, reason),
                Verdict::Again(_) if failed >= self.settings.attempts => {
                    return (Outcome::Failed, format!("{reason}, after {failed} attempts"));
                }
                Verdict::Again(asked) => {
                    tracing::debug!(id, failed, reason, "a command is to be brought again");
                    let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
                    let WebhookSettings { first_wait, longest_wait, .. } = self.settings;
                    self.wait(number, retry::wait(failed, first_wait, longest_wait, asked, draw)).await;
                    if self.lines().is_cancelled(number) {
                        return (Outcome::Failed, format!("it was cancelled, and {reason}"));
                    }
                }
            }
        }
    }

    /// Waits for the next attempt of a command, or until the command is cancelled.
    async fn wait(&self, number: Number, wait: Duration) {
        let cancelled = Arc::new(Notify::new());
        self.waits().insert(number, cancelled.clone());
        // Cancelled before the wait began, it is not waited for.
        if !self.lines().is_cancelled(number) {
            let _ = tokio::time::timeout(wait, cancelled.notified()).await;
        }
        self.waits().remove(&number);
    }

    /// One attempt: what its answer means, and why it was not taken.
    async fn attempt(&self, id: &str, body: Bytes) -> (Verdict, String) {
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let request = Request::post(self.url.clone())
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("eventwire/", env!("CARGO_PKG_VERSION")))
            .header(HEADER_ID, id)
            .header(HEADER_TIMESTAMP, timestamp)
            .header(HEADER_SIGNATURE, sign(&self.secret, id, timestamp, &body))
            .body(Full::new(body));
        let Ok(request) = request else { return (Verdict::Never, "its id cannot stand in a header".into()) };
        let exchange = async {
            let answer = self.client.request(request).await?;
            let (head, body) = answer.into_parts();
            let after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok::<_, hyper_util::client::legacy::Error>((head.status.as_u16(), after, body))
        };
        match tokio::time::timeout(self.settings.timeout, exchange).await {
            Ok(Ok((status, after, body))) => {
                // The status has decided; the rest is read for the sake of the connection.
                let _ = tokio::time::timeout(REST, Limited::new(body, ANSWER_BYTES).collect()).await;
                (retry::verdict(status, after), format!("the back end answered with {status}"))
            }
            Ok(Err(_)) => (Verdict::Again(None), "the back end cannot be reached".into()),
            Err(_) => (Verdict::Again(None), "the back end did not answer in time".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_13_a_webhook_goes_to_an_address_without_secrets_in_it() {
        for url in ["http://127.0.0.1:9000/commands", "https://back.example/x?y=1", "http://[::1]:9000/"] {
            assert!(address(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "/commands",
            "back.example",
            "ftp://back.example/",
            "http://a:b@back.example/",
            "http:///x",
            "http://h/#x",
        ] {
            assert!(address(url).is_err(), "{url}");
        }
        let short = Webhook::new("http://127.0.0.1:9/", Secret::new("short"), Arc::new(|_, _| {}));
        assert_eq!(short.err().map(|error| error.code), Some(ErrorCode::InvalidPayload));
    }
}
