//! The emulator as a device: the kernels of `kernels/`, compiled for the host, on fibres (see `kernels/emulator/README.md`).
//!
//! Matrix products run on the host GEMM and round to bf16 where cuBLASLt rounds. The feature `emulator-check` adds the race
//! and memory checker to every launch.

use super::device::{Device, Graph, Launch, Span};
use super::gemm::{Epilogue, Gemm, Operand, Output};
use super::kernels::{self, Kernel};
use crate::cpu::gelu;
use crate::cpu::matrix::{Matrix, Threads, multiply, multiply_add};
use crate::{Error, Result};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex};

/// What KERNEL_EXPORT leaves of a kernel: `cuemu::KernelDesc`.
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

unsafe extern "C" {
    fn cuemu_launch(
        kernel: *const Entry,
        grid: *const u32,
        block: *const u32,
        shared: usize,
        arguments: *mut *mut c_void,
        sizes: *const u8,
        count: c_int,
    ) -> c_int;
    fn cuemu_last_error() -> *const c_char;
    fn cuemu_config(seed: u32, workers: c_int, check: c_int);
    fn cuemu_mark_written(at: *mut c_void, bytes: usize);
    fn cuemu_malloc(bytes: usize) -> *mut c_void;
    fn cuemu_free(at: *mut c_void);
    fn cuemu_h2d(to: *mut c_void, from: *const c_void, bytes: usize);
    fn cuemu_d2h(to: *mut c_void, from: *const c_void, bytes: usize);
    fn cuemu_memset(at: *mut c_void, value: c_int, bytes: usize);
}

/// One piece of recorded work.
enum Work {
    Launch { kernel: &'static Kernel, launch: Launch, arguments: Vec<[u8; 8]> },
    Gemm(Gemm),
    Clear { at: u64, bytes: usize },
}

pub struct Emulator {
    state: Arc<State>,
}

struct State {
    /// Order in which threads and blocks run: 0 forwards, 1 backwards, others shuffled.
    seed: u32,
    /// OS threads; 0: one a core.
    workers: usize,
    recording: Mutex<Option<Vec<Work>>>,
}

impl Emulator {
    /// Runs the threads of a block, and the blocks, in an order that follows from `seed`. Results must not depend on it.
    pub fn new(seed: u32) -> Self {
        Emulator { state: Arc::new(State { seed, workers: 0, recording: Mutex::new(None) }) }
    }
}

/// Compares the kernel table with the C++ signatures: names, and number, sizes and kinds of the arguments.
pub fn check_signatures() -> Result<()> {
    for (kernel, entry) in kernels::ALL.iter().zip(kernels::entries::all()) {
        // SAFETY: the C++ side fills entries with static strings, and `sizes` with one byte an argument.
        let (name, kinds, sizes) = unsafe {
            let sizes = std::slice::from_raw_parts(entry.sizes, entry.arguments as usize);
            (CStr::from_ptr(entry.name), CStr::from_ptr(entry.kinds), sizes)
        };
        if name.to_bytes() != kernel.name.as_bytes() || kinds.to_bytes() != kernel.kinds || sizes != kernel.sizes {
            return Err(Error::failed(format!(
                "kernel {}: the table says {} {:?}, kernels/*.cu says {} {:?}",
                kernel.name,
                String::from_utf8_lossy(kernel.kinds),
                kernel.sizes,
                kinds.to_string_lossy(),
                sizes
            )));
        }
    }
    Ok(())
}

impl State {
    fn launch(&self, kernel: &Kernel, launch: Launch, arguments: &mut [*mut c_void]) -> Result<()> {
        let (grid, block) = (launch.grid, [launch.block, 1, 1]);
        // SAFETY: grid and block have three elements; the runtime compares count and sizes of the arguments with the kernel's.
        let failed = unsafe {
            cuemu_config(self.seed, self.workers as c_int, cfg!(feature = "emulator-check") as c_int);
            cuemu_launch(
                kernels::entries::all()[kernel.index],
                grid.as_ptr(),
                block.as_ptr(),
                launch.shared,
                arguments.as_mut_ptr(),
                kernel.sizes.as_ptr(),
                arguments.len() as c_int,
            )
        };
        match failed {
            0 => Ok(()),
            // SAFETY: the runtime keeps the message until this thread's next launch.
            _ => Err(Error::failed(unsafe { CStr::from_ptr(cuemu_last_error()) }.to_string_lossy())),
        }
    }

    fn run(&self, work: &Work) -> Result<()> {
        match work {
            Work::Launch { kernel, launch, arguments } => {
                let mut arguments = arguments.clone();
                let mut pointers: Vec<_> = arguments.iter_mut().map(|value| value.as_mut_ptr().cast()).collect();
                self.launch(kernel, *launch, &mut pointers)
            }
            Work::Gemm(work) => {
                gemm(work);
                Ok(())
            }
            Work::Clear { at, bytes } => {
                // SAFETY: whoever queued it promised that these bytes are allocated.
                unsafe { cuemu_memset(*at as *mut c_void, 0, *bytes) };
                Ok(())
            }
        }
    }

    fn queue(&self, work: Work) -> Result<()> {
        let mut recording = self.recording.lock().expect("no panic while recording");
        match recording.as_mut() {
            Some(list) => list.push(work),
            None => {
                drop(recording);
                self.run(&work)?;
            }
        }
        Ok(())
    }

