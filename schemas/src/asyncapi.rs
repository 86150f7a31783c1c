//! `asyncapi.json`: what travels over WebSockets, server-sent events and the feed of commands, as an AsyncAPI 3.0 document
//! (DOC-01).
//!
//! The document is written from the server's side, as AsyncAPI wants it: the server *sends* events and *receives* commands.
//! Everything it refers to is inside of it. Its schemas are the profile's, in which the schema language of AsyncAPI and
//! JSON Schema 2020-12 mean the same, so no other schema format has to be named.

use eventwire_protocol::application::ApplicationCommand;
use eventwire_protocol::{limits, version};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::document::{self, Tree, parsed};
use crate::openapi::move_references;
use crate::profile::{self, Definitions, reference};
use crate::source::{CommandSource, EventSource, Source};
use crate::{Error, VERSION};

/// The file, relative to the published directory.
pub const PATH: &str = "asyncapi.json";

const STORY: &str = "One event is one JSON object: one text frame of a WebSocket, one `data:` line of server-sent events. Both transports carry \
the same frames, and a client may go on with the one where the other left off. Commands, from client to server, have the same shape \
and travel over WebSockets only.\n\nAn event that is logged has `seq` and `prev`. A receiver whose last number of a stream is below \
`prev` knows that it misses something, and asks for it with `subscribe {epoch, streams: [{to, since}]}`, or comes back to `/v1/sse` with \
`Last-Event-ID`.\n\nEvents of types that are not here may come from a newer server, and from vendor space (`_family.name`): keep or drop \
them, and go on. Over Socket.IO, in the namespace `/v1`, each frame is the event named by its `type`, and commands are the event `command`.";

/// What answers a command, by its `type`: the events that carry its `id` as `re`. Any command may get `connection.error`.
const ANSWERS: &[(&str, &[&str])] = &[
    ("ping", &["connection.pong"]),
    ("subscribe", &["connection.subscribed"]),
    ("unsubscribe", &["connection.unsubscribed"]),
    ("authenticate", &["connection.reply"]),
];

/// What families are.
const FAMILIES: &[(&str, &str)] = &[
    ("adw", "Agent runs: what AI developer workflows do."),
    ("assistant", "Answers of AMIGA's chat."),
    ("chat", "Chat turns of Monadic Chat."),
    ("command", "What a client may ask."),
    ("connection", "What the server says about a connection."),
    ("context", "Messages and state of a shared context."),
    ("document", "Processing of documents."),
    ("install", "Installations."),
    ("mcp", "Tools and servers of the Model Context Protocol."),
    ("message", "Messages that come in parts."),
    ("metrics", "Figures of a dashboard."),
    ("rag", "Retrieval."),
    ("session", "Logins."),
    ("task", "Tasks of AMIGA."),
    ("user", "Users."),
];

/// The whole document.
///
/// # Errors
/// [`Error::Catalog`] when a command has no answer or a family no description; nothing that input can cause.
pub(crate) fn document(source: &Source, files: &Tree) -> Result<Value, Error> {
    let mut schemas = definitions(&parsed(files, "event.schema.json")?);
    schemas.extend(definitions(&parsed(files, "command.schema.json")?));
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.subschema_for::<ApplicationCommand>();
    let found: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, definition) in profile::conform(&found, &Default::default()) {
        match schemas.insert(name.clone(), definition.clone()) {
            Some(other) if other != definition => {
                return Err(Error::Catalog(format!("{name} is the name of two bodies")));
            }
            _ => {}
        }
    }

    let mut messages = Map::new();
    for event in &source.events {
        messages.insert(event.event_name(), event_message(source, event)?);
    }
    for command in &source.commands {
        messages.insert(command.title.to_owned(), command_message(command));
    }
    messages.insert("ApplicationCommand".to_owned(), application_message());

    let all_events: Vec<String> = source.events.iter().map(EventSource::event_name).collect();
    let all_commands: Vec<String> = source.commands.iter().map(|command| command.title.to_owned()).collect();
    let mut operations = Map::new();
    operations.insert("sendEvents".to_owned(), send("socket", "Events go to whoever is connected.", &all_events, None));
    operations.insert(
        "streamEvents".to_owned(),
        send("stream", "Events go to whoever reads the stream.", &all_events, Some(http_binding(connect_query()))),
    );
    for command in &source.commands {
        operations.insert(format!("receive{}", command.title), receive(source, command)?);
    }
    let feed = json!({
        "type": "object",
        "properties": { "group": { "type": "string", "description": "The group of readers; `default` when absent." } },
    });
    operations.insert(
        "feedCommands".to_owned(),
        send(
            "commands",
            "Commands for the application go to a back end. It acknowledges them over HTTP; see openapi.json.",
            &["ApplicationCommand".to_owned()],
            Some(http_binding(feed)),
        ),
    );

    let mut document = json!({
        "asyncapi": "3.0.0",
        "id": format!("urn:eventwire:{}:asyncapi", version::PROTOCOL),
        "info": {
            "title": "Eventwire",
            "version": VERSION,
            "description": STORY,
            "license": { "name": "MIT OR Apache-2.0" },
            "tags": FAMILIES.iter().map(|(name, what)| json!({ "name": name, "description": what })).collect::<Vec<_>>(),
        },
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": {
            "socket": channel(
                "/v1/ws",
                "A WebSocket: events out, commands in.",
                &["websocket"],
                &[all_events.clone(), all_commands].concat(),
                Some(socket_binding()),
            ),
            "stream": channel("/v1/sse", "Server-sent events: the same events, one a `data:` line.", &["http"], &all_events, None),
            "commands": channel(
                "/v1/commands",
                "Server-sent events for back ends: what clients of older systems ask of the application. Needs the permission `commands`.",
                &["http"],
                &["ApplicationCommand".to_owned()],
                None,
            ),
        },
        "operations": operations,
        "components": {
            "schemas": schemas,
            "messages": messages,
            "securitySchemes": security_schemes(),
            "correlationIds": {
                "command": { "description": "Chosen by the client.", "location": "$message.payload#/id" },
                "answer": { "description": "The `id` of the command that it answers.", "location": "$message.payload#/data/re" },
            },
        },
    });
    move_references(&mut document);
    Ok(document)
}

