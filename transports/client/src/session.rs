//! What a client remembers over all of its connections: which targets it wants, how far it has read each of them, and which
//! of its commands are unanswered. No socket, no clock, no randomness: text goes in, text and [`Output`] come out.
//!
//! A position belongs to a [`Target`], because the frames of a target come in the order of their numbers. That one number is
//! enough to resume, and everything at or below it is a duplicate. Holes are looked for in each exact stream, since `prev`
//! chains the frames of one stream: a `prev` above the last number seen there names something that never came (LOG-02).
//!
//! The positions are the same whatever carries the frames. A WebSocket is told them in a `subscribe`; an event stream over
//! HTTP is opened with its targets in the query and its positions as a cursor (SSE-02), and to want something else it is
//! opened again. So a session goes on over the other transport where it stopped on the first.

use std::collections::{BTreeMap, BTreeSet};

use eventwire_protocol::{
    address::{Audience, Target},
    catalog::Event,
    command::{Authenticate, Command, Ping, Subscribe, Unsubscribe, Unwanted, Wanted},
    error::ErrorBody,
    event::connection,
    frame::{EventFrame, Incoming},
    id::{Epoch, Position, Seq, SessionId},
    limits::MAX_SUBSCRIPTIONS,
    resume::Cursor,
};
use serde_json::Value;

use crate::{reconnect::Farewell, transport::Transport};

/// Most streams whose last number is kept for finding holes. An observer of a large realm forgets the quietest.
const MAX_STREAMS: usize = 4_096;
/// Most calls that wait for a connection.
pub const MAX_WAITING_CALLS: usize = 64;

/// Something that the application sees.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event. Of the `connection` family only what concerns the application: `replaying`, `recovered`, `closing`,
    /// `unsubscribed` that it did not ask for, and errors that answer none of its calls.
    Event(EventFrame),
    /// Events of a target that will not come. Load the present state from where it is kept.
    Gap(Gap),
    /// A target could not be subscribed (again) and is no longer wanted.
    Refused(connection::RefusedStream),
    /// A frame that this version cannot read. It counts as read; the ones behind it are not held up.
    Unreadable {
        /// What is wrong with it.
        error: ErrorBody,
        /// The frame.
        text: String,
    },
    /// The connection has another state.
    State(State),
}

/// Events that will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The target or stream they are missing from.
    pub stream: String,
    /// Why.
    pub reason: GapReason,
    /// First number that may be missing, if the history is still the same.
    pub from_seq: Option<Position>,
    /// Last number that may be missing, if the history is still the same.
    pub to_seq: Option<Position>,
}

/// Why events will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// They were older than the history keeps, or are gone for a reason that this version does not know.
    Expired,
    /// This client read so slowly that the history dropped them first.
    SlowConsumer,
    /// The history is another one than before, for instance because the server was restarted. What the new one holds
    /// follows.
    EpochChanged,
    /// The numbers say that something was sent which never arrived. The client noticed; the server did not say so.
    Hole,
}

impl From<connection::GapReason> for GapReason {
    fn from(reason: connection::GapReason) -> Self {
        match reason {
            connection::GapReason::Expired | connection::GapReason::Unknown => GapReason::Expired,
            connection::GapReason::SlowConsumer => GapReason::SlowConsumer,
            connection::GapReason::EpochChanged => GapReason::EpochChanged,
        }
    }
}

/// Where the connection stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// A connection is being made.
    Connecting {
        /// What will carry it.
        over: Transport,
    },
    /// The server has said welcome; the wanted targets are being subscribed.
    Connected(Box<connection::Welcome>),
    /// The connection is gone, another attempt follows.
    Reconnecting {
        /// How many attempts in a row this makes, from 1.
        attempt: u32,
        /// When it starts.
        after: std::time::Duration,
        /// How the last one ended.
        because: crate::reconnect::Ended,
        /// What the next attempt is made over.
        over: Transport,
    },
    /// The end that somebody decided: the application, or a server that does not want this client back. No further attempt
    /// is made. The last item of every client is this or [`State::Failed`].
    Closed {
        /// The close code, or the HTTP status of a refused handshake; 1000 when the application ended it.
        code: u16,
        /// Why.
        reason: String,
    },
    /// The end because the attempts are used up ([`Backoff::attempts`](crate::Backoff::attempts)). The server may be there
    /// again later: build another client, with the [`Checkpoint`] of this one.
    Failed {
        /// How many attempts in a row did not lead to a connection that lasted.
        attempts: u32,
        /// How the last one ended.
        because: crate::reconnect::Ended,
    },
}

impl State {
    /// Whether no further attempt is made.
    pub fn is_end(&self) -> bool {
        matches!(self, State::Closed { .. } | State::Failed { .. })
    }
}

/// How an event stream over HTTP is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseRequest {
    /// The query, without its question mark; may be empty.
    pub query: String,
    /// The header `Last-Event-ID`, where there is something to resume.
    pub last_event_id: Option<String>,
}

/// A command that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(u64);

/// What the shell does next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this text frame.
    Send(String),
    /// Hand this to the application.
    Item(Item),
    /// Answer the application's call.
    Answer(CommandId, Answer),
    /// The server announced the end of this connection, and what comes after it.
    Farewell(Farewell),
    /// The end of this event stream will be one with this close code (AUTH-11).
    WillClose {
        /// The code.
        code: u16,
        /// Why.
        reason: String,
    },
    /// This connection is of no use: end it, and connect again after a while.
    HangUp(String),
    /// This event stream was opened for something else than is wanted now: open another one at once.
    Reopen,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The server did it; `connection.subscribed` or `unsubscribed`, `pong`, `reply`.
    Done(Box<Event>),
    /// It was not needed: what was to be undone did not exist on a new connection.
    Moot,
    /// The server refused.
    Refused(connection::Error),
    /// The connection was lost before the answer came.
    Disconnected,
    /// The connection is an event stream, which carries no commands.
    NoCommands,
    /// Too many calls wait for a connection.
    Overflow,
}

/// Everything needed to go on in another process: keep it, and hand it to the next client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The history that the positions belong to.
    pub epoch: Option<Epoch>,
    /// How far each wanted target has been read.
    pub positions: BTreeMap<Target, Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interest {
    /// The application asked for it.
    Wanted,
    /// Everybody receives it; subscribed as well so that it resumes.
    Implied,
    /// Frames came although nobody asked.
    Seen,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    interest: Interest,
    /// Unknown until `subscribed` has said where the target stands.
    position: Option<Position>,
    /// Between `replaying` and `recovered`.
    replaying: bool,
    /// Asked to be resumed on this connection, and not answered yet. What comes before the answer comes again in the replay,
    /// in its order; counted now, it would hide what lies before it.
    resuming: bool,
    /// What the last heartbeat of this connection said, since it was subscribed or replayed.
    heard: Option<Position>,
}

impl Reading {
    fn new(interest: Interest, position: Option<Position>) -> Self {
        Reading { interest, position, replaying: false, resuming: false, heard: None }
    }
}

#[derive(Clone, Debug)]
struct Pending {
    command: Command,
    /// Whether it went out over the present connection.
    sent: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Session {
    connected: bool,
    epoch: Option<Epoch>,
    readings: BTreeMap<Target, Reading>,
    streams: BTreeMap<Audience, Seq>,
    pending: BTreeMap<CommandId, Pending>,
    /// The `subscribe` commands that make the targets of this connection, while unanswered.
    resumes: BTreeSet<CommandId>,
    last_id: u64,
    /// What carries the present connection, or the attempt.
    over: Transport,
    /// The present event stream was asked for before its targets changed, or before the epoch of their positions was known.
    stale: bool,
    /// Targets whose other history was told on this connection by us; the server says so as well.
    told: BTreeSet<Target>,
    /// Wanted targets that the present event stream cannot carry.
    uncarried: BTreeSet<Target>,
    /// Where an event stream began that was cut off before its welcome: what comes without asking begins there.
    began: Option<Position>,
}

impl Session {
    /// A session that wants these targets, from these positions on where they are known.
    pub fn new(targets: impl IntoIterator<Item = Target>, checkpoint: Checkpoint) -> Self {
        let wanted = |position| Reading::new(Interest::Wanted, position);
        let mut readings: BTreeMap<Target, Reading> =
            checkpoint.positions.into_iter().map(|(target, position)| (target, wanted(Some(position)))).collect();
        for target in targets {
            readings.entry(target).or_insert_with(|| wanted(None));
        }
        Session { epoch: checkpoint.epoch, readings, ..Session::default() }
    }

