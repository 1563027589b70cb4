//! Tokenizers, which convert text to token ids and back: characters, bytes or a trained byte-level BPE. All of them are
//! saved as Hugging Face's tokenizer.json.
//!
//! In every kind, `\n` ends a record, is one token of its own, and is part of no other token. The file is the tokenizer:
//! each constructor writes the JSON document and reads it back, so that the tokenizer in use, the saved one and the one that
//! `transformers` loads cannot differ.

mod alphabet;
mod file;
mod kind;
mod pretokenize;
mod split;
#[cfg(test)]
mod study;
#[cfg(test)]
mod tests;
mod tokenizer;
mod train;

pub use file::MOST_VOCABULARY;
pub use kind::TokenizerKind;
pub use tokenizer::{StandIn, Tokenizer};
