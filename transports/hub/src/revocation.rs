//! Credentials that were taken back before their end (AUTH-13), as far as they have to be remembered.
//!
//! A token is checked without asking anybody, so a server that is to refuse one before its end has to remember it. How long
//! is bounded: no token is taken whose end lies further away than the longest age, so what was revoked longer ago than that
//! has ended by itself. How many is bounded too: when there are too many, the oldest become one moment, and everything that
//! was issued up to it is refused. That refuses too much and never too little; whoever is refused gets a new token.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use eventwire_protocol::{Time, UserId};

use crate::auth::{Credential, Principal, Thumbprint};

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Everything that a user was given up to now.
    User(UserId),
    /// The credentials of this name: the `jti` of a token, the name of an API key.
    Token(Arc<str>),
    /// What a key vouches for that is no longer accepted. The authenticator remembers that, not the hub.
    Key(Thumbprint),
}

impl fmt::Display for Revocation {
    /// As the audit log names it: `user:maria`, `token:login-4711`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{user}"),
            Self::Token(id) => write!(f, "token:{id}"),
            // A digest of a secret is not for a log.
            Self::Key(_) => f.write_str("key"),
        }
    }
}

impl Revocation {
    /// Whether it is about these credentials.
    pub(crate) fn concerns(&self, credential: &Credential, user: Option<&UserId>) -> bool {
        match self {
            Self::User(revoked) => user == Some(revoked),
            Self::Token(revoked) => credential.id.as_ref() == Some(revoked),
            Self::Key(withdrawn) => credential.key.as_ref() == Some(withdrawn),
        }
    }
}

/// What is remembered.
#[derive(Debug)]
pub(crate) struct Revocations {
    /// Longest time for which a token can hold that was issued before a revocation.
    age: Duration,
    most: usize,
    since: HashMap<Revocation, Time>,
    /// In the order in which they came; an entry counts if the map has its time.
    order: VecDeque<(Time, Revocation)>,
    /// Names of credentials without an end.
    permanent: HashSet<Arc<str>>,
    /// Everything issued up to here is refused.
    floor: Option<Time>,
}

impl Revocations {
    pub(crate) fn new(age: Duration, most: usize) -> Self {
        Self {
            age,
            most: most.max(1),
            since: HashMap::new(),
            order: VecDeque::new(),
            permanent: HashSet::new(),
            floor: None,
        }
    }

    /// Remembers one. `permanent` says that the credentials of that name have no end; there are as many of those as somebody
    /// configured.
    pub(crate) fn add(&mut self, revocation: Revocation, permanent: bool, now: Time) {
        if let (Revocation::Token(id), true) = (&revocation, permanent) {
            self.permanent.insert(id.clone());
            return;
        }
        let ended = now.plus_micros(-i64::try_from(self.age.as_micros()).unwrap_or(i64::MAX));
        while self.order.front().is_some_and(|(at, _)| *at < ended) {
            self.forget_oldest();
        }
        self.floor = self.floor.filter(|floor| *floor >= ended);
        self.since.insert(revocation.clone(), now);
        self.order.push_back((now, revocation));
        while self.order.len() > self.most {
            if let Some(at) = self.forget_oldest() {
                self.floor = self.floor.max(Some(at));
            }
        }
    }

    /// The time of the oldest one, if it still counted.
    fn forget_oldest(&mut self) -> Option<Time> {
        let (at, revocation) = self.order.pop_front()?;
        if self.since.get(&revocation) != Some(&at) {
            return None;
        }
        self.since.remove(&revocation)
    }

