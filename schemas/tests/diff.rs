//! `diff` names what changed, who is broken by it, and never calls something safe that is not.
//!
//! The proof of the latter is a property: random schemas, changed at random; values made from what a writer may send and
//! judged by an independent validator on the reader's side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Dice, any_members, anything, instance, validator, workspace};
use eventwire_schemas::diff::{Change, Effect, Report, Role, Severity, diff};
use eventwire_schemas::snapshot::Snapshot;
use eventwire_schemas::{Tree, committed};
use proptest::prelude::*;
use serde_json::{Value, json};

use Effect::{Accepts, Copes, Misses, Refuses};

fn published() -> Tree {
    let mut tree = committed(&workspace()).unwrap();
    tree.retain(|path, _| path.ends_with(".schema.json") && !path.starts_with("flavors/") || path == "index.json");
    tree
}

fn edit_file(tree: &mut Tree, path: &str, change: impl FnOnce(&mut Value)) {
    let mut file: Value = serde_json::from_str(&tree[path]).unwrap();
    let before = file.clone();
    change(&mut file);
    if file != before {
        tree.insert(path.to_owned(), file.to_string());
    }
}

/// Changes a definition in every file that has it: in those that clients read, or in those that they write.
fn edit(tree: &mut Tree, role: Role, name: &str, change: impl Fn(&mut Value)) {
    let mut edited = 0;
    let paths: Vec<String> =
        tree.keys().filter(|path| *path != "index.json" && Role::of(path) == role).cloned().collect();
    for path in paths {
        edit_file(tree, &path, |file| {
            if let Some(definition) = file["$defs"].get_mut(name) {
                change(definition);
                edited += 1;
            } else if file["title"] == name {
                change(file);
                edited += 1;
            }
        });
    }
    assert!(edited > 0, "nothing is called {name}");
}

fn compared(old: &Tree, new: &Tree) -> Report {
    diff(&Snapshot::of_tree("old", old).unwrap(), &Snapshot::of_tree("new", new).unwrap()).unwrap()
}

/// The changes that an edit of the published tree makes, without mere texts.
fn after(change: impl FnOnce(&mut Tree)) -> Vec<Change> {
    let (old, mut new) = (published(), published());
    change(&mut new);
    let report = compared(&old, &new);
    report.changes.into_iter().filter(|change| change.severity > Severity::Patch).collect()
}

type Told<'a> = (&'a str, &'a str, Severity, Effect, Effect);

fn told(changes: &[Change]) -> Vec<Told<'_>> {
    changes.iter().map(|it| (it.name.as_str(), it.kind, it.severity, it.old_reader, it.new_reader)).collect()
}

fn required(schema: &mut Value) -> &mut Vec<Value> {
    schema["required"].as_array_mut().unwrap()
}

fn drop_member(schema: &mut Value, name: &str) {
    schema["properties"].as_object_mut().unwrap().shift_remove(name).unwrap();
    required(schema).retain(|it| it != name);
}

const DATA: &str = "ChatFragmentData";

#[test]
fn the_published_tree_is_what_it_is() {
    let tree = published();
    assert_eq!(compared(&tree, &tree).changes, []);
}

// ---------------------------------------------------------------------------------------------------------------
// What the brief of compatibility names: each with the direction that breaks
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn removing_a_member_breaks_old_clients_with_new_servers() {
    let changes = after(|tree| edit(tree, Role::Events, DATA, |it| drop_member(it, "content")));
    assert_eq!(told(&changes), [("ChatFragmentData.content", "removed", Severity::Major, Refuses, Accepts)]);
    assert_eq!(
        changes[0].announcement(),
        "breaking: event.schema.json#/$defs/ChatFragmentData/properties/content: removed"
    );
    assert_eq!(
        changes[0].also,
        [
            "events/chat.fragment.schema.json#/$defs/ChatFragmentData/properties/content",
            "events/chat.fragment_with_audio.schema.json#/$defs/ChatFragmentData/properties/content",
            "incoming.schema.json#/$defs/ChatFragmentData/properties/content"
        ]
    );
    // An optional one: nothing is refused, and what a client reads never comes.
    let changes = after(|tree| edit(tree, Role::Events, DATA, |it| drop_member(it, "mid")));
    assert_eq!(told(&changes), [("ChatFragmentData.mid", "removed", Severity::Major, Misses, Accepts)]);
}

#[test]
fn removing_a_member_of_a_publication_breaks_old_clients_in_the_other_direction() {
    // Here the server reads: what an old client writes is no longer read by a new server.
    let changes = after(|tree| edit(tree, Role::Requests, DATA, |it| drop_member(it, "mid")));
    assert_eq!(told(&changes), [("ChatFragmentData.mid", "removed", Severity::Major, Accepts, Misses)]);
    assert_eq!(
        changes[0].announcement(),
        "breaking: publish.schema.json#/$defs/ChatFragmentData/properties/mid: removed"
    );
    let changes = after(|tree| edit(tree, Role::Requests, DATA, |it| drop_member(it, "content")));
    assert_eq!(told(&changes), [("ChatFragmentData.content", "removed", Severity::Major, Refuses, Misses)]);
    // Where unknown members are refused, the old client is.
    let changes = after(|tree| edit(tree, Role::Requests, "ChatFragmentPublication", |it| drop_member(it, "time")));
    assert_eq!(told(&changes), [("ChatFragmentPublication.time", "removed", Severity::Major, Accepts, Refuses)]);
    let changes = after(|tree| edit(tree, Role::Requests, "SubscribeCommandData", |it| drop_member(it, "epoch")));
    assert_eq!(changes[0].new_reader, Refuses, "{}", changes[0]);
}

