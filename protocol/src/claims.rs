//! What a connection or publisher may do (AUTH-01). Made by an authenticator, judged by pure functions.
//!
//! Every enum here grants authority, so every enum here is closed: an unknown word is an error, never a grant.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    address::{AdwLayer, Audience, Target, Visibility},
    id::{AdwId, BrowserSession, ContextId, RoomName, SessionId, UserId},
    time::Time,
};

/// Something that is not allowed to everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Publish events.
    Publish,
    /// See events of every audience but connections and private parts, and ask why an event was delivered.
    Observe,
    /// List and close connections.
    Admin,
    /// See the verbatim output of agents.
    AdwRaw,
    /// Take over and acknowledge what clients ask of the application, in `GET /v1/commands`.
    Commands,
}

impl Permission {
    /// Every permission.
    pub const ALL: &[Self] = &[Self::Publish, Self::Observe, Self::Admin, Self::AdwRaw, Self::Commands];

    /// The permission as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Observe => "observe",
            Self::Admin => "admin",
            Self::AdwRaw => "adw_raw",
            Self::Commands => "commands",
        }
    }
}

/// The part a user plays in a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A program that works in the context; sees `agent_only` messages.
    Agent,
    /// A person.
    Human,
}

/// Which targets of one kind are within reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope<T> {
    /// All of them.
    All,
    /// These.
    Only(BTreeSet<T>),
}

impl<T: Ord> Scope<T> {
    /// None of them.
    pub const fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether the target is within reach.
    pub fn contains(&self, target: &T) -> bool {
        match self {
            Self::All => true,
            Self::Only(targets) => targets.contains(target),
        }
    }
}

/// Targets that any connection may join, whatever it was granted: what strangers see (AUTH-17).
///
/// It widens what is received, and nothing else: publishing, observing and explaining follow the grants alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicScope {
    /// Contexts that any connection may join.
    pub contexts: Scope<ContextId>,
    /// ADWs that any connection may watch.
    pub adws: Scope<AdwId>,
    /// Rooms that any connection may join.
    pub rooms: Scope<RoomName>,
}

impl PublicScope {
    /// No target.
    pub const fn none() -> Self {
        Self { contexts: Scope::none(), adws: Scope::none(), rooms: Scope::none() }
    }

    /// Every target.
    pub const fn all() -> Self {
        Self { contexts: Scope::All, adws: Scope::All, rooms: Scope::All }
    }
}

/// Who somebody is and what they may do.
///
/// The scopes are grants, one for each kind of audience. They confine publishing, observing and explaining (AUTH-15); those of
/// contexts, ADWs and rooms also confine what can be joined. A connection receives its own user's stream, its own browser
/// session and `global` whatever the grants are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user, if somebody is known by name.
    pub user: Option<UserId>,
    /// The part they play in contexts.
    pub role: Option<Role>,
    /// Contexts they may join, publish to and observe.
    pub contexts: Scope<ContextId>,
    /// ADWs they may watch, publish to and observe.
    pub adws: Scope<AdwId>,
    /// Rooms they may join, publish to and observe.
    pub rooms: Scope<RoomName>,
    /// Users whose streams they may publish to and observe.
    pub users: Scope<UserId>,
    /// Browser sessions that they may publish to and observe.
    pub browser_sessions: Scope<BrowserSession>,
    /// Whether they may publish to `global` and explain it.
    pub global: bool,
    /// What else they may join, because any connection may; `None` where nothing is public.
    pub public: Option<Arc<PublicScope>>,
    /// What else they may do.
    pub permissions: BTreeSet<Permission>,
    /// Nothing older than this is replayed to them.
    pub history_from: Option<Time>,
}

impl Claims {
    /// Nobody, with every permission: what an unauthenticated loopback listener grants.
    pub fn loopback() -> Self {
        Self { permissions: Permission::ALL.iter().copied().collect(), ..Self::anonymous() }
    }

    /// No user and no permission: may join anything that is public and do nothing else. No scope is confined.
    pub fn anonymous() -> Self {
        Self {
            user: None,
            role: None,
            contexts: Scope::All,
            adws: Scope::All,
            rooms: Scope::All,
            users: Scope::All,
            browser_sessions: Scope::All,
            global: true,
            public: None,
            permissions: BTreeSet::new(),
            history_from: None,
        }
    }

    /// A connection without credentials that may join these targets and do nothing else (AUTH-17).
    pub fn stranger(scope: &PublicScope) -> Self {
        let PublicScope { contexts, adws, rooms } = scope.clone();
        Self {
            contexts,
            adws,
            rooms,
            users: Scope::none(),
            browser_sessions: Scope::none(),
            global: false,
            ..Self::anonymous()
        }
    }

    /// Whether the permission was granted.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Whether the context may be joined.
    fn may_join_context(&self, id: &ContextId) -> bool {
        self.contexts.contains(id) || self.public.as_ref().is_some_and(|public| public.contexts.contains(id))
    }

    /// Whether the ADW may be watched.
    fn may_watch(&self, id: &AdwId) -> bool {
        self.adws.contains(id) || self.public.as_ref().is_some_and(|public| public.adws.contains(id))
    }

