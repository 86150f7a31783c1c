//! The api_keys_file: which keys are accepted, and what each may do (AUTH-01).
//!
//! The file holds digests, never keys: whoever reads it can present none of them. What an entry does not grant is refused; there is
//! no default that grants.
//!
//! ```toml
//! version = 2                      # what an entry does not name is not granted
//!
//! [[key]]
//! name = "build-agents"            # shown in logs and in the admin list
//! sha256 = "9f86d081884c7d65..."   # of the whole key, 64 hexadecimal digits
//! permissions = ["publish"]        # publish, observe, admin, adw_raw, commands
//! adws = ["*"]                     # or a list of ids; the same for rooms and sessions
//! rooms = ["tasks"]
//! expires_at = "2027-03-01T00:00:00Z"   # the key ends then, and with it what it opened; absent, it does not end
//! users = ["ada"]                  # the same for browser_sessions
//! global = true                    # what is for everyone
//! ```
//!
//! A file without `version = 2` was written before grants named users, browser sessions and `global` (AUTH-15): an entry of it
//! that does not name one of these reaches all of it. [`upgrade`] writes this out.

use std::collections::BTreeSet;
use std::str::FromStr;

use eventwire_hub::{KeyDigest, Principal};
use eventwire_protocol::claims::{Claims, Permission, Role, Scope};
use eventwire_protocol::{BrowserSession, SessionId};
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
    /// Users whose streams it publishes to and observes; absent, none, and all of them in a file of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Browser sessions it publishes to and observes, `~` and the hash; absent as for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser_sessions: Option<Vec<String>>,
    /// Whether it publishes to `global`; absent as for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<bool>,
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
    /// Kinds of audiences that the entry reaches only because its file is of version 1.
    pub implied: Vec<&'static str>,
}

impl ApiKey {
    /// A warning for the operator about grants that the entry does not write out.
    pub fn warning(&self) -> Option<String> {
        if self.implied.is_empty() {
            return None;
        }
        let (name, implied) = (&self.principal.name, self.implied.join(", "));
        Some(format!(
            "key {name:?} reaches all of {implied}, for its file is of version 1: `eventwire api-key --upgrade FILE` writes this \
             out, so that you can narrow it"
        ))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    /// Absent is a mistake, such as a file that was cut off; an empty list takes the last key away on purpose.
    key: Option<Vec<Entry>>,
}

/// What grants mean that do not name users, browser sessions or `global` (AUTH-15).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GrantsVersion {
    /// All of them: these kinds were not confined when the grants were written.
    #[default]
    One,
    /// None of them.
    Two,
}

impl GrantsVersion {
    /// The version of this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }
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
    let version = match file.version {
        None => GrantsVersion::One,
        Some(number) => GrantsVersion::from_number(number)
            .ok_or_else(|| format!("version = {number}: this gateway reads files of version 1 and 2"))?,
    };
    let mut names = BTreeSet::new();
    let mut digests = BTreeSet::new();
    let mut keys = Vec::with_capacity(entries.len());
    for entry in &entries {
        let key = parse(entry, version).map_err(|what| format!("key {:?}: {what}", entry.name))?;
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
    toml::to_string(&File { version: None, key: Some(vec![entry.clone()]) }).map_err(|error| error.to_string())
}

fn parse(entry: &Entry, version: GrantsVersion) -> Result<ApiKey, String> {
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
        users: entry.users.as_deref(),
        browser_sessions: entry.browser_sessions.as_deref(),
        global: entry.global,
        version,
        history_from: entry.history_from.as_deref(),
    };
    let implied = grants.implied();
    let mut principal = Principal::new(entry.name.as_str(), grants.claims()?);
    principal.credential.expires_at =
        entry.expires_at.as_deref().map(|time| parse_id("expires_at", time)).transpose()?;
    Ok(ApiKey { digest: parse_digest(&entry.sha256)?, principal, implied })
}

