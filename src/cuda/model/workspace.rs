//! What is allocated for the size of a batch.

use super::activations::{Activations, Purpose, Recompute, head_rows};
use super::optimizer::Optimizer;
use super::parameters::Parameters;
use super::training_step::TrainingStep;
use crate::Result;
use crate::cuda::device::allocator::Allocator;
use std::sync::Arc;

/// At most one of the two is there. The old one goes before a new one is made, so that the peak is the larger of them and
/// not the sum; and after a failure none is left.
#[derive(Default)]
pub struct Workspace {
    training: Option<TrainingStep>,
    inference: Option<Activations>,
}

impl Workspace {
    fn clear(&mut self) {
        *self = Workspace::default();
    }

    /// The step of B sequences of T tokens.
    pub fn training_step(
        &mut self,
        parameters: &Arc<Parameters>,
        optimizer: &Arc<Optimizer>,
        shape: (usize, usize),
        recompute: Recompute,
        piece: Option<usize>,
    ) -> Result<&mut TrainingStep> {
        if self.training.as_ref().is_none_or(|step| step.shape() != shape) {
            self.clear();
        }
        match &mut self.training {
            Some(step) => Ok(step),
            none => Ok(none.insert(TrainingStep::new(parameters.clone(), optimizer.clone(), shape, recompute, piece)?)),
        }
    }

    /// Activations for a forward pass over so many rows: those of training where they are large enough, so that validation
    /// needs no others; else those of an earlier pass of as many rows or more.
    pub fn activations(
        &mut self,
        parameters: &Parameters,
        rows: usize,
        piece: Option<usize>,
    ) -> Result<&mut Activations> {
        if self.rows() < rows {
            self.clear();
        }
        match (&mut self.training, &mut self.inference) {
            (Some(step), _) => Ok(step.activations()),
            (None, Some(activations)) => Ok(activations),
            (None, none) => {
                let piece = piece.unwrap_or_else(|| head_rows(rows, &parameters.config));
                let mut allocator = Allocator::on(parameters.device.clone());
                let config = &parameters.config;
                Ok(none.insert(Activations::allocate(&mut allocator, config, rows, Purpose::Inference, piece)?))
            }
        }
    }

    /// Rows there is room for.
    fn rows(&self) -> usize {
        let training = self.training.as_ref().map(|step| step.shape().0 * step.shape().1);
        training.or(self.inference.as_ref().map(|activations| activations.rows)).unwrap_or(0)
    }
}
