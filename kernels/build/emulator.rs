//! Compiles the kernels and the emulator's runtime for the host.

use std::path::{Path, PathBuf};

const EMULATOR: &str = "kernels/emulator";
const CHECK: bool = cfg!(feature = "emulator-check");
/// Builds kernels and runtime with AddressSanitizer (see `kernels/emulator/README.md`).
const ASAN: &str = "LOGWRIGHT_EMULATOR_ASAN";

/// Static libraries with the kernels, the runtime, and the kernels of `tests/emulator.rs`: of the last, a program takes
/// only what it names, so none of them is in the product.
pub fn build(kernels: &[PathBuf]) {
    println!("cargo:rerun-if-env-changed={ASAN}");
    println!("cargo:rustc-check-cfg=cfg(emulator_asan)");
    if asan() {
        if CHECK {
            panic!("{ASAN} and the feature emulator-check exclude each other: build with one of them");
        }
        println!("cargo:rustc-cfg=emulator_asan");
        // Named before all other libraries: the sanitizer must be the first that is loaded.
        println!("cargo:rustc-link-lib=dylib=asan");
    }
    kernel_compiler().files(kernels).compile("emulated_kernels");
    let tests = |file: &str| Path::new(EMULATOR).join("tests").join(file);
    kernel_compiler().file(tests("bugs.cu")).compile("emulator_bugs");
    let good = ["bugs.cu", "features.cu", "banks.cu"].map(tests);
    kernel_compiler().define("GOOD", None).files(good).compile("emulator_twins");
    let mut runtime = compiler();
    runtime.opt_level(2).files(sources("runtime"));
    if CHECK {
        runtime.define("CUEMU_CHECK", None).files(sources("check"));
    }
    runtime.compile("emulator_runtime");
}

fn asan() -> bool {
    std::env::var(ASAN).is_ok_and(|value| value == "1")
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let entries = Path::new(EMULATOR).join(folder).read_dir().expect("the emulator has this folder");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut sources: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "cpp")).collect();
    sources.sort();
    sources
}

fn kernel_compiler() -> cc::Build {
    let mut build = compiler();
    // `.cu` is no C++ suffix to g++.
    build.flag("-x").flag("c++").flag("-Wno-unknown-pragmas");
    if CHECK {
        // Instrumentation only: the checker supplies the __tsan_* functions, libtsan is not linked.
        build.flag("-fsanitize=thread");
        if build.get_compiler().is_like_clang() {
            build.flag("-mllvm").flag("-tsan-instrument-read-before-write");
        } else {
            build.flag("-fsanitize=alignment").flag("-fsanitize-undefined-trap-on-error");
        }
    }
    build
}

/// Optimised also in a debug build (tests run four times as fast), with line numbers for messages.
fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").include("kernels").include(EMULATOR).warnings(false);
    build.opt_level(if CHECK || asan() { 1 } else { 2 }).flag("-gdwarf-4").flag("-fno-omit-frame-pointer");
    if asan() {
        build.flag("-fsanitize=address");
    }
    build
}
