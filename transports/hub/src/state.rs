//! What of the hub outlives its process: revocations, and when logins without a date were first seen (AUTH-19).
//!
//! The hub keeps it in memory and judges by that alone. A [`StateLog`] receives every change, and the next
//! start begins with what it kept. The gateway writes a file; a hub without a log forgets with its process.

use std::{fmt, io};

use async_trait::async_trait;
use eventwire_protocol::{Time, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::auth::{Secret, Thumbprint};

/// One fact that outlives the process. Nothing in it is secret: names, times and digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StateEntry {
    /// What a user was given up to this time is refused.
    UserRevoked {
        /// The user.
        user: UserId,
        /// When it was revoked, by the clock of the hub.
        at: Time,
    },
    /// The token or login of this name (`jti`) is refused.
    TokenRevoked {
        /// The name.
        id: String,
        /// When it was revoked.
        at: Time,
    },
    /// The API key of this name is refused.
    ApiKeyRevoked {
        /// The name.
        name: String,
        /// The key that had the name; a later key of the same name is accepted. Absent where the authenticator does not
        /// say: then every key of the name is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Thumbprint>,
    },
    /// Every token and login that was issued up to this time is refused.
    AllRevoked {
        /// The time.
        at: Time,
    },
    /// A login that does not say when it began was first seen at this time.
    LoginSeen {
        /// The login.
        login: LoginDigest,
        /// The time.
        at: Time,
    },
}

/// Whether an entry must outlive a crash of the machine once it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk.
    Synced,
    /// It is on its way there: it outlives the process, and a crash of the machine may lose it.
    Buffered,
}

/// Whether a log should be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room for more entries.
    Left,
    /// Most of its entries are out of date.
    Short,
}

/// Keeps what outlives the process.
#[async_trait]
pub trait StateLog: Send + 'static {
    /// Appends an entry.
    ///
    /// # Errors
    /// What the medium says. Whether the entry was kept is unknown then.
    async fn append(&mut self, entry: &StateEntry, durability: Durability) -> io::Result<Room>;

    /// Puts these entries in the place of all that were kept, in one step: after a crash either the older ones are there or these.
    ///
    /// # Errors
    /// What the medium says; then the older entries stay.
    async fn rewrite(&mut self, entries: Vec<StateEntry>) -> io::Result<()>;
}

/// Names a login by a digest of what it shows, from which that cannot be found.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginDigest([u8; 16]);

impl LoginDigest {
    /// The digest of what a login shows: the value of a session cookie, or a token.
    pub fn of(shown: &Secret) -> Self {
        let digest = Sha256::new().chain_update("login\0").chain_update(shown.reveal()).finalize();
        let mut half = [0; 16];
        half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(half)
    }
}

impl fmt::Debug for LoginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Serialize for LoginDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for LoginDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("a login is 32 hexadecimal digits"))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads twice as many hexadecimal digits as there are bytes.
pub(crate) fn unhex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
