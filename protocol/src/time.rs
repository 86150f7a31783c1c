//! The instant of an event: RFC 3339 in UTC, to the microsecond (ENV-04). Reading a clock is the caller's business.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, civil::DateTime};
use serde::{Deserialize, Serialize};

use crate::id::IdError;

/// A UTC instant of the years 0001 to 9999, written as RFC 3339 with `Z` and at most six fractional digits.
///
/// RFC 3339 can spell the year 0000 as well, which most programs cannot read, so it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The first instant of the year 0001, in microseconds since 1970.
    const FIRST: i64 = -62_135_596_800_000_000;
    /// The last microsecond of the year 9999.
    const LAST: i64 = 253_402_300_799_999_999;

    /// An instant out of microseconds since 1970. Values outside the years 0001 to 9999 are cut to that range.
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::FIRST, Self::LAST))
    }

    /// Microseconds since 1970.
    pub fn as_unix_micros(self) -> i64 {
        self.0
    }

    /// This instant moved by so many microseconds, cut to the range of the type.
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_unix_micros(self.as_unix_micros().saturating_add(micros))
    }
}

/// The civil time of microsecond 0.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every value of the type lies in the range of the calendar.
        let civil = EPOCH.saturating_add(SignedDuration::from_micros(self.0));
        write!(f, "{civil}Z")
    }
}

impl FromStr for Time {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || {
            IdError::new("a time", "must be RFC 3339 in the years 0001 to 9999, for instance 2026-11-20T23:40:01.5Z")
        };
        if !is_rfc_3339(text) {
            return Err(wrong());
        }
        let (civil, offset) = match text.strip_suffix(['Z', 'z']) {
            Some(civil) => (civil, 0),
            None => {
                let (civil, offset) = text.split_at_checked(text.len() - "+01:00".len()).ok_or_else(wrong)?;
                (civil, offset_minutes(offset).ok_or_else(wrong)?)
            }
        };
        let civil: DateTime = civil.parse().map_err(|_| wrong())?;
        let micros = i64::try_from(civil.duration_since(EPOCH).as_micros()).map_err(|_| wrong())?;
        let utc = micros - offset * 60_000_000;
        if (Self::FIRST..=Self::LAST).contains(&utc) { Ok(Self(utc)) } else { Err(wrong()) }
    }
}

/// The minutes of an offset of the form `+01:00`.
fn offset_minutes(offset: &str) -> Option<i64> {
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
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
        for text in [
            "2026-11-20t23:40:01z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999Z",
            "2026-11-20T23:40:01.5-00:00",
            "1969-12-31T23:59:59.000001Z",
        ] {
            let time: Time = text.parse().unwrap();
            assert_eq!(time.to_string().parse::<Time>().unwrap(), time, "{text}");
        }
        for text in [
            "yesterday",
            "",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2026-11-20T23:40:01+24:00",
            "2026-11-20T23:40:01+01:60",
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
        assert_eq!(Time::from_unix_micros(i64::MIN).to_string(), "0001-01-01T00:00:00Z");
        assert!(Time::from_unix_micros(i64::MAX).plus_micros(1).to_string().starts_with("9999-12-31T23:59:59.999999"));
    }
}
