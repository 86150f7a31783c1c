//! THE table: every event type on one screen.
//!
//! A row says the type's name, its payload, the audiences it may be addressed to, how it is delivered, and one sentence
//! for the people who read events in a frontend. Where the payload says which part of a session may see an event, the row
//! ends with the function that reads it (ROUTE-04), and where an event is about what a user does, with the one that reads
//! whom it need not be told to (ROUTE-06). The enums, the decoder, typed addressing, the schemas, the reference
//! and the snapshots all come out of this table (EVT-01); nothing about an event type is written anywhere else.

use std::sync::LazyLock;

use serde_json::value::RawValue;

use crate::{
    address::{AddressedTo, AdwLayer, Audience, AudienceKind, Visibility, to},
    bounds::Bounds,
    error::{ErrorBody, ErrorCode},
    event::{Payload, adw, chat, connection, context, mcp, metrics, product},
};

/// How events of a type are kept and delivered (FLOW-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Numbered and kept in the log; a receiver gets every one of them.
    Durable,
    /// Numbered and kept like `Durable`; waiting parts of one key may be joined into one event.
    Append {
        /// The payload member whose value tells texts apart. Parts without it belong to one text.
        key: &'static str,
        /// How each payload member joins.
        joins: &'static [(&'static str, Join)],
    },
    /// Not numbered. The newest value of each key is kept, and given to new subscribers.
    Latest {
        /// The payload member whose value is the key. Without it there is one key for each audience.
        key: &'static str,
    },
    /// Not numbered, not kept, dropped first.
    Volatile,
}

impl Delivery {
    /// Whether events are numbered and kept in the log, unless they go to one connection only.
    pub const fn is_logged(self) -> bool {
        matches!(self, Self::Durable | Self::Append { .. })
    }

    /// The class as the specification names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Append { .. } => "append",
            Self::Latest { .. } => "latest",
            Self::Volatile => "volatile",
        }
    }

    /// The payload member that is the key, for the classes that have one.
    pub const fn key(self) -> Option<&'static str> {
        match self {
            Self::Append { key, .. } | Self::Latest { key } => Some(key),
            Self::Durable | Self::Volatile => None,
        }
    }
}

/// How one member of two `append` parts becomes the member of their joined event (FLOW-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Strings, put one behind the other, byte for byte.
    Concatenate,
    /// Must be equal in both, or the parts are not joined.
    Same,
    /// A boolean that is true on the last part of a text: nothing is joined behind a true one.
    End,
    /// A boolean that is true on the first part of a text: nothing is joined in front of a true one.
    Start,
    /// That of the earlier part.
    First,
}

/// One row of the catalog.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec {
    /// The type this row is about.
    pub event_type: EventType,
    /// `<family>.<name>`.
    pub name: &'static str,
    /// The part before the dot.
    pub family: &'static str,
    /// Name of the payload type.
    pub payload: &'static str,
    /// Whom events may be addressed to.
    pub audiences: &'static [AudienceKind],
    /// How events are kept and delivered.
    pub delivery: Delivery,
    /// Whether events to an ADW go to its verbatim layer, which needs a permission of its own.
    pub layer: AdwLayer,
    /// Whether the payload says which part of a session may see an event (ROUTE-04).
    pub visibility_in_payload: bool,
    /// One sentence for frontend readers.
    pub summary: &'static str,
}

impl EventSpec {
    /// EVT-07: whether the server alone says this, about the connection itself.
    pub fn is_the_servers_own(&self) -> bool {
        self.family == "connection"
    }

    /// Some audience that events of this type may be addressed to.
    #[cfg(test)]
    pub(crate) fn an_audience(&self) -> Audience {
        let text = match self.audiences.first() {
            Some(AudienceKind::Connection) => "connection:c0000000000000001",
            Some(AudienceKind::Session) => "session:session_abc123",
            Some(AudienceKind::User) => "user:user-123",
            Some(AudienceKind::Adw) => "adw:29fb6a3e",
            Some(AudienceKind::Room) => "room:tasks",
            Some(AudienceKind::Global) | None => "global",
        };
        text.parse().unwrap()
    }

    /// EVT-02: whether an event of this type may be addressed so; the part of the audience it belongs to if it may, as
    /// far as the type decides about that.
    ///
    /// # Errors
    /// `audience_not_allowed`, naming the kinds that are allowed.
    pub fn admit(&self, audience: Audience) -> Result<Audience, ErrorBody> {
        if audience.is_part() || !self.audiences.contains(&audience.kind()) {
            let allowed: Vec<_> = self.audiences.iter().map(|kind| kind.as_str()).collect();
            return Err(ErrorBody::new(
                ErrorCode::AudienceNotAllowed,
                format!("{} may be addressed to {}, not to {audience}", self.name, allowed.join(", ")),
            ));
        }
        Ok(match audience {
            Audience::Adw(id, _) => Audience::Adw(id, self.layer),
            other => other,
        })
    }
}