#[test]
fn narrowing_a_bound_breaks_new_readers_with_old_writers_and_widening_the_reverse() {
    let bound = |keyword: &'static str, to: Value| {
        after(move |tree| edit(tree, Role::Events, DATA, |it| it["properties"]["sequence"][keyword] = to.clone()))
    };
    let narrowed = [("ChatFragmentData.sequence", "narrowed", Severity::Major, Accepts, Refuses)];
    let widened = [("ChatFragmentData.sequence", "widened", Severity::Major, Refuses, Accepts)];
    assert_eq!(told(&bound("maximum", json!(1000))), narrowed);
    assert_eq!(told(&bound("minimum", json!(1))), narrowed);
    assert_eq!(told(&bound("minimum", json!(-1))), widened);
    assert_eq!(told(&bound("minimum", json!(0.0))), []);
    assert_eq!(bound("maximum", json!(9))[0].place, "/$defs/ChatFragmentData/properties/sequence/maximum");
    let batch =
        |to: u64| after(move |tree| edit(tree, Role::Requests, "PublicationBatch", |it| it["maxItems"] = json!(to)));
    assert_eq!(told(&batch(10)), [("PublicationBatch", "narrowed", Severity::Major, Accepts, Refuses)]);
    assert_eq!(told(&batch(100_000)), [("PublicationBatch", "widened", Severity::Major, Refuses, Accepts)]);
    // A bound where there was none.
    let length = after(|tree| edit(tree, Role::Events, DATA, |it| it["properties"]["mid"]["maxLength"] = json!(8)));
    assert_eq!(told(&length), [("ChatFragmentData.mid", "narrowed", Severity::Major, Accepts, Refuses)]);
}

fn rename(tree: &mut Tree, from: &str, to: &str) {
    for text in tree.values_mut() {
        *text = text
            .replace(&format!("\"{from}\""), &format!("\"{to}\""))
            .replace(&format!("/{from}\""), &format!("/{to}\""));
    }
}

#[test]
fn renaming_a_definition_is_told_as_such_and_breaks_code_only() {
    let changes = after(|tree| rename(tree, "ChatFragmentData", "ChatPieceData"));
    let renamed = ("ChatPieceData", "renamed", Severity::Major, Accepts, Accepts);
    assert_eq!(told(&changes), [renamed, renamed], "once for those who read it and once for those who write it");
    assert!(changes.iter().all(|change| change.renames_types));
    assert_eq!(changes[0].detail, "`ChatFragmentData` is called `ChatPieceData` now; its shape is the same");
    // A whole event under another name.
    let changes = after(|tree| rename(tree, "ChatFragmentEvent", "ChatPieceEvent"));
    assert_eq!(told(&changes), [("ChatPieceEvent", "renamed", Severity::Major, Accepts, Accepts)]);
    assert_eq!(changes[0].also.len(), 2, "{:?}", changes[0].also);
}

#[test]
fn adding_a_required_member_breaks_new_clients_with_old_servers() {
    let add = |it: &mut Value| {
        it["properties"]["later"] = json!({ "type": "string" });
        required(it).push(json!("later"));
    };
    let expected = [("ChatFragmentData.later", "added_required", Severity::Major, Accepts, Refuses)];
    assert_eq!(told(&after(|tree| edit(tree, Role::Events, DATA, add))), expected);
    assert_eq!(told(&after(|tree| edit(tree, Role::Requests, DATA, add))), expected, "there: old clients, new server");
    let changes = after(|tree| edit(tree, Role::Requests, "PingCommand", add));
    assert_eq!(told(&changes), [("PingCommand.later", "added_required", Severity::Major, Refuses, Refuses)]);
}

// ---------------------------------------------------------------------------------------------------------------
// Everything else
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn an_optional_member_more_is_minor() {
    let add = |it: &mut Value| it["properties"]["later"] = json!({ "type": "string" });
    let expected = [("ChatFragmentData.later", "added_optional", Severity::Minor, Accepts, Accepts)];
    assert_eq!(told(&after(|tree| edit(tree, Role::Events, DATA, add))), expected);
    assert_eq!(told(&after(|tree| edit(tree, Role::Requests, DATA, add))), expected);
    // An older server refuses it where it refuses what it does not know; a client sends it to newer ones only.
    let changes = after(|tree| edit(tree, Role::Requests, "PingCommand", add));
    assert_eq!(told(&changes), [("PingCommand.later", "added_optional", Severity::Minor, Copes, Accepts)]);
    // Under a name that older writers were free to use for anything.
    let changes = after(|tree| edit(tree, Role::Events, "AnyObject", add));
    assert_eq!(told(&changes), [("AnyObject.later", "added_optional", Severity::Major, Accepts, Refuses)]);
}

#[test]
fn required_and_optional_change_places_with_opposite_effects() {
    let changes = after(|tree| edit(tree, Role::Events, DATA, |it| required(it).push(json!("mid"))));
    assert_eq!(told(&changes), [("ChatFragmentData.mid", "now_required", Severity::Major, Accepts, Refuses)]);
    let changes = after(|tree| edit(tree, Role::Events, DATA, |it| required(it).retain(|it| it != "content")));
    assert_eq!(told(&changes), [("ChatFragmentData.content", "now_optional", Severity::Major, Refuses, Accepts)]);
}

