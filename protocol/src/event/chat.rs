//! Payloads of the `chat` family: what a chat back end tells the browser session that a person talks in.
//!
//! Names follow the system of origin. Three of its frames meant several things and are several types here: `info` is
//! [`Stats`] and [`Notice`], `message` is [`TurnFinished`] and [`Cleared`], and the lists of voices, one frame for each
//! provider, are [`Voices`]. What it sent as a string or an object, by circumstance, has a member for each. No payload
//! carries the time of its event, which stands in the frame. The descriptions are what a frontend developer reads in the
//! published schemas.
//!
//! The family has no `pong`: that is `connection.pong`. Its errors are those of the application; what is wrong with a
//! command of the connection itself is `connection.error`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::open::{MAX_INTEGER, open_enum};
use crate::time::Time;

// ---------------------------------------------------------------------------------------------------------------
// Words
// ---------------------------------------------------------------------------------------------------------------

open_enum! {
    /// Who says a message of a conversation.
    pub enum MessageRole {
        /// The person, or a program that plays the person.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// Instructions to the model, and what the application says itself.
        System = "system",
    }
}

open_enum! {
    /// Why the model stopped writing.
    pub enum FinishReason {
        /// It was done.
        Stop = "stop",
        /// It reached the limit of an answer; the text breaks off.
        Length = "length",
        /// It wants tools to be called; more follows when they have answered.
        ToolCalls = "tool_calls",
        /// Its provider ended the answer for reasons of safety.
        Safety = "safety",
        /// It failed.
        Error = "error",
    }
}

open_enum! {
    /// How the steps of a long operation follow each other.
    pub enum StepMode {
        /// One after the other.
        Sequential = "sequential",
        /// All at once.
        Parallel = "parallel",
    }
}

open_enum! {
    /// What went wrong, as a word that a frontend can translate.
    pub enum ChatErrorKey {
        /// The frame was not one that the application reads.
        InvalidMessageFormat = "invalid_message_format",
        /// The parameters were not an object.
        InvalidParameters = "invalid_parameters",
        /// The message that was to be changed is not there.
        MessageNotFoundForEditing = "message_not_found_for_editing",
        /// A sample message could not be added.
        ErrorProcessingSample = "error_processing_sample",
        /// The recording held nothing.
        VoiceInputEmpty = "voice_input_empty",
        /// The recording held no words.
        TextInputEmpty = "text_input_empty",
        /// A program can play the person only once there is a conversation.
        AiUserRequiresConversation = "ai_user_requires_conversation",
        /// The program that plays the person failed; `details` says how.
        AiUserError = "ai_user_error",
        /// The provider of the model ended the answer for reasons of safety.
        ApiStoppedSafety = "api_stopped_safety",
        /// The answer of the model had no text where one belongs.
        ContentNotFound = "content_not_found",
        /// The answer of the model was empty.
        EmptyResponse = "empty_response",
        /// Anything else.
        SomethingWentWrong = "something_went_wrong",
    }
}

open_enum! {
    /// The direction in which a language is written, as in the attribute `dir` of a page.
    pub enum TextDirection {
        /// From left to right.
        Ltr = "ltr",
        /// From right to left.
        Rtl = "rtl",
    }
}

open_enum! {
    /// Who turns text into speech.
    pub enum VoiceProvider {
        /// ElevenLabs.
        Elevenlabs = "elevenlabs",
        /// Google Gemini.
        Gemini = "gemini",
        /// Mistral.
        Mistral = "mistral",
    }
}

open_enum! {
    /// What a notice about speech says.
    pub enum TtsNoticeType {
        /// The person asked for the speech, so the whole text is spoken.
        ManualPlay = "manual_play",
        /// The text is too long to be spoken by itself, so only its beginning is.
        Partial = "partial",
    }
}

open_enum! {
    /// What an export holds where names and other personal data were masked.
    pub enum ExportContent {
        /// The personal data.
        Restored = "restored",
        /// Placeholders in its place.
        Masked = "masked",
    }
}

open_enum! {
    /// Why nothing was exported.
    pub enum PrivacyExportFault {
        /// The wish named a content that there is not; `valid_content` lists those that there are.
        InvalidContent = "invalid_content",
        /// An encrypted export needs a passphrase.
        PassphraseRequired = "passphrase_required",
        /// It failed; `details` says how.
        ExportFailed = "export_failed",
    }
}

open_enum! {
    /// How far several models agree about an answer.
    pub enum Confidence {
        /// They agree.
        High = "high",
        /// They agree in part.
        Medium = "medium",
        /// They disagree.
        Low = "low",
        /// Too few of them answered, or the comparison failed.
        Unknown = "unknown",
        /// No comparison was possible; `note` says why.
        Unavailable = "unavailable",
    }
}

