//! Records from files, a pipe or a growing file, as they come: a reader thread with a short queue.

use super::follow;
use crate::ingest::collect::{BadRecords, ReadOptions};
use crate::ingest::directives::Directives;
use crate::ingest::read::read_records;
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where records come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Lines of standard input.
    Stdin,
    /// A file, folder or pattern in any format that `prepare` reads, to its end.
    Path(PathBuf),
    /// Lines of a file that grows: from its beginning, or only those to come.
    Growing { path: PathBuf, from_end: bool },
}

/// One record of an input, or why a line of it is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Number of the input.
    pub input: usize,
    /// From 1, within the input; empty lines do not count.
    pub number: u64,
    pub record: std::result::Result<Vec<u8>, String>,
}

/// How long the queue waits before it looks whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// The records of some inputs, in order.
pub struct Feed {
    lines: Receiver<Result<Line>>,
    reader: Option<JoinHandle<()>>,
    failed: Option<Error>,
}

impl Feed {
    /// Starts to read. At most `queue` records wait, each of at most `longest` bytes: that bounds the memory. `tables`: records
    /// are JSON, so lines below a line `#Fields` (see [`Directives`]) become objects.
    pub fn start(inputs: Vec<Input>, longest: usize, queue: usize, tables: bool) -> Self {
        let (sender, lines) = sync_channel(queue);
        let reader = std::thread::spawn(move || {
            for (number, input) in inputs.iter().enumerate() {
                let mut out = Out { sender: &sender, input: number, records: 0 };
                if let Err(error) = read(input, Lines::new(longest, tables), &mut out) {
                    // A receiver that has left wants no error either.
                    let _ = sender.send(Err(error));
                    return;
                }
            }
        });
        Feed { lines, reader: Some(reader), failed: None }
    }

    /// Waits for a record and gives it with those already there behind it, at most `most`: none at the end, or when `stop`
    /// was set. A failure to read comes after all that was read before it.
    pub fn next(&mut self, most: usize, stop: &AtomicBool) -> Result<Option<Vec<Line>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let first = loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => break line?,
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => return self.ended().map(|()| None),
            }
        };
        let mut batch = vec![first];
        while batch.len() < most
            && let Ok(line) = self.lines.try_recv()
        {
            match line {
                Ok(line) => batch.push(line),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(Some(batch))
    }

    /// A reader that panicked has left records unread.
    fn ended(&mut self) -> Result<()> {
        match self.reader.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Error::failed("reading the input failed by a fault of the program (see above)")),
            _ => Ok(()),
        }
    }
}

/// The queue's end that one input fills.
pub(super) struct Out<'a> {
    sender: &'a SyncSender<Result<Line>>,
    input: usize,
    records: u64,
}

impl Out<'_> {
    fn send(&mut self, record: std::result::Result<Vec<u8>, String>) -> Result<()> {
        self.records += 1;
        let line = Line { input: self.input, number: self.records, record };
        self.sender.send(Ok(line)).map_err(|_| Error::failed("the records are no longer wanted"))
    }
}

fn read(input: &Input, mut lines: Lines, out: &mut Out) -> Result<()> {
    match input {
        Input::Path(path) => read_path(path, lines.longest, out),
        Input::Growing { path, from_end } => follow::follow(path, *from_end, lines, out),
        Input::Stdin => {
            let mut stdin = std::io::stdin().lock();
            let mut buffer = vec![0; 1 << 16];
            loop {
                match stdin.read(&mut buffer) {
                    Ok(0) => return lines.end(out),
                    Ok(n) => lines.push(&buffer[..n], out)?,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => (),
                    Err(e) => return Err(Error::failed(format!("cannot read standard input: {e}"))),
                }
            }
        }
    }
}

/// Bad records come as the text they are: the scorer says what is wrong with each.
fn read_path(path: &Path, longest: usize, out: &mut Out) -> Result<()> {
    let options = ReadOptions { bad_records: BadRecords::Keep, max_record_bytes: longest, ..ReadOptions::default() };
    let inputs = [path.to_owned()];
    read_records(&inputs, &options, &ProgressBar::hidden(), &mut |record| out.send(Ok(record.to_vec()))).map(|_| ())
}

/// Bytes as they come -> lines. Memory: one line, bounded by the limit.
pub(super) struct Lines {
    longest: usize,
    line: Vec<u8>,
    /// Inside a line that was too long and has been reported.
    skipping: bool,
    started: bool,
    /// Names of a table, where lines may be its rows.
    table: Option<Directives>,
}

/// Most bytes of the beginning of a file in which its names are looked for.
const HEAD: u64 = 1 << 16;

impl Lines {
    pub fn new(longest: usize, tables: bool) -> Self {
        Lines { longest, line: Vec::new(), skipping: false, started: false, table: tables.then(Directives::default) }
    }

    /// Looks for names of a table at the beginning of a file whose rows come later.
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

    pub fn push(&mut self, bytes: &[u8], out: &mut Out) -> Result<()> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
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

    /// The line is over: by its newline, or because nothing more comes.
    pub fn end(&mut self, out: &mut Out) -> Result<()> {
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
        record.map_or(Ok(()), |record| out.send(record))
    }

    /// Forgets an unfinished line.
    pub fn forget(&mut self) {
        self.line.clear();
        self.skipping = false;
    }

    fn too_long(&mut self, out: &mut Out) -> Result<()> {
        self.line = Vec::new();
        self.skipping = true;
        out.send(Err(format!(
            "a line longer than {} bytes, left out; raise --max-record-bytes if it is a record",
            self.longest
        )))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Lines of what `fill` sends.
    pub fn sent(fill: impl FnOnce(&mut Out)) -> Vec<std::result::Result<String, String>> {
        let (sender, receiver) = sync_channel(100);
        fill(&mut Out { sender: &sender, input: 0, records: 0 });
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
                let mut lines = Lines::new(10, false);
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
                let mut lines = Lines::new(4, false);
                b"abcd\r\nabcde\nabcdefghijkl\nabc\nabcde".chunks(size).for_each(|p| lines.push(p, out).unwrap());
                lines.end(out).unwrap();
            });
            let shape: Vec<_> = found.iter().map(|line| line.as_deref().unwrap_or("-")).collect();
            assert_eq!(shape, ["abcd", "-", "-", "abc", "-"], "{size}");
        }
    }

    #[test]
    fn a_feed_gives_what_is_there_and_its_failure_last() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.log");
        std::fs::write(&file, "one\ntwo\nthree\n").unwrap();
        let missing = home.path().join("none.log");
        let mut feed = Feed::start(vec![Input::Path(file), Input::Path(missing)], 100, 8, false);
        let (stop, mut seen) = (AtomicBool::new(false), Vec::new());
        let failure = loop {
            match feed.next(2, &stop) {
                Ok(Some(batch)) => {
                    assert!(batch.len() <= 2);
                    seen.extend(batch.into_iter().map(|line| (line.number, line.record.unwrap())));
                }
                Ok(None) => panic!("the failure is missing"),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(seen, [(1, b"one".to_vec()), (2, b"two".to_vec()), (3, b"three".to_vec())]);
        assert!(failure.contains("none.log"), "{failure}");
        stop.store(true, Ordering::Relaxed);
        assert_eq!(feed.next(2, &stop).unwrap(), None);
    }
}
