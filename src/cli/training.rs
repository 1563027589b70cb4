//! A training run on the terminal: the progress bar, a line every few seconds, and Ctrl-C.

use super::interrupt::save_on_interrupt;
use super::output::{LogFormat, OutputArgs};
use indicatif::{HumanBytes, HumanDuration, ProgressBar};
use logwright::Result;
use logwright::train::metrics::StepMetrics;
use logwright::train::{Run, RunOutcome, TrainConfig};
use std::time::{Duration, Instant};

/// Trains with a progress bar and a line every few seconds, until the end or Ctrl-C.
pub fn train(run: Run, output: &OutputArgs) -> Result<RunOutcome> {
    let stop = save_on_interrupt();
    let bar = output.progress(0, "steps");
    bar.set_position(run.step());
    let mut shown = Instant::now() - Duration::from_secs(60);
    let outcome = run.train(stop, &mut |line, config| {
        bar.set_length(config.steps);
        bar.set_position(line.step);
        let told = line.val_loss.is_some() || shown.elapsed() >= Duration::from_secs(5) || line.step == config.steps;
        if told {
            shown = Instant::now();
            tell(line, config, &bar, output);
        }
    });
    bar.finish_and_clear();
    outcome
}

/// One line about an update, above the bar.
fn tell(line: &StepMetrics, config: &TrainConfig, bar: &ProgressBar, output: &OutputArgs) {
    if output.log_format == LogFormat::Json {
        let text = serde_json::to_string(line).expect("plain values serialise");
        tracing::info!(line = text, "step");
        return;
    }
    let left = (config.steps - line.step) * config.tokens_per_step();
    let eta = Duration::try_from_secs_f64(left as f64 / line.tokens_per_second).unwrap_or(Duration::MAX);
    let eta = HumanDuration(eta);
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

/// Resident memory of this process.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
