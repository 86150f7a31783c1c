//! What one complete line of a transcript means: the mapping from Claude Code's `stream-json` lines to events.
//!
//! The line as such has been passed on already (see [`crate::transcript`]); this is about the events beside it. Nothing
//! here fails: a line that is no JSON, of an unknown type or oddly shaped gives a warning at most. Fields are looked up by
//! name in the parsed line, never by their place in it, and everything textual is data to pass on.

use eventwire_protocol::{
    event::adw::{
        AgentLog, AgentRole, AgentSummaryUpdate, EventCategory, FileChanged, FileOperation, LogLevel, SummaryType,
        SummaryUpdate, TextBlock, ThinkingBlock, ToolUsePost, ToolUsePre, WorkflowStatus,
    },
    frame::replace_lone_surrogates,
    id::AdwId,
};
use serde_json::{Map, Value, json};

use crate::{
    paths,
    text::{one_line, shortened},
    transcript::{Output, PendingCall, TranscriptCheckpoint, warning},
};

/// Tools whose successful use changes a file.
const FILE_TOOLS: [&str; 4] = ["Write", "Edit", "MultiEdit", "NotebookEdit"];
/// Arguments of a call that hold a path.
const PATH_ARGUMENTS: [&str; 4] = ["file_path", "notebook_path", "path", "cwd"];
/// Longest text of one value in the payload of an `agent_log`, and longest line for people, in characters.
const SHORT: usize = 500;
/// Longest `error` of a `tool_use_post`, in characters; the whole text is its `output`.
const ERROR: usize = 1000;
/// Most values of one object in the payload of an `agent_log`.
const MAX_VALUES: usize = 32;

/// A line as JSON. The first may begin with a byte order mark, and a text may be cut within a surrogate pair.
fn document(line: &[u8], number: u64) -> Option<Value> {
    let text = std::str::from_utf8(line).ok()?;
    let text = if number <= 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
    serde_json::from_str(&replace_lone_surrogates(text).ok()?).ok()
}

/// Reads one line, without its line feed, and appends what it means to `outputs`.
pub(crate) fn read(
    adw_id: AdwId,
    role: &AgentRole,
    number: u64,
    line: &[u8],
    memory: &mut TranscriptCheckpoint,
    outputs: &mut Vec<Output>,
) {
    if line.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let Some(value) = document(line, number) else {
        let start = one_line(&String::from_utf8_lossy(line), SHORT);
        let message = format!("Line {number} is not JSON: {start}");
        outputs.push(warning(adw_id, Some(role.clone()), "not_json", message).into());
        return;
    };
    let mut reader =
        Reader { adw_id, role, parent: text(&value, "parent_tool_use_id").map(str::to_owned), memory, outputs };
    match text(&value, "type") {
        Some("system") => reader.system(&value),
        Some("assistant") => reader.assistant(&value),
        Some("user") => reader.user(&value),
        Some("result") => reader.result(&value),
        // The whole block comes again as an `assistant` line.
        Some("stream_event") => {}
        Some("rate_limit_event") => reader.rate_limit(&value),
        Some("control_response") => reader.control_response(&value),
        other => {
            let message = match other {
                Some(kind) => format!("Line {number} has the unknown type {}", shortened(kind, SHORT)),
                None => format!("Line {number} has no type"),
            };
            let log = warning(adw_id, Some(role.clone()), "unknown_type", message);
            reader.outputs.push(log.into());
        }
    }
}

struct Reader<'a> {
    adw_id: AdwId,
    role: &'a AgentRole,
    /// The call that started the subagent which wrote the line.
    parent: Option<String>,
    memory: &'a mut TranscriptCheckpoint,
    outputs: &'a mut Vec<Output>,
}

