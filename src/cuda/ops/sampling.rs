//! Draws tokens from logits on the device.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::sampling::{DRAW_WORDS, THREADS};
use crate::cuda::device::kernels::{SamplingDraw, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use crate::engine::SampleRequest;
use half::bf16;

/// Words of an encoded draw.
pub const WORDS: usize = DRAW_WORDS;

/// A draw as the kernel reads it; its bit set goes beside it. The uniform keeps all its 53 bits, as a fraction of 2^64.
pub fn encode(draw: &SampleRequest) -> [u32; WORDS] {
    assert!((0.0..1.0).contains(&draw.uniform), "uniform {} lies outside 0..1", draw.uniform);
    let uniform = (draw.uniform * 2f64.powi(64)) as u64;
    let top_k = u32::try_from(draw.params.top_k).unwrap_or(u32::MAX);
    let [temperature, top_p] = [draw.params.temperature, draw.params.top_p].map(f32::to_bits);
    [temperature, top_p, top_k, uniform as u32, (uniform >> 32) as u32]
}

/// tokens (R) = a token drawn from each row of logits as [`SampleRequest`] says; u32::MAX where no token is allowed.
///
/// logits: (R, stride), of which the first `vocab` of a row count; draws: (R, WORDS) by [`encode`]; masks: bit sets of
/// ceil(vocab/32) words, one a row or one for all, none: every token is allowed.
pub struct Draw<'a> {
    pub tokens: ViewMut<'a, u32>,
    pub logits: View<'a, bf16>,
    pub draws: View<'a, u32>,
    pub masks: Option<View<'a, u32>>,
    pub vocab: usize,
}

impl Draw<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Draw { tokens, logits, draws, masks, vocab } = self;
        let (rows, words) = (tokens.len(), vocab.div_ceil(32));
        let stride = logits.len() / rows;
        assert!(stride.is_multiple_of(8) && 0 < vocab && vocab <= stride, "{vocab} tokens in rows of {stride}");
        assert_eq!((logits.len(), draws.len()), (rows * stride, rows * WORDS));
        let masks_len = masks.map_or(words, |masks| masks.len());
        assert!(masks_len == words || masks_len == rows * words, "masks of {masks_len} words for {rows} rows");
        let mask_stride = if masks_len == words { 0 } else { words };
        let draw = SamplingDraw {
            token: tokens,
            logits,
            draw: draws,
            allowed: masks,
            mask_stride: int(mask_stride),
            vocab: int(vocab),
            stride: int(stride),
        };
        // SAFETY: the assertions bound every index; the kernel reads eight logits at once, and 8 divides the stride.
        unsafe { draw.launch(device, Launch::new([rows, 1, 1], THREADS)) }
    }
}
