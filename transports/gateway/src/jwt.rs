//! JSON Web Tokens as credentials (AUTH-10): the keys that verify them, and what their claims grant.
//!
//! An application that knows its users signs a short-lived token for each, and this is where such a token becomes a
//! [`Principal`]. Nothing of a token is used before its signature holds. Which algorithm a key is for is said by the key and
//! never by the token, so that the public half of an RSA key is no secret for HS256 to anybody. What a token does not grant is
//! refused, and a word that is not known is an error.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use eventwire_hub::handshake::MAX_CREDENTIAL_ID_BYTES;
use eventwire_hub::{Authenticator, Credential, CredentialKind, Credentials, Principal, Thumbprint};
use eventwire_protocol::Time;
use eventwire_protocol::dialect::product_users::ProductUsers;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_protocol::frame::read_strict;
use eventwire_systems::token_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::api_keys::{EntryPermission, EntryRole, Grants, GrantsVersion};
use crate::config::one_line;
use crate::credential_file::Holds;
use crate::jwks::Refresh;
use crate::keyring::Keyring;
use crate::login_keys::LoginKeys;

/// Fewest bytes of a secret for HS256 (RFC 7518, section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;
/// Fewest bytes of an RSA modulus: 2048 bits (RFC 7518, section 3.3).
const MIN_RSA_BYTES: usize = 256;
/// Most keys in a file.
const MAX_KEYS: usize = 64;
/// The members of a JWK that only its issuer may have (RFC 7518, section 6; `priv`: draft-ietf-cose-dilithium).
const PRIVATE_PARTS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// What is expected of a token beside its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectations {
    /// The issuer (`iss`); unset, any whose signature holds.
    pub issuer: Option<String>,
    /// The audience (`aud`); unset, a token that names one was made for somebody else.
    pub audience: Option<String>,
    /// The claim with what it grants.
    pub claim: String,
    /// What a token grants of the kinds that it does not name.
    pub grants: GrantsVersion,
    /// How far clocks may be apart.
    pub leeway: Duration,
}

/// The keys of a file, by the algorithm that each is for.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    /// The same however the file is written: PEM, JWK, with or without a name.
    thumbprint: Thumbprint,
}

impl Key {
    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Result<Self, String> {
        let jwk = Jwk::from_decoding_key(&key, None).and_then(|jwk| jwk.thumbprint(ThumbprintHash::SHA256));
        let jwk = jwk.map_err(|_| "its parameters cannot be read".to_owned())?;
        Ok(Self { id, algorithm, key, thumbprint: Thumbprint::of_signing_key(&jwk) })
    }
}

impl Keys {
    /// No keys, until those of an issuer are known.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads a file: a JWK set or one JWK, a public key in PEM (RSA for RS256, P-256 for ES256, Ed25519 for EdDSA), else a secret
    /// for HS256.
    ///
    /// # Errors
    /// What is wrong with it, in one line that does not repeat it.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::of_jwks(text, Place::File);
        }
        let (algorithm, key) = if text.contains("-----BEGIN") { of_pem(text)? } else { of_secret(text)? };
        Ok(Self(vec![Key::new(None, algorithm, key)?]))
    }

    /// Reads a JWK set that an issuer publishes. A secret in it is public, so it is refused.
    ///
    /// # Errors
    /// As [`Keys::read`].
    pub(crate) fn published(text: &str) -> Result<Self, String> {
        Self::of_jwks(text, Place::Published)
    }

    fn of_jwks(text: &str, place: Place) -> Result<Self, String> {
        // Readers differ in which of two equal members counts, so none is taken (RFC 7517, section 4).
        read_strict(text.as_bytes(), text.len()).map_err(|error| one_line(&error.message))?;
        let value: Value = serde_json::from_str(text).map_err(|error| format!("not readable as JSON: {error}"))?;
        let set = match value.get("keys") {
            Some(Value::Array(set)) => set.clone(),
            Some(_) => return Err("keys must be an array of JWKs".to_owned()),
            None => vec![value],
        };
        if set.len() > MAX_KEYS {
            return Err(format!("{} keys; at most {MAX_KEYS} are read", set.len()));
        }
        let keys = set.into_iter().filter_map(|key| of_jwk(key, place).transpose()).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err("no key in it is for verifying RS256, ES256, EdDSA or HS256".to_owned());
        }
        Ok(Self(keys))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key of this thumbprint is among them.
    fn contains(&self, thumbprint: &Thumbprint) -> bool {
        self.0.iter().any(|key| key.thumbprint == *thumbprint)
    }

    /// The keys that may have signed a token with this header: those for its algorithm, and of these the one it names.
    fn of<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| {
            key.algorithm == header.alg
                && match (&key.id, &header.kid) {
                    (Some(id), Some(named)) => id == named,
                    _ => true,
                }
        })
    }
}

/// Where a JWK set was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Published,
}

fn of_pem(text: &str) -> Result<(Algorithm, DecodingKey), String> {
    if text.contains("PRIVATE KEY-----") {
        return Err("this is a private key; it belongs to the issuer, and its public half here".to_owned());
    }
    if text.matches("-----BEGIN").count() > 1 {
        return Err("more than one PEM block; several keys are written as a JWK set".to_owned());
    }
    if let Ok(key) = DecodingKey::from_ed_pem(text.as_bytes()) {
        return Ok((Algorithm::EdDSA, key));
    }
    if let Ok(key) = DecodingKey::from_ec_pem(text.as_bytes()) {
        return match is_usable(&key, Algorithm::ES256) {
            true => Ok((Algorithm::ES256, key)),
            false => Err("an EC key needs the curve P-256 (ES256)".to_owned()),
        };
    }
    let Ok(key) = DecodingKey::from_rsa_pem(text.as_bytes()) else {
        return Err("not the PEM text of a public RSA, P-256 or Ed25519 key".to_owned());
    };
    if key.try_get_as_bytes().is_ok_and(|der| der.len() < MIN_RSA_BYTES) {
        return Err("an RSA key needs at least 2048 bits".to_owned());
    }
    Ok((Algorithm::RS256, key))
}

