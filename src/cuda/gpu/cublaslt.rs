//! cuBLASLt: finding it, and its matrix products with plans made once for each shape.
//!
//! Products are deterministic by default: the first algorithm that the library's heuristics propose, which depends on
//! shapes, card and library alone, and no algorithm that adds partial sums in place. LOGWRIGHT_TUNE_GEMM=1 takes the
//! fastest of the first few instead; which one that is may differ from process to process, and with it the last bits of
//! the results.

use super::library::{Library, functions};
use super::plan::{Key, Plan};
use super::stream::Stream;
use crate::cuda::device::gemm::GemmCall;
use crate::{Error, Result};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtHandle_t, cublasLtMatmulAlgo_t, cublasLtMatmulDesc_t,
    cublasLtMatmulDescAttributes_t, cublasLtMatmulHeuristicResult_t, cublasLtMatmulPreference_t,
    cublasLtMatmulPreferenceAttributes_t, cublasLtMatrixLayout_t, cublasStatus_t, cudaDataType_t, cudaStream_t,
};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{c_char, c_int, c_void};
use std::fmt::Display;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard};

functions! {
    /// What the program calls of libcublasLt, 12 or 13.
    Functions -> cublasStatus_t;
    cublasLtCreate(*mut cublasLtHandle_t);
    cublasLtDestroy(cublasLtHandle_t);
    cublasLtMatmulDescCreate(*mut cublasLtMatmulDesc_t, cublasComputeType_t, cudaDataType_t);
    cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t);
    cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, *const c_void, usize);
    cublasLtMatrixLayoutCreate(*mut cublasLtMatrixLayout_t, cudaDataType_t, u64, u64, i64);
    cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t);
    cublasLtMatmulPreferenceCreate(*mut cublasLtMatmulPreference_t);
    cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t);
    cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t,
        *const c_void, usize);
    cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
        cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, c_int,
        *mut cublasLtMatmulHeuristicResult_t, *mut c_int);
    cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, *const c_void, *const c_void, cublasLtMatrixLayout_t,
        *const c_void, cublasLtMatrixLayout_t, *const c_void, *const c_void, cublasLtMatrixLayout_t, *mut c_void,
        cublasLtMatrixLayout_t, *const cublasLtMatmulAlgo_t, *mut c_void, usize, cudaStream_t);
}

/// The library, loaded.
pub struct LoadedLibrary {
    pub call: Functions,
    /// 10000 x major + 100 x minor + patch.
    pub version: usize,
    pub path: String,
    library: Library,
}

/// File names in order of preference: what the loader knows, then where toolkits are installed.
fn names() -> Vec<String> {
    let home = std::env::var("CUDA_HOME").ok().map(|home| format!("{home}/lib64/"));
    let folders = ["".to_string()].into_iter().chain(home).chain(["/usr/local/cuda/lib64/".to_string()]);
    folders.flat_map(|folder| ["so.13", "so.12", "so"].map(|end| format!("{folder}libcublasLt.{end}"))).collect()
}

impl LoadedLibrary {
    /// The first library that loads, has every function, and is fine with `usable`.
    fn first(usable: impl Fn(&LoadedLibrary) -> Result<()>) -> Result<LoadedLibrary> {
        let load = |name: &String| {
            let library = Library::open(&[name]).map_err(Error::failed)?;
            let call = Functions::load(&library)?;
            // SAFETY: the type that the library's header gives it.
            let version = unsafe { library.function::<unsafe extern "C" fn() -> usize>("cublasLtGetVersion")?() };
            let found = LoadedLibrary { call, version, path: library.path.clone(), library };
            usable(&found).map(|()| found)
        };
        let mut complaints = Vec::new();
        for name in names() {
            match load(&name) {
                Ok(found) => return Ok(found),
                Err(error) => complaints.push(error.to_string()),
            }
        }
        let how = "install the CUDA toolkit's libraries, or `pip install nvidia-cublas`, and put the folder of \
                   libcublasLt.so.13 (or .12) in LD_LIBRARY_PATH";
        Err(Error::failed(format!("no usable cuBLASLt ({}); {how}", complaints.join("; "))))
    }

    /// For reports: the library that would be tried first.
    pub fn any() -> Result<LoadedLibrary> {
        LoadedLibrary::first(|_| Ok(()))
    }

