//! Revocations against a naive list of everything that was ever issued and ever revoked, with clocks that are apart, a clock that
//! moves by hours, and restarts (AUTH-13, AUTH-19).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use eventwire_hub::{
    Authenticator, Clock as _, Credential, CredentialKind, Credentials, Hub, Principal, Revocation, Secret, Settings,
    state::{Durability, Room, StateEntry, StateLog},
};
use eventwire_memory::ManualClock;
use eventwire_protocol::{Claims, ErrorBody, ErrorCode, Time};
use proptest::{collection::vec, prelude::*};

const START: &str = "2026-11-20T23:40:00Z";
const LEEWAY: i64 = 5;
const MAX_AGE: i64 = 3600;
const USERS: [&str; 3] = ["ada", "bob", "eve"];

/// What a process leaves behind, up to its last synced entry or further.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Vec<StateEntry>>>);

/// Asks for a rewrite every few entries.
struct Log(Disk);

#[async_trait]
impl StateLog for Log {
    async fn append(&mut self, entry: &StateEntry, _: Durability) -> io::Result<Room> {
        let mut entries = self.0.0.lock().unwrap();
        entries.push(entry.clone());
        Ok(if entries.len().is_multiple_of(3) { Room::Short } else { Room::Left })
    }

    async fn rewrite(&mut self, entries: Vec<StateEntry>) -> io::Result<()> {
        *self.0.0.lock().unwrap() = entries;
        Ok(())
    }
}

/// Takes `user/id/iat/exp` in seconds after the start; `-` where a token does not say.
struct Plain;

fn start() -> Time {
    START.parse().unwrap()
}

fn at(seconds: i64) -> Time {
    start().plus_micros(seconds * 1_000_000)
}

fn claims(user: &str) -> Claims {
    Claims { user: Some(user.parse().unwrap()), ..Claims::anonymous() }
}

#[async_trait]
impl Authenticator for Plain {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let token = credentials.token.as_ref().unwrap().reveal();
        let [user, id, issued, end] = token.split('/').collect::<Vec<_>>()[..] else {
            return Err(ErrorBody::new(ErrorCode::Unauthorized, "no"));
        };
        let time = |text: &str| text.parse().ok().map(at);
        let credential =
            Credential { id: Some(id.into()), issued_at: time(issued), expires_at: time(end), ..Credential::default() };
        Ok(Principal { credential, ..Principal::new(user, claims(user)) })
    }

    fn authenticates(&self) -> bool {
        true
    }
}

#[derive(Clone, Debug)]
enum Deed {
    /// A token for a user: how long it holds, how far the issuer's clock is ahead, and whether the token says when it was issued.
    Issue {
        user: usize,
        life: i64,
        ahead: i64,
        dated: bool,
    },
    /// A new session cookie of an application.
    LogIn {
        user: usize,
    },
    RevokeUser(usize),
    /// One of the tokens, by its name.
    RevokeToken(usize),
    RevokeAll,
    Wait(i64),
    Restart,
    /// Everything is shown that was ever issued.
    ShowAll,
}

fn deed() -> impl Strategy<Value = Deed> {
    let life = prop_oneof![1..=MAX_AGE, Just(MAX_AGE), MAX_AGE + 1..=200 * MAX_AGE];
    prop_oneof![
        4 => (0..USERS.len(), life, -LEEWAY..=LEEWAY, prop::bool::weighted(0.7))
            .prop_map(|(user, life, ahead, dated)| Deed::Issue { user, life, ahead, dated }),
        2 => (0..USERS.len()).prop_map(|user| Deed::LogIn { user }),
        2 => (0..USERS.len()).prop_map(Deed::RevokeUser),
        2 => (0..40_usize).prop_map(Deed::RevokeToken),
        1 => Just(Deed::RevokeAll),
        4 => prop_oneof![0..=1_i64, 0..=15_i64, 0..=2 * MAX_AGE, 0..=200 * MAX_AGE].prop_map(Deed::Wait),
        2 => Just(Deed::Restart),
        3 => Just(Deed::ShowAll),
    ]
}

/// A token as its issuer knows it. Times in seconds after the start, by the true clock.
struct Token {
    user: usize,
    name: String,
    issued: i64,
    says: Option<i64>,
    end: i64,
}

struct Cookie {
    user: usize,
    value: Secret,
    issued: i64,
    /// When it was first shown.
    seen: Option<i64>,
}

enum Revoked {
    User(usize),
    Token(String),
    All,
}

struct World {
    clock: ManualClock,
    disk: Disk,
    hub: Hub,
    require_issued_at: bool,
    tokens: Vec<Token>,
    cookies: Vec<Cookie>,
    revoked: Vec<(i64, Revoked)>,
}

impl World {
    fn new(require_issued_at: bool) -> Self {
        let (clock, disk) = (ManualClock::starting(start()), Disk::default());
        let hub = hub(&clock, &disk, require_issued_at);
        Self { clock, disk, hub, require_issued_at, tokens: vec![], cookies: vec![], revoked: vec![] }
    }

    fn now(&self) -> i64 {
        (self.clock.now().as_unix_micros() - start().as_unix_micros()).div_euclid(1_000_000)
    }

