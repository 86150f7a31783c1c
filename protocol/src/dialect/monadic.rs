//! Monadic Chat: flat frames, whose main member is `content`; times in seconds with a fraction.
//!
//! Its page appends the `content` of a type that it does not know to the conversation, so the list of types matters as much
//! as their form. Frames of later releases are spelled as those releases read them; a page from before them is no worse
//! off than with the system of origin.

mod adopted;
mod asked;

use bytes::Bytes;
use serde_json::{Map, Value, json};

pub(super) use adopted::decode_event;
pub use asked::{Asked, CHAT, MAX_FRAME_BYTES, MAX_PARAMETERS_BYTES, Request, decode};

use crate::{
    catalog::{Event, EventType},
    envelope::Envelope,
    event::chat,
    time::Time,
};

/// What its clients can be told of.
pub(super) const SUPPORTED: &[EventType] = &[
    EventType::ConnectionPong,
    EventType::ConnectionError,
    EventType::ChatWait,
    EventType::ChatFragment,
    EventType::ChatStreamingComplete,
    EventType::ChatClearFragments,
    EventType::ChatThinking,
    EventType::ChatReasoning,
    EventType::ChatToolExecuting,
    EventType::ChatTurnFinished,
    EventType::ChatCleared,
    EventType::ChatCancel,
    EventType::ChatProcessingStatus,
    EventType::ChatSystemInfo,
    EventType::ChatSuccess,
    EventType::ChatNotice,
    EventType::ChatError,
    EventType::ChatUser,
    EventType::ChatHtml,
    EventType::ChatChangeStatus,
    EventType::ChatEditSuccess,
    EventType::ChatDisplaySample,
    EventType::ChatSampleSuccess,
    EventType::ChatAiUserStarted,
    EventType::ChatAiUser,
    EventType::ChatAiUserFinished,
    EventType::ChatApps,
    EventType::ChatParameters,
    EventType::ChatPastMessages,
    EventType::ChatStats,
    EventType::ChatLanguageUpdated,
    EventType::ChatContextExtractionStarted,
    EventType::ChatContextUpdate,
    EventType::ChatVoices,
    EventType::ChatMcpStatus,
    EventType::ChatStt,
    EventType::ChatSttPartial,
    EventType::ChatAudio,
    EventType::ChatFragmentWithAudio,
    EventType::ChatWebSpeech,
    EventType::ChatTtsProgress,
    EventType::ChatTtsComplete,
    EventType::ChatTtsStopped,
    EventType::ChatTtsNotice,
    EventType::ChatTokenVerified,
    EventType::ChatTokenNotVerified,
    EventType::ChatOpenAiApiError,
    EventType::ChatPdfTitles,
    EventType::ChatPdfDeleted,
    EventType::ChatPrivacyState,
    EventType::ChatPrivacyToggleAck,
    EventType::ChatPrivacyRegistry,
    EventType::ChatPrivacyExportData,
    EventType::ChatPrivacyExportError,
    EventType::ChatVerifyConfidenceStart,
    EventType::ChatVerifyConfidence,
    EventType::ChatLibraryConversations,
    EventType::ChatLibraryStats,
    EventType::ChatLibraryDeleted,
    EventType::ChatLibrarySaved,
    EventType::ChatLibraryRagState,
    EventType::ChatLibraryTitleSuggested,
    EventType::ChatLibraryScopeUpdated,
    EventType::ChatLibraryRenamed,
    EventType::ChatLibraryConversationData,
];

/// What is said to be at work where a producer does not say it (trap T2): the page shows the progress of an operation
/// only if the name of what is at work contains `Agent`, `Generator` or `Analyzer`.
const SOMETHING_AT_WORK: &str = "ProgressAgent";

/// The event as its clients read it.
pub(super) fn encode(event: &Event, envelope: &Envelope) -> Option<Value> {
    frame_of(event, envelope.time())
}

/// A frame about what the system keeps, which is no event that somebody published and has no limit but its keeper's.
/// `None` when its clients have no word for it.
pub fn spell(event: &Event, time: Time) -> Option<Bytes> {
    serde_json::to_vec(&frame_of(event, time)?).ok().map(Bytes::from)
}

