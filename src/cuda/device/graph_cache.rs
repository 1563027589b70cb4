//! Op that comes again and again with the same shape.

use super::seam::{Device, Graph};
use crate::Result;

/// Runs plainly the first time, which lets every product find its algorithm outside a recording; is recorded the second
/// time, and replayed from then on.
#[derive(Default)]
pub struct GraphCache {
    has_run: bool,
    graph: Option<Box<dyn Graph>>,
}

impl GraphCache {
    /// `work` queues the same operations on the same buffers each time. With `eager` it is never recorded.
    pub fn run(&mut self, device: &dyn Device, eager: bool, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if let Some(graph) = &self.graph {
            return graph.replay();
        }
        if eager || !self.has_run {
            self.has_run = true;
            return work();
        }
        device.begin_recording()?;
        let recorded = work();
        let graph = device.end_recording();
        recorded?;
        self.graph.insert(graph?).replay()
    }
}
