//! Keeps the language of `docs/style.md`: patterns that it rules out are counted in comments, texts and pages.
//!
//! `wording.allowance` holds how many findings each folder still has. A count that differs in either direction fails the
//! test, so the number falls with each fix. `EVENTWIRE_WORDING=update` writes numbers that have fallen, and
//! `EVENTWIRE_WORDING=list` prints each finding with its place.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Whole words, in lower case.
const WORDS: &[&str] = &[
    // People in place of components.
    "whoever",
    "whomever",
    "nobody",
    "somebody",
    "anybody",
    "everybody",
    // Spatial verbs for state.
    "stands",
    "stood",
    // Verbs of speech for input and output.
    "tell",
    "tells",
    "told",
    "telling",
    "spell",
    "spells",
    "spelled",
    "spelt",
    // British spelling.
    "artefact",
    "artefacts",
    "authorise",
    "authorised",
    "behaviour",
    "catalogue",
    "catalogues",
    "colour",
    "colours",
    "favour",
    "flavour",
    "flavours",
    "honour",
    "honoured",
    "honours",
    "licence",
    "neighbour",
    "neighbours",
    "normalise",
    "normalised",
    "normalises",
    "optimise",
    "organise",
    "organised",
    "recognise",
    "recognised",
    "recognises",
    "serialise",
    "serialised",
    "summarise",
    "summarised",
    "unauthorised",
];

/// Phrases, in lower case, between characters that are not letters.
const PHRASES: &[&str] = &[
    "for ever",
    "had better",
    "has no word",
    "have no word",
    "in its words",
    "in other words",
    "in the words",
    "in their words",
    "in words",
    "its own words",
    "no word for",
    "own words",
    "what is dead",
    "words of",
];

/// First words of a sentence that make a clause its subject; a question may begin so.
const CLAUSES: &[&str] = &["what", "who", "whom"];

/// Words in a sentence of a `///` comment.
const LONGEST_SENTENCE: usize = 30;

/// A piece of prose and its place.
struct Passage {
    file: String,
    line: usize,
    text: String,
    /// Whether the length of its sentences is bounded.
    is_item_comment: bool,
    /// A title may begin with any word.
    is_heading: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

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

/// The key of a file in the allowance.
fn folder(file: &str) -> String {
    let mut parts = file.split('/');
    let first = parts.next().unwrap();
    if file.ends_with("README.md") && first != "docs" {
        return if file == first { file.to_owned() } else { "*/README.md".to_owned() };
    }
    match first {
        "transports" => format!("transports/{}", parts.next().unwrap()),
        ".github" => "docs".to_owned(),
        other => other.to_owned(),
    }
}

/// Prose without code, links' addresses and markup of tables.
fn prose(text: &str) -> String {
    let without_code: String =
        text.split('`').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "X" }).collect();
    let mut out = String::new();
    let mut rest = without_code.as_str();
    while let Some((before, after)) = rest.split_once("](") {
        out.push_str(before);
        out.push(']');
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    out + rest
}

/// Groups lines into passages: a blank line, a list item, a heading or a table row begins a new one. Fenced code is left out.
fn passages(file: &str, lines: impl Iterator<Item = (usize, String)>, is_item_comment: bool) -> Vec<Passage> {
    let mut found: Vec<Passage> = Vec::new();
    let (mut is_code, mut is_new) = (false, true);
    for (line, text) in lines {
        let text = text.trim().to_owned();
        if text.starts_with("```") {
            is_code = !is_code;
            is_new = true;
            continue;
        }
        let is_comment = text.starts_with("<!--");
        if is_code || is_comment || text.is_empty() {
            is_new = true;
            continue;
        }
        let begins = ["- ", "* ", "|", "#", "> "].iter().any(|sign| text.starts_with(sign))
            || text.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        let bare = text.trim_start_matches(['#', '>', '-', '*', ' ']).to_owned();
        if text.starts_with('|') {
            let cells = text.split('|').filter(|cell| !cell.trim().is_empty());
            found.extend(cells.map(|cell| Passage {
                file: file.to_owned(),
                line,
                text: cell.trim().to_owned(),
                is_item_comment: false,
                is_heading: false,
            }));
            is_new = true;
            continue;
        }
        match found.last_mut() {
            Some(last) if !is_new && !begins => {
                last.text.push(' ');
                last.text.push_str(&bare);
            }
            _ => {
                let is_heading = text.starts_with('#');
                found.push(Passage { file: file.to_owned(), line, text: bare, is_item_comment, is_heading });
            }
        }
        is_new = text.starts_with('#');
    }
    found
}

fn of_page(file: &str, page: &str) -> Vec<Passage> {
    passages(file, page.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())), false)
}

