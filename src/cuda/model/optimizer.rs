//! The optimizer's state on the device, and the update of the parameters.

use super::parameters::Parameters;
use crate::Result;
use crate::cuda::device::allocator::Allocator;
use crate::cuda::device::memory::{Buffer, ViewMut};
use crate::cuda::ops::adamw;
use crate::engine::{AdamW, State, Update};

/// Gradients and AdamW's moments, f32 and as long as the padded layout, and the few numbers of a step.
pub struct Optimizer {
    pub gradients: Buffer<f32>,
    exp_avg: Buffer<f32>,
    exp_avg_sq: Buffer<f32>,
    /// (8): see [`adamw::settings`].
    settings: Buffer<f32>,
    /// (1): sum of scale x loss since the last update.
    pub loss: Buffer<f64>,
    /// (2): factor of the gradients, whether to update.
    decision: Buffer<f32>,
    /// (2): loss, norm.
    report: Buffer<f64>,
    /// (adamw::PARTIALS)
    partials: Buffer<f64>,
}

impl Optimizer {
    /// For parameters of `len` elements; undefined until [`Optimizer::clear`].
    pub fn allocate(allocator: &mut Allocator, len: usize) -> Result<Self> {
        Ok(Optimizer {
            gradients: allocator.buffer(len)?,
            exp_avg: allocator.buffer(len)?,
            exp_avg_sq: allocator.buffer(len)?,
            settings: allocator.buffer(8)?,
            loss: allocator.buffer(1)?,
            decision: allocator.buffer(2)?,
            report: allocator.buffer(2)?,
            partials: allocator.buffer(adamw::PARTIALS)?,
        })
    }

    /// Gradients, moments and loss become zero.
    pub fn clear(&self) -> Result<()> {
        [&self.gradients, &self.exp_avg, &self.exp_avg_sq].iter().try_for_each(|buffer| buffer.view_mut().clear())?;
        self.loss.view_mut().clear()
    }

    /// A part of the state, but for the parameters, which are not its own.
    pub fn part(&self, state: State) -> Option<ViewMut<'_, f32>> {
        match state {
            State::Parameters => None,
            State::Gradients => Some(self.gradients.view_mut()),
            State::ExpAvg => Some(self.exp_avg.view_mut()),
            State::ExpAvgSq => Some(self.exp_avg_sq.view_mut()),
        }
    }

    /// One step of AdamW from the accumulated gradients; see [`crate::engine::Engine::update`].
    pub fn update(&self, parameters: &Parameters, step: &AdamW) -> Result<Update> {
        let device = &*parameters.device;
        let (decision, report) = (self.decision.view_mut(), self.report.view_mut());
        let (loss, settings) = (self.loss.view_mut(), self.settings.view());
        self.settings.view_mut().upload(&adamw::settings(step))?;
        adamw::NormPartials { partials: self.partials.view_mut(), gradients: self.gradients.view() }.run(device)?;
        adamw::Decide { decision, report, loss, partials: self.partials.view(), settings }.run(device)?;
        adamw::UpdateParameters {
            parameters: parameters.master(),
            params_bf16: parameters.all_bf16(),
            gradients: self.gradients.view_mut(),
            exp_avg: self.exp_avg.view_mut(),
            exp_avg_sq: self.exp_avg_sq.view_mut(),
            settings,
            decision: decision.as_view(),
            decayed: parameters.layout.decayed,
        }
        .run(device)?;
        let mut seen = [0f64; 2];
        report.as_view().download(&mut seen)?;
        Ok(Update { loss: seen[0], norm: seen[1] })
    }
}
