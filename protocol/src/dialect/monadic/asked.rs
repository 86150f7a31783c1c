//! What a page of Monadic Chat asks for: one JSON object, in whose member `message` stands the name of a command, or what
//! the person wrote.

use serde_json::{Map, Value};

use crate::{
    error::{ErrorBody, ErrorCode},
    frame,
};

/// The largest frame of a page, in bytes: recordings and pictures come in base64.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The largest set of parameters that a page may store, in bytes of JSON.
pub const MAX_PARAMETERS_BYTES: usize = 256 * 1024;

/// What the application is asked for when a person says something.
pub const CHAT: &str = "CHAT";

/// The commands of the page, those of newer published pages at the end. Any other text in `message` is what the person wrote,
/// `REFRESH` included, which the page sends in one case and no server knew.
const COMMANDS: &[&str] = &[
    "CHECK_TOKEN",
    "LOAD",
    "PING",
    "RESET",
    "UPDATE_PARAMS",
    "EDIT",
    "DELETE",
    "SYSTEM_PROMPT",
    "SAMPLE",
    "HTML",
    "AI_USER_QUERY",
    "AUDIO",
    "CANCEL",
    "UPDATE_LANGUAGE",
    "TTS",
    "TTS_STREAM",
    "PLAY_TTS",
    "STOP_TTS",
    "PDF_TITLES",
    "DELETE_PDF",
    "DELETE_ALL_PDFS",
    "UPDATE_MCP_CONFIG",
    "AUDIO_CHUNK",
    "AUDIO_COMMIT",
    "AUDIO_ABORT",
    "UPDATE_CONTEXT_FROM_CLIENT",
    "VERIFY_CONFIDENCE",
    "PRIVACY_REGISTRY",
    "PRIVACY_EXPORT",
    "PRIVACY_TOGGLE",
    "LIBRARY_LIST",
    "LIBRARY_STATS",
    "LIBRARY_SAVE",
    "LIBRARY_DELETE",
    "LIBRARY_RENAME",
    "LIBRARY_SET_SCOPE",
    "LIBRARY_GET_CONVERSATION",
    "LIBRARY_SUGGEST_TITLE",
    "LIBRARY_RAG_TOGGLE",
    "LIBRARY_RAG_QUERY",
];

/// Members that hold what somebody wrote: `true` is a word there.
const TEXTS: &[&str] = &["message", "text", "content", "contents", "html", "title", "initial_prompt"];

/// Members of the parameters that belong to one question and are not stored.
const NOT_PARAMETERS: &[&str] = &["message", "images", "audio", "tts_request", "ws_session_id"];

/// What a frame asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Whether the server is there; answered to this connection.
    Ping,
    /// To be shown everything anew; answered to the session.
    Load(Request),
    /// To store parameters of the session, and tell its other tabs.
    UpdateParams {
        /// The parameters that change, without those that are not stored.
        parameters: Map<String, Value>,
        /// For the application as well.
        request: Request,
    },
    /// To forget the messages and parameters of the session.
    Reset(Request),
    /// To change a message; what the server keeps of the conversation changes when the application has done so.
    Edit {
        /// The message.
        mid: String,
        /// What it is to say.
        text: String,
        /// For the application.
        request: Request,
    },
    /// To delete a message.
    Delete {
        /// The message.
        mid: String,
        /// For the application.
        request: Request,
    },
    /// Something that is the application's alone.
    Application(Request),
}

/// What is handed to the application.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The command as the page calls it, or [`CHAT`].
    pub name: &'static str,
    /// The members of the frame, without `message` unless that is what the person wrote. The texts `true` and `false` are
    /// booleans, but where somebody wrote them.
    pub data: Map<String, Value>,
}

