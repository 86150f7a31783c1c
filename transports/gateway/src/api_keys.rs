//! The api_keys_file: which keys are accepted, and what each may do (AUTH-01).
//!
//! The file holds digests, never keys: whoever reads it can present none of them. What an entry does not grant is refused; there is
//! no default that grants.
//!
//! ```toml
//! [[key]]
//! name = "build-agents"            # shown in logs and in the admin list
//! sha256 = "9f86d081884c7d65..."   # of the whole key, 64 hexadecimal digits
//! permissions = ["publish"]        # publish, observe, admin, adw_raw, commands
//! adws = ["*"]                     # or a list of ids; the same for rooms and sessions
//! rooms = ["tasks"]
//! expires_at = "2027-03-01T00:00:00Z"   # the key ends then, and with it what it opened; absent, it does not end
//! ```

use std::collections::BTreeSet;
use std::str::FromStr;

use eventwire_hub::{KeyDigest, Principal};
use eventwire_protocol::claims::{Claims, Permission, Role, Scope};
use serde::{Deserialize, Serialize};

/// One accepted key, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name for people; unique in the file.
    pub name: String,
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub sha256: String,
    /// User that the key speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Role that the key speaks with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<EntryRole>,
    /// What it may do beyond listening.
    #[serde(default)]
    pub permissions: Vec<EntryPermission>,
    /// Agent runs it reaches; `*` for all, empty for none.
    #[serde(default)]
    pub adws: Vec<String>,
    /// Rooms it reaches.
    #[serde(default)]
    pub rooms: Vec<String>,
    /// Contexts it reaches.
    #[serde(default)]
    pub sessions: Vec<String>,
    /// Nothing older is replayed to it, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_from: Option<String>,
    /// When the key ends, RFC 3339; unset, it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A permission, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum EntryPermission {
    /// Publish events.
    Publish,
    /// See events of every audience, ask why somebody received one.
    Observe,
    /// List and close connections.
    Admin,
    /// See the verbatim output of agents.
    AdwRaw,
    /// Take over what clients ask of the application.
    Commands,
}

impl From<EntryPermission> for Permission {
    fn from(written: EntryPermission) -> Self {
        match written {
            EntryPermission::Publish => Self::Publish,
            EntryPermission::Observe => Self::Observe,
            EntryPermission::Admin => Self::Admin,
            EntryPermission::AdwRaw => Self::AdwRaw,
            EntryPermission::Commands => Self::Commands,
        }
    }
}

/// A role, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum EntryRole {
    /// A program that works in a context.
    Agent,
    /// A person.
    Human,
}

impl From<EntryRole> for Role {
    fn from(written: EntryRole) -> Self {
        match written {
            EntryRole::Agent => Self::Agent,
            EntryRole::Human => Self::Human,
        }
    }
}

/// One accepted key, ready for an authenticator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Digest of the key.
    pub digest: KeyDigest,
    /// Who its holder is and what they may do.
    pub principal: Principal,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Absent is a mistake, such as a file that was cut off; an empty list takes the last key away on purpose.
    key: Option<Vec<Entry>>,
}

/// Reads the text of an api_keys_file.
///
/// # Errors
/// One line: not TOML, an unknown word, a digest that is none, a name or digest that stands there twice, no key at all.
pub fn read(text: &str) -> Result<Vec<ApiKey>, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
        format!("line {line}: {}", crate::config::one_line(error.message()))
    })?;
    let Some(entries) = file.key else {
        return Err("no [[key]] in it; `eventwire api-key` makes an entry, and key = [] accepts no key".to_owned());
    };
    let mut names = BTreeSet::new();
    let mut digests = BTreeSet::new();
    let mut keys = Vec::with_capacity(entries.len());
    for entry in &entries {
        let key = parse(entry).map_err(|what| format!("key {:?}: {what}", entry.name))?;
        if !names.insert(key.principal.name.clone()) {
            return Err(format!("key {:?}: the name stands there twice", entry.name));
        }
        if !digests.insert(key.digest.to_string()) {
            return Err(format!("key {:?}: another entry has the same sha256", entry.name));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The text of one entry, as it stands in a file.
///
/// # Errors
/// A value that TOML cannot hold.
pub fn write(entry: &Entry) -> Result<String, String> {
    toml::to_string(&File { key: Some(vec![entry.clone()]) }).map_err(|error| error.to_string())
}

fn parse(entry: &Entry) -> Result<ApiKey, String> {
    if entry.name.trim().is_empty() || entry.name.chars().any(char::is_control) {
        return Err("name: expected visible text".to_owned());
    }
    let grants = Grants {
        user: entry.user.as_deref(),
        role: entry.role,
        permissions: entry.permissions.iter().map(|permission| (*permission).into()).collect(),
        adws: &entry.adws,
        rooms: &entry.rooms,
        sessions: &entry.sessions,
        history_from: entry.history_from.as_deref(),
    };
    let mut principal = Principal::new(entry.name.as_str(), grants.claims()?);
    principal.credential.expires_at =
        entry.expires_at.as_deref().map(|time| parse_id("expires_at", time)).transpose()?;
    Ok(ApiKey { digest: parse_digest(&entry.sha256)?, principal })
}

/// What an entry or a token grants, as it is written.
pub(crate) struct Grants<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) role: Option<EntryRole>,
    pub(crate) permissions: BTreeSet<Permission>,
    pub(crate) adws: &'a [String],
    pub(crate) rooms: &'a [String],
    pub(crate) sessions: &'a [String],
    pub(crate) history_from: Option<&'a str>,
}

