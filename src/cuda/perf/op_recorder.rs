//! A device that records which operations run on another device, and how long that device is idle. Benchmarks use it to
//! get the operations of a step, and the time that the host costs.

use crate::Result;
use crate::cuda::device::gemm::GemmCall;
use crate::cuda::device::kernel::{Argument, Kernel, Launch};
use crate::cuda::device::memory::DeviceMemory;
use crate::cuda::device::op::Op;
use crate::cuda::device::seam::{Device, DeviceProperties, Graph};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Passes everything on to the inner device.
pub struct OpRecorder {
    inner: Arc<dyn Device>,
    seen: Mutex<Vec<Op>>,
    allocations: Mutex<BTreeMap<u64, usize>>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// When the host learned that all work is done, unless it has queued work since.
    since: Option<Instant>,
    total: Duration,
}

impl OpRecorder {
    pub fn new(inner: Arc<dyn Device>) -> Self {
        OpRecorder { inner, seen: Mutex::default(), allocations: Mutex::default(), idle: Mutex::default() }
    }

    /// The kernels and products since the last call, in order.
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut *self.seen.lock().expect("no panic while recording"))
    }

    /// The allocations: address -> bytes.
    pub fn allocations(&self) -> BTreeMap<u64, usize> {
        self.allocated().clone()
    }

    /// The time since the last call in which nothing was queued, as the host sees it: from the end of every wait to the
    /// next piece of work. There is one stream, so it is empty then.
    pub fn take_idle(&self) -> Duration {
        std::mem::take(&mut self.lock_idle().total)
    }

    fn lock_idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().expect("no panic while recording")
    }

    fn waited(&self) {
        self.lock_idle().since = Some(Instant::now());
    }

    fn queues(&self) {
        let mut idle = self.lock_idle();
        if let Some(since) = idle.since.take() {
            idle.total += since.elapsed();
        }
    }

    fn allocated(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.allocations.lock().expect("no panic while recording")
    }

    fn note(&self, work: Op) {
        self.seen.lock().expect("no panic while recording").push(work);
    }
}

impl DeviceMemory for OpRecorder {
    fn allocate(&self, bytes: usize) -> Result<u64> {
        let address = self.inner.allocate(bytes)?;
        self.allocated().insert(address, bytes);
        Ok(address)
    }

    unsafe fn free(&self, address: u64) {
        self.allocated().remove(&address);
        // SAFETY: the caller's promise.
        unsafe { self.inner.free(address) }
    }

    fn memory(&self) -> Result<(u64, u64)> {
        self.inner.memory()
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.queues();
        // SAFETY: the caller's promise.
        unsafe { self.inner.upload(to, from) }
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<()> {
        self.queues();
        // SAFETY: the caller's promise.
        let done = unsafe { self.inner.download(to, from) };
        self.waited();
        done
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.queues();
        // SAFETY: the caller's promise.
        unsafe { self.inner.copy(to, from, bytes) }
    }

    unsafe fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        self.queues();
        // SAFETY: the caller's promise.
        unsafe { self.inner.clear(at, bytes) }
    }
}

impl Device for OpRecorder {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn properties(&self) -> DeviceProperties {
        self.inner.properties()
    }

    fn overhead(&self) -> u64 {
        self.inner.overhead()
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &[Argument]) -> Result<()> {
        self.queues();
        self.note(Op::launch(kernel, launch, arguments));
        // SAFETY: the caller's promise.
        unsafe { self.inner.launch(kernel, launch, arguments) }
    }

    unsafe fn queue_gemm(&self, call: &GemmCall) -> Result<()> {
        self.queues();
        self.note(Op::Gemm(*call));
        // SAFETY: the caller's promise.
        unsafe { self.inner.queue_gemm(call) }
    }

    unsafe fn can_queue_gemm(&self, call: &GemmCall) -> Result<bool> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.can_queue_gemm(call) }
    }

    fn synchronize(&self) -> Result<()> {
        let done = self.inner.synchronize();
        self.waited();
        done
    }

    fn begin_capture(&self) -> Result<()> {
        self.inner.begin_capture()
    }

    fn end_capture(&self) -> Result<Box<dyn Graph>> {
        self.inner.end_capture()
    }

    fn begin_range(&self, name: &str) {
        self.inner.begin_range(name)
    }

    fn end_range(&self) {
        self.inner.end_range()
    }

    fn profile(&self, start: bool) {
        self.inner.profile(start)
    }
}
