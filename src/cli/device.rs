//! `--device`: where engines run, what fits there, and how fast it could be.

use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use logwright::cpu::{self, CpuEngine};
use logwright::cuda::activations::{Purpose, Recompute};
use logwright::cuda::watched::Watched;
use logwright::cuda::{self, CudaEngine, Options, Place, peaks};
use logwright::engine::Engine;
use logwright::gpt::{Config, Layout};
use logwright::{Error, Result};
use std::str::FromStr;
use std::sync::{Arc, Once};

/// What the user asks for.
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
    /// Where to compute: auto, cpu, cuda, cuda:N or emulator (CUDA kernels on the CPU, for tests). auto takes the first GPU
    /// that can be used, else the CPU
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: Device,
}

/// How training uses a GPU.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "GPU")]
pub struct TrainingArgs {
    /// What the forward pass does not keep and the backward pass computes again: each level saves memory and costs time
    #[arg(long, value_enum, default_value_t = Level::Nothing, value_name = "LEVEL")]
    recompute: Level,
    /// Queue every kernel by itself instead of replaying a recorded step: for profilers and debuggers
    #[arg(long)]
    no_graph: bool,
}

/// `Recompute`, as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Everything is kept
    Nothing,
    /// GELU outputs are not kept
    Gelu,
    /// Nor are LayerNorm outputs
    Norms,
    /// Of each block only the residual stream is kept
    Blocks,
}

impl TrainingArgs {
    fn options(self) -> Options {
        let recompute = match self.recompute {
            Level::Nothing => Recompute::Nothing,
            Level::Gelu => Recompute::Gelu,
            Level::Norms => Recompute::Norms,
            Level::Blocks => Recompute::Blocks,
        };
        Options { recompute, plain: self.no_graph, ..Options::default() }
    }
}

/// A device that has been opened.
pub enum Opened {
    Cpu,
    Cuda(Arc<dyn cuda::Device>, Options),
}

impl DeviceArgs {
    /// For inference, or training with the usual options.
    pub fn open(&self) -> Result<Opened> {
        self.open_with(Options::default())
    }

    pub fn open_for_training(&self, args: TrainingArgs) -> Result<Opened> {
        self.open_with(args.options())
    }

    fn open_with(&self, mut options: Options) -> Result<Opened> {
        options.plain |= cuda::gpu::is_patient();
        let device = match self.device {
            Device::Cpu => None,
            Device::Cuda(place) => Some(cuda::open(place)?),
            Device::Auto => cuda::first().map_err(say_why_cpu).ok(),
        };
        Ok(device.map_or(Opened::Cpu, |device| Opened::Cuda(device, options)))
    }
}

/// Once a program, however many engines it opens.
fn say_why_cpu(why: Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| tracing::info!("computing on the CPU, no GPU: {why}"));
}

/// What training takes, and the largest micro-batch there is room for.
struct Need {
    /// Parameters, gradients and moments.
    state: u64,
    activations: u64,
    available: Option<u64>,
    largest: Option<usize>,
}

impl Opened {
    /// An engine with these parameters (layout.len).
    pub fn engine(&self, config: Config, parameters: Vec<f32>) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Opened::Cpu => Box::new(CpuEngine::new(config, parameters)),
            Opened::Cuda(device, options) => {
                tracing::info!("computing on {}", device.name());
                Box::new(CudaEngine::new(device.clone(), config, parameters, *options)?)
            }
        })
    }

    /// The same device, watched; none where there is none to watch.
    pub fn watch(&mut self) -> Option<Arc<Watched>> {
        let Opened::Cuda(device, _) = self else { return None };
        let watched = Arc::new(Watched::new(device.clone()));
        *device = watched.clone();
        Some(watched)
    }

    pub fn name(&self) -> String {
        match self {
            Opened::Cpu => "cpu".to_string(),
            Opened::Cuda(device, _) => device.name(),
        }
    }

    /// Peak of the hardware in FLOP/s, where it is known.
    pub fn peak(&self) -> Option<f64> {
        match self {
            Opened::Cpu => None,
            Opened::Cuda(device, _) => Some(peaks::by_device_name(&device.name())?.tflops * 1e12),
        }
    }

    fn need(&self, config: &Config, batch: usize, time: usize) -> Result<Need> {
        Ok(match self {
            Opened::Cpu => {
                let (need, available) = (cpu::memory::training(config, batch, time), cpu::memory::available());
                let largest = available.and_then(|available| cpu::memory::largest_batch(config, time, available));
                Need { state: need.state, activations: need.activations, available, largest }
            }
            Opened::Cuda(device, options) => {
                let purpose = Purpose::Training(options.recompute);
                let (need, available) = (cuda::memory::of(config, batch, time, purpose), device.memory()?.0);
                let available = available.saturating_sub(device.overhead());
                let largest = cuda::memory::largest_batch(config, time, purpose, available);
                let state = need.weights + need.optimizer;
                Need { state, activations: need.activations, available: Some(available), largest }
            }
        })
    }

    /// Says what training will take and refuses, naming what would fit, rather than being killed half-way.
    pub fn check_memory(&self, config: &Config, batch: usize, time: usize) -> Result<()> {
        let need = self.need(config, batch, time)?;
        tracing::info!(
            "{} parameters; memory: {} for parameters, gradients and moments, {} for activations of a micro-batch of \
             {batch} x {time} tokens; the largest micro-batch that fits: {}",
            Layout::new(config).len,
            HumanBytes(need.state),
            HumanBytes(need.activations),
            need.largest.map_or("none".to_string(), |n| n.to_string())
        );
        let total = need.state.saturating_add(need.activations);
        let Some(available) = need.available.filter(|&available| total > available) else { return Ok(()) };
        let advice = match (need.largest, self) {
            (Some(batch), _) => {
                format!("the largest micro-batch that fits is --batch {batch} (raise --accumulation to make up for it)")
            }
            (None, Opened::Cuda(_, options)) if options.recompute < Recompute::Blocks => {
                "not even --batch 1 fits: try --recompute blocks, a smaller model or --context".to_string()
            }
            (None, _) => "not even --batch 1 fits: use a smaller model or --context".to_string(),
        };
        Err(Error::failed(format!(
            "training needs {} of memory, {} are available; {advice}",
            HumanBytes(total),
            HumanBytes(available)
        )))
    }
}
