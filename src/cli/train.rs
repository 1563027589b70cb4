//! `logwright train`: a data folder -> a run folder.

use super::device::{DeviceArgs, TrainingArgs};
use super::exit::Exit;
use super::mode::ModeArgs;
use super::next;
use super::output::OutputArgs;
use super::outputs::check_outside;
use super::training::train;
use super::values;
use clap::Args;
use logwright::dataset::{Dataset, Windows};
use logwright::gpt::config::{MOST, MOST_LAYERS};
use logwright::launch::Launched;
use logwright::train::config::{MOST_STEPS, MOST_TOKENS};
use logwright::train::run::Ended;
use logwright::train::schedule::Schedule;
use logwright::train::{Begin, Mixture, ProfileSteps, Run, RunOutcome, RunPlan, RunRequest, TrainConfig, epochs};
use logwright::words::{counted, short};
use logwright::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;

/// Train a GPT on a data folder.
///
/// Settings come from the preset, then from the --config file, then from flags; later ones override earlier ones. The run
/// folder gets best/ and last/ (Hugging Face GPT-2 folders), config.toml (all settings as resolved), metrics.jsonl and
/// loss.svg. Ctrl-C saves a checkpoint and stops; --resume continues bit for bit as if nothing had happened.
#[derive(Args)]
pub struct TrainArgs {
    /// Data folder written by `logwright prepare`
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Run folder to write
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Named settings to start from: tiny (1.3 M parameters, about 4 minutes on two CPU cores), small (11.6 M, about 4 hours
    /// there), cyber-foundation (86.6 M), gpt2 (124 M) or gpt2-medium (355 M), these three for a GPU. After a few steps, train
    /// says how long the run takes on this machine [default: that of --config, else tiny]
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    preset: Option<String>,
    /// Settings in TOML, one `name = value` per line, named as in the config.toml of a run (flags with _ for -)
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Resume the run from its last checkpoint, RUN/last
    #[arg(long, conflicts_with = "init_from")]
    resume: bool,
    /// Fine-tune this Hugging Face GPT-2 folder (or run folder): take its shape, parameters and vocabulary
    #[arg(long, value_name = "HF_FOLDER")]
    init_from: Option<PathBuf>,
    /// Old data folder to mix in, so that a model that is fine-tuned on new data does not forget the old (see --replay-share)
    #[arg(long, value_name = "OLD_DATA")]
    replay: Option<PathBuf>,
    /// Peak of the hardware in TFLOP/s, to report model FLOPs utilisation [default: from the data sheets of known GPUs]
    #[arg(long, value_name = "X", value_parser = values::positive)]
    peak_tflops: Option<f64>,
    /// Steps that a profiler waiting for cuProfilerStart captures, counted from 1, e.g. 10..12
    #[arg(long, value_name = "A..B")]
    profile_steps: Option<ProfileSteps>,
    #[command(flatten)]
    mode: ModeArgs,
    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

/// The settings as flags; names and meanings are those of `TrainConfig`.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Settings (default: the preset's)")]
struct SettingFlags {
    /// Transformer blocks
    #[arg(long, value_name = "N", value_parser = values::whole::<usize>(1..=MOST_LAYERS as u64))]
    layers: Option<usize>,
    /// Attention heads
    #[arg(long, value_name = "N", value_parser = values::whole::<usize>(1..=MOST as u64))]
    heads: Option<usize>,
    /// Width of the model
    #[arg(long, value_name = "N", value_parser = values::whole::<usize>(1..=MOST as u64))]
    channels: Option<usize>,
    /// Context length in tokens
    #[arg(long, value_name = "N", value_parser = values::whole::<usize>(1..=MOST as u64))]
    context: Option<usize>,
    /// Use biases in linear layers and LayerNorms
    #[arg(long, value_name = "BOOL")]
    bias: Option<bool>,
    /// Sequences per micro-batch
    #[arg(long, value_name = "N", value_parser = values::whole::<usize>(1..=MOST_TOKENS as u64))]
    batch: Option<usize>,
    /// Micro-batches per optimiser step
    #[arg(long, value_name = "N", value_parser = values::whole::<usize>(1..=MOST_TOKENS as u64))]
    accumulation: Option<usize>,
    /// Where training sequences start
    #[arg(long, value_enum)]
    windows: Option<Windows>,
    /// Total optimiser steps
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(1..=MOST_STEPS))]
    steps: Option<u64>,
    /// Passes over the training data, instead of --steps; may be a fraction. config.toml has the steps that they are
    #[arg(long, value_name = "N", value_parser = values::positive, conflicts_with = "steps")]
    epochs: Option<f64>,
    /// Peak learning rate
    #[arg(long, value_name = "X", value_parser = values::number(0.0..=f32::MAX))]
    learning_rate: Option<f32>,
    /// Learning rate at the end of the schedule
    #[arg(long, value_name = "X", value_parser = values::number(0.0..=f32::MAX))]
    min_learning_rate: Option<f32>,
    /// Optimiser steps of linear warm-up
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(0..=MOST_STEPS))]
    warmup: Option<u64>,
    /// Shape of the learning rate after the warm-up
    #[arg(long, value_enum)]
    schedule: Option<Schedule>,
    /// Fraction of the steps in which the wsd schedule decays
    #[arg(long, value_name = "F", value_parser = values::number(0.0..=1.0f64))]
    decay_fraction: Option<f64>,
    /// Decay rate of AdamW's first moment
    #[arg(long, value_name = "X", value_parser = values::number(0.0..=1.0f32))]
    beta_1: Option<f32>,
    /// Decay rate of AdamW's second moment
    #[arg(long, value_name = "X", value_parser = values::number(0.0..=1.0f32))]
    beta_2: Option<f32>,
    /// AdamW's epsilon
    #[arg(long, value_name = "X", value_parser = values::number(0.0..=f32::MAX))]
    epsilon: Option<f32>,
    /// Weight decay, applied to two-dimensional tensors
    #[arg(long, value_name = "X", value_parser = values::number(0.0..=f32::MAX))]
    weight_decay: Option<f32>,
    /// Maximum gradient norm; 0: no clipping
    #[arg(long, value_name = "X", value_parser = values::number(0.0..=f32::MAX))]
    grad_clip: Option<f32>,
    /// Steps between validations; 0: only at the end
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(0..=values::MOST))]
    eval_every: Option<u64>,
    /// Sequences per validation; 0: the whole validation split
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(0..=values::MOST))]
    eval_windows: Option<u64>,
    /// Steps between checkpoints; 0: only at the end
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(0..=values::MOST))]
    save_every: Option<u64>,
    /// Stop early after this many validations without improvement; 0: never stop early
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(0..=values::MOST))]
    patience: Option<u64>,
    /// Fail after this many consecutive steps whose loss or gradient was not finite
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>(1..=values::MOST))]
    max_skipped: Option<u64>,
    /// Train on the first batch over and over, to see the loss vanish
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    overfit: Option<bool>,
    /// Fraction of the sequences that come from --replay
    #[arg(long, value_name = "F", value_parser = values::number(0.0..=1.0f64))]
    replay_share: Option<f64>,
    /// Seed of the initial parameters and of the batches
    #[arg(long, value_name = "N", value_parser = values::seed)]
    seed: Option<u64>,
}

