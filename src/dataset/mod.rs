//! Turns records into token shards and a record index, and draws training windows from them.
//!
//! A data folder contains `train-00000.bin ...` and `val-00000.bin ...` (tokens), `train.idx` and `val.idx` (the position of
//! each record), `tokenizer.json`, `records.json` and `meta.json`, and `pseudonyms.sealed` if names are replaced. The separator token follows the tokens of each record.
//! [`prepare()`] writes such a folder, [`Dataset::open`] verifies and maps it, and [`Sampler`] draws windows from it.

mod canaries;
mod first_pass;
mod folder;
mod format;
mod merge;
mod meta;
mod options;
mod part;
mod part_file;
mod parts;
mod permutation;
mod plant;
mod prepare;
mod pseudonymise;
mod sampler;
mod second_pass;
mod split;
mod split_assignment;
mod splitmix;
mod spool;
mod target;
#[cfg(test)]
mod tests;
mod window_starts;
mod writer;

pub use canaries::{Canaries, Canary};
pub use folder::Dataset;
pub use merge::{MergeOptions, merge};
pub use meta::{Meta, SplitCounts, SplitMode};
pub use options::PrepareOptions;
pub use part::prepare_part;
pub use prepare::{Prepared, prepare};
pub use pseudonymise::{DryRun, PseudonymOptions, count_pseudonyms};
pub use sampler::{Sampler, Windows};
pub use split::Split;
