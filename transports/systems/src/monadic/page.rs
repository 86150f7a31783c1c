//! What becomes of the frames of one page.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{CommandSink, Connection, ConnectionHandler, Holder, random};
use eventwire_protocol::{
    ApplicationCommand, Audience, BrowserSession, CommandEffect, ConnectionId, Dialect, Envelope, ErrorBody, ErrorCode,
    EventKind, EventType, Member, Modifiers, SessionId,
    dialect::monadic::{Asked, MAX_FRAME_BYTES, MAX_PARAMETERS_BYTES, Request, decode},
    event::{
        chat::{ChatErrorKey, Error, Parameters},
        connection::Pong,
    },
};
use serde_json::Value;

use super::{conversation::Conversation, state::State};

/// One page of Monadic Chat.
pub(super) struct Page {
    pub(super) session: BrowserSession,
    /// On whose account what is kept of the session is put.
    pub(super) holder: Holder,
    pub(super) state: Arc<State>,
    pub(super) commands: Arc<dyn CommandSink>,
}

#[async_trait]
impl ConnectionHandler for Page {
    fn initial_frames(&mut self, id: ConnectionId, _: &Member) -> Vec<Bytes> {
        let mut told: Vec<Bytes> = self.state.entered(id, self.session, &self.holder).into_iter().collect();
        told.extend(self.state.told(self.session));
        told
    }

    /// What the session stands at has been said by then.
    fn wants_latest(&self) -> bool {
        false
    }

    /// An older list of messages would take the newer ones off the page.
    fn snapshot_frames(&mut self, _: ConnectionId, _: &Member) -> Option<Vec<Bytes>> {
        Some(self.state.told(self.session))
    }

    fn max_frame_bytes(&self) -> usize {
        MAX_FRAME_BYTES
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        let asked = match decode(frame) {
            Ok(asked) => asked,
            Err(error) => return complain(connection, error),
        };
        if let Err(error) = self.answer(connection, asked).await {
            connection.refuse(None, error, None);
        }
    }

    fn closed(&mut self, id: ConnectionId) {
        self.state.left(id);
    }
}

/// Tells the page what was wrong with its frame, by the word that it translates.
fn complain(connection: &Connection, error: ErrorBody) {
    let key = match error.code {
        ErrorCode::InvalidPayload => ChatErrorKey::InvalidParameters,
        _ => ChatErrorKey::InvalidMessageFormat,
    };
    connection.send(&Error { message: error.message.into_owned(), key: Some(key), details: None });
}

impl Page {
    async fn answer(&self, connection: &Connection, asked: Asked) -> Result<(), ErrorBody> {
        match asked {
            Asked::Ping => {
                connection.send(&Pong { re: None, client_time: None, server_time: connection.now() });
                Ok(())
            }
            Asked::Load(request) => {
                if let Some(language) = request.data.get("ui_language").and_then(Value::as_str).and_then(plain) {
                    self.state.change_or_begin(self.session, |kept| kept.set_language(language.into()));
                }
                self.state.prepare(self.session);
                self.tell(connection, Modifiers::default(), || self.state.told(self.session));
                // An application that keeps more than this server does may send it; without one, this was all there is.
                self.without_complaint(connection, request).await;
                Ok(())
            }
            Asked::UpdateParams { parameters, request } => {
                let turn = self.state.turn(self.session).await;
                let parameters = self.state.merged(self.session, parameters);
                let bytes = serde_json::to_vec(&parameters).map_or(usize::MAX, |text| text.len());
                if bytes > MAX_PARAMETERS_BYTES {
                    let message = format!("the parameters together are over the limit of {MAX_PARAMETERS_BYTES} bytes");
                    complain(connection, ErrorBody::new(ErrorCode::InvalidPayload, message));
                    return Ok(());
                }
                // Without this mark pages send what they were sent, for ever.
                let parameters = Parameters { parameters, from_param_update: Some(true), from_import: None };
                // Kept for the session on the account of the client that set them.
                let session = connection.hub().session(self.session()).on_account_of(connection.holder().clone());
                session.publish(parameters).await?;
                drop(turn);
                self.without_complaint(connection, request).await;
                Ok(())
            }
            Asked::Reset(request) => {
                let turn = self.state.turn(self.session).await;
                self.state.change_or_begin(self.session, Conversation::reset);
                drop(turn);
                self.submit(connection, request).await
            }
            Asked::Edit { mid, text, request } => {
                self.state.change(self.session, |kept| kept.propose(&mid, Some(text)));
                let submitted = self.submit(connection, request).await;
                if submitted.is_err() {
                    self.state.change(self.session, |kept| kept.propose(&mid, None));
                }
                submitted
            }
            Asked::Delete { mid, request } => {
                self.submit(connection, request).await?;
                if self.state.change(self.session, |kept| kept.delete(&mid)) == Some(true) {
                    // The page that asked has taken the message away; no event of the system says so to the others.
                    let others = Modifiers { except_connection: Some(connection.id()), ..Modifiers::default() };
                    self.tell(connection, others, || self.state.told_messages(self.session));
                }
                Ok(())
            }
            Asked::Application(request) => self.submit(connection, request).await,
        }
    }

    fn session(&self) -> SessionId {
        SessionId::Browser(self.session)
    }

    /// Tells the pages of the session what is kept of it, as of one moment.
    fn tell(&self, connection: &Connection, modifiers: Modifiers, frames: impl FnOnce() -> Vec<Bytes>) {
        let kind = EventKind::Known(EventType::ChatPastMessages);
        let event = Envelope::probe(kind, Audience::session(self.session()));
        if let Ok(event) = event.and_then(|event| event.with_modifiers(modifiers)) {
            connection.hub().send_encoded(&event, Dialect::Monadic, frames);
        }
    }

    /// Hands a command to the application.
    async fn submit(&self, connection: &Connection, request: Request) -> Result<(), ErrorBody> {
        let Request { name, data } = request;
        let user_id = connection.member().and_then(|member| member.claims().user.clone());
        let command = ApplicationCommand {
            id: format!("{:016x}{:016x}", random(), random()),
            time: connection.now(),
            dialect: Dialect::Monadic.as_str().to_owned(),
            name: name.to_owned(),
            connection_id: connection.id(),
            session_id: Some(self.session()),
            user_id,
            urgent: CommandEffect::of(Dialect::Monadic.as_str(), name).is_urgent(),
            cancels: None,
            data,
        };
        self.commands.submit_for(connection.holder().clone(), command).await
    }

    /// Hands a command to the application of which this server has done its part: that there is no application is no error.
    async fn without_complaint(&self, connection: &Connection, request: Request) {
        let name = request.name;
        if let Err(error) = self.submit(connection, request).await {
            tracing::debug!(name, %error, "the application was not told");
        }
    }
}

/// A word of a page that is short and plain: up to 64 of `A-Za-z0-9-_.`.
pub(super) fn plain(text: &str) -> Option<&str> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_03_only_a_plain_tab_id_is_noted() {
        assert_eq!(plain("5f4c0b1e-7f0e-4f5c"), Some("5f4c0b1e-7f0e-4f5c"));
        for text in ["", "a b", "a\n", "~0123", &"x".repeat(65)] {
            assert_eq!(plain(text), None);
        }
    }
}
