//! The cookie with which an `EventSource` comes back (AUTH-12).
//!
//! Scripts cannot read it, it goes to the path of event streams and to no other, and no request that another site caused
//! carries it.

use eventwire_hub::{Secret, SseCookie, handshake::is_behind_tls};
use http::{HeaderMap, HeaderValue, header};

/// Its name.
pub(crate) const COOKIE: &str = "eventwire_sse";
/// The path that it goes to.
pub(crate) const COOKIE_PATH: &str = "/v1/sse";

/// The value in a request. Of two of the same name neither counts: who set the second is not known.
pub(crate) fn read(headers: &HeaderMap) -> Option<Secret> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim_matches(' ').split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    values.next().filter(|_| values.next().is_none()).map(Secret::new)
}

/// Whether the browser speaks TLS to the server in front, as that says. Whoever sends the header without such a server
/// decides about a cookie of their own and about nothing else.
pub(crate) fn is_secure(headers: &HeaderMap) -> bool {
    let values = |name: &str| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    is_behind_tls(values("x-forwarded-proto"), values("forwarded"))
}

/// The header that sets it.
pub(crate) fn write(cookie: &SseCookie, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let (value, seconds) = (cookie.value.reveal(), cookie.max_age.as_secs());
    let text = format!("{COOKIE}={value}; Path={COOKIE_PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // Hexadecimal digits, a number and our own words: this is a header.
    let mut header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn auth_12_only_one_cookie_of_the_name_is_read() {
        let value = |lines: &[(&'static str, &'static str)]| read(&headers(lines)).map(|it| it.reveal().to_owned());
        assert_eq!(value(&[("cookie", "a=1; eventwire_sse=x; b=2")]).as_deref(), Some("x"));
        for lines in [
            &[][..],
            &[("cookie", "a=1")],
            &[("cookie", "xeventwire_sse=x")],
            &[("cookie", "eventwire_sse=x; eventwire_sse=y")],
            &[("cookie", "eventwire_sse=x"), ("cookie", "eventwire_sse=y")],
        ] {
            assert_eq!(value(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn auth_12_the_cookie_is_secure_where_the_front_speaks_tls() {
        for (lines, secure) in [
            (&[][..], false),
            (&[("x-forwarded-proto", "https")], true),
            (&[("x-forwarded-proto", "HTTPS ")], true),
            (&[("x-forwarded-proto", "http")], false),
            (&[("x-forwarded-proto", "https, http")], false),
            (&[("x-forwarded-proto", "http, https")], true),
            (&[("forwarded", "for=1.2.3.4;proto=https")], true),
            (&[("forwarded", "proto=https, for=1.2.3.4; proto=\"http\"")], false),
        ] {
            assert_eq!(is_secure(&headers(lines)), secure, "{lines:?}");
        }
        let cookie = SseCookie { value: Secret::new("abc"), max_age: Duration::from_millis(60_900) };
        assert_eq!(write(&cookie, false), "eventwire_sse=abc; Path=/v1/sse; Max-Age=60; HttpOnly; SameSite=Strict");
        assert_eq!(
            write(&cookie, true),
            "eventwire_sse=abc; Path=/v1/sse; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        assert!(!format!("{:?}", write(&cookie, true)).contains("abc"), "no log shows it");
    }
}
