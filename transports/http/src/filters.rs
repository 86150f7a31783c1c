//! The API as warp filters.

use std::{convert::Infallible, net::SocketAddr};

use bytes::{Buf, Bytes};
use eventwire_hub::Hub;
use eventwire_protocol::{ErrorBody, ErrorCode};
use futures_util::Stream;
use http::{HeaderMap, Method};
use warp::{Filter, Rejection, Reply as _, filters::path::FullPath, host::Authority, reject, reply::Response};

use crate::{
    answer::Refusal,
    api::{Api, Head},
    paths,
};

/// Everything that [`paths::ROUTES`] lists. Other paths are rejected as not found, so that further filters get their turn;
/// a wrong method on one of these is answered here.
///
/// The peer's address is what `warp::serve` says, or a `SocketAddr` in the extensions of the request.
///
/// ```
/// use eventwire_hub::Hub;
/// use warp::Filter as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let routes = eventwire_http::routes(&Hub::new()).recover(eventwire_http::recover);
/// let server = warp::service(routes);
/// # drop(server);
/// # }
/// ```
pub fn routes(hub: &Hub) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    routes_of(Api::new(hub.clone()))
}

/// [`routes`] of an API that was set up by itself.
pub fn routes_of(api: Api) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    warp::path::full()
        .and_then(|path: FullPath| async move { paths::find(path.as_str()).map(|_| ()).ok_or_else(reject::not_found) })
        .untuple_one()
        .map(move || api.clone())
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::host::optional())
        .and(warp::addr::remote())
        .and(warp::ext::optional::<SocketAddr>())
        .and(warp::body::stream())
        .then(answer)
}

#[allow(clippy::too_many_arguments, reason = "warp hands over the parts of a request one by one")]
async fn answer(
    api: Api,
    method: Method,
    path: FullPath,
    query: String,
    headers: HeaderMap,
    authority: Option<Authority>,
    remote: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Response {
    let head = Head {
        method: &method,
        path: path.as_str(),
        query: &query,
        headers: &headers,
        authority: authority.as_ref().map(Authority::as_str),
        peer: peer.or(remote).map(|peer| peer.ip()),
    };
    reply(api.answer_parts(head, body).await)
}

fn reply(answer: http::Response<Bytes>) -> Response {
    answer.into_response()
}

/// Turns what no filter took, and what a filter refused, into the error body of all other refusals (HTTP-02).
///
/// # Errors
/// None.
pub async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    let (code, message) = if rejection.is_not_found() {
        (ErrorCode::NotFound, "nothing is at this path")
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        (ErrorCode::MethodNotAllowed, "this path does not take the method")
    } else if rejection.find::<reject::UnsupportedMediaType>().is_some() {
        (ErrorCode::UnsupportedMediaType, "this path does not read bodies of the type")
    } else if rejection.find::<reject::PayloadTooLarge>().is_some()
        || rejection.find::<reject::LengthRequired>().is_some()
    {
        (ErrorCode::TooLarge, "the body is too large, or does not say how large it is")
    } else if is_bad_request(&rejection) {
        let error = ErrorBody::new(ErrorCode::InvalidPayload, "a header, cookie or the query is missing or unreadable");
        return Ok(reply(Refusal::bad_request(error).into_response()));
    } else {
        tracing::error!(?rejection, "a filter rejected a request for a reason that has no answer");
        (ErrorCode::Internal, "the server has a fault; it has been logged")
    };
    Ok(reply(Refusal::new(code, message).into_response()))
}

fn is_bad_request(rejection: &Rejection) -> bool {
    rejection.find::<reject::InvalidHeader>().is_some()
        || rejection.find::<reject::MissingHeader>().is_some()
        || rejection.find::<reject::MissingCookie>().is_some()
        || rejection.find::<reject::InvalidQuery>().is_some()
}
