//! Chooses where engines run: opens the device that is asked for, checks its memory, and makes engines on it.

use crate::cpu::{self, CpuEngine};
use crate::cuda::device::seam::Device;
use crate::cuda::gpu;
use crate::cuda::model::activations::{Purpose, Recompute};
use crate::cuda::model::engine::{CudaEngine, Options};
use crate::cuda::model::memory;
use crate::cuda::open::{self, DeviceId};
use crate::cuda::perf::op_recorder::OpRecorder;
use crate::cuda::perf::peaks;
use crate::engine::Engine;
use crate::gpt::{Config, Layout};
use crate::{Error, Result};
use indicatif::HumanBytes;
use std::str::FromStr;
use std::sync::{Arc, Once};

/// The device that the user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that can be used, else the CPU.
    Auto,
    Cpu,
    Cuda(DeviceId),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(DeviceId::Gpu(0))),
            "emulator" => Ok(DeviceChoice::Cuda(DeviceId::Emulator)),
            _ => {
                let ordinal = text.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
                let expected = "expected auto, cpu, cuda, cuda:N (N counts GPUs from 0) or emulator";
                ordinal.map(|ordinal| DeviceChoice::Cuda(DeviceId::Gpu(ordinal))).ok_or(expected.to_string())
            }
        }
    }
}

/// A device that has been opened.
pub enum Backend {
    Cpu,
    Cuda(Arc<dyn Device>, Options),
}

/// The first GPU that can be used, else None, which is said once per process, however many engines are opened.
fn first_gpu() -> Option<Arc<dyn Device>> {
    static SAID: Once = Once::new();
    let found = open::first();
    let why = match &found {
        Ok(Some(_)) => return found.ok().flatten(),
        Ok(None) => "no GPU found; logwright doctor says why".to_string(),
        Err(why) => why.to_string(),
    };
    SAID.call_once(|| tracing::info!("computing on the CPU: {why}"));
    None
}

/// The memory that training takes, and the largest micro-batch that fits.
struct Need {
    /// Parameters, gradients and moments.
    state: u64,
    activations: u64,
    available: Option<u64>,
    largest: Option<usize>,
}

impl Backend {
    /// Opens the device that was asked for.
    ///
    /// # Errors
    /// When that device cannot be used; the error says what is missing. `Auto` falls back to the CPU and says why.
    pub fn open(choice: DeviceChoice, mut options: Options) -> Result<Self> {
        options.eager |= gpu::device::sync_launches();
        let device = match choice {
            DeviceChoice::Cpu => None,
            DeviceChoice::Cuda(id) => Some(open::open(id)?),
            DeviceChoice::Auto => first_gpu(),
        };
        Ok(device.map_or(Backend::Cpu, |device| Backend::Cuda(device, options)))
    }

    /// An engine with these parameters (layout.len).
    pub fn engine(&self, config: Config, parameters: Vec<f32>) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Backend::Cpu => Box::new(CpuEngine::new(config, parameters)),
            Backend::Cuda(device, options) => {
                tracing::info!("computing on {}", device.name());
                Box::new(CudaEngine::new(device.clone(), config, parameters, *options)?)
            }
        })
    }

    /// From here on the device records its operations; None on the CPU, which has none to record.
    pub fn record_ops(&mut self) -> Option<Arc<OpRecorder>> {
        let Backend::Cuda(device, _) = self else { return None };
        let recorder = Arc::new(OpRecorder::new(device.clone()));
        *device = recorder.clone();
        Some(recorder)
    }

    pub fn name(&self) -> String {
        match self {
            Backend::Cpu => "cpu".to_string(),
            Backend::Cuda(device, _) => device.name(),
        }
    }

    /// Peak of the hardware in FLOP/s; None where it is not known.
    pub fn peak(&self) -> Option<f64> {
        match self {
            Backend::Cpu => None,
            Backend::Cuda(device, _) => Some(peaks::by_device_name(&device.name())?.tflops * 1e12),
        }
    }

    /// Refuses a model that does not fit in memory with passes over `rows` tokens at once.
    pub fn check_inference(&self, config: &Config, rows: usize) -> Result<()> {
        let rows = if let Backend::Cpu = self { rows } else { 0 };
        cpu::memory::check(cpu::memory::inference(config, rows), "the model")
    }

    fn need(&self, config: &Config, batch: usize, seq_len: usize) -> Result<Need> {
        Ok(match self {
            Backend::Cpu => {
                let (need, available) = (cpu::memory::training(config, batch, seq_len), cpu::memory::available());
                let largest = available.and_then(|available| cpu::memory::largest_batch(config, seq_len, available));
                Need { state: need.state, activations: need.activations, available, largest }
            }
            Backend::Cuda(device, options) => {
                let purpose = Purpose::Training(options.recompute);
                let (need, available) = (memory::of(config, batch, seq_len, purpose), device.memory()?.0);
                let available = available.saturating_sub(device.overhead());
                let largest = memory::largest_batch(config, seq_len, purpose, available);
                let state = need.weights + need.optimizer;
                Need { state, activations: need.activations, available: Some(available), largest }
            }
        })
    }

    /// Logs how much memory training will take, and refuses a run that does not fit, naming the batch that would, rather than
    /// letting it be killed half-way.
    pub fn check_memory(&self, config: &Config, batch: usize, seq_len: usize) -> Result<()> {
        let need = self.need(config, batch, seq_len)?;
        tracing::info!(
            "{} parameters; memory: {} for parameters, gradients and moments, {} for activations of a micro-batch of \
             {batch} x {seq_len} tokens; the largest micro-batch that fits: {}",
            Layout::new(config).len,
            HumanBytes(need.state),
            HumanBytes(need.activations),
            need.largest.map_or("none".to_string(), |n| n.to_string())
        );
        let total = need.state.saturating_add(need.activations);
        let Some(available) = need.available.filter(|&available| total > available) else { return Ok(()) };
        let advice = match (need.largest, self) {
            (Some(batch), _) => {
                format!("the largest micro-batch that fits is --batch {batch} (raise --accumulation to compensate)")
            }
            (None, Backend::Cuda(_, options)) if options.recompute < Recompute::Blocks => {
                "not even --batch 1 fits: try --recompute blocks, a smaller model or --context".to_string()
            }
            (None, _) => "not even --batch 1 fits: use a smaller model or --context".to_string(),
        };
        Err(Error::failed(format!(
            "training needs {} of memory, but {} are available; {advice}",
            HumanBytes(total),
            HumanBytes(available)
        )))
    }
}
