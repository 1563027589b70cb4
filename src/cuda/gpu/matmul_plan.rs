//! How cuBLASLt does one product: descriptors and the chosen algorithm.
//!
//! The library thinks in columns. A row-major (r,c) matrix is a column-major (c,r) one, so the row-major D = A x B is
//! asked for as D' = B' x A': operands change places, and transposition flags go with them.

use super::cublaslt_handle::CublasLtHandle;
use crate::Result;
use crate::cuda::device::gemm::{GemmCall, GemmResult};
use cudarc::cublaslt::sys::cublasLtEpilogue_t::{self, *};
use cudarc::cublaslt::sys::cublasLtMatmulDescAttributes_t::{self as Attribute, *};
use cudarc::cublaslt::sys::cublasLtMatmulPreferenceAttributes_t::{self as Preference, *};
use cudarc::cublaslt::sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
use cudarc::cublaslt::sys::cudaDataType_t::{self, CUDA_R_16BF, CUDA_R_32F};
use cudarc::cublaslt::sys::{
    cublasComputeType_t, cublasLtMatmulAlgo_t, cublasLtMatmulDesc_t, cublasLtMatmulHeuristicResult_t,
    cublasLtMatmulPreference_t, cublasLtMatrixLayout_t,
};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Proposals that are measured, when measuring.
const PROPOSALS: usize = 8;
const WARMUP: usize = 2;
const TIMED: usize = 10;

/// What a plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatmulKey {
    m: usize,
    n: usize,
    k: usize,
    /// A, B.
    transposed: [bool; 2],
    accumulated: bool,
    epilogue: cublasLtEpilogue_t,
    /// Bytes, of A, B and D.
    alignments: [u32; 3],
}

/// Device addresses of a product; 0 where there is nothing.
#[derive(Clone, Copy)]
struct MatmulAddresses {
    a: u64,
    b: u64,
    d: u64,
    bias: u64,
    aux: u64,
}

impl MatmulAddresses {
    fn of(gemm: &GemmCall) -> Self {
        let GemmCall { a, b, d, bias, aux, .. } = *gemm;
        MatmulAddresses { a, b, d, bias, aux }
    }
}

impl MatmulKey {
    pub fn of(gemm: &GemmCall) -> Self {
        let GemmCall { m, n, k, transposed, result, a, b, d, .. } = *gemm;
        let epilogue = match result {
            GemmResult::Accumulated | GemmResult::Rounded => CUBLASLT_EPILOGUE_DEFAULT,
            GemmResult::Bias => CUBLASLT_EPILOGUE_BIAS,
            GemmResult::Gelu => CUBLASLT_EPILOGUE_GELU_AUX,
            GemmResult::BiasGelu => CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
            GemmResult::GeluBackward => CUBLASLT_EPILOGUE_DGELU,
        };
        let alignments = [a, b, d].map(|address: u64| 1 << address.trailing_zeros().min(8));
        MatmulKey { m, n, k, transposed, accumulated: result == GemmResult::Accumulated, epilogue, alignments }
    }

    /// For messages.
    pub fn words(&self) -> String {
        let MatmulKey { m, n, k, transposed: [a, b], .. } = *self;
        let transposed = |yes: bool| if yes { " transposed" } else { "" };
        let output = if self.accumulated { "added in f32" } else { "in bf16" };
        let epilogue = format!("{:?}", self.epilogue).replace("CUBLASLT_EPILOGUE_", "");
        format!("product {m} x {n} x {k} (A{}, B{}, {output}, epilogue {epilogue})", transposed(a), transposed(b))
    }
}

pub struct MatmulPlan {
    handle: Arc<CublasLtHandle>,
    key: MatmulKey,
    operation: cublasLtMatmulDesc_t,
    /// The library's A and B, which are our B and A, and D.
    layouts: [cublasLtMatrixLayout_t; 3],
    algorithm: cublasLtMatmulAlgo_t,
}

// SAFETY: the descriptors are this one's own.
unsafe impl Send for MatmulPlan {}

impl MatmulPlan {
    /// Takes the library's first proposal, or with `tune` the fastest of the first few, measured on outputs made for
    /// it. `None` where the library has no algorithm.
    ///
    /// # Safety
    /// As for `Device::queue_gemm`.
    pub unsafe fn new(
        handle: &Arc<CublasLtHandle>,
        gemm: &GemmCall,
        key: &MatmulKey,
        tune: bool,
    ) -> Result<Option<Self>> {
        let (algorithm, layouts) = (cublasLtMatmulAlgo_t { data: [0; 8] }, [null_mut(); 3]);
        let mut plan = MatmulPlan { handle: handle.clone(), key: *key, operation: null_mut(), layouts, algorithm };
        plan.describe(&MatmulAddresses::of(gemm))?;
        let proposals = plan.proposals()?;
        let Some(&first) = proposals.first() else { return Ok(None) };
        plan.algorithm = first;
        if tune {
            // SAFETY: the caller's promise.
            plan.algorithm = unsafe { plan.fastest(gemm, &proposals)? };
        }
        Ok(Some(plan))
    }

