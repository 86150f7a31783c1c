//! An event after admission (EVT-02 to EVT-06), and an event after it was committed.
//!
//! Admission is the only way from what a publisher wrote to what routing sees. It settles the audience (the part of it,
//! where visibility or the catalog says so), the key, and the payload's final text, which nothing behind it reads
//! again. A [`Committed`] event is shared by all its receivers; each dialect's frame is made once, when first needed. A
//! history keeps the [`Stored`] part alone, so that frames take memory only while a receiver needs them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    address::{AddressedTo, Audience, Modifiers, to},
    catalog::{Delivery, Event},
    dialect::Dialect,
    error::{ErrorBody, ErrorCode},
    event::Payload,
    footprint,
    frame::{EventKind, Logged, Publication},
    id::{AdwId, ConnectionId, RoomName, SessionId, UserId},
    limits,
    time::Time,
};

/// A JSON text with every line break outside of strings made a space: a frame is one line on every transport, and the rest
/// stays as its publisher wrote it. Inside strings JSON allows no raw line break.
fn on_one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// An admitted event.
#[derive(Clone, Debug)]
pub struct Envelope {
    kind: EventKind,
    audience: Audience,
    time: Time,
    data: Arc<str>,
    key: Option<Arc<str>>,
    modifiers: Modifiers,
}

impl Envelope {
    /// Admits what a publisher handed in. `now` becomes its time if it brought none.
    ///
    /// # Errors
    /// `audience_not_allowed`, `invalid_payload`, `subject_mismatch` or `too_large`.
    pub fn admit(publication: Publication, now: Time) -> Result<Self, ErrorBody> {
        let Publication { kind, to, data, time, modifiers, .. } = publication;
        if matches!(&kind, EventKind::Known(event_type) if event_type.spec().is_the_servers_own()) {
            return Err(ErrorBody::new(
                ErrorCode::AudienceNotAllowed,
                format!("{} is said by the server alone; nobody else can publish it", kind.as_str()),
            ));
        }
        if data.get().len() > limits::MAX_EVENT_BYTES {
            return Err(too_large(data.get().len()));
        }
        let original: Map<String, Value> = serde_json::from_str(data.get())
            .map_err(|_| ErrorBody::new(ErrorCode::InvalidPayload, "data must be an object"))?;
        let mut modifiers = modifiers;
        let (audience, members, data) = match &kind {
            EventKind::Known(event_type) => {
                let audience = event_type.spec().admit(to)?;
                let event = Event::from_payload(*event_type, &data)?;
                modifiers = modifiers.sparing(event.spares().cloned())?;
                let audience = audience.seen_by(event.visibility());
                let payload = event.payload().map_err(|_| internal())?;
                let members = with_unknown_members(&payload, original)?;
                event_type.bounds().check(&members)?;
                let data = serde_json::to_string(&members).map_err(|_| internal())?;
                (audience, members, data)
            }
            EventKind::Vendor(_) if to.is_part() => {
                return Err(ErrorBody::new(
                    ErrorCode::AudienceNotAllowed,
                    format!("{to} is a part of an audience; address the whole"),
                ));
            }
            EventKind::Vendor(_) => (to, original, on_one_line(data.get())),
        };
        Self::finish(kind, audience, time.unwrap_or(now), data, &members, modifiers)
    }

    /// Admits a payload of the catalog, addressed as its type allows; see the functions below for each audience.
    fn typed<P: Payload>(payload: &P, to: Audience, time: Time) -> Result<Self, ErrorBody> {
        let audience = P::TYPE.spec().admit(to)?.seen_by(payload.visibility());
        let data = serde_json::to_string(payload).map_err(|_| internal())?;
        if data.len() > limits::MAX_EVENT_BYTES {
            return Err(too_large(data.len()));
        }
        let members = serde_json::from_str(&data).map_err(|_| internal())?;
        P::TYPE.bounds().check(&members)?;
        let modifiers = Modifiers { except_user: payload.spares().cloned(), ..Modifiers::default() };
        Self::finish(EventKind::Known(P::TYPE), audience, time, data, &members, modifiers)
    }

