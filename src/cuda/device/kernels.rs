//! The kernel table, which the build derives from the kernels' own source (`kernels/build/table`).
//!
//! Every kernel of `kernels/*.cu` has a struct here, named after it, with a field for each of its parameters: a
//! `const T *` is a [`View`], a `T *` a [`ViewMut`], and a pointer marked `NULLABLE` an `Option`. `launch` queues the
//! kernel. A tensor that the copy engine reads (`LOAD_MAP`) is a [`TensorMap`], one that it writes (`STORE_MAP`) a
//! [`TensorMapMut`]. A kernel that is compiled for several head sizes has one struct, and `launch` takes the head size.
//! `cargo doc` shows them all.
//!
//! The emulator compares the table with the signatures that the C++ compiler sees
//! ([`check_signatures`](crate::cuda::emulator::device::check_signatures)).

use super::kernel::{Argument, Kernel, Launch};
use super::memory::{View, ViewMut};
use super::seam::Device;
use super::tensor_map::{TensorMap, TensorMapMut};
use crate::Result;
use half::bf16;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The `constexpr int` constants of the kernel files, one module for each file: tile and block sizes.
pub mod constants {
    include!(concat!(env!("OUT_DIR"), "/kernel_constants.rs"));
}

/// A size as kernels take it.
pub fn int(n: usize) -> i32 {
    i32::try_from(n).expect("sizes passed to kernels fit 31 bits")
}

/// The kernel that is compiled for this value, of a list of values and places in [`ALL`].
fn instance(instances: &[(usize, usize)], value: usize) -> &'static Kernel {
    let place = instances.iter().find(|(compiled, _)| *compiled == value);
    let (_, place) = place.unwrap_or_else(|| panic!("no kernel is compiled for {value}: callers check that before"));
    &ALL[*place]
}