impl Reader<'_> {
    fn system(&mut self, value: &Value) {
        match text(value, "subtype") {
            Some("init") => self.init(value),
            subtype => {
                let subtype = subtype.unwrap_or("system");
                let category = match subtype {
                    "status" => EventCategory::Status,
                    hook if hook.starts_with("hook_") => EventCategory::Hook,
                    _ => EventCategory::System,
                };
                let failed = text(value, "outcome").is_some_and(|outcome| outcome != "success")
                    || value.get("exit_code").and_then(Value::as_i64).is_some_and(|code| code != 0);
                let level = match subtype {
                    "status" | "thinking_tokens" | "task_progress" => LogLevel::Debug,
                    "model_refusal_fallback" => LogLevel::Warning,
                    _ if failed => LogLevel::Warning,
                    _ => LogLevel::Info,
                };
                let about = ["summary", "description", "content", "message", "hook_name", "status"]
                    .iter()
                    .find_map(|key| text(value, key).map(|text| one_line(text, SHORT)).filter(|line| !line.is_empty()));
                let message = match about {
                    Some(about) => format!("{}: {about}", subtype.replace('_', " ")),
                    None => subtype.replace('_', " "),
                };
                self.log(category, subtype, level, message, digest(value, &self.bases()));
            }
        }
    }

    fn init(&mut self, value: &Value) {
        if let Some(cwd) = text(value, "cwd").filter(|cwd| cwd.len() <= 4096) {
            self.memory.cwd = Some(cwd.to_owned());
        }
        let model = text(value, "model").unwrap_or("an unknown model");
        let permission_mode = text(value, "permissionMode").unwrap_or("unknown");
        let tool_count = value.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
        let message = format!(
            "{} runs {}, permission mode {}, {tool_count} tools",
            self.role,
            shortened(model, SHORT),
            shortened(permission_mode, SHORT)
        );
        let mut payload = Map::new();
        payload.insert("model".to_owned(), json!(shortened(model, SHORT)));
        payload.insert("permission_mode".to_owned(), json!(shortened(permission_mode, SHORT)));
        payload.insert("tool_count".to_owned(), json!(tool_count));
        if let Some(version) = text(value, "claude_code_version") {
            payload.insert("claude_code_version".to_owned(), json!(shortened(version, SHORT)));
        }
        self.log(EventCategory::System, "init", LogLevel::Info, message, payload);
        if !self.memory.started {
            self.memory.started = true;
            self.outputs.push(Output::RoleStarted);
        }
    }

    fn assistant(&mut self, value: &Value) {
        for block in blocks(value) {
            match text(&block, "type") {
                Some("thinking") => self.thinking(text(&block, "thinking").unwrap_or_default()),
                Some("redacted_thinking") => self.thinking(""),
                Some("text") => {
                    let event = TextBlock {
                        adw_id: self.adw_id,
                        content: text(&block, "text").unwrap_or_default().to_owned(),
                        sequence: None,
                        agent_role: Some(self.role.clone()),
                        parent_tool_use_id: self.parent.clone(),
                    };
                    self.outputs.push(event.into());
                }
                Some("tool_use") => self.tool_use(&block),
                _ => {}
            }
        }
    }

    fn thinking(&mut self, content: &str) {
        let event = ThinkingBlock {
            adw_id: self.adw_id,
            content: content.to_owned(),
            withheld: content.is_empty().then_some(true),
            duration_ms: None,
            sequence: None,
            reasoning_type: None,
            agent_role: Some(self.role.clone()),
            parent_tool_use_id: self.parent.clone(),
        };
        self.outputs.push(event.into());
    }

    fn tool_use(&mut self, block: &Value) {
        let tool_name = text(block, "name").unwrap_or_default();
        let mut input = match block.get("input") {
            Some(Value::Object(input)) => input.clone(),
            None | Some(Value::Null) => Map::new(),
            Some(other) => Map::from_iter([("value".to_owned(), other.clone())]),
        };
        for key in PATH_ARGUMENTS {
            if let Some(Value::String(path)) = input.get_mut(key) {
                *path = paths::relative(path, &self.bases());
            }
        }
        let tool_use_id = text(block, "id");
        if let Some(id) = tool_use_id {
            let changes_file = FILE_TOOLS.contains(&tool_name);
            let file_path = changes_file.then(|| changed_file(&input)).flatten();
            self.memory.pending.remember(PendingCall {
                tool_use_id: id.to_owned(),
                tool_name: tool_name.to_owned(),
                file_path,
            });
        }
        let event = ToolUsePre {
            adw_id: self.adw_id,
            tool_name: tool_name.to_owned(),
            input,
            tool_use_id: tool_use_id.map(str::to_owned),
            agent_role: Some(self.role.clone()),
            parent_tool_use_id: self.parent.clone(),
        };
        self.outputs.push(event.into());
    }

    fn user(&mut self, value: &Value) {
        let blocks = blocks(value);
        let results = blocks.iter().filter(|block| text(block, "type") == Some("tool_result")).count();
        // One detail per line: with several results there is no telling whose it is.
        let detail = value.get("tool_use_result").filter(|_| results == 1);
        for block in &blocks {
            match text(block, "type") {
                Some("tool_result") => self.tool_result(block, detail),
                Some("text") => {
                    let said = text(block, "text").unwrap_or_default();
                    self.log(EventCategory::Response, "user_text", LogLevel::Info, said.to_owned(), Map::new());
                }
                _ => {}
            }
        }
    }

    fn tool_result(&mut self, block: &Value, detail: Option<&Value>) {
        let tool_use_id = text(block, "tool_use_id");
        let call = tool_use_id.and_then(|id| self.memory.pending.take(id));
        let success = block.get("is_error") != Some(&Value::Bool(true));
        let output = result_text(block.get("content"));
        let error = (!success).then(|| shortened(output.as_deref().unwrap_or("the tool gave no reason"), ERROR));
        let event = ToolUsePost {
            adw_id: self.adw_id,
            tool_name: call.as_ref().map(|call| call.tool_name.clone()).unwrap_or_default(),
            success,
            tool_use_id: tool_use_id.map(str::to_owned),
            output,
            error,
            duration_ms: detail.and_then(duration_ms),
            agent_role: Some(self.role.clone()),
            parent_tool_use_id: self.parent.clone(),
        };
        self.outputs.push(event.into());
        if let Some(call) = call.filter(|call| success && FILE_TOOLS.contains(&call.tool_name.as_str())) {
            self.file_changed(call, detail);
        }
    }

    fn file_changed(&mut self, call: PendingCall, detail: Option<&Value>) {
        let told =
            || detail.and_then(|detail| text(detail, "filePath")).map(|path| paths::relative(path, &self.bases()));
        let Some(file_path) = call.file_path.or_else(told) else {
            return;
        };
        let created = detail.and_then(|detail| text(detail, "type")) == Some("create");
        let mut change = Change::of(detail, &file_path, created);
        if created && change.diff.is_none() {
            let content = detail.and_then(|detail| text(detail, "content")).unwrap_or_default();
            change.lines_added = content.lines().count() as u64;
        }
        let event = FileChanged {
            adw_id: self.adw_id,
            file_path,
            operation: if created { FileOperation::Created } else { FileOperation::Modified },
            diff: change.diff,
            summary: None,
            lines_added: change.lines_added,
            lines_removed: change.lines_removed,
            tool_use_id: Some(call.tool_use_id),
            agent_role: Some(self.role.clone()),
            parent_tool_use_id: self.parent.clone(),
        };
        self.outputs.push(event.into());
    }

    fn rate_limit(&mut self, value: &Value) {
        let info = value.get("rate_limit_info").unwrap_or(&Value::Null);
        let status = text(info, "status").unwrap_or("unknown");
        let level = if status == "allowed" { LogLevel::Info } else { LogLevel::Warning };
        let message = format!("Rate limit: {}", shortened(status, SHORT));
        self.log(EventCategory::Status, "rate_limit_event", level, message, digest(info, &self.bases()));
    }

    fn control_response(&mut self, value: &Value) {
        let response = value.get("response").unwrap_or(&Value::Null);
        let subtype = text(response, "subtype").unwrap_or("unknown");
        let level = if subtype == "error" { LogLevel::Warning } else { LogLevel::Info };
        let message = format!("Control response: {}", shortened(subtype, SHORT));
        self.log(EventCategory::System, "control_response", level, message, digest(response, &self.bases()));
    }

    fn result(&mut self, value: &Value) {
        let subtype = text(value, "subtype").unwrap_or("result");
        let failed = value.get("is_error") == Some(&Value::Bool(true)) || subtype.starts_with("error");
        let number = |key: &str| value.get(key).filter(|value| value.is_number()).cloned();
        let mut figures = Map::new();
        figures.insert("subtype".to_owned(), json!(shortened(subtype, SHORT)));
        figures.insert("is_error".to_owned(), json!(failed));
        for key in ["num_turns", "duration_ms", "duration_api_ms", "total_cost_usd"] {
            if let Some(number) = number(key) {
                figures.insert(key.to_owned(), number);
            }
        }
        let content =
            text(value, "result").map_or_else(|| errors(value).unwrap_or_else(|| subtype.to_owned()), str::to_owned);
        let ended = if failed { "failed" } else { "finished" };

        let mut message = format!("{} {ended}: {}", self.role, shortened(subtype, SHORT));
        if let Some(turns) = number("num_turns") {
            message.push_str(&format!(", {turns} turns"));
        }
        if let Some(duration_ms) = number("duration_ms").and_then(|number| number.as_f64()) {
            message.push_str(&format!(", {:.1} s", duration_ms / 1000.0));
        }
        if let Some(cost) = number("total_cost_usd").and_then(|number| number.as_f64()) {
            message.push_str(&format!(", ${cost:.4}"));
        }
        let level = if failed { LogLevel::Error } else { LogLevel::Success };
        self.log(EventCategory::Response, "result", level, message, figures.clone());

        let summary = SummaryUpdate {
            adw_id: self.adw_id,
            summary_type: SummaryType::Session,
            content: content.clone(),
            related_file: None,
            agent_role: Some(self.role.clone()),
            metadata: Some(figures.clone()),
        };
        self.outputs.push(summary.into());

        let mut metadata = Map::from_iter([("agent_role".to_owned(), json!(self.role))]);
        metadata.extend(figures);
        let update = AgentSummaryUpdate {
            adw_id: self.adw_id,
            status: if failed { WorkflowStatus::Failed } else { WorkflowStatus::Completed },
            progress_percent: None,
            current_step: Some(format!("{} {ended}", self.role)),
            workflow_name: None,
            message: Some(one_line(&content, SHORT)),
            summary: None,
            metadata: Some(metadata),
        };
        self.outputs.push(update.into());
    }

    fn log(
        &mut self,
        event_category: EventCategory,
        event_type: &str,
        level: LogLevel,
        message: String,
        payload: Map<String, Value>,
    ) {
        let event = AgentLog {
            adw_id: self.adw_id,
            event_category,
            event_type: shortened(event_type, SHORT),
            level,
            message,
            summary: None,
            current_step: None,
            agent_role: Some(self.role.clone()),
            parent_tool_use_id: self.parent.clone(),
            payload: (!payload.is_empty()).then_some(payload),
        };
        self.outputs.push(event.into());
    }

    /// What paths are made relative to.
    fn bases(&self) -> Vec<&str> {
        [&self.memory.cwd, &self.memory.worktree].into_iter().flatten().map(String::as_str).collect()
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// The content blocks of a line's message; a content that is plain text counts as one text block.
fn blocks(value: &Value) -> Vec<Value> {
    match value.get("message").and_then(|message| message.get("content")) {
        Some(Value::Array(blocks)) => blocks.clone(),
        Some(Value::String(text)) => vec![json!({ "type": "text", "text": text })],
        _ => Vec::new(),
    }
}

/// The file that a call changes, from its arguments, which are already relative.
fn changed_file(input: &Map<String, Value>) -> Option<String> {
    ["file_path", "notebook_path"].iter().find_map(|key| input.get(*key)?.as_str().map(str::to_owned))
}

/// What a tool answered: text as it is; of a list the texts, and what is no text as compact JSON, one per line.
fn result_text(content: Option<&Value>) -> Option<String> {
    match content? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let lines: Vec<String> = items
                .iter()
                .map(|item| match (text(item, "type"), text(item, "text")) {
                    (Some("text"), Some(text)) => text.to_owned(),
                    _ => item.to_string(),
                })
                .collect();
            Some(lines.join("\n"))
        }
        other => Some(other.to_string()),
    }
}

