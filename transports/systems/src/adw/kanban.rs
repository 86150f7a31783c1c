//! What a page of the kanban asks, and what becomes of it (ADW-02 to ADW-05).

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use eventwire_hub::{CommandSink, Connection, ConnectionHandler, Principal};
use eventwire_protocol::{
    ApplicationCommand, Audience, CommandEffect, ErrorBody, ErrorCode, EventKind, Modifiers, Publication, Request,
    Target,
    dialect::{
        Adopted,
        adw::{Asked, decode},
    },
    event::adw::{SessionRegistered, TicketNotificationResponse, TicketStatus},
};
use serde_json::{Map, Value, value::to_raw_value};
use tokio::time::Instant;

use super::Settings;

/// A page keeps 100 messages while it is disconnected, and sends them all when it is back, among its first others.
const BURST: u32 = 128;
const A_MINUTE: Duration = Duration::from_secs(60);

/// One page.
pub(super) struct Kanban {
    /// As whom the page publishes.
    principal: Principal,
    commands: Arc<dyn CommandSink>,
    triggered: Arc<AtomicU64>,
    max_message_bytes: usize,
    triggers_per_minute: usize,
    /// When the page asked for workflows within the last minute, oldest first.
    starts: VecDeque<Instant>,
    /// How many commands went to the back end.
    submitted: u64,
}

impl Kanban {
    pub(super) fn new(
        principal: &Principal,
        commands: Arc<dyn CommandSink>,
        settings: &Settings,
        triggered: Arc<AtomicU64>,
    ) -> Self {
        Self {
            principal: principal.clone(),
            commands,
            triggered,
            max_message_bytes: settings.max_message_bytes,
            triggers_per_minute: settings.triggers_per_minute,
            starts: VecDeque::new(),
            submitted: 0,
        }
    }

    async fn perform(&mut self, connection: &mut Connection, asked: Asked) -> Result<(), ErrorBody> {
        match asked {
            Asked::Hub(command) => {
                connection.perform(Request { id: None, command }).await;
                Ok(())
            }
            Asked::TriggerWorkflow(data) => self.trigger(connection, data).await,
            Asked::RegisterSession { session_id, data } => {
                let message = "Session registered".to_owned();
                connection.send(&SessionRegistered { session_id, message });
                // Whether a back end wants to know of it or not, the page is registered.
                let _ = self.submit(connection, "register_session", data).await;
                Ok(())
            }
            Asked::TicketNotification { ticket_id, data } => {
                if let Err(error) = self.submit(connection, "ticket_notification", data).await {
                    refuse_ticket(connection, ticket_id, error);
                }
                Ok(())
            }
            Asked::BadTicket { ticket_id, error } => {
                refuse_ticket(connection, ticket_id, error);
                Ok(())
            }
            Asked::WorkflowLog(line) => self.publish(connection, line).await,
            _ => Err(ErrorBody::new(ErrorCode::UnknownCommand, "this server does not know the message")),
        }
    }

    /// Asks the back end for a workflow. When it takes over, the page hears nothing until the back end publishes.
    async fn trigger(&mut self, connection: &Connection, data: Map<String, Value>) -> Result<(), ErrorBody> {
        let adw_id = data.get("adw_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        if let (Some(adw_id), Some(member)) = (adw_id, connection.member())
            && !member.claims().may_subscribe(&Target::Adw(adw_id))
        {
            return Err(ErrorBody::new(ErrorCode::Forbidden, format!("your credentials do not reach adw:{adw_id}")));
        }
        let now = Instant::now();
        while self.starts.front().is_some_and(|at| now.duration_since(*at) >= A_MINUTE) {
            self.starts.pop_front();
        }
        if self.starts.len() >= self.triggers_per_minute {
            let wait = self.starts.front().map_or(A_MINUTE, |at| A_MINUTE.saturating_sub(now.duration_since(*at)));
            let (most, wait) = (self.triggers_per_minute, wait.as_secs() + 1);
            let message = format!("more than {most} workflows a minute; try again in {wait} seconds");
            return Err(ErrorBody::new(ErrorCode::RateLimited, message));
        }
        self.starts.push_back(now);
        self.submit(connection, "trigger_workflow", data).await?;
        self.triggered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn submit(&mut self, connection: &Connection, name: &str, data: Map<String, Value>) -> Result<(), ErrorBody> {
        self.submitted += 1;
        let command = ApplicationCommand {
            id: format!("{}.{}", connection.id(), self.submitted),
            time: connection.now(),
            dialect: "adw".to_owned(),
            name: name.to_owned(),
            connection_id: connection.id(),
            session_id: None,
            user_id: connection.member().and_then(|member| member.claims().user.clone()),
            urgent: CommandEffect::of("adw", name).is_urgent(),
            cancels: None,
            data,
        };
        self.commands.submit_for(connection.holder().clone(), command).await
    }

    /// Publishes for the page, with the page's own permissions as they are now.
    async fn publish(&self, connection: &Connection, line: Adopted) -> Result<(), ErrorBody> {
        let Some(member) = connection.member() else { return Ok(()) };
        let principal = Principal { claims: member.claims().clone(), ..self.principal.clone() };
        let publication = publication(line);
        let answers = connection.hub().publish(&principal, vec![publication]).await?;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }
}

/// An event that an older back end built, for admission.
pub(super) fn publication(adopted: Adopted) -> Result<Publication, ErrorBody> {
    let Adopted { kind, data, to, time } = adopted;
    let to: Audience = to.ok_or_else(|| {
        ErrorBody::new(
            ErrorCode::MissingTarget,
            format!("{kind} does not say whom it is for; publish it with a target"),
        )
    })?;
    let data = to_raw_value(&data).map_err(|_| ErrorBody::new(ErrorCode::InvalidPayload, "data cannot be written"))?;
    let modifiers = Modifiers::default();
    Ok(Publication { kind: EventKind::Known(kind), to, data, time, id: None, expected_prev: None, modifiers })
}

/// T8: an `error` would reject the workflow that the page may be waiting for, so tickets have an answer of their own.
fn refuse_ticket(connection: &Connection, ticket_id: String, error: ErrorBody) {
    connection.send(&TicketNotificationResponse {
        status: TicketStatus::Error,
        ticket_id,
        message: "The ticket was not taken in".to_owned(),
        error: Some(error.message.into_owned()),
    });
}

#[async_trait]
impl ConnectionHandler for Kanban {
    fn max_frame_bytes(&self) -> usize {
        self.max_message_bytes
    }

    fn burst(&self) -> u32 {
        BURST
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        let done = match decode(frame, self.max_message_bytes) {
            Ok(asked) => self.perform(connection, asked).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            connection.refuse(None, error, None);
        }
    }
}