impl Grants<'_> {
    /// What it means; a name that is none is an error.
    pub(crate) fn claims(self) -> Result<Claims, String> {
        Ok(Claims {
            user: self.user.map(|user| parse_id("user", user)).transpose()?,
            role: self.role.map(Into::into),
            contexts: scope("sessions", self.sessions)?,
            adws: scope("adws", self.adws)?,
            rooms: scope("rooms", self.rooms)?,
            permissions: self.permissions,
            history_from: self.history_from.map(|time| parse_id("history_from", time)).transpose()?,
        })
    }
}

fn parse_digest(text: &str) -> Result<KeyDigest, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    KeyDigest::parse(text)
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| "sha256: expected 64 hexadecimal digits, the SHA-256 of the key (not the key)".to_owned())
}

fn scope<T: FromStr<Err: std::fmt::Display> + Ord>(field: &str, written: &[String]) -> Result<Scope<T>, String> {
    if written.iter().any(|target| target == "*") {
        return match written {
            [_] => Ok(Scope::All),
            _ => Err(format!("{field}: \"*\" stands beside other values")),
        };
    }
    let targets = written.iter().map(|target| parse_id(field, target)).collect::<Result<BTreeSet<T>, _>>()?;
    Ok(Scope::Only(targets))
}

fn parse_id<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{field}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn entry(rest: &str) -> String {
        format!("[[key]]\nname = \"a\"\nsha256 = \"{DIGEST}\"\n{rest}\n")
    }

    #[test]
    fn auth_01_an_entry_grants_what_it_names_and_nothing_else() {
        let keys = read(&entry("")).unwrap();
        let [key] = keys.as_slice() else { panic!("{keys:?}") };
        assert!(key.principal.claims.permissions.is_empty());
        assert_eq!(key.principal.claims.adws, Scope::none());
        assert_eq!(key.principal.claims.rooms, Scope::none());
        assert_eq!(key.principal.claims.contexts, Scope::none());

        let full = "user = \"ada\"\nrole = \"agent\"\npermissions = [\"publish\", \"adw_raw\"]\nadws = [\"29fb6a3e\"]\nrooms = [\"*\"]";
        let keys = read(&entry(full)).unwrap();
        let [key] = keys.as_slice() else { panic!("{keys:?}") };
        assert_eq!(key.principal.claims.user.as_ref().map(ToString::to_string).as_deref(), Some("ada"));
        assert_eq!(key.principal.claims.role, Some(Role::Agent));
        assert!(
            key.principal.claims.may(Permission::Publish)
                && key.principal.claims.may(Permission::AdwRaw)
                && !key.principal.claims.may(Permission::Admin)
        );
        assert!(
            key.principal.claims.adws.contains(&"29fb6a3e".parse().unwrap())
                && !key.principal.claims.adws.contains(&"29fb6a3f".parse().unwrap())
        );
        assert_eq!(key.principal.claims.rooms, Scope::All);
    }

    #[test]
    fn auth_22_an_entry_may_say_when_its_key_ends() {
        let end = |rest: &str| read(&entry(rest)).unwrap()[0].principal.credential.expires_at;
        assert_eq!(end(""), None);
        let said = "expires_at = \"2027-03-01T00:00:00Z\"";
        assert_eq!(end(said).map(|end| end.to_string()).as_deref(), Some("2027-03-01T00:00:00Z"));
        assert_eq!(read("key = []").unwrap(), [], "none at all, on purpose");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_one_line() {
        let twice = format!("{}{}", entry(""), entry("").replace("\"a\"", "\"b\""));
        let same_name = format!("{}{}", entry(""), entry("").replace(DIGEST, &"0".repeat(64)));
        let cases = [
            (String::new(), "no [[key]]"),
            (entry("expires_at = \"tomorrow\""), "key \"a\": expires_at:"),
            (entry("permissions = [\"root\"]"), "line 4: unknown variant `root`"),
            (entry("rights = []"), "line 4: unknown field `rights`"),
            (entry("role = \"admin\""), "unknown variant"),
            (entry("adws = [\"no\"]"), "key \"a\": adws:"),
            (entry("rooms = [\"*\", \"tasks\"]"), "beside other values"),
            (entry("").replace(DIGEST, "abc"), "64 hexadecimal digits"),
            (twice, "the same sha256"),
            (same_name, "twice"),
        ];
        for (text, expected) in cases {
            let told = read(&text).unwrap_err();
            assert!(told.contains(expected) && !told.contains('\n'), "{expected}: {told}");
        }
    }
}
