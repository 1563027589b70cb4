//! What the beginning of a file says of its later rows, for a file that is read from its middle.

use super::csv::Rows;
use super::format::InputFormat;
use super::formats::recognise;
use super::sniff::{self, Beginning};
use super::w3c_zeek;

/// The format of a file that begins with `head`, and the lines in it that name the columns of a table.
pub(super) fn prelude(head: &[u8], chosen: Option<InputFormat>) -> Option<(InputFormat, Vec<u8>)> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let format = chosen.or_else(|| recognise(&Beginning::new(head, true)))?;
    let length = match format {
        InputFormat::Csv => header_row(head, sniff::delimiter(head)),
        InputFormat::Tsv => header_row(head, b'\t'),
        InputFormat::Spaced => first_lines(head, |line| line.trim_ascii().is_empty()),
        InputFormat::W3c => headers(head),
        _ => 0,
    };
    Some((format, head[..length].to_vec()))
}

/// The length of the rows up to the header.
fn header_row(head: &[u8], delimiter: u8) -> usize {
    let (mut rows, mut rest) = (Rows::new(delimiter), head);
    while let Some(row) = rows.next_of(&mut rest, false) {
        if row[0] != b"sep=" && !row[0].starts_with(b"#TYPE ") {
            return head.len() - rest.len();
        }
    }
    0
}

/// The length of the lines that `passed` passes over, and of one more.
fn first_lines(head: &[u8], passed: impl Fn(&[u8]) -> bool) -> usize {
    let mut length = 0;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        length += line.len();
        if !passed(line) {
            break;
        }
    }
    length
}

/// The length of the lines before the first row that begin with #.
fn headers(head: &[u8]) -> usize {
    let lines = head.split_inclusive(|&byte| byte == b'\n');
    let first = lines.take_while(|line| line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"#"));
    let first: Vec<&[u8]> = first.collect();
    if first.iter().any(|line| w3c_zeek::is_header(line)) { first.iter().map(|line| line.len()).sum() } else { 0 }
}
