//! What the schemas are made from: the protocol's catalog and commands, read once and brought into the profile.
//!
//! Two views of every payload exist, because a reader and a writer have different duties. What a server sends follows
//! serde's serializing side: a member that is always written is required. What a publisher or client sends follows the
//! deserializing side: a member with a default may be left out.

use std::collections::BTreeMap;

use eventwire_protocol::address::{AdwLayer, AudienceKind};
use eventwire_protocol::catalog::{self, EventSpec, EventType};
use eventwire_protocol::command::{Authenticate, Ping, Subscribe, Unsubscribe};
use eventwire_protocol::id::{AdwId, ConnectionId, EventId, Position, RoomName, Seq, SessionId, UserId};
use eventwire_protocol::time::Time;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::profile::{self, Definitions};

/// One event type of the catalog, with what its schema needs.
#[derive(Clone, Debug)]
pub struct EventSource {
    /// The catalog's row.
    pub spec: &'static EventSpec,
    /// The name of its types without a suffix, for instance `AdwToolUsePre`.
    pub title: String,
    /// One complete payload.
    pub example: Value,
}

impl EventSource {
    /// Name of the definition of the whole event.
    pub fn event_name(&self) -> String {
        format!("{}Event", self.title)
    }

    /// Name of the definition of the payload.
    pub fn data_name(&self) -> String {
        format!("{}Data", self.title)
    }

    /// Name of the definition of the event as a publisher sends it.
    pub fn publication_name(&self) -> String {
        format!("{}Publication", self.title)
    }

    /// Whether every event of this type is numbered. Events to one connection never are.
    pub fn is_always_logged(&self) -> bool {
        self.spec.delivery.is_logged() && !self.spec.audiences.contains(&AudienceKind::Connection)
    }

    /// Whether a publisher may send it. What a server says about a connection is the server's alone.
    pub fn is_publishable(&self) -> bool {
        self.spec.family != "connection"
    }
}

/// One command, with what its schema needs.
#[derive(Clone, Debug)]
pub struct CommandSource {
    /// Its `type`.
    pub name: &'static str,
    /// Name of its definition.
    pub title: &'static str,
    /// One sentence for people who write clients.
    pub summary: &'static str,
    /// Whether `data` may be left out.
    pub is_data_optional: bool,
    /// One complete payload.
    pub example: Value,
}

impl CommandSource {
    /// Name of the definition of the payload.
    pub fn data_name(&self) -> String {
        format!("{}Data", self.title)
    }
}

/// Everything the schemas are made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The events, in the order of the catalog.
    pub events: Vec<EventSource>,
    /// The commands.
    pub commands: Vec<CommandSource>,
    /// What a server sends.
    pub sent: Definitions,
    /// What a publisher or client sends.
    pub received: Definitions,
    /// How an audience of each kind is written, as a pattern without anchors.
    audiences: BTreeMap<AudienceKind, String>,
    /// How a user is written, as a pattern without anchors.
    user: String,
}

