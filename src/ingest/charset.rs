//! Text in UTF-16 with a byte order mark becomes UTF-8; the mark of UTF-8 is removed.

use super::head::Head;
use crate::{Error, Result};
use std::io::{self, ErrorKind, Read};

/// Returns the text of a stream in UTF-8, the length of its mark where it was UTF-8 already, and whether it was UTF-16.
pub(super) fn open(name: &str, mut raw: Box<dyn Read>) -> Result<(Box<dyn Read>, u64, bool)> {
    const MARKS: [&[u8]; 4] = [b"\xef\xbb\xbf", b"\xff\xfe\0\0", b"\xfe\xff", b"\0\0\xfe\xff"];
    let mut head = Head::read(&mut *raw, 4, |bytes| !MARKS.iter().any(|mark| mark.starts_with(bytes)));
    let text: &[u8] = &head.bytes;
    if text == b"\xff\xfe\0\0" || text == b"\0\0\xfe\xff" {
        return Err(Error::failed(format!(
            "{name}: the file is UTF-32 (it begins with its byte order mark), expected UTF-8 or UTF-16; convert it: iconv -f \
             UTF-32 -t UTF-8 {name} > utf8.log"
        )));
    }
    let big = text.starts_with(b"\xfe\xff");
    if big || text.starts_with(b"\xff\xfe") {
        head.bytes.drain(..2);
        return Ok((
            Box::new(Utf16 { raw: head.before(raw), big, units: Vec::new(), odd: None, text: Vec::new() }),
            0,
            true,
        ));
    }
    let mark = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    head.bytes.drain(..mark);
    Ok((head.before(raw), mark as u64, false))
}

/// Reads UTF-16 as UTF-8. A surrogate without its pair becomes U+FFFD.
struct Utf16 {
    raw: Box<dyn Read>,
    big: bool,
    /// A first surrogate whose second one has not arrived.
    units: Vec<u16>,
    /// The first byte of a unit whose second one has not arrived.
    odd: Option<u8>,
    /// Text that did not fit into the reader's buffer.
    text: Vec<u8>,
}

impl Utf16 {
    fn decode(&mut self, bytes: &[u8]) {
        let mut bytes = self.odd.take().into_iter().chain(bytes.iter().copied());
        while let Some(first) = bytes.next() {
            let Some(second) = bytes.next() else {
                self.odd = Some(first);
                break;
            };
            self.units.push(if self.big {
                u16::from_be_bytes([first, second])
            } else {
                u16::from_le_bytes([first, second])
            });
        }
        let waits = self.units.pop_if(|unit| (0xd800..0xdc00).contains(unit));
        self.write();
        self.units.extend(waits);
    }

    fn write(&mut self) {
        for c in char::decode_utf16(self.units.drain(..)) {
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

impl Read for Utf16 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = [0; 1 << 14];
        while self.text.is_empty() {
            match self.raw.read(&mut bytes) {
                Ok(0) if self.odd.take().is_some() => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the UTF-16 text ends in the middle of a character",
                    ));
                }
                Ok(0) if self.units.is_empty() => return Ok(0),
                Ok(0) => self.write(),
                Ok(n) => self.decode(&bytes[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let n = buffer.len().min(self.text.len());
        buffer[..n].copy_from_slice(&self.text[..n]);
        self.text.drain(..n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> (String, bool) {
        let (mut text, _, utf16) = open("x", Box::new(bytes)).unwrap();
        let mut all = String::new();
        text.read_to_string(&mut all).unwrap();
        (all, utf16)
    }

    #[test]
    fn marks_decide() {
        assert_eq!(read(b"\xff\xfea\0\xe9\0\x3d\xd8\0\xde\n\0"), ("a\u{e9}\u{1f600}\n".into(), true));
        assert_eq!(read(b"\xfe\xff\0a\xd8\x3d"), ("a\u{fffd}".into(), true));
        assert_eq!(read(b"\xef\xbb\xbfab"), ("ab".into(), false));
        assert_eq!(read(b"a"), ("a".into(), false));
        assert_eq!(read(b""), (String::new(), false));
        let message = open("x", Box::new(&b"\xff\xfe\0\0a\0\0\0"[..])).err().unwrap().to_string();
        assert!(message.contains("iconv -f UTF-32"), "{message}");
        let (mut text, ..) = open("x", Box::new(&b"\xff\xfea"[..])).unwrap();
        assert!(text.read_to_end(&mut Vec::new()).unwrap_err().to_string().contains("middle of a character"));
    }
}
