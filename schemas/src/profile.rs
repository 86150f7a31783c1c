//! What is done to schemars' output so that every generator downstream understands it.
//!
//! Measured with json-schema-to-typescript, quicktype, datamodel-code-generator and Ajv in strict mode: they agree on
//! plain objects, `oneOf` of pure references, `const` and `enum`, and disagree on nearly everything else. So each
//! definition is brought into that form here, in one pass, and [`crate::lint`] proves on the result that it is. The
//! rules' reasons and their ids stand in schemas/README.md; they are `SCHEMA-01` to `SCHEMA-12`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Definitions by name, in order of name (SCHEMA-01).
pub type Definitions = BTreeMap<String, Value>;

/// The largest integer that a JavaScript number holds exactly, 2^53 - 1 (SCHEMA-06).
pub const MAX_INTEGER: u64 = eventwire_protocol::id::MAX_SEQ;

/// Several plain JSON kinds as one type, which standard tools can only be told by named alternatives.
struct Union {
    name: &'static str,
    description: &'static str,
    /// Name, description and `type` of each alternative.
    alternatives: &'static [(&'static str, &'static str, &'static str)],
}

const CLIENT_TIME: Union = Union {
    name: "ClientTime",
    description: "A number or a text, whatever suits the sender.",
    alternatives: &[("ClientTimeNumber", "Any number.", "number"), ("ClientTimeText", "Any text.", "string")],
};

const ANY_VALUE: Union = Union {
    name: "AnyValue",
    description: "Any JSON value but null.",
    alternatives: &[
        ("AnyObject", "Any object.", "object"),
        ("AnyArray", "Any array.", "array"),
        ("AnyText", "Any text.", "string"),
        ("AnyNumber", "Any number.", "number"),
        ("AnyBoolean", "True or false.", "boolean"),
    ],
};

/// Members of two kinds: definition, member, union.
const MIXED: &[(&str, &str, &Union)] =
    &[("ConnectionPongData", "client_time", &CLIENT_TIME), ("PingCommandData", "client_time", &CLIENT_TIME)];

/// Brings a set of definitions into the profile.
///
/// `rename` gives the published name of a definition; references follow. Names of which it has nothing to say stay.
pub fn conform(definitions: &Map<String, Value>, rename: &BTreeMap<String, String>) -> Definitions {
    let named = |name: &str| rename.get(name).map_or(name, String::as_str).to_owned();
    let mut conformed = Definitions::new();
    for (name, definition) in definitions {
        let name = named(name);
        let mut definition = definition.clone();
        rename_references(&mut definition, &named);
        schema(&mut definition);
        if let Value::Object(members) = &mut definition {
            members.insert("title".to_owned(), Value::from(name.as_str()));
        }
        in_order(&mut definition);
        conformed.insert(name, definition);
    }
    for (name, member, union) in MIXED {
        let place = format!("/properties/{member}");
        if let Some(mixed) = conformed.get_mut(*name).and_then(|it| it.pointer_mut(&place)) {
            refer_to_union(mixed, union.name);
            conformed.extend(union_definitions(union));
        }
    }
    if conformed.contains_key(ANY_VALUE.name) {
        conformed.extend(union_definitions(&ANY_VALUE));
    }
    conformed
}

/// A reference to a definition of the same file.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// The definition that a pure reference names.
pub fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// Every definition that `from` needs, directly or through others.
pub fn closure(from: &Value, definitions: &Definitions) -> Definitions {
    let mut needed = Definitions::new();
    let mut open = references(from);
    while let Some(name) = open.pop() {
        if needed.contains_key(&name) {
            continue;
        }
        if let Some(definition) = definitions.get(&name) {
            open.extend(references(definition));
            needed.insert(name, definition.clone());
        }
    }
    needed
}

