//! Ties the rules of `docs/spec` to what makes them true and to what checks them.
//!
//! With `EVENTWIRE_SPEC=update` the lists of what checks each rule are written anew, from the names of test functions and
//! the cases of the conformance suite.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const GROUPS: &[&str] = &[
    "ENV", "EVT", "ROUTE", "LOG", "FLOW", "CMD", "AUTH", "WS", "SSE", "SIO", "HTTP", "LIMIT", "VER", "MON", "PRD",
    "CTX", "ADW", "DOC",
];

/// Where ids are cited, and tests are.
const SOURCES: &[&str] = &["protocol", "transports", "conformance", "schemas", "docs"];

/// How many tests and how many cases are listed for a rule; a search for the id finds the others.
const LISTED: usize = 4;

/// Rules whose checks are still to be written. A rule that has become checked must leave this list.
const AWAITED: &[&str] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[derive(Debug)]
struct Rule {
    id: String,
    file: PathBuf,
    text: String,
    /// What stands in backquotes behind *Checked by*.
    checked_by: Vec<String>,
}

/// Reads the rules of one page.
fn rules(file: &Path) -> Vec<Rule> {
    let page = fs::read_to_string(file).unwrap();
    let sections = page.split("\n### ").skip(1);
    let rule = |section: &str| {
        let (id, rest) = section.split_once('\n').unwrap_or_else(|| panic!("{}: an empty rule", file.display()));
        let (text, checked_by) = rest.split_once("Checked by:").unwrap_or((rest, ""));
        let checked_by = checked_by.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Rule { id: id.to_owned(), file: file.to_owned(), text: text.trim().to_owned(), checked_by }
    };
    sections.map(rule).collect()
}

fn all_rules() -> Vec<Rule> {
    GROUPS.iter().flat_map(|group| rules(&root().join(format!("docs/spec/{group}.md")))).collect()
}

/// Every text file of the sources, with its path from the root.
fn texts() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "node_modules"].contains(&name.as_str()) && !name.starts_with('.') {
                walk(&path, found);
            }
            let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
            if ["rs", "json", "js", "mjs", "py", "html", "md", "toml"].contains(&extension) {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    // `conformance/src/target` is a module, not a folder that is built into.
    walk(&root().join("conformance/src/target"), &mut files);
    for folder in SOURCES {
        walk(&root().join(folder), &mut files);
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).ok()?;
        Some((path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"), text))
    };
    files.into_iter().filter_map(read).collect()
}

/// The ids in a text: a group, a dash and two digits, with nothing that makes it a part of another word.
fn cited(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for group in GROUPS {
        for (at, _) in text.match_indices(&format!("{group}-")) {
            let digits: String = text[at + group.len() + 1..].chars().take_while(char::is_ascii_digit).collect();
            let before = text[..at].chars().next_back();
            if digits.len() == 2 && before.is_none_or(|before| !before.is_ascii_alphanumeric() && before != '-') {
                ids.insert(format!("{group}-{digits}"));
            }
        }
    }
    ids
}

/// The ids that the name of a test claims: `log_06_07_x`, `auth_02_and_03_x`, `flow_01_to_04_x`, `log_09_x_and_log_08_y`.
fn claimed(name: &str) -> BTreeSet<String> {
    let number = |word: &str| (word.len() == 2).then(|| word.parse::<u8>().ok()).flatten();
    let words: Vec<&str> = name.split('_').collect();
    let mut ids = BTreeSet::new();
    let mut group = None;
    let mut last = None;
    for (at, word) in words.iter().enumerate() {
        let known = GROUPS.iter().find(|group| group.eq_ignore_ascii_case(word));
        match (known, number(word)) {
            (Some(known), _) if words.get(at + 1).is_some_and(|next| number(next).is_some()) => group = Some(known),
            (_, Some(number)) if group.is_some() => {
                let first = if at > 0 && words[at - 1] == "to" { last.unwrap_or(number) } else { number };
                ids.extend((first..=number).map(|number| format!("{}-{number:02}", group.unwrap())));
                last = Some(number);
            }
            _ if ["and", "to"].contains(word) => {}
            _ => group = None,
        }
    }
    ids
}

/// What checks each rule: names of test functions, with their files, and ids of conformance cases.
fn checks(texts: &[(String, String)]) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let mut checks: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
        for line in text.lines().map(str::trim) {
            let line = line.strip_prefix("async ").unwrap_or(line);
            let Some(rest) = line.strip_prefix("fn ") else { continue };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            for id in claimed(&name) {
                checks.entry(id).or_default().0.push(format!("{path}::{name}"));
            }
        }
    }
    for (path, text) in texts.iter().filter(|(path, _)| path.starts_with("conformance/cases/")) {
        let Ok(file) = serde_json::from_str::<serde_json::Value>(text) else { continue };
        for case in file["cases"].as_array().into_iter().flatten() {
            let (id, rule) = (case["id"].as_str().unwrap(), case["rule"].as_str().unwrap());
            assert!(id.starts_with(rule), "{path}: case {id} is not named after its rule, {rule}");
            checks.entry(rule.to_owned()).or_default().1.push(id.to_owned());
        }
    }
    checks
}

