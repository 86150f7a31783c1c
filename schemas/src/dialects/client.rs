//! What clients of the older systems send. Decoders cannot be observed as encoders are, so this is written by hand, one
//! table for each system; tests decode instances of every definition and refuse what lacks a required member.
//!
//! A decoder reads more than stands here: numbers outside of their range are cut, texts `true` are truths, null is absent.
//! What stands here is what a client should send.

use eventwire_protocol::Dialect;
use serde_json::{Map, Value, json};

use crate::profile::{Definitions, MAX_INTEGER, reference};
use crate::source::Source;

/// One thing that clients of a dialect send.
pub struct Command {
    /// Its name: what stands in its tag.
    pub name: &'static str,
    /// The name of its definition.
    pub title: &'static str,
    /// One sentence on what it asks for.
    pub summary: &'static str,
    /// Name, schema and whether it is required, of each member.
    members: Vec<(&'static str, Value, bool)>,
    /// A frame as clients send it.
    pub example: Value,
}

impl Command {
    fn definition(&self) -> Value {
        let properties: Map<String, Value> =
            self.members.iter().map(|(name, schema, _)| ((*name).to_owned(), schema.clone())).collect();
        let required: Vec<&str> =
            self.members.iter().filter(|(.., is_required)| *is_required).map(|(name, ..)| *name).collect();
        let mut definition = json!({
            "title": self.title, "description": self.summary, "type": "object", "properties": properties,
        });
        if let (Value::Object(members), false) = (&mut definition, required.is_empty()) {
            members.insert("required".to_owned(), json!(required));
        }
        if let Value::Object(members) = &mut definition {
            members.insert("examples".to_owned(), json!([self.example]));
        }
        definition
    }
}

/// The entries of the index.
pub fn commands(dialect: Dialect) -> Vec<Value> {
    let is_argument = super::tag_of(dialect) == super::Tag::EventName;
    let title = |it: &Command| if is_argument && it.members.is_empty() { "NoArgument" } else { it.title };
    table(dialect).iter().map(|it| json!({ "name": it.name, "title": title(it), "summary": it.summary })).collect()
}

/// The file `client.schema.json` of a dialect.
pub fn root(source: &Source, dialect: Dialect) -> Value {
    let table = table(dialect);
    let system = super::system(dialect);
    let definitions = definitions(source, dialect);
    let root = if super::tag_of(dialect) == super::Tag::EventName {
        let properties: Map<String, Value> = table
            .iter()
            .map(|command| {
                let title = if command.members.is_empty() { "NoArgument" } else { command.title };
                (command.name.to_owned(), reference(title))
            })
            .collect();
        json!({
            "title": "ClientEvents",
            "description": format!("Every event of Socket.IO that frontends of {system} send: its name, and what its one argument is."),
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    } else {
        let members: Vec<Value> = table.iter().map(|command| reference(command.title)).collect();
        json!({ "title": "ClientFrame", "description": format!("Every frame that frontends of {system} send. {}", beside(dialect)).trim(), "oneOf": members })
    };
    super::file(&format!("dialects:{}:client", dialect.as_str()), root, &definitions)
}

/// What a schema cannot say.
fn beside(dialect: Dialect) -> &'static str {
    match dialect.family() {
        Dialect::SharedContext => {
            "Two more are plain text, not JSON: `ping`, answered with `pong`, and `subscribe:` with anything behind it."
        }
        Dialect::Monadic => {
            "What stands in `message` is a command if it is one of theirs and what the person wrote if not. The texts `true` and `false` are read as truths, but in members that hold what somebody wrote."
        }
        _ => "",
    }
}

/// What is said of null, in either direction.
pub(super) const NOTHING: &str = "Nothing: the member is there, and null in it.";

fn tag(name: &str) -> Value {
    json!({ "const": name })
}

fn text(description: &str) -> Value {
    json!({ "description": description, "type": "string" })
}

fn truth(description: &str) -> Value {
    json!({ "description": description, "type": "boolean" })
}

fn object(description: &str) -> Value {
    json!({ "description": description, "type": "object" })
}

fn whole(description: &str, low: u64, high: u64) -> Value {
    json!({ "description": description, "type": "integer", "minimum": low, "maximum": high })
}

fn number(description: &str) -> Value {
    json!({ "description": description, "type": "number" })
}

fn list(description: &str, items: Value) -> Value {
    json!({ "description": description, "type": "array", "items": items })
}

fn of(description: &str, definition: &str) -> Value {
    json!({ "description": description, "oneOf": [reference(definition)] })
}

fn one_of(description: &str, words: &[&str]) -> Value {
    json!({ "description": description, "type": "string", "enum": words })
}

/// Definitions that several commands use.
pub(super) fn shared() -> Definitions {
    let definitions = [
        (
            "ContextId",
            json!({ "description": "A context, as the path `/ws/{session_id}` names it. `trigger` is none.", "type": "string", "pattern": "^[A-Za-z0-9_.:@-]{1,128}$" }),
        ),
        ("NoArgument", json!({ "description": "The event has no argument; null may stand for it.", "type": "null" })),
        ("Null", json!({ "description": NOTHING, "type": "null" })),
        (
            "NumberOfIssue",
            json!({ "description": "An issue by its number.", "type": "integer", "minimum": 0, "maximum": MAX_INTEGER }),
        ),
        (
            "TextOfIssue",
            json!({ "description": "An issue by its number, as text; not empty.", "type": "string", "pattern": "\\S" }),
        ),
        (
            "IssueNumber",
            json!({ "description": "An issue, as a number or as text.", "oneOf": [reference("NumberOfIssue"), reference("TextOfIssue")] }),
        ),
        (
            "RequestId",
            json!({ "description": "Chosen by you; the answer repeats it.", "oneOf": [reference("RequestIdNumber"), reference("RequestIdText")] }),
        ),
        ("RequestIdNumber", json!({ "description": "Any number.", "type": "number" })),
        (
            "RequestIdText",
            json!({ "description": "A text of at most 128 characters.", "type": "string", "maxLength": 128 }),
        ),
        (
            "PictureOfMessage",
            json!({
                "description": "A picture or document that belongs to a message.", "type": "object",
                "properties": {
                    "title": text("The name of its file."), "data": text("The content as a `data:` URL."),
                    "type": text("Its media type, for instance `image/png`."),
                },
                "required": ["title", "data"],
            }),
        ),
        (
            "SpokenMessage",
            json!({
                "description": "A message of the conversation.", "type": "object",
                "properties": { "role": text("Who says it: `user` or `assistant`."), "text": text("What is said.") },
                "required": ["role", "text"],
            }),
        ),
        (
            "ConversationToContinue",
            json!({
                "description": "What the program that writes for the person goes by.", "type": "object",
                "properties": {
                    "params": object("The parameters of the session; free form."),
                    "messages": list("The conversation so far, oldest first.", reference("SpokenMessage")),
                },
                "required": ["params", "messages"],
            }),
        ),
        (
            "ContextArguments",
            json!({
                "description": "Which context is meant.", "type": "object",
                "properties": { "session_id": reference("ContextId") }, "required": ["session_id"],
            }),
        ),
        (
            "MessagesArguments",
            json!({
                "description": "Which messages are meant.", "type": "object",
                "properties": {
                    "session_id": reference("ContextId"),
                    "since_id": whole("Only messages with a higher number; all, if it is absent.", 0, MAX_INTEGER),
                },
                "required": ["session_id"],
            }),
        ),
        (
            "WorkflowToTrigger",
            json!({
                "description": "What is to be started. Which workflows there are and what each of them needs, the back end knows.",
                "type": "object",
                "properties": {
                    "workflow_type": { "description": "The workflow, for instance `adw_plan_iso`: letters, digits, `_` and `-`.", "type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$" },
                    "adw_id": { "description": "The run that is to go on; null or absent for a new one.", "oneOf": [reference("AdwId"), reference("Null")] },
                    "issue_number": of("The issue that it is about.", "IssueNumber"),
                    "issue_type": one_of("What kind of issue it is.", &["feature", "bug", "chore", "patch"]),
                    "issue_json": object("The issue itself; free form."),
                    "model_set": one_of("Which models are to be used.", &["base", "heavy"]),
                    "stages": list("The stages that are to be run, in their order.", json!({ "type": "string" })),
                    "config": object("Further settings; free form."),
                    "trigger_reason": text("Why, for a person to read."),
                },
                "required": ["workflow_type"],
            }),
        ),
        (
            "SessionToRegister",
            json!({
                "description": "The session that the page belongs to.", "type": "object",
                "properties": {
                    "session_id": { "description": "Its name, chosen by the page.", "type": "string", "pattern": "\\S", "maxLength": 128 },
                    "client_info": object("About the page; free form."),
                },
                "required": ["session_id"],
            }),
        ),
        (
            "TicketToTell",
            json!({
                "description": "A ticket of the board; further members are handed on. A page may say `ticket_id` instead of `id`.",
                "type": "object",
                "properties": {
                    "id": of("The ticket.", "IssueNumber"),
                    "title": { "description": "Its title; not empty.", "type": "string", "pattern": "\\S" },
                },
                "required": ["id", "title"],
            }),
        ),
        (
            "LineToLog",
            json!({
                "description": "A line for the log of a workflow.", "type": "object",
                "properties": {
                    "adw_id": reference("AdwId"),
                    "workflow_name": text("The workflow, for instance `adw_plan_iso`."),
                    "message": text("The line itself."),
                    "level": one_of("How important the line is.", &["DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR"]),
                    "timestamp": { "description": "When it happened.", "type": "string", "format": "date-time" },
                },
                "required": ["adw_id", "workflow_name", "message", "level", "timestamp"],
            }),
        ),
    ];
    definitions
        .into_iter()
        .map(|(title, mut definition)| {
            if let Value::Object(members) = &mut definition {
                let rest = std::mem::take(members);
                members.insert("title".to_owned(), title.into());
                members.extend(rest);
            }
            (title.to_owned(), definition)
        })
        .collect()
}

/// What clients of a dialect send. Variants of a system send the same.
pub fn table(dialect: Dialect) -> Vec<Command> {
    match dialect.family() {
        Dialect::Monadic => monadic(),
        Dialect::Product => product(),
        Dialect::Amiga => amiga(),
        Dialect::SharedContext => shared_context(),
        Dialect::Adw => adw(),
        _ => Vec::new(),
    }
}

fn monadic() -> Vec<Command> {
    let command = |name: &'static str, title, summary, members: Vec<(&'static str, Value, bool)>, more: Value| {
        let mut all = vec![("message", tag(name), true)];
        all.extend(members);
        let mut example = json!({ "message": name });
        if let (Value::Object(example), Value::Object(more)) = (&mut example, more) {
            example.extend(more);
        }
        Command { name, title, summary, members: all, example }
    };
    let mid = || ("mid", text("The message, as in `html` and `user`."), true);
    let images = || ("images", list("What belongs to the message.", reference("PictureOfMessage")), false);
    let speech = || {
        vec![
            ("text", text("What is to be spoken."), true),
            ("provider", text("Who speaks, for instance `openai-tts`."), false),
            ("voice", text("The voice, where the provider is OpenAI."), false),
            ("elevenlabs_voice", text("The voice, where the provider is ElevenLabs."), false),
            ("gemini_voice", text("The voice, where the provider is Gemini."), false),
            ("speed", number("How fast, 1 for as usual."), false),
            ("response_format", text("The format of the sound, for instance `mp3`."), false),
            ("conversation_language", text("The language, for instance `en`, or `auto`."), false),
        ]
    };
    let none = Vec::new;
    let spoken = json!({ "text": "Hello", "provider": "openai-tts", "voice": "alloy" });
    let mut names = vec![
        command(
            "CHECK_TOKEN",
            "CheckTokenRequest",
            "Asks whether the key for the model provider works. The first frame of every page.",
            vec![
                ("initial", truth("True on the first frame of a page."), false),
                ("contents", text("The key; empty for the server's own."), false),
                ("ui_language", text("The language of the page, for instance `en`."), false),
            ],
            json!({ "initial": true, "contents": "", "ui_language": "en" }),
        ),
        command(
            "LOAD",
            "LoadRequest",
            "Asks to be shown everything anew.",
            vec![("ui_language", text("The language of the page, for instance `en`."), false)],
            json!({}),
        ),
        command("PING", "PingRequest", "Asks for `pong`.", none(), json!({})),
        command("RESET", "ResetRequest", "Forgets the messages and parameters of the session.", none(), json!({})),
        command(
            "UPDATE_PARAMS",
            "UpdateParamsRequest",
            "Stores parameters of the session and tells its other tabs.",
            vec![
                ("params", object("The parameters that change; free form, at most 256 KiB as JSON."), true),
                ("reason", text("Why, for logs."), false),
            ],
            json!({ "params": { "app_name": "ChatOpenAI", "model": "gpt-4.1" } }),
        ),
        command(
            "EDIT",
            "EditRequest",
            "Changes a message.",
            vec![mid(), ("content", text("What it is to say."), true), ("role", text("Who says it."), false), images()],
            json!({ "mid": "a1b2c3d4", "content": "new text", "role": "user" }),
        ),
        command("DELETE", "DeleteRequest", "Deletes a message.", vec![mid()], json!({ "mid": "a1b2c3d4" })),
        command(
            "SYSTEM_PROMPT",
            "SystemPromptRequest",
            "Sets the instructions of the conversation.",
            vec![
                ("content", text("The instructions."), true),
                ("mathjax", truth("Whether formulas are shown as such."), false),
                ("monadic", truth("Whether answers are JSON of a form that the app defines."), false),
                ("websearch", truth("Whether the model may search the web."), false),
                ("jupyter", truth("Whether the model may use notebooks."), false),
                ("conversation_language", text("The language, for instance `en`, or `auto`."), false),
            ],
            json!({ "content": "You are a helpful assistant." }),
        ),
        command(
            "SAMPLE",
            "SampleRequest",
            "Puts an example message into the conversation.",
            vec![
                ("content", text("What it says."), true),
                ("role", one_of("Who says it.", &["user", "assistant", "system"]), true),
                images(),
            ],
            json!({ "content": "Example answer", "role": "assistant" }),
        ),
        command(
            "HTML",
            "HtmlRequest",
            "Asks for the finished message, after `message` with `DONE`.",
            none(),
            json!({}),
        ),
        command(
            "AI_USER_QUERY",
            "AiUserQueryRequest",
            "Asks a program to write what the person might say next.",
            vec![("contents", of("What it goes by.", "ConversationToContinue"), true)],
            json!({ "contents": { "params": {}, "messages": [{ "role": "user", "text": "Hi" }, { "role": "assistant", "text": "Hello" }] } }),
        ),
        command(
            "AUDIO",
            "AudioRequest",
            "Asks for what was said as text.",
            vec![
                ("content", text("The sound in base64."), true),
                ("format", text("Its format, for instance `webm` or `mp3`."), false),
                ("lang_code", text("The language that is spoken, for instance `en`."), false),
                ("stt_model", text("The model that is to listen."), false),
            ],
            json!({ "content": "GkXfo59C", "format": "webm", "lang_code": "en" }),
        ),
        command("CANCEL", "CancelRequest", "Stops what is under way.", none(), json!({})),
        command(
            "UPDATE_LANGUAGE",
            "UpdateLanguageRequest",
            "Goes on in another language.",
            vec![("new_language", text("The language, for instance `ja`, or `auto`."), true)],
            json!({ "new_language": "ja" }),
        ),
        command("TTS", "TtsRequest", "Asks for a text as speech, in one clip.", speech(), spoken.clone()),
        command("TTS_STREAM", "TtsStreamRequest", "Asks for a text as speech, in chunks.", speech(), spoken),
        command(
            "PLAY_TTS",
            "PlayTtsRequest",
            "Asks for a message as speech, segment by segment.",
            vec![
                ("text", text("What is to be spoken."), true),
                ("tts_provider", text("Who speaks, for instance `openai-tts`."), false),
                ("tts_voice", text("The voice, where the provider is OpenAI."), false),
                ("elevenlabs_tts_voice", text("The voice, where the provider is ElevenLabs."), false),
                ("gemini_tts_voice", text("The voice, where the provider is Gemini."), false),
                ("tts_speed", number("How fast, 1 for as usual."), false),
                ("conversation_language", text("The language, for instance `en`, or `auto`."), false),
                ("mid", text("The message that is spoken."), false),
            ],
            json!({ "text": "Hello", "tts_provider": "openai-tts", "tts_voice": "alloy" }),
        ),
        command("STOP_TTS", "StopTtsRequest", "Stops the speech.", none(), json!({})),
        command("PDF_TITLES", "PdfTitlesRequest", "Asks which PDF documents there are.", none(), json!({})),
        command(
            "DELETE_PDF",
            "DeletePdfRequest",
            "Deletes a PDF document.",
            vec![("contents", text("Its title."), true)],
            json!({ "contents": "Manual" }),
        ),
        command("DELETE_ALL_PDFS", "DeleteAllPdfsRequest", "Deletes every PDF document.", none(), json!({})),
        command(
            "UPDATE_MCP_CONFIG",
            "UpdateMcpConfigRequest",
            "Switches the MCP server of the application on or off.",
            vec![("enabled", truth("Whether it is on."), true), ("port", whole("Its port.", 0, 65535), false)],
            json!({ "enabled": true, "port": 3100 }),
        ),
        command("AUDIO_CHUNK", "AudioChunkRequest", "Sends a part of a recording that goes on.", none(), json!({})),
        command("AUDIO_COMMIT", "AudioCommitRequest", "Ends a recording and asks for its text.", none(), json!({})),
        command("AUDIO_ABORT", "AudioAbortRequest", "Gives up a recording.", none(), json!({})),
        command(
            "UPDATE_CONTEXT_FROM_CLIENT",
            "UpdateContextRequest",
            "Changes the context panel of the conversation.",
            none(),
            json!({}),
        ),
        command("VERIFY_CONFIDENCE", "VerifyConfidenceRequest", "Asks how reliable an answer is.", none(), json!({})),
        command(
            "PRIVACY_REGISTRY",
            "PrivacyRegistryRequest",
            "Asks what the privacy filter has replaced.",
            none(),
            json!({}),
        ),
        command(
            "PRIVACY_EXPORT",
            "PrivacyExportRequest",
            "Asks for an export of what the privacy filter has replaced.",
            none(),
            json!({}),
        ),
        command("PRIVACY_TOGGLE", "PrivacyToggleRequest", "Switches the privacy filter on or off.", none(), json!({})),
        command("LIBRARY_LIST", "LibraryListRequest", "Asks for the conversations of the library.", none(), json!({})),
        command("LIBRARY_STATS", "LibraryStatsRequest", "Asks for the size of the library.", none(), json!({})),
        command("LIBRARY_SAVE", "LibrarySaveRequest", "Saves the conversation in the library.", none(), json!({})),
        command("LIBRARY_DELETE", "LibraryDeleteRequest", "Deletes a conversation of the library.", none(), json!({})),
        command("LIBRARY_RENAME", "LibraryRenameRequest", "Renames a conversation of the library.", none(), json!({})),
        command(
            "LIBRARY_SET_SCOPE",
            "LibrarySetScopeRequest",
            "Sets who uses a conversation of the library.",
            none(),
            json!({}),
        ),
        command(
            "LIBRARY_GET_CONVERSATION",
            "LibraryGetConversationRequest",
            "Asks for a conversation of the library.",
            none(),
            json!({}),
        ),
        command(
            "LIBRARY_SUGGEST_TITLE",
            "LibrarySuggestTitleRequest",
            "Asks for a title of the conversation.",
            none(),
            json!({}),
        ),
        command(
            "LIBRARY_RAG_TOGGLE",
            "LibraryRagToggleRequest",
            "Switches the search of the library on or off.",
            none(),
            json!({}),
        ),
        command(
            "LIBRARY_RAG_QUERY",
            "LibraryRagQueryRequest",
            "Asks whether the library is searched.",
            none(),
            json!({}),
        ),
    ];
    let known: Vec<&str> = names.iter().map(|it| it.name).collect();
    names.push(Command {
        name: "",
        title: "ChatRequest",
        summary: "Says something to the model: whatever is no command. The members beside `message` are the parameters of the session.",
        members: vec![
            ("message", json!({ "description": "What the person wrote.", "type": "string", "not": { "enum": known } }), true),
            ("app_name", text("The app that is to answer."), false),
            ("auto_speech", truth("Whether the answer is to be spoken."), false),
            images(),
        ],
        example: json!({ "message": "Tell me a joke", "app_name": "ChatOpenAI", "images": [], "auto_speech": false }),
    });
    names
}

fn product() -> Vec<Command> {
    vec![
        Command {
            name: "ping",
            title: "PingRequest",
            summary: "Asks for `pong`.",
            members: vec![
                ("type", tag("ping"), true),
                ("timestamp", number("The page's clock, in milliseconds since 1970; not repeated."), false),
            ],
            example: json!({ "type": "ping", "timestamp": 1_747_735_200_123_u64 }),
        },
        Command {
            name: "manual_connection",
            title: "ManualConnectionRequest",
            summary: "A person pressed a button to see whether the connection is there.",
            members: vec![("type", tag("manual_connection"), true)],
            example: json!({ "type": "manual_connection" }),
        },
        Command {
            name: "user_activity",
            title: "UserActivityRequest",
            summary: "Tells others what the user does. Who the user is, the connection knows.",
            members: vec![
                ("type", tag("user_activity"), true),
                (
                    "action",
                    json!({ "description": "What the user does.", "type": "string", "examples": ["viewing_document", "editing_document"] }),
                    true,
                ),
                ("documentId", of("With which document.", "ItemId"), false),
            ],
            example: json!({ "type": "user_activity", "action": "viewing_document", "documentId": "doc-123" }),
        },
        Command {
            name: "mcp_connect",
            title: "McpConnectRequest",
            summary: "Asks the application to connect to an MCP server. Further members are handed on.",
            members: vec![
                ("type", tag("mcp_connect"), true),
                ("host", text("The host."), false),
                ("port", whole("The port.", 0, 65535), false),
            ],
            example: json!({ "type": "mcp_connect", "host": "tools.example.org", "port": 8080 }),
        },
        Command {
            name: "mcp_execute_tool",
            title: "McpExecuteToolRequest",
            summary: "Asks the application to call a tool of an MCP server. All members but `type` are handed on.",
            members: vec![("type", tag("mcp_execute_tool"), true)],
            example: json!({ "type": "mcp_execute_tool", "tool": "search", "parameters": { "query": "eventwire" } }),
        },
    ]
}

fn amiga() -> Vec<Command> {
    let hours = || ("hours", whole("How far back figures count, in hours; 24 when absent.", 1, 168), false);
    let command = |name, title, summary, members, example| Command { name, title, summary, members, example };
    vec![
        command(
            "subscribe",
            "SubscribeArgument",
            "The argument of `subscribe`: figures, whenever they change.",
            vec![
                hours(),
                (
                    "update_interval",
                    whole("The shortest time between two updates, in seconds; 2 when absent.", 1, 60),
                    false,
                ),
                (
                    "metrics",
                    json!({ "description": "Which groups of figures; all when absent. Others are empty in what comes.", "type": "array", "minItems": 1,
                "items": { "type": "string", "enum": ["overview", "sessions", "activity"] } }),
                    false,
                ),
                (
                    "binary",
                    truth(
                        "Whether updates come as bytes: the JSON text of the argument as one attachment. Absent means false.",
                    ),
                    false,
                ),
            ],
            json!({ "hours": 24, "update_interval": 2 }),
        ),
        command("unsubscribe", "UnsubscribeArgument", "No more figures.", Vec::new(), Value::Null),
        command(
            "request_refresh",
            "RequestRefreshArgument",
            "The argument of `request_refresh`: figures now, subscribed or not.",
            vec![(
                "hours",
                whole("How far back figures count, in hours; as far as the subscription says when absent.", 1, 168),
                false,
            )],
            json!({ "hours": 1 }),
        ),
        command(
            "set_interval",
            "SetIntervalArgument",
            "The argument of `set_interval`: how often figures come.",
            vec![("interval", whole("The shortest time between two updates, in seconds.", 1, 60), true)],
            json!({ "interval": 5 }),
        ),
        command("subscribe_tasks", "SubscribeTasksArgument", "What becomes of tasks.", Vec::new(), Value::Null),
        command("ping", "PingArgument", "Asks for `pong`.", Vec::new(), Value::Null),
        command(
            "message",
            "MessageArgument",
            "The argument of `message`: something said to the assistant. Further members are handed on.",
            vec![("message", text("What the person wrote."), true)],
            json!({ "message": "How many tasks are running?" }),
        ),
        command(
            "typing",
            "TypingArgument",
            "The argument of `typing`: the person is writing, or has stopped. Further members are handed on.",
            vec![("is_typing", truth("Whether the person is writing."), false)],
            json!({ "is_typing": true }),
        ),
    ]
}

fn shared_context() -> Vec<Command> {
    let session = || of("Which context; that of the path when absent.", "ContextId");
    let id = || ("id", reference("RequestId"), false);
    let call = |name: &'static str, title, summary, arguments, example: Value| Command {
        name,
        title,
        summary,
        members: vec![("tool", tag(name), true), ("arguments", reference(arguments), true), id()],
        example: json!({ "tool": name, "arguments": example, "id": 7 }),
    };
    let rpc = |name: &'static str, title, summary, arguments, example: Value| Command {
        name,
        title,
        summary,
        members: vec![
            ("jsonrpc", json!({ "const": "2.0" }), false),
            (
                "method",
                json!({ "description": "The method, with or without its folder.", "type": "string", "enum": [name, format!("/tools/{name}")] }),
                true,
            ),
            ("params", reference(arguments), true),
            id(),
        ],
        example: json!({ "jsonrpc": "2.0", "id": 7, "method": name, "params": example }),
    };
    let context = || json!({ "session_id": "session_abc123" });
    let since = || json!({ "session_id": "session_abc123", "since_id": 42 });
    vec![
        Command {
            name: "ping",
            title: "PingRequest",
            summary: "Asks for `pong`.",
            members: vec![("type", tag("ping"), true)],
            example: json!({ "type": "ping" }),
        },
        Command {
            name: "subscribe",
            title: "SubscribeRequest",
            summary: "Asks to receive a context. Answered by `subscribed`, or by `error`.",
            members: vec![("type", tag("subscribe"), true), ("session_id", session(), false)],
            example: json!({ "type": "subscribe", "session_id": "session_abc123" }),
        },
        Command {
            name: "typing",
            title: "TypingRequest",
            summary: "Tells the others that one is writing, or has stopped.",
            members: vec![
                ("type", tag("typing"), true),
                ("is_typing", truth("Whether one is writing."), true),
                ("session_id", session(), false),
            ],
            example: json!({ "type": "typing", "is_typing": true }),
        },
        call(
            "subscribe",
            "SubscribeCall",
            "Calls the tool `subscribe`: to receive a context.",
            "ContextArguments",
            context(),
        ),
        call(
            "get_messages",
            "GetMessagesCall",
            "Calls the tool `get_messages`: the messages of a context.",
            "MessagesArguments",
            since(),
        ),
        call(
            "get_session_info",
            "GetSessionInfoCall",
            "Calls the tool `get_session_info`: what there is to know about a context.",
            "ContextArguments",
            context(),
        ),
        Command {
            name: "initialize",
            title: "InitializeMethod",
            summary: "Asks by JSON-RPC 2.0 whom one is talking to.",
            members: vec![
                ("jsonrpc", json!({ "const": "2.0" }), false),
                ("method", tag("initialize"), true),
                ("params", object("Not read."), false),
                id(),
            ],
            example: json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }),
        },
        rpc(
            "subscribe",
            "SubscribeMethod",
            "Asks by JSON-RPC 2.0 to receive a context.",
            "ContextArguments",
            context(),
        ),
        rpc(
            "get_messages",
            "GetMessagesMethod",
            "Asks by JSON-RPC 2.0 for the messages of a context.",
            "MessagesArguments",
            since(),
        ),
        rpc(
            "get_session_info",
            "GetSessionInfoMethod",
            "Asks by JSON-RPC 2.0 what there is to know about a context.",
            "ContextArguments",
            context(),
        ),
    ]
}