open_enum! {
    /// How an answer compares with what several models agree on.
    pub enum Corroboration {
        /// It says the same.
        Corroborated = "corroborated",
        /// It says some of the same.
        Partial = "partial",
        /// It says something else.
        Disputed = "disputed",
    }
}

open_enum! {
    /// What to do with an answer after it was compared.
    pub enum Recommendation {
        /// Rely on it.
        Trust = "trust",
        /// Check it.
        Verify = "verify",
        /// Have somebody decide who knows the matter.
        Escalate = "escalate",
    }
}

// ---------------------------------------------------------------------------------------------------------------
// What several payloads share
// ---------------------------------------------------------------------------------------------------------------

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConversationMessage {
    /// Names the message within its session, usually eight hexadecimal digits.
    pub mid: String,
    /// Who says it.
    pub role: MessageRole,
    /// The message as it was written, usually Markdown. Text from outside: render it with care for what it may contain.
    pub text: String,
    /// The message as markup, where the back end renders it. It is made from text of others: sanitize it before you show
    /// it, or render `text` yourself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The language of the message, for instance `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// The app that the message belongs to, a key of `apps` in `chat.apps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_name: Option<String>,
    /// Whether the model still sees the message: older ones fall out of what it is given. Absent when the producer does
    /// not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// What the model thought before it answered. Text from outside, as `text` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Pictures and documents that belong to the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<MessageImage>>,
    /// True when `text` is JSON of a form that the app defines. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monadic: Option<bool>,
    /// How many tokens the message has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub tokens: Option<u64>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A picture or a document that belongs to a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MessageImage {
    /// The name of its file.
    pub title: String,
    /// The content as a `data:` URL.
    pub data: String,
    /// Its media type, for instance `image/png` or `application/pdf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// True when it marks the parts of another picture that are to be changed. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_mask: Option<bool>,
    /// The `title` of the picture that it masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_for: Option<String>,
    /// The mask as it is shown to people, as a `data:` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_data: Option<String>,
}

/// Whether the model still sees one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MessageStatus {
    /// The message, as in `chat.html` and `chat.user`.
    pub mid: String,
    /// True while the model sees it.
    pub active: bool,
}

/// One voice that can speak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Voice {
    /// Names the voice to its provider.
    pub voice_id: String,
    /// Names the voice to people.
    pub name: String,
}

/// The steps of a long operation, and how many of them are behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepProgress {
    /// How the steps follow each other.
    pub mode: StepMode,
    /// One after the other: the step under way, counted from 0. All at once: how many are done.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub current: u64,
    /// How many steps there are.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total: u64,
    /// What each step is called, for a person to read.
    pub steps: Vec<String>,
}

// ---------------------------------------------------------------------------------------------------------------
// A turn, while it is under way
// ---------------------------------------------------------------------------------------------------------------

/// A long operation goes on. A newer one replaces an older one. The newest is kept for those who join later, so look at
/// its `time`: the operation may be over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Wait {
    /// What is going on: text for a person, or a word that frontends translate, such as `generating_ai_user_response`.
    /// Text from outside: show it as text, never as markup.
    pub content: String,
    /// What is at work, for instance `OpenAICodeAgent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How long it has been at work, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub elapsed_seconds: Option<u64>,
    /// How long it may go on until it is given up, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub remaining_seconds: Option<u64>,
    /// The steps of the work, where it has steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_progress: Option<StepProgress>,
}

/// A piece of the model's answer as it is being written. The pieces, put one behind the other, are the text so far;
/// `chat.html` brings the finished message. Pieces may reach you joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fragment {
    /// The next piece of the text. May be empty. Text from outside: show it as text, never as markup.
    pub content: String,
    /// The number of the piece within its text, counted from 0. Of joined pieces it is the number of the first, so the
    /// next one may be higher by more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub sequence: Option<u64>,
    /// True on the piece that begins a text: what is shown of an earlier one goes.
    #[serde(default)]
    pub is_first: bool,
    /// The message that the text becomes, where the producer knows it. Pieces of different messages are different texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
}

/// The model's answer has been written to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StreamingComplete {
    /// The message that was written, as in `chat.fragment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
}

/// What was written so far no longer counts: the answer begins anew, for instance after a tool has answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClearFragments {
    /// The message that was being written, as in `chat.fragment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
}

/// A piece of the model's thinking as it goes on. The pieces, put one behind the other, are the thoughts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Thinking {
    /// The next piece of the thoughts. Text from outside: show it as text, never as markup.
    pub content: String,
    /// The message that is being thought about, where the producer knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
}

/// A piece of the model's reasoning, for models that call their thinking so. The pieces, put one behind the other, are
/// the reasoning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reasoning {
    /// The next piece of the reasoning. Text from outside: show it as text, never as markup.
    pub content: String,
    /// The message that is being reasoned about, where the producer knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
}

/// A tool is being used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolExecuting {
    /// The tool.
    pub tool_name: String,
}

