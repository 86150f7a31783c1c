//! What is committed, and values made from schemas: valid ones, and ones with a single fault. Written for the tests, so that what they check
//! shares no code with what they check it by.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use eventwire_schemas::{CHANGELOG, Tree, committed};
use jsonschema::Validator;
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::{RegexGeneratorStrategy, string_regex};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};

/// The checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What is committed, without the changelog.
pub fn published() -> Tree {
    let mut tree = committed(&workspace()).unwrap();
    tree.remove(CHANGELOG);
    tree
}

pub fn parse(tree: &Tree, path: &str) -> Value {
    serde_json::from_str(&tree[path]).unwrap()
}

pub fn validator(document: &Value) -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(document).unwrap()
}

/// A small generator of chance, so that one number tells a whole case.
pub struct Dice {
    state: u64,
    strings: TestRunner,
    patterns: HashMap<String, RegexGeneratorStrategy<String>>,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let strings = TestRunner::new_with_rng(Config::default(), rng);
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15, strings, patterns: HashMap::new() }
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn like(&mut self, pattern: &str) -> String {
        let strategy = self.patterns.entry(pattern.to_owned()).or_insert_with(|| {
            let inner = pattern.strip_prefix('^').unwrap_or(pattern);
            string_regex(inner.strip_suffix('$').unwrap_or(inner)).unwrap()
        });
        strategy.new_tree(&mut self.strings).unwrap().current()
    }
}

const TEXTS: &[&str] =
    &["", "a", "ä", "<b>x</b>", "\u{1f600}", "null", "0", " two words ", "a\nb", "\u{2028}", "user:x"];

pub fn text(dice: &mut Dice) -> String {
    let count = dice.below(4);
    (0..count).map(|_| *dice.pick(TEXTS)).collect()
}

/// Any JSON value.
pub fn anything(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(dice.chance(2)),
        2 => json!(dice.below(1000) as i64 - 500),
        3 => json!((dice.below(1000) as f64) / 8.0),
        4 => json!(text(dice)),
        5 => (0..dice.below(3)).map(|_| anything(dice, depth - 1)).collect(),
        _ => Value::Object(any_members(dice, depth - 1)),
    }
}

pub fn any_members(dice: &mut Dice, depth: usize) -> Map<String, Value> {
    (0..dice.below(3)).map(|at| (format!("free_{at}"), anything(dice, depth))).collect()
}

/// Follows references.
pub fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    while let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        schema = document.pointer(name.trim_start_matches('#')).unwrap();
    }
    schema
}

fn integer(schema: &Value, keyword: &str) -> Option<i64> {
    schema.get(keyword)?.as_f64().map(|it| it as i64)
}

/// A value that the schema describes, members that it does not name left out.
pub fn instance(document: &Value, schema: &Value, dice: &mut Dice) -> Value {
    let schema = resolved(document, schema);
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return dice.pick(values).clone();
    }
    if let Some(members) = schema.get("oneOf").and_then(Value::as_array) {
        let member = dice.pick(members).clone();
        return instance(document, &member, dice);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("null") => Value::Null,
        Some("boolean") => json!(dice.chance(2)),
        Some("integer") => {
            let least = integer(schema, "minimum").unwrap_or(-1000);
            let most = integer(schema, "maximum").unwrap_or(1000).max(least);
            let span = (most - least) as u64;
            let offset = match dice.below(4) {
                0 => 0,
                1 => span,
                2 => dice.next() % 10,
                _ => dice.next() % span.saturating_add(1).max(1),
            };
            json!(least + offset.min(span) as i64)
        }
        Some("number") => {
            let least = schema.get("minimum").and_then(Value::as_f64).unwrap_or(-1e6);
            let most = schema.get("maximum").and_then(Value::as_f64).unwrap_or(least.abs() + 1e6).max(least);
            match dice.below(4) {
                0 => json!(least),
                1 => json!(most),
                _ => json!(least + (most - least) * (dice.below(1 << 20) as f64 / f64::from(1 << 20))),
            }
        }
        Some("string") => json!(a_text(schema, dice)),
        Some("array") => {
            let least = integer(schema, "minItems").unwrap_or(0);
            let most = integer(schema, "maxItems").unwrap_or(least + 3).min(least + 3).max(least);
            let count = least as usize + dice.below((most - least + 1) as usize);
            let each = schema.get("items").cloned();
            (0..count)
                .map(|_| match &each {
                    Some(each) => instance(document, each, dice),
                    None => anything(dice, 1),
                })
                .collect()
        }
        Some("object") => {
            let mut members = Map::new();
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if required.contains(&name.as_str()) || dice.chance(2) {
                    members.insert(name.clone(), instance(document, member, dice));
                }
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => members.extend(any_members(dice, 2)),
                Some(each @ Value::Object(_)) => {
                    for at in 0..dice.below(3) {
                        members.insert(format!("more_{at}"), instance(document, each, dice));
                    }
                }
                _ => {}
            }
            Value::Object(members)
        }
        _ => anything(dice, 2),
    }
}

fn a_text(schema: &Value, dice: &mut Dice) -> String {
    if schema.get("format").is_some_and(|format| format == "date-time") {
        let (day, hour, fraction) = (1 + dice.below(28), dice.below(24), dice.below(1_000_000));
        let fraction = if dice.chance(3) { String::new() } else { format!(".{fraction:06}") };
        return format!("2026-{:02}-{day:02}T{hour:02}:{:02}:07{fraction}Z", 1 + dice.below(12), dice.below(60));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        let excluded = integer(schema, "maxLength").map_or(usize::MAX, |it| it as usize);
        return (0..20).map(|_| dice.like(pattern)).find(|it| it.chars().count() <= excluded).unwrap_or_default();
    }
    let least = integer(schema, "minLength").unwrap_or(0) as usize;
    let most = integer(schema, "maxLength").map_or(usize::MAX, |it| it as usize);
    let mut written = text(dice);
    while written.chars().count() < least {
        written.push('é');
    }
    if dice.chance(4) && most < 10_000 {
        written = "é".repeat(most);
    }
    written.chars().take(most).collect()
}

