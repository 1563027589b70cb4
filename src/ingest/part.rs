//! One part of the inputs: several processes read the same inputs, each its part of their bytes, and together they read what one
//! process reads, record for record.
//!
//! A file is cut at the first place behind the border of two parts where a line begins a record whatever was before it. Not every
//! format has such places, nor has a compressed file: they are read as a whole by the part in which they begin.

use super::collect::{BadRecords, ReadOptions, ReadReport, SourceReport, Taken};
use super::format::InputFormat;
use super::inputs::{self, Source};
use super::json::{LinesStart, lines_start};
use super::read::{Opened, decode, open, open_file, read_source};
use super::sniff::PEEK;
use super::window::{Line, Window};
use crate::launch::Part;
use crate::{Error, Result};
use indicatif::ProgressBar;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What a part has read of one of the files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputShare {
    pub name: String,
    /// The stored size of the whole file in bytes.
    pub size: u64,
    /// The bytes that were read, from the first and before the second of these offsets. `None`: other parts read the file.
    pub read: Option<(u64, u64)>,
    /// What was read. `None`: nothing, or the file is no log.
    pub found: Option<SourceReport>,
}

/// Reads the records of one part of the inputs in order, as [`super::read_records`] does all of them. A part may hold no record, or
/// none that has a field.
///
/// Errors: as of [`super::read_records`], and an input that is no file, for it can be read only once.
pub fn read_part(
    inputs: &[PathBuf],
    options: &ReadOptions,
    part: Part,
    progress: &ProgressBar,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<(ReadReport, Vec<InputShare>)> {
    let sources = inputs::expand(inputs, &options.leave_out)?;
    if let Some(source) = sources.iter().find(|source| !is_file(source))
        && !part.is_whole()
    {
        return Err(Error::usage(format!(
            "--part {part}: {} can be read by one process only; write it to a file, and name that",
            source.name
        )));
    }
    let total = sources.iter().map(|source| source.bytes).sum();
    let (wanted, mut begin) = (part.range(total), 0);
    progress.set_length(wanted.end - wanted.start);
    let mut reader = PartReader {
        options,
        progress,
        report: ReadReport::default(),
        sink: &mut |taken| match taken {
            Taken::Record { record, .. } => sink(record),
            Taken::Fault { .. } => Ok(()),
        },
    };
    let mut shares = Vec::with_capacity(sources.len());
    for source in &sources {
        let owns = wanted.contains(&begin) || part.is_last() && begin == total;
        let end = begin + source.bytes;
        let [from, to] = [wanted.start, wanted.end].map(|border| border.clamp(begin, end) - begin);
        let before = reader.report.sources.len();
        let read = match owns && to == source.bytes {
            true => reader.whole(source)?,
            false if owns || from < to => reader.piece(source, from, to)?,
            false => None,
        };
        let found = reader.report.sources.get(before).cloned();
        shares.push(InputShare { name: source.name.clone(), size: source.bytes, read, found });
        begin = end;
    }
    Ok((reader.report, shares))
}

fn is_file(source: &Source) -> bool {
    source.path.as_deref().is_some_and(Path::is_file)
}

struct PartReader<'a> {
    options: &'a ReadOptions,
    progress: &'a ProgressBar,
    report: ReadReport,
    sink: &'a mut dyn FnMut(Taken) -> Result<()>,
}

impl PartReader<'_> {
    /// Reads a file as a whole. Returns the range of its bytes.
    fn whole(&mut self, source: &Source) -> Result<Option<(u64, u64)>> {
        let raw = open_file(source, self.progress);
        read_source(source, raw, self.options, &mut self.report, self.sink)?;
        Ok(Some((0, source.bytes)))
    }

    /// Reads the records that begin between two offsets of a file, or, where it cannot be cut, all that it holds if it begins
    /// there. Returns the range of bytes that was read.
    fn piece(&mut self, source: &Source, from: u64, to: u64) -> Result<Option<(u64, u64)>> {
        let raw = open_file(source, &ProgressBar::hidden());
        let opened = raw.and_then(|raw| open(&source.name, raw, source.bytes, None, self.options));
        let cut =
            opened.ok().flatten().and_then(|mut opened| Cut::of(&mut opened, self.options).map(|cut| (opened, cut)));
        let (Some((opened, cut)), Some(path)) = (cut, &source.path) else {
            return if from == 0 { self.whole(source) } else { Ok(None) };
        };
        let border = |at: u64| match at {
            0 => Ok(0),
            at if at == source.bytes => Ok(at),
            at => cut.next(path, at, self.options.max_record_bytes),
        };
        let (begin, end) = (border(from)?.min(source.bytes), border(to)?.min(source.bytes));
        if begin < end {
            let done = self.between(source, path, opened, &cut, begin..end)?;
            self.report.add(done);
        }
        Ok(Some((begin, end)))
    }

    fn between(
        &mut self,
        source: &Source,
        path: &Path,
        opened: Opened,
        cut: &Cut,
        range: std::ops::Range<u64>,
    ) -> Result<SourceReport> {
        // The mark of UTF-8 is no part of the text.
        let begin = range.start.max(opened.window.offset());
        let text = file_from(path, begin)?.take(range.end.saturating_sub(begin));
        let mut piece = opened;
        piece.window = Window::new(Box::new(self.progress.wrap_read(text)), begin);
        if range.start > 0 {
            // Lines are counted from here on.
            piece.report.name = format!("{} behind byte {}", source.name, range.start);
            piece.lines = cut.lines();
        }
        let goes_on = range.end < source.bytes;
        let done = decode(piece, goes_on, self.options, &mut self.report, self.sink)?;
        Ok(SourceReport { name: source.name.clone(), ..done })
    }
}

