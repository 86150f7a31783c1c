//! Answers that the gateway gives by itself: errors as JSON, the same shape everywhere (HTTP-02).

use bytes::Bytes;
use eventwire_protocol::api::Refused;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

/// Whatever an answer streams; an error of it ends the connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A body that is all there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A refusal with the status of its code.
pub(crate) fn refusal(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Response<Body> {
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_status(status, &ErrorBody::new(code, message))
}

/// A refusal with a status that says more than its code's.
pub(crate) fn with_status(status: StatusCode, error: &ErrorBody) -> Response<Body> {
    let mut answer = Response::new(full(text(error)));
    *answer.status_mut() = status;
    // For the audit log.
    answer.extensions_mut().insert(error.code);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if matches!(error.code, ErrorCode::Unavailable | ErrorCode::RateLimited) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// The bytes of a refusal for a socket that no HTTP server holds yet, or any more; the connection ends with them.
pub(crate) fn raw(status: StatusCode, error: &ErrorBody) -> Vec<u8> {
    let body = text(error);
    let again = if error.code == ErrorCode::Unavailable { "retry-after: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\n{again}connection: close\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
        body.len(),
    )
    .into_bytes()
}

fn text(error: &ErrorBody) -> String {
    // What is written here has text keys and no numbers, so it can be written.
    serde_json::to_string(&Refused { error: error.clone() }).unwrap_or_default()
}
