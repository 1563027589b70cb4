//! The embedded kernels, loaded into a context.

use super::driver::NOT_FOUND;
use super::fatbin;
use super::stream::Stream;
use super::tensor_maps::TensorMaps;
use crate::cuda::device::kernel::{Argument, Kernel, Launch, with_pointers};
use crate::cuda::device::kernels;
use crate::{Error, Result};
use cudarc::driver::sys::{CUfunction, CUfunction_attribute as Attribute, CUmodule};
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Dynamic shared memory that a kernel may use without a request.
const FREE_SHARED: usize = 48 << 10;

pub struct Modules {
    stream: Arc<Stream>,
    modules: Vec<CUmodule>,
    /// In the order of the kernel table; None where a kernel is for other cards alone.
    functions: Vec<Option<Function>>,
    tensor_maps: TensorMaps,
}

struct Function {
    function: CUfunction,
    /// Dynamic shared memory that has been requested for it.
    shared: AtomicUsize,
}

// SAFETY: as for Stream.
unsafe impl Send for Modules {}
// SAFETY: as for Stream.
unsafe impl Sync for Modules {}

impl Modules {
    /// Loads every module and finds every kernel of the table that is for a card of this capability, so that nothing is
    /// missing later or loaded during a capture.
    pub fn load(stream: &Arc<Stream>, capability: (u32, u32)) -> Result<Self> {
        stream.bind()?;
        let is_for_it = |only: Option<(u32, u32)>| only.is_none_or(|only| only == capability);
        let tensor_maps = TensorMaps::new(stream.driver);
        let (loaded, functions) = (Vec::new(), Vec::new());
        let mut modules = Modules { stream: stream.clone(), modules: loaded, functions, tensor_maps };
        for module in fatbin::MODULES.iter().filter(|module| is_for_it(module.only)) {
            let mut handle = null_mut();
            // SAFETY: the image is a whole fatbin, as nvcc wrote it.
            let code = unsafe { (stream.driver.call.cuModuleLoadData)(&mut handle, module.image.as_ptr().cast()) };
            stream.check(code, format_args!("loading the kernels of {}", module.file))?;
            modules.modules.push(handle);
        }
        // A build without nvcc has no modules to look in.
        for kernel in kernels::ALL.iter().filter(|_| !fatbin::MODULES.is_empty()) {
            let function = is_for_it(kernel.only).then(|| modules.find(kernel)).transpose()?;
            let function = function.map(|function| Function { function, shared: AtomicUsize::new(FREE_SHARED) });
            modules.functions.push(function);
        }
        Ok(modules)
    }

    fn find(&self, kernel: &Kernel) -> Result<CUfunction> {
        let call = &self.stream.driver.call;
        let name = CString::new(kernel.name).expect("a kernel's name has no zero byte");
        for &module in &self.modules {
            let (mut function, mut registers) = (null_mut(), 0);
            // SAFETY: module and name live; one handle and one number are written. Asking for an attribute loads the
            // code.
            let code = unsafe {
                match (call.cuModuleGetFunction)(&mut function, module, name.as_ptr()) {
                    0 => (call.cuFuncGetAttribute)(&mut registers, Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS, function),
                    code => code,
                }
            };
            match code {
                NOT_FOUND => {}
                code => {
                    return self.stream.check(code, format_args!("loading kernel {}", kernel.name)).map(|()| function);
                }
            }
        }
        let files: Vec<&str> = fatbin::MODULES.iter().map(|module| module.file).collect();
        let name = kernel.name;
        Err(Error::failed(format!(
            "kernel {name} is in none of the embedded modules ({}); build again",
            files.join(", ")
        )))
    }

    /// Queues a kernel.
    ///
    /// # Safety
    /// As for `Device::launch`; the context is current.
    pub unsafe fn launch(&self, kernel: &Kernel, launch: Launch, arguments: &[Argument]) -> Result<()> {
        let Launch { grid: [x, y, z], block, shared } = launch;
        let function = self.functions.get(kernel.index);
        let function = function.ok_or_else(|| Error::failed(format!("{}; {}", fatbin::NONE, fatbin::HOW)))?;
        let function = function.as_ref().expect("who launches it asks for the card's capability first");
        self.allow(kernel, function, shared)?;
        let (call, stream) = (self.stream.driver.call.cuLaunchKernel, self.stream.handle);
        with_pointers(
            arguments,
            |layout| self.tensor_maps.get(layout),
            |arguments| {
                // SAFETY: the caller's promise.
                let code = unsafe {
                    let (arguments, shared) = (arguments.as_mut_ptr(), shared as u32);
                    call(function.function, x, y, z, block, 1, 1, shared, stream, arguments, null_mut())
                };
                self.stream.check(code, format_args!("launching {} as {launch:?}", kernel.name))
            },
        )
    }

    /// Requests more dynamic shared memory for a kernel than it may use without a request.
    fn allow(&self, kernel: &Kernel, function: &Function, shared: usize) -> Result<()> {
        if shared <= function.shared.load(Ordering::Relaxed) {
            return Ok(());
        }
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function lives as long as its module.
        let code = unsafe { (self.stream.driver.call.cuFuncSetAttribute)(function.function, attribute, shared as i32) };
        self.stream.check(code, format_args!("giving {} {shared} bytes of shared memory a block", kernel.name))?;
        function.shared.store(shared, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        for &module in &self.modules {
            // SAFETY: no queued kernel uses the modules any more.
            unsafe { (self.stream.driver.call.cuModuleUnload)(module) };
        }
    }
}
