//! Answers: JSON that nobody stores, and refusals that programs can read.

use bytes::Bytes;
use eventwire_protocol::{ErrorBody, ErrorCode, api::Refused};
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;

/// Why a request is refused, and with which status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status: that of the code, unless it says more.
    pub status: StatusCode,
    /// What goes into the body.
    pub error: ErrorBody,
    /// The methods that the path takes, when it was the method that was wrong.
    pub allow: Option<HeaderValue>,
}

impl From<ErrorBody> for Refusal {
    fn from(error: ErrorBody) -> Self {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error, allow: None }
    }
}

impl Refusal {
    /// A refusal of this code with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// The request itself is wrong, whatever the code's own status: query and headers (WS-04).
    pub fn bad_request(error: ErrorBody) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, allow: None }
    }

    /// The answer.
    pub fn into_response(self) -> Response<Bytes> {
        let error = self.error.code;
        let mut response = json(self.status, &Refused { error: self.error });
        // For the logs of a server around this.
        response.extensions_mut().insert(error);
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, allow);
        }
        if matches!(error, ErrorCode::Unavailable | ErrorCode::RateLimited) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            // Others are in front, or tickets wait to be redeemed: neither takes long.
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An answer with a body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // What is written here has text keys and finite numbers, so it can be written.
    let mut response = empty(status, serde_json::to_vec(body).unwrap_or_default().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer without a content type.
pub(crate) fn empty(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
