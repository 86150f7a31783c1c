import assert from "node:assert/strict";
import { test } from "node:test";
import { callDuration, clip, costOf, isLived, Run, Runs, screenshotName, sections, standing, strip } from "../timeline.js";

const START = Date.parse("2026-11-20T10:00:00.000Z");
let last = 0;
function event(name, data, { seq = ++last, after = seq * 1000, adw = "29fb6a3e" } = {}) {
  return { type: `adw.${name}`, time: new Date(START + after).toISOString(), to: `adw:${adw}`, seq, prev: seq - 1, data: { adw_id: adw, ...data } };
}
function runOf(frames, options) {
  const run = new Run("29fb6a3e", options);
  for (const frame of frames) run.ingest(frame);
  return run;
}
const phase = (to, where) => event("workflow_phase_transition", { phase_from: null, phase_to: to, workflow_name: "adw_sdlc_iso" }, where);
const pre = (id, where, over = {}) => event("tool_use_pre", { tool_name: "Read", tool_use_id: id, input: { file_path: "src/app.js" }, ...over }, where);
const post = (id, where, over = {}) => event("tool_use_post", { tool_name: "Read", tool_use_id: id, output: "ok", success: true, ...over }, where);
const calls = (run) => run.items.filter((item) => item.kind === "tool");

// Every order of up to five things.
function* orders(things) {
  if (things.length <= 1) yield things;
  else for (let i = 0; i < things.length; i += 1) for (const rest of orders([...things.slice(0, i), ...things.slice(i + 1)])) yield [things[i], ...rest];
}

const told = (run) => sections(run).map((section) => ({ name: section.name, state: section.state, items: section.items.map((item) => [item.kind, item.seq, item.state ?? null, item.argument ?? null, item.took ?? null]) }));

test("a call is joined to its result by id, not by position", () => {
  const run = runOf([pre("a", { seq: 1 }), pre("b", { seq: 2 }), post("b", { seq: 3, after: 9000 }), post("a", { seq: 4 }, { success: false, error: "no such file" })]);
  const [a, b] = calls(run);
  assert.equal(calls(run).length, 2);
  assert.deepEqual([a.call, a.result, a.error.text], ["a", "failed", "no such file"]);
  assert.deepEqual([b.call, b.result, callDuration(b)], ["b", "ok", 7000]);
});

test("the duration a result states wins over the time between the events", () => {
  const run = runOf([pre("a", { seq: 1 }), post("a", { seq: 2, after: 9000 }, { duration_ms: 35 })]);
  assert.equal(callDuration(calls(run)[0]), 35);
});

test("a call is running until its result comes, and unanswered when the run is over or went on without it", () => {
  const state = (frames) => sections(runOf(frames)).flatMap((section) => section.items).find((item) => item.call === "a").state;
  assert.equal(state([phase("plan", { seq: 1 }), pre("a", { seq: 2 })]), "running");
  assert.equal(state([phase("plan", { seq: 1 }), pre("a", { seq: 2 }), phase("build", { seq: 3 })]), "unanswered");
  assert.equal(state([pre("a", { seq: 2 }), event("agent_summary_update", { status: "failed" }, { seq: undefined, after: 5000 })]), "unanswered");
  assert.equal(state([phase("plan", { seq: 1 }), pre("a", { seq: 2 }), phase("build", { seq: 3 }), post("a", { seq: 4 })]), "ok");
});

test("a run is the same in whatever order its events arrive, and when they arrive twice", () => {
  const frames = [phase("plan", { seq: 1 }), pre("a", { seq: 2 }), event("text_block", { content: "hello" }, { seq: 3 }), post("a", { seq: 4 }, { duration_ms: 12 }), phase("build", { seq: 5 })];
  const expected = told(runOf(frames));
  assert.deepEqual(expected.map((section) => [section.name, section.items.length]), [["plan", 2], ["build", 0]]);
  let count = 0;
  for (const order of orders(frames)) {
    assert.deepEqual(told(runOf([...order, ...order])), expected, order.map((frame) => frame.seq).join(" "));
    count += 1;
  }
  assert.equal(count, 120);
});

