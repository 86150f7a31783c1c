//! Messages of contexts out of the application's own database, asked over HTTP (CTX-09).
//!
//! One `POST` a page, JSON in and out: `{"query": "get_messages", "session_id", "since_id", "limit"}` is answered with
//! `{"messages": [row, ..]}`, `{"query": "get_session_info", "session_id"}` with `{"session": row}`. The back end need not
//! know who asks: rows come with their visibility, and who may see which is decided here. Whatever it answers, a row that
//! cannot be read or is of another context is shown to nobody.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_protocol::{
    Claims, ContextId, ErrorBody, ErrorCode,
    dialect::shared_context::{session_info, stored_message},
    event::context::SessionInfo,
    frame::read_document,
};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::store::{ContextStore, Found, MOST_MESSAGES, may_show};

/// How long the whole of one question may take, however many pages it needs.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// Largest page that is read, in bytes.
const PAGE_BYTES: usize = 32 << 20;
/// Questions at once. Those that come on top wait for their turn, within their time.
const AT_ONCE: usize = 16;

/// Asks a back end.
#[derive(Debug)]
pub struct QueryStore {
    uri: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    turns: Semaphore,
}

impl QueryStore {
    /// Will ask at this address, `http://host[:port]/path`.
    ///
    /// # Errors
    /// `invalid_payload` for any other address. Put a proxy before a back end that is reached by `https` only.
    pub fn new(url: &str) -> Result<Self, ErrorBody> {
        let wrong = |problem: &str| ErrorBody::new(ErrorCode::InvalidPayload, format!("query address: {problem}"));
        let uri: Uri = url.parse().map_err(|_| wrong("must be a URL, http://host:port/path"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("must begin with http://"));
        }
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(wrong("must not hold a name or a password"));
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { uri, client, turns: Semaphore::new(AT_ONCE) })
    }

    async fn ask(&self, question: &Value) -> Result<Option<Value>, ErrorBody> {
        let broken = |problem: &dyn std::fmt::Display| {
            tracing::warn!(%problem, query = %question["query"], "the back end did not answer about a context");
            unavailable()
        };
        let _turn = self.turns.acquire().await.map_err(|error| broken(&error))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(question.to_string()))
            .map_err(|error| broken(&error))?;
        let response = self.client.request(request).await.map_err(|error| broken(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(broken(&status)),
        }
        let body = Limited::new(response.into_body(), PAGE_BYTES).collect().await.map_err(|error| broken(&error))?;
        let body = body.to_bytes();
        let text = &*read_document(&body, PAGE_BYTES).map_err(|error| broken(&error))?;
        serde_json::from_str(text).map(Some).map_err(|error| broken(&error))
    }

    /// Reads pages until enough of them may be seen: the limit counts what the asker sees.
    async fn pages(&self, context: &ContextId, since_id: Option<u64>, viewer: &Claims) -> Result<Found, ErrorBody> {
        let mut visible = BTreeMap::new();
        let mut truncated = false;
        let mut since = since_id;
        loop {
            let question = json!({
                "query": "get_messages", "session_id": context, "since_id": since, "limit": MOST_MESSAGES,
            });
            let Some(page) = self.ask(&question).await? else { break };
            let Some(rows) = page.get("messages").and_then(Value::as_array) else {
                tracing::warn!("the back end's answer about messages has no list of them");
                return Err(unavailable());
            };
            truncated |= page.get("truncated") == Some(&Value::Bool(true));
            let mut last = since;
            for row in rows {
                last = last.max(row.get("id").and_then(Value::as_u64));
                match stored_message(row, context) {
                    Ok(message) if since_id.is_some_and(|since| message.id <= since) => {}
                    Ok(message) if may_show(viewer, context, &message) => {
                        visible.insert(message.id, message);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "a row of a message is shown to nobody"),
                }
            }
            if visible.len() >= MOST_MESSAGES || rows.len() < MOST_MESSAGES || last <= since {
                break;
            }
            since = last;
        }
        Ok(Found { rows: visible.into_values().take(MOST_MESSAGES).collect(), truncated })
    }
}

fn unavailable() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, "the back end that knows the messages does not answer; ask again")
}

/// What comes in time.
async fn in_time<T>(answer: impl Future<Output = Result<T, ErrorBody>>) -> Result<T, ErrorBody> {
    tokio::time::timeout(DEADLINE, answer).await.unwrap_or_else(|_| {
        tracing::warn!("the back end took too long to answer about a context");
        Err(unavailable())
    })
}

#[async_trait]
impl ContextStore for QueryStore {
    async fn messages(&self, context: &ContextId, since_id: Option<u64>, viewer: &Claims) -> Result<Found, ErrorBody> {
        in_time(self.pages(context, since_id, viewer)).await
    }

    async fn session_info(&self, context: &ContextId) -> Result<Option<SessionInfo>, ErrorBody> {
        let question = json!({"query": "get_session_info", "session_id": context});
        let Some(answer) = in_time(self.ask(&question)).await? else { return Ok(None) };
        match answer.get("session") {
            Some(row) if !row.is_null() => session_info(row, context).map(Some).map_err(|error| {
                tracing::warn!(%error, "a row of a session cannot be read");
                unavailable()
            }),
            _ => Ok(None),
        }
    }
}
