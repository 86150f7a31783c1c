//! The compatibility gate: what breaks is announced and has a version that permits it, or it does not pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use eventwire_schemas::gate::{judge, judge_workspace, release_tree};
use eventwire_schemas::snapshot::{RELEASED, Snapshot};
use eventwire_schemas::{CHANGELOG, DIRECTORY, Tree, committed};
use serde_json::{Value, json};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What is committed, as if it were some version.
fn published(version: &str) -> Tree {
    let mut tree = committed(&workspace()).unwrap();
    tree.retain(|path, _| !path.starts_with("flavors/") && !path.starts_with("examples/"));
    edit(&mut tree, "index.json", |index| index["version"] = json!(version));
    tree
}

fn edit(tree: &mut Tree, path: &str, change: impl FnOnce(&mut Value)) {
    let mut file: Value = serde_json::from_str(&tree[path]).unwrap();
    let before = file.clone();
    change(&mut file);
    if file != before {
        tree.insert(path.to_owned(), file.to_string());
    }
}

fn edit_all(tree: &mut Tree, name: &str, change: impl Fn(&mut Value)) {
    for path in tree.keys().cloned().collect::<Vec<_>>() {
        if path.starts_with("event") || path.starts_with("incoming") {
            edit(tree, &path, |file| {
                if let Some(definition) = file["$defs"].get_mut(name) {
                    change(definition);
                }
            });
        }
    }
}

fn changelog(version: &str, lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("- {line}\n")).collect();
    format!("# Changes\n\n## {version} (unreleased)\n\n{}\n## 0.1.0\n\n- The first.\n", lines.concat())
}

/// The problems of a tree behind the released 0.1.0.
fn problems(tree: &Tree, changelog: &str) -> Vec<String> {
    problems_after("0.1.0", tree, changelog)
}

fn problems_after(released: &str, tree: &Tree, changelog: &str) -> Vec<String> {
    let released = Snapshot::of_tree("released", &published(released)).unwrap();
    let released = Snapshot::of_baseline("released", &released.baseline().unwrap()).unwrap();
    judge(&released, &Snapshot::of_tree("new", tree).unwrap(), changelog).unwrap().problems
}

const REMOVED: &str = "breaking: event.schema.json#/$defs/ChatFragmentData/properties/mid: removed";

fn without_a_member(version: &str) -> Tree {
    let mut tree = published(version);
    edit_all(&mut tree, "ChatFragmentData", |it| {
        it["properties"].as_object_mut().unwrap().shift_remove("mid");
    });
    tree
}

#[test]
fn what_is_committed_may_follow_what_is_released() {
    let judgment = judge_workspace(&workspace()).unwrap();
    assert!(judgment.problems.is_empty(), "{}", judgment.problems.join("\n"));
}

#[test]
fn nothing_changed_needs_nothing() {
    assert_eq!(problems(&published("0.1.0"), "# Changes\n\n## 0.1.0\n\n- The first.\n"), [""; 0]);
}

