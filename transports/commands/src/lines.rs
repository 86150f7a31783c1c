//! What waits for a back end that is called, as a state machine: no clock, no socket, no lock.
//!
//! The commands of one session are a lane with two tracks, and each track with something to bring has one
//! task that brings it. A command that a back end took over may still be in work: it is remembered, so that a
//! cancellation names it (CMD-16). A cancelled command whose attempt failed is not tried again. It is **held** until the
//! urgent command is done, as in the [queue](crate::queue).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::Holder;
use eventwire_protocol::{ApplicationCommand, CommandEffect};

use crate::{
    body::with_cancels,
    lane::{Cut, Dropped, Lane, Names, Number, Returned, Ticket},
    ledger::{Account, Ledger},
    recent::{Progress, Recent},
};

/// For how long the work of a command that was taken over is taken to go on.
const HORIZON: Duration = Duration::from_secs(600);

/// One track of a lane, and whether it is the one of the urgent commands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) lane: Arc<str>,
    pub(crate) is_urgent: bool,
}

/// What became of a command that was brought as often as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The back end has taken it over.
    Taken,
    /// The back end has refused it for good.
    Refused,
    /// The back end has not taken it over in any attempt. It may be at work on it all the same.
    Failed,
}

/// What has to be done after a change.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Lines that need a task.
    pub(crate) start: Vec<Line>,
    /// Commands whose senders have to be told that they were given up.
    pub(crate) given_up: Vec<ApplicationCommand>,
    /// The command that is on its way and is cancelled: it must not wait for its next attempt.
    pub(crate) interrupt: Option<Number>,
}

/// What waits, is on its way, or is held.
pub(crate) struct Lines {
    lanes: HashMap<Arc<str>, Tracks>,
    letters: HashMap<Number, Letter>,
    /// The letters of each holder that can be given up for others: all that are not on their way.
    by_holder: HashMap<Holder, BTreeSet<Number>>,
    ledger: Ledger,
    recent: Recent,
    next: Number,
}

#[derive(Default)]
struct Tracks {
    lane: Lane,
    /// Whether a task brings the urgent ones, and the ordinary ones.
    has_task: [bool; 2],
}

impl Tracks {
    /// The tracks that have something to bring and no task, which they have from now on.
    fn start(&mut self, name: &Arc<str>) -> Vec<Line> {
        let Self { lane, has_task } = self;
        let idle = has_task
            .iter_mut()
            .zip([true, false])
            .filter(|(has_task, is_urgent)| !**has_task && lane.sendable(*is_urgent).is_some());
        idle.map(|(has_task, is_urgent)| {
            *has_task = true;
            Line { lane: name.clone(), is_urgent }
        })
        .collect()
    }
}

struct Letter {
    command: ApplicationCommand,
    body: Bytes,
    holder: Holder,
    /// Where it counts (LIMIT-13).
    account: Account,
    lane: Arc<str>,
    effect: CommandEffect,
    /// What an urgent one holds.
    holds: Vec<Number>,
}

