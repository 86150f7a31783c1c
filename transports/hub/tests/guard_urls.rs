//! Hosts and origins that the guard lets in, against what a browser makes of them: the URL parser of Node.js is the oracle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use eventwire_hub::Guard;

/// Strings that are tried, besides the ones below.
const STRINGS: usize = 20_000;

/// For each line, which is a JSON string: whether a page of this origin is on this machine, as a browser sees it.
const ORACLE: &str = r#"
const lines = require("fs").readFileSync(0, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const loopback = (host) => host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
for (const text of lines) {
  let url = null;
  try { url = new URL(text); } catch {}
  const there = url !== null && (url.protocol === "http:" || url.protocol === "https:") && loopback(url.hostname);
  // Browsers write nothing but the origin: no path, no user, no capital letters, no port that goes without saying.
  console.log(`${there} ${url !== null && url.origin === text}`);
}
"#;

/// A generator that is the same at every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }
}

const PIECES: &[&str] = &[
    "localhost",
    ".localhost",
    "LOCALHOST",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "::1",
    "evil.com",
    "evil",
    "com",
    ".",
    "..",
    ":",
    ":80",
    ":443",
    ":4800",
    ":65536",
    ":1.",
    "/",
    "//",
    "\\",
    "?",
    "#",
    "@",
    "user:pw@",
    "%2f",
    "%2e",
    "%00",
    "%",
    " ",
    "\t",
    "\n",
    "\r",
    "\0",
    "-",
    "_",
    "a",
    "1",
    "*",
    ",",
    ";",
    "&",
    "'",
    "(",
    "!",
    "~",
    "$",
    "\u{e9}",
    "\u{3002}",
    "\u{ff0e}",
    "\u{2044}",
    "\u{ad}",
    "\u{202e}",
    "xn--",
    "http://",
    "[",
    "]",
    "%25lo",
];

fn candidates() -> Vec<String> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut texts: Vec<String> = [
        "http://evil.com/.localhost",
        "http://evil.com:1.localhost",
        "http://localhost@evil.com",
        "http://localhost:3000",
        "https://127.0.0.1",
        "http://[::1]:5",
        "http://a.b.localhost",
        "http://localhost.evil.com",
        "null",
    ]
    .map(str::to_owned)
    .into();
    for _ in 0..STRINGS {
        let scheme =
            ["http://", "https://", "http:", "ftp://", "//", ""][[0, 0, 0, 0, 1, 1, 2, 3, 4, 5][random.below(10)]];
        let pieces = (0..=random.below(5)).map(|_| PIECES[random.below(PIECES.len())]);
        texts.push(std::iter::once(scheme).chain(pieces).collect());
    }
    texts
}

fn oracle(texts: &[String]) -> Vec<(bool, bool)> {
    let mut node = Command::new("node")
        .args(["-e", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("node is needed (cargo xtask setup): {error}"));
    let lines: String = texts.iter().map(|text| serde_json::to_string(text).unwrap() + "\n").collect();
    let mut stdin = node.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = node.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines()
        .map(|line| {
            let (there, plain) = line.split_once(' ').unwrap();
            (there == "true", plain == "true")
        })
        .collect()
}

#[test]
fn auth_26_an_origin_that_is_let_in_is_one_that_a_browser_calls_this_machine() {
    let (guard, texts) = (Guard::default(), candidates());
    let judged = oracle(&texts);
    assert_eq!(judged.len(), texts.len());
    let mut let_in = 0;
    for (text, (is_here, is_plain)) in texts.iter().zip(judged) {
        let allowed = guard.check_origin(Some(text)).is_ok();
        // An A-label that decodes to nothing is no host for a browser, which never sends it.
        assert!(!allowed || is_here || text.contains("xn--"), "{text:?} is let in, and a browser sees another machine");
        // What a browser on this machine would send is let in, but for characters that no name of a host has.
        let host = text.split_once("://").map_or("", |(_, host)| host);
        let usual =
            host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
        let labeled = !host.contains("..") && !host.starts_with('.');
        assert!(allowed || !(is_here && is_plain && usual && labeled), "{text:?} is what a browser here sends");
        // The Host header follows the same rule.
        if let Some(host) = text.strip_prefix("http://") {
            assert_eq!(guard.check_host(Some(host)).is_ok(), allowed, "{host:?}");
        }
        let_in += usize::from(allowed);
    }
    assert!(let_in > STRINGS / 200, "only {let_in} of {STRINGS} were let in: the test compares too little");
}