/// The names of all definitions that are referred to inside of a schema.
pub fn references(schema: &Value) -> Vec<String> {
    let mut found: Vec<String> = referred(schema).map(str::to_owned).into_iter().collect();
    match schema {
        Value::Object(members) => found.extend(members.values().flat_map(references)),
        Value::Array(items) => found.extend(items.iter().flat_map(references)),
        _ => {}
    }
    found
}

fn rename_references(schema: &mut Value, named: &dyn Fn(&str) -> String) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{}", named(name));
            }
            members.values_mut().for_each(|it| rename_references(it, named));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| rename_references(it, named)),
        _ => {}
    }
}

/// The order of keywords in a published schema: what a person wants to know first.
const ORDER: &[&str] = &[
    "title",
    "description",
    "$ref",
    "oneOf",
    "type",
    "const",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "properties",
    "required",
    "additionalProperties",
    "items",
];

/// Puts the keywords of a schema, and of those inside of it, into [`ORDER`]; others follow as they were.
fn in_order(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    for inner in inner_schemas(members) {
        in_order(inner);
    }
    let mut rest = std::mem::take(members);
    for keyword in ORDER {
        if let Some(value) = rest.shift_remove(*keyword) {
            members.insert((*keyword).to_owned(), value);
        }
    }
    members.extend(rest);
}

/// The schemas directly inside of one.
fn inner_schemas(members: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    members.iter_mut().flat_map(|(keyword, value)| -> Vec<&mut Value> {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(inner)) => inner.values_mut().collect(),
            ("items" | "additionalProperties", inner) => vec![inner],
            _ => Vec::new(),
        }
    })
}

/// Doc comments are broken into lines for the source; a reader's page is as wide as it is. Blank lines and list items
/// stay.
fn unwrap_description(members: &mut Map<String, Value>) {
    let Some(Value::String(text)) = members.get_mut("description") else { return };
    let mut unwrapped = String::new();
    for line in text.lines().map(str::trim) {
        let continues =
            !unwrapped.is_empty() && !unwrapped.ends_with('\n') && !line.is_empty() && !line.starts_with("- ");
        if continues {
            unwrapped.push(' ');
        } else if !unwrapped.is_empty() {
            unwrapped.push('\n');
        }
        unwrapped.push_str(line);
    }
    *text = unwrapped;
}

/// Brings one schema, and those inside of it, into the profile.
fn schema(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    drop_null_from_optional_members(members);
    words_to_enum(members);
    bound_integer(members);
    // Defaults say what a reader does with an absent member; here absent means absent.
    members.shift_remove("default");
    unwrap_description(members);
    for inner in inner_schemas(members) {
        self::schema(inner);
    }
    free_reference(members);
}

/// SCHEMA-04: `Option` with a skipped `None` is an optional member, never a null one.
fn drop_null_from_optional_members(members: &mut Map<String, Value>) {
    let required: Vec<String> = members
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect())
        .unwrap_or_default();
    let Some(Value::Object(properties)) = members.get_mut("properties") else { return };
    for (name, property) in properties.iter_mut() {
        if !required.contains(name) {
            drop_null(property);
        }
    }
}

fn drop_null(property: &mut Value) {
    let Value::Object(members) = property else { return };
    if let Some(Value::Array(kinds)) = members.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            members.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(alternatives)) = members.get("anyOf")
        && let [only] = alternatives
            .iter()
            .filter(|it| it.get("type").is_none_or(|kind| kind != "null"))
            .collect::<Vec<_>>()
            .as_slice()
        && let Value::Object(inner) = (*only).clone()
    {
        members.shift_remove("anyOf");
        members.extend(inner);
    }
}

