//! The queue of commands against a naive one that looks through everything it ever saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use eventwire_commands::queue::{Bounds, Delivery, Full, Queue, ReaderId, Submitted, Task};
use eventwire_hub::Holder;
use eventwire_protocol::{CommandEffect, ConnectionId, Work, application::Cancels};
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds {
    commands: 12,
    bytes: 100,
    visibility: Duration::from_secs(30),
    grace: Duration::from_secs(5),
    age: Duration::from_secs(120),
    lanes_per_reader: 2,
    groups: 2,
    readers: 4,
};

#[derive(Clone, Debug)]
enum Step {
    Submit {
        lane: u8,
        effect: CommandEffect,
        bytes: usize,
        holder: usize,
    },
    /// The connections of some commands are gone.
    GiveUp {
        connection: u64,
    },
    Again {
        nth: usize,
    },
    Attach {
        group: u8,
    },
    Detach {
        nth: usize,
    },
    /// Acknowledges one that was brought, perhaps long ago.
    Acknowledge {
        nth: usize,
    },
    /// Acknowledges whatever, in whatever group.
    AcknowledgeAnything {
        group: u8,
        nth: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn effects() -> impl Strategy<Value = CommandEffect> {
    prop_oneof![
        3 => Just(CommandEffect::KeepsPlace),
        5 => Just(CommandEffect::Begins(Work::Turn)),
        2 => Just(CommandEffect::Begins(Work::Speech)),
        3 => Just(CommandEffect::Cancels(Work::Turn)),
        1 => Just(CommandEffect::Cancels(Work::Speech)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u8..3, effects(), 0_usize..20, prop_oneof![3 => Just(0_usize), 2 => 1_usize..4])
            .prop_map(|(lane, effect, bytes, holder)| Step::Submit { lane, effect, bytes, holder }),
        1 => (0_u64..4).prop_map(|connection| Step::GiveUp { connection }),
        1 => (0_usize..40).prop_map(|nth| Step::Again { nth }),
        3 => (0_u8..3).prop_map(|group| Step::Attach { group }),
        2 => (0_usize..4).prop_map(|nth| Step::Detach { nth }),
        8 => (0_usize..40).prop_map(|nth| Step::Acknowledge { nth }),
        1 => (0_u8..3, 0_usize..40).prop_map(|(group, nth)| Step::AcknowledgeAnything { group, nth }),
        4 => prop_oneof![0_u64..4, Just(5), 10_u64..40, Just(30), Just(130)].prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..80)
}

/// What became of one command in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotFor,
    Waits,
    Away(ReaderId, Duration),
    Done,
    /// It is cancelled, and not brought again.
    Left,
}

/// What an urgent command cancels, by the places of rows.
#[derive(Clone, Debug, Default)]
struct Named {
    in_work: Vec<usize>,
    withdrawn: Vec<usize>,
    ended: Vec<usize>,
}

struct Row {
    task: Task,
    /// Whether it counts in the reserve of urgent commands.
    is_reserve: bool,
    taken: Duration,
    states: [State; 3],
    /// In which groups a reader was brought it.
    brought: [bool; 3],
    acknowledged: bool,
    given_up: bool,
    /// Urgent commands that cancel it, none of which is done.
    cancelled_by: Vec<usize>,
    /// Whether it is cancelled by an urgent command that was acknowledged.
    is_cancelled: bool,
    /// The urgent command that decides whether its sender is told, when no group has it any more.
    held_by: Option<usize>,
    /// What an urgent one names, in each group.
    names: [Named; 3],
}

impl Row {
    /// Some group has it, or it is held.
    fn open(&self) -> bool {
        self.held_by.is_some() || self.is_in_a_group()
    }

    fn is_in_a_group(&self) -> bool {
        self.states.iter().any(|state| matches!(state, State::Waits | State::Away(..)))
    }

    fn is_away(&self) -> bool {
        self.states.iter().any(|state| matches!(state, State::Away(..)))
    }

    fn is_urgent(&self) -> bool {
        matches!(self.task.effect, CommandEffect::Cancels(_))
    }

    fn has(&self, group: usize) -> bool {
        matches!(self.states[group], State::Waits | State::Away(..))
    }
}

/// A command whose work readers of a group took up.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    row: usize,
    at: Duration,
    ended: bool,
}

