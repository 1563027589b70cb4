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
mod directives;
pub mod fields;
mod form;
mod inputs;
mod json;
mod lines;
mod pattern;
mod prefix;
pub mod pseudonyms;
mod read;
mod records;
pub mod schema;
pub mod synth;
mod table;
#[cfg(test)]
mod tests;

pub use collect::{BadRecords, ReadOptions, ReadReport, SourceReport};
pub use compression::Compression;
pub use detect::Format;
pub use directives::Directives;
pub use form::Form;
pub(crate) use prefix::put as put_prefix;
pub use prefix::{PLACEHOLDER, Prefix, text as prefix_text, values as prefix_values};
pub(crate) use read::check_prefixes;
pub use read::read_records;
pub use records::{Learner, MOST_COMBINATIONS, Records};
