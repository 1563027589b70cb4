//! Device memory: its owners, and the views they lend.
//!
//! A [`Buffer`] owns an allocation and frees it. A [`View`] is what a kernel reads, a [`ViewMut`] what it writes, or reads
//! and writes. Both borrow the buffer, so in safe code neither outlives it; and they are two types, so an input does not
//! pass for an output. Only this module's parent, [`crate::cuda::device`], sees addresses.
//!
//! A `ViewMut` comes from a *shared* borrow and is `Copy`, like a `&Cell<T>`: no Rust reference ever points into device
//! memory, and everything that touches it is queued on one stream in order, so two views of the same elements are no data
//! race. A kernel that updates in place gets a `ViewMut` and, where it also takes an input, the [`ViewMut::as_view`] of it.
//!
//! # What does not compile
//!
//! A view that outlives its buffer:
//! ```compile_fail,E0505
//! # use logwright::cuda::device::memory::{Buffer, View};
//! fn first_four(buffer: Buffer<f32>) {
//!     let view: View<f32> = buffer.view().first(4);
//!     drop(buffer);
//!     let _ = view.len();
//! }
//! ```
//! Its good twin:
//! ```
//! # use logwright::cuda::device::memory::{Buffer, View};
//! fn first_four(buffer: Buffer<f32>) {
//!     let view: View<f32> = buffer.view().first(4);
//!     let _ = view.len();
//!     drop(buffer);
//! }
//! ```
//!
//! An input where an output belongs:
//! ```compile_fail,E0308
//! # use logwright::{Result, cuda::{device::{memory::Buffer, seam::Device}, ops::gelu}};
//! # use half::bf16;
//! fn gelu(device: &dyn Device, y: &Buffer<bf16>, x: &Buffer<bf16>) -> Result<()> {
//!     gelu::Forward { y: y.view(), x: x.view() }.run(device)
//! }
//! ```
//! An output where an input belongs:
//! ```compile_fail,E0308
//! # use logwright::{Result, cuda::{device::{memory::Buffer, seam::Device}, ops::gelu}};
//! # use half::bf16;
//! fn gelu(device: &dyn Device, y: &Buffer<bf16>, x: &Buffer<bf16>) -> Result<()> {
//!     gelu::Forward { y: y.view_mut(), x: x.view_mut() }.run(device)
//! }
//! ```
//! The good twin of both:
//! ```
//! # use logwright::{Result, cuda::{device::{memory::Buffer, seam::Device}, ops::gelu}};
//! # use half::bf16;
//! fn gelu(device: &dyn Device, y: &Buffer<bf16>, x: &Buffer<bf16>) -> Result<()> {
//!     gelu::Forward { y: y.view_mut(), x: x.view() }.run(device)
//! }
//! ```
//!
//! Two arguments of a kernel, swapped:
//! ```compile_fail,E0308
//! # use logwright::{Result, cuda::device::{kernel::Launch, kernels::GeluForward, memory::Buffer, seam::Device}};
//! # use half::bf16;
//! fn launch(device: &dyn Device, y: &Buffer<bf16>, x: &Buffer<bf16>) -> Result<()> {
//!     // SAFETY: both buffers hold a pack of 8 elements.
//!     unsafe { GeluForward { y: x.view(), x: y.view_mut(), items: 1 }.launch(device, Launch::new([1, 1, 1], 256)) }
//! }
//! ```
//! Its good twin:
//! ```
//! # use logwright::{Result, cuda::device::{kernel::Launch, kernels::GeluForward, memory::Buffer, seam::Device}};
//! # use half::bf16;
//! fn launch(device: &dyn Device, y: &Buffer<bf16>, x: &Buffer<bf16>) -> Result<()> {
//!     // SAFETY: both buffers hold a pack of 8 elements.
//!     unsafe { GeluForward { y: y.view_mut(), x: x.view(), items: 1 }.launch(device, Launch::new([1, 1, 1], 256)) }
//! }
//! ```

use crate::Result;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// The memory of a device. Copies and fills are queued in order on the device's one stream; only `download` waits for it.
pub trait DeviceMemory: Send + Sync {
    /// Device memory of at least `bytes`, aligned to 256 bytes, contents undefined (NaN patterns on the emulator).
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// # Safety
    /// `address` came from `allocate` of this device and is not used again.
    unsafe fn free(&self, address: u64);

    /// Bytes of device memory: free, total.
    fn memory(&self) -> Result<(u64, u64)>;

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
}

/// Owned device memory, in elements of `T`; freed on drop.
pub struct Buffer<T> {
    address: u64,
    len: usize,
    /// None: the buffer is only counted, and holds nothing.
    memory: Option<Arc<dyn DeviceMemory>>,
    of: PhantomData<T>,
}

impl<T> Buffer<T> {
    pub fn new(memory: Arc<dyn DeviceMemory>, len: usize) -> Result<Self> {
        let address = memory.allocate(len * size_of::<T>())?;
        Ok(Buffer { address, len, memory: Some(memory), of: PhantomData })
    }

