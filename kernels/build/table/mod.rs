//! Derives the kernel table from the kernels' own source: signatures, instances, constants and floors of `kernels/*.cu`
//! become Rust source, which `src/cuda/device/kernels.rs`, `src/cuda/perf/floors.rs` and `src/cuda/emulator/entries.rs`
//! include.
//!
//! What a kernel file must look like is in CONTRIBUTING.md, "Adding a kernel". A declaration that is not understood is
//! a build error, which names the file and the line and says what is expected.

mod declaration;
mod expression;
mod file;
mod floor;
mod rust;
mod tokens;

pub use rust::generate;

use file::{KernelFile, parse};
use std::path::{Path, PathBuf};

/// The kernel files in the given order, each with the constants and lists of the headers that it includes.
pub fn read(sources: &[PathBuf]) -> Result<Vec<KernelFile>, String> {
    sources.iter().map(|source| parse(source, &text)).collect()
}

fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
