//! The `Engine` seam over the CUDA model.

use super::activations::{Activations, BackwardBuffers, Purpose, Recompute, head_rows};
use super::backward::Training;
use super::forward::Pass;
use super::kv_cache::Cache;
use super::memory;
use super::weights::{self, Optimizer, Weights};
use crate::cuda::device::arena::Arena;
use crate::cuda::device::graph_cache::GraphCache;
use crate::cuda::device::seam::Device;
use crate::cuda::ops::adamw;
use crate::cuda::ops::{attention, embedding, layernorm};
use crate::engine::{AdamW, Batch, Engine, SampleRequest, State, Update, check_tokens};
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
    config: Config,
    layout: Layout,
    options: Options,
    device: Arc<dyn Device>,
    weights: Weights,
    room: Option<Room>,
    training: Option<TrainingState>,
    cache: Option<Cache>,
}

/// Activations for up to `activations.rows` rows.
struct Room {
    activations: Activations,
    /// T that `activations.positions` count for.
    seq_len: usize,
    _arena: Arena,
}

/// What training needs besides weights and activations.
struct TrainingState {
    /// Forward and backward pass of a batch of this many sequences of this length. First, so that it is dropped before the
    /// buffers, the last of which may take the device along.
    step: Option<((usize, usize), GraphCache)>,
    optimizer: Optimizer,
    _arena: Arena,
    backward: Option<(BackwardBuffers, Arena)>,
    /// Host side of `BackwardBuffers::{order, starts}`.
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl CudaEngine {
    /// `parameters` (layout.len), e.g. from [`crate::gpt::init`] or a checkpoint. Fails for a head size that has no kernel,
    /// and when the device has no room for the weights.
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
        let weights = Weights::new(&device, &config)?;
        weights::upload(&*device, weights.parameters, &weights.layout, &parameters, &layout)?;
        weights.cast_bf16(&*device)?;
        Ok(CudaEngine { config, layout, options, device, weights, room: None, training: None, cache: None })
    }

    /// Activations for this many rows, and positions for sequences of `seq_len`.
    fn make_room(&mut self, rows: usize, seq_len: usize, training: bool) -> Result<()> {
        assert!(seq_len <= self.config.context && rows.is_multiple_of(seq_len), "{rows} rows of {seq_len}");
        let purpose = if training { Purpose::Training(self.options.recompute) } else { Purpose::Inference };
        let enough = |room: &Room| {
            let has = &room.activations;
            has.rows >= rows && (!training || has.purpose == purpose)
        };
        if !self.room.as_ref().is_some_and(enough) {
            // The old buffers go first, so that the peak is the new size and not the sum.
            self.drop_room();
            let mut arena = Arena::on(&self.device);
            let piece = self.options.head_rows.unwrap_or_else(|| head_rows(rows, &self.config));
            match Activations::take(&mut arena, &self.config, rows, purpose, piece) {
                Ok(activations) => self.room = Some(Room { activations, seq_len: 0, _arena: arena }),
                Err(error) => {
                    drop(arena);
                    return Err(self.explain(error, rows / seq_len, seq_len, purpose));
                }
            }
        }
        let room = self.room.as_mut().expect("made above");
        if room.seq_len != seq_len {
            let positions: Vec<u32> = (0..room.activations.rows).map(|row| (row % seq_len) as u32).collect();
            room.activations.positions.upload(&*self.device, &positions)?;
            room.seq_len = seq_len;
        }
        Ok(())
    }

    /// Optimizer state and buffers of the backward pass; gradients and moments start at zero.
    fn make_training(&mut self, rows: usize, seq_len: usize) -> Result<()> {
        self.make_optimizer()?;
        self.make_room(rows, seq_len, true)?;
        let capacity = self.room.as_ref().expect("made above").activations.rows;
        let purpose = Purpose::Training(self.options.recompute);
        let needed = attention::scratch(self.pass(rows, seq_len).shape());
        let training = self.training.as_mut().expect("made above");
        let scratch = training.backward.as_ref().map_or(0, |(buffers, _)| buffers.attention.len());
        if training.order.len() != capacity || scratch < needed {
            (training.backward, training.step) = (None, None);
            let mut arena = Arena::on(&self.device);
            match BackwardBuffers::take(&mut arena, &self.config, capacity, seq_len) {
                Ok(buffers) => training.backward = Some((buffers, arena)),
                Err(error) => {
                    drop(arena);
                    self.drop_room();
                    return Err(self.explain(error, rows / seq_len, seq_len, purpose));
                }
            }
            training.order = vec![0; capacity];
        }
        Ok(())
    }

