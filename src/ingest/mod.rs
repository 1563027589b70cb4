//! Raw machine logs -> records.
//!
//! A *record* is one log entry as bytes with no newline inside it. Files, folders, globs and standard input are read
//! one after another in bounded memory; each file's compression and format are detected from its first bytes.
//!
//! ```text
//! inputs -> compression -> sniff -> lines | json | csv | w3c_zeek -> collect (checks, prefix) -> sink
//! ```
//!
//! [`Feed`] reads the same formats as a stream, for `score`: from a pipe or from a file that is still being written.

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
pub use follow::{Begin, FollowState, Position};
pub use format::InputFormat;
pub use line_splitter::InputRecord;
pub(crate) use read::check_prefixes;
pub use read::read_records;
