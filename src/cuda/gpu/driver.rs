//! The CUDA driver: its functions, and its error codes in words.

use super::fatbin;
use super::library::{Library, functions};
use crate::{Error, Result};
use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUevent, CUfunction, CUfunction_attribute, CUgraph, CUgraphExec,
    CUmodule, CUresult, CUstream, CUstreamCaptureMode, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill,
    CUtensorMapInterleave, CUtensorMapL2promotion, CUtensorMapSwizzle,
};
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt::Display;
use std::sync::OnceLock;

functions! {
    /// The functions of libcuda that the program calls. All headers from CUDA 12.0 to 13.4 have them in this form.
    Functions -> CUresult;
    cuInit(c_uint);
    cuDriverGetVersion(*mut c_int);
    cuGetErrorName(CUresult, *mut *const c_char);
    cuGetErrorString(CUresult, *mut *const c_char);
    cuDeviceGetCount(*mut c_int);
    cuDeviceGet(*mut CUdevice, c_int);
    cuDeviceGetName(*mut c_char, c_int, CUdevice);
    cuDeviceTotalMem_v2(*mut usize, CUdevice);
    cuDeviceGetAttribute(*mut c_int, CUdevice_attribute, CUdevice);
    cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice);
    cuDevicePrimaryCtxRelease_v2(CUdevice);
    cuCtxSetCurrent(CUcontext);
    cuMemGetInfo_v2(*mut usize, *mut usize);
    cuMemAlloc_v2(*mut u64, usize);
    cuMemFree_v2(u64);
    cuMemHostAlloc(*mut *mut c_void, usize, c_uint);
    cuMemFreeHost(*mut c_void);
    cuMemcpyHtoDAsync_v2(u64, *const c_void, usize, CUstream);
    cuMemcpyDtoHAsync_v2(*mut c_void, u64, usize, CUstream);
    cuMemcpyDtoDAsync_v2(u64, u64, usize, CUstream);
    cuMemsetD8Async(u64, u8, usize, CUstream);
    cuStreamCreate(*mut CUstream, c_uint);
    cuStreamDestroy_v2(CUstream);
    cuStreamSynchronize(CUstream);
    cuStreamBeginCapture_v2(CUstream, CUstreamCaptureMode);
    cuStreamEndCapture(CUstream, *mut CUgraph);
    cuGraphInstantiateWithFlags(*mut CUgraphExec, CUgraph, c_ulonglong);
    cuGraphDestroy(CUgraph);
    cuGraphLaunch(CUgraphExec, CUstream);
    cuGraphExecDestroy(CUgraphExec);
    cuEventCreate(*mut CUevent, c_uint);
    cuEventRecord(CUevent, CUstream);
    cuEventSynchronize(CUevent);
    cuEventDestroy_v2(CUevent);
    cuModuleLoadData(*mut CUmodule, *const c_void);
    cuModuleUnload(CUmodule);
    cuModuleGetFunction(*mut CUfunction, CUmodule, *const c_char);
    cuFuncGetAttribute(*mut c_int, CUfunction_attribute, CUfunction);
    cuFuncSetAttribute(CUfunction, CUfunction_attribute, c_int);
    cuLaunchKernel(CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream, *mut *mut c_void,
        *mut *mut c_void);
    cuTensorMapEncodeTiled(*mut CUtensorMap, CUtensorMapDataType, c_uint, *mut c_void, *const u64, *const u64,
        *const c_uint, *const c_uint, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
        CUtensorMapFloatOOBfill);
    cuProfilerStart();
    cuProfilerStop();
}

/// The driver, initialised.
pub struct Driver {
    pub call: Functions,
    /// The latest CUDA version that it supports: 1000 x major + 10 x minor.
    pub version: i32,
    pub path: String,
    _library: Library,
}

/// The names under which to look for it: the run-time name first, since the other one may be the toolkit's stub.
const NAMES: [&str; 3] = ["libcuda.so.1", "libcuda.so", "/usr/lib/wsl/lib/libcuda.so.1"];

