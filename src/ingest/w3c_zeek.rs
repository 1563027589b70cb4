//! Tables whose names stand in a line that begins with `#`: W3C extended logs (IIS, Exchange, proxies, CloudFront; W3C working
//! draft WD-logfile-960323) and Zeek's. Each row becomes a JSON object as in [`super::csv`].

use super::collect::Collector;
use super::csv;
use crate::Result;
use std::borrow::Cow;

/// The names of a table, and what stands between the cells of its rows.
struct TableHeader {
    keys: Vec<String>,
    /// None: white space, as far as the number of cells agrees.
    separator: Option<u8>,
}

/// Whether a file that begins so has a line of names before its first row.
pub(super) fn is_headed(head: &[u8]) -> bool {
    let comments = head.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_start);
    comments.take_while(|line| line.is_empty() || line.starts_with(b"#")).any(|line| TableHeader::read(line).is_some())
}

impl TableHeader {
    /// From `#Fields: date time ...`; Exchange has commas there, and in its rows. Zeek has `#fields` and its separator, a tab
    /// as a rule.
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
        let keys = csv::names(cells.into_iter().filter(|name| !name.is_empty()));
        (!keys.is_empty()).then_some(TableHeader { keys, separator })
    }

    /// The cells of a row. Tabs separate as many as there are names in the rows of CloudFront, spaces in those of IIS, which
    /// quotes nothing. Else a value with spaces stands in quotes, of which two within it are one.
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

/// Without the quotes around it, if there are any and none within.
fn unquoted(cell: &[u8]) -> &[u8] {
    let inside = cell.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inside.filter(|inside| !inside.contains(&b'"')).unwrap_or(cell)
}

fn between_tabs(row: &[u8]) -> Vec<&[u8]> {
    row.split(|&b| b == b'\t').collect()
}

/// Between separators outside quotes; several spaces are one.
fn quoted_cells(row: &[u8], separator: u8) -> Vec<Cow<'_, [u8]>> {
    let mut cells = Vec::new();
    let mut rest = row.trim_ascii();
    loop {
        let (cell, behind) = match rest.strip_prefix(b"\"") {
            Some(inside) => quoted(inside),
            None => {
                let end = rest.iter().position(|&b| b == separator).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        cells.push(cell);
        rest = match (separator, behind) {
            (_, []) => return cells,
            (b' ', _) => behind.trim_ascii_start(),
            _ => behind.strip_prefix(&[separator]).unwrap_or(behind),
        };
    }
}

/// A value behind its opening quote, up to the closing one or the end; what follows it.
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

/// Reads one such file, line by line.
#[derive(Default)]
pub(super) struct HeadedTable {
    header: Option<TableHeader>,
    record: Vec<u8>,
}

/// What a line is.
enum TableLine {
    /// Names, or a remark. Names may change on the way, as they do where files were put together.
    Directive,
    /// A row before any names.
    Unnamed,
    /// An object, now in `record`. `lossy`: bytes that are not UTF-8 became U+FFFD; `fault`: it has more or fewer cells than
    /// there are names.
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
        let lossy = csv::object(&header.keys, cells.iter().map(|cell| &**cell), &mut self.record);
        let (names, found) = (header.keys.len(), cells.len());
        let fault = || format!("expected {names} fields as the last line #Fields says, found {found}");
        TableLine::Object { lossy, fault: (names != found).then(fault) }
    }

    /// A line without its end, on its way to the sink.
    pub(super) fn line(&mut self, line: &[u8], number: u64, out: &mut Collector) -> Result<()> {
        if let Some(error) = std::str::from_utf8(line).err().filter(|_| out.options.require_utf8) {
            return Err(out.not_utf8(number, error.valid_up_to(), "row"));
        }
        match self.read(line) {
            TableLine::Directive => Ok(()),
            TableLine::Unnamed => {
                out.bad(number, 1, "expected a line #Fields with names before the first row, found none", line)
            }
            TableLine::Object { .. } if self.record.len() > out.options.max_record_bytes => Err(out.too_long(number)),
            TableLine::Object { lossy, fault } => {
                out.report.lossy_rows += u64::from(lossy);
                match fault {
                    None => out.record(&self.record, number),
                    Some(fault) => out.bad(number, 1, &fault, &self.record),
                }
            }
        }
    }

    /// The record of a line of a stream that may be such a file or JSON lines: its row as an object, or the line as it is.
    /// None for directives; an error says why a row is no record.
    pub fn record(&mut self, line: Vec<u8>) -> Option<std::result::Result<Vec<u8>, String>> {
        if line.starts_with(b"{") {
            return Some(Ok(line));
        }
        match self.read(&line) {
            TableLine::Directive => None,
            TableLine::Unnamed => Some(Ok(line)),
            TableLine::Object { fault: Some(fault), .. } => Some(Err(fault)),
            TableLine::Object { fault: None, .. } => Some(Ok(std::mem::take(&mut self.record))),
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
    fn a_header_is_a_line_of_names_before_the_first_row() {
        assert!(is_headed(b"#Software: IIS\r\n\r\n #Fields: date time\r\n2026-01-01 08:00\r\n"));
        assert!(is_headed(b"#separator \\x09\n#fields\tts\tuid\n#types\ttime\tstring\n"));
        for text in ["#!/bin/sh\n# Fields: a\n", "a b\n#Fields: c\n", "#Fields:\n#fields\n", "#fieldset x\n", ""] {
            assert!(!is_headed(text.as_bytes()), "{text}");
        }
    }
}
