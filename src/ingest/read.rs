//! `read_records`: takes every input from its bytes to the sink, and `read_source` one of them.

use super::charset;
use super::collect::{Collector, ReadOptions, ReadReport, SourceReport, Taken};
use super::compression::{self, Compression};
use super::format::InputFormat;
use super::formats::{Known, recognise};
use super::inputs::{self, Source};
use super::record_start::RecordStart;
use super::sniff::{self, Beginning};
use super::stdin::Stdin;
use super::window::Window;
use super::{binary, events, json};
use crate::record::Prefix;
use crate::{Error, Result};
use indicatif::ProgressBar;
use regex::bytes::Regex;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Reads every record of `inputs` (files, folders, globs, `-`) in order and passes it to `sink` without its newline.
///
/// `FORMATS` says what a record of each format is. Lines may end in `\r\n`; empty ones are skipped and counted; UTF-16 with a
/// byte order mark is read, and the mark of UTF-8 removed; the last line needs no newline. With [`ReadOptions::prefixes`]
/// each record becomes `VALUE... RECORD`, as in `jtaylor {"time": ...}`. Memory is bounded by a few times `max_record_bytes`.
/// `progress` counts stored bytes. A file that was found in a folder or by a glob, and is no log, is left out with a warning.
///
/// Errors name the file and place: nothing to read, a damaged stream, a named file that is no log, a record that is too long
/// or (as the options say) bad, no record in all inputs, no record with the prefix field. Errors of `sink` are returned
/// unchanged.
pub fn read_records(
    inputs: &[PathBuf],
    options: &ReadOptions,
    progress: &ProgressBar,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<ReadReport> {
    read_all(inputs, options, progress, &mut |taken| match taken {
        Taken::Record { record, .. } => sink(record),
        Taken::Fault { .. } => Ok(()),
    })
}

/// [`read_records`] with a sink that also takes what is wrong with records that are left out.
pub(super) fn read_all(
    inputs: &[PathBuf],
    options: &ReadOptions,
    progress: &ProgressBar,
    sink: &mut dyn FnMut(Taken) -> Result<()>,
) -> Result<ReadReport> {
    let sources = inputs::expand(inputs, &options.leave_out)?;
    progress.set_length(sources.iter().map(|s| s.bytes).sum());
    let mut report = ReadReport::default();
    for source in &sources {
        let raw = open_file(source, progress);
        read_source(source, raw, options, &mut report, sink)?;
    }
    warn_of_mixture(&report);
    if report.records == 0 && !options.answer_faults {
        return Err(no_records(inputs, &report));
    }
    check_prefixes(&options.prefixes, &report)?;
    Ok(report)
}

/// Reads a source as a whole, and adds it to the report; one that was found and is no log is left out.
pub(super) fn read_source(
    source: &Source,
    raw: Result<Box<dyn Read>>,
    options: &ReadOptions,
    report: &mut ReadReport,
    sink: &mut dyn FnMut(Taken) -> Result<()>,
) -> Result<()> {
    let done = match raw.and_then(|raw| open(&source.name, raw, source.bytes, None, options)) {
        Ok(Some(mut opened)) => {
            opened.file = source.path.clone().filter(|path| opened.seekable && path.is_file());
            decode(opened, false, options, report, sink)?
        }
        Ok(None) => empty_source(source, options)?,
        Err(error) if source.named => return Err(error),
        Err(error) => {
            tracing::warn!("{error} (left out)");
            *report.announced.entry(("file".into(), " left out: no log".into())).or_default() += 1;
            return Ok(());
        }
    };
    report.add(done);
    Ok(())
}

/// Returns an error for a prefix field that no record has.
pub(crate) fn check_prefixes(prefixes: &[Prefix], report: &ReadReport) -> Result<()> {
    let mut missing = prefixes.iter().zip(&report.missing_prefix);
    match missing.find(|(_, missing)| **missing == report.records) {
        Some((prefix, _)) => Err(Error::usage(format!(
            "--prefix-field {}: none of the {} records has this field with a plain value (a time with a day, if the step is \
             a date); check its path (fields that --tokenizer-from brought along: these logs are not of its model's kind)",
            prefix.field(),
            report.records
        ))),
        _ => Ok(()),
    }
}

/// Warns of plain text among JSON logs: a licence or a README is probably not meant as input.
pub(crate) fn warn_of_mixture(report: &ReadReport) {
    let mut full = report.sources.iter().filter(|source| source.records > 0);
    if full.clone().any(|source| source.format.gives_json())
        && let Some(text) = full.find(|source| !source.format.gives_json())
    {
        tracing::warn!("{}: plain text among inputs of JSON records; leave it out if it is not a log", text.name);
    }
}

fn no_records(inputs: &[PathBuf], report: &ReadReport) -> Error {
    let names: Vec<_> = inputs.iter().map(|input| input.display().to_string()).collect();
    let skipped: u64 = report.sources.iter().map(|s| s.skipped).sum();
    Error::failed(format!(
        "{}: no complete record ({} empty lines, {skipped} bad records left out), so there is nothing to prepare",
        names.join(" "),
        report.empty_lines
    ))
}

/// A source whose text is in sight, and what it is.
pub(super) struct Opened {
    pub window: Window<'static>,
    pub report: SourceReport,
    delimiter: u8,
    pub start: Option<Regex>,
    /// Whether an offset in the text is one in the file.
    pub seekable: bool,
    /// What the beginning of JSON lines said, where the window is on their middle.
    pub lines: Option<json::LinesStart>,
    /// The file of which it is the plain content, if it is one that can seek.
    file: Option<PathBuf>,
}

/// Unpacks a stream of `stored` bytes and finds its format, unless it is `resumed` in a file of a known format. `None`: there is
/// nothing in it.
///
/// Errors: what is no log.
pub(super) fn open(
    name: &str,
    raw: Box<dyn Read>,
    stored: u64,
    resumed: Option<InputFormat>,
    options: &ReadOptions,
) -> Result<Option<Opened>> {
    let (compression, stream) = compression::open(name, raw)?;
    let (stream, mark, utf16) = charset::open(name, stream)?;
    let mut window = Window::new(stream, mark);
    let mut report = SourceReport {
        name: name.to_string(),
        format: options.format.unwrap_or(InputFormat::Text),
        compression,
        stored_bytes: stored,
        records: 0,
        bytes: 0,
        skipped: 0,
    };
    let failed = |e| super::collect::read_error(name, compression, 0, 1, &e);
    while window.bytes().is_empty() && window.fill().map_err(failed)? {}
    if window.bytes().is_empty() {
        return Ok(None);
    }
    let format = loop {
        let seen = Beginning::new(window.bytes(), window.ended());
        match options.format.or(resumed).or_else(|| recognise(&seen)) {
            Some(format) => break format,
            None => window.look_further(),
        }
    };
    let row = format.row();
    match &row.feature {
        Some(feature) => feature.require(name)?,
        None => refuse(name, window.bytes(), options)?,
    }
    let seen = Beginning::new(window.bytes(), window.ended());
    report.format =
        if options.text_only && row.gives_json && row.feature.is_none() { InputFormat::Text } else { format };
    if report.format == InputFormat::Text && options.format.or(resumed).is_none() {
        warn_of_lines(name, &seen);
    }
    let delimiter = sniff::delimiter(seen.text());
    let chosen = options.format.is_some();
    let start =
        if report.format == InputFormat::Text { record_start(name, &mut window, chosen, options) } else { None };
    tracing::debug!(file = %name, format = ?report.format, ?compression, "reading");
    Ok(Some(Opened {
        window,
        report,
        delimiter,
        start,
        seekable: compression == Compression::None && !utf16,
        lines: None,
        file: None,
    }))
}

/// The pattern of lines that begin a record, as the user gave it or as the beginning of a text shows it.
fn record_start(name: &str, window: &mut Window, chosen: bool, options: &ReadOptions) -> Option<Regex> {
    match &options.record_start {
        RecordStart::Pattern(start) => Some(start.clone()),
        RecordStart::Find if !chosen => {
            while window.bytes().len() < sniff::PEEK && !window.ended() {
                window.look_further();
            }
            let start = events::find(&Beginning::new(window.bytes(), window.ended()))?;
            tracing::info!(
                "{name}: records of several lines: a line that fits {start} begins one, others continue it; --record-start '' takes \
                 each line as a record"
            );
            Some(start)
        }
        RecordStart::Find | RecordStart::Lines => None,
    }
}

/// Refuses what is no text.
fn refuse(name: &str, head: &[u8], options: &ReadOptions) -> Result<()> {
    if binary::is_tar(head) {
        return Err(Error::failed(format!("{name}: this is a tar archive; unpack it (tar -xf) and name the folder")));
    }
    match binary::kind(head) {
        Some(what) if options.format.is_none() => Err(Error::failed(format!(
            "{name}: this seems to be {what}, expected logs as text; leave it out, convert it, or read it unchanged with \
             --format text"
        ))),
        _ => Ok(()),
    }
}

/// Decodes an open source to its end.
pub(super) fn decode(
    opened: Opened,
    live: bool,
    options: &ReadOptions,
    report: &mut ReadReport,
    sink: &mut dyn FnMut(Taken) -> Result<()>,
) -> Result<SourceReport> {
    let Opened { mut window, report: source, delimiter, start, lines, file, .. } = opened;
    report.record_starts.extend(start.iter().map(|start| start.as_str().to_string()));
    let row = source.format.row();
    let known = Known { live, lines, delimiter, chosen: options.format.is_some(), start, file };
    let mut collector = Collector { options, source, label: row.label, report, sink, scratch: Vec::new() };
    (row.decode)(&mut window, &known, &mut collector)?;
    Ok(collector.source)
}

/// Warns of text whose lines are probably not the intended records.
fn warn_of_lines(name: &str, seen: &Beginning) {
    if let Some((line, column, fault)) = sniff::nearly_json(seen) {
        tracing::warn!(
            "{name}:{line}:{column}: {fault}; the lines look like JSON but are not, so each is read as text; mend them, or give \
             --format jsonl to have each such line reported"
        );
    }
    match seen.text().trim_ascii_start() {
        [b'#', ..] => {
            tracing::warn!("{name}: the lines that begin with # are kept as records; remove them if they are not logs");
        }
        [b'<', b'?' | b'a'..=b'z' | b'A'..=b'Z', ..] => {
            let instead = "for one record per event, convert it to JSON lines";
            tracing::warn!("{name}: this seems to be XML, but every line is read as a record; {instead}");
        }
        _ => {}
    }
}

pub(super) fn open_file(source: &Source, progress: &ProgressBar) -> Result<Box<dyn Read>> {
    let raw: Box<dyn Read> = match &source.path {
        None => Box::new(Stdin::open()?),
        Some(path) => Box::new(File::open(path).map_err(|e| Error::io("open", path, e))?),
    };
    Ok(Box::new(progress.wrap_read(raw)))
}

/// Handles a source without any bytes: an empty file that the user named (an error), or one that was found (a warning).
fn empty_source(source: &Source, options: &ReadOptions) -> Result<SourceReport> {
    // A pipe without records is no fault where each record gets its answer.
    let quiet = source.path.is_none() && options.answer_faults;
    if source.named && !quiet {
        return Err(Error::failed(format!("{}: the file is empty; name a file with logs", source.name)));
    }
    if !quiet {
        tracing::warn!("{}: the file is empty", source.name);
    }
    let format = options.format.unwrap_or(InputFormat::Text);
    let (name, stored_bytes) = (source.name.clone(), source.bytes);
    Ok(SourceReport { name, format, compression: Compression::None, stored_bytes, records: 0, bytes: 0, skipped: 0 })
}