    fn finish(
        kind: EventKind,
        audience: Audience,
        time: Time,
        data: String,
        members: &Map<String, Value>,
        modifiers: Modifiers,
    ) -> Result<Self, ErrorBody> {
        // EVT-04: an event about one ADW never goes to the watchers of another.
        if let (Audience::Adw(id, _), Some(subject)) = (&audience, members.get("adw_id"))
            && subject.as_str() != Some(id.as_str())
        {
            return Err(ErrorBody::new(
                ErrorCode::SubjectMismatch,
                format!("data.adw_id is {subject}, but the event is addressed to adw:{id}"),
            ));
        }
        let logged = kind.delivery().is_logged() && !matches!(audience, Audience::Connection(_));
        if logged && !modifiers.is_empty() {
            // ROUTE-06: a receiver that is left out of a numbered stream would see a hole in it.
            return Err(ErrorBody::new(
                ErrorCode::AudienceNotAllowed,
                format!("{} is logged, so nobody can be excepted from it", kind.as_str()),
            ));
        }
        let key = kind.delivery().key().and_then(|name| members.get(name)).map(|value| match value {
            Value::String(text) => Arc::from(text.as_str()),
            other => Arc::from(other.to_string()),
        });
        Ok(Self { kind, audience, time, data: data.into(), key, modifiers })
    }

    /// An event without a payload, to ask [`crate::explain::explain`] about. As no payload says who may see it, an event for
    /// a session is for everyone in it, unless `to` names a part.
    ///
    /// # Errors
    /// `audience_not_allowed`.
    pub fn probe(kind: EventKind, to: Audience) -> Result<Self, ErrorBody> {
        let audience = match &kind {
            EventKind::Known(_) if to.is_part() => to,
            EventKind::Known(event_type) => event_type.spec().admit(to)?,
            EventKind::Vendor(_) => to,
        };
        let time = Time::from_unix_micros(0);
        Ok(Self { kind, audience, time, data: "{}".into(), key: None, modifiers: Modifiers::default() })
    }

    /// This event without payload and key, as if it had happened at `time`: what routing reads, for as long as it is kept.
    #[must_use]
    pub fn without_payload(&self, time: Time) -> Self {
        let Self { kind, audience, modifiers, .. } = self;
        Self {
            kind: kind.clone(),
            audience: audience.clone(),
            time,
            data: "{}".into(),
            key: None,
            modifiers: modifiers.clone(),
        }
    }

    /// Resident bytes of what it refers to, rounded as an allocator does (LIMIT-11).
    pub fn footprint(&self) -> usize {
        let Self { kind, audience, data, key, modifiers, .. } = self;
        let kind = match kind {
            EventKind::Known(_) => 0,
            EventKind::Vendor(name) => footprint::shared(name.len()),
        };
        footprint::shared(data.len())
            + key.as_ref().map_or(0, |key| footprint::shared(key.len()))
            + modifiers.except_user.as_ref().map_or(0, |user| footprint::shared(user.as_str().len()))
            + audience.footprint()
            + kind
    }

    /// Its type.
    pub fn kind(&self) -> &EventKind {
        &self.kind
    }

    /// Whom it is for: the part of an audience, where admission decided so.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// When it happened.
    pub fn time(&self) -> Time {
        self.time
    }

    /// Its payload, JSON text.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// The value of its key, for `append` and `latest`.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Exceptions to the audience.
    pub fn modifiers(&self) -> &Modifiers {
        &self.modifiers
    }

    /// How it is kept and delivered.
    pub fn delivery(&self) -> Delivery {
        self.kind.delivery()
    }

    /// Whether it gets a number and is kept in the log (LOG-03): by class, and never when it goes to one connection.
    pub fn is_logged(&self) -> bool {
        self.delivery().is_logged() && !matches!(self.audience, Audience::Connection(_))
    }

    /// An event of the same type, audience, key and time, with another payload.
    pub(crate) fn joined(first: &Self, data: String) -> Self {
        Self { data: data.into(), ..first.clone() }
    }

    /// This event with exceptions to its audience; a user who is left out already stays left out.
    ///
    /// # Errors
    /// `audience_not_allowed` for a logged event (ROUTE-06), and for a second user to leave out.
    pub fn with_modifiers(mut self, modifiers: Modifiers) -> Result<Self, ErrorBody> {
        let modifiers = modifiers.sparing(self.modifiers.except_user.take())?;
        if self.is_logged() && !modifiers.is_empty() {
            return Err(ErrorBody::new(
                ErrorCode::AudienceNotAllowed,
                format!("{} is logged, so nobody can be excepted from it", self.kind.as_str()),
            ));
        }
        self.modifiers = modifiers;
        Ok(self)
    }
}

