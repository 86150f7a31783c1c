//! What waits for one socket, as the bytes it will be: messages by reference, control frames between them.
//!
//! The frames of a batch stay the very bytes that every other receiver of the same event holds; only the two to ten bytes
//! of each header are made here. No I/O: the queue says which pieces come next and is told how many bytes were taken.

use std::{io::IoSlice, vec};

use eventwire_hub::OutFrame;

/// Messages that are offered to one write: two pieces each, and the system takes 1,024.
const MESSAGES_PER_WRITE: usize = 500;

/// The header of a text message in one frame, from a server: final, unmasked (RFC 6455, section 5.2).
struct Header {
    bytes: [u8; 10],
    len: usize,
}

impl Header {
    const fn len_for(payload: usize) -> usize {
        match payload {
            0..126 => 2,
            126..65_536 => 4,
            _ => 10,
        }
    }

    fn of(payload: usize) -> Self {
        let [a, b, c, d, e, f, g, h] = (payload as u64).to_be_bytes();
        let bytes = match Self::len_for(payload) {
            2 => [0x81, h, 0, 0, 0, 0, 0, 0, 0, 0],
            4 => [0x81, 126, g, h, 0, 0, 0, 0, 0, 0],
            _ => [0x81, 127, a, b, c, d, e, f, g, h],
        };
        Self { bytes, len: Self::len_for(payload) }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What waits for one socket.
///
/// Control frames go out at the next border between messages (RFC 6455, section 5.4), so that a ping is answered in the
/// middle of a long batch.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Messages that are not completely written.
    batch: vec::IntoIter<OutFrame>,
    /// How many bytes of the first of them are written, its header included.
    written: usize,
    /// Whole control frames.
    control: Vec<u8>,
    /// How many bytes of them are written.
    control_written: usize,
}

impl Queue {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.batch.as_slice().is_empty()
    }

    /// How many bytes of control frames wait.
    pub(crate) fn control_bytes(&self) -> usize {
        self.control.len() - self.control_written
    }

    /// Takes a batch. The one before must have been written.
    pub(crate) fn push_batch(&mut self, frames: Vec<OutFrame>) {
        debug_assert!(self.batch.as_slice().is_empty(), "one batch at a time");
        self.batch = frames.into_iter();
    }

    /// Takes control frames, whole ones.
    pub(crate) fn push_control(&mut self, frames: &[u8]) {
        self.control.extend_from_slice(frames);
    }

    /// Leaves out every message that has not begun, so that a control frame can be the last word.
    pub(crate) fn discard_messages(&mut self) {
        let begun = (self.written > 0).then(|| self.batch.next()).flatten();
        self.batch = begun.into_iter().collect::<Vec<_>>().into_iter();
    }

    /// Hands everything that waits to `write`, in order, as far as one write takes it.
    pub(crate) fn with_pieces<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let messages = self.batch.as_slice();
        let headers: Vec<Header> =
            messages.iter().take(MESSAGES_PER_WRITE).map(|frame| Header::of(frame.bytes.len())).collect();
        let mut messages = headers.iter().zip(messages);
        let mut pieces = Vec::with_capacity(2 * headers.len() + 1);
        let mut skip = self.written;
        let mut push = |piece| pieces.extend(rest(&mut skip, piece));
        if self.written > 0
            && let Some((header, begun)) = messages.next()
        {
            push(header.as_slice());
            push(&begun.bytes);
        }
        push(self.control.get(self.control_written..).unwrap_or_default());
        for (header, frame) in messages {
            push(header.as_slice());
            push(&frame.bytes);
        }
        write(&pieces)
    }

    /// Notes that so many bytes of the pieces were taken.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        loop {
            if self.written == 0 {
                bytes -= self.advance_control(bytes);
            }
            let Some(first) = self.batch.as_slice().first() else { break };
            let rest = Header::len_for(first.bytes.len()) + first.bytes.len() - self.written;
            if bytes < rest {
                self.written += bytes;
                return;
            }
            bytes -= rest;
            self.written = 0;
            self.batch.next();
        }
        // Nothing is left of the batch, so its memory need not be left either.
        self.batch = vec::IntoIter::default();
    }

    /// How many of the bytes were control frames.
    fn advance_control(&mut self, bytes: usize) -> usize {
        let control = bytes.min(self.control_bytes());
        self.control_written += control;
        if self.control_bytes() == 0 {
            self.control = Vec::new();
            self.control_written = 0;
        }
        control
    }
}

