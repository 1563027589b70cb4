//! A training run on the terminal: the progress bar, a line every few seconds, and Ctrl-C.

use super::interrupt::save_on_interrupt;
use super::output::{LogFormat, OutputArgs};
use indicatif::{HumanBytes, HumanDuration, ProgressBar};
use logwright::Result;
use logwright::train::metrics::StepMetrics;
use logwright::train::{Run, RunOutcome, TrainConfig};
use std::time::{Duration, Instant};

/// The first steps of a process are slower than the others, so what a run takes is said after some.
const STEPS_BEFORE_ESTIMATE: u64 = 5;
const TIME_BEFORE_ESTIMATE: Duration = Duration::from_secs(2);
/// A run that takes less than this needs no announcement.
const SHORT: Duration = Duration::from_secs(60);

/// Trains with a progress bar and a line every few seconds, until the end or Ctrl-C.
pub fn train(run: Run, output: &OutputArgs) -> Result<RunOutcome> {
    let stop = save_on_interrupt();
    let bar = output.progress(0, "steps");
    bar.set_position(run.step());
    let mut pace = Pace { begun: Instant::now(), first: run.step(), is_told: false };
    let mut shown = Instant::now() - Duration::from_secs(60);
    let outcome = run.train(stop, &mut |line, config| {
        bar.set_length(config.steps);
        bar.set_position(line.step);
        let told = line.val_loss.is_some() || shown.elapsed() >= Duration::from_secs(5) || line.step == config.steps;
        let left = pace.left(line, config);
        if told {
            shown = Instant::now();
            match output.log_format {
                LogFormat::Json => tell_program(line),
                LogFormat::Text => tell(line, config, &bar, left),
            }
        }
        pace.announce(line, config, left);
    });
    bar.finish_and_clear();
    outcome
}

/// How fast the run is, with its validations and checkpoints.
struct Pace {
    begun: Instant,
    /// The step that it began at.
    first: u64,
    is_told: bool,
}

impl Pace {
    /// The time that the rest of the run takes.
    fn left(&self, line: &StepMetrics, config: &TrainConfig) -> Duration {
        let done = line.step.saturating_sub(self.first).max(1);
        let seconds = self.begun.elapsed().as_secs_f64() * (config.steps - line.step) as f64 / done as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Says once, after a few steps, how long a run that takes longer will take.
    fn announce(&mut self, line: &StepMetrics, config: &TrainConfig, left: Duration) {
        let is_early = line.step < self.first + STEPS_BEFORE_ESTIMATE || self.begun.elapsed() < TIME_BEFORE_ESTIMATE;
        if self.is_told || is_early {
            return;
        }
        self.is_told = true;
        if left > SHORT {
            let (left, steps) = (HumanDuration(left), config.steps - line.step);
            tracing::info!(
                "the {steps} steps to come take about {left} on this machine; Ctrl-C saves, and --resume continues"
            );
        }
    }
}

/// The metrics of a step as fields of a JSON message.
fn tell_program(line: &StepMetrics) {
    tracing::info!(
        step = line.step,
        loss = line.loss,
        val_loss = line.val_loss,
        val_bits_per_byte = line.val_bits_per_byte,
        replay_val_loss = line.replay_val_loss,
        grad_norm = line.grad_norm,
        learning_rate = line.learning_rate,
        skipped = line.skipped.then_some(true),
        tokens = line.tokens,
        tokens_per_second = line.tokens_per_second,
        seconds = line.seconds,
        mfu_nanogpt = line.mfu_nanogpt,
        mfu_causal = line.mfu_causal,
        device_memory = line.device_memory,
        "step"
    );
}

/// One line about a step, above the bar, which has the time that is left.
fn tell(line: &StepMetrics, config: &TrainConfig, bar: &ProgressBar, left: Duration) {
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
    let eta = if bar.is_hidden() { format!(", ETA {}", HumanDuration(left)) } else { String::new() };
    tracing::info!(
        "step {}/{}: loss {:.4}{val}{replay}, norm {:.3}, rate {:.2e}, {:.0} tokens/s{mfu}{memory}{eta}",
        line.step,
        config.steps,
        line.loss,
        line.grad_norm,
        line.learning_rate,
        line.tokens_per_second
    );
}

/// Resident memory of this process.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
