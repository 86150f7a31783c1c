//! What waits for back ends that read a stream, as a state machine of time: no clock, no socket, no lock.
//!
//! A command goes to every **group** that has a reader. In a group, the commands of one **lane** (one session, CMD-11) are
//! brought one after the other: the next is not brought before the one in front of it was acknowledged. A lane has a
//! second track for urgent commands, which wait for each other and for nobody else. While anything of a lane is on its
//! way, the lane belongs to one **reader**; when nothing is, the next command goes to the reader with the fewest lanes.
//!
//! What is not acknowledged in time, or whose reader went, returns to the head of its track and is brought again. So a
//! command comes at least once, perhaps several times, and never behind one that was sent after it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

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
    /// As much waits as may wait.
    Busy,
}

/// The number of a command: later ones are greater.
type Number = u64;

/// The queue.
#[derive(Debug)]
pub struct Queue {
    bounds: Bounds,
    next: Number,
    bytes: usize,
    entries: BTreeMap<Number, Entry>,
    by_id: HashMap<Arc<str>, Number>,
    groups: BTreeMap<Arc<str>, Group>,
    readers: BTreeMap<ReaderId, Arc<str>>,
}

/// A command that is not done.
#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
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
    /// Lanes that have something to send: those that somebody has in hand, then urgent ones, then by their oldest command.
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
    waiting: VecDeque<Number>,
    /// What is on its way, and when it returns.
    away: Option<(Number, Duration)>,
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
        let number = self.waiting.pop_front()?;
        self.away = Some((number, until));
        Some(number)
    }

    /// Puts what is on its way back in front.
    fn return_away(&mut self) -> Option<(Number, Duration)> {
        let (number, until) = self.away.take()?;
        self.waiting.push_front(number);
        Some((number, until))
    }
}

impl Lane {
    fn track(&mut self, urgent: bool) -> &mut Track {
        if urgent { &mut self.urgent } else { &mut self.ordinary }
    }

    fn is_away(&self) -> bool {
        self.urgent.away.is_some() || self.ordinary.away.is_some()
    }

    fn place(&self, name: &Arc<str>) -> Option<Place> {
        let (urgent, ordinary) = (self.urgent.waiting.front(), self.ordinary.waiting.front());
        let oldest = *urgent.or(ordinary)?;
        Some(Place { free: self.owner.is_none(), calm: urgent.is_none(), oldest, lane: name.clone() })
    }
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

    /// Takes a command for every group that has a reader, or had one a moment ago.
    ///
    /// # Errors
    /// [`Full`]; then nothing was taken.
    pub fn submit(&mut self, task: Task, now: Duration) -> Result<Vec<Delivery>, Full> {
        if self.by_id.contains_key(&task.id) {
            return Ok(Vec::new());
        }
        let grace = self.bounds.grace;
        let takes = |group: &Group| group.deserted.is_none_or(|since| now < since + grace);
        let open = self.groups.values().filter(|group| takes(group)).count();
        if open == 0 {
            return Err(Full::NoReader);
        }
        if self.entries.len() >= self.bounds.commands || self.bytes + task.body.len() > self.bounds.bytes {
            return Err(Full::Busy);
        }
        let number = self.next;
        self.next += 1;
        self.bytes += task.body.len();
        let task = Arc::new(task);
        self.by_id.insert(task.id.clone(), number);
        for group in self.groups.values_mut().filter(|group| takes(group)) {
            let lane = group.lanes.entry(task.lane.clone()).or_default();
            lane.track(task.urgent).waiting.push_back(number);
            group.settle(&task.lane);
        }
        self.entries.insert(number, Entry { task, taken: now, open, acknowledged: false });
        Ok(self.deliver(now))
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
        if let Some(entry) = self.entries.remove(&number) {
            self.bytes -= entry.task.body.len();
            self.by_id.remove(&entry.task.id);
        }
    }

    /// Sends everything on its way that may go.
    fn deliver(&mut self, now: Duration) -> Vec<Delivery> {
        let until = now + self.bounds.visibility;
        let mut deliveries = Vec::new();
        for group in self.groups.values_mut() {
            for (reader, number) in group.send(self.bounds.lanes_per_reader, until) {
                if let Some(entry) = self.entries.get(&number) {
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
            Some((away, until)) if away == number => {
                track.away = None;
                self.timers.remove(&(until, number));
            }
            _ => match track.waiting.binary_search(&number) {
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