    /// Whether no ADW is out of sight: what sums up all of them and names some may be shown.
    pub fn may_watch_every_adw(&self) -> bool {
        self.adws == Scope::All || self.public.as_ref().is_some_and(|public| public.adws == Scope::All)
    }

    /// Whether the room may be joined.
    fn may_enter(&self, name: &RoomName) -> bool {
        self.rooms.contains(name) || self.public.as_ref().is_some_and(|public| public.rooms.contains(name))
    }

    /// AUTH-15: whether the grants reach an audience that others are in. Of a session it is the whole that counts. Which
    /// connections are reached is for [`inspect`](crate::inspect::inspect) to say: here, only grants that confine no connection
    /// reach one.
    pub fn reaches(&self, audience: &Audience) -> bool {
        match audience {
            Audience::Connection(_) => self.reaches_every_connection(),
            Audience::Session(SessionId::Context(id), _) => self.contexts.contains(id),
            Audience::Session(SessionId::Browser(id), _) => self.browser_sessions.contains(id),
            Audience::User(user) => self.users.contains(user),
            Audience::Adw(id, _) => self.adws.contains(id),
            Audience::Room(name) => self.rooms.contains(name),
            Audience::Global => self.global,
        }
    }

    /// Whether the grants leave no connection out: all users, all browser sessions, and what is for everyone.
    pub fn reaches_every_connection(&self) -> bool {
        self.users == Scope::All && self.browser_sessions == Scope::All && self.global
    }

    /// ROUTE-03: whether events of the audience may be seen by a connection that belongs to it.
    pub fn may_see(&self, audience: &Audience) -> bool {
        match audience {
            Audience::Connection(_) | Audience::Global => true,
            Audience::User(user) => self.user.as_ref() == Some(user),
            // A browser session is joined only by its cookie, which is the permission.
            Audience::Session(SessionId::Browser(_), _) => true,
            Audience::Session(SessionId::Context(id), _) => self.may_join_context(id),
            Audience::Adw(id, layer) => {
                self.may_watch(id) && (*layer == AdwLayer::Blocks || self.may(Permission::AdwRaw))
            }
            Audience::Room(name) => self.may_enter(name),
        }
    }

    /// ROUTE-03: whether a connection that follows `*` sees events of the audience because it observes. Connections of
    /// others and the parts of a session that only some of its members may see are never observed.
    pub fn may_observe(&self, audience: &Audience) -> bool {
        let hidden = matches!(
            audience,
            Audience::Connection(_) | Audience::Session(_, Visibility::Private(_) | Visibility::AgentOnly(_))
        );
        let verbatim = matches!(audience, Audience::Adw(_, AdwLayer::Raw));
        self.may(Permission::Observe)
            && !hidden
            && (!verbatim || self.may(Permission::AdwRaw))
            && self.reaches(audience)
    }

    /// AUTH-16: whether the holder may ask who receives events of the audience. The answer for a part of a session tells
    /// who its sender is, so the grants must reach both. The answer for a connection says nothing of connections out of
    /// reach, so any may be asked about.
    pub fn may_explain(&self, audience: &Audience) -> bool {
        let sender = match audience {
            Audience::Session(_, Visibility::Private(user) | Visibility::AgentOnly(user)) => self.users.contains(user),
            _ => true,
        };
        self.may(Permission::Observe)
            && sender
            && (matches!(audience, Audience::Connection(_)) || self.reaches(audience))
    }

    /// ROUTE-04: whether the part of a session that an event is for includes the holder.
    pub fn is_visible(&self, visibility: &Visibility) -> bool {
        match visibility {
            Visibility::Public => true,
            Visibility::Private(sender) => self.user.as_ref() == Some(sender),
            Visibility::AgentOnly(sender) => self.role == Some(Role::Agent) || self.user.as_ref() == Some(sender),
        }
    }

    /// ROUTE-03 and ROUTE-04 together: whether something that was kept for an audience may be shown to the holder, who asks
    /// for it. Nothing older than [`history_from`](Self::history_from) is.
    pub fn may_look_up(&self, audience: &Audience, time: Time) -> bool {
        let visible = match audience {
            Audience::Session(_, visibility) => self.is_visible(visibility),
            _ => true,
        };
        visible && self.may_see(audience) && self.history_from.is_none_or(|from| time >= from)
    }

    /// AUTH-04: whether a publisher may address the audience. Of connections this says whether any may be addressed;
    /// [`may_address`](crate::inspect::may_address) decides about one.
    pub fn may_address(&self, audience: &Audience) -> bool {
        self.may(Permission::Publish) && self.reaches(audience)
    }

    /// CMD-05: whether the holder may subscribe to the target. Browser sessions and other users' streams cannot be
    /// subscribed to by anyone.
    pub fn may_subscribe(&self, target: &Target) -> bool {
        match target {
            Target::Global => true,
            Target::Realm => self.may(Permission::Observe),
            Target::Adw(id) => self.may_watch(id),
            Target::Room(name) => self.may_enter(name),
            Target::Session(SessionId::Context(id)) => self.may_join_context(id),
            Target::Session(SessionId::Browser(_)) => false,
            Target::User(user) => self.user.as_ref() == Some(user),
        }
    }
}
