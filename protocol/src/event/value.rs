//! A member that may hold any JSON value, in the form of whoever made it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Any JSON value but null, which means absent everywhere in this protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AnyValue(Value);

impl AnyValue {
    /// The value; `None` for null.
    pub fn new(value: Value) -> Option<Self> {
        (!value.is_null()).then_some(Self(value))
    }

    /// The value.
    pub fn as_value(&self) -> &Value {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Value::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("null is not a value here"))
    }
}

impl schemars::JsonSchema for AnyValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "Any JSON value but null." })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_value_is_kept_as_it_is_and_null_is_none() {
        for value in [json!("x"), json!({ "a": [null] }), json!([]), json!(false), json!(0.5)] {
            let read: AnyValue = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), value);
        }
        assert!(serde_json::from_str::<AnyValue>("null").is_err());
        assert_eq!(serde_json::from_str::<Option<AnyValue>>("null").unwrap(), None);
    }
}
