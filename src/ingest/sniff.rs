//! Recognises the format of a source by its (decompressed) beginning. Each function is the test of one row of `FORMATS`.
//!
//! A stream is not asked for more than it takes to decide, because who writes to it may wait for an answer; and what decides is
//! the text alone, not in how many pieces it came.

use super::csv::{Rows, TYPE};
use super::json::wraps_records;
use super::syslog;
use super::w3c_zeek;
use crate::record::json::{DEEPEST, Scanner, Step};
use crate::record::object_fault;

/// The number of bytes of a source that are examined at most.
pub(super) const PEEK: usize = 1 << 16;

/// The most rows that are compared with a header, and the fewest that make a table.
const ROWS: usize = 20;
const MIN_ROWS: usize = 3;

/// Whether the source has a format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    Yes,
    No,
    /// More must be seen to know.
    More,
}

use Answer::{More, No, Yes};

impl Answer {
    fn of(is: bool) -> Self {
        if is { Yes } else { No }
    }
}

/// What has been seen of a source.
#[derive(Clone, Copy)]
pub(super) struct Beginning<'a> {
    text: &'a [u8],
    /// Whether the text is the whole source.
    complete: bool,
    /// Whether it is as much as is examined.
    full: bool,
}

impl<'a> Beginning<'a> {
    /// The beginning of a source of which `bytes` were read, all of them if it has `ended`. NULs in front are a hole that
    /// copytruncate has left.
    pub fn new(bytes: &'a [u8], ended: bool) -> Self {
        let seen = &bytes[..bytes.len().min(PEEK)];
        let text = &seen[seen.iter().take_while(|&&byte| byte == 0).count()..];
        Beginning { text, complete: ended && bytes.len() <= PEEK, full: bytes.len() >= PEEK }
    }

    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Whether nothing more will be seen.
    pub fn is_last(&self) -> bool {
        self.complete || self.full
    }

    fn trimmed(&self) -> &'a [u8] {
        self.text.trim_ascii_start()
    }

    /// The lines that are not empty, as far as they are whole.
    pub fn whole_lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let complete = self.complete;
        self.lines().filter(move |(_, whole)| *whole || complete).map(|(line, _)| line)
    }

    fn more_or(&self, answer: Answer) -> Answer {
        if self.is_last() { answer } else { More }
    }

    /// The first lines that are not empty, and whether a line end follows each.
    fn lines(&self) -> impl Iterator<Item = (&'a [u8], bool)> + Clone + use<'a> {
        let whole = |line: &'a [u8]| (line.trim_ascii_end(), line.ends_with(b"\n"));
        self.text.split_inclusive(|&b| b == b'\n').map(whole).filter(|(line, _)| !line.is_empty())
    }
}

/// Brackets alone prove nothing: many text logs begin with them. The first value must parse, or be cut off by the end of what is
/// seen; of JSON lines with a bad first line another line must.
pub(super) fn json_lines(seen: &Beginning) -> Answer {
    let text = seen.trimmed();
    if text.first() != Some(&b'{') {
        return No;
    }
    let mut scanner = Scanner::new();
    match scanner.push(text) {
        Step::End(end) => Answer::of(!text[..end].contains(&b'\n')),
        // Only JSON is nested so deep, though too deep for a record.
        Step::Broken(..) if scanner.depth() == DEEPEST => Yes,
        Step::More | Step::Array(_) => seen.more_or(Answer::of(!text.contains(&b'\n'))),
        Step::Broken(..) => {
            let others = seen.lines().skip(1).filter(|(_, whole)| *whole || seen.is_last()).take(ROWS);
            let good = others.clone().any(|(line, _)| line.starts_with(b"{") && object_fault(line).is_none());
            if good {
                Yes
            } else if others.count() == ROWS {
                No
            } else {
                seen.more_or(No)
            }
        }
    }
}

fn ends_line(text: &[u8]) -> bool {
    text.iter().find(|byte| !b" \t\r".contains(byte)) == Some(&b'\n')
}

