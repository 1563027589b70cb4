//! Makes buffers, or only counts them, so that a memory report comes from the very code that allocates.

use super::memory::{Buffer, DeviceMemory};
use crate::Result;
use std::sync::Arc;

/// Alignment of device allocations, in bytes.
const ALIGNMENT: u64 = 256;
/// Larger allocations take whole pages of the device.
const SMALL: u64 = 1 << 20;
const PAGE: u64 = 2 << 20;

/// What an allocation takes of the device's memory.
fn occupied(bytes: u64) -> u64 {
    bytes.next_multiple_of(if bytes > SMALL { PAGE } else { ALIGNMENT })
}

/// Gives out buffers and adds up what they take. Every tensor is an allocation of its own, so that the emulator can guard
/// its bounds.
pub struct Allocator {
    memory: Option<Arc<dyn DeviceMemory>>,
    bytes: u64,
}

impl Allocator {
    pub fn on(memory: Arc<dyn DeviceMemory>) -> Self {
        Allocator { memory: Some(memory), bytes: 0 }
    }

    /// Allocates nothing: its buffers are only counted, and lend no views.
    pub fn counting() -> Self {
        Allocator { memory: None, bytes: 0 }
    }

    /// A buffer of `len` elements with undefined contents.
    pub fn buffer<T>(&mut self, len: usize) -> Result<Buffer<T>> {
        self.bytes += occupied((len * size_of::<T>()) as u64);
        match &self.memory {
            None => Ok(Buffer::counted(len)),
            Some(memory) => Buffer::new(memory.clone(), len),
        }
    }

    /// Bytes of the device that the buffers take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
