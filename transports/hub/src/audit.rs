//! What an operator has to know afterward: who connected, who was refused, and what administrators did (AUTH-25).
//!
//! The hub and the servers around it [`record`](Audit::record) entries; an [`AuditSink`] writes them somewhere. An entry has
//! no secret and no payload. A [`RequestContext`] travels with the task that serves a request, so that code far from the
//! listener records the address, the path and the principal without being handed them.

use std::{
    collections::BTreeMap,
    future::Future,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eventwire_protocol::{CloseCode, ConnectionId, ErrorCode};
use serde::Serialize;

use crate::auth::Principal;

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum AuditEvent {
    /// A client was connected.
    #[serde(rename = "connection.opened")]
    ConnectionOpened,
    /// A client was not connected.
    #[serde(rename = "connection.refused")]
    ConnectionRefused,
    /// A request was refused before it had an effect.
    #[serde(rename = "request.refused")]
    RequestRefused,
    /// Credentials were shown and are not valid.
    #[serde(rename = "credential.failed")]
    CredentialFailed,
    /// A publication is beyond what its credentials allow.
    #[serde(rename = "publication.forbidden")]
    PublicationForbidden,
    /// Credentials were revoked.
    #[serde(rename = "credential.revoked")]
    CredentialRevoked,
    /// An administrator closed a connection.
    #[serde(rename = "connection.kicked")]
    ConnectionKicked,
    /// Keys or settings were read again, or could not be.
    #[serde(rename = "reload")]
    Reload,
}

impl AuditEvent {
    /// Whether something was refused. Refusals are counted by code, also where no sink is set.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused | Self::RequestRefused | Self::CredentialFailed | Self::PublicationForbidden
        )
    }
}

/// One entry. What is absent is taken from the [`RequestContext`], where there is one.
///
/// Names, paths and subjects may be chosen by a client: a sink bounds their length and escapes control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditEntry<'a> {
    /// What happened.
    pub event: AuditEvent,
    /// The address of the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The address that limits count for: the client behind a trusted proxy, otherwise the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The name of the principal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<&'a str>,
    /// The id of its credential: the `jti` of a token, the name of an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<&'a str>,
    /// The dialect of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<&'static str>,
    /// The transport: `websocket`, `sse`, `socketio`, `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    /// The connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionId>,
    /// Why something was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// The path of the request, without its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// The id that a trusted proxy gave the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// What was acted upon: the target of a publication, what a revocation names, the file that was read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    /// How many connections a revocation closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<usize>,
}

impl<'a> AuditEntry<'a> {
    /// An entry of which nothing else is known yet.
    pub const fn new(event: AuditEvent) -> Self {
        Self {
            event,
            peer: None,
            client: None,
            principal: None,
            credential: None,
            dialect: None,
            transport: None,
            connection: None,
            code: None,
            path: None,
            request_id: None,
            subject: None,
            closed: None,
        }
    }

    /// Names the address that limits count for.
    #[must_use]
    pub const fn client(mut self, client: Option<IpAddr>) -> Self {
        self.client = client;
        self
    }

    /// Names the code of a refusal.
    #[must_use]
    pub const fn code(mut self, code: ErrorCode) -> Self {
        self.code = Some(code);
        self
    }

    /// Names what was acted upon.
    #[must_use]
    pub const fn subject(mut self, subject: &'a str) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Names the principal and its credential.
    #[must_use]
    pub fn principal(mut self, principal: &'a Principal) -> Self {
        self.principal = Some(&principal.name);
        self.credential = principal.credential.id.as_deref();
        self
    }
}

/// Receives entries.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes an entry. It is called where events are delivered, so it must not wait.
    fn record(&self, entry: &AuditEntry<'_>);
}

/// Counts refusals and hands entries to a sink. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Audit(Arc<Shared>);

#[derive(Default)]
struct Shared {
    sink: Option<Box<dyn AuditSink>>,
    refused: Mutex<BTreeMap<ErrorName, u64>>,
}

/// A code as it is written: what refusals are counted by.
type ErrorName = &'static str;

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("sink", &self.0.sink.is_some()).finish_non_exhaustive()
    }
}