/// Remembers every command and every reader there ever was.
#[derive(Default)]
struct Oracle {
    rows: Vec<Row>,
    /// Who reads which group, in the order of coming.
    readers: Vec<(ReaderId, usize)>,
    /// When a group's last reader left.
    deserted: [Option<Duration>; 3],
    /// Groups that there are.
    known: BTreeSet<usize>,
    now: Duration,
    brought: Vec<(usize, usize)>,
    /// What each group remembers, oldest first.
    remembered: [Vec<Remembered>; 3],
}

impl Oracle {
    /// CMD-16: the newest 16 of a lane, for as long as a command is kept at most.
    fn remember(&mut self, group: usize, row: usize, ended: bool) {
        if !matches!(self.rows[row].task.effect, CommandEffect::Begins(_)) {
            return;
        }
        let (now, rows) = (self.now, &self.rows);
        let memory = &mut self.remembered[group];
        memory.retain(|it| it.row != row && it.at + BOUNDS.age > now);
        memory.push(Remembered { row, at: now, ended });
        let of_the_lane = |it: &Remembered| rows[it.row].task.lane == rows[row].task.lane;
        if memory.iter().filter(|it| of_the_lane(it)).count() > 16 {
            let oldest = memory.iter().position(of_the_lane).unwrap();
            memory.remove(oldest);
        }
    }

    fn memory(&self, group: usize, row: usize) -> Option<Remembered> {
        let alive = |it: &&Remembered| it.row == row && it.at + BOUNDS.age > self.now;
        self.remembered[group].iter().find(alive).copied()
    }

    /// CMD-15 and CMD-16: an urgent command is taken in. `urgent` is the place that its row will have.
    fn cancel(&mut self, urgent: usize, lane: &str, work: Work) -> [Named; 3] {
        let mut names: [Named; 3] = Default::default();
        for (group, named) in names.iter_mut().enumerate() {
            if !self.known.contains(&group) {
                continue;
            }
            let mut memory = self.remembered[group].clone();
            memory.retain(|it| it.at + BOUNDS.age > self.now);
            for it in memory {
                let task = &self.rows[it.row].task;
                if *task.lane == *lane && task.effect == CommandEffect::Begins(work) {
                    if it.ended { &mut named.ended } else { &mut named.in_work }.push(it.row);
                }
            }
            for at in 0..self.rows.len() {
                let row = &mut self.rows[at];
                if *row.task.lane != *lane || row.task.effect != CommandEffect::Begins(work) || !row.has(group) {
                    continue;
                }
                if matches!(row.states[group], State::Away(..)) {
                    named.in_work.push(at);
                    row.cancelled_by.push(urgent);
                } else if row.brought[group] {
                    named.in_work.push(at);
                    row.states[group] = State::Left;
                    self.remember(group, at, false);
                } else {
                    named.withdrawn.push(at);
                    row.states[group] = State::Left;
                }
            }
        }
        for at in 0..self.rows.len() {
            let left = self.rows[at].states.contains(&State::Left) && !self.rows[at].is_in_a_group();
            if left && !self.rows[at].acknowledged && self.rows[at].held_by.is_none() && !self.rows[at].given_up {
                let row = &mut self.rows[at];
                let named = names.iter().any(|it| it.in_work.contains(&at) || it.withdrawn.contains(&at));
                if named && !row.is_cancelled {
                    row.held_by = Some(urgent);
                }
            }
        }
        names
    }

    /// A command that is on its way is not taken: it waits again, or it is cancelled and leaves.
    fn come_back(&mut self, at: usize, group: usize) {
        let row = &mut self.rows[at];
        if row.cancelled_by.is_empty() && !row.is_cancelled {
            row.states[group] = State::Waits;
            return;
        }
        row.states[group] = State::Left;
        if !row.is_in_a_group() && !row.acknowledged && !row.is_cancelled {
            row.held_by = row.cancelled_by.first().copied();
        }
        self.remember(group, at, false);
    }

    /// An urgent command is done. Gives what it held, if that is given up with it.
    fn resolve(&mut self, urgent: usize, taken: bool) -> Vec<Arc<str>> {
        let mut told = Vec::new();
        for row in self.rows.iter_mut().filter(|row| row.open()) {
            if row.is_in_a_group() && row.cancelled_by.contains(&urgent) {
                row.cancelled_by.retain(|of| *of != urgent);
                row.is_cancelled |= taken;
            }
            if row.held_by == Some(urgent) {
                row.held_by = None;
                row.given_up = true;
                told.push(row.task.id.clone());
            }
        }
        if taken { Vec::new() } else { told }
    }