fn adw() -> Vec<Command> {
    let subscription = |name: &'static str, title, summary| Command {
        name,
        title,
        summary,
        members: vec![("type", tag(name), true), ("adw_id", reference("AdwId"), true)],
        example: json!({ "type": name, "adw_id": "29fb6a3e" }),
    };
    let with_data = |name: &'static str, title, summary, data: &str, example: Value| Command {
        name,
        title,
        summary,
        members: vec![("type", tag(name), true), ("data", reference(data), true)],
        example: json!({ "type": name, "data": example }),
    };
    vec![
        Command {
            name: "ping",
            title: "PingRequest",
            summary: "Asks for `pong`.",
            members: vec![
                ("type", tag("ping"), true),
                ("timestamp", number("The page's clock, in milliseconds since 1970; `pong` repeats it."), false),
                ("healthCheck", truth("Set by the page's health monitor; not read."), false),
            ],
            example: json!({ "type": "ping", "timestamp": 1_762_370_560_000_u64 }),
        },
        subscription(
            "subscribe",
            "SubscribeRequest",
            "Asks to receive a run; from the first one on, only those that were asked for.",
        ),
        subscription("unsubscribe", "UnsubscribeRequest", "Asks to no longer receive a run."),
        with_data(
            "trigger_workflow",
            "TriggerWorkflowRequest",
            "Asks the back end to start a workflow. Answered by `trigger_response`, or by `error`.",
            "WorkflowToTrigger",
            json!({ "workflow_type": "adw_plan_iso", "adw_id": null, "issue_number": 66, "issue_type": "chore", "model_set": "base" }),
        ),
        with_data(
            "register_session",
            "RegisterSessionRequest",
            "Names the session that the page belongs to. Answered by `session_registered`.",
            "SessionToRegister",
            json!({ "session_id": "kanban-1", "client_info": {} }),
        ),
        with_data(
            "ticket_notification",
            "TicketNotificationRequest",
            "Tells of a ticket. Answered by `ticket_notification_response`.",
            "TicketToTell",
            json!({ "id": 18, "title": "Add a dark theme" }),
        ),
        with_data(
            "workflow_log",
            "WorkflowLogRequest",
            "A line for the log of a workflow, told to all who follow it.",
            "LineToLog",
            json!({ "adw_id": "abcd1234", "workflow_name": "adw_plan_iso", "message": "line", "level": "INFO", "timestamp": "2025-11-05T19:22:35.400000Z" }),
        ),
    ]
}

/// The definitions that a dialect's commands need, for those who make instances of them.
pub fn definitions(source: &Source, dialect: Dialect) -> Definitions {
    let mut all = shared();
    // What the catalog has a name for goes by that name here, too.
    let named =
        ["AdwId", "ItemId"].iter().filter_map(|name| Some(((*name).to_owned(), source.received.get(*name)?.clone())));
    all.extend(named);
    all.extend(table(dialect).iter().map(|command| (command.title.to_owned(), command.definition())));
    all
}
