//! `logwright train`: a data folder -> a run folder.

use super::device::{DeviceArgs, TrainingArgs};
use super::model;
use super::{LogFormat, OutputArgs};
use clap::Args;
use indicatif::{HumanBytes, HumanDuration, ProgressBar};
use logwright::backend::Backend;
use logwright::dataset::{Dataset, Windows};
use logwright::gpt::{Config, Layout, checkpoint, init};
use logwright::tokens::Tokenizer;
use logwright::train::metrics::Line;
use logwright::train::run::Ended;
use logwright::train::schedule::Schedule;
use logwright::train::{Mixture, Outcome, ProfileSteps, Run, Start, TrainConfig};
use logwright::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    settings: Settings,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

/// The settings as flags; names and meanings are `TrainConfig`'s.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Settings (default: the preset's)")]
struct Settings {
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
    #[arg(long, value_name = "N", value_parser = super::seed)]
    seed: Option<u64>,
}

/// Exit code of a run that was told to stop, as a shell gives it: a script that goes on after `train` should not.
pub const INTERRUPTED: i32 = 130;

pub fn run(args: TrainArgs, output: &OutputArgs) -> Result<()> {
    let data = Dataset::open(&args.data)?;
    let old = args.replay.as_deref().map(Dataset::open).transpose()?;
    // TOML has no null: flags that were not given are simply absent.
    let overrides = toml::Table::try_from(&args.settings).map_err(Error::usage)?;
    let device = args.device.open_for_training(args.training)?;
    let (config, model, parameters) = match args.resume {
        true => resume(&args, overrides, &data, &device)?,
        false => start(&args, overrides, &data, &device)?,
    };
    let from = if args.resume { Start::Resume } else { Start::Fresh };
    let peak = args.peak_tflops.map(|tflops| tflops * 1e12).or(device.peak());
    let mut engine = device.engine(model, parameters)?;
    let mixture = match &old {
        Some(old) => Mixture::new(&data, old, config.replay_share)?,
        None => (&data).into(),
    };
    let run = Run::open(engine.as_mut(), mixture, config, &args.out, from, peak)?;
    let outcome = train(run.profile(args.profile_steps), output)?;
    conclude(&outcome, &args.out);
    match outcome.ended {
        Ended::Interrupted => std::process::exit(INTERRUPTED),
        Ended::Finished | Ended::Early => Ok(()),
    }
}

/// Settings, model and initial parameters of a new run.
fn start(
    args: &TrainArgs,
    overrides: toml::Table,
    data: &Dataset,
    device: &Backend,
) -> Result<(TrainConfig, Config, Vec<f32>)> {
    let flags = overrides.clone();
    let mut config = TrainConfig::resolve(&args.preset, args.config.as_deref(), overrides)?;
    let vocab = data.tokenizer.vocab_size();
    let Some(folder) = &args.init_from else {
        let (model, parameters) = fresh(&config, vocab, device)?;
        return Ok((config, model, parameters));
    };
    let folder = model::find(folder)?;
    let (model, parameters) = checkpoint::read_model(&folder)?;
    // A vocabulary may be padded.
    if model.vocab < vocab {
        return Err(Error::usage(format!(
            "--init-from {}: its vocabulary has {} tokens, that of --data {} has {vocab}; prepare the data with the model's \
             tokenizer (prepare --tokenizer-from {})",
            folder.display(),
            model.vocab,
            args.data.display(),
            folder.display()
        )));
    }
    if folder.join("tokenizer.json").exists() && !Tokenizer::load(&folder)?.same_tokens(&data.tokenizer) {
        return Err(Error::usage(format!(
            "--init-from {}: --data {} was prepared with another tokenizer; prepare it with the model's \
             (prepare --tokenizer-from {})",
            folder.display(),
            args.data.display(),
            folder.display()
        )));
    }
    config.adopt(&model, args.config.as_deref(), &flags)?;
    device.check_memory(&model, config.batch, config.context)?;
    Ok((config, model, parameters))
}

/// A new model with random parameters, after a report of what training it will take.
pub fn fresh(config: &TrainConfig, vocab: usize, device: &Backend) -> Result<(Config, Vec<f32>)> {
    let model = config.model(vocab)?;
    device.check_memory(&model, config.batch, config.context)?;
    Ok((model, init::parameters(&Layout::new(&model), config.seed)))
}

