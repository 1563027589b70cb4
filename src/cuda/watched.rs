//! A device that notes what runs on another: how a bench gets at the very operations of a step.

use super::device::{Device, Graph, Launch};
use super::gemm::Gemm;
use super::kernels::Kernel;
use super::work::Work;
use crate::Result;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard};

/// Passes everything on.
pub struct Watched {
    inner: Arc<dyn Device>,
    seen: Mutex<Vec<Work>>,
    allocations: Mutex<BTreeMap<u64, usize>>,
}

impl Watched {
    pub fn new(inner: Arc<dyn Device>) -> Self {
        Watched { inner, seen: Mutex::default(), allocations: Mutex::default() }
    }

    /// Kernels and products since the last call, in order.
    pub fn take(&self) -> Vec<Work> {
        std::mem::take(&mut *self.seen.lock().expect("no panic while noting"))
    }

    /// What is allocated: address -> bytes.
    pub fn allocations(&self) -> BTreeMap<u64, usize> {
        self.allocated().clone()
    }

    fn allocated(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.allocations.lock().expect("no panic while noting")
    }

    fn note(&self, work: Work) {
        self.seen.lock().expect("no panic while noting").push(work);
    }
}

impl Device for Watched {
    fn name(&self) -> String {
        self.inner.name()
    }

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

    fn overhead(&self) -> u64 {
        self.inner.overhead()
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.upload(to, from) }
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.download(to, from) }
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.copy(to, from, bytes) }
    }

    unsafe fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.inner.clear(at, bytes) }
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &mut [*mut c_void]) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            self.note(Work::launch(kernel, launch, arguments));
            self.inner.launch(kernel, launch, arguments)
        }
    }

    fn gemm(&self, gemm: &Gemm) -> Result<()> {
        self.note(Work::Gemm(*gemm));
        self.inner.gemm(gemm)
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

    fn profile(&self, start: bool) {
        self.inner.profile(start)
    }
}
