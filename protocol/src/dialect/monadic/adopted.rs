//! Decodes events of a back end of Monadic Chat into events of the catalog.
//!
//! The inverse of the encoder: what is read here is written again as it came, but for members that the page does not read.

use serde_json::{Map, Value, json, value::to_raw_value};

use super::super::Adopted;
use crate::{
    address::Audience,
    catalog::{Event, EventType},
    error::{ErrorBody, ErrorCode},
    event::chat,
    time::Time,
};

/// How often an error may stand in another one.
const NESTED_ERRORS: usize = 4;

/// A frame that is being read, with its type for what is said about it.
struct Frame<'a> {
    own: &'a str,
    members: &'a Map<String, Value>,
}

impl Frame<'_> {
    fn wrong(&self, problem: impl std::fmt::Display) -> ErrorBody {
        let own: String = self.own.chars().filter(|letter| !letter.is_control()).take(64).collect();
        ErrorBody::new(ErrorCode::InvalidPayload, format!("{own}: {problem}"))
    }

    /// A member; `null` where there is none.
    fn get(&self, name: &str) -> &Value {
        self.members.get(name).unwrap_or(&Value::Null)
    }

    fn text(&self, name: &str) -> Result<&str, ErrorBody> {
        self.get(name).as_str().ok_or_else(|| self.wrong(format_args!("{name} must be a text")))
    }

    fn object(&self, name: &str) -> Result<&Map<String, Value>, ErrorBody> {
        self.get(name).as_object().ok_or_else(|| self.wrong(format_args!("{name} must be an object")))
    }

    fn array(&self, name: &str) -> Result<&[Value], ErrorBody> {
        let array = self.get(name).as_array();
        array.map(Vec::as_slice).ok_or_else(|| self.wrong(format_args!("{name} must be an array")))
    }

    /// A member that is a text unless it is empty.
    fn given(&self, name: &str) -> Value {
        match self.get(name) {
            Value::String(text) if text.is_empty() => Value::Null,
            value => value.clone(),
        }
    }

    /// Whether something succeeded.
    fn success(&self) -> Result<bool, ErrorBody> {
        match self.text("res")? {
            "success" => Ok(true),
            "failure" => Ok(false),
            _ => Err(self.wrong("res must be success or failure")),
        }
    }

    /// A whole number of something, where a fraction of one may stand.
    fn whole(&self, name: &str) -> Result<Value, ErrorBody> {
        match self.get(name) {
            Value::Null => Ok(Value::Null),
            value => match value.as_f64() {
                Some(number) if number >= 0.0 => Ok(json!(number as u64)),
                _ => Err(self.wrong(format_args!("{name} must be a number that is not negative"))),
            },
        }
    }

    /// When the frame says that it happened: seconds since 1970.
    fn time(&self) -> Result<Option<Time>, ErrorBody> {
        match self.get("timestamp") {
            Value::Null => Ok(None),
            value => match value.as_f64() {
                Some(seconds) => Ok(Some(Time::from_unix_micros((seconds * 1_000_000.0).round() as i64))),
                None => Err(self.wrong("timestamp must be a number of seconds")),
            },
        }
    }

    /// All members but the type, and but these.
    fn but(&self, names: &[&str]) -> Map<String, Value> {
        let other = self.members.iter().filter(|(name, _)| *name != "type" && !names.contains(&name.as_str()));
        other.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// These members.
    fn only(&self, names: &[&str]) -> Value {
        names.iter().map(|name| ((*name).to_owned(), self.get(name).clone())).collect::<Map<_, _>>().into()
    }
}

