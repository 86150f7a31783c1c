//! Finished runs, told once more at a pace that can be read.
//!
//! All runs are told side by side, each in the order of its workflow. Transcripts carry no times, so the pauses are those
//! that were measured on recordings which do: about a third of a second between pieces of an answer, more than a second
//! for a tool, next to nothing between lines of bookkeeping. Nothing is remembered: the next replay begins anew.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use eventwire_protocol::id::AdwId;

use crate::{
    batch::publish_unremembered,
    event::AgentEvent,
    follow::MAX_ROLES,
    paths::{AgentsRoot, IMAGES_DIRECTORY, STATE_FILE, TRANSCRIPT_FILE, plan_spec_file},
    port::{Port, Stopped},
    role::RoleName,
    run::{MAX_ANNOUNCED_FILES, Run},
    state::MAX_STATE_BYTES,
    tail::READ_BYTES,
    transcript::{Output, Transcript},
    watch::{Signals, Woken},
};

/// Pause before a piece of an answer: a block, or a part of one. Half of the measured pauses were shorter.
const ANSWER: Duration = Duration::from_millis(363);
/// Pause before the result of a tool. Nine in ten of the measured ones were shorter.
const TOOL: Duration = Duration::from_millis(1300);
/// Pause before a line of bookkeeping. Half of the measured pauses beside a tool were shorter.
const BOOKKEEPING: Duration = Duration::from_millis(4);
/// Pause before the next role starts, and before what stands beside the transcripts.
const CHANGE: Duration = Duration::from_secs(1);

/// How many times faster than life a replay runs: 0.01 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

/// A number that is no speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a replay speed is a number from 0.01 to 10000, 1 being the pace of life")]
pub struct SpeedError;

impl Speed {
    /// The pace of life.
    pub const LIFE: Self = Self(1.0);

    /// A speed of `times` the pace of life.
    ///
    /// # Errors
    /// When the number is outside of 0.01 to 10,000.
    pub fn new(times: f64) -> Result<Self, SpeedError> {
        if (0.01..=10_000.0).contains(&times) { Ok(Self(times)) } else { Err(SpeedError) }
    }

    fn apply(self, pause: Duration) -> Duration {
        pause.div_f64(self.0)
    }
}

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        text.trim().trim_end_matches('x').parse().map_err(|_| SpeedError).and_then(Self::new)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells all finished runs of a root, until the last is told or nobody wants events any more.
pub(crate) fn replay(root: &AgentsRoot, runs: &[AdwId], speed: Speed, port: &Port, signals: &Arc<Signals>) {
    // Ending is the one way out; there is nothing to clean up.
    let _ = play(root, runs, speed, port, signals);
}

fn play(root: &AgentsRoot, runs: &[AdwId], speed: Speed, port: &Port, signals: &Arc<Signals>) -> Result<(), Stopped> {
    let mut next: BTreeMap<(Instant, AdwId), (Told, Vec<AgentEvent>)> = BTreeMap::new();
    let plan = |mut told: Told, next: &mut BTreeMap<_, _>| {
        if let Some((pause, events)) = told.step(root) {
            next.insert((Instant::now() + speed.apply(pause), told.adw_id), (told, events));
        }
    };
    for adw_id in runs {
        plan(Told::new(root, *adw_id), &mut next);
    }
    while let Some(((due, _), (told, events))) = next.pop_first() {
        while Instant::now() < due {
            if matches!(signals.wait(Some(due)), Woken::Stopped) {
                return Err(Stopped);
            }
        }
        publish_unremembered(port, events)?;
        plan(told, &mut next);
    }
    Ok(())
}

/// What is told of a run one after the other.
enum Stage {
    State,
    Spec,
    Transcript(RoleName),
    Images(RoleName),
}

/// One run on its way.
struct Told {
    adw_id: AdwId,
    run: Run,
    stages: VecDeque<Stage>,
    reading: Option<Reading>,
}

/// A transcript on its way.
struct Reading {
    file: std::fs::File,
    role: RoleName,
    transcript: Transcript,
    /// Bytes read and not yet told.
    ahead: VecDeque<u8>,
}

impl Told {
    fn new(root: &AgentsRoot, adw_id: AdwId) -> Self {
        let mut stages = VecDeque::from([Stage::State, Stage::Spec]);
        for role in root.roles(adw_id, MAX_ROLES).unwrap_or_default() {
            stages.push_back(Stage::Transcript(role.clone()));
            stages.push_back(Stage::Images(role));
        }
        Self { adw_id, run: Run::new(adw_id), stages, reading: None }
    }

