//! The frames of a WebSocket as they pass: where messages begin and end, and how much of one has come (RFC 6455, section 5.2).
//!
//! Pure: bytes in, bytes out. What is no valid frame passes as it is; the reader behind refuses it. One thing is changed on
//! the way: a large data frame becomes fragments of [`PIECE`] bytes, so that the buffer in which the reader behind collects
//! one frame, and which it keeps, stays small however large the frame is.

use std::time::Duration;

use eventwire_protocol::limits::{self, TokenBucket};

/// Bytes of a fragment that a large frame is cut into; also the most that is scanned at once. A multiple of 4, so that each
/// fragment is masked with the key of the frame.
pub(crate) const PIECE: usize = 16 * 1024;
/// Bytes of the longest header.
pub(crate) const MAX_HEADER: usize = 14;
/// Payload bytes below which a fragment counts as a control frame does.
const TINY: u64 = 64;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

/// More than a connection may send (WS-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// A message has too many fragments.
    Fragments,
    /// Control frames and tiny fragments come too fast.
    Frames,
    /// A message with the limited beginning is too large.
    Message,
}

/// A lower limit for messages that begin with these two bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) text: [u8; 2],
    pub(crate) most: u64,
}

/// A few bytes that wait: a header that is not complete, or one that has to go out first.
#[derive(Clone, Copy, Debug, Default)]
struct Few {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Few {
    fn of(from: &[u8]) -> Self {
        let mut few = Self { len: from.len().min(MAX_HEADER), ..Self::default() };
        for (to, from) in few.bytes.iter_mut().zip(from) {
            *to = *from;
        }
        few
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A header, as far as anything here depends on it.
struct Header {
    first: u8,
    mask: Option<[u8; 4]>,
    payload: u64,
    size: usize,
}

impl Header {
    /// `None` when it is not complete.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (payload, rest, size) = match second & !MASKED {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), rest, 4)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), rest, 10)
            }
            length => (u64::from(length), rest, 2),
        };
        let mask = (second & MASKED != 0).then(|| rest.first_chunk::<4>().copied());
        let (mask, size) = match mask {
            Some(mask) => (Some(mask?), size + 4),
            None => (None, size),
        };
        Some(Self { first: *first, mask, payload, size })
    }

    fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    fn is_data(&self) -> bool {
        self.first & OPCODE < 8
    }
}

/// A frame that is being cut into fragments.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Whether the frame ends its message.
    ends: bool,
    mask: [u8; 4],
    /// Payload bytes until the end of the present fragment.
    piece: u64,
}

/// What has passed of a message.
#[derive(Clone, Copy, Debug, Default)]
struct Message {
    bytes: u64,
    fragments: u32,
    open: bool,
    /// The first bytes, unmasked.
    opening: [u8; 2],
}

/// Follows the frames of one peer.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Longer frames are not cut: the reader behind refuses them by their header.
    max_message: u64,
    max_fragments: u32,
    opening: Option<Opening>,
    bucket: TokenBucket,
    /// Those that were counted since this was last asked, and frames of every kind.
    small: u32,
    read: u32,
    /// The beginning of a header, held back until the rest has come.
    header: Few,
    /// Bytes that go out before anything else.
    out: Few,
    /// Payload bytes of the present frame that have not come.
    left: u64,
    /// Payload bytes of it that have come, and its mask.
    passed: u64,
    mask: [u8; 4],
    /// What the present frame does to the message, when it ends.
    data: bool,
    ends: bool,
    cut: Option<Cut>,
    message: Message,
    /// How many messages have begun.
    begun: u64,
}

impl Frames {
    pub(crate) fn new(max_message: u64, now: Duration) -> Self {
        Self {
            max_message,
            max_fragments: limits::MAX_FRAGMENTS,
            opening: None,
            bucket: TokenBucket::new(limits::FRAMES_PER_SECOND, limits::FRAME_BURST, now),
            small: 0,
            read: 0,
            header: Few::default(),
            out: Few::default(),
            left: 0,
            passed: 0,
            mask: [0; 4],
            data: false,
            ends: false,
            cut: None,
            message: Message::default(),
            begun: 0,
        }
    }

    /// Limits messages by their beginning.
    pub(crate) fn limit(&mut self, opening: Opening) {
        self.opening = Some(opening);
    }

