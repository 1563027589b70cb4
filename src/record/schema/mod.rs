//! A profile of the JSON records of a corpus, learnt record by record: paths, types, order of keys, closed categories,
//! patterns of strings, ranges of numbers, lengths of arrays. It checks other records, and becomes a JSON Schema.
//!
//! Memory is bounded for any corpus: at most 24 levels, 4096 paths, 256 keys per object, and for each path 64 values or a sample of
//! 256 hashes. Paths are those of [`super::fields`].

mod anywhere;
mod check;
mod json_schema;
mod node;
mod number_profile;
mod profile;
mod spaces;
mod string_format;
mod string_profile;
mod string_shape;
#[cfg(test)]
mod tests;
mod values;
mod written;

pub(crate) use anywhere::any_number;
pub use check::{Fault, Violation};
pub(crate) use json_schema::{ANY_ORDER, ANYWHERE, MOST_ORDERED, OPENED, SPELLINGS, WRITTEN};
pub use profile::Profile;
pub(crate) use written::{any_character, plain as plain_spelling, text as any_text};
