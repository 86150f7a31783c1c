//! What clients of Shared Context ask, in each of their three forms, and the frames that answer them (CTX-04 to CTX-06).
//!
//! Pages say `{"type": ..}` or plain text, agents call `{"tool": .., "arguments": ..}` or JSON-RPC. An answer comes in the
//! form of its question. Frames that nobody had to ask for are events, and stand beside this.

use serde_json::{Map, Value, json};

use super::{get_messages_result, get_session_info_result, iso, without_absent};
use crate::{
    error::{ErrorBody, ErrorCode},
    event::context::{Messages, SessionInfo},
    frame::read_document,
    id::ContextId,
    limits,
    time::Time,
};

/// Largest frame that is read, in bytes: room for a message of 100,000 characters of any script, escaped.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// How much of a client's text an error repeats, in characters.
const SHOWN_CHARS: usize = 64;

/// A tool that clients can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Receive a context.
    Subscribe,
    /// The messages of a context that came after a number.
    GetMessages,
    /// What there is to know about a context.
    GetSessionInfo,
}

impl Tool {
    /// Every tool.
    pub const ALL: &[Self] = &[Self::Subscribe, Self::GetMessages, Self::GetSessionInfo];

    /// The tool's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::GetMessages => "get_messages",
            Self::GetSessionInfo => "get_session_info",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.as_str() == name)
    }
}

/// The form of a question, which its answer has too.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// `{"type": ..}` or plain text. Its answers are events.
    Event,
    /// `{"tool": .., "arguments": {..}, "id"?}`.
    Call {
        /// A text or a number that the answer repeats.
        id: Option<Value>,
    },
    /// JSON-RPC 2.0.
    Rpc {
        /// What the answer repeats. Without one nobody waits for an answer, and there is none (JSON-RPC 2.0, section 4.1).
        id: Option<Value>,
    },
}

/// Something that a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The plain text `ping`, answered with the plain text `pong`.
    TextPing,
    /// `ping`, answered with `pong`.
    Ping,
    /// `initialize` of JSON-RPC: whom am I talking to?
    Initialize {
        /// The form of the question.
        form: Form,
    },
    /// To receive a context.
    Subscribe {
        /// Which; the one of the path, where the client names none.
        context: Option<ContextId>,
        /// The form of the question.
        form: Form,
    },
    /// For messages.
    GetMessages {
        /// Of which context.
        context: ContextId,
        /// Those with a higher number; all, if it is absent.
        since_id: Option<u64>,
        /// The form of the question.
        form: Form,
    },
    /// About a context.
    GetSessionInfo {
        /// Which.
        context: ContextId,
        /// The form of the question.
        form: Form,
    },
    /// To tell the others that one is writing, or has stopped.
    Typing {
        /// In which context; the one of the path, where the client names none.
        context: Option<ContextId>,
        /// Whether one is writing.
        is_typing: bool,
    },
}

/// What is wrong with a frame, as JSON-RPC counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no JSON.
    Parse,
    /// It is no request.
    Request,
    /// There is no such command, tool or method.
    Method,
    /// The arguments are missing or wrong.
    Params,
}

impl Fault {
    /// The code of JSON-RPC 2.0, section 5.1.
    pub const fn code(self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::Request => -32600,
            Self::Method => -32601,
            Self::Params => -32602,
        }
    }
}

/// A frame that asks for nothing that there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The form of the frame, as far as it can be told.
    pub form: Form,
    /// What is wrong with it.
    pub fault: Fault,
    /// The same, for people.
    pub message: String,
}

impl Refused {
    /// The answer; `None` where nobody waits for one.
    pub fn frame(&self) -> Option<Value> {
        match &self.form {
            Form::Rpc { id: None } => None,
            Form::Rpc { id: Some(id) } => Some(json!({
                "jsonrpc": "2.0", "id": id, "error": {"code": self.fault.code(), "message": self.message},
            })),
            Form::Call { id: Some(id) } => Some(json!({"type": "error", "id": id, "message": self.message})),
            Form::Call { id: None } | Form::Event => Some(error(&self.message)),
        }
    }
}

