//! Identifiers, each a newtype that is parsed once and valid ever after (rules ENV-01 to ENV-03).
//!
//! Keys anywhere in Eventwire are structs of these types. Two identifiers are never joined into one string, so no
//! separator inside an identifier can make it look like another one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest identifier, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Highest sequence number: the largest integer that a JavaScript number holds exactly, 2^53 - 1.
pub const MAX_SEQ: u64 = (1 << 53) - 1;

/// A text that is not the identifier it was meant to be. The caller shows it to whoever sent the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct IdError {
    what: &'static str,
    problem: &'static str,
}

impl IdError {
    pub(crate) const fn new(what: &'static str, problem: &'static str) -> Self {
        Self { what, problem }
    }
}

fn plain(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > MAX_ID_BYTES {
        return Err(IdError::new(what, "must be 1 to 128 characters long"));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'@' | b'-')) {
        return Err(IdError::new(what, "may hold only A-Z a-z 0-9 _ . : @ -"));
    }
    Ok(())
}

/// Serde and schema by way of `Display` and `FromStr`.
macro_rules! as_text {
    ($name:ident, $description:literal, $pattern:literal) => {
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
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    "pattern": $pattern,
                })
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $description:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The identifier as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                plain($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        as_text!($name, $description, "^[A-Za-z0-9_.:@-]{1,128}$");
    };
}

text_id! {
    /// A context: the shared id of a session that is joined by path or `subscribe`. 1 to 128 of `A-Za-z0-9_.:@-`.
    ContextId, "a context id", "Shared id of a context, the kind of session that clients join by name."
}
text_id! {
    /// An authenticated person. 1 to 128 of `A-Za-z0-9_.:@-`.
    UserId, "a user id", "Id of an authenticated person."
}
text_id! {
    /// A named topic, such as `tasks`. 1 to 128 of `A-Za-z0-9_.:@-`.
    RoomName, "a room name", "Name of a room, a topic that connections may join."
}
text_id! {
    /// A thing of the application that events tell of: a document, a query, a message, a task. 1 to 128 of
    /// `A-Za-z0-9_.:@-`.
    ItemId, "an id", "Id that the application gave to a thing of its own, for instance to a document or a task."
}
text_id! {
    /// A publisher's idempotency key. 1 to 128 of `A-Za-z0-9_.:@-`.
    EventId, "an event id", "Idempotency key of a published event, chosen by the publisher."
}

/// One run of an AI developer workflow: exactly 8 ASCII letters and digits (ENV-02). Safe to use as a path component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdwId([u8; 8]);

impl AdwId {
    /// The identifier as it is written.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets past `from_str`, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for AdwId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match <[u8; 8]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_alphanumeric) => Ok(Self(bytes)),
            _ => {
                Err(IdError::new("an ADW id", "names one run of agents and must be exactly 8 ASCII letters and digits"))
            }
        }
    }
}

impl fmt::Display for AdwId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AdwId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdwId({self})")
    }
}

as_text!(AdwId, "Id of one AI developer workflow run: exactly 8 ASCII letters and digits.", "^[A-Za-z0-9]{8}$");

/// Parses `digits` lower-case hexadecimal digits.
fn hex(what: &'static str, text: &str, digits: usize) -> Result<u128, IdError> {
    let wrong = IdError::new(what, "must be lower-case hexadecimal digits of the expected length");
    if text.len() != digits || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(wrong);
    }
    u128::from_str_radix(text, 16).map_err(|_| wrong)
}

/// One open channel. Made by the hub, never by a client; written as `c` and 16 hexadecimal digits.
///
/// Ids of one node grow with time, so the lowest id of a set is its oldest connection (ROUTE-06 relies on it).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The id of no connection: what is said to a client that could not be connected is for it.
    pub const NONE: Self = Self(0);

    /// An id out of its number.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl FromStr for ConnectionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits =
            text.strip_prefix('c').ok_or(IdError::new("a connection id", "must be c and 16 hexadecimal digits"))?;
        Ok(Self(hex("a connection id", digits, 16)? as u64))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:016x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(ConnectionId, "Id of one connection, made by the server.", "^c[0-9a-f]{16}$");

/// A browser session: the keyed hash of a cookie value, written as `~` and 32 hexadecimal digits.
///
/// `~` cannot stand in any other identifier, so no context id, path or `subscribe` ever names a browser session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrowserSession(u128);

impl BrowserSession {
    /// A session out of its 128-bit keyed hash.
    pub const fn from_hash(hash: u128) -> Self {
        Self(hash)
    }
}

impl fmt::Display for BrowserSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{:032x}", self.0)
    }
}

