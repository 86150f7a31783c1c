//! The acceptor as a warp filter.
//!
//! It takes the upgrade itself: `warp::ws` chooses no subprotocol, copies every text, and keeps a read buffer of 128 KiB
//! for each connection. See the `warp` example for a whole service.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use hyper::upgrade::OnUpgrade;
use warp::Filter;

use crate::acceptor::WebSocketAcceptor;

/// A filter that answers every request that reaches it, with an upgrade or with what is wrong; mount it behind the path of
/// your choice, which in the gateway is `/v1/ws`.
///
/// The peer's address is that of `warp::serve`, or a [`SocketAddr`] among the extensions of the request where another
/// server is underneath.
pub fn filter(
    acceptor: impl Into<WebSocketAcceptor>,
) -> impl Filter<Extract = (Response<Bytes>,), Error = Infallible> + Clone {
    let acceptor = acceptor.into();
    warp::method()
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::optional::<SocketAddr>())
        .and(warp::addr::remote())
        .then(move |method, query: String, headers, upgrade, given: Option<SocketAddr>, remote: Option<SocketAddr>| {
            let acceptor = acceptor.clone();
            async move {
                let mut request = request(method, &query, headers, upgrade);
                acceptor.upgrade(&mut request, given.or(remote).map(|peer| peer.ip())).await
            }
        })
}

/// The request again, as far as the acceptor looks at it.
fn request(method: Method, query: &str, headers: HeaderMap, upgrade: Option<OnUpgrade>) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    // It was part of a URI until a moment ago.
    *request.uri_mut() = Uri::try_from(format!("/?{query}")).unwrap_or_default();
    *request.headers_mut() = headers;
    if let Some(upgrade) = upgrade {
        request.extensions_mut().insert(upgrade);
    }
    request
}
