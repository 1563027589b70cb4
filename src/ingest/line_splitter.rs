//! Splits the bytes of a stream into lines, and sends them as records to the queue of a [`super::Feed`].

use super::follow::{Position, Segment};
use super::w3c_zeek::HeadedTable;
use crate::{Error, Result};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

/// One record of an input, or the reason why a line of it is not a record.
#[derive(Clone, Debug, PartialEq)]
pub struct InputRecord {
    /// The number of the input, from 0.
    pub input: usize,
    /// The number of the record within the input, from 1; empty lines do not count.
    pub number: u64,
    pub record: std::result::Result<Vec<u8>, String>,
    /// Where the record ends, if its input is a growing file.
    pub end: Option<Position>,
}

/// The sending end of the queue, for one input.
pub(super) struct RecordSender<'a> {
    sender: &'a SyncSender<Result<InputRecord>>,
    input: usize,
    records: u64,
    /// The growing file that is read.
    segment: Option<Arc<Segment>>,
}

impl<'a> RecordSender<'a> {
    /// A sender for an input of which `records` were read before.
    pub fn new(sender: &'a SyncSender<Result<InputRecord>>, input: usize, records: u64) -> Self {
        RecordSender { sender, input, records, segment: None }
    }

    /// From here on records come from this file.
    pub fn reads(&mut self, segment: &Arc<Segment>) {
        self.segment = Some(segment.clone());
    }

    /// Sends a record; `end` is the offset behind it and its line end, where that is known.
    pub fn send(&mut self, record: std::result::Result<Vec<u8>, String>, end: Option<u64>) -> Result<()> {
        self.records += 1;
        let end = self.segment.as_ref().zip(end).map(|(segment, end)| segment.position(end));
        let line = InputRecord { input: self.input, number: self.records, record, end };
        self.sender.send(Ok(line)).map_err(|_| Error::failed("the records are no longer wanted"))
    }
}

/// Splits bytes that arrive in pieces of any size into lines. Memory: one line, bounded by the limit.
pub(super) struct LineSplitter {
    pub longest: usize,
    line: Vec<u8>,
    /// Whether the current line is too long and has been reported.
    skipping: bool,
    started: bool,
    /// The offset behind the last line.
    offset: u64,
    /// The table that the lines may be rows of; `None` if lines are plain text.
    table: Option<HeadedTable>,
}

/// The number of bytes at the beginning of a file that are searched for the names of its columns.
const HEAD: u64 = 1 << 16;

impl LineSplitter {
    pub fn new(longest: usize, tables: bool) -> Self {
        LineSplitter {
            longest,
            line: Vec::new(),
            skipping: false,
            started: false,
            offset: 0,
            table: tables.then(HeadedTable::default),
        }
    }

    /// Reads the names of columns at the beginning of a file of which only later lines are followed.
    pub fn learn(&mut self, file: impl Read) -> std::io::Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        for line in BufReader::new(file.take(HEAD)).split(b'\n') {
            let line = line?;
            let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
            if !text.is_empty() && !text.starts_with(b"#") {
                break;
            }
            table.record(text.to_vec());
        }
        Ok(())
    }

    /// From here on the bytes are those of another file, from offset `at` on.
    pub fn begin(&mut self, at: u64) {
        (self.offset, self.started) = (at, at > 0);
    }

    pub fn push(&mut self, bytes: &[u8], out: &mut RecordSender) -> Result<()> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            self.offset += part.len() as u64;
            if !self.skipping {
                self.line.extend_from_slice(text);
            }
            // One more than the limit leaves room for "\r".
            if self.line.len() > self.longest + 1 {
                self.too_long(out)?;
            }
            if text.len() < part.len() {
                self.end(out)?;
            }
        }
        Ok(())
    }

    /// Ends the current line, at its newline or at the end of the stream.
    pub fn end(&mut self, out: &mut RecordSender) -> Result<()> {
        let skipped = std::mem::take(&mut self.skipping);
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.started, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if skipped || line.trim_ascii().is_empty() {
            return Ok(());
        }
        if line.len() > self.longest {
            self.too_long(out)?;
            self.skipping = false;
            return Ok(());
        }
        let record = match &mut self.table {
            Some(table) => table.record(line),
            None => Some(Ok(line)),
        };
        record.map_or(Ok(()), |record| out.send(record, Some(self.offset)))
    }

    fn too_long(&mut self, out: &mut RecordSender) -> Result<()> {
        self.line = Vec::new();
        self.skipping = true;
        let fault = format!(
            "the line is longer than {} bytes and is left out; raise --max-record-bytes if it is a record",
            self.longest
        );
        // Its rest is still to come: who resumed here would take it for a record.
        out.send(Err(fault), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    /// The records that `fill` sends.
    fn sent(fill: impl FnOnce(&mut RecordSender)) -> Vec<std::result::Result<String, String>> {
        let (sender, receiver) = sync_channel(100);
        fill(&mut RecordSender::new(&sender, 0, 0));
        drop(sender);
        receiver
            .iter()
            .map(|line| line.unwrap().record.map(|text| String::from_utf8_lossy(&text).into_owned()))
            .collect()
    }

    #[test]
    fn lines_come_out_whatever_the_pieces_are() {
        let text = b"\xef\xbb\xbfone\r\n\n  \ntwo\nthree";
        for size in 1..text.len() {
            let found = sent(|out| {
                let mut lines = LineSplitter::new(10, false);
                text.chunks(size).for_each(|piece| lines.push(piece, out).unwrap());
                lines.end(out).unwrap();
            });
            assert_eq!(found, ["one", "two", "three"].map(|line| Ok(line.to_string())), "{size}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once_and_the_next_one_is_whole() {
        for size in [1, 3, 7, 100] {
            let found = sent(|out| {
                let mut lines = LineSplitter::new(4, false);
                b"abcd\r\nabcde\nabcdefghijkl\nabc\nabcde".chunks(size).for_each(|p| lines.push(p, out).unwrap());
                lines.end(out).unwrap();
            });
            let shape: Vec<_> = found.iter().map(|line| line.as_deref().unwrap_or("-")).collect();
            assert_eq!(shape, ["abcd", "-", "-", "abc", "-"], "{size}");
        }
    }
}
