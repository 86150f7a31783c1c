//! `openapi.json`: every endpoint that the gateway answers over HTTP, as an OpenAPI 3.1 document (DOC-02).
//!
//! The bodies are the types that the transports write, [`eventwire_protocol::api`], brought into the profile; what can be
//! published is what `publish.schema.json` says. The endpoints stand in two tables, `canonical` and `older`. That the
//! tables are those of the gateway, that every answer is one that the document has, and that every example of a request
//! is accepted, is proven against a running gateway by its own tests.

mod canonical;
mod older;

use std::collections::BTreeMap;

use eventwire_protocol::{ErrorCode, api, application::ApplicationCommand};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::document::{Tree, parsed};
use crate::profile::{self, Definitions, reference};
use crate::{Error, VERSION};

/// The file, relative to the published directory.
pub const PATH: &str = "openapi.json";

/// The whole document.
///
/// # Errors
/// [`Error::Catalog`] when a table refers to a body that does not exist; nothing that input can cause.
pub(crate) fn document(files: &Tree) -> Result<Value, Error> {
    let publish = parsed(files, "publish.schema.json")?;
    let mut definitions = bodies(&publish, parsed(files, "publication.schema.json")?)?;
    let codes = code_meanings(&definitions);
    let operations = [canonical::operations(), older::operations()].concat();
    let mut errors = Map::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in &operations {
        let item = paths.entry(operation.path).or_default();
        let written = operation.written(&codes, &mut errors);
        if item.insert(operation.method.to_owned(), written).is_some() {
            return Err(Error::Catalog(format!("{} {} is described twice", operation.method, operation.path)));
        }
        if operation.takes_head {
            item.insert("head".to_owned(), operation.head());
        }
    }
    let webhooks = json!({ "command": canonical::command_webhook() });
    let all = json!([paths, errors, webhooks]);
    let needed = profile::closure(&all, &definitions);
    definitions.retain(|name, _| needed.contains_key(name));
    if let Some(missing) = profile::references(&all).into_iter().find(|name| !definitions.contains_key(name)) {
        return Err(Error::Catalog(format!("openapi.json needs {missing}, which is no body")));
    }
    errors.sort_keys();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Eventwire over HTTP",
            "summary": "Publishing, listening and asking: every endpoint of the gateway.",
            "description": canonical::STORY,
            "version": VERSION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": canonical::servers(),
        "tags": canonical::tags(),
        "paths": paths,
        "webhooks": webhooks,
        "components": {
            "schemas": definitions,
            "responses": errors,
            "headers": canonical::headers(),
            "securitySchemes": canonical::security_schemes(),
        },
    });
    unwrap_references(&mut document);
    move_references(&mut document);
    Ok(document)
}

/// In OpenAPI 3.1 a description may stand beside a reference, so the union of one that carries it elsewhere (SCHEMA-03) is
/// not needed, and its linters and generators take offence at it.
fn unwrap_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let only = match members.get("oneOf").and_then(Value::as_array).map(Vec::as_slice) {
                Some([only]) => profile::referred(only).map(|_| only.clone()),
                _ => None,
            };
            if let Some(Value::Object(only)) = only {
                members.shift_remove("oneOf");
                members.extend(only);
            }
            members.values_mut().for_each(unwrap_references);
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_references),
        _ => {}
    }
}

/// Makes every reference to a definition one to a component.
pub(crate) fn move_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/components/schemas/{name}");
            }
            members.values_mut().for_each(move_references);
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}

macro_rules! subschemas {
    ($generator:ident: $($body:ty,)+) => {{
        $($generator.subschema_for::<$body>();)+
        $generator.take_definitions(true).into_iter().collect::<Map<String, Value>>()
    }};
}

