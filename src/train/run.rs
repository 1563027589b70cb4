//! One training run in its folder: `best/` and `last/` (model folders), `config.toml`, `metrics.jsonl`, `loss.svg`.

use super::card::Card;
use super::config::TrainConfig;
use super::metrics::{self, MetricsFile, StepMetrics};
use super::mixture::Mixture;
use super::profile::ProfileSteps;
use super::provenance::Provenance;
use super::state::{self, TrainState};
use crate::dataset::Sampler;
use crate::engine::{AdamW, Batch, Engine, State, Update};
use crate::files::{self, Lock};
use crate::gpt::{Flops, checkpoint};
use crate::report::{LossCurve, loss_curve};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Where a run starts.
pub enum Start {
    /// From the engine's present parameters; refused where the folder already contains a run.
    Fresh,
    /// From the checkpoint in `last/`.
    Resume,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    pub ended: Ended,
    pub step: u64,
    pub best_val_loss: Option<f64>,
    pub last: Option<StepMetrics>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps done.
    Finished,
    /// Validation stopped improving.
    Early,
    /// It was told to stop; `last/` has the state.
    Interrupted,
}

pub struct Run<'a> {
    engine: &'a mut dyn Engine,
    mixture: Mixture<'a>,
    config: TrainConfig,
    provenance: Provenance,
    folder: PathBuf,
    sampler: Sampler,
    /// The step's micro-batches, (accumulation, batch, context).
    tokens: Vec<u32>,
    targets: Vec<u32>,
    state: TrainState,
    metrics: MetricsFile,
    curve: LossCurve,
    flops: Flops,
    /// Peak of the hardware in FLOP/s, for MFU.
    peak: Option<f64>,
    /// Steps that a profiler is told to capture.
    profiled: Option<ProfileSteps>,
    /// Held while the run lives, so that no two runs write the same folder.
    _lock: Lock,
}

impl<'a> Run<'a> {
    /// Opens the run folder. `peak`: FLOP/s of the hardware, if known.
    pub fn open(
        engine: &'a mut dyn Engine,
        mixture: impl Into<Mixture<'a>>,
        config: TrainConfig,
        folder: &Path,
        start: Start,
        peak: Option<f64>,
    ) -> Result<Self> {
        let sampler = Sampler::new(config.windows, config.context, config.seed);
        let mixture = mixture.into();
        mixture.check(&sampler)?;
        let lock = lock(folder)?;
        files::recover(&folder.join("last"));
        let fingerprint = mixture.fingerprint();
        let state = match start {
            Start::Resume => state::resume(engine, &folder.join("last"), fingerprint, config.steps)?,
            Start::Fresh => {
                check_fresh(folder)?;
                TrainState::new(fingerprint)
            }
        };
        let provenance = Provenance::new(mixture.data.fingerprint());
        let text = provenance.to_toml() + &config.to_toml();
        files::write_atomic(&folder.join("config.toml"), text.as_bytes())?;
        let (metrics, curve) = MetricsFile::open(&folder.join("metrics.jsonl"), state.step)?;
        let flops = Flops::per_token(engine.config());
        let tokens = config.tokens_per_step() as usize;
        Ok(Run {
            engine,
            mixture,
            config,
            provenance,
            folder: folder.into(),
            sampler,
            tokens: vec![0; tokens],
            targets: vec![0; tokens],
            state,
            metrics,
            curve,
            flops,
            peak,
            profiled: None,
            _lock: lock,
        })
    }

    /// Tells a profiler to capture these steps.
    pub fn profile(self, steps: Option<ProfileSteps>) -> Self {
        Run { profiled: steps, ..self }
    }