/// The model has stopped writing. When it wants tools to be called, more follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnFinished {
    /// Why it stopped; absent when the producer does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
}

/// The text area of the answer is to be emptied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cleared {}

/// What was under way has been cancelled, as somebody of the session wished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cancel {}

/// Something takes its time; said in the conversation, for a person to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProcessingStatus {
    /// What takes its time. Text from outside: show it as text, never as markup.
    pub content: String,
    /// More about it; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Map<String, Value>>,
}

/// Something that the application says in the conversation, for instance that another model answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SystemInfo {
    /// What it says. Text from outside: show it as text, never as markup.
    pub content: String,
    /// More about it; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Map<String, Value>>,
}

/// Something succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Success {
    /// What succeeded, for a person to read. Text from outside: show it as text, never as markup.
    pub content: String,
}

/// A passing remark of the application, for a person to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Notice {
    /// The remark. Text from outside: show it as text, never as markup.
    pub content: String,
}

/// Something failed in the application. Only the session or the connection that it happened to sees this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Error {
    /// What went wrong, for a person to read. Text from outside: show it as text, never as markup.
    pub message: String,
    /// What went wrong, as a word; absent when there is none for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ChatErrorKey>,
    /// More about it, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

// ---------------------------------------------------------------------------------------------------------------
// Messages
// ---------------------------------------------------------------------------------------------------------------

/// The person's message was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct User {
    /// The message.
    pub message: ConversationMessage,
}

/// A finished message. It takes the place of the fragments that were shown until now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Html {
    /// The message.
    pub message: ConversationMessage,
    /// True when the turn goes on behind it, for instance because tools are being called. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_coming: Option<bool>,
}

/// Messages have come into the sight of the model, or have fallen out of it. Messages that are not listed stay as they
/// were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChangeStatus {
    /// The messages and whether the model sees them now.
    pub messages: Vec<MessageStatus>,
}

/// A message was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EditSuccess {
    /// One line about it, for a person to read.
    pub content: String,
    /// The message, as in `chat.html` and `chat.user`.
    pub mid: String,
    /// Who says it.
    pub role: MessageRole,
    /// The message as it is written now; absent when the producer does not say. Text from outside: render it with care
    /// for what it may contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The message as markup, where the back end renders it. Sanitize it before you show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Pictures and documents that belong to the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<MessageImage>>,
}

/// A message that was made up as an example is to be shown at once. `chat.html` with the same `mid` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DisplaySample {
    /// The message, as in the `chat.html` that follows.
    pub mid: String,
    /// Who says it.
    pub role: MessageRole,
    /// The message as it was written; absent when there is only `html`. Text from outside: render it with care for what
    /// it may contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The message as markup. Sanitize it before you show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The heading of the message as markup, where the back end makes it. Sanitize it before you show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub badge: Option<String>,
}

/// The example message was added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SampleSuccess {
    /// Who says the message.
    pub role: MessageRole,
}

/// A program begins to write what the person might say next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AiUserStarted {}

/// What the person might say next. `chat.ai_user_finished` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AiUser {
    /// The text. Text from outside: show it as text, never as markup.
    pub content: String,
}

/// The program has written what the person might say next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AiUserFinished {
    /// The whole text. Text from outside: show it as text, never as markup.
    pub content: String,
}

// ---------------------------------------------------------------------------------------------------------------
// What a session stands at
// ---------------------------------------------------------------------------------------------------------------

/// The apps that the person can choose from. A newer one replaces an older one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Apps {
    /// Each app by its name, with its settings; free form.
    pub apps: Map<String, Value>,
    /// Version of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the application runs in a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<bool>,
    /// The app that the session has already chosen; a new tab chooses the same without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_app_name: Option<String>,
    /// True when it belongs to a conversation that was just imported. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_import: Option<bool>,
}

/// The parameters of the session: app, model, language and what else the app has. A newer one replaces an older one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Parameters {
    /// Each parameter by its name, for instance `app_name` and `model`; free form.
    pub parameters: Map<String, Value>,
    /// True when they changed because somebody of the session changed them: take them over and do not send them again.
    /// Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_param_update: Option<bool>,
    /// True when they belong to a conversation that was just imported. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_import: Option<bool>,
}

/// The conversation as it was at this time. What was said since comes as `chat.user` and `chat.html`. A newer one
/// replaces an older one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PastMessages {
    /// The messages, oldest first.
    pub messages: Vec<ConversationMessage>,
    /// True when a page asked for them as it was loading, so nothing of it is new: read nothing aloud. Absent means
    /// false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_initial_load: Option<bool>,
    /// True when they belong to a conversation that was just imported. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_import: Option<bool>,
}

