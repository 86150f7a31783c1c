"""What a directory of agent runs adds up to, counted independently of the Rust code: one JSON object.

Usage: expected_metrics.py AGENTS_ROOT

Only what is complete in the files is counted, whatever its time: the figures of a window that holds everything.
"""

import json
import sys
from collections import Counter
from pathlib import Path


def lines(path):
    data = path.read_bytes()
    for line in data.split(b"\n")[:-1]:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def read(usage):
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(int((usage or {}).get(name) or 0) for name in names)


def main(root):
    tasks = Counter()
    tools = Counter()
    money = Counter()
    tokens = Counter()
    requests = sessions = 0
    for run in sorted(Path(root).iterdir()):
        ends = []
        for transcript in sorted(run.glob("*/raw_output.jsonl")):
            spent = {}
            turn = {}
            known_messages, known_sessions, known_calls = set(), set(), set()
            end = None
            for line in lines(transcript):
                kind = line.get("type")
                if kind == "system" and line.get("subtype") == "init":
                    known_sessions.add(line["session_id"])
                    # A turn that broke off had its tokens all the same.
                    tokens["in"] += sum(count for count, _ in turn.values())
                    tokens["out"] += sum(count for _, count in turn.values())
                    end, turn = "running", {}
                elif kind == "assistant":
                    message = line["message"]
                    # Written in several lines, it is one request; its last line knows most.
                    turn[message["id"]] = (read(message.get("usage")), message.get("usage", {}).get("output_tokens", 0))
                    known_messages.add(message["id"])
                    for block in message.get("content", []):
                        if block.get("type") == "tool_use" and block["id"] not in known_calls:
                            known_calls.add(block["id"])
                            tools[block["name"]] += 1
                elif kind == "result":
                    bad = line.get("subtype") != "success" or line.get("is_error") is True
                    end = "failed" if bad else "completed"
                    models = line.get("modelUsage") or {}
                    spent[line["session_id"]] = {
                        "total_cost": line.get("total_cost_usd") or 0,
                        "haiku_cost": sum(used["costUSD"] for name, used in models.items() if "haiku" in name),
                        "sonnet_cost": sum(used["costUSD"] for name, used in models.items() if "sonnet" in name),
                    }
                    usage = line.get("usage") or {}
                    tokens["in"] += max(read(usage), sum(count for count, _ in turn.values()))
                    tokens["out"] += max(usage.get("output_tokens") or 0, sum(count for _, count in turn.values()))
                    turn = {}
            tokens["in"] += sum(count for count, _ in turn.values())
            tokens["out"] += sum(count for _, count in turn.values())
            requests += len(known_messages)
            sessions += len(known_sessions)
            # A session's costs add up from line to line.
            for cost in spent.values():
                money.update(cost)
            if end is not None:
                ends.append((transcript.stat().st_mtime_ns // 1000, end == "failed", end))
        if any(end == "running" for _, _, end in ends):
            tasks["running"] += 1
        elif ends:
            tasks[max(ends)[2]] += 1
    print(
        json.dumps(
            {
                "tasks": {"total": sum(tasks.values()), **{name: tasks[name] for name in ("running", "completed", "failed")}},
                "costs": {name: round(float(money[name]), 6) for name in ("total_cost", "haiku_cost", "sonnet_cost")},
                "requests": requests,
                "input_tokens": tokens["in"],
                "output_tokens": tokens["out"],
                "sessions": sessions,
                "tools": dict(sorted(tools.items())),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
