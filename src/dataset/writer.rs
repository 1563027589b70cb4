//! Writes one split: token shards and the record index.

use super::format::{Content, FileHeader, HEADER, index_path, shard_path};
use super::meta::SplitCounts;
use crate::Result;
use crate::files::{create_new, write_error};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

/// The number of bytes that are buffered before a write.
const BUFFER: usize = 1 << 20;

/// A file with a header and a payload of numbers; the header is written last.
struct NumberFile {
    path: PathBuf,
    file: File,
    header: FileHeader,
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl NumberFile {
    fn create(path: PathBuf, header: FileHeader) -> Result<Self> {
        let mut file = create_new(&path)?;
        file.write_all(&[0; HEADER]).map_err(|e| write_error(&path, e))?;
        Ok(Self { path, file, header, buffer: Vec::with_capacity(2 * BUFFER), crc: crc32fast::Hasher::new() })
    }

    /// Appends tokens in the width of the file.
    fn tokens(&mut self, ids: &[u32]) -> Result<()> {
        let width = self.header.width as usize;
        for ids in ids.chunks(BUFFER) {
            let start = self.buffer.len();
            self.buffer.resize(start + ids.len() * width, 0);
            let room = &mut self.buffer[start..];
            if width == 2 {
                room.chunks_exact_mut(2).zip(ids).for_each(|(to, id)| to.copy_from_slice(&(*id as u16).to_le_bytes()));
            } else {
                room.chunks_exact_mut(4).zip(ids).for_each(|(to, id)| to.copy_from_slice(&id.to_le_bytes()));
            }
            self.added(ids.len())?;
        }
        Ok(())
    }

    /// Appends one position to an index.
    fn offset(&mut self, offset: u64) -> Result<()> {
        self.buffer.extend_from_slice(&offset.to_le_bytes());
        self.added(1)
    }

    fn added(&mut self, count: usize) -> Result<()> {
        self.header.count += count as u64;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.crc.update(&self.buffer);
        self.file.write_all(&self.buffer).map_err(|e| write_error(&self.path, e))?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.header.crc32 = self.crc.clone().finalize();
        let write = |file: &mut File, header: &FileHeader| {
            file.rewind()?;
            file.write_all(&header.to_bytes())?;
            file.sync_all()
        };
        write(&mut self.file, &self.header).map_err(|e| write_error(&self.path, e))
    }
}

/// What one record adds to the counts of its split.
#[derive(Clone, Copy, Default)]
pub(super) struct RecordCounts {
    /// Including the separator.
    pub tokens: usize,
    /// Including the newline.
    pub bytes: usize,
    pub characters: usize,
}

/// Writes the records of one split. Memory: buffers of a few MiB.
pub(super) struct SplitWriter {
    folder: PathBuf,
    name: &'static str,
    width: u32,
    shard_tokens: u64,
    shard: NumberFile,
    index: NumberFile,
    pub counts: SplitCounts,
    pub longest_record: u64,
}

impl SplitWriter {
    /// `width` is the number of bytes of a token, 2 or 4; `shard_tokens` is the most tokens of one shard.
    pub fn create(folder: &Path, name: &'static str, width: u32, shard_tokens: u64) -> Result<Self> {
        assert!(shard_tokens > 0 && (width == 2 || width == 4));
        let shard = NumberFile::create(shard_path(folder, name, 0), FileHeader::new(Content::Tokens, width, name, 0))?;
        let mut index = NumberFile::create(index_path(folder, name), FileHeader::new(Content::Index, 8, name, 0))?;
        index.offset(0)?;
        let counts = SplitCounts { shards: 1, ..SplitCounts::default() };
        let folder = folder.to_owned();
        Ok(Self { folder, name, width, shard_tokens, shard, index, counts, longest_record: 0 })
    }

    /// Appends a record: `ids` are its tokens and the separator.
    pub fn record(&mut self, ids: &[u32], counts: RecordCounts) -> Result<()> {
        assert_eq!(ids.len(), counts.tokens);
        let mut rest = ids;
        while !rest.is_empty() {
            if self.shard.header.count == self.shard_tokens {
                self.next_shard()?;
            }
            let room = self.shard_tokens - self.shard.header.count;
            let (now, later) = rest.split_at((rest.len() as u64).min(room) as usize);
            self.shard.tokens(now)?;
            rest = later;
        }
        self.counts.records += 1;
        self.counts.tokens += ids.len() as u64;
        self.counts.bytes += counts.bytes as u64;
        self.counts.characters += counts.characters as u64;
        self.longest_record = self.longest_record.max(ids.len() as u64);
        self.index.offset(self.counts.tokens)
    }

    fn next_shard(&mut self) -> Result<()> {
        let header = FileHeader::new(Content::Tokens, self.width, self.name, self.counts.shards);
        let next = NumberFile::create(shard_path(&self.folder, self.name, self.counts.shards), header)?;
        self.counts.shards += 1;
        std::mem::replace(&mut self.shard, next).finish()
    }

    /// Writes the headers and syncs. Returns the counts and the length of the longest record.
    pub fn finish(self) -> Result<(SplitCounts, u64)> {
        self.shard.finish()?;
        self.index.finish()?;
        Ok((self.counts, self.longest_record))
    }
}
