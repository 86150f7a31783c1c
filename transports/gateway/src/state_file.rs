//! The file in which revocations outlive the process (AUTH-19).
//!
//! A text file that is only ever appended to. The first line is its header, every other line is one fact, and every line begins with
//! the first 16 hexadecimal digits of the SHA-256 of the rest of it:
//!
//! ```text
//! 1e0e5ac8a30e0c44 {"eventwire_state":1}
//! 6b2b71c1a6ab1a3d {"kind":"user_revoked","user":"maria","at":"2026-11-20T23:40:00Z"}
//! ```
//!
//! The facts are those of [`StateEntry`]: names, times and digests, no secret. Their order does not matter; of two about the same
//! thing, the later time counts for revocations and the earlier one for logins. A revocation is on the disk before it is
//! answered. A last line without its line break is one that was being written when the machine stopped; its revocation was not
//! answered, and it is dropped. Anything else that cannot be read stops the start, for a forgotten revocation lets its user in again.
//!
//! When most lines are out of date, the file is written anew beside itself (`.new`) and renamed. Two processes would write over
//! each other, so each holds a lock on the file `.lock` beside it.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use eventwire_hub::state::{Durability, Room, StateEntry, StateLog};
use sha2::{Digest, Sha256};

/// The version of the format. A file with a later one is not read.
const VERSION: u64 = 1;
/// Largest file that is read, in bytes. Full of the longest names that there may be, it is smaller.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// So many lines that are out of date are not worth writing the file anew.
const SPARE_LINES: usize = 4_096;
/// Digits of the digest in front of each line.
const DIGITS: usize = 16;

/// The open file.
#[derive(Debug, Clone)]
pub struct StateFile(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    /// Where the next line begins.
    end: u64,
    lines: usize,
    /// Lines after the last rewrite.
    lines_rewritten: usize,
    /// Whether something may stand behind the end that could not be taken away.
    torn: bool,
    /// Held as long as the process lives.
    _lock: File,
}

impl StateFile {
    /// Opens the file, or makes it, and reads what it remembers.
    ///
    /// # Errors
    /// What is wrong with it and what to do about it, in one line with the name of the file: it is damaged, of a later version,
    /// open to other users, or in use by another process; or the system does not allow it.
    pub fn open(path: &Path) -> Result<(Self, Vec<StateEntry>), String> {
        let wrong = |what: String| format!("state_file {}: {what}", path.display());
        let lock = lock(path).map_err(wrong)?;
        let (file, entries, end) = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(mut file) => {
                let (entries, end) = read(&mut file).map_err(wrong)?;
                (file, entries, end)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (file, end) = write_anew(path, &[]).map_err(|error| wrong(format!("cannot be made: {error}")))?;
                (file, Vec::new(), end)
            }
            Err(error) => return Err(wrong(format!("cannot be opened: {error}"))),
        };
        let lines = entries.len();
        let inner = Inner { path: path.to_owned(), file, end, lines, lines_rewritten: lines, torn: false, _lock: lock };
        Ok((Self(Arc::new(Mutex::new(inner))), entries))
    }

    /// Does something that may block, beside the tasks of the runtime. It goes on when its caller is gone.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl StateLog for StateFile {
    async fn append(&mut self, entry: &StateEntry, durability: Durability) -> io::Result<Room> {
        let line = line(&serde_json::to_string(entry)?);
        self.blocking(move |inner| inner.append(&line, durability)).await
    }

    async fn rewrite(&mut self, entries: Vec<StateEntry>) -> io::Result<()> {
        self.blocking(move |inner| inner.rewrite(&entries)).await
    }
}

impl Inner {
    fn append(&mut self, line: &str, durability: Durability) -> io::Result<Room> {
        if self.torn {
            return Err(io::Error::other("an earlier line was written in part"));
        }
        let written = self.file.write_all(line.as_bytes()).and_then(|()| match durability {
            Durability::Synced => self.file.sync_data(),
            Durability::Buffered => Ok(()),
        });
        if let Err(error) = written {
            // Half a line must not stand before the next one.
            let taken = self.file.set_len(self.end).and_then(|()| self.file.seek(SeekFrom::Start(self.end)));
            self.torn = taken.is_err();
            return Err(error);
        }
        self.end += line.len() as u64;
        self.lines += 1;
        let out_of_date = self.lines - self.lines_rewritten.min(self.lines);
        Ok(if out_of_date > self.lines_rewritten + SPARE_LINES { Room::Short } else { Room::Left })
    }