    /// How far everything wanted has been read.
    pub fn checkpoint(&self) -> Checkpoint {
        let positions = self
            .readings
            .iter()
            .filter(|(_, reading)| reading.interest != Interest::Seen)
            .filter_map(|(target, reading)| Some((target.clone(), reading.position?)))
            .collect();
        Checkpoint { epoch: self.epoch, positions }
    }

    /// The targets that the application wants.
    pub fn wanted(&self) -> impl Iterator<Item = &Target> {
        self.readings.iter().filter(|(_, reading)| reading.interest == Interest::Wanted).map(|(target, _)| target)
    }

    /// How many targets a connection is made with.
    pub fn resumed(&self) -> usize {
        self.readings.values().filter(|reading| reading.interest != Interest::Seen).count()
    }

    // Commands ---------------------------------------------------------------------------------------------------

    /// Wants targets, from these positions on; without a position from now on, or from where it already reads. Without a
    /// connection the targets are subscribed at the next welcome, and answered then.
    pub fn subscribe(&mut self, targets: Vec<(Target, Option<Position>)>, outputs: &mut Vec<Output>) -> CommandId {
        let mut epoch = None;
        let streams = targets
            .into_iter()
            .map(|(target, since)| {
                if since.is_some() {
                    epoch = self.epoch;
                }
                let wanted = Wanted { to: target.to_string(), since };
                let reading = self.readings.entry(target).or_insert(Reading::new(Interest::Wanted, None));
                reading.interest = Interest::Wanted;
                wanted
            })
            .collect();
        self.command(Command::Subscribe(Subscribe { epoch, streams }), outputs)
    }

    /// No longer wants targets.
    pub fn unsubscribe(&mut self, targets: Vec<Target>, outputs: &mut Vec<Output>) -> CommandId {
        let streams = targets.iter().map(|target| Unwanted { to: target.to_string() }).collect();
        for target in &targets {
            self.forget(target);
        }
        // What is for everyone comes whether it is wanted or not.
        if self.over == Transport::Sse && targets.iter().all(|target| !is_in_query(target)) {
            let id = self.next_id();
            outputs.push(Output::Answer(id, Answer::Moot));
            return id;
        }
        self.command(Command::Unsubscribe(Unsubscribe { streams }), outputs)
    }

    /// Asks for a pong.
    pub fn ping(&mut self, client_time: Option<Value>, outputs: &mut Vec<Output>) -> CommandId {
        self.command(Command::Ping(Ping { client_time }), outputs)
    }

    /// Goes on with another token.
    pub fn authenticate(&mut self, token: String, outputs: &mut Vec<Output>) -> CommandId {
        let token = token.trim_ascii().to_owned();
        self.command(Command::Authenticate(Authenticate { token }), outputs)
    }

    /// Nobody waits for this answer any more.
    pub fn abandon(&mut self, id: CommandId) {
        self.pending.remove(&id);
    }

    fn next_id(&mut self) -> CommandId {
        self.last_id += 1;
        CommandId(self.last_id)
    }

    fn command(&mut self, command: Command, outputs: &mut Vec<Output>) -> CommandId {
        let id = self.next_id();
        let over_websocket = self.over == Transport::WebSocket;
        let changes = matches!(command, Command::Subscribe(_) | Command::Unsubscribe(_));
        if changes && !over_websocket {
            self.stale = true;
            if self.connected {
                outputs.push(Output::Reopen);
            }
        }
        match (&command, self.connected && over_websocket) {
            (_, true) => {
                send(id, &command, outputs);
                self.pending.insert(id, Pending { command, sent: true });
            }
            (Command::Subscribe(_), false) if self.waiting() >= MAX_WAITING_CALLS => {
                outputs.push(Output::Answer(id, Answer::Overflow));
            }
            (Command::Subscribe(_), false) => {
                self.pending.insert(id, Pending { command, sent: false });
            }
            (Command::Ping(_) | Command::Authenticate(_), false) if self.connected => {
                outputs.push(Output::Answer(id, Answer::NoCommands));
            }
            (Command::Unsubscribe(_), false) => outputs.push(Output::Answer(id, Answer::Moot)),
            (_, false) => outputs.push(Output::Answer(id, Answer::Disconnected)),
        }
        id
    }

    /// Whether there is a connection, welcomed and of use.
    pub fn is_connected(&self) -> bool {
        self.connected && !(self.stale && self.over == Transport::Sse)
    }

    /// What carries the present connection, or the last attempt.
    pub fn over(&self) -> Transport {
        self.over
    }

    /// How many calls wait for a connection.
    fn waiting(&self) -> usize {
        self.pending.values().filter(|pending| !pending.sent).count()
    }

    // Connections ------------------------------------------------------------------------------------------------

    /// The next frames come over a WebSocket.
    pub fn over_websocket(&mut self) {
        self.over = Transport::WebSocket;
    }

    /// The next frames come over an event stream, which is to be opened so. Of what is wanted, only ADWs, contexts, rooms and
    /// everything that an observer sees can be asked for; one's own user and what is for everyone come without asking. Other
    /// targets wait for a WebSocket.
    ///
    /// A target that was never read begins where the others stand, which may be a little before now.
    pub fn over_sse(&mut self) -> SseRequest {
        self.over = Transport::Sse;
        self.adopt_asked();
        self.uncarried = self
            .readings
            .iter()
            .filter(|(target, reading)| {
                reading.interest == Interest::Wanted && !is_in_query(target) && **target != Target::Global
            })
            .map(|(target, _)| target.clone())
            .collect();
        let known = |reading: &Reading| (reading.interest != Interest::Seen).then_some(reading.position).flatten();
        let low = self.readings.values().filter_map(known).max();
        // Positions of a history whose name is not known yet cannot be written: the first welcome names it.
        let blind = low.is_some() && self.epoch.is_none();
        self.stale = blind;
        let cursor = self.epoch.zip(low).map(|(epoch, low)| {
            let mut others = BTreeMap::new();
            let carried = |target: &Target, reading: &Reading| {
                reading.interest != Interest::Seen && !self.uncarried.contains(target)
            };
            for (target, reading) in self.readings.iter_mut().filter(|(target, reading)| carried(target, reading)) {
                let position = *reading.position.get_or_insert(low);
                if position != low {
                    others.insert(target.clone(), position);
                }
            }
            Cursor { epoch, low, others }.to_string()
        });
        let wanted = self.readings.iter().filter(|(_, reading)| reading.interest == Interest::Wanted);
        let targets: Vec<String> =
            wanted.map(|(target, _)| target).filter(|target| is_in_query(target)).map(Target::to_string).collect();
        // No target has a character that a query would have to escape.
        let query = if targets.is_empty() { String::new() } else { format!("to={}", targets.join(",")) };
        SseRequest { query, last_event_id: cursor }
    }

