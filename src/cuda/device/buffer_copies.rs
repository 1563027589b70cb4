//! Copies of the buffers that some operations use, so that these can be run on other memory.

use super::memory::{Buffer, DeviceMemory};
use crate::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A set of buffers over again, with the same contents.
pub struct BufferCopies {
    /// Address of the original -> the copy.
    buffers: BTreeMap<u64, Buffer<u8>>,
}

impl BufferCopies {
    /// Copies allocations, given by address and bytes.
    ///
    /// # Safety
    /// The originals are allocated on this device, with so many bytes.
    pub unsafe fn of(memory: &Arc<dyn DeviceMemory>, originals: &BTreeMap<u64, usize>) -> Result<Self> {
        let copy = |(&from, &bytes): (&u64, &usize)| {
            let buffer = Buffer::<u8>::new(memory.clone(), bytes)?;
            // SAFETY: both were allocated with this many bytes, and are two buffers.
            unsafe { memory.copy(buffer.address(), from, bytes)? };
            Ok((from, buffer))
        };
        Ok(BufferCopies { buffers: originals.iter().map(copy).collect::<Result<_>>()? })
    }

    /// Where an address has gone; what is in no buffer stays.
    pub fn place(&self, address: u64) -> u64 {
        match self.buffers.range(..=address).next_back() {
            Some((&from, copy)) if address < from + copy.len() as u64 => copy.address() + (address - from),
            _ => address,
        }
    }
}
