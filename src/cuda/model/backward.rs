//! The backward pass: gradients of the parameters, accumulated, from what the forward pass has left.

use super::activations::{BackwardBuffers, Purpose, Recompute};
use super::forward::Pass;
use super::weights::Optimizer;
use crate::Result;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::seam::{Phase, Span};
use crate::cuda::ops::layernorm::{self, Normed};
use crate::cuda::ops::{attention, cross_entropy, embedding, gelu, linear};
use crate::gpt::layout::{self, Tensor};
use half::bf16;

/// A forward pass that a backward pass follows.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    pub pass: Pass<'a>,
    pub buffers: &'a BackwardBuffers,
    pub optimizer: &'a Optimizer,
}

impl Training<'_> {
    /// Gradients += scale x gradient of the summed losses; loss += scale x summed losses.
    pub fn accumulate(&self) -> Result<()> {
        let Pass { device, config, weights, activations, .. } = self.pass;
        self.pass.forward()?;
        self.head()?;
        let (n, layers) = (self.pass.rows(), config.layers);
        let losses = activations.losses.first(n);
        cross_entropy::add_losses(device, self.optimizer.loss, losses, self.buffers.scale)?;
        let _phase = Phase::open(device, "backward");
        self.norm(self.pass.input(layers), self.pass.norm_final(), &weights.layout.norm_final, true)?;
        for layer in (0..layers).rev() {
            let _phase = Phase::open(device, &format!("block {layer} backward"));
            self.mlp(layer)?;
            self.attention(layer)?;
        }
        self.embedding()
    }

    fn residual(&self) -> Span<bf16> {
        self.buffers.residual.first(self.pass.rows() * self.pass.config.channels)
    }

    fn d_ln(&self) -> Span<bf16> {
        self.buffers.d_ln.first(self.pass.rows() * self.pass.config.channels)
    }

    /// (N, width)
    fn wide(&self, width: usize) -> Span<bf16> {
        self.buffers.wide.first(self.pass.rows() * width)
    }

    fn gradient(&self, tensor: &Tensor) -> Span<f32> {
        self.optimizer.gradients.slice(tensor.range.clone())
    }

    fn recomputes(&self, level: Recompute) -> bool {
        matches!(self.pass.activations.purpose, Purpose::Training(at) if at >= level)
    }

    /// Losses, the gradient of the final norm's output into `d_ln`, and the head's share of the token embedding's gradient.
    fn head(&self) -> Result<()> {
        let Pass { device, config, weights, activations, .. } = self.pass;
        let (c, head) = (config.channels, &weights.layout.token_embedding);
        let vocab = head.shape[0];
        let (x, dx) = (self.pass.norm_final().y, self.d_ln());
        self.pass.head(|start, logits| {
            let n = logits.len() / vocab;
            let (rows, cells) = (start..start + n, start * c..(start + n) * c);
            let (losses, targets) = (activations.losses.slice(rows.clone()), activations.targets.slice(rows));
            cross_entropy::forward_backward(device, losses, logits, targets, self.buffers.scale, config.vocab)?;
            let dlogits = Operand::plain(logits);
            let d = Output::Rounded(dx.slice(cells.clone()), Epilogue::None);
            device.gemm(&Gemm { m: n, n: c, k: vocab, a: dlogits, b: Operand::plain(weights.params_bf16(head)), d })?;
            let (a, b) = (Operand::transposed(logits), Operand::plain(x.slice(cells)));
            device.gemm(&Gemm { m: vocab, n: c, k: n, a, b, d: Output::Accumulated(self.gradient(head)) })
        })
    }

    /// residual += the gradient of a norm at `d_ln`, or = for the first.
    fn norm(&self, x: Span<bf16>, saved: Normed, norm: &layout::Norm, first: bool) -> Result<()> {
        let (n, c) = (self.pass.rows(), self.pass.config.channels);
        let dbias = norm.bias.as_ref().map(|bias| self.gradient(bias));
        layernorm::backward(
            self.pass.device,
            self.residual(),
            self.gradient(&norm.weight),
            dbias,
            self.buffers.partials.first(layernorm::partials(n, c)),
            self.d_ln(),
            x,
            saved.mean,
            saved.rstd,
            self.pass.weights.params_bf16(&norm.weight),
            first,
        )
    }

    fn linear(&self, x: Span<bf16>, dy: Span<bf16>, of: &layout::Linear) -> Result<()> {
        let gradients = linear::Gradients {
            weight: self.gradient(&of.weight),
            bias: of.bias.as_ref().map(|bias| self.gradient(bias)),
            partials: self.buffers.partials,
        };
        linear::backward_weights(self.pass.device, &gradients, x, dy, self.pass.rows())
    }

    /// Through the MLP half of a block; `residual` becomes the gradient of `residual_mid`.
    fn mlp(&self, layer: usize) -> Result<()> {
        let Pass { device, config, weights, .. } = self.pass;
        let (n, of, saved) = (self.pass.rows(), &weights.layout.blocks[layer], self.pass.block(layer));
        self.recompute(layer)?;
        let (residual, wide) = (self.residual(), self.wide(4 * config.channels));
        self.linear(saved.gelu_out, residual, &of.mlp_proj)?;
        let mlp_proj = weights.params_bf16(&of.mlp_proj.weight);
        linear::backward_input_gelu(device, wide, saved.mlp_fc_out, residual, mlp_proj, n)?;
        self.linear(saved.norm_2.y, wide, &of.mlp_fc)?;
        linear::backward_input(device, self.d_ln(), wide, weights.params_bf16(&of.mlp_fc.weight), n)?;
        self.norm(saved.residual_mid, saved.norm_2, &of.norm_2, false)
    }

    /// What the chosen level has not kept of the MLP half or, at the last level, of the block.
    fn recompute(&self, layer: usize) -> Result<()> {
        let Pass { device, config, weights, .. } = self.pass;
        let (of, saved) = (&weights.layout.blocks[layer], self.pass.block(layer));
        if self.recomputes(Recompute::Blocks) {
            // The buffers still hold the last block.
            if layer + 1 == config.layers {
                return Ok(());
            }
            layernorm::forward(device, saved.norm_1, self.pass.input(layer), &weights.norm(&of.norm_1))?;
            self.pass.attention_half(layer)?;
            return self.pass.mlp_fc(layer);
        }
        if self.recomputes(Recompute::Norms) {
            layernorm::forward(device, saved.norm_2, saved.residual_mid, &weights.norm(&of.norm_2))?;
        }
        if self.recomputes(Recompute::Gelu) {
            gelu::forward(device, saved.gelu_out, saved.mlp_fc_out)?;
        }
        Ok(())
    }

    /// Through the attention half of a block; `residual` becomes the gradient of the block's input.
    fn attention(&self, layer: usize) -> Result<()> {
        let Pass { device, config, weights, .. } = self.pass;
        let (n, c) = (self.pass.rows(), config.channels);
        let (of, saved, input) = (&weights.layout.blocks[layer], self.pass.block(layer), self.pass.input(layer));
        let (residual, d_ln, dqkv) = (self.residual(), self.d_ln(), self.wide(3 * c));
        self.linear(saved.attn_out, residual, &of.attn_proj)?;
        linear::backward_input(device, d_ln, residual, weights.params_bf16(&of.attn_proj.weight), n)?;
        let (shape, scratch) = (self.pass.shape(), self.buffers.attention);
        let scratch = scratch.first(attention::scratch(shape));
        attention::backward(device, dqkv, scratch, d_ln, saved.attn_out, saved.lse, saved.qkv, shape)?;
        if self.recomputes(Recompute::Norms) && !self.recomputes(Recompute::Blocks) {
            layernorm::forward(device, saved.norm_1, input, &weights.norm(&of.norm_1))?;
        }
        self.linear(saved.norm_1.y, dqkv, &of.qkv)?;
        linear::backward_input(device, d_ln, dqkv, weights.params_bf16(&of.qkv.weight), n)?;
        self.norm(input, saved.norm_1, &of.norm_1, false)
    }

    fn embedding(&self) -> Result<()> {
        let Pass { device, config, weights, batch, seq_len, .. } = self.pass;
        let (order, starts) = (self.buffers.order.first(self.pass.rows()), self.buffers.starts);
        let layout = &weights.layout;
        let (dtokens, dpositions) = (self.gradient(&layout.token_embedding), self.gradient(&layout.position_embedding));
        embedding::backward_tokens(device, dtokens, self.residual(), order, starts, config.channels)?;
        embedding::backward_positions(device, dpositions, self.residual(), batch, seq_len, config.channels)
    }
}