/// How large the conversation is. A newer one replaces an older one. Numbers that could not be counted are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stats {
    /// True when messages have come into the sight of the model, or have fallen out of it.
    pub changed: bool,
    /// How many messages the conversation has.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub count_messages: u64,
    /// How many of them the model sees.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub count_active_messages: u64,
    /// How many tokens the instructions have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub count_total_system_tokens: Option<u64>,
    /// How many tokens the person's messages have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub count_total_input_tokens: Option<u64>,
    /// How many tokens the model's messages have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub count_total_output_tokens: Option<u64>,
    /// How many tokens the messages have that the model sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub count_total_active_tokens: Option<u64>,
    /// How many tokens all messages have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub count_all_tokens: Option<u64>,
    /// How tokens were counted, for instance `o200k_base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding_name: Option<String>,
    /// Why tokens could not be counted, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The conversation goes on in another language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LanguageUpdated {
    /// The language, for instance `ar`, or `auto`.
    pub language: String,
    /// The language for a person to read.
    pub language_name: String,
    /// The direction in which it is written.
    pub text_direction: TextDirection,
}

/// The application begins to look for what is worth remembering of the conversation. `chat.context_update` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextExtractionStarted {}

/// What is remembered of the conversation now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextUpdate {
    /// What is remembered, by the names of `schema`; free form.
    pub context: Map<String, Value>,
    /// What the app remembers and how that is shown; free form. Absent when it stays as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Map<String, Value>>,
    /// True when it belongs to a conversation that was just imported. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_import: Option<bool>,
}

/// The voices of one provider. The same for everybody; a newer list replaces an older one of the same provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Voices {
    /// Whose voices they are.
    pub provider: VoiceProvider,
    /// The voices, in the order in which they are shown.
    pub voices: Vec<Voice>,
}

/// Whether other programs can use the tools of the application, over the Model Context Protocol (MCP).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct McpStatus {
    /// Whether it is wished.
    pub enabled: bool,
    /// The TCP port that it is offered on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535))]
    pub port: Option<u16>,
    /// Whether it is offered now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
}

// ---------------------------------------------------------------------------------------------------------------
// Speech
// ---------------------------------------------------------------------------------------------------------------

/// What the person said, as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stt {
    /// The words. Text from outside: show it as text, never as markup.
    pub content: String,
    /// How sure the recognition is, 0 to 1; absent when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: Option<f64>,
}

/// What has been understood so far of what the person is saying. Each one holds the whole text; `chat.stt` is the last
/// word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SttPartial {
    /// The words so far. Text from outside: show it as text, never as markup.
    pub content: String,
}

/// Speech: a whole clip, or a chunk of one. Play what comes in the order in which it comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Audio {
    /// The sound in base64 (standard alphabet, padded). Empty on the chunk that ends a clip.
    pub content_base64: String,
    /// Its media type, for instance `audio/mpeg`; absent when the wish for speech settled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Names the clip: a frontend that has played it ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_id: Option<String>,
    /// True when the clip speaks one segment of a longer text. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_segment: Option<bool>,
    /// Which segment of the text it speaks, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub segment_index: Option<u64>,
    /// How many segments the text has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_segments: Option<u64>,
    /// Which chunk of the clip it is, counted from 1; absent when it is the whole clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub chunk_index: Option<u64>,
    /// True on the chunk that ends the clip. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<bool>,
}

/// A piece of the model's answer and the speech for it, at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FragmentWithAudio {
    /// The piece of the answer, as in `chat.fragment`.
    pub fragment: Fragment,
    /// The speech, as in `chat.audio`.
    pub audio: Audio,
}

/// Text that the browser is to speak with a voice of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebSpeech {
    /// The text.
    pub content: String,
}

/// How far a text has been turned into speech. A newer one replaces an older one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TtsProgress {
    /// The segment that was done last, counted from 0.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub segment_index: u64,
    /// How many segments the text has.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_segments: u64,
    /// How much is done, 0 to 100.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub progress_percent: f64,
}

/// The text has been turned into speech; all of it has been sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TtsComplete {
    /// How many segments the text had.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_segments: u64,
}

/// The speech has been stopped, as somebody of the session wished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TtsStopped {}

/// How much of a text is going to be spoken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TtsNotice {
    /// What it says.
    pub notice_type: TtsNoticeType,
    /// How many segments of the text are spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub played_segments: Option<u64>,
    /// How many segments the text has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_segments: Option<u64>,
    /// How many bytes of the text are spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub played_bytes: Option<u64>,
    /// How many bytes the text has, as UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_bytes: Option<u64>,
}

// ---------------------------------------------------------------------------------------------------------------
// Answers to one connection: the provider's key, and documents
// ---------------------------------------------------------------------------------------------------------------

/// The application's key for its model provider works.
#[derive(Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TokenVerified {
    /// The key itself, for frontends that show it. It is a secret; a back end leaves it out where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What the provider said to the key, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The instructions with which a program plays the person, as the application proposes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ai_user_initial_prompt: Option<String>,
}

