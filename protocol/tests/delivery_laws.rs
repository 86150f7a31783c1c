//! The laws of the mailbox, held against a record of what was put into it.
//!
//! The record knows the log (what was numbered, in which stream, with which text) and reads what the mailbox hands out as
//! a client would: frame by frame, as JSON. It knows nothing of how the mailbox keeps its events.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eventwire_protocol::{
    AudienceKind, ConnectionId, Delivery, Dialect, Envelope, Target,
    catalog::{self, Join},
    delivery::{Mailbox, MailboxBounds, Put, join},
    envelope::Committed,
    limits,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

// ---------------------------------------------------------------------------------------------------------------
// What happens to a mailbox
// ---------------------------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum What {
    /// A part of a text.
    Part(Part),
    /// A part of another kind of text, which says where it begins and not where it ends.
    Fragment(Fragment),
    /// Another logged event of the stream of fragments.
    Divide,
    /// Another logged event of a stream, of so many bytes.
    Block(&'static str, usize),
    /// A logged event of the verbatim layer of an ADW: another stream of the same target.
    Raw(&'static str, usize),
    /// The newest value of a key.
    Latest(&'static str, usize),
    /// The newest value of a key, for everybody.
    SharedLatest(usize),
    /// The newest value of the same key, for the connection alone.
    OwnLatest(usize),
    Volatile(usize),
    /// An answer or a bracket, for the connection alone.
    Answer(usize),
}

#[derive(Clone, Debug)]
struct Part {
    stream: &'static str,
    /// Which text of the stream.
    text: Option<&'static str>,
    piece: String,
    last: bool,
    /// A member of a later version.
    later: Option<u8>,
}

#[derive(Clone, Debug)]
struct Fragment {
    /// Which text of the stream.
    text: Option<&'static str>,
    piece: String,
    number: Option<u8>,
    first: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Put(What),
    /// Events of other receivers are numbered meanwhile.
    Skip(u64),
    /// An event of the stream stays in the log: it was withheld.
    Miss(&'static str),
    Take,
    GiveBack,
    Purge(&'static str),
}

const CONNECTION: &str = "connection:c0000000000000001";
const STREAMS: &[&str] = &["aaaaaaaa", "bbbbbbbb"];
const SESSION: &str = "session:one";

fn what() -> impl Strategy<Value = What> {
    let stream = || select(STREAMS);
    let size = || prop_oneof![6 => 0..60_usize, 1 => 0..4_000_usize];
    let piece = "[a-z\"\\\\\u{e9}\u{1f980}\n]{0,12}";
    let text = || option::of(select(&["one", "two"][..]));
    let fragment = (text(), piece, option::weighted(0.9, 0..9_u8), prop::bool::weighted(0.3))
        .prop_map(|(text, piece, number, first)| What::Fragment(Fragment { text, piece, number, first }));
    let part = (stream(), text(), piece, prop::bool::weighted(0.1), option::weighted(0.1, 0..2_u8))
        .prop_map(|(stream, text, piece, last, later)| What::Part(Part { stream, text, piece, last, later }));
    prop_oneof![
        8 => part,
        6 => fragment,
        1 => Just(What::Divide),
        2 => (stream(), size()).prop_map(|(stream, size)| What::Block(stream, size)),
        2 => (stream(), size()).prop_map(|(stream, size)| What::Raw(stream, size)),
        2 => (stream(), size()).prop_map(|(stream, size)| What::Latest(stream, size)),
        1 => size().prop_map(What::SharedLatest),
        1 => size().prop_map(What::OwnLatest),
        2 => size().prop_map(What::Volatile),
        1 => size().prop_map(What::Answer),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => what().prop_map(Step::Put),
        1 => (1..4_u64).prop_map(Step::Skip),
        1 => select(STREAMS).prop_map(Step::Miss),
        1 => Just(Step::Take),
        1 => Just(Step::GiveBack),
        1 => select(STREAMS).prop_map(Step::Purge),
    ]
}

fn bounds() -> impl Strategy<Value = MailboxBounds> {
    (1..9_usize, 300..3_000_usize).prop_map(|(frames, bytes)| MailboxBounds { frames, bytes })
}

// ---------------------------------------------------------------------------------------------------------------
// The record
// ---------------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// In the mailbox, as far as the record knows.
    Waits,
    /// Handed out.
    Delivered,
    /// Back to the log: turned away, or given back.
    InTheLog,
    /// Not wanted any more.
    Purged,
}

#[derive(Clone, Debug)]
struct Entry {
    /// How many puts came before.
    place: usize,
    kind: String,
    stream: String,
    seq: u64,
    prev: u64,
    data: Value,
    fate: Fate,
}

/// A frame as a client reads it.
#[derive(Debug)]
struct Frame {
    kind: String,
    to: String,
    seq: Option<u64>,
    prev: Option<u64>,
    data: Value,
    bytes: usize,
}

struct Record {
    bounds: MailboxBounds,
    mailbox: Mailbox,
    puts: usize,
    head: u64,
    /// The last number of each stream.
    last: BTreeMap<String, u64>,
    log: Vec<Entry>,
    /// The newest value of each key, and whether it may be in the mailbox.
    newest: BTreeMap<String, (Value, bool)>,
    /// Answers that wait, with how many puts came before each.
    answers: Vec<(usize, Value)>,
    /// Volatile events that may wait.
    volatile: u64,
    dropped: u64,
}

impl Record {
    fn new(bounds: MailboxBounds) -> Self {
        Self {
            bounds,
            mailbox: Mailbox::new(Dialect::Canonical, bounds),
            puts: 0,
            head: 0,
            last: BTreeMap::new(),
            log: Vec::new(),
            newest: BTreeMap::new(),
            answers: Vec::new(),
            volatile: 0,
            dropped: 0,
        }
    }

    /// The event, and its data. Logged ones are numbered.
    fn build(&mut self, what: &What) -> (Committed, Value) {
        let filler = |size: usize| "x".repeat(size);
        let place = self.puts;
        let (kind, to, data) = match what {
            What::Part(part) => {
                let id = part.stream;
                let mut data =
                    json!({"adw_id": id, "content": part.piece, "stream_type": "text", "is_complete": part.last});
                if let Some(text) = part.text {
                    data["orchestrator_agent_id"] = json!(text);
                }
                if let Some(later) = part.later {
                    data["later"] = json!(later);
                }
                ("adw.chat_stream", format!("adw:{id}"), data)
            }
            What::Fragment(fragment) => {
                let mut data = json!({"content": fragment.piece, "is_first": fragment.first});
                if let Some(text) = fragment.text {
                    data["mid"] = json!(text);
                }
                if let Some(number) = fragment.number {
                    data["sequence"] = json!(number);
                }
                ("chat.fragment", SESSION.to_owned(), data)
            }
            What::Divide => ("chat.clear_fragments", SESSION.to_owned(), json!({})),
            What::Block(id, size) => {
                ("adw.text_block", format!("adw:{id}"), json!({"adw_id": id, "content": filler(*size)}))
            }
            What::Raw(id, size) => {
                let data =
                    json!({"adw_id": id, "agent_role": "planner", "content": filler(*size), "is_complete": true});
                ("adw.agent_output_chunk", format!("adw:{id}"), data)
            }
            What::Latest(id, size) => {
                let data = json!({"adw_id": id, "status": place.to_string(), "message": filler(*size)});
                ("adw.agent_summary_update", format!("adw:{id}"), data)
            }
            What::SharedLatest(size) | What::OwnLatest(size) => {
                let to = if matches!(what, What::OwnLatest(_)) { CONNECTION } else { "global" };
                let data = json!({
                    "adw_id": "aaaaaaaa", "workflow_name": "w", "status": place.to_string(), "message": filler(*size),
                });
                ("adw.status_update", to.to_owned(), data)
            }
            What::Volatile(size) => (
                "adw.typing_indicator",
                "global".into(),
                json!({"orchestrator_agent_id": filler(*size), "is_typing": true}),
            ),
            What::Answer(size) => {
                ("connection.reply", CONNECTION.into(), json!({"data": {"place": place, "filler": filler(*size)}}))
            }
        };
        let envelope = match kind {
            "connection.reply" => support::said(kind, ConnectionId::from_u64(1), &data),
            _ => support::publish(kind, &to, &data),
        };
        if !envelope.is_logged() {
            return (Committed::new(envelope, None), data);
        }
        self.head += 1;
        let stream = envelope.audience().to_string();
        let prev = self.last.insert(stream.clone(), self.head).unwrap_or(0);
        let event = support::committed(envelope, self.head, prev);
        let (kind, data_of) = (kind.to_owned(), data.clone());
        self.log.push(Entry { place, kind, stream, seq: self.head, prev, data: data_of, fate: Fate::Waits });
        (event, data)
    }

    fn put(&mut self, what: &What) -> Result<(), TestCaseError> {
        let (event, data) = self.build(what);
        let size = event.frame(Dialect::Canonical).unwrap().len();
        let (frames, bytes) = (self.mailbox.len(), self.mailbox.bytes());
        let room = frames == 0 || (frames < self.bounds.frames && bytes + size <= self.bounds.bytes);
        let own_room = frames == 0 || (frames < 2 * self.bounds.frames && bytes + size <= 2 * self.bounds.bytes);
        let (to, kind) = (event.envelope().audience().to_string(), event.envelope().kind().as_str().to_owned());
        let put = self.mailbox.put(Arc::new(event));
        match what {
            What::Part(_) | What::Fragment(_) | What::Divide | What::Block(..) | What::Raw(..) => match put {
                // It made room for itself.
                Put::Queued if !room => self.lose_volatile(),
                Put::Queued => {}
                Put::Joined => prop_assert!(matches!(what, What::Part(_) | What::Fragment(_))),
                Put::Overflow => {
                    self.log.last_mut().unwrap().fate = Fate::InTheLog;
                    prop_assert!(!room, "it would have fitted");
                    self.lose_volatile();
                    self.check_overflow(size)?;
                }
                other => prop_assert!(false, "{other:?}"),
            },
            What::Latest(..) | What::SharedLatest(_) | What::OwnLatest(_) => {
                let fits = match put {
                    Put::Queued | Put::Replaced => true,
                    Put::Deferred => !matches!(what, What::OwnLatest(_)) && !room,
                    Put::Rejected => !own_room,
                    _ => false,
                };
                prop_assert!(fits || !room, "{put:?}");
                let waits = matches!(put, Put::Queued | Put::Replaced);
                self.newest.insert(format!("{kind} {to}"), (data, waits));
            }
            What::Volatile(_) => {
                prop_assert_eq!(put, if room { Put::Queued } else { Put::Dropped });
                if room {
                    self.volatile += 1;
                } else {
                    self.dropped += 1;
                }
            }
            What::Answer(_) => {
                prop_assert_eq!(put, if own_room { Put::Queued } else { Put::Rejected });
                if own_room {
                    self.answers.push((self.puts, data["data"]["place"].clone()));
                }
            }
        }
        prop_assert_eq!(self.mailbox.dropped(), self.dropped);
        self.puts += 1;
        self.check_bounds(put, matches!(what, What::Answer(_) | What::OwnLatest(_)), frames, bytes)
    }

    fn lose_volatile(&mut self) {
        self.dropped += std::mem::take(&mut self.volatile);
    }

    /// FLOW-01: never over the bounds, but for one larger frame alone and what answers may use.
    fn check_bounds(&self, put: Put, own: bool, frames: usize, bytes: usize) -> Result<(), TestCaseError> {
        let (now_frames, now_bytes) = (self.mailbox.len(), self.mailbox.bytes());
        let times = if own { 2 } else { 1 };
        let frames_held = now_frames <= times * self.bounds.frames || now_frames <= frames;
        let bytes_held = now_bytes <= times * self.bounds.bytes || now_bytes <= bytes;
        prop_assert!(
            (frames_held && bytes_held) || now_frames == 1,
            "{put:?}: {frames} frames of {bytes} bytes became {now_frames} of {now_bytes}, over {:?}",
            self.bounds
        );
        Ok(())
    }

    /// What happens at an overflow: the logged events go back to the log, and what is left shows that there was no room
    /// though every volatile event had been dropped.
    fn check_overflow(&mut self, size: usize) -> Result<(), TestCaseError> {
        let (frames, bytes) = (self.mailbox.len(), self.mailbox.bytes());
        prop_assert!(frames >= self.bounds.frames || bytes + size > self.bounds.bytes);
        self.give_back()?;
        let left = self.mailbox.take();
        for frame in self.read(left) {
            prop_assert!(frame.kind != "adw.typing_indicator", "a volatile event outlived a logged one");
            self.deliver(&frame)?;
        }
        Ok(())
    }

    fn read(&self, events: Vec<Arc<Committed>>) -> Vec<Frame> {
        let read = |event: Arc<Committed>| {
            let bytes = event.frame(Dialect::Canonical).unwrap();
            let frame: Value = serde_json::from_slice(bytes).unwrap();
            Frame {
                kind: frame["type"].as_str().unwrap().to_owned(),
                to: frame["to"].as_str().unwrap().to_owned(),
                seq: frame.get("seq").map(|seq| seq.as_u64().unwrap()),
                prev: frame.get("prev").map(|prev| prev.as_u64().unwrap()),
                data: frame["data"].clone(),
                bytes: bytes.len(),
            }
        };
        events.into_iter().map(read).collect()
    }

    /// The entries of the log that a frame stands for: those of its stream behind `prev`, up to `seq`. They all wait,
    /// their texts put together are its text, and everything else in it is theirs.
    fn stands_for(&mut self, frame: &Frame) -> Result<Vec<usize>, TestCaseError> {
        let (seq, prev) = (frame.seq.unwrap(), frame.prev.unwrap());
        let of: Vec<usize> = (0..self.log.len())
            .filter(|at| self.log[*at].stream == frame.to && self.log[*at].seq > prev && self.log[*at].seq <= seq)
            .collect();
        prop_assert!(!of.is_empty());
        let entries: Vec<&Entry> = of.iter().map(|at| &self.log[*at]).collect();
        prop_assert!(entries.iter().all(|entry| entry.fate == Fate::Waits), "{frame:?} came twice: {entries:?}");
        prop_assert_eq!(entries[0].prev, prev);
        prop_assert_eq!(entries[entries.len() - 1].seq, seq);
        let (first, last) = (entries[0], entries[entries.len() - 1]);
        prop_assert_eq!(&frame.kind, &first.kind);
        if entries.len() == 1 {
            prop_assert_eq!(&frame.data, &first.data);
        } else {
            let text: String = entries.iter().map(|entry| entry.data["content"].as_str().unwrap()).collect();
            // Which members come from the first part and which from the last; all others are the same in every part.
            let (of_first, of_last): (&[&str], &[&str]) = match frame.kind.as_str() {
                "adw.chat_stream" => (&[], &["is_complete"]),
                "chat.fragment" => (&["sequence", "is_first"], &[]),
                other => return Err(TestCaseError::fail(format!("{other} was joined"))),
            };
            for (at, entry) in entries.iter().enumerate() {
                prop_assert_eq!(&entry.kind, &frame.kind);
                let starts = at > 0 && entry.data["is_first"] == true;
                prop_assert!(!starts, "something was joined in front of the start of a text");
                let ended = at + 1 < entries.len() && entry.data["is_complete"] == true;
                prop_assert!(!ended, "something was joined behind the end of a text");
                let mut expected = entry.data.clone();
                expected["content"] = json!(text);
                for (member, from) in
                    of_first.iter().map(|member| (member, first)).chain(of_last.iter().map(|member| (member, last)))
                {
                    if let Some(value) = expected.get_mut(*member) {
                        *value = from.data[*member].clone();
                    }
                }
                prop_assert_eq!(&frame.data, &expected, "parts that differ in more than the text were joined");
            }
        }
        prop_assert!(of.len() == 1 || frame.bytes <= limits::MAX_JOINED_BYTES);
        for at in &of {
            self.log[*at].fate = Fate::Delivered;
        }
        Ok(of)
    }

    fn deliver(&mut self, frame: &Frame) -> Result<Option<usize>, TestCaseError> {
        if frame.seq.is_some() {
            let of = self.stands_for(frame)?;
            return Ok(of.last().map(|at| self.log[*at].place));
        }
        match frame.kind.as_str() {
            "adw.typing_indicator" => {
                prop_assert!(self.volatile > 0);
                self.volatile -= 1;
                Ok(None)
            }
            "connection.reply" => {
                prop_assert!(!self.answers.is_empty());
                let (place, said) = self.answers.remove(0);
                prop_assert_eq!(&frame.data["data"]["place"], &said);
                Ok(Some(place))
            }
            _ => {
                // FLOW-04: the newest value, once.
                let newest = self.newest.get_mut(&format!("{} {}", frame.kind, frame.to)).unwrap();
                prop_assert_eq!(&frame.data, &newest.0);
                prop_assert!(newest.1, "{frame:?}: twice, or though it was turned away");
                newest.1 = false;
                Ok(None)
            }
        }
    }

    fn take(&mut self) -> Result<(), TestCaseError> {
        let bytes = self.mailbox.bytes();
        let events = self.mailbox.take();
        let frames = self.read(events);
        prop_assert_eq!(bytes, frames.iter().map(|frame| frame.bytes).sum::<usize>());
        prop_assert!(self.mailbox.is_empty() && self.mailbox.bytes() == 0);
        let (mut seq, mut place) = (0, None);
        for frame in &frames {
            if let Some(next) = frame.seq {
                prop_assert!(next > seq, "number {next} comes behind {seq}");
                seq = next;
            }
            // Logged events and answers keep the order in which they were put, a joined one by its last part.
            if let Some(next) = self.deliver(frame)? {
                prop_assert!(place < Some(next), "what was put at {next} comes behind {place:?}");
                place = Some(next);
            }
        }
        // Nothing that should wait is missing.
        prop_assert_eq!(self.volatile, 0);
        prop_assert!(self.answers.is_empty());
        prop_assert!(self.log.iter().all(|entry| entry.fate != Fate::Waits), "{:?}", self.log);
        prop_assert!(self.newest.values().all(|(_, waits)| !waits), "{:?}", self.newest);
        Ok(())
    }

    /// FLOW-02: whoever reads the log again behind what is given back misses nothing and gets nothing twice.
    fn give_back(&mut self) -> Result<(), TestCaseError> {
        let events = self.mailbox.give_back();
        let frames = self.read(events);
        prop_assert!(frames.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{frames:?}");
        let mut waited: Vec<&mut Entry> = self.log.iter_mut().filter(|entry| entry.fate == Fate::Waits).collect();
        for frame in &frames {
            let entry = waited.iter().find(|entry| Some(entry.seq) == frame.seq);
            prop_assert!(entry.is_some_and(|entry| entry.data == frame.data), "{frame:?} is in no log, or was given");
        }
        let oldest = |stream: &str, numbers: &mut dyn Iterator<Item = (&str, u64)>| {
            numbers.filter(|(of, _)| *of == stream).map(|(_, seq)| seq).min()
        };
        for stream in self.last.keys() {
            let given = oldest(stream, &mut frames.iter().map(|frame| (&*frame.to, frame.seq.unwrap())));
            let lost = oldest(stream, &mut waited.iter().map(|entry| (&*entry.stream, entry.seq)));
            prop_assert_eq!(given, lost, "{}", stream);
        }
        for entry in &mut waited {
            entry.fate = Fate::InTheLog;
        }
        Ok(())
    }

    fn purge(&mut self, id: &str) {
        let target: Target = format!("adw:{id}").parse().unwrap();
        self.mailbox.purge(|audience| audience.target().as_ref() == Some(&target));
        let of = |stream: &str| stream == format!("adw:{id}") || stream == format!("adw:{id}/raw");
        for entry in self.log.iter_mut().filter(|entry| entry.fate == Fate::Waits && of(&entry.stream)) {
            entry.fate = Fate::Purged;
        }
        if let Some(newest) = self.newest.get_mut(&format!("adw.agent_summary_update adw:{id}")) {
            newest.1 = false;
        }
    }
}

proptest! {
    #![proptest_config(support::config(1))]

    /// Everything at once: bounds, order, joined texts, newest values, what goes back to the log.
    #[test]
    fn flow_01_to_04_a_mailbox_keeps_its_promises(bounds in bounds(), steps in vec(step(), 1..60)) {
        let mut record = Record::new(bounds);
        for step in &steps {
            match step {
                Step::Put(what) => record.put(what)?,
                Step::Skip(by) => record.head += by,
                Step::Miss(id) => {
                    record.build(&What::Block(id, 0));
                    record.log.last_mut().unwrap().fate = Fate::InTheLog;
                }
                Step::Take => record.take()?,
                Step::GiveBack => record.give_back()?,
                Step::Purge(id) => record.purge(id),
            }
        }
        record.take()?;
        // FLOW-02: what was handed out and what the log was left with is everything, and nothing is both.
        prop_assert!(record.log.iter().all(|entry| entry.fate != Fate::Waits));
    }

    #[test]
    fn flow_03_a_text_in_any_pieces_through_any_mailbox_stays_the_same(
        bounds in bounds(),
        pieces in vec(".{0,20}", 1..40),
    ) {
        let text: String = pieces.concat();
        let mut record = Record::new(MailboxBounds { bytes: bounds.bytes.max(1_200), ..bounds });
        let (mut read, mut prev) = (String::new(), 0);
        let mut drain = |record: &mut Record| -> Result<(), TestCaseError> {
            let events = record.mailbox.take();
            for frame in record.read(events) {
                prop_assert_eq!(frame.prev, Some(prev), "the chain has a hole");
                prev = frame.seq.unwrap();
                read.push_str(frame.data["content"].as_str().unwrap());
            }
            Ok(())
        };
        for piece in &pieces {
            let piece = piece.clone();
            let part = Part { stream: "aaaaaaaa", text: None, piece, last: false, later: None };
            let (event, _) = record.build(&What::Part(part));
            let event = Arc::new(event);
            if record.mailbox.put(event.clone()) == Put::Overflow {
                drain(&mut record)?;
                prop_assert_eq!(record.mailbox.put(event), Put::Queued);
            }
        }
        drain(&mut record)?;
        prop_assert_eq!(read, text);
    }
}

fn put(mailbox: &mut Mailbox, envelope: Envelope, seq: u64, prev: u64) -> Put {
    let event =
        if envelope.is_logged() { support::committed(envelope, seq, prev) } else { Committed::new(envelope, None) };
    mailbox.put(Arc::new(event))
}

fn part(id: &str, content: &str) -> Envelope {
    let data = json!({"adw_id": id, "content": content, "stream_type": "text", "is_complete": false});
    support::publish("adw.chat_stream", &format!("adw:{id}"), &data)
}

fn seqs(mailbox: &mut Mailbox) -> Vec<Option<u64>> {
    mailbox.take().iter().map(|event| event.logged().map(|logged| logged.seq.as_u64())).collect()
}

#[test]
fn flow_03_a_part_does_not_overtake_another_stream() {
    // A client that reads its position off the highest number it has seen would skip number 2 for ever.
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 4, bytes: 100_000 });
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", "a"), 1, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, part("bbbbbbbb", "b"), 2, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", "c"), 3, 1), Put::Queued);
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", "d"), 4, 3), Put::Joined);
    assert_eq!(seqs(&mut mailbox), [Some(1), Some(2), Some(4)]);
}

