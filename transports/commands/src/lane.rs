//! The commands of one session as a state machine of causality (CMD-11, CMD-15): no clock, no socket, no lock.
//!
//! A lane has two tracks. Ordinary commands are brought one after the other, in the order in which they were sent. Urgent
//! ones overtake what waits, one after the other as well. An ordinary command that was sent after an urgent one waits
//! until that is done, so a cancellation never meets work that is newer than itself.
//!
//! An urgent command that comes cuts the lane: what begins the work that it cancels leaves the ordinary track. A command that
//! no back end was brought is withdrawn. One that was brought is named as in work and is not brought again: where it is on
//! its way, it leaves the lane when it returns.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use eventwire_protocol::{CommandEffect, Work, application::Cancels};

use crate::recent::Progress;

/// The number of a command: later ones are greater.
pub(crate) type Number = u64;

/// One command in its lane.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) number: Number,
    pub(crate) rank: u64,
    pub(crate) id: Arc<str>,
    pub(crate) effect: CommandEffect,
    is_brought: bool,
    cancellation: Cancellation,
    names: Names,
}

impl Ticket {
    /// A command that was not brought yet. `names` is for an urgent one.
    pub(crate) fn new(number: Number, rank: u64, id: Arc<str>, effect: CommandEffect, names: Names) -> Self {
        Self { number, rank, id, effect, is_brought: false, cancellation: Cancellation::None, names }
    }
}

/// What an urgent command cancels, as of when it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// What was brought before, and had not ended.
    pub(crate) in_work: Vec<Arc<str>>,
    /// What was not brought.
    pub(crate) withdrawn: Vec<Arc<str>>,
    /// What had ended.
    pub(crate) ended: Vec<Arc<str>>,
}

impl Names {
    /// The names of a cut in a lane of which `recent` is remembered.
    pub(crate) fn after(recent: Vec<(Arc<str>, Progress)>, cut: Self) -> Self {
        let mut names = Self { withdrawn: cut.withdrawn, ..Self::default() };
        for (id, progress) in recent {
            match progress {
                Progress::InWork => names.in_work.push(id),
                Progress::Ended => names.ended.push(id),
            }
        }
        names.in_work.extend(cut.in_work);
        names
    }

    /// What a back end is brought, with `has_ended` of this moment.
    pub(crate) fn cancels(&self, mut has_ended: impl FnMut(&str) -> bool) -> Cancels {
        let (ended, in_work): (Vec<&Arc<str>>, Vec<&Arc<str>>) = self.in_work.iter().partition(|id| has_ended(id));
        Cancels {
            stale: in_work.is_empty() && self.withdrawn.is_empty(),
            in_work: texts(in_work),
            withdrawn: texts(&self.withdrawn),
            ended: texts(self.ended.iter().chain(ended)),
        }
    }
}

fn texts<'a>(ids: impl IntoIterator<Item = &'a Arc<str>>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// Whether a command that is on its way is cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cancellation {
    None,
    /// By these urgent commands, none of which is done.
    By(Vec<Number>),
    /// By one that a back end has taken.
    Taken,
}

/// A command that left its lane because it is cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) number: Number,
    pub(crate) id: Arc<str>,
    /// The work that it began.
    pub(crate) work: Option<Work>,
    pub(crate) was_brought: bool,
    /// The urgent command on which it depends whether its sender is told; `None` when a back end has taken one.
    pub(crate) by: Option<Number>,
}

/// What an urgent command takes out of a lane, and what it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) names: Names,
    pub(crate) dropped: Vec<Dropped>,
    /// The command that is on its way and is cancelled by this.
    pub(crate) marked: Option<Number>,
}

/// What became of a command that was on its way and is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// It waits again, in front; until when it was to be acknowledged.
    Waits(Number, Duration),
    /// It is cancelled, and left the lane.
    Dropped(Dropped, Duration),
}

/// Where a command was that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// On its way; until when it was to be acknowledged.
    Away(Duration),
    /// It waited.
    Waiting,
}

/// The commands of one lane.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    urgent: Track,
    ordinary: Track,
}

#[derive(Debug, Default)]
struct Track {
    waiting: VecDeque<Ticket>,
    /// What is on its way, and until when it is to be acknowledged.
    away: Option<(Ticket, Duration)>,
}

impl Track {
    fn oldest(&self) -> Option<Number> {
        let away = self.away.as_ref().map(|(ticket, _)| ticket.number);
        away.or_else(|| self.waiting.front().map(|ticket| ticket.number))
    }
}

impl Lane {
    fn track(&self, urgent: bool) -> &Track {
        if urgent { &self.urgent } else { &self.ordinary }
    }

    fn track_mut(&mut self, urgent: bool) -> &mut Track {
        if urgent { &mut self.urgent } else { &mut self.ordinary }
    }

