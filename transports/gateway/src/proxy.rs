//! Who a request is from when proxies stand in front: the client that a trusted proxy names, or the peer (HTTP-21, AUTH-24).
//!
//! One place decides, before anything else reads the request. The headers that name clients are removed, whatever their sender:
//! behind this module an address comes from here, or from nowhere.

use std::net::{IpAddr, SocketAddr};

use eventwire_protocol::error::{ErrorBody, ErrorCode};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::Network;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Further headers in which proxies name a client. They are never believed, and never passed on.
static OTHER_CLIENT_HEADERS: [HeaderName; 8] = [
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-cluster-client-ip"),
    HeaderName::from_static("x-original-forwarded-for"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("fastly-client-ip"),
    HeaderName::from_static("x-envoy-external-address"),
];
/// Characters of a request id that are kept.
const REQUEST_ID_CHARS: usize = 128;

/// Whose word about clients is taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    trusted: Vec<Network>,
    proxy_protocol: bool,
    others: Others,
}

/// What becomes of requests that a proxy brings which is not trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Others {
    /// They count for the proxy's address.
    #[default]
    Served,
    /// They are served for clients on this machine alone: nothing else keeps others out (AUTH-24).
    LoopbackOnly,
}

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The client. Its port is 0 where a proxy names it.
    pub(crate) client: SocketAddr,
    /// Whether a trusted proxy says that the client speaks TLS with it.
    pub(crate) secure: bool,
    /// The id that a trusted proxy gave the request.
    pub(crate) request_id: Option<String>,
}

/// One hop of a chain of proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hop {
    Address(IpAddr),
    /// The proxy keeps the address to itself: `unknown`, or a name of its own.
    Concealed,
}

impl Proxies {
    /// Proxies at these addresses are trusted; with `proxy_protocol` they begin each connection with a PROXY header.
    pub(crate) fn new(trusted: Vec<Network>, proxy_protocol: bool, others: Others) -> Self {
        Self { trusted, proxy_protocol, others }
    }

    /// Whether the word of this address is taken.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Whether a connection from this address begins with a PROXY header.
    pub(crate) fn expects_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol && self.trusts(peer)
    }

    /// Finds the client of a request, and takes out what names it. `X-Forwarded-Proto` stays, as one word: it says how
    /// cookies are marked, whoever sends it.
    ///
    /// # Errors
    /// `malformed_frame` for headers of a trusted proxy that cannot be read or contradict each other; `forbidden` where a
    /// request without credentials comes for a client on another machine.
    pub(crate) fn settle(&self, peer: SocketAddr, headers: &mut HeaderMap) -> Result<Forwarded, ErrorBody> {
        let trusted = self.trusts(peer.ip());
        let found =
            if trusted { self.client(peer.ip(), headers) } else { self.check_foreign(headers).map(|()| peer.ip()) };
        let secure = is_secure(headers);
        let request_id = request_id(headers).filter(|_| trusted);
        take_out(headers, secure);
        let client = found?;
        let client = if client == peer.ip() { peer } else { SocketAddr::new(client, 0) };
        Ok(Forwarded { client, secure: secure == Some(true) && trusted, request_id })
    }

    /// The client that a trusted proxy names: of the chain, the last address that is not trusted itself.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, ErrorBody> {
        let by_list = headers.contains_key(&X_FORWARDED_FOR).then(|| {
            let hops = list(headers, &X_FORWARDED_FOR).map(|text| text.and_then(hop)).collect();
            self.walk(peer, hops, "X-Forwarded-For")
        });
        let by_forwarded = headers.contains_key(header::FORWARDED).then(|| {
            let elements = forwarded(headers).ok_or_else(|| unreadable("Forwarded"))?;
            let hops = elements.iter().map(|element| element.client.as_deref().map_or(Some(Hop::Concealed), hop));
            self.walk(peer, hops.collect(), "Forwarded")
        });
        match (by_list.transpose()?, by_forwarded.transpose()?) {
            // A proxy that writes one of them passes the other on as the client sent it.
            (Some(one), Some(other)) if one != other => Err(ErrorBody::new(
                ErrorCode::MalformedFrame,
                "Forwarded and X-Forwarded-For name different clients; the proxy must remove the one it does not write",
            )),
            (one, other) => Ok(one.or(other).unwrap_or(peer)),
        }
    }

    fn walk(&self, peer: IpAddr, hops: Vec<Option<Hop>>, name: &str) -> Result<IpAddr, ErrorBody> {
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            if !self.trusts(client) {
                break;
            }
            match hop.ok_or_else(|| unreadable(name))? {
                Hop::Address(address) => client = address,
                Hop::Concealed => break,
            }
        }
        Ok(client)
    }

    /// AUTH-24: what a proxy that is not trusted says is believed as far as it speaks against it.
    fn check_foreign(&self, headers: &HeaderMap) -> Result<(), ErrorBody> {
        if self.others == Others::Served {
            return Ok(());
        }
        let lists = OTHER_CLIENT_HEADERS.iter().chain([&X_FORWARDED_FOR]);
        let mut listed = lists.flat_map(|name| list(headers, name)).map(|text| text.and_then(hop));
        let elements = if headers.contains_key(header::FORWARDED) { forwarded(headers) } else { Some(Vec::new()) };
        let mut named = elements.as_ref().into_iter().flatten().filter_map(|element| element.client.as_deref());
        let is_here = |hop: Option<Hop>| matches!(hop, Some(Hop::Address(address)) if address.is_loopback());
        if elements.is_some() && listed.all(is_here) && named.all(|name| is_here(hop(name))) {
            return Ok(());
        }
        Err(ErrorBody::new(
            ErrorCode::Forbidden,
            "a proxy forwarded this request for another machine, and no credentials are set up here; set api_keys_file \
             or jwt_key_file, or name the proxy in trusted_proxies",
        ))
    }
}

