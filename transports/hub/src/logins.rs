//! When logins were first seen that do not say when they began (AUTH-13).
//!
//! The cookie of an application often has no date. A revocation of its user has to tell it from the cookie of a later login,
//! so a login begins when the hub first sees it.

use std::collections::{HashMap, VecDeque};

use eventwire_protocol::Time;

use crate::state::{LoginDigest, StateEntry};

/// So many turns of what was seen again since are not worth looking for.
const SPARE: usize = 64;

/// The logins that were seen, up to a number; the one that was not shown for the longest time is forgotten first.
#[derive(Debug)]
pub(crate) struct Logins {
    most: usize,
    seen: HashMap<LoginDigest, Seen>,
    /// By turns; a turn counts if it is the login's last.
    order: VecDeque<(u64, LoginDigest)>,
    turn: u64,
}

#[derive(Debug)]
struct Seen {
    first: Time,
    last_turn: u64,
}

impl Logins {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), seen: HashMap::new(), order: VecDeque::new(), turn: 0 }
    }

    /// Notes that a login is shown now. Gives when it was first seen, and the entry to keep if that is now.
    pub(crate) fn show(&mut self, login: LoginDigest, now: Time) -> (Time, Option<StateEntry>) {
        self.turn += 1;
        let turn = self.turn;
        let mut fresh = None;
        let seen = self.seen.entry(login).or_insert_with(|| {
            fresh = Some(StateEntry::LoginSeen { login, at: now });
            Seen { first: now, last_turn: turn }
        });
        seen.last_turn = turn;
        let first = seen.first;
        self.order.push_back((turn, login));
        self.trim();
        (first, fresh)
    }

    /// Takes over what an earlier process saw. Of two times the earlier one counts.
    pub(crate) fn restore(&mut self, login: LoginDigest, at: Time) {
        let (first, _) = self.show(login, at);
        if let Some(seen) = self.seen.get_mut(&login) {
            seen.first = first.min(at);
        }
    }

    /// What there is to keep, in the order in which the logins were last shown.
    pub(crate) fn entries(&self) -> impl Iterator<Item = StateEntry> {
        let last = |(turn, login): &(u64, LoginDigest)| {
            let seen = self.seen.get(login).filter(|seen| seen.last_turn == *turn)?;
            Some(StateEntry::LoginSeen { login: *login, at: seen.first })
        };
        self.order.iter().filter_map(last)
    }

    fn trim(&mut self) {
        let Self { most, seen, order, .. } = self;
        while seen.len() > *most
            && let Some((turn, login)) = order.pop_front()
        {
            if seen.get(&login).is_some_and(|seen| seen.last_turn == turn) {
                seen.remove(&login);
            }
        }
        if order.len() > 2 * seen.len() + SPARE {
            order.retain(|(turn, login)| seen.get(login).is_some_and(|seen| seen.last_turn == *turn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    fn at(seconds: i64) -> Time {
        Time::from_unix_micros(seconds * 1_000_000)
    }

    fn login(number: usize) -> LoginDigest {
        LoginDigest::of(&Secret::new(number.to_string()))
    }

    #[test]
    fn auth_13_a_login_without_a_date_begins_when_it_is_first_seen_also_after_a_restart() {
        let mut logins = Logins::new(10);
        let (first, kept) = logins.show(login(1), at(10));
        assert_eq!((first, kept), (at(10), Some(StateEntry::LoginSeen { login: login(1), at: at(10) })));
        assert_eq!(logins.show(login(1), at(20)), (at(10), None));
        assert_eq!(logins.show(login(2), at(20)).0, at(20));
        let mut again = Logins::new(10);
        for entry in logins.entries() {
            let StateEntry::LoginSeen { login, at } = entry else { panic!("{entry:?}") };
            again.restore(login, at);
        }
        // Twice in the log: the earlier time counts.
        again.restore(login(1), at(5));
        again.restore(login(2), at(25));
        assert_eq!(again.show(login(1), at(90)), (at(5), None));
        assert_eq!(again.show(login(2), at(90)), (at(20), None));
    }

    #[test]
    fn auth_13_logins_take_no_more_room_than_they_may_and_those_in_use_are_kept() {
        let mut logins = Logins::new(100);
        for number in 0..10_000 {
            logins.show(login(number), at(number as i64));
            assert_eq!(logins.show(login(0), at(20_000)).0, at(0), "one that is shown again and again");
            assert!(logins.seen.len() <= 100 && logins.order.len() <= 2 * 101 + SPARE);
        }
        assert_eq!(logins.entries().count(), 100);
        assert_eq!(logins.show(login(1), at(30_000)).0, at(30_000), "one that was not shown for long");
    }
}
