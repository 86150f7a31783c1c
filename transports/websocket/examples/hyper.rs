//! A whole service on nothing but hyper: a WebSocket at `/v1/ws`, and an event every second.
//!
//! `cargo run -p eventwire-websocket --example hyper`
#![allow(clippy::print_stdout, reason = "an example says where it listens")]

use std::{convert::Infallible, error::Error, time::Duration};

use bytes::Bytes;
use eventwire_hub::Hub;
use eventwire_protocol::{AdwId, event::adw::TextBlock};
use eventwire_websocket::WebSocketAcceptor;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    time::interval,
};

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, hub: Hub) -> Result<(), Box<dyn Error + Send + Sync>> {
    let adw = hub.adw("29fb6a3e".parse()?);
    let acceptor = WebSocketAcceptor::new(hub);
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                tokio::spawn(speak_http(socket, acceptor.clone()));
            }
            _ = second.tick() => {
                adw.publish(tick(*adw.id())).await?;
            }
        }
    }
}

async fn speak_http(socket: TcpStream, acceptor: WebSocketAcceptor) -> Result<(), Box<dyn Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let peer = socket.peer_addr()?.ip();
    let service = service_fn(|mut request: Request<Incoming>| {
        let acceptor = acceptor.clone();
        async move {
            let mut response = Response::new(Bytes::new());
            match request.uri().path() {
                "/v1/ws" => response = acceptor.upgrade(&mut request, Some(peer)).await,
                _ => *response.status_mut() = StatusCode::NOT_FOUND,
            }
            Ok::<_, Infallible>(response.map(Full::new))
        }
    });
    Ok(http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await?)
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
