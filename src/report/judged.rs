//! Generated records with their verdicts, as HTML: keys and values coloured, errors marked.

use super::html::{escape, plain};
use super::parse::Verdict;
use crate::record::Form;
use std::fmt::Write;

/// One generated record and its verdict.
#[derive(Clone, Debug)]
pub struct JudgedRecord {
    /// Without its newline; any bytes.
    pub text: Vec<u8>,
    pub verdict: Verdict,
}

/// A record with its verdict above it.
pub(super) fn article(sample: &JudgedRecord, form: Form) -> String {
    let (class, label, error_at) = match &sample.verdict {
        Verdict::Valid if form == Form::Text => ("valid", "complete".to_string(), None),
        Verdict::Valid => ("valid", "valid JSON".to_string(), None),
        Verdict::Broken { at, reason } => ("broken", format!("broken at byte {at}: {}", escape(reason)), Some(*at)),
        Verdict::Truncated => ("truncated", "truncated".to_string(), None),
    };
    let text = match form {
        Form::Text => plain(&sample.text),
        _ => highlight(&sample.text, error_at),
    };
    format!("<article class=\"{class}\">\n<p class=\"verdict\">{label}</p>\n<pre>{text}</pre>\n</article>\n")
}

/// `text` as HTML with JSON keys and string values coloured, and the byte at `error_at` marked (the end, if beyond it).
///
/// It works for broken JSON too: it only follows quotes, and a string is a key if a colon follows.
pub(super) fn highlight(text: &[u8], error_at: Option<usize>) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let (end, class) = match text[at] {
            b'"' => {
                let end = string_end(text, at);
                let next = text[end..].iter().find(|b| !b.is_ascii_whitespace());
                (end, Some(if next == Some(&b':') { "key" } else { "text" }))
            }
            _ => (text[at..].iter().position(|&b| b == b'"').map_or(text.len(), |i| at + i), None),
        };
        span(&mut out, text, at..end, class, error_at);
        at = end;
    }
    if error_at.is_some_and(|e| e >= text.len()) {
        out.push_str("<mark class=\"end\">end</mark>");
    }
    out
}

/// Offset after the closing quote of the string that opens at `start`; the end of the text if it never closes.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// One coloured piece of the text, split in three where the error lies inside it.
fn span(out: &mut String, text: &[u8], range: std::ops::Range<usize>, class: Option<&str>, error_at: Option<usize>) {
    if let Some(class) = class {
        let _ = write!(out, "<span class=\"{class}\">");
    }
    match error_at.filter(|at| range.contains(at)) {
        None => out.push_str(&plain(&text[range])),
        Some(at) => {
            let end = (at + 1..range.end).find(|&i| !is_continuation(text[i])).unwrap_or(range.end);
            let [before, marked, after] = [range.start..at, at..end, end..range.end].map(|part| plain(&text[part]));
            let _ = write!(out, "{before}<mark>{marked}</mark>{after}");
        }
    }
    if class.is_some() {
        out.push_str("</span>");
    }
}

/// Whether a byte continues a UTF-8 character, which the mark must not split.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_values_and_the_error_is_marked() {
        assert_eq!(
            highlight(br#"{"a": "b", x}"#, Some(11)),
            "{<span class=\"key\">&quot;a&quot;</span>: <span class=\"text\">&quot;b&quot;</span>, <mark>x</mark>}"
        );
        assert_eq!(highlight(br#"{"a"#, Some(3)), "{<span class=\"text\">&quot;a</span><mark class=\"end\">end</mark>");
        assert!(highlight("{\"é\"".as_bytes(), Some(2)).contains("<mark>é</mark>"));
        assert!(highlight(b"{\"a\\", Some(1)).contains("<mark>&quot;</mark>a\\"), "a backslash at the end");
    }
}
