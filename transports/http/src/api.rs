//! What each path answers: functions of the hub, of who asks, and of what they send. No framework, no socket.

use std::{borrow::Cow, error::Error, net::IpAddr, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use eventwire_hub::{
    AuditEntry, AuditEvent, Credentials, Holder, Hub, Kick, Principal, Receipt, Revocation, Ticket, handshake,
    handshake::MAX_CREDENTIAL_ID_BYTES,
    history::Evictions,
    unfinished::{Pace, Receiving},
};
use eventwire_protocol::{
    Audience, ConnectionId, Envelope, ErrorBody, ErrorCode, EventKind, Permission, Publication, Seq, SessionId,
    api::{
        Connections, EventName, Evicted, Explained, Health, IssueTicket, IssuedTicket, PublishResult, PublishResults,
        Readiness, Ready, ResolveSession, ResolvedSession, RevokeAll, RevokeToken, RevokeUser, Revoked,
    },
    frame::read_document,
    limits,
};
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    adopt::{self, Adoption, Fallback},
    answer::{Refusal, empty, json},
    body::{self, Announced},
    paths::{self, Endpoint},
};

/// Time over which the least pace of a body is averaged, unless it is set otherwise (LIMIT-09).
pub const BODY_WINDOW: Duration = limits::PROGRESS_WINDOW;
/// Largest body that holds a cookie or a name.
const MAX_SMALL_BYTES: usize = 16 * 1024;

type Answer = Result<Response<Bytes>, Refusal>;

/// The API over a hub. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    hub: Hub,
    body_window: Duration,
    fallback: Option<Arc<dyn Fallback>>,
}

/// A request without its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, as it came.
    pub path: &'a str,
    /// The query, without its question mark; empty if there is none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The authority of a target in absolute form, which then counts instead of the header `Host`.
    pub authority: Option<&'a str>,
    /// The peer's address.
    pub peer: Option<IpAddr>,
}

impl Api {
    /// The API over this hub.
    pub fn new(hub: Hub) -> Self {
        Self { hub, body_window: BODY_WINDOW, fallback: None }
    }

    /// Sets who may know a target for events of older back ends that have none (HTTP-11).
    #[must_use]
    pub fn fallback(mut self, fallback: Arc<dyn Fallback>) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Sets the time over which the least pace of a body is averaged. A body that is complete within it is never too slow.
    #[must_use]
    pub fn body_window(mut self, window: Duration) -> Self {
        self.body_window = window;
        self
    }

