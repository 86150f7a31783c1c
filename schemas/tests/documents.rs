//! The two documents as they are committed: whole, with examples that fit, and a lint that sees what is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use eventwire_protocol::api::systems::Stage;
use eventwire_schemas::lint::lint;
use eventwire_schemas::{Tree, asyncapi, committed, openapi};
use serde_json::{Value, json};

fn published() -> Tree {
    committed(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap()
}

fn parse(tree: &Tree, path: &str) -> Value {
    serde_json::from_str(&tree[path]).unwrap()
}

/// The names of the schemas that a value refers to, directly or through others.
fn needed(document: &Value, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str);
            if let Some(name) = target.and_then(|target| target.strip_prefix("#/components/schemas/"))
                && found.insert(name.to_owned())
            {
                needed(document, &document["components"]["schemas"][name], found);
            }
            members.values().for_each(|inner| needed(document, inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| needed(document, inner, found)),
        _ => {}
    }
}

/// Why a value does not fit a schema of a document.
fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let mut names = BTreeSet::new();
    needed(document, schema, &mut names);
    let schemas: serde_json::Map<String, Value> =
        names.into_iter().map(|name| (name.clone(), document["components"]["schemas"][&name].clone())).collect();
    let mut whole = schema.clone();
    whole["components"] = json!({ "schemas": schemas });
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap();
    validator.iter_errors(value).next().map(|error| format!("{error} at {}", error.instance_path()))
}

#[test]
fn doc_01_every_event_and_command_is_one_message_whose_examples_fit() {
    let tree = published();
    let (document, index) = (parse(&tree, asyncapi::PATH), parse(&tree, "index.json"));
    assert_eq!(document["asyncapi"], "3.0.0");
    let of = |part: &str| {
        let entries = index[part].as_array().unwrap();
        entries.iter().map(|entry| entry["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected = [of("events"), of("commands"), vec!["application_command".to_owned()]].concat();
    let messages = document["components"]["messages"].as_object().unwrap();
    let names: Vec<&str> = messages.values().map(|message| message["name"].as_str().unwrap()).collect();
    assert_eq!(names, expected);
    for message in messages.values() {
        for example in message["examples"].as_array().unwrap() {
            assert_eq!(misfit(&document, &message["payload"], &example["payload"]), None, "{}", message["name"]);
        }
        // A frame of another type is none of this one's.
        let other = json!({ "type": "nothing", "data": {} });
        assert!(misfit(&document, &message["payload"], &other).is_some(), "{}", message["name"]);
    }
    let channels = document["channels"].as_object().unwrap();
    let over = |channel: &str| channels[channel]["messages"].as_object().unwrap().len();
    assert_eq!(over("socket"), of("events").len() + of("commands").len());
    assert_eq!(over("stream"), of("events").len());
}

/// Calls `visit` with every media type object of a document, and its place.
fn each_media(value: &Value, place: &str, visit: &mut dyn FnMut(&Value, &str)) {
    if let Some(contents) = value.get("content").and_then(Value::as_object) {
        contents.iter().for_each(|(kind, media)| visit(media, &format!("{place}/content/{kind}")));
    }
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, inner)| each_media(inner, &format!("{place}/{name}"), visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| each_media(inner, place, visit)),
        _ => {}
    }
}

#[test]
fn doc_02_every_example_of_the_document_fits_its_schema() {
    let document = parse(&published(), openapi::PATH);
    assert_eq!(document["openapi"], "3.1.0");
    let mut seen = 0;
    for part in ["paths", "webhooks", "components"] {
        let rest = if part == "components" {
            json!({ "responses": document[part]["responses"] })
        } else {
            document[part].clone()
        };
        each_media(&rest, "", &mut |media, place| {
            let several = media["examples"].as_object().cloned().unwrap_or_default();
            let examples = several.values().map(|it| it["value"].clone()).chain(media.get("example").cloned());
            for example in examples {
                assert_eq!(misfit(&document, &media["schema"], &example), None, "{place}: {example}");
                seen += 1;
            }
        });
    }
    assert!(seen > 150, "{seen}");
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert_eq!(misfit(&document, &parameter["schema"], &parameter["example"]), None, "{parameter}");
            }
        }
    }
}

#[test]
fn doc_02_every_column_of_the_board_is_in_the_document() {
    let document = parse(&published(), openapi::PATH);
    assert_eq!(document["components"]["schemas"]["Stage"]["enum"], json!(Stage::ALL));
}

/// The findings of the lint about a document with one thing broken.
fn findings(path: &str, breaks: impl FnOnce(&mut Value)) -> BTreeSet<&'static str> {
    let mut tree = published();
    let mut document = parse(&tree, path);
    breaks(&mut document);
    tree.insert(path.to_owned(), document.to_string());
    lint(&tree).into_iter().filter(|finding| finding.file == path).map(|finding| finding.rule).collect()
}

#[test]
fn doc_03_a_reference_out_of_a_document_is_found() {
    for (path, rule) in [(asyncapi::PATH, "SCHEMA-30"), (openapi::PATH, "SCHEMA-31")] {
        let elsewhere = |document: &mut Value| {
            document["components"]["schemas"]["Elsewhere"] = json!({ "$ref": "event.schema.json" });
        };
        assert!(findings(path, elsewhere).contains(rule), "{path}");
        assert!(!findings(path, |_| {}).contains(rule), "{path}");
    }
}

#[test]
fn schema_30_a_message_too_few_or_unused_is_found() {
    let found = |breaks: fn(&mut Value)| findings(asyncapi::PATH, breaks).contains("SCHEMA-30");
    assert!(found(|it| drop(it["components"]["messages"].as_object_mut().unwrap().shift_remove("PingCommand"))));
    assert!(found(|it| it["components"]["messages"]["PingCommand"]["name"] = json!("subscribe")));
    assert!(found(|it| drop(it["operations"].as_object_mut().unwrap().shift_remove("receivePingCommand"))));
    assert!(found(|it| it["components"]["messages"]["PingCommand"]["examples"] = json!([])));
    assert!(found(|it| it["components"]["messages"]["PingCommand"]["payload"] = json!({ "type": "object" })));
}

#[test]
fn schema_31_an_operation_that_leaves_something_out_is_found() {
    let found = |breaks: fn(&mut Value)| findings(openapi::PATH, breaks).contains("SCHEMA-31");
    assert!(found(|it| it["paths"]["/health"]["get"]["operationId"] = json!("getReadiness")));
    assert!(found(|it| it["paths"]["/health"]["get"]["summary"] = json!("")));
    assert!(found(|it| it["paths"]["/health"]["get"]["tags"] = json!([])));
    for left_out in ["security", "responses"] {
        let mut tree = published();
        let mut document = parse(&tree, openapi::PATH);
        document["paths"]["/health"]["get"].as_object_mut().unwrap().shift_remove(left_out);
        tree.insert(openapi::PATH.to_owned(), document.to_string());
        assert!(lint(&tree).iter().any(|finding| finding.rule == "SCHEMA-31"), "{left_out}");
    }
    assert!(found(|it| drop(
        it["paths"]["/v1/connections"]["get"]["responses"].as_object_mut().unwrap().shift_remove("401")
    )));
    assert!(found(|it| drop(
        it["paths"]["/v1/connections"]["get"]["responses"].as_object_mut().unwrap().shift_remove("503")
    )));
    assert!(found(|it| drop(it["paths"]["/health"]["get"]["responses"].as_object_mut().unwrap().shift_remove("200"))));
}
