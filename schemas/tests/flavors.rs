//! The flavors say what the published schemas say, and each keeps its own rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use common::{Dice, instance, parse, published, validator};
use eventwire_schemas::lint::lint;
use eventwire_schemas::{Tree, flavors};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The rules that a change of one file breaks, besides the digest that every change breaks.
fn broken_by(path: &str, change: impl FnOnce(&mut Value)) -> Vec<&'static str> {
    let mut tree = published();
    let mut document = parse(&tree, path);
    change(&mut document);
    tree.insert(path.to_owned(), document.to_string());
    let mut rules: Vec<_> = lint(&tree).into_iter().map(|it| it.rule).filter(|rule| *rule != "SCHEMA-08").collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[test]
fn schema_09_discriminators_are_watched() {
    let (path, union) = ("flavors/openapi/event.openapi.json", "/components/schemas/Event");
    let change = |change: fn(&mut Value)| broken_by(path, |it| change(it.pointer_mut(union).unwrap()));
    let both = ["SCHEMA-09", "SCHEMA-12"];
    assert_eq!(change(|it| drop(it.as_object_mut().unwrap().shift_remove("discriminator"))), both);
    assert_eq!(
        change(|it| it["discriminator"]["mapping"]["chat.html"] = json!("#/components/schemas/ChatUserEvent")),
        both
    );
    assert_eq!(
        change(|it| it["discriminator"]["mapping"]["later.thing"] = json!("#/components/schemas/ChatUserEvent")),
        both
    );
    assert_eq!(change(|it| it["discriminator"]["mapping"] = json!({})), both);
    assert_eq!(broken_by(path, |it| it["openapi"] = json!("3.0.3")), both);
    assert_eq!(
        broken_by(path, |it| drop(it["components"]["schemas"].as_object_mut().unwrap().shift_remove("Time"))),
        both
    );
}

#[test]
fn schema_10_references_in_bundled_files_are_watched() {
    let path = "flavors/bundled/events/chat.fragment.schema.json";
    let both = ["SCHEMA-10", "SCHEMA-12"];
    assert_eq!(broken_by(path, |it| it["properties"]["time"] = json!({ "$ref": "#/$defs/Time" })), both);
    assert_eq!(broken_by(path, |it| it["$defs"] = json!({})), both);
}

#[test]
fn schema_11_open_objects_in_strict_files_are_watched() {
    let path = "flavors/strict/event.schema.json";
    let both = ["SCHEMA-11", "SCHEMA-12"];
    let data = |it: &mut Value| it["$defs"]["ChatFragmentData"].take();
    assert_eq!(
        broken_by(path, |it| {
            let mut open = data(it);
            open.as_object_mut().unwrap().shift_remove("additionalProperties");
            it["$defs"]["ChatFragmentData"] = open;
        }),
        both
    );
    assert_eq!(broken_by(path, |it| it["$defs"]["ChatFragmentData"]["additionalProperties"] = json!(true)), both);
}

#[test]
fn schema_12_flavors_are_derived_and_complete() {
    let rules = |change: fn(&mut Tree)| {
        let mut tree = published();
        change(&mut tree);
        let mut rules: Vec<_> = lint(&tree).into_iter().map(|it| it.rule).collect();
        rules.dedup();
        rules
    };
    let both = ["SCHEMA-08", "SCHEMA-12"];
    assert_eq!(rules(|tree| drop(tree.remove("flavors/strict/event.schema.json"))), both);
    assert_eq!(
        rules(|tree| drop(tree.insert("flavors/loose/event.schema.json".to_owned(), "{}".to_owned()))).first(),
        Some(&"SCHEMA-08")
    );
    assert!(rules(|tree| drop(tree.insert("flavors/loose/x.json".to_owned(), "{}".to_owned()))).contains(&"SCHEMA-12"));
    // Other words, in keeping with every other rule.
    assert_eq!(
        broken_by("flavors/strict/event.schema.json", |it| it["$defs"]["Time"]["description"] = json!("When.")),
        ["SCHEMA-12"]
    );
    // What is published changed and the flavors did not.
    let stale = broken_by("event.schema.json", |it| it["$defs"]["Time"]["description"] = json!("When."));
    assert_eq!(stale, ["SCHEMA-12"]);
}

