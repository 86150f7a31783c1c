//! Who the cases act as. The keys are public and good for nothing but tests: a server that is to be checked is started with
//! exactly these, a server without authentication passes everything that needs no names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The principals, as `principals.json` has them.
const PRINCIPALS: &str = include_str!("../principals.json");

/// The principal of every step that names none: may do everything.
pub const OPERATOR: &str = "operator";

/// The word for a connection or request without any key.
pub const NOBODY: &str = "nobody";

/// Somebody with a key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The name that cases use.
    pub name: String,
    /// The key that is presented.
    pub token: String,
    /// The user the key makes its holder; the welcome says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The part played in contexts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What the holder may do beyond receiving.
    pub permissions: Vec<String>,
    /// The ADWs within reach; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adws: Option<Vec<String>>,
    /// The contexts within reach; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contexts: Option<Vec<String>>,
    /// The rooms within reach; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
    /// The users whose streams are within reach; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// The browser sessions within reach; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser_sessions: Option<Vec<String>>,
    /// Whether what is for everyone is within reach; it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<bool>,
    /// Whether the server does not know this key: for cases about refusal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// The principals, by name.
#[derive(Clone, Debug)]
pub struct Principals(BTreeMap<String, Principal>);

impl Principals {
    /// The built-in ones.
    ///
    /// # Errors
    /// The built-in file is damaged; a test sees to it that it is not.
    pub fn builtin() -> serde_json::Result<Self> {
        let list: Vec<Principal> = serde_json::from_str(PRINCIPALS)?;
        Ok(Principals(list.into_iter().map(|principal| (principal.name.clone(), principal)).collect()))
    }

    /// Presents another key wherever a case acts as the operator.
    #[must_use]
    pub fn with_operator_token(mut self, token: &str) -> Self {
        if let Some(operator) = self.0.get_mut(OPERATOR) {
            token.clone_into(&mut operator.token);
        }
        self
    }

    /// The principal of this name.
    pub fn named(&self, name: &str) -> Option<&Principal> {
        self.0.get(name)
    }

    /// Everybody whose key the server is to know.
    pub fn known(&self) -> impl Iterator<Item = &Principal> {
        self.0.values().filter(|principal| !principal.unknown)
    }
}
