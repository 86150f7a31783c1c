//! The hub in this process, without any socket: what `run --memory` checks. Every step is deterministic here, so a case that
//! holds on a server by luck can still fail on this target.

use async_trait::async_trait;
use eventwire_hub::{ApiKeys, Credentials, Hub, KeyDigest, Principal as HubPrincipal, Secret};
use eventwire_memory::{Closed, ConnectOptions, MemoryClient, Window};
use eventwire_protocol::{
    BrowserSession, Claims, ErrorBody, Publication, Scope, SessionId, frame::read_strict, limits,
};
use serde_json::Value;

use super::{ClientFrame, Dial, Fault, HttpAnswer, HttpRequest, Link, Receipt, Received, Target};
use crate::{
    case::Need,
    principals::{Principal, Principals},
};

/// A hub that knows the principals of the suite.
pub struct MemoryTarget {
    hub: Hub,
}

impl MemoryTarget {
    /// Starts a hub. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A principal has a claim that the hub does not know.
    pub fn start(principals: &Principals) -> Result<Self, Fault> {
        let mut keys = ApiKeys::new();
        for principal in principals.known() {
            let known = HubPrincipal::new(principal.name.as_str(), claims(principal)?);
            keys.add(KeyDigest::of(&principal.token), known).map_err(refused)?;
        }
        Ok(MemoryTarget { hub: Hub::builder().authenticator(keys).build() })
    }

    /// The hub itself, for what a test does behind the runner's back.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    async fn authenticate(&self, principal: Option<&Principal>) -> Result<HubPrincipal, Fault> {
        let token = principal.map(|principal| Secret::new(principal.token.clone()));
        self.hub.authenticate(&Credentials { token, peer: None }).await.map_err(refused)
    }
}

fn claims(principal: &Principal) -> Result<Claims, Fault> {
    fn read<T: serde::de::DeserializeOwned>(words: &[String]) -> Result<T, Fault> {
        let words = words.iter().map(|word| Value::from(word.as_str())).collect();
        serde_json::from_value(words).map_err(|error| Fault::Unreachable(format!("principals.json: {error}")))
    }
    fn scope<T: serde::de::DeserializeOwned + Ord>(ids: Option<&Vec<String>>) -> Result<Scope<T>, Fault> {
        ids.map_or(Ok(Scope::All), |ids| read::<std::collections::BTreeSet<T>>(ids).map(Scope::Only))
    }
    let user = principal.user.iter().cloned().collect::<Vec<_>>();
    let role = principal.role.iter().cloned().collect::<Vec<_>>();
    Ok(Claims {
        user: read::<Vec<_>>(&user)?.pop(),
        role: read::<Vec<_>>(&role)?.pop(),
        contexts: scope(principal.contexts.as_ref())?,
        adws: scope(principal.adws.as_ref())?,
        rooms: scope(principal.rooms.as_ref())?,
        users: scope(principal.users.as_ref())?,
        browser_sessions: browser_sessions(principal.browser_sessions.as_ref())?,
        global: principal.global.unwrap_or(true),
        permissions: read(&principal.permissions)?,
        ..Claims::anonymous()
    })
}

fn browser_sessions(ids: Option<&Vec<String>>) -> Result<Scope<BrowserSession>, Fault> {
    let Some(ids) = ids else { return Ok(Scope::All) };
    let read = |id: &String| match id.parse() {
        Ok(SessionId::Browser(id)) => Ok(id),
        _ => Err(Fault::Unreachable(format!("principals.json: {id:?} is not a browser session"))),
    };
    ids.iter().map(read).collect::<Result<_, _>>().map(Scope::Only)
}

fn refused(error: ErrorBody) -> Fault {
    Fault::Refused { code: error.code.as_str().to_owned(), message: error.message.into_owned() }
}

#[async_trait]
impl Target for MemoryTarget {
    fn name(&self) -> String {
        "the in-memory transport".to_owned()
    }

    fn faces(&self) -> &[Need] {
        &[Need::Keys]
    }

    async fn connect(&self, dial: &Dial) -> Result<Box<dyn Link>, Fault> {
        let mut targets = Vec::new();
        for (kind, ids) in [("adw", &dial.adw), ("session", &dial.context), ("room", &dial.room)] {
            targets.extend(ids.iter().map(|id| format!("{kind}:{id}")));
        }
        if dial.observe {
            targets.push("*".to_owned());
        }
        let cursor = dial.cursor.as_deref().map(str::parse).transpose().map_err(|error| Fault::Refused {
            code: "invalid_payload".to_owned(),
            message: format!("cursor: {error}"),
        })?;
        let options = ConnectOptions {
            token: dial.principal.as_ref().map(|principal| Secret::new(principal.token.clone())),
            targets,
            cursor,
            cursors: true,
            // What a client has not read yet waits in the hub, where a mistake can reach it.
            window: Window::ONE,
            ..ConnectOptions::default()
        };
        let client = MemoryClient::connect(&self.hub, options).await.map_err(refused)?;
        Ok(Box::new(MemoryLink(client)))
    }

    async fn publish(&self, principal: Option<&Principal>, items: &[Value]) -> Result<Vec<Receipt>, Fault> {
        let principal = self.authenticate(principal).await?;
        let read = |item: &Value| {
            let text = item.to_string();
            Publication::decode(read_strict(text.as_bytes(), limits::MAX_BATCH_BYTES)?)
        };
        let answers = self.hub.publish(&principal, items.iter().map(read).collect()).await.map_err(refused)?;
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Ok(receipt) => Receipt::Accepted(receipt.seq.map(|seq| seq.as_u64())),
                Err(error) => Receipt::Refused(error.code.as_str().to_owned()),
            })
            .collect())
    }

    async fn http(&self, _: &HttpRequest) -> Result<HttpAnswer, Fault> {
        Err(Fault::Unreachable("the in-memory transport has no HTTP".to_owned()))
    }
}

struct MemoryLink(MemoryClient);

#[async_trait]
impl Link for MemoryLink {
    async fn send(&mut self, frame: &ClientFrame) -> Result<(), Fault> {
        match frame {
            ClientFrame::Text(bytes) => {
                self.0.send_bytes(bytes.clone()).await.map_err(|closed| Fault::Broken(closed.to_string()))
            }
            ClientFrame::Binary(_) => {
                Err(Fault::Unreachable("the in-memory transport has no binary frames".to_owned()))
            }
        }
    }

    async fn receive(&mut self) -> Result<Received, Fault> {
        match self.0.next_frame().await {
            Ok(frame) => {
                let text = String::from_utf8(frame.bytes.to_vec())
                    .map_err(|_| Fault::Broken("a frame is not UTF-8".to_owned()))?;
                Ok(Received::Frame { text, cursor: frame.cursor.map(|cursor| cursor.to_string()) })
            }
            Err(Closed::ByServer(code, reason)) => Ok(Received::Closed { code: code.as_u16(), reason }),
            Err(closed) => Err(Fault::Broken(closed.to_string())),
        }
    }
}
