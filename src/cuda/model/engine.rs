//! The `Engine` seam over the CUDA model.

use super::activations::{Activations, Purpose, Recompute};
use super::forward::Pass;
use super::kv_cache::KvCache;
use super::memory;
use super::optimizer::Optimizer;
use super::parameters::{self, Parameters};
use super::workspace::Workspace;
use crate::cuda::device::allocator::Allocator;
use crate::cuda::device::memory::View;
use crate::cuda::device::seam::Device;
use crate::cuda::ops::{attention, layernorm};
use crate::engine::{AdamW, Batch, Engine, SampleRequest, State, Update, check_finite, check_tokens};
use crate::gpt::{Config, Layout};
use crate::{Error, Result};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// How the engine works; none of it changes what it computes, beyond roundings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub recompute: Recompute,
    /// Queue every kernel by itself instead of replaying a recorded step: for debuggers and profilers.
    pub eager: bool,
    /// Rows whose logits are held at once; none: as many as take half a gigabyte.
    pub head_rows: Option<usize>,
}

pub struct CudaEngine {
    /// Without the padding that the device's has.
    layout: Layout,
    options: Options,
    workspace: Workspace,
    cache: Option<KvCache>,
    /// Made by the first call that needs it: an engine that only infers has none.
    optimizer: Option<Arc<Optimizer>>,
    parameters: Arc<Parameters>,
}

/// B and T of so many rows.
fn shape(rows: usize, seq_len: usize, config: &Config) -> (usize, usize) {
    assert!(seq_len <= config.context && rows.is_multiple_of(seq_len), "{rows} rows of {seq_len}");
    (rows / seq_len, seq_len)
}

impl CudaEngine {
    /// `parameters` (layout.len), e.g. from [`crate::gpt::init`] or a checkpoint. Fails for a head size that has no kernel,
    /// and when the device has no room for the parameters.
    pub fn new(device: Arc<dyn Device>, config: Config, parameters: Vec<f32>, options: Options) -> Result<Self> {
        attention::supported(config.head_size())?;
        if config.channels > layernorm::MOST_CHANNELS {
            return Err(Error::failed(format!(
                "the CUDA engine's LayerNorm takes up to {} channels; this model has {}: use --device cpu",
                layernorm::MOST_CHANNELS,
                config.channels
            )));
        }
        let layout = Layout::new(&config);
        assert_eq!(parameters.len(), layout.len);
        let parameters = Arc::new(Parameters::new(device, config, &parameters)?);
        Ok(CudaEngine { layout, options, workspace: Workspace::default(), cache: None, optimizer: None, parameters })
    }

    /// The optimizer's state; gradients and moments start at zero.
    fn optimizer(&mut self) -> Result<Arc<Optimizer>> {
        if let Some(optimizer) = &self.optimizer {
            return Ok(optimizer.clone());
        }
        let mut allocator = Allocator::on(self.parameters.device.clone());
        let optimizer = Arc::new(Optimizer::allocate(&mut allocator, self.parameters.layout.len)?);
        optimizer.clear()?;
        self.optimizer = Some(optimizer.clone());
        Ok(optimizer)
    }

    /// A forward pass over these tokens, which are uploaded to activations that have room for them.
    fn forward_pass(&mut self, tokens: &[u32], seq_len: usize) -> Result<Pass<'_>> {
        let (batch, seq_len) = shape(tokens.len(), seq_len, &self.parameters.config);
        let has_optimizer = self.optimizer.is_some();
        let found = self.workspace.activations(&self.parameters, tokens.len(), self.options.head_rows);
        let activations: &mut Activations = found.map_err(|error| {
            memory::explain(error, &self.parameters, (batch, seq_len), Purpose::Inference, has_optimizer)
        })?;
        activations.upload_tokens(tokens, seq_len)?;
        Ok(Pass { parameters: &self.parameters, activations, batch, seq_len })
    }

    /// The cache that `open_cache` has made.
    fn cache(&mut self) -> Result<&mut KvCache> {
        self.cache.as_mut().ok_or_else(|| Error::failed("there is no KV cache: open_cache makes room for one"))
    }

    fn extend_on_device(&mut self, sequences: &[(usize, &[u32])]) -> Result<&KvCache> {
        sequences.iter().try_for_each(|(_, tokens)| check_tokens(tokens, self.parameters.config.vocab))?;
        let cache = self.cache()?;
        cache.extend(sequences)?;
        Ok(cache)
    }
}

/// Widens logits (rows, Vp) into (rows, V).
fn download_logits(from: View<bf16>, padded: usize, to: &mut [f32], vocab: usize) -> Result<()> {
    let mut narrow = vec![bf16::ZERO; from.len()];
    from.download(&mut narrow)?;
    for (row, to) in narrow.chunks_exact(padded).zip(to.chunks_exact_mut(vocab)) {
        row[..vocab].convert_to_f32_slice(to);
    }
    Ok(())
}

