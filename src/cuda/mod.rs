//! The CUDA engine: bf16 weights and activations, f32 sums, hand-written kernels (`kernels/`), matrix products by cuBLASLt.
//!
//! One file per operation, named as its kernel file and its reference in [`crate::cpu`]. A driver takes [`Span`]s, asserts
//! their lengths (which bounds every index its kernel forms) and launches. Everything under a driver goes through the
//! [`Device`] seam: a GPU, or the emulator that runs the same kernels on the CPU.

pub mod cards;
pub mod cublaslt;
pub mod device;
pub mod driver;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod fatbin;
pub mod gemm;
pub mod gpu;
pub mod kernels;
pub mod layernorm;
pub mod library;
mod modules;
mod place;
mod plan;
mod queue;
mod staging;

pub use device::{Buffer, Device, Graph, Launch, Ptr, Span};
pub use place::{Place, first, open};
