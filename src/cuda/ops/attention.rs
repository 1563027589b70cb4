//! Causal multi-head attention on the packed (B,T,3,NH,HS) queries, keys and values.

use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use crate::{Error, Result};
use half::bf16;

/// Head sizes that there are kernels for.
pub const HEAD_SIZES: [usize; 3] = [32, 64, 128];

const THREADS: usize = 128;

/// Bytes that the kernels move at a time.
const ALIGNMENT: u64 = 16;

/// Rows of the backward pass's scratch are padded to a multiple of this, as in `kernels/attention.cuh`.
const ROW_PADDING: usize = 128;

/// The sizes of one call.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batch: usize,
    pub seq_len: usize,
    pub heads: usize,
    pub head_size: usize,
}

/// Rows that a block owns, and rows of the tiles it streams past them, as instantiated in `kernels/attention_*.cu`.
#[derive(Clone, Copy)]
struct Tiles {
    owned: usize,
    streamed: usize,
}

impl Tiles {
    const fn new(owned: usize, streamed: usize) -> Self {
        Tiles { owned, streamed }
    }

    /// One block for every head and every `owned` rows of it. Shared memory holds the owned rows of `kept` matrices and
    /// two tiles of each of two streamed ones.
    fn launch(self, kept: usize, shape: Shape) -> Launch {
        let bytes = 2 * shape.head_size * (kept * self.owned + 4 * self.streamed);
        shape.grid(shape.seq_len.div_ceil(self.owned)).shared(bytes)
    }
}

impl Shape {
    /// Elements of (B,T,NH,HS).
    fn activations(&self) -> usize {
        self.batch * self.seq_len * self.heads * self.head_size
    }

    /// Elements of (B,NH,T).
    fn rows(&self) -> usize {
        self.batch * self.heads * self.seq_len
    }

    fn padded_time(&self) -> usize {
        self.seq_len.next_multiple_of(ROW_PADDING)
    }

    fn grid(&self, blocks_per_head: usize) -> Launch {
        Launch::new([self.batch * self.heads, blocks_per_head, 1], THREADS)
    }

    fn scale(&self) -> f32 {
        (1.0 / (self.head_size as f64).sqrt()) as f32
    }

    fn check(&self) {
        assert!(HEAD_SIZES.contains(&self.head_size), "{self:?}: the engine asks `supported` first");
        assert!(self.batch > 0 && self.seq_len > 0 && self.heads > 0, "{self:?} is empty");
        // Kernels count within one sequence in 32 bits.
        int(self.seq_len * 3 * self.heads * self.head_size);
    }

    /// The instance of this head size.
    fn pick<T>(&self, [at_32, at_64, at_128]: [T; 3]) -> T {
        match self.head_size {
            32 => at_32,
            64 => at_64,
            _ => at_128,
        }
    }
}

/// Whether there are kernels for the head size.
///
/// # Errors
/// Names the head sizes that there are.
pub fn supported(head_size: usize) -> Result<()> {
    if HEAD_SIZES.contains(&head_size) {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the CUDA engine has attention kernels for head sizes {HEAD_SIZES:?}; this model's is {head_size} (channels / \
         heads): choose another number of heads, or use --device cpu"
    )))
}

/// f32 elements of scratch that [`Backward`] needs: two statistics for each row of (B,NH,T), T padded.
pub fn scratch(shape: Shape) -> usize {
    2 * shape.batch * shape.heads * shape.padded_time()
}

fn assert_aligned<const N: usize>(aligned: [bool; N]) {
    assert_eq!(aligned, [true; N], "a buffer is not aligned to {ALIGNMENT} bytes");
}

/// out (B,T,NH,HS) = softmax(mask(q k' / sqrt(HS))) v for each head of qkv (B,T,3,NH,HS); lse (B,NH,T): natural
/// log-sum-exp of the scaled scores. After FlashAttention-2 (Dao, 2023).
pub struct Forward<'a> {
    pub out: ViewMut<'a, bf16>,
    pub lse: ViewMut<'a, f32>,
    pub qkv: View<'a, bf16>,
    pub shape: Shape,
}

/// Gradient of [`Forward`] at dout (B,T,NH,HS), given its out and lse.
/// dqkv (B,T,3,NH,HS) is overwritten, and so is `scratch`, of [`scratch`] elements. Bit-identical from run to run.
pub struct Backward<'a> {
    pub dqkv: ViewMut<'a, bf16>,
    pub scratch: ViewMut<'a, f32>,
    pub dout: View<'a, bf16>,
    pub out: View<'a, bf16>,
    pub lse: View<'a, f32>,
    pub qkv: View<'a, bf16>,
    pub shape: Shape,
}

