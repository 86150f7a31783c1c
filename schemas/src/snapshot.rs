//! Published trees from wherever they are kept: a directory, a revision of the checkout, or the released baseline.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::document::{Tree, digest};
use crate::subsume::ANNOTATIONS;
use crate::{CHANGELOG, DIRECTORY, Error};

/// The JSON files of a published tree that say what the contract is: schemas and the index.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Where it came from, in words.
    pub origin: String,
    /// Parsed files by path relative to the published directory.
    pub files: BTreeMap<String, Value>,
    /// SHA-256 of the files as published.
    pub digests: BTreeMap<String, String>,
    /// Whether descriptions and examples are here. The released baseline keeps the digests only.
    pub has_texts: bool,
}

/// The file with the schemas that were released last, relative to the workspace.
pub const RELEASED: &str = "schemas/released.json";

/// Derived files; what is true of their sources is true of them.
const DERIVED: &str = "flavors/";

fn is_contract(path: &str) -> bool {
    (path.ends_with(".schema.json") || path == "index.json") && !path.starts_with(DERIVED)
}

impl Snapshot {
    /// Reads what `place` names: a directory with an `index.json` or with schemas, a baseline file, or `git:REV` for
    /// `schemas/v1` as it was at a revision of the checkout around `here` (`git:REV:PATH` for another path).
    ///
    /// # Errors
    /// [`Error::NotComparable`] when there is nothing that could be compared, with what to do about it.
    pub fn read(place: &str, here: &Path) -> Result<Self, Error> {
        if let Some(revision) = place.strip_prefix("git:") {
            let (revision, path) = revision.split_once(':').unwrap_or((revision, DIRECTORY));
            return Self::of_tree(place, &from_git(revision, path, here)?);
        }
        let path = Path::new(place);
        if path.is_dir() {
            return Self::of_tree(place, &crate::read_tree(path)?);
        }
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        Self::of_baseline(place, &text)
    }

    /// A tree of published files.
    ///
    /// # Errors
    /// [`Error::NotComparable`] when a file is not JSON, or there is no schema.
    pub fn of_tree(origin: &str, tree: &Tree) -> Result<Self, Error> {
        let mut snapshot =
            Self { origin: origin.to_owned(), files: BTreeMap::new(), digests: BTreeMap::new(), has_texts: true };
        for (path, text) in tree.iter().filter(|(path, _)| is_contract(path)) {
            let json = serde_json::from_str(text)
                .map_err(|error| Error::NotComparable(format!("{origin}: {path} is not JSON: {error}")))?;
            snapshot.files.insert(path.clone(), json);
            snapshot.digests.insert(path.clone(), digest(text));
        }
        if snapshot.files.keys().all(|path| path == "index.json") {
            return Err(Error::NotComparable(format!("{origin} holds no *.schema.json")));
        }
        Ok(snapshot)
    }

    /// The version in the index, if there is one.
    pub fn version(&self) -> Option<&str> {
        self.files.get("index.json")?.get("version")?.as_str()
    }

    /// As the text of a baseline: every schema without descriptions and examples, every definition once.
    ///
    /// # Errors
    /// [`Error::NotComparable`], which no published tree causes.
    pub fn baseline(&self) -> Result<String, Error> {
        let mut definitions: Map<String, Value> = Map::new();
        let mut files = Map::new();
        for (path, file) in &self.files {
            let mut file = file.clone();
            if path == "index.json" {
                slim_index(&mut file);
            } else {
                strip(&mut file, true);
            }
            if let Some(Value::Object(own)) = file.get_mut("$defs") {
                for (name, definition) in own.iter_mut() {
                    // One name means the same thing nearly everywhere; where not, the copies are numbered.
                    let taken = definition.take();
                    let key = (0..)
                        .map(|at| if at == 0 { name.clone() } else { format!("{name}~{at}") })
                        .find(|key| definitions.get(key).is_none_or(|known| *known == taken));
                    let key = key.unwrap_or_default();
                    definitions.insert(key.clone(), taken);
                    *definition = Value::from(key);
                }
                let same = own.iter().all(|(name, key)| key == name);
                if same {
                    let names: Vec<Value> = own.keys().cloned().map(Value::from).collect();
                    if let Some(own) = file.get_mut("$defs") {
                        *own = Value::from(names);
                    }
                }
            }
            files.insert(path.clone(), file);
        }
        definitions.sort_keys();
        let mut text = String::from("{\n");
        let line = |key: &str, value: &Value| format!("    {}: {value}", Value::from(key));
        let block = |members: &Map<String, Value>| {
            let lines: Vec<String> = members.iter().map(|(key, value)| line(key, value)).collect();
            format!("{{\n{}\n  }}", lines.join(",\n"))
        };
        let version = self.version().unwrap_or_default();
        let digests: Map<String, Value> = self.digests.iter().map(|(path, it)| (path.clone(), json!(it))).collect();
        text.push_str(&format!("  \"version\": {},\n", Value::from(version)));
        text.push_str(&format!("  \"definitions\": {},\n", block(&definitions)));
        text.push_str(&format!("  \"files\": {},\n", block(&files)));
        text.push_str(&format!("  \"sha256\": {}\n}}\n", block(&digests)));
        Self::of_baseline("the baseline", &text)?;
        Ok(text)
    }

