//! `--json` and `--schema`: the grammar that generated records follow, and what it costs.

use clap::Args;
use logwright::model_folder::LoadedModel;
use logwright::record::{Form, Records};
use logwright::sample::{Constraint, DeadEnd, GeneratedRecord, Separators};
use logwright::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

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

impl GrammarArgs {
    /// The grammar that is asked for, if any. Its records are JSON, so the form of the model's records is JSON from here on.
    pub fn open(&self, model: &mut LoadedModel) -> Result<Option<Constraint>> {
        if !self.json && self.schema.is_none() {
            return Ok(None);
        }
        if model.records.form == Form::Text {
            tracing::warn!(
                "the model was not trained on JSON records; under a grammar it writes what it has not learnt"
            );
            model.records.form = Form::Json;
        }
        let records = &model.records;
        let prefixed = records.form == Form::PrefixedJson;
        let vocab = model.engine.config().vocab;
        let separators = separators(records, &model.folder)?;
        let (schema, name) = match self.schema.as_deref() {
            None => return Constraint::json(&separators, prefixed, &model.tokenizer, vocab).map(Some),
            Some("learned") => {
                let schema = records.schema.clone().ok_or_else(|| no_schema(&model.folder))?;
                (schema, format!("{}/records.json (schema)", model.folder.display()))
            }
            Some(file) => (read(Path::new(file))?, file.to_string()),
        };
        Constraint::schema(schema, &name, &separators, prefixed, &model.tokenizer, vocab).map(Some)
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

/// What the grammar cost over all records.
#[derive(Default)]
pub struct GrammarCost {
    records: usize,
    tokens: usize,
    /// Sum over all tokens of the masked probability mass; and the largest sum of one record.
    removed: f64,
    most_removed: f64,
    time: Duration,
    dead_ends: BTreeMap<DeadEnd, usize>,
}

impl GrammarCost {
    pub fn add(&mut self, record: &GeneratedRecord) {
        let Some(constrained) = &record.constrained else { return };
        self.records += 1;
        self.tokens += record.tokens;
        self.removed += constrained.removed;
        self.most_removed = self.most_removed.max(constrained.removed);
        self.time += constrained.time;
        if let Some(dead_end) = constrained.dead_end {
            *self.dead_ends.entry(dead_end).or_default() += 1;
        }
    }

    pub fn tell(&self) {
        let per_token = |sum: f64| sum / self.tokens.max(1) as f64;
        tracing::info!(
            "grammar masking cost {:.0} us per token and removed {:.3} % of the probability mass; unconstrained, the model \
             would have left the grammar about {:.2} times per record (at most {:.2})",
            per_token(self.time.as_secs_f64() * 1e6),
            100.0 * per_token(self.removed),
            self.removed / self.records.max(1) as f64,
            self.most_removed
        );
        for (dead_end, count) in &self.dead_ends {
            tracing::warn!("{count} records could not be finished: {}", dead_end.reason());
        }
    }
}
