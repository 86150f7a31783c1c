//! The shell around [`crate::session`]: one task that owns the connection, asks for tokens, and moves text between the two.
//!
//! The task never holds more than a bounded number of items that the application has not taken; beyond that it stops
//! reading the connection, and the server's flow control takes over. Answers come over the same connection, so an application
//! that waits for an answer must have somebody read the items meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use eventwire_protocol::{
    address::Target,
    catalog::Event,
    error::ErrorCode,
    event::connection,
    limits::{MAX_EVENT_BYTES, MAX_SUBSCRIPTIONS},
    time::Time,
    version,
};
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::Full;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::{
    awake::{Awake, SLICE},
    builder::Liveness,
    client::{Call, ITEMS, Phase, Status, Waiting},
    error::CommandError,
    event_stream::Block,
    held::{Batch, Calls, Held, part_of},
    net::{Dialer, Heard, Link, NoConnection, USER_AGENT, bearer},
    pace::Pace,
    quality::{Latency, Quality},
    reconnect::{Ended, Farewell, Next, Reconnect},
    session::{Answer, CommandId, Item, MAX_WAITING_CALLS, Output, Session, State},
    token::{Credential, Need, TokenError, TokenSource, margin},
    transport::{Choice, Transport},
    url::Server,
};

/// From the first byte to the welcome.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How long a token is waited for.
const TOKEN_LIMIT: Duration = Duration::from_secs(15);
/// After a token source failed while the present token still holds.
const TOKEN_RETRY: Duration = Duration::from_secs(5);
/// How long a command may take to leave.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// A server that does not answer a close is not waited for longer.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// The latency is first measured after this part of the time between pings, when what was missed has come.
const FIRST_PING: u32 = 50;
/// Silence on an event stream: three of its comments (SSE-06).
const SSE_SILENCE: Duration = Duration::from_secs(45);
/// Largest frame that is read. An event may have 1 MiB as it is published, and grow when its numbers are written anew: `1e15`
/// becomes four times as long.
const MAX_FRAME_BYTES: usize = 8 * MAX_EVENT_BYTES;
/// In how many turns of the runtime calls are collected at most.
const MAX_TURNS: usize = 8;
/// Close code of an end that the application wanted.
const NORMAL: u16 = 1000;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type Dialling = Pin<Box<dyn Future<Output = Result<Link, NoConnection>> + Send>>;
type Asking = Pin<Box<dyn Future<Output = Result<Credential, TokenError>> + Send>>;

/// What is shown to the server, and where the next comes from.
pub(crate) struct Credentials {
    source: Option<Arc<dyn TokenSource>>,
    present: Option<Credential>,
    /// When the present one is to be replaced.
    replace_at: Option<Instant>,
    /// The server did not take the present one.
    refused: bool,
}

impl Credentials {
    pub(crate) fn new(first: Option<Credential>, source: Option<Arc<dyn TokenSource>>) -> Self {
        let mut credentials = Credentials { source, present: None, replace_at: None, refused: false };
        if let Some(first) = first {
            credentials.install(first);
        }
        credentials
    }

    fn install(&mut self, credential: Credential) {
        (self.replace_at, self.refused) = (None, false);
        if let Credential::Token { expires_at: Some(at), .. } = &credential {
            self.expires_in(at.duration_since(SystemTime::now()).unwrap_or_default());
        }
        self.present = Some(credential);
    }

    fn expires_in(&mut self, left: Duration) {
        // One that holds for longer than clocks count does not expire.
        self.replace_at = Instant::now().checked_add(left.saturating_sub(margin(left)));
    }