    fn assert_not_recording(&self) {
        assert!(self.recording.lock().expect("no panic while recording").is_none(), "not while recording");
    }
}

impl Device for Emulator {
    fn name(&self) -> String {
        "emulator".to_string()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.state.assert_not_recording();
        // SAFETY: any size is allowed; a failed allocation is null.
        match unsafe { cuemu_malloc(bytes) } as u64 {
            0 => Err(Error::failed(format!("the emulator cannot get {bytes} bytes of memory"))),
            address => Ok(address),
        }
    }

    unsafe fn free(&self, address: u64) {
        // SAFETY: the caller's promise.
        unsafe { cuemu_free(address as *mut c_void) }
    }

    fn memory(&self) -> Result<(u64, u64)> {
        let available = crate::cpu::memory::available().unwrap_or(u64::MAX);
        Ok((available, available))
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.state.assert_not_recording();
        // SAFETY: the caller's promise.
        unsafe { cuemu_h2d(to as *mut c_void, from.as_ptr().cast(), from.len()) };
        Ok(())
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<()> {
        self.state.assert_not_recording();
        // SAFETY: the caller's promise.
        unsafe { cuemu_d2h(to.as_mut_ptr().cast(), from as *const c_void, to.len()) };
        Ok(())
    }

    unsafe fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        self.state.queue(Work::Clear { at, bytes })
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, arguments: &mut [*mut c_void]) -> Result<()> {
        let copy = |(&pointer, &size): (&*mut c_void, &u8)| {
            let mut value = [0u8; 8];
            // SAFETY: an argument of the table has the size that the table states, at most 8 bytes.
            unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr(), size as usize) };
            value
        };
        let arguments = arguments.iter().zip(kernel.sizes).map(copy).collect();
        self.state.queue(Work::Launch { kernel, launch, arguments })
    }

    fn gemm(&self, gemm: &Gemm) -> Result<()> {
        gemm.check();
        self.state.queue(Work::Gemm(*gemm))
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn begin_recording(&self) -> Result<()> {
        self.state.assert_not_recording();
        *self.state.recording.lock().expect("no panic while recording") = Some(Vec::new());
        Ok(())
    }

    fn end_recording(&self) -> Result<Box<dyn Graph>> {
        let work = self.state.recording.lock().expect("no panic while recording").take();
        let work = work.expect("begin_recording came before");
        Ok(Box::new(Recording { state: self.state.clone(), work }))
    }
}

struct Recording {
    state: Arc<State>,
    work: Vec<Work>,
}

impl Graph for Recording {
    fn replay(&self) -> Result<()> {
        self.work.iter().try_for_each(|work| self.state.run(work))
    }
}

/// What lies in the span.
fn values<T>(span: &Span<T>) -> &[T] {
    // SAFETY: the emulator's device memory is host memory, and a span lies inside an allocation.
    unsafe { std::slice::from_raw_parts(span.ptr().address as *const T, span.len()) }
}

/// The span's memory, to be overwritten.
#[allow(clippy::mut_from_ref)]
fn values_mut<T>(span: &Span<T>) -> &mut [T] {
    let at = span.ptr().address as *mut T;
    // SAFETY: as above; a product's output overlaps none of its inputs, and products run one after another.
    unsafe {
        cuemu_mark_written(at.cast(), span.len() * size_of::<T>());
        std::slice::from_raw_parts_mut(at, span.len())
    }
}

fn wide(span: &Span<bf16>) -> Vec<f32> {
    values(span).to_f32_vec()
}

/// The product by host GEMM in f32, its epilogue in f32, and one rounding, as cuBLASLt does it.
fn gemm(gemm: &Gemm) {
    let Gemm { m, n, k, a, b, d } = *gemm;
    let (a_values, b_values) = (wide(&a.span), wide(&b.span));
    let view = |values, operand: Operand, rows, columns| match operand.transposed {
        false => Matrix::new(values, rows, columns),
        true => Matrix::new(values, columns, rows).t(),
    };
    let (a, b) = (view(&a_values, a, m, k), view(&b_values, b, k, n));
    match d {
        Output::Accumulated(d) => multiply_add(values_mut(&d), a, b, Threads::All),
        Output::Rounded(d, epilogue) => {
            let mut sums = vec![0f32; m * n];
            multiply(&mut sums, a, b, 1.0, Threads::All);
            apply(&mut sums, epilogue, n);
            values_mut(&d).convert_from_f32_slice(&sums);
        }
    }
}

fn apply(sums: &mut [f32], epilogue: Epilogue, n: usize) {
    let add_bias = |sums: &mut [f32], bias: Span<bf16>| {
        let bias = wide(&bias);
        sums.chunks_exact_mut(n).for_each(|row| row.iter_mut().zip(&bias).for_each(|(sum, bias)| *sum += bias));
    };
    match epilogue {
        Epilogue::None => {}
        Epilogue::Bias(bias) => add_bias(sums, bias),
        Epilogue::Gelu { bias, aux } => {
            if let Some(bias) = bias {
                add_bias(sums, bias);
            }
            values_mut(&aux).convert_from_f32_slice(sums);
            let before = sums.to_vec();
            gelu::forward(sums, &before);
        }
        Epilogue::GeluBackward { aux } => gelu::backward(sums, &wide(&aux)),
    }
}
