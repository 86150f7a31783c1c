//! What waits for back ends that read a stream, as a state machine of time: no clock, no socket, no lock.
//!
//! A command goes to every **group** that has a reader. In a group, the commands of one session are a lane,
//! which decides what may be brought next and what an urgent command cancels (CMD-11, CMD-15). While anything of a lane is
//! on its way, the lane belongs to one **reader**; when nothing is, the next command goes to the reader with the fewest lanes.
//!
//! What is not acknowledged in time, or whose reader went, returns to the head of its track and is brought again. So a
//! command comes at least once, perhaps several times, and never behind one that was sent after it. What is cancelled is not
//! brought again. It is **held** until the urgent command is done: where that is given up, the senders of both are told.
//!
//! What waits is shared fairly between those who sent it (LIMIT-13): where there is no room, the holder with the most gives up
//! its newest command that no reader has. Holders take turns as well: each command gets a **rank**, which is one more than that
//! of its holder's command before, but not less than what is being brought (start-time fair queueing), and lower ranks go first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::Holder;
use eventwire_protocol::{CommandEffect, ConnectionId, application::Cancels};

use crate::{
    lane::{Cut, Dropped, Finished, Lane as Tracks, Names, Number, Returned, Ticket},
    ledger::{Account, Ledger},
    recent::{Progress, Recent},
};

/// Commands of late that each group remembers, for cancellations to name.
const REMEMBERED: usize = 1_000;

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
    /// What it does to the work of its lane.
    pub effect: CommandEffect,
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
    /// Commands of others that were given up for it, newest first, and then what urgent ones among them held.
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
    /// What it cancels, if it is urgent (CMD-16).
    pub cancels: Option<Cancels>,
}

/// Why a command is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No group has a reader.
    NoReader,
    /// As much waits as may wait, or as much of this holder's as its share is.
    Busy,
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
    /// Until when the first reader after a start is awaited. What comes before it waits in the group [`AWAITED`].
    awaited_until: Option<Duration>,
}

/// The name of the group that waits for its first reader after a start; no reader can name it.
const AWAITED: &str = "";

/// A command that is not done.
#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    /// Where it counts (LIMIT-13).
    account: Account,
    rank: u64,
    taken: Duration,
    /// Groups that still have it.
    open: usize,
    /// Whether some group has acknowledged it.
    acknowledged: bool,
    /// What an urgent command holds: cancelled commands that no group has acknowledged. No group has them any more.
    holds: Vec<Number>,
}

#[derive(Debug)]
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
    /// The work that its readers took up of late.
    recent: Recent,
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
    tracks: Tracks,
    /// Who has it in hand.
    owner: Option<ReaderId>,
    /// Where it stands among those that are ready.
    place: Option<Place>,
}

impl Lane {
    /// Where the lane belongs among those that are ready, if anything of it may be brought.
    fn next_place(&self, name: &Arc<str>) -> Option<Place> {
        let urgent = self.tracks.sendable(true);
        let Ticket { number, rank, .. } = *urgent.or_else(|| self.tracks.sendable(false))?;
        Some(Place { free: self.owner.is_none(), calm: urgent.is_none(), rank, oldest: number, lane: name.clone() })
    }
}