    /// The server says when the credentials end, and what its clock says now. Its clock counts.
    fn end_at(&mut self, end: Option<Time>, now: Time) {
        if let Some(end) = end {
            let micros = end.as_unix_micros().saturating_sub(now.as_unix_micros());
            self.expires_in(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
        }
    }

    /// Why another one is needed before the next connection, where one can be had.
    fn need(&self) -> Option<(Need, &Arc<dyn TokenSource>)> {
        let source = self.source.as_ref()?;
        let need = match &self.present {
            _ if self.refused => Need::Refused,
            None | Some(Credential::Ticket(_)) => Need::First,
            Some(Credential::Token { .. }) if self.replace_at.is_some_and(|at| at <= Instant::now()) => Need::Expiring,
            Some(Credential::Token { .. }) => return None,
        };
        Some((need, source))
    }

    /// The header `Authorization`, if there is a token. One that cannot stand in a header is as good as none, and is said.
    fn authorization(&self) -> Result<Option<HeaderValue>, Ended> {
        match &self.present {
            Some(Credential::Token { token, .. }) => {
                bearer(token).map(Some).map_err(|error| Ended::NoToken(error.to_string()))
            }
            _ => Ok(None),
        }
    }

    /// A ticket as the last part of a query.
    fn ticket(&self) -> Option<String> {
        match &self.present {
            Some(Credential::Ticket(ticket)) => Some(format!("ticket={}", escaped(ticket.trim_ascii()))),
            _ => None,
        }
    }

    fn has_ticket(&self) -> bool {
        matches!(self.present, Some(Credential::Ticket(_)))
    }
}

/// As it may stand in a query.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Who waits for the answer to a command.
pub(crate) enum Waiter {
    /// The application, perhaps with a token that is to be kept when the server takes it.
    Caller(Waiting, Option<String>),
    /// Callers whose targets went as one command.
    Batch(Batch),
    /// The measurement of the latency.
    Latency(Instant),
    /// A token that replaces one that is about to expire.
    Renewal(Credential),
}

pub(crate) struct Task {
    pub(crate) server: Server,
    pub(crate) dialer: Dialer,
    pub(crate) credentials: Credentials,
    pub(crate) session: Session,
    pub(crate) reconnect: Reconnect,
    pub(crate) choice: Choice,
    pub(crate) liveness: Liveness,
    pub(crate) latency: Latency,
    pub(crate) status: watch::Sender<Status>,
    /// `None` once the last handle is gone.
    pub(crate) calls: Option<mpsc::Receiver<Call>>,
    pub(crate) items: mpsc::Sender<Item>,
    /// Items that the application has no room for yet.
    pub(crate) send_queue: VecDeque<Item>,
    pub(crate) waiting: HashMap<CommandId, Waiter>,
    /// Calls that are no command yet.
    pub(crate) held: Calls,
    /// How fast commands may be sent over the present connection.
    pub(crate) pace: Option<Pace>,
    pub(crate) awake: Awake,
    /// Who gave the token with which an event stream is opened again.
    pub(crate) renewed: Option<Waiting>,
    /// A connection over a better transport, opened beside the present one.
    pub(crate) opened: Option<Link>,
    /// What the clock of the server said, and when.
    pub(crate) server_clock: Option<(Time, Instant)>,
    pub(crate) started: Instant,
}

/// Why the task ends without another attempt.
struct Stopped {
    code: u16,
    reason: String,
}

/// What ends one connection, or the attempt to make one.
enum End {
    /// By itself.
    Ended(Ended),
    /// The application wants no more.
    Stopped(Stopped),
    /// Another one is to take its place at once.
    Reopen,
}

/// How one connection went.
struct Went {
    end: End,
    farewell: Farewell,
    /// Whether there was a server.
    reached: bool,
    welcomed: bool,
}

impl Task {
    pub(crate) async fn run(mut self) {
        let last = loop {
            let went = self.connection().await;
            let mut outputs = Vec::new();
            self.session.disconnected(&mut outputs);
            self.settle(outputs);
            self.pace = None;
            // What waited for its turn waits for a connection, as far as it can.
            let outputs = self.release();
            self.settle(outputs);
            let (ended, farewell) = match went.end {
                End::Stopped(Stopped { code, reason }) => break State::Closed { code, reason },
                End::Reopen => continue,
                End::Ended(ended) => (ended, went.farewell),
            };
            tracing::debug!(?ended, "connection ended");
            if let Some(waiting) = self.renewed.take() {
                // The caller may have given up; then nobody needs it.
                let _ = waiting.send(Err(CommandError::Disconnected));
            }
            let now = self.started.elapsed();
            let moved = !went.welcomed && self.choice.failed(&ended, went.reached, now);
            let refresh = self.credentials.source.is_some() && self.reconnect.refreshes(&ended, now);
            self.credentials.refused |= refresh;
            let next = match moved || refresh {
                true => self.reconnect.again(farewell, now, random()),
                false => self.reconnect.after(&ended, farewell, now, random()),
            };
            match next {
                Next::Stop { code, reason } => break State::Closed { code, reason },
                Next::GiveUp { attempts } => break State::Failed { attempts, because: ended },
                Next::Retry { attempt, after } => {
                    let over = self.choice.next(now + after);
                    self.send_queue.push_back(Item::State(State::Reconnecting {
                        attempt,
                        after,
                        because: ended,
                        over,
                    }));
                    self.phase(Phase::Waiting);
                    if let Some(Stopped { code, reason }) = self.stay_away(Instant::now() + after).await {
                        break State::Closed { code, reason };
                    }
                }
            }
        };
        self.phase(if matches!(last, State::Failed { .. }) { Phase::Failed } else { Phase::Closed });
        self.send_queue.push_back(Item::State(last));
        // No call is answered any more; the application takes what is left in its own time.
        self.waiting.clear();
        self.calls = None;
        while let Some(item) = self.send_queue.pop_front() {
            if self.items.send(item).await.is_err() {
                break;
            }
        }
    }