/// SCHEMA-03: a list of words is one `enum`; what each word means goes into the description.
fn words_to_enum(members: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = members.get("oneOf") else { return };
    let words: Option<Vec<(String, Option<String>)>> = alternatives
        .iter()
        .map(|it| {
            let text = |key: &str| Some(it.get(key)?.as_str()?.to_owned());
            Some((text("const")?, text("description")))
        })
        .collect();
    let Some(words) = words.filter(|words| !words.is_empty()) else { return };
    let mut description = members.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    description.push_str("\n\nValues:");
    for (word, meaning) in &words {
        let meaning = meaning.as_deref().unwrap_or_default().replace('\n', " ");
        description.push_str(&format!("\n- `{word}`: {meaning}"));
    }
    members.shift_remove("oneOf");
    members.insert("type".to_owned(), Value::from("string"));
    members.insert("description".to_owned(), Value::from(description.trim_start().to_owned()));
    members.insert("enum".to_owned(), words.into_iter().map(|(word, _)| Value::from(word)).collect());
}

/// SCHEMA-06: integers within what every JSON reader holds exactly, and no format that only Rust knows.
fn bound_integer(members: &mut Map<String, Value>) {
    let format = members
        .get("format")
        .and_then(Value::as_str)
        .filter(|format| !STANDARD_FORMATS.contains(format))
        .map(str::to_owned);
    if format.is_some() {
        members.shift_remove("format");
    }
    if members.get("type").is_none_or(|kind| kind != "integer") {
        return;
    }
    // EVT-08: the very bounds that admission keeps.
    let (least, most) = eventwire_protocol::bounds::of_integers(format.as_deref());
    members.entry("minimum").or_insert(json!(least));
    members.entry("maximum").or_insert(json!(most));
}

/// Formats of the standard vocabulary that are in use; all else makes strict validators refuse the schema.
pub const STANDARD_FORMATS: &[&str] = &["date-time"];

/// SCHEMA-03: a reference stands alone. One with a description beside it becomes the only member of a union, which
/// generators read as the named type itself and keep the description.
fn free_reference(members: &mut Map<String, Value>) {
    if members.len() > 1
        && let Some(target) = members.shift_remove("$ref")
    {
        members.insert("oneOf".to_owned(), json!([{ "$ref": target }]));
    }
}

fn refer_to_union(mixed: &mut Value, union: &str) {
    if let Value::Object(members) = mixed {
        members.insert("oneOf".to_owned(), json!([reference(union)]));
    } else {
        *mixed = reference(union);
    }
}