/// The definitions of a file.
fn definitions(file: &Value) -> Definitions {
    let found = file.get("$defs").and_then(Value::as_object).into_iter().flatten();
    found.map(|(name, definition)| (name.clone(), definition.clone())).collect()
}

fn tag(family: &str) -> Result<Value, Error> {
    match FAMILIES.iter().find(|(name, _)| *name == family) {
        Some((name, _)) => Ok(json!([{ "name": name }])),
        None => Err(Error::Catalog(format!("asyncapi.rs does not say what the family {family} is"))),
    }
}

fn event_message(source: &Source, event: &EventSource) -> Result<Value, Error> {
    let examples: Vec<Value> = document::examples(source, event)
        .into_iter()
        .map(|(name, payload)| json!({ "name": name, "payload": payload }))
        .collect();
    let mut message = json!({
        "name": event.spec.name,
        "title": event.event_name(),
        "summary": event.spec.summary,
        "description": document::manner(event),
        "tags": tag(event.spec.family)?,
        "payload": reference(&event.event_name()),
        "examples": examples,
    });
    let is_answer =
        event.spec.name == "connection.error" || ANSWERS.iter().any(|(_, answers)| answers.contains(&event.spec.name));
    if let (true, Value::Object(members)) = (is_answer, &mut message) {
        members.insert("correlationId".to_owned(), json!({ "$ref": "#/components/correlationIds/answer" }));
    }
    Ok(message)
}

fn command_message(command: &CommandSource) -> Value {
    json!({
        "name": command.name,
        "title": command.title,
        "summary": command.summary,
        "tags": [{ "name": "command" }],
        "correlationId": { "$ref": "#/components/correlationIds/command" },
        "payload": reference(command.title),
        "examples": [{
            "name": "complete",
            "payload": { "type": command.name, "id": "1", "data": command.example },
        }],
    })
}

fn application_message() -> Value {
    let example = json!({
        "id": "c00000000000000ff-1", "time": "2026-11-20T23:40:01.123456Z", "dialect": "adw", "name": "trigger_workflow",
        "connection_id": "c00000000000000ff", "data": { "workflow_type": "adw_plan_iso", "issue_number": 66 },
    });
    json!({
        "name": "application_command",
        "title": "ApplicationCommand",
        "summary": "Something that a client of an older system asks of the application.",
        "tags": [{ "name": "command" }],
        "payload": reference("ApplicationCommand"),
        "examples": [{ "name": "trigger", "payload": example }],
    })
}

fn servers() -> Value {
    let variables = json!({
        "host": { "default": "localhost", "description": "Where the gateway is." },
        "port": { "default": "4800", "description": "Where it listens; this is the usual one." },
    });
    let server = |protocol: &str, description: &str, schemes: &[&str]| {
        json!({
            "host": "{host}:{port}",
            "protocol": protocol,
            "description": description,
            "variables": variables,
            "security": schemes
                .iter()
                .map(|name| json!({ "$ref": format!("#/components/securitySchemes/{name}") }))
                .collect::<Vec<_>>(),
        })
    };
    json!({
        "websocket": server("ws", "WebSockets. Without keys on loopback, no credentials are needed.", SOCKET_SECURITY),
        "http": server("http", "Server-sent events and plain requests. Without keys on loopback, no credentials are needed.", HTTP_SECURITY),
    })
}

