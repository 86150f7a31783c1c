//! docs/reference/events.md: the catalogue as a page for people, out of the same source as the schemas.

use std::fmt::Write;

use serde_json::Value;

use crate::document::{audience_words, delivery_text};
use crate::profile::{Definitions, closure, referred};
use crate::source::{EventSource, Source};

/// Where the page is kept, relative to the workspace.
pub const PATH: &str = "docs/reference/events.md";

/// The page.
pub fn page(source: &Source) -> String {
    let mut page = String::from(
        "# Events\n\n\
         Generated from the catalogue by `cargo xtask schemas`; edits are overwritten. How frames, audiences and delivery\n\
         classes work stands in [the specification](../spec/); schemas to generate types from are in\n\
         [schemas/v1](../../schemas/v1/).\n\n\
         In the tables, a field with `?` may be absent; it is never null. What goes to one connection is neither numbered nor\n\
         kept, whatever its delivery class.\n",
    );
    let mut families: Vec<&str> = source.events.iter().map(|event| event.spec.family).collect();
    families.dedup();
    for family in families {
        let events: Vec<&EventSource> = source.events.iter().filter(|event| event.spec.family == family).collect();
        let _ = write!(page, "\n## {family}\n\n");
        page.push_str("| event | audiences | delivery | fields |\n| --- | --- | --- | --- |\n");
        for event in &events {
            let fields: Vec<String> = fields(&source.sent, &event.data_name()).map(|field| field.label()).collect();
            let anchor = event.spec.name.replace('.', "");
            let _ = writeln!(
                page,
                "| [`{}`](#{anchor}) | {} | {} | {} |",
                event.spec.name,
                audience_words(event).join(", "),
                delivery_text(event.spec.delivery),
                if fields.is_empty() { "none".to_owned() } else { fields.join(", ") }
            );
        }
        for event in events {
            section(&mut page, source, event);
        }
    }
    words(&mut page, source);
    page
}

fn section(page: &mut String, source: &Source, event: &EventSource) {
    let name = event.data_name();
    let text = source.sent.get(&name).and_then(description).unwrap_or(event.spec.summary);
    let _ = write!(page, "\n### {}\n\n{text}\n", event.spec.name);
    field_table(page, &source.sent, &name);
    // Objects inside of the payload, each with a table of its own.
    let inner = source.sent.get(&name).map(|data| closure(data, &source.sent)).unwrap_or_default();
    for (name, definition) in inner.iter().filter(|(_, it)| it.get("properties").is_some()) {
        let _ = write!(page, "\n**{name}**: {}\n", description(definition).unwrap_or_default());
        field_table(page, &source.sent, name);
    }
    let _ = write!(page, "\n```json\n{}\n```\n", event.example);
}

fn field_table(page: &mut String, definitions: &Definitions, name: &str) {
    if fields(definitions, name).next().is_none() {
        page.push_str("\nIt has no fields.\n");
        return;
    }
    page.push_str("\n| field | type | meaning |\n| --- | --- | --- |\n");
    for field in fields(definitions, name) {
        let _ =
            writeln!(page, "| {} | {} | {} |", field.label(), kind(field.schema), cell(&field.meaning(definitions)));
    }
}

/// The lists of words, with what each word means.
fn words(page: &mut String, source: &Source) {
    page.push_str("\n## Named values\n\nValues that several events share. A list that may grow says so.\n");
    let mut used = Definitions::new();
    for event in &source.events {
        if let Some(data) = source.sent.get(&event.data_name()) {
            used.extend(closure(data, &source.sent));
        }
    }
    for (name, definition) in used.iter().filter(|(_, it)| it.get("properties").is_none()) {
        let _ = write!(page, "\n### {name}\n\n{}\n", description(definition).unwrap_or_default());
        if let Some(pattern) = definition.get("pattern").and_then(Value::as_str) {
            let _ = write!(page, "\nPattern: `{pattern}`\n");
        }
        if let Some(Value::Array(alternatives)) = definition.get("oneOf") {
            let names: Vec<&str> = alternatives.iter().filter_map(referred).collect();
            let _ = write!(page, "\nOne of: {}\n", names.join(", "));
        }
    }
}

struct Field<'a> {
    name: &'a str,
    schema: &'a Value,
    is_required: bool,
}

impl Field<'_> {
    fn label(&self) -> String {
        format!("`{}{}`", self.name, if self.is_required { "" } else { "?" })
    }

    /// Its own description, else the first paragraph of its type's.
    fn meaning(&self, definitions: &Definitions) -> String {
        description(self.schema)
            .or_else(|| description(definitions.get(target(self.schema)?)?))
            .map(|text| text.split("\n\n").next().unwrap_or_default().to_owned())
            .unwrap_or_default()
    }
}

fn fields<'a>(definitions: &'a Definitions, name: &str) -> impl Iterator<Item = Field<'a>> {
    let definition = definitions.get(name);
    let required = definition.and_then(|it| it.get("required")?.as_array());
    let properties = definition.and_then(|it| it.get("properties")?.as_object());
    properties.into_iter().flatten().map(move |(name, schema)| Field {
        name,
        schema,
        is_required: required.is_some_and(|names| names.iter().any(|it| it == name.as_str())),
    })
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description")?.as_str()
}

/// The definition that a field is of: a plain reference, or a union with one member.
fn target(schema: &Value) -> Option<&str> {
    referred(schema).or_else(|| match schema.get("oneOf")?.as_array()?.as_slice() {
        [only] => referred(only),
        _ => None,
    })
}

fn kind(schema: &Value) -> String {
    if let Some(name) = target(schema) {
        return name.to_owned();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => schema.get("items").map_or("array".to_owned(), |items| format!("array of {}", kind(items))),
        Some(kind) => kind.to_owned(),
        None => "any".to_owned(),
    }
}

/// A text inside of a table cell.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
