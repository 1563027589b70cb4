//! Finds pairs of a key and a value in text, in the spellings of many formats: `key=value`, `key="value"`, `'key': 'value'`,
//! `"key": ["value"]`, `key => 'value'`, `key=[value]`, `key=<value>`, `[user: value]`, `<Key>value</Key>`. Pairs inside a value
//! (`msg='op=login acct="x"'`) are found as well.

use std::ops::Range;

/// Quoted keys longer than this are sentences.
const LONGEST_KEY: usize = 60;

/// A key and its value, as places in the text. The value has no quotes or brackets around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub key: Range<usize>,
    pub value: Range<usize>,
    /// Whether a colon joins them and neither is quoted: running text looks alike.
    pub is_loose: bool,
}

/// All pairs in their order. Of a list, every element is a pair of its own.
pub fn pairs(text: &str) -> Vec<Pair> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for at in memchr(bytes) {
        match bytes[at] {
            b'>' => found.extend(element(text, at)),
            sign => {
                let Some((key, quoted)) = key_before(text, at, sign) else { continue };
                values(text, at, sign, quoted, &key, &mut found);
            }
        }
    }
    found
}

fn memchr(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'=' | b':' | b'>')).map(|(at, _)| at)
}

fn is_key(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '$' | '#')
}

/// The key before a sign, and whether it is quoted.
fn key_before(text: &str, sign: usize, byte: u8) -> Option<(Range<usize>, bool)> {
    // `:=` and CEF's `\=` are signs, too; `==` and `::` are none.
    let mut head = text[..sign].trim_end_matches('\\');
    if byte == b'=' {
        head = head.strip_suffix(':').unwrap_or(head);
    }
    if head.ends_with(['=', ':', '!', '<', '>']) || byte == b'=' && text[sign + 1..].starts_with('=') {
        return None;
    }
    let spaced = head.trim_end_matches(' ');
    if spaced.len() + 3 < head.len() {
        return None;
    }
    if let Some(quote) = spaced.chars().next_back().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &spaced[..spaced.len() - 1];
        let start = inner.rfind(quote)? + 1;
        let key = inner[start..].trim_end();
        let fits = !key.is_empty() && key.len() < LONGEST_KEY && !key.contains(['=', '\n', '{', '[']);
        return fits.then_some((start..start + key.len(), true));
    }
    // Before a colon, a blank is not part of how keys are written.
    let end = if byte == b'=' || spaced.len() + 1 >= head.len() { spaced.len() } else { return None };
    let key = spaced[..end].rsplit(|c: char| !is_key(c)).next()?;
    let key = key.trim_start_matches(['-', '.', '$']);
    let fits =
        key.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '@' | '#')) && key.len() < LONGEST_KEY;
    fits.then(|| (end - key.len()..end, false))
}

fn values(text: &str, sign: usize, byte: u8, quoted: bool, key: &Range<usize>, found: &mut Vec<Pair>) {
    let mut at = sign + 1;
    if byte == b'=' && text[at..].starts_with('>') {
        at += 1;
    }
    let blank = text[at..].len() - text[at..].trim_start_matches(' ').len();
    let rest = &text[at + blank..];
    let open = rest.chars().next();
    let opens = matches!(open, Some('"' | '\'' | '[' | '<' | '{' | '('));
    // An empty value is followed by a blank; quotes and arrows need none.
    if byte == b'=' && blank > 0 && !opens && !text[..sign].ends_with([' ', ':']) && !text[at - 1..at].eq(">") {
        return;
    }
    if byte == b':' && !quoted && blank == 0 && !opens {
        return;
    }
    at += blank;
    let loose = byte == b':' && !quoted && !matches!(open, Some('"' | '\'' | '['));
    let mut push = |value: Range<usize>| {
        let inner = text[value.clone()].trim();
        if !inner.is_empty() {
            let start = value.start + (text[value.clone()].len() - text[value.clone()].trim_start().len());
            found.push(Pair { key: key.clone(), value: start..start + inner.len(), is_loose: loose });
        }
    };
    match open {
        Some('[') => list(text, at + 1, &mut push),
        Some('<') if byte == b'=' => {
            let end = rest[1..].find(['>', ' ']).unwrap_or(rest.len() - 1);
            push(at + 1..at + 1 + end);
        }
        Some('{' | '(' | '<') | None => {}
        // SQL and Python write kinds of strings as a letter before the quote.
        Some('N' | 'b' | 'u' | 'r') if rest[1..].starts_with('\'') => {
            push(at + 2..at + 2 + quoted_length(&rest[2..], '\''))
        }
        Some(quote @ ('"' | '\'')) => push(at + 1..at + 1 + quoted_length(&rest[1..], quote)),
        Some(_) => push(at..at + bare_length(rest, byte, quoted)),
    }
}