test("other spellings of the same fields are understood", () => {
  const run = runOf([
    event("tool_use_pre", { tool_name: "Bash", tool_use_id: "x", tool_input: { command: "make test" } }, { seq: 1 }),
    event("tool_use_post", { tool_use_id: "x", tool_output: "boom", status: "error" }, { seq: 2 }),
  ]);
  const [call] = calls(run);
  assert.deepEqual([call.tool, call.argument, call.result, call.output.text], ["Bash", "make test", "failed", "boom"]);
});

test("calls without an id stand alone, they are never joined by name", () => {
  const run = runOf([pre("", { seq: 1 }), post("", { seq: 2 })]);
  assert.equal(calls(run).length, 2);
});

test("phases cut the story, and what came before the first has a place", () => {
  const run = runOf([event("text_block", { content: "early" }, { seq: 1 }), phase("plan", { seq: 2 }), pre("a", { seq: 3 }), post("a", { seq: 4 }), event("file_changed", { file_path: "a.js", operation: "modified", lines_added: 3, lines_removed: 1 }, { seq: 5 }), phase("build", { seq: 6 })]);
  const cut = sections(run);
  assert.deepEqual(cut.map((section) => section.name), ["", "plan", "build"]);
  assert.deepEqual([cut[1].calls, cut[1].files, cut[1].added, cut[1].removed, cut[1].state], [1, 1, 3, 1, "done"]);
  assert.equal(cut[1].endAt - cut[1].startAt, 4000);
  assert.equal(cut[2].state, "active");
});

test("agents that work at the same time keep their items in their own phases", () => {
  const began = (to, role, where) => event("workflow_phase_transition", { phase_to: to, agent_role: role }, where);
  const frames = [
    began("plan", "planner", { seq: 1 }), pre("a", { seq: 2 }, { agent_role: "planner" }), began("build", "implementor", { seq: 3 }), pre("b", { seq: 4 }, { agent_role: "implementor" }),
    event("spec_created", { spec_path: "plan.md" }, { seq: 5 }),
  ];
  const look = (more) => sections(runOf([...frames, ...more])).map((section) => [section.name, section.state, section.items.map((item) => `${item.kind} ${item.call ?? ""} ${item.state ?? ""}`.replace(/ +/g, " ").trim())]);
  assert.deepEqual(look([]), [["plan", "done", ["tool a unanswered"]], ["build", "active", ["tool b running", "spec"]]], "what no agent is named for goes to the phase before it");
  const talk = event("text_block", { content: "still here", agent_role: "planner" }, { seq: 6 });
  assert.deepEqual(look([talk]), [["plan", "active", ["tool a running", "text"]], ["build", "active", ["tool b running", "spec"]]]);
  assert.deepEqual(look([talk, post("a", { seq: 7 }, { agent_role: "planner" })])[0], ["plan", "active", ["tool a ok", "text"]]);
  const later = began("test", "tester", { seq: 9 });
  assert.deepEqual(look([talk, later]).map(([name, state]) => `${name} ${state}`), ["plan done", "build done", "test active"], "a phase counts as going on beside the newest one only");
});

test("what an agent says just before its phase begins belongs to that phase", () => {
  const run = runOf([
    event("agent_log", { level: "info", message: "planner runs", agent_role: "planner" }, { seq: 1 }), event("spec_created", { spec_path: "plan.md" }, { seq: 2 }),
    event("workflow_phase_transition", { phase_to: "plan", agent_role: "planner" }, { seq: 3 }), event("text_block", { content: "hello", agent_role: "planner" }, { seq: 4 }),
  ]);
  assert.deepEqual(sections(run).map((section) => [section.name, section.items.map((item) => item.kind), section.endAt - section.startAt]), [["", ["spec"], 0], ["plan", ["log", "text"], 3000]]);
});

test("the strip shows the usual phases, those ahead as pending, and unusual ones behind them", () => {
  const run = runOf([phase("plan", { seq: 1 }), phase("build", { seq: 2 }), phase("patch", { seq: 3 })]);
  assert.deepEqual(strip(run).map(({ name, state }) => `${name} ${state}`), ["plan done", "build done", "test pending", "review pending", "document pending", "patch active"]);
  const odd = runOf([phase("issue_classifier", { seq: 1 })]);
  assert.deepEqual(strip(odd).map(({ name }) => name), ["issue_classifier"]);
});

