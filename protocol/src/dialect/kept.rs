//! Which kept events a client gets that joins or subscribes: one table per dialect (FLOW-10).
//!
//! A kept event is the newest value of its key (`latest` in the catalog). A canonical client reads it as state. A client of
//! an older dialect may read it as news: it reloads, adds a line to a log or shows a spinner. Each table names every kept
//! event that its dialect supports, so that a new one is decided on purpose.

use super::Dialect;
use crate::catalog::EventType;

/// What a client that joins or subscribes gets of a kept event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnJoining {
    /// The newest value: the client reads it as state.
    Sent,
    /// Nothing: the client reads it as news. It gets the values that are published while it is there.
    Withheld,
}

/// A kept event, and what a client that joins gets of it.
pub type Entry = (EventType, OnJoining);

/// Monadic Chat. A kept `wait` or `tts_progress` would show work that may have ended; nothing takes it off the page.
const MONADIC: &[Entry] = &[
    (EventType::ChatApps, OnJoining::Sent),
    (EventType::ChatParameters, OnJoining::Sent),
    (EventType::ChatPastMessages, OnJoining::Sent),
    (EventType::ChatStats, OnJoining::Sent),
    (EventType::ChatVoices, OnJoining::Sent),
    (EventType::ChatMcpStatus, OnJoining::Sent),
    (EventType::ChatPrivacyState, OnJoining::Sent),
    (EventType::ChatWait, OnJoining::Withheld),
    (EventType::ChatTtsProgress, OnJoining::Withheld),
];

/// Product Demo: a page shows one status of each document.
const PRODUCT: &[Entry] = &[(EventType::DocumentStatus, OnJoining::Sent)];

/// AMIGA: figures are made for one connection, the first at once when it subscribes.
const AMIGA: &[Entry] = &[(EventType::MetricsUpdate, OnJoining::Withheld)];

/// Shared Context: published pages reload on a `session_update`. Both pages and agents ask with `get_session_info`.
const SHARED_CONTEXT: &[Entry] = &[(EventType::ContextSessionUpdate, OnJoining::Withheld)];

/// ADW: pages add a line to the log of a run for each summary, and act on a status: they move the ticket, or merge.
const ADW: &[Entry] = &[
    (EventType::AdwAgentSummaryUpdate, OnJoining::Withheld),
    (EventType::AdwStatusUpdate, OnJoining::Withheld),
    (EventType::AdwOrchestratorUpdated, OnJoining::Sent),
];

/// The table of a dialect; that of its family for a variant. None where a client reads every kept event as state.
pub const fn table(dialect: Dialect) -> Option<&'static [Entry]> {
    match dialect.family() {
        Dialect::Monadic => Some(MONADIC),
        Dialect::Product => Some(PRODUCT),
        Dialect::Amiga => Some(AMIGA),
        Dialect::SharedContext => Some(SHARED_CONTEXT),
        Dialect::Adw => Some(ADW),
        _ => None,
    }
}

/// What a client of a dialect that joins or subscribes gets of a kept event. Nothing of one that its table does not name.
pub fn on_joining(dialect: Dialect, event_type: EventType) -> OnJoining {
    match table(dialect) {
        None => OnJoining::Sent,
        Some(entries) => {
            entries.iter().find(|(of, _)| *of == event_type).map_or(OnJoining::Withheld, |(_, decision)| *decision)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Delivery, frame::EventKind};

    #[test]
    fn flow_10_every_kept_event_of_every_dialect_is_decided_once() {
        for dialect in Dialect::ALL {
            let Some(entries) = table(*dialect) else { continue };
            for event_type in EventType::ALL {
                let is_kept = matches!(event_type.spec().delivery, Delivery::Latest { .. });
                let reaches = is_kept && dialect.supports(&EventKind::Known(*event_type));
                let decisions = entries.iter().filter(|(of, _)| of == event_type).count();
                assert_eq!(decisions, usize::from(reaches), "{dialect:?} {event_type}: decide in {}", file!());
            }
        }
        assert_eq!(table(Dialect::Canonical), None);
    }

    /// The table of the specification is this one.
    #[test]
    fn flow_10_the_specification_has_the_same_table() {
        let page = include_str!("../../../docs/spec/FLOW.md");
        let rule = page.split("\n### ").find(|section| section.starts_with("FLOW-10")).unwrap();
        let mut rows: Vec<String> = rule.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let mut wanted = Vec::new();
        for dialect in Dialect::ALL.iter().filter(|dialect| dialect.family() == **dialect) {
            for (event_type, decision) in table(*dialect).into_iter().flatten() {
                let sent = if *decision == OnJoining::Sent { "sent" } else { "withheld" };
                wanted.push(format!("| `{}` | `{event_type}` | {sent} |", dialect.as_str()));
            }
        }
        for row in &mut rows {
            let cells: Vec<&str> = row.split(" | ").collect();
            *row = format!("{} |", cells[..3].join(" | "));
        }
        rows.sort();
        wanted.sort();
        assert_eq!(rows, wanted);
    }
}