/// Reads a frame of a page.
///
/// # Errors
/// `invalid_payload` for parameters that are no object, or too large; every other code for a frame that is no JSON object
/// with a text or nothing in `message`.
pub fn decode(frame: &[u8]) -> Result<Asked, ErrorBody> {
    let malformed = |problem: &'static str| ErrorBody::new(ErrorCode::MalformedFrame, problem);
    let text = &*frame::read_document(frame, MAX_FRAME_BYTES)?;
    let value = serde_json::from_str(text).map_err(|_| malformed("not readable as JSON"))?;
    let Value::Object(mut data) = value else { return Err(malformed("a frame must be an object")) };
    data.iter_mut().for_each(|(name, value)| with_booleans(name, value));
    let said = match data.get("message") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(said)) => said.clone(),
        Some(_) => return Err(malformed("message must be a text")),
    };
    let Some(name) = COMMANDS.iter().copied().find(|command| *command == said) else {
        data.insert("message".to_owned(), said.into());
        return Ok(Asked::Application(Request { name: CHAT, data }));
    };
    data.shift_remove("message");
    let text = |data: &Map<String, Value>, name| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(match name {
        "PING" => Asked::Ping,
        "UPDATE_PARAMS" => {
            let parameters = parameters(data.get("params"))?;
            Asked::UpdateParams { parameters, request: Request { name, data } }
        }
        "LOAD" => Asked::Load(Request { name, data }),
        "RESET" => Asked::Reset(Request { name, data }),
        "EDIT" => {
            let (mid, text) = (text(&data, "mid"), text(&data, "content"));
            Asked::Edit { mid, text, request: Request { name, data } }
        }
        "DELETE" => Asked::Delete { mid: text(&data, "mid"), request: Request { name, data } },
        _ => Asked::Application(Request { name, data }),
    })
}

/// Makes the texts `true` and `false` booleans, at every depth.
fn with_booleans(name: &str, value: &mut Value) {
    match value {
        Value::String(text) if text == "true" && !TEXTS.contains(&name) => *value = true.into(),
        Value::String(text) if text == "false" && !TEXTS.contains(&name) => *value = false.into(),
        Value::Array(items) => items.iter_mut().for_each(|item| with_booleans(name, item)),
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| with_booleans(name, value)),
        _ => {}
    }
}

