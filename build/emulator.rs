//! Kernels and the emulator's runtime, as two static libraries for the host.

use std::path::PathBuf;

const CHECK: bool = cfg!(feature = "emulator-check");

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
