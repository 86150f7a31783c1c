//! The pages of an application on a listener: files of a directory, or another HTTP server behind.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use eventwire_protocol::error::ErrorCode;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower_http::services::ServeDir;
use tower_service::Service as _;

use crate::answer::{self, Body};
use crate::site::asks_for_socket;

/// Where the pages come from.
pub(crate) enum Pages {
    /// There are none.
    None,
    /// A directory.
    Directory(Box<Directory>),
    /// Another server.
    Upstream(Box<Upstream>),
}

impl Pages {
    /// Answers a request that is the application's.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        match self {
            Self::None => answer::refusal(ErrorCode::NotFound, "nothing is here"),
            Self::Directory(directory) => directory.answer(request).await,
            Self::Upstream(upstream) => upstream.answer(request, peer).await,
        }
    }
}

/// A directory of files. A path that names no file and looks like no file is a page of an application that routes in the
/// browser: it gets `index.html`.
pub(crate) struct Directory {
    root: PathBuf,
    files: ServeDir,
}

impl Directory {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), files: ServeDir::new(root) }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::refusal(ErrorCode::MethodNotAllowed, "files are read with GET");
        }
        let page = request.uri().path().rsplit('/').next().is_none_or(|last| !last.contains('.'));
        let mut again = Request::new(http_body_util::Empty::<bytes::Bytes>::new());
        *again.method_mut() = request.method().clone();
        *again.headers_mut() = request.headers().clone();
        *again.uri_mut() = Uri::from_static("/index.html");
        let found = self.serve(request.map(|_| http_body_util::Empty::new())).await;
        if found.status() == StatusCode::NOT_FOUND && page && self.root.join("index.html").is_file() {
            return self.serve(again).await;
        }
        found
    }

    async fn serve(&self, request: Request<http_body_util::Empty<bytes::Bytes>>) -> Response<Body> {
        let path: String = request.uri().path().chars().filter(|c| !c.is_control()).take(120).collect();
        let Ok(mut response) = self.files.clone().call(request).await;
        if response.status() == StatusCode::NOT_FOUND {
            return answer::refusal(ErrorCode::NotFound, format!("no file is at {path}"));
        }
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

/// Headers that concern one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

/// Another HTTP server. It sees the request as the browser sent it, with the address of the peer beside it; a WebSocket is
/// passed through byte by byte.
pub(crate) struct Upstream {
    authority: Authority,
    base: String,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    /// The server at an `http:` URL; `None` if it is none.
    pub(crate) fn new(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(std::time::Duration::from_secs(5)));
        Some(Self {
            authority: url.authority()?.clone(),
            base: url.path().trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    fn target(&self, uri: &Uri) -> Option<Uri> {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(format!("{}{path}", self.base)).ok()?);
        Uri::from_parts(parts).ok()
    }

    async fn answer(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let Some(target) = self.target(request.uri()) else {
            return answer::refusal(ErrorCode::NotFound, "no such path");
        };
        let socket = asks_for_socket(request.headers());
        let client_side = request.extensions_mut().remove::<OnUpgrade>();
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        strip(headers);
        if socket {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        } else {
            headers.remove(header::UPGRADE);
        }
        if let Ok(address) = HeaderValue::from_str(&peer.ip().to_string()) {
            headers.append("x-forwarded-for", address);
        }
        if let Some(host) = headers.get(header::HOST).cloned() {
            headers.insert("x-forwarded-host", host);
        }
        headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));

        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let mut response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(upstream = %self.authority, %error, "the application did not answer");
                let error = eventwire_protocol::ErrorBody::new(
                    ErrorCode::Unavailable,
                    "the application behind this listener does not answer; is it running at the address of the setting upstream?",
                );
                return answer::with_status(StatusCode::BAD_GATEWAY, &error);
            }
        };
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switching {
            let server_side = hyper::upgrade::on(&mut response);
            if let Some(client_side) = client_side {
                tokio::spawn(join(client_side, server_side));
            }
        } else {
            strip(response.headers_mut());
        }
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

fn strip(headers: &mut http::HeaderMap) {
    // What `Connection` names concerns this connection too.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::UPGRADE)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Passes bytes both ways until one side ends.
async fn join(client: OnUpgrade, server: OnUpgrade) {
    if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
