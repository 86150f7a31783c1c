//! Secrets that this hub gives out in place of credentials (AUTH-12): tickets, which open one connection, and the cookies
//! of event streams, with which an `EventSource` comes back.
//!
//! A page cannot put a header on a WebSocket or an `EventSource`, and a token does not belong into a URL, where histories and
//! logs keep it. So it buys a ticket with its token and shows that: once, and soon. Only digests are kept of what was given
//! out. What it opens is opened as by the credentials that bought it, and ends with them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eventwire_protocol::{ErrorBody, ErrorCode};
use tokio::time::Instant;

use crate::auth::{KeyDigest, Principal, Secret};

/// A ticket, as it is given out.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// What is shown in `?ticket=`. 256 random bits.
    pub ticket: Secret,
    /// How long it waits to be redeemed.
    pub expires_in: Duration,
}

/// The cookie of an event stream, as it is given out.
#[derive(Clone, Debug)]
pub struct SseCookie {
    /// Its value. 256 random bits.
    pub value: Secret,
    /// How long it holds: as long as the credentials behind it, and 12 hours at most.
    pub max_age: Duration,
}

/// What happens when somebody has as many as they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// No more are given out.
    Refuse,
    /// The oldest one makes room.
    DropOldest,
}

/// Most that are kept over all principals, for each that one may have.
const PRINCIPALS: usize = 256;
/// So many places of what is no longer held are not worth looking for.
const SPARE: usize = 64;

/// Secrets of one kind that were given out and still hold.
#[derive(Debug)]
pub(crate) struct TicketStore {
    age: Duration,
    each: usize,
    when_full: WhenFull,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<KeyDigest, Pass>,
    /// In the order in which they were given out, which is that of their ends; some are no longer held.
    order: VecDeque<(Instant, KeyDigest)>,
    /// The same for each principal.
    of: HashMap<Arc<str>, VecDeque<KeyDigest>>,
}

#[derive(Debug)]
struct Pass {
    principal: Arc<Principal>,
    until: Instant,
}

impl State {
    fn forget(&mut self, digest: &KeyDigest) -> Option<Pass> {
        let pass = self.held.remove(digest)?;
        if let Some(own) = self.of.get_mut(&pass.principal.name) {
            own.retain(|other| other != digest);
            if own.is_empty() {
                self.of.remove(&pass.principal.name);
            }
        }
        Some(pass)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((until, digest)) = self.order.front().copied() {
            // One that is no longer held needs no place, however long it would have held.
            if until > now && self.held.contains_key(&digest) {
                break;
            }
            self.order.pop_front();
            self.forget(&digest);
        }
        // One that holds for long must not keep the places of many that no longer do.
        if self.order.len() > 2 * self.held.len() + SPARE {
            self.order.retain(|(_, digest)| self.held.contains_key(digest));
        }
    }
}

impl TicketStore {
    pub(crate) fn new(age: Duration, each: usize, when_full: WhenFull) -> Self {
        Self { age, each, when_full, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long one holds.
    pub(crate) fn age(&self) -> Duration {
        self.age
    }

    /// Gives one out.
    ///
    /// # Errors
    /// `rate_limited` when the principal has as many as it may have, `unavailable` when there are too many over all, or the
    /// machine gives no random numbers.
    pub(crate) fn issue(&self, principal: &Principal) -> Result<Secret, ErrorBody> {
        let secret = random()?;
        let now = Instant::now();
        let mut state = self.state();
        state.expire(now);
        let own = state.of.get(&principal.name).map_or(0, VecDeque::len);
        if own >= self.each {
            if self.when_full == WhenFull::Refuse {
                let message = format!(
                    "{own} tickets of yours wait to be redeemed; each is good for one connection and for {} seconds",
                    self.age.as_secs()
                );
                return Err(ErrorBody::new(ErrorCode::RateLimited, message));
            }
            if let Some(oldest) = state.of.get(&principal.name).and_then(VecDeque::front).copied() {
                state.forget(&oldest);
            }
        }
        if state.held.len() >= self.each.saturating_mul(PRINCIPALS) {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "too many tickets are out; try again in a moment"));
        }
        let digest = KeyDigest::of(secret.reveal());
        let until = now + self.age;
        state.order.push_back((until, digest));
        state.of.entry(principal.name.clone()).or_default().push_back(digest);
        state.held.insert(digest, Pass { principal: Arc::new(principal.clone()), until });
        Ok(secret)
    }

    /// Whose it is, if it holds. It still does afterwards.
    pub(crate) fn show(&self, secret: &Secret) -> Option<Arc<Principal>> {
        let state = self.state();
        let pass = state.held.get(&KeyDigest::of(secret.reveal()))?;
        (pass.until > Instant::now()).then(|| pass.principal.clone())
    }

