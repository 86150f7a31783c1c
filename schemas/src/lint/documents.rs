//! SCHEMA-30 and SCHEMA-31: the two documents hold what they refer to, every event and command, and every operation in full.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{File, Finding};
use crate::{asyncapi, openapi};

/// Looks at both.
pub(super) fn documents(files: &[File<'_>], findings: &mut Vec<Finding>) {
    let find = |path: &str| files.iter().find(|file| file.path == path);
    for (rule, path) in [("SCHEMA-30", asyncapi::PATH), ("SCHEMA-31", openapi::PATH)] {
        let Some(file) = find(path) else {
            findings.push(Finding {
                rule,
                file: path.to_owned(),
                place: String::new(),
                problem: "is missing; generate again".to_owned(),
            });
            continue;
        };
        self_contained(rule, file, findings);
    }
    if let (Some(file), Some(index)) = (find(asyncapi::PATH), find("index.json")) {
        every_message(file, index, findings);
    }
    if let Some(file) = find(openapi::PATH) {
        every_operation(file, findings);
    }
}

/// Calls `visit` with the target and the place of every reference.
fn each_reference<'a>(value: &'a Value, place: &str, visit: &mut dyn FnMut(&'a str, &str)) {
    match value {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                visit(target, place);
            }
            for (name, inner) in members {
                each_reference(inner, &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), visit);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                each_reference(inner, &format!("{place}/{at}"), visit);
            }
        }
        _ => {}
    }
}

/// A document that needs another file cannot be handed to a tool, or be served at any address.
fn self_contained(rule: &'static str, file: &File<'_>, findings: &mut Vec<Finding>) {
    each_reference(&file.json, "", &mut |target, place| {
        let found = target.strip_prefix('#').and_then(|pointer| file.json.pointer(pointer));
        if found.is_none() {
            findings.push(file.finding(rule, place, format!("{target} is nowhere in this document")));
        }
    });
}

/// SCHEMA-30: every event and command of the index is one message, which some operation sends or receives.
fn every_message(file: &File<'_>, index: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-30";
    let named = |part: &str| {
        let entries = index.json.get(part).and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(|entry| entry.get("type")?.as_str()).collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<&str> = named("events").union(&named("commands")).copied().collect();
    let messages = file.json.pointer("/components/messages").and_then(Value::as_object);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (title, message) in messages.into_iter().flatten() {
        let place = format!("/components/messages/{title}");
        match message.get("name").and_then(Value::as_str) {
            Some(name) => *seen.entry(name).or_default() += 1,
            None => findings.push(file.finding(RULE, &place, "a message needs the `type` of its frames as name")),
        }
        if message.pointer("/payload/$ref").is_none() {
            findings.push(file.finding(RULE, &place, "the payload must be a reference"));
        }
        if message.pointer("/examples/0/payload").is_none() {
            findings.push(file.finding(RULE, &place, "a message needs an example"));
        }
    }
    for name in &expected {
        if seen.get(name) != Some(&1) {
            findings.push(file.finding(RULE, "/components/messages", format!("{name} must be one message")));
        }
    }
    let mut used = BTreeSet::new();
    for operation in file.json.get("operations").and_then(Value::as_object).into_iter().flatten() {
        each_reference(operation.1, "", &mut |target, _| {
            used.insert(target.rsplit('/').next().unwrap_or_default().to_owned());
        });
    }
    for title in messages.into_iter().flatten().map(|(title, _)| title) {
        if !used.contains(title) {
            findings.push(file.finding(RULE, "/operations", format!("nothing sends or receives {title}")));
        }
    }
}

/// Every request may be answered so, before anything looks at what it asks for.
const ALWAYS: &[&str] = &["400", "403", "408", "431", "500", "503"];

/// SCHEMA-31: every operation says what it does, who may, what is asked and answered, with an example, and how it fails.
fn every_operation(file: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-31";
    let mut ids = BTreeSet::new();
    let paths = file.json.get("paths").and_then(Value::as_object);
    let operations = paths.into_iter().flatten().flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| {
            (format!("/paths/{}/{method}", path.replace('~', "~0").replace('/', "~1")), method, operation)
        })
    });
    for (place, method, operation) in operations {
        let mut wrong = |problem: &str| findings.push(file.finding(RULE, &place, problem));
        let text = |key: &str| operation.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("operationId").is_empty() || !ids.insert(text("operationId").to_owned()) {
            wrong("needs an operationId of its own");
        }
        if !text("summary").ends_with('.') {
            wrong("needs a summary, which is a sentence");
        }
        if operation.pointer("/tags/0").is_none() {
            wrong("needs a tag");
        }
        let security = operation.get("security").and_then(Value::as_array);
        if security.is_none() {
            wrong("must say who may call it; `security: []` is everybody");
        }
        let responses = operation.get("responses").and_then(Value::as_object);
        let has = |status: &str| responses.is_some_and(|responses| responses.contains_key(status));
        if responses.into_iter().flatten().all(|(status, _)| !status.starts_with(['2', '3']) && status != "101") {
            wrong("has no good end");
        }
        if ALWAYS.iter().any(|status| !has(status)) {
            wrong("must list what any request may be answered with");
        }
        if security.is_some_and(|all| all.iter().any(|one| one.as_object().is_some_and(|it| !it.is_empty())))
            && !has("401")
        {
            wrong("needs credentials, and does not say what happens without");
        }
        let contents = responses.into_iter().flatten().filter(|_| method != "head").filter_map(|(_, answer)| {
            let target = answer.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            target.map_or(Some(answer), |pointer| file.json.pointer(pointer))?.get("content")
        });
        for media in contents.chain(operation.pointer("/requestBody/content")).filter_map(Value::as_object).flatten() {
            let is_json = media.0 == "application/json";
            let schema = media.1.get("schema");
            let is_named = schema.is_some_and(|it| it.get("$ref").is_some() || it.get("oneOf").is_some());
            if is_json && !is_named && method != "post" {
                wrong("a body of JSON must be of a named type");
            }
            if is_json && media.1.get("example").is_none() && media.1.get("examples").is_none() {
                wrong("a body of JSON needs an example");
            }
        }
    }
}
