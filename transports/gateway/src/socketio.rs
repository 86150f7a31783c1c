//! The Socket.IO server: which namespace is whose.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use eventwire_hub::{ConnectRequest, Credentials, Holder, Hub, Meta};
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_socketio::{Admitted, ConnectHandler, ConnectInfo, SocketIoAcceptor};
use eventwire_systems::amiga::{Amiga, Newcomer};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;

use crate::pipeline::Routes;

/// The namespaces: two are AMIGA's, one speaks our own protocol.
const NAMESPACES: &[&str] = &["/", "/metrics", "/v1"];

/// Receives the clients of every namespace.
struct Doors {
    hub: Hub,
    amiga: Amiga,
}

#[async_trait]
impl ConnectHandler for Doors {
    async fn admit(&self, arrival: &ConnectInfo) -> Result<Admitted, ErrorBody> {
        let (token, peer, user_agent) = (arrival.token()?, arrival.peer, arrival.user_agent());
        let admitted = match arrival.namespace.as_str() {
            "/" | "/metrics" => {
                let attachments = arrival.attachments.clone();
                let newcomer = Newcomer {
                    token,
                    socket_id: arrival.socket_id.clone(),
                    peer,
                    user_agent,
                    as_bytes: Arc::new(move |event, as_bytes| attachments.set(event, as_bytes)),
                };
                let (request, handler) = self.amiga.receive(newcomer).await?;
                Admitted { request, handler: Some(handler) }
            }
            "/v1" => {
                let principal = self.hub.authenticate(&Credentials { token, peer }).await?;
                let meta = Meta { transport: "socketio", remote_address: peer, user_agent };
                let request = ConnectRequest { meta, ..ConnectRequest::new(principal, "socketio") };
                Admitted { request, handler: None }
            }
            _ => return Err(ErrorBody::new(ErrorCode::NotFound, "no such namespace")),
        };
        arrival.check_admission(&self.hub, &Holder::of(&admitted.request.principal, peer))?;
        Ok(admitted)
    }
}

/// The server over a hub.
pub(crate) fn server(hub: &Hub, amiga: &Amiga) -> SocketIoAcceptor {
    let doors = Doors { hub: hub.clone(), amiga: amiga.clone() };
    SocketIoAcceptor::new(hub.clone(), NAMESPACES, Arc::new(doors))
}

/// What answers at its path.
pub(crate) fn routes(server: &SocketIoAcceptor) -> Routes {
    let server = server.clone();
    Arc::new(move |request, peer: SocketAddr| {
        let server = server.clone();
        async move {
            let response = server.answer(request, Some(peer.ip())).await;
            response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
        }
        .boxed()
    })
}
