//! Who is behind a session cookie (PRD-01). The application knows; here is how it is asked.
//!
//! A resolver answers one of three things: who it is, that nobody it knows is behind this, or that it cannot tell at the
//! moment. The last is never taken for either of the others, and no user is ever made up from a cookie (B2).

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{Secret, Thumbprint, handshake, handshake::MAX_CREDENTIAL_ID_BYTES};
use eventwire_protocol::{ErrorBody, ErrorCode, Role, Time, UserId};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, ThumbprintHash},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::token_claims;

/// How long the application may take to say who somebody is.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(2);
/// Largest answer of the application that is read, in bytes.
const LOOKUP_BYTES: usize = 64 * 1024;
/// Longest `Cookie` header that is looked at, in bytes.
const MAX_COOKIE_BYTES: usize = 16 * 1024;
/// How far two clocks may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 5;

/// What a request shows to say whose it is. Never printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The header `Cookie`, whole.
    pub cookies: Option<Secret>,
    /// The value of the session cookie in it.
    pub session: Option<Secret>,
    /// The token in `Authorization: Bearer`.
    pub bearer: Option<Secret>,
}

impl Shown {
    /// What the headers of a request show. `name` is the session cookie's.
    pub fn read(headers: &HeaderMap, name: &str) -> Self {
        // HTTP/2 may split the header, HTTP/1 must not; either way the parts are one list (RFC 9113, section 8.2.3).
        let parts: Vec<&str> = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
        let cookies = Some(parts.join("; ")).filter(|text| !text.is_empty() && text.len() <= MAX_COOKIE_BYTES);
        let session = cookies.as_deref().and_then(|text| cookie(text, name)).map(Secret::new);
        let values = headers.get_all(header::AUTHORIZATION).into_iter().map(HeaderValue::as_bytes);
        let bearer = handshake::bearer(values).ok().flatten();
        Self { cookies: cookies.map(Secret::new), session, bearer }
    }

    /// Whether there is nothing to ask about.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The value of a cookie. Of two of the same name neither counts: who set the second is not known.
fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut values = header
        .split(';')
        .filter_map(|pair| pair.trim_matches(' ').split_once('='))
        .filter(|(of, _)| *of == name)
        .map(|(_, value)| value);
    values.next().filter(|value| !value.is_empty() && values.next().is_none())
}

/// What tells a login from others of its user, so that a revocation refuses it and lets a later one in (AUTH-13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginProof {
    /// What was believed: the value of the session cookie, as the application reads it, or the token. Only a digest is kept.
    pub shown: Secret,
    /// The name of the login (`jti`), by which it can be revoked alone.
    pub id: Option<Arc<str>>,
    /// When it began; `None` when the application does not say. Then it begins when it is first seen here.
    pub issued_at: Option<Time>,
    /// The key that signed it, if it is a token. Where the key is withdrawn, the login ends (AUTH-18).
    pub key: Option<Thumbprint>,
}

impl LoginProof {
    /// A login of which nothing is known but what it shows.
    pub fn of(shown: Secret) -> Self {
        Self { shown, id: None, issued_at: None, key: None }
    }
}

/// A cookie value as applications read it: without quotes and percent-encoding. One login must not look like several.
fn read_value(cookie: &Secret) -> Secret {
    let text = cookie.reveal();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Secret::new(percent_encoding::percent_decode_str(text).decode_utf8_lossy())
}

/// Somebody whom the application knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// The user. Events for `user:<this>` are theirs.
    pub user: UserId,
    /// The name to show to others.
    pub username: Option<String>,
    /// The part that the user plays in contexts.
    pub role: Option<Role>,
    /// When the login ends; `None` when it does not by itself.
    pub expires_at: Option<Time>,
    /// Which of the user's logins it is.
    pub proof: LoginProof,
}

