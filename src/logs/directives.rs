//! Tables whose names stand in a line that begins with `#`: W3C extended logs (IIS, proxies, CloudFront; W3C working draft
//! WD-logfile-960323) and Zeek's. Each row becomes a JSON object as in [`super::table`].

use super::collect::Collector;
use super::table;
use crate::Result;

/// Whether a file that begins so has a line of names before its first row.
pub(super) fn is_headed(head: &[u8]) -> bool {
    head.split(|&b| b == b'\n').take_while(|line| line.starts_with(b"#")).any(|line| names(line).is_some())
}

/// The names of `#Fields: date time ...`, or of `#fields`, tab and names between tabs.
fn names(line: &[u8]) -> Option<Vec<String>> {
    let cells: Vec<&[u8]> = match line.strip_prefix(b"#fields\t") {
        Some(names) => names.split(|&b| b == b'\t').collect(),
        None => {
            line.strip_prefix(b"#Fields:")?.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty()).collect()
        }
    };
    (!cells.is_empty()).then(|| table::names(cells))
}

/// Reads one such file, line by line.
#[derive(Default)]
pub(super) struct Directives {
    keys: Vec<String>,
    record: Vec<u8>,
}

impl Directives {
    /// A line without its end. Names may change on the way, as they do where files were put together.
    pub fn line(&mut self, line: &[u8], number: u64, out: &mut Collector) -> Result<()> {
        if line.starts_with(b"#") {
            if let Some(keys) = names(line) {
                self.keys = keys;
            }
            return Ok(());
        }
        let cells = cells(line);
        if let Some(error) = std::str::from_utf8(line).err().filter(|_| out.options.require_utf8) {
            return Err(out.not_utf8(number, error.valid_up_to(), "row"));
        }
        out.report.lossy_rows +=
            u64::from(table::object(&self.keys, cells.iter().map(Vec::as_slice), &mut self.record));
        if cells.len() == self.keys.len() {
            return out.record(&self.record, number);
        }
        let fault = format!("expected {} fields as the last line #Fields says, found {}", self.keys.len(), cells.len());
        out.bad(number, 1, &fault, &self.record)
    }
}

/// Between tabs where there are tabs; else between spaces, where quotes hold a value with spaces together and two of them
/// within it stand for one.
fn cells(line: &[u8]) -> Vec<Vec<u8>> {
    if line.contains(&b'\t') {
        return line.split(|&b| b == b'\t').map(<[u8]>::to_vec).collect();
    }
    let mut cells = Vec::new();
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let (cell, behind) = match rest.strip_prefix(b"\"") {
            Some(inside) => quoted(inside),
            None => {
                let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        cells.push(cell);
        rest = behind.trim_ascii_start();
    }
    cells
}

/// A value behind its opening quote, up to the closing one or the end; what follows it.
fn quoted(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut cell = Vec::new();
    loop {
        let end = rest.iter().position(|&b| b == b'"').unwrap_or(rest.len());
        cell.extend_from_slice(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        if rest.first() != Some(&b'"') {
            return (cell, rest);
        }
        cell.push(b'"');
        rest = &rest[1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        cells(line.as_bytes()).into_iter().map(|cell| String::from_utf8(cell).unwrap()).collect()
    }

    #[test]
    fn cells_lie_between_tabs_or_spaces_outside_quotes() {
        assert_eq!(texts("a\tb c\t\t\"d"), ["a", "b c", "", "\"d"]);
        assert_eq!(texts("2026-01-01  GET /x - "), ["2026-01-01", "GET", "/x", "-"]);
        assert_eq!(texts("1 \"Mozilla (a \"\"b\"\")\" 2"), ["1", "Mozilla (a \"b\")", "2"]);
        assert_eq!(texts("1 \"open"), ["1", "open"]);
        assert_eq!(texts("\"\" x"), ["", "x"]);
    }

    #[test]
    fn a_header_is_a_line_of_names_before_the_first_row() {
        assert!(is_headed(b"#Software: IIS\r\n#Fields: date time\r\n2026-01-01 08:00\r\n"));
        assert!(is_headed(b"#separator \\x09\n#fields\tts\tuid\n#types\ttime\tstring\n"));
        assert!(!is_headed(b"#!/bin/sh\n# Fields: a\n"));
        assert!(!is_headed(b"a b\n#Fields: c\n"));
        assert!(!is_headed(b"#Fields:\n#fields\n"));
        assert!(!is_headed(b""));
    }
}
