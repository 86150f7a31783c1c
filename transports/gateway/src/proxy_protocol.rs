//! The PROXY protocol, versions 1 and 2 (HTTP-24): the header with which a proxy that passes bytes on names the client.
//!
//! Whether a connection begins with a header follows from the address of its peer, never from what it sends: a header that was
//! guessed could be sent by anyone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The first bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The first bytes of version 1.
const PREFIX: &[u8] = b"PROXY ";
/// Length of the shortest header of version 1, `PROXY UNKNOWN` and a line end.
const SHORTEST: usize = 15;
/// Length of the longest header of version 1, its line end included.
const LONGEST: usize = 107;
/// Most bytes behind the fixed part of version 2: addresses and extensions.
const MAX_PAYLOAD: usize = 4096;

/// Reads the header off a connection and nothing behind it; `None` when it names no client, as in a check of health.
///
/// # Errors
/// `InvalidData` for other bytes than a header; what the socket says.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SHORTEST];
    stream.read_exact(&mut start).await?;
    if start.starts_with(&SIGNATURE) {
        return read_binary(stream, &start).await;
    }
    if !start.starts_with(PREFIX) {
        return Err(invalid());
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        let mut ahead = [0; LONGEST];
        let room = ahead.get_mut(..LONGEST.saturating_sub(line.len())).filter(|room| !room.is_empty());
        let room = room.ok_or_else(invalid)?;
        // Looked at before it is taken: what follows the line is a request.
        let seen = stream.peek(room).await?;
        let seen = room.get(..seen).filter(|seen| !seen.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mine = seen.iter().position(|byte| *byte == b'\n').map_or(seen.len(), |end| end + 1);
        let before = line.len();
        line.resize(before + mine, 0);
        stream.read_exact(line.get_mut(before..).unwrap_or_default()).await?;
    }
    text(&line).ok_or_else(invalid)
}

async fn read_binary(stream: &mut TcpStream, start: &[u8; SHORTEST]) -> io::Result<Option<SocketAddr>> {
    let [.., command, family, high] = *start;
    let length = usize::from(u16::from_be_bytes([high, stream.read_u8().await?]));
    if length > MAX_PAYLOAD {
        return Err(invalid());
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    binary(command, family, &payload).ok_or_else(invalid)
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// A line of version 1.
fn text(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever stands behind it is to be ignored.
        return Some(None);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let source_port = port(words.next()?)?;
    // The other end is not used, and read all the same: a line is right as a whole or not at all.
    port(words.next()?)?;
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    address(destination)?;
    let source = address(source)?;
    words.next().is_none().then(|| Some(SocketAddr::new(source.to_canonical(), source_port)))
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// A header of version 2: its version and command, family and protocol, and the bytes behind.
fn binary(command: u8, family: u8, payload: &[u8]) -> Option<Option<SocketAddr>> {
    match command {
        // LOCAL: the proxy itself, whatever stands behind.
        0x20 => return Some(None),
        0x21 => {}
        _ => return None,
    }
    let port = |at: usize| Some(u16::from_be_bytes(payload.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x11 => {
            let source: [u8; 4] = payload.get(..4)?.try_into().ok()?;
            payload.get(..12)?;
            Some(Some(SocketAddr::new(IpAddr::from(source), port(8)?)))
        }
        0x21 => {
            let source: [u8; 16] = payload.get(..16)?.try_into().ok()?;
            payload.get(..36)?;
            Some(Some(SocketAddr::new(IpAddr::from(source).to_canonical(), port(32)?)))
        }
        // Unspecified, or a socket of the proxy's own machine.
        0x00 | 0x31 => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// What is read of these bytes, and what is left behind it.
    async fn received(pieces: &[&[u8]]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = listener.accept().await.unwrap().0;
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let writing = tokio::spawn(async move {
            client.set_nodelay(true).unwrap();
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        });
        let read = read(&mut server).await;
        writing.await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        (read, rest)
    }

    fn second(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, payload].concat()
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[tokio::test]
    async fn http_24_both_versions_name_the_client_and_leave_the_request() {
        let v4 = [203, 0, 113, 5, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let v6: Vec<u8> =
            [&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets()[..], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", "ffff:".repeat(7) + "ffff");
        for (header, expected) in [
            (b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 80\r\n".to_vec(), Some("203.0.113.5:4711")),
            (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n".to_vec(), Some("[2001:db8::1]:4711")),
            (longest.into_bytes(), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (second(0x21, 0x11, &v4), Some("203.0.113.5:4711")),
            // With an extension behind the addresses.
            (second(0x21, 0x11, &[&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat()), Some("203.0.113.5:4711")),
            (second(0x21, 0x21, &v6), Some("[2001:db8::1]:4711")),
            (second(0x20, 0x00, &[]), None),
            (second(0x20, 0x11, &v4), None),
            (second(0x21, 0x00, &[]), None),
        ] {
            let expected = expected.map(|text| text.parse::<SocketAddr>().unwrap());
            let whole = [&header[..], REQUEST].concat();
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            for pieces in [&[&whole[..]][..], &[&header[..], REQUEST], &bytes] {
                let (read, rest) = received(pieces).await;
                assert_eq!((read.unwrap(), &rest[..]), (expected, REQUEST), "{header:?}");
            }
        }
    }

    #[tokio::test]
    async fn http_24_anything_else_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat();
        for bytes in [
            REQUEST.to_vec(),
            b"PROXY TCP4 203.0.113.5 10.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 80 1\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 65536\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.5 10.0.0.1 +711 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 ::1 4711 80\r\n".to_vec(),
            b"PROXY TCP4  203.0.113.5 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.5 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 80\n".to_vec(),
            b"PROXY TCP4 203".to_vec(),
            long,
            second(0x21, 0x11, &[203, 0, 113, 5]),
            second(0x22, 0x11, &[0; 12]),
            second(0x11, 0x11, &[0; 12]),
            second(0x21, 0x12, &[0; 12]),
            second(0x21, 0x11, &[0; MAX_PAYLOAD + 1]),
        ] {
            assert!(received(&[&bytes]).await.0.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