/// Says who is behind what a request shows.
#[async_trait]
pub trait UserResolver: Send + Sync + 'static {
    /// Who it is; `None` when it is nobody that the application knows.
    ///
    /// # Errors
    /// `unavailable` when this cannot be told now. It is not taken for an answer.
    async fn resolve(&self, shown: &Shown) -> Result<Option<ResolvedUser>, ErrorBody>;
}

/// Knows nobody: what a server does that was not told how to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnowsNobody;

#[async_trait]
impl UserResolver for KnowsNobody {
    async fn resolve(&self, _: &Shown) -> Result<Option<ResolvedUser>, ErrorBody> {
        Ok(None)
    }
}

fn unavailable(message: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, message.into())
}

// ---------------------------------------------------------------------------------------------------------------
// Tokens
// ---------------------------------------------------------------------------------------------------------------

/// Logins that are JSON Web Tokens (RFC 7519), in the session cookie or in `Authorization`.
///
/// Nothing of a token is used before its signature holds, its algorithm is that of the key and never what the token says,
/// and a token without an end is refused.
#[derive(Clone)]
pub struct JwtUsers {
    key: Arc<DecodingKey>,
    thumbprint: Thumbprint,
    validation: Validation,
}

impl fmt::Debug for JwtUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtUsers").field("algorithms", &self.validation.algorithms).finish_non_exhaustive()
    }
}

/// What of a token is read: `sub` is the user.
#[derive(Deserialize)]
struct TokenClaims {
    sub: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    preferred_username: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    jti: Value,
    #[serde(default)]
    iat: Value,
    exp: u64,
}

impl JwtUsers {
    fn new(algorithm: Algorithm, key: DecodingKey) -> Result<Self, ErrorBody> {
        let jwk = Jwk::from_decoding_key(&key, None).and_then(|jwk| jwk.thumbprint(ThumbprintHash::SHA256));
        let wrong = |_| ErrorBody::new(ErrorCode::InvalidPayload, "the parameters of the key cannot be read");
        // Apart from the keys of other tokens, so that withdrawing one leaves the other alone.
        let thumbprint = Thumbprint::of_signing_key(&format!("product {}", jwk.map_err(wrong)?));
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Ok(Self { key: Arc::new(key), thumbprint, validation })
    }