impl Form {
    /// The frame that brings the result of a tool; `None` where nobody waits for one. An event-like question has its answer
    /// in events.
    pub fn answer(&self, tool: Tool, result: &Value) -> Option<Value> {
        match self {
            Self::Event | Self::Rpc { id: None } => None,
            Self::Call { id } => {
                Some(without_absent(json!({"type": "tool_result", "id": id, "tool": tool.as_str(), "result": result})))
            }
            Self::Rpc { id: Some(id) } => Some(json!({"jsonrpc": "2.0", "id": id, "result": result})),
        }
    }
}

/// What is wrong, for whoever sent it.
pub fn error(message: &str) -> Value {
    json!({"type": "error", "message": message})
}

/// The event that acknowledges a subscription.
pub fn subscribed(context: &ContextId) -> Value {
    json!({"type": "subscribed", "session_id": context, "status": "success"})
}

/// The result of `subscribe`.
pub fn subscribed_result(context: &ContextId) -> Value {
    json!({"status": "subscribed", "session_id": context})
}

/// The result of `get_messages`.
pub fn messages_result(messages: &Messages) -> Value {
    get_messages_result(messages)
}

/// The result of `get_messages` where there is none.
pub fn no_messages(context: &ContextId, since_id: Option<u64>, error: &str) -> Value {
    json!({"session_id": context, "messages": [], "count": 0, "since_id": since_id, "error": error})
}

/// The result of `get_session_info`.
pub fn session_info_result(info: &SessionInfo) -> Value {
    get_session_info_result(info)
}

/// The result of a tool that failed.
pub fn failure(context: &ContextId, error: &str) -> Value {
    json!({"error": error, "session_id": context})
}

/// The result of `initialize`.
pub fn initialized(context: &ContextId, now: Time) -> Value {
    json!({"status": "connected", "session_id": context, "server_time": iso(now)})
}

/// Reads the id of a context as these clients write it. `trigger` is none: the path `/ws/trigger` is another system's.
///
/// # Errors
/// `invalid_id`.
pub fn context_id(text: &str) -> Result<ContextId, ErrorBody> {
    if text == "trigger" {
        return Err(ErrorBody::new(ErrorCode::InvalidId, "trigger is not a session id"));
    }
    text.parse().map_err(|error| ErrorBody::new(ErrorCode::InvalidId, format!("session_id: {error}")))
}

/// Reads a frame of a client.
///
/// # Errors
/// What to answer instead.
pub fn decode(bytes: &[u8]) -> Result<Asked, Refused> {
    let refused = |fault, message: String| Refused { form: Form::Event, fault, message };
    let text = std::str::from_utf8(bytes).map_err(|_| refused(Fault::Parse, "the frame is not UTF-8".into()))?;
    let text = text.trim_ascii();
    if !text.starts_with(['{', '[']) {
        return match text {
            "ping" => Ok(Asked::TextPing),
            // Whatever follows the colon: only a frame that names a context may ask for another than that of the path.
            text if text.starts_with("subscribe:") => Ok(Asked::Subscribe { context: None, form: Form::Event }),
            _ => Err(refused(Fault::Method, "Unknown command".into())),
        };
    }
    // Nobody knows the id of what cannot be read; whoever speaks JSON-RPC is told so in its form.
    let nameless = |fault, message: String| Refused { form: Form::Rpc { id: Some(Value::Null) }, fault, message };
    let value = read_document(text.as_bytes(), MAX_FRAME_BYTES).and_then(|text| {
        serde_json::from_str(&text).map_err(|error| ErrorBody::new(ErrorCode::MalformedFrame, error.to_string()))
    });
    match value {
        Ok(Value::Object(members)) => object(&members),
        Ok(_) => Err(nameless(Fault::Request, "one request is one object; send them one by one".into())),
        Err(error) if text.contains("\"jsonrpc\"") => Err(nameless(Fault::Parse, error.message.into_owned())),
        Err(error) => Err(refused(Fault::Parse, error.message.into_owned())),
    }
}

