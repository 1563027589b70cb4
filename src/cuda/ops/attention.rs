//! Causal multi-head attention on the packed (B,T,3,NH,HS) queries, keys and values, by the kernels of every card.

use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::attention::{ROW_PADDING, THREADS};
use crate::cuda::device::kernels::constants::{attention_backward, attention_forward};
use crate::cuda::device::kernels::{
    AttentionBackwardKeys, AttentionBackwardQueries, AttentionBackwardRows, AttentionForward, int,
};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use crate::{Error, Result};
use half::bf16;

/// The head sizes that have kernels.
pub use crate::cuda::device::kernels::constants::attention::HEAD_SIZES;

/// The number of bytes that the kernels move at a time.
const ALIGNMENT: u64 = 16;

/// The sizes of one call.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    pub batch: usize,
    pub seq_len: usize,
    pub heads: usize,
    pub head_size: usize,
}

/// Rows that a block owns, and rows of the tiles that it streams past them.
#[derive(Clone, Copy)]
struct Tiles {
    owned: usize,
    streamed: usize,
}

/// A constant of `kernels/attention_*.cu` for each of [`HEAD_SIZES`].
type ByHeadSize = [usize; HEAD_SIZES.len()];

impl Tiles {
    /// One block for every head and every `owned` rows of it. Shared memory holds the owned rows of `kept` matrices and
    /// two tiles of each of two streamed ones.
    fn launch(self, kept: usize, shape: AttentionShape) -> Launch {
        let bytes = 2 * shape.head_size * (kept * self.owned + 4 * self.streamed);
        shape.grid(shape.seq_len.div_ceil(self.owned)).shared(bytes)
    }
}

impl AttentionShape {
    /// Elements of (B,T,NH,HS).
    pub(super) fn activations(&self) -> usize {
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

    pub(super) fn scale(&self) -> f32 {
        (1.0 / (self.head_size as f64).sqrt()) as f32
    }

    fn check(&self) {
        assert!(HEAD_SIZES.contains(&self.head_size), "{self:?}: the engine asks `supported` first");
        assert!(self.batch > 0 && self.seq_len > 0 && self.heads > 0, "{self:?} is empty");
        // Kernels count within one sequence in 32 bits.
        int(self.seq_len * 3 * self.heads * self.head_size);
    }

    fn tiles(&self, owned: &ByHeadSize, streamed: &ByHeadSize) -> Tiles {
        let place = HEAD_SIZES.iter().position(|size| *size == self.head_size).expect("`check` comes first");
        Tiles { owned: owned[place], streamed: streamed[place] }
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

/// f32 elements of scratch that [`Backward`] needs, and Hopper's kernels too: two statistics for each row of (B,NH,T), T padded.
pub fn scratch(shape: AttentionShape) -> usize {
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
    pub shape: AttentionShape,
}

impl Forward<'_> {
    /// What bounds every index that the kernels form.
    pub(super) fn check(&self) {
        let Forward { out, lse, qkv, shape } = self;
        shape.check();
        assert_eq!((out.len(), lse.len()), (shape.activations(), shape.rows()));
        assert_eq!(qkv.len(), 3 * shape.activations());
        assert_aligned([out.is_aligned_to(ALIGNMENT), qkv.is_aligned_to(ALIGNMENT)]);
    }
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
    pub shape: AttentionShape,
}

impl Forward<'_> {
    /// # Errors
    /// When the launch fails.
    pub fn run(self, device: &dyn Device) -> Result<()> {
        self.check();
        let Forward { out, lse, qkv, shape } = self;
        let launch = shape.tiles(&attention_forward::OWNED, &attention_forward::STREAMED).launch(1, shape);
        let (t, nh, scale) = (int(shape.seq_len), int(shape.heads), shape.scale());
        // SAFETY: `check` bounds every index.
        unsafe { AttentionForward { out, lse, qkv, t, nh, scale }.launch(device, shape.head_size, launch) }
    }
}

impl Backward<'_> {
    /// # Errors
    /// When a launch fails.
    pub fn run(self, device: &dyn Device) -> Result<()> {
        self.check();
        self.row_statistics(device)?;
        self.key_gradients(device)?;
        self.query_gradients(device)
    }

    /// What bounds every index that the kernels form.
    pub(super) fn check(&self) {
        let &Backward { dqkv, scratch, dout, out, lse, qkv, shape } = self;
        shape.check();
        assert_eq!((dqkv.len(), qkv.len()), (3 * shape.activations(), 3 * shape.activations()));
        assert_eq!((dout.len(), out.len()), (shape.activations(), shape.activations()));
        assert_eq!((scratch.len(), lse.len()), (self::scratch(shape), shape.rows()));
        assert_aligned([dqkv.is_aligned_to(ALIGNMENT), scratch.is_aligned_to(ALIGNMENT)]);
        assert_aligned([dout, out, qkv].map(|input| input.is_aligned_to(ALIGNMENT)));
    }

    /// scratch (B,NH,2,Tp) = lse in units of ln 2, and delta = sum of dout x out over the head size.
    fn row_statistics(&self, device: &dyn Device) -> Result<()> {
        let Backward { scratch, dout, out, lse, shape, .. } = *self;
        let lanes_per_row = shape.head_size / 8;
        let launch = shape.grid(shape.padded_time() / (THREADS / lanes_per_row));
        let (rows, t, nh) = (scratch, int(shape.seq_len), int(shape.heads));
        let kernel = AttentionBackwardRows { rows, dout, out, lse, t, nh };
        // SAFETY: `check` bounds every index.
        unsafe { kernel.launch(device, shape.head_size, launch) }
    }

    /// The parts of dqkv for keys and values.
    fn key_gradients(&self, device: &dyn Device) -> Result<()> {
        let Backward { dqkv, scratch, dout, qkv, shape, .. } = *self;
        let tiles = shape.tiles(&attention_backward::KEYS_OWNED, &attention_backward::QUERIES_STREAMED);
        let mut launch = tiles.launch(2, shape);
        // Two statistics for each row of two tiles of queries.
        launch.shared += 2 * 2 * tiles.streamed * size_of::<f32>();
        let (rows, t, nh, scale) = (scratch.as_view(), int(shape.seq_len), int(shape.heads), shape.scale());
        let kernel = AttentionBackwardKeys { dqkv, rows, dout, qkv, t, nh, scale };
        // SAFETY: `check` bounds every index.
        unsafe { kernel.launch(device, shape.head_size, launch) }
    }

    /// The part of dqkv for queries.
    fn query_gradients(&self, device: &dyn Device) -> Result<()> {
        let Backward { dqkv, scratch, dout, qkv, shape, .. } = *self;
        let tiles = shape.tiles(&attention_backward::QUERIES_OWNED, &attention_backward::KEYS_STREAMED);
        let launch = tiles.launch(2, shape);
        let (rows, t, nh, scale) = (scratch.as_view(), int(shape.seq_len), int(shape.heads), shape.scale());
        let kernel = AttentionBackwardQueries { dqkv, rows, dout, qkv, t, nh, scale };
        // SAFETY: `check` bounds every index.
        unsafe { kernel.launch(device, shape.head_size, launch) }
    }
}