#[test]
fn flow_03_a_part_does_not_overtake_what_is_said_to_the_connection() {
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 4, bytes: 100_000 });
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", "a"), 1, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, support::event("connection.recovered", CONNECTION), 0, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", "b"), 2, 1), Put::Queued);
    assert_eq!(seqs(&mut mailbox), [Some(1), None, Some(2)]);
}

#[test]
fn flow_03_a_part_that_begins_a_text_is_not_joined_to_the_one_before() {
    let fragment = |content: &str, sequence: u64| {
        let data = json!({"content": content, "sequence": sequence, "is_first": sequence == 0});
        support::publish("chat.fragment", SESSION, &data)
    };
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 2, bytes: 100_000 });
    assert_eq!(put(&mut mailbox, fragment("a", 7), 1, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, fragment("b", 0), 2, 1), Put::Queued);
    assert_eq!(put(&mut mailbox, fragment("c", 1), 3, 2), Put::Joined);
    assert_eq!(put(&mut mailbox, fragment("d", 2), 4, 3), Put::Joined);
    let data: Vec<String> = mailbox.take().iter().map(|event| event.envelope().data().to_owned()).collect();
    assert_eq!(
        data,
        [r#"{"content":"a","sequence":7,"is_first":false}"#, r#"{"content":"bcd","sequence":0,"is_first":true}"#]
    );
}

