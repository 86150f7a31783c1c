//! Frames on the wire (section 2 of the specification): strict reading, two-stage decoding, one encoding for all.
//!
//! Reading is strict where JSON is lax: bytes must be UTF-8, no object may have a key twice, and nesting is bounded
//! (ENV-06 to ENV-08), because two readers that disagree about a frame are a way around every rule behind them.
//! Decoding has two stages: the type is read first; a known type with a wrong body is an error, an unknown type is kept
//! as it came and can be written again byte for byte (ENV-09).

use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt, sync::Arc};

use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    address::{Audience, Modifiers},
    catalog::{Event, EventType},
    error::{ErrorBody, ErrorCode},
    id::{EventId, Position, Seq},
    limits,
    time::Time,
};

/// Reads bytes as one JSON document and nothing looser.
///
/// # Errors
/// `too_large`, `invalid_utf8`, `too_deep`, `duplicate_key` or `malformed_frame`.
pub fn read_strict(bytes: &[u8], max_bytes: usize) -> Result<&str, ErrorBody> {
    if bytes.len() > max_bytes {
        return Err(ErrorBody::new(
            ErrorCode::TooLarge,
            format!("{} bytes are more than the limit of {max_bytes}", bytes.len()),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        ErrorBody::new(ErrorCode::InvalidUtf8, format!("byte {} is not UTF-8", error.valid_up_to()))
    })?;
    let reason = Cell::new(ErrorCode::MalformedFrame);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // Our own depth limit is far below the recursion limit of serde_json, so that one never speaks first.
    Strict { reason: &reason, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| ErrorBody::new(reason.get(), format!("not readable as JSON: {error}")))?;
    Ok(text)
}

/// Reads bytes from outside as one JSON document: [`read_strict`] after a byte order mark is skipped and each half of a surrogate
/// pair that an escape in a string value spells is replaced by U+FFFD (ENV-06).
///
/// Programs that cut a text in the middle of a pair write such halves, and a document with one cannot be read.
///
/// # Errors
/// As [`read_strict`]; `malformed_frame` for a half in a key, which names something and so cannot be replaced.
pub fn read_document(bytes: &[u8], max_bytes: usize) -> Result<Cow<'_, str>, ErrorBody> {
    if bytes.len() > max_bytes {
        // The limit counts what came, and speaks first.
        read_strict(bytes, max_bytes)?;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return read_strict(bytes, max_bytes).map(Cow::Borrowed) };
    let text = replace_lone_surrogates(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    // A replacement has as many bytes as what it replaces.
    read_strict(text.as_bytes(), max_bytes)?;
    Ok(text)
}

/// Replaces each escape of half a surrogate pair in a string value by `\ufffd`. The text need not be JSON; what is none stays
/// as it is.
///
/// # Errors
/// `malformed_frame` for a half in a key.
pub fn replace_lone_surrogates(text: &str) -> Result<Cow<'_, str>, ErrorBody> {
    let bytes = text.as_bytes();
    // Escapes are rare, and those of surrogates rarer.
    let spelled = |window: &[u8]| matches!(window, [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F']);
    if !bytes.windows(4).any(spelled) {
        return Ok(Cow::Borrowed(text));
    }
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(begin) = bytes.iter().skip(at).position(|byte| *byte == b'"').map(|offset| at + offset) {
        let before = places.len();
        let end = lone_surrogates_in_string(bytes, begin + 1, &mut places);
        at = end;
        let next = bytes.iter().skip(end).find(|byte| !byte.is_ascii_whitespace());
        if next == Some(&b':') && places.len() > before {
            let key: String = text.get(begin..end).unwrap_or_default().chars().take(64).collect();
            let message = format!("the key {key} has half of a surrogate pair; a key is text of whole characters");
            return Err(ErrorBody::new(ErrorCode::MalformedFrame, message));
        }
    }
    if places.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut replaced = String::with_capacity(text.len());
    let mut copied = 0;
    for place in places {
        replaced.push_str(text.get(copied..place).unwrap_or_default());
        replaced.push_str("\\ufffd");
        copied = place + ESCAPE_BYTES;
    }
    replaced.push_str(text.get(copied..).unwrap_or_default());
    Ok(Cow::Owned(replaced))
}

/// `\ud83d`.
const ESCAPE_BYTES: usize = 6;

/// Goes through a string from `at`, after its first quote; adds where a half begins; gives the place after its last quote.
fn lone_surrogates_in_string(bytes: &[u8], mut at: usize, places: &mut Vec<usize>) -> usize {
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => match (surrogate_at(bytes, at), surrogate_at(bytes, at + ESCAPE_BYTES)) {
                (Some(Half::High), Some(Half::Low)) => at += 2 * ESCAPE_BYTES,
                (Some(_), _) => {
                    places.push(at);
                    at += ESCAPE_BYTES;
                }
                (None, _) => at += 2,
            },
            Some(_) => at += 1,
        }
    }
}

