//! `--json` and `--schema`: the grammar that generated records follow, and what it costs.

use clap::Args;
use logwright::model_folder::LoadedModel;
use logwright::record::{Form, Records, Wanted};
use logwright::sample::{Constraint, GrammarCompiler, Separators};
use logwright::{Error, Result};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// Nobody writes a schema of this size; reading one would only fill the memory.
const MOST_SCHEMA: u64 = 64 << 20;

#[derive(Args)]
pub struct GrammarArgs {
    /// Generate only records that are one JSON object
    #[arg(long, conflicts_with = "schema")]
    json: bool,
    /// Generate only records that fit a JSON Schema: a file, or `learned` for the schema of the training records
    #[arg(long, value_name = "FILE|learned")]
    schema: Option<String>,
}

/// The grammar that is asked for, and a compiler of it for each condition on the records.
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

impl GrammarArgs {
    /// The grammar that is asked for, if any. Its records are JSON, so the form of the model's records is JSON from here on.
    pub fn open(&self, model: &mut LoadedModel) -> Result<Option<Grammar>> {
        if !self.json && self.schema.is_none() {
            return Ok(None);
        }
        if model.records.form == Form::Text {
            tracing::warn!(
                "the model was not trained on JSON records; under a grammar it writes what it has not learnt"
            );
            model.records.form = Form::Json;
        }
        let records = model.records.clone();
        let prefixed = records.form == Form::PrefixedJson;
        let separators = separators(&records, &model.folder)?;
        let what = match self.schema.as_deref() {
            None => What::AnyObject,
            Some("learned") => learnt(&records, &model.folder)?,
            Some(file) => What::Schema(read(Path::new(file))?, file.to_string()),
        };
        let compiler = GrammarCompiler::new(&model.tokenizer, model.engine.config().vocab, prefixed)?;
        Ok(Some(Grammar { compiler, what, separators, records, compiled: VecDeque::new() }))
    }
}

fn learnt(records: &Records, folder: &Path) -> Result<What> {
    let schema = records.schema.clone().ok_or_else(|| no_schema(folder))?;
    let name = format!("{}/records.json (schema)", folder.display());
    if records.schema_says_how() {
        return Ok(What::Learnt(name));
    }
    tracing::warn!(
        "{name}: learnt by an earlier version, it does not say how values are written (1.0, 1e5); prepare the data again and train \
         on it for a grammar that does"
    );
    Ok(What::Schema(schema, name))
}

impl Grammar {
    /// The grammar of records with these fields.
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

fn no_schema(folder: &Path) -> Error {
    Error::failed(format!(
        "--schema learned: {}/records.json contains no schema of the training records; prepare JSON records and train on them with this version, \
         or give a JSON Schema in a file",
        folder.display()
    ))
}

fn read(path: &Path) -> Result<Value> {
    let failed = |e| Error::io("read the schema from", path, e);
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MOST_SCHEMA {
        return Err(Error::failed(format!(
            "{}: {size} bytes; a schema of at most {MOST_SCHEMA} is expected",
            path.display()
        )));
    }
    let text = std::fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text)
        .map_err(|e| Error::failed(format!("{}: expected a JSON Schema, found no valid JSON: {e}", path.display())))
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
