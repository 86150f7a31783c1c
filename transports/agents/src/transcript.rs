//! From the bytes of a transcript to events: pure and incremental, bytes in, [`Output`]s out.
//!
//! A [`Transcript`] is fed whatever pieces the reader happens to get; what comes out does not depend on where the pieces
//! were cut. It does three things. It splits lines itself and passes every byte of them on as `agent_output_chunk`s of
//! at most 32 KiB, cut between UTF-8 characters; a last line without its line feed is held back until the line feed
//! comes. It hands each complete line to the module `line`, which says what else the line means. And it knows, at any
//! moment, from where in the file a later process would have to go on ([`Transcript::checkpoint`]).
//!
//! Memory is bounded: at most 1 MiB of an unfinished line is held. A longer line is passed on as chunks while it
//! arrives and is not looked into; a warning says so. At most 512 unanswered tool calls are remembered.

use std::collections::VecDeque;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use eventwire_protocol::{
    event::adw::{AgentLog, AgentOutputChunk, AgentRole, EventCategory, LogLevel},
    id::AdwId,
};
use serde::{Deserialize, Serialize};

use crate::{event::AgentEvent, line, role::RoleName};

/// Most bytes of raw text in one `agent_output_chunk`.
pub const CHUNK_BYTES: usize = 32 * 1024;
/// Longest line that is held and looked into, in bytes without its line feed.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
/// Most tool calls that are remembered until their result comes.
pub const MAX_PENDING_CALLS: usize = 512;

/// Longest piece that is moved into the held line at once; keeps `held` within `MAX_LINE_BYTES` and this.
const PIECE_BYTES: usize = 64 * 1024;
/// Longest tool call id or tool name that is remembered, in bytes.
const MAX_REMEMBERED_BYTES: usize = 256;
/// Longest path that is remembered, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// How many of the last bytes read are kept to recognize the file again.
const RECENT_BYTES: usize = 64;

/// What a transcript gives rise to.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all outputs are events")]
pub enum Output {
    /// An event, ready to be published.
    Event(AgentEvent),
    /// The role has started for the first time. Whether that begins a phase is the run's to say.
    RoleStarted,
}

impl<T: Into<AgentEvent>> From<T> for Output {
    fn from(event: T) -> Self {
        Self::Event(event.into())
    }
}

/// Why a file is read again from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The file is shorter than what was read of it.
    Truncated,
    /// Another file has taken its place, or its content was replaced.
    Replaced,
}

/// Where the reading of a transcript stands, and all that must be remembered to go on from there.
///
/// It never lies inside of a line that is still held: such a line is read again. Serialized as JSON it is what
/// survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptCheckpoint {
    /// First byte of the file that has not been passed on, counted from 0.
    pub offset_bytes: u64,
    /// Complete lines before that byte.
    pub lines: u64,
    /// Fingerprint of all bytes before `offset_bytes`; see [`Fingerprint`].
    pub fingerprint: Fingerprint,
    /// The byte stands in the middle of a line that is too long to be held.
    pub inside_long_line: bool,
    /// The role has started before.
    pub started: bool,
    /// Working directory of the agent, as its last `system/init` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Working tree of the run, as its state file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Tool calls without a result, oldest first.
    #[serde(default)]
    pub pending: PendingCalls,
    /// How many of the outputs that follow have already been published.
    #[serde(default)]
    pub published: u64,
}

impl TranscriptCheckpoint {
    /// The same place, after `count` more of the outputs that follow it have been published.
    #[must_use]
    pub fn with_published(&self, count: usize) -> Self {
        Self { published: self.published + count as u64, ..self.clone() }
    }
}

/// FNV-1a over a prefix of a file. It tells a grown file from a replaced one; it guards against accidents, not attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Takes in the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The fingerprint of a whole text.
    pub fn of(bytes: &[u8]) -> Self {
        let mut fingerprint = Self::default();
        fingerprint.update(bytes);
        fingerprint
    }
}

/// A tool call that has no result yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingCall {
    /// The call's id, `toolu_...`.
    pub tool_use_id: String,
    /// The tool.
    pub tool_name: String,
    /// The file that the call is about, already relative; only for tools that change files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_path: Option<String>,
}

/// The tool calls without a result; the oldest is forgotten when there are too many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PendingCalls(VecDeque<PendingCall>);

impl PendingCalls {
    /// Remembers a call. One with a name too long to be real is not remembered.
    pub(crate) fn remember(&mut self, mut call: PendingCall) {
        if call.tool_use_id.len() > MAX_REMEMBERED_BYTES || call.tool_name.len() > MAX_REMEMBERED_BYTES {
            return;
        }
        call.file_path = call.file_path.filter(|path| path.len() <= MAX_PATH_BYTES);
        self.0.retain(|known| known.tool_use_id != call.tool_use_id);
        if self.0.len() >= MAX_PENDING_CALLS {
            self.0.pop_front();
        }
        self.0.push_back(call);
    }

