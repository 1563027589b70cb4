//! Text to token ids and back: characters, bytes or a trained byte-level BPE, all kept as Hugging Face's tokenizer.json.
//!
//! Fixed for every kind: `\n` ends a record, is one token of its own, and is part of no other.
//! The file is the tokenizer: each constructor makes the JSON document first and reads it back, so that what is
//! used, what is saved and what `transformers` loads cannot differ.

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

pub use kind::TokenizerKind;
pub use tokenizer::Tokenizer;