    /// Gives back everything that depends on the size of a batch.
    fn drop_room(&mut self) {
        self.room = None;
        if let Some(training) = &mut self.training {
            (training.step, training.backward) = (None, None);
            training.order.clear();
        }
    }

    fn make_optimizer(&mut self) -> Result<()> {
        if self.training.is_none() {
            let mut arena = Arena::on(&self.device);
            let optimizer = Optimizer::take(&mut arena, self.weights.layout.len)?;
            optimizer.clear(&*self.device)?;
            let starts = vec![0; self.weights.layout.token_embedding.shape[0] + 1];
            self.training =
                Some(TrainingState { step: None, optimizer, _arena: arena, backward: None, order: vec![], starts });
        }
        Ok(())
    }

    /// Adds to an allocation's error what would fit.
    fn explain(&self, error: Error, batch: usize, seq_len: usize, purpose: Purpose) -> Error {
        memory::explain(error, &*self.device, &self.config, batch, seq_len, purpose, self.training.is_some())
    }

    fn pass(&self, rows: usize, seq_len: usize) -> Pass<'_> {
        let activations = &self.room.as_ref().expect("make_room comes before").activations;
        let (device, config, weights) = (&*self.device, &self.config, &self.weights);
        Pass { device, config, weights, activations, batch: rows / seq_len, seq_len }
    }

    /// Runs the uploaded batch forward and backward: plainly, or by replay of the recorded step.
    fn run_step(&mut self, rows: usize, seq_len: usize) -> Result<()> {
        let shape = (rows / seq_len, seq_len);
        let known = self.training.as_mut().expect("make_training comes before").step.take();
        let mut step = known.filter(|known| known.0 == shape).unwrap_or_else(|| (shape, GraphCache::default()));
        let training = self.training();
        let buffers = &training.backward.as_ref().expect("make_training comes before").0;
        let work = Training { pass: self.pass(rows, seq_len), buffers, optimizer: &training.optimizer };
        step.1.run(&*self.device, self.options.eager, || work.accumulate())?;
        self.training.as_mut().expect("present above").step = Some(step);
        Ok(())
    }

    fn training(&self) -> &TrainingState {
        self.training.as_ref().expect("make_training comes before")
    }

    fn extend_on_device(&mut self, sequences: &[(usize, &[u32])]) -> Result<crate::cuda::device::seam::Span<bf16>> {
        sequences.iter().try_for_each(|(_, tokens)| check_tokens(tokens, self.config.vocab))?;
        let cache = self.cache.as_mut().expect("open_cache comes before");
        cache.extend(&*self.device, &self.config, &self.weights, sequences, self.options.eager)
    }

    /// Widens logits (rows, Vp) into (rows, V).
    fn download_logits(&self, from: crate::cuda::device::seam::Span<bf16>, to: &mut [f32]) -> Result<()> {
        let (vocab, padded) = (self.config.vocab, self.weights.layout.token_embedding.shape[0]);
        let mut narrow = vec![bf16::ZERO; from.len()];
        from.download(&*self.device, &mut narrow)?;
        for (row, to) in narrow.chunks_exact(padded).zip(to.chunks_exact_mut(vocab)) {
            row[..vocab].convert_to_f32_slice(to);
        }
        Ok(())
    }
}