    /// A buffer that holds nothing: it stands in where memory is only counted. It lends no views.
    pub(super) fn counted(len: usize) -> Self {
        Buffer { address: 0, len, memory: None, of: PhantomData }
    }

    /// In elements.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole buffer, to be read.
    pub fn view(&self) -> View<'_, T> {
        self.view_mut().as_view()
    }

    /// The whole buffer, to be written.
    pub fn view_mut(&self) -> ViewMut<'_, T> {
        let memory = self.memory.as_deref().expect("a counted buffer lends no views");
        ViewMut { address: self.address, len: self.len, memory, of: PhantomData }
    }
}

impl Buffer<u8> {
    pub(super) fn address(&self) -> u64 {
        self.address
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            // SAFETY: the address came from `allocate`. Views borrow this buffer, so none is left; whoever records work on
            // it owns it together with the recording (see `GraphCache::run`).
            unsafe { memory.free(self.address) }
        }
    }
}

/// Elements of a buffer that are read.
pub struct View<'a, T> {
    address: u64,
    len: usize,
    memory: &'a dyn DeviceMemory,
    of: PhantomData<T>,
}

/// Elements of a buffer that are written, or read and written.
pub struct ViewMut<'a, T> {
    address: u64,
    len: usize,
    memory: &'a dyn DeviceMemory,
    of: PhantomData<T>,
}

macro_rules! views {
    ($($name:ident),*) => { $(
        impl<T> Clone for $name<'_, T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<'_, T> {}

        impl<T> $name<'_, T> {
            /// In elements.
            pub fn len(&self) -> usize {
                self.len
            }

            pub fn is_empty(&self) -> bool {
                self.len == 0
            }

            /// Whether the address is a multiple of `bytes`.
            pub fn is_aligned_to(&self, bytes: u64) -> bool {
                self.address.is_multiple_of(bytes)
            }

            pub fn slice(self, range: Range<usize>) -> Self {
                assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
                Self { address: self.address + (range.start * size_of::<T>()) as u64, len: range.len(), ..self }
            }

            /// The first `len` elements.
            pub fn first(self, len: usize) -> Self {
                self.slice(0..len)
            }

            pub(super) fn address(&self) -> u64 {
                self.address
            }
        }

        impl<'a> $name<'a, u8> {
            /// The same bytes as elements of another type; they must be aligned for it, and a whole number of them.
            pub fn cast<T: Pod>(self) -> $name<'a, T> {
                let $name { address, len, memory, .. } = self;
                assert!(address.is_multiple_of(align_of::<T>() as u64) && len.is_multiple_of(size_of::<T>()));
                $name { address, len: len / size_of::<T>(), memory, of: PhantomData }
            }
        }
    )* };
}
views!(View, ViewMut);

impl<'a, T> View<'a, T> {
    /// The same elements as the argument of a kernel that may write them.
    ///
    /// # Safety
    /// With its other arguments, the kernel writes nothing through it.
    pub(in crate::cuda) unsafe fn assume_unwritten(self) -> ViewMut<'a, T> {
        let View { address, len, memory, of } = self;
        ViewMut { address, len, memory, of }
    }
}

impl<T: Pod> View<'_, T> {
    /// Copies the elements to the host, after all queued work.
    pub fn download(&self, to: &mut [T]) -> Result<()> {
        assert_eq!(self.len, to.len());
        // SAFETY: a view lies inside an allocation of its device, and is as long as `to`.
        unsafe { self.memory.download(bytemuck::cast_slice_mut(to), self.address) }
    }
}

impl<'a, T> ViewMut<'a, T> {
    /// The same elements, to be read.
    pub fn as_view(self) -> View<'a, T> {
        let ViewMut { address, len, memory, of } = self;
        View { address, len, memory, of }
    }
}

impl<T: Pod> ViewMut<'_, T> {
    /// Queues a copy from the host.
    pub fn upload(&self, from: &[T]) -> Result<()> {
        assert_eq!(self.len, from.len());
        // SAFETY: a view lies inside an allocation of its device, and is as long as `from`.
        unsafe { self.memory.upload(self.address, bytemuck::cast_slice(from)) }
    }

    /// Queues a fill with zeros.
    pub fn clear(&self) -> Result<()> {
        // SAFETY: a view lies inside an allocation of its device.
        unsafe { self.memory.clear(self.address, self.len * size_of::<T>()) }
    }

    /// Queues a copy from other elements of the same device, none of which lie in this view.
    pub fn copy_from(&self, from: View<T>) -> Result<()> {
        assert_eq!(self.len, from.len);
        let bytes = self.len * size_of::<T>();
        assert!(self.address.abs_diff(from.address) >= bytes as u64, "the elements overlap");
        // SAFETY: both views lie inside allocations of the device, are equally long, and lie apart.
        unsafe { self.memory.copy(self.address, from.address, bytes) }
    }
}