fn unreadable(name: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::MalformedFrame, format!("the header {name} of the proxy cannot be read"))
}

/// Whether the nearest proxy says that the client speaks TLS; `None` when it says nothing.
fn is_secure(headers: &HeaderMap) -> Option<bool> {
    let last = |name: &HeaderName| {
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        value.rsplit(',').next().map(|word| word.trim().to_ascii_lowercase())
    };
    let by_element = || {
        let last = last(&header::FORWARDED)?;
        last.split(';').find_map(|pair| Some(pair.trim().strip_prefix("proto=")?.trim_matches('"').to_owned()))
    };
    last(&X_FORWARDED_PROTO).or_else(by_element).map(|scheme| scheme == "https")
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&X_REQUEST_ID)?.to_str().ok()?;
    Some(id.chars().take(REQUEST_ID_CHARS).collect())
}

/// Removes every header in which a proxy speaks of the client, except for the scheme.
fn take_out(headers: &mut HeaderMap, secure: Option<bool>) {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in names.iter().chain(&OTHER_CLIENT_HEADERS).chain([&header::FORWARDED]) {
        headers.remove(name);
    }
    if let Some(secure) = secure {
        let scheme = if secure { "https" } else { "http" };
        headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static(scheme));
    }
}

/// The members of a header that is a list, over all its lines; `None` for a line that is not ASCII.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
    let lines = headers.get_all(name).into_iter().map(|value| value.to_str().ok());
    let members = lines.flat_map(|line| match line {
        Some(line) => line.split(',').map(|member| Some(member.trim())).collect(),
        None => vec![None],
    });
    members.filter(|member| *member != Some(""))
}

/// Reads an address as proxies write it, with a port or without.
fn hop(text: &str) -> Option<Hop> {
    if text.eq_ignore_ascii_case("unknown") || text.starts_with('_') {
        return Some(Hop::Concealed);
    }
    let is_port = |port: &str| {
        let name = port.strip_prefix('_');
        match name {
            Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
            None => (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()),
        }
    };
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':');
        let whole = port.map_or(rest.ends_with(']'), is_port);
        IpAddr::V6(address.parse().ok().filter(|_| whole)?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
    };
    Some(Hop::Address(address.to_canonical()))
}

/// What one proxy wrote into `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    client: Option<String>,
}

/// Reads every line of `Forwarded` (RFC 7239, section 4); `None` when one is not of its grammar.
fn forwarded(headers: &HeaderMap) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for line in headers.get_all(header::FORWARDED) {
        let mut rest = line.to_str().ok()?.trim_matches(is_space);
        while !rest.is_empty() {
            let (element, after) = element(rest)?;
            elements.extend(element);
            rest = after;
        }
    }
    Some(elements)
}

