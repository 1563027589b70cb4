//! The KV cache and the forward pass of new tokens over it: prompts and, one token a sequence, decoding.
//!
//! Rows of all sequences go through the linear layers together. Attention is of two kinds: a prompt that starts an empty slot
//! attends within itself, by the batch kernel; every other row attends to its slot's cache.

use super::new_rows::{NewRows, Sequence, padded};
use super::parameters::{self, Parameters};
use crate::Result;
use crate::cuda::device::allocator::Allocator;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::graph_cache::GraphCache;
use crate::cuda::device::memory::{Buffer, View, ViewMut};
use crate::cuda::device::seam::{Device, Phase};
use crate::cuda::ops::decode::{self, CacheShape};
use crate::cuda::ops::layernorm::Normed;
use crate::cuda::ops::{attention, embedding, layernorm, linear, sampling};
use crate::engine::SampleRequest;
use crate::gpt::Config;
use crate::gpt::layout::Block;
use half::bf16;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct KvCache {
    /// Recorded passes, by the number of sequences, one new token to each. They hold addresses of all buffers below, and
    /// come first so that they are dropped before them.
    graphs: BTreeMap<usize, GraphCache>,
    passes: CachedPasses,
    /// Tokens held of each slot.
    lengths: Vec<usize>,
    /// Nothing is recorded.
    eager: bool,
}

/// Parameters, cache and buffers, and the passes over them.
struct CachedPasses {
    parameters: Arc<Parameters>,
    shape: CacheShape,
    layers: Vec<KeysValues>,
    rows: RowBuffers,
}

struct KeysValues {
    keys: Buffer<bf16>,   // (S, NH, context, HS)
    values: Buffer<bf16>, // (S, NH, context, HS)
}

/// Buffers for up to R rows.
struct RowBuffers {
    capacity: usize,
    numbers: Buffer<u32>,       // (3 R + S): see `RowNumbers`
    stream: Buffer<bf16>,       // (R, C): residual stream
    normed: Buffer<bf16>,       // (R, C)
    mean: Buffer<f32>,          // (R)
    rstd: Buffer<f32>,          // (R)
    qkv: Buffer<bf16>,          // (R, 3, NH, HS)
    attn_out: Buffer<bf16>,     // (R, C)
    sublayer_out: Buffer<bf16>, // (R, C)
    mlp_fc_out: Buffer<bf16>,   // (R, 4C)
    gelu_out: Buffer<bf16>,     // (R, 4C)
    lse: Buffer<f32>,           // (NH, R)
    scratch: Buffer<f32>,       // of decode::Attend
    gathered: Buffer<bf16>,     // (S, C)
    logits: Buffer<bf16>,       // (S, Vp)
    draws: Buffer<u32>,         // (S, sampling::WORDS)
    masks: Buffer<u32>,         // (S, ceil(V/32))
    drawn: Buffer<u32>,         // (S)
}

/// Rows that attend to the cache in one launch.
fn attending(slots: usize) -> usize {
    slots.max(256)
}

/// Recorded passes that are kept: a batch that runs out goes through all numbers of sequences.
const MOST_GRAPHS: usize = 8;

impl RowBuffers {
    fn allocate(allocator: &mut Allocator, config: &Config, shape: CacheShape) -> Result<Self> {
        let (c, slots) = (config.channels, shape.slots);
        let capacity = padded(shape.context.max(slots));
        Ok(RowBuffers {
            capacity,
            numbers: allocator.buffer(3 * capacity + slots)?,
            stream: allocator.buffer(capacity * c)?,
            normed: allocator.buffer(capacity * c)?,
            mean: allocator.buffer(capacity)?,
            rstd: allocator.buffer(capacity)?,
            qkv: allocator.buffer(capacity * 3 * c)?,
            attn_out: allocator.buffer(capacity * c)?,
            sublayer_out: allocator.buffer(capacity * c)?,
            mlp_fc_out: allocator.buffer(capacity * 4 * c)?,
            gelu_out: allocator.buffer(capacity * 4 * c)?,
            lse: allocator.buffer(capacity * config.heads)?,
            scratch: allocator.buffer(decode::scratch(attending(slots), shape))?,
            gathered: allocator.buffer(slots * c)?,
            logits: allocator.buffer(slots * parameters::padded(config).vocab)?,
            draws: allocator.buffer(slots * sampling::WORDS)?,
            masks: allocator.buffer(slots * config.vocab.div_ceil(32))?,
            drawn: allocator.buffer(slots)?,
        })
    }