macro_rules! catalog {
    ($(
        $(#[$cfg:meta])*
        $variant:ident = $family:literal . $name:literal, $module:ident::$payload:ident,
        to [$($audience:ident)+], $delivery:expr, $layer:ident,
        $summary:literal $(, seen by $visibility:path)? $(, sparing $author:path)?;
    )+) => {
        /// Every event type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum EventType {
            $(#[doc = $summary] $variant,)+
        }

        impl EventType {
            /// Every type, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The row of this type.
            pub const fn spec(self) -> &'static EventSpec {
                match self {
                    $(Self::$variant => const { &EventSpec {
                        event_type: Self::$variant,
                        name: concat!($family, ".", $name),
                        family: $family,
                        payload: stringify!($payload),
                        audiences: &[$(AudienceKind::$audience,)+],
                        delivery: $delivery,
                        layer: AdwLayer::$layer,
                        visibility_in_payload: !concat!("" $(, stringify!($visibility))?).is_empty(),
                        summary: $summary,
                    } },)+
                }
            }

            /// The type of this name, if the catalog has it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(concat!($family, ".", $name) => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// EVT-08: the bounds of the payload's members, read when they are first needed.
            pub(crate) fn bounds(self) -> &'static Bounds {
                match self {
                    $(Self::$variant => {
                        static BOUNDS: LazyLock<Bounds> = LazyLock::new(|| Bounds::of(EventType::$variant));
                        &BOUNDS
                    })+
                }
            }

            /// The schema of the payload, with the definitions it needs added to the generator.
            pub fn payload_schema(self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                match self {
                    $(Self::$variant => generator.subschema_for::<$module::$payload>(),)+
                }
            }
        }

        /// A decoded event: its type and its payload.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $(#[doc = $summary] $variant($module::$payload),)+
        }

        impl Event {
            /// The type of this event.
            pub const fn event_type(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant,)+ }
            }

            /// Reads a payload of the type.
            ///
            /// # Errors
            /// `invalid_payload`, saying which member is wrong.
            pub fn from_payload(event_type: EventType, data: &RawValue) -> Result<Self, ErrorBody> {
                match event_type {
                    $(EventType::$variant => read::<$module::$payload>(event_type, data).map(Self::$variant),)+
                }
            }

            /// ROUTE-04: the part of a session that may see this event.
            pub fn visibility(&self) -> Visibility {
                match self { $(Self::$variant(payload) => payload.visibility(),)+ }
            }

            /// ROUTE-06: the user who is left out.
            pub fn spares(&self) -> Option<&crate::id::UserId> {
                match self { $(Self::$variant(payload) => payload.spares(),)+ }
            }

            /// Writes the payload.
            ///
            /// # Errors
            /// What serde_json says; payloads of the catalog have none.
            pub fn payload(&self) -> serde_json::Result<Box<RawValue>> {
                match self { $(Self::$variant(payload) => serde_json::value::to_raw_value(payload),)+ }
            }
        }

        $(
            impl crate::event::sealed::Sealed for $module::$payload {}

            impl Payload for $module::$payload {
                const TYPE: EventType = EventType::$variant;

                $(fn visibility(&self) -> Visibility {
                    $visibility(self)
                })?

                $(fn spares(&self) -> Option<&crate::id::UserId> {
                    $author(self)
                })?
            }

            impl From<$module::$payload> for Event {
                fn from(payload: $module::$payload) -> Self {
                    Self::$variant(payload)
                }
            }

            impl TryFrom<Event> for $module::$payload {
                type Error = Event;

                fn try_from(event: Event) -> Result<Self, Event> {
                    match event {
                        Event::$variant(payload) => Ok(payload),
                        other => Err(other),
                    }
                }
            }

            $(
                // Who addresses a type of their own is not helped by a list of others.
                #[diagnostic::do_not_recommend]
                impl AddressedTo<to::$audience> for $module::$payload {}
            )+
        )+
    };
}

fn read<P: Payload>(event_type: EventType, data: &RawValue) -> Result<P, ErrorBody> {
    serde_json::from_str(data.get()).map_err(|error| {
        let unreadable =
            || ErrorBody::new(ErrorCode::InvalidPayload, format!("data of {}: {error}", event_type.spec().name));
        event_type.bounds().explain(data).unwrap_or_else(unreadable)
    })
}

impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.spec().name)
    }
}

use Delivery::{Durable, Latest, Volatile};