/// What is left of a piece when `skip` bytes are gone.
fn rest<'a>(skip: &mut usize, piece: &'a [u8]) -> Option<IoSlice<'a>> {
    let gone = (*skip).min(piece.len());
    *skip -= gone;
    piece.get(gone..).filter(|rest| !rest.is_empty()).map(IoSlice::new)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn frames(sizes: &[usize]) -> Vec<OutFrame> {
        let frame =
            |(at, size): (usize, &usize)| OutFrame { bytes: vec![b'a' + (at % 26) as u8; *size].into(), cursor: None };
        sizes.iter().enumerate().map(frame).collect()
    }

    /// Splits what a server wrote into opcode and payload of each frame; `None` when it is not whole frames.
    fn read(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
        let mut frames = Vec::new();
        while let [first, second, rest @ ..] = bytes {
            let (len, rest) = match second {
                126 => (usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)), rest.get(2..)?),
                127 => (usize::try_from(u64::from_be_bytes(rest.get(..8)?.try_into().ok()?)).ok()?, rest.get(8..)?),
                len => (usize::from(*len), rest),
            };
            frames.push((*first, rest.get(..len)?.to_vec()));
            bytes = rest.get(len..)?;
        }
        bytes.is_empty().then_some(frames)
    }

    /// Takes `take` bytes off the front, as a socket would.
    fn write(queue: &mut Queue, take: usize, out: &mut Vec<u8>) -> usize {
        let taken: Vec<u8> = queue.with_pieces(|pieces| {
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
            pieces.iter().flat_map(|piece| piece.iter().copied()).take(take).collect()
        });
        queue.advance(taken.len());
        out.extend_from_slice(&taken);
        taken.len()
    }

    proptest! {
        #[test]
        fn ws_07_frames_stay_whole_and_in_order_however_little_the_socket_takes(
            sizes in prop::collection::vec(prop_oneof![0..3usize, 120..130usize, 65_530..65_540usize], 1..12),
            steps in prop::collection::vec((1..5_000usize, prop::option::weighted(0.2, 0..126usize)), 1..200),
        ) {
            let batch = frames(&sizes);
            let expected: Vec<Vec<u8>> = batch.iter().map(|frame| frame.bytes.to_vec()).collect();
            let (mut queue, mut out, mut pings) = (Queue::default(), Vec::new(), Vec::new());
            queue.push_batch(batch);
            for (take, ping) in steps {
                if let Some(size) = ping {
                    let payload = vec![b'p'; size];
                    queue.push_control(&[0x8a, size as u8]);
                    queue.push_control(&payload);
                    pings.push(payload);
                }
                write(&mut queue, take, &mut out);
            }
            while write(&mut queue, 100_000, &mut out) > 0 {}
            prop_assert!(queue.is_empty());
            let read = read(&out).expect("whole frames");
            let of = |opcode: u8| read.iter().filter(|frame| frame.0 == opcode).map(|frame| frame.1.clone()).collect::<Vec<_>>();
            prop_assert_eq!(of(0x81), expected);
            prop_assert_eq!(of(0x8a), pings);
        }

        #[test]
        fn ws_07_only_the_message_that_has_begun_stands_before_a_last_word(take in 0..600usize) {
            let (mut queue, mut out) = (Queue::default(), Vec::new());
            queue.push_batch(frames(&[100, 200, 300]));
            write(&mut queue, take, &mut out);
            queue.discard_messages();
            queue.push_control(&[0x88, 0]);
            while write(&mut queue, 7, &mut out) > 0 {}
            let read = read(&out).expect("whole frames");
            let last = read.last().map(|frame| frame.0);
            prop_assert_eq!(last, Some(0x88));
            // 100, 200 and 300 bytes have headers of 2, 4 and 4.
            let begun = [1, 103, 307].iter().filter(|begins| take >= **begins).count();
            prop_assert_eq!(read.len() - 1, begun);
        }
    }

    #[test]
    fn ws_07_the_pieces_are_the_shared_bytes_themselves() {
        let shared = Bytes::from(vec![b'x'; 300]);
        let mut queue = Queue::default();
        queue.push_batch(vec![OutFrame { bytes: shared.clone(), cursor: None }]);
        let same = queue.with_pieces(|pieces| pieces.iter().any(|piece| piece.as_ptr() == shared.as_ptr()));
        assert!(same);
    }
}
