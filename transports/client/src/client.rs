//! The shell around [`crate::session`]: one task that owns the socket, a handle that asks it for things, and the stream of
//! what it has to say.
//!
//! The task never holds more than a bounded number of items that the application has not taken; beyond that it stops
//! reading the socket, and the server's flow control takes over. Answers come over the same socket, so an application that
//! waits for an answer must have somebody read the items meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use eventwire_protocol::{
    address::Root,
    catalog::Event,
    event::connection,
    id::{IdError, Position},
    limits::MAX_EVENT_BYTES,
    version,
};
use futures_util::{SinkExt, Stream, StreamExt};
use http::header;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use crate::{
    error::{BuildError, CommandError},
    publish::authorization,
    reconnect::{Backoff, Ended, Farewell, Next, Reconnect},
    session::{Answer, Checkpoint, CommandId, Item, Output, Session, State, is_joinable},
    url::Server,
};

/// Items that wait for the application.
const ITEMS: usize = 256;
/// Calls that wait for the task.
const CALLS: usize = 32;
/// From the first byte to the welcome.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Largest frame that is read. An event may have 1 MiB as it is published, and grow when its numbers are written anew: `1e15`
/// becomes four times as long.
const MAX_FRAME_BYTES: usize = 8 * MAX_EVENT_BYTES;
/// Close code of an end that the application wanted.
const NORMAL: u16 = 1000;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How to connect, and to what.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    url: String,
    token: Option<String>,
    targets: Vec<String>,
    checkpoint: Checkpoint,
    backoff: Backoff,
    command_timeout: Duration,
}

impl Builder {
    /// A token for a server that wants one.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Receive a target, from now on: `adw:<id>`, `room:<name>`, `session:<context>`, `user:<id>`, `global`.
    pub fn subscribe(mut self, target: impl ToString) -> Self {
        self.targets.push(target.to_string());
        self
    }

    /// Receive everything that an observer may see. Needs the permission `observe`.
    pub fn observe(self) -> Self {
        self.subscribe(Root::Realm)
    }

    /// Go on where another client stopped; see [`Client::checkpoint`].
    pub fn resume(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// When to connect again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long a call waits for its answer; 10 s unless set.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// Starts the client. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address, the token or a target cannot be used.
    pub fn build(self) -> Result<(Client, Items), BuildError> {
        let server = Server::parse(&self.url)?;
        if let Some(token) = &self.token {
            authorization(token)?;
        }
        let mut targets = Vec::new();
        for to in self.targets {
            targets.push(parse_target(&to).map_err(|source| BuildError::Target { to, source })?);
        }
        let (calls, inbox) = mpsc::channel(CALLS);
        let (items, stream) = mpsc::channel(ITEMS);
        let task = Task {
            server,
            token: self.token,
            session: Session::new(targets, self.checkpoint),
            reconnect: Reconnect::new(self.backoff),
            calls: Some(inbox),
            items,
            outbox: VecDeque::new(),
            waiting: HashMap::new(),
            started: Instant::now(),
        };
        tokio::spawn(task.run());
        Ok((Client { calls, command_timeout: self.command_timeout }, Items { stream }))
    }
}

/// A handle to a running client. Cheap to clone. The client goes on as long as its [`Items`] are there, handles or not.
#[derive(Clone, Debug)]
pub struct Client {
    calls: mpsc::Sender<Call>,
    command_timeout: Duration,
}

/// The items of a client, in order. The last one is [`State::Closed`]. Dropping this ends the client.
#[derive(Debug)]
pub struct Items {
    stream: mpsc::Receiver<Item>,
}

impl Items {
    /// The next item; `None` after the last one.
    pub async fn next(&mut self) -> Option<Item> {
        self.stream.recv().await
    }
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.stream.poll_recv(context)
    }
}

enum Call {
    Subscribe(Vec<(Root, Option<Position>)>, Waiting),
    Unsubscribe(Vec<Root>, Waiting),
    Ping(Option<Value>, Waiting),
    Authenticate(String, Waiting),
    Checkpoint(oneshot::Sender<Checkpoint>),
    Close,
}

type Waiting = oneshot::Sender<Result<Option<Event>, CommandError>>;

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Call::Subscribe(..) => "Subscribe",
            Call::Unsubscribe(..) => "Unsubscribe",
            Call::Ping(..) => "Ping",
            Call::Authenticate(..) => "Authenticate",
            Call::Checkpoint(_) => "Checkpoint",
            Call::Close => "Close",
        })
    }
}

