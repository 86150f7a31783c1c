//! Events in the words of the older systems, as their back ends build them (HTTP-11): `POST /v1/events?dialect=`.

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{Hub, Principal, Receipt, Secret, handshake};
use eventwire_protocol::{
    Audience, Dialect, ErrorBody, ErrorCode, EventKind, Publication, SessionId, address::Modifiers, api::PublishResult,
    dialect::Adopted, id::EventId,
};
use http::{HeaderMap, HeaderName, Response};
use serde_json::Value;

use crate::{
    answer::Refusal,
    api::{Address, Media, outcome, outcomes, values},
};

/// Whom the events of the request are for, where they do not say so themselves.
const TO: HeaderName = HeaderName::from_static("eventwire-to");
/// The value of the cookie of the browser that the events are for. Monadic Chat's back end knows its sessions by it.
const SESSION: HeaderName = HeaderName::from_static("eventwire-session");
/// The idempotency key of the one event in the request.
const ID: HeaderName = HeaderName::from_static("eventwire-id");
/// Longest value of a cookie that is read.
const MAX_COOKIE_BYTES: usize = 4 * 1024;

/// Knows what becomes of events of older back ends that name no target, where the system has an answer: Monadic Chat with
/// a single user sends them to all its connections (ROUTE-07).
#[async_trait]
pub trait Fallback: Send + Sync + 'static {
    /// Publishes the event to whom the system says; `None` when it knows nobody, so that the event is refused with
    /// `missing_target`. The principal has the permission `publish`.
    async fn publish(
        &self,
        principal: &Principal,
        dialect: Dialect,
        event: Adopted,
    ) -> Option<Result<Receipt, ErrorBody>>;

    /// Whether the event is one that the operator switched off: it is taken and told to nobody, whatever its target.
    fn silences(&self, dialect: Dialect, event: &Adopted) -> bool {
        let _ = (dialect, event);
        false
    }
}

/// How the events of a request are to be read, as its query and headers say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adoption {
    dialect: Dialect,
    to: Option<Audience>,
    id: Option<EventId>,
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::bad_request(ErrorBody::new(ErrorCode::InvalidPayload, message))
}

impl Adoption {
    /// What query and headers say; `None` when the events are in the words of the catalog.
    ///
    /// # Errors
    /// 400 for a key, dialect or target that cannot be read, and for two targets that differ.
    pub(crate) fn of(hub: &Hub, query: &str, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut dialect = None;
        let mut to = None;
        for (name, value) in handshake::pairs(query, &["dialect", "to"]).map_err(Refusal::bad_request)? {
            if name == "dialect" { dialect = Some(value) } else { to = Some(value) }
        }
        let header =
            |name: &HeaderName| handshake::single(name.as_str(), values(headers, name)).map_err(Refusal::bad_request);
        let (header_to, session, id) = (header(&TO)?, header(&SESSION)?, header(&ID)?);
        let Some(dialect) = dialect else {
            if to.is_some() || header_to.is_some() || session.is_some() || id.is_some() {
                let message =
                    "a target or id beside the events counts only with ?dialect=; without it each event has its own";
                return Err(invalid(message));
            }
            return Ok(None);
        };
        let dialect = named(&dialect)?;
        let parse = |what: &str, text: &str| {
            let whole = |audience: Audience| if audience.is_part() { Err(()) } else { Ok(audience) };
            text.parse::<Audience>().map_err(|error| invalid(format!("{what}: {error}"))).and_then(|audience| {
                whole(audience).map_err(|()| invalid(format!("{what} must be a whole audience, not a part of one")))
            })
        };
        let session = session
            .map(|value| {
                if dialect.family() != Dialect::Monadic {
                    return Err(invalid("Eventwire-Session is for the dialect monadic; others name Eventwire-To"));
                }
                let cookie = cookie(value).map_err(Refusal::bad_request)?;
                Ok(Audience::session(SessionId::Browser(hub.browser_session(&cookie))))
            })
            .transpose()?;
        let named = [
            to.map(|to| parse("to", &to)).transpose()?,
            header_to.map(|to| parse("Eventwire-To", to)).transpose()?,
            session,
        ];
        let mut targets = named.into_iter().flatten();
        let to = targets.next();
        if targets.any(|other| Some(&other) != to.as_ref()) {
            return Err(invalid("the query and the headers name different targets"));
        }
        let id = id.map(|id| id.parse().map_err(|error| invalid(format!("Eventwire-Id: {error}")))).transpose()?;
        Ok(Some(Self { dialect, to, id }))
    }

    /// Whom an event is for.
    fn target(&self, event: &Adopted) -> Result<Option<Audience>, ErrorBody> {
        match (&event.to, &self.to) {
            (Some(own), Some(given))
                if own != given && own.target().is_none_or(|target| given.target() != Some(target)) =>
            {
                let name = event.kind.spec().name;
                let message = format!("{name} is for {own} by what it says, and the request names another target");
                Err(ErrorBody::new(ErrorCode::SubjectMismatch, message))
            }
            (own, given) => Ok(own.as_ref().or(given.as_ref()).cloned()),
        }
    }