    /// What comes next, and after which pause; `None` at the end of the run. What cannot be read is left out.
    fn step(&mut self, root: &AgentsRoot) -> Option<(Duration, Vec<AgentEvent>)> {
        loop {
            if let Some(reading) = &mut self.reading {
                match reading.line() {
                    Some(outputs) => {
                        let pause = pause_before(&outputs);
                        let role = reading.role.clone();
                        let events = self.events(&role, outputs);
                        return Some((pause, events));
                    }
                    None => self.reading = None,
                }
            }
            let events = match self.stages.pop_front()? {
                Stage::State => match root.read(self.adw_id, &[STATE_FILE], MAX_STATE_BYTES) {
                    Ok(bytes) => self.run.state_changed(&bytes, root.repository()),
                    Err(_) => Vec::new(),
                },
                Stage::Spec => {
                    let file = plan_spec_file(self.adw_id);
                    let found = root.file(self.adw_id, &[&file]).ok();
                    let event =
                        found.and_then(|(_, metadata)| self.run.spec_found(&file, metadata.len(), &root.name()));
                    event.into_iter().collect()
                }
                Stage::Transcript(role) => {
                    let mut transcript = Transcript::new(self.adw_id, &role);
                    transcript.set_worktree(self.run.worktree().map(str::to_owned));
                    self.reading = root
                        .file(self.adw_id, &[role.as_str(), TRANSCRIPT_FILE])
                        .ok()
                        .map(|(file, _)| Reading { file, role, transcript, ahead: VecDeque::new() });
                    Vec::new()
                }
                Stage::Images(role) => root
                    .screenshots(self.adw_id, &role, MAX_ANNOUNCED_FILES)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|name| self.run.screenshot_found(&format!("{role}/{IMAGES_DIRECTORY}/{name}"), &role))
                    .collect(),
            };
            if !events.is_empty() {
                return Some((CHANGE, events));
            }
        }
    }

    fn events(&mut self, role: &RoleName, outputs: Vec<Output>) -> Vec<AgentEvent> {
        outputs
            .into_iter()
            .filter_map(|output| match output {
                Output::Event(event) => Some(event),
                Output::RoleStarted => self.run.role_started(role),
            })
            .collect()
    }
}

impl Reading {
    /// What the next line gives rise to; of a line that is too long to be held, what the next part does.
    fn line(&mut self) -> Option<Vec<Output>> {
        use std::io::Read as _;

        let mut outputs = Vec::new();
        loop {
            let end = self.ahead.iter().position(|byte| *byte == b'\n').map_or(self.ahead.len(), |at| at + 1);
            let bytes: Vec<u8> = self.ahead.drain(..end).collect();
            self.transcript.push(&bytes, &mut outputs);
            if !outputs.is_empty() {
                return Some(outputs);
            }
            if self.ahead.is_empty() {
                let mut buffer = vec![0; READ_BYTES];
                match self.file.read(&mut buffer) {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => self.ahead.extend(buffer.get(..read).unwrap_or_default()),
                }
            }
        }
    }
}

/// The pause before a line, by what it is.
fn pause_before(outputs: &[Output]) -> Duration {
    let mut pause = Duration::ZERO;
    let mut only_raw = true;
    for output in outputs {
        let own = match output {
            Output::RoleStarted => CHANGE,
            Output::Event(AgentEvent::AgentOutputChunk(_)) => continue,
            Output::Event(AgentEvent::ToolUsePost(_)) => TOOL,
            Output::Event(AgentEvent::TextBlock(_) | AgentEvent::ThinkingBlock(_) | AgentEvent::ToolUsePre(_)) => {
                ANSWER
            }
            Output::Event(_) => BOOKKEEPING,
        };
        only_raw = false;
        pause = pause.max(own);
    }
    if only_raw { ANSWER } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(line: &str) -> Vec<Output> {
        let role: RoleName = "planner".parse().unwrap();
        let mut transcript = Transcript::new("29fb6a3e".parse().unwrap(), &role);
        let mut outputs = Vec::new();
        transcript.push(format!("{line}\n").as_bytes(), &mut outputs);
        outputs
    }

    #[test]
    fn the_pause_before_a_line_follows_what_the_line_is() {
        for (line, pause) in [
            (r#"{"type":"system","subtype":"init"}"#, CHANGE),
            (r#"{"type":"system","subtype":"status"}"#, BOOKKEEPING),
            (r#"{"type":"assistant","message":{"content":[{"type":"text","text":"x"}]}}"#, ANSWER),
            (r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"a"}]}}"#, TOOL),
            (r#"{"type":"stream_event"}"#, ANSWER),
        ] {
            assert_eq!(pause_before(&outputs(line)), pause, "{line}");
        }
    }

    #[test]
    fn a_speed_divides_every_pause_and_has_bounds() {
        assert_eq!(Speed::new(2.0).unwrap().apply(TOOL), TOOL / 2);
        assert_eq!("10x".parse(), Speed::new(10.0));
        for bad in ["0", "-1", "fast", "NaN", "inf", "10001"] {
            assert_eq!(bad.parse::<Speed>(), Err(SpeedError), "{bad}");
        }
    }
}