#[test]
fn every_rule_has_a_well_formed_id_of_its_page_and_a_text() {
    let rules = all_rules();
    assert!(rules.len() > 70, "{}", rules.len());
    let mut seen = BTreeSet::new();
    for rule in &rules {
        let group = rule.file.file_stem().unwrap().to_str().unwrap();
        assert_eq!(cited(&rule.id), BTreeSet::from([rule.id.clone()]), "{}: not an id", rule.file.display());
        assert!(rule.id.starts_with(&format!("{group}-")), "{} stands on the page of {group}", rule.id);
        assert!(seen.insert(&rule.id), "{} stands twice", rule.id);
        assert!(rule.text.ends_with('.') && rule.text.len() > 20, "{} says too little: {:?}", rule.id, rule.text);
    }
    assert!(rules.windows(2).all(|pair| pair[0].file != pair[1].file || pair[0].id < pair[1].id), "out of order");
    let index = fs::read_to_string(root().join("docs/spec/README.md")).unwrap();
    assert!(GROUPS.iter().all(|group| index.contains(&format!("[{group}]({group}.md)"))));
}

#[test]
fn every_id_that_is_cited_anywhere_has_a_rule() {
    let known: BTreeSet<String> = all_rules().into_iter().map(|rule| rule.id).collect();
    let mut unknown = Vec::new();
    let texts = texts();
    assert!(texts.iter().any(|(path, _)| path.starts_with("transports/")));
    for (path, text) in &texts {
        let names = text.lines().filter_map(|line| line.trim().split("fn ").nth(1)).flat_map(claimed);
        for id in cited(text).into_iter().chain(names).filter(|id| !known.contains(id)) {
            unknown.push(format!("{id} in {path}"));
        }
    }
    assert_eq!(unknown, Vec::<String>::new(), "cited, but no rule of docs/spec");
}

#[test]
fn every_rule_is_checked_by_something_that_exists() {
    let texts = texts();
    let checks = checks(&texts);
    if std::env::var_os("EVENTWIRE_SPEC").is_some_and(|it| it == "update") {
        update(&checks);
    }
    let mut wrong = Vec::new();
    for rule in all_rules() {
        let awaited = AWAITED.contains(&rule.id.as_str());
        let Some((tests, cases)) = checks.get(&rule.id) else {
            wrong.extend((!awaited).then(|| format!("{}: nothing checks it", rule.id)));
            continue;
        };
        if awaited {
            wrong.push(format!("{}: it is checked now and no longer awaited", rule.id));
        }
        if rule.checked_by.is_empty() {
            wrong.push(format!("{}: names nothing that checks it", rule.id));
        }
        for name in rule.checked_by.iter().filter(|name| !tests.contains(name) && !cases.contains(name)) {
            wrong.push(format!("{}: {name} is not there, or does not claim to check it", rule.id));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "EVENTWIRE_SPEC=update writes the lists anew");
}

/// Writes the lists of what checks each rule.
fn update(checks: &BTreeMap<String, (Vec<String>, Vec<String>)>) {
    for group in GROUPS {
        let file = root().join(format!("docs/spec/{group}.md"));
        let page = fs::read_to_string(&file).unwrap();
        let head = page.split("\n### ").next().unwrap().trim_end().to_owned();
        let sections = rules(&file).into_iter().map(|rule| {
            let (tests, cases) = checks.get(&rule.id).cloned().unwrap_or_default();
            let listed = tests.iter().take(LISTED).chain(cases.iter().take(LISTED));
            let list: Vec<String> = listed.map(|name| format!("`{name}`")).collect();
            let list = if list.is_empty() { "nothing yet".to_owned() } else { list.join(",\n") };
            format!("\n### {}\n\n{}\n\nChecked by: {list}.\n", rule.id, rule.text)
        });
        fs::write(&file, format!("{head}\n{}", sections.collect::<String>())).unwrap();
    }
}

#[test]
fn ver_01_the_version_stands_in_the_subprotocol_and_in_every_schema_id() {
    use eventwire_protocol::version;
    assert_eq!(version::PROTOCOL, "v1");
    assert_eq!(version::SUBPROTOCOL, "eventwire.v1");
    let texts = texts();
    let ids: Vec<String> = texts
        .iter()
        .filter(|(path, _)| path.starts_with("schemas/v1/") && path.ends_with(".schema.json"))
        .map(|(path, text)| {
            let schema: serde_json::Value = serde_json::from_str(text).unwrap();
            schema["$id"].as_str().unwrap_or_else(|| panic!("{path} has no $id")).to_owned()
        })
        .collect();
    assert!(ids.len() > 30, "{}", ids.len());
    for id in ids {
        assert!(id.split([':', '/']).any(|part| part == version::PROTOCOL), "{id}");
    }
}

#[test]
fn names_of_tests_are_read_as_they_are_meant() {
    let ids = |name| claimed(name).into_iter().collect::<Vec<_>>();
    assert_eq!(ids("log_06_07_x"), ["LOG-06", "LOG-07"]);
    assert_eq!(ids("auth_02_and_03_a_host"), ["AUTH-02", "AUTH-03"]);
    assert_eq!(ids("flow_01_to_04_a_mailbox"), ["FLOW-01", "FLOW-02", "FLOW-03", "FLOW-04"]);
    assert_eq!(ids("sse_07_and_flow_08_a_server"), ["FLOW-08", "SSE-07"]);
    assert_eq!(ids("log_09_the_same_id_and_log_08_a_fence"), ["LOG-08", "LOG-09"]);
    assert_eq!(ids("flow_07_over_10_seconds"), ["FLOW-07"]);
    assert_eq!(ids("the_log_is_long"), Vec::<String>::new());
    assert_eq!(ids("ws_05"), ["WS-05"]);
}