const CHAT_STREAM: Delivery = Delivery::Append {
    key: "orchestrator_agent_id",
    joins: &[
        ("adw_id", Join::Same),
        ("content", Join::Concatenate),
        ("stream_type", Join::Same),
        ("is_complete", Join::End),
        ("orchestrator_agent_id", Join::Same),
    ],
};
const BY_ADW: Delivery = Latest { key: "adw_id" };
// A part that begins a text clears what is shown of the one before, so the two are never one event.
const FRAGMENT: Delivery = Delivery::Append {
    key: "mid",
    joins: &[("content", Join::Concatenate), ("sequence", Join::First), ("is_first", Join::Start), ("mid", Join::Same)],
};
const THOUGHTS: Delivery =
    Delivery::Append { key: "mid", joins: &[("content", Join::Concatenate), ("mid", Join::Same)] };
const NEWEST: Delivery = Latest { key: "" };
const BY_PROVIDER: Delivery = Latest { key: "provider" };

const MESSAGE_CHUNK: Delivery = Delivery::Append {
    key: "message_id",
    joins: &[
        ("message_id", Join::Same),
        ("session_id", Join::Same),
        ("content", Join::Concatenate),
        ("is_complete", Join::End),
    ],
};
const BY_DOCUMENT: Delivery = Latest { key: "document_id" };

