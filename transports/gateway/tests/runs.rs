//! What is served from disk about agent runs: only what belongs there, only to those who reach the run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use common::{Gateway, api_key, get, request, send, write_private};
use http_body_util::Full;
use hyper::{Method, header};
use serde_json::json;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand so on";

/// Two runs, one of them with everything that must not be served beside what must.
fn root(directory: &Path) -> String {
    let root = directory.join("agents");
    let images = root.join("aaaaaaaa/reviewer/review_img");
    for path in [
        &images,
        &root.join("aaaaaaaa/planner"),
        &root.join("aaaaaaaa/tester/review_img"),
        &root.join("bbbbbbbb/planner"),
    ] {
        std::fs::create_dir_all(path).unwrap();
    }
    let state = json!({"adw_id": "aaaaaaaa", "worktree_path": "/home/somebody/trees/aaaaaaaa", "nothing": null, "all_adws": ["adw_plan_iso"]});
    std::fs::write(root.join("aaaaaaaa/adw_state.json"), state.to_string()).unwrap();
    std::fs::write(images.join("01 first.png"), PNG).unwrap();
    std::fs::write(root.join("aaaaaaaa/tester/review_img/other.png"), PNG).unwrap();
    std::fs::write(images.join("script.png"), "<script>alert(1)</script>").unwrap();
    std::fs::write(images.join("notes.txt"), "x").unwrap();
    std::fs::write(directory.join("outside.png"), PNG).unwrap();
    symlink(directory.join("outside.png"), images.join("link.png")).unwrap();
    symlink(directory, root.join("cccccccc")).unwrap();
    let large = std::fs::File::create(images.join("large.png")).unwrap();
    large.set_len((8 << 20) + 1).unwrap();
    root.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn http_10_runs_are_listed_with_roles_phases_and_screenshots() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&["--agents", &root(directory.path())]);
    let listed = get(&gateway, "/v1/agents").await.json();
    assert_eq!(listed["root"], true);
    let [first, second] = listed["agents"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(first["adw_id"], "aaaaaaaa");
    assert_eq!(first["roles"], json!(["planner", "tester", "reviewer"]), "in the order of the workflow");
    assert_eq!(first["phases"], json!(["plan", "test", "review"]));
    let screenshots = first["screenshots"].as_array().unwrap();
    assert!(screenshots.contains(&json!("reviewer/review_img/01 first.png")), "{first}");
    assert!(!first.to_string().contains("link.png") && !first.to_string().contains("notes.txt"), "{first}");
    assert_eq!((&first["state"], &second["state"]), (&json!(true), &json!(false)));

    let shown = get(&gateway, "/v1/agents/aaaaaaaa").await.json();
    assert_eq!(shown["state"]["all_adws"], json!(["adw_plan_iso"]), "{shown}");
    assert!(!shown.to_string().contains("/home/") && !shown.to_string().contains("nothing"), "{shown}");
    assert_eq!(get(&gateway, "/v1/agents/bbbbbbbb").await.json().get("state"), None);
}

#[tokio::test]
async fn http_10_a_screenshot_is_a_picture_of_its_run_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&["--agents", &root(directory.path())]);
    for name in ["01%20first.png", "other.png"] {
        let picture = get(&gateway, &format!("/v1/agents/aaaaaaaa/screenshots/{name}")).await;
        assert_eq!((picture.status, &picture.body[..]), (200, PNG), "{name}");
        assert_eq!(picture.header("content-type"), Some("image/png"));
        assert_eq!(picture.header("x-content-type-options"), Some("nosniff"));
        assert!(picture.header("content-security-policy").unwrap().contains("sandbox"));
    }
    for name in [
        "link.png",
        "script.png",
        "notes.txt",
        "nothing.png",
        "..%2f..%2f..%2foutside.png",
        "%2e%2e",
        "..%5coutside.png",
        "01%20first.png%00",
        "review_img",
    ] {
        let refused = get(&gateway, &format!("/v1/agents/aaaaaaaa/screenshots/{name}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (404, "not_found"), "{name}: {refused:?}");
        assert!(!refused.json().to_string().contains(directory.path().to_str().unwrap()), "{refused:?}");
    }
    let large = get(&gateway, "/v1/agents/aaaaaaaa/screenshots/large.png").await;
    assert_eq!((large.status, large.code().as_str()), (413, "too_large"));
    for path in
        ["/v1/agents/cccccccc", "/v1/agents/cccccccc/screenshots/outside.png", "/v1/agents/dddddddd", "/v1/agents/.."]
    {
        assert_eq!(get(&gateway, path).await.status, 404, "{path}");
    }
    assert_eq!(get(&gateway, "/v1/agents/aaaaaaaa?x=1").await.status, 400);
    assert_eq!(get(&gateway, "/v1/agents/aaaaaaaa/screenshots/%ff.png").await.status, 400);
}

#[tokio::test]
async fn http_10_and_auth_01_a_key_sees_the_runs_that_it_reaches() {
    let directory = tempfile::tempdir().unwrap();
    let root = root(directory.path());
    let key = |arguments: &[&str]| {
        let made = api_key(arguments);
        (made["key"].as_str().unwrap().to_owned(), toml::to_string(&json!({"key": [made["entry"]]})).unwrap())
    };
    let (observer, one) = key(&["--name", "observer", "--permission", "observe", "--adw", "aaaaaaaa"]);
    let (watcher, two) = key(&["--name", "watcher", "--permission", "publish", "--adw", "bbbbbbbb"]);
    let keys = directory.path().join("keys.toml");
    write_private(&keys, &format!("{one}\n{two}"));
    let gateway = Gateway::start(&["--agents", &root, "--api-keys-file", keys.to_str().unwrap()]);
    let ask = async |token: Option<&str>, path: &str| {
        let mut asked = request(Method::GET, path, &gateway);
        if let Some(token) = token {
            asked = asked.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        send(&gateway, asked.body(Full::<Bytes>::default()).unwrap()).await
    };
    let listed = ask(Some(&observer), "/v1/agents").await.json();
    assert_eq!(listed["agents"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["agents"][0]["adw_id"], "aaaaaaaa");
    for (token, path, status) in [
        (None, "/v1/agents", 401),
        (None, "/v1/agents/aaaaaaaa/screenshots/other.png", 401),
        (Some("wrong"), "/v1/agents/aaaaaaaa", 401),
        (Some(watcher.as_str()), "/v1/agents", 403),
        (Some(&watcher), "/v1/agents/aaaaaaaa", 403),
        (Some(&watcher), "/v1/agents/aaaaaaaa/screenshots/other.png", 403),
        (Some(&watcher), "/v1/agents/bbbbbbbb", 200),
        (Some(&observer), "/v1/agents/bbbbbbbb", 403),
        (Some(&observer), "/v1/agents/aaaaaaaa/screenshots/other.png", 200),
    ] {
        assert_eq!(ask(token, path).await.status, status, "{token:?} {path}");
    }
}

#[tokio::test]
async fn http_10_without_a_root_there_are_no_runs() {
    let gateway = Gateway::start(&[]);
    assert_eq!(get(&gateway, "/v1/agents").await.json(), json!({"root": false, "agents": []}));
    assert_eq!(get(&gateway, "/v1/agents/aaaaaaaa").await.status, 404);
}