    fn phase(&self, phase: Phase) {
        let quality = if phase == Phase::Connected { self.latency.quality() } else { Quality::Offline };
        let status = Status { phase, transport: self.session.over(), latency: self.latency.smoothed(), quality };
        self.status.send_if_modified(|present| std::mem::replace(present, status) != status);
    }

    fn measured(&mut self, round_trip: Duration) {
        self.latency.measured(round_trip);
        self.phase(Phase::Connected);
    }

    /// Waits before another attempt. After a sleep of the machine the server may be there again.
    async fn stay_away(&mut self, until: Instant) -> Option<Stopped> {
        self.awake = Awake::default();
        while Instant::now() < until {
            if self.slept() {
                return None;
            }
            let stopped = self.wait(until.min(Instant::now() + SLICE)).await;
            if stopped.is_some() {
                return stopped;
            }
        }
        None
    }

    fn slept(&mut self) -> bool {
        self.awake.slept(self.started.elapsed(), SystemTime::now())
    }

    /// Waits, while calls are answered and items are handed out.
    async fn wait(&mut self, until: Instant) -> Option<Stopped> {
        loop {
            tokio::select! {
                () = sleep_until(until) => return None,
                call = next_call(&mut self.calls) => {
                    let outputs = match self.calls(call).await {
                        Ok(outputs) => outputs,
                        Err(End::Stopped(stopped)) => return Some(stopped),
                        Err(_) => continue,
                    };
                    self.settle(outputs);
                }
                gone = hand_out(&self.items, &mut self.send_queue) => if gone {
                    return Some(nobody_reads());
                },
            }
        }
    }

    /// One connection, from the first byte to its end.
    async fn connection(&mut self) -> Went {
        let opened = self.opened.take();
        let over = self.choice.next(self.started.elapsed());
        self.send_queue.push_back(Item::State(State::Connecting { over }));
        self.phase(Phase::Connecting);
        let mut went = Went { end: End::Reopen, farewell: Farewell::None, reached: false, welcomed: false };
        let deadline = Instant::now() + CONNECT_LIMIT;
        let mut link = match opened {
            Some(link) => {
                self.session.over_websocket();
                link
            }
            None => match self.open(over, deadline, &mut went).await {
                Ok(link) => link,
                Err(end) => {
                    went.end = end;
                    return went;
                }
            },
        };
        went.reached = true;
        went.end = self.serve(&mut link, deadline, &mut went).await;
        let code = match &went.end {
            End::Stopped(stopped) => stopped.code,
            End::Reopen => NORMAL,
            End::Ended(_) => return went,
        };
        // In a task of its own, so that whoever takes its place need not wait.
        tokio::spawn(async move { timeout(CLOSE_LIMIT, link.close(code)).await });
        went
    }

    /// Dials, with something to show where that is needed.
    async fn open(&mut self, over: Transport, deadline: Instant, went: &mut Went) -> Result<Link, End> {
        if let Some((need, source)) = self.credentials.need() {
            let asking = source.credential(need);
            let limit = Instant::now() + TOKEN_LIMIT;
            let why = tokio::select! {
                answer = asking => match answer {
                    Ok(credential) => {
                        self.credentials.install(credential);
                        None
                    }
                    Err(error) => Some(error.to_string()),
                },
                stopped = self.wait(limit) => match stopped {
                    Some(stopped) => return Err(End::Stopped(stopped)),
                    None => Some("the source of tokens did not answer in time".to_owned()),
                },
            };
            if let Some(why) = why {
                return Err(End::Ended(Ended::NoToken(why)));
            }
        }
        let dialling = self.dial(over).map_err(End::Ended)?;
        tokio::select! {
            dialled = dialling => dialled.map_err(|no| {
                went.reached = no.reached;
                End::Ended(no.ended)
            }),
            stopped = self.wait(deadline.max(Instant::now() + CONNECT_LIMIT / 2)) => Err(match stopped {
                Some(stopped) => End::Stopped(stopped),
                None => {
                    // Whoever takes the line and says nothing may be a proxy that knows no upgrades.
                    went.reached = true;
                    End::Ended(no_answer())
                }
            }),
        }
    }

