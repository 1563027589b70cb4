//! Streams records from files, a pipe or a growing file: a reader thread with a short queue.

use super::collect::{BadRecords, ReadOptions};
use super::follow::{Begin, Reader, segments};
use super::line_splitter::{InputRecord, LineSplitter, RecordSender};
use super::read::read_records;
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A source of records for a [`Feed`].
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The lines of standard input.
    Stdin,
    /// A file, folder or glob in any format that `prepare` reads, up to its end.
    Path(PathBuf),
    /// The lines of a file that grows, of which `records` were read before.
    Growing { path: PathBuf, begin: Begin, records: u64 },
}

/// How long [`Feed::next`] waits for a record before it checks whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The records of several inputs, one input after another.
pub struct Feed {
    lines: Receiver<Result<InputRecord>>,
    reader: Option<JoinHandle<()>>,
    failed: Option<Error>,
}

impl Feed {
    /// Starts to read. At most `queue` records wait, each of at most `longest` bytes, which bounds the memory. `tables` says
    /// that records are JSON, so that lines below a line `#Fields` become objects (see `w3c_zeek.rs`).
    pub fn start(inputs: Vec<Input>, longest: usize, queue: usize, tables: bool) -> Self {
        let (sender, lines) = sync_channel(queue);
        let reader = std::thread::spawn(move || {
            for (number, input) in inputs.iter().enumerate() {
                let before = if let Input::Growing { records, .. } = input { *records } else { 0 };
                let mut out = RecordSender::new(&sender, number, before);
                if let Err(error) = read(input, LineSplitter::new(longest, tables), &mut out) {
                    // The send fails only if the receiver is gone, and then nobody needs the error.
                    let _ = sender.send(Err(error));
                    return;
                }
            }
        });
        Feed { lines, reader: Some(reader), failed: None }
    }

    /// Returns the records in the queue, at most `most` of them, and waits a moment for the first: none if there is none yet.
    /// Returns `None` at the end or after `stop` was set. A read error comes after all records that were read before it.
    pub fn next(&mut self, most: usize, stop: &AtomicBool) -> Result<Option<Vec<InputRecord>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let first = match self.lines.recv_timeout(POLL_INTERVAL) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Timeout) => return Ok(Some(Vec::new())),
            Err(RecvTimeoutError::Disconnected) => return self.ended().map(|()| None),
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

    /// The result once the reader has ended: an error if it panicked, since records are then missing.
    fn ended(&mut self) -> Result<()> {
        match self.reader.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Error::failed("reading the input failed because of a bug in logwright (see above)")),
            _ => Ok(()),
        }
    }
}

fn read(input: &Input, mut lines: LineSplitter, out: &mut RecordSender) -> Result<()> {
    match input {
        Input::Path(path) => read_path(path, lines.longest, out),
        Input::Growing { path, begin, .. } => follow(path, begin, lines, out),
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

/// Sends the lines of a growing file until the receiver is gone. What is lost is a warning with its number of bytes.
fn follow(path: &Path, begin: &Begin, mut lines: LineSplitter, out: &mut RecordSender) -> Result<()> {
    let failed = |e| Error::io("read", path, e);
    let mut buffer = vec![0; 1 << 16];
    for segment in segments(path, begin)? {
        out.reads(&segment);
        let mut reader = Reader::new(segment);
        if reader.at() > 0 {
            lines.learn(reader.beginning()).map_err(failed)?;
        }
        lines.begin(reader.at());
        while let n @ 1.. = reader.read(&mut buffer).map_err(failed)? {
            lines.push(&buffer[..n], out)?;
        }
        lines.end(out)?;
        if let lost @ 1.. = reader.lost() {
            tracing::warn!(
                "{}: the file was truncated before it was read to its end, and no copy of it was found: at least {lost} bytes \
                 are lost",
                path.display()
            );
        }
    }
    Ok(())
}

/// Bad records are sent as text: the scorer reports what is wrong with each.
fn read_path(path: &Path, longest: usize, out: &mut RecordSender) -> Result<()> {
    let options = ReadOptions { bad_records: BadRecords::Keep, max_record_bytes: longest, ..ReadOptions::default() };
    let inputs = [path.to_owned()];
    read_records(&inputs, &options, &ProgressBar::hidden(), &mut |record| out.send(Ok(record.to_vec()), None))
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

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