#[rustfmt::skip]
catalog! {
    ConnectionWelcome      = "connection"."welcome",      connection::Welcome,      to [Connection], Durable,  Blocks, "First event of a connection: who you are and the limits you live under.";
    ConnectionPong         = "connection"."pong",         connection::Pong,         to [Connection], Durable,  Blocks, "Answer to `ping`.";
    ConnectionHeartbeat    = "connection"."heartbeat",    connection::Heartbeat,    to [Connection], Volatile, Blocks, "The connection is alive; how far your streams have been sent.";
    ConnectionSubscribed   = "connection"."subscribed",   connection::Subscribed,   to [Connection], Durable,  Blocks, "Answer to `subscribe`: what you now receive and what was refused.";
    ConnectionUnsubscribed = "connection"."unsubscribed", connection::Unsubscribed, to [Connection], Durable,  Blocks, "What you no longer receive.";
    ConnectionReplaying    = "connection"."replaying",    connection::Replaying,    to [Connection], Durable,  Blocks, "Older events of a stream follow.";
    ConnectionRecovered    = "connection"."recovered",    connection::Recovered,    to [Connection], Durable,  Blocks, "The replay of a stream is complete.";
    ConnectionGap          = "connection"."gap",          connection::Gap,          to [Connection], Durable,  Blocks, "Events of a stream that can no longer be had.";
    ConnectionError        = "connection"."error",        connection::Error,        to [Connection], Durable,  Blocks, "Something you sent was refused.";
    ConnectionReply        = "connection"."reply",        connection::Reply,        to [Connection], Durable,  Blocks, "Answer to a command that has no event of its own.";
    ConnectionClosing      = "connection"."closing",      connection::Closing,      to [Connection], Durable,  Blocks, "The server is about to close this connection.";

    AdwAgentLog                   = "adw"."agent_log",                    adw::AgentLog,                   to [Adw Connection],        Durable,     Blocks, "One line for the log of a run.";
    AdwAgentSummaryUpdate         = "adw"."agent_summary_update",         adw::AgentSummaryUpdate,         to [Adw],                   BY_ADW,      Blocks, "Where a run stands now.";
    AdwChatStream                 = "adw"."chat_stream",                  adw::ChatStream,                 to [Adw],                   CHAT_STREAM, Blocks, "A piece of text as it is being written.";
    AdwThinkingBlock              = "adw"."thinking_block",               adw::ThinkingBlock,              to [Adw],                   Durable,     Blocks, "A finished block of an agent's thinking.";
    AdwToolUsePre                 = "adw"."tool_use_pre",                 adw::ToolUsePre,                 to [Adw],                   Durable,     Blocks, "An agent is about to use a tool.";
    AdwToolUsePost                = "adw"."tool_use_post",                adw::ToolUsePost,                to [Adw],                   Durable,     Blocks, "A tool has answered an agent.";
    AdwFileChanged                = "adw"."file_changed",                 adw::FileChanged,                to [Adw],                   Durable,     Blocks, "An agent has read or changed a file.";
    AdwSummaryUpdate              = "adw"."summary_update",               adw::SummaryUpdate,              to [Adw],                   Durable,     Blocks, "A summary of a file change, a tool use or a session.";
    AdwTextBlock                  = "adw"."text_block",                   adw::TextBlock,                  to [Adw],                   Durable,     Blocks, "A finished block of text from an agent.";
    AdwWorkflowPhaseTransition    = "adw"."workflow_phase_transition",    adw::WorkflowPhaseTransition,    to [Adw],                   Durable,     Blocks, "A run has entered another phase.";
    AdwAgentOutputChunk           = "adw"."agent_output_chunk",           adw::AgentOutputChunk,           to [Adw],                   Durable,     Raw,    "A verbatim piece of an agent's output.";
    AdwScreenshotAvailable        = "adw"."screenshot_available",         adw::ScreenshotAvailable,        to [Adw],                   Durable,     Blocks, "A screenshot can be fetched.";
    AdwSpecCreated                = "adw"."spec_created",                 adw::SpecCreated,                to [Adw],                   Durable,     Blocks, "A plan or another specification has been written.";
    AdwSystemLog                  = "adw"."system_log",                   adw::SystemLog,                  to [Global Adw],            Durable,     Blocks, "A line for the log of the whole system.";
    AdwTriggerResponse            = "adw"."trigger_response",             adw::TriggerResponse,            to [Connection],            Durable,     Blocks, "Whether a workflow that you asked for was started.";
    AdwStatusUpdate               = "adw"."status_update",                adw::StatusUpdate,               to [Adw Connection Global], BY_ADW,      Blocks, "Where a workflow stands now.";
    AdwWorkflowLog                = "adw"."workflow_log",                 adw::WorkflowLog,                to [Adw Global],            Durable,     Blocks, "One line for the log of a workflow.";
    AdwStageTransition            = "adw"."stage_transition",             adw::StageTransition,            to [Adw Global],            Durable,     Blocks, "A workflow's ticket has moved to another stage.";
    AdwSessionRegistered          = "adw"."session_registered",           adw::SessionRegistered,          to [Connection],            Durable,     Blocks, "Your session has been registered.";
    AdwTicketNotificationResponse = "adw"."ticket_notification_response", adw::TicketNotificationResponse, to [Connection],            Durable,     Blocks, "Whether your ticket was received.";
    AdwAgentCreated               = "adw"."agent_created",                adw::AgentCreated,               to [Adw],                   Durable,     Blocks, "A run has a new agent.";
    AdwAgentUpdated               = "adw"."agent_updated",                adw::AgentUpdated,               to [Adw],                   Durable,     Blocks, "What is known of a run's agent has changed.";
    AdwAgentDeleted               = "adw"."agent_deleted",                adw::AgentDeleted,               to [Adw],                   Durable,     Blocks, "A run's agent is gone.";
    AdwAgentStatusChange          = "adw"."agent_status_change",          adw::AgentStatusChange,          to [Adw],                   Durable,     Blocks, "A run's agent has changed its state.";
    AdwOrchestratorUpdated        = "adw"."orchestrator_updated",         adw::OrchestratorUpdated,        to [Global],                Latest { key: "" }, Blocks, "What is known of the orchestrating agent has changed.";
    AdwChatMessage                = "adw"."chat_message",                 adw::ChatMessage,                to [Global],                Durable,     Blocks, "A message in the chat with the orchestrating agent.";
    AdwTypingIndicator            = "adw"."typing_indicator",             adw::TypingIndicator,            to [Global],                Volatile,    Blocks, "The orchestrating agent is writing, or has stopped.";

    // Latest: only the newest line is shown. A page of Monadic Chat that joins does not get it (FLOW-10).
    ChatWait                     = "chat"."wait",                       chat::Wait,                     to [Session],            NEWEST,      Blocks, "A long operation goes on.";
    ChatFragment                 = "chat"."fragment",                   chat::Fragment,                 to [Session],            FRAGMENT,    Blocks, "A piece of the answer as it is being written.";
    // Durable, as what begins a text anew or ends it must stay between the pieces that it divides.
    ChatStreamingComplete        = "chat"."streaming_complete",         chat::StreamingComplete,        to [Session],            Durable,     Blocks, "The answer has been written to its end.";
    ChatClearFragments           = "chat"."clear_fragments",            chat::ClearFragments,           to [Session],            Durable,     Blocks, "What was written of the answer so far no longer counts.";
    ChatThinking                 = "chat"."thinking",                   chat::Thinking,                 to [Session],            THOUGHTS,    Blocks, "A piece of the model's thinking.";
    ChatReasoning                = "chat"."reasoning",                  chat::Reasoning,                to [Session],            THOUGHTS,    Blocks, "A piece of the model's reasoning.";
    ChatToolExecuting            = "chat"."tool_executing",             chat::ToolExecuting,            to [Session],            Durable,     Blocks, "The model uses a tool.";
    ChatTurnFinished             = "chat"."turn_finished",              chat::TurnFinished,             to [Session],            Durable,     Blocks, "The model has stopped writing.";
    ChatCleared                  = "chat"."cleared",                    chat::Cleared,                  to [Session],            Durable,     Blocks, "The text area of the answer is to be emptied.";
    ChatCancel                   = "chat"."cancel",                     chat::Cancel,                   to [Session],            Durable,     Blocks, "What was under way has been cancelled.";
    ChatProcessingStatus         = "chat"."processing_status",          chat::ProcessingStatus,         to [Session],            Durable,     Blocks, "Something takes its time.";
    ChatSystemInfo               = "chat"."system_info",                chat::SystemInfo,               to [Session],            Durable,     Blocks, "The application says something in the conversation.";
    ChatSuccess                  = "chat"."success",                    chat::Success,                  to [Session],            Durable,     Blocks, "Something succeeded.";
    ChatNotice                   = "chat"."notice",                     chat::Notice,                   to [Session Connection], Durable,     Blocks, "A passing remark of the application.";
    ChatError                    = "chat"."error",                      chat::Error,                    to [Session Connection], Durable,     Blocks, "Something failed in the application.";
    ChatUser                     = "chat"."user",                       chat::User,                     to [Session],            Durable,     Blocks, "The person's message was taken in.";
    ChatHtml                     = "chat"."html",                       chat::Html,                     to [Session],            Durable,     Blocks, "A finished message.";
    // Durable: it may name some of the messages only, and has to come behind those that it names.
    ChatChangeStatus             = "chat"."change_status",              chat::ChangeStatus,             to [Session],            Durable,     Blocks, "Messages that the model now sees, or no longer sees.";
    ChatEditSuccess              = "chat"."edit_success",               chat::EditSuccess,              to [Session],            Durable,     Blocks, "A message was changed.";
    ChatDisplaySample            = "chat"."display_sample",             chat::DisplaySample,            to [Session],            Durable,     Blocks, "An example message is to be shown.";
    ChatSampleSuccess            = "chat"."sample_success",             chat::SampleSuccess,            to [Session],            Durable,     Blocks, "The example message was added.";
    ChatAiUserStarted            = "chat"."ai_user_started",            chat::AiUserStarted,            to [Session],            Durable,     Blocks, "A program begins to write what the person might say.";
    ChatAiUser                   = "chat"."ai_user",                    chat::AiUser,                   to [Session],            Durable,     Blocks, "What the person might say next.";
    ChatAiUserFinished           = "chat"."ai_user_finished",           chat::AiUserFinished,           to [Session],            Durable,     Blocks, "The program has written what the person might say.";
    // Latest: each says how the session stands as a whole, and a new tab begins with the newest of each.
    ChatApps                     = "chat"."apps",                       chat::Apps,                     to [Session],            NEWEST,      Blocks, "The apps that can be chosen.";
    ChatParameters               = "chat"."parameters",                 chat::Parameters,               to [Session],            NEWEST,      Blocks, "The parameters of the session.";
    ChatPastMessages             = "chat"."past_messages",              chat::PastMessages,             to [Session],            NEWEST,      Blocks, "The conversation as it was at this time.";
    ChatStats                    = "chat"."stats",                      chat::Stats,                    to [Session],            NEWEST,      Blocks, "How large the conversation is.";
    ChatLanguageUpdated          = "chat"."language_updated",           chat::LanguageUpdated,          to [Session],            Durable,     Blocks, "The conversation goes on in another language.";
    // Durable, both: a newer update that took the place of an older one could overtake the start that it ends.
    ChatContextExtractionStarted = "chat"."context_extraction_started", chat::ContextExtractionStarted, to [Session],            Durable,     Blocks, "What is worth remembering of the conversation is being looked for.";
    ChatContextUpdate            = "chat"."context_update",             chat::ContextUpdate,            to [Session],            Durable,     Blocks, "What is remembered of the conversation.";
    ChatVoices                   = "chat"."voices",                     chat::Voices,                   to [Global],             BY_PROVIDER, Blocks, "The voices of one provider.";
    // Latest, though nothing keeps what goes to one connection: a newer one takes the place of one that still waits.
    ChatMcpStatus                = "chat"."mcp_status",                 chat::McpStatus,                to [Connection],         NEWEST,      Blocks, "Whether other programs can use the application's tools.";
    ChatStt                      = "chat"."stt",                        chat::Stt,                      to [Session],            Durable,     Blocks, "What the person said, as text.";
    // Volatile: each holds the whole text so far, and none is worth anything behind `chat.stt`.
    ChatSttPartial               = "chat"."stt_partial",                chat::SttPartial,               to [Session],            Volatile,    Blocks, "What has been understood so far of what the person is saying.";
    // Durable: a clip with a hole in it does not play.
    ChatAudio                    = "chat"."audio",                      chat::Audio,                    to [Session],            Durable,     Blocks, "Speech, or a chunk of it.";
    ChatFragmentWithAudio        = "chat"."fragment_with_audio",        chat::FragmentWithAudio,        to [Session],            Durable,     Blocks, "A piece of the answer with its speech.";
    ChatWebSpeech                = "chat"."web_speech",                 chat::WebSpeech,                to [Session],            Durable,     Blocks, "Text that the browser is to speak.";
    ChatTtsProgress              = "chat"."tts_progress",               chat::TtsProgress,              to [Session],            NEWEST,      Blocks, "How far a text has been turned into speech.";
    ChatTtsComplete              = "chat"."tts_complete",               chat::TtsComplete,              to [Session],            Durable,     Blocks, "A text has been turned into speech.";
    ChatTtsStopped               = "chat"."tts_stopped",                chat::TtsStopped,               to [Session],            Durable,     Blocks, "The speech has been stopped.";
    ChatTtsNotice                = "chat"."tts_notice",                 chat::TtsNotice,                to [Session],            Durable,     Blocks, "How much of a text is going to be spoken.";
    ChatTokenVerified            = "chat"."token_verified",             chat::TokenVerified,            to [Connection],         Durable,     Blocks, "The key for the model provider works.";
    ChatTokenNotVerified         = "chat"."token_not_verified",         chat::TokenNotVerified,         to [Connection],         Durable,     Blocks, "There is no key for the model provider that works.";
    ChatOpenAiApiError           = "chat"."open_ai_api_error",          chat::OpenAiApiError,           to [Connection],         Durable,     Blocks, "The model provider could not be asked about the key.";
    ChatPdfTitles                = "chat"."pdf_titles",                 chat::PdfTitles,                to [Connection],         Durable,     Blocks, "The PDF documents that there are.";
    ChatPdfDeleted               = "chat"."pdf_deleted",                chat::PdfDeleted,               to [Connection],         Durable,     Blocks, "Whether a PDF document was deleted.";
    ChatPrivacyState             = "chat"."privacy_state",              chat::PrivacyState,             to [Session Connection], NEWEST,      Blocks, "Whether personal data is masked.";
    ChatPrivacyToggleAck         = "chat"."privacy_toggle_ack",         chat::PrivacyToggleAck,         to [Connection],         Durable,     Blocks, "Whether your wish to mask personal data was fulfilled.";
    // To one connection only, so that no log ever holds the personal data itself.
    ChatPrivacyRegistry          = "chat"."privacy_registry",           chat::PrivacyRegistry,          to [Connection],         Durable,     Blocks, "What has been masked so far.";
    ChatPrivacyExportData        = "chat"."privacy_export_data",        chat::PrivacyExportData,        to [Connection],         Durable,     Blocks, "The conversation as a file.";
    ChatPrivacyExportError       = "chat"."privacy_export_error",       chat::PrivacyExportError,       to [Connection],         Durable,     Blocks, "The conversation was not exported.";
    ChatVerifyConfidenceStart    = "chat"."verify_confidence_start",    chat::VerifyConfidenceStart,    to [Session Connection], Durable,     Blocks, "Several models are being asked about an answer.";
    ChatVerifyConfidence         = "chat"."verify_confidence",          chat::VerifyConfidence,         to [Session Connection], Durable,     Blocks, "What several models say about an answer.";
    ChatLibraryConversations     = "chat"."library_conversations",      chat::LibraryConversations,     to [Connection],         Durable,     Blocks, "The conversations in the library.";
    ChatLibraryStats             = "chat"."library_stats",              chat::LibraryStats,             to [Connection],         Durable,     Blocks, "How much the library holds.";
    ChatLibraryDeleted           = "chat"."library_deleted",            chat::LibraryDeleted,           to [Connection],         Durable,     Blocks, "Whether a conversation was taken out of the library.";
    ChatLibrarySaved             = "chat"."library_saved",              chat::LibrarySaved,             to [Connection],         Durable,     Blocks, "Whether your conversation was put into the library.";
    ChatLibraryRagState          = "chat"."library_rag_state",          chat::LibraryRagState,          to [Connection],         Durable,     Blocks, "Whether the model looks things up in the library.";
    ChatLibraryTitleSuggested    = "chat"."library_title_suggested",    chat::LibraryTitleSuggested,    to [Connection],         Durable,     Blocks, "A title for your conversation.";
    ChatLibraryScopeUpdated      = "chat"."library_scope_updated",      chat::LibraryScopeUpdated,      to [Connection],         Durable,     Blocks, "Whether another app may use a conversation of the library.";
    ChatLibraryRenamed           = "chat"."library_renamed",            chat::LibraryRenamed,           to [Connection],         Durable,     Blocks, "Whether a conversation of the library has a new title.";
    ChatLibraryConversationData  = "chat"."library_conversation_data",  chat::LibraryConversationData,  to [Connection],         Durable,     Blocks, "A conversation of the library, to be read.";

    DocumentStatus  = "document"."status",   product::DocumentStatus,  to [User],   BY_DOCUMENT,   Blocks, "Where the processing of a document stands.";
    RagProgress     = "rag"."progress",      product::RagProgress,     to [User],   Durable,       Blocks, "A step on the way to the answer to a question; the last has the answer.";
    MessageChunk    = "message"."chunk",     product::MessageChunk,    to [User],   MESSAGE_CHUNK, Blocks, "A piece of a chat message as it is being written.";
    InstallProgress = "install"."progress",  product::InstallProgress, to [User],   Durable,       Blocks, "What happens in an installation, its terminal output included.";
    SessionExpiring = "session"."expiring",  product::SessionExpiring, to [User],   Durable,       Blocks, "Your login ends soon.";
    UserActivity    = "user"."activity",     product::UserActivity,    to [Global], Volatile,      Blocks, "What another user is doing at this moment.", sparing product::UserActivity::author;

    McpConnecting   = "mcp"."connecting",    mcp::Connecting,   to [Connection User], Durable, Blocks, "A connection to an MCP server is being made.";
    McpConnected    = "mcp"."connected",     mcp::Connected,    to [Connection User], Durable, Blocks, "An MCP server is reached and its tools can be used.";
    McpConnectError = "mcp"."connect_error", mcp::ConnectError, to [Connection User], Durable, Blocks, "An MCP server could not be reached.";
    McpToolResult   = "mcp"."tool_result",   mcp::ToolResult,   to [Connection User], Durable, Blocks, "A tool of an MCP server has answered.";
    McpDisconnected = "mcp"."disconnected",  mcp::Disconnected, to [Connection User], Durable, Blocks, "The connection to an MCP server has ended.";
    McpReconnecting = "mcp"."reconnecting",  mcp::Reconnecting, to [Connection User], Durable, Blocks, "The connection to an MCP server was lost and is being made again.";
    McpSseEvent     = "mcp"."sse_event",     mcp::SseEvent,     to [Connection User], Durable, Blocks, "Something that an MCP server sent, passed on as it came.";

    MetricsUpdate          = "metrics"."update",           metrics::MetricsUpdate,          to [Connection],      Latest { key: "" }, Blocks, "The figures of the dashboard, as they are now.";
    MetricsIntervalUpdated = "metrics"."interval_updated", metrics::MetricsIntervalUpdated, to [Connection],      Durable,            Blocks, "How often you now get figures.";
    TaskUpdate             = "task"."update",              metrics::TaskUpdate,             to [Room User],       Durable,            Blocks, "A task has changed its status.";
    TaskProgress           = "task"."progress",            metrics::TaskProgress,           to [Room User],       Volatile,           Blocks, "A sign of life of a task.";
    TaskComplete           = "task"."complete",            metrics::TaskComplete,           to [Room User],       Durable,            Blocks, "A task has ended well.";
    TaskFailed             = "task"."failed",              metrics::TaskFailed,             to [Room User],       Durable,            Blocks, "A task has ended badly.";
    TaskStopped            = "task"."stopped",             metrics::TaskStopped,            to [Room User],       Durable,            Blocks, "A person has stopped a task.";
    TaskToolExecution      = "task"."tool_execution",      metrics::TaskToolExecution,      to [Room User],       Durable,            Blocks, "A task uses a tool, or has used one.";
    AssistantResponse      = "assistant"."response",       metrics::AssistantResponse,      to [User Connection], Durable,            Blocks, "The assistant's answer to a message.";
    AssistantCommandResult = "assistant"."command_result", metrics::AssistantCommandResult, to [User Connection], Durable,            Blocks, "The outcome of a command in the chat.";
    AssistantCleared       = "assistant"."cleared",        metrics::AssistantCleared,       to [User Connection], Durable,            Blocks, "The chat was emptied.";

    ContextNewMessage    = "context"."new_message",    context::NewMessage,    to [Session],    Durable,            Blocks, "A message was added to a context.", seen by context::visibility_of;
    ContextSessionUpdate = "context"."session_update", context::SessionUpdate, to [Session],    Latest { key: "" }, Blocks, "Something about a context has changed.";
    ContextMemoryUpdate  = "context"."memory_update",  context::MemoryUpdate,  to [Session],    Durable,            Blocks, "An agent has written into its memory.";
    ContextTyping        = "context"."typing",         context::Typing,        to [Session],    Volatile,           Blocks, "Somebody in a context is writing, or has stopped.";
    ContextMessages      = "context"."messages",       context::Messages,      to [Connection], Durable,            Blocks, "Messages of a context that you asked for.";
    ContextSessionInfo   = "context"."session_info",   context::SessionInfo,   to [Connection], Durable,            Blocks, "What there is to know about a context that you asked about.";
    // Families stand in the order in which they were added.
}

