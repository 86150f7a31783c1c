//! Who somebody is, as a trait (AUTH-01), and the two authenticators that need nothing else: none, and API keys.

use std::{fmt, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use eventwire_protocol::{Claims, ErrorBody, ErrorCode, Permission, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::state::{hex, unhex};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for comparing it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What somebody shows to say who they are.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A token, from `Authorization: Bearer`, the subprotocol list or `authenticate`.
    pub token: Option<Secret>,
    /// The address of the peer, as the socket sees it.
    pub peer: Option<IpAddr>,
}

/// Somebody who was recognized: what they may do, and under which name their idempotency keys stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// A name that no other principal has.
    pub name: Arc<str>,
    /// What they may do.
    pub claims: Claims,
    /// What they were recognized by.
    pub credential: Credential,
    /// Whether credentials were shown and accepted. Without any, work is counted for the peer address (LIMIT-04).
    pub authenticated: bool,
    /// The address that the credentials were shown from, where the transport has one.
    pub peer: Option<IpAddr>,
}

impl Principal {
    /// Somebody whose credentials have no end and no name of their own.
    pub fn new(name: impl Into<Arc<str>>, claims: Claims) -> Self {
        let credential = Credential { kind: CredentialKind::ApiKey, ..Credential::default() };
        Self { name: name.into(), claims, credential, authenticated: true, peer: None }
    }

    /// A peer without credentials.
    pub fn anonymous(claims: Claims) -> Self {
        let credential = Credential { kind: CredentialKind::Absent, ..Credential::default() };
        Self { authenticated: false, credential, ..Self::new("anonymous", claims) }
    }
}

/// What is known of the credentials that somebody showed: how long they hold, and by what they can be taken back
/// (AUTH-11, AUTH-13). Nothing in it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// What was shown.
    pub kind: CredentialKind,
    /// The name under which a revocation finds it: the `jti` of a token, the name of an API key.
    pub id: Option<Arc<str>>,
    /// Since when it holds. API keys do not say.
    pub issued_at: Option<Time>,
    /// When the hub first saw it, for logins: the cookie of an application often has no date of its own.
    pub first_seen: Option<Time>,
    /// Until when it holds. API keys have no end.
    pub expires_at: Option<Time>,
    /// The key that vouches for it. Where the key is withdrawn, the credentials end (AUTH-18).
    pub key: Option<Thumbprint>,
}

/// What kind of credentials were shown. It decides how their age is judged and what a revocation does to them (AUTH-13).
///
/// The default is the kind that is judged most strictly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A signed token: it says when it was issued and when it ends.
    #[default]
    Token,
    /// A login that an application vouches for, with the end that the application gives it.
    Login,
    /// An API key: it has no date of issue, and is revoked by its name or by taking it out of its file.
    ApiKey,
    /// None were shown.
    Absent,
}

/// Names a key that vouches for credentials: the signing key of a token, or an API key itself. A SHA-256 digest, from which the
/// key cannot be found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint of a signing key, by its JWK thumbprint (RFC 7638).
    pub fn of_signing_key(jwk_thumbprint: &str) -> Self {
        Self::of("signing key", jwk_thumbprint.as_bytes())
    }

    /// The thumbprint of an API key, by its digest.
    pub fn of_api_key(digest: &KeyDigest) -> Self {
        Self::of("api key", &digest.0)
    }

    /// The thumbprint of a key together with what it grants: with other grants it is another.
    fn granting(self, principal: &Principal) -> Self {
        let Principal { name, claims, credential, .. } = principal;
        Self::of(
            "grants",
            &[&self.0[..], format!("{name:?} {claims:?} {:?}", credential.expires_at).as_bytes()].concat(),
        )
    }

    /// Keys of different kinds never have the same one.
    fn of(kind: &str, bytes: &[u8]) -> Self {
        Self(Sha256::new().chain_update(kind).chain_update([0]).chain_update(bytes).finalize().into())
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("a thumbprint is 64 hexadecimal digits"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thumbprint(..)")
    }
}

/// A key that no longer holds as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupersededKey {
    /// Its thumbprint, with the grants that it had.
    pub key: Thumbprint,
    /// What became of it.
    pub change: KeyChange,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It is no longer accepted.
    Withdrawn,
    /// It is accepted, and grants something else.
    Regranted,
}

