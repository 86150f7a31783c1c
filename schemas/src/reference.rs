//! docs/reference: the catalog, the commands, the refusals and the limits as pages for people, out of the same source as
//! the schemas.
//!
//! One page gives the overview, one tells of each family. A page stands alone: the types that its events use are on it.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::Error;
use crate::document::{Tree, audience_words, delivery_text};
use crate::profile::{Definitions, MAX_INTEGER, referred};
use crate::source::{EventSource, Source};

mod commands;
mod family;
mod limits;
mod refusals;

/// The overview of all events, relative to the workspace.
pub const PATH: &str = "docs/reference/events.md";

/// Where the pages of the families are, relative to the workspace. Nothing else is in there.
pub const FOLDER: &str = "docs/reference/events";

/// The commands.
pub const COMMANDS: &str = "docs/reference/commands.md";

/// Error codes and close codes.
pub const ERRORS: &str = "docs/reference/errors.md";

/// The limits.
pub const LIMITS: &str = "docs/reference/limits.md";

/// Every page by its path relative to the workspace.
///
/// # Errors
/// [`Error::Catalog`] when an example cannot be encoded; nothing that input can cause.
pub fn pages(source: &Source) -> Result<Tree, Error> {
    let mut pages = Tree::from([
        (PATH.to_owned(), overview(source)),
        (COMMANDS.to_owned(), commands::page(source)),
        (ERRORS.to_owned(), refusals::page()),
        (LIMITS.to_owned(), limits::page()),
    ]);
    for family in families(source) {
        pages.insert(format!("{FOLDER}/{family}.md"), family::page(source, family)?);
    }
    Ok(pages)
}

/// What stands at the top of every page.
pub(crate) const GENERATED: &str = "Generated from the sources by `cargo xtask schemas`; edits are overwritten.";

/// The families in the order of the catalog.
fn families(source: &Source) -> Vec<&'static str> {
    let mut families: Vec<&'static str> = source.events.iter().map(|event| event.spec.family).collect();
    families.dedup();
    let mut seen = BTreeSet::new();
    families.retain(|family| seen.insert(*family));
    families
}

/// The place of an event's section on the page of its family.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().chars().filter(|letter| letter.is_alphanumeric() || "_-".contains(*letter)).collect()
}

fn overview(source: &Source) -> String {
    let mut page = format!(
        "# Events\n\n{GENERATED}\n\n\
         How frames, audiences and delivery classes work stands in [the specification](../spec/); schemas to generate types\n\
         from are in [schemas/v1](../../schemas/v1/). Each family has a page with the fields of its events, an example of each,\n\
         and how frontends of the older systems are told. What clients send: [commands](commands.md). How they are refused:\n\
         [errors](errors.md). How much there may be of anything: [limits](limits.md).\n\n\
         | event | says | for | delivery |\n| --- | --- | --- | --- |\n"
    );
    for event in &source.events {
        let spec = event.spec;
        let _ = writeln!(
            page,
            "| [`{name}`](events/{family}.md#{anchor}) | {summary} | {audiences} | {delivery} |",
            name = spec.name,
            family = spec.family,
            anchor = anchor(spec.name),
            summary = cell(spec.summary),
            audiences = audience_words(event).join(", "),
            delivery = delivery_text(spec.delivery),
        );
    }
    page.push_str(
        "\nWhat goes to one connection is neither numbered nor kept, whatever its delivery class. Types that begin with `_` are\n\
         vendor space: carried as they are, described by whoever sends them.\n",
    );
    page
}

// ---------------------------------------------------------------------------------------------------------------
// What the pages have in common
// ---------------------------------------------------------------------------------------------------------------

/// A table of a definition's members; `on_page` are the definitions that the page has a section for.
fn field_table(page: &mut String, definitions: &Definitions, name: &str, on_page: &BTreeSet<String>) {
    let fields: Vec<Field<'_>> = fields(definitions, name).collect();
    if fields.is_empty() {
        page.push_str("\nIt has no fields.\n");
        return;
    }
    page.push_str("\n| field | type | required | bounds | meaning |\n| --- | --- | --- | --- | --- |\n");
    for field in fields {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            field.name,
            kind(field.schema, on_page),
            if field.is_required { "yes" } else { "no" },
            cell(&bounds(field.name, field.schema, definitions)),
            cell(&field.meaning(definitions))
        );
    }
}

