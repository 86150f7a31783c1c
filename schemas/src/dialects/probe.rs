//! What an encoder does, found out by asking it: payloads made from the catalog's own schema, each encoded, each kept
//! beside its frame.
//!
//! Every leaf of a payload has a value of its own, so a value that turns up in a frame tells where it came from. Members
//! are left out one by one, two by two and all but one; words, truths, kinds and lengths are each tried. Nothing is
//! random: the same catalog makes the same probes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use eventwire_protocol::catalog::{Event, EventSpec};
use eventwire_protocol::frame::EventKind;
use eventwire_protocol::{Committed, Dialect, Envelope, Publication, Time};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::profile::{Definitions, referred};
use crate::source::{EventSource, Source};

/// Names of members that a payload's free-form objects have here. No frame names its members so.
pub const MARK: &str = "zz-";

/// How deep payloads are followed; none is deeper.
const DEEPEST: usize = 8;

/// A payload with its envelope, and the frame that came of it.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The payload, and beside its members `@time`, `@session` and `@connection` of the envelope.
    pub told: Value,
    /// What clients read.
    pub frame: Value,
    /// The one place that differs from the probe of this number, if one does.
    pub varied: Option<(usize, String)>,
    /// Its number among the probes of the event.
    pub number: usize,
}

/// The places of a payload with the schema of each, as [`places`] finds them.
pub type Places = BTreeMap<String, Value>;

/// Resolves a reference, and a union with one member.
pub fn resolved<'a>(schema: &'a Value, definitions: &'a Definitions) -> &'a Value {
    let only = schema.get("oneOf").and_then(Value::as_array).and_then(|all| match all.as_slice() {
        [only] => Some(only),
        _ => None,
    });
    match referred(only.unwrap_or(schema)).and_then(|name| definitions.get(name)) {
        Some(definition) => resolved(definition, definitions),
        None => schema,
    }
}

/// The alternatives of a union of several, resolved.
fn alternatives<'a>(schema: &'a Value, definitions: &'a Definitions) -> Vec<&'a Value> {
    let members = schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    members.iter().map(|member| resolved(member, definitions)).collect()
}

/// Every place in payloads of a schema: `streams[].to`, with the schema that stands there.
pub fn places(schema: &Value, definitions: &Definitions) -> Places {
    let mut found = Places::new();
    collect(schema, definitions, "", 0, &mut found);
    found
}

fn collect(schema: &Value, definitions: &Definitions, at: &str, depth: usize, found: &mut Places) {
    if depth > DEEPEST {
        return;
    }
    if !at.is_empty() {
        found.insert(at.to_owned(), schema.clone());
    }
    let schema = resolved(schema, definitions);
    for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        collect(member, definitions, &join(at, name), depth + 1, found);
    }
    if let Some(items) = schema.get("items") {
        collect(items, definitions, &format!("{at}[]"), depth + 1, found);
    }
}

/// The path of a member.
pub fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// What one payload is to be like.
#[derive(Clone, Debug, Default)]
struct Plan {
    /// Places that are left out. A place in a list is left out of the first item only, unless `everywhere`.
    without: BTreeSet<String>,
    /// Values for places; in a list, for the first item only.
    with: BTreeMap<String, Value>,
    /// Whether `without` counts for every item of a list.
    everywhere: bool,
    /// Where leaves begin to count.
    seed: u64,
}

struct Maker<'a> {
    definitions: &'a Definitions,
    plan: &'a Plan,
    next: u64,
}

impl Maker<'_> {
    fn make(&mut self, schema: &Value, at: &str, is_first: bool) -> Value {
        self.next += 1;
        let here = self.next;
        if let Some(value) = self.plan.with.get(at).filter(|_| is_first) {
            return value.clone();
        }
        let schema = resolved(schema, self.definitions);
        if schema.get("oneOf").is_some() {
            let first = alternatives(schema, self.definitions).first().copied().cloned().unwrap_or_default();
            return self.make(&first, at, is_first);
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(first) = words(schema).first() {
            return first.clone();
        }
        match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
            "object" => self.object(schema, at, is_first, here),
            "array" => match schema.get("items") {
                Some(items) => {
                    let at = format!("{at}[]");
                    Value::Array((0..2).map(|index| self.make(items, &at, is_first && index == 0)).collect())
                }
                None => json!([format!("text-{here}"), here]),
            },
            "boolean" => true.into(),
            kind => leaf(schema, kind, here),
        }
    }

    fn object(&mut self, schema: &Value, at: &str, is_first: bool, here: u64) -> Value {
        let mut members = Map::new();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            for index in 0..2 {
                let value = match schema.get("additionalProperties").filter(|it| it.is_object()) {
                    Some(inner) => self.make(inner, &format!("{at}.*"), false),
                    None => json!(format!("text-{here}-{index}")),
                };
                members.insert(format!("{MARK}{here}-{index}"), value);
            }
            return Value::Object(members);
        };
        for (name, member) in properties {
            let at = join(at, name);
            // Made in any case, so that what follows has the same values with it and without.
            let value = self.make(member, &at, is_first);
            if !(self.plan.without.contains(&at) && (is_first || self.plan.everywhere)) {
                members.insert(name.clone(), value);
            }
        }
        Value::Object(members)
    }
}

