//! The first request head of a connection, looked at before an HTTP server gets the socket.
//!
//! An HTTP server that loses patience with a head, or cannot read it, closes the socket or answers without a word. People who
//! debug a client deserve a sentence, so the head is waited for here, by peeking: nothing is taken out of the socket, and a head
//! that is complete is read again by the server as if nobody had looked. Later requests of the same connection are the server's.

use std::io;
use std::time::Duration;

use eventwire_hub::unfinished::Reservation;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_protocol::version;
use http::StatusCode;
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

/// Largest head of a request: request line and headers. A resume cursor of 48 KiB fits into it.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most headers of a request.
pub(crate) const MAX_HEADERS: usize = 100;
/// How long, and how much, is still read from a peer that is being refused, so that it gets to read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// What a refusal before routing has to know of its request: how its client can read the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The origin of the page, where the head names one. It is not checked.
    pub(crate) origin: Option<String>,
    /// Whether an event source asks for the stream of events, by the path and by `Accept`.
    pub(crate) event_source: bool,
}

impl Asker {
    /// What the bytes of a head say, which need not be complete.
    fn of(head: &[u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let target = lines.next().unwrap_or_default().strip_prefix(b"GET ").unwrap_or_default();
        let path = target.split(|byte| matches!(byte, b'?' | b' ')).next().unwrap_or_default();
        let (mut origins, mut accepts) = (Vec::new(), false);
        for line in lines {
            let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
                continue;
            };
            if name.eq_ignore_ascii_case("origin") {
                origins.push(value.trim().to_owned());
            } else if name.eq_ignore_ascii_case("accept") {
                accepts |= value.to_ascii_lowercase().contains("text/event-stream");
            }
        }
        // Of two origins neither is known to be that of the page.
        let origin = if origins.len() == 1 { origins.pop() } else { None };
        Self { origin, event_source: accepts && path == b"/v1/sse" }
    }
}

/// What came first on a connection.
#[derive(Debug)]
pub(crate) enum First {
    /// A whole head; the socket still holds it.
    Head {
        /// Whether it brings something that may be credentials.
        shows: bool,
        /// Who reads a refusal.
        asker: Asker,
    },
    /// Nothing at all, and then the end: there is no reader of an answer.
    Nothing,
    /// Something that gets a refusal.
    Refused(StatusCode, ErrorBody, Asker),
}

/// Waits for the first head, at most `deadline`. What a large one needs is taken from the budget of unfinished bytes.
///
/// # Errors
/// The socket failed.
pub(crate) async fn first(stream: &TcpStream, deadline: Duration, unfinished: &mut Reservation) -> io::Result<First> {
    match tokio::time::timeout(deadline, peek_head(stream, unfinished)).await {
        Ok(first) => first,
        Err(_) => {
            // Without waiting: what is there of the head.
            let mut buffer = vec![0_u8; 4096];
            let peeked = rustix::net::recv(stream, buffer.as_mut_slice(), RecvFlags::PEEK | RecvFlags::DONTWAIT);
            let head = buffer.get(..peeked.map_or(0, |(_, length)| length)).unwrap_or_default();
            let message = format!("the request's headers were not complete after {} seconds", deadline.as_secs());
            let error = ErrorBody::new(ErrorCode::Timeout, message);
            Ok(First::Refused(StatusCode::REQUEST_TIMEOUT, error, Asker::of(head)))
        }
    }
}