    /// The numbers of a pass of n rows, laid out as [`NewRows::numbers`] has them.
    fn numbers(&self, n: usize, sequences: usize) -> RowNumbers<'_> {
        let all = self.numbers.view();
        let part = |i: usize| all.slice(i * n..(i + 1) * n);
        RowNumbers { tokens: part(0), positions: part(1), slots: part(2), last: all.slice(3 * n..3 * n + sequences) }
    }

    fn normed(&self, n: usize, c: usize) -> Normed<'_> {
        Normed {
            y: self.normed.view_mut().first(n * c),
            mean: self.mean.view_mut().first(n),
            rstd: self.rstd.view_mut().first(n),
        }
    }
}

/// What a pass of n rows is told.
struct RowNumbers<'a> {
    tokens: View<'a, u32>,    // (n)
    positions: View<'a, u32>, // (n)
    slots: View<'a, u32>,     // (n)
    last: View<'a, u32>,      // (sequences): the last row of each
}

impl KvCache {
    /// Bytes of the device that a cache of so many slots takes.
    pub fn bytes(config: &Config, slots: usize) -> Result<u64> {
        let mut allocator = Allocator::counting();
        CachedPasses::allocate(&mut allocator, config, slots)?;
        Ok(allocator.bytes())
    }

    /// Room for `slots` sequences of the model's context, all empty. With `eager` nothing is recorded.
    pub fn new(parameters: Arc<Parameters>, slots: usize, eager: bool) -> Result<Self> {
        let mut allocator = Allocator::on(parameters.device.clone());
        let (shape, layers, rows) = CachedPasses::allocate(&mut allocator, &parameters.config, slots)?;
        // Filling rows attend to nothing and go through the products with what stands there.
        rows.attn_out.view_mut().clear()?;
        let passes = CachedPasses { parameters, shape, layers, rows };
        Ok(KvCache { graphs: BTreeMap::new(), passes, lengths: vec![0; slots], eager })
    }

    /// Tokens held of a slot.
    pub fn len(&self, slot: usize) -> usize {
        self.lengths[slot]
    }

    /// Empties a slot.
    pub fn forget(&mut self, slot: usize) {
        self.lengths[slot] = 0;
    }

    /// Appends the tokens to their slots and leaves each sequence's next logits on the device: [`KvCache::logits`].
    /// Tokens are checked, slots distinct, and every sequence fits its slot.
    pub fn extend(&mut self, sequences: &[Sequence]) -> Result<()> {
        let mut done = 0;
        while done < sequences.len() {
            let group = &sequences[done..done + self.group(&sequences[done..])];
            for &(slot, tokens) in group {
                assert!(!tokens.is_empty() && self.lengths[slot] + tokens.len() <= self.passes.shape.context);
            }
            let rows = NewRows::new(group, &self.lengths);
            let numbers = rows.numbers();
            self.passes.rows.numbers.view_mut().first(numbers.len()).upload(&numbers)?;
            match done == 0 && rows.is_step() {
                true => self.step(&rows)?,
                false => self.passes.run(&rows, done)?,
            }
            group.iter().for_each(|&(slot, tokens)| self.lengths[slot] += tokens.len());
            done += group.len();
        }
        Ok(())
    }

