//! Ties the pages of `docs` to the sources: links, paths, functions, tests and terms that a page names exist.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Pages whose paths and names are checked.
const NAMING: &[&str] =
    &["docs/architecture.md", "docs/contributing.md", "docs/glossary.md", "docs/style.md", "docs/testing.md"];

/// Top folders: a code span that begins with one of them is a path.
const FOLDERS: &[&str] =
    &[".cargo/", ".ci/", ".github/", "conformance/", "docs/", "protocol/", "schemas/", "transports/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every file with the extension, by its path from the root.
fn files(extension: &str) -> Vec<String> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                // `conformance/src/target` is a module; every other folder of this name is written by builds.
                let is_built =
                    name == "node_modules" || (name == "target" && !path.ends_with("conformance/src/target"));
                if !is_built && (!name.starts_with('.') || name == ".github") {
                    walk(&path, extension, found);
                }
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), extension, &mut found);
    let relative = |path: PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    let mut found: Vec<String> = found.into_iter().map(relative).collect();
    found.sort();
    found
}

/// The Rust sources outside of tests and without comment lines, for names that the code uses.
fn sources() -> BTreeMap<String, String> {
    let code = |file: String| {
        let text = read(&file);
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        (file, code)
    };
    files("rs").into_iter().filter(|file| file.contains("/src/")).map(code).collect()
}

/// Whether a text has the name as a whole word.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric() || it == '_');
    text.match_indices(name)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + name.len()..].chars().next()))
}

/// Whether a source declares an item of the name: a function, a type, a variant, a constant, a macro.
fn declares(source: &str, name: &str) -> bool {
    ["fn", "struct", "enum", "trait", "const", "static", "mod", "type", "macro_rules!"]
        .iter()
        .any(|keyword| has_word(source, &format!("{keyword} {name}")))
}

/// The lines of a page outside of fenced code, or those inside.
fn lines(page: &str, fenced: bool) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && is_code == fenced
    })
}

fn code_spans(page: &str) -> Vec<String> {
    // A paragraph at a time, so that a span may be broken over two lines.
    let text = lines(page, false).collect::<Vec<_>>().join("\n");
    let of_paragraph = |paragraph: &str| {
        let spans = paragraph.split('`').skip(1).step_by(2);
        spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    text.split("\n\n").flat_map(of_paragraph).collect()
}

/// What a code span names that does not exist.
fn missing(span: &str, sources: &BTreeMap<String, String>) -> Option<String> {
    if span.contains(['<', '*', '{', '$']) {
        return None;
    }
    if span.contains(' ') {
        return missing_test(span);
    }
    if FOLDERS.iter().any(|folder| span.starts_with(folder)) {
        let (path, name) = span.split_once("::").unwrap_or((span, ""));
        let place = root().join(path);
        if !place.exists() {
            return Some(format!("{span}: no such path"));
        }
        return (!name.is_empty() && !declares(&read(path), name)).then(|| format!("{span}: not declared there"));
    }
    let (of, name) = span.split_once("::")?;
    let name = name.trim_end_matches("()");
    let is_in = |(file, source): (&String, &String)| {
        let is_module = file.ends_with(&format!("/{of}.rs"));
        (is_module || declares(source, of) || has_word(source, &format!("impl {of}"))) && has_word(source, name)
    };
    (!sources.iter().any(is_in)).then(|| format!("{span}: no such name"))
}

/// What a command names with `--test` and `--only` that does not exist.
fn missing_test(command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| pair[0] == "--test").map(|pair| pair[1]);
    let all = files("rs");
    named
        .filter(|name| !name.chars().all(char::is_uppercase))
        .find(|name| {
            let ends = [format!("/tests/{name}.rs"), format!("/tests/{name}/main.rs")];
            !all.iter().any(|file| ends.iter().any(|end| file.ends_with(end)))
        })
        .map(|name| format!("{command}: there is no test file {name}"))
}