impl std::fmt::Debug for TokenVerified {
    /// Never prints the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenVerified(..)")
    }
}

/// The application has no key for its model provider, or one that does not work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TokenNotVerified {}

/// The model provider could not be asked about the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OpenAiApiError {}

/// The PDF documents that the application has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PdfTitles {
    /// The title of each document. Text from outside: show it as text, never as markup.
    pub titles: Vec<String>,
}

/// Whether a PDF document was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PdfDeleted {
    /// True when it is gone.
    pub success: bool,
    /// One line about it, for a person to read.
    pub content: String,
}

// ---------------------------------------------------------------------------------------------------------------
// Personal data, kept from the model provider
// ---------------------------------------------------------------------------------------------------------------

/// Whether personal data is masked before the model provider sees it. A newer one replaces an older one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrivacyState {
    /// True when it is masked.
    pub enabled: bool,
    /// How much has been masked so far: the number of placeholders.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub registry_count: u64,
    /// Why masking does not work, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which language the masking goes by, where it finds that out itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<PrivacyDetection>,
}

/// Which language the masking of personal data goes by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrivacyDetection {
    /// The language, for instance `en`; absent while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether the language was recognized with certainty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliable: Option<bool>,
    /// True when the language stays what it is for this session.
    #[serde(default)]
    pub locked: bool,
    /// How often the language has been looked for.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub attempts: u64,
}

/// The answer to the wish to mask personal data, or no longer to. It says what holds now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrivacyToggleAck {
    /// True when personal data is masked from now on.
    pub enabled: bool,
    /// Why the wish was not fulfilled, for instance `privacy_container_unreachable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What has been masked so far in this session. It is the personal data itself: show it and do not keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrivacyRegistry {
    /// True when personal data is masked.
    pub enabled: bool,
    /// Each placeholder with what it stands for.
    pub entries: Vec<PrivacyEntry>,
}

/// One placeholder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrivacyEntry {
    /// What the model provider sees.
    pub placeholder: String,
    /// What it stands for. Text from outside: show it as text, never as markup.
    pub original: String,
    /// What kind of data it is, for instance `PERSON`; `UNKNOWN` when the placeholder does not say.
    pub entity_type: String,
}

/// An export of the conversation, as a file to be saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrivacyExportData {
    /// The name of the file.
    pub filename: String,
    /// The file in base64 (standard alphabet, padded).
    pub content_base64: String,
    /// Its media type.
    pub mime_type: String,
    /// Whether the file is encrypted with a passphrase.
    pub encrypted: bool,
    /// What it holds where personal data was masked.
    pub export_content: ExportContent,
}

/// The conversation was not exported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrivacyExportError {
    /// Why.
    pub error: PrivacyExportFault,
    /// More about it, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The contents that can be wished for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_content: Option<Vec<ExportContent>>,
}

// ---------------------------------------------------------------------------------------------------------------
// A second opinion
// ---------------------------------------------------------------------------------------------------------------

/// Several models are being asked about an answer. `chat.verify_confidence` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VerifyConfidenceStart {
    /// The answer's message.
    pub mid: String,
}

/// What several models say about an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VerifyConfidence {
    /// The answer's message.
    pub mid: String,
    /// How far the models agree.
    pub confidence: Confidence,
    /// The same as a number, 0 to 1; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub score: Option<f64>,
    /// How the answer compares with what they agree on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corroboration: Option<Corroboration>,
    /// What to do with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<Recommendation>,
    /// What they agree on. Text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consensus: Option<String>,
    /// Where they disagree, a line for each point. Text from outside, as `consensus` is.
    #[serde(default)]
    pub disagreements: Vec<String>,
    /// What each model answered.
    #[serde(default)]
    pub responses: Vec<PanelResponse>,
    /// How many of them gave an answer that could be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub panel_count: Option<u64>,
    /// Whether the answers came from more than one provider; those of one provider share its faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_provider: Option<bool>,
    /// The model that compared the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderator: Option<Moderator>,
    /// A remark on the comparison, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why the answers could not be compared, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_error: Option<String>,
}

/// What one model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PanelResponse {
    /// Whose model it is.
    pub provider: String,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// True when it answered.
    pub success: bool,
    /// Its answer. Text from outside: render it with care for what it may contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why it did not answer, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The model that compares what others answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Moderator {
    /// Whose model it is.
    pub provider: String,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

// ---------------------------------------------------------------------------------------------------------------
// The library of kept conversations
// ---------------------------------------------------------------------------------------------------------------

/// The conversations that are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryConversations {
    /// The conversations, newest first.
    pub conversations: Vec<LibraryConversation>,
    /// Why they could not be listed, for a person to read; the list is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is known of a conversation that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryConversation {
    /// Names the conversation in the library.
    pub conversation_id: String,
    /// What it is, for instance `conversation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its title. Text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its language, for instance `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Its license.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The app that may look things up in it, or `Global` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_app: Option<String>,
    /// How many messages it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub messages_count: Option<u64>,
    /// How many turns it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub turns_count: Option<u64>,
    /// How long it lasted, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub duration_seconds: Option<f64>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
    /// When it was put into the library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
}

