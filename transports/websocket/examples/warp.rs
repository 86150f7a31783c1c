//! A whole service on warp: a WebSocket at `/v1/ws`, and an event every second.
//!
//! `cargo run -p eventwire-websocket --example warp`
#![allow(clippy::print_stdout, reason = "an example says where it listens")]

use std::{error::Error, time::Duration};

use eventwire_hub::Hub;
use eventwire_protocol::{AdwId, event::adw::TextBlock};
use tokio::{net::TcpListener, time::interval};
use warp::Filter;

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
    // warp::serve leaves Nagle's delay on; where milliseconds count, accept the sockets yourself, as the hyper example does.
    let routes = warp::path!("v1" / "ws").and(eventwire_websocket::filter(hub));
    tokio::select! {
        () = warp::serve(routes).incoming(listener).run() => Ok(()),
        failed = ticking => failed,
    }
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
