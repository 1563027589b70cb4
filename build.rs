//! Compiles `kernels/`: for the host with the feature `emulator`.

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

#[cfg(feature = "emulator")]
mod emulator {
    use std::path::PathBuf;

    const CHECK: bool = cfg!(feature = "emulator-check");

    /// Kernels and the emulator's runtime, as two static libraries.
    pub fn build(sources: &[PathBuf]) {
        let mut kernels = compiler();
        // `.cu` is no C++ suffix to g++.
        kernels.flag("-x").flag("c++").flag("-Wno-unknown-pragmas");
        if CHECK {
            // Instrumentation only: the checker supplies the __tsan_* functions, libtsan is not linked.
            kernels.flag("-fsanitize=thread");
            if kernels.get_compiler().is_like_clang() {
                kernels.flag("-mllvm").flag("-tsan-instrument-read-before-write");
            } else {
                kernels.flag("-fsanitize=alignment").flag("-fsanitize-undefined-trap-on-error");
            }
        }
        kernels.files(sources).compile("emulated_kernels");
        let mut runtime = compiler();
        runtime.file("kernels/emulator/cuda_emu.cpp");
        if CHECK {
            runtime.file("kernels/emulator/cuda_emu_check.cpp");
        }
        runtime.compile("emulator_runtime");
    }

    /// Optimised also in a debug build (tests run four times as fast), with line numbers for the checker.
    fn compiler() -> cc::Build {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").include("kernels").include("kernels/emulator").warnings(false);
        build.opt_level(if CHECK { 1 } else { 2 }).flag("-gdwarf-4").flag("-fno-omit-frame-pointer");
        build
    }
}
