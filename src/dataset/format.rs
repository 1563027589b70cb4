//! The format of token shards and record indexes: a 64-byte header, then a payload of little-endian numbers.

use crate::{Error, Result};
use std::fmt::Display;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[cfg(target_endian = "big")]
compile_error!("data folders are read as little-endian numbers");

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

/// The number of bytes that are read at a time when a file is verified; a multiple of every width.
const PIECE: usize = 1 << 20;

/// A file whose header and length were checked. Its numbers are read where they are needed.
///
/// They are read and not mapped into memory: where another program shortens the file while a run uses it, a read is an error
/// that names the file, but a mapping would end the process. The page cache makes both equally fast.
pub(super) struct PayloadFile {
    pub header: FileHeader,
    path: PathBuf,
    file: File,
}

impl PayloadFile {
    /// Opens `path` and checks its magic, version, width, length, split and shard; [`PayloadFile::verify`] checks the rest.
    pub fn open(path: &Path, content: Content, split: &str, shard: u32) -> Result<Self> {
        let failed = |e| Error::unreadable(path, e, PREPARE_AGAIN);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut head = [0; HEADER];
        let header = match length.checked_sub(HEADER as u64) {
            None => Err(format!("truncated: {length} bytes, shorter than a header")),
            Some(payload) => {
                file.read_exact_at(&mut head, 0).map_err(failed)?;
                check(&head, payload, content, split, shard)
            }
        };
        let header = header.map_err(|fault| refuse(path, fault))?;
        Ok(Self { header, path: path.to_owned(), file })
    }

    /// Reads the whole payload and checks its checksum. `look` sees every piece of it, in order, and may find a fault, which
    /// counts where the checksum is good.
    pub fn verify(&self, look: &mut dyn FnMut(&[u8]) -> std::result::Result<(), String>) -> Result<()> {
        let (mut hasher, mut seen) = (crc32fast::Hasher::new(), Ok(()));
        self.each_piece(&mut |piece| {
            hasher.update(piece);
            if seen.is_ok() {
                seen = look(piece);
            }
        })?;
        let (expected, found) = (self.header.crc32, hasher.finalize());
        if found != expected {
            return Err(self.refuse(format!("checksum mismatch: expected {expected:08x}, found {found:08x}")));
        }
        seen.map_err(|fault| self.refuse(fault))
    }

    /// Gives the payload to `look`, piece by piece; each holds whole numbers.
    pub fn each_piece(&self, look: &mut dyn FnMut(&[u8])) -> Result<()> {
        let width = u64::from(self.header.width);
        let per_piece = PIECE as u64 / width;
        // Of numbers, so that the payload is aligned for any of them.
        let mut piece = vec![0u64; PIECE / size_of::<u64>()];
        for first in (0..self.header.count).step_by(per_piece as usize) {
            let count = per_piece.min(self.header.count - first);
            let bytes = &mut bytemuck::cast_slice_mut(&mut piece)[..(count * width) as usize];
            self.read(first, bytes)?;
            look(bytes);
        }
        Ok(())
    }

    /// Fills `bytes` with the numbers from number `first` on.
    pub fn read(&self, first: u64, bytes: &mut [u8]) -> Result<()> {
        let at = HEADER as u64 + first * u64::from(self.header.width);
        self.file.read_exact_at(bytes, at).map_err(|e| {
            self.refuse(format!("cannot read {} bytes at {at}: {e}; did another program change the file?", bytes.len()))
        })
    }

    pub fn refuse(&self, fault: impl Display) -> Error {
        refuse(&self.path, fault)
    }
}

fn refuse(path: &Path, fault: impl Display) -> Error {
    Error::failed(format!("{}: {fault}; {PREPARE_AGAIN}", path.display()))
}

/// Checks the header of a file whose payload has `length` bytes.
fn check(
    head: &[u8; HEADER],
    length: u64,
    content: Content,
    split: &str,
    shard: u32,
) -> std::result::Result<FileHeader, String> {
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
    if header.to_bytes() != *head {
        return Err("the reserved bytes of the header are not zero".to_string());
    }
    if header.count.checked_mul(u64::from(header.width)) != Some(length) {
        let count = header.count;
        return Err(format!("truncated or too long: the header counts {count} numbers, found {length} bytes"));
    }
    Ok(header)
}
