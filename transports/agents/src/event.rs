//! What the source emits: one enum over the payload types of the `adw` family that a run's directory gives rise to.

use std::io;

use eventwire_protocol::{
    event::adw::{
        AgentLog, AgentOutputChunk, AgentSummaryUpdate, FileChanged, ScreenshotAvailable, SpecCreated, SummaryUpdate,
        TextBlock, ThinkingBlock, ToolUsePost, ToolUsePre, WorkflowPhaseTransition,
    },
    id::AdwId,
};
use serde::Serialize;

macro_rules! agent_events {
    ($($payload:ident = $name:literal),+ $(,)?) => {
        /// An event of one run, addressed to `adw:<id>` of that run.
        #[derive(Clone, Debug, PartialEq)]
        pub enum AgentEvent {
            $(
                #[doc = concat!("`adw.", $name, "`")]
                $payload($payload),
            )+
        }

        impl AgentEvent {
            /// The type as it stands on the wire, with the family: `adw.agent_log`.
            pub fn event_type(&self) -> &'static str {
                match self {
                    $( Self::$payload(_) => concat!("adw.", $name), )+
                }
            }

            /// The run that the event belongs to; it is addressed to `adw:<id>`.
            pub fn adw_id(&self) -> AdwId {
                match self {
                    $( Self::$payload(payload) => payload.adw_id, )+
                }
            }
        }

        /// Writes the payload alone: the `data` of the frame.
        impl Serialize for AgentEvent {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$payload(payload) => payload.serialize(serializer), )+
                }
            }
        }

        $(
            impl From<$payload> for AgentEvent {
                fn from(payload: $payload) -> Self {
                    Self::$payload(payload)
                }
            }
        )+
    };
}

agent_events! {
    AgentLog = "agent_log",
    AgentSummaryUpdate = "agent_summary_update",
    ThinkingBlock = "thinking_block",
    ToolUsePre = "tool_use_pre",
    ToolUsePost = "tool_use_post",
    FileChanged = "file_changed",
    SummaryUpdate = "summary_update",
    TextBlock = "text_block",
    WorkflowPhaseTransition = "workflow_phase_transition",
    AgentOutputChunk = "agent_output_chunk",
    ScreenshotAvailable = "screenshot_available",
    SpecCreated = "spec_created",
}

impl AgentEvent {
    /// Length of the payload as JSON, in bytes. Nothing is allocated to find out.
    pub fn encoded_bytes(&self) -> usize {
        struct Counter(usize);

        impl io::Write for Counter {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += bytes.len();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let mut counter = Counter(0);
        // Writing into a counter cannot fail, and no payload has a key that is not a string.
        let _ = serde_json::to_writer(&mut counter, self);
        counter.0
    }
}
