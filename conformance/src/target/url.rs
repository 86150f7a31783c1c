//! A server at a URL: WebSocket frames by tokio-tungstenite, HTTP and server-sent events by hyper. The Rust client of this
//! project is not used, so that its view of the protocol and the suite's stay two.

use std::{collections::VecDeque, fmt::Write as _};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::{ClientFrame, Dial, Fault, HttpAnswer, HttpRequest, Link, Receipt, Received, Target};
use crate::{
    case::{Need, Over},
    principals::Principal,
};

/// A server at `http://host:port`.
#[derive(Clone, Debug)]
pub struct UrlTarget {
    /// `host:port`, as it is dialled and as the Host header says.
    authority: String,
    /// Stands before `/v1`, without a slash at its end.
    base: String,
    /// Whether it is one that asks nobody who they are.
    open: bool,
}

/// The URL is not one that the runner can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a server address; give one such as http://127.0.0.1:4800")]
pub struct BadUrl(String);

impl UrlTarget {
    /// A target at `http://host[:port][/base]`.
    ///
    /// # Errors
    /// The URL has another scheme, or none, or no host.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(url.to_owned());
        let uri: hyper::Uri = url.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() {
            return Err(bad());
        }
        Ok(UrlTarget {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            base: uri.path().trim_end_matches('/').to_owned(),
            open: false,
        })
    }

    /// The same, of a server that asks nobody who they are: cases about keys are not about it.
    #[must_use]
    pub fn open(self) -> Self {
        UrlTarget { open: true, ..self }
    }

    async fn dial(&self) -> Result<TcpStream, Fault> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(|error| Fault::Unreachable(format!("{} does not answer: {error}", self.authority)))?;
        // Small frames, each waited for: without this they wait for each other's acknowledgement.
        stream.set_nodelay(true).map_err(|error| Fault::Unreachable(error.to_string()))?;
        Ok(stream)
    }

    async fn websocket(&self, dial: &Dial) -> Result<Box<dyn Link>, Fault> {
        let unusable = |error: tungstenite::Error| Fault::Unreachable(format!("no WebSocket: {error}"));
        let mut request = format!("ws://{}{}/v1/ws{}", self.authority, self.base, query(dial))
            .into_client_request()
            .map_err(unusable)?;
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header::HeaderValue::from_static("eventwire.v1"));
        if let Some(principal) = &dial.principal {
            headers.insert(header::AUTHORIZATION, bearer(principal)?);
        }
        match tokio_tungstenite::client_async(request, self.dial().await?).await {
            Ok((stream, _)) => Ok(Box::new(WebSocketLink { stream })),
            Err(tungstenite::Error::Http(answer)) => {
                let status = answer.status().as_u16();
                let body = answer.body().clone().unwrap_or_default();
                Err(refusal(status, &body))
            }
            Err(error) => Err(unusable(error)),
        }
    }

    async fn sse(&self, dial: &Dial) -> Result<Box<dyn Link>, Fault> {
        let mut request = HttpRequest {
            principal: dial.principal.clone(),
            method: "GET".to_owned(),
            path: format!("/v1/sse{}", query(dial)),
            ..HttpRequest::default()
        };
        request.headers.insert("accept".to_owned(), "text/event-stream".to_owned());
        if let (Some(cursor), true) = (&dial.cursor, dial.cursor_as_last_event_id) {
            request.headers.insert("last-event-id".to_owned(), cursor.clone());
        }
        let answer = self.request(&request).await?;
        if answer.status() != 200 {
            let status = answer.status().as_u16();
            let body = collect(answer).await?;
            return Err(refusal(status, &body));
        }
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(Fault::Unreachable(format!("/v1/sse answers {kind:?} instead of text/event-stream")));
        }
        Ok(Box::new(SseLink { body: answer.into_body(), parser: SseParser::default(), ready: VecDeque::new() }))
    }

    async fn request(&self, request: &HttpRequest) -> Result<Response<Incoming>, Fault> {
        let unusable =
            |error: hyper::Error| Fault::Unreachable(format!("{} {}: {error}", request.method, request.path));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.dial().await?)).await.map_err(unusable)?;
        // Ends by itself when the answer is read or dropped.
        tokio::spawn(connection);
        let mut builder =
            Request::builder().method(request.method.as_str()).uri(format!("{}{}", self.base, request.path));
        if !request.headers.contains_key("host") {
            builder = builder.header(header::HOST, &self.authority);
        }
        if let Some(principal) = &request.principal {
            builder = builder.header(header::AUTHORIZATION, bearer(principal)?);
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let request = builder
            .body(Full::new(Bytes::from(request.body.clone())))
            .map_err(|error| Fault::Unreachable(format!("the case asks for an impossible request: {error}")))?;
        sender.send_request(request).await.map_err(unusable)
    }

    /// A request that promises its whole body, sends half of it, and hangs up.
    async fn half_request(&self, request: &HttpRequest) -> Result<HttpAnswer, Fault> {
        let mut head = format!("{} {}{} HTTP/1.1\r\n", request.method, self.base, request.path);
        // Writing to a String cannot fail.
        let _ = write!(head, "host: {}\r\ncontent-length: {}\r\n", self.authority, request.body.len());
        if let Some(principal) = &request.principal {
            let _ = write!(head, "authorization: Bearer {}\r\n", principal.token);
        }
        for (name, value) in &request.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut stream = self.dial().await?;
        let half = request.body.len() / 2;
        let sent = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(request.body.get(..half).unwrap_or_default()).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| Fault::Broken(error.to_string()))?;
        Ok(HttpAnswer::default())
    }
}

