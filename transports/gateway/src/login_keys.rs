//! The key that the tokens of Product Demo's users are signed with: read again like other credentials (AUTH-20).

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use eventwire_hub::{Authenticator, Credentials, NoAuthentication, Principal, Secret, Thumbprint};
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_systems::product::{JwtUsers, ResolvedUser, Shown, UserResolver};

use crate::config::Settings;
use crate::credential_file;
use crate::jwt::key_file_holds;

/// Reads a `product_jwt_key_file`.
///
/// # Errors
/// What is wrong, in one line that begins with the path and does not repeat the file.
pub(crate) fn read(file: &Path) -> Result<JwtUsers, String> {
    let text = credential_file::read_as(file, key_file_holds)?;
    users_of(text.trim()).map_err(|error| format!("{}: {}", file.display(), error.message))
}

/// The algorithm follows from the key, and from nothing that a token says.
pub(crate) fn users_of(key: &str) -> Result<JwtUsers, ErrorBody> {
    if key.contains("PRIVATE KEY-----") {
        let what = "this is a private key; it belongs to the application, and its public half here";
        return Err(ErrorBody::new(ErrorCode::InvalidPayload, what));
    }
    if !key.starts_with("-----BEGIN") {
        return JwtUsers::hs256(&Secret::new(key));
    }
    let pem = key.as_bytes();
    JwtUsers::rs256(pem).or_else(|_| JwtUsers::es256(pem)).or_else(|_| JwtUsers::eddsa(pem))
}

/// Resolves users by their tokens, with a key that can be replaced.
#[derive(Debug)]
pub(crate) struct LoginKeys {
    users: RwLock<Arc<JwtUsers>>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl LoginKeys {
    pub(crate) fn new(users: JwtUsers, settings: &Settings) -> Self {
        let (issuer, audience) = (settings.product_jwt_issuer.clone(), settings.product_jwt_audience.clone());
        let users = RwLock::new(Arc::new(expecting(users, issuer.as_deref(), audience.as_deref())));
        Self { users, issuer, audience }
    }

    fn users(&self) -> Arc<JwtUsers> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Accepts tokens by this key from now on. Gives the key that is withdrawn, if it is another.
    pub(crate) fn replace(&self, users: JwtUsers) -> Option<Thumbprint> {
        let users = Arc::new(expecting(users, self.issuer.as_deref(), self.audience.as_deref()));
        let key = users.key();
        let before = std::mem::replace(&mut *self.users.write().unwrap_or_else(PoisonError::into_inner), users);
        (before.key() != key).then(|| before.key())
    }

    /// Whether tokens are accepted by this key.
    pub(crate) fn accepts_key(&self, key: &Thumbprint) -> bool {
        self.users().key() == *key
    }
}

/// The authenticator of a gateway without API keys and tokens. Logins of Product Demo still have a key, which can be withdrawn
/// (AUTH-18).
#[derive(Debug)]
pub(crate) struct OpenGateway {
    pub(crate) grants: NoAuthentication,
    pub(crate) logins: Option<Arc<LoginKeys>>,
}

#[async_trait]
impl Authenticator for OpenGateway {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        self.grants.authenticate(credentials).await
    }

    fn authenticates(&self) -> bool {
        self.grants.authenticates()
    }

    fn accepts_key(&self, key: &Thumbprint) -> bool {
        self.logins.as_ref().is_some_and(|logins| logins.accepts_key(key))
    }
}

fn expecting(users: JwtUsers, issuer: Option<&str>, audience: Option<&str>) -> JwtUsers {
    let users = match issuer {
        Some(issuer) => users.issued_by(issuer),
        None => users,
    };
    match audience {
        Some(audience) => users.for_audience(audience),
        None => users,
    }
}

#[async_trait]
impl UserResolver for LoginKeys {
    async fn resolve(&self, shown: &Shown) -> Result<Option<ResolvedUser>, ErrorBody> {
        self.users().resolve(shown).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_18_without_api_keys_a_withdrawn_login_key_is_refused() {
        let users = |secret: &str| users_of(secret).unwrap();
        let logins = Arc::new(LoginKeys::new(users("first-key-of-logins-0123456789abcdef"), &Settings::default()));
        let gateway = OpenGateway { grants: NoAuthentication::loopback(), logins: Some(Arc::clone(&logins)) };
        let before = users("first-key-of-logins-0123456789abcdef").key();
        assert!(gateway.accepts_key(&before));
        assert_eq!(logins.replace(users("second-key-of-logins-0123456789abcdef")), Some(before));
        assert!(!gateway.accepts_key(&before));
    }
}
