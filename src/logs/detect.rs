//! The format of a file, found by looking at its (decompressed) beginning.

use super::json::wraps;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// How much of a file is looked at, in bytes.
pub(super) const PEEK: usize = 1 << 16;

/// Rows of a table that are compared with its header.
const ROWS: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line
    Jsonl,
    /// An array of objects, {"Records":[...]} and its like, or pretty-printed objects
    Json,
    /// One record a line, whatever it holds
    Text,
    /// Comma-separated values with a header
    Csv,
    /// Tab-separated values with a header
    Tsv,
}

impl Format {
    /// As a message calls it.
    pub fn label(self) -> &'static str {
        match self {
            Format::Jsonl => "JSON lines",
            Format::Json => "JSON",
            Format::Text => "text lines",
            Format::Csv => "CSV",
            Format::Tsv => "TSV",
        }
    }
}

/// The format that `head` begins; `complete`: nothing follows it.
///
/// Brackets alone prove nothing: Apache errors and many other text logs begin with `[`. JSON is believed when the first
/// value parses, or runs past the end of what is seen; a table when the header looks like names and the rows fit it.
pub(super) fn format(head: &[u8], complete: bool) -> Format {
    let text = head.trim_ascii_start();
    match text.first() {
        Some(b'{') => object(text, complete),
        Some(b'[') if is_array_of_objects(text) => Format::Json,
        _ if is_table(head, b'\t', complete) => Format::Tsv,
        _ if is_table(head, b',', complete) => Format::Csv,
        _ => Format::Text,
    }
}

/// What a file that begins with `{` is.
fn object(text: &[u8], complete: bool) -> Format {
    if is_wrapper(text) {
        return Format::Json;
    }
    let mut lines = text.split(|&b| b == b'\n').peekable();
    let first = lines.next().unwrap_or_default();
    let first_is_whole = complete || lines.peek().is_some();
    let parses = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line).is_ok();
    if !first_is_whole || parses(first) {
        return Format::Jsonl;
    }
    // Not an object on the first line: pretty-printed, or a bad first line among good ones, or text after all.
    if first_value_holds(text) {
        return Format::Json;
    }
    let good = lines.take(ROWS).filter(|line| line.starts_with(b"{") && parses(line)).count();
    if good > 0 { Format::Jsonl } else { Format::Text }
}

/// The first value is whole and sound, or sound as far as it is seen.
fn first_value_holds(text: &[u8]) -> bool {
    match serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>().next() {
        Some(Ok(_)) => true,
        Some(Err(error)) => error.is_eof(),
        None => false,
    }
}

fn is_array_of_objects(text: &[u8]) -> bool {
    let inside = text[1..].trim_ascii_start();
    match inside.first() {
        Some(b'{') => first_value_holds(inside),
        // An empty array, or one of which nothing more is seen.
        Some(b']') => matches!(inside[1..].trim_ascii_start().first(), None | Some(b'[' | b'{')),
        Some(_) => false,
        None => true,
    }
}

/// Begins with a wrapper key and an array of objects: `{"Records":[{`; OData's `@` keys may stand before it.
fn is_wrapper(text: &[u8]) -> bool {
    let mut rest = text[1..].trim_ascii_start();
    while rest.first() == Some(&b'"') {
        let Some(close) = rest[1..].iter().position(|&b| b == b'"') else { return false };
        let (key, after) = rest.split_at(close + 2);
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { return false };
        let value = value.trim_ascii_start();
        if wraps(key) {
            let Some(inside) = value.strip_prefix(b"[") else { return false };
            return matches!(inside.trim_ascii_start().first(), Some(b'{' | b']'));
        }
        if !key.starts_with(b"\"@") {
            return false;
        }
        let mut values = serde_json::Deserializer::from_slice(value).into_iter::<IgnoredAny>();
        if !matches!(values.next(), Some(Ok(_))) {
            return false;
        }
        let Some(next) = value[values.byte_offset()..].trim_ascii_start().strip_prefix(b",") else { return false };
        rest = next.trim_ascii_start();
    }
    false
}

