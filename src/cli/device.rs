//! `--device` and the flags that say how training uses a GPU.

use clap::{Args, ValueEnum};
use logwright::Result;
use logwright::backend::{Backend, DeviceChoice};
use logwright::cuda::model::activations::Recompute;
use logwright::cuda::model::engine::Options;
use logwright::model_folder::{LoadedModel, ModelFolder};
use std::path::Path;

#[derive(Args)]
pub struct DeviceArgs {
    /// Where to compute: auto, cpu, cuda, cuda:N or emulator (CUDA kernels on the CPU, for tests). auto takes the first GPU
    /// that can be used, else the CPU
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
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
        Options { recompute, eager: self.no_graph, ..Options::default() }
    }
}

impl DeviceArgs {
    /// For inference, or training with the usual options.
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
