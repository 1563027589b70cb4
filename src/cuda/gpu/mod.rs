//! A GPU through its driver: libcuda and cuBLASLt, which are loaded when the program runs.

mod cublaslt;
mod cublaslt_handle;
pub mod cublaslt_library;
pub mod device;
pub mod devices;
pub mod driver;
pub mod fatbin;
pub mod library;
mod matmul_plan;
mod modules;
mod pinned_ring;
mod stream;
pub mod tensor_maps;
