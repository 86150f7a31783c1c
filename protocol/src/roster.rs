//! Who is connected now, what they joined and what they asked for. Pure data, indexed for routing (ROUTE-08).
//!
//! Every update is a function of the roster and its arguments. An index never says more than the members do: a test
//! rebuilds every index from the members and compares.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    address::Target,
    claims::Claims,
    dialect::{AdwDefault, Dialect},
    error::{ErrorBody, ErrorCode},
    id::{AdwId, BrowserSession, ConnectionId, RoomName, SessionId, UserId},
    limits,
};

/// Which ADWs a connection hears of (ROUTE-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdwFilter {
    /// It never subscribed to one: what its dialect says.
    Default(AdwDefault),
    /// It did: these, and none when the set has become empty again.
    Only(BTreeSet<AdwId>),
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    dialect: Dialect,
    claims: Claims,
    home: Option<BrowserSession>,
    contexts: BTreeSet<SessionId>,
    rooms: BTreeSet<RoomName>,
    interest: AdwFilter,
    observing: bool,
}

impl Member {
    /// A connection that has subscribed to nothing.
    pub fn new(dialect: Dialect, claims: Claims, home: Option<BrowserSession>) -> Self {
        Self {
            dialect,
            claims,
            home,
            contexts: BTreeSet::new(),
            rooms: BTreeSet::new(),
            interest: AdwFilter::Default(dialect.adw_default()),
            observing: false,
        }
    }

    /// How its frames are spelled.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Who it is and what it may do.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Its browser session.
    pub fn home(&self) -> Option<BrowserSession> {
        self.home
    }

    /// Which ADWs it hears of.
    pub fn interest(&self) -> &AdwFilter {
        &self.interest
    }

    /// Whether it observes everything it may.
    pub fn is_observing(&self) -> bool {
        self.observing
    }

    /// Whether it is in the session, by cookie or by joining.
    pub fn is_in(&self, session: &SessionId) -> bool {
        match session {
            SessionId::Browser(id) => self.home == Some(*id),
            SessionId::Context(_) => self.contexts.contains(session),
        }
    }

    /// Whether it is in the room.
    pub fn is_in_room(&self, room: &RoomName) -> bool {
        self.rooms.contains(room)
    }

    /// Whether it hears of the ADW.
    pub fn is_subscribed_to(&self, adw: &AdwId) -> bool {
        match &self.interest {
            AdwFilter::Default(AdwDefault::All) => true,
            AdwFilter::Default(AdwDefault::None) => false,
            AdwFilter::Only(adws) => adws.contains(adw),
        }
    }

    /// Whether it asked for the target and has it.
    pub fn is_subscribed(&self, target: &Target) -> bool {
        match target {
            Target::Session(session) => self.contexts.contains(session),
            Target::Room(room) => self.rooms.contains(room),
            Target::Adw(adw) => matches!(&self.interest, AdwFilter::Only(adws) if adws.contains(adw)),
            Target::Realm => self.observing,
            Target::User(_) | Target::Global => false,
        }
    }

    /// What its subscriptions cost in memory, roughly, in bytes.
    pub fn subscription_bytes(&self) -> usize {
        let adws = match &self.interest {
            AdwFilter::Only(adws) => adws.len(),
            AdwFilter::Default(_) => 0,
        };
        let contexts = self.contexts.iter().map(session_cost);
        let rooms = self.rooms.iter().map(|room| cost(room.as_str()));
        contexts.chain(rooms).sum::<usize>() + cost("") * (adws + usize::from(self.observing))
    }

    /// What a subscription to a target costs in memory, roughly, in bytes.
    pub fn bytes_of(target: &Target) -> usize {
        match target {
            Target::Session(session) => session_cost(session),
            Target::Room(room) => cost(room.as_str()),
            Target::Adw(_) | Target::Realm => cost(""),
            Target::User(_) | Target::Global => 0,
        }
    }