impl Client {
    /// A client of the server at `http://host:port` or `ws://host:port/v1/ws`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder {
            url: url.into(),
            token: None,
            targets: Vec::new(),
            checkpoint: Checkpoint::default(),
            backoff: Backoff::default(),
            command_timeout: Duration::from_secs(10),
        }
    }

    /// Receives targets, each from a position on where one is given, else from now on. Holds over reconnects. Each target
    /// is accepted or refused by itself; the answer says which.
    ///
    /// # Errors
    /// See [`CommandError`]. After `Timeout` the targets are still wanted.
    pub async fn subscribe<T: ToString>(
        &self,
        targets: impl IntoIterator<Item = (T, Option<Position>)>,
    ) -> Result<connection::Subscribed, CommandError> {
        let targets = targets
            .into_iter()
            .map(|(to, since)| Ok((parse_call_target(&to.to_string())?, since)))
            .collect::<Result<_, CommandError>>()?;
        match self.call(|waiting| Call::Subscribe(targets, waiting)).await? {
            Some(Event::ConnectionSubscribed(subscribed)) => Ok(subscribed),
            _ => Err(CommandError::Disconnected),
        }
    }

    /// No longer receives targets, now and after every reconnect.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn unsubscribe<T: ToString>(&self, targets: impl IntoIterator<Item = T>) -> Result<(), CommandError> {
        let targets =
            targets.into_iter().map(|to| parse_call_target(&to.to_string())).collect::<Result<_, CommandError>>()?;
        self.call(|waiting| Call::Unsubscribe(targets, waiting)).await.map(|_| ())
    }

    /// Asks the server for a pong, and says how long it took.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn ping(&self) -> Result<Duration, CommandError> {
        let sent = Instant::now();
        self.call(|waiting| Call::Ping(None, waiting)).await?;
        Ok(sent.elapsed())
    }

    /// Goes on with another token, now and after every reconnect. Subscriptions are judged again; those that are lost come
    /// as an `unsubscribed` event.
    ///
    /// # Errors
    /// See [`CommandError`]. When refused, the old token stays.
    pub async fn authenticate(&self, token: impl Into<String>) -> Result<(), CommandError> {
        let token = token.into();
        self.call(|waiting| Call::Authenticate(token, waiting)).await.map(|_| ())
    }

    /// How far everything has been read, counting what is still in [`Items`]: keep it, and hand it to
    /// [`Builder::resume`] in another process.
    ///
    /// # Errors
    /// [`CommandError::Ended`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, CommandError> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call::Checkpoint(answer)).await.map_err(|_| CommandError::Ended)?;
        answered.await.map_err(|_| CommandError::Ended)
    }

    /// Ends the client with a polite close. Its last item is [`State::Closed`] with code 1000.
    pub async fn close(&self) {
        // A client that has ended already needs no close.
        let _ = self.calls.send(Call::Close).await;
    }

    async fn call(&self, make: impl FnOnce(Waiting) -> Call) -> Result<Option<Event>, CommandError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.calls.send(make(answer)).await.map_err(|_| CommandError::Ended)?;
            answered.await.map_err(|_| CommandError::Ended)?
        };
        timeout(self.command_timeout, asked).await.map_err(|_| CommandError::Timeout)?
    }
}

fn parse_target(to: &str) -> Result<Root, IdError> {
    let root: Root = to.parse()?;
    if is_joinable(&root) {
        return Ok(root);
    }
    // Reads as no context id, and says what one is.
    to.trim_start_matches("session:").parse::<eventwire_protocol::id::ContextId>().map(|id| Root::Session(id.into()))
}

fn parse_call_target(to: &str) -> Result<Root, CommandError> {
    parse_target(to).map_err(|source| CommandError::Target { to: to.to_owned(), source })
}

/// The task that owns the socket.
struct Task {
    server: Server,
    token: Option<String>,
    session: Session,
    reconnect: Reconnect,
    /// `None` once the last handle is gone.
    calls: Option<mpsc::Receiver<Call>>,
    items: mpsc::Sender<Item>,
    /// Items that the application has no room for yet.
    outbox: VecDeque<Item>,
    waiting: HashMap<CommandId, (Waiting, Option<String>)>,
    started: Instant,
}

/// Why the task ends without another attempt.
struct Stopped {
    code: u16,
    reason: String,
}

/// What ends one connection.
enum End {
    /// By itself.
    Ended(Ended),
    /// The application wants no more.
    Stopped(Stopped),
}

