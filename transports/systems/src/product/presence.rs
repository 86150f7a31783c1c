//! Who is here, who left when, and what waits for those who are not (PRD-05, PRD-06).
//!
//! What is logged waits in the log: all that is kept of a user is how far their last socket had got. The newest status of a
//! document is not in the log, so it is kept here while its owner is away. All of it changes under the lock under which
//! connections enter and leave and events are delivered, so that every event is either offered to a socket or waits, and
//! never both.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eventwire_hub::{Holder, Tap};
use eventwire_protocol::{
    Audience, Committed, ConnectionId, Delivery, Dialect, Envelope, Epoch, Position, Root, Time, UserId,
    shares::{Shares, Standing},
};
use tokio::sync::Notify;

use super::login::Shown;

/// What is older than this is not brought to a user who returns.
pub(super) const QUEUE_AGE: Duration = Duration::from_secs(600);
/// Users whose leaving is remembered. Of those who left within 10 minutes the ones beyond this are forgotten, the first
/// first: returning, they get what they had within these 10 minutes once more.
const DEPARTED: usize = 100_000;
/// Values that wait, over all users. Where there are more, the user with the most loses the oldest (LIMIT-14).
const WAITING: usize = 10_000;
/// Bytes that wait, over all users; values go in the same order.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// What a value costs beside its payload, roughly.
const VALUE_BYTES: usize = 512;

/// What is remembered between the connections of Product Demo's clients. Made before the hub, which has to know it as a
/// [`Tap`].
#[derive(Debug, Default)]
pub struct State {
    table: Mutex<Table>,
    /// A login came, or ends at another time.
    changed: Arc<Notify>,
}

/// Between two lines in the log about statuses that were dropped.
const WARN_EVERY: Duration = Duration::from_secs(60);

impl State {
    /// Nobody is here, and nobody was.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Statuses that waited for a user and were dropped to make room (LIMIT-14). The dialect cannot express a gap, so this
    /// count and a line in the log are where they appear.
    pub fn evicted(&self) -> u64 {
        self.table().evicted
    }

