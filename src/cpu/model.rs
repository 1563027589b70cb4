//! The whole model: forward and backward pass over buffers that are allocated once.

use super::attention::AttentionShape;
use super::{Real, attention, cross_entropy, embedding, gelu, layernorm, linear};
use crate::engine::Batch;
use crate::gpt::layout::{self, Block};
use crate::gpt::{Config, Layout};

/// Parameters, gradients and activations of a GPT-2.
pub struct Model<R> {
    pub config: Config,
    pub layout: Layout,
    /// (layout.len)
    pub parameters: Vec<R>,
    /// (layout.len), accumulated; empty until the first backward pass.
    pub gradients: Vec<R>,
    activations: Activations<R>,
    backward: BackwardBuffers<R>,
}

/// What the forward pass leaves for the backward pass, for N = B*T rows.
struct Activations<R> {
    /// Rows there is room for.
    rows: usize,
    /// (N, C): sum of the embeddings, the input of the first block.
    embedded: Vec<R>,
    blocks: Vec<BlockActivations<R>>,
    norm_final: NormActivations<R>,
    /// (N, C): scratch of attention.
    by_head: Vec<R>,
    /// (piece, V): scratch of the head.
    logits: Vec<R>,
}

struct NormActivations<R> {
    out: Vec<R>,  // (N, C)
    mean: Vec<R>, // (N)
    rstd: Vec<R>, // (N)
}

struct BlockActivations<R> {
    norm_1: NormActivations<R>,
    qkv: Vec<R>,          // (N, 3, NH, HS)
    lse: Vec<R>,          // (B, NH, T)
    attn_out: Vec<R>,     // (N, C)
    residual_mid: Vec<R>, // (N, C): residual stream after attention
    norm_2: NormActivations<R>,
    mlp_fc_out: Vec<R>, // (N, 4C): before GELU
    gelu_out: Vec<R>,   // (N, 4C): after GELU
    out: Vec<R>,        // (N, C): residual stream after the block
}

/// Gradients of activations, reused by every block.
struct BackwardBuffers<R> {
    residual: Vec<R>, // (N, C)
    d_ln: Vec<R>,     // (N, C): of norm outputs and of attention's output
    wide: Vec<R>,     // (N, 4C): of the mlp_fc_out rows, and its first 3/4 of qkv
    by_head: Vec<R>,  // (N, 3C): scratch of attention
}

/// Makes buffers of zeros, or only counts them, so that a memory report comes from the very code that allocates.
pub(super) struct HostAllocator {
    counts_only: bool,
    bytes: u64,
}

impl HostAllocator {
    fn new() -> Self {
        HostAllocator { counts_only: false, bytes: 0 }
    }

    fn counting() -> Self {
        HostAllocator { counts_only: true, bytes: 0 }
    }

    fn zeros<R: Real>(&mut self, len: usize) -> Vec<R> {
        self.bytes += (len * size_of::<R>()) as u64;
        vec![R::ZERO; if self.counts_only { 0 } else { len }]
    }
}

/// Bytes that an accumulating pass over so many rows allocates for activations and their gradients, in f32.
pub(super) fn activation_bytes(config: &Config, rows: usize) -> u64 {
    let mut allocator = HostAllocator::counting();
    Activations::<f32>::new(&mut allocator, config, rows);
    BackwardBuffers::<f32>::new(&mut allocator, config, rows);
    allocator.bytes
}

impl<R: Real> NormActivations<R> {
    fn new(allocator: &mut HostAllocator, rows: usize, c: usize) -> Self {
        NormActivations { out: allocator.zeros(rows * c), mean: allocator.zeros(rows), rstd: allocator.zeros(rows) }
    }
}

impl<R: Real> BlockActivations<R> {
    fn new(allocator: &mut HostAllocator, config: &Config, rows: usize) -> Self {
        let c = config.channels;
        BlockActivations {
            norm_1: NormActivations::new(allocator, rows, c),
            qkv: allocator.zeros(rows * 3 * c),
            lse: allocator.zeros(rows * config.heads),
            attn_out: allocator.zeros(rows * c),
            residual_mid: allocator.zeros(rows * c),
            norm_2: NormActivations::new(allocator, rows, c),
            mlp_fc_out: allocator.zeros(rows * 4 * c),
            gelu_out: allocator.zeros(rows * 4 * c),
            out: allocator.zeros(rows * c),
        }
    }
}