test("the end of a run closes its last phase well or badly", () => {
  const end = (status) => sections(runOf([phase("plan", { seq: 1 }), event("agent_summary_update", { status }, { seq: undefined, after: 3000 })])).at(-1).state;
  assert.equal(end("completed"), "done");
  assert.equal(end("failed"), "failed");
  assert.equal(end("in_progress"), "active");
});

test("the newest summary stays, also when an older one is replayed after it", () => {
  const summary = (status, after) => event("agent_summary_update", { status, progress_percent: after / 100 }, { seq: undefined, after });
  const run = runOf([summary("completed", 9000), summary("in_progress", 2000)]);
  assert.deepEqual([run.status, run.progress], ["completed", 90]);
});

test("a subagent's items are marked as such", () => {
  const run = runOf([pre("a", { seq: 1 }, { parent_tool_use_id: "outer", agent_role: "tester" })]);
  assert.deepEqual([run.items[0].parent, run.items[0].role], ["outer", "tester"]);
});

test("a run knows whether its beginning is here", () => {
  assert.equal(runOf([pre("a", { seq: 9 })]).fromStart, false);
  assert.equal(runOf([pre("a", { seq: 9 }), pre("b", { seq: 1 })]).fromStart, true);
  const raw = { ...event("agent_output_chunk", { content: "x" }, { seq: 1 }), to: "adw:29fb6a3e/raw" };
  assert.equal(runOf([raw, pre("a", { seq: 9 })]).fromStart, false, "the raw stream has a chain of its own");
});

test("memory is bounded: items, runs and texts", () => {
  const run = runOf(Array.from({ length: 30 }, (_, i) => pre(`t${i}`, { seq: i + 1 })), 10);
  assert.equal(run.items.length, 10);
  assert.equal(run.trimmed, 20);
  assert.equal(run.items[0].call, "t20");
  const runs = new Runs({ maxRuns: 2 });
  for (const [adw, after] of [["aaaaaaaa", 3000], ["bbbbbbbb", 1000], ["cccccccc", 2000]]) runs.ingest(event("text_block", { content: "x" }, { adw, after }));
  assert.deepEqual(runs.list().map((known) => known.adw), ["aaaaaaaa", "cccccccc"], "the quietest is forgotten");
  const long = clip("x".repeat(25_000));
  assert.deepEqual([long.text.length, long.omitted], [20_000, 5000]);
  assert.equal(clip("a\u{1f600}", 2).text, "a");
});

test("events of no ADW make no run", () => {
  const runs = new Runs();
  assert.equal(runs.ingest({ type: "chat.fragment", to: "session:s1", data: {} }), null);
  assert.equal(runs.list().length, 0);
});

test("payloads of any shape are survived", () => {
  for (const name of ["workflow_phase_transition", "stage_transition", "agent_summary_update", "tool_use_pre", "tool_use_post", "file_changed", "text_block", "chat_stream", "thinking_block", "summary_update", "agent_log", "screenshot_available", "spec_created", "agent_output_chunk", "never_heard_of"]) {
    for (const data of [{}, { content: 7, output: { a: 1 }, input: "x", duration_ms: "soon", summary: null, lines_added: -3, tool_use_id: {} }]) {
      const run = runOf([event(name, data, { seq: 1 }), { type: `adw.${name}`, time: "never", to: "adw:29fb6a3e", data }]);
      sections(run);
      strip(run);
    }
  }
});

test("a screenshot is asked for by its file name alone", () => {
  assert.equal(screenshotName("reviewer/review_img/01.png"), "01.png");
  assert.equal(screenshotName("../../etc/passwd"), "passwd");
  assert.equal(screenshotName(undefined), "");
});

// ---------------------------------------------------------------------------------------------------- times, costs, ends