    /// Names the key that tokens are verified with.
    pub fn key(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Tokens that were signed with a shared secret (HS256).
    ///
    /// # Errors
    /// `invalid_payload` when it has fewer than 32 bytes (RFC 7518, section 3.2).
    pub fn hs256(secret: &Secret) -> Result<Self, ErrorBody> {
        let bytes = secret.reveal().as_bytes();
        if bytes.len() < 32 {
            return Err(ErrorBody::new(ErrorCode::InvalidPayload, "a secret for HS256 needs at least 32 bytes"));
        }
        Self::new(Algorithm::HS256, DecodingKey::from_secret(bytes))
    }

    /// Tokens that were signed with an RSA key (RS256); `pem` is the public one.
    ///
    /// # Errors
    /// `invalid_payload` when it is none.
    pub fn rs256(pem: &[u8]) -> Result<Self, ErrorBody> {
        let wrong = |_| ErrorBody::new(ErrorCode::InvalidPayload, "not the PEM text of a public RSA key");
        DecodingKey::from_rsa_pem(pem).map_err(wrong).and_then(|key| Self::new(Algorithm::RS256, key))
    }

    /// Tokens that were signed with a key on the curve P-256 (ES256); `pem` is the public one.
    ///
    /// # Errors
    /// `invalid_payload` when it is none.
    pub fn es256(pem: &[u8]) -> Result<Self, ErrorBody> {
        let wrong = || ErrorBody::new(ErrorCode::InvalidPayload, "not the PEM text of a public P-256 key");
        let key = DecodingKey::from_ec_pem(pem).map_err(|_| wrong())?;
        // A point on another curve is found out here and not with the first token.
        jsonwebtoken::crypto::verify("", b"", &key, Algorithm::ES256).map_err(|_| wrong())?;
        Self::new(Algorithm::ES256, key)
    }

    /// Tokens that were signed with an Ed25519 key (EdDSA); `pem` is the public one.
    ///
    /// # Errors
    /// `invalid_payload` when it is none.
    pub fn eddsa(pem: &[u8]) -> Result<Self, ErrorBody> {
        let wrong = |_| ErrorBody::new(ErrorCode::InvalidPayload, "not the PEM text of a public Ed25519 key");
        DecodingKey::from_ed_pem(pem).map_err(wrong).and_then(|key| Self::new(Algorithm::EdDSA, key))
    }

    /// Takes only tokens of this issuer (`iss`).
    #[must_use]
    pub fn issued_by(mut self, issuer: &str) -> Self {
        self.validation.set_issuer(&[issuer]);
        self.validation.required_spec_claims.insert("iss".into());
        self
    }

    /// Takes only tokens for this audience (`aud`). Without it, a token that names any audience is refused, for it was
    /// made for somebody else.
    #[must_use]
    pub fn for_audience(mut self, audience: &str) -> Self {
        self.validation.set_audience(&[audience]);
        self.validation.required_spec_claims.insert("aud".into());
        self
    }
}

impl JwtUsers {
    /// The claims of a token that is signed rightly, is for here and now, and means one thing only (AUTH-10).
    fn claims(&self, token: &str) -> Option<TokenClaims> {
        let token = token.trim_ascii();
        if !token_claims::header_is_unambiguous(token) {
            return None;
        }
        let token = jsonwebtoken::decode::<Box<RawValue>>(token, &self.key, &self.validation).ok()?;
        let claims = token_claims::read(token.header.typ.as_deref(), &token.claims).ok()?;
        serde_json::from_value(Value::Object(claims)).ok()
    }
}

#[async_trait]
impl UserResolver for JwtUsers {
    async fn resolve(&self, shown: &Shown) -> Result<Option<ResolvedUser>, ErrorBody> {
        let Some(token) = shown.bearer.as_ref().or(shown.session.as_ref()) else { return Ok(None) };
        let shown = token.clone();
        let Some(claims) = self.claims(token.reveal()) else { return Ok(None) };
        let TokenClaims { sub, username, preferred_username, name, role, jti, iat, exp } = claims;
        let Ok(user) = sub.parse() else { return Ok(None) };
        Ok(Some(ResolvedUser {
            user,
            username: username.or(preferred_username).or(name),
            // A role that is not known grants nothing.
            role: role.and_then(|role| serde_json::from_value(Value::String(role)).ok()),
            expires_at: Some(Time::from_unix_micros(i64::try_from(exp.saturating_mul(1_000_000)).unwrap_or(i64::MAX))),
            proof: LoginProof {
                shown,
                // What is no name or no date says nothing; a login need not say either.
                id: jti.as_str().filter(|id| (1..=MAX_CREDENTIAL_ID_BYTES).contains(&id.len())).map(Into::into),
                issued_at: iat.as_f64().and_then(numeric_date),
                key: Some(self.thumbprint),
            },
        }))
    }
}

/// A NumericDate (RFC 7519, section 2); `None` when it is no date.
fn numeric_date(seconds: f64) -> Option<Time> {
    #[expect(clippy::cast_possible_truncation, reason = "the bounds leave room")]
    let micros = |seconds: f64| Time::from_unix_micros((seconds * 1_000_000.0) as i64);
    (0.0..253_402_300_800.0).contains(&seconds).then(|| micros(seconds))
}

// ---------------------------------------------------------------------------------------------------------------
// Asking the application
// ---------------------------------------------------------------------------------------------------------------

/// Asks the application at a URL, with the cookies of the request, as a page of it would.
///
/// 200 with `{"userId", "username"?, "role"?, "issuedAt"?, "expiresAt"?}` is who it is (times as RFC 3339, or milliseconds as
/// `Date.getTime` gives them; `issuedAt` is when the login began); 401, 403 and 404 are nobody; everything else, no answer within 2 seconds included, is that it
/// cannot be told. Redirects are not followed: a page to log in is no answer. Nothing is remembered of an answer.
#[derive(Clone)]
pub struct LookupUsers {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl fmt::Debug for LookupUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupUsers").field("host", &self.url.host()).finish_non_exhaustive()
    }
}

