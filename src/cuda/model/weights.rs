//! The parameters and the optimizer's state on the device.
//!
//! All are flat buffers in the order of [`Layout`], here for a vocabulary padded to a multiple of 128 (Vp): products over the
//! vocabulary then have whole tiles, and the rows behind V stay zero, since their gradients are.

use crate::Result;
use crate::cuda::device::arena::Arena;
use crate::cuda::device::seam::{Device, Span};
use crate::cuda::ops::adamw;
use crate::cuda::ops::{layernorm, linear};
use crate::engine::State;
use crate::gpt::layout::{self, Tensor};
use crate::gpt::{Config, Layout};
use half::bf16;
use std::sync::Arc;

/// Multiple that the vocabulary is padded to.
const VOCAB_MULTIPLE: usize = 128;

/// The config as the device holds it: Vp for V.
pub fn padded(config: &Config) -> Config {
    Config { vocab: config.vocab.next_multiple_of(VOCAB_MULTIPLE), ..*config }
}

pub struct Weights {
    /// With Vp rows of token embedding; `len` of every buffer below.
    pub layout: Layout,
    /// f32 master copy, what the optimizer updates.
    pub parameters: Span<f32>,
    /// The same rounded to bf16, what the products read.
    pub params_bf16: Span<bf16>,
    _arena: Arena,
}

impl Weights {
    pub fn bytes(config: &Config) -> Result<u64> {
        let mut arena = Arena::counting();
        take(&mut arena, Layout::new(&padded(config)).len)?;
        Ok(arena.bytes())
    }

    /// Undefined until [`upload`] and [`Weights::cast_bf16`].
    pub fn new(device: &Arc<dyn Device>, config: &Config) -> Result<Self> {
        let layout = Layout::new(&padded(config));
        let mut arena = Arena::on(device);
        let (parameters, params_bf16) = take(&mut arena, layout.len)?;
        Ok(Weights { layout, parameters, params_bf16, _arena: arena })
    }

    /// params_bf16 = parameters, rounded.
    pub fn cast_bf16(&self, device: &dyn Device) -> Result<()> {
        adamw::cast_bf16(device, self.params_bf16, self.parameters)
    }

    pub fn params_bf16(&self, tensor: &Tensor) -> Span<bf16> {
        self.params_bf16.slice(tensor.range.clone())
    }

    pub fn norm(&self, norm: &layout::Norm) -> layernorm::Weights {
        let bias = norm.bias.as_ref().map(|bias| self.params_bf16(bias));
        layernorm::Weights { weight: self.params_bf16(&norm.weight), bias }
    }

    pub fn linear(&self, linear: &layout::Linear) -> linear::Weights {
        let bias = linear.bias.as_ref().map(|bias| self.params_bf16(bias));
        linear::Weights { weight: self.params_bf16(&linear.weight), bias }
    }
}

fn take(arena: &mut Arena, len: usize) -> Result<(Span<f32>, Span<bf16>)> {
    Ok((arena.take(len)?, arena.take(len)?))
}

/// Gradients and AdamW's moments, (layout.len) f32 each, and the few numbers of a step.
pub struct Optimizer {
    pub gradients: Span<f32>,
    pub exp_avg: Span<f32>,
    pub exp_avg_sq: Span<f32>,
    /// (8): see [`adamw::Settings`].
    pub settings: Span<f32>,
    /// (1): sum of scale x loss since the last update.
    pub loss: Span<f64>,
    /// (2): factor of the gradients, whether to update.
    pub decision: Span<f32>,
    /// (2): loss, norm.
    pub report: Span<f64>,
    /// (adamw::PARTIALS)
    pub partials: Span<f64>,
}

impl Optimizer {
    pub fn take(arena: &mut Arena, len: usize) -> Result<Self> {
        Ok(Optimizer {
            gradients: arena.take(len)?,
            exp_avg: arena.take(len)?,
            exp_avg_sq: arena.take(len)?,
            settings: arena.take(8)?,
            loss: arena.take(1)?,
            decision: arena.take(2)?,
            report: arena.take(2)?,
            partials: arena.take(adamw::PARTIALS)?,
        })
    }

    pub fn clear(&self, device: &dyn Device) -> Result<()> {
        [self.gradients, self.exp_avg, self.exp_avg_sq].iter().try_for_each(|span| span.clear(device))?;
        self.loss.clear(device)
    }

    pub fn part(&self, state: State) -> Option<Span<f32>> {
        match state {
            State::Parameters => None,
            State::Gradients => Some(self.gradients),
            State::ExpAvg => Some(self.exp_avg),
            State::ExpAvgSq => Some(self.exp_avg_sq),
        }
    }
}

/// Tensor by tensor from the order of `from` to that of `to`: the same tables but for the padding of the vocabulary.
fn copy_tensors(to: &mut [f32], to_layout: &Layout, from: &[f32], from_layout: &Layout) {
    assert_eq!((to.len(), from.len()), (to_layout.len, from_layout.len));
    for (a, b) in to_layout.tensors().zip(from_layout.tensors()) {
        let len = a.len().min(b.len());
        to[a.range.start..][..len].copy_from_slice(&from[b.range.start..][..len]);
    }
}

/// Copies a part of the state to the device. `values` and `layout`: without padding, which becomes zeros.
pub fn upload(device: &dyn Device, to: Span<f32>, padded: &Layout, values: &[f32], layout: &Layout) -> Result<()> {
    let mut wide = vec![0.0; padded.len];
    copy_tensors(&mut wide, padded, values, layout);
    to.upload(device, &wide)
}

/// Copies a part of the state from the device, leaving the padding behind.
pub fn download(
    device: &dyn Device,
    values: &mut [f32],
    layout: &Layout,
    from: Span<f32>,
    padded: &Layout,
) -> Result<()> {
    let mut wide = vec![0.0; padded.len];
    from.download(device, &mut wide)?;
    copy_tensors(values, layout, &wide, padded);
    Ok(())
}
