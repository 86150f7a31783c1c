//! What is committed under schemas/v1 is what the catalog generates, keeps the profile, and describes what the
//! decoder accepts. The validator is an independent one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers, too")]

mod common;

use common::{parse, published, workspace};
use eventwire_protocol::address::AudienceKind;
use eventwire_protocol::catalog::EventType;
use eventwire_protocol::command::Request;
use eventwire_protocol::envelope::Envelope;
use eventwire_protocol::frame::{EventFrame, Incoming, Publication};
use eventwire_protocol::time::Time;
use eventwire_schemas::lint::{Finding, lint};
use eventwire_schemas::{CHANGELOG, DriftKind, Tree, VERSION, committed, drift, generate, write};
use jsonschema::Validator;
use serde_json::{Value, json};

fn validator(tree: &Tree, path: &str) -> Validator {
    common::validator(&parse(tree, path))
}

/// Each event type with its schema's path and its examples.
fn events(tree: &Tree) -> Vec<(String, String, Vec<Value>)> {
    let index = parse(tree, "index.json");
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let entries = index["events"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            let examples = entry["examples"].as_array().unwrap();
            let examples = examples.iter().map(|path| parse(tree, path.as_str().unwrap())).collect();
            (text(entry, "type"), text(entry, "schema"), examples)
        })
        .collect()
}

// ---------------------------------------------------------------------------------------------------------------
// Drift
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn what_is_committed_is_what_the_catalog_generates() {
    let differences = drift(&generate().unwrap(), &workspace()).unwrap();
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "run `cargo xtask schemas` and review the change:\n{}", lines.join("\n"));
}

#[test]
fn a_changed_missing_or_surplus_file_is_drift_until_it_is_generated_again() {
    let directory = tempfile::tempdir().unwrap();
    let (root, published) = (directory.path(), generate().unwrap());
    let all = published.schemas.len() + published.reference.len();
    assert_eq!(drift(&published, root).unwrap().len(), all, "nothing is there yet");
    assert_eq!(write(&published, root).unwrap().written.len(), all);
    assert_eq!(drift(&published, root).unwrap(), []);

    let schemas = root.join("schemas/v1");
    let text = std::fs::read_to_string(schemas.join("index.json")).unwrap();
    std::fs::write(schemas.join("index.json"), text.replacen("\"protocol\": \"v1\"", "\"protocol\": \"v2\"", 1))
        .unwrap();
    std::fs::remove_file(schemas.join("event.schema.json")).unwrap();
    std::fs::write(schemas.join("events/adw.gone.schema.json"), "{}").unwrap();
    std::fs::write(schemas.join(CHANGELOG), "by hand").unwrap();
    let found: Vec<(String, DriftKind)> =
        drift(&published, root).unwrap().into_iter().map(|it| (it.path, it.kind)).collect();
    assert_eq!(
        found,
        [
            ("schemas/v1/event.schema.json".to_owned(), DriftKind::Missing),
            ("schemas/v1/index.json".to_owned(), DriftKind::Differs { line: 2 }),
            ("schemas/v1/events/adw.gone.schema.json".to_owned(), DriftKind::Stale),
        ]
    );
    let changes = write(&published, root).unwrap();
    assert_eq!((changes.written.len(), changes.removed.len()), (2, 1));
    assert_eq!(drift(&published, root).unwrap(), []);
    assert_eq!(std::fs::read_to_string(schemas.join(CHANGELOG)).unwrap(), "by hand");
}

#[test]
fn the_changelog_tells_of_the_version_that_is_published() {
    let changelog = committed(&workspace()).unwrap().remove(CHANGELOG).unwrap();
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## ")).unwrap();
    assert!(newest.starts_with(VERSION), "the newest entry is {newest}, the schemas are {VERSION}");
    assert_eq!(parse(&published(), "index.json")["version"], VERSION);
}

// ---------------------------------------------------------------------------------------------------------------
// Examples, validator and decoder
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn every_event_of_the_catalog_is_published_with_an_example() {
    let tree = published();
    let names: Vec<String> = events(&tree)
        .into_iter()
        .map(|(name, _, examples)| {
            assert!(!examples.is_empty(), "{name}");
            name
        })
        .collect();
    let expected: Vec<&str> = EventType::ALL.iter().map(|event_type| event_type.spec().name).collect();
    assert_eq!(names, expected);
}

