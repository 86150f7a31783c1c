//! Who may talk to a listener at all: the Host and Origin checks and the rule for binding (AUTH-02, AUTH-03, AUTH-05).
//!
//! A page on any web site can make a browser send requests to a server on the same machine. The Host check defeats DNS
//! rebinding, the Origin check everything that comes from a foreign page. They speak of text, not of HTTP types, so any
//! framework can ask them.

use std::net::SocketAddr;

use eventwire_protocol::{ErrorBody, ErrorCode};

/// Which Host and Origin headers are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Host names beyond the loopback names, without port; `*` for all.
    pub allowed_hosts: Vec<String>,
    /// Origins beyond loopback origins, as browsers write them (`https://app.example`); `*` for all.
    pub allowed_origins: Vec<String>,
}

/// The host of `host:port`, lower case, without brackets' port.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if host.get(colon + 1..).is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit())) => {
            // A bare IPv6 address has colons but no brackets; it is no valid Host, so leave it whole.
            let name = host.get(..colon).unwrap_or(host);
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
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
        let name = without_port(host);
        if is_loopback_name(name)
            || self.allowed_hosts.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(name))
        {
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
        if self.trusts_origin(origin) || self.allowed_origins.iter().any(|allowed| allowed == "*") {
            return Ok(());
        }
        Err(ErrorBody::new(
            ErrorCode::OriginNotAllowed,
            format!(
                "origin {:?} may not use this server; the setting allowed_origins names those that may",
                shown(origin)
            ),
        ))
    }
}

impl Guard {
    /// Whether an origin is let in for its own sake: a loopback origin, or one that is named. Only such pages may use the
    /// cookies of this server; those that `*` let in may not (AUTH-14).
    pub fn trusts_origin(&self, origin: &str) -> bool {
        let loopback = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(|host| is_loopback_name(without_port(host)));
        loopback || self.allowed_origins.iter().any(|allowed| allowed != "*" && allowed.eq_ignore_ascii_case(origin))
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
            ("*", false),
        ] {
            assert_eq!(guard.trusts_origin(origin), trusted, "{origin}");
            assert!(guard.check_origin(Some(origin)).is_ok(), "* lets everybody in");
        }
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