/// The words of a list, closed or open.
pub fn words(schema: &Value) -> Vec<Value> {
    let list = schema
        .get("enum")
        .or_else(|| schema.get("examples").filter(|_| schema.get("type").is_some_and(|it| it == "string")));
    list.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Every value of a place that has few: the words of a list, true and false.
fn finite(schema: &Value, definitions: &Definitions) -> Vec<Value> {
    let schema = resolved(schema, definitions);
    if schema.get("type").is_some_and(|it| it == "boolean") { vec![json!(true), json!(false)] } else { words(schema) }
}

fn leaf(schema: &Value, kind: &str, here: u64) -> Value {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    match kind {
        "integer" => {
            let (low, high) = (bound("minimum").unwrap_or(0.0) as i64, bound("maximum").unwrap_or(1e9) as i64);
            let range = high.saturating_sub(low).max(1);
            json!(low + (1 + here as i64 * 7) % range)
        }
        "number" => {
            let (low, high) = (bound("minimum").unwrap_or(0.0), bound("maximum").unwrap_or(1e6));
            json!(low + (high - low) * ((here * 37 % 997) as f64 + 0.5) / 1000.0)
        }
        _ if schema.get("format").is_some_and(|it| it == "date-time") => {
            json!(format!("2026-{:02}-{:02}T23:40:01.{:05}1Z", 1 + here % 12, 1 + here % 28, here % 100_000))
        }
        _ => match schema.get("pattern").and_then(Value::as_str) {
            Some(pattern) => json!(fitting(pattern, here).into_iter().next().unwrap_or_default()),
            None => json!(format!("text-{here}")),
        },
    }
}

/// Texts that fit a pattern of the catalog, one for each way to write them.
fn fitting(pattern: &str, here: u64) -> Vec<String> {
    let candidates = [
        format!("session_{here}"),
        format!("adw:{here:08x}"),
        format!("room:room-{here}"),
        format!("session:session_{here}"),
        format!("{here:08x}"),
        format!("c{here:016x}"),
        format!("{here:016x}"),
        format!("~{here:032x}"),
    ];
    thread_local! {
        // There are few patterns, and each is asked for thousands of times.
        static PATTERNS: RefCell<BTreeMap<String, Option<jsonschema::Validator>>> = const { RefCell::new(BTreeMap::new()) };
    }
    PATTERNS.with_borrow_mut(|patterns| {
        let compiled = patterns
            .entry(pattern.to_owned())
            .or_insert_with(|| jsonschema::draft202012::new(&json!({ "pattern": pattern })).ok());
        let fits = |text: &String| compiled.as_ref().is_some_and(|it| it.is_valid(&json!(text)));
        candidates.into_iter().filter(fits).collect()
    })
}

/// What is tried at a place besides the value that it has anyhow.
fn trials(schema: &Value, definitions: &Definitions, here: u64) -> Vec<Value> {
    let schema = resolved(schema, definitions);
    if schema.get("oneOf").is_some() {
        let plan = Plan { seed: here, ..Plan::default() };
        return alternatives(schema, definitions)
            .into_iter()
            .flat_map(|it| {
                let usual = Maker { definitions, plan: &plan, next: here }.make(it, "", true);
                std::iter::once(usual).chain(trials(it, definitions, here))
            })
            .collect();
    }
    let bound = |name: &str| schema.get(name).filter(|it| it.is_number()).cloned();
    let mut tried = words(schema);
    match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
        "boolean" => tried.extend([json!(true), json!(false)]),
        "integer" => tried
            .extend([bound("minimum"), bound("maximum"), Some(leaf(schema, "integer", here))].into_iter().flatten()),
        "number" => {
            tried
                .extend([bound("minimum"), bound("maximum"), Some(leaf(schema, "number", here))].into_iter().flatten());
            // A whole number, for those who write it as one.
            tried.push(json!(1.0));
        }
        "array" => tried.push(json!([])),
        "object" if schema.get("properties").is_none() => tried.push(json!({})),
        "string" if schema.get("enum").is_some() => {}
        "string" if schema.get("pattern").is_some() => {
            let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
            tried.extend(fitting(pattern, here).into_iter().map(Value::from));
        }
        "string" if schema.get("format").is_some() => {
            tried.extend([json!("2026-03-04T05:06:07Z"), leaf(schema, "string", here)]);
        }
        "string" => tried.extend([json!(format!("another-{here}")), json!("")]),
        _ => {}
    }
    tried
}

