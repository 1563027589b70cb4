//! A device that times each operation on another: for the measured column of the roofline.

use super::device::{Device, Graph, Launch};
use super::gemm::Gemm;
use super::kernels::Kernel;
use crate::Result;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Waits after every kernel and product, so its times hold a launch and a wait each: a few microseconds on a GPU.
pub struct Timed {
    inner: Arc<dyn Device>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// What was seen of the operations of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    pub count: usize,
    pub seconds: f64,
}

impl Timed {
    pub fn new(inner: Arc<dyn Device>) -> Self {
        Timed { inner, seen: Mutex::default() }
    }

    /// What was seen since the last call, by the kernel's name or the product's [`Gemm::label`].
    pub fn take(&self) -> BTreeMap<String, Seen> {
        std::mem::take(&mut self.seen.lock().expect("no panic while counting"))
    }

    fn time(&self, name: String, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.inner.synchronize()?;
        let start = Instant::now();
        work()?;
        self.inner.synchronize()?;
        let mut seen = self.seen.lock().expect("no panic while counting");
        let entry = seen.entry(name).or_default();
        entry.count += 1;
        entry.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }
}

impl Device for Timed {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.inner.allocate(bytes)
    }

    unsafe fn free(&self, address: u64) {
        // SAFETY: the caller's promise.
        unsafe { self.inner.free(address) }
    }

    fn memory(&self) -> Result<(u64, u64)> {
        self.inner.memory()
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.upload(to, from) }
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.download(to, from) }
    }

    unsafe fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.clear(at, bytes) }
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &mut [*mut c_void]) -> Result<()> {
        // SAFETY: the caller's promise.
        self.time(kernel.name.to_string(), || unsafe { self.inner.launch(kernel, launch, arguments) })
    }

    fn gemm(&self, gemm: &Gemm) -> Result<()> {
        self.time(gemm.label(), || self.inner.gemm(gemm))
    }

    fn supports(&self, gemm: &Gemm) -> Result<bool> {
        self.inner.supports(gemm)
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }

    fn begin_recording(&self) -> Result<()> {
        self.inner.begin_recording()
    }

    fn end_recording(&self) -> Result<Box<dyn Graph>> {
        self.inner.end_recording()
    }

    fn begin_range(&self, name: &str) {
        self.inner.begin_range(name)
    }

    fn end_range(&self) {
        self.inner.end_range()
    }
}
