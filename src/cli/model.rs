//! Finding and opening a model on a device.

use super::device::DeviceArgs;
use logwright::engine::Engine;
use logwright::gpt::{Config, checkpoint};
use logwright::record::Records;
use logwright::tokens::Tokenizer;
use logwright::{Error, Result};
use std::path::{Path, PathBuf};

/// A model read from a folder.
pub struct Model {
    pub folder: PathBuf,
    pub engine: Box<dyn Engine>,
    pub tokenizer: Tokenizer,
    /// What the records it was trained on are like.
    pub records: Records,
}

/// Opens a model folder, or a run folder's `best/` (else `last/`).
pub fn open(path: &Path, device: &DeviceArgs) -> Result<Model> {
    let folder = find(path)?;
    let (config, parameters) = checkpoint::read_model(&folder)?;
    let tokenizer = Tokenizer::load(&folder)?;
    check_vocabulary(&folder, &config, &tokenizer)?;
    let records = Records::load(&folder)?.unwrap_or_else(Records::unknown);
    Ok(Model { engine: device.open()?.engine(config, parameters)?, folder, tokenizer, records })
}

pub fn find(path: &Path) -> Result<PathBuf> {
    let candidates = [path.to_path_buf(), path.join("best"), path.join("last")];
    candidates.into_iter().find(|folder| folder.join("config.json").is_file()).ok_or_else(|| {
        let what = if path.exists() { "holds no model (no config.json, best/ or last/)" } else { "does not exist" };
        Error::failed(format!(
            "{}: {what}; give a run folder of `logwright train` or a Hugging Face GPT-2 folder",
            path.display()
        ))
    })
}

/// A tokenizer may know fewer tokens than the model (padding), never more.
pub fn check_vocabulary(folder: &Path, config: &Config, tokenizer: &Tokenizer) -> Result<()> {
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
