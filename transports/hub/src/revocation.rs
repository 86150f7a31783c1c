//! Credentials that were taken back before their end (AUTH-13), as far as they have to be remembered.
//!
//! A token is checked without asking its issuer, so the hub remembers which ones it has to refuse. Nothing is forgotten by age:
//! however long a token holds, and whatever the settings say after the next start, a revocation is older than none of what it
//! refuses. The number is bounded. When there are too many, the oldest become one moment, and everything that was issued up to it
//! is refused. That refuses too much and never too little; a user who is refused logs in again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use eventwire_protocol::{CloseCode, Time, UserId};

use crate::{
    auth::{Credential, CredentialKind, Principal, Thumbprint},
    state::StateEntry,
};

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Everything that a user was given up to now.
    User(UserId),
    /// The credentials of this name: the `jti` of a token, the name of an API key.
    Token(Arc<str>),
    /// Everything that was issued up to now, to any user: tokens, logins, tickets and cookies. API keys remain accepted.
    All,
}

impl fmt::Display for Revocation {
    /// As the audit log names it: `user:maria`, `token:login-4711`, `all`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{user}"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// What ends now: of a revocation, of a key that is no longer accepted, or of a key whose grants were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Revoked(Revocation),
    Withdrawn(Thumbprint),
    Regranted(Thumbprint),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(revocation) => write!(f, "{revocation}"),
            // A digest of a secret is not for a log.
            Self::Withdrawn(_) | Self::Regranted(_) => f.write_str("key"),
        }
    }
}

impl Ending {
    /// Whether it is about these credentials.
    pub(crate) fn affects(&self, credential: &Credential, user: Option<&UserId>) -> bool {
        match self {
            Self::Revoked(Revocation::User(revoked)) => user == Some(revoked),
            Self::Revoked(Revocation::Token(revoked)) => credential.id.as_ref() == Some(revoked),
            Self::Revoked(Revocation::All) => credential.kind != CredentialKind::Absent,
            Self::Withdrawn(key) | Self::Regranted(key) => credential.key.as_ref() == Some(key),
        }
    }

    /// What the holder of such credentials reads.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Revoked(_) => REVOKED,
            Self::Withdrawn(_) => WITHDRAWN,
            Self::Regranted(_) => REGRANTED,
        }
    }

    /// The code that its connections are closed with.
    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            Self::Revoked(_) | Self::Withdrawn(_) => CloseCode::Unauthorized,
            // The key still opens connections, which are then judged by its new grants.
            Self::Regranted(_) => CloseCode::Restart,
        }
    }
}

/// What is said about credentials that were taken back.
pub(crate) const REVOKED: &str = "your credentials were revoked; come back with new ones";
/// What is said about credentials whose key was withdrawn.
pub(crate) const WITHDRAWN: &str = "the key of your credentials was withdrawn; come back with new ones";

/// What is said to connections of a key whose grants were changed.
pub(crate) const REGRANTED: &str = "the grants of your API key were changed; connect again";

/// A name that a revocation finds credentials by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    User(UserId),
    Token(Arc<str>),
}

impl Name {
    fn entry(&self, at: Time) -> StateEntry {
        match self {
            Self::User(user) => StateEntry::UserRevoked { user: user.clone(), at },
            Self::Token(id) => StateEntry::TokenRevoked { id: id.to_string(), at },
        }
    }
}

/// So many places of names that were revoked again since are not worth looking for.
const SPARE: usize = 64;

/// What is remembered.
#[derive(Debug)]
pub(crate) struct Revocations {
    most: usize,
    /// How far the clocks of issuers may be apart from ours, in microseconds.
    leeway: i64,
    since: HashMap<Name, Time>,
    /// In the order in which they came; an entry counts if the map has its time.
    order: VecDeque<(Time, Name)>,
    /// API keys, which have no end, by their names; as many as were configured. Without a thumbprint, every key of the name.
    api_keys: HashMap<Arc<str>, HashSet<Option<Thumbprint>>>,
    /// Everything issued up to here is refused.
    floor: Option<Time>,
}

