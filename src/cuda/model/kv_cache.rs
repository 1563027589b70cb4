//! The KV cache and the forward pass of new tokens over it: prompts and, one token a sequence, decoding.
//!
//! Rows of all sequences go through the linear layers together. Attention is of two kinds: a prompt that starts an empty slot
//! attends within itself, by the batch kernel; every other row attends to its slot's cache.

use super::weights::{self, Weights};
use crate::Result;
use crate::cuda::device::arena::Arena;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::graph_cache::GraphCache;
use crate::cuda::device::seam::{Device, Phase, Span};
use crate::cuda::ops::attention;
use crate::cuda::ops::decode::{self, CacheShape};
use crate::cuda::ops::layernorm::{self, Normed};
use crate::cuda::ops::{embedding, linear, sampling};
use crate::engine::SampleRequest;
use crate::gpt::Config;
use crate::gpt::layout::Block;
use half::bf16;
use std::collections::BTreeMap;
use std::sync::Arc;

/// New tokens of one slot.
pub type Sequence<'a> = (usize, &'a [u32]);

pub struct Cache {
    /// By the number of sequences, one new token to each. First, so that they are dropped before the buffers.
    steps: BTreeMap<usize, GraphCache>,
    shape: CacheShape,
    /// Tokens held of each slot.
    pub lengths: Vec<usize>,
    layers: Vec<KeysValues>,
    rows: RowBuffers,
    _arena: Arena,
}

#[derive(Clone, Copy)]
struct KeysValues {
    keys: Span<bf16>,   // (S, NH, context, HS)
    values: Span<bf16>, // (S, NH, context, HS)
}

/// Buffers for up to R rows.
struct RowBuffers {
    capacity: usize,
    numbers: Span<u32>,       // (3 R + S): see `Numbers`
    stream: Span<bf16>,       // (R, C): residual stream
    normed: Normed,           // (R, C)
    qkv: Span<bf16>,          // (R, 3, NH, HS)
    attn_out: Span<bf16>,     // (R, C)
    sublayer_out: Span<bf16>, // (R, C)
    mlp_fc_out: Span<bf16>,   // (R, 4C)
    gelu_out: Span<bf16>,     // (R, 4C)
    lse: Span<f32>,           // (NH, R)
    scratch: Span<f32>,       // of decode::attend
    gathered: Span<bf16>,     // (S, C)
    logits: Span<bf16>,       // (S, Vp)
    draws: Span<u32>,         // (S, sampling::WORDS)
    masks: Span<u32>,         // (S, ceil(V/32))
    drawn: Span<u32>,         // (S)
}

/// Rows that go through together: few different numbers, since every one has its own plans for the matrix products, and a
/// sequence's last bits should not depend on how many others there are.
pub(in crate::cuda) fn padded(rows: usize) -> usize {
    if rows <= 64 { rows.next_power_of_two().max(8) } else { rows.next_multiple_of(64) }
}

/// Rows that attend to the cache in one launch.
fn attending(slots: usize) -> usize {
    slots.max(256)
}

/// Recorded steps that are kept: a batch that runs out goes through all numbers of sequences.
const MOST_STEPS: usize = 8;

/// A row that is only there to fill up: it is in no slot.
const NOBODY: u32 = u32::MAX;

impl RowBuffers {
    fn take(arena: &mut Arena, config: &Config, shape: CacheShape) -> Result<Self> {
        let (c, slots) = (config.channels, shape.slots);
        let capacity = padded(shape.context.max(slots));
        Ok(RowBuffers {
            capacity,
            numbers: arena.take(3 * capacity + slots)?,
            stream: arena.take(capacity * c)?,
            normed: Normed { y: arena.take(capacity * c)?, mean: arena.take(capacity)?, rstd: arena.take(capacity)? },
            qkv: arena.take(capacity * 3 * c)?,
            attn_out: arena.take(capacity * c)?,
            sublayer_out: arena.take(capacity * c)?,
            mlp_fc_out: arena.take(capacity * 4 * c)?,
            gelu_out: arena.take(capacity * 4 * c)?,
            lse: arena.take(capacity * config.heads)?,
            scratch: arena.take(decode::scratch(attending(slots), shape))?,
            gathered: arena.take(slots * c)?,
            logits: arena.take(slots * weights::padded(config).vocab)?,
            draws: arena.take(slots * sampling::WORDS)?,
            masks: arena.take(slots * config.vocab.div_ceil(32))?,
            drawn: arena.take(slots)?,
        })
    }
}

