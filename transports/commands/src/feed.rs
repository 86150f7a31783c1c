//! Commands as a stream that back ends read and acknowledge (CMD-10 to CMD-12): a thin shell around the [queue](crate::queue).

use std::{
    collections::HashMap,
    error::Error,
    future::Future as _,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf as _, BufMut as _, Bytes};
use eventwire_hub::{
    CommandSink, Credentials, Holder, Hub, Principal, handshake,
    unfinished::{Pace, Receiving},
};
use eventwire_protocol::{
    ApplicationCommand, ErrorBody, ErrorCode, Permission,
    api::{Acknowledge, Acknowledged, Refused},
    application::Cancels,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde::Serialize;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, Sleep},
};

use crate::{
    OnFailure,
    body::with_cancels,
    queue::{Bounds, Delivery, Full as QueueFull, Queue, ReaderId, Submitted, Task},
};

/// The body of an answer: all there, or a stream that does not end by itself.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// The group of a reader that names none.
const DEFAULT_GROUP: &str = "default";
/// Longest name of a group.
const GROUP_BYTES: usize = 64;
/// Largest list of acknowledgements.
const ACK_BYTES: usize = 256 * 1024;
/// Most acknowledgements in one request.
const ACK_ITEMS: usize = 1_000;
/// How often a feed with readers looks whether the server stops, and a full one for commands of closed connections.
const LOOK: Duration = Duration::from_secs(1);

/// A path that [`Feed::answer`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedRoute {
    /// The path; `{id}` stands for one segment that is not empty.
    pub pattern: &'static str,
    /// The methods it takes.
    pub methods: &'static [Method],
}

/// Every path that [`Feed::answer`] answers.
pub const FEED_ROUTES: &[FeedRoute] = &[
    FeedRoute { pattern: "/v1/commands", methods: &[Method::GET] },
    FeedRoute { pattern: "/v1/commands/ack", methods: &[Method::POST] },
    FeedRoute { pattern: "/v1/commands/{id}/ack", methods: &[Method::POST] },
];

/// What can be set about a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// How much waits, for how long, and for whom.
    pub bounds: Bounds,
    /// Longest silence on a stream; a comment ends it, so that no proxy takes the stream for dead.
    pub keep_alive: Duration,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self { bounds: Bounds::default(), keep_alive: Duration::from_secs(15) }
    }
}

/// `GET /v1/commands` and the acknowledgements. Cheap to clone; all clones are the same feed.
///
/// What waits is in memory only: it ends with the process.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Hub,
    settings: FeedSettings,
    on_failure: OnFailure,
    state: Mutex<State>,
    /// Something may have become due earlier.
    changed: Arc<Notify>,
    origin: Instant,
}

struct State {
    queue: Queue,
    outlets: HashMap<ReaderId, mpsc::Sender<Bytes>>,
    next_reader: u64,
    /// When commands of closed connections were last looked for.
    swept: Option<Duration>,
    closed: bool,
}

