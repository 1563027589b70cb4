//! The kernels of `kernels/` on the CPU, on fibres (see `kernels/emulator/README.md`).

pub mod device;
mod entries;
mod product;
pub mod runtime;