#[test]
fn flow_03_parts_of_every_text_in_the_catalog_join_unless_they_are_of_another_text_or_behind_an_end() {
    let mut seen = 0;
    for (event_type, example) in catalog::examples() {
        let spec = event_type.spec();
        let Delivery::Append { key, joins } = spec.delivery else { continue };
        seen += 1;
        let to = match spec.audiences[0] {
            AudienceKind::Adw => format!("adw:{}", example["adw_id"].as_str().unwrap()),
            kind => format!("{}:a", kind.as_str()),
        };
        let members = |wanted: Join| joins.iter().filter(move |(_, join)| *join == wanted).map(|(name, _)| *name);
        let part = |changes: &[(&str, Value)], seq: u64, prev: u64| {
            let mut data = example.clone();
            // A part from the middle of its text.
            for member in data.as_object_mut().unwrap().values_mut().filter(|value| value.is_boolean()) {
                *member = json!(false);
            }
            for (name, value) in changes {
                data[*name] = value.clone();
            }
            support::committed(support::publish(spec.name, &to, &data), seq, prev)
        };
        let another: String = example[key].as_str().unwrap().chars().rev().collect();
        let joined = join(&part(&[], 1, 0), &part(&[], 2, 1)).unwrap();
        let joined: Value = serde_json::from_str(joined.envelope().data()).unwrap();
        for name in members(Join::Concatenate) {
            let one = example[name].as_str().unwrap();
            assert_eq!(joined[name], [one, one].concat(), "{}", spec.name);
        }
        assert!(join(&part(&[], 1, 0), &part(&[(key, json!(another))], 2, 1)).is_none(), "{}", spec.name);
        for name in members(Join::End) {
            assert!(join(&part(&[(name, json!(true))], 1, 0), &part(&[], 2, 1)).is_none(), "{}", spec.name);
            assert!(join(&part(&[], 1, 0), &part(&[(name, json!(true))], 2, 1)).is_some(), "{}", spec.name);
        }
    }
    assert!(seen > 1);
}

