//! A training step of one shape: everything that the forward and backward pass over B sequences of T tokens need.

use super::activations::{Activations, Purpose, Recompute, head_rows};
use super::backward::{BackwardBuffers, BackwardPass};
use super::forward::Pass;
use super::optimizer::Optimizer;
use super::parameters::Parameters;
use crate::Result;
use crate::cuda::device::allocator::Allocator;
use crate::cuda::device::graph_cache::GraphCache;
use crate::cuda::ops::embedding;
use crate::engine::Batch;
use std::sync::Arc;

pub struct TrainingStep {
    /// The passes, recorded. It holds addresses of all buffers below, and comes first so that it is dropped before them.
    graph: GraphCache,
    parameters: Arc<Parameters>,
    optimizer: Arc<Optimizer>,
    activations: Activations,
    buffers: BackwardBuffers,
    batch: usize,
    seq_len: usize,
    /// Host side of `BackwardBuffers::{order, starts}`.
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl TrainingStep {
    /// `piece`: rows whose logits are held at once; none: see [`head_rows`].
    pub fn new(
        parameters: Arc<Parameters>,
        optimizer: Arc<Optimizer>,
        (batch, seq_len): (usize, usize),
        recompute: Recompute,
        piece: Option<usize>,
    ) -> Result<Self> {
        let (config, rows) = (parameters.config, batch * seq_len);
        let mut allocator = Allocator::on(parameters.device.clone());
        let piece = piece.unwrap_or_else(|| head_rows(rows, &config));
        let purpose = Purpose::Training(recompute);
        let activations = Activations::allocate(&mut allocator, &config, rows, purpose, piece)?;
        let buffers = BackwardBuffers::allocate(&mut allocator, &config, batch, seq_len)?;
        let (order, starts) = (vec![0; rows], vec![0; parameters.padded_vocab() + 1]);
        let graph = GraphCache::default();
        Ok(TrainingStep { graph, parameters, optimizer, activations, buffers, batch, seq_len, order, starts })
    }

    /// (B, T)
    pub fn shape(&self) -> (usize, usize) {
        (self.batch, self.seq_len)
    }

    /// For a forward pass beside training, e.g. over validation data.
    pub fn activations(&mut self) -> &mut Activations {
        &mut self.activations
    }

    /// Runs a batch of this shape forward and backward: plainly, or by replay of what was recorded. Gradients += scale x
    /// gradient of the summed losses; loss += scale x summed losses. With `eager` nothing is recorded.
    pub fn accumulate(&mut self, batch: Batch, scale: f32, eager: bool) -> Result<()> {
        assert_eq!((batch.tokens.len(), batch.seq_len), (self.batch * self.seq_len, self.seq_len));
        embedding::sort(batch.tokens, self.parameters.padded_vocab(), &mut self.order, &mut self.starts);
        self.activations.upload_tokens(batch.tokens, batch.seq_len)?;
        self.activations.upload_targets(batch.targets)?;
        self.buffers.order.view_mut().upload(&self.order)?;
        self.buffers.starts.view_mut().upload(&self.starts)?;
        self.buffers.scale.view_mut().upload(&[scale])?;
        let TrainingStep { graph, parameters, optimizer, activations, buffers, batch, seq_len, .. } = self;
        let pass = Pass { parameters, activations, batch: *batch, seq_len: *seq_len };
        let work = BackwardPass { pass, buffers, optimizer };
        // SAFETY: the passes use buffers of parameters, optimizer, activations and backward pass alone. This value owns them
        // together with the graph or shares their ownership, replaces none, and drops the graph first.
        unsafe { graph.run(&*parameters.device, eager, || work.accumulate()) }
    }
}
