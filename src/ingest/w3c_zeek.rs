//! Tables whose column names are in a line that begins with `#`: W3C extended logs (IIS, Exchange, proxies, CloudFront; W3C
//! working draft WD-logfile-960323) and Zeek logs. Each row becomes a JSON object as in [`super::csv`].
//!
//! One file reads both: they differ only in the line of names, names may change in the middle of a file, and a stream does
//! not say in advance which of the two it holds.

use super::collect::{Collector, Place};
use super::window::Window;
use super::{lines, rows};
use crate::Result;
use std::borrow::Cow;

/// The column names of a table and the separator of its cells.
struct TableHeader {
    keys: Vec<String>,
    /// `None`: white space (see [`TableHeader::cells`]).
    separator: Option<u8>,
}

/// Whether this is a line of names.
pub(super) fn is_header(line: &[u8]) -> bool {
    TableHeader::read(line).is_some()
}

impl TableHeader {
    /// Reads a line of names: `#Fields: date time ...` in W3C logs, where Exchange separates names and cells by commas, or
    /// `#fields` and a separator, usually a tab, in Zeek logs. Returns `None` for any other line.
    fn read(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let (names, separator) = match line.strip_prefix(b"#Fields:") {
            Some(names) => (names, names.contains(&b',').then_some(b',')),
            None => {
                let (separator, names) = line.strip_prefix(b"#fields")?.split_first()?;
                if separator.is_ascii_alphanumeric() {
                    return None;
                }
                (names, Some(*separator))
            }
        };
        let cells: Vec<&[u8]> = match separator {
            Some(separator) => names.split(|&b| b == separator).collect(),
            None => words(names),
        };
        let keys = rows::names(cells.into_iter().filter(|name| !name.is_empty()));
        (!keys.is_empty()).then_some(TableHeader { keys, separator })
    }

    /// The cells of a row. Without a separator in the header, tabs (CloudFront) or white space (IIS, which does not quote)
    /// separate cells if this gives as many cells as names. Otherwise values with spaces are quoted, and a doubled quote
    /// stands for one.
    fn cells<'a>(&self, row: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
        let fits = |cells: &Vec<&[u8]>| cells.len() == self.keys.len();
        let plain = |cells: Vec<&'a [u8]>| cells.into_iter().map(Cow::Borrowed).collect();
        match self.separator {
            Some(b',') => quoted_cells(row, b','),
            Some(separator) => plain(row.split(|&b| b == separator).collect()),
            None => match Some(between_tabs(row)).filter(fits).or(Some(words(row)).filter(fits)) {
                Some(cells) => plain(cells.into_iter().map(unquoted).collect()),
                None => quoted_cells(row, b' '),
            },
        }
    }
}

