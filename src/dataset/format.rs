//! The format of token shards and record indexes: a 64-byte header, then a payload of little-endian numbers.

use crate::{Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::path::{Path, PathBuf};

#[cfg(target_endian = "big")]
compile_error!("data folders are mapped as little-endian numbers");

/// The remedy for a damaged data folder, at the end of error messages.
pub(super) const PREPARE_AGAIN: &str = "the data folder is damaged or mixed up: run prepare again";

const VERSION: u32 = 1;
pub(super) const HEADER: usize = 64;

/// The content of a file.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Content {
    Tokens,
    Index,
}

impl Content {
    fn magic(self) -> [u8; 8] {
        match self {
            Content::Tokens => *b"LWTOKENS",
            Content::Index => *b"LWRECIDX",
        }
    }
}

/// The first 64 bytes, so that the payload is aligned for any number.
///
/// | bytes | field |
/// |---|---|
/// | 0..8 | magic |
/// | 8..12 | version |
/// | 12..16 | width: bytes of one number, 2 or 4 for tokens, 8 for the index |
/// | 16..24 | count of numbers in the payload |
/// | 24..28 | CRC-32 (IEEE) of the payload |
/// | 28..32 | split: 0 train, 1 val |
/// | 32..36 | number of this shard within its split |
/// | 36..64 | reserved, zero |
#[derive(Clone, Copy)]
pub(super) struct FileHeader {
    magic: [u8; 8],
    version: u32,
    pub width: u32,
    pub count: u64,
    pub crc32: u32,
    split: u32,
    shard: u32,
}

impl FileHeader {
    pub fn new(content: Content, width: u32, split: &str, shard: u32) -> Self {
        let split = split_code(split);
        Self { magic: content.magic(), version: VERSION, width, count: 0, crc32: 0, split, shard }
    }

    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.magic);
        bytes[16..24].copy_from_slice(&self.count.to_le_bytes());
        let fields = [(8, self.version), (12, self.width), (24, self.crc32), (28, self.split), (32, self.shard)];
        fields.iter().for_each(|(at, field)| bytes[*at..at + 4].copy_from_slice(&field.to_le_bytes()));
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER]) -> Self {
        let word = |at: usize| bytemuck::pod_read_unaligned::<u32>(&bytes[at..at + 4]);
        let count = bytemuck::pod_read_unaligned(&bytes[16..24]);
        let magic = bytemuck::pod_read_unaligned(&bytes[..8]);
        Self { magic, version: word(8), width: word(12), count, crc32: word(24), split: word(28), shard: word(32) }
    }
}

fn split_code(split: &str) -> u32 {
    u32::from(split == "val")
}

pub(super) fn shard_path(folder: &Path, split: &str, shard: u32) -> PathBuf {
    folder.join(format!("{split}-{shard:05}.bin"))
}

pub(super) fn index_path(folder: &Path, split: &str) -> PathBuf {
    folder.join(format!("{split}.idx"))
}

/// A verified file, mapped into memory.
pub(super) struct MappedFile {
    pub header: FileHeader,
    map: Mmap,
}

impl MappedFile {
    /// Maps `path` and checks its magic, version, width, length, split, shard and checksum.
    pub fn open(path: &Path, content: Content, split: &str, shard: u32) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::unreadable(path, e, PREPARE_AGAIN))?;
        // SAFETY: the mapping is read-only and the file is complete: it got its name by a rename after it was synced, and
        // logwright never changes or shortens it afterwards (--overwrite replaces the folder, not the file).
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, e))?;
        let header = check(&map, content, split, shard)
            .map_err(|fault| Error::failed(format!("{}: {fault}; {PREPARE_AGAIN}", path.display())))?;
        Ok(Self { header, map })
    }

    pub fn payload(&self) -> &[u8] {
        &self.map[HEADER..]
    }
}

fn check(map: &[u8], content: Content, split: &str, shard: u32) -> std::result::Result<FileHeader, String> {
    let Some(head) = map.first_chunk() else {
        return Err(format!("truncated: {} bytes, shorter than a header", map.len()));
    };
    let header = FileHeader::from_bytes(head);
    let widths: &[u32] = if content == Content::Tokens { &[2, 4] } else { &[8] };
    if header.magic != content.magic() {
        return Err(format!("bad magic: expected {}", String::from_utf8_lossy(&content.magic())));
    }
    if header.version != VERSION {
        return Err(format!("wrong version: expected {VERSION}, found {}", header.version));
    }
    if !widths.contains(&header.width) {
        return Err(format!("wrong width of a number: expected one of {widths:?} bytes, found {}", header.width));
    }
    if (header.split, header.shard) != (split_code(split), shard) {
        return Err(format!("this file belongs elsewhere: it is shard {} of split {}", header.shard, header.split));
    }
    let payload = &map[HEADER..];
    let expected = header.count.checked_mul(u64::from(header.width));
    if expected != Some(payload.len() as u64) {
        let count = header.count;
        return Err(format!("truncated or too long: the header counts {count} numbers, found {} bytes", payload.len()));
    }
    let found = crc32fast::hash(payload);
    if found != header.crc32 {
        return Err(format!("checksum mismatch: expected {:08x}, found {found:08x}", header.crc32));
    }
    Ok(header)
}