    /// An event stream said, by an `id:` line, how far it has brought everything; called behind the frame of its block. What
    /// it says is not looked into where it cannot be read: the frames have numbers of their own.
    pub fn passed(&mut self, id: &str) {
        let Ok(cursor) = id.parse::<Cursor>() else { return };
        if self.stale || self.over != Transport::Sse {
            return;
        }
        if self.epoch.is_some_and(|epoch| epoch != cursor.epoch) {
            let holds = |reading: &Reading| reading.interest != Interest::Seen && reading.position.is_some();
            if self.began.is_some() || self.readings.values().any(holds) {
                // The welcome will tell, and what is held be told of.
                return;
            }
            self.begin_another_history(&mut Vec::new());
        }
        self.epoch = Some(cursor.epoch);
        if !self.connected {
            self.began = self.began.or(Some(cursor.low));
        }
        let carried =
            |target: &Target, reading: &Reading| reading.interest != Interest::Seen && !self.uncarried.contains(target);
        for (target, reading) in self.readings.iter_mut().filter(|(target, reading)| carried(target, reading)) {
            let position = cursor.position(target);
            // Before the welcome it says no more than where a target begins that was never read.
            if self.connected || reading.position.is_none() {
                reading.position = reading.position.max(Some(position));
            }
        }
    }

    /// Applications may have asked for other positions than we hold while there was no connection.
    fn adopt_asked(&mut self) {
        let mut asked = BTreeMap::new();
        for pending in self.pending.values().filter(|pending| !pending.sent) {
            let Command::Subscribe(subscribe) = &pending.command else { continue };
            for wanted in &subscribe.streams {
                if let (Some(since), Ok(target)) = (wanted.since, wanted.to.parse::<Target>()) {
                    asked.insert(target, since);
                }
            }
        }
        for (target, since) in asked {
            let Some(reading) = self.readings.get_mut(&target) else { continue };
            let rewinds = reading.position > Some(since);
            reading.position = Some(since);
            if rewinds {
                self.forget_streams_of(&target);
            }
        }
    }

    /// The connection is gone. Unanswered calls are answered, except `subscribe`, which the next connection repeats.
    pub fn disconnected(&mut self, outputs: &mut Vec<Output>) {
        self.connected = false;
        self.resumes.clear();
        self.told.clear();
        for reading in self.readings.values_mut() {
            (reading.replaying, reading.resuming, reading.heard) = (false, false, None);
        }
        let pending = std::mem::take(&mut self.pending);
        for (id, pending) in pending {
            match pending.command {
                Command::Subscribe(_) => {
                    self.pending.insert(id, Pending { sent: false, ..pending });
                }
                Command::Unsubscribe(_) => outputs.push(Output::Answer(id, Answer::Moot)),
                _ => outputs.push(Output::Answer(id, Answer::Disconnected)),
            }
        }
    }

    fn welcomed(&mut self, welcome: connection::Welcome, outputs: &mut Vec<Output>) {
        self.connected = true;
        if self.stale && self.over == Transport::Sse {
            self.epoch = self.epoch.or(Some(welcome.epoch));
            outputs.push(Output::Reopen);
            return;
        }
        outputs.push(Output::Item(Item::State(State::Connected(Box::new(welcome.clone())))));
        if self.epoch.is_some_and(|epoch| epoch != welcome.epoch) {
            self.begin_another_history(outputs);
        }
        self.epoch = Some(welcome.epoch);
        self.imply(&welcome);
        self.began = None;
        if self.over == Transport::WebSocket {
            self.adopt_asked();
            self.resume(outputs);
        }
    }

    /// One `subscribe` for everything, or as few as its limit allows.
    fn resume(&mut self, outputs: &mut Vec<Output>) {
        let mut streams = Vec::new();
        for (target, reading) in self.readings.iter_mut().filter(|(_, reading)| reading.interest != Interest::Seen) {
            reading.resuming = reading.position.is_some();
            streams.push(Wanted { to: target.to_string(), since: reading.position });
        }
        for chunk in streams.chunks(MAX_SUBSCRIPTIONS) {
            let epoch = chunk.iter().any(|wanted| wanted.since.is_some()).then_some(self.epoch).flatten();
            let id = self.next_id();
            self.resumes.insert(id);
            send(id, &Command::Subscribe(Subscribe { epoch, streams: chunk.to_vec() }), outputs);
        }
    }

    /// Nothing of what was read says anything about the new history: read it from its beginning.
    fn begin_another_history(&mut self, outputs: &mut Vec<Output>) {
        self.streams.clear();
        self.began = self.began.and(Some(Position::START));
        self.readings.retain(|_, reading| reading.interest != Interest::Seen);
        for pending in self.pending.values_mut() {
            if let Command::Subscribe(subscribe) = &mut pending.command {
                subscribe
                    .streams
                    .iter_mut()
                    .filter_map(|wanted| wanted.since.as_mut())
                    .for_each(|since| *since = Position::START);
            }
        }
        for (target, reading) in &mut self.readings {
            if reading.position.is_some() {
                reading.position = Some(Position::START);
                self.told.insert(target.clone());
                outputs.push(Output::Item(Item::Gap(Gap {
                    stream: target.to_string(),
                    reason: GapReason::EpochChanged,
                    from_seq: None,
                    to_seq: None,
                })));
            }
        }
    }

    /// What comes without asking is subscribed as well, since only what is subscribed resumes. An observer is no exception:
    /// the server keeps these apart from everything else it observes, so their frames have an order of their own.
    fn imply(&mut self, welcome: &connection::Welcome) {
        let user = welcome.user_id.clone().map(Target::User);
        let home = welcome.session_id.clone().map(Target::Session);
        for target in [Some(Target::Global), user, home].into_iter().flatten() {
            self.uncarried.remove(&target);
            let reading = self.readings.entry(target).or_insert(Reading::new(Interest::Implied, self.began));
            if reading.interest == Interest::Seen {
                reading.interest = Interest::Implied;
            }
        }
    }

    // Frames -----------------------------------------------------------------------------------------------------

    /// Takes one text frame of the server.
    pub fn receive(&mut self, text: &str, outputs: &mut Vec<Output>) {
        let frame = match EventFrame::decode(text) {
            Ok(frame) => frame,
            Err(error) => {
                if self.read_past(text) {
                    outputs.push(Output::Item(Item::Unreadable { error, text: text.to_owned() }));
                }
                return;
            }
        };
        match &frame.data {
            Incoming::Known(event) if frame.seq.is_none() => {
                let event = Event::clone(event);
                self.unlogged(frame, event, outputs);
            }
            _ => self.logged(frame, outputs),
        }
    }

    fn logged(&mut self, frame: EventFrame, outputs: &mut Vec<Output>) {
        let Some(seq) = frame.seq else {
            outputs.push(Output::Item(Item::Event(frame)));
            return;
        };
        match self.read(&frame.to, seq, frame.prev.unwrap_or_default()) {
            Read::Again => {}
            Read::Next => outputs.push(Output::Item(Item::Event(frame))),
            Read::AfterHole { from, to } => {
                outputs.push(Output::Item(Item::Gap(Gap {
                    stream: frame.to.to_string(),
                    reason: GapReason::Hole,
                    from_seq: Some(from),
                    to_seq: Some(to),
                })));
                outputs.push(Output::Item(Item::Event(frame)));
            }
        }
    }