    fn check(&self, status: u32) -> Result<()> {
        self.handle.library.check(status, self.key.words())
    }

    fn describe(&mut self, addresses: &MatmulAddresses) -> Result<()> {
        let handle = self.handle.clone();
        let call = &handle.library.call;
        let MatmulKey { m, n, k, transposed: [a, b], accumulated, epilogue, .. } = self.key;
        let output = if accumulated { CUDA_R_32F } else { CUDA_R_16BF };
        let compute = cublasComputeType_t::CUBLAS_COMPUTE_32F;
        // SAFETY: writes one handle.
        let made = unsafe { (call.cublasLtMatmulDescCreate)(&mut self.operation, compute, CUDA_R_32F) };
        self.check(made)?;
        self.set(CUBLASLT_MATMUL_DESC_TRANSA, i32::from(b))?;
        self.set(CUBLASLT_MATMUL_DESC_TRANSB, i32::from(a))?;
        self.set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue)?;
        if addresses.aux != 0 {
            self.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, n as i64)?;
        }
        self.point(addresses)?;
        // Rows and columns as they lie in memory, row-major.
        let in_memory = |rows, columns, transposed| if transposed { (columns, rows) } else { (rows, columns) };
        let shapes = [(in_memory(k, n, b), CUDA_R_16BF), (in_memory(m, k, a), CUDA_R_16BF), ((m, n), output)];
        for (i, ((rows, columns), kind)) in shapes.into_iter().enumerate() {
            self.layouts[i] = self.layout(rows, columns, kind)?;
        }
        Ok(())
    }

    /// A row-major matrix, in the library's column-major words.
    fn layout(&self, rows: usize, columns: usize, kind: cudaDataType_t) -> Result<cublasLtMatrixLayout_t> {
        let (mut layout, create) = (null_mut(), self.handle.library.call.cublasLtMatrixLayoutCreate);
        // SAFETY: writes one handle.
        self.check(unsafe { create(&mut layout, kind, columns as u64, rows as u64, columns as i64) })?;
        Ok(layout)
    }

    /// `T` is the attribute's type.
    fn set<T>(&self, attribute: Attribute, value: T) -> Result<()> {
        let set = self.handle.library.call.cublasLtMatmulDescSetAttribute;
        // SAFETY: the value lives during the call and has the size that is given, which the library compares.
        self.check(unsafe { set(self.operation, attribute, (&raw const value).cast(), size_of::<T>()) })
    }

    fn point(&self, addresses: &MatmulAddresses) -> Result<()> {
        if addresses.bias != 0 {
            self.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, addresses.bias)?;
        }
        if addresses.aux != 0 {
            self.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, addresses.aux)?;
        }
        Ok(())
    }

    /// What the library's heuristics propose, best first.
    fn proposals(&self) -> Result<Vec<cublasLtMatmulAlgo_t>> {
        let preference = MatmulPreference::new(self)?;
        let mut results = [const { MaybeUninit::<cublasLtMatmulHeuristicResult_t>::uninit() }; PROPOSALS];
        let (mut count, [b, a, d]) = (0, self.layouts);
        let ask = self.handle.library.call.cublasLtMatmulAlgoGetHeuristic;
        // SAFETY: all handles live; the library writes `count` results, at most as many as there is room for.
        let status = unsafe {
            let (handle, results) = (self.handle.raw, results.as_mut_ptr().cast());
            ask(handle, self.operation, b, a, d, d, preference.handle, PROPOSALS as i32, results, &mut count)
        };
        const NOT_SUPPORTED: u32 = 15;
        if status == NOT_SUPPORTED {
            return Ok(Vec::new());
        }
        self.check(status)?;
        // SAFETY: the library wrote the first `count`; only the algorithm is read, which is plain numbers.
        let algorithm = |result: &MaybeUninit<cublasLtMatmulHeuristicResult_t>| unsafe { (*result.as_ptr()).algo };
        Ok(results[..count as usize].iter().map(algorithm).collect())
    }

    /// # Safety
    /// As for `Device::queue_gemm`; the product has this plan's key.
    pub unsafe fn run(&self, gemm: &GemmCall) -> Result<()> {
        let addresses = MatmulAddresses::of(gemm);
        self.point(&addresses)?;
        // SAFETY: the caller's promise.
        unsafe { self.queue(&addresses, &self.algorithm) }
    }

    /// # Safety
    /// As for `run`.
    unsafe fn queue(&self, to: &MatmulAddresses, algorithm: &cublasLtMatmulAlgo_t) -> Result<()> {
        let handle = &*self.handle;
        let (alpha, beta) = (1f32, if self.key.accumulated { 1f32 } else { 0f32 });
        let [b, a, d] = self.layouts;
        let (multiply, pointer) = (handle.library.call.cublasLtMatmul, |address: u64| address as *mut c_void);
        // SAFETY: the addresses are the caller's promise; alpha and beta are read during the call; the workspace serves
        // this one stream.
        let status = unsafe {
            multiply(
                handle.raw,
                self.operation,
                (&raw const alpha).cast(),
                pointer(to.b),
                b,
                pointer(to.a),
                a,
                (&raw const beta).cast(),
                pointer(to.d),
                d,
                pointer(to.d),
                d,
                algorithm,
                pointer(handle.workspace),
                handle.workspace_bytes,
                handle.stream.handle.cast(),
            )
        };
        self.check(status)
    }

    /// Measures the proposals on outputs of its own, so that nothing of the caller's changes.
    ///
    /// # Safety
    /// As for `run`.
    unsafe fn fastest(&self, gemm: &GemmCall, proposals: &[cublasLtMatmulAlgo_t]) -> Result<cublasLtMatmulAlgo_t> {
        let elements = self.key.m * self.key.n;
        let d = Scratch::new(&self.handle, elements * if self.key.accumulated { 4 } else { 2 })?;
        let aux = Scratch::new(&self.handle, elements * 2)?;
        let mut addresses = MatmulAddresses { d: d.address, ..MatmulAddresses::of(gemm) };
        if self.key.epilogue != CUBLASLT_EPILOGUE_DGELU && addresses.aux != 0 {
            addresses.aux = aux.address;
        }
        self.point(&addresses)?;
        let stream = &self.handle.stream;
        let measure = |algorithm: &cublasLtMatmulAlgo_t| {
            // SAFETY (both): the inputs are the caller's promise, the outputs were allocated for this above.
            (0..WARMUP).try_for_each(|_| unsafe { self.queue(&addresses, algorithm) })?;
            stream.synchronize()?;
            let start = Instant::now();
            (0..TIMED).try_for_each(|_| unsafe { self.queue(&addresses, algorithm) })?;
            stream.synchronize().map(|()| start.elapsed())
        };
        // A proposal that does not run after all is no choice; a lost GPU shows at the next call.
        let times: Vec<Duration> =
            proposals.iter().map(|algorithm| measure(algorithm).unwrap_or(Duration::MAX)).collect();
        let best = (0..times.len()).min_by_key(|&i| times[i]).expect("there is a proposal");
        let time = times[best] / TIMED as u32;
        tracing::debug!("{}: algorithm {best} of {}, {time:?}", self.key.words(), proposals.len());
        Ok(proposals[best])
    }
}

