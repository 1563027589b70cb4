//! Each kernel file -> one fatbin with code for sm_80 and sm_90a and PTX for what comes later, embedded in the program; of
//! a file for one kind of cards alone only their code.
//!
//! Files are compiled apart and loaded as modules apart, since no kernel calls into another file. Without an nvcc the
//! build succeeds and embeds nothing; the program then says how to get one.

use crate::fail;
use crate::made::key;
use crate::ptxas::{self, Usage};
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const FLAGS: [&str; 6] = ["-std=c++17", "-lineinfo", "-Xptxas=-v", "-Werror=all-warnings", "-fatbin", "-O3"];
/// The compute capability of the only cards that a file is for.
type Capability = (u32, u32);

const OF_ALL_CARDS: &str = "-gencode=arch=compute_80,code=[sm_80,compute_80]";
const OF_HOPPER: &str = "-gencode=arch=compute_90a,code=sm_90a";

/// What a file is compiled for.
fn architectures(only: Option<Capability>) -> &'static [&'static str] {
    match only {
        None => &[OF_ALL_CARDS, OF_HOPPER],
        Some(_) => &[OF_HOPPER],
    }
}

/// `only`: of each source, the cards that it is for.
pub fn build(sources: &[PathBuf], only: &[Option<Capability>], headers: &[PathBuf]) {
    for variable in ["NVCC", "CUDA_HOME", "PATH", "LOGWRIGHT_REQUIRE_NVCC"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    // For tests: they need kernels, or a build that has none, and say that they were ignored where it is the other.
    println!("cargo:rustc-check-cfg=cfg(gpu_kernels)");
    let nvcc = find();
    if nvcc.is_none() && env::var("LOGWRIGHT_REQUIRE_NVCC").is_ok_and(|value| value == "1") {
        fail(
            "LOGWRIGHT_REQUIRE_NVCC=1, and no nvcc: none at $NVCC, in $CUDA_HOME/bin, on PATH or in .nvcc/, \
             which scripts/install-nvcc fills",
        );
    }
    let mut code = String::new();
    match nvcc {
        None => code.push_str("pub const NVCC: Option<&str> = None;\npub static MODULES: &[Module] = &[];\n"),
        Some(nvcc) => {
            println!("cargo:rerun-if-changed={}", nvcc.display());
            println!("cargo:rustc-cfg=gpu_kernels");
            let version = version(&nvcc);
            writeln!(code, "pub const NVCC: Option<&str> = Some({version:?});").expect("a string grows");
            let usages = compile_all(&nvcc, &version, sources, only, headers);
            modules(&mut code, sources, only, &usages);
        }
    }
    let to = output().join("fatbin.rs");
    fs::write(&to, code).unwrap_or_else(|e| fail(&format!("cannot write {}: {e}", to.display())));
}

fn output() -> PathBuf {
    env::var_os("OUT_DIR").expect("cargo sets OUT_DIR").into()
}

/// $NVCC, $CUDA_HOME/bin, PATH, `.nvcc/` in that order. A $NVCC that is set must be there.
fn find() -> Option<PathBuf> {
    if let Some(nvcc) = env::var_os("NVCC").filter(|nvcc| !nvcc.is_empty()).map(PathBuf::from) {
        return match nvcc.is_file() {
            true => Some(nvcc),
            false => fail(&format!("$NVCC names {}, which is no file", nvcc.display())),
        };
    }
    let home = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = home.into_iter().chain(env::split_paths(&path)).chain([Path::new(".nvcc/bin").to_path_buf()]);
    folders.map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file())
}

/// As in "Cuda compilation tools, release 13.0, V13.0.88".
fn version(nvcc: &Path) -> String {
    let said = Command::new(nvcc).arg("--version").output();
    let said = said.unwrap_or_else(|e| fail(&format!("cannot run {}: {e}", nvcc.display()))).stdout;
    let said = String::from_utf8_lossy(&said);
    let version = said.split_once(", V").map(|(_, version)| version.lines().next().unwrap_or(version).to_string());
    version.unwrap_or_else(|| fail(&format!("{} --version says no version: {said}", nvcc.display())))
}