    /// A connection in the making. Tells the session what will carry it.
    fn dial(&mut self, over: Transport) -> Result<Dialling, Ended> {
        match over {
            Transport::WebSocket => {
                self.session.over_websocket();
                self.dial_websocket()
            }
            Transport::Sse => {
                let asked = self.session.over_sse();
                let query: Vec<String> =
                    [Some(asked.query).filter(|query| !query.is_empty()), self.credentials.ticket()]
                        .into_iter()
                        .flatten()
                        .collect();
                let dialled = self.server.http("sse");
                let uri: http::Uri = dialled.parse().map_err(lost_for)?;
                let path = match query.is_empty() {
                    true => uri.path().to_owned(),
                    false => format!("{}?{}", uri.path(), query.join("&")),
                };
                let mut request = Request::new(Full::new(Bytes::new()));
                *request.uri_mut() = path.parse().map_err(lost_for)?;
                let headers = request.headers_mut();
                let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
                headers.insert(header::HOST, HeaderValue::from_str(host).map_err(lost_for)?);
                headers.insert(header::USER_AGENT, USER_AGENT);
                headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
                if let Some(cursor) = asked.last_event_id {
                    headers.insert(LAST_EVENT_ID, HeaderValue::from_str(&cursor).map_err(lost_for)?);
                }
                if let Some(authorization) = self.credentials.authorization()? {
                    headers.insert(header::AUTHORIZATION, authorization);
                }
                let dialer = self.dialer.clone();
                Ok(Box::pin(async move { dialer.event_stream(&dialled, request, MAX_FRAME_BYTES).await }))
            }
        }
    }

    fn dial_websocket(&self) -> Result<Dialling, Ended> {
        let mut url = self.server.websocket();
        if let Some(ticket) = self.credentials.ticket() {
            url = format!("{url}?{ticket}");
        }
        let mut request = url.into_client_request().map_err(lost_for)?;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(version::SUBPROTOCOL));
        if let Some(authorization) = self.credentials.authorization()? {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let (dialer, dialled) = (self.dialer.clone(), self.server.http("ws"));
        Ok(Box::pin(async move { dialer.websocket(&dialled, request, MAX_FRAME_BYTES).await }))
    }

