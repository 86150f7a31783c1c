//! Everything that is dialled, in one place: the connector with its TLS, WebSockets, event streams, requests.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::Value;
use tokio::{net::TcpStream, time::Instant};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, protocol::CloseFrame},
};
use tower_service::Service as _;

use crate::{
    error::BuildError,
    event_stream::{Block, Reader},
    reconnect::Ended,
};

type Plain = TokioIo<TcpStream>;
type Line = TokioIo<MaybeHttpsStream<Plain>>;
type Body = Full<Bytes>;

/// The authorities whose certificates are believed over `https` and `wss`: those of browsers, and what is added.
///
/// There is no way to believe everything.
#[derive(Clone, Debug)]
pub struct Authorities {
    roots: rustls::RootCertStore,
}

impl Default for Authorities {
    /// Those that browsers trust.
    fn default() -> Self {
        Authorities { roots: rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() } }
    }
}

impl Authorities {
    /// Adds the certificates in a PEM text, such as that of a company's own authority.
    ///
    /// # Errors
    /// [`BuildError::Certificate`]: there is none in it, or one that cannot be used.
    pub fn and_pem(mut self, pem: &[u8]) -> Result<Self, BuildError> {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let wrong = |why: String| BuildError::Certificate { why };
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            self.roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(wrong("the text has no block BEGIN CERTIFICATE".to_owned()));
        }
        Ok(self)
    }
}

/// Dials servers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    connector: HttpsConnector<HttpConnector>,
    http: Client<HttpsConnector<HttpConnector>, Body>,
}

/// An attempt that led to no connection.
#[derive(Debug)]
pub(crate) struct NoConnection {
    pub(crate) ended: Ended,
    /// Whether there was a server.
    pub(crate) reached: bool,
}

impl Dialer {
    pub(crate) fn new(authorities: Authorities) -> Result<Self, BuildError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BuildError::Certificate { why: error.to_string() })?
            .with_root_certificates(authorities.roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        let http = Client::builder(TokioExecutor::new()).build(connector.clone());
        Ok(Dialer { connector, http })
    }

    /// A line to the server of an `http` or `https` address.
    async fn line(&self, url: &str) -> Result<Line, NoConnection> {
        let lost = |why: String| NoConnection { ended: Ended::Lost(why), reached: false };
        let uri = url.parse().map_err(|error: http::uri::InvalidUri| lost(error.to_string()))?;
        let stream = self.connector.clone().call(uri).await.map_err(|error| lost(chain(&*error)))?;
        Ok(TokioIo::new(stream))
    }

    /// Opens a WebSocket. `url` is where it is dialled, as `http` or `https`.
    pub(crate) async fn websocket(
        &self,
        url: &str,
        request: Request<()>,
        max_frame: usize,
    ) -> Result<Link, NoConnection> {
        let line = self.line(url).await?;
        let config = tungstenite::protocol::WebSocketConfig::default()
            .max_message_size(Some(max_frame))
            .max_frame_size(Some(max_frame));
        match client_async_with_config(request, line, Some(config)).await {
            Ok((socket, _)) => Ok(Link::WebSocket(Box::new(socket))),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err(NoConnection { ended: refused(answer.status(), body), reached: true })
            }
            Err(error) => Err(NoConnection { ended: Ended::Lost(error.to_string()), reached: true }),
        }
    }

    /// Opens an event stream on a line of its own, which ends with it.
    pub(crate) async fn event_stream(
        &self,
        url: &str,
        request: Request<Body>,
        max_frame: usize,
    ) -> Result<Link, NoConnection> {
        let line = self.line(url).await?;
        let lost = |error: hyper::Error| NoConnection { ended: Ended::Lost(chain(&error)), reached: true };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(line)).await.map_err(lost)?;
        let driver = Driver(tokio::spawn(async move {
            // How it ended is seen by whoever reads the body.
            let _ = connection.await;
        }));
        let asked = Instant::now();
        let answer = sender.send_request(request).await.map_err(lost)?;
        let opened_in = asked.elapsed();
        let (head, body) = answer.into_parts();
        let is_stream = head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"));
        if head.status != http::StatusCode::OK || !is_stream {
            let body = http_body_util::Limited::new(body, 64 * 1024).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(NoConnection { ended: refused(head.status, &body), reached: true });
        }
        Ok(Link::Sse(Box::new(EventStream {
            body,
            reader: Reader::new(max_frame),
            blocks: VecDeque::new(),
            opened_in,
            _sender: sender,
            _driver: driver,
        })))
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn ask(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        self.http.request(request).await
    }
}

