//! One page for each family of events.

use std::collections::BTreeSet;
use std::fmt::Write;

use eventwire_protocol::Dialect;
use eventwire_protocol::address::AdwLayer;
use eventwire_protocol::catalog::{Delivery, Join};
use serde_json::{Map, Value};

use super::{GENERATED, anchor, cell, description, field_table, of_family, pretty, type_section};
use crate::Error;
use crate::dialects::{self, Frame, Tag, Told, infer, probe, tag_of};
use crate::document::{
    EXAMPLE_TIME, audience_words, delivery_text, example_target, examples, is_for_connections_only, schema_path,
};
use crate::profile::closure;
use crate::source::{EventSource, Source};

/// The page of a family.
pub(super) fn page(source: &Source, family: &str) -> Result<String, Error> {
    let events = of_family(source, family);
    let payloads: BTreeSet<String> = events.iter().map(|event| event.data_name()).collect();
    let mut types: BTreeSet<String> = BTreeSet::new();
    for payload in events.iter().filter_map(|event| source.sent.get(&event.data_name())) {
        types.extend(closure(payload, &source.sent).into_keys());
    }
    types.retain(|name| !payloads.contains(name));
    let mut page = format!(
        "# Events of the family `{family}`\n\n{GENERATED}\n\n\
         [All events](../events.md). The frame around each payload is the same for all events and stands in\n\
         [ENV](../../spec/ENV.md). A field that is not required may be absent; it is never null.\n\n",
    );
    for event in &events {
        let _ = writeln!(page, "- [`{}`](#{}): {}", event.spec.name, anchor(event.spec.name), event.spec.summary);
    }
    if !types.is_empty() {
        let _ = writeln!(page, "- [Types](#types)");
    }
    let told = dialects::all(source)?;
    for event in events {
        section(&mut page, source, event, &types, told)?;
    }
    if !types.is_empty() {
        page.push_str("\n## Types\n\nWhat several fields of this page are. A list of words that may grow says so.\n");
        types.iter().for_each(|name| type_section(&mut page, &source.sent, name, &types));
    }
    Ok(page)
}

fn section(
    page: &mut String,
    source: &Source,
    event: &EventSource,
    types: &BTreeSet<String>,
    told: &[Told],
) -> Result<(), Error> {
    let (spec, data) = (event.spec, event.data_name());
    let payload = source.sent.get(&data).and_then(description).unwrap_or_default();
    let _ = write!(page, "\n## {}\n", spec.name);
    // What is said of the payload often begins with what is said of the event.
    if !payload.starts_with(spec.summary) {
        let _ = write!(page, "\n{}\n", spec.summary);
    }
    if !payload.is_empty() {
        let _ = write!(page, "\n{payload}\n");
    }
    let _ = write!(page, "\n- For: {}.\n- Delivery: {}\n", audience_words(event).join(", "), delivery(event));
    let mut permissions = Vec::new();
    if spec.layer == AdwLayer::Raw {
        permissions.push("only those whose credentials have `adw_raw` receive it");
    }
    if spec.visibility_in_payload {
        permissions.push("only the part of the session that `visibility` names receives it");
    }
    if spec.is_the_servers_own() {
        permissions.push("only the server says it; it cannot be published");
    }
    if !permissions.is_empty() {
        let _ = writeln!(page, "- Permission: {}.", permissions.join("; "));
    }
    let _ = writeln!(
        page,
        "- Schema: [{title}](../../../schemas/v1/{path})",
        title = event.event_name(),
        path = schema_path(event)
    );
    page.push_str("\n**Fields of `data`**\n");
    field_table(page, &source.sent, &data, types);
    if let Some((_, example)) = examples(source, event).first() {
        let _ = write!(page, "\n**Example**\n\n```json\n{}\n```\n", pretty(example));
    }
    older(page, event, told)
}

/// The delivery class in sentences.
fn delivery(event: &EventSource) -> String {
    let class = delivery_text(event.spec.delivery);
    if is_for_connections_only(event) {
        return "to one connection, so it is neither numbered nor kept.".to_owned();
    }
    let explained = match event.spec.delivery {
        Delivery::Durable => {
            "numbered and kept; a receiver gets every one of them, after a reconnection too.".to_owned()
        }
        Delivery::Append { key, joins } => {
            let joins: Vec<String> =
                joins.iter().map(|(member, join)| format!("`{member}` {}", joined(*join))).collect();
            format!(
                "numbered and kept; parts with the same `{key}` that wait for a slow receiver may arrive as one: {}.",
                joins.join(", ")
            )
        }
        Delivery::Latest { key: "" } => {
            "not numbered; the newest one of each audience is kept, and given to whoever begins to listen.".to_owned()
        }
        Delivery::Latest { key } => {
            format!("not numbered; the newest one of each `{key}` is kept, and given to whoever begins to listen.")
        }
        Delivery::Volatile => "neither numbered nor kept, and dropped first when a receiver is slow.".to_owned(),
    };
    let to_one = if audience_words(event).contains(&"connection") {
        " To one connection it is neither numbered nor kept."
    } else {
        ""
    };
    format!("{class}: {explained}{to_one}")
}