impl Engine for CudaEngine {
    fn config(&self) -> &Config {
        &self.parameters.config
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn losses(&mut self, batch: Batch, losses: &mut [f32]) -> Result<()> {
        batch.check(self.parameters.config.vocab)?;
        let pass = self.forward_pass(batch.tokens, batch.seq_len)?;
        pass.activations.upload_targets(batch.targets)?;
        pass.losses()?;
        pass.activations.losses(pass.rows()).as_view().download(losses)
    }

    fn logits(&mut self, tokens: &[u32], seq_len: usize, logits: &mut [f32]) -> Result<()> {
        let vocab = self.parameters.config.vocab;
        check_tokens(tokens, vocab)?;
        let padded = self.parameters.padded_vocab();
        let pass = self.forward_pass(tokens, seq_len)?;
        pass.forward()?;
        pass.head(|start, piece| {
            let rows = piece.len() / padded;
            download_logits(piece.as_view(), padded, &mut logits[start * vocab..(start + rows) * vocab], vocab)
        })
    }

    fn accumulate(&mut self, batch: Batch, scale: f32) -> Result<()> {
        batch.check(self.parameters.config.vocab)?;
        let optimizer = self.optimizer()?;
        let shape = shape(batch.tokens.len(), batch.seq_len, &self.parameters.config);
        let Options { recompute, eager, head_rows } = self.options;
        let step = self.workspace.training_step(&self.parameters, &optimizer, shape, recompute, head_rows);
        let step =
            step.map_err(|error| memory::explain(error, &self.parameters, shape, Purpose::Training(recompute), true))?;
        step.accumulate(batch, scale, eager)
    }

    fn update(&mut self, step: &AdamW) -> Result<Update> {
        self.optimizer()?.update(&self.parameters, step)
    }

    fn open_cache(&mut self, slots: usize) -> Result<()> {
        // The old cache goes first, so that the peak is the new size and not the sum.
        self.cache = None;
        let cache = KvCache::new(self.parameters.clone(), slots, self.options.eager);
        self.cache = Some(cache.map_err(|error| memory::explain_cache(error, &self.parameters, slots))?);
        Ok(())
    }

    fn cached(&self, slot: usize) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.len(slot))
    }

    fn forget(&mut self, slot: usize) {
        if let Some(cache) = &mut self.cache {
            cache.forget(slot);
        }
    }

    fn extend(&mut self, sequences: &[(usize, &[u32])], logits: &mut [f32]) -> Result<()> {
        let (vocab, padded) = (self.parameters.config.vocab, self.parameters.padded_vocab());
        let cache = self.extend_on_device(sequences)?;
        download_logits(cache.logits(sequences.len()), padded, logits, vocab)
    }

    fn sample(&mut self, sequences: &[(usize, &[u32])], draws: &[SampleRequest], tokens: &mut [u32]) -> Result<()> {
        assert_eq!(sequences.len(), draws.len());
        // Parameters that overflow show in the first logits of a record; to copy all of them would cost too much.
        if sequences.iter().any(|&(slot, _)| self.cached(slot) == 0) {
            let mut logits = vec![0.0; sequences.len() * self.parameters.config.vocab];
            self.extend(sequences, &mut logits)?;
            check_finite(&logits)?;
        } else {
            self.extend_on_device(sequences)?;
        }
        self.cache.as_ref().expect("it was extended").draw(draws, tokens)
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
        crate::cpu::sampling::draw_measured(logits, draws, tokens, shares);
        Ok(())
    }

    fn read(&self, state: State, out: &mut [f32]) -> Result<()> {
        let from = match (state, &self.optimizer) {
            (State::Parameters, _) => Some(self.parameters.master()),
            (_, Some(optimizer)) => optimizer.part(state),
            (_, None) => None,
        };
        match from {
            Some(from) => parameters::download(out, &self.layout, from.as_view(), &self.parameters.layout),
            None => {
                out.fill(0.0);
                Ok(())
            }
        }
    }

    fn write(&mut self, state: State, values: &[f32]) -> Result<()> {
        if state == State::Parameters {
            return self.parameters.write(values, &self.layout);
        }
        let optimizer = self.optimizer()?;
        let to = optimizer.part(state).expect("parameters are handled above");
        parameters::upload(to, &self.parameters.layout, values, &self.layout)
    }

    fn is_beside_host(&self) -> bool {
        true
    }

    fn device_memory(&self) -> Option<u64> {
        self.parameters.device.memory().ok().map(|(free, total)| total - free)
    }

    fn profile(&self, start: bool) {
        self.parameters.device.profile(start);
    }
}
