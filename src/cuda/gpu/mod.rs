//! A GPU through its driver: libcuda and cuBLASLt, looked up when the program runs.

pub mod cublaslt;
pub mod device;
pub mod devices;
pub mod driver;
pub mod fatbin;
pub mod library;
mod modules;
mod pinned_ring;
mod plan;
mod stream;
