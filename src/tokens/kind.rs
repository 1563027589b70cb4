//! The three kinds of tokenizer.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// One token per character of a fixed set (as in nanoGPT).
    Char,
    /// One token per byte.
    Bytes,
    /// Byte-level BPE, trained on the logs.
    Bpe,
}
