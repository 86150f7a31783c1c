//! What waits for back ends that read a stream, as a state machine of time: no clock, no socket, no lock.
//!
//! A command goes to every **group** that has a reader. In a group, the commands of one **lane** (one session, CMD-11) are
//! brought one after the other: the next is not brought before the one in front of it was acknowledged. A lane has a
//! second track for urgent commands, which wait for each other and for nobody else. While anything of a lane is on its
//! way, the lane belongs to one **reader**; when nothing is, the next command goes to the reader with the fewest lanes.
//!
//! What is not acknowledged in time, or whose reader went, returns to the head of its track and is brought again. So a
//! command comes at least once, perhaps several times, and never behind one that was sent after it.
//!
//! What waits is shared fairly between those who sent it (LIMIT-13): where there is no room, the holder with the most gives up
//! its newest command that no reader has. Holders take turns as well: each command gets a **rank**, which is one more than that
//! of its holder's command before, but not less than what is being brought (start-time fair queueing), and lower ranks go first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::Holder;
use eventwire_protocol::ConnectionId;

use crate::ledger::Ledger;

/// How much a queue holds, and how long it waits. Times are those that the caller passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Commands that are not done, each counted once however many groups have it.
    pub commands: usize,
    /// Their bytes.
    pub bytes: usize,
    /// A command that is not acknowledged for so long is brought again.
    pub visibility: Duration,
    /// For so long after its last reader left, a group still takes commands: a reader that reconnects misses nothing.
    pub grace: Duration,
    /// A command that nobody acknowledged for so long is given up.
    pub age: Duration,
    /// Lanes that one reader has in hand at once.
    pub lanes_per_reader: usize,
    /// Groups at once.
    pub groups: usize,
    /// Readers at once, over all groups.
    pub readers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            commands: 10_000,
            bytes: 64 << 20,
            visibility: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            age: Duration::from_secs(600),
            lanes_per_reader: 16,
            groups: 16,
            readers: 256,
        }
    }
}

/// A command as the queue sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id. Another command of an id that is still here is taken for the same.
    pub id: Arc<str>,
    /// Whose order it keeps.
    pub lane: Arc<str>,
    /// Whether it overtakes what waits.
    pub urgent: bool,
    /// What is brought.
    pub body: Bytes,
    /// On whose account it waits (LIMIT-13).
    pub holder: Holder,
    /// The connection that it ends with; absent where it belongs to a session, which outlives connections.
    pub connection: Option<ConnectionId>,
}

/// What became of a command that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// What is to be brought now.
    pub deliveries: Vec<Delivery>,
    /// Commands of others that were given up for it, newest first.
    pub evicted: Vec<Arc<Task>>,
}

/// One reader of a group; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// A command that is to be brought now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub reader: ReaderId,
    /// What.
    pub task: Arc<Task>,
}

/// Why a command is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No group has a reader.
    NoReader,
    /// As much waits as may wait, or as much of this holder's as its share is.
    Busy,
}

/// The number of a command: later ones are greater.
type Number = u64;

/// A command in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    number: Number,
    rank: u64,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    bounds: Bounds,
    next: Number,
    bytes: usize,
    entries: BTreeMap<Number, Entry>,
    by_id: HashMap<Arc<str>, Number>,
    /// What each holder has here, oldest first.
    by_holder: HashMap<Holder, BTreeSet<Number>>,
    ledger: Ledger,
    /// The rank of each holder's next command, if it comes while others of it are here.
    ranks: HashMap<Holder, u64>,
    /// The highest rank that was brought.
    turn: u64,
    groups: BTreeMap<Arc<str>, Group>,
    readers: BTreeMap<ReaderId, Arc<str>>,
}

/// A command that is not done.
#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    rank: u64,
    taken: Duration,
    /// Groups that still have it.
    open: usize,
    /// Whether some group has acknowledged it.
    acknowledged: bool,
}

#[derive(Debug, Default)]
struct Group {
    /// Each reader's lanes in hand, and when it was last given one.
    readers: BTreeMap<ReaderId, Hand>,
    /// When the last reader left, if none is there.
    deserted: Option<Duration>,
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes that have something to send: those that a reader has in hand, then urgent ones, then by the rank of their oldest
    /// command.
    ready: BTreeSet<Place>,
    /// When each command on its way returns.
    timers: BTreeSet<(Duration, Number)>,
    turn: u64,
}

#[derive(Debug, Default)]
struct Hand {
    lanes: usize,
    turn: u64,
}

/// Where a lane stands among those that are ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    free: bool,
    calm: bool,
    rank: u64,
    oldest: Number,
    lane: Arc<str>,
}

