//! One event as one line for a person.

use std::borrow::Cow;

use eventwire_protocol::frame::EventFrame;
use serde_json::Value;

use crate::terminal::{Color, Pen, plain};

/// Longest line where no terminal says how wide it is.
const DEFAULT_WIDTH: usize = 160;
/// Colors of audiences; the same audience always has the same.
const AUDIENCES: [Color; 5] = [Color::Cyan, Color::Magenta, Color::Blue, Color::Green, Color::Yellow];
/// Members of a tool's input that say what a call is about, best first.
const ARGUMENTS: [&str; 8] = ["file_path", "command", "pattern", "query", "url", "path", "description", "prompt"];
/// Members of a payload that are its message, best first.
const MESSAGES: [&str; 7] = ["message", "content", "summary", "text", "status", "current_step", "code"];

/// Writes lines of a width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Painter {
    pen: Pen,
    width: usize,
}

impl Painter {
    pub(super) fn new(pen: Pen, width: Option<usize>) -> Self {
        Self { pen, width: width.unwrap_or(DEFAULT_WIDTH).max(40) }
    }

    /// `12:30:01.123 adw:29fb6a3e tool_use_pre Read src/app.js`, cut to the width. Nothing in it that a terminal acts on.
    pub(super) fn line(self, event: &EventFrame) -> String {
        let data = serde_json::from_str::<Value>(event.text.get()).unwrap_or_default();
        let time = event.time.to_string();
        let clock = time.get(11..23).or_else(|| time.get(11..19)).unwrap_or(&time).trim_end_matches('Z');
        let to = event.to.to_string();
        let kind = plain(event.kind.strip_prefix("adw.").unwrap_or(&event.kind));
        let said = Said::of(&event.kind, &data);

        // Widths are counted in characters; wide ones may spill over by a few cells, which hurts nobody.
        let head = clock.chars().count() + to.chars().count() + kind.chars().count().max(26) + 3;
        let text = cut(&said.text, self.width.saturating_sub(head));
        let bytes = to.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let color = AUDIENCES.get(bytes % AUDIENCES.len()).copied().unwrap_or(Color::Cyan);
        let kind = format!("{kind:<26}");
        let text = match said.color {
            Some(color) => self.pen.paint(color, &text),
            None => text.into_owned(),
        };
        let line = format!(
            "{} {} {} {text}",
            self.pen.paint(Color::Dim, clock),
            self.pen.paint(color, &to),
            self.pen.paint(Color::Bold, &kind),
        );
        line.trim_end().to_owned()
    }
}

/// What an event says, in one line.
struct Said {
    text: String,
    color: Option<Color>,
}

impl Said {
    fn of(kind: &str, data: &Value) -> Self {
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| data.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (said, color) = match kind {
            "adw.tool_use_pre" => (format!("{} {}", text("tool_name"), argument(data)), None),
            "adw.tool_use_post" => {
                let failed = data.get("success").and_then(Value::as_bool) == Some(false);
                let result = if failed { "failed" } else { "ok" };
                let said = format!("{} {result} {}", text("tool_name"), if failed { text("error") } else { "" });
                (said, Some(if failed { Color::Red } else { Color::Green }))
            }
            "adw.file_changed" => {
                let (added, removed) = (number("lines_added"), number("lines_removed"));
                (format!("{} {} +{added} -{removed}", text("operation"), text("file_path")), Some(Color::Yellow))
            }
            "adw.workflow_phase_transition" => {
                let from = text("phase_from");
                let arrow = if from.is_empty() { String::new() } else { format!("{from} → ") };
                (format!("{arrow}{}", text("phase_to")), Some(Color::Magenta))
            }
            "adw.thinking_block" => (text("content").to_owned(), Some(Color::Dim)),
            "adw.screenshot_available" => (text("screenshot_path").to_owned(), None),
            "adw.spec_created" => (text("spec_path").to_owned(), None),
            _ => match MESSAGES.iter().map(|name| text(name)).find(|message| !message.is_empty()) {
                Some(message) => {
                    let level = text("level");
                    let color = match level {
                        "error" => Some(Color::Red),
                        "warning" => Some(Color::Yellow),
                        "success" => Some(Color::Green),
                        _ => None,
                    };
                    (message.to_owned(), color)
                }
                None => (data.to_string(), Some(Color::Dim)),
            },
        };
        Self { text: plain(&said).into_owned(), color }
    }
}

fn argument(data: &Value) -> String {
    let input = data.get("input").unwrap_or(&Value::Null);
    let best = ARGUMENTS.iter().find_map(|name| input.get(name).and_then(Value::as_str));
    best.map_or_else(|| if input.is_null() { String::new() } else { input.to_string() }, str::to_owned)
}

fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let kept = text.chars().take(width.saturating_sub(1)).collect::<String>();
    Cow::Owned(kept + "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(frame: Value, width: usize) -> String {
        let frame = EventFrame::decode(&frame.to_string()).unwrap();
        Painter::new(Pen::new(false), Some(width)).line(&frame)
    }

    fn frame(kind: &str, data: Value) -> Value {
        serde_json::json!({"type": kind, "time": "2026-11-20T23:40:01.123456Z", "to": "adw:29fb6a3e", "data": data})
    }

    #[test]
    fn a_line_says_when_for_whom_what_and_the_gist() {
        let pre = frame(
            "adw.tool_use_pre",
            serde_json::json!({"adw_id": "29fb6a3e", "tool_name": "Read", "input": {"limit": 3, "file_path": "src/app.js"}}),
        );
        assert_eq!(line(pre, 200), "23:40:01.123 adw:29fb6a3e tool_use_pre               Read src/app.js");
        let vendor = frame("_own.thing", serde_json::json!({"a": 1}));
        assert_eq!(line(vendor, 200), "23:40:01.123 adw:29fb6a3e _own.thing                 {\"a\":1}");
    }

    #[test]
    fn a_line_is_one_line_of_its_width_whatever_the_text() {
        let hostile = "a\nb\u{1b}[2J\u{202e}".repeat(500);
        let event = frame("adw.text_block", serde_json::json!({"adw_id": "29fb6a3e", "content": hostile}));
        let line = line(event, 90);
        assert_eq!(line.chars().count(), 90);
        assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
    }
}
