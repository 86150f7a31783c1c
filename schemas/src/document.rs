//! The published files, assembled from [`Source`].
//!
//! Each file stands alone: what it refers to is in its own `$defs`, so that it can be handed to a generator as it is.

use std::collections::BTreeMap;

use eventwire_protocol::catalog::{Delivery, Join};
use eventwire_protocol::{address::AdwLayer, limits, version};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::dialects;
use crate::flavors;
use crate::profile::{self, Definitions, reference};
use crate::source::{CommandSource, EventSource, Source};
use crate::{Error, VERSION, asyncapi, openapi};

/// Files by path relative to the published directory, in order of path.
pub type Tree = BTreeMap<String, String>;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The instant in every example.
pub(crate) const EXAMPLE_TIME: &str = "2026-11-20T23:40:01.123456Z";

/// Everything that is generated below `schemas/v1`.
///
/// # Errors
/// [`Error::Catalog`] when the catalog cannot be described; nothing that input can cause.
pub fn tree(source: &Source) -> Result<Tree, Error> {
    let mut files = Tree::new();
    let events = event_definitions(source);
    let mut put = |path: String, document: &Value| -> Result<(), Error> {
        let mut text = serde_json::to_string_pretty(document).map_err(|error| Error::Catalog(error.to_string()))?;
        text.push('\n');
        files.insert(path, text);
        Ok(())
    };
    put("event.schema.json".to_owned(), &event_root(source, &events))?;
    put("incoming.schema.json".to_owned(), &incoming_root(source, &events))?;
    put("command.schema.json".to_owned(), &command_root(source))?;
    put("publish.schema.json".to_owned(), &publish_root(source))?;
    put("publication.schema.json".to_owned(), &publication_root(source))?;
    for event in &source.events {
        put(schema_path(event), &event_file(event, &events))?;
        for (name, example) in examples(source, event) {
            put(example_path(event, name), &example)?;
        }
    }
    files.extend(flavors::derive(&files)?);
    let asyncapi = asyncapi::document(source, &files)?;
    files.insert(asyncapi::PATH.to_owned(), written(&asyncapi)?);
    let openapi = openapi::document(&files)?;
    files.insert(openapi::PATH.to_owned(), written(&openapi)?);
    let mut spoken = Vec::new();
    for told in dialects::all(source)? {
        let (documents, entry) = dialects::documents(source, told);
        for (path, document) in documents {
            files.insert(path, written(&document)?);
        }
        spoken.push(entry);
    }
    let mut index = index(source, &files);
    insert_before(&mut index, "files", "dialects", spoken.into());
    let mut text = serde_json::to_string_pretty(&index).map_err(|error| Error::Catalog(error.to_string()))?;
    text.push('\n');
    files.insert("index.json".to_owned(), text);
    Ok(files)
}

/// A file's text.
fn written(document: &Value) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(document).map_err(|error| Error::Catalog(error.to_string()))?;
    text.push('\n');
    Ok(text)
}

/// A file that has been generated.
pub(crate) fn parsed(files: &Tree, path: &str) -> Result<Value, Error> {
    let text = files.get(path).ok_or_else(|| Error::Catalog(format!("{path} is not generated yet")))?;
    serde_json::from_str(text).map_err(|error| Error::Catalog(format!("{path}: {error}")))
}

/// Puts a member in front of another.
fn insert_before(object: &mut Value, before: &str, name: &str, value: Value) {
    if let Value::Object(members) = object {
        let last = members.shift_remove(before);
        members.insert(name.to_owned(), value);
        members.extend(last.map(|last| (before.to_owned(), last)));
    }
}

pub(crate) fn schema_path(event: &EventSource) -> String {
    format!("events/{}.schema.json", event.spec.name)
}

fn example_path(event: &EventSource, name: &str) -> String {
    format!("examples/{}/{name}.json", event.spec.name)
}

// ---------------------------------------------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------------------------------------------

/// Payloads, shared members and one definition for each whole event.
fn event_definitions(source: &Source) -> Definitions {
    let mut definitions = source.sent.clone();
    for event in &source.events {
        definitions.insert(event.event_name(), event_definition(source, event));
    }
    definitions
}

