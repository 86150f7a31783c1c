//! What frontends of the older systems read and send: schemas of their frames, made out of what the encoders do.
//!
//! Nobody wrote down what those frames are; the encoders of `eventwire_protocol::dialect` are the truth, and golden vectors
//! written from the systems' own descriptions watch over them. So the frames are observed ([`probe`]), what they have in
//! common is told ([`infer`]), and the schemas are written from that (here). What their clients send cannot be observed,
//! for a decoder says yes or no; it stands in [`client`] and is checked against the decoders by instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use eventwire_protocol::catalog::EventType;
use eventwire_protocol::dialect::shared_context;
use eventwire_protocol::frame::EventKind;
use eventwire_protocol::{Dialect, version};
use serde_json::{Map, Value, json};

pub mod client;
pub mod infer;
pub mod probe;

use crate::Error;
use crate::profile::{self, Definitions, reference, referred};
use crate::source::Source;
use infer::{Form, Kind, Member, Node, Shape};

/// Every dialect that has schemas of its own: all but the canonical one.
pub fn dialects() -> impl Iterator<Item = Dialect> {
    Dialect::ALL.iter().copied().filter(|dialect| *dialect != Dialect::Canonical)
}

/// How a dialect says which of its frames one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A member of the frame, `type`.
    Member(&'static str),
    /// Beside the frame: the name of an event of Socket.IO, whose one argument the frame is.
    EventName,
}

/// How a dialect's servers tag their frames.
pub fn tag_of(dialect: Dialect) -> Tag {
    if dialect == Dialect::Amiga { Tag::EventName } else { Tag::Member("type") }
}

/// The name of a frame and the part of it that is described: the whole, or the argument.
pub fn named(dialect: Dialect, frame: &Value) -> Option<(&str, &Value)> {
    match tag_of(dialect) {
        Tag::Member(member) => Some((frame.get(member)?.as_str()?, frame)),
        Tag::EventName => Some((frame.get(0)?.as_str()?, frame.get(1)?)),
    }
}

/// One frame of a dialect: all that goes by one name.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its name: what stands in `type`, or the name of the Socket.IO event.
    pub name: String,
    /// What it is like.
    pub node: Node,
    /// The events that are told in it, in the order of the catalog.
    pub events: Vec<EventType>,
}

/// What the clients of one dialect are told.
#[derive(Clone, Debug)]
pub struct Told {
    /// The dialect.
    pub dialect: Dialect,
    /// Its frames, in the order of the catalog.
    pub frames: Vec<Frame>,
}

/// Every dialect, observed once in the life of the program: each is some hundred thousand probes, and the catalog that it
/// was built with does not change.
///
/// # Errors
/// As [`told`].
pub fn all(source: &Source) -> Result<&'static [Told], Error> {
    static ALL: OnceLock<Vec<Told>> = OnceLock::new();
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let observed: Result<Vec<Told>, Error> = std::thread::scope(|scope| {
        let running: Vec<_> = dialects().map(|dialect| scope.spawn(move || told(source, dialect))).collect();
        let lost = || Err(Error::Catalog("a dialect could not be observed".to_owned()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
    });
    let observed = observed?;
    Ok(ALL.get_or_init(|| observed))
}

/// Observes a dialect.
///
/// # Errors
/// [`Error::Catalog`] when a payload made from the catalog's own schema is refused.
pub fn told(source: &Source, dialect: Dialect) -> Result<Told, Error> {
    let mut frames: Vec<Frame> = Vec::new();
    for event in &source.events {
        let observations = probe::observe(source, event, dialect)?;
        let Some(payload) = source.sent.get(&event.data_name()) else { continue };
        let mut by_name: BTreeMap<&str, Vec<&probe::Observation>> = BTreeMap::new();
        for observation in &observations {
            let Some((name, _)) = named(dialect, &observation.frame) else {
                return Err(Error::Catalog(format!(
                    "{}: a frame of {} without a name",
                    event.spec.name,
                    dialect.as_str()
                )));
            };
            by_name.entry(name).or_default().push(observation);
        }
        for (name, observations) in by_name {
            let node = infer::infer(event.spec.name, payload, &source.sent, &observations, |it| {
                named(dialect, &it.frame).map_or(&it.frame, |(_, part)| part)
            });
            match frames.iter_mut().find(|frame| frame.name == name) {
                Some(frame) => {
                    frame.node.merge(node, &source.sent);
                    frame.events.push(event.spec.event_type);
                }
                None => frames.push(Frame { name: name.to_owned(), node, events: vec![event.spec.event_type] }),
            }
        }
    }
    Ok(Told { dialect, frames })
}

/// `chat_stream` as `ChatStream`, `UPDATE_PARAMS` as `UpdateParams`.
pub fn pascal(name: &str) -> String {
    let is_shouted = !name.chars().any(|letter| letter.is_ascii_lowercase());
    let mut text = String::new();
    for word in name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        text.push_str(&first.to_ascii_uppercase());
        text.push_str(&if is_shouted { rest.to_ascii_lowercase() } else { rest.to_owned() });
    }
    text
}