#[test]
fn another_type_is_told_with_the_direction_in_which_it_still_fits() {
    let typed = |name: &'static str, to: Value| {
        after(move |tree| edit(tree, Role::Events, DATA, |it| it["properties"][name] = to.clone()))
    };
    let at = "ChatFragmentData.sequence";
    let number = json!({ "type": "number", "minimum": 0, "maximum": 9_007_199_254_740_991_u64 });
    assert_eq!(told(&typed("sequence", number)), [(at, "type_changed", Severity::Major, Refuses, Accepts)]);
    assert_eq!(
        told(&typed("sequence", json!({ "type": "string" }))),
        [(at, "type_changed", Severity::Major, Refuses, Refuses)]
    );
    // The same by another name: a definition of its own or written out.
    let position = json!({ "$ref": "#/$defs/Position" });
    assert_eq!(told(&typed("sequence", position)), [(at, "respelled", Severity::Minor, Accepts, Accepts)]);
    // In a union of one with a description, a reference is the same reference.
    let time = json!({ "description": "When.", "oneOf": [{ "$ref": "#/$defs/Time" }] });
    let changes =
        after(|tree| edit(tree, Role::Events, "ChatFragmentEvent", |it| it["properties"]["time"] = time.clone()));
    assert_eq!(told(&changes), []);
}

#[test]
fn patterns_are_compared_as_languages() {
    let to = |pattern: &'static str| {
        let changes = after(|tree| edit(tree, Role::Events, "AdwId", |it| it["pattern"] = json!(pattern)));
        changes.iter().map(|it| (it.kind, it.severity, it.old_reader, it.new_reader)).collect::<Vec<_>>()
    };
    assert_eq!(to("^[A-Za-z0-9]{8,9}$"), [("widened", Severity::Major, Refuses, Accepts)]);
    assert_eq!(to("^[a-z0-9]{8}$"), [("narrowed", Severity::Major, Accepts, Refuses)]);
    assert_eq!(to("^[A-Za-z0-9]{4}[0-9A-Za-z]{4}$"), [("respelled", Severity::Minor, Accepts, Accepts)]);
    assert_eq!(to("^[a-z-]{8}$"), [("changed", Severity::Major, Refuses, Refuses)]);
    assert_eq!(
        to(r"^\w{8}$"),
        [("changed", Severity::Major, Refuses, Refuses)],
        "what cannot be compared is not called safe"
    );
}

#[test]
fn lists_that_may_grow_and_those_that_grant_something() {
    let push = |role, name: &'static str| {
        after(move |tree| edit(tree, role, name, |it| it["enum"].as_array_mut().unwrap().push(json!("later"))))
    };
    let pop = |role, name: &'static str| {
        after(move |tree| {
            edit(tree, role, name, |it| {
                it["enum"].as_array_mut().unwrap().pop();
            });
        })
    };
    assert_eq!(told(&push(Role::Events, "GapReason")), [("GapReason", "value_added", Severity::Minor, Copes, Accepts)]);
    assert_eq!(
        told(&push(Role::Events, "Permission")),
        [("Permission", "value_added", Severity::Major, Refuses, Accepts)]
    );
    assert_eq!(
        told(&pop(Role::Events, "GapReason")),
        [("GapReason", "value_removed", Severity::Major, Accepts, Copes)]
    );
    assert_eq!(
        told(&pop(Role::Events, "Permission")),
        [("Permission", "value_removed", Severity::Major, Accepts, Refuses)]
    );
    let visibility = push(Role::Requests, "MessageVisibility");
    assert_eq!(told(&visibility), [("MessageVisibility", "value_added", Severity::Major, Refuses, Accepts)]);
    // An open list that is closed breaks its promise.
    let changes = after(|tree| edit_file(tree, "index.json", |it| it["lists"]["GapReason"] = json!("closed")));
    assert_eq!(told(&changes), [("GapReason", "list_changed", Severity::Major, Misses, Accepts)]);
}