let made = 0;
/** What one agent does, `step` milliseconds from event to event: a phase, calls with their results, and how it ended. */
function agent(role, to, { at = 0, step = 1000, calls = 3, payload = {}, level = "SUCCESS", ends = true } = {}) {
  const by = { agent_role: role };
  const frames = [event("workflow_phase_transition", { phase_to: to, ...by }, { after: at })];
  for (let i = 0; i < calls; i += 1) {
    const id = `call${(made += 1)}`;
    frames.push(event("tool_use_pre", { tool_name: "Read", tool_use_id: id, input: {}, ...by }, { after: at + (2 * i + 1) * step }));
    frames.push(event("tool_use_post", { tool_name: "Read", tool_use_id: id, success: true, output: "ok", ...by }, { after: at + (2 * i + 2) * step }));
  }
  if (ends) frames.push(result(role, { after: at + (2 * calls + 1) * step, level, payload }));
  return frames;
}
const result = (role, { after, level = "SUCCESS", payload = {} }) => event("agent_log", { event_category: "response", event_type: "result", level, message: `${role} ended`, agent_role: role, payload: { subtype: "success", is_error: false, ...payload } }, { after });
const took = (run) => sections(run).map((section) => section.took);

test("times at which a file was read are no durations: only what results state is shown", () => {
  const run = runOf([...agent("planner", "plan", { step: 1, payload: { duration_ms: 61_366, total_cost_usd: 0.4 } }), ...agent("implementor", "build", { at: 20, step: 1, ends: false })]);
  assert.deepEqual(took(run), [61_366, null]);
  assert.deepEqual(sections(run).map((section) => section.lived), [false, false]);
  for (const section of sections(run)) for (const call of section.items.filter((item) => item.kind === "tool")) assert.equal(callDuration(call, section.lived), null);
  assert.deepEqual(strip(run).map((phase) => phase.took), [61_366, null, null, null, null]);
  const { took: whole, untimed, lived } = standing(run);
  assert.deepEqual([whole, untimed, lived], [61_366, 1, false]);
});

test("a call that states its duration keeps it, read from a file or not", () => {
  const run = runOf([pre("a", { seq: 1, after: 0 }), post("a", { seq: 2, after: 1 }, { duration_ms: 4200 })]);
  assert.equal(callDuration(calls(run)[0], sections(run)[0].lived), 4200);
});

test("times of events as they happened are durations, with a fast tool among them", () => {
  const run = runOf(agent("planner", "plan", { ends: false }));
  assert.deepEqual(took(run), [6000]);
  const [call] = calls(run);
  assert.equal(callDuration(call, sections(run)[0].lived), 1000);
  const fast = runOf([phase("plan", { seq: 1, after: 0 }), pre("a", { seq: 2, after: 3000 }), post("a", { seq: 3, after: 3003 }), pre("b", { seq: 4, after: 6000 }), post("b", { seq: 5, after: 6002 })]);
  assert.equal(callDuration(calls(fast)[0], sections(fast)[0].lived), 3);
});

test("a file that was read up to where its agent is and followed from there has no times before its result", () => {
  const frames = [...agent("planner", "plan", { step: 1, calls: 20, ends: false }), ...agent("planner", "plan", { at: 60_000, calls: 3, ends: false }).slice(1)];
  assert.equal(sections(runOf(frames))[0].lived, false);
  const stated = runOf([...frames, result("planner", { after: 70_000, payload: { duration_ms: 400_000 } })]);
  assert.deepEqual(took(stated), [400_000]);
  const slow = sections(runOf(agent("planner", "plan", { step: 200, payload: { duration_ms: 400_000 } })))[0];
  assert.equal(slow.lived, false, "a span of 1.4 s cannot be that of 400 s of work");
});

test("one call without anything to compare it with is timed when it took longer than reading does", () => {
  assert.equal(isLived(calls(runOf([pre("a", { seq: 1, after: 0 }), post("a", { seq: 2, after: 4 })]))), false);
  assert.equal(isLived(calls(runOf([pre("a", { seq: 1, after: 0 }), post("a", { seq: 2, after: 4000 })]))), true);
  assert.equal(isLived([]), false);
});

