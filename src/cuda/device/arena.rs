//! Buffers handed out once, at the start; or only counted, so that a memory report comes from the very code that allocates.

use super::seam::{Buffer, Device, Span};
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

/// Owns the buffers behind the spans it hands out. Every tensor is an allocation of its own, so that the emulator can guard
/// its bounds.
pub struct Arena {
    device: Option<Arc<dyn Device>>,
    buffers: Vec<Buffer<u8>>,
    bytes: u64,
}

impl Arena {
    pub fn on(device: &Arc<dyn Device>) -> Self {
        Arena { device: Some(device.clone()), buffers: Vec::new(), bytes: 0 }
    }

    /// Allocates nothing; its spans must not be used.
    pub fn counting() -> Self {
        Arena { device: None, buffers: Vec::new(), bytes: 0 }
    }

    pub fn take<T: bytemuck::Pod>(&mut self, len: usize) -> Result<Span<T>> {
        let bytes = len * size_of::<T>();
        self.bytes += occupied(bytes as u64);
        match &self.device {
            None => Ok(Span::dangling(len)),
            Some(device) => {
                let buffer = Buffer::new(device, bytes)?;
                let span = buffer.span().cast();
                self.buffers.push(buffer);
                Ok(span)
            }
        }
    }

    /// Bytes of the device that the buffers take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