fn frame_of(event: &Event, time: Time) -> Option<Value> {
    use Event as E;

    let timestamp = seconds(time);
    let name = event.event_type().spec().name;
    // The family is named after this system's types; those that have another name there say it below.
    let own = name.strip_prefix("chat.").unwrap_or(name);
    let frame = match event {
        E::ConnectionPong(_) => frame("pong", json!({})),
        E::ConnectionError(it) => frame("error", json!({ "content": it.message })),

        E::ChatWait(it) => wait(it, timestamp),
        E::ChatFragment(it) => fragment(it, timestamp),
        E::ChatStreamingComplete(_)
        | E::ChatClearFragments(_)
        | E::ChatCancel(_)
        | E::ChatAiUserStarted(_)
        | E::ChatTtsStopped(_)
        | E::ChatContextExtractionStarted(_) => frame(own, json!({})),
        E::ChatThinking(chat::Thinking { content, .. })
        | E::ChatReasoning(chat::Reasoning { content, .. })
        | E::ChatToolExecuting(chat::ToolExecuting { tool_name: content })
        | E::ChatSuccess(chat::Success { content })
        | E::ChatAiUser(chat::AiUser { content })
        | E::ChatAiUserFinished(chat::AiUserFinished { content })
        | E::ChatWebSpeech(chat::WebSpeech { content })
        | E::ChatSttPartial(chat::SttPartial { content }) => frame(own, json!({ "content": content })),
        E::ChatTurnFinished(it) => frame("message", json!({ "content": "DONE", "finish_reason": it.finish_reason })),
        E::ChatCleared(_) => frame("message", json!({ "content": "CLEAR" })),
        E::ChatProcessingStatus(chat::ProcessingStatus { content, details })
        | E::ChatSystemInfo(chat::SystemInfo { content, details }) => match details {
            Some(details) if content.is_empty() => frame(own, json!({ "content": details })),
            _ => frame(own, json!({ "content": content })),
        },
        E::ChatNotice(it) => frame("info", json!({ "content": it.content })),
        E::ChatError(it) => frame(own, json!({ "content": error_content(it) })),

        E::ChatUser(it) => frame(own, json!({ "content": message(&it.message) })),
        E::ChatHtml(it) => frame(own, json!({ "content": message(&it.message), "more_coming": it.more_coming })),
        E::ChatChangeStatus(it) => frame(own, json!({ "content": it.messages })),
        E::ChatEditSuccess(it) => {
            let members = json!({
                "content": it.content, "mid": it.mid, "role": it.role, "html": it.html,
                "images": it.images.as_deref().map(images),
            });
            or_null(frame(own, members), "html")
        }
        E::ChatDisplaySample(it) => frame(own, json!({ "content": sample(it) })),
        E::ChatSampleSuccess(it) => frame(own, json!({ "role": it.role })),

        // Trap T14: neither side of the system of origin used `current_app_name` at first, though it is described;
        // a page that does not read it is not disturbed.
        E::ChatApps(it) => frame(
            own,
            json!({
                "content": it.apps, "version": it.version, "docker": it.docker,
                "current_app_name": it.current_app_name, "from_import": it.from_import,
            }),
        ),
        E::ChatParameters(it) => frame(
            own,
            json!({
                "content": it.parameters, "from_param_update": it.from_param_update, "from_import": it.from_import,
            }),
        ),
        E::ChatPastMessages(it) => frame(
            own,
            json!({
                "content": it.messages.iter().map(message).collect::<Vec<_>>(),
                "from_initial_load": it.from_initial_load, "from_import": it.from_import,
            }),
        ),
        E::ChatStats(it) => frame("info", json!({ "content": stats(it) })),
        E::ChatLanguageUpdated(it) => frame(own, json!(it)),
        E::ChatContextUpdate(it) => frame(
            own,
            json!({
                "context": it.context, "schema": it.schema, "from_import": it.from_import, "timestamp": timestamp,
            }),
        ),
        E::ChatVoices(it) => {
            let own = match it.provider {
                chat::VoiceProvider::Elevenlabs => "elevenlabs_voices",
                chat::VoiceProvider::Gemini => "gemini_voices",
                chat::VoiceProvider::Mistral => "mistral_voices",
                // A type that the page does not know would be shown as part of the conversation.
                chat::VoiceProvider::Other(_) => return None,
            };
            frame(own, json!({ "content": it.voices }))
        }
        // The system of origin had a second form, without a type, that its page ignored (collision C21).
        E::ChatMcpStatus(it) => frame(own, json!({ "content": it })),

        E::ChatStt(it) => frame(own, json!({ "content": it.content, "logprob": it.confidence })),
        E::ChatAudio(it) => audio(it),
        E::ChatFragmentWithAudio(it) => {
            frame(own, json!({ "fragment": fragment(&it.fragment, timestamp), "audio": audio(&it.audio) }))
        }
        E::ChatTtsProgress(it) => frame(
            own,
            json!({
                "segment_index": it.segment_index, "total_segments": it.total_segments,
                // Rounded down, so that 100 means that it is done.
                "progress": it.progress_percent.clamp(0.0, 100.0) as u64,
            }),
        ),
        E::ChatTtsComplete(it) => frame(own, json!({ "total_segments": it.total_segments })),
        E::ChatTtsNotice(it) => {
            let content = present(json!({
                "notice_type": it.notice_type, "segments_played": it.played_segments,
                "segments_total": it.total_segments, "bytes_played": it.played_bytes, "bytes_total": it.total_bytes,
            }));
            frame(own, json!({ "content": content }))
        }

        E::ChatTokenVerified(it) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let members = json!({
                "token": text(&it.token), "content": text(&it.content),
                "ai_user_initial_prompt": text(&it.ai_user_initial_prompt),
            });
            frame(own, members)
        }
        E::ChatTokenNotVerified(_) | E::ChatOpenAiApiError(_) => frame(own, json!({ "token": "", "content": "" })),
        E::ChatPdfTitles(it) => frame(own, json!({ "content": it.titles })),
        E::ChatPdfDeleted(it) => frame(own, json!({ "res": res(it.success), "content": it.content })),

        E::ChatPrivacyState(it) => or_null(frame(own, json!(it)), "error"),
        E::ChatPrivacyToggleAck(it) => or_null(frame(own, json!(it)), "error"),
        E::ChatPrivacyRegistry(it) => {
            let entry = |entry: &chat::PrivacyEntry| {
                json!({
                    "placeholder": entry.placeholder, "original": entry.original, "type": entry.entity_type,
                })
            };
            frame(own, json!({ "enabled": it.enabled, "entries": it.entries.iter().map(entry).collect::<Vec<_>>() }))
        }
        E::ChatPrivacyExportData(it) => frame(
            own,
            json!({
                "mode": export_mode(it), "encrypt": it.encrypted, "content": it.export_content,
                "filename": it.filename, "content_base64": it.content_base64, "mime": it.mime_type,
            }),
        ),
        E::ChatPrivacyExportError(it) => {
            frame(own, json!({ "error": it.error, "valid_content": it.valid_content, "detail": it.details }))
        }

        E::ChatVerifyConfidenceStart(it) => frame(own, json!({ "mid": it.mid })),
        E::ChatVerifyConfidence(it) => frame(own, verdict(it)),

        E::ChatLibraryConversations(it) => frame(own, json!({ "content": it.conversations, "error": it.error })),
        E::ChatLibraryStats(it) => {
            let content = json!({
                "conversations_total": it.conversations_total, "conversations_by_scope": it.conversations_by_scope,
            });
            frame(own, json!({ "content": content, "error": it.error }))
        }
        E::ChatLibraryDeleted(it) => answer(own, it.success, json!(it)),
        E::ChatLibrarySaved(it) => answer(own, it.success, json!(it)),
        E::ChatLibraryRagState(it) => frame(own, json!({ "enabled": it.enabled })),
        E::ChatLibraryTitleSuggested(it) => answer(own, it.success, json!(it)),
        E::ChatLibraryScopeUpdated(it) => answer(own, it.success, json!(it)),
        E::ChatLibraryRenamed(it) => answer(own, it.success, json!(it)),
        E::ChatLibraryConversationData(it) => answer(own, it.success, json!(it)),

        _ => return None,
    };
    Some(Value::Object(frame))
}

