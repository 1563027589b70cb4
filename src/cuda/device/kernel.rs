//! A kernel as data: what the table holds of it, what may be passed to it, and the shape of a launch.

use super::memory::Ptr;
use half::bf16;

/// One kernel of the table.
#[derive(Debug)]
pub struct Kernel {
    /// Its place in [`super::kernels::ALL`].
    pub index: usize,
    /// Its name in the fatbin.
    pub name: &'static str,
    /// Bytes of each argument.
    pub sizes: &'static [u8],
    /// Kind of each argument (see [`Argument`]).
    pub kinds: &'static [u8],
}

/// What may be passed to a kernel. KIND is the letter that the emulator derives from the C++ signature: capitals for
/// pointers, by what they point to.
pub trait Argument: Copy {
    const KIND: u8;
}

macro_rules! arguments {
    ($($type:ty = $kind:literal),*) => { $(impl Argument for $type { const KIND: u8 = $kind; })* };
}
arguments!(Ptr<bf16> = b'B', Ptr<f32> = b'F', Ptr<f64> = b'D', Ptr<u32> = b'U', i32 = b'i', i64 = b'l', f32 = b'f');

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