impl Task {
    async fn run(mut self) {
        let stopped = loop {
            let (ended, farewell) = match self.connection().await {
                (End::Stopped(stopped), _) => break stopped,
                (End::Ended(ended), farewell) => (ended, farewell),
            };
            tracing::debug!(?ended, "connection ended");
            let mut outputs = Vec::new();
            self.session.disconnected(&mut outputs);
            self.settle(outputs);
            let now = self.started.elapsed();
            match self.reconnect.after(&ended, farewell, now, random()) {
                Next::Stop { code, reason } => break Stopped { code, reason },
                Next::Retry { attempt, after } => {
                    self.outbox.push_back(Item::State(State::Reconnecting { attempt, after, because: ended }));
                    if let Some(stopped) = self.wait(Instant::now() + after).await {
                        break stopped;
                    }
                }
            }
        };
        let Stopped { code, reason } = stopped;
        self.outbox.push_back(Item::State(State::Closed { code, reason }));
        // No call is answered any more; the application takes what is left in its own time.
        self.waiting.clear();
        self.calls = None;
        while let Some(item) = self.outbox.pop_front() {
            if self.items.send(item).await.is_err() {
                break;
            }
        }
    }

    /// Waits, while calls are answered and items are handed out.
    async fn wait(&mut self, until: Instant) -> Option<Stopped> {
        loop {
            tokio::select! {
                () = sleep_until(until) => return None,
                call = next_call(&mut self.calls) => {
                    let outputs = match self.call(call) {
                        Ok(outputs) => outputs,
                        Err(stopped) => return Some(stopped),
                    };
                    self.settle(outputs);
                }
                gone = hand_out(&self.items, &mut self.outbox) => if gone {
                    return Some(Stopped { code: NORMAL, reason: "nobody reads the items".to_owned() });
                },
            }
        }
    }

    /// One connection, from the first byte to its end.
    async fn connection(&mut self) -> (End, Farewell) {
        self.outbox.push_back(Item::State(State::Connecting));
        let request = match self.request() {
            Ok(request) => request,
            Err(error) => return (End::Ended(Ended::Lost(error.to_string())), Farewell::None),
        };
        let deadline = Instant::now() + CONNECT_LIMIT;
        let mut socket = tokio::select! {
            connected = dial(request) => match connected {
                Ok(socket) => socket,
                Err(ended) => return (End::Ended(ended), Farewell::None),
            },
            stopped = self.wait(deadline) => return match stopped {
                Some(stopped) => (End::Stopped(stopped), Farewell::None),
                None => (End::Ended(Ended::Lost("no answer in time".to_owned())), Farewell::None),
            },
        };
        let mut farewell = Farewell::None;
        let end = self.serve(&mut socket, deadline, &mut farewell).await;
        if matches!(end, End::Stopped(_)) {
            // A server that does not answer the close is not waited for.
            let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
        }
        (end, farewell)
    }

