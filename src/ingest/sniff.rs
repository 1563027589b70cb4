//! Detects the format of a file from its (decompressed) beginning.

use super::format::InputFormat;
use super::json::wraps;
use super::w3c_zeek;
use crate::record::json::{Scanner, Step, object_fault};

/// The number of bytes of a file that are examined.
pub(super) const PEEK: usize = 1 << 16;

/// The most rows that are compared with a header, and the fewest that make a table.
const ROWS: usize = 20;
const MIN_ROWS: usize = 3;

/// The format of a file that begins with `head`; `complete` says that `head` is the whole file.
///
/// Brackets alone prove nothing: Apache error logs and many other text logs begin with `[`. The file is JSON if the first
/// value parses or is still incomplete at the end of `head`; it is a table if the header looks like names and the rows
/// fit it.
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

/// The format of a file that begins with `{`.
fn object(text: &[u8], complete: bool) -> InputFormat {
    if is_wrapper(text) {
        return InputFormat::Json;
    }
    let mut lines = text.split(|&b| b == b'\n').peekable();
    let first = lines.next().unwrap_or_default();
    let first_is_whole = complete || lines.peek().is_some();
    let parses = |line: &[u8]| object_fault(line).is_none();
    if !first_is_whole || parses(first) {
        return InputFormat::Jsonl;
    }
    // The first line is no object: the file is pretty-printed JSON, or JSON lines whose first line is bad, or text.
    if first_value_holds(text) {
        return InputFormat::Json;
    }
    let good = lines.take(ROWS).filter(|line| line.starts_with(b"{") && parses(line)).count();
    if good > 0 { InputFormat::Jsonl } else { InputFormat::Text }
}

/// Whether the first value is valid JSON, complete or cut off by the end of `text`.
fn first_value_holds(text: &[u8]) -> bool {
    !text.is_empty() && !matches!(Scanner::new().push(text), Step::Broken(..))
}

fn is_array_of_objects(text: &[u8]) -> bool {
    let inside = text[1..].trim_ascii_start();
    match inside.first() {
        Some(b'{') => first_value_holds(inside),
        // An empty array, or one that `text` cuts off right after its bracket.
        Some(b']') => matches!(inside[1..].trim_ascii_start().first(), None | Some(b'[' | b'{')),
        Some(_) => false,
        None => true,
    }
}

/// Whether the file is one document that wraps records: an object with an array of objects under a wrapper key, as in
/// `{"count":2,"Records":[{`, and with no further line after it. Further lines make the object a record among others.
///
/// One pass, whatever the depth: only the outermost objects are searched for keys.
pub(super) fn is_wrapper(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let (mut scanner, mut at, mut wrapper) = (Scanner::watching(), 0, false);
    let end = loop {
        match scanner.push(&text[at..]) {
            Step::Array(length) => {
                at += length;
                let wrapped = (1..scanner.depth()).all(|depth| wraps(&text[scanner.name(depth)]));
                wrapper |= wrapped && matches!(text[at..].trim_ascii_start().first(), Some(b'{' | b']'));
            }
            Step::End(length) => break Some(at + length),
            Step::More | Step::Broken(..) => break None,
        }
    };
    let lines_follow = end.is_some_and(|end| {
        let rest = &text[end..];
        let next = rest.trim_ascii_start();
        !next.is_empty() && rest[..rest.len() - next.len()].contains(&b'\n')
    });
    text.starts_with(b"{") && wrapper && !lines_follow
}

/// Whether `head` contains the end of its first value, or shows that this value is broken, and something other than white
/// space after it.
pub(super) fn sees_past_first(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    match Scanner::new().push(text) {
        Step::End(end) => !text[end..].trim_ascii().is_empty(),
        Step::Broken(..) => true,
        Step::More | Step::Array(_) => false,
    }
}

/// The separator of a CSV file: the one that a first line `sep=;` names, else `;` if the first line has more `;` than `,`.
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

/// Whether the file has a header of distinct names and at least three rows with as many fields that look unlike it.
///
/// Text with commas fails one of these conditions: its first line has spaces after commas, times, numbers or symbols; its
/// lines differ in their number of commas; many lines repeat words of the first line in the same column; or all columns
/// hold only words that could be names (a table has times, numbers or sentences in at least one column).
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
        // The last visible row may be cut inside quotes.
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
