//! Bounds of payload members (EVT-08): how high a number may be, how long a text or a list.
//!
//! A payload type states them once, in the attributes that its schema is made from. Here they are read out of that schema,
//! so admission cannot hold to other bounds than those that are published. Everything else that a schema says of a member
//! (its kind, its words, the pattern of an identifier) its Rust type keeps by itself when it is read.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    catalog::EventType,
    error::{ErrorBody, ErrorCode},
    id::MAX_SEQ,
    limits,
};

/// The bounds of an integer that states none, by its format in Rust's words: what every JSON reader holds exactly, within
/// 2^53 - 1 on both sides, and from 0 on where the type has no sign.
///
/// ```
/// use eventwire_protocol::bounds::of_integers;
///
/// assert_eq!(of_integers(Some("uint64")), (0, 9_007_199_254_740_991));
/// assert_eq!(of_integers(Some("int64")), (-9_007_199_254_740_991, 9_007_199_254_740_991));
/// ```
pub fn of_integers(format: Option<&str>) -> (i64, i64) {
    const MOST: i64 = MAX_SEQ as i64;
    if format.is_none_or(|format| format.starts_with("uint")) { (0, MOST) } else { (-MOST, MOST) }
}

/// The bounds of one payload type.
#[derive(Debug)]
pub(crate) struct Bounds(Option<Shape>);

impl Bounds {
    /// Reads them out of the schema of what is sent.
    pub(crate) fn of(event_type: EventType) -> Self {
        let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let schema = event_type.payload_schema(&mut generator);
        Self(Shape::read(schema.as_value(), generator.definitions(), true, limits::MAX_DEPTH))
    }

    /// Whether a payload, as it is sent, keeps them.
    ///
    /// # Errors
    /// `invalid_payload`, naming the first member that does not, what it is and what it may be.
    pub(crate) fn check(&self, payload: &Map<String, Value>) -> Result<(), ErrorBody> {
        self.check_as(View::Sent, payload)
    }

    /// What is out of bounds in a payload that its type could not read, if that is what is wrong with it: a port of 70000
    /// is more than its Rust type holds, and its sender is told of the port and not of the type.
    pub(crate) fn explain(&self, payload: &RawValue) -> Option<ErrorBody> {
        let written: Map<String, Value> = serde_json::from_str(payload.get()).ok()?;
        self.check_as(View::Written, &written).err()
    }

    fn check_as(&self, view: View, payload: &Map<String, Value>) -> Result<(), ErrorBody> {
        let Some(Shape::Object { members, each }) = &self.0 else { return Ok(()) };
        check_members(members, each.as_deref(), payload, view).map_err(|fault| {
            let path: String = fault.path.into_iter().rev().collect();
            ErrorBody::new(ErrorCode::InvalidPayload, format!("data{path} {}", fault.problem))
        })
    }
}

/// How a payload is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// As its type wrote it: every member is of its kind, and null only where null is a value.
    Sent,
    /// As its publisher wrote it: null is absent (EVT-06), and kinds are for the type to judge.
    Written,
}

/// What is bounded in a value; parts of it without bounds are left out.
#[derive(Debug)]
enum Shape {
    /// A number. Every bound is one that a double holds exactly, and what is beyond stays beyond when it is rounded.
    Number(Range),
    /// A text, by its characters.
    Text(Range),
    /// A list: how many items, and each of them.
    List { length: Option<Range>, each: Option<Box<Self>> },
    /// An object: members by name, and all others.
    Object { members: Vec<(String, Self)>, each: Option<Box<Self>> },
    /// Null, or what is inside.
    Nullable(Box<Self>),
}

#[derive(Clone, Copy, Debug)]
struct Range {
    least: Option<f64>,
    most: Option<f64>,
}

/// A value out of its bounds. The path is from the inside to the outside.
struct Fault {
    path: Vec<String>,
    problem: String,
}

impl Fault {
    fn new(problem: String) -> Self {
        Self { path: Vec::new(), problem }
    }

    fn inside(mut self, of: String) -> Self {
        self.path.push(of);
        self
    }
}

