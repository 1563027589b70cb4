//! One split of a data folder, mapped into memory: reads any range of tokens and any record.

use super::format::{Content, MappedFile, PREPARE_AGAIN, index_path, shard_path};
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
    /// The shards, each with the position of its first token.
    shards: Vec<(u64, MappedFile)>,
    index: MappedFile,
    /// The start points of record windows for the context of the last request.
    starts: Mutex<Option<Arc<WindowStarts>>>,
}

impl Split {
    /// Maps and verifies the files of split `name`, `train` or `val`.
    pub(super) fn open(folder: &Path, name: &str, counts: &SplitCounts, separator: u32) -> Result<Self> {
        let open = |shard| MappedFile::open(&shard_path(folder, name, shard), Content::Tokens, name, shard);
        let mapped = (0..counts.shards).into_par_iter().map(open).collect::<Result<Vec<_>>>()?;
        let mut tokens = 0;
        let mut shards = Vec::with_capacity(mapped.len());
        for shard in mapped {
            let start = tokens;
            tokens += shard.header.count;
            shards.push((start, shard));
        }
        let path = index_path(folder, name);
        let index = MappedFile::open(&path, Content::Index, name, 0)?;
        let name = format!("{} ({name})", folder.display());
        let split = Self { name, counts: counts.clone(), separator, shards, index, starts: Mutex::new(None) };
        let offsets = split.offsets();
        let ends = (offsets.len() as u64, offsets.first().copied(), offsets.last().copied());
        if ends != (counts.records + 1, Some(0), Some(counts.tokens)) || tokens != counts.tokens || counts.records == 0
        {
            return Err(Error::failed(format!(
                "{}: shards, index and meta.json disagree ({tokens} tokens in shards, {} in meta.json); {PREPARE_AGAIN}",
                path.display(),
                counts.tokens
            )));
        }
        Ok(split)
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

    /// The CRC-32 of each shard's tokens, in order.
    pub(super) fn checksums(&self) -> impl Iterator<Item = u32> + '_ {
        self.shards.iter().map(|(_, shard)| shard.header.crc32)
    }

    pub(super) fn separator(&self) -> u32 {
        self.separator
    }

    /// Fills `out` with the tokens from `start` on, across shards. These tokens must exist.
    pub fn read(&self, start: u64, out: &mut [u32]) {
        assert!(start + out.len() as u64 <= self.tokens());
        let mut done = 0;
        let mut shard = self.shards.partition_point(|(first, _)| *first <= start) - 1;
        while done < out.len() {
            let (first, mapped) = &self.shards[shard];
            let from = (start + done as u64 - first) as usize;
            let length = (out.len() - done).min(mapped.header.count as usize - from);
            copy(mapped, from, &mut out[done..done + length]);
            done += length;
            shard += 1;
        }
    }

    /// The positions of the i-th record's tokens, including its separator.
    pub fn record(&self, i: u64) -> Range<u64> {
        let offsets = self.offsets();
        offsets[i as usize]..offsets[i as usize + 1]
    }

    /// The position of each record and the end of the last one: (records + 1).
    pub(super) fn offsets(&self) -> &[u64] {
        bytemuck::cast_slice(self.index.payload())
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
    pub(super) fn starts(&self, context: usize) -> Arc<WindowStarts> {
        let mut kept = self.starts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*kept {
            Some(starts) if starts.context() == context as u64 => starts.clone(),
            _ => kept.insert(Arc::new(WindowStarts::new(self.offsets(), context))).clone(),
        }
    }
}

/// Copies the tokens `from..` of a shard, widened to 32 bits.
fn copy(mapped: &MappedFile, from: usize, out: &mut [u32]) {
    let payload = mapped.payload();
    if mapped.header.width == 2 {
        let narrow: &[u16] = bytemuck::cast_slice(payload);
        out.iter_mut().zip(&narrow[from..]).for_each(|(wide, id)| *wide = u32::from(*id));
    } else {
        let wide: &[u32] = bytemuck::cast_slice(payload);
        out.copy_from_slice(&wide[from..from + out.len()]);
    }
}