    /// Turns a status into an error.
    pub fn check(&self, status: u32, doing: impl Display) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        type Describe = unsafe extern "C" fn(u32) -> *const c_char;
        // SAFETY: the types of the header; the text is a constant.
        let text = unsafe {
            let describe = self.library.function::<Describe>("cublasLtGetStatusString").ok();
            let text = describe.map(|describe| describe(status)).filter(|text| !text.is_null());
            text.map(|text| std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        let text = text.unwrap_or_default();
        Err(Error::failed(format!("{doing}: cuBLASLt {} says {text} (status {status})", self.version())))
    }

    pub fn version(&self) -> String {
        format!("{}.{}.{}", self.version / 10_000, self.version / 100 % 100, self.version % 100)
    }
}

/// A handle of the library in the context that was current at its making.
pub struct Session {
    pub found: LoadedLibrary,
    pub handle: cublasLtHandle_t,
    pub stream: Arc<Stream>,
    /// Device memory that algorithms may use; one stream, so one is enough.
    pub workspace: u64,
    pub workspace_bytes: usize,
}

// SAFETY: the library's handles may be used from any thread; plans are used under a lock.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Session {
    fn new(stream: &Arc<Stream>, workspace_bytes: usize) -> Result<Self> {
        stream.bind()?;
        let handle = Mutex::new(null_mut());
        // A library that is newer than the driver loads, but cannot start.
        let found = LoadedLibrary::first(|found| {
            let mut handle = handle.lock().expect("no panic while locked");
            // SAFETY: writes one handle.
            let status = unsafe { (found.call.cublasLtCreate)(&mut *handle) };
            found.check(status, format_args!("starting {}", found.path))
        })?;
        let handle = handle.into_inner().expect("no panic while locked");
        let mut session = Session { found, handle, stream: stream.clone(), workspace: 0, workspace_bytes };
        // SAFETY: writes one address.
        let code = unsafe { (stream.driver.call.cuMemAlloc_v2)(&mut session.workspace, workspace_bytes) };
        stream.check(code, format_args!("allocating {} MiB for cuBLASLt", workspace_bytes >> 20))?;
        Ok(session)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        // SAFETY: no queued work uses either any more; the driver takes a workspace of 0, never allocated, as an error.
        unsafe {
            (self.stream.driver.call.cuMemFree_v2)(self.workspace);
            (self.found.call.cublasLtDestroy)(self.handle);
        }
    }
}

/// Matrix products.
pub struct CublasLt {
    /// `None`: the library has no algorithm for it.
    plans: Mutex<HashMap<Key, Option<Plan>>>,
    session: Arc<Session>,
    tune: bool,
}

impl CublasLt {
    /// Workspace as NVIDIA recommends: 32 MiB, 64 on Hopper and later.
    pub fn new(stream: &Arc<Stream>, capability: (i32, i32)) -> Result<Self> {
        let session = Arc::new(Session::new(stream, if capability.0 >= 9 { 64 << 20 } else { 32 << 20 })?);
        tracing::debug!("cuBLASLt {} from {}", session.found.version(), session.found.path);
        let tune = std::env::var("LOGWRIGHT_TUNE_GEMM").is_ok_and(|value| value == "1");
        if tune {
            tracing::info!(
                "LOGWRIGHT_TUNE_GEMM=1: matrix products by measurement; last bits may differ between processes"
            );
        }
        Ok(CublasLt { plans: Mutex::default(), session, tune })
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<Key, Option<Plan>>> {
        self.plans.lock().expect("no panic while planning")
    }

    /// Makes the product's plan, unless there is one; whether it can be done. While recording nothing can be measured.
    ///
    /// # Safety
    /// As for `Device::queue_gemm`.
    pub unsafe fn supports(&self, gemm: &GemmCall, recording: bool) -> Result<bool> {
        let key = Key::of(gemm);
        Ok(match self.plans().entry(key) {
            Entry::Occupied(place) => place.get().is_some(),
            Entry::Vacant(place) => {
                // SAFETY: the caller's promise.
                let plan = unsafe { Plan::new(&self.session, gemm, &key, self.tune && !recording)? };
                place.insert(plan).is_some()
            }
        })
    }

    /// Queues a product.
    ///
    /// # Safety
    /// As for `Device::queue_gemm`.
    pub unsafe fn run(&self, gemm: &GemmCall, recording: bool) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.supports(gemm, recording)? };
        let key = Key::of(gemm);
        let plans = self.plans();
        let plan = plans[&key].as_ref().ok_or_else(|| {
            let version = self.session.found.version();
            Error::failed(format!("cuBLASLt {version} has no algorithm for the {}", key.words()))
        });
        // SAFETY: the caller's promise.
        unsafe { plan?.run(gemm) }
    }
}
