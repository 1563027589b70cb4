//! Raw machine logs -> records.
//!
//! A *record* is one log entry as bytes with no newline inside it. Files, folders, globs and standard input are read
//! one after another in bounded memory; each file's compression and format are found by looking at its beginning.
//!
//! ```text
//! inputs -> compression -> sniff -> lines | json | csv -> collect (checks, prefix) -> sink
//! ```

mod binary;
mod collect;
mod compression;
mod csv;
mod directives;
pub mod follow;
mod glob;
mod inputs;
mod json;
mod lines;
mod read;
mod sniff;
pub mod source;
#[cfg(test)]
mod tests;

pub use collect::{BadRecords, ReadOptions, ReadReport, SourceReport};
pub use compression::Compression;
pub use directives::Directives;
pub(crate) use read::check_prefixes;
pub use read::read_records;
pub use sniff::Format;