fn parameters(params: Option<&Value>) -> Result<Map<String, Value>, ErrorBody> {
    let wrong = |problem: String| ErrorBody::new(ErrorCode::InvalidPayload, problem);
    let Some(Value::Object(params)) = params else { return Err(wrong("params must be an object".to_owned())) };
    let stored = params.iter().filter(|(name, _)| !NOT_PARAMETERS.contains(&name.as_str()));
    let mut stored: Map<String, Value> = stored.map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(app) = stored.get_mut("app_name")
        && !app.is_string()
    {
        let name = if app.is_null() { String::new() } else { app.to_string() };
        *app = name.into();
    }
    let bytes = serde_json::to_vec(&stored).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_PARAMETERS_BYTES {
        return Err(wrong(format!("params of {bytes} bytes are over the limit of {MAX_PARAMETERS_BYTES}")));
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::{Dialect, effects};

    fn asked(frame: Value) -> Asked {
        decode(frame.to_string().as_bytes()).unwrap()
    }

    fn request(name: &'static str, data: Value) -> Request {
        let Value::Object(data) = data else { panic!("{data}") };
        Request { name, data }
    }

    #[test]
    fn mon_06_every_command_of_the_page_is_read_by_its_name() {
        for name in COMMANDS {
            let read =
                asked(json!({ "message": name, "params": {}, "mid": "a1b2c3d4", "content": "new", "initial": "true" }));
            let data = json!({ "params": {}, "mid": "a1b2c3d4", "content": "new", "initial": true });
            let request = request(name, data);
            let (mid, text) = ("a1b2c3d4".to_owned(), "new".to_owned());
            let expected = match *name {
                "PING" => Asked::Ping,
                "LOAD" => Asked::Load(request),
                "RESET" => Asked::Reset(request),
                "UPDATE_PARAMS" => Asked::UpdateParams { parameters: Map::new(), request },
                "EDIT" => Asked::Edit { mid, text, request },
                "DELETE" => Asked::Delete { mid, request },
                _ => Asked::Application(request),
            };
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn mon_06_only_cancel_and_stop_tts_are_urgent_and_every_command_has_an_effect() {
        let table = effects::table(Dialect::Monadic);
        for name in COMMANDS.iter().copied().filter(|name| *name != "PING").chain([CHAT]) {
            let entry = table.iter().find(|(of, _)| *of == name);
            let (_, effect) = entry.unwrap_or_else(|| panic!("{name} has no effect in the table of its dialect"));
            assert_eq!(effect.is_urgent(), ["CANCEL", "STOP_TTS"].contains(&name), "{name}");
        }
        assert_eq!(table.len(), COMMANDS.len());
    }

    #[test]
    fn mon_06_whatever_else_stands_there_is_what_the_person_wrote() {
        for said in ["", "Tell me a joke", "REFRESH", "ping", " PING", "PING ", "true", "LIBRARY_", "library_list"] {
            let read = asked(json!({ "message": said, "app_name": "ChatOpenAI", "auto_speech": "false" }));
            let data = json!({ "message": said, "app_name": "ChatOpenAI", "auto_speech": false });
            assert_eq!(read, Asked::Application(request(CHAT, data)), "{said}");
        }
        assert_eq!(asked(json!({})), Asked::Application(request(CHAT, json!({ "message": "" }))));
        assert_eq!(asked(json!({ "message": null })), Asked::Application(request(CHAT, json!({ "message": "" }))));
    }

    #[test]
    fn mon_06_booleans_that_come_as_text_are_booleans_at_every_depth_but_not_what_somebody_wrote() {
        let frame = json!({
            "message": "AI_USER_QUERY", "a": "true", "b": ["false", "True", "1"],
            "contents": { "params": { "websearch": "true" }, "messages": [{ "role": "user", "text": "true" }] },
            "content": "false",
        });
        let data = json!({
            "a": true, "b": [false, "True", "1"],
            "contents": { "params": { "websearch": true }, "messages": [{ "role": "user", "text": "true" }] },
            "content": "false",
        });
        assert_eq!(asked(frame), Asked::Application(request("AI_USER_QUERY", data)));
    }

    #[test]
    fn mon_04_parameters_are_stored_without_what_belongs_to_one_question() {
        let params = json!({
            "app_name": 7, "model": "gpt-4.1", "message": "m", "images": [], "audio": "a", "tts_request": {},
            "ws_session_id": "s",
        });
        let Asked::UpdateParams { parameters, .. } = asked(json!({ "message": "UPDATE_PARAMS", "params": params }))
        else {
            panic!("another command")
        };
        assert_eq!(Value::Object(parameters), json!({ "app_name": "7", "model": "gpt-4.1" }));
    }

    #[test]
    fn mon_04_parameters_that_are_no_object_or_too_large_are_refused() {
        let large = json!({ "initial_prompt": "x".repeat(MAX_PARAMETERS_BYTES) });
        for params in [json!(null), json!([]), json!("x"), json!(1), large] {
            let frame = json!({ "message": "UPDATE_PARAMS", "params": params }).to_string();
            assert_eq!(decode(frame.as_bytes()).unwrap_err().code, ErrorCode::InvalidPayload);
        }
        assert!(decode(br#"{"message":"UPDATE_PARAMS"}"#).is_err());
    }

    #[test]
    fn mon_07_what_is_no_object_is_malformed() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for frame in ["", "PING", "[]", "1", "null", r#"{"message":1}"#, r#"{"message":{}}"#, r#"{"a":1,"a":2}"#, &deep]
        {
            assert_ne!(decode(frame.as_bytes()).unwrap_err().code, ErrorCode::InvalidPayload, "{frame}");
        }
        assert!(decode(b"{\"message\":\"\xff\"}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn mon_07_no_frame_does_harm(frame in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode(&frame);
        }
    }
}