/// Reads an element and the comma behind it; no element where there is nothing but a comma.
fn element(mut rest: &str) -> Option<(Option<Element>, &str)> {
    let mut element = None;
    let mut names: Vec<String> = Vec::new();
    loop {
        rest = rest.trim_start_matches(is_space);
        if let Some(after) = rest.strip_prefix(',') {
            return Some((element, after));
        }
        if rest.is_empty() {
            return Some((element, rest));
        }
        let (name, after) = token(rest)?;
        let after = after.strip_prefix('=')?;
        let (value, after) = if after.starts_with('"') { quoted(after)? } else { owned(token(after)?) };
        let name = name.to_ascii_lowercase();
        if names.contains(&name) {
            return None;
        }
        let read: &mut Element = element.get_or_insert_default();
        if name == "for" {
            read.client = Some(value);
        }
        names.push(name);
        rest = after.trim_start_matches(is_space);
        match rest.chars().next() {
            Some(';') => rest = rest.get(1..)?,
            Some(',') | None => {}
            Some(_) => return None,
        }
    }
}

const fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn owned<'a>((text, rest): (&str, &'a str)) -> (String, &'a str) {
    (text.to_owned(), rest)
}

/// A token (RFC 9110, section 5.6.2), and what follows.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at_checked(end)).flatten()
}