/// What an entry or a token grants, as it is written.
pub(crate) struct Grants<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) role: Option<EntryRole>,
    pub(crate) permissions: BTreeSet<Permission>,
    pub(crate) adws: &'a [String],
    pub(crate) rooms: &'a [String],
    pub(crate) sessions: &'a [String],
    pub(crate) users: Option<&'a [String]>,
    pub(crate) browser_sessions: Option<&'a [String]>,
    pub(crate) global: Option<bool>,
    pub(crate) version: GrantsVersion,
    pub(crate) history_from: Option<&'a str>,
}

impl Grants<'_> {
    /// What is reached of a kind that the grants do not name.
    fn unnamed<T: Ord>(&self) -> Scope<T> {
        match self.version {
            GrantsVersion::One => Scope::All,
            GrantsVersion::Two => Scope::none(),
        }
    }

    /// The kinds that are reached although the grants do not name them.
    fn implied(&self) -> Vec<&'static str> {
        let named = [
            ("users", self.users.is_some()),
            ("browser_sessions", self.browser_sessions.is_some()),
            ("global", self.global.is_some()),
        ];
        let implied = named.into_iter().filter(|(_, named)| !named && self.version == GrantsVersion::One);
        implied.map(|(kind, _)| kind).collect()
    }

    /// What it means; a name that is none is an error.
    pub(crate) fn claims(self) -> Result<Claims, String> {
        Ok(Claims {
            user: self.user.map(|user| parse_id("user", user)).transpose()?,
            role: self.role.map(Into::into),
            contexts: scope("sessions", self.sessions)?,
            adws: scope("adws", self.adws)?,
            rooms: scope("rooms", self.rooms)?,
            users: match self.users {
                Some(users) => scope("users", users)?,
                None => self.unnamed(),
            },
            browser_sessions: match self.browser_sessions {
                Some(sessions) => browser_sessions(sessions)?,
                None => self.unnamed(),
            },
            global: self.global.unwrap_or(self.version == GrantsVersion::One),
            public: None,
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

/// Browser sessions are written as in `session:~..`.
fn browser_sessions(written: &[String]) -> Result<Scope<BrowserSession>, String> {
    let sessions = match scope::<SessionId>("browser_sessions", written)? {
        Scope::All => return Ok(Scope::All),
        Scope::Only(sessions) => sessions,
    };
    let browser = |session| match session {
        SessionId::Browser(id) => Ok(id),
        SessionId::Context(id) => {
            Err(format!("browser_sessions: {id} is a context; write it under sessions, and browser sessions as ~HASH"))
        }
    };
    sessions.into_iter().map(browser).collect::<Result<_, _>>().map(Scope::Only)
}

fn parse_id<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{field}: {error}"))
}

/// The text of a file with every grant written out, as a file of version 2 that means exactly the same; comments stay where
/// they are. `None` when it is of version 2 already.
///
/// # Errors
/// As [`read`].
pub fn upgrade(text: &str) -> Result<Option<String>, String> {
    let before = read(text)?;
    let mut document: toml_edit::DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| crate::config::one_line(error.message()))?;
    if document.get("version").and_then(toml_edit::Item::as_integer) == Some(2) {
        return Ok(None);
    }
    let everything = || toml_edit::value(toml_edit::Array::from_iter(["*"]));
    let write_out = |key: &mut dyn toml_edit::TableLike| {
        for (kind, all) in
            [("users", everything()), ("browser_sessions", everything()), ("global", toml_edit::value(true))]
        {
            if !key.contains_key(kind) {
                key.insert(kind, all);
            }
        }
    };
    match document.get_mut("key") {
        Some(toml_edit::Item::ArrayOfTables(keys)) => keys.iter_mut().for_each(|key| write_out(key)),
        Some(toml_edit::Item::Value(toml_edit::Value::Array(keys))) => {
            keys.iter_mut().filter_map(toml_edit::Value::as_inline_table_mut).for_each(|key| write_out(key));
        }
        _ => return Err("no [[key]] in it".to_owned()),
    }
    document.insert("version", toml_edit::value(2));
    let text = document.to_string();
    let same = |one: &ApiKey, other: &ApiKey| (one.digest, &one.principal) == (other.digest, &other.principal);
    let after = read(&text)?;
    if before.len() != after.len() || !before.iter().zip(&after).all(|(one, other)| same(one, other)) {
        return Err("it cannot be written out; add the grants by hand".to_owned());
    }
    Ok(Some(text))
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
    fn auth_15_a_file_of_version_2_grants_no_kind_that_an_entry_does_not_name() {
        let two = |rest: &str| read(&format!("version = 2\n{}", entry(rest))).unwrap().remove(0);
        let nothing = two("permissions = [\"publish\"]");
        let claims = &nothing.principal.claims;
        assert_eq!((&claims.users, &claims.browser_sessions, claims.global), (&Scope::none(), &Scope::none(), false));
        assert_eq!(nothing.warning(), None);
        let hash = format!("~{:032x}", 7);
        let some = two(&format!("users = [\"ada\"]\nbrowser_sessions = [{hash:?}]\nglobal = true")).principal.claims;
        assert_eq!(some.users, Scope::Only(["ada".parse().unwrap()].into()));
        let Scope::Only(sessions) = &some.browser_sessions else { panic!("{some:?}") };
        assert_eq!(sessions.iter().map(ToString::to_string).collect::<Vec<_>>(), [hash]);
        assert!(some.global);
        assert_eq!(two("users = [\"*\"]\nbrowser_sessions = [\"*\"]").principal.claims.browser_sessions, Scope::All);
    }

    #[test]
    fn auth_15_an_older_file_keeps_its_meaning_and_is_warned_about_once_a_key() {
        let one = read(&entry("rooms = [\"tasks\"]")).unwrap().remove(0);
        let claims = &one.principal.claims;
        assert_eq!((&claims.users, &claims.browser_sessions, claims.global), (&Scope::All, &Scope::All, true));
        let warning = one.warning().unwrap();
        assert!(warning.contains("\"a\"") && warning.contains("users, browser_sessions, global"), "{warning}");
        assert!(warning.contains("--upgrade") && !warning.contains('\n'), "{warning}");
        let named = read(&entry("users = []\nbrowser_sessions = []")).unwrap().remove(0);
        assert_eq!((&named.principal.claims.users, named.implied.as_slice()), (&Scope::none(), &["global"][..]));
        let all = read(&entry("users = []\nbrowser_sessions = []\nglobal = false")).unwrap().remove(0);
        assert_eq!((all.warning(), all.principal.claims.global), (None, false));
    }

    #[test]
    fn auth_15_upgrading_writes_out_what_a_file_meant_and_keeps_its_comments() {
        let before = format!(
            "# Keys of production.\n\n# The build.\n{}\n# The rest.\n{}",
            entry("rooms = [\"tasks\"] # only these\nusers = [\"ada\"]"),
            entry("adws = [\"*\"]").replace("\"a\"", "\"b\"").replace(DIGEST, &"0".repeat(64)),
        );
        let after = upgrade(&before).unwrap().unwrap();
        for comment in ["# Keys of production.", "# The build.", "# only these", "# The rest."] {
            assert!(after.contains(comment), "{comment}: {after}");
        }
        let principals = |text: &str| read(text).unwrap().into_iter().map(|key| key.principal).collect::<Vec<_>>();
        assert_eq!(principals(&after), principals(&before));
        assert!(read(&after).unwrap().iter().all(|key| key.warning().is_none()), "{after}");
        assert_eq!(after.matches("browser_sessions = [\"*\"]").count(), 2, "{after}");
        assert_eq!(after.matches("users = [\"*\"]").count(), 1, "{after}");
        assert_eq!(upgrade(&after).unwrap(), None, "a second time changes nothing");
        let inline = format!("key = [{{ name = \"a\", sha256 = \"{DIGEST}\" }}]\n");
        assert_eq!(principals(&upgrade(&inline).unwrap().unwrap()), principals(&inline));
        assert!(upgrade("").is_err());
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
            (entry("users = [\"*\", \"ada\"]"), "beside other values"),
            (entry("users = [\"not one\"]"), "key \"a\": users:"),
            (entry("browser_sessions = [\"planning\"]"), "is a context"),
            (entry("browser_sessions = [\"~1\"]"), "key \"a\": browser_sessions:"),
            (entry("global = \"yes\""), "line 4:"),
            (format!("version = 3\n{}", entry("")), "version = 3"),
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