fn event_definition(source: &Source, event: &EventSource) -> Value {
    let spec = event.spec;
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({ "const": spec.name }));
    properties.insert("time".to_owned(), reference("Time"));
    properties.insert("to".to_owned(), target(source.target_pattern(spec, true)));
    let mut required = vec!["type", "time", "to"];
    if spec.delivery.is_logged() && !is_for_connections_only(event) {
        properties.insert("seq".to_owned(), reference("Seq"));
        properties.insert(
            "prev".to_owned(),
            json!({
                "description": "Number of the event before this one in the same stream, 0 for the first. If it is above the last number you hold, you missed something.",
                "oneOf": [reference("Position")],
            }),
        );
        if event.is_always_logged() {
            required.extend(["seq", "prev"]);
        }
    }
    properties.insert("data".to_owned(), reference(&event.data_name()));
    required.push("data");
    json!({
        "title": event.event_name(),
        "description": format!("{}\n\n{}", spec.summary, manner(event)),
        "type": "object",
        "properties": properties,
        "required": required,
        "examples": [example_frame(event, event.example.clone())],
    })
}

pub(crate) fn is_for_connections_only(event: &EventSource) -> bool {
    event.spec.audiences.iter().all(|kind| kind.as_str() == "connection")
}

fn target(pattern: String) -> Value {
    json!({ "description": "Whom the event is for; the same for every receiver.", "type": "string", "pattern": pattern })
}

/// One line on who gets an event and how.
pub(crate) fn manner(event: &EventSource) -> String {
    let spec = event.spec;
    if is_for_connections_only(event) {
        return "For: one connection, so it is neither numbered nor kept.".to_owned();
    }
    let mut text = format!("Delivery: {}. For: {}.", delivery_text(spec.delivery), audience_words(event).join(", "));
    if spec.layer == AdwLayer::Raw {
        text.push_str(" Needs the permission `adw_raw`.");
    }
    if spec.visibility_in_payload {
        text.push_str(" Only the part of the session that the payload's `visibility` names.");
    }
    text
}

/// The delivery class in words, with its key.
pub(crate) fn delivery_text(delivery: Delivery) -> String {
    match delivery.key().filter(|key| !key.is_empty()) {
        Some(key) => format!("{} by `{key}`", delivery.as_str()),
        None => delivery.as_str().to_owned(),
    }
}

/// The audience kinds as words.
pub(crate) fn audience_words(event: &EventSource) -> Vec<&'static str> {
    event.spec.audiences.iter().map(|kind| kind.as_str()).collect()
}

/// The closed union: what a server of this version sends.
fn event_union(source: &Source) -> Vec<Value> {
    source.events.iter().map(|event| reference(&event.event_name())).collect()
}

fn event_root(source: &Source, events: &Definitions) -> Value {
    root(
        "event",
        json!({
            "title": "Event",
            "description": "Every event that a server of this version sends. Closed: switch over `type` and let the compiler tell you what is missing. To read what a newer server may send, use IncomingEvent.",
            "oneOf": event_union(source),
        }),
        events,
    )
}

fn incoming_root(source: &Source, events: &Definitions) -> Value {
    let mut definitions = events.clone();
    let known: Vec<&str> = source.events.iter().map(|event| event.spec.name).collect();
    definitions.insert(
        "Event".to_owned(),
        json!({
            "title": "Event",
            "description": "Every event that this version knows.",
            "oneOf": event_union(source),
        }),
    );
    definitions.insert(
        "UnknownEvent".to_owned(),
        json!({
            "title": "UnknownEvent",
            "description": "An event of a type that this version does not know: a newer one, or one from vendor space (`_family.name`). Keep it or drop it, and go on.",
            "type": "object",
            "properties": {
                "type": { "description": "`<family>.<name>`.", "type": "string", "not": { "enum": known } },
                "time": reference("Time"),
                "to": { "description": "Whom the event is for.", "type": "string" },
                "seq": reference("Seq"),
                "prev": reference("Position"),
                "data": { "description": "The payload; free form.", "type": "object", "additionalProperties": true },
            },
            "required": ["type", "time", "to", "data"],
        }),
    );
    root(
        "incoming",
        json!({
            "title": "IncomingEvent",
            "description": "Every event that a client must accept: those it knows, and any other.",
            "oneOf": [reference("Event"), reference("UnknownEvent")],
        }),
        &definitions,
    )
}