/// Reads an event as the system's back end builds it.
///
/// # Errors
/// `unknown_type` for a type that a back end does not send, `invalid_payload` naming the type and the member.
pub(in super::super) fn decode_event(frame: &Value) -> Result<Adopted, ErrorBody> {
    use EventType as T;

    let Value::Object(members) = frame else {
        return Err(ErrorBody::new(ErrorCode::InvalidPayload, "an event must be an object"));
    };
    let own = match (members.get("type"), members.get("event")) {
        (Some(Value::String(own)), _) => own.as_str(),
        // The second form of one event, which no page reads (collision C21).
        (None, Some(Value::String(event))) if event == "mcp_status" => {
            let twin = json!({ "type": event, "content": members.get("data") });
            return decode_event(&twin);
        }
        _ => return Err(ErrorBody::new(ErrorCode::InvalidPayload, "type must be a text")),
    };
    let it = Frame { own, members };
    let mut to = None;
    let mut time = None;
    let (kind, data) = match own {
        "wait" => {
            time = it.time()?;
            (T::ChatWait, wait(&it)?)
        }
        "fragment" => {
            time = it.time()?;
            (T::ChatFragment, fragment(&it)?)
        }
        "streaming_complete" => (T::ChatStreamingComplete, json!({})),
        "clear_fragments" => (T::ChatClearFragments, json!({})),
        "cancel" => (T::ChatCancel, json!({})),
        "ai_user_started" => (T::ChatAiUserStarted, json!({})),
        "tts_stopped" => (T::ChatTtsStopped, json!({})),
        "context_extraction_started" => (T::ChatContextExtractionStarted, json!({})),
        "message" => match it.get("content").as_str() {
            Some("DONE") => (T::ChatTurnFinished, it.only(&["finish_reason"])),
            Some("CLEAR") => (T::ChatCleared, json!({})),
            _ => return Err(it.wrong("content must be DONE or CLEAR")),
        },
        "thinking" => (T::ChatThinking, content(&it)?),
        "reasoning" => (T::ChatReasoning, content(&it)?),
        "tool_executing" => (T::ChatToolExecuting, json!({ "tool_name": it.text("content")? })),
        "success" => (T::ChatSuccess, content(&it)?),
        "ai_user" => (T::ChatAiUser, content(&it)?),
        "ai_user_finished" => (T::ChatAiUserFinished, content(&it)?),
        "web_speech" => (T::ChatWebSpeech, content(&it)?),
        "stt_partial" => (T::ChatSttPartial, content(&it)?),
        "processing_status" => (T::ChatProcessingStatus, remark(&it)?),
        "system_info" => (T::ChatSystemInfo, remark(&it)?),
        // One name for two things (collision C20).
        "info" => match it.get("content") {
            Value::String(text) => (T::ChatNotice, json!({ "content": text })),
            Value::Object(stats) => (T::ChatStats, Value::Object(stats.clone())),
            _ => return Err(it.wrong("content must be an object or a text")),
        },
        "error" => (T::ChatError, error(&it, it.get("content"), NESTED_ERRORS)?),

        "user" => (T::ChatUser, json!({ "message": message(&it, it.get("content"))? })),
        "html" => {
            let message = message(&it, it.get("content"))?;
            (T::ChatHtml, json!({ "message": message, "more_coming": it.get("more_coming") }))
        }
        "change_status" => (T::ChatChangeStatus, change_status(&it)?),
        "edit_success" => {
            let mut data = it.but(&["images"]);
            data.insert("images".to_owned(), images(&it, it.get("images"))?);
            (T::ChatEditSuccess, Value::Object(data))
        }
        "display_sample" => (T::ChatDisplaySample, Value::Object(it.object("content")?.clone())),
        "sample_success" => (T::ChatSampleSuccess, it.only(&["role"])),

        "apps" => {
            let mut data = it.only(&["version", "docker", "current_app_name", "from_import"]);
            put(&mut data, "apps", json!(it.object("content")?));
            (T::ChatApps, data)
        }
        "parameters" => {
            let mut data = it.only(&["from_param_update", "from_import"]);
            put(&mut data, "parameters", json!(it.object("content")?));
            (T::ChatParameters, data)
        }
        "past_messages" => {
            let messages = it.array("content")?.iter().map(|said| message(&it, said));
            let messages = messages.collect::<Result<Vec<_>, _>>()?;
            let mut data = it.only(&["from_initial_load", "from_import"]);
            put(&mut data, "messages", messages.into());
            (T::ChatPastMessages, data)
        }
        "language_updated" => (T::ChatLanguageUpdated, it.only(&["language", "language_name", "text_direction"])),
        "context_update" => {
            time = it.time()?;
            (T::ChatContextUpdate, it.only(&["context", "schema", "from_import"]))
        }
        "elevenlabs_voices" | "gemini_voices" | "mistral_voices" => {
            // Everybody may use the same voices.
            to = Some(Audience::Global);
            let provider = own.strip_suffix("_voices");
            (T::ChatVoices, json!({ "provider": provider, "voices": it.array("content")? }))
        }
        "mcp_status" => (T::ChatMcpStatus, Value::Object(it.object("content")?.clone())),

        "stt" => {
            let confidence = it.get("logprob");
            let wrong = confidence.as_f64().is_some_and(|number| !(0.0..=1.0).contains(&number));
            if wrong {
                return Err(it.wrong("logprob must be a number from 0 to 1"));
            }
            (T::ChatStt, json!({ "content": it.text("content")?, "confidence": confidence }))
        }
        "audio" => (T::ChatAudio, audio(&it)?),
        "fragment_with_audio" => {
            let piece = Frame { own, members: it.object("fragment")? };
            let sound = Frame { own, members: it.object("audio")? };
            time = piece.time()?;
            (T::ChatFragmentWithAudio, json!({ "fragment": fragment(&piece)?, "audio": audio(&sound)? }))
        }
        "tts_progress" => {
            let mut data = it.only(&["segment_index", "total_segments"]);
            put(&mut data, "progress_percent", it.get("progress").clone());
            (T::ChatTtsProgress, data)
        }
        "tts_complete" => (T::ChatTtsComplete, it.only(&["total_segments"])),
        "tts_notice" => {
            let notice = Frame { own, members: it.object("content")? };
            let data = json!({
                "notice_type": notice.get("notice_type"), "played_segments": notice.get("segments_played"),
                "total_segments": notice.get("segments_total"), "played_bytes": notice.get("bytes_played"),
                "total_bytes": notice.get("bytes_total"),
            });
            (T::ChatTtsNotice, data)
        }

        "token_verified" => {
            let data = json!({
                "token": it.given("token"), "content": it.given("content"),
                "ai_user_initial_prompt": it.given("ai_user_initial_prompt"),
            });
            (T::ChatTokenVerified, data)
        }
        "token_not_verified" => (T::ChatTokenNotVerified, json!({})),
        "open_ai_api_error" => (T::ChatOpenAiApiError, json!({})),
        "pdf_titles" => (T::ChatPdfTitles, json!({ "titles": it.array("content")? })),
        "pdf_deleted" => (T::ChatPdfDeleted, json!({ "success": it.success()?, "content": it.text("content")? })),

        "privacy_state" => (T::ChatPrivacyState, it.but(&[]).into()),
        "privacy_toggle_ack" => (T::ChatPrivacyToggleAck, it.but(&[]).into()),
        "privacy_registry" => (T::ChatPrivacyRegistry, privacy_registry(&it)?),
        "privacy_export_data" => (T::ChatPrivacyExportData, privacy_export_data(&it)),
        "privacy_export_error" => {
            let mut data = it.only(&["error", "valid_content"]);
            put(&mut data, "details", it.get("detail").clone());
            (T::ChatPrivacyExportError, data)
        }

        "verify_confidence_start" => (T::ChatVerifyConfidenceStart, it.only(&["mid"])),
        "verify_confidence" => {
            let mut data = it.but(&["panel_size"]);
            data.insert("panel_count".to_owned(), it.get("panel_size").clone());
            (T::ChatVerifyConfidence, data.into())
        }

        "library_conversations" => {
            let data = json!({ "conversations": it.array("content")?, "error": it.get("error") });
            (T::ChatLibraryConversations, data)
        }
        "library_stats" => {
            let mut data = Value::Object(it.object("content")?.clone());
            put(&mut data, "error", it.get("error").clone());
            (T::ChatLibraryStats, data)
        }
        "library_deleted" => (T::ChatLibraryDeleted, library(&it)?),
        "library_saved" => (T::ChatLibrarySaved, library(&it)?),
        "library_rag_state" => (T::ChatLibraryRagState, it.only(&["enabled"])),
        "library_title_suggested" => (T::ChatLibraryTitleSuggested, library(&it)?),
        "library_scope_updated" => (T::ChatLibraryScopeUpdated, library(&it)?),
        "library_renamed" => (T::ChatLibraryRenamed, library(&it)?),
        "library_conversation_data" => (T::ChatLibraryConversationData, library(&it)?),

        "pong" => return Err(ErrorBody::new(ErrorCode::UnknownType, "pong is the server's own answer")),
        other => {
            let shown: String = other.chars().filter(|letter| !letter.is_control()).take(64).collect();
            return Err(ErrorBody::new(ErrorCode::UnknownType, format!("Monadic Chat has no type {shown:?}")));
        }
    };
    let data = present(data);
    let raw = to_raw_value(&data).map_err(|error| it.wrong(error))?;
    Event::from_payload(kind, &raw)?;
    Ok(Adopted { kind, data, to, time })
}