/// How long a tool says that it took. Different tools use different units.
fn duration_ms(detail: &Value) -> Option<u64> {
    let number = |key: &str| detail.get(key).and_then(Value::as_f64).filter(|number| *number >= 0.0 && *number < 1e12);
    let duration_ms = number("durationMs")
        .or_else(|| number("totalDurationMs"))
        .or_else(|| number("durationSeconds").map(|seconds| seconds * 1000.0))?;
    Some(duration_ms.round() as u64)
}

/// The texts of a result's `errors`, one per line.
fn errors(value: &Value) -> Option<String> {
    let errors = value.get("errors")?.as_array()?;
    let lines: Vec<String> =
        errors.iter().map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The short values of an object, for the payload of a log line: numbers, truth values, the start of texts, and the same of
/// objects directly in it. Ids of sessions and lines are left out.
fn digest(value: &Value, bases: &[&str]) -> Map<String, Value> {
    digest_to_depth(value, bases, 1)
}

fn digest_to_depth(value: &Value, bases: &[&str], depth: usize) -> Map<String, Value> {
    let mut digest = Map::new();
    let Some(object) = value.as_object() else {
        return digest;
    };
    for (key, value) in object {
        if digest.len() >= MAX_VALUES {
            break;
        }
        if matches!(key.as_str(), "type" | "subtype" | "uuid" | "session_id" | "parent_tool_use_id") {
            continue;
        }
        let short = match value {
            Value::String(text) if !text.is_empty() => paths::sanitize(&Value::String(shortened(text, SHORT)), bases),
            Value::Number(_) | Value::Bool(_) => value.clone(),
            Value::Object(_) if depth > 0 => match digest_to_depth(value, bases, depth - 1) {
                inner if inner.is_empty() => continue,
                inner => Value::Object(inner),
            },
            _ => continue,
        };
        digest.insert(shortened(key, SHORT), short);
    }
    digest
}

/// A change of a file, out of `structuredPatch`.
#[derive(Default)]
struct Change {
    diff: Option<String>,
    lines_added: u64,
    lines_removed: u64,
}

impl Change {
    fn of(detail: Option<&Value>, file_path: &str, created: bool) -> Self {
        let mut change = Self::default();
        let Some(hunks) = detail.and_then(|detail| detail.get("structuredPatch")).and_then(Value::as_array) else {
            return change;
        };
        let mut body = String::new();
        for hunk in hunks {
            let Some(lines) = hunk.get("lines").and_then(Value::as_array) else { continue };
            let number = |key: &str| hunk.get(key).and_then(Value::as_u64).unwrap_or_default();
            body.push_str(&format!(
                "@@ -{},{} +{},{} @@\n",
                number("oldStart"),
                number("oldLines"),
                number("newStart"),
                number("newLines")
            ));
            for line in lines.iter().filter_map(Value::as_str) {
                change.lines_added += u64::from(line.starts_with('+'));
                change.lines_removed += u64::from(line.starts_with('-'));
                body.push_str(line);
                body.push('\n');
            }
        }
        if !body.is_empty() {
            let before = if created { "/dev/null".to_owned() } else { format!("a/{file_path}") };
            change.diff = Some(format!("--- {before}\n+++ b/{file_path}\n{body}"));
        }
        change
    }
}