/// Objects over several lines, or an array of objects.
pub(super) fn json(seen: &Beginning) -> Answer {
    let text = seen.trimmed();
    let begins = |value: &[u8]| {
        let (mut scanner, mut at) = (Scanner::watching(), 0);
        loop {
            match scanner.push(&value[at..]) {
                Step::End(_) => return Yes,
                Step::Broken(..) => return Answer::of(scanner.depth() == DEEPEST),
                Step::More => return seen.more_or(Yes),
                // Whatever is broken in it: no text holds records so.
                Step::Array(length) => at += length,
            }
            if wraps_records(value, &scanner) && value[at..].trim_ascii_start().starts_with(b"{") {
                return Yes;
            }
        }
    };
    // Text does not begin so, even if the first object is broken.
    let names = |inside: &[u8]| inside.trim_ascii_start().starts_with(b"\"");
    match text.first() {
        Some(b'{') if ends_line(&text[1..]) && names(&text[1..]) => Yes,
        Some(b'{') => begins(text),
        Some(b'[') => {
            let inside = text[1..].trim_ascii_start();
            match inside.first() {
                Some(b'{') if names(&inside[1..]) => Yes,
                Some(b'{') => begins(inside),
                // An empty array, which text may begin with as well.
                Some(b']') => match inside[1..].trim_ascii_start().first() {
                    None => seen.more_or(Yes),
                    next => Answer::of(matches!(next, Some(b'[' | b'{'))),
                },
                Some(_) => No,
                None => seen.more_or(Yes),
            }
        }
        _ => No,
    }
}

/// A line of names before the first row of a W3C or Zeek log.
pub(super) fn headed(seen: &Beginning) -> Answer {
    for (line, whole) in seen.lines() {
        if !line.trim_ascii_start().starts_with(b"#") {
            return No;
        }
        if (whole || seen.is_last()) && w3c_zeek::is_header(line) {
            return Yes;
        }
    }
    if seen.trimmed().starts_with(b"#") { seen.more_or(No) } else { No }
}

/// A message behind its length.
pub(super) fn counted(seen: &Beginning) -> Answer {
    let text = seen.trimmed();
    let undecided = text.len() < 16 && text.iter().all(|byte| byte.is_ascii_digit() || b" <".contains(byte));
    if undecided && !text.is_empty() { seen.more_or(No) } else { Answer::of(syslog::frame(text).is_some()) }
}

/// The marks of binary formats.
pub(super) fn begins(seen: &Beginning, mark: &[u8]) -> Answer {
    match mark.starts_with(seen.text) {
        true if seen.text.len() < mark.len() => seen.more_or(No),
        _ => Answer::of(seen.text.starts_with(mark)),
    }
}

/// A first line that fits.
pub(super) fn first_line(seen: &Beginning, fits: fn(&[u8]) -> bool) -> Answer {
    match seen.lines().next() {
        Some((line, whole)) if whole || seen.is_last() => Answer::of(fits(line)),
        _ => seen.more_or(No),
    }
}

/// The separator of a CSV file: the one that a first line `sep=;` names, else `;` if the first line has more `;` than `,`.
pub(super) fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|&b| b == b'\n').find(|line| !line.starts_with(TYPE)).unwrap_or_default();
    match line.trim_ascii_end() {
        [b's', b'e', b'p', b'=', mark] if !mark.is_ascii_alphanumeric() => *mark,
        line => {
            let count = |mark| line.iter().filter(|&&b| b == mark).count();
            if count(b';') > count(b',') { b';' } else { b',' }
        }
    }
}

/// A header of distinct names and at least three rows with as many fields, or all with one more, that look unlike it.
///
/// Text with commas fails one of these conditions: its first line has spaces after commas, times, numbers or symbols; its
/// lines differ in their number of commas; many lines repeat words of the first line in the same column; or all columns
/// hold only words that could be names (a table has times, numbers or sentences in at least one column).
pub(super) fn table(seen: &Beginning, delimiter: u8) -> Answer {
    let mut reader = Rows::new(delimiter);
    let mut rest = seen.text;
    let mut rows: Vec<Vec<Vec<u8>>> = Vec::new();
    let marked = rest.trim_ascii_start().starts_with(TYPE);
    while rows.len() <= ROWS
        && let Some(row) = reader.next_of(&mut rest, seen.complete)
    {
        let is_mark = row[0].starts_with(TYPE) || rows.is_empty() && row[0] == b"sep=";
        if !is_mark {
            rows.push(row);
        }
    }
    let Some((header, rows)) = rows.split_first() else { return seen.more_or(No) };
    let unique = header.iter().collect::<std::collections::BTreeSet<_>>().len() == header.len();
    if header.len() < 2 || !unique || !header.iter().all(|name| is_name(name)) {
        return No;
    }
    if marked && !rows.is_empty() { Yes } else { fitting(seen, header, rows) }
}