#[test]
fn constants_formats_items_unions_and_other_members() {
    let changes = after(|tree| {
        edit(tree, Role::Events, "ChatFragmentEvent", |it| it["properties"]["type"]["const"] = json!("chat.piece"))
    });
    assert!(
        told(&changes).contains(&("ChatFragmentEvent.type", "const_changed", Severity::Major, Refuses, Refuses)),
        "{changes:?}"
    );
    let changes = after(|tree| {
        edit(tree, Role::Events, "Time", |it| {
            it.as_object_mut().unwrap().shift_remove("format");
        });
    });
    assert_eq!(told(&changes), [("Time", "widened", Severity::Major, Refuses, Accepts)]);
    let changes = after(|tree| {
        edit(tree, Role::Requests, "SubscribeCommandData", |it| it["properties"]["streams"]["minItems"] = json!(2))
    });
    assert_eq!(told(&changes), [("SubscribeCommandData.streams", "narrowed", Severity::Major, Accepts, Refuses)]);
    let changes = after(|tree| {
        edit(tree, Role::Events, "ChatPdfTitlesData", |it| {
            it["properties"]["titles"]["items"] = json!({ "type": "integer", "minimum": 0, "maximum": 1 })
        })
    });
    assert_eq!(told(&changes), [("ChatPdfTitlesData.titles[]", "type_changed", Severity::Major, Refuses, Refuses)]);
    let changes = after(|tree| {
        edit(tree, Role::Events, "ClientTime", |it| {
            it["oneOf"].as_array_mut().unwrap().pop();
        });
    });
    assert_eq!(told(&changes), [("ClientTime", "type_changed", Severity::Major, Accepts, Refuses)]);
    let changes = after(|tree| edit(tree, Role::Events, DATA, |it| it["additionalProperties"] = json!(false)));
    assert_eq!(
        told(&changes),
        [("ChatFragmentData", "respelled", Severity::Minor, Accepts, Accepts)],
        "writers were closed before"
    );
    let changes = after(|tree| edit(tree, Role::Events, "AnyObject", |it| it["additionalProperties"] = json!(false)));
    assert_eq!(told(&changes), [("AnyObject", "closed", Severity::Major, Accepts, Refuses)]);
    let changes =
        after(|tree| edit(tree, Role::Requests, "PingCommand", |it| it["additionalProperties"] = json!(true)));
    assert_eq!(told(&changes), [("PingCommand", "opened", Severity::Major, Refuses, Accepts)]);
    let changes =
        after(|tree| edit(tree, Role::Events, DATA, |it| it["properties"]["mid"]["contentEncoding"] = json!("base64")));
    let kinds: Vec<_> = changes.iter().map(|it| (it.kind, it.severity)).collect();
    assert_eq!(kinds, [("changed", Severity::Major)], "a keyword that is not known is not called safe");
}

fn drop_event(tree: &mut Tree) {
    for (path, of) in [("event.schema.json", ""), ("incoming.schema.json", "/$defs/Event")] {
        edit_file(tree, path, |file| {
            let union = file.pointer_mut(of).unwrap()["oneOf"].as_array_mut().unwrap();
            union.retain(|it| it["$ref"] != "#/$defs/ChatFragmentEvent");
            // Its payload stays: another event has it, too.
            file["$defs"].as_object_mut().unwrap().shift_remove("ChatFragmentEvent");
            if let Some(known) = file.pointer_mut("/$defs/UnknownEvent/properties/type/not/enum") {
                known.as_array_mut().unwrap().retain(|it| it != "chat.fragment");
            }
        });
    }
    tree.remove("events/chat.fragment.schema.json");
    edit_file(tree, "index.json", |file| {
        file["events"].as_array_mut().unwrap().retain(|it| it["type"] != "chat.fragment")
    });
}

#[test]
fn an_event_more_is_minor_and_an_event_less_is_one_change() {
    let (whole, mut without) = (published(), published());
    drop_event(&mut without);
    let added = compared(&without, &whole).changes;
    assert_eq!(
        told(&added),
        [
            ("ChatFragmentEvent", "added", Severity::Minor, Copes, Accepts),
            ("ChatFragmentEvent", "added", Severity::Minor, Accepts, Accepts)
        ]
    );
    assert_eq!(added[1].file, "events/chat.fragment.schema.json");
    let removed = compared(&whole, &without).changes;
    assert_eq!(
        told(&removed),
        [
            ("ChatFragmentEvent", "removed", Severity::Major, Misses, Copes),
            ("ChatFragmentEvent", "removed", Severity::Major, Misses, Accepts)
        ]
    );
    // An event that not even the open root takes is no event for older clients.
    let mut odd = published();
    edit(&mut odd, Role::Events, "ChatFragmentEvent", |it| {
        it["properties"]["to"] = json!({ "type": "integer", "minimum": 0, "maximum": 1 })
    });
    let added = compared(&without, &odd).changes;
    assert_eq!(added[0].severity, Severity::Minor);
}

#[test]
fn commands_and_publications_more_and_less() {
    let drop = |tree: &mut Tree, path: &str, union: &str, name: &str| {
        edit_file(tree, path, |file| {
            let members = file.pointer_mut(union).unwrap()["oneOf"].as_array_mut().unwrap();
            members.retain(|it| it["$ref"] != format!("#/$defs/{name}"));
            file["$defs"].as_object_mut().unwrap().shift_remove(name);
        });
    };
    for (path, union, name) in [
        ("command.schema.json", "", "AuthenticateCommand"),
        ("publish.schema.json", "/$defs/Publication", "ChatFragmentPublication"),
    ] {
        let (whole, mut without) = (published(), published());
        drop(&mut without, path, union, name);
        let report = compared(&whole, &without);
        assert_eq!(
            told(&report.changes),
            [(name, "removed", Severity::Major, Accepts, Refuses)],
            "old client, new server"
        );
        let report = compared(&without, &whole);
        assert_eq!(told(&report.changes), [(name, "added", Severity::Minor, Copes, Accepts)], "new client, old server");
    }
}

