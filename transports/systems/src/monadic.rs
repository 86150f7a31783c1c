//! Monadic Chat: one socket at `/`, where its page is too; a browser is known by its cookie; what a conversation stands at
//! is told to every page that opens (MON).
//!
//! Two things differ from the system of origin on purpose. It never set the cookie that it knew browsers by (trap T5), and
//! this does. And it told everybody what it had no session for (bug B3); this refuses it, unless the operator says that
//! there is one user only.

mod conversation;
mod page;
mod progress;
mod state;

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use eventwire_hub::{
    CommandSink, ConnectRequest, Holder, Hub, Meta, Principal, Receipt, Secret, ToSession, handshake, random,
};
use eventwire_protocol::{
    Audience, AudienceKind, BrowserSession, Dialect, ErrorBody, ErrorCode, EventKind, EventType, Publication,
    dialect::{Adopted, monadic::MAX_FRAME_BYTES},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, value::to_raw_value};

use crate::{Admission, Ask, Body, Route, System, answer::text, authenticate_or_anonymous};

pub use conversation::{Conversation, ConversationBounds};
pub use progress::{Progress, WaitTicker};
pub use state::{State, StateBounds};

/// The cookie that a browser is known by.
pub const COOKIE: &str = "_monadic_session_id";

/// The cookie that vouches for a value of [`COOKIE`] which the application made.
pub const SEAL_COOKIE: &str = "eventwire_monadic_seal";

/// The longest value of the cookie, in bytes.
const MAX_COOKIE_BYTES: usize = 128;

/// What can be set about the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether progress of long operations is told: `WEBSOCKET_PROGRESS_ENABLED` of the system of origin.
    pub progress_enabled: bool,
    /// Whether there is one user only, so that an event without a session is for all pages. Never with authentication.
    pub single_user: bool,
}

impl Default for Settings {
    /// Progress is told; there may be many users.
    fn default() -> Self {
        Self { progress_enabled: true, single_user: false }
    }
}

/// Monadic Chat.
pub struct Monadic {
    hub: Hub,
    commands: Arc<dyn CommandSink>,
    settings: Settings,
    state: Arc<State>,
}

const ROUTES: &[Route] =
    &[Route { pattern: "/", methods: &[Method::GET, Method::HEAD], socket: true, own_listener_only: true }];

impl Monadic {
    /// The system on a hub, of which `state` must be a tap. Commands that are not the server's to answer go to `commands`.
    pub fn new(hub: Hub, commands: Arc<dyn CommandSink>, state: Arc<State>, settings: Settings) -> Self {
        // Somebody who is known by name is not the only one.
        let settings = Settings { single_user: settings.single_user && !hub.authenticates(), ..settings };
        state.suit(hub.settings().mailbox);
        Self { hub, commands, settings, state }
    }

    /// The browser that sends a request, by its cookie, and the header that gives it one where it came without.
    ///
    /// A value is taken if it occurs once and this hub made it or vouched for it, which its seal proves (MON-02); otherwise
    /// there is a new one, which cannot be guessed. Call it for the page as well as for the socket, and send the header with
    /// the answer.
    pub fn cookie(&self, headers: &HeaderMap) -> (Secret, Option<HeaderValue>) {
        if let Some(value) = cookie_value(headers, COOKIE).filter(|value| self.knows(value, headers)) {
            return (Secret::new(value), None);
        }
        let id = uuid();
        let value = format!("{id}.{}", self.hub.seal_cookie(&id));
        let header = set_cookie(COOKIE, &value, headers);
        let value = Secret::new(value);
        self.state.begin(self.hub.browser_session(&value));
        (value, header)
    }

    /// Whether a value has a seal: behind its last dot, or in a cookie of its own where the application made the value.
    fn knows(&self, value: &str, headers: &HeaderMap) -> bool {
        let own = value.rsplit_once('.').is_some_and(|(id, seal)| self.hub.is_sealed_cookie(id, seal));
        own || cookie_value(headers, SEAL_COOKIE).is_some_and(|seal| self.hub.is_sealed_cookie(&vouched(value), &seal))
    }

