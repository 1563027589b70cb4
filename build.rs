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
    name_commit();
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

/// Tells the program the commit that it is built from. A build with the profile `quick` is for work on the code: it would compile
/// everything again after each commit, so it names none.
fn name_commit() {
    let output = std::env::var("OUT_DIR").unwrap_or_default();
    let git = |arguments: &[&str]| {
        let said =
            std::process::Command::new("git").args(arguments).output().ok().filter(|said| said.status.success())?;
        Some(String::from_utf8_lossy(&said.stdout).trim().to_string()).filter(|text| !text.is_empty())
    };
    let commit = match output.split('/').any(|part| part == "quick") {
        true => "not named (profile quick)".to_string(),
        false => {
            // The log of HEAD grows with every commit and checkout.
            let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).is_file());
            if let Some(log) = log {
                println!("cargo:rerun-if-changed={log}");
            }
            git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or("not known (built without git)".into())
        }
    };
    println!("cargo:rustc-env=LOGWRIGHT_COMMIT={commit}");
}

/// What some tests need and not every machine has; where it is absent they are ignored, and say so.
fn find_what_tests_need() {
    println!("cargo:rustc-check-cfg=cfg(real_logs, nvidia_driver, rsyslog, kcat, chromium, prometheus, openai)");
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
    let programs = [("rsyslog", "rsyslogd"), ("kcat", "kcat"), ("chromium", "chromium"), ("prometheus", "prometheus")];
    for (name, program) in programs {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            println!("cargo:rustc-cfg={name}");
        }
    }
    let look = "import importlib.util as u, sys; sys.exit(u.find_spec('openai') is None)";
    let python = std::process::Command::new("python3").args(["-c", look]).status();
    if python.is_ok_and(|status| status.success()) {
        println!("cargo:rustc-cfg=openai");
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
