//! What a connection or publisher may do (AUTH-01). Made by an authenticator, judged by pure functions.
//!
//! Every enum here grants authority, so every enum here is closed: an unknown word is an error, never a grant.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    address::{AdwLayer, Audience, Root, Visibility},
    id::{AdwId, ContextId, RoomName, SessionId, UserId},
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

/// Who somebody is and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user, if somebody is known by name.
    pub user: Option<UserId>,
    /// The part they play in contexts.
    pub role: Option<Role>,
    /// Contexts they may join and publish to.
    pub contexts: Scope<ContextId>,
    /// ADWs they may watch and publish to.
    pub adws: Scope<AdwId>,
    /// Rooms they may join and publish to.
    pub rooms: Scope<RoomName>,
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

    /// Nobody, who may join anything that is public and do nothing else.
    pub fn anonymous() -> Self {
        Self {
            user: None,
            role: None,
            contexts: Scope::All,
            adws: Scope::All,
            rooms: Scope::All,
            permissions: BTreeSet::new(),
            history_from: None,
        }
    }

    /// Whether the permission was granted.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// ROUTE-03: whether events of the audience may be seen, once the audience matches.
    pub fn may_see(&self, audience: &Audience) -> bool {
        match audience {
            Audience::Connection(_) | Audience::Global => true,
            Audience::User(user) => self.user.as_ref() == Some(user),
            // A browser session is joined only by its cookie, which is the permission.
            Audience::Session(SessionId::Browser(_), _) => true,
            Audience::Session(SessionId::Context(id), _) => self.contexts.contains(id),
            Audience::Adw(id, layer) => {
                self.adws.contains(id) && (*layer == AdwLayer::Blocks || self.may(Permission::AdwRaw))
            }
            Audience::Room(name) => self.rooms.contains(name),
        }
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

    /// AUTH-04: whether a publisher may address the audience.
    pub fn may_address(&self, audience: &Audience) -> bool {
        self.may(Permission::Publish)
            && match audience {
                Audience::Session(SessionId::Context(id), _) => self.contexts.contains(id),
                Audience::Adw(id, _) => self.adws.contains(id),
                Audience::Room(name) => self.rooms.contains(name),
                Audience::Session(SessionId::Browser(_), _)
                | Audience::Connection(_)
                | Audience::User(_)
                | Audience::Global => true,
            }
    }

    /// CMD-05: whether the holder may subscribe to the target. Browser sessions and other users' streams cannot be
    /// subscribed to by anyone.
    pub fn may_subscribe(&self, target: &Root) -> bool {
        match target {
            Root::Global => true,
            Root::Realm => self.may(Permission::Observe),
            Root::Adw(id) => self.adws.contains(id),
            Root::Room(name) => self.rooms.contains(name),
            Root::Session(SessionId::Context(id)) => self.contexts.contains(id),
            Root::Session(SessionId::Browser(_)) => false,
            Root::User(user) => self.user.as_ref() == Some(user),
        }
    }
}