fn of_secret(text: &str) -> Result<(Algorithm, DecodingKey), String> {
    if text.starts_with("ssh-") {
        return Err("this is a public key as ssh writes it; write it as PEM".to_owned());
    }
    if text.len() < MIN_SECRET_BYTES {
        return Err(format!("a secret for HS256 needs at least {MIN_SECRET_BYTES} bytes"));
    }
    Ok((Algorithm::HS256, DecodingKey::from_secret(text.as_bytes())))
}

/// What a file with the keys of tokens holds: public keys only, or a secret. What cannot be read is taken for a secret.
pub(crate) fn key_file_holds(text: &str) -> Holds {
    let text = text.trim_start();
    let public = if text.starts_with('{') {
        serde_json::from_str::<Value>(text).is_ok_and(|value| !has_secret(&value))
    } else {
        text.starts_with("-----BEGIN") && !text.contains("PRIVATE KEY-----")
    };
    if public { Holds::Public } else { Holds::Secret }
}

/// Whether a JWK, or one of a set, has a secret or private part.
fn has_secret(value: &Value) -> bool {
    let set = value.get("keys").and_then(Value::as_array);
    set.map_or_else(|| std::slice::from_ref(value), Vec::as_slice).iter().any(|key| {
        let parts = PRIVATE_PARTS.iter().copied().chain(["k"]);
        parts.into_iter().any(|part| key.get(part).is_some())
    })
}

/// A key of a set; `None` when it is for something else.
fn of_jwk(value: Value, place: Place) -> Result<Option<Key>, String> {
    let name = value.get("kid").and_then(Value::as_str).unwrap_or("without kid").to_owned();
    let at = |what: &str| format!("key {name:?}: {what}");
    // Also one of another kind or use: a private key here was published by mistake.
    if let Some(part) = PRIVATE_PARTS.into_iter().find(|part| value.get(part).is_some()) {
        let what = format!("a private key (it has {part:?}); it belongs to the issuer, and its public half here");
        return Err(at(&what));
    }
    // A key of a kind that a later standard brings is not for us, and no reason to refuse the others.
    let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { return Ok(None) };
    let (algorithm, short) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let bytes = rsa.n.trim_end_matches('=').len() * 3 / 4;
            (Algorithm::RS256, (bytes < MIN_RSA_BYTES).then_some("an RSA key needs at least 2048 bits"))
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => (Algorithm::EdDSA, None),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => (Algorithm::ES256, None),
        AlgorithmParameters::OctetKey(_) if place == Place::Published => {
            return Err(at("a secret that is published is none"));
        }
        AlgorithmParameters::OctetKey(secret) => {
            let bytes = secret.value.trim_end_matches('=').len() * 3 / 4;
            (Algorithm::HS256, (bytes < MIN_SECRET_BYTES).then_some("a secret for HS256 needs at least 32 bytes"))
        }
        _ => return Ok(None),
    };
    let meant = match algorithm {
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        _ => KeyAlgorithm::HS256,
    };
    let other_use = jwk.common.public_key_use.as_ref().is_some_and(|its| *its != PublicKeyUse::Signature);
    if other_use || jwk.common.key_algorithm.as_ref().is_some_and(|its| *its != meant) {
        return Ok(None);
    }
    if let Some(what) = short {
        return Err(at(what));
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| at("its parameters cannot be read"))?;
    if !is_usable(&key, algorithm) {
        return Err(at("its parameters are no key"));
    }
    Key::new(jwk.common.key_id, algorithm, key).map(Some).map_err(|what| at(&what))
}

/// Whether a key can verify at all: a point that is not on its curve is found out here and not with the first token.
fn is_usable(key: &DecodingKey, algorithm: Algorithm) -> bool {
    jsonwebtoken::crypto::verify("", b"", key, algorithm).is_ok()
}

/// What the claim of a token grants: the members of an API key's entry. Absent means none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenGrants {
    /// Part in contexts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<EntryRole>,
    /// What it may do beyond listening.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<EntryPermission>,
    /// Agent runs it reaches; `*` for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adws: Vec<String>,
    /// Rooms it reaches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<String>,
    /// Contexts it reaches.
    #[serde(alias = "contexts", skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// Users whose streams it publishes to and observes; absent, as the setting `jwt_grants` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Browser sessions it publishes to and observes, `~` and the hash; absent as for users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_sessions: Option<Vec<String>>,
    /// Whether it publishes to `global`; absent as for users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<bool>,
    /// Nothing older is replayed to it, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_from: Option<String>,
}

/// Recognizes people by their tokens. The keys can be put in the place of others while it works.
#[derive(Debug)]
pub struct Jwt {
    keys: RwLock<Arc<Keys>>,
    expected: Expectations,
}

impl Jwt {
    /// Tokens that these keys verify.
    pub fn new(keys: Keys, expected: Expectations) -> Self {
        Self { keys: RwLock::new(Arc::new(keys)), expected }
    }