/// Whether a command may be given up: no group has acknowledged it, and no reader has it in hand.
fn may_go(groups: &BTreeMap<Arc<str>, Group>, number: Number, entry: &Entry) -> bool {
    let is_away = |group: &Group| group.lanes.get(&entry.task.lane).is_some_and(|lane| lane.tracks.has_away(number));
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
            awaited_until: None,
        }
    }

    /// The server has started: for as long as a reader that returns has, commands are taken for the group whose reader
    /// comes first (CMD-12).
    pub fn await_reader(&mut self, now: Duration) {
        let group = Group { deserted: Some(now), ..Group::new(self.bounds.age) };
        self.groups.insert(AWAITED.into(), group);
        self.awaited_until = Some(now + self.bounds.grace);
    }

    /// No reader came after the start: gives up what waited for one.
    fn stop_awaiting(&mut self, now: Duration) -> Vec<Arc<Task>> {
        if self.awaited_until.is_none_or(|until| now < until) {
            return Vec::new();
        }
        self.awaited_until = None;
        let waiting: Vec<Number> = self.entries.keys().copied().collect();
        let mut given_up = Vec::new();
        for number in waiting {
            let Some(entry) = self.withdraw(number) else { continue };
            self.release(&entry);
            given_up.push(entry.task.clone());
            given_up.extend(self.resolve(number, &entry, false));
        }
        self.groups.remove(AWAITED);
        given_up
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
        let newest = |holder: &Holder, account: Account, going: &[Number]| {
            let held = by_holder.get(holder)?.iter().rev().filter(|number| !going.contains(number));
            let mut waiting = held.filter_map(|number| Some((*number, entries.get(number)?)));
            let (number, entry) =
                waiting.find(|(number, entry)| entry.account == account && may_go(groups, *number, entry))?;
            Some((number, entry.task.body.len()))
        };
        let room = ledger.make_room(&task.holder, task.body.len(), task.effect.is_urgent(), newest);
        let (account, going) = room.ok_or(Full::Busy)?;
        // Their shares are released already, those of what they hold are not.
        let going: Vec<(Number, Entry)> =
            going.into_iter().filter_map(|number| Some((number, self.withdraw(number)?))).collect();
        let mut evicted: Vec<Arc<Task>> = going.iter().map(|(_, entry)| entry.task.clone()).collect();
        for (number, entry) in going {
            evicted.extend(self.resolve(number, &entry, false));
        }
        let number = self.next;
        self.next += 1;
        self.bytes += task.body.len();
        self.ledger.add(task.holder.clone(), account, task.body.len());
        let next = self.ranks.entry(task.holder.clone()).or_insert(self.turn);
        let rank = self.turn.max(*next);
        *next = rank + 1;
        self.by_holder.entry(task.holder.clone()).or_default().insert(number);
        let task = Arc::new(task);
        self.by_id.insert(task.id.clone(), number);
        let mut dropped = Vec::new();
        for group in self.groups.values_mut() {
            let mut cut = group.cut(&task, number, now);
            dropped.append(&mut cut.dropped);
            if takes(group) {
                let lane = group.lanes.entry(task.lane.clone()).or_default();
                lane.tracks.push(Ticket::new(number, rank, task.id.clone(), task.effect, cut.names));
            }
            group.settle(&task.lane);
        }
        let entry = Entry { task, account, rank, taken: now, open, acknowledged: false, holds: Vec::new() };
        self.entries.insert(number, entry);
        self.leave(dropped);
        Ok(Submitted { deliveries: self.deliver(now), evicted })
    }

    /// Gives up what no reader has and whose connection is gone. Commands of a session wait on: it may come back.
    pub fn give_up(&mut self, gone: impl Fn(ConnectionId) -> bool) -> Vec<Arc<Task>> {
        let left = self.entries.iter().filter(|(number, entry)| {
            entry.task.connection.is_some_and(&gone) && may_go(&self.groups, **number, entry)
        });
        let left: Vec<Number> = left.map(|(number, _)| *number).collect();
        let mut given_up = Vec::new();
        for number in left {
            let Some(entry) = self.withdraw(number) else { continue };
            self.release(&entry);
            given_up.push(entry.task.clone());
            given_up.extend(self.resolve(number, &entry, false));
        }
        given_up
    }

    /// Takes a command out of every group and forgets it; its share is the caller's to release.
    fn withdraw(&mut self, number: Number) -> Option<Entry> {
        let task = self.entries.get(&number)?.task.clone();
        for group in self.groups.values_mut() {
            group.finish(number, &task);
        }
        self.remove(number)
    }

    /// An urgent command is over: some group has taken it, or it is given up. Gives what it held, if the senders of that
    /// have to be told.
    fn resolve(&mut self, number: Number, entry: &Entry, taken: bool) -> Vec<Arc<Task>> {
        if !entry.task.effect.is_urgent() {
            return Vec::new();
        }
        for group in self.groups.values_mut() {
            if let Some(lane) = group.lanes.get_mut(&entry.task.lane) {
                lane.tracks.resolve(number, taken);
            }
        }
        let held: Vec<Arc<Task>> =
            entry.holds.iter().filter_map(|held| self.forget(*held)).map(|held| held.task).collect();
        if taken { Vec::new() } else { held }
    }

    /// Cancelled commands left their lanes. Each one that no group has any more is held, or forgotten.
    fn leave(&mut self, dropped: Vec<Dropped>) {
        for Dropped { number, by, .. } in dropped {
            let Some(entry) = self.entries.get_mut(&number) else { continue };
            entry.open -= 1;
            if entry.open > 0 {
                continue;
            }
            let is_acknowledged = entry.acknowledged;
            match by.and_then(|by| self.entries.get_mut(&by)) {
                Some(urgent) if !is_acknowledged && !urgent.acknowledged => urgent.holds.push(number),
                _ => drop(self.forget(number)),
            }
        }
    }

    /// A reader comes. The answer holds what it is brought at once.
    ///
    /// # Errors
    /// [`Full::Busy`] when there are as many readers or groups as there may be.
    pub fn attach(&mut self, reader: ReaderId, group: &str, now: Duration) -> Result<Vec<Delivery>, Full> {
        self.sweep(now);
        if self.readers.len() >= self.bounds.readers {
            return Err(Full::Busy);
        }
        if self.awaited_until.take().is_some()
            && let Some(awaited) = self.groups.remove(AWAITED)
        {
            self.groups.insert(group.into(), awaited);
        }
        if !self.groups.contains_key(group) && self.groups.len() >= self.bounds.groups {
            return Err(Full::Busy);
        }
        let name: Arc<str> = group.into();
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group::new(self.bounds.age));
        group.readers.insert(reader, Hand::default());
        group.deserted = None;
        self.readers.insert(reader, name);
        Ok(self.deliver(now))
    }

    /// A reader goes. What it did not acknowledge is brought to others at once.
    pub fn detach(&mut self, reader: ReaderId, now: Duration) -> Vec<Delivery> {
        let Some(name) = self.readers.remove(&reader) else { return Vec::new() };
        let mut dropped = Vec::new();
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
                for urgent in [true, false] {
                    dropped.extend(group.take_back(&name, urgent, now));
                }
            }
        }
        self.leave(dropped);
        self.deliver(now)
    }

    /// A command is done in a group, whoever says so: an acknowledgement that comes too late still counts. Says whether the
    /// group had it.
    pub fn acknowledge(&mut self, group: &str, id: &str, now: Duration) -> (bool, Vec<Delivery>) {
        let Some(group) = self.groups.get_mut(group) else { return (false, Vec::new()) };
        let number = self.by_id.get(id).copied().unwrap_or_default();
        let Some(entry) = self.entries.get_mut(&number) else {
            // It is cancelled and forgotten. A reader that was brought it has ended its work all the same.
            return (group.recent.end(id, now), Vec::new());
        };
        let task = entry.task.clone();
        if entry.open == 0 {
            // It is held, until its work has ended or the urgent command is done.
            let was_there = group.recent.end(&task.id, now);
            if was_there {
                self.forget(number);
            }
            return (was_there, Vec::new());
        }
        if !group.finish(number, &task) {
            let was_in_work = group.recent.end(&task.id, now);
            entry.acknowledged |= was_in_work;
            return (was_in_work, Vec::new());
        }
        if let Some(work) = task.effect.begins() {
            group.recent.record(&task.lane, task.id.clone(), work, Progress::Ended, now);
        }
        entry.open -= 1;
        let is_first = !std::mem::replace(&mut entry.acknowledged, true);
        let entry = Entry { task, holds: std::mem::take(&mut entry.holds), ..*entry };
        if is_first {
            self.resolve(number, &entry, true);
        }
        if entry.open == 0 {
            self.forget(number);
        }
        (true, self.deliver(now))
    }

    /// Time has passed: what was not acknowledged in time is brought again, and what is too old is given up. The second
    /// list holds what no group acknowledged.
    pub fn tick(&mut self, now: Duration) -> (Vec<Delivery>, Vec<Arc<Task>>) {
        let mut given_up = self.stop_awaiting(now);
        while let Some((&number, entry)) = self.entries.first_key_value() {
            if now < entry.taken + self.bounds.age {
                break;
            }
            let Some(entry) = self.withdraw(number) else { break };
            self.release(&entry);
            if !entry.acknowledged {
                given_up.push(entry.task.clone());
            }
            given_up.extend(self.resolve(number, &entry, entry.acknowledged));
        }
        let mut dropped = Vec::new();
        for group in self.groups.values_mut() {
            while let Some(&(until, number)) = group.timers.first() {
                if now < until {
                    break;
                }
                match self.entries.get(&number) {
                    Some(entry) => {
                        dropped.extend(group.take_back(&entry.task.lane, entry.task.effect.is_urgent(), now));
                    }
                    None => drop(group.timers.pop_first()),
                }
            }
        }
        self.leave(dropped);
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
        returns.chain(oldest).chain(self.awaited_until).min()
    }

    fn release(&mut self, entry: &Entry) {
        self.ledger.release(&entry.task.holder, entry.account, entry.task.body.len());
    }

    fn forget(&mut self, number: Number) -> Option<Entry> {
        let entry = self.remove(number)?;
        self.release(&entry);
        Some(entry)
    }

    fn remove(&mut self, number: Number) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        let task = &entry.task;
        self.bytes -= task.body.len();
        self.by_id.remove(&task.id);
        if let Some(held) = self.by_holder.get_mut(&task.holder) {
            held.remove(&number);
            if held.is_empty() {
                self.by_holder.remove(&task.holder);
                self.ranks.remove(&task.holder);
            }
        }
        Some(entry)
    }

    /// Sends everything on its way that may go.
    fn deliver(&mut self, now: Duration) -> Vec<Delivery> {
        let until = now + self.bounds.visibility;
        let mut deliveries = Vec::new();
        for group in self.groups.values_mut() {
            for Sent { reader, number, cancels } in group.send(self.bounds.lanes_per_reader, until, now) {
                if let Some(entry) = self.entries.get(&number) {
                    self.turn = self.turn.max(entry.rank);
                    deliveries.push(Delivery { reader, task: entry.task.clone(), cancels });
                }
            }
        }
        deliveries
    }
}