fn object(members: &Map<String, Value>) -> Result<Asked, Refused> {
    if members.contains_key("jsonrpc") || members.contains_key("method") {
        return rpc(members);
    }
    if let Some(tool) = members.get("tool") {
        return call(tool, members);
    }
    let refused = |fault, message: String| Refused { form: Form::Event, fault, message };
    let Some(kind) = members.get("type").and_then(Value::as_str) else {
        return Err(refused(Fault::Request, "a frame has a text as its type, a tool or a method".into()));
    };
    // The only place where a context need not be named: the path has named one.
    let context = match present(members, "session_id") {
        None => None,
        Some(value) => Some(context_of(value).map_err(|message| refused(Fault::Params, message))?),
    };
    match kind {
        "ping" => Ok(Asked::Ping),
        "subscribe" => Ok(Asked::Subscribe { context, form: Form::Event }),
        "typing" => match members.get("is_typing") {
            Some(Value::Bool(is_typing)) => Ok(Asked::Typing { context, is_typing: *is_typing }),
            _ => Err(refused(Fault::Params, "typing needs is_typing, true or false".into())),
        },
        other => Err(refused(Fault::Method, format!("Unknown message type: {}", shown(other)))),
    }
}

fn call(tool: &Value, members: &Map<String, Value>) -> Result<Asked, Refused> {
    let refused = |id, fault, message: String| Refused { form: Form::Call { id }, fault, message };
    let id = match present(members, "id") {
        None => None,
        Some(id) if is_id(id) => Some(id.clone()),
        Some(_) => return Err(refused(None, Fault::Request, ID.into())),
    };
    let Some(name) = tool.as_str() else {
        return Err(refused(id, Fault::Request, "tool must be a text".into()));
    };
    let Some(tool) = Tool::from_name(name) else {
        return Err(refused(id, Fault::Method, format!("Unknown tool: {}", shown(name))));
    };
    tool_call(tool, present(members, "arguments"), "arguments", Form::Call { id })
}

fn rpc(members: &Map<String, Value>) -> Result<Asked, Refused> {
    let refused = |id, fault, message: String| Refused { form: Form::Rpc { id }, fault, message };
    let id = match members.get("id") {
        Some(id) if !id.is_null() && !is_id(id) => {
            return Err(refused(Some(Value::Null), Fault::Request, ID.into()));
        }
        id => id.cloned(),
    };
    // The library that the system of origin names leaves the version out.
    if members.get("jsonrpc").is_some_and(|version| version != "2.0") {
        return Err(refused(id, Fault::Request, "jsonrpc must be \"2.0\"".into()));
    }
    let Some(method) = members.get("method").and_then(Value::as_str) else {
        return Err(refused(id, Fault::Request, "method must be a text".into()));
    };
    if method == "initialize" {
        return Ok(Asked::Initialize { form: Form::Rpc { id } });
    }
    // B1: registered under the one name and asked for by the other, the tools of the system of origin were out of reach.
    let Some(tool) = Tool::from_name(method.strip_prefix("/tools/").unwrap_or(method)) else {
        return Err(refused(id, Fault::Method, format!("Unknown method: {}", shown(method))));
    };
    tool_call(tool, present(members, "params"), "params", Form::Rpc { id })
}

const ID: &str = "id must be a number, or a text of at most 128 characters";

fn is_id(id: &Value) -> bool {
    id.is_number() || id.as_str().is_some_and(|text| text.chars().count() <= limits::MAX_COMMAND_ID_CHARACTERS)
}

fn tool_call(tool: Tool, arguments: Option<&Value>, what: &str, form: Form) -> Result<Asked, Refused> {
    let refused = |form, message: String| Refused { form, fault: Fault::Params, message };
    let empty = Map::new();
    let arguments = match arguments {
        None => &empty,
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return Err(refused(form, format!("{what} must be an object"))),
    };
    let context = match present(arguments, "session_id").map(context_of) {
        Some(Ok(context)) => context,
        Some(Err(message)) => return Err(refused(form, message)),
        None => return Err(refused(form, format!("{} needs session_id", tool.as_str()))),
    };
    match tool {
        Tool::Subscribe => Ok(Asked::Subscribe { context: Some(context), form }),
        Tool::GetSessionInfo => Ok(Asked::GetSessionInfo { context, form }),
        Tool::GetMessages => match present(arguments, "since_id").map(Value::as_u64) {
            Some(None) => Err(refused(form, "since_id must be an integer from 0 on".into())),
            since_id => Ok(Asked::GetMessages { context, since_id: since_id.flatten(), form }),
        },
    }
}

