//! What must hold for any transcript: the events do not depend on how its bytes arrive, and reading can go on from any
//! checkpoint as if it had never stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // A test may fail in any way.

mod support;

use eventwire_agents::{
    AgentEvent,
    transcript::{CHUNK_BYTES, MAX_LINE_BYTES, Output, Transcript, TranscriptCheckpoint},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use support::*;

/// Lines of all kinds: from the fixtures, broken ones, long ones, blank ones.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let fixtures: Vec<Vec<u8>> =
        ["parallel", "sessions", "results", "edits", "interrupted", "partial", "subagent", "unicode"]
            .iter()
            .flat_map(|name| {
                fixture(&format!("{name}.jsonl")).split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
            })
            .collect();
    prop_oneof![
        8 => proptest::sample::select(fixtures),
        1 => vec(any::<u8>(), 0..40).prop_map(|bytes| bytes.into_iter().filter(|byte| *byte != b'\n').collect()),
        1 => ("[ -~]|é|🦀", CHUNK_BYTES / 2..3 * CHUNK_BYTES).prop_map(|(text, times)| text.repeat(times).into_bytes()),
        1 => Just(Vec::new()),
    ]
}

/// A file of such lines; its last line may not have ended.
fn file() -> impl Strategy<Value = Vec<u8>> {
    (vec(line(), 0..12), line()).prop_map(|(lines, unfinished)| {
        let mut bytes: Vec<u8> = lines.into_iter().flat_map(|line| [line, vec![b'\n']].concat()).collect();
        bytes.extend(unfinished);
        bytes
    })
}

/// The pieces between sorted cuts.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

fn transcript(at: TranscriptCheckpoint) -> Transcript {
    // Through its serialized form, as after a restart.
    let at = serde_json::from_str(&serde_json::to_string(&at).unwrap()).unwrap();
    Transcript::restore(adw_id(), &role("planner"), at)
}

fn chunks(outputs: &[Output]) -> Vec<u8> {
    let events: Vec<AgentEvent> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Event(event) => Some(event.clone()),
            Output::RoleStarted => None,
        })
        .collect();
    reassembled(&of_kind!(events, AgentOutputChunk))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn events_do_not_depend_on_how_the_bytes_are_cut(bytes in file(), cuts in vec(any::<Index>(), 0..20)) {
        let mut transcript = transcript(TranscriptCheckpoint::default());
        let mut outputs = Vec::new();
        for piece in pieces(&bytes, &cuts) {
            transcript.push(piece, &mut outputs);
        }
        prop_assert_eq!(transcript.position(), bytes.len() as u64);
        prop_assert_eq!(outputs, read(&bytes));
    }

    #[test]
    fn chunks_are_the_file_up_to_its_last_line_feed(bytes in file()) {
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        prop_assert_eq!(chunks(&read(&bytes)), &bytes[..end]);
    }

    #[test]
    fn a_restart_at_any_point_repeats_and_skips_nothing(
        bytes in file(),
        cuts in vec(any::<Index>(), 0..20),
        crashes in vec(any::<Index>(), 0..20),
    ) {
        let mut outputs = Vec::new();
        let mut reading = transcript(TranscriptCheckpoint::default());
        let mut crashes = crashes.into_iter();
        for end in pieces(&bytes, &cuts).iter().scan(0, |end, piece| { *end += piece.len(); Some(*end) }) {
            let before = reading.checkpoint();
            let start = usize::try_from(reading.position()).unwrap();
            let mut fresh = Vec::new();
            reading.push(&bytes[start..end], &mut fresh);
            match crashes.next() {
                // Only some of the outputs got out before the process was gone, and their checkpoint with them.
                Some(crash) if !fresh.is_empty() => {
                    let published = crash.index(fresh.len() + 1);
                    let at = if published == fresh.len() { reading.checkpoint() } else { before.with_published(published) };
                    outputs.extend(fresh.drain(..published));
                    reading = transcript(at);
                }
                // Gone between two reads: what is held is read again.
                Some(_) => reading = transcript(reading.checkpoint()),
                None => outputs.extend(fresh),
            }
        }
        let start = usize::try_from(reading.position()).unwrap();
        reading.push(&bytes[start..], &mut outputs);
        prop_assert_eq!(outputs, read(&bytes));
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_it_may(bytes in vec(any::<u8>(), 0..4000)) {
        let mut transcript = transcript(TranscriptCheckpoint::default());
        transcript.push(&bytes, &mut Vec::new());
        prop_assert!(transcript.held_bytes() <= bytes.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_line_around_the_limit_obeys_the_same_laws(
        extra in -3_i64..80_000,
        cuts in vec(any::<Index>(), 0..6),
        restart in any::<Index>(),
        letter in proptest::sample::select(vec!["a", "é", "€", "🦀"]),
        ends in any::<bool>(),
    ) {
        let length = usize::try_from(MAX_LINE_BYTES as i64 + extra).unwrap();
        let mut bytes = b"before\n".to_vec();
        bytes.extend(letter.repeat(length / letter.len()).bytes());
        bytes.extend("x".repeat(length % letter.len()).bytes());
        if ends {
            bytes.extend(b"\nafter\n");
        }
        let whole = read(&bytes);

        let mut outputs = Vec::new();
        let mut reading = transcript(TranscriptCheckpoint::default());
        for piece in pieces(&bytes, &cuts) {
            reading.push(piece, &mut outputs);
            prop_assert!(reading.held_bytes() <= MAX_LINE_BYTES);
        }
        prop_assert_eq!(&outputs, &whole);

        let at = restart.index(bytes.len() + 1);
        let mut outputs = Vec::new();
        let mut reading = transcript(TranscriptCheckpoint::default());
        reading.push(&bytes[..at], &mut outputs);
        let mut reading = transcript(reading.checkpoint());
        let start = usize::try_from(reading.position()).unwrap();
        reading.push(&bytes[start..], &mut outputs);
        prop_assert_eq!(outputs, whole);
    }
}