/// What a pass of n rows is told, one behind the other, so that one copy brings it to the device.
#[derive(Clone, Copy)]
struct Numbers {
    tokens: Span<u32>,    // (n)
    positions: Span<u32>, // (n)
    slots: Span<u32>,     // (n)
    last: Span<u32>,      // (sequences): the last row of each
}

impl RowBuffers {
    fn numbers(&self, n: usize, sequences: usize) -> Numbers {
        let part = |i: usize| self.numbers.slice(i * n..(i + 1) * n);
        Numbers {
            tokens: part(0),
            positions: part(1),
            slots: part(2),
            last: self.numbers.slice(3 * n..3 * n + sequences),
        }
    }
}

/// The rows of one pass: first those that attend to the cache, then whole prompts.
struct Rows {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    /// Rows that attend to the cache.
    cached: usize,
    /// Lengths of the prompts behind them.
    prompts: Vec<usize>,
    /// The last row of each sequence, in the order given.
    last: Vec<u32>,
}

/// Behind them come rows of nobody, up to a padded number.
impl Rows {
    fn new(sequences: &[Sequence], lengths: &[usize]) -> Self {
        let is_prompt = |&(slot, tokens): &Sequence| lengths[slot] == 0 && tokens.len() > 1;
        let mut rows = Rows {
            tokens: vec![],
            positions: vec![],
            slots: vec![],
            cached: 0,
            prompts: vec![],
            last: vec![0; sequences.len()],
        };
        for prompts in [false, true] {
            for (i, &(slot, tokens)) in sequences.iter().enumerate().filter(|(_, s)| is_prompt(s) == prompts) {
                rows.tokens.extend_from_slice(tokens);
                rows.positions.extend((0..tokens.len()).map(|t| (lengths[slot] + t) as u32));
                rows.slots.extend(std::iter::repeat_n(slot as u32, tokens.len()));
                rows.last[i] = rows.tokens.len() as u32 - 1;
                match prompts {
                    true => rows.prompts.push(tokens.len()),
                    false => rows.cached += tokens.len(),
                }
            }
        }
        let n = padded(rows.tokens.len());
        rows.tokens.resize(n, 0);
        rows.positions.resize(n, 0);
        rows.slots.resize(n, NOBODY);
        rows
    }

    fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether every sequence has one new token, and none is a prompt.
    fn is_step(&self) -> bool {
        self.prompts.is_empty() && self.cached == self.last.len()
    }

    /// As [`Numbers`] has them.
    fn numbers(&self) -> Vec<u32> {
        [&self.tokens, &self.positions, &self.slots, &self.last].into_iter().flatten().copied().collect()
    }
}

impl Cache {
    pub fn bytes(config: &Config, slots: usize) -> Result<u64> {
        let mut arena = Arena::counting();
        Self::take(&mut arena, config, slots)?;
        Ok(arena.bytes())
    }

    pub fn new(device: &Arc<dyn Device>, config: &Config, slots: usize) -> Result<Self> {
        let mut arena = Arena::on(device);
        let (shape, layers, rows) = Self::take(&mut arena, config, slots)?;
        // Filling rows attend to nothing and go through the products with what stands there.
        rows.attn_out.clear(&**device)?;
        Ok(Cache { steps: BTreeMap::new(), shape, lengths: vec![0; slots], layers, rows, _arena: arena })
    }

    fn take(arena: &mut Arena, config: &Config, slots: usize) -> Result<(CacheShape, Vec<KeysValues>, RowBuffers)> {
        let (heads, head_size, context) = (config.heads, config.head_size(), config.context);
        let shape = CacheShape { slots, context, heads, head_size };
        let len = slots * heads * context * head_size;
        let mut layer = || Ok(KeysValues { keys: arena.take(len)?, values: arena.take(len)? });
        let layers = (0..config.layers).map(|_| layer()).collect::<Result<_>>()?;
        Ok((shape, layers, RowBuffers::take(arena, config, shape)?))
    }

