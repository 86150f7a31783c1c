//! What changed between two published trees, and what that does to those who hold the other one.
//!
//! Every change is judged in both directions: an **old reader with a new writer**, and a **new reader with an old
//! writer**. Who reads and who writes depends on the file. Events are written by servers and read by clients; commands
//! and publications are written by clients and read by servers, so there an old reader is an old server. The severity
//! follows the rules of versions: an event, an optional member or a value of an open list more is minor, texts are a
//! patch, all else is major. A change that some reader refuses is never less than major unless the rules oblige that
//! reader to cope.
//!
//! The walk below finds and names changes; [`crate::subsume`] is asked afterwards whether the definitions as a whole are
//! still accepted. What it refuses and no named change explains is reported as `unexplained`, so nothing that the walk
//! does not know slips through.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde_json::{Map, Value, json};

use crate::Error;
use crate::pattern::Patterns;
use crate::profile::{references, referred};
use crate::snapshot::{Snapshot, strip};
use crate::subsume::{ANNOTATIONS, Judge, Refusal, compare, recursion};

/// What a change does in one direction, from harmless to harmful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Everything sent is accepted and means what it meant.
    Accepts,
    /// A strict validator refuses it, but whoever keeps the rules of versions copes: unknown events and unknown values
    /// of open lists are carried as unknown, and what is new is sent only to those who know it.
    Copes,
    /// Everything is accepted, but something that one side counts on never comes or is never read.
    Misses,
    /// Something that is sent is refused, or it could not be shown that it is accepted.
    Refuses,
}

impl Effect {
    /// As a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepts => "accepts",
            Self::Copes => "copes",
            Self::Misses => "misses",
            Self::Refuses => "refuses",
        }
    }

    /// Whether it breaks something.
    pub const fn breaks(self) -> bool {
        matches!(self, Self::Misses | Self::Refuses)
    }
}

/// How much a version must rise for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Texts only.
    Patch,
    /// More of what readers were told to expect.
    Minor,
    /// Anything else.
    Major,
}

impl Severity {
    /// As a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }
}

/// Who writes what a file describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The server writes, clients read.
    Events,
    /// Clients write, the server reads: commands and publications.
    Requests,
}

impl Role {
    /// Of a file, by its name: `command*`, `publish*`, `publication*` and, of the older systems, `client*` are written by clients.
    pub fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_clients = ["command", "publish", "publication", "client"].iter().any(|start| name.starts_with(start));
        if is_clients { Self::Requests } else { Self::Events }
    }

    const fn reader(self) -> &'static str {
        match self {
            Self::Events => "client",
            Self::Requests => "server",
        }
    }

    const fn writer(self) -> &'static str {
        match self {
            Self::Events => "server",
            Self::Requests => "client",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file, relative to the published directory.
    pub file: String,
    /// The place in it, as a JSON pointer: in the old file for what is gone, else in the new one.
    pub place: String,
    /// The same change in other files, as `file#place`.
    pub also: Vec<String>,
    /// What people call it, for instance `ChatHtmlData.content`.
    pub name: String,
    /// What happened, as a word that announcements repeat: `removed`, `narrowed`, `renamed` and so on.
    pub kind: &'static str,
    /// The same in a sentence.
    pub detail: String,
    /// Who writes what the file describes.
    pub role: Role,
    /// An old reader with a new writer.
    pub old_reader: Effect,
    /// A new reader with an old writer.
    pub new_reader: Effect,
    /// Whether code that names generated types stops compiling when they are generated anew.
    pub renames_types: bool,
    /// What it asks of the version.
    pub severity: Severity,
}

impl Change {
    /// The form in which a changelog announces it.
    pub fn announcement(&self) -> String {
        format!("breaking: {}#{}: {}", self.file, self.place, self.kind)
    }

    /// Whether an announcement names this change, in whichever file.
    pub fn is_announced_by(&self, line: &str) -> bool {
        let also = self.also.iter().map(|place| format!("breaking: {place}: {}", self.kind));
        std::iter::once(self.announcement()).chain(also).any(|own| own == line)
    }

    fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.as_str(),
            "kind": self.kind,
            "name": self.name,
            "detail": self.detail,
            "file": self.file,
            "place": self.place,
            "also": self.also,
            "reader": self.role.reader(),
            "writer": self.role.writer(),
            "old_reader_new_writer": self.old_reader.as_str(),
            "new_reader_old_writer": self.new_reader.as_str(),
            "renames_types": self.renames_types,
            "breaking": self.severity == Severity::Major,
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<5} {}: {}: {}", self.severity.as_str(), self.name, self.kind.replace('_', " "), self.detail)?;
        let more = match self.also.len() {
            0 => String::new(),
            1 => " and in one more file".to_owned(),
            many => format!(" and in {many} more files"),
        };
        write!(f, "      {}#{}{more}", self.file, self.place)?;
        if self.severity == Severity::Patch {
            return Ok(());
        }
        let (reader, writer) = (self.role.reader(), self.role.writer());
        write!(f, "\n      old {reader}, new {writer}: {}", self.old_reader.as_str())?;
        write!(f, "; new {reader}, old {writer}: {}", self.new_reader.as_str())?;
        if self.renames_types {
            f.write_str("; code that names the generated type no longer compiles")?;
        }
        Ok(())
    }
}

/// All changes between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where the old tree came from.
    pub old: String,
    /// Where the new tree came from.
    pub new: String,
    /// The changes, the gravest first, then by file and place.
    pub changes: Vec<Change>,
}

impl Report {
    /// The gravest severity; `None` when nothing changed.
    pub fn severity(&self) -> Option<Severity> {
        self.changes.iter().map(|change| change.severity).max()
    }