impl fmt::Debug for BrowserSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A session of either kind. The two kinds share no spelling (ENV-03), so they never mix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionId {
    /// Came from a cookie; nobody can join it by name.
    Browser(BrowserSession),
    /// A shared id that connections join by path or `subscribe`, if permitted.
    Context(ContextId),
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.strip_prefix('~') {
            Some(digits) => Ok(Self::Browser(BrowserSession(hex("a browser session id", digits, 32)?))),
            None => text.parse().map(Self::Context),
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Browser(id) => fmt::Display::fmt(id, f),
            Self::Context(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl From<ContextId> for SessionId {
    fn from(id: ContextId) -> Self {
        Self::Context(id)
    }
}

as_text!(
    SessionId,
    "Id of a session: a context id, or ~ and 32 hexadecimal digits for a browser session.",
    "^(~[0-9a-f]{32}|[A-Za-z0-9_.:@-]{1,128})$"
);

/// 64 random bits that name one history (LOG-05). A position means nothing under another epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// An epoch out of its bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl FromStr for Epoch {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Ok(Self(hex("an epoch", text, 16)? as u64))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

as_text!(Epoch, "Name of one history: 16 hexadecimal digits.", "^[0-9a-f]{16}$");

/// The number of a logged event, 1 to 2^53 - 1 (LOG-01). One increasing sequence per realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// The first number of a history.
    pub const FIRST: Self = Self(1);

    /// The number, if it is in bounds.
    pub const fn new(number: u64) -> Option<Self> {
        if number >= 1 && number <= MAX_SEQ { Some(Self(number)) } else { None }
    }

    /// The number as an integer.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number after this one; `None` at the end of the range.
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("a sequence number must be an integer from 1 to 2^53-1"))
    }
}

impl schemars::JsonSchema for Seq {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seq".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "description": "Number of a logged event. Grows over the whole server, so it grows within every stream.",
            "minimum": 1,
            "maximum": MAX_SEQ,
        })
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How far a receiver has read: the last sequence number it holds, or 0 for nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Nothing read yet.
    pub const START: Self = Self(0);

    /// The position, if it is at most 2^53 - 1.
    pub const fn new(number: u64) -> Option<Self> {
        if number <= MAX_SEQ { Some(Self(number)) } else { None }
    }

    /// The position as an integer.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether an event of this number has been read.
    pub const fn covers(self, seq: Seq) -> bool {
        seq.0 <= self.0
    }
}

impl From<Seq> for Position {
    fn from(seq: Seq) -> Self {
        Self(seq.0)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("a position must be an integer from 0 to 2^53-1"))
    }
}

impl schemars::JsonSchema for Position {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "description": "How far a stream has been read: the last sequence number held, 0 for nothing yet.",
            "minimum": 0,
            "maximum": MAX_SEQ,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_01_hostile_ids_are_refused() {
        for text in ["", "a b", "a/b", "a\u{e9}", "~x", "a\0", "a\nb", &"x".repeat(129), "a,b", "*"] {
            assert!(text.parse::<ContextId>().is_err(), "{text:?}");
            assert!(text.parse::<UserId>().is_err(), "{text:?}");
            assert!(text.parse::<RoomName>().is_err(), "{text:?}");
            assert!(text.parse::<ItemId>().is_err(), "{text:?}");
        }
        assert!("a_b.c:d@e-f".parse::<UserId>().is_ok());
        assert!("x".repeat(128).parse::<UserId>().is_ok());
    }

    #[test]
    fn env_02_adw_id_is_eight_ascii_letters_and_digits() {
        assert_eq!("29fb6a3e".parse::<AdwId>().unwrap().as_str(), "29fb6a3e");
        for text in ["", "29fb6a3", "29fb6a3ee", "29fb6a3-", "../../..", "29fb6a\u{e9}", "29fb6a3\n", "********"] {
            assert!(text.parse::<AdwId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn env_03_browser_sessions_and_contexts_share_no_spelling() {
        let browser = SessionId::Browser(BrowserSession::from_hash(7));
        assert_eq!(browser.to_string().parse::<SessionId>().unwrap(), browser);
        assert!(browser.to_string().parse::<ContextId>().is_err());
        assert!("~7".parse::<SessionId>().is_err());
    }

    #[test]
    fn log_01_sequence_numbers_stay_in_bounds() {
        assert_eq!(Seq::new(0), None);
        assert_eq!(Seq::new(MAX_SEQ).and_then(Seq::next), None);
        assert!(serde_json::from_str::<Seq>("9007199254740992").is_err());
        assert!(serde_json::from_str::<Position>("-1").is_err());
        assert!(Position::from(Seq::FIRST).covers(Seq::FIRST));
    }
}
