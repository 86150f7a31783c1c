//! The commands in the documentation, run as a reader would run them.
//!
//! A fenced block directly below an HTML comment `<!-- tested -->` is a promise. Two kinds: `sh` is a whole script that
//! must succeed; in `console`, lines that begin with `$ ` are commands and the lines below each one are what it prints,
//! in that order, where `...` stands for anything. Other lines may appear between them. Text addresses the gateway at
//! its default address; the address of the one under test takes its place.

use std::path::Path;

/// The comment that marks a block as tested.
const MARK: &str = "<!-- tested -->";

/// One block of commands out of a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Line of the opening fence, from 1.
    pub(crate) line: usize,
    /// The commands, each with what it must print.
    pub(crate) commands: Vec<Promise>,
}

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) command: String,
    pub(crate) prints: Vec<String>,
}

/// The tested blocks of a Markdown text.
///
/// An error names the line of a mark that no `sh` or `console` block follows, or of a fence that is never closed.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim() != MARK {
            continue;
        }
        let fence = lines.by_ref().find(|(_, line)| !line.trim().is_empty());
        let Some((opened, kind)) = fence.and_then(|(at, line)| Some((at, line.trim().strip_prefix("```")?))) else {
            return Err(format!("line {}: no fenced block follows {MARK}", at + 1));
        };
        let mut body = Vec::new();
        let closed = lines.by_ref().any(|(_, line)| {
            let is_fence = line.trim() == "```";
            if !is_fence {
                body.push(line);
            }
            is_fence
        });
        if !closed {
            return Err(format!("line {}: the block is never closed", opened + 1));
        }
        let commands = match kind {
            "sh" => vec![Promise { command: body.join("\n"), prints: Vec::new() }],
            "console" => console(&body),
            other => {
                return Err(format!("line {}: a tested block is `sh` or `console`, not `{other}`", opened + 1));
            }
        };
        if commands.iter().all(|promise| promise.command.trim().is_empty()) {
            return Err(format!("line {}: the block has no command", opened + 1));
        }
        found.push(Block { line: opened + 1, commands });
    }
    Ok(found)
}

fn console(body: &[&str]) -> Vec<Promise> {
    let mut promises: Vec<Promise> = Vec::new();
    let mut continued = false;
    for line in body {
        let start = line.strip_prefix("$ ");
        match (start, promises.last_mut()) {
            (None, Some(last)) if continued => {
                last.command.push('\n');
                last.command.push_str(line.strip_prefix("> ").unwrap_or(line));
            }
            (Some(command), _) => promises.push(Promise { command: command.to_owned(), prints: Vec::new() }),
            (None, Some(last)) if !line.trim().is_empty() => last.prints.push((*line).to_owned()),
            (None, _) => {}
        }
        let is_command = start.is_some() || continued;
        continued = is_command && line.ends_with('\\');
    }
    promises
}

/// `Ok` when `said` holds every line of `prints` in their order; else the first line that is missing.
pub(crate) fn keeps(prints: &[String], said: &str) -> Result<(), String> {
    let mut lines = said.lines();
    for expected in prints {
        if !lines.any(|line| matches(expected.trim_end(), line.trim_end())) {
            return Err(expected.clone());
        }
    }
    Ok(())
}

/// Whether `line` is `pattern`, in which `...` and `…` stand for anything.
fn matches(pattern: &str, line: &str) -> bool {
    let pattern = pattern.replace('…', "...");
    let mut pieces = pattern.split("...");
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The documents whose commands are tested: `README.md`, that of the gateway, and every guide, in order of name.
pub(crate) fn documents(root: &Path) -> Result<Vec<String>, String> {
    let mut names = vec!["README.md".to_owned(), "transports/gateway/README.md".to_owned()];
    let guides = root.join("docs/guides");
    if guides.is_dir() {
        let listed = std::fs::read_dir(&guides).map_err(|error| format!("docs/guides: {error}"))?;
        let mut found: Vec<String> = listed
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".md"))
            .map(|name| format!("docs/guides/{name}"))
            .collect();
        found.sort();
        names.append(&mut found);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_blocks_are_taken() {
        let text = "```sh\nrm -rf build\n```\n\n<!-- tested -->\n\n```sh\ntrue\nfalse\n```\n";
        assert_eq!(
            blocks(text).unwrap(),
            [Block { line: 7, commands: vec![Promise { command: "true\nfalse".to_owned(), prints: vec![] }] }]
        );
    }

    #[test]
    fn a_console_block_pairs_commands_with_what_they_print() {
        let text = "<!-- tested -->\n```console\n$ curl -s \\\n    localhost\nok ...\n\n$ ls\n```";
        let [block] = blocks(text).unwrap().try_into().unwrap();
        let pairs: Vec<(&str, usize)> =
            block.commands.iter().map(|it| (it.command.as_str(), it.prints.len())).collect();
        assert_eq!(pairs, [("curl -s \\\n    localhost", 1), ("ls", 0)]);
    }

    #[test]
    fn a_mark_without_commands_is_an_error() {
        for text in [
            "<!-- tested -->\ntext",
            "<!-- tested -->",
            "<!-- tested -->\n```sh\ntrue",
            "<!-- tested -->\n```json\n{}\n```",
            "<!-- tested -->\n```sh\n\n```",
            "<!-- tested -->\n```console\noutput only\n```",
        ] {
            assert!(blocks(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn printed_lines_are_found_in_order_and_dots_stand_for_anything() {
        let lines = |all: &[&str]| all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let said = "start\n{\"seq\":17,\"to\":\"adw:1\"}\nend\n";
        assert_eq!(keeps(&lines(&["{\"seq\":...,\"to\":\"adw:...\"}", "end"]), said), Ok(()));
        assert_eq!(keeps(&lines(&["end", "start"]), said), Err("start".to_owned()));
        assert_eq!(keeps(&lines(&["{\"seq\":…}"]), said), Ok(()));
        assert_eq!(keeps(&lines(&["en"]), said), Err("en".to_owned()));
    }
}