impl Source {
    /// Reads the catalog.
    ///
    /// # Errors
    /// [`Error::Catalog`] when a row has no example or a payload no named schema; nothing that input can cause.
    pub fn read() -> Result<Self, Error> {
        let examples: BTreeMap<EventType, Value> = catalog::examples().into_iter().collect();
        let events = EventType::ALL
            .iter()
            .map(|event_type| {
                let spec = event_type.spec();
                let example =
                    examples.get(event_type).ok_or_else(|| Error::Catalog(format!("{} has no example", spec.name)))?;
                Ok(EventSource { spec, title: format!("{event_type:?}"), example: example.clone() })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let settings = SchemaSettings::draft2020_12();
        Ok(Self {
            sent: definitions(settings.clone().for_serialize(), &events)?,
            received: definitions(settings.for_deserialize(), &events)?,
            commands: commands(),
            audiences: audience_patterns()?,
            user: id_pattern::<UserId>()?,
            events,
        })
    }

    /// The pattern of `to`, anchored: as events carry it when `in_event`, else as a publisher may address it.
    pub fn target_pattern(&self, spec: &EventSpec, in_event: bool) -> String {
        let alternatives: Vec<String> = spec
            .audiences
            .iter()
            .filter_map(|kind| {
                let whole = self.audiences.get(kind)?;
                Some(match kind {
                    AudienceKind::Adw if in_event && spec.layer == AdwLayer::Raw => format!("{whole}/raw"),
                    AudienceKind::Session if in_event && spec.visibility_in_payload => {
                        format!("{whole}(/(private|agent_only)/{})?", self.user)
                    }
                    _ => whole.clone(),
                })
            })
            .collect();
        anchored(&alternatives)
    }

    /// The pattern of a publisher's `to` for events that may go to any audience.
    pub fn any_target_pattern(&self) -> String {
        anchored(&self.audiences.values().cloned().collect::<Vec<_>>())
    }
}

fn anchored(alternatives: &[String]) -> String {
    match alternatives {
        [one] => format!("^{one}$"),
        several => format!("^({})$", several.join("|")),
    }
}

/// All payloads and the shared members of frames, under their published names.
fn definitions(settings: SchemaSettings, events: &[EventSource]) -> Result<Definitions, Error> {
    let mut generator = settings.into_generator();
    let mut rename = BTreeMap::new();
    for event in events {
        let schema = event.spec.event_type.payload_schema(&mut generator);
        rename.insert(referred_name(schema.as_value(), event.spec.name)?, event.data_name());
    }
    for (name, schema) in command_payloads(&mut generator) {
        rename.insert(referred_name(schema.as_value(), &name)?, format!("{name}Data"));
    }
    shared_members(&mut generator);
    let found: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    Ok(profile::conform(&found, &rename))
}

fn referred_name(schema: &Value, of: &str) -> Result<String, Error> {
    profile::referred(schema)
        .map(str::to_owned)
        .ok_or_else(|| Error::Catalog(format!("the payload of {of} is not a named type")))
}

fn command_payloads(generator: &mut SchemaGenerator) -> Vec<(String, schemars::Schema)> {
    vec![
        ("PingCommand".to_owned(), generator.subschema_for::<Ping>()),
        ("SubscribeCommand".to_owned(), generator.subschema_for::<Subscribe>()),
        ("UnsubscribeCommand".to_owned(), generator.subschema_for::<Unsubscribe>()),
        ("AuthenticateCommand".to_owned(), generator.subschema_for::<Authenticate>()),
    ]
}

fn shared_members(generator: &mut SchemaGenerator) {
    generator.subschema_for::<Time>();
    generator.subschema_for::<Seq>();
    generator.subschema_for::<Position>();
    generator.subschema_for::<EventId>();
}

fn commands() -> Vec<CommandSource> {
    vec![
        CommandSource {
            name: "ping",
            title: "PingCommand",
            summary: "Asks for `connection.pong`.",
            is_data_optional: true,
            example: json!({ "client_time": 1_763_682_001_123_u64 }),
        },
        CommandSource {
            name: "subscribe",
            title: "SubscribeCommand",
            summary: "Asks to receive targets, and to get what was missed of them. Answered by `connection.subscribed`.",
            is_data_optional: false,
            example: json!({
                "epoch": "9f3a77c2d1e05b64",
                "streams": [{ "to": "adw:29fb6a3e", "since": 4702 }, { "to": "room:tasks" }],
            }),
        },
        CommandSource {
            name: "unsubscribe",
            title: "UnsubscribeCommand",
            summary: "Asks to no longer receive targets. Answered by `connection.unsubscribed`.",
            is_data_optional: false,
            example: json!({ "streams": [{ "to": "adw:29fb6a3e" }] }),
        },
        CommandSource {
            name: "authenticate",
            title: "AuthenticateCommand",
            summary: "Replaces the credentials of the connection without closing it.",
            is_data_optional: false,
            example: json!({ "token": "the-new-token" }),
        },
    ]
}

/// How each kind of audience is written: its word, a colon and the pattern of its id.
fn audience_patterns() -> Result<BTreeMap<AudienceKind, String>, Error> {
    AudienceKind::ALL
        .iter()
        .map(|kind| {
            let id = match kind {
                AudienceKind::Connection => id_pattern::<ConnectionId>()?,
                AudienceKind::Session => id_pattern::<SessionId>()?,
                AudienceKind::User => id_pattern::<UserId>()?,
                AudienceKind::Adw => id_pattern::<AdwId>()?,
                AudienceKind::Room => id_pattern::<RoomName>()?,
                AudienceKind::Global => return Ok((*kind, kind.as_str().to_owned())),
            };
            Ok((*kind, format!("{}:{id}", kind.as_str())))
        })
        .collect()
}

fn id_pattern<T: JsonSchema>() -> Result<String, Error> {
    let schema = T::json_schema(&mut SchemaGenerator::default());
    schema
        .get("pattern")
        .and_then(Value::as_str)
        .and_then(|pattern| pattern.strip_prefix('^')?.strip_suffix('$'))
        .map(str::to_owned)
        .ok_or_else(|| Error::Catalog(format!("{} has no anchored pattern", T::schema_name())))
}
