//! The adapters behind one warp service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use eventwire_http::Api;
use eventwire_hub::Hub;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tower_service::Service as _;
use warp::Filter;
use warp::reply::Reply;

use crate::pipeline::Routes;
use crate::runs::Runs;

/// Every adapter at its paths.
pub(crate) fn all(hub: &Hub, agents: Option<&Path>, api: Api) -> Routes {
    let websocket = warp::path!("v1" / "ws").and(eventwire_websocket::filter(hub.clone()));
    let sse = warp::path!("v1" / "sse").and(eventwire_sse::filter(hub.clone()));
    let api = eventwire_http::routes_of(api);
    let runs = Runs::new(hub.clone(), agents).routes();
    service(websocket.or(sse).or(api).or(runs).recover(eventwire_http::recover))
}

/// A filter as a function from request to answer.
fn service<F>(filter: F) -> Routes
where
    F: Filter<Error = Infallible> + Clone + Send + Sync + 'static,
    F::Extract: Reply + Send,
{
    let service = warp::service(filter);
    Arc::new(move |mut request: Request<Incoming>, peer: SocketAddr| {
        // Adapters learn the peer's address from here.
        request.extensions_mut().insert(peer);
        let mut service = service.clone();
        async move {
            let answered: Result<Response<_>, Infallible> = service.call(request).await;
            let response = answered.unwrap_or_else(|never| match never {});
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        }
        .boxed()
    })
}
