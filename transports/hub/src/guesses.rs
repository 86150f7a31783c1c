//! Wrong credentials cost time (LIMIT-06). Pure: the caller passes the time, and waits where it must.
//!
//! A peer that has shown too many wrong credentials waits before the next ones are looked at, so that guessing is slow and
//! verifying costs little. None is refused for the failures of others: everyone behind one address translator is one peer.
//! Credentials that were accepted before do not wait at all.

use std::{
    collections::{HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher as _,
    time::Duration,
};

use eventwire_protocol::limits;

use crate::{
    auth::Secret,
    holder::Holder,
    rates::{KEYS, Rates},
};

/// Accepted credentials that are remembered by a keyed hash; the oldest makes room.
const ACCEPTED: usize = 16_384;

/// Failed credentials by peer, and what was accepted before.
#[derive(Debug)]
pub(crate) struct Guesses {
    failures: Rates<Holder>,
    accepted: HashSet<u64>,
    order: VecDeque<u64>,
    key: RandomState,
}

/// Credentials that are being looked at.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) wait: Duration,
    taken: Duration,
    digest: u64,
}

impl Guesses {
    pub(crate) fn new() -> Self {
        Self {
            failures: Rates::new(limits::FAILED_CREDENTIALS_PER_SECOND, limits::FAILED_CREDENTIALS, KEYS),
            accepted: HashSet::new(),
            order: VecDeque::new(),
            key: RandomState::new(),
        }
    }

    /// Begins to look at credentials. They count as wrong until [`accepted`](Self::accepted) says otherwise, so that a peer
    /// that leaves while it waits has not guessed for nothing.
    pub(crate) fn begin(&mut self, peer: &Holder, shown: &Secret, now: Duration) -> Attempt {
        let digest = self.key.hash_one(shown.reveal());
        if self.accepted.contains(&digest) {
            return Attempt { wait: Duration::ZERO, taken: Duration::ZERO, digest };
        }
        let wait = self.failures.wait(peer, now).min(limits::CREDENTIALS_WAIT);
        let taken = self.failures.take(peer, limits::CREDENTIALS_WAIT, now);
        Attempt { wait, taken, digest }
    }

    /// The credentials were wrong. Those that were right before, and have ended or were taken back, count from now on.
    pub(crate) fn refused(&mut self, peer: &Holder, attempt: &Attempt, now: Duration) {
        if self.accepted.remove(&attempt.digest) {
            self.failures.take(peer, limits::CREDENTIALS_WAIT, now);
        }
    }

    /// The credentials were right, or not judged.
    pub(crate) fn accepted(&mut self, peer: &Holder, attempt: &Attempt, judged: bool, now: Duration) {
        self.failures.give_back(peer, attempt.taken, now);
        if judged && self.accepted.insert(attempt.digest) {
            self.order.push_back(attempt.digest);
            if self.order.len() > ACCEPTED
                && let Some(oldest) = self.order.pop_front()
            {
                self.accepted.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Holder {
        Holder::of_peer(Some(text.parse().unwrap()))
    }

    #[test]
    fn limit_06_guessing_is_slowed_and_credentials_that_were_accepted_before_do_not_wait() {
        let (mut guesses, attacker) = (Guesses::new(), peer("10.0.0.1"));
        let good = Secret::new("good");
        let first = guesses.begin(&attacker, &good, Duration::ZERO);
        assert_eq!(first.wait, Duration::ZERO);
        guesses.accepted(&attacker, &first, true, Duration::ZERO);
        for number in 0..limits::FAILED_CREDENTIALS {
            let guess = guesses.begin(&attacker, &Secret::new(number.to_string()), Duration::ZERO);
            assert_eq!(guess.wait, Duration::ZERO, "{number}");
        }
        let mut waits =
            (0..100).map(|number| guesses.begin(&attacker, &Secret::new(format!("x{number}")), Duration::ZERO).wait);
        assert_eq!(waits.next(), Some(Duration::from_secs(1)));
        assert_eq!(waits.next(), Some(Duration::from_secs(2)));
        assert!(waits.all(|wait| wait > Duration::from_secs(2) && wait <= limits::CREDENTIALS_WAIT));
        assert_eq!(guesses.begin(&attacker, &good, Duration::ZERO).wait, Duration::ZERO);
        // Right ones that are new wait as well, but are looked at.
        let new = guesses.begin(&attacker, &Secret::new("new"), Duration::ZERO);
        assert!(new.wait <= limits::CREDENTIALS_WAIT);
        assert_eq!(guesses.begin(&peer("10.0.0.2"), &Secret::new("y"), Duration::ZERO).wait, Duration::ZERO);
    }

    #[test]
    fn limit_06_right_credentials_cost_nothing_however_often_they_are_shown() {
        let (mut guesses, ada) = (Guesses::new(), peer("10.0.0.1"));
        for number in 0..10_000 {
            let attempt = guesses.begin(&ada, &Secret::new(number.to_string()), Duration::ZERO);
            assert_eq!(attempt.wait, Duration::ZERO, "{number}");
            guesses.accepted(&ada, &attempt, true, Duration::ZERO);
        }
        assert!(guesses.accepted.len() <= ACCEPTED && guesses.order.len() == guesses.accepted.len());
    }

    #[test]
    fn limit_06_credentials_that_were_taken_back_count_as_wrong_ones() {
        let (mut guesses, ada) = (Guesses::new(), peer("10.0.0.1"));
        let token = Secret::new("token");
        let first = guesses.begin(&ada, &token, Duration::ZERO);
        guesses.accepted(&ada, &first, true, Duration::ZERO);
        for _ in 0..limits::FAILED_CREDENTIALS {
            let attempt = guesses.begin(&ada, &token, Duration::ZERO);
            assert_eq!(attempt.wait, Duration::ZERO);
            guesses.refused(&ada, &attempt, Duration::ZERO);
        }
        assert_eq!(guesses.begin(&ada, &token, Duration::ZERO).wait, Duration::from_secs(1));
    }

    #[test]
    fn limit_06_right_credentials_do_not_pay_for_guesses() {
        let (mut guesses, insider) = (Guesses::new(), peer("10.0.0.1"));
        let own = Secret::new("own");
        let first = guesses.begin(&insider, &own, Duration::ZERO);
        guesses.accepted(&insider, &first, true, Duration::ZERO);
        for number in 0..200 {
            guesses.begin(&insider, &Secret::new(number.to_string()), Duration::ZERO);
            let attempt = guesses.begin(&insider, &own, Duration::ZERO);
            guesses.accepted(&insider, &attempt, true, Duration::ZERO);
        }
        let guess = guesses.begin(&insider, &Secret::new("x"), Duration::ZERO);
        assert_eq!(guess.wait, limits::CREDENTIALS_WAIT);
    }
}