#[test]
fn each_breaking_change_closes_the_gate_until_it_is_announced() {
    let removed: fn(&mut Value) = |it| drop(it["properties"].as_object_mut().unwrap().shift_remove("mid"));
    let narrowed: fn(&mut Value) = |it| it["properties"]["sequence"]["maximum"] = json!(1000);
    let required: fn(&mut Value) = |it| {
        it["properties"]["later"] = json!({ "type": "string" });
        it["required"].as_array_mut().unwrap().push(json!("later"));
    };
    let place = "event.schema.json#/$defs/ChatFragmentData/properties";
    for (change, line) in [
        (removed, REMOVED.to_owned()),
        (narrowed, format!("breaking: {place}/sequence/maximum: narrowed")),
        (required, format!("breaking: {place}/later: added_required")),
    ] {
        let mut tree = published("0.2.0");
        edit_all(&mut tree, "ChatFragmentData", change);
        let found = problems(&tree, &changelog("0.2.0", &["Something."]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("not announced: ChatFragmentData.") && found[0].ends_with(&line), "{found:?}");
        assert_eq!(problems(&tree, &changelog("0.2.0", &[&line])), [""; 0]);
        assert_eq!(problems(&tree, &changelog("0.2.0", &[&format!("`{line}`")])), [""; 0], "as code");
        // Where the change is the same in another file, that is as good a name for it.
        let other = line.replace("event.schema.json", "events/chat.fragment.schema.json");
        assert_eq!(problems(&tree, &changelog("0.2.0", &[&other])), [""; 0]);
        // Not for another kind of change, and not in an older entry.
        let other = line.rsplit_once(": ").unwrap().0.to_owned() + ": renamed";
        assert_eq!(problems(&tree, &changelog("0.2.0", &[&other])).len(), 2);
        let older = changelog("0.2.0", &[]) + &format!("- {line}\n");
        assert_eq!(problems(&tree, &older).len(), 1);
    }
}

#[test]
fn renaming_a_definition_closes_the_gate() {
    let mut tree = published("0.2.0");
    for text in tree.values_mut() {
        *text = text.replace("ChatFragmentData", "ChatPieceData");
    }
    let found = problems(&tree, &changelog("0.2.0", &[]));
    assert_eq!(found.len(), 2, "for those who read it and for those who write it: {found:?}");
    assert!(found[0].contains("`ChatFragmentData` is called `ChatPieceData` now"), "{}", found[0]);
    let lines = ["event", "publish"].map(|file| format!("breaking: {file}.schema.json#/$defs/ChatPieceData: renamed"));
    assert_eq!(problems(&tree, &changelog("0.2.0", &[&lines[0], &lines[1]])), [""; 0]);
}

#[test]
fn the_version_must_permit_what_changed() {
    let announced = |version: &str| changelog(version, &[REMOVED]);
    let found = problems(&without_a_member("0.1.1"), &announced("0.1.1"));
    assert_eq!(found, ["a breaking change since 0.1.0 needs 0.2.0, not 0.1.1"]);
    let found = problems(&without_a_member("0.1.0"), &announced("0.1.0"));
    assert_eq!(found, ["the schemas changed since 0.1.0; the version is 0.1.0 and must be higher"]);
    let found = problems_after("1.4.0", &without_a_member("2.0.0"), &announced("2.0.0"));
    assert_eq!(found, ["1.4.0 is stable: a breaking change is a new protocol version beside this one, not 2.0.0"]);
    // A member more: any higher version will do.
    let mut more = published("0.1.1");
    edit_all(&mut more, "ChatFragmentData", |it| it["properties"]["later"] = json!({ "type": "string" }));
    assert_eq!(problems(&more, &changelog("0.1.1", &["`later`."])), [""; 0]);
    edit(&mut more, "index.json", |index| index["version"] = json!("0.1.0"));
    assert_eq!(problems(&more, &changelog("0.1.0", &["`later`."])).len(), 1);
    assert_eq!(problems(&published("0.0.9"), &changelog("0.0.9", &[])).len(), 1, "backwards");
}

#[test]
fn the_changelog_must_speak_of_this_version() {
    let tree = published("0.2.0");
    assert_eq!(problems(&tree, ""), ["CHANGELOG.md has no entry; begin one with `## 0.2.0 (unreleased)`"]);
    assert_eq!(
        problems(&tree, &changelog("0.3.0", &[])),
        ["the newest entry of CHANGELOG.md is for 0.3.0, the schemas are 0.2.0"]
    );
    let released = problems(&tree, "# Changes\n\n## 0.2.0\n");
    assert_eq!(
        released,
        ["the newest entry of CHANGELOG.md reads as released; until `release` it is `## 0.2.0 (unreleased)`"]
    );
    let stale = problems(&tree, &changelog("0.2.0", &[REMOVED]));
    assert_eq!(stale, [format!("announced, but it did not happen: {REMOVED}")]);
}

// ---------------------------------------------------------------------------------------------------------------
// Releasing
// ---------------------------------------------------------------------------------------------------------------

fn write(root: &Path, tree: &Tree, changelog: &str) {
    let directory = root.join(DIRECTORY);
    let _ = fs::remove_dir_all(&directory);
    for (path, text) in tree {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::write(directory.join(CHANGELOG), changelog).unwrap();
}

#[test]
fn a_release_becomes_the_baseline_and_is_made_once() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let first = "# Changes\n\n## 0.1.0 (unreleased)\n\n- The first.\n";
    write(root, &published("0.1.0"), first);
    assert!(judge_workspace(root).unwrap_err().to_string().contains("there is no schemas/released.json"));
    assert_eq!(release_tree(root).unwrap(), "0.1.0");
    let marked = fs::read_to_string(root.join(DIRECTORY).join(CHANGELOG)).unwrap();
    assert_eq!(marked, "# Changes\n\n## 0.1.0\n\n- The first.\n");
    assert_eq!(judge_workspace(root).unwrap().problems, [""; 0]);
    let again = release_tree(root).unwrap_err().to_string();
    assert!(again.contains("0.1.0 is released already"), "{again}");

    // A breaking change: announced, with the version; then it is the baseline.
    write(root, &without_a_member("0.2.0"), &changelog("0.2.0", &[]));
    let refused = release_tree(root).unwrap_err().to_string();
    assert!(refused.contains("not announced: ChatFragmentData.mid") && refused.contains("says nothing"), "{refused}");
    let before = fs::read_to_string(root.join(RELEASED)).unwrap();
    assert!(before.contains("\"version\": \"0.1.0\""), "a refused release changes nothing");
    write(root, &without_a_member("0.2.0"), &changelog("0.2.0", &[REMOVED]));
    assert_eq!(release_tree(root).unwrap(), "0.2.0");
    let judgment = judge_workspace(root).unwrap();
    assert_eq!((judgment.problems.len(), judgment.report.changes.len()), (0, 0));
}

#[test]
fn the_baseline_keeps_the_contract_and_drops_the_texts() {
    let snapshot = Snapshot::of_tree("x", &published("0.1.0")).unwrap();
    let text = snapshot.baseline().unwrap();
    let kept = Snapshot::of_baseline("kept", &text).unwrap();
    assert_eq!(kept.files.keys().collect::<Vec<_>>(), snapshot.files.keys().collect::<Vec<_>>());
    assert_eq!(kept.baseline().unwrap(), text);
    let report = eventwire_schemas::diff::diff(&kept, &snapshot).unwrap();
    assert_eq!(report.changes.len(), 0, "{:?}", report.changes.first());
    let whole: usize = published("0.1.0").values().map(String::len).sum();
    assert!(text.len() * 4 < whole, "{} of {whole} bytes", text.len());
    assert!(!text.contains("\"examples\":"));
}

#[test]
fn the_commands_say_so_with_their_exit_codes() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    write(root, &published("0.1.0"), "# Changes\n\n## 0.1.0 (unreleased)\n\n- The first.\n");
    let run = |command: &str| {
        let program = env!("CARGO_BIN_EXE_eventwire-schemas");
        let output = Command::new(program).args([command, "--workspace"]).arg(root).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (code, text) = run("compatibility");
    assert_eq!(code, Some(2), "{text}");
    // The command releases nothing but what the catalog generates.
    let (code, text) = run("release");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("files are not what the catalog generates"), "{text}");
    release_tree(root).unwrap();
    assert_eq!(run("compatibility").0, Some(0));
    write(root, &without_a_member("0.2.0"), &changelog("0.2.0", &["Less."]));
    let (code, text) = run("compatibility");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(REMOVED) && text.ends_with("0.2.0 may not follow 0.1.0: 1 changes, 1 problems\n"), "{text}");
}
