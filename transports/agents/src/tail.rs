//! Reading one transcript file piece by piece, and noticing when it is no longer the file that was read before.
//!
//! A file that merely grew is read on. A file that was truncated, replaced by another one or rewritten in place is
//! recognized by its identity, its length and its content: when everything that was passed on still stands in it, reading
//! goes on behind that (a copy that replaces its original repeats nothing); otherwise it starts again.

use std::{
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom},
};

use eventwire_protocol::id::AdwId;
use serde::{Deserialize, Serialize};

use crate::{
    paths::{AccessError, AgentsRoot, TRANSCRIPT_FILE},
    role::RoleName,
    transcript::{Fingerprint, Output, Restart, Transcript, TranscriptCheckpoint},
};

/// Bytes read from a file at once.
pub const READ_BYTES: usize = 64 * 1024;

/// Which file it is, whatever its name. Where the platform does not tell, all files look the same, and length and content
/// decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device that the file is on.
    pub device: u64,
    /// The file on the device.
    pub inode: u64,
}

impl FileIdentity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            Self { device: metadata.dev(), inode: metadata.ino() }
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            Self::default()
        }
    }
}

/// What must survive a restart of one transcript; serialized as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleCheckpoint {
    /// The file that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileIdentity>,
    /// How far, and what is remembered.
    pub transcript: TranscriptCheckpoint,
}

impl RoleCheckpoint {
    /// The same place, after `count` more of the outputs that follow it have been published.
    #[must_use]
    pub fn with_published(&self, count: usize) -> Self {
        Self { file: self.file, transcript: self.transcript.with_published(count) }
    }
}

/// The reading of one role's transcript.
#[derive(Debug)]
pub(crate) struct Tail {
    adw_id: AdwId,
    role: RoleName,
    transcript: Transcript,
    file: Option<FileIdentity>,
}

/// An opened transcript, positioned at the next byte.
pub(crate) struct OpenTail {
    file: File,
    /// Bytes up to the length that the file had when it was opened. What is written later raises another event.
    left: u64,
}

impl Tail {
    pub(crate) fn new(adw_id: AdwId, role: RoleName, at: RoleCheckpoint) -> Self {
        let transcript = Transcript::restore(adw_id, &role, at.transcript);
        Self { adw_id, role, transcript, file: at.file }
    }

    pub(crate) fn checkpoint(&self) -> RoleCheckpoint {
        RoleCheckpoint { file: self.file, transcript: self.transcript.checkpoint() }
    }

    pub(crate) fn set_worktree(&mut self, worktree: Option<&str>) {
        self.transcript.set_worktree(worktree.map(str::to_owned));
    }

    /// Opens the file and finds out where to go on. What is to be said about the file itself is appended to `outputs`.
    pub(crate) fn open(&mut self, root: &AgentsRoot, outputs: &mut Vec<Output>) -> Result<OpenTail, AccessError> {
        let (mut file, metadata) = root.file(self.adw_id, &[self.role.as_str(), TRANSCRIPT_FILE])?;
        let shown = format!("{}/{}/{TRANSCRIPT_FILE}", self.adw_id, self.role);
        let unreadable = |error| AccessError::Io(shown.clone(), error);
        let identity = FileIdentity::of(&metadata);
        let length = metadata.len();
        if !self.is_unchanged(&mut file, identity, length).map_err(unreadable)? {
            self.find_place(&mut file, length, outputs).map_err(unreadable)?;
        }
        self.file = Some(identity);
        let position = self.transcript.position();
        file.seek(SeekFrom::Start(position)).map_err(unreadable)?;
        Ok(OpenTail { file, left: length.saturating_sub(position) })
    }

    /// Reads the next piece; `false` when there is none.
    pub(crate) fn advance(&mut self, open: &mut OpenTail, outputs: &mut Vec<Output>) -> io::Result<bool> {
        let mut buffer = vec![0; READ_BYTES.min(usize::try_from(open.left).unwrap_or(READ_BYTES))];
        let read = open.file.read(&mut buffer)?;
        self.transcript.push(buffer.get(..read).unwrap_or_default(), outputs);
        open.left = open.left.saturating_sub(read as u64);
        Ok(read > 0)
    }

    /// Whether the file is the one that was read before, grown at most.
    fn is_unchanged(&self, file: &mut File, identity: FileIdentity, length: u64) -> io::Result<bool> {
        let position = self.transcript.position();
        let recent = self.transcript.recent();
        if self.file != Some(identity) || length < position || (recent.is_empty() && position > 0) {
            return Ok(false);
        }
        let mut there = vec![0; recent.len()];
        file.seek(SeekFrom::Start(position - recent.len() as u64))?;
        match file.read_exact(&mut there) {
            Ok(()) => Ok(there == recent),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes on behind what was passed on if all of it still stands in the file, else starts again.
    fn find_place(&mut self, file: &mut File, length: u64, outputs: &mut Vec<Output>) -> io::Result<()> {
        let at = self.transcript.checkpoint();
        if length >= at.offset_bytes && fingerprint(file, at.offset_bytes)? == at.fingerprint {
            if length < self.transcript.position() {
                self.transcript.drop_held(outputs);
            } else {
                // The held bytes are read again from the file.
                self.transcript = Transcript::restore(self.adw_id, &self.role, at);
            }
        } else {
            let why = if length < at.offset_bytes { Restart::Truncated } else { Restart::Replaced };
            self.transcript.restart(why, outputs);
        }
        Ok(())
    }
}

/// The fingerprint of the first `length` bytes of a file.
fn fingerprint(file: &mut File, length: u64) -> io::Result<Fingerprint> {
    let mut fingerprint = Fingerprint::default();
    let mut buffer = vec![0; READ_BYTES];
    file.seek(SeekFrom::Start(0))?;
    let mut prefix = file.take(length);
    loop {
        let read = prefix.read(&mut buffer)?;
        if read == 0 {
            return Ok(fingerprint);
        }
        fingerprint.update(buffer.get(..read).unwrap_or_default());
    }
}