/// Names and rows between single spaces.
pub(super) fn spaced(seen: &Beginning) -> Answer {
    let whole = seen.lines().filter(|(_, whole)| *whole || seen.complete).take(ROWS + 1);
    let lines: Vec<Vec<Vec<u8>>> =
        whole.map(|(line, _)| line.split(|&b| b == b' ').map(<[u8]>::to_vec).collect()).collect();
    let Some((header, rows)) = lines.split_first() else { return seen.more_or(No) };
    let is_word = |name: &Vec<u8>| {
        is_name(name)
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
            && name[0].is_ascii_lowercase()
    };
    let unique = header.iter().collect::<std::collections::BTreeSet<_>>().len() == header.len();
    if header.len() < 4 || !unique || !header.iter().all(is_word) {
        return No;
    }
    fitting(seen, header, rows)
}

/// Whether the rows fit the header, as far as they are seen.
fn fitting(seen: &Beginning, header: &[Vec<u8>], rows: &[Vec<Vec<u8>>]) -> Answer {
    // A repeated header is no row.
    let rows: Vec<&Vec<Vec<u8>>> = rows.iter().filter(|row| row.as_slice() != header).collect();
    let Some(columns) = rows.first().map(|row| row.len()) else { return seen.more_or(No) };
    if ![header.len(), header.len() + 1].contains(&columns) || rows.iter().any(|row| row.len() != columns) {
        return No;
    }
    if rows.len() < ROWS && !seen.is_last() {
        return More;
    }
    let repeats = |row: &&&Vec<Vec<u8>>| header.iter().zip(row.iter()).any(|(name, cell)| name == cell);
    let unlike = |column: usize| rows.iter().all(|row| !row[column].is_empty() && !is_name(&row[column]));
    Answer::of(
        rows.len() >= MIN_ROWS && 4 * rows.iter().filter(repeats).count() <= rows.len() && (0..columns).any(unlike),
    )
}

/// Whether the cell looks like the name of a column: it is short, begins with a letter, and holds only characters that are
/// usual in names.
fn is_name(cell: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(cell) else { return false };
    let Some(first) = text.chars().next() else { return false };
    let inner = |c: char| c.is_alphanumeric() || "_-. /()[]#@:%$?&".contains(c);
    text.len() <= 64
        && (first.is_alphabetic() || "_@#$".contains(first))
        && text.chars().all(inner)
        && text.split(' ').count() <= 5
        && !text.contains(": ")
}

/// The first line that is not JSON, its column and the reason, where a source that is read as text is nearly JSON lines.
pub(super) fn nearly_json(seen: &Beginning) -> Option<(usize, u64, String)> {
    let lines =
        || seen.lines().filter(|(_, whole)| *whole || seen.complete).take(ROWS).map(|(line, _)| line.trim_ascii());
    let alike = lines().filter(|line| line.starts_with(b"{") && line.ends_with(b"}") && line.contains(&b'"')).count();
    let (number, (column, fault)) = lines().enumerate().find_map(|(i, line)| Some((i + 1, object_fault(line)?)))?;
    (alike > 0 && 10 * alike >= 8 * lines().count()).then_some((number, column, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters() {
        assert_eq!(delimiter(b"sep=;\na;b\n"), b';');
        assert_eq!(delimiter(b"a;b,c;d\n"), b';');
        assert_eq!(delimiter(b"a,b;c\n"), b',');
        assert_eq!(delimiter(b"#TYPE System.Object\na;b\n"), b';');
        assert_eq!(delimiter(b""), b',');
    }
}
