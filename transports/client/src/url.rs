//! Addresses of servers. One address serves for everything: `http` and `ws` mean the same server, and the paths are known.

use http::Uri;

use crate::error::BuildError;

/// A server, as it is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// `host:port`.
    pub(crate) authority: String,
    /// What stands before `/v1`, without a slash at its end.
    base: String,
}

impl Server {
    /// Reads `http://host[:port][/base]`, or the full `ws://host[:port][/base]/v1/ws`.
    pub(crate) fn parse(url: &str) -> Result<Self, BuildError> {
        let wrong = |problem| BuildError::Url { url: url.to_owned(), problem };
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        match uri.scheme_str() {
            Some("http" | "ws") => {}
            Some("https" | "wss") => return Err(wrong("TLS is not built in; put a TLS proxy before the server")),
            _ => return Err(wrong("it needs http:// or ws://")),
        }
        if uri.query().is_some() {
            return Err(wrong("it may not have a query"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it has no host"))?;
        let path = uri.path().trim_end_matches('/');
        Ok(Server {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            base: path.strip_suffix("/v1/ws").unwrap_or(path).to_owned(),
        })
    }

    /// Where WebSockets are taken.
    pub(crate) fn websocket(&self) -> String {
        format!("ws://{}{}/v1/ws", self.authority, self.base)
    }

    /// Where events are published.
    pub(crate) fn events(&self) -> String {
        format!("http://{}{}/v1/events", self.authority, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_serves_for_everything() {
        for url in ["http://h:1/b", "http://h:1/b/", "ws://h:1/b/v1/ws", "ws://h:1/b"] {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.websocket(), "ws://h:1/b/v1/ws", "{url}");
            assert_eq!(server.events(), "http://h:1/b/v1/events", "{url}");
        }
        assert_eq!(Server::parse("http://[::1]").unwrap().websocket(), "ws://[::1]:80/v1/ws");
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_do() {
        for url in ["", "h:1", "127.0.0.1:4800", "https://h", "wss://h", "ftp://h", "http://h?x=1", "http:///x"] {
            assert!(Server::parse(url).is_err(), "{url}");
        }
        let error = Server::parse("wss://h").unwrap_err().to_string();
        assert!(error.contains("TLS proxy"), "{error}");
    }
}
