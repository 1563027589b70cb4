//! `logwright train`: a data folder -> a run folder.

use super::device::{DeviceArgs, TrainingArgs};
use super::exit::Exit;
use super::output::OutputArgs;
use super::training::train;
use super::values;
use clap::Args;
use logwright::dataset::{Dataset, Windows};
use logwright::train::run::Ended;
use logwright::train::schedule::Schedule;
use logwright::train::{Begin, Mixture, ProfileSteps, Run, RunOutcome, RunPlan, RunRequest};
use logwright::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Train a GPT on a data folder.
///
/// Settings come from the preset, then the --config file, then flags. The run folder gets best/ and last/ (Hugging Face GPT-2
/// folders), config.toml (all settings as resolved), metrics.jsonl and loss.svg. Ctrl-C saves and stops; --resume goes on,
/// bit for bit as if nothing had happened.
#[derive(Args)]
pub struct TrainArgs {
    /// Data folder written by `logwright prepare`
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Run folder to write
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Starting point: tiny, small, cyber-foundation, gpt2, gpt2-medium
    #[arg(long, default_value = "tiny", value_name = "NAME", conflicts_with = "resume")]
    preset: String,
    /// Settings in TOML, one `name = value` a line; names as in config.toml of a run (flags with _ for -)
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Go on with the run in RUN/last
    #[arg(long, conflicts_with = "init_from")]
    resume: bool,
    /// Start from this Hugging Face GPT-2 folder (or run): its shape, parameters and vocabulary
    #[arg(long, value_name = "HF_FOLDER")]
    init_from: Option<PathBuf>,
    /// Old data folder to mix in, so that a model trained further on new data does not forget it (see --replay-share)
    #[arg(long, value_name = "OLD_DATA")]
    replay: Option<PathBuf>,
    /// Peak of the hardware in TFLOP/s, to report model FLOPs utilisation [default: known GPUs' data sheets]
    #[arg(long, value_name = "X")]
    peak_tflops: Option<f64>,
    /// Let a profiler that waits for cuProfilerStart capture these steps, counted from 1, e.g. 10..12
    #[arg(long, value_name = "A..B")]
    profile_steps: Option<ProfileSteps>,
    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

/// The settings as flags; names and meanings are `TrainConfig`'s.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Settings (default: the preset's)")]
struct SettingFlags {
    /// Transformer blocks
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// Attention heads
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// Width of the model
    #[arg(long, value_name = "N")]
    channels: Option<usize>,
    /// Tokens a window
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Biases in linear layers and LayerNorms
    #[arg(long, value_name = "BOOL")]
    bias: Option<bool>,
    /// Windows a micro-batch
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Micro-batches an update
    #[arg(long, value_name = "N")]
    accumulation: Option<usize>,
    /// Where windows start
    #[arg(long, value_enum)]
    windows: Option<Windows>,
    /// Updates in all
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Peak learning rate
    #[arg(long, value_name = "X")]
    learning_rate: Option<f32>,
    /// Learning rate at the end of the schedule
    #[arg(long, value_name = "X")]
    min_learning_rate: Option<f32>,
    /// Updates of linear warm-up
    #[arg(long, value_name = "N")]
    warmup: Option<u64>,
    /// Learning rate after the warm-up
    #[arg(long, value_enum)]
    schedule: Option<Schedule>,
    /// Share of the steps that the wsd schedule decays in
    #[arg(long, value_name = "F")]
    decay_fraction: Option<f64>,
    /// AdamW's decay of the first moment
    #[arg(long, value_name = "X")]
    beta_1: Option<f32>,
    /// AdamW's decay of the second moment
    #[arg(long, value_name = "X")]
    beta_2: Option<f32>,
    /// AdamW's epsilon
    #[arg(long, value_name = "X")]
    epsilon: Option<f32>,
    /// Weight decay of two-dimensional tensors
    #[arg(long, value_name = "X")]
    weight_decay: Option<f32>,
    /// Largest gradient norm; 0: no clipping
    #[arg(long, value_name = "X")]
    grad_clip: Option<f32>,
    /// Updates between validations; 0: only at the end
    #[arg(long, value_name = "N")]
    eval_every: Option<u64>,
    /// Windows a validation looks at; 0: the whole validation split
    #[arg(long, value_name = "N")]
    eval_windows: Option<u64>,
    /// Updates between checkpoints; 0: only at the end
    #[arg(long, value_name = "N")]
    save_every: Option<u64>,
    /// Stop early after this many validations without improvement; 0: never
    #[arg(long, value_name = "N")]
    patience: Option<u64>,
    /// Stop after this many updates in a row that were not finite
    #[arg(long, value_name = "N")]
    max_skipped: Option<u64>,
    /// Train on the first batch again and again, to see the loss vanish
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    overfit: Option<bool>,
    /// Share of the windows that come from --replay
    #[arg(long, value_name = "F")]
    replay_share: Option<f64>,
    /// Seed of the initial parameters and of the batches
    #[arg(long, value_name = "N", value_parser = values::seed)]
    seed: Option<u64>,
}

impl TrainArgs {
    fn request(&self) -> Result<RunRequest> {
        let begin = match self.resume {
            true => Begin::Resume,
            false => {
                Begin::New { preset: self.preset.clone(), file: self.config.clone(), init_from: self.init_from.clone() }
            }
        };
        // TOML has no null: flags that were not given are simply absent.
        let flags = toml::Table::try_from(&self.settings).map_err(Error::usage)?;
        Ok(RunRequest { data: self.data.clone(), out: self.out.clone(), begin, flags })
    }
}

pub fn run(args: TrainArgs, output: &OutputArgs) -> Result<Exit> {
    let data = Dataset::open(&args.data)?;
    let old = args.replay.as_deref().map(Dataset::open).transpose()?;
    let request = args.request()?;
    let device = args.device.open_for_training(args.training)?;
    let RunPlan { config, model, parameters, start } = RunPlan::new(&request, &data, &device)?;
    let peak = args.peak_tflops.map(|tflops| tflops * 1e12).or(device.peak());
    let mut engine = device.engine(model, parameters)?;
    let mixture = match &old {
        Some(old) => Mixture::new(&data, old, config.replay_share)?,
        None => (&data).into(),
    };
    let run = Run::open(engine.as_mut(), mixture, config, &args.out, start, peak)?;
    let outcome = train(run.profile(args.profile_steps), output)?;
    conclude(&outcome, &args.out);
    Ok(match outcome.ended {
        Ended::Interrupted => Exit::Interrupted,
        Ended::Finished | Ended::Early => Exit::Success,
    })
}

fn conclude(outcome: &RunOutcome, out: &Path) {
    let ended = match outcome.ended {
        Ended::Finished => "finished",
        Ended::Early => "stopped early, validation no longer improves,",
        Ended::Interrupted if out.join("last").is_dir() => "interrupted; --resume goes on from the last checkpoint,",
        Ended::Interrupted => "interrupted before the first checkpoint,",
    };
    let best = outcome.best_val_loss.map(|loss| format!(", best validation loss {loss:.4}")).unwrap_or_default();
    tracing::info!("{ended} at step {}{best}; model in {}", outcome.step, out.display());
}