/// The section of a definition that events use.
fn type_section(page: &mut String, definitions: &Definitions, name: &str, on_page: &BTreeSet<String>) {
    let Some(definition) = definitions.get(name) else { return };
    let _ = write!(page, "\n### {name}\n\n{}\n", description(definition).unwrap_or_default());
    if definition.get("properties").is_some() {
        field_table(page, definitions, name, on_page);
        return;
    }
    let bounds = bounds("", definition, definitions);
    if !bounds.is_empty() {
        let _ = write!(page, "\nBounds: {bounds}.\n");
    }
    if let Some(Value::Array(alternatives)) = definition.get("oneOf") {
        let names: Vec<String> = alternatives.iter().map(|it| kind(it, on_page)).collect();
        let _ = write!(page, "\nOne of: {}.\n", names.join(", "));
    }
}

struct Field<'a> {
    name: &'a str,
    schema: &'a Value,
    is_required: bool,
}

impl Field<'_> {
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

fn kind(schema: &Value, on_page: &BTreeSet<String>) -> String {
    if let Some(name) = target(schema) {
        return if on_page.contains(name) { format!("[{name}](#{})", anchor(name)) } else { name.to_owned() };
    }
    if let Some(Value::Array(alternatives)) = schema.get("oneOf") {
        return alternatives.iter().map(|it| kind(it, on_page)).collect::<Vec<_>>().join(" or ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => {
            schema.get("items").map_or("array".to_owned(), |items| format!("array of {}", kind(items, on_page)))
        }
        Some("object") => match schema.get("additionalProperties").filter(|it| it.is_object()) {
            Some(inner) => format!("object of {}", kind(inner, on_page)),
            None => "object".to_owned(),
        },
        Some(kind) => kind.to_owned(),
        None => "any".to_owned(),
    }
}

/// What a value is measured in, by the end of its name.
const UNITS: &[(&str, &str)] = &[
    ("_ms", "milliseconds"),
    ("_seconds", "seconds"),
    ("_bytes", "bytes"),
    ("percent", "percent"),
    ("_usd", "US dollars"),
    ("_per_second", "a second"),
    ("_tokens", "tokens"),
];

/// Bounds and units: `0 to 100 percent`.
fn bounds(name: &str, schema: &Value, definitions: &Definitions) -> String {
    let schema = target(schema).and_then(|name| definitions.get(name)).unwrap_or(schema);
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let is_number = schema.get("type").is_some_and(|it| it == "integer" || it == "number");
    let mut said: Vec<String> = Vec::new();
    let (low, high) = (number("minimum"), number("maximum").filter(|high| *high < MAX_INTEGER as f64));
    let low = low.filter(|low| *low > -(MAX_INTEGER as f64));
    let range = match (low, high) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("{low} or more"),
        (None, Some(high)) => format!("{high} at most"),
        (None, None) => String::new(),
    };
    let unit = UNITS.iter().find(|(end, _)| is_number && name.ends_with(end)).map(|(_, unit)| *unit);
    let measured: Vec<&str> =
        [range.as_str(), unit.unwrap_or_default()].into_iter().filter(|it| !it.is_empty()).collect();
    if !measured.is_empty() {
        said.push(measured.join(" "));
    }
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    for (low, high, what) in [("minLength", "maxLength", "characters"), ("minItems", "maxItems", "items")] {
        match (count(low), count(high)) {
            (Some(low), Some(high)) => said.push(format!("{low} to {high} {what}")),
            (Some(low), None) => said.push(format!("{low} {what} or more")),
            (None, Some(high)) => said.push(format!("{high} {what} at most")),
            (None, None) => {}
        }
    }
    if schema.get("format").is_some_and(|it| it == "date-time") {
        said.push("RFC 3339, in UTC".to_owned());
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        said.push(format!("`{pattern}`"));
    }
    said.join("; ")
}

/// A text inside of a table cell.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// JSON as people read it.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The events of a family.
fn of_family<'a>(source: &'a Source, family: &str) -> Vec<&'a EventSource> {
    source.events.iter().filter(|event| event.spec.family == family).collect()
}
