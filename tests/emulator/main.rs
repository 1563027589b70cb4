//! The emulator's own tests: what it must compute, what it must notice, and whom it must not blame.

mod bugs;
mod device;
mod features;

use logwright::Result;
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::device::Emulator;
use logwright::cuda::emulator::runtime::{Entry, LaunchConfig};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

/// Order of threads and blocks: forwards, backwards, shuffled.
pub const SEEDS: std::ops::Range<u32> = 0..8;

pub fn emulator() -> Arc<dyn Device> {
    Arc::new(Emulator::new(0))
}

/// Device memory whose address the test knows, to pass it to kernels that are not in the table.
pub struct Allocation<T> {
    device: Arc<dyn Device>,
    address: u64,
    len: usize,
    of: PhantomData<T>,
}

impl<T: bytemuck::Pod> Allocation<T> {
    /// Never written.
    pub fn new(device: &Arc<dyn Device>, len: usize) -> Self {
        let address = device.allocate(len * size_of::<T>()).unwrap();
        Allocation { device: device.clone(), address, len, of: PhantomData }
    }

    pub fn of(device: &Arc<dyn Device>, values: &[T]) -> Self {
        let allocation = Self::new(device, values.len());
        // SAFETY: allocated with the length of the values.
        unsafe { device.upload(allocation.address, bytemuck::cast_slice(values)).unwrap() };
        allocation
    }

    pub fn read(&self) -> Vec<T> {
        let mut values = vec![T::zeroed(); self.len];
        // SAFETY: allocated with this length.
        unsafe { self.device.download(bytemuck::cast_slice_mut(&mut values), self.address).unwrap() };
        values
    }
}

impl<T> Drop for Allocation<T> {
    fn drop(&mut self) {
        // SAFETY: the address came from `allocate` of this device, and goes with this value.
        unsafe { self.device.free(self.address) }
    }
}

/// An argument with its kind, as the kernel table would pass it.
pub struct Passed {
    bytes: [u8; 8],
    size: u8,
    kind: u8,
}

pub fn pass<T: Copy>(value: T, kind: u8) -> Passed {
    let mut bytes = [0; 8];
    assert!(size_of::<T>() <= bytes.len());
    // SAFETY: `bytes` has room, and any value of these types may be copied as bytes.
    unsafe { std::ptr::copy_nonoverlapping((&raw const value).cast(), bytes.as_mut_ptr(), size_of::<T>()) };
    Passed { bytes, size: size_of::<T>() as u8, kind }
}

pub fn floats(allocation: &Allocation<f32>) -> Passed {
    pass(allocation.address, b'F')
}

pub fn ints(allocation: &Allocation<i32>) -> Passed {
    pass(allocation.address, b'I')
}

pub fn launch(entry: &Entry, run: LaunchConfig, mut passed: Vec<Passed>) -> Result<()> {
    let sizes: Vec<u8> = passed.iter().map(|argument| argument.size).collect();
    let kinds: Vec<u8> = passed.iter().map(|argument| argument.kind).collect();
    let mut pointers: Vec<*mut c_void> =
        passed.iter_mut().map(|argument| argument.bytes.as_mut_ptr().cast::<c_void>()).collect();
    // SAFETY: each argument points to its bytes, of the size that is passed along.
    unsafe { entry.run(run, &mut pointers, &sizes, &kinds) }
}

/// The entries of kernels that KERNEL_EXPORT has exported, by name.
macro_rules! entries {
    ($($prefix:literal $name:ident)*) => { {
        use logwright::cuda::emulator::runtime::Entry;
        unsafe extern "C" {
            $(#[link_name = concat!("cuemu_desc_", $prefix, stringify!($name))] static $name: Entry;)*
        }
        // SAFETY: KERNEL_EXPORT defines each as a constant with the layout of `Entry`.
        let entries: [&'static Entry; _] = unsafe { [$(&*(&raw const $name)),*] };
        entries
    } };
}
pub(crate) use entries;
