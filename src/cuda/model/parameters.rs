//! The parameters on the device, and the copies of state between host and device.
//!
//! Everything lies in flat buffers in the order of [`Layout`], here for a vocabulary padded to a multiple of 128 (Vp):
//! products over the vocabulary then have whole tiles, and the rows behind V stay zero, since their gradients are.

use super::attention::AttentionKernels;
use crate::Result;
use crate::cuda::device::allocator::Allocator;
use crate::cuda::device::memory::{Buffer, View, ViewMut};
use crate::cuda::device::seam::Device;
use crate::cuda::ops::adamw;
use crate::cuda::ops::layernorm::NormParams;
use crate::cuda::ops::linear::LinearParams;
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

/// The model's parameters, the device that holds them, and its kernels where there is a choice.
pub struct Parameters {
    pub device: Arc<dyn Device>,
    pub config: Config,
    pub attention: AttentionKernels,
    /// With Vp rows of token embedding.
    pub layout: Layout,
    buffers: ParameterBuffers,
}

/// (layout.len) each.
struct ParameterBuffers {
    /// The f32 master copy, which the optimizer updates.
    master: Buffer<f32>,
    /// The same rounded to bf16, which the products read.
    params_bf16: Buffer<bf16>,
}

impl ParameterBuffers {
    fn new(allocator: &mut Allocator, layout: &Layout) -> Result<Self> {
        Ok(ParameterBuffers { master: allocator.buffer(layout.len)?, params_bf16: allocator.buffer(layout.len)? })
    }
}

impl Parameters {
    /// Bytes of the device that they take.
    pub fn bytes(config: &Config) -> Result<u64> {
        let mut allocator = Allocator::counting();
        ParameterBuffers::new(&mut allocator, &Layout::new(&padded(config)))?;
        Ok(allocator.bytes())
    }

    /// `values`: without padding, by the layout of `config`.
    pub fn new(device: Arc<dyn Device>, config: Config, values: &[f32]) -> Result<Self> {
        let (layout, attention) =
            (Layout::new(&padded(&config)), AttentionKernels::choose(&*device, config.head_size())?);
        let buffers = ParameterBuffers::new(&mut Allocator::on(device.clone()), &layout)?;
        let parameters = Parameters { device, config, attention, layout, buffers };
        parameters.write(values, &Layout::new(&config))?;
        Ok(parameters)
    }

    /// Overwrites both copies. `values` and `unpadded`: without padding.
    pub fn write(&self, values: &[f32], unpadded: &Layout) -> Result<()> {
        upload(self.master(), &self.layout, values, unpadded)?;
        let (params_bf16, parameters) = (self.all_bf16(), self.master().as_view());
        adamw::CastBf16 { params_bf16, parameters }.run(&*self.device)
    }

    /// The f32 master copy.
    pub fn master(&self) -> ViewMut<'_, f32> {
        self.buffers.master.view_mut()
    }

    /// All of the bf16 copy.
    pub fn all_bf16(&self) -> ViewMut<'_, bf16> {
        self.buffers.params_bf16.view_mut()
    }

    /// Vp
    pub fn padded_vocab(&self) -> usize {
        self.layout.token_embedding.shape[0]
    }

    /// A tensor in bf16.
    pub fn tensor(&self, tensor: &Tensor) -> View<'_, bf16> {
        self.buffers.params_bf16.view().slice(tensor.range.clone())
    }

    pub fn norm(&self, norm: &layout::Norm) -> NormParams<'_> {
        let bias = norm.bias.as_ref().map(|bias| self.tensor(bias));
        NormParams { weight: self.tensor(&norm.weight), bias }
    }

    pub fn linear(&self, linear: &layout::Linear) -> LinearParams<'_> {
        let bias = linear.bias.as_ref().map(|bias| self.tensor(bias));
        LinearParams { weight: self.tensor(&linear.weight), bias }
    }
}

/// Copies a part of the state to the device, tensor by tensor. `values` and `unpadded`: without padding, which becomes
/// zeros.
pub fn upload(to: ViewMut<f32>, padded: &Layout, values: &[f32], unpadded: &Layout) -> Result<()> {
    assert_eq!((to.len(), values.len()), (padded.len, unpadded.len));
    to.clear()?;
    for (to_tensor, from) in padded.tensors().zip(unpadded.tensors()) {
        to.slice(to_tensor.range.clone()).first(from.len()).upload(&values[from.range.clone()])?;
    }
    Ok(())
}

/// Copies a part of the state from the device, tensor by tensor, leaving the padding behind.
pub fn download(values: &mut [f32], unpadded: &Layout, from: View<f32>, padded: &Layout) -> Result<()> {
    assert_eq!((values.len(), from.len()), (unpadded.len, padded.len));
    for (to, from_tensor) in unpadded.tensors().zip(padded.tensors()) {
        from.slice(from_tensor.range.clone()).first(to.len()).download(&mut values[to.range.clone()])?;
    }
    Ok(())
}
