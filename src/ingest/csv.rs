//! CSV and TSV with a header: each row becomes a JSON object, names in the header's order, every value a string.

use super::collect::Collector;
use crate::{Error, Result};
use csv::ByteRecord;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::rc::Rc;

/// Reads the header and then rows until the end. Memory: one row, bounded by the record limit.
///
/// Quoted values may hold line ends (`\n` in the JSON string). Bytes that are not UTF-8 become U+FFFD and are counted,
/// since JSON cannot hold them, or are an error where the options say so. A first line `sep=;` is skipped. A row with more
/// or fewer fields than the header is a bad record; if it is kept, surplus fields are named `column_N`. The CSV parser
/// skips empty lines without counting them.
pub(super) fn read(reader: impl Read, delimiter: u8, out: &mut Collector) -> Result<()> {
    let limit = out.options.max_record_bytes;
    let left = Rc::new(Cell::new(0));
    let unclosed = Rc::new(Cell::new(false));
    let quotes = Quotes { inner: reader, delimiter, state: Quote::FieldStart, unclosed: unclosed.clone() };
    let reader = Budget { inner: quotes, left: left.clone() };
    let mut rows = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(reader);
    let mut row = ByteRecord::new();
    let mut keys: Option<Vec<String>> = None;
    let mut record = Vec::new();
    loop {
        // The parser may read one buffer ahead.
        left.set(limit.saturating_add(1 << 14));
        let line = rows.position().line();
        if !rows.read_byte_record(&mut row).map_err(|e| table_error(e, line, left.get(), out))? {
            return Ok(());
        }
        let line = row.position().map_or(line, |p| p.line());
        if unclosed.get() {
            return Err(out.broken(line, 1, "a quote of the row that begins here is never closed"));
        }
        if let Some(error) = row.iter().find_map(|cell| std::str::from_utf8(cell).err())
            && out.options.require_utf8
        {
            return Err(out.not_utf8(line, error.valid_up_to(), "cell"));
        }
        let Some(keys) = &keys else {
            if !row.get(0).is_some_and(|cell| line == 1 && cell == b"sep=") {
                keys = Some(names(&row));
                log_columns(keys.as_deref().unwrap_or_default(), out);
            }
            continue;
        };
        let invalid = object(keys, &row, &mut record);
        if record.len() > limit {
            return Err(out.too_long(line));
        }
        out.report.lossy_rows += u64::from(invalid);
        if row.len() == keys.len() {
            out.record(&record, line)?;
        } else {
            let fault = format!("expected {} fields as in the header, found {}", keys.len(), row.len());
            out.bad(line, 1, &fault, &record)?;
        }
    }
}

/// Logs a format that was detected, not chosen, so that a user notices text that is read as a table.
fn log_columns(keys: &[String], out: &Collector) {
    if out.options.format.is_none() {
        // The message holds no names: if the file has no header, they are the first record.
        let (name, format, columns) = (&out.source.name, out.source.format.label(), keys.len());
        tracing::info!(
            "{name}: read as {format}, its first line as the names of {columns} columns; --format text takes lines as they are"
        );
    }
}

fn table_error(error: csv::Error, line: u64, left: usize, out: &Collector) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(_) if left == 0 => out.too_long(line),
        csv::ErrorKind::Io(error) => out.read_error(line, error),
        other => out.broken(line, 1, &format!("expected a row of the table, found {other:?}")),
    }
}

/// The keys of the objects, all distinct: an empty name becomes `column_N` (from 1), a repeated one gets `_2`, `_3` ...
pub(super) fn names<'a>(header: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut used = HashSet::new();
    // The last suffix of each name, so that a name that repeats many times is not counted from 2 each time.
    let mut copies: HashMap<String, usize> = HashMap::new();
    let unique = |(i, cell): (usize, &[u8])| {
        let name = String::from_utf8_lossy(cell.trim_ascii()).into_owned();
        let name = if name.is_empty() { format!("column_{}", i + 1) } else { name };
        let mut candidate = name.clone();
        while !used.insert(candidate.clone()) {
            let copy = copies.entry(name.clone()).or_insert(1);
            *copy += 1;
            candidate = format!("{name}_{copy}");
        }
        candidate
    };
    header.into_iter().enumerate().map(unique).collect()
}

/// Writes the row as a JSON object into `record`. Returns whether a value was not UTF-8.
pub(super) fn object<'a>(keys: &[String], row: impl IntoIterator<Item = &'a [u8]>, record: &mut Vec<u8>) -> bool {
    let mut invalid = false;
    record.clear();
    record.push(b'{');
    for (i, cell) in row.into_iter().enumerate() {
        if i > 0 {
            record.push(b',');
        }
        match keys.get(i) {
            Some(key) => json_string(key, record),
            None => json_string(&format!("column_{}", i + 1), record),
        }
        record.push(b':');
        let text = String::from_utf8_lossy(cell);
        invalid |= matches!(text, std::borrow::Cow::Owned(_));
        json_string(&text, record);
    }
    record.push(b'}');
    invalid
}

fn json_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string and a vector cannot fail");
}

/// Stops a reader after a number of bytes, so that a quote that is never closed does not read the whole file into memory.
struct Budget<R> {
    inner: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left.get());
        if length == 0 {
            return Err(io::Error::other("the row is too long"));
        }
        let read = self.inner.read(&mut buffer[..length])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Quote {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote inside a quoted field: this is its end, or the first half of a doubled quote.
    Closing,
}

/// Tracks the quotes of a table as the parser does, because the parser takes the end of the file for a closing quote.
struct Quotes<R> {
    inner: R,
    delimiter: u8,
    state: Quote,
    /// Set at the end of the stream if a quote is still open.
    unclosed: Rc<Cell<bool>>,
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        for &byte in &buffer[..read] {
            self.state = match (self.state, byte) {
                (Quote::Quoted, b'"') => Quote::Closing,
                (Quote::Quoted, _) | (Quote::FieldStart | Quote::Closing, b'"') => Quote::Quoted,
                (_, b'\n' | b'\r') => Quote::FieldStart,
                (_, byte) if byte == self.delimiter => Quote::FieldStart,
                _ => Quote::Plain,
            };
        }
        self.unclosed.set(read == 0 && self.state == Quote::Quoted);
        Ok(read)
    }
}
