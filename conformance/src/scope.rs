//! What the placeholders of a case stand for. Every run of a case makes its own ids, so that cases do not meet each other's
//! events on a server that lives longer than they do.
//!
//! | placeholder | stands for |
//! |---|---|
//! | `${nonce}` | five characters that no other run of a case has |
//! | `${adw:x}`, `${room:x}`, `${context:x}` | an id of this run; the same name gives the same id |
//! | `${connection:a}`, `${epoch:a}` | what the welcome of client a said |
//! | `${n}` | the count, where a step repeats |
//! | `${filler:1000}` | a text of that many bytes |
//! | `${name}` | a remembered value; a text that is nothing else keeps its type |

use std::collections::BTreeMap;

use serde_json::Value;

/// A placeholder that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the case uses ${{{0}}}, and nothing gave that a value before")]
pub struct Unknown(pub String);

/// The values that placeholders have at one moment of one run.
#[derive(Clone, Debug)]
pub struct Scope {
    nonce: String,
    names: BTreeMap<String, usize>,
    values: BTreeMap<String, Value>,
}

impl Scope {
    /// A scope whose ids all contain `nonce`: five lower-case alphanumerics.
    pub fn new(nonce: String) -> Self {
        Scope { nonce, names: BTreeMap::new(), values: BTreeMap::new() }
    }

    /// The text that every id of this run contains.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Gives a placeholder its value.
    pub fn set(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), value);
    }

    /// Puts values in the place of all placeholders in `value`, keys included.
    ///
    /// # Errors
    /// The first placeholder that has no value.
    pub fn fill(&mut self, value: &Value) -> Result<Value, Unknown> {
        Ok(match value {
            Value::String(text) => self.fill_text(text)?,
            Value::Array(values) => {
                Value::Array(values.iter().map(|value| self.fill(value)).collect::<Result<_, _>>()?)
            }
            Value::Object(keys) => Value::Object(
                keys.iter().map(|(key, value)| Ok((self.text(key)?, self.fill(value)?))).collect::<Result<_, _>>()?,
            ),
            other => other.clone(),
        })
    }

    /// The same for a text that stays one.
    ///
    /// # Errors
    /// The first placeholder that has no value.
    pub fn text(&mut self, text: &str) -> Result<String, Unknown> {
        Ok(match self.fill_text(text)? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    fn fill_text(&mut self, text: &str) -> Result<Value, Unknown> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            let value = self.value(name)?;
            if before.is_empty() && after.is_empty() && filled.is_empty() {
                return Ok(value);
            }
            filled.push_str(before);
            match value {
                Value::String(text) => filled.push_str(&text),
                other => filled.push_str(&other.to_string()),
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(Value::String(filled))
    }

    fn value(&mut self, name: &str) -> Result<Value, Unknown> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let made = match name.split_once(':') {
            _ if name == "nonce" => self.nonce.clone(),
            // Eight alphanumerics, as every ADW id: the nonce and a number for the name.
            Some(("adw", _)) => {
                let number = self.number(name);
                format!("{}{number:03}", self.nonce)
            }
            Some(("filler", length)) => "x".repeat(length.parse().map_err(|_| Unknown(name.to_owned()))?),
            Some((kind @ ("room" | "context"), label)) => format!("conf-{}-{kind}-{label}", self.nonce),
            _ => return Err(Unknown(name.to_owned())),
        };
        Ok(Value::String(made))
    }

    fn number(&mut self, name: &str) -> usize {
        let next = self.names.len();
        *self.names.entry(name.to_owned()).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_name_is_the_same_id_and_another_name_another() {
        let mut scope = Scope::new("abc12".to_owned());
        let ids = scope.fill(&json!(["${adw:a}", "adw:${adw:b}", "${adw:a}"])).unwrap();
        assert_eq!(ids, json!(["abc12000", "adw:abc12001", "abc12000"]));
    }

    #[test]
    fn a_whole_placeholder_keeps_its_type_and_a_part_becomes_text() {
        let mut scope = Scope::new("abc12".to_owned());
        scope.set("first", json!(7));
        assert_eq!(
            scope.fill(&json!({"since": "${first}", "say": "<${first}>"})).unwrap(),
            json!({"since": 7, "say": "<7>"})
        );
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error_that_names_it() {
        let mut scope = Scope::new("abc12".to_owned());
        assert_eq!(scope.fill(&json!("${seq}")).unwrap_err(), Unknown("seq".to_owned()));
    }
}