#[test]
fn where_events_go_and_how_is_part_of_the_contract() {
    let entry = |change: fn(&mut Value)| {
        after(move |tree| {
            edit_file(tree, "index.json", |file| {
                let events = file["events"].as_array_mut().unwrap();
                change(events.iter_mut().find(|it| it["type"] == "chat.fragment").unwrap());
            });
        })
    };
    let kinds =
        |changes: Vec<Change>| -> Vec<_> { changes.iter().map(|it| (it.kind, it.severity, it.old_reader)).collect() };
    let major = Severity::Major;
    assert_eq!(kinds(entry(|it| it["delivery"]["class"] = json!("volatile"))), [("delivery_weaker", major, Misses)]);
    assert_eq!(kinds(entry(|it| it["delivery"]["class"] = json!("durable"))), [("delivery_changed", major, Accepts)]);
    assert_eq!(kinds(entry(|it| it["delivery"]["key"] = json!("other"))), [("delivery_changed", major, Misses)]);
    assert_eq!(
        kinds(entry(|it| it["audiences"] = json!(["room"]))),
        [("audience_removed", major, Misses), ("audience_added", major, Accepts)]
    );
    assert_eq!(kinds(entry(|it| it["permission"] = json!("adw_raw"))), [("permission_added", major, Misses)]);
    assert_eq!(kinds(entry(|it| it["publishable"] = json!(false))), [("no_longer_publishable", major, Misses)]);
    assert_eq!(kinds(entry(|it| it["summary"] = json!("Other words."))), []);
}

#[test]
fn descriptions_and_examples_are_a_patch() {
    let (old, mut new) = (published(), published());
    edit(&mut new, Role::Events, DATA, |it| it["description"] = json!("Other words."));
    let report = compared(&old, &new);
    assert_eq!(report.severity(), Some(Severity::Patch));
    let files: Vec<&str> = report.changes.iter().map(|it| it.file.as_str()).collect();
    assert_eq!(
        files,
        [
            "event.schema.json",
            "events/chat.fragment.schema.json",
            "events/chat.fragment_with_audio.schema.json",
            "incoming.schema.json"
        ]
    );
    // A baseline has no texts and still tells.
    let baseline = Snapshot::of_tree("old", &old).unwrap().baseline().unwrap();
    let baseline = Snapshot::of_baseline("baseline", &baseline).unwrap();
    let by_baseline = diff(&baseline, &Snapshot::of_tree("new", &new).unwrap()).unwrap().changes;
    assert!(by_baseline == report.changes, "{} changes", by_baseline.len());
}

#[test]
fn files_of_any_name_are_compared_and_say_who_is_broken() {
    let thing = json!({ "title": "Shown", "type": "object", "properties": { "at": { "type": "integer", "minimum": 0, "maximum": 9 } }, "required": ["at"] });
    let tree =
        |file: &str, schema: &Value| Tree::from([(format!("dialects/x/{file}.schema.json"), schema.to_string())]);
    let mut wider = thing.clone();
    wider["properties"]["at"]["maximum"] = json!(10);
    let changes = compared(&tree("frame", &thing), &tree("frame", &wider)).changes;
    assert_eq!(told(&changes), [("Shown.at", "widened", Severity::Major, Refuses, Accepts)]);
    assert_eq!((changes[0].role, changes[0].file.as_str()), (Role::Events, "dialects/x/frame.schema.json"));
    for written_by_clients in ["command", "client", "publish"] {
        let changes = compared(&tree(written_by_clients, &thing), &tree(written_by_clients, &wider)).changes;
        assert_eq!(changes[0].role, Role::Requests);
    }
    // A dialect tells its frames apart in its own way; one more is an event more.
    let frames = |names: &[&str]| {
        let union: Vec<Value> = names.iter().map(|name| json!({ "$ref": format!("#/$defs/{name}") })).collect();
        let all: serde_json::Map<String, Value> = names
            .iter()
            .map(|name| {
                let event =
                    json!({ "type": "object", "properties": { "event": { "const": name } }, "required": ["event"] });
                ((*name).to_owned(), event)
            })
            .collect();
        json!({ "title": "Frame", "oneOf": union, "$defs": all })
    };
    let changes = compared(&tree("server", &frames(&["A", "B"])), &tree("server", &frames(&["A", "B", "C"]))).changes;
    assert_eq!(told(&changes), [("C", "added", Severity::Minor, Copes, Accepts)]);
    let changes = compared(&tree("client", &frames(&["A", "B", "C"])), &tree("client", &frames(&["A", "B"]))).changes;
    assert_eq!(told(&changes), [("C", "removed", Severity::Major, Accepts, Refuses)]);
    let changes = compared(&tree("frame", &thing), &tree("frames", &thing)).changes;
    let kinds: Vec<_> = changes.iter().map(|it| (it.kind, it.severity)).collect();
    assert_eq!(kinds, [("removed", Severity::Major)], "without an index, the files that are there count");
    let with_index = |file: &str| {
        let mut tree = tree(file, &thing);
        tree.insert("index.json".to_owned(), "{}".to_owned());
        tree
    };
    let changes = compared(&with_index("frame"), &with_index("frames")).changes;
    let kinds: Vec<_> = changes.iter().map(|it| (it.kind, it.severity)).collect();
    assert_eq!(kinds, [("removed", Severity::Major), ("added", Severity::Minor)]);
}

#[test]
fn a_definition_that_contains_itself_is_refused_by_name() {
    let tree = |schema: Value| {
        Snapshot::of_tree("a tree", &Tree::from([("x.schema.json".to_owned(), schema.to_string())])).unwrap()
    };
    let looped = json!({ "title": "X", "oneOf": [{ "$ref": "#/$defs/Node" }],
        "$defs": { "Node": { "type": "array", "items": { "$ref": "#/$defs/Node" } } } });
    let error = diff(&tree(looped.clone()), &tree(looped)).unwrap_err().to_string();
    assert_eq!(error, "a tree: x.schema.json: the definition Node contains itself");
}