impl Forward<'_> {
    /// # Errors
    /// When the launch fails.
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Forward { out, lse, qkv, shape } = self;
        shape.check();
        assert_eq!((out.len(), lse.len()), (shape.activations(), shape.rows()));
        assert_eq!(qkv.len(), 3 * shape.activations());
        assert_aligned([out.is_aligned_to(ALIGNMENT), qkv.is_aligned_to(ALIGNMENT)]);
        let kernel =
            shape.pick([kernels::attention_forward_32, kernels::attention_forward_64, kernels::attention_forward_128]);
        let tiles = shape.pick([Tiles::new(128, 64), Tiles::new(128, 64), Tiles::new(128, 32)]);
        let launch = tiles.launch(1, shape);
        let Shape { seq_len, heads, .. } = shape;
        // SAFETY: the assertions above bound every index.
        unsafe { kernel(device, launch, out.ptr(), lse.ptr(), qkv.ptr(), int(seq_len), int(heads), shape.scale()) }
    }
}

impl Backward<'_> {
    /// # Errors
    /// When a launch fails.
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Backward { dqkv, scratch, dout, out, lse, qkv, shape } = self;
        shape.check();
        assert_eq!((dqkv.len(), qkv.len()), (3 * shape.activations(), 3 * shape.activations()));
        assert_eq!((dout.len(), out.len()), (shape.activations(), shape.activations()));
        assert_eq!((scratch.len(), lse.len()), (self::scratch(shape), shape.rows()));
        assert_aligned([dqkv.is_aligned_to(ALIGNMENT), scratch.is_aligned_to(ALIGNMENT)]);
        assert_aligned([dout, out, qkv].map(|input| input.is_aligned_to(ALIGNMENT)));
        self.row_statistics(device)?;
        self.key_gradients(device)?;
        self.query_gradients(device)
    }

    /// scratch (B,NH,2,Tp) = lse in units of ln 2, and delta = sum of dout x out over the head size.
    fn row_statistics(&self, device: &dyn Device) -> Result<()> {
        let Backward { scratch, dout, out, lse, shape, .. } = *self;
        let kernel = shape.pick([
            kernels::attention_backward_rows_32,
            kernels::attention_backward_rows_64,
            kernels::attention_backward_rows_128,
        ]);
        let lanes_per_row = shape.head_size / 8;
        let launch = shape.grid(shape.padded_time() / (THREADS / lanes_per_row));
        let Shape { seq_len, heads, .. } = shape;
        // SAFETY: the assertions of `run` bound every index.
        unsafe { kernel(device, launch, scratch.ptr(), dout.ptr(), out.ptr(), lse.ptr(), int(seq_len), int(heads)) }
    }

    /// The parts of dqkv for keys and values.
    fn key_gradients(&self, device: &dyn Device) -> Result<()> {
        let Backward { dqkv, scratch, dout, qkv, shape, .. } = *self;
        let kernel = shape.pick([
            kernels::attention_backward_keys_32,
            kernels::attention_backward_keys_64,
            kernels::attention_backward_keys_128,
        ]);
        let tiles = shape.pick([Tiles::new(128, 32), Tiles::new(128, 32), Tiles::new(64, 32)]);
        let mut launch = tiles.launch(2, shape);
        // Two statistics for each row of two tiles of queries.
        launch.shared += 2 * 2 * tiles.streamed * size_of::<f32>();
        let (seq_len, heads, scale) = (int(shape.seq_len), int(shape.heads), shape.scale());
        let (dqkv, rows, dout, qkv) = (dqkv.ptr(), scratch.ptr(), dout.ptr(), qkv.ptr());
        // SAFETY: the assertions of `run` bound every index.
        unsafe { kernel(device, launch, dqkv, rows, dout, qkv, seq_len, heads, scale) }
    }

    /// The part of dqkv for queries.
    fn query_gradients(&self, device: &dyn Device) -> Result<()> {
        let Backward { dqkv, scratch, dout, qkv, shape, .. } = *self;
        let kernel = shape.pick([
            kernels::attention_backward_queries_32,
            kernels::attention_backward_queries_64,
            kernels::attention_backward_queries_128,
        ]);
        let tiles = shape.pick([Tiles::new(128, 32), Tiles::new(128, 32), Tiles::new(64, 32)]);
        let launch = tiles.launch(2, shape);
        let (seq_len, heads, scale) = (int(shape.seq_len), int(shape.heads), shape.scale());
        let (dqkv, rows, dout, qkv) = (dqkv.ptr(), scratch.ptr(), dout.ptr(), qkv.ptr());
        // SAFETY: the assertions of `run` bound every index.
        unsafe { kernel(device, launch, dqkv, rows, dout, qkv, seq_len, heads, scale) }
    }
}