/// A union and its alternatives, as named definitions.
fn union_definitions(union: &Union) -> impl Iterator<Item = (String, Value)> {
    let alternatives: Vec<Value> = union.alternatives.iter().map(|(name, ..)| reference(name)).collect();
    let whole = json!({ "title": union.name, "description": union.description, "oneOf": alternatives });
    let each = |(name, description, kind): &(&str, &str, &str)| {
        let mut one = json!({ "title": name, "description": description, "type": kind });
        // Free form says so; an object that does not holds what it names and nothing else.
        if let Some(members) = one.as_object_mut().filter(|_| *kind == "object") {
            members.insert("additionalProperties".to_owned(), Value::Bool(true));
        }
        ((*name).to_owned(), one)
    };
    std::iter::once((union.name.to_owned(), whole)).chain(union.alternatives.iter().map(each))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conformed(definition: Value) -> Value {
        let definitions = Map::from_iter([("Thing".to_owned(), definition)]);
        conform(&definitions, &BTreeMap::new()).remove("Thing").unwrap()
    }

    #[test]
    fn schema_04_an_optional_member_is_not_null() {
        let thing = conformed(json!({
            "type": "object",
            "properties": {
                "a": { "type": ["string", "null"], "default": null },
                "b": { "anyOf": [{ "$ref": "#/$defs/Other" }, { "type": "null" }], "description": "B." },
                "c": { "type": ["string", "null"] },
            },
            "required": ["c"],
        }));
        assert_eq!(thing["properties"]["a"], json!({ "type": "string" }));
        assert_eq!(thing["properties"]["b"], json!({ "description": "B.", "oneOf": [{ "$ref": "#/$defs/Other" }] }));
        // A required member whose value may be null says so: here null is a value.
        assert_eq!(thing["properties"]["c"], json!({ "type": ["string", "null"] }));
    }

    #[test]
    fn a_description_keeps_its_paragraphs_and_lists_and_loses_its_line_breaks() {
        let thing =
            conformed(json!({ "description": "One\nsentence.\n\nValues:\n- `a`: first,\n  broken\n- `b`: second" }));
        assert_eq!(thing["description"], "One sentence.\n\nValues:\n- `a`: first, broken\n- `b`: second");
    }

    #[test]
    fn schema_03_words_with_meanings_become_one_enum() {
        let thing = conformed(json!({
            "description": "Why.",
            "oneOf": [
                { "type": "string", "const": "late", "description": "Too late." },
                { "type": "string", "const": "lost", "description": "Never\ncame." },
            ],
        }));
        assert_eq!(thing["enum"], json!(["late", "lost"]));
        assert_eq!(thing["description"], "Why.\n\nValues:\n- `late`: Too late.\n- `lost`: Never came.");
        assert_eq!(thing.get("oneOf"), None);
    }

    #[test]
    fn schema_06_integers_are_bounded_and_rust_formats_go() {
        let thing = conformed(json!({ "type": "object", "properties": {
            "free": { "type": "integer", "format": "uint64", "minimum": 0 },
            "signed": { "type": "integer", "format": "int64" },
            "bounded": { "type": "integer", "minimum": 1, "maximum": 9 },
            "share": { "type": "number", "format": "double" },
            "at": { "type": "string", "format": "date-time" },
        }}));
        let of = |name: &str| thing["properties"][name].clone();
        assert_eq!(of("free"), json!({ "type": "integer", "minimum": 0, "maximum": MAX_INTEGER }));
        assert_eq!(of("signed")["minimum"], json!(-9_007_199_254_740_991_i64));
        assert_eq!(of("bounded"), json!({ "type": "integer", "minimum": 1, "maximum": 9 }));
        assert_eq!(of("share"), json!({ "type": "number" }));
        assert_eq!(of("at"), json!({ "type": "string", "format": "date-time" }));
    }

    #[test]
    fn schema_04_a_member_of_any_value_is_one_of_the_named_kinds() {
        let definitions = Map::from_iter([("AnyValue".to_owned(), json!({ "description": "Any." }))]);
        let conformed = conform(&definitions, &BTreeMap::new());
        let kinds: Vec<&str> =
            references(&conformed["AnyValue"]).iter().map(|name| conformed[name]["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["object", "array", "string", "number", "boolean"]);
    }

    #[test]
    fn references_follow_a_new_name_and_stay_pure() {
        let definitions = Map::from_iter([
            ("Reply".to_owned(), json!({ "type": "object" })),
            (
                "Outer".to_owned(),
                json!({ "properties": {
                    "plain": { "$ref": "#/$defs/Reply" },
                    "told": { "$ref": "#/$defs/Reply", "description": "Told." },
                }}),
            ),
        ]);
        let rename = BTreeMap::from([("Reply".to_owned(), "ConnectionReplyData".to_owned())]);
        let conformed = conform(&definitions, &rename);
        assert_eq!(conformed["ConnectionReplyData"]["title"], "ConnectionReplyData");
        let outer = &conformed["Outer"]["properties"];
        assert_eq!(outer["plain"], reference("ConnectionReplyData"));
        assert_eq!(outer["told"], json!({ "description": "Told.", "oneOf": [reference("ConnectionReplyData")] }));
    }

    #[test]
    fn the_closure_holds_what_is_needed_and_nothing_else() {
        let definitions = Definitions::from([
            ("A".to_owned(), reference("B")),
            ("B".to_owned(), json!({ "items": reference("B") })),
            ("C".to_owned(), json!({})),
        ]);
        let needed: Vec<_> = closure(&reference("A"), &definitions).into_keys().collect();
        assert_eq!(needed, ["A", "B"]);
    }
}