    /// The value that the application's own answer gives the cookie, if it is one that can be taken.
    fn given(answer: &HeaderMap) -> Option<String> {
        let set = answer.get_all(header::SET_COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut values = set.filter_map(|cookie| {
            let (name, rest) = cookie.split_once('=')?;
            (name.trim() == COOKIE).then(|| rest.split(';').next().unwrap_or_default().trim().to_owned())
        });
        values.next_back().filter(|value| fits(value.as_bytes()))
    }

    /// Says to a session, once a minute, how long an operation has been going on; nothing, where progress is switched off.
    pub fn ticker(&self, session: BrowserSession, progress: Progress) -> WaitTicker {
        if self.settings.progress_enabled {
            WaitTicker::start(self.session(session), progress)
        } else {
            WaitTicker::silent()
        }
    }

    /// A handle that publishes to one browser session.
    pub fn session(&self, session: BrowserSession) -> ToSession {
        self.hub.session(eventwire_protocol::SessionId::Browser(session))
    }

    /// Whether an event is progress, and progress is switched off: then it is taken and told to nobody.
    ///
    /// Progress is a `wait` that says when it was made or how long the operation has been going on, as the system of origin
    /// writes it; a bare one is a remark that the page shows while it waits for an answer.
    pub fn silences(&self, kind: EventType, data: &Value, dated: bool) -> bool {
        let timed = ["elapsed_seconds", "remaining_seconds", "step_progress"];
        !self.settings.progress_enabled
            && kind == EventType::ChatWait
            && (dated || timed.iter().any(|name| data.get(name).is_some_and(|value| !value.is_null())))
    }

    /// Publishes an event that a back end of the system built, to whom its sender named, or itself says.
    ///
    /// # Errors
    /// As [`Monadic::publish_without_session`], and what [`Hub::publish`] says.
    pub async fn adopt(
        &self,
        principal: &Principal,
        adopted: Adopted,
        to: Option<Audience>,
    ) -> Result<Vec<Receipt>, ErrorBody> {
        let Adopted { kind, data, to: own, time } = adopted;
        if self.silences(kind, &data, time.is_some()) {
            return Ok(Vec::new());
        }
        match to.or(own) {
            Some(to) => self.publish(principal, kind, &data, time, vec![to]).await,
            None => {
                let audiences = self.everybody(kind)?;
                self.publish(principal, kind, &data, time, audiences).await
            }
        }
    }

    /// Publishes an event that names no session: to all pages of this system, where there is one user only, and otherwise to
    /// nobody (bug B3). Clients of other dialects are never told. The answer has one receipt for each session.
    ///
    /// # Errors
    /// `missing_target` where there may be many users, and what [`Hub::publish`] says.
    pub async fn publish_without_session(
        &self,
        principal: &Principal,
        kind: EventType,
        data: &Value,
    ) -> Result<Vec<Receipt>, ErrorBody> {
        let audiences = self.everybody(kind)?;
        if self.silences(kind, data, false) {
            return Ok(Vec::new());
        }
        self.publish(principal, kind, data, None, audiences).await
    }

    /// All pages that are open, as audiences that the type may be addressed to.
    fn everybody(&self, kind: EventType) -> Result<Vec<Audience>, ErrorBody> {
        let allowed = kind.spec().audiences;
        if allowed.contains(&AudienceKind::Global) {
            return Ok(vec![Audience::Global]);
        }
        if !self.settings.single_user {
            let name = kind.spec().name;
            let message = format!("{name} names no session, and goes to nobody; name one, or set single_user");
            return Err(ErrorBody::new(ErrorCode::MissingTarget, message));
        }
        let pages = self.hub.connections().into_iter().filter(|page| page.dialect == Dialect::Monadic.as_str());
        if !allowed.contains(&AudienceKind::Session) {
            return Ok(pages.map(|page| Audience::Connection(page.connection_id)).collect());
        }
        let sessions: BTreeSet<String> = pages.filter_map(|page| page.session_id).collect();
        Ok(sessions.iter().filter_map(|session| format!("session:{session}").parse().ok()).collect())
    }

    async fn publish(
        &self,
        principal: &Principal,
        kind: EventType,
        data: &Value,
        time: Option<eventwire_protocol::Time>,
        audiences: Vec<Audience>,
    ) -> Result<Vec<Receipt>, ErrorBody> {
        let unreadable = |error| ErrorBody::new(ErrorCode::InvalidPayload, format!("data: {error}"));
        let data = to_raw_value(data).map_err(unreadable)?;
        let publication = |to| {
            Ok(Publication {
                kind: EventKind::Known(kind),
                to,
                data: data.clone(),
                time,
                id: None,
                expected_prev: None,
                modifiers: Default::default(),
            })
        };
        let publications = audiences.into_iter().map(publication).collect();
        self.hub.publish(principal, publications).await?.into_iter().collect()
    }
}

/// What is sealed for a value of the application's: never the same text as for a value that was made here.
fn vouched(value: &str) -> String {
    format!("application={value}")
}

/// The header that sets a cookie for every path, `Secure` behind TLS. It holds until the browser is closed.
fn set_cookie(name: &str, value: &str, request: &HeaderMap) -> Option<HeaderValue> {
    let values = |name: &str| request.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let is_secure = handshake::is_behind_tls(values("x-forwarded-proto"), values("forwarded"));
    let secure = if is_secure { "; Secure" } else { "" };
    let mut header = HeaderValue::try_from(format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The value of a cookie, if it occurs once and is one that may be taken. What other cookies hold is none of ours.
fn cookie_value(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    let mut values = pairs.filter_map(|pair| {
        let (found, value) = pair.trim_ascii().split_at_checked(name.len())?;
        (found == name.as_bytes()).then_some(())?;
        value.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii)
    });
    let value = values.next()?;
    (fits(value) && values.next().is_none()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// Whether a value has the form of one that may be taken: 1 to 128 of `A-Za-z0-9-_.`.
fn fits(value: &[u8]) -> bool {
    (1..=MAX_COOKIE_BYTES).contains(&value.len())
        && value.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// A UUID of version 4 (RFC 9562, section 5.4).
fn uuid() -> String {
    let bits = (u128::from(random()) << 64) | u128::from(random());
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | (0x4 << 76) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    let mut uuid = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        let _ = uuid.write_char(digit);
    }
    uuid
}

#[async_trait]
impl System for Monadic {
    fn dialect(&self) -> Dialect {
        Dialect::Monadic
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn max_message_bytes(&self) -> usize {
        MAX_FRAME_BYTES
    }

    async fn admit(&self, ask: Ask<'_>) -> Admission {
        let principal = match authenticate_or_anonymous(&self.hub, ask.headers, ask.peer, Dialect::Monadic).await {
            Ok(principal) => principal,
            Err(error) => return Admission::Refuse(error),
        };
        let (cookie, set_cookie) = self.cookie(ask.headers);
        let session = self.hub.browser_session(&cookie);
        self.state.prepare(session);
        // Trap T4: the first connection of a page has no `tab_id` and the next one has, so it must not choose the session.
        let tab = ask.query.split('&').find_map(|pair| pair.strip_prefix("tab_id=")).and_then(page::plain);
        tracing::debug!(%session, tab, "a page of Monadic Chat opens");
        let user_agent = ask.headers.get(header::USER_AGENT).and_then(|it| handshake::user_agent(it.as_bytes()));
        let meta = Meta { transport: "websocket", remote_address: ask.peer, user_agent };
        let holder = Holder::of(&principal, ask.peer);
        let request = ConnectRequest {
            dialect: Dialect::Monadic,
            home: Some(session),
            meta,
            ..ConnectRequest::new(principal, "websocket")
        };
        let (state, commands) = (self.state.clone(), self.commands.clone());
        let handler = page::Page { session, holder, state, commands };
        let headers = set_cookie.into_iter().map(|value| (header::SET_COOKIE, value)).collect();
        Admission::Connect { request: Box::new(request), handler: Box::new(handler), headers }
    }

    /// The page comes from elsewhere, and its visitors get their cookie here (trap T5).
    ///
    /// Where the application itself sets the cookie, its value is vouched for instead of replaced.
    fn visit(&self, request: &HeaderMap, answer: &HeaderMap) -> HeaderMap {
        let set_cookie = match Self::given(answer) {
            Some(value) => {
                let seal = self.hub.seal_cookie(&vouched(&value));
                self.state.begin(self.hub.browser_session(&Secret::new(value)));
                set_cookie(SEAL_COOKIE, &seal, request)
            }
            None => self.cookie(request).1,
        };
        set_cookie.into_iter().map(|value| (header::SET_COOKIE, value)).collect()
    }

    /// There is no page here: the listener serves it. Who asks gets the cookie all the same.
    async fn answer(&self, _: &'static Route, request: Request<Body>, _: Option<IpAddr>) -> Response<Body> {
        const ABSENT: &str =
            "No page is served here. Start the listener with --static or --upstream, or open a WebSocket.\n";
        let mut response = text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", ABSENT);
        response.headers_mut().extend(self.visit(request.headers(), &HeaderMap::new()));
        response
    }
}
