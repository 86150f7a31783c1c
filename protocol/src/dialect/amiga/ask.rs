//! What AMIGA's clients ask: events of Socket.IO, that is a name and at most one argument.

use serde_json::{Map, Value};

use crate::{
    error::{ErrorBody, ErrorCode},
    frame,
};

/// The largest message of a client, in bytes.
pub const MAX_FRAME_BYTES: usize = 1_000_000;
/// How far back figures count when a client does not say, in hours.
pub const DEFAULT_HOURS: u32 = 24;
/// How far back they may count, in hours: one week.
pub const MAX_HOURS: u32 = 168;
/// Time between two updates when a client does not say, in seconds.
pub const DEFAULT_INTERVAL: u32 = 2;
/// The longest time between two updates, in seconds.
pub const MAX_INTERVAL: u32 = 60;

/// Which groups of figures a client wants. What it does not want is empty in what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// `overview`: tasks, costs, requests, tools.
    pub overview: bool,
    /// `sessions`: sessions of the agents.
    pub sessions: bool,
    /// `activity`: what has happened of late.
    pub activity: bool,
}

impl Groups {
    /// All of them.
    pub const ALL: Self = Self { overview: true, sessions: true, activity: true };
}

/// What a client asks for when it subscribes (SIO-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// How far back its figures count, 1 to 168 hours.
    pub hours: u32,
    /// The shortest time between two updates, 1 to 60 seconds.
    pub update_interval: u32,
    /// Which figures.
    pub groups: Groups,
    /// Whether updates come as bytes: the JSON text of the argument as one binary attachment.
    pub binary: bool,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { hours: DEFAULT_HOURS, update_interval: DEFAULT_INTERVAL, groups: Groups::ALL, binary: false }
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Asked {
    /// `subscribe`: figures, whenever they change.
    Subscribe(Subscription),
    /// `unsubscribe`: no more of them.
    Unsubscribe,
    /// `request_refresh`: figures now.
    Refresh {
        /// How far back; absent: as far as the client's subscription says.
        hours: Option<u32>,
    },
    /// `set_interval`: this many seconds between two updates.
    SetInterval(u32),
    /// `subscribe_tasks`: what becomes of tasks.
    SubscribeTasks,
    /// `ping` of the chat: to be answered with `pong`.
    Ping,
    /// Something for the application behind the server: `message` or `typing`.
    Application {
        /// The name of the event.
        name: &'static str,
        /// Its argument.
        data: Map<String, Value>,
    },
}

/// Reads an event of a client. Numbers outside of their range are cut to it, as the server of origin did; what is no whole
/// number is refused.
///
/// # Errors
/// What strict reading says, `malformed_frame` for what is no event, `unknown_command`, and `invalid_payload` naming the
/// member that is wrong.
pub fn decode(bytes: &[u8]) -> Result<Asked, ErrorBody> {
    let text = &*frame::read_document(bytes, MAX_FRAME_BYTES)?;
    let malformed =
        || ErrorBody::new(ErrorCode::MalformedFrame, "an event is its name and at most one argument, an object");
    let event: Vec<Value> = serde_json::from_str(text).map_err(|_| malformed())?;
    let mut event = event.into_iter();
    let Some(Value::String(name)) = event.next() else { return Err(malformed()) };
    let members = match event.next() {
        Some(Value::Object(members)) => members,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(malformed()),
    };
    let argument = Argument { event: &name, members: &members };
    match name.as_str() {
        "subscribe" => {
            let defaults = Subscription::default();
            Ok(Asked::Subscribe(Subscription {
                hours: argument.whole("hours", MAX_HOURS)?.unwrap_or(defaults.hours),
                update_interval: argument.whole("update_interval", MAX_INTERVAL)?.unwrap_or(defaults.update_interval),
                groups: argument.groups()?,
                binary: argument.truth("binary")?,
            }))
        }
        "unsubscribe" => Ok(Asked::Unsubscribe),
        "request_refresh" => Ok(Asked::Refresh { hours: argument.whole("hours", MAX_HOURS)? }),
        "set_interval" => match argument.whole("interval", MAX_INTERVAL)? {
            Some(interval) => Ok(Asked::SetInterval(interval)),
            None => Err(argument.wrong("interval", "is missing; it is a whole number of seconds, 1 to 60")),
        },
        "subscribe_tasks" => Ok(Asked::SubscribeTasks),
        "ping" => Ok(Asked::Ping),
        "message" => match members.get("message") {
            Some(Value::String(_)) => Ok(Asked::Application { name: "message", data: members }),
            _ => Err(argument.wrong("message", "must be a text")),
        },
        "typing" => Ok(Asked::Application { name: "typing", data: members }),
        other => {
            let shown: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
            let message = format!(
                "no event {shown:?} here; there are subscribe, unsubscribe, request_refresh, set_interval, subscribe_tasks, ping, message, typing"
            );
            Err(ErrorBody::new(ErrorCode::UnknownCommand, message))
        }
    }
}

