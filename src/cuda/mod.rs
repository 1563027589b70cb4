//! The CUDA engine: bf16 weights and activations, f32 sums, hand-written kernels (`kernels/`), matrix products by cuBLASLt.
//!
//! | room | what lives there |
//! |---|---|
//! | `device` | the seam: memory, launches, products, graphs, the kernel table |
//! | `ops` | one driver per operation, named as its kernel file and its reference in [`crate::cpu`] |
//! | `model` | parameters, activations, passes, KV cache, memory report, the engine |
//! | `gpu`, `emulator` | the two devices: a GPU through its driver, and the same kernels on the CPU |
//! | `perf` | peaks, roofline, the recorder of operations, their measurement |

pub mod device;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod gpu;
pub mod model;
pub mod open;
pub mod ops;
pub mod perf;
