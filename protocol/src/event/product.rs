//! Payloads of the families that come from Product Demo, a web application with documents, questions about them, a chat
//! and installations: `document`, `rag`, `message`, `install`, `session` and `user`.
//!
//! Members that the system of origin wrote in camel case are in snake case here, its `progress` is `percent`, and words
//! that it wrote in capitals (`PROCESSING`) are in small letters; the capitals are read. An installation was told of by
//! one kind of event there and by two kinds later: here it is one, whose members beside the id are optional.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    AnyValue,
    open::{MAX_INTEGER, open_enum},
};
use crate::id::{ItemId, UserId};

// ---------------------------------------------------------------------------------------------------------------
// Words
// ---------------------------------------------------------------------------------------------------------------

open_enum! {
    /// Where the processing of a document stands.
    pub enum DocumentState {
        /// Known, nothing done yet.
        Pending = "pending" | "PENDING",
        /// The file has arrived.
        Uploaded = "uploaded" | "UPLOADED",
        /// Its text is being extracted and cut into chunks.
        Processing = "processing" | "PROCESSING",
        /// Embeddings of the chunks are being made.
        Embedding = "embedding" | "EMBEDDING",
        /// Done: questions about it can be answered.
        Processed = "processed" | "PROCESSED" | "completed" | "COMPLETED",
        /// Processing has failed.
        Error = "error" | "ERROR",
    }
}

open_enum! {
    /// A stage on the way to the answer to a question, in the order of this list.
    pub enum RagStage {
        /// The question was taken in.
        Started = "started" | "STARTED",
        /// An embedding of the question is being made.
        Embedding = "embedding" | "EMBEDDING",
        /// Chunks of documents that bear on the question are being looked for.
        Retrieval = "retrieval" | "RETRIEVAL",
        /// The answer is being written.
        Generation = "generation" | "GENERATION",
        /// The answer is there, in `result`.
        Complete = "complete" | "COMPLETE",
    }
}

open_enum! {
    /// A stage of an installation.
    pub enum InstallStage {
        /// A command is running; `output` is what it writes.
        Executing = "executing" | "EXECUTING",
    }
}

open_enum! {
    /// How an installation as a whole fares.
    pub enum InstallStatus {
        /// A connection to the machine is being made.
        Connecting = "connecting",
        /// The machine is reached.
        Connected = "connected",
        /// The machine is being made ready.
        Preparing = "preparing",
        /// The installation itself is under way.
        Installing = "installing",
        /// It ended well.
        Success = "success",
        /// The installation has failed.
        Failed = "failed",
        /// Something else went wrong, for instance the connection.
        Error = "error",
    }
}

open_enum! {
    /// Where a program wrote its output.
    pub enum OutputStream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

open_enum! {
    /// How a login fares.
    pub enum LoginStatus {
        /// It ends soon, unless the user does something.
        ExpiringSoon = "expiring_soon",
        /// It has ended.
        Expired = "expired",
    }
}

open_enum! {
    /// What a user does.
    pub enum UserAction {
        /// Looks at the document that `document_id` names.
        ViewingDocument = "viewing_document",
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Payloads
// ---------------------------------------------------------------------------------------------------------------

/// Where the processing of a document stands. A newer one replaces an older one of the same document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DocumentStatus {
    /// The document.
    pub document_id: ItemId,
    /// Where its processing stands.
    pub status: DocumentState,
    /// How much is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: Option<f64>,
    /// What is being done, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What went wrong, when `status` is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A step on the way to the answer to a question about documents; the last one has the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RagProgress {
    /// The question, as the back end named it when it was asked.
    pub query_id: ItemId,
    /// The stage that is reached.
    pub stage: RagStage,
    /// What is being done, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How much is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: Option<f64>,
    /// The answer, when `stage` is `complete`; in the back end's own form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<AnyValue>,
}

/// A piece of a chat message as it is being written. The pieces of one message, put one behind the other, are the
/// message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MessageChunk {
    /// The message.
    pub message_id: ItemId,
    /// The conversation that the message belongs to, as the application names it. Not a session of this protocol: show
    /// the message in this conversation, and nowhere else.
    pub session_id: ItemId,
    /// The next piece of the text. May be empty. Plain text from outside: show it as text, never as markup.
    pub content: String,
    /// True on the piece that ends the message.
    pub is_complete: bool,
}

/// What happens in an installation: a new stage or status, or a piece of terminal output, or several of these at once.
/// A member that is absent has not changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InstallProgress {
    /// The installation.
    pub install_id: ItemId,
    /// What it is at now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<InstallStage>,
    /// How it fares as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<InstallStatus>,
    /// What is being done, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The next piece of terminal output, with its line breaks. May end inside of a line and may hold terminal control
    /// codes. Plain text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Where `output` was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<OutputStream>,
    /// How much is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: Option<f64>,
}

