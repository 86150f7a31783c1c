//! SCHEMA-20 and SCHEMA-21: the frames of the older systems can be told apart, and all of them are there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{File, Finding, definitions};
use crate::profile::referred;

/// SCHEMA-20: a root is a union of named objects, each with a constant of its own that tells it from the others, first and
/// required; or a closed map of the names of events.
pub(super) fn tagged(file: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-20";
    let mut wrong = |place: &str, problem: &str| findings.push(file.finding(RULE, place, problem));
    if let Some(names) = file.json.get("properties").and_then(Value::as_object) {
        if names.is_empty() || names.values().any(|it| referred(it).is_none()) {
            wrong("/properties", "each name is a reference to its argument");
        }
        if file.json.get("additionalProperties").is_none_or(|it| it != false) {
            wrong("/additionalProperties", "a map of names is closed");
        }
        return;
    }
    let members: Vec<&str> =
        file.json.get("oneOf").and_then(Value::as_array).into_iter().flatten().filter_map(referred).collect();
    if members.is_empty() {
        wrong("/oneOf", "a root is a union of references");
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for name in members {
        let place = format!("/$defs/{name}");
        let Some(frame) = file.json.pointer(&place) else { continue };
        let Some((tag, value)) = tag(frame) else {
            wrong(&place, "the first member must tell what it is, by a constant or a list of words");
            continue;
        };
        let required = frame.get("required").and_then(Value::as_array);
        if !required.is_some_and(|names| names.iter().any(|it| it == tag)) {
            wrong(&place, "the member that tells what it is must be required");
        }
        if !seen.insert(format!("{tag} {value}")) {
            wrong(&place, "two frames are told by the same; make one of them");
        }
    }
}

/// The member that tells what a frame is, and what stands there. A request of JSON-RPC is told by its method, its answer
/// by what it has.
fn tag(frame: &Value) -> Option<(&str, String)> {
    let members = frame.get("properties")?.as_object()?;
    let mut names = members.keys().map(String::as_str);
    let first = names.next()?;
    let name = match first {
        "jsonrpc" => ["method", "result", "error"].into_iter().find(|name| members.contains_key(*name))?,
        first => first,
    };
    let schema = members.get(name)?;
    let told = ["const", "enum", "not"].iter().find_map(|keyword| schema.get(*keyword));
    match told {
        Some(told) => Some((name, told.to_string())),
        None if first == "jsonrpc" => Some((name, String::new())),
        None => None,
    }
}

/// SCHEMA-21: every dialect of the index has its files, with exactly the frames that the index names, and one name means
/// one thing in both directions.
pub(super) fn complete(files: &[File<'_>], findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-21";
    let Some(index) = files.iter().find(|file| file.path == "index.json") else { return };
    let dialects = index.json.get("dialects").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if dialects.is_empty() {
        findings.push(index.finding(RULE, "/dialects", "the dialects are missing"));
    }
    for dialect in dialects {
        let text = |key: &str| dialect.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut meanings: BTreeMap<&String, &Value> = BTreeMap::new();
        for (direction, list) in [("server", "frames"), ("client", "commands")] {
            let path = text(direction);
            let Some(file) = files.iter().find(|file| file.path == path) else {
                findings.push(index.finding(
                    RULE,
                    format!("/dialects/{}", text("name")),
                    format!("{direction}: {path:?} is missing"),
                ));
                continue;
            };
            let titles = dialect.get(list).and_then(Value::as_array).into_iter().flatten();
            let titles: BTreeSet<&str> = titles.filter_map(|it| it.get("title")?.as_str()).collect();
            let union = file.json.get("oneOf").and_then(Value::as_array).into_iter().flatten();
            let map = file.json.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(_, it)| it);
            let found: BTreeSet<&str> = union.chain(map).filter_map(referred).collect();
            if found != titles {
                findings.push(file.finding(RULE, "", "must have exactly the frames that the index names"));
            }
            for (name, definition) in definitions(&file.json) {
                if meanings.insert(name, definition).is_some_and(|before| before != definition) {
                    findings.push(file.finding(
                        RULE,
                        format!("/$defs/{name}"),
                        "means something else in the other direction; rename it",
                    ));
                }
            }
        }
        let spelling = text("spelling");
        if !files.iter().any(|file| file.path == spelling) {
            findings.push(index.finding(
                RULE,
                format!("/dialects/{}", text("name")),
                format!("spelling: {spelling:?} is missing"),
            ));
        }
    }
}