/// Typed admission: what the catalog does not allow does not compile (EVT-03).
impl Envelope {
    /// An event for one connection.
    ///
    /// # Errors
    /// `too_large`, and `invalid_payload` for a member out of its bounds (EVT-08).
    pub fn to_connection<P: AddressedTo<to::Connection>>(
        id: ConnectionId,
        payload: &P,
        time: Time,
    ) -> Result<Self, ErrorBody> {
        Self::typed(payload, Audience::Connection(id), time)
    }

    /// An event for a whole session.
    ///
    /// # Errors
    /// `too_large`, and `invalid_payload` for a member out of its bounds (EVT-08).
    pub fn to_session<P: AddressedTo<to::Session>>(id: SessionId, payload: &P, time: Time) -> Result<Self, ErrorBody> {
        Self::typed(payload, Audience::session(id), time)
    }

    /// An event for a user.
    ///
    /// # Errors
    /// `too_large`, and `invalid_payload` for a member out of its bounds (EVT-08).
    pub fn to_user<P: AddressedTo<to::User>>(id: UserId, payload: &P, time: Time) -> Result<Self, ErrorBody> {
        Self::typed(payload, Audience::User(id), time)
    }

    /// An event for the watchers of an ADW.
    ///
    /// # Errors
    /// `too_large`, `invalid_payload` for a member out of its bounds (EVT-08), and `subject_mismatch` where the payload
    /// names another ADW.
    pub fn to_adw<P: AddressedTo<to::Adw>>(id: AdwId, payload: &P, time: Time) -> Result<Self, ErrorBody> {
        Self::typed(payload, Audience::adw(id), time)
    }

    /// An event for the members of a room.
    ///
    /// # Errors
    /// `too_large`, and `invalid_payload` for a member out of its bounds (EVT-08).
    pub fn to_room<P: AddressedTo<to::Room>>(name: RoomName, payload: &P, time: Time) -> Result<Self, ErrorBody> {
        Self::typed(payload, Audience::Room(name), time)
    }

    /// An event for everyone.
    ///
    /// # Errors
    /// `too_large`, and `invalid_payload` for a member out of its bounds (EVT-08).
    pub fn to_everyone<P: AddressedTo<to::Global>>(payload: &P, time: Time) -> Result<Self, ErrorBody> {
        Self::typed(payload, Audience::Global, time)
    }
}

/// The payload as its type writes it, and behind it the members that its type does not know.
fn with_unknown_members(payload: &RawValue, original: Map<String, Value>) -> Result<Map<String, Value>, ErrorBody> {
    let mut members: Map<String, Value> = serde_json::from_str(payload.get()).map_err(|_| internal())?;
    for (name, value) in original {
        if !value.is_null() && !members.contains_key(&name) {
            members.insert(name, value);
        }
    }
    Ok(members)
}

fn too_large(bytes: usize) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::TooLarge,
        format!("an event of {bytes} bytes is over the limit of {}; send it in parts", limits::MAX_EVENT_BYTES),
    )
}

fn internal() -> ErrorBody {
    ErrorBody::new(ErrorCode::Internal, "the payload could not be written")
}

/// The type of what is no event of the catalog.
const WORDS: &str = "_dialect.words";

/// A committed event without the frames that were made of it: what a history keeps.
#[derive(Debug)]
pub struct Stored {
    envelope: Envelope,
    logged: Option<Logged>,
}

impl Stored {
    /// The admitted event.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Its number, if it is logged.
    pub fn logged(&self) -> Option<Logged> {
        self.logged
    }

    /// Its size on the wire, roughly: what a page of a replay counts.
    pub fn size(&self) -> usize {
        self.envelope.data.len() + 256
    }

    /// Resident bytes of the event behind one `Arc`, rounded as an allocator does (LIMIT-11).
    pub fn footprint(&self) -> usize {
        footprint::shared(size_of::<Self>()) + self.envelope.footprint()
    }
}

/// An event that may be delivered: it is in the log, or its class needs no log.
#[derive(Debug)]
pub struct Committed {
    stored: Arc<Stored>,
    /// One place for each dialect, made with the first frame.
    frames: OnceLock<Box<Frames>>,
}

type Frames = [OnceLock<Option<Bytes>>; Dialect::COUNT];

fn no_frames() -> Box<Frames> {
    Box::new([const { OnceLock::new() }; Dialect::COUNT])
}

impl From<Arc<Stored>> for Committed {
    fn from(stored: Arc<Stored>) -> Self {
        Self { stored, frames: OnceLock::new() }
    }
}