/// A payload without what it does not say.
fn present(data: Value) -> Value {
    match data {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

fn put(data: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = data {
        members.insert(name.to_owned(), value);
    }
}

fn content(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    Ok(json!({ "content": it.text("content")? }))
}

/// A text, or an object in its place.
fn remark(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    match it.get("content") {
        Value::String(text) => Ok(json!({ "content": text })),
        Value::Object(details) => Ok(json!({ "content": "", "details": details })),
        _ => Err(it.wrong("content must be a text or an object")),
    }
}

/// A session that the frame names is left out: it is the value of a cookie, which stands in no event (AUTH-08).
fn wait(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    let elapsed = match it.whole("elapsed")? {
        Value::Null => it.whole("minutes")?.as_u64().map(|minutes| minutes.saturating_mul(60)).into(),
        elapsed => elapsed,
    };
    Ok(json!({
        "content": it.text("content")?, "source": it.get("source"), "elapsed_seconds": elapsed,
        "remaining_seconds": it.whole("remaining")?, "step_progress": it.get("step_progress"),
    }))
}

/// Releases of the system differ in how they number a piece and mark the first one.
fn fragment(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    let one_of = |name, other| if it.get(name).is_null() { it.get(other) } else { it.get(name) };
    let is_first = match one_of("is_first", "start") {
        Value::Null => &Value::Bool(false),
        given => given,
    };
    Ok(json!({ "content": it.text("content")?, "sequence": one_of("sequence", "index"), "is_first": is_first }))
        .map(present)
}

fn audio(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    Ok(present(json!({
        "content_base64": it.text("content")?, "mime_type": it.get("mime_type"), "sequence_id": it.get("sequence_id"),
        "is_segment": it.get("is_segment"), "segment_index": it.get("segment_index"),
        "total_segments": it.get("total_segments"), "chunk_index": it.get("t_index"), "finished": it.get("finished"),
    })))
}

/// A word is a key, a sentence is a message; what failed may bring its whole frame along.
fn error(it: &Frame<'_>, content: &Value, depth: usize) -> Result<Value, ErrorBody> {
    match content {
        Value::String(text) => match chat::ChatErrorKey::from(text.as_str()) {
            chat::ChatErrorKey::Other(_) => Ok(json!({ "message": text })),
            key => Ok(json!({ "message": text, "key": key })),
        },
        Value::Object(members) => match (members.get("key"), members.get("details"), members.get("content")) {
            (Some(Value::String(key)), Some(Value::String(details)), _) => {
                Ok(json!({ "message": details, "key": key, "details": details }))
            }
            (Some(Value::String(key)), None | Some(Value::Null), _) => Ok(json!({ "message": key, "key": key })),
            (None, _, Some(inner)) if depth > 0 => error(it, inner, depth - 1),
            _ => Err(it.wrong("content must have a text key, and details that are a text")),
        },
        _ => Err(it.wrong("content must be a text or an object")),
    }
}

/// Members that the catalog has no name for stand in `metadata`.
fn message(it: &Frame<'_>, content: &Value) -> Result<Value, ErrorBody> {
    const KNOWN: &[&str] =
        &["mid", "role", "text", "html", "lang", "app_name", "active", "thinking", "monadic", "tokens"];
    let Value::Object(content) = content else { return Err(it.wrong("a message in content must be an object")) };
    for name in ["mid", "role", "text"] {
        if !content.get(name).is_some_and(Value::is_string) {
            return Err(it.wrong(format_args!("{name} of a message in content must be a text")));
        }
    }
    let mut message = Map::new();
    let mut metadata = Map::new();
    for (name, value) in content {
        match name.as_str() {
            "images" => {
                message.insert(name.clone(), images(it, value)?);
            }
            name if KNOWN.contains(&name) => {
                message.insert(name.to_owned(), value.clone());
            }
            _ => {
                metadata.insert(name.clone(), value.clone());
            }
        }
    }
    if !metadata.is_empty() {
        message.insert("metadata".to_owned(), metadata.into());
    }
    Ok(present(message.into()))
}

/// `null` where there are none.
fn images(it: &Frame<'_>, images: &Value) -> Result<Value, ErrorBody> {
    let wrong = || it.wrong("images must be an array of objects");
    let image = |image: &Value| {
        let mut image = image.as_object().cloned().ok_or_else(wrong)?;
        if let Some(mime_type) = image.shift_remove("type") {
            image.insert("mime_type".to_owned(), mime_type);
        }
        Ok(present(image.into()))
    };
    match images {
        Value::Null => Ok(Value::Null),
        Value::Array(images) => images.iter().map(image).collect(),
        _ => Err(wrong()),
    }
}

/// The system of origin sends whole messages; the page reads two of their members, and takes one that is absent for false.
fn change_status(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    let status = |message: &Value| {
        let members = message.as_object().ok_or_else(|| it.wrong("content must be an array of messages"))?;
        let active = match members.get("active") {
            None | Some(Value::Null) => &Value::Bool(false),
            Some(active) => active,
        };
        Ok(json!({ "mid": members.get("mid"), "active": active }))
    };
    let messages = it.array("content")?.iter().map(status).collect::<Result<Vec<_>, ErrorBody>>()?;
    Ok(json!({ "messages": messages }))
}

fn privacy_registry(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    let entry = |entry: &Value| {
        let mut entry = entry.as_object().cloned().ok_or_else(|| it.wrong("entries must be objects"))?;
        let entity_type = entry.shift_remove("type").unwrap_or_else(|| json!("UNKNOWN"));
        entry.insert("entity_type".to_owned(), entity_type);
        Ok(Value::Object(entry))
    };
    let entries = it.array("entries")?.iter().map(entry).collect::<Result<Vec<_>, ErrorBody>>()?;
    Ok(json!({ "enabled": it.get("enabled"), "entries": entries }))
}

/// Earlier releases said in one word what later ones say in two members.
fn privacy_export_data(it: &Frame<'_>) -> Value {
    let (encrypted, content) = match it.get("mode").as_str() {
        Some("encrypted") => (json!(true), json!("restored")),
        Some("encrypted_masked") => (json!(true), json!("masked")),
        Some("masked_only") => (json!(false), json!("masked")),
        Some("restored") => (json!(false), json!("restored")),
        _ => (Value::Null, Value::Null),
    };
    let or = |given: &Value, other| if given.is_null() { other } else { given.clone() };
    let mut data = it.only(&["filename", "content_base64"]);
    put(&mut data, "mime_type", it.get("mime").clone());
    put(&mut data, "encrypted", or(it.get("encrypt"), encrypted));
    put(&mut data, "export_content", or(it.get("content"), content));
    data
}

fn library(it: &Frame<'_>) -> Result<Value, ErrorBody> {
    let mut data = it.but(&["res"]);
    data.insert("success".to_owned(), it.success()?.into());
    Ok(data.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adopted(frame: Value) -> Adopted {
        decode_event(&frame).unwrap_or_else(|error| panic!("{frame}: {error}"))
    }

    #[test]
    fn collision_c20_one_name_for_two_things_is_told_apart_by_its_content() {
        let stats = adopted(
            json!({ "type": "info", "content": { "changed": false, "count_messages": 0, "count_active_messages": 0 } }),
        );
        assert_eq!(stats.kind, EventType::ChatStats);
        assert_eq!(adopted(json!({ "type": "info", "content": "updated" })).kind, EventType::ChatNotice);
        assert_eq!(decode_event(&json!({ "type": "info", "content": 7 })).unwrap_err().code, ErrorCode::InvalidPayload);
    }

    #[test]
    fn collision_c21_both_forms_of_one_event_are_the_same() {
        let typed = adopted(json!({ "type": "mcp_status", "content": { "enabled": true, "port": 3100 } }));
        let bare = adopted(json!({ "event": "mcp_status", "data": { "enabled": true, "port": 3100 } }));
        assert_eq!(typed, bare);
        assert!(decode_event(&json!({ "event": "apps", "data": {} })).is_err());
        assert!(decode_event(&json!({ "event": "mcp_status" })).is_err());
    }

    #[test]
    fn mon_12_lists_of_voices_are_for_everybody_and_nothing_else_is() {
        for provider in ["elevenlabs", "gemini", "mistral"] {
            let voices = json!({ "type": format!("{provider}_voices"), "content": [{ "voice_id": "v", "name": "V" }] });
            let voices = adopted(voices);
            assert_eq!((voices.to, &voices.data["provider"]), (Some(Audience::Global), &json!(provider)));
        }
        assert_eq!(adopted(json!({ "type": "cancel" })).to, None);
    }

    #[test]
    fn mon_12_the_forms_of_earlier_and_later_releases_are_read() {
        for (frame, data) in [
            (
                json!({ "type": "fragment", "content": "a", "index": 3, "start": true }),
                json!({ "content": "a", "sequence": 3, "is_first": true }),
            ),
            (
                json!({ "type": "wait", "content": "w", "minutes": 3, "session_id": "5f4c0b1e" }),
                json!({ "content": "w", "elapsed_seconds": 180 }),
            ),
            (
                json!({ "type": "wait", "content": "w", "elapsed": 59.9, "remaining": 3.2, "source": null }),
                json!({ "content": "w", "elapsed_seconds": 59, "remaining_seconds": 3 }),
            ),
            (
                json!({ "type": "error", "content": { "type": "error", "content": "The answer was cut off" } }),
                json!({ "message": "The answer was cut off" }),
            ),
            (
                json!({ "type": "error", "content": { "key": "later_key" } }),
                json!({ "message": "later_key", "key": "later_key" }),
            ),
            (
                json!({ "type": "change_status", "content": [{ "mid": "a", "active": true, "text": "t" }, { "mid": "b" }] }),
                json!({ "messages": [{ "mid": "a", "active": true }, { "mid": "b", "active": false }] }),
            ),
            (
                json!({ "type": "privacy_export_data", "mode": "encrypted_masked", "filename": "f", "content_base64": "", "mime": "m" }),
                json!({ "filename": "f", "content_base64": "", "mime_type": "m", "encrypted": true, "export_content": "masked" }),
            ),
        ] {
            assert_eq!(adopted(frame).data, data);
        }
    }

    #[test]
    fn mon_12_what_is_wrong_is_named() {
        for (frame, named) in [
            (json!({ "type": "html", "content": "text" }), "content"),
            (json!({ "type": "html", "content": { "role": "user", "text": "" } }), "mid"),
            (json!({ "type": "html", "content": { "mid": "a", "role": "user", "text": "", "images": [1] } }), "images"),
            (
                json!({ "type": "user", "content": { "mid": "a", "role": "user", "text": "", "active": "yes" } }),
                "chat.user",
            ),
            (json!({ "type": "past_messages", "content": {} }), "content"),
            (json!({ "type": "message", "content": "RESUME" }), "DONE or CLEAR"),
            (json!({ "type": "fragment" }), "content"),
            (json!({ "type": "wait", "content": "w", "elapsed": -1 }), "elapsed"),
            (json!({ "type": "wait", "content": "w", "timestamp": "now" }), "timestamp"),
            (json!({ "type": "stt", "content": "", "logprob": -0.3 }), "logprob"),
            (json!({ "type": "pdf_deleted", "content": "", "res": "perhaps" }), "res"),
            (json!({ "type": "tts_progress", "progress": 3 }), "segment_index"),
            (json!({ "type": "elevenlabs_voices", "content": [{}] }), "voice_id"),
            (json!({ "type": "error", "content": { "details": "d" } }), "key"),
            (json!({ "content": "x" }), "type"),
            (json!([]), "object"),
        ] {
            let error = decode_event(&frame).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidPayload, "{frame}");
            assert!(error.message.contains(named), "{frame}: {error}");
        }
    }

    #[test]
    fn mon_12_a_type_that_a_back_end_does_not_send_is_unknown() {
        for own in ["pong", "connection_ack", "chat.html", "", "message_chunk"] {
            let error = decode_event(&json!({ "type": own, "content": "x" })).unwrap_err();
            assert_eq!(error.code, ErrorCode::UnknownType, "{own}");
        }
    }
}