impl<R: Real> Activations<R> {
    fn new(allocator: &mut HostAllocator, config: &Config, rows: usize) -> Self {
        let (c, vocab, layers) = (config.channels, config.vocab, if rows == 0 { 0 } else { config.layers });
        let piece = if rows == 0 { 0 } else { cross_entropy::piece_rows(rows, vocab) };
        Activations {
            rows,
            embedded: allocator.zeros(rows * c),
            blocks: (0..layers).map(|_| BlockActivations::new(allocator, config, rows)).collect(),
            norm_final: NormActivations::new(allocator, rows, c),
            by_head: allocator.zeros(rows * c),
            logits: allocator.zeros(piece * vocab),
        }
    }
}

impl<R: Real> BackwardBuffers<R> {
    fn new(allocator: &mut HostAllocator, config: &Config, rows: usize) -> Self {
        let c = config.channels;
        BackwardBuffers {
            residual: allocator.zeros(rows * c),
            d_ln: allocator.zeros(rows * c),
            wide: allocator.zeros(rows * 4 * c),
            by_head: allocator.zeros(rows * 3 * c),
        }
    }
}

/// A LayerNorm's output and statistics for the first `n` rows.
fn norm_forward<R: Real>(to: &mut NormActivations<R>, x: &[R], norm: &layout::Norm, parameters: &[R]) {
    let (weight, bias) = (&parameters[norm.weight.range.clone()], bias_of(&norm.bias, parameters));
    let n = x.len() / weight.len();
    layernorm::forward(&mut to.out[..x.len()], &mut to.mean[..n], &mut to.rstd[..n], x, weight, bias);
}

pub(super) fn bias_of<'a, R>(bias: &Option<layout::Tensor>, parameters: &'a [R]) -> Option<&'a [R]> {
    bias.as_ref().map(|tensor| &parameters[tensor.range.clone()])
}

/// The gradient of a weight and, where there is one, of its bias.
fn pair<'a, R>(
    gradients: &'a mut [R],
    weight: &layout::Tensor,
    bias: &Option<layout::Tensor>,
) -> (&'a mut [R], Option<&'a mut [R]>) {
    match bias {
        None => (&mut gradients[weight.range.clone()], None),
        Some(bias) => {
            let [weight, bias] = gradients
                .get_disjoint_mut([weight.range.clone(), bias.range.clone()])
                .expect("tensors of the table do not overlap");
            (weight, Some(bias))
        }
    }
}

impl<R: Real> Model<R> {
    pub fn new(config: Config, parameters: Vec<R>) -> Self {
        let layout = Layout::new(&config);
        assert_eq!(parameters.len(), layout.len);
        let mut allocator = HostAllocator::new();
        let activations = Activations::new(&mut allocator, &config, 0);
        let backward = BackwardBuffers::new(&mut allocator, &config, 0);
        Model { config, layout, parameters, gradients: Vec::new(), activations, backward }
    }

    /// Buffers grow to the largest batch seen; a run of equal batches allocates once.
    fn make_room(&mut self, rows: usize, backward: bool) {
        let mut allocator = HostAllocator::new();
        if self.activations.rows < rows {
            // The old buffers go first, so that the peak is the new size and not the sum.
            self.activations = Activations::new(&mut allocator, &self.config, 0);
            self.activations = Activations::new(&mut allocator, &self.config, rows);
        }
        if backward && self.backward.residual.len() < rows * self.config.channels {
            self.backward = BackwardBuffers::new(&mut allocator, &self.config, 0);
            self.backward = BackwardBuffers::new(&mut allocator, &self.config, rows);
        }
        if backward && self.gradients.is_empty() {
            self.gradients = allocator.zeros(self.layout.len);
        }
    }

    fn shape(&self, rows: usize, seq_len: usize) -> AttentionShape {
        assert!(seq_len <= self.config.context && rows.is_multiple_of(seq_len), "{rows} rows of {seq_len}");
        AttentionShape { batch: rows / seq_len, seq_len, heads: self.config.heads, head_size: self.config.head_size() }
    }