    /// CMD-16: what a reader is brought with an urgent command.
    fn cancels(&self, at: usize, group: usize) -> Option<Cancels> {
        let row = &self.rows[at];
        let ids = |rows: &[usize]| rows.iter().map(|at| self.rows[*at].task.id.to_string()).collect::<Vec<_>>();
        let names = &row.names[group];
        let has_ended = |at: &usize| self.memory(group, *at).is_some_and(|it| it.ended);
        let (ended, in_work): (Vec<usize>, Vec<usize>) = names.in_work.iter().partition(|at| has_ended(at));
        row.is_urgent().then(|| Cancels {
            in_work: ids(&in_work),
            withdrawn: ids(&names.withdrawn),
            ended: ids(&[names.ended.clone(), ended].concat()),
            stale: in_work.is_empty() && names.withdrawn.is_empty(),
        })
    }

    fn takes(&self, group: usize) -> bool {
        self.readers.iter().any(|(_, of)| *of == group)
            || (self.known.contains(&group)
                && self.deserted[group].is_some_and(|since| self.now - since < BOUNDS.grace))
    }

    fn sweep(&mut self) {
        for group in 0..3 {
            let holds = self.rows.iter().any(|row| matches!(row.states[group], State::Waits | State::Away(..)));
            if !self.takes(group) && !holds {
                self.known.remove(&group);
                self.remembered[group].clear();
            }
        }
    }

    /// What a holder has on an account, in commands and bytes, without those at `going`.
    fn held(&self, is_reserve: bool, of: impl Fn(&Holder) -> bool, going: &[usize]) -> [usize; 2] {
        let rows = self.rows.iter().enumerate();
        let rows = rows.filter(|(at, row)| row.open() && row.is_reserve == is_reserve && !going.contains(at));
        let bodies: Vec<usize> =
            rows.filter(|(_, row)| of(&row.task.holder)).map(|(_, row)| row.task.body.len()).collect();
        [bodies.len(), bodies.iter().sum()]
    }

    /// LIMIT-04 and LIMIT-13, as they are written: which rows go for a command of a holder.
    fn expected(&self, holder: &Holder, bytes: usize, is_urgent: bool) -> Result<(bool, Vec<usize>), Full> {
        match self.expected_of(false, holder, bytes) {
            // An urgent command has a sixteenth of each bound beside it.
            Err(Full::Busy) if is_urgent => Ok((true, self.expected_of(true, holder, bytes)?)),
            expected => Ok((false, expected?)),
        }
    }