    async fn perform(&mut self, deed: Deed) -> Result<(), TestCaseError> {
        let now = self.now();
        let number = self.tokens.len() + self.cookies.len();
        match deed {
            Deed::Issue { user, life, ahead, dated } => {
                let says = dated.then_some(now + ahead);
                self.tokens.push(Token {
                    user,
                    name: format!("t{number}"),
                    issued: now,
                    says,
                    end: now + ahead + life,
                });
            }
            Deed::LogIn { user } => {
                let value = Secret::new(format!("cookie-{number}"));
                self.cookies.push(Cookie { user, value, issued: now, seen: None });
            }
            Deed::RevokeUser(user) => {
                self.revoke(Revocation::User(USERS[user].parse().unwrap()), Revoked::User(user)).await
            }
            Deed::RevokeToken(of) if of < self.tokens.len() => {
                let name = self.tokens[of].name.clone();
                self.revoke(Revocation::Token(name.as_str().into()), Revoked::Token(name)).await;
            }
            Deed::RevokeToken(_) => {}
            Deed::RevokeAll => self.revoke(Revocation::All, Revoked::All).await,
            Deed::Wait(seconds) => self.clock.advance(Duration::from_secs(seconds.unsigned_abs())).await,
            Deed::Restart => self.hub = hub(&self.clock, &self.disk, self.require_issued_at),
            Deed::ShowAll => self.show_all().await?,
        }
        Ok(())
    }

    async fn revoke(&mut self, revocation: Revocation, revoked: Revoked) {
        self.hub.revoke(&revocation).await.unwrap();
        self.revoked.push((self.now(), revoked));
    }

    /// The latest revocation of what a user was given, or of a token for good.
    fn revoked_at(&self, user: usize, name: &str) -> Option<i64> {
        let of = |(at, revoked): &(i64, Revoked)| match revoked {
            Revoked::User(of) => (*of == user).then_some(*at),
            Revoked::Token(of) => (of == name).then_some(i64::MAX),
            Revoked::All => Some(*at),
        };
        self.revoked.iter().filter_map(of).max()
    }

    async fn show_all(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        for Token { user, name, issued, says, end } in &self.tokens {
            let said = says.map_or("-".to_owned(), |says| says.to_string());
            let shown = format!("{}/{name}/{said}/{end}", USERS[*user]);
            let accepted = self.hub.authenticate(&Credentials { token: Some(Secret::new(&shown)), peer: None }).await;
            let revoked = self.revoked_at(*user, name);
            let over = now >= end + LEEWAY;
            // Never what was revoked, whose life is too long, or that is over.
            if revoked.is_some_and(|at| *issued <= at)
                || over
                || says.is_some_and(|says| end - says > MAX_AGE)
                || (says.is_none() && self.require_issued_at)
            {
                prop_assert!(accepted.is_err(), "{shown} at {now}, revoked {revoked:?}");
                continue;
            }
            // Always what can show that it is newer by any clock, and what was never revoked.
            let newer = |at: i64| says.is_some_and(|says| says > at.saturating_add(LEEWAY));
            let short = says.map_or(end - now <= MAX_AGE, |says| end - says <= MAX_AGE && says <= now + LEEWAY);
            if short && revoked.is_none_or(newer) {
                prop_assert!(accepted.is_ok(), "{shown} at {now}, revoked {revoked:?}: {accepted:?}");
            }
        }
        let revoked: Vec<Option<i64>> = self.cookies.iter().map(|cookie| self.revoked_at(cookie.user, "")).collect();
        for (Cookie { user, value, issued, seen }, revoked) in self.cookies.iter_mut().zip(revoked) {
            let credential = self.hub.login(value, None, None).await;
            prop_assert_eq!(credential.kind, CredentialKind::Login);
            let user = USERS[*user];
            let accepted = self.hub.still_holds(&Principal { credential, ..Principal::new(user, claims(user)) });
            let seen = *seen.get_or_insert(now);
            if revoked.is_some_and(|at| seen <= at) {
                prop_assert!(accepted.is_err(), "{user} {value:?} of {issued}, seen at {seen}, revoked {revoked:?}");
            } else {
                prop_assert!(accepted.is_ok(), "{user} of {issued}, seen at {seen}, revoked {revoked:?}: {accepted:?}");
            }
        }
        Ok(())
    }
}

fn hub(clock: &ManualClock, disk: &Disk, require_issued_at: bool) -> Hub {
    let entries = disk.0.lock().unwrap().clone();
    let settings = Settings {
        require_issued_at,
        max_token_age: Duration::from_secs(MAX_AGE.unsigned_abs()),
        expiry_grace: Duration::from_secs(LEEWAY.unsigned_abs()),
        ..Settings::default()
    };
    let builder = Hub::builder().settings(settings).authenticator(Plain).clock(clock.clone());
    builder.state(Log(disk.clone()), entries).build()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn auth_13_nothing_is_accepted_again_that_was_issued_before_its_revocation(
        deeds in vec(deed(), 1..60),
        require_issued_at in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(require_issued_at);
            for deed in deeds {
                world.perform(deed).await?;
            }
            world.show_all().await
        })?;
    }
}