/// The `User-Agent` of every request (RFC 9110, section 10.1.5).
pub(crate) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("eventwire-client/", env!("CARGO_PKG_VERSION")));

/// What an error says, with what is behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = error.source();
    }
    text
}

/// What a refusal says, in the words of the server if they are ours (HTTP-02).
fn refused(status: http::StatusCode, body: &[u8]) -> Ended {
    let said = serde_json::from_slice::<Value>(body).ok();
    let message = said.as_ref().and_then(|said| said.pointer("/error/message")).and_then(Value::as_str);
    let reason = match message {
        _ if status == http::StatusCode::UPGRADE_REQUIRED => {
            let said = message.map(|message| format!(": {message}")).unwrap_or_default();
            format!("a proxy before the server does not pass the header Upgrade on, which WebSockets need (426){said}")
        }
        Some(message) => message.to_owned(),
        None if status == http::StatusCode::OK => "the answer is not an event stream of Eventwire".to_owned(),
        None => status.to_string(),
    };
    Ended::Refused { status: status.as_u16(), reason }
}

/// The task behind an event stream; ends with it.
#[derive(Debug)]
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An open event stream.
#[derive(Debug)]
pub(crate) struct EventStream {
    body: Incoming,
    reader: Reader,
    blocks: VecDeque<Block>,
    /// From the request to the head of its answer: one round trip.
    pub(crate) opened_in: Duration,
    /// A connection whose last sender is gone may end when it likes.
    _sender: hyper::client::conn::http1::SendRequest<Body>,
    _driver: Driver,
}

/// An open connection, whatever carries it.
#[derive(Debug)]
pub(crate) enum Link {
    WebSocket(Box<WebSocketStream<Line>>),
    Sse(Box<EventStream>),
}

/// What came over a connection.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A frame.
    Text(tungstenite::Utf8Bytes),
    /// A block of an event stream.
    Block(Block),
    /// A sign of life.
    Life,
    /// The end.
    End(Ended),
    /// The end of an event stream as the server ends one, and not a line that broke.
    Finished,
}

impl Link {
    /// The next that comes. Cancel safe.
    pub(crate) async fn next(&mut self) -> Heard {
        match self {
            Link::WebSocket(socket) => match socket.next().await {
                Some(Ok(Message::Text(text))) => Heard::Text(text),
                // Pings are answered by tungstenite.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Life,
                Some(Ok(Message::Binary(_))) => Heard::End(Ended::Lost("the server sent a binary frame".to_owned())),
                Some(Ok(Message::Close(close))) => {
                    let (code, reason) =
                        close.map_or((1005, String::new()), |close| (close.code.into(), close.reason.to_string()));
                    Heard::End(Ended::Closed { code, reason })
                }
                Some(Err(error)) => Heard::End(Ended::Lost(error.to_string())),
                None => Heard::End(Ended::Lost("end of stream".to_owned())),
            },
            Link::Sse(stream) => stream.next().await,
        }
    }

    /// Sends a command. An event stream takes none.
    pub(crate) async fn send(&mut self, text: String) -> Result<(), String> {
        match self {
            Link::WebSocket(socket) => socket.send(Message::text(text)).await.map_err(|error| error.to_string()),
            Link::Sse(_) => Err("an event stream carries no commands".to_owned()),
        }
    }

    /// Closes politely.
    pub(crate) async fn close(&mut self, code: u16) {
        if let Link::WebSocket(socket) = self {
            // A server that is gone already needs no close.
            let _ = (**socket).close(Some(CloseFrame { code: code.into(), reason: Default::default() })).await;
        }
    }
}

impl EventStream {
    async fn next(&mut self) -> Heard {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                return Heard::Block(block);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if self.reader.push(&bytes).is_err() {
                        return Heard::End(Ended::Lost("the server sent a line that is too long".to_owned()));
                    }
                    self.blocks.extend(std::iter::from_fn(|| self.reader.next()));
                    if self.blocks.is_empty() {
                        return Heard::Life;
                    }
                }
                Some(Err(error)) => return Heard::End(Ended::Lost(chain(&error))),
                None => return Heard::Finished,
            }
        }
    }
}

/// `Bearer <token>`, marked so that it is not printed, without the white space around a token that was read from a file.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim_ascii())).map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
