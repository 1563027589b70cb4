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

    fn narrow(&self) -> Span<bf16> {
        self.buffers.narrow.first(self.pass.rows() * self.pass.config.channels)
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

    /// Losses, the gradient of the final norm's output into `narrow`, and the head's share of the token embedding's gradient.
    fn head(&self) -> Result<()> {
        let Pass { device, config, weights, activations, .. } = self.pass;
        let (c, head) = (config.channels, &weights.layout.token_embedding);
        let vocab = head.shape[0];
        let (x, dx) = (self.pass.norm_final().y, self.narrow());
        self.pass.head(|start, logits| {
            let n = logits.len() / vocab;
            let (rows, cells) = (start..start + n, start * c..(start + n) * c);
            let (losses, targets) = (activations.losses.slice(rows.clone()), activations.targets.slice(rows));
            cross_entropy::forward_backward(device, losses, logits, targets, self.buffers.scale, config.vocab)?;
            let dlogits = Operand::plain(logits);
            let d = Output::Rounded(dx.slice(cells.clone()), Epilogue::None);
            device.gemm(&Gemm { m: n, n: c, k: vocab, a: dlogits, b: Operand::plain(weights.working(head)), d })?;
            let (a, b) = (Operand::transposed(logits), Operand::plain(x.slice(cells)));
            device.gemm(&Gemm { m: vocab, n: c, k: n, a, b, d: Output::Accumulated(self.gradient(head)) })
        })
    }

    /// residual += the gradient of a norm at `narrow`, or = for the first.
    fn norm(&self, x: Span<bf16>, saved: Normed, norm: &layout::Norm, first: bool) -> Result<()> {
        let (n, c) = (self.pass.rows(), self.pass.config.channels);
        let dshift = norm.shift.as_ref().map(|shift| self.gradient(shift));
        layernorm::backward(
            self.pass.device,
            self.residual(),
            self.gradient(&norm.gain),
            dshift,
            self.buffers.partials.first(layernorm::partials(n, c)),
            self.narrow(),
            x,
            saved.mean,
            saved.rstd,
            self.pass.weights.working(&norm.gain),
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

    /// Through the MLP half of a block; `residual` becomes the gradient of `middle`.
    fn mlp(&self, layer: usize) -> Result<()> {
        let Pass { device, config, weights, .. } = self.pass;
        let (n, of, saved) = (self.pass.rows(), &weights.layout.blocks[layer], self.pass.block(layer));
        self.recompute(layer)?;
        let (residual, wide) = (self.residual(), self.wide(4 * config.channels));
        self.linear(saved.activated, residual, &of.contract)?;
        let contract = weights.working(&of.contract.weight);
        linear::backward_input_gelu(device, wide, saved.expanded, residual, contract, n)?;
        self.linear(saved.norm_2.y, wide, &of.expand)?;
        linear::backward_input(device, self.narrow(), wide, weights.working(&of.expand.weight), n)?;
        self.norm(saved.middle, saved.norm_2, &of.norm_2, false)
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
            return self.pass.expand(layer);
        }
        if self.recomputes(Recompute::Norms) {
            layernorm::forward(device, saved.norm_2, saved.middle, &weights.norm(&of.norm_2))?;
        }
        if self.recomputes(Recompute::Gelu) {
            gelu::forward(device, saved.activated, saved.expanded)?;
        }
        Ok(())
    }

    /// Through the attention half of a block; `residual` becomes the gradient of the block's input.
    fn attention(&self, layer: usize) -> Result<()> {
        let Pass { device, config, weights, .. } = self.pass;
        let (n, c) = (self.pass.rows(), config.channels);
        let (of, saved, input) = (&weights.layout.blocks[layer], self.pass.block(layer), self.pass.input(layer));
        let (residual, narrow, dqkv) = (self.residual(), self.narrow(), self.wide(3 * c));
        self.linear(saved.attended, residual, &of.attention_out)?;
        linear::backward_input(device, narrow, residual, weights.working(&of.attention_out.weight), n)?;
        let (shape, scratch) = (self.pass.shape(), self.buffers.attention);
        let scratch = scratch.first(attention::scratch(shape));
        attention::backward(device, dqkv, scratch, narrow, saved.attended, saved.lse, saved.qkv, shape)?;
        if self.recomputes(Recompute::Norms) && !self.recomputes(Recompute::Blocks) {
            layernorm::forward(device, saved.norm_1, input, &weights.norm(&of.norm_1))?;
        }
        self.linear(saved.norm_1.y, dqkv, &of.qkv)?;
        linear::backward_input(device, narrow, dqkv, weights.working(&of.qkv.weight), n)?;
        self.norm(input, saved.norm_1, &of.norm_1, false)
    }

    fn embedding(&self) -> Result<()> {
        let Pass { device, config, weights, batch, time, .. } = self.pass;
        let (order, starts) = (self.buffers.order.first(self.pass.rows()), self.buffers.starts);
        let layout = &weights.layout;
        let (dtokens, dpositions) = (self.gradient(&layout.token_embedding), self.gradient(&layout.position_embedding));
        embedding::backward_tokens(device, dtokens, self.residual(), order, starts, config.channels)?;
        embedding::backward_positions(device, dpositions, self.residual(), batch, time, config.channels)
    }
}