impl Feed {
    /// A feed. Readers are recognized by the hub and need the permission `commands`; `on_failure` is told of every command
    /// that nobody acknowledged in the end. Must be called inside a tokio runtime.
    pub fn new(hub: Hub, settings: FeedSettings, on_failure: OnFailure) -> Self {
        let mut queue = Queue::new(settings.bounds);
        // Pages come back before their back end does.
        queue.await_reader(Duration::ZERO);
        let state = State { queue, outlets: HashMap::new(), next_reader: 1, swept: None, closed: false };
        let changed = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            hub,
            settings,
            on_failure,
            state: Mutex::new(state),
            changed: changed.clone(),
            origin: Instant::now(),
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            while let Some(wait) = weak.upgrade().map(|shared: Arc<Shared>| shared.pass()) {
                // Whether time passed or something changed, the next look says what is due.
                let _ = tokio::time::timeout(wait, changed.notified()).await;
            }
        });
        Self { shared }
    }

    /// How many commands are not acknowledged yet.
    pub fn pending(&self) -> usize {
        self.shared.state().queue.len()
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.shared.state().queue.readers()
    }

    /// Ends every stream and takes no more commands. Happens by itself when the hub stops.
    pub fn close(&self) {
        self.shared.close();
    }

    /// The answer to a request at one of [`FEED_ROUTES`]. Host and Origin are checked here too (AUTH-02, AUTH-03).
    pub async fn answer<B>(&self, request: Request<B>, peer: Option<IpAddr>) -> Response<Body>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        match self.judge(&head, body, peer).await {
            Ok(answer) => answer,
            Err(Refusal { status, error }) => json(status, &Refused { error }),
        }
    }

    async fn judge<B>(
        &self,
        head: &http::request::Parts,
        body: B,
        peer: Option<IpAddr>,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let hub = &self.shared.hub;
        let Admitted { asked, principal, group } = admit(hub, head, peer).await?;
        if asked == Asked::Read {
            accepts_events(&head.headers)?;
            return Ok(self.read(&group, &principal)?);
        }
        let ids = asked.ids(hub, &head.headers, body, Holder::of(&principal, peer)).await?;
        Ok(json(StatusCode::OK, &self.acknowledge(&group, ids)))
    }

    /// Opens a stream. It ends with the credentials that opened it (AUTH-11, AUTH-13).
    fn read(&self, group: &str, principal: &Principal) -> Result<Response<Body>, ErrorBody> {
        let shared = &self.shared;
        // Two commands of each lane at most are on their way; a reader that leaves more than that unread has stalled.
        let (outlet, inlet) = mpsc::channel(shared.settings.bounds.lanes_per_reader.saturating_mul(2).max(1));
        let reader = {
            let mut state = shared.state();
            if state.closed {
                return Err(ErrorBody::new(
                    ErrorCode::Unavailable,
                    "the server is stopping; connect again in a moment",
                ));
            }
            let reader = ReaderId(state.next_reader);
            state.next_reader += 1;
            let deliveries = state.queue.attach(reader, group, shared.now()).map_err(|_| {
                let Bounds { groups, readers, .. } = shared.settings.bounds;
                let message = format!("there may be {groups} groups and {readers} readers, and there are as many");
                ErrorBody::new(ErrorCode::Unavailable, message)
            })?;
            state.outlets.insert(reader, outlet);
            state.send(deliveries, shared.now());
            reader
        };
        shared.changed.notify_one();
        let keep_alive = shared.settings.keep_alive;
        let body = FeedBody {
            first: Some(Bytes::from_static(b"retry: 1000\n")),
            inlet,
            keep_alive,
            silence: Box::pin(tokio::time::sleep(keep_alive)),
            refused: Box::pin(shared.hub.until_refused(principal)),
            reader,
            shared: shared.clone(),
        };
        let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        for (name, value) in [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // nginx would otherwise keep commands back until its buffer is full.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    fn acknowledge(&self, group: &str, ids: Vec<String>) -> Acknowledged {
        let mut answer = Acknowledged::default();
        let mut state = self.shared.state();
        for id in ids {
            let now = self.shared.now();
            let (was_there, deliveries) = state.queue.acknowledge(group, &id, now);
            state.send(deliveries, now);
            if was_there { answer.acknowledged.push(id) } else { answer.unknown.push(id) }
        }
        drop(state);
        self.shared.changed.notify_one();
        answer
    }
}

#[async_trait]
impl CommandSink for Feed {
    async fn submit(&self, command: ApplicationCommand) -> Result<(), ErrorBody> {
        self.submit_for(Holder::Local, command).await
    }

