//! One operation of a device, kept to be run again.

use super::gemm::GemmCall;
use super::kernel::{Kernel, Launch};
use super::seam::Device;
use crate::Result;
use std::ffi::c_void;

/// What a recording holds. An argument is as wide as a pointer at most.
#[derive(Clone)]
pub enum Op {
    Launch { kernel: &'static Kernel, launch: Launch, arguments: Vec<[u8; 8]> },
    Gemm(GemmCall),
    Clear { at: u64, bytes: usize },
}

impl Op {
    /// # Safety
    /// `arguments` match the kernel's signature.
    pub unsafe fn launch(kernel: &'static Kernel, launch: Launch, arguments: &[*mut c_void]) -> Self {
        let copy = |(&pointer, &size): (&*mut c_void, &u8)| {
            let mut value = [0u8; 8];
            // SAFETY: an argument of the table has the size that the table states, at most 8 bytes.
            unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr(), size as usize) };
            value
        };
        Op::Launch { kernel, launch, arguments: arguments.iter().zip(kernel.sizes).map(copy).collect() }
    }

    /// The kernel's name, or the product's [`GemmCall::label`].
    pub fn name(&self) -> String {
        match self {
            Op::Launch { kernel, .. } => kernel.name.to_string(),
            Op::Gemm(gemm) => gemm.label(),
            Op::Clear { .. } => "clear".to_string(),
        }
    }

    /// Grid, block and dynamic shared memory, of a kernel.
    pub fn shape(&self) -> Option<Launch> {
        match self {
            Op::Launch { launch, .. } => Some(*launch),
            _ => None,
        }
    }

    /// # Safety
    /// Its buffers are still allocated, with the lengths they had.
    pub unsafe fn queue(&self, device: &dyn Device) -> Result<()> {
        match self {
            Op::Launch { kernel, launch, arguments } => {
                // SAFETY: arguments and lengths are those of a launch that was sound.
                with_pointers(arguments, |arguments| unsafe { device.launch(kernel, *launch, arguments) })
            }
            // SAFETY: the caller's promise.
            Op::Gemm(call) => unsafe { device.queue_gemm(call) },
            // SAFETY: the caller's promise.
            Op::Clear { at, bytes } => unsafe { device.clear(*at, *bytes) },
        }
    }

    /// Every device address that it reads or writes at, but for null pointers.
    pub fn addresses(&self) -> Vec<u64> {
        let seen = std::cell::RefCell::new(Vec::new());
        self.moved(&|address| {
            seen.borrow_mut().push(address);
            address
        });
        seen.into_inner()
    }

    /// The same operation on other buffers: `to` says where an address has gone.
    pub fn moved(&self, to: &dyn Fn(u64) -> u64) -> Self {
        match self {
            Op::Launch { kernel, launch, arguments } => {
                let is_pointer = |kind: &u8| kind.is_ascii_uppercase();
                let moved = |(&value, kind): (&[u8; 8], &u8)| match u64::from_le_bytes(value) {
                    address if is_pointer(kind) && address != 0 => to(address).to_le_bytes(),
                    _ => value,
                };
                let arguments = arguments.iter().zip(kernel.kinds).map(moved).collect();
                Op::Launch { kernel, launch: *launch, arguments }
            }
            Op::Gemm(call) => Op::Gemm(call.moved(to)),
            Op::Clear { at, bytes } => Op::Clear { at: to(*at), bytes: *bytes },
        }
    }
}

/// Calls with pointers to the arguments, as `cuLaunchKernel` wants them.
pub fn with_pointers<T>(arguments: &[[u8; 8]], call: impl FnOnce(&mut [*mut c_void]) -> T) -> T {
    let mut arguments = arguments.to_vec();
    let mut pointers: Vec<_> = arguments.iter_mut().map(|value| value.as_mut_ptr().cast()).collect();
    call(&mut pointers)
}