#[async_trait]
impl Target for UrlTarget {
    fn name(&self) -> String {
        format!("http://{}{}", self.authority, self.base)
    }

    fn faces(&self) -> &[Need] {
        match self.open {
            true => &[Need::Websocket, Need::Sse, Need::Http],
            false => &[Need::Websocket, Need::Sse, Need::Http, Need::Keys],
        }
    }

    async fn connect(&self, dial: &Dial) -> Result<Box<dyn Link>, Fault> {
        match dial.over {
            None | Some(Over::Websocket) => self.websocket(dial).await,
            Some(Over::Sse) => self.sse(dial).await,
        }
    }

    async fn publish(&self, principal: Option<&Principal>, items: &[Value]) -> Result<Vec<Receipt>, Fault> {
        let mut request = HttpRequest {
            principal: principal.cloned(),
            method: "POST".to_owned(),
            path: "/v1/events".to_owned(),
            body: Value::Array(items.to_vec()).to_string().into_bytes(),
            ..HttpRequest::default()
        };
        request.headers.insert("content-type".to_owned(), "application/json".to_owned());
        let answer = self.http(&request).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(results) = body.get("results").and_then(Value::as_array) else {
            return Err(refusal(answer.status, &answer.body));
        };
        if results.len() != items.len() {
            return Err(Fault::Unreachable(format!("{} items published, {} results", items.len(), results.len())));
        }
        Ok(results
            .iter()
            .map(|result| match result.pointer("/error/code").and_then(Value::as_str) {
                Some(code) => Receipt::Refused(code.to_owned()),
                None => Receipt::Accepted(result.get("seq").and_then(Value::as_u64)),
            })
            .collect())
    }

    async fn http(&self, request: &HttpRequest) -> Result<HttpAnswer, Fault> {
        if request.half {
            return self.half_request(request).await;
        }
        let answer = self.request(request).await?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        Ok(HttpAnswer { status, headers, body: collect(answer).await? })
    }
}

async fn collect(answer: Response<Incoming>) -> Result<Vec<u8>, Fault> {
    let body = answer.into_body().collect().await.map_err(|error| Fault::Broken(error.to_string()))?;
    Ok(body.to_bytes().to_vec())
}

fn bearer(principal: &Principal) -> Result<header::HeaderValue, Fault> {
    format!("Bearer {}", principal.token)
        .parse()
        .map_err(|_| Fault::Unreachable(format!("the token of {} cannot stand in a header", principal.name)))
}

/// The error code of a refusal, or the status where the body has none.
fn refusal(status: u16, body: &[u8]) -> Fault {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| body.pointer(name).and_then(Value::as_str).map(str::to_owned);
    Fault::Refused {
        code: part("/error/code").unwrap_or_else(|| format!("status {status} without an error body")),
        message: part("/error/message").unwrap_or_default(),
    }
}

/// The initial set as a query. Every id of a case is made of characters that need no escape, but a case may be about
/// one that does.
fn query(dial: &Dial) -> String {
    let mut parts = Vec::new();
    for (name, ids) in [("adw", &dial.adw), ("context", &dial.context), ("room", &dial.room)] {
        if !ids.is_empty() {
            parts.push(format!("{name}={}", ids.iter().map(|id| escape(id)).collect::<Vec<_>>().join(",")));
        }
    }
    if dial.observe {
        parts.push("observe=1".to_owned());
    }
    if let (Some(cursor), false) = (&dial.cursor, dial.cursor_as_last_event_id) {
        parts.push(format!("cursor={}", escape(cursor)));
    }
    if let Some(ticket) = &dial.ticket {
        parts.push(format!("ticket={}", escape(ticket)));
    }
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (byte as char).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

struct WebSocketLink {
    stream: WebSocketStream<TcpStream>,
}

#[async_trait]
impl Link for WebSocketLink {
    async fn send(&mut self, frame: &ClientFrame) -> Result<(), Fault> {
        // A frame built by hand: a `Message` could not carry text that is not UTF-8.
        let message = match frame {
            ClientFrame::Text(bytes) => {
                Message::Frame(Frame::message(Bytes::from(bytes.clone()), OpCode::Data(Data::Text), true))
            }
            ClientFrame::Binary(bytes) => Message::binary(bytes.clone()),
        };
        self.stream.send(message).await.map_err(|error| Fault::Broken(error.to_string()))
    }

    async fn receive(&mut self) -> Result<Received, Fault> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(Received::Frame { text: text.as_str().to_owned(), cursor: None });
                }
                Some(Ok(Message::Close(close))) => {
                    return Ok(match close {
                        Some(close) => {
                            Received::Closed { code: close.code.into(), reason: close.reason.as_str().to_owned() }
                        }
                        None => Received::Closed { code: 1005, reason: String::new() },
                    });
                }
                Some(Ok(Message::Binary(_))) => {
                    return Err(Fault::Broken("the server sent a binary frame".to_owned()));
                }
                // Pings are answered by tungstenite.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Fault::Broken(error.to_string())),
                None => return Err(Fault::Broken("end of stream".to_owned())),
            }
        }
    }
}