    /// Appends the tokens to their slots and leaves each sequence's next logits on the device: (sequences, Vp).
    /// Tokens are checked, slots distinct, and every sequence fits its slot. `eager`: nothing is recorded.
    pub fn extend(
        &mut self,
        device: &dyn Device,
        config: &Config,
        weights: &Weights,
        sequences: &[Sequence],
        eager: bool,
    ) -> Result<Span<bf16>> {
        let vocab = weights.layout.token_embedding.shape[0];
        let mut done = 0;
        while done < sequences.len() {
            let group = &sequences[done..done + self.group(&sequences[done..])];
            let logits = self.rows.logits.slice(done * vocab..(done + group.len()) * vocab);
            for &(slot, tokens) in group {
                assert!(!tokens.is_empty() && self.lengths[slot] + tokens.len() <= self.shape.context);
            }
            let rows = Rows::new(group, &self.lengths);
            self.rows.numbers.first(3 * rows.len() + group.len()).upload(device, &rows.numbers())?;
            match done == 0 && rows.is_step() {
                true => self.step(device, config, weights, &rows, logits, eager)?,
                false => self.pass(device, config, weights, &rows, logits)?,
            }
            group.iter().for_each(|&(slot, tokens)| self.lengths[slot] += tokens.len());
            done += group.len();
        }
        Ok(self.rows.logits.first(sequences.len() * vocab))
    }

    /// How many of the sequences go through together.
    fn group(&self, sequences: &[Sequence]) -> usize {
        let mut rows = 0;
        let fitting = sequences.iter().take_while(|(_, tokens)| {
            rows += tokens.len();
            rows <= self.rows.capacity
        });
        let fitting = fitting.count();
        assert!(fitting > 0, "a sequence is longer than the context");
        fitting
    }

    /// A pass of one new token to each sequence: what generation consists of.
    fn step(
        &mut self,
        device: &dyn Device,
        config: &Config,
        weights: &Weights,
        rows: &Rows,
        logits: Span<bf16>,
        eager: bool,
    ) -> Result<()> {
        let mut step = self.steps.remove(&rows.last.len()).unwrap_or_default();
        if self.steps.len() == MOST_STEPS {
            self.steps.clear();
        }
        step.run(device, eager, || self.pass(device, config, weights, rows, logits))?;
        self.steps.insert(rows.last.len(), step);
        Ok(())
    }

    /// Queues the kernels for rows whose numbers are on the device.
    fn pass(
        &self,
        device: &dyn Device,
        config: &Config,
        weights: &Weights,
        rows: &Rows,
        logits: Span<bf16>,
    ) -> Result<()> {
        let (n, c) = (rows.len(), config.channels);
        let numbers = self.rows.numbers(n, rows.last.len());
        let layout = &weights.layout;
        let _phase = Phase::open(device, "extend");
        embedding::forward(
            device,
            self.rows.stream.first(n * c),
            numbers.tokens,
            numbers.positions,
            weights.params_bf16(&layout.token_embedding),
            weights.params_bf16(&layout.position_embedding),
            c,
        )?;
        for (layer, of) in layout.blocks.iter().enumerate() {
            self.block(device, weights, of, layer, rows)?;
        }
        self.head(device, weights, numbers.last, n, logits)
    }

    /// tokens (sequences): one drawn from each row of logits (sequences, Vp).
    pub fn draw(
        &self,
        device: &dyn Device,
        vocab: usize,
        logits: Span<bf16>,
        draws: &[SampleRequest],
        tokens: &mut [u32],
    ) -> Result<()> {
        let (n, words) = (draws.len(), vocab.div_ceil(32));
        assert_eq!(tokens.len(), n);
        let encoded: Vec<u32> = draws.iter().flat_map(sampling::encode).collect();
        let on_device = self.rows.draws.first(encoded.len());
        on_device.upload(device, &encoded)?;
        let masks = match draws.iter().any(|draw| draw.allowed.is_some()) {
            false => None,
            true => {
                let all = vec![u32::MAX; words];
                let masks: Vec<u32> = draws.iter().flat_map(|draw| draw.allowed.unwrap_or(&all)).copied().collect();
                let on_device = self.rows.masks.first(n * words);
                on_device.upload(device, &masks)?;
                Some(on_device)
            }
        };
        let drawn = self.rows.drawn.first(n);
        sampling::draw(device, drawn, logits, on_device, masks, vocab)?;
        drawn.download(device, tokens)
    }

