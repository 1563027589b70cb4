//! The seam under the CUDA engine: device memory, launches, products, recorded work, and the trait of a device.

pub mod allocator;
pub mod buffer_copies;
pub mod gemm;
pub mod graph_cache;
pub mod kernel;
pub mod kernels;
pub mod memory;
pub mod op;
pub mod seam;
pub mod tensor_map;