test("what a run took and cost is the sum over its phases", () => {
  const run = runOf([
    ...agent("planner", "plan", { step: 1, payload: { duration_ms: 38_287, total_cost_usd: 0.1022048 } }), ...agent("implementor", "build", { at: 20, step: 1, payload: { duration_ms: 185_259, total_cost_usd: 0.7338028 } }),
    ...agent("tester", "test", { at: 40, step: 1, payload: { duration_ms: 257_929, total_cost_usd: 0.76874895 } }),
  ]);
  const cut = sections(run);
  const whole = standing(run, cut);
  assert.equal(whole.took, cut.reduce((sum, section) => sum + section.took, 0));
  assert.deepEqual(cut.map((section) => section.cost), [0.1022, 0.7338, 0.7687]);
  assert.equal(whole.cost, 1.6047);
  assert.deepEqual(cut.map((section) => section.took), strip(run).slice(0, 3).map((phase) => phase.took));
});

test("the results of one session say what it cost so far, those of another one begin anew", () => {
  const of = (role, ...costs) => costs.map(([cost, api]) => ({ role, cost, api }));
  assert.equal(costOf(of("tester", [0.12, 13_230], [0.15, 17_770], [0.75, 101_265])), 0.75);
  assert.equal(costOf(of("tester", [0.75, 101_265], [0.2, 30_000], [0.3, 40_000])), 1.05);
  assert.equal(costOf([...of("planner", [0.1, 1]), ...of("tester", [0.2, 1])]), 0.3);
  assert.equal(costOf(of("tester", [null, 1])), null);
});

test("a failed result makes its phase a failed one, whatever came later, and the run is not shown as good", () => {
  const frames = (payload, level) => [
    ...agent("reviewer", "review", { payload, level }), event("summary_update", { content: "hit the limit", agent_role: "reviewer", metadata: { is_error: true } }, { after: 8500 }), ...agent("documenter", "document", { at: 9000 }),
  ];
  for (const [payload, level] of [[{ is_error: true }, "SUCCESS"], [{}, "ERROR"]]) {
    const run = runOf(frames(payload, level));
    assert.deepEqual(sections(run).map((section) => section.state), ["failed", "done"]);
    assert.deepEqual(strip(run).map(({ name, state }) => `${name} ${state}`).slice(3), ["review failed", "document done"]);
    const { status, tone, failed } = standing(run);
    assert.deepEqual([status, tone, failed], ["completed", "warn", 1]);
  }
  assert.equal(runOf(frames({ is_error: true }, "SUCCESS")).items.find((item) => item.kind === "log").level, "ERROR");
  assert.equal(runOf(frames({ is_error: true })).items.find((item) => item.kind === "summary").failed, true);
});

test("an agent that ended ends its phase, not the run", () => {
  const ended = (role, after) => event("agent_summary_update", { status: "completed", current_step: `${role} finished`, metadata: { agent_role: role } }, { seq: undefined, after });
  const run = runOf([event("agent_summary_update", { status: "in_progress" }, { seq: undefined, after: 0 }), ...agent("planner", "plan", {}), ended("planner", 7100)]);
  assert.deepEqual(sections(run).map((section) => section.state), ["done"]);
  assert.deepEqual([run.status, run.step, standing(run).status, standing(run).tone], ["in_progress", "planner finished", "in_progress", "busy"]);
  for (const frame of agent("implementor", "build", { at: 8000, ends: false })) run.ingest(frame);
  assert.deepEqual(sections(run).map((section) => section.state), ["done", "active"]);
  for (const frame of agent("documenter", "document", { at: 20_000 })) run.ingest(frame);
  assert.deepEqual([standing(run).status, standing(run).tone], ["completed", "good"], "with the last usual phase the run is through");
});

test("an agent that goes on after a result is at work again", () => {
  const run = runOf([...agent("tester", "test", {}), event("text_block", { content: "once more", agent_role: "tester" }, { after: 9000 })]);
  assert.equal(sections(run)[0].state, "active");
  run.ingest(result("tester", { after: 10_000, payload: { is_error: true } }));
  assert.equal(sections(run)[0].state, "failed");
  run.ingest(event("text_block", { content: "a third time", agent_role: "tester" }, { after: 11_000 }));
  run.ingest(result("tester", { after: 12_000 }));
  assert.equal(sections(run)[0].state, "done", "the last result counts");
});
