//! What an earlier build made and need not be made again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// Changes with everything that a compiled file depends on: compiler and flags (`made_by`), sources and headers.
pub fn key<P: AsRef<Path>>(made_by: &impl Hash, files: impl Iterator<Item = P>) -> String {
    let mut hasher = DefaultHasher::new();
    made_by.hash(&mut hasher);
    files.for_each(|file| fs::read(file).ok().hash(&mut hasher));
    format!("{:016x}", hasher.finish())
}
