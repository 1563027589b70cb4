//! A GPU as a device: the driver's calls behind the [`Device`] seam.

use super::cublaslt::CublasLt;
use super::devices;
use super::driver::{Driver, OUT_OF_MEMORY};
use super::library::Ranges;
use super::modules::Modules;
use super::pinned_ring::PinnedRing;
use super::stream::Stream;
use crate::cuda::device::gemm::GemmCall;
use crate::cuda::device::kernel::{Argument, Kernel, Launch};
use crate::cuda::device::memory::DeviceMemory;
use crate::cuda::device::seam::{Device, DeviceProperties, Graph};
use crate::{Error, Result};
use cudarc::driver::sys::{CUgraphExec, CUstreamCaptureMode};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Whether the host waits for every launch, so that an error names the kernel (LOGWRIGHT_SYNC=1). It cannot wait inside
/// a graph.
pub fn sync_launches() -> bool {
    std::env::var("LOGWRIGHT_SYNC").is_ok_and(|value| value == "1")
}

/// Fields are dropped in this order: what uses the stream goes before it.
pub struct Gpu {
    name: String,
    properties: DeviceProperties,
    staging: Mutex<PinnedRing>,
    products: std::result::Result<CublasLt, String>,
    modules: Modules,
    ranges: Option<Ranges>,
    capturing: AtomicBool,
    /// See [`sync_launches`].
    sync_launches: bool,
    stream: Arc<Stream>,
}

impl Gpu {
    /// Opens the GPU with this ordinal and loads the embedded kernels. cuBLASLt may be missing: then products fail, and
    /// only they. The build may lack kernels: then launches fail, and only they.
    ///
    /// # Errors
    /// No driver, no such GPU, one that is too old or taken, a driver too old for the kernels.
    pub fn open(ordinal: usize) -> Result<Self> {
        let driver = Driver::get()?;
        let card = devices::find(driver, ordinal)?;
        let stream = Stream::new(driver, ordinal)?;
        let modules = Modules::load(&stream, card.capability)?;
        let staging = Mutex::new(PinnedRing::new(&stream)?);
        let products = CublasLt::new(&stream, card.capability).map_err(|error| error.to_string());
        let sync_launches = sync_launches();
        let (capturing, ranges) = (AtomicBool::new(false), Ranges::load());
        let (name, multiprocessors) = (card.to_string(), card.processors as usize);
        let properties = DeviceProperties { compute_capability: card.capability, multiprocessors };
        Ok(Gpu { name, properties, staging, products, modules, ranges, capturing, sync_launches, stream })
    }

    /// An error where cuBLASLt is missing.
    pub fn require_products(&self) -> Result<()> {
        self.products().map(|_| ())
    }

    fn products(&self) -> Result<&CublasLt> {
        self.products.as_ref().map_err(Error::failed)
    }

    fn is_capturing(&self) -> bool {
        self.capturing.load(Ordering::Relaxed)
    }

    fn assert_not_capturing(&self) {
        assert!(!self.is_capturing(), "not allowed during a capture");
    }

    /// Waits with LOGWRIGHT_SYNC=1, and names what failed.
    fn wait_if_synchronous(&self, what: impl Fn() -> String) -> Result<()> {
        match self.sync_launches && !self.is_capturing() {
            true => self.stream.synchronize().map_err(|error| Error::failed(format!("{}: {error}", what()))),
            false => Ok(()),
        }
    }

    /// The error of a failed allocation.
    fn out_of_memory(&self, bytes: usize) -> Error {
        let mebibytes = |bytes: u64| bytes >> 20;
        let left = match self.memory() {
            Ok((free, total)) => format!("{} of {} MiB free", mebibytes(free), mebibytes(total)),
            Err(_) => "how much is free is unknown".to_string(),
        };
        let doing = format!("{}: allocating {} MiB, {left}", self.name, mebibytes(bytes as u64));
        self.stream.driver.failure(OUT_OF_MEMORY, doing)
    }
}