/// Everything that is sent or answered, by name.
fn bodies(publish: &Value, publication: Value) -> Result<Definitions, Error> {
    use api::systems as older;
    let mut writing = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let answered = subschemas! { writing:
        api::Refused, api::IssuedTicket, api::Revoked, api::Health, api::Ready, api::PublishResults, api::ResolvedSession, api::Connections,
        api::Explained, api::AgentRuns, api::AgentRunDetail, api::Acknowledged, ApplicationCommand,
        older::PlainError, older::DetailError, older::ValidationError, older::Broadcasted, older::AgentStateAnswer,
        older::BroadcastAnswer, older::SocketStats, older::InstallSummary, older::AmigaOverview,
    };
    let mut reading = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let asked = subschemas! { reading:
        api::ResolveSession, api::Acknowledge, api::IssueTicket, api::RevokeUser, api::RevokeToken, api::RevokeAll,
        older::StateUpdatePost, older::LogEntryPost, older::FileOperationPost, older::ThinkingPost,
        older::ToolExecutionPost, older::PhaseTransitionPost, older::OutputChunkPost, older::ScreenshotPost,
        older::SpecPost, older::WorkflowUpdatePost, older::StageEventPost,
        older::ContextMessagePost, older::ContextUpdatePost, older::ContextMemoryPost, older::ContextTypingPost,
    };
    let mut all = profile::conform(&asked, &BTreeMap::new());
    for (name, definition) in publish.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        put(&mut all, name, definition.clone())?;
    }
    put(&mut all, "KnownPublication", without_header(publication))?;
    // The known ones are a union of their own, for producers that generate their types from this document.
    if let Some(Value::Array(members)) = all.get_mut("Publication").and_then(|it| it.get_mut("oneOf")) {
        *members = ["KnownPublication", "VendorPublication"].map(profile::reference).to_vec();
    }
    put(&mut all, "PublishRequest", without_header(publish.clone()))?;
    for (name, definition) in canonical::shapes() {
        put(&mut all, name, definition)?;
    }
    // A type that is read and written has two schemas where a member may be left out by its writer only.
    let conformed = profile::conform(&answered, &BTreeMap::new());
    let renamed: BTreeMap<String, String> = conformed
        .iter()
        .filter(|(name, definition)| all.get(*name).is_some_and(|other| other != *definition))
        .map(|(name, _)| (name.clone(), format!("{name}Answered")))
        .collect();
    for (name, definition) in profile::conform(&answered, &renamed) {
        put(&mut all, &name, definition)?;
    }
    for name in ["Refused", "Health"] {
        if renamed.contains_key(name) {
            return Err(Error::Catalog(format!("{name} is the name of two bodies")));
        }
    }
    Ok(all)
}

/// A root's schema without the members that make it a file.
fn without_header(mut root: Value) -> Value {
    if let Value::Object(members) = &mut root {
        for other in ["$schema", "$id", "$defs"] {
            members.shift_remove(other);
        }
    }
    root
}

fn put(all: &mut Definitions, name: &str, definition: Value) -> Result<(), Error> {
    match all.insert(name.to_owned(), definition.clone()) {
        Some(other) if other != definition => Err(Error::Catalog(format!("{name} is the name of two bodies"))),
        _ => Ok(()),
    }
}