    /// Payload bytes of the message that has begun and not ended; `None` between messages.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        self.message.open.then_some(self.message.bytes)
    }

    /// How many messages have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Moves what has to go out first into a buffer. Says how many bytes that were.
    /// Frames since this was last asked.
    pub(crate) fn take_read(&mut self) -> u32 {
        std::mem::take(&mut self.read)
    }

    /// Control frames and tiny fragments since this was last asked.
    pub(crate) fn take_small(&mut self) -> u32 {
        std::mem::take(&mut self.small)
    }

    pub(crate) fn take_out(&mut self, buffer: &mut [u8]) -> usize {
        let pending = self.out;
        let (now, later) = pending.as_slice().split_at(pending.len.min(buffer.len()));
        for (to, from) in buffer.iter_mut().zip(now) {
            *to = *from;
        }
        self.out = Few::of(later);
        now.len()
    }

    /// The beginning of a header, which belongs before the bytes that are read next.
    pub(crate) fn held_back(&self) -> &[u8] {
        self.header.as_slice()
    }

    /// The most that may be read next.
    pub(crate) fn most(&self) -> usize {
        match self.cut {
            Some(cut) => usize::try_from(cut.piece).unwrap_or(PIECE).min(PIECE),
            None => PIECE - MAX_HEADER,
        }
    }

    /// Follows a chunk: what was [held back](Self::held_back) and at most [`most`](Self::most) bytes behind it. Says how many
    /// of its bytes, as changed, go on.
    pub(crate) fn follow(&mut self, chunk: &mut [u8], now: Duration) -> Result<usize, Flood> {
        self.header = Few::default();
        let (mut from, mut to) = (0, 0);
        loop {
            let rest = chunk.get(from..).unwrap_or_default();
            if self.left > 0 {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.look(rest.get(..taken).unwrap_or_default())?;
                chunk.copy_within(from..from + taken, to);
                (from, to) = (from + taken, to + taken);
                self.pass(taken);
                if self.left > 0 {
                    return Ok(to);
                }
                continue;
            }
            let Some(header) = Header::parse(rest) else {
                self.header = Few::of(rest);
                return Ok(to);
            };
            self.begin(&header, now)?;
            let changed = self.changed(&header);
            let written = changed.as_ref().map_or(header.size, |changed| changed.len);
            chunk.copy_within(from..from + header.size, to);
            if let Some((target, changed)) = chunk.get_mut(to..).zip(changed) {
                for (to, from) in target.iter_mut().zip(changed.as_slice()) {
                    *to = *from;
                }
            }
            (from, to) = (from + header.size, to + written);
            if header.payload == 0 {
                self.end();
            }
        }
    }

    /// Begins a frame.
    fn begin(&mut self, header: &Header, now: Duration) -> Result<(), Flood> {
        (self.left, self.data, self.ends) = (header.payload, header.is_data(), header.is_final());
        (self.passed, self.mask) = (0, header.mask.unwrap_or_default());
        if !header.is_data() || (!header.is_final() && header.payload < TINY) {
            self.bucket.take(now).map_err(|_| Flood::Frames)?;
            self.small += 1;
        }
        self.read += 1;
        if header.is_data() {
            if !self.message.open {
                self.message = Message { open: true, ..Message::default() };
                self.begun += 1;
            }
            self.message.fragments += 1;
            if self.message.fragments > self.max_fragments {
                return Err(Flood::Fragments);
            }
        }
        Ok(())
    }

    /// The header that goes on instead, where the frame is cut.
    fn changed(&mut self, header: &Header) -> Option<Few> {
        let large = header.payload > PIECE as u64 && header.payload <= self.max_message;
        let mask = header.mask.filter(|_| large && header.is_data() && header.first & RESERVED == 0)?;
        self.cut = Some(Cut { ends: header.is_final(), mask, piece: PIECE as u64 });
        Some(piece_header(header.first & OPCODE, mask, PIECE as u64))
    }

    /// Looks at the beginning of a message, before it is counted.
    fn look(&mut self, payload: &[u8]) -> Result<(), Flood> {
        let Some(Opening { text, most }) = self.opening.filter(|_| self.data) else { return Ok(()) };
        let masks = self.mask.iter().cycle().skip(usize::try_from(self.passed % 4).unwrap_or(0));
        let at = usize::try_from(self.message.bytes).unwrap_or(usize::MAX);
        let opening = self.message.opening.iter_mut().skip(at);
        for ((to, byte), mask) in opening.zip(payload).zip(masks) {
            *to = byte ^ mask;
        }
        let bytes = self.message.bytes.saturating_add(payload.len() as u64);
        if bytes > most && self.message.opening == text { Err(Flood::Message) } else { Ok(()) }
    }

    /// Counts payload that has passed.
    fn pass(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.left -= bytes;
        self.passed += bytes;
        if self.data {
            self.message.bytes += bytes;
        }
        if let Some(cut) = &mut self.cut {
            cut.piece -= bytes;
            if cut.piece == 0 && self.left > 0 {
                cut.piece = self.left.min(PIECE as u64);
                let last = cut.piece == self.left && cut.ends;
                self.out = piece_header(if last { FIN } else { 0 }, cut.mask, cut.piece);
            }
        }
        if self.left == 0 {
            self.end();
        }
    }

    /// Ends a frame.
    fn end(&mut self) {
        self.cut = None;
        if self.data && self.ends {
            self.message = Message::default();
        }
    }
}