    /// Runs the blocks; leaves the final norm's output (N, C) in the activations.
    fn forward(&mut self, tokens: &[u32], seq_len: usize) {
        let (n, c, shape) = (tokens.len(), self.config.channels, self.shape(tokens.len(), seq_len));
        let Self { layout, parameters, activations, .. } = self;
        let Activations { embedded, blocks, norm_final, by_head, .. } = activations;
        let table = |tensor: &layout::Tensor| &parameters[tensor.range.clone()];
        let embedded = &mut embedded[..n * c];
        embedding::forward(
            embedded,
            tokens,
            table(&layout.token_embedding),
            table(&layout.position_embedding),
            seq_len,
            c,
        );
        let mut input: &[R] = embedded;
        for (block, activations) in layout.blocks.iter().zip(blocks) {
            block_forward(block, parameters, activations, &mut by_head[..n * c], input, shape);
            input = &activations.out[..n * c];
        }
        norm_forward(norm_final, input, &layout.norm_final, parameters);
    }

    /// losses (B, T) in nats.
    pub fn losses(&mut self, batch: Batch, losses: &mut [R]) {
        let rows = batch.tokens.len();
        self.make_room(rows, false);
        self.forward(batch.tokens, batch.seq_len);
        let Self { layout, parameters, activations, config, .. } = self;
        let head = &parameters[layout.token_embedding.range.clone()];
        let x = &activations.norm_final.out[..rows * config.channels];
        cross_entropy::forward(losses, &mut activations.logits, x, head, batch.targets, config.channels);
    }

    /// logits (B, T, V)
    pub fn logits(&mut self, tokens: &[u32], seq_len: usize, logits: &mut [R]) {
        use super::matrix::{Matrix, Threads, multiply};
        let (n, c, vocab) = (tokens.len(), self.config.channels, self.config.vocab);
        self.make_room(n, false);
        self.forward(tokens, seq_len);
        let head = Matrix::new(&self.parameters[self.layout.token_embedding.range.clone()], vocab, c);
        multiply(logits, Matrix::new(&self.activations.norm_final.out[..n * c], n, c), head.t(), R::ONE, Threads::All);
    }

    /// Forward and backward: losses (B, T) =; gradients += scale x gradient of their sum.
    pub fn accumulate(&mut self, batch: Batch, losses: &mut [R], scale: R) {
        let (rows, c) = (batch.tokens.len(), self.config.channels);
        self.make_room(rows, true);
        self.forward(batch.tokens, batch.seq_len);
        let shape = self.shape(rows, batch.seq_len);
        let Self { layout, parameters, gradients, activations, backward, .. } = self;
        let (residual, d_ln) = (&mut backward.residual[..rows * c], &mut backward.d_ln[..rows * c]);
        let head = layout.token_embedding.range.clone();
        let x = &activations.norm_final.out[..rows * c];
        let (logits, dhead) = (&mut activations.logits, &mut gradients[head.clone()]);
        cross_entropy::forward_backward(losses, d_ln, dhead, logits, x, &parameters[head], batch.targets, scale, c);
        residual.fill(R::ZERO);
        let inputs = |layer: usize| match layer {
            0 => &activations.embedded[..rows * c],
            _ => &activations.blocks[layer - 1].out[..rows * c],
        };
        norm_backward(
            residual,
            d_ln,
            inputs(layout.blocks.len()),
            &activations.norm_final,
            &layout.norm_final,
            parameters,
            gradients,
        );
        for (layer, block) in layout.blocks.iter().enumerate().rev() {
            block_backward(block, parameters, gradients, &activations.blocks[layer], backward, inputs(layer), shape);
        }
        let [dtokens, dpositions] = gradients
            .get_disjoint_mut([layout.token_embedding.range.clone(), layout.position_embedding.range.clone()])
            .expect("tensors of the table do not overlap");
        embedding::backward(dtokens, dpositions, &backward.residual[..rows * c], batch.tokens, batch.seq_len, c);
    }
}

