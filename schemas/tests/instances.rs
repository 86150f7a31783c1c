//! Generated values: what a schema describes is accepted by an independent validator and by the protocol's decoder, and a
//! single fault in it is refused by both.
//!
//! What a schema cannot say is listed once, in [`beyond_the_schema`], with the rule behind it: the generator keeps these,
//! and nothing else, so an undocumented difference between the schemas and the decoder fails here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::{Dice, Spot, faults, instance, spots, validator};
use eventwire_protocol::command::Request;
use eventwire_protocol::envelope::Envelope;
use eventwire_protocol::frame::{EventFrame, Incoming, Publication, read_strict};
use eventwire_protocol::time::Time;
use eventwire_schemas::{Tree, committed};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

struct Published {
    tree: Tree,
    events: Vec<(String, Value, Validator)>,
    /// What a client reads as `data` of each type.
    payloads: Vec<(String, Validator)>,
    incoming: Validator,
    /// Lists of values that may grow.
    open: BTreeSet<String>,
    publish: (Value, Validator),
    command: (Value, Validator),
}

impl Published {
    fn read() -> Self {
        let tree = committed(&workspace()).unwrap();
        let parse = |path: &str| -> Value { serde_json::from_str(&tree[path]).unwrap() };
        let index = parse("index.json");
        let events = index["events"].as_array().unwrap().iter().map(|entry| {
            let schema = parse(entry["schema"].as_str().unwrap());
            (entry["type"].as_str().unwrap().to_owned(), schema.clone(), validator(&schema))
        });
        let events: Vec<_> = events.collect();
        let payload = |schema: &Value| {
            let mut data = schema["properties"]["data"].clone();
            data["$defs"] = schema["$defs"].clone();
            validator(&data)
        };
        let with_validator = |path: &str| (parse(path), validator(&parse(path)));
        Self {
            payloads: events.iter().map(|(name, schema, _)| (name.clone(), payload(schema))).collect(),
            events,
            open: index["lists"]
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, word)| *word == "open")
                .map(|(name, _)| name.clone())
                .collect(),
            incoming: validator(&parse("incoming.schema.json")),
            publish: with_validator("publish.schema.json"),
            command: with_validator("command.schema.json"),
            tree,
        }
    }
}

/// Makes a value keep what its schema cannot say.
///
/// - EVT-04: `data.adw_id` is the run that the event is addressed to: two members are compared.
/// - LOG-02: `prev` is below `seq`: two members are compared.
/// - A target in a list (`streams`, `positions`): its pattern, if it has one, tells the kinds; the id of each kind is read
///   by its type. The generator takes these from a list.
/// - A command's `id` has at most 128 bytes; a schema counts characters.
/// - A `since` above 0 needs `epoch`: two members again.
fn beyond_the_schema(value: &mut Value) {
    let run = value["to"].as_str().and_then(|to| to.strip_prefix("adw:")).map(|to| to[..8].to_owned());
    if let (Some(run), Some(named)) = (run, value.pointer_mut("/data/adw_id")) {
        *named = json!(run);
    }
    if let (Some(seq), Some(prev)) = (value["seq"].as_u64(), value["prev"].as_u64())
        && prev >= seq
    {
        value["prev"] = json!(seq - 1);
    }
    if let Some(id) = value.get_mut("id").filter(|id| id.as_str().is_some_and(|id| id.len() > 128)) {
        *id = json!("x".repeat(128));
    }
    let is_command = value["type"].as_str().is_some_and(|name| name.ends_with("subscribe"));
    let mut needs_epoch = false;
    if let Some(streams) = value.pointer_mut("/data/streams").and_then(Value::as_array_mut).filter(|_| is_command) {
        for (at, stream) in streams.iter_mut().enumerate() {
            stream["to"] = json!(format!("room:tasks-{at}"));
            needs_epoch |= stream["since"] != json!(0);
        }
    }
    if needs_epoch && value["type"] == "subscribe" {
        value["data"]["epoch"] = json!("9f3a77c2d1e05b64");
    }
}

