//! What is on disk about agent runs: which there are, their state, their screenshots.
//!
//! Events tell what happens; this is for the page that opens later and wants a picture that an event named. Everything is read
//! through [`AgentsRoot`], which follows no link below the root, and only for those whose key reaches the run.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use eventwire_agents::paths::{IMAGES_DIRECTORY, STATE_FILE, is_screenshot};
use eventwire_agents::state::{MAX_STATE_BYTES, RunState};
use eventwire_agents::{AccessError, AgentsRoot, MAX_ROLES, RoleName};
use eventwire_http::Refusal;
use eventwire_hub::{Credentials, Hub, Principal, handshake};
use eventwire_protocol::api::{AgentRun, AgentRunDetail, AgentRuns};
use eventwire_protocol::claims::Permission;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_protocol::{AdwId, Target};
use eventwire_systems::adw::AgentState;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use warp::Filter;
use warp::filters::path::FullPath;

/// Largest screenshot that is served.
const MAX_SCREENSHOT_BYTES: u64 = 8 << 20;
/// Most screenshots that are listed of one role.
const MAX_SCREENSHOTS: usize = 1_000;
/// The first bytes of every PNG file.
const PNG_SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// A picture from a stranger's agent is a picture and nothing else, even when somebody opens it as a page.
const PICTURE_HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "image/png"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "private, no-cache"),
];

/// The runs below one root, if one is watched.
#[derive(Clone)]
pub(crate) struct Runs {
    hub: Hub,
    root: Option<Arc<Path>>,
}

/// The states of the runs below one root, for the kanban's server.
pub(crate) struct States {
    root: PathBuf,
}

impl States {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl AgentState for States {
    fn state(&self, adw_id: AdwId) -> Result<Option<Map<String, Value>>, ErrorBody> {
        let read = AgentsRoot::open(&self.root).map_err(Trouble::from).and_then(|root| state(&root, adw_id));
        match read {
            Ok(state) => Ok(state),
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(Refusal::from(trouble).error),
        }
    }
}

impl Runs {
    pub(crate) fn new(hub: Hub, root: Option<&Path>) -> Self {
        Self { hub, root: root.map(Arc::from) }
    }

    /// `/v1/agents` and everything below it; the method has been checked.
    pub(crate) fn routes(self) -> impl Filter<Extract = (Response<Bytes>,), Error = warp::Rejection> + Clone {
        warp::path("v1")
            .and(warp::path("agents"))
            .and(warp::path::full())
            .and(warp::query::raw().or(warp::any().map(String::new)).unify())
            .and(warp::header::headers_cloned())
            .and(warp::ext::optional::<SocketAddr>())
            .then(move |path: FullPath, query: String, headers: HeaderMap, peer: Option<SocketAddr>| {
                let runs = self.clone();
                async move {
                    runs.answer(path.as_str(), &query, &headers, peer).await.unwrap_or_else(Refusal::into_response)
                }
            })
    }

    async fn answer(
        &self,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<Response<Bytes>, Refusal> {
        handshake::pairs(query, &[]).map_err(Refusal::bad_request)?;
        let values = headers.get_all(header::AUTHORIZATION).into_iter().map(HeaderValue::as_bytes);
        let credentials = Credentials { token: handshake::bearer(values)?, peer: peer.map(|peer| peer.ip()) };
        let principal = self.hub.authenticate(&credentials).await?;
        let rest = path.strip_prefix("/v1/agents").unwrap_or_default();
        let segments = rest.split('/').skip(1).map(decoded).collect::<Result<Vec<_>, _>>()?;
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => self.list(principal).await,
            [adw_id] => self.show(reached(&principal, adw_id)?).await,
            [adw_id, "screenshots", name] => self.screenshot(reached(&principal, adw_id)?, (*name).to_owned()).await,
            _ => Err(Refusal::new(ErrorCode::NotFound, "nothing is at this path")),
        }
    }

