//! Compiles the kernels and the emulator's runtime for the host.

use crate::made::key;
use std::fs;
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
    archive("emulated_kernels", &kernel_compiler(), kernels);
    let tests = |file: &str| Path::new(EMULATOR).join("tests").join(file);
    archive("emulator_bugs", &kernel_compiler(), &["bugs.cu", "bugs_hopper.cu"].map(tests));
    let good = ["bugs.cu", "bugs_hopper.cu", "features.cu", "features_hopper.cu", "banks.cu"];
    archive("emulator_twins", kernel_compiler().define("GOOD", None), &good.map(tests));
    let mut runtime = compiler();
    let mut parts = sources("runtime");
    if CHECK {
        runtime.define("CUEMU_CHECK", None);
        parts.extend(sources("check"));
    }
    archive("emulator_runtime", runtime.opt_level(2), &parts);
}

/// A static library of `sources`. An object's name has the key of all that it is made of, so only what changed since the last
/// build is compiled, and an object that is there is whole: it was renamed after its compiler had succeeded.
fn archive(library: &str, compiler: &cc::Build, sources: &[PathBuf]) {
    let tool = compiler.get_compiler().to_command();
    let version = std::process::Command::new(tool.get_program()).arg("--version").output();
    let version = version.unwrap_or_else(|e| panic!("cannot run {}: {e}", tool.get_program().display())).stdout;
    let made_by = (format!("{tool:?}"), version);
    let headers = headers();
    let output = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let folder = output.join(library);
    let object = |source: &PathBuf| {
        let name = source.file_stem().expect("a source has a name").display();
        folder.join(format!("{name}-{}.o", key(&made_by, headers.iter().chain([source]))))
    };
    let objects: Vec<PathBuf> = sources.iter().map(object).collect();
    fs::create_dir_all(&folder).expect("cargo's output folder can be written");
    for entry in folder.read_dir().expect("it was just made").map(|entry| entry.expect("it can be listed").path()) {
        if !objects.contains(&entry) {
            fs::remove_file(entry).expect("cargo's output folder can be written");
        }
    }
    let changed = sources.iter().zip(&objects).filter(|(_, object)| !object.exists());
    let (changed, wanted): (Vec<_>, Vec<_>) = changed.unzip();
    for (from, to) in compiler.clone().files(changed).compile_intermediates().iter().zip(wanted) {
        fs::rename(from, to).expect("both lie in cargo's output folder");
    }
    cc::Build::new().cpp(true).objects(&objects).compile(library);
}

/// Every header that a kernel, the runtime or the checker may include.
fn headers() -> Vec<PathBuf> {
    let (mut folders, mut headers) = (vec![PathBuf::from("kernels")], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in folder.read_dir().expect("it can be listed").map(|entry| entry.expect("it can be listed").path()) {
            match path.extension().and_then(|suffix| suffix.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("h" | "cuh") => headers.push(path),
                _ => {}
            }
        }
    }
    headers.sort();
    headers
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
    build.flag("-x").flag("c++").flag("-Wno-unknown-pragmas").flag("-Wno-psabi");
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