    /// Reads what [`Self::baseline`] wrote.
    ///
    /// # Errors
    /// [`Error::NotComparable`] when it is something else.
    pub fn of_baseline(origin: &str, text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::NotComparable(format!("{origin} is no baseline: {what}"));
        let json: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        let part = |name: &str| json.get(name).and_then(Value::as_object).ok_or_else(|| wrong(&format!("no {name}")));
        let definitions = part("definitions")?;
        let mut files = BTreeMap::new();
        for (path, file) in part("files")? {
            let mut file = file.clone();
            if let Some(own) = file.get_mut("$defs") {
                let keys: Vec<(String, String)> = match &*own {
                    Value::Array(names) => names
                        .iter()
                        .filter_map(|name| Some((name.as_str()?.to_owned(), name.as_str()?.to_owned())))
                        .collect(),
                    Value::Object(keys) => {
                        keys.iter().filter_map(|(name, key)| Some((name.clone(), key.as_str()?.to_owned()))).collect()
                    }
                    _ => Vec::new(),
                };
                let mut full = Map::new();
                for (name, key) in keys {
                    let definition = definitions.get(&key).ok_or_else(|| wrong(&format!("no definition {key}")))?;
                    full.insert(name, definition.clone());
                }
                *own = Value::Object(full);
            }
            files.insert(path.clone(), file);
        }
        let digests = part("sha256")?;
        let digests = digests.iter().filter_map(|(path, it)| Some((path.clone(), it.as_str()?.to_owned()))).collect();
        Ok(Self { origin: origin.to_owned(), files, digests, has_texts: false })
    }
}

/// What of an index matters to a reader of events; its digests are kept beside.
fn slim_index(index: &mut Value) {
    let Some(members) = index.as_object_mut() else { return };
    members.shift_remove("files");
    for entry in members.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.shift_remove("summary");
            entry.shift_remove("examples");
        }
    }
    for entry in members.get_mut("commands").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.shift_remove("summary");
        }
    }
}

/// Takes descriptions, examples and other remarks out of a schema and of those inside of it. Names stay.
pub(crate) fn strip(schema: &mut Value, keeps_title: bool) {
    let Some(members) = schema.as_object_mut() else { return };
    members.retain(|key, _| {
        !ANNOTATIONS.contains(&key.as_str())
            || ["$schema", "$id", "$defs"].contains(&key.as_str())
            || (keeps_title && key == "title")
    });
    for (keyword, value) in members.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(inner)) => {
                inner.values_mut().for_each(|it| strip(it, keeps_title));
            }
            ("items" | "not" | "additionalProperties", inner) => strip(inner, keeps_title),
            ("oneOf" | "anyOf" | "allOf" | "prefixItems", Value::Array(inner)) => {
                inner.iter_mut().for_each(|it| strip(it, keeps_title));
            }
            _ => {}
        }
    }
}

/// The files below a path of a revision. Nothing is checked out.
fn from_git(revision: &str, path: &str, here: &Path) -> Result<Tree, Error> {
    let git = |arguments: &[&str]| -> Result<Vec<u8>, Error> {
        let output = Command::new("git")
            .current_dir(here)
            .args(arguments)
            .output()
            .map_err(|error| Error::NotComparable(format!("git cannot be run: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::NotComparable(format!("git:{revision}: {}", said.trim())));
        }
        Ok(output.stdout)
    };
    if revision.is_empty() || revision.starts_with('-') {
        return Err(Error::NotComparable(format!("`{revision}` is no revision")));
    }
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let top = String::from_utf8_lossy(&top).trim().to_owned();
    let listed = git(&["-C", &top, "ls-tree", "-r", "-z", "--name-only", revision, "--", path])?;
    let mut tree = Tree::new();
    for name in String::from_utf8_lossy(&listed).split('\0').filter(|name| !name.is_empty()) {
        let relative = name.strip_prefix(path).unwrap_or(name).trim_start_matches('/');
        if is_contract(relative) && relative != CHANGELOG {
            let text = git(&["-C", &top, "show", &format!("{revision}:{name}")])?;
            tree.insert(relative.to_owned(), String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(tree)
}