impl Revocations {
    pub(crate) fn new(leeway: Duration, most: usize) -> Self {
        Self {
            most: most.max(1),
            leeway: i64::try_from(leeway.as_micros()).unwrap_or(i64::MAX),
            since: HashMap::new(),
            order: VecDeque::new(),
            api_keys: HashMap::new(),
            floor: None,
        }
    }

    /// Remembers one, and gives the entry to keep.
    pub(crate) fn add(&mut self, revocation: &Revocation, now: Time) -> StateEntry {
        let name = match revocation {
            Revocation::User(user) => Name::User(user.clone()),
            Revocation::Token(id) => Name::Token(id.clone()),
            Revocation::All => {
                self.raise_floor(now);
                return StateEntry::AllRevoked { at: now };
            }
        };
        let entry = name.entry(now);
        self.remember(name, now);
        entry
    }

    /// Remembers that an API key was revoked: it has no end, so neither has this.
    pub(crate) fn add_api_key(&mut self, name: Arc<str>, key: Option<Thumbprint>) -> StateEntry {
        let entry = StateEntry::ApiKeyRevoked { name: name.to_string(), key };
        self.api_keys.entry(name).or_default().insert(key);
        entry
    }

    /// Takes over what an earlier process remembered. An entry about a login is given back: it is not for here.
    pub(crate) fn restore(&mut self, entry: StateEntry) -> Option<StateEntry> {
        match entry {
            StateEntry::UserRevoked { user, at } => self.remember(Name::User(user), at),
            StateEntry::TokenRevoked { id, at } => self.remember(Name::Token(id.into()), at),
            StateEntry::ApiKeyRevoked { name, key } => drop(self.add_api_key(name.into(), key)),
            StateEntry::AllRevoked { at } => self.raise_floor(at),
            StateEntry::LoginSeen { .. } => return Some(entry),
        }
        None
    }

    /// What there is to keep.
    pub(crate) fn entries(&self) -> impl Iterator<Item = StateEntry> {
        let floor = self.floor.map(|at| StateEntry::AllRevoked { at });
        let api_keys = self.api_keys.iter().flat_map(|(name, keys)| {
            keys.iter().map(|key| StateEntry::ApiKeyRevoked { name: name.to_string(), key: *key })
        });
        let counts = |(at, name): &&(Time, Name)| self.since.get(name) == Some(at);
        let named = self.order.iter().filter(counts).map(|(at, name)| name.entry(*at));
        floor.into_iter().chain(api_keys).chain(named)
    }

    fn raise_floor(&mut self, at: Time) {
        self.floor = self.floor.max(Some(at));
    }

    fn remember(&mut self, name: Name, at: Time) {
        // A clock that was set back must not make an earlier moment of a later one.
        let at = self.since.get(&name).map_or(at, |before| at.max(*before));
        if self.since.insert(name.clone(), at) != Some(at) {
            self.order.push_back((at, name));
        }
        while self.since.len() > self.most
            && let Some((at, name)) = self.order.pop_front()
        {
            if self.since.get(&name) == Some(&at) {
                self.since.remove(&name);
                self.raise_floor(at);
            }
        }
        if self.order.len() > 2 * self.since.len() + SPARE {
            self.order.retain(|(at, name)| self.since.get(name) == Some(at));
        }
    }

