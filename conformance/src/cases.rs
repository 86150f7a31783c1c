//! The cases of the suite, embedded.

use crate::case::{Case, CaseFile};

/// Each file with its text. A test compares this list with the directory.
macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        /// The case files: name and text.
        pub const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../cases/", $name, ".json"))),)+];
    };
}

embedded!("routing", "subscriptions", "resume", "delivery", "publishing", "commands", "permissions", "http", "sse");

/// A case file that cannot be read. A test sees to it that the embedded ones can.
#[derive(Debug, thiserror::Error)]
#[error("cases/{name}.json: {error}")]
pub struct Unreadable {
    /// The file.
    pub name: &'static str,
    /// What is wrong.
    pub error: serde_json::Error,
}

/// All cases, in the order of the files.
///
/// # Errors
/// The first file that cannot be read.
pub fn all() -> Result<Vec<Case>, Unreadable> {
    let mut cases = Vec::new();
    for (name, text) in FILES {
        let file: CaseFile = serde_json::from_str(text).map_err(|error| Unreadable { name, error })?;
        cases.extend(file.cases);
    }
    Ok(cases)
}