impl Driver {
    /// Loads and initialises the driver on first use.
    pub fn get() -> Result<&'static Driver> {
        static DRIVER: OnceLock<std::result::Result<Driver, String>> = OnceLock::new();
        let driver = DRIVER.get_or_init(|| Driver::load().map_err(|error| error.to_string()));
        driver.as_ref().map_err(Error::failed)
    }

    fn load() -> Result<Driver> {
        let library = Library::open(&NAMES).map_err(|complaints| {
            let how = "install NVIDIA's driver, or start the container with `--gpus all`";
            Error::failed(format!("no CUDA driver ({complaints}); {how}"))
        })?;
        let call = Functions::load(&library)?;
        let mut driver = Driver { call, version: 0, path: library.path.clone(), _library: library };
        let mut version = 0;
        // SAFETY: writes one number; cuInit may be called at any time.
        unsafe {
            let asked = (driver.call.cuDriverGetVersion)(&mut version);
            driver.check(asked, "asking the CUDA driver for its version")?;
            driver.version = version;
            driver.check((driver.call.cuInit)(0), format_args!("starting the CUDA driver ({})", driver.path))?;
        }
        Ok(driver)
    }

    /// Turns an error code of the driver into an error that says what failed, `doing`, and what to do.
    pub fn check(&self, code: u32, doing: impl Display) -> Result<()> {
        match code {
            0 => Ok(()),
            _ => Err(self.failure(code, doing)),
        }
    }

    pub fn failure(&self, code: u32, doing: impl Display) -> Error {
        let advice = advice(code, self.version, fatbin::NVCC);
        Error::failed(format!("{doing}: {}{advice}", self.words(code)))
    }

    /// The driver's own name and description of a code.
    fn words(&self, code: u32) -> String {
        // Codes that the bindings do not know are not asked for: their enum could not hold them.
        let known = KNOWN.iter().find(|&&known| known as u32 == code);
        let text = |ask: unsafe extern "C" fn(CUresult, *mut *const c_char) -> u32| {
            let mut text = std::ptr::null();
            // SAFETY: the driver gives a constant C string, or null and an error.
            let found = known.is_some_and(|&code| unsafe { ask(code, &mut text) } == 0) && !text.is_null();
            // SAFETY: as above.
            found.then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        };
        match (text(self.call.cuGetErrorName), text(self.call.cuGetErrorString)) {
            (Some(name), Some(description)) => format!("{name} ({description})"),
            (Some(name), None) => name,
            _ => format!("CUDA error {code}"),
        }
    }
}

pub const OUT_OF_MEMORY: u32 = CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32;
pub const NOT_FOUND: u32 = CUresult::CUDA_ERROR_NOT_FOUND as u32;

/// The codes that [`advice`] and users meet.
use CUresult::*;
const KNOWN: &[CUresult] = &[
    CUDA_ERROR_INVALID_VALUE,
    CUDA_ERROR_OUT_OF_MEMORY,
    CUDA_ERROR_NOT_INITIALIZED,
    CUDA_ERROR_STUB_LIBRARY,
    CUDA_ERROR_DEVICE_UNAVAILABLE,
    CUDA_ERROR_NO_DEVICE,
    CUDA_ERROR_INVALID_DEVICE,
    CUDA_ERROR_INVALID_IMAGE,
    CUDA_ERROR_INVALID_CONTEXT,
    CUDA_ERROR_NO_BINARY_FOR_GPU,
    CUDA_ERROR_ECC_UNCORRECTABLE,
    CUDA_ERROR_INVALID_PTX,
    CUDA_ERROR_NVLINK_UNCORRECTABLE,
    CUDA_ERROR_JIT_COMPILER_NOT_FOUND,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
    CUDA_ERROR_JIT_COMPILATION_DISABLED,
    CUDA_ERROR_CONTAINED,
    CUDA_ERROR_INVALID_SOURCE,
    CUDA_ERROR_INVALID_HANDLE,
    CUDA_ERROR_NOT_FOUND,
    CUDA_ERROR_ILLEGAL_ADDRESS,
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
    CUDA_ERROR_LAUNCH_TIMEOUT,
    CUDA_ERROR_ASSERT,
    CUDA_ERROR_HARDWARE_STACK_ERROR,
    CUDA_ERROR_ILLEGAL_INSTRUCTION,
    CUDA_ERROR_MISALIGNED_ADDRESS,
    CUDA_ERROR_INVALID_ADDRESS_SPACE,
    CUDA_ERROR_INVALID_PC,
    CUDA_ERROR_LAUNCH_FAILED,
    CUDA_ERROR_NOT_PERMITTED,
    CUDA_ERROR_NOT_SUPPORTED,
    CUDA_ERROR_SYSTEM_NOT_READY,
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
    CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
    CUDA_ERROR_UNKNOWN,
];

