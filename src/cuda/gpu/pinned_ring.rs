//! Pinned memory that uploads pass through: the caller's memory is free at once, and the copy runs beside the host.

use super::stream::{Event, Stream};
use crate::Result;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

/// A micro-batch is two uploads of some hundred kilobytes: the host may run a dozen micro-batches ahead of the GPU.
const SLOTS: usize = 32;
const SLOT_BYTES: usize = 1 << 20;

/// A ring of slots. The host waits only when the copy out of the oldest slot has not run yet.
pub struct PinnedRing {
    stream: Arc<Stream>,
    memory: *mut u8,
    /// Behind the last copy out of each slot.
    copied: Vec<Event>,
    next: usize,
}

// SAFETY: the memory is this one's own.
unsafe impl Send for PinnedRing {}

impl PinnedRing {
    pub fn new(stream: &Arc<Stream>) -> Result<Self> {
        stream.bind()?;
        let copied = (0..SLOTS).map(|_| Event::new(stream)).collect::<Result<_>>()?;
        let mut memory = null_mut::<c_void>();
        // SAFETY: writes one pointer.
        let code = unsafe { (stream.driver.call.cuMemHostAlloc)(&mut memory, SLOTS * SLOT_BYTES, 0) };
        stream.check(code, format_args!("pinning {} MiB of host memory", (SLOTS * SLOT_BYTES) >> 20))?;
        Ok(PinnedRing { stream: stream.clone(), memory: memory.cast(), copied, next: 0 })
    }

    /// Queues a copy to the device.
    ///
    /// # Safety
    /// `to` names `from.len()` bytes of device memory; the context is current.
    pub unsafe fn upload(&mut self, to: u64, from: &[u8]) -> Result<()> {
        for (piece, bytes) in from.chunks(SLOT_BYTES).enumerate() {
            let slot = self.next;
            self.next = (slot + 1) % SLOTS;
            self.copied[slot].wait()?;
            let to = to + (piece * SLOT_BYTES) as u64;
            // SAFETY: the slot is inside the ring and holds a whole piece; no queued copy reads it any more; `to` is
            // the caller's promise.
            let code = unsafe {
                let at = self.memory.add(slot * SLOT_BYTES);
                at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                (self.stream.driver.call.cuMemcpyHtoDAsync_v2)(to, at.cast(), bytes.len(), self.stream.handle)
            };
            self.stream.check(code, format_args!("uploading {} bytes", from.len()))?;
            self.copied[slot].record()?;
        }
        Ok(())
    }
}

impl Drop for PinnedRing {
    fn drop(&mut self) {
        // Queued copies still read the memory.
        let _ = self.stream.synchronize();
        // SAFETY: came from cuMemHostAlloc, and no copy reads it.
        unsafe { (self.stream.driver.call.cuMemFreeHost)(self.memory.cast()) };
    }
}