const SOCKET_SECURITY: &[&str] = &["bearer", "subprotocolToken", "ticket"];
const HTTP_SECURITY: &[&str] = &["bearer", "ticket", "streamCookie"];

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "`Authorization: Bearer <API key or token (JWT)>`.",
        },
        "ticket": {
            "type": "httpApiKey",
            "in": "query",
            "name": "ticket",
            "description": "For pages: what `POST /v1/tickets` gave out, good for one connection to `/v1/ws` or `/v1/sse` within 30 seconds.",
        },
        "streamCookie": {
            "type": "httpApiKey",
            "in": "cookie",
            "name": "eventwire_sse",
            "description": "Set by the answer to a stream that was opened with a ticket, for `/v1/sse` alone, so that an EventSource can come back.",
        },
        "subprotocolToken": {
            "type": "httpApiKey",
            "in": "header",
            "name": "Sec-WebSocket-Protocol",
            "description": format!("For browsers, which cannot send `Authorization`: the subprotocol `{}<base64url of the token, without padding>`, offered beside `{}`. It is never echoed.", version::TOKEN_SUBPROTOCOL_PREFIX, version::SUBPROTOCOL),
        },
    })
}

fn channel(address: &str, description: &str, servers: &[&str], messages: &[String], ws: Option<Value>) -> Value {
    let references: Map<String, Value> = messages
        .iter()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let mut channel = json!({
        "address": address,
        "description": description,
        "servers": servers.iter().map(|name| json!({ "$ref": format!("#/servers/{name}") })).collect::<Vec<_>>(),
        "messages": references,
    });
    if let (Some(ws), Value::Object(members)) = (ws, &mut channel) {
        members.insert("bindings".to_owned(), json!({ "ws": ws }));
    }
    channel
}

/// The query of a request that opens a connection (WS-04).
fn connect_query() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "properties": {
            "adw": text("ADWs to listen to from the start, separated by commas."),
            "context": text("Contexts to join from the start, separated by commas."),
            "room": text("Rooms to join from the start, separated by commas."),
            "to": text("Targets to listen to from the start, separated by commas; `*` is everything that the permission `observe` shows."),
            "since": text("The targets begin with what comes after this sequence number; 0 is the oldest event that is kept."),
            "observe": { "type": "string", "enum": ["0", "1"], "description": "`1`: everything that the permission `observe` shows." },
            "cursor": text("The place of an earlier connection, as the server gave it out."),
            "ticket": text("In place of a token: what `POST /v1/tickets` gave out."),
        },
        "additionalProperties": false,
    })
}

fn socket_binding() -> Value {
    json!({
        "method": "GET",
        "query": connect_query(),
        "headers": {
            "type": "object",
            "properties": {
                "Sec-WebSocket-Protocol": {
                    "type": "string",
                    "description": format!("Subprotocols, separated by commas. `{}` is chosen; offering none is fine.", version::SUBPROTOCOL),
                    "examples": [version::SUBPROTOCOL],
                },
                "Origin": {
                    "type": "string",
                    "description": "Of a page: a loopback origin, or one of `allowed_origins`.",
                },
            },
        },
        "bindingVersion": "0.1.0",
    })
}

fn http_binding(query: Value) -> Value {
    json!({ "method": "GET", "query": query, "bindingVersion": "0.3.0" })
}

fn channel_messages(channel: &str, messages: &[String]) -> Vec<Value> {
    messages.iter().map(|name| json!({ "$ref": format!("#/channels/{channel}/messages/{name}") })).collect()
}

fn send(channel: &str, summary: &str, messages: &[String], http: Option<Value>) -> Value {
    let mut operation = json!({
        "action": "send",
        "channel": { "$ref": format!("#/channels/{channel}") },
        "summary": summary,
        "messages": channel_messages(channel, messages),
    });
    if let (Some(http), Value::Object(members)) = (http, &mut operation) {
        members.insert("bindings".to_owned(), json!({ "http": http }));
    }
    operation
}

fn receive(source: &Source, command: &CommandSource) -> Result<Value, Error> {
    let answers = ANSWERS
        .iter()
        .find(|(name, _)| *name == command.name)
        .map(|(_, answers)| *answers)
        .ok_or_else(|| Error::Catalog(format!("asyncapi.rs does not say what answers {}", command.name)))?;
    let titles: Vec<String> = answers
        .iter()
        .chain(&["connection.error"])
        .map(|name| {
            let event = source.events.iter().find(|event| event.spec.name == *name);
            event.map(EventSource::event_name).ok_or_else(|| Error::Catalog(format!("{name} is no event")))
        })
        .collect::<Result<_, _>>()?;
    Ok(json!({
        "action": "receive",
        "channel": { "$ref": "#/channels/socket" },
        "summary": command.summary,
        "description": format!(
            "The answer carries the command's `id` as `re`; without an `id`, no `re`. Up to {} commands a second, in bursts of {}.",
            limits::COMMANDS_PER_SECOND, limits::COMMAND_BURST
        ),
        "messages": channel_messages("socket", &[command.title.to_owned()]),
        "reply": {
            "channel": { "$ref": "#/channels/socket" },
            "messages": channel_messages("socket", &titles),
        },
    }))
}