/// The user's login ends soon. It is told again every minute until the user does something or the login ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionExpiring {
    /// How the login fares.
    pub status: LoginStatus,
    /// Seconds until the login ends, counted from the event's `time`; 0 when it has ended.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub expires_in_seconds: u64,
}

/// What another user is doing at this moment. Nothing is kept of it: who comes later hears of the next thing they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UserActivity {
    /// The user.
    pub user_id: UserId,
    /// The name to show for the user. Plain text from outside: show it as text, never as markup.
    pub username: String,
    /// What the user does.
    pub action: UserAction,
    /// The document that the user does it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<ItemId>,
}

impl UserActivity {
    /// Who does it, and knows without being told.
    pub(crate) fn author(&self) -> Option<&UserId> {
        Some(&self.user_id)
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Examples
// ---------------------------------------------------------------------------------------------------------------

/// One complete payload for each event of these families, by its whole name.
pub fn examples() -> Vec<(&'static str, Value)> {
    vec![
        (
            "document.status",
            json!({
                "document_id": "doc-123", "status": "error", "percent": 75.0, "message": "Making embeddings",
                "error": "the model that makes embeddings does not answer",
            }),
        ),
        (
            "rag.progress",
            json!({
                "query_id": "3f1c9a52-8a54-4a0e-9a53-0a1d53a0c7de", "stage": "complete",
                "message": "The answer is ready", "percent": 100.0,
                "result": { "answer": "In chapter 4.", "sources": ["doc-123"] },
            }),
        ),
        (
            "message.chunk",
            json!({
                "message_id": "msg-123", "session_id": "session-456", "content": "In chapter ", "is_complete": false,
            }),
        ),
        (
            "install.progress",
            json!({
                "install_id": "install-123", "stage": "executing", "status": "installing",
                "message": "Installing what it depends on", "output": "added 96 packages\n", "stream": "stdout",
                "percent": 65.0,
            }),
        ),
        ("session.expiring", json!({ "status": "expiring_soon", "expires_in_seconds": 300 })),
        (
            "user.activity",
            json!({
                "user_id": "maria", "username": "Maria Lund", "action": "viewing_document", "document_id": "doc-456",
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_are_read_and_small_letters_written() {
        for (old, new) in [("PROCESSING", "processing"), ("completed", "processed"), ("PROCESSED", "processed")] {
            assert_eq!(DocumentState::from(old).as_str(), new);
        }
        for (old, new) in [("RETRIEVAL", "retrieval"), ("COMPLETE", "complete"), ("RERANKING", "RERANKING")] {
            assert_eq!(RagStage::from(old).as_str(), new);
        }
        assert_eq!(InstallStage::from("EXECUTING"), InstallStage::Executing);
    }

    #[test]
    fn env_01_an_id_of_the_application_is_an_id() {
        for bad in [json!(""), json!("a b"), json!("a/b"), json!(7), json!("x".repeat(129))] {
            let data = json!({ "document_id": bad, "status": "processing" });
            assert!(serde_json::from_value::<DocumentStatus>(data).is_err());
        }
    }
}
