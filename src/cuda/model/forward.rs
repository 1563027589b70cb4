//! The forward pass over a batch.

use super::activations::{Activations, BlockActivations};
use super::weights::Weights;
use crate::Result;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::seam::{Device, Phase, Span};
use crate::cuda::ops::attention::{self, Shape};
use crate::cuda::ops::layernorm::{self, Normed};
use crate::cuda::ops::{cross_entropy, embedding, linear};
use crate::gpt::Config;
use crate::gpt::layout::Block;
use half::bf16;

/// What a pass over one batch works with.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub device: &'a dyn Device,
    pub config: &'a Config,
    pub weights: &'a Weights,
    pub activations: &'a Activations,
    pub batch: usize,
    pub seq_len: usize,
}

/// `n` rows of a block's buffers.
fn rows_of(block: &BlockActivations, n: usize, c: usize, heads: usize) -> BlockActivations {
    BlockActivations {
        norm_1: first(block.norm_1, n, c),
        qkv: block.qkv.first(n * 3 * c),
        lse: block.lse.first(n * heads),
        attn_out: block.attn_out.first(n * c),
        residual_mid: block.residual_mid.first(n * c),
        norm_2: first(block.norm_2, n, c),
        mlp_fc_out: block.mlp_fc_out.first(n * 4 * c),
        gelu_out: block.gelu_out.first(n * 4 * c),
        out: block.out.first(n * c),
    }
}

fn first(norm: Normed, n: usize, c: usize) -> Normed {
    Normed { y: norm.y.first(n * c), mean: norm.mean.first(n), rstd: norm.rstd.first(n) }
}

impl Pass<'_> {
    /// N
    pub fn rows(&self) -> usize {
        self.batch * self.seq_len
    }

    pub fn shape(&self) -> Shape {
        Shape { batch: self.batch, seq_len: self.seq_len, heads: self.config.heads, head_size: self.config.head_size() }
    }

    /// The buffers of a block, cut to this batch.
    pub fn block(&self, layer: usize) -> BlockActivations {
        rows_of(&self.activations.blocks[layer], self.rows(), self.config.channels, self.config.heads)
    }

    /// (N, C): residual stream before block `layer`; before the final norm for L.
    pub fn input(&self, layer: usize) -> Span<bf16> {
        self.activations.input(layer).first(self.rows() * self.config.channels)
    }

    pub fn norm_final(&self) -> Normed {
        first(self.activations.norm_final, self.rows(), self.config.channels)
    }

    fn sublayer_out(&self) -> Span<bf16> {
        self.activations.sublayer_out.first(self.rows() * self.config.channels)
    }

    /// Embeddings, blocks and the final norm, whose output `norm_final` holds. The addition that ends a block is fused with
    /// the norm that follows, so it happens in the next block's turn.
    pub fn forward(&self) -> Result<()> {
        let Pass { device, config, weights, activations, .. } = *self;
        let (n, layout) = (self.rows(), &weights.layout);
        let _phase = Phase::open(device, "forward");
        embedding::forward(
            device,
            self.input(0),
            activations.tokens.first(n),
            activations.positions.first(n),
            weights.params_bf16(&layout.token_embedding),
            weights.params_bf16(&layout.position_embedding),
            config.channels,
        )?;
        for (layer, block) in layout.blocks.iter().enumerate() {
            let _phase = Phase::open(device, &format!("block {layer}"));
            self.block_input(layer)?;
            self.attention_half(layer)?;
            self.mlp_fc(layer)?;
            let mlp_proj = weights.linear(&block.mlp_proj);
            linear::forward(device, self.sublayer_out(), self.block(layer).gelu_out, &mlp_proj, n)?;
        }
        self.add_branch(layout.blocks.len() - 1, self.norm_final(), &weights.norm(&layout.norm_final))
    }

    /// The input of block `layer`, and its first norm.
    fn block_input(&self, layer: usize) -> Result<()> {
        let (weights, to) = (self.weights, self.block(layer).norm_1);
        let norm = weights.norm(&weights.layout.blocks[layer].norm_1);
        match layer {
            0 => layernorm::forward(self.device, to, self.input(0), &norm),
            _ => self.add_branch(layer - 1, to, &norm),
        }
    }

    /// out of block `layer` = residual_mid + sublayer_out, and the norm behind it.
    fn add_branch(&self, layer: usize, to: Normed, norm: &layernorm::Weights) -> Result<()> {
        let block = self.block(layer);
        layernorm::residual_forward(self.device, block.out, to, block.residual_mid, self.sublayer_out(), norm)
    }

    /// From the first norm's output to the second's.
    pub fn attention_half(&self, layer: usize) -> Result<()> {
        let (device, weights, n) = (self.device, self.weights, self.rows());
        let (to, of): (_, &Block) = (self.block(layer), &weights.layout.blocks[layer]);
        linear::forward(device, to.qkv, to.norm_1.y, &weights.linear(&of.qkv), n)?;
        attention::forward(device, to.attn_out, to.lse, to.qkv, self.shape())?;
        linear::forward(device, self.sublayer_out(), to.attn_out, &weights.linear(&of.attn_proj), n)?;
        let norm = weights.norm(&of.norm_2);
        layernorm::residual_forward(device, to.residual_mid, to.norm_2, self.input(layer), self.sublayer_out(), &norm)
    }

    /// The first linear layer of the MLP and its GELU.
    pub fn mlp_fc(&self, layer: usize) -> Result<()> {
        let (to, of) = (self.block(layer), &self.weights.layout.blocks[layer]);
        let mlp_fc = self.weights.linear(&of.mlp_fc);
        linear::forward_gelu(self.device, to.gelu_out, to.mlp_fc_out, to.norm_2.y, &mlp_fc, self.rows())
    }

    /// Runs `work` for each piece of rows whose logits fit, giving the first row and the piece's logits (rows, Vp).
    pub fn head(&self, mut work: impl FnMut(usize, Span<bf16>) -> Result<()>) -> Result<()> {
        let (n, c, layout) = (self.rows(), self.config.channels, &self.weights.layout);
        let vocab = layout.token_embedding.shape[0];
        let (x, table) = (self.norm_final().y, self.weights.params_bf16(&layout.token_embedding));
        let piece = self.activations.logits.len() / vocab;
        let _phase = Phase::open(self.device, "head");
        for start in (0..n).step_by(piece) {
            let rows = piece.min(n - start);
            let logits = self.activations.logits.first(rows * vocab);
            let (a, b) = (Operand::plain(x.slice(start * c..(start + rows) * c)), Operand::transposed(table));
            self.device.gemm(&Gemm { m: rows, n: vocab, k: c, a, b, d: Output::Rounded(logits, Epilogue::None) })?;
            work(start, logits)?;
        }
        Ok(())
    }

    /// Losses (N) of the uploaded targets, into the activations.
    pub fn losses(&self) -> Result<()> {
        self.forward()?;
        let (losses, targets) = (self.activations.losses, self.activations.targets);
        let vocab = self.weights.layout.token_embedding.shape[0];
        self.head(|start, logits| {
            let rows = start..start + logits.len() / vocab;
            cross_entropy::forward(
                self.device,
                losses.slice(rows.clone()),
                logits,
                targets.slice(rows),
                self.config.vocab,
            )
        })
    }
}