/// One complete payload for each event type, in the order of the table.
pub fn examples() -> Vec<(EventType, serde_json::Value)> {
    // A module with several families names its examples in full.
    let modules = [
        ("connection.", connection::examples()),
        ("adw.", adw::examples()),
        ("", product::examples()),
        ("mcp.", mcp::examples()),
        ("", metrics::examples()),
        ("context.", context::examples()),
        ("chat.", chat::examples()),
    ];
    let by_name = |event_type: &EventType| {
        let name = event_type.spec().name;
        let find = |(family, examples): &(&str, Vec<(&str, serde_json::Value)>)| {
            let rest = name.strip_prefix(family)?;
            examples.iter().find(|(of, _)| *of == rest).map(|(_, example)| example.clone())
        };
        Some((*event_type, modules.iter().find_map(find)?))
    };
    EventType::ALL.iter().filter_map(by_name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn evt_01_every_row_has_one_name_and_one_example_that_reads_back() {
        let examples = examples();
        assert_eq!(examples.len(), EventType::ALL.len());
        for (event_type, example) in examples {
            let spec = event_type.spec();
            assert_eq!(EventType::from_name(spec.name), Some(event_type));
            assert!(spec.summary.ends_with('.'), "{}", spec.name);
            assert!(!spec.audiences.is_empty(), "{}", spec.name);
            let raw = serde_json::value::to_raw_value(&example).unwrap();
            let event = Event::from_payload(event_type, &raw).unwrap();
            let written: serde_json::Value = serde_json::from_str(event.payload().unwrap().get()).unwrap();
            assert_eq!(written, example, "{}", spec.name);
        }
    }

    /// The members of a schema, and of the objects in it, that an example leaves out.
    fn left_out(
        schema: &Value,
        definitions: &serde_json::Map<String, Value>,
        example: &Value,
        at: &str,
    ) -> Vec<String> {
        let referred = |of: &Value| {
            let alternatives = of.get("anyOf").and_then(Value::as_array).into_iter().flatten();
            let mut named = std::iter::once(of).chain(alternatives).filter_map(|it| it.get("$ref")?.as_str());
            named.find_map(|name| definitions.get(name.rsplit('/').next()?))
        };
        let schema = referred(schema).unwrap_or(schema);
        if let (Some(items), Some(first)) = (schema.get("items"), example.get(0)) {
            return left_out(items, definitions, first, &format!("{at}[0]"));
        }
        let members = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        members
            .flat_map(|(name, member)| match example.get(name) {
                None => vec![format!("{at}.{name}")],
                Some(value) => left_out(member, definitions, value, &format!("{at}.{name}")),
            })
            .collect()
    }

    #[test]
    fn evt_01_every_example_has_every_member_of_its_payload() {
        for (event_type, example) in examples() {
            let mut generator = schemars::SchemaGenerator::default();
            let schema = event_type.payload_schema(&mut generator);
            let missing = left_out(schema.as_value(), generator.definitions(), &example, event_type.spec().name);
            assert_eq!(missing, Vec::<String>::new());
        }
    }

    #[test]
    fn flow_03_every_member_of_an_append_payload_says_how_it_joins() {
        let mut seen = 0;
        for event_type in EventType::ALL {
            let Delivery::Append { joins, key } = event_type.spec().delivery else {
                continue;
            };
            seen += 1;
            let mut generator = schemars::SchemaGenerator::default();
            let reference = event_type.payload_schema(&mut generator);
            let name = reference.get("$ref").and_then(|r| r.as_str()).and_then(|r| r.rsplit('/').next()).unwrap();
            let members = generator.definitions()[name]["properties"].as_object().unwrap();
            for member in members.keys() {
                assert!(joins.iter().any(|(of, _)| of == member), "{event_type}: {member}");
            }
            assert!(joins.iter().any(|(of, _)| *of == key));
        }
        assert!(seen > 0);
    }

    #[test]
    fn evt_02_an_audience_that_the_table_does_not_list_is_refused_by_name() {
        let error = EventType::AdwToolUsePre.spec().admit(Audience::Global).unwrap_err();
        assert_eq!(error.code, ErrorCode::AudienceNotAllowed);
        assert!(error.message.contains("adw"), "{error}");
        let id = "29fb6a3e".parse().unwrap();
        assert_eq!(
            EventType::AdwAgentOutputChunk.spec().admit(Audience::adw(id)).unwrap(),
            Audience::Adw(id, AdwLayer::Raw)
        );
        assert!(EventType::AdwToolUsePre.spec().admit(Audience::Adw(id, AdwLayer::Raw)).is_err());
    }
}
