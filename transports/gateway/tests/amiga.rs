//! AMIGA on real sockets: the code of its description and the client libraries that its users have, unmodified.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Gateway, ask};
use hyper::Method;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Copies a folder, so that its files are as old as the test.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A gateway whose figures are those of the sample run, which has just been written.
fn gateway() -> (Gateway, String, tempfile::TempDir) {
    let runs = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample"), runs.path());
    let gateway = Gateway::speaking(&["amiga"], &["--agents", runs.path().to_str().unwrap()]);
    let url = format!("http://{}", gateway.at("amiga"));
    (gateway, url, runs)
}

/// Runs a program that ends by itself, and not never.
async fn ended(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn held(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test]
async fn sio_21_the_code_of_the_description_and_its_library_run_unchanged() {
    let (_gateway, url, _runs) = gateway();
    let folder = workspace().join("conformance/seeds");
    assert!(folder.join("node_modules").is_dir(), "conformance/seeds has no packages; run `cargo xtask setup`");
    let mut command = Command::new("timeout");
    command.args(["180", "node", "amiga.mjs", &url]).current_dir(folder);
    let said = held(&ended(command).await);
    assert!(said.contains("ok      thousands of events come in their order on every transport"), "{said}");
}

/// The packages are fetched once, into the folder of what is built.
async fn python() -> PathBuf {
    let environment = workspace().join("target/python-socketio");
    let python = environment.join("bin/python");
    if !environment.join("complete").is_file() {
        let mut make = Command::new("timeout");
        make.args(["60", "python3", "-m", "venv"]).arg(&environment);
        held(&ended(make).await);
        let mut fill = Command::new("timeout");
        fill.arg("240").arg(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        fill.args(["python-socketio==5.18.1", "websocket-client==1.9.2", "requests==2.34.2"]);
        held(&ended(fill).await);
        std::fs::write(environment.join("complete"), "").unwrap();
    }
    python
}

#[tokio::test]
async fn sio_21_python_socketio_connects_by_polling_by_websocket_and_by_the_upgrade() {
    let (_gateway, url, _runs) = gateway();
    let mut command = Command::new("timeout");
    command.arg("120").arg(python().await).arg(workspace().join("conformance/seeds/amiga_client.py")).arg(url);
    assert!(held(&ended(command).await).contains("all held"));
}

#[tokio::test]
async fn sio_21_a_page_of_a_strange_origin_or_host_gets_no_session() {
    let (gateway, _, _runs) = gateway();
    let address = gateway.at("amiga");
    let path = "/socket.io/?EIO=4&transport=polling";
    for (header, value, status) in [
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("host", "evil.example", 403),
        ("origin", "http://localhost:5173", 200),
    ] {
        let head = if header == "host" { String::new() } else { format!("host: {address}\r\n") };
        let request = format!("GET {path} HTTP/1.1\r\n{head}{header}: {value}\r\nconnection: close\r\n\r\n");
        let answer = exchange(address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{header}: {value}: {answer}");
        if status == 200 {
            assert!(answer.to_lowercase().contains("access-control-allow-origin: http://localhost:5173"), "{answer}");
        }
    }
    let request = format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: {address}\r\norigin: http://localhost:1\r\nconnection: close\r\n\r\n"
    );
    assert!(exchange(address, &request).await.starts_with("HTTP/1.1 204"));
    // On the listener of our own, the server is there as well.
    let canonical = Gateway::start(&[]);
    assert_eq!(ask(canonical.address, Method::GET, path, &[], "").await.status, 200);
}

async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    common::soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn auth_03_a_page_opened_from_the_disk_is_told_how_it_is_served() {
    let gateway = Gateway::speaking(&["amiga", "adw"], &[]);
    let told = async |dialect: &str, path: &str, origin: &str| {
        let address = if dialect.is_empty() { gateway.address } else { gateway.at(dialect) };
        let answer = ask(address, hyper::Method::GET, path, &[("origin", origin)], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "origin_not_allowed"), "{dialect} {path}");
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    for path in ["/socket.io/?EIO=4&transport=polling", "/api/stream/metrics", "/websocket-test"] {
        for origin in ["null", "file://"] {
            let message = told("amiga", path, origin).await;
            assert!(message.contains("--static amiga=") && message.contains("/websocket-test"), "{message}");
        }
    }
    assert!(told("adw", "/ws", "null").await.contains("--static adw="));
    assert!(told("", "/v1/ws", "null").await.contains("--static DIRECTORY"));
    // Of an origin that has a name the setting is all there is to say.
    assert!(!told("amiga", "/api/stream/metrics", "https://evil.example").await.contains("--static"));
}
