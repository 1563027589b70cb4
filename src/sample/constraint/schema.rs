//! Prepares a JSON Schema for the grammar compiler, and turns the compiler's errors into messages that name the place.

use crate::{Error, Result};
use serde_json::{Map, Value};

/// Keywords of JSON Schema (drafts 4 to 2020-12) for which there is no grammar. Keywords that the standard does not define are
/// annotations.
const WITHOUT_GRAMMAR: [&str; 18] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];

/// Keywords whose value is schemas by name, a list of schemas, or one schema.
const BY_NAME: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
const LISTED: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
const SINGLE: [&str; 3] = ["items", "additionalItems", "additionalProperties"];

/// Keywords whose integers the grammar compiler stores as 64-bit floats.
const EXACT: [&str; 7] = ["const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];

/// The schema of the records that `schema` allows: an object at the top. `name` is its file, for messages.
/// Errors: not a JSON Schema; one that no object fits; an integer that a 64-bit float cannot represent.
pub fn of_records(schema: Value, name: &str) -> Result<Value> {
    let mut members = match schema {
        Value::Object(members) => members,
        Value::Bool(true) => Map::new(),
        other => {
            let found = if other.is_boolean() { "false, which nothing fits" } else { kind(&other) };
            return Err(Error::failed(format!(
                "{name}: expected a JSON Schema (an object such as {{\"type\": \"object\"}}), found {found}"
            )));
        }
    };
    let allows_object = match members.get("type") {
        None => true,
        Some(Value::String(one)) => one == "object",
        Some(Value::Array(several)) => several.iter().any(|one| one == "object"),
        Some(other) => {
            let found = kind(other);
            return Err(Error::failed(format!("{name}: \"type\" must be a name or a list of names, found {found}")));
        }
    };
    if !allows_object {
        let found = &members["type"];
        return Err(Error::failed(format!(
            "{name}: a record is a JSON object, but at the top level the schema requires {found}; give the schema of one record"
        )));
    }
    members.insert("type".into(), "object".into());
    let schema = Value::Object(members);
    match find(&schema, &|key, value| EXACT.contains(&key) && !is_exact(value)) {
        None => Ok(schema),
        Some((at, _)) => Err(Error::failed(format!(
            "{name}: {at} has an integer beyond 2^53, which the grammar cannot represent exactly; use \"type\": \"integer\" there"
        ))),
    }
}

/// Removes what the model's tokenizer cannot encode: values of an `enum`, and optional properties. What is left allows less, so
/// it still fits the schema. Returns how many were removed.
pub fn drop_unwritable(schema: &mut Value, is_writable: &dyn Fn(&str) -> bool) -> usize {
    let mut dropped = 0;
    let Some(members) = schema.as_object_mut() else { return 0 };
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        let before = values.len();
        values.retain(|value| value.as_str().is_none_or(is_writable));
        dropped += before - values.len();
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        for (_, property) in properties.iter_mut().filter(|(name, _)| !is_writable(name)) {
            *property = false.into();
            dropped += 1;
        }
    }
    let inner: Vec<_> = members.iter_mut().flat_map(|(key, value)| subschemas_mut(key, value)).collect();
    dropped + inner.into_iter().map(|(_, schema)| drop_unwritable(schema, is_writable)).sum::<usize>()
}

/// The compiler's `message` as an error that names the place in the schema, if it can be found.
pub fn refusal(schema: &Value, name: &str, message: &str) -> Error {
    let message = message.replace("<non-verbose/>", "");
    let message = message.split("<backtrace>").next().unwrap_or_default().trim();
    let unsupported = |key: &str, value: &Value| {
        let quoted = value.as_str().is_some_and(|text| !text.is_empty() && message.contains(text));
        match key {
            "format" => quoted && message.contains("format"),
            "type" => quoted && message.contains("Invalid type"),
            "$ref" => quoted,
            "minProperties" | "maxProperties" => message.contains("min/maxProperties"),
            "oneOf" => message.contains("oneOf"),
            key => WITHOUT_GRAMMAR.contains(&key) && message.contains(&format!("\"{key}\"")),
        }
    };
    if let Some((at, key)) = find(schema, &unsupported) {
        return Error::failed(format!(
            "{name}: {at}: there is no grammar for this use of \"{key}\" ({message}); remove it or use other keywords"
        ));
    }
    match find(schema, &|key, value| key == "pattern" && value.as_str().is_some_and(|text| message.contains(text))) {
        Some((at, _)) => Error::failed(format!("{name}: {at}: {message}")),
        None if message.contains("Unsatisfiable") || message.contains("NoExtension") => Error::failed(format!(
            "{name}: no record fits the schema, or the model's tokenizer cannot encode one: {message}"
        )),
        None => Error::failed(format!("{name}: there is no grammar for the schema: {message}")),
    }
}

/// The first keyword that `fits`, as a JSON pointer and by name.
fn find(schema: &Value, fits: &dyn Fn(&str, &Value) -> bool) -> Option<(String, String)> {
    let members = schema.as_object()?;
    for (key, value) in members {
        if fits(key, value) {
            return Some((format!("/{key}"), key.clone()));
        }
        for (step, inner) in subschemas(key, value) {
            if let Some((at, found)) = find(inner, fits) {
                return Some((format!("/{key}{step}{at}"), found));
            }
        }
    }
    None
}

/// The schemas in the value of a keyword, with the steps of a JSON pointer (RFC 6901) that lead to them.
fn subschemas<'a>(key: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    match value {
        Value::Object(named) if BY_NAME.contains(&key) => {
            named.iter().map(|(name, inner)| (format!("/{}", escaped(name)), inner)).collect()
        }
        Value::Array(list) if LISTED.contains(&key) || key == "items" => {
            list.iter().enumerate().map(|(i, inner)| (format!("/{i}"), inner)).collect()
        }
        Value::Object(_) if SINGLE.contains(&key) => vec![(String::new(), value)],
        _ => Vec::new(),
    }
}

/// Like `subschemas`, but mutable.
pub fn subschemas_mut<'a>(key: &str, value: &'a mut Value) -> Vec<(String, &'a mut Value)> {
    if SINGLE.contains(&key) && value.is_object() {
        return vec![(String::new(), value)];
    }
    match value {
        Value::Object(named) if BY_NAME.contains(&key) => {
            named.iter_mut().map(|(name, inner)| (format!("/{}", escaped(name)), inner)).collect()
        }
        Value::Array(list) if LISTED.contains(&key) || key == "items" => {
            list.iter_mut().enumerate().map(|(i, inner)| (format!("/{i}"), inner)).collect()
        }
        _ => Vec::new(),
    }
}

/// A name as a step of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether a 64-bit float can represent every integer in `value`.
fn is_exact(value: &Value) -> bool {
    const MOST: u64 = 1 << 53;
    match value {
        Value::Number(number) => {
            number.as_u64().is_none_or(|whole| whole <= MOST)
                && number.as_i64().is_none_or(|n| n.unsigned_abs() <= MOST)
        }
        Value::Array(list) => list.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        _ => true,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
