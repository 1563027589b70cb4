//! The backward pass: gradients of the parameters, accumulated, from what the forward pass has left.

use super::activations::{Purpose, Recompute};
use super::forward::Pass;
use super::optimizer::Optimizer;
use super::parameters;
use crate::Result;
use crate::cuda::device::allocator::Allocator;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::memory::{Buffer, View, ViewMut};
use crate::cuda::device::seam::Phase;
use crate::cuda::ops::layernorm::Normed;
use crate::cuda::ops::{attention, bias, cross_entropy, embedding, gelu, layernorm, linear};
use crate::gpt::Config;
use crate::gpt::layout::{self, Tensor};
use half::bf16;

/// Gradients of activations, reused by every block, and scratch.
pub struct BackwardBuffers {
    residual: Buffer<bf16>,  // (N, C)
    d_ln: Buffer<bf16>,      // (N, C)
    wide: Buffer<bf16>,      // (N, 4C): of the mlp_fc_out rows, and its first 3/4 of qkv
    attention: Buffer<f32>,  // scratch
    partials: Buffer<f32>,   // scratch of column sums
    pub order: Buffer<u32>,  // (N): rows sorted by token
    pub starts: Buffer<u32>, // (Vp + 1): where each token's rows start in `order`
    pub scale: Buffer<f32>,  // (1)
}

impl BackwardBuffers {
    /// For `batch` sequences of `seq_len`.
    pub fn allocate(allocator: &mut Allocator, config: &Config, batch: usize, seq_len: usize) -> Result<Self> {
        let (rows, c, vocab) = (batch * seq_len, config.channels, parameters::padded(config).vocab);
        let partials = layernorm::partials(rows, c).max(bias::partials(rows, 4 * c));
        let shape = attention::AttentionShape { batch, seq_len, heads: config.heads, head_size: config.head_size() };
        Ok(BackwardBuffers {
            residual: allocator.buffer(rows * c)?,
            d_ln: allocator.buffer(rows * c)?,
            wide: allocator.buffer(rows * 4 * c)?,
            attention: allocator.buffer(attention::scratch(shape))?,
            partials: allocator.buffer(partials)?,
            order: allocator.buffer(rows)?,
            starts: allocator.buffer(vocab + 1)?,
            scale: allocator.buffer(1)?,
        })
    }
}

/// A forward pass and the backward pass that follows it. The buffers are made for its very shape.
#[derive(Clone, Copy)]
pub struct BackwardPass<'a> {
    pub pass: Pass<'a>,
    pub buffers: &'a BackwardBuffers,
    pub optimizer: &'a Optimizer,
}

impl<'a> BackwardPass<'a> {
    /// Gradients += scale x gradient of the summed losses; loss += scale x summed losses.
    pub fn accumulate(&self) -> Result<()> {
        let Pass { parameters, activations, .. } = self.pass;
        let device = self.pass.device();
        self.pass.forward()?;
        self.head()?;
        let (n, layers) = (self.pass.rows(), parameters.config.layers);
        let (total, losses) = (self.optimizer.loss.view_mut(), activations.losses(n).as_view());
        cross_entropy::AddLosses { total, losses, scale: self.buffers.scale.view() }.run(device)?;
        let _phase = Phase::open(device, "backward");
        self.norm(self.pass.input(layers).as_view(), self.pass.norm_final(), &parameters.layout.norm_final, true)?;
        for layer in (0..layers).rev() {
            let _phase = Phase::open(device, &format!("block {layer} backward"));
            self.mlp(layer)?;
            self.attention(layer)?;
        }
        self.embedding()
    }

