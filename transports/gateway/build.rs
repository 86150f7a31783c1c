//! Lists the files of the inspector page, so that a file put into `web/` is served without being named anywhere.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a build script reports to cargo and may fail")]

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let mut names: Vec<String> = fs::read_dir("web")
        .expect("web/ is part of the crate")
        .map(|entry| entry.expect("web/ can be read"))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.ends_with(".html") || name.ends_with(".js") || name.ends_with(".css") || name.ends_with(".svg")
        })
        .collect();
    names.sort();
    // Not the folder, which would cover the tests and what they install. A new file is named by one that is here already.
    for name in &names {
        println!("cargo::rerun-if-changed=web/{name}");
    }
    let mut list = String::from("&[\n");
    for name in names {
        let _ =
            writeln!(list, "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/web/{name}\"))),");
    }
    list.push(']');
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("web.rs"), list).expect("OUT_DIR can be written");
}