#[test]
fn flow_02_of_joined_parts_the_first_is_given_back() {
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 2, bytes: 100_000 });
    assert_eq!(put(&mut mailbox, support::event("adw.agent_output_chunk", "adw:aaaaaaaa"), 1, 0), Put::Queued);
    for (seq, prev, expected) in [(2, 0, Put::Queued), (3, 2, Put::Joined), (4, 3, Put::Joined)] {
        assert_eq!(put(&mut mailbox, part("aaaaaaaa", "a"), seq, prev), expected);
    }
    let given: Vec<u64> = mailbox.give_back().iter().filter_map(|event| Some(event.logged()?.seq.as_u64())).collect();
    assert_eq!(given, [1, 2]);
    assert_eq!((mailbox.len(), mailbox.bytes()), (0, 0));
}

#[test]
fn flow_04_a_newer_value_that_finds_no_room_does_not_leave_the_older_one_behind() {
    let status = |filler: usize| {
        let data = json!({"adw_id": "aaaaaaaa", "status": "started", "message": "x".repeat(filler)});
        support::publish("adw.agent_summary_update", "adw:aaaaaaaa", &data)
    };
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 4, bytes: 1_000 });
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", &"x".repeat(500)), 1, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, status(10), 0, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, status(400), 0, 0), Put::Deferred);
    assert_eq!(seqs(&mut mailbox), [Some(1)]);
}

