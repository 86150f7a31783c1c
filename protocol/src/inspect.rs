//! What one principal may learn of a connection, and whether it may address or close it (AUTH-16).
//!
//! A connection is no tenant: it has a user, a browser session and subscriptions, each of which the grants of the asker reach
//! or do not. These functions are the only place that decides about it. The connection list, `explain`, closing a connection
//! and publishing to one all ask here, so that none of them shows what another hides.

use crate::{
    address::{Audience, Target},
    claims::{Claims, Permission, Scope},
    dialect::AdwDefault,
    id::{BrowserSession, ConnectionId, SessionId, UserId},
    roster::{AdwFilter, Member, Roster},
};

/// How much of a connection is within reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Who it is: it may be listed in full, addressed and closed.
    Whole,
    /// Only subscriptions that it shares with the asker's audiences; who it is stays hidden.
    Shared,
}

/// What an asker may learn of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// How much of the connection is within reach.
    pub extent: Extent,
    /// Its user, if the grants reach it.
    pub user: Option<UserId>,
    /// Its browser session, if the grants reach it.
    pub session: Option<BrowserSession>,
    /// Those of its subscriptions that the grants reach.
    pub subscriptions: Vec<Target>,
}

/// What a holder of these claims may learn of a connection; `None` when even its existence is hidden.
///
/// A connection is reached as a whole when the grants reach its user and its browser session, as far as it has them. One that
/// has neither is reached as a whole when they reach everything that it subscribed to. Grants that leave no connection out
/// ([`Claims::reaches_every_connection`]) reach every one as a whole.
pub fn inspect(claims: &Claims, member: &Member) -> Option<Inspection> {
    let of = member.claims().user.as_ref();
    let home = member.home();
    let user = of.filter(|user| claims.users.contains(user)).cloned();
    let session = home.filter(|home| claims.browser_sessions.contains(home));
    let all = member.subscriptions();
    let asked_for_something = !all.is_empty();
    let count = all.len();
    let subscriptions: Vec<Target> = all.into_iter().filter(|target| reaches_root(claims, target)).collect();
    let identified = (of.is_some() || home.is_some()) && user.is_some() == of.is_some() && session == home;
    let nameless = of.is_none() && home.is_none() && asked_for_something && subscriptions.len() == count;
    let extent = if claims.reaches_every_connection() || identified || nameless {
        Extent::Whole
    } else if user.is_some() || session.is_some() || !subscriptions.is_empty() || watches_unasked(claims, member) {
        Extent::Shared
    } else {
        return None;
    };
    Some(Inspection { extent, user, session, subscriptions })
}

/// AUTH-04, AUTH-16: whether a publisher may address the audience now. A connection may be addressed by those whose grants
/// reach it as a whole; one that is out of reach and one that does not exist are refused alike.
pub fn may_address(roster: &Roster, claims: &Claims, audience: &Audience) -> bool {
    match audience {
        Audience::Connection(id) => {
            claims.may(Permission::Publish)
                && (claims.reaches_every_connection() || extent(roster, claims, *id) == Some(Extent::Whole))
        }
        _ => claims.may_address(audience),
    }
}

/// How much of the connection of this id is within reach; `None` also when there is none.
pub fn extent(roster: &Roster, claims: &Claims, id: ConnectionId) -> Option<Extent> {
    Some(inspect(claims, roster.member(id)?)?.extent)
}

/// Whether the grants reach everything that a subscription can bring. Only grants that are confined in nothing reach `*`.
fn reaches_root(claims: &Claims, target: &Target) -> bool {
    match target {
        Target::Session(SessionId::Context(id)) => claims.contexts.contains(id),
        Target::Session(SessionId::Browser(id)) => claims.browser_sessions.contains(id),
        Target::User(user) => claims.users.contains(user),
        Target::Adw(id) => claims.adws.contains(id),
        Target::Room(name) => claims.rooms.contains(name),
        Target::Global => claims.global,
        Target::Realm => {
            claims.reaches_every_connection()
                && (&claims.contexts, &claims.adws, &claims.rooms) == (&Scope::All, &Scope::All, &Scope::All)
        }
    }
}

/// Whether a connection that never named an ADW receives one that the grants reach.
fn watches_unasked(claims: &Claims, member: &Member) -> bool {
    *member.interest() == AdwFilter::Default(AdwDefault::All)
        && match &claims.adws {
            Scope::All => true,
            Scope::Only(adws) => adws.iter().any(|adw| member.claims().may_see(&Audience::adw(*adw))),
        }
}