impl TrainArgs {
    /// The command without its settings, as it is typed.
    fn typed(&self) -> String {
        let replay = self.replay.as_deref().map(|old| format!(" --replay {}", next::typed(old))).unwrap_or_default();
        format!("logwright train --data {} --out {}{replay}", next::typed(&self.data), next::typed(&self.out))
    }

    /// Says how large the run is, and warns where it sees its records too often.
    fn tell_size(&self, config: &TrainConfig, data: &Dataset) {
        let tokens = config.steps * config.tokens_per_step();
        let passes = epochs::passes(config, data, self.replay.is_some());
        tracing::info!(
            "{} of {} tokens, {} in all: {passes:.1} passes over the training data",
            counted(config.steps, "step"),
            config.tokens_per_step(),
            short(tokens)
        );
        // As many steps as the remedy makes are not too many.
        let enough = epochs::steps(epochs::MANY_PASSES, config, data, self.replay.is_some());
        if enough.is_ok_and(|enough| config.steps > enough) && !config.overfit {
            tracing::warn!(
                "the model sees each record about {passes:.0} times, and memorises records that it sees more than {:.0} times; \
                 give --epochs {:.0}, a smaller --preset or more logs",
                epochs::MANY_PASSES,
                epochs::MANY_PASSES
            );
        }
    }

