//! What the tests share: a hub with acceptors over in-memory streams and real sockets, and a client that reads JSON.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::time::Duration;

use eventwire_hub::{Hub, Principal};
use eventwire_protocol::{AdwId, Claims, event::adw::TextBlock};
use eventwire_websocket::{Options, WebSocketAcceptor};
use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};

/// How long anything may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The ADW that most tests speak of.
pub const ADW: &str = "29fb6a3e";

pub fn adw() -> AdwId {
    ADW.parse().unwrap()
}

pub fn text(content: impl Into<String>) -> TextBlock {
    TextBlock { adw_id: adw(), content: content.into(), sequence: None, agent_role: None, parent_tool_use_id: None }
}

pub fn principal(name: &str) -> Principal {
    Principal::new(name, Claims::loopback())
}

/// A request that becomes a WebSocket.
pub fn request(path: &str) -> Request<()> {
    Request::get(path)
        .header("host", "localhost:4800")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "WebSocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap()
}

/// Serves a stream, whose other end is the client's, as a handshake for `path` would.
pub async fn serve<S>(acceptor: &WebSocketAcceptor, path: &str, stream: S) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = acceptor.negotiate(&request(path), None).await.unwrap();
    let acceptor = acceptor.clone();
    tokio::spawn(async move { acceptor.serve(handshake, stream).await })
}

/// A client over an in-memory stream that holds so many bytes in each direction, and the task that serves it.
pub async fn dial(hub: &Hub, path: &str, capacity: usize) -> (Client<DuplexStream>, JoinHandle<()>) {
    let (near, far) = duplex(capacity);
    let serving = serve(&WebSocketAcceptor::new(hub.clone()), path, far).await;
    (Client::over(near).await, serving)
}

/// The same with bytes instead of a client.
pub async fn dial_raw(hub: &Hub, path: &str, capacity: usize, options: Options) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = duplex(capacity);
    let serving = serve(&WebSocketAcceptor::with_options(hub.clone(), options), path, far).await;
    (near, serving)
}

/// A client that reads JSON and never waits forever.
pub struct Client<S> {
    pub stream: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn over(stream: S) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(4096);
        Self { stream: WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await }
    }

    pub async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.stream.next()).await.expect("something arrives in time")
    }

    /// The next event; pings are answered by the way.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("an event was expected, not {other:?}"),
            }
        }
    }

    /// The next event of a type; what comes before it is left aside.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let arrives = async {
            loop {
                let event = self.event().await;
                if event["type"] == kind {
                    return event;
                }
            }
        };
        timeout(PATIENCE, arrives).await.expect("the event arrives in time")
    }

    /// The code and reason of the close frame; what comes before it is left aside.
    pub async fn closed(&mut self) -> (u16, String) {
        let closes = async {
            loop {
                match self.message().await {
                    Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                    Some(Ok(_)) => {}
                    other => panic!("a close frame was expected, not {other:?}"),
                }
            }
        };
        timeout(PATIENCE, closes).await.expect("the server closes in time")
    }

    pub async fn send(&mut self, message: Message) {
        timeout(PATIENCE, self.stream.send(message)).await.expect("sent in time").expect("sent");
    }

    pub async fn command(&mut self, command: Value) {
        self.send(Message::text(command.to_string())).await;
    }

    /// Proves that everything published before has arrived: nothing but the pong may come.
    pub async fn fence(&mut self, id: &str) -> Vec<Value> {
        self.command(json!({"type": "ping", "id": id})).await;
        let mut before = Vec::new();
        loop {
            let event = self.event().await;
            if event["type"] == "connection.pong" && event["data"]["re"] == id {
                return before;
            }
            before.push(event);
        }
    }
}

/// A client frame: final and masked unless the first byte or `masked` says otherwise.
pub fn client_frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut frame = vec![first];
    let bit = if masked { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..126 => frame.push(bit | len as u8),
        len @ 126..65_536 => {
            frame.push(bit | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(bit | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x1f, 0x2e, 0x3d, 0x4c];
    if masked {
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend(payload);
    }
    frame
}