/// Which half of a pair an escape spells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// The half of a pair that an escape at this place spells, if it does.
fn surrogate_at(bytes: &[u8], at: usize) -> Option<Half> {
    let [b'\\', b'u', digits @ ..] = bytes.get(at..at + ESCAPE_BYTES)? else { return None };
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()))?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

/// Visits a whole document and keeps nothing of it but the keys of the objects it is inside of.
#[derive(Clone, Copy)]
struct Strict<'a> {
    reason: &'a Cell<ErrorCode>,
    depth: usize,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == limits::MAX_DEPTH {
            self.reason.set(ErrorCode::TooDeep);
            return Err(E::custom(format_args!("nested deeper than {} levels", limits::MAX_DEPTH)));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(Key(key)) = members.next_key::<Key<'de>>()? {
            if let Some(key) = keys.replace(key) {
                self.reason.set(ErrorCode::DuplicateKey);
                let shown: String = key.chars().take(64).collect();
                return Err(serde::de::Error::custom(format_args!("key {shown:?} stands twice in one object")));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The type of an event: from the catalog, or vendor space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// In the catalog.
    Known(EventType),
    /// `_<family>.<name>`: carried, never read (EVT-05). Durable, to any audience.
    Vendor(Arc<str>),
}

impl EventKind {
    /// Reads a type.
    ///
    /// # Errors
    /// `unknown_type` for what is neither in the catalog nor in vendor space.
    pub fn parse(name: &str) -> Result<Self, ErrorBody> {
        if let Some(known) = EventType::from_name(name) {
            return Ok(Self::Known(known));
        }
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match name.strip_prefix('_').and_then(|rest| rest.split_once('.')) {
            Some((family, event)) if name.len() <= 128 && word(family) && word(event) => Ok(Self::Vendor(name.into())),
            _ => Err(ErrorBody::new(ErrorCode::UnknownType, unknown_type(name))),
        }
    }

    /// The type as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(event_type) => event_type.spec().name,
            Self::Vendor(name) => name,
        }
    }

    /// How events of this type are kept and delivered.
    pub fn delivery(&self) -> crate::catalog::Delivery {
        match self {
            Self::Known(event_type) => event_type.spec().delivery,
            Self::Vendor(_) => crate::catalog::Delivery::Durable,
        }
    }
}

/// Longest type that is compared with the catalog.
const MAX_COMPARED_BYTES: usize = 128;

/// What is wrong with a type, and what to write instead.
fn unknown_type(name: &str) -> String {
    const LIST: &str = "/v1/schemas/index.json lists the types";
    let shown: String = name.chars().take(64).collect();
    if name.starts_with('_') {
        return format!(
            "{shown:?} is no type: one of your own is _family.name, each part of a-z, 0-9 and _, 128 characters at most in all"
        );
    }
    let score = |known: &&EventType| strsim::jaro_winkler(name, known.spec().name);
    let compared = if name.len() <= MAX_COMPARED_BYTES { EventType::ALL } else { &[] };
    let nearest = compared.iter().max_by(|a, b| score(a).total_cmp(&score(b))).filter(|nearest| score(nearest) > 0.8);
    match nearest {
        Some(nearest) => format!("no event type {shown:?}; did you mean {}? {LIST}", nearest.spec().name),
        None => format!("no event type {shown:?}; {LIST}, and your own begin with _ (_family.name)"),
    }
}

/// An event as a publisher hands it in, before admission.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its type.
    pub kind: EventKind,
    /// Whom it is for. There is no default.
    pub to: Audience,
    /// Its payload, as it came.
    pub data: Box<RawValue>,
    /// When it happened, if the publisher says so.
    pub time: Option<Time>,
    /// The publisher's idempotency key.
    pub id: Option<EventId>,
    /// The publisher's belief about the last event of the stream (LOG-08).
    pub expected_prev: Option<Position>,
    /// Exceptions, for unlogged events.
    pub modifiers: Modifiers,
}

/// What a publisher may write, member by member, so that each can be refused by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicationFrame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    time: Option<Time>,
    id: Option<EventId>,
    expected_prev: Option<Position>,
}