    /// The call that a result answers; it is pending no longer.
    pub(crate) fn take(&mut self, tool_use_id: &str) -> Option<PendingCall> {
        let position = self.0.iter().position(|call| call.tool_use_id == tool_use_id)?;
        self.0.remove(position)
    }

    /// How many calls wait for their result.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no call waits for its result.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The reading of one transcript: a state machine over its bytes.
#[derive(Clone, Debug)]
pub struct Transcript {
    adw_id: AdwId,
    role: AgentRole,
    at: TranscriptCheckpoint,
    /// Bytes from `at.offset_bytes` on that are not passed on yet: an unfinished line, or the rest of a long one.
    held: Vec<u8>,
    /// The last bytes taken in, held or not.
    recent: VecDeque<u8>,
}

impl Transcript {
    /// A transcript at its start.
    pub fn new(adw_id: AdwId, role: &RoleName) -> Self {
        Self::restore(adw_id, role, TranscriptCheckpoint::default())
    }

    /// A transcript that goes on where another one stood. The next byte to push is that at
    /// [`TranscriptCheckpoint::offset_bytes`].
    pub fn restore(adw_id: AdwId, role: &RoleName, at: TranscriptCheckpoint) -> Self {
        Self { adw_id, role: role.agent_role(), at, held: Vec::new(), recent: VecDeque::new() }
    }

    /// Where a later process would go on.
    pub fn checkpoint(&self) -> TranscriptCheckpoint {
        self.at.clone()
    }

    /// The next byte of the file to push, counted from 0.
    pub fn position(&self) -> u64 {
        self.at.offset_bytes + self.held.len() as u64
    }

    /// Bytes of an unfinished line that are held back.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// The last bytes pushed, at most 64; they end at [`Transcript::position`].
    pub fn recent(&self) -> Vec<u8> {
        self.recent.iter().copied().collect()
    }

    /// Sets the working tree that paths are made relative to besides the agent's working directory.
    pub fn set_worktree(&mut self, worktree: Option<String>) {
        self.at.worktree = worktree;
    }

    /// Takes in the next bytes of the file and appends what they give rise to.
    pub fn push(&mut self, bytes: &[u8], outputs: &mut Vec<Output>) {
        let start = bytes.len().saturating_sub(RECENT_BYTES);
        self.recent.extend(bytes.get(start..).unwrap_or_default());
        self.recent.drain(..self.recent.len().saturating_sub(RECENT_BYTES));

        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            for piece in part.chunks(PIECE_BYTES) {
                self.hold(piece, outputs);
            }
            if parts.peek().is_some() {
                self.end_line(outputs);
            }
        }
    }

    /// Starts again at the beginning of the file, because what was read is there no longer. What is remembered of the
    /// agent's start stays; held bytes are dropped, and a warning says so.
    pub fn restart(&mut self, why: Restart, outputs: &mut Vec<Output>) {
        let what = match why {
            Restart::Truncated => "was truncated",
            Restart::Replaced => "was replaced",
        };
        let message = format!(
            "raw_output.jsonl {what} after line {}; it is read again from its start{}",
            self.at.lines,
            dropped(self.held.len())
        );
        self.at = TranscriptCheckpoint {
            started: self.at.started,
            cwd: self.at.cwd.take(),
            worktree: self.at.worktree.take(),
            ..TranscriptCheckpoint::default()
        };
        self.held.clear();
        self.recent.clear();
        self.emit(outputs, self.warning("transcript_restarted", message));
    }

    /// Forgets the bytes that are held back, because the file no longer has them; all before them still stands.
    pub fn drop_held(&mut self, outputs: &mut Vec<Output>) {
        let held = std::mem::take(&mut self.held).len();
        self.recent.clear();
        if held > 0 {
            let message = format!("raw_output.jsonl lost its unfinished line {}{}", self.at.lines + 1, dropped(held));
            // Said about the file as it is now: never one of the outputs that were published before a restart.
            outputs.push(self.warning("transcript_shortened", message));
        }
    }

    /// Adds bytes without a line feed to the line that is being read.
    fn hold(&mut self, piece: &[u8], outputs: &mut Vec<Output>) {
        self.held.extend_from_slice(piece);
        if !self.at.inside_long_line && self.held.len() > MAX_LINE_BYTES {
            self.at.inside_long_line = true;
            let message = format!(
                "Line {} is longer than 1 MiB; it is passed on as raw output and not looked into",
                self.at.lines + 1
            );
            self.emit(outputs, self.warning("line_too_long", message));
        }
        if self.at.inside_long_line {
            while self.held.len() > CHUNK_BYTES {
                let rest = self.held.split_off(cut(&self.held));
                let part = std::mem::replace(&mut self.held, rest);
                let chunk = self.chunk(&part, self.at.offset_bytes, false);
                self.emit(outputs, chunk.into());
                self.pass(&part);
            }
        }
    }

