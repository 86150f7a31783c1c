//! Commands as requests to a URL of the back end, signed (CMD-13, CMD-14).
//!
//! The commands of one lane are sent one after the other; the next waits until the one in front of it was taken or given
//! up. A lane has a second line for urgent commands, which does not wait for the first. Lanes go in parallel, up to a
//! bound, and urgent ones have places of their own, so that a cancellation does not wait for what it cancels.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{CommandSink, Holder, Secret};
use eventwire_protocol::{ApplicationCommand, ErrorBody, ErrorCode};
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    OnFailure,
    ledger::Ledger,
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
    ordinary: Semaphore,
    urgent: Semaphore,
    on_failure: OnFailure,
}

/// What waits, by lane and urgency. A line that is here has a task that works it off.
struct Lines {
    waiting: HashMap<Line, VecDeque<Letter>>,
    /// The line of each letter that waits, by holder and number.
    by_holder: HashMap<Holder, BTreeMap<u64, Line>>,
    ledger: Ledger,
    /// Commands that wait or are on their way.
    commands: usize,
    next: u64,
}

/// A lane, and whether it is the line of its urgent commands.
type Line = (String, bool);

struct Letter {
    number: u64,
    command: ApplicationCommand,
    body: Bytes,
    holder: Holder,
}

impl Lines {
    fn new(settings: &WebhookSettings) -> Self {
        let ledger = Ledger::new(settings.commands, settings.bytes);
        Self { waiting: HashMap::new(), by_holder: HashMap::new(), ledger, commands: 0, next: 0 }
    }

    /// Puts a letter at the end of its line; letters of others may be given up for it (LIMIT-13). `None` when its holder
    /// has its share.
    fn push(&mut self, line: &Line, holder: Holder, command: ApplicationCommand, body: Bytes) -> Option<Pushed> {
        let Self { ledger, by_holder, waiting, .. } = self;
        let newest = |holder: &Holder, going: &[(u64, Line)]| {
            let (number, line) =
                by_holder.get(holder)?.iter().rev().find(|(number, _)| going.iter().all(|(of, _)| of != *number))?;
            let letters = waiting.get(line)?;
            let at = letters.binary_search_by_key(number, |letter| letter.number).ok()?;
            Some(((*number, line.clone()), letters.get(at)?.body.len()))
        };
        let going = ledger.make_room(&holder, body.len(), newest)?;
        let evicted = going.into_iter().filter_map(|(number, line)| self.evict(number, &line)).collect();
        self.next += 1;
        let number = self.next;
        self.commands += 1;
        self.ledger.add(holder.clone(), body.len());
        self.by_holder.entry(holder.clone()).or_default().insert(number, line.clone());
        let letter = Letter { number, command, body, holder };
        let is_new = !self.waiting.contains_key(line);
        self.waiting.entry(line.clone()).or_default().push_back(letter);
        Some(Pushed { is_new, evicted })
    }

    /// Takes out a letter whose share is released already. Its line stays: it has a task.
    fn evict(&mut self, number: u64, line: &Line) -> Option<ApplicationCommand> {
        let letters = self.waiting.get_mut(line)?;
        let at = letters.binary_search_by_key(&number, |letter| letter.number).ok()?;
        let letter = letters.remove(at)?;
        self.commands -= 1;
        self.unlist(&letter);
        Some(letter.command)
    }

    /// The next letter of a line; the line ends with its last one.
    fn next(&mut self, line: &Line) -> Option<Letter> {
        match self.waiting.get_mut(line).and_then(VecDeque::pop_front) {
            Some(letter) => {
                self.unlist(&letter);
                Some(letter)
            }
            None => {
                self.waiting.remove(line);
                None
            }
        }
    }

    fn unlist(&mut self, letter: &Letter) {
        if let Some(numbers) = self.by_holder.get_mut(&letter.holder) {
            numbers.remove(&letter.number);
            if numbers.is_empty() {
                self.by_holder.remove(&letter.holder);
            }
        }
    }

