//! Who may connect to a namespace, and as what: asked of whoever mounts the binding.

use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use eventwire_hub::{ConnectRequest, ConnectionHandler, Holder, Hub, Secret, handshake};
use eventwire_protocol::{ErrorBody, ErrorCode};
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

/// Names of events whose argument goes to one client as a binary attachment: the bytes of its JSON text. Empty at first;
/// a handler fills it when its client asks for that (SIO-09). Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Attachments(Arc<RwLock<BTreeSet<&'static str>>>);

impl Attachments {
    /// Says whether events of this name carry their argument as bytes from now on.
    pub fn set(&self, event: &'static str, as_bytes: bool) {
        let mut events = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if as_bytes {
            events.insert(event);
        } else {
            events.remove(event);
        }
    }

    pub(crate) fn has(&self, event: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(event)
    }
}

/// A client that wants to connect to a namespace.
pub struct ConnectInfo {
    /// The namespace, for instance `/`.
    pub namespace: String,
    /// What the client will know itself by, its `socket.id`. It names the transport session too, so it is told to this
    /// client and to nobody else.
    pub socket_id: String,
    /// What the client handed over as `auth`.
    pub auth: Option<Value>,
    /// The headers of the request that opened the transport. Host and origin have been checked.
    pub headers: HeaderMap,
    /// The peer's address.
    pub peer: Option<IpAddr>,
    /// Which events this client gets as bytes.
    pub attachments: Attachments,
    /// The holder for which opening the transport was counted, if this is the first namespace on it.
    pub(crate) handshake: Option<Holder>,
}

impl fmt::Debug for ConnectInfo {
    /// Without what the client knows itself by and what it showed: both are keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo")
            .field("namespace", &self.namespace)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl ConnectInfo {
    /// The token of the client: `auth.token`, else the header `Authorization` (AUTH-01, SIO-03). `None` when there is
    /// neither.
    ///
    /// # Errors
    /// `unauthorized` when a token is there and is not one. The message never repeats it.
    pub fn token(&self) -> Result<Option<Secret>, ErrorBody> {
        match self.auth.as_ref().and_then(|auth| auth.get("token")) {
            Some(Value::String(token)) => handshake::token_of(token)
                .map(Some)
                .ok_or_else(|| ErrorBody::new(ErrorCode::Unauthorized, "unreadable credentials: auth.token")),
            None | Some(Value::Null) => {
                handshake::bearer(self.headers.get_all(header::AUTHORIZATION).into_iter().map(HeaderValue::as_bytes))
            }
            Some(_) => Err(ErrorBody::new(ErrorCode::Unauthorized, "unreadable credentials: auth.token is a text")),
        }
    }

    /// Asks the hub whether a connection may be opened for a holder, and counts its handshake unless opening the transport was
    /// counted for the same holder (LIMIT-07).
    ///
    /// # Errors
    /// As [`Hub::check_admission`].
    pub fn check_admission(&self, hub: &Hub, holder: &Holder) -> Result<(), ErrorBody> {
        if self.handshake.as_ref() == Some(holder) { hub.check_room(holder) } else { hub.check_admission(holder) }
    }

    /// What the peer calls itself, safe to be shown.
    pub fn user_agent(&self) -> Option<String> {
        self.headers.get(header::USER_AGENT).and_then(|value| handshake::user_agent(value.as_bytes()))
    }
}

/// A client that may connect.
pub struct Admitted {
    /// How it is connected.
    pub request: ConnectRequest,
    /// How it behaves; nothing for a canonical client, whose commands the hub reads itself.
    pub handler: Option<Box<dyn ConnectionHandler>>,
}

/// Receives clients. Implemented by whoever mounts the binding.
#[async_trait]
pub trait ConnectHandler: Send + Sync + 'static {
    /// Judges a client that wants to connect to a namespace.
    ///
    /// # Errors
    /// Whatever keeps the client out: it is told as `connect_error`, and the transport stays open.
    async fn admit(&self, info: &ConnectInfo) -> Result<Admitted, ErrorBody>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn info(auth: Option<Value>, header: Option<&str>) -> ConnectInfo {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(header::AUTHORIZATION, header.parse().unwrap());
        }
        ConnectInfo {
            namespace: "/".into(),
            socket_id: "hush".into(),
            auth,
            headers,
            peer: None,
            attachments: Attachments::default(),
            handshake: None,
        }
    }

    #[test]
    fn sio_03_the_token_of_auth_counts_before_that_of_the_header() {
        let token = |auth, header| info(auth, header).token().map(|it| it.map(|it| it.reveal().to_owned()));
        assert_eq!(token(Some(json!({"token": "a"})), Some("Bearer b")).unwrap().unwrap(), "a");
        assert_eq!(token(Some(json!({})), Some("Bearer b")).unwrap().unwrap(), "b");
        assert_eq!(token(None, None).unwrap(), None);
        for wrong in [json!({"token": ""}), json!({"token": "hush hush"}), json!({"token": 1}), json!({"token": ["a"]})]
        {
            let error = token(Some(wrong), None).unwrap_err();
            assert_eq!(error.code, ErrorCode::Unauthorized);
            assert!(!error.message.contains("hush"));
        }
    }

    #[test]
    fn sio_04_what_a_client_knows_itself_by_is_not_printed() {
        assert!(!format!("{:?}", info(Some(json!({"token": "hush"})), None)).contains("hush"));
    }
}
