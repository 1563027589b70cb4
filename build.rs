//! Derives the kernel table from `kernels/` (`kernels/build/table`), and compiles the kernels: for GPUs where there is an
//! nvcc (`kernels/build/nvcc.rs`), for the host with the feature `emulator`.

#[cfg(feature = "emulator")]
#[path = "kernels/build/emulator.rs"]
mod emulator;
#[path = "kernels/build/nvcc.rs"]
mod nvcc;
#[path = "kernels/build/ptxas.rs"]
mod ptxas;
#[path = "kernels/build/table/mod.rs"]
mod table;

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=kernels");
    let sources = files("cu");
    write_table(&sources);
    nvcc::build(&sources, &files("cuh"));
    #[cfg(feature = "emulator")]
    emulator::build(&sources);
}

/// What this writes is included in `src/cuda`: see `kernels/build/table`.
fn write_table(sources: &[PathBuf]) {
    let files = table::read(sources).unwrap_or_else(|message| fail(&message));
    let output: PathBuf = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR").into();
    for (name, code) in table::generate(&files) {
        let to = output.join(name);
        std::fs::write(&to, code).unwrap_or_else(|e| fail(&format!("cannot write {}: {e}", to.display())));
    }
}

/// A build error for a person, without a backtrace.
fn fail(message: &str) -> ! {
    println!("cargo::error={}", message.replace('\n', " | "));
    eprintln!("{message}");
    std::process::exit(1)
}

/// The files of `kernels/` with this suffix, in the order of their names.
fn files(suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("kernels").expect("the package has a folder kernels/");
    let paths = entries.map(|entry| entry.expect("kernels/ can be listed").path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|s| s == suffix)).collect();
    files.sort();
    files
}
