//! Proof that published files keep the profile: rules SCHEMA-01 to SCHEMA-08, one function each; those of the
//! derived files, SCHEMA-09 to SCHEMA-12, stand beside them in [`crate::flavors`], those of the older systems' frames and
//! of descriptions, SCHEMA-20 to SCHEMA-22, in the modules below.
//!
//! The rules look at nothing but the files, as a stranger would, so a fault in the generator cannot hide in a fault of
//! the lint. A finding names the rule, the file, the place inside of it and what to do.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::document::{Tree, digest};
use crate::flavors;
use crate::profile::{MAX_INTEGER, STANDARD_FORMATS, references, referred};

mod dialects;
mod documents;
mod wording;

/// A place where a file breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule, for instance `SCHEMA-03`.
    pub rule: &'static str,
    /// The file, relative to the published directory.
    pub file: String,
    /// The place in the file, as a JSON pointer.
    pub place: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}#{}: {}", self.rule, self.file, self.place, self.problem)
    }
}

/// A parsed file.
struct File<'a> {
    path: &'a str,
    text: &'a str,
    json: Value,
}

impl File<'_> {
    fn is_schema(&self) -> bool {
        self.path.ends_with(".schema.json")
    }

    /// Whether clients read what it describes, so that it must stay open to more members.
    fn is_for_readers(&self) -> bool {
        self.path.starts_with("events/")
            || ["event.schema.json", "incoming.schema.json"].contains(&self.path)
            || (self.is_of_a_dialect() && !self.path.ends_with("/client.schema.json"))
    }

    /// Whether it describes what an older system's clients read or send, which has names and nulls of its own.
    fn is_of_a_dialect(&self) -> bool {
        self.path.starts_with("dialects/")
    }

    fn finding(&self, rule: &'static str, place: impl Into<String>, problem: impl Into<String>) -> Finding {
        Finding { rule, file: self.path.to_owned(), place: place.into(), problem: problem.into() }
    }
}

/// Everything that is wrong with a published directory; empty when it keeps the profile.
pub fn lint(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut files = Vec::new();
    for (path, text) in tree.iter().filter(|(path, _)| path.ends_with(".json")) {
        match serde_json::from_str(text) {
            Ok(json) => files.push(File { path, text, json }),
            Err(error) => findings.push(Finding {
                rule: "SCHEMA-01",
                file: path.clone(),
                place: String::new(),
                problem: format!("not JSON: {error}"),
            }),
        }
    }
    for file in files.iter().filter(|file| file.is_schema() && !file.path.starts_with(flavors::FOLDER)) {
        standard_and_named(file, &mut findings);
        wording::for_readers(file, &mut findings);
        if file.is_of_a_dialect() {
            dialects::tagged(file, &mut findings);
        } else {
            event_shape(file, &mut findings);
        }
        unions(file, &mut findings);
        absent_not_null(file, &mut findings);
        open_for_readers(file, &mut findings);
        bounded_numbers(file, &mut findings);
    }
    two_roots(&files, &mut findings);
    dialects::complete(&files, &mut findings);
    documents::documents(&files, &mut findings);
    all_generated(&files, tree, &mut findings);
    let parsed: Vec<(&str, &Value)> = files.iter().map(|file| (file.path, &file.json)).collect();
    let mut found = Vec::new();
    flavors::lint(tree, &parsed, &mut found);
    findings.extend(found.into_iter().map(|(rule, file, place, problem)| Finding { rule, file, place, problem }));
    findings
}

/// Calls `visit` with every schema in a document and its place.
fn each_schema<'a>(schema: &'a Value, place: &str, visit: &mut dyn FnMut(&'a Value, &str)) {
    visit(schema, place);
    let Some(members) = schema.as_object() else { return };
    for (keyword, value) in members {
        match keyword.as_str() {
            "properties" | "$defs" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    each_schema(inner, &format!("{place}/{keyword}/{name}"), visit);
                }
            }
            "items" | "not" | "additionalProperties" => each_schema(value, &format!("{place}/{keyword}"), visit),
            "oneOf" | "anyOf" | "allOf" | "prefixItems" => {
                for (at, inner) in value.as_array().into_iter().flatten().enumerate() {
                    each_schema(inner, &format!("{place}/{keyword}/{at}"), visit);
                }
            }
            _ => {}
        }
    }
}