struct SseLink {
    body: Incoming,
    parser: SseParser,
    ready: VecDeque<Received>,
}

#[async_trait]
impl Link for SseLink {
    async fn send(&mut self, _: &ClientFrame) -> Result<(), Fault> {
        Err(Fault::Unreachable("the case sends a frame over server-sent events, which only go one way".to_owned()))
    }

    async fn receive(&mut self) -> Result<Received, Fault> {
        loop {
            if let Some(received) = self.ready.pop_front() {
                return Ok(received);
            }
            match self.body.frame().await {
                Some(Ok(part)) => {
                    if let Ok(bytes) = part.into_data() {
                        self.parser.feed(&bytes, &mut self.ready)?;
                    }
                }
                Some(Err(error)) => return Err(Fault::Broken(error.to_string())),
                None => return Err(Fault::Broken("end of stream".to_owned())),
            }
        }
    }
}

/// Reads an event stream as a browser does (HTML standard, section 9.2.6), and refuses what this protocol never writes.
#[derive(Debug, Default)]
struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    data: Vec<String>,
    last_id: Option<String>,
}

impl SseParser {
    fn feed(&mut self, bytes: &[u8], ready: &mut VecDeque<Received>) -> Result<(), Fault> {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    self.line(&line, ready)?;
                }
                other => {
                    self.after_cr = false;
                    self.line.push(other);
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], ready: &mut VecDeque<Received>) -> Result<(), Fault> {
        let line = std::str::from_utf8(line).map_err(|_| Fault::Broken("the event stream is not UTF-8".to_owned()))?;
        if line.is_empty() {
            if !self.data.is_empty() {
                let text = std::mem::take(&mut self.data).join("\n");
                ready.push_back(Received::Frame { text, cursor: self.last_id.clone() });
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.data.push(value.to_owned()),
            "id" => self.last_id = Some(value.to_owned()),
            "event" => return Err(Fault::Broken(format!("an `event: {value}` line hides the event from onmessage"))),
            // Comments keep the connection alive; a browser ignores other fields.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&str]) -> Vec<Received> {
        let (mut parser, mut ready) = (SseParser::default(), VecDeque::new());
        for chunk in chunks {
            parser.feed(chunk.as_bytes(), &mut ready).unwrap();
        }
        ready.into()
    }

    fn frame(text: &str, cursor: Option<&str>) -> Received {
        Received::Frame { text: text.to_owned(), cursor: cursor.map(str::to_owned) }
    }

    #[test]
    fn events_are_read_over_any_chunk_border_and_line_end() {
        let expected = vec![frame("{\"a\":1}", Some("x-1")), frame("{\"b\":2}", Some("x-1"))];
        assert_eq!(parse(&["id: x-1\ndata: {\"a\":1}\n\n: keep-alive\n\ndata: {\"b\":2}\n\n"]), expected);
        assert_eq!(parse(&["id: x-1\r", "\nda", "ta: {\"a\":1}\r\n\r\n", "data:{\"b\":2}\r\r"]), expected);
    }

    #[test]
    fn an_event_line_is_refused_since_onmessage_would_not_see_it() {
        let (mut parser, mut ready) = (SseParser::default(), VecDeque::new());
        assert!(parser.feed(b"event: adw\n", &mut ready).is_err());
    }

    #[test]
    fn urls_are_plain_http_with_a_host() {
        assert_eq!(UrlTarget::new("http://127.0.0.1:4800/").unwrap().name(), "http://127.0.0.1:4800");
        assert_eq!(UrlTarget::new("http://example.test/base/").unwrap().name(), "http://example.test:80/base");
        for bad in ["127.0.0.1:4800", "https://x", "ws://x", "http://", "/v1", ""] {
            assert!(UrlTarget::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_names_the_initial_set_and_escapes_what_is_odd() {
        let dial = Dial {
            adw: vec!["a".to_owned(), "b".to_owned()],
            context: vec!["x&y".to_owned()],
            observe: true,
            cursor: Some("1-2".to_owned()),
            ..Dial::default()
        };
        assert_eq!(query(&dial), "?adw=a,b&context=x%26y&observe=1&cursor=1-2");
        assert_eq!(query(&Dial { cursor_as_last_event_id: true, cursor: dial.cursor, ..Dial::default() }), "");
    }
}
