//! Generation within a grammar: which tokens can continue a record of a JSON Schema.
//!
//! The grammar is that of the llguidance crate. It reads the bytes of tokens, so it works with any tokenizer, also with tokens
//! that end in the middle of a character, and the model is free in how it divides text into tokens. It reads the tokens drawn,
//! not the KV cache, so a record may be longer than the context.

mod compiler;
mod dialect;
mod ecma;
mod fixed;
mod guide;
mod learnt;
#[cfg(test)]
mod learnt_tests;
mod number_run;
mod object;
mod plain;
mod schema;
mod separators;
#[cfg(test)]
mod tests;
mod writer;

pub use compiler::GrammarCompiler;
pub use guide::{Constraint, DeadEnd, Guide};
pub use separators::Separators;