impl Publication {
    /// Reads one publication. The text must have passed [`read_document`].
    ///
    /// # Errors
    /// `malformed_frame`, `unknown_type`, `missing_target`, `invalid_id` or `invalid_payload`.
    pub fn decode(text: &str) -> Result<Self, ErrorBody> {
        let malformed = |message: String| ErrorBody::new(ErrorCode::MalformedFrame, message);
        let frame: PublicationFrame<'_> =
            serde_json::from_str(text).map_err(|error| malformed(format!("not an event to publish: {error}")))?;
        let kind = frame.kind.ok_or_else(|| malformed("an event needs a \"type\"".into()))?;
        let kind = EventKind::parse(&kind)?;
        let to = frame.to.ok_or_else(|| {
            ErrorBody::new(
                ErrorCode::MissingTarget,
                "an event needs \"to\": the audience it is for, for instance adw:29fb6a3e; there is no default",
            )
        })?;
        let to = to.parse().map_err(|error| ErrorBody::new(ErrorCode::InvalidId, format!("to: {error}")))?;
        let data = frame.data.ok_or_else(|| {
            ErrorBody::new(ErrorCode::InvalidPayload, "an event needs \"data\", an object (it may be empty)")
        })?;
        Ok(Self {
            kind,
            to,
            data: data.to_owned(),
            time: frame.time,
            id: frame.id,
            expected_prev: frame.expected_prev,
            modifiers: Modifiers::default(),
        })
    }
}

/// Number of a logged event and of the one before it in its stream (LOG-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its own number.
    pub seq: Seq,
    /// The number of the event before it in the same stream, 0 for the first.
    pub prev: Position,
}

/// Writes an event frame. The payload is text that was encoded once; the rest is put around it.
pub fn encode(kind: &str, time: Time, to: &Audience, logged: Option<Logged>, data: &str) -> Bytes {
    use std::fmt::Write as _;
    let mut frame = String::with_capacity(data.len() + 160);
    // No identifier, type or time holds a character that JSON escapes. Writing to a String cannot fail.
    let _ = write!(frame, "{{\"type\":\"{kind}\",\"time\":\"{time}\",\"to\":\"{to}\"");
    if let Some(Logged { seq, prev }) = logged {
        let _ = write!(frame, ",\"seq\":{seq},\"prev\":{prev}");
    }
    frame.push_str(",\"data\":");
    frame.push_str(data);
    frame.push('}');
    Bytes::from(frame)
}

/// An event as a receiver reads it.
#[derive(Clone, Debug)]
pub struct EventFrame {
    /// Its type, known or not.
    pub kind: String,
    /// When it happened.
    pub time: Time,
    /// Whom it was for.
    pub to: Audience,
    /// Its number, if it is logged.
    pub seq: Option<Seq>,
    /// The number before it in its stream, if it is logged.
    pub prev: Option<Position>,
    /// Its payload.
    pub data: Incoming,
    /// Its payload as it came, with the members that this version does not know (ENV-09).
    pub text: Box<RawValue>,
}

/// A payload as a receiver reads it.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// Of a type in the catalog.
    Known(Box<Event>),
    /// Of a type this version does not know.
    Unknown,
}