    fn rewrite(&mut self, entries: &[StateEntry]) -> io::Result<()> {
        let (file, end) = write_anew(&self.path, entries)?;
        (self.file, self.end, self.torn) = (file, end, false);
        (self.lines, self.lines_rewritten) = (entries.len(), entries.len());
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    beside.into()
}

/// Takes the lock of the file. It is given back when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, String> {
    let path = beside(path, ".lock");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = opened.map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err("another gateway uses it; give each gateway a file of its own, or stop the other one".to_owned())
        }
        Err(TryLockError::Error(error)) => Err(format!("{} cannot be locked: {error}", path.display())),
    }
}

/// A line of the file.
fn line(text: &str) -> String {
    format!("{} {text}\n", digest(text))
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn header() -> String {
    line(&serde_json::json!({ "eventwire_state": VERSION }).to_string())
}

/// Reads the whole file, and takes away half a line at its end. The file then is where the next line begins.
fn read(file: &mut File) -> Result<(Vec<StateEntry>, u64), String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let metadata = file.metadata().map_err(cannot)?;
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("other users have access to it (mode {:o}): chmod 600", mode & 0o777));
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, more than any state file may have ({MAX_BYTES})", metadata.len()));
    }
    let mut text = String::new();
    io::Read::read_to_string(file, &mut text).map_err(cannot)?;
    let (entries, end) = parse(&text)?;
    if end < text.len() {
        tracing::warn!(
            bytes = text.len() - end,
            "the last line of state_file was not written to its end; it is dropped"
        );
    }
    let end = end as u64;
    file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(cannot)?;
    Ok((entries, end))
}

/// What a file says, and how many of its bytes are whole lines.
fn parse(text: &str) -> Result<(Vec<StateEntry>, usize), String> {
    let mut lines = text.split_inclusive('\n').enumerate().peekable();
    let damaged = |at: usize, what: &str| {
        format!(
            "line {}: {what}; restore the file from a copy, or remove it: then what was revoked is accepted again",
            at + 1
        )
    };
    let first = lines.next().and_then(|(_, line)| checked(line)).ok_or_else(|| damaged(0, "this is no state file"))?;
    let version = serde_json::from_str::<serde_json::Value>(first).ok();
    match version.as_ref().and_then(|value| value.get("eventwire_state")).and_then(serde_json::Value::as_u64) {
        Some(VERSION) => {}
        Some(later) => {
            return Err(format!(
                "its version is {later}, and this gateway reads {VERSION}: start the newer gateway again"
            ));
        }
        None => return Err(damaged(0, "this is no state file")),
    }
    let (mut entries, mut end) = (Vec::new(), first.len() + DIGITS + 2);
    while let Some((at, line)) = lines.next() {
        let Some(text) = checked(line) else {
            if lines.peek().is_none() && !line.ends_with('\n') {
                break;
            }
            return Err(damaged(at, "it is damaged"));
        };
        entries.push(serde_json::from_str(text).map_err(|_| damaged(at, "it says nothing that is known"))?);
        end += line.len();
    }
    Ok((entries, end))
}

/// The text of a whole line, if it is as it was written.
fn checked(line: &str) -> Option<&str> {
    let (found, text) = line.strip_suffix('\n')?.split_once(' ')?;
    (found == digest(text)).then_some(text)
}

/// Writes a file beside and puts it in the place of the older one. Gives it open at its end.
fn write_anew(path: &Path, entries: &[StateEntry]) -> io::Result<(File, u64)> {
    let beside = beside(path, ".new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut text = header();
    for entry in entries {
        text.push_str(&line(&serde_json::to_string(entry)?));
    }
    let mut file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&beside)?;
    // Whatever the umask says.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()?;
    Ok((file, text.len() as u64))
}

#[cfg(test)]
mod tests {
    use eventwire_protocol::Time;

    use super::*;