/// The elements of a list that begins here: quoted ones, or bare ones up to the closing bracket.
fn list(text: &str, start: usize, push: &mut impl FnMut(Range<usize>)) {
    let mut at = start;
    for _ in 0..100 {
        let blank = text[at..].len() - text[at..].trim_start_matches([' ', ',', '\n', '\r', '\t']).len();
        at += blank;
        let rest = &text[at..];
        match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let length = quoted_length(&rest[1..], quote);
                push(at + 1..at + 1 + length);
                at = (at + length + 2).min(text.len());
            }
            None | Some(']' | '[' | '{' | '}' | '(') => return,
            Some(_) => {
                let length = rest.find([',', ']', '\n', '"']).unwrap_or(rest.len());
                push(at..at + length);
                at += length;
            }
        }
        if !text.is_char_boundary(at) {
            return;
        }
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        // An apostrophe between letters is part of a name, unless a key follows it.
        let inside = quote == '\''
            && rest[at + c.len_utf8()..].starts_with(char::is_lowercase)
            && rest[..at].ends_with(char::is_alphanumeric);
        if c == quote && !escaped && !inside {
            return at;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// The length of a bare value. After a colon, it ends at the first blank.
fn bare_length(rest: &str, byte: u8, quoted: bool) -> usize {
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(c, ',' | ';' | '"' | '&' | '|' | ')' | '}' | ']' | '<' | '>' | '{' | '(' | '^')
            || c == '\'' && byte == b'='
            || byte == b':' && quoted && c == '\''
    };
    let mut end = rest.find(ends).unwrap_or(rest.len());
    // O'Neill: an apostrophe between letters, where no value is quoted so.
    while rest[end..].starts_with('\'')
        && rest[..end].ends_with(char::is_alphabetic)
        && rest[end + 1..].starts_with(char::is_lowercase)
        && !rest[end + 1..].contains('\'')
    {
        end += 1 + rest[end + 1..].find(ends).unwrap_or(rest.len() - end - 1);
    }
    rest[..end].trim_end_matches(['.', ':', '!']).len()
}

/// `<Key>value</Key>`, and `<Data Name="Key">value</Data>`: `at` is the end of the first tag.
fn element(text: &str, at: usize) -> Option<Pair> {
    let rest = &text[at + 1..];
    let length = rest.find('<').filter(|length| *length > 0 && *length < 300)?;
    rest[length..].starts_with("</").then_some(())?;
    let tag = text[..at].rfind('<')?;
    let inner = &text[tag + 1..at];
    let value = at + 1..at + 1 + length;
    let key = match inner.find("Name=").or_else(|| inner.find("name=")) {
        Some(name) => {
            let quoted = &inner[name + 5..];
            let quote = quoted.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let end = quoted[1..].find(quote)?;
            tag + 1 + name + 6..tag + 1 + name + 6 + end
        }
        None => {
            let name = inner.split(' ').next()?;
            let name = name.rsplit(':').next()?;
            let start = tag + 1 + inner.find(name)?;
            start..start + name.len()
        }
    };
    Some(Pair { key, value, is_loose: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<(&str, &str)> {
        pairs(text).into_iter().map(|pair| (&text[pair.key], &text[pair.value])).collect()
    }

    #[test]
    fn pairs_in_their_spellings() {
        for (text, expected) in [
            ("a=1 b=\"x y\" c='z'", vec![("a", "1"), ("b", "x y"), ("c", "z")]),
            ("msg='op=login acct=\"al\"'", vec![("msg", "op=login acct=\"al\""), ("op", "login"), ("acct", "al")]),
            (r#"{"a": "x", 'b': 'y', "c":["u","v"]}"#, vec![("a", "x"), ("b", "y"), ("c", "u"), ("c", "v")]),
            ("{ \"a \": \"x \"}", vec![("a", "x")]),
            ("host_name => 'pc1'", vec![("host_name", "pc1")]),
            ("user=[al], from=<a@b>, u = x", vec![("user", "al"), ("from", "a@b"), ("u", "x")]),
            ("[user: al] Source: 10", vec![("user", "al"), ("Source", "10")]),
            ("<UserId>al</UserId><Data Name=\"IP\">x</Data>", vec![("Name", "IP"), ("UserId", "al"), ("IP", "x")]),
            ("user\\=al&x=1", vec![("user", "al"), ("x", "1")]),
            ("suser= duser=al std::vec a==b 10:20:30 http://x", vec![("duser", "al")]),
            ("user='j.o'neill' x", vec![("user", "j.o'neill")]),
            ("acct=t.o'brien exe", vec![("acct", "t.o'brien")]),
        ] {
            let mut found = seen(text);
            let mut expected = expected;
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{text}");
        }
    }
}
