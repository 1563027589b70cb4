//! Launching kernels that are not in the table: their memory, their arguments, their tensor maps.

use logwright::Result;
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::runtime::{self, Entry, LaunchConfig};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

/// Device memory whose address the test knows, to pass it to kernels.
pub struct Allocation<T> {
    device: Arc<dyn Device>,
    pub address: u64,
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
    bytes: Vec<u8>,
    kind: u8,
}

pub fn pass<T: bytemuck::Pod>(value: T, kind: u8) -> Passed {
    Passed { bytes: bytemuck::bytes_of(&value).to_vec(), kind }
}

pub fn launch(entry: &Entry, run: LaunchConfig, mut passed: Vec<Passed>) -> Result<()> {
    let sizes: Vec<u8> = passed.iter().map(|argument| argument.bytes.len() as u8).collect();
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

/// A map of a tensor of these sizes without gaps, the dimension that runs fastest first, with the 128-byte swizzle.
pub fn tensor_map<T: bytemuck::Pod>(of: &Allocation<T>, sizes: &[u64], tile: &[u32]) -> Passed {
    encode(of.address, size_of::<T>(), sizes, tile).unwrap()
}

pub fn encode(data: u64, element_bytes: usize, sizes: &[u64], tile: &[u32]) -> Result<Passed> {
    Ok(pass(runtime::tensor_map(data, element_bytes, sizes, tile)?.0, b'm'))
}