#[test]
fn each_path_function_and_test_that_a_page_names_exists() {
    let sources = sources();
    let mut wrong = Vec::new();
    let mut paths = 0;
    for page in NAMING {
        let text = read(page);
        for span in code_spans(&text) {
            paths += usize::from(FOLDERS.iter().any(|folder| span.starts_with(folder)));
            wrong.extend(missing(&span, &sources).map(|why| format!("{page}: {why}")));
        }
        for command in lines(&text, true) {
            let command = command.split(" #").next().unwrap();
            wrong.extend(missing_test(command).map(|why| format!("{page}: {why}")));
        }
    }
    assert!(paths > 100, "{paths}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_name_that_does_not_exist_is_found() {
    let sources = sources();
    let missing = |span: &str| missing(span, &sources).is_some();
    assert!(!missing("protocol/src/route.rs::admits") && !missing("Connection::next") && !missing("protocol/src"));
    assert!(missing("protocol/src/route.rs::no_such_function"));
    assert!(missing("protocol/src/no_such_file.rs"));
    assert!(missing("Connection::no_such_function") && missing("NoSuchType::next"));
    assert!(missing("cargo test --workspace --test no_such_suite"));
}

#[test]
fn each_invariant_of_the_architecture_names_the_test_that_holds_it() {
    let page = read("docs/architecture.md");
    let section = page.split("\n## Invariants\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let invariants: Vec<&str> = section.split("\n\n").filter(|part| part.trim_start().starts_with("> **")).collect();
    assert!(invariants.len() >= 8, "{}", invariants.len());
    for invariant in invariants {
        let held_by = invariant.split("Held by").nth(1).unwrap_or_else(|| panic!("no test is named: {invariant}"));
        let tests: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{invariant}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("not a test: {test}"));
            let source = read(file);
            let at = source.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{test}: no such function"));
            let before = source[..at].rsplit("\n\n").next().unwrap();
            assert!(before.contains("test]") || before.contains("test("), "{test}: not a test");
        }
    }
}

/// One row of the glossary.
struct Term {
    name: String,
    meaning: String,
    in_code: Vec<String>,
}

fn glossary() -> Vec<Term> {
    let page = read("docs/glossary.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| term "));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        let in_code = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Term { name: cells[0].to_owned(), meaning: cells[1].to_owned(), in_code }
    })
    .collect()
}

#[test]
fn each_term_of_the_glossary_is_defined_once_and_used_by_the_code() {
    let terms = glossary();
    assert!(terms.len() >= 25, "{}", terms.len());
    assert_eq!(terms[0].name, "ADW");
    let sources = sources();
    let mut seen = BTreeSet::new();
    for Term { name, meaning, in_code } in &terms {
        assert!(seen.insert(name), "{name} has two rows");
        let sentences = meaning.matches(". ").count() + 1;
        assert!(meaning.ends_with('.') && sentences <= 2, "{name}: a definition is one or two sentences: {meaning}");
        assert!(!in_code.is_empty(), "{name}: no name in the code");
        for code in in_code {
            assert!(sources.values().any(|source| has_word(source, code)), "{name}: the code has no `{code}`");
        }
    }
}

/// The anchors of a page, as GitHub makes them of headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in lines(page, false).filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let anchor: String = text.chars().filter(|letter| letter.is_alphanumeric() || "_-".contains(*letter)).collect();
        let free = (0..).map(|number| if number == 0 { anchor.clone() } else { format!("{anchor}-{number}") });
        let free = free.into_iter().find(|anchor| !found.contains(anchor)).unwrap();
        found.insert(free);
    }
    found
}

fn links(page: &str) -> Vec<String> {
    let text = lines(page, false).collect::<Vec<_>>().join("\n");
    let prose: String = text.split('`').enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, part)| part).collect();
    prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

fn broken(from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { root().join(from) } else { root().join(from).parent().unwrap().join(path) };
    if !file.exists() {
        return Some(format!("{from}: {target}: no such file"));
    }
    let is_page = file.extension().is_some_and(|it| it == "md");
    (is_page && !anchor.is_empty() && !anchors(&fs::read_to_string(&file).unwrap()).contains(anchor))
        .then(|| format!("{from}: {target}: no such section"))
}