impl Lines {
    /// Nothing yet. Takes so many commands and bytes.
    pub(crate) fn new(commands: usize, bytes: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            letters: HashMap::new(),
            by_holder: HashMap::new(),
            ledger: Ledger::new(commands, bytes),
            recent: Recent::new(commands, HORIZON),
            next: 1,
        }
    }

    /// How many commands wait, are on their way, or are held.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Takes a command in; letters of others may be given up for it (LIMIT-13). `None` when its holder has its share.
    pub(crate) fn push(
        &mut self,
        holder: Holder,
        command: ApplicationCommand,
        body: Bytes,
        now: Duration,
    ) -> Option<Effects> {
        let Self { ledger, by_holder, letters, .. } = self;
        let newest = |holder: &Holder, account: Account, going: &[Number]| {
            let mut waiting = by_holder.get(holder)?.iter().rev().filter(|number| !going.contains(number));
            let number = waiting.find(|number| letters.get(number).is_some_and(|letter| letter.account == account))?;
            Some((*number, letters.get(number)?.body.len()))
        };
        let (account, going) = ledger.make_room(&holder, body.len(), command.effect().is_urgent(), newest)?;
        let mut effects = Effects::default();
        // Their shares are released already, those of what they hold are not.
        let going: Vec<(Number, Letter)> =
            going.into_iter().filter_map(|number| Some((number, self.remove(number)?))).collect();
        for (number, letter) in going {
            self.give_up(number, letter, &mut effects);
        }
        let number = self.next;
        self.next += 1;
        let (lane, effect): (Arc<str>, _) = (command.lane().into(), command.effect());
        let id: Arc<str> = command.id.as_str().into();
        self.ledger.add(holder.clone(), account, body.len());
        self.by_holder.entry(holder.clone()).or_default().insert(number);
        let tracks = self.lanes.entry(lane.clone()).or_default();
        let mut cut = Cut::default();
        if let CommandEffect::Cancels(work) = effect {
            let recent = self.recent.of(&lane, work, now);
            cut = tracks.lane.cut(number, work);
            cut.names = Names::after(recent, cut.names);
            effects.interrupt = cut.marked;
        }
        tracks.lane.push(Ticket::new(number, 0, id, effect, cut.names));
        let letter = Letter { command, body, holder, account, lane: lane.clone(), effect, holds: Vec::new() };
        self.letters.insert(number, letter);
        cut.dropped.iter().for_each(|dropped| self.hold(dropped));
        self.start(&lane, &mut effects);
        Some(effects)
    }

    /// The next command of a line, which is on its way from now on. `None` ends the task of the line.
    pub(crate) fn next(&mut self, line: &Line) -> Option<Number> {
        let tracks = self.lanes.get_mut(&line.lane)?;
        match tracks.lane.send(line.is_urgent, Duration::ZERO).map(|ticket| ticket.number) {
            Some(number) => {
                self.unlist(number);
                Some(number)
            }
            None => {
                let [urgent, ordinary] = &mut tracks.has_task;
                *(if line.is_urgent { urgent } else { ordinary }) = false;
                if tracks.lane.is_empty() && tracks.has_task == [false, false] {
                    self.lanes.remove(&line.lane);
                }
                None
            }
        }
    }

    /// The id and the text of a command, with what it cancels as of now.
    pub(crate) fn text(&mut self, number: Number, now: Duration) -> Option<(String, Bytes)> {
        let Self { lanes, letters, recent, .. } = self;
        let letter = letters.get(&number)?;
        let names = lanes.get(&letter.lane).and_then(|tracks| tracks.lane.names(number));
        let cancels = names.map(|names| names.cancels(|id| recent.has_ended(&letter.lane, id, now)));
        Some((letter.command.id.clone(), with_cancels(&letter.body, cancels.as_ref())))
    }

    /// Whether a command that is on its way is cancelled: there is no further attempt then.
    pub(crate) fn is_cancelled(&self, number: Number) -> bool {
        let lane = self.letters.get(&number).and_then(|letter| self.lanes.get(&letter.lane));
        lane.is_some_and(|tracks| tracks.lane.is_cancelled(number))
    }

    /// The work of a command that was taken over has ended, as its back end says. Says whether it was in work.
    pub(crate) fn end(&mut self, id: &str, now: Duration) -> bool {
        self.recent.end(id, now)
    }

    /// A command that was on its way is done.
    pub(crate) fn done(&mut self, number: Number, outcome: Outcome, now: Duration) -> Effects {
        let mut effects = Effects::default();
        let Some(letter) = self.letters.get(&number) else { return effects };
        let (lane, effect) = (letter.lane.clone(), letter.effect);
        if let Some(work) = effect.begins() {
            let progress = match outcome {
                Outcome::Refused => Progress::Ended,
                Outcome::Failed | Outcome::Taken => Progress::InWork,
            };
            self.recent.record(&lane, letter.command.id.as_str().into(), work, progress, now);
        }
        let is_dropped = outcome != Outcome::Taken && self.is_cancelled(number);
        let returned = self.lanes.get_mut(&lane).filter(|_| is_dropped).and_then(|it| it.lane.return_away(false));
        if let Some(Returned::Dropped(dropped, _)) = returned {
            self.hold(&dropped);
        } else if let Some(letter) = self.remove(number) {
            self.release(&letter);
            match outcome {
                Outcome::Taken => drop(self.resolve(number, &letter, true)),
                Outcome::Refused | Outcome::Failed => self.give_up(number, letter, &mut effects),
            }
        }
        self.start(&lane, &mut effects);
        effects
    }

    /// A cancelled command left its lane. It is held, unless a back end has taken the cancellation.
    fn hold(&mut self, dropped: &Dropped) {
        match dropped.by.and_then(|by| self.letters.get_mut(&by)) {
            Some(urgent) => {
                urgent.holds.push(dropped.number);
                if let Some(letter) = self.letters.get(&dropped.number) {
                    self.by_holder.entry(letter.holder.clone()).or_default().insert(dropped.number);
                }
            }
            None => {
                if let Some(letter) = self.remove(dropped.number) {
                    self.release(&letter);
                }
            }
        }
    }

    /// A letter that was taken out is given up, and what it held as well.
    fn give_up(&mut self, number: Number, letter: Letter, effects: &mut Effects) {
        let held = self.resolve(number, &letter, false);
        self.start(&letter.lane, effects);
        effects.given_up.push(letter.command);
        effects.given_up.extend(held.into_iter().map(|letter| letter.command));
    }

    /// An urgent letter is over. Gives what it held, which is over with it.
    fn resolve(&mut self, number: Number, letter: &Letter, taken: bool) -> Vec<Letter> {
        if letter.effect.is_urgent()
            && let Some(tracks) = self.lanes.get_mut(&letter.lane)
        {
            tracks.lane.resolve(number, taken);
        }
        let held: Vec<Letter> = letter.holds.iter().filter_map(|held| self.remove(*held)).collect();
        held.iter().for_each(|letter| self.release(letter));
        held
    }

    /// Takes a letter out of everything but the account of its holder.
    fn remove(&mut self, number: Number) -> Option<Letter> {
        self.unlist(number);
        let letter = self.letters.remove(&number)?;
        if let Some(tracks) = self.lanes.get_mut(&letter.lane) {
            tracks.lane.finish(number, letter.effect.is_urgent());
        }
        Some(letter)
    }

    fn release(&mut self, letter: &Letter) {
        self.ledger.release(&letter.holder, letter.account, letter.body.len());
    }

    /// A letter can no longer be given up for others.
    fn unlist(&mut self, number: Number) {
        let Some(letter) = self.letters.get(&number) else { return };
        if let Some(numbers) = self.by_holder.get_mut(&letter.holder) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_holder.remove(&letter.holder);
            }
        }
    }

    /// Names the lines of a lane that need a task now, and forgets a lane that has nothing.
    fn start(&mut self, lane: &Arc<str>, effects: &mut Effects) {
        let Some(tracks) = self.lanes.get_mut(lane) else { return };
        effects.start.extend(tracks.start(lane));
        if tracks.lane.is_empty() && tracks.has_task == [false, false] {
            self.lanes.remove(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use eventwire_protocol::application::Cancels;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What became of a command.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fate {
        Waits,
        /// A task has it in hand.
        Away,
        /// It is cancelled, and the urgent command at this place decides whether its sender is told.
        Held(usize),
        Over,
    }

    /// How far the work of a command has come, as a back end would tell it, and since when that is known.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Known {
        Nothing,
        InWork(Duration),
        Ended(Duration),
    }

    struct Row {
        lane: u8,
        name: &'static str,
        fate: Fate,
        /// By which urgent commands it is cancelled while it is away, none of which is done.
        cancelled_by: Vec<usize>,
        /// Whether it is cancelled by one that was taken.
        is_cancelled: bool,
        known: Known,
        /// The order in which it became known.
        since: usize,
        in_work: Vec<usize>,
        withdrawn: Vec<usize>,
        ended: Vec<usize>,
    }

    /// Remembers every command there ever was, and follows the prose of CMD-11, CMD-15 and CMD-16.
    #[derive(Default)]
    struct Oracle {
        rows: Vec<Row>,
        /// The lines that have a task, and what it brings.
        tasks: Vec<((u8, bool), Option<usize>)>,
        now: Duration,
        events: usize,
    }

    fn cancels(name: &str) -> Option<&'static [&'static str]> {
        match name {
            "CANCEL" => Some(&["CHAT", "AI_USER_QUERY"]),
            "STOP_TTS" => Some(&["TTS"]),
            _ => None,
        }
    }

    impl Oracle {
        fn is_urgent(&self, at: usize) -> bool {
            cancels(self.rows[at].name).is_some()
        }

        fn knows(&self, at: usize) -> Known {
            match self.rows[at].known {
                Known::InWork(since) | Known::Ended(since) if self.now >= since + HORIZON => Known::Nothing,
                known => known,
            }
        }

        fn learn(&mut self, at: usize, known: Known) {
            if ["CHAT", "AI_USER_QUERY", "TTS"].contains(&self.rows[at].name) {
                self.events += 1;
                (self.rows[at].known, self.rows[at].since) = (known, self.events);
            }
        }

        /// What may be brought of a line.
        fn next(&self, (lane, urgent): (u8, bool)) -> Option<usize> {
            let here = |at: &usize| self.rows[*at].lane == lane;
            let of_line = |at: &usize| here(at) && self.is_urgent(*at) == urgent;
            let open = |at: &usize| matches!(self.rows[*at].fate, Fate::Waits | Fate::Away);
            let places = 0..self.rows.len();
            if places.clone().any(|at| of_line(&at) && self.rows[at].fate == Fate::Away) {
                return None;
            }
            let next = places.clone().find(|at| of_line(at) && self.rows[*at].fate == Fate::Waits)?;
            let behind = (0..next).any(|at| here(&at) && self.is_urgent(at) && open(&at));
            (urgent || !behind).then_some(next)
        }

        fn starts(&mut self, lane: u8) -> Vec<(u8, bool)> {
            let idle = |line: &(u8, bool)| self.tasks.iter().all(|(of, _)| of != line);
            let lines: Vec<(u8, bool)> = [(lane, true), (lane, false)].into_iter().filter(idle).collect();
            let lines: Vec<_> = lines.into_iter().filter(|line| self.next(*line).is_some()).collect();
            self.tasks.extend(lines.iter().map(|line| (*line, None)));
            lines
        }

        fn push(&mut self, lane: u8, name: &'static str) {
            let urgent = self.rows.len();
            let mut row = Row {
                lane,
                name,
                fate: Fate::Waits,
                cancelled_by: Vec::new(),
                is_cancelled: false,
                known: Known::Nothing,
                since: 0,
                in_work: Vec::new(),
                withdrawn: Vec::new(),
                ended: Vec::new(),
            };
            if let Some(names) = cancels(name) {
                let meant = |at: &usize| self.rows[*at].lane == lane && names.contains(&self.rows[*at].name);
                let mut known: Vec<usize> = (0..urgent).filter(meant).collect();
                known.sort_by_key(|at| self.rows[*at].since);
                for at in &known {
                    match self.knows(*at) {
                        Known::InWork(_) => row.in_work.push(*at),
                        Known::Ended(_) => row.ended.push(*at),
                        Known::Nothing => {}
                    }
                }
                known.sort_unstable();
                for at in known {
                    match self.rows[at].fate {
                        Fate::Away => {
                            row.in_work.push(at);
                            self.rows[at].cancelled_by.push(urgent);
                        }
                        Fate::Waits => {
                            row.withdrawn.push(at);
                            self.rows[at].fate = Fate::Held(urgent);
                        }
                        Fate::Held(_) | Fate::Over => {}
                    }
                }
            }
            self.rows.push(row);
        }

        fn text(&self, at: usize) -> Option<Cancels> {
            let row = &self.rows[at];
            let ids = |rows: &[usize]| rows.iter().map(|at| format!("id{at}")).collect::<Vec<_>>();
            let has_ended = |at: &usize| matches!(self.knows(*at), Known::Ended(_));
            let (ended, in_work): (Vec<usize>, Vec<usize>) = row.in_work.iter().partition(|at| has_ended(at));
            self.is_urgent(at).then(|| Cancels {
                in_work: ids(&in_work),
                withdrawn: ids(&row.withdrawn),
                ended: ids(&[row.ended.clone(), ended].concat()),
                stale: in_work.is_empty() && row.withdrawn.is_empty(),
            })
        }

        /// Gives the ids of what is given up.
        fn done(&mut self, at: usize, outcome: Outcome) -> Vec<String> {
            let known = match outcome {
                Outcome::Refused => Known::Ended(self.now),
                _ => Known::InWork(self.now),
            };
            self.learn(at, known);
            let row = &mut self.rows[at];
            let was_cancelled = row.is_cancelled || !row.cancelled_by.is_empty();
            let taken = outcome == Outcome::Taken;
            if !taken && was_cancelled {
                row.fate = match row.cancelled_by.first() {
                    Some(urgent) if !row.is_cancelled => Fate::Held(*urgent),
                    _ => Fate::Over,
                };
                return Vec::new();
            }
            row.fate = Fate::Over;
            let mut given_up: Vec<String> = if taken { Vec::new() } else { vec![format!("id{at}")] };
            for (of, row) in self.rows.iter_mut().enumerate() {
                if row.fate == Fate::Held(at) {
                    row.fate = Fate::Over;
                    given_up.extend((!taken).then(|| format!("id{of}")));
                }
                if row.fate == Fate::Away && row.cancelled_by.contains(&at) {
                    row.cancelled_by.retain(|by| *by != at);
                    row.is_cancelled |= taken;
                }
            }
            given_up
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push {
            lane: u8,
            name: &'static str,
        },
        /// A task without a command asks for the next one.
        Next {
            nth: usize,
        },
        Done {
            nth: usize,
            outcome: Outcome,
        },
        /// A back end says that work has ended.
        End {
            nth: usize,
        },
        Wait {
            seconds: u64,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let names = ["CHAT", "CHAT", "AI_USER_QUERY", "EDIT", "UPDATE_PARAMS", "TTS", "CANCEL", "CANCEL", "STOP_TTS"];
        let outcomes = [Outcome::Taken, Outcome::Taken, Outcome::Refused, Outcome::Failed];
        let step = prop_oneof![
            6 => (0_u8..2, prop::sample::select(names.to_vec())).prop_map(|(lane, name)| Step::Push { lane, name }),
            5 => (0_usize..4).prop_map(|nth| Step::Next { nth }),
            4 => (0_usize..4, prop::sample::select(outcomes.to_vec())).prop_map(|(nth, outcome)| Step::Done { nth, outcome }),
            1 => (0_usize..40).prop_map(|nth| Step::End { nth }),
            1 => prop_oneof![0_u64..10, Just(600)].prop_map(|seconds| Step::Wait { seconds }),
        ];
        prop::collection::vec(step, 1..60)
    }

    fn command(at: usize, lane: u8, name: &str) -> ApplicationCommand {
        serde_json::from_value(json!({
            "id": format!("id{at}"), "time": "2026-11-20T23:40:01Z", "dialect": "monadic", "name": name,
            "connection_id": "c00000000000000ff", "session_id": format!("lane{lane}"), "data": {},
        }))
        .unwrap()
    }

    fn started(effects: &Effects) -> Vec<(u8, bool)> {
        let lane = |line: &Line| line.lane.strip_prefix("lane").unwrap().parse().unwrap();
        effects.start.iter().map(|line| (lane(line), line.is_urgent)).collect()
    }

    fn step(lines: &mut Lines, oracle: &mut Oracle, step: Step) -> Result<(), TestCaseError> {
        match step {
            // More are kept of a lane than are remembered: bounds have a test of their own.
            Step::Push { lane, .. } if oracle.rows.iter().filter(|row| row.lane == lane).count() >= 16 => {}
            Step::Push { lane, name } => {
                let sent = command(oracle.rows.len(), lane, name);
                let body = serde_json::to_vec(&sent).unwrap().into();
                let effects = lines.push(Holder::Local, sent, body, oracle.now).unwrap();
                oracle.push(lane, name);
                let urgent = oracle.rows.len() - 1;
                let marked =
                    oracle.rows.iter().position(|row| row.fate == Fate::Away && row.cancelled_by.contains(&urgent));
                prop_assert_eq!(effects.interrupt, marked.map(|at| at as Number + 1));
                prop_assert!(effects.given_up.is_empty());
                prop_assert_eq!(started(&effects), oracle.starts(lane));
            }
            Step::Next { nth } => {
                let idle = |task: &&mut ((u8, bool), Option<usize>)| task.1.is_none();
                let Some((line, _)) = oracle.tasks.iter_mut().filter(idle).nth(nth) else { return Ok(()) };
                let line = *line;
                let next = oracle.next(line);
                let of = Line { lane: format!("lane{}", line.0).into(), is_urgent: line.1 };
                prop_assert_eq!(lines.next(&of), next.map(|at| at as Number + 1));
                match next {
                    Some(at) => {
                        oracle.rows[at].fate = Fate::Away;
                        oracle.tasks.iter_mut().find(|(of, _)| *of == line).unwrap().1 = Some(at);
                    }
                    None => oracle.tasks.retain(|(of, _)| *of != line),
                }
            }
            Step::Done { nth, outcome } => {
                let Some(task) = oracle.tasks.iter_mut().filter(|(_, at)| at.is_some()).nth(nth) else { return Ok(()) };
                let at = task.1.take().unwrap();
                let effects = lines.done(at as Number + 1, outcome, oracle.now);
                let given_up: BTreeSet<String> = effects.given_up.iter().map(|command| command.id.clone()).collect();
                prop_assert_eq!(given_up, BTreeSet::from_iter(oracle.done(at, outcome)));
                prop_assert_eq!(started(&effects), oracle.starts(oracle.rows[at].lane));
            }
            Step::End { nth } => {
                if nth < oracle.rows.len() {
                    let was_in_work = matches!(oracle.knows(nth), Known::InWork(_));
                    prop_assert_eq!(lines.end(&format!("id{nth}"), oracle.now), was_in_work);
                    if was_in_work {
                        oracle.learn(nth, Known::Ended(oracle.now));
                    }
                }
            }
            Step::Wait { seconds } => oracle.now += Duration::from_secs(seconds),
        }
        let mut open = 0;
        for at in 0..oracle.rows.len() {
            let row = &oracle.rows[at];
            open += usize::from(row.fate != Fate::Over);
            if row.fate == Fate::Away {
                let (id, text) = lines.text(at as Number + 1, oracle.now).unwrap();
                let read: ApplicationCommand = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!((id, read.cancels), (format!("id{at}"), oracle.text(at)));
                let is_cancelled = row.is_cancelled || !row.cancelled_by.is_empty();
                prop_assert_eq!(lines.is_cancelled(at as Number + 1), is_cancelled);
            }
        }
        prop_assert_eq!(lines.len(), open);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn cmd_11_and_cmd_15_and_cmd_16_the_webhook_does_what_a_naive_one_does(steps in steps()) {
            let (mut lines, mut oracle) = (Lines::new(10_000, 1 << 20), Oracle::default());
            for it in steps {
                step(&mut lines, &mut oracle, it)?;
            }
            // In the end everything is taken: nothing is left, and no line is kept.
            while !oracle.tasks.is_empty() {
                step(&mut lines, &mut oracle, Step::Done { nth: 0, outcome: Outcome::Taken })?;
                step(&mut lines, &mut oracle, Step::Next { nth: 0 })?;
            }
            prop_assert_eq!((lines.len(), lines.lanes.len(), lines.by_holder.len()), (0, 0, 0));
        }
    }

    #[test]
    fn cmd_15_and_limit_13_what_an_urgent_command_holds_counts_until_it_is_done() {
        let mut lines = Lines::new(10, 1 << 20);
        let ada = |name: &str| Holder::Principal(name.into());
        let push = |lines: &mut Lines, at: usize, holder: &str, name: &str| {
            let sent = command(at, 1, name);
            lines.push(ada(holder), sent, "{}".into(), Duration::ZERO)
        };
        for at in 0..8 {
            assert!(push(&mut lines, at, "ada", "CHAT").is_some());
        }
        push(&mut lines, 8, "ada", "CANCEL").unwrap();
        assert_eq!(lines.len(), 9, "withdrawn, and held");
        // Another holder makes room: the cancellation is the newest of the largest, and what it held goes with it.
        push(&mut lines, 9, "bob", "CHAT").unwrap();
        let given_up: Vec<String> =
            push(&mut lines, 10, "bob", "CHAT").unwrap().given_up.into_iter().map(|command| command.id).collect();
        assert_eq!(given_up, ["id8", "id0", "id1", "id2", "id3", "id4", "id5", "id6", "id7"]);
        assert_eq!(lines.len(), 2);
        for at in 11..19 {
            assert!(push(&mut lines, at, "bob", "CHAT").is_some(), "the room is free again: {at}");
        }
    }
}