// ---------------------------------------------------------------------------------------------------------------
// The command
// ---------------------------------------------------------------------------------------------------------------

fn run(arguments: &[&str], directory: &Path) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_eventwire-schemas")).args(arguments).current_dir(directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn write_tree(directory: &Path, tree: &Tree) {
    for (path, text) in tree {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn the_command_ends_with_zero_one_or_two() {
    let place = tempfile::tempdir().unwrap();
    let (old, mut new) = (published(), published());
    edit(&mut new, Role::Events, DATA, |it| drop_member(it, "mid"));
    write_tree(&place.path().join("old"), &old);
    write_tree(&place.path().join("new"), &new);
    let (code, text) = run(&["diff", "old", "old"], place.path());
    assert_eq!((code, text.as_str()), (Some(0), "compatible: 0 major, 0 minor, 0 patch\n"));
    let (code, text) = run(&["diff", "old", "new"], place.path());
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "major ChatFragmentData.mid: removed: an optional member is gone\n      \
         event.schema.json#/$defs/ChatFragmentData/properties/mid and in 3 more files\n      \
         old client, new server: misses; new client, old server: accepts\nbreaking: 1 major, 0 minor, 0 patch\n"
    );
    let (code, text) = run(&["diff", "old", "new", "--json"], place.path());
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["breaking"], &report["severity"]), (Some(1), &json!(true), &json!("major")));
    let change = &report["changes"][0];
    assert_eq!(
        (&change["old_reader_new_writer"], &change["new_reader_old_writer"]),
        (&json!("misses"), &json!("accepts"))
    );
    assert_eq!((&change["reader"], &change["writer"]), (&json!("client"), &json!("server")));
    std::fs::create_dir(place.path().join("empty")).unwrap();
    for wrong in ["nowhere", "empty", "git:no-such-revision", "git:--help", "old/index.json"] {
        let (code, text) = run(&["diff", wrong, "new"], place.path());
        assert_eq!(code, Some(2), "{wrong}: {text}");
        assert!(text.starts_with("eventwire-schemas: "), "{text}");
    }
}

#[test]
fn a_revision_of_a_checkout_is_read_without_checking_it_out() {
    let place = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").args(identity).args(arguments).current_dir(place.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (old, mut new) = (published(), published());
    edit(&mut new, Role::Events, DATA, |it| drop_member(it, "mid"));
    git(&["init", "-q", "."]);
    write_tree(&place.path().join("schemas/v1"), &old);
    git(&["add", "."]);
    git(&["commit", "-qm", "old"]);
    write_tree(&place.path().join("schemas/v1"), &new);
    let (code, text) = run(&["diff", "git:HEAD", "schemas/v1"], place.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("ChatFragmentData.mid: removed"), "{text}");
    let (code, text) = run(&["diff", "git:HEAD", "../v1"], &place.path().join("schemas/v1"));
    assert_eq!(code, Some(1), "from inside: {text}");
    let (code, text) = run(&["diff", "git:HEAD:schemas/v1", "git:HEAD"], place.path());
    assert_eq!(code, Some(0), "{text}");
}

// ---------------------------------------------------------------------------------------------------------------
// Soundness
// ---------------------------------------------------------------------------------------------------------------

const PATTERNS: &[&str] = &[
    "^[a-z]{1,3}$",
    "^[a-z]{1,2}$",
    "^(a|b)+$",
    "^[ab]{1,4}$",
    "^user:[a-z]{1,4}$",
    "^(user:[a-z]{1,4}|global)$",
    "^[^a]{0,2}$",
];
const WORDS: &[&str] = &["a", "b", "ab", "late", "lost", "", "user:a"];
const NAMES: &[&str] = &["a", "b", "c", "d"];

/// A schema of the profile's keywords. References lead to definitions with lower numbers only.
fn schema(dice: &mut Dice, definitions: usize, depth: usize) -> Value {
    let mut kind = dice.below(if depth == 0 { 6 } else { 9 });
    if definitions == 0 && kind == 8 {
        kind = 7;
    }
    match kind {
        0 => json!({ "type": "boolean" }),
        1 => {
            let least = dice.below(8) as i64 - 4;
            json!({ "type": "integer", "minimum": least, "maximum": least + dice.below(8) as i64 })
        }
        2 => {
            let mut number = json!({ "type": "number" });
            if dice.chance(2) {
                number["minimum"] = json!(dice.below(8) as f64 / 2.0 - 2.0);
            }
            if dice.chance(2) {
                number["maximum"] = json!(2.0 + dice.below(8) as f64 / 2.0);
            }
            number
        }
        3 => {
            let count = 1 + dice.below(4);
            let mut values: Vec<&str> = (0..count).map(|_| *dice.pick(WORDS)).collect();
            values.sort_unstable();
            values.dedup();
            json!({ "type": "string", "enum": values })
        }
        4 => json!({ "type": "string", "pattern": dice.pick(PATTERNS) }),
        5 => {
            let mut text = json!({ "type": "string" });
            if dice.chance(2) {
                text["maxLength"] = json!(dice.below(4));
            }
            if dice.chance(4) {
                text["minLength"] = json!(dice.below(2));
            }
            if dice.chance(6) {
                text = json!({ "type": "string", "format": "date-time" });
            }
            if dice.chance(6) {
                text["not"] = json!({ "enum": [dice.pick(WORDS), dice.pick(WORDS)] });
            }
            text
        }
        6 => {
            let mut array = json!({ "type": "array" });
            if !dice.chance(4) {
                array["items"] = schema(dice, definitions, depth - 1);
            }
            if dice.chance(2) {
                array["minItems"] = json!(dice.below(3));
            }
            if dice.chance(2) {
                array["maxItems"] = json!(2 + dice.below(3));
            }
            array
        }
        7 => object(dice, definitions, depth),
        _ => {
            let member = |at: usize| json!({ "$ref": format!("#/$defs/D{at}") });
            let count = 1 + dice.below(3);
            let mut members: Vec<usize> = (0..count).map(|_| dice.below(definitions)).collect();
            members.sort_unstable();
            members.dedup();
            match members.as_slice() {
                [only] if dice.chance(2) => member(*only),
                several => json!({ "oneOf": several.iter().map(|at| member(*at)).collect::<Vec<_>>() }),
            }
        }
    }
}

