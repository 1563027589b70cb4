//! Puts values of fields in front of each record, for conditional generation: `2022-08-27 jtaylor {"time": ...}`.
//!
//! The prefix is each value followed by one space. A prompt such as `\njtaylor ` then asks the model for a record of that
//! user.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;

/// Replaces the value of a field that is missing, null, empty, or not a plain value.
pub const PLACEHOLDER: &str = "-";

/// A field whose transformed value is part of the prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prefix {
    /// The name of the prefix in `generate --where`.
    name: String,
    field: String,
    transforms: Vec<Transform>,
}

/// One step that transforms a field's value; steps apply in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// Keeps what precedes the first occurrence of this text, or everything if the text does not occur.
    Before(String),
    /// Keeps what follows the first occurrence of this text, or everything if the text does not occur.
    After(String),
    /// Converts to lower case.
    Lower,
    /// Keeps the day of an ISO 8601 time, `2022-08-27`; a value without a day counts as missing.
    Date,
}

impl FromStr for Transform {
    type Err = Error;

    /// Parses `before=TEXT`, `after=TEXT`, `lower` or `date`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some(("before", mark)) if !mark.is_empty() => Ok(Transform::Before(mark.into())),
            Some(("after", mark)) if !mark.is_empty() => Ok(Transform::After(mark.into())),
            None if text == "lower" => Ok(Transform::Lower),
            None if text == "date" => Ok(Transform::Date),
            _ => Err(Error::usage(format!("expected before=TEXT, after=TEXT, lower or date, found '{text}'"))),
        }
    }
}

impl Transform {
    fn apply(&self, text: String) -> String {
        match self {
            Transform::Before(mark) => text.split_once(mark.as_str()).map_or(text.as_str(), |(a, _)| a).to_string(),
            Transform::After(mark) => text.split_once(mark.as_str()).map_or(text.as_str(), |(_, b)| b).to_string(),
            Transform::Lower => text.to_lowercase(),
            Transform::Date => text.get(..10).filter(|day| is_date(day)).unwrap_or_default().to_string(),
        }
    }
}

impl FromStr for Prefix {
    type Err = Error;

    /// Parses `[NAME=]PATH[,STEP]...`, a field and the steps that transform its value, such as
    /// `user=properties.userPrincipalName,before=@,lower`. The path is names joined by dots, with numbers for array
    /// elements; a name may contain dots itself. Without NAME, the path is the name.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, field) = first.split_once('=').unwrap_or((first, first));
        if name.is_empty() || field.is_empty() {
            return Err(Error::usage(format!(
                "expected [NAME=]PATH[,STEP]... such as user=properties.userPrincipalName,before=@, found '{text}'"
            )));
        }
        let transforms = parts.map(str::parse).collect::<Result<_>>()?;
        Ok(Self { name: name.into(), field: field.into(), transforms })
    }
}

/// Whether the text is a calendar day such as `2022-08-27`.
fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok()
}

impl Prefix {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn field(&self) -> &str {
        &self.field
    }

    pub(super) fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// Whether the values of this prefix are days.
    pub fn is_date(&self) -> bool {
        self.transforms.contains(&Transform::Date)
    }

    /// A record for which this prefix has the value: its field contains the value, and what the steps would cut off.
    pub fn record_of(&self, value: &str) -> Value {
        let text = self.transforms.iter().rev().fold(value.to_string(), |text, step| match step {
            Transform::Before(mark) => format!("{text}{mark}x"),
            Transform::After(mark) => format!("x{mark}{text}"),
            Transform::Lower | Transform::Date => text,
        });
        self.field.rsplit('.').fold(Value::from(text), |inner, name| match name.parse::<u8>() {
            Ok(number) => Value::from(vec![inner; usize::from(number) + 1]),
            Err(_) => serde_json::json!({ name: inner }),
        })
    }

    /// The transformed value of the field in a record. Control characters become spaces, and an opening brace becomes a
    /// parenthesis. `None` if the value is missing, null, empty, an object or an array.
    pub fn value(&self, record: &Value) -> Option<String> {
        let text = match find(record, &self.field)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        let text = self.transforms.iter().fold(text, |text, step| step.apply(text));
        // The first brace of a record must be that of its object.
        let text = text.replace(char::is_control, " ").replace('{', "(");
        Some(text.trim().to_string()).filter(|text| !text.is_empty())
    }
}

/// The values of all prefixes in a record, in order: `None` for each field that the record lacks, and for all of them if the
/// record is not JSON.
pub fn values(prefixes: &[Prefix], record: &[u8]) -> Vec<Option<String>> {
    let json: Value = serde_json::from_slice(record).unwrap_or_default();
    prefixes.iter().map(|prefix| prefix.value(&json)).collect()
}

