//! Plays many cases and says what came of them: a line for each that did not hold, and one at the end that counts.

use std::{
    fmt,
    io::{self, Write},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    case::{Case, Level, Need},
    principals::Principals,
    run::{Outcome, missing_keys, run_case},
    target::Target,
};

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// The rule it checks.
    pub rule: String,
    /// How much it weighs.
    pub level: Level,
    /// `passed`, `failed` or `warned`.
    pub outcome: &'static str,
    /// Why it did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was checked.
    pub target: String,
    /// Every case that was played.
    pub cases: Vec<Entry>,
    /// Cases that hold.
    pub passed: usize,
    /// MUST cases that do not hold.
    pub failed: usize,
    /// SHOULD cases that do not hold.
    pub warned: usize,
    /// Cases that are about another kind of target.
    pub elsewhere: usize,
}

impl Report {
    /// Whether the target keeps every rule it must keep. A run that checked nothing proves nothing.
    pub fn holds(&self) -> bool {
        self.failed == 0 && !self.cases.is_empty()
    }
}

impl fmt::Display for Report {
    /// The closing line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Whether a case is about this kind of target.
pub fn applies(case: &Case, target: &dyn Target) -> bool {
    case.needs.iter().all(|need| target.faces().contains(need))
}

/// How a run tells about itself while it goes on.
pub trait Progress {
    /// A case begins: its place, of how many.
    ///
    /// # Errors
    /// It cannot be written.
    fn begins(&mut self, case: &Case, place: usize, of: usize) -> io::Result<()>;

    /// A case has ended.
    ///
    /// # Errors
    /// It cannot be written.
    fn ended(&mut self, entry: &Entry) -> io::Result<()>;
}

/// Plays the cases one after the other.
///
/// # Errors
/// Progress cannot be written.
pub async fn run(
    cases: &[Case],
    target: &dyn Target,
    principals: &Principals,
    mut nonce: impl FnMut() -> String,
    progress: &mut dyn Progress,
) -> io::Result<Report> {
    let chosen: Vec<&Case> = cases.iter().filter(|case| applies(case, target)).collect();
    let mut report = Report {
        target: target.name(),
        cases: Vec::with_capacity(chosen.len()),
        passed: 0,
        failed: 0,
        warned: 0,
        elsewhere: cases.len() - chosen.len(),
    };
    let asks_for_keys = chosen.iter().any(|case| case.needs.contains(&Need::Keys));
    let stranger = if asks_for_keys { missing_keys(target, principals).await } else { None };
    for (index, case) in chosen.iter().enumerate() {
        progress.begins(case, index + 1, chosen.len())?;
        let started = Instant::now();
        let outcome = match &stranger {
            // Never skipped: whoever asks for these cases is told that they do not hold.
            Some(why) if case.needs.contains(&Need::Keys) => Outcome::Failed(why.clone()),
            _ => run_case(case, target, principals, nonce()).await,
        };
        let entry = entry(case, outcome, started.elapsed());
        match entry.outcome {
            "passed" => report.passed += 1,
            "failed" => report.failed += 1,
            _ => report.warned += 1,
        }
        progress.ended(&entry)?;
        report.cases.push(entry);
    }
    Ok(report)
}

fn entry(case: &Case, outcome: Outcome, took: Duration) -> Entry {
    let (outcome, reason) = match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::Warned(reason) => ("warned", Some(reason)),
    };
    Entry {
        id: case.id.clone(),
        rule: case.rule.clone(),
        level: case.level,
        outcome,
        reason,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Lines for people: what did not hold, with `verbose` everything, on a terminal the case that is being played.
pub struct Lines<W> {
    out: W,
    is_terminal: bool,
    verbose: bool,
}

impl<W: Write> Lines<W> {
    /// Lines on `out`.
    pub fn new(out: W, is_terminal: bool, verbose: bool) -> Self {
        Lines { out, is_terminal, verbose }
    }

    fn clear(&mut self) -> io::Result<()> {
        if self.is_terminal { write!(self.out, "\r\x1b[2K") } else { Ok(()) }
    }
}

impl<W: Write> Progress for Lines<W> {
    fn begins(&mut self, case: &Case, place: usize, of: usize) -> io::Result<()> {
        if self.is_terminal {
            self.clear()?;
            write!(self.out, "{place}/{of} {}", case.id)?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn ended(&mut self, entry: &Entry) -> io::Result<()> {
        self.clear()?;
        match (&entry.reason, entry.outcome) {
            (Some(reason), "warned") => writeln!(self.out, "WARN {}: {reason}", entry.id),
            (Some(reason), _) => writeln!(self.out, "FAIL {}: {reason}", entry.id),
            (None, _) if self.verbose => writeln!(self.out, "ok   {}", entry.id),
            (None, _) => Ok(()),
        }
    }
}

/// Says nothing.
pub struct Quiet;

impl Progress for Quiet {
    fn begins(&mut self, _: &Case, _: usize, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn ended(&mut self, _: &Entry) -> io::Result<()> {
        Ok(())
    }
}