fn object(dice: &mut Dice, definitions: usize, depth: usize) -> Value {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    if dice.chance(2) {
        properties.insert("type".to_owned(), json!({ "const": dice.pick(WORDS) }));
        if !dice.chance(4) {
            required.push("type");
        }
    }
    for name in NAMES {
        if dice.chance(2) {
            properties.insert((*name).to_owned(), schema(dice, definitions, depth.saturating_sub(1)));
            if dice.chance(2) {
                required.push(*name);
            }
        }
    }
    let mut object = json!({ "type": "object" });
    if !properties.is_empty() || dice.chance(2) {
        object["properties"] = Value::Object(properties);
        object["required"] = json!(required);
    }
    match dice.below(6) {
        0 => object["additionalProperties"] = json!(true),
        1 => object["additionalProperties"] = json!(false),
        2 if dice.chance(2) => object["additionalProperties"] = schema(dice, definitions, 0),
        _ => {}
    }
    object
}

fn document(dice: &mut Dice) -> Value {
    let count = 1 + dice.below(4);
    let definitions: serde_json::Map<String, Value> =
        (0..count).map(|at| (format!("D{at}"), schema(dice, at, 2))).collect();
    let mut root = if dice.chance(2) { object(dice, count, 2) } else { schema(dice, count, 2) };
    root["title"] = json!("Root");
    root["$defs"] = Value::Object(definitions);
    root
}

/// Every schema in a document, by pointer.
fn places(schema: &Value, pointer: &str, found: &mut Vec<String>) {
    let Some(members) = schema.as_object() else { return };
    found.push(pointer.to_owned());
    for (keyword, inner) in members {
        match keyword.as_str() {
            "properties" | "$defs" => {
                for (name, inner) in inner.as_object().unwrap() {
                    places(inner, &format!("{pointer}/{keyword}/{name}"), found);
                }
            }
            "items" | "additionalProperties" => places(inner, &format!("{pointer}/{keyword}"), found),
            _ => {}
        }
    }
}

/// One change somewhere.
fn changed(document: &Value, dice: &mut Dice) -> Value {
    let mut document = document.clone();
    let mut all = Vec::new();
    places(&document, "", &mut all);
    let pointer = dice.pick(&all).clone();
    // How many definitions may be referred to from here.
    let reach = pointer.strip_prefix("/$defs/D").map_or(4, |rest| rest[..1].parse().unwrap());
    let definitions = document["$defs"].as_object().unwrap();
    let reach = (0..reach).take_while(|at| definitions.contains_key(&format!("D{at}"))).count();
    let place = document.pointer_mut(&pointer).unwrap();
    let shift = |dice: &mut Dice| if dice.chance(2) { 1.0 } else { -1.0 };
    match dice.below(8) {
        0 if !pointer.is_empty() => *place = schema(dice, reach, 1),
        1 => {
            let word = *dice.pick(&["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"]);
            if let Some(bound) = place.get_mut(word) {
                let moved = bound.as_f64().unwrap() + shift(dice);
                *bound =
                    if word.starts_with("min") && moved < 0.0 && word != "minimum" { json!(0) } else { json!(moved) };
                if !word.ends_with("mum") {
                    *bound = json!(bound.as_f64().unwrap().max(0.0) as u64);
                }
            } else {
                match place.get("type").and_then(Value::as_str) {
                    Some("string") => place["maxLength"] = json!(dice.below(4)),
                    Some("number") => place["maximum"] = json!(dice.below(4)),
                    Some("array") => place["maxItems"] = json!(dice.below(4)),
                    _ => {}
                }
            }
        }
        2 => {
            if let Some(values) = place.get_mut("enum").and_then(Value::as_array_mut) {
                if dice.chance(2) && values.len() > 1 {
                    values.pop();
                } else if !values.contains(&json!("more")) {
                    values.push(json!("more"));
                }
            }
            if place.get("pattern").is_some() {
                place["pattern"] = json!(dice.pick(PATTERNS));
            }
        }
        3 => {
            let name = *dice.pick(NAMES);
            if let Some(properties) = place.get_mut("properties").and_then(Value::as_object_mut) {
                if properties.shift_remove(name).is_none() {
                    properties.insert(name.to_owned(), schema(dice, reach, 1));
                }
                if dice.chance(2) {
                    toggle(place, name);
                }
            }
        }
        4 => {
            if place.get("properties").is_some() {
                let name = *dice.pick(NAMES);
                toggle(place, name);
            }
        }
        5 => {
            if place.get("type").is_some_and(|it| it == "object") {
                match dice.below(4) {
                    0 => place["additionalProperties"] = json!(true),
                    1 => place["additionalProperties"] = json!(false),
                    2 => place["additionalProperties"] = schema(dice, reach, 0),
                    _ => drop(place.as_object_mut().unwrap().shift_remove("additionalProperties")),
                }
            }
        }
        6 => {
            if let Some(members) = place.get_mut("oneOf").and_then(Value::as_array_mut)
                && reach > 0
            {
                let member = json!({ "$ref": format!("#/$defs/D{}", dice.below(reach)) });
                if members.contains(&member) && members.len() > 1 {
                    members.retain(|it| *it != member);
                } else if !members.contains(&member) {
                    members.push(member);
                }
            }
        }
        _ => {
            // The last definition under another name.
            let count = document["$defs"].as_object().unwrap().len();
            let (from, to) = (format!("D{}", count - 1), format!("D{}", count + 4));
            let renamed = document.to_string().replace(&format!("\"{from}\""), &format!("\"{to}\""));
            let renamed = renamed.replace(&format!("/{from}\""), &format!("/{to}\""));
            if from.len() == 2 && count + 4 < 10 {
                return serde_json::from_str(&renamed).unwrap();
            }
        }
    }
    document
}