#[test]
fn flow_04_a_newer_value_does_not_come_in_front_of_words_that_say_how_it_stood_before() {
    let mut mailbox = Mailbox::new(Dialect::Monadic, MailboxBounds::default());
    let id: ConnectionId = "c0000000000000001".parse().unwrap();
    let parameters = |model: &str| {
        let data = json!({"parameters": {"model": model}}).to_string();
        let text = format!(r#"{{"type":"chat.parameters","to":"session:s","data":{data}}}"#);
        let publication = eventwire_protocol::Publication::decode(&text).unwrap();
        let now = eventwire_protocol::Time::from_unix_micros(0);
        Arc::new(Committed::new(Envelope::admit(publication, now).unwrap(), None))
    };
    let words = |text: &'static str| {
        let now = eventwire_protocol::Time::from_unix_micros(0);
        Arc::new(Committed::in_words(id, Dialect::Monadic, text.into(), now))
    };
    mailbox.put(parameters("a"));
    mailbox.put(words(r#"{"words":"a"}"#));
    assert_eq!(mailbox.put(parameters("b")), Put::Queued);
    assert_eq!(mailbox.put(parameters("c")), Put::Replaced);
    let read: Vec<String> = mailbox
        .take()
        .iter()
        .map(|event| String::from_utf8(event.frame(Dialect::Monadic).unwrap().to_vec()).unwrap())
        .collect();
    assert_eq!(read, [r#"{"words":"a"}"#, r#"{"type":"parameters","content":{"model":"c"}}"#]);
}

#[test]
fn flow_01_a_value_for_the_connection_alone_is_never_postponed_for_nothing_keeps_it() {
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 1, bytes: 100_000 });
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", "a"), 1, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, support::event("adw.status_update", CONNECTION), 0, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, support::event("adw.status_update", CONNECTION), 0, 0), Put::Replaced);
    assert_eq!(put(&mut mailbox, support::event("connection.reply", CONNECTION), 0, 0), Put::Rejected);
}

#[test]
fn flow_01_an_event_larger_than_the_mailbox_passes_through_it_alone() {
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 4, bytes: 400 });
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", &"x".repeat(5_000)), 1, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, part("aaaaaaaa", "y"), 2, 1), Put::Overflow);
    assert_eq!(seqs(&mut mailbox), [Some(1)]);
}

