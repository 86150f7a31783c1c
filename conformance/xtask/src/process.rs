//! Child processes that cannot outlive their welcome.
//!
//! Each child leads a process group of its own, so that ending the group ends whatever it started in turn. A small
//! shell, the guard, holds the other end of a pipe from this program and knows the groups that are alive. When this
//! program ends, by return, by Ctrl-C or by `kill -9`, the pipe closes and the guard ends every group that is left. It is a
//! separate process because nothing inside this one can run after its death, and because signaling a group from Rust
//! without a dependency would need unsafe code.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// The guard's program: `+ N` remembers group N, `- N` ends what is left of it and forgets it, `t N` asks it to stop.
const GUARD: &str = r#"
trap '' INT TERM HUP QUIT
live=' '
while read -r order group; do
    case $order in
    +) live="$live$group " ;;
    -) kill -KILL "-$group" 2>/dev/null
       before=${live%% $group *}
       [ "$before" = "$live" ] || live="$before ${live#* $group }" ;;
    t) kill -TERM "-$group" 2>/dev/null ;;
    esac
done
for group in $live; do kill -KILL "-$group" 2>/dev/null; done
exit 0
"#;

/// How long a process that was asked to stop may take before it is ended.
const STOP_WINDOW: Duration = Duration::from_secs(10);

/// The pipe to the guard, started with the first child. `None` when there is no shell to run it.
fn guard() -> &'static Mutex<Option<ChildStdin>> {
    static GUARD_PIPE: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();
    GUARD_PIPE.get_or_init(|| {
        let started = Command::new("sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Mutex::new(started.ok().and_then(|mut shell| shell.stdin.take()))
    })
}

/// Sends one order to the guard. A guard that is gone has nothing left to protect, so its silence is no error.
fn order(word: char, group: u32) {
    let mut pipe = guard().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pipe) = pipe.as_mut() {
        let _ = writeln!(pipe, "{word} {group}").and_then(|()| pipe.flush());
    }
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With exit code 0.
    Succeeded,
    /// With another exit code or by a signal; the text says which.
    Failed(String),
    /// Not within its time; it was ended.
    TimedOut(Duration),
    /// It never ran; the text says why.
    NotStarted(String),
}

impl Outcome {
    /// `Ok` when the process succeeded, else one line that names `what` failed.
    pub(crate) fn require(self, what: &str) -> Result<(), String> {
        match self {
            Outcome::Succeeded => Ok(()),
            Outcome::Failed(how) => Err(format!("{what} failed: {how}")),
            Outcome::TimedOut(limit) => Err(format!("{what} did not end within {} s and was ended", limit.as_secs())),
            Outcome::NotStarted(why) => Err(format!("{what} could not be started: {why}")),
        }
    }
}

/// A process that is ended, with everything it started, when this value goes.
pub(crate) struct Running {
    group: u32,
    ended: Receiver<io::Result<ExitStatus>>,
    over: bool,
}

impl Running {
    /// Starts `command` in a process group of its own, with nothing to read.
    fn start(command: &mut Command) -> Result<(Self, Option<Pipes>), String> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("`{program}` is not on this machine"),
            _ => format!("`{program}`: {error}"),
        })?;
        let group = child.id();
        order('+', group);
        let pipes = match (child.stdout.take(), child.stderr.take()) {
            (Some(out), Some(err)) => Some(Pipes { out: Box::new(out), err: Box::new(err) }),
            _ => None,
        };
        let ended = wait_in_background(child);
        let running = Running { group, ended, over: false };
        Ok((running, pipes))
    }

    /// Waits for the end, at most `limit`; a process that takes longer is ended.
    fn wait(&mut self, limit: Duration) -> Outcome {
        match self.ended.recv_timeout(limit) {
            Ok(ended) => {
                self.over = true;
                describe(ended)
            }
            Err(RecvTimeoutError::Timeout) => Outcome::TimedOut(limit),
            Err(RecvTimeoutError::Disconnected) => Outcome::Failed("the thread that waited for it is gone".to_owned()),
        }
    }

    /// Asks the process to stop, as Ctrl-C would, and says how it ended.
    pub(crate) fn stop(mut self) -> Outcome {
        order('t', self.group);
        self.wait(STOP_WINDOW)
    }

    /// How it ended, when it already has.
    pub(crate) fn has_ended(&mut self) -> Option<Outcome> {
        let ended = self.ended.try_recv().ok()?;
        self.over = true;
        Some(describe(ended))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        order('-', self.group);
        if !self.over {
            // The group was just ended; its leader is gone as soon as the system gets to it.
            let _ = self.ended.recv_timeout(STOP_WINDOW);
        }
    }
}

struct Pipes {
    out: Box<dyn Read + Send>,
    err: Box<dyn Read + Send>,
}

fn wait_in_background(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        let _ = tell.send(child.wait());
    });
    ended
}

fn describe(ended: io::Result<ExitStatus>) -> Outcome {
    match ended {
        Ok(status) if status.success() => Outcome::Succeeded,
        Ok(status) => Outcome::Failed(status.to_string()),
        Err(error) => Outcome::Failed(format!("its end could not be observed: {error}")),
    }
}

/// Runs `command` to its end with the output where ours goes.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Outcome {
    match Running::start(command) {
        Ok((mut running, _)) => running.wait(limit),
        Err(why) => Outcome::NotStarted(why),
    }
}

