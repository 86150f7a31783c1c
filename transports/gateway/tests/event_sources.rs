//! Published clients of server-sent events against a gateway (SSE-02, SSE-09): five of npm and browsers, three of PyPI.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

use common::Gateway;
use tokio::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

async fn succeeded(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned();
    eprintln!("{said}");
    assert!(status.success(), "{said}{}", String::from_utf8_lossy(&stderr));
    said
}

/// Python with the packages, which are fetched once, into the folder of what is built.
async fn python() -> PathBuf {
    let environment = workspace().join("target/python-event-sources");
    let python = environment.join("bin/python");
    if !environment.join("complete").is_file() {
        let mut make = Command::new("timeout");
        make.args(["60", "python3", "-m", "venv"]).arg(&environment);
        succeeded(make).await;
        let mut fill = Command::new("timeout");
        fill.arg("240").arg(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        fill.args(["httpx==0.28.1", "httpx-sse==0.4.3", "aiohttp==3.14.5", "aiohttp-sse-client==0.2.1"]);
        fill.args(["requests-sse==0.5.3"]);
        succeeded(fill).await;
        std::fs::write(environment.join("complete"), "").unwrap();
    }
    python
}

#[tokio::test]
async fn sse_02_and_sse_09_published_clients_that_are_cut_off_at_every_block_border_get_every_event_once() {
    let python = python().await;
    let gateway = Gateway::start(&[]);
    let folder = workspace().join("conformance/clients");
    assert!(folder.join("node_modules").is_dir(), "conformance/clients has no packages; run `cargo xtask setup`");
    let mut command = Command::new("timeout");
    command.args(["240", "node", "event-sources.mjs", &format!("http://{}", gateway.address)]).arg(python);
    command.current_dir(folder).kill_on_drop(true);
    assert!(succeeded(command).await.contains("8 clients, 6 cuts each"));
}