fn definitions(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    document.get("$defs").and_then(Value::as_object).into_iter().flatten()
}

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords of draft 2020-12 that the profile has a use for. `allOf` and `anyOf` are reported by SCHEMA-03.
const KEYWORDS: &[&str] = &[
    "$schema",
    "$id",
    "$ref",
    "$defs",
    "title",
    "description",
    "examples",
    "type",
    "const",
    "enum",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "format",
];

/// SCHEMA-01: draft 2020-12, standard keywords, versioned `$id`, a title on every definition, sorted `$defs`.
fn standard_and_named(file: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-01";
    let text = |key: &str| file.json.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("$schema") != DRAFT {
        findings.push(file.finding(RULE, "/$schema", format!("must be {DRAFT}")));
    }
    let name = file.path.trim_end_matches(".schema.json").replace('/', ":");
    let id = format!("urn:eventwire:v1:{name}");
    if text("$id") != id {
        findings.push(file.finding(RULE, "/$id", format!("must be {id}")));
    }
    if text("title").is_empty() {
        findings.push(file.finding(RULE, "/title", "a root needs a title"));
    }
    let names: Vec<&String> = definitions(&file.json).map(|(name, _)| name).collect();
    if !names.is_sorted() {
        findings.push(file.finding(RULE, "/$defs", "must be sorted by name"));
    }
    for (name, definition) in definitions(&file.json) {
        let place = format!("/$defs/{name}");
        if definition.get("title").and_then(Value::as_str) != Some(name) {
            findings.push(file.finding(RULE, &place, "needs its own name as title"));
        }
        if definition.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
            findings.push(file.finding(RULE, &place, "needs a description"));
        }
        // A number at the end is how two types of one name are told apart, which no reader could.
        if name.ends_with(|letter: char| letter.is_ascii_digit()) {
            findings.push(file.finding(RULE, &place, "two types have this name; rename one"));
        }
    }
    each_schema(&file.json, "", &mut |schema, place| {
        for keyword in schema.as_object().into_iter().flatten().map(|(keyword, _)| keyword) {
            if !KEYWORDS.contains(&keyword.as_str()) {
                findings.push(file.finding(RULE, place, format!("`{keyword}` is not a keyword of the profile")));
            }
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && !STANDARD_FORMATS.contains(&format)
        {
            findings.push(file.finding(RULE, place, format!("`format: {format}` is not in use everywhere; remove it")));
        }
    });
}

/// SCHEMA-02: an event is an object with a constant `type` first, the members of a frame, and a complete example.
fn event_shape(file: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-02";
    let root = file.path.starts_with("events/").then_some((String::new(), &file.json));
    let defined = definitions(&file.json)
        .filter(|(name, _)| name.ends_with("Event") && !["Event", "UnknownEvent"].contains(&name.as_str()))
        .map(|(name, it)| (format!("/$defs/{name}"), it));
    for (place, event) in root.into_iter().chain(defined) {
        let mut wrong = |problem: &str| findings.push(file.finding(RULE, &place, problem));
        let properties = event.get("properties").and_then(Value::as_object);
        let names: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let required = event.get("required").and_then(Value::as_array);
        let required: Vec<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
        if event.get("type").is_none_or(|kind| kind != "object") {
            wrong("an event is an object");
        }
        match names.as_slice() {
            ["type", "time", "to", "data"] | ["type", "time", "to", "seq", "prev", "data"] => {}
            _ => wrong("the members are type, time, to, seq and prev (logged types), data, in this order"),
        }
        if event.pointer("/properties/type/const").and_then(Value::as_str).is_none() {
            wrong("`type` must be a const");
        }
        if required.first() != Some(&"type") {
            wrong("`type` must be the first required member");
        }
        if ["time", "to", "data"].iter().any(|name| !required.contains(name)) {
            wrong("time, to and data are required");
        }
        if required.contains(&"seq") != required.contains(&"prev") {
            wrong("seq and prev come together");
        }
        if event.pointer("/properties/data").is_none_or(|data| referred(data).is_none()) {
            wrong("`data` must be a reference to a named payload");
        }
        if event.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
            wrong("an event needs a description");
        }
        let example = event.pointer("/examples/0");
        if example.is_none_or(|it| required.iter().any(|name| it.get(name).is_none())) {
            wrong("an event needs an example with every required member");
        }
    }
}