    async fn submit_for(&self, holder: Holder, command: ApplicationCommand) -> Result<(), ErrorBody> {
        let refused =
            |code, why: &str| Err(ErrorBody::new(code, format!("{:?} was not carried out: {why}", command.name)));
        let Ok(body) = serde_json::to_vec(&command) else {
            return refused(ErrorCode::Internal, "it cannot be written as JSON");
        };
        if command.id.is_empty() || !command.id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused(ErrorCode::Internal, "its id cannot stand in a stream");
        }
        let task = Task {
            id: command.id.as_str().into(),
            lane: command.lane().into(),
            effect: command.effect(),
            body: body.into(),
            holder,
            connection: command.session_id.is_none().then_some(command.connection_id),
        };
        match self.shared.submit(task) {
            Ok(()) => Ok(()),
            Err(QueueFull::NoReader) => refused(ErrorCode::Unavailable, "no back end is there"),
            Err(QueueFull::Busy) => refused(ErrorCode::Unavailable, "too many commands wait for the back end"),
        }
    }
}

impl Shared {
    fn submit(&self, task: Task) -> Result<(), QueueFull> {
        let mut state = self.state();
        let now = self.now();
        if state.closed {
            return Err(QueueFull::NoReader);
        }
        let mut submitted = state.queue.submit(task.clone(), now);
        if submitted == Err(QueueFull::Busy) && state.swept.is_none_or(|swept| now >= swept + LOOK) {
            state.swept = Some(now);
            if !state.queue.give_up(|connection| !self.hub.is_connected(connection)).is_empty() {
                submitted = state.queue.submit(task, now);
            }
        }
        let Submitted { deliveries, evicted } = submitted?;
        state.send(deliveries, now);
        drop(state);
        self.changed.notify_one();
        self.report(evicted, "too many commands wait for the back end, most of them yours");
        Ok(())
    }

