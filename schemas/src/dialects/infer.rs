//! From probes to the form of a frame: what each of its members can be, and what of the event it says.
//!
//! A member that equals a member of the payload in every probe takes that member's schema over. One that is another
//! spelling of it (a time in seconds, a word in capitals) is found by spelling it so. One that is a function of a word is a
//! word itself. What is left is told by its kind and by what it changes with.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use eventwire_protocol::Time;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::probe::{self, MARK, Observation, Places, join, resolved, words};
use crate::profile::{self, Definitions, MAX_INTEGER};

/// The kinds of JSON values; whole numbers are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An object.
    Object,
    /// An array.
    List,
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Truth,
    /// Null.
    Null,
}

impl Kind {
    /// The kind of a value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Truth,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Object,
        }
    }
}

/// A place of an event that a member of a frame comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The event type.
    pub event: String,
    /// The place: a payload's member, or `@time`, `@session`, `@connection` of the envelope.
    pub place: String,
    /// How it is spelled here; empty where it is as it was.
    pub how: String,
}

/// What values of one kind are like.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// As this schema says.
    Like(Value),
    /// One of these texts.
    Words(BTreeSet<String>),
    /// Always this.
    Always(Value),
    /// A list of such items; `None` where none was ever seen.
    Items(Option<Box<Node>>),
    /// An object with these members, and whatever else.
    Members(Vec<(String, Member)>),
    /// An object of which nothing is known.
    Free,
}

/// Values of one kind at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// What they are like.
    pub shape: Shape,
    /// What they come from.
    pub origins: BTreeSet<Origin>,
    /// What the payload says of the member that was taken over.
    pub description: Option<String>,
    /// The member of several kinds that was taken over.
    pub whole: Option<Value>,
    /// Whether some event puts any object here, so that what is known of the others' members is no promise.
    pub is_any: bool,
}

impl Form {
    fn new(shape: Shape) -> Self {
        Self { shape, origins: BTreeSet::new(), description: None, whole: None, is_any: false }
    }
}

/// What stands at one place of a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// By kind, those that were seen.
    pub kinds: BTreeMap<Kind, Form>,
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Whether it is always there.
    pub is_required: bool,
    /// What it is.
    pub node: Node,
}

/// How a member is spelled that is made of several, or in a way that has no name.
pub const MADE: &str = "made";

struct Occurrence<'a> {
    observation: usize,
    index: Vec<usize>,
    value: &'a Value,
}

/// What is known of one event's payloads, beside its observations.
struct Told<'a> {
    event: &'a str,
    observations: &'a [&'a Observation],
    definitions: &'a Definitions,
    places: Places,
    /// For each place, for each observation, the values by index.
    values: BTreeMap<String, Vec<BTreeMap<Vec<usize>, &'a Value>>>,
    /// Of each place that something was compared with.
    validators: BTreeMap<String, OnceCell<Option<Validator>>>,
}

/// What the frames of these observations are like; `frame_of` takes the part that is looked at.
pub fn infer<'a>(
    event: &'a str,
    payload: &Value,
    definitions: &'a Definitions,
    observations: &'a [&'a Observation],
    frame_of: impl Fn(&'a Observation) -> &'a Value,
) -> Node {
    let mut places = probe::places(payload, definitions);
    places.insert("@time".to_owned(), json!({ "type": "string", "format": "date-time" }));
    for (place, name) in [("@session", "SessionId"), ("@connection", "ConnectionId")] {
        if definitions.contains_key(name) {
            places.insert(place.to_owned(), crate::profile::reference(name));
        }
    }
    let mut values: BTreeMap<String, Vec<BTreeMap<Vec<usize>, &Value>>> =
        places.keys().map(|place| (place.clone(), vec![BTreeMap::new(); observations.len()])).collect();
    for (number, observation) in observations.iter().enumerate() {
        gather(&observation.told, "", &mut Vec::new(), &mut |place, index, value| {
            if let Some(of_probe) = values.get_mut(place).and_then(|all| all.get_mut(number)) {
                of_probe.insert(index.to_vec(), value);
            }
        });
    }
    let validators = places.keys().map(|place| (place.clone(), OnceCell::new())).collect();
    let told = Told { event, observations, definitions, places, values, validators };
    let frames = observations
        .iter()
        .enumerate()
        .map(|(observation, it)| Occurrence { observation, index: Vec::new(), value: frame_of(it) })
        .collect();
    told.node(frames, "", &frame_of)
}