/// A place in a value, with the schema that describes it.
pub struct Spot {
    pub pointer: String,
    pub schema: Value,
    /// Whether another member of a union might accept what this schema does not.
    pub in_union: bool,
    /// Whether the value around it may be without it.
    pub is_optional: bool,
}

/// Every place in a value that a schema describes.
pub fn spots(document: &Value, schema: &Value, value: &Value, pointer: &str, in_union: bool, found: &mut Vec<Spot>) {
    let schema = resolved(document, schema);
    if let Some(members) = schema.get("oneOf").and_then(Value::as_array) {
        // A union is entered where the value fits; a union of one is only a name.
        for member in members {
            if members.len() == 1 || fits(document, member, value) {
                spots(document, member, value, pointer, in_union || members.len() > 1, found);
            }
        }
        return;
    }
    found.push(Spot { pointer: pointer.to_owned(), schema: schema.clone(), in_union, is_optional: false });
    if let (Some(properties), Some(members)) = (schema.get("properties").and_then(Value::as_object), value.as_object())
    {
        for (name, member) in properties {
            if let Some(value) = members.get(name) {
                let at = found.len();
                spots(document, member, value, &format!("{pointer}/{name}"), false, found);
                let is_required = schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
                found[at].is_optional = !is_required;
            }
        }
    }
    if let (Some(each), Some(items)) = (schema.get("items"), value.as_array()) {
        for (at, item) in items.iter().enumerate() {
            spots(document, each, item, &format!("{pointer}/{at}"), false, found);
        }
    }
}

/// Whether a member of a union is the one for a value, by its fixed type or its kind.
fn fits(document: &Value, schema: &Value, value: &Value) -> bool {
    let schema = resolved(document, schema);
    if let Some(members) = schema.get("oneOf").and_then(Value::as_array) {
        return members.iter().any(|member| fits(document, member, value));
    }
    if let Some(fixed) = schema.pointer("/properties/type/const") {
        return value.get("type") == Some(fixed);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => false,
    }
}

/// What is wrong with a mutant, as a word that tests count.
pub type Fault = &'static str;

/// The nearest number beyond a bound that is no matter of rounding: the next whole one, or a little more than a fraction.
fn beyond(bound: &Value, by: i64) -> Value {
    match bound.as_i64() {
        Some(whole) => json!(whole + by),
        None => json!(bound.as_f64().unwrap() + 0.125 * by as f64),
    }
}

/// Every kind of single fault at one place: what is wrong, and the value with it.
pub fn faults(value: &Value, spot: &Spot, dice: &mut Dice) -> Vec<(Fault, Value)> {
    let mut mutants = Vec::new();
    let mut put = |fault: Fault, with: Value| {
        let mut mutant = value.clone();
        *mutant.pointer_mut(&spot.pointer).unwrap() = with;
        mutants.push((fault, mutant));
    };
    let (schema, here) = (&spot.schema, value.pointer(&spot.pointer).unwrap());
    let kind = schema.get("type").and_then(Value::as_str);
    if let Some(fixed) = schema.get("const") {
        put("wrong constant", json!(format!("{}x", fixed.as_str().unwrap_or_default())));
        return mutants;
    }
    if schema.get("enum").is_some() {
        put("unknown value", json!("no such value"));
    }
    if !spot.in_union {
        put("null", Value::Null);
        let others = [json!(true), json!(7), json!("seven"), json!(["seven"]), json!({ "seven": 7 })];
        let is_other = |other: &&Value| match kind {
            Some("boolean") => !other.is_boolean(),
            Some("integer" | "number") => !other.is_number(),
            Some("string") => !other.is_string(),
            Some("array") => !other.is_array(),
            Some("object") => !other.is_object(),
            _ => false,
        };
        let others: Vec<&Value> = others.iter().filter(is_other).collect();
        if !others.is_empty() {
            put("wrong type", (*dice.pick(&others)).clone());
        }
        if kind == Some("integer") {
            put("a fraction", json!(0.5));
        }
    }
    if let Some(least) = schema.get("minimum") {
        put("below the minimum", beyond(least, -1));
    }
    if let Some(most) = schema.get("maximum") {
        put("above the maximum", beyond(most, 1));
    }
    if let Some(most) = integer(schema, "maxLength") {
        put("too long", json!("x".repeat(most as usize + 1)));
    }
    if schema.get("pattern").is_some() {
        put("against the pattern", json!("\u{1f600} no pattern has this"));
    }
    if schema.get("format").is_some() {
        put("against the format", json!("yesterday"));
    }
    if let Some(least) = integer(schema, "minItems").filter(|it| *it > 0) {
        put("too few items", here.as_array().unwrap().iter().take(least as usize - 1).cloned().collect());
    }
    if let Some(most) = integer(schema, "maxItems").filter(|it| *it < 2000)
        && let Some(first) = here.as_array().and_then(|items| items.first())
    {
        put("too many items", vec![first.clone(); most as usize + 1].into());
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        let mut members = here.as_object().unwrap().clone();
        members.shift_remove(name);
        put("a required member missing", Value::Object(members));
    }
    if schema.get("additionalProperties").is_some_and(|it| it == false) {
        let mut members = here.as_object().unwrap().clone();
        members.insert("surprise".to_owned(), json!(1));
        put("an unknown member", Value::Object(members));
    }
    mutants
}
