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
mod feed;
mod follow;
mod format;
mod glob;
mod inputs;
mod json;
mod line_splitter;
mod lines;
mod read;
mod sniff;
#[cfg(test)]
mod tests;
mod w3c_zeek;

pub use collect::{BadRecords, ReadOptions, ReadReport, SourceReport};
pub use compression::Compression;
pub use feed::{Feed, Input};
pub use format::InputFormat;
pub use line_splitter::InputRecord;
pub(crate) use read::check_prefixes;
pub use read::read_records;
