//! Derives the kernel table from `kernels/` (`kernels/build/table`), and compiles the kernels: for GPUs where there is
//! an nvcc (`kernels/build/nvcc.rs`), for the host with the feature `emulator`.

#[cfg(feature = "emulator")]
#[path = "kernels/build/emulator.rs"]
mod emulator;
#[path = "kernels/build/made.rs"]
mod made;
#[path = "kernels/build/nvcc.rs"]
mod nvcc;
#[path = "kernels/build/ptxas.rs"]
mod ptxas;
#[path = "kernels/build/table/mod.rs"]
mod table;

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=kernels");
    find_what_tests_need();
    let sources = files("cu");
    nvcc::build(&sources, &write_table(&sources), &files("cuh"));
    #[cfg(feature = "emulator")]
    emulator::build(&sources);
}

/// What this writes is included in `src/cuda`: see `kernels/build/table`. Of each source it gives the compute capability of
/// the only cards that it is for, if it is not for all.
fn write_table(sources: &[PathBuf]) -> Vec<Option<(u32, u32)>> {
    let files = table::read(sources).unwrap_or_else(|message| fail(&message));
    let output: PathBuf = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR").into();
    for (name, code) in table::generate(&files) {
        let to = output.join(name);
        std::fs::write(&to, code).unwrap_or_else(|e| fail(&format!("cannot write {}: {e}", to.display())));
    }
    files.iter().map(|file| file.only).collect()
}

/// A build error for a person, without a backtrace.
fn fail(message: &str) -> ! {
    println!("cargo::error={}", message.replace('\n', " | "));
    eprintln!("{message}");
    std::process::exit(1)
}

/// What some tests need and not every machine has; where it is absent they are ignored, and say so.
fn find_what_tests_need() {
    println!("cargo:rustc-check-cfg=cfg(real_logs, nvidia_driver)");
    println!("cargo:rerun-if-env-changed=LOGWRIGHT_REAL_LOGS");
    // A folder that is absent is not watched: cargo would run this at every build.
    let folder = std::env::var_os("LOGWRIGHT_REAL_LOGS").map_or("../shared/data".into(), PathBuf::from);
    if let Ok(folder) = folder.canonicalize() {
        println!("cargo:rerun-if-changed={}", folder.display());
        println!("cargo:rustc-cfg=real_logs");
        println!("cargo:rustc-env=LOGWRIGHT_REAL_LOGS={}", folder.display());
    }
    if Path::new("/dev/nvidiactl").exists() {
        println!("cargo:rustc-cfg=nvidia_driver");
    }
}

/// The files of `kernels/` with this suffix, in the order of their names.
fn files(suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("kernels").expect("the package has a folder kernels/");
    let paths = entries.map(|entry| entry.expect("kernels/ can be listed").path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|s| s == suffix)).collect();
    files.sort();
    files
}