    /// Moves text between the connection and the session until one of them ends it.
    async fn serve(&mut self, link: &mut Link, welcome_by: Instant, went: &mut Went) -> End {
        let mut watch = Watch {
            patience: CONNECT_LIMIT,
            silent_at: welcome_by.max(Instant::now() + CONNECT_LIMIT / 2),
            answer_by: None,
            ping_at: None,
        };
        let (mut retry, mut announced) = (None, None);
        self.awake = Awake::default();
        let mut asking: Option<Asking> = None;
        let mut trying: Option<Dialling> = None;
        loop {
            // An application that takes nothing is not a server that says nothing.
            let reads = self.send_queue.len() < ITEMS;
            let replace_at = self.credentials.replace_at.filter(|_| asking.is_none() && went.welcomed);
            let return_at = self.choice.return_at().filter(|_| trying.is_none() && went.welcomed);
            let wake = [
                reads.then_some(watch.silent_at),
                watch.answer_by.filter(|_| reads),
                watch.ping_at,
                replace_at.filter(|_| self.credentials.source.is_some()),
                return_at.map(|at| self.started + at),
                self.release_at(),
                Some(Instant::now() + SLICE),
            ];
            let turn = tokio::select! {
                heard = link.next(), if reads => Turn::Heard(heard),
                call = next_call(&mut self.calls) => Turn::Call(call),
                gone = hand_out(&self.items, &mut self.send_queue) => match gone {
                    true => return End::Stopped(nobody_reads()),
                    false => {
                        watch.handed_out(self.liveness.answer_within);
                        continue;
                    }
                },
                answer = pending(&mut asking) => Turn::Token(answer),
                dialled = pending(&mut trying) => Turn::Tried(dialled),
                () = sleep_until_first(wake) => Turn::Time,
            };
            if self.slept() && went.welcomed {
                // The connection may have gone while this machine slept.
                match link {
                    Link::WebSocket(_) => watch.ping_at = Some(Instant::now()),
                    Link::Sse(_) => return End::Reopen,
                }
            }
            let outputs = match turn {
                Turn::Heard(heard) => {
                    watch.heard();
                    match heard {
                        Heard::Text(text) => {
                            let mut outputs = Vec::new();
                            self.session.receive(&text, &mut outputs);
                            outputs
                        }
                        Heard::Block(Block { id, data, retry: said }) => {
                            retry = said.or(retry);
                            let mut outputs = Vec::new();
                            if let Some(data) = data {
                                self.session.receive(&data, &mut outputs);
                            }
                            if let Some(id) = id {
                                self.session.passed(&id);
                            }
                            outputs
                        }
                        Heard::Life => Vec::new(),
                        Heard::End(ended) => return End::Ended(announced.unwrap_or(ended)),
                        Heard::Finished => {
                            // A server that can take nobody answers an event stream with when to come again.
                            if let (false, Farewell::None, Some(millis)) = (went.welcomed, went.farewell, retry) {
                                went.farewell = Farewell::ReturnAfter(Duration::from_millis(millis));
                            }
                            return announced.map_or_else(|| lost("end of stream"), End::Ended);
                        }
                    }
                }
                Turn::Call(call) => match self.calls(call).await {
                    Ok(outputs) => outputs,
                    Err(end) => return end,
                },
                Turn::Token(answer) => {
                    asking = None;
                    match self.renew(answer, link) {
                        Ok(outputs) => outputs,
                        Err(end) => return end,
                    }
                }
                Turn::Tried(dialled) => {
                    trying = None;
                    let now = self.started.elapsed();
                    if let Ok(link) = dialled {
                        self.choice.returned(true, now);
                        self.opened = Some(link);
                        return End::Reopen;
                    }
                    self.choice.returned(false, now);
                    Vec::new()
                }
                Turn::Time => {
                    let now = Instant::now();
                    if reads && watch.silent_at <= now {
                        return End::Ended(silence(went.welcomed, watch.patience));
                    }
                    if reads && watch.answer_by.is_some_and(|by| by <= now) {
                        let why = "the connection is open, but the server does not answer";
                        return End::Ended(Ended::Silent(why.to_owned()));
                    }
                    let mut outputs = self.release();
                    if watch.ping_at.is_some_and(|at| at <= now) {
                        self.spend(0);
                        let id = self.session.ping(None, &mut outputs);
                        self.waiting.insert(id, Waiter::Latency(now));
                        watch.ping_at = Some(now + self.liveness.ping_every);
                        watch.answer_by = watch.answer_by.or(Some(now + self.liveness.answer_within));
                    }
                    if replace_at.is_some_and(|at| at <= now)
                        && let Some(source) = &self.credentials.source
                    {
                        let asked = source.credential(Need::Expiring);
                        asking = Some(Box::pin(async move {
                            timeout(TOKEN_LIMIT, asked)
                                .await
                                .unwrap_or_else(|_| Err("the source of tokens did not answer in time".into()))
                        }));
                    }
                    if return_at.is_some_and(|at| self.started + at <= now) {
                        // Only a WebSocket that needs no ticket can be tried beside: an event stream changes what the
                        // session believes, and a ticket opens one connection.
                        if self.choice.preferred() != Transport::WebSocket || self.credentials.has_ticket() {
                            return End::Reopen;
                        }
                        if let Ok(dialling) = self.dial_websocket() {
                            trying = Some(Box::pin(async move {
                                timeout(CONNECT_LIMIT, dialling)
                                    .await
                                    .unwrap_or_else(|_| Err(NoConnection { ended: no_answer(), reached: true }))
                            }));
                        }
                    }
                    outputs
                }
            };
            for output in self.settle(outputs) {
                match output {
                    Output::Send(text) => match timeout(SEND_LIMIT, link.send(text)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(why)) => return lost(&why),
                        Err(_) => return lost("the server takes nothing"),
                    },
                    Output::Farewell(said) => went.farewell = said,
                    Output::WillClose { code, reason } => announced = Some(Ended::Closed { code, reason }),
                    Output::HangUp(reason) => return lost(&reason),
                    Output::Reopen => return End::Reopen,
                    Output::Item(Item::State(State::Connected(welcome))) => {
                        went.welcomed = true;
                        self.connected(&welcome, link, &mut watch);
                    }
                    Output::Item(_) | Output::Answer(..) => {}
                }
            }
        }
    }

