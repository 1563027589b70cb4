//! One split of a data folder: reads any range of tokens and any record.

use super::format::{Content, PayloadFile, index_path, shard_path};
use super::meta::SplitCounts;
use super::window_starts::WindowStarts;
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub struct Split {
    /// `FOLDER (train)`, for messages.
    name: String,
    counts: SplitCounts,
    separator: u32,
    /// The shards, each with the position of its first token. They stay open, so that a run keeps the data that it began with
    /// even where the folder is replaced.
    shards: Vec<(u64, PayloadFile)>,
    index: PayloadFile,
    /// The length of the longest record in tokens.
    longest_record: u64,
    /// The start points of record windows for the context of the last request.
    starts: Mutex<Option<Arc<WindowStarts>>>,
}

/// What all splits of a folder share.
#[derive(Clone, Copy)]
pub(super) struct Vocabulary {
    pub size: usize,
    pub separator: u32,
}

impl Split {
    /// Opens the files of split `name`, `train` or `val`, and verifies every number in them.
    pub(super) fn open(folder: &Path, name: &str, counts: &SplitCounts, vocabulary: Vocabulary) -> Result<Self> {
        let mut tokens = 0;
        let mut shards = Vec::new();
        for shard in 0..counts.shards {
            let file = PayloadFile::open(&shard_path(folder, name, shard), Content::Tokens, name, shard)?;
            let count = file.header.count;
            shards.push((tokens, file));
            tokens += count;
        }
        let index = PayloadFile::open(&index_path(folder, name), Content::Index, name, 0)?;
        if (tokens, index.header.count) != (counts.tokens, counts.records + 1) {
            return Err(index.refuse(format!(
                "shards, index and meta.json disagree ({tokens} tokens in shards, {} in meta.json; {} positions for {} records)",
                counts.tokens, index.header.count, counts.records
            )));
        }
        shards
            .par_iter()
            .try_for_each(|(_, shard)| shard.verify(&mut |piece| check_tokens(shard, piece, vocabulary)))?;
        let mut order = IndexOrder::default();
        index.verify(&mut |piece| order.take(bytemuck::cast_slice(piece)))?;
        if order.last != Some(tokens) {
            let last = order.last.unwrap_or(0);
            return Err(index.refuse(format!("the last record ends at token {last}, but the shards hold {tokens}")));
        }
        Ok(Self {
            name: format!("{} ({name})", folder.display()),
            counts: counts.clone(),
            separator: vocabulary.separator,
            shards,
            index,
            longest_record: order.longest,
            starts: Mutex::new(None),
        })
    }

    pub fn tokens(&self) -> u64 {
        self.counts.tokens
    }

    pub fn records(&self) -> u64 {
        self.counts.records
    }

