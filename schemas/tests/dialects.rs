//! What is published of the older systems' frames: the golden vectors, written from those systems' own descriptions, fit
//! it; what the encoders and the answers of the decoders make fits it; what clients send by it is read. The validator is an
//! independent one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::collections::BTreeSet;

mod common;

use common::{parse, published, workspace};
use eventwire_protocol::catalog::EventType;
use eventwire_protocol::dialect::{adw, amiga, monadic, product, shared_context};
use eventwire_protocol::frame::EventKind;
use eventwire_protocol::{Dialect, Time};
use eventwire_schemas::Tree;
use eventwire_schemas::dialects::{self, Tag, client, named, probe, tag_of};
use eventwire_schemas::diff::Role;
use eventwire_schemas::lint::lint;
use eventwire_schemas::source::Source;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

fn validator(tree: &Tree, dialect: Dialect, direction: &str) -> Validator {
    let path = format!("dialects/{}/{direction}.schema.json", dialect.as_str());
    common::validator(&parse(tree, &path))
}

/// A frame as the root of its dialect describes it: an event of Socket.IO is its name and its one argument.
fn described(dialect: Dialect, frame: &Value) -> Value {
    match tag_of(dialect) {
        Tag::Member(_) => frame.clone(),
        Tag::EventName => {
            let (name, argument) = named(dialect, frame).unwrap();
            Value::Object(Map::from_iter([(name.to_owned(), argument.clone())]))
        }
    }
}

/// The golden vectors of a dialect: type and frame, where there is one. A variant has those of its family, but for the
/// types that its own file is about.
fn vectors(dialect: Dialect) -> Vec<(String, Value)> {
    let read = |dialect: Dialect| -> Vec<(String, Value)> {
        let path = workspace().join(format!("conformance/vectors/{}.json", dialect.as_str()));
        let vectors: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        vectors.into_iter().map(|it| (it["type"].as_str().unwrap().to_owned(), it["frame"].clone())).collect()
    };
    let mut own = read(dialect);
    if dialect.family() != dialect {
        let told: BTreeSet<String> = own.iter().map(|(kind, _)| kind.clone()).collect();
        own.extend(read(dialect.family()).into_iter().filter(|(kind, _)| !told.contains(kind)));
    }
    own.retain(|(_, frame)| !frame.is_null());
    own
}

fn explained(schema: &Validator, frame: &Value) -> String {
    schema
        .iter_errors(frame)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect::<Vec<_>>()
        .join("; ")
}

