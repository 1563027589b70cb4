//! Answers as other tools read them: our own JSON lines, Elastic Common Schema, or OCSF Detection Findings.
//!
//! ```text
//! answer -> summary (verdict, risk, words) -> ecs | ocsf
//! ```
//!
//! A schema's own members hold what it has names for; everything else stays as it is in our own lines, in one place (`logwright`
//! in ECS, `unmapped` in OCSF). Each document names the version of its schema.

mod ecs;
mod ocsf;
mod risk;
mod summary;

use crate::record::rfc3339;
use crate::stream::Answer;
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// The schema of printed answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Schema {
    /// Our own: see Findings in docs/files.md
    #[default]
    Jsonl,
    /// Elastic Common Schema 9.4: alerts, events and pipeline errors
    Ecs,
    /// OCSF 1.8: Detection Findings (class 2004), and Base Events for lines that are no records
    Ocsf,
}

/// Writes answers as lines of one schema.
#[derive(Clone, Debug)]
pub struct Writer {
    schema: Schema,
    /// The name of the model, which documents of other schemas hold.
    model: String,
    /// The members, from the outside, that each document is put into.
    under: Vec<String>,
}

/// What a document says beside its answer.
struct Context<'a> {
    model: &'a str,
    /// When the answer was made, in seconds since 1970.
    now: f64,
}

impl Writer {
    pub fn new(schema: Schema, model: &str) -> Self {
        Writer { schema, model: model.to_string(), under: Vec::new() }
    }

    /// Each document becomes the value of a member; dots in its name part it into members of members.
    ///
    /// Errors: a name with an empty part.
    pub fn under(self, name: &str) -> Result<Self> {
        let under: Vec<String> = name.split('.').map(str::to_string).collect();
        match under.iter().any(String::is_empty) {
            true => Err(Error::usage(format!(
                "--under {name:?}: expected the name of a member, or names joined by dots such as '$!.logwright', found an empty name"
            ))),
            false => Ok(Writer { under, ..self }),
        }
    }

    /// Whether users, addresses, hosts and hashes have a place in the schema.
    pub fn shows_entities(&self) -> bool {
        self.schema != Schema::Jsonl
    }

    /// An answer as one line, with its line end.
    pub fn line(&self, answer: &Answer) -> Result<String> {
        self.line_at(answer, now())
    }

    fn line_at(&self, answer: &Answer, now: f64) -> Result<String> {
        let context = Context { model: &self.model, now };
        let document = match self.schema {
            Schema::Jsonl => serde_json::to_string(answer).map_err(Error::failed)?,
            Schema::Ecs => ecs::document(answer, &context)?.to_string(),
            Schema::Ocsf => ocsf::document(answer, &context)?.to_string(),
        };
        let wrap = |document: String, name: &String| format!("{{{}:{document}}}", Value::from(name.as_str()));
        Ok(self.under.iter().rev().fold(document, wrap) + "\n")
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Context<'_> {
    /// The present as RFC 3339, to the millisecond.
    fn now_text(&self) -> String {
        rfc3339((self.now * 1e3).round() / 1e3).expect("the clock shows a year of four digits")
    }
}

/// An answer as our own lines have it, but for the record, which schemas have a place for. What sessions and alerts call by the
/// same names as records is kept apart, since an index gives a name one type.
fn members(answer: &Answer) -> Result<Value> {
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
fn filled(value: Value) -> Value {
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

#[cfg(test)]
mod tests;
