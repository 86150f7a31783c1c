//! Answers that the gateway gives by itself: errors as JSON, the same shape everywhere (HTTP-02).

use bytes::Bytes;
use eventwire_protocol::api::Refused;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use http::header::{self, HeaderName, HeaderValue};
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

/// The bytes of a refusal for a socket that no HTTP server holds yet, or any more; the connection ends with them. `headers` come
/// beside those that every refusal has.
pub(crate) fn raw(status: StatusCode, error: &ErrorBody, headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let mut answer = with_status(status, error);
    let body = text(error);
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    answer.headers_mut().extend(headers.iter().cloned().map(|(name, value)| (Some(name), value)));
    written(&answer, body.as_bytes())
}

/// A whole answer as bytes, after which the connection ends.
pub(crate) fn written<B>(head: &Response<B>, body: &[u8]) -> Vec<u8> {
    let status = head.status();
    let reason = status.canonical_reason().unwrap_or("Error");
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in head.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn text(error: &ErrorBody) -> String {
    // What is written here has text keys and no numbers, so it can be written.
    serde_json::to_string(&Refused { error: error.clone() }).unwrap_or_default()
}