    /// The bytes of the corpus in this split, including newlines: the denominator of bits per byte.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes
    }

    pub(super) fn longest_record(&self) -> u64 {
        self.longest_record
    }

    /// The CRC-32 of each shard's tokens, in order.
    pub(super) fn checksums(&self) -> impl Iterator<Item = u32> + '_ {
        self.shards.iter().map(|(_, shard)| shard.header.crc32)
    }

    pub(super) fn separator(&self) -> u32 {
        self.separator
    }

    /// Fills `out` with the tokens from `start` on, across shards. These tokens must exist.
    ///
    /// Errors: a file that can no longer be read, or was shortened since it was opened.
    pub fn read(&self, start: u64, out: &mut [u32]) -> Result<()> {
        assert!(start + out.len() as u64 <= self.tokens());
        let mut done = 0;
        let mut shard = self.shards.partition_point(|(first, _)| *first <= start) - 1;
        while done < out.len() {
            let (first, file) = &self.shards[shard];
            let from = start + done as u64 - first;
            let length = ((out.len() - done) as u64).min(file.header.count - from) as usize;
            read_tokens(file, from, &mut out[done..done + length])?;
            done += length;
            shard += 1;
        }
        Ok(())
    }

    /// Gives the tokens of every record, with its separator, to `sink`, in order.
    pub fn each_record(&self, sink: &mut dyn FnMut(&[u32])) -> Result<()> {
        let (mut tokens, mut failed) = (Vec::new(), Ok(()));
        self.each_range(&mut |range| {
            if failed.is_ok() {
                tokens.resize((range.end - range.start) as usize, 0);
                failed = self.read(range.start, &mut tokens).map(|()| sink(&tokens));
            }
        })?;
        failed
    }

    /// Gives the positions of every record's tokens, including its separator, to `sink`, in order.
    fn each_range(&self, sink: &mut dyn FnMut(Range<u64>)) -> Result<()> {
        let mut start = None;
        self.index.each_piece(&mut |piece| {
            for &end in bytemuck::cast_slice::<u8, u64>(piece) {
                if let Some(start) = start {
                    sink(start..end);
                }
                start = Some(end);
            }
        })
    }

    /// The positions of record `first` and of the `n` - 1 after it; the end of the split counts as the last one.
    pub(super) fn offsets(&self, first: u64, n: usize) -> Result<Vec<u64>> {
        let there = (self.records() + 1).saturating_sub(first);
        let mut offsets = vec![0; there.min(n as u64) as usize];
        self.index.read(first, bytemuck::cast_slice_mut(&mut offsets))?;
        Ok(offsets)
    }

    /// Checks that random windows of `context` tokens and their targets can be drawn from this split.
    pub(super) fn check_context(&self, context: usize) -> Result<()> {
        if self.tokens() > context as u64 {
            return Ok(());
        }
        Err(Error::usage(format!(
            "{}: {} tokens, fewer than the context plus one ({}); use --windows records, a shorter --context, more data, or \
             another `prepare --val-fraction`",
            self.name,
            self.tokens(),
            context + 1
        )))
    }

    /// The start points of record windows for this context; they are computed once and cached.
    pub(super) fn starts(&self, context: usize) -> Result<Arc<WindowStarts>> {
        let mut kept = self.starts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*kept {
            Some(starts) if starts.context() == context as u64 => Ok(starts.clone()),
            _ => Ok(kept.insert(Arc::new(WindowStarts::new(context, |sink| self.each_range(sink))?)).clone()),
        }
    }
}

/// The tokens `from..` of a shard, widened to 32 bits.
fn read_tokens(file: &PayloadFile, from: u64, out: &mut [u32]) -> Result<()> {
    if file.header.width == 4 {
        return file.read(from, bytemuck::cast_slice_mut(out));
    }
    // The 16-bit numbers are read into the upper half of `out` and widened from its beginning on, which never writes over one
    // that is still to be widened.
    let n = out.len();
    let halves: &mut [u16] = bytemuck::cast_slice_mut(out);
    file.read(from, bytemuck::cast_slice_mut(&mut halves[n..]))?;
    for i in 0..n {
        let [low, high] = [halves[n + i], 0];
        halves[2 * i] = low;
        halves[2 * i + 1] = high;
    }
    Ok(())
}

fn check_tokens(shard: &PayloadFile, piece: &[u8], vocabulary: Vocabulary) -> std::result::Result<(), String> {
    let largest = match shard.header.width {
        2 => bytemuck::cast_slice(piece).iter().copied().max().map(u16::into),
        _ => bytemuck::cast_slice(piece).iter().copied().max(),
    };
    match largest.filter(|&token: &u32| token as usize >= vocabulary.size) {
        None => Ok(()),
        Some(token) => Err(format!("token {token} lies outside the vocabulary of {}", vocabulary.size)),
    }
}

/// Checks that positions begin at 0 and increase.
#[derive(Default)]
struct IndexOrder {
    last: Option<u64>,
    longest: u64,
}

impl IndexOrder {
    fn take(&mut self, offsets: &[u64]) -> std::result::Result<(), String> {
        for &offset in offsets {
            match self.last {
                None if offset != 0 => return Err(format!("the first record begins at token {offset}, expected 0")),
                Some(last) if offset <= last => {
                    return Err(format!("positions of records must increase, found {offset} after {last}"));
                }
                last => self.longest = self.longest.max(offset - last.unwrap_or(0)),
            }
            self.last = Some(offset);
        }
        Ok(())
    }
}