/// What the decoder reads although the schema does not describe it; each on purpose, or named as a gap.
///
/// - EVT-06: null in the place of an optional member is read as absent, and never sent on.
/// - serde's derived readers take the list of an object's values for the object; it is written as an object.
/// - A gap: numbers in a payload are read as far as their Rust type goes, which may be beyond the bounds that the schema
///   states (a percentage of 250, port 0, a count above 2^53-1), and would be sent on.
fn is_lenient(fault: &str, spot: &Spot, mutant: &Value) -> bool {
    let there = mutant.pointer(&spot.pointer);
    match fault {
        "null" => spot.is_optional,
        "wrong type" => there.is_some_and(Value::is_array) && spot.schema["type"] == "object",
        "above the maximum" | "below the minimum" => spot.pointer.starts_with("/data/"),
        _ => false,
    }
}

/// A client reads what it needs: members with a default may be absent, numbering is not its to check, and a value that
/// an open list got later is carried as unknown (VER-02).
fn is_lenient_for_a_client(fault: &str, spot: &Spot, open: &BTreeSet<String>) -> bool {
    let is_numbering = spot.pointer == "/seq" || spot.pointer == "/prev";
    let is_open = spot.schema["title"].as_str().is_some_and(|name| open.contains(name));
    fault == "a required member missing" || (fault == "null" && is_numbering) || (fault == "unknown value" && is_open)
}

/// The payload that receivers get of a publication.
fn admitted(value: &Value) -> Result<Value, String> {
    let text = value.to_string();
    read_strict(text.as_bytes(), usize::MAX).map_err(|error| error.message.into_owned())?;
    let publication = Publication::decode(&text).map_err(|error| error.message.into_owned())?;
    let envelope =
        Envelope::admit(publication, Time::from_unix_micros(0)).map_err(|error| error.message.into_owned())?;
    Ok(serde_json::from_str(envelope.data()).unwrap())
}