/// Writes an answer, and closes.
pub(crate) async fn refuse(mut stream: TcpStream, answer: &[u8]) {
    let farewell = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // Closing while the peer still sends would reset the connection and could take the answer with it.
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

async fn peek_head(stream: &TcpStream, unfinished: &mut Reservation) -> io::Result<First> {
    let mut buffer = vec![0_u8; 4096];
    let mut seen = 0;
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let peeked = stream.try_io(Interest::READABLE, || {
            let (_, length) = rustix::net::recv(stream, buffer.as_mut_slice(), RecvFlags::PEEK)?;
            // No news: wait for more. Peeking leaves the socket readable, so only this makes the runtime wait.
            if length == seen && !ready.is_read_closed() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(length) }
        });
        let length = match peeked {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let ended = length == seen;
        let fresh = buffer.get(seen..length).unwrap_or_default();
        // Parsing at line ends only keeps a peer that sends single bytes from costing more than it sends.
        if (seen == 0 || fresh.contains(&b'\n'))
            && let Some(first) = judge(buffer.get(..length).unwrap_or_default())
        {
            return Ok(first);
        }
        if ended {
            let head = buffer.get(..length).unwrap_or_default();
            return Ok(if head.is_empty() {
                First::Nothing
            } else {
                refused("the request ended before its headers did", head)
            });
        }
        seen = length;
        if length == buffer.len() {
            if length >= MAX_HEAD_BYTES {
                return Ok(too_large(&buffer));
            }
            let size = (length * 4).min(MAX_HEAD_BYTES);
            if let Err(evicted) = unfinished.grow((size - length) as u64).await {
                let error = ErrorBody::new(ErrorCode::Unavailable, evicted.to_string());
                return Ok(First::Refused(StatusCode::SERVICE_UNAVAILABLE, error, Asker::of(&buffer)));
            }
            buffer.resize(size, 0);
        }
    }
}

/// What the bytes so far are; `None` when more are needed to tell.
fn judge(bytes: &[u8]) -> Option<First> {
    if bytes.starts_with(&[0x16, 0x03]) {
        return Some(refused("this port speaks plain HTTP, not TLS; use http:// or ws://", &[]));
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {
            let shows = shows_credentials(request.path.unwrap_or_default(), request.headers);
            Some(First::Head { shows, asker: Asker::of(bytes) })
        }
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => Some(too_large(bytes)),
        Err(httparse::Error::Version) => Some(refused("expected HTTP/1.1 or HTTP/1.0", bytes)),
        Err(error) => Some(refused(format!("this is not an HTTP request: {error}"), bytes)),
    }
}

/// Whether a head brings a token, a ticket, or a cookie, which may be a login.
fn shows_credentials(target: &str, headers: &[httparse::Header<'_>]) -> bool {
    let in_header = |header: &httparse::Header<'_>| {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let prefix = version::TOKEN_SUBPROTOCOL_PREFIX.as_bytes();
        let offers_token = || header.value.windows(prefix.len()).any(|part| part == prefix);
        is("authorization") || is("cookie") || (is("sec-websocket-protocol") && offers_token())
    };
    headers.iter().any(in_header) || target.contains("ticket=")
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>, head: &[u8]) -> First {
    First::Refused(StatusCode::BAD_REQUEST, ErrorBody::new(ErrorCode::MalformedFrame, message), Asker::of(head))
}

