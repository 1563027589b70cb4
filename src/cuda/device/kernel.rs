//! A kernel as data: what the table holds of it, and the shape of a launch.

/// One kernel of the table.
#[derive(Debug)]
pub struct Kernel {
    /// Its place in [`super::kernels::ALL`].
    pub index: usize,
    /// Its name in the fatbin.
    pub name: &'static str,
    /// Bytes of each argument.
    pub sizes: &'static [u8],
    /// The letter of each argument's type, by which the emulator knows it (`kernels/emulator/device/kernel.h`):
    /// capitals for pointers, by what they point to.
    pub kinds: &'static [u8],
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
