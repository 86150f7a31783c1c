//! Bodies of requests, and answers.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use eventwire_hub::unfinished::Receiving;
use eventwire_protocol::{
    ErrorBody, ErrorCode,
    api::{Refused, systems::PlainError},
};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde::Serialize;

/// A body, of a request or of an answer, that may come piece by piece.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer of JSON that nobody stores.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    text(status, "application/json", serde_json::to_vec(body).unwrap_or_default())
}

/// An answer of text that nobody stores.
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The status of an error.
pub fn status_of(error: &ErrorBody) -> StatusCode {
    StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A refusal in the form of this protocol, for paths where the older system defines none.
pub fn refusal(error: &ErrorBody) -> Response<Body> {
    json(status_of(error), &Refused { error: error.clone() })
}

/// A refusal in the form that most of the older systems share: one sentence.
pub fn plain_refusal(status: StatusCode, error: &ErrorBody) -> Response<Body> {
    json(status, &PlainError { error: error.message.clone().into_owned() })
}

/// The whole body of a request.
///
/// # Errors
/// `too_large` over the limit, `timeout` when it comes too slowly (LIMIT-09), `unavailable` when it is given up to make room
/// (LIMIT-08), `malformed_frame` when it breaks off.
pub async fn read(mut body: Body, limit: usize, mut receiving: Receiving) -> Result<Bytes, ErrorBody> {
    // Piece by piece: the whole future of a limited body of boxed errors cannot be moved between threads.
    let mut whole = BytesMut::new();
    while let Some(frame) = receiving.next(body.frame()).await? {
        let Ok(frame) = frame else {
            return Err(ErrorBody::new(ErrorCode::MalformedFrame, "the body broke off"));
        };
        let Ok(piece) = frame.into_data() else { continue };
        if whole.len() + piece.len() > limit {
            let message = format!("the body is over the limit of {limit} bytes");
            return Err(ErrorBody::new(ErrorCode::TooLarge, message));
        }
        receiving.keep(piece.len()).await?;
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}
