//! Whether a reader accepts everything that a writer may send, proven on their schemas.
//!
//! The two sides of a contract read one text differently. A **reader** validates with the schema as published: members
//! it does not know are fine where the schema does not forbid them. A **writer** promises more: it sends the members
//! that the schema names and no others, unless the schema says `additionalProperties`. That is the `strict` flavor, and
//! without it no optional member could ever be added, as an older writer might have sent anything under its name.
//!
//! [`Judge::accepts`] is sound and not complete: when it says yes, no value of the writer is refused by the reader; when
//! it says no, it names a place where it found or could not exclude a difference. It knows the keywords of the profile;
//! a reader's keyword that it does not know is never called harmless.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::pattern::Patterns;
use crate::profile::{references, referred};

/// Why a writer is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where in the value, for instance `data.items[].name`; empty for the value itself.
    pub at: String,
    /// What the reader wants there.
    pub why: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.at.is_empty() { f.write_str(&self.why) } else { write!(f, "{}: {}", self.at, self.why) }
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { at: String::new(), why: why.into() })
}

fn inside(at: &str) -> impl FnOnce(Refusal) -> Refusal {
    let at = at.to_owned();
    move |inner| {
        let dot = if inner.at.is_empty() || inner.at.starts_with('[') { "" } else { "." };
        Refusal { at: format!("{at}{dot}{}", inner.at), why: inner.why }
    }
}

/// The first definition that contains itself. The profile has no use for one, and nothing here would end on it.
pub fn recursion(document: &Value) -> Option<String> {
    let definitions = document.get("$defs").and_then(Value::as_object)?;
    let mut done: Vec<&str> = Vec::new();
    fn visit<'a>(
        name: &'a str,
        definitions: &'a Map<String, Value>,
        path: &mut Vec<&'a str>,
        done: &mut Vec<&'a str>,
    ) -> Option<String> {
        if path.contains(&name) {
            return Some(name.to_owned());
        }
        if done.contains(&name) {
            return None;
        }
        path.push(name);
        for inner in definitions.get(name).map(references).unwrap_or_default() {
            let Some((inner, _)) = definitions.get_key_value(&inner) else { continue };
            let found = visit(inner, definitions, path, done);
            if found.is_some() {
                return found;
            }
        }
        path.pop();
        done.push(name);
        None
    }
    definitions.keys().find_map(|name| visit(name, definitions, &mut Vec::new(), &mut done))
}

/// Keywords that say nothing about which values are valid.
pub(crate) const ANNOTATIONS: &[&str] =
    &["$schema", "$id", "$defs", "$comment", "title", "description", "examples", "default", "deprecated"];

/// Keywords that [`Judge`] understands besides `$ref` and `oneOf`.
const PLAIN: &[&str] = &[
    "type",
    "const",
    "enum",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "not",
];

fn unknown_keyword(schema: &Map<String, Value>) -> Option<&str> {
    let is_known = |key: &str| ANNOTATIONS.contains(&key) || PLAIN.contains(&key) || key == "$ref" || key == "oneOf";
    schema.keys().map(String::as_str).find(|key| !is_known(key))
}

/// Kinds of value, as bits. Every integer is a number.
const NULL: u8 = 1;
const BOOLEAN: u8 = 2;
const OBJECT: u8 = 4;
const ARRAY: u8 = 8;
const STRING: u8 = 16;
const INTEGER: u8 = 32;
const FRACTION: u8 = 64;
const ANY: u8 = 127;

fn kinds(schema: &Map<String, Value>) -> u8 {
    let kind = |word: &Value| match word.as_str() {
        Some("null") => NULL,
        Some("boolean") => BOOLEAN,
        Some("object") => OBJECT,
        Some("array") => ARRAY,
        Some("string") => STRING,
        Some("integer") => INTEGER,
        Some("number") => INTEGER | FRACTION,
        _ => 0,
    };
    match schema.get("type") {
        None => ANY,
        Some(Value::Array(words)) => words.iter().fold(0, |all, word| all | kind(word)),
        Some(word) => kind(word),
    }
}

fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Object(_) => OBJECT,
        Value::Array(_) => ARRAY,
        Value::String(_) => STRING,
        Value::Number(number) if is_integer(number) => INTEGER,
        Value::Number(_) => FRACTION,
    }
}

fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|it| it.fract() == 0.0)
}

/// The order of two numbers; `None` where floating point would have to guess.
pub(crate) fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    const EXACT: i128 = 1 << 53;
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (Some(it), None) | (None, Some(it)) if it.abs() > EXACT => None,
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// Equality as JSON Schema has it: 1 is 1.0. `None` where it cannot be told.
fn same(one: &Value, other: &Value) -> Option<bool> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other).map(Ordering::is_eq),
        (Value::Array(one), Value::Array(other)) => {
            if one.len() != other.len() {
                return Some(false);
            }
            all(one.iter().zip(other).map(|(one, other)| same(one, other)))
        }
        (Value::Object(one), Value::Object(other)) => {
            if one.len() != other.len() {
                return Some(false);
            }
            all(one.iter().map(|(key, value)| other.get(key).map_or(Some(false), |it| same(value, it))))
        }
        _ => Some(one == other),
    }
}

/// True when all are, false when one is not, else unknown.
fn all(facts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = true;
    for fact in facts {
        match fact {
            Some(false) => return Some(false),
            Some(true) => {}
            None => known = false,
        }
    }
    known.then_some(true)
}

/// True when one is, false when none is, else unknown.
fn any(facts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    all(facts.into_iter().map(|fact| fact.map(|it| !it))).map(|it| !it)
}

fn number<'a>(schema: &'a Map<String, Value>, keyword: &str) -> Option<&'a Number> {
    schema.get(keyword)?.as_number()
}

