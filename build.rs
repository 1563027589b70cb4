//! Compiles `kernels/`: for GPUs where there is an nvcc (`kernels/build/nvcc.rs`), for the host with the feature `emulator`.

#[cfg(feature = "emulator")]
#[path = "kernels/build/emulator.rs"]
mod emulator;
#[path = "kernels/build/nvcc.rs"]
mod nvcc;
#[path = "kernels/build/ptxas.rs"]
mod ptxas;

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=kernels");
    let sources = files("cu");
    nvcc::build(&sources, &files("cuh"));
    #[cfg(feature = "emulator")]
    emulator::build(&sources);
}

/// The files of `kernels/` with this suffix, in the order of their names.
fn files(suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("kernels").expect("the package has a folder kernels/");
    let paths = entries.map(|entry| entry.expect("kernels/ can be listed").path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|s| s == suffix)).collect();
    files.sort();
    files
}
