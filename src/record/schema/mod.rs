//! A profile of the JSON records of a corpus, learnt record by record: paths, types, order of keys, closed categories,
//! patterns of strings, ranges of numbers, lengths of arrays. It checks other records, and becomes a JSON Schema.
//!
//! Memory is bounded for any corpus: at most 4096 paths, 256 keys per object, and for each path 64 values or a sample of
//! 256 hashes. Paths are those of [`super::fields`].

mod check;
mod json_schema;
mod node;
mod profile;
mod string_format;
mod string_profile;
mod string_shape;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use check::{Fault, Violation};
pub use profile::Profile;