/// Payloads of a schema: complete, minimal, and every variation of both. Each with the one place in which it differs from
/// an earlier one.
pub fn payloads(schema: &Value, definitions: &Definitions) -> Vec<(Value, Option<(usize, String)>)> {
    let places = places(schema, definitions);
    let optional: Vec<&String> = places.keys().filter(|at| is_optional(schema, definitions, at)).collect();
    let mut made = Vec::new();
    for seed in [0, 5000] {
        let complete = Plan { seed, ..Plan::default() };
        let minimal =
            Plan { without: optional.iter().map(|it| (*it).clone()).collect(), everywhere: true, ..complete.clone() };
        // And without anything in one of its lists: some frames tell of a list only then.
        let lists = places.iter().filter(|(at, place)| {
            !at.contains(['[', '.']) && resolved(place, definitions).get("type").is_some_and(|it| it == "array")
        });
        let emptied = lists.map(|(at, _)| {
            let mut plan = complete.clone();
            plan.with.insert(at.clone(), json!([]));
            plan
        });
        for base in [complete.clone(), minimal.clone()].iter().chain(&emptied.collect::<Vec<_>>()) {
            let base_number = made.len();
            made.push((built(schema, definitions, base), None));
            for (index, (at, place)) in places.iter().enumerate() {
                for value in trials(place, definitions, seed + 2000 + index as u64) {
                    if base.with.keys().any(|emptied| is_within(at, emptied)) {
                        continue;
                    }
                    let mut plan = base.clone();
                    // In the minimal payload the place and what holds it are there for once.
                    plan.without.retain(|left_out| !is_within(at, left_out));
                    plan.with.insert(at.clone(), value);
                    made.push((built(schema, definitions, &plan), Some((base_number, at.clone()))));
                }
            }
        }
        // Words two by two: what is made of both shows only then.
        let listed: Vec<(&String, Vec<Value>)> = places
            .iter()
            .map(|(at, place)| (at, finite(place, definitions)))
            .filter(|(_, all)| !all.is_empty())
            .collect();
        for (index, (one, words)) in listed.iter().enumerate() {
            for (other, others) in listed.iter().skip(index + 1) {
                for (word, another) in words.iter().flat_map(|word| others.iter().map(move |it| (word, it))) {
                    let mut plan = complete.clone();
                    plan.with.insert((*one).clone(), word.clone());
                    plan.with.insert((*other).clone(), another.clone());
                    made.push((built(schema, definitions, &plan), None));
                }
            }
        }
        for (index, one) in optional.iter().enumerate() {
            let mut plan = complete.clone();
            plan.without.insert((*one).clone());
            made.push((built(schema, definitions, &plan), None));
            // By itself: none of the others.
            let mut plan = minimal.clone();
            plan.without.retain(|left_out| !is_within(one, left_out));
            made.push((built(schema, definitions, &plan), None));
            for other in optional.iter().skip(index + 1).filter(|_| optional.len() <= 12) {
                let mut plan = complete.clone();
                plan.without.extend([(*one).clone(), (*other).clone()]);
                made.push((built(schema, definitions, &plan), None));
            }
        }
    }
    made
}

