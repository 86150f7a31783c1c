//! The acceptor as a warp filter.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::BodyExt as _;
use warp::{Filter, Reply as _, reply::Response};

use crate::acceptor::SseAcceptor;

/// A filter that answers every request that reaches it, with a stream or with what is wrong; mount it behind the path of
/// your choice, which in the gateway is `/v1/sse`.
///
/// The peer's address is that of `warp::serve`, or a [`SocketAddr`] among the extensions of the request where another
/// server is underneath.
///
/// ```
/// use eventwire_hub::Hub;
/// use warp::Filter as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let routes = warp::path!("v1" / "sse").and(eventwire_sse::filter(Hub::new()));
/// let server = warp::service(routes);
/// # drop(server);
/// # }
/// ```
pub fn filter(acceptor: impl Into<SseAcceptor>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let acceptor = acceptor.into();
    warp::method()
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<SocketAddr>())
        .and(warp::addr::remote())
        .then(move |method, query: String, headers, given: Option<SocketAddr>, remote: Option<SocketAddr>| {
            let acceptor = acceptor.clone();
            async move {
                let request = request(method, &query, headers);
                match acceptor.open(&request, given.or(remote).map(|peer| peer.ip())).await {
                    Ok(stream) => {
                        let (parts, body) = stream.into_parts();
                        let mut response = warp::reply::stream(body.into_data_stream()).into_response();
                        *response.status_mut() = parts.status;
                        *response.headers_mut() = parts.headers;
                        response.extensions_mut().extend(parts.extensions);
                        response
                    }
                    Err(rejection) => http::Response::<Bytes>::from(rejection).into_response(),
                }
            }
        })
}

/// The request again, as far as the acceptor looks at it.
fn request(method: Method, query: &str, headers: HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    // It was part of a URI until a moment ago.
    *request.uri_mut() = Uri::try_from(format!("/?{query}")).unwrap_or_default();
    *request.headers_mut() = headers;
    request
}
