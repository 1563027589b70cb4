//! A kernel as data: what the table holds of it, its arguments, and the shape of a launch.

use super::tensor_map::MapLayout;
use crate::Result;
use bytemuck::Pod;
use std::ffi::c_void;

/// One kernel of the table.
#[derive(Debug)]
pub struct Kernel {
    /// Its place in [`super::kernels::ALL`].
    pub index: usize,
    /// Its name in the fatbin.
    pub name: &'static str,
    /// The compute capability of the only cards that can run it; None: all that the program supports.
    pub only: Option<(u32, u32)>,
    /// Bytes of each argument.
    pub sizes: &'static [u8],
    /// The letter of each argument's type, by which the emulator knows it (`kernels/emulator/device/kernel.h`):
    /// capitals for pointers, by what they point to.
    pub kinds: &'static [u8],
}

/// An argument of a launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// A number or an address, in its first bytes.
    Value([u8; 8]),
    /// A tensor map, which the device encodes.
    Map(MapLayout),
}

impl Argument {
    /// Of at most 8 bytes.
    pub fn value<T: Pod>(value: T) -> Self {
        let mut bytes = [0; 8];
        bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        Argument::Value(bytes)
    }
}

/// Calls with pointers to the arguments, as `cuLaunchKernel` takes them. `encode` gives what the device wants of a map.
pub fn with_pointers<M>(
    arguments: &[Argument],
    encode: impl Fn(&MapLayout) -> Result<M>,
    call: impl FnOnce(&mut [*mut c_void]) -> Result<()>,
) -> Result<()> {
    let mut values: Vec<[u8; 8]> = Vec::new();
    let mut maps: Vec<M> = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Value(value) => values.push(*value),
            Argument::Map(layout) => maps.push(encode(layout)?),
        }
    }
    let (mut values, mut maps) = (values.iter_mut(), maps.iter_mut());
    let pointer = |argument: &Argument| match argument {
        Argument::Value(_) => values.next().map(|value| value.as_mut_ptr().cast::<c_void>()),
        Argument::Map(_) => maps.next().map(|map| (&raw mut *map).cast::<c_void>()),
    };
    let mut pointers: Vec<*mut c_void> = arguments.iter().filter_map(pointer).collect();
    call(&mut pointers)
}

/// Grid, block and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    pub grid: [u32; 3],
    pub block: u32,
    /// Bytes.
    pub shared: usize,
}

impl Launch {
    pub fn new(grid: [usize; 3], block: usize) -> Self {
        let grid = grid.map(|n| u32::try_from(n).expect("a grid dimension fits 32 bits"));
        Launch { grid, block: block as u32, shared: 0 }
    }

    /// A one-dimensional grid with a block for every `per_block` items.
    pub fn cover(items: usize, per_block: usize, block: usize) -> Self {
        Self::new([items.div_ceil(per_block), 1, 1], block)
    }

    pub fn shared(self, bytes: usize) -> Self {
        Launch { shared: bytes, ..self }
    }
}
