//! A whole service on axum: a WebSocket at `/v1/ws`, and an event every second.
//!
//! `cargo run -p eventwire-websocket --example axum`
#![allow(clippy::print_stdout, reason = "an example says where it listens")]

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
    routing::any,
    serve::ListenerExt as _,
};
use eventwire_hub::Hub;
use eventwire_protocol::{AdwId, event::adw::TextBlock};
use eventwire_websocket::WebSocketAcceptor;
use tokio::{net::TcpListener, time::interval};

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, hub: Hub) -> Result<(), Box<dyn Error + Send + Sync>> {
    let adw = hub.adw("29fb6a3e".parse()?);
    let ticking = async move {
        let mut second = interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            adw.publish(tick(*adw.id())).await?;
        }
    };
    let routes = Router::new().route("/v1/ws", any(websocket)).with_state(WebSocketAcceptor::new(hub));
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()) => Ok(served?),
        failed = ticking => failed,
    }
}

async fn websocket(
    State(acceptor): State<WebSocketAcceptor>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    acceptor.upgrade(&mut request, Some(peer.ip())).await.map(Body::from)
}

fn tick(adw_id: AdwId) -> TextBlock {
    TextBlock { adw_id, content: "tick".into(), sequence: None, agent_role: None, parent_tool_use_id: None }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:4801").await?;
    println!("ws://{}/v1/ws?adw=29fb6a3e", listener.local_addr()?);
    serve(listener, Hub::new()).await
}