    /// Whether something breaks.
    pub fn is_breaking(&self) -> bool {
        self.severity() == Some(Severity::Major)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let changes: Vec<Value> = self.changes.iter().map(Change::to_json).collect();
        json!({
            "old": self.old,
            "new": self.new,
            "severity": self.severity().map(Severity::as_str),
            "breaking": self.is_breaking(),
            "changes": changes,
        })
    }
}

/// Compares two trees.
///
/// # Errors
/// [`Error::NotComparable`] when a definition contains itself.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Result<Report, Error> {
    for snapshot in [old, new] {
        for (path, file) in &snapshot.files {
            if let Some(name) = recursion(file) {
                let what = format!("{}: {path}: the definition {name} contains itself", snapshot.origin);
                return Err(Error::NotComparable(what));
            }
        }
    }
    let patterns = Patterns::default();
    let mut found = Vec::new();
    let open = open_enums(old);
    for path in old.files.keys().chain(new.files.keys()).collect::<BTreeSet<_>>() {
        match (old.files.get(path), new.files.get(path)) {
            (Some(before), Some(after)) if path == "index.json" => index(before, after, old, new, &mut found),
            (Some(before), Some(after)) => {
                let others = |snapshot: &'_ Snapshot| -> Option<Value> {
                    (path == "event.schema.json").then(|| snapshot.files.get("incoming.schema.json").cloned())?
                };
                let readers = (others(old), others(new));
                File::new(path, before, after, &open, &patterns).compare(&readers, &mut found);
            }
            (Some(before), None) => found.push(whole_file(path, before, false)),
            // Who pins some files and no index is told of those files.
            (None, Some(after)) if old.files.contains_key("index.json") => found.push(whole_file(path, after, true)),
            (None, _) => {}
        }
    }
    texts(old, new, &mut found);
    Ok(Report { old: old.origin.clone(), new: new.origin.clone(), changes: merged(found) })
}

/// The lists of values that may grow, as the index says.
fn open_enums(snapshot: &Snapshot) -> BTreeSet<String> {
    let lists = snapshot.files.get("index.json").and_then(|index| index.get("lists")?.as_object());
    lists.into_iter().flatten().filter(|(_, word)| *word == "open").map(|(name, _)| name.clone()).collect()
}

fn whole_file(path: &str, file: &Value, is_new: bool) -> Change {
    let title = file.get("title").and_then(Value::as_str).unwrap_or(path);
    let event = file.pointer("/properties/type/const").and_then(Value::as_str);
    let (kind, effect, severity) =
        if is_new { ("added", Effect::Accepts, Severity::Minor) } else { ("removed", Effect::Misses, Severity::Major) };
    let what = event.map_or_else(|| "the file".to_owned(), |event| format!("the event {event}"));
    Change {
        file: path.to_owned(),
        place: String::new(),
        also: Vec::new(),
        name: title.to_owned(),
        kind,
        detail: format!("{what} is {}", if is_new { "new" } else { "gone" }),
        role: Role::of(path),
        old_reader: effect,
        new_reader: Effect::Accepts,
        renames_types: !is_new,
        severity,
    }
}

