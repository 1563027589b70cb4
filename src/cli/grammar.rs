//! `--json` and `--schema`: the grammar that generated records follow.

use clap::Args;
use logwright::model_folder::LoadedModel;
use logwright::record::Form;
use logwright::sample::{Grammar, GrammarKind, GrammarModel};
use logwright::{Error, Result};
use serde_json::Value;
use std::path::Path;

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
        let kind = match self.schema.as_deref() {
            None => GrammarKind::AnyObject,
            Some("learned") => GrammarKind::Learnt,
            Some(file) => GrammarKind::Schema(read(Path::new(file))?, file.to_string()),
        };
        let LoadedModel { folder, engine, tokenizer, records } = &*model;
        let of = GrammarModel { tokenizer, vocab: engine.config().vocab, records, folder };
        Grammar::new(kind, &of).map(Some)
    }
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
