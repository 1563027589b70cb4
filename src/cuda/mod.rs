//! The CUDA engine: bf16 weights and activations, f32 sums, hand-written kernels (`kernels/`), matrix products by cuBLASLt.
//!
//! One file per operation, named as its kernel file and its reference in [`crate::cpu`]. A driver takes [`Span`]s, asserts
//! their lengths (which bounds every index its kernel forms) and launches. Everything under a driver goes through the
//! [`Device`] seam: a GPU, or the emulator that runs the same kernels on the CPU.

pub mod activations;
pub mod adamw;
mod arena;
pub mod attention;
mod backward;
pub mod bias;
mod cache;
pub mod cards;
pub mod cross_entropy;
pub mod cublaslt;
pub mod decode;
pub mod device;
pub mod driver;
pub mod embedding;
#[cfg(feature = "emulator")]
pub mod emulator;
mod engine;
pub mod fatbin;
mod forward;
pub mod gelu;
pub mod gemm;
pub mod gpu;
pub mod kernels;
pub mod layernorm;
pub mod library;
pub mod linear;
pub mod measure;
pub mod memory;
mod modules;
pub mod peaks;
mod place;
mod plan;
mod queue;
mod recurring;
pub mod roofline;
pub mod sampling;
mod staging;
pub mod watched;
mod weights;
pub mod work;

pub use device::{Buffer, Device, Graph, Launch, Ptr, Span};
pub use engine::{CudaEngine, Options};
pub use place::{Place, first, open};
