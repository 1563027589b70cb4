//! Streams records from files, a pipe or a growing file: a reader thread with a short queue.

use super::collect::{ReadOptions, ReadReport};
use super::each_line;
use super::follow::{Begin, Reader, segments};
use super::prelude::prelude;
use super::queue::{InputRecord, RecordSender};
use super::read::{decode, open, read_all};
use super::sniff::PEEK;
use super::stdin::{STDIN, Stdin};
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A source of records for a [`Feed`].
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Standard input in any format that `prepare` reads.
    Stdin,
    /// A file, folder or glob in any format that `prepare` reads, up to its end.
    Path(PathBuf),
    /// A file that grows, in any such format, of which `records` were read before.
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
    /// Starts to read. At most `queue` records wait, each of at most as many bytes as the options allow, which bounds the memory.
    pub fn start(inputs: Vec<Input>, options: ReadOptions, queue: usize) -> Self {
        let (sender, lines) = sync_channel(queue);
        let reader = std::thread::spawn(move || {
            for (number, input) in inputs.iter().enumerate() {
                let before = if let Input::Growing { records, .. } = input { *records } else { 0 };
                let mut out = RecordSender::new(&sender, number, before, options.share);
                if let Err(error) = read(input, &options, &mut out) {
                    // The send fails only if the receiver is gone, and then nobody needs the error.
                    let _ = sender.send(Err(error));
                    return;
                }
            }
        });
        Feed { lines, reader: Some(reader), failed: None }
    }

    /// The same of one stream of bytes, which messages call `name`, up to its end.
    pub fn of_stream(name: &str, raw: Box<dyn Read + Send>, options: ReadOptions, queue: usize) -> Self {
        let (sender, lines) = sync_channel(queue);
        let name = name.to_string();
        let reader = std::thread::spawn(move || {
            let mut out = RecordSender::new(&sender, 0, 0, options.share);
            if let Err(error) = read_stream(&name, raw, &options, &mut out) {
                let _ = sender.send(Err(error));
            }
        });
        Feed { lines, reader: Some(reader), failed: None }
    }

    /// Returns the records in the queue, at most `most` of them, and waits a moment for the first: none if there is none yet.
    /// Returns `None` at the end or after `stop` was set. A read error comes after all records that were read before it.
    pub fn next(&mut self, most: usize, stop: &AtomicBool) -> Result<Option<Vec<InputRecord>>> {
        self.take(most, stop, POLL_INTERVAL)
    }

    /// As [`Feed::next`], but it waits for nothing.
    pub fn available(&mut self, most: usize, stop: &AtomicBool) -> Result<Option<Vec<InputRecord>>> {
        self.take(most, stop, Duration::ZERO)
    }

    fn take(&mut self, most: usize, stop: &AtomicBool, wait: Duration) -> Result<Option<Vec<InputRecord>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let first = match self.lines.recv_timeout(wait) {
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

fn read(input: &Input, options: &ReadOptions, out: &mut RecordSender) -> Result<()> {
    match input {
        Input::Growing { path, begin, .. } => follow(path, begin, options, out),
        Input::Stdin if options.each_line => {
            each_line::read(STDIN, Box::new(Stdin::open()?), options, &mut |taken| out.send(taken))
        }
        Input::Path(path) if options.each_line => {
            let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
            each_line::read(&path.display().to_string(), Box::new(file), options, &mut |taken| out.send(taken))
        }
        Input::Path(path) => read_path(path, options, out),
        Input::Stdin => read_path(Path::new("-"), options, out),
    }
}

fn read_stream(name: &str, raw: Box<dyn Read>, options: &ReadOptions, out: &mut RecordSender) -> Result<()> {
    let Some(opened) = open(name, raw, 0, None, options)? else { return Ok(()) };
    decode(opened, false, options, &mut ReadReport::default(), &mut |taken| out.send(taken)).map(|_| ())
}

fn read_path(path: &Path, options: &ReadOptions, out: &mut RecordSender) -> Result<()> {
    let inputs = [path.to_owned()];
    read_all(&inputs, options, &ProgressBar::hidden(), &mut |taken| out.send(taken)).map(|_| ())
}

/// Sends the records of a growing file until the receiver is gone. What is lost is a warning with its number of bytes.
fn follow(path: &Path, begin: &Begin, options: &ReadOptions, out: &mut RecordSender) -> Result<()> {
    let failed = |e| Error::io("read", path, e);
    let name = path.display().to_string();
    for segment in segments(path, begin)? {
        let reader = Reader::new(segment.clone());
        let (at, mut resumed, mut lines) = (reader.at(), None, Vec::new());
        if at > 0 {
            let mut head = Vec::new();
            reader.beginning().take(PEEK as u64).read_to_end(&mut head).map_err(failed)?;
            if let Some((format, names)) = prelude(&head, options.format) {
                (resumed, lines) = (Some(format), names);
            }
        }
        let begin = at - (lines.len() as u64).min(at);
        let raw = Box::new(Cursor::new(lines).chain(reader));
        let Some(mut opened) = open(&name, raw, 0, resumed, options)? else { continue };
        let row = opened.report.format.row();
        if row.feature.is_some() {
            return Err(Error::usage(format!(
                "{name}: a file of the format {} is read as a whole and not as it grows; name it without --follow",
                row.name
            )));
        }
        if at > 0 {
            opened.window.begins_at(begin);
        }
        if !opened.seekable {
            tracing::info!(
                "{name}: compressed or in UTF-16, so the place of a record in the file is not known (--state, --from-end)"
            );
        }
        out.reads(Some(&segment).filter(|_| opened.seekable));
        decode(opened, true, options, &mut ReadReport::default(), &mut |taken| out.send(taken))?;
        if let lost @ 1.. = segment.lost() {
            tracing::warn!(
                "{name}: the file was truncated before it was read to its end, and no copy of it was found: at least {lost} \
                 bytes are lost"
            );
        }
    }
    Ok(())
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
        let mut feed = Feed::start(vec![Input::Path(file), Input::Path(missing)], ReadOptions::default(), 8);
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
