//! The endpoints of the gateway itself.

use eventwire_protocol::{Dialect, ErrorCode as E};
use serde_json::{Map, Value, json};

use super::{
    Access, Form, Operation, header, in_path, json_answer, json_body, media, operation, query, switching, text,
    text_answer,
};
use crate::profile::reference;

/// What stands at the beginning of the document.
pub(super) const STORY: &str = "Back ends publish events with `POST /v1/events`; people watch them arrive over a WebSocket (`/v1/ws`), server-sent \
events (`/v1/sse`) or Socket.IO. What travels on those is described by `asyncapi.json` beside this document.

**Listeners.** A gateway has one or several listeners, each for the clients of one dialect. The canonical listener answers every path \
here, but for the few that say otherwise; the listener of an older system answers the same paths, gives its own meaning to those that it \
shares with others (`/`, `/ws`, `/health`), and leaves the rest to the application's pages.

**Credentials.** A gateway without keys, on loopback, lets everybody on the machine do everything. With keys, each request shows one, or a token (JWT), as \
`Authorization: Bearer <key or token>`; what it may do is said by its permissions and by what it reaches.

**Refusals.** Whatever is refused is answered with `{\"error\": {\"code\", \"message\"}}`: the code is for programs, the message for people. \
The endpoints of older systems write refusals as their clients expect them. Whatever the path, a request can be answered with 400, 403, 408, \
431, 500 and 503 before anything looks at what it asks for. Members that are not described may be added in later versions: ignore what you \
do not know.

**Methods.** A path that is not here is answered with 404 `not_found`, another method with 405 `method_not_allowed` and `Allow`, and \
`OPTIONS` with 204 and what a page may send.";

/// Every tag, with what belongs to it.
const TAGS: &[(&str, &str)] = &[
    ("publishing", "For back ends: events in."),
    ("listening", "For clients: events out. The frames are described by asyncapi.json."),
    ("commands", "For back ends: what clients ask of the application."),
    ("credentials", "Tickets for pages, and taking credentials back."),
    ("administration", "Who is connected, and who would receive what."),
    ("agents", "Agent runs on disk."),
    ("health", "For whoever watches the process."),
    ("documents", "What this version speaks: schemas, AsyncAPI, OpenAPI."),
    ("pages", "The inspector, and the pages of an application."),
    ("adw", "The agentic kanban: its sockets, what its workflows post, the state of a run."),
    ("amiga", "AMIGA monitoring: figures over Socket.IO, server-sent events and plain requests."),
    ("monadic", "Monadic Chat: its socket is at `/`."),
    ("product", "Product Demo: its socket is at `/ws` of its own listener."),
    ("shared_context", "Shared Context: a socket for each context, and where its back end publishes."),
];

pub(super) fn tags() -> Value {
    TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect()
}

/// The listeners at their usual addresses.
const LISTENERS: &[(u16, &str)] = &[
    (4800, "The canonical listener."),
    (9104, "The listener of ADW."),
    (8500, "The listener of ADW's trigger server."),
    (3000, "The listener of AMIGA."),
    (4567, "The listener of Monadic Chat."),
    (5634, "The listener of Product Demo."),
    (8080, "The listener of Shared Context."),
];

pub(super) fn servers() -> Value {
    LISTENERS
        .iter()
        .map(|(port, description)| {
            json!({
                "url": "http://{host}:{port}",
                "description": description,
                "variables": {
                    "host": { "default": "localhost", "description": "Where the gateway is." },
                    "port": { "default": port.to_string(), "description": "Where it listens; this is the usual one." },
                },
            })
        })
        .collect()
}

pub(super) fn headers() -> Value {
    json!({
        "Cache-Control": { "description": "Nobody stores the answer.", "required": true, "schema": { "const": "no-store" } },
        "WWW-Authenticate": { "description": "How credentials are shown.", "schema": { "type": "string" } },
    })
}

pub(super) fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key or a token (JWT), `Authorization: Bearer <key or token>`. Not needed where the gateway has no keys.",
        },
        "subprotocolToken": {
            "type": "apiKey",
            "in": "header",
            "name": "Sec-WebSocket-Protocol",
            "description": "For pages, which cannot send `Authorization` with a WebSocket: the subprotocol `eventwire.token.<base64url of the token, without padding>`, offered beside `eventwire.v1`.",
        },
        "ticket": {
            "type": "apiKey",
            "in": "query",
            "name": "ticket",
            "description": "What `POST /v1/tickets` gave out: good for one connection, within 30 seconds, in place of a token.",
        },
        "streamCookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": "eventwire_sse",
            "description": "Set by the answer to a stream that was opened with a ticket, so that an EventSource can come back.",
        },
        "productSession": {
            "type": "apiKey",
            "in": "cookie",
            "name": "connect.sid",
            "description": "The session cookie of Product Demo, by its usual name: the application says whose it is. A login with a token shows it in the cookie `token` instead.",
        },
    })
}

