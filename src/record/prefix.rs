//! Values of fields in front of each record, for conditional generation: `2022-08-27 jtaylor {"time": ...}`.
//!
//! The layout is each value and one space, then the record. It is that of the seed run, whose records begin with the user's
//! name; a prompt of `\njtaylor ` then asks for a record of that user.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;

/// Stands for a field that is missing, null, empty, or not a plain value.
pub const PLACEHOLDER: &str = "-";

/// Which field, and what becomes of its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prefix {
    /// What `generate --where` calls it.
    name: String,
    field: String,
    transforms: Vec<Transform>,
}

/// One step from a field's value to the prefix; steps apply in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// What stands before the first occurrence of this text; all of it where there is none.
    Before(String),
    /// What stands after the first occurrence of this text; all of it where there is none.
    After(String),
    /// Lower case.
    Lower,
    /// The day of an ISO 8601 time, `2022-08-27`; a value without one counts as missing.
    Date,
}

impl FromStr for Transform {
    type Err = Error;

    /// `before=X`, `after=X`, `lower` or `date`.
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

    /// `[NAME=]PATH[,STEP]...`: a field and what becomes of its value, `user=properties.userPrincipalName,before=@,lower`.
    /// The path is names joined by dots, numbers for array elements; a name that holds dots itself is tried whole. The
    /// name is the path where none is given.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, field) = first.split_once('=').unwrap_or((first, first));
        if name.is_empty() || field.is_empty() {
            return Err(Error::usage(format!(
                "expected [NAME=]PATH[,STEP]... such as user=properties.userPrincipalName,before=@ and found '{text}'"
            )));
        }
        let transforms = parts.map(str::parse).collect::<Result<_>>()?;
        Ok(Self { name: name.into(), field: field.into(), transforms })
    }
}

/// Whether the text is a day of the calendar, `2022-08-27`.
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

    /// Whether its values are days.
    pub fn is_date(&self) -> bool {
        self.transforms.contains(&Transform::Date)
    }

    /// The transformed value of the field in a record; control characters become spaces, an opening brace a parenthesis.
    /// `None` where the value is missing, null, empty, an object or an array.
    pub fn value(&self, record: &Value) -> Option<String> {
        let text = match find(record, &self.field)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        let text = self.transforms.iter().fold(text, |text, step| step.apply(text));
        // The first brace of a record is that of its object.
        let text = text.replace(char::is_control, " ").replace('{', "(");
        Some(text.trim().to_string()).filter(|text| !text.is_empty())
    }
}

/// The values of all prefixes in a record, in their order; none where it lacks one, or all of them where it is no JSON.
pub fn values(prefixes: &[Prefix], record: &[u8]) -> Vec<Option<String>> {
    let json: Value = serde_json::from_slice(record).unwrap_or_default();
    prefixes.iter().map(|prefix| prefix.value(&json)).collect()
}

/// What stands in front of a record with these values: each and a space, a placeholder for what is missing.
pub fn text(values: &[Option<String>]) -> String {
    values.iter().map(|value| value.as_deref().unwrap_or(PLACEHOLDER).to_string() + " ").collect()
}

/// Appends the prefixes of `record` to `out`, each with the space behind it; counts for each whether the record lacks it.
pub fn put(prefixes: &[Prefix], record: &[u8], missing: &mut Vec<u64>, out: &mut Vec<u8>) {
    let values = values(prefixes, record);
    missing.resize(values.len(), 0);
    missing.iter_mut().zip(&values).for_each(|(missing, value)| *missing += u64::from(value.is_none()));
    out.extend_from_slice(text(&values).as_bytes());
}

/// The value at `path`: the longest leading part that is a name is tried first.
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