const fn joined(join: Join) -> &'static str {
    match join {
        Join::Concatenate => "put together",
        Join::Same => "the same in all",
        Join::End => "true on the last part, behind which nothing is joined",
        Join::Start => "true on the first part, in front of which nothing is joined",
        Join::First => "that of the first part",
    }
}

/// How frontends of the older systems are told: the example as each of them reads it, and what of it comes from where.
fn older(page: &mut String, event: &EventSource, told: &[Told]) -> Result<(), Error> {
    let to = example_target(event, false);
    let frame_of = |dialect: Dialect| {
        probe::frame(event, dialect, &to, EXAMPLE_TIME, &event.example)
            .map_err(|error| Error::Catalog(format!("the example of {}: {error}", event.spec.name)))
    };
    page.push_str("\n**In the older systems**\n");
    let mut silent: Vec<&str> = Vec::new();
    for told in told {
        let dialect = told.dialect;
        let spelled: Vec<&Frame> = told.frames.iter().filter(|it| it.events.contains(&event.spec.event_type)).collect();
        if spelled.is_empty() {
            if dialect.family() == dialect {
                silent.push(dialects::system(dialect));
            }
            continue;
        }
        let frame = frame_of(dialect)?;
        // A variant is told of where it differs.
        if dialect.family() != dialect && frame == frame_of(dialect.family())? {
            continue;
        }
        let names: Vec<String> = spelled.iter().map(|it| format!("`{}`", it.name)).collect();
        let _ = write!(
            page,
            "\n{} (`{}`) reads {}, as in [its schema](../../../schemas/v1/dialects/{}/server.schema.json):\n",
            dialects::system(dialect),
            dialect.as_str(),
            names.join(" or "),
            dialect.as_str()
        );
        if let Some(frame) = &frame {
            let what = if tag_of(dialect) == Tag::EventName {
                "the name and the argument of an event of Socket.IO"
            } else {
                ""
            };
            let what = if what.is_empty() { String::new() } else { format!("\nThat is {what}.\n") };
            let _ = write!(page, "{what}\n```json\n{}\n```\n", pretty(frame));
        }
        for of_one in spelled {
            mapping(page, event, of_one);
        }
    }
    if !silent.is_empty() {
        let _ = write!(page, "\nNot told: {}.\n", silent.join("; "));
    }
    Ok(())
}

/// A table of the members of a frame, with what each says of the event.
fn mapping(page: &mut String, event: &EventSource, frame: &Frame) {
    let mut members = Map::new();
    infer::flat(&frame.node, "", &mut members);
    let mut rows: Vec<(String, String)> = Vec::new();
    for (path, origins) in &members {
        let of_this = |it: &&Value| it.get("event").is_some_and(|name| name == event.spec.name);
        let said: Vec<String> = origins.as_array().into_iter().flatten().filter(of_this).map(said).collect();
        let path = if path.is_empty() { "(the whole)".to_owned() } else { format!("`{path}`") };
        if !said.is_empty() {
            rows.push((path, said.join("; ")));
        } else if frame.events.len() == 1
            && let Some(value) = origins.get(0).and_then(|it| it.get("always"))
        {
            rows.push((path, format!("always `{}`", infer::plain(value))));
        }
    }
    if rows.is_empty() {
        return;
    }
    let _ = write!(page, "\n| member of `{}` | from |\n| --- | --- |\n", frame.name);
    for (path, said) in rows {
        let _ = writeln!(page, "| {path} | {} |", cell(&said));
    }
}

fn said(origin: &Value) -> String {
    let text = |key: &str| origin.get(key).and_then(Value::as_str).unwrap_or_default();
    let place = match text("from") {
        "@time" => "the event's time".to_owned(),
        "@session" => "the session that the event is for".to_owned(),
        "@connection" => "the connection that the event is for".to_owned(),
        place => format!("`{place}`"),
    };
    match text("how") {
        "" => place,
        infer::MADE => format!("made from {place}"),
        words if words.starts_with('`') => format!("{place}: {words}"),
        how => format!("{place}, {how}"),
    }
}
