//! Decoding with a cache of keys and values, of one layer.
//!
//! A *row* is one new token: R rows, each with the slot it belongs to and its position there. A row whose slot or
//! position lies outside the cache is nobody's: it changes nothing and its attention is 0, so a batch may be padded with
//! them.

use crate::Result;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::seam::{Device, Launch, Span};
use half::bf16;

/// Positions that a block of the attention kernel attends to: `SPLIT` of `kernels/decode.cu`.
const SPLIT: usize = 256;

/// The largest head size.
const MOST_CHANNELS: usize = 128;

/// Keys and values of a layer are (slots, NH, context, HS) each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    pub slots: usize,
    pub context: usize,
    /// NH
    pub heads: usize,
    /// HS: a multiple of 8, at most 128.
    pub head_size: usize,
}

impl CacheShape {
    /// Elements of the keys, and of the values.
    pub fn len(&self) -> usize {
        self.slots * self.context * self.channels()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn channels(&self) -> usize {
        self.heads * self.head_size
    }

    /// Asserts what all kernels assume; R.
    fn check(
        &self,
        keys: Span<bf16>,
        values: Span<bf16>,
        qkv: Span<bf16>,
        slots: Span<u32>,
        positions: Span<u32>,
    ) -> usize {
        let (rows, size) = (slots.len(), self.head_size);
        assert!(
            size.is_multiple_of(8) && (8..=MOST_CHANNELS).contains(&size),
            "head size {size}: a multiple of 8 to 128"
        );
        assert_eq!((keys.len(), values.len()), (self.len(), self.len()));
        assert_eq!((qkv.len(), positions.len()), (rows * 3 * self.channels(), rows));
        rows
    }
}

/// Elements of scratch that `attend` needs for so many rows.
pub fn scratch(rows: usize, cache: CacheShape) -> usize {
    rows * cache.heads * cache.context.div_ceil(SPLIT) * (cache.head_size + 2)
}

/// keys[slot,h,position,:] and values[slot,h,position,:] = those of each row.
/// qkv: (R, 3, NH, HS); slots, positions: (R). No two rows may name the same place.
pub fn append(
    device: &dyn Device,
    keys: Span<bf16>,
    values: Span<bf16>,
    qkv: Span<bf16>,
    slots: Span<u32>,
    positions: Span<u32>,
    cache: CacheShape,
) -> Result<()> {
    let rows = cache.check(keys, values, qkv, slots, positions);
    // SAFETY: the assertions of `check` bound every index; the kernel skips rows outside the cache.
    unsafe {
        kernels::decode_append(
            device,
            Launch::new([rows, 1, 1], 256),
            keys.ptr(),
            values.ptr(),
            qkv.ptr(),
            slots.ptr(),
            positions.ptr(),
            int(cache.slots),
            int(cache.context),
            int(cache.heads),
            int(cache.head_size),
        )
    }
}

/// out (R, NH, HS) = attention of each row's queries over its slot's positions 0..=its own, which `append` has written.
/// scratch: of the length that [`scratch`] tells, overwritten; qkv: (R, 3, NH, HS); slots, positions: (R).
#[allow(clippy::too_many_arguments)]
pub fn attend(
    device: &dyn Device,
    out: Span<bf16>,
    scratch: Span<f32>,
    qkv: Span<bf16>,
    keys: Span<bf16>,
    values: Span<bf16>,
    slots: Span<u32>,
    positions: Span<u32>,
    cache: CacheShape,
) -> Result<()> {
    let rows = cache.check(keys, values, qkv, slots, positions);
    assert_eq!((out.len(), scratch.len()), (rows * cache.channels(), self::scratch(rows, cache)));
    let splits = cache.context.div_ceil(SPLIT);
    let tasks = rows * cache.heads * splits;
    // Partial sums come first: they are read by 16 bytes, statistics by 8.
    let (partial, statistic) =
        (scratch.first(tasks * cache.head_size), scratch.slice(tasks * cache.head_size..scratch.len()));
    let scale = std::f64::consts::LOG2_E / (cache.head_size as f64).sqrt();
    // SAFETY: the assertions above and of `check` bound every index; both kernels leave out what no row sees.
    unsafe {
        kernels::decode_attend(
            device,
            Launch::new([rows, cache.heads, splits], 128),
            partial.ptr(),
            statistic.ptr(),
            qkv.ptr(),
            keys.ptr(),
            values.ptr(),
            slots.ptr(),
            positions.ptr(),
            int(cache.slots),
            int(cache.context),
            int(cache.heads),
            int(cache.head_size),
            scale as f32,
        )?;
        kernels::decode_combine(
            device,
            Launch::new([rows, cache.channels().div_ceil(4 * 64), 1], 64),
            out.ptr(),
            partial.ptr(),
            statistic.ptr(),
            slots.ptr(),
            positions.ptr(),
            int(cache.slots),
            int(cache.context),
            int(cache.heads),
            int(cache.head_size),
        )
    }
}

/// to (R, C) = the named rows of `from` (N, C), 0 for a row that `from` lacks.
/// rows: (R); C, a multiple of 8, follows from the lengths.
pub fn gather(device: &dyn Device, to: Span<bf16>, from: Span<bf16>, rows: Span<u32>) -> Result<()> {
    let c = to.len() / rows.len();
    assert!(c > 0 && c.is_multiple_of(8), "{c} channels are not a multiple of 8");
    assert!(to.len() == rows.len() * c && from.len().is_multiple_of(c), "{} and {} elements", to.len(), from.len());
    // SAFETY: the assertions bound every index; the kernel takes zeros where a row lies outside `from`.
    unsafe {
        kernels::decode_gather(
            device,
            Launch::new([rows.len(), 1, 1], 128),
            to.ptr(),
            from.ptr(),
            rows.ptr(),
            int(from.len() / c),
            int(c),
        )
    }
}