fn too_large(head: &[u8]) -> First {
    First::Refused(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorBody::new(
            ErrorCode::TooLarge,
            format!("request line and headers are over {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers"),
        ),
        Asker::of(head),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventwire_hub::{Holder, unfinished::Budget};
    use tokio::net::TcpListener;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn unfinished() -> Reservation {
        Budget::new(1 << 20).reader(Holder::of_peer(None))
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_head_in_pieces_is_waited_for_and_left_in_the_socket() {
        let (mut client, mut server) = pair().await;
        let head = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let writer = tokio::spawn(async move {
            for byte in head {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        assert!(matches!(first(&server, DEADLINE, &mut unfinished()).await.unwrap(), First::Head { shows: false, .. }));
        let _client = writer.await.unwrap();
        let mut read = vec![0; head.len()];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(read, head);
    }

    #[tokio::test]
    async fn a_head_that_stops_is_told_after_the_deadline() {
        let (mut client, server) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        let first = first(&server, Duration::from_millis(50), &mut unfinished()).await.unwrap();
        assert!(
            matches!(&first, First::Refused(StatusCode::REQUEST_TIMEOUT, error, _) if error.code == ErrorCode::Timeout),
            "{first:?}"
        );
    }

    #[tokio::test]
    async fn half_a_head_and_then_the_end_is_told_at_once() {
        let (mut client, server) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let first = first(&server, DEADLINE, &mut unfinished()).await.unwrap();
        assert!(
            matches!(&first, First::Refused(StatusCode::BAD_REQUEST, error, _) if error.message.contains("ended")),
            "{first:?}"
        );
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_and_leaves_is_nobody() {
        let (client, server) = pair().await;
        drop(client);
        assert!(matches!(first(&server, DEADLINE, &mut unfinished()).await.unwrap(), First::Nothing));
    }

    #[test]
    fn http_25_what_is_there_of_a_head_says_who_reads_the_refusal() {
        let asker = |origin: Option<&str>, event_source| Asker { origin: origin.map(str::to_owned), event_source };
        for (head, expected) in [
            ("", asker(None, false)),
            (
                "GET /v1/sse?to=room:a HTTP/1.1\r\nAccept: text/event-stream\r\norigin: http://a\r\n",
                asker(Some("http://a"), true),
            ),
            ("GET /v1/sse HTTP/1.1\r\naccept: */*, Text/Event-Stream\r\n\r\n", asker(None, true)),
            ("GET /v1/sse HTTP/1.1\r\naccept: */*\r\n\r\n", asker(None, false)),
            ("POST /v1/sse HTTP/1.1\r\naccept: text/event-stream\r\n\r\n", asker(None, false)),
            ("GET /v1/sse2 HTTP/1.1\r\naccept: text/event-stream\r\n\r\n", asker(None, false)),
            ("GET / HTTP/1.1\r\norigin: http://a\r\nOrigin: http://b\r\n\r\n", asker(None, false)),
        ] {
            assert_eq!(Asker::of(head.as_bytes()), expected, "{head}");
        }
    }

    #[test]
    fn limit_05_a_head_with_credentials_is_known_before_it_is_read_by_a_server() {
        for (target, header, shows) in [
            ("/v1/ws", "authorization: Bearer x", true),
            ("/v1/ws", "COOKIE: a=b", true),
            ("/v1/ws", "sec-websocket-protocol: eventwire.v1, eventwire.token.eA", true),
            ("/v1/ws?room=a&ticket=x", "accept: */*", true),
            ("/v1/ws", "sec-websocket-protocol: eventwire.v1", false),
            ("/v1/ws?room=a", "x-authorization: x", false),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n");
            let judged = judge(head.as_bytes()).unwrap();
            assert!(matches!(judged, First::Head { shows: it, .. } if it == shows), "{target} {header}: {judged:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_http_is_told_what_it_is() {
        for (sent, expected) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], "plain HTTP, not TLS"),
            (b"\x00\x01\x02", "not an HTTP request"),
            (b"GET / HTTP/9.9\r\n\r\n", "expected HTTP/1.1"),
            (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", "not an HTTP request"),
        ] {
            let (mut client, server) = pair().await;
            client.write_all(sent).await.unwrap();
            let first = first(&server, DEADLINE, &mut unfinished()).await.unwrap();
            assert!(
                matches!(&first, First::Refused(_, error, _) if error.message.contains(expected)),
                "{expected}: {first:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused_at_its_limit_and_the_peer_gets_to_read_it() {
        for filler in [&b"x"[..], b"a: b\r\n"] {
            let (mut client, server) = pair().await;
            let served = tokio::spawn(async move {
                let First::Refused(status, error, _) = first(&server, DEADLINE, &mut unfinished()).await.unwrap()
                else {
                    panic!("taken")
                };
                refuse(server, &crate::response::raw(status, &error, &[])).await;
            });
            client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            let too_much = filler.repeat(2 * MAX_HEAD_BYTES / filler.len());
            client.write_all(&too_much).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
            assert!(answer.contains("\"code\":\"too_large\""), "{answer}");
            served.await.unwrap();
        }
    }
}
