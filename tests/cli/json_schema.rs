//! A JSON Schema validator (draft 2020-12) for the keywords that the tests use, written apart from the grammar that it judges.
//! An unknown keyword panics: nothing is valid because it was overlooked.

use regex::Regex;
use serde_json::{Map, Value, json};

/// Keywords that say nothing of a value: annotations (also those of one's own, `x-`), and definitions for `$ref`. Formats are annotations unless asked for.
const SILENT: [&str; 3] = ["$schema", "$defs", "format"];

/// Whether `value` fits `schema`.
pub fn is_valid(schema: &Value, value: &Value) -> bool {
    fits(schema, schema, value)
}

/// `root` is the whole document, which references start from.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    match schema {
        Value::Bool(allowed) => *allowed,
        Value::Object(keywords) => keywords.iter().all(|(keyword, operand)| {
            SILENT.contains(&keyword.as_str())
                || keyword.starts_with("x-")
                || any_value(root, keyword, operand, value)
                    .or_else(|| value_of_kind(root, keywords, keyword, operand, value))
                    .unwrap_or_else(|| panic!("the keyword {keyword} is not implemented"))
        }),
        other => panic!("no schema: {other}"),
    }
}

/// Keywords that judge values of any kind; none for another keyword.
fn any_value(root: &Value, keyword: &str, operand: &Value, value: &Value) -> Option<bool> {
    let list = || operand.as_array().expect("a list").iter();
    Some(match keyword {
        "type" => match operand {
            Value::Array(kinds) => kinds.iter().any(|kind| is_a(value, kind)),
            kind => is_a(value, kind),
        },
        "const" => equal(operand, value),
        "enum" => list().any(|member| equal(member, value)),
        "anyOf" => list().any(|schema| fits(root, schema, value)),
        "$ref" => {
            let pointer = operand.as_str().and_then(|reference| reference.strip_prefix('#'));
            let schema = root.pointer(pointer.expect("a reference into this document"));
            fits(root, schema.expect("the reference leads somewhere"), value)
        }
        _ => return None,
    })
}

/// Keywords that judge values of one kind and let all others pass; none for an unknown keyword.
fn value_of_kind(
    root: &Value,
    schema: &Map<String, Value>,
    keyword: &str,
    operand: &Value,
    value: &Value,
) -> Option<bool> {
    let limit = || operand.as_u64().expect("a count") as usize;
    let number = |judge: fn(f64, f64) -> bool| value.as_f64().is_none_or(|x| judge(x, operand.as_f64().unwrap()));
    let text = |judge: &dyn Fn(&str) -> bool| value.as_str().is_none_or(judge);
    let array = |judge: &dyn Fn(&[Value]) -> bool| value.as_array().is_none_or(|items| judge(items));
    let object = |judge: &dyn Fn(&Map<String, Value>) -> bool| value.as_object().is_none_or(judge);
    Some(match keyword {
        "minimum" => number(|x, least| x >= least),
        "maximum" => number(|x, most| x <= most),
        "exclusiveMaximum" => number(|x, above| x < above),
        "multipleOf" => number(|x, step| (x / step).fract() == 0.0),
        "maxLength" => text(&|text| text.chars().count() <= limit()),
        "pattern" => text(&|text| matches(operand.as_str().expect("a pattern"), text)),
        "minItems" => array(&|items| items.len() >= limit()),
        "maxItems" => array(&|items| items.len() <= limit()),
        "items" => array(&|items| items.iter().all(|item| fits(root, operand, item))),
        "minProperties" => object(&|members| members.len() >= limit()),
        "maxProperties" => object(&|members| members.len() <= limit()),
        "required" => object(&|members| {
            let names = operand.as_array().expect("names").iter();
            names.into_iter().all(|name| members.contains_key(name.as_str().expect("a name")))
        }),
        "properties" => object(&|members| {
            let mut schemas = operand.as_object().expect("schemas by name").iter();
            schemas.all(|(name, schema)| members.get(name).is_none_or(|member| fits(root, schema, member)))
        }),
        "patternProperties" => object(&|members| {
            let mut schemas = operand.as_object().expect("schemas by pattern").iter();
            schemas.all(|(pattern, schema)| {
                members.iter().all(|(name, member)| !matches(pattern, name) || fits(root, schema, member))
            })
        }),
        "additionalProperties" => object(&|members| {
            members.iter().all(|(name, member)| is_named(schema, name) || fits(root, operand, member))
        }),
        _ => return None,
    })
}