// ---------------------------------------------------------------------------------------------------------------
// What clients read
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn every_golden_frame_fits_its_dialect() {
    let tree = published();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for dialect in dialects::dialects() {
        let schema = validator(&tree, dialect, "server");
        for (kind, frame) in vectors(dialect) {
            let described = described(dialect, &frame);
            if !schema.is_valid(&described) {
                wrong.push(format!("{} {kind}: {frame}: {}", dialect.as_str(), explained(&schema, &described)));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 250, "{seen} frames");
}

/// The definition of a frame, out of a server's file.
fn definition(document: &Value, dialect: Dialect, title: &str, frame: &Value) -> (Value, Value) {
    let part = named(dialect, frame).unwrap().1.clone();
    (document["$defs"][title].clone(), part)
}

fn required(schema: &Value) -> Vec<String> {
    let names = schema["required"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Puts a changed part back into its frame.
fn with_part(dialect: Dialect, frame: &Value, part: Value) -> Value {
    match tag_of(dialect) {
        Tag::Member(_) => part,
        Tag::EventName => json!([frame[0], part]),
    }
}

#[test]
fn a_golden_frame_without_a_required_member_or_with_another_kind_in_its_place_is_refused() {
    let tree = published();
    let mut refused = 0;
    for dialect in dialects::dialects() {
        let schema = validator(&tree, dialect, "server");
        let document = parse(&tree, &format!("dialects/{}/server.schema.json", dialect.as_str()));
        for (kind, frame) in vectors(dialect) {
            let name = named(dialect, &frame).unwrap().0.to_owned();
            let title = format!("{}Frame", dialects::pascal(&name));
            let (definition, part) = definition(&document, dialect, &title, &frame);
            assert!(definition.is_object(), "{title}");
            let mut mutants = Vec::new();
            for member in required(&definition) {
                let mut mutant = part.clone();
                mutant.as_object_mut().unwrap().remove(&member);
                mutants.push((format!("without {member}"), mutant));
            }
            for (member, schema) in definition["properties"].as_object().into_iter().flatten() {
                let several = |it: &Value| it.get("oneOf").is_some_and(|all| all.as_array().unwrap().len() > 1);
                let refers_to = schema["oneOf"][0]["$ref"].as_str().or(schema["$ref"].as_str());
                let is_free = several(schema)
                    || refers_to.and_then(|it| document.pointer(it.trim_start_matches('#'))).is_some_and(several);
                if part.get(member).is_none() || is_free {
                    continue;
                }
                let mut mutant = part.clone();
                mutant[member] = if part[member].is_array() { json!({}) } else { json!([{ "wrong": 1 }]) };
                mutants.push((format!("with another {member}"), mutant));
                // One step into what stands there.
                let inner =
                    schema["oneOf"][0]["$ref"].as_str().and_then(|it| document.pointer(it.trim_start_matches('#')));
                for inside in inner.map(required).unwrap_or_default() {
                    let mut mutant = part.clone();
                    if mutant[member].as_object_mut().and_then(|members| members.remove(&inside)).is_some() {
                        mutants.push((format!("without {member}.{inside}"), mutant));
                    }
                }
            }
            for (what, mutant) in mutants {
                let mutant = described(dialect, &with_part(dialect, &frame, mutant));
                assert!(!schema.is_valid(&mutant), "{} {kind}: {name} is accepted {what}: {mutant}", dialect.as_str());
                refused += 1;
            }
        }
    }
    assert!(refused > 1500, "{refused} mutants");
}

#[test]
fn a_golden_frame_of_another_name_is_refused_and_one_with_a_member_more_is_not() {
    let tree = published();
    for dialect in dialects::dialects() {
        let schema = validator(&tree, dialect, "server");
        for (kind, frame) in vectors(dialect) {
            let (mut other, mut more) = (frame.clone(), frame.clone());
            match tag_of(dialect) {
                Tag::Member(member) => {
                    other[member] = json!("of_nobody");
                    more["of_later"] = json!(1);
                }
                Tag::EventName => {
                    other[0] = json!("of_nobody");
                    more[1]["of_later"] = json!(1);
                }
            }
            assert!(!schema.is_valid(&described(dialect, &other)), "{} {kind}: {other}", dialect.as_str());
            assert!(schema.is_valid(&described(dialect, &more)), "{} {kind}: {more}", dialect.as_str());
        }
    }
}

#[test]
fn what_is_told_of_every_probe_fits_and_every_type_that_is_told_is_listed() {
    let (tree, source) = (published(), Source::read().unwrap());
    let index = parse(&tree, "index.json");
    for dialect in dialects::dialects() {
        let schema = validator(&tree, dialect, "server");
        let entry = index["dialects"].as_array().unwrap().iter().find(|it| it["name"] == dialect.as_str()).unwrap();
        let mut listed: BTreeSet<String> = BTreeSet::new();
        for frame in entry["frames"].as_array().unwrap() {
            listed.extend(frame["events"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()));
        }
        let not_told: BTreeSet<String> =
            entry["not_told"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        for event in &source.events {
            let is_told = dialect.supports(&EventKind::Known(event.spec.event_type));
            assert_eq!(is_told, listed.contains(event.spec.name), "{} {}", dialect.as_str(), event.spec.name);
            assert_eq!(!is_told, not_told.contains(event.spec.name), "{} {}", dialect.as_str(), event.spec.name);
            for observation in probe::observe(&source, event, dialect).unwrap().iter().step_by(17) {
                let frame = described(dialect, &observation.frame);
                assert!(schema.is_valid(&frame), "{} {frame}: {}", dialect.as_str(), explained(&schema, &frame));
            }
        }
        assert_eq!(listed.len() + not_told.len(), EventType::ALL.len());
    }
}

#[test]
fn ctx_05_answers_in_every_form_fit_what_is_published() {
    let tree = published();
    let context = "session_abc123".parse().unwrap();
    let now: Time = "2025-08-13T14:48:21Z".parse().unwrap();
    for dialect in [Dialect::SharedContext, Dialect::SharedContextTools] {
        let schema = validator(&tree, dialect, "server");
        let mut frames = vec![shared_context::subscribed(&context), shared_context::error("no")];
        for text in [
            "hello",
            r#"{"type":"foo"}"#,
            r#"{"tool":"get_messages","id":"9","arguments":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"drop"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"subscribe","params":[]}"#,
        ] {
            frames.push(shared_context::decode(text.as_bytes()).unwrap_err().frame().unwrap());
        }
        for form in [
            shared_context::Form::Call { id: Some(json!(7)) },
            shared_context::Form::Call { id: None },
            shared_context::Form::Rpc { id: Some(json!("a")) },
        ] {
            for (tool, result) in [
                (shared_context::Tool::Subscribe, shared_context::subscribed_result(&context)),
                (shared_context::Tool::Subscribe, shared_context::initialized(&context, now)),
                (shared_context::Tool::GetMessages, shared_context::no_messages(&context, Some(4), "gone")),
                (shared_context::Tool::GetSessionInfo, shared_context::failure(&context, "Session not found")),
            ] {
                frames.push(form.answer(tool, &result).unwrap());
            }
        }
        let rpc = validator(&tree, dialect, "rpc");
        for frame in frames {
            let (own, other) = if frame.get("jsonrpc").is_some() { (&rpc, &schema) } else { (&schema, &rpc) };
            assert!(own.is_valid(&frame), "{frame}: {}", explained(own, &frame));
            assert!(!other.is_valid(&frame), "{frame}");
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// What clients send
// ---------------------------------------------------------------------------------------------------------------

/// Why a decoder refuses a frame; `Ok` with whether it was read as the command that it is meant to be.
fn decoded(dialect: Dialect, name: &str, frame: &Value) -> Result<bool, String> {
    let bytes = frame.to_string();
    let bytes = bytes.as_bytes();
    match dialect.family() {
        Dialect::Monadic => monadic::decode(bytes).map_err(|it| it.to_string()).map(|asked| match asked {
            monadic::Asked::Application(request) => {
                if name.is_empty() {
                    request.name == monadic::CHAT
                } else {
                    request.name == name
                }
            }
            _ => !name.is_empty(),
        }),
        Dialect::Product => product::decode(bytes).map(|_| true).map_err(|it| it.to_string()),
        Dialect::Amiga => amiga::decode(bytes).map(|_| true).map_err(|it| it.to_string()),
        Dialect::SharedContext => shared_context::decode(bytes).map(|_| true).map_err(|it| it.message),
        _ => match adw::decode(bytes, 1 << 20) {
            Ok(adw::Asked::BadTicket { error, .. }) => Err(error.to_string()),
            Ok(_) => Ok(true),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn sent(dialect: Dialect, name: &str, value: Value) -> Value {
    match tag_of(dialect) {
        Tag::Member(_) => value,
        Tag::EventName => json!([name, value]),
    }
}

#[test]
fn every_frame_that_the_schemas_let_clients_send_is_read() {
    let (tree, source) = (published(), Source::read().unwrap());
    let mut seen = 0;
    for dialect in dialects::dialects() {
        let schema = validator(&tree, dialect, "client");
        let definitions = client::definitions(&source, dialect);
        for command in client::table(dialect) {
            let mut frames = vec![command.example.clone()];
            if !command.example.is_null() {
                frames.extend(probe::payloads(&definitions[command.title], &definitions).into_iter().map(|(it, _)| it));
            }
            for frame in frames {
                let frame = sent(dialect, command.name, frame);
                let described = described(dialect, &frame);
                // A probe tries what a pattern or a list of constants forbids, too.
                if !schema.is_valid(&described) {
                    assert!(
                        frame != sent(dialect, command.name, command.example.clone()),
                        "{frame}: {}",
                        explained(&schema, &described)
                    );
                    continue;
                }
                let read = decoded(dialect, command.name, &frame);
                assert_eq!(read, Ok(true), "{} {} {frame}", dialect.as_str(), command.title);
                seen += 1;
            }
        }
    }
    assert!(seen > 1000, "{seen} frames");
}

#[test]
fn a_clients_frame_without_a_required_member_is_refused_by_the_schema() {
    let (tree, source) = (published(), Source::read().unwrap());
    for dialect in dialects::dialects() {
        let schema = validator(&tree, dialect, "client");
        let definitions = client::definitions(&source, dialect);
        for command in client::table(dialect) {
            for member in required(&definitions[command.title]) {
                let mut mutant = command.example.clone();
                mutant.as_object_mut().unwrap().remove(&member).unwrap();
                let mutant = described(dialect, &sent(dialect, command.name, mutant));
                assert!(!schema.is_valid(&mutant), "{} {} without {member}", dialect.as_str(), command.title);
            }
        }
    }
}

/// The commands that a decoder names when it refuses one are the ones that are published.
#[test]
fn every_command_that_a_decoder_knows_is_published() {
    for (dialect, unknown, count) in [
        (Dialect::Product, json!({ "type": "nope" }), 5),
        (Dialect::Adw, json!({ "type": "nope" }), 7),
        (Dialect::Amiga, json!(["nope"]), 8),
    ] {
        let message = decoded(dialect, "", &unknown).unwrap_err();
        let listed: BTreeSet<&str> = message.rsplit_once("there are ").unwrap().1.split(", ").collect();
        let table = client::table(dialect);
        let published: BTreeSet<&str> = table.iter().map(|it| it.name).collect();
        assert_eq!((published, table.len()), (listed, count), "{}", dialect.as_str());
    }
    // A command of Monadic Chat is one that is not read as what the person wrote.
    for command in client::table(Dialect::Monadic).iter().filter(|it| !it.name.is_empty()) {
        let read = monadic::decode(json!({ "message": command.name, "params": {} }).to_string().as_bytes()).unwrap();
        let is_chat = matches!(&read, monadic::Asked::Application(request) if request.name == monadic::CHAT);
        assert!(!is_chat, "{}", command.name);
    }
    let tools: BTreeSet<&str> = shared_context::Tool::ALL.iter().map(|tool| tool.as_str()).collect();
    let calls = client::table(Dialect::SharedContext);
    let published: BTreeSet<&str> = calls.iter().filter(|it| it.title.ends_with("Call")).map(|it| it.name).collect();
    assert_eq!(published, tools);
}

#[test]
fn a_change_of_what_clients_send_is_judged_as_one_of_a_request() {
    assert_eq!(Role::of("dialects/adw/client.schema.json"), Role::Requests);
    assert_eq!(Role::of("dialects/adw/server.schema.json"), Role::Events);
    assert_eq!(Role::of("dialects/shared_context/rpc.schema.json"), Role::Events);
}

// ---------------------------------------------------------------------------------------------------------------
// The lint
// ---------------------------------------------------------------------------------------------------------------

fn broken_by(path: &str, change: impl Fn(&mut Value)) -> Vec<&'static str> {
    let mut tree = published();
    let mut document = parse(&tree, path);
    change(&mut document);
    tree.insert(path.to_owned(), serde_json::to_string_pretty(&document).unwrap() + "\n");
    let rules: BTreeSet<&'static str> =
        lint(&tree).into_iter().map(|finding| finding.rule).filter(|rule| *rule != "SCHEMA-08").collect();
    rules.into_iter().collect()
}

const ADW: &str = "dialects/adw/server.schema.json";
const AMIGA: &str = "dialects/amiga/server.schema.json";

#[test]
fn schema_20_a_frame_without_a_tag_of_its_own_is_found() {
    let tag = |it: &mut Value, tag: Value| it["$defs"]["PongFrame"]["properties"]["type"] = tag;
    assert_eq!(broken_by(ADW, |it| tag(it, json!({ "type": "string" }))), ["SCHEMA-20"]);
    assert_eq!(broken_by(ADW, |it| tag(it, json!({ "const": "heartbeat" }))), ["SCHEMA-20"]);
    assert_eq!(broken_by(ADW, |it| it["$defs"]["PongFrame"]["required"] = json!(["data"])), ["SCHEMA-20"]);
    assert_eq!(broken_by(AMIGA, |it| it["additionalProperties"] = json!(true)), ["SCHEMA-20"]);
}

#[test]
fn schema_21_a_frame_too_few_or_a_name_with_two_meanings_is_found() {
    assert_eq!(
        broken_by(ADW, |it| {
            it["oneOf"].as_array_mut().unwrap().pop();
        }),
        ["SCHEMA-21"]
    );
    assert_eq!(broken_by(ADW, |it| it["$defs"]["AdwId"]["pattern"] = json!("^.$")), ["SCHEMA-21"]);
    let mut tree = published();
    tree.remove(AMIGA);
    let rules: BTreeSet<&str> = lint(&tree).into_iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, BTreeSet::from(["SCHEMA-08", "SCHEMA-21"]));
}

#[test]
fn schema_04_null_is_a_definition_of_its_own_in_an_older_systems_frame() {
    let html = |it: &mut Value| it["$defs"]["EditSuccessFrame"]["properties"]["html"] = json!({ "type": "null" });
    assert_eq!(broken_by("dialects/monadic/server.schema.json", html), ["SCHEMA-04"]);
}

#[test]
fn schema_05_a_frame_that_clients_read_stays_open() {
    let close = |it: &mut Value| it["$defs"]["PongFrame"]["additionalProperties"] = json!(false);
    assert_eq!(broken_by(AMIGA, close), ["SCHEMA-05"]);
}

#[test]
fn schema_22_a_description_for_readers_of_rust_is_found() {
    for text in
        ["An `Option` of a text.", "See [`Event`].", "One of std::time.", "A u64.", "As serde writes it.", "No end"]
    {
        let say = |it: &mut Value| it["$defs"]["PongFrame"]["description"] = json!(text);
        assert_eq!(broken_by(ADW, say), ["SCHEMA-22"], "{text}");
    }
}