fn block_forward<R: Real>(
    block: &Block,
    parameters: &[R],
    to: &mut BlockActivations<R>,
    by_head: &mut [R],
    input: &[R],
    shape: AttentionShape,
) {
    let (nc, c) = (input.len(), block.norm_1.weight.len());
    let n = nc / c;
    let weights = |linear: &layout::Linear| &parameters[linear.weight.range.clone()];
    let bias = |linear: &layout::Linear| bias_of(&linear.bias, parameters);
    norm_forward(&mut to.norm_1, input, &block.norm_1, parameters);
    linear::forward(&mut to.qkv[..3 * nc], &to.norm_1.out[..nc], weights(&block.qkv), bias(&block.qkv), c);
    attention::forward(&mut to.attn_out[..nc], &mut to.lse[..n * shape.heads], by_head, &to.qkv[..3 * nc], shape);
    let (projection, mlp_proj) = (&block.attn_proj, &block.mlp_proj);
    let residual_mid = &mut to.residual_mid[..nc];
    linear::forward_residual(residual_mid, input, &to.attn_out[..nc], weights(projection), bias(projection), c);
    norm_forward(&mut to.norm_2, residual_mid, &block.norm_2, parameters);
    let mlp_fc_out = &mut to.mlp_fc_out[..4 * nc];
    linear::forward(mlp_fc_out, &to.norm_2.out[..nc], weights(&block.mlp_fc), bias(&block.mlp_fc), c);
    gelu::forward(&mut to.gelu_out[..4 * nc], mlp_fc_out);
    linear::forward_residual(
        &mut to.out[..nc],
        residual_mid,
        &to.gelu_out[..4 * nc],
        weights(mlp_proj),
        bias(mlp_proj),
        4 * c,
    );
}

/// dx += the gradient of a norm at dy; its weight's and bias's gradients +=.
fn norm_backward<R: Real>(
    dx: &mut [R],
    dy: &[R],
    x: &[R],
    saved: &NormActivations<R>,
    norm: &layout::Norm,
    parameters: &[R],
    gradients: &mut [R],
) {
    let n = x.len() / norm.weight.len();
    let (dweight, dbias) = pair(gradients, &norm.weight, &norm.bias);
    let weight = &parameters[norm.weight.range.clone()];
    layernorm::backward(dx, dweight, dbias, dy, x, &saved.mean[..n], &saved.rstd[..n], weight);
}

/// Turns the gradient of a block's output, in `buffers.residual`, into that of its input.
fn block_backward<R: Real>(
    block: &Block,
    parameters: &[R],
    gradients: &mut [R],
    saved: &BlockActivations<R>,
    buffers: &mut BackwardBuffers<R>,
    input: &[R],
    shape: AttentionShape,
) {
    let (nc, c) = (input.len(), block.norm_1.weight.len());
    let BackwardBuffers { residual, d_ln, wide, by_head } = buffers;
    let (residual, d_ln, wide) = (&mut residual[..nc], &mut d_ln[..nc], &mut wide[..4 * nc]);
    let linear_backward = |dx: &mut [R], dy: &[R], x: &[R], linear: &layout::Linear, gradients: &mut [R]| {
        let (dweight, dbias) = pair(gradients, &linear.weight, &linear.bias);
        linear::backward(dx, dweight, dbias, dy, x, &parameters[linear.weight.range.clone()], linear.weight.shape[0]);
    };
    linear_backward(wide, residual, &saved.gelu_out[..4 * nc], &block.mlp_proj, gradients);
    gelu::backward(wide, &saved.mlp_fc_out[..4 * nc]);
    linear_backward(d_ln, wide, &saved.norm_2.out[..nc], &block.mlp_fc, gradients);
    norm_backward(residual, d_ln, &saved.residual_mid[..nc], &saved.norm_2, &block.norm_2, parameters, gradients);

    linear_backward(d_ln, residual, &saved.attn_out[..nc], &block.attn_proj, gradients);
    let (dqkv, by_head) = (&mut wide[..3 * nc], &mut by_head[..3 * nc]);
    let lse = &saved.lse[..nc / c * shape.heads];
    attention::backward(dqkv, by_head, d_ln, &saved.attn_out[..nc], lse, &saved.qkv[..3 * nc], shape);
    linear_backward(d_ln, dqkv, &saved.norm_1.out[..nc], &block.qkv, gradients);
    norm_backward(residual, d_ln, input, &saved.norm_1, &block.norm_1, parameters, gradients);
}