    fn connected(&mut self, welcome: &connection::Welcome, link: &Link, watch: &mut Watch) {
        self.reconnect.connected(self.started.elapsed());
        self.choice.welcomed();
        self.pace = matches!(link, Link::WebSocket(_)).then(|| Pace::new(&welcome.limits));
        // The targets were subscribed behind the welcome.
        let resumed = self.session.resumed();
        for _ in 0..resumed.div_ceil(MAX_SUBSCRIPTIONS) {
            self.spend(resumed.min(MAX_SUBSCRIPTIONS));
        }
        self.credentials.end_at(welcome.expires_at, welcome.server_time);
        self.server_clock = Some((welcome.server_time, Instant::now()));
        if let Some(waiting) = self.renewed.take() {
            // The caller may have given up; then nobody needs it.
            let _ = waiting.send(Ok(None));
        }
        let now = Instant::now();
        let usual = match link {
            // Two heartbeats may be late; then nobody is there.
            Link::WebSocket(_) => {
                watch.ping_at = Some(now + self.liveness.ping_every / FIRST_PING);
                Duration::from_millis(welcome.heartbeat_interval_ms).saturating_mul(2) + CONNECT_LIMIT
            }
            Link::Sse(stream) => {
                self.latency.measured(stream.opened_in);
                SSE_SILENCE
            }
        };
        watch.patience = self.liveness.silence.map_or(usual, |silence| silence.min(usual));
        watch.heard();
        self.phase(Phase::Connected);
    }

    /// Takes another token while connected.
    fn renew(&mut self, answer: Result<Credential, TokenError>, link: &Link) -> Result<Vec<Output>, End> {
        let mut outputs = Vec::new();
        match (answer, link) {
            (Ok(Credential::Token { token, expires_at }), Link::WebSocket(_)) => {
                // Asked for again if the server does not answer; judged again when it does.
                self.credentials.replace_at = Some(Instant::now() + TOKEN_RETRY);
                self.spend(0);
                let id = self.session.authenticate(token.clone(), &mut outputs);
                self.waiting.insert(id, Waiter::Renewal(Credential::Token { token, expires_at }));
            }
            (Ok(credential), _) => {
                // An event stream, and a ticket, are shown something only when they are opened.
                self.credentials.install(credential);
                return Err(End::Reopen);
            }
            (Err(error), _) => {
                tracing::debug!(%error, "no token");
                self.credentials.replace_at = Some(Instant::now() + TOKEN_RETRY);
            }
        }
        Ok(outputs)
    }

    /// Hands out answers and items, and gives back what concerns the connection.
    fn settle(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        let mut rest = Vec::new();
        for output in outputs {
            match output {
                Output::Answer(id, answer) => self.answer(id, answer),
                Output::Item(Item::State(state)) => {
                    self.send_queue.push_back(Item::State(state.clone()));
                    rest.push(Output::Item(Item::State(state)));
                }
                Output::Item(item) => {
                    if matches!(&item, Item::Event(frame) if !frame.kind.starts_with("connection.")) {
                        self.reconnect.delivered();
                    }
                    self.send_queue.push_back(item);
                }
                other => rest.push(other),
            }
        }
        rest
    }

    fn answer(&mut self, id: CommandId, answer: Answer) {
        let (waiting, token) = match self.waiting.remove(&id) {
            Some(Waiter::Caller(waiting, token)) => (waiting, token),
            Some(Waiter::Batch(batch)) => return self.answer_batch(batch, answer),
            Some(Waiter::Latency(sent)) => {
                if matches!(answer, Answer::Done(_)) {
                    self.measured(sent.elapsed());
                }
                return;
            }
            Some(Waiter::Renewal(credential)) => {
                match answer {
                    Answer::Done(event) => {
                        self.credentials.install(credential);
                        self.new_end(&event);
                    }
                    answer => tracing::debug!(?answer, "the new token was not taken"),
                }
                return;
            }
            None => return,
        };
        let answer = match answer {
            Answer::Done(event) => {
                if let Some(token) = token {
                    self.credentials.install(Credential::token(token));
                    self.new_end(&event);
                }
                Ok(Some(*event))
            }
            Answer::Moot => Ok(None),
            Answer::Refused(error) => Err(CommandError::Refused(Box::new(error))),
            Answer::Disconnected => Err(CommandError::Disconnected),
            Answer::NoCommands => Err(CommandError::NoCommands),
            Answer::Overflow => Err(CommandError::Overflow { limit: MAX_WAITING_CALLS }),
        };
        // The caller may have given up; then nobody needs it.
        let _ = waiting.send(answer);
    }

