//! `--device` and the flags that say how training uses a GPU.

use clap::{Args, ValueEnum};
use logwright::Result;
use logwright::backend::{Backend, DeviceChoice};
use logwright::cuda::model::activations::Recompute;
use logwright::cuda::model::engine::Options;
use logwright::cuda::open::{self, DeviceId};
use logwright::model_folder::{LoadedModel, ModelFolder};
use std::path::Path;

#[derive(Args)]
pub struct DeviceArgs {
    /// Where to compute: auto, cpu, cuda, cuda:N or emulator (the CUDA kernels on the CPU, for tests). auto takes the first
    /// GPU that can be used, else the CPU
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
}

/// How training uses a GPU.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "GPU")]
pub struct TrainingArgs {
    /// Activations that the backward pass recomputes instead of keeping them: each level saves memory and costs time
    #[arg(long, value_enum, default_value_t = Level::Nothing, value_name = "LEVEL")]
    recompute: Level,
    /// Launch every kernel separately instead of replaying a recorded CUDA graph: for profilers and debuggers
    #[arg(long)]
    no_graph: bool,
}

/// `Recompute`, as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Keep everything
    Nothing,
    /// Recompute GELU outputs
    Gelu,
    /// Recompute LayerNorm outputs too
    Norms,
    /// Keep only the residual stream of each block
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
        Options { recompute, eager: self.no_graph, ..Options::default() }
    }
}

impl DeviceArgs {
    /// Where several processes of a machine compute, each takes the next GPU if it may choose; `local_rank` is its number there.
    pub fn spread(&mut self, local_rank: Option<usize>) {
        if let (DeviceChoice::Auto, Some(rank), gpus @ 2..) = (self.device, local_rank, open::gpus()) {
            self.device = DeviceChoice::Cuda(DeviceId::Gpu(rank % gpus));
        }
    }

    /// Opens the device for inference, or for training with the default options.
    pub fn open(&self) -> Result<Backend> {
        Backend::open(self.device, Options::default())
    }

    /// Reads a model folder and puts its model on the device.
    pub fn load(&self, model: &Path) -> Result<LoadedModel> {
        let folder = ModelFolder::read(model)?;
        folder.load(&self.open()?)
    }

    pub fn open_for_training(&self, args: TrainingArgs) -> Result<Backend> {
        Backend::open(self.device, args.options())
    }
}