    /// The answer to a request from `peer`.
    pub async fn answer<B>(&self, request: Request<B>, peer: Option<IpAddr>) -> Response<Bytes>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let head = Head {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            authority: parts.uri.authority().map(http::uri::Authority::as_str),
            peer,
        };
        self.answer_parts(head, body.into_data_stream()).await
    }

    /// The answer to a request whose head and body came apart.
    pub async fn answer_parts<D: Buf, E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        head: Head<'_>,
        body: impl Stream<Item = Result<D, E>>,
    ) -> Response<Bytes> {
        self.judge(head, body).await.unwrap_or_else(Refusal::into_response)
    }

    async fn judge<D: Buf, E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        head: Head<'_>,
        body: impl Stream<Item = Result<D, E>>,
    ) -> Answer {
        self.guard(&head)?;
        let Some((route, segment)) = paths::find(head.path) else {
            return Err(Refusal::new(
                ErrorCode::NotFound,
                "nothing is at this path; see the README for those there are",
            ));
        };
        if !route.methods.contains(head.method) {
            let allow = route.allow();
            let message = format!("this path takes {}", allow.to_str().unwrap_or_default());
            return Err(Refusal { allow: Some(allow), ..Refusal::new(ErrorCode::MethodNotAllowed, message) });
        }
        let hub = &self.hub;
        match route.endpoint {
            Endpoint::Health => return Ok(health(hub)),
            Endpoint::Ready => return Ok(ready(hub).await),
            _ => {}
        }
        let principal = self.authenticate(&head).await?;
        match route.endpoint {
            Endpoint::Events => {
                let adoption = Adoption::of(hub, head.query, head.headers)?;
                require(&principal, Permission::Publish).inspect_err(|_| {
                    let entry = AuditEntry::new(AuditEvent::PublicationForbidden).principal(&principal);
                    hub.audit().record(entry.client(head.peer).code(ErrorCode::Forbidden));
                })?;
                let media = Media::of(head.headers)?;
                let announced = announced(head.headers);
                let body =
                    body::read(announced, body, limits::MAX_BATCH_BYTES, self.receiving(&principal, &head)).await?;
                match adoption {
                    None => publish(hub, &principal, media, &body).await,
                    Some(adoption) => {
                        adopt::publish(hub, self.fallback.as_deref(), &principal, &adoption, media, &body).await
                    }
                }
            }
            Endpoint::Resolve => {
                no_query(head.query)?;
                require(&principal, Permission::Publish)?;
                let media = Media::of(head.headers)?;
                let body = self.small(&head, &principal, body).await?;
                resolve(hub, media, &body)
            }
            Endpoint::Tickets => {
                no_query(head.query)?;
                let body = self.small(&head, &principal, body).await?;
                ticket(hub, &principal, &body)
            }
            Endpoint::Revocations => {
                no_query(head.query)?;
                require(&principal, Permission::Admin)?;
                let media = Media::of(head.headers)?;
                let body = self.small(&head, &principal, body).await?;
                revoke(hub, &principal, media, &body).await
            }
            Endpoint::Connections => {
                no_query(head.query)?;
                connections(hub, &principal).await
            }
            Endpoint::Connection => {
                no_query(head.query)?;
                disconnect(hub, &principal, segment)
            }
            Endpoint::Explain => explain(hub, &principal, head.query),
            Endpoint::Health | Endpoint::Ready => {
                Err(Refusal::new(ErrorCode::Internal, "health was answered before anybody was asked who they are"))
            }
        }
    }

    /// A body that holds a few words.
    async fn small<D: Buf, E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        head: &Head<'_>,
        principal: &Principal,
        body: impl Stream<Item = Result<D, E>>,
    ) -> Result<Bytes, Refusal> {
        let receiving = self.receiving(principal, head);
        Ok(body::read(announced(head.headers), body, MAX_SMALL_BYTES, receiving).await?)
    }

    fn receiving(&self, principal: &Principal, head: &Head<'_>) -> Receiving {
        let pace = Pace { window: self.body_window, ..Pace::default() };
        Receiving::begin(self.hub.unfinished(), Holder::of(principal, head.peer), pace)
    }

    /// AUTH-02, AUTH-03: before anything else.
    fn guard(&self, head: &Head<'_>) -> Result<(), Refusal> {
        let single = |name: header::HeaderName, code: ErrorCode| {
            handshake::single(name.as_str(), values(head.headers, &name))
                .map_err(|error| Refusal::new(code, error.message))
        };
        let host = single(header::HOST, ErrorCode::HostNotAllowed)?;
        self.hub.guard().check_host(head.authority.or(host))?;
        self.hub.guard().check_origin(single(header::ORIGIN, ErrorCode::OriginNotAllowed)?)?;
        Ok(())
    }

    async fn authenticate(&self, head: &Head<'_>) -> Result<Principal, Refusal> {
        let token = handshake::bearer(values(head.headers, &header::AUTHORIZATION))?;
        Ok(self.hub.authenticate(&Credentials { token, peer: head.peer }).await?)
    }
}

pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

fn announced(headers: &HeaderMap) -> Announced {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Announced {
        bytes: text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
        waits: text(header::EXPECT).is_some_and(|text| text.eq_ignore_ascii_case("100-continue")),
    }
}

fn no_query(query: &str) -> Result<(), Refusal> {
    handshake::pairs(query, &[]).map(|_| ()).map_err(Refusal::bad_request)
}

fn require(principal: &Principal, permission: Permission) -> Result<(), Refusal> {
    if principal.claims.may(permission) {
        return Ok(());
    }
    let name = permission.as_str();
    Err(Refusal::new(ErrorCode::Forbidden, format!("this needs the permission {name}, which your credentials lack")))
}