#[test]
fn every_example_fits_its_schema_and_both_roots_and_is_read_by_the_decoder() {
    let tree = published();
    let roots = [validator(&tree, "event.schema.json"), validator(&tree, "incoming.schema.json")];
    for (name, path, examples) in events(&tree) {
        let own = validator(&tree, &path);
        for example in examples {
            for schema in roots.iter().chain([&own]) {
                assert!(schema.is_valid(&example), "{name}: {:?}", schema.iter_errors(&example).next());
            }
            let text = example.to_string();
            let frame = EventFrame::decode(&text).unwrap();
            assert!(matches!(&frame.data, Incoming::Known(event) if event.event_type().spec().name == name));
            // Nothing of the example is lost, so it holds no member that the payload does not know.
            let written: Value = serde_json::from_slice(&frame.encode().unwrap()).unwrap();
            assert_eq!(written, example, "{name}");
        }
    }
}

#[test]
fn an_example_that_lacks_a_required_member_is_refused() {
    let tree = published();
    let root = validator(&tree, "event.schema.json");
    let mut refused = 0;
    for (name, path, examples) in events(&tree) {
        let schema = parse(&tree, &path);
        let own = validator(&tree, &path);
        let data = schema["properties"]["data"]["$ref"].as_str().unwrap().trim_start_matches("#/$defs/");
        let required = |schema: &Value| -> Vec<String> {
            let names = schema["required"].as_array().cloned().unwrap_or_default();
            names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let mut mutants = Vec::new();
        for member in required(&schema) {
            let mut mutant = examples[0].clone();
            mutant.as_object_mut().unwrap().remove(&member);
            mutants.push((member, mutant));
        }
        for member in required(&schema["$defs"][data]) {
            let mut mutant = examples[0].clone();
            mutant["data"].as_object_mut().unwrap().remove(&member);
            // Where the schema says required, the decoder either insists, too, or always writes the member.
            if let Ok(EventFrame { data: Incoming::Known(event), .. }) = EventFrame::decode(&mutant.to_string()) {
                let written: Value = serde_json::from_str(event.payload().unwrap().get()).unwrap();
                assert!(written.get(&member).is_some(), "{name}: {member} is required but not written");
            }
            mutants.push((format!("data.{member}"), mutant));
        }
        for (member, mutant) in mutants {
            assert!(!own.is_valid(&mutant), "{name} is accepted without {member}");
            assert!(!root.is_valid(&mutant), "{name} is accepted without {member} by the closed root");
            refused += 1;
        }
    }
    assert!(refused > 5 * EventType::ALL.len());
}

#[test]
fn an_example_with_another_type_audience_or_kind_of_value_is_refused() {
    let tree = published();
    let root = validator(&tree, "event.schema.json");
    for (name, path, examples) in events(&tree) {
        let own = validator(&tree, &path);
        let allowed = EventType::from_name(&name).unwrap().spec().audiences;
        let elsewhere = [
            (AudienceKind::Connection, "connection:c00000000000000ff"),
            (AudienceKind::Session, "session:planning"),
            (AudienceKind::User, "user:maria"),
            (AudienceKind::Adw, "adw:29fb6a3e"),
            (AudienceKind::Room, "room:tasks"),
            (AudienceKind::Global, "global"),
        ];
        let elsewhere = elsewhere.iter().filter(|(kind, _)| !allowed.contains(kind)).map(|(_, to)| ("to", json!(to)));
        let wrong = [
            ("type", json!("adw.nope")),
            ("to", json!("nobody:tasks")),
            ("to", json!("adw:29fb6a3e/RAW")),
            ("time", json!("yesterday")),
            ("data", json!([])),
            ("data", Value::Null),
        ];
        for (member, value) in wrong.into_iter().chain(elsewhere) {
            let mut mutant = examples[0].clone();
            mutant[member] = value.clone();
            assert!(!own.is_valid(&mutant), "{name} is accepted with {member} {value}");
            assert!(!root.is_valid(&mutant), "{name} is accepted with {member} {value} by the closed root");
        }
    }
}

#[test]
fn a_message_comes_from_the_part_of_a_session_that_may_see_it_and_is_published_to_the_whole() {
    let tree = published();
    let (event, publish) = (validator(&tree, "event.schema.json"), validator(&tree, "publish.schema.json"));
    let (_, _, examples) = events(&tree).into_iter().find(|(name, ..)| name == "context.new_message").unwrap();
    for (part, is_one) in [("private/maria", true), ("agent_only/maria", true), ("public/maria", false), ("raw", false)]
    {
        let mut frame = examples[0].clone();
        frame["to"] = json!(format!("session:planning/{part}"));
        assert_eq!(event.is_valid(&frame), is_one, "{part}");
        let publication = json!({ "type": frame["type"], "to": frame["to"], "data": frame["data"] });
        assert!(!publish.is_valid(&publication), "{part}");
        // An event whose payload says nothing of that has no such parts.
        frame["type"] = json!("context.typing");
        frame["data"] = json!({ "agent_id": "maria", "is_typing": true });
        assert!(!event.is_valid(&frame), "{part}");
    }
}

#[test]
fn schema_04_no_example_is_accepted_with_a_null_in_it() {
    let tree = published();
    for (name, path, examples) in events(&tree) {
        let own = validator(&tree, &path);
        for member in examples[0]["data"].as_object().unwrap().keys() {
            let mut mutant = examples[0].clone();
            mutant["data"][member] = Value::Null;
            assert!(!own.is_valid(&mutant), "{name} is accepted with {member} null");
        }
    }
}

#[test]
fn schema_07_the_open_root_accepts_what_the_closed_one_does_not_know() {
    let tree = published();
    let (closed, open) = (validator(&tree, "event.schema.json"), validator(&tree, "incoming.schema.json"));
    let newer = json!({
        "type": "later.thing", "time": "2026-11-20T23:40:01Z", "to": "planet:mars", "seq": 5, "prev": 4,
        "data": { "anything": [null] },
    });
    assert!(open.is_valid(&newer) && !closed.is_valid(&newer));
    // A known type with a wrong body is an error in the open root, too: it does not pass as an unknown event.
    let wrong = json!({ "type": "adw.text_block", "time": "2026-11-20T23:40:01Z", "to": "adw:29fb6a3e", "data": {} });
    assert!(!open.is_valid(&wrong) && !closed.is_valid(&wrong));
}

#[test]
fn schema_05_a_member_of_a_later_version_is_accepted() {
    let tree = published();
    let root = validator(&tree, "event.schema.json");
    for (name, _, examples) in events(&tree) {
        let mut mutant = examples[0].clone();
        mutant["later"] = json!(1);
        mutant["data"]["later"] = json!({ "x": 1 });
        assert!(root.is_valid(&mutant), "{name}");
    }
}

/// The examples of the definitions in a root whose members are written by others.
fn written_by_others(tree: &Tree, path: &str) -> Vec<Value> {
    let document = parse(tree, path);
    let definitions = document["$defs"].as_object().unwrap().values();
    definitions.filter(|it| it["properties"]["type"].is_object()).map(|it| it["examples"][0].clone()).collect()
}

#[test]
fn commands_in_the_schema_are_the_commands_that_are_read() {
    let tree = published();
    let root = validator(&tree, "command.schema.json");
    let examples = written_by_others(&tree, "command.schema.json");
    for example in &examples {
        assert!(root.is_valid(example), "{example}");
        let request = Request::decode(example.to_string().as_bytes()).unwrap();
        assert_eq!(request.command.name(), example["type"]);
    }
    for refused in [
        json!({ "type": "subscribe" }),
        json!({ "type": "subscribe", "data": { "streams": [] } }),
        json!({ "type": "subscribe", "data": { "streams": [{ "to": "global" }], "more": 1 } }),
        json!({ "type": "subscribe", "data": { "streams": [{ "to": "global", "since": -1 }] } }),
        json!({ "type": "ping", "id": "x".repeat(129) }),
        json!({ "type": "ping", "data": {}, "more": 1 }),
        json!({ "type": "authenticate", "data": {} }),
        json!({ "type": "nope" }),
    ] {
        assert!(!root.is_valid(&refused), "the schema accepts {refused}");
        assert!(Request::decode(refused.to_string().as_bytes()).is_err(), "the decoder accepts {refused}");
    }
    // The refusal of an unknown command lists all there are.
    let listed = Request::decode(br#"{"type":"nope"}"#).unwrap_err().error.message.into_owned();
    let listed: Vec<&str> = listed.rsplit_once("there are ").unwrap().1.split(", ").collect();
    assert_eq!(listed.len(), examples.len());
    assert!(examples.iter().all(|example| listed.contains(&example["type"].as_str().unwrap())), "{listed:?}");
}

#[test]
fn what_the_schema_lets_be_published_is_admitted() {
    let tree = published();
    let root = validator(&tree, "publish.schema.json");
    let examples = written_by_others(&tree, "publish.schema.json");
    let expected = EventType::ALL.iter().filter(|it| it.spec().family != "connection").count() + 1;
    assert_eq!(examples.len(), expected);
    for example in &examples {
        assert!(root.is_valid(example), "{example}");
        let publication = Publication::decode(&example.to_string()).unwrap();
        Envelope::admit(publication, Time::from_unix_micros(0)).unwrap();
    }
    assert!(root.is_valid(&Value::Array(examples)));
    for refused in [
        json!({ "type": "adw.text_block", "data": { "adw_id": "29fb6a3e", "content": "" } }),
        json!({ "type": "adw.text_block", "to": "global", "data": { "adw_id": "29fb6a3e", "content": "" } }),
        json!({ "type": "adw.text_block", "to": "adw:29fb6a3e", "data": { "adw_id": "29fb6a3e" } }),
        json!({ "type": "adw.text_block", "to": "adw:29fb6a3e/raw", "data": { "adw_id": "29fb6a3e", "content": "" } }),
        json!({ "type": "adw.text_block", "to": "adw:29fb6a3e", "data": { "adw_id": "29fb6a3e", "content": "" }, "seq": 1 }),
        json!({ "type": "later.thing", "to": "global", "data": {} }),
        json!({ "type": "_acme.x", "to": "adw:29fb6a3e/raw", "data": {} }),
    ] {
        assert!(!root.is_valid(&refused), "the schema accepts {refused}");
        let admitted = Publication::decode(&refused.to_string())
            .and_then(|publication| Envelope::admit(publication, Time::from_unix_micros(0)));
        assert!(admitted.is_err(), "admission accepts {refused}");
    }
    // A member with a default may be left out by a publisher, and is always there for a reader.
    let short = json!({
        "type": "adw.file_changed", "to": "adw:29fb6a3e",
        "data": { "adw_id": "29fb6a3e", "file_path": "a", "operation": "read" },
    });
    assert!(root.is_valid(&short));
    let publication = Publication::decode(&short.to_string()).unwrap();
    let envelope = Envelope::admit(publication, Time::from_unix_micros(0)).unwrap();
    assert!(envelope.data().contains("\"lines_added\":0"));
}

// ---------------------------------------------------------------------------------------------------------------
// The profile
// ---------------------------------------------------------------------------------------------------------------

fn rules(findings: &[Finding]) -> Vec<&'static str> {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// The rules that a change of one file breaks, besides the digest and the derived files that every change leaves behind.
fn broken_by(path: &str, change: impl FnOnce(&mut Value)) -> Vec<&'static str> {
    let mut tree = published();
    let mut document = parse(&tree, path);
    change(&mut document);
    tree.insert(path.to_owned(), serde_json::to_string_pretty(&document).unwrap());
    let mut broken = rules(&lint(&tree));
    broken.retain(|rule| !["SCHEMA-08", "SCHEMA-12"].contains(rule));
    broken
}

const ONE: &str = "events/adw.text_block.schema.json";

fn payload(document: &mut Value) -> &mut Value {
    &mut document["$defs"]["AdwTextBlockData"]
}

#[test]
fn the_published_schemas_keep_the_profile() {
    let findings = lint(&published());
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn schema_01_standard_keywords_titles_and_order_are_watched() {
    let change = |change: fn(&mut Value)| broken_by(ONE, change);
    assert_eq!(change(|it| it["$schema"] = json!("http://json-schema.org/draft-07/schema#")), ["SCHEMA-01"]);
    assert_eq!(change(|it| it["$id"] = json!("urn:eventwire:events:adw.text_block")), ["SCHEMA-01"]);
    assert_eq!(change(|it| it["discriminator"] = json!({ "propertyName": "type" })), ["SCHEMA-01"]);
    assert_eq!(change(|it| payload(it)["title"] = json!("TextBlock")), ["SCHEMA-01"]);
    assert_eq!(change(|it| payload(it)["description"] = json!("")), ["SCHEMA-01"]);
    assert_eq!(change(|it| payload(it)["properties"]["sequence"]["format"] = json!("uint64")), ["SCHEMA-01"]);
    assert_eq!(
        change(|it| it["$defs"]["Aardvark"] = json!({ "title": "Aardvark", "description": "Late.", "type": "string" })),
        ["SCHEMA-01"]
    );
    assert_eq!(
        change(|it| it["$defs"]["Time2"] = json!({ "title": "Time2", "description": "Twice.", "type": "string" })),
        ["SCHEMA-01"]
    );
}

#[test]
fn schema_02_the_shape_of_an_event_is_watched() {
    let change = |change: fn(&mut Value)| broken_by(ONE, change);
    assert_eq!(change(|it| it["properties"]["type"] = json!({ "type": "string" })), ["SCHEMA-02"]);
    assert_eq!(change(|it| it["required"] = json!(["time", "type", "to", "seq", "prev", "data"])), ["SCHEMA-02"]);
    assert_eq!(change(|it| it["required"] = json!(["type", "time", "to", "seq", "data"])), ["SCHEMA-02"]);
    assert_eq!(change(|it| it["properties"]["data"] = json!({ "type": "object" })), ["SCHEMA-02"]);
    assert_eq!(change(|it| it["examples"] = json!([])), ["SCHEMA-02"]);
    assert_eq!(change(|it| it["examples"][0]["data"] = Value::Null), [""; 0], "examples are validated elsewhere");
    assert_eq!(
        change(|it| {
            it["examples"][0].as_object_mut().unwrap().remove("data");
        }),
        ["SCHEMA-02"]
    );
    assert_eq!(change(|it| it["properties"]["extra"] = json!({ "type": "string" })), ["SCHEMA-02"]);
}

#[test]
fn schema_03_unions_and_references_are_watched() {
    let change = |change: fn(&mut Value)| broken_by(ONE, change);
    let at = |it: &mut Value, schema: Value| payload(it)["properties"]["content"] = schema;
    assert_eq!(broken_by(ONE, |it| at(it, json!({ "allOf": [{ "$ref": "#/$defs/Time" }] }))), ["SCHEMA-03"]);
    assert_eq!(broken_by(ONE, |it| at(it, json!({ "oneOf": [{ "type": "string" }] }))), ["SCHEMA-03"]);
    assert_eq!(broken_by(ONE, |it| at(it, json!({ "$ref": "#/$defs/Time", "description": "Beside." }))), ["SCHEMA-03"]);
    assert_eq!(change(|it| payload(it)["properties"]["content"] = json!({ "$ref": "#/$defs/Nobody" })), ["SCHEMA-03"]);
}

#[test]
fn schema_04_null_and_untyped_members_are_watched() {
    let at = |schema: Value| broken_by(ONE, |it| payload(it)["properties"]["content"] = schema);
    assert_eq!(at(json!({ "type": ["string", "null"] })), ["SCHEMA-04"]);
    assert_eq!(at(json!({ "const": null })), ["SCHEMA-04"]);
    assert_eq!(at(json!({ "enum": ["a", null] })), ["SCHEMA-04"]);
    assert_eq!(at(json!({ "description": "Anything." })), ["SCHEMA-04"]);
}

#[test]
fn schema_05_closing_what_clients_read_is_watched() {
    assert_eq!(broken_by(ONE, |it| payload(it)["additionalProperties"] = json!(false)), ["SCHEMA-05"]);
    assert_eq!(
        broken_by("event.schema.json", |it| it["$defs"]["AdwTextBlockEvent"]["additionalProperties"] = json!(false)),
        ["SCHEMA-05"]
    );
}

#[test]
fn schema_06_bounds_and_units_are_watched() {
    let named = |name: &'static str, schema: Value| broken_by(ONE, |it| payload(it)["properties"][name] = schema);
    assert_eq!(named("line", json!({ "type": "integer", "minimum": 0 })), ["SCHEMA-06"]);
    assert_eq!(
        named("line", json!({ "type": "integer", "minimum": 0, "maximum": 18_446_744_073_709_551_615_u64 })),
        ["SCHEMA-06"]
    );
    assert_eq!(named("duration", json!({ "type": "number" })), ["SCHEMA-06"]);
    assert_eq!(named("duration_ms", json!({ "type": "number" })), [""; 0]);
}

#[test]
fn schema_07_the_roots_are_watched() {
    let pop = |it: &mut Value| {
        it.as_array_mut().unwrap().pop();
    };
    assert_eq!(broken_by("event.schema.json", |it| pop(&mut it["oneOf"])), ["SCHEMA-07"]);
    assert_eq!(broken_by("incoming.schema.json", |it| pop(&mut it["oneOf"])), ["SCHEMA-07"]);
    assert_eq!(broken_by("incoming.schema.json", |it| pop(&mut it["$defs"]["Event"]["oneOf"])), ["SCHEMA-07"]);
    assert_eq!(
        broken_by("incoming.schema.json", |it| {
            pop(&mut it["$defs"]["UnknownEvent"]["properties"]["type"]["not"]["enum"]);
        }),
        ["SCHEMA-07"]
    );
    let mut tree = published();
    tree.remove(ONE);
    assert_eq!(rules(&lint(&tree)), ["SCHEMA-07", "SCHEMA-08", "SCHEMA-12"]);
}

#[test]
fn schema_08_an_edit_by_hand_is_watched() {
    let mut tree = published();
    tree.get_mut(ONE).unwrap().push('\n');
    assert_eq!(rules(&lint(&tree)), ["SCHEMA-08"]);
    let mut tree = published();
    tree.insert("notes.json".to_owned(), "{}".to_owned());
    assert_eq!(rules(&lint(&tree)), ["SCHEMA-08"]);
}