/// The prefix of a record with these values: each value, or the placeholder, followed by a space.
pub fn text(values: &[Option<String>]) -> String {
    values.iter().map(|value| value.as_deref().unwrap_or(PLACEHOLDER).to_string() + " ").collect()
}

/// Appends the prefix of `record` to `out`, and adds to `missing` which of its fields the record lacks.
pub fn put(prefixes: &[Prefix], record: &[u8], missing: &mut Vec<u64>, out: &mut Vec<u8>) {
    let values = values(prefixes, record);
    missing.resize(values.len(), 0);
    missing.iter_mut().zip(&values).for_each(|(missing, value)| *missing += u64::from(value.is_none()));
    out.extend_from_slice(text(&values).as_bytes());
}

/// The value at `path`; the longest leading part of the path that is a name is tried first.
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = step(value, path) {
        return Some(found);
    }
    let dots = path.rmatch_indices('.');
    dots.filter_map(|(at, _)| find(step(value, &path[..at])?, &path[at + 1..])).next()
}

fn step<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(field: &str, steps: &[&str], record: &str) -> Option<String> {
        let prefix = [&[field], steps].concat().join(",").parse().unwrap();
        values(&[prefix], record.as_bytes()).remove(0)
    }

    #[test]
    fn paths_reach_names_indexes_and_dotted_names() {
        let record = r#"{"a":{"b":"x","c.d":["y",{"e":7}]},"f.g":true,"n":null,"o":{}}"#;
        assert_eq!(value("a.b", &[], record).as_deref(), Some("x"));
        assert_eq!(value("a.c.d.0", &[], record).as_deref(), Some("y"));
        assert_eq!(value("a.c.d.1.e", &[], record).as_deref(), Some("7"));
        assert_eq!(value("f.g", &[], record).as_deref(), Some("true"));
        for missing in ["a", "a.x", "n", "o", "a.c.d.2"] {
            assert_eq!(value(missing, &[], record), None, "{missing}");
        }
        assert_eq!(value("a", &[], "plain text"), None);
    }

    #[test]
    fn a_record_of_a_value_has_it() {
        for prefix in ["u", "u=a.b.2.c,before=@", "a.0,after=@,lower", "d=t,date", "a.b,after=\\,before=@"] {
            let prefix: Prefix = prefix.parse().unwrap();
            let record = prefix.record_of("2022-08-27");
            assert_eq!(prefix.value(&record).as_deref(), Some("2022-08-27"), "{record}");
        }
    }

    #[test]
    fn transforms_compose_in_order() {
        let record = r#"{"u":"CORP\\J.Taylor@Example.com"}"#;
        assert_eq!(value("u", &["before=@", "after=\\", "lower"], record).as_deref(), Some("j.taylor"));
        assert_eq!(value("u", &["before=#"], record).as_deref(), Some("CORP\\J.Taylor@Example.com"));
        assert_eq!(value("u", &["before=CORP"], record), None, "an empty value is a missing one");
        assert_eq!(value("u", &[], "{\"u\":\"a\\nb\"}").as_deref(), Some("a b"), "no newline gets into a record");
        assert_eq!(value("u", &[], r#"{"u":"a {b"}"#).as_deref(), Some("a (b"), "nor a brace before it");
        for wrong in ["before=", "upper", "lower=x", "after"] {
            assert!(wrong.parse::<Transform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_are_cut_from_times() {
        assert_eq!(value("t", &["date"], r#"{"t":"2022-08-27T00:59:39.18Z"}"#).as_deref(), Some("2022-08-27"));
        for wrong in ["27 Aug 2022", "2022-13-27T00", "2022-8-7", ""] {
            assert_eq!(value("t", &["date"], &format!("{{\"t\":\"{wrong}\"}}")), None, "{wrong}");
        }
    }

    #[test]
    fn several_values_stand_in_a_row_with_placeholders() {
        let prefixes: Vec<Prefix> = ["day=t,date", "user=u,before=@", "x"].map(|text| text.parse().unwrap()).into();
        assert_eq!(prefixes.iter().map(Prefix::name).collect::<Vec<_>>(), ["day", "user", "x"]);
        let found = values(&prefixes, br#"{"t":"2022-08-27T00","u":"al@b"}"#);
        assert_eq!(text(&found), "2022-08-27 al - ");
        assert_eq!(text(&values(&prefixes, b"plain")), "- - - ");
        for wrong in ["", "=x", "name=", "a,upper"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }
}