    /// Whether a principal shows something that was taken back.
    pub(crate) fn refuses(&self, principal: &Principal) -> bool {
        let Credential { kind, id, issued_at, first_seen, key, .. } = &principal.credential;
        let named = id.as_ref().is_some_and(|id| self.since.contains_key(&Name::Token(id.clone())));
        match kind {
            CredentialKind::Absent => false,
            CredentialKind::ApiKey => match id.as_ref().and_then(|id| self.api_keys.get(id)) {
                Some(revoked) => revoked.contains(&None) || revoked.contains(key),
                None => named,
            },
            CredentialKind::Token | CredentialKind::Login => {
                if named {
                    return true;
                }
                let user = principal.claims.user.clone().map(Name::User);
                let of_user = user.and_then(|user| self.since.get(&user).copied());
                let Some(revoked) = of_user.max(self.floor) else { return false };
                // The clock of the issuer may be ahead of ours by the leeway, and counts in whole seconds, rounded down. Our
                // own clock is exact.
                let issued_before = issued_at.map(|issued| issued <= revoked.plus_micros(self.leeway));
                let seen_before = first_seen.map(|seen| seen <= revoked);
                match (issued_before, seen_before) {
                    (Some(issued), Some(seen)) => issued || seen,
                    (Some(before), None) | (None, Some(before)) => before,
                    // It cannot show that it is newer.
                    (None, None) => true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use eventwire_protocol::Claims;

    use super::*;

    const LEEWAY: Duration = Duration::from_secs(5);

    fn at(seconds: i64) -> Time {
        Time::from_unix_micros(seconds * 1_000_000)
    }

    fn token(user: &str, id: &str, issued: Option<i64>) -> Principal {
        let claims = Claims { user: Some(user.parse().unwrap()), ..Claims::anonymous() };
        let credential = Credential {
            id: Some(id.into()),
            issued_at: issued.map(at),
            expires_at: Some(at(100_000)),
            ..Credential::default()
        };
        Principal { credential, ..Principal::new(user, claims) }
    }

    fn key(user: &str, name: &str, value: &str) -> Principal {
        let credential = Credential {
            kind: CredentialKind::ApiKey,
            id: Some(name.into()),
            key: Some(Thumbprint::of_signing_key(value)),
            ..Credential::default()
        };
        Principal { credential, ..token(user, name, None) }
    }

    fn login(user: &str, issued: Option<i64>, seen: Option<i64>) -> Principal {
        let credential = Credential {
            kind: CredentialKind::Login,
            issued_at: issued.map(at),
            first_seen: seen.map(at),
            ..Credential::default()
        };
        Principal { credential, ..token(user, "login", None) }
    }

    fn user(name: &str) -> Revocation {
        Revocation::User(name.parse().unwrap())
    }

    /// As the next process has it.
    fn restarted(before: &Revocations) -> Revocations {
        let mut after = Revocations::new(LEEWAY, before.most);
        assert!(before.entries().all(|entry| after.restore(entry).is_none()));
        after
    }

    #[test]
    fn auth_13_a_user_is_refused_what_was_issued_before_by_any_clock_and_may_come_back_with_something_newer() {
        let mut revoked = Revocations::new(LEEWAY, 10);
        assert!(!revoked.refuses(&token("ada", "1", Some(1_000))));
        revoked.add(&user("ada"), at(1_000).plus_micros(300_000));
        for revoked in [&revoked, &restarted(&revoked)] {
            // The clock of the issuer may have been five seconds ahead.
            for (issued, refused) in
                [(Some(999), true), (Some(1_000), true), (Some(1_005), true), (Some(1_006), false), (None, true)]
            {
                assert_eq!(revoked.refuses(&token("ada", "1", issued)), refused, "{issued:?}");
            }
            assert!(!revoked.refuses(&token("bob", "2", Some(999))));
            assert!(!revoked.refuses(&key("ada", "ada's script", "k")), "API keys are taken back by name");
            assert!(!revoked.refuses(&Principal::new("local", Claims::loopback())));
            // A login of an application: its own date, else when it was first seen.
            for (issued, seen, refused) in [
                (Some(1_000), None, true),
                (Some(1_005), Some(1_010), true),
                (Some(1_006), Some(1_010), false),
                (Some(9_000), Some(1_000), true),
                (None, Some(1_000), true),
                (None, Some(1_001), false),
                (None, None, true),
            ] {
                assert_eq!(revoked.refuses(&login("ada", issued, seen)), refused, "{issued:?} {seen:?}");
            }
        }
    }

    #[test]
    fn auth_13_a_token_is_refused_by_its_name_and_an_api_key_until_it_is_another_one() {
        let mut revoked = Revocations::new(LEEWAY, 3);
        revoked.add(&Revocation::Token("jti-1".into()), at(1_000));
        revoked.add(&Revocation::Token("build".into()), at(1_000));
        revoked.add_api_key("build".into(), Some(Thumbprint::of_signing_key("k1")));
        assert!(revoked.refuses(&token("ada", "build", Some(2_000))), "a token may have the same name");
        assert!(!revoked.refuses(&key("ada", "build", "k2")));
        revoked.add(&Revocation::Token("absent".into()), at(1_000));
        assert!(revoked.refuses(&key("ada", "absent", "k1")), "a key that is not known yet");
        revoked.add_api_key("old".into(), None);
        // Whatever comes later, an API key has no end and is not let in again.
        for second in 0..100 {
            revoked.add(&user(&format!("u{second}")), at(1_000_000 + second));
        }
        for revoked in [&revoked, &restarted(&revoked)] {
            assert!(revoked.refuses(&token("ada", "jti-1", Some(2_000))), "by the floor, if not by its name");
            assert!(revoked.refuses(&key("ada", "build", "k1")));
            assert!(!revoked.refuses(&key("ada", "build", "k2")), "a new key of the same name");
            assert!(!revoked.refuses(&key("ada", "other", "k1")));
            assert!(revoked.refuses(&key("ada", "old", "any")));
        }
        assert!(!Revocations::new(LEEWAY, 3).refuses(&token("ada", "jti-1", Some(2_000))));
    }

    #[test]
    fn auth_13_everything_is_refused_that_was_issued_before_and_api_keys_are_not() {
        let mut revoked = Revocations::new(LEEWAY, 10);
        revoked.add(&Revocation::All, at(1_000));
        revoked.add(&Revocation::All, at(900));
        for revoked in [&revoked, &restarted(&revoked)] {
            assert!(revoked.refuses(&token("ada", "1", Some(1_005))));
            assert!(!revoked.refuses(&token("ada", "1", Some(1_006))));
            assert!(revoked.refuses(&token("ada", "1", None)));
            assert!(revoked.refuses(&login("bob", None, Some(1_000))));
            assert!(!revoked.refuses(&login("bob", None, Some(1_001))));
            assert!(!revoked.refuses(&key("ada", "build", "k")));
            assert!(!revoked.refuses(&Principal::anonymous(Claims::anonymous())));
        }
    }

    #[test]
    fn auth_13_too_many_revocations_refuse_too_much_and_never_too_little() {
        let mut revoked = Revocations::new(Duration::ZERO, 3);
        for second in 0..10 {
            revoked.add(&user(&format!("u{second}")), at(1_000 + second));
        }
        assert_eq!(revoked.since.len(), 3);
        for second in 0..10 {
            let person = format!("u{second}");
            assert!(revoked.refuses(&token(&person, "x", Some(1_000 + second))), "{person}");
            assert!(!revoked.refuses(&token(&person, "x", Some(1_011))), "{person}");
        }
        assert!(revoked.refuses(&token("stranger", "x", Some(1_006))));
        assert!(!revoked.refuses(&token("stranger", "x", Some(1_007))));
        // However long ago it was: a token that is older than the floor is not taken.
        revoked.add(&user("late"), at(900_000));
        assert!(revoked.refuses(&token("u1", "x", Some(1_001))));
        // The same one again and again takes no more room than it is allowed, and its time stays.
        for second in 0..1_000 {
            revoked.add(&user("ada"), at(999_001 + second));
        }
        assert!(revoked.order.len() <= 2 * 3 + SPARE + 1);
        assert!(revoked.refuses(&token("ada", "x", Some(1_000_000))));
        assert!(!revoked.refuses(&token("ada", "x", Some(1_000_001))));
        assert!(!revoked.refuses(&token("bob", "x", Some(1_000_000))), "repetitions are no reason for a floor");
    }

    #[test]
    fn auth_13_a_clock_that_is_set_back_takes_no_revocation_back() {
        let mut revoked = Revocations::new(Duration::ZERO, 10);
        revoked.add(&user("ada"), at(10_000));
        revoked.add(&user("ada"), at(5_000));
        assert!(revoked.refuses(&token("ada", "x", Some(9_000))));
        assert!(restarted(&revoked).refuses(&token("ada", "x", Some(9_000))));
    }
}
