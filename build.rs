//! Compiles `kernels/`: for the host with the feature `emulator`.

#[cfg(feature = "emulator")]
#[path = "build/emulator.rs"]
mod emulator;

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    #[cfg(feature = "emulator")]
    emulator::build(&sources());
}

/// Every kernel file, in the order of the names.
#[cfg_attr(not(feature = "emulator"), allow(dead_code))]
fn sources() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("kernels").expect("the package has a folder kernels/");
    let paths = entries.map(|entry| entry.expect("kernels/ can be listed").path());
    let mut sources: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    sources.sort();
    sources
}
