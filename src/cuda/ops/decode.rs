//! Decoding with a cache of keys and values, of one layer.
//!
//! A *row* is one new token: R rows, each with the slot it belongs to and its position there. A row whose slot or
//! position lies outside the cache is padding: it changes nothing, and its attention is 0.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::decode::{
    APPEND_THREADS, ATTEND_THREADS, COMBINE_THREADS, GATHER_THREADS, MOST_LANES, SPLIT,
};
use crate::cuda::device::kernels::{DecodeAppend, DecodeAttend, DecodeCombine, DecodeGather, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// The largest head size: a lane has eight channels.
const MOST_CHANNELS: usize = 8 * MOST_LANES;

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
}

/// New tokens: R rows, each with its slot and its position there.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub qkv: View<'a, bf16>,      // (R, 3, NH, HS)
    pub slots: View<'a, u32>,     // (R)
    pub positions: View<'a, u32>, // (R)
}

impl Rows<'_> {
    /// Asserts what all kernels assume, with keys and values of these lengths; R.
    fn check(&self, cache: CacheShape, keys: usize, values: usize) -> usize {
        let (rows, size) = (self.slots.len(), cache.head_size);
        assert!(
            size.is_multiple_of(8) && (8..=MOST_CHANNELS).contains(&size),
            "head size {size}: a multiple of 8 to 128"
        );
        assert_eq!((keys, values), (cache.len(), cache.len()));
        assert_eq!((self.qkv.len(), self.positions.len()), (rows * 3 * cache.channels(), rows));
        rows
    }
}

/// `keys[slot,h,position,:]` and `values[slot,h,position,:]` = those of each row. No two rows may name the same place.
pub struct Append<'a> {
    pub keys: ViewMut<'a, bf16>,
    pub values: ViewMut<'a, bf16>,
    pub rows: Rows<'a>,
    pub cache: CacheShape,
}

/// out (R, NH, HS) = attention of each row's queries over its slot's positions 0..=its own, which [`Append`] has
/// written. scratch: of the length that [`scratch`] tells, overwritten.
pub struct Attend<'a> {
    pub out: ViewMut<'a, bf16>,
    pub scratch: ViewMut<'a, f32>,
    pub rows: Rows<'a>,
    pub keys: View<'a, bf16>,
    pub values: View<'a, bf16>,
    pub cache: CacheShape,
}

/// to (R, C) = the named rows of `from` (N, C), 0 for a row that `from` lacks.
/// rows: (R); C, a multiple of 8, follows from the lengths.
pub struct Gather<'a> {
    pub to: ViewMut<'a, bf16>,
    pub from: View<'a, bf16>,
    pub rows: View<'a, u32>,
}

/// Elements of scratch that [`Attend`] needs for so many rows.
pub fn scratch(rows: usize, cache: CacheShape) -> usize {
    rows * cache.heads * cache.context.div_ceil(SPLIT) * (cache.head_size + 2)
}

impl Append<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Append { keys, values, rows, cache } = self;
        let count = rows.check(cache, keys.len(), values.len());
        let append = DecodeAppend {
            keys,
            values,
            qkv: rows.qkv,
            slot: rows.slots,
            position: rows.positions,
            slots: int(cache.slots),
            context: int(cache.context),
            heads: int(cache.heads),
            head_size: int(cache.head_size),
        };
        // SAFETY: the assertions of `check` bound every index; the kernel skips rows outside the cache.
        unsafe { append.launch(device, Launch::new([count, 1, 1], APPEND_THREADS)) }
    }
}

impl Attend<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Attend { out, scratch, rows, keys, values, cache } = self;
        let count = rows.check(cache, keys.len(), values.len());
        assert_eq!((out.len(), scratch.len()), (count * cache.channels(), self::scratch(count, cache)));
        let splits = cache.context.div_ceil(SPLIT);
        let tasks = count * cache.heads * splits;
        // Partial sums come first: they are read by 16 bytes, statistics by 8.
        let (partial, statistic) =
            (scratch.first(tasks * cache.head_size), scratch.slice(tasks * cache.head_size..scratch.len()));
        let scale = std::f64::consts::LOG2_E / (cache.head_size as f64).sqrt();
        let (slots, context) = (int(cache.slots), int(cache.context));
        let (heads, head_size) = (int(cache.heads), int(cache.head_size));
        let Rows { qkv, slots: slot, positions: position } = rows;
        let scale = scale as f32;
        let attend = DecodeAttend {
            partial,
            statistic,
            qkv,
            keys,
            values,
            slot,
            position,
            slots,
            context,
            heads,
            head_size,
            scale,
        };
        let (partial, statistic) = (partial.as_view(), statistic.as_view());
        let combine = DecodeCombine { out, partial, statistic, slot, position, slots, context, heads, head_size };
        // SAFETY: the assertions above and of `check` bound every index; both kernels leave out what no row sees.
        unsafe {
            attend.launch(device, Launch::new([count, cache.heads, splits], ATTEND_THREADS))?;
            let blocks = cache.channels().div_ceil(4 * COMBINE_THREADS);
            combine.launch(device, Launch::new([count, blocks, 1], COMBINE_THREADS))
        }
    }
}

impl Gather<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let Gather { to, from, rows } = self;
        let c = to.len() / rows.len();
        assert!(c > 0 && c.is_multiple_of(8), "{c} channels are not a multiple of 8");
        assert!(to.len() == rows.len() * c && from.len().is_multiple_of(c), "{} and {} elements", to.len(), from.len());
        let (launch, n, c) = (Launch::new([rows.len(), 1, 1], GATHER_THREADS), int(from.len() / c), int(c));
        // SAFETY: the assertions bound every index; the kernel takes zeros where a row lies outside `from`.
        unsafe { DecodeGather { to, from, row: rows, n, c }.launch(device, launch) }
    }
}
