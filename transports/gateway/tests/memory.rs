//! The memory figures of docs/guides/operate.md, compared with the limits of the parts and with the process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;

use common::{Gateway, get};
use eventwire_protocol::limits;
use eventwire_systems::{monadic, shared_context};

const MIB: usize = 1 << 20;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/operate.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("\n## Memory\n").nth(1).expect("a section Memory");
    section.split("\n## ").next().unwrap().to_owned()
}

/// A size as the page writes it, in bytes.
fn size(text: &str) -> usize {
    let (number, unit) = text.split_once(' ').unwrap_or_else(|| panic!("{text:?} is no size"));
    let unit = match unit {
        "KiB" => 1024,
        "MiB" => MIB,
        other => panic!("{other:?} is no unit"),
    };
    number.parse::<usize>().unwrap() * unit
}

#[test]
fn each_figure_of_the_memory_table_is_the_bound_of_its_part() {
    let page = page();
    let rows: BTreeMap<&str, usize> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| bound "))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0], size(cells[1]))
        })
        .collect();
    let history = limits::REALM_BYTES + limits::LATEST_BYTES + limits::IDEMPOTENCY_BYTES + limits::CHECKPOINT_BYTES;
    let commands = eventwire_commands::queue::Bounds::default().bytes;
    let webhook = eventwire_commands::WebhookSettings::default().bytes;
    assert_eq!(webhook, commands, "the page has one row for both");
    let expected = BTreeMap::from([
        ("`history_realm_bytes` + `latest_bytes` + `idempotency_bytes` + `checkpoint_bytes`", history),
        ("`unfinished_bytes`", limits::UNFINISHED_BYTES),
        ("`subscription_bytes`", limits::SUBSCRIPTION_BYTES),
        ("publications that wait for their turn", limits::WAITING_PUBLICATION_BYTES as usize),
        ("commands that wait for a back end", commands + commands / 16),
        ("conversations of Monadic Chat", monadic::StateBounds::default().bytes),
        ("messages of Shared Context", shared_context::Bounds::default().bytes),
        ("Socket.IO sessions without a namespace", limits::SOCKETIO_IDLE_BYTES),
        // With the default of 10,000 connections; the page rounds to a hundred MiB.
        ("sockets: 64 KiB x 1.25 x `max_connections`", (64 * 1024 * 10_000 * 5 / 4_usize).next_multiple_of(100 * MIB)),
        ("`mailbox_bytes` of each connection that does not read", limits::MAILBOX_BYTES),
        ("notes about newest values, of each connection that does not read", limits::DEFERRED_BYTES),
        ("packets, of each Socket.IO client that does not read", limits::SOCKETIO_UNSENT_BYTES),
    ]);
    assert_eq!(rows, expected);
}

/// The settings of the page have the figures of the page, as the binary prints them.
#[test]
fn the_binary_has_the_bounds_of_the_memory_table_as_defaults() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_eventwire")).args(["serve", "--help"]).output().unwrap();
    let reference =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md")).unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for (setting, bytes) in [
        ("history_realm_bytes", limits::REALM_BYTES),
        ("latest_bytes", limits::LATEST_BYTES),
        ("idempotency_bytes", limits::IDEMPOTENCY_BYTES),
        ("checkpoint_bytes", limits::CHECKPOINT_BYTES),
        ("unfinished_bytes", limits::UNFINISHED_BYTES),
        ("subscription_bytes", limits::SUBSCRIPTION_BYTES),
        ("mailbox_bytes", limits::MAILBOX_BYTES),
    ] {
        assert!(help.contains(&format!("--{}", setting.replace('_', "-"))), "{setting}");
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{setting}`"))).unwrap();
        assert!(row.contains(&format!("`\"{} MiB\"`", bytes / MIB)), "{row}");
    }
    assert!(page().contains("10,000") && reference.contains("`10000`"));
}

/// Private memory, as the text of the program is shared and far larger without optimization.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_itself_is_within_its_row_of_the_memory_table() {
    let page = page();
    let sentence = page.split("resident memory is ").nth(1).unwrap();
    let own = size(&sentence.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    let gateway = Gateway::speaking(&["monadic", "product", "amiga", "shared_context", "adw"], &[]);
    get(&gateway, "/health").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let used = line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024;
    assert!(used > MIB && used <= own, "{} KiB are used, and the page says {} KiB", used / 1024, own / 1024);
}
