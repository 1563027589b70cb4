//! Finding and opening a model on a device.

use clap::Args;
use logwright::cpu::CpuEngine;
use logwright::cuda::{self, Place};
use logwright::engine::Engine;
use logwright::gpt::{Config, checkpoint};
use logwright::report::Form;
use logwright::tokens::Tokenizer;
use logwright::{Error, Result};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Once};

/// Where the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The first GPU that can be used, else the CPU.
    Auto,
    Cpu,
    Cuda(Place),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(Place::Gpu(0))),
            "emulator" => Ok(Device::Cuda(Place::Emulator)),
            _ => {
                let ordinal = text.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
                let expected = "expected auto, cpu, cuda, cuda:N (N counts GPUs from 0) or emulator";
                ordinal.map(|ordinal| Device::Cuda(Place::Gpu(ordinal))).ok_or(expected.to_string())
            }
        }
    }
}

#[derive(Args)]
pub struct DeviceArgs {
    /// Where to compute: auto, cpu, cuda, cuda:N or emulator (CUDA kernels on the CPU, for tests). auto takes the first
    /// GPU that can be used, else the CPU
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: Device,
}

impl DeviceArgs {
    /// An engine with these parameters (layout.len).
    pub fn engine(&self, config: Config, parameters: Vec<f32>) -> Result<Box<dyn Engine>> {
        let device = match self.device {
            Device::Cpu => None,
            Device::Cuda(place) => Some(cuda::open(place)?),
            Device::Auto => cuda::first().map_err(say_why_cpu).ok(),
        };
        match device {
            None => Ok(Box::new(CpuEngine::new(config, parameters))),
            Some(device) => cuda_engine(device, config, parameters),
        }
    }
}

/// Once a program, however many engines it opens.
fn say_why_cpu(why: Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| tracing::info!("computing on the CPU, no GPU: {why}"));
}

/// The place where the CUDA engine plugs in.
fn cuda_engine(device: Arc<dyn cuda::Device>, _config: Config, _parameters: Vec<f32>) -> Result<Box<dyn Engine>> {
    let name = device.name();
    Err(Error::failed(format!("{name}: the CUDA engine is not in this build; use --device cpu")))
}

/// A model read from a folder.
pub struct Model {
    pub folder: PathBuf,
    pub engine: Box<dyn Engine>,
    pub tokenizer: Tokenizer,
    /// What the records it writes look like.
    pub form: Form,
}

/// Opens a model folder, or a run folder's `best/` (else `last/`).
pub fn open(path: &Path, device: &DeviceArgs) -> Result<Model> {
    let folder = find(path)?;
    let (config, parameters) = checkpoint::read_model(&folder)?;
    let tokenizer = Tokenizer::load(&folder)?;
    check_vocabulary(&folder, &config, &tokenizer)?;
    let form = checkpoint::record_form(&folder)?;
    let form = match form {
        None => Form::Text,
        Some(name) => serde_json::from_value(name.clone().into())
            .map_err(|_| Error::failed(format!("{}/config.json: unknown record_form {name:?}", folder.display())))?,
    };
    Ok(Model { engine: device.engine(config, parameters)?, folder, tokenizer, form })
}

pub fn find(path: &Path) -> Result<PathBuf> {
    let candidates = [path.to_path_buf(), path.join("best"), path.join("last")];
    candidates.into_iter().find(|folder| folder.join("config.json").is_file()).ok_or_else(|| {
        let what = if path.exists() { "holds no model (no config.json, best/ or last/)" } else { "does not exist" };
        Error::failed(format!(
            "{}: {what}; give a run folder of `logwright train` or a Hugging Face GPT-2 folder",
            path.display()
        ))
    })
}

/// A tokenizer may know fewer tokens than the model (padding), never more.
pub fn check_vocabulary(folder: &Path, config: &Config, tokenizer: &Tokenizer) -> Result<()> {
    if tokenizer.vocab_size() <= config.vocab {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{}: tokenizer.json has {} tokens, config.json a vocab_size of {}: they do not belong together",
        folder.display(),
        tokenizer.vocab_size(),
        config.vocab
    )))
}