fn names(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn properties(schema: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn property<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

static TRUE: Value = Value::Bool(true);
static FALSE: Value = Value::Bool(false);

/// What a side says of the members that it does not name.
fn others(schema: &Map<String, Value>, is_writer: bool) -> &Value {
    match schema.get("additionalProperties") {
        Some(said) => said,
        None if is_writer && closes(schema) => &FALSE,
        None => &TRUE,
    }
}

/// Whether a writer's objects hold only the members that are named. The `strict` flavor says so where this is true.
pub(crate) fn closes(schema: &Map<String, Value>) -> bool {
    let is_object = schema.get("type").is_some_and(|kind| kind == "object") || schema.contains_key("properties");
    is_object && !schema.contains_key("additionalProperties") && unknown_keyword(schema).is_none()
}

/// A reader's document and a writer's, and what is already known of them.
pub struct Judge<'a> {
    reader: &'a Value,
    writer: &'a Value,
    patterns: &'a Patterns,
    /// Of pairs of definitions: reader's, writer's.
    known: RefCell<HashMap<(String, String), Result<(), Refusal>>>,
}

impl<'a> Judge<'a> {
    /// Both documents must be free of [`recursion`].
    pub(crate) fn new(reader: &'a Value, writer: &'a Value, patterns: &'a Patterns) -> Self {
        Self { reader, writer, patterns, known: RefCell::default() }
    }

    /// Whether a schema of the reader's document accepts all that one of the writer's describes.
    ///
    /// # Errors
    /// The first place where it does not, or where that could not be shown.
    pub fn accepts(&self, reader: &'a Value, writer: &'a Value) -> Result<(), Refusal> {
        if let (Some(one), Some(other)) = (referred(reader), referred(writer)) {
            let pair = (one.to_owned(), other.to_owned());
            if let Some(known) = self.known.borrow().get(&pair) {
                return known.clone();
            }
            let found = self.accepts_in_parts(self.of_reader(reader)?, self.of_writer(writer)?);
            self.known.borrow_mut().insert(pair, found.clone());
            return found;
        }
        self.accepts_in_parts(self.of_reader(reader)?, self.of_writer(writer)?)
    }

    /// What a pure reference of the reader leads to.
    fn of_reader(&self, schema: &'a Value) -> Result<&'a Value, Refusal> {
        resolve(self.reader, schema)
    }

    fn of_writer(&self, schema: &'a Value) -> Result<&'a Value, Refusal> {
        resolve(self.writer, schema)
    }

    /// Unions first, then what stands beside them.
    fn accepts_in_parts(&self, reader: &'a Value, writer: &'a Value) -> Result<(), Refusal> {
        if writer == &FALSE || reader == &TRUE {
            return Ok(());
        }
        let Some(wanted) = reader.as_object() else { return refuse("nothing is accepted here") };
        if let Some(unknown) = unknown_keyword(wanted) {
            return refuse(format!("`{unknown}` cannot be compared"));
        }
        // A writer's union is taken apart: each member must be accepted as a whole.
        if let Some(sent) = writer.as_object()
            && let Some(members) = sent.get("oneOf").and_then(Value::as_array)
            && is_only(sent, "oneOf")
        {
            for member in members {
                let member = self.of_writer(member)?;
                let of = member.get("title").and_then(Value::as_str).unwrap_or("a member of the union");
                self.accepts_in_parts(reader, member)
                    .map_err(|inner| Refusal { why: format!("{of}: {}", inner.why), ..inner })?;
            }
            return Ok(());
        }
        if wanted.contains_key("$ref") {
            let Some(target) = referred(reader).and_then(|name| self.reader.get("$defs")?.get(name)) else {
                return refuse("a reference leads nowhere");
            };
            self.accepts_in_parts(target, writer)?;
        }
        if let Some(members) = wanted.get("oneOf").and_then(Value::as_array) {
            self.accepts_as_one_of(members, writer)?;
        }
        if PLAIN.iter().any(|keyword| wanted.contains_key(*keyword)) {
            self.accepts_plain(wanted, writer)?;
        }
        Ok(())
    }

    /// A reader's `oneOf` wants exactly one: one member accepts all, and no other accepts any.
    fn accepts_as_one_of(&self, members: &'a [Value], writer: &'a Value) -> Result<(), Refusal> {
        let possible: Vec<&Value> = members.iter().filter(|member| !self.are_disjoint(member, writer)).collect();
        match possible.as_slice() {
            [] => refuse("no member of the union is like it"),
            [only] => self.accepts(only, writer),
            several => {
                let names: Vec<&str> = several.iter().filter_map(|it| referred(it)).collect();
                refuse(format!("more than one member of the union may accept it: {}", names.join(", ")))
            }
        }
    }

    /// Everything but unions, references of the reader taken out.
    fn accepts_plain(&self, reader: &'a Map<String, Value>, writer: &'a Value) -> Result<(), Refusal> {
        if let Some(values) = finite(writer) {
            for value in values.iter().filter(|value| self.holds(writer, value, Side::Writer) != Some(false)) {
                if self.holds_plain(reader, value, Side::Reader) != Some(true) {
                    return refuse(format!("{value} is not accepted"));
                }
            }
            return Ok(());
        }
        let everything = Map::new();
        let writer = match writer {
            // A writer's reference or union with constraints beside it: only those count. That claims too little.
            Value::Object(members) => members,
            _ => &everything,
        };
        let (wanted, sent) = (kinds(reader), kinds(writer));
        if sent & !wanted != 0 {
            return refuse(format!("{} is not accepted", described(writer)));
        }
        if let Some(values) = listed(reader) {
            let values: Vec<String> = values.iter().map(|it| it.to_string()).collect();
            return refuse(format!("anything but {} is not accepted", values.join(", ")));
        }
        if let Some(excluded) = reader.get("not")
            && !self.avoids(excluded, writer)
        {
            return refuse("it may be what the reader excludes");
        }
        if sent & STRING != 0 {
            self.accepts_text(reader, writer)?;
        }
        if sent & (INTEGER | FRACTION) != 0 {
            within(reader, writer, "minimum", "maximum")?;
        }
        if sent & ARRAY != 0 {
            self.accepts_array(reader, writer)?;
        }
        if sent & OBJECT != 0 {
            self.accepts_members(reader, writer)?;
        }
        Ok(())
    }

    fn accepts_text(&self, reader: &Map<String, Value>, writer: &Map<String, Value>) -> Result<(), Refusal> {
        let text = |schema: &Map<String, Value>, keyword: &str| Some(schema.get(keyword)?.as_str()?.to_owned());
        if let Some(wanted) = text(reader, "pattern") {
            let Some(sent) = text(writer, "pattern") else {
                return refuse(format!("only texts like {wanted} are accepted"));
            };
            match self.patterns.includes(&wanted, &sent) {
                Some(true) => {}
                Some(false) => return refuse(format!("not every text like {sent} is like {wanted}")),
                None => return refuse(format!("the patterns {wanted} and {sent} cannot be compared")),
            }
        }
        if let Some(wanted) = text(reader, "format")
            && text(writer, "format").as_ref() != Some(&wanted)
        {
            return refuse(format!("only the format {wanted} is accepted"));
        }
        within(reader, writer, "minLength", "maxLength")
    }

    fn accepts_array(&self, reader: &'a Map<String, Value>, writer: &'a Map<String, Value>) -> Result<(), Refusal> {
        within(reader, writer, "minItems", "maxItems")?;
        let never_has_items = number(writer, "maxItems").is_some_and(|it| it.as_f64() == Some(0.0));
        if let Some(wanted) = reader.get("items")
            && !never_has_items
        {
            let sent = writer.get("items").filter(|_| unknown_keyword(writer).is_none()).unwrap_or(&TRUE);
            self.accepts(wanted, sent).map_err(inside("[]"))?;
        }
        Ok(())
    }

    fn accepts_members(&self, reader: &'a Map<String, Value>, writer: &'a Map<String, Value>) -> Result<(), Refusal> {
        if let Some(missing) = names(reader).find(|name| names(writer).all(|it| it != *name)) {
            return Err(Refusal { at: missing.to_owned(), why: "it is required".to_owned() });
        }
        let (wanted_others, sent_others) = (others(reader, false), others(writer, true));
        for (name, sent) in properties(writer) {
            let wanted = property(reader, name).unwrap_or(wanted_others);
            if wanted == &FALSE && sent != &FALSE {
                return Err(Refusal { at: name.clone(), why: "members that are not named are refused".to_owned() });
            }
            self.accepts(wanted, sent).map_err(inside(name))?;
        }
        if sent_others != &FALSE {
            self.accepts(wanted_others, sent_others).map_err(inside("*"))?;
            for (name, wanted) in properties(reader).filter(|(name, _)| property(writer, name).is_none()) {
                self.accepts(wanted, sent_others).map_err(inside(name))?;
            }
        }
        Ok(())
    }

    /// Whether nothing that the writer sends is what the reader excludes.
    fn avoids(&self, excluded: &'a Value, writer: &'a Map<String, Value>) -> bool {
        let Ok(excluded) = self.of_reader(excluded) else { return false };
        match finite(excluded) {
            Some(values) => values.iter().all(|value| self.holds_plain(writer, value, Side::Writer) == Some(false)),
            None => self.are_disjoint_plain(excluded, writer),
        }
    }

    /// Whether no value is both accepted by the reader and sent by the writer. Says no when in doubt.
    fn are_disjoint(&self, reader: &'a Value, writer: &'a Value) -> bool {
        let (Ok(reader), Ok(writer)) = (self.of_reader(reader), self.of_writer(writer)) else { return false };
        if reader == &FALSE || writer == &FALSE {
            return true;
        }
        let each = |schema: &'a Value| schema.get("oneOf").and_then(Value::as_array);
        if each(reader).is_some_and(|members| members.iter().all(|member| self.are_disjoint(member, writer))) {
            return true;
        }
        if each(writer).is_some_and(|members| members.iter().all(|member| self.are_disjoint(reader, member))) {
            return true;
        }
        if let Some(values) = finite(writer) {
            return values.iter().all(|value| self.holds(reader, value, Side::Reader) == Some(false));
        }
        if let Some(values) = finite(reader) {
            return values.iter().all(|value| self.holds(writer, value, Side::Writer) == Some(false));
        }
        writer.as_object().is_some_and(|writer| self.are_disjoint_plain(reader, writer))
    }

    fn are_disjoint_plain(&self, reader: &'a Value, writer: &'a Map<String, Value>) -> bool {
        let Some(reader) = reader.as_object() else { return false };
        let shared = kinds(reader) & kinds(writer);
        let apart = |least: &str, most: &str| is_apart(reader, writer, least, most);
        let texts = || {
            let text = |schema: &Map<String, Value>| Some(schema.get("pattern")?.as_str()?.to_owned());
            let patterns = text(reader).zip(text(writer));
            apart("minLength", "maxLength")
                || patterns.is_some_and(|(one, other)| self.patterns.are_disjoint(&one, &other) == Some(true))
        };
        shared & (NULL | BOOLEAN) == 0
            && (shared & STRING == 0 || texts())
            && (shared & (INTEGER | FRACTION) == 0 || apart("minimum", "maximum"))
            && (shared & ARRAY == 0 || apart("minItems", "maxItems"))
            && (shared & OBJECT == 0 || self.have_disjoint_members(reader, writer))
    }

    /// Whether some member tells the objects of both apart.
    fn have_disjoint_members(&self, reader: &'a Map<String, Value>, writer: &'a Map<String, Value>) -> bool {
        let (wanted_others, sent_others) = (others(reader, false), others(writer, true));
        names(writer).chain(names(reader)).any(|name| {
            let wanted = property(reader, name).unwrap_or(wanted_others);
            let sent = property(writer, name).unwrap_or(sent_others);
            self.are_disjoint(wanted, sent)
        })
    }

    /// Whether a value is valid; `None` when that cannot be told.
    fn holds(&self, schema: &Value, value: &Value, side: Side) -> Option<bool> {
        match schema {
            Value::Bool(fixed) => Some(*fixed),
            Value::Object(members) => {
                let reference = members.get("$ref").map(|_| {
                    let target = resolve(self.document(side), schema).ok()?;
                    self.holds(target, value, side)
                });
                let union = members.get("oneOf").and_then(Value::as_array).map(|alternatives| {
                    let held: Vec<Option<bool>> = alternatives.iter().map(|it| self.holds(it, value, side)).collect();
                    let certain = held.iter().filter(|it| **it == Some(true)).count();
                    match certain {
                        2.. => Some(false),
                        _ if held.contains(&None) => None,
                        certain => Some(certain == 1),
                    }
                });
                all([reference, union].into_iter().flatten().chain([self.holds_plain(members, value, side)]))
            }
            _ => None,
        }
    }

    fn document(&self, side: Side) -> &'a Value {
        match side {
            Side::Writer => self.writer,
            Side::Reader => self.reader,
        }
    }

    /// Everything but references and unions.
    fn holds_plain(&self, schema: &Map<String, Value>, value: &Value, side: Side) -> Option<bool> {
        let mut facts = vec![Some(kinds(schema) & kind_of(value) != 0)];
        if unknown_keyword(schema).is_some() {
            facts.push(None);
        }
        if let Some(values) = listed(schema) {
            facts.push(any(values.into_iter().map(|it| same(it, value))));
        }
        if let Some(excluded) = schema.get("not") {
            // Inside of `not` a writer promises nothing.
            let unpromised = match side {
                Side::Reader => self.holds(excluded, value, side),
                Side::Writer => listed_values(excluded).and_then(|values| any(values.iter().map(|it| same(it, value)))),
            };
            facts.push(unpromised.map(|it| !it));
        }
        let measured = |measure: &Number, least: &str, most: &str| {
            let above = number(schema, least).map(|bound| compare(measure, bound).map(Ordering::is_ge));
            let below = number(schema, most).map(|bound| compare(measure, bound).map(Ordering::is_le));
            all([above, below].into_iter().flatten())
        };
        match value {
            Value::String(text) => {
                let pattern = schema.get("pattern").and_then(Value::as_str);
                facts.extend(pattern.map(|pattern| self.patterns.is_match(pattern, text)));
                facts.extend(schema.get("format").map(|_| None));
                facts.push(measured(&Number::from(text.chars().count()), "minLength", "maxLength"));
            }
            Value::Number(number) => facts.push(measured(number, "minimum", "maximum")),
            Value::Array(items) => {
                facts.push(measured(&Number::from(items.len()), "minItems", "maxItems"));
                if let Some(each) = schema.get("items") {
                    facts.extend(items.iter().map(|item| self.holds(each, item, side)));
                }
            }
            Value::Object(members) => {
                facts.push(Some(names(schema).all(|name| members.contains_key(name))));
                let unnamed = others(schema, side == Side::Writer);
                for (name, member) in members {
                    facts.push(self.holds(property(schema, name).unwrap_or(unnamed), member, side));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        all(facts)
    }
}

/// Whose reading of a schema counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Reader,
    Writer,
}

fn is_only(schema: &Map<String, Value>, keyword: &str) -> bool {
    schema.keys().all(|key| key == keyword || ANNOTATIONS.contains(&key.as_str()))
}

/// Follows a reference that stands alone (annotations aside), and unions of one.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> Result<&'a Value, Refusal> {
    let mut schema = schema;
    loop {
        let Some(members) = schema.as_object() else { return Ok(schema) };
        if is_only(members, "$ref") && members.contains_key("$ref") {
            let Some(target) = referred(schema).and_then(|name| document.get("$defs")?.get(name)) else {
                return refuse("a reference leads nowhere");
            };
            schema = target;
        } else if is_only(members, "oneOf")
            && let Some([only]) = members.get("oneOf").and_then(Value::as_array).map(Vec::as_slice)
        {
            schema = only;
        } else {
            return Ok(schema);
        }
    }
}

/// The values that `const` or `enum` allow.
fn listed(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    schema
        .get("const")
        .map(|value| vec![value])
        .or_else(|| schema.get("enum")?.as_array().map(|values| values.iter().collect()))
}

fn listed_values(schema: &Value) -> Option<Vec<&Value>> {
    schema.as_object().filter(|it| is_only(it, "enum") || is_only(it, "const")).and_then(listed)
}

/// All values of a schema, and perhaps more, if they can be counted.
fn finite(schema: &Value) -> Option<Vec<&Value>> {
    schema.as_object().and_then(listed)
}

/// Whether the writer's range is within the reader's.
fn within(reader: &Map<String, Value>, writer: &Map<String, Value>, least: &str, most: &str) -> Result<(), Refusal> {
    for (keyword, fits, word) in
        [(least, Ordering::is_ge as fn(Ordering) -> bool, "below"), (most, Ordering::is_le, "above")]
    {
        let Some(wanted) = number(reader, keyword) else { continue };
        let is_within = number(writer, keyword).and_then(|sent| compare(sent, wanted)).is_some_and(fits);
        // Nothing is shorter than nothing.
        let is_trivial = least != "minimum" && keyword == least && wanted.as_f64().is_some_and(|it| it <= 0.0);
        if !is_within && !is_trivial {
            return refuse(format!("{word} {wanted} is not accepted ({keyword})"));
        }
    }
    Ok(())
}

/// Whether two ranges have nothing in common.
fn is_apart(one: &Map<String, Value>, other: &Map<String, Value>, least: &str, most: &str) -> bool {
    let ends_before = |low: &Map<String, Value>, high: &Map<String, Value>| {
        let ends = number(low, most).zip(number(high, least));
        ends.and_then(|(end, begin)| compare(end, begin)).is_some_and(Ordering::is_lt)
    };
    ends_before(one, other) || ends_before(other, one)
}

fn described(schema: &Map<String, Value>) -> String {
    match schema.get("type") {
        Some(Value::String(kind)) => format!("{}{kind}", if kind.starts_with(['a', 'i', 'o']) { "an " } else { "a " }),
        Some(kinds) => format!("each of {kinds}"),
        None => "anything".to_owned(),
    }
}
