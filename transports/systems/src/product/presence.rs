//! Users of Product Demo: their open sockets, and how far the last one had got when it closed (PRD-05, PRD-06).
//!
//! Missed events wait in the log; the newest status of each document is a newest value of the hub (FLOW-10). The table
//! changes under the lock under which connections enter and leave, so that one socket of a user brings what was missed.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eventwire_hub::Holder;
use eventwire_protocol::{ConnectionId, Epoch, Position, Target, Time, UserId};
use tokio::sync::Notify;

use super::login::Shown;

/// Older events are not brought to a user who returns.
pub(super) const QUEUE_AGE: Duration = Duration::from_secs(600);
/// Users whose leaving is remembered. Of those who left within 10 minutes the ones beyond this are forgotten, the first
/// first: returning, they get what they had within these 10 minutes once more.
const DEPARTED: usize = 100_000;
/// What the connections of Product Demo's clients share.
#[derive(Debug, Default)]
pub(super) struct State {
    table: Mutex<Table>,
    /// A login came, or ends at another time.
    changed: Arc<Notify>,
}

impl State {
    /// Is notified when a login comes, or ends at another time (PRD-07).
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A login that holds a socket open.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: UserId,
    /// On whose account it is told of its end.
    pub(super) holder: Holder,
    pub(super) expires_at: Option<Time>,
    pub(super) shown: Shown,
    pub(super) watch: Watch,
}

/// Whether the end of a login is looked at (PRD-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// It has just come.
    New,
    /// It was looked at before.
    Seen,
    /// The application is being asked about it.
    Asked,
    /// Its socket is being closed.
    Over,
}

#[derive(Debug, Default)]
struct Person {
    /// Sockets in the roster.
    here: usize,
    /// Whether a socket has been admitted that brings the missed events, and is not in the roster yet.
    coming: bool,
    /// How far the sockets that left had got, whichever got furthest.
    reached: Option<(Epoch, Position)>,
    /// When the last socket left.
    left: Option<Time>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    people: HashMap<UserId, Person>,
    departures: VecDeque<(Time, UserId)>,
    pub(super) logins: HashMap<ConnectionId, Login>,
}

impl Table {
    /// A socket asks to enter. The first socket of a user who has none brings the missed events: `Some` is where the log is to
    /// be read from.
    pub(super) fn admit(&mut self, user: &UserId, epoch: Epoch, now: Time) -> Option<Position> {
        self.forget(now);
        let person = self.people.entry(user.clone()).or_default();
        if person.here > 0 || person.coming {
            return None;
        }
        person.coming = true;
        // Of another history nothing was had.
        Some(person.reached.filter(|(of, _)| *of == epoch).map_or(Position::START, |(_, position)| position))
    }

    /// A socket that was admitted never entered; if it was to bring the missed events, the next one does.
    pub(super) fn give_up(&mut self, user: &UserId, brings: bool) {
        if let Some(person) = self.people.get_mut(user) {
            person.coming &= !brings;
        }
        self.tidy(user);
    }

    /// A socket enters. `brings`: it is the one that brings the missed events.
    pub(super) fn enter(&mut self, id: ConnectionId, login: Login, brings: bool) {
        let person = self.people.entry(login.user.clone()).or_default();
        person.here += 1;
        person.coming &= !brings;
        self.logins.insert(id, login);
    }

    /// A socket has left. `reached` is how far it had got, where that is known.
    pub(super) fn leave(&mut self, id: ConnectionId, reached: Option<(Epoch, Position)>, now: Time) {
        let Some(Login { user, .. }) = self.logins.remove(&id) else { return };
        let Some(person) = self.people.get_mut(&user) else { return };
        person.here = person.here.saturating_sub(1);
        person.reached = match (person.reached, reached) {
            (Some((epoch, one)), Some((of, other))) if epoch == of => Some((epoch, one.max(other))),
            (one, other) => other.or(one),
        };
        if person.here == 0 {
            person.left = Some(now);
            self.departures.push_back((now, user));
        }
        self.forget(now);
    }

    /// How many sockets each user has.
    pub(super) fn present(&self) -> BTreeMap<UserId, usize> {
        let here = self.people.iter().filter(|(_, person)| person.here > 0);
        here.map(|(user, person)| (user.clone(), person.here)).collect()
    }

    /// Forgets who left so long ago that nothing they had would be brought again.
    fn forget(&mut self, now: Time) {
        let age = i64::try_from(QUEUE_AGE.as_micros()).unwrap_or(i64::MAX);
        while let Some((left, _)) = self.departures.front() {
            if now <= left.plus_micros(age) && self.departures.len() <= DEPARTED {
                break;
            }
            let Some((left, user)) = self.departures.pop_front() else { break };
            if let Some(person) = self.people.get_mut(&user)
                && person.here == 0
                && person.left == Some(left)
            {
                person.left = None;
                person.reached = None;
            }
            self.tidy(&user);
        }
    }

    /// Drops a person of whom there is nothing to remember.
    fn tidy(&mut self, user: &UserId) {
        let nothing =
            |person: &Person| person.here == 0 && !person.coming && person.reached.is_none() && person.left.is_none();
        if self.people.get(user).is_some_and(nothing) {
            self.people.remove(user);
        }
    }
}

/// How far a connection was handed the stream of its user, if its beginning was settled.
pub(super) fn reached(user: &UserId, epoch: Epoch, handed: &[(Target, Position)]) -> Option<(Epoch, Position)> {
    let of_user = handed.iter().find(|(target, _)| matches!(target, Target::User(of) if of == user));
    of_user.map(|(_, position)| (epoch, *position))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Time {
        Time::from_unix_micros(seconds * SECOND)
    }

    fn user(number: usize) -> UserId {
        format!("u{number}").parse().unwrap()
    }

    fn login(of: &UserId) -> Login {
        Login { user: of.clone(), holder: Holder::Local, expires_at: None, shown: Shown::default(), watch: Watch::New }
    }

    #[test]
    fn prd_06_who_left_more_than_ten_minutes_ago_is_forgotten() {
        let (mut table, epoch) = (Table::default(), Epoch::from_bits(1));
        let place = Position::new(7).unwrap();
        for number in 0..100 {
            let id = ConnectionId::from_u64(number as u64);
            table.admit(&user(number), epoch, at(0));
            table.enter(id, login(&user(number)), true);
            table.leave(id, Some((epoch, place)), at(number as i64));
        }
        // Of the 600 s, none, and half.
        assert_eq!(table.admit(&user(0), epoch, at(600)), Some(place));
        table.give_up(&user(0), true);
        assert_eq!((table.people.len(), table.logins.len()), (100, 0));
        assert_eq!(table.admit(&user(0), epoch, at(650)), Some(Position::START));
        assert_eq!((table.people.len(), table.departures.len()), (51, 50));
        // A position means nothing in another history.
        assert_eq!(table.admit(&user(99), Epoch::from_bits(2), at(650)), Some(Position::START));
        // One comes, another must not bring the same again, and when the first comes to nothing the next one does.
        assert_eq!(table.admit(&user(99), epoch, at(650)), None);
        table.give_up(&user(99), false);
        assert_eq!(table.admit(&user(99), epoch, at(650)), None);
        table.give_up(&user(99), true);
        assert_eq!(table.admit(&user(99), epoch, at(650)), Some(place));
    }
}
