//! A model that is served: what a reload replaces as a whole. A request keeps the model that it began with.

use super::completions::{Generation, Grammars};
use super::compute::{Compute, ComputeLimits, Pending};
use super::metrics::Metrics;
use crate::Result;
use crate::gpt::Config;
use crate::known::Known;
use crate::model_folder::LoadedModel;
use crate::pseudonyms::{RecordPseudonyms, in_condition, in_prompt};
use crate::record::{Arrangement, Records};
use crate::sample::{Grammar, GrammarKind, GrammarModel};
use crate::score::{Detector, RecordReader, arrangement, mean_surprisal};
use crate::tokens::Tokenizer;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Everything that serving needs of a model folder, read and checked.
pub struct ModelParts {
    pub model: LoadedModel,
    /// With the calibration of the model, if it has one.
    pub detector: Detector,
    pub known: Known,
    /// What replaces names in raw records, for a model that was trained on pseudonyms.
    pub pseudonyms: Option<RecordPseudonyms>,
}

/// Reads the model: at the start, and again at each reload.
pub type Load = Box<dyn Fn() -> Result<ModelParts> + Send + Sync>;

pub struct ServedModel {
    pub tokenizer: Tokenizer,
    pub records: Records,
    pub detector: Detector,
    pub known: Arc<Known>,
    pub loaded_at: SystemTime,
    pub config: Config,
    folder: PathBuf,
    grammars: Grammars,
    arrangement: Option<Arc<Arrangement>>,
    pseudonyms: Option<Mutex<RecordPseudonyms>>,
    compute: Compute,
}

impl ServedModel {
    pub fn start(parts: ModelParts, limits: ComputeLimits, metrics: Arc<Metrics>) -> Self {
        let ModelParts { model: LoadedModel { folder, engine, tokenizer, records }, detector, known, pseudonyms } =
            parts;
        let config = *engine.config();
        let compute = Compute::start(engine, &tokenizer, limits, metrics);
        ServedModel {
            arrangement: arrangement(&records),
            tokenizer,
            records,
            detector,
            known: Arc::new(known),
            loaded_at: SystemTime::now(),
            config,
            folder,
            grammars: Grammars::default(),
            pseudonyms: pseudonyms.map(Mutex::new),
            compute,
        }
    }

    /// Lends a reader of records; names are replaced for one request at a time.
    pub fn with_reader<T>(&self, use_it: impl FnOnce(&mut RecordReader) -> T) -> T {
        // A panic while names were replaced leaves nothing of that record behind.
        let mut pseudonyms =
            self.pseudonyms.as_ref().map(|pseudonyms| pseudonyms.lock().unwrap_or_else(PoisonError::into_inner));
        let mut reader =
            RecordReader::new(self.arrangement.clone(), &self.tokenizer, &self.records, pseudonyms.as_deref_mut());
        use_it(&mut reader)
    }

    /// Lends a reader that joins surprisals with records, for which no names are replaced.
    pub fn joiner(&self) -> RecordReader<'_> {
        RecordReader::new(self.arrangement.clone(), &self.tokenizer, &self.records, None)
    }

    /// The grammar of this kind for records of the model, for one request at a time.
    ///
    /// Errors: a grammar that there is not for this model.
    pub fn grammar(&self, kind: &GrammarKind) -> Result<Arc<Mutex<Grammar>>> {
        let ServedModel { tokenizer, config, records, folder, .. } = self;
        self.grammars.get(kind, &GrammarModel { tokenizer, vocab: config.vocab, records, folder })
    }

    /// Replaces names in prompts and conditions, for a model that was trained on pseudonyms.
    pub fn replace_names(&self, prompts: &mut [Vec<u8>], wanted: &mut [(String, String)]) {
        let Some(pseudonyms) = &self.pseudonyms else { return };
        let mut pseudonyms = pseudonyms.lock().unwrap_or_else(PoisonError::into_inner);
        prompts.iter_mut().for_each(|prompt| *prompt = in_prompt(prompt, &mut pseudonyms));
        for condition in wanted {
            condition.1 = in_condition(condition, &self.records, &mut pseudonyms);
        }
    }

    pub fn generate(&self, generation: Generation) -> Result<()> {
        self.compute.generate(generation)
    }

    pub fn is_calibrated(&self) -> bool {
        self.detector.normal().is_some()
    }

    /// False after a bug has ended the thread that computes.
    pub fn is_running(&self) -> bool {
        self.compute.is_running()
    }

    pub fn measure(&self, sequences: Vec<Vec<u32>>) -> Result<Pending> {
        self.compute.measure(sequences)
    }

    /// Mean surprisal in nats per token of a sequence of records.
    pub fn sequence(&self, tokens: &[u32]) -> Result<f64> {
        let nats = self.measure(vec![tokens.to_vec()])?.wait(|| true)?;
        Ok(mean_surprisal(&nats.expect("it is wanted to the end").remove(0)))
    }
}