    /// Whether it receives the target without having asked: its session, its user, what is for everyone.
    pub fn is_implicit(&self, target: &Target) -> bool {
        match target {
            Target::Global => true,
            Target::Session(SessionId::Browser(id)) => self.home == Some(*id),
            Target::User(user) => self.claims.user.as_ref() == Some(user),
            Target::Session(SessionId::Context(_)) | Target::Adw(_) | Target::Room(_) | Target::Realm => false,
        }
    }

    /// Everything it asked for, in a fixed order.
    pub fn subscriptions(&self) -> Vec<Target> {
        let adws = match &self.interest {
            AdwFilter::Only(adws) => adws.iter().copied().collect(),
            AdwFilter::Default(_) => Vec::new(),
        };
        let mut targets: Vec<Target> = self.contexts.iter().cloned().map(Target::Session).collect();
        targets.extend(adws.into_iter().map(Target::Adw));
        targets.extend(self.rooms.iter().cloned().map(Target::Room));
        targets.extend(self.observing.then_some(Target::Realm));
        targets
    }

    /// What it receives without having asked: its session, its user, and what is for everyone.
    pub fn implicit(&self) -> Vec<Target> {
        let mut targets = vec![Target::Global];
        targets.extend(self.home.map(|id| Target::Session(SessionId::Browser(id))));
        targets.extend(self.claims.user.clone().map(Target::User));
        targets
    }
}

/// What a subscription did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// It is new.
    Added,
    /// The connection had it.
    Kept,
    /// The connection receives this target anyway.
    Implicit,
}

/// All connections, and for each target who is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    members: BTreeMap<ConnectionId, Member>,
    sessions: HashMap<SessionId, BTreeSet<ConnectionId>>,
    users: HashMap<UserId, BTreeSet<ConnectionId>>,
    rooms: HashMap<RoomName, BTreeSet<ConnectionId>>,
    adws: HashMap<AdwId, BTreeSet<ConnectionId>>,
    wildcard: BTreeSet<ConnectionId>,
    observers: BTreeSet<ConnectionId>,
}

impl Roster {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connection. One of the same id is removed first.
    pub fn connect(&mut self, id: ConnectionId, member: Member) {
        self.disconnect(id);
        self.index(id, &member);
        self.members.insert(id, member);
    }

    /// Removes a connection from everything. Nothing happens if it is not there.
    pub fn disconnect(&mut self, id: ConnectionId) -> Option<Member> {
        let member = self.members.remove(&id)?;
        self.unindex(id, &member);
        Some(member)
    }

    /// Adds a target to what a connection receives (CMD-05). Idempotent.
    ///
    /// # Errors
    /// `forbidden`, `too_many_subscriptions`, or `not_found` when the connection is gone.
    pub fn subscribe(&mut self, id: ConnectionId, target: &Target) -> Result<Subscription, ErrorBody> {
        self.subscribe_all(id, [target])?.pop().unwrap_or(Ok(Subscription::Kept))
    }

