//! What the documents of every schema share.

use crate::record::rfc3339;
use crate::stream::Answer;
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// What a document says beside its answer.
pub struct Context<'a> {
    pub model: &'a str,
    /// When the answer was made, in seconds since 1970.
    pub now: f64,
}

impl Context<'_> {
    /// The present as RFC 3339, to the millisecond.
    pub fn now_text(&self) -> String {
        rfc3339((self.now * 1e3).round() / 1e3).expect("the clock shows a year of four digits")
    }
}

/// An answer as our own lines have it, but for the record, which schemas have a place for. What sessions and alerts call by the
/// same names as records is kept apart, since an index gives a name one type.
pub fn members(answer: &Answer) -> Result<Value> {
    let mut value = serde_json::to_value(answer).map_err(Error::failed)?;
    let (name, finding) = match answer {
        Answer::Finding(_) | Answer::Broken(_) => (None, Some(&mut value)),
        Answer::Session(_) => (Some("session"), value.get_mut("worst")),
        Answer::Alert(_) => (Some("alert"), value.get_mut("finding")),
    };
    if let Some(Value::Object(finding)) = finding {
        finding.shift_remove("raw");
    }
    Ok(match name {
        Some(name) => json!({ name: value }),
        None => value,
    })
}

/// An object without members that are null, empty texts, or empty lists and objects.
pub fn filled(value: Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, filled(value)));
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect::<Map<_, _>>())
        }
        value => value,
    }
}
