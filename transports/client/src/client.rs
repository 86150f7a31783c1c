//! What the application holds: a handle that asks for things, and the stream of what there is to say.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use eventwire_protocol::{
    address::Target,
    catalog::Event,
    event::{Payload, connection},
    id::{ContextId, IdError, Position},
};
use futures_util::Stream;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use crate::{
    builder::Builder,
    error::CommandError,
    quality::Quality,
    session::{Checkpoint, Item, is_joinable},
    transport::Transport,
    typed::Only,
};

/// Items that wait for the application.
pub(crate) const ITEMS: usize = 256;
/// Calls that wait for the task.
pub(crate) const CALLS: usize = 32;

/// A handle to a running client. Cheap to clone. The client goes on as long as its [`Items`] are there, handles or not.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) calls: mpsc::Sender<Call>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) command_timeout: Duration,
}

/// The items of a client, in order. The last one is [`State::Closed`](crate::State::Closed) or
/// [`State::Failed`](crate::State::Failed). Dropping this ends the client.
#[derive(Debug)]
pub struct Items {
    pub(crate) stream: mpsc::Receiver<Item>,
}

impl Items {
    /// The next item; `None` after the last one. Cancel safe: a call that is dropped has taken nothing.
    pub async fn next(&mut self) -> Option<Item> {
        self.stream.recv().await
    }

    /// The events of one type, with gaps, refusals and states as ever.
    ///
    /// ```no_run
    /// use eventwire_client::{Client, Item, Typed};
    /// use eventwire_protocol::event::chat::Fragment;
    ///
    /// # async fn show() -> Result<(), Box<dyn std::error::Error>> {
    /// let (_client, items) = Client::builder("http://127.0.0.1:4800").subscribe("session:abc").build()?;
    /// let mut fragments = items.on::<Fragment>();
    /// while let Some(item) = fragments.next().await {
    ///     match item {
    ///         Typed::Event(event) => print!("{}", event.data.content),
    ///         Typed::Other(Item::Gap(gap)) => eprintln!("load {} again", gap.stream),
    ///         Typed::Other(_) => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn on<P: Payload>(self) -> Only<P> {
        Only::new(self)
    }
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.stream.poll_recv(context)
    }
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It makes a connection.
    #[default]
    Connecting,
    /// It has one, and the server has said welcome.
    Connected,
    /// It waits before the next attempt.
    Waiting,
    /// It ended, as somebody decided.
    Closed,
    /// It gave up.
    Failed,
}

/// How a client is, at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// What the present or the last connection was made over.
    pub transport: Transport,
    /// The round trip to the server, smoothed. Over a WebSocket it is that of pings; an event stream has only its opening to
    /// measure. Of an earlier connection until the present one is measured.
    pub latency: Option<Duration>,
    /// What that means: [`Quality::Offline`] unless connected.
    pub quality: Quality,
}

/// Tells of every change of a [`Status`]; of several at once it tells the last.
#[derive(Clone, Debug)]
pub struct StatusChanges {
    status: watch::Receiver<Status>,
}

impl StatusChanges {
    /// The status after the next change; `None` once the client has ended and its last status was told.
    pub async fn next(&mut self) -> Option<Status> {
        self.status.changed().await.ok()?;
        Some(*self.status.borrow_and_update())
    }
}

pub(crate) enum Call {
    Subscribe(Vec<(Target, Option<Position>)>, Waiting),
    Unsubscribe(Vec<Target>, Waiting),
    Ping(Option<Value>, Waiting),
    Authenticate(String, Waiting),
    Checkpoint(oneshot::Sender<Checkpoint>),
    Close,
}

pub(crate) type Waiting = oneshot::Sender<Result<Option<Event>, CommandError>>;

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
    /// A client of the server at `http://host:port` or `ws://host:port/v1/ws`, with TLS at `https://` and `wss://`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    /// Receives targets, each from a position on where one is given, else from now on. Holds over reconnects. Each target
    /// is accepted or refused by itself; the answer says which. What several tasks ask for at once is one command, and none is
    /// sent faster than the server allows. Without a connection the call waits for the next one, as one of at most 64 commands.
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
    /// See [`CommandError`]; `NoCommands` over server-sent events.
    pub async fn ping(&self) -> Result<Duration, CommandError> {
        let sent = Instant::now();
        self.call(|waiting| Call::Ping(None, waiting)).await?;
        Ok(sent.elapsed())
    }

    /// Goes on with another token, now and after every reconnect. Subscriptions are judged again; those that are lost come
    /// as an `unsubscribed` event. Over server-sent events the stream is opened again.
    ///
    /// # Errors
    /// See [`CommandError`]. When refused over a WebSocket, the old token stays.
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

    /// How the client is now: phase, transport, latency, quality.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Tells of changes from now on.
    pub fn status_changes(&self) -> StatusChanges {
        let mut status = self.status.clone();
        status.mark_unchanged();
        StatusChanges { status }
    }

    /// Ends the client with a polite close. Its last item is [`State::Closed`](crate::State::Closed) with code 1000.
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

pub(crate) fn parse_target(to: &str) -> Result<Target, IdError> {
    let target: Target = to.parse()?;
    if is_joinable(&target) {
        return Ok(target);
    }
    // Reads as no context id, and says what one is.
    to.trim_start_matches("session:").parse::<ContextId>().map(|id| Target::Session(id.into()))
}

fn parse_call_target(to: &str) -> Result<Target, CommandError> {
    parse_target(to).map_err(|source| CommandError::Target { to: to.to_owned(), source })
}
