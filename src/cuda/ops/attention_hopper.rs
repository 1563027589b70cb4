//! Causal multi-head attention as [`super::attention`] has it, by the kernels of Hopper (wgmma, TMA). Their blocks persist:
//! a pair of pieces of work, which together cost as much as any other pair, follows the other.

use super::attention::{self, AttentionShape};
use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::attention_hopper::{BOX_ROWS, ROW_PADDING, WARPGROUP};
use crate::cuda::device::kernels::constants::{
    attention as of_every_card, attention_hopper_forward, attention_hopper_keys, attention_hopper_queries,
};
use crate::cuda::device::kernels::{AttentionHopperForward, AttentionHopperKeys, AttentionHopperQueries, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use crate::cuda::device::tensor_map::{RANK, TensorMap, TensorMapMut};
use half::bf16;

/// The head sizes that have kernels.
pub use crate::cuda::device::kernels::constants::attention_hopper::HEAD_SIZES;

/// The cards that can run them: no later ones, since wgmma is Hopper's alone.
pub const CAPABILITY: (u32, u32) = (9, 0);

const _: () = assert!(ROW_PADDING == of_every_card::ROW_PADDING, "`attention::scratch` is for both");

/// A constant of `kernels/attention_hopper_*.cu` for each of [`HEAD_SIZES`].
type ByHeadSize = [usize; HEAD_SIZES.len()];

/// `warpgroups`: those that compute; one more loads.
fn launch(device: &dyn Device, shape: AttentionShape, warpgroups: &ByHeadSize, shared_bytes: &ByHeadSize) -> Launch {
    let place = HEAD_SIZES.iter().position(|size| *size == shape.head_size);
    let place = place.unwrap_or_else(|| panic!("{shape:?}: who chooses the kernels asks for the head size first"));
    let pieces_per_head = shape.seq_len.div_ceil(warpgroups[place] * BOX_ROWS);
    let pairs = shape.batch * shape.heads * pieces_per_head.div_ceil(2);
    let blocks = device.properties().multiprocessors.min(pairs);
    Launch::new([blocks, 1, 1], (warpgroups[place] + 1) * WARPGROUP).shared(shared_bytes[place])
}

/// A box: 64 columns of 64 rows of a head.
const TILE: [u32; RANK] = [64, 1, BOX_ROWS as u32, 1];

/// (B,T,parts,NH,HS) as the kernels see it.
fn sizes(shape: AttentionShape, parts: usize) -> [usize; RANK] {
    [shape.head_size, parts * shape.heads, shape.seq_len, shape.batch]
}

fn loads(view: View<'_, bf16>, shape: AttentionShape, parts: usize) -> TensorMap<'_> {
    TensorMap::new(view, sizes(shape, parts), TILE)
}

fn stores(view: ViewMut<'_, bf16>, shape: AttentionShape, parts: usize) -> TensorMapMut<'_> {
    TensorMapMut::new(view, sizes(shape, parts), TILE)
}

/// As [`attention::Forward`]; after FlashAttention-3 (Shah et al., 2024).
pub struct Forward<'a>(pub attention::Forward<'a>);

/// As [`attention::Backward`].
pub struct Backward<'a>(pub attention::Backward<'a>);

impl Forward<'_> {
    /// # Errors
    /// When the launch fails.
    pub fn run(self, device: &dyn Device) -> Result<()> {
        self.0.check();
        let attention::Forward { out, lse, qkv, shape } = self.0;
        use attention_hopper_forward::{SHARED_BYTES, WARPGROUPS};
        let launch = launch(device, shape, &WARPGROUPS, &SHARED_BYTES);
        let (qkv, out) = (loads(qkv, shape, 3), stores(out, shape, 1));
        let (b, t, nh, scale) = (int(shape.batch), int(shape.seq_len), int(shape.heads), shape.scale());
        // SAFETY: `check` bounds the rows of lse; the copy engine leaves no tensor.
        unsafe { AttentionHopperForward { qkv, out, lse, b, t, nh, scale }.launch(device, shape.head_size, launch) }
    }
}

impl Backward<'_> {
    /// # Errors
    /// When a launch fails.
    pub fn run(self, device: &dyn Device) -> Result<()> {
        self.0.check();
        self.query_gradients(device)?;
        self.key_gradients(device)
    }

    /// The part of dqkv for queries; scratch (B,NH,2,Tp) = lse in units of ln 2, and delta = sum of dout x out over the head
    /// size.
    fn query_gradients(&self, device: &dyn Device) -> Result<()> {
        let attention::Backward { dqkv, scratch: rows, dout, out, lse, qkv, shape } = self.0;
        use attention_hopper_queries::{SHARED_BYTES, WARPGROUPS};
        let launch = launch(device, shape, &WARPGROUPS, &SHARED_BYTES);
        let (qkv, dout, out, dqkv) =
            (loads(qkv, shape, 3), loads(dout, shape, 1), loads(out, shape, 1), stores(dqkv, shape, 3));
        let (b, t, nh, scale) = (int(shape.batch), int(shape.seq_len), int(shape.heads), shape.scale());
        let kernel = AttentionHopperQueries { qkv, dout, out, dqkv, rows, lse, b, t, nh, scale };
        // SAFETY: `check` bounds the rows of lse and scratch; the copy engine leaves no tensor.
        unsafe { kernel.launch(device, shape.head_size, launch) }
    }

    /// The parts of dqkv for keys and values.
    fn key_gradients(&self, device: &dyn Device) -> Result<()> {
        let attention::Backward { dqkv, scratch, dout, qkv, shape, .. } = self.0;
        use attention_hopper_keys::{SHARED_BYTES, WARPGROUPS};
        let launch = launch(device, shape, &WARPGROUPS, &SHARED_BYTES);
        let (qkv, dout, dqkv, rows) =
            (loads(qkv, shape, 3), loads(dout, shape, 1), stores(dqkv, shape, 3), scratch.as_view());
        let (b, t, nh, scale) = (int(shape.batch), int(shape.seq_len), int(shape.heads), shape.scale());
        // SAFETY: `check` bounds the rows of scratch; the copy engine leaves no tensor.
        unsafe {
            AttentionHopperKeys { qkv, dout, dqkv, rows, b, t, nh, scale }.launch(device, shape.head_size, launch)
        }
    }
}
