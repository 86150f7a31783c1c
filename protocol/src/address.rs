//! Whom an event is for (sections 1 and 4 of the specification).
//!
//! An [`Audience`] is a value, never a side effect, and there is no default one. A [`Target`] is what a connection
//! subscribes to: an audience together with its sub-audiences, which exist because some events of an audience may be
//! seen by a part of it only. Each sub-audience is a stream of its own, so that `prev` tells every receiver the truth
//! about what *it* should have seen (ROUTE-04).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    error::{ErrorBody, ErrorCode},
    footprint,
    id::{AdwId, ConnectionId, IdError, RoomName, SessionId, UserId},
};

/// The kind of an audience, as the catalog names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AudienceKind {
    /// One connection.
    Connection,
    /// All connections of a session.
    Session,
    /// All connections of a user.
    User,
    /// Everyone interested in one ADW.
    Adw,
    /// All members of a room.
    Room,
    /// Everyone.
    Global,
}

impl AudienceKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Connection, Self::Session, Self::User, Self::Adw, Self::Room, Self::Global];

    /// The kind as it is written before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Session => "session",
            Self::User => "user",
            Self::Adw => "adw",
            Self::Room => "room",
            Self::Global => "global",
        }
    }
}

/// The part of a session that may see an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Everyone in the session.
    Public,
    /// The sender's own connections in the session.
    Private(UserId),
    /// Connections with the agent role, and the sender's.
    AgentOnly(UserId),
}

/// The part of an ADW's audience that may see an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdwLayer {
    /// What the agents did, event by event.
    Blocks,
    /// The verbatim output; needs the permission `adw_raw`.
    Raw,
}

/// Whom one event is for. The text form stands in `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// `connection:<id>`.
    Connection(ConnectionId),
    /// `session:<id>`, `session:<id>/private/<user>`, `session:<id>/agent_only/<user>`.
    Session(SessionId, Visibility),
    /// `user:<id>`.
    User(UserId),
    /// `adw:<id>`, `adw:<id>/raw`.
    Adw(AdwId, AdwLayer),
    /// `room:<name>`.
    Room(RoomName),
    /// `global`.
    Global,
}

impl Audience {
    /// A whole session.
    pub fn session(id: impl Into<SessionId>) -> Self {
        Self::Session(id.into(), Visibility::Public)
    }

    /// The events of one ADW.
    pub const fn adw(id: AdwId) -> Self {
        Self::Adw(id, AdwLayer::Blocks)
    }

    /// The part of this audience that an event is for whose payload says so (ROUTE-04). Only sessions have such parts.
    #[must_use]
    pub fn seen_by(self, visibility: Visibility) -> Self {
        match self {
            Self::Session(id, _) => Self::Session(id, visibility),
            other => other,
        }
    }

    /// The kind of this audience.
    pub const fn kind(&self) -> AudienceKind {
        match self {
            Self::Connection(_) => AudienceKind::Connection,
            Self::Session(..) => AudienceKind::Session,
            Self::User(_) => AudienceKind::User,
            Self::Adw(..) => AudienceKind::Adw,
            Self::Room(_) => AudienceKind::Room,
            Self::Global => AudienceKind::Global,
        }
    }

    /// What one subscribes to in order to receive it. `None` for a connection audience, which has no stream.
    pub fn target(&self) -> Option<Target> {
        Some(match self {
            Self::Connection(_) => return None,
            Self::Session(id, _) => Target::Session(id.clone()),
            Self::User(id) => Target::User(id.clone()),
            Self::Adw(id, _) => Target::Adw(*id),
            Self::Room(name) => Target::Room(name.clone()),
            Self::Global => Target::Global,
        })
    }

    /// Resident bytes of its identifiers outside the value itself (LIMIT-11).
    pub fn footprint(&self) -> usize {
        let session = |id: &SessionId| match id {
            SessionId::Browser(_) => 0,
            SessionId::Context(id) => footprint::shared(id.as_str().len()),
        };
        match self {
            Self::Session(id, Visibility::Public) => session(id),
            Self::Session(id, Visibility::Private(user) | Visibility::AgentOnly(user)) => {
                session(id) + footprint::shared(user.as_str().len())
            }
            Self::User(id) => footprint::shared(id.as_str().len()),
            Self::Room(name) => footprint::shared(name.as_str().len()),
            Self::Connection(_) | Self::Adw(..) | Self::Global => 0,
        }
    }

