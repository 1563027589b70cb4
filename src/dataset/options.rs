//! The options of `prepare`.

use super::meta::SplitMode;
use super::pseudonymise::PseudonymOptions;
use crate::ingest::ReadOptions;
use crate::tokens::{Tokenizer, TokenizerKind};
use std::path::PathBuf;

/// Most tokens in a shard.
const SHARD_TOKENS: u64 = 1 << 28;

#[derive(Clone)]
pub struct PrepareOptions {
    pub inputs: Vec<PathBuf>,
    pub out: PathBuf,
    pub overwrite: bool,
    pub read: ReadOptions,
    pub tokenizer: TokenizerKind,
    /// Use this one instead of making one: that of a model that is to be trained further or evaluated.
    pub existing: Option<Tokenizer>,
    /// Stands for characters that an existing tokenizer of characters does not know; none: such a one is an error.
    pub replace_unknown: Option<char>,
    /// Vocabulary of a trained BPE: exactly this. `None`: 2048, or fewer where the corpus gives no more.
    pub vocab_size: Option<usize>,
    pub val_fraction: f64,
    pub split: SplitMode,
    pub seed: u64,
    /// Replace names before anything else sees them.
    pub pseudonymise: Option<PseudonymOptions>,
    /// How many canaries to plant into the training split.
    pub canaries: usize,
    /// Most tokens in a shard.
    pub shard_tokens: u64,
}

impl PrepareOptions {
    /// The defaults: BPE of 2048, the last tenth of the records for validation.
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