/// A quoted string (RFC 9110, section 5.6.4), without its quotes and backslashes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn behind(trusted: &[&str]) -> Proxies {
        Proxies::new(trusted.iter().map(|text| text.parse().unwrap()).collect(), false, Others::Served)
    }

    fn client(proxies: &Proxies, peer: &str, lines: &[(&'static str, &str)]) -> Result<String, ErrorCode> {
        let mut headers = headers(lines);
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        let found = proxies.settle(peer, &mut headers);
        assert!(headers.keys().all(|name| *name == X_FORWARDED_PROTO), "{headers:?}");
        found.map(|found| found.client.ip().to_string()).map_err(|error| error.code)
    }

    const PROXY: &str = "10.0.0.1";

    #[test]
    fn http_21_the_last_address_that_is_not_trusted_is_the_client() {
        let proxies = behind(&["10.0.0.0/8", "fd00::/8"]);
        for (lines, expected) in [
            (&[][..], PROXY),
            (&[("x-forwarded-for", "203.0.113.5")], "203.0.113.5"),
            (&[("x-forwarded-for", "1.1.1.1, 203.0.113.5, 10.9.9.9")], "203.0.113.5"),
            (&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.5")], "203.0.113.5"),
            (&[("x-forwarded-for", "junk, 203.0.113.5:80")], "203.0.113.5"),
            (&[("x-forwarded-for", ", 203.0.113.5 ,")], "203.0.113.5"),
            (&[("x-forwarded-for", "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
            (&[("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
            (&[("x-forwarded-for", "[2001:db8::1]:443")], "2001:db8::1"),
            (&[("x-forwarded-for", "::ffff:203.0.113.5")], "203.0.113.5"),
            (&[("x-forwarded-for", "1.1.1.1, unknown")], PROXY),
            (&[("forwarded", "for=203.0.113.5;proto=https, for=10.1.1.1")], "203.0.113.5"),
            (&[("forwarded", "For=\"[2001:db8::1]:4711\";by=_edge")], "2001:db8::1"),
            (&[("forwarded", "for=1.1.1.1"), ("forwarded", "for=203.0.113.5")], "203.0.113.5"),
            (&[("forwarded", "for=1.1.1.1, for=_hidden")], PROXY),
            (&[("forwarded", "proto=https")], PROXY),
            (&[("forwarded", "for=203.0.113.5"), ("x-forwarded-for", "203.0.113.5")], "203.0.113.5"),
            (&[("x-real-ip", "203.0.113.5"), ("cf-connecting-ip", "203.0.113.5")], PROXY),
        ] {
            assert_eq!(client(&proxies, PROXY, lines).as_deref(), Ok(expected), "{lines:?}");
            // The same from another peer names nothing.
            assert_eq!(client(&proxies, "192.0.2.7", lines).as_deref(), Ok("192.0.2.7"), "{lines:?}");
        }
        let mapped = client(&proxies, "::ffff:10.0.0.1", &[("x-forwarded-for", "203.0.113.5")]);
        assert_eq!(mapped.as_deref(), Ok("203.0.113.5"));
    }

    #[test]
    fn http_21_what_cannot_be_read_or_contradicts_itself_is_refused() {
        let proxies = behind(&["10.0.0.0/8"]);
        for lines in [
            &[("x-forwarded-for", "203.0.113.5, junk")][..],
            &[("x-forwarded-for", "203.0.113.5:")],
            &[("x-forwarded-for", "203.0.113.999")],
            &[("x-forwarded-for", "[2001:db8::1")],
            &[("x-forwarded-for", "[2001:db8::1]x")],
            &[("x-forwarded-for", "203.0.113.5\u{e9}")],
            &[("forwarded", "for=203.0.113.5"), ("x-forwarded-for", "203.0.113.6")],
            &[("forwarded", "for=\"203.0.113.5")],
            &[("forwarded", "for=203.0.113.5;for=203.0.113.6")],
            &[("forwarded", "for 203.0.113.5")],
            &[("forwarded", "for=203.0.113.5 proto=https")],
            &[("forwarded", "for=2001:db8::1")],
            &[("forwarded", "203.0.113.5")],
            &[("forwarded", "for=")],
        ] {
            assert_eq!(client(&proxies, PROXY, lines), Err(ErrorCode::MalformedFrame), "{lines:?}");
            assert_eq!(client(&proxies, "192.0.2.7", lines).as_deref(), Ok("192.0.2.7"), "{lines:?}");
        }
    }

    #[test]
    fn http_21_the_scheme_stays_and_is_believed_of_trusted_proxies_only() {
        let proxies = behind(&["10.0.0.1"]);
        for (lines, secure) in [
            (&[("x-forwarded-proto", "https")][..], Some("https")),
            (&[("x-forwarded-proto", "http, HTTPS ")], Some("https")),
            (&[("x-forwarded-proto", "https, http")], Some("http")),
            (&[("forwarded", "for=10.0.0.1;proto=https")], Some("https")),
            (&[], None),
        ] {
            for (peer, trusted) in [(PROXY, true), ("192.0.2.7", false)] {
                let mut headers = headers(lines);
                let found = proxies.settle(SocketAddr::new(peer.parse().unwrap(), 1), &mut headers).unwrap();
                let left = headers.get(&X_FORWARDED_PROTO).map(|value| value.to_str().unwrap());
                assert_eq!(left, secure, "{lines:?}");
                assert_eq!(found.secure, trusted && secure == Some("https"), "{lines:?} from {peer}");
            }
        }
    }

    #[test]
    fn http_21_a_request_id_counts_of_trusted_proxies_only() {
        let proxies = behind(&[PROXY]);
        let id = |peer: &str| {
            let mut headers = headers(&[("x-request-id", "r-1")]);
            proxies.settle(SocketAddr::new(peer.parse().unwrap(), 1), &mut headers).unwrap().request_id
        };
        assert_eq!((id(PROXY).as_deref(), id("192.0.2.7")), (Some("r-1"), None));
    }

    #[test]
    fn auth_24_without_credentials_a_proxy_brings_clients_of_this_machine_only() {
        let open = Proxies::new(vec!["10.0.0.1".parse().unwrap()], false, Others::LoopbackOnly);
        for lines in [
            &[][..],
            &[("x-forwarded-for", "127.0.0.1")],
            &[("x-forwarded-for", "::1")],
            &[("x-forwarded-for", "::ffff:127.0.0.1, 127.0.0.2:80")],
            &[("forwarded", "for=\"[::1]\";proto=http")],
            &[("forwarded", "proto=https")],
            &[("x-forwarded-proto", "https"), ("x-forwarded-host", "localhost:5173")],
        ] {
            assert_eq!(client(&open, "127.0.0.1", lines).as_deref(), Ok("127.0.0.1"), "{lines:?}");
        }
        for lines in [
            &[("x-forwarded-for", "203.0.113.5")][..],
            &[("x-forwarded-for", "203.0.113.5, 127.0.0.1")],
            &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.168.1.4")],
            &[("x-forwarded-for", "unknown")],
            &[("x-forwarded-for", "localhost")],
            &[("x-forwarded-for", "\u{e9}")],
            &[("x-real-ip", "203.0.113.5")],
            &[("cf-connecting-ip", "203.0.113.5")],
            &[("forwarded", "for=203.0.113.5")],
            &[("forwarded", "for=127.0.0.1, for=_hidden")],
            &[("forwarded", "for=\"")],
        ] {
            assert_eq!(client(&open, "127.0.0.1", lines), Err(ErrorCode::Forbidden), "{lines:?}");
        }
        assert_eq!(client(&open, PROXY, &[("x-forwarded-for", "203.0.113.5")]).as_deref(), Ok("203.0.113.5"));
    }
}