/// How much the library holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryStats {
    /// How many conversations.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub conversations_total: u64,
    /// How many for each app that may look things up in them; `Global` is all apps.
    #[serde(default)]
    pub conversations_by_scope: BTreeMap<String, u64>,
    /// Why they could not be counted, for a person to read; the numbers are 0 then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether a conversation was taken out of the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryDeleted {
    /// True when it is gone.
    pub success: bool,
    /// One line about it, for a person to read.
    pub content: String,
    /// The conversation, if the wish named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
}

/// Whether the conversation of this session was put into the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibrarySaved {
    /// True when the library has it.
    pub success: bool,
    /// One line about it, for a person to read.
    pub content: String,
    /// The conversation in the library; name it when you save again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// True when it took the place of what the library had of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<bool>,
    /// The app that may look things up in it, or `Global` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_app: Option<String>,
    /// How many entries it has in the library, by their kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<String, u64>>,
}

/// Whether the model looks things up in the library while it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryRagState {
    /// True when it does.
    pub enabled: bool,
}

/// A title for the conversation, as a model proposes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryTitleSuggested {
    /// True when there is a proposal.
    pub success: bool,
    /// The title. Text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Whether another app may now look things up in a conversation of the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryScopeUpdated {
    /// True when it may.
    pub success: bool,
    /// What went wrong, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The conversation, if the wish named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The app, or `Global` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_app: Option<String>,
}

/// Whether a conversation of the library has a new title.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryRenamed {
    /// True when it has.
    pub success: bool,
    /// What went wrong, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The conversation, if the wish named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The title. Text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// A conversation of the library, to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryConversationData {
    /// True when there is such a conversation.
    pub success: bool,
    /// What went wrong, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The conversation, if the wish named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The conversation itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<LibraryRecord>,
}

/// A conversation as the library keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LibraryRecord {
    /// What is known of it.
    pub summary: LibraryConversation,
    /// Its messages as the library keeps them, oldest first; free form. Absent when only what they are about was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Map<String, Value>>>,
    /// Who took part; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participants: Option<Vec<Map<String, Value>>>,
    /// Why its messages were not kept, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_reason: Option<String>,
}

// ---------------------------------------------------------------------------------------------------------------
// Examples
// ---------------------------------------------------------------------------------------------------------------