impl DeviceMemory for Gpu {
    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.assert_not_capturing();
        self.stream.bind()?;
        let mut address = 0;
        // SAFETY: writes one address. The driver refuses 0 bytes.
        match unsafe { (self.stream.driver.call.cuMemAlloc_v2)(&mut address, bytes.max(1)) } {
            OUT_OF_MEMORY => Err(self.out_of_memory(bytes)),
            code => self.stream.check(code, format_args!("allocating {bytes} bytes")).map(|()| address),
        }
    }

    unsafe fn free(&self, address: u64) {
        // A lost GPU cannot free memory; the driver frees it when the process ends.
        if self.stream.bind().is_ok() {
            // SAFETY: the caller's promise; the driver waits for queued work that uses the memory.
            unsafe { (self.stream.driver.call.cuMemFree_v2)(address) };
        }
    }

    fn memory(&self) -> Result<(u64, u64)> {
        self.stream.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two sizes.
        let code = unsafe { (self.stream.driver.call.cuMemGetInfo_v2)(&mut free, &mut total) };
        self.stream.check(code, "asking for free memory").map(|()| (free as u64, total as u64))
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.assert_not_capturing();
        self.stream.bind()?;
        // SAFETY: the caller's promise.
        unsafe { self.staging.lock().expect("no panic while uploading").upload(to, from) }
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<()> {
        self.assert_not_capturing();
        if to.is_empty() {
            return Ok(());
        }
        self.stream.bind()?;
        let call = self.stream.driver.call.cuMemcpyDtoHAsync_v2;
        // SAFETY: the caller's promise; `to` is borrowed until the copy is over.
        let code = unsafe { call(to.as_mut_ptr().cast(), from, to.len(), self.stream.handle) };
        // Wait after an error too: nothing may write to `to` after this.
        let waited = self.stream.synchronize();
        self.stream.check(code, format_args!("downloading {} bytes", to.len())).and(waited)
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.assert_not_capturing();
        self.stream.bind()?;
        // SAFETY: the caller's promise.
        let code = unsafe { (self.stream.driver.call.cuMemcpyDtoDAsync_v2)(to, from, bytes, self.stream.handle) };
        self.stream.check(code, format_args!("copying {bytes} bytes"))
    }

    unsafe fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.stream.bind()?;
        // SAFETY: the caller's promise.
        let code = unsafe { (self.stream.driver.call.cuMemsetD8Async)(at, 0, bytes, self.stream.handle) };
        self.stream.check(code, format_args!("clearing {bytes} bytes"))
    }
}

impl Device for Gpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn properties(&self) -> DeviceProperties {
        self.properties
    }

    /// An estimate, not measured: cuBLASLt loads its kernels at their first use, and a graph is kept in device memory.
    fn overhead(&self) -> u64 {
        512 << 20
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &[Argument]) -> Result<()> {
        self.stream.bind()?;
        // SAFETY: the caller's promise.
        unsafe { self.modules.launch(kernel, launch, arguments)? };
        self.wait_if_synchronous(|| format!("kernel {}", kernel.name))
    }

    unsafe fn queue_gemm(&self, call: &GemmCall) -> Result<()> {
        self.stream.bind()?;
        // SAFETY: the caller's promise.
        unsafe { self.products()?.run(call, self.is_capturing())? };
        self.wait_if_synchronous(|| call.label())
    }

    unsafe fn can_queue_gemm(&self, call: &GemmCall) -> Result<bool> {
        self.stream.bind()?;
        // SAFETY: the caller's promise.
        unsafe { self.products()?.supports(call, self.is_capturing()) }
    }

    fn synchronize(&self) -> Result<()> {
        self.stream.synchronize()
    }

    fn begin_capture(&self) -> Result<()> {
        self.assert_not_capturing();
        self.stream.bind()?;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is this device's own, and not the default one.
        let code = unsafe { (self.stream.driver.call.cuStreamBeginCapture_v2)(self.stream.handle, mode) };
        self.stream.check(code, "starting a capture")?;
        self.capturing.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn end_capture(&self) -> Result<Box<dyn Graph>> {
        assert!(self.is_capturing(), "begin_capture came before");
        self.capturing.store(false, Ordering::Relaxed);
        self.stream.bind()?;
        let call = &self.stream.driver.call;
        let (mut graph, mut executable) = (null_mut(), null_mut());
        // SAFETY: the stream is capturing; each handle is written before it is used, and the graph is not needed once
        // its executable form exists.
        unsafe {
            self.stream.check((call.cuStreamEndCapture)(self.stream.handle, &mut graph), "ending a capture")?;
            let code = (call.cuGraphInstantiateWithFlags)(&mut executable, graph, 0);
            (call.cuGraphDestroy)(graph);
            self.stream.check(code, "instantiating a graph")?;
        }
        Ok(Box::new(CudaGraph { stream: self.stream.clone(), executable }))
    }

    fn begin_range(&self, name: &str) {
        self.ranges.iter().for_each(|ranges| ranges.push(name));
    }

    fn end_range(&self) {
        self.ranges.iter().for_each(|ranges| ranges.pop());
    }

    fn profile(&self, start: bool) {
        let call = &self.stream.driver.call;
        if self.stream.synchronize().is_ok() {
            // SAFETY: the calls take no arguments; without a profiler they do nothing.
            unsafe { if start { (call.cuProfilerStart)() } else { (call.cuProfilerStop)() } };
        }
    }
}

/// A CUDA graph.
struct CudaGraph {
    stream: Arc<Stream>,
    executable: CUgraphExec,
}

// SAFETY: as for Stream.
unsafe impl Send for CudaGraph {}

impl Graph for CudaGraph {
    unsafe fn replay(&self) -> Result<()> {
        self.stream.bind()?;
        let call = self.stream.driver.call.cuGraphLaunch;
        // SAFETY: the graph lives, and by the caller's promise so do its buffers.
        self.stream.check(unsafe { call(self.executable, self.stream.handle) }, "launching a graph")
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: the driver keeps a graph that still runs until it is over.
        unsafe { (self.stream.driver.call.cuGraphExecDestroy)(self.executable) };
    }
}