    fn normed(&self, n: usize, c: usize) -> Normed {
        let Normed { y, mean, rstd } = self.rows.normed;
        Normed { y: y.first(n * c), mean: mean.first(n), rstd: rstd.first(n) }
    }

    /// Stream before the block -> stream after it but for the last addition, which the next norm makes: `sublayer_out`.
    fn block(&self, device: &dyn Device, weights: &Weights, of: &Block, layer: usize, rows: &Rows) -> Result<()> {
        let (to, n, c) = (&self.rows, rows.len(), of.norm_1.weight.len());
        let (stream, sublayer_out, normed) = (to.stream.first(n * c), to.sublayer_out.first(n * c), self.normed(n, c));
        let norm = weights.norm(&of.norm_1);
        match layer {
            0 => layernorm::forward(device, normed, stream, &norm)?,
            _ => layernorm::residual_forward(device, stream, normed, stream, sublayer_out, &norm)?,
        }
        linear::forward(device, to.qkv.first(n * 3 * c), normed.y, &weights.linear(&of.qkv), n)?;
        self.attend(device, layer, rows, c)?;
        linear::forward(device, sublayer_out, to.attn_out.first(n * c), &weights.linear(&of.attn_proj), n)?;
        layernorm::residual_forward(device, stream, normed, stream, sublayer_out, &weights.norm(&of.norm_2))?;
        let (mlp_fc_out, gelu_out) = (to.mlp_fc_out.first(n * 4 * c), to.gelu_out.first(n * 4 * c));
        linear::forward_gelu(device, gelu_out, mlp_fc_out, normed.y, &weights.linear(&of.mlp_fc), n)?;
        linear::forward(device, sublayer_out, gelu_out, &weights.linear(&of.mlp_proj), n)
    }

    fn attend(&self, device: &dyn Device, layer: usize, rows: &Rows, c: usize) -> Result<()> {
        let (to, shape, n) = (&self.rows, self.shape, rows.len());
        let KeysValues { keys, values } = self.layers[layer];
        let Numbers { slots, positions, .. } = to.numbers(n, rows.last.len());
        let qkv = to.qkv.first(n * 3 * c);
        decode::append(device, keys, values, qkv, slots, positions, shape)?;
        if rows.cached > 0 {
            let most = attending(shape.slots);
            for start in (0..rows.cached).step_by(most) {
                let piece = start..rows.cached.min(start + most);
                let cells = |width: usize| piece.start * width..piece.end * width;
                let scratch = to.scratch.first(decode::scratch(piece.len(), shape));
                let (out, qkv) = (to.attn_out.slice(cells(c)), qkv.slice(cells(3 * c)));
                let (slots, positions) = (slots.slice(piece.clone()), positions.slice(piece.clone()));
                decode::attend(device, out, scratch, qkv, keys, values, slots, positions, shape)?;
            }
        }
        let mut start = rows.cached;
        for &seq_len in &rows.prompts {
            let cells = |width: usize| start * width..(start + seq_len) * width;
            let shape = attention::Shape { batch: 1, seq_len, heads: shape.heads, head_size: shape.head_size };
            let (out, lse) = (to.attn_out.slice(cells(c)), to.lse.first(seq_len * shape.heads));
            attention::forward(device, out, lse, to.qkv.slice(cells(3 * c)), shape)?;
            start += seq_len;
        }
        Ok(())
    }

    /// logits (sequences, Vp) of the rows `last` (sequences), of `n`.
    fn head(
        &self,
        device: &dyn Device,
        weights: &Weights,
        last: Span<u32>,
        n: usize,
        logits: Span<bf16>,
    ) -> Result<()> {
        let (to, layout) = (&self.rows, &weights.layout);
        let table = &layout.token_embedding;
        let (sequences, vocab, c) = (last.len(), table.shape[0], table.shape[1]);
        let (stream, normed) = (to.stream.first(n * c), self.normed(n, c));
        let norm = weights.norm(&layout.norm_final);
        layernorm::residual_forward(device, stream, normed, stream, to.sublayer_out.first(n * c), &norm)?;
        let gathered = to.gathered.first(sequences * c);
        decode::gather(device, gathered, normed.y, last)?;
        let (a, b) = (Operand::plain(gathered), Operand::transposed(weights.params_bf16(table)));
        device.gemm(&Gemm { m: sequences, n: vocab, k: c, a, b, d: Output::Rounded(logits, Epilogue::None) })
    }
}
