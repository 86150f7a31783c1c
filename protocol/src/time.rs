//! The instant of an event: RFC 3339 in UTC, to the microsecond (ENV-04). Reading a clock is the caller's business.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::IdError;

/// A UTC instant, written as RFC 3339 with `Z` and at most six fractional digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(jiff::Timestamp);

impl Time {
    /// An instant out of microseconds since 1970. Values outside the years -9999 to 9999 are cut to that range.
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(jiff::Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        }))
    }

    /// Microseconds since 1970.
    pub fn as_unix_micros(self) -> i64 {
        self.0.as_microsecond()
    }

    /// This instant moved by so many microseconds, cut to the range of the type.
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_unix_micros(self.as_unix_micros().saturating_add(micros))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Time {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse::<jiff::Timestamp>()
            .map(|instant| Self::from_unix_micros(instant.as_microsecond()))
            .map_err(|_| IdError::new("a time", "must be RFC 3339, for instance 2026-11-20T23:40:01.5Z"))
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "UTC instant, RFC 3339 with Z, to the microsecond.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_04_time_is_utc_to_the_microsecond() {
        let time: Time = "2026-11-20T23:40:01.123456789+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-20T22:40:01.123456Z");
        assert!("yesterday".parse::<Time>().is_err());
        assert!("2026-11-20T23:40:01".parse::<Time>().is_err());
        assert_eq!(Time::from_unix_micros(0).to_string(), "1970-01-01T00:00:00Z");
        let _ = Time::from_unix_micros(i64::MAX).plus_micros(1).to_string();
    }
}