    /// Adds targets to what a connection receives, each as [`subscribe`](Self::subscribe) does and in this order. The
    /// outcomes have the same order.
    ///
    /// The cost grows with the targets alone, not with what the connection has already (LIMIT-12).
    ///
    /// # Errors
    /// `not_found` when the connection is gone.
    pub fn subscribe_all<'a>(
        &mut self,
        id: ConnectionId,
        targets: impl IntoIterator<Item = &'a Target>,
    ) -> Result<Vec<Result<Subscription, ErrorBody>>, ErrorBody> {
        let Self { members, sessions, rooms, adws, wildcard, observers, .. } = self;
        let member = members.get_mut(&id).ok_or_else(|| gone(id))?;
        let mut held = member.subscription_count();
        let outcome = |target: &Target| {
            if member.is_implicit(target) {
                return Ok(Subscription::Implicit);
            }
            if !member.claims.may_subscribe(target) {
                return Err(out_of_reach(target));
            }
            if member.is_subscribed(target) {
                return Ok(Subscription::Kept);
            }
            // `may_subscribe` lets only the own user and everyone through, and these are implicit.
            if matches!(target, Target::User(_) | Target::Global) {
                return Ok(Subscription::Implicit);
            }
            if held >= limits::MAX_SUBSCRIPTIONS {
                let most = limits::MAX_SUBSCRIPTIONS;
                let message = format!("a connection may have {most} subscriptions; this would be one more");
                return Err(ErrorBody::new(ErrorCode::TooManySubscriptions, message));
            }
            held += 1;
            match target {
                Target::Session(session) => {
                    member.contexts.insert(session.clone());
                    sessions.entry(session.clone()).or_default().insert(id);
                }
                Target::Room(room) => {
                    member.rooms.insert(room.clone());
                    rooms.entry(room.clone()).or_default().insert(id);
                }
                Target::Adw(adw) => {
                    match &mut member.interest {
                        AdwFilter::Only(adws) => {
                            adws.insert(*adw);
                        }
                        interest @ AdwFilter::Default(_) => {
                            *interest = AdwFilter::Only(BTreeSet::from([*adw]));
                            wildcard.remove(&id);
                        }
                    }
                    adws.entry(*adw).or_default().insert(id);
                }
                Target::Realm => {
                    member.observing = true;
                    observers.insert(id);
                }
                Target::User(_) | Target::Global => {}
            }
            Ok(Subscription::Added)
        };
        Ok(targets.into_iter().map(outcome).collect())
    }

    /// Takes a target from what a connection receives. Idempotent; what is received without asking stays.
    ///
    /// # Errors
    /// `not_found` when the connection is gone.
    pub fn unsubscribe(&mut self, id: ConnectionId, target: &Target) -> Result<(), ErrorBody> {
        self.unsubscribe_all(id, [target])
    }

    /// Takes targets from what a connection receives, each as [`unsubscribe`](Self::unsubscribe) does.
    ///
    /// # Errors
    /// `not_found` when the connection is gone.
    pub fn unsubscribe_all<'a>(
        &mut self,
        id: ConnectionId,
        targets: impl IntoIterator<Item = &'a Target>,
    ) -> Result<(), ErrorBody> {
        let Self { members, sessions, rooms, adws, observers, .. } = self;
        let member = members.get_mut(&id).ok_or_else(|| gone(id))?;
        for target in targets.into_iter() {
            if !member.forget(target) {
                continue;
            }
            match target {
                Target::Session(session) => remove(sessions, session, id),
                Target::Room(room) => remove(rooms, room, id),
                Target::Adw(adw) => remove(adws, adw, id),
                Target::Realm => {
                    observers.remove(&id);
                }
                Target::User(_) | Target::Global => {}
            }
        }
        Ok(())
    }

    /// Gives a connection other claims. What they no longer reach is unsubscribed and returned (AUTH-06).
    ///
    /// # Errors
    /// `not_found` when the connection is gone.
    pub fn set_claims(&mut self, id: ConnectionId, claims: Claims) -> Result<Vec<Target>, ErrorBody> {
        self.change(id, |member| {
            let before = [member.subscriptions(), member.implicit()].concat();
            member.claims = claims;
            let lost: Vec<Target> =
                member.subscriptions().into_iter().filter(|target| !member.claims.may_subscribe(target)).collect();
            for target in &lost {
                member.forget(target);
            }
            let implicit = member.implicit();
            Ok(before
                .into_iter()
                .filter(|target| {
                    lost.contains(target) || (matches!(target, Target::User(_)) && !implicit.contains(target))
                })
                .collect())
        })
    }

    /// One connection.
    pub fn member(&self, id: ConnectionId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// All connections, oldest first.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (ConnectionId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn in_session(&self, session: &SessionId) -> Option<&BTreeSet<ConnectionId>> {
        self.sessions.get(session)
    }

    pub(crate) fn of_user(&self, user: &UserId) -> Option<&BTreeSet<ConnectionId>> {
        self.users.get(user)
    }

    pub(crate) fn in_room(&self, room: &RoomName) -> Option<&BTreeSet<ConnectionId>> {
        self.rooms.get(room)
    }

    pub(crate) fn of_adw(&self, adw: &AdwId) -> Option<&BTreeSet<ConnectionId>> {
        self.adws.get(adw)
    }

    pub(crate) fn of_every_adw(&self) -> &BTreeSet<ConnectionId> {
        &self.wildcard
    }

    pub(crate) fn observers(&self) -> &BTreeSet<ConnectionId> {
        &self.observers
    }

    /// Changes one member between taking it out of the indexes and putting it back.
    fn change<T>(
        &mut self,
        id: ConnectionId,
        change: impl FnOnce(&mut Member) -> Result<T, ErrorBody>,
    ) -> Result<T, ErrorBody> {
        let Some(mut member) = self.members.remove(&id) else { return Err(gone(id)) };
        self.unindex(id, &member);
        let result = change(&mut member);
        self.index(id, &member);
        self.members.insert(id, member);
        result
    }

    fn index(&mut self, id: ConnectionId, member: &Member) {
        for session in &member.contexts {
            self.sessions.entry(session.clone()).or_default().insert(id);
        }
        if let Some(home) = member.home {
            self.sessions.entry(SessionId::Browser(home)).or_default().insert(id);
        }
        if let Some(user) = &member.claims.user {
            self.users.entry(user.clone()).or_default().insert(id);
        }
        for room in &member.rooms {
            self.rooms.entry(room.clone()).or_default().insert(id);
        }
        match &member.interest {
            AdwFilter::Only(adws) => {
                for adw in adws {
                    self.adws.entry(*adw).or_default().insert(id);
                }
            }
            AdwFilter::Default(AdwDefault::All) => {
                self.wildcard.insert(id);
            }
            AdwFilter::Default(AdwDefault::None) => {}
        }
        if member.observing {
            self.observers.insert(id);
        }
    }

    fn unindex(&mut self, id: ConnectionId, member: &Member) {
        for session in &member.contexts {
            remove(&mut self.sessions, session, id);
        }
        if let Some(home) = member.home {
            remove(&mut self.sessions, &SessionId::Browser(home), id);
        }
        if let Some(user) = &member.claims.user {
            remove(&mut self.users, user, id);
        }
        for room in &member.rooms {
            remove(&mut self.rooms, room, id);
        }
        if let AdwFilter::Only(adws) = &member.interest {
            for adw in adws {
                remove(&mut self.adws, adw, id);
            }
        }
        self.wildcard.remove(&id);
        self.observers.remove(&id);
    }
}

