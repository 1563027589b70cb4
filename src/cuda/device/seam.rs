//! The seam between the CUDA engine's drivers and what runs their kernels: a GPU, or the emulator.

use super::gemm::Gemm;
use super::kernels::Kernel;
use crate::Result;
use bytemuck::Pod;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// Op is queued in order on one stream; only `download` and `synchronize` wait for it.
pub trait Device: Send + Sync {
    /// What the device is called, for messages.
    fn name(&self) -> String;

    /// Device memory of at least `bytes`, aligned to 256 bytes, contents undefined (NaN patterns on the emulator).
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// # Safety
    /// `address` came from `allocate` of this device and is not used again.
    unsafe fn free(&self, address: u64);

    /// Bytes of device memory: free, total.
    fn memory(&self) -> Result<(u64, u64)>;

    /// Bytes that code, products and recorded work will take of it, beside allocations.
    fn overhead(&self) -> u64 {
        0
    }

    /// Queues a copy to the device. `from` may be reused at once.
    ///
    /// # Safety
    /// `to` names `from.len()` bytes of an allocation of this device.
    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()>;

    /// Copies from the device, after all queued work.
    ///
    /// # Safety
    /// `from` names `to.len()` bytes of an allocation of this device.
    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<()>;

    /// Queues a copy within the device. Not while recording.
    ///
    /// # Safety
    /// `to` and `from` name `bytes` bytes of allocations of this device each, apart from one another.
    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()>;

    /// Queues a fill with zero bytes.
    ///
    /// # Safety
    /// `at` names `bytes` bytes of an allocation of this device.
    unsafe fn clear(&self, at: u64, bytes: usize) -> Result<()>;

    /// Queues a kernel. `arguments` point to its arguments, as for `cuLaunchKernel`.
    ///
    /// # Safety
    /// `arguments` match the kernel's signature, and no index the kernel forms from them leaves its buffers.
    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &mut [*mut c_void]) -> Result<()>;

    /// Queues a matrix product.
    fn gemm(&self, gemm: &Gemm) -> Result<()>;

    /// Whether `gemm` can do this product; where it cannot do an epilogue, the product and a kernel behind it can. Plans it
    /// on the way, without writing to its buffers; an algorithm can be chosen by measurement outside a recording only.
    fn supports(&self, _gemm: &Gemm) -> Result<bool> {
        Ok(true)
    }

    /// Waits for all queued work; reports what went wrong in it.
    fn synchronize(&self) -> Result<()>;

    /// From here to `end_recording`, kernels, products and clears are recorded instead of run. No allocation, upload or
    /// download meanwhile.
    fn begin_recording(&self) -> Result<()>;

    fn end_recording(&self) -> Result<Box<dyn Graph>>;

    /// Opens a named range for a profiler; ranges nest.
    fn begin_range(&self, _name: &str) {}

    fn end_range(&self) {}

    /// Starts or stops the profiler's capture, for profilers told to wait for it.
    fn profile(&self, _start: bool) {}
}

/// A named range of a profiler's time line, until it is dropped.
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

/// Recorded work, to be queued again as a whole. It reads and writes the buffers it was recorded with.
pub trait Graph: Send {
    fn replay(&self) -> Result<()>;
}

/// Grid, block and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    pub grid: [u32; 3],
    pub block: u32,
    /// Bytes.
    pub shared: usize,
}

impl Launch {
    pub fn new(grid: [usize; 3], block: usize) -> Self {
        let grid = grid.map(|n| u32::try_from(n).expect("a grid dimension fits 32 bits"));
        Launch { grid, block: block as u32, shared: 0 }
    }

    /// A one-dimensional grid with a block for every `per_block` items.
    pub fn cover(items: usize, per_block: usize, block: usize) -> Self {
        Self::new([items.div_ceil(per_block), 1, 1], block)
    }

    pub fn shared(self, bytes: usize) -> Self {
        Launch { shared: bytes, ..self }
    }
}

/// A device address as kernels receive it; 0 is the null pointer.
#[repr(transparent)]
pub struct Ptr<T> {
    pub address: u64,
    of: PhantomData<T>,
}

impl<T> Ptr<T> {
    pub const NULL: Self = Ptr { address: 0, of: PhantomData };
}

/// A typed piece of device memory: what drivers pass around. Its owner, a [`Buffer`], outlives it by construction of the
/// engine: buffers are allocated once and live as long as the engine.
pub struct Span<T> {
    address: u64,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Span<T> {
    /// In elements.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn ptr(&self) -> Ptr<T> {
        Ptr { address: self.address, of: PhantomData }
    }

    pub fn slice(&self, range: Range<usize>) -> Span<T> {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        Span { address: self.address + (range.start * size_of::<T>()) as u64, len: range.len(), of: PhantomData }
    }

    /// The same elements elsewhere: `to` says where an address has gone.
    pub(super) fn moved(&self, to: &dyn Fn(u64) -> u64) -> Span<T> {
        Span { address: to(self.address), ..*self }
    }

    /// The first `len` elements.
    pub fn first(&self, len: usize) -> Span<T> {
        self.slice(0..len)
    }
}

/// The null pointer where there is nothing.
pub fn optional<T>(span: Option<Span<T>>) -> Ptr<T> {
    span.map_or(Ptr::NULL, |span| span.ptr())
}

impl<T> Span<T> {
    /// A span of nothing: stands in where buffers are only counted.
    pub(super) fn dangling(len: usize) -> Span<T> {
        Span { address: 0, len, of: PhantomData }
    }
}

impl Span<u8> {
    /// The same bytes as elements of another type; the span must be aligned for it and hold a whole number of them.
    pub fn cast<T: Pod>(&self) -> Span<T> {
        assert!(self.address.is_multiple_of(align_of::<T>() as u64) && self.len.is_multiple_of(size_of::<T>()));
        Span { address: self.address, len: self.len / size_of::<T>(), of: PhantomData }
    }
}

impl<T: Pod> Span<T> {
    pub fn upload(&self, device: &dyn Device, from: &[T]) -> Result<()> {
        assert_eq!(self.len, from.len());
        // SAFETY: a span lies inside an allocation, and is as long as `from`.
        unsafe { device.upload(self.address, bytemuck::cast_slice(from)) }
    }

    pub fn download(&self, device: &dyn Device, to: &mut [T]) -> Result<()> {
        assert_eq!(self.len, to.len());
        // SAFETY: a span lies inside an allocation, and is as long as `to`.
        unsafe { device.download(bytemuck::cast_slice_mut(to), self.address) }
    }

    pub fn clear(&self, device: &dyn Device) -> Result<()> {
        // SAFETY: a span lies inside an allocation.
        unsafe { device.clear(self.address, self.len * size_of::<T>()) }
    }
}

/// Owned device memory.
pub struct Buffer<T> {
    span: Span<T>,
    device: Arc<dyn Device>,
}

impl<T> Buffer<T> {
    pub fn new(device: &Arc<dyn Device>, len: usize) -> Result<Self> {
        let address = device.allocate(len * size_of::<T>())?;
        Ok(Buffer { span: Span { address, len, of: PhantomData }, device: device.clone() })
    }

    pub fn span(&self) -> Span<T> {
        self.span
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: the address came from `allocate`; whoever holds spans of this buffer goes with it.
        unsafe { self.device.free(self.span.address) }
    }
}

macro_rules! copy {
    ($($name:ident),*) => { $(
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<T> Copy for $name<T> {}
    )* };
}
copy!(Ptr, Span);
