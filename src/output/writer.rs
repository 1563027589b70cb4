//! Answers to lines of a schema.

use super::document::Context;
use super::{ecs, ocsf};
use crate::stream::Answer;
use crate::{Error, Result};
use serde_json::Value;
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

    pub(super) fn line_at(&self, answer: &Answer, now: f64) -> Result<String> {
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