/// A frame of this type. What the payload does not say is left out: the page asks of most members only whether they are
/// there.
fn frame(own: &str, members: Value) -> Map<String, Value> {
    let mut frame = Map::new();
    frame.insert("type".to_owned(), own.into());
    frame.extend(present(members));
    frame
}

/// The members of an object that are not `null`.
fn present(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

/// The frame with `null` for this member if it has none, where the system of origin writes so.
fn or_null(mut frame: Map<String, Value>, member: &str) -> Map<String, Value> {
    frame.entry(member).or_insert(Value::Null);
    frame
}

/// Seconds since 1970.
fn seconds(time: Time) -> f64 {
    time.as_unix_micros() as f64 / 1_000_000.0
}

/// Whether something succeeded, as a word.
fn res(success: bool) -> &'static str {
    if success { "success" } else { "failure" }
}

/// The answer of the library: its payload with a word for its success.
fn answer(own: &str, success: bool, payload: Value) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("res".to_owned(), res(success).into());
    members.extend(present(payload).into_iter().filter(|(name, _)| name != "success"));
    frame(own, Value::Object(members))
}

/// How long is left is said in seconds, as the system of origin does, though its page takes them for minutes (trap T3).
/// It loses no more than a hint by that, and programs that read the same frame get what they got there.
fn wait(it: &chat::Wait, timestamp: f64) -> Map<String, Value> {
    frame(
        "wait",
        json!({
            "content": it.content, "source": it.source.as_deref().unwrap_or(SOMETHING_AT_WORK),
            "elapsed": it.elapsed_seconds, "minutes": it.elapsed_seconds.map(|seconds| seconds / 60),
            "remaining": it.remaining_seconds, "step_progress": it.step_progress, "timestamp": timestamp,
        }),
    )
}

