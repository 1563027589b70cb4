//! `merge`: the parts of a corpus -> the data folder that preparing it at once writes, byte for byte.

use super::options::PrepareOptions;
use super::parts::Parts;
use super::prepare::{Prepared, prepare_from};
use crate::Result;
use crate::pseudonyms::SecretKey;
use indicatif::ProgressBar;
use std::path::PathBuf;

/// What merging takes beside the parts.
pub struct MergeOptions {
    pub out: PathBuf,
    pub overwrite: bool,
    /// The key of the parts, if names are replaced.
    pub key: Option<SecretKey>,
    /// A file to which the records are written with their pseudonyms and without a prefix.
    pub write_records: Option<PathBuf>,
}

/// Writes the data folder, which appears complete or not at all; returns also how it was prepared. The parts stay as they are.
///
/// Time and memory are those of [`super::prepare()`] without reading and decoding the inputs, and without learning names.
pub fn merge(folders: &[PathBuf], how: MergeOptions, progress: &ProgressBar) -> Result<(Prepared, PrepareOptions)> {
    let parts = Parts::open(folders)?;
    let options = parts.options(how.out, how.key, how.write_records)?;
    let options = PrepareOptions { overwrite: how.overwrite, ..options };
    let prepared = prepare_from(&options, Some(&parts), progress)?;
    Ok((prepared, options))
}