impl Audit {
    /// Counts refusals and writes nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Hands entries to a sink.
    pub fn to(sink: impl AuditSink) -> Self {
        Self(Arc::new(Shared { sink: Some(Box::new(sink)), refused: Mutex::default() }))
    }

    /// Records an entry. Never waits.
    pub fn record(&self, entry: AuditEntry<'_>) {
        if entry.event.is_refusal() {
            let code = entry.code.map_or("unknown", ErrorCode::as_str);
            *self.refused().entry(code).or_default() += 1;
        }
        let context = RequestContext::current();
        if let Some(context) = &context {
            context.noted().recorded = true;
        }
        let Some(sink) = &self.0.sink else { return };
        match context {
            Some(context) => context.complete(entry, |entry| sink.record(entry)),
            None => sink.record(&AuditEntry { peer: entry.peer.or(entry.client), ..entry }),
        }
    }

    /// Records the refusal of a whole request, unless code behind has recorded it already.
    pub fn record_refusal(&self, entry: AuditEntry<'_>) {
        let noted = RequestContext::current().map(|context| {
            let noted = context.noted();
            (noted.recorded, noted.credential_failed)
        });
        match noted {
            Some((true, _)) => {}
            Some((_, true)) if entry.code == Some(ErrorCode::Unauthorized) => {
                self.record(AuditEntry { event: AuditEvent::CredentialFailed, ..entry });
            }
            _ => self.record(entry),
        }
    }

    /// The refusals since the last call, by code.
    pub fn take_refusals(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.refused())
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<ErrorName, u64>> {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request that a task serves, as entries name it.
#[derive(Debug)]
pub struct RequestContext {
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
    path: Option<Box<str>>,
    request_id: Option<Box<str>>,
    noted: Mutex<Noted>,
}

/// What became known of a request while it was served.
#[derive(Debug, Default)]
struct Noted {
    principal: Option<Arc<str>>,
    credential: Option<Arc<str>>,
    /// An entry names the request.
    recorded: bool,
    /// Credentials were shown that are not valid; others beside them may be.
    credential_failed: bool,
}

tokio::task_local! {
    static CONTEXT: Arc<RequestContext>;
}

impl RequestContext {
    /// A request from the socket of `peer`, on behalf of `client`.
    pub fn new(peer: Option<IpAddr>, client: Option<IpAddr>) -> Self {
        Self { peer, client, path: None, request_id: None, noted: Mutex::default() }
    }

    /// Names the path, without its query.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Names the id that a trusted proxy gave the request.
    #[must_use]
    pub fn request_id(mut self, id: Option<&str>) -> Self {
        self.request_id = id.map(Into::into);
        self
    }

    /// The request that the calling task serves.
    pub fn current() -> Option<Arc<Self>> {
        CONTEXT.try_with(Arc::clone).ok()
    }

    /// The same addresses, path and id for a further connection of the same request.
    #[must_use]
    pub fn again(&self) -> Self {
        let Self { peer, client, path, request_id, .. } = self;
        Self {
            peer: *peer,
            client: *client,
            path: path.clone(),
            request_id: request_id.clone(),
            noted: Mutex::default(),
        }
    }

    /// Runs a future as part of the request.
    pub fn run<F: Future>(self: Arc<Self>, future: F) -> impl Future<Output = F::Output> {
        CONTEXT.scope(self, future)
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, entry: AuditEntry<'_>, then: impl FnOnce(&AuditEntry<'_>)) {
        let (principal, credential) = {
            let noted = self.noted();
            (noted.principal.clone(), noted.credential.clone())
        };
        // A credential is named beside its own principal only.
        let (principal, credential) = match entry.principal {
            Some(principal) => (Some(principal), entry.credential),
            None => (principal.as_deref(), credential.as_deref()),
        };
        then(&AuditEntry {
            peer: entry.peer.or(self.peer),
            client: entry.client.or(self.client),
            principal,
            credential,
            path: entry.path.or(self.path.as_deref()),
            request_id: entry.request_id.or(self.request_id.as_deref()),
            ..entry
        });
    }
}

/// A future that is part of the request of the calling task wherever it runs: for tasks that serve a request after its answer.
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let context = RequestContext::current();
    async move {
        match context {
            Some(context) => context.run(future).await,
            None => future.await,
        }
    }
}

