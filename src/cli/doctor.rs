//! `logwright doctor`: checks GPU, driver, libraries and kernels, and says how to get what is missing.

use super::next;
use super::stdout::print_line;
use clap::Args;
use logwright::cpu::memory;
use logwright::cuda::gpu::cublaslt_library::CublasLtLibrary;
use logwright::cuda::gpu::devices::{self, Card};
use logwright::cuda::gpu::driver::{self, Driver};
use logwright::cuda::gpu::fatbin;
use logwright::cuda::gpu::library::Ranges;
use logwright::{Error, Result};
use serde_json::{Value, json};

#[derive(Args)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One line of the report, and its fields in the JSON object.
struct Check {
    name: &'static str,
    /// What was found, in lines; or what is missing and how to get it.
    found: std::result::Result<Vec<String>, String>,
    value: Value,
}

impl Check {
    fn new(name: &'static str, found: Result<(Vec<String>, Value)>) -> Self {
        match found {
            Ok((lines, value)) => Check { name, found: Ok(lines), value },
            Err(error) => Check { name, value: json!({ "missing": error.to_string() }), found: Err(error.to_string()) },
        }
    }
}

pub fn run(args: DoctorArgs) -> Result<()> {
    let mut checks = vec![
        Check::new("driver", driver()),
        Check::new("gpus", gpus()),
        Check::new("cublaslt", cublaslt()),
        Check::new("nvtx", nvtx()),
        Check::new("kernels", kernels()),
        Check::new("emulator", emulator()),
        Check::new("cpu", cpu()),
        Check::new("memory", host_memory()),
    ];
    let ready = ready(&checks);
    checks.push(Check::new("ready", Ok(ready)));
    if args.json {
        let fields = checks.into_iter().map(|check| (check.name.to_string(), check.value));
        return print_line(&Value::Object(fields.collect()));
    }
    for Check { name, found, .. } in checks {
        let lines = found.unwrap_or_else(|missing| vec![format!("missing: {missing}")]);
        for (i, line) in lines.iter().enumerate() {
            print_line(&format_args!("{:9} {line}", if i == 0 { name } else { "" }))?;
        }
    }
    next::command("logwright demo", "finds attacks in logs of its own, in minutes");
    Ok(())
}

/// Where `--device auto` computes, and that nothing else is needed.
fn ready(checks: &[Check]) -> (Vec<String>, Value) {
    let is_there = |name: &str| checks.iter().any(|check| check.name == name && check.found.is_ok());
    let usable =
        Driver::get().and_then(devices::all).unwrap_or_default().into_iter().find(|card| card.refusal().is_none());
    match usable.filter(|_| ["cublaslt", "kernels"].into_iter().all(is_there)) {
        Some(card) => (vec![format!("on {card}")], json!("gpu")),
        None => (vec!["on the CPU; what is missing above only a GPU or a test needs".to_string()], json!("cpu")),
    }
}

fn driver() -> Result<(Vec<String>, Value)> {
    let driver = Driver::get()?;
    let (cuda, path) = (driver::version(driver.version), &driver.path);
    let package = std::fs::read_to_string("/sys/module/nvidia/version").ok().map(|text| text.trim().to_string());
    let name = package.as_ref().map_or(String::new(), |package| format!("{package}, "));
    Ok((
        vec![format!("{name}serves CUDA up to {cuda}, {path}")],
        json!({ "version": package, "cuda": cuda, "path": path }),
    ))
}

fn gpus() -> Result<(Vec<String>, Value)> {
    let cards = devices::all(Driver::get()?)?;
    if cards.is_empty() {
        return Err(Error::failed("the driver shows no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES"));
    }
    let line = |card: &Card| {
        let Card { capability: (major, minor), memory, processors, .. } = card;
        let refusal = card.refusal().map_or(String::new(), |refusal| format!("; cannot be used: {refusal}"));
        let memory = *memory as f64 / f64::from(1 << 30);
        format!("{card}: compute capability {major}.{minor}, {memory:.1} GiB, {processors} SMs{refusal}")
    };
    let value = |card: &Card| {
        json!({
            "ordinal": card.ordinal, "name": card.name, "compute_capability": [card.capability.0, card.capability.1],
            "memory_bytes": card.memory, "sms": card.processors, "refusal": card.refusal(),
        })
    };
    Ok((cards.iter().map(line).collect(), cards.iter().map(value).collect()))
}

fn cublaslt() -> Result<(Vec<String>, Value)> {
    let found = CublasLtLibrary::any()?;
    let (version, path) = (found.version(), &found.path);
    Ok((vec![format!("{version}, {path}")], json!({ "version": version, "path": path })))
}

fn nvtx() -> Result<(Vec<String>, Value)> {
    let missing = "no libnvToolsExt.so.1 or libnvtx3interop.so.1; only named ranges in profiles need it \
                   (`pip install nvidia-nvtx`)";
    let ranges = Ranges::load().ok_or_else(|| Error::failed(missing))?;
    Ok((vec![ranges.path.clone()], json!({ "path": ranges.path })))
}

/// The compiler that built the kernels, and the resources of each kernel.
fn kernels() -> Result<(Vec<String>, Value)> {
    let missing = format!("{}; {}", fatbin::NONE, fatbin::HOW);
    let nvcc = fatbin::NVCC.ok_or_else(|| Error::failed(missing))?;
    let usages = fatbin::usages();
    let bytes: usize = fatbin::MODULES.iter().map(|module| module.image.len()).sum();
    let mut lines = vec![format!("by nvcc {nvcc}, {} modules, {} KiB", fatbin::MODULES.len(), bytes >> 10)];
    let line = |usage: &fatbin::Usage| {
        let fatbin::Usage { kernel, architecture, registers, spills, shared } = usage;
        format!("{kernel:32} {architecture:7} {registers:3} registers, {spills} spill bytes, {shared} shared bytes")
    };
    lines.extend(usages.iter().map(line));
    Ok((lines, json!({ "nvcc": nvcc, "bytes": bytes, "usage": usages })))
}

fn emulator() -> Result<(Vec<String>, Value)> {
    match cfg!(feature = "emulator") {
        true => Ok((vec!["built in (--device emulator)".to_string()], json!(true))),
        false => Err(Error::failed("only tests need it; build with `--features emulator`")),
    }
}

fn cpu() -> Result<(Vec<String>, Value)> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let vectors = vector_unit();
    Ok((vec![format!("{cores} cores, {vectors}")], json!({ "cores": cores, "vectors": vectors })))
}

/// The widest vectors that the CPU engine's matrix products can use.
fn vector_unit() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "AVX2 and FMA";
        }
    }
    "no AVX2"
}

fn host_memory() -> Result<(Vec<String>, Value)> {
    let bytes = memory::available().ok_or_else(|| Error::failed("/proc/meminfo cannot be read"))?;
    let gibibytes = bytes as f64 / f64::from(1 << 30);
    Ok((vec![format!("{gibibytes:.1} GiB available")], json!({ "available_bytes": bytes })))
}