    fn revoked(user: &str) -> StateEntry {
        StateEntry::UserRevoked { user: user.parse().unwrap(), at: Time::from_unix_micros(1_795_220_000_123_456) }
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        (directory, path)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn auth_19_what_was_appended_is_there_again_and_the_file_is_its_owners_alone() {
        let (_directory, path) = place();
        let all = [
            revoked("ada"),
            StateEntry::TokenRevoked { id: "jti \"1\" \n\u{e9}".into(), at: Time::from_unix_micros(1) },
            StateEntry::ApiKeyRevoked { name: "build agents".into(), key: None },
            StateEntry::AllRevoked { at: Time::from_unix_micros(2) },
        ];
        {
            let (mut file, entries) = StateFile::open(&path).unwrap();
            assert_eq!(entries, []);
            for (entry, durability) in all.iter().zip([Durability::Synced, Durability::Buffered].into_iter().cycle()) {
                assert_eq!(file.append(entry, durability).await.unwrap(), Room::Left);
            }
        }
        assert_eq!(mode(&path), 0o600);
        let (mut file, entries) = StateFile::open(&path).unwrap();
        assert_eq!(entries, all);
        file.append(&revoked("bob"), Durability::Synced).await.unwrap();
        file.rewrite(vec![revoked("eve")]).await.unwrap();
        file.append(&revoked("dan"), Durability::Synced).await.unwrap();
        drop(file);
        assert_eq!(StateFile::open(&path).unwrap().1, [revoked("eve"), revoked("dan")]);
        assert_eq!(mode(&path), 0o600);
    }

    #[tokio::test]
    async fn auth_19_a_file_that_is_mostly_out_of_date_asks_to_be_rewritten() {
        let (_directory, path) = place();
        let (mut file, _) = StateFile::open(&path).unwrap();
        let mut lines = 0;
        while file.append(&revoked("ada"), Durability::Buffered).await.unwrap() == Room::Left {
            lines += 1;
            assert!(lines < 10_000);
        }
        file.rewrite(vec![revoked("ada")]).await.unwrap();
        assert_eq!(file.append(&revoked("ada"), Durability::Buffered).await.unwrap(), Room::Left);
        drop(file);
        assert_eq!(StateFile::open(&path).unwrap().1.len(), 2);
    }

    #[tokio::test]
    async fn auth_19_whatever_happens_to_a_file_it_is_read_whole_or_refused() {
        let (_directory, path) = place();
        let (mut file, _) = StateFile::open(&path).unwrap();
        for user in ["ada", "bob", "eve"] {
            file.append(&revoked(user), Durability::Synced).await.unwrap();
        }
        drop(file);
        let good = std::fs::read(&path).unwrap();
        let lines: Vec<usize> =
            good.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        // Cut anywhere, as by a machine that stops: what was whole is there, and no more.
        for length in 0..=good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            let whole = lines.iter().filter(|end| **end <= length).count();
            match StateFile::open(&path) {
                Ok((_, entries)) => assert_eq!(entries.len() + 1, whole, "{length}"),
                Err(told) => assert!(whole == 0 && told.contains("no state file"), "{length}: {told}"),
            }
            if whole > 0 {
                assert_eq!(std::fs::read(&path).unwrap().len(), lines[whole - 1], "half a line is taken away");
            }
        }
        // Any other byte in the place of one.
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            // The last line break alone may have been on its way.
            let told = match StateFile::open(&path) {
                Err(told) => told,
                Ok((_, entries)) => {
                    assert!(at == good.len() - 1 && entries.len() == 2, "{at}");
                    continue;
                }
            };
            assert!(told.contains("state_file ") && told.contains("line ") && !told.contains('\n'), "{at}: {told}");
            assert_eq!(std::fs::read(&path).unwrap(), bad, "what is refused is left as it is");
        }
    }

    #[test]
    fn auth_19_a_file_that_cannot_be_trusted_is_refused_with_the_cure() {
        let (directory, path) = place();
        let later = line(r#"{"eventwire_state":2}"#);
        let unknown = header() + &line(r#"{"kind":"moon_revoked"}"#);
        for (text, word) in [
            ("", "no state file"),
            ("{}", "no state file"),
            (later.as_str(), "version is 2"),
            (unknown.as_str(), "line 2: it says nothing"),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let told = StateFile::open(&path).unwrap_err();
            assert!(told.contains(word) && !told.contains('\n'), "{word}: {told}");
        }
        std::fs::write(&path, header()).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(StateFile::open(&path).unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let open = StateFile::open(&path).unwrap();
        assert!(StateFile::open(&path).unwrap_err().contains("another gateway"));
        drop(open);
        assert!(StateFile::open(&path).is_ok());
        let told = StateFile::open(&directory.path().join("nowhere/state")).unwrap_err();
        assert!(told.contains("nowhere"), "{told}");
    }
}