impl Member {
    /// Takes a target out. Says whether it was subscribed.
    fn forget(&mut self, target: &Target) -> bool {
        match target {
            Target::Session(session) => self.contexts.remove(session),
            Target::Room(room) => self.rooms.remove(room),
            Target::Adw(adw) => match &mut self.interest {
                // The set may become empty, and then counts as an empty set (ROUTE-02). A connection that never
                // subscribed keeps the default of its dialect.
                AdwFilter::Only(adws) => adws.remove(adw),
                AdwFilter::Default(_) => false,
            },
            Target::Realm => std::mem::take(&mut self.observing),
            Target::User(_) | Target::Global => false,
        }
    }

    fn subscription_count(&self) -> usize {
        let adws = match &self.interest {
            AdwFilter::Only(adws) => adws.len(),
            AdwFilter::Default(_) => 0,
        };
        self.contexts.len() + self.rooms.len() + adws + usize::from(self.observing)
    }
}

fn session_cost(session: &SessionId) -> usize {
    match session {
        SessionId::Context(context) => cost(context.as_str()),
        SessionId::Browser(_) => cost(""),
    }
}

/// A place in each of the indexes, the name in three of them, and since when.
fn cost(name: &str) -> usize {
    480 + 3 * name.len()
}

fn gone(id: ConnectionId) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, format!("no connection {id}"))
}

fn out_of_reach(target: &Target) -> ErrorBody {
    let message = match target {
        Target::Realm => "observing everything needs the permission observe, which your credentials lack".into(),
        _ => format!("your credentials do not reach {target}"),
    };
    ErrorBody::new(ErrorCode::Forbidden, message)
}

/// Takes a connection out of one set, and the set away when it is empty.
fn remove<K: std::hash::Hash + Eq>(index: &mut HashMap<K, BTreeSet<ConnectionId>>, key: &K, id: ConnectionId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