    /// Whether this is a part of an audience rather than the whole of one. Publishers name wholes; the catalog and the
    /// payload decide about parts.
    pub const fn is_part(&self) -> bool {
        matches!(
            self,
            Self::Session(_, Visibility::Private(_) | Visibility::AgentOnly(_)) | Self::Adw(_, AdwLayer::Raw)
        )
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(id) => write!(f, "connection:{id}"),
            Self::Session(id, Visibility::Public) => write!(f, "session:{id}"),
            Self::Session(id, Visibility::Private(user)) => {
                write!(f, "session:{id}/private/{user}")
            }
            Self::Session(id, Visibility::AgentOnly(user)) => {
                write!(f, "session:{id}/agent_only/{user}")
            }
            Self::User(id) => write!(f, "user:{id}"),
            Self::Adw(id, AdwLayer::Blocks) => write!(f, "adw:{id}"),
            Self::Adw(id, AdwLayer::Raw) => write!(f, "adw:{id}/raw"),
            Self::Room(name) => write!(f, "room:{name}"),
            Self::Global => f.write_str("global"),
        }
    }
}

impl FromStr for Audience {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "global" {
            return Ok(Self::Global);
        }
        let (kind, rest) = text.split_once(':').ok_or(UNREADABLE)?;
        // `/` is in no identifier, so the parts cannot be confused.
        let mut parts = rest.split('/');
        let id = parts.next().unwrap_or_default();
        Ok(match (kind, parts.next(), parts.next(), parts.next()) {
            ("connection", None, None, None) => Self::Connection(id.parse()?),
            ("session", None, None, None) => Self::Session(id.parse()?, Visibility::Public),
            ("session", Some("private"), Some(user), None) => {
                Self::Session(id.parse()?, Visibility::Private(user.parse()?))
            }
            ("session", Some("agent_only"), Some(user), None) => {
                Self::Session(id.parse()?, Visibility::AgentOnly(user.parse()?))
            }
            ("user", None, None, None) => Self::User(id.parse()?),
            ("adw", None, None, None) => Self::Adw(id.parse()?, AdwLayer::Blocks),
            ("adw", Some("raw"), None, None) => Self::Adw(id.parse()?, AdwLayer::Raw),
            ("room", None, None, None) => Self::Room(id.parse()?),
            _ => return Err(UNREADABLE),
        })
    }
}

const UNREADABLE: IdError =
    IdError::new("an audience", "must be connection:<id>, session:<id>, user:<id>, adw:<id>, room:<name> or global");

/// What a connection can be subscribed to: an audience with all its parts, or everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A session, `session:<id>`.
    Session(SessionId),
    /// A user, `user:<id>`.
    User(UserId),
    /// An ADW, `adw:<id>`.
    Adw(AdwId),
    /// A room, `room:<name>`.
    Room(RoomName),
    /// `global`.
    Global,
    /// Everything an observer may see, `*`.
    Realm,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Adw(id) => write!(f, "adw:{id}"),
            Self::Room(name) => write!(f, "room:{name}"),
            Self::Global => f.write_str("global"),
            Self::Realm => f.write_str("*"),
        }
    }
}

impl FromStr for Target {
    type Err = IdError;

    /// Reads a target, or the target of an audience's part.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "*" {
            return Ok(Self::Realm);
        }
        text.parse::<Audience>()?.target().ok_or(IdError::new(
            "a subscription",
            "must be adw:<id>, room:<name>, session:<id>, user:<id>, global or *",
        ))
    }
}

macro_rules! text_serde {
    ($name:ident, $schema:literal, $description:literal, $pattern:expr) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $schema.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description, "pattern": $pattern })
            }
        }
    };
}

text_serde!(
    Audience,
    "Audience",
    "Whom the event is for: connection:<id>, session:<id>, user:<id>, adw:<id>, room:<name> or global. A part of an audience has a suffix, for instance adw:<id>/raw.",
    format!("^(global|connection:{}|{})$", pattern_of::<ConnectionId>(), patterns_with_parts())
);
text_serde!(
    Target,
    "SubscriptionTarget",
    "What to subscribe to: adw:<id>, room:<name>, session:<id>, user:<id>, global, or * for everything an observer may see.",
    format!("^(\\*|global|{})$", patterns_with_parts())
);