#[test]
fn every_flavor_holds_the_roots_and_bundled_holds_each_event() {
    let tree = published();
    for name in flavors::names() {
        for root in ["event", "command", "publish", "publication"] {
            let suffix = if name == "openapi" { "openapi" } else { "schema" };
            assert!(tree.contains_key(&format!("flavors/{name}/{root}.{suffix}.json")), "{name} {root}");
        }
    }
    let count = |prefix: &str| tree.keys().filter(|path| path.starts_with(prefix)).count();
    assert_eq!(count("flavors/bundled/events/"), count("events/"));
    assert!(!tree.contains_key("flavors/strict/incoming.schema.json"), "who reads must not be strict");
}

#[test]
fn what_contains_itself_is_refused_by_name() {
    let node = json!({ "title": "X", "$defs": { "Node": { "type": "array", "items": { "$ref": "#/$defs/Node" } } } });
    let error = flavors::derive(&Tree::from([("x.schema.json".to_owned(), node.to_string())])).unwrap_err();
    assert!(error.to_string().contains("Node contains itself"), "{error}");
}

#[test]
fn every_example_fits_bundled_and_strict_and_a_misspelled_member_does_not_fit_strict() {
    let tree = published();
    let strict = validator(&parse(&tree, "flavors/strict/event.schema.json"));
    for entry in parse(&tree, "index.json")["events"].as_array().unwrap() {
        let bundled = validator(&parse(&tree, &format!("flavors/bundled/{}", entry["schema"].as_str().unwrap())));
        for path in entry["examples"].as_array().unwrap() {
            let example = parse(&tree, path.as_str().unwrap());
            assert!(bundled.is_valid(&example) && strict.is_valid(&example), "{path}");
            for place in ["", "/data"] {
                let mut more = example.clone();
                more.pointer_mut(place).unwrap()["mispelled"] = json!(1);
                assert!(!strict.is_valid(&more), "{path}: strict takes another member at {place}");
                assert!(bundled.is_valid(&more), "{path}: bundled is as open as what it is made of");
            }
        }
    }
}

/// An OpenAPI document as a schema that an ordinary validator reads: components are definitions, discriminators hints.
fn as_schema(openapi: &Value, root: &str) -> Value {
    let text = openapi["components"]["schemas"].to_string().replace("#/components/schemas/", "#/$defs/");
    let mut definitions: Value = serde_json::from_str(&text).unwrap();
    for definition in definitions.as_object_mut().unwrap().values_mut() {
        definition.as_object_mut().unwrap().shift_remove("discriminator");
    }
    json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": format!("#/$defs/{root}"), "$defs": definitions })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flavors_agree_with_what_they_are_made_of(seed in any::<u64>()) {
        let tree = published();
        let dice = &mut Dice::new(seed);
        for (root, name) in [("event", "Event"), ("command", "Command"), ("publish", "PublishRequest")] {
            let document = parse(&tree, &format!("{root}.schema.json"));
            let original = validator(&document);
            let bundled = validator(&parse(&tree, &format!("flavors/bundled/{root}.schema.json")));
            let strict = validator(&parse(&tree, &format!("flavors/strict/{root}.schema.json")));
            let openapi = validator(&as_schema(&parse(&tree, &format!("flavors/openapi/{root}.openapi.json")), name));
            for _ in 0..20 {
                let value = instance(&document, &document, dice);
                prop_assert!(original.is_valid(&value), "{root}: {value}");
                prop_assert!(strict.is_valid(&value), "{root} strict: {value}");
                prop_assert!(bundled.is_valid(&value) && openapi.is_valid(&value), "{root}: {value}");
                let mut wrong = value.clone();
                let Some(members) = wrong.as_object_mut().filter(|it| it.contains_key("data")) else { continue };
                members.insert("data".to_owned(), json!({ "no_such_member": [] }));
                let is_valid = original.is_valid(&wrong);
                prop_assert_eq!(bundled.is_valid(&wrong), is_valid, "{} bundled: {}", root, &wrong);
                prop_assert_eq!(openapi.is_valid(&wrong), is_valid, "{} openapi: {}", root, &wrong);
            }
        }
    }
}
