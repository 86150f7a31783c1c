//! The suite about itself: its files, its ids, its rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use eventwire_conformance::{
    case::{Case, Need, Step},
    cases::{FILES, all},
    principals::{NOBODY, OPERATOR, Principals},
    run::derived_needs,
};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cases() -> Vec<Case> {
    all().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_file_satisfies_the_schema_and_the_schema_refuses_mistakes() {
    let schema: Value = serde_json::from_str(&fs::read_to_string(root().join("cases.schema.json")).unwrap()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (name, text) in FILES {
        let file: Value = serde_json::from_str(text).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    let good: Value = serde_json::from_str(FILES[0].1).unwrap();
    let spoilt = |pointer: &str, value: Value| {
        let mut file = good.clone();
        *file.pointer_mut(pointer).unwrap() = value;
        !validator.is_valid(&file)
    };
    assert!(spoilt("/cases/0/id", "route-1".into()));
    assert!(spoilt("/cases/0/level", "maybe".into()));
    assert!(spoilt("/cases/0/steps/0", serde_json::json!({"connect": {"client": "a", "ass": "alice"}})));
    assert!(spoilt("/cases/0/steps/0", serde_json::json!({"conect": {"client": "a"}})));
}

#[test]
fn the_embedded_list_is_the_directory() {
    let mut found: Vec<String> = fs::read_dir(root().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut listed: Vec<String> = FILES.iter().map(|(name, _)| format!("{name}.json")).collect();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn ids_are_unique_and_begin_with_their_rule() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        assert!(case.id.starts_with(&format!("{}-", case.rule)), "{}", case.id);
        assert!(seen.insert(case.id.clone()), "{} stands twice", case.id);
    }
}

#[test]
fn every_rule_that_a_case_names_is_in_the_specification() {
    let mut rules = BTreeSet::new();
    for entry in fs::read_dir(root().join("../docs/spec")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        rules.extend(text.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned));
    }
    assert!(rules.len() > 40, "the specification was not found");
    let unknown: Vec<_> = cases().into_iter().filter(|case| !rules.contains(&case.rule)).map(|case| case.id).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_case_says_what_it_needs() {
    for case in cases() {
        let stated: BTreeSet<Need> = case.needs.iter().copied().collect();
        assert!(stated.is_superset(&derived_needs(&case)), "{} needs {:?}", case.id, derived_needs(&case));
    }
}

#[test]
fn principals_exist_and_are_told_apart() {
    let principals = Principals::builtin().unwrap();
    assert_eq!(principals.named(OPERATOR).unwrap().permissions.len(), 4);
    let tokens: BTreeSet<_> = principals.known().map(|principal| &principal.token).collect();
    assert_eq!(tokens.len(), principals.known().count());
    for case in cases() {
        for step in &case.steps {
            let principal = match step {
                Step::Connect(connect) => &connect.principal,
                Step::Publish(publish) => &publish.principal,
                Step::Http(http) => &http.principal,
                _ => continue,
            };
            if let Some(name) = principal {
                assert!(name == NOBODY || principals.named(name).is_some(), "{}: {name}", case.id);
            }
        }
    }
}

#[test]
fn every_case_ends_in_a_proof_and_expects_something() {
    for case in cases() {
        let expects = case.steps.iter().any(|step| {
            !matches!(step, Step::Connect(connect) if connect.refused.is_none() && connect.greeting.is_none())
                && !matches!(step, Step::Drop(_) | Step::Raw(_))
        });
        assert!(expects, "{} only connects", case.id);
    }
}

#[test]
fn routing_and_resume_have_forty_cases() {
    let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, text) in FILES {
        let file: Value = serde_json::from_str(text).unwrap();
        assert_eq!(file["topic"], **name);
        topics.insert(name, file["cases"].as_array().unwrap().len());
    }
    assert!(topics["routing"] + topics["resume"] >= 40, "{topics:?}");
}