    fn publication(&self, event: Adopted, to: Audience) -> Result<Publication, ErrorBody> {
        let data = serde_json::value::to_raw_value(&event.data)
            .map_err(|_| ErrorBody::new(ErrorCode::Internal, "the event cannot be written as JSON"))?;
        Ok(Publication {
            kind: EventKind::Known(event.kind),
            to,
            data,
            time: event.time,
            id: self.id.clone(),
            expected_prev: None,
            modifiers: Modifiers::default(),
        })
    }
}

fn named(name: &str) -> Result<Dialect, Refusal> {
    match Dialect::from_name(name) {
        Some(Dialect::Canonical) | None => {
            let names: Vec<&str> =
                Dialect::ALL.iter().filter(|it| **it != Dialect::Canonical).map(|it| it.as_str()).collect();
            Err(invalid(format!(
                "dialect must be one of {}; leave it out for the form of the catalog",
                names.join(", ")
            )))
        }
        Some(dialect) => Ok(dialect),
    }
}

/// The value of a cookie, which is never shown again.
///
/// # Errors
/// `invalid_payload`.
pub(crate) fn cookie(value: &str) -> Result<Secret, ErrorBody> {
    if value.is_empty() || value.len() > MAX_COOKIE_BYTES {
        let message = format!("the value of a cookie must have 1 to {MAX_COOKIE_BYTES} bytes");
        return Err(ErrorBody::new(ErrorCode::InvalidPayload, message));
    }
    Ok(Secret::new(value))
}

/// What is published together, and where the answers belong.
#[derive(Default)]
struct Run {
    places: Vec<(usize, Option<Address>)>,
    publications: Vec<Result<Publication, ErrorBody>>,
}

impl Run {
    async fn publish(
        &mut self,
        hub: &Hub,
        principal: &Principal,
        results: &mut [Option<PublishResult>],
    ) -> Result<(), ErrorBody> {
        let receipts = hub.publish(principal, std::mem::take(&mut self.publications)).await?;
        for ((at, address), receipt) in self.places.drain(..).zip(receipts) {
            if let Some(place) = results.get_mut(at) {
                *place = Some(outcome(address, receipt));
            }
        }
        Ok(())
    }
}

/// Publishes what a body holds, as the back end of the dialect's system builds it (HTTP-11). The answer is that of
/// `POST /v1/events`.
///
/// # Errors
/// As [`crate::api::publish`]; 400 for an `Eventwire-Id` beside several events.
pub(crate) async fn publish(
    hub: &Hub,
    fallback: Option<&dyn Fallback>,
    principal: &Principal,
    adoption: &Adoption,
    media: Media,
    body: &[u8],
) -> Result<Response<Bytes>, Refusal> {
    let texts = media.split(body)?;
    if adoption.id.is_some() && texts.len() > 1 {
        return Err(invalid("Eventwire-Id is the key of one event; send events with keys one by one"));
    }
    let mut results: Vec<Option<PublishResult>> = texts.iter().map(|_| None).collect();
    let mut run = Run::default();
    for (at, text) in texts.into_iter().enumerate() {
        let event = text.and_then(|text| {
            let frame: Value = serde_json::from_str(&text)
                .map_err(|error| ErrorBody::new(ErrorCode::MalformedFrame, error.to_string()))?;
            let event = adoption.dialect.decode_event(&frame)?;
            let to = adoption.target(&event)?;
            Ok((event, to))
        });
        if let Ok((event, to)) = &event
            && fallback.is_some_and(|fallback| fallback.silences(adoption.dialect, event))
            && let Some(place) = results.get_mut(at)
        {
            let address = Address { kind: EventKind::Known(event.kind), to: to.clone() };
            let receipt = Receipt { seq: None, prev: None, repeated: false };
            *place = Some(outcome(Some(address), Ok(receipt)));
            continue;
        }
        let publication = match event {
            Ok((event, Some(to))) => {
                run.places.push((at, Some(Address { kind: EventKind::Known(event.kind), to: Some(to.clone()) })));
                adoption.publication(event, to)
            }
            Ok((event, None)) => {
                let kind = EventKind::Known(event.kind);
                // In order: what stands before it is published before it.
                run.publish(hub, principal, &mut results).await?;
                let told = match fallback {
                    Some(fallback) => fallback.publish(principal, adoption.dialect, event).await,
                    None => None,
                };
                if let (Some(receipt), Some(place)) = (told, results.get_mut(at)) {
                    *place = Some(outcome(Some(Address { kind, to: None }), receipt));
                    continue;
                }
                run.places.push((at, None));
                Err(missing_target(adoption.dialect))
            }
            Err(error) => {
                run.places.push((at, None));
                Err(error)
            }
        };
        run.publications.push(publication);
    }
    run.publish(hub, principal, &mut results).await?;
    let lost = || outcome(None, Err(ErrorBody::new(ErrorCode::Internal, "the hub gave no answer")));
    Ok(outcomes(hub, principal, results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()))
}

fn missing_target(dialect: Dialect) -> ErrorBody {
    let how = match dialect.family() {
        Dialect::Monadic => "the header Eventwire-Session (the value of the browser's cookie) or Eventwire-To",
        Dialect::Product => "the header Eventwire-To: user:<id>",
        Dialect::SharedContext => "the header Eventwire-To: session:<id>",
        Dialect::Adw => "data.adw_id, or the header Eventwire-To: adw:<id>",
        _ => "the header Eventwire-To, for instance room:tasks",
    };
    ErrorBody::new(ErrorCode::MissingTarget, format!("the event names no target; add {how}. There is no default"))
}