    /// A letter was taken or given up.
    fn done(&mut self, letter: &Letter) {
        self.commands -= 1;
        self.ledger.release(&letter.holder, letter.body.len());
    }
}

/// What became of a letter that was taken in.
struct Pushed {
    /// Whether its line is new and needs a task.
    is_new: bool,
    /// What was given up for it.
    evicted: Vec<ApplicationCommand>,
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
                lines: Mutex::new(Lines::new(&settings)),
                ordinary: Semaphore::new(settings.parallel.max(1)),
                urgent: Semaphore::new(settings.parallel.max(1)),
                settings,
                on_failure,
            }),
        })
    }

    /// How many commands wait or are on their way.
    pub fn pending(&self) -> usize {
        self.shared.lines().commands
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
        let (line, name) = ((command.lane(), command.urgent), command.name.clone());
        let pushed = self.shared.lines().push(&line, holder, command, body);
        let Some(Pushed { is_new, evicted }) = pushed else {
            let message = format!("{name:?} was not carried out: too many commands wait for the back end");
            return Err(ErrorBody::new(ErrorCode::Unavailable, message));
        };
        if is_new {
            tokio::spawn(work_off(self.shared.clone(), line));
        }
        for command in evicted {
            self.shared.report(command, "too many commands wait for the back end, most of them yours");
        }
        Ok(())
    }
}

/// Sends what waits in a line, one after the other, until nothing does.
async fn work_off(shared: Arc<Shared>, line: Line) {
    loop {
        // First a place, then the letter: one that waits for a place can still be given up for others.
        let place = shared.place(line.1).await;
        let Some(letter) = shared.lines().next(&line) else { return };
        let failed = shared.bring(&letter, place).await.err();
        shared.lines().done(&letter);
        if let Some(reason) = failed {
            shared.report(letter.command, &reason);
        }
    }
}

impl Shared {
    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the sender of a command that was given up. Its name was chosen by a client.
    fn report(&self, command: ApplicationCommand, why: &str) {
        tracing::warn!(command = ?command.name, id = ?command.id, why, "a command was given up");
        let message = format!("{:?} was not carried out: {why}", command.name);
        (self.on_failure)(command, ErrorBody::new(ErrorCode::Unavailable, message));
    }

    /// A place among the requests at once. The semaphores are never closed.
    async fn place(&self, urgent: bool) -> Option<SemaphorePermit<'_>> {
        let places = if urgent { &self.urgent } else { &self.ordinary };
        places.acquire().await.ok()
    }

    /// Brings one command, with as many attempts as it takes and may take. No place is held between them.
    async fn bring(&self, letter: &Letter, mut place: Option<SemaphorePermit<'_>>) -> Result<(), String> {
        let mut failed = 0;
        loop {
            let held = match place.take() {
                Some(place) => Some(place),
                None => self.place(letter.command.urgent).await,
            };
            let (verdict, reason) = self.attempt(letter).await;
            drop(held);
            failed += 1;
            match verdict {
                Verdict::Taken => return Ok(()),
                Verdict::Never => return Err(reason),
                Verdict::Again(_) if failed >= self.settings.attempts => {
                    return Err(format!("{reason}, after {failed} attempts"));
                }
                Verdict::Again(asked) => {
                    tracing::debug!(id = ?letter.command.id, failed, reason, "a command is to be brought again");
                    let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
                    let WebhookSettings { first_wait, longest_wait, .. } = self.settings;
                    tokio::time::sleep(retry::wait(failed, first_wait, longest_wait, asked, draw)).await;
                }
            }
        }
    }

    async fn attempt(&self, letter: &Letter) -> (Verdict, String) {
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let id = &letter.command.id;
        let request = Request::post(self.url.clone())
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("eventwire/", env!("CARGO_PKG_VERSION")))
            .header(HEADER_ID, id)
            .header(HEADER_TIMESTAMP, timestamp)
            .header(HEADER_SIGNATURE, sign(&self.secret, id, timestamp, &letter.body))
            .body(Full::new(letter.body.clone()));
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
