//! The emulator as a device: the kernels of `kernels/`, compiled for the host, on fibres (see
//! `kernels/emulator/README.md`).
//!
//! Matrix products run on the host GEMM and round to bf16 where cuBLASLt rounds. The feature `emulator-check` adds the
//! race and memory checker to every launch.

use super::runtime::LaunchConfig;
use super::{entries, product, runtime};
use crate::cuda::device::gemm::GemmCall;
use crate::cuda::device::kernel::{Argument, Kernel, Launch, with_pointers};
use crate::cuda::device::kernels;
use crate::cuda::device::memory::DeviceMemory;
use crate::cuda::device::op::Op;
use crate::cuda::device::seam::{Device, DeviceProperties, Graph};
use crate::cuda::device::tensor_map::MapLayout;
use crate::{Error, Result};
use half::bf16;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub struct Emulator {
    state: Arc<EmulatorState>,
    /// Of the card that it stands for. It runs the kernels of every card.
    properties: DeviceProperties,
}

/// An A100: the oldest card that the program supports.
const AMPERE: DeviceProperties = DeviceProperties { compute_capability: (8, 0), multiprocessors: 108 };

/// A Hopper card with so few multiprocessors that a block of threads has several pieces of work.
const HOPPER: DeviceProperties = DeviceProperties { compute_capability: (9, 0), multiprocessors: 2 };

struct EmulatorState {
    /// The order in which threads and blocks run: 0 forwards, 1 backwards, others shuffled.
    seed: u32,
    capture: Mutex<Option<Vec<Op>>>,
    memory: Mutex<EmulatedMemory>,
    /// The number of launches that succeed before the device is lost.
    launches_left: AtomicU64,
}

/// The allocations, with a limit that stands for a small device.
struct EmulatedMemory {
    limit: Option<u64>,
    used: u64,
    sizes: HashMap<u64, usize>,
}

impl Emulator {
    /// Runs the threads of a block, and the blocks, in an order that follows from `seed`. Results must not depend on
    /// it.
    pub fn new(seed: u32) -> Self {
        Self::build(seed, None, u64::MAX)
    }

    /// A device with this much memory: allocations beyond it fail as on a full GPU.
    pub fn with_memory(seed: u32, bytes: u64) -> Self {
        Self::build(seed, Some(bytes), u64::MAX)
    }

    /// A device that is lost after so many kernels and products: from then on everything but `free` fails, as after a
    /// fault of a GPU.
    pub fn lost_after(seed: u32, launches: u64) -> Self {
        Self::build(seed, None, launches)
    }

    /// The same device in the place of a Hopper card, for which the engine takes other kernels.
    pub fn like_hopper(self) -> Self {
        Emulator { properties: HOPPER, ..self }
    }

    fn build(seed: u32, limit: Option<u64>, launches: u64) -> Self {
        let memory = EmulatedMemory { limit, used: 0, sizes: HashMap::new() };
        Emulator {
            state: Arc::new(EmulatorState {
                seed,
                capture: Mutex::new(None),
                memory: Mutex::new(memory),
                launches_left: AtomicU64::new(launches),
            }),
            properties: AMPERE,
        }
    }
}

/// Compares the kernel table with the signatures that the C++ compiler sees: names, and number, sizes and kinds of the
/// arguments.
pub fn check_signatures() -> Result<()> {
    for (kernel, entry) in kernels::ALL.iter().zip(entries::all()) {
        if (entry.name(), entry.kinds(), entry.sizes()) != (kernel.name, kernel.kinds, kernel.sizes) {
            return Err(Error::failed(format!(
                "kernel {}: the table says {} {:?}, kernels/*.cu says {} {:?}",
                kernel.name,
                String::from_utf8_lossy(kernel.kinds),
                kernel.sizes,
                String::from_utf8_lossy(entry.kinds()),
                entry.sizes()
            )));
        }
    }
    Ok(())
}

impl EmulatorState {
    fn check_not_lost(&self) -> Result<()> {
        match self.launches_left.load(Ordering::Relaxed) {
            0 => Err(Error::failed("the emulated device is lost, as it was told to be: start the program again")),
            _ => Ok(()),
        }
    }

