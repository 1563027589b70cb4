//! Raw machine logs -> records.
//!
//! A *record* is one log entry as bytes with no newline inside it. Files, folders, globs, standard input and growing files are
//! read one after another in bounded memory; compression, character set and format are detected from the first bytes.
//!
//! ```text
//! inputs, follow -> compression -> charset -> window -> sniff -> a decoder of FORMATS -> collect (checks, prefix) -> sink
//! ```
//!
//! [`read_records`] passes the records of files on, [`Feed`] those of any source as they come, for `score`. Both read the same
//! stream, so a file, a pipe and a growing file give the same records.

mod binary;
mod cef;
mod charset;
mod collect;
mod compression;
mod cri;
mod csv;
mod each_line;
mod events;
#[cfg(feature = "evtx")]
mod evtx;
mod feature;
mod feed;
mod follow;
mod format;
mod formats;
mod glob;
mod head;
mod inputs;
mod json;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod part;
mod prelude;
mod queue;
mod read;
mod record_start;
mod rows;
mod sniff;
mod stdin;
mod syslog;
#[cfg(test)]
mod tests;
mod w3c_zeek;
mod window;

pub use collect::{BadRecords, ReadOptions, ReadReport, SourceReport};
pub use compression::Compression;
pub use feed::{Feed, Input};
pub use follow::{Begin, FollowState, Position};
pub use format::InputFormat;
pub use part::{InputShare, read_part};
pub use queue::{InputRecord, RecordFault, head};
pub use read::read_records;
pub(crate) use read::{check_prefixes, warn_of_mixture};
pub use record_start::RecordStart;
