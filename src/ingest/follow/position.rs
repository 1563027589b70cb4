//! Where the reading of a growing file stopped, and by what the file is known again.

use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::SystemTime;

/// What distinguishes a file from all others, also from one that gets the number of a removed file.
pub(super) type FileId = (u64, u64, Option<SystemTime>);

pub(super) fn id(meta: &Metadata) -> FileId {
    (meta.dev(), meta.ino(), meta.created().ok())
}

/// The number of bytes at the beginning of a file by which it is recognised.
pub(super) const HEAD: usize = 1024;

/// An offset in a file that may have another name by now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    device: u64,
    inode: u64,
    pub offset: u64,
    /// The checksum of the first bytes of the file, and how many they are: the number of a removed file is given to another.
    pub(super) head_bytes: usize,
    head_crc32: u32,
}

impl Position {
    pub(super) fn new(id: FileId, offset: u64, head: &[u8]) -> Self {
        let head = &head[..head.len().min(offset.min(HEAD as u64) as usize)];
        let (device, inode, _) = id;
        Position { device, inode, offset, head_bytes: head.len(), head_crc32: crc32fast::hash(head) }
    }

    /// Whether the file holds what was read: it begins alike and is long enough.
    pub(super) fn is_in(&self, file: &File) -> bool {
        let mut head = vec![0; self.head_bytes.min(HEAD)];
        file.metadata().is_ok_and(|meta| meta.len() >= self.offset)
            && file.read_exact_at(&mut head, 0).is_ok()
            && crc32fast::hash(&head) == self.head_crc32
    }

    /// Whether this is the file itself, not a copy of it.
    pub(super) fn names(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode))
    }
}