/// The header of a masked frame of at most [`PIECE`] bytes.
fn piece_header(first: u8, mask: [u8; 4], payload: u64) -> Few {
    let [.., high, low] = payload.to_be_bytes();
    let [a, b, c, d] = mask;
    // A length that would fit into the second byte may not be written in two more (RFC 6455, section 5.2).
    if payload < 126 {
        Few::of(&[first, MASKED | low, a, b, c, d])
    } else {
        Few::of(&[first, MASKED | 126, high, low, a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u64 = 1 << 20;
    const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(MASKED | len as u8),
            len @ 126..65_536 => {
                frame.push(MASKED | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(MASKED | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Feeds bytes as a socket would, so many at most at a time, and collects what goes on.
    fn run(frames: &mut Frames, bytes: &[u8], mut sizes: impl Iterator<Item = usize>) -> Result<Vec<u8>, Flood> {
        let (mut rest, mut out) = (bytes, Vec::new());
        loop {
            let mut few = [0; 3];
            loop {
                let taken = frames.take_out(&mut few);
                if taken == 0 {
                    break;
                }
                out.extend_from_slice(&few[..taken]);
            }
            if rest.is_empty() {
                return Ok(out);
            }
            let take = sizes.next().unwrap_or(1).clamp(1, frames.most()).min(rest.len());
            let mut chunk = [frames.held_back(), &rest[..take]].concat();
            rest = &rest[take..];
            let go_on = frames.follow(&mut chunk, Duration::ZERO)?;
            out.extend_from_slice(&chunk[..go_on]);
        }
    }

    /// The messages and control frames in some bytes: opcode and payload. A reader of its own, which knows nothing of pieces.
    fn read(mut bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
        let (mut read, mut open, mut largest) = (Vec::new(), None::<(u8, Vec<u8>)>, 0);
        while !bytes.is_empty() {
            let (first, second) = (bytes[0], bytes[1] & 0x7f);
            let (len, at) = match second {
                126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
                127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
                len => (usize::from(len), 2),
            };
            let mask: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
            let masked = &bytes[at + 4..at + 4 + len];
            let payload: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            bytes = &bytes[at + 4 + len..];
            largest = largest.max(len);
            match first & OPCODE {
                opcode @ 8.. => read.push((opcode, payload)),
                0 => open.as_mut().expect("a message is open").1.extend(payload),
                opcode => {
                    assert!(open.is_none(), "a message within a message");
                    open = Some((opcode, payload));
                }
            }
            if first & OPCODE < 8 && first & FIN != 0 {
                read.extend(open.take());
            }
        }
        (read, largest)
    }

    #[test]
    fn ws_12_a_large_frame_goes_on_in_pieces_and_a_small_one_as_it_is() {
        let small = frame(0x81, &[b'x'; 1_000]);
        assert_eq!(run(&mut Frames::new(MAX, Duration::ZERO), &small, std::iter::repeat(PIECE)).unwrap(), small);
        let large = frame(0x81, &vec![b'x'; 100_000]);
        let out = run(&mut Frames::new(MAX, Duration::ZERO), &large, std::iter::repeat(4096)).unwrap();
        let (messages, largest) = read(&out);
        assert_eq!((messages, largest), (vec![(1, vec![b'x'; 100_000])], PIECE));
        // Over the limit it is refused by its header, which must stay what it is.
        let over = frame(0x81, &vec![b'x'; 100_000]);
        assert_eq!(run(&mut Frames::new(99_999, Duration::ZERO), &over, std::iter::repeat(4096)).unwrap(), over);
    }

    #[test]
    fn limit_09_what_is_unfinished_is_known_and_pings_count_for_nothing() {
        let mut frames = Frames::new(MAX, Duration::ZERO);
        assert_eq!(frames.unfinished(), None);
        let mut bytes = frame(0x01, &[b'x'; 500]);
        bytes.extend(frame(0x89, b"still here"));
        bytes.extend(&frame(0x80, &[b'y'; 300])[..8 + 100]);
        run(&mut frames, &bytes, std::iter::repeat(7)).unwrap();
        assert_eq!((frames.unfinished(), frames.begun()), (Some(600), 1));
        run(&mut frames, &[0; 200], std::iter::repeat(7)).unwrap();
        assert_eq!((frames.unfinished(), frames.begun()), (None, 1));
    }

    #[test]
    fn ws_12_fragments_and_control_frames_are_counted() {
        let mut frames = Frames::new(MAX, Duration::ZERO);
        let pongs = frame(0x8a, b"").repeat(limits::FRAME_BURST as usize);
        run(&mut frames, &pongs, std::iter::repeat(PIECE)).unwrap();
        assert_eq!(run(&mut frames, &frame(0x8a, b""), std::iter::repeat(PIECE)), Err(Flood::Frames));
        let mut frames = Frames::new(MAX, Duration::ZERO);
        let empty = frame(0x01, b"").into_iter().chain(frame(0x00, b"").repeat(limits::FRAME_BURST as usize));
        let empty: Vec<u8> = empty.collect();
        assert_eq!(run(&mut frames, &empty, std::iter::repeat(PIECE)), Err(Flood::Frames));
        // Small whole messages are commands, and counted as such.
        let mut frames = Frames::new(MAX, Duration::ZERO);
        run(&mut frames, &frame(0x81, b"{}").repeat(20_000), std::iter::repeat(PIECE)).unwrap();
        let fragments = [frame(0x01, &[b'x'; 64]), frame(0x00, &[b'x'; 64]).repeat(20_000)].concat();
        assert_eq!(run(&mut frames, &fragments, std::iter::repeat(PIECE)), Err(Flood::Fragments));
    }

    #[test]
    fn sio_22_a_message_is_limited_by_its_beginning_in_any_pieces() {
        let opening = Opening { text: *b"40", most: 100 };
        for (text, size, expected) in [(b"40", 100, Ok(())), (b"40", 101, Err(Flood::Message)), (b"42", 5_000, Ok(()))]
        {
            let payload = [&text[..], &vec![b'x'; size - 2]].concat();
            let whole = frame(0x81, &payload);
            let parts = [frame(0x01, &payload[..1]), frame(0x00, &payload[1..7]), frame(0x80, &payload[7..])].concat();
            for bytes in [whole, parts] {
                let mut frames = Frames::new(MAX, Duration::ZERO);
                frames.limit(opening);
                assert_eq!(run(&mut frames, &bytes, std::iter::repeat(3)).map(|_| ()), expected, "{size}");
            }
        }
    }

    proptest! {
        #[test]
        fn ws_12_messages_pass_unchanged_however_they_are_cut_and_read(
            parts in prop::collection::vec(
                prop_oneof![
                    (0..40_000usize, 1..4usize).prop_map(|(size, fragments)| (2u8, size, fragments)),
                    (65_000..80_000usize, 1..3usize).prop_map(|(size, fragments)| (1u8, size, fragments)),
                    (0..126usize).prop_map(|size| (9u8, size, 1)),
                ],
                0..6,
            ),
            sizes in prop::collection::vec(prop_oneof![1..20usize, 1_000..20_000usize], 1..60),
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (opcode, size, fragments) in parts {
                let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
                let each = size.div_ceil(fragments).max(1);
                let pieces: Vec<&[u8]> = if size == 0 { vec![&[]] } else { payload.chunks(each).collect() };
                for (at, piece) in pieces.iter().enumerate() {
                    let fin = if at + 1 == pieces.len() { FIN } else { 0 };
                    bytes.extend(frame(fin | if at == 0 { opcode } else { 0 }, piece));
                }
                expected.push((opcode, payload));
            }
            let mut frames = Frames::new(MAX, Duration::ZERO);
            let out = run(&mut frames, &bytes, sizes.into_iter().cycle()).unwrap();
            let (messages, largest) = read(&out);
            prop_assert_eq!(messages, expected);
            prop_assert!(largest <= PIECE);
            prop_assert_eq!(frames.unfinished(), None);
        }

        #[test]
        fn ws_12_no_bytes_make_the_follower_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut frames = Frames::new(MAX, Duration::ZERO);
            if let Ok(out) = run(&mut frames, &bytes, std::iter::repeat(5)) {
                // A header that is cut is not longer than before.
                prop_assert!(out.len() + frames.held_back().len() <= bytes.len());
            }
        }
    }
}