    fn expected_of(&self, is_reserve: bool, holder: &Holder, bytes: usize) -> Result<Vec<usize>, Full> {
        if !(0..3).any(|group| self.takes(group)) {
            return Err(Full::NoReader);
        }
        let is_stranger = |of: &Holder| matches!(of, Holder::Peer(_));
        let (mut going, all) = (Vec::new(), all_holders());
        'evict: loop {
            let mut largest = None;
            let part = |bound: usize| if is_reserve { bound.div_ceil(16) } else { bound };
            for (unit, wanted, bound) in [(0, 1, part(BOUNDS.commands)), (1, bytes, part(BOUNDS.bytes))] {
                let open = bound - bound / 10;
                let most = if is_stranger(holder) { open } else { bound };
                let amounts: Vec<(usize, &Holder)> = all
                    .iter()
                    .map(|of| (self.held(is_reserve, |it| it == of, &going)[unit], of))
                    .filter(|(amount, _)| *amount > 0)
                    .collect();
                let own = self.held(is_reserve, |it| it == holder, &going)[unit] + wanted;
                let total = self.held(is_reserve, |_| true, &going)[unit] + wanted;
                let strangers =
                    self.held(is_reserve, is_stranger, &going)[unit] + if is_stranger(holder) { wanted } else { 0 };
                let room = total <= bound && (!is_stranger(holder) || strangers <= open);
                let count = amounts.len() + usize::from(amounts.iter().all(|(_, of)| *of != holder));
                if own > most || (room && total * 100 > bound * 80 && own > (most / count).max(1)) {
                    if unit == 1 && bytes == 0 {
                        continue;
                    }
                    return Err(Full::Busy);
                }
                if !room && largest.is_none() {
                    let part = is_stranger(holder) && strangers > open;
                    let candidates = amounts.iter().filter(|(amount, of)| *amount > own && (!part || is_stranger(of)));
                    largest = Some(candidates.max().map(|(_, of)| *of).ok_or(Full::Busy)?);
                }
            }
            let Some(largest) = largest else { return Ok(going) };
            for at in (0..self.rows.len()).rev() {
                let row = &self.rows[at];
                let may_go = row.open() && !row.is_away() && !row.acknowledged;
                if row.task.holder == *largest && row.is_reserve == is_reserve && may_go && !going.contains(&at) {
                    going.push(at);
                    continue 'evict;
                }
            }
            return Err(Full::Busy);
        }
    }

    /// A row is over without having been acknowledged.
    fn give_up(&mut self, at: usize) {
        let row = &mut self.rows[at];
        row.states = row.states.map(|state| if state == State::NotFor { state } else { State::Done });
        row.held_by = None;
        row.given_up = true;
    }

    /// What was brought must have been allowed to be brought.
    fn bring(&mut self, deliveries: Vec<Delivery>) -> Result<(), TestCaseError> {
        for Delivery { reader, task, cancels } in deliveries {
            let group = self.readers.iter().find(|(id, _)| *id == reader).map(|(_, group)| *group);
            let Some(group) = group else { return Err(TestCaseError::fail(format!("{reader:?} is gone"))) };
            let at = self.rows.iter().position(|row| row.task == *task).unwrap();
            prop_assert_eq!(self.rows[at].states[group], State::Waits, "{:?} was not waiting", task.id);
            prop_assert_eq!(&cancels, &self.cancels(at, group), "{:?} names", task.id);
            let is_urgent = self.rows[at].is_urgent();
            for (other, row) in self.rows.iter().enumerate() {
                if row.task.lane != task.lane || other == at {
                    continue;
                }
                if let State::Away(owner, _) = row.states[group] {
                    prop_assert_eq!(owner, reader, "two readers have lane {}", &task.lane);
                    prop_assert_ne!(row.is_urgent(), is_urgent, "two at once in lane {}", &task.lane);
                }
                // Urgent ones overtake ordinary ones, and ordinary ones never overtake anything.
                let before = other < at && (row.is_urgent() || !is_urgent);
                prop_assert!(
                    !before || !matches!(row.states[group], State::Waits | State::Away(..)),
                    "{:?} was overtaken by {:?}",
                    row.task.id,
                    task.id
                );
            }
            self.rows[at].states[group] = State::Away(reader, self.now + BOUNDS.visibility);
            self.rows[at].brought[group] = true;
            self.brought.push((at, group));
        }
        self.nothing_idles()
    }

    fn lanes_of(&self, reader: ReaderId, group: usize) -> BTreeSet<Arc<str>> {
        let held = |row: &&Row| matches!(row.states[group], State::Away(of, _) if of == reader);
        self.rows.iter().filter(held).map(|row| row.task.lane.clone()).collect()
    }

    /// Nothing waits that could be brought.
    fn nothing_idles(&self) -> Result<(), TestCaseError> {
        for group in 0..3 {
            let readers: Vec<ReaderId> =
                self.readers.iter().filter(|(_, of)| *of == group).map(|(reader, _)| *reader).collect();
            for reader in &readers {
                prop_assert!(self.lanes_of(*reader, group).len() <= BOUNDS.lanes_per_reader);
            }
            let hands_free = readers.iter().any(|r| self.lanes_of(*r, group).len() < BOUNDS.lanes_per_reader);
            for (at, row) in self.rows.iter().enumerate().filter(|(_, row)| row.states[group] == State::Waits) {
                let of_the_lane = |other: &&Row| other.task.lane == row.task.lane;
                let away = |of: &dyn Fn(&Row) -> bool| {
                    let mut rows = self.rows.iter().filter(of_the_lane);
                    rows.any(|other| of(other) && matches!(other.states[group], State::Away(..)))
                };
                let behind_urgent = !row.is_urgent()
                    && self.rows[..at].iter().filter(of_the_lane).any(|other| other.is_urgent() && other.has(group));
                let blocked = behind_urgent || away(&|other| other.is_urgent() == row.is_urgent());
                prop_assert!(blocked || (!away(&|_| true) && !hands_free), "{:?} waits for nothing", row.task.id);
            }
        }
        Ok(())
    }

    /// Rows are given up for another. Gives their ids, and then those of what urgent ones among them held.
    fn evict(&mut self, going: Vec<usize>) -> Vec<Arc<str>> {
        let mut ids: Vec<Arc<str>> = going.iter().map(|at| self.rows[*at].task.id.clone()).collect();
        going.iter().for_each(|at| self.give_up(*at));
        let urgent: Vec<usize> = going.into_iter().filter(|at| self.rows[*at].is_urgent()).collect();
        let mut held: Vec<Arc<str>> = urgent.into_iter().flat_map(|at| self.resolve(at, false)).collect();
        held.sort();
        ids.append(&mut held);
        ids
    }

    /// What a reader had returns when it goes.
    fn leave(&mut self, reader: ReaderId) {
        let at = self.readers.iter().position(|(id, _)| *id == reader).unwrap();
        let (_, group) = self.readers.remove(at);
        for at in 0..self.rows.len() {
            if matches!(self.rows[at].states[group], State::Away(of, _) if of == reader) {
                self.come_back(at, group);
            }
        }
        if self.readers.iter().all(|(_, of)| *of != group) {
            self.deserted[group] = Some(self.now);
        }
    }

    /// What is due by now; gives the ids that nobody ever acknowledged.
    fn pass(&mut self) -> Vec<Arc<str>> {
        let now = self.now;
        let mut lost = Vec::new();
        for at in 0..self.rows.len() {
            let row = &self.rows[at];
            if row.open() && now - row.taken >= BOUNDS.age {
                let (acknowledged, is_urgent) = (row.acknowledged, row.is_urgent());
                if !acknowledged {
                    lost.push(row.task.id.clone());
                }
                self.give_up(at);
                if is_urgent {
                    lost.extend(self.resolve(at, acknowledged));
                }
            }
        }
        for at in 0..self.rows.len() {
            for group in 0..3 {
                if matches!(self.rows[at].states[group], State::Away(_, until) if until <= now) {
                    self.come_back(at, group);
                }
            }
        }
        lost
    }

    fn due(&self) -> Option<Duration> {
        let open = self.rows.iter().filter(|row| row.open());
        let ages = open.map(|row| row.taken + BOUNDS.age);
        let returns = self.rows.iter().flat_map(|row| row.states).filter_map(|state| match state {
            State::Away(_, until) => Some(until),
            _ => None,
        });
        ages.chain(returns).min()
    }
}