fn received(value: &Value) -> Result<(), String> {
    match EventFrame::decode(&value.to_string()) {
        Ok(frame) => match frame.data {
            Incoming::Known(_) => Ok(()),
            Incoming::Unknown => Err("an unknown type".to_owned()),
        },
        Err(error) => Err(error.message.into_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_that_its_schema_describes_is_read_and_one_with_a_fault_is_not(seed in any::<u64>()) {
        let published = Published::read();
        let dice = &mut Dice::new(seed);
        let mut differences = BTreeMap::new();
        for (name, schema, own) in &published.events {
            let mut value = instance(schema, schema, dice);
            beyond_the_schema(&mut value);
            prop_assert!(own.is_valid(&value), "{name}: its own schema refuses {value}");
            prop_assert!(published.incoming.is_valid(&value), "{name}: the open root refuses {value}");
            if let Err(why) = received(&value) {
                differences.entry(format!("{name} valid: {why}")).or_insert(value.to_string());
            }
            let mut found = Vec::new();
            spots(schema, schema, &value, "", false, &mut found);
            let spot = dice.pick(&found);
            for (fault, mutant) in faults(&value, spot, dice) {
                prop_assert!(!own.is_valid(&mutant), "{name}: {fault} at {}: its schema accepts {mutant}", spot.pointer);
                let is_lenient = is_lenient(fault, spot, &mutant) || is_lenient_for_a_client(fault, spot, &published.open);
                let is_open = spot.schema["title"].as_str().is_some_and(|name| published.open.contains(name));
                if fault == "unknown value" && is_open {
                    prop_assert!(received(&mutant).is_ok(), "{name}: an open list is read as closed: {mutant}");
                }
                if received(&mutant).is_ok() && !is_lenient {
                    differences.entry(format!("{name}: {fault} at {}", spot.pointer)).or_insert(mutant.to_string());
                }
            }
        }
        prop_assert!(differences.is_empty(), "{differences:#?}");
    }

    #[test]
    fn admission_agrees_with_the_schema_of_publications(seed in any::<u64>()) {
        let published = Published::read();
        let (document, root) = &published.publish;
        let dice = &mut Dice::new(seed);
        let mut differences = BTreeMap::new();
        for member in document["$defs"]["Publication"]["oneOf"].as_array().unwrap() {
            let mut value = instance(document, member, dice);
            beyond_the_schema(&mut value);
            prop_assert!(root.is_valid(&value), "the schema refuses {value}");
            let name = value["type"].to_string();
            match admitted(&value) {
                Err(why) => drop(differences.entry(format!("{name} valid: {why}")).or_insert(value.to_string())),
                Ok(sent) => {
                    let data = published.payloads.iter().find(|(of, _)| value["type"] == **of);
                    let fits = data.is_none_or(|(_, data)| data.is_valid(&sent));
                    prop_assert!(fits, "{name}: admitted as {value}, sent on as {sent}");
                }
            }
            let mut found = Vec::new();
            spots(document, member, &value, "", false, &mut found);
            let spot = dice.pick(&found);
            for (fault, mutant) in faults(&value, spot, dice) {
                prop_assert!(!root.is_valid(&mutant), "{name}: {fault} at {}: the schema accepts {mutant}", spot.pointer);
                let Ok(sent) = admitted(&mutant) else { continue };
                if let Some((_, data)) = published.payloads.iter().find(|(of, _)| value["type"] == **of)
                    && !["above the maximum", "below the minimum"].contains(&fault)
                {
                    prop_assert!(data.is_valid(&sent), "{name}: {fault} at {}: sent on as {sent}", spot.pointer);
                }
                if !is_lenient(fault, spot, &mutant) {
                    differences.entry(format!("{name}: {fault} at {}", spot.pointer)).or_insert(mutant.to_string());
                }
            }
        }
        prop_assert!(differences.is_empty(), "{differences:#?}");
    }

    #[test]
    fn commands_agree_with_their_schema(seed in any::<u64>()) {
        let published = Published::read();
        let (document, root) = &published.command;
        let dice = &mut Dice::new(seed);
        for _ in 0..20 {
            let mut value = instance(document, document, dice);
            beyond_the_schema(&mut value);
            prop_assert!(root.is_valid(&value), "the schema refuses {value}");
            let read = Request::decode(value.to_string().as_bytes());
            prop_assert!(read.is_ok(), "the decoder refuses {value}: {:?}", read.err());
            let mut found = Vec::new();
            spots(document, document, &value, "", false, &mut found);
            let spot = dice.pick(&found);
            for (fault, mutant) in faults(&value, spot, dice) {
                prop_assert!(!root.is_valid(&mutant), "{fault} at {}: the schema accepts {mutant}", spot.pointer);
                let read = Request::decode(mutant.to_string().as_bytes());
                let is_lenient = is_lenient(fault, spot, &mutant);
                prop_assert!(read.is_err() || is_lenient, "{fault} at {}: the decoder accepts {mutant}", spot.pointer);
            }
        }
    }
}

#[test]
fn every_kind_of_fault_is_tried() {
    let published = Published::read();
    let dice = &mut Dice::new(7);
    let mut kinds = BTreeSet::new();
    let roots = [&published.publish.0, &published.command.0];
    let all = published.events.iter().map(|(_, schema, _)| schema).chain(roots);
    for schema in all {
        for _ in 0..10 {
            let value = instance(schema, schema, dice);
            let mut found = Vec::new();
            spots(schema, schema, &value, "", false, &mut found);
            kinds.extend(found.iter().flat_map(|spot| faults(&value, spot, dice)).map(|(fault, _)| fault));
        }
    }
    let expected = [
        "a fraction",
        "a required member missing",
        "above the maximum",
        "against the format",
        "against the pattern",
        "an unknown member",
        "below the minimum",
        "null",
        "too few items",
        "too long",
        "too many items",
        "unknown value",
        "wrong constant",
        "wrong type",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_schema_cannot_say_is_refused_all_the_same() {
    let published = Published::read();
    let valid =
        json!({ "type": "adw.text_block", "to": "adw:29fb6a3e", "data": { "adw_id": "29fb6a3e", "content": "" } });
    assert!(admitted(&valid).is_ok());
    let mut other = valid.clone();
    other["data"]["adw_id"] = json!("00000000");
    assert!(published.publish.1.is_valid(&other) && admitted(&other).is_err(), "EVT-04");
    assert!(published.tree.contains_key("publish.schema.json"));
}