/// Settings and model of a run that goes on; its parameters are read when the run opens.
fn resume(
    args: &TrainArgs,
    overrides: toml::Table,
    data: &Dataset,
    device: &Backend,
) -> Result<(TrainConfig, Config, Vec<f32>)> {
    let path = args.out.join("config.toml");
    if !path.exists() {
        return Err(Error::usage(format!("--resume: {} holds no run (no config.toml)", args.out.display())));
    }
    let config = TrainConfig::resume(&path, overrides)?;
    // Before the first checkpoint nothing can be resumed, which Run::open says; a vocabulary may be padded.
    let last = args.out.join("last");
    let vocab = if last.is_dir() { checkpoint::read_shape(&last)?.vocab } else { data.tokenizer.vocab_size() };
    let model = config.model(vocab)?;
    device.check_memory(&model, config.batch, config.context)?;
    Ok((config, model, vec![0.0; Layout::new(&model).len]))
}

/// Set by Ctrl-C or a termination signal.
static STOP: AtomicBool = AtomicBool::new(false);

pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// From here on Ctrl-C sets the flag that is returned, and a second one ends the program.
pub fn stop_on_interrupt() -> &'static AtomicBool {
    // A second command of one process (the demo) finds the handler in place; that is as good.
    let _ = ctrlc::set_handler(|| match STOP.swap(true, Ordering::Relaxed) {
        false => tracing::warn!("stopping as soon as all is saved; press Ctrl-C again to stop at once"),
        true => std::process::exit(INTERRUPTED),
    });
    &STOP
}

/// Trains with a progress bar and a line every few seconds, until the end or Ctrl-C.
pub fn train(run: Run, output: &OutputArgs) -> Result<Outcome> {
    let stop = stop_on_interrupt();
    let bar = output.progress(0, "steps");
    bar.set_position(run.step());
    let mut shown = std::time::Instant::now() - Duration::from_secs(60);
    let outcome = run.train(stop, &mut |line, config| {
        bar.set_length(config.steps);
        bar.set_position(line.step);
        let told = line.val_loss.is_some() || shown.elapsed() >= Duration::from_secs(5) || line.step == config.steps;
        if told {
            shown = std::time::Instant::now();
            tell(line, config, &bar, output);
        }
    });
    bar.finish_and_clear();
    outcome
}

/// One line about an update, above the bar.
fn tell(line: &Line, config: &TrainConfig, bar: &ProgressBar, output: &OutputArgs) {
    if output.log_format == LogFormat::Json {
        let text = serde_json::to_string(line).expect("plain values serialise");
        tracing::info!(line = text, "step");
        return;
    }
    let left = (config.steps - line.step) * config.tokens_per_step();
    let eta = HumanDuration(Duration::from_secs_f64(left as f64 / line.tokens_per_second));
    let val = match (line.val_loss, line.val_bits_per_byte) {
        (Some(loss), Some(bits)) => format!(", val loss {loss:.4} ({bits:.4} bits/byte)"),
        _ => String::new(),
    };
    let replay = line.replay_val_loss.map(|loss| format!(", on old data {loss:.4}")).unwrap_or_default();
    let mfu = match (line.mfu_nanogpt, line.mfu_causal) {
        (Some(nanogpt), Some(causal)) => {
            format!(", MFU {:.1} % (nanoGPT), {:.1} % (causal)", 100.0 * nanogpt, 100.0 * causal)
        }
        _ => String::new(),
    };
    let memory =
        line.device_memory.or_else(resident).map(|bytes| format!(", {}", HumanBytes(bytes))).unwrap_or_default();
    bar.suspend(|| {
        tracing::info!(
            "step {}/{}: loss {:.4}{val}{replay}, norm {:.3}, rate {:.2e}, {:.0} tokens/s{mfu}{memory}, ETA {eta}",
            line.step,
            config.steps,
            line.loss,
            line.grad_norm,
            line.learning_rate,
            line.tokens_per_second
        );
    });
}

/// Memory of this process that is in RAM.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn conclude(outcome: &Outcome, out: &Path) {
    let ended = match outcome.ended {
        Ended::Finished => "finished",
        Ended::Early => "stopped early, validation no longer improves,",
        Ended::Interrupted if out.join("last").is_dir() => "interrupted; --resume goes on from the last checkpoint,",
        Ended::Interrupted => "interrupted before the first checkpoint,",
    };
    let best = outcome.best_val_loss.map(|loss| format!(", best validation loss {loss:.4}")).unwrap_or_default();
    tracing::info!("{ended} at step {}{best}; model in {}", outcome.step, out.display());
}