impl LookupUsers {
    /// Asks at this URL, `http://` or `https://`; of the latter the certificate must be one that browsers trust.
    ///
    /// # Errors
    /// `invalid_payload` when it is no such URL or has a user name in it.
    pub fn new(url: &str) -> Result<Self, ErrorBody> {
        let wrong = |what: &str| {
            ErrorBody::new(ErrorCode::InvalidPayload, format!("the URL to look up users at {what}: http://host/path"))
        };
        let url: Uri = url.parse().map_err(|_| wrong("is none"))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(wrong("must begin with http:// or https://"));
        }
        if url.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(wrong("must have a host and no user name"));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("TLS: {error}")))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { url, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn ask(&self, cookies: &Secret, session: &Secret) -> Result<Option<ResolvedUser>, ErrorBody> {
        let mut value = HeaderValue::from_str(cookies.reveal()).map_err(|_| unavailable("unreadable cookies"))?;
        value.set_sensitive(true);
        let request = Request::get(self.url.clone())
            .header(header::COOKIE, value)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("eventwire/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|_| unavailable("the request could not be written"))?;
        let answer = self.client.request(request).await.map_err(|error| unavailable(format!("no answer: {error}")))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(unavailable(format!("it answered {other}"))),
        }
        let body = Limited::new(answer.into_body(), LOOKUP_BYTES).collect().await;
        let body = body.map_err(|_| unavailable("its answer broke off or is too long"))?.to_bytes();
        found(&body, read_value(session)).map(Some)
    }
}

/// Reads who it is. Whatever is wrong with the answer is a fault of the application's, and nobody is let in by it.
fn found(body: &[u8], session: Secret) -> Result<ResolvedUser, ErrorBody> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| unavailable("its answer is not JSON"))?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let user = match answer.get("userId") {
        Some(Value::String(id)) => id.parse(),
        // Databases count their users.
        Some(Value::Number(id)) if id.is_u64() => id.to_string().parse(),
        _ => return Err(unavailable("its answer has no userId")),
    };
    let time = |name: &str| {
        let wrong = || unavailable(format!("its {name} is no time"));
        match answer.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(time)) => time.parse().map(Some).map_err(|_| wrong()),
            Some(number) => {
                let millis = number.as_i64().ok_or_else(wrong)?;
                Ok(Some(Time::from_unix_micros(millis.saturating_mul(1_000))))
            }
        }
    };
    Ok(ResolvedUser {
        user: user.map_err(|error| unavailable(format!("its userId: {error}")))?,
        username: text("username").map(str::to_owned),
        role: text("role").and_then(|role| serde_json::from_value(role.into()).ok()),
        expires_at: time("expiresAt")?,
        proof: LoginProof { issued_at: time("issuedAt")?, ..LoginProof::of(session) },
    })
}

#[async_trait]
impl UserResolver for LookupUsers {
    async fn resolve(&self, shown: &Shown) -> Result<Option<ResolvedUser>, ErrorBody> {
        // A page without the session cookie is not logged in; nothing has to be asked for that.
        let (Some(cookies), Some(session)) = (&shown.cookies, &shown.session) else { return Ok(None) };
        let answer = tokio::time::timeout(LOOKUP_DEADLINE, self.ask(cookies, session)).await;
        answer.unwrap_or_else(|_| Err(unavailable("no answer within 2 seconds"))).inspect_err(|error| {
            tracing::warn!(host = self.url.host(), %error, "who a session belongs to could not be looked up");
        })
    }
}
