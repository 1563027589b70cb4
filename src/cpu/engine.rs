//! The `Engine` seam over the f32 model.

use super::adamw::{self, Slices};
use super::decode::{self, KvCache};
use super::model::Model;
use super::{memory, sampling};
use crate::Result;
use crate::engine::{AdamW, Batch, Engine, SampleRequest, State, Update, check_finite, check_tokens};
use crate::gpt::{Config, Layout};
use rayon::prelude::*;

pub struct CpuEngine {
    model: Model<f32>,
    /// AdamW's moments, (layout.len) each; empty until the first update.
    exp_avg: Vec<f32>,
    exp_avg_sq: Vec<f32>,
    losses: Vec<f32>,
    /// Of `sample`: (sequences, V).
    logits: Vec<f32>,
    /// Sum of scale x loss since the last update.
    loss: f64,
    cache: KvCache,
}

impl CpuEngine {
    /// `parameters` (layout.len), e.g. from [`crate::gpt::init`] or a checkpoint.
    pub fn new(config: Config, parameters: Vec<f32>) -> Self {
        let model = Model::new(config, parameters);
        CpuEngine {
            model,
            exp_avg: vec![],
            exp_avg_sq: vec![],
            losses: vec![],
            logits: vec![],
            loss: 0.0,
            cache: KvCache::default(),
        }
    }

    fn make_optimizer_state(&mut self) {
        let len = self.model.layout.len;
        for buffer in [&mut self.model.gradients, &mut self.exp_avg, &mut self.exp_avg_sq] {
            buffer.resize(len, 0.0);
        }
    }
}

impl Engine for CpuEngine {
    fn config(&self) -> &Config {
        &self.model.config
    }

    fn layout(&self) -> &Layout {
        &self.model.layout
    }

    fn losses(&mut self, batch: Batch, losses: &mut [f32]) -> Result<()> {
        batch.check(self.model.config.vocab)?;
        self.model.losses(batch, losses);
        Ok(())
    }

    fn logits(&mut self, tokens: &[u32], seq_len: usize, logits: &mut [f32]) -> Result<()> {
        check_tokens(tokens, self.model.config.vocab)?;
        self.model.logits(tokens, seq_len, logits);
        Ok(())
    }

    fn accumulate(&mut self, batch: Batch, scale: f32) -> Result<()> {
        batch.check(self.model.config.vocab)?;
        self.losses.resize(batch.tokens.len(), 0.0);
        self.model.accumulate(batch, &mut self.losses, scale);
        self.loss += self.losses.iter().map(|&loss| loss as f64).sum::<f64>() * scale as f64;
        Ok(())
    }

    fn update(&mut self, step: &AdamW) -> Result<Update> {
        self.make_optimizer_state();
        let Self { model, exp_avg, exp_avg_sq, .. } = self;
        let update = Update { loss: std::mem::take(&mut self.loss), norm: adamw::global_norm(&model.gradients) };
        if update.is_finite() {
            // The 1e-6 is PyTorch's `clip_grad_norm_`.
            let clip = match step.max_grad_norm as f64 {
                0.0 => 1.0,
                limit => (limit / (update.norm + 1e-6)).min(1.0) as f32,
            };
            let split = model.layout.decayed;
            for (range, decay) in [(0..split, step.weight_decay), (split..model.layout.len, 0.0)] {
                let state = Slices {
                    parameters: &mut model.parameters[range.clone()],
                    gradients: &model.gradients[range.clone()],
                    exp_avg: &mut exp_avg[range.clone()],
                    exp_avg_sq: &mut exp_avg_sq[range],
                };
                adamw::update(state, step, decay, clip);
            }
        }
        model.gradients.fill(0.0);
        Ok(update)
    }

    fn open_cache(&mut self, slots: usize) -> Result<()> {
        self.cache = KvCache::default();
        let bytes = KvCache::bytes(&self.model.config, slots);
        memory::check(bytes, &format!("the KV cache of {slots} sequences (--parallel)"))?;
        self.cache = KvCache::new(&self.model.config, slots);
        Ok(())
    }

    fn cached(&self, slot: usize) -> usize {
        self.cache.lengths[slot]
    }

    fn forget(&mut self, slot: usize) {
        self.cache.lengths[slot] = 0;
    }

    fn extend(&mut self, sequences: &[(usize, &[u32])], logits: &mut [f32]) -> Result<()> {
        sequences.iter().try_for_each(|(_, tokens)| check_tokens(tokens, self.model.config.vocab))?;
        let Self { model, cache, .. } = self;
        decode::extend(&model.config, &model.layout, &model.parameters, cache, sequences, logits);
        Ok(())
    }

    fn sample(&mut self, sequences: &[(usize, &[u32])], draws: &[SampleRequest], tokens: &mut [u32]) -> Result<()> {
        assert_eq!((draws.len(), tokens.len()), (sequences.len(), sequences.len()));
        let vocab = self.model.config.vocab;
        let mut logits = std::mem::take(&mut self.logits);
        logits.resize(sequences.len() * vocab, 0.0);
        self.extend(sequences, &mut logits)?;
        check_finite(&logits)?;
        let rows = logits.par_chunks_exact(vocab).zip(draws);
        tokens.par_iter_mut().zip(rows).for_each(|(token, (logits, draw))| *token = sampling::draw(logits, draw));
        self.logits = logits;
        Ok(())
    }

    fn sample_measured(
        &mut self,
        sequences: &[(usize, &[u32])],
        draws: &[SampleRequest],
        logits: &mut [f32],
        tokens: &mut [u32],
        shares: &mut [f64],
    ) -> Result<()> {
        self.extend(sequences, logits)?;
        check_finite(logits)?;
        sampling::draw_measured(logits, draws, tokens, shares);
        Ok(())
    }

    fn read(&self, state: State, out: &mut [f32]) -> Result<()> {
        let from = match state {
            State::Parameters => &self.model.parameters,
            State::Gradients => &self.model.gradients,
            State::ExpAvg => &self.exp_avg,
            State::ExpAvgSq => &self.exp_avg_sq,
        };
        match from.is_empty() {
            true => out.fill(0.0),
            false => out.copy_from_slice(from),
        }
        Ok(())
    }

    fn write(&mut self, state: State, values: &[f32]) -> Result<()> {
        self.make_optimizer_state();
        let to = match state {
            State::Parameters => &mut self.model.parameters,
            State::Gradients => &mut self.model.gradients,
            State::ExpAvg => &mut self.exp_avg,
            State::ExpAvgSq => &mut self.exp_avg_sq,
        };
        to.copy_from_slice(values);
        Ok(())
    }
}