/// A member that is there; null is absent.
fn present<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn context_of(value: &Value) -> Result<ContextId, String> {
    let text = value.as_str().ok_or("session_id must be a text")?;
    context_id(text).map_err(|error| error.message.into_owned())
}

/// Text of a client, safe and short enough to be shown to it.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Asked {
        decode(text.as_bytes()).unwrap_or_else(|refused| panic!("{text}: {refused:?}"))
    }

    fn answer(text: &str) -> Value {
        decode(text.as_bytes()).expect_err(text).frame().unwrap_or_default()
    }

    fn context() -> ContextId {
        "session_abc123".parse().unwrap()
    }

    #[test]
    fn ctx_04_each_of_three_forms_reads_each_of_three_tools() {
        let arguments = json!({"session_id": "session_abc123", "since_id": 42});
        for tool in Tool::ALL {
            let name = tool.as_str();
            for (frame, form) in [
                (json!({"tool": name, "arguments": arguments}), Form::Call { id: None }),
                (json!({"tool": name, "arguments": arguments, "id": "7"}), Form::Call { id: Some("7".into()) }),
                (
                    json!({"jsonrpc": "2.0", "id": 7, "method": format!("/tools/{name}"), "params": arguments}),
                    Form::Rpc { id: Some(7.into()) },
                ),
                (json!({"jsonrpc": "2.0", "method": name, "params": arguments}), Form::Rpc { id: None }),
            ] {
                let expected = match tool {
                    Tool::Subscribe => Asked::Subscribe { context: Some(context()), form },
                    Tool::GetMessages => Asked::GetMessages { context: context(), since_id: Some(42), form },
                    Tool::GetSessionInfo => Asked::GetSessionInfo { context: context(), form },
                };
                assert_eq!(asked(&frame.to_string()), expected, "{frame}");
            }
        }
        let page = asked(r#"{"type":"subscribe","session_id":"session_abc123"}"#);
        assert_eq!(page, Asked::Subscribe { context: Some(context()), form: Form::Event });
        let all = asked(r#"{"tool":"get_messages","arguments":{"session_id":"session_abc123","since_id":null}}"#);
        assert_eq!(all, Asked::GetMessages { context: context(), since_id: None, form: Form::Call { id: None } });
    }

    #[test]
    fn bug_b1_a_tool_is_found_with_and_without_its_folder() {
        let frame = |method: &str| json!({"id": 1, "method": method, "params": {"session_id": "s"}}).to_string();
        for tool in Tool::ALL {
            let name = tool.as_str();
            assert_eq!(asked(&frame(name)), asked(&frame(&format!("/tools/{name}"))));
        }
        for method in ["tools/subscribe", "/tools/", "/tools//tools/subscribe", "/subscribe", "Subscribe", ""] {
            let error = answer(&frame(method));
            assert_eq!(error.pointer("/error/code"), Some(&json!(-32601)), "{method}: {error}");
        }
    }

    #[test]
    fn collision_c3_a_ping_is_plain_text_or_an_object() {
        assert_eq!(asked("ping"), Asked::TextPing);
        assert_eq!(asked(r#"{"type":"ping","timestamp":1}"#), Asked::Ping);
        assert_eq!(answer("PING"), json!({"type": "error", "message": "Unknown command"}));
        assert_eq!(answer("\"ping\""), json!({"type": "error", "message": "Unknown command"}));
    }

    #[test]
    fn collision_c4_plain_text_subscribes_to_nothing_but_the_context_of_the_path() {
        for text in
            ["subscribe:", "subscribe:session_abc123", "subscribe:~0123", "subscribe:{\"a\":1}", "subscribe:x\n"]
        {
            assert_eq!(asked(text), Asked::Subscribe { context: None, form: Form::Event }, "{text}");
        }
        assert_eq!(answer("subscribe"), json!({"type": "error", "message": "Unknown command"}));
    }

    #[test]
    fn ctx_05_a_frame_that_asks_for_nothing_there_is_gets_an_error_in_its_own_form() {
        for (text, message) in [
            ("", "Unknown command"),
            ("hello", "Unknown command"),
            ("42", "Unknown command"),
            (r#"{"type":"foo"}"#, "Unknown message type: foo"),
            (r#"{"type":"subscribe","session_id":7}"#, "session_id must be a text"),
            (r#"{"type":"typing"}"#, "typing needs is_typing, true or false"),
            (r#"{"type":"typing","is_typing":"yes"}"#, "typing needs is_typing, true or false"),
            (r#"{"type":7}"#, "a frame has a text as its type, a tool or a method"),
            ("{}", "a frame has a text as its type, a tool or a method"),
            (r#"{"tool":"drop_table","arguments":{}}"#, "Unknown tool: drop_table"),
            (r#"{"tool":"subscribe"}"#, "subscribe needs session_id"),
            (r#"{"tool":"subscribe","arguments":[]}"#, "arguments must be an object"),
            (r#"{"tool":"subscribe","arguments":{"session_id":"trigger"}}"#, "trigger is not a session id"),
        ] {
            assert_eq!(answer(text), json!({"type": "error", "message": message}), "{text}");
        }
        for since_id in ["-1", "1.5", "\"42\"", "[]", "true"] {
            let text =
                format!(r#"{{"tool":"get_messages","id":"9","arguments":{{"session_id":"s","since_id":{since_id}}}}}"#);
            let expected = json!({"type": "error", "id": "9", "message": "since_id must be an integer from 0 on"});
            assert_eq!(answer(&text), expected);
        }
        for hostile in ["~0123456789abcdef0123456789abcdef", "../x", "", "a b", &"x".repeat(129)] {
            let frame = json!({"tool": "get_messages", "arguments": {"session_id": hostile}});
            assert_eq!(answer(&frame.to_string())["type"], "error", "{hostile}");
        }
        let broken = answer("{\"type\":");
        assert!(broken["message"].as_str().unwrap().starts_with("not readable as JSON"), "{broken}");
        assert_eq!(answer(r#"{"type":"ping","type":"ping"}"#)["type"], "error");
    }

    #[test]
    fn ctx_05_json_rpc_has_errors_of_its_own() {
        for (text, id, code) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"#, Value::Null, -32700),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"subscribe"}]"#, Value::Null, -32600),
            (r#"{"jsonrpc":"1.0","id":1,"method":"subscribe"}"#, json!(1), -32600),
            (r#"{"jsonrpc":"2.0","id":1}"#, json!(1), -32600),
            (r#"{"jsonrpc":"2.0","id":{},"method":"subscribe"}"#, Value::Null, -32600),
            (r#"{"jsonrpc":"2.0","id":"a","method":"drop"}"#, json!("a"), -32601),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"subscribe"}"#, json!(1.5), -32602),
            (r#"{"jsonrpc":"2.0","id":null,"method":"subscribe","params":["s"]}"#, Value::Null, -32602),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"get_messages","params":{"session_id":"s","since_id":-1}}"#,
                json!(1),
                -32602,
            ),
        ] {
            let error = answer(text);
            assert_eq!((&error["id"], &error["error"]["code"]), (&id, &json!(code)), "{text}: {error}");
            assert_eq!(error["jsonrpc"], "2.0");
        }
        let unheard = decode(br#"{"jsonrpc":"2.0","method":"drop"}"#).unwrap_err();
        assert_eq!(unheard.frame(), None);
    }

    #[test]
    fn ctx_05_what_an_error_repeats_is_short_and_has_no_control_characters() {
        let text = json!({"type": format!("\u{1b}[31m{}", "x".repeat(1000))}).to_string();
        let message = answer(&text)["message"].as_str().unwrap().to_owned();
        assert!(message.len() < 120 && !message.contains('\u{1b}'), "{message}");
    }
}
