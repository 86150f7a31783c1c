//! The same schemas for tools with other habits: derived from the published ones, never edited.
//!
//! - `openapi`: components of an OpenAPI 3.1 document, with a `discriminator` and its mapping on every union of frames.
//!   A frame without a fixed type is in no mapping, so the known ones are a union of their own.
//! - `bundled`: no `$ref` at all, for form builders, language models and validators that read one schema.
//! - `strict`: whatever names its members forbids others. For producers' tests, which should fail on a misspelled
//!   member; a client that validates with it breaks on the next minor version.
//!
//! Examples stay with the originals. A derived file has one line for each definition, so that it is small and a change of
//! it can still be read.

use serde_json::{Map, Value, json};

use crate::document::Tree;
use crate::profile::{references, referred};
use crate::subsume::{closes, recursion};
use crate::{Error, VERSION};

/// Folder of all flavors.
pub const FOLDER: &str = "flavors/";

/// The files that are derived, by flavor.
///
/// # Errors
/// [`Error::Catalog`] when a definition contains itself, so that it cannot be written out without references.
pub fn derive(published: &Tree) -> Result<Tree, Error> {
    let mut files = Tree::new();
    for (path, text) in published {
        for Flavor { name: flavor, holds, make } in FLAVORS {
            if holds(path) {
                let file = serde_json::from_str(text).map_err(|error| Error::Catalog(format!("{path}: {error}")))?;
                let (name, derived) = make(path, file)?;
                files.insert(format!("{FOLDER}{flavor}/{name}"), in_lines(&derived));
            }
        }
    }
    Ok(files)
}

/// A derived file's name below the flavor's folder, and what it says.
type Derived = (String, Value);

/// One way to derive files.
struct Flavor {
    name: &'static str,
    /// Whether it is derived from the file at a path.
    holds: fn(&str) -> bool,
    /// The derived file and its name.
    make: fn(&str, Value) -> Result<Derived, Error>,
}

const FLAVORS: &[Flavor] = &[
    Flavor { name: "openapi", holds: is_root, make: openapi },
    Flavor {
        name: "bundled",
        holds: |path| is_root(path) && path != "incoming.schema.json" || path.starts_with("events/"),
        make: bundled,
    },
    // Who reads must never be strict, so the open root has no such file.
    Flavor { name: "strict", holds: |path| is_root(path) && path != "incoming.schema.json", make: strict },
];

fn is_root(path: &str) -> bool {
    path.ends_with(".schema.json") && !path.contains('/')
}

/// The flavors' names.
pub fn names() -> impl Iterator<Item = &'static str> {
    FLAVORS.iter().map(|flavor| flavor.name)
}

/// A document with a line for each definition and each member of a root.
fn in_lines(document: &Value) -> String {
    fn lines(value: &Value, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth + 1);
        match value {
            Value::Object(members) if depth < 3 && !members.is_empty() => {
                text.push_str("{\n");
                for (at, (key, value)) in members.iter().enumerate() {
                    text.push_str(&format!(
                        "{}{indent}{}: ",
                        if at == 0 { "" } else { ",\n" },
                        Value::from(key.as_str())
                    ));
                    let is_container = ["$defs", "components", "schemas", "properties"].contains(&key.as_str());
                    if is_container { lines(value, depth + 1, text) } else { text.push_str(&value.to_string()) }
                }
                text.push_str(&format!("\n{}}}", "  ".repeat(depth)));
            }
            _ => text.push_str(&value.to_string()),
        }
    }
    let mut text = String::new();
    lines(document, 0, &mut text);
    text.push('\n');
    text
}

/// Calls for every schema inside of one, and for itself last. What stands inside of `not` is left alone.
fn each(schema: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    let Some(members) = schema.as_object_mut() else { return };
    for (keyword, value) in members.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(inner)) => inner.values_mut().for_each(|it| each(it, change)),
            ("items" | "additionalProperties", inner) => each(inner, change),
            ("oneOf", Value::Array(inner)) => inner.iter_mut().for_each(|it| each(it, change)),
            _ => {}
        }
    }
    change(members);
}

