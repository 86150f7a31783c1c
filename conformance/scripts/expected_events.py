#!/usr/bin/env python3
"""What a directory of agent runs must give rise to, counted a second time.

    expected_events.py ROOT

prints, as JSON, for every run below ROOT how many events of each `adw` type a source that starts at the beginning must
emit, and for every transcript the same counts with length and SHA-256 of its bytes. `complete_*` is about the bytes up to
and including the last line feed: the output chunks, each complete line closed with a line feed, must be exactly these;
what follows is a line that has not ended and must not be emitted.

This is the oracle for the agents source. It is written from the mapping, not from the source, reads whole files and is
slow on purpose: nothing in it is shared with what it checks. Plain Python 3, no packages.
"""

import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path

CHUNK_BYTES = 32 * 1024
LONGEST_LINE_BYTES = 1024 * 1024
USUAL_PHASES = {"planner": "plan", "implementor": "build", "tester": "test", "reviewer": "review", "documenter": "document"}
EDITING_TOOLS = ("Write", "Edit", "MultiEdit", "NotebookEdit")

RUN_NAME = re.compile(r"[A-Za-z0-9]{8}\Z", re.ASCII)
ROLE_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,64}\Z", re.ASCII)


def chunks_of(line):
    """How many output chunks a line takes: at most 32 KiB each, no character split."""
    chunks = 1
    while len(line) > CHUNK_BYTES:
        end = CHUNK_BYTES
        while end > CHUNK_BYTES - 4 and 0x80 <= line[end] <= 0xBF:
            end -= 1
        if end == CHUNK_BYTES - 4:
            end = CHUNK_BYTES
        line = line[end:]
        chunks += 1
    return chunks


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def parsed(line):
    """The JSON value of a line, or None when it is none."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None


def content_blocks(record):
    message = record.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, list):
        return [block for block in content if isinstance(block, dict)]
    return []


def count_line(line, calls, counts):
    """Counts the events of one complete line; says whether it is a `system/init`."""
    counts["agent_output_chunk"] += chunks_of(line)
    if len(line) > LONGEST_LINE_BYTES:
        counts["agent_log"] += 1
        return False
    if not line.strip(b" \t\r\n\f"):
        return False
    record = parsed(line)
    kind = record.get("type") if isinstance(record, dict) else None
    if kind == "stream_event":
        return False
    if kind == "assistant":
        for block in content_blocks(record):
            if block.get("type") in ("thinking", "redacted_thinking"):
                counts["thinking_block"] += 1
            elif block.get("type") == "text":
                counts["text_block"] += 1
            elif block.get("type") == "tool_use":
                counts["tool_use_pre"] += 1
                arguments = block.get("input") if isinstance(block.get("input"), dict) else {}
                path = arguments.get("file_path", arguments.get("notebook_path"))
                calls[block.get("id")] = (block.get("name"), path)
        return False
    if kind == "user":
        for block in content_blocks(record):
            if block.get("type") == "text":
                counts["agent_log"] += 1
            elif block.get("type") == "tool_result":
                counts["tool_use_post"] += 1
                tool, path = calls.pop(block.get("tool_use_id"), (None, None))
                if tool in EDITING_TOOLS and block.get("is_error") is not True and path is not None:
                    counts["file_changed"] += 1
        return False
    counts["agent_log"] += 1
    if kind == "result":
        counts["summary_update"] += 1
        counts["agent_summary_update"] += 1
    return kind == "system" and record.get("subtype") == "init"


def transcript(path):
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    complete = data[:end]
    counts, calls, started = Counter(), {}, False
    for line in complete.split(b"\n")[:-1]:
        started |= count_line(line, calls, counts)
    report = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "complete_bytes": end,
        "complete_sha256": hashlib.sha256(complete).hexdigest(),
        "started": started,
        "events": dict(sorted(counts.items())),
    }
    return report, counts


def run(directory):
    counts, roles, phases = Counter(), {}, set()
    try:
        if isinstance(json.loads((directory / "adw_state.json").read_text("utf-8")), dict):
            counts["agent_summary_update"] += 1
    except OSError:
        pass
    spec = directory / f"{directory.name}_plan_spec.md"
    if spec.is_file() and spec.stat().st_size > 0:
        counts["spec_created"] += 1
    for role in sorted(entry for entry in directory.iterdir() if entry.is_dir() and ROLE_NAME.match(entry.name)):
        raw = role / "raw_output.jsonl"
        if raw.is_file():
            roles[role.name], own = transcript(raw)
            counts += own
            if roles[role.name]["started"]:
                phases.add(USUAL_PHASES.get(role.name, role.name))
        images = role / "review_img"
        if images.is_dir():
            counts["screenshot_available"] += sum(
                1 for image in images.iterdir() if image.suffix.lower() == ".png" and image.stat().st_size > 0
            )
    if phases:
        counts["workflow_phase_transition"] += len(phases)
    return {"events": {f"adw.{name}": count for name, count in sorted(counts.items()) if count}, "roles": roles}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: expected_events.py ROOT, the directory that holds one directory per run")
    root = Path(sys.argv[1])
    if not root.is_dir():
        sys.exit(f"expected_events.py: {root} is no directory")
    runs = {entry.name: run(entry) for entry in sorted(root.iterdir()) if entry.is_dir() and RUN_NAME.match(entry.name)}
    json.dump(runs, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
