//! The options of `prepare`.

use super::meta::SplitMode;
use super::pseudonymise::PseudonymOptions;
use crate::ingest::ReadOptions;
use crate::tokens::{Tokenizer, TokenizerKind};
use std::path::PathBuf;

/// The most tokens in a shard.
const SHARD_TOKENS: u64 = 1 << 28;

#[derive(Clone)]
pub struct PrepareOptions {
    pub inputs: Vec<PathBuf>,
    pub out: PathBuf,
    pub overwrite: bool,
    pub read: ReadOptions,
    pub tokenizer: TokenizerKind,
    /// A tokenizer to use instead of a new one: that of a model that is to be fine-tuned or evaluated.
    pub existing: Option<Tokenizer>,
    /// Replaces characters that an existing character tokenizer lacks; `None`: such a character is an error.
    pub replace_unknown: Option<char>,
    /// The vocabulary of a trained BPE; `None`: 2048. It is smaller if the corpus has too few merges.
    pub vocab_size: Option<usize>,
    pub val_fraction: f64,
    pub split: SplitMode,
    pub seed: u64,
    /// Whether and how names are replaced, before any other step.
    pub pseudonymise: Option<PseudonymOptions>,
    /// The number of canaries to plant into the training split.
    pub canaries: usize,
    /// The most tokens in a shard.
    pub shard_tokens: u64,
}

impl PrepareOptions {
    /// The default options: a BPE of 2048 tokens, and the last tenth of the records for validation.
    pub fn new(inputs: impl IntoIterator<Item = impl Into<PathBuf>>, out: PathBuf) -> Self {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            out,
            overwrite: false,
            read: ReadOptions::default(),
            tokenizer: TokenizerKind::Bpe,
            existing: None,
            replace_unknown: None,
            vocab_size: None,
            val_fraction: 0.1,
            split: SplitMode::Chronological,
            seed: 0,
            pseudonymise: None,
            canaries: 0,
            shard_tokens: SHARD_TOKENS,
        }
    }
}