/// SCHEMA-03: unions are `oneOf` of pure references; references stand alone and lead somewhere.
fn unions(file: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-03";
    let defined: BTreeSet<&String> = definitions(&file.json).map(|(name, _)| name).collect();
    each_schema(&file.json, "", &mut |schema, place| {
        for keyword in ["allOf", "anyOf"] {
            if schema.get(keyword).is_some() {
                findings.push(file.finding(
                    RULE,
                    place,
                    format!("{keyword} is not used; say it with oneOf of references"),
                ));
            }
        }
        let members = schema.get("oneOf").and_then(Value::as_array);
        if members.into_iter().flatten().any(|member| referred(member).is_none()) {
            findings.push(file.finding(RULE, place, "oneOf may hold only references; give the member a name"));
        }
        if let (Some(_), Some(members)) = (schema.get("$ref"), schema.as_object())
            && members.len() > 1
        {
            findings.push(file.finding(RULE, place, "a reference stands alone; put it into a oneOf"));
        }
    });
    for name in references(&file.json) {
        if !defined.contains(&name) {
            findings.push(file.finding(RULE, "/$defs", format!("{name} is referred to but not defined here")));
        }
    }
}

/// SCHEMA-04: optional means absent; null only where it is a value, which so far is nowhere.
///
/// The older systems do have null as a value; there it is a definition of its own, so that no type is two.
fn absent_not_null(file: &File<'_>, findings: &mut Vec<Finding>) {
    each_schema(&file.json, "", &mut |schema, place| {
        if file.is_of_a_dialect() && ["/$defs/Null", "/$defs/NoArgument"].contains(&place) {
            return;
        }
        let kinds = schema.get("type");
        let is_null = |kind: &Value| kind == "null";
        let by_type =
            kinds.is_some_and(|kind| is_null(kind) || kind.as_array().is_some_and(|all| all.iter().any(is_null)));
        let by_value = schema.get("const").is_some_and(Value::is_null)
            || schema.get("enum").and_then(Value::as_array).is_some_and(|all| all.iter().any(Value::is_null))
            || schema.get("default").is_some_and(Value::is_null);
        if by_type || by_value {
            findings.push(file.finding("SCHEMA-04", place, "null is not a value here; leave the member out instead"));
        }
        if kinds.is_some_and(Value::is_array) {
            findings.push(file.finding("SCHEMA-04", place, "one type each; name the alternatives in a oneOf"));
        }
        let says_something = ["type", "const", "enum", "$ref", "oneOf", "anyOf", "allOf"];
        let is_free = schema.is_object() && says_something.iter().all(|keyword| schema.get(keyword).is_none());
        if is_free && !place.ends_with("/not") {
            findings.push(file.finding("SCHEMA-04", place, "says nothing of its type; generators guess differently"));
        }
    });
}

/// SCHEMA-05: what clients read may get more members, so it never forbids them.
fn open_for_readers(file: &File<'_>, findings: &mut Vec<Finding>) {
    if !file.is_for_readers() {
        return;
    }
    each_schema(&file.json, "", &mut |schema, place| {
        // A map of names to events is closed as a union is.
        let is_map_of_names = file.is_of_a_dialect() && place.is_empty();
        if !is_map_of_names && schema.get("additionalProperties").is_some_and(|it| it == false) {
            findings.push(file.finding(
                "SCHEMA-05",
                place,
                "forbids members of later versions; remove additionalProperties",
            ));
        }
    });
}

/// Units that the name of a measured number may end in.
const UNITS: &[&str] = &["_ms", "_seconds", "_bytes", "_percent", "percent", "_per_second"];
/// Words that make a number a measured one, so that its name must carry a unit.
const MEASURES: &[&str] = &[
    "age", "after", "delay", "duration", "interval", "latency", "length", "offset", "progress", "rate", "size",
    "timeout", "uptime",
];