    /// Puts other keys in the place of these. Returns the thumbprints of those that are no longer accepted; what they vouch for
    /// ends with [`Hub::withdraw_key`](eventwire_hub::Hub::withdraw_key) (AUTH-18).
    pub fn replace_keys(&self, keys: Keys) -> Vec<Thumbprint> {
        let keys = Arc::new(keys);
        let before = std::mem::replace(&mut *self.keys.write().unwrap_or_else(PoisonError::into_inner), keys.clone());
        before.0.iter().map(|key| key.thumbprint).filter(|thumbprint| !keys.contains(thumbprint)).collect()
    }

    /// Whether a key of this thumbprint verifies tokens now.
    pub fn accepts_key(&self, thumbprint: &Thumbprint) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).contains(thumbprint)
    }

    /// Whether a token names a key that is not there, so that its issuer may have a newer one. Nothing else of it is looked at.
    pub(crate) fn names_unknown_key(&self, token: &str) -> bool {
        let Ok(header) = jsonwebtoken::decode_header(token) else { return false };
        let is_published = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        is_published && header.kid.is_some() && keys.0.iter().all(|key| key.id != header.kid)
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// `unauthorized`. Before the signature holds, nothing is said but that; afterwards the holder learns what is wrong with
    /// the token, which is the issuer's to mend. `unavailable` while the issuer's keys could not be fetched.
    pub fn verify(&self, token: &str) -> Result<Principal, ErrorBody> {
        let (claims, key) = self.verified(token)?;
        self.principal(&claims, key).map_err(|what| holds_but(&what))
    }

    /// The claims and the key that verified them, once the signature holds and the token is for here and for now.
    fn verified(&self, token: &str) -> Result<(Map<String, Value>, Thumbprint), ErrorBody> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| unknown())?;
        if !token_claims::header_is_unambiguous(token) {
            return Err(unknown());
        }
        // An extension that must be understood (RFC 7515, section 4.1.11) is not.
        if header.crit.is_some() {
            return Err(unknown());
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        if keys.is_empty() {
            let what = "the keys of the tokens' issuer could not be read yet; try again in a moment";
            return Err(ErrorBody::new(ErrorCode::Unavailable, what));
        }
        let mut outcome = Err(unknown());
        for key in keys.of(&header) {
            let validation = self.validation(key.algorithm);
            outcome = match jsonwebtoken::decode::<Box<RawValue>>(token, &key.key, &validation) {
                Ok(token) => {
                    let claims = token_claims::read(token.header.typ.as_deref(), &token.claims);
                    return claims.map(|claims| (claims, key.thumbprint)).map_err(|what| holds_but(&what));
                }
                Err(error) => Err(match error.kind() {
                    ErrorKind::ExpiredSignature => refused("the token has expired; come back with a new one"),
                    ErrorKind::ImmatureSignature => refused("the token is not valid yet (nbf)"),
                    ErrorKind::InvalidIssuer => refused("the token is of another issuer (iss)"),
                    ErrorKind::InvalidAudience => refused("the token is for another audience (aud)"),
                    ErrorKind::MissingRequiredClaim(claim) => refused(format!("the token has no {claim}")),
                    // A registered claim that occurs twice is found before the others are looked at.
                    ErrorKind::Json(error) => holds_but(&format!("its claims are not readable as JSON: {error}")),
                    ErrorKind::InvalidClaimFormat(claim) => holds_but(&format!("its {claim} is no time")),
                    _ => continue,
                }),
            };
        }
        outcome
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let Expectations { issuer, audience, leeway, .. } = &self.expected;
        let mut validation = Validation::new(algorithm);
        validation.leeway = leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn principal(&self, claims: &Map<String, Value>, key: Thumbprint) -> Result<Principal, String> {
        let text = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("its {name} is no text")),
        };
        let time = |name: &str| match claims.get(name).map(Value::as_f64) {
            None => Ok(None),
            // A NumericDate may have a fraction (RFC 7519, section 2). One after the year 9999 is no date.
            Some(Some(seconds)) if (0.0..253_402_300_800.0).contains(&seconds) => {
                #[expect(clippy::cast_possible_truncation, reason = "the bounds leave room")]
                let micros = (seconds * 1_000_000.0) as i64;
                Ok(Some(Time::from_unix_micros(micros)))
            }
            Some(_) => Err(format!("its {name} is no time")),
        };
        let id = text("jti")?;
        if id.is_some_and(|id| id.is_empty() || id.len() > MAX_CREDENTIAL_ID_BYTES) {
            return Err(format!("its jti does not have 1 to {MAX_CREDENTIAL_ID_BYTES} bytes"));
        }
        let user = text("sub")?.ok_or("it has no sub")?;
        let claim = &self.expected.claim;
        let grants = match claims.get(claim) {
            None => TokenGrants::default(),
            Some(granted @ Value::Object(_)) => {
                serde_json::from_value(granted.clone()).map_err(|error| format!("its claim {claim}: {error}"))?
            }
            Some(_) => return Err(format!("its claim {claim} is no object")),
        };
        let permissions: BTreeSet<_> = grants.permissions.iter().map(|it| (*it).into()).collect();
        let claims = Grants {
            user: Some(user),
            role: grants.role,
            permissions,
            adws: &grants.adws,
            rooms: &grants.rooms,
            sessions: &grants.sessions,
            users: grants.users.as_deref(),
            browser_sessions: grants.browser_sessions.as_deref(),
            global: grants.global,
            version: self.expected.grants,
            history_from: grants.history_from.as_deref(),
        };
        let claims = claims.claims().map_err(|what| format!("its claims: {what}"))?;
        let credential = Credential {
            kind: CredentialKind::Token,
            id: id.map(Into::into),
            // The hub judges the age, by its own clock.
            issued_at: time("iat")?,
            first_seen: None,
            expires_at: time("exp")?,
            key: Some(key),
        };
        Ok(Principal { credential, ..Principal::new(format!("jwt:{user}"), claims) })
    }
}

