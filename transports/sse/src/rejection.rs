//! The answer to a request that does not become a stream.

use std::fmt;

use bytes::Bytes;
use eventwire_protocol::{ErrorBody, ErrorCode};
use http::{HeaderValue, Response, StatusCode, header};

/// Why a request does not become a stream of events: a status, and the error as every answer of Eventwire carries it
/// (HTTP-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: StatusCode,
    error: ErrorBody,
}

impl Rejection {
    /// A fault of query or header, which is 400 whatever its code.
    pub(crate) fn bad_request(error: ErrorBody) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What was wrong.
    pub fn error(&self) -> &ErrorBody {
        &self.error
    }
}

impl From<ErrorBody> for Rejection {
    /// A refusal with the status that belongs to its code.
    fn from(error: ErrorBody) -> Self {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl From<Rejection> for Response<Bytes> {
    fn from(rejection: Rejection) -> Self {
        let body = serde_json::json!({ "error": rejection.error }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = rejection.status;
        // For the logs of a server around this.
        response.extensions_mut().insert(rejection.error.code);
        let beside = match rejection.error.code {
            ErrorCode::MethodNotAllowed => Some((header::ALLOW, "GET")),
            ErrorCode::Unauthorized => Some((header::WWW_AUTHENTICATE, "Bearer")),
            ErrorCode::Unavailable | ErrorCode::RateLimited => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        let always = [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        for (name, value) in always.into_iter().chain(beside) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.error)
    }
}

impl std::error::Error for Rejection {}