/// One change in many files is one change.
fn merged(found: Vec<Change>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut known: HashMap<(String, &'static str, String, Role), usize> = HashMap::new();
    // The roots speak for the files of single events.
    let rank = |change: &Change| {
        let is_root = ["event.schema.json", "publish.schema.json", "command.schema.json"].contains(&&*change.file);
        (!is_root, change.file.clone())
    };
    let mut found = found;
    found.sort_by_key(rank);
    for change in found {
        let key = (change.name.clone(), change.kind, change.detail.clone(), change.role);
        let place = format!("{}#{}", change.file, change.place);
        match known.get(&key).and_then(|at| changes.get_mut(*at)) {
            Some(first) => {
                first.also.push(place);
                first.old_reader = first.old_reader.max(change.old_reader);
                first.new_reader = first.new_reader.max(change.new_reader);
                first.severity = first.severity.max(change.severity);
            }
            None => {
                known.insert(key, changes.len());
                changes.push(change);
            }
        }
    }
    changes.sort_by(|one, other| {
        let by = |it: &Change| (std::cmp::Reverse(it.severity), it.file.clone(), it.place.clone());
        by(one).cmp(&by(other))
    });
    changes
}

// ---------------------------------------------------------------------------------------------------------------
// The index
// ---------------------------------------------------------------------------------------------------------------

/// Where an event may go, how it is delivered and what it needs are part of the contract, and stand in the index.
fn index(before: &Value, after: &Value, old: &Snapshot, new: &Snapshot, found: &mut Vec<Change>) {
    let mut push = |place: String, name: &str, kind, detail: String, effect, severity| {
        found.push(Change {
            file: "index.json".to_owned(),
            place,
            also: Vec::new(),
            name: name.to_owned(),
            kind,
            detail,
            role: Role::Events,
            old_reader: effect,
            new_reader: Effect::Accepts,
            renames_types: false,
            severity,
        });
    };
    let (events_before, events_after) = (entries(before, "events"), entries(after, "events"));
    for (name, was) in &events_before {
        let Some(is) = events_after.get(name) else {
            // Where the root is here, it tells of that.
            if !old.files.contains_key("event.schema.json") || !new.files.contains_key("event.schema.json") {
                let place = format!("/events/{name}");
                push(place, name, "removed", "the event is gone".to_owned(), Effect::Misses, Severity::Major);
            }
            continue;
        };
        let place = |member: &str| format!("/events/{name}/{member}");
        let words = |entry: &Value, member: &str| -> BTreeSet<String> {
            let list = entry.get(member).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|it| Some(it.as_str()?.to_owned())).collect()
        };
        let (from, to) = (words(was, "audiences"), words(is, "audiences"));
        for gone in from.difference(&to) {
            let detail = format!("no longer goes to `{gone}`");
            push(place("audiences"), name, "audience_removed", detail, Effect::Misses, Severity::Major);
        }
        for more in to.difference(&from) {
            let detail = format!("now goes to `{more}`, too");
            push(place("audiences"), name, "audience_added", detail, Effect::Accepts, Severity::Major);
        }
        let class = |entry: &Value| entry.pointer("/delivery/class").and_then(Value::as_str).map(str::to_owned);
        let (from, to) = (class(was), class(is));
        if from != to {
            let strength = |class: &Option<String>| match class.as_deref() {
                Some("durable") => 3,
                Some("append") => 2,
                Some("latest") => 1,
                _ => 0,
            };
            let weaker = strength(&to) < strength(&from);
            let (kind, effect) =
                if weaker { ("delivery_weaker", Effect::Misses) } else { ("delivery_changed", Effect::Accepts) };
            let detail = format!("{} before, {} now", from.unwrap_or_default(), to.unwrap_or_default());
            push(place("delivery/class"), name, kind, detail, effect, Severity::Major);
        }
        for member in ["key", "joins"] {
            let at = |entry: &Value| entry.get("delivery").and_then(|it| it.get(member)).cloned();
            if at(was) != at(is) {
                let detail = format!("{} before, {} now", shown(at(was)), shown(at(is)));
                push(
                    place(&format!("delivery/{member}")),
                    name,
                    "delivery_changed",
                    detail,
                    Effect::Misses,
                    Severity::Major,
                );
            }
        }
        match (was.get("permission"), is.get("permission")) {
            (from, to) if from == to => {}
            (from, None) => {
                let detail = format!("no longer needs {}", shown(from.cloned()));
                push(place("permission"), name, "permission_removed", detail, Effect::Accepts, Severity::Major);
            }
            (_, to) => {
                let detail = format!("needs {} now", shown(to.cloned()));
                push(place("permission"), name, "permission_added", detail, Effect::Misses, Severity::Major);
            }
        }
        let publishable = |entry: &Value| entry.get("publishable").is_some_and(|it| it == true);
        if publishable(was) != publishable(is) {
            let (kind, severity, effect) = if publishable(is) {
                ("now_publishable", Severity::Minor, Effect::Accepts)
            } else {
                ("no_longer_publishable", Severity::Major, Effect::Misses)
            };
            push(place("publishable"), name, kind, "who may publish it".to_owned(), effect, severity);
        }
    }
    if !old.files.contains_key("event.schema.json") || !new.files.contains_key("event.schema.json") {
        for name in events_after.keys().filter(|name| !events_before.contains_key(*name)) {
            push(
                format!("/events/{name}"),
                name,
                "added",
                "the event is new".to_owned(),
                Effect::Copes,
                Severity::Minor,
            );
        }
    }
    let lists = |index: &Value| index.get("lists").and_then(Value::as_object).cloned().unwrap_or_default();
    let (from, to) = (lists(before), lists(after));
    for (name, was) in &from {
        match to.get(name) {
            Some(is) if is != was => {
                let detail = format!("{} before, {} now", shown(Some(was.clone())), shown(Some(is.clone())));
                push(format!("/lists/{name}"), name, "list_changed", detail, Effect::Misses, Severity::Major);
            }
            _ => {}
        }
    }
}

fn entries<'a>(index: &'a Value, list: &str) -> BTreeMap<String, &'a Value> {
    let entries = index.get(list).and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| Some((entry.get("type")?.as_str()?.to_owned(), entry))).collect()
}

fn shown(value: Option<Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value) => format!("`{value}`"),
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Texts
// ---------------------------------------------------------------------------------------------------------------

/// Files in which nothing but texts differ.
fn texts(old: &Snapshot, new: &Snapshot, found: &mut Vec<Change>) {
    for (path, before) in &old.files {
        let Some(after) = new.files.get(path).filter(|_| path != "index.json") else { continue };
        let differs = match (old.has_texts && new.has_texts, old.digests.get(path), new.digests.get(path)) {
            (true, ..) => before != after,
            (false, one, other) => one != other,
        };
        let is_told = found.iter().any(|change| change.file == *path);
        if differs && !is_told {
            found.push(Change {
                file: path.clone(),
                place: String::new(),
                also: Vec::new(),
                name: after.get("title").and_then(Value::as_str).unwrap_or(path).to_owned(),
                kind: "texts_changed",
                detail: "descriptions, examples or the order of members".to_owned(),
                role: Role::of(path),
                old_reader: Effect::Accepts,
                new_reader: Effect::Accepts,
                renames_types: false,
                severity: Severity::Patch,
            });
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// One file
// ---------------------------------------------------------------------------------------------------------------

/// A file of both trees.
struct File<'a> {
    path: &'a str,
    old: &'a Value,
    new: &'a Value,
    role: Role,
    /// Names of lists of values that may grow.
    open: &'a BTreeSet<String>,
    patterns: &'a Patterns,
    /// Definitions that have another name now.
    renamed: BTreeMap<&'a str, &'a str>,
    /// Whether the new reader accepts the old writer, and the reverse.
    forward: Judge<'a>,
    backward: Judge<'a>,
}

/// A place in both trees.
#[derive(Clone)]
struct Place {
    pointer: String,
    name: String,
}

impl Place {
    fn keyword(&self, keyword: &str) -> Self {
        Self { pointer: format!("{}/{keyword}", self.pointer), name: self.name.clone() }
    }

    fn member(&self, member: &str) -> Self {
        let escaped = member.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("{}/properties/{escaped}", self.pointer), name: format!("{}.{member}", self.name) }
    }

    fn items(&self) -> Self {
        Self { pointer: format!("{}/items", self.pointer), name: format!("{}[]", self.name) }
    }
}

/// What both directions see of a change.
struct Seen {
    old_reader: Effect,
    new_reader: Effect,
}

impl Seen {
    const fn new(old_reader: Effect, new_reader: Effect) -> Self {
        Self { old_reader, new_reader }
    }
}

fn definitions(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    document.get("$defs").and_then(Value::as_object).into_iter().flatten()
}

fn definition<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    document.get("$defs")?.get(name)
}