/// SCHEMA-06: integers have bounds that every reader holds exactly; names of measured numbers carry their unit.
fn bounded_numbers(file: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-06";
    let limit = MAX_INTEGER as f64;
    each_schema(&file.json, "", &mut |schema, place| {
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "integer" {
            for bound in ["minimum", "maximum"] {
                let within = schema.get(bound).and_then(Value::as_f64).is_some_and(|it| it.abs() <= limit);
                if !within {
                    findings.push(file.finding(RULE, place, format!("an integer needs a {bound} within 2^53-1")));
                }
            }
        }
        if let Some((before, name)) = place.rsplit_once('/')
            && before.ends_with("/properties")
            && ["integer", "number"].contains(&kind)
        {
            let is_measured = !file.is_of_a_dialect() && name.split('_').any(|word| MEASURES.contains(&word));
            if is_measured && !UNITS.iter().any(|unit| name.ends_with(unit)) {
                findings.push(file.finding(
                    RULE,
                    place,
                    format!("`{name}` is measured in something; say it in the name"),
                ));
            }
        }
    });
}

/// SCHEMA-07: a closed root with every event, an open root around it, a file for each event, and an index of them all.
fn two_roots(files: &[File<'_>], findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-07";
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let mut missing = |path: &str| {
        findings.push(Finding {
            rule: RULE,
            file: path.to_owned(),
            place: String::new(),
            problem: "is missing".to_owned(),
        });
    };
    let (Some(index), Some(event), Some(incoming)) =
        (find("index.json"), find("event.schema.json"), find("incoming.schema.json"))
    else {
        for path in ["index.json", "event.schema.json", "incoming.schema.json"] {
            if find(path).is_none() {
                missing(path);
            }
        }
        return;
    };
    let texts = |key: &str| -> BTreeSet<&str> {
        let entries = index.json.get("events").and_then(Value::as_array);
        entries.into_iter().flatten().filter_map(|entry| entry.get(key)?.as_str()).collect()
    };
    for path in texts("schema") {
        if find(path).is_none() {
            missing(path);
        }
    }
    let members = |schema: Option<&Value>| -> BTreeSet<String> {
        let members = schema.and_then(|it| it.get("oneOf")?.as_array());
        members.into_iter().flatten().filter_map(|it| Some(referred(it)?.to_owned())).collect()
    };
    let expected: BTreeSet<String> = texts("title").into_iter().map(str::to_owned).collect();
    if members(Some(&event.json)) != expected || expected.is_empty() {
        findings.push(event.finding(RULE, "/oneOf", "must list every event of the index and nothing else"));
    }
    if members(incoming.json.pointer("/$defs/Event")) != expected {
        findings.push(incoming.finding(
            RULE,
            "/$defs/Event/oneOf",
            "must list every event of the index and nothing else",
        ));
    }
    if members(Some(&incoming.json)) != BTreeSet::from(["Event".to_owned(), "UnknownEvent".to_owned()]) {
        findings.push(incoming.finding(RULE, "/oneOf", "must be Event and UnknownEvent"));
    }
    let known = incoming.json.pointer("/$defs/UnknownEvent/properties/type/not/enum").and_then(Value::as_array);
    let known: BTreeSet<&str> = known.into_iter().flatten().filter_map(Value::as_str).collect();
    if known != texts("type") {
        findings.push(incoming.finding(RULE, "/$defs/UnknownEvent", "must exclude exactly the types that Event knows"));
    }
}

/// SCHEMA-08: nothing is edited by hand: the index names every file with its digest.
fn all_generated(files: &[File<'_>], tree: &Tree, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-08";
    let Some(index) = files.iter().find(|file| file.path == "index.json") else { return };
    let listed = index.json.get("files").and_then(Value::as_object);
    for file in files.iter().filter(|file| file.path != "index.json") {
        match listed.and_then(|listed| listed.get(file.path)?.get("sha256")?.as_str()) {
            Some(listed) if listed == digest(file.text) => {}
            Some(_) => findings.push(file.finding(RULE, "", "differs from its digest in the index; generate again")),
            None => findings.push(file.finding(RULE, "", "is not in the index; generate again")),
        }
    }
    for path in listed.into_iter().flatten().map(|(path, _)| path) {
        if !tree.contains_key(path) {
            findings.push(index.finding(RULE, format!("/files/{path}"), "there is no such file; generate again"));
        }
    }
}