impl Frame {
    /// The name of its definition.
    pub fn title(&self) -> String {
        format!("{}Frame", pascal(&self.name))
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Schemas
// ---------------------------------------------------------------------------------------------------------------

/// The files of one dialect below `schemas/v1`, by path, and its entry in the index.
pub fn documents(source: &Source, told: &Told) -> (Vec<(String, Value)>, Value) {
    let dialect = told.dialect;
    let folder = format!("dialects/{}", dialect.as_str());
    let (server, client) = (format!("{folder}/server.schema.json"), format!("{folder}/client.schema.json"));
    let spelling = format!("{folder}/spelling.json");
    let frames: Vec<Value> = told
        .frames
        .iter()
        .map(|frame| {
            let events: Vec<&str> = frame.events.iter().map(|it| it.spec().name).collect();
            json!({ "name": frame.name, "title": frame.title(), "events": events })
        })
        .collect();
    let tag = match tag_of(dialect) {
        Tag::Member(member) => json!({ "member": member }),
        Tag::EventName => json!({ "socketio": "the name of the event" }),
    };
    let not_told: Vec<&str> = source
        .events
        .iter()
        .filter(|event| !dialect.supports(&EventKind::Known(event.spec.event_type)))
        .map(|event| event.spec.name)
        .collect();
    let mut entry = Map::new();
    entry.insert("name".to_owned(), dialect.as_str().into());
    if dialect.family() != dialect {
        entry.insert("variant_of".to_owned(), dialect.family().as_str().into());
    }
    entry.insert("tag".to_owned(), tag);
    entry.insert("server".to_owned(), server.clone().into());
    entry.insert("client".to_owned(), client.clone().into());
    entry.insert("spelling".to_owned(), spelling.clone().into());
    entry.insert("frames".to_owned(), frames.into());
    entry.insert("commands".to_owned(), client::commands(dialect).into());
    entry.insert("not_told".to_owned(), not_told.into());
    let mut documents = Vec::new();
    if dialect.family() == Dialect::SharedContext {
        let path = format!("{folder}/rpc.schema.json");
        entry.insert("rpc".to_owned(), path.clone().into());
        documents.push((path, rpc_root(dialect)));
    }
    documents.extend([
        (client, client::root(source, dialect)),
        (server, server_root(source, told)),
        (spelling, spelling_of(told)),
    ]);
    (documents, Value::Object(entry))
}

/// Which member of an event each member of a frame says, as data.
fn spelling_of(told: &Told) -> Value {
    let frames: Map<String, Value> = told
        .frames
        .iter()
        .map(|frame| {
            let mut members = Map::new();
            infer::flat(&frame.node, "", &mut members);
            (frame.name.clone(), Value::Object(members))
        })
        .collect();
    json!({ "dialect": told.dialect.as_str(), "frames": frames })
}

/// The words in a description of a system.
pub fn system(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Monadic => "Monadic Chat",
        Dialect::Product => "Product Demo",
        Dialect::ProductNested => "Product Demo, later releases",
        Dialect::Amiga => "AMIGA monitoring",
        Dialect::SharedContext => "Shared Context, its pages",
        Dialect::SharedContextTools => "Shared Context, its agents",
        Dialect::Adw => "ADW, the agentic kanban",
        Dialect::AdwTrigger => "ADW, the trigger server",
        _ => "Eventwire",
    }
}

fn server_root(source: &Source, told: &Told) -> Value {
    let mut writer = Writer { source, definitions: Definitions::new(), has_several: false };
    let mut members = Vec::new();
    for frame in &told.frames {
        writer.frame(told.dialect, frame);
        members.push((frame.name.clone(), reference(&frame.title())));
    }
    let mut definitions = writer.definitions;
    let system = system(told.dialect);
    let root = match tag_of(told.dialect) {
        Tag::Member(member) => {
            if told.dialect.family() == Dialect::SharedContext {
                definitions.extend(answers());
                answered_calls(&mut definitions);
            }
            let members: Vec<Value> = members.into_iter().map(|(_, it)| it).collect();
            json!({
                "title": "ServerFrame",
                "description": format!("Every frame that a server sends to frontends of {system}. Closed: switch over `{member}` and let the compiler tell you what is missing. At run time pass over a frame that you do not know."),
                "oneOf": members,
            })
        }
        // The map is closed as a union is; what stands in it is open.
        Tag::EventName => json!({
            "title": "ServerEvents",
            "description": format!("Every event of Socket.IO that a server sends to frontends of {system}: its name, and what its one argument is. At run time pass over an event that you do not know."),
            "type": "object",
            "properties": members.into_iter().collect::<Map<String, Value>>(),
            "additionalProperties": false,
        }),
    };
    let mut all = source.sent.clone();
    all.extend(definitions);
    file(&format!("dialects:{}:server", told.dialect.as_str()), root, &all)
}

/// Answers of JSON-RPC have a root of their own: they have no `type`, and one member without a tag ends narrowing for all.
fn rpc_root(dialect: Dialect) -> Value {
    let root = json!({
        "title": "RpcAnswer",
        "description": "What a request of JSON-RPC 2.0 is answered. Told from a ServerFrame by `jsonrpc`.",
        "oneOf": [reference("RpcResult"), reference("RpcFailure")],
    });
    file(&format!("dialects:{}:rpc", dialect.as_str()), root, &answers())
}

/// A file that stands alone.
fn file(id: &str, root: Value, definitions: &Definitions) -> Value {
    let needed = profile::closure(&root, definitions);
    let mut document = Map::new();
    document.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    document.insert("$id".to_owned(), format!("urn:eventwire:{}:{id}", version::PROTOCOL).into());
    if let Value::Object(members) = root {
        document.extend(members);
    }
    document.insert("$defs".to_owned(), Value::Object(needed.into_iter().collect()));
    Value::Object(document)
}

/// Frames that are no events, and what they need: what clients of Shared Context who speak JSON-RPC are answered.
fn answers() -> Definitions {
    let shared = client::shared();
    let mut found: Definitions = ["RequestId", "RequestIdNumber", "RequestIdText"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), shared.get(*name)?.clone())))
        .collect();
    let mut define = |title: &str, description: &str, mut definition: Value| {
        put_first(&mut definition, title, description);
        found.insert(title.to_owned(), definition);
    };
    define("Null", client::NOTHING, infer::any(Kind::Null));
    define(
        "RpcResult",
        "What a method of JSON-RPC 2.0 gave.",
        json!({
            "type": "object",
            "properties": {
                "jsonrpc": { "const": "2.0" },
                "id": { "description": "The `id` of the request.", "oneOf": [reference("RequestId")] },
                "result": { "description": "What was asked for.", "type": "object" },
            },
            "required": ["jsonrpc", "id", "result"],
        }),
    );
    define(
        "RpcFailure",
        "Why a request of JSON-RPC 2.0 was refused.",
        json!({
            "type": "object",
            "properties": {
                "jsonrpc": { "const": "2.0" },
                "id": {
                    "description": "The `id` of the request; null where the request could not be read.",
                    "oneOf": [reference("RequestIdNumber"), reference("RequestIdText"), reference("Null")],
                },
                "error": { "description": "What was wrong.", "oneOf": [reference("RpcError")] },
            },
            "required": ["jsonrpc", "id", "error"],
        }),
    );
    define(
        "RpcError",
        "An error of JSON-RPC 2.0, section 5.1.",
        json!({
            "type": "object",
            "properties": {
                "code": {
                    "description": "-32700 for what is no JSON, -32600 for what is no request, -32601 for an unknown method, -32602 for wrong arguments.",
                    "type": "integer", "minimum": -32768, "maximum": -32000,
                },
                "message": { "description": "The same, for a person to read.", "type": "string" },
            },
            "required": ["code", "message"],
        }),
    );
    found
}

