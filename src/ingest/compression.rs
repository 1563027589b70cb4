//! Decompresses gzip (any number of members), zstd and, where it is built, xz, detected by their first bytes and never by the file name.

use super::feature;
use super::head::Head;
use crate::{Error, Result};
use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
}

/// Containers that logwright does not read: their first bytes, what they are, and the remedy.
const FOREIGN: &[(&[u8], &str, &str)] = &[
    (b"BZh", "bzip2", "pipe it in: bzip2 -dc FILE | logwright prepare - ..."),
    (b"\x04\x22\x4d\x18", "lz4", "pipe it in: lz4 -dc FILE | logwright prepare - ..."),
    (b"PK\x03\x04", "a zip archive", "unpack it and give the folder"),
    (b"PK\x05\x06", "an empty zip archive", "there is nothing in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give the folder"),
];

const GZIP: &[u8] = b"\x1f\x8b";
const XZ: &[u8] = b"\xfd7zXZ\0";

/// The beginning of a frame, and of one that holds no data, such as pzstd writes in front (its first byte is from 0x50 to 0x5f).
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const SKIPPABLE: &[u8] = b"\x2a\x4d\x18";

/// The longest window that is decompressed: all that `zstd --long` and `--ultra` make. Its memory is taken as it fills.
const WINDOW_LOG: u32 = 31;

/// The memory that xz data may ask for: far more than 'xz -9' does, and what a window of zstd may take.
#[cfg(feature = "xz")]
const XZ_MEMORY: u64 = 1 << WINDOW_LOG;

/// Returns the decompressed stream of `raw`. `name` is for messages.
pub(super) fn open(name: &str, mut raw: Box<dyn Read>) -> Result<(Compression, Box<dyn Read>)> {
    let head = Head::read(&mut *raw, 8, |bytes| !may_be_packed(bytes));
    for (magic, what, remedy) in FOREIGN {
        if head.bytes.starts_with(magic) {
            return Err(Error::failed(format!("{name}: this is {what}, which logwright does not read; {remedy}")));
        }
    }
    if head.bytes.starts_with(GZIP) {
        let inner = BufReader::with_capacity(1 << 18, head.before(raw));
        return Ok((Compression::Gzip, Box::new(Members(Some(GzDecoder::new(inner))))));
    }
    if head.bytes.starts_with(ZSTD) || is_skippable(&head.bytes) {
        let decoder = zstd::stream::read::Decoder::new(head.before(raw)).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG)?;
            Ok(decoder)
        });
        let decoder = decoder.map_err(|e| Error::failed(format!("{name}: cannot start zstd: {e}")))?;
        return Ok((Compression::Zstd, Box::new(decoder)));
    }
    if head.bytes.starts_with(XZ) {
        feature::XZ.require(name)?;
        return Ok((Compression::Xz, unpack_xz(head.before(raw))));
    }
    Ok((Compression::None, head.before(raw)))
}

/// The streams of an xz file, any number of them.
#[cfg(feature = "xz")]
fn unpack_xz(packed: Box<dyn Read>) -> Box<dyn Read> {
    use liblzma::{bufread::XzDecoder, stream};
    let decoder =
        stream::Stream::new_stream_decoder(XZ_MEMORY, stream::CONCATENATED).expect("the flag is one it knows");
    Box::new(XzDecoder::new_stream(BufReader::with_capacity(1 << 18, packed), decoder))
}

#[cfg(not(feature = "xz"))]
fn unpack_xz(_: Box<dyn Read>) -> Box<dyn Read> {
    unreachable!("what is not built was refused")
}

fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, rest @ ..] if rest.starts_with(SKIPPABLE))
}

/// Whether the first bytes of a stream, however few, may be those of a container.
fn may_be_packed(bytes: &[u8]) -> bool {
    let magic = FOREIGN.iter().map(|(magic, ..)| *magic).chain([GZIP, ZSTD, XZ]);
    let skippable = bytes.is_empty()
        || matches!(bytes, [0x50..=0x5f, rest @ ..] if rest.starts_with(SKIPPABLE) || SKIPPABLE.starts_with(rest));
    skippable || magic.into_iter().any(|magic| magic.starts_with(bytes) || bytes.starts_with(magic))
}

/// The members of a gzip stream. Zeros behind them are padding, which tapes and some object stores add.
struct Members<R: BufRead>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let mut rest = self.0.take().expect("it was just read").into_inner();
            while let zeros @ 1.. = rest.fill_buf()?.iter().take_while(|&&byte| byte == 0).count() {
                rest.consume(zeros);
            }
            if !rest.fill_buf()?.is_empty() {
                self.0 = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}