    /// Whether a principal shows something that was taken back.
    pub(crate) fn refuses(&self, principal: &Principal) -> bool {
        let Principal { claims, credential, .. } = principal;
        let Credential { id, issued_at, expires_at, .. } = credential;
        if let Some(id) = id
            && (self.permanent.contains(id) || self.since.contains_key(&Revocation::Token(id.clone())))
        {
            return true;
        }
        let user = claims.user.clone().map(Revocation::User);
        let Some(revoked) = user.and_then(|user| self.since.get(&user).copied()).max(self.floor) else { return false };
        match issued_at {
            // Tokens count in whole seconds, rounded down: one of the same second may be older.
            Some(issued) => *issued <= revoked,
            // One that does not say when it was issued cannot show that it is newer. API keys never say, and have no end;
            // they are taken back by their names.
            None => expires_at.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use eventwire_protocol::Claims;

    use super::*;

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

    fn key(user: &str, name: &str) -> Principal {
        let credential = Credential { id: Some(name.into()), ..Credential::default() };
        Principal { credential, ..token(user, name, None) }
    }

    fn user(name: &str) -> Revocation {
        Revocation::User(name.parse().unwrap())
    }

    #[test]
    fn auth_13_a_user_is_refused_what_was_issued_before_and_may_come_back_with_something_newer() {
        let mut revoked = Revocations::new(Duration::from_secs(3600), 10);
        assert!(!revoked.refuses(&token("ada", "1", Some(1_000))));
        revoked.add(user("ada"), false, at(1_000).plus_micros(300_000));
        for (issued, refused) in [(Some(999), true), (Some(1_000), true), (Some(1_001), false), (None, true)] {
            assert_eq!(revoked.refuses(&token("ada", "1", issued)), refused, "{issued:?}");
        }
        assert!(!revoked.refuses(&token("bob", "2", Some(999))));
        assert!(!revoked.refuses(&key("ada", "ada's script")), "API keys are taken back by name");
        assert!(!revoked.refuses(&Principal::new("anonymous", Claims::loopback())));
    }

    #[test]
    fn auth_13_a_token_is_refused_by_its_name_and_a_key_for_good() {
        let mut revoked = Revocations::new(Duration::from_secs(3600), 10);
        revoked.add(Revocation::Token("jti-1".into()), false, at(1_000));
        revoked.add(Revocation::Token("build".into()), true, at(1_000));
        assert!(revoked.refuses(&token("ada", "jti-1", Some(2_000))));
        assert!(!revoked.refuses(&token("ada", "jti-2", Some(500))));
        assert!(revoked.refuses(&key("ada", "build")));
        // Whatever comes later, a key without an end is not let in again.
        for second in 0..100 {
            revoked.add(user(&format!("u{second}")), false, at(1_000_000 + second));
        }
        assert!(revoked.refuses(&key("ada", "build")));
        assert!(!revoked.since.contains_key(&Revocation::Token("jti-1".into())), "it has ended by itself");
    }

    #[test]
    fn auth_13_too_many_revocations_refuse_too_much_and_never_too_little() {
        let mut revoked = Revocations::new(Duration::from_secs(3600), 3);
        for second in 0..10 {
            revoked.add(user(&format!("u{second}")), false, at(1_000 + second));
        }
        assert_eq!((revoked.since.len(), revoked.order.len()), (3, 3));
        for second in 0..10 {
            let person = format!("u{second}");
            assert!(revoked.refuses(&token(&person, "x", Some(1_000 + second))), "{person}");
            assert!(!revoked.refuses(&token(&person, "x", Some(1_011))), "{person}");
        }
        assert!(revoked.refuses(&token("stranger", "x", Some(1_006))));
        assert!(!revoked.refuses(&token("stranger", "x", Some(1_007))));
        // When everything from before has ended, nothing of it is left.
        revoked.add(user("late"), false, at(1_000 + 3_611));
        assert_eq!((revoked.floor, revoked.since.len()), (None, 1));
        // The same one again and again takes no more room than it is allowed.
        for second in 0..10 {
            revoked.add(user("ada"), false, at(10_000 + second));
        }
        assert!(revoked.order.len() <= 3);
        assert!(!revoked.refuses(&token("ada", "x", Some(10_010))));
        assert!(revoked.refuses(&token("ada", "x", Some(10_009))));
    }
}