    fn count_launch(&self) -> Result<()> {
        self.check_not_lost()?;
        if self.launches_left.load(Ordering::Relaxed) != u64::MAX {
            self.launches_left.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn launch(&self, kernel: &Kernel, launch: Launch, arguments: &[Argument]) -> Result<()> {
        self.count_launch()?;
        let entry = entries::all()[kernel.index];
        let run =
            LaunchConfig { grid: launch.grid, block: [launch.block, 1, 1], shared: launch.shared, seed: self.seed };
        let encode = |map: &MapLayout| runtime::tensor_map(map.address, size_of::<bf16>(), &map.sizes, &map.tile);
        // SAFETY: the arguments are those of the table, with its sizes and kinds.
        with_pointers(arguments, encode, |pointers| unsafe { entry.run(run, pointers, kernel.sizes, kernel.kinds) })
    }

    /// # Safety
    /// The operation's buffers are allocated, with the lengths it needs.
    unsafe fn run(&self, work: &Op) -> Result<()> {
        match work {
            Op::Launch { kernel, launch, arguments } => self.launch(kernel, *launch, arguments),
            Op::Gemm(work) => {
                self.count_launch()?;
                // SAFETY: the caller's promise.
                unsafe { product::gemm(work) }
            }
            Op::Clear { at, bytes } => {
                self.check_not_lost()?;
                // SAFETY: the caller's promise.
                unsafe { runtime::clear(*at, *bytes) };
                Ok(())
            }
        }
    }

    /// # Safety
    /// As for `run`, now or at every replay of what is being captured.
    unsafe fn queue(&self, work: Op) -> Result<()> {
        let mut capture = self.capture.lock().expect("no panic while locked");
        match capture.as_mut() {
            Some(list) => list.push(work),
            None => {
                drop(capture);
                // SAFETY: the caller's promise.
                unsafe { self.run(&work)? };
            }
        }
        Ok(())
    }

    /// Only kernels, products and clears are allowed during a capture.
    fn check_immediate(&self) -> Result<()> {
        assert!(self.capture.lock().expect("no panic while locked").is_none(), "not allowed during a capture");
        self.check_not_lost()
    }
}

impl EmulatedMemory {
    fn allocate(&mut self, bytes: usize) -> Result<u64> {
        let free = self.limit.map_or(u64::MAX, |limit| limit - self.used);
        if bytes as u64 > free {
            let total = self.limit.unwrap_or(u64::MAX);
            return Err(Error::failed(format!(
                "out of memory on the emulator: {bytes} bytes wanted, {free} of {total} free"
            )));
        }
        let address = runtime::allocate(bytes);
        let address =
            address.ok_or_else(|| Error::failed(format!("out of memory: the system has no {bytes} bytes left")))?;
        self.used += bytes as u64;
        self.sizes.insert(address, bytes);
        Ok(address)
    }

    fn forget(&mut self, address: u64) {
        let bytes = self.sizes.remove(&address).expect("what is freed was allocated by this device");
        self.used -= bytes as u64;
    }
}

impl DeviceMemory for Emulator {
    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.state.check_immediate()?;
        self.state.memory.lock().expect("no panic while allocating").allocate(bytes)
    }

    unsafe fn free(&self, address: u64) {
        self.state.memory.lock().expect("no panic while allocating").forget(address);
        // SAFETY: the caller's promise.
        unsafe { runtime::free(address) }
    }

    fn memory(&self) -> Result<(u64, u64)> {
        self.state.check_not_lost()?;
        let memory = self.state.memory.lock().expect("no panic while allocating");
        let available = || crate::cpu::memory::available().unwrap_or(u64::MAX);
        Ok(memory.limit.map_or_else(|| (available(), available()), |limit| (limit - memory.used, limit)))
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.state.check_immediate()?;
        // SAFETY: the caller's promise.
        unsafe { runtime::upload(to, from) };
        Ok(())
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<()> {
        self.state.check_immediate()?;
        // SAFETY: the caller's promise.
        unsafe { runtime::download(to, from) };
        Ok(())
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        let mut between = vec![0; bytes];
        // SAFETY: the caller's promise.
        unsafe { self.download(&mut between, from).and_then(|()| self.upload(to, &between)) }
    }

    unsafe fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.state.queue(Op::Clear { at, bytes }) }
    }
}

impl Device for Emulator {
    fn name(&self) -> String {
        "emulator".to_string()
    }

    fn properties(&self) -> DeviceProperties {
        self.properties
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &[Argument]) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.state.queue(Op::launch(kernel, launch, arguments)) }
    }

    unsafe fn queue_gemm(&self, call: &GemmCall) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.state.queue(Op::Gemm(*call)) }
    }

    fn synchronize(&self) -> Result<()> {
        self.state.check_not_lost()
    }

    fn begin_capture(&self) -> Result<()> {
        self.state.check_immediate()?;
        *self.state.capture.lock().expect("no panic while locked") = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&self) -> Result<Box<dyn Graph>> {
        let work = self.state.capture.lock().expect("no panic while locked").take();
        let work = work.expect("begin_capture came before");
        Ok(Box::new(EmulatedGraph { state: self.state.clone(), work }))
    }
}

struct EmulatedGraph {
    state: Arc<EmulatorState>,
    work: Vec<Op>,
}

impl Graph for EmulatedGraph {
    unsafe fn replay(&self) -> Result<()> {
        // SAFETY: the caller's promise.
        self.work.iter().try_for_each(|work| unsafe { self.state.run(work) })
    }
}