fn all_holders() -> [Holder; 4] {
    let peer = |last| Holder::Peer(Some([127, 0, 0, last].into()));
    [peer(1), peer(2), Holder::Principal("ada".into()), Holder::Local]
}

fn group_name(group: usize) -> String {
    format!("group{group}")
}

fn acknowledge(queue: &mut Queue, oracle: &mut Oracle, at: usize, group: usize) -> Result<(), TestCaseError> {
    let id = oracle.rows[at].task.id.clone();
    let (was_there, deliveries) = queue.acknowledge(&group_name(group), &id, oracle.now);
    let row = &oracle.rows[at];
    // A cancelled command that was brought is known for as long as it is remembered.
    let was_in_work = oracle.known.contains(&group) && oracle.memory(group, at).is_some_and(|it| !it.ended);
    let has = row.has(group);
    prop_assert_eq!(was_there, has || was_in_work, "{} in {}", id, group);
    if was_there {
        let (is_open, is_first) = (oracle.rows[at].open(), !oracle.rows[at].acknowledged);
        oracle.rows[at].acknowledged |= is_open;
        oracle.remember(group, at, true);
        oracle.rows[at].held_by = None;
        if has {
            oracle.rows[at].states[group] = State::Done;
            if is_first && oracle.rows[at].is_urgent() {
                oracle.resolve(at, true);
            }
        }
    }
    oracle.bring(deliveries)
}

