//! One client of a context: what its frames ask for, and the answers in the form of the question.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use eventwire_hub::{Connection, ConnectionHandler, Holder, Hub};
use eventwire_protocol::{
    Audience, Claims, ConnectionId, ContextId, Envelope, ErrorBody, ErrorCode, Modifiers, SessionId, Target, UserId,
    dialect::shared_context::{self as dialect, Asked, Form, MAX_FRAME_BYTES, Tool},
    event::{
        connection::Pong,
        context::{Messages, Typing},
    },
};
use serde_json::Value;

use super::store::{ContextStore, fitting, may_show};

/// Whom the others see writing, where nobody is known by name.
const NOBODY: &str = "anonymous";

pub(super) struct Visitor {
    hub: Hub,
    store: Arc<dyn ContextStore>,
    /// The context of the path.
    context: ContextId,
    /// The user, if the client is known by name.
    user: Option<UserId>,
    /// Where the others believe that this client is writing, and on whose account it said so.
    writes_in: BTreeMap<ContextId, Holder>,
}

#[async_trait]
impl ConnectionHandler for Visitor {
    fn context(&self) -> Option<&ContextId> {
        Some(&self.context)
    }

    fn max_frame_bytes(&self) -> usize {
        MAX_FRAME_BYTES
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        match dialect::decode(frame) {
            Ok(asked) => self.answer(connection, asked).await,
            Err(refused) => say(connection, refused.frame()),
        }
    }

    /// Whoever leaves has stopped writing.
    fn closed(&mut self, id: ConnectionId) {
        let contexts = std::mem::take(&mut self.writes_in);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for (context, holder) in contexts {
            if let Ok(event) = typing(&self.hub, &context, self.user.clone(), id, false) {
                let hub = self.hub.clone();
                runtime.spawn(async move { hub.append_for(&holder, vec![event], Vec::new()).await });
            }
        }
    }
}

impl Visitor {
    pub(super) fn new(hub: Hub, store: Arc<dyn ContextStore>, context: ContextId, user: Option<UserId>) -> Self {
        Self { hub, store, context, user, writes_in: BTreeMap::new() }
    }

    async fn answer(&mut self, connection: &mut Connection, asked: Asked) {
        match asked {
            Asked::TextPing => connection.send_encoded("pong"),
            Asked::Ping => {
                connection.send(&Pong { re: None, client_time: None, server_time: connection.now() });
            }
            // The name of the tool stands only in the form that does not ask for this.
            Asked::Initialize { form } => {
                say(connection, form.answer(Tool::Subscribe, &dialect::initialized(&self.context, connection.now())));
            }
            Asked::Subscribe { context, form } => self.subscribe(connection, context, form).await,
            Asked::GetMessages { context, since_id, form } => {
                let result = self.messages(connection, &context, since_id).await;
                say(connection, form.answer(Tool::GetMessages, &result));
            }
            Asked::GetSessionInfo { context, form } => {
                let result = self.session_info(connection, &context).await;
                say(connection, form.answer(Tool::GetSessionInfo, &result));
            }
            Asked::Typing { context, is_typing } => {
                if let Err(error) = self.typing(connection, context, is_typing).await {
                    connection.refuse(None, error, None);
                }
            }
        }
    }

    /// The context of the path was joined when the connection came; of another the claims decide.
    async fn subscribe(&self, connection: &mut Connection, context: Option<ContextId>, form: Form) {
        let context = context.unwrap_or_else(|| self.context.clone());
        let session = SessionId::Context(context.clone());
        let is_in = connection.member().is_some_and(|member| member.is_in(&session));
        let joined = if is_in { Ok(()) } else { connection.join(Target::Session(session)).await };
        let result = match &joined {
            Ok(()) => dialect::subscribed_result(&context),
            Err(error) => dialect::failure(&context, &error.message),
        };
        say(connection, form.answer(Tool::Subscribe, &result));
        match (form, joined) {
            // Pages wait for the event, and so do agents that wait for events.
            (Form::Event | Form::Call { .. }, Ok(())) => say(connection, Some(dialect::subscribed(&context))),
            (Form::Event, Err(error)) => say(connection, Some(dialect::error(&error.message))),
            _ => {}
        }
    }

    async fn messages(&self, connection: &Connection, context: &ContextId, since_id: Option<u64>) -> Value {
        let found = match claims_for(connection, context) {
            Ok(viewer) => self.store.messages(context, since_id, &viewer).await,
            Err(error) => Err(error),
        };
        // What the claims say now counts, not what they said when the question was put.
        match (found, claims_for(connection, context)) {
            (Ok(found), Ok(viewer)) => {
                let rows = found.rows.into_iter().filter(|row| may_show(&viewer, context, row)).collect();
                dialect::messages_result(&Messages {
                    re: None,
                    session_id: context.clone().into(),
                    messages: fitting(rows),
                    since_id,
                    truncated: found.truncated.then_some(true),
                })
            }
            (Err(error), _) | (_, Err(error)) => dialect::no_messages(context, since_id, &error.message),
        }
    }

    async fn session_info(&self, connection: &Connection, context: &ContextId) -> Value {
        let info = match claims_for(connection, context) {
            Ok(_) => self.store.session_info(context).await,
            Err(error) => Err(error),
        };
        match info {
            Ok(Some(info)) => dialect::session_info_result(&info),
            Ok(None) => dialect::failure(context, "Session not found"),
            Err(error) => dialect::failure(context, &error.message),
        }
    }

    async fn typing(
        &mut self,
        connection: &Connection,
        context: Option<ContextId>,
        is_typing: bool,
    ) -> Result<(), ErrorBody> {
        let context = context.unwrap_or_else(|| self.context.clone());
        let session = SessionId::Context(context.clone());
        if !connection.member().is_some_and(|member| member.is_in(&session)) {
            let message = format!("subscribe to {context} before you say there that somebody is typing");
            return Err(ErrorBody::new(ErrorCode::Forbidden, message));
        }
        let event = typing(&self.hub, &context, self.user.clone(), connection.id(), is_typing)?;
        self.hub.append_for(connection.holder(), vec![event], Vec::new()).await?;
        if is_typing {
            self.writes_in.insert(context, connection.holder().clone());
        } else {
            self.writes_in.remove(&context);
        }
        Ok(())
    }
}

/// Whoever is writing need not be told: neither this connection nor, of somebody who is known, any other.
fn typing(
    hub: &Hub,
    context: &ContextId,
    user: Option<UserId>,
    id: ConnectionId,
    is_typing: bool,
) -> Result<Envelope, ErrorBody> {
    let modifiers = Modifiers { except_connection: Some(id), except_user: user.clone(), ..Modifiers::default() };
    let agent_id = match user {
        Some(user) => user,
        None => NOBODY.parse().map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("{error}")))?,
    };
    Envelope::to_session(context.clone().into(), &Typing { agent_id, is_typing }, hub.now())?.with_modifiers(modifiers)
}

/// What the client may do now, if the context is within its reach.
fn claims_for(connection: &Connection, context: &ContextId) -> Result<Claims, ErrorBody> {
    let gone = || ErrorBody::new(ErrorCode::NotFound, "the connection is gone");
    let claims = connection.member().ok_or_else(gone)?.claims().clone();
    let audience = Audience::session(context.clone());
    if claims.may_see(&audience) {
        return Ok(claims);
    }
    Err(ErrorBody::new(ErrorCode::Forbidden, format!("your credentials do not reach {audience}")))
}

fn say(connection: &Connection, frame: Option<Value>) {
    if let Some(frame) = frame {
        connection.send_encoded(frame.to_string());
    }
}