    /// (N, C)
    fn residual(&self) -> ViewMut<'a, bf16> {
        self.buffers.residual.view_mut()
    }

    /// (N, C)
    fn d_ln(&self) -> ViewMut<'a, bf16> {
        self.buffers.d_ln.view_mut()
    }

    /// (N, width)
    fn wide(&self, width: usize) -> ViewMut<'a, bf16> {
        self.buffers.wide.view_mut().first(self.pass.rows() * width)
    }

    fn gradient(&self, tensor: &Tensor) -> ViewMut<'a, f32> {
        self.optimizer.gradients.view_mut().slice(tensor.range.clone())
    }

    fn recomputes(&self, level: Recompute) -> bool {
        matches!(self.pass.activations.purpose, Purpose::Training(at) if at >= level)
    }

    /// Losses, the gradient of the final norm's output into `d_ln`, and the head's share of the token embedding's gradient.
    fn head(&self) -> Result<()> {
        let Pass { parameters, activations, .. } = self.pass;
        let device = self.pass.device();
        let (c, head) = (self.pass.channels(), &parameters.layout.token_embedding);
        let (padded, vocab) = (parameters.padded_vocab(), parameters.config.vocab);
        let (x, dx) = (self.pass.norm_final().y.as_view(), self.d_ln());
        let (losses, targets) = (activations.losses(self.pass.rows()), activations.targets(self.pass.rows()));
        self.pass.head(|start, logits| {
            let n = logits.len() / padded;
            let (rows, cells) = (start..start + n, start * c..(start + n) * c);
            let (losses, targets, scale) = (losses.slice(rows.clone()), targets.slice(rows), self.buffers.scale.view());
            cross_entropy::ForwardBackward { losses, logits, targets, scale, vocab }.run(device)?;
            let dlogits = logits.as_view();
            let d = Output::Rounded(dx.slice(cells.clone()), Epilogue::None);
            let (a, b) = (Operand::plain(dlogits), Operand::plain(parameters.tensor(head)));
            device.gemm(&Gemm { m: n, n: c, k: padded, a, b, d })?;
            let (a, b) = (Operand::transposed(dlogits), Operand::plain(x.slice(cells)));
            device.gemm(&Gemm { m: padded, n: c, k: n, a, b, d: Output::Accumulated(self.gradient(head)) })
        })
    }

    /// residual += the gradient of a norm at `d_ln`, or = for the first.
    fn norm(&self, x: View<bf16>, saved: Normed, norm: &layout::Norm, first: bool) -> Result<()> {
        let (n, c) = (self.pass.rows(), self.pass.channels());
        layernorm::Backward {
            dx: self.residual(),
            dweight: self.gradient(&norm.weight),
            dbias: norm.bias.as_ref().map(|bias| self.gradient(bias)),
            partials: self.buffers.partials.view_mut().first(layernorm::partials(n, c)),
            dy: self.d_ln().as_view(),
            x,
            mean: saved.mean.as_view(),
            rstd: saved.rstd.as_view(),
            weight: self.pass.parameters.tensor(&norm.weight),
            dx_is_new: first,
        }
        .run(self.pass.device())
    }

    /// Gradients of a linear layer's weights.
    fn linear(&self, x: ViewMut<bf16>, dy: ViewMut<bf16>, of: &layout::Linear) -> Result<()> {
        linear::BackwardWeights {
            dweight: self.gradient(&of.weight),
            dbias: of.bias.as_ref().map(|bias| self.gradient(bias)),
            partials: self.buffers.partials.view_mut(),
            x: x.as_view(),
            dy: dy.as_view(),
            n: self.pass.rows(),
        }
        .run(self.pass.device())
    }

    /// dx = the gradient of a linear layer's input.
    fn linear_input(&self, dx: ViewMut<bf16>, dy: ViewMut<bf16>, of: &layout::Linear) -> Result<()> {
        let (dy, weight, n) = (dy.as_view(), self.pass.parameters.tensor(&of.weight), self.pass.rows());
        linear::BackwardInput { dx, dy, weight, n }.run(self.pass.device())
    }

    /// Through the MLP half of a block; `residual` becomes the gradient of `residual_mid`.
    fn mlp(&self, layer: usize) -> Result<()> {
        let parameters = self.pass.parameters;
        let (n, of, saved) = (self.pass.rows(), &parameters.layout.blocks[layer], self.pass.block(layer));
        self.recompute(layer)?;
        let (residual, wide) = (self.residual(), self.wide(4 * self.pass.channels()));
        self.linear(saved.gelu_out, residual, &of.mlp_proj)?;
        let (before, weight) = (saved.mlp_fc_out.as_view(), parameters.tensor(&of.mlp_proj.weight));
        linear::BackwardInputGelu { dx: wide, before, dy: residual.as_view(), weight, n }.run(self.pass.device())?;
        self.linear(saved.norm_2.y, wide, &of.mlp_fc)?;
        self.linear_input(self.d_ln(), wide, &of.mlp_fc)?;
        self.norm(saved.residual_mid.as_view(), saved.norm_2, &of.norm_2, false)
    }

    /// What the chosen level has not kept of the MLP half or, at the last level, of the block.
    fn recompute(&self, layer: usize) -> Result<()> {
        let (device, parameters) = (self.pass.device(), self.pass.parameters);
        let (of, saved) = (&parameters.layout.blocks[layer], self.pass.block(layer));
        if self.recomputes(Recompute::Blocks) {
            // The buffers still hold the last block.
            if layer + 1 == parameters.config.layers {
                return Ok(());
            }
            self.norm_1(layer)?;
            self.pass.attention_half(layer)?;
            return self.pass.mlp_fc(layer);
        }
        if self.recomputes(Recompute::Norms) {
            let (x, params) = (saved.residual_mid.as_view(), parameters.norm(&of.norm_2));
            layernorm::Forward { to: saved.norm_2, x, params }.run(device)?;
        }
        if self.recomputes(Recompute::Gelu) {
            gelu::Forward { y: saved.gelu_out, x: saved.mlp_fc_out.as_view() }.run(device)?;
        }
        Ok(())
    }

    /// The first norm of a block once more.
    fn norm_1(&self, layer: usize) -> Result<()> {
        let (to, x) = (self.pass.block(layer).norm_1, self.pass.input(layer).as_view());
        let params = self.pass.parameters.norm(&self.pass.parameters.layout.blocks[layer].norm_1);
        layernorm::Forward { to, x, params }.run(self.pass.device())
    }

    /// Through the attention half of a block; `residual` becomes the gradient of the block's input.
    fn attention(&self, layer: usize) -> Result<()> {
        let of = &self.pass.parameters.layout.blocks[layer];
        let (saved, input) = (self.pass.block(layer), self.pass.input(layer).as_view());
        let (residual, d_ln, dqkv) = (self.residual(), self.d_ln(), self.wide(3 * self.pass.channels()));
        self.linear(saved.attn_out, residual, &of.attn_proj)?;
        self.linear_input(d_ln, residual, &of.attn_proj)?;
        let attend = attention::Backward {
            dqkv,
            scratch: self.buffers.attention.view_mut(),
            dout: d_ln.as_view(),
            out: saved.attn_out.as_view(),
            lse: saved.lse.as_view(),
            qkv: saved.qkv.as_view(),
            shape: self.pass.shape(),
        };
        self.pass.parameters.attention.backward(attend, self.pass.device())?;
        if self.recomputes(Recompute::Norms) && !self.recomputes(Recompute::Blocks) {
            self.norm_1(layer)?;
        }
        self.linear(saved.norm_1.y, dqkv, &of.qkv)?;
        self.linear_input(d_ln, dqkv, &of.qkv)?;
        self.norm(input, saved.norm_1, &of.norm_1, false)
    }

    fn embedding(&self) -> Result<()> {
        let Pass { parameters, batch, seq_len, .. } = self.pass;
        let (dy, c, device) = (self.residual().as_view(), self.pass.channels(), self.pass.device());
        let (order, starts) = (self.buffers.order.view(), self.buffers.starts.view());
        let layout = &parameters.layout;
        let dtable = self.gradient(&layout.token_embedding);
        embedding::BackwardTokens { dtable, dy, order, starts, c }.run(device)?;
        let dtable = self.gradient(&layout.position_embedding);
        embedding::BackwardPositions { dtable, dy, batch, seq_len, c }.run(device)
    }
}
