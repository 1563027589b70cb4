//! The bytes of a source as decoders see them: a window that grows until it holds a whole record.

use memchr::{memchr, memchr_iter};
use std::io::{self, ErrorKind, Read};

/// The bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// Bytes of a stream that are not taken yet. A pipe gives what has arrived, so nothing waits for a full buffer.
pub(super) struct Window<'a> {
    source: Box<dyn Read + 'a>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The offset in the stream, and the line (from 1), of the first byte.
    offset: u64,
    line: u64,
    /// The offset at which that line begins.
    line_start: u64,
    /// Whether the stream has ended.
    ended: bool,
    /// An error that came while the beginning was looked at; what is before it is still read.
    failed: Option<io::Error>,
    /// Whether a stream that is silent for a while is an error of the kind `WouldBlock`, instead of a longer wait.
    reports_idle: bool,
}

/// The next line of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Line {
    /// This many bytes, without the line end, and this many with it.
    Whole(usize, usize),
    TooLong,
    None,
}

impl<'a> Window<'a> {
    /// A window on a stream whose first byte has this offset in its file.
    pub fn new(source: Box<dyn Read + 'a>, offset: u64) -> Self {
        Window {
            source,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset,
            line: 1,
            line_start: offset,
            ended: false,
            failed: None,
            reports_idle: false,
        }
    }

    /// What was read and is not taken yet.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether nothing more can be read.
    pub fn ended(&self) -> bool {
        self.ended || self.failed.is_some()
    }

    /// From here on, a stream that is silent for a while is an error of the kind `WouldBlock`, after which reading can go on.
    pub fn report_idle(&mut self) {
        self.reports_idle = true;
    }

    /// The first byte has another offset in its file.
    pub fn begins_at(&mut self, offset: u64) {
        (self.offset, self.line_start) = (offset, offset);
    }

    /// Reads more. An error is kept, and comes again when what is before it was taken.
    pub fn look_further(&mut self) {
        self.failed = self.fill().err();
    }

    /// The offset in the stream of the first byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn line(&self) -> u64 {
        self.line
    }

    /// The line and column of the byte `at`, both from 1; columns count bytes.
    pub fn place(&self, at: usize) -> (u64, u64) {
        let before = &self.bytes()[..at];
        match memchr::memrchr(b'\n', before) {
            None => (self.line, self.offset + at as u64 - self.line_start + 1),
            Some(last) => (self.line + memchr_iter(b'\n', before).count() as u64, (at - last) as u64),
        }
    }

    /// Reads more. Returns false at the end of the stream.
    pub fn fill(&mut self) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.ended {
            return Ok(false);
        }
        if self.start > 0 && self.start >= self.end - self.start {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() < self.end + CHUNK {
            // Doubled, so that a long record is not copied for each chunk.
            self.buffer.resize((2 * self.buffer.len()).max(self.end + CHUNK), 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.reports_idle => continue,
                Err(error) => return Err(error),
            }
            return Ok(!self.ended);
        }
    }

    /// Takes the first `n` bytes.
    pub fn advance(&mut self, n: usize) {
        let taken = &self.buffer[self.start..self.start + n];
        let lines = memchr_iter(b'\n', taken).count() as u64;
        if lines > 0 {
            let last = memchr::memrchr(b'\n', taken).expect("there is one");
            (self.line, self.line_start) = (self.line + lines, self.offset + last as u64 + 1);
        }
        self.start += n;
        self.offset += n as u64;
    }

    /// Takes a line of `n` bytes with its line end, as `next_line` found it.
    pub fn take_line(&mut self, n: usize) {
        self.start += n;
        self.offset += n as u64;
        (self.line, self.line_start) = (self.line + 1, self.offset);
    }

    /// Reads until the next line is whole. `\r\n` ends a line as `\n` does, and the last line needs no line end.
    pub fn next_line(&mut self, limit: usize) -> io::Result<Line> {
        let mut searched = 0;
        loop {
            let bytes = self.bytes();
            if let Some(end) = memchr(b'\n', &bytes[searched..]) {
                let end = searched + end;
                let text = end - usize::from(end > 0 && bytes[end - 1] == b'\r');
                return Ok(if text > limit { Line::TooLong } else { Line::Whole(text, end + 1) });
            }
            searched = bytes.len();
            // One byte more than the limit leaves room for "\r".
            if searched > limit.saturating_add(1) {
                return Ok(Line::TooLong);
            }
            if !self.fill()? {
                let bytes = self.bytes();
                let text = bytes.strip_suffix(b"\r").unwrap_or(bytes).len();
                return Ok(match bytes.len() {
                    0 => Line::None,
                    _ if text > limit => Line::TooLong,
                    all => Line::Whole(text, all),
                });
            }
        }
    }

    /// Takes the rest of the line, whatever its length.
    pub fn skip_line(&mut self) -> io::Result<()> {
        loop {
            match memchr(b'\n', self.bytes()) {
                Some(end) => {
                    self.advance(end + 1);
                    return Ok(());
                }
                None => {
                    self.advance(self.bytes().len());
                    if !self.fill()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes the bytes `byte` that come next, however many, and returns their number.
    pub fn skip_bytes(&mut self, byte: u8) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let bytes = self.bytes();
            let n = bytes.iter().position(|&b| b != byte).unwrap_or(bytes.len());
            let all = n == bytes.len();
            self.advance(n);
            skipped += n as u64;
            if !all || !self.fill()? {
                return Ok(skipped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives a few bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn lines_come_out_whatever_the_pieces_are() {
        let text = b"one\r\n\ntwo\nthree";
        for size in 1..text.len() {
            let mut window = Window::new(Box::new(Pieces(text, size)), 0);
            let mut lines = Vec::new();
            while let Line::Whole(length, all) = window.next_line(5).unwrap() {
                lines.push((window.line(), String::from_utf8(window.bytes()[..length].to_vec()).unwrap()));
                window.advance(all);
            }
            let want = [(1, "one"), (2, ""), (3, "two"), (4, "three")].map(|(line, text)| (line, text.to_string()));
            assert_eq!((lines, window.offset()), (want.to_vec(), text.len() as u64), "{size}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_seen_before_its_end() {
        let mut window = Window::new(Box::new(Pieces(b"abcd\r\nabcde\nx", 1)), 0);
        assert_eq!(window.next_line(4).unwrap(), Line::Whole(4, 6));
        window.advance(6);
        assert_eq!(window.next_line(4).unwrap(), Line::TooLong);
        window.skip_line().unwrap();
        assert_eq!((window.next_line(4).unwrap(), window.line()), (Line::Whole(1, 1), 3));
    }

    #[test]
    fn places_are_lines_and_columns() {
        let mut window = Window::new(Box::new(&b"ab\ncd\nef"[..]), 0);
        while window.fill().unwrap() {}
        window.advance(4);
        assert_eq!([0, 1, 2, 3].map(|at| window.place(at)), [(2, 2), (2, 3), (3, 1), (3, 2)]);
    }
}
