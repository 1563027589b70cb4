//! Raw machine logs -> records.
//!
//! A *record* is one log entry as bytes with no newline inside it. Files, folders, globs and standard input are read
//! one after another in bounded memory; each file's compression and format are found by looking at its beginning.
//!
//! ```text
//! inputs -> compression -> detect -> lines | json | table -> collect (checks, prefix) -> sink
//! ```

mod binary;
mod collect;
mod compression;
mod detect;
pub mod fields;
mod inputs;
mod json;
mod lines;
mod pattern;
mod prefix;
pub mod pseudonyms;
mod read;
pub mod synth;
mod table;
#[cfg(test)]
mod tests;

pub use collect::{BadRecords, ReadOptions, ReadReport, SourceReport};
pub use compression::Compression;
pub use detect::Format;
pub use prefix::{Prefix, Transform};
pub(crate) use read::check_prefix;
pub use read::read_records;