fn words(row: &[u8]) -> Vec<&[u8]> {
    row.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

/// The cell without the quotes around it, unless it contains further quotes.
fn unquoted(cell: &[u8]) -> &[u8] {
    let inside = cell.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inside.filter(|inside| !inside.contains(&b'"')).unwrap_or(cell)
}

fn between_tabs(row: &[u8]) -> Vec<&[u8]> {
    row.split(|&b| b == b'\t').collect()
}

/// Splits a row at the separators that are outside quotes; several spaces count as one separator.
fn quoted_cells(row: &[u8], separator: u8) -> Vec<Cow<'_, [u8]>> {
    let mut cells = Vec::new();
    let mut rest = row.trim_ascii();
    loop {
        let (cell, after) = match rest.strip_prefix(b"\"") {
            Some(inside) => quoted(inside),
            None => {
                let end = rest.iter().position(|&b| b == separator).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        cells.push(cell);
        rest = match (separator, after) {
            (_, []) => return cells,
            (b' ', _) => after.trim_ascii_start(),
            _ => after.strip_prefix(&[separator]).unwrap_or(after),
        };
    }
}

/// Reads a quoted value after its opening quote. Returns the value and what follows its closing quote.
fn quoted(mut rest: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let mut cell = Vec::new();
    loop {
        let end = rest.iter().position(|&b| b == b'"').unwrap_or(rest.len());
        cell.extend_from_slice(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        if rest.first() != Some(&b'"') {
            return (Cow::Owned(cell), rest);
        }
        cell.push(b'"');
        rest = &rest[1..];
    }
}

/// Reads a table line by line: lines of names set the header, rows become objects.
#[derive(Default)]
pub(super) struct HeadedTable {
    header: Option<TableHeader>,
    record: Vec<u8>,
}

/// Reads a table whose first line has the names, and whose cells are separated by spaces (flow logs of AWS).
pub(super) fn read_spaced(window: &mut Window, out: &mut Collector) -> Result<()> {
    let (mut table, mut header) = (HeadedTable::default(), Vec::new());
    lines::each(window, out, |line, place, out| match table.header {
        None => {
            table.header = TableHeader::read(&[b"#Fields: ", line].concat());
            header = line.to_vec();
            Ok(())
        }
        Some(_) if line == header => {
            out.announce("repeated header", "");
            Ok(())
        }
        Some(_) => table.line(line, place, out),
    })
}

/// The kinds of lines in a file with such a table.
enum TableLine {
    /// A line of names or a comment. Names may change within a file, for instance in concatenated files.
    Directive,
    /// A row before the first line of names.
    Unnamed,
    /// A row; its object is in `record`. `lossy`: bytes that are not UTF-8 became U+FFFD; `fault`: the number of cells
    /// differs from the number of names.
    Object { lossy: bool, fault: Option<String> },
}

impl HeadedTable {
    fn read(&mut self, line: &[u8]) -> TableLine {
        if line.trim_ascii_start().starts_with(b"#") {
            self.header = TableHeader::read(line).or(self.header.take());
            return TableLine::Directive;
        }
        let Some(header) = &self.header else { return TableLine::Unnamed };
        let cells = header.cells(line);
        let lossy = rows::object(&header.keys, cells.iter().map(|cell| &**cell), &mut self.record);
        let (names, found) = (header.keys.len(), cells.len());
        let fault = || format!("expected {names} fields as the line of names says, found {found}");
        TableLine::Object { lossy, fault: (names != found).then(fault) }
    }

    /// Takes a line (without its line end) of a file and passes its record to the collector.
    pub(super) fn line(&mut self, line: &[u8], place: Place, out: &mut Collector) -> Result<()> {
        if let Some(error) = std::str::from_utf8(line).err().filter(|_| out.options.require_utf8) {
            return Err(out.not_utf8(place.line, error.valid_up_to(), "row"));
        }
        match self.read(line) {
            TableLine::Directive => {
                out.announce("line", " of names and comments");
                Ok(())
            }
            TableLine::Unnamed => {
                out.bad(place, "expected a line #Fields with names before the first row, found none", line)
            }
            TableLine::Object { .. } if self.record.len() > out.options.max_record_bytes => {
                out.too_long(place.line, line)
            }
            TableLine::Object { lossy, fault } => {
                out.report.lossy_rows += u64::from(lossy);
                match fault {
                    None => out.record(&self.record, place),
                    Some(fault) => out.bad(place, &fault, &self.record),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(header: &str, row: &str) -> Vec<String> {
        let cells = TableHeader::read(header.as_bytes()).unwrap();
        cells.cells(row.as_bytes()).iter().map(|cell| String::from_utf8(cell.to_vec()).unwrap()).collect()
    }

    #[test]
    fn cells_lie_between_what_the_header_says() {
        assert_eq!(texts("#fields\ta\tb\tc", "a b\t\t\"d"), ["a b", "", "\"d"]);
        assert_eq!(texts("#fields\tmessage", "hello \"world\""), ["hello \"world\""]);
        assert_eq!(texts("#fields,a,b", "x y,z"), ["x y", "z"]);
        assert_eq!(
            texts("#Fields: date-time,to,subject", "2026,\"a, b\",\"c \"\"d\"\"\""),
            ["2026", "a, b", "c \"d\""]
        );
        assert_eq!(texts("#Fields: a,b,c", "1,,"), ["1", "", ""]);
    }

    #[test]
    fn cells_of_w3c_rows_are_as_many_as_the_names() {
        assert_eq!(texts("#Fields: d m u q", "2026-01-01  GET /x - "), ["2026-01-01", "GET", "/x", "-"]);
        assert_eq!(texts("#Fields: n agent m", "1 \"Mozilla (a \"\"b\"\")\" 2"), ["1", "Mozilla (a \"b\")", "2"]);
        assert_eq!(texts("#Fields: m u q", "GET /a \"><script>"), ["GET", "/a", "\"><script>"]);
        assert_eq!(texts("#Fields: a b", "1 2 \t\t"), ["1", "2"]);
        assert_eq!(texts("#Fields: date x-edge agent", "2026-01-01\tFRA 1\t"), ["2026-01-01", "FRA 1", ""]);
        assert_eq!(texts("#Fields: a b", "1 \"open end"), ["1", "open end"]);
        assert_eq!(texts("#Fields: a b", "1 2 3"), ["1", "2", "3"]);
        assert_eq!(texts("#Fields: n agent", "1 \"curl/8\""), ["1", "curl/8"]);
    }

    #[test]
    fn a_header_is_a_line_of_names() {
        assert!(is_header(b" #Fields: date time\r") && is_header(b"#fields\tts\tuid"));
        for text in ["#!/bin/sh", "# Fields: a", "a b", "#Fields:", "#fields", "#fieldset x", ""] {
            assert!(!is_header(text.as_bytes()), "{text}");
        }
    }
}
