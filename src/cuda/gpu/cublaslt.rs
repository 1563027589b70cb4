//! Matrix products through cuBLASLt, with a plan made once for each shape.
//!
//! Products are deterministic by default: they use the first algorithm that the library's heuristics propose, which
//! depends on shapes, card and library alone, and never an algorithm that adds partial sums in place.
//! LOGWRIGHT_TUNE_GEMM=1 takes the fastest of the first few instead; which one that is may differ from process to
//! process, and with it the last bits of the results.

use super::cublaslt_handle::CublasLtHandle;
use super::matmul_plan::{MatmulKey, MatmulPlan};
use super::stream::Stream;
use crate::cuda::device::gemm::GemmCall;
use crate::{Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

/// Matrix products.
pub struct CublasLt {
    /// `None`: the library has no algorithm for it.
    plans: Mutex<HashMap<MatmulKey, Option<MatmulPlan>>>,
    handle: Arc<CublasLtHandle>,
    tune: bool,
}

impl CublasLt {
    /// Workspace as NVIDIA recommends: 32 MiB, 64 on Hopper and later.
    pub fn new(stream: &Arc<Stream>, capability: (u32, u32)) -> Result<Self> {
        let handle = Arc::new(CublasLtHandle::new(stream, if capability.0 >= 9 { 64 << 20 } else { 32 << 20 })?);
        tracing::debug!("cuBLASLt {} from {}", handle.library.version(), handle.library.path);
        let tune = std::env::var("LOGWRIGHT_TUNE_GEMM").is_ok_and(|value| value == "1");
        if tune {
            tracing::info!(
                "LOGWRIGHT_TUNE_GEMM=1: matrix products by measurement; last bits may differ between processes"
            );
        }
        Ok(CublasLt { plans: Mutex::default(), handle, tune })
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<MatmulKey, Option<MatmulPlan>>> {
        self.plans.lock().expect("no panic while planning")
    }

    /// Makes the product's plan, unless there is one. Whether the library can do the product. During a capture nothing
    /// can be measured.
    ///
    /// # Safety
    /// As for `Device::queue_gemm`.
    pub unsafe fn supports(&self, gemm: &GemmCall, capturing: bool) -> Result<bool> {
        let key = MatmulKey::of(gemm);
        Ok(match self.plans().entry(key) {
            Entry::Occupied(place) => place.get().is_some(),
            Entry::Vacant(place) => {
                // SAFETY: the caller's promise.
                let plan = unsafe { MatmulPlan::new(&self.handle, gemm, &key, self.tune && !capturing)? };
                place.insert(plan).is_some()
            }
        })
    }

    /// Queues a product.
    ///
    /// # Safety
    /// As for `Device::queue_gemm`.
    pub unsafe fn run(&self, gemm: &GemmCall, capturing: bool) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.supports(gemm, capturing)? };
        let key = MatmulKey::of(gemm);
        let plans = self.plans();
        let plan = plans[&key].as_ref().ok_or_else(|| {
            let version = self.handle.library.version();
            Error::failed(format!("cuBLASLt {version} has no algorithm for the {}", key.words()))
        });
        // SAFETY: the caller's promise.
        unsafe { plan?.run(gemm) }
    }
}