    /// The answer to `authenticate` says when the new credentials end (AUTH-11).
    fn new_end(&mut self, event: &Event) {
        let Event::ConnectionReply(reply) = event else { return };
        let end = reply.data.get("expires_at").and_then(|end| serde_json::from_value(end.clone()).ok());
        if let Some((said, at)) = self.server_clock {
            let since = i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX);
            self.credentials.end_at(end, said.plus_micros(since));
        }
    }

    /// Answers each caller of a command with what concerns it; a command that was refused for now is sent again.
    fn answer_batch(&mut self, batch: Batch, answer: Answer) {
        let answer_for = |targets: &[Target]| match &answer {
            Answer::Done(event) => Ok(Some(match &**event {
                Event::ConnectionSubscribed(subscribed) => Event::ConnectionSubscribed(part_of(subscribed, targets)),
                other => other.clone(),
            })),
            Answer::Moot => Ok(None),
            Answer::Refused(error) => Err(CommandError::Refused(Box::new(error.clone()))),
            Answer::Disconnected => Err(CommandError::Disconnected),
            Answer::NoCommands => Err(CommandError::NoCommands),
            Answer::Overflow => Err(CommandError::Overflow { limit: MAX_WAITING_CALLS }),
        };
        if let (Answer::Refused(error), Some(pace)) = (&answer, &mut self.pace)
            && error.code == ErrorCode::RateLimited
        {
            let wait = Duration::from_millis(error.retry_after_ms.unwrap_or(1_000));
            pace.pause(wait, self.started.elapsed());
            self.held.again(batch);
            return;
        }
        for (targets, waiting) in batch.callers {
            // The caller may have given up; then the answer has no reader.
            let _ = waiting.send(answer_for(&targets));
        }
    }

    /// Takes a call, and those that other tasks make in the same turn of the runtime.
    async fn calls(&mut self, first: Option<Call>) -> Result<Vec<Output>, End> {
        let mut call = first;
        for _ in 0..MAX_TURNS {
            self.call(call.take())?;
            while let Some(Ok(next)) = self.calls.as_mut().map(mpsc::Receiver::try_recv) {
                self.call(Some(next))?;
            }
            tokio::task::yield_now().await;
            call = match self.calls.as_mut().map(mpsc::Receiver::try_recv) {
                Some(Ok(next)) => Some(next),
                _ => break,
            };
        }
        Ok(self.release())
    }

    /// The commands of the calls that may be sent now.
    fn release(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(first) = self.held.first() {
            let targets = first.targets();
            if let Some(pace) = &mut self.pace
                && !pace.wait(targets, self.started.elapsed()).is_zero()
            {
                break;
            }
            let Some(held) = self.held.take() else { break };
            self.spend(targets);
            let session = &mut self.session;
            let (id, waiter) = match held {
                Held::Batch(batch) if batch.wanted => {
                    (session.subscribe(batch.targets.clone(), &mut outputs), Waiter::Batch(batch))
                }
                Held::Batch(batch) => {
                    let targets = batch.targets.iter().map(|(target, _)| target.clone()).collect();
                    (session.unsubscribe(targets, &mut outputs), Waiter::Batch(batch))
                }
                Held::Ping(time, waiting) => (session.ping(time, &mut outputs), Waiter::Caller(waiting, None)),
                Held::Authenticate(token, waiting) => {
                    (session.authenticate(token.clone(), &mut outputs), Waiter::Caller(waiting, Some(token)))
                }
            };
            self.waiting.insert(id, waiter);
        }
        outputs
    }

    fn release_at(&mut self) -> Option<Instant> {
        let targets = self.held.first()?.targets();
        let now = self.started.elapsed();
        self.pace.as_mut().map(|pace| self.started + now + pace.wait(targets, now))
    }

    fn spend(&mut self, targets: usize) {
        if let Some(pace) = &mut self.pace {
            pace.spend(targets);
        }
    }

    fn call(&mut self, call: Option<Call>) -> Result<(), End> {
        self.forget_the_impatient();
        let session = &mut self.session;
        match call {
            Some(Call::Subscribe(targets, waiting)) => self.held.change(true, targets, waiting),
            Some(Call::Unsubscribe(targets, waiting)) => {
                self.held.change(false, targets.into_iter().map(|target| (target, None)).collect(), waiting);
            }
            Some(Call::Ping(time, waiting)) => self.held.push(Held::Ping(time, waiting)),
            Some(Call::Authenticate(token, waiting)) if session.is_connected() && session.over() == Transport::Sse => {
                self.credentials.install(Credential::token(token));
                self.renewed = Some(waiting);
                return Err(End::Reopen);
            }
            Some(Call::Authenticate(token, waiting)) => self.held.push(Held::Authenticate(token, waiting)),
            Some(Call::Checkpoint(answer)) => {
                // The caller may have given up; then nobody needs it.
                let _ = answer.send(session.checkpoint());
            }
            Some(Call::Close) => {
                return Err(End::Stopped(Stopped { code: NORMAL, reason: "closed by the application".to_owned() }));
            }
            None => self.calls = None,
        }
        Ok(())
    }

    /// Callers who gave up leave nothing behind.
    fn forget_the_impatient(&mut self) {
        let session = &mut self.session;
        self.waiting.retain(|id, waiter| {
            let waits = match waiter {
                Waiter::Caller(waiting, _) => !waiting.is_closed(),
                Waiter::Batch(batch) => batch.callers.iter().any(|(_, waiting)| !waiting.is_closed()),
                Waiter::Latency(_) | Waiter::Renewal(_) => true,
            };
            if !waits {
                session.abandon(*id);
            }
            waits
        });
    }
}