/// One complete example per event of the family: its name without the family, and its `data` object.
///
/// The order is that of the payloads above. The examples go into the published schemas, the documentation and the
/// snapshot of the wire forms.
pub fn examples() -> Vec<(&'static str, Value)> {
    let fragment = json!({ "content": "Hel", "sequence": 0, "is_first": true, "mid": "9f8e7d6c" });
    let audio = json!({
        "content_base64": "UklGRg==", "mime_type": "audio/wav", "sequence_id": "seq1_1795218001.5_9f3a",
        "is_segment": true, "segment_index": 0, "total_segments": 4, "chunk_index": 1, "finished": false,
    });
    let image = json!({
        "title": "mask__sketch.png", "data": "data:image/png;base64,iVBORw0KGgo=", "mime_type": "image/png",
        "is_mask": true, "mask_for": "sketch.png", "display_data": "data:image/png;base64,iVBORw0KGgo=",
    });
    let message = |mid: &str, role: &str, text: &str| {
        json!({
            "mid": mid, "role": role, "text": text, "html": format!("<p>{text}</p>"), "lang": "en",
            "app_name": "ChatOpenAI", "active": true, "thinking": "A greeting.", "images": [image], "monadic": false,
            "tokens": 3, "metadata": { "vocabulary_map": { "CITY": "Kyoto" } },
        })
    };
    let library = json!({
        "conversation_id": "6f1c2f5e-8d0a-4a52-9a7f-0b9d6c3e1a24", "content_type": "conversation",
        "title": "A trip to Kyoto", "source": "monadic-chat", "language": "en", "license": "private",
        "scope_app": "ChatOpenAI", "messages_count": 12, "turns_count": 6, "duration_seconds": 840.0,
        "topics": ["travel"], "created_at": "2026-11-19T08:15:00Z",
    });
    let conversation_id = "6f1c2f5e-8d0a-4a52-9a7f-0b9d6c3e1a24";
    vec![
        (
            "wait",
            json!({
                "content": "Writing the program", "source": "OpenAICodeAgent", "elapsed_seconds": 180,
                "remaining_seconds": 1020,
                "step_progress": {
                    "mode": "sequential", "current": 1, "total": 3, "steps": ["Planning", "Writing", "Checking"],
                },
            }),
        ),
        ("fragment", fragment.clone()),
        ("streaming_complete", json!({ "mid": "9f8e7d6c" })),
        ("clear_fragments", json!({ "mid": "9f8e7d6c" })),
        ("thinking", json!({ "content": "Two ways lead there: ", "mid": "9f8e7d6c" })),
        ("reasoning", json!({ "content": "Step one", "mid": "9f8e7d6c" })),
        ("tool_executing", json!({ "tool_name": "fetch_web_content" })),
        ("turn_finished", json!({ "finish_reason": "stop" })),
        ("cleared", json!({})),
        ("cancel", json!({})),
        (
            "processing_status",
            json!({ "content": "The answer takes longer than usual", "details": { "reasoning_effort": "high" } }),
        ),
        ("system_info", json!({ "content": "Another model answers.", "details": { "model": "gpt-4.1" } })),
        ("success", json!({ "content": "Saved" })),
        ("notice", json!({ "content": "The configuration was updated" })),
        (
            "error",
            json!({ "message": "No next message could be written", "key": "ai_user_error", "details": "timeout" }),
        ),
        ("user", json!({ "message": message("a1b2c3d4", "user", "Hi") })),
        ("html", json!({ "message": message("9f8e7d6c", "assistant", "Hello"), "more_coming": false })),
        ("change_status", json!({ "messages": [{ "mid": "a1b2c3d4", "active": false }] })),
        (
            "edit_success",
            json!({
                "content": "The message was changed", "mid": "a1b2c3d4", "role": "user", "text": "Hi there",
                "html": "<p>Hi there</p>", "images": [image],
            }),
        ),
        (
            "display_sample",
            json!({
                "mid": "0a0b0c0d", "role": "assistant", "text": "Sample", "html": "<p>Sample</p>",
                "badge": "<span>Assistant</span>",
            }),
        ),
        ("sample_success", json!({ "role": "assistant" })),
        ("ai_user_started", json!({})),
        ("ai_user", json!({ "content": "What about tomorrow?" })),
        ("ai_user_finished", json!({ "content": "What about tomorrow?" })),
        (
            "apps",
            json!({
                "apps": { "ChatOpenAI": { "display_name": "Chat", "group": "OpenAI" } }, "version": "1.0.0",
                "docker": true, "current_app_name": "ChatOpenAI", "from_import": false,
            }),
        ),
        (
            "parameters",
            json!({
                "parameters": { "app_name": "ChatOpenAI", "model": "gpt-4.1" }, "from_param_update": true,
                "from_import": false,
            }),
        ),
        (
            "past_messages",
            json!({
                "messages": [message("a1b2c3d4", "user", "Hi"), message("9f8e7d6c", "assistant", "Hello")],
                "from_initial_load": true, "from_import": false,
            }),
        ),
        (
            "stats",
            json!({
                "changed": false, "count_messages": 2, "count_active_messages": 2, "count_total_system_tokens": 0,
                "count_total_input_tokens": 3, "count_total_output_tokens": 5, "count_total_active_tokens": 8,
                "count_all_tokens": 8, "encoding_name": "o200k_base", "error": "The last message was not counted",
            }),
        ),
        ("language_updated", json!({ "language": "ar", "language_name": "Arabic", "text_direction": "rtl" })),
        ("context_extraction_started", json!({})),
        (
            "context_update",
            json!({
                "context": { "people": ["Maria"] }, "schema": { "fields": [{ "name": "people" }] },
                "from_import": false,
            }),
        ),
        ("voices", json!({ "provider": "elevenlabs", "voices": [{ "voice_id": "v1", "name": "Rachel" }] })),
        ("mcp_status", json!({ "enabled": true, "port": 3100, "running": true })),
        ("stt", json!({ "content": "hello there", "confidence": 0.93 })),
        ("stt_partial", json!({ "content": "hello" })),
        ("audio", audio.clone()),
        ("fragment_with_audio", json!({ "fragment": fragment, "audio": audio })),
        ("web_speech", json!({ "content": "Read me aloud" })),
        ("tts_progress", json!({ "segment_index": 0, "total_segments": 4, "progress_percent": 25.0 })),
        ("tts_complete", json!({ "total_segments": 4 })),
        ("tts_stopped", json!({})),
        (
            "tts_notice",
            json!({
                "notice_type": "partial", "played_segments": 9, "total_segments": 14, "played_bytes": 3904,
                "total_bytes": 6120,
            }),
        ),
        (
            "token_verified",
            json!({
                "token": "example-key", "content": "The key works",
                "ai_user_initial_prompt": "You are the person who asks",
            }),
        ),
        ("token_not_verified", json!({})),
        ("open_ai_api_error", json!({})),
        ("pdf_titles", json!({ "titles": ["manual.pdf"] })),
        ("pdf_deleted", json!({ "success": true, "content": "manual.pdf was deleted" })),
        (
            "privacy_state",
            json!({
                "enabled": true, "registry_count": 3, "error": "The masking service does not answer",
                "detection": { "language": "en", "reliable": true, "locked": true, "attempts": 1 },
            }),
        ),
        ("privacy_toggle_ack", json!({ "enabled": false, "error": "privacy_container_unreachable" })),
        (
            "privacy_registry",
            json!({
                "enabled": true,
                "entries": [{ "placeholder": "<<PERSON_1>>", "original": "Maria", "entity_type": "PERSON" }],
            }),
        ),
        (
            "privacy_export_data",
            json!({
                "filename": "conversation.json", "content_base64": "e30=", "mime_type": "application/json",
                "encrypted": false, "export_content": "masked",
            }),
        ),
        (
            "privacy_export_error",
            json!({
                "error": "invalid_content", "details": "there is no content `some`",
                "valid_content": ["restored", "masked"],
            }),
        ),
        ("verify_confidence_start", json!({ "mid": "9f8e7d6c" })),
        (
            "verify_confidence",
            json!({
                "mid": "9f8e7d6c", "confidence": "medium", "score": 0.7, "corroboration": "partial",
                "recommendation": "verify", "consensus": "The bridge is open.",
                "disagreements": ["When it was opened"],
                "responses": [{
                    "provider": "openai", "model": "gpt-4.1", "success": true, "text": "The bridge is open.",
                    "error": "The answer was cut off",
                }],
                "panel_count": 3, "cross_provider": true, "moderator": { "provider": "openai", "model": "gpt-4.1" },
                "note": "One model did not answer", "judge_error": "The second comparison failed",
            }),
        ),
        ("library_conversations", json!({ "conversations": [library], "error": "The library answers slowly" })),
        (
            "library_stats",
            json!({
                "conversations_total": 7, "conversations_by_scope": { "ChatOpenAI": 2, "Global": 5 },
                "error": "The library answers slowly",
            }),
        ),
        (
            "library_deleted",
            json!({ "success": true, "content": "The conversation is gone", "conversation_id": conversation_id }),
        ),
        (
            "library_saved",
            json!({
                "success": true, "content": "The conversation was saved", "conversation_id": conversation_id,
                "updated": false, "scope_app": "ChatOpenAI", "counts": { "summary": 1, "turns": 6 },
            }),
        ),
        ("library_rag_state", json!({ "enabled": true })),
        ("library_title_suggested", json!({ "success": true, "title": "A trip to Kyoto" })),
        (
            "library_scope_updated",
            json!({
                "success": false, "content": "An app must be named", "conversation_id": conversation_id,
                "scope_app": "Global",
            }),
        ),
        (
            "library_renamed",
            json!({
                "success": false, "content": "A title must not be blank", "conversation_id": conversation_id,
                "title": "A trip to Kyoto",
            }),
        ),
        (
            "library_conversation_data",
            json!({
                "success": true, "content": "Found", "conversation_id": conversation_id,
                "conversation": {
                    "summary": library, "messages": [{ "role": "user", "text": "Where to?" }],
                    "participants": [{ "id": "p1", "role": "user" }], "skipped_reason": "Only the newest were kept",
                },
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_provider_is_never_printed() {
        let (_, example) = examples().into_iter().find(|(name, _)| *name == "token_verified").unwrap();
        let payload: TokenVerified = serde_json::from_value(example).unwrap();
        assert_eq!(payload.token.as_deref(), Some("example-key"));
        let event = crate::catalog::Event::from(payload);
        assert!(!format!("{event:?}").contains("example-key"));
    }

    #[test]
    fn a_fragment_says_whether_it_begins_a_text_even_when_its_producer_did_not() {
        let fragment: Fragment = serde_json::from_value(json!({ "content": "a", "sequence": null })).unwrap();
        assert_eq!(serde_json::to_value(&fragment).unwrap(), json!({ "content": "a", "is_first": false }));
    }

    #[test]
    fn words_of_a_later_version_pass_unchanged() {
        for word in ["banner", "tool"] {
            let role: MessageRole = serde_json::from_value(json!(word)).unwrap();
            assert_eq!(serde_json::to_value(&role).unwrap(), json!(word));
        }
        let voices: Voices = serde_json::from_value(json!({ "provider": "later", "voices": [] })).unwrap();
        assert_eq!(voices.provider, VoiceProvider::Other("later".to_owned()));
    }

    #[test]
    fn what_could_not_be_counted_is_absent() {
        let stats = json!({
            "changed": false, "count_messages": 2, "count_active_messages": 0, "count_all_tokens": null,
            "error": "no tokenizer",
        });
        let stats: Stats = serde_json::from_value(stats).unwrap();
        assert_eq!(stats.count_all_tokens, None);
        assert!(!serde_json::to_string(&stats).unwrap().contains("tokens"));
    }
}