/// Whether `properties` or `patternProperties` speak of a member of this name.
fn is_named(schema: &Map<String, Value>, name: &str) -> bool {
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    schema.get("properties").is_some_and(|properties| properties.get(name).is_some())
        || patterns.is_some_and(|patterns| patterns.keys().any(|pattern| matches(pattern, name)))
}

fn is_a(value: &Value, kind: &Value) -> bool {
    match kind.as_str().expect("a kind") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|x| x.fract() == 0.0),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no kind: {other}"),
    }
}

/// 1 and 1.0 are the same value, and the order of members does not count.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text)
}

#[test]
fn each_keyword_tells_right_from_wrong() {
    let cases = [
        (json!({ "type": "integer" }), vec![json!(3), json!(3.0)], vec![json!(3.5), json!("3")]),
        (json!({ "type": ["null", "boolean"] }), vec![json!(null), json!(true)], vec![json!(0), json!({})]),
        (json!({ "const": { "a": 1, "b": 2 } }), vec![json!({ "b": 2, "a": 1.0 })], vec![json!({ "a": 1 })]),
        (json!({ "enum": ["x", 7] }), vec![json!(7), json!("x")], vec![json!("7"), json!(null)]),
        (json!({ "minimum": -3, "maximum": 4 }), vec![json!(-3), json!(4), json!("9")], vec![json!(-4), json!(4.5)]),
        (json!({ "exclusiveMaximum": 1, "multipleOf": 0.25 }), vec![json!(0.75)], vec![json!(1), json!(0.3)]),
        (json!({ "maxLength": 2 }), vec![json!("äö"), json!(123)], vec![json!("abc")]),
        (json!({ "pattern": "^[0-9]{2}$" }), vec![json!("12"), json!(1)], vec![json!("123"), json!("x12")]),
        (json!({ "minItems": 1, "maxItems": 2, "items": { "type": "null" } }), vec![json!([null])], {
            vec![json!([]), json!([null, null, null]), json!([1])]
        }),
        (json!({ "minProperties": 1, "maxProperties": 1 }), vec![json!({ "a": 1 })], {
            vec![json!({}), json!({ "a": 1, "b": 2 })]
        }),
        (
            json!({ "required": ["a"], "properties": { "a": false } }),
            vec![json!(1)],
            vec![json!({ "a": 1 }), json!({})],
        ),
        (
            json!({ "properties": { "a": true }, "patternProperties": { "^x": { "const": 1 } }, "additionalProperties": false }),
            { vec![json!({ "a": 0, "x1": 1 }), json!({})] },
            vec![json!({ "b": 0 }), json!({ "x1": 2 })],
        ),
        (
            json!({ "anyOf": [{ "const": 1 }, { "$ref": "#/$defs/two" }], "$defs": { "two": { "const": 2 } } }),
            { vec![json!(1), json!(2)] },
            vec![json!(3)],
        ),
    ];
    for (schema, right, wrong) in cases {
        right.iter().for_each(|value| assert!(is_valid(&schema, value), "{schema} {value}"));
        wrong.iter().for_each(|value| assert!(!is_valid(&schema, value), "{schema} {value}"));
    }
}

#[test]
#[should_panic(expected = "the keyword not is not implemented")]
fn an_unknown_keyword_is_no_verdict() {
    is_valid(&json!({ "not": {} }), &json!(1));
}