/// What to do about an error code, to follow the driver's description; empty where there is nothing to add. `driver` is
/// 1000 x major + 10 x minor of the CUDA version that it supports, `nvcc` the compiler of the embedded kernels.
fn advice(code: u32, driver: i32, nvcc: Option<&str>) -> String {
    let Some(&code) = KNOWN.iter().find(|&&known| known as u32 == code) else {
        return String::new();
    };
    let fixed = match code {
        CUDA_ERROR_OUT_OF_MEMORY => {
            "; another program may hold the GPU's memory (nvidia-smi); else use a smaller --batch"
        }
        CUDA_ERROR_STUB_LIBRARY => {
            "; this is the toolkit's stub, not the driver: take its folder out of LD_LIBRARY_PATH, or install \
             NVIDIA's driver"
        }
        CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "; another program has the GPU to itself (nvidia-smi): wait for it or use another GPU"
        }
        CUDA_ERROR_NO_DEVICE => {
            "; no GPU is visible: look at nvidia-smi and at CUDA_VISIBLE_DEVICES, start a container with `--gpus all`"
        }
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => "; the driver was updated under a running system: restart the machine",
        CUDA_ERROR_SYSTEM_NOT_READY => {
            "; the machine's fabric manager or GPU services are not up: start them, then try again"
        }
        CUDA_ERROR_UNKNOWN | CUDA_ERROR_NOT_INITIALIZED => {
            "; the driver does not come up: see whether nvidia-smi works, restart the machine if it does not"
        }
        CUDA_ERROR_JIT_COMPILER_NOT_FOUND => {
            "; this GPU needs the driver's PTX compiler (libnvidia-ptxjitcompiler.so.1), which is not installed"
        }
        CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "; a CUDA compatibility package is in use that this GPU does not support: take it out of LD_LIBRARY_PATH"
        }
        CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_ASSERT
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_LAUNCH_FAILED => {
            "; the GPU is lost to this process: resume from the last checkpoint, and find the kernel with \
             LOGWRIGHT_SYNC=1 or compute-sanitizer"
        }
        CUDA_ERROR_ECC_UNCORRECTABLE | CUDA_ERROR_NVLINK_UNCORRECTABLE | CUDA_ERROR_CONTAINED => {
            "; the hardware failed and the GPU is lost to this process: resume from the last checkpoint on another \
             GPU, and look for Xid lines in dmesg"
        }
        CUDA_ERROR_INVALID_IMAGE
        | CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUDA_ERROR_INVALID_PTX
        | CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUDA_ERROR_JIT_COMPILATION_DISABLED
        | CUDA_ERROR_INVALID_SOURCE => return image_advice(driver, nvcc),
        _ => "",
    };
    fixed.to_string()
}

/// Code for a newer CUDA than the driver's does not load; code for an older one does.
fn image_advice(driver: i32, nvcc: Option<&str>) -> String {
    let (serves, compiler) = (version(driver), nvcc.unwrap_or("no nvcc"));
    format!(
        "; the kernels were compiled by nvcc {compiler}, the driver serves CUDA up to {serves}: update the driver \
         (CUDA 13 needs 580 or later), or build again with an nvcc no newer than CUDA {serves} ($NVCC)"
    )
}

/// A CUDA version as people write it.
pub fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_named_beside_the_compiler() {
        for code in [CUDA_ERROR_NO_BINARY_FOR_GPU, CUDA_ERROR_UNSUPPORTED_PTX_VERSION, CUDA_ERROR_INVALID_IMAGE] {
            let text = advice(code as u32, 12040, Some("13.0.88"));
            assert!(
                text.contains("nvcc 13.0.88") && text.contains("CUDA up to 12.4") && text.contains("580"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_lost_gpu_leads_to_the_checkpoint_and_unknown_codes_to_nothing() {
        for code in [CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_ECC_UNCORRECTABLE] {
            assert!(advice(code as u32, 13000, None).contains("resume from the last checkpoint"));
        }
        assert_eq!(advice(99_999, 13000, None), "");
    }
}