/// What each error code means, from the schema of the codes.
fn code_meanings(definitions: &Definitions) -> BTreeMap<String, String> {
    let text = definitions.get("ErrorCode").and_then(|it| it.get("description")?.as_str()).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`: "));
    pairs.map(|(code, meaning)| (code.to_owned(), meaning.to_owned())).collect()
}

// ---------------------------------------------------------------------------------------------------------------
// One operation
// ---------------------------------------------------------------------------------------------------------------

/// Who may call.
#[derive(Clone, Copy)]
enum Access {
    /// Everybody.
    Everybody,
    /// Whoever shows credentials; where `anonymous` names the dialect, strangers too.
    Visitor,
    /// Whoever shows credentials.
    Caller,
    /// Whoever shows credentials with this permission.
    Holder(&'static str),
    /// Whoever is logged in to the application of Product Demo.
    User,
    /// Whoever shows credentials, in one of the ways that a page can when it opens a WebSocket.
    Socket,
    /// Whoever shows credentials, in one of the ways that a page can when it opens a stream.
    Stream,
}

/// How a refusal is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// `{"error": {"code", "message"}}`.
    Coded,
    /// `{"error": ".."}`.
    Plain,
    /// `{"detail": ".."}`.
    Detail,
    /// `{"detail": [{..}]}`.
    Validation,
    /// `{"success": false, "error": ".."}`.
    Broadcast,
    /// The summary of an installation that broke off.
    Install,
    /// The results of a batch of which nothing was taken.
    Results,
    /// A sentence of text.
    Text,
    /// `{"code": 3, "message": ".."}` with the numbers of Engine.IO.
    EngineIo,
}

#[derive(Clone)]
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
    access: Access,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
    refusals: Vec<(u16, Form, Vec<ErrorCode>)>,
    takes_head: bool,
}

fn operation(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
) -> Operation {
    use ErrorCode as E;
    Operation {
        method,
        path,
        id,
        tag,
        summary,
        description: "",
        access: Access::Everybody,
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        // What any request may be told, whatever is at its path.
        refusals: vec![
            (400, Form::Coded, vec![E::MalformedFrame]),
            (403, Form::Coded, vec![E::HostNotAllowed, E::OriginNotAllowed]),
            (408, Form::Coded, vec![E::Timeout]),
            (431, Form::Coded, vec![E::TooLarge]),
            (500, Form::Coded, vec![E::Internal]),
            (503, Form::Coded, vec![E::Unavailable]),
        ],
        takes_head: false,
    }
}

impl Operation {
    fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Who may call, and what others are told in this form.
    fn access(mut self, access: Access, form: Form) -> Self {
        self.access = access;
        if !matches!(access, Access::Everybody) {
            self.refusals.push((401, form, vec![ErrorCode::Unauthorized]));
        }
        if matches!(access, Access::Holder(_)) {
            self.refusals.push((403, form, vec![ErrorCode::Forbidden]));
        }
        self
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn answers(mut self, status: u16, answer: Value) -> Self {
        self.answers.push((status, answer));
        self
    }

    fn refuses(mut self, status: u16, form: Form, codes: &[ErrorCode]) -> Self {
        self.refusals.push((status, form, codes.to_vec()));
        self
    }

    /// GET and HEAD: the same answers, without their bodies.
    fn and_head(self) -> Self {
        Self { takes_head: true, ..self }
    }

    fn permission(&self) -> Option<&'static str> {
        match self.access {
            Access::Holder(permission) => Some(permission),
            _ => None,
        }
    }

    fn security(&self) -> Value {
        match self.access {
            Access::Everybody => json!([]),
            Access::Visitor => json!([{ "bearer": [] }, {}]),
            Access::Caller | Access::Holder(_) => json!([{ "bearer": [] }]),
            Access::User => json!([{ "productSession": [] }]),
            Access::Socket => json!([{ "bearer": [] }, { "subprotocolToken": [] }, { "ticket": [] }]),
            Access::Stream => json!([{ "bearer": [] }, { "ticket": [] }, { "streamCookie": [] }]),
        }
    }

    fn frame(&self, id: String, summary: String, responses: Map<String, Value>) -> Map<String, Value> {
        let mut written = Map::new();
        written.insert("operationId".to_owned(), Value::from(id));
        written.insert("tags".to_owned(), json!([self.tag]));
        written.insert("summary".to_owned(), Value::from(summary));
        let mut description = self.description.to_owned();
        if let Some(permission) = self.permission() {
            description = format!("{description}\n\nNeeds the permission `{permission}`.").trim_start().to_owned();
            written.insert("x-eventwire-permission".to_owned(), Value::from(permission));
        }
        if !description.is_empty() {
            written.insert("description".to_owned(), Value::from(description));
        }
        written.insert("security".to_owned(), self.security());
        if !self.parameters.is_empty() {
            written.insert("parameters".to_owned(), Value::from(self.parameters.clone()));
        }
        written.insert("responses".to_owned(), Value::Object(responses));
        written
    }

    fn written(&self, codes: &BTreeMap<String, String>, errors: &mut Map<String, Value>) -> Value {
        let mut responses: BTreeMap<u16, Value> = self.answers.iter().cloned().collect();
        for (status, forms) in self.refusals() {
            responses.entry(status).or_insert_with(|| refusal(status, &forms, codes, errors));
        }
        let responses = responses.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
        let mut written = self.frame(self.id.to_owned(), self.summary.to_owned(), responses);
        if let Some(body) = &self.body {
            let responses = written.shift_remove("responses").unwrap_or_default();
            written.insert("requestBody".to_owned(), body.clone());
            written.insert("responses".to_owned(), responses);
        }
        Value::Object(written)
    }

    /// The same without bodies.
    fn head(&self) -> Value {
        let statuses = self.answers.iter().map(|(status, _)| *status).chain(self.refusals().into_keys());
        let statuses: std::collections::BTreeSet<u16> = statuses.filter(|status| *status != 101).collect();
        let responses = statuses
            .into_iter()
            .map(|status| (status.to_string(), json!({ "description": "As the answer to GET, without its body." })))
            .collect();
        Value::Object(self.frame(format!("{}Head", self.id), format!("{} Without the body.", self.summary), responses))
    }

    fn refusals(&self) -> BTreeMap<u16, Vec<(Form, Vec<ErrorCode>)>> {
        let mut by_status: BTreeMap<u16, Vec<(Form, Vec<ErrorCode>)>> = BTreeMap::new();
        for (status, form, codes) in &self.refusals {
            let forms = by_status.entry(*status).or_default();
            match forms.iter_mut().find(|(of, _)| of == form) {
                Some((_, all)) => {
                    all.extend(codes.iter().filter(|code| !all.contains(code)).copied().collect::<Vec<_>>())
                }
                None => forms.push((*form, codes.clone())),
            }
        }
        by_status
    }
}

/// A reference to the answer of a refusal, which many operations share.
fn refusal(
    status: u16,
    forms: &[(Form, Vec<ErrorCode>)],
    codes: &BTreeMap<String, String>,
    errors: &mut Map<String, Value>,
) -> Value {
    let mut name = format!("Refused{status}");
    let mut description = String::new();
    let mut schemas = Vec::new();
    let mut examples = Map::new();
    let mut told = Vec::new();
    let mut text = false;
    for (form, of) in forms {
        for code in of {
            let meaning = codes.get(code.as_str()).map_or("", String::as_str);
            let letters: String = code.as_str().split('_').map(capitalized).collect();
            name.push_str(&letters);
            description.push_str(&format!("- `{code}`: {meaning}\n"));
            let example = form.example(*code, meaning);
            examples.entry(form.key(*code)).or_insert_with(|| json!({ "summary": meaning, "value": example }));
            if *form == Form::Coded {
                told.push(Value::from(code.as_str()));
            }
        }
        name.push_str(form.suffix());
        match form.schema() {
            Some(schema) => schemas.push(reference(schema)),
            None => text = true,
        }
    }
    let mut content = Map::new();
    if text {
        let example = examples.shift_remove("text").unwrap_or_default();
        let media = json!({ "schema": { "type": "string" }, "example": example.get("value") });
        content.insert("text/plain".to_owned(), media);
    }
    if !schemas.is_empty() {
        let schema = match schemas.as_slice() {
            [one] => one.clone(),
            _ => json!({ "oneOf": schemas }),
        };
        content.insert("application/json".to_owned(), json!({ "schema": schema, "examples": examples }));
    }
    let mut answer = json!({ "description": description.trim_end(), "content": content });
    if let Value::Object(members) = &mut answer {
        if !told.is_empty() {
            members.insert("x-eventwire-codes".to_owned(), Value::from(told));
        }
        if status == 401 {
            members.insert(
                "headers".to_owned(),
                json!({ "WWW-Authenticate": { "$ref": "#/components/headers/WWW-Authenticate" } }),
            );
        }
    }
    let target = format!("#/components/responses/{name}");
    errors.insert(name, answer);
    json!({ "$ref": target })
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

impl Form {
    fn schema(self) -> Option<&'static str> {
        Some(match self {
            Self::Coded => "Refused",
            Self::Plain => "PlainError",
            Self::Detail => "DetailError",
            Self::Validation => "ValidationError",
            Self::Broadcast => "BroadcastAnswer",
            Self::Install => "InstallSummary",
            Self::Results => "PublishResults",
            Self::EngineIo => "EngineIoError",
            Self::Text => return None,
        })
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Coded => "",
            Self::Plain => "Plain",
            Self::Detail => "Detail",
            Self::Validation => "Validation",
            Self::Broadcast => "Broadcast",
            Self::Install => "Install",
            Self::Results => "Results",
            Self::EngineIo => "EngineIo",
            Self::Text => "Text",
        }
    }

    /// The name of an example of this form.
    fn key(self, code: ErrorCode) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Coded => code.as_str().to_owned(),
            _ => format!("{}_{}", code.as_str(), self.suffix().to_ascii_lowercase()),
        }
    }

    fn example(self, code: ErrorCode, meaning: &str) -> Value {
        match self {
            Self::Coded => json!({ "error": { "code": code.as_str(), "message": meaning } }),
            Self::Plain => json!({ "error": meaning }),
            Self::Detail => json!({ "detail": meaning }),
            Self::Validation => json!({ "detail": [{ "type": "value_error", "loc": ["body"], "msg": meaning }] }),
            Self::Broadcast => json!({ "success": false, "error": meaning }),
            Self::Install => json!({ "success": false, "installId": "i-7", "events": 2, "error": meaning }),
            Self::Results => json!({ "results": [{ "error": { "code": code.as_str(), "message": meaning } }] }),
            Self::EngineIo => json!({ "code": 3, "message": "Bad request" }),
            Self::Text => Value::from(meaning),
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Parts of operations
// ---------------------------------------------------------------------------------------------------------------

fn parameter(place: &str, name: &str, is_required: bool, description: &str, schema: Value, example: Value) -> Value {
    json!({
        "name": name, "in": place, "required": is_required, "description": description, "schema": schema,
        "example": example,
    })
}

fn query(name: &str, description: &str, schema: Value, example: impl Into<Value>) -> Value {
    parameter("query", name, false, description, schema, example.into())
}

fn in_path(name: &str, description: &str, schema: Value, example: impl Into<Value>) -> Value {
    parameter("path", name, true, description, schema, example.into())
}

fn header(name: &str, description: &str, schema: Value, example: impl Into<Value>) -> Value {
    parameter("header", name, false, description, schema, example.into())
}

fn text() -> Value {
    json!({ "type": "string" })
}

/// A body of JSON of a named type, with its examples.
fn json_body(schema: &str, examples: &[(&str, &str, Value)]) -> Value {
    json!({ "required": true, "content": { "application/json": media(reference(schema), examples) } })
}

fn media(schema: Value, examples: &[(&str, &str, Value)]) -> Value {
    let examples: Map<String, Value> = examples
        .iter()
        .map(|(name, summary, value)| ((*name).to_owned(), json!({ "summary": summary, "value": value })))
        .collect();
    json!({ "schema": schema, "examples": examples })
}

/// An answer of JSON of a named type that nobody stores.
fn json_answer(description: &str, schema: &str, example: Value) -> Value {
    json!({
        "description": description,
        "headers": { "Cache-Control": { "$ref": "#/components/headers/Cache-Control" } },
        "content": { "application/json": { "schema": reference(schema), "example": example } },
    })
}

/// An answer of text of some kind.
fn text_answer(description: &str, media_type: &str, what: &str, example: &str) -> Value {
    json!({
        "description": description,
        "content": { media_type: { "schema": { "type": "string", "description": what }, "example": example } },
    })
}

/// A WebSocket is open.
fn switching(description: &str) -> Value {
    json!({
        "description": description,
        "headers": {
            "Upgrade": { "description": "The protocol from here on.", "required": true, "schema": { "const": "websocket" } },
            "Sec-WebSocket-Accept": { "description": "As RFC 6455, section 4.2.2 says.", "required": true, "schema": { "type": "string" } },
        },
    })
}