fn event_file(event: &EventSource, events: &Definitions) -> Value {
    let definition = events.get(&event.event_name()).cloned().unwrap_or_default();
    root(&format!("events:{}", event.spec.name), definition, events)
}

/// A file: the dialect, an id, the schema itself, and the definitions that it needs.
fn root(id: &str, schema: Value, definitions: &Definitions) -> Value {
    let needed = profile::closure(&schema, definitions);
    let mut document = Map::new();
    document.insert("$schema".to_owned(), Value::from(DRAFT));
    document.insert("$id".to_owned(), Value::from(format!("urn:eventwire:{}:{id}", version::PROTOCOL)));
    if let Value::Object(members) = schema {
        document.extend(members);
    }
    document.insert("$defs".to_owned(), Value::Object(needed.into_iter().collect()));
    Value::Object(document)
}

// ---------------------------------------------------------------------------------------------------------------
// What others send
// ---------------------------------------------------------------------------------------------------------------

fn command_root(source: &Source) -> Value {
    let mut definitions = source.received.clone();
    for command in &source.commands {
        definitions.insert(command.title.to_owned(), command_definition(command));
    }
    let members: Vec<Value> = source.commands.iter().map(|command| reference(command.title)).collect();
    root(
        "command",
        json!({
            "title": "Command",
            "description": "Everything that a client may send over a socket: one JSON object in one text frame.",
            "oneOf": members,
        }),
        &definitions,
    )
}

fn command_definition(command: &CommandSource) -> Value {
    let mut required = vec!["type"];
    if !command.is_data_optional {
        required.push("data");
    }
    json!({
        "title": command.title,
        "description": command.summary,
        "type": "object",
        "properties": {
            "type": { "const": command.name },
            "id": {
                "description": "Chosen by you; the reply carries it as `re`.",
                "type": "string",
                "maxLength": limits::MAX_COMMAND_ID_CHARACTERS,
            },
            "data": reference(&command.data_name()),
        },
        "required": required,
        "additionalProperties": false,
        "examples": [{ "type": command.name, "id": "1", "data": command.example }],
    })
}

/// The publications of known types, and all definitions that they need.
fn known_publications(source: &Source) -> (Vec<Value>, Definitions) {
    let mut definitions = source.received.clone();
    let mut members = Vec::new();
    for event in source.events.iter().filter(|event| event.is_publishable()) {
        definitions.insert(event.publication_name(), publication_definition(source, event));
        members.push(reference(&event.publication_name()));
    }
    (members, definitions)
}

/// The closed union, for the types of producers. In `Publication` the type of a vendor's event is any text, which takes in a
/// misspelled one.
fn known_publication(members: &[Value]) -> Value {
    json!({
        "title": "KnownPublication",
        "description": "One event to publish, of a type that this version knows. Closed: a compiler refuses a misspelled type. There is no default audience.",
        "oneOf": members,
    })
}

fn publication_root(source: &Source) -> Value {
    let (members, definitions) = known_publications(source);
    root("publication", known_publication(&members), &definitions)
}

fn publish_root(source: &Source) -> Value {
    let (mut members, mut definitions) = known_publications(source);
    definitions.insert("VendorPublication".to_owned(), vendor_publication(source));
    members.push(reference("VendorPublication"));
    definitions.insert(
        "Publication".to_owned(),
        json!({
            "title": "Publication",
            "description": "One event to publish. There is no default audience.",
            "oneOf": members,
        }),
    );
    definitions.insert(
        "PublicationBatch".to_owned(),
        json!({
            "title": "PublicationBatch",
            "description": "Several events; each is accepted or refused on its own, in order.",
            "type": "array",
            "items": reference("Publication"),
            "maxItems": limits::MAX_BATCH_ITEMS,
        }),
    );
    root(
        "publish",
        json!({
            "title": "PublishRequest",
            "description": "The body of `POST /v1/events` as application/json. As application/x-ndjson each line is one Publication.",
            "oneOf": [reference("Publication"), reference("PublicationBatch")],
        }),
        &definitions,
    )
}