/// Compiles on as many threads as cargo allows; what ptxas said, a list for each source.
fn compile_all(
    nvcc: &Path,
    version: &str,
    sources: &[PathBuf],
    only: &[Option<Capability>],
    headers: &[PathBuf],
) -> Vec<Vec<Usage>> {
    let jobs = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1usize);
    let queue = Mutex::new(sources.iter().zip(only).enumerate());
    let results = Mutex::new(Vec::new());
    let next = || queue.lock().expect("no panic while locked").next();
    let work = || {
        while let Some((index, (source, only))) = next() {
            let result = compile(nvcc, version, source, architectures(*only), headers);
            results.lock().expect("no panic while locked").push((index, result));
        }
    };
    std::thread::scope(|scope| (0..jobs.min(sources.len())).for_each(|_| drop(scope.spawn(work))));
    let mut results = results.into_inner().expect("no panic while locked");
    results.sort_by_key(|(index, _)| *index);
    let said = |result: Result<String, String>| ptxas::parse(&result.unwrap_or_else(|message| fail(&message)));
    results.into_iter().map(|(_, result)| said(result)).collect()
}

/// Compiles a source unless the last build did with the same content and compiler; gives ptxas's words.
fn compile(
    nvcc: &Path,
    version: &str,
    source: &Path,
    architectures: &[&str],
    headers: &[PathBuf],
) -> Result<String, String> {
    let fatbin = output().join(name(source)).with_extension("fatbin");
    let (key_file, log_file) = (fatbin.with_extension("key"), fatbin.with_extension("ptxas"));
    let key = key(&(version, FLAGS, architectures), headers.iter().map(PathBuf::as_path).chain([source]));
    if fatbin.is_file() && fs::read_to_string(&key_file).is_ok_and(|old| old == key) {
        return fs::read_to_string(&log_file).map_err(|e| format!("cannot read {}: {e}", log_file.display()));
    }
    let run = Command::new(nvcc).args(FLAGS).args(architectures).arg("-o").arg(&fatbin).arg(source).output();
    let run = run.map_err(|e| format!("cannot run {}: {e}", nvcc.display()))?;
    let said = [run.stdout, run.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if !run.status.success() {
        return Err(format!("nvcc failed on {}:\n{said}", source.display()));
    }
    // The code would be right, and several times as slow.
    if let Some(note) = said.lines().find(|line| line.contains("wgmma.mma_async instructions are serialized")) {
        return Err(format!(
            "{}: expected products that run beside one another, and ptxas says\n{note}",
            source.display()
        ));
    }
    let write =
        |file: &Path, text: &str| fs::write(file, text).map_err(|e| format!("cannot write {}: {e}", file.display()));
    write(&log_file, &said)?;
    write(&key_file, &key)?;
    Ok(said)
}

fn name(source: &Path) -> String {
    source.file_stem().expect("a .cu file has a name").to_string_lossy().into_owned()
}

/// The embedded modules as Rust source; the types are those of `src/cuda/fatbin.rs`.
fn modules(code: &mut String, sources: &[PathBuf], only: &[Option<Capability>], usages: &[Vec<Usage>]) {
    code.push_str("pub static MODULES: &[Module] = &[\n");
    for ((source, only), usages) in sources.iter().zip(only).zip(usages) {
        let name = name(source);
        let image = format!("&Aligned(*include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.fatbin\"))).0");
        let head = format!("file: \"{name}.cu\", only: {only:?}, image: {image}");
        writeln!(code, "Module {{ {head}, usages: &[").expect("a string grows");
        for Usage { kernel, architecture, registers, spills, shared } in usages {
            let names = format!("kernel: {kernel:?}, architecture: {architecture:?}");
            let numbers = format!("registers: {registers}, spills: {spills}, shared: {shared}");
            writeln!(code, "    Usage {{ {names}, {numbers} }},").expect("a string grows");
        }
        code.push_str("] },\n");
    }
    code.push_str("];\n");
}
