//! Says in the words of the grammar compiler what a JSON Schema says in words that the compiler takes differently: patterns of
//! ECMA-262, formats, and counts that are written as `2.0`.

use super::ecma;
use super::schema::subschemas_mut;
use crate::{Error, Result};
use serde_json::{Value, json};

/// Keywords whose value is a count.
const COUNTS: [&str; 6] = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];

/// Rewrites a schema and those within it. `name` is its file, for messages.
///
/// Errors: a pattern that the grammar has no word for.
pub fn translate(schema: &mut Value, name: &str) -> Result<()> {
    inner(schema, name, "")
}

fn inner(schema: &mut Value, name: &str, pointer: &str) -> Result<()> {
    let Some(keywords) = schema.as_object_mut() else { return Ok(()) };
    let translated = |pattern: &str, key: &str| {
        ecma::translate(pattern).map_err(|reason| {
            Error::failed(format!(
                "{name}: {pointer}/{key}: there is no grammar for the pattern {pattern}: {reason}; write it otherwise"
            ))
        })
    };
    for key in COUNTS {
        if let Some(count) = keywords.get_mut(key)
            && let Some(whole) = count.as_f64().filter(|count| count.fract() == 0.0 && *count >= 0.0)
        {
            *count = json!(whole as u64);
        }
    }
    if let Some(Value::String(pattern)) = keywords.get_mut("pattern") {
        *pattern = translated(pattern, "pattern")?;
    }
    if let Some(Value::Object(patterns)) = keywords.get_mut("patternProperties") {
        let old = std::mem::take(patterns);
        for (pattern, property) in old {
            patterns.insert(translated(&pattern, "patternProperties")?, property);
        }
    }
    let format = keywords.get("format").and_then(Value::as_str).and_then(pattern_of);
    if let Some(pattern) = format {
        keywords.remove("format");
        let pattern = format!("^({pattern})$");
        match keywords.get_mut("allOf") {
            Some(Value::Array(all)) => all.push(json!({ "pattern": pattern })),
            _ => drop(keywords.insert("allOf".into(), json!([{ "pattern": pattern }]))),
        }
    }
    for (key, value) in keywords.iter_mut() {
        // The pattern of a format is translated too, which changes nothing.
        for (step, schema) in subschemas_mut(key, value) {
            inner(schema, name, &format!("{pointer}/{key}{step}"))?;
        }
    }
    Ok(())
}

/// A pattern for a format, in the dialect of the grammar: a part of what the format allows that no reader of it refuses.
fn pattern_of(format: &str) -> Option<String> {
    // Without February 29 of other years and without the year 0, which some calendars lack.
    let year = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})";
    let fourth = "(0[48]|[2468][048]|[13579][26])";
    let days = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])";
    let date = format!("({year}-({days})|([0-9]{{2}}{fourth}|{fourth}00)-02-29)");
    // Without the second 60, which is right at midnight in Greenwich alone.
    let time = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?([zZ]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    // At most 63 characters a label and 253 in all; no `--`, which announces an encoding, and no number at the end, which
    // would be an address.
    let label = "[A-Za-z0-9]{1,16}(-[A-Za-z0-9]{1,15}){0,2}";
    let host = format!(r"({label}\.){{0,3}}[A-Za-z][A-Za-z0-9]{{0,15}}(-[A-Za-z0-9]{{1,15}}){{0,2}}");
    match format {
        "date" => Some(date),
        "time" => Some(time.to_string()),
        "date-time" => Some(format!("{date}[tT]{time}")),
        "hostname" => Some(host),
        "email" => Some(format!(r"[A-Za-z0-9_+-]{{1,20}}(\.[A-Za-z0-9_+-]{{1,20}}){{0,2}}@{host}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn is_match(format: &str, text: &str) -> bool {
        Regex::new(&format!("^({})$", pattern_of(format).unwrap())).unwrap().is_match(text)
    }

    #[test]
    fn formats_are_those_of_the_calendar_and_of_hosts() {
        for (format, fits, differs) in [
            ("date", "2020-02-29", "2021-02-29"),
            ("date", "2000-02-29", "1900-02-29"),
            ("date", "2021-12-31", "2021-11-31"),
            ("date", "0001-01-01", "0000-01-01"),
            ("time", "23:59:59.5+01:00", "23:59:60Z"),
            ("date-time", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z"),
            ("hostname", "mail-1.example.org", "-a.org"),
            ("hostname", "a.b", "xn--a.org"),
            ("hostname", "a1", "10.0.0.1"),
            ("email", "a.b@example.org", "a..b@example.org"),
        ] {
            assert!(is_match(format, fits) && !is_match(format, differs), "{format}: {fits} {differs}");
        }
    }

    #[test]
    fn schemas_are_rewritten_at_any_depth() {
        let mut schema = json!({
            "properties": { "a": { "maxLength": 2.0, "items": [{ "pattern": "\\d" }] }, "d": { "format": "date" } },
            "patternProperties": { "^\\w": { "minItems": 1.0, "format": "ipv4" } },
        });
        translate(&mut schema, "s.json").unwrap();
        assert_eq!(schema["properties"]["a"], json!({ "maxLength": 2, "items": [{ "pattern": "[0-9]" }] }));
        assert_eq!(schema["patternProperties"], json!({ "^[0-9A-Za-z_]": { "minItems": 1, "format": "ipv4" } }));
        assert!(schema["properties"]["d"]["allOf"][0]["pattern"].as_str().unwrap().contains("-02-29"));
        let mut wrong = json!({ "properties": { "a": { "pattern": "\\bx" } } });
        let message = translate(&mut wrong, "s.json").unwrap_err().to_string();
        assert!(message.starts_with("s.json: /properties/a/pattern: ") && message.contains("\\b"), "{message}");
    }
}
