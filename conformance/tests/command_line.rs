//! The binary, as people and scripts call it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_eventwire-conformance"))
        .args(arguments)
        .env_remove("EVENTWIRE_TOKEN")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_run_in_a_pipe_is_quiet_and_ends_with_the_count() {
    let output = run(&["run", "--memory", "--only", "ROUTE-01"]);
    let text = out(&output);
    assert!(output.status.success(), "{text}");
    let last = text.lines().last().unwrap();
    let (passed, rest) = last.split_once(" passed, ").unwrap();
    assert!(passed.parse::<usize>().unwrap() > 5);
    assert_eq!(rest, "0 failed");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_run_for_machines_is_one_document() {
    let output = run(&["run", "--memory", "--only", "LOG-05", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], 0);
    assert_eq!(report["passed"].as_u64().unwrap() as usize, report["cases"].as_array().unwrap().len());
    assert!(report["cases"][0]["id"].as_str().unwrap().starts_with("LOG-05-"));
}

#[test]
fn a_server_that_is_not_there_fails_every_case_and_the_run() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = run(&["run", &format!("http://127.0.0.1:{port}"), "--only", "ROUTE-01-room"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.lines().next().unwrap().contains("does not answer"), "{text}");
    assert_eq!(text.lines().last().unwrap(), "0 passed, 1 failed");
}

#[test]
fn mistakes_are_one_line_and_another_exit_code() {
    for (arguments, says) in [
        (["run", "--memory", "--only=NOPE-99"], "no case begins with"),
        (["run", "127.0.0.1:1", "--only=ROUTE-01"], "is not a server address"),
    ] {
        let output = run(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(says) && error.lines().count() == 1, "{error}");
    }
    assert!(!run(&["run"]).status.success());
    assert!(!run(&["run", "--memory", "http://127.0.0.1:1"]).status.success());
}

#[test]
fn cases_can_be_listed_and_explained() {
    let list = out(&run(&["list"]));
    assert!(list.contains("ROUTE-01-session-every-tab"));
    let count: usize = list.lines().last().unwrap().strip_suffix(" cases").unwrap().parse().unwrap();
    assert_eq!(count, list.lines().count() - 1);
    let machine: Value = serde_json::from_str(&out(&run(&["list", "--json"]))).unwrap();
    assert_eq!(machine.as_array().unwrap().len(), count);
    let explained = out(&run(&["explain", "ROUTE-01-session-every-tab"]));
    assert!(explained.contains("(ROUTE-01, MUST)") && explained.contains("1. {\"connect\""), "{explained}");
}

#[test]
fn keys_are_digests_for_a_gateway_and_tokens_for_others() {
    let file = out(&run(&["keys"]));
    assert_eq!(file.matches("[[key]]").count(), 7);
    assert!(!file.contains("conformance-alice-51d7aa"), "the file holds no key");
    let keys: Value = serde_json::from_str(&out(&run(&["keys", "--json"]))).unwrap();
    assert!(keys.as_array().unwrap().iter().any(|key| key["token"] == "conformance-alice-51d7aa"));
}
