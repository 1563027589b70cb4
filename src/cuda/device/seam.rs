//! The seam between the CUDA engine's operations and the device that runs their kernels: a GPU, or the emulator.

use super::gemm::{Gemm, GemmCall};
use super::kernel::{Argument, Kernel, Launch};
use super::memory::DeviceMemory;
use crate::Result;

/// What of a device decides which kernels run on it, and in how many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProperties {
    /// Major, minor.
    pub compute_capability: (u32, u32),
    pub multiprocessors: usize,
}

/// A device. Work is queued in order on one stream; only `download` and `synchronize` wait for it.
///
/// Its unsafe methods take addresses and are for the implementations of devices. Operations use views, launch structs
/// and [`dyn Device::gemm`](#method.gemm).
pub trait Device: DeviceMemory {
    /// The device's name, for messages.
    fn name(&self) -> String;

    fn properties(&self) -> DeviceProperties;

    /// Bytes of device memory that code, products and graphs take, besides allocations.
    fn overhead(&self) -> u64 {
        0
    }

    /// Queues a kernel.
    ///
    /// # Safety
    /// `arguments` match the kernel's signature, and no index the kernel forms from them leaves its buffers.
    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &[Argument]) -> Result<()>;

    /// Queues a matrix product.
    ///
    /// # Safety
    /// Every address names as many elements of this device's allocations as the product's sizes demand.
    unsafe fn queue_gemm(&self, call: &GemmCall) -> Result<()>;

    /// Whether `queue_gemm` can do this product; where it cannot do an epilogue, the plain product and a kernel can.
    /// Makes the product's plan, without writing to its buffers. During a capture no algorithm can be chosen by
    /// measurement.
    ///
    /// # Safety
    /// As for `queue_gemm`.
    unsafe fn can_queue_gemm(&self, _call: &GemmCall) -> Result<bool> {
        Ok(true)
    }

    /// Waits for all queued work, and reports its errors.
    fn synchronize(&self) -> Result<()>;

    /// Starts a capture: until `end_capture`, kernels, products and clears are captured instead of run. Allocations,
    /// uploads and downloads are not allowed meanwhile.
    fn begin_capture(&self) -> Result<()>;

    fn end_capture(&self) -> Result<Box<dyn Graph>>;

    /// Opens a named range for a profiler. Ranges nest.
    fn begin_range(&self, _name: &str) {}

    fn end_range(&self) {}

    /// Starts or stops profiling, for profilers that are told to wait for it.
    fn profile(&self, _start: bool) {}
}

impl dyn Device + '_ {
    /// Queues a matrix product.
    pub fn gemm(&self, gemm: &Gemm) -> Result<()> {
        // SAFETY: views lie inside allocations, and `call` asserts their lengths.
        unsafe { self.queue_gemm(&gemm.call()) }
    }

    /// Whether the device can do this product, epilogue included. Nothing is written.
    pub fn supports(&self, gemm: &Gemm) -> Result<bool> {
        // SAFETY: as above.
        unsafe { self.can_queue_gemm(&gemm.call()) }
    }
}

/// A named range on a profiler's time line, which ends when this is dropped.
pub struct Phase<'a>(&'a dyn Device);

impl<'a> Phase<'a> {
    pub fn open(device: &'a dyn Device, name: &str) -> Self {
        device.begin_range(name);
        Phase(device)
    }
}

impl Drop for Phase<'_> {
    fn drop(&mut self) {
        self.0.end_range();
    }
}

/// Captured work, which can be queued again as a whole. It uses the buffers that it was captured with, by their
/// addresses.
pub trait Graph: Send {
    /// # Safety
    /// The buffers are still allocated.
    unsafe fn replay(&self) -> Result<()>;
}
