//! Who is here, who left when, and what waits for those who are not (PRD-05, PRD-06).
//!
//! What is logged waits in the log: all that is kept of a user is how far their last socket had got. The newest status of a
//! document is not in the log, so it is kept here while its owner is away. All of it changes under the lock under which
//! connections enter and leave and events are delivered, so that every event is either offered to a socket or waits, and
//! never both.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eventwire_hub::Tap;
use eventwire_protocol::{
    Audience, Committed, ConnectionId, Delivery, Dialect, Envelope, Epoch, Position, Root, Time, UserId,
};

use super::login::Shown;

/// What is older than this is not brought to a user who returns.
pub(super) const QUEUE_AGE: Duration = Duration::from_secs(600);
/// Users whose leaving is remembered. Of those who left within 10 minutes the ones beyond this are forgotten, the first
/// first: returning, they get what they had within these 10 minutes once more.
const DEPARTED: usize = 100_000;
/// Values that wait, over all users; the oldest go first.
const WAITING: usize = 10_000;
/// Bytes that wait, over all users.
const WAITING_BYTES: usize = 16 * 1024 * 1024;

/// What is remembered between the connections of Product Demo's clients. Made before the hub, which has to know it as a
/// [`Tap`].
#[derive(Debug, Default)]
pub struct State(Mutex<Table>);

impl State {
    /// Nobody is here, and nobody was.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap for State {
    fn committed(&self, event: &Committed) {
        let envelope = event.envelope();
        if let (Audience::User(user), Delivery::Latest { .. }) = (envelope.audience(), envelope.delivery())
            && Dialect::Product.spells(envelope.kind())
        {
            self.table().wait(user, envelope);
        }
    }
}

/// A login that holds a socket open.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: UserId,
    pub(super) expires_at: Option<Time>,
    pub(super) shown: Shown,
}

/// What tells values of one user apart: type and key.
type Key = (String, Option<Arc<str>>);

#[derive(Debug, Default)]
struct Person {
    /// Sockets in the roster.
    here: usize,
    /// Whether a socket has been admitted that brings what waits, and is not in the roster yet.
    coming: bool,
    /// How far the sockets that left had got, whichever got furthest.
    reached: Option<(Epoch, Position)>,
    /// When the last socket left.
    left: Option<Time>,
    /// What waits, by the number of its writing.
    waiting: HashMap<Key, u64>,
}

#[derive(Debug)]
struct Waiting {
    user: UserId,
    key: Key,
    envelope: Envelope,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    people: HashMap<UserId, Person>,
    departures: VecDeque<(Time, UserId)>,
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    writes: u64,
    pub(super) logins: HashMap<ConnectionId, Login>,
}

impl Table {
    /// Somebody asks to enter. The first socket of a user who has none brings what waits: `Some` is where the log is to be
    /// read from.
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

    /// A socket that was admitted never entered; if it was to bring what waits, the next one does.
    pub(super) fn give_up(&mut self, user: &UserId, brings: bool) {
        if let Some(person) = self.people.get_mut(user) {
            person.coming &= !brings;
        }
        self.tidy(user);
    }

    /// A socket enters. Gives what waits and is not older than `from`, if it is the one that brings it.
    pub(super) fn enter(&mut self, id: ConnectionId, login: Login, brings: bool, from: Time) -> Vec<Envelope> {
        let person = self.people.entry(login.user.clone()).or_default();
        person.here += 1;
        let mut numbers: Vec<u64> = Vec::new();
        if brings {
            person.coming = false;
            numbers.extend(person.waiting.values());
            person.waiting.clear();
        }
        self.logins.insert(id, login);
        numbers.sort_unstable();
        let values: Vec<Envelope> = numbers.into_iter().filter_map(|number| self.take(number)).collect();
        values.into_iter().filter(|value| value.time() >= from).collect()
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

    /// A value was committed. It waits if nobody is here to get it.
    fn wait(&mut self, user: &UserId, envelope: &Envelope) {
        let person = self.people.entry(user.clone()).or_default();
        if person.here > 0 {
            return;
        }
        self.writes += 1;
        let key = (envelope.kind().as_str().to_owned(), envelope.key().map(Arc::from));
        let before = person.waiting.insert(key.clone(), self.writes);
        if let Some(before) = before {
            self.drop_value(before);
        }
        self.waiting_bytes += envelope.data().len();
        self.waiting.insert(self.writes, Waiting { user: user.clone(), key, envelope: envelope.clone() });
        while self.waiting.len() > WAITING || self.waiting_bytes > WAITING_BYTES {
            let Some((number, value)) = self.waiting.pop_first() else { break };
            self.waiting_bytes -= value.envelope.data().len();
            if let Some(person) = self.people.get_mut(&value.user)
                && person.waiting.get(&value.key) == Some(&number)
            {
                person.waiting.remove(&value.key);
            }
            self.tidy(&value.user);
        }
    }

    fn take(&mut self, number: u64) -> Option<Envelope> {
        let value = self.waiting.remove(&number)?;
        self.waiting_bytes -= value.envelope.data().len();
        Some(value.envelope)
    }

    fn drop_value(&mut self, number: u64) {
        self.take(number);
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
        let nothing = |person: &Person| {
            person.here == 0
                && !person.coming
                && person.reached.is_none()
                && person.left.is_none()
                && person.waiting.is_empty()
        };
        if self.people.get(user).is_some_and(nothing) {
            self.people.remove(user);
        }
    }
}

/// How far a connection was handed the stream of its user, if its beginning was settled.
pub(super) fn reached(user: &UserId, epoch: Epoch, handed: &[(Root, Position)]) -> Option<(Epoch, Position)> {
    let of_user = handed.iter().find(|(root, _)| matches!(root, Root::User(of) if of == user));
    of_user.map(|(_, position)| (epoch, *position))
}