/// How audiences that have a stream are written, with their parts: as [`Audience::from_str`] reads them, no looser.
fn patterns_with_parts() -> String {
    let user = pattern_of::<UserId>();
    [
        format!("session:{}(/(private|agent_only)/{user})?", pattern_of::<SessionId>()),
        format!("user:{user}"),
        format!("adw:{}(/raw)?", pattern_of::<AdwId>()),
        format!("room:{}", pattern_of::<RoomName>()),
    ]
    .join("|")
}

/// How an identifier is written, without anchors.
fn pattern_of<T: schemars::JsonSchema>() -> String {
    let schema = T::json_schema(&mut schemars::SchemaGenerator::default());
    let pattern = schema.get("pattern").and_then(serde_json::Value::as_str).unwrap_or_default();
    pattern.trim_start_matches('^').trim_end_matches('$').to_owned()
}

/// Marker types, one for each kind of audience, for [`AddressedTo`].
pub mod to {
    macro_rules! markers {
        ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
            $($(#[$doc])* #[derive(Clone, Copy, Debug)] pub enum $name {})+
        };
    }
    markers! {
        /// One connection.
        Connection,
        /// One session.
        Session,
        /// One user.
        User,
        /// One ADW.
        Adw,
        /// One room.
        Room,
        /// Everyone.
        Global,
    }
}

/// The catalog allows this payload to go to audiences of kind `A` (EVT-03).
///
/// Implemented by the catalog's table and nowhere else. Code that publishes an event where it may not go does not
/// compile.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may not be addressed to `{A}`",
    note = "the catalog lists the audiences that each event allows"
)]
pub trait AddressedTo<A>: crate::event::Payload {}

/// Exceptions to the audience, for unlogged events only (ROUTE-06).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// This connection receives nothing.
    pub except_connection: Option<ConnectionId>,
    /// This user's connections receive nothing.
    pub except_user: Option<UserId>,
    /// Of each session only the oldest live connection receives it.
    pub one_per_session: bool,
}

impl Modifiers {
    /// Whether nothing is excepted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, and the user whom the payload itself leaves out. One user at most is left out of an event: nobody whom
    /// either of two asks to leave out may be told.
    ///
    /// # Errors
    /// `audience_not_allowed` when they leave out another user.
    pub(crate) fn sparing(self, author: Option<UserId>) -> Result<Self, ErrorBody> {
        match (self.except_user, author) {
            (Some(one), Some(author)) if one != author => Err(ErrorBody::new(
                ErrorCode::AudienceNotAllowed,
                format!("the event leaves out {author}, of whom it tells; it cannot leave out {one} as well"),
            )),
            (one, author) => Ok(Self { except_user: one.or(author), ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_05_audiences_read_back_as_written() {
        for text in [
            "connection:c00000000000000ff",
            "session:abc",
            "session:~0000000000000000000000000000000f",
            "session:a:b/private/u@x",
            "session:a/agent_only/u",
            "user:u",
            "adw:29fb6a3e",
            "adw:29fb6a3e/raw",
            "room:tasks",
            "global",
        ] {
            assert_eq!(text.parse::<Audience>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn env_05_hostile_audiences_are_refused() {
        for text in [
            "",
            "*",
            "globa",
            "global:",
            "global/x",
            "session:",
            "session:/private/u",
            "session:a/",
            "session:a/private",
            "session:a/private/u/v",
            "adw:29fb6a3e/RAW",
            "adw:29fb6a3",
            "adw:../../../x",
            "room:a/b",
            "user:a b",
            "nobody:x",
            "connection:1",
            "session:~1",
            "Session:a",
            " session:a",
        ] {
            assert!(text.parse::<Audience>().is_err(), "{text:?}");
        }
        assert!("connection:c00000000000000ff".parse::<Target>().is_err());
        assert_eq!("adw:29fb6a3e/raw".parse::<Target>().unwrap().to_string(), "adw:29fb6a3e");
    }
}
