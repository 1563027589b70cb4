//! The model card: `README.md` of a model folder, in the form that Hugging Face expects.

use super::config::TrainConfig;
use super::provenance::Provenance;
use super::state::TrainState;
use crate::dataset::{Dataset, Meta};
use crate::{Result, files};
use std::path::Path;

const TEMPLATE: &str = include_str!("card.md");

/// What a card says. It says numbers of the data, never contents or names of logs.
pub struct Card<'a> {
    pub data: &'a Dataset,
    pub config: &'a TrainConfig,
    pub provenance: &'a Provenance,
    pub state: &'a TrainState,
    /// Number of parameters.
    pub parameters: usize,
}

impl Card<'_> {
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::write_new(&folder.join("README.md"), self.text().as_bytes())
    }

    fn text(&self) -> String {
        let Card { data, config, provenance, state, parameters } = self;
        let Meta { train, val, .. } = &data.meta;
        let names = match data.records.pseudonymised {
            true => "replaced by pseudonyms before training",
            false => "as in the logs, not replaced",
        };
        let number = |n: u64| n.to_string();
        let values = [
            ("version", provenance.logwright.to_string()),
            ("commit", provenance.commit.to_string()),
            ("data", provenance.data.clone()),
            ("context", config.context.to_string()),
            ("train_records", number(train.records)),
            ("train_bytes", number(train.bytes)),
            ("train_tokens", number(train.tokens)),
            ("val_records", number(val.records)),
            ("val_bytes", number(val.bytes)),
            ("val_tokens", number(val.tokens)),
            ("tokenizer", data.meta.tokenizer.clone()),
            ("vocab", data.meta.vocab_size.to_string()),
            ("names", names.to_string()),
            ("preset", config.preset.clone()),
            ("parameters", parameters.to_string()),
            ("step", number(state.step)),
            ("steps", number(config.steps)),
            ("tokens", number(state.step * config.tokens_per_step())),
            ("loss", loss(state, val.tokens as f64 / val.bytes.max(1) as f64)),
            ("settings", config.to_toml()),
        ];
        values
            .into_iter()
            .fold(TEMPLATE.to_string(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), &value))
    }
}

/// The best validation loss so far, of data with so many tokens a byte.
fn loss(state: &TrainState, tokens_per_byte: f64) -> String {
    match state.best_val_loss {
        None => "not measured yet".to_string(),
        Some(loss) => {
            let bits = loss * tokens_per_byte / std::f64::consts::LN_2;
            format!("{loss:.4} nats per token, {bits:.4} bits per byte")
        }
    }
}
