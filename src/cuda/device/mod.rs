//! The seam under the CUDA engine: device memory, launches, products, recorded work, and the trait of a device.

pub mod arena;
pub mod gemm;
pub mod graph_cache;
pub mod kernels;
pub mod op;
pub mod seam;
