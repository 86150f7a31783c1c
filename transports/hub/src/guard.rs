//! Who may talk to a listener at all: the Host and Origin checks and the rule for binding (AUTH-02, AUTH-03, AUTH-05).
//!
//! A page on any web site can make a browser send requests to a server on the same machine. The Host check defeats DNS
//! rebinding, the Origin check everything that comes from a foreign page. They speak of text, not of HTTP types, so any
//! framework can ask them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use eventwire_protocol::{ErrorBody, ErrorCode};

/// Which Host and Origin headers are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Host names beyond the loopback names, without port; `*` for all.
    pub allowed_hosts: Vec<String>,
    /// Origins beyond loopback origins, as browsers write them (`https://app.example`); `*` for all.
    pub allowed_origins: Vec<String>,
}

/// A host and its port, as a Host header or an origin has them (AUTH-26).
///
/// Stricter than RFC 3986: a host is an IP address, or a name of letters, digits, `-` and `_` between dots. What else the
/// grammar allows, user names and percent-encoding, is read differently by different programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// The host; an IPv6 address with its brackets.
    pub host: &'a str,
    /// The port, if there is one.
    pub port: Option<u16>,
}

/// Longest name of a host, in bytes (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
/// Longest label of a name, in bytes.
const MAX_LABEL: usize = 63;

impl<'a> HostPort<'a> {
    /// Reads `host` or `host:port`; `None` for any other text.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(inside) => {
                let end = inside.find(']')?;
                inside.get(..end)?.parse::<Ipv6Addr>().ok()?;
                text.split_at_checked(end + 2)?
            }
            None => {
                let (host, rest) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
                is_name(host).then_some((host, rest))?
            }
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(port) => Some(port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?),
        };
        Some(Self { host, port })
    }

    /// Whether the host is on this machine, by its name: `localhost`, what is below it, and loopback addresses.
    pub fn is_loopback(&self) -> bool {
        let host = self.host;
        host.eq_ignore_ascii_case("localhost")
            || host.to_ascii_lowercase().ends_with(".localhost")
            || host == "[::1]"
            || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    }
}

fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    labels.len() <= MAX_NAME && labels.split('.').all(is_label)
}

/// Splits an origin as browsers write it, `scheme://host` with or without a port; `None` for any other text, `null` included.
pub fn parse_origin(text: &str) -> Option<(&str, HostPort<'_>)> {
    let (scheme, rest) = text.split_once("://")?;
    let mut characters = scheme.bytes();
    let is_scheme = characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    Some((scheme, HostPort::parse(rest).filter(|_| is_scheme)?))
}

/// An origin of a page that has none of its own: in a sandboxed frame, or from a file.
pub fn is_opaque(origin: &str) -> bool {
    origin == "null" || origin == "file://"
}

/// Text from a header, safe and short enough to be shown to its sender.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl Guard {
    /// Checks the Host header. A request without one is not HTTP/1.1.
    ///
    /// # Errors
    /// `host_not_allowed`, naming the setting.
    pub fn check_host(&self, host: Option<&str>) -> Result<(), ErrorBody> {
        let Some(host) = host else {
            return Err(ErrorBody::new(ErrorCode::HostNotAllowed, "the request has no Host header"));
        };
        let Some(named) = HostPort::parse(host) else {
            return Err(ErrorBody::new(
                ErrorCode::HostNotAllowed,
                format!("host {:?} is no host name with or without a port", shown(host)),
            ));
        };
        let is_allowed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(named.host);
        if named.is_loopback() || self.allowed_hosts.iter().any(is_allowed) {
            return Ok(());
        }
        Err(ErrorBody::new(
            ErrorCode::HostNotAllowed,
            format!("host {:?} is not served here; the setting allowed_hosts names further ones", shown(host)),
        ))
    }

    /// Checks the Origin header. A request without one does not come from a page, and passes.
    ///
    /// # Errors
    /// `origin_not_allowed`, naming the setting.
    pub fn check_origin(&self, origin: Option<&str>) -> Result<(), ErrorBody> {
        let Some(origin) = origin else { return Ok(()) };
        let is_origin = || is_opaque(origin) || parse_origin(origin).is_some();
        if self.trusts_origin(origin) || (self.allowed_origins.iter().any(|allowed| allowed == "*") && is_origin()) {
            return Ok(());
        }
        let shown = shown(origin);
        let message = if is_opaque(origin) {
            format!(
                "origin {shown:?} is that of a page opened from a file or in a sandboxed frame; serve the page over HTTP from this \
                 machine, or from an origin that the setting allowed_origins names"
            )
        } else {
            format!("origin {shown:?} may not use this server; the setting allowed_origins names those that may")
        };
        Err(ErrorBody::new(ErrorCode::OriginNotAllowed, message))
    }
}

impl Guard {
    /// Whether an origin is let in for its own sake: a loopback origin, or one that is named. Only such pages may use the
    /// cookies of this server; those that `*` let in may not (AUTH-14).
    pub fn trusts_origin(&self, origin: &str) -> bool {
        let is_loopback = parse_origin(origin)
            .is_some_and(|(scheme, named)| ["http", "https"].contains(&scheme) && named.is_loopback());
        is_loopback || self.allowed_origins.iter().any(|allowed| allowed != "*" && allowed.eq_ignore_ascii_case(origin))
    }
}