    /// Tells the senders of commands that were given up.
    fn report(&self, given_up: Vec<Arc<Task>>, why: &str) {
        for task in given_up {
            // What was written is read again; it is ours.
            let Ok(command) = serde_json::from_slice::<ApplicationCommand>(&task.body) else { continue };
            tracing::warn!(command = ?command.name, id = ?command.id, why, "a command was given up");
            let message = format!("{:?} was not carried out: {why}", command.name);
            (self.on_failure)(command, ErrorBody::new(ErrorCode::Unavailable, message));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Does what is due. Says how long nothing will be.
    fn pass(&self) -> Duration {
        if self.hub.is_draining() {
            self.close();
        }
        let now = self.now();
        let mut state = self.state();
        let (deliveries, given_up) = state.queue.tick(now);
        state.send(deliveries, now);
        let watching = if state.outlets.is_empty() { Duration::from_secs(60) } else { LOOK };
        let due = state.queue.next_tick().map_or(watching, |due| due.saturating_sub(now));
        drop(state);
        self.report(given_up, "no back end acknowledged it");
        watching.min(due)
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.outlets.clear();
    }

    fn detach(&self, reader: ReaderId) {
        let mut state = self.state();
        state.outlets.remove(&reader);
        let now = self.now();
        let deliveries = state.queue.detach(reader, now);
        state.send(deliveries, now);
        drop(state);
        self.changed.notify_one();
    }
}

impl State {
    /// Hands readers what is for them. Whoever does not take it goes, and others get it.
    fn send(&mut self, mut deliveries: Vec<Delivery>, now: Duration) {
        while !deliveries.is_empty() {
            let mut gone = Vec::new();
            for Delivery { reader, task, cancels } in deliveries.drain(..) {
                let event = event(&task, cancels.as_ref());
                let taken = self.outlets.get(&reader).is_some_and(|outlet| outlet.try_send(event).is_ok());
                if !taken && !gone.contains(&reader) {
                    gone.push(reader);
                }
            }
            for reader in gone {
                self.outlets.remove(&reader);
                deliveries.extend(self.queue.detach(reader, now));
            }
        }
    }
}

/// A command as a block of an event stream. Neither its id nor compact JSON holds a line break.
fn event(task: &Task, cancels: Option<&Cancels>) -> Bytes {
    let body = with_cancels(&task.body, cancels);
    let mut block = Vec::with_capacity(body.len() + task.id.len() + 32);
    for part in [b"event: command\nid: ", task.id.as_bytes(), b"\ndata: ", &body, b"\n\n"] {
        block.extend_from_slice(part);
    }
    block.into()
}

/// A stream of commands. Dropping it takes its reader off.
struct FeedBody {
    first: Option<Bytes>,
    inlet: mpsc::Receiver<Bytes>,
    keep_alive: Duration,
    silence: Pin<Box<Sleep>>,
    /// Ends with the credentials of the reader.
    refused: Pin<Box<dyn Future<Output = ErrorBody> + Send>>,
    reader: ReaderId,
    shared: Arc<Shared>,
}

impl http_body::Body for FeedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.refused.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let piece = match self.first.take() {
            Some(first) => Some(first),
            None => match self.inlet.poll_recv(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending if self.silence.as_mut().poll(cx).is_ready() => {
                    Some(Bytes::from_static(b": keep-alive\n"))
                }
                Poll::Pending => return Poll::Pending,
            },
        };
        let next = Instant::now() + self.keep_alive;
        self.silence.as_mut().reset(next);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Drop for FeedBody {
    fn drop(&mut self) {
        self.shared.detach(self.reader);
    }
}

/// Answers a request at one of [`FEED_ROUTES`] where commands go to a webhook: `end` notes that the work of a command has
/// ended, and says whether it was in work.
pub(crate) async fn answer_ends<B>(
    hub: &Hub,
    request: Request<B>,
    peer: Option<IpAddr>,
    mut end: impl FnMut(&str) -> bool,
) -> Response<Body>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let ids = async {
        let Admitted { asked, principal, .. } = admit(hub, &head, peer).await?;
        if asked == Asked::Read {
            let message = "commands go to a webhook here; there is no stream";
            return Err(Refusal::from(ErrorBody::new(ErrorCode::NotFound, message)));
        }
        Ok(asked.ids(hub, &head.headers, body, Holder::of(&principal, peer)).await?)
    };
    match ids.await {
        Ok(ids) => {
            let (acknowledged, unknown) = ids.into_iter().partition(|id| end(id));
            json(StatusCode::OK, &Acknowledged { acknowledged, unknown })
        }
        Err(Refusal { status, error }) => json(status, &Refused { error }),
    }
}

/// A request that may be answered.
struct Admitted {
    asked: Asked,
    principal: Principal,
    group: String,
}

/// Checks host, origin, path, method, credentials and query of a request at one of [`FEED_ROUTES`].
async fn admit(hub: &Hub, head: &http::request::Parts, peer: Option<IpAddr>) -> Result<Admitted, Refusal> {
    let headers = &head.headers;
    let host = single(headers, &header::HOST, ErrorCode::HostNotAllowed)?;
    hub.guard().check_host(head.uri.authority().map(http::uri::Authority::as_str).or(host))?;
    hub.guard().check_origin(single(headers, &header::ORIGIN, ErrorCode::OriginNotAllowed)?)?;
    let path = head.uri.path();
    let asked = Asked::of(path).ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, "nothing is at this path"))?;
    if head.method != asked.method() {
        let message = format!("this path takes {}", asked.method());
        return Err(ErrorBody::new(ErrorCode::MethodNotAllowed, message).into());
    }
    let token = handshake::bearer(values(headers, &header::AUTHORIZATION))?;
    let principal = hub.authenticate(&Credentials { token, peer }).await?;
    if !principal.claims.may(Permission::Commands) {
        let message = "this needs the permission commands, which your credentials lack";
        return Err(ErrorBody::new(ErrorCode::Forbidden, message).into());
    }
    let group = group(head.uri.query().unwrap_or_default()).map_err(Refusal::bad_request)?;
    Ok(Admitted { asked, principal, group })
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Read,
    Acknowledge(String),
    AcknowledgeAll,
}