/// Shapes that no Rust type has: what a dialect's back end builds, and the errors of a library.
pub(super) fn shapes() -> [(&'static str, Value); 7] {
    [
        (
            "Revoke",
            json!({
                "title": "Revoke",
                "description": "Takes credentials back: those of a user, one by its name, or everything that was issued.",
                "oneOf": [reference("RevokeUser"), reference("RevokeToken"), reference("RevokeAll")],
            }),
        ),
        (
            "ContextEventPost",
            json!({
                "title": "ContextEventPost",
                "description": "One event of a context, as its back end builds it.",
                "oneOf": [
                    reference("ContextMessagePost"), reference("ContextUpdatePost"), reference("ContextMemoryPost"),
                    reference("ContextTypingPost"),
                ],
            }),
        ),
        (
            "DialectFrame",
            json!({
                "title": "DialectFrame",
                "description": "One event as the back end of an older system builds it, for `?dialect=`. Its members are those of that system; the examples of the dialects show them.",
                "type": "object",
                "not": { "required": ["to", "data"] },
            }),
        ),
        (
            "DialectPair",
            json!({
                "title": "DialectPair",
                "description": "An event of AMIGA as its back end emits it: its name and its argument.",
                "type": "array",
                "items": reference("AnyValue"),
                "minItems": 2,
                "maxItems": 2,
            }),
        ),
        (
            "DialectEvent",
            json!({
                "title": "DialectEvent",
                "description": "One event of an older system.",
                "oneOf": [reference("DialectFrame"), reference("DialectPair")],
            }),
        ),
        (
            "DialectBatch",
            json!({
                "title": "DialectBatch",
                "description": "Several events of an older system; each is accepted or refused on its own, in order.",
                "type": "array",
                "items": reference("DialectEvent"),
                "minItems": 1,
                "maxItems": 1000,
            }),
        ),
        (
            "EngineIoError",
            json!({
                "title": "EngineIoError",
                "description": "A refusal of Engine.IO.",
                "type": "object",
                "properties": {
                    "code": { "description": "The number that Engine.IO gives it.", "type": "integer", "minimum": 0, "maximum": 5 },
                    "message": { "description": "What was wrong.", "type": "string" },
                },
                "required": ["code", "message"],
            }),
        ),
    ]
}

/// The query of a request that opens a connection (WS-04).
fn connect_query(operation: Operation) -> Operation {
    operation
        .parameter(query(
            "to",
            "Targets to listen to from the start, separated by commas; `*` is everything that the permission `observe` shows.",
            text(),
            "adw:29fb6a3e,room:tasks",
        ))
        .parameter(query(
            "since",
            "The targets begin with what comes after this sequence number of the history that the server has; 0 is the oldest event that is kept. Refused beside `cursor`.",
            json!({ "type": "string", "pattern": "^[0-9]{1,16}$" }),
            "0",
        ))
        .parameter(query("adw", "ADWs, separated by commas; the older spelling of `to`.", text(), "29fb6a3e"))
        .parameter(query("context", "Contexts, separated by commas; the older spelling of `to`.", text(), "planning"))
        .parameter(query("room", "Rooms, separated by commas; the older spelling of `to`.", text(), "tasks"))
        .parameter(query(
            "observe",
            "`1`: everything that the permission `observe` shows.",
            json!({ "type": "string", "enum": ["0", "1"] }),
            "0",
        ))
        .parameter(query(
            "cursor",
            "The place of an earlier connection, as the server gave it out: what was missed comes first.",
            text(),
            "9f3a77c2d1e05b64-4711",
        ))
        .refuses(400, Form::Coded, &[E::InvalidPayload, E::TooManySubscriptions])
}

/// What any request for a WebSocket may be told.
pub(super) fn socket(operation: Operation) -> Operation {
    operation
        .refuses(400, Form::Coded, &[E::MalformedFrame])
        .refuses(426, Form::Coded, &[E::UpgradeRequired, E::UnsupportedVersion])
        .refuses(503, Form::Coded, &[E::Unavailable])
}

/// What any body of JSON may be told.
fn json_reader(operation: Operation) -> Operation {
    operation
        .refuses(400, Form::Coded, &[E::MalformedFrame, E::InvalidUtf8, E::DuplicateKey, E::TooDeep, E::InvalidPayload])
        .refuses(408, Form::Coded, &[E::Timeout])
        .refuses(413, Form::Coded, &[E::TooLarge])
        .refuses(415, Form::Coded, &[E::UnsupportedMediaType])
}

fn adw_id() -> Value {
    in_path("adw_id", "The run: 8 ASCII letters and digits.", reference("AdwId"), "29fb6a3e")
}

const TIME: &str = "2026-11-20T23:40:01.123456Z";

pub(super) fn operations() -> Vec<Operation> {
    let mut all = vec![pages(), asset(), health(), ready()];
    all.extend([websocket(), stream(), publish(), resolve()]);
    all.extend([commands(), acknowledge_several(), acknowledge()]);
    all.extend([ticket(), revoke()]);
    all.extend([connections(), disconnect(), explain()]);
    all.extend([runs(), run(), screenshot()]);
    all.extend([metrics(), published_root(), published(), asyncapi(), openapi()]);
    all.extend(socket_io());
    all
}

fn metrics() -> Operation {
    let example = "# HELP eventwire_connections Connections there are.\n# TYPE eventwire_connections gauge\neventwire_connections{dialect=\"canonical\",transport=\"websocket\"} 1\n";
    operation("get", "/metrics", "getMetricsText", "health", "Figures of the server, as Prometheus reads them.")
        .access(Access::Holder("observe"), Form::Coded)
        .answers(200, text_answer("The figures.", "text/plain", "Text 0.0.4 of Prometheus.", example))
        .and_head()
}

/// An answer that whoever has it already gets as 304.
fn kept(description: &str, content: Value) -> Value {
    json!({
        "description": description,
        "headers": {
            "ETag": { "description": "Names this content; send it back in `If-None-Match`.", "required": true, "schema": { "type": "string" } },
        },
        "content": content,
    })
}

fn document(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation("get", path, id, "documents", summary)
        .parameter(header("If-None-Match", "The `ETag` of what you have.", text(), "\"9f3a77c2d1e05b64\""))
        .answers(304, json!({ "description": "You have it already." }))
        .refuses(404, Form::Coded, &[E::NotFound])
        .and_head()
}

fn published_root() -> Operation {
    operation("get", "/v1/schemas", "listSchemas", "documents", "Leads to `/v1/schemas/`, which is the list of what is published.")
        .answers(308, json!({
            "description": "The list is below.",
            "headers": { "Location": { "description": "Where it is.", "required": true, "schema": { "const": "/v1/schemas/" } } },
        }))
        .and_head()
}

fn published() -> Operation {
    let content = json!({
        "application/schema+json": { "schema": reference("AnyValue") },
        "application/json": { "schema": reference("AnyValue"), "example": { "protocol": "v1", "version": "0.1.0" } },
        "text/markdown": { "schema": { "type": "string", "description": "The changelog." } },
    });
    document("/v1/schemas/{path}", "getSchema", "A schema, an example, or a list of them.")
        .says("What was published with this version: `index.json` lists it, and is what an empty path gives. The path may have several segments, such as `events/adw.text_block.schema.json`.")
        .parameter(in_path("path", "The path of a file in the list.", text(), "index.json"))
        .answers(200, kept("The file.", content))
}

fn asyncapi() -> Operation {
    document("/v1/asyncapi.json", "getAsyncapi", "The channels and what travels on them (AsyncAPI 3.0).").answers(
        200,
        kept(
            "The document.",
            json!({ "application/json": { "schema": reference("AnyValue"), "example": { "asyncapi": "3.0.0" } } }),
        ),
    )
}

fn openapi() -> Operation {
    document("/v1/openapi.json", "getOpenapi", "This document (OpenAPI 3.1).").answers(
        200,
        kept(
            "The document.",
            json!({ "application/json": { "schema": reference("AnyValue"), "example": { "openapi": "3.1.0" } } }),
        ),
    )
}

fn pages() -> Operation {
    let page = operation("get", "/", "getPage", "pages", "The inspector, or the first page of an application.")
        .says("On the canonical listener: the inspector, a page that shows what is published. On the listener of an older system: the application's first page, where `--static` or `--upstream` says where its pages are; on that of Monadic Chat, its socket as well.")
        .answers(200, text_answer("A page.", "text/html", "The page.", "<!doctype html>"))
        .answers(101, switching("The socket of a page of Monadic Chat is open. Cookie `_monadic_session_id` says whose it is; who comes without gets one."))
        .refuses(404, Form::Coded, &[E::NotFound])
        .refuses(404, Form::Text, &[E::NotFound])
        .refuses(502, Form::Coded, &[E::Unavailable])
        .refuses(401, Form::Coded, &[E::Unauthorized])
        .and_head();
    socket(page)
}

fn asset() -> Operation {
    let file = |what: &str| json!({ "schema": { "type": "string", "description": what } });
    operation("get", "/assets/{file}", "getAsset", "pages", "A part of the inspector.")
        .says("On the canonical listener only.")
        .parameter(in_path("file", "Its name.", text(), "inspector.js"))
        .answers(
            200,
            json!({
                "description": "The file.",
                "content": {
                    "text/javascript": file("A module."),
                    "text/css": file("A style sheet."),
                    "image/svg+xml": file("A picture."),
                },
            }),
        )
        .refuses(404, Form::Coded, &[E::NotFound])
        .and_head()
}

fn health() -> Operation {
    let example = json!({
        "status": "healthy", "service": "eventwire", "version": "0.1.0", "timestamp": TIME, "uptime_seconds": 3600,
        "active_connections": 12, "websocket_support": true,
    });
    operation("get", "/health", "getHealth", "health", "The process lives.")
        .says("A listener of Shared Context answers with two members more.")
        .answers(200, json_answer("It does.", "Health", example))
        .and_head()
}

fn ready() -> Operation {
    let unready = json!({
        "description": "They are not, as `status` says; or the gateway has as many connections as it may have.",
        "content": { "application/json": {
            "schema": { "oneOf": [reference("Ready"), reference("Refused")] },
            "examples": { "draining": { "summary": "It is stopping.", "value": { "status": "draining" } } },
        } },
        "x-eventwire-codes": ["unavailable"],
    });
    operation("get", "/ready", "getReadiness", "health", "Whether connections are taken.")
        .answers(200, json_answer("They are.", "Ready", json!({ "status": "ready" })))
        .answers(503, unready)
        .and_head()
}

fn websocket() -> Operation {
    let opened = operation("get", "/v1/ws", "openSocket", "listening", "Opens a WebSocket.")
        .says("Offer the subprotocol `eventwire.v1`. A browser, which cannot send `Authorization`, offers its token as a second one, `eventwire.token.<base64url of the token, without padding>`; it is never echoed. Or it shows a ticket, as `?ticket=`.")
        .access(Access::Socket, Form::Coded)
        .parameter(header(
            "Sec-WebSocket-Protocol",
            "Subprotocols, separated by commas. Of these `eventwire.v1` is chosen; offering none is fine.",
            text(),
            "eventwire.v1",
        ))
        .answers(101, switching("The WebSocket is open; the first frame is `connection.welcome`."))
        .refuses(400, Form::Coded, &[E::UnsupportedSubprotocol]);
    connect_query(socket(opened))
}

fn stream() -> Operation {
    let example =
        ": the first event\nretry: 2000\nid: 9f3a77c2d1e05b64-4711\ndata: {\"type\":\"connection.welcome\"}\n\n";
    let opened = operation("get", "/v1/sse", "openStream", "listening", "Opens a stream of server-sent events.")
        .says("Each event is one `data:` line of JSON; there is no `event:` line, so `onmessage` gets them all. The first is `connection.welcome`. A page that opens it with a ticket gets a cookie, with which its EventSource comes back.")
        .access(Access::Stream, Form::Coded)
        .parameter(header(
            "Last-Event-ID",
            "The last `id` of an earlier stream, which EventSource sends by itself: what was missed comes first. Counts before `lastEventId` and `cursor` in the query.",
            text(),
            "9f3a77c2d1e05b64-4711",
        ))
        .parameter(query(
            "lastEventId",
            "The same, as clients write it that cannot set the header.",
            text(),
            "9f3a77c2d1e05b64-4711",
        ))
        .answers(200, text_answer("Events, until either side ends it.", "text/event-stream", "Server-sent events.", example))
        .refuses(406, Form::Coded, &[E::NotAcceptable]);
    connect_query(opened)
}

fn publish() -> Operation {
    let event = json!({
        "type": "adw.text_block", "to": "adw:29fb6a3e", "id": "run-29fb6a3e-17",
        "data": { "adw_id": "29fb6a3e", "content": "Done." },
    });
    let task = json!({ "type": "_acme.lamp_switched", "to": "room:tasks", "data": { "on": true } });
    let mut dialects: Vec<&str> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
    dialects.retain(|name| *name != Dialect::Canonical.as_str());
    let schema = json!({ "oneOf": [
        reference("PublishRequest"), reference("DialectFrame"), reference("DialectBatch"),
    ] });
    let body = json!({
        "required": true,
        "description": "One event, or an array of up to 1,000; or one a line. 1 MiB an event, 8 MiB in all. With `?dialect=` the events are those of an older system, and only then.",
        "content": {
            "application/json": media(schema, &[
                ("one", "One event.", event.clone()),
                ("several", "Several, which are taken or refused one by one.", json!([event, task])),
            ]),
            "application/x-ndjson": {
                "schema": { "type": "string", "description": "One event a line." },
                "example": format!("{task}\n{task}\n"),
            },
        },
    });
    let taken = json!({ "results": [
        { "type": "adw.text_block", "to": "adw:29fb6a3e", "seq": 4711 },
        { "error": { "code": "audience_not_allowed", "message": "adw.text_block may go to adw, not to room" } },
    ] });
    let published = operation("post", "/v1/events", "publishEvents", "publishing", "Publishes events.")
        .says("Each event is taken or refused on its own, in order, and the answer has one entry for each. An event with an `id` is published once, however often it is sent within 10 minutes; the same `id` with another body is a `conflict`.")
        .access(Access::Holder("publish"), Form::Coded)
        .parameter(query(
            "dialect",
            "The events are as the back end of this system builds them.",
            json!({ "type": "string", "enum": dialects }),
            "adw",
        ))
        .parameter(query("to", "Whom the events are for, where they do not say so. Only with `dialect`.", reference("Audience"), "adw:29fb6a3e"))
        .parameter(header("Eventwire-To", "The same as `to`, as a header. Only with `dialect`.", reference("Audience"), "adw:29fb6a3e"))
        .parameter(header("Eventwire-Id", "The idempotency key of the one event in the request. Only with `dialect`.", reference("EventId"), "run-29fb6a3e-17"))
        .parameter(header(
            "Eventwire-Session",
            "The value of the cookie of the browser that the events are for; it is not repeated, kept or logged. Only with `dialect=monadic`.",
            json!({ "type": "string", "minLength": 1, "maxLength": 4096 }),
            "5f4c0b1e-7f0e-4f5c-9d7a-0d8a8d3f3b11",
        ))
        .body(body)
        .answers(202, json_answer("At least one event was taken.", "PublishResults", taken))
        .refuses(413, Form::Coded, &[E::TooManyItems])
        .refuses(422, Form::Results, &[
            E::UnknownType, E::InvalidPayload, E::InvalidId, E::MissingTarget, E::AudienceNotAllowed, E::SubjectMismatch,
            E::Forbidden, E::Conflict, E::Fenced,
        ]);
    json_reader(published)
}

fn resolve() -> Operation {
    let body =
        json_body("ResolveSession", &[("cookie", "The value of a cookie.", json!({ "cookie": "5f4c0b1e-7f0e-4f5c" }))]);
    let resolved =
        operation("post", "/v1/sessions/resolve", "resolveSession", "publishing", "The session that a cookie opens.")
            .says("For back ends that know their browsers by a cookie and publish to `session:<id>`.")
            .access(Access::Holder("publish"), Form::Coded)
            .body(body)
            .answers(
                200,
                json_answer(
                    "The session.",
                    "ResolvedSession",
                    json!({ "session_id": "~0123456789abcdef0123456789abcdef" }),
                ),
            )
            .refuses(422, Form::Coded, &[E::InvalidPayload]);
    json_reader(resolved)
}

fn group(operation: Operation) -> Operation {
    let pattern = json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$" });
    operation
        .access(Access::Holder("commands"), Form::Coded)
        .parameter(query("group", "The group of readers; `default` when absent. Every group is brought every command, and in a group one reader each.", pattern, "default"))
        .refuses(400, Form::Coded, &[E::InvalidPayload])
}

fn command_example() -> Value {
    json!({
        "id": "c00000000000000ff-1", "time": TIME, "dialect": "adw", "name": "trigger_workflow",
        "connection_id": "c00000000000000ff", "data": { "workflow_type": "adw_plan_iso", "issue_number": 66 },
    })
}

fn cancel_example() -> Value {
    json!({
        "id": "9f3a77c2d1e05b64", "time": TIME, "dialect": "monadic", "name": "CANCEL", "urgent": true,
        "connection_id": "c00000000000000ff", "session_id": "~0123456789abcdef0123456789abcdef", "data": {},
        "cancels": { "in_work": ["81f2d05e4b7a9c36"], "withdrawn": ["93aa6c18f0d2e574"], "ended": [], "stale": false },
    })
}

fn commands() -> Operation {
    let example = format!("retry: 1000\nevent: command\nid: c00000000000000ff-1\ndata: {}\n\n", command_example());
    let read = operation("get", "/v1/commands", "readCommands", "commands", "What clients ask of the application, as it comes.")
        .says("Server-sent events named `command`; each `data:` line is an `ApplicationCommand`. A command comes at least once: until it is acknowledged it is brought again, after 30 seconds or when its reader goes. Answer by publishing to `connection:<connection_id>`.")
        .answers(200, text_answer("Commands, until either side ends it.", "text/event-stream", "Server-sent events.", &example))
        .refuses(406, Form::Coded, &[E::NotAcceptable]);
    group(read)
}

fn acknowledged() -> Value {
    json_answer("What became of it.", "Acknowledged", json!({ "acknowledged": ["c00000000000000ff-1"], "unknown": [] }))
}

fn acknowledge_several() -> Operation {
    let body = json_body(
        "Acknowledge",
        &[("two", "Two commands.", json!({ "ids": ["c00000000000000ff-1", "c00000000000000ff-2"] }))],
    );
    let several =
        operation("post", "/v1/commands/ack", "acknowledgeCommands", "commands", "Acknowledges several commands.")
            .body(body)
            .answers(200, acknowledged())
            .refuses(408, Form::Coded, &[E::Timeout])
            .refuses(413, Form::Coded, &[E::TooLarge, E::TooManyItems])
            .refuses(415, Form::Coded, &[E::UnsupportedMediaType])
            .refuses(422, Form::Coded, &[E::InvalidPayload]);
    group(several)
}

fn acknowledge() -> Operation {
    let one = operation("post", "/v1/commands/{id}/ack", "acknowledgeCommand", "commands", "Acknowledges a command.")
        .says("The command is done. With a webhook: the work of a command that was taken over has ended.")
        .parameter(in_path("id", "The command.", text(), "c00000000000000ff-1"))
        .answers(200, acknowledged())
        .refuses(404, Form::Coded, &[E::NotFound]);
    group(one)
}

fn ticket() -> Operation {
    let mut body = json_body("IssueTicket", &[("nothing", "There is nothing to be said.", json!({}))]);
    if let Some(required) = body.get_mut("required") {
        *required = Value::Bool(false);
    }
    let ticket = json!({ "ticket": "4f1c9d2a7b3e8c6d0a5f4e1b2c3d9a8f", "expires_in_s": 30 });
    operation("post", "/v1/tickets", "issueTicket", "credentials", "A ticket that opens one connection.")
        .says("For pages, which cannot send a header with a WebSocket or an EventSource, and must not put a token into a URL. The ticket opens one connection as the credentials of this request would, and ends with them.")
        .access(Access::Caller, Form::Coded)
        .body(body)
        .answers(201, json_answer("The ticket.", "IssuedTicket", ticket))
        .refuses(400, Form::Coded, &[E::MalformedFrame, E::InvalidUtf8, E::DuplicateKey, E::TooDeep, E::InvalidPayload])
        .refuses(408, Form::Coded, &[E::Timeout])
        .refuses(413, Form::Coded, &[E::TooLarge])
        .refuses(422, Form::Coded, &[E::InvalidPayload])
        .refuses(429, Form::Coded, &[E::RateLimited])
}

fn revoke() -> Operation {
    let body = json_body(
        "Revoke",
        &[
            ("user", "Everything that a user was given before.", json!({ "user": "maria" })),
            ("token", "One token by its `jti`, or one API key by its name.", json!({ "token": "laptop-of-maria" })),
            ("all", "Everything that was issued before; API keys remain accepted.", json!({ "all": true })),
        ],
    );
    let revoked = operation("post", "/v1/revocations", "revokeCredentials", "credentials", "Takes credentials back.")
        .says("Every connection that was opened with them is closed with 4001 within a second, and gets nothing of what waited for it. Tickets and cookies that were bought with them are void. Where the gateway has a state file, the answer comes once the file has the revocation.")
        .access(Access::Holder("admin"), Form::Coded)
        .body(body)
        .answers(200, json_answer("They are refused from now on.", "Revoked", json!({ "closed": 2 })))
        .refuses(422, Form::Coded, &[E::InvalidPayload, E::InvalidId])
        .refuses(503, Form::Coded, &[E::Unavailable]);
    json_reader(revoked)
}

fn connections() -> Operation {
    let example = json!({
        "epoch": "9f3a77c2d1e05b64", "count": 1,
        "connections": [{
            "connection_id": "c00000000000000ff", "dialect": "canonical", "transport": "websocket", "user_id": "maria",
            "permissions": ["observe"], "subscriptions": ["adw:29fb6a3e"], "remote_address": "127.0.0.1",
            "user_agent": "Mozilla/5.0", "connected_at": TIME, "queued_frames": 0, "queued_bytes": 0, "delivered": 42,
            "dropped": 0, "lagging": false,
        }],
    });
    operation("get", "/v1/connections", "listConnections", "administration", "Who is connected.")
        .access(Access::Holder("admin"), Form::Coded)
        .answers(200, json_answer("All connections.", "Connections", example))
        .refuses(400, Form::Coded, &[E::InvalidPayload])
        .and_head()
}

fn disconnect() -> Operation {
    operation("delete", "/v1/connections/{id}", "closeConnection", "administration", "Closes a connection with 1008.")
        .says("What waits for it is sent before.")
        .access(Access::Holder("admin"), Form::Coded)
        .parameter(in_path("id", "The connection.", reference("ConnectionId"), "c00000000000000ff"))
        .answers(204, json!({ "description": "It is being closed." }))
        .refuses(400, Form::Coded, &[E::InvalidPayload])
        .refuses(404, Form::Coded, &[E::NotFound])
}

fn explain() -> Operation {
    let example = json!({
        "type": "adw.text_block", "to": "adw:29fb6a3e",
        "connections": [{
            "connection_id": "c00000000000000ff", "delivered": false, "rule": "ROUTE-02",
            "reason": "did not subscribe to adw:29fb6a3e, only to other runs",
            "decided_by": { "kind": "subscription", "name": "adw:29fb6a3e" },
            "user_id": "ann", "subscriptions": ["adw:3836463b"], "client": "eventwire-python/0.1.0",
            "checks": [
                { "rule": "ROUTE-01", "passed": true, "reason": "the event is addressed to adw:29fb6a3e" },
                { "rule": "ROUTE-02", "passed": false, "reason": "did not subscribe to adw:29fb6a3e, only to other runs" },
            ],
        }],
    });
    let required = |mut parameter: Value| {
        if let Some(place) = parameter.get_mut("required") {
            *place = Value::Bool(true);
        }
        parameter
    };
    operation("get", "/v1/explain", "explainRouting", "administration", "Who would receive an event now, and why.")
        .access(Access::Holder("observe"), Form::Coded)
        .parameter(required(query("type", "The type of the event.", reference("EventName"), "adw.text_block")))
        .parameter(required(query("to", "Whom it is for.", reference("Audience"), "adw:29fb6a3e")))
        .parameter(query(
            "connection",
            "Asks about one connection only.",
            reference("ConnectionId"),
            "c00000000000000ff",
        ))
        .parameter(query(
            "seq",
            "The number of the event in question, which comes back in the answer.",
            reference("Seq"),
            4711,
        ))
        .answers(200, json_answer("What is decided of each connection.", "Explained", example))
        .refuses(400, Form::Coded, &[E::InvalidPayload])
        .refuses(404, Form::Coded, &[E::NotFound])
        .refuses(422, Form::Coded, &[E::UnknownType, E::InvalidId, E::AudienceNotAllowed])
        .and_head()
}

fn run_refusals(operation: Operation) -> Operation {
    operation
        .refuses(400, Form::Coded, &[E::InvalidPayload, E::InvalidUtf8])
        .refuses(403, Form::Coded, &[E::Forbidden])
        .refuses(404, Form::Coded, &[E::NotFound])
        .refuses(413, Form::Coded, &[E::TooLarge])
        .and_head()
}

fn runs() -> Operation {
    let example = json!({ "root": true, "agents": [{
        "adw_id": "29fb6a3e", "roles": ["planner", "reviewer"], "phases": ["plan", "review"],
        "screenshots": ["reviewer/review_img/01.png"], "state": true,
    }] });
    operation("get", "/v1/agents", "listRuns", "agents", "The agent runs that the credentials reach.")
        .access(Access::Holder("observe"), Form::Coded)
        .answers(200, json_answer("The runs.", "AgentRuns", example))
        .refuses(400, Form::Coded, &[E::InvalidPayload])
        .and_head()
}

fn run() -> Operation {
    let example = json!({
        "adw_id": "29fb6a3e", "roles": ["planner"], "phases": ["plan"], "screenshots": [],
        "state": { "adw_id": "29fb6a3e", "issue_number": "66" },
    });
    let shown = operation("get", "/v1/agents/{adw_id}", "getRun", "agents", "One agent run, with its state.")
        .says("For credentials that reach the run.")
        .access(Access::Caller, Form::Coded)
        .parameter(adw_id())
        .answers(200, json_answer("The run.", "AgentRunDetail", example));
    run_refusals(shown)
}

fn screenshot() -> Operation {
    let picture = json!({
        "description": "The picture, at most 8 MiB.",
        "headers": {
            "X-Content-Type-Options": { "description": "A picture and nothing else.", "required": true, "schema": { "const": "nosniff" } },
            "Content-Security-Policy": { "description": "Not even as a page of its own.", "required": true, "schema": { "type": "string" } },
        },
        "content": { "image/png": {} },
    });
    let fetched =
        operation("get", "/v1/agents/{adw_id}/screenshots/{file}", "getScreenshot", "agents", "A screenshot of a run.")
            .says("For credentials that reach the run.")
            .access(Access::Caller, Form::Coded)
            .parameter(adw_id())
            .parameter(in_path("file", "The name of the file, without the folder.", text(), "01.png"))
            .answers(200, picture);
    run_refusals(fetched)
}

fn socket_io() -> [Operation; 2] {
    let with_query = |operation: Operation| {
        let transports = json!({ "type": "string", "enum": ["polling", "websocket"] });
        operation
            .parameter(query("EIO", "The version of Engine.IO.", json!({ "const": "4" }), "4"))
            .parameter(query("transport", "How packets travel.", transports, "polling"))
            .parameter(query("sid", "The session, behind the first request.", text(), "AAAAAAAAAAAAAAAA"))
            .refuses(400, Form::EngineIo, &[E::MalformedFrame])
    };
    let answer = |what: &str, example: &str| text_answer(what, "text/plain", "Packets of Engine.IO.", example);
    let polled = operation("get", "/socket.io/", "pollSocketIo", "listening", "Opens a session of Socket.IO, or fetches its packets.")
        .says("Engine.IO 4 with Socket.IO 5: use a client library. The namespaces `/` and `/metrics` speak AMIGA's dialect, `/v1` the canonical one. On the canonical listener and on that of AMIGA.")
        .answers(200, answer("Packets.", "0{\"sid\":\"AAAAAAAAAAAAAAAA\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}"))
        .answers(101, switching("The session goes on as a WebSocket."));
    let sent = operation("post", "/socket.io/", "sendSocketIo", "listening", "Sends packets of Socket.IO.")
        .says("On the canonical listener and on that of AMIGA.")
        .body(json!({ "required": true, "content": { "text/plain": {
            "schema": { "type": "string", "description": "Packets of Engine.IO." }, "example": "40",
        } } }))
        .answers(200, answer("The packets were taken.", "ok"))
        .refuses(413, Form::Text, &[E::TooLarge]);
    [with_query(polled), with_query(sent)]
}

/// What the gateway sends to a back end that does not read the feed (CMD-13, CMD-14).
pub(super) fn command_webhook() -> Value {
    let header_of = |name: &str, description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description, "schema": { "type": "string" },
            "example": example,
        })
    };
    let mut responses = Map::new();
    for (status, description) in [
        ("2XX", "The back end took the command."),
        ("429", "Tried again, up to 5 attempts in all; `Retry-After` is heeded."),
        ("5XX", "Tried again, up to 5 attempts in all; `Retry-After` is heeded."),
        ("default", "The back end refuses the command, and whoever asked is told."),
    ] {
        responses.insert(status.to_owned(), json!({ "description": description }));
    }
    json!({ "post": {
        "operationId": "takeCommand",
        "tags": ["commands"],
        "summary": "A command for the application, posted to `commands_webhook`.",
        "description": "The gateway calls this at the address of the setting `commands_webhook`. At least once, in order within a session, with 5 seconds to be answered.",
        "security": [],
        "parameters": [
            header_of("Eventwire-Id", "The id of the command.", "c00000000000000ff-1"),
            header_of("Eventwire-Timestamp", "Seconds since 1970, of this attempt.", "1763682001"),
            header_of("Eventwire-Signature", "`v1=` and, in hexadecimal digits, the HMAC-SHA256 of `<id>.<timestamp>.<body>` under the shared secret.", "v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd"),
        ],
        "requestBody": json_body("ApplicationCommand", &[
            ("trigger", "A page asks for a workflow.", command_example()),
            ("cancel", "A person cancels a turn; another one, which waited, is withdrawn.", cancel_example()),
        ]),
        "responses": responses,
    } })
}