fn refused(message: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unauthorized, message.into())
}

/// What the holder of a token learns that is signed rightly and cannot be taken.
fn holds_but(what: &str) -> ErrorBody {
    let what: String = one_line(what).chars().filter(|c| !c.is_control()).take(300).collect();
    refused(format!("the token's signature holds, but {what}"))
}

fn unknown() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unauthorized, "valid credentials are needed: Authorization: Bearer <API key or token>")
}

/// API keys and tokens, whichever are shown.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// The API keys.
    pub keys: Option<Arc<Keyring>>,
    /// The tokens.
    pub tokens: Option<Arc<Jwt>>,
    /// The key of the tokens that users of Product Demo have.
    pub(crate) logins: Option<Arc<LoginKeys>>,
    /// Where newer keys of tokens come from, if an issuer publishes them.
    pub(crate) issuer: Option<Arc<Refresh>>,
    /// Whether logins of Product Demo are users of their own, which no key and no token may show.
    pub product_users: ProductUsers,
}

impl Accepted {
    /// Tokens and no API keys.
    pub fn of_tokens(tokens: Arc<Jwt>) -> Self {
        Self { tokens: Some(tokens), ..Self::default() }
    }

    async fn recognize(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        if let Some(keys) = &self.keys {
            let known = keys.authenticate(credentials).await;
            if known.is_ok() || self.tokens.is_none() {
                return known;
            }
        }
        let (Some(tokens), Some(token)) = (&self.tokens, &credentials.token) else { return Err(unknown()) };
        let judged = tokens.verify(token.reveal());
        match &self.issuer {
            Some(issuer) if judged.is_err() && tokens.names_unknown_key(token.reveal()) => {
                match issuer.for_unknown_key().await {
                    true => tokens.verify(token.reveal()),
                    false => judged,
                }
            }
            _ => judged,
        }
    }
}

