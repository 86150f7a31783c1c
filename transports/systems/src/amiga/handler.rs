//! What a client's events do.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{CommandSink, Connection, ConnectionHandler, Holder};
use eventwire_protocol::{
    ApplicationCommand, Command, CommandEffect, ConnectionId, Envelope, ErrorBody, ErrorCode, Member, Request,
    RoomName, Target,
    command::{Ping, Subscribe, Wanted},
    dialect::amiga::{self, Asked, Subscription},
    event::{connection::Reply, metrics::MetricsIntervalUpdated},
};
use serde_json::{Map, Value, json};

use super::{Amiga, watchers::Watchers, windows::Windows};

/// The event whose argument may go as bytes.
const UPDATE: &str = "metrics_update";
/// The room of those who follow tasks.
const TASKS: &str = "tasks";
/// Most refreshes of one client that are under way.
const MAX_REFRESHES: usize = 4;

/// One client.
pub(super) struct Watcher {
    watchers: Arc<Watchers>,
    windows: Arc<Windows>,
    commands: Arc<dyn CommandSink>,
    id: OnceLock<ConnectionId>,
    socket_id: Option<String>,
    holder: Holder,
    as_bytes: Arc<dyn Fn(&'static str, bool) + Send + Sync>,
    from_the_start: Option<Subscription>,
    refreshes: Arc<AtomicUsize>,
    submitted: u64,
}

impl Watcher {
    pub(super) fn new(
        system: &Amiga,
        socket_id: Option<String>,
        holder: Holder,
        as_bytes: Arc<dyn Fn(&'static str, bool) + Send + Sync>,
        from_the_start: Option<Subscription>,
    ) -> Self {
        Self {
            watchers: system.watchers.clone(),
            windows: system.windows.clone(),
            commands: system.commands.clone(),
            id: OnceLock::new(),
            socket_id,
            holder,
            as_bytes,
            from_the_start,
            refreshes: Arc::default(),
            submitted: 0,
        }
    }

    async fn perform(&mut self, connection: &mut Connection, asked: Asked) -> Result<(), ErrorBody> {
        let id = connection.id();
        match asked {
            Asked::Subscribe(subscription) => {
                (self.as_bytes)(UPDATE, subscription.binary);
                let config = json!({
                    "hours": subscription.hours,
                    "update_interval": subscription.update_interval,
                    "subscribed": true,
                });
                reply(connection, json!({ "status": "subscribed", "config": config }));
                self.watchers.subscribe(id, subscription);
            }
            Asked::Unsubscribe => {
                self.watchers.unsubscribe(id);
                reply(connection, json!({ "status": "unsubscribed" }));
            }
            Asked::Refresh { hours } => return self.refresh(id, hours),
            Asked::SetInterval(interval) => {
                self.watchers.set_interval(id, interval);
                connection.send(&MetricsIntervalUpdated { re: None, interval_seconds: interval });
            }
            Asked::SubscribeTasks => return follow_tasks(connection).await,
            Asked::Ping => {
                connection.perform(Request { id: None, command: Command::Ping(Ping::default()) }).await;
            }
            Asked::Application { name, data } => {
                let submitted = self.submit(connection, name, data).await;
                // Nobody waits to hear that somebody's typing was not passed on.
                return if name == "typing" { Ok(()) } else { submitted };
            }
            _ => return Err(ErrorBody::new(ErrorCode::UnknownCommand, "this server does not know the event")),
        }
        Ok(())
    }

    /// Computes in a task of its own: what else the client is told does not wait for it.
    fn refresh(&self, id: ConnectionId, hours: Option<u32>) -> Result<(), ErrorBody> {
        if self.refreshes.fetch_add(1, Ordering::Relaxed) >= MAX_REFRESHES {
            self.refreshes.fetch_sub(1, Ordering::Relaxed);
            return Err(ErrorBody::new(
                ErrorCode::RateLimited,
                "earlier refreshes are not yet answered; wait for them",
            ));
        }
        let hours = hours.unwrap_or_else(|| self.watchers.subscription(id).hours);
        let (watchers, windows, refreshes) = (self.watchers.clone(), self.windows.clone(), self.refreshes.clone());
        tokio::spawn(async move {
            let outcome = windows.metrics(hours).await;
            watchers.refresh(id, hours, outcome).await;
            refreshes.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }

    async fn submit(&mut self, connection: &Connection, name: &str, data: Map<String, Value>) -> Result<(), ErrorBody> {
        let id = connection.id();
        let member = connection.member();
        self.submitted += 1;
        let command = ApplicationCommand {
            id: format!("{id}-{}", self.submitted),
            time: connection.now(),
            dialect: "amiga".to_owned(),
            name: name.to_owned(),
            connection_id: id,
            session_id: None,
            user_id: member.and_then(|member| member.claims().user.clone()),
            urgent: CommandEffect::of("amiga", name).is_urgent(),
            cancels: None,
            data,
        };
        self.commands.submit_for(connection.holder().clone(), command).await
    }
}

fn reply(connection: &Connection, data: Value) {
    if let Value::Object(data) = data {
        connection.send(&Reply { re: None, data });
    }
}

/// Joins the room of tasks, the only one that a client of this dialect can join.
async fn follow_tasks(connection: &mut Connection) -> Result<(), ErrorBody> {
    let room: RoomName = TASKS.parse().map_err(|_| ErrorBody::new(ErrorCode::Internal, "there is no such room"))?;
    let room = Target::Room(room);
    let streams = vec![Wanted { to: room.to_string(), since: None }];
    let command = Command::Subscribe(Subscribe { epoch: None, streams });
    connection.perform(Request { id: None, command }).await;
    // The dialect has no words for what was refused of a subscription.
    match connection.member() {
        Some(member) if !member.subscriptions().contains(&room) => {
            Err(ErrorBody::new(ErrorCode::Forbidden, "you may not follow tasks"))
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl ConnectionHandler for Watcher {
    fn greet(&mut self, id: ConnectionId, member: &Member) -> Vec<Envelope> {
        let _ = self.id.set(id);
        let sees_every_run = member.claims().may_watch_every_adw();
        self.watchers.enter(id, self.holder.clone(), self.from_the_start, sees_every_run);
        Vec::new()
    }

    fn welcome(&mut self) -> Option<Bytes> {
        self.socket_id.as_deref().map(amiga::connected)
    }

    fn max_frame_bytes(&self) -> usize {
        amiga::MAX_FRAME_BYTES
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        let performed = match amiga::decode(frame) {
            Ok(asked) => self.perform(connection, asked).await,
            Err(error) => Err(error),
        };
        if let Err(error) = performed {
            connection.refuse(None, error, None);
        }
    }

    fn closed(&mut self, id: ConnectionId) {
        self.watchers.leave(id);
    }
}

impl Drop for Watcher {
    /// A connection that was entered and never came to be leaves as well.
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            self.watchers.leave(*id);
        }
    }
}