/// Comments and texts of a Rust file. Texts are literals of at least three words, before the unit tests of a file in `src`.
fn of_source(file: &str, source: &str) -> Vec<Passage> {
    let mut found = Vec::new();
    for sign in ["///", "//!"] {
        let mut block: Vec<(usize, String)> = Vec::new();
        let mut blocks = Vec::new();
        for (at, line) in source.lines().enumerate() {
            match line.trim_start().strip_prefix(sign) {
                Some(rest) if !rest.starts_with('/') => block.push((at + 1, rest.to_owned())),
                _ if !block.is_empty() => blocks.push(std::mem::take(&mut block)),
                _ => {}
            }
        }
        blocks.push(block);
        found.extend(blocks.into_iter().flat_map(|block| passages(file, block.into_iter(), sign == "///")));
    }
    if file.contains("/src/") {
        let tested = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
        found.extend(literals(&source[..tested]).into_iter().filter(|(_, text)| text.matches(' ').count() > 1).map(
            |(line, text)| {
                let file = file.to_owned();
                Passage { file, line, text, is_item_comment: false, is_heading: false }
            },
        ));
    }
    found
}

/// The string literals of a source, with their lines.
fn literals(source: &str) -> Vec<(usize, String)> {
    let letters: Vec<char> = source.chars().collect();
    let get = |at: usize| letters.get(at).copied().unwrap_or('\0');
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < letters.len() {
        match (get(at), get(at + 1)) {
            ('\n', _) => line += 1,
            ('/', '/') => {
                while at < letters.len() && get(at) != '\n' {
                    at += 1;
                }
                continue;
            }
            // A character, not a lifetime.
            ('\'', '\\') => {
                at += 2;
                while at < letters.len() && get(at) != '\'' {
                    at += 1;
                }
            }
            ('\'', _) if get(at + 2) == '\'' => at += 2,
            ('r', '"' | '#') if !get(at.wrapping_sub(1)).is_alphanumeric() => {
                let hashes = (at + 1..).take_while(|at| get(*at) == '#').count();
                if get(at + 1 + hashes) == '"' {
                    let begun = line;
                    at += hashes + 2;
                    let mut text = String::new();
                    while at < letters.len() && !(get(at) == '"' && (1..=hashes).all(|more| get(at + more) == '#')) {
                        line += usize::from(get(at) == '\n');
                        text.push(get(at));
                        at += 1;
                    }
                    at += hashes;
                    found.push((begun, text));
                }
            }
            ('"', _) => {
                let begun = line;
                at += 1;
                let mut text = String::new();
                while at < letters.len() && get(at) != '"' {
                    if get(at) == '\\' {
                        at += 1;
                        if get(at) == '\n' {
                            // A continued line: its indentation is not part of the text.
                            while get(at).is_whitespace() {
                                line += usize::from(get(at) == '\n');
                                at += 1;
                            }
                            continue;
                        }
                        text.push(if get(at) == 'n' { ' ' } else { get(at) });
                    } else {
                        line += usize::from(get(at) == '\n');
                        text.push(get(at));
                    }
                    at += 1;
                }
                found.push((begun, text));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn sentences(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let last = found.last_mut().unwrap();
        last.push_str(word);
        last.push(' ');
        let bare = word.trim_end_matches([')', '"', '*', '_']);
        let ends = bare.ends_with(['.', '?', '!', ':', ';']) && !["e.g.", "i.e."].contains(&bare);
        if ends && words.peek().is_some() {
            found.push(String::new());
        }
    }
    found
}

/// What breaks the style in a passage.
fn findings(passage: &Passage) -> Vec<String> {
    let text = prose(&passage.text);
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let mut found: Vec<String> =
        words.iter().filter(|word| WORDS.contains(word)).map(|word| (*word).to_owned()).collect();
    let spaced = format!(" {} ", words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" "));
    for phrase in PHRASES {
        found.extend(spaced.matches(&format!(" {phrase} ")).map(|_| (*phrase).to_owned()));
    }
    for sentence in sentences(&text) {
        let first = sentence.split(|letter: char| !letter.is_alphanumeric()).find(|word| !word.is_empty());
        let begins = first.is_some_and(|first| {
            first.starts_with(char::is_uppercase) && CLAUSES.contains(&first.to_lowercase().as_str())
        });
        if begins && !passage.is_heading && !sentence.trim_end().ends_with('?') {
            found.push(format!("a sentence that begins with {}", first.unwrap()));
        }
    }
    if passage.is_item_comment {
        // A colon and a semicolon do not end a sentence here.
        let mut length = 0;
        for word in text.split_whitespace() {
            length += usize::from(word.contains(char::is_alphanumeric));
            if word.trim_end_matches([')', '"', '*']).ends_with(['.', '?', '!']) {
                found.extend((length > LONGEST_SENTENCE).then(|| format!("a sentence of {length} words")));
                length = 0;
            }
        }
        found.extend((length > LONGEST_SENTENCE).then(|| format!("a sentence of {length} words")));
    }
    found
}

/// Pages that a program writes; their texts are counted where they come from.
fn is_generated(file: &str, page: &str) -> bool {
    file.starts_with("docs/reference/") || page.contains("<!-- Generated")
}

fn all() -> Vec<Passage> {
    let read = |file: &String| fs::read_to_string(root().join(file)).unwrap();
    let mut found: Vec<Passage> = files("rs").iter().flat_map(|file| of_source(file, &read(file))).collect();
    for file in files("md") {
        let page = read(&file);
        let is_covered = file.starts_with("docs/") || file.starts_with(".github/") || file.ends_with("README.md");
        // The page about style shows what it rules out.
        if is_covered && !is_generated(&file, &page) && file != "docs/style.md" {
            found.extend(of_page(&file, &page));
        }
    }
    found
}

#[test]
fn the_language_of_each_folder_is_as_good_as_its_allowance_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wording.allowance");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mode = std::env::var("EVENTWIRE_WORDING").unwrap_or_default();
    for passage in all() {
        let found = findings(&passage);
        *counts.entry(folder(&passage.file)).or_default() += found.len();
        if mode == "list" {
            found.iter().for_each(|what| println!("{}:{}: {what}", passage.file, passage.line));
        }
    }
    assert!(counts.len() > 15, "{counts:?}");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let allowed: BTreeMap<String, usize> = lines
        .map(|line| {
            let (folder, count) = line.split_once(' ').unwrap();
            (folder.to_owned(), count.parse().unwrap())
        })
        .collect();
    if mode == "update" {
        let head: String = text.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let lowest = |(folder, count): (&String, &usize)| {
            let count = allowed.get(folder).map_or(*count, |allowed| *count.min(allowed));
            format!("{folder} {count}\n")
        };
        fs::write(&path, head + &counts.iter().map(lowest).collect::<String>()).unwrap();
        return;
    }
    let mut wrong = Vec::new();
    for folder in counts.keys().chain(allowed.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (count, allowed) = (counts.get(folder).copied(), allowed.get(folder).copied());
        if count.unwrap_or_default() != allowed.unwrap_or_default() {
            wrong.push(format!(
                "{folder}: {} findings, {} allowed",
                count.unwrap_or_default(),
                allowed.unwrap_or_default()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nEVENTWIRE_WORDING=list with --nocapture shows the findings; EVENTWIRE_WORDING=update lowers the numbers that fell",
        wrong.join("\n")
    );
}

#[test]
fn each_pattern_is_found_where_it_is_prose_and_not_in_code() {
    let found = |text: &str| of_source("a/src/b.rs", text).iter().flat_map(findings).collect::<Vec<_>>();
    assert_eq!(found("/// Whoever connects is told.\nfn a() {}"), ["whoever", "told"]);
    assert_eq!(found("//! Nobody\n//! waits."), ["nobody"]);
    assert_eq!(found("/// The server closes the connection. `told` is code.\n/// ```\n/// told\n/// ```"), [""; 0]);
    assert_eq!(found("/// Frames in the words of the dialect."), ["in the words", "words of"]);
    assert_eq!(found("/// Kept. What is too old goes."), ["a sentence that begins with What"]);
    assert_eq!(found("/// What is kept?"), [""; 0]);
    assert_eq!(found("fn a() { refuse(\"the client is told \\\n    so\") }"), ["told"]);
    assert_eq!(found("fn a() { let told = 'x'; refuse(\"short text\") } // told"), [""; 0]);
    assert_eq!(found("#[cfg(test)]\nmod tests { const A: &str = \"that is told here\"; }"), [""; 0]);
    let long = "word ".repeat(31);
    assert_eq!(found(&format!("/// {}.", long.trim())), ["a sentence of 31 words"]);
    assert_eq!(found(&format!("//! {}.", long.trim())), [""; 0]);
    assert_eq!(found(&format!("/// {}.", "word ".repeat(30).trim())), [""; 0]);
    let page = |text: &str| of_page("docs/a.md", text).iter().flat_map(findings).collect::<Vec<_>>();
    assert_eq!(
        page("| a | it stands |\n\n# Who reads\n\nWho writes, waits.\n\n- [x](told.md)\n\n```\ntold\n```\n"),
        ["stands", "a sentence that begins with Who"]
    );
}
