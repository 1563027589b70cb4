//! `read_records`: takes every input from its bytes to the sink.

use super::collect::{Collector, ReadOptions, ReadReport, SourceReport, read_error};
use super::compression::{self, Compression, Head};
use super::format::InputFormat;
use super::inputs::{self, Source};
use super::sniff::{self, PEEK};
use super::w3c_zeek::HeadedTable;
use super::{binary, csv, json, lines};
use crate::record::Prefix;
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

/// The most bytes that are read in advance to find the end of the first object, whatever the limit of a record.
const FIRST_OBJECT: usize = 64 << 20;

/// Reads every record of `inputs` (files, folders, globs, `-`) in order and passes it to `sink` without its newline.
///
/// | format | a record is |
/// |---|---|
/// | text | a line, byte for byte |
/// | JSON lines | a line that holds one object, byte for byte |
/// | JSON | an object: an element of an array, of the array in a wrapper such as `{"Records":[...]}` or `{"hits":{"hits":[...]}}` (if the file holds nothing else; the wrapper's other members are left out with a warning), or one of several pretty-printed objects; white space outside strings is removed |
/// | CSV, TSV | a row, as a JSON object with the header's names in order and every value a string; a repeated name gets `_2`, an empty one becomes `column_3` |
/// | W3C, Zeek | a row below a line `#Fields: ...` or `#fields`, as an object in the same way; other lines that begin with `#` are left out |
///
/// Lines may end in `\r\n`; empty ones are skipped and counted; a byte order mark is removed; the last line needs no
/// newline. With [`ReadOptions::prefixes`] each record becomes `VALUE... RECORD`, as in `jtaylor {"time": ...}`.
/// Memory is bounded by a few times `max_record_bytes`. `progress` counts stored bytes.
///
/// Errors name the file and place: nothing to read, a damaged stream, a record that is too long or (as the options say)
/// bad, no record in all inputs, no record with the prefix field. Errors of `sink` are returned unchanged.
pub fn read_records(
    inputs: &[PathBuf],
    options: &ReadOptions,
    progress: &ProgressBar,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<ReadReport> {
    let sources = inputs::expand(inputs, &options.leave_out)?;
    progress.set_length(sources.iter().map(|s| s.bytes).sum());
    let mut report = ReadReport::default();
    for source in &sources {
        let done = read_source(source, options, progress, &mut report, sink)?;
        report.records += done.records;
        report.bytes += done.bytes;
        report.sources.push(done);
    }
    warn_of_mixture(&report);
    if report.records == 0 {
        return Err(no_records(inputs, &report));
    }
    check_prefixes(&options.prefixes, &report)?;
    Ok(report)
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
fn warn_of_mixture(report: &ReadReport) {
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

fn read_source(
    source: &Source,
    options: &ReadOptions,
    progress: &ProgressBar,
    report: &mut ReadReport,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<SourceReport> {
    let name = &source.name;
    let (compression, mut stream) = compression::open(name, open(source, progress)?)?;
    let mut head = Head::read(&mut *stream, PEEK);
    if head.bytes.is_empty() {
        return empty_source(source, compression, head, stream, options);
    }
    strip_mark(name, &mut head)?;
    if options.format.is_none()
        && let Some(what) = binary::kind(&head.bytes)
    {
        return Err(Error::failed(format!(
            "{name}: this seems to be {what}, expected logs as text; leave it out, convert it, or read it unchanged with \
             --format text"
        )));
    }
    if matches!(options.format, None | Some(InputFormat::Json)) {
        see_first_object(&mut head, &mut *stream, options.max_record_bytes);
    }
    let format = options.format.unwrap_or_else(|| sniff::format(&head.bytes, head.complete));
    let wrapper = sniff::is_wrapper(&head.bytes);
    let delimiter = sniff::delimiter(&head.bytes);
    if format == InputFormat::Text {
        warn_of_lines(name, &head.bytes);
    }
    tracing::debug!(file = %name, ?format, ?compression, "reading");
    let reader = BufReader::with_capacity(1 << 18, head.before(stream));
    let mut collector =
        Collector { options, source: source_report(source, format, compression), report, sink, scratch: Vec::new() };
    match format {
        InputFormat::Text => lines::read(reader, &mut collector, |line, number, out| out.record(line, number))?,
        InputFormat::Jsonl => lines::read(reader, &mut collector, lines::json_line)?,
        InputFormat::W3c => {
            let mut table = HeadedTable::default();
            lines::read(reader, &mut collector, |line, number, out| table.line(line, number, out))?;
        }
        InputFormat::Json => json::read(reader, wrapper, &mut collector)?,
        InputFormat::Csv => csv::read(reader, delimiter, &mut collector)?,
        InputFormat::Tsv => csv::read(reader, b'\t', &mut collector)?,
    }
    Ok(collector.source)
}

/// Warns of text whose lines are probably not the intended records.
fn warn_of_lines(name: &str, head: &[u8]) {
    match head.trim_ascii_start() {
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

/// Extends `head` past the end of the first object, for [`sniff::is_wrapper`], but at most to the length limit of a record
/// (a longer object is no record anyway) or to [`FIRST_OBJECT`].
fn see_first_object(head: &mut Head, stream: &mut dyn Read, limit: usize) {
    while head.bytes.trim_ascii_start().starts_with(b"{")
        && !head.stopped()
        && head.bytes.len() <= limit.min(FIRST_OBJECT)
        && !sniff::sees_past_first(&head.bytes)
    {
        head.extend(stream, head.bytes.len());
    }
}

fn open(source: &Source, progress: &ProgressBar) -> Result<Box<dyn Read>> {
    let raw: Box<dyn Read> = match &source.path {
        None => Box::new(io::stdin()),
        Some(path) => Box::new(File::open(path).map_err(|e| Error::io("open", path, e))?),
    };
    Ok(Box::new(progress.wrap_read(raw)))
}

fn source_report(source: &Source, format: InputFormat, compression: Compression) -> SourceReport {
    let (name, stored_bytes) = (source.name.clone(), source.bytes);
    SourceReport { name, format, compression, stored_bytes, records: 0, bytes: 0, skipped: 0 }
}

/// Handles a source without any bytes: a read error, an empty file that the user named (an error), or an empty file that
/// was found (a warning).
fn empty_source(
    source: &Source,
    compression: Compression,
    head: Head,
    stream: Box<dyn Read>,
    options: &ReadOptions,
) -> Result<SourceReport> {
    if let Err(error) = head.before(stream).read(&mut [0]) {
        return Err(read_error(&source.name, compression, 0, 1, &error));
    }
    if source.named {
        return Err(Error::failed(format!("{}: the file is empty; name a file with logs", source.name)));
    }
    tracing::warn!("{}: the file is empty", source.name);
    Ok(source_report(source, options.format.unwrap_or(InputFormat::Text), compression))
}

/// Removes a UTF-8 byte order mark; refuses UTF-16 and UTF-32, and archives inside a compressed stream.
fn strip_mark(name: &str, head: &mut Head) -> Result<()> {
    if head.bytes.starts_with(b"\xff\xfe") || head.bytes.starts_with(b"\xfe\xff") {
        return Err(Error::failed(format!(
            "{name}: the file is UTF-16 (it begins with its byte order mark), expected UTF-8; convert it: iconv -f \
             UTF-16 -t UTF-8 {name} > utf8.log"
        )));
    }
    if head.bytes.get(257..262) == Some(b"ustar") {
        return Err(Error::failed(format!("{name}: this is a tar archive; unpack it (tar -xf) and name the folder")));
    }
    if head.bytes.starts_with(b"\xef\xbb\xbf") {
        head.bytes.drain(..3);
    }
    Ok(())
}
