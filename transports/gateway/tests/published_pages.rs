//! Published pages of the older systems, unmodified, against a gateway that is restarted under them.
//!
//! They are read out of clones in the folder that `EVENTWIRE_PUBLISHED` names, `<owner>+<name>/repo`, and are no part of this
//! project. So the test is ignored, and says so, unless it is asked for:
//! `EVENTWIRE_PUBLISHED=FOLDER cargo test --test published_pages -- --ignored`. `cargo xtask long` asks where the variable is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs clones of the older systems: EVENTWIRE_PUBLISHED=FOLDER, --ignored"]
fn published_pages_work_over_a_restart_of_the_gateway() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/seeds");
    let clones = std::env::var_os("EVENTWIRE_PUBLISHED").expect("EVENTWIRE_PUBLISHED names a folder with clones");
    assert!(folder.join("node_modules").is_dir(), "conformance/seeds has no packages; run `cargo xtask setup`");
    let mut command = Command::new("timeout");
    command.args(["240", "node", "published.mjs"]).arg(clones).arg(env!("CARGO_BIN_EXE_eventwire"));
    let output = command.current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("SKIPPED"), "a clone is absent: {said}");
}
