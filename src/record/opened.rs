//! JSON inside the strings of a record, opened: `{"_raw": "{\"a\": 1}"}` becomes `{"_raw": {<CR><CR>"a": 1}}`, so that everything
//! that looks at fields sees the inner ones, at any depth, and no token is spent on backslashes. [`close`] gives the record back
//! byte for byte.
//!
//! A carriage return, which is white space in JSON and stands in no valid string, begins what the string said beside its value.
//! Two behind an opening bracket mark an opened string, and before the closing one a newline at its end; one and a tab stand for a
//! newline in it, one and a space for one.

use super::fields::joined;
use super::json_tree::{Json, MARK, Text};
use super::object::check_object;
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The most strings within strings: each level of marks may double the length of the text that [`close`] makes of them.
const MOST_LEVELS: usize = 8;
/// The most paths that a report lists.
const LISTED_PATHS: usize = 20;

/// Which strings are opened. A string that is spelt in another way than the shortest is left as it is, for it could not be
/// written back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// None: records are as they came.
    #[default]
    Nothing,
    /// All that hold a JSON object or array with a string in it.
    Found,
    /// Those of them at these paths, as fields are named: `result._raw`, `records.*.message`.
    At(Vec<String>),
}

/// What was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenedReport {
    /// The number of strings by path, for the first paths.
    pub opened: BTreeMap<String, u64>,
    /// The strings with JSON that were left, because they are spelt in another way or lie too deep.
    pub left: u64,
}

impl OpenedReport {
    /// Adds what was opened later.
    pub fn add(&mut self, later: &Self) {
        for (path, count) in &later.opened {
            if self.opened.len() < LISTED_PATHS || self.opened.contains_key(path) {
                *self.opened.entry(path.clone()).or_default() += count;
            }
        }
        self.left += later.left;
    }
}

impl Opening {
    /// Reads the values of `--open`: none of them opens what is found, an empty one nothing.
    pub fn parse(paths: &[String]) -> Self {
        let named: Vec<String> = paths.iter().filter(|path| !path.is_empty()).cloned().collect();
        match (paths.is_empty(), named.is_empty()) {
            (true, _) => Opening::Found,
            (_, true) => Opening::Nothing,
            _ => Opening::At(named),
        }
    }

    pub fn is_nothing(&self) -> bool {
        *self == Opening::Nothing
    }

    fn has(&self, path: &str) -> bool {
        match self {
            Opening::Nothing => false,
            Opening::Found => true,
            Opening::At(paths) => paths.iter().any(|known| known == path),
        }
    }

    /// The record with its strings opened; `None` where it stays as it is. `record` is one line.
    pub fn open(&self, record: &[u8], report: &mut OpenedReport) -> Option<Vec<u8>> {
        let may_hold = |text: &[u8]| Finder::new(br#"\""#).find(text).is_some();
        let returns = memchr::memchr(b'\r', record).is_some();
        if self.is_nothing() || !(returns || may_hold(record)) {
            return None;
        }
        let mut found = Found { opening: self, opened: Vec::new(), left: 0 };
        // What is no object is kept as it is, and so is not closed either.
        let tree = Json::of_record(record)?;
        let text = found.text(std::str::from_utf8(record).ok()?, &tree, "", 0);
        // What was deep in strings may be too deep without them.
        let whole = (check_object(text.as_bytes()).is_ok() && !found.opened.is_empty()).then_some(text);
        report.left += found.left;
        let Some(whole) = whole else {
            return returns.then(|| encoded(record));
        };
        for path in found.opened {
            let is_listed = *self != Opening::Found || report.opened.len() < LISTED_PATHS;
            if is_listed || report.opened.contains_key(&path) {
                *report.opened.entry(path).or_default() += 1;
            }
        }
        Some(whole.into_bytes())
    }
}

impl Opening {
    /// A record that was read so, as the log had it.
    pub fn closed<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        let may_be_open = !self.is_nothing() && memchr::memchr(b'\r', record).is_some();
        if may_be_open && check_object(record).is_ok() { close(record).into() } else { record.into() }
    }
}

struct Found<'a> {
    opening: &'a Opening,
    opened: Vec<String>,
    left: u64,
}

