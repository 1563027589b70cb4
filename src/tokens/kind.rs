//! The three kinds of tokenizer.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// One token a character of a fixed set (nanoGPT's scheme).
    Char,
    /// One token a byte.
    Bytes,
    /// Byte-level BPE, trained on the logs.
    Bpe,
}