impl Range {
    fn read(schema: &Value, least: &str, most: &str) -> Option<Self> {
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        let range = Self { least: bound(least), most: bound(most) };
        (range.least.is_some() || range.most.is_some()).then_some(range)
    }

    fn holds(self, value: f64) -> bool {
        self.least.is_none_or(|least| value >= least) && self.most.is_none_or(|most| value <= most)
    }

    fn holds_length(self, length: usize) -> bool {
        self.holds(length as f64)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.least, self.most) {
            (Some(least), Some(most)) => write!(f, "{least} to {most}"),
            (Some(least), None) => write!(f, "at least {least}"),
            (None, Some(most)) => write!(f, "at most {most}"),
            (None, None) => f.write_str("a finite number"),
        }
    }
}

impl Shape {
    /// `is_required`: whether the object around it always has it. A member that may be absent is never null, whatever
    /// its Rust type says (SCHEMA-04).
    ///
    /// `depth`: how deep a type that contains itself is followed; no deeper value is ever read (ENV-08).
    fn read(schema: &Value, definitions: &Map<String, Value>, is_required: bool, depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let inner = |schema: &Value| Self::read(schema, definitions, true, depth);
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            return Self::read(definitions.get(name.rsplit('/').next()?)?, definitions, is_required, depth);
        }
        let is_null = |of: &&Value| of.get("type").is_some_and(|kind| kind == "null");
        if let Some(Value::Array(alternatives)) = schema.get("anyOf") {
            // `Option` of a named type. Payloads have no other unions; a test says so.
            let only = alternatives.iter().find(|it| !is_null(it))?;
            let shape = Self::read(only, definitions, is_required, depth)?;
            return Some(shape.or_null(is_required && alternatives.iter().any(|it| is_null(&it))));
        }
        let kinds: Vec<&str> = match schema.get("type")? {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        let shape = match *kinds.iter().find(|kind| **kind != "null")? {
            "integer" => {
                let stated = Range::read(schema, "minimum", "maximum");
                let (least, most) = of_integers(schema.get("format").and_then(Value::as_str));
                Self::Number(Range {
                    least: stated.and_then(|it| it.least).or(Some(least as f64)),
                    most: stated.and_then(|it| it.most).or(Some(most as f64)),
                })
            }
            // Without bounds it must still be finite: what is not is written as null.
            "number" => {
                let stated = Range::read(schema, "minimum", "maximum");
                Self::Number(stated.unwrap_or(Range { least: None, most: None }))
            }
            "string" => Self::Text(Range::read(schema, "minLength", "maxLength")?),
            "array" => {
                let length = Range::read(schema, "minItems", "maxItems");
                let each = schema.get("items").and_then(inner).map(Box::new);
                (length.is_some() || each.is_some()).then_some(Self::List { length, each })?
            }
            "object" => {
                let required = schema.get("required").and_then(Value::as_array);
                let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|it| it == name));
                let properties = schema.get("properties").and_then(Value::as_object);
                let members: Vec<_> = properties
                    .into_iter()
                    .flatten()
                    .filter_map(|(name, member)| {
                        Some((name.clone(), Self::read(member, definitions, is_required(name), depth)?))
                    })
                    .collect();
                let each = schema.get("additionalProperties").and_then(inner).map(Box::new);
                (!members.is_empty() || each.is_some()).then_some(Self::Object { members, each })?
            }
            _ => return None,
        };
        Some(shape.or_null(is_required && kinds.contains(&"null")))
    }

    fn or_null(self, may_be_null: bool) -> Self {
        if may_be_null { Self::Nullable(Box::new(self)) } else { self }
    }

    fn check(&self, value: &Value, view: View) -> Result<(), Fault> {
        match (self, value) {
            (Self::Number(range), Value::Number(number)) if number.as_f64().is_some_and(|it| range.holds(it)) => Ok(()),
            (Self::Number(range), Value::Number(number)) => Err(Fault::new(format!("must be {range}, not {number}"))),
            // What serde_json writes for them. No JSON text brings them, so they are of the server's own making.
            (Self::Number(range), Value::Null) if view == View::Sent => {
                Err(Fault::new(format!("must be {range}, not infinite or NaN")))
            }
            (Self::Text(range), Value::String(text)) => {
                let length = text.chars().count();
                if range.holds_length(length) {
                    return Ok(());
                }
                Err(Fault::new(format!("must be {range} characters long, not {length}")))
            }
            (Self::List { length, each }, Value::Array(items)) => {
                if let Some(range) = length
                    && !range.holds_length(items.len())
                {
                    return Err(Fault::new(format!("must have {range} items, not {}", items.len())));
                }
                let Some(each) = each else { return Ok(()) };
                items
                    .iter()
                    .enumerate()
                    .try_for_each(|(at, item)| each.check(item, view).map_err(|fault| fault.inside(format!("[{at}]"))))
            }
            (Self::Object { members, each }, Value::Object(object)) => {
                check_members(members, each.as_deref(), object, view)
            }
            (Self::Nullable(_), Value::Null) => Ok(()),
            (Self::Nullable(inner), other) => inner.check(other, view),
            (_, _) if view == View::Written => Ok(()),
            (Self::Number(_) | Self::Text(_) | Self::List { .. } | Self::Object { .. }, _) => {
                Err(Fault::new("is not of the kind that its schema says".to_owned()))
            }
        }
    }
}

