//! What each command of an older system does to the work of its session: one table per dialect (CMD-15).
//!
//! A table names every command that goes to the application, so that a new command is classified on purpose. The tables
//! are together here because [`CommandEffect::of`](crate::CommandEffect::of) is their only reader.

use super::Dialect;
use crate::application::{CommandEffect, Work};

/// A command by its name, and its effect.
pub type Entry = (&'static str, CommandEffect);

const KEEPS: CommandEffect = CommandEffect::KeepsPlace;
const TURN: CommandEffect = CommandEffect::Begins(Work::Turn);
const SPEECH: CommandEffect = CommandEffect::Begins(Work::Speech);

/// Monadic Chat. `AUDIO` keeps its place: it brings what the person said, which a cancellation must not lose.
const MONADIC: &[Entry] = &[
    ("CHAT", TURN),
    ("AI_USER_QUERY", TURN),
    ("CANCEL", CommandEffect::Cancels(Work::Turn)),
    ("TTS", SPEECH),
    ("TTS_STREAM", SPEECH),
    ("PLAY_TTS", SPEECH),
    ("STOP_TTS", CommandEffect::Cancels(Work::Speech)),
    ("CHECK_TOKEN", KEEPS),
    ("LOAD", KEEPS),
    ("RESET", KEEPS),
    ("UPDATE_PARAMS", KEEPS),
    ("EDIT", KEEPS),
    ("DELETE", KEEPS),
    ("SYSTEM_PROMPT", KEEPS),
    ("SAMPLE", KEEPS),
    ("HTML", KEEPS),
    ("AUDIO", KEEPS),
    ("UPDATE_LANGUAGE", KEEPS),
    ("PDF_TITLES", KEEPS),
    ("DELETE_PDF", KEEPS),
    ("DELETE_ALL_PDFS", KEEPS),
    ("UPDATE_MCP_CONFIG", KEEPS),
    ("AUDIO_CHUNK", KEEPS),
    ("AUDIO_COMMIT", KEEPS),
    ("AUDIO_ABORT", KEEPS),
    ("UPDATE_CONTEXT_FROM_CLIENT", KEEPS),
    ("VERIFY_CONFIDENCE", KEEPS),
    ("PRIVACY_REGISTRY", KEEPS),
    ("PRIVACY_EXPORT", KEEPS),
    ("PRIVACY_TOGGLE", KEEPS),
    ("LIBRARY_LIST", KEEPS),
    ("LIBRARY_STATS", KEEPS),
    ("LIBRARY_SAVE", KEEPS),
    ("LIBRARY_DELETE", KEEPS),
    ("LIBRARY_RENAME", KEEPS),
    ("LIBRARY_SET_SCOPE", KEEPS),
    ("LIBRARY_GET_CONVERSATION", KEEPS),
    ("LIBRARY_SUGGEST_TITLE", KEEPS),
    ("LIBRARY_RAG_TOGGLE", KEEPS),
    ("LIBRARY_RAG_QUERY", KEEPS),
];

/// Product Demo. Its pages cannot cancel.
const PRODUCT: &[Entry] = &[("mcp_connect", KEEPS), ("mcp_execute_tool", TURN)];

/// AMIGA. Its clients cannot cancel.
const AMIGA: &[Entry] = &[("message", TURN), ("typing", KEEPS)];

/// ADW. Its pages cannot cancel.
const ADW: &[Entry] = &[("trigger_workflow", TURN), ("register_session", KEEPS), ("ticket_notification", KEEPS)];

/// The table of a dialect; that of its family for a variant. A dialect without commands for the application has none.
pub const fn table(dialect: Dialect) -> &'static [Entry] {
    match dialect.family() {
        Dialect::Monadic => MONADIC,
        Dialect::Product => PRODUCT,
        Dialect::Amiga => AMIGA,
        Dialect::Adw => ADW,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cmd_15_a_table_names_a_command_once_and_cancels_nothing_that_does_not_begin() {
        for dialect in Dialect::ALL {
            let entries = table(*dialect);
            let names: BTreeSet<&str> = entries.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.len(), entries.len(), "{dialect:?}");
            for (name, effect) in entries {
                let CommandEffect::Cancels(work) = effect else { continue };
                let begins = entries.iter().any(|(_, of)| of.begins() == Some(*work));
                assert!(begins, "{dialect:?}: {name} cancels what no command begins");
            }
        }
    }
}