/// Recognizes people and programs.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who shows these credentials.
    ///
    /// # Errors
    /// `unauthorized` when they are missing or wrong, without saying which.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody>;

    /// Whether strangers are turned away. A listener that others can reach needs an authenticator that does.
    fn authenticates(&self) -> bool;

    /// Whether the credential of this name never ends by itself, so that its revocation has to be remembered for good.
    fn is_permanent(&self, _id: &str) -> bool {
        false
    }

    /// The key that has this name now, of those that never end by themselves. Its revocation by name leaves a later key of the
    /// same name alone.
    fn key_named(&self, _id: &str) -> Option<Thumbprint> {
        None
    }

    /// Whether a key still vouches for credentials. An authenticator whose keys can be withdrawn says no for those that were,
    /// and its owner then calls [`Hub::withdraw_key`](crate::Hub::withdraw_key) (AUTH-18).
    fn accepts_key(&self, _key: &Thumbprint) -> bool {
        true
    }
}

/// Nobody has to say who they are.
#[derive(Clone, Debug)]
pub struct NoAuthentication {
    claims: Claims,
    /// Of peers on other machines, where they have fewer.
    elsewhere: Option<Claims>,
}

impl NoAuthentication {
    /// For a listener that only this machine reaches: everybody may do everything.
    pub fn loopback() -> Self {
        Self { claims: Claims::loopback(), elsewhere: None }
    }

    /// For a listener that this machine alone reaches, and trusted proxies for others: peers on this machine may do everything,
    /// others what [`insecure`](Self::insecure) grants.
    pub fn by_address() -> Self {
        Self { claims: Claims::loopback(), elsewhere: Some(Self::insecure().claims) }
    }

    /// For a listener that others reach, when the operator insists: everybody may publish and subscribe, nobody may
    /// observe, administrate or read verbatim output.
    pub fn insecure() -> Self {
        let mut claims = Claims::anonymous();
        claims.permissions.insert(Permission::Publish);
        Self { claims, elsewhere: None }
    }
}

#[async_trait]
impl Authenticator for NoAuthentication {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let is_elsewhere = credentials.peer.is_some_and(|peer| !peer.to_canonical().is_loopback());
        let claims = self.elsewhere.as_ref().filter(|_| is_elsewhere).unwrap_or(&self.claims);
        Ok(Principal::anonymous(claims.clone()))
    }

    fn authenticates(&self) -> bool {
        false
    }
}

