//! The text as it is searched: of the same length, with blanks for what only separates. Terminal colours, control characters and
//! written-out escapes (`\t`, `\r\n`, `\"`) stand where a word ends, and would otherwise be taken for a part of it.

use std::borrow::Cow;
use std::ops::Range;

/// Beginnings of terminal colours, also as loggers write them out.
const COLOURS: [&str; 5] = ["\u{1b}[", "\\u001b[", "\\x1b[", "\\033[", "#033["];

/// The text with blanks for separators; every byte keeps its place.
pub fn view(text: &str) -> Cow<'_, str> {
    if !text
        .bytes()
        .any(|byte| byte == b'\\' || byte == b'#' || byte == b'=' || byte < b' ' && !byte.is_ascii_whitespace())
    {
        return Cow::Borrowed(text);
    }
    let mut blanks: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = separator(text, at, blanks.last());
        match length {
            0 => at += text[at..].chars().next().map_or(1, char::len_utf8),
            _ => {
                blanks.push(at..at + length);
                at += length;
            }
        }
        // An escaped backslash does not begin another escape.
        if length == 0 && text[..at].ends_with('\\') && text[at..].starts_with('\\') {
            let run = text[at..].len() - text[at..].trim_start_matches('\\').len();
            at += if text[at + run..].starts_with('"') { 0 } else { run };
        }
    }
    if blanks.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = text.as_bytes().to_vec();
    blanks.into_iter().for_each(|range| out[range].fill(b' '));
    Cow::Owned(String::from_utf8(out).expect("whole characters were replaced"))
}

/// The length of the separator that begins here, or 0.
fn separator(text: &str, at: usize, last: Option<&Range<usize>>) -> usize {
    let rest = &text[at..];
    let byte = rest.as_bytes()[0];
    if let Some(start) = COLOURS.iter().find(|start| rest.starts_with(**start)) {
        let inner = rest[start.len()..].bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
        let end = start.len() + inner;
        return if rest[end..].starts_with(['m', 'K']) { end + 1 } else { 0 };
    }
    if rest.starts_with("#035") || rest.starts_with("#012") || rest.starts_with("#011") {
        return 4;
    }
    if byte < b' ' && !byte.is_ascii_whitespace() {
        return 1;
    }
    // Arguments of a command in the URL of a call into a container.
    if rest.starts_with("&command=") {
        return 9;
    }
    if let Some(length) = argument(text, at).filter(|_| byte == b'"' || byte == b'\\') {
        return length;
    }
    if byte != b'\\' {
        return 0;
    }
    // Backslashes before a quote are escapes of it, at whatever depth.
    let run = rest.len() - rest.trim_start_matches('\\').len();
    if rest[run..].starts_with('"') {
        return run;
    }
    if run != 1 || !rest[1..].starts_with(['t', 'n', 'r']) {
        return 0;
    }
    if rest.starts_with("\\r\\n") {
        return 4;
    }
    // In C:\new\temp the same letters begin names.
    let before = text[..at].chars().next_back();
    let drive = text[..at].strip_suffix(':').is_some_and(|head| {
        let mut last = head.chars().rev();
        last.next().is_some_and(|c| c.is_ascii_alphabetic()) && !last.next().is_some_and(char::is_alphanumeric)
    });
    if drive {
        return 0;
    }
    let begins = last.is_some_and(|last| last.end == at)
        || before.is_none_or(|c| matches!(c, ':' | ' ' | ',' | ';' | '"' | '}'));
    let label = rest[2..].find([':', '=', '\\']).is_some_and(|end| {
        rest[2..].starts_with(char::is_uppercase) && end > 0 && !rest[2 + end..].starts_with('\\') && end < 40
    });
    if begins || label || rest[2..].starts_with("\\t") || rest[2..].starts_with("\\n") { 2 } else { 0 }
}

/// The length of what auditd writes between two arguments of a command: `" a1="`.
fn argument(text: &str, at: usize) -> Option<usize> {
    let inner = text[at..].trim_start_matches('\\').strip_prefix('"')?.strip_prefix(" a")?;
    let rest = inner.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix('=')?;
    let rest = rest.trim_start_matches('\\').strip_prefix('"')?;
    text[..at].contains("argc=").then_some(text.len() - at - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_blank_and_nothing_moves() {
        for (text, expected) in [
            ("\u{1b}[32mINFO\u{1b}[0m x", "     INFO     x"),
            ("a\\u001b[1;31mb", "a            b"),
            (r"Name:\t\tbob\r\n\tId:", r"Name:    bob      Id:"),
            (r#"{\"user\":\"al\"}"#, r#"{ "user ": "al "}"#),
            (r#"{\\\"user\\\":1"#, r#"{   "user   ":1"#),
            ("File\\nUser: x", "File  User: x"),
            (r"C:\new\temp\r2 D\\nadia", r"C:\new\temp\r2 D\\nadia"),
            ("res=1\u{1d}UID=", "res=1 UID="),
            ("x'#035UID=", "x'    UID="),
            ("é\tb", "é\tb"),
            ("argc=3 a0=\"ls\" a1=\"-p\" a2=41", "argc=3 a0=\"ls      -p\" a2=41"),
        ] {
            assert_eq!(view(text), expected, "{text}");
            assert_eq!(view(text).len(), text.len());
        }
    }
}