#[derive(Debug, Default)]
struct Lane {
    urgent: Track,
    ordinary: Track,
    /// Who has it in hand.
    owner: Option<ReaderId>,
    /// Where it stands among those that are ready.
    place: Option<Place>,
}

#[derive(Debug, Default)]
struct Track {
    waiting: VecDeque<Ticket>,
    /// What is on its way, and when it returns.
    away: Option<(Ticket, Duration)>,
}

impl Track {
    fn has(&self) -> bool {
        self.away.is_some() || !self.waiting.is_empty()
    }

    /// Takes the next one on its way, if none is.
    fn send(&mut self, until: Duration) -> Option<Number> {
        if self.away.is_some() {
            return None;
        }
        let ticket = self.waiting.pop_front()?;
        self.away = Some((ticket, until));
        Some(ticket.number)
    }

    /// Puts what is on its way back in front.
    fn return_away(&mut self) -> Option<(Number, Duration)> {
        let (ticket, until) = self.away.take()?;
        self.waiting.push_front(ticket);
        Some((ticket.number, until))
    }
}

impl Lane {
    fn track(&mut self, urgent: bool) -> &mut Track {
        if urgent { &mut self.urgent } else { &mut self.ordinary }
    }

    fn has_away(&self, number: Number) -> bool {
        [&self.urgent, &self.ordinary].iter().any(|track| track.away.is_some_and(|(away, _)| away.number == number))
    }

    fn is_away(&self) -> bool {
        self.urgent.away.is_some() || self.ordinary.away.is_some()
    }

    fn place(&self, name: &Arc<str>) -> Option<Place> {
        let (urgent, ordinary) = (self.urgent.waiting.front(), self.ordinary.waiting.front());
        let Ticket { number, rank } = *urgent.or(ordinary)?;
        Some(Place { free: self.owner.is_none(), calm: urgent.is_none(), rank, oldest: number, lane: name.clone() })
    }
}

/// Whether a command may be given up: no group has acknowledged it, and no reader has it in hand.
fn may_go(groups: &BTreeMap<Arc<str>, Group>, number: Number, entry: &Entry) -> bool {
    let is_away = |group: &Group| group.lanes.get(&entry.task.lane).is_some_and(|lane| lane.has_away(number));
    !entry.acknowledged && !groups.values().any(is_away)
}

