//! Decompresses gzip (any number of members) and zstd, detected by their first bytes and never by the file name.

use crate::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader, Cursor, Read};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Containers that logwright does not read: their first bytes, what they are, and the remedy.
const FOREIGN: &[(&[u8], &str, &str)] = &[
    (b"BZh", "bzip2", "pipe it in: bzip2 -dc FILE | logwright prepare - ..."),
    (b"\xfd7zXZ\0", "xz", "pipe it in: xz -dc FILE | logwright prepare - ..."),
    (b"\x04\x22\x4d\x18", "lz4", "pipe it in: lz4 -dc FILE | logwright prepare - ..."),
    (b"PK\x03\x04", "a zip archive", "unpack it and give the folder"),
    (b"PAR1", "Parquet", "convert it to JSON lines or CSV"),
    (b"ElfFile\0", "a Windows event log (EVTX)", "convert it to JSON lines"),
];

/// Returns the decompressed stream of `raw`. `name` is for messages.
pub(super) fn open(name: &str, mut raw: Box<dyn Read>) -> Result<(Compression, Box<dyn Read>)> {
    let head = Head::read(&mut *raw, 8);
    for (magic, what, remedy) in FOREIGN {
        if head.bytes.starts_with(magic) {
            return Err(Error::failed(format!("{name}: this is {what}, which logwright does not read; {remedy}")));
        }
    }
    if head.bytes.starts_with(b"\x1f\x8b") {
        let inner = BufReader::with_capacity(1 << 18, head.before(raw));
        return Ok((Compression::Gzip, Box::new(MultiGzDecoder::new(inner))));
    }
    if head.bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        let decoder = zstd::stream::read::Decoder::new(head.before(raw));
        let decoder = decoder.map_err(|e| Error::failed(format!("{name}: cannot start zstd: {e}")))?;
        return Ok((Compression::Zstd, Box::new(decoder)));
    }
    Ok((Compression::None, head.before(raw)))
}

/// The first bytes of a stream, read in advance to detect what the stream holds.
pub(super) struct Head {
    pub bytes: Vec<u8>,
    /// The error that ended the stream after `bytes`; the bytes before it are still read.
    failed: Option<io::Error>,
    /// Whether `bytes` is the whole stream.
    pub complete: bool,
}

impl Head {
    /// Reads up to `length` bytes of `reader`.
    pub fn read(reader: &mut dyn Read, length: usize) -> Self {
        let mut head = Self { bytes: Vec::new(), failed: None, complete: false };
        head.extend(reader, length);
        head
    }

    /// Reads up to `length` further bytes.
    pub fn extend(&mut self, reader: &mut dyn Read, length: usize) {
        let before = self.bytes.len();
        self.failed = reader.take(length as u64).read_to_end(&mut self.bytes).err();
        self.complete = self.failed.is_none() && self.bytes.len() - before < length;
    }

    /// Whether nothing readable follows `bytes`.
    pub fn stopped(&self) -> bool {
        self.complete || self.failed.is_some()
    }

    /// The stream from its beginning: `bytes`, then `rest` or the error that ended the stream.
    pub fn before(self, rest: Box<dyn Read>) -> Box<dyn Read> {
        let start = Cursor::new(self.bytes);
        match self.failed {
            Some(error) => Box::new(start.chain(Failing(Some(error)))),
            None => Box::new(start.chain(rest)),
        }
    }
}

/// A stream that fails once and then ends.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