    fn unlogged(&mut self, frame: EventFrame, event: Event, outputs: &mut Vec<Output>) {
        match event {
            Event::ConnectionWelcome(welcome) => self.welcomed(welcome, outputs),
            Event::ConnectionSubscribed(subscribed) => self.subscribed(subscribed, outputs),
            Event::ConnectionUnsubscribed(unsubscribed) => {
                for stream in &unsubscribed.streams {
                    match self.readings.get_mut(&stream.to) {
                        // Unsubscribed by us, and wanted again meanwhile: that is answered later. What came until here belongs
                        // to the earlier subscription.
                        Some(reading) if unsubscribed.re.is_some() && reading.interest == Interest::Wanted => {
                            reading.position = None;
                            self.forget_streams_of(&stream.to);
                        }
                        _ => self.forget(&stream.to),
                    }
                }
                if !self.answered(
                    unsubscribed.re.as_deref(),
                    Event::ConnectionUnsubscribed(unsubscribed.clone()),
                    outputs,
                ) {
                    outputs.push(Output::Item(Item::Event(frame)));
                }
            }
            Event::ConnectionPong(pong) => {
                self.answered(pong.re.clone().as_deref(), Event::ConnectionPong(pong), outputs);
            }
            Event::ConnectionReply(reply) => {
                if !self.answered(reply.re.clone().as_deref(), Event::ConnectionReply(reply), outputs) {
                    outputs.push(Output::Item(Item::Event(frame)));
                }
            }
            Event::ConnectionError(error) => self.refused(frame, error, outputs),
            Event::ConnectionGap(gap) => self.gap(gap, outputs),
            Event::ConnectionReplaying(replaying) => {
                if let Some(reading) = self.readings.get_mut(&replaying.stream) {
                    (reading.replaying, reading.heard) = (true, None);
                }
                outputs.push(Output::Item(Item::Event(frame)));
            }
            Event::ConnectionRecovered(recovered) => {
                if let Some(reading) = self.readings.get_mut(&recovered.stream) {
                    reading.replaying = false;
                    reading.position = reading.position.max(Some(recovered.upto));
                }
                outputs.push(Output::Item(Item::Event(frame)));
            }
            Event::ConnectionHeartbeat(heartbeat) => self.heartbeat(&heartbeat, outputs),
            Event::ConnectionClosing(closing) => {
                let wait = closing.reconnect_after_ms.map(std::time::Duration::from_millis);
                outputs.push(Output::Farewell(wait.map_or(Farewell::StayAway, Farewell::ReturnAfter)));
                if let (Transport::Sse, Some(code)) = (self.over, closing.code) {
                    outputs.push(Output::WillClose { code, reason: closing.reason });
                }
                outputs.push(Output::Item(Item::Event(frame)));
            }
            _ => outputs.push(Output::Item(Item::Event(frame))),
        }
    }

    fn subscribed(&mut self, subscribed: connection::Subscribed, outputs: &mut Vec<Output>) {
        let id = subscribed.re.as_deref().and_then(read_id);
        // The first answer on an event stream is to what it was opened with.
        let opened = self.over == Transport::Sse && subscribed.re.is_none();
        let is_resume = opened || id.is_some_and(|id| self.resumes.remove(&id));
        let asked = id.and_then(|id| self.pending.get(&id)).map(|pending| pending.command.clone());
        for stream in &subscribed.streams {
            let explicit = asked.as_ref().and_then(|command| since_of(command, &stream.to));
            // Not there: unsubscribed meanwhile, which is answered later.
            let Some(reading) = self.readings.get_mut(&stream.to) else { continue };
            (reading.resuming, reading.heard) = (false, None);
            match explicit {
                // The application asked to read this again: what it has is no duplicate.
                Some(since) => {
                    let rewinds = reading.position > Some(since);
                    reading.position = Some(since);
                    if rewinds {
                        self.forget_streams_of(&stream.to);
                    }
                }
                None => reading.position = reading.position.or(Some(stream.head)),
            }
        }
        let mut refusals = Vec::new();
        for refused in &subscribed.refused {
            let Ok(target) = refused.to.parse::<Target>() else { continue };
            let was = self.readings.get(&target).map(|reading| reading.interest);
            self.forget(&target);
            if was == Some(Interest::Wanted) {
                refusals.push(refused.clone());
            }
        }
        if is_resume {
            self.answer_unsent(&subscribed, outputs);
            outputs.extend(refusals.into_iter().map(|refused| Output::Item(Item::Refused(refused))));
        } else {
            self.answered(subscribed.re.clone().as_deref(), Event::ConnectionSubscribed(subscribed), outputs);
        }
    }

    /// Calls of `subscribe` that waited for a connection are answered by the command that made its targets.
    fn answer_unsent(&mut self, subscribed: &connection::Subscribed, outputs: &mut Vec<Output>) {
        let over_sse = self.over == Transport::Sse;
        let unasked = |to: &str| over_sse && to.parse::<Target>().is_ok_and(|target| !is_in_query(&target));
        let names = |command: &Command| match command {
            Command::Subscribe(subscribe) => subscribe.streams.iter().all(|wanted| {
                unasked(&wanted.to)
                    || subscribed.streams.iter().any(|stream| stream.to.to_string() == wanted.to)
                    || subscribed.refused.iter().any(|refused| refused.to == wanted.to)
            }),
            _ => false,
        };
        let done: Vec<CommandId> = self
            .pending
            .iter()
            .filter(|(_, pending)| !pending.sent && names(&pending.command))
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            self.pending.remove(&id);
            outputs.push(Output::Answer(id, Answer::Done(Box::new(Event::ConnectionSubscribed(subscribed.clone())))));
        }
    }

    fn refused(&mut self, frame: EventFrame, error: connection::Error, outputs: &mut Vec<Output>) {
        if let Some(id) = self.take(error.re.as_deref()) {
            outputs.push(Output::Answer(id, Answer::Refused(error)));
            return;
        }
        if let Some(refused) = self.refused_target(&error) {
            outputs.push(Output::Item(Item::Refused(refused)));
            return;
        }
        let is_resume = error.re.as_deref().and_then(read_id).is_some_and(|id| self.resumes.remove(&id));
        if is_resume {
            // What comes without asking goes on, with a hole that will be seen.
            self.readings.values_mut().for_each(|reading| reading.resuming = false);
        }
        outputs.push(Output::Item(Item::Event(frame)));
        if is_resume && error.retryable {
            // Without its targets the connection would look alive and stay silent.
            outputs.push(Output::HangUp(error.message));
        }
    }

    /// An error that answers no command may name the target of an event stream that it is about.
    fn refused_target(&mut self, error: &connection::Error) -> Option<connection::RefusedStream> {
        let to = error.details.as_ref()?.get("to")?.as_str().filter(|_| self.over == Transport::Sse)?;
        if let Ok(target) = to.parse::<Target>() {
            self.forget(&target);
        }
        Some(connection::RefusedStream { to: to.to_owned(), code: error.code, message: error.message.clone() })
    }

    /// A gap is about one stream, and the other streams of its target go on from where they are; or, where it names a target,
    /// about all streams that are read by it. What it told is no hole any more.
    fn gap(&mut self, gap: connection::Gap, outputs: &mut Vec<Output>) {
        match gap.reason {
            connection::GapReason::EpochChanged => {
                if let Ok(target) = gap.stream.parse::<Target>() {
                    if self.told.contains(&target) {
                        return;
                    }
                    self.forget_streams(&target);
                    if let Some(reading) = self.readings.get_mut(&target) {
                        reading.position = Some(Position::START);
                    }
                }
            }
            _ => {
                let stream = gap.stream.parse::<Audience>().ok();
                let target = gap.stream.parse::<Target>().ok();
                let upto = gap.to_seq.and_then(|upto| Seq::new(upto.as_u64()));
                let readings = &self.readings;
                let reads = |audience: &Audience| {
                    let of = audience.target().filter(|of| readings.contains_key(of)).unwrap_or(Target::Realm);
                    target.as_ref() == Some(&of)
                };
                for (audience, last) in &mut self.streams {
                    if stream.as_ref() == Some(audience) || reads(audience) {
                        *last = upto.map_or(*last, |upto| upto.max(*last));
                    }
                }
            }
        }
        outputs.push(Output::Item(Item::Gap(Gap {
            stream: gap.stream,
            reason: gap.reason.into(),
            from_seq: gap.from_seq,
            to_seq: gap.to_seq,
        })));
    }

