//! The format of a file, found by looking at its (decompressed) beginning.

use super::format::InputFormat;
use super::json::wraps;
use super::w3c_zeek;
use serde::de::IgnoredAny;

/// How much of a file is looked at, in bytes.
pub(super) const PEEK: usize = 1 << 16;

/// Rows of a table that are compared with its header, and how many it takes to believe in one.
const ROWS: usize = 20;
const MIN_ROWS: usize = 3;

/// The format that `head` begins; `complete`: nothing follows it.
///
/// Brackets alone prove nothing: Apache errors and many other text logs begin with `[`. JSON is believed when the first
/// value parses, or runs past the end of what is seen; a table when the header looks like names and the rows fit it.
pub(super) fn format(head: &[u8], complete: bool) -> InputFormat {
    let text = head.trim_ascii_start();
    match text.first() {
        Some(b'{') => object(text, complete),
        Some(b'[') if is_array_of_objects(text) => InputFormat::Json,
        Some(b'#') if w3c_zeek::is_headed(text) => InputFormat::W3c,
        _ if is_table(head, b'\t', complete) => InputFormat::Tsv,
        _ if is_table(head, delimiter(head), complete) => InputFormat::Csv,
        _ => InputFormat::Text,
    }
}

/// What a file that begins with `{` is.
fn object(text: &[u8], complete: bool) -> InputFormat {
    if is_wrapper(text) {
        return InputFormat::Json;
    }
    let mut lines = text.split(|&b| b == b'\n').peekable();
    let first = lines.next().unwrap_or_default();
    let first_is_whole = complete || lines.peek().is_some();
    let parses = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line).is_ok();
    if !first_is_whole || parses(first) {
        return InputFormat::Jsonl;
    }
    // Not an object on the first line: pretty-printed, or a bad first line among good ones, or text after all.
    if first_value_holds(text) {
        return InputFormat::Json;
    }
    let good = lines.take(ROWS).filter(|line| line.starts_with(b"{") && parses(line)).count();
    if good > 0 { InputFormat::Jsonl } else { InputFormat::Text }
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

/// Is this one document that wraps records: an object with a wrapper key and an array of objects under it, as in
/// `{"count":2,"Records":[{`, and no further line behind it? Further lines make it an object among others, a record.
pub(super) fn is_wrapper(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let behind = first_value_end(text).map(|end| &text[end..]);
    let lines_follow = behind.is_some_and(|behind| {
        let next = behind.trim_ascii_start();
        !next.is_empty() && behind[..behind.len() - next.len()].contains(&b'\n')
    });
    text.starts_with(b"{") && has_wrapper_key(&text[1..]) && !lines_follow
}

/// Whether the first value of `head` ends there (or is broken) and something other than white space follows it.
pub(super) fn sees_past_first(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    first_value_end(text).map_or(!first_value_holds(text), |end| !text[end..].trim_ascii().is_empty())
}

/// Where the first value ends; `None` if it is cut or broken.
fn first_value_end(text: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

/// Whether a member, of those that are seen, is an array of records by its name and first element. `rest`: the inside of
/// an object.
fn has_wrapper_key(mut rest: &[u8]) -> bool {
    loop {
        rest = rest.trim_ascii_start();
        let Some(end) = first_value_end(rest).filter(|_| rest.starts_with(b"\"")) else { return false };
        let (key, after) = rest.split_at(end);
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { return false };
        let value = value.trim_ascii_start();
        let is_array = |inside: &[u8]| matches!(inside.trim_ascii_start().first(), Some(b'{' | b']'));
        if wraps(key)
            && (value.strip_prefix(b"[").is_some_and(is_array) || value.strip_prefix(b"{").is_some_and(has_wrapper_key))
        {
            return true;
        }
        let Some(end) = first_value_end(value) else { return false };
        let Some(next) = value[end..].trim_ascii_start().strip_prefix(b",") else { return false };
        rest = next;
    }
}

/// What separates the cells of a CSV file: as a first line `sep=;` says, else `;` where the first line has more of those.
pub(super) fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|&b| b == b'\n').next().unwrap_or_default();
    match line.trim_ascii_end() {
        [b's', b'e', b'p', b'=', mark] if !mark.is_ascii_alphanumeric() => *mark,
        line => {
            let count = |mark| line.iter().filter(|&&b| b == mark).count();
            if count(b';') > count(b',') { b';' } else { b',' }
        }
    }
}

/// A header of names, each once, and at least three rows of as many fields that look unlike it.
///
/// Text with commas fails one of these: its first line has spaces after commas, times, numbers or symbols; its lines
/// differ in number of commas; words of the first line stand in the same place in many of them; or all its columns hold
/// words such as a header has (a table has times, numbers or sentences in one of them).
fn is_table(head: &[u8], delimiter: u8, complete: bool) -> bool {
    let seen = if complete { head } else { &head[..head.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)] };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(seen);
    let mut rows = reader.byte_records().map_while(Result::ok).skip_while(|row| row.get(0) == Some(b"sep="));
    let Some(header) = rows.next() else { return false };
    let unique = header.iter().collect::<std::collections::BTreeSet<_>>().len() == header.len();
    if header.len() < 2 || !unique || !header.iter().all(is_name) {
        return false;
    }
    let mut rows: Vec<_> = rows.take(ROWS + 1).collect();
    if !complete {
        // The last row seen may be cut inside quotes.
        rows.pop();
    }
    let repeats = |row: &&csv::ByteRecord| header.iter().zip(*row).any(|(name, cell)| name == cell);
    let unlike =
        |column: usize| rows.iter().all(|row| row.get(column).is_some_and(|cell| !cell.is_empty() && !is_name(cell)));
    rows.len() >= MIN_ROWS
        && rows.iter().all(|row| row.len() == header.len())
        && 4 * rows.iter().filter(repeats).count() <= rows.len()
        && (0..header.len()).any(unlike)
}

