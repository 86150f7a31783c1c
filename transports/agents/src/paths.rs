//! Paths: what leaves in events, and what may be opened below the agents root.
//!
//! Both halves are about one promise. A path *field* of an event is relative and never climbs ([`relative`],
//! [`sanitize`]); a path *on disk* is only opened when it is what it claims to be, a real file or directory of that very
//! run ([`AgentsRoot`]). Below the root no symbolic link is followed, so nothing outside of a run's own directory can
//! be read by naming it inside. Everything else in the crate goes through here to reach the disk.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use eventwire_protocol::id::AdwId;
use serde_json::{Map, Value};

use crate::role::RoleName;

/// File name of a role's transcript.
pub const TRANSCRIPT_FILE: &str = "raw_output.jsonl";
/// File name of a run's state.
pub const STATE_FILE: &str = "adw_state.json";
/// Directory of a role's screenshots.
pub const IMAGES_DIRECTORY: &str = "review_img";

/// File name of a run's plan: `{adw_id}_plan_spec.md`.
pub fn plan_spec_file(adw_id: AdwId) -> String {
    format!("{adw_id}_plan_spec.md")
}

// ---------------------------------------------------------------------------------------------------------------
// Text
// ---------------------------------------------------------------------------------------------------------------

/// The path as it may leave in an event.
///
/// An absolute path below one of `bases` becomes relative to it, any other absolute path is reduced to its file name.
/// A base may itself be relative (`trees/29fb6a3e`): then it is looked for inside the path. `.` and `..` are resolved,
/// and a path that would climb above its start is reduced to its file name, so no part of the result is `..`. What
/// stays of the base itself is `.`. Addresses with a scheme other than `file` are no paths and stay as they are.
///
/// ```
/// use eventwire_agents::paths::relative;
///
/// assert_eq!(relative("/home/ada/repo/src/app.js", &["/home/ada/repo"]), "src/app.js");
/// assert_eq!(relative("/home/ada/.ssh/config", &["/home/ada/repo"]), "config");
/// assert_eq!(relative("../../etc/passwd", &[]), "passwd");
/// ```
pub fn relative(path: &str, bases: &[&str]) -> String {
    let text = unified(path);
    if !text.starts_with("file:") && has_scheme(&text) {
        return if text.split('/').any(|part| part == "..") { last_part(&text) } else { path.to_owned() };
    }
    let text = text.strip_prefix("file://").unwrap_or(&text);
    let Some(parts) = resolved_parts(text) else {
        return last_part(text);
    };
    if !is_absolute(text) {
        return plain(&parts);
    }
    for base in bases {
        if let Some(start) = below(&parts, &unified(base)) {
            return plain(parts.get(start..).unwrap_or_default());
        }
    }
    last_part(text)
}

/// A value whose texts may leave in an event: every text that is an absolute or climbing path has been made
/// [`relative`], at any depth. A single leading slash (`/feature`) makes no path.
pub fn sanitize(value: &Value, bases: &[&str]) -> Value {
    match value {
        Value::String(text) if reads_as_path(text) => Value::String(relative(text, bases)),
        Value::Array(items) => items.iter().map(|item| sanitize(item, bases)).collect(),
        Value::Object(object) => Value::Object(sanitize_object(object, bases)),
        other => other.clone(),
    }
}

/// [`sanitize`] for every value of an object.
pub fn sanitize_object(object: &Map<String, Value>, bases: &[&str]) -> Map<String, Value> {
    object.iter().map(|(key, value)| (key.clone(), sanitize(value, bases))).collect()
}

/// Whether a text of unknown meaning is taken for a path that needs to be made relative.
fn reads_as_path(text: &str) -> bool {
    if text.contains('\n') {
        return false;
    }
    let text = unified(text);
    let deep = text.strip_prefix('/').is_some_and(|rest| rest.trim_end_matches('/').contains('/'));
    deep || has_drive(&text)
        || text.starts_with("~/")
        || text.starts_with("file://")
        || text.split('/').any(|part| part == "..") && text.contains('/')
}

/// The path with `/` between its parts, where it is plainly a Windows path or climbs with backslashes.
fn unified(path: &str) -> String {
    if has_drive(path) || path.starts_with(r"\\") || path.contains(r"..\") || path.contains(r"\..") {
        path.replace('\\', "/")
    } else {
        path.to_owned()
    }
}