/// The members that every publication has besides `type`, `to` and `data`.
fn publication_members() -> [(&'static str, Value); 2] {
    [
        (
            "time",
            json!({
                "description": "When it happened; the server's clock when absent.",
                "oneOf": [reference("Time")],
            }),
        ),
        ("id", reference("EventId")),
    ]
}

fn expected_prev() -> Value {
    json!({
        "description": "Refuse the event unless the stream's last number is this one.",
        "oneOf": [reference("Position")],
    })
}

fn publication_definition(source: &Source, event: &EventSource) -> Value {
    let spec = event.spec;
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({ "const": spec.name }));
    properties.insert("to".to_owned(), target(source.target_pattern(spec, false)));
    properties.insert("data".to_owned(), reference(&event.data_name()));
    properties.extend(publication_members().map(|(name, schema)| (name.to_owned(), schema)));
    if spec.delivery.is_logged() {
        properties.insert("expected_prev".to_owned(), expected_prev());
    }
    json!({
        "title": event.publication_name(),
        "description": spec.summary,
        "type": "object",
        "properties": properties,
        "required": ["type", "to", "data"],
        "additionalProperties": false,
        "examples": [{ "type": spec.name, "to": example_target(event, false), "data": event.example }],
    })
}

fn vendor_publication(source: &Source) -> Value {
    let mut properties = Map::new();
    properties.insert(
        "type".to_owned(),
        json!({
            "description": "A type of your own: `_<family>.<name>`, lower snake case.",
            "type": "string",
            "pattern": "^_[a-z0-9_]+\\.[a-z0-9_]+$",
            "maxLength": 128,
        }),
    );
    properties.insert("to".to_owned(), target(source.any_target_pattern()));
    let data = json!({ "description": "The payload; free form.", "type": "object", "additionalProperties": true });
    properties.insert("data".to_owned(), data);
    properties.extend(publication_members().map(|(name, schema)| (name.to_owned(), schema)));
    properties.insert("expected_prev".to_owned(), expected_prev());
    json!({
        "title": "VendorPublication",
        "description": "An event from vendor space: carried as it is, numbered and kept, never read.",
        "type": "object",
        "properties": properties,
        "required": ["type", "to", "data"],
        "additionalProperties": false,
        "examples": [{ "type": "_acme.lamp_switched", "to": "room:tasks", "data": { "on": true } }],
    })
}

// ---------------------------------------------------------------------------------------------------------------
// Examples and index
// ---------------------------------------------------------------------------------------------------------------