fn fragment(it: &chat::Fragment, timestamp: f64) -> Map<String, Value> {
    frame(
        "fragment",
        json!({
            "content": it.content, "sequence": it.sequence, "is_first": it.is_first, "timestamp": timestamp,
        }),
    )
}

fn audio(it: &chat::Audio) -> Map<String, Value> {
    frame(
        "audio",
        json!({
            "content": it.content_base64, "mime_type": it.mime_type, "sequence_id": it.sequence_id,
            "is_segment": it.is_segment, "segment_index": it.segment_index, "total_segments": it.total_segments,
            "t_index": it.chunk_index, "finished": it.finished,
        }),
    )
}

/// The page translates a key, and shows anything else as it is.
fn error_content(it: &chat::Error) -> Value {
    match (&it.key, &it.details) {
        (Some(key), Some(details)) => json!({ "key": key, "details": details }),
        (Some(key), None) => json!(key),
        (None, _) => json!(it.message),
    }
}

/// Further values stand beside those that every message has, which they do not replace.
fn message(it: &chat::ConversationMessage) -> Map<String, Value> {
    let mut members = present(json!({
        "mid": it.mid, "role": it.role, "text": it.text, "html": it.html, "lang": it.lang, "app_name": it.app_name,
        "active": it.active, "thinking": it.thinking, "images": it.images.as_deref().map(images),
        "monadic": it.monadic, "tokens": it.tokens,
    }));
    for (name, value) in it.metadata.iter().flatten() {
        members.entry(name.as_str()).or_insert_with(|| value.clone());
    }
    members
}

fn images(images: &[chat::MessageImage]) -> Vec<Map<String, Value>> {
    let image = |it: &chat::MessageImage| {
        present(json!({
            "title": it.title, "data": it.data, "type": it.mime_type, "is_mask": it.is_mask,
            "mask_for": it.mask_for, "display_data": it.display_data,
        }))
    };
    images.iter().map(image).collect()
}

/// Older pages show `html` and refuse a sample in which a member is missing or empty; later ones show `text` (trap T12).
/// So each has both. Text that becomes markup is escaped: it is anybody's.
fn sample(it: &chat::DisplaySample) -> Value {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (text, html) = (given(&it.text), given(&it.html));
    let html = html.unwrap_or_else(|| format!("<p>{}</p>", escaped(text.as_deref().unwrap_or_default())));
    let badge = given(&it.badge).unwrap_or_else(|| format!("<span>{}</span>", escaped(it.role.as_str())));
    // Later pages read Markdown, in which markup is allowed.
    let text = text.unwrap_or_else(|| html.clone());
    json!({ "mid": it.mid, "role": it.role, "html": html, "badge": badge, "text": text })
}

/// Text as markup that shows it.
fn escaped(text: &str) -> String {
    let mut markup = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            '\'' => markup.push_str("&#39;"),
            letter => markup.push(letter),
        }
    }
    markup
}

/// The page counts with each number, so what was not counted is 0.
fn stats(it: &chat::Stats) -> Map<String, Value> {
    let count = |count: Option<u64>| count.unwrap_or_default();
    present(json!({
        "changed": it.changed, "count_messages": it.count_messages, "count_active_messages": it.count_active_messages,
        "count_total_system_tokens": count(it.count_total_system_tokens),
        "count_total_input_tokens": count(it.count_total_input_tokens),
        "count_total_output_tokens": count(it.count_total_output_tokens),
        "count_total_active_tokens": count(it.count_total_active_tokens),
        "count_all_tokens": count(it.count_all_tokens),
        "encoding_name": it.encoding_name, "error": it.error,
    }))
}

