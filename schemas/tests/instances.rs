//! Generated values: what a schema describes is accepted by an independent validator and by the protocol's decoder, and a
//! single fault in it is refused by both.
//!
//! What a schema cannot say is listed once, in [`beyond_the_schema`], with the rule behind it: the generator keeps these,
//! and nothing else, so an undocumented difference between the schemas and the decoder fails here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Dice, Spot, faults, instance, resolved, spots, validator, workspace};
use eventwire_protocol::address::Target;
use eventwire_protocol::command::Request;
use eventwire_protocol::envelope::Envelope;
use eventwire_protocol::frame::{EventFrame, Incoming, Publication, read_strict};
use eventwire_protocol::time::Time;
use eventwire_schemas::{Tree, committed};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

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
///
/// What a command's positions need beside them (an `epoch`) and what its targets are is judged when it is carried out, each
/// target on its own (CMD-05): the decoder takes any text, as the schema does.
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
}

/// What the decoder reads although the schema does not describe it; each on purpose.
///
/// - EVT-06: null in the place of an optional member is read as absent, and never sent on.
/// - serde's derived readers take the list of an object's values for the object; it is written as an object.
fn is_lenient(fault: &str, spot: &Spot, mutant: &Value) -> bool {
    let there = mutant.pointer(&spot.pointer);
    match fault {
        "null" => spot.is_optional,
        "wrong type" => there.is_some_and(Value::is_array) && spot.schema["type"] == "object",
        _ => false,
    }
}

/// A client reads what it needs: members with a default may be absent, numbering is not its to check, bounds are kept where
/// events are admitted (EVT-08), and a value that an open list got later is carried as unknown (VER-02).
fn is_lenient_for_a_client(fault: &str, spot: &Spot, open: &BTreeSet<String>) -> bool {
    let is_numbering = spot.pointer == "/seq" || spot.pointer == "/prev";
    let is_open = spot.schema["title"].as_str().is_some_and(|name| open.contains(name));
    let is_bound = BEYOND.contains(&fault) && spot.pointer.starts_with("/data/");
    is_bound
        || fault == "a required member missing"
        || (fault == "null" && is_numbering)
        || (fault == "unknown value" && is_open)
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
                if let Some((_, data)) = published.payloads.iter().find(|(of, _)| value["type"] == **of) {
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

/// The faults that are out of bounds.
const BEYOND: [&str; 2] = ["above the maximum", "below the minimum"];

#[test]
fn evt_08_every_bound_of_every_publication_is_kept_and_none_is_narrowed() {
    let published = Published::read();
    let (document, root) = &published.publish;
    let dice = &mut Dice::new(8);
    let (mut at_a_bound, mut beyond) = (BTreeSet::new(), BTreeSet::new());
    for member in document["$defs"]["Publication"]["oneOf"].as_array().unwrap() {
        let member = resolved(document, member);
        // Vendor space has no bounds of its own. An example of the catalog has every member of its payload.
        let Some(example) = member["examples"].get(0) else { continue };
        let mut found = Vec::new();
        spots(document, member, example, "", false, &mut found);
        for spot in found.iter().filter(|spot| spot.pointer.starts_with("/data/")) {
            let place = format!("{}{}", example["type"].as_str().unwrap(), spot.pointer);
            for bound in ["minimum", "maximum"].iter().filter_map(|keyword| spot.schema.get(*keyword)) {
                let mut value = example.clone();
                *value.pointer_mut(&spot.pointer).unwrap() = bound.clone();
                assert!(root.is_valid(&value), "{place}: the schema refuses {bound}");
                assert_eq!(admitted(&value).err(), None, "{place}: {bound} is refused");
                at_a_bound.insert(place.clone());
            }
            for (fault, mutant) in faults(example, spot, dice).iter().filter(|(fault, _)| BEYOND.contains(fault)) {
                assert!(!root.is_valid(mutant), "{place}: the schema accepts what is {fault}");
                let problem = admitted(mutant).expect_err(&format!("{place}: what is {fault} is admitted"));
                let name = spot.pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap();
                assert!(problem.starts_with("data.") && problem.contains(name), "{place}: {problem}");
                beyond.insert(place.clone());
            }
        }
    }
    assert_eq!(at_a_bound, beyond);
    assert!(beyond.len() > 80, "{} places: {beyond:?}", beyond.len());
}

#[test]
fn env_05_a_target_is_what_its_pattern_says_and_nothing_else() {
    let published = Published::read();
    let document: Value = serde_json::from_str(&published.tree["incoming.schema.json"]).unwrap();
    let schema = &document["$defs"]["SubscriptionTarget"];
    let described = validator(schema);
    let dice = &mut Dice::new(5);
    let mut refused = 0;
    for _ in 0..2000 {
        let target = instance(schema, schema, dice);
        let text = target.as_str().unwrap();
        assert!(text.parse::<Target>().is_ok(), "the parser refuses {text}");
        // One letter more, less or other: the two still agree.
        let at = dice.below(text.len());
        let letter = *dice.pick(&['~', '/', ':', 'g', '0', ' ', '*', 'é']);
        let (before, after) = text.split_at(at);
        let less: String = after.chars().skip(1).collect();
        for other in [format!("{before}{letter}{after}"), format!("{before}{less}"), format!("{before}{letter}{less}")]
        {
            let parsed = other.parse::<Target>();
            assert_eq!(described.is_valid(&json!(other)), parsed.is_ok(), "{other:?}: {parsed:?}");
            refused += usize::from(parsed.is_err());
        }
    }
    assert!(refused > 500, "{refused}");
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