    /// (sequences, Vp): what the last call of `extend` has left.
    pub fn logits(&self, sequences: usize) -> View<'_, bf16> {
        self.passes.rows.logits.view().first(sequences * self.passes.parameters.padded_vocab())
    }

    /// How many of the sequences go through together.
    fn group(&self, sequences: &[Sequence]) -> usize {
        let mut rows = 0;
        let fitting = sequences.iter().take_while(|(_, tokens)| {
            rows += tokens.len();
            rows <= self.passes.rows.capacity
        });
        let fitting = fitting.count();
        assert!(fitting > 0, "a sequence is longer than the context");
        fitting
    }

    /// A pass of one new token to each sequence: what generation consists of.
    fn step(&mut self, rows: &NewRows) -> Result<()> {
        let sequences = rows.sequences();
        if self.graphs.len() == MOST_GRAPHS && !self.graphs.contains_key(&sequences) {
            self.graphs.clear();
        }
        let graph = self.graphs.entry(sequences).or_default();
        let passes = &self.passes;
        // SAFETY: a pass uses buffers of the parameters, of the cache and of its rows alone. This value owns them together
        // with the graphs or shares their ownership, replaces none, and drops the graphs first.
        unsafe { graph.run(passes.device(), self.eager, || passes.run(rows, 0)) }
    }

    /// Draws a token from each row of the logits that `extend` has left.
    pub fn draw(&self, draws: &[SampleRequest], tokens: &mut [u32]) -> Result<()> {
        let (n, vocab) = (draws.len(), self.passes.parameters.config.vocab);
        let (rows, words) = (&self.passes.rows, vocab.div_ceil(32));
        assert_eq!(tokens.len(), n);
        let encoded: Vec<u32> = draws.iter().flat_map(sampling::encode).collect();
        let on_device = rows.draws.view_mut().first(encoded.len());
        on_device.upload(&encoded)?;
        let masks = match draws.iter().any(|draw| draw.allowed.is_some()) {
            false => None,
            true => {
                let all = vec![u32::MAX; words];
                let masks: Vec<u32> = draws.iter().flat_map(|draw| draw.allowed.unwrap_or(&all)).copied().collect();
                let on_device = rows.masks.view_mut().first(n * words);
                on_device.upload(&masks)?;
                Some(on_device.as_view())
            }
        };
        let drawn = rows.drawn.view_mut().first(n);
        let (logits, draws) = (self.logits(n), on_device.as_view());
        sampling::Draw { tokens: drawn, logits, draws, masks, vocab }.run(self.passes.device())?;
        drawn.as_view().download(tokens)
    }
}

impl CachedPasses {
    fn allocate(
        allocator: &mut Allocator,
        config: &Config,
        slots: usize,
    ) -> Result<(CacheShape, Vec<KeysValues>, RowBuffers)> {
        let (heads, head_size, context) = (config.heads, config.head_size(), config.context);
        let shape = CacheShape { slots, context, heads, head_size };
        let mut layer =
            || Ok(KeysValues { keys: allocator.buffer(shape.len())?, values: allocator.buffer(shape.len())? });
        let layers = (0..config.layers).map(|_| layer()).collect::<Result<_>>()?;
        Ok((shape, layers, RowBuffers::allocate(allocator, config, shape)?))
    }

    fn device(&self) -> &dyn Device {
        &*self.parameters.device
    }

    /// Queues the kernels for rows whose numbers are on the device. The logits of their sequences go behind those of the
    /// first `done` ones.
    fn run(&self, rows: &NewRows, done: usize) -> Result<()> {
        let (n, c, vocab) = (rows.len(), self.parameters.config.channels, self.parameters.padded_vocab());
        let numbers = self.rows.numbers(n, rows.sequences());
        let layout = &self.parameters.layout;
        let _phase = Phase::open(self.device(), "extend");
        embedding::Forward {
            y: self.rows.stream.view_mut().first(n * c),
            tokens: numbers.tokens,
            positions: numbers.positions,
            token_table: self.parameters.tensor(&layout.token_embedding),
            position_table: self.parameters.tensor(&layout.position_embedding),
            c,
        }
        .run(self.device())?;
        for (layer, of) in layout.blocks.iter().enumerate() {
            self.block(of, layer, rows)?;
        }
        let logits = self.rows.logits.view_mut().slice(done * vocab..(done + rows.sequences()) * vocab);
        self.head(logits, numbers.last, n)
    }

