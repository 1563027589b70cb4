//! The positions at which record-aligned windows may start, and the windows that tile a split.

use crate::Result;
use std::ops::Range;

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
    /// `each_record` gives the positions of every record, in order, to the function that it gets.
    pub fn new(context: usize, each_record: impl FnOnce(&mut dyn FnMut(Range<u64>)) -> Result<()>) -> Result<Self> {
        assert!(context > 0);
        let mut starts = Self { context: context as u64, cumulative: Vec::new(), total: 0, tiles: vec![0] };
        let (mut number, mut end) = (0, 0);
        each_record(&mut |record| {
            if number % EVERY == 0 {
                starts.cumulative.push(starts.total);
            }
            number += 1;
            end = record.end;
            starts.total += points(&record, starts.context);
            starts.tile(record);
        })?;
        starts.tiles.push(end);
        Ok(starts)
    }

    /// Adds the windows that begin before the end of this record, which is the next one. The windows contain every target once,
    /// in order. Each holds as many whole records as fit. A record longer than the context is cut, and further records follow
    /// its last piece.
    fn tile(&mut self, record: Range<u64>) {
        let mut start = self.tiles[self.tiles.len() - 1];
        if record.end > start + self.context && record.start > start {
            start = record.start;
            self.tiles.push(start);
        }
        while record.end > start + self.context {
            start += self.context;
            self.tiles.push(start);
        }
    }

    pub fn context(&self) -> u64 {
        self.context
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The position of the first target of start point `i`. `offsets(record, n)` are the positions of record `record` and of the
    /// n - 1 after it, or fewer at the end, where the last one is the end of the split.
    pub fn position(&self, i: u64, offsets: impl FnOnce(u64, usize) -> Result<Vec<u64>>) -> Result<u64> {
        assert!(i < self.total);
        let block = self.cumulative.partition_point(|&before| before <= i) - 1;
        let mut left = i - self.cumulative[block];
        for record in offsets((block * EVERY) as u64, EVERY + 1)?.windows(2) {
            let here = points(&(record[0]..record[1]), self.context);
            if left < here {
                return Ok(record[0] + left * self.context);
            }
            left -= here;
        }
        unreachable!("start point {i} of {}", self.total)
    }

    pub fn tiles(&self) -> &[u64] {
        &self.tiles
    }
}

fn points(record: &Range<u64>, context: u64) -> u64 {
    (record.end - record.start).div_ceil(context)
}