/// Runs `command` to its end and returns what it wrote, standard output first.
pub(crate) fn capture(command: &mut Command, limit: Duration) -> (Outcome, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut running, pipes) = match Running::start(command) {
        Ok(started) => started,
        Err(why) => return (Outcome::NotStarted(why), String::new()),
    };
    let Some(pipes) = pipes else {
        return (running.wait(limit), String::new());
    };
    let out = read_in_background(pipes.out);
    let err = read_in_background(pipes.err);
    let outcome = running.wait(limit);
    // Ends grandchildren that still hold the pipes; without that the readers would wait for them.
    drop(running);
    let mut text = out.join().unwrap_or_default();
    text.push_str(&err.join().unwrap_or_default());
    (outcome, text)
}

fn read_in_background(mut from: Box<dyn Read + Send>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Starts a server and waits until it prints an address it listens on.
///
/// Everything it writes goes to `log`. Returns an error when it ends first or prints no address within `limit`.
pub(crate) fn start_server(
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> Result<(Running, SocketAddr), String> {
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut running, pipes) = Running::start(command)?;
    let Some(pipes) = pipes else {
        return Err("its output could not be read".to_owned());
    };
    let (tell, addresses) = mpsc::channel();
    for from in [pipes.out, pipes.err] {
        let tell = tell.clone();
        let mut file = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let _ = file.write_all(&line).and_then(|()| file.write_all(b"\n"));
                if let Some(address) = address_in(&String::from_utf8_lossy(&line)) {
                    let _ = tell.send(address);
                }
            }
        });
    }
    // With our own sender gone, the channel closes when both outputs do, which is when the server has ended.
    drop(tell);
    match addresses.recv_timeout(limit) {
        Ok(address) => Ok((running, address)),
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("it printed no address within {} s; its output is in {}", limit.as_secs(), log.display()))
        }
        Err(RecvTimeoutError::Disconnected) => {
            let how = match running.wait(STOP_WINDOW) {
                Outcome::Failed(how) => how,
                other => format!("{other:?}"),
            };
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            Err(format!(
                "it ended ({how}) before it printed an address; its last line was: {}",
                last.unwrap_or("(nothing)")
            ))
        }
    }
}

/// The first `http://ADDRESS:PORT` in a line.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("http://")?;
    let end =
        after.find(|letter: char| !(letter.is_ascii_hexdigit() || ".:[]".contains(letter))).unwrap_or(after.len());
    after.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_process_that_succeeds_or_fails_is_told_apart() {
        let limit = Duration::from_secs(30);
        assert_eq!(run(&mut shell("exit 0"), limit), Outcome::Succeeded);
        assert_eq!(run(&mut shell("exit 3"), limit), Outcome::Failed("exit status: 3".to_owned()));
        assert!(matches!(run(&mut Command::new("no-such-program-here"), limit), Outcome::NotStarted(_)));
    }

    #[test]
    fn a_process_over_its_time_is_ended_with_everything_it_started() {
        // The grandchild holds the pipe: capture can return only when it is gone, too.
        let begun = Instant::now();
        let limit = Duration::from_secs(1);
        let (outcome, said) = capture(&mut shell("sleep 600 & echo started; wait"), limit);
        assert_eq!(outcome, Outcome::TimedOut(limit));
        assert_eq!(said, "started\n");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn what_a_process_leaves_running_is_ended_when_it_is_done() {
        let (outcome, said) = capture(&mut shell("sleep 600 & echo left"), Duration::from_secs(60));
        assert_eq!(outcome, Outcome::Succeeded);
        assert_eq!(said, "left\n");
    }

    #[test]
    fn the_guard_forgets_only_the_group_it_is_told_to() {
        // The guard's own bookkeeping, run without the pipe's early closing: after `- 2`, groups 1 and 3 are left.
        let script = GUARD
            .replace("kill -KILL \"-$group\" 2>/dev/null; done", "echo \"left $group\"; done")
            .replace("kill -KILL \"-$group\" 2>/dev/null\n", ":\n");
        let fed = format!("printf '+ 1\\n+ 2\\n+ 3\\n- 2\\n' | sh -c '{}'", script.replace('\'', "'\\''"));
        let (outcome, said) = capture(&mut shell(&fed), Duration::from_secs(30));
        assert_eq!(outcome, Outcome::Succeeded);
        assert_eq!(said, "left 1\nleft 3\n");
    }

    #[test]
    fn the_address_is_read_out_of_what_a_server_prints() {
        let address = |line: &str| address_in(line).map(|found| found.to_string());
        assert_eq!(address("eventwire listens on http://127.0.0.1:8080/ (open it)").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(address("open http://[::1]:9").as_deref(), Some("[::1]:9"));
        assert_eq!(address("see http://example.org/"), None);
        assert_eq!(address("nothing here"), None);
    }

    #[test]
    fn a_server_that_ends_early_says_its_last_words() {
        let log = std::env::temp_dir().join(format!("xtask-server-{}.log", std::process::id()));
        let failed = start_server(&mut shell("echo 'port 1 is taken' >&2; exit 2"), &log, Duration::from_secs(30));
        let why = failed.err().unwrap();
        assert!(why.contains("exit status: 2") && why.contains("port 1 is taken"), "{why}");
        let _ = std::fs::remove_file(&log);
    }

    #[test]
    fn a_server_is_found_by_its_address_and_stopped() {
        let log = std::env::temp_dir().join(format!("xtask-stop-{}.log", std::process::id()));
        let mut command = shell("trap 'exit 0' TERM; echo 'http://127.0.0.1:4321'; while :; do sleep 0.05; done");
        let (running, address) = start_server(&mut command, &log, Duration::from_secs(30)).unwrap();
        assert_eq!(address.port(), 4321);
        assert_eq!(running.stop(), Outcome::Succeeded);
        let _ = std::fs::remove_file(&log);
    }
}