/// The name behind a reference that stands alone, or alone in a union.
fn target(schema: &Value) -> Option<&str> {
    let members = schema.as_object()?;
    let constraints: Vec<&str> = members.keys().map(String::as_str).filter(|key| !ANNOTATIONS.contains(key)).collect();
    match constraints.as_slice() {
        ["$ref"] => referred(schema),
        ["oneOf"] => match members.get("oneOf")?.as_array()?.as_slice() {
            [only] => target(only),
            _ => None,
        },
        _ => None,
    }
}

/// A schema without texts, names and references: two with the same shape accept the same, whatever they are called.
fn shape(schema: &Value, document: &Value) -> Value {
    let mut bare = schema.clone();
    strip(&mut bare, false);
    if let Some(members) = bare.as_object_mut() {
        members.shift_remove("$defs");
    }
    fn expand(schema: &mut Value, document: &Value) {
        if let Some(inner) = target(schema).and_then(|name| definition(document, name)) {
            *schema = shape(inner, document);
            return;
        }
        match schema {
            Value::Object(members) => {
                members.values_mut().for_each(|it| expand(it, document));
                members.sort_keys();
            }
            Value::Array(items) => items.iter_mut().for_each(|it| expand(it, document)),
            _ => {}
        }
    }
    expand(&mut bare, document);
    bare
}

/// The definitions that a root still needs when some are taken out.
fn reachable(document: &Value, without: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut root = document.clone();
    if let Some(members) = root.as_object_mut() {
        members.shift_remove("$defs");
    }
    let mut open: Vec<String> = references(&root);
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if without.contains(name.as_str()) || seen.contains(&name) {
            continue;
        }
        open.extend(definition(document, &name).map(references).unwrap_or_default());
        seen.insert(name);
    }
    seen
}

impl<'a> File<'a> {
    fn new(path: &'a str, old: &'a Value, new: &'a Value, open: &'a BTreeSet<String>, patterns: &'a Patterns) -> Self {
        Self {
            path,
            old,
            new,
            role: Role::of(path),
            open,
            patterns,
            renamed: renamed(old, new),
            forward: Judge::new(new, old, patterns),
            backward: Judge::new(old, new, patterns),
        }
    }