    /// Steps already done.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Trains to the end. `report` is called after each step; setting `stop` saves and ends the run after the current step.
    ///
    /// A checkpoint that is due waits while the parameters give no finite loss, so that the last good one is kept. A run that
    /// ends with such parameters, or with a validation loss that is not finite, has failed.
    pub fn train(
        mut self,
        stop: &AtomicBool,
        report: &mut dyn FnMut(&StepMetrics, &TrainConfig),
    ) -> Result<RunOutcome> {
        let (started, mut skipped, mut last, mut unsaved) = (Instant::now(), 0, None, false);
        let ended = loop {
            let ended = self.ended(stop);
            let due = due(self.state.step, self.config.save_every) || ended.is_some();
            unsaved |= due && last.is_some();
            if unsaved && skipped == 0 && self.is_sound()? {
                self.save_last()?;
                unsaved = false;
            }
            if let Some(ended) = ended {
                break ended;
            }
            let update_started = Instant::now();
            let (lr, update) = self.update()?;
            skipped = if update.is_finite() { 0 } else { skipped + 1 };
            let line = self.finish_step(lr, update, update_started, started)?;
            report(&line, &self.config);
            last = Some(line);
            if skipped >= self.config.max_skipped {
                return Err(self.diverged(skipped));
            }
        };
        self.draw_curve()?;
        let val_loss = last.as_ref().and_then(|line: &StepMetrics| line.val_loss).filter(|loss| !loss.is_finite());
        match val_loss {
            _ if unsaved => return Err(self.failed("the parameters give no finite loss and were not saved")),
            Some(loss) => return Err(self.failed(&format!("the validation loss is {loss}"))),
            None => {}
        }
        Ok(RunOutcome { ended, step: self.state.step, best_val_loss: self.state.best_val_loss, last })
    }

    /// Whether the loss of the batch just seen is finite after its update: one bad update can ruin finite parameters, and
    /// the next loss is the first to show it.
    fn is_sound(&mut self) -> Result<bool> {
        let Self { engine, tokens, targets, config, .. } = self;
        let n = config.batch * config.context;
        let batch = Batch { tokens: &tokens[..n], targets: &targets[..n], seq_len: config.context };
        let mut losses = vec![0.0; n];
        engine.losses(batch, &mut losses)?;
        Ok(losses.iter().all(|loss| loss.is_finite()))
    }

    /// Why the run ends after this step; None where it continues.
    fn ended(&self, stop: &AtomicBool) -> Option<Ended> {
        let patience = self.config.patience;
        if self.state.step >= self.config.steps {
            Some(Ended::Finished)
        } else if patience > 0 && self.state.validations_since_best >= patience {
            Some(Ended::Early)
        } else {
            stop.load(Ordering::Relaxed).then_some(Ended::Interrupted)
        }
    }

    /// Accumulates the step's micro-batches and updates the parameters.
    fn update(&mut self) -> Result<(f32, Update)> {
        let TrainConfig { batch, accumulation, context, overfit, .. } = self.config;
        let n = batch * context;
        let Self { tokens, targets, .. } = self;
        let step = if overfit { 0 } else { self.state.step };
        for (micro, (tokens, targets)) in tokens.chunks_mut(n).zip(targets.chunks_mut(n)).enumerate() {
            let index = step * accumulation as u64 + micro as u64;
            self.mixture.batch(&self.sampler, index, batch, tokens, targets)?;
        }
        // The mean is over all counted targets of the step; it is not a mean of means.
        let whole = Batch { tokens, targets, seq_len: context };
        let scale = 1.0 / whole.counted().max(1) as f32;
        let lr = self.config.lr(self.state.step);
        let TrainConfig { beta_1, beta_2, epsilon, weight_decay, grad_clip: max_grad_norm, .. } = self.config;
        let step = self.state.updates + 1;
        let update = ProfileSteps::around(self.profiled, self.state.step + 1, self.engine, |engine| {
            for (tokens, targets) in tokens.chunks(n).zip(targets.chunks(n)) {
                engine.accumulate(Batch { tokens, targets, seq_len: context }, scale)?;
            }
            engine.update(&AdamW { lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm, step })
        })?;
        Ok((lr, update))
    }

    /// Counts the step, validates if that is due, and writes the metrics.
    fn finish_step(
        &mut self,
        lr: f32,
        update: Update,
        update_started: Instant,
        started: Instant,
    ) -> Result<StepMetrics> {
        self.state.step += 1;
        if update.is_finite() {
            self.state.updates += 1;
        } else {
            tracing::warn!(
                "step {}: loss {}, gradient norm {}: update skipped",
                self.state.step,
                update.loss,
                update.norm
            );
        }
        let tokens_per_second = self.config.tokens_per_step() as f64 / update_started.elapsed().as_secs_f64();
        let mfu = |flops: f64| self.peak.map(|peak| tokens_per_second * flops / peak);
        let mut line = StepMetrics {
            step: self.state.step,
            loss: update.loss,
            val_loss: None,
            val_bits_per_byte: None,
            replay_val_loss: None,
            grad_norm: update.norm,
            learning_rate: lr,
            skipped: !update.is_finite(),
            tokens: self.state.step * self.config.tokens_per_step(),
            tokens_per_second,
            seconds: started.elapsed().as_secs_f64(),
            mfu_nanogpt: mfu(self.flops.nanogpt),
            mfu_causal: mfu(self.flops.causal),
            device_memory: self.engine.device_memory(),
        };
        let validate = self.state.step == self.config.steps || due(self.state.step, self.config.eval_every);
        if validate {
            self.validate(&mut line)?;
        }
        self.metrics.append(&line)?;
        metrics::extend(&mut self.curve, &line);
        if validate {
            self.draw_curve()?;
        }
        Ok(line)
    }

