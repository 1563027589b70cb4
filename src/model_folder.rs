//! A folder with a model that is ready for use: weights, tokenizer, and what its records are like.
//!
//! Generation, scoring and evaluation start here.

use crate::backend::Backend;
use crate::cpu::memory;
use crate::engine::Engine;
use crate::files::check_readable;
use crate::gpt::Config;
use crate::gpt::checkpoint::StoredModel;
use crate::record::Records;
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What a model folder holds, read and checked, on no device yet.
pub struct ModelFolder {
    folder: PathBuf,
    config: Config,
    parameters: Vec<f32>,
    tokenizer: Tokenizer,
    records: Records,
}

/// A model that is ready to compute.
pub struct LoadedModel {
    pub folder: PathBuf,
    pub engine: Box<dyn Engine>,
    pub tokenizer: Tokenizer,
    /// What the records it was trained on are like.
    pub records: Records,
}

impl ModelFolder {
    /// Reads a model folder, or the `best/` (else the `last/`) of a run folder.
    pub fn read(path: &Path) -> Result<Self> {
        let folder = find(path)?;
        let stored = StoredModel::open(&folder)?;
        let config = stored.config;
        let tokenizer = Tokenizer::load(&folder)?;
        check_vocabulary(&folder, &config, &tokenizer)?;
        let records = Records::load(&folder)?.unwrap_or_else(Records::unknown);
        memory::check(stored.bytes(), &format!("the model in {}", folder.display()))?;
        let parameters = stored.parameters()?;
        Ok(ModelFolder { folder, config, parameters, tokenizer, records })
    }

    /// Puts the model on a device.
    pub fn load(self, backend: &Backend) -> Result<LoadedModel> {
        let ModelFolder { folder, config, parameters, tokenizer, records } = self;
        Ok(LoadedModel { engine: backend.engine(config, parameters)?, folder, tokenizer, records })
    }
}

/// The folder that holds the model: `path` itself, or a run folder's `best/`, else its `last/`.
pub fn find(path: &Path) -> Result<PathBuf> {
    let candidates = [path.to_path_buf(), path.join("best"), path.join("last")];
    for folder in candidates {
        check_readable(&folder)?;
        if folder.join("config.json").is_file() {
            return Ok(folder);
        }
    }
    let what = if path.exists() { "contains no model (no config.json, best/ or last/)" } else { "does not exist" };
    Err(Error::failed(format!(
        "{}: {what}; give a run folder of `logwright train` or a Hugging Face GPT-2 folder",
        path.display()
    )))
}

/// A tokenizer may know fewer tokens than the model (padding), never more.
fn check_vocabulary(folder: &Path, config: &Config, tokenizer: &Tokenizer) -> Result<()> {
    if tokenizer.vocab_size() <= config.vocab {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{}: tokenizer.json has {} tokens, config.json a vocab_size of {}: they do not belong together",
        folder.display(),
        tokenizer.vocab_size(),
        config.vocab
    )))
}