    /// The name that an old definition has now.
    fn now<'b>(&self, name: &'b str) -> &'b str
    where
        'a: 'b,
    {
        self.renamed.get(name).copied().unwrap_or(name)
    }

    fn old_reader(&self, old: &'a Value, new: &'a Value) -> Result<(), Refusal> {
        self.backward.accepts(old, new)
    }

    fn new_reader(&self, old: &'a Value, new: &'a Value) -> Result<(), Refusal> {
        self.forward.accepts(new, old)
    }

    fn compare(self, readers: &(Option<Value>, Option<Value>), found: &mut Vec<Change>) {
        let mut changes = Vec::new();
        let title = |document: &Value| document.get("title").and_then(Value::as_str).unwrap_or("the root").to_owned();
        let root = Place { pointer: String::new(), name: title(self.new) };
        if title(self.old) != title(self.new) {
            let detail = format!("`{}` is called `{}` now; its shape is the same", title(self.old), title(self.new));
            self.push(&mut changes, &root, "renamed", detail, Seen::new(Effect::Accepts, Effect::Accepts), None);
        }
        self.node(self.old, self.new, &root, &mut changes);
        let dropped = self.dropped_members();
        let dropped: BTreeSet<&str> = dropped.iter().map(String::as_str).collect();
        let still_needed = reachable(self.old, &dropped);
        for (name, before) in definitions(self.old) {
            let now = self.now(name);
            let place = Place { pointer: format!("/$defs/{now}"), name: now.to_owned() };
            let Some(after) = definition(self.new, now) else {
                // What only a dropped member of a union needed goes with it.
                if still_needed.contains(name) {
                    let place = Place { pointer: format!("/$defs/{name}"), name: name.clone() };
                    let detail = "the definition is gone; what referred to it says what for".to_owned();
                    self.push(
                        &mut changes,
                        &place,
                        "removed",
                        detail,
                        Seen::new(Effect::Accepts, Effect::Accepts),
                        None,
                    );
                }
                continue;
            };
            if now != name {
                let detail = format!("`{name}` is called `{now}` now; its shape is the same");
                self.push(&mut changes, &place, "renamed", detail, Seen::new(Effect::Accepts, Effect::Accepts), None);
            }
            self.node(before, after, &place, &mut changes);
        }
        self.unexplained(readers, &mut changes);
        found.append(&mut changes);
    }

    /// Asks of every definition as a whole whether what the walk found is all there is.
    fn unexplained(&self, readers: &(Option<Value>, Option<Value>), changes: &mut Vec<Change>) {
        let title = self.new.get("title").and_then(Value::as_str).unwrap_or("the root");
        let pairs = definitions(self.old).filter_map(|(name, before)| {
            let now = self.now(name);
            Some((format!("/$defs/{now}"), now, before, definition(self.new, now)?))
        });
        let mut surprises = Vec::new();
        // The open root's known events are compared where they are closed.
        let has_own_root = self.path != "incoming.schema.json";
        let root = has_own_root.then_some((String::new(), title, self.old, self.new));
        for (pointer, name, before, after) in pairs.chain(root) {
            let types = |schema: &'a Value| schema.pointer("/properties/type/not");
            let only_knows_more = name == "UnknownEvent" && self.is_list_of_known_types(types(before), types(after));
            if !has_own_root && (name == "Event" || only_knows_more) {
                continue;
            }
            let is_root = pointer.is_empty();
            let explains = |change: &Change, effect: Effect, reach: &BTreeSet<String>| {
                let own = change.place.split('/').nth(2).unwrap_or_default();
                effect >= Effect::Copes
                    && effect != Effect::Misses
                    && (is_root || (change.place.starts_with("/$defs/") && (own == name || reach.contains(own))))
            };
            let forward = match (is_root, &readers.1) {
                (true, Some(reader)) => Judge::new(reader, self.old, self.patterns).accepts(reader, before),
                _ => self.new_reader(before, after),
            };
            let backward = match (is_root, &readers.0) {
                (true, Some(reader)) => Judge::new(reader, self.new, self.patterns).accepts(reader, after),
                _ => self.old_reader(before, after),
            };
            if forward.is_ok() && backward.is_ok() {
                continue;
            }
            let mut reach: BTreeSet<String> = references_in(self.new, after);
            reach.extend(references_in(self.old, before).iter().map(|it| self.now(it).to_owned()));
            let is_told = |effect: fn(&Change) -> Effect| changes.iter().any(|it| explains(it, effect(it), &reach));
            let effect = |result: &Result<(), Refusal>, is_told: bool| {
                if result.is_err() && !is_told { Effect::Refuses } else { Effect::Accepts }
            };
            let seen = Seen::new(
                effect(&backward, is_told(|change| change.old_reader)),
                effect(&forward, is_told(|change| change.new_reader)),
            );
            if seen.old_reader != Effect::Accepts || seen.new_reader != Effect::Accepts {
                let why: Vec<String> =
                    [backward.err(), forward.err()].iter().flatten().map(ToString::to_string).collect();
                surprises.push((Place { pointer, name: name.to_owned() }, why.join("; "), seen));
            }
        }
        for (place, why, seen) in surprises {
            self.push(changes, &place, "unexplained", why, seen, None);
        }
    }

    /// Members of unions that are gone.
    fn dropped_members(&self) -> Vec<String> {
        let mut dropped = Vec::new();
        let nodes = std::iter::once((self.old, Some(self.new)))
            .chain(definitions(self.old).map(|(name, before)| (before, definition(self.new, self.now(name)))));
        for (before, after) in nodes {
            let now = after.map(union).unwrap_or_default();
            for member in union(before) {
                if !now.contains(&self.now(member)) {
                    dropped.push(member.to_owned());
                }
            }
        }
        dropped
    }

    fn push(
        &self,
        changes: &mut Vec<Change>,
        place: &Place,
        kind: &'static str,
        detail: String,
        seen: Seen,
        severity: Option<Severity>,
    ) {
        let breaks = seen.old_reader.breaks() || seen.new_reader.breaks();
        let severity = if breaks { Severity::Major } else { severity.unwrap_or(Severity::Major) };
        changes.push(Change {
            file: self.path.to_owned(),
            place: place.pointer.clone(),
            also: Vec::new(),
            name: place.name.clone(),
            kind,
            detail,
            role: self.role,
            old_reader: seen.old_reader,
            new_reader: seen.new_reader,
            renames_types: kind == "renamed" || (kind == "removed" && is_definition(&place.pointer)),
            severity,
        });
    }

    // -----------------------------------------------------------------------------------------------------------
    // The walk
    // -----------------------------------------------------------------------------------------------------------

    fn node(&self, old: &'a Value, new: &'a Value, place: &Place, changes: &mut Vec<Change>) {
        if old == new {
            return;
        }
        match (target(old), target(new)) {
            (Some(before), Some(after)) if self.now(before) == after => return,
            (None, None) => {}
            _ => return self.retyped(old, new, place, changes),
        }
        let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else {
            return self.retyped(old, new, place, changes);
        };
        if before.contains_key("oneOf") != after.contains_key("oneOf") || before.get("type") != after.get("type") {
            return self.retyped(old, new, place, changes);
        }
        let lists = |schema: &Map<String, Value>| (schema.contains_key("const"), schema.contains_key("enum"));
        if lists(before) != lists(after) {
            return self.retyped(old, new, place, changes);
        }
        self.members_of_union(old, new, place, changes);
        if before.get("const") != after.get("const") {
            let detail =
                format!("{} before, {} now", shown(before.get("const").cloned()), shown(after.get("const").cloned()));
            let seen = Seen::new(Effect::Refuses, Effect::Refuses);
            self.push(changes, &place.keyword("const"), "const_changed", detail, seen, None);
        }
        self.values(before, after, place, changes);
        for (keyword, is_least) in [
            ("minimum", true),
            ("maximum", false),
            ("minLength", true),
            ("maxLength", false),
            ("minItems", true),
            ("maxItems", false),
        ] {
            self.bound(keyword, is_least, before, after, place, changes);
        }
        self.pattern(before, after, place, changes);
        self.format(before, after, place, changes);
        self.members(before, after, (old, new), place, changes);
        self.inner(before, after, (old, new), place, changes);
        let handled = [
            "type",
            "oneOf",
            "$ref",
            "const",
            "enum",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "pattern",
            "format",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "not",
        ];
        let keywords: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for keyword in keywords {
            let is_known = handled.contains(&keyword.as_str()) || ANNOTATIONS.contains(&keyword.as_str());
            if !is_known && before.get(keyword) != after.get(keyword) {
                let seen = Seen::new(Effect::Refuses, Effect::Refuses);
                let detail = format!("`{keyword}` cannot be compared");
                self.push(changes, &place.keyword(keyword), "changed", detail, seen, None);
            }
        }
    }

    /// Something else stands here now.
    fn retyped(&self, old: &'a Value, new: &'a Value, place: &Place, changes: &mut Vec<Change>) {
        let (by_old, by_new) = (self.old_reader(old, new), self.new_reader(old, new));
        let effect = |result: &Result<(), Refusal>| if result.is_ok() { Effect::Accepts } else { Effect::Refuses };
        let seen = Seen::new(effect(&by_old), effect(&by_new));
        let describe = |schema: &Value| -> String {
            let kind = schema.get("type").map(|kind| kind.to_string().replace('"', ""));
            let list = || schema.get("const").or_else(|| schema.get("enum")).map(ToString::to_string);
            let union = || schema.get("oneOf").map(|_| "a union".to_owned());
            target(schema)
                .map(|it| format!("`{it}`"))
                .or_else(list)
                .or(kind)
                .or_else(union)
                .unwrap_or_else(|| schema.to_string())
        };
        let mut detail = format!("{} before, {} now", describe(old), describe(new));
        for refusal in [by_old.err(), by_new.err()].iter().flatten() {
            detail.push_str(&format!("; {refusal}"));
        }
        if seen.old_reader == Effect::Accepts && seen.new_reader == Effect::Accepts {
            self.push(changes, place, "respelled", detail, seen, Some(Severity::Minor));
        } else {
            self.push(changes, place, "type_changed", detail, seen, None);
        }
    }

    fn members_of_union(&self, old: &'a Value, new: &'a Value, place: &Place, changes: &mut Vec<Change>) {
        let (before, after) = (union(old), union(new));
        for member in &before {
            if after.contains(&self.now(member)) {
                continue;
            }
            let frame = self.frame(self.old, member, place);
            let (pointer, name) = (format!("/$defs/{member}"), (*member).to_owned());
            let (seen, detail) = match (frame, self.role) {
                (Some(frame), Role::Events) => {
                    (Seen::new(Effect::Misses, Effect::Copes), format!("`{frame}` is no longer sent"))
                }
                (Some(frame), Role::Requests) => {
                    (Seen::new(Effect::Accepts, Effect::Refuses), format!("`{frame}` is no longer read"))
                }
                (None, _) => {
                    (Seen::new(Effect::Accepts, Effect::Refuses), format!("{} is no longer one of these", member))
                }
            };
            let place = if frame.is_some() { Place { pointer, name } } else { place.keyword("oneOf") };
            self.push(changes, &place, "removed", detail, seen, None);
        }
        let was: Vec<&str> = before.iter().map(|it| self.now(it)).collect();
        for member in after.iter().filter(|member| !was.contains(member)) {
            let (pointer, name) = (format!("/$defs/{member}"), (*member).to_owned());
            match self.frame(self.new, member, place) {
                Some(frame) => {
                    let place = Place { pointer, name };
                    let detail = match self.role {
                        Role::Events => format!("`{frame}` is new; who does not know it carries it as unknown"),
                        Role::Requests => format!("`{frame}` is new; older servers answer that they do not know it"),
                    };
                    let seen = Seen::new(Effect::Copes, Effect::Accepts);
                    self.push(changes, &place, "added", detail, seen, Some(Severity::Minor));
                }
                None => {
                    let detail = format!("{member} may stand here now, too");
                    let seen = Seen::new(Effect::Refuses, Effect::Accepts);
                    self.push(changes, &place.keyword("oneOf"), "alternative_added", detail, seen, None);
                }
            }
        }
    }

    /// What a member of a union is called if it is a frame: its `type`, or in a dialect, whose frames may be told apart in
    /// another way, its own name.
    fn frame<'b>(&self, document: &'b Value, member: &'b str, place: &Place) -> Option<&'b str> {
        let is_root_of_dialect = place.pointer.is_empty() && self.path.starts_with("dialects/");
        frame_type(document, member).or_else(|| is_root_of_dialect.then_some(member))
    }

    /// The values of a list. An open one may grow; a closed one grants or decides something and may not.
    fn values(&self, old: &Map<String, Value>, new: &Map<String, Value>, place: &Place, changes: &mut Vec<Change>) {
        let (Some(before), Some(after)) =
            (old.get("enum").and_then(Value::as_array), new.get("enum").and_then(Value::as_array))
        else {
            return;
        };
        let is_open = self.open.contains(place.name.as_str());
        let place = place.keyword("enum");
        for value in before.iter().filter(|value| !after.contains(value)) {
            let by_new = if is_open && self.role == Role::Events { Effect::Copes } else { Effect::Refuses };
            let detail = format!("`{}` is gone", plain(value));
            self.push(changes, &place, "value_removed", detail, Seen::new(Effect::Accepts, by_new), None);
        }
        for value in after.iter().filter(|value| !before.contains(value)) {
            let by_old = if is_open { Effect::Copes } else { Effect::Refuses };
            let which = if is_open { "open" } else { "closed" };
            let detail = format!("`{}` is new in a list that is {which}", plain(value));
            let severity = is_open.then_some(Severity::Minor);
            self.push(changes, &place, "value_added", detail, Seen::new(by_old, Effect::Accepts), severity);
        }
    }

    fn bound(
        &self,
        keyword: &str,
        is_least: bool,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        place: &Place,
        changes: &mut Vec<Change>,
    ) {
        let (before, after) = (old.get(keyword), new.get(keyword));
        if before == after {
            return;
        }
        let order = match (before.and_then(Value::as_number), after.and_then(Value::as_number)) {
            (Some(before), Some(after)) => compare(before, after),
            (None, _) => Some(if is_least { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }),
            (_, None) => Some(if is_least { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less }),
        };
        let (kind, seen) = match order {
            Some(std::cmp::Ordering::Equal) => return,
            None => ("changed", Seen::new(Effect::Refuses, Effect::Refuses)),
            Some(order) if order.is_lt() == is_least => ("narrowed", Seen::new(Effect::Accepts, Effect::Refuses)),
            Some(_) => ("widened", Seen::new(Effect::Refuses, Effect::Accepts)),
        };
        let detail = format!("{keyword} {} before, {} now", shown(before.cloned()), shown(after.cloned()));
        self.push(changes, &place.keyword(keyword), kind, detail, seen, None);
    }

    fn pattern(&self, old: &Map<String, Value>, new: &Map<String, Value>, place: &Place, changes: &mut Vec<Change>) {
        let text = |schema: &'_ Map<String, Value>| Some(schema.get("pattern")?.as_str()?.to_owned());
        let (before, after) = (text(old), text(new));
        if before == after {
            return;
        }
        let by = |included: Option<bool>| if included == Some(true) { Effect::Accepts } else { Effect::Refuses };
        let seen = match (&before, &after) {
            (Some(before), Some(after)) => {
                Seen::new(by(self.patterns.includes(before, after)), by(self.patterns.includes(after, before)))
            }
            (None, _) => Seen::new(Effect::Accepts, Effect::Refuses),
            (_, None) => Seen::new(Effect::Refuses, Effect::Accepts),
        };
        let (kind, severity) = match (seen.old_reader, seen.new_reader) {
            (Effect::Accepts, Effect::Accepts) => ("respelled", Some(Severity::Minor)),
            (Effect::Accepts, _) => ("narrowed", None),
            (_, Effect::Accepts) => ("widened", None),
            _ => ("changed", None),
        };
        let shown = |it: Option<String>| shown(it.map(Value::from));
        let detail = format!("{} before, {} now", shown(before), shown(after));
        self.push(changes, &place.keyword("pattern"), kind, detail, seen, severity);
    }

    fn format(&self, old: &Map<String, Value>, new: &Map<String, Value>, place: &Place, changes: &mut Vec<Change>) {
        let (before, after) = (old.get("format"), new.get("format"));
        let (kind, seen) = match (before, after) {
            _ if before == after => return,
            (None, _) => ("narrowed", Seen::new(Effect::Accepts, Effect::Refuses)),
            (_, None) => ("widened", Seen::new(Effect::Refuses, Effect::Accepts)),
            _ => ("changed", Seen::new(Effect::Refuses, Effect::Refuses)),
        };
        let detail = format!("{} before, {} now", shown(before.cloned()), shown(after.cloned()));
        self.push(changes, &place.keyword("format"), kind, detail, seen, None);
    }

    fn members(
        &self,
        old: &'a Map<String, Value>,
        new: &'a Map<String, Value>,
        whole: (&'a Value, &'a Value),
        place: &Place,
        changes: &mut Vec<Change>,
    ) {
        let named = |schema: &'a Map<String, Value>| schema.get("properties").and_then(Value::as_object);
        let required = |schema: &Map<String, Value>, name: &str| {
            let list = schema.get("required").and_then(Value::as_array);
            list.into_iter().flatten().any(|it| it == name)
        };
        for (name, before) in named(old).into_iter().flatten() {
            let place = place.member(name);
            let was_required = required(old, name);
            let Some(after) = named(new).and_then(|it| it.get(name)) else {
                let by_old = match (was_required, self.role) {
                    (true, _) => Effect::Refuses,
                    (false, Role::Events) => Effect::Misses,
                    (false, Role::Requests) => Effect::Accepts,
                };
                // Who no longer names it ignores it, if it may be there at all.
                let ignored = if self.role == Role::Requests { Effect::Misses } else { Effect::Accepts };
                let by_new = match new.get("additionalProperties") {
                    None => ignored,
                    Some(others) if self.new_reader(before, others).is_ok() => ignored,
                    Some(_) => Effect::Refuses,
                };
                let detail = format!("{} member is gone", if was_required { "a required" } else { "an optional" });
                self.push(changes, &place, "removed", detail, Seen::new(by_old, by_new), None);
                continue;
            };
            match (was_required, required(new, name)) {
                (false, true) => {
                    let seen = Seen::new(Effect::Accepts, Effect::Refuses);
                    self.push(changes, &place, "now_required", "it was optional".to_owned(), seen, None);
                }
                (true, false) => {
                    let seen = Seen::new(Effect::Refuses, Effect::Accepts);
                    self.push(changes, &place, "now_optional", "it was required".to_owned(), seen, None);
                }
                _ => {}
            }
            self.node(before, after, &place, changes);
        }
        for (name, after) in named(new).into_iter().flatten() {
            if named(old).is_some_and(|it| it.contains_key(name)) {
                continue;
            }
            let place = place.member(name);
            let is_required = required(new, name);
            let by_old = match old.get("additionalProperties") {
                None => Effect::Accepts,
                Some(others) if self.old_reader(others, after).is_ok() => Effect::Accepts,
                Some(Value::Bool(false)) if self.role == Role::Requests && !is_required => Effect::Copes,
                Some(_) => Effect::Refuses,
            };
            // An older writer that sends whatever it likes may have sent something else under this name.
            let sent_before = old.get("additionalProperties").filter(|it| *it != &Value::Bool(false));
            let by_new = match sent_before {
                _ if is_required => Effect::Refuses,
                Some(others) if self.new_reader(others, after).is_err() => Effect::Refuses,
                _ => Effect::Accepts,
            };
            let (kind, detail) = if is_required {
                ("added_required", "a required member is new")
            } else {
                ("added_optional", "an optional member is new")
            };
            let severity = (!is_required).then_some(Severity::Minor);
            self.push(changes, &place, kind, detail.to_owned(), Seen::new(by_old, by_new), severity);
        }
        // Names that are required and described nowhere.
        let undescribed = |schema: &'a Map<String, Value>| -> BTreeSet<&'a str> {
            let list = schema.get("required").and_then(Value::as_array);
            let is_named = |name: &&str| named(schema).is_some_and(|it| it.contains_key(*name));
            list.into_iter().flatten().filter_map(Value::as_str).filter(|name| !is_named(name)).collect()
        };
        if undescribed(old) != undescribed(new) {
            self.judged(whole, &place.keyword("required"), "changed", changes);
        }
    }

    /// Members that are not named, items, exclusions.
    fn inner(
        &self,
        old: &'a Map<String, Value>,
        new: &'a Map<String, Value>,
        whole: (&'a Value, &'a Value),
        place: &Place,
        changes: &mut Vec<Change>,
    ) {
        let both = |keyword: &str| (old.get(keyword), new.get(keyword));
        match both("additionalProperties") {
            (Some(before @ Value::Object(_)), Some(after @ Value::Object(_))) => {
                let inner = place.keyword("additionalProperties");
                self.node(before, after, &Place { name: format!("{}.*", inner.name), ..inner }, changes);
            }
            (before, after) if before == after => {}
            // To say nothing is the open side of a reader and the closed side of a writer.
            (_, Some(Value::Bool(true))) | (Some(_), None) => {
                self.judged(whole, &place.keyword("additionalProperties"), "opened", changes);
            }
            (Some(Value::Bool(true)) | None, Some(_)) => {
                self.judged(whole, &place.keyword("additionalProperties"), "closed", changes);
            }
            _ => self.judged(whole, &place.keyword("additionalProperties"), "changed", changes),
        }
        match both("items") {
            (Some(before), Some(after)) => self.node(before, after, &place.items(), changes),
            (None, None) => {}
            (None, Some(_)) => self.judged(whole, &place.items(), "narrowed", changes),
            (Some(_), None) => self.judged(whole, &place.items(), "widened", changes),
        }
        let (before, after) = both("not");
        if before != after && !self.is_list_of_known_types(before, after) {
            self.judged(whole, &place.keyword("not"), "changed", changes);
        }
    }

    /// The open root excludes the types it knows, which changes with them.
    fn is_list_of_known_types(&self, before: Option<&Value>, after: Option<&Value>) -> bool {
        let list = |schema: Option<&Value>| -> Option<BTreeSet<String>> {
            let values = schema?.get("enum")?.as_array()?;
            values.iter().map(|value| Some(value.as_str()?.to_owned())).collect()
        };
        let types = |document: &'a Value| -> BTreeSet<String> {
            let frames = definitions(document).filter_map(|(name, _)| frame_type(document, name));
            frames.map(str::to_owned).collect()
        };
        self.path == "incoming.schema.json"
            && list(before) == Some(types(self.old))
            && list(after) == Some(types(self.new))
    }

    /// A change whose effect is that of the whole schema around it.
    fn judged(&self, whole: (&'a Value, &'a Value), place: &Place, kind: &'static str, changes: &mut Vec<Change>) {
        let (by_old, by_new) = (self.old_reader(whole.0, whole.1), self.new_reader(whole.0, whole.1));
        let effect = |result: &Result<(), Refusal>| if result.is_ok() { Effect::Accepts } else { Effect::Refuses };
        let seen = Seen::new(effect(&by_old), effect(&by_new));
        let why: Vec<String> = [by_old.err(), by_new.err()].iter().flatten().map(ToString::to_string).collect();
        if why.is_empty() {
            let detail = "it is said otherwise, and no value is refused for it".to_owned();
            return self.push(changes, place, "respelled", detail, seen, Some(Severity::Minor));
        }
        self.push(changes, place, kind, why.join("; "), seen, None);
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a pointer leads to a definition and no deeper.
fn is_definition(pointer: &str) -> bool {
    pointer.strip_prefix("/$defs/").is_some_and(|name| !name.contains('/'))
}

/// The definitions in a union.
fn union(schema: &Value) -> Vec<&str> {
    let members = schema.get("oneOf").and_then(Value::as_array);
    members.into_iter().flatten().filter_map(target).collect()
}

/// The `type` of an event, command or publication.
fn frame_type<'a>(document: &'a Value, name: &str) -> Option<&'a str> {
    definition(document, name)?.pointer("/properties/type/const")?.as_str()
}

