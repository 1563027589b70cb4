//! The grammar that is asked for, compiled anew for each condition on the records.

use super::constraint::{Constraint, GrammarCompiler, Separators};
use crate::record::{Form, Records, Wanted};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// What grammar records shall follow.
#[derive(Clone, Debug, PartialEq)]
pub enum GrammarKind {
    /// Any JSON object.
    AnyObject,
    /// The schema of the training records.
    Learnt,
    /// A JSON Schema, and its name for messages.
    Schema(Value, String),
}

/// The model whose records follow a grammar.
pub struct GrammarModel<'a> {
    pub tokenizer: &'a Tokenizer,
    /// Of the model, which may be larger than the tokenizer's.
    pub vocab: usize,
    pub records: &'a Records,
    /// For messages.
    pub folder: &'a Path,
}

/// A grammar, and a compiler of it for each condition on the records.
pub struct Grammar {
    compiler: GrammarCompiler,
    what: What,
    separators: Separators,
    records: Records,
    /// The grammars of the last conditions.
    compiled: VecDeque<(Vec<Wanted>, Arc<Constraint>)>,
}

enum What {
    AnyObject,
    /// The schema of the training records, and its name.
    Learnt(String),
    Schema(Value, String),
}

/// More conditions at once than this are compiled again when they come back.
const MOST_COMPILED: usize = 8;

impl Grammar {
    /// Errors: a learnt schema that the model lacks; a damaged description of its records.
    pub fn new(kind: GrammarKind, model: &GrammarModel) -> Result<Self> {
        let GrammarModel { tokenizer, vocab, records, folder } = model;
        let separators = separators(records, folder)?;
        let what = match kind {
            GrammarKind::AnyObject => What::AnyObject,
            GrammarKind::Learnt => learnt(records, folder)?,
            GrammarKind::Schema(schema, name) => What::Schema(schema, name),
        };
        let compiler = GrammarCompiler::new(tokenizer, *vocab, records.form == Form::PrefixedJson)?;
        let records = Records::clone(records);
        Ok(Grammar { compiler, what, separators, records, compiled: VecDeque::new() })
    }

    /// The grammar of records with these fields.
    ///
    /// Errors: a schema for which there is no grammar; conditions that it contradicts.
    pub fn with(&mut self, wanted: &[Wanted]) -> Result<Arc<Constraint>> {
        if let Some((_, known)) = self.compiled.iter().find(|(of, _)| of == wanted) {
            return Ok(known.clone());
        }
        let Grammar { compiler, separators, records, .. } = self;
        let constraint = Arc::new(match &self.what {
            What::AnyObject => compiler.json(separators, wanted, records.schema.as_ref()),
            What::Learnt(name) => compiler.learnt(records, name, wanted),
            What::Schema(schema, name) => compiler.schema(schema.clone(), name, separators, wanted),
        }?);
        if self.compiled.len() == MOST_COMPILED {
            self.compiled.pop_front();
        }
        self.compiled.push_back((wanted.to_vec(), constraint.clone()));
        Ok(constraint)
    }
}

fn learnt(records: &Records, folder: &Path) -> Result<What> {
    let folder = folder.display();
    let schema = records.schema.clone().ok_or_else(|| {
        Error::failed(format!(
            "--schema learned: {folder}/records.json contains no schema of the training records; prepare JSON records and train on \
             them with this version, or give a JSON Schema in a file"
        ))
    })?;
    let name = format!("{folder}/records.json (schema)");
    if records.schema_says_how() {
        return Ok(What::Learnt(name));
    }
    tracing::warn!(
        "{name}: learnt by an earlier version, it does not say how values are written (1.0, 1e5); prepare the data again and train \
         on it for a grammar that does"
    );
    Ok(What::Schema(schema, name))
}

/// How the training records were written, where that is known; else any common way.
fn separators(records: &Records, folder: &Path) -> Result<Separators> {
    let Some((item, key)) = &records.separators else { return Ok(Separators::default()) };
    Separators::exactly(item, key).ok_or_else(|| {
        Error::failed(format!(
            "{}/records.json: \"separators\" must be a comma and a colon, each with or without spaces; found {item:?} and {key:?}",
            folder.display()
        ))
    })
}
