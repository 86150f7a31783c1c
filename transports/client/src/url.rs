//! Addresses of servers. One address serves for everything: `http` and `ws` mean the same server, and the paths are known.

use http::Uri;

use crate::error::BuildError;

/// A server, as it is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Whether everything goes over TLS.
    secure: bool,
    /// `host:port`.
    authority: String,
    /// What stands before `/v1`, without a slash at its end.
    base: String,
}

impl Server {
    /// Reads `http[s]://host[:port][/base]`, or the full `ws[s]://host[:port][/base]/v1/ws`.
    pub(crate) fn parse(url: &str) -> Result<Self, BuildError> {
        let wrong = |problem| BuildError::Url { url: url.to_owned(), problem };
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wrong("it needs http://, https://, ws:// or wss://")),
        };
        if uri.query().is_some() {
            return Err(wrong("it may not have a query"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it has no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it may not have a user or a password"));
        }
        let path = uri.path().trim_end_matches('/');
        let base = ["/v1/ws", "/v1/sse"].into_iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Server { secure, authority: format!("{host}:{port}"), base: base.to_owned() })
    }

    /// Where something of the API is, such as `events`.
    pub(crate) fn http(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}/v1/{path}", self.authority, self.base)
    }

    /// Where WebSockets are taken.
    pub(crate) fn websocket(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}/v1/ws", self.authority, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_serves_for_everything() {
        for url in ["http://h:1/b", "http://h:1/b/", "ws://h:1/b/v1/ws", "ws://h:1/b", "http://h:1/b/v1/sse"] {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.websocket(), "ws://h:1/b/v1/ws", "{url}");
            assert_eq!(server.http("events"), "http://h:1/b/v1/events", "{url}");
        }
        assert_eq!(Server::parse("http://[::1]").unwrap().websocket(), "ws://[::1]:80/v1/ws");
        for url in ["https://h", "wss://h/v1/ws"] {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.websocket(), "wss://h:443/v1/ws", "{url}");
            assert_eq!(server.http("sse"), "https://h:443/v1/sse", "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_do() {
        for url in ["", "h:1", "127.0.0.1:4800", "ftp://h", "http://h?x=1", "http:///x", "http://me:secret@h"] {
            let error = Server::parse(url).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:4800"), "{error}");
        }
    }
}