impl Committed {
    /// An event with the number it was committed under, if it is logged.
    pub fn new(envelope: Envelope, logged: Option<Logged>) -> Self {
        Arc::new(Stored { envelope, logged }).into()
    }

    /// The event without its frames. Frames end with the last receiver that holds this `Committed`.
    pub fn stored(&self) -> &Arc<Stored> {
        &self.stored
    }

    /// Something for one connection that is no event of the catalog, as a native frame of its dialect: the answer to a
    /// question that only that dialect has.
    pub fn in_words(id: ConnectionId, dialect: Dialect, words: Bytes, now: Time) -> Self {
        let envelope = Envelope {
            kind: EventKind::Vendor(Arc::from(WORDS)),
            audience: Audience::Connection(id),
            time: now,
            data: "{}".into(),
            key: None,
            modifiers: Modifiers::default(),
        };
        let committed = Self::new(envelope, None);
        if let Some(frame) = committed.frames.get_or_init(no_frames).get(dialect.index()) {
            let _ = frame.set(Some(words));
        }
        committed
    }

    /// Whether it was made by [`Committed::in_words`].
    pub(crate) fn is_words(&self) -> bool {
        matches!(&self.stored.envelope.kind, EventKind::Vendor(name) if **name == *WORDS)
    }

    /// The admitted event.
    pub fn envelope(&self) -> &Envelope {
        &self.stored.envelope
    }

    /// Its number, if it is logged.
    pub fn logged(&self) -> Option<Logged> {
        self.stored.logged
    }

    /// Its frame in a dialect, made once and shared. `None` when the dialect cannot spell it (ROUTE-05).
    pub fn frame(&self, dialect: Dialect) -> Option<&Bytes> {
        self.frames.get_or_init(no_frames).get(dialect.index())?.get_or_init(|| dialect.encode(self)).as_ref()
    }