fn toggle(object: &mut Value, name: &str) {
    let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) else {
        object["required"] = json!([name]);
        return;
    };
    if required.iter().any(|it| it == name) {
        required.retain(|it| it != name);
    } else {
        required.push(json!(name));
    }
}

/// What a writer may send: members that an object does not name are not sent, unless it says that there may be others.
fn as_written(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    for (keyword, inner) in members.iter_mut() {
        match (keyword.as_str(), inner) {
            ("properties" | "$defs", Value::Object(inner)) => inner.values_mut().for_each(as_written),
            ("items" | "additionalProperties", inner) => as_written(inner),
            _ => {}
        }
    }
    if members.get("type").is_some_and(|it| it == "object") && !members.contains_key("additionalProperties") {
        members.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// Values that are valid for a writer: made for it, made for the reader, and changed here and there.
fn sent(writer: &Value, reader: &Value, dice: &mut Dice) -> Vec<Value> {
    let valid = validator(writer);
    let mut values = Vec::new();
    for _ in 0..24 {
        let from = if dice.chance(4) { reader } else { writer };
        let mut value = instance(from, from, dice);
        if dice.chance(3) {
            let free = any_members(dice, 1);
            if let Some(members) = value.as_object_mut() {
                members.extend(free);
                let name = (*dice.pick(NAMES)).to_owned();
                members.insert(name, anything(dice, 1));
            }
        }
        if valid.is_valid(&value) {
            values.push(value);
        }
    }
    values
}

/// Counts what the property has looked at: safe verdicts, values behind them, unsafe verdicts.
#[derive(Clone, Copy, Default)]
struct Seen {
    safe: u64,
    values: u64,
    not_safe: u64,
    refuted: u64,
}

fn check(seed: u64) -> Result<Seen, TestCaseError> {
    let dice = &mut Dice::new(seed);
    let old = document(dice);
    let mut new = old.clone();
    for _ in 0..dice.below(4) {
        new = changed(&new, dice);
    }
    let snapshot = |document: &Value| {
        Snapshot::of_tree("x", &Tree::from([("thing.schema.json".to_owned(), document.to_string())])).unwrap()
    };
    let report = diff(&snapshot(&old), &snapshot(&new)).unwrap();
    let mut seen = Seen::default();
    let by_old: fn(&Change) -> Effect = |change| change.old_reader;
    let by_new: fn(&Change) -> Effect = |change| change.new_reader;
    for (reader, writer, effect, direction) in
        [(&old, &new, by_old, "old reader, new writer"), (&new, &old, by_new, "new reader, old writer")]
    {
        let is_safe = report.changes.iter().all(|change| matches!(effect(change), Accepts | Misses));
        let mut written = writer.clone();
        as_written(&mut written);
        let accepts = validator(reader);
        let values = sent(&written, reader, dice);
        if !is_safe {
            seen.not_safe += 1;
            seen.refuted += u64::from(values.iter().any(|value| !accepts.is_valid(value)));
            continue;
        }
        seen.safe += u64::from(old != new);
        for value in values {
            seen.values += u64::from(old != new);
            prop_assert!(
                accepts.is_valid(&value),
                "seed {seed}, {direction}: called safe, but {value} is refused\nold {old}\nnew {new}\n{:?}",
                report.changes
            );
        }
    }
    Ok(seen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_called_safe_is_never_refused(seed in any::<u64>()) {
        check(seed)?;
    }
}

#[test]
fn the_property_looks_at_enough_of_both_verdicts() {
    let mut all = Seen::default();
    for seed in 0..400 {
        let seen = check(seed).unwrap();
        all.safe += seen.safe;
        all.values += seen.values;
        all.not_safe += seen.not_safe;
        all.refuted += seen.refuted;
    }
    let Seen { safe, values, not_safe, refuted } = all;
    println!("safe {safe}, values {values}, not safe {not_safe}, of which a value proves it {refuted}");
    assert!(safe > 60 && values > 400, "too few changes that are called safe: {safe}, {values} values");
    // Not complete, but not a prophet of doom either.
    assert!(refuted * 3 > not_safe, "of {not_safe} verdicts that something is refused, values prove only {refuted}");
}