    /// The line that is being read is complete.
    fn end_line(&mut self, outputs: &mut Vec<Output>) {
        let line = std::mem::take(&mut self.held);
        let mut rest = line.as_slice();
        let mut offset = self.at.offset_bytes;
        while rest.len() > CHUNK_BYTES {
            let (part, after) = rest.split_at(cut(rest));
            self.emit(outputs, self.chunk(part, offset, false).into());
            offset += part.len() as u64;
            rest = after;
        }
        self.emit(outputs, self.chunk(rest, offset, true).into());

        let long = std::mem::replace(&mut self.at.inside_long_line, false);
        if !long {
            let mut meaning = Vec::new();
            line::read(self.adw_id, &self.role, self.at.lines + 1, &line, &mut self.at, &mut meaning);
            for output in meaning {
                self.emit(outputs, output);
            }
        }
        self.pass(&line);
        self.pass(b"\n");
        self.at.lines += 1;
    }

    /// Moves the place to go on from behind `bytes`.
    fn pass(&mut self, bytes: &[u8]) {
        self.at.offset_bytes += bytes.len() as u64;
        self.at.fingerprint.update(bytes);
    }

    /// Appends an output unless it was published before the restart.
    fn emit(&mut self, outputs: &mut Vec<Output>, output: Output) {
        match self.at.published.checked_sub(1) {
            Some(left) => self.at.published = left,
            None => outputs.push(output),
        }
    }

    fn chunk(&self, bytes: &[u8], offset_bytes: u64, is_complete: bool) -> AgentOutputChunk {
        let (content, content_base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(BASE64_STANDARD.encode(bytes))),
        };
        AgentOutputChunk {
            adw_id: self.adw_id,
            agent_role: self.role.clone(),
            content,
            line_number: Some(self.at.lines + 1),
            total_lines: None,
            is_complete,
            offset_bytes: Some(offset_bytes),
            content_base64,
        }
    }

    fn warning(&self, event_type: &str, message: String) -> Output {
        warning(self.adw_id, Some(self.role.clone()), event_type, message).into()
    }
}

/// An `agent_log` at warning level about the reading itself.
pub(crate) fn warning(adw_id: AdwId, agent_role: Option<AgentRole>, event_type: &str, message: String) -> AgentLog {
    AgentLog {
        adw_id,
        event_category: EventCategory::System,
        event_type: event_type.to_owned(),
        level: LogLevel::Warning,
        message,
        summary: None,
        current_step: None,
        agent_role,
        parent_tool_use_id: None,
        payload: None,
    }
}

fn dropped(bytes: usize) -> String {
    match bytes {
        0 => String::new(),
        1 => ", 1 byte of an unfinished line is dropped".to_owned(),
        bytes => format!(", {bytes} bytes of an unfinished line are dropped"),
    }
}

/// Where to cut bytes that are longer than a chunk: at most [`CHUNK_BYTES`], before the first byte of a character. Bytes
/// that are no UTF-8 are cut at exactly [`CHUNK_BYTES`].
fn cut(bytes: &[u8]) -> usize {
    let starts_character = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0b1100_0000 != 0b1000_0000);
    (CHUNK_BYTES - 3..=CHUNK_BYTES).rev().find(starts_character).unwrap_or(CHUNK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> PendingCall {
        PendingCall { tool_use_id: id.to_owned(), tool_name: "Read".to_owned(), file_path: None }
    }

    #[test]
    fn the_oldest_of_too_many_unanswered_calls_is_forgotten() {
        let mut calls = PendingCalls::default();
        for number in 0..=MAX_PENDING_CALLS {
            calls.remember(call(&format!("toolu_{number}")));
        }
        assert_eq!(calls.len(), MAX_PENDING_CALLS);
        assert_eq!(calls.take("toolu_0"), None);
        assert_eq!(calls.take("toolu_1"), Some(call("toolu_1")));
    }

    #[test]
    fn a_call_with_an_absurd_id_is_not_remembered() {
        let mut calls = PendingCalls::default();
        calls.remember(call(&"x".repeat(MAX_REMEMBERED_BYTES + 1)));
        assert!(calls.is_empty());
    }

    #[test]
    fn a_cut_never_splits_a_character_and_always_advances() {
        for shift in 0..4 {
            let mut bytes = vec![b'a'; shift];
            while bytes.len() < CHUNK_BYTES + 8 {
                bytes.extend_from_slice("🦀".as_bytes());
            }
            let at = cut(&bytes);
            assert!(at <= CHUNK_BYTES && at > CHUNK_BYTES - 4);
            assert!(std::str::from_utf8(&bytes[..at]).is_ok());
        }
        assert_eq!(cut(&vec![0x80; CHUNK_BYTES + 1]), CHUNK_BYTES);
    }
}
