//! A field's value in front of each record, for conditional generation: `jtaylor {"time": ...}`.
//!
//! The layout is the value, one space, the record. It is that of the seed run, whose records begin with the user's name;
//! a prompt of `\njtaylor ` then asks for a record of that user.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;

/// Stands for a field that is missing, null, empty, or not a plain value.
const PLACEHOLDER: &str = "-";

/// Which field, and what becomes of its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prefix {
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
}

impl FromStr for Transform {
    type Err = Error;

    /// `before=X`, `after=X` or `lower`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some(("before", mark)) if !mark.is_empty() => Ok(Transform::Before(mark.into())),
            Some(("after", mark)) if !mark.is_empty() => Ok(Transform::After(mark.into())),
            None if text == "lower" => Ok(Transform::Lower),
            _ => Err(Error::usage(format!("expected before=TEXT, after=TEXT or lower, found '{text}'"))),
        }
    }
}

impl Transform {
    fn apply(&self, text: String) -> String {
        match self {
            Transform::Before(mark) => text.split_once(mark.as_str()).map_or(text.as_str(), |(a, _)| a).to_string(),
            Transform::After(mark) => text.split_once(mark.as_str()).map_or(text.as_str(), |(_, b)| b).to_string(),
            Transform::Lower => text.to_lowercase(),
        }
    }
}

impl Prefix {
    /// `field` is a path: names joined by dots, numbers for array elements. A name that holds dots itself is tried whole.
    pub fn new(field: &str, transforms: Vec<Transform>) -> Result<Self> {
        if field.is_empty() {
            return Err(Error::usage("--prefix-field is empty; name a field such as properties.userPrincipalName"));
        }
        Ok(Self { field: field.into(), transforms })
    }

    pub fn field(&self) -> &str {
        &self.field
    }

    /// The transformed value of the field in a JSON `record`; control characters become spaces.
    /// `None` where the record is not JSON or the value is missing, null, empty, an object or an array.
    pub fn value(&self, record: &[u8]) -> Option<String> {
        let json: Value = serde_json::from_slice(record).ok()?;
        let text = match find(&json, &self.field)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        let text = self.transforms.iter().fold(text, |text, step| step.apply(text));
        let text = text.replace(char::is_control, " ");
        Some(text.trim().to_string()).filter(|text| !text.is_empty())
    }

    /// Appends the prefix of `record` and the space behind it to `out`; says whether the record has the field.
    pub(crate) fn put(&self, record: &[u8], out: &mut Vec<u8>) -> bool {
        let value = self.value(record);
        out.extend_from_slice(value.as_deref().unwrap_or(PLACEHOLDER).as_bytes());
        out.push(b' ');
        value.is_some()
    }

    /// A prefixed JSON record's two parts: the prefix, and the record from its opening brace.
    pub fn split(record: &[u8]) -> Option<(&[u8], &[u8])> {
        let at = record.windows(2).position(|pair| pair == b" {")?;
        Some((&record[..at], &record[at + 1..]))
    }
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
        let transforms = steps.iter().map(|s| s.parse().unwrap()).collect();
        Prefix::new(field, transforms).unwrap().value(record.as_bytes())
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
        for wrong in ["before=", "upper", "lower=x", "after"] {
            assert!(wrong.parse::<Transform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prefixed_record_splits_at_its_brace() {
        assert_eq!(Prefix::split(b"Joseph Taylor {\"a\":1}"), Some((&b"Joseph Taylor"[..], &b"{\"a\":1}"[..])));
        assert_eq!(Prefix::split(b"plain"), None);
    }
}