    /// Refuses a run folder in a data or model folder: these are replaced as a whole.
    fn check_out(&self) -> Result<()> {
        let mut read = vec![("--data", self.data.as_path())];
        read.extend(self.replay.as_deref().map(|folder| ("--replay", folder)));
        let model = self.init_from.as_deref().filter(|folder| folder.join("config.json").exists());
        read.extend(model.map(|folder| ("--init-from", folder)));
        check_outside("--out", &self.out, &read)
    }

    fn request(&self) -> Result<RunRequest> {
        let begin = match self.resume {
            true => Begin::Resume,
            false => {
                Begin::New { preset: self.preset.clone(), file: self.config.clone(), init_from: self.init_from.clone() }
            }
        };
        // TOML has no null: flags that were not given are simply absent.
        let flags = toml::Table::try_from(&self.settings).map_err(Error::usage)?;
        Ok(RunRequest { data: self.data.clone(), out: self.out.clone(), begin, flags, replays: self.replay.is_some() })
    }
}

/// Refuses to train once in each process of a launcher.
fn refuse_many() -> Result<()> {
    match Launched::find()? {
        Some(Launched { by, part, .. }) if !part.is_whole() => Err(Error::usage(format!(
            "{by} has started process {} of {}, and each would train a model of its own: training on several GPUs is not there yet; \
             start one process",
            part.number(),
            part.of()
        ))),
        _ => Ok(()),
    }
}

pub fn run(args: TrainArgs, output: &OutputArgs) -> Result<Exit> {
    args.mode.apply();
    args.check_out()?;
    refuse_many()?;
    let data = Dataset::open(&args.data)?;
    let old = args.replay.as_deref().map(Dataset::open).transpose()?;
    let request = args.request()?;
    let device = args.device.open_for_training(args.training)?;
    let RunPlan { config, model, parameters, start } = RunPlan::new(&request, &data, &device)?;
    args.tell_size(&config, &data);
    let peak = args.peak_tflops.map(|tflops| tflops * 1e12).or(device.peak());
    let mut engine = device.engine(model, parameters)?;
    let mixture = match &old {
        Some(old) => Mixture::new(&data, old, config.replay_share)?,
        None => (&data).into(),
    };
    let run = Run::open(engine.as_mut(), mixture, config, &args.out, start, peak)?;
    let outcome = train(run.profile(args.profile_steps), output)?;
    conclude(&outcome, &args);
    Ok(match outcome.ended {
        Ended::Interrupted => Exit::Interrupted,
        Ended::Finished | Ended::Early => Exit::Success,
    })
}

fn conclude(outcome: &RunOutcome, args: &TrainArgs) {
    let out = &args.out;
    let ended = match outcome.ended {
        Ended::Finished => "finished",
        Ended::Early => "stopped early, because validation no longer improves,",
        Ended::Interrupted => "interrupted",
    };
    let best = outcome.best_val_loss.map(|loss| format!(", best validation loss {loss:.4}")).unwrap_or_default();
    let (run, has_checkpoint) = (next::typed(out), out.join("last").is_dir());
    let model = if has_checkpoint { format!("; model in {}", out.display()) } else { String::new() };
    tracing::info!("{ended} at step {}{best}{model}", outcome.step);
    match outcome.ended {
        Ended::Interrupted if has_checkpoint => {
            next::command(format!("{} --resume", args.typed()), "continues from here")
        }
        Ended::Interrupted => next::step(format!("there is no checkpoint yet; remove {run} and begin again")),
        Ended::Finished | Ended::Early => {
            next::command(format!("logwright generate --model {run} -n 20"), "records like those of the logs");
            next::command(
                format!("logwright score --model {run} --calibrate NORMAL"),
                "NORMAL: normal records that training did not see; then score finds others",
            );
        }
    }
}