fn gather<'a>(value: &'a Value, at: &str, index: &mut Vec<usize>, found: &mut impl FnMut(&str, &[usize], &'a Value)) {
    if !at.is_empty() {
        found(at, index, value);
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                gather(member, &join(at, name), index, found);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                index.push(number);
                gather(item, &format!("{at}[]"), index, found);
                index.pop();
            }
        }
        _ => {}
    }
}

/// Whether two values say the same; 40 and 40.0 do.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// A way to spell a value otherwise: what it is called, and the schema of what comes of it.
struct Spelling {
    how: &'static str,
    spell: fn(&Value) -> Option<Value>,
    schema: fn() -> Value,
}

const SPELLINGS: &[Spelling] = &[
    Spelling {
        how: "in ISO 8601 with six digits of the second's fraction and `Z`",
        spell: |value| Some(json!(format!("{}Z", instant(value)?.six_digits()))),
        schema: || json!({ "type": "string", "format": "date-time" }),
    },
    Spelling {
        how: "in ISO 8601 with six digits of the second's fraction and `+00:00`",
        spell: |value| Some(json!(format!("{}+00:00", instant(value)?.six_digits()))),
        schema: || json!({ "type": "string", "format": "date-time" }),
    },
    Spelling {
        how: "in ISO 8601 with three digits of the second's fraction and `Z`",
        spell: |value| {
            let text = instant(value)?.six_digits();
            Some(json!(format!("{}Z", text.get(..text.len() - 3)?)))
        },
        schema: || json!({ "type": "string", "format": "date-time" }),
    },
    Spelling {
        how: "in seconds since 1970, with a fraction",
        spell: |value| Some(json!(instant(value)?.as_unix_micros() as f64 / 1e6)),
        schema: || json!({ "type": "number" }),
    },
    Spelling {
        how: "in milliseconds since 1970",
        spell: |value| Some(json!(instant(value)?.as_unix_micros().div_euclid(1000))),
        schema: whole_number,
    },
    Spelling {
        how: "in whole minutes",
        spell: |value| Some(json!(value.as_u64()? / 60)),
        schema: || json!({ "type": "integer", "minimum": 0, "maximum": MAX_INTEGER }),
    },
    Spelling {
        how: "rounded down to a whole number",
        spell: |value| Some(json!(value.as_f64()?.floor() as i64)),
        schema: whole_number,
    },
    Spelling {
        how: "in capitals",
        spell: |value| Some(json!(value.as_str()?.to_ascii_uppercase())),
        schema: || json!({ "type": "string" }),
    },
    Spelling {
        how: "as JSON text",
        spell: |value| Some(json!(serde_json::to_string(value).ok()?)),
        schema: || json!({ "type": "string" }),
    },
    Spelling {
        how: "as itself if it is a text, else as JSON text",
        spell: |value| Some(json!(value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
        schema: || json!({ "type": "string" }),
    },
    Spelling {
        how: "without its kind",
        spell: |value| Some(json!(value.as_str()?.split_once(':')?.1)),
        schema: || json!({ "type": "string" }),
    },
    Spelling {
        how: "counted",
        spell: |value| Some(json!(value.as_array()?.len())),
        schema: || json!({ "type": "integer", "minimum": 0, "maximum": MAX_INTEGER }),
    },
];

fn whole_number() -> Value {
    json!({ "type": "integer", "minimum": -(MAX_INTEGER as i64), "maximum": MAX_INTEGER })
}

fn instant(value: &Value) -> Option<Time> {
    value.as_str()?.parse().ok()
}

trait SixDigits {
    /// The instant without its zone, with six digits of the second's fraction.
    fn six_digits(&self) -> String;
}

impl SixDigits for Time {
    fn six_digits(&self) -> String {
        let text = self.to_string();
        let (seconds, fraction) =
            text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
        format!("{seconds}.{fraction:0<6}")
    }
}

impl<'a> Told<'a> {
    fn node(
        &self,
        occurrences: Vec<Occurrence<'a>>,
        at: &str,
        frame_of: &impl Fn(&'a Observation) -> &'a Value,
    ) -> Node {
        let mut by_kind: BTreeMap<Kind, Vec<Occurrence<'a>>> = BTreeMap::new();
        for occurrence in occurrences {
            by_kind.entry(Kind::of(occurrence.value)).or_default().push(occurrence);
        }
        let kinds = by_kind.into_iter().map(|(kind, all)| (kind, self.form(kind, all, at, frame_of))).collect();
        Node { kinds }
    }

    fn form(
        &self,
        kind: Kind,
        all: Vec<Occurrence<'a>>,
        at: &str,
        frame_of: &impl Fn(&'a Observation) -> &'a Value,
    ) -> Form {
        if kind == Kind::Null {
            return Form::new(Shape::Always(Value::Null));
        }
        let is_scalar = !matches!(kind, Kind::Object | Kind::List);
        if let Some(first) = all.first().filter(|first| is_scalar && all.iter().all(|it| it.value == first.value)) {
            return Form::new(Shape::Always(first.value.clone()));
        }
        if let Some(mut form) = self.taken(kind, &all, at) {
            // Of an object of any members: those without which there would be no such frame.
            if kind == Kind::Object
                && form.shape.clone().or_free() == Shape::Free
                && let Shape::Members(mut members) = self.members(all, at, frame_of).shape
            {
                members.retain(|(_, member)| member.is_required && member.node.is_constant());
                if !members.is_empty() {
                    form.shape = Shape::Members(members);
                }
            }
            return form;
        }
        match kind {
            Kind::Object => self.members(all, at, frame_of),
            Kind::List => {
                let items: Vec<Occurrence<'a>> = all
                    .iter()
                    .flat_map(|it| {
                        let items = it.value.as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate();
                        items.map(|(number, value)| {
                            let mut index = it.index.clone();
                            index.push(number);
                            Occurrence { observation: it.observation, index, value }
                        })
                    })
                    .collect();
                let at = format!("{at}[]");
                let items = (!items.is_empty()).then(|| Box::new(self.node(items, &at, frame_of)));
                Form::new(Shape::Items(items))
            }
            _ => self
                .spelled(&all, at)
                .or_else(|| self.by_word(&all, at))
                .unwrap_or_else(|| self.made(kind, &all, at, frame_of)),
        }
    }

    /// The value of a place that belongs to an occurrence: that of the same items, and of the first ones of lists inside
    /// of them.
    fn at(&self, place: &str, occurrence: &Occurrence<'_>) -> Option<&'a Value> {
        let values = self.values.get(place)?.get(occurrence.observation)?;
        let mut index = occurrence.index.clone();
        index.resize(place.matches("[]").count(), 0);
        values.get(&index).copied()
    }

    /// Whether a value is such as stands at a place.
    fn may_be(&self, place: &str, value: &Value) -> bool {
        let (Some(schema), Some(validator)) = (self.places.get(place), self.validators.get(place)) else {
            return false;
        };
        let validator = validator.get_or_init(|| {
            let whole = json!({ "allOf": [schema], "$defs": profile::closure(schema, self.definitions) });
            jsonschema::draft202012::new(&whole).ok()
        });
        validator.as_ref().is_some_and(|it| it.is_valid(value))
    }

    /// A place as the origin of what stands at `at`: where its lists are deeper, their first items are meant.
    fn origin(&self, place: &str, at: &str, how: &str) -> Origin {
        let shared = at.matches("[]").count();
        let mut parts = place.split("[]");
        let mut named = parts.next().unwrap_or_default().to_owned();
        for (depth, part) in parts.enumerate() {
            named.push_str(if depth < shared { "[]" } else { "[0]" });
            named.push_str(part);
        }
        Origin { event: self.event.to_owned(), place: named, how: how.to_owned() }
    }

    /// A place of the payload whose value this always is, where the payload has it; elsewhere it is at least such a value.
    fn taken(&self, kind: Kind, all: &[Occurrence<'a>], at: &str) -> Option<Form> {
        let name = at.rsplit('.').next().unwrap_or(at);
        let mut found: Vec<(usize, bool, usize, &String)> = Vec::new();
        for place in self.places.keys() {
            let mut absent = 0;
            let mut seen: Vec<&Value> = Vec::new();
            let fits = all.iter().all(|it| match self.at(place, it) {
                Some(value) => {
                    if !seen.iter().any(|seen| same(seen, value)) && seen.len() < 2 {
                        seen.push(value);
                    }
                    same(value, it.value)
                }
                None => {
                    absent += 1;
                    self.may_be(place, it.value)
                }
            });
            if fits && seen.len() > 1 {
                let own = place.rsplit('.').next().unwrap_or(place);
                found.push((absent, own != name, place.len(), place));
            }
        }
        let (_, _, _, place) = found.into_iter().min()?;
        let schema = self.places.get(place)?;
        let of_type = resolved(schema, self.definitions);
        let is_union = of_type.get("oneOf").is_some();
        let (shape, whole) = if is_union {
            (Shape::Like(any(kind)), Some(undescribed(schema)))
        } else {
            (Shape::Like(undescribed(schema)), None)
        };
        let description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
        Some(Form { shape, origins: BTreeSet::from([self.origin(place, at, "")]), description, whole, is_any: false })
    }

    /// A place of the payload that this always spells otherwise.
    fn spelled(&self, all: &[Occurrence<'a>], at: &str) -> Option<Form> {
        for spelling in SPELLINGS {
            for place in self.places.keys() {
                let mut seen: Vec<&Value> = Vec::new();
                let mut is_any = false;
                let fits = all.iter().all(|it| {
                    self.at(place, it).is_some_and(|value| {
                        if !seen.contains(&it.value) && seen.len() < 3 {
                            seen.push(it.value);
                        }
                        is_any |= !same(value, it.value);
                        (spelling.spell)(value).is_some_and(|spelled| same(&spelled, it.value))
                    })
                });
                if !fits || seen.len() < 2 || !is_any {
                    continue;
                }
                let schema = self.places.get(place)?;
                let of_type = resolved(schema, self.definitions);
                let closed = of_type.get("enum").and_then(Value::as_array);
                let shape = match closed {
                    Some(_) => Shape::Words(all.iter().filter_map(|it| it.value.as_str().map(str::to_owned)).collect()),
                    None => Shape::Like((spelling.schema)()),
                };
                let mut form = Form::new(shape);
                form.origins.insert(self.origin(place, at, spelling.how));
                form.description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
                return Some(form);
            }
        }
        None
    }

    /// A place with few values that this is a function of.
    fn by_word(&self, all: &[Occurrence<'a>], at: &str) -> Option<Form> {
        for (place, schema) in &self.places {
            let of_type = resolved(schema, self.definitions);
            let known = words(of_type);
            let is_truth = of_type.get("type").is_some_and(|it| it == "boolean");
            if known.is_empty() && !is_truth {
                continue;
            }
            let mut table: Vec<(&Value, &Value)> = Vec::new();
            let is_function = all.iter().all(|it| {
                let Some(word) = self.at(place, it) else { return false };
                match table.iter().find(|(from, _)| *from == word) {
                    Some((_, to)) => *to == it.value,
                    None => {
                        table.push((word, it.value));
                        true
                    }
                }
            });
            let distinct: BTreeSet<String> = table.iter().map(|(_, to)| to.to_string()).collect();
            if !is_function || distinct.len() < 2 {
                continue;
            }
            let is_open = !is_truth && of_type.get("enum").is_none();
            let rows: Vec<&(&Value, &Value)> =
                table.iter().filter(|(from, _)| is_truth || known.contains(from)).collect();
            let how = said(&rows);
            let texts: Option<BTreeSet<String>> = rows.iter().map(|(_, to)| to.as_str().map(str::to_owned)).collect();
            let first = rows.first().map(|(_, to)| Kind::of(to)).unwrap_or(Kind::Text);
            let shape = match texts {
                Some(texts) if !is_open => Shape::Words(texts),
                // More words may come, and with them more of these.
                Some(texts) => Shape::Like(json!({ "type": "string", "examples": texts })),
                _ => Shape::Like(observed(first, all)),
            };
            let mut form = Form::new(shape);
            form.origins.insert(self.origin(place, at, &how));
            return Some(form);
        }
        None
    }

    /// What is known of no single place: its kind, and what it changes with.
    fn made(
        &self,
        kind: Kind,
        all: &[Occurrence<'a>],
        at: &str,
        frame_of: &impl Fn(&'a Observation) -> &'a Value,
    ) -> Form {
        let mut changes: BTreeSet<&str> = BTreeSet::new();
        for (number, observation) in self.observations.iter().enumerate() {
            let Some((base, place)) = &observation.varied else { continue };
            let Some(base) = self.observations.iter().find(|it| it.number == *base) else { continue };
            for occurrence in all.iter().filter(|it| it.observation == number) {
                let before = value_at(frame_of(base), at, &occurrence.index);
                if before != Some(occurrence.value) {
                    changes.insert(place);
                }
            }
        }
        let is_word = |place: &&str| {
            self.places.get(*place).is_some_and(|schema| {
                let of_type = resolved(schema, self.definitions);
                !words(of_type).is_empty() || of_type.get("type").is_some_and(|it| it == "boolean")
            })
        };
        let texts: Option<BTreeSet<String>> = all.iter().map(|it| it.value.as_str().map(str::to_owned)).collect();
        let is_invented = |text: &String| text.to_ascii_lowercase().contains("another-");
        let shape = match texts {
            Some(texts) if !changes.is_empty() && changes.iter().all(is_word) && !texts.iter().any(is_invented) => {
                Shape::Words(texts)
            }
            _ => Shape::Like(observed(kind, all)),
        };
        let mut form = Form::new(shape);
        form.origins.extend(changes.iter().map(|place| self.origin(place, "[][][][]", MADE)));
        form
    }

    fn members(&self, all: Vec<Occurrence<'a>>, at: &str, frame_of: &impl Fn(&'a Observation) -> &'a Value) -> Form {
        let total = all.len();
        let mut names: Vec<&str> = Vec::new();
        let mut found: BTreeMap<&str, Vec<Occurrence<'a>>> = BTreeMap::new();
        for occurrence in &all {
            for (name, value) in occurrence.value.as_object().into_iter().flatten() {
                if name.starts_with(MARK) {
                    continue;
                }
                if !found.contains_key(name.as_str()) {
                    names.push(name);
                }
                let member = Occurrence { observation: occurrence.observation, index: occurrence.index.clone(), value };
                found.entry(name).or_default().push(member);
            }
        }
        if names.is_empty() {
            return Form::new(Shape::Free);
        }
        let members = names.into_iter().filter_map(|name| {
            let occurrences = found.remove(name)?;
            let is_required = occurrences.len() == total;
            Some((name.to_owned(), Member { is_required, node: self.node(occurrences, &join(at, name), frame_of) }))
        });
        Form::new(Shape::Members(members.collect()))
    }
}

fn value_at<'a>(frame: &'a Value, at: &str, index: &[usize]) -> Option<&'a Value> {
    let mut value = frame;
    let mut index = index.iter();
    for step in at.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches("[]");
        if !name.is_empty() {
            value = value.get(name)?;
        }
        for _ in 0..step.matches("[]").count() {
            value = value.get(*index.next()?)?;
        }
    }
    Some(value)
}

/// A schema without what is said beside it: a reference, or the inline type.
fn undescribed(schema: &Value) -> Value {
    if let Some([only]) = schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice) {
        return only.clone();
    }
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        members.shift_remove("description");
    }
    schema
}

/// The kind alone.
pub fn any(kind: Kind) -> Value {
    match kind {
        Kind::Object => json!({ "type": "object" }),
        Kind::List => json!({ "type": "array" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::Null => json!({ "type": "null" }),
    }
}

fn observed(kind: Kind, all: &[Occurrence<'_>]) -> Value {
    match kind {
        Kind::Number if all.iter().all(|it| it.value.is_i64() || it.value.is_u64()) => {
            let low = if all.iter().all(|it| it.value.is_u64()) { 0 } else { -(MAX_INTEGER as i64) };
            json!({ "type": "integer", "minimum": low, "maximum": MAX_INTEGER })
        }
        kind => any(kind),
    }
}

/// A table of words in words; where many become one, they are the others.
fn said(rows: &[&(&Value, &Value)]) -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (from, to) in rows {
        let (from, to) = (format!("`{}`", plain(from)), format!("`{}`", plain(to)));
        match groups.iter_mut().find(|(name, _)| *name == to) {
            Some((_, all)) => all.push(from),
            None => groups.push((to, vec![from])),
        }
    }
    groups.sort_by_key(|(_, all)| all.len() > 6);
    let several = groups.len() > 1;
    let last = groups.len().saturating_sub(1);
    let phrases: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(index, (to, all))| {
            let others = several && index == last && all.len() > 6;
            format!("{to} for {}", if others { "all others".to_owned() } else { all.join(", ") })
        })
        .collect();
    phrases.join("; ")
}

/// A value as it stands in a sentence.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

// ---------------------------------------------------------------------------------------------------------------
// Frames that several events are told in
// ---------------------------------------------------------------------------------------------------------------

impl Node {
    /// What stands at a place in frames of this kind and of that.
    pub fn merge(&mut self, other: Self, definitions: &Definitions) {
        for (kind, form) in other.kinds {
            match self.kinds.get_mut(&kind) {
                Some(own) => own.merge(kind, form, definitions),
                None => {
                    self.kinds.insert(kind, form);
                }
            }
        }
    }
}

impl Node {
    fn is_constant(&self) -> bool {
        self.kinds.len() == 1 && self.kinds.values().all(|form| matches!(form.shape, Shape::Always(_)))
    }

    /// Its words are no longer the only ones.
    fn loosen(&mut self) {
        for form in self.kinds.values_mut() {
            if let Some(words) = texts(&form.shape) {
                form.shape = Shape::Like(json!({ "type": "string", "examples": words }));
            }
        }
    }
}

impl Form {
    fn merge(&mut self, kind: Kind, other: Self, definitions: &Definitions) {
        self.origins.extend(other.origins);
        self.is_any |= other.is_any;
        if self.description != other.description {
            self.description = None;
        }
        if self.whole != other.whole {
            self.whole = None;
        }
        let own = std::mem::replace(&mut self.shape, Shape::Free);
        self.shape = match (own.or_free(), other.shape.or_free()) {
            (own, other) if own == other => own,
            (Shape::Members(own), Shape::Members(other)) => {
                let mut members = merged(own, other, definitions);
                if self.is_any {
                    for (_, member) in &mut members {
                        member.is_required = false;
                        member.node.loosen();
                    }
                }
                Shape::Members(members)
            }
            // Nothing is known of the one: the other's members may be there.
            (Shape::Members(own), Shape::Free) | (Shape::Free, Shape::Members(own)) if kind == Kind::Object => {
                self.is_any = true;
                let mut members = merged(own, Vec::new(), definitions);
                members.iter_mut().for_each(|(_, member)| member.node.loosen());
                Shape::Members(members)
            }
            (Shape::Items(Some(mut own)), Shape::Items(Some(other))) => {
                own.merge(*other, definitions);
                Shape::Items(Some(own))
            }
            (Shape::Items(items), Shape::Items(None)) | (Shape::Items(None), Shape::Items(items)) => {
                Shape::Items(items)
            }
            // A word of the other's list.
            (Shape::Like(schema), Shape::Always(value)) | (Shape::Always(value), Shape::Like(schema))
                if is_valid(&schema, &value, definitions) =>
            {
                Shape::Like(schema)
            }
            (own, other) => match (texts(&own), texts(&other)) {
                (Some(mut own), Some(other)) => {
                    own.extend(other);
                    Shape::Words(own)
                }
                _ => Shape::Like(widest(kind, &own, &other)),
            },
        };
    }
}

impl Shape {
    /// The shape, with an object of any members named as such.
    fn or_free(self) -> Self {
        match self {
            Self::Like(schema)
                if schema.get("type").is_some_and(|it| it == "object") && schema.get("properties").is_none() =>
            {
                Self::Free
            }
            itself => itself,
        }
    }
}

fn texts(shape: &Shape) -> Option<BTreeSet<String>> {
    match shape {
        Shape::Words(words) => Some(words.clone()),
        Shape::Always(Value::String(text)) if is_word(text) => Some(BTreeSet::from([text.clone()])),
        _ => None,
    }
}

fn is_valid(schema: &Value, value: &Value, definitions: &Definitions) -> bool {
    let whole = json!({ "allOf": [schema], "$defs": profile::closure(schema, definitions) });
    jsonschema::draft202012::new(&whole).is_ok_and(|it| it.is_valid(value))
}

/// Whether a text is for programs: all in small letters or all in capitals, without a space.
pub fn is_word(text: &str) -> bool {
    let is_sign = |letter: char| letter.is_ascii_digit() || "_-./".contains(letter);
    text.chars().all(|it| it.is_ascii_lowercase() || is_sign(it))
        || text.chars().all(|it| it.is_ascii_uppercase() || is_sign(it))
}

/// What both are.
fn widest(kind: Kind, one: &Shape, other: &Shape) -> Value {
    let is_whole = |shape: &Shape| match shape {
        Shape::Like(schema) => schema.get("type").is_some_and(|it| it == "integer"),
        Shape::Always(value) => value.is_i64() || value.is_u64(),
        _ => false,
    };
    if kind == Kind::Number && is_whole(one) && is_whole(other) { whole_number() } else { any(kind) }
}

fn merged(
    own: Vec<(String, Member)>,
    other: Vec<(String, Member)>,
    definitions: &Definitions,
) -> Vec<(String, Member)> {
    let mut members: Vec<(String, Member)> = own;
    let names: BTreeSet<String> = other.iter().map(|(name, _)| name.clone()).collect();
    for (name, member) in &mut members {
        member.is_required &= names.contains(name);
    }
    for (name, member) in other {
        match members.iter_mut().find(|(own, _)| *own == name) {
            Some((_, own)) => {
                own.is_required &= member.is_required;
                own.node.merge(member.node, definitions);
            }
            None => members.push((name, Member { is_required: false, ..member })),
        }
    }
    members
}

/// The members of a frame as paths, with what each comes from; those of lists and objects after them.
pub fn flat(node: &Node, at: &str, found: &mut Map<String, Value>) {
    for form in node.kinds.values() {
        match &form.shape {
            Shape::Members(members) => {
                for (name, member) in members {
                    flat(&member.node, &join(at, name), found);
                }
            }
            Shape::Items(Some(items)) => flat(items, &format!("{at}[]"), found),
            _ => {}
        }
        for origin in &form.origins {
            let entry = found.entry(at.to_owned()).or_insert_with(|| json!([]));
            let said = if origin.how.is_empty() {
                json!({ "event": origin.event, "from": origin.place })
            } else {
                json!({ "event": origin.event, "from": origin.place, "how": origin.how })
            };
            if let Value::Array(all) = entry
                && !all.contains(&said)
            {
                all.push(said);
            }
        }
        if let (Shape::Always(value), true) = (&form.shape, form.origins.is_empty())
            && !value.is_null()
        {
            let entry = found.entry(at.to_owned()).or_insert_with(|| json!([]));
            if let Value::Array(all) = entry {
                all.push(json!({ "always": value }));
            }
        }
    }
}