/// How the events of a request are written (HTTP-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/json`: one object, or an array of them.
    Json,
    /// `application/x-ndjson`: one object a line; empty lines count for nothing.
    Lines,
}

impl Media {
    /// What the headers say about the body.
    ///
    /// # Errors
    /// `unsupported_media_type` for any other type, another charset than UTF-8, and a body that is packed.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let unsupported = || {
            Refusal::new(
                ErrorCode::UnsupportedMediaType,
                "the body must be application/json or application/x-ndjson, in UTF-8 and not packed",
            )
        };
        let mut types = values(headers, &header::CONTENT_TYPE);
        let (Some(value), None) = (types.next(), types.next()) else { return Err(unsupported()) };
        let text = std::str::from_utf8(value).map_err(|_| unsupported())?;
        let mut parts = text.split(';').map(str::trim);
        let media = match parts.next().unwrap_or_default() {
            name if name.eq_ignore_ascii_case("application/json") => Self::Json,
            name if name.eq_ignore_ascii_case("application/x-ndjson") => Self::Lines,
            _ => return Err(unsupported()),
        };
        let is_utf8 = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        };
        let packed = values(headers, &header::CONTENT_ENCODING).any(|name| !name.eq_ignore_ascii_case(b"identity"));
        if packed || !parts.all(is_utf8) {
            return Err(unsupported());
        }
        Ok(media)
    }

    /// The events in a body, each readable or not.
    pub(crate) fn split(self, body: &[u8]) -> Result<Vec<Result<Cow<'_, str>, ErrorBody>>, ErrorBody> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        if body.len() > limits::MAX_BATCH_BYTES {
            let message = format!("{} bytes are more than the limit of {}", body.len(), limits::MAX_BATCH_BYTES);
            return Err(ErrorBody::new(ErrorCode::TooLarge, message));
        }
        let documents = match self {
            Self::Json => {
                let text = body.trim_ascii();
                match text.first() {
                    Some(b'{') if text.len() > limits::MAX_EVENT_BYTES => vec![one(text)],
                    Some(b'{') => vec![Ok(one(text)?)],
                    Some(b'[') => {
                        let text = std::str::from_utf8(text).map_err(|error| {
                            let message = format!("byte {} is not UTF-8", error.valid_up_to());
                            ErrorBody::new(ErrorCode::InvalidUtf8, message)
                        })?;
                        // The borders first, then each event by itself: one that cannot be read does not take others with it.
                        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
                            // The reader of one document says more of what is wrong.
                            let told = read_document(text.as_bytes(), limits::MAX_BATCH_BYTES).err();
                            told.unwrap_or_else(|| ErrorBody::new(ErrorCode::MalformedFrame, error.to_string()))
                        })?;
                        items.into_iter().map(|item| one(item.get().as_bytes())).collect()
                    }
                    _ => {
                        let message = "the body must be an event, which is an object, or an array of events";
                        return Err(ErrorBody::new(ErrorCode::MalformedFrame, message));
                    }
                }
            }
            Self::Lines => body
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::trim_ascii)
                .filter(|line| !line.is_empty())
                // One more than is taken shows that there are too many.
                .take(limits::MAX_BATCH_ITEMS + 1)
                .map(one)
                .collect(),
        };
        if documents.is_empty() {
            return Err(ErrorBody::new(ErrorCode::MalformedFrame, "the body holds no event"));
        }
        if documents.len() > limits::MAX_BATCH_ITEMS {
            let message = format!("one request may hold {} events; send them in several", limits::MAX_BATCH_ITEMS);
            return Err(ErrorBody::new(ErrorCode::TooManyItems, message));
        }
        Ok(documents)
    }
}

/// What some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One event of a body.
fn one(text: &[u8]) -> Result<Cow<'_, str>, ErrorBody> {
    if text.len() > limits::MAX_EVENT_BYTES {
        let message = format!("an event of {} bytes is over the limit of {}", text.len(), limits::MAX_EVENT_BYTES);
        return Err(ErrorBody::new(ErrorCode::TooLarge, message));
    }
    read_document(text, limits::MAX_EVENT_BYTES)
}