impl Queue {
    /// An empty queue.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next: 1,
            bytes: 0,
            entries: BTreeMap::new(),
            by_id: HashMap::new(),
            by_holder: HashMap::new(),
            ledger: Ledger::new(bounds.commands, bounds.bytes),
            ranks: HashMap::new(),
            turn: 0,
            groups: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    /// How many commands are not done.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no command waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.readers.len()
    }

    /// Takes a command for every group that has a reader, or had one a moment ago. Commands of others may be given up for it
    /// (LIMIT-13).
    ///
    /// # Errors
    /// [`Full`]; then nothing was taken or given up.
    pub fn submit(&mut self, task: Task, now: Duration) -> Result<Submitted, Full> {
        if self.by_id.contains_key(&task.id) {
            return Ok(Submitted::default());
        }
        let grace = self.bounds.grace;
        let takes = |group: &Group| group.deserted.is_none_or(|since| now < since + grace);
        let open = self.groups.values().filter(|group| takes(group)).count();
        if open == 0 {
            return Err(Full::NoReader);
        }
        let Self { ledger, by_holder, entries, groups, .. } = self;
        let newest = |holder: &Holder, going: &[Number]| {
            let held = by_holder.get(holder)?.iter().rev().filter(|number| !going.contains(number));
            let mut waiting = held.filter_map(|number| Some((*number, entries.get(number)?)));
            let (number, entry) = waiting.find(|(number, entry)| may_go(groups, *number, entry))?;
            Some((number, entry.task.body.len()))
        };
        let going = ledger.make_room(&task.holder, task.body.len(), newest).ok_or(Full::Busy)?;
        let evicted = going.into_iter().filter_map(|number| self.withdraw(number)).collect();
        let number = self.next;
        self.next += 1;
        self.bytes += task.body.len();
        self.ledger.add(task.holder.clone(), task.body.len());
        let next = self.ranks.entry(task.holder.clone()).or_insert(self.turn);
        let rank = self.turn.max(*next);
        *next = rank + 1;
        self.by_holder.entry(task.holder.clone()).or_default().insert(number);
        let task = Arc::new(task);
        self.by_id.insert(task.id.clone(), number);
        for group in self.groups.values_mut().filter(|group| takes(group)) {
            let lane = group.lanes.entry(task.lane.clone()).or_default();
            lane.track(task.urgent).waiting.push_back(Ticket { number, rank });
            group.settle(&task.lane);
        }
        self.entries.insert(number, Entry { task, rank, taken: now, open, acknowledged: false });
        Ok(Submitted { deliveries: self.deliver(now), evicted })
    }

    /// Gives up what no reader has and whose connection is gone. Commands of a session wait on: it may come back.
    pub fn give_up(&mut self, gone: impl Fn(ConnectionId) -> bool) -> Vec<Arc<Task>> {
        let left = self.entries.iter().filter(|(number, entry)| {
            entry.task.connection.is_some_and(&gone) && may_go(&self.groups, **number, entry)
        });
        let left: Vec<Number> = left.map(|(number, _)| *number).collect();
        let withdrawn = left.into_iter().filter_map(|number| {
            let task = self.withdraw(number)?;
            self.ledger.release(&task.holder, task.body.len());
            Some(task)
        });
        withdrawn.collect()
    }

    /// Takes a command out of every group and forgets it; its share is released already.
    fn withdraw(&mut self, number: Number) -> Option<Arc<Task>> {
        let task = self.entries.get(&number)?.task.clone();
        for group in self.groups.values_mut() {
            group.finish(number, &task);
        }
        self.remove(number);
        Some(task)
    }

    /// A reader comes. The answer holds what it is brought at once.
    ///
    /// # Errors
    /// [`Full::Busy`] when there are as many readers or groups as there may be.
    pub fn attach(&mut self, reader: ReaderId, group: &str, now: Duration) -> Result<Vec<Delivery>, Full> {
        self.sweep(now);
        if self.readers.len() >= self.bounds.readers
            || (!self.groups.contains_key(group) && self.groups.len() >= self.bounds.groups)
        {
            return Err(Full::Busy);
        }
        let name: Arc<str> = group.into();
        let group = self.groups.entry(name.clone()).or_default();
        group.readers.insert(reader, Hand::default());
        group.deserted = None;
        self.readers.insert(reader, name);
        Ok(self.deliver(now))
    }

    /// A reader goes. What it did not acknowledge is brought to others at once.
    pub fn detach(&mut self, reader: ReaderId, now: Duration) -> Vec<Delivery> {
        let Some(name) = self.readers.remove(&reader) else { return Vec::new() };
        if let Some(group) = self.groups.get_mut(&name) {
            group.readers.remove(&reader);
            if group.readers.is_empty() {
                group.deserted = Some(now);
            }
            let owned: Vec<Arc<str>> = group
                .lanes
                .iter()
                .filter(|(_, lane)| lane.owner == Some(reader))
                .map(|(name, _)| name.clone())
                .collect();
            for name in owned {
                group.take_back(&name, None);
            }
        }
        self.deliver(now)
    }

    /// A command is done in a group, whoever says so: an acknowledgement that comes too late still counts. Says whether the
    /// group had it.
    pub fn acknowledge(&mut self, group: &str, id: &str, now: Duration) -> (bool, Vec<Delivery>) {
        let Some(number) = self.by_id.get(id).copied() else { return (false, Vec::new()) };
        let Some(entry) = self.entries.get_mut(&number) else { return (false, Vec::new()) };
        let Some(group) = self.groups.get_mut(group) else { return (false, Vec::new()) };
        if !group.finish(number, &entry.task) {
            return (false, Vec::new());
        }
        entry.open -= 1;
        entry.acknowledged = true;
        if entry.open == 0 {
            self.forget(number);
        }
        (true, self.deliver(now))
    }

    /// Time has passed: what was not acknowledged in time is brought again, and what is too old is given up. The second
    /// list holds what no group acknowledged.
    pub fn tick(&mut self, now: Duration) -> (Vec<Delivery>, Vec<Arc<Task>>) {
        let mut given_up = Vec::new();
        while let Some((&number, entry)) = self.entries.first_key_value() {
            if now < entry.taken + self.bounds.age {
                break;
            }
            for group in self.groups.values_mut() {
                group.finish(number, &entry.task);
            }
            if !entry.acknowledged {
                given_up.push(entry.task.clone());
            }
            self.forget(number);
        }
        for group in self.groups.values_mut() {
            while let Some(&(until, number)) = group.timers.first() {
                if now < until {
                    break;
                }
                match self.entries.get(&number) {
                    Some(entry) => group.take_back(&entry.task.lane.clone(), Some(entry.task.urgent)),
                    None => drop(group.timers.pop_first()),
                }
            }
        }
        self.sweep(now);
        (self.deliver(now), given_up)
    }

    /// Forgets groups that nobody reads and that have nothing.
    fn sweep(&mut self, now: Duration) {
        let grace = self.bounds.grace;
        self.groups
            .retain(|_, group| group.deserted.is_none_or(|since| now < since + grace) || !group.lanes.is_empty());
    }

    /// When [`Queue::tick`] has something to do, if nothing else happens.
    pub fn next_tick(&self) -> Option<Duration> {
        let returns = self.groups.values().filter_map(|group| group.timers.first().map(|(until, _)| *until));
        let oldest = self.entries.first_key_value().map(|(_, entry)| entry.taken + self.bounds.age);
        returns.chain(oldest).min()
    }

    fn forget(&mut self, number: Number) {
        if let Some(task) = self.remove(number) {
            self.ledger.release(&task.holder, task.body.len());
        }
    }

    fn remove(&mut self, number: Number) -> Option<Arc<Task>> {
        let Entry { task, .. } = self.entries.remove(&number)?;
        self.bytes -= task.body.len();
        self.by_id.remove(&task.id);
        if let Some(held) = self.by_holder.get_mut(&task.holder) {
            held.remove(&number);
            if held.is_empty() {
                self.by_holder.remove(&task.holder);
                self.ranks.remove(&task.holder);
            }
        }
        Some(task)
    }

    /// Sends everything on its way that may go.
    fn deliver(&mut self, now: Duration) -> Vec<Delivery> {
        let until = now + self.bounds.visibility;
        let mut deliveries = Vec::new();
        for group in self.groups.values_mut() {
            for (reader, number) in group.send(self.bounds.lanes_per_reader, until) {
                if let Some(entry) = self.entries.get(&number) {
                    self.turn = self.turn.max(entry.rank);
                    deliveries.push(Delivery { reader, task: entry.task.clone() });
                }
            }
        }
        deliveries
    }
}

