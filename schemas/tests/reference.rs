//! The generated pages of docs/reference: complete, linked, and every JSON on them is what its schema says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use eventwire_protocol::catalog::EventType;
use eventwire_protocol::{CloseCode, Dialect, ErrorCode};
use eventwire_schemas::dialects::{self, Tag, tag_of};
use eventwire_schemas::source::Source;
use eventwire_schemas::{DriftKind, Tree, drift, generate, reference, write};
use serde_json::{Map, Value, json};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The committed pages.
fn pages() -> Tree {
    let generated = reference::pages(&Source::read().unwrap()).unwrap();
    generated
        .into_keys()
        .map(|path| (path.clone(), std::fs::read_to_string(workspace().join(&path)).unwrap()))
        .collect()
}

/// The section of an event on the page of its family.
fn section(pages: &Tree, event_type: EventType) -> String {
    let spec = event_type.spec();
    let page = &pages[&format!("{}/{}.md", reference::FOLDER, spec.family)];
    let (_, from) = page.split_once(&format!("\n## {}\n", spec.name)).unwrap_or_else(|| panic!("{event_type}"));
    from.split("\n## ").next().unwrap().to_owned()
}

/// The blocks of JSON in a text.
fn blocks(text: &str) -> Vec<Value> {
    text.split("```json\n").skip(1).map(|it| serde_json::from_str(it.split("\n```").next().unwrap()).unwrap()).collect()
}

#[test]
fn every_event_has_a_row_in_the_overview_and_a_section_on_the_page_of_its_family() {
    let pages = pages();
    for event_type in EventType::ALL {
        let spec = event_type.spec();
        assert_eq!(pages[reference::PATH].matches(&format!("| [`{}`](", spec.name)).count(), 1, "{event_type}");
        let page = &pages[&format!("{}/{}.md", reference::FOLDER, spec.family)];
        assert_eq!(page.matches(&format!("\n## {}\n", spec.name)).count(), 1, "{event_type}");
        let section = section(&pages, *event_type);
        for part in
            ["- For: ", "- Delivery: ", "- Schema: ", "**Fields of `data`**", "**Example**", "**In the older systems**"]
        {
            assert_eq!(section.matches(part).count(), 1, "{event_type}: {part}");
        }
        for audience in spec.audiences {
            assert!(section.contains(audience.as_str()), "{event_type}");
        }
        if let Some(key) = spec.delivery.key().filter(|key| !key.is_empty()) {
            assert!(section.contains(&format!("by `{key}`")), "{event_type}: {key}");
        }
    }
}

#[test]
fn every_member_of_a_payload_is_in_the_table_of_its_event() {
    let (pages, source) = (pages(), Source::read().unwrap());
    for event in &source.events {
        let section = section(&pages, event.spec.event_type);
        let payload = &source.sent[&event.data_name()];
        let table = section.split("**Fields of `data`**").nth(1).unwrap().split("**Example**").next().unwrap();
        let members: Vec<&String> =
            payload.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name).collect();
        for member in &members {
            assert_eq!(table.matches(&format!("\n| `{member}` | ")).count(), 1, "{}: {member}", event.spec.name);
        }
        assert_eq!(table.matches("\n| `").count(), members.len(), "{}", event.spec.name);
    }
}

#[test]
fn what_an_event_shows_of_older_systems_fits_their_schemas_and_says_who_is_not_told() {
    let pages = pages();
    let read = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(workspace().join("schemas/v1").join(path)).unwrap()).unwrap()
    };
    let root = jsonschema::draft202012::new(&read("event.schema.json")).unwrap();
    let servers: BTreeMap<&str, jsonschema::Validator> = dialects::dialects()
        .map(|dialect| {
            let path = format!("dialects/{}/server.schema.json", dialect.as_str());
            (dialect.as_str(), jsonschema::draft202012::new(&read(&path)).unwrap())
        })
        .collect();
    let mut shown = 0;
    for event_type in EventType::ALL {
        let section = section(&pages, *event_type);
        let (own, older) = section.split_once("**In the older systems**").unwrap();
        for example in blocks(own) {
            assert!(root.is_valid(&example), "{event_type}: {example}");
        }
        for dialect in dialects::dialects() {
            let kind = eventwire_protocol::EventKind::Known(*event_type);
            let heading = format!("(`{}`) reads", dialect.as_str());
            let said = older.split(&heading).nth(1);
            if !dialect.supports(&kind) {
                assert!(said.is_none(), "{event_type} {}", dialect.as_str());
                if dialect.family() == dialect {
                    assert!(
                        older.split("Not told: ").nth(1).unwrap().contains(dialects::system(dialect)),
                        "{event_type}"
                    );
                }
                continue;
            }
            // A variant that says the same is not shown again.
            let Some(said) = said else {
                assert_ne!(dialect.family(), dialect, "{event_type} {}", dialect.as_str());
                continue;
            };
            let said = said.split("`) reads").next().unwrap();
            let Some(frame) = blocks(said).into_iter().next() else { panic!("{event_type} {}", dialect.as_str()) };
            let described = match tag_of(dialect) {
                Tag::Member(_) => frame.clone(),
                Tag::EventName => {
                    Value::Object(Map::from_iter([(frame[0].as_str().unwrap().to_owned(), frame[1].clone())]))
                }
            };
            assert!(servers[dialect.as_str()].is_valid(&described), "{event_type} {}: {frame}", dialect.as_str());
            shown += 1;
        }
    }
    assert!(shown > 130, "{shown}");
}

