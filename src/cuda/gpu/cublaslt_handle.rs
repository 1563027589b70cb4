//! A handle of cuBLASLt, with the stream and the workspace of its products.

use super::cublaslt_library::CublasLtLibrary;
use super::stream::Stream;
use crate::Result;
use cudarc::cublaslt::sys::cublasLtHandle_t;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

/// A handle of the library in the context of a stream.
pub struct CublasLtHandle {
    pub library: CublasLtLibrary,
    pub raw: cublasLtHandle_t,
    pub stream: Arc<Stream>,
    /// Device memory that algorithms may use. There is one stream, so one workspace is enough.
    pub workspace: u64,
    pub workspace_bytes: usize,
}

// SAFETY: the library's handles may be used from any thread; plans are used under a lock.
unsafe impl Send for CublasLtHandle {}
// SAFETY: as above.
unsafe impl Sync for CublasLtHandle {}

impl CublasLtHandle {
    pub fn new(stream: &Arc<Stream>, workspace_bytes: usize) -> Result<Self> {
        stream.bind()?;
        let handle = Mutex::new(null_mut());
        // A library that is newer than the driver loads, but cannot start.
        let library = CublasLtLibrary::first(|library| {
            let mut handle = handle.lock().expect("no panic while locked");
            // SAFETY: writes one handle.
            let status = unsafe { (library.call.cublasLtCreate)(&mut *handle) };
            library.check(status, format_args!("starting {}", library.path))
        })?;
        let raw = handle.into_inner().expect("no panic while locked");
        let mut made = CublasLtHandle { library, raw, stream: stream.clone(), workspace: 0, workspace_bytes };
        // SAFETY: writes one address.
        let code = unsafe { (stream.driver.call.cuMemAlloc_v2)(&mut made.workspace, workspace_bytes) };
        stream.check(code, format_args!("allocating {} MiB for cuBLASLt", workspace_bytes >> 20))?;
        Ok(made)
    }
}

impl Drop for CublasLtHandle {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        // SAFETY: no queued work uses either any more; the driver takes a workspace of 0, never allocated, as an error.
        unsafe {
            (self.stream.driver.call.cuMemFree_v2)(self.workspace);
            (self.library.call.cublasLtDestroy)(self.raw);
        }
    }
}