    async fn list(&self, principal: Principal) -> Result<Response<Bytes>, Refusal> {
        if !principal.claims.may(Permission::Observe) {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                "this needs the permission observe, which your credentials lack",
            ));
        }
        let agents = self
            .read(move |root| {
                let runs =
                    root.runs()?.into_iter().filter(|adw_id| principal.claims.may_subscribe(&Target::Adw(*adw_id)));
                Ok(runs.filter_map(|adw_id| listed(&root, adw_id).ok()).collect::<Vec<_>>())
            })
            .await
            .or_else(|refusal| if refusal.error.code == ErrorCode::NotFound { Ok(Vec::new()) } else { Err(refusal) })?;
        Ok(json(&AgentRuns { root: self.root.is_some(), agents }))
    }

    async fn show(&self, adw_id: AdwId) -> Result<Response<Bytes>, Refusal> {
        let shown = self
            .read(move |root| {
                let AgentRun { adw_id, roles, phases, screenshots, .. } = listed(&root, adw_id)?;
                let state = state(&root, adw_id)?;
                Ok(AgentRunDetail { adw_id, roles, phases, screenshots, state })
            })
            .await?;
        Ok(json(&shown))
    }

    async fn screenshot(&self, adw_id: AdwId, name: String) -> Result<Response<Bytes>, Refusal> {
        let bytes = self
            .read(move |root| {
                if !is_screenshot(&name) {
                    return Err(Trouble::Missing);
                }
                let mut roles = root.roles(adw_id, MAX_ROLES)?;
                // Reviewers take screenshots; where another role has one of the same name, theirs is meant.
                roles.sort_by_key(|role| role.as_str() != "reviewer");
                let mut read = roles
                    .iter()
                    .map(|role| root.read(adw_id, &[role.as_str(), IMAGES_DIRECTORY, &name], MAX_SCREENSHOT_BYTES));
                Ok(read.find(|read| !read.as_ref().is_err_and(AccessError::is_missing)).ok_or(Trouble::Missing)??)
            })
            .await?;
        if !bytes.starts_with(&PNG_SIGNATURE) {
            return Err(Refusal::new(ErrorCode::NotFound, "the file of that name is not a PNG picture"));
        }
        let mut response = Response::new(Bytes::from(bytes));
        for (name, value) in PICTURE_HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    /// Reads below the root, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(AgentsRoot) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Refusal> {
        let root: PathBuf = self.root.as_deref().ok_or_else(|| Refusal::from(Trouble::Missing))?.to_owned();
        let reading = tokio::task::spawn_blocking(move || read(AgentsRoot::open(&root)?));
        match reading.await {
            Ok(read) => read.map_err(Refusal::from),
            Err(_) => Err(Refusal::new(ErrorCode::Internal, "the gateway has a fault; it has been logged")),
        }
    }
}

/// The state of a run, if there is one that can be read and shown.
fn state(root: &AgentsRoot, adw_id: AdwId) -> Result<Option<Map<String, Value>>, Trouble> {
    match root.read(adw_id, &[STATE_FILE], MAX_STATE_BYTES) {
        // A state that is just being written is no state yet.
        Ok(bytes) => Ok(RunState::parse(&bytes).ok().map(|state| state.sanitized(root.repository()))),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn listed(root: &AgentsRoot, adw_id: AdwId) -> Result<AgentRun, Trouble> {
    let roles = root.roles(adw_id, MAX_ROLES)?;
    let pictures = |role: &RoleName| {
        let names = root.screenshots(adw_id, role, MAX_SCREENSHOTS).unwrap_or_default();
        names.into_iter().map(|name| format!("{role}/{IMAGES_DIRECTORY}/{name}")).collect::<Vec<_>>()
    };
    let phase = |role: &RoleName| serde_json::to_value(role.phase()).ok()?.as_str().map(str::to_owned);
    Ok(AgentRun {
        adw_id,
        phases: roles.iter().filter_map(phase).collect(),
        screenshots: roles.iter().flat_map(pictures).collect(),
        state: root.file(adw_id, &[STATE_FILE]).is_ok(),
        roles: roles.iter().map(|role| role.as_str().to_owned()).collect(),
    })
}

/// The run of this name, if the credentials reach it. What is no name of a run is not there either.
fn reached(principal: &Principal, adw_id: &str) -> Result<AdwId, Refusal> {
    let adw_id: AdwId = adw_id.parse().map_err(|_| Refusal::from(Trouble::Missing))?;
    if principal.claims.may_subscribe(&Target::Adw(adw_id)) {
        Ok(adw_id)
    } else {
        Err(Refusal::new(ErrorCode::Forbidden, "your credentials do not reach this run"))
    }
}

fn decoded(segment: &str) -> Result<String, Refusal> {
    let text = percent_encoding::percent_decode_str(segment).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| {
        Refusal::bad_request(ErrorBody::new(ErrorCode::InvalidUtf8, "the path is not UTF-8 behind its % signs"))
    })
}

fn json(body: &impl Serialize) -> Response<Bytes> {
    // What is written here has text keys and finite numbers, so it can be written.
    let mut response = Response::new(Bytes::from(serde_json::to_vec(body).unwrap_or_default()));
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why something cannot be read. Where on this machine it would be is nobody's business.
enum Trouble {
    Missing,
    TooLarge(u64),
    Unreadable(String),
}

impl From<AccessError> for Trouble {
    fn from(error: AccessError) -> Self {
        match error {
            // A link or a pipe in the place of a file is none, and who asks need not know more.
            AccessError::Missing(_) | AccessError::Refused(_) | AccessError::WrongKind(_) => Self::Missing,
            AccessError::TooLarge { limit_bytes, .. } => Self::TooLarge(limit_bytes),
            error @ AccessError::Io(..) => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing => Self::new(ErrorCode::NotFound, "no such run, or no such file in it"),
            Trouble::TooLarge(limit) => Self {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                ..Self::new(ErrorCode::TooLarge, format!("the file has more than {limit} bytes"))
            },
            Trouble::Unreadable(error) => {
                tracing::warn!(error, "a file of an agent run cannot be read");
                Self::new(ErrorCode::Internal, "the file cannot be read; the reason has been logged")
            }
        }
    }
}