impl Found<'_> {
    /// `text`, which is the value `tree`, with its strings opened and its returns and newlines encoded.
    fn text(&mut self, text: &str, tree: &Json, path: &str, level: usize) -> String {
        let mut edits = Vec::new();
        self.strings(tree, path, level, &mut edits);
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        for (raw, opened) in edits {
            // Raw text borrows from `text`, so the difference of addresses is the offset.
            let start = raw.as_ptr() as usize - text.as_ptr() as usize;
            push_encoded(&text[at..start - 1], &mut out);
            out.push_str(&opened);
            at = start + raw.len() + 1;
        }
        push_encoded(&text[at..], &mut out);
        out
    }

    /// Finds the strings that are opened, each with what takes its place.
    fn strings<'a>(&mut self, tree: &Json<'a>, path: &str, level: usize, edits: &mut Vec<(&'a str, String)>) {
        match tree {
            Json::Object(members) => {
                members.iter().for_each(|(name, value)| self.strings(value, &joined(path, &name.value), level, edits));
            }
            Json::Array(elements) => {
                elements.iter().for_each(|element| self.strings(element, &joined(path, "*"), level, edits));
            }
            Json::Text(text) if text.has_escapes => {
                edits.extend(self.opened(text, path, level).map(|it| (text.raw, it)))
            }
            _ => {}
        }
    }

    /// The value of a string as JSON, itself opened.
    fn opened(&mut self, text: &Text, path: &str, level: usize) -> Option<String> {
        if !text.value.trim_ascii_start().starts_with(['{', '['])
            || !text.value.contains('"')
            || !self.opening.has(path)
        {
            return None;
        }
        let body = text.value.strip_suffix('\n').unwrap_or(&text.value);
        let member = format!("{{\"\":{body}}}");
        let Json::Object(members) = Json::of_record(member.as_bytes())? else { return None };
        // More than one where the text goes on behind its value.
        let [(_, value)] = &members[..] else { return None };
        if !text.is_plain() || level == MOST_LEVELS || body.trim_ascii() != body {
            self.left += 1;
            return None;
        }
        self.opened.push(path.to_string());
        let whole = self.text(&member, value, path, level + 1);
        // Without the member around it, which is `{"":` and `}`.
        let (inside, end) = (&whole[5..whole.len() - 2], if body.len() < text.value.len() { MARK } else { "" });
        Some(format!("{}{MARK}{inside}{end}{}", &whole[4..5], &whole[whole.len() - 2..whole.len() - 1]))
    }
}

fn push_encoded(text: &str, out: &mut String) {
    for piece in text.split_inclusive(['\r', '\n']) {
        match piece.strip_suffix(['\r', '\n']) {
            None => out.push_str(piece),
            Some(rest) => {
                out.push_str(rest);
                out.push_str(if piece.ends_with('\n') { "\r\t" } else { "\r " });
            }
        }
    }
}

/// A record that has nothing to open but carriage returns.
fn encoded(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 2);
    for &byte in record {
        out.push(byte);
        if byte == b'\r' {
            out.push(b' ');
        }
    }
    out
}

/// The record with its opened strings closed again; bytes that no opened record has are dropped, so that the result is one line.
/// Of a record that is cut off, the last string has no end.
pub fn close(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len());
    closed(record, 0, &mut out);
    out
}