    /// Whether nothing is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.urgent.oldest().is_none() && self.ordinary.oldest().is_none()
    }

    /// Whether anything is on its way.
    pub(crate) fn is_away(&self) -> bool {
        self.urgent.away.is_some() || self.ordinary.away.is_some()
    }

    /// Whether this command is on its way.
    pub(crate) fn has_away(&self, number: Number) -> bool {
        [&self.urgent, &self.ordinary]
            .iter()
            .any(|track| track.away.as_ref().is_some_and(|(away, _)| away.number == number))
    }

    /// Whether the ordinary command that is on its way is not to be brought again.
    pub(crate) fn is_cancelled(&self, number: Number) -> bool {
        let away = self.ordinary.away.as_ref();
        away.is_some_and(|(away, _)| away.number == number && away.cancellation != Cancellation::None)
    }

    /// Takes out what an urgent command cancels. Everything here was sent before it.
    pub(crate) fn cut(&mut self, by: Number, work: Work) -> Cut {
        let mut cut = Cut::default();
        let begins = |ticket: &Ticket| ticket.effect.begins() == Some(work);
        if let Some((away, _)) = self.ordinary.away.as_mut().filter(|(away, _)| begins(away)) {
            cut.names.in_work.push(away.id.clone());
            cut.marked = Some(away.number);
            match &mut away.cancellation {
                Cancellation::None => away.cancellation = Cancellation::By(vec![by]),
                Cancellation::By(others) => others.push(by),
                Cancellation::Taken => {}
            }
        }
        for ticket in std::mem::take(&mut self.ordinary.waiting) {
            if !begins(&ticket) {
                self.ordinary.waiting.push_back(ticket);
                continue;
            }
            let Ticket { number, id, is_brought, .. } = ticket;
            let names = if is_brought { &mut cut.names.in_work } else { &mut cut.names.withdrawn };
            names.push(id.clone());
            cut.dropped.push(Dropped { number, id, work: Some(work), was_brought: is_brought, by: Some(by) });
        }
        cut
    }

    /// Puts a command at the end of its track.
    pub(crate) fn push(&mut self, ticket: Ticket) {
        self.track_mut(ticket.effect.is_urgent()).waiting.push_back(ticket);
    }

    /// The next command of a track, if it may be brought now.
    pub(crate) fn sendable(&self, urgent: bool) -> Option<&Ticket> {
        let track = self.track(urgent);
        let next = track.waiting.front().filter(|_| track.away.is_none())?;
        let waits_for_urgent = !urgent && self.urgent.oldest().is_some_and(|oldest| oldest < next.number);
        (!waits_for_urgent).then_some(next)
    }

    /// Takes the next command of a track on its way, if it may be brought now.
    pub(crate) fn send(&mut self, urgent: bool, until: Duration) -> Option<&Ticket> {
        self.sendable(urgent)?;
        let track = self.track_mut(urgent);
        let ticket = Ticket { is_brought: true, ..track.waiting.pop_front()? };
        Some(&track.away.insert((ticket, until)).0)
    }

    /// What is on its way of a track is not taken.
    pub(crate) fn return_away(&mut self, urgent: bool) -> Option<Returned> {
        let track = self.track_mut(urgent);
        let (ticket, until) = track.away.take()?;
        let by = match &ticket.cancellation {
            Cancellation::None => {
                let number = ticket.number;
                track.waiting.push_front(ticket);
                return Some(Returned::Waits(number, until));
            }
            Cancellation::By(others) => others.first().copied(),
            Cancellation::Taken => None,
        };
        let work = ticket.effect.begins();
        let dropped = Dropped { number: ticket.number, id: ticket.id, work, was_brought: true, by };
        Some(Returned::Dropped(dropped, until))
    }

    /// A command is over. Says where it was; `None` if it was not here.
    pub(crate) fn finish(&mut self, number: Number, urgent: bool) -> Option<Finished> {
        let track = self.track_mut(urgent);
        match track.away.take_if(|(away, _)| away.number == number) {
            Some((_, until)) => Some(Finished::Away(until)),
            None => {
                let at = track.waiting.binary_search_by_key(&number, |ticket| ticket.number).ok()?;
                track.waiting.remove(at).map(|_| Finished::Waiting)
            }
        }
    }

    /// An urgent command is over: a back end has taken it, or it is given up. What one that is given up had marked is
    /// brought again.
    pub(crate) fn resolve(&mut self, urgent: Number, taken: bool) {
        let Some((away, _)) = &mut self.ordinary.away else { return };
        let Cancellation::By(others) = &mut away.cancellation else { return };
        let before = others.len();
        others.retain(|of| *of != urgent);
        if taken && others.len() < before {
            away.cancellation = Cancellation::Taken;
        } else if others.is_empty() {
            away.cancellation = Cancellation::None;
        }
    }

    /// What an urgent command of this lane names; `None` for any other.
    pub(crate) fn names(&self, number: Number) -> Option<&Names> {
        let away = self.urgent.away.iter().map(|(ticket, _)| ticket);
        let mut tickets = away.chain(&self.urgent.waiting);
        tickets.find(|ticket| ticket.number == number).map(|ticket| &ticket.names)
    }
}
