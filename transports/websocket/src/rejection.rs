//! The answer to a request that does not become a WebSocket.

use std::fmt;

use bytes::Bytes;
use eventwire_protocol::{ErrorBody, ErrorCode};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// Why a request does not become a WebSocket: an HTTP status, the error as every answer of Eventwire carries it
/// (HTTP-02), and the headers that HTTP wants beside that status.
///
/// Any framework can answer with it: it converts into an `http::Response` whose body is the JSON object
/// `{"error": {"code", "message"}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: StatusCode,
    error: ErrorBody,
}

impl Rejection {
    /// A fault in the request line or a header, which is 400 whatever its code.
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

    /// The headers that HTTP wants beside the status.
    fn headers(&self) -> &'static [(HeaderName, &'static str)] {
        match self.error.code {
            ErrorCode::MethodNotAllowed => &[(header::ALLOW, "GET")],
            ErrorCode::UpgradeRequired => &[(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")],
            ErrorCode::UnsupportedVersion => &[
                (header::CONNECTION, "Upgrade"),
                (header::UPGRADE, "websocket"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
            ],
            ErrorCode::Unauthorized => &[(header::WWW_AUTHENTICATE, "Bearer")],
            ErrorCode::Unavailable | ErrorCode::RateLimited => &[(header::RETRY_AFTER, "1")],
            _ => &[],
        }
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
        let body = json!({ "error": rejection.error }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = rejection.status;
        // For the logs of a server around this.
        response.extensions_mut().insert(rejection.error.code);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in rejection.headers() {
            headers.insert(name, HeaderValue::from_static(value));
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
