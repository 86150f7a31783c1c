//! The acceptor in everything that is built on hyper: it takes the upgrade out of the request and serves it.

use std::net::IpAddr;

use bytes::Bytes;
use eventwire_hub::{audit, carrier};
use eventwire_protocol::{ErrorBody, ErrorCode};
use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::{
    acceptor::{Handshake, WebSocketAcceptor},
    rejection::Rejection,
};

impl WebSocketAcceptor {
    /// Answers a request that hyper, or a framework on it, has read; when it becomes a WebSocket, spawns a task that serves
    /// it. Never fails: what is wrong with the request is in the answer.
    ///
    /// The stream comes as the listener made it: to turn Nagle's delay off is the listener's business.
    pub fn upgrade<'a, B>(
        &'a self,
        request: &mut Request<B>,
        peer: Option<IpAddr>,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<'a, B> {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let negotiated = self.negotiate(request, peer);
        async move {
            match negotiated.await {
                Ok(handshake) => self.finish(handshake, upgrade),
                Err(rejection) => rejection.into(),
            }
        }
    }

    /// Answers a request whose handshake is decided, and spawns the task that serves the socket. `upgrade` was taken out of
    /// the request.
    pub fn finish(&self, handshake: Handshake, upgrade: Option<OnUpgrade>) -> Response<Bytes> {
        let Some(upgrade) = upgrade else {
            return Rejection::from(ErrorBody::new(
                ErrorCode::UpgradeRequired,
                "this connection cannot become a WebSocket; ask over HTTP/1.1",
            ))
            .into();
        };
        let response = handshake.response();
        let acceptor = self.clone();
        tokio::spawn(carrier::inherit(audit::carry(async move {
            match upgrade.await {
                Ok(stream) => acceptor.serve(handshake, TokioIo::new(stream)).await,
                Err(error) => tracing::debug!(%error, "the client left before its WebSocket was open"),
            }
        })));
        response
    }
}