/// The SHA-256 digest of an API key, which is all that is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key. Keys are long and random, so a fast digest protects them.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// `invalid_id`.
    pub fn parse(text: &str) -> Result<Self, ErrorBody> {
        let wrong = || ErrorBody::new(ErrorCode::InvalidId, "sha256 must be 64 hexadecimal digits");
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            let pair = text.get(at..at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// API keys: long random tokens, kept as digests, each with its claims.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    keys: Vec<(KeyDigest, Principal)>,
}

impl ApiKeys {
    /// No key at all: everybody is turned away.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. It is revoked by the name of its principal, unless it has another.
    ///
    /// # Errors
    /// `conflict` when the name or the key is there already: two keys must not share idempotency keys.
    pub fn add(&mut self, digest: KeyDigest, mut principal: Principal) -> Result<(), ErrorBody> {
        if self.keys.iter().any(|(of, other)| *of == digest || other.name == principal.name) {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!("API key {:?} stands twice, by name or by value", principal.name),
            ));
        }
        principal.credential.id.get_or_insert_with(|| principal.name.clone());
        principal.credential.kind = CredentialKind::ApiKey;
        principal.credential.key = Some(Thumbprint::of_api_key(&digest).granting(&principal));
        self.keys.push((digest, principal));
        Ok(())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Which of these keys no longer hold as they are once `newer` are accepted in their place (AUTH-20).
    pub fn superseded_by(&self, newer: &ApiKeys) -> Vec<SupersededKey> {
        let superseded = self.keys.iter().filter_map(|(digest, principal)| {
            let key = principal.credential.key.filter(|key| !newer.accepts_key(key))?;
            let is_there = newer.keys.iter().any(|(of, _)| of == digest);
            Some(SupersededKey { key, change: if is_there { KeyChange::Regranted } else { KeyChange::Withdrawn } })
        });
        superseded.collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[async_trait]
impl Authenticator for ApiKeys {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let digest = credentials.token.as_ref().map(|token| KeyDigest::of(token.reveal()));
        // Every key is compared, in constant time, so that the time tells nothing about which one was close.
        let found = self.keys.iter().filter(|(of, _)| digest.is_some_and(|it| bool::from(it.0.ct_eq(&of.0))));
        // Folded, not searched, for a search stops at the first hit.
        found.fold(None, |_, (_, principal)| Some(principal.clone())).ok_or_else(|| {
            ErrorBody::new(ErrorCode::Unauthorized, "a valid API key is needed: Authorization: Bearer <key>")
        })
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn is_permanent(&self, id: &str) -> bool {
        self.keys.iter().any(|(_, principal)| principal.credential.id.as_deref() == Some(id))
    }

    fn key_named(&self, id: &str) -> Option<Thumbprint> {
        let named = self.keys.iter().find(|(_, principal)| principal.credential.id.as_deref() == Some(id));
        named.and_then(|(_, principal)| principal.credential.key)
    }

    fn accepts_key(&self, key: &Thumbprint) -> bool {
        self.keys.iter().any(|(_, principal)| principal.credential.key == Some(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(name: &str) -> Principal {
        Principal::new(name, Claims::anonymous())
    }

    #[tokio::test]
    async fn auth_01_an_api_key_is_recognized_and_anything_else_is_not() {
        let mut keys = ApiKeys::new();
        keys.add(KeyDigest::of("key-a"), principal("a")).unwrap();
        keys.add(KeyDigest::of("key-b"), principal("b")).unwrap();
        let ask = |token: Option<&str>| {
            let keys = keys.clone();
            let credentials = Credentials { token: token.map(Secret::new), peer: None };
            async move { keys.authenticate(&credentials).await }
        };
        assert_eq!(&*ask(Some("key-b")).await.unwrap().name, "b");
        for token in [None, Some(""), Some("key-c"), Some("key-a ")] {
            assert_eq!(ask(token).await.unwrap_err().code, ErrorCode::Unauthorized);
        }
        assert!(keys.clone().add(KeyDigest::of("key-a"), principal("c")).is_err());
        assert!(keys.clone().add(KeyDigest::of("key-c"), principal("a")).is_err());
    }

    #[test]
    fn auth_20_keys_that_are_gone_or_grant_something_else_are_superseded_and_no_others() {
        let keys = |entries: &[(&str, Principal)]| {
            let mut keys = ApiKeys::new();
            for (key, principal) in entries {
                keys.add(KeyDigest::of(key), principal.clone()).unwrap();
            }
            keys
        };
        let more = |name: &str| {
            let mut claims = Claims::anonymous();
            claims.permissions.insert(Permission::Publish);
            Principal::new(name, claims)
        };
        let ending = |name: &str| {
            let mut principal = principal(name);
            principal.credential.expires_at = Some(Time::from_unix_micros(1));
            principal
        };
        let older = keys(&[("key-a", principal("a")), ("key-b", principal("b")), ("key-c", principal("c"))]);
        let changes = |newer: &ApiKeys| older.superseded_by(newer).iter().map(|it| it.change).collect::<Vec<_>>();
        assert_eq!(
            changes(&keys(&[("key-c", principal("c")), ("key-a", principal("a")), ("key-b", principal("b"))])),
            []
        );
        assert_eq!(changes(&keys(&[("key-a", principal("a")), ("key-c", principal("c"))])), [KeyChange::Withdrawn]);
        // The name of one and the key of another is another.
        assert_eq!(
            changes(&keys(&[("key-a", principal("a")), ("key-d", principal("b")), ("key-c", principal("c"))])),
            [KeyChange::Withdrawn]
        );
        let changed = keys(&[("key-a", more("a")), ("key-b", ending("b")), ("key-c", principal("other"))]);
        assert_eq!(changes(&changed), [KeyChange::Regranted; 3]);
        assert_eq!(changed.superseded_by(&older).len(), 3);
    }

    #[test]
    fn auth_01_digests_read_back_as_written_and_secrets_are_not_printed() {
        let digest = KeyDigest::of("key");
        assert_eq!(KeyDigest::parse(&digest.to_string()).unwrap(), digest);
        for text in ["", "zz", &"g".repeat(64), &"0".repeat(63), &"+f".repeat(32), &"\u{e9}".repeat(32)] {
            assert!(KeyDigest::parse(text).is_err(), "{text}");
        }
        assert!(!format!("{:?}", Secret::new("hush")).contains("hush"));
    }
}