#[async_trait]
impl Authenticator for Accepted {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let principal = self.recognize(credentials).await?;
        match &principal.claims.user {
            Some(user) if self.product_users.reserves(user) => Err(refused(format!(
                "{user} is a user of Product Demo, whose logins no key and no token can show (product_users)"
            ))),
            _ => Ok(principal),
        }
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn is_permanent(&self, id: &str) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.is_permanent(id))
    }

    fn key_named(&self, id: &str) -> Option<Thumbprint> {
        self.keys.as_ref().and_then(|keys| keys.key_named(id))
    }

    fn accepts_key(&self, key: &Thumbprint) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.accepts_key(key))
            || self.tokens.as_ref().is_some_and(|tokens| tokens.accepts_key(key))
            || self.logins.as_ref().is_some_and(|logins| logins.accepts_key(key))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use eventwire_hub::{ApiKeys, KeyDigest, Secret};
    use eventwire_protocol::claims::{Claims, Permission, Role, Scope};
    use jsonwebtoken::EncodingKey;
    use serde_json::json;

    use std::time::SystemTime;

    use super::*;

    const SECRET: &str = "a secret of at least thirty-two bytes";
    const ED_PRIVATE: &str = include_str!("../tests/keys/ed25519.private.pem");
    const ED_PUBLIC: &str = include_str!("../tests/keys/ed25519.public.pem");
    const RSA_PRIVATE: &str = include_str!("../tests/keys/rsa.private.pem");
    const RSA_PUBLIC: &str = include_str!("../tests/keys/rsa.public.pem");
    const EC_PRIVATE: &str = include_str!("../tests/keys/p256.private.pem");
    const EC_PUBLIC: &str = include_str!("../tests/keys/p256.public.pem");
    const EC_OTHER_CURVE: &str = include_str!("../tests/keys/secp256k1.public.pem");
    const RSA_SHORT: &str = include_str!("../tests/keys/rsa-short.public.pem");

    fn expected() -> Expectations {
        let (claim, leeway) = ("eventwire".into(), Duration::from_secs(5));
        Expectations { issuer: None, audience: None, claim, grants: GrantsVersion::Two, leeway }
    }

    fn jwt(file: &str) -> Jwt {
        Jwt::new(Keys::read(file).unwrap(), expected())
    }

    fn at(seconds: i64) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_secs()).unwrap() + seconds
    }

    /// A token for ada that holds for a minute, with these claims over it.
    fn token(header: &Header, key: &EncodingKey, more: Value) -> String {
        let mut claims = json!({"sub": "ada", "exp": at(60), "iat": at(0)});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        jsonwebtoken::encode(header, &claims, key).unwrap()
    }

    fn hs(more: Value) -> String {
        token(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(SECRET.as_bytes()), more)
    }

    fn rs(more: Value) -> String {
        token(&Header::new(Algorithm::RS256), &EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap(), more)
    }

    fn ed(kid: Option<&str>) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        token(&header, &EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap(), json!({}))
    }

    fn es(more: Value) -> String {
        token(&Header::new(Algorithm::ES256), &EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()).unwrap(), more)
    }

    fn told(jwt: &Jwt, token: &str) -> String {
        let error = jwt.verify(token).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthorized);
        error.message.into_owned()
    }

    #[test]
    fn auth_10_each_of_the_four_algorithms_is_verified_by_its_own_kind_of_key() {
        let (secret, rsa, ed25519, p256) = (jwt(SECRET), jwt(RSA_PUBLIC), jwt(ED_PUBLIC), jwt(EC_PUBLIC));
        let set = jwt(&json!({"keys": [jwk("e", EC_PUBLIC)]}).to_string());
        let tokens = [hs(json!({})), rs(json!({})), ed(None), es(json!({}))];
        assert!(set.verify(&tokens[3]).is_ok() && set.verify(&tokens[2]).is_err());
        for (at, jwt) in [&secret, &rsa, &ed25519, &p256].into_iter().enumerate() {
            for (of, token) in tokens.iter().enumerate() {
                assert_eq!(jwt.verify(token).is_ok(), at == of, "{at} {of}");
            }
        }
        let ada = secret.verify(&tokens[0]).unwrap();
        assert_eq!(ada.claims.user, Some("ada".parse().unwrap()));
        assert_eq!(&*ada.name, "jwt:ada");
        assert!(
            ada.credential.expires_at > Some(Time::from_unix_micros(at(0) * 1_000_000))
                && ada.credential.issued_at.is_some()
        );
    }

    #[test]
    fn auth_10_a_public_key_is_no_secret() {
        // What an attacker has who knows the public key: its text, in every form that it may be kept in.
        let forms = [RSA_PUBLIC.to_owned(), RSA_PUBLIC.trim().to_owned(), RSA_PUBLIC.replace('\n', "")];
        for form in forms {
            let forged = token(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(form.as_bytes()), json!({}));
            for file in [RSA_PUBLIC, ED_PUBLIC, EC_PUBLIC] {
                assert!(jwt(file).verify(&forged).is_err());
            }
        }
        let forged = token(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(ED_PUBLIC.as_bytes()), json!({}));
        assert!(jwt(ED_PUBLIC).verify(&forged).is_err());
        // A header that says that there is no signature, or another algorithm than the key's.
        let good = rs(json!({}));
        let (_, rest) = good.split_once('.').unwrap();
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJSUzUxMiJ9", "e30", ""] {
            assert!(jwt(RSA_PUBLIC).verify(&format!("{header}.{rest}")).is_err(), "{header}");
        }
        let (unsigned, _) = rest.split_once('.').unwrap();
        assert!(jwt(RSA_PUBLIC).verify(&format!("eyJhbGciOiJub25lIn0.{unsigned}.")).is_err());
    }

    #[test]
    fn auth_10_nothing_of_a_token_is_told_before_its_signature_holds() {
        let jwt = jwt(SECRET);
        let generic = told(&jwt, "no token");
        let good = hs(json!({}));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let expired = hs(json!({"exp": at(-3600)}));
        let (expired_body, _) = expired.rsplit_once('.').unwrap();
        for forged in [
            format!("{expired_body}.{signature}"),
            format!("{signed}."),
            format!("{header}.e30.{signature}"),
            format!("{signed}.{signature}A"),
            signed.to_owned(),
            String::new(),
            "..".to_owned(),
            format!("{good}.x"),
        ] {
            assert_eq!(told(&jwt, &forged), generic, "{forged}");
        }
        assert!(told(&jwt, &expired).contains("expired"));
        let crit = Header { crit: Some(vec!["exp".into()]), ..Header::new(Algorithm::HS256) };
        let crit = token(&crit, &EncodingKey::from_secret(SECRET.as_bytes()), json!({}));
        assert_eq!(told(&jwt, &crit), generic);
    }

    #[test]
    fn auth_10_a_token_is_for_here_and_for_now() {
        let strict = Jwt::new(
            Keys::read(SECRET).unwrap(),
            Expectations { issuer: Some("https://id".into()), audience: Some("events".into()), ..expected() },
        );
        let good = json!({"iss": "https://id", "aud": ["other", "events"]});
        strict.verify(&hs(good.clone())).unwrap();
        for (name, value, word) in [
            ("exp", json!(at(-10)), "expired"),
            ("exp", Value::Null, "no exp"),
            ("sub", Value::Null, "no sub"),
            ("nbf", json!(at(60)), "not valid yet"),
            ("iss", json!("https://evil"), "another issuer"),
            ("iss", Value::Null, "no iss"),
            ("aud", json!("other"), "another audience"),
            ("aud", Value::Null, "no aud"),
            ("iat", json!("now"), "iat is no time"),
            ("jti", json!(7), "jti is no text"),
            ("jti", json!(""), "jti does not have"),
            ("nbf", json!("later"), "nbf is no time"),
            ("iss", json!(["https://id", "https://evil"]), "iss is no text"),
            ("aud", json!(["events", 1]), "aud"),
            ("exp", json!(i64::MAX), "exp is no time"),
            ("sub", json!("no spaces"), "user:"),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            let said = told(&strict, &hs(claims));
            assert!(said.contains(word), "{name}: {said}");
        }
        // A little apart is near enough; without a setting, a token for somebody else is refused all the same.
        strict.verify(&hs(json!({"iss": "https://id", "aud": "events", "exp": at(-3), "nbf": at(3)}))).unwrap();
        assert!(told(&jwt(SECRET), &hs(json!({"aud": "somebody else"}))).contains("another audience"));
        // One that names an audience in a form that is none, too.
        for aud in ["1", "null", "{}", "[null]"] {
            let claims = format!(r#"{{"sub":"ada","iat":{},"exp":{},"aud":{aud}}}"#, at(0), at(60));
            assert!(told(&jwt(SECRET), &signed(r#"{"alg":"HS256"}"#, &claims)).contains("aud"), "{aud}");
        }
        jwt(SECRET).verify(&hs(json!({"iss": "anybody", "jti": "1", "more": {"unknown": true}}))).unwrap();
    }

    /// A token of exactly this header and these claims.
    fn signed(header: &str, claims: &str) -> String {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn auth_10_a_token_means_one_thing_or_nothing() {
        let jwt = jwt(SECRET);
        let times = format!(r#""iat":{},"exp":{}"#, at(0), at(60));
        let header = r#"{"alg":"HS256"}"#;
        jwt.verify(&signed(header, &format!(r#"{{"sub":"ada",{times}}}"#))).unwrap();
        // The holder learns it after the signature holds, and nothing before.
        for more in [
            r#""sub":"bob""#,
            r#""jti":"1","jti":"2""#,
            r#""eventwire":{},"eventwire":{"permissions":["admin"]}"#,
            r#""eventwire":{"rooms":["a"],"rooms":["*"]}"#,
            r#""other":{"a":1,"a":2}"#,
        ] {
            let claims = format!(r#"{{"sub":"ada",{times},{more}}}"#);
            let said = told(&jwt, &signed(header, &claims));
            assert!(said.contains("stands twice") || said.contains("duplicate field"), "{more}: {said}");
            let forged = signed(header, &claims).replacen('.', ".e", 1);
            assert_eq!(told(&jwt, &forged), told(&jwt, "no token"), "{more}");
        }
        let good = format!(r#"{{"sub":"ada",{times}}}"#);
        for header in [r#"{"alg":"HS256","alg":"HS256"}"#, r#"{"kid":"a","kid":"b","alg":"HS256"}"#] {
            assert_eq!(told(&jwt, &signed(header, &good)), told(&jwt, "no token"), "{header}");
        }
        assert!(told(&jwt, &signed(r#"{"alg":"HS256","typ":"logout+jwt"}"#, &good)).contains("typ"));
        jwt.verify(&signed(r#"{"alg":"HS256","typ":"at+jwt"}"#, &good)).unwrap();
    }

    #[test]
    fn auth_10_a_token_grants_what_it_names_and_nothing_else() {
        let granted = |claim: Value| jwt(SECRET).verify(&hs(json!({"jti": "t-1", "eventwire": claim})));
        let nothing = granted(json!({})).unwrap();
        assert_eq!(
            nothing.claims,
            Claims {
                user: Some("ada".parse().unwrap()),
                contexts: Scope::none(),
                adws: Scope::none(),
                rooms: Scope::none(),
                users: Scope::none(),
                browser_sessions: Scope::none(),
                global: false,
                ..Claims::anonymous()
            }
        );
        assert_eq!(nothing.credential.id.as_deref(), Some("t-1"));
        let much = granted(json!({
            "role": "agent", "permissions": ["publish", "adw_raw"], "adws": ["29fb6a3e"], "rooms": ["*"],
            "contexts": ["lobby"], "history_from": "2026-11-20T00:00:00Z",
        }));
        let much = much.unwrap().claims;
        assert_eq!(much.permissions, [Permission::Publish, Permission::AdwRaw].into());
        assert_eq!((much.role, &much.rooms), (Some(Role::Agent), &Scope::All));
        assert_eq!(much.adws, Scope::Only(["29fb6a3e".parse().unwrap()].into()));
        assert_eq!(much.contexts, Scope::Only(["lobby".parse().unwrap()].into()));
        assert_eq!(much.history_from.unwrap().to_string(), "2026-11-20T00:00:00Z");
        for claim in [
            json!({"permissions": ["root"]}),
            json!({"permissions": "publish"}),
            json!({"role": "admin"}),
            json!({"admin": true}),
            json!({"user": "bob"}),
            json!({"adws": ["../etc"]}),
            json!({"rooms": ["*", "x"]}),
            json!({"users": ["*", "x"]}),
            json!({"browser_sessions": ["planning"]}),
            json!({"global": "yes"}),
            json!({"history_from": "yesterday"}),
            json!(["publish"]),
            json!("publish"),
        ] {
            let error = granted(claim.clone()).unwrap_err();
            assert_eq!(error.code, ErrorCode::Unauthorized, "{claim}");
            assert!(error.message.contains("claim") && !error.message.contains('\n'), "{claim}: {}", error.message);
        }
        let elsewhere = Expectations { claim: "https://eventwire.example/grants".into(), ..expected() };
        let elsewhere = Jwt::new(Keys::read(SECRET).unwrap(), elsewhere);
        let namespaced = hs(json!({"https://eventwire.example/grants": {"permissions": ["observe"]}, "eventwire": 1}));
        assert!(elsewhere.verify(&namespaced).unwrap().claims.may(Permission::Observe));
    }

    #[test]
    fn auth_15_what_a_token_does_not_name_is_granted_as_jwt_grants_says() {
        let claims = |grants: GrantsVersion, claim: Value| {
            let jwt = Jwt::new(Keys::read(SECRET).unwrap(), Expectations { grants, ..expected() });
            jwt.verify(&hs(json!({"eventwire": claim}))).unwrap().claims
        };
        let reach = |claims: &Claims| (claims.users.clone(), claims.browser_sessions.clone(), claims.global);
        for claim in [json!({}), json!({"rooms": ["tasks"], "permissions": ["publish"]})] {
            assert_eq!(reach(&claims(GrantsVersion::One, claim.clone())), (Scope::All, Scope::All, true), "{claim}");
            assert_eq!(
                reach(&claims(GrantsVersion::Two, claim.clone())),
                (Scope::none(), Scope::none(), false),
                "{claim}"
            );
        }
        let named = json!({"users": ["ada"], "browser_sessions": [], "global": false});
        let ada = Scope::Only(["ada".parse().unwrap()].into());
        for grants in [GrantsVersion::One, GrantsVersion::Two] {
            assert_eq!(reach(&claims(grants, named.clone())), (ada.clone(), Scope::none(), false));
        }
    }

    /// The members of a JWK of a PEM key, as openssl prints them, taken from jsonwebtoken.
    fn jwk(kid: &str, pem: &str) -> Value {
        let (_, key) = of_pem(pem).unwrap();
        let jwk = Jwk::from_decoding_key(&key, None).unwrap();
        let mut value = serde_json::to_value(jwk).unwrap();
        value["kid"] = json!(kid);
        value
    }

    #[test]
    fn auth_10_of_a_set_the_key_is_chosen_that_the_token_names() {
        let set = json!({"keys": [jwk("old", ED_PUBLIC), {"kty": "quantum", "kid": "later"}]}).to_string();
        let tokens = jwt(&set);
        assert_eq!(tokens.key_count(), 1);
        assert!(tokens.verify(&ed(Some("old"))).is_ok() && tokens.verify(&ed(None)).is_ok());
        assert!(tokens.verify(&ed(Some("new"))).is_err(), "a name that no key has");
        assert!(jwt(ED_PUBLIC).verify(&ed(Some("anything"))).is_ok(), "a single key has no name");
        // Other keys in their place: the older token no longer holds.
        tokens.replace_keys(Keys::read(RSA_PUBLIC).unwrap());
        assert!(tokens.verify(&ed(Some("old"))).is_err() && tokens.verify(&rs(json!({}))).is_ok());
        // Names do not lead to a key of another kind.
        let both = json!({"keys": [jwk("a", ED_PUBLIC), {"kty": "oct", "kid": "a", "k": "YSBzZWNyZXQgb2YgYXQgbGVhc3QgdGhpcnR5LXR3byBieXRlcw", "alg": "HS256"}]});
        let both = jwt(&both.to_string());
        assert!(both.verify(&ed(Some("a"))).is_ok() && both.verify(&hs(json!({}))).is_ok());
    }

    #[test]
    fn auth_18_keys_that_are_no_longer_accepted_are_named_however_they_are_written() {
        let tokens = jwt(ED_PUBLIC);
        let key = tokens.verify(&ed(None)).unwrap().credential.key.unwrap();
        assert!(tokens.accepts_key(&key));
        // The same key as a JWK with a name, beside another one.
        let set = json!({"keys": [jwk("a", RSA_PUBLIC), jwk("b", ED_PUBLIC)]}).to_string();
        assert_eq!(tokens.replace_keys(Keys::read(&set).unwrap()), []);
        assert_eq!(tokens.verify(&ed(None)).unwrap().credential.key, Some(key));
        let rsa = tokens.verify(&rs(json!({}))).unwrap().credential.key.unwrap();
        assert_ne!(rsa, key);
        assert_eq!(tokens.replace_keys(Keys::read(SECRET).unwrap()), [rsa, key]);
        assert!(!tokens.accepts_key(&key) && !tokens.accepts_key(&rsa));
        assert_eq!(tokens.replace_keys(Keys::read(ED_PUBLIC).unwrap()).len(), 1);
        assert!(tokens.accepts_key(&key), "a key that comes back");
        assert!(!format!("{tokens:?}{key:?}").contains(SECRET));
    }

    #[test]
    fn auth_10_a_file_without_a_usable_key_is_refused_in_one_line() {
        let mut encryption = jwk("e", ED_PUBLIC);
        encryption["use"] = json!("enc");
        let private = |mut key: Value, part: &str| {
            key[part] = json!("AQAB");
            key
        };
        let mut other = jwk("o", ED_PUBLIC);
        other["crv"] = json!("X25519");
        for (file, word) in [
            (String::new(), "at least 32 bytes"),
            ("short".into(), "at least 32 bytes"),
            (ED_PRIVATE.into(), "private key"),
            (RSA_PRIVATE.into(), "private key"),
            (EC_PRIVATE.into(), "private key"),
            (EC_OTHER_CURVE.into(), "P-256"),
            (json!({"keys": [private(jwk("p", ED_PUBLIC), "d")]}).to_string(), "private key"),
            (json!({"keys": [jwk("a", ED_PUBLIC), private(jwk("p", RSA_PUBLIC), "p")]}).to_string(), "private key"),
            (private(jwk("p", EC_PUBLIC), "d").to_string(), "private key"),
            (json!({"keys": [jwk("a", ED_PUBLIC), {"kty": "quantum", "d": "x"}]}).to_string(), "private key"),
            (json!({"keys": [jwk("a", ED_PUBLIC), private(encryption.clone(), "d")]}).to_string(), "private key"),
            (json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]}).to_string(), "no key"),
            (r#"{"keys":[],"keys":[]}"#.into(), "twice"),
            (r#"{"kty":"oct","kty":"RSA"}"#.into(), "twice"),
            (RSA_SHORT.into(), "2048 bits"),
            (format!("{ED_PUBLIC}{RSA_PUBLIC}"), "JWK set"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(), "not the PEM text"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAA".into(), "as PEM"),
            ("{".into(), "not readable as JSON"),
            ("{}".into(), "no key in it"),
            (r#"{"keys":{}}"#.into(), "array"),
            (json!({"keys": [encryption]}).to_string(), "no key in it"),
            (json!({"keys": [other]}).to_string(), "no key in it"),
            (json!({"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}).to_string(), "at least 32 bytes"),
            (json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}).to_string(), "2048 bits"),
            (json!({"keys": vec![jwk("k", ED_PUBLIC); 65]}).to_string(), "at most 64"),
        ] {
            let told = Keys::read(&file).unwrap_err();
            assert!(told.contains(word) && !told.contains('\n'), "{word}: {told}");
        }
    }

    #[test]
    fn auth_21_a_key_file_is_a_secret_unless_it_holds_public_keys_alone() {
        for public in [ED_PUBLIC.to_owned(), RSA_PUBLIC.to_owned(), json!({"keys": [jwk("a", ED_PUBLIC)]}).to_string()]
        {
            assert_eq!(key_file_holds(&public), Holds::Public, "{public}");
        }
        let secret = json!({"kty": "oct", "k": "YSBzZWNyZXQgb2YgYXQgbGVhc3QgdGhpcnR5LXR3byBieXRlcw"});
        for secret in [
            SECRET.to_owned(),
            ED_PRIVATE.to_owned(),
            secret.to_string(),
            json!({"keys": [jwk("a", ED_PUBLIC), secret]}).to_string(),
            "{".to_owned(),
            String::new(),
        ] {
            assert_eq!(key_file_holds(&secret), Holds::Secret, "{secret}");
        }
    }

    #[test]
    fn auth_23_of_what_an_issuer_publishes_no_secret_is_taken() {
        let secret = json!({"kty": "oct", "kid": "s", "k": "YSBzZWNyZXQgb2YgYXQgbGVhc3QgdGhpcnR5LXR3byBieXRlcw"});
        let set = |keys: Value| Keys::published(&json!({ "keys": keys }).to_string());
        assert_eq!(set(json!([jwk("a", ED_PUBLIC), jwk("b", EC_PUBLIC)])).unwrap().len(), 2);
        assert!(set(json!([jwk("a", ED_PUBLIC), secret])).unwrap_err().contains("published"));
        assert!(Keys::published(ED_PUBLIC).is_err() && Keys::published(SECRET).is_err(), "a JWK set and nothing else");
        let unknown = jwt(&json!({"keys": [jwk("a", ED_PUBLIC)]}).to_string());
        assert!(unknown.names_unknown_key(&ed(Some("b"))));
        assert!(!unknown.names_unknown_key(&ed(Some("a"))) && !unknown.names_unknown_key(&ed(None)));
        assert!(!unknown.names_unknown_key(&hs(json!({}))) && !unknown.names_unknown_key("no token"));
        let none = Jwt::new(Keys::none(), expected());
        assert_eq!(none.verify(&ed(Some("a"))).unwrap_err().code, ErrorCode::Unavailable);
    }

    #[tokio::test]
    async fn auth_10_keys_and_tokens_work_beside_each_other() {
        let mut keys = ApiKeys::new();
        keys.add(KeyDigest::of("key-of-bob"), Principal::new("bob", Claims::anonymous())).unwrap();
        let keys = Arc::new(Keyring::new(keys));
        let both = Accepted { keys: Some(keys.clone()), tokens: Some(Arc::new(jwt(SECRET))), ..Accepted::default() };
        let ask = async |accepted: &Accepted, token: &str| {
            let shown = Credentials { token: Some(Secret::new(token)), peer: None };
            accepted.authenticate(&shown).await.map(|principal| principal.name.to_string()).map_err(|error| error.code)
        };
        assert_eq!(ask(&both, "key-of-bob").await.as_deref(), Ok("bob"));
        assert_eq!(ask(&both, &hs(json!({}))).await.as_deref(), Ok("jwt:ada"));
        assert_eq!(ask(&both, "key-of-eve").await, Err(ErrorCode::Unauthorized));
        assert_eq!(
            ask(&Accepted { keys: Some(keys), ..Accepted::default() }, &hs(json!({}))).await,
            Err(ErrorCode::Unauthorized)
        );
        let tokens = Accepted { tokens: both.tokens.clone(), ..Accepted::default() };
        assert_eq!(ask(&tokens, "key-of-bob").await, Err(ErrorCode::Unauthorized));
        assert!(tokens.authenticate(&Credentials::default()).await.is_err());
        assert!(both.is_permanent("bob") && !both.is_permanent("ada"));
    }

    #[tokio::test]
    async fn auth_17_no_token_shows_a_user_of_product_demo_where_these_are_others() {
        let show = async |product_users: ProductUsers, sub: &str| {
            let accepted = Accepted { tokens: Some(Arc::new(jwt(SECRET))), product_users, ..Accepted::default() };
            let shown = Credentials { token: Some(Secret::new(hs(json!({"sub": sub})))), peer: None };
            accepted.authenticate(&shown).await.map(|principal| principal.claims.user.unwrap().to_string())
        };
        assert_eq!(show(ProductUsers::Separate, "ada").await.unwrap(), "ada");
        assert_eq!(show(ProductUsers::Same, "product:ada").await.unwrap(), "product:ada");
        assert_eq!(show(ProductUsers::Separate, "product:ada").await.unwrap_err().code, ErrorCode::Unauthorized);
    }
}