    /// Stream before the block -> stream after it but for the last addition, which the next norm makes: `sublayer_out`.
    fn block(&self, of: &Block, layer: usize, rows: &NewRows) -> Result<()> {
        let (device, parameters, buffers) = (self.device(), &*self.parameters, &self.rows);
        let (n, c) = (rows.len(), parameters.config.channels);
        let stream = buffers.stream.view_mut().first(n * c);
        let sublayer_out = buffers.sublayer_out.view_mut().first(n * c);
        let (to, params) = (buffers.normed(n, c), parameters.norm(&of.norm_1));
        match layer {
            0 => layernorm::Forward { to, x: stream.as_view(), params }.run(device)?,
            _ => self.add_branch(to, params, n)?,
        }
        let normed = to.y.as_view();
        let qkv = buffers.qkv.view_mut().first(n * 3 * c);
        linear::Forward { y: qkv, x: normed, params: parameters.linear(&of.qkv), n }.run(device)?;
        self.attend(layer, rows)?;
        let attn_out = buffers.attn_out.view().first(n * c);
        linear::Forward { y: sublayer_out, x: attn_out, params: parameters.linear(&of.attn_proj), n }.run(device)?;
        self.add_branch(to, parameters.norm(&of.norm_2), n)?;
        let y = buffers.gelu_out.view_mut().first(n * 4 * c);
        let before = buffers.mlp_fc_out.view_mut().first(n * 4 * c);
        linear::ForwardGelu { y, before, x: normed, params: parameters.linear(&of.mlp_fc), n }.run(device)?;
        let params = parameters.linear(&of.mlp_proj);
        linear::Forward { y: sublayer_out, x: y.as_view(), params, n }.run(device)
    }

    /// stream += sublayer_out, and the norm behind it.
    fn add_branch(&self, to: Normed, params: layernorm::NormParams, n: usize) -> Result<()> {
        let cells = n * self.parameters.config.channels;
        let (sum, sublayer_out) =
            (self.rows.stream.view_mut().first(cells), self.rows.sublayer_out.view().first(cells));
        layernorm::ResidualForward { sum, to, x: sum.as_view(), sublayer_out, params }.run(self.device())
    }

    fn attend(&self, layer: usize, rows: &NewRows) -> Result<()> {
        let (buffers, cache, n) = (&self.rows, self.shape, rows.len());
        let c = self.parameters.config.channels;
        let KeysValues { keys, values } = &self.layers[layer];
        let RowNumbers { slots, positions, .. } = buffers.numbers(n, rows.sequences());
        let (qkv, attn_out) = (buffers.qkv.view().first(n * 3 * c), buffers.attn_out.view_mut());
        let new = decode::Rows { qkv, slots, positions };
        decode::Append { keys: keys.view_mut(), values: values.view_mut(), rows: new, cache }.run(self.device())?;
        let most = attending(cache.slots);
        for start in (0..rows.cached).step_by(most) {
            let piece = start..rows.cached.min(start + most);
            let cells = |width: usize| piece.start * width..piece.end * width;
            let scratch = buffers.scratch.view_mut().first(decode::scratch(piece.len(), cache));
            let (out, qkv) = (attn_out.slice(cells(c)), qkv.slice(cells(3 * c)));
            let (slots, positions) = (slots.slice(piece.clone()), positions.slice(piece.clone()));
            let rows = decode::Rows { qkv, slots, positions };
            decode::Attend { out, scratch, rows, keys: keys.view(), values: values.view(), cache }
                .run(self.device())?;
        }
        let mut start = rows.cached;
        for &seq_len in &rows.prompts {
            let cells = |width: usize| start * width..(start + seq_len) * width;
            let shape = attention::AttentionShape { batch: 1, seq_len, heads: cache.heads, head_size: cache.head_size };
            let lse = buffers.lse.view_mut().first(seq_len * cache.heads);
            let (out, qkv) = (attn_out.slice(cells(c)), qkv.slice(cells(3 * c)));
            self.parameters.attention.forward(attention::Forward { out, lse, qkv, shape }, self.device())?;
            start += seq_len;
        }
        Ok(())
    }

    /// logits (sequences, Vp) of the rows `last` (sequences), of `n`.
    fn head(&self, logits: ViewMut<bf16>, last: View<u32>, n: usize) -> Result<()> {
        let (parameters, layout) = (&*self.parameters, &self.parameters.layout);
        let table = &layout.token_embedding;
        let (sequences, vocab, c) = (last.len(), table.shape[0], table.shape[1]);
        let normed = self.rows.normed(n, c);
        self.add_branch(normed, parameters.norm(&layout.norm_final), n)?;
        let gathered = self.rows.gathered.view_mut().first(sequences * c);
        decode::Gather { to: gathered, from: normed.y.as_view(), rows: last }.run(self.device())?;
        let (a, b) = (Operand::plain(gathered.as_view()), Operand::transposed(parameters.tensor(table)));
        let d = Output::Rounded(logits, Epilogue::None);
        self.device().gemm(&Gemm { m: sequences, n: vocab, k: c, a, b, d })
    }
}
