//! Generates, checks and lints the JSON Schemas of Eventwire.
//!
//! The catalog of `eventwire-protocol` is the only source. [`generate`] turns it into a [`Tree`] of files: two roots
//! for readers (a closed and an open one), one file for each event, the commands, what may be published, examples, and
//! an index with digests. They are committed under `schemas/v1` with the reference page for people, and [`drift`] tells
//! whether what is committed is still what the catalog says. Generation is a command, never a build script, so a
//! change of the published contract is always a visible change of files.
//!
//! ```
//! let published = eventwire_schemas::generate()?;
//! assert!(published.schemas.contains_key("event.schema.json"));
//! assert!(eventwire_schemas::lint::lint(&published.schemas).is_empty());
//! # Ok::<(), eventwire_schemas::Error>(())
//! ```
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub mod asyncapi;
pub mod dialects;
pub mod diff;
pub mod document;
pub mod flavors;
pub mod gate;
pub mod lint;
pub mod openapi;
mod pattern;
pub mod profile;
pub mod reference;
pub mod snapshot;
pub mod source;
pub mod subsume;

pub use document::Tree;

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Version of the published schemas. They have their own, with a changelog of their own: `schemas/v1/CHANGELOG.md`.
pub const VERSION: &str = "0.2.0";

/// Where the schemas are kept, relative to the workspace.
pub const DIRECTORY: &str = "schemas/v1";

/// The one file below [`DIRECTORY`] that people write.
pub const CHANGELOG: &str = "CHANGELOG.md";

/// Why nothing could be generated, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog cannot be described. A fault in the catalog: mend the row that the text names.
    #[error("the catalog cannot be described: {0}")]
    Catalog(String),
    /// The program was started outside of a checkout; name one with `--workspace`.
    #[error("no Eventwire checkout around the current directory; name one with --workspace DIR")]
    NoWorkspace,
    /// Two trees cannot be compared; the text says which and why.
    #[error("{0}")]
    NotComparable(String),
    /// What is here cannot be released; each line says what is missing.
    #[error("not released:\n{0}")]
    NotReleasable(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Everything that is generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The files below `schemas/v1`.
    pub schemas: Tree,
    /// The pages of docs/reference that are generated, by path relative to the workspace.
    pub reference: Tree,
}

impl Published {
    /// All files by path relative to the workspace.
    fn files(&self) -> Tree {
        let mut files: Tree =
            self.schemas.iter().map(|(path, text)| (format!("{DIRECTORY}/{path}"), text.clone())).collect();
        files.extend(self.reference.clone());
        files
    }
}

/// Generates everything from the catalog that this program was built with.
///
/// # Errors
/// [`Error::Catalog`], which no input can cause.
pub fn generate() -> Result<Published, Error> {
    let source = source::Source::read()?;
    Ok(Published { schemas: document::tree(&source)?, reference: reference::pages(&source)? })
}

/// What `write` changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that are new or have another content now.
    pub written: Vec<String>,
    /// Files that are no longer generated and were removed.
    pub removed: Vec<String>,
}

/// Writes everything below `workspace`, touching only files that change.
///
/// # Errors
/// [`Error::File`] for the first file that cannot be written.
pub fn write(published: &Published, workspace: &Path) -> Result<Changes, Error> {
    let mut changes = Changes::default();
    for difference in drift(published, workspace)? {
        let path = workspace.join(&difference.path);
        if difference.kind == DriftKind::Stale {
            fs::remove_file(&path).map_err(Error::file(&path))?;
            changes.removed.push(difference.path);
        } else if let Some(text) = published.files().get(&difference.path) {
            let folder = path.parent().unwrap_or(workspace);
            fs::create_dir_all(folder).map_err(Error::file(folder))?;
            fs::write(&path, text).map_err(Error::file(&path))?;
            changes.written.push(difference.path);
        }
    }
    Ok(changes)
}

/// A committed file that is not what would be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The file, relative to the workspace.
    pub path: String,
    /// In which way.
    pub kind: DriftKind,
}

/// How a committed file differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// It is not there.
    Missing,
    /// It has another content from this line on, counted from 1.
    Differs {
        /// The first line that differs.
        line: usize,
    },
    /// Nothing generates it.
    Stale,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            DriftKind::Missing => write!(f, "{}: missing", self.path),
            DriftKind::Differs { line } => write!(f, "{}: differs from line {line} on", self.path),
            DriftKind::Stale => write!(f, "{}: nothing generates it", self.path),
        }
    }
}

/// Compares what is committed below `workspace` with what would be generated, and touches nothing.
///
/// # Errors
/// [`Error::File`] when a file is there but cannot be read.
pub fn drift(published: &Published, workspace: &Path) -> Result<Vec<Drift>, Error> {
    let expected = published.files();
    let committed = committed(workspace)?;
    let mut differences = Vec::new();
    for (path, text) in &expected {
        let found = match path.strip_prefix(DIRECTORY) {
            Some(below) => committed.get(below.trim_start_matches('/')).cloned(),
            None => read_if_there(&workspace.join(path))?,
        };
        let kind = match found {
            Some(found) if found == *text => continue,
            Some(found) => DriftKind::Differs { line: first_difference(text, &found) },
            None => DriftKind::Missing,
        };
        differences.push(Drift { path: path.clone(), kind });
    }
    for path in committed.keys().filter(|path| *path != CHANGELOG) {
        if !published.schemas.contains_key(path) {
            differences.push(Drift { path: format!("{DIRECTORY}/{path}"), kind: DriftKind::Stale });
        }
    }
    for path in read_tree(&workspace.join(reference::FOLDER))?.keys() {
        let path = format!("{}/{path}", reference::FOLDER);
        if !published.reference.contains_key(&path) {
            differences.push(Drift { path, kind: DriftKind::Stale });
        }
    }
    Ok(differences)
}

/// The files that are committed below `schemas/v1`, the changelog included; empty when there are none.
///
/// # Errors
/// [`Error::File`] when a file is there but cannot be read as text.
pub fn committed(workspace: &Path) -> Result<Tree, Error> {
    read_tree(&workspace.join(DIRECTORY))
}

/// The files below a directory, by path relative to it; empty when there are none.
fn read_tree(root: &Path) -> Result<Tree, Error> {
    let mut found = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::file(&folder))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::file(&folder))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
            let name = path.strip_prefix(root).unwrap_or(&path);
            found.insert(name.to_string_lossy().replace('\\', "/"), text);
        }
    }
    Ok(found)
}

fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(path)(error)),
    }
}

fn first_difference(expected: &str, found: &str) -> usize {
    let same = expected.lines().zip(found.lines()).take_while(|(one, other)| one == other);
    same.count() + 1
}