    fn validate(&mut self, line: &mut StepMetrics) -> Result<()> {
        let TrainConfig { batch, eval_windows, .. } = self.config;
        let seen = self.mixture.validate(self.engine, &self.sampler, batch, eval_windows)?;
        line.val_loss = Some(seen.loss);
        line.val_bits_per_byte = Some(seen.bits_per_byte);
        line.replay_val_loss = seen.old;
        if self.state.best_val_loss.is_none_or(|best| seen.mixed < best) && seen.mixed.is_finite() {
            self.state.best_val_loss = Some(seen.mixed);
            self.state.validations_since_best = 0;
            return self.save(&self.folder.join("best"), false);
        }
        self.state.validations_since_best += 1;
        Ok(())
    }

    fn save_last(&self) -> Result<()> {
        self.save(&self.folder.join("last"), true)
    }

    /// Writes a model folder; if it is to be `resumable`, with the optimizer's state.
    fn save(&self, folder: &Path, resumable: bool) -> Result<()> {
        // The folder would be made again, and the rest of the run would be missing in it.
        self.metrics.check_in_place()?;
        let (config, layout) = (self.engine.config(), self.engine.layout());
        let mut parameters = vec![0.0; layout.len];
        self.engine.read(State::Parameters, &mut parameters)?;
        files::replace_folder(folder, |to| {
            checkpoint::write_model(to, config, self.mixture.data.tokenizer.separator(), &parameters)?;
            self.mixture.data.tokenizer.save_for_model(to, config.context)?;
            self.mixture.data.records.save(to)?;
            self.mixture.data.sealed.as_ref().map_or(Ok(()), |sealed| sealed.save(to))?;
            self.provenance.save(to, &self.config.preset, self.state.step)?;
            self.card(layout.len).save(to)?;
            if !resumable {
                return Ok(());
            }
            // The one copy on the host serves parameters and moments in turn.
            checkpoint::write_moments(to, layout, &mut parameters, |moment, to| {
                self.engine.read(state::of(moment), to)
            })?;
            self.state.save(to)
        })
    }

    fn card(&self, parameters: usize) -> Card<'_> {
        let Run { mixture, config, provenance, state, .. } = self;
        Card { data: mixture.data, config, provenance, state, parameters }
    }

    fn draw_curve(&self) -> Result<()> {
        loss_curve(&self.curve, &self.folder.join("loss.svg"))
    }

    fn diverged(&self, skipped: u64) -> Error {
        self.failed(&format!("loss or gradient norm was not finite {skipped} times in a row (max_skipped)"))
    }

    /// The error of a run that learnt nothing more: what happened, which earlier model there is, and what helps.
    fn failed(&self, what: &str) -> Error {
        let [last, best] = ["last", "best"].map(|name| self.folder.join(name));
        let kept = match (last.exists(), best.exists()) {
            (true, _) => format!("the checkpoint in {} is from before", last.display()),
            (false, true) => format!("only {} was written, with the best validation loss", best.display()),
            (false, false) => "no checkpoint was written".to_string(),
        };
        Error::failed(format!(
            "step {}: {what}; {kept}. A lower --learning-rate, a longer --warmup or --grad-clip 1 usually helps",
            self.state.step
        ))
    }
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// Creates the run folder and takes its lock.
fn lock(folder: &Path) -> Result<Lock> {
    files::create_folders(folder)?;
    Lock::take(&folder.join(".lock"))?.ok_or_else(|| {
        Error::failed(format!("{}: another run is writing this folder; choose another --out", folder.display()))
    })
}

/// A new run replaces nothing: the folder must not contain any of the names that it writes.
fn check_fresh(folder: &Path) -> Result<()> {
    let names = ["last", "best", "metrics.jsonl", "config.toml", "loss.svg"];
    match names.iter().find(|name| folder.join(name).exists()) {
        None => Ok(()),
        Some(name) => Err(Error::usage(format!(
            "{} already contains a run ({name}): continue it with --resume, or choose another --out",
            folder.display()
        ))),
    }
}
