//! Lists the files that the gateway serves out of itself, so that one that is put there is served without being named anywhere:
//! those of the inspector page in `web/`, and the published schemas and documents in `published/`.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a build script reports to cargo and may fail")]

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let mut page = names(Path::new("web"), "", 0);
    page.retain(|name| [".html", ".js", ".css", ".svg"].iter().any(|ending| name.ends_with(ending)));
    // Not the folder, which would cover the tests and what they install. A new file is named by one that is here already.
    for name in &page {
        println!("cargo::rerun-if-changed=web/{name}");
    }
    write("web", &page);
    // A link to the schemas of the workspace; in a package, the files themselves.
    let published = names(Path::new("published"), "", 8);
    println!("cargo::rerun-if-changed=published");
    write("published", &published);
}

/// The files below a folder, by their path from it, sorted; so many folders deep.
fn names(folder: &Path, prefix: &str, depth: usize) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is part of the crate") {
        let entry = entry.expect("the folder can be read");
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type().expect("the kind of a file can be read");
        if kind.is_file() {
            names.push(format!("{prefix}{name}"));
        } else if kind.is_dir() && depth > 0 {
            names.extend(self::names(&entry.path(), &format!("{prefix}{name}/"), depth - 1));
        }
    }
    names.sort();
    names
}

/// A list of names and contents, as `include!` reads it.
fn write(folder: &str, names: &[String]) {
    let mut list = String::from("&[\n");
    for name in names {
        let path = format!("/{folder}/{name}");
        let _ = writeln!(list, "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),");
    }
    list.push(']');
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join(format!("{folder}.rs")), list).expect("OUT_DIR can be written");
}