    /// The heartbeat says how far each target was sent. It comes in order with the frames, so being behind means that a tail
    /// is lost. What the first heartbeat of a target says may be the reach of the log where it was subscribed, above its
    /// last event; a number that grew since names an event.
    fn heartbeat(&mut self, heartbeat: &connection::Heartbeat, outputs: &mut Vec<Output>) {
        for sent in &heartbeat.positions {
            let Some(reading) = self.readings.get_mut(&sent.to).filter(|reading| !reading.replaying) else { continue };
            let grew = reading.heard.replace(sent.seq).is_some_and(|before| before < sent.seq);
            let Some(position) = reading.position.filter(|position| grew && *position < sent.seq) else { continue };
            reading.position = Some(sent.seq);
            outputs.push(Output::Item(Item::Gap(Gap {
                stream: sent.to.to_string(),
                reason: GapReason::Hole,
                from_seq: Position::new(position.as_u64() + 1),
                to_seq: Some(sent.seq),
            })));
        }
    }

    /// Counts a logged frame as read.
    fn read(&mut self, to: &Audience, seq: Seq, prev: Position) -> Read {
        let Some(target) = to.target() else { return Read::Next };
        let governing = self.governing(target);
        let Some(reading) = self.readings.get_mut(&governing) else { return Read::Next };
        if reading.resuming || reading.position.is_some_and(|position| position.covers(seq)) {
            return Read::Again;
        }
        reading.position = Some(Position::from(seq));
        let last = self.streams.insert(to.clone(), seq);
        if self.streams.len() > MAX_STREAMS {
            self.forget_quietest();
        }
        match last {
            Some(last) if Position::from(last) < prev => Read::AfterHole { from: after(last), to: prev },
            _ => Read::Next,
        }
    }

    /// Whose position a frame of this target moves: its own where it is read by itself, else the realm's.
    fn governing(&mut self, target: Target) -> Target {
        if self.readings.contains_key(&target) {
            return target;
        }
        if self.readings.contains_key(&Target::Realm) {
            return Target::Realm;
        }
        self.readings.insert(target.clone(), Reading::new(Interest::Seen, None));
        target
    }

    /// A frame that cannot be read may still have a number, which must not be asked for again and again. Whether it is new.
    fn read_past(&mut self, text: &str) -> bool {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let to = frame.get("to").and_then(Value::as_str).and_then(|to| to.parse::<Audience>().ok());
        let seq = frame.get("seq").and_then(Value::as_u64).and_then(Seq::new);
        match (to, seq) {
            (Some(to), Some(seq)) => !matches!(self.read(&to, seq, Position::START), Read::Again),
            _ => true,
        }
    }

    fn forget_quietest(&mut self) {
        let quietest = self.streams.iter().min_by_key(|(_, last)| **last).map(|(audience, _)| audience.clone());
        if let Some(audience) = quietest {
            self.streams.remove(&audience);
        }
    }

    fn forget(&mut self, target: &Target) {
        self.readings.remove(target);
        self.forget_streams(target);
    }

    fn forget_streams(&mut self, target: &Target) {
        self.streams.retain(|audience, _| *target != Target::Realm && audience.target().as_ref() != Some(target));
    }

    fn forget_streams_of(&mut self, target: &Target) {
        self.streams.retain(|audience, _| audience.target().as_ref() != Some(target));
    }

    // Answers ----------------------------------------------------------------------------------------------------

    fn take(&mut self, re: Option<&str>) -> Option<CommandId> {
        let id = read_id(re?)?;
        self.pending.remove(&id).map(|_| id)
    }

    fn answered(&mut self, re: Option<&str>, event: Event, outputs: &mut Vec<Output>) -> bool {
        match self.take(re) {
            Some(id) => {
                outputs.push(Output::Answer(id, Answer::Done(Box::new(event))));
                true
            }
            None => false,
        }
    }
}

/// What came of counting a frame.
enum Read {
    Again,
    Next,
    AfterHole { from: Position, to: Position },
}

fn after(seq: Seq) -> Position {
    seq.next().map_or(Position::from(seq), Position::from)
}

fn send(id: CommandId, command: &Command, outputs: &mut Vec<Output>) {
    // Commands are plain data: writing them does not fail.
    if let Ok(text) = command.encode(Some(&id.0.to_string())) {
        outputs.push(Output::Send(text));
    }
}

fn read_id(re: &str) -> Option<CommandId> {
    re.parse().ok().map(CommandId)
}

/// The position that a `subscribe` names for a target.
fn since_of(command: &Command, target: &Target) -> Option<Position> {
    let Command::Subscribe(subscribe) = command else { return None };
    let wanted = subscribe.streams.iter().find(|wanted| wanted.to.parse::<Target>().is_ok_and(|to| to == *target))?;
    wanted.since
}

/// Whether the query of an event stream names a target (WS-04). One's own user and `global` come without.
fn is_in_query(target: &Target) -> bool {
    matches!(target, Target::Adw(_) | Target::Room(_) | Target::Session(SessionId::Context(_)) | Target::Realm)
}