/// `complete` has every member; `minimal` only those that are always there.
pub(crate) fn examples(source: &Source, event: &EventSource) -> Vec<(&'static str, Value)> {
    let mut found = vec![("complete", example_frame(event, event.example.clone()))];
    let required = source.sent.get(&event.data_name()).and_then(|data| data.get("required")?.as_array());
    let is_required = |name: &String| required.is_some_and(|names| names.iter().any(|it| it == name.as_str()));
    let minimal: Map<String, Value> = event
        .example
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_required(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let minimal = Value::Object(minimal);
    if minimal != event.example {
        found.push(("minimal", example_frame(event, minimal)));
    }
    found
}

fn example_frame(event: &EventSource, data: Value) -> Value {
    let mut frame = Map::new();
    frame.insert("type".to_owned(), Value::from(event.spec.name));
    frame.insert("time".to_owned(), Value::from(EXAMPLE_TIME));
    let to = example_target(event, true);
    let is_logged = event.spec.delivery.is_logged() && !to.starts_with("connection:");
    frame.insert("to".to_owned(), Value::from(to));
    if is_logged {
        frame.insert("seq".to_owned(), Value::from(4711));
        frame.insert("prev".to_owned(), Value::from(4702));
    }
    frame.insert("data".to_owned(), data);
    Value::Object(frame)
}

/// An audience of the first kind that the event may go to. An ADW is the one that the payload names.
pub(crate) fn example_target(event: &EventSource, in_event: bool) -> String {
    let raw = if in_event && event.spec.layer == AdwLayer::Raw { "/raw" } else { "" };
    match audience_words(event).first().copied() {
        Some("connection") => "connection:c00000000000000ff".to_owned(),
        Some("session") => "session:planning".to_owned(),
        Some("user") => "user:maria".to_owned(),
        Some("room") => "room:tasks".to_owned(),
        Some("adw") => {
            let id = event.example.get("adw_id").and_then(Value::as_str).unwrap_or("29fb6a3e");
            format!("adw:{id}{raw}")
        }
        _ => "global".to_owned(),
    }
}

fn index(source: &Source, files: &Tree) -> Value {
    let events: Vec<Value> = source.events.iter().map(|event| index_entry(source, event)).collect();
    let commands: Vec<Value> = source
        .commands
        .iter()
        .map(|command| json!({ "type": command.name, "title": command.title, "summary": command.summary }))
        .collect();
    let digests: Map<String, Value> = files
        .iter()
        .map(|(path, text)| (path.clone(), json!({ "bytes": text.len(), "sha256": digest(text) })))
        .collect();
    json!({
        "protocol": version::PROTOCOL,
        "version": VERSION,
        "roots": {
            "event": "event.schema.json",
            "incoming": "incoming.schema.json",
            "command": "command.schema.json",
            "publish": "publish.schema.json",
            "publication": "publication.schema.json",
        },
        "documents": { "asyncapi": asyncapi::PATH, "openapi": openapi::PATH },
        "events": events,
        "commands": commands,
        "lists": lists(source),
        "flavors": flavors::names().collect::<Vec<_>>(),
        "files": digests,
    })
}

/// Lists of values to which a minor version may add; a reader carries what it does not know (VER-02). All others are
/// closed: a value more is a new protocol version.
const OPEN_LISTS: &[&str] = &["ErrorCode", "GapReason"];

/// Every named list of values, and whether it may grow.
fn lists(source: &Source) -> BTreeMap<String, &'static str> {
    let all = source.sent.iter().chain(&source.received);
    let lists = all.filter(|(_, definition)| definition.get("enum").is_some());
    lists.map(|(name, _)| (name.clone(), if OPEN_LISTS.contains(&name.as_str()) { "open" } else { "closed" })).collect()
}

fn index_entry(source: &Source, event: &EventSource) -> Value {
    let spec = event.spec;
    let mut delivery = Map::new();
    delivery.insert("class".to_owned(), Value::from(spec.delivery.as_str()));
    if let Some(key) = spec.delivery.key().filter(|key| !key.is_empty()) {
        delivery.insert("key".to_owned(), Value::from(key));
    }
    if let Delivery::Append { joins, .. } = spec.delivery {
        let joins: Map<String, Value> =
            joins.iter().map(|(member, join)| ((*member).to_owned(), Value::from(join_word(*join)))).collect();
        delivery.insert("joins".to_owned(), Value::Object(joins));
    }
    let paths: Vec<String> = examples(source, event).iter().map(|(name, _)| example_path(event, name)).collect();
    let mut entry = Map::new();
    entry.insert("type".to_owned(), Value::from(spec.name));
    entry.insert("title".to_owned(), Value::from(event.event_name()));
    entry.insert("summary".to_owned(), Value::from(spec.summary));
    entry.insert("audiences".to_owned(), Value::from(audience_words(event)));
    entry.insert("delivery".to_owned(), Value::Object(delivery));
    if spec.layer == AdwLayer::Raw {
        entry.insert("permission".to_owned(), Value::from("adw_raw"));
    }
    entry.insert("publishable".to_owned(), Value::from(event.is_publishable()));
    entry.insert("schema".to_owned(), Value::from(schema_path(event)));
    entry.insert("examples".to_owned(), Value::from(paths));
    Value::Object(entry)
}

fn join_word(join: Join) -> &'static str {
    match join {
        Join::Concatenate => "concatenate",
        Join::Same => "same",
        Join::End => "end",
        Join::Start => "start",
        Join::First => "first",
    }
}

/// SHA-256 of a text, in lower-case hexadecimal digits.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