fn closed(text: &[u8], level: usize, out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\r', &text[at..]) {
        let place = at + found;
        out.extend_from_slice(&text[at..place]);
        at = place + 1 + usize::from(text.get(place + 1).is_some_and(|next| b"\r\t ".contains(next)));
        match text.get(place + 1) {
            Some(b' ') => out.push(b'\r'),
            Some(b'\t') if level > 0 => out.push(b'\n'),
            Some(b'\r') if level < MOST_LEVELS && place > 0 && b"{[".contains(&text[place - 1]) => {
                let length = value_end(&text[place - 1..]);
                let end = length.map_or(text.len(), |length| place - 1 + length);
                let mut inner: Vec<u8> = out.pop().into_iter().collect();
                closed(&text[at..end], level + 1, &mut inner);
                if text[at..end.max(at + 1) - 1].ends_with(MARK.as_bytes()) {
                    inner.push(b'\n');
                }
                push_string(&inner, length.is_some(), out);
                at = end;
            }
            // No opened record has it there.
            _ => {}
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// The length of the value that begins with a bracket; `None` if it does not end.
fn value_end(text: &[u8]) -> Option<usize> {
    let (mut depth, mut string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            _ if string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Writes text as a JSON string in the shortest spelling, the one of [`Text::is_plain`].
fn push_string(text: &[u8], is_whole: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(br"\n"),
            b'\r' => out.extend(br"\r"),
            b'\t' => out.extend(br"\t"),
            0x08 => out.extend(br"\b"),
            0x0c => out.extend(br"\f"),
            0..0x20 => out.extend(format!("\\u{byte:04x}").into_bytes()),
            _ => out.push(byte),
        }
    }
    if is_whole {
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn opened(record: &str, opening: &Opening) -> (String, OpenedReport) {
        let mut report = OpenedReport::default();
        let text = opening.open(record.as_bytes(), &mut report).unwrap_or(record.as_bytes().to_vec());
        assert_eq!(str::from_utf8(&opening.closed(&text)).unwrap(), record);
        assert!(!text.contains(&b'\n'));
        (String::from_utf8(text).unwrap(), report)
    }

    fn nested(levels: usize) -> String {
        (0..levels).fold("{\"a\":\"x\"}".to_string(), |inner, _| json!({ "s": inner }).to_string())
    }

    #[test]
    fn strings_are_opened_at_any_depth_and_named() {
        let (text, report) = opened(&nested(2), &Opening::Found);
        assert_eq!(text, "{\"s\":{\r\r\"s\":{\r\r\"a\":\"x\"}}}");
        assert_eq!(report.opened, BTreeMap::from([("s".to_string(), 1), ("s.s".into(), 1)]));
        let list = r#"{"l": ["{\"a\": [1, \"b\"]}", 7]}"#;
        let (text, report) = opened(list, &Opening::Found);
        assert_eq!(text, "{\"l\": [{\r\r\"a\": [1, \"b\"]}, 7]}");
        assert_eq!(report.opened, BTreeMap::from([("l.*".to_string(), 1)]));
        assert_eq!(opened(list, &Opening::At(vec!["l.*".into()])).0, text);
        assert_eq!(opened(list, &Opening::At(vec!["l".into()])).0, list);
        assert_eq!(
            opened(&nested(2), &Opening::At(vec!["s".into()])).0,
            "{\"s\":{\r\r\"s\":\"{\\\"a\\\":\\\"x\\\"}\"}}"
        );
    }

    #[test]
    fn white_space_inside_is_kept() {
        let record = r#"{"p": "{\n\t\"a\":\r\n [\r{\"b\": 1}]\r}\n"}"#;
        let (text, _) = opened(record, &Opening::Found);
        assert_eq!(text, "{\"p\": {\r\r\r\t\t\"a\":\r \r\t [\r {\"b\": 1}]\r \r\r}}");
        assert!(serde_json::from_str::<Value>(&text).is_ok());
        opened("{\"a\":\r{\"b\":1}\r}", &Opening::Found);
    }

    #[test]
    fn what_cannot_be_written_back_or_is_no_json_is_left() {
        for (record, left) in [
            (r#"{"a": "{\u0022b\": 1}"}"#, 1),
            (r#"{"a": "{\"b\": \"\/\"}"}"#, 1),
            (r#"{"a": " {\"b\": \"x\"}"}"#, 1),
            (r#"{"a": "{\"b\": \"x\"}\n\n"}"#, 1),
            (r#"{"a": "{\"b\": 1"}"#, 0),
            (r#"{"a": "{\"b\": 1}, \"c\": 2"}"#, 0),
            (r#"{"a": "{\"b\": 1} {}"}"#, 0),
            (r#"{"a": "said \"no\""}"#, 0),
            (r#"{"a": "[12]"}"#, 0),
            ("no \\\" record\r", 0),
        ] {
            let (text, report) = opened(record, &Opening::Found);
            assert_eq!((text.replace("\r ", "\r"), report.left), (record.to_string(), left), "{record}");
        }
        let deep = format!("{{\"a\":{}}}", json!("{\"a\":".repeat(126) + "\"x\"" + &"}".repeat(126)));
        assert_eq!(opened(&deep, &Opening::Found).0.matches(MARK).count(), 1);
        let deep = format!("{{\"a\":{{\"b\":{}}}}}", json!("{\"a\":".repeat(126) + "\"x\"" + &"}".repeat(126)));
        assert_eq!(opened(&deep, &Opening::Found).0, deep, "129 levels");
        assert_eq!(opened(&nested(MOST_LEVELS), &Opening::Found).1.left, 0);
        assert_eq!(opened(&nested(MOST_LEVELS + 1), &Opening::Found).1.left, 1);
    }

    #[test]
    fn garbage_is_closed_to_one_line_of_bounded_length() {
        for (text, expected) in [
            (&b"{\"a\":{\r\r\"b\":\"c"[..], &b"{\"a\":\"{\\\"b\\\":\\\"c"[..]),
            (b"{\"a\":\r1,\r\t\r\r\"b\":\r", b"{\"a\":1,\"b\":"),
            (b"{\r\r}}\xff", b"\"{}\"}\xff"),
            (b"[\r\r", b"\"["),
        ] {
            assert_eq!(close(text), expected);
        }
        assert!(close("{\r\r".repeat(1000).as_bytes()).len() < 2000 << MOST_LEVELS);
    }

    fn records() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            "[a\"\\\\{\n\r\té]{0,4}".prop_map(Value::from)
        ];
        let tree = leaf.prop_recursive(6, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec(("[ab\"]{0,2}", inner.clone()), 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
                inner.clone().prop_map(|value| Value::from(value.to_string())),
                inner.prop_map(|value| Value::from(serde_json::to_string_pretty(&value).unwrap())),
            ]
        });
        tree.prop_map(|value| json!({ "r": value }))
    }

    proptest! {
        #[test]
        fn any_record_comes_back(record in records()) {
            let (text, _) = opened(&record.to_string(), &Opening::Found);
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        }

        #[test]
        fn any_line_comes_back(line in "[{}\\[\\]\"\\\\a:,\r\t 1]{0,40}") {
            opened(&line, &Opening::Found);
        }
    }
}