/// What an event is and whom it is for, where that could be read.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) kind: EventKind,
    pub(crate) to: Option<Audience>,
}

/// What became of an event with this address, where it could be read.
pub(crate) fn outcome(address: Option<Address>, receipt: Result<Receipt, ErrorBody>) -> PublishResult {
    match receipt {
        Ok(receipt) => {
            let (kind, to) = address.map_or((None, None), |Address { kind, to }| (Some(EventName(kind)), to));
            PublishResult { kind, to, seq: receipt.seq, error: None }
        }
        Err(error) => PublishResult { error: Some(error), ..PublishResult::default() },
    }
}

/// The answer to a publisher: 202 when any event was taken, 422 when none was.
pub(crate) fn outcomes(hub: &Hub, principal: &Principal, results: Vec<PublishResult>) -> Response<Bytes> {
    let Evictions { values, ids, .. } = hub.take_evictions(principal);
    let evicted = (values + ids > 0).then_some(Evicted { newest_values: values, ids });
    let taken = results.iter().any(|outcome| outcome.error.is_none());
    for ErrorBody { code, message } in results.iter().filter_map(|outcome| outcome.error.as_ref()) {
        tracing::debug!(principal = %principal.name, %code, reason = %message, "an event was refused");
    }
    let status = if taken { StatusCode::ACCEPTED } else { StatusCode::UNPROCESSABLE_ENTITY };
    json(status, &PublishResults { results, evicted })
}

/// `POST /v1/events`: publishes what a body holds (HTTP-01).
///
/// Each event is accepted or refused on its own, in order; the answer lists what became of each. 202 when any was taken,
/// 422 when none was. `to` in the answer is what the publisher wrote.
///
/// # Errors
/// Of the whole: a body that cannot be read, `too_many_items`, `unavailable`.
pub async fn publish(hub: &Hub, principal: &Principal, media: Media, body: &[u8]) -> Answer {
    let publications: Vec<Result<Publication, ErrorBody>> =
        media.split(body)?.into_iter().map(|text| Publication::decode(&text?)).collect();
    let address = |it: &Publication| Address { kind: it.kind.clone(), to: Some(it.to.clone()) };
    let addresses: Vec<Option<Address>> =
        publications.iter().map(|publication| publication.as_ref().ok().map(address)).collect();
    let receipts = hub.publish(principal, publications).await?;
    Ok(outcomes(
        hub,
        principal,
        addresses.into_iter().zip(receipts).map(|(address, receipt)| outcome(address, receipt)).collect(),
    ))
}

/// `POST /v1/sessions/resolve`: the id of the browser session that a cookie opens (HTTP-12). The value of the cookie is
/// not repeated, kept or logged.
///
/// # Errors
/// `invalid_payload`.
pub fn resolve(hub: &Hub, media: Media, body: &[u8]) -> Answer {
    let text = match (media, read_document(body, MAX_SMALL_BYTES)) {
        (Media::Json, text) => text?,
        (Media::Lines, _) => {
            return Err(Refusal::new(ErrorCode::UnsupportedMediaType, "the body must be application/json"));
        }
    };
    // What the parser would say may quote the value.
    let wrong = || Refusal::new(ErrorCode::InvalidPayload, "the body must be {\"cookie\": \"<value>\"}");
    let ResolveSession { cookie } = serde_json::from_str(&text).map_err(|_| wrong())?;
    let session = hub.browser_session(&adopt::cookie(&cookie).map_err(Refusal::from)?);
    Ok(json(StatusCode::OK, &ResolvedSession { session_id: SessionId::Browser(session) }))
}