impl Asked {
    /// The ids that are acknowledged; none where a stream is asked for.
    async fn ids<B>(self, hub: &Hub, headers: &HeaderMap, body: B, holder: Holder) -> Result<Vec<String>, ErrorBody>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match self {
            Self::Read => Ok(Vec::new()),
            Self::Acknowledge(id) => Ok(vec![id]),
            Self::AcknowledgeAll => {
                ids(headers, body, Receiving::begin(hub.unfinished(), holder, Pace::default())).await
            }
        }
    }

    fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/commands")?;
        if rest.is_empty() {
            return Some(Self::Read);
        }
        if rest == "/ack" {
            return Some(Self::AcknowledgeAll);
        }
        let id = rest.strip_prefix('/')?.strip_suffix("/ack")?;
        let id = percent_encoding::percent_decode_str(id).decode_utf8().ok()?;
        (!id.is_empty() && !id.contains('/')).then(|| Self::Acknowledge(id.into_owned()))
    }

    fn method(&self) -> Method {
        match self {
            Self::Read => Method::GET,
            Self::Acknowledge(_) | Self::AcknowledgeAll => Method::POST,
        }
    }
}

/// Why a request is refused, and with which status.
struct Refusal {
    status: StatusCode,
    error: ErrorBody,
}

impl Refusal {
    fn bad_request(error: ErrorBody) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error }
    }
}

impl From<ErrorBody> for Refusal {
    fn from(error: ErrorBody) -> Self {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName, code: ErrorCode) -> Result<Option<&'a str>, ErrorBody> {
    handshake::single(name.as_str(), values(headers, name)).map_err(|error| ErrorBody::new(code, error.message))
}

fn group(query: &str) -> Result<String, ErrorBody> {
    let group = handshake::pairs(query, &["group"])?.pop().map(|(_, group)| group);
    let Some(group) = group else { return Ok(DEFAULT_GROUP.to_owned()) };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if group.is_empty() || group.len() > GROUP_BYTES || !group.bytes().all(fits) {
        let message = format!("group must be 1 to {GROUP_BYTES} of A-Z, a-z, 0-9, _ . and -");
        return Err(ErrorBody::new(ErrorCode::InvalidPayload, message));
    }
    Ok(group)
}

fn accepts_events(headers: &HeaderMap) -> Result<(), ErrorBody> {
    let mut accepted = values(headers, &header::ACCEPT).peekable();
    let allows = |value: &[u8]| {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        ["text/event-stream", "text/*", "*/*"].iter().any(|range| value.contains(range))
    };
    if accepted.peek().is_none() || accepted.any(allows) {
        return Ok(());
    }
    let message = "this path answers with text/event-stream; the header Accept must allow it";
    Err(ErrorBody::new(ErrorCode::NotAcceptable, message))
}

/// The ids in the body of a list of acknowledgements.
async fn ids<B>(headers: &HeaderMap, body: B, mut receiving: Receiving) -> Result<Vec<String>, ErrorBody>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let media = single(headers, &header::CONTENT_TYPE, ErrorCode::UnsupportedMediaType)?.unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(ErrorBody::new(ErrorCode::UnsupportedMediaType, "the body must be application/json"));
    }
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = receiving.next(body.frame()).await? {
        let broken = |_| ErrorBody::new(ErrorCode::MalformedFrame, "the body ended in the middle");
        let Ok(part) = frame.map_err(broken)?.into_data() else { continue };
        if part.remaining() > ACK_BYTES - bytes.len() {
            return Err(ErrorBody::new(ErrorCode::TooLarge, format!("the body is larger than {ACK_BYTES} bytes")));
        }
        receiving.keep(part.remaining()).await?;
        bytes.put(part);
    }
    let Acknowledge { ids } = serde_json::from_slice(&bytes).map_err(|error| {
        ErrorBody::new(ErrorCode::InvalidPayload, format!("the body must be {{\"ids\": [\"...\"]}}: {error}"))
    })?;
    if ids.len() > ACK_ITEMS {
        return Err(ErrorBody::new(ErrorCode::TooManyItems, format!("one request may hold {ACK_ITEMS} ids")));
    }
    Ok(ids)
}