fn step(queue: &mut Queue, oracle: &mut Oracle, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Submit { lane, effect, bytes, holder } => {
            let task = Task {
                id: format!("id{}", oracle.rows.len()).into(),
                lane: format!("lane{lane}").into(),
                effect,
                body: vec![b'x'; bytes].into(),
                holder: all_holders()[holder].clone(),
                connection: (lane % 2 == 0).then(|| ConnectionId::from_u64(lane.into())),
            };
            let expected = oracle.expected(&task.holder, bytes, effect.is_urgent());
            let is_reserve = expected.as_ref().is_ok_and(|(is_reserve, _)| *is_reserve);
            let expected = expected.map(|(_, going)| going);
            let took = queue.submit(task.clone(), oracle.now);
            let going = expected.as_ref().map_or(0, Vec::len);
            let expected = expected.map(|going| oracle.evict(going));
            let mut evicted: Result<Vec<Arc<str>>, Full> =
                took.as_ref().map(|it| it.evicted.iter().map(|task| task.id.clone()).collect()).map_err(|full| *full);
            // What they held comes behind them, in any order.
            if let Ok(evicted) = &mut evicted {
                evicted[going..].sort();
            }
            prop_assert_eq!(evicted, expected);
            if let Ok(Submitted { deliveries, .. }) = took {
                let urgent = oracle.rows.len();
                let names = match effect {
                    CommandEffect::Cancels(work) => oracle.cancel(urgent, &task.lane, work),
                    _ => Default::default(),
                };
                let states = [0, 1, 2].map(|group| if oracle.takes(group) { State::Waits } else { State::NotFor });
                oracle.rows.push(Row {
                    task,
                    is_reserve,
                    taken: oracle.now,
                    states,
                    brought: [false; 3],
                    acknowledged: false,
                    given_up: false,
                    cancelled_by: Vec::new(),
                    is_cancelled: false,
                    held_by: None,
                    names,
                });
                oracle.bring(deliveries)?;
            }
        }
        Step::GiveUp { connection } => {
            let gone = ConnectionId::from_u64(connection);
            let mut left: Vec<Arc<str>> = Vec::new();
            let may_go: Vec<usize> = (0..oracle.rows.len())
                .filter(|at| {
                    let row = &oracle.rows[*at];
                    row.task.connection == Some(gone) && row.open() && !row.is_away() && !row.acknowledged
                })
                .collect();
            let given_up: Vec<_> = queue.give_up(|id| id == gone).iter().map(|task| task.id.clone()).collect();
            for at in may_go {
                left.extend(oracle.evict(vec![at]));
            }
            prop_assert_eq!(BTreeSet::from_iter(given_up), BTreeSet::from_iter(left));
        }
        Step::Again { nth } => {
            let open: Vec<&Row> = oracle.rows.iter().filter(|row| row.open()).collect();
            if let Some(row) = open.get(nth) {
                prop_assert_eq!(
                    queue.submit(row.task.clone(), oracle.now),
                    Ok(Submitted::default()),
                    "a repetition is the same"
                );
            }
        }
        Step::Attach { group } => {
            let group = usize::from(group);
            oracle.sweep();
            let reader = ReaderId(
                oracle.rows.len() as u64 * 1_000 + oracle.brought.len() as u64 * 10 + oracle.readers.len() as u64,
            );
            if oracle.readers.iter().any(|(id, _)| *id == reader) {
                return Ok(());
            }
            let full = oracle.readers.len() >= BOUNDS.readers
                || (!oracle.known.contains(&group) && oracle.known.len() >= BOUNDS.groups);
            let attached = queue.attach(reader, &group_name(group), oracle.now);
            prop_assert_eq!(attached.is_err(), full);
            if let Ok(deliveries) = attached {
                oracle.readers.push((reader, group));
                oracle.known.insert(group);
                oracle.bring(deliveries)?;
            }
        }
        Step::Detach { nth } => {
            if let Some((reader, _)) = oracle.readers.get(nth).copied() {
                let deliveries = queue.detach(reader, oracle.now);
                oracle.leave(reader);
                oracle.bring(deliveries)?;
                prop_assert_eq!(queue.detach(reader, oracle.now), Vec::new());
            }
        }
        Step::Acknowledge { nth } => {
            if let Some((at, group)) = oracle.brought.iter().rev().nth(nth).copied() {
                acknowledge(queue, oracle, at, group)?;
            }
        }
        Step::AcknowledgeAnything { group, nth } => {
            if nth < oracle.rows.len() {
                acknowledge(queue, oracle, nth, usize::from(group))?;
            }
        }
        Step::Wait { seconds } => {
            let end = oracle.now + Duration::from_secs(seconds);
            loop {
                prop_assert_eq!(queue.next_tick(), oracle.due());
                let due = queue.next_tick().filter(|due| *due <= end);
                oracle.now = due.unwrap_or(end);
                let (deliveries, given_up) = queue.tick(oracle.now);
                let lost = oracle.pass();
                oracle.sweep();
                prop_assert_eq!(given_up.iter().map(|task| task.id.clone()).collect::<Vec<_>>(), lost);
                oracle.bring(deliveries)?;
                if due.is_none() {
                    break;
                }
            }
        }
    }
    let open: Vec<&Row> = oracle.rows.iter().filter(|row| row.open()).collect();
    prop_assert_eq!(queue.len(), open.len());
    prop_assert_eq!(queue.bytes(), open.iter().map(|row| row.task.body.len()).sum::<usize>());
    let (urgent, urgent_bytes) = (BOUNDS.commands.div_ceil(16), BOUNDS.bytes.div_ceil(16));
    prop_assert!(queue.len() <= BOUNDS.commands + urgent && queue.bytes() <= BOUNDS.bytes + urgent_bytes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn cmd_10_to_12_and_cmd_15_and_cmd_16_and_limit_13_the_queue_does_what_a_naive_one_does(steps in steps()) {
        let (mut queue, mut oracle) = (Queue::new(BOUNDS), Oracle::default());
        for it in steps {
            step(&mut queue, &mut oracle, it)?;
        }
        // In the end one reader of each group takes everything: what was accepted was brought.
        for group in 0..3_usize {
            while let Some((reader, _)) = oracle.readers.first().copied() {
                let deliveries = queue.detach(reader, oracle.now);
                oracle.leave(reader);
                oracle.bring(deliveries)?;
            }
            let reader = ReaderId(u64::MAX - group as u64);
            if let Ok(deliveries) = queue.attach(reader, &group_name(group), oracle.now) {
                oracle.readers.push((reader, group));
                oracle.known.insert(group);
                oracle.bring(deliveries)?;
                while let Some(at) = oracle.rows.iter().position(|row| matches!(row.states[group], State::Away(..))) {
                    acknowledge(&mut queue, &mut oracle, at, group)?;
                }
                prop_assert!(oracle.rows.iter().all(|row| row.states[group] != State::Waits));
            }
        }
        prop_assert!(queue.is_empty(), "{} are left", queue.len());
        for (at, row) in oracle.rows.iter().enumerate() {
            for (group, state) in row.states.iter().enumerate().filter(|(_, state)| **state == State::Done) {
                let brought = oracle.brought.contains(&(at, group));
                prop_assert!(brought || row.given_up || row.acknowledged || row.is_cancelled, "{:?} {:?} {:?}", row.task.id, group, state);
            }
        }
    }
}