/// What an object says; an array of the same members in their order is none.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `POST /v1/tickets`: a ticket that opens one connection as the credentials of the request would (AUTH-12). The body is
/// empty or `{}`.
///
/// # Errors
/// `malformed_frame`, `invalid_payload`, `rate_limited`, `unavailable`.
pub fn ticket(hub: &Hub, principal: &Principal, body: &[u8]) -> Answer {
    if !body.is_empty() {
        let text = &*read_document(body, MAX_SMALL_BYTES)?;
        let wrong = || Refusal::new(ErrorCode::InvalidPayload, "the body must be empty or {}");
        object::<IssueTicket>(text).ok_or_else(wrong)?;
    }
    let Ticket { ticket, expires_in } = hub.issue_ticket(principal)?;
    Ok(json(
        StatusCode::CREATED,
        &IssuedTicket { ticket: ticket.reveal().to_owned(), expires_in_s: expires_in.as_secs() },
    ))
}

/// `POST /v1/revocations`: takes credentials back and closes what was opened with them (AUTH-13). The body is
/// `{"user": ".."}`, `{"token": ".."}` with the `jti` of a token or the name of an API key, or `{"all": true}`.
///
/// # Errors
/// `unsupported_media_type`, `malformed_frame`, `invalid_payload`, `invalid_id`, `unavailable` when a restart would forget it.
pub async fn revoke(hub: &Hub, principal: &Principal, media: Media, body: &[u8]) -> Answer {
    if media != Media::Json {
        return Err(Refusal::new(ErrorCode::UnsupportedMediaType, "the body must be application/json"));
    }
    let text = &*read_document(body, MAX_SMALL_BYTES)?;
    // What the parser would say may quote a token that was put here in place of its name.
    let wrong = || {
        let message = "the body must be {\"user\": \"<id>\"}, {\"token\": \"<jti of a token, or name of an API key>\"} or {\"all\": true}";
        Refusal::new(ErrorCode::InvalidPayload, message)
    };
    let revocation = match (object(text), object(text), object(text)) {
        (Some(RevokeUser { user }), ..) => {
            let user = user.parse().map_err(|error| Refusal::new(ErrorCode::InvalidId, format!("user: {error}")))?;
            Revocation::User(user)
        }
        (None, Some(RevokeToken { token }), _) if (1..=MAX_CREDENTIAL_ID_BYTES).contains(&token.len()) => {
            Revocation::Token(token.into())
        }
        (None, Some(RevokeToken { .. }), _) => {
            let message =
                format!("token must have 1 to {MAX_CREDENTIAL_ID_BYTES} bytes: it is the name, not the token");
            return Err(Refusal::new(ErrorCode::InvalidId, message));
        }
        (None, None, Some(RevokeAll { all: true })) => Revocation::All,
        (None, None, _) => return Err(wrong()),
    };
    may_revoke(principal, &revocation)?;
    Ok(json(StatusCode::OK, &Revoked { closed: hub.revoke(&revocation).await? }))
}

/// AUTH-16: a user is revoked by those whose grants reach it. A name of credentials says nothing of whose they are, so it takes
/// grants that leave no connection out.
fn may_revoke(principal: &Principal, revocation: &Revocation) -> Result<(), Refusal> {
    let claims = &principal.claims;
    let (reached, what) = match revocation {
        Revocation::User(user) => (claims.users.contains(user), format!("user:{user}")),
        _ => (claims.reaches_every_connection(), "every connection, which revoking by name needs".to_owned()),
    };
    if reached {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::Forbidden, format!("your credentials do not reach {what}")))
}

/// `GET /v1/connections`: who is connected (HTTP-06), as far as the grants of the asker reach (AUTH-16).
///
/// # Errors
/// `forbidden`, `unavailable`.
pub async fn connections(hub: &Hub, principal: &Principal) -> Answer {
    require(principal, Permission::Admin)?;
    let (epoch, _) = hub.head().await?;
    let connections = hub.connections_seen_by(&principal.claims);
    Ok(json(StatusCode::OK, &Connections { epoch, count: connections.len(), connections }))
}