/// The principal of the request is known.
pub(crate) fn note_principal(principal: &Principal) {
    if let Some(context) = RequestContext::current() {
        let mut noted = context.noted();
        noted.principal = Some(principal.name.clone());
        noted.credential.clone_from(&principal.credential.id);
    }
}

/// The request showed credentials that are not valid; the request may still be granted on others.
pub(crate) fn note_credential_failure() {
    if let Some(context) = RequestContext::current() {
        context.noted().credential_failed = true;
    }
}

/// The code that describes a close frame best.
pub const fn code_of(close: CloseCode) -> ErrorCode {
    match close {
        CloseCode::Unauthorized => ErrorCode::Unauthorized,
        CloseCode::Restart => ErrorCode::Unavailable,
        _ => ErrorCode::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use eventwire_protocol::Claims;

    use super::*;

    struct Lines(mpsc::Sender<serde_json::Value>);

    impl AuditSink for Lines {
        fn record(&self, entry: &AuditEntry<'_>) {
            self.0.send(serde_json::to_value(entry).unwrap()).unwrap();
        }
    }

    fn audit() -> (Audit, mpsc::Receiver<serde_json::Value>) {
        let (sender, lines) = mpsc::channel();
        (Audit::to(Lines(sender)), lines)
    }

    fn refused(code: ErrorCode) -> AuditEntry<'static> {
        AuditEntry::new(AuditEvent::RequestRefused).code(code)
    }

    #[tokio::test]
    async fn auth_25_an_entry_takes_from_its_request_what_it_does_not_say() {
        let (audit, lines) = audit();
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let context = RequestContext::new(address("10.0.0.1"), address("203.0.113.5")).path("/v1/events");
        let context = Arc::new(context.request_id(Some("r-1")));
        let served = Arc::clone(&context).run(async {
            note_principal(&Principal::new("ada", Claims::anonymous()));
            let spawned = tokio::spawn(carry({
                let audit = audit.clone();
                async move { audit.record(refused(ErrorCode::Forbidden)) }
            }));
            spawned.await.unwrap();
        });
        served.await;
        let expected = serde_json::json!({
            "event": "request.refused", "peer": "10.0.0.1", "client": "203.0.113.5", "principal": "ada",
            "code": "forbidden", "path": "/v1/events", "request_id": "r-1",
        });
        assert_eq!(lines.try_recv().unwrap(), expected);

        audit.record(refused(ErrorCode::Timeout).client(address("192.0.2.1")));
        let line = lines.try_recv().unwrap();
        assert_eq!((&line["peer"], &line["client"]), (&"192.0.2.1".into(), &"192.0.2.1".into()), "{line}");
        assert_eq!(line.get("path"), None, "{line}");
    }

    #[tokio::test]
    async fn auth_25_one_refusal_is_one_entry_and_a_failed_credential_is_called_so() {
        let (audit, lines) = audit();
        let request = || Arc::new(RequestContext::new(None, None));
        let twice = request().run(async {
            audit.record(AuditEntry::new(AuditEvent::CredentialFailed).code(ErrorCode::Unauthorized));
            audit.record_refusal(refused(ErrorCode::Unauthorized));
        });
        twice.await;
        assert_eq!(lines.try_iter().count(), 1);

        let ticket = request().run(async {
            note_credential_failure();
            audit.record_refusal(refused(ErrorCode::Unauthorized));
        });
        ticket.await;
        assert_eq!(lines.try_recv().unwrap()["event"], "credential.failed");
        request().run(async { audit.record_refusal(refused(ErrorCode::Unauthorized)) }).await;
        assert_eq!(lines.try_recv().unwrap()["event"], "request.refused");
    }

    #[test]
    fn auth_25_refusals_are_counted_by_code_without_a_sink() {
        let audit = Audit::off();
        for code in [ErrorCode::Unauthorized, ErrorCode::Forbidden, ErrorCode::Unauthorized] {
            audit.record(refused(code));
        }
        audit.record(AuditEntry::new(AuditEvent::ConnectionOpened));
        assert_eq!(audit.take_refusals(), BTreeMap::from([("unauthorized", 2), ("forbidden", 1)]));
        assert!(audit.take_refusals().is_empty());
    }
}