    /// Its size on the wire, roughly: what a page of a replay counts.
    pub fn size(&self) -> usize {
        self.stored.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{adw, context, product};

    const NOW: fn() -> Time = || Time::from_unix_micros(1);

    fn admit(text: &str) -> Result<Envelope, ErrorBody> {
        Envelope::admit(Publication::decode(text).unwrap(), NOW())
    }

    #[test]
    fn evt_04_an_event_about_one_adw_never_goes_to_the_watchers_of_another() {
        let error =
            admit(r#"{"type":"adw.agent_deleted","to":"adw:aaaaaaaa","data":{"adw_id":"bbbbbbbb"}}"#).unwrap_err();
        assert_eq!(error.code, ErrorCode::SubjectMismatch);
        let payload = adw::AgentDeleted { adw_id: "bbbbbbbb".parse().unwrap() };
        assert!(Envelope::to_adw("aaaaaaaa".parse().unwrap(), &payload, NOW()).is_err());
        let error = admit(r#"{"type":"_x.y","to":"adw:aaaaaaaa","data":{"adw_id":"bbbbbbbb"}}"#).unwrap_err();
        assert_eq!(error.code, ErrorCode::SubjectMismatch);
    }

    #[test]
    fn env_10_a_payload_over_several_lines_is_carried_on_one() {
        let several =
            "{\"type\":\"_x.y\",\"to\":\"global\",\"data\":{\r\n  \"a\": \"\\n\u{2028}\",\n\n \"b\":[1.50,\n 2] }}";
        let envelope = admit(several).unwrap();
        assert_eq!(envelope.data(), "{    \"a\": \"\\n\u{2028}\",   \"b\":[1.50,  2] }");
    }

    #[test]
    fn evt_07_nobody_speaks_for_the_server() {
        let closing = r#"{"type":"connection.closing","to":"connection:c0000000000000001","data":{"reason":"x"}}"#;
        assert_eq!(admit(closing).unwrap_err().code, ErrorCode::AudienceNotAllowed);
    }

    #[test]
    fn evt_06_members_of_a_later_version_are_carried_and_null_means_absent() {
        let envelope = admit(
            r#"{"type":"adw.text_block","to":"adw:aaaaaaaa","data":{"later":{"b":1},"adw_id":"aaaaaaaa","content":"x","sequence":null,"other":null}}"#,
        )
        .unwrap();
        assert_eq!(envelope.data(), r#"{"adw_id":"aaaaaaaa","content":"x","later":{"b":1}}"#);
    }

    #[test]
    fn route_06_nobody_is_excepted_from_a_logged_event() {
        let payload = adw::AgentDeleted { adw_id: "bbbbbbbb".parse().unwrap() };
        let envelope = Envelope::to_adw(payload.adw_id, &payload, NOW()).unwrap();
        let modifiers = Modifiers { one_per_session: true, ..Modifiers::default() };
        assert!(envelope.with_modifiers(modifiers).is_err());
    }

    #[test]
    fn route_06_what_a_user_does_is_not_told_to_that_user_however_it_is_published() {
        let maria = || Some("maria".parse().unwrap());
        let payload = product::UserActivity {
            user_id: "maria".parse().unwrap(),
            username: "Maria Lund".into(),
            action: product::UserAction::ViewingDocument,
            document_id: None,
        };
        let typed = Envelope::to_everyone(&payload, NOW()).unwrap();
        let text = r#"{"type":"user.activity","to":"global","data":{"user_id":"maria","username":"M","action":"x"}}"#;
        let read = admit(text).unwrap();
        for envelope in [typed, read] {
            assert_eq!(envelope.modifiers().except_user, maria());
            // Further exceptions take nothing back.
            let further = Modifiers { one_per_session: true, ..Modifiers::default() };
            let further = envelope.clone().with_modifiers(further).unwrap();
            assert!(further.modifiers().one_per_session && further.modifiers().except_user == maria());
            let other = Modifiers { except_user: Some("tom".parse().unwrap()), ..Modifiers::default() };
            assert_eq!(envelope.with_modifiers(other).unwrap_err().code, ErrorCode::AudienceNotAllowed);
        }
    }

    fn message(visibility: &str, sender: &str) -> String {
        format!(
            r#"{{"type":"context.new_message","to":"session:s","data":{{"id":1,"sender":"{sender}","content":"x","visibility":"{visibility}"}}}}"#
        )
    }

    #[test]
    fn route_04_the_visibility_of_a_message_is_settled_at_admission() {
        for (visibility, to) in
            [("public", "session:s"), ("private", "session:s/private/u"), ("agent_only", "session:s/agent_only/u")]
        {
            let envelope = admit(&message(visibility, "u")).unwrap();
            assert_eq!(envelope.audience().to_string(), to);
            assert_eq!(envelope.delivery(), Delivery::Durable);
            let payload: context::NewMessage = serde_json::from_str(envelope.data()).unwrap();
            let typed = Envelope::to_session("s".parse().unwrap(), &payload, NOW()).unwrap();
            assert_eq!((typed.audience(), typed.data()), (envelope.audience(), envelope.data()));
        }
    }

    #[test]
    fn route_04_a_visibility_that_is_not_known_or_names_nobody_is_refused_and_never_grants() {
        for (visibility, sender) in [
            ("admin_only", "u"),
            ("PRIVATE", "u"),
            ("", "u"),
            ("private", ""),
            ("private", "u/../v"),
            ("public", "a b"),
        ] {
            let error = admit(&message(visibility, sender)).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidPayload, "{visibility:?} {sender:?}");
        }
        for data in [
            r#"{"id":1,"sender":"u","content":"x"}"#,
            r#"{"id":1,"sender":"u","content":"x","visibility":null}"#,
            r#"{"id":1,"content":"x","visibility":"private"}"#,
        ] {
            let text = format!(r#"{{"type":"context.new_message","to":"session:s","data":{data}}}"#);
            assert_eq!(admit(&text).unwrap_err().code, ErrorCode::InvalidPayload, "{data}");
        }
    }

    #[test]
    fn evt_02_a_publisher_does_not_name_the_part_of_a_message_and_other_events_have_none() {
        let named = message("private", "u").replace("session:s", "session:s/private/v");
        assert_eq!(admit(&named).unwrap_err().code, ErrorCode::AudienceNotAllowed);
        // What looks like a visibility in another payload is none: only the catalog's row makes it one.
        for kind in ["context.typing", "_vendor.message"] {
            let data = r#"{"agent_id":"u","is_typing":true,"sender":"u","visibility":"private"}"#;
            let envelope = admit(&format!(r#"{{"type":"{kind}","to":"session:s","data":{data}}}"#)).unwrap();
            assert_eq!(envelope.audience().to_string(), "session:s");
        }
    }

    #[test]
    fn evt_02_a_publisher_cannot_name_a_part_of_an_audience() {
        for to in ["adw:aaaaaaaa/raw", "session:a/private/u"] {
            let error = admit(&format!(r#"{{"type":"_x.y","to":"{to}","data":{{}}}}"#)).unwrap_err();
            assert_eq!(error.code, ErrorCode::AudienceNotAllowed);
        }
    }
}