/// `DELETE /v1/connections/{id}`: closes one with 1008, once what waits for it has been sent (HTTP-06). One that the grants
/// of the asker do not reach is not found (AUTH-16).
///
/// # Errors
/// `forbidden`, `not_found`.
pub fn disconnect(hub: &Hub, principal: &Principal, id: &str) -> Answer {
    require(principal, Permission::Admin)?;
    match id.parse::<ConnectionId>().map_or(Kick::Unknown, |id| hub.kick_for(&principal.claims, id)) {
        Kick::Closed => Ok(empty(StatusCode::NO_CONTENT, Bytes::new())),
        Kick::Shared => {
            let message = "your credentials do not reach the user and browser session of this connection";
            Err(Refusal::new(ErrorCode::Forbidden, message))
        }
        Kick::Unknown => Err(Refusal::new(ErrorCode::NotFound, "no such connection; GET /v1/connections lists them")),
    }
}

/// `GET /v1/explain`: who would receive an event now, and which subscription, grant or claim decides for each (HTTP-07).
///
/// `type` and `to` are needed; `connection` asks about one connection; `seq`, the number of the event in question, comes
/// back in the answer. `to` in the answer is the part of the audience that the event belongs to.
///
/// # Errors
/// `forbidden`, `unknown_type`, `invalid_id`, `audience_not_allowed`, `not_found`; `invalid_payload` with status 400 for the
/// query.
pub fn explain(hub: &Hub, principal: &Principal, query: &str) -> Answer {
    require(principal, Permission::Observe)?;
    let mut pairs = handshake::pairs(query, &["type", "to", "connection", "seq"]).map_err(Refusal::bad_request)?;
    let mut value = |name: &str| {
        let at = pairs.iter().position(|(of, _)| *of == name)?;
        Some(pairs.swap_remove(at).1)
    };
    let needed = |name: &str, value: Option<String>| {
        value.ok_or_else(|| {
            let message = format!("the query needs {name}: /v1/explain?type=adw.text_block&to=adw:29fb6a3e");
            Refusal::bad_request(ErrorBody::new(ErrorCode::InvalidPayload, message))
        })
    };
    let invalid =
        |name: &str, error: &dyn std::fmt::Display| Refusal::new(ErrorCode::InvalidId, format!("{name}: {error}"));
    let kind = EventKind::parse(&needed("type", value("type"))?)?;
    let to: Audience = needed("to", value("to"))?.parse().map_err(|error| invalid("to", &error))?;
    let connection = value("connection")
        .map(|id| id.parse::<ConnectionId>().map_err(|error| invalid("connection", &error)))
        .transpose()?;
    let seq = value("seq")
        .map(|seq| {
            seq.parse().ok().and_then(Seq::new).ok_or_else(|| invalid("seq", &"must be an integer from 1 to 2^53-1"))
        })
        .transpose()?;
    let mut connections = hub.explain(&principal.claims, kind.clone(), to.clone())?;
    if let Some(id) = connection {
        connections.retain(|explanation| explanation.connection_id == id);
        if connections.is_empty() {
            return Err(Refusal::new(ErrorCode::NotFound, format!("no connection {id}")));
        }
    }
    let to = hub.settings().product_users.audience(&kind, to)?;
    let to = Envelope::probe(kind.clone(), to)?.audience().clone();
    Ok(json(StatusCode::OK, &Explained { kind: EventName(kind), to, seq, connections }))
}

/// `GET /health`: the process lives (HTTP-08).
pub fn health(hub: &Hub) -> Response<Bytes> {
    let health = Health {
        status: "healthy".to_owned(),
        service: "eventwire".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        timestamp: hub.now(),
        uptime_seconds: hub.uptime().as_secs(),
        active_connections: hub.connection_count(),
        websocket_support: true,
        endpoints: None,
        config: None,
    };
    json(StatusCode::OK, &health)
}

/// `GET /ready`: whether connections are taken (HTTP-08). 503 while the server stops, and before its history answers.
pub async fn ready(hub: &Hub) -> Response<Bytes> {
    let (status, word) = match (hub.is_draining(), hub.head().await) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, Readiness::Draining),
        (false, Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, Readiness::Starting),
        (false, Ok(_)) => (StatusCode::OK, Readiness::Ready),
    };
    json(status, &Ready { status: word })
}