fn file_from(path: &Path, at: u64) -> Result<File> {
    let open = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(file)
    };
    open().map_err(|e| Error::io("read", path, e))
}

/// Where a file may be cut.
enum Cut {
    /// Before any line.
    Line,
    /// Before a line that fits: it begins an event.
    Event(Regex),
    /// Before a line that begins an object, behind one that ends with an object: between the elements of an array there is a
    /// comma, and no string goes over two lines, so both stand at the top level.
    Object(LinesStart),
}

impl Cut {
    /// Where a source may be cut; `None`: nowhere.
    fn of(opened: &mut Opened, options: &ReadOptions) -> Option<Self> {
        if !opened.seekable {
            return None;
        }
        match (opened.report.format, &opened.start) {
            (InputFormat::Text, Some(start)) => Some(Cut::Event(start.clone())),
            (InputFormat::Text | InputFormat::Cef, _) => Some(Cut::Line),
            (InputFormat::Jsonl, _) if options.format.is_some() => Some(Cut::Line),
            // How broken JSON is passed over depends on what was before it.
            (InputFormat::Jsonl, _) if options.bad_records == BadRecords::Fail => {
                // What told the format may be less than a line.
                while opened.window.bytes().len() < PEEK && !opened.window.ended() {
                    opened.window.look_further();
                }
                lines_start(opened.window.bytes()).map(Cut::Object)
            }
            _ => None,
        }
    }

    fn lines(&self) -> Option<LinesStart> {
        if let Cut::Object(start) = self { Some(*start) } else { None }
    }

    /// The first place behind `at` where the file may be cut, or its end.
    fn next(&self, path: &Path, at: u64, limit: usize) -> Result<u64> {
        let failed = |e| Error::io("read", path, e);
        // From the byte before, so that a line that begins right there is found.
        let mut window = Window::new(Box::new(file_from(path, at - 1)?), at - 1);
        // The last byte of the line before; the first line is one that may have begun earlier.
        let (mut before, mut is_first) = (None, true);
        loop {
            match window.next_line(limit).map_err(failed)? {
                Line::None => return Ok(window.offset()),
                Line::TooLong => {
                    window.skip_line().map_err(failed)?;
                    before = None;
                }
                Line::Whole(length, all) => {
                    let text = &window.bytes()[..length];
                    if !is_first && self.fits(text, before) {
                        return Ok(window.offset());
                    }
                    before = text.trim_ascii().last().copied().or(before);
                    window.take_line(all);
                }
            }
            is_first = false;
        }
    }

