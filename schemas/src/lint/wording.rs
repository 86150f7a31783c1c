//! SCHEMA-22: descriptions are written for people who do not know Rust.

use serde_json::Value;

use super::{File, Finding, each_schema};

/// What only readers of Rust understand. A word with a sign in it is looked for as it is, any other as a whole word.
const RUST: &[&str] = &[
    "::",
    "[`",
    "`]",
    "#[",
    "Option<",
    "Some(",
    "Vec<",
    "&str",
    "HashMap",
    "BTreeMap",
    "Option",
    "Vec",
    "`None`",
    "String",
    "serde",
    "schemars",
    "struct",
    "trait",
    "impl",
    "crate",
    "Rust",
    "usize",
    "u8",
    "u16",
    "u32",
    "u64",
    "i32",
    "i64",
    "f32",
    "f64",
    "newtype",
    "deserialize",
    "deserialize",
];

/// SCHEMA-22: no description has a word that means something to readers of Rust only; each ends as a sentence or a list.
pub(super) fn for_readers(file: &File<'_>, findings: &mut Vec<Finding>) {
    const RULE: &str = "SCHEMA-22";
    each_schema(&file.json, "", &mut |schema, place| {
        let Some(text) = schema.get("description").and_then(Value::as_str).filter(|text| !text.is_empty()) else {
            return;
        };
        for word in RUST.iter().filter(|word| has(text, word)) {
            findings.push(file.finding(
                RULE,
                place,
                format!("`{word}` means nothing to those who do not know Rust; say what it is in JSON"),
            ));
        }
        let last = text.lines().last().unwrap_or_default();
        if !last.starts_with("- ") && !text.ends_with(['.', '!', '?', ')']) {
            findings.push(file.finding(RULE, place, "a description is a sentence; end it as one"));
        }
    });
}

fn has(text: &str, word: &str) -> bool {
    if !word.chars().all(char::is_alphanumeric) {
        return text.contains(word);
    }
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|it| it == word)
}