    fn request(&self) -> Result<http::Request<()>, tungstenite::Error> {
        let mut request = self.server.websocket().into_client_request()?;
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header::HeaderValue::from_static(version::SUBPROTOCOL));
        if let Some(Ok(value)) = self.token.as_deref().map(authorization) {
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Moves text between the socket and the session until one of them ends it.
    async fn serve(&mut self, socket: &mut Socket, welcome_by: Instant, farewell: &mut Farewell) -> End {
        let mut silent_at = welcome_by;
        let mut patience = CONNECT_LIMIT;
        loop {
            // An application that takes nothing is not a server that says nothing.
            let reads = self.outbox.len() < ITEMS;
            let event = tokio::select! {
                message = socket.next(), if reads => Turn::Message(message),
                call = next_call(&mut self.calls) => Turn::Call(call),
                gone = hand_out(&self.items, &mut self.outbox) => match gone {
                    true => return stopped("nobody reads the items"),
                    false => {
                        silent_at = silent_at.max(Instant::now() + patience);
                        continue;
                    }
                },
                () = sleep_until(silent_at), if reads => return lost("the server fell silent"),
            };
            let outputs = match event {
                Turn::Message(message) => {
                    silent_at = Instant::now() + patience;
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            let mut outputs = Vec::new();
                            self.session.receive(&text, &mut outputs);
                            outputs
                        }
                        // Pings are answered by tungstenite.
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Vec::new(),
                        Some(Ok(Message::Binary(_))) => return lost("the server sent a binary frame"),
                        Some(Ok(Message::Close(close))) => {
                            let (code, reason) = close
                                .map_or((1005, String::new()), |close| (close.code.into(), close.reason.to_string()));
                            return End::Ended(Ended::Closed { code, reason });
                        }
                        Some(Err(error)) => return lost(&error.to_string()),
                        None => return lost("end of stream"),
                    }
                }
                Turn::Call(call) => match self.call(call) {
                    Ok(outputs) => outputs,
                    Err(stopped) => return End::Stopped(stopped),
                },
            };
            for output in self.settle(outputs) {
                match output {
                    Output::Send(text) => {
                        if let Err(error) = socket.send(Message::text(text)).await {
                            return lost(&error.to_string());
                        }
                    }
                    Output::Farewell(said) => *farewell = said,
                    Output::HangUp(reason) => return lost(&reason),
                    Output::Item(Item::State(State::Connected(welcome))) => {
                        self.reconnect.connected(self.started.elapsed());
                        // Two heartbeats may be late; then nobody is there.
                        patience =
                            Duration::from_millis(welcome.heartbeat_interval_ms).saturating_mul(2) + CONNECT_LIMIT;
                        silent_at = Instant::now() + patience;
                    }
                    Output::Item(_) | Output::Answer(..) => {}
                }
            }
        }
    }

    /// Hands out answers and items, and gives back what concerns the connection.
    fn settle(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        let mut rest = Vec::new();
        for output in outputs {
            match output {
                Output::Answer(id, answer) => self.answer(id, answer),
                Output::Item(Item::State(state)) => {
                    self.outbox.push_back(Item::State(state.clone()));
                    rest.push(Output::Item(Item::State(state)));
                }
                Output::Item(item) => self.outbox.push_back(item),
                other => rest.push(other),
            }
        }
        rest
    }

    fn answer(&mut self, id: CommandId, answer: Answer) {
        let Some((waiting, token)) = self.waiting.remove(&id) else { return };
        let answer = match answer {
            Answer::Done(event) => {
                if let Some(token) = token {
                    self.token = Some(token);
                }
                Ok(Some(*event))
            }
            Answer::Moot => Ok(None),
            Answer::Refused(error) => Err(CommandError::Refused(Box::new(error))),
            Answer::Disconnected => Err(CommandError::Disconnected),
        };
        // The caller may have given up; then nobody needs it.
        let _ = waiting.send(answer);
    }

    fn call(&mut self, call: Option<Call>) -> Result<Vec<Output>, Stopped> {
        let mut outputs = Vec::new();
        let session = &mut self.session;
        let (id, waiting, token) = match call {
            Some(Call::Subscribe(targets, waiting)) => (session.subscribe(targets, &mut outputs), waiting, None),
            Some(Call::Unsubscribe(targets, waiting)) => (session.unsubscribe(targets, &mut outputs), waiting, None),
            Some(Call::Ping(time, waiting)) => (session.ping(time, &mut outputs), waiting, None),
            Some(Call::Authenticate(token, waiting)) => {
                (session.authenticate(token.clone(), &mut outputs), waiting, Some(token))
            }
            Some(Call::Checkpoint(answer)) => {
                // The caller may have given up; then nobody needs it.
                let _ = answer.send(session.checkpoint());
                return Ok(outputs);
            }
            Some(Call::Close) => return Err(Stopped { code: NORMAL, reason: "closed by the application".to_owned() }),
            None => {
                self.calls = None;
                return Ok(outputs);
            }
        };
        self.forget_the_impatient();
        self.waiting.insert(id, (waiting, token));
        Ok(outputs)
    }

    /// Callers who gave up leave nothing behind.
    fn forget_the_impatient(&mut self) {
        let session = &mut self.session;
        self.waiting.retain(|id, (waiting, _)| {
            let waits = !waiting.is_closed();
            if !waits {
                session.abandon(*id);
            }
            waits
        });
    }
}

enum Turn {
    Message(Option<Result<Message, tungstenite::Error>>),
    Call(Option<Call>),
}

fn lost(why: &str) -> End {
    End::Ended(Ended::Lost(why.to_owned()))
}

fn stopped(why: &str) -> End {
    End::Stopped(Stopped { code: NORMAL, reason: why.to_owned() })
}

/// The next call; never, once all handles are gone.
async fn next_call(calls: &mut Option<mpsc::Receiver<Call>>) -> Option<Call> {
    match calls {
        Some(calls) => calls.recv().await,
        None => std::future::pending().await,
    }
}

/// Hands the application one item, as soon as there is one and there is room. Whether the application is gone.
async fn hand_out(items: &mpsc::Sender<Item>, outbox: &mut VecDeque<Item>) -> bool {
    if outbox.is_empty() {
        items.closed().await;
        return true;
    }
    let Ok(room) = items.reserve().await else { return true };
    if let Some(item) = outbox.pop_front() {
        room.send(item);
    }
    false
}

async fn dial(request: http::Request<()>) -> Result<Socket, Ended> {
    let config = tungstenite::protocol::WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    match tokio_tungstenite::connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let said = serde_json::from_slice::<Value>(body).ok();
            let message = said.as_ref().and_then(|said| said.pointer("/error/message")).and_then(Value::as_str);
            Err(Ended::Refused {
                status: answer.status().as_u16(),
                reason: message.map_or_else(|| answer.status().to_string(), str::to_owned),
            })
        }
        Err(error) => Err(Ended::Lost(error.to_string())),
    }
}

/// Randomness for the jitter. Without any, the wait is the longest one of its attempt at least for some.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