fn has_drive(path: &str) -> bool {
    let mut chars = path.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.next() == Some(':')
        && matches!(chars.next(), Some('/' | '\\'))
}

fn has_scheme(path: &str) -> bool {
    path.split_once("://").is_some_and(|(scheme, _)| {
        scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '~']) || has_drive(path)
}

/// The parts of a path with `.` and `..` resolved; `None` when it climbs above its start.
fn resolved_parts(path: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

/// Where in `parts` that begins which lies below `base`; a relative base is looked for anywhere in the path.
fn below(parts: &[&str], base: &str) -> Option<usize> {
    let base_parts = resolved_parts(base)?;
    if base_parts.is_empty() {
        return None;
    }
    let start = if is_absolute(base) {
        parts.starts_with(&base_parts).then_some(0)?
    } else {
        parts.windows(base_parts.len()).rposition(|window| window == base_parts.as_slice())?
    };
    Some(start + base_parts.len())
}

/// The parts as a relative path. A path that reads as absolute once it stands alone (`./C:/x`, `./~/x`) is reduced to its
/// file name.
fn plain(parts: &[&str]) -> String {
    let path = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    if is_absolute(&path) { last_part(&path) } else { path }
}

fn last_part(path: &str) -> String {
    path.rsplit('/')
        .find(|part| !matches!(*part, "" | "." | ".."))
        .filter(|part| !is_home_or_drive(part))
        .unwrap_or(".")
        .to_owned()
}

/// Whether a part of a path names somebody's home (`~ada`) or a drive (`C:`) rather than a file.
fn is_home_or_drive(part: &str) -> bool {
    part.starts_with('~') || has_drive(part) || (part.len() == 2 && part.ends_with(':'))
}

// ---------------------------------------------------------------------------------------------------------------
// Disk
// ---------------------------------------------------------------------------------------------------------------

/// Why something below the agents root is not opened.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It is not there (any more).
    #[error("{0} does not exist")]
    Missing(String),
    /// It is a symbolic link, lies behind one, or its name is no plain name. Nothing was read.
    #[error("{0} is refused: below the agents root no symbolic link is followed")]
    Refused(String),
    /// It is a directory where a file was expected, or the other way round, or a pipe or device.
    #[error("{0} is not of the expected kind")]
    WrongKind(String),
    /// It is larger than the caller takes.
    #[error("{path} has {size_bytes} bytes, more than the allowed {limit_bytes}")]
    TooLarge {
        /// The file, relative to the agents root.
        path: String,
        /// Its size in bytes.
        size_bytes: u64,
        /// The most the caller takes, in bytes.
        limit_bytes: u64,
    },
    /// The operating system refused.
    #[error("{0} cannot be read: {1}")]
    Io(String, #[source] io::Error),
}

impl AccessError {
    /// Whether the thing is merely absent.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}

/// A directory of runs, `agents/`, and the only door to the files in it.
///
/// The root itself may be reached through links (the operator named it); below it every step must be real. Paths in
/// errors are relative to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentsRoot {
    canonical: PathBuf,
}

impl AgentsRoot {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// When it does not exist or is no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let canonical = fs::canonicalize(path)?;
        if !fs::metadata(&canonical)?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Self { canonical })
    }

    /// The directory, without links.
    pub fn path(&self) -> &Path {
        &self.canonical
    }

    /// The name that the directory has in paths relative to the repository; usually `agents`.
    pub fn name(&self) -> String {
        self.canonical.file_name().map_or_else(|| "agents".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// The repository: the directory that holds the root. Never leaves in an event; paths are made relative to it.
    pub fn repository(&self) -> Option<&str> {
        self.canonical.parent().and_then(Path::to_str)
    }

    /// Every run there is, sorted.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn runs(&self) -> io::Result<Vec<AdwId>> {
        let mut runs = Vec::new();
        for entry in fs::read_dir(&self.canonical)? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<AdwId>().ok());
            if let Some(id) = id
                && entry.file_type()?.is_dir()
            {
                runs.push(id);
            }
        }
        runs.sort_unstable();
        Ok(runs)
    }

    /// Every role directory of a run, in the order of the workflow (see [`RoleName`]). At most `limit` are listed.
    ///
    /// # Errors
    /// When the run's directory is missing or refused.
    pub fn roles(&self, adw_id: AdwId, limit: usize) -> Result<Vec<RoleName>, AccessError> {
        let directory = self.directory(adw_id, &[])?;
        let mut roles = Vec::new();
        for entry in fs::read_dir(&directory).map_err(|error| io_error(adw_id.to_string(), error))? {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name().to_str().and_then(|name| name.parse::<RoleName>().ok());
            if let (Some(name), Ok(kind)) = (name, entry.file_type())
                && kind.is_dir()
            {
                roles.push(name);
            }
            if roles.len() >= limit {
                break;
            }
        }
        roles.sort_unstable();
        Ok(roles)
    }

    /// The screenshots of one role, sorted by name: file names that end in `.png`. At most `limit` are listed.
    ///
    /// # Errors
    /// When there is no such directory, or it is refused.
    pub fn screenshots(&self, adw_id: AdwId, role: &RoleName, limit: usize) -> Result<Vec<String>, AccessError> {
        let directory = self.directory(adw_id, &[role.as_str(), IMAGES_DIRECTORY])?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(|error| io_error(format!("{adw_id}/{role}"), error))? {
            let Ok(entry) = entry else { continue };
            let Ok(name) = entry.file_name().into_string() else { continue };
            let file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if file && is_screenshot(&name) && entry.metadata().is_ok_and(|metadata| metadata.len() > 0) {
                names.push(name);
            }
            if names.len() >= limit {
                break;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A directory of a run, `parts` below it; no parts mean the run's own directory.
    ///
    /// # Errors
    /// When it is missing, no directory, or not exactly where it claims to be.
    pub fn directory(&self, adw_id: AdwId, parts: &[&str]) -> Result<PathBuf, AccessError> {
        let (path, shown) = self.place(adw_id, parts)?;
        let metadata = fs::symlink_metadata(&path).map_err(|error| io_error(shown.clone(), error))?;
        if !metadata.is_dir() {
            return Err(if metadata.is_symlink() {
                AccessError::Refused(shown)
            } else {
                AccessError::WrongKind(shown)
            });
        }
        self.check_place(&path, &shown)?;
        Ok(path)
    }

    /// Opens a regular file of a run for reading, `parts` below the run's directory.
    ///
    /// The place is checked again after opening, so a link that is put there in between is noticed.
    ///
    /// # Errors
    /// When it is missing, no regular file, or not exactly where it claims to be.
    pub fn file(&self, adw_id: AdwId, parts: &[&str]) -> Result<(File, Metadata), AccessError> {
        let (path, shown) = self.place(adw_id, parts)?;
        let before = fs::symlink_metadata(&path).map_err(|error| io_error(shown.clone(), error))?;
        if before.is_symlink() {
            return Err(AccessError::Refused(shown));
        }
        if !before.is_file() {
            return Err(AccessError::WrongKind(shown));
        }
        let file = read_only().open(&path).map_err(|error| io_error(shown.clone(), error))?;
        let opened = file.metadata().map_err(|error| io_error(shown.clone(), error))?;
        if !opened.is_file() {
            return Err(AccessError::WrongKind(shown));
        }
        self.check_place(&path, &shown)?;
        Ok((file, opened))
    }

    /// Reads a whole file of a run that has at most `limit_bytes`.
    ///
    /// # Errors
    /// As [`AgentsRoot::file`], and when the file is larger.
    pub fn read(&self, adw_id: AdwId, parts: &[&str], limit_bytes: u64) -> Result<Vec<u8>, AccessError> {
        use io::Read as _;

        let (file, metadata) = self.file(adw_id, parts)?;
        let shown = || format!("{adw_id}/{}", parts.join("/"));
        let mut bytes = Vec::new();
        file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|error| io_error(shown(), error))?;
        let size_bytes = metadata.len().max(bytes.len() as u64);
        if bytes.len() as u64 > limit_bytes {
            return Err(AccessError::TooLarge { path: shown(), size_bytes, limit_bytes });
        }
        Ok(bytes)
    }

    /// Where `parts` of a run would be, and how errors call it.
    fn place(&self, adw_id: AdwId, parts: &[&str]) -> Result<(PathBuf, String), AccessError> {
        let mut path = self.canonical.join(adw_id.as_str());
        let mut shown = adw_id.to_string();
        for part in parts {
            shown.push('/');
            shown.push_str(part);
            if part.is_empty() || matches!(*part, "." | "..") || part.contains(['/', '\\', '\0']) {
                return Err(AccessError::Refused(shown));
            }
            path.push(part);
        }
        Ok((path, shown))
    }

    fn check_place(&self, path: &Path, shown: &str) -> Result<(), AccessError> {
        let canonical = fs::canonicalize(path).map_err(|error| io_error(shown.to_owned(), error))?;
        if canonical != path || !canonical.starts_with(&self.canonical) {
            return Err(AccessError::Refused(shown.to_owned()));
        }
        Ok(())
    }
}

/// Whether a file name is that of a screenshot.
pub fn is_screenshot(name: &str) -> bool {
    name.len() > 4 && name.to_ascii_lowercase().ends_with(".png")
}

fn read_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    options
}