/// Two frames of events are answers to calls of tools as well: under the tool's own name, with the id that the call had.
fn answered_calls(definitions: &mut Definitions) {
    let tools: Vec<&str> = shared_context::Tool::ALL.iter().map(|tool| tool.as_str()).collect();
    let id =
        json!({ "description": "The `id` of the call; absent where it had none.", "oneOf": [reference("RequestId")] });
    let tool =
        json!({ "description": "The tool that was called; absent where none was.", "type": "string", "enum": tools });
    for (title, members) in
        [("ToolResultFrame", vec![("id", id.clone()), ("tool", tool)]), ("ErrorFrame", vec![("id", id)])]
    {
        let properties = definitions.get_mut(title).and_then(|it| it.pointer_mut("/properties"));
        if let Some(Value::Object(properties)) = properties {
            properties.extend(members.into_iter().map(|(name, schema)| (name.to_owned(), schema)));
        }
    }
}

struct Writer<'a> {
    source: &'a Source,
    definitions: Definitions,
    /// Whether the frame at hand is made of several events, so that each place has to say of which it is.
    has_several: bool,
}

impl Writer<'_> {
    fn frame(&mut self, dialect: Dialect, frame: &Frame) {
        let title = frame.title();
        self.has_several = frame.events.len() > 1;
        let said: Vec<String> = frame
            .events
            .iter()
            .map(|event| format!("{} (`{}`)", event.spec().summary.trim_end_matches('.'), event.spec().name))
            .collect();
        let mut description = format!("{}.", said.join("; or: "));
        if tag_of(dialect) == Tag::EventName {
            description = format!("The argument of `{}`. {description}", frame.name);
        }
        let form = frame.node.kinds.get(&Kind::Object);
        let mut definition = match form.map(|form| &form.shape) {
            Some(Shape::Members(members)) => self.object(members, &title),
            // A payload that is handed on as it is: its members are the frame's.
            Some(Shape::Like(schema)) => {
                let definition = probe::resolved(schema, &self.source.sent).clone();
                let mut members = definition.as_object().cloned().unwrap_or_default();
                members.shift_remove("title");
                members.shift_remove("description");
                Value::Object(members)
            }
            _ => json!({ "type": "object" }),
        };
        put_first(&mut definition, &title, &description);
        self.definitions.insert(title, definition);
    }

    fn object(&mut self, members: &[(String, Member)], title: &str) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, member) in members {
            properties
                .insert(name.clone(), self.member(&member.node, &format!("{title}{}", pascal(name)), name, title));
            if member.is_required {
                required.push(Value::from(name.as_str()));
            }
        }
        let mut object = json!({ "type": "object", "properties": properties });
        if let (Value::Object(object), false) = (&mut object, required.is_empty()) {
            object.insert("required".to_owned(), required.into());
        }
        object
    }

    /// A member with its description; the tag goes without one, as in the events of the protocol itself.
    fn member(&mut self, node: &Node, title: &str, name: &str, holder: &str) -> Value {
        let schema = self.schema(node, title, name, holder);
        if name == "type" && schema.get("const").is_some() {
            return schema;
        }
        let mut said = Map::from_iter([("description".to_owned(), json!(self.description(node, name, holder)))]);
        match schema {
            Value::Object(members) if members.contains_key("$ref") => {
                said.insert("oneOf".to_owned(), json!([Value::Object(members)]));
            }
            Value::Object(members) => said.extend(members),
            _ => {}
        }
        Value::Object(said)
    }

    fn schema(&mut self, node: &Node, title: &str, name: &str, holder: &str) -> Value {
        let forms: Vec<(&Kind, &Form)> = node.kinds.iter().collect();
        match forms.as_slice() {
            [] => json!({ "type": "object" }),
            [(kind, form)] => self.one(**kind, form, title, name, holder),
            several => {
                let values = several.iter().filter(|(kind, _)| **kind != Kind::Null);
                let wholes: BTreeSet<String> = values
                    .clone()
                    .map(|(_, form)| form.whole.as_ref().map(ToString::to_string).unwrap_or_default())
                    .collect();
                let whole = values.clone().next().and_then(|(_, form)| form.whole.clone());
                let is_all = whole.as_ref().is_some_and(|whole| {
                    let union = probe::resolved(whole, &self.source.sent).get("oneOf").and_then(Value::as_array);
                    union.is_some_and(|union| union.len() == values.clone().count())
                });
                if wholes.len() == 1 && is_all && values.clone().count() == several.len() {
                    return whole.unwrap_or_default();
                }
                let members: Vec<Value> = several
                    .iter()
                    .map(|(kind, form)| {
                        let schema = self.one(**kind, form, &format!("{title}{}", word(**kind)), name, holder);
                        self.referable(**kind, schema, &format!("{title}{}", word(**kind)), name, holder)
                    })
                    .collect();
                json!({ "oneOf": members })
            }
        }
    }

    /// The schema of the values of one kind.
    fn one(&mut self, kind: Kind, form: &Form, title: &str, name: &str, holder: &str) -> Value {
        match &form.shape {
            Shape::Like(schema) => schema.clone(),
            Shape::Free => json!({ "type": "object" }),
            Shape::Words(words) => match words.iter().collect::<Vec<_>>().as_slice() {
                [only] => json!({ "const": only }),
                words => json!({ "type": "string", "enum": words }),
            },
            Shape::Always(Value::Null) => infer::any(Kind::Null),
            // What is said to people may be said better one day.
            Shape::Always(Value::String(text)) if !infer::is_word(text) => json!({ "type": "string" }),
            Shape::Always(value) => json!({ "const": value }),
            Shape::Items(None) => infer::any(kind),
            Shape::Items(Some(items)) => {
                let item = format!("{title}Item");
                let schema = self.schema(items, &item, &format!("{name}[]"), holder);
                // What is said of items is said of the list.
                json!({ "type": "array", "items": schema })
            }
            Shape::Members(members) => {
                let mut definition = self.object(members, title);
                put_first(&mut definition, title, &format!("`{name}` of {holder}."));
                self.definitions.insert(title.to_owned(), definition);
                reference(title)
            }
        }
    }

    /// A schema as a member of a union, which is a reference.
    fn referable(&mut self, kind: Kind, schema: Value, title: &str, name: &str, holder: &str) -> Value {
        if referred(&schema).is_some() {
            return schema;
        }
        let shared = [
            ("AnyText", "Any text.", infer::any(Kind::Text)),
            ("AnyNumber", "Any number.", infer::any(Kind::Number)),
            ("AnyBoolean", "True or false.", infer::any(Kind::Truth)),
            ("AnyObject", "Any object.", infer::any(Kind::Object)),
            ("AnyArray", "Any array.", infer::any(Kind::List)),
            ("Null", client::NOTHING, infer::any(Kind::Null)),
        ];
        let (title, description) = match shared.iter().find(|(.., shared)| *shared == schema) {
            Some((title, description, _)) => ((*title).to_owned(), (*description).to_owned()),
            None => (title.to_owned(), format!("`{name}` of {holder}, where it is {}.", article(kind))),
        };
        let mut definition = schema;
        put_first(&mut definition, &title, &description);
        self.definitions.insert(title.clone(), definition);
        reference(&title)
    }

    /// What a member says, and of what in the event.
    fn description(&self, node: &Node, name: &str, holder: &str) -> String {
        let mut sentences: Vec<String> = Vec::new();
        for form in node.kinds.values() {
            if let Some(text) = form.description.as_ref().filter(|text| !sentences.contains(*text)) {
                sentences.push(text.clone());
            }
        }
        for (verb, is_made) in [("From", false), ("Made from", true)] {
            let of_this = origins(node).into_iter().filter(|it| (it.how == infer::MADE) == is_made);
            let places: BTreeSet<String> = of_this.map(|it| self.said(it)).collect();
            if !places.is_empty() {
                sentences.push(format!("{verb} {}.", places.into_iter().collect::<Vec<_>>().join("; ")));
            }
        }
        if node.kinds.len() > 1 && node.kinds.contains_key(&Kind::Null) {
            sentences.push("Null where the event does not say.".to_owned());
        }
        for form in node.kinds.values() {
            if let Shape::Always(Value::String(text)) = &form.shape
                && !infer::is_word(text)
            {
                sentences.push(format!("Now `{text}`; made for people, not to be compared."));
            }
        }
        if sentences.is_empty() {
            let forms: Vec<&Shape> = node.kinds.values().map(|form| &form.shape).collect();
            return match forms.as_slice() {
                [Shape::Always(_)] => "Always so.".to_owned(),
                [Shape::Words(_)] => "Which of them, the event that is told decides.".to_owned(),
                _ => format!("`{name}` of {holder}."),
            };
        }
        sentences.join(" ")
    }

    fn said(&self, origin: &infer::Origin) -> String {
        let place = match origin.place.as_str() {
            "@time" => "the event's time".to_owned(),
            "@session" => "the session that the event is for".to_owned(),
            "@connection" => "the connection that the event is for".to_owned(),
            place => format!("`{place}`"),
        };
        let is_of_payload = !origin.place.starts_with('@');
        let of = if self.has_several && is_of_payload { format!(" of `{}`", origin.event) } else { String::new() };
        let how = match origin.how.as_str() {
            "" | infer::MADE => String::new(),
            words if words.starts_with('`') => format!(": {words}"),
            how => format!(", {how}"),
        };
        format!("{place}{of}{how}")
    }
}

/// What a member comes from: itself, or the items of its list.
fn origins(node: &Node) -> Vec<&infer::Origin> {
    node.kinds
        .values()
        .flat_map(|form| {
            let inner = match &form.shape {
                Shape::Items(Some(items)) => origins(items),
                _ => Vec::new(),
            };
            form.origins.iter().chain(inner).collect::<Vec<_>>()
        })
        .collect()
}

fn put_first(definition: &mut Value, title: &str, description: &str) {
    if let Value::Object(members) = definition {
        let rest = std::mem::take(members);
        members.insert("title".to_owned(), title.into());
        members.insert("description".to_owned(), description.into());
        members.extend(rest);
    }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "Object",
        Kind::List => "List",
        Kind::Text => "Text",
        Kind::Number => "Number",
        Kind::Truth => "Truth",
        Kind::Null => "Null",
    }
}

const fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "an object",
        Kind::List => "a list",
        Kind::Text => "a text",
        Kind::Number => "a number",
        Kind::Truth => "true or false",
        Kind::Null => "null",
    }
}