impl Group {
    /// Gives lanes to readers and sends what may go.
    fn send(&mut self, lanes_per_reader: usize, until: Duration) -> Vec<(ReaderId, Number)> {
        let mut sent = Vec::new();
        while let Some(place) = self.ready.first().cloned() {
            let owner = self.lanes.get(&place.lane).and_then(|lane| lane.owner);
            let free = || {
                let free = self.readers.iter().filter(|(_, hand)| hand.lanes < lanes_per_reader);
                free.min_by_key(|(id, hand)| (hand.lanes, hand.turn, **id)).map(|(id, _)| *id)
            };
            let Some(reader) = owner.or_else(free) else { break };
            self.ready.remove(&place);
            let Some(lane) = self.lanes.get_mut(&place.lane) else { continue };
            lane.place = None;
            if lane.owner.replace(reader).is_none()
                && let Some(hand) = self.readers.get_mut(&reader)
            {
                self.turn += 1;
                *hand = Hand { lanes: hand.lanes + 1, turn: self.turn };
            }
            for track in [&mut lane.urgent, &mut lane.ordinary] {
                if let Some(number) = track.send(until) {
                    self.timers.insert((until, number));
                    sent.push((reader, number));
                }
            }
        }
        sent
    }

    /// Takes back what is on its way of a lane: of one track, or of both.
    fn take_back(&mut self, name: &Arc<str>, urgent: Option<bool>) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        for of in [true, false] {
            if urgent.is_none_or(|urgent| urgent == of)
                && let Some((number, until)) = lane.track(of).return_away()
            {
                self.timers.remove(&(until, number));
            }
        }
        self.settle(name);
    }

    /// A command is over. Says whether it was here.
    fn finish(&mut self, number: Number, task: &Task) -> bool {
        let Some(lane) = self.lanes.get_mut(&task.lane) else { return false };
        let track = lane.track(task.urgent);
        match track.away {
            Some((away, until)) if away.number == number => {
                track.away = None;
                self.timers.remove(&(until, number));
            }
            _ => match track.waiting.binary_search_by_key(&number, |ticket| ticket.number) {
                Ok(at) => drop(track.waiting.remove(at)),
                Err(_) => return false,
            },
        }
        self.settle(&task.lane);
        true
    }

    /// After a change of a lane: who has it in hand, and where it stands.
    fn settle(&mut self, name: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        if !lane.is_away()
            && let Some(owner) = lane.owner.take()
            && let Some(hand) = self.readers.get_mut(&owner)
        {
            hand.lanes -= 1;
        }
        if let Some(place) = lane.place.take() {
            self.ready.remove(&place);
        }
        if !lane.urgent.has() && !lane.ordinary.has() {
            self.lanes.remove(name);
            return;
        }
        let sendable =
            [&lane.urgent, &lane.ordinary].iter().any(|track| track.away.is_none() && !track.waiting.is_empty());
        if sendable && let Some(place) = lane.place(name) {
            self.ready.insert(place.clone());
            lane.place = Some(place);
        }
    }
}