fn identified(path: &str, flavor: &str, document: &mut Value) {
    if let Some(id) = document.get_mut("$id") {
        let name = path.trim_end_matches(".schema.json").replace('/', ":");
        *id = Value::from(format!("urn:eventwire:{}:flavors:{flavor}:{name}", eventwire_protocol::version::PROTOCOL));
    }
}

// ---------------------------------------------------------------------------------------------------------------
// strict
// ---------------------------------------------------------------------------------------------------------------

/// A schema in which whatever names its members forbids others.
pub fn closed(mut schema: Value) -> Value {
    each(&mut schema, &mut |members| {
        members.shift_remove("examples");
        if closes(members) {
            members.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    });
    schema
}

fn strict(path: &str, document: Value) -> Result<Derived, Error> {
    let mut document = closed(document);
    identified(path, "strict", &mut document);
    Ok((path.to_owned(), document))
}

// ---------------------------------------------------------------------------------------------------------------
// bundled
// ---------------------------------------------------------------------------------------------------------------

fn bundled(path: &str, mut document: Value) -> Result<Derived, Error> {
    if let Some(name) = recursion(&document) {
        return Err(Error::Catalog(format!("{path}: {name} contains itself, so it cannot be written out")));
    }
    identified(path, "bundled", &mut document);
    let definitions = document.as_object_mut().and_then(|it| it.shift_remove("$defs")).unwrap_or_default();
    inline(&mut document, &definitions, true)?;
    Ok((path.to_owned(), document))
}

/// Puts what is referred to in the place of references. A name stays where it may name a type: on objects and unions.
fn inline(schema: &mut Value, definitions: &Value, is_outermost: bool) -> Result<(), Error> {
    if let Some(name) = referred(schema) {
        let target = definitions.get(name);
        *schema = target.cloned().ok_or_else(|| Error::Catalog(format!("{name} is not defined")))?;
        return inline(schema, definitions, is_outermost);
    }
    let Some(members) = schema.as_object_mut() else { return Ok(()) };
    members.shift_remove("examples");
    let only = match members.get("oneOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) if !is_outermost => Some(only.clone()),
        _ => None,
    };
    if let Some(mut only) = only {
        inline(&mut only, definitions, false)?;
        let description = members.get("description").cloned();
        *members = only.as_object().cloned().unwrap_or_default();
        if let Some(description) = description {
            members.insert("description".to_owned(), description);
        }
        return Ok(());
    }
    let names_a_type = is_outermost || members.contains_key("properties") || members.contains_key("oneOf");
    if !names_a_type {
        members.shift_remove("title");
    }
    for (keyword, value) in members.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(inner)) => {
                for it in inner.values_mut() {
                    inline(it, definitions, false)?;
                }
            }
            ("items" | "additionalProperties" | "not", inner) => inline(inner, definitions, false)?,
            ("oneOf", Value::Array(inner)) => {
                for it in inner {
                    inline(it, definitions, false)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------------
// openapi
// ---------------------------------------------------------------------------------------------------------------

fn openapi(path: &str, document: Value) -> Result<Derived, Error> {
    let mut root = document;
    let members = root.as_object_mut().ok_or_else(|| Error::Catalog(format!("{path} is no schema")))?;
    let mut schemas: Map<String, Value> = match members.shift_remove("$defs") {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    members.shift_remove("$schema");
    members.shift_remove("$id");
    let title = members.get("title").and_then(Value::as_str).unwrap_or_default().to_owned();
    schemas.insert(title.clone(), root);
    let types: Map<String, Value> = schemas
        .iter()
        .filter_map(|(name, it)| Some((name.clone(), it.pointer("/properties/type/const")?.clone())))
        .collect();
    // Unions of frames get a discriminator; frames without a fixed type cannot be in one.
    let mut known = Map::new();
    for (name, schema) in &mut schemas {
        let Some(union) = schema.get("oneOf").and_then(Value::as_array).cloned() else { continue };
        let (fixed, free): (Vec<Value>, Vec<Value>) =
            union.into_iter().partition(|it| referred(it).is_some_and(|name| types.contains_key(name)));
        let mapping: Map<String, Value> = fixed
            .iter()
            .filter_map(|it| {
                let name = referred(it)?;
                Some((types.get(name)?.as_str()?.to_owned(), Value::from(format!("#/$defs/{name}"))))
            })
            .collect();
        if mapping.len() < 2 {
            continue;
        }
        let discriminator = json!({ "propertyName": "type", "mapping": mapping });
        let Some(members) = schema.as_object_mut() else { continue };
        if free.is_empty() {
            members.insert("discriminator".to_owned(), discriminator);
        } else {
            let inner = format!("Known{name}");
            let description = "One of those that the catalog knows.";
            let union =
                json!({ "title": inner, "description": description, "oneOf": fixed, "discriminator": discriminator });
            let union_of_both = std::iter::once(json!({ "$ref": format!("#/$defs/{inner}") })).chain(free).collect();
            members.insert("oneOf".to_owned(), union_of_both);
            known.insert(inner, union);
        }
    }
    schemas.extend(known);
    schemas.sort_keys();
    for schema in schemas.values_mut() {
        each(schema, &mut for_openapi);
        relocate(schema);
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": format!("Eventwire {title}"), "version": VERSION },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": {},
        "components": { "schemas": schemas },
    });
    Ok((path.replace(".schema.json", ".openapi.json"), document))
}

/// What OpenAPI's generators read better: a description beside a reference, a list of one for a constant.
fn for_openapi(members: &mut Map<String, Value>) {
    members.shift_remove("examples");
    let only = match members.get("oneOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => only.get("$ref").cloned(),
        _ => None,
    };
    if let Some(only) = only {
        members.shift_remove("oneOf");
        members.insert("$ref".to_owned(), only);
    }
    if let Some(fixed) = members.shift_remove("const") {
        if fixed.is_string() {
            members.insert("type".to_owned(), Value::from("string"));
        }
        members.insert("enum".to_owned(), json!([fixed]));
    }
}

/// Definitions are components there.
fn relocate(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("#/$defs/") {
                *text = format!("#/components/schemas/{name}");
            }
        }
        Value::Object(members) => {
            for (key, inner) in members.iter_mut() {
                if key != "description" && key != "enum" {
                    relocate(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(relocate),
        _ => {}
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Rules
// ---------------------------------------------------------------------------------------------------------------

/// What a rule finds: rule, file, place, problem.
pub(crate) type Found = (&'static str, String, String, String);

/// SCHEMA-09 to SCHEMA-12, on the files alone.
pub(crate) fn lint(tree: &Tree, files: &[(&str, &Value)], found: &mut Vec<Found>) {
    for (path, document) in files.iter().filter(|(path, _)| path.starts_with(FOLDER)) {
        let path: &str = path;
        let mut wrong =
            |rule, place: String, problem: &str| found.push((rule, path.to_owned(), place, problem.to_owned()));
        if path.starts_with("flavors/openapi/") {
            discriminated(document, &mut wrong);
        } else if path.starts_with("flavors/bundled/") {
            without_references(document, "", &mut wrong);
        } else if path.starts_with("flavors/strict/") {
            closed_to_writers(document, "", &mut wrong);
        } else {
            wrong("SCHEMA-12", String::new(), "no flavor is called like this; remove the file");
        }
    }
    // Derived again, the files are the same.
    let originals: Tree = tree
        .iter()
        .filter(|(path, _)| !path.starts_with(FOLDER))
        .map(|(path, text)| (path.clone(), text.clone()))
        .collect();
    let derived = match derive(&originals) {
        Ok(derived) => derived,
        Err(error) => return found.push(("SCHEMA-12", FOLDER.to_owned(), String::new(), error.to_string())),
    };
    for (path, text) in &derived {
        match tree.get(path) {
            Some(there) if there == text => {}
            Some(_) => found.push((
                "SCHEMA-12",
                path.clone(),
                String::new(),
                "says something else than the file it is derived from; generate again".to_owned(),
            )),
            None => found.push(("SCHEMA-12", path.clone(), String::new(), "is missing; generate again".to_owned())),
        }
    }
    for path in tree.keys().filter(|path| path.starts_with(FOLDER) && !derived.contains_key(*path)) {
        found.push(("SCHEMA-12", path.clone(), String::new(), "is derived from nothing; remove it".to_owned()));
    }
}

/// SCHEMA-09: every union of frames has a discriminator that leads each type to its schema; references lead somewhere.
fn discriminated(document: &Value, wrong: &mut dyn FnMut(&'static str, String, &str)) {
    const RULE: &str = "SCHEMA-09";
    let empty = Map::new();
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object).unwrap_or(&empty);
    if document.get("openapi").and_then(Value::as_str).is_none_or(|it| !it.starts_with("3.1")) || schemas.is_empty() {
        wrong(RULE, String::new(), "must be an OpenAPI 3.1 document with schemas");
    }
    let component =
        |reference: &str| reference.strip_prefix("#/components/schemas/").and_then(|name| schemas.get(name));
    let kind = |schema: &Value| schema.pointer("/properties/type/enum/0").and_then(Value::as_str).map(str::to_owned);
    for (name, schema) in schemas {
        let place = format!("/components/schemas/{name}");
        let mut dangling = false;
        walk(schema, &mut |inner| {
            dangling |= inner.get("$ref").and_then(Value::as_str).is_some_and(|it| component(it).is_none());
        });
        if dangling {
            wrong(RULE, place.clone(), "refers to what is not here");
        }
        let members: Vec<&str> = schema
            .get("oneOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|it| it.get("$ref")?.as_str())
            .collect();
        let mapping = schema.pointer("/discriminator/mapping").and_then(Value::as_object);
        let kinds: Vec<Option<String>> = members.iter().map(|it| component(it).and_then(kind)).collect();
        let fixed = kinds.iter().flatten().count();
        match mapping {
            None if fixed > 1 => wrong(RULE, place, "a union of frames needs a discriminator"),
            None => {}
            Some(mapping) => {
                let leads = members.iter().zip(&kinds).all(|(member, kind)| {
                    kind.as_ref().and_then(|kind| mapping.get(kind)).is_some_and(|it| it == member)
                });
                if !leads || mapping.len() != members.len() {
                    wrong(RULE, place, "the mapping must lead each type to its own schema, and hold nothing else");
                }
            }
        }
    }
}

fn walk(value: &Value, visit: &mut dyn FnMut(&Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            members.values().for_each(|it| walk(it, visit));
        }
        Value::Array(items) => items.iter().for_each(|it| walk(it, visit)),
        _ => {}
    }
}

/// SCHEMA-10: no reference and nothing that could be referred to.
fn without_references(document: &Value, place: &str, wrong: &mut dyn FnMut(&'static str, String, &str)) {
    if document.get("$defs").is_some() {
        wrong("SCHEMA-10", format!("{place}/$defs"), "a bundled file has no definitions");
    }
    if let Some(name) = references(document).first() {
        wrong("SCHEMA-10", place.to_owned(), &format!("refers to {name}; write it out"));
    }
}

/// SCHEMA-11: what names its members says whether there may be others.
fn closed_to_writers(schema: &Value, place: &str, wrong: &mut dyn FnMut(&'static str, String, &str)) {
    let Some(members) = schema.as_object() else { return };
    let is_object = members.get("type").is_some_and(|kind| kind == "object");
    if is_object && !members.contains_key("additionalProperties") {
        wrong("SCHEMA-11", place.to_owned(), "does not say whether there may be other members");
    }
    if members.contains_key("properties") && members.get("additionalProperties").is_some_and(|it| it == true) {
        wrong("SCHEMA-11", place.to_owned(), "names members and lets others pass");
    }
    for (keyword, inner) in members {
        match (keyword.as_str(), inner) {
            ("properties" | "$defs", Value::Object(inner)) => {
                for (name, it) in inner {
                    closed_to_writers(it, &format!("{place}/{keyword}/{name}"), wrong);
                }
            }
            ("items" | "additionalProperties", inner) => closed_to_writers(inner, &format!("{place}/{keyword}"), wrong),
            ("oneOf", Value::Array(inner)) => {
                for (at, it) in inner.iter().enumerate() {
                    closed_to_writers(it, &format!("{place}/{keyword}/{at}"), wrong);
                }
            }
            _ => {}
        }
    }
}