#[test]
fn flow_01_volatile_events_make_room_and_are_counted() {
    let mut mailbox = Mailbox::new(Dialect::Canonical, MailboxBounds { frames: 3, bytes: 100_000 });
    let typing = || support::event("adw.typing_indicator", "global");
    let block = || support::event("adw.text_block", "adw:aaaaaaaa");
    assert_eq!(put(&mut mailbox, block(), 1, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, typing(), 0, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, typing(), 0, 0), Put::Queued);
    assert_eq!(put(&mut mailbox, typing(), 0, 0), Put::Dropped);
    assert_eq!(put(&mut mailbox, block(), 2, 1), Put::Queued);
    assert_eq!(mailbox.dropped(), 3);
    assert_eq!(seqs(&mut mailbox), [Some(1), Some(2)]);
}

#[test]
fn route_05_what_the_dialect_cannot_spell_is_not_queued() {
    let mut mailbox = Mailbox::new(Dialect::Monadic, MailboxBounds::default());
    assert_eq!(put(&mut mailbox, support::event("adw.text_block", "adw:aaaaaaaa"), 1, 0), Put::Unsupported);
    assert!(mailbox.is_empty());
    assert_eq!(BTreeSet::from_iter(seqs(&mut mailbox)), BTreeSet::new());
}