#[test]
fn every_code_and_every_command_is_on_its_page() {
    let pages = pages();
    for code in ErrorCode::ALL {
        let row = format!("\n| `{code}` | {} | ", code.http_status());
        assert_eq!(pages[reference::ERRORS].matches(&row).count(), 1, "{code}");
    }
    for code in CloseCode::ALL {
        assert_eq!(pages[reference::ERRORS].matches(&format!("\n| {} | ", code.as_u16())).count(), 1, "{code:?}");
    }
    for command in Source::read().unwrap().commands {
        assert_eq!(
            pages[reference::COMMANDS].matches(&format!("\n## {}\n", command.name)).count(),
            1,
            "{}",
            command.name
        );
    }
    for dialect in dialects::dialects().filter(|dialect| dialect.family() == *dialect) {
        let path = format!("dialects/{}/client.schema.json", dialect.as_str());
        assert!(pages[reference::COMMANDS].contains(&path), "{path}");
    }
    assert_eq!(Dialect::ALL.len(), 9, "a dialect more needs the name of its system");
}

// ---------------------------------------------------------------------------------------------------------------
// Links
// ---------------------------------------------------------------------------------------------------------------

/// The places that a page can be linked to.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let headings = page.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            text.chars().filter(|letter| letter.is_alphanumeric() || "_-".contains(*letter)).collect()
        })
        .collect()
}

/// The targets of the links in a page, outside of code.
fn links(page: &str) -> Vec<String> {
    let mut is_code = false;
    let lines = page.lines().filter(|line| {
        is_code ^= line.trim_start().starts_with("```");
        !is_code
    });
    lines
        .flat_map(|line| {
            line.split("](").skip(1).map(|it| it.split(')').next().unwrap().to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

fn broken(from: &Path, target: &str) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    if !file.exists() {
        return Some(format!("{}: {target}: no such file", from.display()));
    }
    if !anchor.is_empty() && !anchors(&std::fs::read_to_string(&file).unwrap()).contains(anchor) {
        return Some(format!("{}: {target}: no such section", from.display()));
    }
    None
}

#[test]
fn every_link_on_the_pages_and_to_the_pages_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, page) in pages() {
        for target in links(&page) {
            seen += 1;
            wrong.extend(broken(&workspace().join(&path), &target));
        }
    }
    assert!(seen > 500, "{seen} links");
    // And from the other pages.
    let mut folders = vec![workspace().join("docs"), workspace().join("schemas")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                let page = std::fs::read_to_string(&path).unwrap();
                let to_here = |it: &String| {
                    ["events.md", "events/", "commands.md", "errors.md", "limits.md"]
                        .iter()
                        .any(|name| it.contains(&format!("reference/{name}")))
                };
                wrong.extend(links(&page).into_iter().filter(to_here).filter_map(|it| broken(&path, &it)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_page_that_was_edited_or_that_nothing_generates_is_drift() {
    let directory = tempfile::tempdir().unwrap();
    let (root, published) = (directory.path(), generate().unwrap());
    write(&published, root).unwrap();
    std::fs::write(root.join(reference::ERRORS), "by hand").unwrap();
    std::fs::write(root.join(reference::FOLDER).join("gone.md"), "old").unwrap();
    let found: Vec<(String, DriftKind)> =
        drift(&published, root).unwrap().into_iter().map(|it| (it.path, it.kind)).collect();
    assert_eq!(
        found,
        [
            (reference::ERRORS.to_owned(), DriftKind::Differs { line: 1 }),
            (format!("{}/gone.md", reference::FOLDER), DriftKind::Stale),
        ]
    );
    let changes = write(&published, root).unwrap();
    assert_eq!((changes.written.len(), changes.removed.len()), (1, 1));
    assert_eq!(json!(drift(&published, root).unwrap().len()), json!(0));
}
