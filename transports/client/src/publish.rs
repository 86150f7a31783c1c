//! Publishing over HTTP: `POST /v1/events`, one event or a batch, with an outcome for each.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use eventwire_protocol::{
    address::Audience,
    api::Evicted,
    error::{ErrorBody, ErrorCode},
    event::Payload,
    id::{EventId, Position, Seq},
    limits::{MAX_BATCH_BYTES, MAX_BATCH_ITEMS, MAX_EVENT_BYTES},
    time::Time,
};
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    error::{BuildError, PublishError},
    net::{Authorities, Dialer, bearer},
    url::Server,
};

/// An event to publish.
#[derive(Clone, Debug, Serialize)]
pub struct Draft {
    #[serde(rename = "type")]
    kind: String,
    to: Audience,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_prev: Option<Position>,
    data: Box<RawValue>,
}

impl Draft {
    /// A payload of the catalog. Whether it may go to that audience is checked by the server.
    ///
    /// # Errors
    /// What serde_json says; payloads of the catalog have none.
    pub fn new<P: Payload>(to: Audience, payload: &P) -> serde_json::Result<Self> {
        Self::raw(P::TYPE.spec().name, to, payload)
    }

    /// An event of any type, such as one in vendor space (`_family.name`). The payload must be an object.
    ///
    /// # Errors
    /// What serde_json says of the payload.
    pub fn raw(kind: impl Into<String>, to: Audience, payload: &impl Serialize) -> serde_json::Result<Self> {
        let data = serde_json::value::to_raw_value(payload)?;
        Ok(Draft { kind: kind.into(), to, time: None, id: None, expected_prev: None, data })
    }

    /// When it happened; without it the server takes its own clock.
    #[must_use]
    pub fn at(mut self, time: Time) -> Self {
        self.time = Some(time);
        self
    }

    /// A key under which the same event is published only once, however often it is sent.
    #[must_use]
    pub fn id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// About how many bytes it has as JSON.
    pub(crate) fn size(&self) -> usize {
        self.data.get().len() + self.kind.len() + 256
    }

    /// Publish only if the last event of the stream has this number: keeps a second writer out.
    #[must_use]
    pub fn expected_prev(mut self, prev: Position) -> Self {
        self.expected_prev = Some(prev);
        self
    }
}

/// An accepted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number, if it is logged.
    pub seq: Option<Seq>,
}

/// Publishes events. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Publisher {
    dialer: Dialer,
    server: Server,
    authorization: Option<HeaderValue>,
    evicted: Arc<Mutex<Evicted>>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Outcome>,
    evicted: Option<Evicted>,
}

#[derive(Deserialize)]
struct Outcome {
    seq: Option<Seq>,
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct Refusal {
    error: ErrorBody,
}

impl Publisher {
    /// A publisher for the server at `http://host:port` or `https://host`, with a token if it wants one.
    ///
    /// # Errors
    /// The address or the token cannot be used.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, BuildError> {
        Self::trusting(url, token, Authorities::default())
    }

    /// The same, where the certificate of the server is of another authority than those that browsers trust.
    ///
    /// # Errors
    /// The address, the token or a certificate cannot be used.
    pub fn trusting(url: &str, token: Option<&str>, authorities: Authorities) -> Result<Self, BuildError> {
        let authorization = token.map(bearer).transpose()?;
        Ok(Publisher {
            dialer: Dialer::new(authorities)?,
            server: Server::parse(url)?,
            authorization,
            evicted: Arc::default(),
        })
    }

    /// Entries that the server dropped before their time since this publisher or one of its clones was made, because its
    /// memory for the principal was used up (LIMIT-10).
    pub fn evicted(&self) -> Evicted {
        *self.evicted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// It was refused, or its fate is unknown; see [`PublishError`].
    pub async fn publish(&self, draft: &Draft) -> Result<Receipt, PublishError> {
        let mut outcomes = self.publish_all(std::slice::from_ref(draft)).await?;
        match outcomes.pop() {
            Some(Ok(receipt)) => Ok(receipt),
            Some(Err(error)) => Err(PublishError::Refused { status: error.code.http_status(), error }),
            None => Err(PublishError::Foreign { status: 202 }),
        }
    }

    /// Publishes events in order, at most 1,000 and 8 MiB. Each is accepted or refused by itself; the outcomes have the
    /// order of the drafts. An event over 1 MiB is refused here and not sent.
    ///
    /// # Errors
    /// The request as a whole failed; see [`PublishError`].
    pub async fn publish_all(&self, drafts: &[Draft]) -> Result<Vec<Result<Receipt, ErrorBody>>, PublishError> {
        let (mut refused, mut body) = (Vec::new(), vec![b'[']);
        for draft in drafts {
            let text = serde_json::to_vec(draft).map_err(|error| PublishError::Unreachable(error.into()))?;
            refused.push((text.len() > MAX_EVENT_BYTES).then(|| too_large(text.len())));
            if text.len() <= MAX_EVENT_BYTES {
                if body.len() > 1 {
                    body.push(b',');
                }
                body.extend_from_slice(&text);
            }
        }
        body.push(b']');
        let sent = refused.iter().filter(|refused| refused.is_none()).count();
        if sent > MAX_BATCH_ITEMS || body.len() > MAX_BATCH_BYTES {
            return Err(PublishError::TooLarge { events: sent, bytes: body.len() });
        }
        let mut results = Vec::new();
        if sent > 0 || drafts.is_empty() {
            let (status, answer) = self.post("events", body).await?;
            match serde_json::from_slice(&answer) {
                Ok(Results { results: all, evicted }) if all.len() == sent => {
                    results = all;
                    let mut sum = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
                    let Evicted { newest_values, ids } = evicted.unwrap_or_default();
                    sum.newest_values = sum.newest_values.saturating_add(newest_values);
                    sum.ids = sum.ids.saturating_add(ids);
                }
                _ => return Err(refusal(status, &answer)),
            }
        }
        let mut results = results.into_iter().map(Outcome::into_result);
        Ok(refused.into_iter().filter_map(|refused| refused.map(Err).or_else(|| results.next())).collect())
    }
}

impl Publisher {
    /// Posts JSON, and reads the answer whole.
    pub(crate) async fn post(&self, path: &str, body: Vec<u8>) -> Result<(u16, Bytes), PublishError> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self
            .server
            .http(path)
            .parse()
            .map_err(|error: http::uri::InvalidUri| PublishError::Unreachable(error.into()))?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let answer = self.dialer.ask(request).await.map_err(|error| match error.is_connect() {
            true => PublishError::Unreachable(error.into()),
            false => PublishError::Unanswered(error.into()),
        })?;
        let status = answer.status().as_u16();
        let body =
            answer.into_body().collect().await.map_err(|error| PublishError::Unanswered(error.into()))?.to_bytes();
        Ok((status, body))
    }
}

pub(crate) fn too_large(bytes: usize) -> ErrorBody {
    let message = format!("an event of {bytes} bytes is over the limit of {MAX_EVENT_BYTES}; it was not sent");
    ErrorBody::new(ErrorCode::TooLarge, message)
}

/// What a refusal of the server says, if the answer is one.
pub(crate) fn refusal(status: u16, body: &[u8]) -> PublishError {
    match serde_json::from_slice(body) {
        Ok(Refusal { error }) => PublishError::Refused { status, error },
        Err(_) => PublishError::Foreign { status },
    }
}

impl Outcome {
    fn into_result(self) -> Result<Receipt, ErrorBody> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Receipt { seq: self.seq }),
        }
    }
}