/// Whether a place is another or inside of it.
fn is_within(place: &str, outer: &str) -> bool {
    place.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn built(schema: &Value, definitions: &Definitions, plan: &Plan) -> Value {
    Maker { definitions, plan, next: plan.seed }.make(schema, "", true)
}

fn is_optional(schema: &Value, definitions: &Definitions, at: &str) -> bool {
    if at.ends_with("[]") {
        return false;
    }
    let (holder, name) = at.rsplit_once('.').unwrap_or(("", at));
    let places = places(schema, definitions);
    let holder = if holder.is_empty() { Some(schema) } else { places.get(holder) };
    let required = holder.and_then(|it| resolved(it, definitions).get("required")?.as_array());
    !required.is_some_and(|names| names.iter().any(|it| it == name))
}

/// Payloads that no schema tells of: what a command's answer holds is up to who answers, and one dialect looks into it.
fn spoken_of(event: &EventSource) -> Vec<Value> {
    match event.spec.name {
        "connection.reply" => ["subscribed", "unsubscribed", "error"]
            .iter()
            .flat_map(|status| {
                [
                    json!({ "data": { "status": status } }),
                    json!({ "re": "text-9", "data": { "status": status, "zz-1": 1 } }),
                ]
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Everything that a dialect makes of an event type; empty where it has no word for it.
///
/// # Errors
/// [`Error::Catalog`] when a complete payload, made from the catalog's schema, is refused by the catalog.
pub fn observe(source: &Source, event: &EventSource, dialect: Dialect) -> Result<Vec<Observation>, Error> {
    if !dialect.supports(&EventKind::Known(event.spec.event_type)) {
        return Ok(Vec::new());
    }
    let Some(schema) = source.sent.get(&event.data_name()) else { return Ok(Vec::new()) };
    let mut observations = Vec::new();
    let mut made = payloads(schema, &source.sent);
    made.extend(spoken_of(event).into_iter().map(|data| (data, None)));
    let instants = ["2026-11-20T23:40:01.123456Z", "2026-11-21T07:00:00Z", "2027-01-02T03:04:05.600001Z"];
    for (number, (data, varied)) in made.iter().enumerate() {
        // Time and audience are tried with the complete payload and the minimal one.
        let is_base = number == 0 || varied.is_none() && number % 7 == 0;
        let envelopes: Vec<(String, &str)> = if is_base {
            targets(event.spec, data).into_iter().flat_map(|to| instants.map(|time| (to.clone(), time))).collect()
        } else {
            targets(event.spec, data).into_iter().take(1).map(|to| (to, instants[0])).collect()
        };
        for (to, time) in envelopes {
            let frame = match frame(event, dialect, &to, time, data) {
                Ok(frame) => frame,
                Err(error) if number == 0 => {
                    return Err(Error::Catalog(format!(
                        "{}: a payload made from its schema is refused: {error}",
                        event.spec.name
                    )));
                }
                Err(_) => continue,
            };
            let Some(frame) = frame else { continue };
            let mut told = data.clone();
            if let Value::Object(members) = &mut told {
                members.insert("@time".to_owned(), time.into());
                for kind in ["session", "connection"] {
                    if let Some(id) = to.strip_prefix(kind).and_then(|rest| rest.strip_prefix(':')) {
                        members.insert(format!("@{kind}"), id.into());
                    }
                }
            }
            observations.push(Observation { told, frame, varied: varied.clone(), number });
        }
    }
    Ok(observations)
}

/// One target of each kind that an event may go to.
fn targets(spec: &EventSpec, data: &Value) -> Vec<String> {
    let named =
        |member: &str, otherwise: &str| data.get(member).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
    let mut targets = Vec::new();
    for kind in spec.audiences {
        match kind.as_str() {
            "connection" => {
                targets.extend(["connection:c00000000000000ff".to_owned(), "connection:c00000000000000fe".to_owned()])
            }
            "session" => targets.extend(["session:planning".to_owned(), "session:reviewing".to_owned()]),
            "user" => targets.push("user:maria".to_owned()),
            "adw" => targets.push(format!("adw:{}", named("adw_id", "29fb6a3e"))),
            "room" => targets.push("room:tasks".to_owned()),
            _ => targets.push("global".to_owned()),
        }
    }
    targets
}

/// The frame in which clients of a dialect read an event; `None` where they are told nothing.
///
/// # Errors
/// Why the payload or the target is refused.
pub fn frame(
    event: &EventSource,
    dialect: Dialect,
    to: &str,
    time: &str,
    data: &Value,
) -> Result<Option<Value>, String> {
    let at: Time = time.parse().map_err(|error| format!("{error}"))?;
    let raw = serde_json::value::to_raw_value(data).map_err(|error| error.to_string())?;
    let envelope = if event.spec.is_the_servers_own() {
        let id = to.trim_start_matches("connection:").parse().map_err(|error| format!("{error}"))?;
        let payload = Event::from_payload(event.spec.event_type, &raw).map_err(|error| error.to_string())?;
        macro_rules! to_connection {
            ($($variant:ident)+) => {
                match &payload {
                    $(Event::$variant(payload) => Envelope::to_connection(id, payload, at),)+
                    other => return Err(format!("{} is not the server's own", other.event_type())),
                }
            };
        }
        to_connection!(
            ConnectionWelcome ConnectionPong ConnectionHeartbeat ConnectionSubscribed ConnectionUnsubscribed
            ConnectionReplaying ConnectionRecovered ConnectionGap ConnectionError ConnectionReply ConnectionClosing
        )
    } else {
        let text = json!({ "type": event.spec.name, "to": to, "time": time, "data": data }).to_string();
        Publication::decode(&text).and_then(|publication| Envelope::admit(publication, at))
    };
    let envelope = envelope.map_err(|error| error.to_string())?;
    let bytes = dialect.encode(&Committed::new(envelope, None));
    bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())).transpose()
}