/// AUTH-05: whether a listener may be opened at the address.
///
/// # Errors
/// `forbidden` for an address that others can reach, when nobody has to authenticate and `insecure` was not asked for.
pub fn check_bind(address: SocketAddr, authenticates: bool, insecure: bool) -> Result<(), ErrorBody> {
    if address.ip().is_loopback() || authenticates || insecure {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::Forbidden,
        format!(
            "{address} can be reached by others, and nobody has to authenticate; set api_keys_file, or --insecure if that is really meant"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_02_only_loopback_names_and_allowed_hosts_are_answered() {
        let guard = Guard { allowed_hosts: vec!["events.example".into()], ..Guard::default() };
        for host in
            ["localhost", "localhost:4800", "127.0.0.1:1", "[::1]:80", "[::1]", "a.localhost:3", "EVENTS.example:443"]
        {
            assert!(guard.check_host(Some(host)).is_ok(), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:4800",
            "128.0.0.1",
            "localhost@evil.example",
            "::1",
            "localhost:4800:1",
            "evil.example#localhost",
            "xlocalhost",
            "evil.example/.localhost",
            "evil.example:1.localhost",
            "evil.example:1/.localhost",
            "evil.example?.localhost",
            "evil.example%2f.localhost",
            "evil..localhost",
            ".localhost",
            "localhost:65536",
            "localhost:+1",
            "[::1]x",
            "[::1",
            "[::1%25lo]",
            "user:pw@localhost",
            "localhost, evil.example",
            "localhost evil.example",
        ] {
            assert!(guard.check_host(Some(host)).is_err(), "{host}");
        }
        assert!(guard.check_host(None).is_err());
    }

    #[test]
    fn auth_03_only_loopback_origins_and_allowed_origins_are_answered() {
        let guard = Guard { allowed_origins: vec!["https://app.example".into()], ..Guard::default() };
        for origin in [
            None,
            Some("http://localhost:3000"),
            Some("https://127.0.0.1"),
            Some("https://app.example"),
            Some("http://[::1]:5"),
        ] {
            assert!(guard.check_origin(origin).is_ok(), "{origin:?}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://app.example",
            "https://app.example.evil",
            "file://",
            "http://localhost.evil",
            "localhost",
            "http://localhost@evil.example",
            "http://evil.com/.localhost",
            "http://evil.com:1.localhost",
            "http://evil.com\\.localhost",
            "http://evil.com#.localhost",
            "http://localhost/",
            "http://localhost:80:80",
            "http:///localhost",
            "HTTP://localhost",
            "ftp://localhost",
        ] {
            let error = guard.check_origin(Some(origin)).unwrap_err();
            assert!(error.message.contains("allowed_origins"), "{origin}");
        }
    }

    #[test]
    fn auth_14_only_origins_that_are_named_are_trusted_with_cookies() {
        let guard = Guard { allowed_origins: vec!["*".into(), "https://app.example".into()], ..Guard::default() };
        for (origin, trusted) in [
            ("https://app.example", true),
            ("https://APP.example", true),
            ("http://localhost:3000", true),
            ("https://evil.example", false),
            ("null", false),
            ("chrome-extension://abcdefghijklmnop", false),
        ] {
            assert_eq!(guard.trusts_origin(origin), trusted, "{origin}");
            assert!(guard.check_origin(Some(origin)).is_ok(), "* lets every origin in: {origin}");
        }
        for origin in ["*", "", "http://evil.com/.localhost", "http://evil.com:1.localhost", "evil.com"] {
            assert!(guard.check_origin(Some(origin)).is_err(), "* lets in what is an origin: {origin}");
        }
    }

    #[test]
    fn auth_26_a_host_is_read_strictly_or_not_at_all() {
        let read = |text: &'static str| HostPort::parse(text).map(|named| (named.host, named.port));
        for (text, host, port) in [
            ("a", "a", None),
            ("a-b_c.Example.:65535", "a-b_c.Example.", Some(65535)),
            ("a:", "a", None),
            ("[2001:db8::1]:0", "[2001:db8::1]", Some(0)),
            ("1.2.3.4:5", "1.2.3.4", Some(5)),
        ] {
            assert_eq!(read(text), Some((host, port)), "{text}");
        }
        for text in ["", ".", ":1", "a b", "a/b", "a:1:2", "[a]", "[1.2.3.4]", "\u{e9}.example", "a\0", "*"] {
            assert_eq!(read(text), None, "{text}");
        }
        let long = format!("{}.localhost", "a".repeat(MAX_LABEL + 1));
        assert_eq!(HostPort::parse(&long), None);
        assert_eq!(HostPort::parse(&"a.".repeat(MAX_NAME)), None);
    }

    #[test]
    fn auth_05_an_address_that_others_reach_needs_authentication() {
        let (near, far) = ("127.0.0.1:0".parse().unwrap(), "0.0.0.0:0".parse().unwrap());
        assert!(check_bind(near, false, false).is_ok());
        assert!(check_bind(far, false, false).is_err());
        assert!(check_bind(far, true, false).is_ok());
        assert!(check_bind(far, false, true).is_ok());
        assert!(check_bind("[::]:0".parse().unwrap(), false, false).is_err());
    }
}
