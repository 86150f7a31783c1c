//! Words on the wire that come from a list: open lists, which may grow, and closed ones, which may not.
//!
//! Both kinds are plain JSON strings. An **open** enum keeps a word it does not know as `Other`, so a reader of today
//! carries a value of tomorrow through unharmed; adding a known word is a minor change (VER rules). A **closed** enum
//! refuses what it does not know. Both may read old spellings (`"INFO"` for `"info"`); they only ever write the
//! canonical one. The macros live apart from the payloads because several families use them.

/// Defines an open list of words: known variants, and `Other(String)` for every other word.
///
/// `Variant = "word"` names the canonical spelling; `| "alias"` adds spellings that are read and never written.
macro_rules! open_enum {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal $(| $alias:literal)* ),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $( $(#[doc = $variant_doc])* $variant, )+
            /// A word that this version does not know, kept as it came.
            Other(String),
        }

        impl $name {
            /// The canonical spelling, as it stands on the wire.
            $vis fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $word, )+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $( $word $(| $alias)* => Self::$variant, )+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Ok(Self::from(word.as_ref()))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let known: &[&str] = &[$( $word ),+];
                let description = $crate::event::open::description(
                    &[$( $doc ),*],
                    "Known values, more may come:",
                    &[$( ($word, &[$( $variant_doc ),*] as &[&str]) ),+],
                );
                schemars::json_schema!({ "type": "string", "description": description, "examples": known })
            }
        }
    };
}

/// Defines a closed list of words: a word outside the list is an error that names the allowed ones.
///
/// `Variant = "word"` names the canonical spelling; `| "alias"` adds spellings that are read and never written.
macro_rules! closed_enum {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal $(| $alias:literal)* ),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name {
            $( $(#[doc = $variant_doc])* #[serde(rename = $word $(, alias = $alias)*)] $variant, )+
        }

        impl $name {
            /// The canonical spelling, as it stands on the wire.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words: &[&str] = &[$( $word ),+];
                let description = $crate::event::open::description(
                    &[$( $doc ),*],
                    "Values:",
                    &[$( ($word, &[$( $variant_doc ),*] as &[&str]) ),+],
                );
                schemars::json_schema!({ "type": "string", "description": description, "enum": words })
            }
        }
    };
}

pub(crate) use {closed_enum, open_enum};

/// The largest integer that a JSON reader in a browser represents exactly (2^53 - 1).
pub(crate) const MAX_INTEGER: u64 = crate::id::MAX_SEQ;

/// The schema description of a list of words: the type's own text, then each word with what it means.
pub(crate) fn description(doc: &[&str], heading: &str, words: &[(&str, &[&str])]) -> String {
    let mut text: Vec<String> = vec![joined(doc), String::new(), heading.to_owned()];
    for (word, meaning) in words {
        text.push(format!("- `{word}`: {}", joined(meaning)));
    }
    text.join("\n")
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    open_enum! {
        /// How ripe the fruit is.
        pub(crate) enum Ripeness {
            /// Not yet.
            Green = "green" | "GREEN",
            /// Now.
            Ripe = "ripe",
        }
    }

    closed_enum! {
        /// Which half.
        pub(crate) enum Half {
            /// The left one.
            Left = "left" | "L",
            /// The right one.
            Right = "right",
        }
    }

    #[test]
    fn an_open_list_keeps_a_word_it_does_not_know() {
        let word: Ripeness = serde_json::from_str(r#""over\u0020ripe""#).unwrap();
        assert_eq!(word, Ripeness::Other("over ripe".to_owned()));
        assert_eq!(serde_json::to_string(&word).unwrap(), r#""over ripe""#);
    }

    #[test]
    fn an_old_spelling_is_read_and_the_canonical_one_written() {
        let word: Ripeness = serde_json::from_str(r#""GREEN""#).unwrap();
        assert_eq!(serde_json::to_string(&word).unwrap(), r#""green""#);
        let half: Half = serde_json::from_str(r#""L""#).unwrap();
        assert_eq!(serde_json::to_string(&half).unwrap(), r#""left""#);
    }

    #[test]
    fn a_closed_list_refuses_a_word_it_does_not_know_and_names_the_others() {
        let error = serde_json::from_str::<Half>(r#""middle""#).unwrap_err().to_string();
        assert!(error.contains("left") && error.contains("right"), "{error}");
    }

    #[test]
    fn the_schema_of_a_list_is_a_string_with_every_word_explained() {
        let open = serde_json::to_value(schemars::schema_for!(Ripeness)).unwrap();
        assert_eq!(open["type"], "string");
        assert_eq!(open["examples"], serde_json::json!(["green", "ripe"]));
        assert_eq!(
            open["description"],
            "How ripe the fruit is.\n\nKnown values, more may come:\n- `green`: Not yet.\n- `ripe`: Now."
        );
        let closed = serde_json::to_value(schemars::schema_for!(Half)).unwrap();
        assert_eq!(closed["enum"], serde_json::json!(["left", "right"]));
    }
}