/// A header of names, and rows of as many fields that do not repeat it.
///
/// Text with commas fails one of these: its first line has spaces after commas, times, numbers or symbols; its lines
/// differ in number of commas; or a word of the first line stands in the same place further down.
fn is_table(head: &[u8], delimiter: u8, complete: bool) -> bool {
    let seen = if complete { head } else { &head[..head.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)] };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(seen);
    let mut rows = reader.byte_records().map_while(Result::ok);
    let Some(header) = rows.next() else { return false };
    if header.len() < 2 || !header.iter().all(is_name) {
        return false;
    }
    let rows: Vec<_> = rows.take(ROWS).collect();
    let fits = |row: &csv::ByteRecord| {
        row.len() == header.len() && header.iter().zip(row).all(|(name, cell)| name.is_empty() || name != cell)
    };
    // The last row seen may be cut inside quotes.
    let (cut, whole) = if complete { (None, &rows[..]) } else { (rows.last(), &rows[..rows.len().saturating_sub(1)]) };
    !rows.is_empty() && whole.iter().all(fits) && (cut.is_some() || complete)
}

/// Looks like the name of a column: short, begins with a letter, holds no other marks than names do. It may be empty.
fn is_name(cell: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(cell) else { return false };
    let Some(first) = text.chars().next() else { return true };
    let inner = |c: char| c.is_alphanumeric() || "_-. /()#@:%$".contains(c);
    text.len() <= 64
        && (first.is_alphabetic() || "_@#$".contains(first))
        && text.chars().all(inner)
        && text.split(' ').count() <= 4
        && !text.contains(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Format) {
        assert_eq!(format(text.as_bytes(), true), want, "{text}");
    }

    #[test]
    fn json_lines() {
        check("{\"a\":1}\n{\"a\":2}\n", Format::Jsonl);
        check("{\"a\":1}", Format::Jsonl);
        check("\n\n  {\"events\":[1,2]}\n{\"events\":[3]}\n", Format::Jsonl);
        check("{\"a\":1\n{\"a\":2}\n{\"a\":3}\n", Format::Jsonl);
        check("{\"a\":1}\nplain text\n", Format::Jsonl);
        assert_eq!(format(b"{\"long\":\"aaaa", false), Format::Jsonl, "the first line is longer than what is seen");
    }

    #[test]
    fn json_documents() {
        check("[{\"a\":1},\n{\"a\":2}]", Format::Json);
        check("[\n  {\n    \"a\": 1\n  }\n]\n", Format::Json);
        check("{\"Records\":[{\"a\":1}]}", Format::Json);
        check("{\"@odata.context\": \"x\", \"value\": [ {\"a\":1}]}", Format::Json);
        check("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", Format::Json);
        check("[{\"a\":1},{\"b", Format::Json);
        check("[]", Format::Json);
    }

    #[test]
    fn text_that_looks_like_something_else() {
        check("[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok\n", Format::Text);
        check("[2024-01-01 00:00:00] {\"a\":1}\n", Format::Text);
        check("[1, 2] starting\n[1, 3] starting\n", Format::Text);
        check("{main} started\n{main} stopped\n", Format::Text);
        check("[] done\n", Format::Text);
        check("Jan  1 00:00:00 host sshd[1]: Accepted for a, b, c\nJan  1 00:00:01 host x, y, z\n", Format::Text);
        check("error,disk,full\nerror,disk,gone\n", Format::Text);
        check("started, waiting, done\nstopped, waiting, done\n", Format::Text);
        check("1,2,3\n4,5,6\n", Format::Text);
        check("a,b,c\n1,2\n", Format::Text);
        check("one line", Format::Text);
    }

    #[test]
    fn tables() {
        check("time,user name,src.ip\n2024,bob,1.2.3.4\n2025,al,\"a,b\"\n", Format::Csv);
        check("time,\"two\"\n1,\"line\nbreak\"\n", Format::Csv);
        check("time\tuser\n1\tbob\n", Format::Tsv);
        check("time,,x\n1,2,\n", Format::Csv);
        check("time,user\r\n1,bob\r\n", Format::Csv);
    }
}