fn io_error(shown: String, error: io::Error) -> AccessError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => AccessError::Missing(shown),
        _ => AccessError::Io(shown, error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_below_the_working_directory_becomes_relative_to_it() {
        let bases = ["/Users/marshal/repo"];
        assert_eq!(relative("/Users/marshal/repo/src/a.rs", &bases), "src/a.rs");
        assert_eq!(relative("/Users/marshal/repo", &bases), ".");
        assert_eq!(relative("/Users/marshal/repo/./x/../src//a.rs", &bases), "src/a.rs");
    }

    #[test]
    fn a_path_outside_is_reduced_to_its_file_name() {
        let bases = ["/Users/marshal/repo"];
        assert_eq!(relative("/Users/marshal/repository/a.rs", &bases), "a.rs");
        assert_eq!(relative("/Users/marshal/repo/../.ssh/config", &bases), "config");
        assert_eq!(relative("~/secrets.txt", &bases), "secrets.txt");
        assert_eq!(relative("file:///Users/marshal/x.txt", &bases), "x.txt");
        assert_eq!(relative(r"C:\Users\marshal\x.txt", &bases), "x.txt");
        assert_eq!(relative("/", &bases), ".");
        assert_eq!(relative("/Users/kocienda", &["/"]), "kocienda");
        assert_eq!(relative("~marshal", &bases), ".");
    }

    #[test]
    fn what_is_left_of_a_path_is_not_absolute_again() {
        let bases = ["/home/ada/repo"];
        assert_eq!(relative("/home/ada/repo/~/x.txt", &bases), "x.txt");
        assert_eq!(relative("/home/ada/repo/~", &bases), ".");
        assert_eq!(relative("/home/ada/repo/C:/x.txt", &bases), "x.txt");
        assert_eq!(relative("./~ada/x.txt", &bases), "x.txt");
        assert_eq!(relative(r"/elsewhere/a:\", &bases), ".");
    }

    #[test]
    fn a_worktree_named_relatively_is_found_inside_a_path() {
        let bases = ["/elsewhere", "trees/3836463b"];
        assert_eq!(relative("/home/u/r/trees/3836463b/src/x.rs", &bases), "src/x.rs");
        assert_eq!(relative("/home/u/r/trees/38/src/x.rs", &bases), "x.rs");
    }

    #[test]
    fn a_relative_path_stays_and_never_climbs() {
        assert_eq!(relative("src/./a.rs", &[]), "src/a.rs");
        assert_eq!(relative("a/../../b", &[]), "b");
        assert_eq!(relative(r"..\..\b", &[]), "b");
        assert_eq!(relative("..", &[]), ".");
        assert_eq!(relative("", &[]), ".");
    }

    #[test]
    fn an_address_is_no_path() {
        assert_eq!(relative("https://example.org/a//b", &["/x"]), "https://example.org/a//b");
        assert_eq!(relative("https://example.org/../b", &["/x"]), "b");
    }

    #[test]
    fn only_texts_that_read_as_paths_change_in_a_value() {
        let value = json!({ "issue_class": "/feature", "worktree_path": "/home/u/r/trees/1", "deep": [{ "p": "/a/b/c" }],
            "text": "see /a/b", "up": "../x", "n": 3 });
        assert_eq!(
            sanitize(&value, &["/home/u/r"]),
            json!({ "issue_class": "/feature", "worktree_path": "trees/1", "deep": [{ "p": "c" }],
                "text": "see /a/b", "up": "x", "n": 3 })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_result_is_absolute_or_climbs(path in r"([/\\~.:]|\.\.|[a-cC]|file://|/home/repo){0,12}", base in "(/home/repo|/|trees/a|)") {
            let result = relative(&path, &[&base]);
            prop_assert!(!is_absolute(&result), "{result}");
            prop_assert!(result.split(['/', '\\']).all(|part| part != ".."), "{result}");
            prop_assert!(!result.is_empty());
        }

        #[test]
        fn a_relative_result_is_left_alone_when_seen_again(path in r"([/~.]|\.\.|[a-c ]){0,12}") {
            let once = relative(&path, &[]);
            prop_assert_eq!(relative(&once, &[]), once);
        }
    }

    #[cfg(unix)]
    mod disk {
        use std::os::unix::fs::symlink;

        use super::*;

        fn root() -> (tempfile::TempDir, AgentsRoot, AdwId) {
            let directory = tempfile::tempdir().unwrap();
            let agents = directory.path().join("agents");
            fs::create_dir_all(agents.join("aaaa1111/planner")).unwrap();
            fs::create_dir_all(agents.join("bbbb2222/planner")).unwrap();
            fs::write(agents.join("bbbb2222/planner/raw_output.jsonl"), "other\n").unwrap();
            fs::write(directory.path().join("secret"), "secret").unwrap();
            (directory, AgentsRoot::open(&agents).unwrap(), "aaaa1111".parse().unwrap())
        }

        #[test]
        fn a_real_file_is_read() {
            let (_keep, root, id) = root();
            fs::write(root.path().join("aaaa1111/planner/raw_output.jsonl"), "mine\n").unwrap();
            assert_eq!(root.read(id, &["planner", TRANSCRIPT_FILE], 5).unwrap(), b"mine\n");
            assert!(matches!(
                root.read(id, &["planner", TRANSCRIPT_FILE], 4),
                Err(AccessError::TooLarge { size_bytes: 5, limit_bytes: 4, .. })
            ));
        }

        #[test]
        fn a_link_out_of_the_run_is_refused_whether_file_or_directory() {
            let (directory, root, id) = root();
            let run = root.path().join("aaaa1111");
            symlink(directory.path().join("secret"), run.join("planner/raw_output.jsonl")).unwrap();
            symlink(root.path().join("bbbb2222/planner"), run.join("tester")).unwrap();
            symlink(root.path().join("bbbb2222"), root.path().join("cccc3333")).unwrap();
            assert!(matches!(root.file(id, &["planner", TRANSCRIPT_FILE]), Err(AccessError::Refused(_))));
            assert!(matches!(root.file(id, &["tester", TRANSCRIPT_FILE]), Err(AccessError::Refused(_))));
            assert!(matches!(root.directory(id, &["tester"]), Err(AccessError::Refused(_))));
            let linked: AdwId = "cccc3333".parse().unwrap();
            assert!(matches!(root.directory(linked, &[]), Err(AccessError::Refused(_))));
            assert!(matches!(root.file(linked, &["planner", TRANSCRIPT_FILE]), Err(AccessError::Refused(_))));
            assert_eq!(root.runs().unwrap().len(), 2);
            assert_eq!(root.roles(id, 8).unwrap().len(), 1);
        }

        #[test]
        fn a_name_that_is_no_plain_name_is_refused() {
            let (_keep, root, id) = root();
            for name in ["..", ".", "", "planner/raw_output.jsonl", "../bbbb2222", "a\0b"] {
                assert!(matches!(root.file(id, &[name]), Err(AccessError::Refused(_))), "{name:?}");
            }
        }

        #[test]
        fn a_pipe_in_the_place_of_a_file_blocks_nobody() {
            let (_keep, root, id) = root();
            let path = root.path().join("aaaa1111/planner/raw_output.jsonl");
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
            assert!(matches!(root.file(id, &["planner", TRANSCRIPT_FILE]), Err(AccessError::WrongKind(_))));
        }

        #[test]
        fn a_root_behind_a_link_is_allowed() {
            let (directory, root, _) = root();
            let link = directory.path().join("link");
            symlink(root.path(), &link).unwrap();
            assert_eq!(AgentsRoot::open(&link).unwrap(), root);
        }
    }
}