/// All definitions that a schema refers to, directly or not.
fn references_in(document: &Value, schema: &Value) -> BTreeSet<String> {
    let mut bare = schema.clone();
    if let Some(members) = bare.as_object_mut() {
        members.shift_remove("$defs");
    }
    let mut open = references(&bare);
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            open.extend(definition(document, &name).map(references).unwrap_or_default());
        }
    }
    seen
}

/// Definitions that have another name and the same shape: old name, new name.
fn renamed<'a>(old: &'a Value, new: &'a Value) -> BTreeMap<&'a str, &'a str> {
    let gone = definitions(old).filter(|(name, _)| definition(new, name).is_none());
    let mut come: Vec<(&str, Value)> = definitions(new)
        .filter(|(name, _)| definition(old, name).is_none())
        .map(|(name, it)| (name.as_str(), shape(it, new)))
        .collect();
    let mut found = BTreeMap::new();
    for (name, it) in gone {
        let it = shape(it, old);
        // Of several with this shape it is the one whose name is most like the old one.
        let alike = come
            .iter()
            .enumerate()
            .filter(|(_, (_, candidate))| *candidate == it)
            .max_by(|(_, one), (_, other)| {
                strsim::jaro_winkler(name, one.0).total_cmp(&strsim::jaro_winkler(name, other.0))
            })
            .map(|(at, _)| at);
        if let Some(at) = alike {
            let (now, _) = come.swap_remove(at);
            found.insert(name.as_str(), now);
        }
    }
    found
}