#[test]
fn each_relative_link_leads_to_a_file_and_a_section() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in files("md") {
        let links = links(&read(&page));
        seen += links.len();
        wrong.extend(links.iter().filter_map(|target| broken(&page, target)));
    }
    assert!(seen > 500, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(broken("docs/README.md", "no-such-page.md").is_some());
    assert!(broken("docs/README.md", "glossary.md#no-such-section").is_some());
    assert!(broken("docs/README.md", "glossary.md#the-subject").is_none());
}

#[test]
fn the_map_of_the_documentation_leads_to_every_page() {
    let map: BTreeSet<String> = links(&read("docs/README.md")).into_iter().collect();
    let own = ["docs/README.md"];
    for page in files("md").into_iter().filter(|page| page.starts_with("docs/") && !own.contains(&page.as_str())) {
        let page = page.strip_prefix("docs/").unwrap().to_owned();
        // Pages with an index of their own are reached through it.
        let through_index = ["decisions/", "spec/", "reference/events/", "guides/producers/"];
        let is_reached = map.contains(&page) || through_index.iter().any(|folder| page.starts_with(folder));
        assert!(is_reached, "docs/README.md does not lead to {page}");
    }
    for index in ["README.md", "docs/spec/README.md"] {
        let links = links(&read(index));
        assert!(links.iter().any(|target| target.ends_with("glossary.md")), "{index} does not link the glossary");
    }
}

#[test]
fn each_front_page_of_a_crate_links_the_glossary() {
    for source in files("rs").into_iter().filter(|file| file.ends_with("/src/lib.rs")) {
        let head: String = read(&source).lines().filter(|line| line.starts_with("//!")).collect();
        assert!(head.contains("docs/glossary.md"), "{source}: the front page does not link the glossary");
    }
}

/// The folders of the crates that are published: all members of the workspace that do not say `publish = false`.
fn published() -> Vec<String> {
    let workspace = read("Cargo.toml");
    let members = workspace.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let members = members.split('"').skip(1).step_by(2).map(str::to_owned);
    members.filter(|member| !read(&format!("{member}/Cargo.toml")).contains("publish = false")).collect()
}

/// The required parts that the README of a crate lacks.
fn lacking(readme: &str, example: &str) -> Vec<&'static str> {
    let checks = [
        ("an example", readme.contains(example)),
        ("its features", readme.contains("The crate has no features") || readme.contains("\n## Features\n")),
        ("a link to the glossary", readme.contains("/blob/main/docs/glossary.md")),
        ("the name of the project with its address", readme.contains("(https://github.com/eventwire/eventwire)")),
    ];
    checks.into_iter().filter(|(_, is_there)| !is_there).map(|(what, _)| what).collect()
}

#[test]
fn each_published_crate_has_a_readme_whose_examples_are_tests() {
    let published = published();
    assert!(published.len() >= 14, "{published:?}");
    for member in published {
        // The example of the binary is a session, which `cargo xtask test --only readme` runs.
        let is_binary = member == "transports/gateway";
        let example = if is_binary { "<!-- tested -->\n```console\n$ eventwire " } else { "\n```rust" };
        assert_eq!(lacking(&read(&format!("{member}/README.md")), example), [""; 0], "{member}/README.md");
        let source = read(&format!("{member}/src/lib.rs"));
        let is_run = source.contains("#[cfg(doctest)]\n#[doc = include_str!(\"../README.md\")]\n");
        assert!(is_run, "{member}/src/lib.rs: the examples of the README are not run");
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("\n[package.metadata.docs.rs]\n"), "{member}/Cargo.toml: no metadata for docs.rs");
    }
    assert!(read("conformance/xtask/src/markdown.rs").contains("\"transports/gateway/README.md\""));
    assert_eq!(lacking("# eventwire-x\n", "\n```rust").len(), 4);
}
