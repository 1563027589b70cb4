//! The first bytes of a stream, read in advance to detect what the stream holds.

use std::io::{self, Cursor, ErrorKind, Read};

pub(super) struct Head {
    pub bytes: Vec<u8>,
    /// The error that ended the stream after `bytes`; the bytes before it are still read.
    failed: Option<io::Error>,
}

impl Head {
    /// Reads up to `length` bytes, and no further than they are `enough`: who writes to a pipe may wait for an answer.
    pub fn read(reader: &mut dyn Read, length: usize, enough: impl Fn(&[u8]) -> bool) -> Self {
        let mut head = Self { bytes: Vec::new(), failed: None };
        while head.bytes.len() < length && !enough(&head.bytes) {
            let before = head.bytes.len();
            head.bytes.resize(length, 0);
            let read = reader.read(&mut head.bytes[before..]);
            head.bytes.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => {
                    head.failed = Some(error);
                    break;
                }
            }
        }
        head
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
