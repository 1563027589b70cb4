//! Records -> token shards, a record index, and batches drawn from them.
//!
//! A data folder holds `train-00000.bin ...` and `val-00000.bin ...` (tokens), `train.idx` and `val.idx` (where each
//! record begins), `tokenizer.json` and `meta.json`. Every record's tokens are followed by the separator token.
//! [`prepare`] writes such a folder, [`Dataset::open`] maps and checks one, [`Sampler`] draws windows from it.

mod canaries;
mod first_pass;
mod folder;
mod format;
mod meta;
mod options;
mod permutation;
mod plant;
mod prepare;
mod pseudonymise;
mod sampler;
mod second_pass;
mod split;
mod split_assignment;
mod splitmix;
#[cfg(test)]
mod tests;
mod window_starts;
mod writer;

pub use canaries::{Canaries, Canary};
pub use folder::Dataset;
pub use meta::{Meta, SplitCounts, SplitMode};
pub use options::PrepareOptions;
pub use prepare::{Prepared, prepare};
pub use pseudonymise::{PseudonymOptions, count_pseudonyms};
pub use sampler::{Sampler, Windows};
pub use split::Split;
