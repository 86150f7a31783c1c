//! The instant of an event: RFC 3339 in UTC, to the microsecond (ENV-04). Reading a clock is the caller's business.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::IdError;

/// A UTC instant, written as RFC 3339 with `Z` and at most six fractional digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(jiff::Timestamp);

impl Time {
    /// The first instant of the year 0000, the earliest that RFC 3339 can spell, in microseconds since 1970.
    const FIRST: i64 = -62_167_219_200_000_000;
    /// The last microsecond of the year 9999.
    const LAST: i64 = 253_402_300_799_999_999;

    /// An instant out of microseconds since 1970. Values outside the years 0000 to 9999 are cut to that range.
    pub fn from_unix_micros(micros: i64) -> Self {
        let micros = micros.clamp(Self::FIRST, Self::LAST);
        // The last hours of 9999 are outside of what the type can hold, so that every offset can be spelled.
        Self(jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX))
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
        let wrong = || IdError::new("a time", "must be RFC 3339, for instance 2026-11-20T23:40:01.5Z");
        if !is_rfc_3339(text) {
            return Err(wrong());
        }
        let instant = text.parse::<jiff::Timestamp>().map_err(|_| wrong())?;
        Ok(Self::from_unix_micros(instant.as_microsecond()))
    }
}

/// Whether a text has the form `date-time` of RFC 3339, section 5.6. The calendar library reads more than that: ISO 8601
/// without separators, years of six digits, names of zones.
fn is_rfc_3339(text: &str) -> bool {
    let matches = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
                b'9' => byte.is_ascii_digit(),
                b'T' => byte.eq_ignore_ascii_case(&b'T'),
                b'+' => byte == b'+' || byte == b'-',
                form => byte == form,
            })
    };
    let Some((instant, rest)) = text.split_at_checked("9999-99-99T99:99:99".len()) else { return false };
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            // No digit, or more than the nanoseconds that are read.
            if !(1..=9).contains(&(fraction.len() - offset.len())) {
                return false;
            }
            offset
        }
        None => rest,
    };
    matches(instant, "9999-99-99T99:99:99") && (offset.eq_ignore_ascii_case("z") || matches(offset, "+99:99"))
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
            "description": "An instant in UTC, as RFC 3339 writes it with `Z`, for instance `2026-11-20T23:40:01.123456Z`. Up to six digits of the second's fraction; `Date` in a browser keeps three of them.",
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
        for text in ["2026-11-20t23:40:01z", "0000-01-01T00:00:00Z", "2026-11-20T23:40:01.5-00:00"] {
            let time: Time = text.parse().unwrap();
            assert_eq!(time.to_string().parse::<Time>().unwrap(), time, "{text}");
        }
        for text in [
            "yesterday",
            "",
            "2026-11-20T23:40:01",
            "2026-11-20",
            "2026-11-20 23:40:01Z",
            "2026-11-20T23:40Z",
            "2026-11-20T23:40:01.Z",
            "2026-11-20T23:40:01,5Z",
            "2026-11-20T23:40:01.1234567890Z",
            "20261120T234001Z",
            "2026-11-20T23:40:01+01",
            "2026-11-20T23:40:01+0100",
            "2026-11-20T23:40:01+01:00[Europe/Paris]",
            "-009999-01-01T00:00:00Z",
            "-001-01-01T00:00:00Z",
            "+002026-11-20T23:40:01Z",
            "2026-13-20T23:40:01Z",
            "2026-02-30T23:40:01Z",
            "2026-11-20T24:40:01Z",
            " 2026-11-20T23:40:01Z",
            "2026-11-20T23:40:01Z ",
            "２026-11-20T23:40:01Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text:?}");
        }
        assert_eq!(Time::from_unix_micros(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Time::from_unix_micros(i64::MIN).to_string(), "0000-01-01T00:00:00Z");
        assert!(Time::from_unix_micros(i64::MAX).plus_micros(1).to_string().starts_with("9999-12-"));
    }
}
