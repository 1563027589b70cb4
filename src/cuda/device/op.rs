//! One operation of a device, as a value that can be run again.

use super::gemm::GemmCall;
use super::kernel::{Argument, Kernel, Launch};
use super::seam::Device;
use super::tensor_map::MapLayout;
use crate::Result;

/// A kernel launch, a product or a fill.
#[derive(Clone)]
pub enum Op {
    Launch { kernel: &'static Kernel, launch: Launch, arguments: Vec<Argument> },
    Gemm(GemmCall),
    Clear { at: u64, bytes: usize },
}

impl Op {
    pub fn launch(kernel: &'static Kernel, launch: Launch, arguments: &[Argument]) -> Self {
        Op::Launch { kernel, launch, arguments: arguments.to_vec() }
    }

    /// The kernel's name, or the product's [`GemmCall::label`].
    pub fn name(&self) -> String {
        match self {
            Op::Launch { kernel, .. } => kernel.name.to_string(),
            Op::Gemm(gemm) => gemm.label(),
            Op::Clear { .. } => "clear".to_string(),
        }
    }

    /// Grid, block and dynamic shared memory; None for what is no kernel.
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
            // SAFETY: arguments and lengths are those of a launch that was sound.
            Op::Launch { kernel, launch, arguments } => unsafe { device.launch(kernel, *launch, arguments) },
            // SAFETY: the caller's promise.
            Op::Gemm(call) => unsafe { device.queue_gemm(call) },
            // SAFETY: the caller's promise.
            Op::Clear { at, bytes } => unsafe { device.clear(*at, *bytes) },
        }
    }

    /// Every device address in its arguments, except null pointers.
    pub fn addresses(&self) -> Vec<u64> {
        let seen = std::cell::RefCell::new(Vec::new());
        self.moved(&|address| {
            seen.borrow_mut().push(address);
            address
        });
        seen.into_inner()
    }

    /// The same operation on other buffers: `to` maps old addresses to new ones.
    pub fn moved(&self, to: &dyn Fn(u64) -> u64) -> Self {
        match self {
            Op::Launch { kernel, launch, arguments } => {
                let is_pointer = |kind: &u8| kind.is_ascii_uppercase();
                let moved = |(&argument, kind): (&Argument, &u8)| match argument {
                    Argument::Map(map) => Argument::Map(MapLayout { address: to(map.address), ..map }),
                    Argument::Value(value) if is_pointer(kind) && value != [0; 8] => {
                        Argument::value(to(u64::from_le_bytes(value)))
                    }
                    number_or_null => number_or_null,
                };
                let arguments = arguments.iter().zip(kernel.kinds).map(moved).collect();
                Op::Launch { kernel, launch: *launch, arguments }
            }
            Op::Gemm(call) => Op::Gemm(call.moved(to)),
            Op::Clear { at, bytes } => Op::Clear { at: to(*at), bytes: *bytes },
        }
    }
}
