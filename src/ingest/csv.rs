//! CSV and TSV with a header: each row becomes a JSON object, names in the header's order, every value a string.

use super::collect::{Collector, Place};
use super::rows::{names, object};
use super::window::Window;
use crate::Result;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// What the first line of a table of PowerShell begins with.
pub(super) const TYPE: &[u8] = b"#TYPE ";

/// Reads the header and then rows until the end. Memory: one row, bounded by the record limit.
///
/// Quoted values may hold line ends (`\n` in the JSON string). Bytes that are not UTF-8 become U+FFFD and are counted,
/// since JSON cannot hold them, or are an error where the options say so. A first line `sep=;`, lines `#TYPE` (PowerShell) and
/// repeated headers are left out. If the first row has one field more than the header (Event Viewer does not name its last
/// column), all have. A row with more or fewer fields is a bad record; if it is kept, surplus fields are named `column_N`.
/// Empty lines are not counted.
pub(super) fn read(window: &mut Window, delimiter: u8, out: &mut Collector) -> Result<()> {
    let mut rows = Rows::new(delimiter);
    let mut table: Option<Table> = None;
    let (mut record, mut begun) = (Vec::new(), false);
    loop {
        skip_line_ends(window, out)?;
        let line = window.line();
        match rows.next(window, out)? {
            Row::None => return Ok(()),
            Row::TooLong => {
                out.too_long(line, window.bytes())?;
                continue;
            }
            Row::Unclosed => {
                let place = Place { line, column: 1, end: None };
                return out.bad(place, "a quote of the row that begins here is never closed", &[]);
            }
            Row::Whole => {}
        }
        let place = Place::of_line(line, window.offset());
        if let Some(error) = rows.cells().find_map(|cell| std::str::from_utf8(cell).err())
            && out.options.require_utf8
        {
            return Err(out.not_utf8(line, error.valid_up_to(), "cell"));
        }
        if rows.cells().next().is_some_and(|cell| cell.starts_with(TYPE)) {
            out.announce("line", " #TYPE");
            continue;
        }
        let Some(table) = &mut table else {
            if std::mem::replace(&mut begun, true) || rows.cells().next() != Some(b"sep=") {
                table = Some(Table::new(&rows));
                log_columns(rows.count, out);
            }
            continue;
        };
        if table.is_header(&rows) {
            out.announce("repeated header", "");
            continue;
        }
        table.begin(&rows, out);
        let invalid = object(&table.keys, rows.cells(), &mut record);
        if record.len() > out.options.max_record_bytes {
            out.too_long(line, &record)?;
            continue;
        }
        out.report.lossy_rows += u64::from(invalid);
        if rows.count == table.keys.len() {
            out.record(&record, place)?;
        } else {
            let fault = format!("expected {} fields as in the header, found {}", table.keys.len(), rows.count);
            out.bad(place, &fault, &record)?;
        }
    }
}

/// The columns of a table.
struct Table {
    header: Vec<Vec<u8>>,
    keys: Vec<String>,
    begun: bool,
}

impl Table {
    fn new(rows: &Rows) -> Self {
        Table { header: rows.cells().map(<[u8]>::to_vec).collect(), keys: names(rows.cells()), begun: false }
    }

    fn is_header(&self, rows: &Rows) -> bool {
        rows.count == self.header.len() && rows.cells().zip(&self.header).all(|(cell, name)| cell == name)
    }

    /// The first row may have one field without a name.
    fn begin(&mut self, rows: &Rows, out: &mut Collector) {
        if !std::mem::replace(&mut self.begun, true) && rows.count == self.header.len() + 1 {
            self.keys = names(self.header.iter().map(Vec::as_slice).chain([&b""[..]]));
            let last = &self.keys[self.header.len()];
            tracing::info!(
                "{}: the header has no name for the last field of the rows; it is called {last}",
                out.source.name
            );
        }
    }
}

/// Logs a format that was detected, not chosen, so that a user notices text that is read as a table.
fn log_columns(columns: usize, out: &Collector) {
    if out.options.format.is_none() {
        // The message holds no names: if the file has no header, they are the first record.
        let (name, format) = (&out.source.name, out.label);
        tracing::info!(
            "{name}: read as {format}, its first line as the names of {columns} columns; --format text takes lines as they are"
        );
    }
}

/// Line ends before a row, so that the row's line is known.
fn skip_line_ends(window: &mut Window, out: &Collector) -> Result<()> {
    loop {
        let bytes = window.bytes();
        let n = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let all = n == bytes.len();
        window.advance(n);
        if !all || !window.fill().map_err(|e| out.read_error(window.line(), e))? {
            return Ok(());
        }
    }
}

enum Row {
    Whole,
    TooLong,
    /// The source ends inside quotes.
    Unclosed,
    None,
}

/// Cuts rows out of a window.
pub(super) struct Rows {
    core: Reader,
    quotes: Quotes,
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Rows {
    pub fn new(delimiter: u8) -> Self {
        let core = ReaderBuilder::new().delimiter(delimiter).build();
        let quotes = Quotes { delimiter, state: Quote::FieldStart };
        Rows { core, quotes, text: vec![0; 1 << 12], ends: vec![0; 64], count: 0 }
    }

    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).take(self.count).map(|(start, &end)| &self.text[start..end])
    }

    fn next(&mut self, window: &mut Window, out: &Collector) -> Result<Row> {
        let limit = out.options.max_record_bytes;
        let (mut used, mut long) = (0, false);
        self.count = 0;
        loop {
            if window.bytes().is_empty() {
                window.fill().map_err(|e| out.read_error(window.line(), e))?;
            }
            let input = window.bytes();
            let at_end = input.is_empty();
            let (result, read, wrote, fields) =
                self.core.read_record(input, &mut self.text[used..], &mut self.ends[self.count..]);
            self.quotes.push(&input[..read]);
            window.advance(read);
            (used, self.count) = (used + wrote, self.count + fields);
            if used > limit || self.count > limit {
                // The rest of the row is passed over.
                (used, self.count, long) = (0, 0, true);
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::End => return Ok(Row::None),
                ReadRecordResult::Record if long => return Ok(Row::TooLong),
                ReadRecordResult::Record if at_end && self.quotes.state == Quote::Quoted => return Ok(Row::Unclosed),
                ReadRecordResult::Record => return Ok(Row::Whole),
            }
        }
    }
}

impl Rows {
    /// The next row of a text, which is moved behind it. `None` where the text holds no whole row any more; `complete`: the text ends
    /// its last row.
    pub fn next_of(&mut self, text: &mut &[u8], complete: bool) -> Option<Vec<Vec<u8>>> {
        let mut used = 0;
        self.count = 0;
        loop {
            if text.is_empty() && !complete {
                return None;
            }
            let (result, read, wrote, fields) =
                self.core.read_record(text, &mut self.text[used..], &mut self.ends[self.count..]);
            *text = &text[read..];
            (used, self.count) = (used + wrote, self.count + fields);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::End => return None,
                ReadRecordResult::Record => return Some(self.cells().map(<[u8]>::to_vec).collect()),
            }
        }
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
struct Quotes {
    delimiter: u8,
    state: Quote,
}

impl Quotes {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (Quote::Quoted, b'"') => Quote::Closing,
                (Quote::Quoted, _) | (Quote::FieldStart | Quote::Closing, b'"') => Quote::Quoted,
                (_, b'\n' | b'\r') => Quote::FieldStart,
                (_, byte) if byte == self.delimiter => Quote::FieldStart,
                _ => Quote::Plain,
            };
        }
    }
}
