//! Work that comes again and again with the same shape.

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
    ///
    /// # Safety
    /// A graph keeps the addresses of the buffers that `work` uses. All of them stay allocated as long as this cache is
    /// used: whoever owns it owns them too, or shares their ownership, and replaces none of them.
    pub unsafe fn run(&mut self, device: &dyn Device, eager: bool, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if let Some(graph) = &self.graph {
            // SAFETY: the caller's promise.
            return unsafe { graph.replay() };
        }
        if eager || !self.has_run {
            self.has_run = true;
            return work();
        }
        device.begin_recording()?;
        let recorded = work();
        let graph = device.end_recording();
        recorded?;
        // SAFETY: the caller's promise.
        unsafe { self.graph.insert(graph?).replay() }
    }
}