    /// Whose it was, if it held. It no longer does, whatever becomes of it.
    pub(crate) fn redeem(&self, secret: &Secret) -> Option<Arc<Principal>> {
        let pass = self.state().forget(&KeyDigest::of(secret.reveal()))?;
        (pass.until > Instant::now()).then_some(pass.principal)
    }

    /// Takes back those of the principals that `concerned` names.
    pub(crate) fn take_back(&self, concerned: impl Fn(&Principal) -> bool) {
        let mut state = self.state();
        let found = state.held.iter().filter(|(_, pass)| concerned(&pass.principal));
        let found: Vec<KeyDigest> = found.map(|(digest, _)| *digest).collect();
        for digest in found {
            state.forget(&digest);
        }
    }
}

/// 256 random bits of the operating system, as 64 hexadecimal digits. There is no second best for a secret.
fn random() -> Result<Secret, ErrorBody> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        ErrorBody::new(ErrorCode::Unavailable, "no ticket can be made now; try again")
    })?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use eventwire_protocol::Claims;

    use super::*;

    fn principal(name: &str) -> Principal {
        Principal::new(name, Claims::anonymous())
    }

    #[tokio::test(start_paused = true)]
    async fn auth_12_a_ticket_is_good_once_and_for_its_time_and_no_two_are_alike() {
        let store = TicketStore::new(Duration::from_secs(30), 4, WhenFull::Refuse);
        let ada = principal("ada");
        let secret = store.issue(&ada).unwrap();
        assert_eq!(secret.reveal().len(), 64);
        assert_eq!(*store.redeem(&secret).unwrap(), ada);
        assert_eq!(store.redeem(&secret), None, "once");
        let late = store.issue(&ada).unwrap();
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert!(store.show(&late).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((store.show(&late), store.redeem(&late)), (None, None), "too late");
        for wrong in ["", "x", &"0".repeat(64)] {
            assert_eq!(store.redeem(&Secret::new(wrong)), None, "{wrong}");
        }
        let many = TicketStore::new(Duration::from_secs(30), 1_000, WhenFull::Refuse);
        let secrets: BTreeSet<_> = (0..1_000).map(|_| many.issue(&ada).unwrap().reveal().to_owned()).collect();
        assert_eq!(secrets.len(), 1_000);
        let held = format!("{:?}", many);
        assert!(!secrets.iter().any(|secret| held.contains(secret)), "only digests are kept");
    }

    #[tokio::test(start_paused = true)]
    async fn auth_12_nobody_has_more_than_their_share_and_none_of_it_is_left_behind() {
        let tickets = TicketStore::new(Duration::from_secs(30), 2, WhenFull::Refuse);
        let (ada, bob) = (principal("ada"), principal("bob"));
        let first = tickets.issue(&ada).unwrap();
        tickets.issue(&ada).unwrap();
        assert_eq!(tickets.issue(&ada).unwrap_err().code, ErrorCode::RateLimited);
        assert!(tickets.issue(&bob).is_ok(), "others have their own");
        tickets.redeem(&first).unwrap();
        assert!(tickets.issue(&ada).is_ok(), "a redeemed one makes room");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(tickets.issue(&ada).is_ok(), "a late one makes room");
        let state = tickets.state();
        assert_eq!((state.held.len(), state.order.len(), state.of.len()), (1, 1, 1));
        drop(state);

        let cookies = TicketStore::new(Duration::from_secs(60), 2, WhenFull::DropOldest);
        let all: Vec<_> = (0..3).map(|_| cookies.issue(&ada).unwrap()).collect();
        let held: Vec<_> = all.iter().map(|one| cookies.show(one).is_some()).collect();
        assert_eq!(held, [false, true, true]);
        cookies.issue(&bob).unwrap();
        cookies.take_back(|principal| &*principal.name == "ada");
        assert!(all.iter().all(|one| cookies.show(one).is_none()));
        let state = cookies.state();
        assert_eq!((state.held.len(), state.of.len()), (1, 1));
    }

    #[tokio::test]
    async fn auth_12_what_is_no_longer_held_takes_no_room_behind_what_is() {
        let store = TicketStore::new(Duration::from_secs(3600), 4, WhenFull::DropOldest);
        store.issue(&principal("ada")).unwrap();
        for _ in 0..1_000 {
            let one = store.issue(&principal("bob")).unwrap();
            store.redeem(&one).unwrap();
        }
        assert!(store.state().order.len() <= SPARE + 3, "{}", store.state().order.len());
    }

    #[tokio::test]
    async fn auth_12_over_all_principals_there_is_an_end_too() {
        let store = TicketStore::new(Duration::from_secs(30), 1, WhenFull::Refuse);
        for name in 0..PRINCIPALS {
            store.issue(&principal(&name.to_string())).unwrap();
        }
        assert_eq!(store.issue(&principal("one more")).unwrap_err().code, ErrorCode::Unavailable);
    }
}