    fn fits(&self, line: &[u8], before: Option<u8>) -> bool {
        match self {
            Cut::Line => true,
            Cut::Event(start) => start.is_match(line),
            Cut::Object(_) => before == Some(b'}') && line.trim_ascii().first() == Some(&b'{'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// The records of all parts of a file, one part after another, and the number of parts that have some.
    fn in_parts(text: &str, options: &ReadOptions, of: u64) -> (Vec<Vec<u8>>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, text).unwrap();
        let (mut records, mut ends, mut full) = (Vec::new(), vec![0], 0);
        for index in 0..of {
            let (part, before) = (Part::new(index, of), records.len());
            let mut sink = |record: &[u8]| {
                records.push(record.to_vec());
                Ok(())
            };
            let read = read_part(std::slice::from_ref(&path), options, part, &ProgressBar::hidden(), &mut sink);
            let (report, shares) = read.unwrap();
            assert_eq!(report.records as usize, records.len() - before);
            full += usize::from(records.len() > before);
            if let Some((begin, end)) = shares[0].read {
                assert_eq!(begin, *ends.last().unwrap(), "part {part}");
                ends.push(end);
            }
        }
        assert_eq!(*ends.last().unwrap(), text.len() as u64);
        (records, full)
    }

    /// Requires that the parts hold what one process reads; returns how many of seven hold something.
    #[track_caller]
    fn check(text: &str, options: &ReadOptions) -> usize {
        let (whole, _) = in_parts(text, options, 1);
        assert!(!whole.is_empty());
        for of in [2, 3, 5, 64, 200] {
            let (records, _) = in_parts(text, options, of);
            assert!(records == whole, "{of} parts: {} records, not {}", records.len(), whole.len());
        }
        in_parts(text, options, 7).1
    }

    #[test]
    fn lines_are_cut_anywhere() {
        let mut text: String = (0..40).fold(String::new(), |mut text, n| {
            write!(text, "line {n} {}{}", "x".repeat(n % 9), if n % 5 == 0 { "\r\n\n" } else { "\n" }).unwrap();
            text
        });
        let options = ReadOptions::default();
        assert_eq!(check(&text, &options), 7);
        assert_eq!(check(&format!("\u{feff}{text}"), &options), 7);
        text.pop();
        assert_eq!(check(&text, &options), 7);
        assert_eq!(check("one\n", &options), 1);
        assert_eq!(check(&"x".repeat(500), &options), 1);
    }

    #[test]
    fn events_of_several_lines_stay_whole() {
        let text: String = (0..30).map(|n| format!("2024-03-01T00:00:{n:02} ERROR x\n\tat a.B\n  in c\n")).collect();
        let options = ReadOptions { record_start: crate::ingest::RecordStart::Find, ..ReadOptions::default() };
        assert_eq!(check(&text, &options), 7);
    }

    #[test]
    fn objects_on_lines_stay_whole_however_some_are_arranged() {
        let line = |n: usize| format!("{{\"n\":{n},\"s\":\"{}\"}}\n", "y".repeat(n % 7));
        let text: String = (0..40).map(line).collect();
        let options = ReadOptions::default();
        assert_eq!(check(&text, &options), 7);
        let chosen = ReadOptions { format: Some(InputFormat::Jsonl), ..ReadOptions::default() };
        assert_eq!(check(&text, &chosen), 7);
        // Wrappers, arrays and objects over several lines are not cut, wherever they stand.
        let odd =
            "{\"Records\":[\n{\"a\":1},\n{\"a\":2}\n]}\n[{\"b\":1},\n{\"b\":2}]\n{\n  \"c\": {\"d\":\n[{}\n]}\n}\n";
        let mixed: String = (0..30).map(|n| if n % 3 == 1 { odd.to_string() } else { line(n) }).collect();
        assert_eq!(check(&mixed, &options), 7);
    }

    /// What the first object says holds for all parts: journald's arrays of bytes become text in each of them.
    #[test]
    fn the_beginning_says_how_the_middle_is_read() {
        let options = ReadOptions::default();
        let journal: String =
            (0..30).map(|n| format!("{{\"__CURSOR\":\"s={n}\",\"MESSAGE\":[104,105,{}]}}\n", 65 + n % 20)).collect();
        assert_eq!(check(&journal, &options), 7);
        let bulk: String = (0..30).map(|n| format!("{{\"index\":{{\"_id\":\"{n}\"}}}}\n{{\"n\":{n}}}\n")).collect();
        assert_eq!(check(&bulk, &options), 7);
        // An event may have a member like those of wrappers; what is a wrapper depends on the first object.
        let orders: String = (0..30).map(|n| format!("{{\"id\":{n},\"items\":[{{\"a\":{n}}}]}}\n")).collect();
        assert_eq!(check(&orders, &options), 1);
        let later = format!("{{\"id\":1}}\n{{\"total\":1,\"items\":[{{\"a\":1}}]}}\n{orders}");
        assert_eq!(check(&later, &options), 7);
        let docker = |n: usize| {
            let end = if n % 3 == 2 { "\\n" } else { "" };
            format!("{{\"log\":\"part {n}{end}\",\"stream\":\"stdout\",\"time\":\"t\"}}\n")
        };
        assert_eq!(check(&(0..30).map(docker).collect::<String>(), &options), 1);
    }

    #[test]
    fn what_cannot_be_cut_is_read_by_the_part_in_which_it_begins() {
        let options = ReadOptions::default();
        let table: String = (0..30).map(|n| format!("{n},\"a\nb\",c{n}\n")).collect();
        assert_eq!(check(&format!("number,text,word\n{table}"), &options), 1);
        assert_eq!(check("[\n  {\"a\": 1},\n  {\"a\": 2}\n]\n", &options), 1);
        let skip = ReadOptions { bad_records: BadRecords::Skip, ..ReadOptions::default() };
        let broken = "{\"a\":{\"b\":1}\n{\"c\":1}\n".repeat(20);
        assert_eq!(check(&format!("{{\"a\":1}}\n{{\"a\":2}}\n{broken}"), &skip), 1);
    }

    #[test]
    fn a_pipe_cannot_be_divided() {
        let mut sink = |_: &[u8]| Ok(());
        let options = ReadOptions::default();
        let read = read_part(&["-".into()], &options, Part::new(0, 2), &ProgressBar::hidden(), &mut sink);
        let message = read.unwrap_err().to_string();
        assert!(message.contains("--part 1/2: stdin") && message.contains("write it to a file"), "{message}");
    }
}