fn check_members(
    members: &[(String, Shape)],
    each: Option<&Shape>,
    object: &Map<String, Value>,
    view: View,
) -> Result<(), Fault> {
    for (name, shape) in members {
        if let Some(value) = object.get(name) {
            shape.check(value, view).map_err(|fault| fault.inside(format!(".{name}")))?;
        }
    }
    let Some(each) = each else { return Ok(()) };
    let others = object.iter().filter(|(name, _)| !members.iter().any(|(known, _)| known == *name));
    for (name, value) in others {
        each.check(value, view).map_err(|fault| {
            let shown: String = name.chars().take(64).collect();
            fault.inside(format!(".{shown}"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Envelope, Publication, Time,
        catalog::examples,
        event::{connection::Heartbeat, mcp::Connecting, product::InstallProgress},
    };

    fn admitted(kind: &str, data: &Value) -> Result<(), String> {
        let event_type = EventType::from_name(kind).unwrap();
        let frame = json!({ "type": kind, "to": event_type.spec().an_audience(), "data": data });
        let publication = Publication::decode(&frame.to_string()).unwrap();
        match Envelope::admit(publication, Time::from_unix_micros(0)) {
            Ok(_) => Ok(()),
            Err(error) => {
                assert_eq!(error.code, ErrorCode::InvalidPayload, "{error}");
                Err(error.message.into_owned())
            }
        }
    }

    fn with(kind: &str, pointer: &str, value: Value) -> Result<(), String> {
        let event_type = EventType::from_name(kind).unwrap();
        let (_, mut data) = examples().into_iter().find(|(of, _)| *of == event_type).unwrap();
        *data.pointer_mut(pointer).unwrap() = value;
        admitted(kind, &data)
    }

    #[test]
    fn evt_08_a_member_out_of_its_bounds_is_refused_by_name() {
        let most = MAX_SEQ;
        let told = |problem: &str| Err(problem.to_owned());
        assert_eq!(with("mcp.connecting", "/port", json!(0)), told("data.port must be 1 to 65535, not 0"));
        assert_eq!(with("mcp.connecting", "/port", json!(1)), Ok(()));
        assert_eq!(with("mcp.connecting", "/port", json!(65535)), Ok(()));
        assert_eq!(with("mcp.connect_error", "/port", json!(0)), told("data.port must be 1 to 65535, not 0"));
        assert_eq!(with("task.progress", "/elapsed_seconds", json!(most)), Ok(()));
        assert_eq!(
            with("task.progress", "/elapsed_seconds", json!(most + 1)),
            told("data.elapsed_seconds must be 0 to 9007199254740991, not 9007199254740992")
        );
        assert!(with("task.progress", "/elapsed_seconds", json!(u64::MAX)).is_err());
        // More than the Rust type holds.
        assert_eq!(with("mcp.connecting", "/port", json!(70_000)), told("data.port must be 1 to 65535, not 70000"));
        assert_eq!(with("mcp.connecting", "/port", json!(-1)), told("data.port must be 1 to 65535, not -1"));
        // What else is wrong is told as before.
        assert!(with("mcp.connecting", "/port", json!("80")).unwrap_err().contains("expected u16"));
        let both = json!({ "error": "x", "port": null, "mcp_connection_id": 7 });
        assert!(admitted("mcp.connect_error", &both).unwrap_err().contains("mcp.connect_error: invalid type"));
        assert_eq!(with("task.progress", "/percent", json!(100)), Ok(()));
        assert_eq!(with("task.progress", "/percent", json!(100.5)), told("data.percent must be 0 to 100, not 100.5"));
        assert_eq!(with("task.progress", "/percent", json!(-0.5)), told("data.percent must be 0 to 100, not -0.5"));
        let cost = "/overview/costs/total_cost_usd";
        assert_eq!(
            with("metrics.update", cost, json!(-1)),
            told("data.overview.costs.total_cost_usd must be at least 0, not -1.0")
        );
        // In the values of a map, and in a list.
        assert_eq!(
            with("metrics.update", "/overview/tools/by_type/Edit", json!(most + 1)),
            told("data.overview.tools.by_type.Edit must be 0 to 9007199254740991, not 9007199254740992")
        );
        let message = |tokens: u64| {
            json!([{ "mid": "a", "role": "user", "text": "", "tokens": 1 },
            { "mid": "b", "role": "user", "text": "", "tokens": tokens }])
        };
        assert_eq!(with("chat.past_messages", "/messages", message(most)), Ok(()));
        assert_eq!(
            with("chat.past_messages", "/messages", message(most + 1)),
            told("data.messages[1].tokens must be 0 to 9007199254740991, not 9007199254740992")
        );
        // Free form stays free, and members of a later version are not judged by this one (EVT-06).
        assert_eq!(with("metrics.update", "/overview/more", json!({ "percent": -1, "n": u64::MAX })), Ok(()));
        assert_eq!(
            admitted("mcp.disconnected", &json!({ "mcp_connection_id": "a", "port": 0, "later": u64::MAX })),
            Ok(())
        );
        // What a back end of an older system builds comes through the same door.
        let older = |duration_ms: u64| {
            let (_, mut data) = examples().into_iter().find(|(of, _)| *of == EventType::AdwThinkingBlock).unwrap();
            data["duration_ms"] = json!(duration_ms);
            let adopted = crate::Dialect::Adw.decode_event(&json!({ "type": "thinking_block", "data": data })).unwrap();
            admitted("adw.thinking_block", &adopted.data)
        };
        assert_eq!(older(most), Ok(()));
        assert_eq!(older(most + 1), told("data.duration_ms must be 0 to 9007199254740991, not 9007199254740992"));
        // Null is absent, so it is in no bounds.
        assert_eq!(with("mcp.connect_error", "/port", Value::Null), Ok(()));
    }

    #[test]
    fn evt_08_what_a_server_makes_is_held_to_the_same_bounds() {
        let now = Time::from_unix_micros(0);
        let user = || "u".parse().unwrap();
        let connecting = |port| Connecting { mcp_connection_id: "a".parse().unwrap(), host: "h".to_owned(), port };
        assert!(Envelope::to_user(user(), &connecting(1), now).is_ok());
        let error = Envelope::to_user(user(), &connecting(0), now).unwrap_err();
        assert_eq!((error.code, &*error.message), (ErrorCode::InvalidPayload, "data.port must be 1 to 65535, not 0"));

        let progress = |percent| InstallProgress {
            install_id: "a".parse().unwrap(),
            stage: None,
            status: None,
            message: None,
            output: None,
            stream: None,
            percent,
        };
        assert!(Envelope::to_user(user(), &progress(None), now).is_ok());
        assert!(Envelope::to_user(user(), &progress(Some(100.0)), now).is_ok());
        for percent in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = Envelope::to_user(user(), &progress(Some(percent)), now).unwrap_err();
            assert_eq!(&*error.message, "data.percent must be 0 to 100, not infinite or NaN");
        }

        let id = crate::ConnectionId::from_u64(1);
        let heartbeat = |active_connections| Heartbeat {
            server_time: now,
            active_connections,
            server_status: "healthy".to_owned(),
            positions: Vec::new(),
        };
        assert!(Envelope::to_connection(id, &heartbeat(MAX_SEQ), now).is_ok());
        assert!(Envelope::to_connection(id, &heartbeat(MAX_SEQ + 1), now).is_err());
    }

    #[test]
    fn lengths_are_counted_in_characters_and_items_and_a_stated_null_is_a_value() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 3 },
                "list": { "type": "array", "items": { "type": ["integer", "null"], "format": "int8", "minimum": -1 }, "maxItems": 2 },
                "perhaps": { "type": ["number", "null"] },
            },
            "required": ["perhaps"],
        });
        let bounds = Bounds(Shape::read(&schema, &Map::new(), true, limits::MAX_DEPTH));
        let check = |value: Value| {
            let checked = bounds.check(value.as_object().unwrap());
            checked.map_err(|error| error.message.into_owned()).err().unwrap_or_default()
        };
        assert_eq!(check(json!({ "name": "äöü", "list": [-1, null], "perhaps": null })), "");
        assert_eq!(check(json!({ "name": "" })), "data.name must be 1 to 3 characters long, not 0");
        assert_eq!(check(json!({ "name": "äöüß" })), "data.name must be 1 to 3 characters long, not 4");
        assert_eq!(check(json!({ "list": [1, 2, 3] })), "data.list must have at most 2 items, not 3");
        assert_eq!(check(json!({ "list": [1, -2] })), "data.list[1] must be -1 to 9007199254740991, not -2");
    }

    /// Every keyword of a schema that says what a value may be, with those inside of it.
    fn keywords(schema: &Value, found: &mut std::collections::BTreeSet<String>) {
        let Value::Object(members) = schema else { return };
        for (keyword, value) in members {
            found.insert(keyword.clone());
            match (keyword.as_str(), value) {
                ("properties", Value::Object(inner)) => inner.values().for_each(|it| keywords(it, found)),
                ("items" | "additionalProperties", inner) => keywords(inner, found),
                ("anyOf", Value::Array(inner)) => {
                    assert_eq!(inner.len(), 2, "a union that is no `Option`: {schema}");
                    assert!(inner.iter().any(|it| it["type"] == "null"), "a union that is no `Option`: {schema}");
                    inner.iter().for_each(|it| keywords(it, found));
                }
                // Lists of words, which are read by their types.
                ("oneOf", Value::Array(words)) => assert!(words.iter().all(|it| it["const"].is_string()), "{schema}"),
                _ => {}
            }
        }
    }

    #[test]
    fn evt_08_no_schema_of_a_payload_says_what_neither_a_type_nor_a_bound_keeps() {
        let mut found = std::collections::BTreeSet::new();
        for event_type in EventType::ALL {
            let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
            event_type.payload_schema(&mut generator);
            generator.definitions().values().for_each(|schema| keywords(schema, &mut found));
        }
        let by_types = [
            "$ref",
            "additionalProperties",
            "anyOf",
            "const",
            "enum",
            "format",
            "items",
            "oneOf",
            "pattern",
            "properties",
            "required",
            "type",
        ];
        let by_bounds = ["maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum"];
        let annotations = ["default", "description", "examples", "title"];
        let known: Vec<&str> = [&by_types[..], &by_bounds[..], &annotations[..]].concat();
        let unknown: Vec<&String> = found.iter().filter(|it| !known.contains(&it.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(found.contains("minimum") && found.contains("pattern"), "{found:?}");
    }
}
