//! What a client is told before it starts.

use std::{collections::HashMap, collections::VecDeque, fmt, sync::Arc, time::Duration};

use eventwire_protocol::{address::Target, id::Position};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    awake::Awake,
    client::{CALLS, Client, ITEMS, Items, Status, parse_target},
    error::BuildError,
    held::Calls,
    net::{Authorities, Dialer, bearer},
    quality::Latency,
    reconnect::{Backoff, Reconnect},
    session::{Checkpoint, Session},
    task::{Credentials, Task},
    token::{Credential, TokenSource},
    transport::{Choice, Fallback, Transport},
    url::Server,
};

/// How a client finds out that nobody is there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// How often the server is asked for a pong over a WebSocket; the latency is measured so. 25 s.
    pub ping_every: Duration,
    /// When nothing at all came so long after a ping, the connection is given up. 10 s.
    pub answer_within: Duration,
    /// The longest silence on a connection, if it is to be shorter than follows from what the server says: over a WebSocket
    /// two of its heartbeats and 15 s, on an event stream 45 s, which are three of its comments (SSE-06).
    pub silence: Option<Duration>,
}

impl Default for Liveness {
    fn default() -> Self {
        Liveness { ping_every: Duration::from_secs(25), answer_within: Duration::from_secs(10), silence: None }
    }
}

/// How to connect, and to what.
///
/// ```no_run
/// use std::time::Duration;
///
/// use eventwire_client::{Backoff, Client, Transport};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let (client, items) = Client::builder("https://events.example")
///     .token("secret")
///     .subscribe("adw:29fb6a3e")
///     .subscribe("room:tasks")
///     // WebSocket first, server-sent events where a proxy forbids upgrades: so it is unless another order is given.
///     .transports([Transport::WebSocket, Transport::Sse])
///     // Ten attempts in a row, then `State::Failed`.
///     .backoff(Backoff { attempts: Some(10), max: Duration::from_secs(20), ..Backoff::default() })
///     .build()?;
/// # drop((client, items));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Builder {
    url: String,
    token: Option<String>,
    source: Option<Arc<dyn TokenSource>>,
    targets: Vec<(String, Option<u64>)>,
    checkpoint: Checkpoint,
    backoff: Backoff,
    transports: Vec<Transport>,
    fallback: Fallback,
    liveness: Liveness,
    authorities: Authorities,
    command_timeout: Duration,
}

impl fmt::Debug for Builder {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("targets", &self.targets)
            .field("checkpoint", &self.checkpoint)
            .field("backoff", &self.backoff)
            .field("transports", &self.transports)
            .field("fallback", &self.fallback)
            .field("liveness", &self.liveness)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Builder {
            url,
            token: None,
            source: None,
            targets: Vec::new(),
            checkpoint: Checkpoint::default(),
            backoff: Backoff::default(),
            transports: vec![Transport::WebSocket, Transport::Sse],
            fallback: Fallback::default(),
            liveness: Liveness::default(),
            authorities: Authorities::default(),
            command_timeout: Duration::from_secs(10),
        }
    }

    /// A token for a server that wants one.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Where tokens or tickets come from: the first, unless [`Builder::token`] gave it, one before the present expires, and one
    /// when the server did not take the present.
    pub fn token_source(mut self, source: impl TokenSource) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Receive a target, from now on: `adw:<id>`, `room:<name>`, `session:<context>`, `user:<id>`, `global`.
    ///
    /// Server-sent events carry ADWs, rooms, contexts, one's own user and what is for everyone; another user waits for a
    /// WebSocket.
    pub fn subscribe(mut self, target: impl ToString) -> Self {
        self.targets.push((target.to_string(), None));
        self
    }

    /// Receive a target after the event of a number; 0 begins with the oldest event that is kept. A position of the
    /// [`Checkpoint`] counts less.
    pub fn subscribe_since(mut self, target: impl ToString, since: u64) -> Self {
        self.targets.push((target.to_string(), Some(since)));
        self
    }

    /// Receive everything that an observer may see. Needs the permission `observe`.
    pub fn observe(self) -> Self {
        self.subscribe(Target::Realm)
    }

    /// Go on where another client stopped; see [`Client::checkpoint`].
    pub fn resume(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// When to connect again, and how often.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What to connect over, the best first. WebSocket, then server-sent events, unless set.
    pub fn transports(mut self, order: impl IntoIterator<Item = Transport>) -> Self {
        self.transports = order.into_iter().collect();
        self
    }

    /// When to take another transport, and when to go back.
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// How to find out that nobody is there any more.
    pub fn liveness(mut self, liveness: Liveness) -> Self {
        self.liveness = liveness;
        self
    }

    /// Whose certificates to believe, over `https` and `wss`; those that browsers trust, unless set.
    pub fn authorities(mut self, authorities: Authorities) -> Self {
        self.authorities = authorities;
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
    /// The address, the token, a certificate or a target cannot be used.
    pub fn build(self) -> Result<(Client, Items), BuildError> {
        let server = Server::parse(&self.url)?;
        if let Some(token) = &self.token {
            bearer(token)?;
        }
        let (mut targets, mut since) = (Vec::new(), Vec::new());
        for (to, number) in self.targets {
            let target = parse_target(&to).map_err(|source| BuildError::Target { to: to.clone(), source })?;
            if let Some(number) = number {
                let position = Position::new(number).ok_or(BuildError::Since { to, since: number })?;
                since.push((target.clone(), position));
            }
            targets.push(target);
        }
        let mut checkpoint = self.checkpoint;
        checkpoint.positions.extend(since);
        let dialer = Dialer::new(self.authorities)?;
        let (calls, inbox) = mpsc::channel(CALLS);
        let (items, stream) = mpsc::channel(ITEMS);
        let (tell, status) = watch::channel(Status::default());
        let task = Task {
            server,
            dialer,
            credentials: Credentials::new(self.token.map(Credential::token), self.source),
            session: Session::new(targets, checkpoint),
            reconnect: Reconnect::new(self.backoff),
            choice: Choice::new(self.transports, self.fallback),
            liveness: self.liveness,
            latency: Latency::default(),
            status: tell,
            calls: Some(inbox),
            items,
            send_queue: VecDeque::new(),
            waiting: HashMap::new(),
            held: Calls::default(),
            pace: None,
            awake: Awake::default(),
            renewed: None,
            opened: None,
            server_clock: None,
            started: Instant::now(),
        };
        tokio::spawn(task.run());
        Ok((Client { calls, status, command_timeout: self.command_timeout }, Items { stream }))
    }
}