/// A browser session cannot be subscribed to by anyone, so a client does not try.
pub(crate) fn is_joinable(target: &Target) -> bool {
    !matches!(target, Target::Session(SessionId::Browser(_)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EPOCH: &str = "00000000000000aa";
    const OTHER_EPOCH: &str = "00000000000000bb";

    /// A session with what it said so far.
    struct Probe {
        session: Session,
        outputs: Vec<Output>,
    }

    impl Probe {
        fn new(targets: &[&str]) -> Self {
            let targets = targets.iter().map(|to| to.parse().unwrap());
            Probe { session: Session::new(targets, Checkpoint::default()), outputs: Vec::new() }
        }

        fn on_connection(&mut self, kind: &str, data: Value) {
            let frame = json!({"type": format!("connection.{kind}"), "time": "2026-11-20T23:40:01Z", "to": "connection:c0000000000000001", "data": data});
            self.session.receive(&frame.to_string(), &mut self.outputs);
        }

        fn welcome(&mut self, epoch: &str) {
            self.on_connection(
                "welcome",
                json!({"connection_id": "c0000000000000001", "protocol": "v1", "epoch": epoch, "server": "test", "server_time": "2026-11-20T23:40:01Z", "permissions": [], "heartbeat_interval_ms": 30000,
                    "limits": {"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 32, "command_burst": 64}}),
            );
        }

        fn frame(&mut self, to: &str, seq: u64, prev: u64) {
            let frame = json!({"type": "_test.event", "time": "2026-11-20T23:40:01Z", "to": to, "seq": seq, "prev": prev, "data": {"n": seq}});
            self.session.receive(&frame.to_string(), &mut self.outputs);
        }

        /// Answers the last `subscribe` as a server whose log stands at `head` would.
        fn accept(&mut self, head: u64) {
            let command = self.sent().pop().unwrap();
            let streams: Vec<Value> = command["data"]["streams"]
                .as_array()
                .unwrap()
                .iter()
                .map(|stream| json!({"to": stream["to"], "head": head}))
                .collect();
            self.on_connection(
                "subscribed",
                json!({"re": command["id"], "epoch": EPOCH, "streams": streams, "refused": []}),
            );
        }

        fn sent(&self) -> Vec<Value> {
            let text = |output: &Output| match output {
                Output::Send(text) => Some(serde_json::from_str(text).unwrap()),
                _ => None,
            };
            self.outputs.iter().filter_map(text).collect()
        }

        /// What the application saw: numbers of events, and gaps as text.
        fn seen(&mut self) -> Vec<String> {
            let seen = self.outputs.iter().filter_map(|output| match output {
                Output::Item(Item::Event(frame)) => {
                    Some(frame.seq.map_or_else(|| frame.kind.clone(), |seq| seq.to_string()))
                }
                Output::Item(Item::Gap(gap)) => Some(format!(
                    "{:?} {} {:?}..{:?}",
                    gap.reason,
                    gap.stream,
                    gap.from_seq.map(Position::as_u64),
                    gap.to_seq.map(Position::as_u64)
                )),
                Output::Item(Item::Refused(refused)) => Some(format!("refused {}", refused.to)),
                Output::Item(Item::Unreadable { .. }) => Some("unreadable".to_owned()),
                _ => None,
            });
            let seen = seen.collect();
            self.outputs.clear();
            seen
        }

        /// Goes on over a socket, and gives the command that resumes.
        fn over_a_socket(&mut self) -> Value {
            self.session.disconnected(&mut self.outputs);
            self.session.over_websocket();
            self.outputs.clear();
            self.welcome(EPOCH);
            let command = self.sent().pop().unwrap();
            self.outputs.clear();
            command
        }

        fn reconnect(&mut self, epoch: &str) -> Value {
            self.session.disconnected(&mut self.outputs);
            self.welcome(epoch);
            self.sent().pop().unwrap()
        }
    }

    fn since<'a>(command: &'a Value, to: &str) -> &'a Value {
        let streams = command["data"]["streams"].as_array().unwrap();
        &streams.iter().find(|stream| stream["to"] == to).unwrap()["since"]
    }

    #[test]
    fn a_target_resumes_from_where_it_stood_before_the_first_event() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        assert!(since(&probe.sent()[0], "adw:aaaaaaaa").is_null(), "from now on");
        probe.accept(41);
        let command = probe.reconnect(EPOCH);
        assert_eq!((since(&command, "adw:aaaaaaaa"), &command["data"]["epoch"]), (&json!(41), &json!(EPOCH)));
    }

    #[test]
    fn one_command_resumes_everything_and_what_everybody_gets_too() {
        let mut probe = Probe::new(&["adw:aaaaaaaa", "room:tasks"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        for (to, seq) in [("adw:aaaaaaaa", 1), ("adw:aaaaaaaa/raw", 2), ("global", 3), ("room:tasks", 4)] {
            probe.frame(to, seq, 0);
        }
        probe.outputs.clear();
        let command = probe.reconnect(EPOCH);
        assert_eq!(probe.sent().len(), 1);
        let at = |to| since(&command, to).as_u64();
        assert_eq!((at("adw:aaaaaaaa"), at("room:tasks"), at("global")), (Some(2), Some(4), Some(3)));
    }

    #[test]
    fn what_comes_twice_is_dropped_by_the_position_of_its_target() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        for (to, seq, prev) in [
            ("adw:aaaaaaaa", 1, 0),
            ("adw:aaaaaaaa/raw", 2, 0),
            ("adw:aaaaaaaa", 1, 0),
            ("adw:aaaaaaaa/raw", 2, 0),
            ("adw:aaaaaaaa", 3, 1),
        ] {
            probe.frame(to, seq, prev);
        }
        assert_eq!(probe.seen(), ["1", "2", "3"]);
    }

    #[test]
    fn a_prev_that_was_never_seen_is_a_hole_and_the_event_still_counts() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        probe.frame("adw:aaaaaaaa", 1, 0);
        // The raw layer is a stream of its own and hides no hole of the other one.
        probe.frame("adw:aaaaaaaa/raw", 7, 0);
        probe.frame("adw:aaaaaaaa", 9, 5);
        assert_eq!(probe.seen(), ["1", "7", "Hole adw:aaaaaaaa Some(2)..Some(5)", "9"]);
    }

    #[test]
    fn a_gap_of_one_stream_drops_nothing_of_another() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        probe.frame("adw:aaaaaaaa", 1, 0);
        probe.frame("adw:aaaaaaaa/raw", 2, 0);
        probe.reconnect(EPOCH);
        probe.accept(2);
        probe.outputs.clear();
        probe.on_connection(
            "gap",
            json!({"stream": "adw:aaaaaaaa/raw", "reason": "expired", "from_seq": 3, "to_seq": 60}),
        );
        probe.frame("adw:aaaaaaaa", 5, 1);
        probe.frame("adw:aaaaaaaa/raw", 70, 60);
        assert_eq!(probe.seen(), ["Expired adw:aaaaaaaa/raw Some(3)..Some(60)", "5", "70"]);
    }

    #[test]
    fn a_gap_of_a_target_excuses_the_holes_of_its_streams_and_of_no_other() {
        let mut probe = Probe::new(&["*", "adw:bbbbbbbb"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        let streams = ["adw:aaaaaaaa", "adw:aaaaaaaa/raw", "adw:bbbbbbbb", "adw:bbbbbbbb/raw", "global"];
        for (seq, to) in (1..).zip(streams) {
            probe.frame(to, seq, 0);
        }
        let told = |probe: &mut Probe, stream: &str, upto: u64| {
            probe.outputs.clear();
            let gap = json!({"stream": stream, "reason": "slow_consumer", "from_seq": 1, "to_seq": upto});
            probe.on_connection("gap", gap);
            probe.outputs.clear();
        };
        told(&mut probe, "*", 10);
        probe.frame("adw:aaaaaaaa", 11, 10);
        probe.frame("adw:aaaaaaaa/raw", 12, 9);
        probe.frame("global", 13, 8);
        assert_eq!(probe.seen(), ["11", "12", "Hole global Some(6)..Some(8)", "13"]);
        told(&mut probe, "adw:bbbbbbbb", 20);
        probe.frame("adw:bbbbbbbb/raw", 21, 20);
        probe.frame("adw:aaaaaaaa", 22, 18);
        probe.frame("adw:bbbbbbbb", 25, 23);
        let holes = ["21", "Hole adw:aaaaaaaa Some(12)..Some(18)", "22", "Hole adw:bbbbbbbb Some(21)..Some(23)", "25"];
        assert_eq!(probe.seen(), holes);
    }

    #[test]
    fn the_answer_to_an_unsubscribe_forgets_nothing_that_was_wanted_again_before_it_came() {
        let mut probe = Probe::new(&["room:a"]);
        probe.welcome(EPOCH);
        probe.accept(3);
        probe.outputs.clear();
        probe.session.unsubscribe(vec!["room:a".parse().unwrap()], &mut probe.outputs);
        probe.session.subscribe(vec![("room:a".parse().unwrap(), None)], &mut probe.outputs);
        let ids: Vec<Value> = probe.sent().iter().map(|command| command["id"].clone()).collect();
        probe.frame("room:a", 4, 3);
        probe.on_connection("unsubscribed", json!({"re": ids[0], "streams": [{"to": "room:a"}]}));
        probe.accept(6);
        assert_eq!(probe.session.wanted().collect::<Vec<_>>(), [&"room:a".parse::<Target>().unwrap()]);
        probe.frame("room:a", 7, 6);
        assert_eq!(probe.seen(), ["4", "7"]);
        assert_eq!(since(&probe.reconnect(EPOCH), "room:a"), &json!(7));
        probe.outputs.clear();
        probe.session.unsubscribe(vec!["room:a".parse().unwrap()], &mut probe.outputs);
        probe.session.subscribe(vec![("room:a".parse().unwrap(), None)], &mut probe.outputs);
        let id = probe.sent()[0]["id"].clone();
        probe.on_connection("unsubscribed", json!({"re": id, "streams": [{"to": "room:a"}]}));
        // The connection ends before the second answer.
        assert_eq!(since(&probe.reconnect(EPOCH), "room:a"), &Value::Null);
        // One that nobody asked for is a permission that was lost.
        probe.on_connection("unsubscribed", json!({"streams": [{"to": "room:a"}]}));
        assert_eq!(probe.session.wanted().count(), 0);
    }

    #[test]
    fn what_was_unsubscribed_before_its_subscribe_was_answered_is_not_wanted() {
        let mut probe = Probe::new(&[]);
        probe.welcome(EPOCH);
        probe.accept(0);
        probe.outputs.clear();
        probe.session.subscribe(vec![("room:a".parse().unwrap(), None)], &mut probe.outputs);
        probe.session.unsubscribe(vec!["room:a".parse().unwrap()], &mut probe.outputs);
        let ids: Vec<Value> = probe.sent().iter().map(|command| command["id"].clone()).collect();
        let streams = json!([{"to": "room:a", "head": 4}]);
        probe.on_connection("subscribed", json!({"re": ids[0], "epoch": EPOCH, "streams": streams, "refused": []}));
        probe.on_connection("unsubscribed", json!({"re": ids[1], "streams": [{"to": "room:a"}]}));
        assert_eq!(probe.session.wanted().count(), 0);
    }

    #[test]
    fn another_history_is_said_once_for_each_target_and_read_from_its_beginning() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(500);
        probe.frame("adw:aaaaaaaa", 501, 400);
        probe.outputs.clear();
        let command = probe.reconnect(OTHER_EPOCH);
        assert_eq!((since(&command, "adw:aaaaaaaa"), &command["data"]["epoch"]), (&json!(0), &json!(OTHER_EPOCH)));
        probe.accept(0);
        assert_eq!(probe.seen(), ["EpochChanged adw:aaaaaaaa None..None", "EpochChanged global None..None"]);
        probe.frame("adw:aaaaaaaa", 1, 0);
        assert_eq!(probe.seen(), ["1"]);
    }

    #[test]
    fn a_lost_tail_is_seen_by_a_number_that_grew_and_never_came() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(3);
        let heartbeat = |probe: &mut Probe, seq: u64| {
            probe.on_connection(
                "heartbeat",
                json!({"server_time": "2026-11-20T23:40:01Z", "active_connections": 1, "server_status": "healthy", "positions": [{"to": "adw:aaaaaaaa", "seq": seq}]}),
            );
        };
        // The log reaches further than this target: nothing is lost.
        heartbeat(&mut probe, 90);
        probe.frame("adw:aaaaaaaa", 95, 3);
        heartbeat(&mut probe, 95);
        assert_eq!(probe.seen(), ["95"]);
        heartbeat(&mut probe, 99);
        heartbeat(&mut probe, 99);
        assert_eq!(probe.seen(), ["Hole adw:aaaaaaaa Some(96)..Some(99)"]);
    }

    #[test]
    fn an_observer_has_one_position_for_everything_it_did_not_name() {
        let mut probe = Probe::new(&["*", "adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        for (to, seq) in [("room:x", 1), ("adw:aaaaaaaa", 2), ("adw:bbbbbbbb", 3), ("global", 4), ("adw:aaaaaaaa", 5)] {
            probe.frame(to, seq, 0);
        }
        probe.outputs.clear();
        let command = probe.reconnect(EPOCH);
        let at = |to| since(&command, to).as_u64();
        assert_eq!((at("*"), at("adw:aaaaaaaa"), at("global")), (Some(3), Some(5), Some(4)));
    }

    #[test]
    fn cmd_05_a_refused_target_is_reported_once_and_not_asked_for_again() {
        let mut probe = Probe::new(&["adw:aaaaaaaa", "room:staff"]);
        probe.welcome(EPOCH);
        let id = probe.sent()[0]["id"].clone();
        let refuse = |to| json!({"to": to, "code": "forbidden", "message": "no"});
        probe.on_connection(
            "subscribed",
            json!({"re": id, "epoch": EPOCH, "streams": [{"to": "adw:aaaaaaaa", "head": 0}], "refused": [refuse("room:staff"), refuse("global")]}),
        );
        assert_eq!(probe.seen(), ["refused room:staff"]);
        let command = probe.reconnect(EPOCH);
        let named: Vec<_> =
            command["data"]["streams"].as_array().unwrap().iter().map(|stream| stream["to"].clone()).collect();
        assert!(!named.contains(&json!("room:staff")), "{named:?}");
    }

    #[test]
    fn a_subscribe_without_a_connection_is_answered_by_the_next_one() {
        let mut probe = Probe::new(&[]);
        let id = probe.session.subscribe(vec![("adw:aaaaaaaa".parse().unwrap(), Position::new(0))], &mut probe.outputs);
        assert!(probe.outputs.is_empty());
        probe.welcome(EPOCH);
        assert_eq!(since(&probe.sent()[0], "adw:aaaaaaaa"), &json!(0));
        probe.accept(0);
        let answered = |output: &Output| matches!(output, Output::Answer(same, Answer::Done(event)) if *same == id && matches!(**event, Event::ConnectionSubscribed(_)));
        assert!(probe.outputs.iter().any(answered));
    }

    #[test]
    fn reading_again_is_no_duplicate_when_the_application_asked_for_it() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        probe.frame("adw:aaaaaaaa", 1, 0);
        probe.frame("adw:aaaaaaaa", 2, 1);
        probe.seen();
        probe.session.subscribe(vec![("adw:aaaaaaaa".parse().unwrap(), Position::new(0))], &mut probe.outputs);
        probe.accept(2);
        probe.frame("adw:aaaaaaaa", 1, 0);
        probe.frame("adw:aaaaaaaa", 2, 1);
        probe.frame("adw:aaaaaaaa", 2, 1);
        assert_eq!(probe.seen(), ["1", "2"]);
    }

    #[test]
    fn calls_are_answered_by_their_own_id_and_by_a_lost_connection() {
        let mut probe = Probe::new(&[]);
        probe.welcome(EPOCH);
        probe.accept(0);
        let first = probe.session.ping(None, &mut probe.outputs);
        let second = probe.session.ping(None, &mut probe.outputs);
        let ids: Vec<Value> = probe.sent().iter().map(|command| command["id"].clone()).collect();
        probe.outputs.clear();
        probe.on_connection("pong", json!({"re": ids.last().unwrap(), "server_time": "2026-11-20T23:40:01Z"}));
        probe.session.disconnected(&mut probe.outputs);
        let answers: Vec<_> = probe
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Answer(id, answer) => Some((*id, matches!(answer, Answer::Done(_)))),
                _ => None,
            })
            .collect();
        assert_eq!(answers, [(second, true), (first, false)]);
    }

    #[test]
    fn what_cannot_be_read_is_handed_on_and_not_asked_for_again() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(0);
        let frame = json!({"type": "adw.text_block", "time": "2026-11-20T23:40:01Z", "to": "adw:aaaaaaaa", "seq": 4, "prev": 0, "data": {"content": 7}});
        probe.session.receive(&frame.to_string(), &mut probe.outputs);
        probe.session.receive("not even JSON", &mut probe.outputs);
        probe.frame("adw:aaaaaaaa", 5, 4);
        assert_eq!(probe.seen(), ["unreadable", "unreadable", "5"]);
        assert_eq!(since(&probe.reconnect(EPOCH), "adw:aaaaaaaa"), &json!(5));
    }

    #[test]
    fn a_refused_resume_that_may_work_later_ends_the_connection_instead_of_staying_silent() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        let id = probe.sent()[0]["id"].clone();
        probe.on_connection("error", json!({"re": id, "code": "rate_limited", "message": "slowly", "retryable": true}));
        assert!(probe.outputs.iter().any(|output| matches!(output, Output::HangUp(_))));
    }

    #[test]
    fn what_is_live_before_the_resume_is_answered_hides_nothing_that_lies_before_it() {
        let mut probe = Probe::new(&[]);
        probe.welcome(EPOCH);
        probe.accept(0);
        probe.frame("global", 1, 0);
        probe.reconnect(EPOCH);
        probe.outputs.retain(|output| matches!(output, Output::Send(_)));
        // Everybody gets what is for everyone, from the welcome on.
        probe.frame("global", 5, 3);
        probe.accept(5);
        probe.outputs.clear();
        for (seq, prev) in [(3, 1), (5, 3)] {
            probe.frame("global", seq, prev);
        }
        assert_eq!(probe.seen(), ["3", "5"]);
    }

    #[test]
    fn more_targets_than_one_command_takes_resume_in_as_few_as_possible() {
        let rooms: Vec<String> = (0..300).map(|n| format!("room:r{n}")).collect();
        let mut probe = Probe::new(&rooms.iter().map(String::as_str).collect::<Vec<_>>());
        probe.welcome(EPOCH);
        let sizes: Vec<_> =
            probe.sent().iter().map(|command| command["data"]["streams"].as_array().unwrap().len()).collect();
        assert_eq!(sizes, [256, 45]);
    }

    fn reopens(probe: &mut Probe) -> bool {
        let reopens = probe.outputs.iter().any(|output| matches!(output, Output::Reopen));
        probe.outputs.clear();
        reopens
    }

    /// Opens an event stream that says where it begins, or goes on where it was asked to.
    fn open(probe: &mut Probe, first: &str) -> SseRequest {
        probe.session.disconnected(&mut probe.outputs);
        let request = probe.session.over_sse();
        let id = request.last_event_id.clone().unwrap_or_else(|| first.to_owned());
        probe.session.passed(&id);
        probe.welcome(EPOCH);
        request
    }

    fn subscribed(probe: &mut Probe, targets: &[&str]) {
        let streams: Vec<Value> = targets.iter().map(|to| json!({"to": to, "head": 9})).collect();
        probe.on_connection("subscribed", json!({"epoch": EPOCH, "streams": streams, "refused": []}));
    }

    #[test]
    fn sse_08_what_is_read_over_a_socket_goes_on_over_an_event_stream_and_back() {
        let mut probe = Probe::new(&["adw:aaaaaaaa", "session:ctx", "room:b", "room:a"]);
        probe.welcome(EPOCH);
        probe.accept(3);
        probe.frame("adw:aaaaaaaa", 7, 3);
        let request = open(&mut probe, "");
        assert_eq!(request.query, "to=session:ctx,adw:aaaaaaaa,room:a,room:b");
        let cursor: Cursor = request.last_event_id.unwrap().parse().unwrap();
        let at = |target: &str| cursor.position(&target.parse().unwrap()).as_u64();
        assert_eq!((at("adw:aaaaaaaa"), at("room:a"), at("global")), (7, 3, 3));
        subscribed(&mut probe, &["adw:aaaaaaaa", "session:ctx", "room:a", "room:b"]);
        probe.frame("room:a", 9, 3);
        probe.session.passed(&format!("{EPOCH}-9,room:b=3"));
        let command = probe.over_a_socket();
        let at = |to| since(&command, to).as_u64();
        assert_eq!(
            (at("adw:aaaaaaaa"), at("room:a"), at("room:b"), at("global")),
            (Some(9), Some(9), Some(3), Some(9))
        );
    }

    #[test]
    fn an_event_stream_is_opened_again_for_what_is_wanted_or_not_any_more() {
        let mut probe = Probe::new(&["room:a"]);
        assert_eq!(open(&mut probe, &format!("{EPOCH}-5")).last_event_id, None);
        subscribed(&mut probe, &["room:a"]);
        probe.outputs.clear();
        let id = probe.session.subscribe(vec![("room:b".parse().unwrap(), Position::new(2))], &mut probe.outputs);
        assert!(reopens(&mut probe));
        let request = open(&mut probe, "");
        assert_eq!(request.query, "to=room:a,room:b");
        assert_eq!(request.last_event_id.unwrap(), format!("{EPOCH}-5,room:b=2"));
        subscribed(&mut probe, &["room:a", "room:b"]);
        let answered = |output: &Output| matches!(output, Output::Answer(same, Answer::Done(_)) if *same == id);
        assert!(probe.outputs.iter().any(answered));
        probe.outputs.clear();
        // What is for everyone comes anyway.
        probe.session.unsubscribe(vec![Target::Global], &mut probe.outputs);
        assert!(!reopens(&mut probe));
        probe.session.unsubscribe(vec!["room:a".parse().unwrap()], &mut probe.outputs);
        assert!(reopens(&mut probe));
        assert_eq!(open(&mut probe, "").query, "to=room:b");
        // Wanted while the stream is being opened: too late for it.
        probe.session.disconnected(&mut probe.outputs);
        probe.session.over_sse();
        probe.session.subscribe(vec![("room:c".parse().unwrap(), None)], &mut probe.outputs);
        assert!(!reopens(&mut probe));
        probe.welcome(EPOCH);
        assert!(!probe.session.is_connected() && reopens(&mut probe));
    }

    #[test]
    fn positions_without_the_name_of_their_history_wait_for_a_welcome() {
        let positions = BTreeMap::from([("room:a".parse().unwrap(), Position::new(4).unwrap())]);
        let session = Session::new([], Checkpoint { epoch: None, positions });
        let mut probe = Probe { session, outputs: Vec::new() };
        assert_eq!(open(&mut probe, &format!("{EPOCH}-90")).last_event_id, None);
        let connected = |output: &Output| matches!(output, Output::Item(Item::State(State::Connected(_))));
        assert!(!probe.outputs.iter().any(connected), "this one is of no use");
        assert!(reopens(&mut probe));
        assert_eq!(open(&mut probe, "").last_event_id.unwrap(), format!("{EPOCH}-4"));
        assert!(probe.outputs.iter().any(connected) && !reopens(&mut probe));
    }

    #[test]
    fn a_target_that_an_event_stream_does_not_carry_stays_where_it_was() {
        let mut probe = Probe::new(&["room:a", "user:somebody"]);
        probe.welcome(EPOCH);
        probe.accept(3);
        let request = open(&mut probe, "");
        assert_eq!(request.query, "to=room:a");
        subscribed(&mut probe, &["room:a"]);
        probe.session.passed(&format!("{EPOCH}-50"));
        let command = probe.over_a_socket();
        let at = |to| since(&command, to).as_u64();
        assert_eq!((at("user:somebody"), at("room:a")), (Some(3), Some(50)));
    }

    #[test]
    fn a_refused_target_of_an_event_stream_is_reported_by_name() {
        let mut probe = Probe::new(&["room:a", "room:staff"]);
        open(&mut probe, &format!("{EPOCH}-5"));
        probe.outputs.clear();
        let error = |to: &str| json!({"code": "forbidden", "message": "no", "retryable": false, "details": {"to": to}});
        probe.on_connection("error", error("room:staff"));
        assert_eq!(probe.seen(), ["refused room:staff"]);
        assert_eq!(open(&mut probe, "").query, "to=room:a");
        // Over a socket an error is about a command.
        probe.over_a_socket();
        probe.outputs.clear();
        probe.on_connection("error", error("room:a"));
        assert!(matches!(probe.outputs[..], [Output::Item(Item::Event(_))]), "{:?}", probe.outputs);
    }

    #[test]
    fn auth_11_the_end_of_an_event_stream_has_the_code_that_was_said_before() {
        let mut probe = Probe::new(&[]);
        open(&mut probe, &format!("{EPOCH}-0"));
        probe.outputs.clear();
        probe.on_connection("closing", json!({"reason": "the token has ended", "code": 4001}));
        let said = |output: &Output| matches!(output, Output::WillClose { code: 4001, reason } if reason == "the token has ended");
        assert!(probe.outputs.iter().any(said));
        // A socket is closed with its code, which says the same.
        probe.over_a_socket();
        probe.on_connection("closing", json!({"reason": "the token has ended", "code": 4001}));
        assert!(!probe.outputs.iter().any(said));
    }

    #[test]
    fn an_event_stream_carries_no_commands() {
        let mut probe = Probe::new(&[]);
        open(&mut probe, &format!("{EPOCH}-0"));
        probe.outputs.clear();
        let id = probe.session.ping(None, &mut probe.outputs);
        assert!(matches!(probe.outputs[..], [Output::Answer(same, Answer::NoCommands)] if same == id));
    }

    #[test]
    fn a_checkpoint_goes_on_in_another_process() {
        let mut probe = Probe::new(&["adw:aaaaaaaa"]);
        probe.welcome(EPOCH);
        probe.accept(3);
        probe.frame("adw:aaaaaaaa", 9, 3);
        let mut next = Probe { session: Session::new([], probe.session.checkpoint()), outputs: Vec::new() };
        next.welcome(EPOCH);
        assert_eq!(since(&next.sent()[0], "adw:aaaaaaaa"), &json!(9));
    }
}
