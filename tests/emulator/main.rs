//! The emulator's own tests: what it must compute, what it must notice, and whom it must not blame.

mod bugs;
mod bugs_hopper;
mod device;
mod features;
mod hopper;
mod launches;
mod planted;

use launches::{Allocation, Passed, pass};
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::device::Emulator;
use std::sync::Arc;

/// Order of threads and blocks: forwards, backwards, shuffled.
pub const SEEDS: std::ops::Range<u32> = 0..8;

pub fn emulator() -> Arc<dyn Device> {
    Arc::new(Emulator::new(0))
}

pub fn floats(allocation: &Allocation<f32>) -> Passed {
    pass(allocation.address, b'F')
}

pub fn ints(allocation: &Allocation<i32>) -> Passed {
    pass(allocation.address, b'I')
}
