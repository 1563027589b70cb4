//! What the program says where a GPU or a library is missing or fails, with stand-ins for NVIDIA's libraries.

use crate::common::{SMALL, Said, corpus, logwright};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const BYTES: &str = "--tokenizer bytes";

static STUBS: LazyLock<TempDir> = LazyLock::new(crate::stub::libraries);
static CORPUS: LazyLock<TempDir> = LazyLock::new(|| corpus(12, BYTES));

/// Runs the program with the stand-ins in the loader's path, as `settings` ("NAME=VALUE ...") tell them to behave.
fn with_stubs(settings: &str, line: &str) -> Said {
    run(STUBS.path(), settings, line)
}

fn run(libraries: &Path, settings: &str, line: &str) -> Said {
    let variables = settings.split_whitespace().map(|setting| setting.split_once('=').unwrap());
    let mut command = logwright();
    command.args(line.split_whitespace()).current_dir(CORPUS.path()).env("LD_LIBRARY_PATH", libraries);
    command.env_remove("CUDA_HOME").envs(variables).output().unwrap().into()
}

fn train(device: &str) -> String {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("train --data data --out run-{run} --steps 1 {SMALL} --device {device}")
}

#[test]
fn a_driver_that_fails_is_told_with_what_to_do() {
    let cases = [
        ("STUB_CUDA=cuInit=100", "no GPU is visible"),
        ("STUB_CUDA=cuInit=34", "toolkit's stub"),
        ("STUB_CUDA=cuInit=803", "restart the machine"),
        ("STUB_CUDA=cuInit=999", "nvidia-smi"),
        ("STUB_CUDA=cuInit=98765", "CUDA error 98765"),
        ("STUB_COUNT=0", "there is no GPU 0; the driver shows none"),
        ("STUB_CAPABILITY=75", "compute capability 7.5, the kernels need 8.0"),
    ];
    for (settings, said) in cases {
        with_stubs(settings, &train("cuda")).has(1, &[said]);
    }
    with_stubs("STUB_COUNT=2", &train("cuda:2")).has(1, &["there is no GPU 2", "GPU 0 (Stub 100), GPU 1 (Stub 100)"]);
}

#[test]
#[cfg_attr(nvidia_driver, ignore = "needs a machine without NVIDIA's driver")]
fn no_driver_is_told_with_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let said = run(empty.path(), "", &train("cuda"));
    said.has(1, &["no CUDA driver", "libcuda.so.1 not found", "install NVIDIA's driver"]);
    let said = run(empty.path(), "", &train("auto"));
    said.has(0, &["computing on the CPU: no GPU found; logwright doctor says why"]);
    assert!(!said.err.contains("libcuda"), "{}", said.err);
    let doctor = run(empty.path(), "", "doctor");
    assert!(doctor.out.contains("no CUDA driver (libcuda.so.1 not found"), "{}", doctor.out);
}

#[test]
fn auto_takes_the_cpu_when_the_gpu_cannot_be_used() {
    with_stubs("STUB_CAPABILITY=75", &train("auto")).has(0, &["computing on the CPU", "compute capability 7.5"]);
}

#[test]
fn doctor_reports_whatever_is_there() {
    let said = with_stubs("STUB_VERSION=12040 STUB_COUNT=2", "doctor");
    said.has(0, &[]);
    for part in ["serves CUDA up to 12.4", "GPU 1 (Stub 100): compute capability 8.0, 16.0 GiB, 108 SMs", "13.0.0"] {
        assert!(said.out.contains(part), "{part} in {}", said.out);
    }
    let json = |settings| {
        let said = with_stubs(settings, "doctor --json");
        said.has(0, &[]);
        serde_json::from_str::<serde_json::Value>(&said.out).unwrap()
    };
    let found = json("");
    assert_eq!((found["gpus"][0]["sms"].as_u64(), found["driver"]["cuda"].as_str()), (Some(108), Some("13.0")));
    assert!(found["cublaslt"]["path"].as_str().unwrap().ends_with("libcublasLt.so.13"));
    assert!(found["cpu"]["cores"].as_u64().unwrap() > 0);
    let ready = if cfg!(gpu_kernels) { "gpu" } else { "cpu" };
    assert_eq!((&found["ready"], &json("STUB_CAPABILITY=75")["ready"]), (&ready.into(), &"cpu".into()));
    assert!(json("STUB_CAPABILITY=75")["gpus"][0]["refusal"].as_str().unwrap().contains("7.5"));
    assert!(json("STUB_CUDA=cuInit=100")["gpus"]["missing"].as_str().unwrap().contains("no GPU is visible"));
}

/// These failures come behind the check for embedded kernels.
#[test]
#[cfg_attr(not(gpu_kernels), ignore = "needs a build with nvcc (scripts/install-nvcc)")]
fn a_gpu_that_cannot_run_the_kernels_is_told_with_what_to_do() {
    let cases = [
        ("STUB_VERSION=12040 STUB_CUDA=cuModuleLoadData=209", "the driver serves CUDA up to 12.4: update the driver"),
        ("STUB_CUDA=cuModuleLoadData=222", "loading the kernels of "),
        ("STUB_CUDA=cuModuleGetFunction=500", "adamw_norm_partials is in none of the embedded modules (adamw.cu"),
        ("STUB_CUDA=cuDevicePrimaryCtxRetain=2", "another program may hold the GPU's memory"),
        ("STUB_CUDA=cuDevicePrimaryCtxRetain=46", "another program has the GPU to itself"),
    ];
    for (settings, said) in cases {
        with_stubs(settings, &train("cuda")).has(1, &[said]);
    }
    with_stubs("STUB_TOO_NEW=1", &train("auto")).has(0, &["no usable cuBLASLt", "some failure", "LD_LIBRARY_PATH"]);
}

#[test]
#[cfg_attr(gpu_kernels, ignore = "needs a build without nvcc")]
fn a_build_without_kernels_says_how_to_get_them() {
    with_stubs("", &train("cuda")).has(1, &["built without nvcc", "scripts/install-nvcc"]);
}
