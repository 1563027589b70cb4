//! The C++ runtime of `kernels/emulator`, as Rust calls it.

use crate::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_void};

/// A kernel's entry, which KERNEL_EXPORT defines: `cuemu::KernelDesc`.
#[repr(C)]
pub struct Entry {
    name: *const c_char,
    invoke: usize,
    arguments: c_int,
    sizes: *const u8,
    kinds: *const c_char,
}

// SAFETY: entries are constants of the C++ side.
unsafe impl Sync for Entry {}

/// `cuemu::Request`.
#[repr(C)]
struct Request<'a> {
    kernel: &'a Entry,
    grid: [u32; 3],
    block: [u32; 3],
    shared: usize,
    arguments: *mut *mut c_void,
    sizes: *const u8,
    kinds: *const u8,
    count: c_int,
    seed: u32,
    workers: c_int,
}

/// `CUtensorMap`.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct TensorMap(pub [u64; 16]);

/// `cuemu::TensorMapRequest`.
#[repr(C)]
struct TensorMapRequest {
    data: u64,
    sizes: [u64; 5],
    strides: [u64; 5],
    tile: [u32; 5],
    rank: u32,
    element_bytes: u32,
    swizzle_bytes: u32,
}

unsafe extern "C" {
    fn cuemu_tensor_map(
        map: *mut TensorMap,
        request: *const TensorMapRequest,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    fn cuemu_launch(request: *const Request, message: *mut c_char, room: usize) -> c_int;
    fn cuemu_malloc(bytes: usize) -> *mut c_void;
    fn cuemu_free(at: *mut c_void);
    fn cuemu_upload(to: *mut c_void, from: *const c_void, bytes: usize);
    fn cuemu_download(to: *mut c_void, from: *const c_void, bytes: usize);
    fn cuemu_memset(at: *mut c_void, value: c_int, bytes: usize);
    fn cuemu_mark_written(at: *mut c_void, bytes: usize);
    fn cuemu_first_unwritten(at: *const c_void, bytes: usize) -> usize;
}

/// A launch configuration: the shape of grid and blocks, the bytes of dynamic shared memory, and the seed of the order
/// in which threads and blocks run.
#[derive(Clone, Copy)]
pub struct LaunchConfig {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: usize,
    pub seed: u32,
}

impl Entry {
    pub fn name(&self) -> &str {
        // SAFETY: the C++ side fills entries with static strings.
        unsafe { CStr::from_ptr(self.name) }.to_str().expect("identifiers are ASCII")
    }

    /// Bytes of each argument.
    pub fn sizes(&self) -> &[u8] {
        // SAFETY: the C++ side keeps one byte an argument.
        unsafe { std::slice::from_raw_parts(self.sizes, self.arguments as usize) }
    }

    /// Kind of each argument (see [`crate::cuda::device::kernel::Kernel`]).
    pub fn kinds(&self) -> &[u8] {
        // SAFETY: the C++ side fills entries with static strings.
        unsafe { CStr::from_ptr(self.kinds) }.to_bytes()
    }

    /// Runs the kernel to its end. An error names the kernel, and where there is one the block, the thread and the
    /// line.
    ///
    /// # Safety
    /// Each argument points to a value of the size and kind stated beside it.
    pub unsafe fn run(
        &self,
        run: LaunchConfig,
        arguments: &mut [*mut c_void],
        sizes: &[u8],
        kinds: &[u8],
    ) -> Result<()> {
        assert_eq!((sizes.len(), kinds.len()), (arguments.len(), arguments.len()));
        let request = Request {
            kernel: self,
            grid: run.grid,
            block: run.block,
            shared: run.shared,
            arguments: arguments.as_mut_ptr(),
            sizes: sizes.as_ptr(),
            kinds: kinds.as_ptr(),
            count: arguments.len() as c_int,
            seed: run.seed,
            workers: 0,
        };
        let mut message = [0u8; 8192];
        // SAFETY: lists are as long as stated; the runtime compares them with the signature before it calls the kernel.
        match unsafe { cuemu_launch(&request, message.as_mut_ptr().cast(), message.len()) } {
            0 => Ok(()),
            _ => Err(Error::failed(CStr::from_bytes_until_nul(&message).expect("it ends").to_string_lossy())),
        }
    }
}

/// The map of a tensor without gaps, in boxes of `tile` with the 128-byte swizzle; sizes begin with the dimension that runs
/// fastest. Refused is what the driver's `cuTensorMapEncodeTiled` refuses.
pub fn tensor_map(data: u64, element_bytes: usize, sizes: &[u64], tile: &[u32]) -> Result<TensorMap> {
    let (rank, element_bytes) = (sizes.len() as u32, element_bytes as u32);
    let mut request = TensorMapRequest {
        data,
        sizes: [0; 5],
        strides: [0; 5],
        tile: [0; 5],
        rank,
        element_bytes,
        swizzle_bytes: 128,
    };
    request.sizes.iter_mut().zip(sizes).for_each(|(to, size)| *to = *size);
    request.tile.iter_mut().zip(tile).for_each(|(to, size)| *to = *size);
    let mut stride = u64::from(element_bytes);
    for (to, size) in request.strides.iter_mut().zip(sizes) {
        *to = stride;
        stride *= size;
    }
    let (mut map, mut message) = (TensorMap([0; 16]), [0u8; 500]);
    // SAFETY: the layouts are those of the C++ side; the message has the room that is passed along.
    match unsafe { cuemu_tensor_map(&mut map, &request, message.as_mut_ptr().cast(), message.len()) } {
        0 => Ok(map),
        _ => Err(Error::failed(CStr::from_bytes_until_nul(&message).expect("it ends").to_string_lossy())),
    }
}

/// Memory between two unreadable pages, filled with NaN patterns. Its end touches the second page, so it is aligned to
/// 16 bytes, and to 256 if its size is. None when the system has no memory left.
pub fn allocate(bytes: usize) -> Option<u64> {
    // SAFETY: any size is allowed; a failed allocation is null.
    Some(unsafe { cuemu_malloc(bytes) } as u64).filter(|&address| address != 0)
}

/// # Safety
/// The address came from `allocate` and is not used again.
pub unsafe fn free(address: u64) {
    // SAFETY: the caller's promise.
    unsafe { cuemu_free(address as *mut c_void) }
}

/// # Safety
/// `to` names `from.len()` allocated bytes.
pub unsafe fn upload(to: u64, from: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { cuemu_upload(to as *mut c_void, from.as_ptr().cast(), from.len()) }
}

/// # Safety
/// `from` names `to.len()` allocated bytes.
pub unsafe fn download(to: &mut [u8], from: u64) {
    // SAFETY: the caller's promise.
    unsafe { cuemu_download(to.as_mut_ptr().cast(), from as *const c_void, to.len()) }
}

/// # Safety
/// `at` names `bytes` allocated bytes.
pub unsafe fn clear(at: u64, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { cuemu_memset(at as *mut c_void, 0, bytes) }
}

/// Tells the checker that the host is about to write this memory.
pub fn mark_written<T>(at: *mut T, count: usize) {
    // SAFETY: only the checker's own memory is touched.
    unsafe { cuemu_mark_written(at.cast(), count * size_of::<T>()) }
}

/// The first of these elements that was never written, as far as the checker knows.
pub fn first_unwritten<T>(at: *const T, count: usize) -> Option<usize> {
    // SAFETY: only the checker's own memory is touched.
    let byte = unsafe { cuemu_first_unwritten(at.cast(), count * size_of::<T>()) };
    Some(byte / size_of::<T>()).filter(|&index| index < count)
}
