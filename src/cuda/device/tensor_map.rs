//! Tensors as Hopper's copy engine sees them: it moves boxes of them, and what lies beyond a tensor's edge is zero when it is
//! read, and not written.
//!
//! As of views there are two types, so an input does not pass for an output. Neither holds what the hardware wants: a device
//! encodes a map when a kernel is launched with it, and only once for a buffer (`cuTensorMapEncodeTiled`).

use super::memory::{View, ViewMut};
use half::bf16;
use std::marker::PhantomData;

/// Dimensions of a tensor.
pub const RANK: usize = 4;

/// Where a tensor of bf16 lies, its sizes, and those of a box, the dimension that runs fastest first. There are no gaps
/// between its elements. In shared memory a box has the 128-byte swizzle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapLayout {
    pub address: u64,
    pub sizes: [u64; RANK],
    pub tile: [u32; RANK],
}

impl MapLayout {
    /// Bytes from one index to the next along each dimension but the first.
    pub fn strides(&self) -> [u64; RANK - 1] {
        let mut stride = size_of::<bf16>() as u64;
        std::array::from_fn(|dimension| {
            stride *= self.sizes[dimension];
            stride
        })
    }
}

/// A tensor whose boxes a kernel reads.
#[derive(Clone, Copy)]
pub struct TensorMap<'a> {
    layout: MapLayout,
    of: PhantomData<&'a bf16>,
}

/// A tensor whose boxes a kernel writes.
#[derive(Clone, Copy)]
pub struct TensorMapMut<'a> {
    layout: MapLayout,
    of: PhantomData<&'a bf16>,
}

fn layout(address: u64, len: usize, sizes: [usize; RANK], tile: [u32; RANK]) -> MapLayout {
    assert_eq!(len, sizes.iter().product::<usize>(), "the elements are those of the tensor");
    MapLayout { address, sizes: sizes.map(|size| size as u64), tile }
}

impl<'a> TensorMap<'a> {
    /// All elements of the view as a tensor of these sizes, the dimension that runs fastest first.
    pub fn new(of: View<'a, bf16>, sizes: [usize; RANK], tile: [u32; RANK]) -> Self {
        TensorMap { layout: layout(of.address(), of.len(), sizes, tile), of: PhantomData }
    }

    pub(super) fn layout(&self) -> MapLayout {
        self.layout
    }
}

impl<'a> TensorMapMut<'a> {
    /// As [`TensorMap::new`].
    pub fn new(of: ViewMut<'a, bf16>, sizes: [usize; RANK], tile: [u32; RANK]) -> Self {
        TensorMapMut { layout: layout(of.address(), of.len(), sizes, tile), of: PhantomData }
    }

    pub(super) fn layout(&self) -> MapLayout {
        self.layout
    }
}
