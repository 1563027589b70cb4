//! Opening a device by its place.

use super::device::seam::Device;
use super::gpu::device::Gpu;
use super::gpu::driver::Driver;
use super::gpu::{devices, fatbin};
use crate::{Error, Result};
use std::sync::Arc;

/// Where the CUDA engine's kernels run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceId {
    /// The GPU with this ordinal, as the driver counts them (`CUDA_VISIBLE_DEVICES` changes the count).
    Gpu(usize),
    /// The CPU, thread by thread.
    Emulator,
}

/// Opens the device. The error says what is missing and how to get it.
pub fn open(place: DeviceId) -> Result<Arc<dyn Device>> {
    match place {
        DeviceId::Gpu(ordinal) => Ok(Arc::new(gpu(ordinal)?)),
        DeviceId::Emulator => emulator(),
    }
}

fn gpu(ordinal: usize) -> Result<Gpu> {
    let card = devices::find(Driver::get()?, ordinal)?;
    if fatbin::MODULES.is_empty() {
        return Err(Error::failed(format!("{card}: {}; {}", fatbin::NONE, fatbin::HOW)));
    }
    Gpu::open(ordinal)
}

/// The number of GPUs that the driver shows.
pub fn gpus() -> usize {
    Driver::get().and_then(devices::all).map_or(0, |cards| cards.len())
}

/// The first GPU that can be used; None where no driver shows one. The error says why those that it shows cannot be used.
pub fn first() -> Result<Option<Arc<dyn Device>>> {
    let cards = Driver::get().and_then(devices::all).unwrap_or_default();
    let mut why = None;
    for card in cards {
        match gpu(card.ordinal).and_then(|gpu| gpu.require_products().map(|()| gpu)) {
            Ok(gpu) => return Ok(Some(Arc::new(gpu))),
            Err(error) => why = Some(error),
        }
    }
    why.map_or(Ok(None), Err)
}

#[cfg(feature = "emulator")]
fn emulator() -> Result<Arc<dyn Device>> {
    Ok(Arc::new(super::emulator::device::Emulator::new(0)))
}

#[cfg(not(feature = "emulator"))]
fn emulator() -> Result<Arc<dyn Device>> {
    let how = "build with `cargo build --release --features emulator`";
    Err(Error::usage(format!("the emulator is not in this build: {how}")))
}
