//! What a run begins with: its settings, its model and the parameters that it starts from.
//!
//! There are three ways to begin: with random parameters, with those of another model (fine-tuning), or at the last
//! checkpoint of a run that was stopped. Each one reports what training will take, and is refused where memory does not
//! suffice, before any large buffer is allocated.

use super::config::TrainConfig;
use super::epochs;
use super::run::Start;
use crate::backend::Backend;
use crate::dataset::Dataset;
use crate::gpt::checkpoint::{self, StoredModel};
use crate::gpt::{Config, Layout, init};
use crate::tokens::Tokenizer;
use crate::{Error, Result, model_folder};
use std::path::{Path, PathBuf};

/// The run that the user asks for.
pub struct RunRequest {
    /// The data folder.
    pub data: PathBuf,
    /// The run folder.
    pub out: PathBuf,
    pub begin: Begin,
    /// The settings given as flags; they override all others.
    pub flags: toml::Table,
    /// Whether old data is mixed in.
    pub replays: bool,
}

/// How a run begins.
pub enum Begin {
    /// A new run, with settings from the preset and then from the file.
    New {
        preset: Option<String>,
        file: Option<PathBuf>,
        /// The model whose shape and parameters it starts from; none: random parameters.
        init_from: Option<PathBuf>,
    },
    /// At the last checkpoint of the run folder, with the settings it was started with.
    Resume,
}

/// A run that can begin.
pub struct RunPlan {
    pub config: TrainConfig,
    pub model: Config,
    /// (layout.len); zeros for a run that resumes, which reads its own when it opens.
    pub parameters: Vec<f32>,
    pub start: Start,
}

impl RunPlan {
    /// The plan for a request on the opened `data` folder.
    ///
    /// # Errors
    /// Settings that contradict each other or the model, a model of another tokenizer, too little memory, no run to resume.
    pub fn new(request: &RunRequest, data: &Dataset, backend: &Backend) -> Result<Self> {
        let plan = match &request.begin {
            Begin::Resume => Self::resume(request, data, backend)?,
            Begin::New { preset, file, init_from } => {
                let config = TrainConfig::resolve(preset.as_deref(), file.as_deref(), request.flags.clone())?;
                match init_from {
                    None => Self::random(config, data, backend)?,
                    Some(folder) => Self::fine_tune(config, request, file.as_deref(), folder, data, backend)?,
                }
            }
        };
        plan.with_steps(data, request.replays)
    }

    /// Turns the passes that were asked for into steps, which is what a run saves: it resumes the same where the data has grown.
    fn with_steps(mut self, data: &Dataset, replays: bool) -> Result<Self> {
        if let Some(epochs) = self.config.epochs.take() {
            self.config.steps = epochs::steps(epochs, &self.config, data, replays)?;
        }
        Ok(self)
    }

    /// A new model with random parameters.
    pub fn random(config: TrainConfig, data: &Dataset, backend: &Backend) -> Result<Self> {
        let model = config.model(data.tokenizer.vocab_size())?;
        backend.check_memory(&model, config.batch, config.context)?;
        let parameters = init::parameters(&Layout::new(&model), config.seed);
        Ok(RunPlan { config, model, parameters, start: Start::Fresh })
    }

    /// A new run of an existing model.
    fn fine_tune(
        mut config: TrainConfig,
        request: &RunRequest,
        file: Option<&Path>,
        folder: &Path,
        data: &Dataset,
        backend: &Backend,
    ) -> Result<Self> {
        let folder = model_folder::find(folder)?;
        let stored = StoredModel::open(&folder)?;
        let model = stored.config;
        check_tokens(&folder, model.vocab, data, &request.data)?;
        config.adopt(&model, file, &request.flags)?;
        backend.check_memory(&model, config.batch, config.context)?;
        let parameters = stored.parameters()?;
        Ok(RunPlan { config, model, parameters, start: Start::Fresh })
    }

    fn resume(request: &RunRequest, data: &Dataset, backend: &Backend) -> Result<Self> {
        let path = request.out.join("config.toml");
        if !path.exists() {
            return Err(Error::usage(format!("--resume: {} contains no run (no config.toml)", request.out.display())));
        }
        let config = TrainConfig::resume(&path, request.flags.clone())?;
        // Before the first checkpoint nothing can be resumed, which Run::open says; a vocabulary may be padded.
        let last = request.out.join("last");
        let vocab = if last.is_dir() { checkpoint::read_shape(&last)?.vocab } else { data.tokenizer.vocab_size() };
        let model = config.model(vocab)?;
        backend.check_memory(&model, config.batch, config.context)?;
        let parameters = vec![0.0; Layout::new(&model).len];
        Ok(RunPlan { config, model, parameters, start: Start::Resume })
    }
}

/// Refuses data whose tokens mean something else to the model in `folder`, which has `vocab` tokens.
fn check_tokens(folder: &Path, vocab: usize, data: &Dataset, data_folder: &Path) -> Result<()> {
    let (folder_name, data_name) = (folder.display(), data_folder.display());
    let tokens = data.tokenizer.vocab_size();
    // A vocabulary may be padded.
    if vocab < tokens {
        return Err(Error::usage(format!(
            "--init-from {folder_name}: its vocabulary has {vocab} tokens, that of --data {data_name} has {tokens}; prepare the \
             data with the model's tokenizer (prepare --tokenizer-from {folder_name})"
        )));
    }
    if folder.join("tokenizer.json").exists() && !Tokenizer::load(folder)?.same_tokens(&data.tokenizer) {
        return Err(Error::usage(format!(
            "--init-from {folder_name}: --data {data_name} was prepared with another tokenizer; prepare it with the model's \
             (prepare --tokenizer-from {folder_name})"
        )));
    }
    Ok(())
}