/// Looks like the name of a column: short, begins with a letter, holds no other marks than names do.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: InputFormat) {
        assert_eq!(format(text.as_bytes(), true), want, "{text}");
    }

    #[test]
    fn json_lines() {
        check("{\"a\":1}\n{\"a\":2}\n", InputFormat::Jsonl);
        check("{\"a\":1}", InputFormat::Jsonl);
        check("\n\n  {\"events\":[1,2]}\n{\"events\":[3]}\n", InputFormat::Jsonl);
        check("{\"a\":1\n{\"a\":2}\n{\"a\":3}\n", InputFormat::Jsonl);
        check("{\"a\":1}\nplain text\n", InputFormat::Jsonl);
        check("{\"events\":[{}],\"b\":1}\n{\"events\":[{}]}\n", InputFormat::Jsonl);
        check("{\"items\":[]}\n\n{\"items\":[{}]}\n", InputFormat::Jsonl);
        assert_eq!(
            format(b"{\"long\":\"aaaa", false),
            InputFormat::Jsonl,
            "the first line is longer than what is seen"
        );
    }

    #[test]
    fn json_documents() {
        check("[{\"a\":1},\n{\"a\":2}]", InputFormat::Json);
        check("[\n  {\n    \"a\": 1\n  }\n]\n", InputFormat::Json);
        check("{\"Records\":[{\"a\":1}]}", InputFormat::Json);
        check("{\"n\":60,\"m\":{\"x\":[1]},\"Records\":[{\"a\":1}]}\n", InputFormat::Json);
        check("{\"Records\":[{\"a\":1}]}{\"Records\":[{\"a\":1}]}", InputFormat::Json);
        check("{\"Records\":[{\"a\":1},", InputFormat::Json);
        check("{\"@odata.context\": \"x\", \"value\": [ {\"a\":1}]}", InputFormat::Json);
        check("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", InputFormat::Json);
        check("[{\"a\":1},{\"b", InputFormat::Json);
        check("{\"took\":1,\"hits\":{\"total\":{\"value\":2},\"hits\":[{\"_id\":1}]}}", InputFormat::Json);
        check("[]", InputFormat::Json);
    }

    #[test]
    fn text_that_looks_like_something_else() {
        check("[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok\n", InputFormat::Text);
        check("[2024-01-01 00:00:00] {\"a\":1}\n", InputFormat::Text);
        check("[1, 2] starting\n[1, 3] starting\n", InputFormat::Text);
        check("{main} started\n{main} stopped\n", InputFormat::Text);
        check("[] done\n", InputFormat::Text);
        check("Jan  1 00:00:00 host sshd[1]: Accepted for a, b, c\nJan  1 00:00:01 host x, y, z\n", InputFormat::Text);
        check("error,disk,full\nerror,disk,gone\n", InputFormat::Text);
        check("started, waiting, done\nstopped, waiting, done\n", InputFormat::Text);
        check("1,2,3\n4,5,6\n", InputFormat::Text);
        check("a,b,c\n1,2\n", InputFormat::Text);
        check("one line", InputFormat::Text);
        check("Warning,disk,full\nError,net,down\nInfo,cpu,idle\nInfo,cpu,busy\n", InputFormat::Text);
        check("Warning,disk,1\nWarning,net,2\nInfo,cpu,3\n", InputFormat::Text);
        check("time,user\n1,bob\n2,al\n", InputFormat::Text);
        check("time,time\n1,bob\n2,al\n3,jo\n", InputFormat::Text);
    }

    #[test]
    fn tables() {
        check("time,user name,src.ip\n2024,bob,1.2.3.4\n2025,al,\"a,b\"\n2026,jo,\n", InputFormat::Csv);
        check("time,\"two\"\n1,\"line\nbreak\"\n2,x\n3,y\n", InputFormat::Csv);
        check("time\tuser\n1\tbob\n2\tal\n3\tjo\n", InputFormat::Tsv);
        check("time,user\r\n1,bob\r\n2,al\r\n3,jo\r\n", InputFormat::Csv);
        check("TimeGenerated [UTC],Identity\n2024-01-01,bob\n2024-01-02,al\n2024-01-03,jo\n", InputFormat::Csv);
        check("time,user\n1,bob\n2,user\n3,jo\n4,al\n", InputFormat::Csv);
        check("time;user\n1;a,b\n2;al\n3;jo\n", InputFormat::Csv);
        check("sep=|\r\ntime|user\r\n1|bob\r\n2|al\r\n3|jo\r\n", InputFormat::Csv);
    }

    #[test]
    fn delimiters() {
        assert_eq!(delimiter(b"sep=;\na;b\n"), b';');
        assert_eq!(delimiter(b"a;b,c;d\n"), b';');
        assert_eq!(delimiter(b"a,b;c\n"), b',');
        assert_eq!(delimiter(b""), b',');
    }
}
