//! Frames as the lines of an event stream (WHATWG HTML, section 9.2.5).

use std::{fmt::Write as _, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use eventwire_hub::OutFrame;
use eventwire_protocol::{
    Committed, ConnectionId, Dialect, Envelope, event::connection::Closing, id::MAX_SEQ, resume::Cursor, time::Time,
};

/// Most bytes in one piece. A socket that takes one piece in ten seconds is slow and not stalled.
pub(crate) const PIECE: usize = 16 * 1024;
/// Frames of so many bytes are not copied.
const SHARED: usize = 4 * 1024;

/// A comment, which clients skip; it shows both sides that the other is there. No empty line ends it: some clients dispatch
/// an event without data for a block without data (SSE-09).
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n");

/// That comment, after lines that wait for the first event.
pub(crate) fn keep_alive(first: &[u8]) -> Bytes {
    if first.is_empty() { KEEP_ALIVE } else { [first, KEEP_ALIVE.as_ref()].concat().into() }
}

/// The first lines of the first block: when to return, and where the client stands before its first event.
pub(crate) fn preamble(retry: Duration, start: &Cursor) -> Bytes {
    format!("retry: {}\nid: {start}\n", retry.as_millis()).into()
}

/// When to return, as a line of the block that follows.
pub(crate) fn retry(after: Duration) -> Bytes {
    format!("retry: {}\n", after.as_millis()).into()
}

/// What the last event of a stream says; `after` is when to return, if ever.
pub(crate) fn closing(reason: impl Into<String>, code: Option<u16>, after: Option<Duration>) -> Closing {
    let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX).min(MAX_SEQ);
    Closing { reason: reason.into(), code, reconnect_after_ms: after.map(millis) }
}

/// The frame of an event that this crate itself tells a connection; none when it cannot be written.
pub(crate) fn frame(id: ConnectionId, closing: &Closing, now: Time) -> Option<OutFrame> {
    let event = Committed::new(Envelope::to_connection(id, closing, now).ok()?, None);
    let bytes = event.frame(Dialect::Canonical)?.clone();
    Some(OutFrame { bytes, cursor: None })
}

/// Lines beside the events: they belong to the block of the first or of the last one.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) first: Bytes,
    pub(crate) last: Bytes,
}

/// Frames as pieces to write: small ones copied together, large ones shared with every other receiver. Without a frame the
/// lines beside wait for the next block.
pub(crate) fn events(frames: &[OutFrame], beside: Beside) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut open = BytesMut::from(beside.first);
    for (place, OutFrame { bytes, cursor }) in (1..).zip(frames) {
        if place == frames.len() {
            open.put_slice(&beside.last);
        }
        if let Some(cursor) = cursor {
            let _ = writeln!(open, "id: {cursor}");
        }
        open.put_slice(b"data: ");
        let line = one_line(bytes);
        if line.len() < SHARED {
            open.put_slice(&line);
        } else {
            cut(&mut pieces, open.split().freeze());
            cut(&mut pieces, line);
        }
        open.put_slice(b"\n\n");
        if open.len() >= PIECE {
            cut(&mut pieces, open.split().freeze());
        }
    }
    cut(&mut pieces, open.freeze());
    pieces
}

/// A frame on one line. JSON has line breaks between tokens only, where a space means the same: nobody can begin a line
/// of their own in somebody else's stream (SSE-04).
fn one_line(frame: &Bytes) -> Bytes {
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !frame.iter().any(breaks) {
        return frame.clone();
    }
    frame.iter().map(|byte| if breaks(byte) { b' ' } else { *byte }).collect()
}

fn cut(pieces: &mut Vec<Bytes>, mut bytes: Bytes) {
    while bytes.len() > PIECE {
        pieces.push(bytes.split_to(PIECE));
    }
    if !bytes.is_empty() {
        pieces.push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(text: impl Into<Bytes>, cursor: Option<&str>) -> OutFrame {
        OutFrame { bytes: text.into(), cursor: cursor.map(|text| text.parse().unwrap()) }
    }

    fn text(frames: &[OutFrame]) -> String {
        events(frames, Beside::default()).iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    }

    #[test]
    fn sse_01_an_event_is_one_data_line_and_only_logged_ones_have_an_id() {
        let cursor = "9f3a77c2d1e05b64-4711,global=12";
        let frames = [frame(r#"{"a":1}"#, None), frame(r#"{"a":2}"#, Some(cursor))];
        assert_eq!(text(&frames), format!("data: {{\"a\":1}}\n\nid: {cursor}\ndata: {{\"a\":2}}\n\n"));
    }

    #[test]
    fn sse_04_line_breaks_between_tokens_become_spaces() {
        let hostile = "{\"a\":\n\ndata: 1,\r\n\"b\":\r\"\\n\"}";
        assert_eq!(text(&[frame(hostile, None)]), "data: {\"a\":  data: 1,  \"b\": \"\\n\"}\n\n");
    }

    #[test]
    fn sse_09_nothing_that_is_written_is_a_block_without_data() {
        let start = "9f3a77c2d1e05b64-7".parse().unwrap();
        for lines in [preamble(Duration::from_secs(2), &start), retry(Duration::from_secs(1)), KEEP_ALIVE] {
            assert!(lines.ends_with(b"\n") && !lines.ends_with(b"\n\n") && !lines.starts_with(b"\n"));
        }
    }

    proptest! {
        #[test]
        fn sse_01_pieces_are_small_and_together_they_are_the_stream(
            sizes in prop::collection::vec(prop_oneof![0_usize..200, 3_000_usize..6_000, 10_000_usize..70_000], 0..12),
        ) {
            let frames: Vec<OutFrame> = sizes.iter().map(|size| frame(format!("\"{}\"", "x".repeat(*size)), None)).collect();
            let pieces = events(&frames, Beside::default());
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
            let expected: String = sizes.iter().map(|size| format!("data: \"{}\"\n\n", "x".repeat(*size))).collect();
            prop_assert_eq!(text(&frames), expected);
        }
    }

    #[test]
    fn a_large_frame_is_shared_and_not_copied() {
        let large = Bytes::from(vec![b'x'; 40_000]);
        let pieces = events(&[frame(large.clone(), None)], Beside::default());
        let within = |piece: &Bytes| large.as_ptr_range().contains(&piece.as_ptr());
        assert_eq!(pieces.iter().filter(|piece| within(piece)).count(), 3);
    }
}