/// How far back figures count that are asked for in a query: as `subscribe` reads its `hours` (SIO-18).
///
/// # Errors
/// `invalid_payload` for what is no whole number.
pub fn hours_of(text: &str) -> Result<u32, ErrorBody> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ErrorBody::new(ErrorCode::InvalidPayload, "hours must be a whole number, 1 to 168"));
    }
    let hours = text.parse::<i64>().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX });
    Ok(clamped(hours, MAX_HOURS))
}

fn clamped(number: i64, most: u32) -> u32 {
    u32::try_from(number.clamp(1, i64::from(most))).unwrap_or(most)
}

/// The argument of an event.
struct Argument<'a> {
    event: &'a str,
    members: &'a Map<String, Value>,
}

impl Argument<'_> {
    fn wrong(&self, name: &str, what: &str) -> ErrorBody {
        ErrorBody::new(ErrorCode::InvalidPayload, format!("{}: {name} {what}", self.event))
    }

    /// A whole number, cut to 1 .. `most`. A number without a fraction counts, however it is written.
    fn whole(&self, name: &str, most: u32) -> Result<Option<u32>, ErrorBody> {
        let wrong = || self.wrong(name, &format!("must be a whole number, 1 to {most}"));
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Ok(Some(clamped(whole, most))),
                #[expect(clippy::cast_possible_truncation, reason = "cut to the range of the target")]
                (None, Some(float)) if float.fract() == 0.0 => Ok(Some(clamped(float as i64, most))),
                _ => Err(wrong()),
            },
            Some(_) => Err(wrong()),
        }
    }

    fn truth(&self, name: &str) -> Result<bool, ErrorBody> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    fn groups(&self) -> Result<Groups, ErrorBody> {
        let wrong = || self.wrong("metrics", "must name some of overview, sessions and activity");
        let names = match self.members.get("metrics") {
            None | Some(Value::Null) => return Ok(Groups::ALL),
            Some(Value::Array(names)) if !names.is_empty() => names,
            Some(_) => return Err(wrong()),
        };
        let mut groups = Groups { overview: false, sessions: false, activity: false };
        for name in names {
            match name.as_str() {
                Some("overview") => groups.overview = true,
                Some("sessions") => groups.sessions = true,
                Some("activity") => groups.activity = true,
                _ => return Err(wrong()),
            }
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(event: Value) -> Asked {
        decode(event.to_string().as_bytes()).unwrap_or_else(|error| panic!("{event}: {error}"))
    }

    fn refused(text: &str) -> ErrorBody {
        decode(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn sio_12_numbers_have_defaults_and_are_cut_to_their_range() {
        let of = |hours, update_interval| {
            Asked::Subscribe(Subscription { hours, update_interval, ..Subscription::default() })
        };
        for (argument, hours, interval) in [
            (json!({}), 24, 2),
            (json!({"hours": 1, "update_interval": 60}), 1, 60),
            (json!({"hours": 0, "update_interval": 0}), 1, 1),
            (json!({"hours": -5, "update_interval": 61}), 1, 60),
            (json!({"hours": 169, "update_interval": i64::MAX}), 168, 60),
            (json!({"hours": u64::MAX, "update_interval": 1e300}), 168, 60),
            (json!({"hours": null, "update_interval": 5.0, "other": 1}), 24, 5),
        ] {
            assert_eq!(asked(json!(["subscribe", argument])), of(hours, interval), "{argument}");
        }
        assert_eq!(asked(json!(["subscribe"])), of(24, 2));
        assert_eq!(asked(json!(["subscribe", null])), of(24, 2));
        assert_eq!(asked(json!(["set_interval", {"interval": 600}])), Asked::SetInterval(60));
        assert_eq!(asked(json!(["request_refresh"])), Asked::Refresh { hours: None });
        assert_eq!(asked(json!(["request_refresh", {"hours": 1000}])), Asked::Refresh { hours: Some(168) });
    }

    #[test]
    fn sio_12_what_is_no_whole_number_is_refused_by_name() {
        for (event, member) in [
            (r#"["subscribe",{"hours":1.5}]"#, "hours"),
            (r#"["subscribe",{"hours":"24"}]"#, "hours"),
            (r#"["subscribe",{"hours":true}]"#, "hours"),
            (r#"["subscribe",{"update_interval":[2]}]"#, "update_interval"),
            (r#"["subscribe",{"metrics":[]}]"#, "metrics"),
            (r#"["subscribe",{"metrics":["tasks"]}]"#, "metrics"),
            (r#"["subscribe",{"metrics":"overview"}]"#, "metrics"),
            (r#"["subscribe",{"binary":1}]"#, "binary"),
            (r#"["set_interval",{}]"#, "interval"),
            (r#"["set_interval"]"#, "interval"),
            (r#"["message",{}]"#, "message"),
        ] {
            let error = refused(event);
            assert_eq!(error.code, ErrorCode::InvalidPayload, "{event}");
            assert!(error.message.contains(member), "{error}");
        }
    }

    #[test]
    fn sio_11_other_events_are_refused_and_none_of_them_names_a_room() {
        for event in [r#"["join",{"room":"tasks"}]"#, r#"["join_room",{}]"#, r#"["enter"]"#, r#"["leave"]"#, r#"[""]"#]
        {
            assert_eq!(refused(event).code, ErrorCode::UnknownCommand, "{event}");
        }
        for event in ["{}", "[]", "[1]", r#"["subscribe",1]"#, r#"["subscribe",[{}]]"#, "subscribe", ""] {
            assert_eq!(refused(event).code, ErrorCode::MalformedFrame, "{event}");
        }
        assert_eq!(refused(r#"["subscribe",{"hours":1,"hours":2}]"#).code, ErrorCode::DuplicateKey);
    }

    #[test]
    fn sio_15_a_client_may_choose_its_figures() {
        let Asked::Subscribe(chosen) =
            asked(json!(["subscribe", {"metrics": ["activity", "overview"], "binary": true}]))
        else {
            panic!()
        };
        assert_eq!(chosen.groups, Groups { overview: true, sessions: false, activity: true });
        assert!(chosen.binary);
    }

    #[test]
    fn sio_18_hours_in_a_query_are_read_as_in_an_event() {
        for (text, hours) in [("24", 24), ("0", 1), ("-3", 1), ("169", 168), ("99999999999999999999", 168), ("007", 7)]
        {
            assert_eq!(hours_of(text).unwrap(), hours, "{text}");
        }
        for text in ["", "-", "1.5", "abc", "+1", "1e2", " 1"] {
            assert_eq!(hours_of(text).unwrap_err().code, ErrorCode::InvalidPayload, "{text}");
        }
    }
}