impl Drop for MatmulPlan {
    fn drop(&mut self) {
        let call = &self.handle.library.call;
        // SAFETY: the descriptors are this one's own; the library reads them only during calls.
        unsafe {
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                (call.cublasLtMatrixLayoutDestroy)(layout);
            }
            if !self.operation.is_null() {
                (call.cublasLtMatmulDescDestroy)(self.operation);
            }
        }
    }
}

/// What an algorithm must respect.
struct MatmulPreference<'a> {
    plan: &'a MatmulPlan,
    handle: cublasLtMatmulPreference_t,
}

impl<'a> MatmulPreference<'a> {
    fn new(plan: &'a MatmulPlan) -> Result<Self> {
        let mut wishes = MatmulPreference { plan, handle: null_mut() };
        // SAFETY: writes one handle.
        plan.check(unsafe { (plan.handle.library.call.cublasLtMatmulPreferenceCreate)(&mut wishes.handle) })?;
        wishes.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, plan.handle.workspace_bytes)?;
        // A split sum over k is added up in f32 from the workspace, in order; never in place, never rounded in between.
        wishes.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32)?;
        let [a, b, d] = plan.key.alignments;
        wishes.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b)?;
        wishes.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a)?;
        wishes.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, d)?;
        wishes.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, d)?;
        Ok(wishes)
    }

    /// `T` is the preference's type.
    fn set<T>(&self, preference: Preference, value: T) -> Result<()> {
        let set = self.plan.handle.library.call.cublasLtMatmulPreferenceSetAttribute;
        // SAFETY: the value lives during the call and has the size that is given, which the library compares.
        self.plan.check(unsafe { set(self.handle, preference, (&raw const value).cast(), size_of::<T>()) })
    }
}

impl Drop for MatmulPreference<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is this one's own.
            unsafe { (self.plan.handle.library.call.cublasLtMatmulPreferenceDestroy)(self.handle) };
        }
    }
}

/// Device memory for measuring.
struct Scratch<'a> {
    handle: &'a CublasLtHandle,
    address: u64,
}

impl<'a> Scratch<'a> {
    fn new(handle: &'a CublasLtHandle, bytes: usize) -> Result<Self> {
        let mut address = 0;
        // SAFETY: writes one address.
        let code = unsafe { (handle.stream.driver.call.cuMemAlloc_v2)(&mut address, bytes) };
        handle.stream.check(code, format_args!("allocating {bytes} bytes to measure a product"))?;
        Ok(Scratch { handle, address })
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`; the driver waits for queued work that uses it.
        unsafe { (self.handle.stream.driver.call.cuMemFree_v2)(self.address) };
    }
}