/// The one word that said, before there were two members for it, whether an export is encrypted and what it holds.
fn export_mode(it: &chat::PrivacyExportData) -> &'static str {
    match (it.encrypted, &it.export_content) {
        (true, chat::ExportContent::Masked) => "encrypted_masked",
        (true, _) => "encrypted",
        (false, chat::ExportContent::Masked) => "masked_only",
        (false, _) => "restored",
    }
}

fn verdict(it: &chat::VerifyConfidence) -> Value {
    let response = |(index, response): (usize, &chat::PanelResponse)| {
        present(json!({
            "index": index, "provider": response.provider, "model": response.model, "success": response.success,
            "text": response.text, "error": response.error,
        }))
    };
    json!({
        "mid": it.mid, "confidence": it.confidence, "score": it.score, "corroboration": it.corroboration,
        "recommendation": it.recommendation, "consensus": it.consensus, "disagreements": it.disagreements,
        "responses": it.responses.iter().enumerate().map(response).collect::<Vec<_>>(),
        "panel_size": it.panel_count, "cross_provider": it.cross_provider, "moderator": it.moderator,
        "note": it.note, "judge_error": it.judge_error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::EventKind;

    fn encoded(event_type: EventType, data: Value) -> Option<Value> {
        let event = Event::from_payload(event_type, &serde_json::value::to_raw_value(&data).unwrap()).unwrap();
        let probe = Envelope::probe(EventKind::Known(event_type), event_type.spec().an_audience()).unwrap();
        encode(&event, &probe)
    }

    #[test]
    fn trap_t2_progress_is_always_shown() {
        let bare = encoded(EventType::ChatWait, json!({ "content": "Working" })).unwrap();
        assert!(bare["source"].as_str().unwrap().contains("Agent"));
        let named = encoded(EventType::ChatWait, json!({ "content": "Working", "source": "ImageGenerator" })).unwrap();
        assert_eq!(named["source"], "ImageGenerator");
    }

    #[test]
    fn trap_t3_what_is_left_is_in_seconds_and_only_the_time_passed_in_minutes_too() {
        let data = json!({ "content": "Working", "elapsed_seconds": 119, "remaining_seconds": 1081 });
        let frame = encoded(EventType::ChatWait, data).unwrap();
        assert_eq!((&frame["elapsed"], &frame["minutes"], &frame["remaining"]), (&json!(119), &json!(1), &json!(1081)));
    }

    #[test]
    fn trap_t12_no_member_of_a_sample_is_empty_whatever_the_payload_says() {
        for data in [
            json!({ "text": "a < b" }),
            json!({ "html": "<p>b</p>" }),
            json!({ "text": "", "html": "", "badge": "" }),
            json!({}),
        ] {
            let mut payload = json!({ "mid": "0a0b0c0d", "role": "assistant" });
            payload.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
            let content = encoded(EventType::ChatDisplaySample, payload).unwrap()["content"].clone();
            for member in ["mid", "role", "html", "badge", "text"] {
                assert!(content[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {content}");
            }
        }
    }

    #[test]
    fn trap_t12_text_that_becomes_markup_is_escaped() {
        let data = json!({ "mid": "0a0b0c0d", "role": "<i>", "text": "<script>\"&'" });
        let content = encoded(EventType::ChatDisplaySample, data).unwrap()["content"].clone();
        assert_eq!(content["html"], "<p>&lt;script&gt;&quot;&amp;&#39;</p>");
        assert_eq!(content["badge"], "<span>&lt;i&gt;</span>");
        assert_eq!(content["text"], "<script>\"&'");
    }

    #[test]
    fn trap_t14_the_app_that_another_tab_chose_is_named_only_when_there_is_one() {
        let apps = |data| encoded(EventType::ChatApps, data).unwrap();
        assert_eq!(apps(json!({ "apps": {}, "current_app_name": "ChatOpenAI" }))["current_app_name"], "ChatOpenAI");
        assert_eq!(apps(json!({ "apps": {} })), json!({ "type": "apps", "content": {} }));
    }

    #[test]
    fn route_05_voices_of_a_provider_without_a_type_are_not_sent() {
        assert_eq!(encoded(EventType::ChatVoices, json!({ "provider": "later", "voices": [] })), None);
    }
}