/// A command that a group brings to a reader.
struct Sent {
    reader: ReaderId,
    number: Number,
    cancels: Option<Cancels>,
}

impl Group {
    fn new(horizon: Duration) -> Self {
        Self {
            readers: BTreeMap::new(),
            deserted: None,
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            turn: 0,
            recent: Recent::new(REMEMBERED, horizon),
        }
    }

    /// What a new command cancels here; nothing, if it is not urgent.
    fn cut(&mut self, task: &Task, number: Number, now: Duration) -> Cut {
        let CommandEffect::Cancels(work) = task.effect else { return Cut::default() };
        let recent = self.recent.of(&task.lane, work, now);
        let mut cut = self.lanes.get_mut(&task.lane).map(|lane| lane.tracks.cut(number, work)).unwrap_or_default();
        cut.names = Names::after(recent, cut.names);
        for dropped in cut.dropped.iter().filter(|dropped| dropped.was_brought) {
            self.recent.record(&task.lane, dropped.id.clone(), work, Progress::InWork, now);
        }
        cut
    }

    /// Gives lanes to readers and sends what may go.
    fn send(&mut self, lanes_per_reader: usize, until: Duration, now: Duration) -> Vec<Sent> {
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
            for urgent in [true, false] {
                let Some(number) = lane.tracks.send(urgent, until).map(|ticket| ticket.number) else { continue };
                let names = lane.tracks.names(number);
                let cancels = names.map(|names| names.cancels(|id| self.recent.has_ended(&place.lane, id, now)));
                self.timers.insert((until, number));
                sent.push(Sent { reader, number, cancels });
            }
        }
        sent
    }

    /// Takes back what is on its way of one track of a lane. Gives what is cancelled and therefore not brought again.
    fn take_back(&mut self, name: &Arc<str>, urgent: bool, now: Duration) -> Option<Dropped> {
        let returned = self.lanes.get_mut(name)?.tracks.return_away(urgent)?;
        let dropped = match returned {
            Returned::Waits(number, until) => {
                self.timers.remove(&(until, number));
                None
            }
            Returned::Dropped(dropped, until) => {
                self.timers.remove(&(until, dropped.number));
                if let Some(work) = dropped.work {
                    self.recent.record(name, dropped.id.clone(), work, Progress::InWork, now);
                }
                Some(dropped)
            }
        };
        self.settle(name);
        dropped
    }

    /// A command is over. Says whether it was here.
    fn finish(&mut self, number: Number, task: &Task) -> bool {
        let Some(lane) = self.lanes.get_mut(&task.lane) else { return false };
        match lane.tracks.finish(number, task.effect.is_urgent()) {
            Some(Finished::Away(until)) => drop(self.timers.remove(&(until, number))),
            Some(Finished::Waiting) => {}
            None => return false,
        }
        self.settle(&task.lane);
        true
    }

    /// After a change of a lane: who has it in hand, and where it stands.
    fn settle(&mut self, name: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        if !lane.tracks.is_away()
            && let Some(owner) = lane.owner.take()
            && let Some(hand) = self.readers.get_mut(&owner)
        {
            hand.lanes -= 1;
        }
        if let Some(place) = lane.place.take() {
            self.ready.remove(&place);
        }
        if lane.tracks.is_empty() {
            self.lanes.remove(name);
            return;
        }
        if let Some(place) = lane.next_place(name) {
            self.ready.insert(place.clone());
            lane.place = Some(place);
        }
    }
}