fn task(id: &str, lane: &str, urgent: bool) -> Task {
    let effect = if urgent { CommandEffect::Cancels(Work::Turn) } else { CommandEffect::KeepsPlace };
    Task {
        id: id.into(),
        lane: lane.into(),
        effect,
        body: id.to_owned().into(),
        holder: Holder::Local,
        connection: None,
    }
}

fn ids(deliveries: &[Delivery]) -> Vec<(u64, &str)> {
    deliveries.iter().map(|it| (it.reader.0, &*it.task.id)).collect()
}

#[test]
fn cmd_11_what_is_urgent_overtakes_what_waits_and_goes_to_whom_the_lane_belongs() {
    let now = Duration::ZERO;
    let mut queue = Queue::new(Bounds { lanes_per_reader: 1, ..Bounds::default() });
    queue.attach(ReaderId(1), "default", now).unwrap();
    queue.attach(ReaderId(2), "default", now).unwrap();
    assert_eq!(ids(&queue.submit(task("chat", "s", false), now).unwrap().deliveries), [(1, "chat")]);
    assert_eq!(ids(&queue.submit(task("next", "s", false), now).unwrap().deliveries), []);
    assert_eq!(ids(&queue.submit(task("cancel", "s", true), now).unwrap().deliveries), [(1, "cancel")]);
    assert_eq!(ids(&queue.submit(task("other", "t", false), now).unwrap().deliveries), [(2, "other")]);
    assert_eq!(ids(&queue.acknowledge("default", "cancel", now).1), []);
    assert_eq!(ids(&queue.acknowledge("default", "chat", now).1), [(1, "next")]);
}

#[test]
fn cmd_10_every_group_is_brought_every_command_and_time_brings_it_again() {
    let seconds = Duration::from_secs;
    let mut queue = Queue::new(Bounds::default());
    assert_eq!(queue.submit(task("a", "s", false), seconds(0)), Err(Full::NoReader));
    queue.attach(ReaderId(1), "default", seconds(0)).unwrap();
    queue.attach(ReaderId(2), "audit", seconds(0)).unwrap();
    assert_eq!(ids(&queue.submit(task("a", "s", false), seconds(1)).unwrap().deliveries), [(2, "a"), (1, "a")]);
    assert!(queue.acknowledge("audit", "a", seconds(2)).0);
    assert!(!queue.acknowledge("audit", "a", seconds(2)).0);
    assert_eq!(queue.next_tick(), Some(seconds(31)));
    assert_eq!(ids(&queue.tick(seconds(31)).0), [(1, "a")]);
    assert_eq!(ids(&queue.detach(ReaderId(1), seconds(32))), []);
    // A moment later somebody who reconnects misses nothing, and what comes meanwhile is taken.
    assert!(queue.detach(ReaderId(2), seconds(32)).is_empty());
    assert!(queue.submit(task("b", "t", false), seconds(36)).is_ok());
    assert_eq!(queue.submit(task("c", "t", false), seconds(37)), Err(Full::NoReader));
    assert_eq!(ids(&queue.attach(ReaderId(3), "default", seconds(38)).unwrap()), [(3, "a"), (3, "b")]);
}