/// Whether anybody is there.
struct Watch {
    /// The longest silence.
    patience: Duration,
    silent_at: Instant,
    /// Something must have come by then, for a ping was sent.
    answer_by: Option<Instant>,
    ping_at: Option<Instant>,
}

impl Watch {
    fn heard(&mut self) {
        self.silent_at = Instant::now() + self.patience;
        self.answer_by = None;
    }

    /// The application took an item: what was not read until now was not read because of it.
    fn handed_out(&mut self, answer_within: Duration) {
        let now = Instant::now();
        self.silent_at = self.silent_at.max(now + self.patience);
        self.answer_by = self.answer_by.map(|by| by.max(now + answer_within));
    }
}

enum Turn {
    Heard(Heard),
    Call(Option<Call>),
    Token(Result<Credential, TokenError>),
    Tried(Result<Link, NoConnection>),
    Time,
}

fn no_answer() -> Ended {
    let seconds = CONNECT_LIMIT.as_secs();
    Ended::Silent(format!("no answer to the handshake within {seconds} s; a proxy on the way may hold it back"))
}

fn silence(welcomed: bool, patience: Duration) -> Ended {
    let seconds = patience.as_secs_f32();
    Ended::Silent(match welcomed {
        true => format!("the connection is open, but nothing arrived for {seconds} s"),
        false => format!(
            "the connection is open, but nothing arrived within {seconds} s of its opening; a proxy on the way may hold it back"
        ),
    })
}

fn lost(why: &str) -> End {
    End::Ended(Ended::Lost(why.to_owned()))
}

fn lost_for(error: impl std::fmt::Display) -> Ended {
    Ended::Lost(error.to_string())
}

fn nobody_reads() -> Stopped {
    Stopped { code: NORMAL, reason: "nobody reads the items".to_owned() }
}

/// The end of a future that may be there; never, when there is none.
async fn pending<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until_first(times: impl IntoIterator<Item = Option<Instant>>) {
    match times.into_iter().flatten().min() {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next call; never, once all handles are gone.
async fn next_call(calls: &mut Option<mpsc::Receiver<Call>>) -> Option<Call> {
    match calls {
        Some(calls) => calls.recv().await,
        None => std::future::pending().await,
    }
}

/// Hands the application one item, as soon as there is one and there is room. Whether the application is gone.
async fn hand_out(items: &mpsc::Sender<Item>, send_queue: &mut VecDeque<Item>) -> bool {
    if send_queue.is_empty() {
        items.closed().await;
        return true;
    }
    let Ok(room) = items.reserve().await else { return true };
    if let Some(item) = send_queue.pop_front() {
        room.send(item);
    }
    false
}

/// Randomness for the jitter. Without any, the wait is the longest one of its attempt at least for some.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