    /// Is notified when a login comes, or ends at another time (PRD-07).
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap for State {
    fn committed(&self, event: &Committed) {
        let envelope = event.envelope();
        if let (Audience::User(user), Delivery::Latest { .. }) = (envelope.audience(), envelope.delivery())
            && Dialect::Product.supports(envelope.kind())
        {
            self.table().wait(user, envelope);
        }
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

#[derive(Debug)]
pub(super) struct Table {
    people: HashMap<UserId, Person>,
    departures: VecDeque<(Time, UserId)>,
    waiting: BTreeMap<u64, Waiting>,
    /// What waits of each user, in values and in bytes.
    values: Shares<UserId>,
    bytes: Shares<UserId>,
    writes: u64,
    evicted: u64,
    warned: Option<Instant>,
    pub(super) logins: HashMap<ConnectionId, Login>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            people: HashMap::new(),
            departures: VecDeque::new(),
            waiting: BTreeMap::new(),
            values: Shares::new(amount(WAITING), 0),
            bytes: Shares::new(amount(WAITING_BYTES), 0),
            writes: 0,
            evicted: 0,
            warned: None,
            logins: HashMap::new(),
        }
    }
}

fn amount(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// What a value costs while it waits.
fn cost(envelope: &Envelope) -> u64 {
    amount(envelope.data().len() + VALUE_BYTES)
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
        // All who wait here are users, so nothing is reserved.
        self.values.add(user.clone(), Standing::Authenticated, 1);
        self.bytes.add(user.clone(), Standing::Authenticated, cost(envelope));
        self.waiting.insert(self.writes, Waiting { user: user.clone(), key, envelope: envelope.clone() });
        while self.values.total() > self.values.bound() {
            self.evict(|table| &table.values);
        }
        while self.bytes.total() > self.bytes.bound() {
            self.evict(|table| &table.bytes);
        }
    }

    /// Drops the oldest value of the user who has the most, or the oldest of all where nobody has more than its user.
    fn evict(&mut self, shares: impl Fn(&Self) -> &Shares<UserId>) {
        let Some((oldest, of)) = self.waiting.first_key_value().map(|(number, value)| (*number, &value.user)) else {
            return;
        };
        let shares = shares(self);
        let largest = shares.largest().filter(|largest| shares.held(largest) > shares.held(of));
        let of_largest = largest.and_then(|user| self.people.get(user)?.waiting.values().min().copied());
        let number = of_largest.unwrap_or(oldest);
        let Some((user, key)) = self.waiting.get(&number).map(|value| (value.user.clone(), value.key.clone())) else {
            return;
        };
        self.drop_value(number);
        self.evicted += 1;
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                %user, evicted = self.evicted,
                "statuses that waited for a user were dropped to make room: pages must load the state of documents when they \
                 connect"
            );
        }
        if let Some(person) = self.people.get_mut(&user)
            && person.waiting.get(&key) == Some(&number)
        {
            person.waiting.remove(&key);
        }
        self.tidy(&user);
    }

    fn take(&mut self, number: u64) -> Option<Envelope> {
        let value = self.waiting.remove(&number)?;
        self.values.release(&value.user, 1);
        self.bytes.release(&value.user, cost(&value.envelope));
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

#[cfg(test)]
mod tests {
    use eventwire_protocol::event::product::{DocumentState, DocumentStatus};

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Time {
        Time::from_unix_micros(seconds * SECOND)
    }

    fn user(number: usize) -> UserId {
        format!("u{number}").parse().unwrap()
    }

    fn status(of: &UserId, document: usize, message: &str) -> Envelope {
        let status = DocumentStatus {
            document_id: format!("d{document}").parse().unwrap(),
            status: DocumentState::Processing,
            percent: None,
            message: Some(message.into()),
            error: None,
        };
        Envelope::to_user(of.clone(), &status, at(0)).unwrap()
    }

    fn login(of: &UserId) -> Login {
        Login { user: of.clone(), holder: Holder::Local, expires_at: None, shown: Shown::default(), watch: Watch::New }
    }

    #[test]
    fn prd_06_what_waits_is_bounded_and_the_oldest_goes_first() {
        let mut table = Table::default();
        for number in 0..WAITING + 10 {
            table.wait(&user(number), &status(&user(number), 0, "x"));
        }
        assert_eq!((table.waiting.len(), table.people.len(), table.evicted), (WAITING, WAITING, 10));
        let epoch = Epoch::from_bits(1);
        for (number, waits) in [(9, 0), (10, 1)] {
            assert_eq!(table.admit(&user(number), epoch, at(0)), Some(Position::START));
            let id = ConnectionId::from_u64(number as u64);
            assert_eq!(table.enter(id, login(&user(number)), true, at(0)).len(), waits);
        }
        // By bytes as well, and a newer value takes the place of the older.
        let mut table = Table::default();
        let large = "x".repeat(1_000_000);
        for number in 0..30 {
            table.wait(&user(0), &status(&user(0), 0, &large));
            table.wait(&user(1), &status(&user(1), number, &large));
        }
        assert!(table.bytes.total() <= amount(WAITING_BYTES) && table.waiting.len() >= 14);
        let bytes: u64 = table.waiting.values().map(|value| cost(&value.envelope)).sum();
        assert_eq!((table.bytes.total(), table.values.total()), (bytes, amount(table.waiting.len())));
        let keys: usize = table.people.values().map(|person| person.waiting.len()).sum();
        assert_eq!(table.waiting.len(), keys);
        assert_eq!(table.people.get(&user(0)).unwrap().waiting.len(), 1);
    }

    #[test]
    fn limit_14_one_user_for_whom_much_waits_takes_nothing_from_another() {
        let (victim, other) = (user(1), user(2));
        for of_bytes in [false, true] {
            let mut table = Table::default();
            table.wait(&victim, &status(&victim, 0, "x"));
            table.wait(&victim, &status(&victim, 1, "x"));
            let (count, message) = if of_bytes { (50, "x".repeat(1_000_000)) } else { (WAITING + 50, String::new()) };
            for document in 0..count {
                table.wait(&other, &status(&other, document, &message));
            }
            assert!(table.values.total() <= amount(WAITING) && table.bytes.total() <= amount(WAITING_BYTES));
            let id = ConnectionId::from_u64(1);
            table.admit(&victim, Epoch::from_bits(1), at(0));
            assert_eq!(table.enter(id, login(&victim), true, at(0)).len(), 2, "by bytes: {of_bytes}");
        }
    }

    #[test]
    fn prd_06_who_left_more_than_ten_minutes_ago_is_forgotten() {
        let (mut table, epoch) = (Table::default(), Epoch::from_bits(1));
        let place = Position::new(7).unwrap();
        for number in 0..100 {
            let id = ConnectionId::from_u64(number as u64);
            table.admit(&user(number), epoch, at(0));
            table.enter(id, login(&user(number)), true, at(0));
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
