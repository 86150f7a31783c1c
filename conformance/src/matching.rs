//! Partial matching: what a case says about a frame, compared with the frame.
//!
//! An object matches when each of its keys does; other keys do not matter. An array matches element by element. Strings
//! that begin with `$` and objects with one such key are operators:
//!
//! | pattern | matches |
//! |---|---|
//! | `"$any"` | anything that is there |
//! | `"$absent"` | as the value of a key: the key is not there |
//! | `"$integer"`, `"$string"`, `"$array"`, `"$object"`, `"$boolean"` | a value of that type |
//! | `"$seq"` | an integer in 1..2^53-1 |
//! | `"$time"` | RFC 3339, UTC, `Z`, at most six digits of a second |
//! | `{"$remember": "name"}` | anything, and remembers it |
//! | `{"$greater": n}`, `{"$less": n}` | a number on that side of n |
//! | `{"$contains": [..]}` | an array that has, for each pattern, an element that matches |
//! | `{"$lacks": [..]}` | an array that has, for each pattern, no element that matches |
//! | `{"$text": "part"}` | a string that has this part |
//! | `{"$nowhere": "part"}` | anything whose JSON text does not have this part |
//! | `{"$length": n}` | an array of n elements, or a string of n bytes |

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Values that a pattern asked to remember.
pub type Remembered = BTreeMap<String, Value>;

/// Why a value does not match, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {}: expected {expected}, found {found}", if path.is_empty() { "the top" } else { path })]
pub struct Mismatch {
    /// JSON pointer.
    pub path: String,
    /// What the pattern says.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// The largest integer that every JSON reader keeps exactly.
const MAX_SEQ: u64 = (1 << 53) - 1;

/// Compares `value` with `pattern`.
///
/// # Errors
/// The first difference, in document order of the pattern. What was remembered before it stays in `remembered`.
pub fn matches(pattern: &Value, value: &Value, remembered: &mut Remembered) -> Result<(), Mismatch> {
    compare(pattern, value, "", remembered)
}

fn compare(pattern: &Value, value: &Value, path: &str, remembered: &mut Remembered) -> Result<(), Mismatch> {
    let differs = || Mismatch { path: path.to_owned(), expected: brief(pattern), found: brief(value) };
    match pattern {
        Value::String(text) if text.starts_with('$') => match named(text, value) {
            Some(true) => Ok(()),
            Some(false) => Err(differs()),
            None => Err(unknown_operator(path, text)),
        },
        Value::Object(keys) => match operator(keys) {
            Some((name, operand)) => operated(name, operand, value, path, remembered, differs),
            None => object(keys, value, path, remembered, differs),
        },
        Value::Array(patterns) => {
            let Value::Array(values) = value else { return Err(differs()) };
            if patterns.len() != values.len() {
                return Err(differs());
            }
            for (index, (pattern, value)) in patterns.iter().zip(values).enumerate() {
                compare(pattern, value, &format!("{path}/{index}"), remembered)?;
            }
            Ok(())
        }
        Value::Number(_) => match (pattern.as_f64(), value.as_f64()) {
            _ if pattern == value => Ok(()),
            (Some(a), Some(b)) if a == b => Ok(()),
            _ => Err(differs()),
        },
        _ if pattern == value => Ok(()),
        _ => Err(differs()),
    }
}

fn object(
    keys: &Map<String, Value>,
    value: &Value,
    path: &str,
    remembered: &mut Remembered,
    differs: impl Fn() -> Mismatch,
) -> Result<(), Mismatch> {
    let Value::Object(found) = value else { return Err(differs()) };
    for (key, pattern) in keys {
        let path = format!("{path}/{key}");
        match (found.get(key), pattern.as_str()) {
            (None, Some("$absent")) => {}
            (None, _) => {
                return Err(Mismatch { path, expected: brief(pattern), found: "nothing".to_owned() });
            }
            (Some(value), Some("$absent")) => {
                return Err(Mismatch { path, expected: "nothing".to_owned(), found: brief(value) });
            }
            (Some(value), _) => compare(pattern, value, &path, remembered)?,
        }
    }
    Ok(())
}

/// `None`: there is no such operator.
fn named(name: &str, value: &Value) -> Option<bool> {
    Some(match name {
        "$any" => true,
        "$absent" => false,
        "$integer" => value.is_i64() || value.is_u64(),
        "$string" => value.is_string(),
        "$array" => value.is_array(),
        "$object" => value.is_object(),
        "$boolean" => value.is_boolean(),
        "$seq" => value.as_u64().is_some_and(|seq| (1..=MAX_SEQ).contains(&seq)),
        "$time" => value.as_str().is_some_and(is_time),
        _ => return None,
    })
}

fn operator(keys: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, operand) = keys.iter().next()?;
    (keys.len() == 1 && name.starts_with('$')).then_some((name.as_str(), operand))
}