#[test]
fn limit_13_a_holder_whose_share_is_full_of_its_own_turns_can_cancel_them() {
    let now = Duration::ZERO;
    for commands in [2, 12, 10_000] {
        let mut queue = Queue::new(Bounds { commands, lanes_per_reader: 1, ..Bounds::default() });
        queue.attach(ReaderId(1), "default", now).unwrap();
        let from = |number: usize, effect: CommandEffect| Task {
            id: number.to_string().into(),
            holder: Holder::Peer(Some([127, 0, 0, 1].into())),
            effect,
            ..task("", "lane", false)
        };
        let turn = CommandEffect::Begins(Work::Turn);
        let taken = (0..2 * commands).take_while(|number| queue.submit(from(*number, turn), now).is_ok()).count();
        assert!(taken > 0 && queue.submit(from(50_000, turn), now) == Err(Full::Busy));
        let cancel = from(60_000, CommandEffect::Cancels(Work::Turn));
        let Submitted { deliveries, evicted } = queue.submit(cancel, now).expect("an urgent command has a reserve");
        assert!(evicted.is_empty(), "nothing of others is given up for it");
        let cancels = deliveries[0].cancels.clone().unwrap();
        assert_eq!((cancels.in_work.len(), cancels.withdrawn.len()), (1, taken - 1));
        // The reserve is bounded as well, and what it holds is within the bounds of both.
        let more = (70_000..90_000)
            .take_while(|number| queue.submit(from(*number, CommandEffect::Cancels(Work::Turn)), now).is_ok());
        assert!(more.count() < commands.div_ceil(16), "{commands}");
        // When the cancellation is taken, there is room again.
        queue.acknowledge("default", "60000", now);
        assert!(queue.submit(from(95_000, turn), now).is_ok(), "{commands}");
    }
}

#[test]
fn limit_13_a_stranger_that_fills_the_queue_makes_room_for_others_and_its_newest_commands_go() {
    let now = Duration::ZERO;
    let mut queue = Queue::new(Bounds::default());
    queue.attach(ReaderId(1), "default", now).unwrap();
    let from = |last: u8, number: usize| Task {
        id: format!("{last}.{number}").into(),
        holder: Holder::Peer(Some([127, 0, 0, last].into())),
        ..task("", &format!("lane{last}.{}", number % 160), false)
    };
    // 160 sessions, as many commands as it can. A tenth of the bound is for those with credentials.
    let taken = (0..20_000).take_while(|number| queue.submit(from(1, *number), now).is_ok()).count();
    assert_eq!((taken, queue.len()), (9_000, 9_000));
    assert_eq!(queue.submit(from(1, 30_000), now), Err(Full::Busy));
    // Another one is taken as long as it has less than the first.
    for number in 0..4_000 {
        let Submitted { evicted, .. } = queue.submit(from(2, number), now).unwrap();
        let evicted: Vec<&str> = evicted.iter().map(|task| &*task.id).collect();
        assert_eq!(evicted, [format!("1.{}", taken - 1 - number)], "the newest of the largest");
    }
    assert_eq!(queue.len(), 9_000);
    assert_eq!(queue.submit(from(1, 30_001), now), Err(Full::Busy), "it still has the most");
    // It does not wait behind all that was there before it either: holders take turns.
    let mut brought = 0;
    let mut next: Vec<Delivery> = Vec::new();
    for number in 0..16 {
        next.extend(queue.acknowledge("default", &format!("1.{number}"), now).1);
    }
    for Delivery { task, .. } in &next {
        brought += usize::from(task.holder == from(2, 0).holder);
    }
    assert!((7..=9).contains(&brought), "{brought} of {}", next.len());
    // What is reserved for credentials evicts nothing.
    let ada = Task { holder: Holder::Principal("ada".into()), ..task("ada", "ada", false) };
    assert_eq!(queue.submit(ada, now).unwrap().evicted, []);
}
