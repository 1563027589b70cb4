//! The forward pass over a batch.

use super::activations::{Activations, BlockActivations};
use super::parameters::Parameters;
use crate::Result;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::memory::ViewMut;
use crate::cuda::device::seam::{Device, Phase};
use crate::cuda::ops::layernorm::{NormParams, Normed};
use crate::cuda::ops::{attention, cross_entropy, embedding, layernorm, linear};
use half::bf16;

/// A pass over one batch, whose tokens are on the device.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub parameters: &'a Parameters,
    pub activations: &'a Activations,
    pub batch: usize,
    pub seq_len: usize,
}

impl<'a> Pass<'a> {
    pub fn device(&self) -> &'a dyn Device {
        &*self.parameters.device
    }

    /// N
    pub fn rows(&self) -> usize {
        self.batch * self.seq_len
    }

    pub fn channels(&self) -> usize {
        self.parameters.config.channels
    }

    pub fn shape(&self) -> attention::AttentionShape {
        let config = &self.parameters.config;
        let (heads, head_size) = (config.heads, config.head_size());
        attention::AttentionShape { batch: self.batch, seq_len: self.seq_len, heads, head_size }
    }

    /// The buffers of a block, cut to this batch.
    pub fn block(&self, layer: usize) -> BlockActivations<'a> {
        self.activations.block(layer, self.rows())
    }

    /// (N, C): residual stream before block `layer`; before the final norm for L.
    pub fn input(&self, layer: usize) -> ViewMut<'a, bf16> {
        self.activations.input(layer, self.rows())
    }

    pub fn norm_final(&self) -> Normed<'a> {
        self.activations.norm_final(self.rows())
    }

    fn sublayer_out(&self) -> ViewMut<'a, bf16> {
        self.activations.sublayer_out(self.rows())
    }

    /// Embeddings, blocks and the final norm, whose output `norm_final` holds. The addition that ends a block is fused with
    /// the norm that follows, so it happens in the next block's turn.
    pub fn forward(&self) -> Result<()> {
        let (device, parameters, activations) = (self.device(), self.parameters, self.activations);
        let (n, layout) = (self.rows(), &parameters.layout);
        let _phase = Phase::open(device, "forward");
        embedding::Forward {
            y: self.input(0),
            tokens: activations.tokens(n),
            positions: activations.positions(n),
            token_table: parameters.tensor(&layout.token_embedding),
            position_table: parameters.tensor(&layout.position_embedding),
            c: self.channels(),
        }
        .run(device)?;
        for (layer, block) in layout.blocks.iter().enumerate() {
            let _phase = Phase::open(device, &format!("block {layer}"));
            self.block_input(layer)?;
            self.attention_half(layer)?;
            self.mlp_fc(layer)?;
            let (y, x) = (self.sublayer_out(), self.block(layer).gelu_out.as_view());
            linear::Forward { y, x, params: parameters.linear(&block.mlp_proj), n }.run(device)?;
        }
        self.add_branch(layout.blocks.len() - 1, self.norm_final(), parameters.norm(&layout.norm_final))
    }

    /// The input of block `layer`, and its first norm.
    fn block_input(&self, layer: usize) -> Result<()> {
        let (to, x) = (self.block(layer).norm_1, self.input(0).as_view());
        let params = self.parameters.norm(&self.parameters.layout.blocks[layer].norm_1);
        match layer {
            0 => layernorm::Forward { to, x, params }.run(self.device()),
            _ => self.add_branch(layer - 1, to, params),
        }
    }

    /// out of block `layer` = residual_mid + sublayer_out, and the norm behind it.
    fn add_branch(&self, layer: usize, to: Normed, params: NormParams) -> Result<()> {
        let block = self.block(layer);
        let (x, sublayer_out) = (block.residual_mid.as_view(), self.sublayer_out().as_view());
        layernorm::ResidualForward { sum: block.out, to, x, sublayer_out, params }.run(self.device())
    }

    /// From the first norm's output to the second's.
    pub fn attention_half(&self, layer: usize) -> Result<()> {
        let (device, parameters, n) = (self.device(), self.parameters, self.rows());
        let (block, of) = (self.block(layer), &parameters.layout.blocks[layer]);
        let BlockActivations { norm_1, qkv, attn_out: out, lse, .. } = block;
        linear::Forward { y: qkv, x: norm_1.y.as_view(), params: parameters.linear(&of.qkv), n }.run(device)?;
        let attend = attention::Forward { out, lse, qkv: qkv.as_view(), shape: self.shape() };
        parameters.attention.forward(attend, device)?;
        let (y, params) = (self.sublayer_out(), parameters.linear(&of.attn_proj));
        linear::Forward { y, x: out.as_view(), params, n }.run(device)?;
        layernorm::ResidualForward {
            sum: block.residual_mid,
            to: block.norm_2,
            x: self.input(layer).as_view(),
            sublayer_out: y.as_view(),
            params: parameters.norm(&of.norm_2),
        }
        .run(device)
    }

    /// The first linear layer of the MLP and its GELU.
    pub fn mlp_fc(&self, layer: usize) -> Result<()> {
        let (block, of) = (self.block(layer), &self.parameters.layout.blocks[layer]);
        linear::ForwardGelu {
            y: block.gelu_out,
            before: block.mlp_fc_out,
            x: block.norm_2.y.as_view(),
            params: self.parameters.linear(&of.mlp_fc),
            n: self.rows(),
        }
        .run(self.device())
    }

    /// Runs `work` for each piece of rows whose logits fit, giving the first row and the piece's logits (rows, Vp).
    pub fn head(&self, mut work: impl FnMut(usize, ViewMut<bf16>) -> Result<()>) -> Result<()> {
        let (n, c, layout) = (self.rows(), self.channels(), &self.parameters.layout);
        let vocab = self.parameters.padded_vocab();
        let (x, table) = (self.norm_final().y.as_view(), self.parameters.tensor(&layout.token_embedding));
        let piece = self.activations.logits().len() / vocab;
        let _phase = Phase::open(self.device(), "head");
        for start in (0..n).step_by(piece) {
            let rows = piece.min(n - start);
            let logits = self.activations.logits().first(rows * vocab);
            let (a, b) = (Operand::plain(x.slice(start * c..(start + rows) * c)), Operand::transposed(table));
            self.device().gemm(&Gemm { m: rows, n: vocab, k: c, a, b, d: Output::Rounded(logits, Epilogue::None) })?;
            work(start, logits)?;
        }
        Ok(())
    }

    /// Losses (N) of the uploaded targets, into the activations.
    pub fn losses(&self) -> Result<()> {
        self.forward()?;
        let (losses, targets) = (self.activations.losses(self.rows()), self.activations.targets(self.rows()));
        let (padded, vocab) = (self.parameters.padded_vocab(), self.parameters.config.vocab);
        self.head(|start, logits| {
            let rows = start..start + logits.len() / padded;
            let (losses, targets) = (losses.slice(rows.clone()), targets.slice(rows));
            cross_entropy::Forward { losses, logits: logits.as_view(), targets, vocab }.run(self.device())
        })
    }
}
