//! The positions at which record-aligned windows may start, and the windows that tile a split.

/// A cumulative count is stored for every this many records; counts between them are computed on demand.
const EVERY: usize = 64;

/// The start points of a split for one context. Each record has one at each multiple of the context, so
/// ceil(tokens / context) of them. Memory: 8 bytes per 64 records, and 8 bytes per window that tiles the split.
pub(super) struct WindowStarts {
    context: u64,
    /// The numbers of start points before record 0, 64, 128, ...
    cumulative: Vec<u64>,
    total: u64,
    /// The position of the first target of each tiling window, and the end of the split.
    tiles: Vec<u64>,
}

impl WindowStarts {
    /// `offsets` are the position of each record and the end of the last one.
    pub fn new(offsets: &[u64], context: usize) -> Self {
        let context = context as u64;
        assert!(context > 0);
        let mut cumulative = Vec::with_capacity(offsets.len() / EVERY + 1);
        let mut total = 0;
        for (i, record) in offsets.windows(2).enumerate() {
            if i % EVERY == 0 {
                cumulative.push(total);
            }
            total += points(record, context);
        }
        Self { context, cumulative, total, tiles: tiles(offsets, context) }
    }

    pub fn context(&self) -> u64 {
        self.context
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The position of the first target of start point `i`, for the same `offsets`.
    pub fn position(&self, offsets: &[u64], i: u64) -> u64 {
        assert!(i < self.total);
        let block = self.cumulative.partition_point(|&before| before <= i) - 1;
        let mut left = i - self.cumulative[block];
        for record in offsets[block * EVERY..].windows(2) {
            let here = points(record, self.context);
            if left < here {
                return record[0] + left * self.context;
            }
            left -= here;
        }
        unreachable!("start point {i} of {}", self.total)
    }

    pub fn tiles(&self) -> &[u64] {
        &self.tiles
    }
}

fn points(record: &[u64], context: u64) -> u64 {
    (record[1] - record[0]).div_ceil(context)
}

/// The windows that contain every target once, in order. Each holds as many whole records as fit. A record longer than the
/// context is cut, and further records follow its last piece.
fn tiles(offsets: &[u64], context: u64) -> Vec<u64> {
    let mut tiles = vec![0];
    let mut start = 0;
    for record in offsets.windows(2) {
        if record[1] > start + context && record[0] > start {
            start = record[0];
            tiles.push(start);
        }
        while record[1] > start + context {
            start += context;
            tiles.push(start);
        }
    }
    tiles.push(offsets[offsets.len() - 1]);
    tiles
}