fn operated(
    name: &str,
    operand: &Value,
    value: &Value,
    path: &str,
    remembered: &mut Remembered,
    differs: impl Fn() -> Mismatch,
) -> Result<(), Mismatch> {
    let holds = match (name, operand) {
        ("$remember", Value::String(name)) => {
            remembered.insert(name.clone(), value.clone());
            true
        }
        ("$greater", Value::Number(bound)) => numbers(value, bound).is_some_and(|(value, bound)| value > bound),
        ("$less", Value::Number(bound)) => numbers(value, bound).is_some_and(|(value, bound)| value < bound),
        ("$contains", Value::Array(patterns)) => match value {
            Value::Array(values) => patterns.iter().all(|pattern| has(values, pattern, path, remembered)),
            _ => false,
        },
        ("$lacks", Value::Array(patterns)) => match value {
            Value::Array(values) => !patterns.iter().any(|pattern| has(values, pattern, path, remembered)),
            _ => false,
        },
        ("$text", Value::String(part)) => value.as_str().is_some_and(|text| text.contains(part.as_str())),
        ("$nowhere", Value::String(part)) => !value.to_string().contains(part.as_str()),
        ("$length", Value::Number(length)) => {
            let found = match value {
                Value::Array(values) => Some(values.len() as u64),
                Value::String(text) => Some(text.len() as u64),
                _ => None,
            };
            found.is_some() && found == length.as_u64()
        }
        _ => return Err(unknown_operator(path, name)),
    };
    if holds { Ok(()) } else { Err(differs()) }
}

fn has(values: &[Value], pattern: &Value, path: &str, remembered: &mut Remembered) -> bool {
    values.iter().any(|value| compare(pattern, value, path, remembered).is_ok())
}

fn numbers(value: &Value, bound: &serde_json::Number) -> Option<(f64, f64)> {
    Some((value.as_f64()?, bound.as_f64()?))
}

fn unknown_operator(path: &str, name: &str) -> Mismatch {
    Mismatch {
        path: path.to_owned(),
        expected: format!("an operator that exists, not {name}"),
        found: "a mistake in the case".to_owned(),
    }
}

/// `2026-11-20T23:40:01.123456Z`: the form that the protocol writes, and no other spelling of RFC 3339.
fn is_time(text: &str) -> bool {
    let Some((whole, fraction)) = text.strip_suffix('Z').map(|rest| rest.split_once('.').unwrap_or((rest, ""))) else {
        return false;
    };
    let shape: String = whole.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let fraction_fits = match text.contains('.') {
        true => (1..=6).contains(&fraction.len()) && fraction.bytes().all(|digit| digit.is_ascii_digit()),
        false => true,
    };
    shape == "0000-00-00T00:00:00" && fraction_fits
}

/// At most 160 bytes of JSON, for messages that people read.
pub(crate) fn brief(value: &Value) -> String {
    shorten(&value.to_string())
}

/// At most 160 bytes, cut at a character.
pub(crate) fn shorten(text: &str) -> String {
    const LENGTH: usize = 160;
    if text.len() <= LENGTH {
        return text.to_owned();
    }
    let end = (0..=LENGTH).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}...", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pattern: Value, value: Value) -> Result<(), Mismatch> {
        matches(&pattern, &value, &mut Remembered::new())
    }

    #[test]
    fn other_keys_do_not_matter_and_missing_keys_do() {
        assert_eq!(check(json!({"a": 1}), json!({"a": 1, "b": 2})), Ok(()));
        let missing = check(json!({"a": {"b": 1}}), json!({"a": {}})).unwrap_err();
        assert_eq!(missing.to_string(), "at /a/b: expected 1, found nothing");
    }

    #[test]
    fn an_absent_key_is_absent_and_not_null() {
        assert_eq!(check(json!({"seq": "$absent"}), json!({})), Ok(()));
        assert!(check(json!({"seq": "$absent"}), json!({"seq": null})).is_err());
    }

    #[test]
    fn arrays_match_in_length_and_order() {
        assert!(check(json!([1, 2]), json!([1, 2])).is_ok());
        assert!(check(json!([1, 2]), json!([2, 1])).is_err());
        assert!(check(json!([]), json!([1])).is_err());
        assert!(check(json!({"$contains": [2]}), json!([1, 2])).is_ok());
        assert!(check(json!({"$lacks": [2]}), json!([1, 2])).is_err());
    }

    #[test]
    fn a_seq_is_a_positive_integer_that_every_reader_keeps() {
        for good in [json!(1), json!(MAX_SEQ)] {
            assert!(check(json!("$seq"), good).is_ok());
        }
        for bad in [json!(0), json!(-1), json!(1.5), json!("1"), json!(MAX_SEQ + 1)] {
            assert!(check(json!("$seq"), bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_has_one_spelling() {
        for good in ["2026-11-20T23:40:01Z", "2026-11-20T23:40:01.1Z", "2026-11-20T23:40:01.123456Z"] {
            assert!(is_time(good), "{good}");
        }
        for bad in [
            "2026-11-20T23:40:01",
            "2026-11-20T23:40:01+00:00",
            "2026-11-20T23:40:01.1234567Z",
            "2026-11-20T23:40:01.Z",
            "2026-11-20 23:40:01Z",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
    }

    #[test]
    fn a_mistyped_operator_never_matches() {
        assert!(check(json!("$anything"), json!("$anything")).is_err());
        assert!(check(json!({"$contain": [1]}), json!([1])).is_err());
    }

    #[test]
    fn what_is_remembered_can_be_used_later() {
        let mut remembered = Remembered::new();
        matches(&json!({"seq": {"$remember": "first"}}), &json!({"seq": 7}), &mut remembered).unwrap();
        assert_eq!(remembered.get("first"), Some(&json!(7)));
    }
}