#[derive(Deserialize)]
struct ReceivedFrame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    time: Time,
    to: Audience,
    seq: Option<Seq>,
    prev: Option<Position>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl EventFrame {
    /// Reads a frame that a server sent.
    ///
    /// # Errors
    /// `malformed_frame`, or `invalid_payload` for a known type with a body that is not its own.
    pub fn decode(text: &str) -> Result<Self, ErrorBody> {
        let frame: ReceivedFrame<'_> = serde_json::from_str(text)
            .map_err(|error| ErrorBody::new(ErrorCode::MalformedFrame, format!("not an event: {error}")))?;
        let data = match EventType::from_name(&frame.kind) {
            Some(event_type) => Incoming::Known(Box::new(Event::from_payload(event_type, frame.data)?)),
            None => Incoming::Unknown,
        };
        Ok(Self {
            kind: frame.kind.into_owned(),
            time: frame.time,
            to: frame.to,
            seq: frame.seq,
            prev: frame.prev,
            data,
            text: frame.data.to_owned(),
        })
    }

    /// Writes the frame again.
    ///
    /// # Errors
    /// What serde_json says of the type; that of a frame that was read has none.
    pub fn encode(&self) -> serde_json::Result<Bytes> {
        let logged = self.seq.map(|seq| Logged { seq, prev: self.prev.unwrap_or_default() });
        // An unknown type may hold anything; let the JSON writer quote it, and cut the quotes off again.
        let kind = serde_json::to_string(&self.kind)?;
        let kind = kind.get(1..kind.len() - 1).unwrap_or_default();
        Ok(encode(kind, self.time, &self.to, logged, self.text.get()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(bytes: &[u8]) -> ErrorCode {
        read_strict(bytes, 1024).unwrap_err().code
    }

    #[test]
    fn evt_05_an_unknown_type_is_refused_with_the_nearest_and_with_the_place_of_the_list() {
        let told = |name: &str| EventKind::parse(name).unwrap_err().message.into_owned();
        assert!(told("adw.text_blok").contains("did you mean adw.text_block? /v1/schemas/index.json"));
        assert!(told("text_block").contains("/v1/schemas/index.json lists the types"));
        let far = told("zzz");
        assert!(!far.contains("did you mean") && far.contains("_family.name"), "{far}");
        let own = told("_Shop.OrderPaid");
        assert!(own.contains("each part of a-z, 0-9 and _") && own.contains("_Shop.OrderPaid"), "{own}");
        assert!(told(&"x".repeat(1_000_000)).len() < 300);
    }

    fn replaced(text: &str) -> String {
        replace_lone_surrogates(text).unwrap().into_owned()
    }

    #[test]
    fn env_06_half_of_a_surrogate_pair_in_a_value_becomes_the_replacement_character() {
        for (text, expected) in [
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"a":"x\uDE00y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"["\ud83d\ud83d\ude00\ude00"]"#, r#"["\ufffd\ud83d\ude00\ufffd"]"#),
            (r#"["\ud83d\\ude00"]"#, r#"["\ufffd\\ude00"]"#),
            (r#"["\ud83d\n\ude00", "\"\ud83d"]"#, r#"["\ufffd\n\ufffd", "\"\ufffd"]"#),
            // An escaped backslash before the letters is no escape of a surrogate.
            (r#"["\\ud83d"]"#, r#"["\\ud83d"]"#),
            (r#"{"\ud83d\ude00":"\ud7ff\ue000"}"#, r#"{"\ud83d\ude00":"\ud7ff\ue000"}"#),
            (r#"["\ud83"#, r#"["\ud83"#),
        ] {
            assert_eq!(replaced(text), expected);
        }
        for key in [r#"{"\ud83d":1}"#, r#"{"a":{"b\ude00" : "\ud83d"}}"#] {
            let error = replace_lone_surrogates(key).unwrap_err();
            assert!(error.code == ErrorCode::MalformedFrame && error.message.contains("surrogate pair"), "{error:?}");
        }
        // A value before a key is not taken for one.
        assert_eq!(replaced(r#"{"a":"\ud83d","b":1}"#), r#"{"a":"\ufffd","b":1}"#);
    }

    #[test]
    fn env_06_a_byte_order_mark_before_a_document_is_skipped() {
        let read = |text: &str| read_document(text.as_bytes(), 64).map(|text| text.into_owned());
        assert_eq!(read("\u{feff}{\"a\":1}").unwrap(), "{\"a\":1}");
        assert!(read("{\"a\":\u{feff}1}").is_err(), "only before it");
        assert!(read_strict("\u{feff}{}".as_bytes(), 64).is_err(), "a token has none");
    }

    proptest! {
        /// Every text that a program may cut anywhere is read, and reads as the lossy form of its UTF-16.
        #[test]
        fn env_06_a_text_of_any_utf_16_units_is_read_as_its_lossy_form(
            units in prop::collection::vec(
                prop_oneof![0x20_u16..0x7f, 0xd800_u16..0xe000, any::<u16>()], 0..40),
        ) {
            let mut json = String::from("{\"text\":\"");
            for unit in &units {
                json.push_str(&format!("\\u{unit:04x}"));
            }
            json.push_str("\"}");
            let read = read_document(json.as_bytes(), 4_096).unwrap();
            let value: serde_json::Value = serde_json::from_str(&read).unwrap();
            prop_assert_eq!(value["text"].as_str().unwrap(), String::from_utf16_lossy(&units));
        }

        /// What is not to be replaced stays byte for byte, and nothing that is read makes it fail otherwise.
        #[test]
        fn env_06_text_without_halves_is_not_touched(text in ".{0,200}") {
            let json = serde_json::to_string(&[&text]).unwrap();
            prop_assert!(matches!(replace_lone_surrogates(&json), Ok(Cow::Borrowed(same)) if same == json));
        }
    }

    #[test]
    fn env_06_bytes_that_are_not_utf_8_are_refused() {
        assert_eq!(code(b"{\"a\":\"\xff\"}"), ErrorCode::InvalidUtf8);
    }

    #[test]
    fn env_07_a_key_twice_is_refused_at_any_depth_and_in_any_spelling() {
        assert_eq!(code(br#"{"a":1,"a":2}"#), ErrorCode::DuplicateKey);
        assert_eq!(code(br#"[{"x":{"a":1,"b":2,"\u0061":3}}]"#), ErrorCode::DuplicateKey);
        assert!(read_strict(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#, 1024).is_ok());
    }

    #[test]
    fn env_08_nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_strict(nested(limits::MAX_DEPTH).as_bytes(), 1024).is_ok());
        assert_eq!(code(nested(limits::MAX_DEPTH + 1).as_bytes()), ErrorCode::TooDeep);
        assert_eq!(code("[".repeat(1000).as_bytes()), ErrorCode::TooDeep);
    }

    #[test]
    fn env_08_size_is_bounded() {
        assert_eq!(code(&[b' '; 1025]), ErrorCode::TooLarge);
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for bytes in [&b""[..], b"{", b"nope", b"{} {}", b"{\"a\":1e999}", b"\"\\ud800\"", b"[1,]"] {
            assert_eq!(code(bytes), ErrorCode::MalformedFrame, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn env_09_an_unknown_event_is_written_again_byte_for_byte() {
        let text = r#"{"type":"future.thing","time":"2026-11-20T23:40:01Z","to":"global","seq":3,"prev":1,"data":{"z":1.10,"a":[1e2, {"b":null}]}}"#;
        let frame = EventFrame::decode(text).unwrap();
        assert!(matches!(frame.data, Incoming::Unknown));
        assert_eq!(frame.encode().unwrap(), text.as_bytes());
    }

    #[test]
    fn env_09_a_member_that_this_version_does_not_know_is_written_again() {
        let text = r#"{"type":"adw.text_block","time":"2026-11-20T23:40:01Z","to":"adw:29fb6a3e","seq":3,"prev":1,"data":{"adw_id":"29fb6a3e","content":"x","later":[1.50]}}"#;
        let frame = EventFrame::decode(text).unwrap();
        assert!(matches!(&frame.data, Incoming::Known(_)));
        assert_eq!(frame.encode().unwrap(), text.as_bytes());
    }

    #[test]
    fn env_09_a_known_type_with_a_wrong_body_is_an_error() {
        let text = r#"{"type":"adw.text_block","time":"2026-11-20T23:40:01Z","to":"adw:29fb6a3e","seq":3,"prev":1,"data":{"adw_id":"29fb6a3e"}}"#;
        assert_eq!(EventFrame::decode(text).unwrap_err().code, ErrorCode::InvalidPayload);
    }

    #[test]
    fn route_07_a_publication_without_a_target_is_refused() {
        let refused = |text| Publication::decode(text).unwrap_err().code;
        assert_eq!(refused(r#"{"type":"adw.agent_deleted","data":{}}"#), ErrorCode::MissingTarget);
        assert_eq!(refused(r#"{"type":"adw.agent_deleted","to":"","data":{}}"#), ErrorCode::InvalidId);
        assert_eq!(refused(r#"{"type":"adw.nope","to":"global","data":{}}"#), ErrorCode::UnknownType);
        assert_eq!(refused(r#"{"type":"adw.agent_deleted","to":"global"}"#), ErrorCode::InvalidPayload);
        assert_eq!(refused(r#"{"to":"global","data":{}}"#), ErrorCode::MalformedFrame);
        assert_eq!(
            refused(r#"{"type":"adw.agent_deleted","to":"global","data":{},"too":1}"#),
            ErrorCode::MalformedFrame
        );
        assert_eq!(refused("[]"), ErrorCode::MalformedFrame);
    }

    #[test]
    fn evt_05_vendor_space_is_carried_and_nothing_else_unknown_is() {
        assert!(matches!(EventKind::parse("_acme.thing_2"), Ok(EventKind::Vendor(_))));
        for name in ["_acme", "_.x", "_acme.", "_Acme.x", "acme.x", "_a.b.c", "_a.\"", "", "_a.b\n"] {
            assert!(EventKind::parse(name).is_err(), "{name:?}");
        }
    }
}
