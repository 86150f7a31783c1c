//! A small HTTP client for the commands: one request, one JSON answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::Failure;
use crate::terminal::plain;

/// Longest wait for a whole answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// Largest answer that is read.
const ANSWER_BYTES: usize = 64 << 20;

/// A gateway, as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    authority: String,
    base_path: String,
    token: Option<String>,
}

/// What the gateway answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// The body; null when it was not JSON.
    pub(crate) json: Value,
}

impl Answer {
    /// The error that this answer is, in one line.
    #[must_use]
    pub(crate) fn failure(&self, path: &str) -> Failure {
        let field = |name| self.json.pointer(&format!("/error/{name}")).and_then(Value::as_str).map(plain);
        Failure::Failed(match (field("code"), field("message")) {
            (Some(code), Some(message)) => format!("{path}: {code}: {message}"),
            _ => format!(
                "{path}: answered {} and nothing that Eventwire says; is this the address of a gateway?",
                self.status
            ),
        })
    }
}

impl HttpClient {
    /// A client for the gateway at `url`, which presents `token` if there is one.
    ///
    /// # Errors
    /// The URL is none, or not `http:`.
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::Usage(format!("--url {url}: {what}"));
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL; expected one such as http://127.0.0.1:4800"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong("https is not spoken by this command; use the http address behind the proxy"));
            }
            _ => return Err(wrong("expected a URL that begins with http://")),
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| wrong("expected a host and no user name"))?;
        Ok(Self {
            authority: authority.as_str().to_owned(),
            base_path: uri.path().trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// Asks for a resource.
    ///
    /// # Errors
    /// The gateway cannot be reached or does not answer in time.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.exchange(Method::GET, path, None, Bytes::new()).await
    }

    /// Sends a body.
    ///
    /// # Errors
    /// The gateway cannot be reached or does not answer in time.
    pub(crate) async fn post(&self, path: &str, content_type: &'static str, body: Bytes) -> Result<Answer, Failure> {
        self.exchange(Method::POST, path, Some(content_type), body).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let failed = |what: &dyn std::fmt::Display| Failure::Failed(format!("http://{}: {what}", self.authority));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base_path))
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, concat!("eventwire/", env!("CARGO_PKG_VERSION")));
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(&error))?;

        let address = if self.authority.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
            self.authority.clone()
        } else {
            format!("{}:80", self.authority)
        };
        let answer = async {
            let stream = TcpStream::connect(&address)
                .await
                .map_err(|error| failed(&format!("{error}; is the gateway running?")))?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            let connection = tokio::spawn(connection);
            let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = answer.status().as_u16();
            let body =
                Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.map_err(|error| failed(&error))?;
            connection.abort();
            Ok(Answer { status, json: serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null) })
        };
        tokio::time::timeout(DEADLINE, answer)
            .await
            .unwrap_or_else(|_| Err(failed(&format!("no answer within {} seconds", DEADLINE.as_secs()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for good in ["http://127.0.0.1:4800", "http://localhost", "http://[::1]:4800/base/"] {
            assert!(HttpClient::new(good, None).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:4800", "https://example.org", "ftp://x", "http://user:secret@host", "/v1"] {
            assert!(matches!(HttpClient::new(bad, None), Err(Failure::Usage(_))), "{bad:?} was taken");
        }
    }
}
