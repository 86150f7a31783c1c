//! Bounds in bytes are bounds on resident memory (LIMIT-11): measured in a process of its own for each kind of filling.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a child measured is read from its output")]

use std::process::Command;

use eventwire_hub::{
    Checkpoint, History, Holder, MemoryBounds, MemoryHistory, Principal,
    history::{Append, Idempotency, Outcome, Record, Usage},
};
use eventwire_protocol::{Claims, Dialect, Envelope, Epoch, Publication, Time, limits::StreamBounds};

/// The bound under test.
const BOUND: usize = 64 << 20;
/// What the other parts of the history may hold meanwhile.
const LITTLE: usize = 256 << 10;

/// Which bound is filled, and with what.
const FILLINGS: [&str; 8] = [
    "log of the smallest events",
    "log of the largest events",
    "smallest newest values",
    "largest newest values",
    "shortest idempotency keys",
    "longest idempotency keys",
    "smallest checkpoints",
    "largest checkpoints",
];

fn admitted(text: &str) -> Envelope {
    Envelope::admit(Publication::decode(text).unwrap(), Time::from_unix_micros(0)).unwrap()
}

fn bounds(what: &str) -> MemoryBounds {
    let stream = StreamBounds { events: usize::MAX, bytes: usize::MAX, ..StreamBounds::ADW };
    let bound = |of: &str| if what.contains(of) { BOUND } else { LITTLE };
    MemoryBounds {
        adw: stream,
        other: stream,
        realm_bytes: bound("log"),
        latest_bytes: bound("values"),
        latest_keys: usize::MAX,
        idempotency_bytes: bound("keys"),
        checkpoint_bytes: bound("checkpoints"),
    }
}

/// The publication of this number. Each has allocations of its own, as those of real publishers do.
fn record(what: &str, number: usize) -> Record {
    let largest = || "x".repeat((1 << 20) - 200);
    let text = match what {
        "log of the largest events" => format!(r#"{{"type":"_a.b","to":"room:r","data":{{"x":"{}"}}}}"#, largest()),
        "smallest newest values" => format!(
            r#"{{"type":"document.status","to":"user:u{}","data":{{"document_id":"{number}","status":"completed"}}}}"#,
            number % 1_000
        ),
        "largest newest values" => format!(
            r#"{{"type":"document.status","to":"user:u","data":{{"document_id":"{number}","status":"completed","x":"{}"}}}}"#,
            largest()
        ),
        _ => r#"{"type":"_a.b","to":"room:r","data":{}}"#.to_owned(),
    };
    let key = match what {
        "shortest idempotency keys" => Some(format!("{number}")),
        "longest idempotency keys" => Some(format!("{number:0128}")),
        _ => None,
    };
    let principal = Principal::new(format!("key:{}", number % 3), Claims::anonymous());
    let idempotency =
        key.map(|key| Idempotency { principal: principal.name.clone(), key: key.parse().unwrap(), digest: [7; 32] });
    Record { idempotency, holder: Holder::of(&principal, None), ..Record::from(admitted(&text)) }
}

/// The checkpoint of this number, where checkpoints are the filling.
fn checkpoint(what: &str, number: usize) -> Option<Checkpoint> {
    let (place, state) = match what {
        "smallest checkpoints" => (format!("{number}"), "0".to_owned()),
        "largest checkpoints" => (format!("{number:01024}"), "x".repeat(64 << 10)),
        _ => return None,
    };
    Some(Checkpoint { source: format!("s{}", number % 3), place, state: Some(state) })
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// The child: fills one bound, goes on for a while, and prints its resident memory beyond that of an empty history.
#[tokio::test]
#[ignore = "started by limit_11_a_bound_in_bytes_is_a_bound_on_resident_memory, once for each filling"]
async fn child() {
    let what = std::env::var("RESIDENT_FILLING").expect("RESIDENT_FILLING names what to fill");
    let what = FILLINGS.into_iter().find(|of| *of == what).expect("a filling of the list");
    let empty = || MemoryHistory::new(Epoch::from_bits(1), bounds(what));
    let now = Time::from_unix_micros(0);
    let publish = async |history: &MemoryHistory, number: usize| {
        let append = match checkpoint(what, number) {
            Some(checkpoint) => Append { checkpoints: vec![checkpoint], ..Append::default() },
            None => Append { records: vec![record(what, number)], ..Append::default() },
        };
        let outcomes = history.append(now, vec![append]).await.unwrap().remove(0).unwrap();
        if outcomes.is_empty() {
            return;
        }
        // A receiver has read the event: the frames that were made for it are nothing that stays.
        let Outcome::Committed(event) = &outcomes[0] else { panic!("repeated") };
        assert!(event.frame(Dialect::Canonical).is_some());
    };
    // What is made once at the first publication belongs to the baseline.
    publish(&empty(), 0).await;
    let (before, history) = (resident(), empty());
    let filled = || {
        let Usage { log, latest, idempotency, checkpoints } = history.usage();
        [log, latest, idempotency, checkpoints].into_iter().find(|part| part.bound == BOUND as u64).unwrap()
    };
    // Until an eighth of what fits was evicted and its place taken again.
    let mut number = 0;
    while 8 * filled().evicted <= filled().entries {
        publish(&history, number).await;
        number += 1;
    }
    println!("measured {} {} {}", resident() - before, filled().bytes, filled().evicted);
}

/// Baseline subtracted, a full history of 64 MiB takes 48 to 80 MiB, whatever it is full of.
#[test]
fn limit_11_a_bound_in_bytes_is_a_bound_on_resident_memory() {
    if !cfg!(target_os = "linux") {
        eprintln!("NOT RUN: resident memory is read from /proc/self/status, which this system lacks");
        return;
    }
    for what in FILLINGS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child", "--nocapture"])
            .env("RESIDENT_FILLING", what)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{what}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let line = text.lines().find_map(|line| line.split_once("measured ")).expect("the child measured").1;
        let numbers: Vec<usize> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [resident, held, evicted] = numbers[..] else { panic!("{line}") };
        println!("{what}: {} KiB resident, {} KiB counted, {evicted} evicted", resident >> 10, held >> 10);
        assert!(evicted > 0, "{what}: the bound was reached");
        assert!((BOUND * 3 / 4..=BOUND * 5 / 4).contains(&resident), "{what}: {} KiB resident", resident >> 10);
        assert!(held <= BOUND && held > BOUND * 9 / 10, "{what}: {} KiB counted", held >> 10);
    }
}
