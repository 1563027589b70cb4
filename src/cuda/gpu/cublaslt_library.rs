//! The library cuBLASLt: finding and loading it.

use super::library::{Library, functions};
use crate::{Error, Result};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtHandle_t, cublasLtMatmulAlgo_t, cublasLtMatmulDesc_t,
    cublasLtMatmulDescAttributes_t, cublasLtMatmulHeuristicResult_t, cublasLtMatmulPreference_t,
    cublasLtMatmulPreferenceAttributes_t, cublasLtMatrixLayout_t, cublasStatus_t, cudaDataType_t, cudaStream_t,
};
use std::ffi::{c_char, c_int, c_void};
use std::fmt::Display;

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
pub struct CublasLtLibrary {
    pub call: Functions,
    /// 10000 x major + 100 x minor + patch.
    pub version: usize,
    pub path: String,
    library: Library,
}

/// File names in order of preference: those that the loader finds, then the places where toolkits are installed.
fn names() -> Vec<String> {
    let home = std::env::var("CUDA_HOME").ok().map(|home| format!("{home}/lib64/"));
    let folders = ["".to_string()].into_iter().chain(home).chain(["/usr/local/cuda/lib64/".to_string()]);
    folders.flat_map(|folder| ["so.13", "so.12", "so"].map(|end| format!("{folder}libcublasLt.{end}"))).collect()
}

impl CublasLtLibrary {
    /// The first library that loads, has every function, and that `usable` accepts.
    pub(super) fn first(usable: impl Fn(&CublasLtLibrary) -> Result<()>) -> Result<CublasLtLibrary> {
        let load = |name: &String| {
            let library = Library::open(&[name]).map_err(Error::failed)?;
            let call = Functions::load(&library)?;
            // SAFETY: the type that the library's header gives it.
            let version = unsafe { library.function::<unsafe extern "C" fn() -> usize>("cublasLtGetVersion")?() };
            let found = CublasLtLibrary { call, version, path: library.path.clone(), library };
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
    pub fn any() -> Result<CublasLtLibrary> {
        CublasLtLibrary::first(|_| Ok(()))
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