impl Engine for CudaEngine {
    fn config(&self) -> &Config {
        &self.config
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn losses(&mut self, batch: Batch, losses: &mut [f32]) -> Result<()> {
        batch.check(self.config.vocab)?;
        let rows = batch.tokens.len();
        self.make_room(rows, batch.seq_len, false)?;
        let pass = self.pass(rows, batch.seq_len);
        pass.activations.tokens.first(rows).upload(pass.device, batch.tokens)?;
        pass.activations.targets.first(rows).upload(pass.device, batch.targets)?;
        pass.losses()?;
        pass.activations.losses.first(rows).download(pass.device, losses)
    }

    fn logits(&mut self, tokens: &[u32], seq_len: usize, logits: &mut [f32]) -> Result<()> {
        check_tokens(tokens, self.config.vocab)?;
        let (rows, vocab) = (tokens.len(), self.config.vocab);
        self.make_room(rows, seq_len, false)?;
        let pass = self.pass(rows, seq_len);
        pass.activations.tokens.first(rows).upload(pass.device, tokens)?;
        pass.forward()?;
        let padded = self.weights.layout.token_embedding.shape[0];
        pass.head(|start, piece| {
            let rows = piece.len() / padded;
            self.download_logits(piece, &mut logits[start * vocab..(start + rows) * vocab])
        })
    }

    fn accumulate(&mut self, batch: Batch, scale: f32) -> Result<()> {
        batch.check(self.config.vocab)?;
        let rows = batch.tokens.len();
        self.make_training(rows, batch.seq_len)?;
        let vocab = self.weights.layout.token_embedding.shape[0];
        let training = self.training.as_mut().expect("made above");
        embedding::sort(batch.tokens, vocab, &mut training.order[..rows], &mut training.starts);
        let (training, device) = (self.training(), &*self.device);
        let (buffers, activations) =
            (&training.backward.as_ref().expect("made above").0, &self.pass(rows, batch.seq_len).activations);
        activations.tokens.first(rows).upload(device, batch.tokens)?;
        activations.targets.first(rows).upload(device, batch.targets)?;
        buffers.order.first(rows).upload(device, &training.order[..rows])?;
        buffers.starts.upload(device, &training.starts)?;
        buffers.scale.upload(device, &[scale])?;
        self.run_step(rows, batch.seq_len)
    }

    fn update(&mut self, step: &AdamW) -> Result<Update> {
        self.make_optimizer()?;
        let (device, weights, state) = (&*self.device, &self.weights, &self.training().optimizer);
        state.settings.upload(device, &adamw::Settings::of(step))?;
        adamw::norm_partials(device, state.partials, state.gradients)?;
        adamw::decide(device, state.decision, state.report, state.partials, state.loss, state.settings)?;
        adamw::update(
            device,
            weights.parameters,
            weights.params_bf16,
            state.gradients,
            state.exp_avg,
            state.exp_avg_sq,
            weights.layout.decayed,
            state.settings,
            state.decision,
        )?;
        let mut report = [0f64; 2];
        state.report.download(device, &mut report)?;
        Ok(Update { loss: report[0], norm: report[1] })
    }

    fn open_cache(&mut self, slots: usize) -> Result<()> {
        self.cache = None;
        let cache = Cache::new(&self.device, &self.config, slots);
        self.cache = Some(cache.map_err(|error| memory::explain_cache(error, &*self.device, &self.config, slots))?);
        Ok(())
    }

    fn cached(&self, slot: usize) -> usize {
        self.cache.as_ref().expect("open_cache comes before").lengths[slot]
    }

    fn forget(&mut self, slot: usize) {
        self.cache.as_mut().expect("open_cache comes before").lengths[slot] = 0;
    }

    fn extend(&mut self, sequences: &[(usize, &[u32])], logits: &mut [f32]) -> Result<()> {
        let found = self.extend_on_device(sequences)?;
        self.download_logits(found, logits)
    }

    fn sample(&mut self, sequences: &[(usize, &[u32])], draws: &[SampleRequest], tokens: &mut [u32]) -> Result<()> {
        let logits = self.extend_on_device(sequences)?;
        let cache = self.cache.as_ref().expect("open_cache comes before");
        cache.draw(&*self.device, self.config.vocab, logits, draws, tokens)
    }

    fn sample_measured(
        &mut self,
        sequences: &[(usize, &[u32])],
        draws: &[SampleRequest],
        tokens: &mut [u32],
        shares: &mut [f64],
    ) -> Result<()> {
        let mut logits = vec![0.0; sequences.len() * self.config.vocab];
        self.extend(sequences, &mut logits)?;
        crate::cpu::sampling::draw_measured(&logits, draws, tokens, shares);
        Ok(())
    }

    fn read(&self, state: State, out: &mut [f32]) -> Result<()> {
        let from = match (state, &self.training) {
            (State::Parameters, _) => self.weights.parameters,
            (_, Some(training)) => training.optimizer.part(state).expect("not the parameters"),
            (_, None) => {
                out.fill(0.0);
                return Ok(());
            }
        };
        weights::download(&*self.device, out, &self.layout, from, &self.weights.layout)
    }

    fn write(&mut self, state: State, values: &[f32]) -> Result<()> {
        let device = self.device.clone();
        let to = match state {
            State::Parameters => self.weights.parameters,
            _ => {
                self.make_optimizer()?;
                self.training().optimizer.part(state).expect("not the parameters")
            }
        };
        weights::upload(&*device, to, &self.weights.layout, values, &self.layout)?;
        if state == State::Parameters {
            self.weights.cast_bf16(&*device)?;
        }
        Ok(())
    }

    fn device_memory(&self) -> Option<u64> {
        self.device.memory().ok().map(|(free, total)| total - free)
    }

    fn profile(&self, start: bool) {
        self.device.profile(start);
    }
}
